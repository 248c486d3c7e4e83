"""Who does which shard when workers may die of an image: what is lost is tried again, what kills is found and left out.

A shard that loses three workers is looked into image by image; an image that loses three more, alone, is left out and
recorded, and the rest of the shard is done. No process is started in here, so that these decisions can be tested
without losing any.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from curate.errors import CurateError
from curate.prelabel.shards import Line, Shard, Timing, Work, do, do_shard, tools_of

TRIES = 3
IN_A_ROW = 10  # images found to kill with nothing done between them: then it is not the images
POISONOUS = f"ended its worker {TRIES} times, alone"


class Job(NamedTuple):
    """A shard to do, or one image of it to try."""

    shard: Shard
    alone: bool = False


def do_job(work: Work, job: Job) -> tuple[Line, Timing] | None:
    """The line of a shard, whose file is written; None of an image alone, for which nothing is."""
    if not job.alone:
        return do(work, [job.shard])
    do_shard(tools_of(work), job.shard, work.share)
    return None


class Ledger:
    """Which jobs are next."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._waiting: deque[Job] = deque(Job(shard) for shard in shards)
        self._lost: Counter[tuple[int, str]] = Counter()
        self._in_a_row = 0  # images
        self._trying: dict[int, set[str]] = {}  # images of a shard that are still to be tried alone
        self._poisonous: dict[int, set[str]] = {}
        self._whole = {shard.number: shard for shard in shards}

    def take(self) -> Job | None:
        """The next job; None while there is none."""
        return self._waiting.popleft() if self._waiting else None

    def lost(self, job: Job) -> None:
        """Note that the worker with ``job`` is gone.

        Raises:
            CurateError: workers are lost whatever they do.
        """
        number = job.shard.number
        name = job.shard.tasks[0].image_id if job.alone else ""
        self._lost[number, name] += 1
        if self._lost[number, name] < TRIES:
            # At once, not at the end of the line: what kills would gather there, and look like the machine's fault.
            self._waiting.appendleft(job)
        elif job.alone:
            self._in_a_row += 1
            if self._in_a_row == IN_A_ROW:
                found = f"worker processes die of every image ({IN_A_ROW} of {IN_A_ROW}, each tried {TRIES} times)"
                hint = "run again with fewer --jobs, or with more memory"
                raise CurateError("engine", found, "killed from outside or out of memory", hint)
            self._poisonous.setdefault(number, set()).add(name)
            self._tried(number, name)
        elif number in self._trying:
            found = f"worker processes die of shard {number}, though of none of its images alone that are left"
            raise CurateError("engine", found, "out of memory, probably", "run again with a smaller --shard-size")
        else:
            self._lost[number, name] = 0
            self._trying[number] = {task.image_id for task in job.shard.tasks}
            self._waiting.extendleft(
                Job(job.shard._replace(tasks=(task,)), alone=True) for task in reversed(job.shard.tasks)
            )

    def done(self, job: Job) -> bool:
        """Note that ``job`` is done; true if that was a shard."""
        self._in_a_row = 0
        if job.alone:
            self._tried(job.shard.number, job.shard.tasks[0].image_id)
        return not job.alone

    def _tried(self, number: int, name: str) -> None:
        self._trying[number].discard(name)
        if self._trying[number]:
            return
        bad = self._poisonous.get(number, set())
        tasks = tuple(
            task._replace(path=None, problem=POISONOUS) if task.image_id in bad else task
            for task in self._whole[number].tasks
        )
        self._waiting.appendleft(Job(self._whole[number]._replace(tasks=tasks)))
