"""Trees of the sources, as ``tests/sources`` has them: exporters are proved by importing what they wrote."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parent.parent / "sources"


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    """Write the tree of a source below the temporary folder and give its root: ``tree("revisitop")``."""

    def write(name: str) -> Path:
        spec = importlib.util.spec_from_file_location(f"exported_tree_of_{name}", SOURCES / name / "tree.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        root = tmp_path / f"raw_{name}"
        root.mkdir()
        module.write(root)
        return root

    return write
