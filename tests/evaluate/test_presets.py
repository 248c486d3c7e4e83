"""Presets by worked examples: what their upstream programs say of a list, and what a sound variant says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import evaluate as ev
from curate.errors import SourceError, UsageError
from curate.evaluate.presets import NAMES, Variant
from curate.evaluate.ranking import EASY, HARD, IGNORE, JUNK, POSITIVE, Results, Truth, make_truth

BOTH: tuple[Variant, Variant] = ("upstream", "strict")
SQUARE = [np.array([[0.0, 0], [100, 0], [100, 100], [0, 100]])]


def truth_of(labels: dict[str, dict[str, int]], items: str) -> Truth:
    """``{query: {item: label}}`` over items of one letter; the gallery is all of them."""
    pairs = [(q, items.index(item), label) for q, row in enumerate(labels.values()) for item, label in row.items()]
    columns = np.array(pairs, np.int64).reshape(-1, 3).T
    return make_truth("t", list(labels), list(items), *columns)._replace(gallery=len(items), closed=True)


def run_of(items: str, scores: dict[str, list[float]] | None = None, **lists: str) -> Results:
    start = np.cumsum([0, *map(len, lists.values())])
    order = np.array([items.index(item) for row in lists.values() for item in row], np.int32)
    score = None if scores is None else np.array([value for query in lists for value in scores[query]])
    return Results("run", tuple(lists), pa.array(list(items)), start, order, score)


def values(
    preset: str, truth: Truth, run: Results, name: str, k: int | None = None
) -> tuple[float | None, float | None]:
    """Figure ``name``, upstream's and the strict one."""
    upstream, strict = (ev.score(preset, truth, run, variant=variant, k=k).values[name] for variant in BOTH)
    return upstream, strict


def approx(*expected: float) -> object:
    return pytest.approx(expected, abs=1e-12)


# The list of metrics.md: a miss, two hits, two misses, a hit; a fourth positive, g, is not listed.
FOUR = dict.fromkeys("bcfg", POSITIVE)


def test_searchad_a_list_cut_short_scores_higher_upstream() -> None:
    truth = truth_of({"q": FOUR}, "abcdefg")
    assert values("searchad", truth, run_of("abcdefg", q="abcdef"), "MAP") == approx(5 / 9, 5 / 12)
    assert values("searchad", truth, run_of("abcdefg", q="ab"), "MAP") == approx(1 / 2, 1 / 8)
    assert values("searchad", truth, run_of("abcdefg", q="abcdef"), "R-Precision") == approx(2 / 3, 2 / 4)
    assert values("searchad", truth, run_of("abcdefg", q="abcdef"), "P@25") == approx(3 / 6, 3 / 25)
    assert values("searchad", truth, run_of("abcdefg", q="abcdef"), "MAP", k=5) == approx(7 / 18, 7 / 24)


def test_searchad_ignored_images_copies_and_classes_without_positive() -> None:
    small = truth_of({"q": {"a": IGNORE, "b": POSITIVE}, "none": {"c": IGNORE}}, "abc")
    assert values("searchad", small, run_of("abc", q="abc", none="abc"), "MAP") == approx(1 / 2, 1)
    assert values("searchad", small, run_of("abc", q="abc"), "MAP") == approx(1, 1)
    twice = truth_of({"q": {"a": POSITIVE}}, "abc")
    assert values("searchad", twice, run_of("abc", q="abac"), "MAP") == approx(1 / 3, 1)


def test_ilias_oracle_of_short_lists() -> None:
    """40 items listed of k = 1000, all positives found: by definition 1, by the program 1000 / 40."""
    truth = truth_of({"q": {"a": POSITIVE, "b": POSITIVE}}, "abcde")
    run = run_of("abcde", {"q": [5.0, 4, 3, 2]}, q="cabd")
    assert values("ilias", truth, run, "oracle mAP", k=1000) == approx(2 * 1000 / (4 * 2), 1)
    assert values("ilias", truth, run, "mAP@2", k=2) == approx(1 / 4, 1 / 4)
    two = truth_of({"q": {"a": POSITIVE}, "absent": {"b": POSITIVE}}, "abcde")
    assert values("ilias", two, run_of("abcde", {"q": [2.0, 1]}, q="ab"), "mAP@10", k=10) == approx(1, 1 / 2)


def test_soir_counts_what_was_retrieved() -> None:
    truth = truth_of({"q": FOUR, "empty": {}}, "abcdefg")
    run = run_of("abcdefg", q="abcdef", empty="abcdef")
    assert values("soir", truth, run, "mAP") == approx(5 / 9 / 2, 5 / 12)
    assert values("soir", truth, run, "hit_rate@5") == approx(1 / 2, 1)
    assert values("soir", truth, run, "precision@3") == approx(2 / 3 / 2, 2 / 3 / 2)
    short = run_of("abcdefg", q="b", empty="abc")
    assert values("soir", truth, short, "precision@3") == approx(0, 1 / 3 / 2)


def test_revisitop_precision_stops_at_the_last_positive() -> None:
    """The worked list of metrics.md: 5,3,1,7,0,2,4,6 with P = {3, 7} and J = {5}."""
    items = "01234567"
    truth = truth_of({"q": {"3": EASY, "7": HARD, "5": JUNK}}, items)
    run = run_of(items, q="53170246")
    assert values("revisitop", truth, run, "medium mAP") == approx(19 / 24, 19 / 24)
    assert values("revisitop", truth, run, "medium mP@5") == approx(2 / 3, 2 / 5)
    # Easy passes over 7, hard over 3: each has one positive, at ranks 1 and 2.
    assert values("revisitop", truth, run, "easy mAP") == approx(1, 1)
    assert values("revisitop", truth, run, "hard mAP") == approx(1 / 4, 1 / 4)
    assert ev.score("revisitop", truth, run).values["medium finite mAP"] == pytest.approx(5 / 6)


def test_instre_is_revisitop_without_junk() -> None:
    truth = truth_of({"q": {"b": POSITIVE, "d": POSITIVE}}, "abcde")
    # b at rank 2, d at 4: (0/1 + 1/2) / 2 and (1/3 + 2/4) / 2.
    assert values("instre", truth, run_of("abcde", q="abcde"), "mAP") == approx(1 / 3, 1 / 3)


def test_permir_groups_ties() -> None:
    truth = truth_of({"q": {"a": POSITIVE, "c": POSITIVE}, "lost": {"d": POSITIVE}}, "abcd")
    for order in ("abcd", "bacd"):
        run = run_of("abcd", {"q": [0.9, 0.9, 0.5, 0.1], "lost": [3.0, 2.0]}, q=order, lost="ab")
        assert values("permir", truth, run, "MAP") == approx(7 / 12 / 2, 7 / 12 / 2)


def pixels(ious: dict[tuple[int, int], float]) -> tuple[Truth, Results]:
    """70 queries with three easy positives each at the top; of each a square of 100 px, found with these IoUs."""
    queries = [f"q{i}" for i in range(70)]
    items = [f"i{i}" for i in range(210)]
    query, item = np.repeat(np.arange(70), 3), np.arange(210)
    truth = make_truth("proxford", queries, items, query, item, np.full(210, EASY))
    regions = {(f"q{q}", f"i{3 * q + n}"): SQUARE for q in range(70) for n in range(3)}
    found = {
        (f"q{q}", f"i{3 * q + n}"): [SQUARE[0] * [1, ious[q, n]]] if ious.get((q, n)) else []
        for q in range(70)
        for n in range(3)
    }
    lists = [np.concatenate([item[query == q], item[query != q]]) for q in range(70)]
    run = Results(
        "run", tuple(queries), pa.array(items), np.arange(71) * 210, np.concatenate(lists).astype(np.int32), None, found
    )
    return truth._replace(gallery=210, closed=True, regions=regions), run


MAIN = "medium detection mAP@50:5:95"


def test_pixel_retrieval_worked() -> None:
    """metrics.md: a perfect result scores 68/70; one perfect pair of 210 scores 1/3, and soundly 1/210."""
    perfect = {(q, n): 1.0 for q in range(70) for n in range(3)}
    assert values("pixel_retrieval", *pixels(perfect), MAIN) == approx(68 / 70, 1)
    assert values("pixel_retrieval", *pixels({(0, 0): 1.0}), MAIN) == approx(1 / 3, 1 / 210)
    half = values("pixel_retrieval", *pixels(dict.fromkeys(perfect, 0.5)), MAIN)
    assert half[1] == 0  # what exceeds .5 exceeds it strictly


def test_pixel_retrieval_is_not_monotone_upstream() -> None:
    """An outline that gets better can cost score upstream, and never soundly."""
    worse, better = ({(0, 0): 1.0, (1, 2): iou} for iou in (0.4, 0.6))
    (a, b), (c, d) = (values("pixel_retrieval", *pixels(ious), MAIN) for ious in (worse, better))
    assert a is not None and b is not None and c is not None and d is not None
    assert c < a
    assert d > b


def test_an_outline_that_no_canvas_holds_is_refused() -> None:
    truth, run = pixels({(0, 0): 1.0})
    assert truth.regions is not None
    far = truth._replace(regions={**truth.regions, ("q0", "i1"): [SQUARE[0] * 1e6]})
    with pytest.raises(SourceError, match=r"proxford, i1 for q0: a coordinate is 1e\+08 px from the corner"):
        ev.score("pixel_retrieval", far, run)


def test_mean_of_miou_is_over_queries() -> None:
    """q1 has IoUs .5 and .7, q2 has .2: mean of mIoU .4, not the pooled .4667."""
    truth = make_truth("x", ["q1", "q2"], list("abc"), np.array([0, 0, 1]), np.array([0, 1, 2]), np.full(3, EASY))
    pairs = {("q1", "a"): 0.5, ("q1", "b"): 0.7, ("q2", "c"): 0.2}
    truth = truth._replace(gallery=3, closed=True, regions=dict.fromkeys(pairs, SQUARE))
    none = np.zeros(0, np.int32)
    run = Results(
        "run",
        (),
        pa.array([], pa.string()),
        np.zeros(1, np.int64),
        none,
        None,
        {pair: [SQUARE[0] * [1, iou]] for pair, iou in pairs.items()},
    )
    found = ev.score("pixel_retrieval", truth, run).values["medium detection mean of mIoU"]
    assert found == pytest.approx(0.4)


@given(st.permutations("abcdefgh"), st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(0, 7))
def test_a_hit_that_moves_up_never_costs_score(order: list[str], positive: set[str], at: int) -> None:
    """Of strict variants: swapping a hit with the miss before it raises the main figure."""
    truth = truth_of({"q": dict.fromkeys(sorted(positive), HARD)}, "abcdefgh")
    swaps = [i for i, (a, b) in enumerate(pairwise(order)) if a not in positive and b in positive]
    if not swaps:
        return
    i = swaps[at % len(swaps)]
    moved = [*order[:i], order[i + 1], order[i], *order[i + 2 :]]
    falling = {"q": [float(8 - n) for n in range(8)]}
    for preset in (name for name in NAMES if name != "pixel_retrieval"):
        before, after = (ev.score(preset, truth, run_of("abcdefgh", falling, q="".join(one))) for one in (order, moved))
        assert (after.values[after.main] or 0) > (before.values[before.main] or 0), preset


@pytest.mark.parametrize("preset", [name for name in NAMES if name != "pixel_retrieval"])
@pytest.mark.parametrize("variant", BOTH)
def test_every_preset_names_what_it_did(preset: str, variant: Variant) -> None:
    truth = truth_of({"q": {"a": EASY}}, "abc")
    scores = ev.score(preset, truth, run_of("abc", {"q": [3.0, 2, 1]}, q="abc"), variant=variant)
    assert (scores.preset, scores.variant, scores.fingerprint) == (preset, variant, truth.fingerprint())
    assert scores.values[scores.main] == 1
    assert scores.notes


def test_what_presets_there_are() -> None:
    with pytest.raises(UsageError, match="expected one of searchad, ilias"):
        ev.load("coco")
    with pytest.raises(UsageError, match="k = 0: is no depth"):
        ev.score("soir", truth_of({"q": {"a": EASY}}, "abc"), run_of("abc", q="abc"), k=0)
