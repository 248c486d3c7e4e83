"""What is lost is tried again, and what kills is found, whatever dies."""

from __future__ import annotations

import pytest

from curate.errors import CurateError
from curate.prelabel.ledger import POISONOUS, TRIES, Job, Ledger
from curate.prelabel.shards import Shard
from curate.prelabel.tasks import Task


def take(ledger: Ledger) -> Job:
    job = ledger.take()
    assert job is not None
    return job


def shard(number: int, *names: str) -> Shard:
    return Shard(number, f"key {number}", tuple(Task(name, f"/{name}.png", (1, 1), ()) for name in names))


def worked_off(ledger: Ledger, deadly: set[str]) -> tuple[list[Shard], int]:
    """The shards that get done, and the workers lost, where every job with one of these images loses its worker."""
    done, lost = [], 0
    while (job := ledger.take()) is not None:
        if any(task.image_id in deadly and task.path for task in job.shard.tasks):
            lost += 1
            ledger.lost(job)
        elif ledger.done(job):
            done.append(job.shard)
    return sorted(done), lost


def test_without_losses_every_shard_is_done_once() -> None:
    shards = [shard(0, "a", "b"), shard(1, "c")]
    assert worked_off(Ledger(shards), set()) == (shards, 0)


@pytest.mark.parametrize("deadly", [{"b"}, {"a", "b", "c"}, {"a", "d"}])
def test_images_that_kill_are_left_out_alone(deadly: set[str]) -> None:
    shards = [shard(0, "a", "b", "c"), shard(1, "d", "e")]
    done, lost = worked_off(Ledger(shards), deadly)
    assert [one.number for one in done] == [0, 1]
    for one, whole in zip(done, shards, strict=True):
        assert one.key == whole.key
        for task, before in zip(one.tasks, whole.tasks, strict=True):
            bad = before.image_id in deadly
            assert task == (before._replace(path=None, problem=POISONOUS) if bad else before)
    hurt = sum(any(task.image_id in deadly for task in one.tasks) for one in shards)
    assert lost == TRIES * hurt + TRIES * len(deadly)


def test_a_worker_lost_by_accident_costs_nothing() -> None:
    ledger = Ledger([shard(0, "a", "b")])
    for _ in range(TRIES - 1):
        ledger.lost(take(ledger))
    assert take(ledger) == Job(shard(0, "a", "b"))
    assert ledger.take() is None


def test_workers_that_die_whatever_they_do_end_the_run() -> None:
    """Sixteen images of which no single one is done: that is a machine without memory, and no image is blamed."""
    ledger = Ledger([shard(0, *"abcdefgh"), shard(1, *"ijklmnop")])
    with pytest.raises(CurateError, match=r"15 worker processes died, one after the other; .* fewer --jobs"):
        worked_off(ledger, set("abcdefghijklmnop"))


def test_a_shard_that_is_too_much_as_a_whole_ends_the_run() -> None:
    ledger = Ledger([shard(7, "a", "b")])
    with pytest.raises(CurateError, match=r"die of shard 7, though of none of its images alone; .* --shard-size"):
        for _ in range(100):
            job = take(ledger)
            if job.alone:
                ledger.done(job)
            else:
                ledger.lost(job)
