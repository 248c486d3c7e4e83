"""The labels of one BDD100K frame as rows: boxes with inclusive corners, drivable areas, lanes."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import SourceError
from curate.geometry import Box, paint_polygons, polygon_bounds, rle_area, rle_bounds
from curate.model import Annotation, CategoryRole, Finding, Polygons, Rle, finding
from curate.sources import label_table
from curate.sources._files import Size
from curate.sources._scalabel import Corners, Label, outlines, usable

AREA, LANE = "drivable area", "lane"
_OLD_AREAS = {f"area/{kind}" for kind in ("drivable", "alternative", "unknown")}
_OLD_LANES = {
    f"lane/{kind}"
    for kind in (
        *("crosswalk", "double other", "double white", "double yellow", "road curb"),
        *("single other", "single white", "single yellow"),
    )
}


class Class(NamedTuple):
    """One class, by its name of 2020."""

    name: str
    group: str | None
    role: CategoryRole
    note: str


class _Shape(NamedTuple):
    box: Box
    area: float | None
    polygons: Polygons | None = None
    mask: Rle | None = None


@cache
def classes() -> dict[str, Class]:
    """The classes by name, in the table's order."""
    found: dict[str, Class] = {}
    for row in label_table("bdd100k"):
        name = row["det_20_category"] or row["category_2018"]
        role: CategoryRole = "benchmark" if row["note"] == "evaluated" else "other"
        if row["note"].startswith("ignored"):
            role = "ignore"
        found[name] = Class(name, row["group"] or None, role, row["note"])
    return found


@cache
def _class(label: str) -> tuple[str, bool]:
    """The class of a label as found, and whether evaluation passes over it."""
    name = _names().get(label, label)
    return name, name in classes() and classes()[name].role == "ignore"


@lru_cache(maxsize=1024)
def _marks(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Which attributes mark a crowd, and which an ignored region: ``Crowd`` and ``crowd`` both occur."""
    return [name for name in names if name.lower() == "crowd"], [name for name in names if name.lower() == "ignored"]


@cache
def _names() -> dict[str, str]:
    """The class of each label of any release; other labels are classes of their own."""
    new = {row["category_2018"]: row["det_20_category"] or row["category_2018"] for row in label_table("bdd100k")}
    return (
        {**new, **{name: name for name in classes()}}
        | dict.fromkeys(_OLD_AREAS, AREA)
        | dict.fromkeys(_OLD_LANES, LANE)
    )


def rows(
    labels: list[Label], image_id: str, size: Size, root: Path, where: str, video: str | None
) -> tuple[list[Annotation], list[Finding]]:
    """The labels of a frame, numbered by their places; those without any shape are findings.

    Args:
        size: of the picture, to clip the masks of areas to.
        where: file, relative to ``root``, and place of the list.
        video: of which the ids of labels are tracks, or None.

    Raises:
        SourceError: a box has flipped corners.
    """
    found: list[Annotation] = []
    noticed: list[Finding] = []
    for i, label in enumerate(labels):
        row_id = f"{image_id}#{i:04d}"
        box = label.box2d
        if box and (box.x2 < box.x1 or box.y2 < box.y1):
            corners = [box.x1, box.y1, box.x2, box.y2]
            place = f"{root / where}[{i}].box2d"
            raise SourceError(place, f"box {corners} has flipped corners", "expected x1 <= x2 and y1 <= y2")
        shape = _boxed(box) if box and not label.poly2d else _shape(label, size)
        if isinstance(shape, str):
            noticed.append(finding("N02", f"{where}[{i}]", f"{label.category} {shape}; left out", item=row_id))
            continue
        found.append(_row(label, shape, row_id, image_id, video))
    return found, noticed


def _row(label: Label, shape: _Shape, row_id: str, image_id: str, video: str | None) -> Annotation:
    name, ignored = _class(label.category)
    (x, y, w, h), area, polygons, mask = shape
    attributes = label.attributes or {}
    crowd, ignore = _marks(tuple(attributes))
    return Annotation(
        id=row_id,
        image_id=image_id,
        category=name,
        source_label=label.category,
        instance=f"bdd100k/{video}/{label.id}" if video and label.id is not None else None,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=mask,
        polygons=polygons,
        iscrowd=bool(crowd) and any(attributes[mark] is True for mark in crowd),
        ignore=ignored or (bool(ignore) and any(attributes[mark] is True for mark in ignore)),
        score=label.score,
        attributes={"bdd100k": _facts(label)},
    )


def _facts(label: Label) -> dict[str, Any]:
    """What a label says beyond the columns, as found; vertices where polygons do not give them back."""
    facts: dict[str, Any] = {"id": label.id}
    if label.attributes is not None:
        facts["attributes"] = label.attributes
    if label.manual_shape is not None:
        facts["manualShape"] = label.manual_shape
    if label.manual_attributes is not None:
        facts["manualAttributes"] = label.manual_attributes
    if label.poly2d:
        facts["poly2d"] = [
            list(part)
            if isinstance(part, tuple)
            else {"vertices": part.vertices, "types": part.types, "closed": part.closed}
            for part in label.poly2d
        ]
    return facts


def _boxed(found: Corners) -> _Shape:
    """A box whose corners are both pixels of it: ``w = x2 - x1 + 1``, ``h = y2 - y1 + 1``."""
    w, h = found.x2 - found.x1 + 1, found.y2 - found.y1 + 1
    return _Shape((found.x1, found.y1, w, h), w * h)


def _shape(label: Label, size: Size) -> _Shape | str:
    """The box of a label, with the mask of its closed curves; or, in words, why there is none."""
    if not label.poly2d:
        return "has neither box2d nor poly2d"
    drawn = _drawn(label, size)
    if not label.box2d:
        return drawn
    boxed = _boxed(label.box2d)
    return boxed if isinstance(drawn, str) or drawn.mask is None else drawn._replace(box=boxed.box)


def _drawn(label: Label, size: Size) -> _Shape | str:
    """The shape that curves give: that of the closed ones if there are any, else the box around the open ones."""
    found = outlines(label.poly2d or (), closed=label.category not in _OLD_LANES)
    if isinstance(found, str):
        return found
    rings, lines = found
    if not rings:
        return _Shape(polygon_bounds([lines]), None)
    wrong = usable(rings, *size)
    if wrong:
        return wrong
    polygons = [[ring] for ring in rings]
    mask = paint_polygons(polygons, *size)
    area = rle_area(mask)
    if not area:
        return f"lies outside the {size[0]} x {size[1]} frame"
    return _Shape(rle_bounds(mask), float(area), polygons, mask)
