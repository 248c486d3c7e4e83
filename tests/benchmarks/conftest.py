"""Measuring whole processes: CPU seconds (user + system, with all children) and peak memory, the least of several runs.

A figure is only ever compared with another one of the same run, or with a bound that the design states.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

RUNS = int(os.environ.get("CURATE_BENCH_RUNS", "5"))
# Bounds are those of the design, for a machine that has nothing else to do; a busy one may multiply them.
SLACK = float(os.environ.get("CURATE_BENCH_SLACK", "1"))


class Figure(NamedTuple):
    """One run of a process: CPU seconds, wall seconds, peak resident memory in MiB."""

    cpu: float
    wall: float
    peak: float


# Started between pytest and what is measured: a process begins with the peak memory of the one that started it, and
# pytest may have grown while a test drew its data.
_BETWEEN = """
import json, os, subprocess, sys, time
before = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
said = child.stdout.read().decode(errors="replace")
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - before
cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
print(json.dumps([os.waitstatus_to_exitcode(status), cpu, wall, peak, said]))
"""


def run_once(command: Sequence[object], cwd: Path | None = None) -> Figure:
    """Run a command to its end; it must succeed."""
    between = [sys.executable, "-I", "-S", "-c", _BETWEEN]
    done = subprocess.run([*between, *map(str, command)], cwd=cwd, stdout=subprocess.PIPE, check=True)
    code, cpu, wall, peak, said = json.loads(done.stdout)
    assert code == 0, said
    return Figure(cpu, wall, peak)


def side_by_side(runs: int, **commands: Callable[[], Figure]) -> dict[str, Figure]:
    """Run the commands in turn, A B A B ..., so that a drifting machine hits them alike.

    The least seconds and the highest peak of each: what else a machine does only ever adds to a run's time.
    """
    taken: dict[str, list[Figure]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, run in commands.items():
            taken[name].append(run())
    return {
        name: Figure(min(f.cpu for f in figures), min(f.wall for f in figures), max(f.peak for f in figures))
        for name, figures in taken.items()
    }


def curate_command(*arguments: object) -> list[object]:
    return [sys.executable, "-m", "curate", *arguments]


@pytest.fixture
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Print figures so that they are seen in the log, whatever pytest captures."""

    def say(**figures: object) -> None:
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}
        with capsys.disabled():
            print(f"\n  {request.node.name}: {json.dumps(rounded)}")

    return say
