"""Shards on Ray: the same rows as in this process, whatever is lost on the way; one poisonous image costs one image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from curate.dataset import Dataset, from_records
from curate.demo.tiny_sam import CHECKPOINT, judge
from curate.errors import CurateError
from curate.model import Annotation, Image, Info, SourceRecord
from curate.prelabel import ray_actors, runner, tasks
from curate.prelabel.ledger import POISONOUS, Job


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("scenes")
    records: list[Any] = []
    for i, (picture, masks) in enumerate(judge.fixed_scenes(8)):
        PilImage.fromarray(picture).save(folder / f"{i}.png")
        records.append(Image(id=f"d/{i}", source="d", file_name=f"{i}.png", width=64, height=64))
        for k, mask in enumerate(masks):
            x, y, right, bottom = judge.tight_box(np.asarray(mask)).tolist()
            box = {"x": x, "y": y, "w": right - x, "h": bottom - y}
            records.append(Annotation(id=f"d/{i}#{k}", image_id=f"d/{i}", category="thing", **box))
    info = Info(name="d", sources={"d": SourceRecord(title="D")}, roots={"d": str(folder)})
    return from_records(info, records)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for the tests of this file: a busy machine takes its time to start one."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    settings: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 100 * 2**20}
    ray.init(address="local", num_cpus=4, **settings)
    yield
    ray.shutdown()


def run(dataset: Dataset, folder: Path, **options: Any) -> runner.Outcome:
    return runner.run(dataset, tasks.select(dataset), folder, "sam", checkpoint=CHECKPOINT, shard=2, **options)


@pytest.mark.usefixtures("cluster")
def test_the_same_rows_as_in_this_process(scenes: Dataset, tmp_path: Path) -> None:
    here = run(scenes, tmp_path / "here")
    there = run(scenes, tmp_path / "there", engine="ray", jobs=2)
    assert there.dataset.fingerprint() == here.dataset.fingerprint()
    # What Ray did is done for another engine too.
    assert run(scenes, tmp_path / "there").done_before == 4


@pytest.mark.usefixtures("cluster")
def test_lost_actors_are_replaced(scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    base = ray_actors._Actor

    class Mortal(base):  # type: ignore[misc, valid-type]
        """Dies in the middle of each shard, once."""

        def do(self, work: Any, job: Job) -> Any:
            mark = marks / str(job.shard.number)
            if not mark.exists():
                mark.touch()
                os._exit(1)
            return super().do(work, job)

    monkeypatch.setattr(ray_actors, "_Actor", Mortal)
    there = run(scenes, tmp_path / "there", engine="ray", jobs=2)
    assert len(list(marks.iterdir())) == 4
    monkeypatch.undo()
    assert there.dataset.fingerprint() == run(scenes, tmp_path / "here").dataset.fingerprint()


@pytest.mark.usefixtures("cluster")
def test_a_poisonous_image(scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ray_actors._Actor

    class Poisoned(base):  # type: ignore[misc, valid-type]
        def do(self, work: Any, job: Job) -> Any:
            if any(task.image_id == "d/3" and task.path for task in job.shard.tasks):
                os._exit(1)
            return super().do(work, job)

    monkeypatch.setattr(ray_actors, "_Actor", Poisoned)
    there = run(scenes, tmp_path / "there", engine="ray", jobs=2)
    (problem,) = there.problems
    assert (problem.item, problem.message) == ("d/3", f"{POISONOUS}; no masks")
    boxes = scenes.table("annotations")["image_id"].to_pylist()
    assert there.masks == sum(image != "d/3" for image in boxes)


@pytest.mark.usefixtures("cluster")
def test_a_file_that_an_actor_cannot_write(scenes: Dataset, tmp_path: Path) -> None:
    (tmp_path / "there" / "shards" / "000001.parquet").mkdir(parents=True)
    (tmp_path / "there" / "lock").touch()
    with pytest.raises((CurateError, OSError), match=r"directory|folder") as caught:
        run(scenes, tmp_path / "there", engine="ray", jobs=2)
    assert "RayTaskError" not in type(caught.value).__name__


@pytest.mark.usefixtures("cluster")
def test_an_error_in_an_actor_is_one_line_here(
    scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ray_actors._Actor

    class Failing(base):  # type: ignore[misc, valid-type]
        def do(self, work: Any, job: Job) -> Any:
            return CurateError("segmenter sam", "one box does not fit the memory")

    monkeypatch.setattr(ray_actors, "_Actor", Failing)
    with pytest.raises(CurateError, match="one box does not fit the memory"):
        run(scenes, tmp_path / "there", engine="ray", jobs=2)


def test_a_cluster_that_is_not_there(scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance at 10.0.0.1:6379")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(
        CurateError, match=r"engine ray: cannot be reached.*10\.0\.0\.1.*is the address right"
    ) as caught:
        run(scenes, tmp_path / "there", engine="ray", ray_address="10.0.0.1:6379")
    assert "\n" not in caught.value.line


def test_ray_is_not_installed(scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(CurateError, match=r"Ray is not installed; install it: pip install 'curate\[ray\]'"):
        run(scenes, tmp_path / "there", engine="ray")
