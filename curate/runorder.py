"""Run lengths of many masks at once, read along the other axis: columns (COCO) to rows (``anns.pt``) and back.

A run list of many masks is a pair ``runs, offsets`` as in ``curate.runlengths``. Beside it stand, per mask, ``lines``
and ``length``: how many lines its frame has and how many pixels each. For column-major runs these are width and height,
for row-major ones height and width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
# Foreground pixels that are turned at a time: bounds the memory, whatever the shapes.
_PIXELS_AT_ONCE = 1 << 23


def transposed(runs: Ints, offsets: Ints, lines: Ints, length: Ints) -> tuple[Ints, Ints]:
    """The same masks read along the other axis, as ``runs, offsets``; background first, no empty run but the first.

    The runs must fill their frames (``curate.runlengths.faults``). Costs time by the length of the objects' outlines,
    not by their area.
    """
    parts = [_turn(*part) for part in _portions(runs, offsets, lines, length)]
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(bounds) for _, bounds in parts)])
    return np.concatenate([np.zeros(0, np.int64), *(part for part, _ in parts)]), np.cumsum(counts)


def _turn(runs: Ints, offsets: Ints, lines: Ints, length: Ints) -> tuple[Ints, Ints]:
    owner, line, start, end = _pieces(runs, offsets, length)
    # Along the other axis a run starts at every pixel that is set in a line and not in the line before, and ends where
    # it is the other way round. So walk each line together with the one before: 1 = set here, 2 = set before, 3 = both.
    walk = _bounds((lines + 1) * (length + 1))[owner] + line * (length[owner] + 1)
    following = walk + length[owner] + 1
    at = np.concatenate([walk + start, walk + end, following + start, following + end])
    order = np.argsort(at, kind="stable")
    state = np.cumsum(np.repeat([1, -1, 2, -2], len(owner))[order])
    at, behind = at[order], order >= 2 * len(owner)
    piece = order % max(len(owner), 1)
    place, reach = at - np.where(behind, following[piece], walk[piece]), np.diff(at, append=at[-1:])
    base = _bounds(lines * length + 1)  # all masks on one number line, with a gap after each

    def pixels(wanted: int) -> Ints:
        held = np.flatnonzero((state == wanted) & (reach > 0))
        mask, size = owner[piece[held]], reach[held]
        first = base[mask] + place[held] * lines[mask] + line[piece[held]] + behind[held]
        return np.sort(np.repeat(first, size) + _count_up(size) * np.repeat(lines[mask], size))

    start, end = pixels(1), pixels(2)
    joined = start[1:] == end[:-1]  # over the end of a line
    start, end = start[np.append(True, ~joined)[: len(start)]], end[np.append(~joined, True)[: len(end)]]
    owner = np.searchsorted(base, start, side="right") - 1
    return _alternating(start - base[owner], end - base[owner], owner, lines * length)


def _pieces(runs: Ints, offsets: Ints, length: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Foreground runs, cut where a line ends: for each piece its mask, its line, and its start and end in that line."""
    start, end, owner = _foreground(runs, offsets)
    line = start // length[owner]
    count = (end - 1) // length[owner] - line + 1
    owner, line = np.repeat(owner, count), np.repeat(line, count) + _count_up(count)
    start = np.maximum(np.repeat(start, count) - line * length[owner], 0)
    end = np.minimum(np.repeat(end, count) - line * length[owner], length[owner])
    return owner, line, start, end


def _foreground(runs: Ints, offsets: Ints) -> tuple[Ints, Ints, Ints]:
    """Start, end and mask of every foreground run, the places counted from the start of its own frame."""
    counts = np.diff(offsets)
    ends = np.cumsum(runs)
    before = np.append(0, ends)[offsets[:-1]]
    held = np.flatnonzero((_count_up(counts) % 2 == 1) & (runs > 0))
    owner = np.repeat(np.arange(len(counts)), counts)[held]
    end = ends[held] - before[owner]
    return end - runs[held], end, owner


def _alternating(start: Ints, end: Ints, owner: Ints, total: Ints) -> tuple[Ints, Ints]:
    """Runs and offsets from the foreground runs of masks of ``total`` pixels, in order."""
    closed = np.zeros(len(total), bool)
    closed[owner] = end == total[owner]  # the last run of a mask is written last
    pairs = np.bincount(owner, minlength=len(total))
    # The marks between runs: 0, start and end of each foreground run, and the frame's size unless a run ends there.
    offsets = _bounds(2 * pairs + 2 - closed)
    marks = np.zeros(offsets[-1], np.int64)
    marks[offsets[1:] - 1] = total
    slot = offsets[owner] + 1 + 2 * _count_up(pairs)
    marks[slot], marks[slot + 1] = start, end
    inner = np.ones(max(len(marks) - 1, 0), bool)
    inner[offsets[1:-1] - 1] = False  # the steps from one mask to the next
    return np.diff(marks)[inner], offsets - np.arange(len(offsets))


def _portions(runs: Ints, offsets: Ints, lines: Ints, length: Ints) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Slices of consecutive masks with a bounded number of foreground pixels each (or one mask)."""
    start, end, owner = _foreground(runs, offsets)
    below = np.cumsum(np.bincount(owner, weights=end - start, minlength=len(lines)))
    a = 0
    while a < len(lines):
        done = below[a - 1] if a else 0
        b = max(a + 1, int(np.searchsorted(below, done + _PIXELS_AT_ONCE, side="right")))
        yield runs[offsets[a] : offsets[b]], offsets[a : b + 1] - offsets[a], lines[a:b], length[a:b]
        a = b


def _bounds(sizes: Ints) -> Ints:
    """Where parts of these sizes begin and end when laid one after another."""
    return np.append(0, np.cumsum(sizes))


def _count_up(sizes: Ints) -> Ints:
    """0, 1, ... anew for each size."""
    bounds = _bounds(sizes)
    count: Ints = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes)
    return count
