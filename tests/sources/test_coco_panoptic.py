"""COCO panoptic: colours as numbers, things and stuff, what disagrees, and the way in through the door coco."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate import coco
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images, mask

Tree = Callable[..., Path]
Curate = Callable[..., Any]
FILE = "annotations/panoptic_val2017.json"

_spec = importlib.util.spec_from_file_location("tree_of_coco_panoptic", Path(__file__).parent / "coco_panoptic/tree.py")
assert _spec
assert _spec.loader
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)


def test_masks_are_where_the_colours_have_the_number(tree: Tree) -> None:
    dataset = import_source("coco_panoptic", tree("coco_panoptic"))
    rows = {row["attributes"]["coco_panoptic"]["segment"]: row for row in annotations(dataset, "139")}
    raster = small.numbers()
    for name, number in small.NUMBERS.items():
        assert np.array_equal(mask(rows[number]), raster == number), name
    assert box(rows[small.NUMBERS["person"]]) == [2, 3, 4, 7]
    assert [rows[n]["iscrowd"] for n in small.NUMBERS.values()] == [False, False, True]


def test_things_and_stuff(tree: Tree) -> None:
    dataset = import_source("coco_panoptic", tree("coco_panoptic"))
    assert {name: (row["role"], row["supercategory"]) for name, row in categories(dataset).items()} == {
        "person": ("benchmark", "person"),
        "sky-other-merged": ("other", "sky"),
    }


def test_what_disagrees_is_told(tree: Tree) -> None:
    dataset = import_source("coco_panoptic", tree("coco_panoptic"))
    second = "coco/-000000000285.jpg"
    assert findings(dataset, "B09") == [("B09", "coco/000000000139.jpg")]  # the crowd has 24 px, not 20
    assert findings(dataset, "M09") == [("M09", second)]  # segment 8 has no pixel
    assert {item for _, item in findings(dataset, "N05")} == {second, "coco/000000000632.jpg"}
    (crowd,) = [row for row in annotations(dataset, "139") if row["iscrowd"]]
    assert (crowd["area"], crowd["attributes"]["coco_panoptic"]["area"]) == (24, 20)
    empty = [row for row in annotations(dataset, "285") if row["segmentation"] is None]
    assert [box(row) for row in empty] == [[1, 1, 2, 2]]
    # An image without annotation is not labelled; the others are, to the last pixel.
    assert coverage(dataset) == {
        ("coco/000000000139.jpg", "*"): "exhaustive",
        (second, "*"): "exhaustive",
        ("coco/000000000632.jpg", "*"): "none",
    }


def test_the_door_coco_takes_it(tree: Tree, tmp_path: Path, curate: Curate) -> None:
    root = tree("coco_panoptic")
    own = import_source("coco_panoptic", root)
    through = import_source("coco", root / FILE)
    assert through.fingerprint() == own.fingerprint()
    assert images(through)["000000000139.jpg"]["file_name"] == "val2017/000000000139.jpg"
    named = import_source("coco", root / FILE, roots={"coco": str(root / "val2017")})
    assert named.fingerprint() == own.fingerprint()
    with pytest.raises(UsageError, match="lies outside"):
        import_source("coco", root / FILE, roots={"coco": str(tmp_path)})
    curate("import", "coco", root / FILE, "-o", "ds")
    assert "no errors" in curate("verify", "ds").stdout
    curate("export", "coco", "ds", "-o", "instances.json")
    back = {row["id"]: row for row in coco.read(tmp_path / "instances.json").table("annotations").to_pylist()}
    assert {key: row["segmentation"] for key, row in back.items()} == {
        row["id"]: row["segmentation"] for row in own.table("annotations").to_pylist()
    }


def test_it_joins_a_file_of_instances(tree: Tree, tmp_path: Path) -> None:
    root = tree("coco_panoptic")
    instances = {
        "images": [{"id": 139, "file_name": "000000000139.jpg", "width": 16, "height": 12}],
        "annotations": [{"id": 1, "image_id": 139, "category_id": 1, "bbox": [2, 3, 4, 7], "area": 28, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    union = import_source("coco_panoptic", root).merge(import_source("coco", tmp_path / "instances.json"))
    assert union.counts()["images"] == 3
    assert len(annotations(union, "139")) == 4


def test_one_file_of_several_and_pictures_elsewhere(tree: Tree) -> None:
    root = tree("coco_panoptic")
    sound = import_source("coco_panoptic", root)
    (root / "annotations/panoptic_val2017").rename(root / "numbers")
    (root / "val2017").rename(root / "pictures")
    (root / FILE).rename(root / "mine.json")
    options = {"json": "mine.json", "masks": "numbers", "images": "pictures"}
    dataset = import_source("coco_panoptic", root, options=options)
    assert dataset.table("annotations").equals(sound.table("annotations"))
    for name in options:
        with pytest.raises(UsageError, match="no such f"):
            import_source("coco_panoptic", root, options={**options, name: "nowhere"})


def test_without_pngs_the_boxes_stay(tree: Tree) -> None:
    root = tree("coco_panoptic")
    (root / "annotations/panoptic_val2017/000000000139.png").unlink()
    dataset = import_source("coco_panoptic", root)
    assert [row["segmentation"] for row in annotations(dataset, "139")] == [None, None, None]
    assert coverage(dataset)["coco/000000000139.jpg", "*"] == "partial"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda root: Image.new("L", small.SIZE).save(root / "annotations/panoptic_val2017/000000000139.png"),
            "mode L",
        ),
        (
            lambda root: Image.new("RGB", (16, 13)).save(root / "annotations/panoptic_val2017/000000000139.png"),
            "was made for 16 x 13 px",
        ),
        (
            lambda root: edit(root / FILE, lambda file: file["annotations"][0]["segments_info"][0].update(id=2**24)),
            "annotations[0].segments_info[0].id",
        ),
        (
            lambda root: edit(root / FILE, lambda file: file["annotations"][0].update(file_name="../x.png")),
            "annotations[0].file_name: is '../x.png'",
        ),
    ],
)
def test_a_broken_item_is_named_and_can_be_left_out(damage: Callable[[Path], Any], said: str, tree: Tree) -> None:
    root = tree("coco_panoptic")
    damage(root)
    with pytest.raises(SourceError) as raised:
        import_source("coco_panoptic", root)
    assert said in raised.value.also[0].line
    dataset = import_source("coco_panoptic", root, skip_bad=True)
    assert findings(dataset, "N03") == [("N03", "coco/000000000139.jpg")]


def test_an_undeclared_class_is_told(tree: Tree) -> None:
    root = tree("coco_panoptic")
    edit(root / FILE, lambda file: file["categories"].pop())
    assert {item for _, item in findings(import_source("coco_panoptic", root), "R10")} == {
        "coco/000000000139.jpg",
        "coco/-000000000285.jpg",
    }


def test_a_file_cut_short(tree: Tree) -> None:
    root = tree("coco_panoptic")
    text = (root / FILE).read_text()
    (root / FILE).write_text(text[: len(text) // 2])
    with pytest.raises(SourceError, match=r"panoptic_val2017.json: JSON is cut short"):
        import_source("coco_panoptic", root)
