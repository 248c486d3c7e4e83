"""Label rasters: masks by value, against a comparison of the whole frame per value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as coco_mask

from curate.errors import SourceError
from curate.sources._rasters import components_by_value, is_constant, masks_by_value, read_raster


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 3)))
def test_masks_are_those_of_a_comparison_per_value(raster: np.ndarray) -> None:
    found = masks_by_value(raster, lambda values: values >= 2)
    assert list(found) == [value for value in (2, 3) if (raster == value).any()]
    for value, rle in found.items():
        wanted = np.asfortranarray(raster == value, np.uint8)
        # The very text that pycocotools writes, not only the same pixels.
        assert {"size": list(rle.size), "counts": rle.counts.encode()} == coco_mask.encode(wanted)


def test_rasters_of_several_tiles_are_turned_rightly() -> None:
    raster = np.random.default_rng(7).integers(0, 3, (300, 131)).astype(np.uint16)
    for value, rle in masks_by_value(raster, lambda values: values > 0).items():
        assert rle.counts.encode() == coco_mask.encode(np.asfortranarray(raster == value, np.uint8))["counts"]


def flood(raster: np.ndarray, value: int) -> list[np.ndarray]:
    """The regions of ``value``, each grown pixel by pixel over its eight neighbours."""
    left = {(x, y) for y, x in zip(*np.nonzero(raster == value), strict=True)}
    regions = []
    while left:
        todo, region = [min(left)], np.zeros(raster.shape, np.uint8)
        left.remove(todo[0])
        while todo:
            x, y = todo.pop()
            region[y, x] = 1
            near = {(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)} & left
            left -= near
            todo += near
        regions.append(region)
    return regions


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 3)))
def test_components_are_those_of_a_flood_fill(raster: np.ndarray) -> None:
    found = components_by_value(raster, lambda values: values >= 2)
    wanted = [(value, region) for value in (2, 3) for region in flood(raster, value)]
    assert [value for value, _ in found] == [value for value, _ in wanted]
    for (_, rle), (_, region) in zip(found, wanted, strict=True):
        encoded = coco_mask.encode(np.asfortranarray(region))
        assert {"size": list(rle.size), "counts": rle.counts.encode()} == encoded


def test_a_spiral_is_one_component() -> None:
    """A long chain of runs, each joined to the next alone."""
    raster = np.zeros((41, 41), np.uint16)
    raster[::2] = 2
    raster[1::4, -1] = 2
    raster[3::4, 0] = 2
    assert len(components_by_value(raster, lambda values: values == 2)) == 1


def test_nothing_wanted_gives_nothing() -> None:
    assert masks_by_value(np.zeros((4, 5), np.uint16), lambda values: values > 0) == {}
    assert components_by_value(np.zeros((4, 5), np.uint16), lambda values: values > 0) == []


@pytest.mark.parametrize(("dtype", "mode", "largest"), [(np.uint8, "L", 255), (np.uint16, "I;16", 65535)])
def test_values_are_read_as_stored(tmp_path: Path, dtype: type, mode: str, largest: int) -> None:
    values = np.array([[0, 7, largest], [1, 200, 33]], dtype)
    Image.fromarray(values).save(tmp_path / "raster.png")
    assert Image.open(tmp_path / "raster.png").mode == mode
    read, depth = read_raster(tmp_path / "raster.png")
    assert np.array_equal(read, values)
    assert depth == largest


def test_constant_pictures_are_told_from_others(tmp_path: Path) -> None:
    picture = Image.new("RGB", (5, 4), (0, 0, 9))
    picture.save(tmp_path / "one.png")
    picture.putpixel((4, 3), (0, 1, 9))
    picture.save(tmp_path / "two.png")
    assert is_constant(tmp_path / "one.png")
    assert not is_constant(tmp_path / "two.png")
    (tmp_path / "none.png").write_bytes((tmp_path / "two.png").read_bytes()[:50])
    with pytest.raises(SourceError, match=r"none\.png: does not decode"):
        is_constant(tmp_path / "none.png")
