"""Outlines of masks: exact ones paint the mask again, simplified ones nearly, and a cut removes holes alone."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from curate import tracing
from curate.geometry import mask_from_rle, rle_from_mask, rle_from_polygons, rle_iou
from curate.model import Polygons
from curate.tracing import outline, without_holes


@st.composite
def noise(draw: st.DrawFn) -> np.ndarray:
    """Masks full of islands, holes, islands in holes, and pixels that touch at a corner."""
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    return np.random.default_rng(draw(st.integers(0, 999))).random(shape) < draw(st.sampled_from([0.2, 0.5, 0.8]))


MASKS = (arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14)) | noise()).filter(np.any)


def painted(polygons: Polygons, shape: tuple[int, ...]) -> list[list[bool]]:
    mask: list[list[bool]] = (mask_from_rle(rle_from_polygons(polygons, shape[1], shape[0])) > 0).tolist()
    return mask


def area(polygons: Polygons) -> float:
    rings = [[np.reshape(ring, (-1, 2)) for ring in part] for part in polygons]
    return float(sum(shapely.Polygon(outer, holes).area for outer, *holes in rings))


@settings(max_examples=300)
@given(MASKS)
def test_an_exact_outline_paints_the_mask_again_with_and_without_holes(mask: np.ndarray) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "TOLERANCES", ())
        exact = outline(rle_from_mask(mask))
    assert area(exact) == mask.sum()
    assert painted(exact, mask.shape) == mask.tolist()
    cut = without_holes(exact)
    assert all(len(part) == 1 for part in cut)
    assert area(cut) == mask.sum()
    assert painted(cut, mask.shape) == mask.tolist()


@settings(max_examples=300)
@given(MASKS)
def test_a_simplified_outline_covers_nearly_the_same(mask: np.ndarray) -> None:
    height, width = mask.shape
    rle = rle_from_mask(mask)
    found = outline(rle)
    assert rle_iou(rle_from_polygons(found, width, height), rle) >= tracing.LEAST_IOU
    assert area(without_holes(found)) == pytest.approx(area(found))


def test_a_ring_worked_by_hand() -> None:
    ring = np.ones((6, 8), bool)
    ring[2:4, 3:5] = False
    (part,) = outline(rle_from_mask(ring))
    outer, hole = (sorted(map(tuple, np.reshape(one, (-1, 2)).tolist())) for one in part)
    assert outer == [(0, 0), (0, 6), (8, 0), (8, 6)]
    assert hole == [(3, 2), (3, 4), (5, 2), (5, 4)]
    left, right = without_holes([part])
    assert (area([left]), area([right])) == (4 * 6 - 2, 4 * 6 - 2)  # cut at x = 4
    assert max(left[0][::2]) == min(right[0][::2]) == 4


def test_a_disk_has_few_corners_and_parts_stay_apart() -> None:
    y, x = np.ogrid[:200, :400]
    disks = ((x - 100) ** 2 + (y - 100) ** 2 < 80**2) | ((x - 300) ** 2 + (y - 100) ** 2 < 60**2)
    found = outline(rle_from_mask(disks))
    assert [len(part) for part in found] == [1, 1]
    assert sum(len(part[0]) // 2 for part in found) < 70  # of 866
    assert rle_iou(rle_from_polygons(found, 400, 200), rle_from_mask(disks)) > 0.98


def test_a_full_frame_is_one_run_over_all_columns_and_an_empty_one_none() -> None:
    ((outer,),) = outline(rle_from_mask(np.ones((3, 4))))
    assert sorted(zip(outer[::2], outer[1::2], strict=True)) == [(0, 0), (0, 3), (4, 0), (4, 3)]
    assert outline(rle_from_mask(np.zeros((3, 4)))) == []
