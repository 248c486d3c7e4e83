"""One dataset of all sources: what each import gives fits together, joins by id and passes ``verify``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate import sources, store
from curate.build.upkeep import without_queries
from curate.dataset import Dataset
from curate.importing import import_source
from curate.verify import verify

Run = Callable[..., subprocess.CompletedProcess[str]]
NAMES = sources.names()


def sound(dataset: Dataset) -> Dataset:
    """Without the images in which ``verify`` finds an error: trees hold broken files, so that they are noticed.

    And without those of other sources that SearchAD names, where its tree has no folder for them.
    """
    roots = {name: root for name, root in dataset.info.roots.items() if Path(root).is_dir()}
    images = dataset.table("images")
    dataset = dataset.select_images(images["id"].filter(pc.is_in(images["source"], value_set=pa.array(roots))))
    # Q04: the counts that an import declares are those before the selection.
    while bad := [one for one in verify(dataset, name="x", skip=["Q04"]).findings if one.severity == "error"]:
        rows = {re.split(r"row ([^ ,]+)", finding.where)[1] for finding in bad}
        ids, queries = dataset.table("images")["id"], dataset.table("queries")["id"]
        images = pc.is_in(ids, value_set=pa.array(sorted({row.split("#")[0] for row in rows})))
        left = without_queries(dataset, queries.filter(pc.is_in(queries, value_set=pa.array(sorted(rows)))))
        left = left.select_images(ids.filter(pc.invert(images)))
        assert left.counts() != dataset.counts(), bad
        dataset = left
    return dataset


@pytest.fixture
def imported(tree: Callable[..., Path], tmp_path: Path) -> list[str]:
    """A dataset folder of each source, named as the source, in the temporary folder; without broken files in sound/."""
    (tmp_path / "sound").mkdir()
    for name in NAMES:
        dataset = import_source(name, tree(name), skip_bad=True)
        store.write(dataset, tmp_path / name)
        store.write(sound(dataset), tmp_path / "sound" / name)
    return list(NAMES)


def test_a_merge_of_all_sources_verifies_without_errors(imported: list[str], curate: Run, tmp_path: Path) -> None:
    tmp_path = tmp_path / "sound"
    curate("merge", *imported, "-o", "all", cwd=tmp_path)
    curate("verify", "all", cwd=tmp_path)  # which exits with 1 at an error
    union = store.read(tmp_path / "all")
    for name in imported:
        part = store.read(tmp_path / name)
        for table in ("images", "annotations", "queries", "instances"):
            assert set(part.table(table)["id"].to_pylist()) <= set(union.table(table)["id"].to_pylist()), name
    curate("merge", *reversed(imported), "-o", "turned", cwd=tmp_path)
    assert store.read_manifest(tmp_path / "turned").fingerprint == store.read_manifest(tmp_path / "all").fingerprint


def test_searchad_joins_the_images_of_its_sources(imported: list[str], tmp_path: Path) -> None:
    searchad = store.read(tmp_path / "searchad")
    searched = searchad.table("images").select(["id", "source"]).to_pylist()
    joined = 0
    for name in imported:
        own = set(store.read(tmp_path / name).table("images")["id"].to_pylist())
        shared = {row["id"] for row in searched if row["source"] == name} & own
        if name == "searchad" or not shared:
            continue
        union = store.read(tmp_path / name).merge(searchad)
        assert union.table("images").num_rows == len(own | {row["id"] for row in searched})
        both = {row["image_id"] for row in union.table("annotations").to_pylist() if row["image_id"] in shared}
        joined += len(both)
    assert joined
