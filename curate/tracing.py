"""Masks as polygons, for tools that draw outlines only: traced on the edges of pixels, then with fewer points.

The corners are those of pixels, so that the exact outline painted by COCO's rule (``geometry.rle_from_polygons``) is
the mask again. A simplified one is within a pixel of it, and only taken where it still covers nearly the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray

from curate.geometry import mask_from_rle, rle_bounds, rle_from_mask, rle_from_polygons, rle_iou
from curate.model import Polygons, Ring, Rle

TOLERANCES = (1.0, 0.75, 0.5)  # px by which a simplified outline may leave the exact one; tried in this order
LEAST_IOU = 0.95  # of a simplified outline with the mask

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def outline(mask: Rle) -> Polygons:
    """The parts of a mask as rings ``[x0, y0, ...]``, pixels, the outer one first and then its holes.

    The mask must have passed :func:`curate.geometry.check_rle`. An empty one has no parts.
    """
    x, y, width, height = (int(side) for side in rle_bounds(mask))
    window = mask_from_rle(mask)[y : y + height, x : x + width] > 0
    painted = rle_from_mask(window)
    exact = _faces(window)
    for tolerance in TOLERANCES:
        # Part by part: all at once takes hundreds of times as long where there are many.
        fewer = shapely.simplify(exact, tolerance)
        if len(fewer) and rle_iou(rle_from_polygons(_polygons(fewer), width, height), painted) >= LEAST_IOU:
            return _polygons(fewer, x, y)
    return _polygons(exact, x, y)


def without_holes(polygons: Polygons) -> Polygons:
    """The same area in parts that have no holes: each part with some is cut from top to bottom through them.

    Rings of such a part that cross themselves are first made valid ones.
    """
    found: Polygons = []
    for part in polygons:
        if len(part) == 1:
            found.append(part)
        else:
            outer, *holes = (shapely.make_valid(shapely.Polygon(_points(ring))) for ring in part)
            whole = shapely.difference(outer, shapely.union_all(holes))
            found += [[_ring(piece.exterior)] for piece in _cut(whole)]
    return found


def _cut(shape: shapely.Geometry) -> list[shapely.Polygon]:
    """The pieces of a shape, without holes, from left to right."""
    found: list[shapely.Polygon] = []
    waiting = _parts(shape)
    while waiting:
        part = waiting.pop(0)
        if not len(part.interiors):
            found.append(part)
            continue
        # Through the hole in the middle, so that half of the others lie on either side.
        middles = sorted((hole.bounds[0] + hole.bounds[2], hole.bounds) for hole in part.interiors)
        left, _, right, _ = middles[len(middles) // 2][1]
        at = round((left + right) / 2)
        at = at if left < at < right else (left + right) / 2
        x1, y1, x2, y2 = part.bounds
        halves = [shapely.intersection(part, shapely.box(*side)) for side in ((x1, y1, at, y2), (at, y1, x2, y2))]
        waiting[:0] = [one for half in halves for one in _parts(half)]
    return found


def _faces(mask: Bools) -> NDArray[np.object_]:
    """The parts of a mask: of all that its outline encloses, what holds a pixel of it, and not what is a hole."""
    faces = shapely.get_parts(shapely.polygonize(_edges(mask)))
    inside = np.floor(shapely.get_coordinates(shapely.point_on_surface(faces))).astype(np.int64)
    held: NDArray[np.object_] = faces[mask[inside[:, 1], inside[:, 0]]]
    return held


def _edges(mask: Bools) -> NDArray[np.object_]:
    """The straight pieces of a mask's outline, as lines between its corners.

    A corner is a point between four pixels of which one or three are in the mask, or two that touch there alone: these
    are two corners. From each a piece goes left or right, and one up or down; along a row or column, the first corner
    is joined with the second, the third with the fourth.
    """
    x, y, left, up = _corners(mask)
    along = np.lexsort((~left, x, y)).reshape(-1, 2)
    down = np.lexsort((~up, y, x)).reshape(-1, 2)
    pairs = np.concatenate([along, down])
    lines: NDArray[np.object_] = shapely.linestrings(np.stack([x[pairs], y[pairs]], axis=-1))
    return lines


def _corners(mask: Bools) -> tuple[Ints, Ints, Bools, Bools]:
    """Where the corners are, and whether their pieces of the outline go left and up."""
    framed = np.pad(mask, 1)
    a, b, c, d = framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:]
    three = a.astype(np.int8) + b + c + d == 3
    # The pixel that is unlike both beside it has the corner, if it is in the mask or alone is not.
    parts = [
        np.argwhere((one != beside) & (one != below) & (one | three))
        for one, beside, below in ((a, b, c), (b, a, d), (c, d, a), (d, c, b))
    ]
    rows, columns = np.concatenate(parts).T
    lengths = [len(part) for part in parts]
    return columns, rows, np.repeat([True, False, True, False], lengths), np.repeat([True, True, False, False], lengths)


def _parts(shape: shapely.Geometry) -> list[shapely.Polygon]:
    parts = [piece for part in shapely.get_parts(shape) for piece in shapely.get_parts(part)]  # of collections
    return [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]


def _polygons(shapes: Iterable[shapely.Geometry], x: int = 0, y: int = 0) -> Polygons:
    """Shapes as rings, moved right and down by ``x, y``."""
    parts = [part for shape in shapes for part in _parts(shape)]
    return [[_ring(ring, x, y) for ring in (part.exterior, *part.interiors)] for part in parts]


def _ring(ring: shapely.LinearRing, x: int = 0, y: int = 0) -> Ring:
    flat: Ring = (shapely.get_coordinates(ring)[:-1] + np.array([x, y])).ravel().tolist()
    return flat


def _points(ring: Ring) -> list[tuple[float, float]]:
    return list(zip(ring[::2], ring[1::2], strict=True))
