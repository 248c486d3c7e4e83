"""Boxes, polygons and masks against pycocotools, Pillow, shapely and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from shapely.geometry import Polygon

from curate.geometry import (
    MAX_MASK_PIXELS,
    box_from_corners,
    box_iou,
    check_counts,
    check_ring,
    check_rle,
    clip_box,
    complement,
    mask_bounds,
    mask_from_rle,
    paint_polygons,
    polygon_bounds,
    rle_area,
    rle_bounds,
    rle_counts,
    rle_from_counts,
    rle_from_mask,
    rle_from_polygons,
    rle_from_window,
    rle_iou,
    shoelace_area,
)
from curate.model import Rle

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def decode(rle: Rle) -> NDArray[np.uint8]:
    decoded: NDArray[np.uint8] = coco_mask.decode({"size": list(rle.size), "counts": rle.counts})
    return decoded


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Column-major run lengths, background first, counted one pixel at a time."""
    counts, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel == value:
            counts[-1] += 1
        else:
            counts.append(1)
            value = pixel
    return counts


# Boxes


def test_iou_of_the_two_annotators_worked_by_hand() -> None:
    a = np.array([[10, 10, 20, 20], [50, 10, 10, 10]], float)
    b = np.array([[12, 11, 20, 20], [52, 12, 10, 10], [80, 40, 10, 10]], float)
    expected = np.array([[342 / 458, 0, 0], [0, 64 / 136, 0]])
    np.testing.assert_allclose(box_iou(a, b), expected, rtol=1e-15)


def test_iou_of_boxes_without_area_is_zero_and_not_nan() -> None:
    empty = np.array([[5, 5, 0, 0]], float)
    assert box_iou(empty, empty).tolist() == [[0.0]]
    assert box_iou(np.zeros((0, 4)), empty).shape == (0, 1)


whole = st.integers(0, 30)
boxes = st.lists(st.tuples(whole, whole, whole, whole), min_size=1, max_size=5)


@given(boxes, boxes)
def test_iou_of_whole_number_boxes_is_the_share_of_their_pixels(
    a: list[tuple[int, ...]], b: list[tuple[int, ...]]
) -> None:
    def paint(box: tuple[int, ...]) -> NDArray[np.bool_]:
        x, y, w, h = box
        frame = np.zeros((60, 60), bool)
        frame[y : y + h, x : x + w] = True
        return frame

    got = box_iou(np.array(a, float), np.array(b, float))
    for i, one in enumerate(a):
        for j, two in enumerate(b):
            either = (paint(one) | paint(two)).sum()
            assert got[i, j] == pytest.approx((paint(one) & paint(two)).sum() / either if either else 0.0)


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((-2, -3, 4, 5), (0, 0, 2, 2)),
        ((8, 8, 10, 10), (8, 8, 2, 2)),
        ((-5, 2, 3, 3), (0, 2, 0, 3)),  # wholly to the left: no width, at the edge
        ((20, 20, 5, 5), (10, 10, 0, 0)),
    ],
)
def test_clip_box(box: tuple[float, ...], clipped: tuple[float, ...]) -> None:
    assert clip_box(box, 10, 10) == clipped  # type: ignore[arg-type]


def test_box_from_exclusive_corners() -> None:
    assert box_from_corners(712.4, 143.0, 810.73, 307.92) == pytest.approx((712.4, 143.0, 98.33, 164.92))


# Run lengths


@given(masks)
def test_mask_to_run_lengths_and_back(mask: NDArray[np.bool_]) -> None:
    rle = rle_from_mask(mask)
    assert (decode(rle) == mask).all()
    assert (mask_from_rle(rle) == mask).all()
    assert rle_counts(rle) == runs(mask)
    assert rle_area(rle) == mask.sum()


@given(masks)
def test_plain_run_lengths_and_back(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    counts = runs(mask)
    assert check_counts(counts, width, height) is None
    rle = rle_from_counts(counts, width, height)
    assert (decode(rle) == mask).all()
    assert check_rle(rle) is None


@given(masks, st.data())
def test_a_window_costs_nothing_in_exactness(window: NDArray[np.bool_], data: st.DataObject) -> None:
    rows, columns = window.shape
    left, top = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    right, bottom = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    frame = np.zeros((top + rows + bottom, left + columns + right), bool)
    frame[top : top + rows, left : left + columns] = window
    rle = rle_from_window(window, left, top, frame.shape[1], frame.shape[0])
    assert rle == rle_from_mask(frame)  # the very same bytes as pycocotools'


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0)])
def test_an_empty_window_is_an_empty_mask(shape: tuple[int, int]) -> None:
    assert rle_from_window(np.zeros(shape, bool), 0, 0, 4, 3) == rle_from_mask(np.zeros((3, 4)))


@given(masks)
def test_complement(mask: NDArray[np.bool_]) -> None:
    other = complement(rle_from_mask(mask))
    assert (decode(other) == ~mask).all()
    assert rle_counts(other) == runs(~mask)


@given(masks)
def test_bounds_are_max_plus_one_minus_min(mask: NDArray[np.bool_]) -> None:
    ys, xs = np.nonzero(mask)
    expected = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1) if len(xs) else (0, 0, 0, 0)
    assert rle_bounds(rle_from_mask(mask)) == expected
    assert mask_bounds(mask) == expected


@given(st.data())
def test_iou_of_masks_counts_pixels(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
    a, b = data.draw(arrays(np.bool_, shape)), data.draw(arrays(np.bool_, shape))
    either = (a | b).sum()
    expected = (a & b).sum() / either if either else 0.0
    assert rle_iou(rle_from_mask(a), rle_from_mask(b)) == pytest.approx(expected)


def test_iou_of_the_shifted_squares_worked_by_hand() -> None:
    a, b = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    a[10:30, 10:30] = b[10:30, 12:32] = True
    assert rle_iou(rle_from_mask(a), rle_from_mask(b)) == 360 / 440


def test_any_non_zero_value_is_foreground() -> None:
    assert rle_area(rle_from_mask(np.array([[0, 255], [2, 0]], np.uint8))) == 2


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ([100], None),
        ([0, 100], None),
        ([99], "M04"),  # too short: pycocotools would decode uninitialised memory
        ([60, 41], "M04"),
        ([101, -1], "M04"),
        ([50.0, 50.0], "M04"),
        ([True, 99], "M04"),
        (["100"], "M04"),
        ([], "M04"),
    ],
)
def test_run_lengths_must_fill_their_frame(counts: list[object], code: str | None) -> None:
    problem = check_counts(counts, 10, 10)  # type: ignore[arg-type]
    assert (problem and problem[:3]) == code


def test_a_mask_of_more_than_a_thousand_million_pixels_is_refused_before_it_is_made() -> None:
    assert check_counts([MAX_MASK_PIXELS], MAX_MASK_PIXELS, 1) is None
    assert str(check_counts([], MAX_MASK_PIXELS + 1, 1)).startswith("M06")
    assert str(check_counts([0], -1, 1)).startswith("M06")
    assert str(check_rle(Rle((1 << 40, 1 << 40), "0"))).startswith("M06")


@given(masks.filter(lambda mask: mask.size > 40), st.data())
def test_compressed_run_lengths_that_are_cut_short_are_found(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    rle = rle_from_mask(mask)
    shorter = Rle(rle.size, rle.counts[: data.draw(st.integers(0, len(rle.counts) - 1))])
    assert str(check_rle(shorter)).startswith("M04")


@given(st.text(max_size=30), st.integers(0, 50), st.integers(0, 50))
def test_any_text_as_run_lengths_is_judged_without_a_crash(text: str, height: int, width: int) -> None:
    rle = Rle((height, width), text)
    if check_rle(rle) is None and height and width:
        assert decode(rle).shape == (height, width)
        assert runs(decode(rle).astype(bool)) == _merge_empty_runs(rle_counts(rle))


def _merge_empty_runs(counts: list[int]) -> list[int]:
    """Runs of the same pixels without empty ones in the middle or at the end."""
    merged = [counts[0]]
    values = [False]
    for i, run in enumerate(counts[1:], 1):
        if run == 0:
            continue
        if values[-1] == bool(i % 2):
            merged[-1] += run
        else:
            merged.append(run)
            values.append(bool(i % 2))
    return merged


# Polygons

M03_RING = [4.0, 4.0, 24.0, 14.0, 24.0, 4.0, 4.0, 14.0]


def test_a_ring_that_crosses_itself_has_a_shoelace_of_0_and_a_raster_of_100() -> None:
    assert shoelace_area(M03_RING) == 0
    assert rle_area(rle_from_polygons([[M03_RING]], 40, 30)) == 100


@pytest.mark.parametrize(
    ("ring", "problem"),
    [
        ([0, 0, 9, 0, 9, 9], None),
        ([0.5, 0.5, 9.5, 0.5, 9.5, 9.5], None),
        ([-200, 0, 200, 0, 200, 200], None),  # outside, but by no more than 10 frame sides
        ([-201, 0, 9, 0, 9, 9], "M02 vertex 0 is at x = -201"),
        ([0, 0, 9, 0, 9, 1e9], "M02 vertex 2 is at y = 1000000000.0"),  # memory without end in pycocotools
        ([0, 0, 9, math.nan, 9, 9], "M02 vertex 1 is at y = nan"),  # likewise
        ([math.nan, 0, 9, 0, 9, 9], "M02 vertex 0 is at x = nan"),
        ([0, 0, math.inf, 0, 9, 9], "M02 vertex 1 is at x = inf"),
        ([0, 0, 9, 0, 9], "M01 ring of 5 numbers"),
        ([0, 0, 9, 0], "M01 ring of 2 points"),
        ([], "M01 ring of 0 points"),
        ([[0, 0], [9, 0], [9, 9], 1, 1, 1], "M01 vertex 0 is [0, 0]"),
        ([0, 0, "9", 0, 9, 9], "M01 vertex 1 is '9'"),
        ([0, 0, True, 0, 9, 9], "M01 vertex 1 is True"),
        ([0, 0, None, 0, 9, 9], "M01 vertex 1 is None"),
        (
            [0, 0, 10**5000, 0, 9, 9],
            "M02 vertex 1 is at x = an integer beyond 64 bits",
        ),  # no float, and too long to print
    ],
)
def test_rings_are_checked_before_they_reach_a_rasteriser(ring: list[object], problem: str | None) -> None:
    found = check_ring(ring, 20, 10)
    assert found is None if problem is None else str(found).startswith(problem)


def test_a_polygon_over_x_20_to_59_covers_40_columns() -> None:
    rle = paint_polygons([[[20, 30, 59, 30, 59, 49, 20, 49]]], 100, 80)
    assert rle_bounds(rle) == (20, 30, 40, 20)
    assert rle_area(rle) == 40 * 20
    assert polygon_bounds([[[20, 30, 59, 30, 59, 49, 20, 49]]]) == (20, 30, 39, 19)


# Quarters are exact, and halves are where rounding may go either way.
coordinate = st.integers(-120, 360).map(lambda quarters: quarters / 4)
rings = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8).map(
    lambda points: [value for point in points for value in point]
)


def paint_frame(parts: list[list[list[float]]], width: int, height: int) -> NDArray[np.bool_]:
    """The slow way: every ring painted on a canvas of the whole frame."""

    def paint(ring: list[float]) -> NDArray[np.bool_]:
        canvas = Image.new("1", (width, height))
        ImageDraw.Draw(canvas).polygon(list(zip(ring[::2], ring[1::2], strict=True)), fill=1, outline=1)
        return np.asarray(canvas)

    frame = np.zeros((height, width), bool)
    for outer, *holes in parts:
        part = paint(outer)
        for hole in holes:
            part = part & ~paint(hole)
        frame |= part
    return frame


@given(st.lists(st.lists(rings, min_size=1, max_size=3), min_size=1, max_size=3))
def test_painting_in_a_window_is_painting_in_the_frame(parts: list[list[list[float]]]) -> None:
    assert (decode(paint_polygons(parts, 50, 40)) == paint_frame(parts, 50, 40)).all()


def test_painting_in_a_window_is_exact_where_pillow_rounds() -> None:
    # About 1 in 1,000 of such rings differs by a pixel if the window is moved in x.
    random = np.random.default_rng(0)
    for _ in range(2000):
        ring = random.integers((-30, -30), (90, 90), (random.integers(3, 8), 2)).astype(float).reshape(-1).tolist()
        assert (decode(paint_polygons([[ring]], 50, 40)) == paint_frame([[ring]], 50, 40)).all(), ring


def test_a_polygon_outside_the_frame_paints_nothing() -> None:
    rle = paint_polygons([[[-30, -30, -20, -30, -20, -20]]], 50, 40)
    assert rle == rle_from_mask(np.zeros((40, 50)))


def test_a_frame_sized_polygon_with_vertices_on_the_far_edge_fills_the_frame() -> None:
    # Cityscapes' "out of roi" polygons reach to x = width and y = height.
    assert rle_area(paint_polygons([[[0, 0, 50, 0, 50, 40, 0, 40]]], 50, 40)) == 50 * 40


@given(st.lists(rings, min_size=1, max_size=3))
def test_polygons_without_holes_by_pycocotools_own_rule(outers: list[list[float]]) -> None:
    whole = coco_mask.merge(coco_mask.frPyObjects(outers, 40, 50))
    assert (decode(rle_from_polygons([[ring] for ring in outers], 50, 40)) == coco_mask.decode(whole)).all()


def test_a_hole_is_cut_out_of_its_part_and_no_other() -> None:
    square, hole = [0, 0, 20, 0, 20, 20, 0, 20], [5, 5, 15, 5, 15, 15, 5, 15]
    assert rle_area(rle_from_polygons([[square, hole]], 30, 30)) == 20 * 20 - 10 * 10
    # A second part over the hole fills it again.
    assert rle_area(rle_from_polygons([[square, hole], [hole]], 30, 30)) == 20 * 20


@given(rings)
def test_shoelace_agrees_with_shapely_on_simple_rings_in_both_directions(ring: list[float]) -> None:
    polygon = Polygon(np.array(ring).reshape(-1, 2))
    if not polygon.is_valid:
        return
    backwards = np.array(ring).reshape(-1, 2)[::-1].reshape(-1).tolist()
    assert shoelace_area(ring) == pytest.approx(polygon.area)
    assert shoelace_area(backwards) == pytest.approx(polygon.area)
    x1, y1, x2, y2 = polygon.bounds
    assert polygon_bounds([[ring]]) == pytest.approx((x1, y1, x2 - x1, y2 - y1))
