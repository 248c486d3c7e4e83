"""Polygon files of Cityscapes' schema, which its relatives share: one JSON file per frame, a list of labelled polygons.

``imgHeight``, ``imgWidth`` and ``objects``, each with ``label`` and ``polygon`` (points ``[x, y]``, pixels, origin at
the top left, not closed), perhaps ``deleted`` and what the labelling tool adds. Later objects lie over earlier ones.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from curate.errors import SourceError
from curate.geometry import check_ring, paint_polygons, rle_area
from curate.model import Finding, Item, Ring, Rle, finding
from curate.sources._files import Size, agreed_size, decode_json, read_json

_GROUP = "group"


class PolygonObject(Struct, frozen=True):
    """One object of a file; the fields after ``deleted`` are the labelling tool's own and not always there.

    The polygon is still JSON text (:func:`ring_of`): most objects are stuff, whose polygons nobody needs.
    """

    label: str
    polygon: Raw
    deleted: int | bool = 0
    id: Any = None
    user: Any = None
    date: Any = None
    verified: Any = None
    draw: Any = None


class _File(Struct, frozen=True, rename="camel"):
    img_height: int
    img_width: int
    objects: list[PolygonObject]


_file = msgspec.json.Decoder(_File)
_points = msgspec.json.Decoder(list[tuple[float, float]])


def read_polygon_file(path: Path, size: Size | None) -> tuple[Size, list[PolygonObject]]:
    """The size of the frame, which must be ``size`` where the image's is known, and its objects in painting order.

    Raises:
        SourceError: the file is unreadable or malformed, or was made for a frame of another size.
    """
    file = read_json(path, _file)
    return agreed_size(path, (file.img_width, file.img_height), size), file.objects


def ring_of(found: PolygonObject, path: Path, i: int) -> Ring:
    """The vertices of object ``i`` of the file ``path``, one after the other.

    Raises:
        SourceError: they are no pairs of numbers.
    """
    points = decode_json(found.polygon, _points, path, f"objects[{i}].polygon")
    return [value for point in points for value in point]


def without_group(label: str, known: Container[str]) -> tuple[str, bool]:
    """The class that a label names, and whether it marks a group: ``cargroup`` is a group of ``car``.

    A label that is ``known`` itself (``polegroup``) is no group, nor is one whose class is unknown.
    """
    single = label.removesuffix(_GROUP)
    group = label not in known and single in known
    return (single if group else label), group


def paint(ring: Ring, item: Item, i: int, label: str, size: Size) -> Rle | Finding:
    """The mask of object ``i`` of the item's label file in a frame of ``size``; a finding if it shows nothing there.

    It is painted as the development kits do, with Pillow's rule (a polygon over x = 20..59 covers 40 columns), and
    clipped to the frame.

    Raises:
        SourceError: a vertex lies far outside the frame.
    """
    wrong = check_ring(ring, *size)
    if wrong and wrong.startswith("M02"):
        raise SourceError(f"{item.root / str(item.label)}, objects[{i}]", wrong.removeprefix("M02 "))
    mask = None if wrong else paint_polygons([[ring]], *size)
    if mask and rle_area(mask):
        return mask
    why = wrong.removeprefix("M01 ") if wrong else f"polygon lies outside the {size[0]} x {size[1]} frame"
    return finding("N02", f"{item.label}, objects[{i}]", f"{label}: {why}; left out", item=item.id)
