"""Intervals, breakdowns and comparisons against exact values and brute force."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import evaluate as ev
from curate.errors import UsageError
from curate.evaluate import behind
from curate.evaluate.ranking import POSITIVE, Results, Truth, make_truth


def test_the_interval_is_that_of_the_binomial() -> None:
    """Resampling n zeros and ones draws from a binomial: its quantiles are known exactly."""
    n, ones = 40, 12
    values = np.array([1.0] * ones + [0.0] * (n - ones))
    found = behind.interval(values, draws=20_000)
    assert found is not None
    chance = np.array([comb(n, k) * (ones / n) ** k * (1 - ones / n) ** (n - k) for k in range(n + 1)]).cumsum()
    low, high = np.searchsorted(chance, 0.025) / n, np.searchsorted(chance, 0.975) / n
    assert found == pytest.approx((low, high), abs=1.01 / n)  # draws are a sample: a step either way
    assert behind.interval(values, draws=20_000) == found


def test_an_interval_needs_two_values() -> None:
    assert behind.interval(np.array([0.5, np.nan])) is None
    assert behind.interval(np.array([0.5, 0.5])) == (0.5, 0.5)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_the_randomisation_test_goes_through_all_signs(differences: list[int]) -> None:
    values = np.array(differences, float)
    observed = abs(sum(differences))
    every = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    assert behind.randomisation(values) == pytest.approx(sum(total >= observed for total in every) / len(every))


def test_many_queries_are_drawn() -> None:
    """With n equal differences only the two extreme of 2**n signs reach the sum: p is the least that draws can give."""
    assert behind.randomisation(np.full(30, 0.1), draws=999) == pytest.approx(1 / 1000)
    rng = np.random.default_rng(0)
    assert behind.randomisation(rng.normal(0, 1, 400) * 0.1, draws=2000) > 0.01


def test_holm_by_hand() -> None:
    assert behind._holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert behind._holm([0.6, 0.9]) == [1.0, 1.0]


ITEMS = [f"i{n}" for n in range(6)]


@pytest.fixture
def truth() -> Truth:
    """p is answered by i0 (small) and i1 (large), q by i2 (small)."""
    made = make_truth("t", ["p", "q"], ITEMS, np.array([0, 0, 1]), np.array([0, 1, 2]), np.full(3, POSITIVE))
    about = {"category": ["dog", "cat"], "source": ["kitti", "kitti"]}
    return made._replace(gallery=6, closed=True, about=about, share=np.array([0.0005, 0.3, 0.0005]))


def run(name: str, **lists: list[int]) -> Results:
    rows = [np.array(row, np.int32) for row in lists.values()]
    start = np.cumsum([0, *map(len, rows)])
    return Results(name, tuple(lists), pa.array(ITEMS), start, np.concatenate(rows))


def test_breakdowns_by_hand(truth: Truth) -> None:
    """p: large first, then a miss, then small. Without the large one the small one stands second."""
    found = ev.look_behind("permir", truth, run("r", p=[1, 5, 0, 2, 3, 4], q=[3, 2, 0, 1, 4, 5]), details=True)
    by = {one.by: {group.name: group for group in one.groups} for one in found.breakdowns}
    sizes = by["size of the object"]
    assert set(sizes) == {"0-0.1 %", "15-40 %"}
    # Small: p's list without the large one has it second (1/2), q's second (1/2).
    assert (sizes["0-0.1 %"].queries, sizes["0-0.1 %"].value) == (2, pytest.approx(0.5))
    assert (sizes["15-40 %"].queries, sizes["15-40 %"].value) == (1, pytest.approx(1.0))
    assert sizes["15-40 %"].positives == 1
    counts = by["positives of the query"]
    assert counts["singleton"].value == pytest.approx(0.5)
    assert counts["hard (2-4)"].value == pytest.approx((1 + 2 / 3) / 2)
    assert counts["singleton"].random == pytest.approx(sum(1 / r for r in range(1, 7)) / 6)
    # One source only, and one query in each category: neither says more than the whole.
    assert not {"category", "source"} & set(by)


def test_breakdowns_leave_the_total_alone(truth: Truth) -> None:
    results = run("r", p=[1, 5, 0, 2, 3, 4], q=[3, 2, 0, 1, 4, 5])
    plain, detailed = (ev.look_behind("permir", truth, results, details=details) for details in (False, True))
    assert plain.scores == detailed.scores
    assert plain.breakdowns == []


def test_runs_are_compared_query_by_query(truth: Truth) -> None:
    good = run("good", p=[0, 1, 2, 3, 4, 5], q=[2, 0, 1, 3, 4, 5])
    bad = run("bad", p=[0, 1, 2, 3, 4, 5], q=[0, 1, 2, 3, 4, 5])
    (found,) = ev.look_behind("permir", truth, good, against=[bad]).comparisons
    assert (found.other, found.queries, found.better, found.equal, found.worse) == ("bad", 2, 1, 1, 0)
    assert (found.value, found.other_value) == (1, pytest.approx((1 + 1 / 3) / 2))
    assert found.difference == pytest.approx(1 / 3)
    assert found.p == 1  # one query that differs says nothing


def test_what_cannot_be_compared(truth: Truth) -> None:
    good = run("good", p=[0, 1], q=[2, 0])
    one, other = (ev.score("permir", truth, good, variant=variant) for variant in ("strict", "upstream"))
    with pytest.raises(UsageError, match="expected the same preset, variant, cut and truth"):
        ev.compare(one, [other])


def test_worst_queries_come_first(truth: Truth) -> None:
    scores = ev.score("permir", truth, run("r", p=[0, 1, 2, 3, 4, 5], q=[5, 4, 3, 2, 1, 0]), variant="strict")
    assert [scores.queries.query[i] for i in ev.worst(scores, 5)] == ["q", "p"]
