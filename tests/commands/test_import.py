"""``curate import`` and ``curate sources``: what is said of a source, and what was found beside what is published."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curate import importing, sources
from curate.commands import cli
from curate.model import Counts, Source
from tests.fuzz.conftest import write_tree

TABLES = [
    "acdc",
    "bdd100k",
    "citypersons",
    "cityscapes",
    "ecp",
    "idd",
    "kitti",
    "lost_and_found",
    "mapillary_vistas_v1.2",
    "mapillary_vistas_v2.0",
    "mtsd",
    "nuscenes",
    "searchad",
    "wilddash2",
]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_what_was_found_is_compared_with_what_is_published(curate: Run, tmp_path: Path) -> None:
    """The miniatures are far from complete; a figure that nobody published is not compared."""
    said = curate("import", "kitti", write_tree("kitti", tmp_path / "raw"), "-o", "kitti").stdout
    images = importing.import_source("kitti", tmp_path / "raw").table("images").num_rows
    assert f"  kitti: {images} images, published 14,999\n" in said
    assert "annotations, published" not in said
    said = curate("import", "ilias", write_tree("ilias", tmp_path / "ilias_raw"), "-o", "ilias").stdout
    objects = importing.import_source("ilias", tmp_path / "ilias_raw").table("instances").num_rows
    assert f" images, published 5,947\n  ilias: {objects} instances, published 1,000\n" in said
    recorded = json.loads((tmp_path / "ilias" / "dataset.json").read_text())["sources"]["ilias"]
    assert (recorded["found"]["instances"], recorded["published"]["instances"]) == (objects, 1000)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("kitti", "raw", "--root", "kitti=raw"),
            "--root kitti=raw: is for anns_pt and coco; leave it out",
        ),
        (("kitti", "raw", "--root", "kiti=x"), "--root kiti=x: is for anns_pt and coco"),
        (("coco", "a.json", "--root", "coco=nowhere"), "--root coco=nowhere: no such folder; expected the folder of"),
    ],
)
def test_a_root_that_helps_nobody(curate: Run, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    write_tree("kitti", tmp_path / "raw")
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert says in curate("import", *words, "-o", "out", code=2).stderr
    assert not (tmp_path / "out").exists()


def test_a_complete_import_says_no_difference(curate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree("kitti", tmp_path / "raw")
    found = importing.import_source("kitti", root).counts()
    module = sources.load("kitti")
    complete = Counts(images=found["images"], annotations=found["annotations"], instances=1)
    monkeypatch.setattr(module, "SOURCE", Source(**{**_fields(module.SOURCE), "published": complete}))
    said = _run("import", "kitti", str(root), "-o", str(tmp_path / "out")).output
    assert "images, published" not in said
    assert "annotations, published" not in said
    assert "kitti: 0 instances, published 1\n" in said


@pytest.mark.parametrize("name", importing.names())
def test_all_about_a_source(name: str) -> None:
    facts = importing.facts(name)
    said = " ".join(_run("sources", name).output.split())
    for fact in (facts.title, facts.homepage, facts.licence, facts.citation, facts.download, facts.tree):
        assert " ".join(fact.split()) in said
    offered = importing.offered_options(name)
    assert set(importing.option_texts(name)) == set(offered)
    for key, meaning in importing.option_texts(name).items():
        default = "no" if offered[key] is False else offered[key]
        assert (f"{key} (default {default}): {meaning}" if default else f"{key}: {meaning}") in said
    if facts.published:
        numbers = (facts.published.images, facts.published.annotations, facts.published.instances)
        assert all(f"{number:,}" in said for number in numbers if number is not None)
        assert "Published counts: (" not in said
        assert facts.published.note is None or facts.published.note in said


@pytest.mark.parametrize("table", TABLES)
def test_label_tables_are_the_published_ones(shared: Path, table: str) -> None:
    with (shared / "formats" / f"{table}_labels.csv").open(encoding="utf-8", newline="") as stream:
        assert sources.label_table(table) == list(csv.DictReader(stream))


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def _fields(source: Source) -> dict[str, object]:
    return {name: getattr(source, name) for name in source.__struct_fields__}
