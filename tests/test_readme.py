"""The README is true: every verb is in it, and its tour, command by command, is run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from curate import importing
from curate.commands import VERBS
from curate.model import TABLES

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[list[str]]:
    return [
        words for block in blocks("sh") for line in block.splitlines() if (words := shlex.split(line, comments=True))
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_table_and_in_an_example(verb: str) -> None:
    assert re.search(rf"^\| `curate {verb}[ `]", README, re.MULTILINE)
    assert verb == "demo" or f"curate {verb} " in "\n".join([*blocks("sh"), README.partition("## Verbs")[0]])


@pytest.mark.parametrize("name", ["kitti", "cityscapes", "voxdet", "coco", "anns_pt"])
def test_the_sources_named_are_there(name: str) -> None:
    assert name in importing.names()
    assert f"| `{name}` |" in README


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_explained(name: str) -> None:
    assert re.search(rf"^\| (`\w+`, )?`{name}`", README, re.MULTILINE)


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    reasons = README.partition("## Built on")[2].partition("\n## ")[0].lower()
    for line in project["dependencies"]:
        name = re.split(r"[^A-Za-z0-9_-]", line)[0]
        assert f"[{name.removesuffix('2') if name == 'jinja2' else name}]" in reasons, name


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)", README + (REPOSITORY / "CONTRIBUTING.md").read_text()))
    assert {"demo", "test", "lint", "bench"} <= named | {"bench"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (REPOSITORY / page).read_text(encoding="utf-8")):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tour works in, after the tour: every command of the README has been run in it."""
    folder = tmp_path_factory.mktemp("checkout")
    ran = [run(folder, ["curate", "demo", "-o", "demo"])]  # what 'make demo' does in the environment that it makes
    for words in shell_lines():
        if words[0] == "make" or words[0] == ".":
            continue
        if words[0] == "mkdir":
            folder = folder / words[1]
            folder.mkdir()
        elif words[0] == "cd":
            assert folder.name == words[1]
        else:
            ran.append(run(folder, words))
    assert len(ran) > 12
    return folder


def run(folder: Path, words: list[str]) -> str:
    assert words[0] == "curate", f"what is {words[0]!r}?"
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_tour_works(tour: Path) -> None:
    made = {path.name for path in tour.iterdir()}
    assert made >= {"kitti", "all", "small", "benchmark", "benchmark.json", "anns.pt", "benchmark.html", "cyclists.png"}


def test_the_python_example_works(tour: Path) -> None:
    (script,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", script], cwd=tour, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Car" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("no errors")
