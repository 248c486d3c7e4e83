"""Map work over items: in this process or in local processes, in order, with bounded memory.

The results come back in the order of the items and do not depend on the number of workers or on the chunk size chosen.

Each worker has a pipe of its own, over which it is given one slice at a time. Nothing is shared between workers: one
that is killed, even in the middle of an answer, holds up neither the others nor the parent. (With a common queue it
may: ``ProcessPoolExecutor`` can then wait for ever.)
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Protocol, TypeVar

from curate.errors import CurateError

T = TypeVar("T")
R = TypeVar("R")
J = TypeVar("J")
_INTERRUPTS = {signal.SIGINT, signal.SIGTERM}


def map_chunks(
    function: Callable[[Sequence[T]], R], items: Sequence[T], *, jobs: int = 1, chunk: int = 256
) -> Iterator[R]:
    """Apply ``function`` to successive slices of ``chunk`` items and yield the results in order.

    With ``jobs`` > 1 the slices go to that many local processes; then ``function`` must be importable and its arguments
    and results picklable. At most two slices per worker are done ahead of their turn, so memory stays bounded however
    many items there are.

    Raises:
        CurateError: a worker process died (killed, or out of memory).
    """
    slices = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    if jobs <= 1 or len(slices) < 2:
        yield from map(function, slices)
        return
    with _workers(function, min(jobs, len(slices))) as workers:
        yield from _in_order(workers, slices)


def _in_order(workers: Sequence[Connection], slices: Sequence[Any]) -> Iterator[Any]:
    idle: list[Connection] = list(workers)
    busy: dict[Connection, int] = {}
    done: dict[int, tuple[bool, Any]] = {}
    given = 0
    for turn in range(len(slices)):
        while True:
            while idle and given < min(len(slices), turn + 2 * len(workers)):
                worker = idle.pop()
                with _noticing_death():
                    worker.send(slices[given])
                busy[worker] = given
                given += 1
            if turn in done:
                break
            ready = wait(list(busy))
            for worker in [worker for worker in busy if worker in ready]:
                with _noticing_death():
                    done[busy[worker]] = worker.recv()
                del busy[worker]
                idle.append(worker)
        succeeded, result = done.pop(turn)
        if not succeeded:
            raise result
        yield result


class Jobs(Protocol[J]):
    """Work of which some may end its worker; what is to be done about that is for the work to decide."""

    def take(self) -> J | None:
        """The next job; None while there is none to give out."""

    def lost(self, job: J) -> None:
        """The worker that had this job died."""

    def done(self, job: J) -> bool:
        """This job is done; true if its result is wanted."""


def map_jobs(function: Callable[[J], R], jobs: Jobs[J], *, workers: int) -> Iterator[R]:
    """Apply ``function`` to each job in so many local processes; the results that are wanted as they come, in no order.

    A worker that dies is replaced and ``jobs`` is told which job it had. ``function`` must be importable and what it
    takes and gives picklable; what it raises is raised here.
    """
    with ExitStack() as crew:
        idle = [_hired(crew, function) for _ in range(workers)]
        busy: dict[Connection, J] = {}
        while True:
            while idle and (job := jobs.take()) is not None:
                worker = idle.pop()
                busy[worker] = job
                with suppress(OSError):  # a worker that is dead already is noticed below
                    worker.send(job)
            if not busy:
                return
            for worker in [worker for worker in wait(list(busy)) if isinstance(worker, Connection)]:
                job = busy.pop(worker)
                try:
                    succeeded, result = worker.recv()
                except (EOFError, OSError):
                    worker.close()
                    time.sleep(0.1)  # as in _noticing_death
                    idle.append(_hired(crew, function))
                    jobs.lost(job)
                    continue
                if not succeeded:
                    raise result
                idle.append(worker)
                if jobs.done(job):
                    yield result


@contextmanager
def _workers(function: Callable[[Any], Any], count: int) -> Iterator[list[Connection]]:
    """Connections to ``count`` processes that answer each slice that they are sent, as :func:`_work` says."""
    with ExitStack() as crew:
        yield [_hired(crew, function) for _ in range(count)]


def _hired(crew: ExitStack, function: Callable[[Any], Any]) -> Connection:
    with _noticing_death():
        return crew.enter_context(_worker(function))


@contextmanager
def _worker(function: Callable[[Any], Any]) -> Iterator[Connection]:
    """A connection to a process of its own, which is killed at the end."""
    # Not 'fork': Arrow's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # A new process starts where this one did, which need not be where it is now.
    process = context.Process(target=_work, args=(theirs, function, Path.cwd()), daemon=True)
    resource_tracker.ensure_running()  # which clears the mask below, if it has to be started with the first worker
    try:
        with _interrupts_held_back():
            process.start()
            theirs.close()  # so that the pipe ends when the worker does
        yield ours
    finally:
        with _interrupts_held_back():
            ours.close()
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def _noticing_death() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        time.sleep(0.1)  # what ended the worker may be an interrupt that is on its way to us too
        raise CurateError(
            "engine", "a worker process died", "killed from outside or out of memory", "run again with fewer --jobs"
        ) from error


def _work(connection: Connection, function: Callable[[Any], Any], folder: Path) -> None:
    """Answer each slice with ``(True, result)`` or ``(False, error)``, until the parent has gone or kills."""
    os.chdir(folder)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # as in the command that started us
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are for the parent
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
    with suppress(EOFError, ConnectionError):
        while True:
            part = connection.recv()
            try:
                answer = ForkingPickler.dumps((True, function(part)))
            except (Exception, SystemExit) as error:
                answer = ForkingPickler.dumps((False, _portable(error)))
            connection.send_bytes(answer)


def _portable(error: BaseException) -> Exception:
    """An error that arrives in another process, with the traceback that it has in this one."""
    with suppress(Exception):
        if isinstance(error, Exception) and type(pickle.loads(ForkingPickler.dumps(error))) is type(error):
            error.add_note(f"In a worker process:\n{traceback.format_exc()}")
            return error
    stand_in = RuntimeError(f"{type(error).__name__}: {error}")
    stand_in.add_note(f"In a worker process:\n{traceback.format_exc()}")
    return stand_in


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
