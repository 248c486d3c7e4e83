"""Every preset against a plain reading of its definition, on small cases of every kind: list by list, item by item.

The definitions are those of the programs that the benchmarks publish, for ``upstream``, and of the table at the head of
each preset for ``strict``. Nothing of ``curate.evaluate`` is used to compute what is expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate import evaluate as ev
from curate.errors import CurateError
from curate.evaluate.presets import Variant
from curate.evaluate.presets.pixel_retrieval import pair_overlaps
from curate.evaluate.ranking import EASY, HARD, IGNORE, JUNK, NEGATIVE, POSITIVE, Results, Truth, make_truth

ITEMS = "abcdefgh"
QUERIES = ("q0", "q1", "q2", "q3")
NAN = math.nan
Lists = Mapping[str, list[tuple[str, float]]]
Labels = Mapping[str, Mapping[str, int]]


class Case(NamedTuple):
    """``labels[query][item]``, and the lists with their scores, best first; lists may name strangers."""

    labels: Labels
    lists: Lists
    k: int | None


def truth_of(labels: Labels, name: str = "t") -> Truth:
    rows = [(q, ITEMS.index(item), label) for q, row in enumerate(labels.values()) for item, label in row.items()]
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return make_truth(name, list(labels), list(ITEMS), *columns)._replace(gallery=len(ITEMS), closed=True)


def run_of(lists: Lists) -> Results:
    names = sorted({item for row in lists.values() for item, _ in row})
    item = np.array([names.index(item) for row in lists.values() for item, _ in row], np.int32)
    score = np.array([score for row in lists.values() for _, score in row], np.float64)
    start = np.cumsum([0, *map(len, lists.values())])
    return Results("run", tuple(lists), pa.array(names, pa.string()), start, item, score)


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[int, ...], *, repeats: bool = True) -> Case:
    """Queries without positive, with junk, absent, unknown; lists cut short, empty, with ties, copies and strangers."""
    labels = {q: draw(st.dictionaries(st.sampled_from(ITEMS), st.sampled_from(kinds))) for q in QUERIES}
    named = draw(st.sets(st.sampled_from((*QUERIES, "unknown")), min_size=1))
    lists = {}
    for query in sorted(named):
        listed = draw(st.lists(st.sampled_from(ITEMS + "x"), max_size=10, unique=not repeats))
        scores = sorted(draw(st.lists(st.integers(0, 4), min_size=len(listed), max_size=len(listed))), reverse=True)
        lists[query] = [(item, score / 5) for item, score in zip(listed, scores, strict=True)]
    return Case(labels, lists, draw(st.none() | st.integers(1, 9)))


def figures(preset: str, case: Case, variant: Variant) -> dict[str, float | None]:
    """What is given for the case; such as are refused (nothing to find, nothing known listed) are passed over."""
    try:
        return ev.score(preset, truth_of(case.labels), run_of(case.lists), variant=variant, k=case.k).values
    except CurateError as error:
        assume("(E0" not in str(error) and "(E10)" not in str(error))
        raise


def mean(values: list[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else NAN


def agree(found: float | None, expected: float) -> bool:
    return found is None if math.isnan(expected) else found is not None and abs(found - expected) < 1e-6


def once(listed: list[tuple[str, float]]) -> list[tuple[str, float]]:
    kept: dict[str, float] = {}
    for item, score in listed:
        kept.setdefault(item, score)
    return list(kept.items())


def of_labels(row: Mapping[str, int], *labels: int) -> set[str]:
    return {item for item, label in row.items() if label in labels}


def scored_lists(case: Case, variant: Variant) -> dict[str, list[tuple[str, float]]]:
    """The lists that enter: upstream those that are there, strict all of the truth, copies taken out."""
    if variant == "upstream":
        return {q: row for q, row in case.lists.items() if q in case.labels}
    return {q: once(case.lists.get(q, [])) for q in case.labels}


# ----------------------------------------------------------------------------------------------- revisitop, instre


def trapezoids(relevant: list[bool], positives: int, divisor: int) -> float:
    places = [i for i, hit in enumerate(relevant) if hit]
    total = sum(((1.0 if p == 0 else j / p) + (j + 1) / (p + 1)) / 2 for j, p in enumerate(places))
    return total / divisor if positives else NAN


PROTOCOLS = {"easy": ((EASY,), (JUNK, HARD)), "medium": ((EASY, HARD), (JUNK,)), "hard": ((HARD,), (JUNK, EASY))}


@pytest.mark.parametrize("variant", ["upstream", "strict"])
@settings(max_examples=60)
@given(case=cases((EASY, HARD, JUNK, NEGATIVE)))
def test_revisitop(case: Case, variant: Variant) -> None:
    found = figures("revisitop", case, variant)
    for name, (positive, junk) in PROTOCOLS.items():
        aps, precisions = [], {1: [], 5: [], 10: []}  # type: ignore[var-annotated]
        for query, listed in scored_lists(case, variant).items():
            wanted, gone = of_labels(case.labels[query], *positive), of_labels(case.labels[query], *junk)
            relevant = [item in wanted for item, _ in listed if item not in gone][: case.k]
            aps.append(trapezoids(relevant, len(wanted), min(case.k or len(wanted), len(wanted))))
            for k, values in precisions.items():
                last = max((i + 1 for i, hit in enumerate(relevant) if hit), default=0)
                depth = min(k, last) if variant == "upstream" else k
                values.append(sum(relevant[:depth]) / depth if wanted and depth else NAN)
        assert agree(found[f"{name} mAP"], mean(aps))
        for k, values in precisions.items():
            assert agree(found[f"{name} mP@{k}"], mean(values))


@settings(max_examples=60)
@given(case=cases((POSITIVE, NEGATIVE)))
def test_instre(case: Case) -> None:
    found = figures("instre", case, "strict")
    aps, rates, shares = [], [], []
    for query, listed in scored_lists(case, "strict").items():
        wanted = of_labels(case.labels[query], POSITIVE)
        relevant = [item in wanted for item, _ in listed][: case.k]
        aps.append(trapezoids(relevant, len(wanted), min(case.k or len(wanted), len(wanted))))
        rates.append(float(any(relevant[:10])) if wanted else NAN)
        shares.append(sum(relevant[:10]) / len(wanted) if wanted else NAN)
    assert agree(found["mAP"], mean(aps))
    assert agree(found["hit_rate@10"], mean(rates))
    assert agree(found["recall_fraction@10"], mean(shares))


# --------------------------------------------------------------------------------------------------- finite sums


def finite(relevant: list[bool]) -> float:
    return sum(sum(relevant[: r + 1]) / (r + 1) for r, hit in enumerate(relevant) if hit)


def grouped(listed: list[tuple[bool, float]]) -> float:
    """Sum over hits of the precision at the end of their group of equal scores."""
    total = 0.0
    for hit, score in listed:
        end = max(i for i, (_, other) in enumerate(listed) if other == score) + 1
        total += hit * sum(other for other, _ in listed[:end]) / end
    return total


@pytest.mark.parametrize("variant", ["upstream", "strict"])
@settings(max_examples=60)
@given(case=cases((POSITIVE, IGNORE)))
def test_searchad(case: Case, variant: Variant) -> None:
    found = figures("searchad", case, variant)
    columns: dict[str, list[float]] = {"MAP": [], "R-Precision": [], "P@5": [], "P@25": [], "P@100": []}
    lists = case.lists if variant == "upstream" else {q: once(case.lists.get(q, [])) for q in case.labels}
    for query, listed in lists.items():
        row = case.labels.get(query, {})
        wanted, gone = of_labels(row, POSITIVE), of_labels(row, IGNORE)
        kept = [item for item, _ in listed if item not in gone]
        # Of a path that stands twice the last place counts, and the earlier ones are misses.
        relevant = [item in wanted and item not in kept[i + 1 :] for i, item in enumerate(kept)]
        if variant == "upstream":
            nothing, there = not kept, sum(relevant)
            divisor = there
        else:
            nothing, there = not wanted, len(wanted)
            divisor = min(case.k or there, there)
        values = {
            "MAP": finite(relevant[: case.k]) / divisor if divisor else 0.0,
            "R-Precision": sum(relevant[:there]) / there if there else 0.0,
        }
        for k in (5, 25, 100):
            depth = min(k, len(kept)) if variant == "upstream" else k
            values[f"P@{k}"] = sum(relevant[:depth]) / depth if depth else 0.0
        for name, value in values.items():
            columns[name].append(NAN if nothing and query in case.labels else value)
    for name, column in columns.items():
        assert agree(found[name], mean(column)), name


@pytest.mark.parametrize("variant", ["upstream", "strict"])
@settings(max_examples=60)
@given(case=cases((POSITIVE,), repeats=False))
def test_ilias(case: Case, variant: Variant) -> None:
    found = figures("ilias", case, variant)
    k = case.k or 1000
    aps, oracles, full = [], [], []
    for query, listed in scored_lists(case, variant).items():
        wanted = of_labels(case.labels[query], POSITIVE)
        cut = [(item in wanted, score) for item, score in listed][:k]
        hits = sum(hit for hit, _ in cut)
        aps.append(grouped(cut) / min(k, len(wanted)) if wanted else NAN)
        full.append(grouped([(item in wanted, score) for item, score in listed]) / len(wanted) if wanted else NAN)
        if variant == "strict":
            oracles.append(hits / min(k, len(wanted)) if wanted else NAN)
        else:
            oracles.append(hits * k / (len(cut) * len(wanted)) if wanted and cut else NAN)
    assert agree(found[f"mAP@{k}"], mean(aps))
    assert agree(found["full mAP"], mean(full))
    assert agree(found["oracle mAP"], mean(oracles))


@pytest.mark.parametrize("variant", ["upstream", "strict"])
@settings(max_examples=60)
@given(case=cases((POSITIVE,)))
def test_permir(case: Case, variant: Variant) -> None:
    found = figures("permir", case, variant)
    aps: list[float] = []
    rates: dict[int, list[float]] = {1: [], 5: []}
    for query, listed in scored_lists(case, variant).items():
        wanted = of_labels(case.labels[query], POSITIVE)
        cut = [(item in wanted, score) for item, score in listed][: case.k]
        hits = sum(hit for hit, _ in cut)
        if variant == "upstream":
            aps.append(grouped(cut) / hits if hits else 0.0)
        else:
            aps.append(grouped(cut) / min(case.k or len(wanted), len(wanted)) if wanted else NAN)
        for k, values in rates.items():
            values.append(float(any(hit for hit, _ in cut[:k])) if wanted else NAN)
    assert agree(found["MAP"], mean(aps))
    for k, values in rates.items():
        assert agree(found[f"hit_rate@{k}"], mean(values))


@pytest.mark.parametrize("variant", ["upstream", "strict"])
@settings(max_examples=60)
@given(case=cases((POSITIVE,)))
def test_soir(case: Case, variant: Variant) -> None:
    found = figures("soir", case, variant)
    upstream = variant == "upstream"
    columns: dict[str, list[float]] = {"mAP": [], "precision@3": [], "hit_rate@1": [], "hit_rate@5": []}
    for query, listed in scored_lists(case, variant).items():
        wanted = of_labels(case.labels[query], POSITIVE)
        relevant = [item in wanted for item, _ in listed][: case.k]
        if upstream:
            columns["mAP"].append(finite(relevant) / sum(relevant) if any(relevant) else 0.0)
        else:
            divisor = min(case.k or len(wanted), len(wanted))
            columns["mAP"].append(finite(relevant) / divisor if wanted else NAN)
        columns["precision@3"].append(NAN if upstream and len(relevant) < 3 else sum(relevant[:3]) / 3)
        for k in (1, 5):
            columns[f"hit_rate@{k}"].append(float(any(relevant[:k])) if wanted or upstream else NAN)
    for name, column in columns.items():
        assert agree(found[name], mean(column)), name


@settings(max_examples=60)
@given(case=cases((POSITIVE,), repeats=False))
def test_soir_binary(case: Case) -> None:
    """Thresholds 0.10, 0.15, ..., pooled over all queries; the first best F1."""
    found = figures("soir", case._replace(k=None), "upstream")
    lists = scored_lists(case, "upstream")
    positives = sum(len(of_labels(case.labels[query], POSITIVE)) for query in lists)
    rows = []
    for threshold in np.arange(0.1, 1.0, 0.05):
        above = [(q, item) for q, row in lists.items() for item, score in row if score >= threshold]
        true = sum(case.labels[q].get(item) == POSITIVE for q, item in above)
        precision, recall = true / len(above) if above else 0.0, true / positives if positives else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append((f1, float(threshold), precision, recall))
    best = max(rows, key=lambda row: row[0])  # the first of equal ones
    names = ("max_accuracy", "best threshold", "precision at best", "recall at best")
    assert [found[f"binary {name}"] for name in names] == pytest.approx(best)
    assert agree(found["binary average_precision"], sum(row[2] for row in rows) / len(rows))


# ---------------------------------------------------------------------------------------------------- pixel retrieval

WIDTHS = (0.0, 0.3, 0.5, 0.55, 0.6, 0.75, 0.9, 0.95, 1.0)


@pytest.mark.parametrize("variant", ["upstream", "strict"])
@settings(max_examples=30)
@given(case=cases((EASY, HARD, JUNK), repeats=False), data=st.data())
def test_pixel_retrieval(case: Case, variant: Variant, data: st.DataObject) -> None:
    """mAP@50:5:95 and mean of mIoU from the pairs' overlaps, which tests of their own look at."""
    square = [np.array([[0.0, 0], [100, 0], [100, 100], [0, 100]])]
    pairs = [(q, item) for q, row in case.labels.items() for item in of_labels(row, EASY, HARD)]
    widths = {pair: data.draw(st.sampled_from(WIDTHS)) for pair in sorted(pairs)}
    outlines = {pair: [square[0] * [1, width]] if width else [] for pair, width in widths.items()}
    truth = truth_of(case.labels, "small")._replace(regions=dict.fromkeys(pairs, square))
    run = run_of(case.lists)._replace(regions=outlines)
    assume(pairs and any(q in case.labels for q in case.lists) and any(case.lists.values()))
    try:
        found = ev.score("pixel_retrieval", truth, run, variant=variant, k=case.k).values
    except CurateError as error:
        assume("(E0" not in str(error))
        raise
    overlaps = {
        (truth.queries[q], ITEMS[i]): values
        for q, i, values in zip(truth.query, truth.item, pair_overlaps(truth, run, variant).tolist(), strict=True)
    }
    for name in ("medium", "hard"):
        positive, junk = PROTOCOLS[name]
        for task, place in (("detection", 0), ("segmentation", 1)):
            iou = {pair: values[place] for pair, values in overlaps.items()}
            mious = [
                mean([iou[query, item] for item in sorted(of_labels(row, *positive))])
                for query, row in case.labels.items()
            ]
            undefined = variant == "upstream" and any(math.isnan(value) for value in mious)
            assert agree(found[f"{name} {task} mean of mIoU"], NAN if undefined else mean(mious))
            at = []
            for threshold in np.arange(50, 100, 5) / 100:
                aps = []
                for query, listed in scored_lists(case, variant).items():
                    row = case.labels[query]
                    wanted = of_labels(row, *positive)
                    above = {item for item in wanted if iou[query, item] > threshold}
                    kept = [item for item, _ in listed if item not in of_labels(row, *junk)][: case.k]
                    there = len(above) if variant == "upstream" else len(wanted)
                    aps.append(trapezoids([item in above for item in kept], there, min(case.k or there, there)))
                at.append(mean(aps))
            assert agree(found[f"{name} {task} mAP@50:5:95"], NAN if any(map(math.isnan, at)) else sum(at) / len(at))
