"""Clean-up by its stated rule: specks go and pin-holes close, real parts and real openings stay."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curate.prelabel.cleanup import clean


def of(*lines: str) -> np.ndarray:
    return np.array([[character == "#" for character in line] for line in lines])


def test_a_real_part_stays_and_a_speck_goes() -> None:
    """Parts of 12, 4 and 1 pixels: with a share of a fifth, the last is below it."""
    mask = of(
        "####...##.",
        "####...##.",
        "####......",
        ".........#",
    )
    done = clean(mask, 0.2)
    assert (done.parts, done.removed, done.filled) == (2, 1, 0)
    assert done.pixels[0, 7] and not done.pixels[3, 9]
    assert np.array_equal(clean(mask, 0.0).pixels, mask)
    assert clean(mask, 0.0).parts == 3


def test_pixels_that_touch_at_a_corner_are_one_part() -> None:
    assert clean(of("##..", "##..", "..#.", "...#"), 0.5).parts == 1


def test_a_pin_hole_is_filled_and_an_opening_stays() -> None:
    ring = np.zeros((20, 20), bool)
    ring[2:18, 2:18] = True
    ring[6:12, 6:12] = False  # 36 of 256
    ring[15, 15] = False  # 1
    done = clean(ring, 0.02)
    assert done.filled == 1
    assert done.pixels[15, 15] and not done.pixels[8, 8]


def test_background_that_reaches_the_edge_is_no_hole() -> None:
    mask = np.ones((10, 40), bool)
    mask[0, 5] = False  # a notch at the picture's edge, closed off by the mask
    assert not clean(mask, 0.5).pixels[0, 5]
    mask[5, 5] = False
    assert clean(mask, 0.5).filled == 1


def test_empty_and_full() -> None:
    empty = clean(np.zeros((3, 4), bool))
    assert (empty.parts, empty.removed, empty.filled) == (0, 0, 0)
    assert clean(np.ones((3, 4), bool)).pixels.all()


def groups(mask: np.ndarray, corners: bool) -> list[set[tuple[int, int]]]:
    """Connected groups by flooding."""
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)] + ([(1, 1), (1, -1), (-1, 1), (-1, -1)] if corners else [])
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        queue, group = deque([left.pop()]), set()
        while queue:
            y, x = queue.popleft()
            group.add((y, x))
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    queue.append((y + dy, x + dx))
        found.append(group)
    return found


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.sampled_from([0.02, 0.2, 0.5, 1.0]))
def test_the_rule_by_flooding(mask: np.ndarray, share: float) -> None:
    parts = groups(mask, corners=True)
    largest = max(map(len, parts), default=0)
    expected = np.zeros_like(mask)
    kept = [part for part in parts if len(part) >= share * largest]
    for part in kept:
        for y, x in part:
            expected[y, x] = True
    area = int(expected.sum())
    height, width = mask.shape
    for hole in groups(~expected, corners=False):
        at_edge = any(y in (0, height - 1) or x in (0, width - 1) for y, x in hole)
        if not at_edge and len(hole) < share * area:
            for y, x in hole:
                expected[y, x] = True
    done = clean(mask, share)
    assert np.array_equal(done.pixels, expected)
    assert done.parts == len(kept)
