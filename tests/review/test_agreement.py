"""The figures of agreement, against examples that were worked out by hand and by other programs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry import box_iou
from curate.review import agreement
from curate.review.agreement import Counts, Seen

A = np.array([[10, 10, 20, 20], [50, 10, 10, 10]], float)
B = np.array([[12, 11, 20, 20], [52, 12, 10, 10], [80, 40, 10, 10]], float)
IOU = box_iou(A, B)


def test_the_example_has_the_stated_overlaps() -> None:
    assert np.allclose(IOU, [[342 / 458, 0, 0], [0, 64 / 136, 0]])


@pytest.mark.parametrize(
    ("threshold", "pairs", "precision", "recall", "f1", "quality"),
    [
        (0.40, 2, 2 / 3, 1, 0.8000, 0.4869),
        (0.50, 1, 1 / 3, 1 / 2, 0.4000, 0.2987),
        (0.70, 1, 1 / 3, 1 / 2, 0.4000, 0.2987),
        (0.75, 0, 0, 0, 0, 0),
    ],
)
def test_precision_recall_f1_and_panoptic_quality(
    threshold: float, pairs: int, precision: float, recall: float, f1: float, quality: float
) -> None:
    counts = agreement.count(IOU, threshold)
    assert counts.pairs == pairs
    assert (counts.precision, counts.recall) == pytest.approx((precision, recall))
    assert (counts.f1, counts.quality) == pytest.approx((f1, quality), abs=5e-5)


def test_mean_overlap() -> None:
    assert agreement.count(IOU, 0.5).matched_iou == pytest.approx(0.7467, abs=5e-5)
    assert agreement.count(IOU, 0.4).matched_iou == pytest.approx(0.6087, abs=5e-5)
    assert agreement.count(IOU, 0).object_iou == pytest.approx(0.4058, abs=5e-5)
    assert agreement.count(IOU, 0.8).matched_iou is None


def test_the_sweep() -> None:
    sweep = agreement.f1_sweep([(IOU, None)])
    assert list(sweep) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert sum(sweep.values()) / 10 == pytest.approx(0.4 * 5 / 10)


def test_more_pairs_win_over_the_best_pair() -> None:
    iou = np.array([[0.60, 0.55], [0.58, 0.10]])
    assert [(pair.a, pair.b) for pair in agreement.match(iou, 0.5)] == [(0, 1), (1, 0)]


def test_nothing_and_nothing_agree_nothing_and_something_do_not() -> None:
    both, one = agreement.count(np.zeros((0, 0)), 0.5), agreement.count(np.zeros((0, 3)), 0.5)
    assert (both.precision, both.recall, both.f1) == (1, 1, 1)
    assert (one.f1, one.precision) == (0, 0)
    assert sum([both, one], Counts()).f1 == 0  # pooled: counts are summed before they are divided


def test_labels_forbid_pairs() -> None:
    allowed = agreement.equal_labels(["car", "car"], ["bus", "car", "car"])
    assert agreement.count(IOU, 0.4, allowed).pairs == 1
    assert agreement.equal_labels([], ["car"]).shape == (0, 1)


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10**6), st.sampled_from([0.2, 0.5, 0.8]))
@settings(max_examples=200, deadline=None)
def test_the_matching_is_the_best_of_all(n: int, m: int, seed: int, threshold: float) -> None:
    iou = np.random.default_rng(seed).random((n, m))
    best = (0, 0.0)
    small, large = (iou, range(m)) if n <= m else (iou.T, range(n))
    for places in itertools.permutations(large, min(n, m)):
        held = [small[i, j] for i, j in enumerate(places) if small[i, j] >= threshold]
        best = max(best, (len(held), sum(held)))
    pairs = agreement.match(iou, threshold)
    assert len(pairs) == best[0]
    assert sum(pair.iou for pair in pairs) == pytest.approx(best[1])


def square(left: int) -> np.ndarray:
    mask = np.zeros((60, 60), bool)
    mask[10:30, left : left + 20] = True
    return mask


def test_boundaries() -> None:
    a, b = square(10), square(12)
    assert agreement.edge(a).sum() == 76
    assert (a & b).sum() / (a | b).sum() == pytest.approx(0.8182, abs=5e-5)
    assert agreement.boundary_f(a, b, 1) == pytest.approx(40 / 76)
    assert agreement.boundary_f(a, b, 2) == 1
    assert agreement.boundary_iou(a, b, 2) == pytest.approx(1 / 3)
    assert agreement.boundary_f(a, b) == agreement.boundary_f(a, b, 1)  # 0.8 % of 84.9 px is below 1
    empty = np.zeros((60, 60), bool)
    assert agreement.boundary_f(empty, empty) == 1
    assert agreement.boundary_f(a, empty) == 0
    assert agreement.edge(np.ones((4, 5), bool)).sum() == 14  # the frame's border is an edge


def test_kappas() -> None:
    observed, kappa = agreement.cohen(np.array([[20, 3, 1], [2, 10, 0], [1, 1, 12]]))
    assert (observed, kappa) == (pytest.approx(0.84), pytest.approx(0.7497, abs=5e-5))
    assert agreement.cohen(np.array([[5, 0], [0, 0]])) == (1, None)  # one class: undefined
    rows = np.array([[3, 0], [3, 0], [2, 1], [0, 3], [1, 2]])
    assert agreement.fleiss(rows) == pytest.approx(0.4444, abs=5e-5)
    assert agreement.fleiss(np.array([[3, 0], [3, 0]])) is None


def test_krippendorffs_alpha() -> None:
    ratings = [[1, 1, 2, 2, 1, None], [1, 1, 2, 2, 2, 1], [1, 2, 2, 2, 1, 1]]
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    assert agreement.alpha(units, agreement.nominal) == pytest.approx(0.5556, abs=5e-5)
    assert agreement.alpha([[1, 1], [1, 1]], agreement.nominal) is None
    assert agreement.alpha([], agreement.nominal) is None


def test_alpha_over_existence_and_position() -> None:
    people = [
        [Seen((10, 10, 20, 20)), Seen((50, 10, 10, 10))],
        [Seen((12, 11, 20, 20)), Seen((52, 12, 10, 10))],
        [Seen((10, 10, 20, 22)), Seen((80, 40, 10, 10))],
    ]
    units = agreement.clusters(people)
    assert [[value is None for value in unit] for unit in units] == [
        [False, False, False],
        [False, False, True],
        [True, True, False],
    ]
    assert agreement.alpha(units, agreement.seen_distance) == pytest.approx(0.3197, abs=5e-5)
    assert agreement.alpha_boxes(units) == pytest.approx(0.3197, abs=5e-5)
    assert agreement.clusters([[], []]) == []
    assert agreement.alpha_boxes([]) is None


def test_alpha_of_many_boxes_is_estimated_closely() -> None:
    rng = np.random.default_rng(0)
    units: list[list[Seen | None]] = []
    for _ in range(200):
        x, y = rng.uniform(0, 100, 2)
        moved = [Seen((x + rng.normal(0, 4), y, 30.0, 30.0)) for _ in range(3)]
        units.append([None if rng.random() < 0.2 else one for one in moved])
    exact = agreement.alpha(units, agreement.seen_distance)
    assert exact is not None
    assert agreement.alpha_boxes(units) == pytest.approx(exact, abs=1e-12)
    assert agreement.alpha_boxes(units, exact=100) == pytest.approx(exact, abs=0.005)


def test_classes_may_count_too() -> None:
    car, bus = Seen((0, 0, 1, 1), "car"), Seen((0, 0, 1, 1), "bus")
    assert agreement.seen_distance(car, bus) == 0
    assert agreement.seen_distance(car, bus, labels=True) == 1


@pytest.mark.parametrize(
    ("defects", "n", "low", "high"), [(4, 125, 0.0125, 0.0794), (0, 125, 0, 0.0298), (0, 300, 0, 0.0126)]
)
def test_wilson(defects: int, n: int, low: float, high: float) -> None:
    assert agreement.wilson(defects, n) == pytest.approx((low, high), abs=5e-5)


def test_an_inspected_lot_is_accepted_rejected_or_looked_at_further() -> None:
    assert agreement.decide(4, 125, 0.08) == "accept"
    assert agreement.decide(4, 125, 0.05) == "more"
    assert agreement.decide(4, 125, 0.01) == "reject"
    assert agreement.decide(0, 0, 0.05) == "more"


def test_times() -> None:
    seen = agreement.times([6, 7, 8, 7, 9, 400])
    assert seen is not None
    assert (seen.median, seen.mad) == (7.5, 1)
    assert seen.mean == pytest.approx((6 + 7 + 8 + 7 + 9 + 7.5 + 5 * 1.4826) / 6)
    assert agreement.times([]) is None


def test_drift() -> None:
    quality = [0.85, 0.87, 0.84, 0.80, 0.79, 0.78, 0.77, 0.76]
    assert agreement.drift(quality, 0.86, 0.05) == 8
    assert agreement.drift(quality[:7], 0.86, 0.05) is None


def test_the_bootstrap_is_repeatable_and_covers_the_mean() -> None:
    values = list(np.random.default_rng(0).normal(5, 1, 100))
    low, high = agreement.bootstrap(lambda those: float(np.mean(those)), values)
    assert (low, high) == agreement.bootstrap(lambda those: float(np.mean(those)), values)
    spread = 1.96 * np.std(values) / math.sqrt(100)
    assert (low, high) == pytest.approx((np.mean(values) - spread, np.mean(values) + spread), abs=0.05)
