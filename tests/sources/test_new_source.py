"""A new source is one module, one label table and one tree: nothing else in the project has to know of it.

The three files of ``tests/sources/toy`` are put into a copy of the project where a source's files belong. No file that
was there is touched, and yet the commands and the contract test know it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    passed_over = shutil.ignore_patterns("__pycache__", "*.pt")
    shutil.copytree(REPOSITORY / "curate", copy / "curate", ignore=passed_over)
    shutil.copytree(REPOSITORY / "tests" / "sources", copy / "tests" / "sources", ignore=passed_over)
    shutil.rmtree(copy / "tests" / "sources" / "toy")
    (copy / "tests" / "sources" / "toy").mkdir()
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copyfile(REPOSITORY / name, copy / name)
    for file, folder in (("toy.py", "curate/sources"), ("toy.csv", "curate/sources"), ("tree.py", "tests/sources/toy")):
        assert not (copy / folder / file).exists()
        shutil.copyfile(TOY / file, copy / folder / file)
    return copy


def run(project: Path, *arguments: object) -> str:
    # -P and PYTHONPATH: the copy is imported, wherever the project itself is installed.
    command = [sys.executable, "-P", "-m", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_contract_is_asked_of_it(project: Path) -> None:
    said = run(project, "pytest", "-q", "-p", "no:cacheprovider", "-k", "toy", "tests/sources/test_contract.py")
    assert " passed" in said
    assert "skipped" not in said


def test_the_commands_know_it(project: Path, tmp_path: Path) -> None:
    tree, dataset = tmp_path / "tree", tmp_path / "toys"
    subprocess.run([sys.executable, str(TOY / "tree.py"), str(tree)], check=True)
    assert "toy" in json.loads(run(project, "curate", "sources", "--json"))
    assert "https://example.org/toy" in run(project, "curate", "sources", "toy")
    run(project, "curate", "import", "toy", tree, "-o", dataset)
    counts = json.loads(run(project, "curate", "info", dataset, "--json"))["counts"]
    assert (counts["images"], counts["annotations"]) == (3, 2)
    run(project, "curate", "verify", dataset)
