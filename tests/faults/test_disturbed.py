"""No room, no permission, inputs that change or go while they are read, a clock that runs backwards.

Whatever happens, an output is as it was or as it is to be, the error is one line, and nothing is left over.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import CASES, KILLS, Answer, Bench, Case, State, seconds, states

READS_PICTURES = {"import", "prelabel", "show", "release", "evaluate", "verify --html", "verify --repair"}
LEAST = 4096  # bytes that a run may write to a file: what it says must have room
commands = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# What takes long and is alike for many is done for all of them by 'make faults'.
some_commands = pytest.mark.parametrize("case", CASES if KILLS > 1 else CASES[::4], ids=lambda case: case.name)


def one_line(done: Answer) -> None:
    assert done.code == 1, done
    assert done.stderr.startswith("curate: ") and len(done.stderr.splitlines()) <= 2, done.stderr


def as_before(bench: Bench, case: Case, folder: Path, old: dict[str, Any]) -> None:
    assert states(folder, case) == old
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(case.outputs)


def then_the_same(bench: Bench, case: Case, folder: Path) -> None:
    again = bench.zygote.run([*case.words(bench.inputs), "--overwrite"], folder)
    assert again.code == case.code, again
    assert states(folder, case) == bench.reference(case)[0]
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(case.outputs)


def largest(bench: Bench, case: Case) -> int:
    folder = bench.folder("sizes")
    bench.zygote.run(case.words(bench.inputs), folder)
    written = (file.stat() for file in folder.rglob("*") if file.is_file())
    return max(status.st_size for status in written if status.st_nlink == 1)  # others are tables of the parent


def _same_rows(found: State, new: State) -> bool:
    """Whether two outputs are datasets with the same fingerprints, by their ``dataset.json``."""
    return found is not None and new is not None and found.get("dataset.json", "") == new.get("dataset.json")


@commands
def test_no_room(bench: Bench, case: Case) -> None:
    folder = bench.folder(case.name)
    old = bench.earlier(case, folder)
    words = [*case.words(bench.inputs), "--overwrite"]
    limit = max(largest(bench, case) * 2 // 3, LEAST)
    done = bench.zygote.run(words, folder, file_limit=limit)
    if done.code == case.code and states(folder, case) == bench.reference(case)[0]:
        assert limit == LEAST  # all that it writes is smaller
        return
    one_line(done)
    # Of several outputs the first may be there: each is whole.
    new = bench.reference(case)[0]
    assert all(found in (old[name], new[name]) for name, found in states(folder, case).items())
    assert {entry.name for entry in folder.iterdir()} <= {*case.outputs, "out.work"}
    then_the_same(bench, case, folder)


@commands
def test_no_permission(bench: Bench, case: Case) -> None:
    folder = bench.folder(case.name)
    old = bench.earlier(case, folder)
    words = [*case.words(bench.inputs), "--overwrite"]
    folder.chmod(0o555)
    done = bench.zygote.run(words, folder, powerless=True)
    one_line(done)
    assert "permission" in done.stderr.lower()
    as_before(bench, case, folder, old)
    folder.chmod(0o777)
    then_the_same(bench, case, folder)


@some_commands
def test_permission_lost_meanwhile(bench: Bench, case: Case) -> None:
    new, wall = bench.reference(case)
    folder = bench.folder(case.name)
    old = bench.earlier(case, folder)
    lost = [{"path": str(folder), "mode": 0o555}]
    after = seconds(wall, 0.3 + 0.7 * random.Random(case.name).random())
    words = [*case.words(bench.inputs), "--overwrite"]
    done = bench.zygote.run(words, folder, powerless=True, after=after, meanwhile=lost)
    folder.chmod(0o777)
    if done.code != case.code:
        one_line(done)
    assert all(found in (old[name], new[name]) for name, found in states(folder, case).items())
    then_the_same(bench, case, folder)


@some_commands
def test_inputs_that_go_meanwhile(bench: Bench, case: Case) -> None:
    new, wall = bench.reference(case)
    folder = bench.folder(case.name)
    gone = bench.inputs.with_name("gone")
    after = seconds(wall, 0.8 * random.Random(case.name).random())
    steps = [{"path": str(bench.inputs), "to": str(gone)}]
    done = bench.zygote.run(case.words(bench.inputs), folder, after=after, meanwhile=steps)
    if gone.is_symlink():
        gone.rename(bench.inputs)
    found = states(folder, case)
    if found in (new, dict.fromkeys(case.outputs)):
        assert done.code in (case.code, 1, 2)
    elif done.code == 0 and all(_same_rows(one, new[name]) for name, one in found.items()):
        pass  # a table that can no longer be linked is written anew, with other bytes for the same rows
    elif case.name in READS_PICTURES and (done.code == 0 or "I01" in done.stdout):
        pass  # it tells of pictures that are not there; all else is whole
    else:  # of several outputs the first may be there, or the work that a later run takes up
        assert done.code == 1 and done.stderr.startswith("curate: "), done
        assert all(one in (None, new[name]) for name, one in found.items())
    then_the_same(bench, case, folder)


@pytest.mark.parametrize(
    ("name", "path", "content"),
    [
        ("import", "raw/kitti/training/label_2/000003.txt", b"Car 0.0 zero"),
        ("import", "raw/kitti/training/image_2/000003.png", b"\x89PNG\r\n\x1a\n broken"),
        ("import coco", "benchmark.json", b'{"images": ['),
        ("build subset", "merged/annotations.parquet", b"PAR1 broken"),
        ("export coco", "benchmark/images.parquet", b""),
        ("release", "raw/kitti/training/image_2/000003.png", b"GIF89a"),
        ("evaluate", "baseline.json", b"{}"),
    ],
)
def test_an_input_that_changes_meanwhile(bench: Bench, name: str, path: str, content: bytes) -> None:
    (case,) = (case for case in CASES if case.name == name)
    _, wall = bench.reference(case)
    file = bench.inputs / path
    held = file.read_bytes()
    draw = random.Random(path)
    for _ in range(2):
        folder = bench.folder(case.name)
        after = seconds(wall, 0.9 * draw.random())
        steps = [{"path": str(file), "content": content.hex()}]
        try:
            done = bench.zygote.run(case.words(bench.inputs), folder, after=after, meanwhile=steps)
        finally:
            file.write_bytes(held)
        if done.code != 0:
            assert done.code == 1 and done.stderr.startswith("curate: "), done
            assert states(folder, case) == dict.fromkeys(case.outputs)
            assert not list(folder.iterdir())
        then_the_same(bench, case, folder)


@commands
def test_a_clock_that_runs_backwards(bench: Bench, case: Case) -> None:
    new, _ = bench.reference(case)
    folder = bench.folder(case.name)
    bench.earlier(case, folder)
    for file in folder.rglob("*"):
        os.utime(file, (2**31, 2**32))  # made in a hundred years
    done = bench.zygote.run([*case.words(bench.inputs), "--overwrite"], folder, clock=True)
    assert done.code == case.code, done
    assert states(folder, case) == new
