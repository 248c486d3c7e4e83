"""Behind the number: how sure it is, what it is made of, and whether another run is really better.

* :func:`interval`: bootstrap over queries. The queries at hand are one sample of those that could have been asked;
  drawing from them with replacement shows how much the mean would move (Efron & Tibshirani, An Introduction to the
  Bootstrap, 1993: percentile interval).
* :func:`breakdowns`: the mean within groups of queries (kind, category, source, number of positives ...), and within
  groups of positives (size of the object in its picture). For the latter the positives outside the group are ignored:
  they neither count nor push others down.
* :func:`compare`: two runs on the same queries. The p-value is that of a randomisation test that swaps the two values
  of a query by chance (Smucker, Allan, Carterette: A comparison of statistical significance tests for information
  retrieval evaluation, CIKM 2007); of several comparisons the values are Holm's.

All draws are seeded: the same input gives the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from curate.errors import UsageError
from curate.evaluate.ranking import IGNORE, Bools, Floats, Ranking, Truth
from curate.evaluate.scores import Scores

DRAWS = 10_000
_AT_ONCE = 200_000  # numbers drawn at a time: what stays in a processor's cache
_SEED = 20260101
# Bins of the number of positives of a query, as instance retrieval calls them.
FREQUENCIES = (("singleton", 1, 1), ("hard (2-4)", 2, 4), ("medium (5-10)", 5, 10), ("easy (> 10)", 11, None))
# Bins of the share of its picture that an object's box takes.
SIZES = (0.0, 0.001, 0.004, 0.015, 0.05, 0.15, 0.4)
_KINDS = ("kind", "supercategory", "category", "source")


class Group(Struct, frozen=True, kw_only=True):
    """One group of a breakdown."""

    name: str
    queries: Annotated[int, Meta(description="queries with a value")]
    positives: int
    value: Annotated[float | None, Meta(description="mean over the queries; null: none has a value")]
    low: Annotated[float | None, Meta(description="lower end of the 95 % interval")]
    high: float | None
    random: Annotated[float | None, Meta(description="what a random order would give; null: gallery not known")]


class Breakdown(Struct, frozen=True, kw_only=True):
    """The main metric by one property."""

    by: str
    metric: str
    groups: list[Group]


class Comparison(Struct, frozen=True, kw_only=True):
    """This run against another, over the queries that both have a value for."""

    other: str
    metric: str
    queries: int
    value: float
    other_value: float
    difference: Annotated[float, Meta(description="value - other_value")]
    low: Annotated[float, Meta(description="lower end of the difference's 95 % interval")]
    high: float
    p: Annotated[float, Meta(description="two-sided, by randomisation; after Holm where there are several")]
    better: Annotated[int, Meta(description="queries on which this run is better")]
    equal: int
    worse: int


class _Column(NamedTuple):
    metric: str
    values: Floats


def main_column(scores: Scores) -> _Column | None:
    """The main figure's values per query; None where it is no mean of such."""
    name = scores.means.get(scores.main)
    if name is None:
        return None
    values = [np.nan if value is None else value for value in scores.queries.values[name]]
    return _Column(name, np.array(values, np.float64))


def interval(values: Floats, draws: int = DRAWS) -> tuple[float, float] | None:
    """The 95 % interval of the mean of ``values`` without NaN; None for fewer than two."""
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return None
    means = np.concatenate(list(_resampled(values, draws)))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _resampled(values: Floats, draws: int) -> Iterator[Floats]:
    rng = np.random.default_rng(_SEED)
    step = max(1, _AT_ONCE // len(values))
    for begin in range(0, draws, step):
        count = min(step, draws - begin)
        yield values[rng.integers(len(values), size=(count, len(values)), dtype=np.uint32)].mean(axis=1)


def breakdowns(
    scores: Scores, truth: Truth, ranking: Ranking, again: Callable[[Truth, Ranking], Scores]
) -> list[Breakdown]:
    """The main metric by every property that is known of the queries or their positives.

    ``again`` scores another truth and ranking by the same preset and options.
    """
    column = main_column(scores)
    if column is None:
        return []
    queries = scores.queries
    found = []
    for by in _KINDS:
        names = np.array([name or "" for name in getattr(queries, by)])
        known = sorted(set(names.tolist()) - {""})
        # With one query in every group it would be the table per query.
        if 1 < len(known) < len(queries.query):
            groups = [_group(name, scores, column.values, names == name) for name in known]
            found.append(Breakdown(by=by, metric=column.metric, groups=groups))
    positives = np.array(queries.positives)
    of_bins = [
        _group(name, scores, column.values, (positives >= least) & (positives <= (most or positives.max(initial=0))))
        for name, least, most in FREQUENCIES
    ]
    found.append(Breakdown(by="positives of the query", metric=column.metric, groups=_there(of_bins)))
    if truth.share is not None and not np.isnan(truth.share).all():
        limits = [*pairwise(SIZES), (SIZES[-1], np.inf)]
        of_sizes = [
            _of_pairs(truth, ranking, again, _percent(a, b), (truth.share >= a) & (truth.share < b)) for a, b in limits
        ]
        found.append(Breakdown(by="size of the object", metric=column.metric, groups=_there(of_sizes)))
    return found


def _there(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.queries]


def _percent(low: float, high: float) -> str:
    return f"{100 * low:g} % and more" if high == np.inf else f"{100 * low:g}-{100 * high:g} %"


def _group(name: str, scores: Scores, values: Floats, rows: Bools) -> Group:
    of_group = values[rows]
    there = of_group[~np.isnan(of_group)]
    ends = interval(of_group) or (None, None)
    random = _random(scores)
    return Group(
        name=name,
        queries=len(there),
        positives=int(np.array(scores.queries.positives)[rows].sum()),
        value=float(there.mean()) if len(there) else None,
        low=ends[0],
        high=ends[1],
        random=_mean(random[rows]) if random is not None else None,
    )


def _random(scores: Scores) -> Floats | None:
    """AP of a random order, for figures that are an AP."""
    column = next((name for name in scores.queries.values if name.endswith("random order")), None)
    if column is None or not scores.means.get(scores.main, "").endswith("AP"):
        return None
    return np.array([np.nan if value is None else value for value in scores.queries.values[column]])


def _mean(values: Floats) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


def _of_pairs(
    truth: Truth, ranking: Ranking, again: Callable[[Truth, Ranking], Scores], name: str, inside: Bools
) -> Group:
    """The metric with the positives outside the group ignored, over the queries that have one inside."""
    positive = np.isin(truth.label, (1, 2, 3))
    outside = positive & ~inside
    label = np.where(outside, IGNORE, truth.label).astype(np.int8)
    if not (positive & inside).any():
        return Group(name=name, queries=0, positives=0, value=None, low=None, high=None, random=None)
    scores = again(truth._replace(label=label), relabelled(truth, ranking, outside))
    column = main_column(scores)
    assert column is not None
    return _group(name, scores, column.values, np.array(scores.queries.positives) > 0)


def relabelled(truth: Truth, ranking: Ranking, outside: Bools) -> Ranking:
    """The ranking with the pairs ``outside`` (per pair of the truth) marked as to be ignored."""
    items = max(len(truth.items), int(ranking.item.max(initial=0)) + 1)
    keys = np.sort(truth.query[outside] * items + truth.item[outside])
    if not len(keys):
        return ranking
    label = ranking.label.copy()
    rows = np.flatnonzero(label != 0)  # only these can be pairs of the truth
    asked = ranking.query[ranking.lists[rows]] * items + ranking.item[rows]
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    label[rows[keys[place] == asked]] = IGNORE
    return ranking._replace(label=label)


def compare(scores: Scores, others: Sequence[Scores], draws: int = DRAWS) -> list[Comparison]:
    """This run against each of the others.

    Raises:
        UsageError: the runs were not scored alike, share no query, or their main figure is no mean over queries.
    """
    found = [_compared(scores, other, draws) for other in others]
    adjusted = _holm([one.p for one in found])
    return [msgspec.structs.replace(one, p=p) for one, p in zip(found, adjusted, strict=True)]


def _compared(scores: Scores, other: Scores, draws: int) -> Comparison:
    label = ", ".join(other.results)
    if (scores.preset, scores.variant, scores.k, scores.fingerprint) != (
        other.preset,
        other.variant,
        other.k,
        other.fingerprint,
    ):
        raise UsageError(label, "was scored otherwise", "expected the same preset, variant, cut and truth")
    mine, theirs = main_column(scores), main_column(other)
    if mine is None or theirs is None:
        hint = "compare with --variant strict"
        raise UsageError(label, f"{scores.main} is no mean over queries; nothing can be paired", hint=hint)
    place = {query: i for i, query in enumerate(other.queries.query)}
    rows = [(i, place[query]) for i, query in enumerate(scores.queries.query) if query in place]
    pairs: Floats = np.array([(mine.values[i], theirs.values[j]) for i, j in rows], np.float64).reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if not len(pairs):
        raise UsageError(label, "shares no query with the first run", "expected runs on the same queries")
    difference = pairs[:, 0] - pairs[:, 1]
    low, high = interval(difference, draws) or (float("nan"), float("nan"))
    a, b = pairs.mean(axis=0)
    return Comparison(
        other=label,
        metric=mine.metric,
        queries=len(pairs),
        value=float(a),
        other_value=float(b),
        difference=float(difference.mean()),
        low=low if np.isfinite(low) else float(difference.mean()),
        high=high if np.isfinite(high) else float(difference.mean()),
        p=randomisation(difference, draws),
        better=int((difference > 0).sum()),
        equal=int((difference == 0).sum()),
        worse=int((difference < 0).sum()),
    )


def randomisation(difference: Floats, draws: int = DRAWS) -> float:
    """The two-sided p-value of a mean of paired differences, their signs drawn by chance.

    Up to 13 queries with a difference all signs are gone through, and the value is exact.
    """
    moved = difference[difference != 0]
    n = len(moved)
    if not n:
        return 1.0
    observed = abs(moved.sum())
    tolerance = 1e-12 * np.abs(moved).sum()
    if 2**n <= draws:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ moved) >= observed - tolerance).mean())
    rng = np.random.default_rng(_SEED)
    step, extreme = max(1, _AT_ONCE // n), 0
    for begin in range(0, draws, step):
        signs = rng.integers(2, size=(min(step, draws - begin), n)) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= observed - tolerance).sum())
    return (extreme + 1) / (draws + 1)  # the observed signs are one draw more


def _holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(values, kind="stable")
    adjusted = [0.0] * len(values)
    reached = 0.0
    for step, place in enumerate(order.tolist()):
        reached = max(reached, min(1.0, (len(values) - step) * values[place]))
        adjusted[place] = reached
    return adjusted


def worst(scores: Scores, count: int) -> list[int]:
    """The places in the table per query of the queries with the lowest value, those of more positives first."""
    column = main_column(scores)
    if column is None:
        return []
    order = np.lexsort((-np.array(scores.queries.positives), column.values))
    return [int(i) for i in order if not np.isnan(column.values[i])][:count]
