"""How much a proposal deserves a look, 0..1: what a review that takes the most doubtful first goes by.

Of a detector's box, 1 less its score. Of a mask that ``curate prelabel`` drew, by what it noted in
``attributes.prelabel``: the worst of the IoU that the model expects, its stability, and the agreement with the box.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow.compute as pc

from curate.columns import plain
from curate.dataset import Dataset

_QUALITIES = ("predicted_iou", "stability", "box_iou")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def doubt(facts: Mapping[str, Any]) -> float:
    """By what ``curate prelabel`` noted: the worst quality, a little more for every part beyond the first.

    A fallback (any flag) is 1.
    """
    if facts.get("flags"):
        return 1.0
    known = [facts[name] for name in _QUALITIES if facts.get(name) is not None]
    worst = 1.0 - min(known, default=0.0)
    return min(1.0, worst + 0.05 * max(0, int(facts.get("components") or 1) - 1))


def doubt_of(score: float | None, attributes: Mapping[str, Any] | None) -> float | None:
    """Of a row, by its score and its mask, whichever is worse; None where nothing is known."""
    facts = (attributes or {}).get("prelabel")
    found = [] if score is None else [1.0 - score]
    if isinstance(facts, Mapping):
        found.append(doubt(facts))
    return max(found, default=None)


def doubts(dataset: Dataset) -> dict[str, float]:
    """Of each image with proposals of which something is known, that of the most doubtful one."""
    table = dataset.table("annotations").select(["image_id", "status", "score", "attributes"])
    known = pc.or_(pc.is_valid(table["score"]), pc.is_valid(table["attributes"]))
    held = table.filter(pc.and_(pc.equal(plain(table["status"]), "proposal"), known))
    found: dict[str, float] = {}
    columns = (plain(held["image_id"]), held["score"], held["attributes"])
    for image, score, text in zip(*(column.to_pylist() for column in columns), strict=True):
        value = doubt_of(score, _decode(text) if text and '"prelabel"' in text else None)
        if value is not None:
            found[image] = max(found.get(image, 0.0), value)
    return found
