"""What ``review agreement`` says: the guide's example, examples by hand, and what must not be called agreement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from curate.geometry import rle_from_mask
from curate.model import Annotation
from curate.review import agreement, figures, folder, measures
from curate.review.log import Did, Event
from curate.review.plan import Item, Plan, checked, preset
from curate.review.records import Agreement, Figures
from curate.review.state import fold

PEOPLE = ("p1", "p2", "p3")
CONSENSUS = preset("consensus", PEOPLE)


def items(count: int) -> list[Item]:
    return [Item(id=f"i{n}", image_id=f"i{n}", width=60, height=60) for n in range(count)]


def box(x: float, y: float, w: float, h: float, label: str = "car", **more: Any) -> Annotation:
    return Annotation(id=f"{x},{y},{w},{h}", image_id="", category=label, x=x, y=y, w=w, h=h, **more)


def said(*answers: tuple[str, str, list[Annotation]], **more: Any) -> list[Event]:
    """Events of item, person and objects, in this order of time."""
    return [
        Event(
            key=f"1.t/{n}@t",
            kind="answer",
            person=person,
            item=item,
            round=0,
            annotation=f"1.t/{n}",
            revision=f"t{n:04}",
            objects=tuple(objects),
            **more,
        )
        for n, (item, person, objects) in enumerate(answers)
    ]


def agreed(events: list[Event], count: int, plan: Plan = CONSENSUS) -> Agreement:
    known = items(count)
    (found,) = measures.agreements(plan, fold(plan, known, events), known, every=True)
    return found


def of(rows: tuple[Figures, ...], name: str) -> Figures:
    (row,) = [row for row in rows if row.of == name]
    return row


A = [box(10, 10, 20, 20), box(50, 10, 10, 10)]
B = [box(12, 11, 20, 20), box(52, 12, 10, 10), box(80, 40, 10, 10)]
PAIR = preset("consensus", ("p1", "p2"))


def test_the_worked_example_of_two_people() -> None:
    """F1 is 0.4 at 0.50 to 0.70 and 0 from 0.75 on; object IoU 0.4058; PQ 0.2987; IoU of the pair 0.7467."""
    found = agreed(said(("i0", "p1", A), ("i0", "p2", B)), 1, PAIR)
    (row,) = found.pairs
    assert (row.of, row.images, row.objects) == ("p1 and p2", 1, 5)
    assert row.f1 == pytest.approx(0.4)
    assert row.f1_sweep == pytest.approx(0.4 * 5 / 10)
    more = row.more
    assert more is not None
    assert list(more.sweep.values()) == pytest.approx([0.4] * 5 + [0] * 5)
    assert (more.precision, more.recall) == pytest.approx((1 / 3, 1 / 2))
    assert (more.quality, more.matched_iou, more.object_iou) == pytest.approx((0.2987, 0.7467, 0.4058), abs=5e-5)
    assert (found.annotators, row.boundary_f, row.outlines) == ((), None, 0)


def test_the_worked_example_of_three_people() -> None:
    third = [box(10, 10, 20, 22), box(80, 40, 10, 10)]
    found = agreed(said(("i0", "p1", A), ("i0", "p2", B[:2]), ("i0", "p3", third)), 1)
    assert found.alpha == pytest.approx(0.3197, abs=5e-5)
    assert found.alpha_labels == found.alpha  # there is one class
    assert found.units == 3
    assert [row.of for row in found.pairs] == ["all pairs", "p1 and p2", "p1 and p3", "p2 and p3"]
    # p1 and p3: [10,10,20,20] and [10,10,20,22] have IoU 400/440 = 0.909: pairs at 0.50 ... 0.90, of 4 objects.
    assert of(found.pairs, "p1 and p3").f1_sweep == pytest.approx(0.9 * 2 / 4)
    # p2 and p3: 20 x 20 at (12, 11) and 20 x 22 at (10, 10): 18 * 20 / (400 + 440 - 360) = 0.75.
    assert of(found.pairs, "p2 and p3").f1_sweep == pytest.approx(0.6 * 2 / 4)
    first, second = 0.5 * 2 / 4, 0.9 * 2 / 4  # p1 with p2 (one pair until 0.70 of 4 objects), and with p3
    assert of(found.annotators, "p1").f1_sweep == pytest.approx((first + second) / 2)


def test_by_class_and_size_each_object_counts_for_its_own() -> None:
    """A car and a bus alike; a car that one calls a bus; a large one that the other misses."""
    mine = [box(0, 0, 10, 10), box(20, 0, 10, 10, "bus"), box(40, 0, 10, 10), box(0, 30, 120, 120)]
    other = [box(0, 0, 10, 10), box(20, 0, 10, 10, "bus"), box(40, 0, 10, 10, "bus")]
    found = agreed(said(("i0", "p1", mine), ("i0", "p2", other), ("i1", "p1", []), ("i1", "p2", [])), 2, PAIR)
    assert of(found.classes, "car").f1_sweep == pytest.approx(2 / 4)
    assert of(found.classes, "bus").f1_sweep == pytest.approx(2 / 3)
    assert of(found.sizes, "small").f1_sweep == pytest.approx(4 / 6)
    assert of(found.sizes, "large").f1_sweep == 0
    assert [row.of for row in found.sizes] == ["small", "large"]
    (row,) = found.pairs
    assert (row.images, row.objects) == (2, 7)
    assert row.more is not None
    assert row.more.agreed_empty == 1
    assert row.more.macro_f1 == pytest.approx((4 / 7 + 1) / 2)
    assert row.more.label_agreement == pytest.approx(2 / 3)  # of three pairs whatever their class
    assert {(one.kind, one.distance) for one in found.worst} == {
        ("missing_annotation", 1.0),
        ("mismatching_label", 1.0),
    }


def test_outlines_are_compared_by_their_pixels() -> None:
    """The guide's squares in a frame of 60: IoU 360/440, boundary F 40/76 at 1 px, boundary IoU at depth 1 by hand."""

    def square(left: int) -> Annotation:
        mask = np.zeros((60, 60), bool)
        mask[10:30, left : left + 20] = True
        return box(left, 10, 20, 20, segmentation=rle_from_mask(mask), area=400)

    found = agreed(said(("i0", "p1", [square(10)]), ("i0", "p2", [square(12)])), 1, PAIR)
    (row,) = found.pairs
    assert row.outlines == 1
    assert row.boundary_f == pytest.approx(40 / 76)
    assert row.more is not None
    assert row.more.matched_iou == pytest.approx(360 / 440)
    # Rims of one pixel: 76 each; on the upper and lower edge 18 pixels fall together.
    assert row.more.boundary_iou == pytest.approx(36 / (76 + 76 - 36))


def test_polygons_are_outlines_too() -> None:
    ring = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
    half = [10.0, 10.0, 30.0, 10.0, 30.0, 20.0, 10.0, 20.0]
    mine, other = box(10, 10, 20, 20, polygons=[[ring]]), box(10, 10, 20, 20, polygons=[[half]])  # boxes are alike
    (row,) = agreed(said(("i0", "p1", [mine]), ("i0", "p2", [other])), 1, PAIR).pairs
    assert row.more is not None
    assert row.more.matched_iou == pytest.approx(0.5)
    assert row.outlines == 1


def test_what_one_ignores_is_neither_hit_nor_miss_of_another() -> None:
    """p1 ignores 40 x 40 px; p2 draws two things there, one of which has half of it inside: F1 1 instead of 4/6.

    One pixel farther out it is a miss: 4/5. Of two things alike everything else is perfect, alpha too.
    """
    both = [box(0, 0, 10, 10), box(20, 0, 10, 10)]
    for mark in ({"ignore": True}, {"iscrowd": True}):
        region = box(100, 0, 40, 40, "", **mark)
        inside = [box(110, 10, 10, 10), box(135, 0, 10, 10)]
        for said_by_p1, said_by_p2 in (([*both, region], [*both, *inside]), (both, [*both, *inside, region])):
            found = agreed(said(("i0", "p1", said_by_p1), ("i0", "p2", said_by_p2)), 1, PAIR)
            (row,) = found.pairs
            assert (row.objects, row.f1_sweep, row.f1, found.alpha, found.worst) == (4, 1, 1, 1, ())
            more = row.more
            assert more is not None
            assert (more.precision, more.recall, more.macro_f1, more.quality, more.object_iou) == (1, 1, 1, 1, 1)
            assert set(more.sweep.values()) == {1.0}
    outside = [box(110, 10, 10, 10), box(136, 0, 10, 10)]
    found = agreed(said(("i0", "p1", [*both, region]), ("i0", "p2", [*both, *outside])), 1, PAIR)
    (row,) = found.pairs
    assert (row.objects, row.f1) == (5, 4 / 5)
    # Values: a a, b b, and absent with the thing outside: observed 2 of 6; expected 1 - (2 equal of 15 pairs).
    assert found.alpha == pytest.approx(1 - (2 / 6) / (13 / 15))


def test_what_one_ignores_counts_where_both_have_it_and_for_a_third() -> None:
    """p1 and p2 have a box in what p2 ignores: a hit. p3 has none and ignores nothing: p1's is missed, p2's is not."""
    region = box(0, 0, 40, 40, "", ignore=True)
    thing = box(10, 10, 10, 10)
    events = said(("i0", "p1", [thing]), ("i0", "p2", [thing, region]), ("i0", "p3", []))
    by = {row.of: (row.objects, row.f1) for row in agreed(events, 1).pairs}
    assert by == {"all pairs": (3, 2 / 3), "p1 and p2": (2, 1), "p1 and p3": (1, 0), "p2 and p3": (0, 1)}


def test_ignored_regions_with_outlines_are_asked_by_pixels() -> None:
    """The region's box holds the thing, and its outline, the left half of the box, does not."""

    def half(left: int, right: int, **more: Any) -> Annotation:
        mask = np.zeros((60, 60), bool)
        mask[0:40, left:right] = True
        mask[0, 0] |= bool(more)
        mask[39, 39] |= bool(more)  # the box of the region is 40 x 40
        x, w = (0, 40) if more else (left, right - left)
        return box(x, 0, w, 40, segmentation=rle_from_mask(mask), area=int(mask.sum()), **more)

    for left, count in ((22, 1), (8, 0)):  # 10 columns: one pixel of the first lies in the region, all of the second
        events = said(("i0", "p1", [half(0, 20, ignore=True)]), ("i0", "p2", [half(left, left + 10)]))
        (row,) = agreed(events, 1, PAIR).pairs
        assert (row.objects, row.f1) == (count, 0 if count else 1)


def test_labels_of_three_people() -> None:
    """The guide's table of Fleiss: (3,0) (3,0) (2,1) (0,3) (1,2) gives 0.4444; Cohen's by the same formula as ever."""
    rows = [("a", "a", "a"), ("a", "a", "a"), ("a", "a", "b"), ("b", "b", "b"), ("a", "b", "b")]
    events = said(
        *(
            (f"i{n}", person, [box(0, 0, 10, 10, label)])
            for n, labels in enumerate(rows)
            for person, label in zip(PEOPLE, labels, strict=True)
        )
    )
    found = agreed(events, 5)
    assert found.fleiss == pytest.approx(0.4444, abs=5e-5)
    more = of(found.pairs, "p1 and p2").more  # 3 a/a, 1 b/b, 1 a/b: po 0.8, pe (4*3 + 1*2) / 25
    assert more is not None
    assert (more.label_agreement, more.kappa) == pytest.approx((0.8, (0.8 - 0.56) / (1 - 0.56)))
    one = agreed(said(("i0", "p1", [box(0, 0, 9, 9)]), ("i0", "p2", [box(0, 0, 9, 9)])), 1, PAIR).pairs[0].more
    assert one is not None
    assert (one.label_agreement, one.kappa) == (1.0, None)  # one class: undefined


def test_staple_says_who_draws_too_much() -> None:
    """The guide's rows: sensitivity 1, .75, 1 and specificity 1, 1, .667, in a window of their own."""
    drawn = []
    for person, width in zip(PEOPLE, (4, 3, 6), strict=True):
        mask = np.zeros((60, 60), bool)
        mask[5, 10 : 10 + width] = True
        drawn.append(("i0", person, [box(10, 5, width, 1, segmentation=rle_from_mask(mask))]))
    by = {one.person: one for one in agreed(said(*drawn), 1).more}
    assert [by[person].sensitivity for person in PEOPLE] == pytest.approx([1, 0.75, 1], abs=0.01)
    assert by["p1"].specificity == pytest.approx(1, abs=0.01)
    assert (by["p3"].specificity or 0) < 1  # the window has a rim around it


def test_drift_is_noticed_in_the_order_of_work() -> None:
    """p3 works well for 20 items and then draws beside; p1 and p2 always agree."""
    events = []
    for n in range(40):
        for person in PEOPLE:
            x = 8.0 if person == "p3" and n >= 30 else float(n % 2 == 0 and person == "p3")
            events.append((f"i{n}", person, [box(x, 0, 10, 10)]))
    by = {one.person: one.drift for one in agreed(said(*events), 40).more}
    assert by["p3"] is not None
    assert by["p3"] > 30
    assert by["p1"] is None or by["p1"] > 30


def test_intervals_are_over_whole_images_and_repeatable() -> None:
    """Half of 100 images agree fully: the interval is that of a share, 0.5 ± 1.96 * 0.5 / 10, however many objects."""
    events = []
    for n in range(100):
        boxes = [box(20 * k, 0, 10, 10) for k in range(5)]
        events += [(f"i{n}", "p1", boxes), (f"i{n}", "p2", boxes if n % 2 else [box(0, 200, 9, 9)] * 5)]
    found, again = (agreed(said(*events), 100, PAIR) for _ in range(2))
    (row,) = found.pairs
    assert row.f1_sweep == pytest.approx(0.5)
    assert (row.f1_sweep_low, row.f1_sweep_high) == pytest.approx((0.402, 0.598), abs=0.03)
    assert found == again
    assert found.alpha_low is not None
    assert found.alpha_high is not None
    assert found.alpha is not None
    assert found.alpha_low < found.alpha < found.alpha_high


def test_whole_sequences_are_drawn_where_there_are_some() -> None:
    """Ten sequences of ten frames that are alike: the interval is that of ten draws, and not of a hundred."""
    events, known = [], []
    for n in range(100):
        known.append(Item(id=f"i{n}", image_id=f"i{n}", width=60, height=60, sequence=f"s/{n // 10}"))
        other = [box(0, 0, 10, 10)] if n // 10 % 2 else [box(30, 30, 10, 10)]
        events += [(f"i{n}", "p1", [box(0, 0, 10, 10)]), (f"i{n}", "p2", other)]
    (found,) = measures.agreements(PAIR, fold(PAIR, known, said(*events)), known)
    (row,) = found.pairs
    assert found.images == 100
    assert row.f1_sweep == pytest.approx(0.5)
    spread = 1.96 * 0.5 / np.sqrt(10)
    assert (row.f1_sweep_low, row.f1_sweep_high) == pytest.approx((0.5 - spread, 0.5 + spread), abs=0.1)


def test_several_targets_of_one_image_are_drawn_together() -> None:
    """Two items of one image: there is one image, so that nothing can vary, and there is no interval."""
    known = [Item(id=f"i0@{name}", image_id="i0", width=9, height=9, target=name) for name in ("bus", "car")]
    plan = preset("consensus", ("p1", "p2"), unit="class")
    events = said(("i0@bus", "p1", []), ("i0@bus", "p2", [box(0, 0, 5, 5)]), *[("i0@car", p, A) for p in ("p1", "p2")])
    (found,) = measures.agreements(plan, fold(plan, known, events), known)
    (row,) = found.pairs
    assert (found.images, row.objects) == (1, 5)
    assert row.f1_sweep == pytest.approx(4 / 5)
    assert (row.f1_sweep_low, row.f1_sweep_high, found.alpha_low, found.alpha_high) == (None,) * 4


def test_one_image_or_one_sequence_has_no_interval() -> None:
    """Cars in two images, a bus in one of them, one sequence or two: of one block nothing is known of the spread."""
    cars = [box(0, 0, 10, 10)]
    events = said(
        ("i0", "p1", cars), ("i0", "p2", cars), ("i1", "p1", [*cars, box(30, 0, 10, 10, "bus")]), ("i1", "p2", cars)
    )
    found = agreed(events, 2, PAIR)
    assert of(found.pairs, "p1 and p2").f1_sweep == pytest.approx(4 / 5)
    assert of(found.pairs, "p1 and p2").f1_sweep_low == pytest.approx(2 / 3)  # the second image twice
    assert of(found.pairs, "p1 and p2").f1_sweep_high == 1
    assert of(found.classes, "bus").f1_sweep == 0
    assert (of(found.classes, "bus").f1_sweep_low, of(found.classes, "bus").f1_sweep_high) == (None, None)
    known = [msgspec.structs.replace(item, sequence="s/0") for item in items(2)]
    (one,) = measures.agreements(PAIR, fold(PAIR, known, events), known)
    assert (one.images, one.alpha) == (2, found.alpha)
    assert one.alpha is not None
    assert found.alpha_low is not None
    assert (one.alpha_low, one.alpha_high) == (None, None)
    assert (one.pairs[0].f1_sweep_low, one.pairs[0].f1_sweep_high) == (None, None)
    assert one.line.endswith("F1@50:95 0.800")


def test_a_pair_that_agrees_on_nothing_counts_for_its_people() -> None:
    """p1 and p2 mark nothing in i0: 1; p1 and p3 are apart in i1: 0; so p1 has 0.5, p2 has 1 and p3 0."""
    plan = preset("consensus", PEOPLE, rounds=[{"name": "a", "kind": "annotate", "copies": 2}])
    known = items(12)
    events = []
    for job in fold(plan, known, []).jobs:
        if job.attempt == 0:
            pair = {one.person for one in fold(plan, known, []).jobs if one.item == job.item}
            away = job.person == "p3" and "p1" in pair
            if pair != {"p2", "p3"}:
                events.append((job.item, job.person, [box(0, 0, 10, 10)] if away else []))
    (found,) = measures.agreements(plan, fold(plan, known, said(*events)), known)
    assert {row.of: (row.f1_sweep, row.f1) for row in found.pairs[1:]} == {"p1 and p2": (1, 1), "p1 and p3": (0, 0)}
    assert {row.of: (row.f1_sweep, row.f1) for row in found.annotators} == {
        "p1": (0.5, 0.5),
        "p2": (1, 1),
        "p3": (0, 0),
    }


def test_two_of_three_people_per_item() -> None:
    """Only those who looked are asked: a missing answer is no missed object."""
    plan = preset("consensus", PEOPLE, rounds=[{"name": "a", "kind": "annotate", "copies": 2}])
    known = items(3)
    jobs = fold(plan, known, []).jobs
    events = said(*((job.item, job.person, [box(100 * int(job.item[1:]), 0, 10, 10)]) for job in jobs))
    found = agreed(events, 3, plan)
    assert {row.f1_sweep for row in found.pairs} == {1.0}
    assert [row.images for row in found.pairs] == [3, 1, 1, 1]
    assert found.alpha == 1.0
    assert found.fleiss is None  # one class
    assert found.worst == ()


LATER: list[dict[str, Any]] = [
    {"name": "annotate", "kind": "annotate"},
    {"name": "refine", "kind": "refine", "shows": "previous", "copies": 2},
]


def test_what_starts_from_anothers_work_is_no_agreement(tmp_path: Path) -> None:
    """Neither a round that shows the previous one, nor work that came back; after pre-labels it is called otherwise."""
    plan = preset("consensus", PEOPLE, rounds=LATER)
    events = said(("i0", "p1", A))
    second = said(("i0", "p2", A), ("i0", "p3", A), did=(Did("a", "unchanged", "a", 1.0),))
    events += [msgspec.structs.replace(e, round=1, key=f"s{e.key}", annotation=f"s{e.annotation}") for e in second]
    state = fold(plan, items(1), events)
    assert all(job.status == "done" for job in state.jobs)
    assert measures.agreements(plan, state, items(1)) == []
    shown = checked(
        {
            "name": "x",
            "annotators": PEOPLE,
            "rounds": [{"name": "r", "kind": "refine", "copies": 3, "shows": "prelabels"}],
        },
        "plan",
    )
    found = agreed(said(*(("i0", person, A) for person in PEOPLE)), 1, shown)
    assert not found.blind
    assert found.line.startswith("likeness after the same pre-labels, no independent agreement, of round r")


def test_times_per_object() -> None:
    """6, 7, 8, 7, 9 and 400 s for one object each: median 7.5, MAD 1; 3 s for 30 objects are too fast."""
    events = [
        msgspec.structs.replace(event, seconds=seconds)
        for event, seconds in zip(
            said(*((f"i{n}", "p1", A[:1]) for n in range(6))), (6.0, 7.0, 8.0, 7.0, 9.0, 400.0), strict=True
        )
    ]
    events += [
        msgspec.structs.replace(one, seconds=3.0, key="k", annotation="k") for one in said(("i6", "p2", A[:1] * 30))
    ]
    first, second = measures.paces(CONSENSUS, fold(CONSENSUS, items(7), events))
    assert (first.person, first.tasks, first.objects, first.median, first.mad, first.hasty) == (
        "p1",
        6,
        6,
        7.5,
        1,
        False,
    )
    assert (second.person, second.hasty) == ("p2", True)
    assert second.median == pytest.approx(0.1)


def test_boundaries_of_very_many_outlines_are_those_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:30, 10:30] = True
    row = box(10, 10, 20, 20, segmentation=rle_from_mask(mask))
    events = said(*((f"i{n}", person, [row]) for n in range(20) for person in ("p1", "p2")))
    monkeypatch.setattr(figures, "OUTLINES", 7)
    (found,) = agreed(events, 20, PAIR).pairs
    assert (found.outlines, found.boundary_f, found.f1_sweep) == (7, 1.0, 1.0)


def test_the_worst_are_the_farthest_apart_and_then_the_largest() -> None:
    mine = [box(0, 0, 10, 10), box(100, 0, 30, 30), box(300, 0, 10, 10), box(400, 0, 10, 10)]
    other = [box(303, 0, 10, 10), box(401, 0, 10, 10)]
    found = agreed(said(("i0", "p1", mine), ("i0", "p2", other)), 1, PAIR)
    assert [(one.kind, one.objects["p1"]) for one in found.worst] == [
        ("missing_annotation", "100,0,30,30"),
        ("missing_annotation", "0,0,10,10"),
        ("low_overlap", "300,0,10,10"),
        ("low_overlap", "400,0,10,10"),
    ]
    assert found.worst[2].distance == pytest.approx(1 - 70 / 130)
    assert found.worst[0].objects["p2"] is None


def test_nobody_has_anything() -> None:
    found = agreed(said(("i0", "p1", []), ("i0", "p2", [])), 1, PAIR)
    (row,) = found.pairs
    assert (found.alpha, found.alpha_low, found.units, row.objects) == (None, None, 0, 0)
    assert (row.f1_sweep, row.f1) == (1.0, 1.0)
    assert found.line == "agreement of round annotate: alpha undefined, F1@50:95 1.000"


def test_a_whole_review_gives_everything_at_once(tmp_path: Path) -> None:
    plan = preset("consensus", ("p1", "p2"))
    review = folder.Review(
        tmp_path,
        folder.About(id="x", dataset="d", fingerprint="f"),
        plan,
        items(1),
        {},
        said(("i0", "p1", A), ("i0", "p2", B), seconds=5.0),
    )
    found = measures.measure(review)
    assert (len(found.rounds), found.changes, found.audit) == (1, (), ())
    assert [pace.median for pace in found.times] == pytest.approx([5 / 2, 5 / 3])
    assert found.rounds[0].pairs[0].more is None  # on request only
    assert found.rounds[0].more == ()
    assert agreement.wilson(1, 2) == pytest.approx((0.0945, 0.9055), abs=5e-5)
