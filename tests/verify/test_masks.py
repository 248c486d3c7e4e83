"""Masks and polygons that must not reach a decoder, and those that are only odd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curate.geometry import rle_from_counts
from curate.verify import Report

Json = dict[str, Any]
Coco = Callable[..., Report]


def codes(report: Report) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in report.findings]


def shape(segmentation: Any, box: list[float] | None = None, **more: Any) -> Callable[[Json], None]:
    """The first annotation's segmentation, on its 100 x 80 image, beside no other mask."""

    def damage(data: Json) -> None:
        data["annotations"][0].update(segmentation=segmentation, bbox=box or [0, 0, 99, 80], **more)
        if "area" not in more:
            del data["annotations"][0]["area"]
        del data["annotations"][2]["segmentation"]

    return damage


FULL = rle_from_counts([0, 8000], 100, 80).counts
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


@pytest.mark.parametrize(
    ("segmentation", "code", "words"),
    [
        ({"size": [80, 100], "counts": [7000]}, "M04", "7000; expected 80 x 100 = 8000"),
        ({"size": [80, 100], "counts": [7000, 1001]}, "M04", "8001"),
        ({"size": [80, 100], "counts": []}, "M04", "sum to 0"),
        ({"size": [80, 100], "counts": FULL[:-1]}, "M04", "cut short"),
        ({"size": [80, 100], "counts": FULL + "1"}, "M04", "8001"),
        ({"size": [80, 100], "counts": ""}, "M04", "sum to 0"),
        ({"size": [80, 100], "counts": "not a mask"}, "M04", "out of range"),
        ({"size": [80, 100], "counts": "o" * 40 + "0"}, "M04", "out of range"),
        ({"size": [80, 100], "counts": [*[1 << 61] * 8, 8000]}, "M04", "run is 2305843009213693952"),  # 2**64 + 8000
        ({"size": [40_000, 40_000], "counts": [1_600_000_000]}, "M06", "40000 x 40000"),
        ({"size": [10**12, 10**12], "counts": [5]}, "M06", "px"),
        ({"size": [-80, 100], "counts": [5]}, "M06", "px"),
        ([[10, 10, 1e9, 10, 30, 30]], "M02", "vertex 1 is at x = 1e+09"),
        ([[10, 10, 30, 10, 30, -1001]], "M02", "vertex 2 is at y = -1001"),
        ([SQUARE[0], [1e300, 0, 0, 0, 5, 5]], "M02", "vertex 0"),
    ],
)
def test_what_must_not_be_decoded(coco: Coco, segmentation: Any, code: str, words: str) -> None:
    report = coco(shape(segmentation), skip=["M05"])
    assert codes(report) == [(code, "error")]
    assert ", annotations[0].segmentation" in report.findings[0].where
    assert words in report.findings[0].message


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ({"size": [80, 100], "counts": [0, 7920, 80]}, [0, 0, 99, 80]),  # no background first
        ({"size": [80, 100], "counts": [0, 0, 0, 7920, 80, 0]}, [0, 0, 99, 80]),  # runs of zero
        (SQUARE, [10, 10, 20, 20]),
        ([[10, 10, 30, 10, 30, 30]], [10, 10, 20, 20]),
        ([[10, 10, 30, 10, 30, 30, 10, 30, 10, 10]], [10, 10, 20, 20]),  # closed
        ([[10, 10, 20, 20, 30, 10, 30, 30, 20, 20, 10, 30]], [10, 10, 20, 20]),  # touches itself in one point
        ([[-1, 10, 30, 10, 30, 30]], [-1, 10, 31, 20]),
        ([SQUARE[0], [50, 50, 60, 50, 60, 60]], [10, 10, 50, 50]),
    ],
)
def test_sound_shapes_are_quiet(coco: Coco, segmentation: Any, box: list[float]) -> None:
    assert codes(coco(shape(segmentation, box))) == []


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[4, 4, 24, 14, 24, 4, 4, 14]], "crosses itself and encloses 0 px²"),
        ([[10, 10, 20, 20, 30, 30]], "encloses 0 px²"),
        ([[10, 10, 40, 40, 40, 10, 10, 30]], "crosses itself"),
        ([[80, 10, 110, 10, 110, 30]], "leaves the 100 x 80 frame by 10 px"),
        ([[10, -3, 30, 10, 30, 30]], "by 3 px"),
    ],
)
def test_odd_polygons(coco: Coco, segmentation: Any, words: str) -> None:
    report = coco(shape(segmentation), only=["M"])
    assert codes(report) == [("M03", "warning")]
    assert words in report.findings[0].message


def test_a_crossing_polygon_whose_area_was_counted_in_pixels(coco: Coco) -> None:
    # Shoelace gives 0, and 100 pixels are painted: either may be stored.
    bow = [[4, 4, 24, 14, 24, 4, 4, 14]]
    assert codes(coco(shape(bow, [4, 4, 20, 10], area=100), only=["B09"])) == []
    assert codes(coco(shape(bow, [4, 4, 20, 10], area=0), only=["B09"])) == []
    assert codes(coco(shape(bow, [4, 4, 20, 10], area=200), only=["B09"])) == [("B09", "warning")]


@pytest.mark.parametrize(("size", "swapped"), [([100, 80], True), ([80, 101], False), ([40, 50], False)])
def test_a_mask_of_another_size(coco: Coco, size: list[int], swapped: bool) -> None:
    pixels = size[0] * size[1]
    report = coco(shape({"size": size, "counts": [0, pixels - 80, 80]}), only=["M"])
    assert codes(report) == [("M05", "error")]
    assert ("exchanged" in (report.findings[0].hint or "")) == swapped


def test_an_empty_mask(coco: Coco) -> None:
    report = coco(shape({"size": [80, 100], "counts": [8000]}))
    assert codes(report) == [("M09", "warning")]


def test_two_kinds_of_run_lengths_in_one_file(coco: Coco) -> None:
    def damage(data: Json) -> None:
        counts = rle_from_counts([0, 7920, 80], 100, 80).counts
        data["annotations"][0].update(segmentation={"size": [80, 100], "counts": counts}, bbox=[0, 0, 99, 80])
        data["annotations"][0]["area"] = 7920

    report = coco(damage)
    assert codes(report) == [("M08", "info")]


def test_many_masks_with_one_fault_among_them(coco: Coco) -> None:
    rng = np.random.default_rng(3)

    def damage(data: Json) -> None:
        data["images"][0].update(width=30, height=40)
        rows = []
        for i in range(3000):
            cuts = np.sort(rng.choice(1199, 6, replace=False) + 1)
            runs = np.diff([0, *cuts.tolist(), 1200]).tolist()
            rows.append(
                {
                    "id": i,
                    "image_id": 0,
                    "category_id": 0,
                    "bbox": [0, 0, 30, 40],
                    "segmentation": {"size": [40, 30], "counts": rle_from_counts(runs, 30, 40).counts},
                }
            )
        rows[2222]["segmentation"]["counts"] = rle_from_counts([1199], 1199, 1).counts
        data["annotations"] = rows

    report = coco(damage, only=["M"])
    assert [(one.code, one.item) for one in report.findings] == [("M04", "2222")]
