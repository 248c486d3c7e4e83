"""Folders that exports write: only what an export made is ever replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.export import ilias, searchad
from curate.export._folder import MARK, export_folder
from curate.importing import import_source
from curate.model import Info

Tree = Callable[[str], Path]


@pytest.fixture
def dataset() -> Dataset:
    return from_records(Info(name="d"), [])


def test_the_mark_says_what_it_is(dataset: Dataset, tmp_path: Path) -> None:
    with export_folder(tmp_path / "out", "lists", dataset, overwrite=False) as folder:
        (folder / "b").mkdir()
        (folder / "b/c.txt").write_text("c")
        (folder / "a.txt").write_text("a")
    assert json.loads((tmp_path / "out" / MARK).read_text()) == {
        "format": "lists",
        "dataset": "d",
        "fingerprint": dataset.fingerprint(),
        "files": ["a.txt", "b/c.txt"],
    }


def test_only_an_export_is_replaced(dataset: Dataset, tmp_path: Path) -> None:
    def write() -> None:
        with export_folder(tmp_path / "out", "lists", dataset, overwrite=True) as folder:
            (folder / "a.txt").write_text("a")

    write()
    write()
    for name in ("mine.txt", "b/mine.txt", "link"):
        file = tmp_path / "out" / name
        file.parent.mkdir(exist_ok=True)
        file.symlink_to("nowhere") if name == "link" else file.write_text("mine")
        with pytest.raises(UsageError, match="is no output of this command"):
            write()
        assert file.is_symlink() or file.read_text() == "mine"
        file.unlink()
    (tmp_path / "out" / MARK).write_text("[]")
    with pytest.raises(UsageError, match="is no output of this command"):
        write()
    shutil.rmtree(tmp_path / "out")
    write()


@pytest.mark.parametrize("exporter", [searchad, ilias])
def test_a_download_is_never_taken_for_an_export(tree: Tree, exporter: object) -> None:
    name = str(exporter.__name__.rpartition(".")[2])  # type: ignore[attr-defined]
    raw = tree(name)
    before = sorted(raw.rglob("*"))
    with pytest.raises(UsageError, match="is no output of this command"):
        exporter.write(import_source(name, raw), raw, overwrite=True)  # type: ignore[attr-defined]
    assert sorted(raw.rglob("*")) == before
