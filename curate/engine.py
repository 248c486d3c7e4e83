"""Map work over items: in this process or in local processes, in order, with bounded memory.

The results come back in the order of the items and do not depend on the number of workers or on the chunk size chosen.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from curate.errors import CurateError

T = TypeVar("T")
R = TypeVar("R")


def map_chunks(
    function: Callable[[Sequence[T]], R], items: Sequence[T], *, jobs: int = 1, chunk: int = 256
) -> Iterator[R]:
    """Apply ``function`` to successive slices of ``chunk`` items and yield the results in order.

    With ``jobs`` > 1 the slices go to that many local processes; then ``function`` must be importable and its arguments
    and results picklable. At most two slices per worker are in flight, so memory stays bounded however many items
    there are.

    Raises:
        CurateError: a worker process died (killed, or out of memory).
    """
    slices = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    if jobs <= 1 or len(slices) < 2:
        yield from map(function, slices)
        return
    # Not 'fork': Arrow's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(slices)), mp_context=context, initializer=_leave_signals_to_the_parent)
    try:
        waiting: deque[Future[R]] = deque()
        for part in slices:
            waiting.append(pool.submit(function, part))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise CurateError(
            "engine", "a worker process died", "killed from outside or out of memory", "run again with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
