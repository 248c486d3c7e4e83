"""Every source, with one file of its download otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from curate.dataset import Dataset
from curate.importing import import_source
from tests.fuzz.conftest import SOURCES, fuzz, mutated, write_tree

NAMES = sorted(folder.parent.name for folder in SOURCES.glob("*/tree.py") if folder.parent.name != "toy")


@pytest.mark.parametrize("name", NAMES)
def test_any_file_of_a_download(name: str, tmp_path: Path) -> None:
    root = write_tree(name, tmp_path / "raw")
    files = sorted(file for file in root.rglob("*") if file.is_file() and file.stat().st_size)
    held = {file: file.read_bytes() for file in files}
    kinds = {file.suffix: [other for other in files if other.suffix == file.suffix] for file in files}

    def read(drawn: tuple[Path, bytes]) -> None:
        file, data = drawn
        file.write_bytes(data)
        try:
            assert isinstance(import_source(name, root, skip_bad=len(data) % 2 == 0), Dataset)
        finally:
            file.write_bytes(held[file])

    def near(file: Path) -> st.SearchStrategy[Any]:
        return st.tuples(st.just(file), mutated([held[file]]))

    # Kinds of file by turns, so that many pictures do not hide the one table.
    file = st.sampled_from(sorted(kinds)).flatmap(lambda kind: st.sampled_from(kinds[kind]))
    assert fuzz(read, file.flatmap(near)) > 5
