"""Every exporter: the same bytes for a dataset as it was made and as it is read back from its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate import export, store
from curate.dataset import Dataset
from curate.errors import CurateError
from curate.importing import import_source

WRITTEN = {
    "cityscapes": {"coco", "croissant", "labelstudio", "lists", "parquet"},
    "ilias": {"coco", "croissant", "ilias", "labelstudio", "lists", "parquet"},
    "pixel_retrieval": {"coco", "croissant", "labelstudio", "lists", "parquet", "pixel_retrieval"},
    "revisitop": {"coco", "croissant", "labelstudio", "lists", "parquet", "revisitop"},
    "searchad": {"coco", "croissant", "labelstudio", "lists", "parquet", "searchad"},
    "voxdet": {"anns_pt", "coco", "croissant", "labelstudio", "lists", "parquet"},
}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_made_and_read_back(tree: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """Arrow remembers of a column where it came from: what its lists are called, which words it had."""
    made = import_source(name, tree(name))
    store.write(made, tmp_path / "dataset")

    def written(dataset: Dataset, folder: str) -> dict[str, bytes]:
        for form in export.names():
            try:
                export.load(form).write(dataset, tmp_path / folder / form)
            except CurateError:
                continue
        files = (tmp_path / folder).rglob("*")
        return {file.relative_to(tmp_path / folder).as_posix(): file.read_bytes() for file in files if file.is_file()}

    first = written(made, "one")
    assert {file.split("/")[0] for file in first} >= WRITTEN[name] - {"lists"}
    second = written(store.read(tmp_path / "dataset"), "other")
    assert [file for file in first | second if first.get(file) != second.get(file)] == []
