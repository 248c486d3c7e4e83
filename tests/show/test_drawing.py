"""How annotations are drawn."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageOps

from curate.geometry import rle_from_mask
from curate.model import Rle
from curate.show.drawing import Mark, View, colour_of, overlay, place_labels
from curate.sources import label_table
from curate.turning import turned_box, turned_picture

FRAME = (40, 30)
WHOLE = View((0, 0, 40, 30), 1.0)


def mark(**changes) -> Mark:
    plain = Mark("a", "cat", (255, 0, 0), None, None, None, False, False, "truth", None, None)
    return plain._replace(**changes)


def alpha(marks: list[Mark], view: View = WHOLE, **options) -> np.ndarray:
    picture = overlay(marks, FRAME, view, **options)
    assert picture.mode == "RGBA"
    return np.asarray(picture)[..., 3]


def ring(value: float = 5.0) -> list[list[list[float]]]:
    return [[[value, 5, 20, 5, 20, 20, 5, 20], [9, 9, 16, 9, 16, 16, 9, 16]]]


def test_a_mask_is_drawn_where_it_is() -> None:
    mask = np.zeros((30, 40), bool)
    mask[4:19, 7:29] = True
    mask[8:12, 10:20] = False
    drawn = alpha([mark(rle=rle_from_mask(mask))])
    np.testing.assert_array_equal(drawn > 0, mask)
    assert drawn[4, 7] > drawn[6, 8]  # the outline is stronger than the inside


def test_without_fill_only_the_outline_is_drawn() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:15, 5:15] = True
    drawn = alpha([mark(rle=rle_from_mask(mask))], fill=False)
    assert (drawn > 0).sum() == 36 and drawn[6:14, 6:14].max() == 0


def test_an_outline_may_be_wider_and_stays_inside() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:15, 5:15] = True
    drawn = alpha([mark(rle=rle_from_mask(mask))], fill=False, line=3)
    inside = mask.copy()
    inside[8:12, 8:12] = False
    np.testing.assert_array_equal(drawn > 0, inside)


def test_a_view_scales_and_cuts() -> None:
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:30] = True
    drawn = alpha([mark(rle=rle_from_mask(mask))], View((8, 6, 16, 12), 3.0))
    assert drawn.shape == (36, 48)
    ys, xs = np.nonzero(drawn)
    # x from (10 - 8) * 3 to the right edge, y from (10 - 6) * 3 to the bottom edge
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (6, 47, 12, 35)


def test_polygons_serve_where_there_is_no_mask() -> None:
    drawn = alpha([mark(polygons=ring())])
    assert drawn[7, 7] > 0 and drawn[12, 12] == 0 and drawn[25, 25] == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"rle": Rle((30, 40), "0")},  # runs that do not fill the frame
        {"rle": Rle((30, 40), "zzz~")},
        {"rle": rle_from_mask(np.ones((10, 10)))},  # of another size
        {"polygons": ring(1e9)},
        {"polygons": ring(float("nan"))},
        {"polygons": [[[1, 2, 3]]]},
    ],
)
def test_a_broken_mask_is_passed_over_and_the_box_is_drawn(bad: dict) -> None:
    drawn = alpha([mark(box=(5, 5, 10, 10), **bad)])
    assert drawn[5, 8] == 255 and drawn[10, 10] == 0


def top_edge(**changes) -> np.ndarray:
    """Which pixels of a box's top edge show its colour."""
    picture = np.asarray(overlay([mark(box=(10, 50, 200, 100), **changes)], (300, 200), View((0, 0, 300, 200), 1.0)))
    assert (picture[49] != (255, 0, 0, 255)).any(axis=-1).all()  # nothing of it lies outside the box
    return (picture[50, 10:210] == (255, 0, 0, 255)).all(axis=-1)


def test_line_styles_tell_truth_groups_and_proposals_apart() -> None:
    whole, crowd, proposal = top_edge(), top_edge(crowd=True), top_edge(status="proposal")
    assert whole.all()
    assert 0.4 < crowd.mean() < 0.8 and 0.3 < proposal.mean() < 0.7

    def pieces(line: np.ndarray) -> int:
        return int((np.diff(line.astype(int)) == 1).sum())

    assert pieces(proposal) > 1.5 * pieces(crowd) > 0


def test_ignore_regions_are_hatched() -> None:
    view = View((0, 0, 300, 200), 1.0)
    inside = np.asarray(overlay([mark(box=(10, 50, 200, 100), ignore=True)], (300, 200), view))[60:140, 20:200, 3]
    assert (inside > 0).all() and 0.1 < (inside > 200).mean() < 0.4
    clear = np.asarray(overlay([mark(box=(10, 50, 200, 100))], (300, 200), view))[60:140, 20:200, 3]
    assert clear.max() == 0


def test_small_objects_lie_on_top_of_large_ones() -> None:
    large, small = np.ones((30, 40), bool), np.zeros((30, 40), bool)
    small[10:20, 10:20] = True
    marks = [
        mark(rle=rle_from_mask(small), box=(10, 10, 10, 10), colour=(0, 0, 255)),
        mark(rle=rle_from_mask(large), box=(0, 0, 40, 30)),
    ]
    for order in (marks, marks[::-1]):
        picture = np.asarray(overlay(order, FRAME, WHOLE))
        assert tuple(picture[14, 14, :3]) == (0, 0, 255) and tuple(picture[25, 30, :3]) == (255, 0, 0)


@pytest.mark.parametrize(
    "box", [(1e12, 1e12, 5, 5), (-1e300, 0, 2e300, 9), (5, 5, 0, 0), (5, 5, -3, -3), (5, 5, 1e-9, 4)]
)
def test_absurd_boxes_do_no_harm(box: tuple[float, float, float, float]) -> None:
    alpha([mark(box=box, crowd=True), mark(box=box, ignore=True), mark(box=box, status="rejected")])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_follows_pillows_reading_of_exif(orientation: int) -> None:
    stored = PilImage.fromarray(np.random.default_rng(0).integers(0, 255, (6, 9, 3), np.uint8))
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    stored.save(stream, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(PilImage.open(stream))
    np.testing.assert_array_equal(np.asarray(turned_picture(stored, orientation)), np.asarray(expected))


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_boxes_turn_with_the_picture(orientation: int | None) -> None:
    width, height = 50, 30
    stored = np.zeros((height, width), np.uint8)
    stored[4:10, 12:33] = 255  # left 12, top 4, right 33, bottom 10
    ys, xs = np.nonzero(np.asarray(turned_picture(PilImage.fromarray(stored), orientation)))
    expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert turned_box((12, 4, 33, 10), (width, height), orientation) == expected


boxes = st.tuples(st.floats(-50, 500), st.floats(-50, 400), st.floats(0, 300), st.floats(0, 300)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(boxes, max_size=40))
def test_labels_stay_inside_and_never_overlap(found: list[tuple[float, float, float, float]]) -> None:
    labels = place_labels([("a car", (1, 2, 3), box) for box in found], (480, 360), (6.0, 15.0))
    chips = [(label.left, label.top, label.left + 6 * 5 + 8, label.top + 15) for label in labels]
    for i, a in enumerate(chips):
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= 480 and a[3] <= 360
        for b in chips[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_a_lone_box_is_labelled_above_it() -> None:
    (label,) = place_labels([("cat 0.91", (9, 9, 9), (100, 100, 200, 200))], (480, 360), (6.0, 15.0))
    assert (label.text, label.left, label.top) == ("cat 0.91", 100, 85)


def test_colours_follow_from_the_name_alone() -> None:
    code = "from curate.show.drawing import colour_of; print(*colour_of('Car'), *colour_of('\\ud800'))"
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second
    assert tuple(map(int, first.split()))[:3] == colour_of("Car")


def test_classes_of_a_source_have_different_colours() -> None:
    for source in ("kitti", "cityscapes"):
        rows = label_table(source)
        names = [row.get("type") or row["name"] for row in rows if row.get("hasInstances", "1") == "1"]
        colours = [colour_of(name) for name in names]
        for i, a in enumerate(colours):
            assert all(max(abs(p - q) for p, q in zip(a, b, strict=True)) >= 15 for b in colours[:i]), names[i]


@given(st.text(max_size=20))
def test_text_can_be_read_on_any_colour(name: str) -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        """Relative luminance of WCAG 2."""
        linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    # WCAG 2 asks for a contrast of 4.5 to 1; labels are written in almost black.
    assert (luminance(colour_of(name)) + 0.05) / (luminance((27, 29, 33)) + 0.05) >= 4.5


def test_a_score_stands_behind_the_class() -> None:
    assert mark(score=0.5).text == "cat 0.50" and mark().text == "cat"
