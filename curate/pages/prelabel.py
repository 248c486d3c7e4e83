"""The page of pre-labels: how good segmenters say they are, how good they are where truth is known, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from curate.columns import plain
from curate.dataset import Dataset
from curate.doubt import doubt
from curate.errors import printable
from curate.geometry import Box, rle_iou
from curate.model import Rle
from curate.show.page import CROPS, render, tile_values
from curate.show.picking import spread
from curate.show.tiles import object_tiles

SIDE_BY_SIDE, EXAMPLES = 12, 12
_BARS = 20
_PORTION = 10_000  # rows
_QUALITIES = ("predicted_iou", "stability", "box_iou")
_TITLES = {
    "predicted_iou": "IoU that the model expects",
    "stability": "stability",
    "box_iou": "agreement with the prompt's box",
    "truth": "IoU with the mask of the parent",
}


class Proposal(NamedTuple):
    """A row made by ``curate prelabel``."""

    id: str
    image: str
    parent: str  # empty where a detector found it
    segmenter: str
    category: str
    facts: Mapping[str, Any]
    doubt: float
    truth: float | None  # IoU with the parent's mask, where it has one


def proposals(dataset: Dataset) -> list[Proposal]:
    """The pre-labels of ``dataset``, those that deserve a look first: by doubt, then by id."""
    columns = ["id", "image_id", "parent_id", "category", "segmentation", "attributes"]
    table = dataset.table("annotations").select(columns)
    made = table.filter(pc.fill_null(pc.match_substring(table["attributes"], '"prelabel"'), False))
    parents = table.filter(pc.is_in(table["id"], value_set=pc.unique(plain(made["parent_id"]))))
    parents = parents.filter(pc.is_valid(parents["segmentation"]))
    masks = dict(zip(parents["id"].to_pylist(), parents["segmentation"].to_pylist(), strict=True))
    found = []
    # By portions: as objects, masks take many times the memory that they have in the table.
    for row in (row for portion in made.to_batches(_PORTION) for row in portion.to_pylist()):
        facts = json.loads(row["attributes"]).get("prelabel")
        if not facts:
            continue
        name = " ".join(filter(None, [facts.get("model"), facts.get("kind"), (facts.get("checkpoint") or "")[:8]]))
        if facts.get("detector"):
            name += f" in what {facts['detector']['model']} found"
        iou = _iou(row["segmentation"], masks.get(row["parent_id"] or ""))
        parent, category = row["parent_id"] or "", row["category"] or ""
        found.append(Proposal(row["id"], row["image_id"], parent, name, category, facts, doubt(facts), iou))
    return sorted(found, key=lambda one: (-one.doubt, one.id))


def _iou(mask: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> float | None:
    if not mask or not other or mask["size"] != other["size"]:
        return None
    first, second = (Rle(tuple(rle["size"]), rle["counts"]) for rle in (mask, other))
    return rle_iou(first, second)


def queue_csv(found: Sequence[Proposal]) -> bytes:
    """The review queue: a line per proposal, the most doubtful first."""
    lines = ["annotation,image,parent,segmenter,category,doubt,predicted_iou,stability,box_iou,components,flags"]
    for one in found:
        qualities = [one.facts.get(name) for name in (*_QUALITIES, "components")]
        values = [one.id, one.image, one.parent, one.segmenter, one.category, f"{one.doubt:.4f}", *qualities]
        cells = ["" if value is None else str(value) for value in [*values, " ".join(one.facts.get("flags") or [])]]
        lines.append(",".join(_cell(cell) for cell in cells))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def _cell(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if any(character in text for character in ',"\n\r') else text


def draw_page(
    dataset: Dataset, *, seconds: Mapping[str, float] | None = None, roots: Mapping[str, str] | None = None
) -> str:
    """The page as HTML; ``seconds`` by stage, ``roots`` the folders of the images."""
    found = proposals(dataset)
    by_segmenter: dict[str, list[Proposal]] = {}
    for one in found:
        by_segmenter.setdefault(one.segmenter, []).append(one)
    return render(
        "prelabel.html",
        {
            "title": f"{len(found):,} pre-labels",
            "dataset": printable(dataset.info.name),
            "segmenters": [_summary(name, of) for name, of in sorted(by_segmenter.items())],
            "seconds": [{"stage": stage, "value": f"{value:.1f} s"} for stage, value in (seconds or {}).items()],
            "rows": _side_by_side(dataset, by_segmenter, roots or {}),
            "worst": _tiles(dataset, found[:EXAMPLES], roots or {}),
            "best": _tiles(dataset, found[-EXAMPLES:][::-1] if len(found) > EXAMPLES else [], roots or {}),
        },
        package="curate.pages",
    )


def _summary(name: str, of: Sequence[Proposal]) -> dict[str, Any]:
    values = {quality: [one.facts.get(quality) for one in of] for quality in _QUALITIES}
    values["truth"] = [one.truth for one in of]
    plots = []
    for quality, every in values.items():
        there = np.array([value for value in every if value is not None], float)
        if len(there):
            counts, _ = np.histogram(there, bins=_BARS, range=(0, 1))
            heights = [f"{100 * n / max(counts.max(), 1):.2f}" for n in counts]
            bars = [
                {"x": f"{5 * i + 0.4:.1f}", "height": h, "count": int(n)}
                for i, (h, n) in enumerate(zip(heights, counts, strict=True))
            ]
            plots.append({"title": _TITLES[quality], "mean": f"{there.mean():.3f}", "known": len(there), "bars": bars})
    return {
        "name": printable(name),
        "masks": f"{len(of):,}",
        "flagged": f"{sum(bool(one.facts.get('flags')) for one in of):,}",
        "several": f"{sum((one.facts.get('components') or 1) > 1 for one in of):,}",
        "plots": plots,
    }


def _side_by_side(
    dataset: Dataset, by_segmenter: Mapping[str, Sequence[Proposal]], roots: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Some objects as their parent has them and as each segmenter drew them, where there are several segmenters."""
    if len(by_segmenter) < 2:
        return []
    of = {name: {one.parent: one for one in every} for name, every in by_segmenter.items()}
    common = sorted(set.intersection(*(set(every) for every in of.values())) - {""})
    rows = []
    for parent in [common[i] for i in spread(len(common), SIDE_BY_SIDE).tolist()]:
        tiles = list(object_tiles(dataset, [parent], CROPS, roots))
        if not tiles:
            continue
        box = tiles[0].marks[0].box  # the same window for all
        drawn = [_tile(dataset, of[name][parent], roots, box) for name in sorted(of)]
        rows.append({"name": printable(parent), "asked": tile_values(tiles[0]), "answers": drawn})
    return rows


def _tiles(dataset: Dataset, chosen: Sequence[Proposal], roots: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_tile(dataset, one, roots) for one in chosen]


def _tile(dataset: Dataset, one: Proposal, roots: Mapping[str, str], window: Box | None = None) -> dict[str, Any]:
    (tile,) = object_tiles(dataset, [one.id], CROPS, roots, window=window)
    known = [(name, one.facts.get(quality)) for name, quality in (("expected", "predicted_iou"), ("box", "box_iou"))]
    parts = [f"{name} {value:.2f}" for name, value in known if value is not None]
    if one.truth is not None:
        parts.append(f"true IoU {one.truth:.2f}")
    parts += one.facts.get("flags") or []
    return tile_values(tile) | {
        "name": printable(one.segmenter),
        "caption": ", ".join(filter(None, [one.category, *parts])),
    }
