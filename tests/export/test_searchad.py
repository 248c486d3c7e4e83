"""SearchAD folders: equal to what the devkit wrote and read, imported back equal, sound where its files cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.build.hidden import build_hidden
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import searchad
from curate.importing import import_source
from curate.model import Annotation, Category, Image, Info, Query, RelevanceRule, Support
from curate.sources import searchad as source

Tree = Callable[[str], Path]
VAL = "searchad_annotations_val.json"
TEST = "searchad_test_mapping_id_to_imagepath.json"
POSITIVES, IGNORED = (f"searchad_val_image_level_{kind}_min_box_50.json" for kind in ("annotations", "ignore_images"))


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def small(*records: Any, **rule: Any) -> Dataset:
    images = [
        Image(id=f"own/{name}", source="own", file_name=f"{name}.jpg", width=100, height=80, split=split)
        for name, split in (("a", "val"), ("b", "val"), ("c", "test"), ("d", "test"), ("e", None))
    ]
    info = Info(name="own", relevance=RelevanceRule(target="category", **{"min_area": 50.0} | rule))
    return from_records(info, [*images, Category(name="Cup"), *records])


def box(image: str, n: int, w: float, h: float, **more: Any) -> Annotation:
    more.setdefault("category", "Cup")
    return Annotation(id=f"own/{image}#{n}", image_id=f"own/{image}", x=1.5, y=2.25, w=w, h=h, **more)


# The devkit's own files


@pytest.mark.parametrize("name", [POSITIVES, IGNORED])
def test_image_level_lists_are_the_devkit_s_to_the_byte(shared: Path, tmp_path: Path, name: str) -> None:
    golden = shared / "golden/searchad/case_basic"
    searchad.write(import_source("searchad", golden / "input"), tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == (golden / "expected" / name).read_bytes()


def test_the_devkit_s_input_comes_back(shared: Path, tmp_path: Path) -> None:
    raw = shared / "golden/searchad/case_basic/input"
    counts = searchad.write(import_source("searchad", raw), tmp_path / "out")
    files = sorted(path.relative_to(raw) for path in raw.rglob("*.json"))
    assert len(files) == 93
    for file in files:
        # Numbers, keys and their order: json.loads tells 7.0 from 7 only in text.
        assert json.dumps(read(tmp_path / "out" / file)) == json.dumps(read(raw / file)), file
    assert (counts["images"], counts["annotations"], counts["test_images"], counts["queries"]) == (72, 999, 18, 90)
    assert not any(count for name, count in counts.items() if name.startswith("left_out"))


def test_import_export_import(tree: Tree, tmp_path: Path) -> None:
    raw = tree("searchad")
    first = import_source("searchad", raw)
    searchad.write(first, tmp_path / "out")
    shutil.copytree(raw / "kitti", tmp_path / "out/kitti")
    again = import_source("searchad", tmp_path / "out")
    assert again.fingerprints() == first.fingerprints()


def test_folders_are_those_that_the_import_knows() -> None:
    own = {folder: name for folder, name in source.FOLDERS.items() if name not in source._SPREAD}
    assert own == {folder: name for name, folder in searchad.FOLDERS.items() if folder}
    assert [name for name, folder in searchad.FOLDERS.items() if not folder] == list(source._SPREAD)


# Datasets of our own


def test_positives_and_images_to_ignore(tmp_path: Path) -> None:
    dataset = small(
        box("a", 0, 10, 4.99),
        box("a", 1, 10, 5),  # 50 px²: just enough
        box("b", 0, 7, 7),
        box("b", 1, 7, 7),  # areas are not summed
    )
    searchad.write(dataset, tmp_path / "out")
    assert read(tmp_path / "out" / POSITIVES) == {"Cup": ["own/a.jpg"]}
    assert read(tmp_path / "out" / IGNORED) == {"Cup": ["own/b.jpg"]}
    found = read(tmp_path / "out" / VAL)
    assert list(found) == ["own/a.jpg", "own/b.jpg"]
    assert [entry["bbox"] for entry in found["own/a.jpg"]] == [[1.5, 2.25, 11.5, 7.24], [1.5, 2.25, 11.5, 7.25]]
    searchad.write(dataset, tmp_path / "larger", min_area=50.5)
    lists = "searchad_val_image_level_{}_min_box_50.5.json"
    assert read(tmp_path / "larger" / lists.format("annotations")) == {}
    assert read(tmp_path / "larger" / lists.format("ignore_images")) == {"Cup": ["own/a.jpg", "own/b.jpg"]}


def test_what_is_passed_over_is_no_box_and_no_negative(tmp_path: Path) -> None:
    rows = [box("a", 0, 20, 20, iscrowd=True), box("b", 0, 20, 20, ignore=True), box("b", 1, 9, 9, status="proposal")]
    counts = searchad.write(small(*rows), tmp_path / "out")
    assert read(tmp_path / "out" / VAL) == {"own/a.jpg": [], "own/b.jpg": []}
    assert read(tmp_path / "out" / IGNORED) == {"Cup": ["own/a.jpg", "own/b.jpg"]}
    assert counts["left_out_annotations_ignored"] == 2


def test_a_label_of_the_whole_image_is_a_box_of_its_frame(tmp_path: Path) -> None:
    label = Annotation(id="own/a#fog", image_id="own/a", category="Cup")
    searchad.write(small(label), tmp_path / "out")
    assert read(tmp_path / "out" / VAL)["own/a.jpg"] == [{"label": "Cup", "bbox": [0, 0, 100, 80]}]


def test_a_box_that_was_moved_loses_its_old_numbers(tmp_path: Path) -> None:
    about = {"searchad": {"bbox": [1, 2, 3, 4], "note": "kept"}}
    searchad.write(small(box("a", 0, 10, 10, attributes=about)), tmp_path / "out")
    found = read(tmp_path / "out" / VAL)["own/a.jpg"]
    assert found == [{"label": "Cup", "note": "kept", "bbox": [1.5, 2.25, 11.5, 12.25]}]


def test_other_classes_beside_searchad_s_are_left_out(tmp_path: Path) -> None:
    rows = [
        box("a", 0, 10, 10, category="Object-Ball"),
        box("a", 1, 10, 10),
        box("b", 0, 9, 9, category="Animal-Real-Other"),
    ]
    counts = searchad.write(
        small(Category(name="Object-Ball"), Category(name="Animal-Real-Other", role="other"), *rows), tmp_path / "out"
    )
    found = read(tmp_path / "out" / VAL)
    assert [[entry["label"] for entry in boxes] for boxes in found.values()] == [["Object-Ball"], ["Animal-Real-Other"]]
    assert read(tmp_path / "out" / POSITIVES) == {"Object-Ball": ["own/a.jpg"]}  # five classes are not evaluated
    assert counts["left_out_annotations_of_other_classes"] == 1


def test_test_images_have_numbers_and_no_labels(tmp_path: Path) -> None:
    counts = searchad.write(small(box("a", 0, 9, 9), box("c", 0, 9, 9)), tmp_path / "out")
    assert read(tmp_path / "out" / TEST) == {"0": "own/c.jpg", "1": "own/d.jpg"}
    assert (counts["test_images"], counts["left_out_annotations_of_test"]) == (2, 1)
    assert counts["left_out_images_of_no_split"] == 1
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.json") if path.name != TEST]
    assert not any("own/c.jpg" in text for text in texts)


def test_a_hidden_test_keeps_its_numbers(tmp_path: Path) -> None:
    dataset = small(
        *(box(name, 0, 9, 9) for name in "abcd"), Query(id="own/Cup", kind="text", text="a cup", category="Cup")
    )
    hidden = build_hidden(dataset, splits=["test"], seed="3")
    searchad.write(hidden.public, tmp_path / "out")
    numbers = {
        row["file_name"]: json.loads(row["attributes"])["hidden"]["test_id"]
        for row in hidden.public.table("images").to_pylist()
        if row["split"] == "test"
    }
    assert read(tmp_path / "out" / TEST) == {str(n): f"own/{name}" for name, n in numbers.items()}


def test_queries_and_their_support_sets(tmp_path: Path) -> None:
    dataset = small(
        Query(id="own/Cup", kind="text", text="a cup", category="Cup"),
        Query(id="own/box", kind="box", image_id="own/e", x=1, y=2, w=3, h=4, category="Cup"),
        Query(id="own/this", kind="text", text="this very cup", instance="own/1"),
        Support(query_id="own/Cup", rank=0, image_id="own/e", x=50.5, y=2, w=3, h=4.1),
        Support(query_id="own/Cup", rank=1, image_id="own/e", x=50.5, y=2, w=3, h=4.1),
        Support(query_id="own/Cup", rank=2, image_id="own/a"),
    )
    counts = searchad.write(dataset, tmp_path / "out")
    assert (counts["queries"], counts["left_out_queries_of_no_class"]) == (1, 1)
    first = {"min_x": 1, "min_y": 2, "max_x": 4, "max_y": 6}
    second = {"min_x": 50.5, "min_y": 2, "max_x": 53.5, "max_y": 6.1}
    expected = {"language": ["a cup"], "vision": {"own/e.jpg": [{"bbox": first}, {"bbox": second}], "own/a.jpg": []}}
    assert read(tmp_path / "out/default_queries/Cup.json") == {"supportsets": expected}


def test_bad_datasets(tmp_path: Path) -> None:
    def refused(message: str, dataset: Dataset, **options: Any) -> None:
        with pytest.raises((SchemaError, UsageError), match=message):
            searchad.write(dataset, tmp_path / "out", **options)
        assert not any(tmp_path.iterdir())

    twin = Image(id="own/z", source="own", file_name="a.jpg", split="val")
    refused(r"image own/z: has the path own/a\.jpg of image own/a", small(twin))
    some = Image(id="own/z", source="own", file_name="z.jpg", split="test", attributes={"searchad": {"test_id": 4}})
    refused("image own/c.jpg: has no number, while 1 test images have one", small(some))
    no_split = from_records(Info(name="bare"), [Image(id="own/a", source="own", file_name="a.jpg")])
    refused("bare: has no image of a split train, val or test; give images a split", no_split)
    slash = Query(id="q", kind="text", text="x", category="a/b")
    refused("class 'a/b': cannot be the name of a file", small(Category(name="a/b"), slash))
    refused("--min-area: is -1", small(), min_area=-1)
    refused("--compat upstream: is no variant", small(), compat="upstream")


def test_by_command(tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(small(box("a", 0, 10, 10)), tmp_path / "ds")
    done = curate("export", "searchad", "ds", "-o", "out", "--min-area", "20")
    assert done.stdout.startswith("out: 2 images, 1 annotations, 2 test images")
    assert (tmp_path / "out/searchad_val_image_level_annotations_min_box_20.json").is_file()
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert "already exists" in curate("export", "searchad", "ds", "-o", "out", code=2).stderr
    curate("export", "searchad", "ds", "-o", "out", "--min-area", "20", "--overwrite")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out/own").mkdir()
    (tmp_path / "out/own/a.jpg").write_bytes(b"the user's own picture")
    assert (
        "is no output of this command" in curate("export", "searchad", "ds", "-o", "out", "--overwrite", code=2).stderr
    )
