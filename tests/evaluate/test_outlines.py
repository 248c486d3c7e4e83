"""Overlap of outlines, by examples worked by hand and by what must hold of any two. The golden pairs are elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curate.evaluate.outlines import mask_counts, overlap, paint

POINT = st.tuples(st.integers(0, 20), st.integers(0, 20))
OUTLINE = st.lists(st.lists(POINT, min_size=1, max_size=6), min_size=1, max_size=2).map(
    lambda parts: [np.array(part, np.float64) for part in parts]
)


def rectangle(x: float, y: float, w: float, h: float) -> np.ndarray:
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float64)


def drawn(*parts: list[tuple[int, int]], size: int = 6) -> list[str]:
    canvas = paint([np.array(part, np.int64) for part in parts], size, size)
    return ["".join(".#"[int(on)] for on in row) for row in canvas]


def test_painted_by_hand() -> None:
    """Outlines belong to their polygon: corners 1 and 4 cover 1, 2, 3 and 4. Parts are painted one by one."""
    square = [(1, 1), (4, 1), (4, 4), (1, 4)]
    assert drawn(square) == ["......", ".####.", ".####.", ".####.", ".####.", "......"]
    assert drawn([(1, 1), (4, 4)]) == ["......", ".#....", "..#...", "...#..", "....#.", "......"]
    assert drawn([(2, 3)]) == ["......", "......", "......", "..#...", "......", "......"]
    assert drawn(square, square) == drawn(square)
    # What lies outside the canvas is cut: the square from -2 to 1.
    assert drawn([(-2, -2), (1, -2), (1, 1), (-2, 1)]) == ["##....", "##....", *["......"] * 4]


def test_a_polygon_that_crosses_itself_is_filled_by_even_and_odd() -> None:
    """A bow tie: two triangles that meet in the middle."""
    assert drawn([(0, 0), (4, 4), (4, 0), (0, 4)], size=5) == ["#...#", "##.##", "#####", "##.##", "#...#"]


def test_iou_by_hand() -> None:
    """Boxes of 10 x 10 that share 5 x 10: 50 of 150. Masks count pixels, outlines included: 6 x 11 of 16 x 11."""
    box, mask = overlap([rectangle(0, 0, 10, 10)], [rectangle(5, 0, 10, 10)])
    assert box == pytest.approx(50 / 150)
    assert mask == pytest.approx(6 * 11 / (16 * 11))


def test_upstream_loses_the_last_row_and_column() -> None:
    """Its canvas ends with the largest coordinate, 15: of 16 columns 15 are left; rows end above, at 10."""
    box, mask = overlap([rectangle(0, 0, 10, 10)], [rectangle(5, 0, 10, 10)], "upstream")
    assert mask == pytest.approx(6 * 11 / (15 * 11))
    assert box == pytest.approx(6 * 11 / (15 * 11))
    # A result of one pixel in the corner is gone altogether.
    dot = [np.array([[7.0, 7.0]])]
    assert overlap(dot, dot, "upstream") == (0, 0)
    assert overlap(dot, dot)[1] == 1


def test_nothing_overlaps_nothing() -> None:
    for variant in ("upstream", "strict"):
        assert overlap([], [rectangle(0, 0, 9, 9)], variant) == (0, 0)
        assert overlap([rectangle(0, 0, 9, 9)], [], variant) == (0, 0)


@given(OUTLINE, OUTLINE)
def test_overlap_is_a_share_and_has_no_direction(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for variant in ("upstream", "strict"):
        there, back = overlap(a, b, variant), overlap(b, a, variant)
        assert there == back
        assert all(0 <= value <= 1 for value in there)


@given(OUTLINE, OUTLINE, st.integers(-30, 30), st.integers(-30, 30))
def test_soundly_it_does_not_matter_where_in_the_picture(
    a: list[np.ndarray], b: list[np.ndarray], dx: int, dy: int
) -> None:
    moved = [[part + np.array([dx, dy]) for part in one] for one in (a, b)]
    assert overlap(*moved) == pytest.approx(overlap(a, b))


@given(OUTLINE)
def test_an_outline_covers_itself(a: list[np.ndarray]) -> None:
    corners = np.concatenate(a)
    assert overlap(a, a)[1] == 1
    assume((np.ptp(corners, axis=0) > 0).all())
    assert overlap(a, a)[0] == pytest.approx(1)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_rectangles_are_counted_exactly(x: int, y: int, w: int, h: int) -> None:
    """Against counting pixels: a rectangle covers w + 1 times h + 1 of them."""
    fixed = (3, 3, 4, 4)
    across = max(0, min(x + w, 7) - max(x, 3) + 1)
    down = max(0, min(y + h, 7) - max(y, 3) + 1)
    both = across * down
    union = (w + 1) * (h + 1) + 25 - both
    assert overlap([rectangle(x, y, w, h)], [rectangle(*fixed)])[1] == pytest.approx(both / union)


def test_pixels_in_both_and_in_either() -> None:
    """Squares with their outlines: 4 x 4 and 4 x 4 pixels that share 2 x 4; nothing found shares nothing."""
    first, second = (np.array([[x, 0], [x + 3, 0], [x + 3, 3], [x, 3]], float) for x in (0, 2))
    assert mask_counts([first], [second]) == (8, 24)
    assert mask_counts([], [second]) == (0, 16)
    assert overlap([first], [second], "strict")[1] == 8 / 24
