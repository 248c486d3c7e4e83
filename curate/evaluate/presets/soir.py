"""SoIR and VoxDet-SoIR: mAP, hit rate at 1, 5, 10, 15, ..., precision@3, and the block of binary figures.

==============================  ===========================================  ===================================
                                upstream                                     strict
==============================  ===========================================  ===================================
AP divides by                   positives in the list                        positives
query without positive          0, and counts, in recall too                 left out
query absent from the results   left out                                     0
precision@k                     over queries with k items in their list      over all, divided by k
item that stands twice          every copy counts                            hit at its first place
binary ``average_precision``    mean of the precisions over the thresholds   not given
binary ``max_accuracy``         the largest F1                               given as ``largest F1``
==============================  ===========================================  ===================================

With the whole gallery retrieved the two APs are the same. The binary block pools all queries: an item retrieved with a
similarity at or above a threshold is a true or false positive, positives of the gallery that are not are false
negatives. It needs similarities. Recall@K of the paper's tables is the hit rate; the share of positives is given too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate import anns_pt
from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.ranking import (
    NEGATIVE,
    POSITIVE,
    Floats,
    Ranking,
    Results,
    Truth,
    find_hits,
    make_truth,
)
from curate.evaluate.scores import Scored
from curate.evaluate.truth_dataset import truth_of

PRECISION_AT = (3, 1, 5, 10)  # the program's own, and those that papers name
THRESHOLDS: Floats = np.arange(0.1, 1.0, 0.05, dtype=np.float64)
UPSTREAM = (
    "as SoIR's program: AP divides by the positives retrieved; queries without positive count 0; the binary block's "
    "average_precision is a mean over thresholds, its max_accuracy an F1",
)
STRICT = ("AP divides by all positives; queries without positive are left out; queries without results count 0",)


def truth(path: Path, taxonomy: Path | None = None) -> Truth:
    """``anns.pt``: its queries and gallery, an item being an image; named as its keys are."""
    return truth_of(anns_pt.read(path), name=path.name)


def truth_of_labels(queries: Sequence[int], gallery: Sequence[int | Sequence[int]], name: str = "labels") -> Truth:
    """Relevance as label equality; a gallery item may have several labels, of which negative ones are padding."""
    by_label: dict[int, list[int]] = {}
    for item, labels in enumerate(gallery):
        for label in {labels} if isinstance(labels, int) else set(labels):
            if label >= 0:
                by_label.setdefault(label, []).append(item)
    rows = [by_label.get(int(label), []) for label in queries]
    query = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items = np.array([one for row in rows for one in row], np.int64)
    names = [str(i) for i in range(len(rows))], [str(i) for i in range(len(gallery))]
    truth = make_truth(name, *names, query, items, np.full(len(items), POSITIVE))
    return truth._replace(gallery=len(gallery), closed=True)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    figures = Figures()
    upstream = variant == "upstream"
    hits = find_hits(truth, ranking, duplicates="all" if upstream else "first", k=k)
    options = Options(divisor="found", empty="zero") if upstream else Options(divisor="min_k")
    figures.add("AP", metrics.average_precision(hits, options), total="mAP")
    for rank in PRECISION_AT:
        figures.add(f"precision@{rank}", metrics.precision_at(hits, rank, short="nan" if upstream else "k"))
    deepest = int(truth.gallery or hits.listed.max(initial=1))
    ks = [rank for rank in (1, *range(5, min(deepest, 100) + 1, 5)) if rank <= deepest]
    for rank in ks:
        figures.add(f"hit_rate@{rank}", metrics.hit_rate(hits, rank, empty="zero" if upstream else "nan"))
    for rank in (rank for rank in ks if rank in (1, 5, 10, 50, 100)):
        figures.add(f"recall_fraction@{rank}", metrics.recall_fraction(hits, rank))
    if ranking.score is not None:
        block = binary(truth, ranking)
        figures.values |= block.summary(upstream)
    figures.random(truth, hits, k=k)
    return Scored(
        hits, "mAP", figures.values, figures.per_query, UPSTREAM if upstream else STRICT, k=k, means=figures.means
    )


class Binary(NamedTuple):
    """Figures pooled over all queries, per threshold of similarity."""

    thresholds: Floats
    precision: Floats
    recall: Floats
    f1: Floats

    @property
    def best(self) -> int:
        """The first threshold with the largest F1."""
        return int(np.argmax(self.f1))

    def auc(self, upstream: bool) -> float:
        """Area under precision over recall, by trapezoids in the order of thresholds.

        Upstream sorts by recall with numpy's own unstable sort, which leaves equal recalls in any order; so do we then.
        """
        order = np.argsort(self.recall) if upstream else np.arange(len(self.recall))
        return float(abs(np.trapezoid(self.precision[order], self.recall[order])))

    def summary(self, upstream: bool) -> dict[str, float]:
        best = self.best
        found = {
            "binary best threshold": float(self.thresholds[best]),
            "binary precision at best": float(self.precision[best]),
            "binary recall at best": float(self.recall[best]),
            "binary max_accuracy" if upstream else "binary largest F1": float(self.f1[best]),
            "binary auc": self.auc(upstream),
        }
        return found | ({"binary average_precision": float(self.precision.mean())} if upstream else {})


def binary(truth: Truth, ranking: Ranking, thresholds: Floats = THRESHOLDS) -> Binary:
    """Precision, recall and F1 of all queries together, at each threshold; 0 where nothing is retrieved."""
    assert ranking.score is not None
    lists = ranking.lists
    known = ranking.query[lists] >= 0
    relevant = (ranking.label != NEGATIVE) & known
    positives = int(truth.positives()[ranking.query[ranking.query >= 0]].sum())

    def at_or_above(scores: Floats) -> Floats:
        ordered = np.sort(scores)
        return (len(ordered) - np.searchsorted(ordered, thresholds, side="left")).astype(np.float64)

    true, every = at_or_above(ranking.score[relevant]), at_or_above(ranking.score[known])
    precision = np.divide(true, every, out=np.zeros_like(true), where=every > 0)
    recall = true / positives if positives else np.zeros_like(true)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return Binary(np.asarray(thresholds, np.float64), precision, recall, f1)


PRESET = Preset("soir", truth, score)
