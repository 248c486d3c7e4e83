"""Pictures as they are looked at, turned as their EXIF orientation says; and boxes, polygons and masks in them.

Annotations are made in the stored, unturned frame; viewers (browsers among them) turn. An orientation is 1 to 8, of
which 5 to 8 exchange width and height (EXIF 2.3, tag 0x0112). Points are pixels from the top-left corner.
"""

from __future__ import annotations

import msgspec
import numpy as np
from PIL import Image as PilImage

from curate.geometry import mask_from_rle, rle_from_mask
from curate.model import Annotation, Ring, Rle

_T = PilImage.Transpose
_TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
_EXCHANGED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
Size = tuple[int, int]
Corners = tuple[float, float, float, float]  # left, top, right, bottom


def turned_picture(picture: PilImage.Image, orientation: int | None) -> PilImage.Image:
    """The stored picture as it is to be looked at."""
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def turned_size(size: Size, orientation: int | None) -> Size:
    """Width and height after turning."""
    return (size[1], size[0]) if orientation in _EXCHANGED else size


def back(orientation: int | None) -> int | None:
    """The orientation that turns back: of a quarter turn the other one, of all others the same."""
    return {6: 8, 8: 6}.get(orientation or 1, orientation)


def turned_point(x: float, y: float, size: Size, orientation: int | None) -> tuple[float, float]:
    """A point of a view of ``size`` (before turning), after it."""
    width, height = turned_size(size, orientation)
    if orientation in _EXCHANGED:
        x, y = y, x
    return width - x if orientation in _MIRRORED else x, height - y if orientation in _UPSIDE_DOWN else y


def turned_box(box: Corners, size: Size, orientation: int | None) -> Corners:
    """Left, top, right, bottom in a view of ``size`` (before turning), after it."""
    first = turned_point(box[0], box[1], size, orientation)
    second = turned_point(box[2], box[3], size, orientation)
    left, right = sorted((first[0], second[0]))
    top, bottom = sorted((first[1], second[1]))
    return left, top, right, bottom


def turned_ring(ring: Ring, size: Size, orientation: int | None) -> Ring:
    """A polygon's ring ``[x0, y0, ...]``."""
    points = zip(ring[::2], ring[1::2], strict=True)
    return [value for x, y in points for value in turned_point(x, y, size, orientation)]


def turned_mask(mask: Rle, orientation: int | None) -> Rle:
    """A mask of the whole picture."""
    pixels = mask_from_rle(mask)
    pixels = pixels.T if orientation in _EXCHANGED else pixels
    pixels = pixels[:, ::-1] if orientation in _MIRRORED else pixels
    return rle_from_mask(np.asarray(pixels[::-1] if orientation in _UPSIDE_DOWN else pixels))


def turned_annotation(row: Annotation, size: Size, orientation: int | None) -> Annotation:
    """A row of a picture of ``size`` (before turning), after it; what it says of how it was drawn is left out."""
    if orientation in (None, 1):
        return row
    x, y, w, h = row.x, row.y, row.w, row.h
    if x is not None and y is not None and w is not None and h is not None:
        x, y, *_ = turned_box((x, y, x + w, y + h), size, orientation)
        # The sides themselves stay: differences of edges may not be the same to the last bit.
        w, h = (h, w) if orientation in _EXCHANGED else (w, h)
    attributes = {key: value for key, value in (row.attributes or {}).items() if key != "review"}
    return msgspec.structs.replace(
        row,
        x=x,
        y=y,
        w=w,
        h=h,
        segmentation=None if row.segmentation is None else turned_mask(row.segmentation, orientation),
        polygons=None
        if row.polygons is None
        else [[turned_ring(ring, size, orientation) for ring in part] for part in row.polygons],
        attributes=attributes or None,
    )
