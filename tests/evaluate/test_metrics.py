"""Metrics against hand-worked examples, scikit-free brute force and exact expectations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.ranking import Hits, Results, find_hits, make_truth, match


def hits_of(relevant: str, positives: int, *, k: int | None = None) -> Hits:
    """The hits of one list, written as in ``011001``, for a query with that many positives."""
    rank = np.flatnonzero(np.array(list(relevant)) == "1") + 1
    rank = rank if k is None else rank[rank <= k]
    ints = [np.array(values, np.int64) for values in ([0], [0, len(rank)], rank, [len(relevant)], [positives])]
    return Hits(*ints, k=k)


def one(values: np.ndarray) -> float:
    (value,) = values.tolist()
    return float(value)


def test_worked_average_precisions() -> None:
    """List 0 1 1 0 0 1: (1/2 + 2/3 + 3/6) / 3; with four positives divided by four; cut at five; by min(k, P)."""
    hits = hits_of("011001", 4)
    assert one(metrics.average_precision(hits)) == pytest.approx((1 / 2 + 2 / 3 + 3 / 6) / 4)
    assert one(metrics.average_precision(hits, Options(divisor="listed"))) == pytest.approx(0.5556, abs=5e-5)
    assert one(metrics.average_precision(hits, Options(divisor="listed", k=5))) == pytest.approx(0.3889, abs=5e-5)
    assert one(metrics.average_precision(hits, Options(divisor="found", k=5))) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert one(metrics.average_precision(hits, Options(divisor="min_k", k=3))) == pytest.approx((1 / 2 + 2 / 3) / 3)


@pytest.mark.parametrize(("k", "expected"), [(4, (1 + 2 / 3) / 3), (2, 1 / 2), (1, 1.0)])
def test_worked_ilias(k: int, expected: float) -> None:
    """The first four are 1 0 1 0, of three positives."""
    hits = hits_of("1010"[:k], 3, k=k)
    assert one(metrics.average_precision(hits, Options(divisor="min_k"))) == pytest.approx(expected)


def test_worked_revisitop() -> None:
    """Ranking 5,3,1,7,0,2,4,6 with P = {3, 7}, J = {5}: trapezoids give 0.791667, and P@5 = P@10 = 2/3."""
    names = [str(i) for i in range(8)]
    truth = make_truth("t", ["q"], names, np.zeros(3), np.array([3, 7, 5]), np.array([1, 1, 5]))
    import pyarrow as pa

    order = np.array([5, 3, 1, 7, 0, 2, 4, 6], np.int32)
    results = Results("r", ("q",), pa.array(names), np.array([0, 8]), order)
    hits = find_hits(truth, match(truth, results))
    assert one(metrics.average_precision(hits, Options(shape="trapezoid"))) == pytest.approx(0.791667, abs=5e-7)
    assert one(metrics.average_precision(hits)) == pytest.approx(0.8333, abs=5e-5)
    assert [one(metrics.precision_within_found(hits, k)) for k in (1, 5, 10)] == pytest.approx([1, 2 / 3, 2 / 3])
    assert one(metrics.precision_at(hits, 5)) == pytest.approx(2 / 5)


def test_worked_others() -> None:
    hits = hits_of("011001", 4)
    assert one(metrics.r_precision(hits_of("011001", 3))) == pytest.approx(2 / 3)
    assert one(metrics.precision_at(hits, 5)) == pytest.approx(2 / 5)
    assert one(metrics.precision_at(hits, 10, short="listed")) == pytest.approx(3 / 6)
    assert np.isnan(one(metrics.precision_at(hits, 10, short="nan")))
    assert [one(metrics.hit_rate(hits, k)) for k in (1, 5)] == [0, 1]
    assert one(metrics.recall_fraction(hits, 5)) == pytest.approx(2 / 4)


def test_oracles() -> None:
    """k = 2, one hit, three positives: 1/2 by definition; ILIAS's program says 1/3. Short lists make it exceed 1."""
    hits = hits_of("10", 3, k=2)
    assert one(metrics.oracle(hits, 2)) == pytest.approx(1 / 2)
    assert one(metrics.oracle_of_ilias(hits, 2)) == pytest.approx(1 / 3)
    assert one(metrics.oracle_of_ilias(hits_of("11", 2, k=100), 100)) == pytest.approx(50)
    assert one(metrics.oracle(hits_of("11", 2, k=100), 100)) == 1


def test_without_positives() -> None:
    hits = hits_of("000", 0)
    assert np.isnan(one(metrics.average_precision(hits)))
    assert one(metrics.average_precision(hits, Options(empty="zero"))) == 0
    assert np.isnan(one(metrics.hit_rate(hits, 1)))
    assert one(metrics.hit_rate(hits, 1, empty="zero")) == 0
    assert np.isnan(metrics.mean(np.array([np.nan])))
    assert metrics.mean(np.array([np.nan, 1.0, 0.0])) == 0.5


@pytest.mark.parametrize("n", [1, 2, 5, 7])
@pytest.mark.parametrize("k", [None, 1, 3])
def test_a_random_order_is_the_mean_of_all_orders(n: int, k: int | None) -> None:
    for positives in range(1, n + 1):
        orders = {"".join(order) for order in permutations("1" * positives + "0" * (n - positives))}
        options = Options(divisor="min_k" if k else "positives", k=k)
        every = [one(metrics.average_precision(hits_of(order, positives), options)) for order in orders]
        expected = one(metrics.random_average_precision(np.array([n]), np.array([positives]), k))
        assert expected == pytest.approx(np.mean(every), abs=1e-12)


def test_harmonic_numbers() -> None:
    exact = np.cumsum(1 / np.arange(1, 5001))
    found = metrics.harmonic(np.array([0, 1, 10, 1000, 1001, 5000]))
    np.testing.assert_allclose(found, [0, 1, exact[9], exact[999], exact[1000], exact[4999]], rtol=1e-14)


@given(st.text("01", min_size=1, max_size=40), st.integers(0, 5))
def test_average_precision_by_its_definition(relevant: str, more: int) -> None:
    positives = relevant.count("1") + more
    hits = hits_of(relevant, positives)
    seen, total, trapezoids = 0, 0.0, 0.0
    for rank, flag in enumerate(relevant, 1):
        if flag == "1":
            before = 1.0 if rank == 1 else seen / (rank - 1)
            seen += 1
            total += seen / rank
            trapezoids += (before + seen / rank) / 2
    if not positives:
        assert np.isnan(one(metrics.average_precision(hits)))
        return
    finite = one(metrics.average_precision(hits))
    trapezoid = one(metrics.average_precision(hits, Options(shape="trapezoid")))
    assert finite == pytest.approx(total / positives)
    assert trapezoid == pytest.approx(trapezoids / positives)
    assert trapezoid <= finite + 1e-12
    # Nothing lost: AP is 1 exactly for all positives in front.
    assert (finite == 1) == (more == 0 and relevant.startswith("1" * positives))


def test_pooled_iou_by_hand() -> None:
    """IoUs 1/2 and 0/6: their mean is 1/4, pooled it is 2/10; without pixels there is none."""
    assert metrics.pooled_iou(np.array([2, 0]), np.array([4, 6])) == pytest.approx(0.2)
    assert np.isnan(metrics.pooled_iou(np.array([0]), np.array([0])))
