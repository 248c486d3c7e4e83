"""Import -> export -> import is equal field by field, and a foreign file gets back what was foreign in it."""

# ruff: noqa: E501 - a foreign file reads best with a row per line

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pycocotools.coco import COCO

from curate import coco
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import Annotation, Category, Image, Info
from tests.strategies import datasets

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows(dataset: Dataset, name: str) -> list[dict[str, Any]]:
    """The rows of a table as they are compared: JSON parsed, file names in."""
    found: list[dict[str, Any]] = dataset.table(name).to_pylist()
    for row in found:
        if isinstance(row.get("attributes"), str):
            row["attributes"] = json.loads(row["attributes"])
    return found


@quick
@given(dataset=datasets())
def test_what_we_write_reads_back_equal(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    coco.write(dataset, file, overwrite=True)
    back = coco.read(file)
    for name in dataset.tables:
        expected = rows(dataset, name)
        assert rows(back, name) == expected, name
    assert back.fingerprint() == dataset.fingerprint()
    assert back.info.sources == dataset.info.sources
    assert not back.problems


@quick
@given(dataset=datasets())
def test_a_second_export_has_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    coco.write(dataset, first, overwrite=True)
    coco.write(coco.read(first), second, overwrite=True)
    assert first.read_bytes() == second.read_bytes()


@quick
@given(dataset=datasets())
def test_pycocotools_reads_it(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    coco.write(dataset, file, overwrite=True)
    with contextlib.redirect_stdout(None):
        read = COCO(str(file))
    key = read.dataset["curate"]["columns"]["images"]["id"]
    images, annotations = dataset.table("images"), dataset.table("annotations")
    assert sorted(read.getImgIds()) == list(range(1, images.num_rows + 1))
    assert [image[key] for image in read.loadImgs(sorted(read.getImgIds()))] == images["id"].to_pylist()
    for i, row in enumerate(annotations.to_pylist(), 1):
        (found,) = read.loadAnns([i])
        assert read.loadImgs([found["image_id"]])[0][key] == row["image_id"]
        if row["x"] is not None:
            assert found["bbox"] == [row["x"], row["y"], row["w"], row["h"]]
        if row["category"] is not None:
            assert read.loadCats([found["category_id"]])[0]["name"] == row["category"]
        if row["segmentation"] is not None:
            assert int(read.annToMask(found).sum()) >= 0


FOREIGN: dict[str, Any] = {
    "info": {"description": "by others", "year": 2019, "nested": {"a": [1, 2.5, None]}},
    "licenses": [{"id": 4, "name": "CC BY", "url": "somewhere"}, {"id": 9, "name": "own"}],
    "videos": [{"id": 1, "name": "drive"}],
    "images": [
        {"id": 30, "file_name": "b/2.jpg", "width": 20, "height": 10, "license": 9, "source": "cam", "split": 3},
        {"id": 7, "file_name": "a/1.jpg", "width": 20, "height": 10, "license": 77, "date_captured": None, "coco_url": ""},
        {"id": 8, "file_name": None, "width": None, "height": "tall", "score": {"deep": ["x"]}},
    ],
    "annotations": [
        {"id": 500, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4.5], "area": 13.5, "iscrowd": 0, "instance_id": 5},
        {"id": 501, "image_id": 30, "category_id": 3, "bbox": [0, 0, 5, 5], "area": None, "iscrowd": 1, "status": "done",
         "segmentation": {"size": [10, 20], "counts": [0, 5, 195]}},
        {"id": 502, "image_id": 30, "category_id": 3, "segmentation": [], "score": 0.5, "curate_id": 8, "ignore": 1},
        {"id": 503, "image_id": 7, "category_id": 18, "bbox": None, "area": "big", "iscrowd": 2,
         "segmentation": [[1.5, 1, 9, 1, 9, 9]], "caption": "line\nbreak \u2028 \"quoted\""},
    ],
    "categories": [
        {"id": 18, "name": "dog", "supercategory": "animal", "keypoints": ["nose"]},
        {"id": 3, "name": "car", "color": [1, 2, 3]},
    ],
}  # fmt: skip


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    file = tmp_path / "foreign.json"
    file.write_text(json.dumps(FOREIGN))
    return file


def without_ours(row: dict[str, Any], ours: dict[str, str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ours.values()}


def test_a_foreign_file_returns_unchanged(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    coco.write(coco.read(foreign), out, keep_ids=True)
    back = json.loads(out.read_text())
    ours = back.pop("curate")["columns"]
    for table in ("images", "annotations", "categories"):
        expected = {row["id"]: row for row in FOREIGN[table]}
        for row in back.pop(table):
            found = without_ours(row, ours[table])
            wanted = expected.pop(row["id"])
            if table == "annotations":
                # Run lengths are written compressed, iscrowd always, and these are the same thing.
                if isinstance(wanted.get("segmentation"), dict):
                    wanted = {**wanted, "segmentation": {"size": [10, 20], "counts": found["segmentation"]["counts"]}}
                wanted = {"iscrowd": 0, **wanted}
            assert found == wanted, table
        assert not expected
    assert back == {key: FOREIGN[key] for key in ("info", "licenses", "videos")}


def test_nulls_are_kept(foreign: Path) -> None:
    images = {row["id"]: json.loads(row["attributes"]) for row in coco.read(foreign).table("images").to_pylist()}
    assert images["coco/a/1.jpg"] == {"coco": {"license": 77, "date_captured": None, "coco_url": ""}, "coco_id": 7}
    assert images["coco/b/2.jpg"] == {"coco": {"source": "cam", "split": 3}, "coco_id": 30}


def test_integers_are_given_in_the_order_of_our_ids(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert coco.write(coco.read(foreign), out) == {"images": 3, "annotations": 4, "categories": 2}
    back = json.loads(out.read_text())
    assert [(row["id"], row["curate_id"]) for row in back["images"]] == [
        (1, "coco/8"), (2, "coco/a/1.jpg"), (3, "coco/b/2.jpg"),
    ]  # fmt: skip
    assert [row["name"] for row in back["categories"]] == ["car", "dog"]
    assert [(row["id"], row["image_id"], row["category_id"]) for row in back["annotations"]] == [
        (1, 2, 2), (2, 2, 2), (3, 3, 1), (4, 3, 1),
    ]  # fmt: skip


def test_words_that_no_row_uses_any_more_are_no_categories(tmp_path: Path) -> None:
    rows = [Annotation(id=f"s/1#{i}", image_id="s/1", category=name) for i, name in enumerate(["car", "dog"])]
    both = from_records(
        Info(name="x"), [Image(id="s/1", source="s"), Category(name="car"), Category(name="dog"), *rows]
    )
    cars = both.replace(annotations=both.table("annotations")[:1], categories=both.table("categories")[:1])
    assert coco.write(cars, tmp_path / "cars.json") == {"images": 1, "annotations": 1, "categories": 1}
    undeclared = both.replace(categories=both.table("categories")[:1])
    with pytest.raises(SchemaError, match="table categories: has no row 'dog', which annotations use"):
        coco.write(undeclared, tmp_path / "both.json")
    assert [path.name for path in tmp_path.iterdir()] == ["cars.json"]


def test_ids_that_no_reader_takes_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text(json.dumps({"images": [{"id": 1 << 63, "file_name": "a.png"}]}))
    with pytest.raises(UsageError, match=r"image 'coco/a\.png' has no whole-number id of 64 bits of its own"):
        coco.write(coco.read(file), tmp_path / "out.json", keep_ids=True)
    assert coco.write(coco.read(file), tmp_path / "out.json")["images"] == 1


@pytest.mark.parametrize("headers", [[1], {"categories": [1]}, {"categories": {"car": [None]}}])
def test_headers_of_another_form_are_no_obstacle(tmp_path: Path, headers: Any) -> None:
    """They come from ``dataset.json``, or from a file that says it was written here."""
    held = from_records(
        Info(name="x", headers={"coco:a.json": headers}), [Image(id="s/1", source="s"), Category(name="car")]
    )
    coco.write(held, tmp_path / "out.json")
    assert coco.read(tmp_path / "out.json").table("categories").equals(held.table("categories"))


@pytest.mark.parametrize("ring", [[10.0, 10, 1e9, 10, 20, 1e9], [1.0, 1, 2, 2], []])
def test_polygons_with_holes_that_cannot_be_painted_are_written_as_found(tmp_path: Path, ring: list[float]) -> None:
    """pycocotools crashes on some; the file is written, and says nothing that it does not know."""
    hollow = [[ring, [1.0, 1, 2, 2, 3, 3]], []]
    row = Annotation(id="s/a#0", image_id="s/a", category="car", x=1, y=1, w=9, h=9, polygons=hollow)
    dataset = from_records(
        Info(name="d"), [Image(id="s/a", source="s", width=60, height=40), Category(name="car"), row]
    )
    coco.write(dataset, tmp_path / "a.json")
    (written,) = json.loads((tmp_path / "a.json").read_bytes())["annotations"]
    assert written["polygons"] == hollow
    assert not written.get("segmentation")
