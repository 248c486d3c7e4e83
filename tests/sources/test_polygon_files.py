"""Polygon files of Cityscapes' schema: both variants of their objects, groups, and polygons that show nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycocotools import mask as coco_mask

from curate.errors import SourceError
from curate.model import Item, Rle, finding
from curate.sources._polygon_files import paint, read_polygon_file, ring_of, without_group

ITEM = Item("source/a", Path("raw"), None, None, "a.json")


def test_both_variants_of_objects_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    bare = {"label": "car", "polygon": [[0, 0], [9, 0], [9, 9.5]]}
    by_tool = {"date": "x", "deleted": 1, "draw": True, "id": 4, "user": "anon", "verified": 0, "more": [1]}
    path.write_text(json.dumps({"imgHeight": 20, "imgWidth": 30, "objects": [bare, {**bare, **by_tool}]}))
    size, (first, second) = read_polygon_file(path, None)
    assert size == (30, 20)
    assert ring_of(first, path, 0) == ring_of(second, path, 1) == [0, 0, 9, 0, 9, 9.5]
    assert (first.label, first.deleted, second.deleted) == ("car", 0, 1)
    assert (first.id, first.user, first.date, first.verified, first.draw) == (None,) * 5
    assert (second.id, second.user, second.date, second.verified, second.draw) == (4, "anon", "x", 0, True)
    with pytest.raises(SourceError, match=r"a\.json: was made for 30 x 20 px; its image has 20 x 30"):
        read_polygon_file(path, (20, 30))


def test_the_place_of_what_is_no_point_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    odd = {"label": "car", "polygon": [[0, 0], [1, "2"]]}
    path.write_text(json.dumps({"imgHeight": 20, "imgWidth": 30, "objects": [odd]}))
    _, (found,) = read_polygon_file(path, None)
    with pytest.raises(SourceError, match=r"a\.json, objects\[0\]\.polygon\[1\]\[1\]: expected `float`, got `str`"):
        ring_of(found, path, 0)


@pytest.mark.parametrize(
    ("label", "read"),
    [
        ("car", ("car", False)),
        ("cargroup", ("car", True)),
        ("polegroup", ("polegroup", False)),
        ("hovercraftgroup", ("hovercraftgroup", False)),
        ("group", ("group", False)),
        ("cargroupgroup", ("cargroupgroup", False)),
    ],
)
def test_a_group_is_known_by_its_class(label: str, read: tuple[str, bool]) -> None:
    assert without_group(label, {"car", "pole", "polegroup"}) == read


def test_polygons_are_painted_with_their_outline_and_clipped() -> None:
    mask = paint([20, 2, 59, 2, 59, 30.0, 20, 30.0], ITEM, 0, "car", (64, 16))
    assert isinstance(mask, Rle)
    assert mask.size == (16, 64)
    assert coco_mask.toBbox({"size": [16, 64], "counts": mask.counts.encode()}).tolist() == [20, 2, 40, 14]


@pytest.mark.parametrize(
    ("ring", "said"),
    [
        ([], "ring of 0 points; expected at least 3"),
        ([3, 3, 4, 4], "ring of 2 points; expected at least 3"),
        ([70, 3, 80, 3, 80, 9], "polygon lies outside the 64 x 16 frame"),
    ],
)
def test_a_polygon_that_shows_nothing_says_why(ring: list[float], said: str) -> None:
    wanted = finding("N02", "a.json, objects[5]", f"car: {said}; left out", item="source/a")
    assert paint(ring, ITEM, 5, "car", (64, 16)) == wanted


def test_a_vertex_far_outside_is_refused() -> None:
    with pytest.raises(
        SourceError, match=r"raw/a\.json, objects\[3\]: vertex 1 is at x = 100000.0; expected at most 640 px"
    ):
        paint([0, 0, 1e5, 0, 3, 3], ITEM, 3, "car", (64, 16))
