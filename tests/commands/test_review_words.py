"""What a user reads of a review: lots with what to do next, and the figures, without a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.commands import review_words
from curate.model import Annotation
from curate.review import folder, log, report
from curate.review.audit import Rate
from curate.review.log import Did, Event
from curate.review.plan import Item, Plan, preset
from curate.review.report import Change
from curate.review.state import fold

Curate = Callable[..., Any]
RULE = {"name": "inspect", "kind": "inspect", "shows": "prelabels", "accept": {}}


def changed(defects: int, objects: int) -> Change:
    """An inspected lot of which ``defects`` objects were added."""
    plan = preset("quick", ("p1",), rounds=[RULE])
    item = Item(id="i", image_id="i", width=9, height=9)
    did = [Did(f"{n}", "added") for n in range(defects)]
    did += [Did(f"{n}", "unchanged", f"{n}", 1.0) for n in range(defects, objects)]
    place: dict[str, Any] = {"person": "p1", "item": "i", "round": 0, "annotation": "a", "revision": "t"}
    event = Event(key="k", kind="answer", verdict="fix", did=tuple(did), **place)
    (status,) = report.changes(plan, fold(plan, [item], [event]))
    return status


@pytest.mark.parametrize(
    ("defects", "objects", "says"),
    [
        (0, 125, "accept, 0.0 % defects (95 %: 0.0-3.0 %), at most 5 % allowed: finish --lot takes what nobody"),
        (20, 125, "reject, 16.0 % defects (95 %: 10.6-23.4 %), at most 5 % allowed: go through all of it"),
        (4, 125, "inspect more (about 564 objects in all): raise share in plan.yaml and push again"),
        (5, 100, "no sample will decide it at this share of defects; go through all of it"),
    ],
)
def test_a_lot_and_what_to_do_next(defects: int, objects: int, says: str) -> None:
    line, lot = review_words.changes([changed(defects, objects)])
    assert line.startswith(f"inspect: {defects:,} of {objects:,} objects changed, {defects:,} added, 0 deleted")
    assert says in lot


def test_no_change_at_all_is_suspicious() -> None:
    assert "none at all: were they looked at?" in review_words.changes([changed(0, 100)])[0]
    assert "none at all" not in review_words.changes([changed(0, 99)])[0]


def written(path: Path, plan: Plan, objects: dict[str, list[tuple[float, str]]]) -> None:
    """A review of one image, in which everybody marked boxes from x on, of a class."""
    from curate import store
    from curate.dataset import from_records
    from curate.model import Category, Image, Info

    records = [Image(id="s/a", source="s", width=100, height=100), Category(name="bus"), Category(name="car")]
    store.write(from_records(Info(name="s"), records), path / "ds")
    review = folder.init(store.read(path / "ds"), str(path / "ds"), plan, path / "rounds")
    events = []
    for n, (person, boxes) in enumerate(objects.items()):
        rows = tuple(
            Annotation(id=f"{person}{k}", image_id="s/a", category=label, x=x, y=0.0, w=10.0, h=10.0)
            for k, (x, label) in enumerate(boxes)
        )
        event = Event(key=f"k{n}", kind="answer", person=person, item="s/a", round=0, annotation=f"a{n}", revision="t")
        events.append(Event(**{name: getattr(event, name) for name in event.__struct_fields__} | {"objects": rows}))
    log.append(review.log, events)


def test_agreement_of_two_people_in_words(curate: Curate, tmp_path: Path) -> None:
    """One box alike, one that p2 calls a bus, one that p2 has not: one pair of five, F1 0.4."""
    said = {"p1": [(0.0, "car"), (30.0, "car"), (60.0, "car")], "p2": [(0.0, "car"), (30.0, "bus")]}
    written(tmp_path, preset("consensus", ("p1", "p2")), said)
    text = curate("review", "agreement", "rounds").stdout
    assert "F1@50:95 0.400\n" in text  # of one image: no interval
    assert "p1, p2; 1 images, 3 things marked; intervals 95 %" in text
    assert "worst disagreements: 1 missing annotation, 1 mismatching label; as pictures with --html" in text
    assert "Cohen's kappa" not in text
    more = curate("review", "agreement", "rounds", "--all").stdout
    assert "equal classes           0.500" in more
    assert "Cohen's kappa           0.000" in more
    assert "panoptic quality        0.400" in more
    assert curate("review", "agreement", "rounds", "-q").stdout == ""


@pytest.mark.parametrize(
    ("other", "says"),
    [(0.0, "undefined (one class)"), (50.0, "undefined (nothing matched)")],
)
def test_kappa_says_why_it_is_undefined(curate: Curate, tmp_path: Path, other: float, says: str) -> None:
    written(tmp_path, preset("consensus", ("p1", "p2")), {"p1": [(0.0, "car")], "p2": [(other, "car")]})
    assert f"Cohen's kappa           {says}\n" in curate("review", "agreement", "rounds", "--all").stdout


def test_names_with_control_characters_are_written_as_escapes() -> None:
    counts = dict.fromkeys(("negatives", "looked", "missed", "ranked", "found", "undecided", "open"), 1)
    rate = Rate(category="\x1b]0;x\x07car", rate=1.0, low=0.2, high=1.0, **counts)
    assert rate.line == r"audit \x1b]0;x\x07car: 100.0 % missed positives (95 %: 20.0-100.0 %)"
    nobody = Rate(category="\x1b]0;x\x07car", rate=None, low=0.0, high=1.0, **counts)
    assert nobody.line == r"audit \x1b]0;x\x07car: nobody has looked yet"
    place: dict[str, Any] = {"person": "p\x1b", "item": "i", "round": 0, "annotation": "a", "revision": "t\n"}
    assert report.report_line(Event(key="k", kind="report", message="m\x07", **place)) == r"m\x07"
    line = report.report_line(Event(key="k", kind="report", foreign=True, **place))
    assert line == r"annotation a of p\x1b at t\n: by another hand; not taken"


def test_a_round_after_prelabels_is_no_independent_agreement(curate: Curate, tmp_path: Path) -> None:
    rounds = [{"name": "r", "kind": "refine", "shows": "prelabels", "copies": 2}]
    written(tmp_path, preset("consensus", ("p1", "p2"), rounds=rounds), {"p1": [(0.0, "car")], "p2": [(0.0, "car")]})
    text = curate("review", "agreement", "rounds").stdout
    assert text.startswith("likeness after the same pre-labels, no independent agreement, of round r: ")
    assert "what nobody touched counts as agreed" in text


def test_a_review_without_copies_has_no_agreement(curate: Curate, tmp_path: Path) -> None:
    written(tmp_path, preset("quick", ("p1",), rounds=[{"name": "r", "kind": "annotate"}]), {"p1": []})
    assert curate("review", "agreement", "rounds").stdout.startswith(review_words.NOTHING)


def test_without_answers_it_says_so(curate: Curate, tmp_path: Path) -> None:
    written(tmp_path, preset("consensus", ("p1", "p2")), {})
    assert curate("review", "agreement", "rounds").stdout.startswith(review_words.UNANSWERED)


def test_with_one_answer_each_there_is_nothing_to_compare(curate: Curate, tmp_path: Path) -> None:
    written(tmp_path, preset("consensus", ("p1", "p2")), {"p1": [(0.0, "car")]})
    says = "nothing to compare yet: no item of annotate is answered by two people"
    assert curate("review", "agreement", "rounds").stdout.startswith(says)
