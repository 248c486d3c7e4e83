"""SIGKILL at random moments in every command that writes: the old state or the new one, and the next run mends all.

CURATE_KILLS is the number of kills for each command; ``make faults`` takes enough for 200 and more.
"""

from __future__ import annotations

import random
import signal

import pytest

from tests.faults.conftest import CASES, KILLS, Bench, Case, State, seconds, states


def differing(found: State, new: State) -> list[str]:
    """The files that are not the same."""
    a, b = found or {}, new or {}
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_killed_command_leaves_the_old_state_or_the_new(bench: Bench, case: Case) -> None:
    new, wall = bench.reference(case)
    draw = random.Random(case.name)
    killed = tries = 0
    while killed < KILLS and tries < 3 * KILLS + 3:
        tries += 1
        folder = bench.folder(case.name)
        old = bench.earlier(case, folder) if tries % 2 else dict.fromkeys(case.outputs)
        words = case.words(bench.inputs, None, *(["--overwrite"] if tries % 2 else []))
        after = seconds(wall, draw.random() ** 0.7)
        done = bench.zygote.run(words, folder, after=after)
        if done.code == -signal.SIGKILL:
            killed += 1
        else:
            wall = min(wall, done.wall)  # the first run had a slower machine
        told = f"{case.name}, killed after {after:.4f} of {wall:.4f} s: "
        for name, found in states(folder, case).items():
            assert found in (old[name], new[name]), told + name
        strange = {entry.name for entry in folder.iterdir()} - set(case.outputs)
        assert all(name.startswith(".") or name == "out.work" for name in strange), told + str(strange)
        again = bench.zygote.run([*case.words(bench.inputs), "--overwrite"], folder)
        assert again.code == case.code, told + again.stderr
        found = states(folder, case)
        assert found == new, told + str({name: differing(found[name], new[name]) for name in case.outputs})
        assert sorted(entry.name for entry in folder.iterdir()) == sorted(case.outputs), told
    assert killed >= KILLS
