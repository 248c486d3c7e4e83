"""ILIAS trees: imported back equal, equal lists, any instance benchmark in ILIAS's form."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import ilias
from curate.importing import import_source
from curate.model import Annotation, Category, Image, Info, Instance, Judgement, Member, Query

Tree = Callable[[str], Path]
IDS = ("image_query_ids.txt", "text_query_ids.txt", "positive_ids.txt")


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def distractors(path: Path) -> list[str]:
    return gzip.decompress((path / "image_ids/distractor_ids.txt.gz").read_bytes()).decode().splitlines()


def taxonomy(path: Path) -> set[tuple[str, str, str, str]]:
    """The places of a taxonomy; its lists are in no order."""
    tree = json.loads((path / "misc/taxonomy.json").read_text("utf-8"))
    return {(a, b, c, name) for a in tree for b in tree[a] for c in tree[a][b] for name in tree[a][b][c]}


def small(*records: Any) -> Dataset:
    """Two queries for one cup, one positive, two other images."""
    images = [
        Image(id=f"s/{key}", source="s", file_name=f"{key}.png", width=40, height=30)
        for key in ("a b", "c", "d", "q", "r")
    ]
    roles = {"a b": "gallery", "c": "gallery", "d": "distractor", "q": "query", "r": "query"}
    return from_records(
        Info(name="cups"),
        [
            *images,
            *(Member(image_id=f"s/{key}", role=role) for key, role in roles.items()),  # type: ignore[arg-type]
            Category(name="cup", supercategory="tableware"),
            Instance(id="s/my cup", category="cup"),
            Query(id="q1", kind="box", image_id="s/q", x=1.5, y=2, w=3, h=4.25, instance="s/my cup"),
            Query(id="q2", kind="text", text="my\ncup", instance="s/my cup"),
            Annotation(id="s/c#0", image_id="s/c", instance="s/my cup", x=2, y=3, w=12, h=10),
            *records,
        ],
    )


def test_import_export_import(tree: Tree, tmp_path: Path) -> None:
    raw = tree("ilias")
    first = import_source("ilias", raw, options={"distractors": "all"})
    counts = ilias.write(first, tmp_path / "out")
    again = import_source("ilias", tmp_path / "out", options={"distractors": "all"})
    assert again.fingerprints() == first.fingerprints()
    assert counts == {
        "objects": 4,
        "image_queries": 5,
        "text_queries": 4,
        "positives": 6,
        "distractors": 12,
        "pictures": 11,
        "absent_pictures": 1,
        "left_out_texts_beyond_one_of_an_object": 0,
        "left_out_images_to_be_ignored": 0,
        "left_out_gallery_images_that_are_queries": 0,
    }
    for name in IDS:
        assert sorted(lines(tmp_path / "out/image_ids" / name)) == sorted(lines(raw / "image_ids" / name))
    assert distractors(tmp_path / "out") == distractors(raw)
    assert taxonomy(tmp_path / "out") == taxonomy(raw)
    files = [path.relative_to(raw / "ilias_core") for path in (raw / "ilias_core").rglob("*.jpg")]
    assert len(files) == 11
    for file in files:
        assert (tmp_path / "out/ilias_core" / file).samefile(raw / "ilias_core" / file)
    assert not (tmp_path / "out/image_ids/names.tsv").exists()


def test_the_golden_lists_come_back(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden/ilias/case_1"
    raw = tmp_path / "raw"
    shutil.copytree(golden / "dataset", raw)
    shutil.copytree(golden / "misc", raw / "misc")
    ilias.write(import_source("ilias", raw, options={"distractors": "all"}), tmp_path / "out")
    for name in IDS:
        assert sorted(lines(tmp_path / "out/image_ids" / name)) == sorted(lines(raw / "image_ids" / name))
    assert sorted(distractors(tmp_path / "out")) == sorted(distractors(raw))
    assert taxonomy(tmp_path / "out") == taxonomy(raw)


def test_pictures_as_copies_or_not_at_all(tree: Tree, tmp_path: Path) -> None:
    dataset = import_source("ilias", tree("ilias"))
    ilias.write(dataset, tmp_path / "copied", images="copy")
    name = "ilias_core/bold_bimp_000/query/Q000_00.jpg"
    assert (tmp_path / "copied" / name).read_bytes() == (tmp_path / "raw_ilias" / name).read_bytes()
    assert not (tmp_path / "copied" / name).samefile(tmp_path / "raw_ilias" / name)
    assert ilias.write(dataset, tmp_path / "lists", images="none")["pictures"] == 0
    assert not list((tmp_path / "lists").rglob("*.jpg"))


def test_any_benchmark_of_instances(tmp_path: Path) -> None:
    for name in ("a b", "c", "q"):
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / f"{name}.png").write_bytes(name.encode())
    counts = ilias.write(small(), tmp_path / "out", roots={"s": str(tmp_path / "raw")})
    core = tmp_path / "out/ilias_core/my_cup_000"
    assert (core / "query/Q000_00.png").read_bytes() == b"q"
    assert (core / "pos/P000_00.png").read_bytes() == b"c"
    assert lines(core / "query/Q000_00_bbox.txt") == ["1 2 4 5"]  # 1.5..4.5 x 2..6.25, outwards
    assert lines(core / "pos/P000_00_bbox.txt") == ["2 3 12 10"]
    assert lines(core / "query/T000.txt") == ["my cup"]
    ids = tmp_path / "out/image_ids"
    assert lines(ids / "positive_ids.txt") == ["my_cup_000/pos/P000_00.png,0.1,0"]  # 120 of 1,200 px²
    assert lines(ids / "image_query_ids.txt") == ["my_cup_000/query/Q000_00.png,0.010625,0"]
    assert lines(ids / "text_query_ids.txt") == ["my_cup_000/query/T000.txt"]
    assert distractors(tmp_path / "out") == ["s/a%20b", "s/d"]
    assert lines(ids / "names.tsv") == ["my_cup_000/pos/P000_00.png\ts/c", "my_cup_000/query/Q000_00.png\ts/q"]
    assert taxonomy(tmp_path / "out") == {("tableware", "cup", "cup", "my_cup_000")}
    assert (counts["pictures"], counts["absent_pictures"]) == (2, 0)


def test_images_to_be_ignored_are_in_no_list(tmp_path: Path) -> None:
    crowd = Annotation(id="s/a b#0", image_id="s/a b", instance="s/my cup", x=0, y=0, w=9, h=9, iscrowd=True)
    counts = ilias.write(small(crowd), tmp_path / "out")
    assert counts["left_out_images_to_be_ignored"] == 1
    assert distractors(tmp_path / "out") == ["s/d"]


def test_bad_datasets(tmp_path: Path) -> None:
    def refused(message: str, dataset: Dataset, **options: Any) -> None:
        with pytest.raises((SchemaError, UsageError), match=message):
            ilias.write(dataset, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    refused("cups: has no queries", from_records(Info(name="cups"), []))
    other = [
        Query(id="q3", kind="text", text="x", instance="s/2"),
        Judgement(query_id="q3", image_id="s/c", label="easy"),
    ]
    refused("image s/c: is positive for s/my cup and for s/2", small(*other))
    refused("image s/q: has two queries", small(Query(id="q3", kind="image", image_id="s/q", instance="s/my cup")))
    refused("--images moved: is unknown", small(), images="moved")
    refused("--compat upstream: is no variant of ilias", small(), compat="upstream")
    out = Image(id="s/z", source="s", file_name="../z.png")
    refused(
        "image s/z: file name '../z.png' leaves its root",
        small(out, Query(id="q3", kind="image", image_id="s/z", instance="s/my cup")),
        roots={"s": str(tmp_path)},
    )


def test_by_command(tree: Tree, tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(import_source("ilias", tree("ilias")), tmp_path / "ds")
    done = curate("export", "ilias", "ds", "-o", "out", "--images", "copy", "--root", "ilias=raw_ilias")
    assert done.stdout.startswith("out: 4 objects, 5 image queries, 4 text queries, 6 positives, 0 distractors, 11 pic")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    curate("export", "ilias", "ds", "-o", "out", "--images", "copy", "--overwrite")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert "--images: is no option of coco" in curate("export", "coco", "ds", "-o", "c", "--images", "x", code=2).stderr
