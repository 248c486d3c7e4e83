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
    """Not one image is done: that is a machine without memory, and no image is blamed."""
    names = [f"{i:02}" for i in range(40)]
    ledger = Ledger([shard(0, *names[:20]), shard(1, *names[20:])])
    with pytest.raises(CurateError, match=r"die of every image \(10 of 10, each tried 3 times\); .* fewer --jobs"):
        worked_off(ledger, set(names))


@pytest.mark.parametrize(
    "deadly",
    [
        [f"{s}-{i}" for s in range(30) for i in (7,)],  # one in each shard
        [f"29-{i}" for i in range(31, 40)],  # nine at the very end
        [f"{s}-{i}" for s in range(30) for i in (0, 1, 2, 20, 38, 39)],
    ],
)
def test_many_images_that_kill_among_others_are_all_found(deadly: list[str]) -> None:
    shards = [shard(s, *(f"{s}-{i}" for i in range(40))) for s in range(30)]
    done, _ = worked_off(Ledger(shards), set(deadly))
    assert len(done) == 30
    assert {task.image_id for one in done for task in one.tasks if task.problem == POISONOUS} == set(deadly)


def test_many_workers_lost_at_once_cost_nothing() -> None:
    """As where the machine's memory ran out once: sixty jobs are lost, and all are done the second time."""
    ledger = Ledger([shard(i, f"{i}") for i in range(60)])
    jobs = [take(ledger) for _ in range(60)]
    for job in jobs:
        ledger.lost(job)
    assert sorted(worked_off(ledger, set())[0]) == sorted(job.shard for job in jobs)


def test_a_shard_that_is_too_much_as_a_whole_ends_the_run() -> None:
    ledger = Ledger([shard(7, "a", "b")])
    with pytest.raises(CurateError, match=r"die of shard 7, though of none .* left; .* --shard-size"):
        for _ in range(100):
            job = take(ledger)
            if job.alone:
                ledger.done(job)
            else:
                ledger.lost(job)
