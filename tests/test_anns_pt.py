"""The door for anns.pt: upstream's own file and ours, boxes and masks worked out by hand, malformed entries."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from curate import anns_pt, geometry, torch_zip
from curate.anns_pt.entries import Runs, read_entry
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.export import anns_pt as exporter
from curate.importing import import_source
from curate.model import Rle

Curate = Callable[..., Any]


def saved(folder: Path, entries: Any) -> Path:
    with (folder / "anns.pt").open("wb") as stream:
        torch_zip.save(entries, stream)
    return folder / "anns.pt"


def query(**changes: Any) -> dict[str, Any]:
    return {"bbox": (1, 2, 3, 4), "mask": [], "is_query": True, "ins": 5, "set": "OWID", "is_val": False, **changes}


def gallery(**changes: Any) -> dict[str, Any]:
    entry = {"bbox": [(1, 2, 3, 4)], "num_ins": [2], "mask": [], "is_query": False, "ins": [5], "set": "OWID"}
    return {**entry, "is_val": True, **changes}


def table(dataset: Dataset, name: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in dataset.table(name).to_pylist()}


def box(row: dict[str, Any]) -> list[float]:
    return [row["x"], row["y"], row["w"], row["h"]]


def kept(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["attributes"])["anns_pt"] if row["attributes"] else {}
    return found


def mask(row: dict[str, Any]) -> np.ndarray:
    return geometry.mask_from_rle(Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"]))


# Upstream's own file


@pytest.fixture(scope="module")
def raw(shared: Path) -> Dataset:
    return import_source("voxdet", shared / "golden/voxdet_soir/tree")


def test_upstream_s_file_agrees_with_its_tree(raw: Dataset, shared: Path) -> None:
    """Queries, boxes and masks are those of the raw download: also the masks whose leading 0 upstream leaves out."""
    door = anns_pt.read(shared / "golden/voxdet_soir/anns.pt")
    ours, theirs = table(raw, "annotations"), table(door, "annotations")
    from_raw, from_file = table(raw, "queries"), table(door, "queries")
    assert len(from_file) == 33
    for id, found in from_file.items():
        expected = from_raw[id.replace("anns_pt/tree/", "voxdet/", 1)]
        assert box(found) == box(expected), id
        assert (found["instance"], found["group"], found["kind"]) == (expected["instance"],) * 2 + ("mask",)
        one, other = theirs[found["annotation_id"]], ours[expected["annotation_id"]]
        assert (one["segmentation"], one["area"]) == (other["segmentation"], other["area"]), id
    # Scenes: the same boxes, instances, masks and polygons, where base names do not merge.
    for id in table(door, "images"):
        key = id.replace("anns_pt/tree/", "voxdet/", 1)
        if id in from_file or key == "voxdet/OWID/P2/images/000000.jpg":
            continue
        expected_rows = [
            row
            for row in ours.values()
            if row["image_id"] == key and "dropped_upstream" not in (row["attributes"] or "")
        ]
        found_rows = [row for row in theirs.values() if row["image_id"] == id]
        as_counted = [
            Counter((row["instance"], *box(row), str(row["segmentation"]), str(row["polygons"])) for row in rows)
            for rows in (expected_rows, found_rows)
        ]
        assert as_counted[0] == as_counted[1], id
    codes = Counter(problem.code for problem in door.problems)
    assert codes == {"A08": 1, "A09": 2, "N05": 1}
    assert set(door.table("images")["source_split"].to_pylist()) == {None, "test"}  # without is_val, who knows


def test_the_faulty_file_names_every_entry_that_cannot_be_read(shared: Path) -> None:
    folder = shared / "golden/voxdet_soir"
    with pytest.raises(SourceError, match="12 of 55 entries are broken; nothing was written") as raised:
        anns_pt.read(folder / "faulty_anns.pt")
    named = {re.match(rf"{folder}/faulty_anns\.pt, (tree/\S+): ", line)[1] for line in raised.value.lines[1:]}  # type: ignore[index]
    harmless = {"'is_val' absent", "query instance that no gallery image shows"}
    faults = json.loads((folder / "faulty_faults.json").read_text())
    assert named == {f["path"] for f in faults if f["fault"] not in harmless and "not on disk" not in f["fault"]}
    left = anns_pt.read(folder / "faulty_anns.pt", skip_bad=True)
    assert left.table("images").num_rows == 43
    assert sum(problem.code == "N03" for problem in left.problems) == 12


def test_what_we_export_comes_back(raw: Dataset, tmp_path: Path) -> None:
    exporter.write(raw, tmp_path / "anns.pt")
    door = anns_pt.read(tmp_path / "anns.pt")
    assert door.problems == ()
    assert set(door.table("instances")["id"].to_pylist()) <= set(raw.table("instances")["id"].to_pylist())
    queries = {id: row for id, row in table(raw, "queries").items() if row["x"] is not None}
    found = table(door, "queries")
    assert {id.replace("anns_pt/", "voxdet/"): (box(row), row["instance"]) for id, row in found.items()} == {
        id: (box(row), row["instance"]) for id, row in queries.items()
    }
    images = {id.replace("anns_pt/", "voxdet/"): row for id, row in table(door, "images").items()}
    truth = [row for row in raw.table("annotations").to_pylist() if row["status"] == "truth"]
    expected = Counter(
        (row["image_id"], row["instance"], *box(row), str(row["segmentation"]))
        for row in truth
        if row["image_id"] in images and row["polygons"] is None
    )
    got = Counter(
        (row["image_id"].replace("anns_pt/", "voxdet/"), row["instance"], *box(row), str(row["segmentation"]))
        for row in door.table("annotations").to_pylist()
    )
    assert not expected - got
    assert sum((got - expected).values()) == 2  # painted polygons
    # And once more: the file that the door's dataset gives is the same.
    exporter.write(door, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "anns.pt").read_bytes()


# Boxes, masks and splits, by hand


def test_a_query_s_box_holds_its_last_pixel_and_a_scene_s_ends_before_its_edge(tmp_path: Path) -> None:
    dataset = anns_pt.read(saved(tmp_path, {"q.png": query(), "g.png": gallery()}))
    rows = table(dataset, "annotations")
    assert box(rows["anns_pt/q.png#0000"]) == [1, 2, 3, 3]
    assert box(rows["anns_pt/g.png#0000"]) == [1, 2, 2, 2]
    assert box(table(dataset, "queries")["anns_pt/q.png"]) == [1, 2, 3, 3]
    assert table(dataset, "queries")["anns_pt/q.png"]["kind"] == "box"
    assert kept(rows["anns_pt/g.png#0000"]) == {"num_ins": 2}
    assert {(row["image_id"], row["role"]) for row in dataset.table("members").to_pylist()} == {
        ("anns_pt/q.png", "query"),
        ("anns_pt/g.png", "gallery"),
    }


L_SHAPE = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], bool)  # 3 x 4; touches the first pixel


@pytest.mark.parametrize(
    ("stored", "box_"),
    [
        ({"counts": [0, 2, 2, 1, 3, 1, 3], "size": (3, 4), "transpose": False}, (0, 0, 1, 2)),
        ({"counts": [2, 2, 1, 3, 1, 3], "size": (3, 4), "transpose": False}, (0, 0, 1, 2)),  # as upstream writes it
        ({"counts": [0, 4, 8], "size": [3, 4]}, (0, 0, 1, 2)),  # COCO: by columns
        ({"counts": [0, 4, 8], "size": [4, 3], "transpose": True}, (0, 0, 1, 2)),
        ({"counts": [4, 8], "size": [3, 4]}, (0, 0, 1, 2)),
    ],
)
def test_all_ways_to_write_a_mask(stored: dict[str, Any], box_: tuple[int, ...], tmp_path: Path) -> None:
    dataset = anns_pt.read(saved(tmp_path, {"q.png": query(bbox=box_, mask=stored)}))
    (row,) = table(dataset, "annotations").values()
    assert (mask(row) == L_SHAPE).all()
    assert (row["area"], box(row)) == (4, [0, 0, 2, 3])
    image = table(dataset, "images")["anns_pt/q.png"]
    assert (image["width"], image["height"]) == (4, 3)


@given(pixels=hnp.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_upstream_s_missing_zero_is_seen_by_the_box(pixels: np.ndarray) -> None:
    """Whatever the mask: unless the box fits it and its complement alike, the right one is taken."""
    flat = pixels.ravel()
    cuts = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = np.diff(cuts).tolist()  # without a leading 0, as upstream counts

    def upstream_box(mask: np.ndarray) -> tuple[int, ...]:
        ys, xs = np.nonzero(mask)
        return (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else (0, 0, mask.shape[1], mask.shape[0])

    corners = tuple(map(int, upstream_box(pixels)))
    stored = {"counts": counts, "size": pixels.shape, "transpose": False}
    (one,) = read_entry(query(bbox=corners, mask=stored)).objects
    assert isinstance(one.mask, Runs)
    found = np.repeat(np.arange(len(one.mask.counts)) % 2, one.mask.counts).reshape(pixels.shape)
    if pixels[0, 0] and pixels.any() and upstream_box(~pixels) == corners:
        return  # nobody can tell
    assert (found == pixels).all()
    assert (one.box is None) == (not pixels.any())


def test_an_empty_mask_means_no_box(tmp_path: Path) -> None:
    empty = {"counts": [12], "size": (3, 4), "transpose": False}
    dataset = anns_pt.read(saved(tmp_path, {"q.png": query(bbox=(0, 0, 4, 3), mask=empty)}))
    (row,) = table(dataset, "annotations").values()
    assert (box(row), row["area"], mask(row).any()) == ([None] * 4, 0, False)
    assert [problem.code for problem in dataset.problems] == ["A09"]
    full = anns_pt.read(saved(tmp_path, {"q.png": query(bbox=(0, 0, 3, 2), mask=empty)}))
    (row,) = table(full, "annotations").values()
    assert (box(row), row["area"], mask(row).all()) == ([0, 0, 4, 3], 12, True)


def test_splits_and_coverage(tmp_path: Path) -> None:
    entries = {
        "q": query(),
        "train": gallery(is_val=False),
        "val": gallery(),
        "tool": gallery(set="RoboTools", is_val=False),
        "other": gallery(set="mine", is_val=False),
        "old": {key: value for key, value in gallery().items() if key != "is_val"},
    }
    dataset = anns_pt.read(saved(tmp_path, entries))
    assert {id: row["source_split"] for id, row in table(dataset, "images").items()} == {
        "anns_pt/q": None,
        "anns_pt/train": "train",
        "anns_pt/val": "val",
        "anns_pt/tool": "test",
        "anns_pt/other": None,
        "anns_pt/old": None,
    }
    assert {row["scope"]: row["state"] for row in dataset.table("coverage").to_pylist()} == {
        "anns_pt/train": "exhaustive",
        "anns_pt/val": "partial",
        "anns_pt/test": "exhaustive",
    }
    assert Counter(problem.code for problem in dataset.problems) == {"A06": 1, "N05": 1}


def test_instances_are_told_apart_by_their_set(tmp_path: Path) -> None:
    entries = {"a": gallery(), "b": gallery(set="RoboTools"), "c": gallery(set="mine", obj_name=["red cup"])}
    dataset = anns_pt.read(saved(tmp_path, entries))
    assert dataset.table("instances")["id"].to_pylist() == ["OWID/5", "RoboTools/5", "red cup"]
    assert {row["name"]: row["supercategory"] for row in dataset.table("categories").to_pylist()} == {
        "OWID/5": "OWID",
        "RoboTools/5": "RoboTools",
        "red cup": "mine",
    }


def test_float_boxes_unknown_fields_and_masks_that_do_not_fill_their_frame_are_kept(tmp_path: Path) -> None:
    short = {"counts": [1, 2], "size": [3, 4]}
    entry = gallery(bbox=[(0.5, 1, 2.0, 3)], mask=[short], camera={"f": 1.5}, odd={1: "x"}, bad=b"\0")
    dataset = anns_pt.read(saved(tmp_path, {"g": entry}))
    (row,) = table(dataset, "annotations").values()
    assert kept(row) == {"bbox": [0.5, 1, 1.5, 2], "num_ins": 2, "mask": short}
    assert row["segmentation"] is None
    assert kept(table(dataset, "images")["anns_pt/g"])["camera"] == {"f": 1.5}
    assert [(p.code, p.message) for p in dataset.problems if p.code == "M04"] == [
        ("M04", "runs sum to 3; expected 3 x 4 = 12; kept beside the columns")
    ]


# Keys and pictures


def test_absolute_keys_become_relative(tmp_path: Path) -> None:
    dataset = anns_pt.read(saved(tmp_path, {"/data/a.png": query(), "b.png": gallery()}))
    image = table(dataset, "images")["anns_pt/data/a.png"]
    assert (image["file_name"], kept(image)["key"]) == ("data/a.png", "/data/a.png")
    assert [(p.code, p.item) for p in dataset.problems] == [("A07", "anns_pt/data/a.png")]


def test_pictures_are_opened_only_below_their_folder(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "secret.png")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "pictures/a.png")
    stated = {"counts": [12], "size": (3, 4), "transpose": False}
    entries = {"a.png": query(mask=stated), "../secret.png": gallery(), "b.png": gallery()}
    file = saved(tmp_path, entries)
    bare = table(anns_pt.read(file), "images")
    assert (bare["anns_pt/a.png"]["width"], bare["anns_pt/b.png"]["width"]) == (4, None)
    dataset = anns_pt.read(file, root=tmp_path / "pictures", checksums=True)
    images = table(dataset, "images")
    assert (images["anns_pt/a.png"]["width"], images["anns_pt/a.png"]["height"]) == (30, 20)
    digest = hashlib.sha256((tmp_path / "pictures/a.png").read_bytes()).hexdigest()
    assert images["anns_pt/a.png"]["sha256"] == digest
    assert images["anns_pt/../secret.png"]["width"] is None
    assert kept(images["anns_pt/b.png"])["file"] == "missing"
    assert dataset.info.roots == {"anns_pt": str(tmp_path / "pictures")}
    assert Counter(problem.code for problem in dataset.problems) == {"I01": 1, "M05": 1, "P01": 1}


def test_a_picture_that_cannot_be_read_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>")
    file = saved(tmp_path, {"a.png": query()})
    with pytest.raises(SourceError, match="1 of 1 entries are broken") as raised:
        anns_pt.read(file, root=tmp_path)
    assert raised.value.lines[
        1
    ] == f"{tmp_path}/a.png: is an HTML page; expected a picture; download the file again: " + (
        "a login page was saved in its place"
    )
    assert anns_pt.read(file, root=tmp_path, skip_bad=True).table("images").num_rows == 0


# Malformed entries


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([1], r"entry is \[1\] \(A02\); expected a dictionary"),
        ({k: v for k, v in query().items() if k != "bbox"}, r"'bbox' is missing \(A02\)"),
        ({k: v for k, v in query().items() if k != "is_query"}, "'is_query' is missing"),
        ({k: v for k, v in query().items() if k != "ins"}, "'ins' is missing"),
        ({k: v for k, v in query().items() if k != "set"}, "'set' is missing"),
        (query(is_query=1), r"is_query is 1 \(A02\); expected bool"),
        (query(is_val="no"), "is_val is 'no'"),
        (query(set=7), "set is 7"),
        (query(set="a/b"), r"set is 'a/b' \(A06\)"),
        (query(ins=[5]), r"ins is \[5\] \(A02\); expected a whole number"),
        (query(ins=True), "ins is True"),
        (query(bbox=(1, 2, 3)), r"box is \(1, 2, 3\) \(A02\)"),
        (query(bbox=[(1, 2, 3, 4)]), r"query with a list of 1 boxes \(A04\)"),
        (query(bbox=(1, 2, 3, "4")), "expected four numbers"),
        (query(bbox=(1, 2, True, 4)), "expected four numbers"),
        (query(bbox=(1, 2, float("nan"), 4)), r"\(A05\); expected finite numbers"),
        (query(bbox=(1, 2, float("inf"), 4)), "expected finite numbers"),
        (query(bbox=(1, 2, 10**400, 4)), "expected finite numbers"),
        (query(bbox=(3, 2, 1, 4)), r"\(A05\); expected x1, y1, x2, y2 in this order"),
        (query(mask=[{"counts": [12], "size": [3, 4]}]), r"query with a list of 1 masks \(A04\)"),
        (query(mask={"counts": [12]}), "expected run lengths with counts and size"),
        (query(mask={"size": [3, 4]}), "expected run lengths with counts and size"),
        (query(mask={"counts": [12], "size": [3.0, 4]}), "expected run lengths with counts and size"),
        (query(mask="none"), "mask is 'none'"),
        (gallery(bbox=((1, 2, 3, 4),)), r"bbox is \(\(1, 2, 3, 4\),\) \(A02\); expected a list"),
        (gallery(ins=5), "ins is 5 .*expected a list"),
        (gallery(ins=[]), r"1 boxes, 0 ins \(A03\); expected lists of one length"),
        (gallery(mask=[[], []]), r"1 boxes, 2 mask \(A03\)"),
        (gallery(num_ins=[1, 2]), r"1 boxes, 2 num_ins \(A03\)"),
        (gallery(num_ins=[1.5]), "num_ins is 1.5"),
        (gallery(ins=["5"]), "ins is '5'"),
    ],
)
def test_a_malformed_entry_is_one_line(entry: Any, said: str, tmp_path: Path) -> None:
    file = saved(tmp_path, {"sound.png": query(), "bad.png": entry})
    with pytest.raises(SourceError) as raised:
        anns_pt.read(file)
    summary, line = raised.value.lines
    assert summary.startswith(f"{file}: 1 of 2 entries are broken; nothing was written; ")
    assert re.match(rf"{file}, bad\.png: .*{said}", line), line
    assert list(table(anns_pt.read(file, skip_bad=True), "images")) == ["anns_pt/sound.png"]


@pytest.mark.parametrize("key", [7, None, "", "/", "\ud800.png", "/sound.png"])
def test_a_key_that_is_no_path(key: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="1 of 2 entries are broken"):
        anns_pt.read(saved(tmp_path, {"sound.png": query(), key: query()}))


@pytest.mark.parametrize("content", [{}, [], {"a": 1}, {"images": [], "annotations": []}, {"state": {"x": 1}}, 5])
def test_other_content_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"anns\.pt: holds no entry of anns\.pt; expected a dictionary from image path"
    ):
        anns_pt.read(saved(tmp_path, content))


# At the command line


def test_import_and_export_from_the_command_line(curate: Curate, shared: Path, tmp_path: Path) -> None:
    done = curate("import", "anns_pt", shared / "golden/voxdet_soir/anns.pt", "-o", "ds", "--json")
    assert json.loads(done.stdout)["counts"]["queries"] == 33
    done = curate("export", "anns_pt", "ds", "-o", "ours.pt", "--json")
    assert json.loads(done.stdout)["counts"]["queries"] == 31  # two have no box
    torch = pytest.importorskip("torch")
    assert len(torch.load(tmp_path / "ours.pt", weights_only=True)) == 53


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, r"x\.pt: no such file; expected a file of torch\.save"),
        (lambda path: path.mkdir(), r"x\.pt: is a folder; expected a file of torch\.save"),
        (lambda path: path.write_text("hello"), r"x\.pt: is no zip archive; expected a file of torch\.save"),
        (lambda path: path.write_bytes(b"PK\3\4" + b"\0" * 50), r"x\.pt: zip archive is cut short"),
    ],
)
def test_a_bad_file_is_one_line_and_leaves_nothing(
    make: Callable[[Path], object], said: str, curate: Curate, tmp_path: Path
) -> None:
    make(tmp_path / "x.pt")
    for flags in ([], ["--skip-bad"]):
        (line,) = curate("import", "anns_pt", "x.pt", "-o", "ds", *flags, code=1).stderr.splitlines()
        assert re.match(f"curate: {said}", line), line
        assert not (tmp_path / "ds").exists()


def test_splits_and_other_roots_are_wrong_usage(tmp_path: Path) -> None:
    file = saved(tmp_path, {"a": query()})
    with pytest.raises(UsageError, match="was given --split"):
        import_source("anns_pt", file, splits=["val"])
    with pytest.raises(UsageError, match="is another source"):
        import_source("anns_pt", file, roots={"coco": "x"})
