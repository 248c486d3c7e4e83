"""Masks read along the other axis, against numpy's own transposition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curate import runorder

Mask = np.ndarray
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
masks = st.lists(shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape)), max_size=8)


def runs_of(mask: Mask, order: str) -> list[int]:
    """Run lengths of a mask, background first, pixel by pixel."""
    counts, value = [0], False
    for pixel in mask.ravel(order=order).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def joined(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, lists)])
    return np.array([n for one in lists for n in one], np.int64), offsets


def turned(masks: list[Mask], order: str) -> list[list[int]]:
    heights = np.array([mask.shape[0] for mask in masks], np.int64)
    widths = np.array([mask.shape[1] for mask in masks], np.int64)
    lines, length = (widths, heights) if order == "F" else (heights, widths)
    runs, offsets = runorder.transposed(*joined([runs_of(mask, order) for mask in masks]), lines, length)
    assert len(offsets) == len(masks) + 1
    return [runs[a:b].tolist() for a, b in pairwise(offsets.tolist())]


@given(masks=masks)
def test_columns_to_rows_and_back(masks: list[Mask]) -> None:
    assert turned(masks, "F") == [runs_of(mask, "C") for mask in masks]
    assert turned(masks, "C") == [runs_of(mask, "F") for mask in masks]


@given(masks=masks, limit=st.integers(0, 30))
def test_portions_do_not_show(masks: list[Mask], limit: int) -> None:
    whole = turned(masks, "F")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runorder, "_PIXELS_AT_ONCE", limit)
        assert turned(masks, "F") == whole


def test_worked_example() -> None:
    # A 3 x 4 frame (height x width) whose top-left 2 x 2 pixels are set: columns 0 2 1 2 7, rows 0 2 2 2 6.
    runs, offsets = runorder.transposed(np.array([0, 2, 1, 2, 7]), np.array([0, 5]), np.array([4]), np.array([3]))
    assert runs.tolist() == [0, 2, 2, 2, 6]
    assert offsets.tolist() == [0, 5]


def test_empty_runs_in_the_middle_are_taken_together() -> None:
    """Legal, though nobody writes them: background of no length between two runs of foreground."""
    runs, _ = runorder.transposed(np.array([0, 1, 0, 3, 2]), np.array([0, 5]), np.array([2]), np.array([3]))
    assert runs.tolist() == runs_of(np.array([[1, 1], [1, 0], [1, 0]], bool), "C")


def test_no_masks_at_all() -> None:
    runs, offsets = runorder.transposed(*(np.zeros(n, np.int64) for n in (0, 1, 0, 0)))
    assert (runs.tolist(), offsets.tolist()) == ([], [0])
