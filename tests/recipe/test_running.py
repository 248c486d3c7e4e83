"""Doing a recipe: what is passed over, what is done again and why, and what happens to a run that ends early."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.errors import CurateError, SchemaError, UsageError
from curate.recipe import marks, running
from tests.recipe.conftest import Run, bytes_of, tree

RECIPE = """\
title: Small things
roots:
  instre: INSTRE
steps:
  - {name: all, command: import instre, root: instre}
  - name: small
    command: build subset
    inputs: all
    options: {size: "<0.5"}
  - {name: other, command: build subset, inputs: all, options: {split: S1}}
  - {name: small.json, command: export coco, inputs: small}
  - {name: check.json, command: verify, inputs: small.json}
"""
ALL = ["all", "small", "other", "small.json", "check.json"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe and its download in the current folder."""
    (tmp_path / "raw").mkdir()
    tree("instre").write(tmp_path / "raw")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(marks, "of_code", lambda: "1.0 abc")  # also while somebody works on the code
    return tmp_path


@pytest.fixture
def again(here: Path, run: Run) -> Callable[..., dict[str, str | None]]:
    """Run the recipe into ``made``; gives the steps that ran, or in a dry run would, each with its reason."""

    def call(*arguments: object, recipe: str = "mine.yaml") -> dict[str, str | None]:
        result = run(recipe, "-o", "made", *arguments, instre=Path("raw"))
        would = {"ran", "would run"}
        return {step["name"]: step["reason"] for step in result["steps"] if step["outcome"] in would}

    return call


Again = Callable[..., dict[str, str | None]]


def change(recipe: Path, old: str, new: str) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))


def test_a_dry_run_says_what_a_run_does(here: Path, again: Again, run: Run) -> None:
    for dry in (["--dry-run"], []):
        assert again(*dry) == dict.fromkeys(ALL, "not made yet")
        assert (here / "made").exists() is not bool(dry)
    assert again("--dry-run") == {} == again()
    change(here / "mine.yaml", "<0.5", "<0.4")
    expected = {
        "small": "its command or options changed",
        "small.json": "the input small changed",
        "check.json": "the input small.json changed",
    }
    before = bytes_of(here / "made")
    assert again("--dry-run") == expected
    assert bytes_of(here / "made") == before
    assert again() == expected
    assert again() == {}
    result = run("mine.yaml", "--dry-run", instre=here / "raw")  # no folder, nothing there
    assert [step["outcome"] for step in result["steps"]] == ["would run"] * 5
    assert result["steps"][1]["command"] == "curate build subset all '--size=<0.5' --output=small".replace("5", "4")


def test_a_run_is_what_the_commands_do_by_hand(here: Path, again: Again, curate: Callable[..., Any]) -> None:
    again()
    (here / "by_hand").mkdir()
    record = json.loads((here / "made/run.json").read_bytes())
    assert list(record["steps"]) == ALL
    for step in record["steps"].values():
        words = ["../raw" if word == "instre" and i == 3 else word for i, word in enumerate(_words(step["command"]))]
        curate(*words[1:], cwd=here / "by_hand")
    for name in ("all", "small", "other"):
        made, by_hand = (store.read_manifest(here / folder / name) for folder in ("made", "by_hand"))
        assert made.fingerprint == by_hand.fingerprint
        assert made.command == by_hand.command
    for name in ("small.json", "check.json"):
        assert (here / "made" / name).read_bytes() == (here / "by_hand" / name).read_bytes()


def _words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)


def test_what_changes_is_done_again_and_what_follows(here: Path, again: Again) -> None:
    again()
    box = here / "raw/INSTRE-S1/02a_wierd_fish/001.txt"
    box.write_text("3 3 4 3\n")
    assert again() == {
        "all": "the root instre changed",
        "small": "the input all changed",
        "other": "the input all changed",
        "small.json": "the input small changed",
        "check.json": "the input small.json changed",
    }
    assert 4.0 in store.read(here / "made/small").table("annotations")["w"].to_pylist()
    parent = store.read_manifest(here / "made/small").info.parents[0]
    assert parent.fingerprint == store.read_manifest(here / "made/all").fingerprint
    # Another place is another root: the dataset names its folder.
    (here / "raw").rename(here / "moved")
    (here / "raw").symlink_to("moved")
    assert again() == {}
    change(here / "mine.yaml", "  - {name: other, command: build subset, inputs: all, options: {split: S1}}\n", "")
    assert again() == {}
    assert (here / "made/other").exists()  # what a step has made that is no more stays
    change(here / "mine.yaml", "name: check.json,", "name: checked.json,")
    assert again() == {"checked.json": "not made yet"}


def test_another_curate_does_all_again(again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    again()
    monkeypatch.setattr(marks, "of_code", lambda: "9.9 abc")
    assert again("--dry-run")["all"] == "curate changed"
    assert set(again()) == set(ALL)


def test_an_output_that_is_gone_or_was_changed_is_made_again(here: Path, again: Again) -> None:
    again()
    before = bytes_of(here / "made")
    shutil.rmtree(here / "made/small")
    (here / "made/small.json").write_text("{}")
    (here / "made/other/extra").touch()
    assert again() == {
        "small": "small is gone",
        "other": "other was changed since",
        "small.json": "small.json was changed since",
    }
    assert bytes_of(here / "made") == before


def test_files_beside_a_recipe_and_further_outputs(here: Path, again: Again) -> None:
    table = "class\tsupercategory\tsource\tsource_label\trelation\tcondition\tnote\n"
    rows = [f"{name}\tthing\tinstre\tINSTRE-S1/02a_wierd_fish\texact\t\t\n" for name in ("fish", "carp")]
    (here / "mine.tsv").write_text(table + rows[0])
    step = "  - {name: own, command: relabel, inputs: all, options: {taxonomy: mine.tsv, report: own.json}}\n"
    step += "  - {name: own-check.json, command: verify, inputs: own, options: {html: own.html}}\n"
    (here / "mine.yaml").write_text(RECIPE + step)
    assert list(again())[-2:] == ["own", "own-check.json"]
    assert "fish" in store.read(here / "made/own").table("categories")["name"].to_pylist()
    assert {"own.json", "own.html"} <= {path.name for path in (here / "made").iterdir()}
    (here / "mine.tsv").write_text(table + rows[1])
    assert again() == {"own": "the file mine.tsv changed", "own-check.json": "the input own changed"}
    (here / "made/own.html").unlink()
    assert again() == {"own-check.json": "own.html is gone"}
    assert again() == {}


def test_a_hidden_test_and_its_key(here: Path, again: Again) -> None:
    step = "  - {name: public, command: build hidden, inputs: all, options: {split: M, key: secret}}\n"
    step += "  - {name: key.json, command: export coco, inputs: secret}\n"
    (here / "mine.yaml").write_text(RECIPE + step)
    assert list(again())[-2:] == ["public", "key.json"]
    assert store.read(here / "made/secret").table("annotations").num_rows == 6
    assert store.read(here / "made/public").table("annotations").num_rows == 10
    assert again() == {}


# Errors


def test_a_step_that_fails_leaves_the_others(here: Path, again: Again) -> None:
    change(here / "mine.yaml", "<0.5", "<0.0000001")
    change(here / "mine.yaml", "command: export coco, inputs: small", "command: export revisitop, inputs: small")
    with pytest.raises(CurateError) as caught:
        again()
    first, second = caught.value.lines
    assert first.startswith("step small.json: failed: curate export revisitop small --output=small.json; what was made")
    assert second.startswith("instre: has no query with an image; expected image or box queries; make some with")
    assert caught.value.exit_code == SchemaError.exit_code
    assert sorted(path.name for path in (here / "made").iterdir()) == ["all", "other", "run.json", "small"]
    (here / "mine.yaml").write_text(RECIPE.replace("<0.5", "<0.0000001"))
    assert again() == {"small.json": "its command or options changed", "check.json": "not made yet"}


def test_a_check_that_finds_errors_fails(here: Path, again: Again) -> None:
    head = RECIPE.partition("  - name: small")[0]
    (here / "mine.yaml").write_text(head + "  - {name: whole.json, command: verify, inputs: all}\n")
    (here / "raw/INSTRE-S1/01a_canada_book/002.txt").write_text("0 0 40 40\n100 100 5 6\n")
    with pytest.raises(CurateError) as caught:
        again()
    first, *found = caught.value.lines
    assert first.startswith(
        "step whole.json: failed: curate verify all --report=whole.json; what was made stays in made"
    )
    assert any("B0" in line for line in found)
    assert json.loads((here / "made/whole.json").read_bytes())["findings"]
    with pytest.raises(CurateError):
        again()  # it is not passed over
    (here / "raw/INSTRE-S1/01a_canada_book/002.txt").write_text("0 0 4 4\n")
    again()


@pytest.mark.parametrize("name", ["small.json", "all"])
def test_a_place_that_is_taken(here: Path, again: Again, name: str) -> None:
    (here / "mine.yaml").write_text(RECIPE.partition("  - name: small")[0])
    again()
    (here / "mine.yaml").write_text(RECIPE.replace("name: all", "name: first").replace("inputs: all", "inputs: first"))
    (here / "made/small.json").write_text("mine")
    (here / "made/first").symlink_to("nowhere")
    before = bytes_of(here / "made")
    for dry in (["--dry-run"], []):
        with pytest.raises(UsageError) as caught:
            again(*dry)
        assert caught.value.lines == [
            f"made/{taken}: already exists, and was not made by step {taken}; move it away, or name another folder"
            for taken in ("first", "small.json")
        ]
    assert bytes_of(here / "made") == before


def test_a_folder_of_something_else(here: Path, again: Again, run: Run) -> None:
    (here / "made").mkdir()
    (here / "made/notes").touch()
    with pytest.raises(UsageError, match=r"made: already exists and holds no run\.json"):
        again()
    assert [path.name for path in (here / "made").iterdir()] == ["notes"]
    (here / "made/notes").unlink()
    assert list(again()) == ALL
    shutil.copy(here / "mine.yaml", here / "yours.yaml")
    with pytest.raises(UsageError, match="made: holds what the recipe mine makes; expected that of yours"):
        again(recipe="yours.yaml")
    (here / "copy").mkdir()
    shutil.copy(here / "mine.yaml", here / "copy")
    assert again(recipe="copy/mine.yaml") == {}
    (here / "made/run.json").write_text('{"report": 1}')
    with pytest.raises(UsageError, match=r"made/run.json: is damaged: .* expected what 'curate run' wrote there"):
        again()
    (here / "file").touch()
    with pytest.raises(UsageError, match="file: is no folder"):
        run("mine.yaml", "-o", "file", instre=here / "raw")


def test_a_folder_in_a_root(here: Path, run: Run) -> None:
    for place in ("raw", "raw/made"):
        with pytest.raises(UsageError, match=r"lies in the root instre, .*raw; name a folder outside"):
            run("mine.yaml", "-o", place, instre=here / "raw")
    assert not (here / "raw/made").exists()


def test_roots_that_are_missing(here: Path, run: Run) -> None:
    with pytest.raises(UsageError) as caught:
        run("mine.yaml", "-o", "made", intre=here / "raw")
    assert caught.value.lines == [
        "--root intre: mine has no such root; expected instre; did you mean 'instre'?",
        "--root instre=PATH: is missing; expected INSTRE",
    ]
    with pytest.raises(UsageError, match="--root instre=absent: is not there; expected INSTRE"):
        run("mine.yaml", "-o", "made", instre=Path("absent"))
    assert not (here / "made").exists()


def test_a_dry_run_without_its_roots(here: Path, again: Again, run: Run) -> None:
    missing = {"instre": "INSTRE"}
    for given in ({}, {"instre": Path("absent")}):
        result = run("mine.yaml", "--dry-run", **given)
        assert result["roots_missing"] == missing
        assert [(one["name"], one["outcome"], one["reason"]) for one in result["steps"]] == [
            (name, "would run", "not made yet") for name in ALL
        ]
        assert result["steps"][0]["command"] == "curate import instre instre --output=all"
    with pytest.raises(UsageError, match="--root intre: mine has no such root"):
        run("mine.yaml", "--dry-run", intre=here / "raw")
    again()
    result = run("mine.yaml", "-o", "made", "--dry-run")
    assert [(one["outcome"], one["reason"]) for one in result["steps"]][:2] == [
        ("may run", "cannot be told without the root instre"),
        ("may run", "cannot be told without the input all"),
    ]
    assert "roots_missing" not in run("mine.yaml", "-o", "made", "--dry-run", instre=here / "raw")


def test_two_runs_at_once(here: Path, again: Again, run: Run) -> None:
    (here / "made").mkdir()
    with running._alone(here / "made"), pytest.raises(UsageError, match="another run works in this folder"):
        again()
    assert list(again()) == ALL


# Killed

KILLED = """
import os, sys
from curate.commands.run import RecipeCommands
from curate.recipe import marks, reading, running
moment, stage = int(sys.argv[1]), sys.argv[2]
call, count = RecipeCommands.call, 0
def dying(self, words):
    global count
    count += 1
    if count == moment and stage == "before":
        os.kill(os.getpid(), 9)
    if count == moment and stage == "within":
        write = os.fsync
        os.fsync = lambda handle: os.kill(os.getpid(), 9)
    result = call(self, words)
    if count == moment:
        os.kill(os.getpid(), 9)
    return result
RecipeCommands.call = dying
marks.of_code = lambda: "1.0 abc"
commands = RecipeCommands()
plan = reading.read("mine.yaml", commands)
running.run(plan, running.check_roots(plan, {"instre": "raw"}), running.Path("made"), commands)
"""


@pytest.mark.parametrize("stage", ["before", "within", "after"])
@pytest.mark.parametrize("moment", [1, 2, 4, 5])
def test_a_run_that_is_killed_goes_on(here: Path, again: Again, moment: int, stage: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(moment), stage], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert again("--dry-run") == again()
    ran = json.loads((here / "made/run.json").read_bytes())["steps"]
    assert list(ran) == ALL
    killed = bytes_of(here / "made")
    shutil.rmtree(here / "made")
    again()
    assert bytes_of(here / "made") == killed


def test_a_run_that_was_killed_as_it_began(here: Path, again: Again) -> None:
    (here / "made").mkdir()
    (here / "made/.run.json.partial").touch()
    assert list(again()) == ALL
    assert not (here / "made/.run.json.partial").exists()


def test_what_was_done_before_a_kill_is_passed_over(here: Path, again: Again) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, "4", "after"], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert (here / "made/small.json").exists()
    assert again() == {"small.json": "was not finished", "check.json": "not made yet"}


def test_a_change_and_a_kill_leave_the_old_output_or_the_new(here: Path, again: Again) -> None:
    again()
    old = bytes_of(here / "made/small")
    change(here / "mine.yaml", "<0.5", "<0.02")
    done = subprocess.run([sys.executable, "-c", KILLED, "1", "within"], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert bytes_of(here / "made/small") == old
    assert again()["small"] == "was not finished"
    assert bytes_of(here / "made/small") != old
    assert not [path for path in (here / "made").iterdir() if path.name.startswith(".")]


def test_an_interrupt_says_how_to_go_on(here: Path) -> None:
    script = KILLED.replace("os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 2)").replace(
        'plan = reading.read("mine.yaml", commands)',
        "from curate.commands import main\n"
        'sys.argv = ["curate", "run", "mine.yaml", "--root", "instre=raw", "-o", "made"]\nmain()',
    )
    done = subprocess.run([sys.executable, "-c", script, "2", "before"], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        "",  # after the terminal's ^C
        "curate: interrupted; nothing half-written was left; run the same command again",
    ]
    assert (here / "made/all").is_dir()
