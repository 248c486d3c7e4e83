"""What becomes of accepted work, and the figures of a review: played without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from curate import store, verify
from curate.dataset import Dataset, from_records
from curate.errors import ReviewError
from curate.geometry import rle_area, rle_from_mask
from curate.model import Annotation, Category, Coverage, Image, Info, SourceRecord
from curate.review import finish as finishing
from curate.review import folder, log, measures, report
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
    (found,) = measures.agreements(review.plan, review.state, review.items, every=True)
    first = {one.of: one for one in found.pairs}
    # p1 and p2: a pair of car in image 0; car against bus in image 1; one object against none in image 2.
    assert first["p1 and p2"].f1 == pytest.approx(2 * 1 / 5)
    assert (first["p1 and p2"].images, first["p1 and p2"].objects) == (3, 5)
    assert (more := first["p1 and p2"].more) is not None
    assert (more.label_agreement, more.kappa) == (0.5, 0.0)
    assert (other := first["p2 and p3"].more) is not None
    assert other.agreed_empty == 1
    assert found.alpha is not None
    assert 0 < found.alpha < 1


def untouched(name: str) -> dict[str, Any]:
    """An answer that leaves the shown row ``name`` of the dataset as it is."""
    (found,) = [one for one in dataset().table("annotations").to_pylist() if one["id"] == name]
    known = {key: found[key] for key in ("status", "origin", "score", "parent_id")}
    made = row(name, **known, **({"segmentation": MASK} if found["segmentation"] else {}))
    return {"objects": (made,), "did": (Did(name, "unchanged", name, 1.0),)}


def deleted(name: str) -> dict[str, Any]:
    return {"did": (Did(name, "deleted", name, None),)}


def moved(name: str, person: str) -> dict[str, Any]:
    made = row(f"{name}-{person}", x=5.0, parent_id=name, origin=f"human:{person}")
    return {"objects": (made,), "did": (Did(made.id, "moved", name, 0.6),)}


TWO = {"name": "annotate", "kind": "annotate", "copies": 2}
SHOWING = preset(
    "consensus", PEOPLE, rounds=[{"name": "refine", "kind": "annotate", "copies": 3, "shows": "prelabels"}]
)


def statuses(done: Finished, image: str) -> dict[str, str]:
    rows = done.dataset.table("annotations").to_pylist()
    return {one["id"].partition("#")[2]: one["status"] for one in rows if one["image_id"] == image}


def test_what_most_people_delete_is_gone_though_one_left_it(tmp_path: Path) -> None:
    said = {("toy/1", "p1"): untouched("toy/1#mask")}
    said |= {("toy/1", person): deleted("toy/1#mask") for person in ("p2", "p3")}
    said |= {("toy/0", person): deleted("toy/0#mask") for person in PEOPLE}
    _, done = play(tmp_path, SHOWING, said)
    assert statuses(done, "toy/1") == {"mask": "rejected"}
    assert statuses(done, "toy/0") == {"mask": "rejected", "box": "rejected"}  # the box that the mask stood for, too


@pytest.mark.parametrize("steady", PEOPLE)
def test_who_left_a_row_untouched_does_not_decide_what_the_others_moved(tmp_path: Path, steady: str) -> None:
    said = {("toy/1", person): moved("toy/1#mask", person) for person in PEOPLE}
    said["toy/1", steady] = untouched("toy/1#mask")
    _, done = play(tmp_path, SHOWING, said)
    found = {one["id"]: one for one in done.dataset.table("annotations").to_pylist() if one["image_id"] == "toy/1"}
    old = found.pop("toy/1#mask")
    ((name, new),) = found.items()
    assert (old["status"], old["x"], old["score"], old["origin"]) == ("rejected", 1.0, 0.5, "model:m")
    assert (new["status"], new["x"], new["score"], new["origin"]) == ("truth", 5.0, None, "human:consensus")
    assert (new["parent_id"], name) == ("toy/1#mask", f"toy/1#mask-{min(set(PEOPLE) - {steady})}")


def test_what_most_people_left_untouched_stays_itself(tmp_path: Path) -> None:
    said = {("toy/0", person): untouched("toy/0#mask") for person in PEOPLE}
    said |= {("toy/1", person): untouched("toy/1#mask") for person in ("p2", "p3")}
    said["toy/1", "p1"] = moved("toy/1#mask", "p1")
    _, done = play(tmp_path, SHOWING, said)
    assert statuses(done, "toy/0") == {"mask": "truth", "box": "rejected"}
    assert statuses(done, "toy/1") == {"mask": "truth"}


def test_an_object_that_only_half_of_them_saw_leaves_its_class_open(tmp_path: Path) -> None:
    said: dict[tuple[str, str], dict[str, Any]] = {("toy/2", "p1"): {"objects": (row("toy/2#seen"),)}}
    _, done = play(tmp_path, preset("consensus", ("p1", "p2"), rounds=[{**TWO}]), said)
    found = {(one["scope"], one["category"]): one["state"] for one in done.dataset.table("coverage").to_pylist()}
    assert (found["toy/2", "car"], found["toy/2", "bus"], found["toy/0", "car"]) == (
        "partial",
        "exhaustive",
        "exhaustive",
    )
    assert statuses(done, "toy/2") == {"seen": "proposal"}


def test_a_proposal_that_half_of_them_left_stays_one_and_its_box_stays_truth(tmp_path: Path) -> None:
    said = {("toy/0", "p1"): untouched("toy/0#mask"), ("toy/0", "p2"): deleted("toy/0#mask")}
    _, done = play(tmp_path, preset("consensus", ("p1", "p2"), rounds=[{**TWO, "shows": "prelabels"}]), said)
    assert statuses(done, "toy/0") == {"mask": "proposal", "box": "truth"}


def test_a_part_that_is_left_untouched_says_nothing_against_the_whole(tmp_path: Path) -> None:
    """``parent_id`` of a truth row names what it is part of, as a bicycle of its rider: that is not replaced."""
    whole = row("toy/2#rider")
    part = row("toy/2#bicycle", parent_id="toy/2#rider")
    said = {
        ("toy/2", "*"): {
            "objects": (whole, part),
            "did": tuple(Did(r.id, "unchanged", r.id, 1.0) for r in (whole, part)),
        }
    }
    review, _ = play(tmp_path, QUICK, said)
    both = from_records(dataset().info, [*_records(dataset()), whole, part])
    done = finishing.finish(both, review, ["bus", "car"], name="done")
    assert statuses(done, "toy/2") == {"rider": "truth", "bicycle": "truth"}


def _records(held: Dataset) -> list[Any]:
    kinds: dict[str, Any] = {"images": Image, "annotations": Annotation, "categories": Category, "coverage": Coverage}
    found = []
    for name, kind in kinds.items():
        for given in held.table(name).to_pylist():
            given["attributes"] = msgspec.json.decode(given["attributes"]) if given.get("attributes") else None
            found.append(msgspec.convert({k: v for k, v in given.items() if v is not None}, kind))
    return found


def test_a_consensus_of_polygons_is_the_majority_of_what_they_paint(tmp_path: Path) -> None:
    """Squares of 20, 22 and 24 px from one corner: 22 x 22 have two of three."""
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for person, size in zip(PEOPLE, (20.0, 22.0, 24.0), strict=True):
        ring = [1.0, 1.0, 1.0 + size, 1.0, 1.0 + size, 1.0 + size, 1.0, 1.0 + size]
        said["toy/0", person] = {"objects": (row(f"toy/0#{person}", w=size, h=size, polygons=[[ring]]),)}
    _, done = play(tmp_path, preset("consensus", PEOPLE), said)
    (made,) = [one for one in done.dataset.table("annotations").to_pylist() if one["round"]]
    kept = msgspec.convert(made["segmentation"], type(MASK))
    assert (made["status"], rle_area(kept), made["polygons"]) == ("truth", 22 * 22, None)
    assert [made[name] for name in "xywh"] == [1, 1, 22, 22]


def test_two_equal_boxes_of_one_person_are_two_votes_of_hers_and_not_one(tmp_path: Path) -> None:
    """Each of her boxes stands in a unit of its own: one is agreed on, the other has one vote of three."""
    said: dict[tuple[str, str], dict[str, Any]] = {
        ("toy/0", "p1"): {"objects": (row("toy/0#a"), row("toy/0#b"))},
        ("toy/0", "p2"): {"objects": (row("toy/0#c"),)},
    }
    _, done = play(tmp_path, preset("consensus", PEOPLE), said)
    made = [one for one in done.dataset.table("annotations").to_pylist() if one["round"]]
    assert [(one["id"], one["status"]) for one in made] == [("toy/0#a", "truth")]


def test_the_lineage_says_how_good_the_work_was(tmp_path: Path) -> None:
    """Of two objects one was a defect: 50 %, Wilson's bounds 9.5 % and 90.5 %."""
    _, done = play(tmp_path, QUICK, SAID)
    command = done.dataset.info.command
    assert command is not None
    (step,) = command.steps
    assert step.what == "lot of round inspect: reject, 50.0 % defects (95 %: 9.5-90.5 %), at most 5 % allowed"
    assert step.counts == {"objects": 2, "defects": 1}
    assert done.figures == (step.what,)
    blind: dict[tuple[str, str], dict[str, Any]] = {
        ("toy/0", person): {"objects": (row(f"toy/0#{person}"),)} for person in PEOPLE
    }
    (tmp_path / "b").mkdir()
    _, done = play(tmp_path / "b", preset("consensus", PEOPLE), blind)
    command = done.dataset.info.command
    assert command is not None
    assert command.steps[0].what.startswith("agreement of round annotate: alpha ")
    assert "F1@50:95 1.000" in command.steps[0].what
    assert command.steps[0].counts == {"people": 3, "images": 3, "objects": 1}


@pytest.mark.parametrize(("defects", "accepted"), [(0, True), (1, False)])
def test_a_lot_is_taken_whole_where_its_sample_is_good_enough(tmp_path: Path, defects: int, accepted: bool) -> None:
    """A sample of one image of three, with 100 objects: without a defect the bound is 3.7 %, with one 5.4 %."""
    rule = {"name": "inspect", "kind": "inspect", "shows": "prelabels", "share": 0.34, "accept": {}}
    plan = preset("quick", ("p1",), rounds=[rule], seed=9)
    did = [Did(f"d{n}", "unchanged", f"d{n}", 1.0) for n in range(100 - defects)]
    did += [Did(f"e{n}", "added") for n in range(defects)]
    said: dict[tuple[str, str], dict[str, Any]] = {
        (f"toy/{i}", "*"): {"verdict": "accept", "did": tuple(did)} for i in range(3)
    }
    review, done = play(tmp_path, plan, said)
    (taken,) = [item for item, standing in review.state.items.items() if standing.status == "accepted"]
    assert taken == "toy/2"  # on which nothing is marked
    assert (done.lot, done.left) == (0, 2)
    if not accepted:
        with pytest.raises(ReviewError, match="no lot was accepted"):
            finishing.finish(dataset(), review, ["bus", "car"], name="done", lot=True)
        return
    done = finishing.finish(dataset(), review, ["bus", "car"], name="done", lot=True)
    assert (done.lot, done.left, done.accepted) == (2, 0, 1)
    rows = {one["id"]: one["status"] for one in done.dataset.table("annotations").to_pylist()}
    assert rows == {"toy/0#box": "rejected", "toy/0#mask": "truth", "toy/1#mask": "truth"}
    scopes = {one["scope"] for one in done.dataset.table("coverage").to_pylist() if one["origin"] == "human:p1"}
    assert scopes == {"toy/2"}  # nobody looked at the others
    command = done.dataset.info.command
    assert command is not None
    assert command.options["lot"] is True
    assert command.steps[0].what.startswith("lot of round inspect: accept, 0.0 % defects (95 %: 0.0-3.7 %)")


def test_rounds_that_start_from_another_are_no_agreement(tmp_path: Path) -> None:
    review, _ = play(tmp_path, QUICK, SAID)
    assert measures.agreements(review.plan, review.state) == []


def test_status(tmp_path: Path) -> None:
    review, _ = play(tmp_path, QUICK, SAID)
    found = report.status(review.plan, review.state)
    (one,) = found.rows
    assert (one.open, one.done, one.skipped, one.rejected, one.seconds, one.hours_left) == (0, 3, 0, 0, 6.0, 0.0)
    (change,) = found.changes
    assert (change.objects, change.changed, change.defects) == (2, 1, 1)  # IoU 0.4 is below 0.75
    assert change.moved_by == pytest.approx(0.6)
    assert change.decision == "reject"  # of 1 in 2 even the lower bound, 9.5 %, is above 5 %
    assert (change.low, change.high) == pytest.approx((0.0945, 0.9055), abs=5e-5)
    assert (change.target, change.needed, change.started_from) == (0.05, 2, "prelabels")
    assert found.items == {"accepted": 3}
