"""Polygon files of Cityscapes' schema, which its relatives share: one JSON file per frame, a list of labelled polygons.

``imgHeight``, ``imgWidth`` and ``objects``, each with ``label`` and ``polygon`` (points ``[x, y]``, pixels, origin at
the top left, not closed), perhaps ``deleted`` and what the labelling tool adds. Later objects lie over earlier ones.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from curate.errors import SourceError
from curate.geometry import check_ring, paint_polygons, rle_area
from curate.model import Polygons, Rle
from curate.sources._files import Size, agreed_size, read_json

_GROUP = "group"


class PolygonObject(Struct, frozen=True):
    """One object of a file; the fields after ``deleted`` are the labelling tool's own and not always there."""

    label: str
    polygon: list[tuple[float, float]]
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


def read_polygon_file(path: Path, size: Size | None) -> tuple[Size, list[PolygonObject]]:
    """The size of the frame, which must be ``size`` where the image's is known, and its objects in painting order.

    Raises:
        SourceError: the file is unreadable or malformed, or was made for a frame of another size.
    """
    file = read_json(path, _file)
    return agreed_size(path, (file.img_width, file.img_height), size), file.objects


def without_group(label: str, known: Container[str]) -> tuple[str, bool]:
    """The class that a label names, and whether it marks a group: ``cargroup`` is a group of ``car``.

    A label that is ``known`` itself (``polegroup``) is no group, nor is one whose class is unknown.
    """
    single = label.removesuffix(_GROUP)
    group = label not in known and single in known
    return (single if group else label), group


def paint(polygon: list[tuple[float, float]], where: str, size: Size) -> tuple[Polygons, Rle] | str:
    """The polygon as it is kept, and its mask; or, in words, why it shows nothing in a frame of ``size``.

    It is painted as the development kits do, with Pillow's rule (a polygon over x = 20..59 covers 40 columns), and
    clipped to the frame.

    Raises:
        SourceError: a vertex lies far outside the frame; ``where`` names the object.
    """
    ring = [value for point in polygon for value in point]
    wrong = check_ring(ring, *size)
    if wrong and wrong.startswith("M02"):
        raise SourceError(where, wrong.removeprefix("M02 "))
    if wrong:
        return wrong.removeprefix("M01 ")
    mask = paint_polygons([[ring]], *size)
    return ([[ring]], mask) if rle_area(mask) else f"polygon lies outside the {size[0]} x {size[1]} frame"
