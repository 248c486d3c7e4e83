"""What becomes of a list before it is scored: ignored items, copies, ties, cuts, foreign names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.ranking import (
    EASY,
    HARD,
    IGNORE,
    JUNK,
    POSITIVE,
    Results,
    Roles,
    Truth,
    find_hits,
    make_truth,
    match,
    with_missing,
)


def truth_of(**labels: int) -> Truth:
    """One query ``q``; items are letters a to h."""
    items = list("abcdefgh")
    places = np.array([items.index(name) for name in labels])
    return make_truth("t", ["q"], items, np.zeros(len(places)), places, np.array(list(labels.values())))


def results_of(items: str, scores: list[float] | None = None, query: str = "q") -> Results:
    names = sorted(set(items))
    order = np.array([names.index(item) for item in items], np.int32)
    score = None if scores is None else np.array(scores)
    return Results("r", (query,), pa.array(names, pa.string()), np.array([0, len(items)]), order, score)


def ranks(truth: Truth, results: Results, **options: object) -> list[int]:
    return find_hits(truth, match(truth, results), **options).rank.tolist()  # type: ignore[arg-type]


def test_ignored_items_are_taken_out_first() -> None:
    truth = truth_of(a=JUNK, c=POSITIVE, d=IGNORE, f=POSITIVE)
    hits = find_hits(truth, match(truth, results_of("abcdef")))
    assert hits.rank.tolist() == [2, 4]
    assert (hits.listed.tolist(), hits.positives.tolist()) == ([4], [2])


def test_protocols_choose_among_labels() -> None:
    truth = truth_of(a=EASY, b=HARD, c=JUNK)
    medium, hard = Roles((EASY, HARD), (JUNK,)), Roles((HARD,), (JUNK, EASY))
    assert ranks(truth, results_of("cab"), roles=medium) == [1, 2]
    assert ranks(truth, results_of("cab"), roles=hard) == [1]


def test_of_copies_the_first_the_last_or_all_count() -> None:
    truth, results = truth_of(a=POSITIVE), results_of("abab")
    assert ranks(truth, results, duplicates="first") == [1]
    assert find_hits(truth, match(truth, results)).listed.tolist() == [2]  # later copies are gone
    assert ranks(truth, results, duplicates="last") == [3]
    assert find_hits(truth, match(truth, results), duplicates="last").listed.tolist() == [4]
    assert ranks(truth, results, duplicates="all") == [1, 3]


@pytest.mark.parametrize("order", ["abc", "bac"])
def test_tied_scores_form_a_group(order: str) -> None:
    """Scores .9 .9 .5, whatever the order of the two that are equal: 0.5833, as scikit-learn's AP groups them."""
    truth = truth_of(a=POSITIVE, c=POSITIVE)
    score = {"a": 0.9, "b": 0.9, "c": 0.5}
    results = results_of(order, [score[name] for name in order])
    hits = find_hits(truth, match(truth, results), ties="grouped")
    (value,) = metrics.average_precision(hits, Options(divisor="min_k"))
    assert value == pytest.approx(0.5833, abs=5e-5)


def test_a_cut_leaves_the_deeper_out() -> None:
    truth = truth_of(b=POSITIVE, d=POSITIVE, e=POSITIVE)
    hits = find_hits(truth, match(truth, results_of("abcde")), k=4)
    assert (hits.rank.tolist(), hits.listed.tolist(), hits.positives.tolist()) == ([2, 4], [4], [3])


def test_a_query_never_answers_itself() -> None:
    truth = truth_of(a=POSITIVE, b=POSITIVE)._replace(own=np.array([0]))
    assert ranks(truth, results_of("ab")) == [1]


def test_upstream_names_are_known_too() -> None:
    truth = truth_of(a=POSITIVE)._replace(other_names=pa.array([f"path/{name}.jpg" for name in "abcdefgh"]))
    truth = truth._replace(other_queries=["Query"])
    results = Results(
        "r", ("Query",), pa.array(["path/b.jpg", "path/a.jpg"]), np.array([0, 2]), np.array([0, 1], np.int32)
    )
    assert ranks(truth, results) == [2]


def test_unknown_queries_are_no_lists_of_the_truth() -> None:
    truth = truth_of(a=POSITIVE)
    ranking = match(truth, results_of("ab", query="other"))
    assert ranking.query.tolist() == [-1]
    assert find_hits(truth, ranking).query.tolist() == []
    filled = find_hits(truth, with_missing(truth, ranking))
    assert (filled.query.tolist(), filled.rank.tolist(), filled.positives.tolist()) == ([0], [], [1])


def test_of_a_pair_given_twice_the_strongest_label_counts() -> None:
    truth = make_truth("t", ["q"], ["a"], np.zeros(2), np.zeros(2), np.array([JUNK, POSITIVE]))
    assert truth.label.tolist() == [POSITIVE]


def test_the_fingerprint_is_of_the_content() -> None:
    first = make_truth("t", ["q", "p"], ["a", "b"], np.array([0, 1]), np.array([0, 1]), np.array([1, 1]))
    same = make_truth("u", ["p", "q"], ["b", "a"], np.array([1, 0]), np.array([1, 0]), np.array([1, 1]))
    assert first.fingerprint() == same.fingerprint()
    other = make_truth("t", ["q", "p"], ["a", "b"], np.array([0, 1]), np.array([0, 1]), np.array([1, JUNK]))
    assert len({truth.fingerprint() for truth in (first, other, first._replace(gallery=9))}) == 3


@given(st.permutations("abcdefgh"), st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")))
def test_ranks_by_walking_the_list(order: list[str], positive: set[str], ignored: set[str]) -> None:
    ignored -= positive
    truth = truth_of(**dict.fromkeys(sorted(positive), POSITIVE), **dict.fromkeys(sorted(ignored), IGNORE))
    left = [name for name in order if name not in ignored]
    assert ranks(truth, results_of("".join(order))) == [i for i, name in enumerate(left, 1) if name in positive]
