"""From a mask to a row: a proposal whose parent is the annotation that gave the box, with where it comes from.

``attributes.prelabel`` of a row: ``model``, ``kind`` and ``checkpoint`` (SHA-256) as the segmenter has them;
``prompt``; ``predicted_iou`` and ``stability``, null where the segmenter has none; ``box_iou``, of the mask's box with
the prompt's; ``components``; ``removed`` and ``filled``, pixels of the clean-up; ``flags``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from curate.dataset import json_text
from curate.geometry import Box, box_iou, rle_bounds, rle_from_mask
from curate.model import Annotation
from curate.prelabel.cleanup import Cleaned
from curate.prelabel.prompts import Mask


class Wanted(NamedTuple):
    """A box to segment: what the new row takes over from the annotation that has it."""

    parent: str
    box: Box
    category: str | None
    source_label: str | None
    instance: str | None


def suffix(identity: Mapping[str, Any]) -> str:
    """What tells the rows of one segmenter from those of another with the same parent: ``sam-1a2b3c4d``."""
    digest = hashlib.sha256(json_text(dict(identity)).encode()).hexdigest()
    return f"{identity['model']}-{digest[:8]}"


def row_of(
    image_id: str, wanted: Wanted, mask: Mask, cleaned: Cleaned, identity: Mapping[str, Any]
) -> Annotation | None:
    """The row of a mask; None if the mask is empty. Box and area are the mask's own."""
    rle = rle_from_mask(cleaned.pixels)
    box = rle_bounds(rle)
    if not box[2]:
        return None
    agreement = float(box_iou(np.array([box], float), np.array([wanted.box], float))[0, 0])
    facts = {
        **{name: identity[name] for name in ("model", "kind", "checkpoint") if name in identity},
        "prompt": {"box": list(wanted.box)},
        "predicted_iou": _rounded(mask.predicted_iou),
        "stability": _rounded(mask.stability),
        "box_iou": _rounded(agreement),
        "components": cleaned.parts,
        "removed": cleaned.removed,
        "filled": cleaned.filled,
        "flags": list(mask.flags),
    }
    return Annotation(
        id=f"{wanted.parent}.{suffix(identity)}",
        image_id=image_id,
        parent_id=wanted.parent,
        category=wanted.category,
        source_label=wanted.source_label,
        instance=wanted.instance,
        x=box[0],
        y=box[1],
        w=box[2],
        h=box[3],
        area=float(np.count_nonzero(cleaned.pixels)),
        segmentation=rle,
        status="proposal",
        attributes={"prelabel": facts},
    )


def doubt(facts: Mapping[str, Any]) -> float:
    """How much a proposal deserves a look, 0..1: its worst quality, a little more for every part beyond the first.

    A fallback (any flag) is 1.
    """
    if facts.get("flags"):
        return 1.0
    known = [facts[name] for name in ("predicted_iou", "stability", "box_iou") if facts.get(name) is not None]
    worst = 1.0 - min(known, default=0.0)
    return min(1.0, worst + 0.05 * max(0, int(facts.get("components") or 1) - 1))


def _rounded(value: float | None) -> float | None:
    """To four digits: what is beyond depends on the processor, and the same input shall give the same bytes."""
    return None if value is None else round(float(value), 4)
