"""Pre-labels in bulk: the same rows whatever the shards, workers and interruptions; no picture stops the run."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from curate.dataset import Dataset, from_records
from curate.demo.tiny_sam import CHECKPOINT, judge
from curate.doubt import doubt
from curate.errors import CurateError, UsageError
from curate.geometry import mask_from_rle
from curate.model import Annotation, Category, Image, Info, Rle, SourceRecord
from curate.prelabel import runner, shards, tasks
from curate.prelabel.ledger import POISONOUS, Job, do_job
from curate.prelabel.prompts import Mask, Picture, Prompts


def drawn(folder: Path, pictures: int = 8) -> tuple[Dataset, dict[str, np.ndarray]]:
    """A dataset of drawn scenes with a tight box per object, and the true masks by annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    records: list[Any] = [Category(name="thing"), Category(name="crowd")]
    truth = {}
    for i, (picture, masks) in enumerate(judge.fixed_scenes(pictures)):
        PilImage.fromarray(picture).save(folder / f"{i:03d}.png")
        image = f"drawn/{i:03d}"
        records.append(Image(id=image, source="drawn", file_name=f"{i:03d}.png", width=64, height=64))
        for k, mask in enumerate(masks):
            x, y, right, bottom = judge.tight_box(mask).tolist()
            truth[f"{image}#{k:04d}"] = mask
            sides = {"x": x, "y": y, "w": right - x, "h": bottom - y}
            records.append(Annotation(id=f"{image}#{k:04d}", image_id=image, category="thing", **sides))
    info = Info(name="drawn", sources={"drawn": SourceRecord(title="Drawn")}, roots={"drawn": str(folder)})
    return from_records(info, records), truth


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, dict[str, np.ndarray]]:
    return drawn(tmp_path_factory.mktemp("scenes") / "pictures")


def rows(outcome: runner.Outcome) -> list[dict[str, Any]]:
    table = outcome.dataset.table("annotations").to_pylist()
    return [row for row in table if row["attributes"] and '"prelabel"' in row["attributes"]]


Run = Callable[..., runner.Outcome]


@pytest.fixture
def run(tmp_path: Path, scenes: tuple[Dataset, dict[str, np.ndarray]]) -> Run:
    def go(segmenter: str = "ellipse", *, dataset: Dataset | None = None, folder: str = "work", **options: Any) -> Any:
        dataset = dataset or scenes[0]
        return runner.run(dataset, tasks.select(dataset), tmp_path / folder, segmenter, **options)

    return go


def test_rows_are_proposals_with_where_they_come_from(run: Run, scenes: Any) -> None:
    outcome = run("sam", checkpoint=CHECKPOINT)
    dataset, truth = scenes
    made = rows(outcome)
    assert len(made) == len(truth) == outcome.masks
    assert outcome.dataset.table("annotations").num_rows == 2 * len(truth)
    ious = []
    for row in made:
        facts = json.loads(row["attributes"])["prelabel"]
        assert row["status"] == "proposal"
        assert row["id"].startswith(f"{row['parent_id']}.sam-")
        assert (facts["model"], facts["kind"], len(facts["checkpoint"])) == ("sam", "tiny-test", 64)
        mask = mask_from_rle(Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"])) > 0
        x, y, right, bottom = judge.tight_box(mask).tolist()
        assert (row["x"], row["y"], row["w"], row["h"]) == (x, y, right - x, bottom - y)
        assert row["area"] == mask.sum()
        x, y, right, bottom = judge.tight_box(truth[row["parent_id"]]).tolist()
        assert facts["prompt"]["box"] == [x, y, right - x, bottom - y]
        assert 0 <= facts["predicted_iou"] <= 1 and 0 <= facts["stability"] <= 1 and 0 < facts["box_iou"] <= 1
        ious.append(judge.iou(mask, truth[row["parent_id"]]))
    assert np.mean(ious) > 0.8
    assert outcome.dataset.info.command.verb == "prelabel"
    assert outcome.dataset.info.parents[0].name == dataset.info.name
    # Who doubts by these figures looks at the worse masks first.
    doubts = [doubt(json.loads(row["attributes"])["prelabel"]) for row in made]
    assert np.corrcoef(doubts, ious)[0, 1] < -0.3


@pytest.mark.parametrize("options", [{"shard": 1}, {"shard": 3}, {"shard": 3, "jobs": 2}])
def test_the_same_rows_whatever_the_shards_and_workers(run: Run, options: dict[str, int]) -> None:
    once = run("sam", checkpoint=CHECKPOINT, folder="once")
    other = run("sam", checkpoint=CHECKPOINT, folder="other", **options)
    assert other.dataset.fingerprint() == once.dataset.fingerprint()
    assert other.problems == once.problems


def deadly(work: shards.Work, job: Job) -> Any:
    """As :func:`curate.prelabel.ledger.do_job`, but one picture kills, and each shard kills once by accident."""
    once = Path(work.folder).with_name(f"killed-{job.shard.number}")
    if any(task.image_id == "drawn/003" and task.path for task in job.shard.tasks) or not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return do_job(work, job)


@pytest.mark.timeout(120)
def test_a_picture_that_kills_its_worker_costs_only_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("sam", checkpoint=CHECKPOINT, folder="whole")
    monkeypatch.setattr(runner, "do_job", deadly)
    outcome = run("sam", checkpoint=CHECKPOINT, shard=3, jobs=2)
    (problem,) = outcome.problems
    assert (problem.code, problem.item, problem.message) == ("I04", "drawn/003", f"{POISONOUS}; no masks")
    assert rows(outcome) == [row for row in rows(whole) if row["image_id"] != "drawn/003"]


def test_finished_shards_are_not_done_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(shard=2)
    assert first.done_before == 0
    done: list[int] = []
    whole = shards.do_shard
    monkeypatch.setattr(shards, "do_shard", lambda s, shard, share: done.append(shard.number) or whole(s, shard, share))
    assert run(shard=2).done_before == 4
    assert done == []
    files = tmp_path / "work" / "shards"
    (files / "000001.parquet").unlink()
    (files / "000002.parquet").write_bytes(b"cut")
    again = run(shard=2)
    assert done == [1, 2]
    assert again.dataset.fingerprint() == first.dataset.fingerprint()
    # Another option is another result.
    run(shard=2, share=0.3)
    assert done == [1, 2, 0, 1, 2, 3]


def test_a_line_cut_short_by_a_kill_does_no_harm(run: Run, tmp_path: Path) -> None:
    first = run(shard=2)
    manifest = tmp_path / "work" / "manifest.jsonl"
    content = manifest.read_bytes()
    for cut in (len(content) - 1, len(content) - 40, len(content) // 2, 3):
        manifest.write_bytes(content[:cut])
        again = run(shard=2)
        assert again.dataset.fingerprint() == first.dataset.fingerprint()
        assert run(shard=2).done_before == 4


def test_two_runs_do_not_meet_in_one_folder(run: Run, tmp_path: Path) -> None:
    with runner._alone(tmp_path / "work"), pytest.raises(UsageError, match="in use by another run"):
        run()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "mine.tex").touch()
    with pytest.raises(UsageError, match="no work folder of curate prelabel"):
        run(folder="thesis")


def test_a_kill_while_the_work_folder_is_cleared_does_no_harm(run: Run, tmp_path: Path) -> None:
    """What is left then may lack the lock; it is ours all the same."""
    first = run(shard=2)
    for name in ("lock", "timings.jsonl"):
        (tmp_path / "work" / name).unlink()
    assert run(shard=2).dataset.fingerprint() == first.dataset.fingerprint()


def odd(folder: Path) -> Dataset:
    """Pictures of every kind, and boxes that are none."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 65535, (40, 60)).astype(np.uint16)
    colour = PilImage.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    turned = colour.getexif()
    turned[0x0112] = 6
    PilImage.fromarray(grey).save(folder / "deep.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("P").save(folder / "palette.png")
    colour.save(folder / "turned.jpg", exif=turned)
    PilImage.new("RGB", (1, 1), (9, 9, 9)).save(folder / "one.png")
    PilImage.new("RGB", (20_000, 20)).save(folder / "long.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    os.mkfifo(folder / "pipe.png")  # to which nobody writes: opening it would wait for ever
    colour.save(folder / "other_size.png")
    sizes = {"one.png": (1, 1), "long.png": (20_000, 20), "other_size.png": (50, 40)}
    names = ["deep.png", "cmyk.jpg", "palette.png", "turned.jpg", "one.png", "long.png", "broken.png", "other_size.png"]
    records: list[Any] = []
    for name in [*names, "absent.png", "pipe.png"]:
        width, height = sizes.get(name, (60, 40))
        records.append(Image(id=f"odd/{name}", source="odd", file_name=name, width=width, height=height))
        box = {"x": 0.0, "y": 0.0, "w": min(width, 30), "h": min(height, 30)}
        records.append(Annotation(id=f"odd/{name}#0", image_id=f"odd/{name}", **box))
    strange = {"outside": (100, 5, 10, 10), "flat": (5, 5, 0, 10), "over": (-5, -5, 20, 20)}
    for name, (x, y, w, h) in strange.items():
        records.append(Annotation(id=f"odd/deep.png#{name}", image_id="odd/deep.png", x=x, y=y, w=w, h=h))
    for name in ("iscrowd", "ignore"):
        box = {"x": 1.0, "y": 1.0, "w": 5.0, "h": 5.0}
        records.append(Annotation(id=f"odd/deep.png#{name}", image_id="odd/deep.png", **box, **{name: True}))
    info = Info(name="odd", sources={"odd": SourceRecord(title="Odd")}, roots={"odd": str(folder)})
    return from_records(info, records)


@pytest.mark.parametrize("segmenter", ["ellipse", "grabcut", "sam"])
def test_no_picture_stops_the_run(run: Run, tmp_path: Path, segmenter: str) -> None:
    dataset = odd(tmp_path / "odd")
    outcome = run(segmenter, dataset=dataset, checkpoint=CHECKPOINT if segmenter == "sam" else None)
    told = {(one.code, one.item) for one in outcome.problems if one.code != "M09"}
    assert told == {
        ("I01", "odd/absent.png"),
        ("I01", "odd/pipe.png"),
        ("I02", "odd/other_size.png"),
        ("I04", "odd/broken.png"),
        ("B03", "odd/deep.png#flat"),
        ("B05", "odd/deep.png#outside"),
    }
    parents = {row["parent_id"] for row in rows(outcome)} | {one.item for one in outcome.problems if one.code == "M09"}
    names = ("deep.png", "cmyk.jpg", "palette.png", "turned.jpg", "one.png", "long.png")
    assert parents == {*(f"odd/{name}#0" for name in names), "odd/deep.png#over"}
    for row in rows(outcome):
        height, width = row["segmentation"]["size"]
        assert row["x"] + row["w"] <= width and row["y"] + row["h"] <= height
    assert tuple(outcome.problems) == outcome.dataset.problems


def test_what_pillow_stumbles_over_is_a_finding(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decoders raise errors of any type on damaged files."""
    dataset = odd(tmp_path / "odd")
    convert = PilImage.Image.convert

    def stumble(self: PilImage.Image, *arguments: Any, **more: Any) -> PilImage.Image:
        if self.mode == "CMYK":
            raise IndexError("index out of range")
        return convert(self, *arguments, **more)

    monkeypatch.setattr(PilImage.Image, "convert", stumble)
    (found,) = [one for one in run(dataset=dataset).problems if one.item == "odd/cmyk.jpg"]
    assert (found.code, found.message) == ("I04", "does not decode (index out of range); no masks")


def test_a_picture_that_was_mended_meanwhile_is_looked_at_again(run: Run, tmp_path: Path) -> None:
    dataset = odd(tmp_path / "odd")
    assert {"odd/broken.png", "odd/absent.png"} < {one.item for one in run(dataset=dataset, shard=1).problems}
    for name in ("broken.png", "absent.png"):
        (tmp_path / "odd" / name).write_bytes((tmp_path / "odd" / "palette.png").read_bytes())
    again = run(dataset=dataset, shard=1)
    assert not {"odd/broken.png", "odd/absent.png"} & {one.item for one in again.problems}
    assert again.done_before == len(tasks.select(dataset)) - 2


def test_without_clean_up_parts_are_not_counted(run: Run) -> None:
    """Null is known to be unknown; 1 would be a statement."""
    parts = {json.loads(row["attributes"])["prelabel"]["components"] for row in rows(run("grabcut", share=0.0))}
    assert parts == {None}
    assert None not in {
        json.loads(row["attributes"])["prelabel"]["components"] for row in rows(run("grabcut", folder="w"))
    }


def test_ten_thousand_boxes_in_one_image(run: Run, tmp_path: Path) -> None:
    PilImage.new("RGB", (400, 300)).save(tmp_path / "many.png")
    boxes = np.random.default_rng(0).uniform(5, 250, (10_000, 2)).tolist()
    records: list[Any] = [Image(id="a/m", source="a", file_name="many.png", width=400, height=300)]
    records += [Annotation(id=f"a/m#{i:05d}", image_id="a/m", x=x, y=y, w=20, h=10) for i, (x, y) in enumerate(boxes)]
    info = Info(name="a", sources={"a": SourceRecord(title="A")}, roots={"a": str(tmp_path)})
    outcome = run(dataset=from_records(info, records))
    assert outcome.masks == 10_000
    made = rows(outcome)
    assert {row["parent_id"]: (row["w"], row["h"]) for row in made}.keys() == {f"a/m#{i:05d}" for i in range(10_000)}
    assert all(19 <= row["w"] <= 21 and 9 <= row["h"] <= 11 for row in made)


def test_only_what_was_asked_for(scenes: Any) -> None:
    dataset, truth = scenes
    assert sum(len(task.wanted) for task in tasks.select(dataset, classes=["thing"])) == len(truth)
    with pytest.raises(UsageError, match=r"class 'car': is not in the dataset; expected one of thing"):
        tasks.select(dataset, classes=["car"])
    with pytest.raises(UsageError, match="source 'kitti'"):
        tasks.select(dataset, sources=["kitti"])
    masked = dataset.table("annotations").to_pylist()
    for row in masked[:3]:
        row["segmentation"] = {"size": [64, 64], "counts": "`0P1"}
    import pyarrow as pa

    table = pa.Table.from_pylist(masked, schema=dataset.table("annotations").schema)
    some = Dataset(dataset.info, {**dataset.tables, "annotations": table})
    assert sum(len(task.wanted) for task in tasks.select(some, without_mask=True)) == len(truth) - 3


def test_nothing_is_made_twice(run: Run) -> None:
    first = run()
    with pytest.raises(UsageError, match="rows of this segmenter already"):
        runner.run(
            first.dataset,
            tasks.select(first.dataset)[:3],
            Path(first.dataset.info.roots["drawn"]).parent / "w",
            "ellipse",
        )


class Failing:
    """A segmenter that breaks in the middle of a run."""

    name = "ellipse"

    def __init__(self, after: int) -> None:
        self.left = after

    def identity(self) -> dict[str, Any]:
        return {"model": "ellipse"}

    def segment(self, picture: Picture, prompts: Prompts) -> Iterator[Mask]:
        self.left -= 1
        if self.left < 0:
            raise CurateError("segmenter", "broke")
        for _ in range(len(prompts)):
            yield Mask(np.ones(picture.shape[:2], bool))


def test_what_was_done_before_a_failure_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "open_segmenter", lambda *a, **k: Failing(5))
    with pytest.raises(CurateError, match="broke"):
        run(shard=2)
    assert len((tmp_path / "work" / "manifest.jsonl").read_text().splitlines()) == 2
    monkeypatch.setattr(shards, "open_segmenter", lambda *a, **k: Failing(99))
    assert run(shard=2).done_before == 2


def test_images_without_boxes_are_ordinary(run: Run, scenes: Any) -> None:
    dataset, _ = scenes
    empty = Dataset(dataset.info, {**dataset.tables, "annotations": dataset.table("annotations").slice(0, 0)})
    outcome = run(dataset=empty)
    assert (outcome.masks, outcome.problems) == (0, [])
    assert outcome.dataset.table("images").num_rows == dataset.table("images").num_rows
