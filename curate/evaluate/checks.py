"""What is wrong with results before they are scored, and what each fault does to the score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.evaluate.ranking import NEGATIVE, Ranking, Results, Truth, place_items
from curate.model import Finding, finding

_NAMED = 3  # examples in a message


def check(
    truth: Truth, ranking: Ranking, results: Results, *, strict: bool = True, k: int | None = None
) -> list[Finding]:
    """Faults of ``results``, each said once with its number and some examples.

    An error means that a score would say nothing: nothing to find, or results that have nothing to do with the truth.
    """
    if not truth.queries or not truth.positives().any():
        message = f"the truth has {len(truth.queries)} queries and no positive; no metric is defined"
        return [finding("E10", truth.name, message, severity="error", hint="is it a hidden test? name the key")]
    return [*_empty_queries(truth), *check_lists(truth, ranking, results, strict=strict, k=k)]


def check_lists(
    truth: Truth, ranking: Ranking, results: Results, *, strict: bool = True, k: int | None = None
) -> list[Finding]:
    """The faults that are to be seen without knowing what answers a query: :func:`check` of a hidden test."""
    found = [*results.findings, *_queries(truth, ranking, results, strict)]
    return [*found, *_items(truth, ranking, results), *_lists(truth, ranking, results, strict, k)]


def _empty_queries(truth: Truth) -> list[Finding]:
    empty = np.flatnonzero(truth.positives() == 0)
    if not len(empty):
        return []
    named = _examples([truth.queries[i] for i in empty])
    message = f"{len(empty)} of {len(truth.queries)} queries have no positive ({named}); the preset's rule decides"
    return [finding("E10", truth.name, message)]


def _queries(truth: Truth, ranking: Ranking, results: Results, strict: bool) -> list[Finding]:
    found = []
    unknown = np.flatnonzero(ranking.query < 0)
    if not len(ranking.query):
        if results.regions is not None:  # outlines alone are scored by themselves
            return []
        message = f"has no list for any of the {len(truth.queries)} queries"
        return [finding("E03", results.name, message, severity="error", hint="was it written to its end?")]
    if len(unknown) == len(ranking.query):
        named = _examples(results.queries)
        message = f"no query of the results ({named}) is one of the truth ({_examples(truth.queries)})"
        return [finding("E02", results.name, message, severity="error", hint="are the ids those of the truth?")]
    if len(unknown):
        message = f"{len(unknown)} queries are not in the truth ({_examples([results.queries[i] for i in unknown])})"
        found.append(finding("E02", results.name, f"{message}; they are not scored, unless upstream does so"))
    absent = np.setdiff1d(np.arange(len(truth.queries)), ranking.query)
    if len(absent):
        effect = "each counts 0" if strict else "upstream leaves them out of the mean"
        named = _examples([truth.queries[i] for i in absent])
        found.append(finding("E03", results.name, f"{len(absent)} queries have no results ({named}); {effect}"))
    return found


def _items(truth: Truth, ranking: Ranking, results: Results) -> list[Finding]:
    if not (truth.closed or truth.elsewhere) or not (ranking.item >= len(truth.items)).any():
        return []
    there = np.zeros(int(ranking.item.max()) + 1, bool)
    there[ranking.item] = True
    listed = int(there.sum())
    strangers = results.items.filter(pa.array(place_items(results.items, truth) < 0))
    found = []
    for split, ids in truth.elsewhere.items():
        inside = pc.is_in(strangers, value_set=ids)
        of_split = strangers.filter(inside)
        strangers = strangers.filter(pc.invert(inside))
        if len(of_split):
            message = f"{len(of_split)} of {listed} items belong to {split} ({_examples_of(of_split)})"
            found.append(_as_misses("E04", results.name, message, len(of_split) == listed))
    if len(strangers) and truth.closed:
        message = f"{len(strangers)} of {listed} items are not in the gallery ({_examples_of(strangers)})"
        found.append(_as_misses("E05", results.name, message, len(strangers) == listed))
    return found


def _as_misses(code: str, where: str, message: str, all_of_them: bool) -> Finding:
    hint = "are the ids those of the truth?" if all_of_them else None
    effect = "every score would be 0" if all_of_them else "they count as misses and push others down"
    return finding(code, where, f"{message}; {effect}", severity="error" if all_of_them else None, hint=hint)


def _lists(truth: Truth, ranking: Ranking, results: Results, strict: bool, k: int | None) -> list[Finding]:
    found = []
    length = np.diff(ranking.start)
    twice = np.flatnonzero(ranking.repeated)
    if len(twice):
        effect = "later copies are left out" if strict else "upstream counts them in its own way (see the notes)"
        named = _examples([results.queries[i] for i in twice])
        found.append(finding("E06", results.name, f"{len(twice)} lists name an item twice ({named}); {effect}"))
    empty = np.flatnonzero(length == 0)
    if len(empty):
        named = _examples([results.queries[i] for i in empty])
        found.append(finding("E07", results.name, f"{len(empty)} lists are empty ({named}); nothing is found there"))
    wanted = np.full(len(length), k or 0)
    if truth.gallery is not None:  # a query's own image need not be listed
        own = 0 if truth.own is None else (truth.own[ranking.query] >= 0) & (ranking.query >= 0)
        wanted = np.minimum(k or truth.gallery, truth.gallery - own) + np.zeros_like(length)
    short = np.flatnonzero((length < wanted) & (length > 0) & (ranking.query >= 0))
    if len(short):
        effect = "positives below count as not found" if strict else "upstream may divide by what is listed alone"
        least = f"fewer than {int(wanted[short].max())} items (from {int(length[short].min())})"
        found.append(finding("E07", results.name, f"{len(short)} lists have {least}; {effect}"))
    return found


def _examples(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown}, ..." if len(names) > _NAMED else shown


def _examples_of(names: pa.Array) -> str:
    return _examples(names[: _NAMED + 1].to_pylist())


def unjudged_at(truth: Truth, ranking: Ranking, k: int) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Per list of a known query, the share of its first ``k`` items of which nobody knows whether they answer it.

    None where the truth judges all pairs. An item outside the truth's items is unjudged, unless those are not all.
    """
    if truth.judged is None:
        return None
    lists = ranking.lists
    rank = np.arange(len(lists)) - ranking.start[lists]
    rows = np.flatnonzero((rank < k) & (ranking.query[lists] >= 0))
    query, item = ranking.query[lists[rows]], ranking.item[rows].astype(np.int64)
    known = item < len(truth.items)
    unjudged = ~known & truth.closed
    listed = ranking.label[rows] != NEGATIVE
    ask = np.flatnonzero(known & ~listed)
    unjudged[ask] = ~truth.judged(query[ask], item[ask])
    there = np.flatnonzero(ranking.query >= 0)
    total = np.bincount(lists[rows], unjudged, minlength=len(ranking.query))[there]
    share: np.ndarray[tuple[int], np.dtype[np.float64]] = total / np.maximum(
        np.minimum(np.diff(ranking.start), k)[there], 1
    )
    return share
