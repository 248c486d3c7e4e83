"""Map work over items: in this process or in local processes, in order, with bounded memory.

The results come back in the order of the items and do not depend on the number of workers or on the chunk size chosen.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from curate.errors import CurateError

T = TypeVar("T")
R = TypeVar("R")
_INTERRUPTS = {signal.SIGINT, signal.SIGTERM}


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
            with _interrupts_held_back():
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


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the cycle collector, which would look at millions of fresh records again and again and find no cycle."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait: in the middle of starting a worker it would leave the pool in pieces.

    The mask is for the worker, which inherits it and so has time to leave interrupts to its parent; here, where other
    threads may receive the signal, only another handler helps (and only the main thread is ever interrupted).
    """
    held: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {kind: signal.signal(kind, lambda kind, _: held.append(kind)) for kind in _INTERRUPTS if in_main}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        for number in held:
            signal.raise_signal(number)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
