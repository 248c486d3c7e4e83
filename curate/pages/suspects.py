"""The page of suspected label errors: each with what the source has and what the detector found, in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset
from curate.errors import printable
from curate.review.suspects import KINDS, Found, Kind, Suspect
from curate.show.drawing import Colour, Mark, mark_of
from curate.show.page import css, render, tile_values
from curate.show.tiles import Look, window_tile

EXAMPLES = 24  # of each kind
LOOK = Look(longest=400, enlarge_to=400, text=(6.4, 15.0))
_TRUTH: Colour = (86, 180, 255)
_FOUND: Colour = (255, 176, 0)
_TITLES: dict[Kind, tuple[str, str]] = {
    "missing": ("Perhaps not labelled", "The detector is surer than of what it hits, and no annotation is near."),
    "swapped": ("Perhaps another class", "Both see the same thing, and do not call it the same."),
    "misplaced": ("Perhaps badly placed", "The same class, and boxes that overlap by less than half."),
}


def draw_page(dataset: Dataset, found: Found, *, roots: Mapping[str, str] | None = None) -> str:
    """The page as HTML; ``roots`` are the folders of the images, where they are not those of ``dataset``."""
    by_kind = {kind: [one for one in found.suspects if one.kind == kind] for kind in KINDS}
    shown = {kind: of[:EXAMPLES] for kind, of in by_kind.items()}
    marks = _marks(dataset, [one for of in shown.values() for one in of])
    return render(
        "suspects.html",
        {
            "title": f"{len(found.suspects):,} labels to look at",
            "dataset": printable(dataset.info.name),
            "finds": f"{found.finds:,}",
            "unjudged": f"{found.unjudged:,}" if found.unjudged else "",
            "truth": css(_TRUTH),
            "found": css(_FOUND),
            "kinds": [
                {
                    "title": _TITLES[kind][0],
                    "about": _TITLES[kind][1],
                    "number": f"{len(by_kind[kind]):,}",
                    "tiles": [_tile(dataset, one, marks, roots or {}) for one in of],
                }
                for kind, of in shown.items()
                if of
            ],
        },
        package="curate.pages",
    )


def _marks(dataset: Dataset, shown: list[Suspect]) -> dict[str, Mark]:
    """The boxes that are shown, by the ids of their rows."""
    wanted = {name for one in shown for name in (one.annotation, one.proposal) if name is not None}
    table = dataset.table("annotations")
    rows = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(wanted), pa.string()))).to_pylist()
    return {row["id"]: mark_of(row)._replace(rle=None, polygons=None, score=None, status="truth") for row in rows}


def _tile(dataset: Dataset, one: Suspect, marks: Mapping[str, Mark], roots: Mapping[str, str]) -> dict[str, Any]:
    drawn = [marks[one.proposal]._replace(colour=_FOUND)]
    if one.annotation is not None:
        drawn.insert(0, marks[one.annotation]._replace(colour=_TRUTH))
    boxes = [mark.box for mark in drawn if mark.box is not None]
    left, top = min(x for x, _, _, _ in boxes), min(y for _, y, _, _ in boxes)
    right, bottom = max(x + w for x, _, w, _ in boxes), max(y + h for _, y, _, h in boxes)
    tile = window_tile(dataset, one.image, drawn, (left, top, right - left, bottom - top), LOOK, roots)
    parts = [f"found {one.proposed} {one.score:.2f}"]
    if one.category is not None:
        parts.append(f"labelled {one.category}")
    if one.iou is not None:
        parts.append(f"IoU {one.iou:.2f}")
    caption = printable(", ".join(parts))
    return tile_values(tile) | {
        "name": printable(one.image),
        "caption": caption,
        "alt": f"{printable(one.image)}: {caption}",
    }
