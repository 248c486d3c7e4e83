"""Area and bounds that are derived from runs and vertices, against pycocotools and shapely."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from curate.verify import shapes
from curate.verify.shapes import figures
from curate.verify.subject import Subject


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_area_and_bounds_of_masks(height: int, width: int, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [np.asfortranarray((rng.random((height, width)) < rng.random()).astype(np.uint8)) for _ in range(n)]
    runs: list[int] = []
    offsets = [0]
    for mask in masks:
        flat = mask.flatten(order="F").astype(int)
        changes = np.flatnonzero(np.diff(flat)) + 1
        bounds = [0, *changes.tolist(), len(flat)]
        lengths = np.diff(bounds).tolist()
        runs += [0, *lengths] if flat[0] else lengths
        offsets.append(len(runs))
    area, bounds_found = figures(np.array(runs), np.array(offsets), np.full(n, height), np.ones(n, bool))
    for i, mask in enumerate(masks):
        rle = coco_mask.encode(mask)
        assert area[i] == coco_mask.area(rle)
        x, y, w, h = coco_mask.toBbox(rle).tolist()
        left, top, right, bottom = bounds_found[i].tolist()
        assert (right - left, bottom - top) == (w, h)
        assert not mask.any() or (left, top) == (x, y)


def test_polygons_with_holes_and_parts() -> None:
    square = [0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 10.0]
    hole = [2.0, 2.0, 4.0, 2.0, 4.0, 4.0, 2.0, 4.0]
    triangle = [20.0, 20.0, 24.0, 20.0, 20.0, 23.0]
    polygons = [None, [[square, hole], [triangle]], [], [[triangle]]]
    n = len(polygons)
    annotations = pa.table(
        {
            "image_id": pa.array(["i"] * n),
            **{side: pa.array([0.0] * n) for side in "xywh"},
            "polygons": pa.array(polygons, pa.list_(pa.list_(pa.list_(pa.float64())))),
        }
    )
    images = pa.table({"id": ["i"], "width": [50.0], "height": [50.0]})
    found = shapes.of(Subject("dataset", {"images": images, "annotations": annotations}, lambda *_: ""))
    assert found.kind.tolist() == [shapes.NONE, shapes.POLYGONS, shapes.NONE, shapes.POLYGONS]
    np.testing.assert_allclose(found.area, [np.nan, 100 - 4 + 6, np.nan, 6])
    np.testing.assert_allclose(found.perimeter, [np.nan, 40 + 8 + 12, np.nan, 12])
    np.testing.assert_allclose(found.left, [np.nan, 0, np.nan, 20])
    np.testing.assert_allclose(found.bottom, [np.nan, 23, np.nan, 23])
    assert not found.crossing.any()
    assert found.faults == []


def test_an_annotation_with_a_mask_and_polygons_is_measured_by_its_mask() -> None:
    from curate.dataset import RLE_TYPE
    from curate.geometry import rle_from_counts

    rle = rle_from_counts([0, 6, 94], 10, 10)
    annotations = pa.table(
        {
            "image_id": pa.array(["i"]),
            **{side: pa.array([0.0]) for side in "xywh"},
            "segmentation": pa.array([{"size": list(rle.size), "counts": rle.counts}], RLE_TYPE),
            "polygons": pa.array([[[[0.0, 0.0, 9.0, 0.0, 9.0, 9.0]]]], pa.list_(pa.list_(pa.list_(pa.float64())))),
        }
    )
    images = pa.table({"id": ["i"], "width": [10.0], "height": [10.0]})
    found = shapes.of(Subject("dataset", {"images": images, "annotations": annotations}, lambda *_: ""))
    assert (found.kind[0], found.area[0], found.right[0], found.bottom[0]) == (shapes.RLE, 6, 1, 6)
