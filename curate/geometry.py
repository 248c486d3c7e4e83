"""Boxes, polygons and run-length masks: pure functions on numbers and arrays.

Pixels, origin at the top-left corner of the top-left pixel. A box is ``(x, y, w, h)`` with exclusive right and bottom
edge. A ring is ``[x0, y0, x1, y1, ...]``, not closed. A frame is given as ``width, height``. A mask is a 2-D array
``(height, width)`` or an :class:`~curate.model.Rle` (COCO's compressed run lengths, column-major).

pycocotools crashes or answers with garbage on some inputs (a vertex at 1e9, run lengths that do not fill the frame), so
everything that reaches it from here has been checked first (:func:`check_ring`, :func:`check_counts`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw
from pycocotools import mask as coco_mask

from curate.model import Polygons, Ring, Rle

Box = tuple[float, float, float, float]
MAX_MASK_PIXELS = 10**9
# A vertex may lie outside its frame, but not by more than this many frame sides (rule M02).
MAX_OVERSHOOT = 10
_NUMBERS = frozenset((int, float))


def box_from_corners(x1: float, y1: float, x2: float, y2: float) -> Box:
    """Corners with exclusive right and bottom to ``x, y, w, h``."""
    return x1, y1, x2 - x1, y2 - y1


def clip_box(box: Box, width: float, height: float) -> Box:
    """The part of ``box`` inside the frame; of zero size, at the frame's edge, if there is none."""
    x, y, w, h = box
    x1, y1 = min(max(x, 0.0), width), min(max(y, 0.0), height)
    x2, y2 = min(max(x + w, 0.0), width), min(max(y + h, 0.0), height)
    return x1, y1, x2 - x1, y2 - y1


def box_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes ``(n, 4)`` and ``(m, 4)`` as ``(n, m)``, by real areas; 0 for two empty ones."""
    a, b = np.asarray(a, float).reshape(-1, 1, 4), np.asarray(b, float).reshape(1, -1, 4)
    left_top = np.maximum(a[..., :2], b[..., :2])
    right_bottom = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.clip(right_bottom - left_top, 0, None), axis=-1)
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def check_ring(ring: Sequence[Any], width: int, height: int) -> str | None:
    """What is wrong with a polygon ring, or None: the code and a description, as ``"M01 ..."`` or ``"M02 ..."``."""
    if len(ring) % 2:
        return f"M01 ring of {len(ring)} numbers; expected pairs"
    if len(ring) < 6:
        return f"M01 ring of {len(ring) // 2} points; expected at least 3"
    bound = MAX_OVERSHOOT * max(width, height)
    # Nearly all rings are sound, and this sees it ten times faster. A NaN may hide from min and max, not from sum.
    if (
        _NUMBERS.issuperset(map(type, ring))
        and -bound <= min(ring)
        and max(ring) <= bound
        and not math.isnan(sum(ring))
    ):
        return None
    for i, value in enumerate(ring):
        if type(value) not in _NUMBERS:
            return f"M01 vertex {i // 2} is {value!r}; expected numbers"
        if not abs(value) <= bound:  # written so that NaN fails too
            shown = value if isinstance(value, float) or abs(value) < 1 << 63 else "an integer beyond 64 bits"
            return f"M02 vertex {i // 2} is at {'xy'[i % 2]} = {shown}; expected at most {bound} px from the origin"
    return None


def shoelace_area(ring: Ring) -> float:
    """The area that a ring encloses, by the shoelace formula; winding does not matter."""
    points = np.asarray(ring, float).reshape(-1, 2)
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def polygon_bounds(polygons: Polygons) -> Box:
    """The box around all vertices: ``max - min``, since vertices are points and not pixels."""
    points = np.concatenate([np.asarray(ring, float).reshape(-1, 2) for part in polygons for ring in part])
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return float(x1), float(y1), float(x2 - x1), float(y2 - y1)


def paint_polygons(polygons: Polygons, width: int, height: int) -> Rle:
    """The mask that Pillow paints for ``polygons``, clipped to the frame; holes are cut out of their part.

    Pillow's fill includes the outline (a polygon over x = 20..59 covers 40 columns), as the programs of Cityscapes and
    its relatives paint. The rings must have passed :func:`check_ring`.
    """
    # Plain min and max: most rings are too short for numpy to pay.
    xs = [value for part in polygons for ring in part for value in ring[0::2]]
    ys = [value for part in polygons for ring in part for value in ring[1::2]]
    left, top = max(0, math.floor(min(xs)) - 1), max(0, math.floor(min(ys)) - 1)
    right, bottom = min(width, math.ceil(max(xs)) + 2), min(height, math.ceil(max(ys)) + 2)
    window = np.zeros((max(0, bottom - top), max(0, right - left)), bool)
    if not window.size:
        return rle_from_window(np.zeros((0, 0), bool), 0, 0, width, height)
    for outer, *holes in polygons:
        part = _paint_ring(outer, left, top, window.shape)
        for hole in holes:
            part = part & ~_paint_ring(hole, left, top, window.shape)
        window |= part
    return rle_from_window(window, left, top, width, height)


def _paint_ring(ring: Ring, left: int, top: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    # Moved in y only: Pillow finds the edges' x in single precision, so that a shift in x may change a pixel.
    canvas = PilImage.new("L", (left + shape[1], shape[0]))
    points = [(px, py - top) for px, py in zip(ring[0::2], ring[1::2], strict=True)]
    ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1)
    return np.frombuffer(canvas.crop((left, 0, *canvas.size)).tobytes(), np.bool_).reshape(shape)


def rle_from_polygons(polygons: Polygons, width: int, height: int) -> Rle:
    """The mask of ``polygons`` by pycocotools' own rule (half-pixel, as COCO evaluates), clipped to the frame.

    The rings must have passed :func:`check_ring`.
    """
    parts = []
    for outer, *holes in filter(None, polygons):
        part = coco_mask.frPyObjects([outer], height, width)
        for hole in holes:
            (rle,) = coco_mask.frPyObjects([hole], height, width)
            part = [coco_mask.merge([*part, _to_coco(complement(_from_coco(rle)))], intersect=True)]
        parts += part
    return _from_coco(coco_mask.merge(parts)) if parts else rle_from_counts([width * height], width, height)


def rle_from_mask(mask: NDArray[Any]) -> Rle:
    """A mask array ``(height, width)``, non-zero = foreground, as run lengths."""
    return _from_coco(coco_mask.encode(np.asfortranarray(np.asarray(mask) != 0, dtype=np.uint8)))


def rle_from_window(window: NDArray[np.bool_], left: int, top: int, width: int, height: int) -> Rle:
    """A mask of the frame that is empty but for ``window``, whose top-left pixel lies at ``left, top``.

    Costs time by the window's size, not the frame's.
    """
    rows, columns = window.shape
    # Column after column, each below one background pixel, so that no run goes on into the next column.
    flat = np.zeros(columns * (rows + 1) + 1, bool)
    flat[:-1].reshape(columns, rows + 1)[:, 1:] = window.T
    at = np.flatnonzero(flat[1:] != flat[:-1])
    column, row = np.divmod(at, rows + 1)
    bounds: NDArray[np.int64] = np.empty(len(at) + 2, np.int64)  # 0, start, end, start, end, ..., all
    bounds[0], bounds[-1] = 0, width * height
    bounds[1:-1] = (column + left) * height + row + top
    if top + rows == height:
        # A run that reaches the frame's bottom goes on at the top of the next column.
        joined = 2 * np.flatnonzero(bounds[2:-2:2] == bounds[3:-1:2]) + 2
        bounds = np.delete(bounds, np.concatenate([joined, joined + 1]))
    counts = (bounds[1:] - bounds[:-1]).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return rle_from_counts(counts, width, height)


def rle_from_counts(counts: Sequence[int], width: int, height: int) -> Rle:
    """Plain column-major run lengths, background first, as compressed ones. They must have passed the check."""
    return _from_coco(coco_mask.frPyObjects({"counts": list(counts), "size": [height, width]}, height, width))


def mask_from_rle(rle: Rle) -> NDArray[np.uint8]:
    """The mask array ``(height, width)`` of 0 and 1. The run lengths must have passed the check."""
    mask: NDArray[np.uint8] = coco_mask.decode(_to_coco(rle))
    return mask


def rle_area(rle: Rle) -> int:
    """Foreground pixels."""
    return int(coco_mask.area(_to_coco(rle)))


def rle_bounds(rle: Rle) -> Box:
    """The box around the foreground, ``max + 1 - min``; all zero for an empty mask."""
    x, y, w, h = coco_mask.toBbox(_to_coco(rle)).tolist()
    return x, y, w, h


def mask_bounds(mask: NDArray[np.bool_]) -> Box:
    """As :func:`rle_bounds`, of a mask as an array ``(height, width)``."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    x, y = float(columns[0]), float(rows[0])
    return x, y, float(columns[-1]) + 1 - x, float(rows[-1]) + 1 - y


def rle_iou(a: Rle, b: Rle) -> float:
    """Intersection over union of two masks of one size, by pixel counts; 0 if both are empty."""
    both = coco_mask.area(coco_mask.merge([_to_coco(a), _to_coco(b)], intersect=True))
    either = coco_mask.area(coco_mask.merge([_to_coco(a), _to_coco(b)]))
    return float(both) / float(either) if either else 0.0


def complement(rle: Rle) -> Rle:
    """Foreground and background exchanged."""
    counts = rle_counts(rle)
    counts = counts[1:] if counts and counts[0] == 0 else [0, *counts]
    return rle_from_counts(counts, rle.size[1], rle.size[0])


def rle_counts(rle: Rle) -> list[int]:
    """Compressed run lengths as plain ones, column-major and background first (``rleFrString`` of maskApi.c).

    Raises:
        ValueError: the text is cut short or holds other characters.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in rle.counts.encode("ascii", "strict"):
        code = byte - 48
        if not 0 <= code < 64 or shift > 60:
            raise ValueError(f"character {chr(byte)!r} in compressed run lengths")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end in the middle of a number")
    return counts


def check_counts(counts: Iterable[int], width: int, height: int) -> str | None:
    """What is wrong with plain run lengths for a frame, or None: ``"M04 ..."`` or ``"M06 ..."``."""
    if width < 0 or height < 0 or width * height > MAX_MASK_PIXELS:
        return f"M06 mask of {width} x {height} px; expected at most {MAX_MASK_PIXELS} px"
    total = 0
    for i, run in enumerate(counts):
        if type(run) is not int or run < 0:
            return f"M04 run {i} is {run!r}; expected a whole number from 0"
        total += run
    if total != width * height:
        return f"M04 runs sum to {total}; expected {height} x {width} = {width * height}"
    return None


def check_rle(rle: Rle) -> str | None:
    """What is wrong with compressed run lengths, or None; as :func:`check_counts`."""
    height, width = rle.size
    if width < 0 or height < 0 or width * height > MAX_MASK_PIXELS:
        return check_counts((), width, height)
    try:
        counts = rle_counts(rle)
    except (ValueError, UnicodeEncodeError) as error:
        return f"M04 {error}"
    return check_counts(counts, width, height)


def _to_coco(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}


def _from_coco(rle: dict[str, Any]) -> Rle:
    height, width = rle["size"]
    return Rle((int(height), int(width)), rle["counts"].decode("ascii"))
