"""SearchAD: the official devkit's image-level truth as oracle, ids of other sources, and every trap of its format."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.coverage import coverage_of
from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.merging import merge
from curate.model import RelevanceRule
from curate.relevance import gallery, relevance
from curate.sources import label_table, searchad
from curate.store import read, write

Tree = Callable[..., Path]
FIRST, SECOND, SEVENTH = (f"kitti/training/00000{i}" for i in (0, 1, 7))
AACHEN = "cityscapes/aachen_000000_000019"
TRAIN = "searchad_annotations_train.json"
VAL = "searchad_annotations_val.json"
TEST = "searchad_test_mapping_id_to_imagepath.json"
DOG = "default_queries/Animal-Real-Dog.json"


@pytest.fixture
def dataset(tree: Tree) -> Dataset:
    return import_source("searchad", tree("searchad"))


def rows(dataset: Dataset, table: str, **where: Any) -> list[dict[str, Any]]:
    return [row for row in dataset.table(table).to_pylist() if all(row[key] == value for key, value in where.items())]


def about(row: dict[str, Any]) -> Any:
    return json.loads(row["attributes"])["searchad"]


def is_negative(dataset: Dataset, image: str, category: str) -> bool:
    """Whether coverage makes an image without truth of a class a negative."""
    import numpy as np
    import pyarrow as pa

    coverage = coverage_of(dataset)
    place = dataset.table("images")["id"].to_pylist().index(image)
    return bool(coverage.at(np.array([place]), coverage.codes(pa.chunked_array([[category]])))[0])


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# The devkit's own results


@pytest.fixture(scope="module")
def golden(shared: Path) -> Path:
    return shared / "golden/searchad/case_basic"


@pytest.mark.parametrize(
    ("file", "label", "classes"), [("annotations", "positive", 90), ("ignore_images", "ignore", 64)]
)
def test_relevance_is_that_of_the_devkit(golden: Path, file: str, label: str, classes: int) -> None:
    dataset = import_source("searchad", golden / "input")
    images = {row["id"]: row for row in rows(dataset, "images")}
    pairs = [row for row in relevance(dataset).to_pylist() if images[row["image_id"]]["split"] == "val"]
    found: dict[str, list[str]] = {}
    for row in sorted(pairs, key=lambda row: about(images[row["image_id"]])["place"]):
        if row["label"] == label:
            found.setdefault(row["query_id"].removeprefix("searchad/"), []).append(
                about(images[row["image_id"]])["path"]
            )
    expected = golden / f"expected/searchad_val_image_level_{file}_min_box_50.json"
    assert found == json.loads(expected.read_text())
    assert len(found) == classes


def test_golden_counts(golden: Path) -> None:
    dataset = import_source("searchad", golden / "input")
    assert Counter(row["split"] for row in rows(dataset, "images")) == {"train": 12, "val": 60, "test": 18}
    assert len(rows(dataset, "queries", kind="box")) == 90
    texts = [row for row in rows(dataset, "support") if row["text"]]
    assert len(texts) == 90
    assert {row["source"] for row in rows(dataset, "images")} == {
        *("acdc", "bdd100k", "cityscapes", "ecp", "kitti", "lost_and_found", "mtsd", "nuscenes", "wilddash2")
    }
    assert not dataset.problems


def test_boxes_per_label_are_those_of_the_devkit(golden: Path) -> None:
    dataset = import_source("searchad", golden / "input")
    found = Counter(row["category"] for row in rows(dataset, "annotations"))
    text = (golden / "expected/label_statistics_object_absolute_train_val.txt").read_text()
    for label in (row["label"] for row in label_table("searchad") if row["role"] == "benchmark"):
        (line,) = re.findall(rf"^.*{re.escape(label)}(?![\w-]).*$", text, re.MULTILINE)
        assert str(found[label]) in re.findall(r"\d+", line), line


# Ids, sources, splits


def test_images_have_the_ids_of_their_sources(dataset: Dataset) -> None:
    found = {row["id"]: (row["source"], row["split"]) for row in rows(dataset, "images")}
    others = {key: found.pop(key) for key in [*found] if key.split("/")[0] in ("acdc", "bdd100k", "ecp", "wilddash2")}
    assert found == {
        FIRST: ("kitti", "train"),
        SECOND: ("kitti", "train"),
        "kitti/training/000005": ("kitti", "train"),
        SEVENTH: ("kitti", None),
        "kitti/testing/000000": ("kitti", "test"),
        AACHEN: ("cityscapes", "train"),
        "searchad/toronto/images/000001.png": ("searchad", "train"),
        "mtsd/-ZmK9qebhjpmKhDTGPj6gG": ("mtsd", "val"),
    }
    # Of these the key is their own modules' business.
    assert sorted(others.values()) == [("acdc", "val"), ("bdd100k", "val"), ("ecp", "test"), ("wilddash2", "test")]


def test_the_split_is_searchads_and_that_of_the_source_is_unknown(dataset: Dataset) -> None:
    assert {row["source_split"] for row in rows(dataset, "images")} == {None}
    (frame,) = rows(dataset, "images", source="bdd100k")
    assert frame["split"] == "val"
    assert "/train/" in frame["file_name"]


def test_files_and_roots_are_those_of_the_sources(tree: Tree) -> None:
    root = tree("searchad")
    dataset = import_source("searchad", root)
    for row in rows(dataset, "images"):
        assert Path(dataset.info.roots[row["source"]], row["file_name"]) == root / about(row)["path"]
    assert dataset.info.roots["kitti"] == str(root / "kitti")
    assert dataset.info.roots["wilddash2"] == str(root)  # whose images are spread over two folders
    assert dataset.info.sources["kitti"].licence == "CC BY-NC-SA 3.0"
    assert dataset.info.sources["kitti"].found is None


def test_a_path_of_no_source_keeps_an_id_of_its_own_and_is_reported(dataset: Dataset) -> None:
    (image,) = rows(dataset, "images", source="searchad")
    assert image["file_name"] == "toronto/images/000001.png"
    (problem,) = [p for p in dataset.problems if p.item == image["id"]]
    assert (problem.code, problem.where) == ("N05", image["file_name"])
    assert dataset.info.roots["searchad"].endswith("raw_searchad")


def test_a_source_that_cannot_map_is_reported_once(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.sources import kitti

    monkeypatch.delattr(kitti, "key_from_searchad")
    dataset = import_source("searchad", tree("searchad"))
    assert "searchad/kitti/training/image_2/000001.png" in dataset.table("images")["id"].to_pylist()
    (problem,) = [p for p in dataset.problems if p.where == "kitti"]
    assert "cannot tell its images by SearchAD's paths" in problem.message


def test_places_and_test_ids_are_kept(dataset: Dataset) -> None:
    found = {row["id"]: about(row) for row in rows(dataset, "images")}
    assert found[SECOND] == {"path": "kitti/training/image_2/000001.png", "place": 0}
    assert found[FIRST]["place"] == 1
    assert found["kitti/testing/000000"] == {"path": "kitti/testing/image_2/000000.png", "test_id": 0}
    assert sorted(value["test_id"] for value in found.values() if "test_id" in value) == [0, 1, 10]


# Boxes


def test_a_box_is_the_difference_of_its_corners_and_the_numbers_are_kept(dataset: Dataset) -> None:
    first, second = rows(dataset, "annotations", image_id=SECOND)
    assert [first[key] for key in ("id", "category", "source_label", "x", "y", "w", "h", "area")] == [
        *(f"{SECOND}#searchad:0000", "Vehicle-Duty-Police", "Vehicle-Duty-Police", 10, 5, 20, 20, 400)
    ]
    assert about(first) == {"bbox": [10, 5, 30, 25]}
    assert [type(value) for value in about(first)["bbox"]] == [int] * 4
    assert [second[key] for key in ("x", "y", "w", "h")] == [40.25, 10.5, 7, 7]
    assert about(second) == {"bbox": [40.25, 10.5, 47.25, 17.5]}


def test_what_else_an_entry_says_is_kept(tree: Tree) -> None:
    root = tree("searchad")
    edit(root / VAL, lambda content: next(iter(content.values()))[0].update(score=None, seen=[1]))
    dataset = import_source("searchad", root)
    (row, *_) = [row for row in rows(dataset, "annotations") if row["image_id"].startswith("bdd100k/")]
    assert about(row) == {"bbox": [100, 100, 107, 107], "score": None, "seen": [1]}


def test_classes_and_their_roles(dataset: Dataset) -> None:
    found = rows(dataset, "categories")
    assert Counter(row["role"] for row in found) == {"benchmark": 90, "other": 5}
    assert {row["name"] for row in found if row["role"] == "other"} == {
        *("Animal-Real-Other", "Animal-Statue-Other", "Human-Duty-Other", "Object-Movable-Other"),
        "Vehicle-Construction-Other",
    }
    assert len({row["supercategory"] for row in found}) == 9
    assert all(row["name"].split("-")[0] == row["supercategory"] for row in found)


# Coverage and relevance


def test_only_listed_images_of_train_and_val_can_be_negatives(dataset: Dataset) -> None:
    assert is_negative(dataset, "mtsd/-ZmK9qebhjpmKhDTGPj6gG", "Animal-Real-Cat")
    assert is_negative(dataset, FIRST, "Vehicle-Duty-Police")
    assert not is_negative(dataset, FIRST, "Animal-Real-Other")  # not stated for the five
    assert not is_negative(dataset, FIRST, "Car")
    assert not is_negative(dataset, "kitti/testing/000000", "Animal-Real-Cat")  # withheld
    assert not is_negative(dataset, SEVENTH, "Animal-Real-Cat")  # listed nowhere
    states = Counter((row["scope"], row["state"]) for row in rows(dataset, "coverage") if "/0" not in row["scope"])
    assert states["searchad/train", "exhaustive"] == 90
    assert states["searchad/val", "exhaustive"] == 90
    assert states["searchad/test", "withheld"] == 90
    assert states["searchad/unlisted", "none"] == 90


def test_the_rule_of_relevance(dataset: Dataset) -> None:
    assert dataset.info.relevance == RelevanceRule(target="category", min_area=50, empty_query="zero")


def test_the_gallery_is_val_and_test(dataset: Dataset) -> None:
    splits = {row["id"]: row["split"] for row in rows(dataset, "images")}
    assert sorted(gallery(dataset).to_pylist()) == sorted(
        key for key, split in splits.items() if split in ("val", "test")
    )


def test_49_pixels_are_ignored_and_50_count(dataset: Dataset, tree: Tree) -> None:
    (row,) = relevance(dataset, ["searchad/Animal-Real-Dog"]).to_pylist()
    assert row["label"] == "positive"  # 7 x 7 and 10 x 5
    root = tree("searchad", "raw_smaller")
    edit(root / VAL, lambda content: next(iter(content.values())).pop(1))
    (row,) = relevance(import_source("searchad", root), ["searchad/Animal-Real-Dog"]).to_pylist()
    assert row["label"] == "ignore"


# Default queries


def test_queries_and_their_support(dataset: Dataset) -> None:
    assert {row["id"]: (row["kind"], row["category"], row["image_id"]) for row in rows(dataset, "queries")} == {
        "searchad/Animal-Real-Dog": ("box", "Animal-Real-Dog", None),
        "searchad/Scene-Fog": ("text", "Scene-Fog", None),
        "searchad/Vehicle-Duty-Police": ("box", "Vehicle-Duty-Police", None),
    }
    columns = ("rank", "image_id", "x", "y", "w", "h", "text")

    def support(label: str) -> list[tuple[Any, ...]]:
        return [tuple(row[c] for c in columns) for row in rows(dataset, "support", query_id=f"searchad/{label}")]

    assert support("Animal-Real-Dog") == [
        (0, None, None, None, None, None, "real dog"),
        (1, SECOND, 40, 10, 7.5, 7, None),
    ]
    assert support("Vehicle-Duty-Police") == [
        (0, SECOND, 10, 5, 20, 20, None),
        (1, SECOND, 60, 5, 10, 20, None),
        (2, SEVENTH, 1, 2, 2, 2, None),
    ]
    assert support("Scene-Fog") == [(0, None, None, None, None, None, "fog")]
    (unread,) = [p for p in dataset.problems if p.code == "N02"]
    assert "support set 'sound'" in unread.message


def test_images_of_examples_come_with_every_split(tree: Tree) -> None:
    dataset = import_source("searchad", tree("searchad"), splits=["val"])
    found = {row["id"]: row["split"] for row in rows(dataset, "images")}
    assert {key for key, split in found.items() if split != "val"} == {SECOND, SEVENTH}
    assert found[SECOND] == "train"
    assert {row["image_id"] for row in rows(dataset, "members", role="support")} == {SECOND, SEVENTH}
    assert is_negative(dataset, SECOND, "Animal-Real-Cat")


def test_a_query_for_an_unknown_label_is_kept(tree: Tree) -> None:
    root = tree("searchad")
    (root / DOG).rename(root / "default_queries/-Unicorn.json")
    dataset = import_source("searchad", root)
    assert [row["category"] for row in rows(dataset, "queries", id="searchad/-Unicorn")] == ["-Unicorn"]
    assert "-Unicorn" in dataset.table("categories")["name"].to_pylist()
    assert [p.where for p in dataset.problems if p.code == "N01"] == ["default_queries/-Unicorn.json"]


# Joining


@pytest.mark.parametrize("searchad_first", [True, False])
def test_a_merge_joins_images_with_those_of_their_sources(tree: Tree, searchad_first: bool, tmp_path: Path) -> None:
    parts = [import_source(name, tree(name)) for name in ("searchad", "kitti", "cityscapes")]
    own = {part.info.name: part for part in parts}
    union = merge(parts if searchad_first else parts[::-1])
    images = {row["id"]: row for row in rows(union, "images")}
    assert (images[SECOND]["split"], images[SECOND]["source_split"]) == ("train", "training")
    assert (images[AACHEN]["split"], images[AACHEN]["source_split"]) == ("train", "train")
    (alone,) = rows(own["searchad"], "images", id=AACHEN)
    assert (alone["width"], alone["height"], alone["place"]) == (None, None, None)
    (whole,) = rows(own["cityscapes"], "images", id=AACHEN)
    for column in ("width", "height", "place", "sequence", "licence"):
        assert images[AACHEN][column] == whole[column] is not None
    labels = {row["source_label"] for row in rows(union, "annotations", image_id=SECOND)}
    assert labels >= {"Truck", "Car", "Vehicle-Duty-Police", "Animal-Real-Dog"}
    # Both say what they cover, and neither speaks for the other.
    assert is_negative(union, FIRST, "Animal-Real-Cat")
    assert is_negative(union, FIRST, "Car")
    assert not is_negative(union, "kitti/testing/000000", "Car")
    assert not is_negative(union, "kitti/training/000002", "Animal-Real-Cat")  # not SearchAD's
    assert union.info.relevance == own["searchad"].info.relevance
    assert union.info.sources["kitti"].found == own["kitti"].info.sources["kitti"].found

    from curate.verify import verify

    write(union, tmp_path / "union")
    report = verify(tmp_path / "union")
    assert not [f for f in report.findings if f.code in ("R02", "R03", "R10") and "sound" not in f.message]
    assert read(tmp_path / "union").fingerprint() == union.fingerprint()


def test_a_merge_with_a_picture_of_another_size_is_refused(tree: Tree) -> None:
    from PIL import Image

    from curate.errors import SchemaError

    root = tree("searchad")
    Image.new("RGB", (60, 20)).save(root / "kitti/training/image_2/000000.png")
    with pytest.raises(SchemaError, match="60 in searchad, 122 in kitti"):
        merge([import_source("searchad", root), import_source("kitti", tree("kitti"))])


# What is not there, and what is broken


def test_absent_folders_are_said_once_and_absent_pictures_one_by_one(dataset: Dataset) -> None:
    absent = {p.where: p.message for p in dataset.problems if p.message.startswith("no such folder")}
    assert set(absent) == {
        *("ECP", "acdc", "bdd100k_images_100k", "cityscapes", "mapillary_sign", "wd_both02"),
    }
    assert "its 1 images are known by id only" in absent["cityscapes"]
    (missing,) = [p for p in dataset.problems if p.code == "I01"]
    assert (missing.where, missing.item) == ("kitti/training/image_2/000005.png", "kitti/training/000005")


def first_entry(**changes: Any) -> Callable[[Any], object]:
    return lambda content: next(iter(content.values()))[0].update(changes)


def without(key: str) -> Callable[[Any], object]:
    return lambda content: next(iter(content.values()))[0].pop(key)


BROKEN_ENTRIES = [
    (first_entry(bbox=[20, 20, 10, 10]), r"\[0\]\.bbox: \[20, 20, 10, 10\] has flipped corners"),
    (first_entry(bbox=[10, 20, 20, 10]), r"\[0\]\.bbox: .* has flipped corners"),
    (first_entry(bbox=[1, 2, 3]), r"\[0\]\.bbox: expected `array` of length 4"),
    (first_entry(bbox={"min_x": 1}), r"\[0\]\.bbox: expected `array`"),
    (first_entry(bbox=[1, 2, "3", 4]), r"\[0\]\.bbox\[2\]: expected `float`"),
    (first_entry(label=None), r"\[0\]\.label: expected `str`"),
    (without("label"), r"\[0\]: object missing required field `label`"),
    (without("bbox"), r"\[0\]: object missing required field `bbox`"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN_ENTRIES)
def test_a_broken_entry_is_named_with_its_image_and_can_be_left_out(
    change: Callable[[Any], object], said: str, tree: Tree
) -> None:
    root = tree("searchad")
    edit(root / TRAIN, change)
    with pytest.raises(SourceError, match=rf"{TRAIN}, kitti/training/image_2/000001\.png{said}"):
        import_source("searchad", root)
    dataset = import_source("searchad", root, skip_bad=True)
    assert SECOND not in dataset.table("images")["id"].to_pylist()
    assert [p.item for p in dataset.problems if p.code == "N03"] == [SECOND]


@pytest.mark.parametrize(
    "path", ["/etc/x.png", "kitti/../../x.png", "./kitti/training/image_2/000000.png", "kitti\\training\\0.png", "a\nb"]
)
def test_a_path_that_leads_elsewhere_is_refused(path: str, tree: Tree) -> None:
    root = tree("searchad")
    edit(root / VAL, lambda content: content.update({path: []}))
    with pytest.raises(SourceError, match="is no path below SearchAD's folder"):
        import_source("searchad", root)
    assert import_source("searchad", root, skip_bad=True).table("images").num_rows == 12


def test_an_image_of_two_splits_is_refused(tree: Tree) -> None:
    root = tree("searchad")
    edit(root / VAL, lambda content: content.update({"kitti/training/image_2/000000.png": []}))
    with pytest.raises(SourceError, match=rf"{TRAIN}, kitti/.*000000\.png: stands in {VAL} too"):
        import_source("searchad", root)
    dataset = import_source("searchad", root, skip_bad=True)
    assert FIRST not in dataset.table("images")["id"].to_pylist()


def test_two_paths_of_one_image_are_refused(tree: Tree) -> None:
    root = tree("searchad")
    edit(root / VAL, lambda content: content.update({"kitti/training/image_02/000000.png": []}))
    with pytest.raises(SourceError, match=r"image_02/000000\.png: is the same image as kitti/training/image_2/000000"):
        import_source("searchad", root)


def test_an_image_that_stands_twice_in_a_file_is_refused(tree: Tree) -> None:
    root = tree("searchad")
    text = (root / VAL).read_text()
    (root / VAL).write_text(
        text.rstrip().removesuffix("}") + ', "mapillary_sign/images/-ZmK9qebhjpmKhDTGPj6gG.jpg": []}'
    )
    with pytest.raises(SourceError, match=rf"{VAL}: mapillary_sign/.* stands twice"):
        import_source("searchad", root)
    edit(root / VAL, lambda content: None)  # what a JSON reader makes of it: one
    (root / TEST).write_text('{"0": "kitti/testing/image_2/000000.png", "1": "kitti/testing/image_2/000000.png"}')
    with pytest.raises(SourceError, match="ids 0 and 1 are of one image"):
        import_source("searchad", root)


def test_a_test_id_that_is_no_number_is_refused(tree: Tree) -> None:
    root = tree("searchad")
    (root / TEST).write_text('{"-1": "kitti/testing/image_2/000000.png"}')
    with pytest.raises(SourceError, match=r"'-1' is no id; expected decimal numbers"):
        import_source("searchad", root)


def test_an_unknown_label_is_kept_and_listed(tree: Tree) -> None:
    root = tree("searchad")
    edit(root / TRAIN, first_entry(label="Animal-Real-Unicorn"))
    dataset = import_source("searchad", root)
    assert rows(dataset, "categories", name="Animal-Real-Unicorn")[0]["role"] == "other"
    assert [p.code for p in dataset.problems if "Unicorn" in p.where] == ["N01"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "expected `object`"),
        ("", "file is empty"),
        ('{"supportsets": {"vision": {"a/b.png": [{"bbox": [1, 2, 3, 4]}]}}}', r"vision.*bbox: expected `object`"),
        (
            '{"supportsets": {"vision": {"a/b.png": [{"bbox": {"min_x": 5, "min_y": 1, "max_x": 4, "max_y": 2}}]}}}',
            r"a/b\.png: box \[5\.0, 1\.0, 4\.0, 2\.0\] has flipped corners",
        ),
        ("{}", "missing required field `supportsets`"),
    ],
)
def test_a_broken_query_is_named(content: str, said: str, tree: Tree) -> None:
    root = tree("searchad")
    (root / DOG).write_text(content)
    with pytest.raises(SourceError, match=rf"Animal-Real-Dog\.json.*{said}"):
        import_source("searchad", root)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty"),
        (b"[]", "expected `object`"),
        (b'{"kitti/a.png": [', "JSON is cut short"),
        (b'{"kitti/a.png": []] ', r":1:19: JSON is malformed"),
        (b'{"kitti/a.png": [{"label": "Object-Ball", "bbox": [NaN, 1, 2, 3]}]}', "JSON is malformed at 'NaN"),
        (b'{"kitti/\xff.png": []}', "not UTF-8"),
        (b"\xff\xd8\xff\xe0", "JSON is malformed|not UTF-8"),
    ],
)
def test_a_broken_file_of_annotations_is_named(content: bytes, said: str, tree: Tree) -> None:
    root = tree("searchad")
    (root / VAL).write_bytes(content)
    for skip_bad in (False, True):  # what is listed in it is not known
        with pytest.raises(SourceError, match=rf"{VAL}.*({said})"):
            import_source("searchad", root, skip_bad=skip_bad)


def test_boxes_without_area_or_outside_are_kept_and_reported(tree: Tree) -> None:
    root = tree("searchad")
    edit(root / TRAIN, first_entry(bbox=[130, 5, 130, 25]))  # the frame is 124 px wide
    dataset = import_source("searchad", root)
    (row, _) = rows(dataset, "annotations", image_id=SECOND)
    assert [row[key] for key in ("x", "y", "w", "h")] == [130, 5, 0, 20]
    assert {p.code for p in dataset.problems if p.item == row["id"]} == {"B03", "B05"}


def test_checksums_are_of_the_pictures_in_their_folders(tree: Tree) -> None:
    import hashlib

    root = tree("searchad")
    found = {row["id"]: row["sha256"] for row in rows(import_source("searchad", root, checksums=True), "images")}
    picture = (root / "kitti/training/image_2/000001.png").read_bytes()
    assert found[SECOND] == hashlib.sha256(picture).hexdigest()
    assert found[AACHEN] is None


def test_a_split_that_is_not_there(tree: Tree) -> None:
    root = tree("searchad")
    (root / VAL).unlink()
    assert import_source("searchad", root).table("images").num_rows == 9
    with pytest.raises(SourceError, match=rf"holds no {VAL}; expected it for split 'val'; it holds train, test"):
        import_source("searchad", root, splits=["val"])


def test_where_the_files_lie_deeper_or_are_not_unpacked(tree: Tree, tmp_path: Path) -> None:
    root = tree("searchad", "searchad")
    with pytest.raises(SourceError, match=rf"name {re.escape(str(root))} instead"):
        import_source("searchad", tmp_path)
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "searchad.zip").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"holds searchad\.zip; .*; unpack the archive there first"):
        import_source("searchad", packed)


def test_links_that_leave_the_root_are_not_followed(tree: Tree, tmp_path: Path) -> None:
    root = tree("searchad")
    picture = root / "kitti/training/image_2/000000.png"
    picture.rename(tmp_path / "outside.png")
    picture.symlink_to(tmp_path / "outside.png")
    with pytest.raises(SourceError, match=r"000000\.png: is a link that leaves"):
        import_source("searchad", root)
    assert FIRST not in import_source("searchad", root, skip_bad=True).table("images")["id"].to_pylist()
    (root / "kitti").rename(tmp_path / "kitti")
    (root / "kitti").symlink_to(tmp_path / "kitti")
    with pytest.raises(SourceError, match="is a link that leaves"):
        import_source("searchad", root)


def test_every_folder_belongs_to_a_source() -> None:
    assert len(searchad.FOLDERS) == 12
    assert len(set(searchad.FOLDERS.values())) == 11
