"""Masks of drawn objects: those that do not fit are none, windows are cut from the frame, overlaps are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry import mask_from_rle, rle_area, rle_from_mask, rle_iou
from curate.model import Annotation, Rle
from curate.review import agreement, outlines


def row(**what: object) -> Annotation:
    return Annotation(id="a", image_id="i", **what)  # type: ignore[arg-type]


def random_masks(seed: int, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 13, 17), bool)
    for mask in masks:
        top, left = rng.integers(0, 10, 2)
        mask[top : top + rng.integers(0, 9), left : left + rng.integers(0, 9)] = rng.random() < 0.9
        mask &= rng.random(mask.shape) < 0.8
    return list(masks)


@given(st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_windows_and_overlaps_are_those_of_whole_frames(seed: int) -> None:
    painted = random_masks(seed)
    rles = [rle_from_mask(mask) for mask in painted]
    masks = outlines.masks_of([row(segmentation=rle) for rle in rles], [None] * 3)
    assert masks.areas.tolist() == [rle_area(rle) for rle in rles]
    assert masks.iou(0, 1) == pytest.approx(rle_iou(rles[0], rles[1]))
    union = np.any(painted, axis=0)
    rows, columns = (np.flatnonzero(union.any(axis=axis)) for axis in (1, 0))
    for window, mask in zip(outlines.windows(rles), painted, strict=True):
        if union.any():
            assert (window == mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]).all()
        else:
            assert window.size == 0
    f, _ = outlines.boundaries(rles[0], rles[1])
    assert f == pytest.approx(agreement.boundary_f(*(mask_from_rle(rle) > 0 for rle in rles[:2])))


@pytest.mark.parametrize(
    "broken",
    [
        Rle((5, 5), "1"),  # too short a sum
        Rle((5, 5), "\x7f"),
        Rle((5, 5), "ü"),
        Rle((-5, 5), "1"),
        Rle((10**6, 10**6), "1"),
    ],
)
def test_run_lengths_that_do_not_fit_are_no_mask(broken: Rle) -> None:
    good = rle_from_mask(np.ones((5, 5)))
    masks = outlines.masks_of([row(segmentation=broken), row(segmentation=good)], [(5, 5)] * 2)
    assert masks.rles == [None, good]
    assert masks.iou(0, 1) is None


def test_polygons_are_painted_where_the_frame_is_known() -> None:
    square = [[[1.0, 1.0, 4.0, 1.0, 4.0, 4.0, 1.0, 4.0]]]
    far = [[[1.0, 1.0, 1e9, 1.0, 4.0, 4.0]]]
    rows = [row(polygons=square), row(polygons=square), row(polygons=far), row()]
    masks = outlines.masks_of(rows, [(5, 5), None, (5, 5), (5, 5)])
    assert [rle is not None for rle in masks.rles] == [True, False, False, False]
    assert masks.areas[0] == 9


def test_the_worked_example_of_staple() -> None:
    """Ten pixels as two rows of five: sensitivity 1, .75, 1, specificity 1, 1, 4/6. In a row, they fill their window.

    The row of six with its rim has 24 pixels, 20 of them background, of which the third person has two.
    """
    square, line = np.zeros((3, 20, 30), bool), np.zeros((3, 20, 30), bool)
    for k, count in enumerate((4, 3, 5)):
        square[k, 7, 9 : 9 + count] = True
    square[2, 8, 9] = True
    for k, count in enumerate((4, 3, 6)):
        line[k, 7, 9 : 9 + count] = True
    for masks, specificity in ((square, 4 / 6), (line, 18 / 20)):
        said = outlines.drawn_by_staple([rle_from_mask(mask) for mask in masks])
        assert [value for value, _ in said] == pytest.approx([1, 0.75, 1], abs=1e-3)
        assert [value for _, value in said] == pytest.approx([1, 1, specificity], abs=1e-3)


def test_masks_of_different_frames_have_no_overlap() -> None:
    rows = [row(segmentation=rle_from_mask(np.ones(shape))) for shape in ((5, 5), (5, 6))]
    assert outlines.masks_of(rows, [None] * 2).iou(0, 1) is None


def test_many_masks_are_checked_by_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(segmentation=rle_from_mask(mask)) for mask in random_masks(1, 50)]
    whole = outlines.masks_of(rows, [None] * 50)
    monkeypatch.setattr(outlines, "_PORTION", 7)
    parts = outlines.masks_of(rows, [None] * 50)
    assert parts.rles == whole.rles
    assert parts.areas.tolist() == whole.areas.tolist()
