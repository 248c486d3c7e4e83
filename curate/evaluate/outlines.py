"""How much two outlines overlap: intersection over union of their boxes and of the pixels that they cover.

``upstream`` counts as the programs of PROxford and PRParis do, to the last pixel: coordinates are cut to integers, the
canvas ends with the largest coordinate, so that its row and column are lost, and polygons are painted as OpenCV 4.10
paints them, outline included. That painting is done here, so that a score does not depend on the version of a library.
``strict`` has a canvas that holds both outlines, and boxes from the coordinates as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.evaluate.ranking import Bools, Floats

Ints = NDArray[np.int64]
Outline = Sequence[Floats]  # polygons (points, 2) of x, y
Point = Sequence[int]
_ONE = 1 << 16  # OpenCV's fixed point


_FARTHEST = 1 << 13  # px; no picture of these sets is a quarter as large, and a canvas must hold an outline


def far_away(parts: Outline) -> tuple[str, str] | None:
    """What was found and what was expected, where a coordinate is so large that nobody can paint the outline."""
    most = max((float(np.abs(part).max()) for part in parts if part.size), default=0.0)
    if most <= _FARTHEST:
        return None
    return f"a coordinate is {most:g} px from the corner", f"expected at most {_FARTHEST:,} px, within the picture"


class _Cut(NamedTuple):
    """A side of a polygon within the canvas."""

    start: Point
    end: Point
    was_cut: bool
    inside: bool


def overlap(found: Outline, truth: Outline, variant: Literal["upstream", "strict"] = "strict") -> tuple[float, float]:
    """IoU of the boxes and of the masks; nothing found overlaps nothing."""
    if not found or not truth:
        return 0.0, 0.0
    parts = [[np.trunc(part).astype(np.int64) for part in outline] for outline in (found, truth)]
    corners = [np.stack([part.min(axis=0) for part in one]).min(axis=0) for one in parts]
    ends = [np.stack([part.max(axis=0) for part in one]).max(axis=0) for one in parts]
    if variant == "upstream":
        side = int(max(end.max() for end in ends))
        boxes = [_slice(corner, end, side) for corner, end in zip(corners, ends, strict=True)]
        masks = [paint(one, side, side) for one in parts]
        return _iou(*boxes), _iou(*masks)
    shared, either = mask_counts(found, truth)
    return _box_iou(found, truth), shared / either if either else 0.0


def mask_counts(found: Outline, truth: Outline) -> tuple[int, int]:
    """Pixels that both outlines cover, and that either does, as ``strict`` counts them; one of the two may be empty."""
    parts = [[np.trunc(part).astype(np.int64) for part in outline] for outline in (found, truth)]
    every = np.concatenate([part for one in parts for part in one] or [np.zeros((1, 2), np.int64)])
    shift = every.min(axis=0)
    width, height = (int(n) + 1 for n in every.max(axis=0) - shift)
    a, b = (paint([part - shift for part in one], width, height) for one in parts)
    return int((a & b).sum()), int((a | b).sum())


def _iou(a: Bools, b: Bools) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _slice(corner: Ints, end: Ints, side: int) -> Bools:
    canvas = np.zeros((side, side), bool)
    canvas[corner[1] : end[1] + 1, corner[0] : end[0] + 1] = True
    return canvas


def _box_iou(a: Outline, b: Outline) -> float:
    (ax, ay, ar, ab), (bx, by, br, bb) = (
        (*np.concatenate(list(one)).min(axis=0), *np.concatenate(list(one)).max(axis=0)) for one in (a, b)
    )
    inside = max(min(ar, br) - max(ax, bx), 0.0) * max(min(ab, bb) - max(ay, by), 0.0)
    union = (ar - ax) * (ab - ay) + (br - bx) * (bb - by) - inside
    return float(inside / union) if union else 0.0


def paint(parts: Sequence[Ints], width: int, height: int) -> Bools:
    """The pixels that polygons with integer corners cover, each filled by the even-odd rule with its outline."""
    canvas = np.zeros((height, width), bool)
    for points in parts:
        _fill(canvas, points)
    return canvas


def _fill(canvas: Bools, points: Ints) -> None:
    """Paint one polygon as OpenCV's fillPoly does: its sides as lines of 8 neighbours, then the spans between them.

    A side that leaves the canvas is first cut to it in whole pixels, and its crossings follow the cut.
    """
    height, width = canvas.shape
    if not canvas.size:
        return
    crossings = []
    for start, end in zip(np.roll(points, 1, axis=0).tolist(), points.tolist(), strict=True):
        cut = _clip(start, end, width - 1, height - 1)
        if cut.inside:
            x, y = _line(cut.start, cut.end)
            canvas[y, x] = True
        if start[1] != end[1]:
            crossings.append(_crossings(start, end, cut))
    if not crossings:
        return
    y, x = (np.concatenate(both) for both in zip(*crossings, strict=True))
    order = np.lexsort((x, y))
    rows, x = y[order][0::2], x[order] // _ONE
    left, right = np.maximum(x[0::2], 0), np.minimum(x[1::2], width - 1)
    drawn = (rows >= 0) & (rows < height) & (left <= right)
    change = np.zeros((height, width + 1), np.int32)
    np.add.at(change, (rows[drawn], left[drawn]), 1)
    np.add.at(change, (rows[drawn], right[drawn] + 1), -1)
    canvas |= np.cumsum(change, axis=1)[:, :-1] > 0


def _line(start: Point, end: Point) -> tuple[Ints, Ints]:
    """Bresenham's line, from left to right."""
    (x0, y0), (x1, y1) = (start, end) if start[0] <= end[0] else (end, start)
    dx, dy, step = x1 - x0, abs(y1 - y0), 1 if y1 >= y0 else -1
    if dx >= dy:
        major = np.arange(dx + 1)
        return x0 + major, y0 + step * ((2 * dy * major + max(dx, 1) - 1) // max(2 * dx, 1))
    major = np.arange(dy + 1)
    return x0 + (2 * dx * major + dy - 1) // (2 * dy), y0 + step * major


def _crossings(start: Point, end: Point, cut: _Cut) -> tuple[Ints, Ints]:
    """The rows that a side crosses, from its upper end to before its lower one, and where, in 1/65536 px."""
    (xa, ya), (xb, yb) = start, end
    if not cut.was_cut:
        xa, xb = xa * _ONE + _ONE // 2, xb * _ONE + _ONE // 2
    elif cut.start[1] != cut.end[1]:
        (xa, ya), (xb, yb) = ((x * _ONE, y) for x, y in (cut.start, cut.end))
    else:
        xa, xb = xa * _ONE, xb * _ONE
    run, rise = xb - xa, yb - ya
    slope = abs(run) // abs(rise) * (1 if (run < 0) == (rise < 0) else -1)  # towards zero, as C divides
    top, low = sorted((start[1], end[1]))
    x, y = (xa, ya) if start[1] < end[1] else (xb, yb)
    rows = np.arange(top, low)
    return rows, x + (rows - y) * slope


def _clip(start: Point, end: Point, right: int, bottom: int) -> _Cut:
    """Cut a line to the canvas as OpenCV does, first at top and bottom, then at the sides; in whole pixels."""
    (x1, y1), (x2, y2) = start, end

    def beyond(x: int, y: int) -> tuple[int, int]:
        return (x > right) - (x < 0), (y > bottom) - (y < 0)

    (h1, v1), (h2, v2) = beyond(x1, y1), beyond(x2, y2)
    was_cut = any((h1, v1, h2, v2))
    if not was_cut or (h1 and h1 == h2) or (v1 and v1 == v2):
        return _Cut(start, end, was_cut, not was_cut)
    if v1:
        edge = bottom if v1 > 0 else 0
        x1, y1 = x1 + int((edge - y1) * (x2 - x1) / (y2 - y1)), edge
    if v2:
        edge = bottom if v2 > 0 else 0
        x2, y2 = x2 + int((edge - y2) * (x2 - x1) / (y2 - y1)), edge
    h1, h2 = beyond(x1, 0)[0], beyond(x2, 0)[0]
    if h1 and h1 == h2:
        return _Cut((x1, y1), (x2, y2), True, False)
    if h1:
        edge = right if h1 > 0 else 0
        x1, y1 = edge, y1 + int((edge - x1) * (y2 - y1) / (x2 - x1))
    if h2:
        edge = right if h2 > 0 else 0
        x2, y2 = edge, y2 + int((edge - x2) * (y2 - y1) / (x2 - x1))
    return _Cut((x1, y1), (x2, y2), True, True)
