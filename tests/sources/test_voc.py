"""Pascal VOC: pixels from 1 with both edges, parts, difficult objects, masks by order, lists, and anybody's files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.errors import SourceError, UsageError
from curate.importing import import_source
from tests.sources.looking import annotations, box, categories, coverage, findings, images, mask

Tree = Callable[..., Path]
Curate = Callable[..., Any]


def test_boxes_count_from_one_and_include_both_edges(tree: Tree) -> None:
    root = tree("voc")
    dataset = import_source("voc", root)
    (whole,) = annotations(dataset, "2007_000032")
    assert box(whole) == [0, 0, 30, 20]  # 1 1 30 20 is all of it
    (pixel,) = annotations(dataset, "2008_000001")
    assert (box(pixel), pixel["area"]) == ([4, 4, 1, 1], 1)
    other = import_source("voc", root, options={"boxes": "zero-based"})
    assert box(annotations(other, "2007_000032")[0]) == [1, 1, 29, 19]
    with pytest.raises(UsageError, match="expected voc or zero-based"):
        import_source("voc", root, options={"boxes": "one-based"})


def test_parts_have_their_object_as_parent(tree: Tree) -> None:
    rows = annotations(import_source("voc", tree("voc")), "2007_000027")
    assert [(row["id"].partition("#")[2], row["category"], row["parent_id"]) for row in rows] == [
        ("0000", "person", None),
        ("0000-0", "head", "voc/2007_000027#0000"),
        ("0000-1", "hand", "voc/2007_000027#0000"),
        ("0001", "dog", None),
    ]
    assert box(rows[2]) == [9.5, 8, 2.75, 3]


def test_what_else_a_file_says_is_kept(tree: Tree) -> None:
    rows = annotations(import_source("voc", tree("voc")), "2007_000027")
    assert rows[0]["attributes"] == {"voc": {"pose": "Frontal", "truncated": "1", "occluded": "0", "difficult": "0"}}
    assert [row["ignore"] for row in rows] == [False, False, False, True]  # the dog is difficult


def test_masks_are_numbered_as_the_objects(tree: Tree) -> None:
    person, head, _, dog = annotations(import_source("voc", tree("voc")), "2007_000027")
    expected = np.zeros((20, 30), bool)
    expected[2:18, 1:12] = True
    expected[5:7, 3:5] = False
    assert np.array_equal(mask(person), expected)
    assert person["area"] == expected.sum() == 172
    assert mask(dog).sum() == 11 * 17
    assert head["segmentation"] is None


def test_a_mask_of_no_object_is_told(tree: Tree) -> None:
    root = tree("voc")
    path = root / "Annotations/2007_000027.xml"
    path.write_text(
        path.read_text().replace("<name>dog", "<name>dog", 1).split("<object><name>dog")[0] + "</annotation>"
    )
    dataset = import_source("voc", root)
    assert findings(dataset, "N02") == [("N02", "voc/2007_000027")]


def test_labels_are_whatever_the_files_name(tree: Tree) -> None:
    dataset = import_source("voc", tree("voc"))
    assert {name: row["role"] for name, row in categories(dataset).items()} == dict.fromkeys(
        ["aeroplane", "dog", "hand", "head", "my own label", "person"], "benchmark"
    )
    assert findings(dataset, "N01") == []


def test_splits_come_from_the_lists(tree: Tree) -> None:
    root = tree("voc")
    dataset = import_source("voc", root)
    assert {key: row["source_split"] for key, row in images(dataset).items()} == {
        "2007_000027": "train",  # and in val too
        "2007_000032": "val",
        "2008_000001": None,
        "-2008_000002": None,
    }
    assert coverage(dataset) == dict.fromkeys(
        [("voc/train", "*"), ("voc/val", "*"), ("voc/2008_000001", "*"), ("voc/-2008_000002", "*")], "partial"
    )
    stated = import_source("voc", root, options={"coverage": "exhaustive"})
    assert set(coverage(stated).values()) == {"exhaustive"}
    with pytest.raises(SourceError, match="holds no split 'test'; expected its list; it holds train, val"):
        import_source("voc", root, splits=("test",))


def test_a_name_without_file_is_told(tree: Tree) -> None:
    root = tree("voc")
    with (root / "ImageSets/Main/val.txt").open("a") as stream:
        stream.write("2011_009999\n")
    dataset = import_source("voc", root)
    assert [found.where for found in dataset.problems if found.code == "R02"] == ["ImageSets/Main/val.txt"]


def test_years_side_by_side_and_flat_folders(tree: Tree, tmp_path: Path) -> None:
    root = tree("voc")
    plain = import_source("voc", root)
    kit = tmp_path / "kit/VOCdevkit"
    shutil.copytree(root, kit / "VOC2012")
    assert import_source("voc", tmp_path / "kit").fingerprint() == plain.fingerprint()
    assert import_source("voc", kit).fingerprint() == plain.fingerprint()
    shutil.copytree(root, kit / "VOC2007")
    both = import_source("voc", kit)
    assert len(images(both)) == 8
    assert images(both)["VOC2007/2007_000032"]["file_name"] == "VOC2007/JPEGImages/2007_000032.jpg"
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in [*(root / "Annotations").glob("2*.xml"), *(root / "JPEGImages").glob("2*.jpg")]:
        shutil.copy(file, flat)
    dataset = import_source("voc", flat)
    assert {key: row["file_name"] for key, row in images(dataset).items()} == {
        name: f"{name}.jpg" for name in ("2007_000027", "2007_000032", "2008_000001")
    }


def test_a_picture_that_is_absent(tree: Tree) -> None:
    root = tree("voc")
    (root / "JPEGImages/2007_000032.jpg").unlink()
    (root / "JPEGImages/2008_000001.jpg").unlink()
    dataset = import_source("voc", root)
    assert findings(dataset, "I01") == [("I01", "voc/2007_000032"), ("I01", "voc/2008_000001")]
    found = images(dataset)
    assert (found["2007_000032"]["width"], found["2007_000032"]["height"]) == (30, 20)
    assert found["2008_000001"]["width"] is None


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation><folder>&b;</folder></annotation>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, ": holds a document type definition"),
        ("", ": file is empty"),
        ("<annotation><object>", ":1:21: XML is malformed"),
        ("<kitti/>", ": is XML with the root 'kitti'"),
        ("<annotation><object><name>x</name></object></annotation>", ", object 0: has no box"),
        (
            "<annotation><size><width>31</width><height>20</height></size></annotation>",
            ": was made for 31 x 20 px; its image has 30 x 20",
        ),
    ],
)
def test_a_broken_file_is_named_and_can_be_left_out(text: str, said: str, tree: Tree) -> None:
    root = tree("voc")
    path = root / "Annotations/2007_000032.xml"
    path.write_text(text)
    with pytest.raises(SourceError) as raised:
        import_source("voc", root)
    (error,) = raised.value.also
    assert error.line.startswith(f"{path}{said}")
    dataset = import_source("voc", root, skip_bad=True)
    assert "2007_000032" not in images(dataset)
    assert findings(dataset, "N03") == [("N03", "voc/2007_000032")]


def test_a_mask_of_another_size_is_broken(tree: Tree) -> None:
    root = tree("voc")
    Image.new("P", (29, 20)).save(root / "SegmentationObject/2007_000027.png")
    with pytest.raises(SourceError) as raised:
        import_source("voc", root)
    assert "was made for 29 x 20 px" in raised.value.also[0].line


def test_the_command(tree: Tree, curate: Curate) -> None:
    root = tree("voc")
    curate("import", "voc", root, "-O", "coverage=exhaustive", "-o", "ds")
    assert "no errors" in curate("verify", "ds").stdout
    said = curate("sources", "voc").stdout
    assert "  boxes (default voc): voc, where pixels count from 1" in said
    assert "  coverage (default partial): partial, or exhaustive where all objects were labelled" in said
