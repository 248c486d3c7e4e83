"""Work over items: same order and result with one worker or several, and errors that come back whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.engine import map_chunks, map_jobs
from curate.errors import CurateError, SourceError


def squares(items: Sequence[int]) -> list[int]:
    # The first slices take longest, so that results would arrive out of order.
    time.sleep(0.05 if items[0] < 4 else 0)
    return [item * item for item in items]


def process_id(items: Sequence[int]) -> int:
    return os.getpid()


def fail_at_five(items: Sequence[int]) -> list[int]:
    if 5 in items:
        raise SourceError("5.txt:1", "is five", "expected another", "change it", also=[SourceError("6.txt", "is six")])
    return list(items)


def die_at_five(items: Sequence[int]) -> list[int]:
    if 5 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return list(items)


def note(items: Sequence[str]) -> list[str]:
    for item in items:
        Path(item).touch()
    return list(items)


def end_of_file(items: Sequence[int]) -> None:
    raise EOFError("of a file that was read")


def divide(items: Sequence[int]) -> float:
    return 1 / items[0]


class OddError(Exception):
    """One that can be sent and not be received: it is made of two things and sent as one."""

    def __init__(self, what: str, more: str) -> None:
        super().__init__(what)


class LocalError(Exception):
    """One that cannot be sent."""

    def __init__(self) -> None:
        super().__init__("has a lock")
        self.lock = threading.Lock()


def odd_error(items: Sequence[int]) -> None:
    raise OddError("odd", "one")


def local_error(items: Sequence[int]) -> None:
    raise LocalError


def leave(items: Sequence[int]) -> None:
    sys.exit(3)


def something_local(items: Sequence[int]) -> object:
    return lambda: items


def many_bytes(items: Sequence[int]) -> bytes:
    return bytes(30_000_000)


@pytest.mark.parametrize(("jobs", "chunk"), [(1, 1), (1, 7), (1, 100), (2, 1), (2, 7), (2, 100), (3, 4)])
def test_results_come_in_order_whatever_the_workers_and_chunks(jobs: int, chunk: int) -> None:
    results = list(map_chunks(squares, range(20), jobs=jobs, chunk=chunk))
    assert [value for part in results for value in part] == [i * i for i in range(20)]
    assert [len(part) for part in results[:-1]] == [chunk] * (len(results) - 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_items_no_work(jobs: int) -> None:
    assert list(map_chunks(squares, [], jobs=jobs)) == []


def test_one_worker_is_this_process_and_two_are_others() -> None:
    assert set(map_chunks(process_id, range(4), jobs=1, chunk=1)) == {os.getpid()}
    others = set(map_chunks(process_id, range(8), jobs=2, chunk=1))
    assert os.getpid() not in others
    assert 1 <= len(others) <= 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_arrives_with_all_its_fields_after_the_results_before_it(jobs: int) -> None:
    results = map_chunks(fail_at_five, range(10), jobs=jobs, chunk=1)
    assert [next(results) for _ in range(5)] == [[0], [1], [2], [3], [4]]
    with pytest.raises(SourceError) as caught:
        next(results)
    assert caught.value.lines == ["5.txt:1: is five; expected another; change it", "6.txt: is six"]
    assert not multiprocessing.active_children()


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_an_error_and_not_a_wait() -> None:
    with pytest.raises(CurateError, match=r"engine: a worker process died; .*; run again with fewer --jobs"):
        list(map_chunks(die_at_five, range(10), jobs=2, chunk=1))
    assert not multiprocessing.active_children()


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_in_the_middle_of_an_answer_is_an_error() -> None:
    results = map_chunks(many_bytes, range(8), jobs=2, chunk=1)
    assert len(next(results)) == 30_000_000
    time.sleep(0.5)  # more than a pipe holds: both workers are in the middle of an answer now
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(CurateError, match="a worker process died"):
        list(results)
    assert not multiprocessing.active_children()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("delay", [0, 0.01, 0.05, 0.1, 0.2, 0.3])
def test_a_worker_that_is_killed_at_any_moment_is_an_error(delay: float) -> None:
    results = map_chunks(squares, range(200_000), jobs=2, chunk=1)  # never all done before the kill
    killer = threading.Timer(delay, lambda: [child.kill() for child in multiprocessing.active_children()[:1]])
    with pytest.raises(CurateError, match="a worker process died"):
        while True:
            for _ in results:
                # Only once there is someone to kill.
                if not killer.ident:
                    killer.start()
            raise AssertionError("ended before the kill")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (end_of_file, EOFError, "of a file that was read"),  # not the end of a worker
        (divide, ZeroDivisionError, "division by zero"),
        (something_local, Exception, "pickle"),
        (odd_error, RuntimeError, "OddError: odd"),
        (local_error, RuntimeError, "LocalError: has a lock"),
        (leave, RuntimeError, "SystemExit: 3"),
    ],
)
def test_what_a_worker_raises_is_raised_here(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        list(map_chunks(function, range(4), jobs=2, chunk=1))
    assert not isinstance(caught.value, CurateError)
    # A defect can be found: the worker's own traceback comes along.
    assert any("In a worker process" in note and "engine.py" in note for note in caught.value.__notes__)
    assert not multiprocessing.active_children()


def test_work_is_not_done_far_ahead_of_its_reader(tmp_path: Path) -> None:
    names = [str(tmp_path / f"{i:03d}") for i in range(100)]
    results = map_chunks(note, names, jobs=2, chunk=1)
    next(results)
    time.sleep(0.5)
    assert 1 <= len(list(tmp_path.iterdir())) <= 4  # two slices per worker
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
    assert len(list(tmp_path.iterdir())) <= 4


class Numbers:
    """Jobs that are numbers: a lost one is given out again until it has been lost twice; odd results are not wanted."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.waiting = list(numbers)
        self.losses: list[int] = []

    def take(self) -> int | None:
        return self.waiting.pop() if self.waiting else None

    def lost(self, job: int) -> None:
        self.losses.append(job)
        if self.losses.count(job) < 2:
            self.waiting.append(job)

    def done(self, job: int) -> bool:
        return job % 2 == 0


def square_unless_fatal(number: int) -> int:
    if number in (4, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 100:
        raise SourceError("100", "is a hundred")
    return number * number


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 3])
def test_jobs_that_kill_are_told_and_the_others_done(workers: int) -> None:
    jobs = Numbers(range(10))
    assert sorted(map_jobs(square_unless_fatal, jobs, workers=workers)) == [0, 4, 36, 64]
    assert sorted(jobs.losses) == [4, 4, 5, 5]
    assert not multiprocessing.active_children()


@pytest.mark.timeout(60)
def test_no_jobs_and_a_job_that_raises() -> None:
    assert list(map_jobs(square_unless_fatal, Numbers([]), workers=2)) == []
    with pytest.raises(SourceError, match="100: is a hundred"):
        list(map_jobs(square_unless_fatal, Numbers([100, 0]), workers=2))
    assert not multiprocessing.active_children()
