"""Masks as polygons, for tools that draw outlines only: traced on the edges of pixels, then with fewer points.

The corners are those of pixels, so that the exact outline painted by COCO's rule (``geometry.rle_from_polygons``) is
the mask again. A simplified one is within a pixel of it, and only taken where it still covers nearly the same.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from curate.geometry import rle_counts, rle_from_polygons, rle_iou
from curate.model import Polygons, Ring, Rle

TOLERANCES = (1.0, 0.75, 0.5)  # px by which a simplified outline may leave the exact one; tried in this order
LEAST_IOU = 0.95  # of a simplified outline with the mask

Ints = NDArray[np.int64]


def outline(mask: Rle) -> Polygons:
    """The parts of a mask as rings ``[x0, y0, ...]``, pixels, the outer one first and then its holes.

    The mask must have passed :func:`curate.geometry.check_rle`. An empty one has no parts.
    """
    exact = shapely.union_all(_boxes(mask))
    for tolerance in TOLERANCES:
        fewer = _polygons(shapely.simplify(exact, tolerance))
        if fewer and rle_iou(rle_from_polygons(fewer, mask.size[1], mask.size[0]), mask) >= LEAST_IOU:
            return fewer
    return _polygons(exact)


def without_holes(polygons: Polygons) -> Polygons:
    """The same area in parts that have no holes: each part is cut from top to bottom through a hole."""
    found: Polygons = []
    waiting = [shapely.Polygon(_points(outer), [_points(hole) for hole in holes]) for outer, *holes in polygons]
    while waiting:
        part = waiting.pop(0)
        if not len(part.interiors):
            found.append([_ring(part.exterior)])
            continue
        left, _, right, _ = part.interiors[0].bounds
        at = round((left + right) / 2)
        at = at if left < at < right else (left + right) / 2
        x1, y1, x2, y2 = part.bounds
        halves = [shapely.intersection(part, shapely.box(*side)) for side in ((x1, y1, at, y2), (at, y1, x2, y2))]
        waiting[:0] = [one for half in halves for one in shapely.get_parts(half) if one.geom_type == "Polygon"]
    return found


def _boxes(mask: Rle) -> NDArray[np.object_]:
    """The runs of a mask as boxes, one for each column that a run is in."""
    height = mask.size[0]
    counts = np.array(rle_counts(mask), np.int64)
    bounds = np.cumsum(counts)
    starts, ends = (bounds - counts)[1::2], bounds[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    first = starts // height
    columns = (ends - 1) // height - first + 1
    column = np.repeat(first, columns) + _count_up(columns)
    top = np.maximum(np.repeat(starts, columns), column * height) - column * height
    bottom = np.minimum(np.repeat(ends, columns), (column + 1) * height) - column * height
    boxes: NDArray[np.object_] = shapely.box(column, top, column + 1, bottom)
    return boxes


def _count_up(lengths: Ints) -> Ints:
    """0, 1, ... up to each of ``lengths``, one after the other."""
    count: Ints = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return count


def _polygons(shape: shapely.Geometry) -> Polygons:
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and not part.is_empty]
    return [[_ring(part.exterior), *(_ring(hole) for hole in part.interiors)] for part in parts]


def _ring(ring: shapely.LinearRing) -> Ring:
    flat: Ring = shapely.get_coordinates(ring)[:-1].ravel().tolist()
    return flat


def _points(ring: Ring) -> list[tuple[float, float]]:
    return list(zip(ring[::2], ring[1::2], strict=True))
