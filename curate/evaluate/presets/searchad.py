"""SearchAD: 90 classes, each a query, over the images of a split; MAP, R-Precision, P@5, P@25, P@100.

=================================  =======================================  =================================
                                   upstream (devkit 1.0.0)                  strict
=================================  =======================================  =================================
AP and R-Precision divide by       positives in the list                    positives of the class
class without positive             0, and counts                            left out
class absent from the results      left out                                 0
unknown class in the results       0, and counts                            not scored
list empty once ignored are out    left out                                 0
P@k of a list shorter than k       divides by its length                    divides by k
path that stands twice             hit at its last place, a miss before     hit at its first place
=================================  =======================================  =================================

Both take images out of a list whose boxes of the class are all below 50 px². The devkit computes in single precision:
its figures agree to 1e-6. Recall@1, 5, 10, which the paper speaks of, the devkit does not print; both meanings are
given beside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.ranking import Floats, Hits, Ranking, Results, Truth, find_hits
from curate.evaluate.scores import Scored
from curate.evaluate.truth_files import searchad_truth

PRECISIONS = (5, 25, 100)
RECALLS = (1, 5, 10)
UPSTREAM = (
    "as SearchAD's devkit: AP and R-Precision divide by the positives that a list holds, so that a truncated list may "
    "score higher; a class without positive counts 0; classes without results are left out",
)
STRICT = (
    "AP and R-Precision divide by all positives of the class; classes without positive are left out; classes without "
    "results count 0",
)


def truth(path: Path, taxonomy: Path | None = None) -> Truth:
    return searchad_truth(path)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    """The devkit's figures, per class and over all, and per category. Without ``k`` lists are not cut."""
    figures = Figures()
    upstream = variant == "upstream"
    hits = find_hits(truth, ranking, duplicates="last" if upstream else "first")
    if upstream:
        nothing = hits.listed == 0
        ap = metrics.average_precision(hits, Options(divisor="listed", k=k, empty="zero"))
        r_precision = metrics.r_precision(hits, listed=True, empty="zero")
        precisions = {p: metrics.precision_at(hits, p, short="listed") for p in PRECISIONS}
        unknown = int((ranking.query < 0).sum())
    else:
        nothing = hits.positives == 0
        ap = metrics.average_precision(hits, Options(divisor="min_k" if k else "positives", k=k))
        r_precision = metrics.r_precision(hits)
        precisions = {p: metrics.precision_at(hits, p) for p in PRECISIONS}
        unknown = 0
    columns = {"AP": ap, "R-Precision": r_precision} | {f"P@{p}": values for p, values in precisions.items()}
    for name, values in columns.items():
        total = "MAP" if name == "AP" else name
        values = np.where(nothing, np.nan, values)
        figures.add(name, values, total=total)
        # Classes that the truth does not know score 0 upstream, and count.
        if unknown:
            del figures.means[total]
        figures.values[total] = metrics.mean(np.concatenate([values, np.zeros(unknown)]))
    groups = {name: _by_category(truth, hits, values) for name, values in figures.per_query.items()}
    groups["MAP"] = groups.pop("AP")
    figures.recalls(hits, RECALLS)
    figures.random(truth, hits, k=k)
    notes = UPSTREAM if upstream else STRICT
    return Scored(hits, "MAP", figures.values, figures.per_query, notes, groups, k, figures.means)


def _by_category(truth: Truth, hits: Hits, values: Floats) -> dict[str, float]:
    categories = truth.about.get("supercategory", [None] * len(truth.queries))
    of_list = np.array([categories[q] or "" for q in hits.query])
    means = {name: metrics.mean(values[of_list == name]) for name in sorted(set(of_list.tolist()) - {""})}
    return {name: value for name, value in means.items() if not np.isnan(value)}


PRESET = Preset("searchad", truth, score)
