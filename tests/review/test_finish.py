"""What becomes of accepted work, and the figures of a review: played without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from curate import store, verify
from curate.dataset import Dataset, from_records
from curate.geometry import rle_area, rle_from_mask
from curate.model import Annotation, Category, Coverage, Image, Info, SourceRecord
from curate.review import finish as finishing
from curate.review import folder, log, report
from curate.review.finish import Finished
from curate.review.folder import Review
from curate.review.log import Did, Event
from curate.review.plan import Plan, preset

PEOPLE = ("p1", "p2", "p3")
MASK = rle_from_mask(np.pad(np.ones((20, 20)), ((1, 27), (1, 43))))  # over the box of ``row``


def row(name: str, x: float = 1.0, w: float = 20.0, **changes: Any) -> Annotation:
    given = {"category": "car", "y": 1.0, "h": 20.0, "area": w * 20} | changes
    return Annotation(id=name, image_id=name.partition("#")[0], x=x, w=w, **given)


def dataset() -> Dataset:
    """Image 0: a source box with a proposal for it; image 1: a proposal of its own; image 2: nothing."""
    records: list[Any] = [Image(id=f"toy/{i}", source="toy", width=64, height=48) for i in range(3)]
    records += [Category(name="bus"), Category(name="car")]
    records.append(row("toy/0#box", source_label="car"))
    proposal = {"status": "proposal", "origin": "model:m", "score": 0.5}
    records.append(row("toy/0#mask", parent_id="toy/0#box", segmentation=MASK, **proposal))
    records.append(row("toy/1#mask", **proposal))
    records.append(Coverage(scope="toy/0", category="car", state="partial"))
    return from_records(Info(name="toy", sources={"toy": SourceRecord(title="Toy")}), records)


def play(path: Path, plan: Plan, said: dict[tuple[str, str], dict[str, Any]]) -> tuple[Review, Finished]:
    """All open jobs are answered, round by round, with what ``said`` has for (item, person) or (item, *)."""
    store.write(dataset(), path / "ds")
    review = folder.init(store.read(path / "ds"), str(path / "ds"), plan, path / "review")
    for number in range(100):
        todo = [job for job in review.state.jobs if job.status == "open"]
        if not todo:
            break
        job = todo[0]
        given = said.get((job.item, job.person), said.get((job.item, "*"), {}))
        key = f"1.t/{number}"
        place = {"person": job.person, "item": job.item, "round": job.round, "attempt": job.attempt}
        event = Event(key=f"{key}@t", kind="answer", annotation=key, revision=f"t{number:03}", seconds=6.0, **place)
        log.append(review.log, [msgspec.structs.replace(event, **given)])
        review = folder.read(path / "review")
    return review, finishing.finish(store.read(path / "ds"), review, ["bus", "car"], name="done")


QUICK = preset("quick", ("p1",), rounds=[{"name": "inspect", "kind": "inspect", "shows": "prelabels", "accept": {}}])
SAID: dict[tuple[str, str], dict[str, Any]] = {
    ("toy/0", "*"): {
        "verdict": "accept",
        "objects": (row("toy/0#mask", parent_id="toy/0#box", segmentation=MASK, status="proposal", origin="model:m"),),
        "did": (Did("toy/0#mask", "unchanged", "toy/0#mask", 1.0),),
    },
    ("toy/1", "*"): {
        "verdict": "fix",
        "objects": (row("toy/1#new", x=9.0, parent_id="toy/1#mask", origin="human:p1"),),
        "did": (Did("toy/1#new", "moved", "toy/1#mask", 0.4),),
    },
    ("toy/2", "*"): {"verdict": "accept"},
}


def test_accepted_work_is_truth_and_says_whose(tmp_path: Path) -> None:
    _, done = play(tmp_path, QUICK, SAID)
    rows = {one["id"]: one for one in done.dataset.table("annotations").to_pylist()}
    assert {name: one["status"] for name, one in rows.items()} == {
        "toy/0#box": "rejected",  # the accepted proposal takes its place
        "toy/0#mask": "truth",
        "toy/1#mask": "rejected",
        "toy/1#new": "truth",
    }
    assert rows["toy/0#box"]["source_label"] == "car"
    assert (rows["toy/1#new"]["origin"], rows["toy/1#new"]["round"]) == ("human:p1", 1)
    assert rows["toy/1#new"]["parent_id"] == "toy/1#mask"
    assert msgspec.json.decode(rows["toy/1#new"]["attributes"])["review"] == {"people": ["p1"], "verdict": "fix"}
    assert (done.accepted, done.truth, done.rejected, done.left) == (3, 2, 2, 0)


def test_coverage_says_who_looked_for_what(tmp_path: Path) -> None:
    _, done = play(tmp_path, QUICK, SAID)
    coverage = done.dataset.table("coverage").to_pylist()
    assert {(one["scope"], one["category"]): (one["state"], one["origin"], one["round"]) for one in coverage} == {
        (f"toy/{i}", name): ("exhaustive", "human:p1", 1) for i in range(3) for name in ("bus", "car")
    }  # also of the image on which nothing was found


def test_the_result_is_a_sound_dataset_and_repeatable(tmp_path: Path) -> None:
    review, done = play(tmp_path, QUICK, SAID)
    store.write(done.dataset, tmp_path / "done")
    assert store.read(tmp_path / "done").fingerprint() == done.dataset.fingerprint()
    checked = verify.verify(store.read(tmp_path / "done"), skip=["I"])  # there are no pictures
    assert checked.errors == 0, checked.findings
    again = finishing.finish(store.read(tmp_path / "ds"), review, ["bus", "car"], name="done")
    assert again.dataset.fingerprint() == done.dataset.fingerprint()


def test_rows_of_earlier_rounds_leave_no_dangling_parent(tmp_path: Path) -> None:
    rounds = [
        {"name": "a", "kind": "refine", "shows": "prelabels"},
        {"name": "b", "kind": "refine", "shows": "previous"},
    ]
    plan = preset("quick", ("p1", "p2"), rounds=rounds)
    said = dict(SAID)
    first = row("toy/1#first", x=3.0, parent_id="toy/1#mask")
    second = row("toy/1#second", x=4.0, parent_id="toy/1#first")
    for person, one, shown in (("p2", first, "toy/1#mask"), ("p1", second, "toy/1#first")):
        said["toy/1", person] = {"objects": (one,), "did": (Did(one.id, "moved", shown, 0.9),)}
    _, done = play(tmp_path, plan, said)
    rows = {one["id"]: one for one in done.dataset.table("annotations").to_pylist()}
    assert "toy/1#first" not in rows
    assert (rows["toy/1#second"]["parent_id"], rows["toy/1#mask"]["status"]) == ("toy/1#mask", "rejected")


def test_a_consensus_of_three(tmp_path: Path) -> None:
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for person, x, size in (("p1", 1.0, 20), ("p2", 2.0, 22), ("p3", 1.0, 24)):
        mask = np.zeros((48, 64), bool)
        mask[:size, :size] = True
        made = row(f"toy/0#{person}", x=x, segmentation=rle_from_mask(mask))
        said["toy/0", person] = {"objects": (made,)}
    for person, label in (("p1", "car"), ("p2", "bus")):  # the third sees nothing; the two do not agree on the class
        said["toy/1", person] = {"objects": (row(f"toy/1#{person}", category=label),)}
    said["toy/2", "p1"] = {"objects": (row("toy/2#alone"),)}
    review, done = play(tmp_path, preset("consensus", PEOPLE), said)
    rows = {one["id"]: one for one in done.dataset.table("annotations").to_pylist() if one["round"]}
    assert {name: one["status"] for name, one in rows.items()} == {"toy/0#p1": "truth", "toy/1#p1": "proposal"}
    assert done.ties == 1
    kept = Annotation(id="", image_id="", segmentation=msgspec.convert(rows["toy/0#p1"]["segmentation"], type(MASK)))
    assert kept.segmentation is not None
    assert rle_area(kept.segmentation) == 22 * 22  # the pixels of two of three
    about = msgspec.json.decode(rows["toy/0#p1"]["attributes"])["review"]
    assert (about["votes"], about["voters"], about["people"]) == (3, 3, list(PEOPLE))
    (found,) = report.agreements(review.plan, review.state)
    first = {one.of: one for one in found.pairs}
    # p1 and p2: a pair of car in image 0; car against bus in image 1; one object against none in image 2.
    assert first["p1 and p2"].f1 == pytest.approx(2 * 1 / 5)
    assert (first["p1 and p2"].images, first["p1 and p2"].objects) == (3, 5)
    assert first["p1 and p2"].label_agreement == 0.5
    assert first["p1 and p2"].kappa == 0.0
    assert first["p2 and p3"].agreed_empty == 1
    assert found.alpha is not None
    assert 0 < found.alpha < 1


def test_rounds_that_start_from_another_are_no_agreement(tmp_path: Path) -> None:
    review, _ = play(tmp_path, QUICK, SAID)
    assert report.agreements(review.plan, review.state) == []


def test_status(tmp_path: Path) -> None:
    review, _ = play(tmp_path, QUICK, SAID)
    found = report.status(review.plan, review.state)
    (one,) = found.rows
    assert (one.open, one.done, one.skipped, one.rejected, one.seconds, one.hours_left) == (0, 3, 0, 0, 6.0, 0.0)
    (change,) = found.changes
    assert (change.objects, change.changed, change.defects) == (2, 1, 1)  # IoU 0.4 is below 0.75
    assert change.moved_by == pytest.approx(0.6)
    assert change.decision == "reject"  # of 1 in 2 even the lower bound, 9.5 %, is above 5 %
    assert found.items == {"accepted": 3}
