"""``curate run`` as a person types it: what it prints and refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from curate.recipe import reading

Run = Callable[..., subprocess.CompletedProcess[str]]
RECIPE = """\
title: Bicycles
roots: {kitti: KITTI}
steps:
  - {name: kitti, command: import kitti, root: kitti}
  - {name: few, command: build subset, inputs: kitti, options: {class: [Cyclist], drop-empty: true}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    from curate.demo import layouts

    layouts.write(tmp_path / "raw", layouts.kitti(2, 0))
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path


def test_the_list(curate: Run) -> None:
    lines = curate("run", "--list").stdout.splitlines()
    assert lines[0].split() == ["recipe", "roots", "what"]
    assert [line.split()[0] for line in lines[1:]] == reading.names()
    assert "proxford     pixel_retrieval, revisitop  PROxford, the pixels of revisited Oxford" in "\n".join(lines)
    found = json.loads(curate("run", "--list", "--json").stdout)
    assert list(found["proxford"]["roots"]) == ["pixel_retrieval", "revisitop"]


def test_a_recipe_can_be_copied(curate: Run, tmp_path: Path) -> None:
    text = curate("run", "permir", "--show").stdout
    (tmp_path / "mine.yaml").write_text(text.replace("{checksums: true}", "{option: {gallery: all}}"))
    assert curate("run", "mine.yaml", "--show").stdout == (tmp_path / "mine.yaml").read_text()
    value = yaml.safe_load(text)  # plain YAML for everybody else, too
    assert json.loads(curate("run", "permir", "--show", "--json").stdout)["steps"][0]["name"] == "benchmark"
    assert value["steps"][0]["options"] == {"checksums": True}


def test_what_is_printed(curate: Run, here: Path) -> None:
    words = ("run", "mine.yaml", "--root", "kitti=raw", "-o", "made")
    assert curate(*words, "--dry-run").stdout.splitlines() == [
        "step   why           command",
        "kitti  not made yet  curate import kitti kitti --output=kitti",
        "few    not made yet  curate build subset kitti --class=Cyclist --drop-empty --output=few",
    ]
    first = curate(*words)
    assert first.stderr == ""
    lines = first.stdout.splitlines()
    assert lines[0].startswith("kitti  ran (not made yet): ")
    assert lines[1].startswith("few    ran (not made yet): ")
    assert lines[2:] == ["made: 2 steps ran, 0 passed over"]
    again = curate(*words).stdout
    assert again == first.stdout.replace("ran (not made yet)", "passed over").replace(
        "2 steps ran, 0", "0 steps ran, 2"
    )
    assert curate(*words, "-q").stdout == ""
    result = json.loads(curate(*words, "--json").stdout)
    assert result["output"] == "made"
    assert [step["outcome"] for step in result["steps"]] == ["passed over"] * 2
    assert result["steps"][0]["counts"]["images"] == 2
    assert "why" in curate(*words, "--dry-run").stdout
    assert "is made already" in curate(*words, "--dry-run").stdout


def test_a_dry_run_says_which_roots_are_missing(curate: Run, here: Path) -> None:
    assert curate("run", "mine.yaml", "--dry-run").stdout.splitlines()[1:] == [
        "kitti  not made yet  curate import kitti kitti --output=kitti",
        "few    not made yet  curate build subset kitti --class=Cyclist --drop-empty --output=few",
        "",
        "to run this:",
        "--root kitti=PATH: is missing; expected KITTI",
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "curate: curate run: was given no recipe; expected a file, or one of demo, "),
        (("--list", "--show"), "curate: --list, --show: were given together; expected one of them; "),
        (
            ("--list", "instre-xs"),
            "curate: --list: was given together with a recipe; expected it alone; for ",
        ),
        (("--list", "--dry-run", "--root", "a=b"), "curate: --list: was given together with --dry-run, --root; "),
        (("mine.yaml",), "curate: --output: is missing; expected -o and a folder to write into, or --dry-run"),
        (("instre-x", "-o", "made"), "did you mean 'instre-xs'?"),
        (("mine.yaml", "-o", "made"), "curate: --root kitti=PATH: is missing; expected KITTI"),
        (("mine.yaml", "-o", "made", "--root", "kitti"), "curate: --root kitti: has no name or no value"),
        (
            ("mine.yaml", "-o", "mine.yaml", "--root", "kitti=raw"),
            "curate: mine.yaml: is no folder; name another place",
        ),
        (("broken.yaml", "-o", "made", "--root", "kitti=raw"), "curate: broken.yaml:4: 'comand' is unknown here; "),
    ],
)
def test_wrong_usage(curate: Run, here: Path, words: tuple[str, ...], line: str) -> None:
    (here / "broken.yaml").write_text(RECIPE.replace("command: import", "comand: import"))
    done = curate("run", *words, code=2)
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (here / "made").exists()


def test_a_step_that_fails(curate: Run, here: Path) -> None:
    (here / "raw/training/label_2/000001.txt").write_text("Car 0\n")
    done = curate("run", "mine.yaml", "--root", "kitti=raw", "-o", "made", code=1)
    lines = done.stderr.splitlines()
    assert lines[0].startswith(
        "curate: step kitti: failed: curate import kitti kitti --output=kitti; what was made stays"
    )
    assert any("000001.txt:1" in line for line in lines[1:])
    (here / "raw/training/label_2/000001.txt").write_text("")
    curate("run", "mine.yaml", "--root", "kitti=raw", "-o", "made")
