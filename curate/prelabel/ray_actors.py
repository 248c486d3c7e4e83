"""Shards of pre-labels on a Ray cluster: plain actors, one model each, one shard at a time.

Actors write the shards' files themselves and answer with manifest lines: no masks go through the object store. An actor
that is lost (killed, out of memory, its machine gone) is replaced and its shard handed out again. A shard that loses
three actors is looked into image by image (``curate.prelabel.ledger``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curate.errors import CurateError
from curate.prelabel.ledger import Job, Ledger, do_job
from curate.prelabel.shards import Line, Shard, Timing, Work

_START_S = 300.0  # to wait for actors: a busy machine has taken half a minute to start one
_STORE = 100 * 2**20  # bytes; only lines go through it


class _Actor:
    """What lives in an actor's process."""

    def ready(self) -> bool:
        return True

    def do(self, work: Work, job: Job) -> tuple[Line, Timing] | Exception | None:
        """The line of a shard; None of an image alone; an error that the user can understand as a value."""
        try:
            return do_job(work, job)
        except (CurateError, OSError) as error:
            return error


def map_shards(
    work: Work, shards: Sequence[Shard], *, actors: int, address: str | None = None
) -> Iterator[tuple[Line, Timing]]:
    """Do the shards with so many actors; their lines as they come, in no order.

    Args:
        address: of a cluster that sees the work folder, the checkpoint and the pictures under the same paths; None
            starts Ray on this machine for as long as this takes.

    Raises:
        CurateError: Ray is not installed or not to be reached, has no room for an actor, or the work failed.
    """
    if not shards:
        return
    try:
        import ray
    except ImportError:
        hint = "install it: pip install 'curate[ray]', or use --engine local"
        raise CurateError("engine ray", "Ray is not installed", hint=hint) from None
    with _cluster(ray, actors, address):
        yield from _mapped(ray, work, Ledger(shards), min(actors, len(shards)))


def _mapped(ray: Any, work: Work, ledger: Ledger, count: int) -> Iterator[tuple[Line, Timing]]:
    gpus = 1 if work.device.startswith("cuda") else 0
    # No restarts by Ray: what a lost actor was doing is for the ledger to decide.
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Actor).remote
    idle = _started(ray, make, count)
    crew = list(idle)
    running: dict[Any, tuple[Any, Job]] = {}
    try:
        while True:
            while idle and (job := ledger.take()) is not None:
                actor = idle.pop()
                running[actor.do.remote(work, job)] = actor, job
            if not running:
                return
            (ready,), _ = ray.wait(list(running), num_returns=1)
            actor, job = running.pop(ready)
            try:
                answer = ray.get(ready)
            except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError):
                ledger.lost(job)
                crew.remove(actor)
                (fresh,) = _started(ray, make, 1)
                crew.append(fresh)
                idle.append(fresh)
                continue
            if isinstance(answer, Exception):
                raise answer
            idle.append(actor)
            if ledger.done(job) and answer is not None:
                yield answer
    finally:
        for actor in crew:
            ray.kill(actor)


def _started(ray: Any, make: Callable[[], Any], count: int) -> list[Any]:
    """Up to ``count`` actors that answer; those for which the cluster has no room are given up."""
    made = {actor.ready.remote(): actor for actor in [make() for _ in range(count)]}
    ready, late = ray.wait(list(made), num_returns=count, timeout=_START_S)
    for one in late:
        ray.kill(made[one])
    alive = []
    for one in ready:
        try:
            ray.get(one)
            alive.append(made[one])
        except ray.exceptions.RayError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            hint = "the cluster's machines need curate and its extras, of this version"
            raise CurateError("engine ray", f"an actor does not start ({first})", hint=hint) from None
    if not alive:
        hint = "the cluster has no free CPU or GPU, or is starting: try again, or fewer -j"
        raise CurateError("engine ray", f"no actor started within {_START_S:.0f} s", hint=hint)
    return alive


@contextmanager
def _cluster(ray: Any, actors: int, address: str | None) -> Iterator[None]:
    """A connection to Ray, which is left as it was found."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address is None:
        # As many CPUs as actors, so that all find room, whatever the machine has.
        quiet |= {"num_cpus": max(actors, os.cpu_count() or 1), "include_dashboard": False}
        quiet |= {"object_store_memory": _STORE}
    try:
        ray.init(address=address or "local", **quiet)
    except Exception as error:  # whatever keeps it from starting
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "is the address right and the cluster up?" if address else "try again, or use --engine local"
        raise CurateError("engine ray", f"cannot be reached or started ({first})", hint=hint) from None
    try:
        yield
    finally:
        ray.shutdown()
