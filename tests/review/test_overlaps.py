"""Many objects at once: the same overlaps, pairs, units and alpha as image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry import box_iou
from curate.model import Annotation
from curate.review import agreement, overlaps
from curate.review.agreement import SWEEP, Seen
from curate.review.overlaps import ABSENT, AWAY, Objects
from tests.review import naive

PEOPLE = ("p1", "p2", "p3")
Scene = list[dict[str, list[Seen]]]  # by image and person


def rows(seen: Sequence[Seen], prefix: str = "") -> list[Annotation]:
    return [
        Annotation(
            id=f"{prefix}#{i}",
            image_id="",
            category=one.label or None,
            x=one.box[0],
            y=one.box[1],
            w=one.box[2],
            h=one.box[3],
        )
        for i, one in enumerate(seen)
    ]


def objects(scene: Scene) -> Objects:
    answers: list[Mapping[str, Sequence[Annotation]]] = [{p: rows(seen) for p, seen in by.items()} for by in scene]
    return overlaps.objects_of(answers, PEOPLE)


def random_scene(seed: int, images: int = 8, things: int = 5, spread: float = 60.0) -> Scene:
    """Crowded: boxes of one person overlap with several of another."""
    rng = np.random.default_rng(seed)
    scene: Scene = []
    for _ in range(images):
        there = [(*rng.uniform(0, spread, 2), *rng.uniform(5, 40, 2)) for _ in range(rng.integers(0, things + 1))]
        by: dict[str, list[Seen]] = {}
        for person in PEOPLE:
            if rng.random() < 0.8:
                by[person] = [
                    Seen(tuple(np.array(box) + rng.normal(0, 1, 4).clip(-2, 2)), rng.choice(["car", "bus"]))
                    for box in there
                    if rng.random() < 0.8
                ]
        scene.append(by)
    return scene


EXAMPLE: Scene = [
    {
        "p1": [Seen((10, 10, 20, 20)), Seen((50, 10, 10, 10))],
        "p2": [Seen((12, 11, 20, 20)), Seen((52, 12, 10, 10))],
        "p3": [Seen((10, 10, 20, 22)), Seen((80, 40, 10, 10))],
    }
]


def test_the_worked_example_of_alpha() -> None:
    """Units {a, b, c}, {a, b, absent}, {absent, absent, c}: Do 0.5693, De 0.8368, alpha 0.3197."""
    made = objects(EXAMPLE)
    units = overlaps.units_of(made, overlaps.edges_of(made))
    assert units.tolist() == [[0, 2, 4], [1, 3, ABSENT], [ABSENT, ABSENT, 5]]
    found = overlaps.alpha_of(made, units)
    assert found.value == pytest.approx(0.3197, abs=5e-5)
    assert found.expected == pytest.approx(0.8368, abs=5e-5)
    assert found.observed.sum() / found.values.sum() == pytest.approx(0.5693, abs=5e-5)


def test_the_worked_example_of_matching() -> None:
    """IoU 342/458 and 64/136: two pairs at 0.40, one at 0.50 and 0.70, none at 0.75."""
    made = objects([{"p1": EXAMPLE[0]["p1"], "p2": [*EXAMPLE[0]["p2"], Seen((80, 40, 10, 10))]}])
    edges = overlaps.edges_of(made)
    assert edges.iou.tolist() == pytest.approx([342 / 458, 64 / 136])
    assert [int(found.sum()) for found in overlaps.matched(made, edges, [0.4, 0.5, 0.7, 0.75])] == [2, 1, 1, 0]


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_overlaps_pairs_units_and_alpha_are_those_of_each_image(seed: int) -> None:
    scene = random_scene(seed)
    made = objects(scene)
    edges = overlaps.edges_of(made)
    assert len(edges.a) == sum(
        int((box_iou(boxes(by[p]), boxes(by[q])) > 0).sum())
        for by in scene
        for p, q in (("p1", "p2"), ("p1", "p3"), ("p2", "p3"))
        if p in by and q in by
    )
    for aware in (True, False):
        for threshold, which in zip(SWEEP, overlaps.matched(made, edges, SWEEP, aware=aware), strict=True):
            for p, q in ((0, 1), (0, 2), (1, 2)):
                mine = which & (made.person[edges.a] == p) & (made.person[edges.b] == q)
                slow = [
                    pair
                    for by in scene
                    if PEOPLE[p] in by and PEOPLE[q] in by
                    for pair in naive.pairs(by[PEOPLE[p]], by[PEOPLE[q]], threshold, aware=aware)
                ]
                assert mine.sum() == len(slow)
                assert edges.iou[mine].sum() == pytest.approx(sum(iou for *_, iou in slow))
    units = [unit for by in scene for unit in agreement.clusters([by[person] for person in sorted(by)])]
    found = overlaps.units_of(made, edges)
    assert sorted([sum(k >= 0 for k in row), sum(k != AWAY for k in row)] for row in found.tolist()) == sorted(
        [sum(one is not None for one in unit), len(unit)] for unit in units
    )
    for labels in (False, True):
        slow_alpha = naive.alpha(units, lambda a, b, labels=labels: naive.seen_distance(a, b, labels=labels))  # type: ignore[misc]
        assert overlaps.alpha_of(made, found, labels=labels).value == (
            None if slow_alpha is None else pytest.approx(slow_alpha, abs=1e-9)
        )


def boxes(seen: Sequence[Seen]) -> np.ndarray:
    return np.array([one.box for one in seen], float).reshape(-1, 4)


def test_portions_do_not_change_the_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    made = objects(random_scene(1, images=30))
    whole = overlaps.edges_of(made)
    monkeypatch.setattr(overlaps, "_PORTION", 7)
    parts = overlaps.edges_of(made)
    assert [column.tolist() for column in parts] == [column.tolist() for column in whole]


def test_alpha_of_many_boxes_is_estimated_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    made = objects(random_scene(2, images=60, spread=300))
    units = overlaps.units_of(made, overlaps.edges_of(made))
    exact = overlaps.alpha_of(made, units).value
    monkeypatch.setattr(overlaps, "_EXACT", 100)
    assert overlaps.alpha_of(made, units).value == pytest.approx(exact, abs=0.005)
    assert overlaps.alpha_of(made, units).value != exact


def test_crowds_ignored_regions_and_labels_of_whole_images_are_no_objects() -> None:
    box = {"x": 1.0, "y": 1.0, "w": 5.0, "h": 5.0}
    said = [
        Annotation(id="a", image_id="", iscrowd=True, **box),  # type: ignore[arg-type]
        Annotation(id="b", image_id="", ignore=True, **box),  # type: ignore[arg-type]
        Annotation(id="c", image_id="", category="car"),
        Annotation(id="d", image_id="", area=7.0, polygons=[[[1, 1, 6, 1, 6, 6]]], **box),  # type: ignore[arg-type]
    ]
    made = overlaps.objects_of([{"p1": said, "p2": []}], PEOPLE)
    assert [row.id for row in made.rows] == ["d"]
    assert made.area.tolist() == [7.0]
    assert made.looked.tolist() == [[True, True, False]]


def test_nothing_at_all() -> None:
    made = objects([{"p1": [], "p2": []}])
    edges = overlaps.edges_of(made)
    units = overlaps.units_of(made, edges)
    assert (len(edges.a), len(units)) == (0, 0)
    assert overlaps.alpha_of(made, units).value is None
    assert [found.tolist() for found in overlaps.matched(made, edges, SWEEP)] == [[]] * 10
