"""Area, bounds and faults of all masks and polygons of a subject, by array operations on whole columns.

Nothing is rasterised and no third-party code sees run lengths: area and bounds follow from the runs themselves.
Pixels; a mask's bounds are ``min`` and ``max + 1`` of its foreground, a polygon's those of its vertices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from curate import runlengths
from curate.geometry import MAX_OVERSHOOT
from curate.verify.subject import Floats, Ints, Mask, Subject

_BATCH = 16_384
NONE, RLE, RUNS, POLYGONS = range(4)
Fault = tuple[int, str]  # row, "M04 what is wrong"


class Shapes(NamedTuple):
    """The shapes of all annotations, arrays ``(n,)``.

    ``kind`` is 0 none, 1 compressed runs, 2 plain runs, 3 polygons; numbers are NaN where there is no shape or a broken
    one. ``height`` and ``width`` are those that a mask states.
    """

    kind: NDArray[np.int8]
    height: Floats
    width: Floats
    area: Floats
    left: Floats
    top: Floats
    right: Floats
    bottom: Floats
    perimeter: Floats
    parts: Ints
    crossing: Mask
    faults: list[Fault]

    @property
    def masks(self) -> Mask:
        mask: Mask = (self.kind == RLE) | (self.kind == RUNS)
        return mask


def of(subject: Subject) -> Shapes:
    """The shapes of ``subject``, found once. An annotation with run lengths and polygons is judged by the former."""
    held = subject.memo.get("shapes")
    if held is None:
        held = subject.memo["shapes"] = _shapes(subject)
    shapes: Shapes = held
    return shapes


def _shapes(subject: Subject) -> Shapes:
    table = subject.table("annotations")
    n = table.num_rows
    unknown = np.full(n, np.nan)
    shapes = Shapes(
        kind=np.zeros(n, np.int8),
        height=unknown.copy(),
        width=unknown.copy(),
        area=unknown.copy(),
        left=unknown.copy(),
        top=unknown.copy(),
        right=unknown.copy(),
        bottom=unknown.copy(),
        perimeter=unknown.copy(),
        parts=np.zeros(n, np.int64),
        crossing=np.zeros(n, bool),
        faults=[],
    )
    for start in range(0, n, _BATCH):
        part = table.slice(start, _BATCH)
        if "segmentation" in part.column_names:
            _add_masks(shapes, start, part["segmentation"].combine_chunks(), None)
        if "runs" in part.column_names:
            _add_masks(shapes, start, part["segmentation"].combine_chunks(), part["runs"].combine_chunks())
        if "polygons" in part.column_names:
            _add_polygons(shapes, start, part["polygons"].combine_chunks(), subject)
    shapes.faults.sort()
    return shapes


def _add_masks(shapes: Shapes, start: int, segmentation: pa.StructArray, plain: pa.ListArray | None) -> None:
    """Run lengths: the texts of the column ``segmentation``, or the ``plain`` ones, whose sizes stand beside."""
    sizes = pc.struct_field(segmentation, "size")
    texts = pc.struct_field(segmentation, "counts")
    held = texts.is_valid() if plain is None else plain.is_valid()
    rows = np.flatnonzero(held.to_numpy(zero_copy_only=False))
    if not len(rows):
        return
    index = pa.array(rows)
    size = _sizes(sizes.take(index))
    if plain is None:
        runs, offsets, good = runlengths.decode(texts.take(index))
    else:
        taken = plain.take(index)
        runs = pc.list_flatten(taken).to_numpy()
        offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(taken).to_numpy())])
        good = np.ones(len(rows), bool)
    heights, widths = size[:, 0], size[:, 1]
    faults = runlengths.faults(runs, offsets, good, heights, widths)
    shapes.kind[start + rows] = RLE if plain is None else RUNS
    shapes.height[start + rows], shapes.width[start + rows] = heights, widths
    shapes.faults.extend((int(start + rows[i]), text) for i, text in faults)
    sound = np.ones(len(rows), bool)
    sound[[i for i, _ in faults]] = False
    area, bounds = figures(runs, offsets, heights, sound)
    at = start + rows[sound]
    shapes.area[at] = area[sound]
    shapes.left[at], shapes.top[at], shapes.right[at], shapes.bottom[at] = bounds[sound].T
    shapes.parts[at] = 1


def _sizes(column: pa.Array) -> Ints:
    """Sizes ``(n, 2)`` height, width; -1 for a list of another length."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    if (lengths == 2).all():
        values: Ints = pc.list_flatten(column).to_numpy().astype(np.int64).reshape(-1, 2)
        return values
    return np.array([size if size and len(size) == 2 else (-1, -1) for size in column.to_pylist()], np.int64)


def figures(runs: Ints, offsets: Ints, heights: Ints, sound: Mask) -> tuple[Ints, Ints]:
    """Area ``(n,)`` and bounds ``(n, 4)`` (left, top, right, bottom, exclusive) of column-major masks.

    Mask ``i`` has the runs ``runs[offsets[i]:offsets[i + 1]]``, background first. Masks that are not ``sound``, and
    empty ones, have zeros.
    """
    n = len(offsets) - 1
    area, bounds = np.zeros(n, np.int64), np.zeros((n, 4), np.int64)
    owner = np.repeat(np.arange(n), np.diff(offsets))
    odd = ((np.arange(len(runs)) - offsets[owner]) % 2).astype(bool)
    ends = np.cumsum(np.where(sound[owner], runs, 0))
    before = np.concatenate([[0], ends])[offsets[:-1]]
    front = np.flatnonzero(odd & (runs > 0) & sound[owner])
    if not len(front):
        return area, bounds
    mask, run = owner[front], runs[front]
    height = heights[mask]
    last = ends[front] - before[mask] - 1
    first = last - run + 1
    columns = first // height, last // height
    spans = columns[1] > columns[0]
    top = np.where(spans, 0, first % height)
    bottom = np.where(spans, height - 1, last % height)
    begin = np.flatnonzero(np.diff(mask, prepend=-1))
    found = mask[begin]
    area[found] = np.add.reduceat(run, begin)
    bounds[found, 0] = np.minimum.reduceat(columns[0], begin)
    bounds[found, 1] = np.minimum.reduceat(top, begin)
    bounds[found, 2] = np.maximum.reduceat(columns[1], begin) + 1
    bounds[found, 3] = np.maximum.reduceat(bottom, begin) + 1
    return area, bounds


class _Rings(NamedTuple):
    """The rings of some rows: values of all rings, and for each ring its row, whether it is an outer one, its start."""

    values: Floats
    row: Ints
    outer: Mask
    starts: Ints

    @property
    def lengths(self) -> Ints:
        return np.diff(self.starts, append=len(self.values))


def _rings(column: pa.Array) -> _Rings:
    def level(array: pa.Array) -> tuple[pa.Array, Ints]:
        parents: Ints = pc.list_parent_indices(array).to_numpy().astype(np.int64)
        return pc.list_flatten(array), parents

    parts, row_of_part = level(column)
    rings, part_of_ring = level(parts)
    lengths = pc.fill_null(pc.list_value_length(rings), 0).to_numpy().astype(np.int64)
    values = pc.list_flatten(rings)
    numbers = pc.fill_null(values, np.nan).to_numpy()
    outer = np.diff(part_of_ring, prepend=-1) > 0
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
    return _Rings(numbers, row_of_part[part_of_ring], outer, starts)


def _add_polygons(shapes: Shapes, start: int, column: pa.Array, subject: Subject) -> None:
    filled = pc.fill_null(pc.greater(pc.list_value_length(column), 0), False).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(filled)
    if not len(rows):
        return
    boxes = subject.boxes
    longest = np.fmax(boxes.width[start + rows], boxes.height[start + rows])
    bound = np.where(np.isnan(longest), np.finfo(float).max, MAX_OVERSHOOT * longest)
    rings = _rings(column.take(pa.array(rows)))
    faults = list(_ring_faults(rings, bound))
    shapes.faults.extend((int(start + rows[i]), text) for i, text in faults)
    sound = np.ones(len(rows), bool)
    sound[[i for i, _ in faults]] = False
    sound[np.setdiff1d(np.arange(len(rows)), rings.row)] = False  # parts without any ring
    alone = shapes.kind[start + rows] == NONE
    shapes.kind[start + rows[alone]] = POLYGONS
    kept = rows[sound & alone]
    if len(kept):
        _measure_polygons(shapes, start + kept, _rings(column.take(pa.array(kept))))


def _ring_faults(rings: _Rings, bound: Floats) -> Iterator[Fault]:
    """The first fault of each row: M01 or M02, as :func:`curate.geometry.check_ring` has them."""
    lengths = rings.lengths
    limit = np.repeat(bound[rings.row], lengths)
    far = ~(np.abs(rings.values) <= limit)
    seen: set[int] = set()
    odd = (lengths % 2 > 0) | (lengths < 6)
    ring_of_value = np.repeat(np.arange(len(lengths)), lengths)
    suspects = np.unique(np.concatenate([np.flatnonzero(odd), ring_of_value[far]]))
    for ring in suspects.tolist():
        row, length = int(rings.row[ring]), int(lengths[ring])
        if row in seen:
            continue
        seen.add(row)
        if length % 2:
            yield row, f"M01 ring of {length} numbers; expected pairs"
        elif length < 6:
            yield row, f"M01 ring of {length // 2} points; expected at least 3"
        else:
            first = int(rings.starts[ring])
            at = int(np.flatnonzero(far[first : first + length])[0])
            value, most = rings.values[first + at], bound[row]
            reach = f"within {most:g} px of the origin" if most < 1e300 else "a finite number"
            yield row, f"M02 vertex {at // 2} is at {'xy'[at % 2]} = {value:g}; expected {reach}"


def _measure_polygons(shapes: Shapes, rows: Ints, rings: _Rings) -> None:
    """Area (outer rings less holes), bounds, perimeter and self-crossing of sound polygons."""
    x, y = rings.values[0::2], rings.values[1::2]
    starts = rings.starts // 2
    lengths = rings.lengths // 2
    ring_of_point = np.repeat(np.arange(len(starts)), lengths)
    following = np.arange(len(x)) + 1
    following[starts + lengths - 1] = starts
    # Relative to each ring's first point: less is lost to rounding.
    u, v = x - x[starts][ring_of_point], y - y[starts][ring_of_point]
    cross = u * v[following] - u[following] * v
    area = np.abs(np.add.reduceat(cross, starts)) / 2
    steps = np.hypot(x[following] - x, y[following] - y)
    begin = np.flatnonzero(np.diff(rings.row, prepend=-1))
    shapes.area[rows] = np.add.reduceat(np.where(rings.outer, area, -area), begin)
    shapes.perimeter[rows] = np.add.reduceat(np.add.reduceat(steps, starts), begin)
    shapes.left[rows] = np.minimum.reduceat(np.minimum.reduceat(x, starts), begin)
    shapes.top[rows] = np.minimum.reduceat(np.minimum.reduceat(y, starts), begin)
    shapes.right[rows] = np.maximum.reduceat(np.maximum.reduceat(x, starts), begin)
    shapes.bottom[rows] = np.maximum.reduceat(np.maximum.reduceat(y, starts), begin)
    shapes.parts[rows] = np.add.reduceat(np.ones(len(starts), np.int64), begin)
    crosses = _crosses(np.column_stack([x, y]), ring_of_point)
    shapes.crossing[rows] = np.logical_or.reduceat(crosses, begin)


def _crosses(points: Floats, ring: Ints) -> Mask:
    """Which rings cross themselves. One that only touches itself at a point, or runs twice over a line, does not."""
    polygons = shapely.polygons(shapely.linearrings(points, indices=ring))
    crossing: Mask = ~shapely.is_valid(polygons)
    for i in np.flatnonzero(crossing).tolist():
        crossing[i] = shapely.is_valid_reason(polygons[i]).startswith("Self-intersection")
    return crossing
