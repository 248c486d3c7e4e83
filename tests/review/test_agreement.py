"""The figures of agreement, against examples that were worked out by hand and by other programs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.review import agreement
from curate.review.agreement import Counts, Seen


def test_more_pairs_win_over_the_best_pair() -> None:
    iou = np.array([[0.60, 0.55], [0.58, 0.10]])
    assert [(pair.a, pair.b) for pair in agreement.match(iou, 0.5)] == [(0, 1), (1, 0)]


def test_counts_become_figures() -> None:
    """The example's counts at IoU 0.4 and 0.5: two and one pair of two objects and three."""
    two, one = Counts(2, 2, 3, 342 / 458 + 64 / 136), Counts(1, 2, 3, 342 / 458)
    assert (two.precision, two.recall, two.f1) == pytest.approx((2 / 3, 1, 0.8))
    assert (one.precision, one.recall, one.f1) == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert (two.quality, one.quality) == pytest.approx((0.4869, 0.2987), abs=5e-5)
    assert (two.matched_iou, one.matched_iou) == pytest.approx((0.6087, 0.7467), abs=5e-5)
    assert two.object_iou == pytest.approx(0.4058, abs=5e-5)


def test_nothing_and_nothing_agree_nothing_and_something_do_not() -> None:
    both, alone = Counts(), Counts(0, 0, 3)
    assert (both.precision, both.recall, both.f1, both.matched_iou) == (1, 1, 1, None)
    assert (alone.f1, alone.precision) == (0, 0)


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


def test_units_hold_one_box_of_each_person_at_most() -> None:
    people = [
        [Seen((10, 10, 20, 20)), Seen((50, 10, 10, 10))],
        [Seen((12, 11, 20, 20)), Seen((52, 12, 10, 10))],
        [Seen((10, 10, 20, 22)), Seen((80, 40, 10, 10))],
    ]
    assert agreement.cluster_places(people) == [[0, 0, 0], [1, 1, None], [None, None, 1]]
    assert agreement.clusters(people)[1] == [people[0][1], people[1][1], None]
    assert agreement.clusters([[], []]) == []
    # Both of A's boxes overlap with B's: the closer one gets it.
    twice = [[Seen((0, 0, 10, 10)), Seen((1, 0, 10, 10))], [Seen((1, 0, 10, 11))]]
    assert agreement.cluster_places(twice) == [[0, None], [1, 0]]


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


def test_how_many_to_inspect_until_it_is_decided() -> None:
    assert agreement.enough(4, 125, 0.08) == 125  # is decided
    assert agreement.enough(0, 10, 0.05) == 73  # 0 of 73: upper bound 1.96² / (73 + 1.96²) = 5.0 %
    assert agreement.decide(0, 72, 0.05) == "more"
    assert agreement.enough(5, 100, 0.05) is None  # exactly at the target: never
    assert agreement.enough(0, 0, 0.05) is None


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
