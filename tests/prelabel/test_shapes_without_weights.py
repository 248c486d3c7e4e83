"""The ellipse and GrabCut: exact where it can be worked out, flagged where GrabCut has nothing to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.demo.tiny_sam import judge
from curate.errors import UsageError
from curate.prelabel.ellipse import Ellipse, ellipse_in
from curate.prelabel.grabcut import GrabCut
from curate.prelabel.prompts import Prompts

sides = st.floats(0.2, 60)
corners = st.floats(0, 39)


@given(corners, corners, sides, sides)
def test_an_ellipse_has_its_area_and_stays_in_its_box(x: float, y: float, w: float, h: float) -> None:
    mask = ellipse_in(np.array([x, y, w, h]), 100, 100)
    rows, columns = np.nonzero(mask)
    assert len(rows)
    assert columns.min() >= math.floor(x)
    assert rows.min() >= math.floor(y)
    assert columns.max() < math.ceil(x + w) + 1
    assert rows.max() < math.ceil(y + h) + 1
    if min(w, h) > 10:
        assert len(rows) == pytest.approx(math.pi / 4 * w * h, rel=0.1)
        assert np.array_equal(mask, ellipse_in(np.array([x, y, w, h]), 100, 100))


def test_a_circle_by_hand() -> None:
    assert ellipse_in(np.array([0.0, 0.0, 4.0, 4.0]), 4, 5).astype(int).tolist() == [
        [0, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 1, 0, 0],
    ]


def test_boxes_only() -> None:
    point = Prompts(points=np.zeros((1, 1, 2)), point_labels=np.ones((1, 1), np.int64))
    for segmenter in (Ellipse(), GrabCut()):
        assert list(segmenter.segment(np.zeros((4, 4, 3), np.uint8), Prompts())) == []
        with pytest.raises(UsageError, match="expected boxes"):
            list(segmenter.segment(np.zeros((4, 4, 3), np.uint8), point))


def test_grabcut_finds_drawn_things() -> None:
    ious, plain = [], []
    for picture, masks in judge.fixed_scenes(20, 160, 120):
        boxes = np.array([judge.tight_box(mask) for mask in masks]).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]
        found = list(GrabCut().segment(picture, Prompts(boxes=boxes)))
        again = list(GrabCut().segment(picture, Prompts(boxes=boxes)))
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found, again, strict=True))
        ious += [judge.iou(a.pixels, b) for a, b in zip(found, masks, strict=True)]
        plain += [judge.iou(ellipse_in(box, 120, 160), mask) for box, mask in zip(boxes, masks, strict=True)]
        for mask, (x, y, w, h) in zip(found, boxes.astype(int), strict=True):
            outside = mask.pixels.copy()
            outside[y : y + h, x : x + w] = False
            assert not outside.any()
    assert np.mean(ious) > np.mean(plain) + 0.15


@pytest.mark.parametrize(
    ("picture", "box"),
    [
        (np.full((50, 50, 3), 90, np.uint8), [10, 10, 20, 20]),  # one colour
        (np.zeros((50, 50, 3), np.uint8), [0, 0, 50, 50]),  # the box is the picture: no ground
        (np.zeros((1, 1, 3), np.uint8), [0, 0, 1, 1]),
        (np.zeros((20, 2000, 3), np.uint8), [0.4, 3.2, 1.1, 2.3]),
    ],
    ids=["one colour", "all of it", "one pixel", "tiny box"],
)
def test_where_grabcut_has_nothing_to_say_it_is_a_flagged_ellipse(picture: Any, box: list[float]) -> None:
    (mask,) = GrabCut().segment(picture, Prompts(boxes=np.array([box], float)))
    assert mask.flags == ("ellipse",)
    assert np.array_equal(mask.pixels, ellipse_in(np.array(box, float), *picture.shape[:2]))


def test_a_large_object_is_worked_on_at_a_scale() -> None:
    picture = np.full((900, 1200, 3), 60, np.uint8)
    picture += np.random.default_rng(0).integers(0, 12, picture.shape, dtype=np.uint8)
    picture[200:700, 300:600] = 220, 60, 40
    picture[200:450, 600:900] = 220, 60, 40  # an L
    truth = picture[..., 0] == 220
    (mask,) = GrabCut().segment(picture, Prompts(boxes=np.array([[300.0, 200.0, 600.0, 500.0]])))
    assert not mask.flags
    assert judge.iou(mask.pixels, truth) > 0.97
