"""PerMIR: the selection from BURST rule by rule, the roles of frames, and the folders of PDM's program."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import relevance
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources._permir_selection import select, share
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images, mask

Tree = Callable[..., Path]
Curate = Callable[..., Any]
TRAIN, VAL = "annotations/train/all_classes.json", "annotations/val/all_classes.json"

_spec = importlib.util.spec_from_file_location("tree_of_permir", Path(__file__).parent / "permir/tree.py")
assert _spec
assert _spec.loader
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)


def rows(dataset: Dataset, name: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in dataset.table(name).to_pylist()}


def roles(dataset: Dataset) -> set[tuple[str, str]]:
    return {(row["image_id"].removeprefix("permir/"), row["role"]) for row in dataset.table("members").to_pylist()}


def selected(folder: Path, *videos: dict[str, Any]) -> Any:
    """The selection of a file with these videos."""
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps({"split": "val", "categories": small.CATEGORIES, "sequences": videos}))
    return select(path)


def frames_of(selection: Any) -> list[str]:
    (choice,) = selection.choices
    return [frame.path for frame in choice.frames]


# The selection


def test_the_largest_frame_and_two_that_are_far_from_it(tmp_path: Path) -> None:
    """Largest is frame 3; 10 comes next but is 7 away; 35 and 20 are taken, though 15 from each other."""
    selection = selected(tmp_path, small.video("herd", "YFCC100M", {"7": 1, "8": 1, "3": 2}, small.herd()))
    assert frames_of(selection) == ["frame0003.jpg", "frame0035.jpg", "frame0020.jpg"]
    assert selection.choices[0].track == "7"  # as often counted as 8, and first


def test_more_than_fifteen_frames_apart(tmp_path: Path) -> None:
    def video(second: int) -> dict[str, Any]:
        frames = [{"1": small.segment((0, 0, 2, 2)), "2": small.segment((9, 9, 2, 2))} for _ in range(second + 2)]
        frames[0]["1"] = small.segment((0, 0, 9, 9))
        return small.video("v", "YFCC100M", {"1": 1, "2": 1}, frames)

    assert frames_of(selected(tmp_path, video(16))) == ["frame0000.jpg", "frame0016.jpg", "frame0017.jpg"]
    few = selected(tmp_path, video(15))  # frames 15 and 16: only one is far enough
    assert few.choices == []
    assert "2 frames that are far enough apart" in few.dropped["YFCC100M/v"]


def test_dropped_datasets_take_no_number(tmp_path: Path) -> None:
    def video(name: str, dataset: str) -> dict[str, Any]:
        return small.video(name, dataset, {"7": 1, "8": 1}, small.herd())

    order = [("a", "HACS"), ("b", "YFCC100M"), ("c", "AVA"), ("d", "LaSOT"), ("e", "BDD")]
    selection = selected(tmp_path, *(video(*names) for names in order))
    assert [(choice.name, choice.number) for choice in selection.choices] == [("b", 0), ("e", 1)]
    assert set(selection.dropped) == {"HACS/a", "AVA/c", "LaSOT/d"}


def test_a_track_counts_only_where_its_class_is_there_twice(tmp_path: Path) -> None:
    frames = [{"2": small.segment((0, 0, 4, 4)), "1": small.segment((9, 9, 3, 3))} for _ in range(40)]
    for frame in frames[:5]:
        del frame["1"]  # here 2 is alone: it has 40 frames, but 35 count
    frames[0]["2"] = small.segment((0, 0, 30, 15))  # the largest, which does not count
    frames[5]["2"] = small.segment((0, 0, 6, 6))
    selection = selected(tmp_path, small.video("v", "YFCC100M", {"1": 1, "2": 1}, frames))
    assert selection.choices[0].track == "2"
    assert frames_of(selection) == ["frame0005.jpg", "frame0021.jpg", "frame0022.jpg"]
    alone = [{"1": small.segment((0, 0, 4, 4)), "2": small.segment((9, 9, 3, 3))}] * 40
    selection = selected(tmp_path, small.video("v", "YFCC100M", {"1": 1, "2": 2}, alone))
    assert selection.dropped == {"YFCC100M/v": "no frame shows two objects of one class"}


def test_size_is_that_of_the_box_not_of_the_mask(tmp_path: Path) -> None:
    frames = [{"1": small.segment((0, 0, 5, 5)), "2": small.segment((30, 9, 1, 1))} for _ in range(40)]
    corners = small.block(0, 0, 1, 1) | small.block(9, 9, 1, 1)  # 2 pixels in a box of 10 x 10
    counts = small.coco_mask.encode(np.asfortranarray(corners))["counts"].decode()
    frames[30]["1"] = {**frames[30]["1"], "rle": counts}
    selection = selected(tmp_path, small.video("v", "YFCC100M", {"1": 1, "2": 1}, frames))
    assert frames_of(selection)[0] == "frame0030.jpg"


def test_an_empty_mask_costs_the_video(tmp_path: Path) -> None:
    frames = small.herd()
    frames[9]["8"] = small.segment((0, 0, 0, 0))
    selection = selected(tmp_path, small.video("v", "YFCC100M", {"7": 1, "8": 1}, frames))
    assert "mask of track 8 is empty in frame 9" in selection.dropped["YFCC100M/v"]


@pytest.mark.parametrize(
    ("size", "at", "expected"),
    [
        ((40, 20), (15, 5, 10, 10), 100 / 400),  # inside the centre square, columns 10 to 30
        ((40, 20), (0, 0, 4, 5), 20 / 400),  # the square moves left as a whole
        ((40, 20), (36, 0, 4, 5), 20 / 400),  # and right
        ((20, 40), (0, 15, 10, 10), 100 / 400),  # rows 10 to 30
        ((20, 40), (0, 0, 10, 12), 20 / 400),  # nothing moves up or down: two rows of ten are left
        ((20, 20), (0, 0, 0, 0), 0),
    ],
)
def test_share_of_the_crop(size: tuple[int, int], at: tuple[int, int, int, int], expected: float) -> None:
    assert share(small.block(*at, size)) == pytest.approx(expected)


# The dataset


def test_ids_splits_and_order(tree: Tree) -> None:
    held = images(import_source("permir", tree("permir")))
    assert {key: row["attributes"]["permir"] for key, row in held.items()} == {
        "train/YFCC100M/herd/frame0003.jpg": {"number": 0, "place": 0},
        "train/YFCC100M/herd/frame0035.jpg": {"number": 0, "place": 1},
        "train/YFCC100M/herd/frame0020.jpg": {"number": 0, "place": 2},
        "val/YFCC100M/herd/frame0002.jpg": {"number": 0, "place": 0},  # PDM's second run overwrites the first
        "val/YFCC100M/herd/frame0035.jpg": {"number": 0, "place": 1},
        "val/YFCC100M/herd/frame0020.jpg": {"number": 0, "place": 2},
        "val/BDD/-b1/frame0000.jpg": {"number": 1, "place": 0},
        "val/BDD/-b1/frame0016.jpg": {"number": 1, "place": 1},
        "val/BDD/-b1/frame0017.jpg": {"number": 1, "place": 2},
    }
    row = held["train/YFCC100M/herd/frame0003.jpg"]
    assert (row["source_split"], row["sequence"]) == ("train", "YFCC100M/herd")
    assert row["file_name"] == "frames/train/YFCC100M/herd/frame0003.jpg"


def test_roles_and_relevance(tree: Tree) -> None:
    root = tree("permir")
    dataset = import_source("permir", root)
    expected = {
        ("train/YFCC100M/herd/frame0003.jpg", "query"),
        ("train/YFCC100M/herd/frame0020.jpg", "gallery"),
        ("train/YFCC100M/herd/frame0035.jpg", "gallery"),
        ("val/YFCC100M/herd/frame0002.jpg", "query"),
        ("val/YFCC100M/herd/frame0020.jpg", "gallery"),
        ("val/YFCC100M/herd/frame0035.jpg", "gallery"),
    }
    assert roles(dataset) == expected
    pairs = {(row["query_id"][-14:], row["image_id"]) for row in relevance.relevance(dataset).to_pylist()}
    train, val = "permir/train/YFCC100M/herd", "permir/val/YFCC100M/herd"
    assert pairs == {
        ("/frame0003.jpg", f"{train}/frame0020.jpg"),
        ("/frame0003.jpg", f"{train}/frame0035.jpg"),
        ("/frame0002.jpg", f"{val}/frame0020.jpg"),
        ("/frame0002.jpg", f"{val}/frame0035.jpg"),
    }
    every = import_source("permir", root, options={"gallery": "all"})
    queries = {(key, "gallery") for key, role in expected if role == "query"}
    assert roles(every) == expected | queries
    assert relevance.relevance(every).num_rows == 4  # a query does not answer itself
    with pytest.raises(UsageError, match="expected others or all"):
        import_source("permir", root, options={"gallery": "some"})


def test_queries_are_masks_of_the_object(tree: Tree) -> None:
    dataset = import_source("permir", tree("permir"))
    query = rows(dataset, "queries")["permir/train/YFCC100M/herd/frame0003.jpg"]
    assert (query["kind"], query["category"], box(query)) == ("mask", "zebra", [2, 2, 12, 10])
    assert query["instance"] == query["group"] == "BURST/train/YFCC100M/herd/7"
    assert query["annotation_id"] == "permir/train/YFCC100M/herd/frame0003.jpg#7"


def test_all_tracks_of_a_frame_are_annotations(tree: Tree) -> None:
    dataset = import_source("permir", tree("permir"))
    cup, seven, eight = annotations(dataset, "train/YFCC100M/herd/frame0035")
    assert [row["category"] for row in (cup, seven, eight)] == ["cup", "zebra", "zebra"]
    assert (mask(seven) == small.block(2, 2, 10, 10).astype(bool)).all()
    assert (box(eight), eight["area"]) == ([30, 10, 4, 4], 16)
    assert (cup["score"], cup["attributes"]) == (0.5, {"permir": {"is_gt": False}})
    assert seven["attributes"] == {}
    assert set(rows(dataset, "instances")) >= {row["instance"] for row in annotations(dataset)}


def test_coverage_is_partial_but_where_burst_says_more(tree: Tree) -> None:
    found = coverage(import_source("permir", tree("permir")))
    assert found["permir/train", "*"] == found["permir/val", "*"] == "partial"
    assert found["permir/train/YFCC100M/herd/frame0003.jpg", "giraffe"] == "exhaustive"
    assert found["permir/train/YFCC100M/herd/frame0003.jpg", "cup"] == "partial"
    assert ("permir/val/YFCC100M/herd/frame0002.jpg", "giraffe") not in found


def test_categories_are_those_of_burst(tree: Tree) -> None:
    found = categories(import_source("permir", tree("permir")))
    assert set(found) == {"zebra", "cup", "giraffe"}
    assert found["cup"]["definition"] == "a small open container"


def test_what_is_not_taken_is_said(tree: Tree) -> None:
    dataset = import_source("permir", tree("permir"))
    said = [problem.message for problem in dataset.problems]
    for text in ("LaSOT/lasot-1", "Charades/alone", "Charades/short", "ArgoVerse/empty", "may stand in BDD100K too"):
        assert len([line for line in said if text in line]) == 1, text
    assert ("N05", "permir/val/BDD/-b1") in findings(dataset)  # too small
    assert not [key for key, _ in roles(dataset) if "BDD" in key]


def test_an_unknown_class_is_kept_and_listed(tree: Tree) -> None:
    root = tree("permir")
    edit(root / TRAIN, lambda file: file["categories"].pop(1))
    edit(root / VAL, lambda file: file["categories"].pop(1))
    dataset = import_source("permir", root)
    assert "2" in categories(dataset)
    assert [problem for problem in dataset.problems if problem.code == "N01"]


def test_absent_frames_and_folders(tree: Tree, tmp_path: Path) -> None:
    root = tree("permir")
    before = import_source("permir", root)
    for split in ("train", "val"):  # both archives unpacked without a folder of their own
        (root / "frames" / split).rename(root / split)
        (root / "annotations" / split / "all_classes.json").rename(root / split / "all_classes.json")
        (root / "annotations" / split).rmdir()
    assert import_source("permir", root).fingerprint() == before.fingerprint()
    (root / "train/YFCC100M/herd/frame0020.jpg").unlink()
    dataset = import_source("permir", root)
    assert findings(dataset, "I01") == [("I01", "permir/train/YFCC100M/herd/frame0020.jpg")]
    assert images(dataset)["train/YFCC100M/herd/frame0020.jpg"]["width"] == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v["segmentations"].pop(), "40 annotated frames and 39 segmentations"),
        (lambda v: v["segmentations"][4]["7"].update(rle="zz"), r"segmentations[4], track 7: M04"),
        (lambda v: v.update(width=41), "M04 runs sum to 800; expected 20 x 41"),
        (lambda v: v.update(width=0), "frames of 0 x 20 px"),
        (lambda v: v["annotated_image_paths"].__setitem__(3, "../x.jpg"), "names frame '../x.jpg'"),
    ],
)
def test_a_broken_video(change: Callable[[Any], object], said: str, tree: Tree, curate: Curate, tmp_path: Path) -> None:
    root = tree("permir")
    edit(root / TRAIN, lambda file: change(file["sequences"][1]))
    failed = curate("import", "permir", root, "-o", "out", code=1)
    assert said in failed.stderr
    assert not (tmp_path / "out").exists()
    done = json.loads(curate("import", "permir", root, "-o", "out", "--skip-bad", "--json").stdout)
    assert done["findings"]["N03"] == 1
    assert done["counts"]["images"] in (6, 8)  # the video, or one frame


def test_a_missing_split_and_a_file_of_another_kind(tree: Tree) -> None:
    root = tree("permir")
    with pytest.raises(SourceError, match="holds no split 'test'"):
        import_source("permir", root, splits=["test"])
    (root / VAL).rename(root / "annotations/val/common_classes.json")
    with pytest.raises(SourceError, match=r"has no annotations/val/all_classes\.json"):
        import_source("permir", root, splits=["val"])
    (root / TRAIN).write_text('{"images": []}')
    with pytest.raises(SourceError, match=r"train/all_classes\.json: .*missing required field"):
        import_source("permir", root)


# The folders of PDM's program

LARGE, MIDDLE, SMALL = (10, 2, 12, 12), (12, 2, 8, 8), (15, 5, 4, 4)


def test_folders(tmp_path: Path) -> None:
    small.write_folders(tmp_path, {10: [MIDDLE, LARGE, SMALL], 9: [LARGE, SMALL, (15, 5, 1, 1)], 2: [LARGE] * 3})
    dataset = import_source("permir", tmp_path)
    assert roles(dataset) == {
        ("PerMIRS/10/0.jpg", "gallery"),
        ("PerMIRS/10/1.jpg", "query"),  # the largest, not the first
        ("PerMIRS/10/2.jpg", "gallery"),
        ("PerMIRS/2/0.jpg", "query"),  # the first of equals
        ("PerMIRS/2/1.jpg", "gallery"),
        ("PerMIRS/2/2.jpg", "gallery"),
    }  # of 9 one share is 1/400 < 0.5 %
    (row,) = annotations(dataset, "PerMIRS/10/1.jpg")
    assert (mask(row) == small.block(*LARGE).astype(bool)).all()
    assert (box(row), row["instance"], row["category"]) == ([*LARGE], "PerMIRS/10", "object")
    assert rows(dataset, "queries")["permir/PerMIRS/10/1.jpg"]["kind"] == "mask"
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "PerMIRS").mkdir()
    for name in ("2", "9", "10"):
        (tmp_path / name).rename(outer / "PerMIRS" / name)
    assert import_source("permir", outer).fingerprint() == dataset.fingerprint()
    with pytest.raises(UsageError, match="do not say the split"):
        import_source("permir", outer, splits=["train"])


class _Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([_Bomb()] * 3, "(A01)"),
        ([{"7": small.block(*LARGE)}] * 2, "holds something else"),
        ([{"7": small.block(*LARGE), "8": small.block(*LARGE)}] * 3, "holds something else"),
        ([{"7": "text"}] * 3, "holds something else"),
    ],
)
def test_a_masks_file_that_is_none(
    entries: list[Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "raw"
    small.write_folders(root, {1: [LARGE] * 3, 2: [LARGE] * 3})
    held = np.empty(len(entries), object)
    held[:] = entries
    np.save(root / "1/masks.npz", held)
    with pytest.raises(SourceError) as raised:
        import_source("permir", root)
    assert f"{root}/1/masks.npz.npy: " in str(raised.value)
    assert said in str(raised.value)
    assert not (tmp_path / "exploded").exists()
    assert len(images(import_source("permir", root, skip_bad=True))) == 3


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps([1]), b"\x93NUMPY\x01\x00"])
def test_a_masks_file_that_is_rubbish(content: bytes, tmp_path: Path) -> None:
    small.write_folders(tmp_path, {1: [LARGE] * 3, 2: [LARGE] * 3})
    (tmp_path / "1/masks.npz.npy").write_bytes(content)
    with pytest.raises(SourceError, match=r"1/masks\.npz\.npy: is no array of masks"):
        import_source("permir", tmp_path)


def test_a_folder_without_all_frames_and_masks_of_another_size(tmp_path: Path) -> None:
    small.write_folders(tmp_path, {1: [LARGE] * 3, 2: [LARGE] * 3})
    (tmp_path / "2/1.jpg").unlink()
    with pytest.raises(SourceError, match="has 2 frames; expected 0, 1 and 2"):
        import_source("permir", tmp_path)
    small.Image.new("RGB", (8, 8)).save(tmp_path / "2/1.jpg")
    with pytest.raises(SourceError, match=r"2/1\.jpg: was made for 40 x 20 px; its image has 8 x 8"):
        import_source("permir", tmp_path)
