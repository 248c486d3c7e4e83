"""Every recipe of the package, on a small raw download: sound, read back equal, the same bytes with any workers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml

from curate import engine, store
from curate.commands.run import RecipeCommands
from curate.dataset import Dataset
from curate.export import anns_pt
from curate.importing import import_source
from curate.recipe import reading
from curate.relevance import relevance
from tests.recipe.conftest import DOWNLOADS, Run, bytes_of

# What is worth a note, and no fault, in the small downloads.
NOTES = {
    "demo": {"R10"},  # classes that the taxonomy or the source has and no image shows
    "ilias": {"B10"},  # boxes as large as their image, or a pixel large
    "instre-xs": {"R03", "R10"},  # the subset has neither S2 nor M, nor most objects
    "instre-xxs": {"R03", "R10"},
    "permir": {"Q03", "R10"},  # queries and gallery are frames of the same videos, as published
    "proxford": {"R08"},  # images without an outline
    "prparis": {"R08"},
    "searchad": {"B10", "R10"},
    "voxdet-soir": set(),
}


class Made(NamedTuple):
    """A recipe's raw downloads by name, and what it made of them."""

    recipe: str
    roots: dict[str, Path]
    folder: Path

    @property
    def benchmark(self) -> Dataset:
        return store.read(self.folder / "benchmark")


@pytest.fixture(params=DOWNLOADS)
def made(request: pytest.FixtureRequest, tmp_path: Path, run: Run) -> Made:
    return make(request.param, tmp_path, run)


def make(name: str, folder: Path, run: Run) -> Made:
    (folder / "raw").mkdir()
    roots = DOWNLOADS[name](folder / "raw")
    result = run(name, "-o", folder / "made", **roots)
    assert {step["outcome"] for step in result["steps"]} == {"ran"}
    return Made(name, roots, folder / "made")


def test_there_is_a_download_for_every_recipe() -> None:
    assert sorted(DOWNLOADS) == reading.names()


def test_it_is_sound_stays_and_hangs_on_no_workers(
    made: Made, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = sorted(made.folder.glob("*verified.json"))
    assert reports
    for file in reports:
        report = json.loads(file.read_bytes())
        found = {one["code"] for one in report["findings"]}
        assert [one for one in report["findings"] if one["severity"] != "info"] == [], file
        assert found == (NOTES[made.recipe] if file.name.startswith("benchmark") else set()), file

    for schema, value in (
        ("run", json.loads((made.folder / "run.json").read_bytes())),
        ("recipe", yaml.safe_load(reading.read(made.recipe, RecipeCommands()).text)),
    ):
        jsonschema.validate(
            value, json.loads(resources.files("curate").joinpath(f"schemas/{schema}.json").read_bytes())
        )

    before = bytes_of(made.folder)
    result = run(made.recipe, "-o", made.folder, **made.roots)
    assert {step["outcome"] for step in result["steps"]} == {"passed over"}
    assert bytes_of(made.folder) == before

    # So small a download is one slice of work; in slices of two images it is spread over workers.
    monkeypatch.setitem(engine.map_chunks.__kwdefaults__, "chunk", 2)
    workers, start = [], engine._workers
    monkeypatch.setattr(engine, "_workers", lambda work, count: workers.append(count) or start(work, count))
    run(made.recipe, "-o", tmp_path / "elsewhere", "-j", "2", **made.roots)
    assert 2 in workers
    again = bytes_of(tmp_path / "elsewhere")
    assert [name for name in again if again[name] != before.get(name)] == []
    assert again.keys() == before.keys()


def pictures(raw: Path, exported: Path) -> None:
    """Lay the pictures of a download beside what was exported of it."""
    for file in sorted(raw.rglob("*")):
        if file.suffix in (".jpg", ".png"):
            target = exported / file.relative_to(raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def test_searchad_is_read_back_equal(tmp_path: Path, run: Run) -> None:
    made = make("searchad", tmp_path, run)
    pictures(made.roots["searchad"], made.folder / "searchad")
    again = import_source("searchad", made.folder / "searchad")
    assert again.fingerprints() == made.benchmark.fingerprints()
    assert made.benchmark.table("support").num_rows == 6
    lists = made.folder / "searchad/searchad_val_image_level_annotations_min_box_50.json"
    assert set(json.loads(lists.read_bytes())) == {"Animal-Real-Dog", "Scene-Fog", "Vehicle-Duty-Police"}


def test_searchad_s_lists_are_the_devkit_s(shared: Path, tmp_path: Path, run: Run) -> None:
    golden = shared / "golden/searchad/case_basic"
    run("searchad", "-o", tmp_path / "made", searchad=golden / "input")
    expected = sorted(path.name for path in (golden / "expected").glob("searchad_val_image_level_*"))
    assert len(expected) == 2
    for name in expected:
        assert (tmp_path / "made/searchad" / name).read_bytes() == (golden / "expected" / name).read_bytes()


def test_ilias_is_read_back_equal(tmp_path: Path, run: Run) -> None:
    made = make("ilias", tmp_path, run)
    again = import_source("ilias", made.folder / "ilias", checksums=True)
    assert again.fingerprints() == made.benchmark.fingerprints()
    assert made.benchmark.table("queries").num_rows == 9


@pytest.mark.parametrize(("recipe", "part"), [("proxford", "roxford5k"), ("prparis", "rparis6k")])
def test_pixel_retrieval_is_read_back_equal(recipe: str, part: str, tmp_path: Path, run: Run) -> None:
    made = make(recipe, tmp_path, run)
    for folder in ("pixel_retrieval/revisitop/data", "revisitop"):
        pictures(made.roots["revisitop"] / part, made.folder / folder / part)
    first = import_source("revisitop", made.folder / "revisitop", checksums=True)
    again = first.merge(import_source("pixel_retrieval", made.folder / "pixel_retrieval"))
    assert again.fingerprints() == made.benchmark.fingerprints()
    pairs = relevance(made.benchmark).to_pylist()
    positive = [one for one in pairs if one["label"] in ("easy", "hard")]
    assert positive and all(one["annotation_id"] for one in positive)  # each with its mask


@pytest.mark.parametrize("recipe", ["instre-xs", "instre-xxs", "permir", "voxdet-soir"])
def test_anns_pt_is_read_back_equal(recipe: str, tmp_path: Path, run: Run) -> None:
    """Every query and every box with its image and instance; and the file that is read gives itself again."""
    made = make(recipe, tmp_path, run)
    again = import_source("anns_pt", made.folder / "anns.pt")
    benchmark = made.benchmark
    assert asked(again) == asked(benchmark)
    assert shown(again) == shown(benchmark)
    assert asked(again) and shown(again)
    anns_pt.write(again, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (made.folder / "anns.pt").read_bytes()


def key(id: str) -> str:
    """An image's path at its source, whatever curate calls the source."""
    return id.partition("/")[2].removeprefix("frames/")


def asked(dataset: Dataset) -> list[Any]:
    rows = dataset.table("queries").to_pylist()
    boxes = {one["id"]: one for one in dataset.table("annotations").to_pylist()}
    found = []
    for one in rows:
        box = one if one["x"] is not None else boxes[one["annotation_id"]]
        found.append((key(one["image_id"]), *(box[side] for side in "xywh")))
    return sorted(found)


def shown(dataset: Dataset) -> list[Any]:
    gallery = {one["image_id"] for one in dataset.table("members").to_pylist() if one["role"] == "gallery"}
    rows = [one for one in dataset.table("annotations").to_pylist() if one["image_id"] in gallery and one["instance"]]
    return sorted((key(one["image_id"]), *(one[side] for side in "xywh"), one["area"] or 0) for one in rows)


def test_a_release_of_the_demo_verifies_and_is_the_same_anywhere(
    tmp_path: Path, run: Run, curate: Callable[..., Any]
) -> None:
    (tmp_path / "here").mkdir()
    made = make("demo", tmp_path / "here", run)
    shutil.copytree(tmp_path / "here/raw", tmp_path / "there/raw")
    roots = {name: tmp_path / "there/raw" / name for name in made.roots}
    run("demo", "-o", tmp_path / "there/made", **roots)
    first, second = (bytes_of(tmp_path / name / "made/release") for name in ("here", "there"))
    assert [name for name in first if first[name] != second.get(name)] == []
    assert first.keys() == second.keys()
    assert first["recipe.yaml"].decode() == reading.read("demo", RecipeCommands()).text
    (tmp_path / "here/made/release").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "here")
    curate("verify", "moved", cwd=tmp_path)
    assert not any(str(tmp_path).encode() in content for content in first.values())
