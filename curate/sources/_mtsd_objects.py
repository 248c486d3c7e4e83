"""The signs of one image of MTSD: its JSON file, boxes that run over a panorama's seam, pictures stored turned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from curate.errors import SourceError
from curate.geometry import Box, box_from_corners
from curate.model import Annotation
from curate.pictures import Header
from curate.sources._files import Size, agreed_size, read_json

# px; no picture is as large, and differences of numbers up to here are finite.
_Pixel = Annotated[float, Meta(ge=-1e9, le=1e9)]
_Key = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]
# EXIF orientations that swap width and height when the picture is turned for viewing.
_SIDEWAYS = (5, 6, 7, 8)


class _Corners(Struct, frozen=True):
    xmin: _Pixel
    ymin: _Pixel
    xmax: _Pixel
    ymax: _Pixel


class _Pieces(Struct, frozen=True):
    left: _Corners
    right: _Corners


class _Box(Struct, frozen=True, omit_defaults=True):
    xmin: _Pixel
    ymin: _Pixel
    xmax: _Pixel
    ymax: _Pixel
    cross_boundary: _Pieces | None = None


class _Link(Struct, frozen=True):
    image_key: _Key
    object_key: _Key


class _Object(Struct, frozen=True):
    key: _Key
    label: Annotated[str, Meta(min_length=1)]
    bbox: _Box
    properties: dict[str, bool] = {}
    correspondance: _Link | None = None  # spelt so in the files


class _File(Struct, frozen=True):
    width: int
    height: int
    objects: list[_Object]
    ispano: bool | None = None


class Signs(NamedTuple):
    """What an annotation file says; ``turned`` is the EXIF orientation that its boxes were taken back from."""

    size: Size  # of the stored picture
    ispano: bool | None
    rows: list[Annotation]
    turned: int | None


_file = msgspec.json.Decoder(_File)


def read_signs(path: Path, image_id: str, header: Header | None) -> Signs:
    """The signs of one annotation file, in its order.

    Raises:
        SourceError: the file is unreadable or malformed, was made for a picture of another size, a key stands twice or
            a box has flipped corners.
    """
    file = read_json(path, _file)
    stated = (file.width, file.height)
    turned = header.orientation if header else None
    if header is None or turned not in _SIDEWAYS or stated != (header.height, header.width):
        turned = None
    size = stated[::-1] if turned else stated
    agreed_size(path, size, (header.width, header.height) if header else None)
    name = str(path)
    seen: set[str] = set()
    rows: list[Annotation] = []
    for i, sign in enumerate(file.objects):
        where = f"{name}, objects[{i}]"
        if sign.key in seen:
            raise SourceError(where, f"key {sign.key!r} stands twice", "expected one object of each key")
        seen.add(sign.key)
        rows += _rows(sign, image_id, size, turned, where)
    return Signs(size, file.ispano, rows, turned)


def _rows(sign: _Object, image_id: str, size: Size, turned: int | None, where: str) -> list[Annotation]:
    """One row, or two where the sign runs over the seam; the right piece is part of the left one."""
    row_id = f"{image_id}#{sign.key}"
    facts = _facts(sign, turned)
    pieces = sign.bbox.cross_boundary
    if pieces is None:
        return [_row(sign, row_id, image_id, _box(sign.bbox, size, turned, where), facts)]
    left = _box(pieces.left, size, turned, f"{where}.bbox.cross_boundary.left")
    right = _box(pieces.right, size, turned, f"{where}.bbox.cross_boundary.right")
    return [
        _row(sign, row_id, image_id, left, facts | {"piece": "left"}),
        _row(sign, f"{row_id}/right", image_id, right, facts | {"piece": "right"}, parent=row_id),
    ]


def _row(
    sign: _Object, row_id: str, image_id: str, box: Box, facts: dict[str, Any], parent: str | None = None
) -> Annotation:
    x, y, w, h = box
    physical = sign.correspondance.object_key if sign.correspondance else sign.key
    return Annotation(
        id=row_id,
        image_id=image_id,
        parent_id=parent,
        category=sign.label,
        source_label=sign.label,
        instance=f"mtsd/{physical}",
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
        attributes={"mtsd": facts} if facts else None,
    )


def _facts(sign: _Object, turned: int | None) -> dict[str, Any]:
    """What the file says of a sign beyond the columns; the box as found where the row does not give it back."""
    facts: dict[str, Any] = {}
    if sign.properties:
        facts["properties"] = sign.properties
    if sign.correspondance:
        facts["correspondance"] = msgspec.to_builtins(sign.correspondance)
    if turned or sign.bbox.cross_boundary:
        facts["bbox"] = msgspec.to_builtins(sign.bbox)
    return facts


def _box(found: _Corners | _Box, size: Size, turned: int | None, where: str) -> Box:
    corners = (found.xmin, found.ymin, found.xmax, found.ymax)
    if found.xmax < found.xmin or found.ymax < found.ymin:
        expected = "expected xmin <= xmax and ymin <= ymax, or cross_boundary for a sign over the seam"
        raise SourceError(where, f"box {list(corners)} has flipped corners", expected)
    return box_from_corners(*(as_stored(corners, size, turned) if turned else corners))


def as_stored(
    corners: tuple[float, float, float, float], size: Size, orientation: int
) -> tuple[float, float, float, float]:
    """Corners ``x1, y1, x2, y2`` in a picture turned for viewing, as corners in the picture as it is stored.

    ``size`` is that of the stored picture, ``orientation`` its EXIF value: 5 mirrored at the falling diagonal, 6 to be
    turned clockwise by 90 degrees, 7 mirrored at the rising diagonal, 8 to be turned counter-clockwise.
    """
    width, height = size
    # Seen upright, x runs along the stored y and y along the stored x; either may run backwards.
    left, top, right, bottom = corners
    xs = (width - bottom, width - top) if orientation in (7, 8) else (top, bottom)
    ys = (height - right, height - left) if orientation in (6, 7) else (left, right)
    return xs[0], ys[0], xs[1], ys[1]
