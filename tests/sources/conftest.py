"""Trees of the sources, written by ``tests/sources/<name>/tree.py`` in each source's own layout."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Write the tree of a source below the temporary folder and give its root: ``tree("kitti")``."""

    def write(name: str, folder: str = "") -> Path:
        spec = importlib.util.spec_from_file_location(f"tree_of_{name}", HERE / name / "tree.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        root = tmp_path / (folder or f"raw_{name}")
        root.mkdir()
        module.write(root)
        return root

    return write
