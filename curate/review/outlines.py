"""Masks of drawn objects: many checked at once, IoU, boundaries, and what STAPLE says of who drew them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pycocotools import mask as coco_mask

from curate import runlengths
from curate.geometry import MAX_MASK_PIXELS, check_ring, rle_bounds, rle_from_polygons
from curate.model import Annotation, Rle
from curate.review import agreement, consensus
from curate.review.agreement import Bools, Floats

Size = tuple[int, int]  # width, height of the image
_PORTION = 20_000  # masks that are checked at a time


class Masks(NamedTuple):
    """The masks of objects, None where an object has none; areas in pixels."""

    rles: Sequence[Rle | None]
    areas: Floats

    def iou(self, a: int, b: int) -> float | None:
        """Of two objects; None where one has no mask, or they are of different frames."""
        both = _shared(self.rles[a], self.rles[b])
        if both is None:
            return None
        union = float(self.areas[a] + self.areas[b]) - both
        return both / union if union else 0.0

    def share(self, a: int, regions: Masks, b: int) -> float | None:
        """How much of an object lies in a region; None as above."""
        both = _shared(self.rles[a], regions.rles[b])
        return None if both is None else both / float(self.areas[a]) if self.areas[a] else 0.0


def _shared(one: Rle | None, other: Rle | None) -> float | None:
    """Pixels of both."""
    if one is None or other is None or one.size != other.size:
        return None
    return float(coco_mask.area(coco_mask.merge([_coco(one), _coco(other)], intersect=True)))


def masks_of(rows: Sequence[Annotation], sizes: Sequence[Size | None]) -> Masks:
    """The masks of rows, from run lengths or polygons; those that do not fit their image are none."""
    rles: list[Rle | None] = [None] * len(rows)
    areas = np.zeros(len(rows))
    given = [i for i, row in enumerate(rows) if row.segmentation is not None or row.polygons]
    for start in range(0, len(given), _PORTION):
        places = given[start : start + _PORTION]
        made = [_mask(rows[i], sizes[i]) for i in places]
        there = [(i, rle) for i, rle in zip(places, made, strict=True) if rle is not None]
        for (i, rle), area in zip(there, _areas([rle for _, rle in there]), strict=True):
            if area >= 0:
                rles[i], areas[i] = rle, area
    return Masks(rles, areas)


def mask_of(row: Annotation, size: Size | None) -> Rle | None:
    """The mask of one row."""
    return masks_of([row], [size]).rles[0]


def _mask(row: Annotation, size: Size | None) -> Rle | None:
    if row.segmentation is not None:
        height, width = row.segmentation.size
        return row.segmentation if min(height, width) >= 0 and height * width <= MAX_MASK_PIXELS else None
    rings = [ring for part in row.polygons or () for ring in part]
    if not rings or size is None or any(check_ring(ring, *size) for ring in rings):
        return None
    return rle_from_polygons(row.polygons or [], *size)


def _areas(rles: Sequence[Rle]) -> list[int]:
    """Foreground pixels; -1 of run lengths that do not fit their frame."""
    runs, offsets, good = runlengths.decode(pa.array([rle.counts for rle in rles], pa.string()))
    heights, widths = np.array([rle.size for rle in rles], np.int64).reshape(-1, 2).T
    lengths = np.diff(offsets)
    inside = (np.arange(len(runs)) - np.repeat(offsets[:-1], lengths)) % 2 == 1
    painted = np.concatenate([[0], np.cumsum(np.where(inside, runs, 0))])
    areas = np.diff(painted[offsets])
    areas[[place for place, _ in runlengths.faults(runs, offsets, good, heights, widths)]] = -1
    found: list[int] = areas.tolist()
    return found


def _coco(rle: Rle) -> dict[str, object]:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}


def windows(masks: Sequence[Rle]) -> list[Bools]:
    """The masks within the smallest window that holds them all; outside of it there is nothing."""
    bounds = np.array([rle_bounds(mask) for mask in masks])
    held = bounds[(bounds[:, 2] > 0) & (bounds[:, 3] > 0)]
    if not len(held):
        return [np.zeros((0, 0), bool) for _ in masks]
    left, top = held[:, :2].min(axis=0).astype(int).tolist()
    right, bottom = (held[:, :2] + held[:, 2:]).max(axis=0).astype(int).tolist()
    return [_columns(mask, left, right)[top:bottom] for mask in masks]


def _columns(mask: Rle, left: int, right: int) -> Bools:
    """Some columns of a mask: the frame is never painted whole."""
    height = mask.size[0]
    runs, _, _ = runlengths.decode(pa.array([mask.counts]))
    ends = np.clip(np.cumsum(runs) - left * height, 0, (right - left) * height)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, np.diff(ends, prepend=0))
    return flat.reshape(right - left, height).T


def reach_of(frame: Rle) -> float:
    """How far two edges may lie apart and still agree: 0.8 % of the frame's diagonal, at least 1 px."""
    return max(1.0, float(np.floor(0.008 * np.hypot(*frame.size) + 0.5)))


def boundaries(a: Rle, b: Rle) -> tuple[float, float]:
    """Boundary F, and boundary IoU with bands as deep as the edges may lie apart."""
    first, second = windows([a, b])
    reach = reach_of(a)
    padded = [np.pad(mask, 1) for mask in (first, second)]
    return agreement.boundary_f(first, second, reach), agreement.boundary_iou(padded[0], padded[1], int(reach))


def drawn_by_staple(masks: Sequence[Rle]) -> list[tuple[float, float]]:
    """Sensitivity and specificity of each mask, within the smallest window around all.

    A window that the masks fill has a rim of one pixel added: without background there is no specificity.
    """
    held = windows(masks)
    found = consensus.staple([np.pad(mask, 1) for mask in held] if np.all(np.any(held, axis=0)) else held)
    return list(zip(found.sensitivity.tolist(), found.specificity.tolist(), strict=True))
