"""The objects of a Cityscapes frame: from its polygon file or its instance raster, by the table of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

from curate.errors import SourceError
from curate.geometry import rle_area, rle_bounds
from curate.model import Annotation, Finding, Item, Polygons, Rle, finding
from curate.sources import label_table
from curate.sources._files import Size, agreed_size
from curate.sources._polygon_files import paint, read_polygon_file, ring_of, without_group
from curate.sources._rasters import masks_by_value, read_raster

FIRST_INSTANCE = 1000  # smaller values of a raster are class ids


class Label(NamedTuple):
    """One row of the label table."""

    name: str
    id: int | None  # None for a label that the table lacks
    category: str | None
    thing: bool
    ignore_in_eval: bool


@cache
def labels() -> dict[str, Label]:
    """The label table by name, in its own order."""
    return {
        row["name"]: Label(
            row["name"], int(row["id"]), row["category"], row["hasInstances"] == "1", row["ignoreInEval"] == "1"
        )
        for row in label_table("cityscapes")
    }


def read_label(text: str) -> tuple[Label, bool]:
    """The class that a label names, and whether it marks a group; an unknown label is a class of its own."""
    name, group = without_group(text, labels())
    return labels().get(name) or Label(text, None, None, True, False), group


def read_value(value: int) -> tuple[Label, bool]:
    """The class of a raster's value, and whether it marks a group; an unknown id is a class of its own."""
    number = value // FIRST_INSTANCE if value >= FIRST_INSTANCE else value
    return _by_id().get(number) or Label(str(number), None, None, True, False), value < FIRST_INSTANCE


@cache
def _by_id() -> dict[int, Label]:
    return {label.id: label for label in labels().values() if label.id is not None}


@cache
def _thing_ids() -> tuple[int, ...]:
    return tuple(number for number, label in _by_id().items() if label.thing)


def read(item: Item, generation: str, size: Size | None) -> tuple[Size, list[Annotation], list[Finding]]:
    """The objects of the label file of a frame, its size, and what was left out or is odd.

    ``generation`` names the kind of file, as ``gtFine_polygons``; ``size`` is the image's where that is there.

    Raises:
        SourceError: the file is unreadable, malformed, of another kind, or made for a frame of another size.
    """
    if generation.endswith("polygons"):
        return _read_polygons(item, generation, size)
    return _read_raster(item, generation, size)


def _read_polygons(item: Item, generation: str, size: Size | None) -> tuple[Size, list[Annotation], list[Finding]]:
    """The objects of a polygon file, with what was left out of it; ``size`` is the image's, if that is there."""
    path = item.root / str(item.label)
    size, objects = read_polygon_file(path, size)
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    counted: Counter[str] = Counter()
    for i, found in enumerate(objects):
        label, group = read_label(found.label)
        if found.deleted or not label.thing:
            continue
        number = label.id
        if number is not None and not group:
            number = number * FIRST_INSTANCE + counted[label.name]
            counted[label.name] += 1
        ring = ring_of(found, path, i)
        mask = paint(ring, item, i, found.label, size)
        if isinstance(mask, Finding):
            noticed.append(mask)
            continue
        what = _What(label, found.label, group, number, generation)
        rows.append(_annotation(item.id, f"{i:04d}", what, mask, [[ring]]))
    return size, rows, noticed


def _read_raster(item: Item, generation: str, size: Size | None) -> tuple[Size, list[Annotation], list[Finding]]:
    """The instances and groups of an instance raster, by rising value."""
    path = item.root / str(item.label)
    raster, largest = read_raster(path)
    size = agreed_size(path, (raster.shape[1], raster.shape[0]), size)
    noticed = []
    if largest < FIRST_INSTANCE:
        if int(raster.max()) > max(_thing_ids()):
            raise SourceError(
                path,
                f"8-bit raster with the value {raster.max()}",
                "expected 16 bits: 8 cannot hold instance numbers",
                "use the original file",
            )
        message = "8-bit raster cannot hold instance numbers; its regions of thing classes are taken as groups"
        noticed = [finding("M10", str(item.label), message, item=item.id)]
    masks = masks_by_value(raster, lambda values: (values >= FIRST_INSTANCE) | np.isin(values, _thing_ids()))
    rows = []
    for value, mask in masks.items():
        label, group = read_value(value)
        what = _What(label, label.name, group, value, generation)
        rows.append(_annotation(item.id, f"i{value:05d}", what, mask))
    return size, rows, noticed


class _What(NamedTuple):
    """What an annotation shows: class, label as found, group or single object, the raster's number, kind of file."""

    label: Label
    found: str
    group: bool
    number: int | None
    generation: str


def _annotation(image_id: str, suffix: str, what: _What, mask: Rle, polygons: Polygons | None = None) -> Annotation:
    x, y, w, h = rle_bounds(mask)
    known = {
        "generation": what.generation,
        "extent": "amodal" if polygons else "visible",
        "instanceId": what.number,
        "ignore_in_eval": what.group or what.label.ignore_in_eval,
    }
    return Annotation(
        id=f"{image_id}#{suffix}",
        image_id=image_id,
        category=what.label.name,
        source_label=what.found,
        x=x,
        y=y,
        w=w,
        h=h,
        area=rle_area(mask),
        segmentation=mask,
        polygons=polygons,
        iscrowd=what.group,
        attributes={"cityscapes": {name: value for name, value in known.items() if value is not None}},
    )


def by_number(rows: Iterable[Annotation]) -> dict[int, str]:
    """Annotation ids by instance number, where a number stands once (groups of a class share theirs)."""
    numbered = [(row.attributes["cityscapes"].get("instanceId"), row.id) for row in rows if row.attributes]
    times = Counter(number for number, _ in numbered)
    return {number: row_id for number, row_id in numbered if times[number] == 1}
