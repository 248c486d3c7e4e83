"""The objects of a Mapillary Vistas image: from its instance raster, its panoptic entry, or its polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw, Struct

from curate.errors import SourceError
from curate.geometry import rle_area, rle_bounds
from curate.model import Annotation, Finding, Item, Polygons, Ring, Rle
from curate.sources import _panoptic as panoptic
from curate.sources._files import Size, agreed_size, decode_json, read_json
from curate.sources._polygon_files import paint
from curate.sources._rasters import masks_by_value, read_raster
from curate.sources._vistas_labels import GROUPS, Label, by_number

_PER_CLASS = 256  # raster value = class id * 256 + number of the instance, from 0
_LARGEST = 65_535

# What is read of an image: its size, its objects, and what was left out or is odd.
Read = tuple[Size, list[Annotation], list[Finding]]


class _Object(Struct, frozen=True):
    label: str
    polygon: Raw
    id: Any = None


class _File(Struct, frozen=True):
    width: int
    objects: list[_Object]
    height: int | None = None
    heigth: int | None = None  # so written in a file that others made


_file = msgspec.json.Decoder(_File)
_vertices = msgspec.json.Decoder(list[list[float]])


def from_instances(item: Item, labels: Sequence[Label], size: Size | None) -> Read:
    """The objects of an instance raster, by rising value; ``size`` is the image's where that is known.

    Raises:
        SourceError: it is unreadable, of another size than the image, or has 8 bits, which cannot hold its values.
    """
    path = item.root / str(item.label)
    raster, largest = read_raster(path)
    if largest < _LARGEST:
        raise SourceError(path, "is a raster of 8 bits", "expected 16 bits", "is it from the folder labels?")
    size = agreed_size(path, (raster.shape[1], raster.shape[0]), size)
    stuff = [number for number, label in enumerate(labels) if not label.instances]
    masks = masks_by_value(raster, lambda values: ~np.isin(values // _PER_CLASS, stuff))
    rows = [
        _annotation(item.id, f"i{value:05d}", by_number(labels, value // _PER_CLASS).name, mask, {"instanceId": value})
        for value, mask in masks.items()
    ]
    return size, rows, []


def from_panoptic(item: Item, entry: panoptic.Entry, classes: Mapping[int, Label], size: Size | None) -> Read:
    """The segments of things of a panoptic entry, whose picture is ``item.label``.

    Raises:
        SourceError: as ``read_regions`` of ``_panoptic``.
    """
    size, regions, noticed = panoptic.read_regions(
        item.root, item.label, entry, size, item.id, lambda segment: _class(classes, segment).instances
    )
    rows = []
    for region in regions:
        name = _class(classes, region.segment).name
        row = panoptic.region_annotation(item.id, "mapillary_vistas", region, name)
        rows.append(msgspec.structs.replace(row, iscrowd=True) if name in GROUPS else row)
    return size, rows, noticed


def _class(classes: Mapping[int, Label], segment: panoptic.Segment) -> Label:
    return classes.get(segment.category_id) or Label(str(segment.category_id), True)


def panoptic_classes(file: panoptic.PanopticFile, labels: Sequence[Label]) -> dict[int, Label]:
    """The classes of a panoptic file by its own ids. Which field has the long name is not settled: either will do."""
    known = {label.name: label for label in labels}
    return {
        number: known.get(str(found.supercategory)) or known.get(found.name) or Label(found.name, found.isthing != 0)
        for number, found in file.labels.items()
    }


def from_polygons(item: Item, labels: Sequence[Label], size: Size | None) -> Read:
    """The things of a polygon file, painted with Pillow's rule and clipped to the frame, in the file's order.

    Raises:
        SourceError: it is unreadable or malformed, or was made for an image of another size.
    """
    path = item.root / str(item.label)
    file = read_json(path, _file)
    height = file.height if file.height is not None else file.heigth
    if height is None:
        raise SourceError(path, "object missing required field `height`", "expected the format's fields")
    size = agreed_size(path, (file.width, height), size)
    stuff = {label.name for label in labels if not label.instances}
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    for i, found in enumerate(file.objects):
        if found.label in stuff:
            continue
        place = f"objects[{i}].polygon"
        ring = _ring(decode_json(found.polygon, _vertices, path, place), f"{path}, {place}")
        mask = paint(ring, item, i, found.label, size)
        if isinstance(mask, Finding):
            noticed.append(mask)
            continue
        known = {} if found.id is None else {"id": found.id}
        rows.append(_annotation(item.id, f"{i:04d}", found.label, mask, known, [[ring]]))
    return size, rows, noticed


def _ring(vertices: list[list[float]], where: str) -> Ring:
    """The coordinates one after the other, from points or from one flat list of them, which others have written."""
    flat = len(vertices) == 1 and len(vertices[0]) % 2 == 0
    for k, point in enumerate(vertices):
        if len(point) != 2 and not flat:
            raise SourceError(f"{where}[{k}]", f"is a list of {len(point)} numbers", "expected x, y")
    return [value for point in vertices for value in point]


def _annotation(
    image_id: str, suffix: str, name: str, mask: Rle, known: dict[str, Any], polygons: Polygons | None = None
) -> Annotation:
    x, y, w, h = rle_bounds(mask)
    return Annotation(
        id=f"{image_id}#{suffix}",
        image_id=image_id,
        category=name,
        source_label=name,
        x=x,
        y=y,
        w=w,
        h=h,
        area=rle_area(mask),
        segmentation=mask,
        polygons=polygons,
        iscrowd=name in GROUPS,
        attributes={"mapillary_vistas": known} if known else None,
    )
