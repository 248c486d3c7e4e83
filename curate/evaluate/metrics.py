"""Metrics of ranked lists, as pure functions of where the positives stand (:class:`curate.evaluate.ranking.Hits`).

All give one float64 per list, NaN where the metric is not defined, unless they say otherwise. ``h(k)`` are the hits in
the first ``k``, ``n`` the items listed once ignored ones are gone, ``|P|`` the positives that there are, and precision
at rank ``r`` is ``h(r) / r``. Means over lists are taken by :func:`mean`, which leaves NaN out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from curate.evaluate.ranking import Floats, Hits, Ints


class Options(NamedTuple):
    """What the many average precisions differ in.

    ``shape``: ``finite`` sums precision at the hits, ``trapezoid`` takes at each hit the mean of the precisions just
    before and at it, so that it is never larger. ``divisor``: ``positives`` is ``|P|``; ``min_k`` the smaller of it and
    ``k``; ``listed`` the positives that stand in the list, also below ``k``; ``found`` those that stand above.
    ``empty`` is the value of a list with nothing to divide by: ``zero``, or ``nan`` to leave it out of the mean.
    """

    shape: Literal["finite", "trapezoid"] = "finite"
    divisor: Literal["positives", "min_k", "listed", "found"] = "positives"
    k: int | None = None
    empty: Literal["zero", "nan"] = "nan"


def average_precision(hits: Hits, options: Options = Options()) -> Floats:  # noqa: B008 - immutable
    """AP per list. Ties are as ``hits`` has them: grouped hits count at the end of their tie (finite shape only)."""
    rank, nth, lists = hits.rank, hits.nth, hits.lists
    if options.shape == "trapezoid":
        before = np.where(rank == 1, 1.0, (nth - 1) / np.maximum(rank - 1, 1))
        gain = (before + nth / rank) / 2
    elif hits.end is not None:
        # All hits of a tie count at its end, where the last of them has been seen.
        tie = np.stack([lists, hits.end])
        last = np.append((tie[:, 1:] != tie[:, :-1]).any(axis=0), True)
        ends = np.flatnonzero(last)
        seen = nth[ends[np.searchsorted(ends, np.arange(len(rank)))]] if len(rank) else nth
        gain = seen / hits.end
    else:
        gain = nth / rank
    if options.k is not None:
        gain = np.where(rank <= options.k, gain, 0.0)
    total = np.bincount(lists, gain, minlength=len(hits.query))
    return _ratio(total, _divisor(hits, options), options.empty)


def _divisor(hits: Hits, options: Options) -> Ints:
    if options.divisor == "listed":
        return np.diff(hits.start)
    k = options.k or hits.k
    if options.divisor == "found":
        return hits.within(k) if k else np.diff(hits.start)
    if options.divisor == "min_k" and k:
        return np.minimum(hits.positives, k)
    return hits.positives


def _ratio(a: Floats | Ints, b: Floats | Ints, empty: Literal["zero", "nan"] = "nan") -> Floats:
    value = np.full(len(b), 0.0 if empty == "zero" else np.nan)
    ratio: Floats = np.divide(a, b, out=value, where=np.asarray(b) != 0)
    return ratio


def precision_at(hits: Hits, k: int, *, short: Literal["k", "listed", "nan"] = "k") -> Floats:
    """P@k = h(k) / k. A list of fewer items divides by ``k`` all the same, by its length, or has no value."""
    if short == "listed":
        return _ratio(hits.within(k), np.minimum(k, hits.listed))
    value = hits.within(k) / k
    return np.where(hits.listed >= k, value, np.nan) if short == "nan" else value


def precision_within_found(hits: Hits, k: int) -> Floats:
    """P@k of revisitop: h(k') / k' with k' the smaller of ``k`` and the rank of the last positive found.

    NaN for a query without positive, and where none of its positives is listed (upstream's program fails there).
    """
    found = np.diff(hits.start)
    last = np.zeros(len(found), np.int64)
    last[found > 0] = hits.rank[hits.start[1:][found > 0] - 1]
    cut = np.minimum(k, last)
    within = np.bincount(hits.lists[hits.rank <= cut[hits.lists]], minlength=len(cut))
    return np.where(hits.positives > 0, _ratio(within, cut), np.nan)


def r_precision(hits: Hits, *, listed: bool = False, empty: Literal["zero", "nan"] = "nan") -> Floats:
    """h(R) / R with R = |P|, or with ``listed`` the positives that stand in the list."""
    wanted = np.diff(hits.start) if listed else hits.positives
    within = np.bincount(hits.lists[hits.rank <= wanted[hits.lists]], minlength=len(wanted))
    return _ratio(within, wanted, empty)


def hit_rate(hits: Hits, k: int, *, empty: Literal["zero", "nan"] = "nan") -> Floats:
    """Recall@K as a rate of hits: 1 if a positive stands in the first ``k``, else 0."""
    value = (hits.within(k) > 0).astype(np.float64)
    return value if empty == "zero" else np.where(hits.positives > 0, value, np.nan)


def recall_fraction(hits: Hits, k: int, *, empty: Literal["zero", "nan"] = "nan") -> Floats:
    """Recall@K as a share of the positives: h(k) / |P|."""
    return _ratio(hits.within(k), hits.positives, empty)


def oracle(hits: Hits, k: int) -> Floats:
    """AP@k after the positives in the first ``k`` were moved to the front: h(k) / min(k, |P|)."""
    return _ratio(hits.within(k), np.minimum(k, hits.positives))


def oracle_of_ilias(hits: Hits, k: int) -> Floats:
    """The oracle as ILIAS's program computes it, h * k / (n * |P|): wrong where n < k or k < |P|."""
    n = np.minimum(k, hits.listed)
    return _ratio(hits.within(k).astype(np.float64) * k, n * hits.positives)


def random_average_precision(n: Ints, positives: Ints, k: int | None = None) -> Floats:
    """What AP a random order of ``n`` items is expected to have.

    An item at rank r is a positive with probability R/n, and then 1 + (r-1)(R-1)/(n-1) hits are expected down to it;
    summed over r <= k and divided by min(k, R). Without ``k`` it is (H + (R-1)/(n-1) (n - H)) / n, with H the n-th
    harmonic number (Bestgen, "Exact expected average precision of the random baseline for system evaluation", Prague
    Bulletin of Mathematical Linguistics 103, 2015).
    """
    items, wanted = np.asarray(n, np.float64), np.asarray(positives, np.float64)
    depth = items if k is None else np.minimum(items, float(k))
    first = harmonic(depth)
    rate = np.divide(wanted - 1, items - 1, out=np.zeros_like(items), where=items > 1)
    total = wanted / np.maximum(items, 1) * (first + rate * (depth - first))
    return _ratio(total, wanted if k is None else np.minimum(wanted, float(k)))


def pooled_iou(shared: Ints, either: Ints) -> float:
    """IoU over all objects at once, as PerMIS is scored: pixels in both over pixels in either; NaN for no pixel.

    Large objects weigh more than in a mean of IoUs.
    """
    total = float(np.sum(either))
    return float(np.sum(shared)) / total if total else float("nan")


def harmonic(n: Floats) -> Floats:
    """The harmonic numbers of integers; beyond 1000 by Euler's expansion, which is then exact to double precision."""
    n = np.asarray(n, np.float64)
    table = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 1001))])
    large = np.maximum(n, 1000)
    expansion = np.log(large) + np.euler_gamma + 1 / (2 * large) - 1 / (12 * large**2) + 1 / (120 * large**4)
    return np.where(n <= 1000, table[np.minimum(n, 1000).astype(np.int64)], expansion)


def mean(values: Floats) -> float:
    """The mean of the values that are numbers; NaN if there are none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
