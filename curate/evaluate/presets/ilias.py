"""ILIAS: mAP@1k over image and text queries, its oracle, and groups by scale, clutter and category.

==============================  ===========================================  ===================================
                                upstream                                     strict
==============================  ===========================================  ===================================
AP@k                            equal scores form a group within the cut,    the same
                                divided by the smaller of k and positives
query absent from the results   left out                                     0
oracle                          h k / (n P): too large for lists shorter     h / min(k, P)
                                than k, too small where k < P
==============================  ===========================================  ===================================

Oracle is AP@k after the positives found were moved to the front. A group of scale or clutter takes the other positives
of the object out of list and truth; its figure is the mean over the queries that have a positive in it. A category's is
a mean over its objects, each the mean of its queries, of which text and image queries are alike; the total is a mean
over queries. They are taken out before the list is cut. mAP@100 and the mAP of the
uncut lists, which other texts name, and mAP by kind of query are given beside. The cut between items of one score is in
the order of the file (upstream's is arbitrary). The ids of the distractors are not read: whatever is no positive of an
object is a negative.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.ranking import IGNORE, Bools, Floats, Hits, Ranking, Results, Truth, find_hits
from curate.evaluate.scores import Scored
from curate.evaluate.truth_files import ilias_truth

SCALES = (0.0, 0.06880213760855043, 0.13526567164179104, 0.2729876723163842, np.inf)
CLUTTERS = (0, 18, 33, 53, np.inf)
BESIDE = 100
UPSTREAM = (
    "as ILIAS's program: queries without results are left out; its oracle divides by the list's length, and is wrong "
    "for lists shorter than the cut",
)
STRICT = ("queries without results count 0; the oracle is hits / min(k, positives)",)


def truth(path: Path, taxonomy: Path | None = None) -> Truth:
    return ilias_truth(path, taxonomy)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    figures = Figures()
    k = k or PRESET.default_k
    assert k is not None
    hits = find_hits(truth, ranking, ties="grouped", k=k)
    ap = metrics.average_precision(hits, Options(divisor="min_k"))
    figures.add("AP", ap, total=f"mAP@{k}")
    oracle = metrics.oracle_of_ilias if variant == "upstream" else metrics.oracle
    figures.add("oracle AP", oracle(hits, k), total="oracle mAP")
    for kind, rows in _kinds(truth, hits).items():
        figures.values[f"mAP@{k}, {kind} queries"] = metrics.mean(ap[rows])
    if k != BESIDE:
        near = find_hits(truth, ranking, ties="grouped", k=BESIDE)
        figures.add(f"AP@{BESIDE}", metrics.average_precision(near, Options(divisor="min_k")), total=f"mAP@{BESIDE}")
    uncut = find_hits(truth, ranking, ties="grouped")
    figures.add("full AP", metrics.average_precision(uncut), total="full mAP")
    figures.random(truth, hits, k=k)
    groups = {
        "scale": _by_value(truth, ranking, "scale", SCALES, k),
        "clutter": _by_value(truth, ranking, "clutter", CLUTTERS, k),
        "category": _by_object(truth, hits, ap, "supercategory"),
        "subcategory": _by_object(truth, hits, ap, "category"),
    }
    notes = UPSTREAM if variant == "upstream" else STRICT
    filled = {kind: values for kind, values in groups.items() if values}
    return Scored(hits, f"mAP@{k}", figures.values, figures.per_query, notes, filled, k, figures.means)


def _kinds(truth: Truth, hits: Hits) -> dict[str, Bools]:
    kinds = truth.about.get("kind", [None] * len(truth.queries))
    of_list = np.array(["text" if kinds[q] == "text" else "image" for q in hits.query])
    found = {kind: of_list == kind for kind in ("image", "text")}
    return found if all(rows.any() for rows in found.values()) else {}


def _by_value(truth: Truth, ranking: Ranking, name: str, limits: tuple[float, ...], k: int) -> dict[str, float]:
    """mAP of the positives within each pair of limits, the other positives of the object taken out."""
    if name not in truth.values:
        return {}
    values = truth.values[name]
    marked = np.flatnonzero(ranking.label != 0)
    found = {}
    for low, high in pairwise(limits):
        within = (values >= low) & (values < high)
        kept = within[truth.item]
        of_group = truth._replace(query=truth.query[kept], item=truth.item[kept], label=truth.label[kept])
        label = ranking.label.copy()
        label[marked[~within[ranking.item[marked]]]] = IGNORE
        hits = find_hits(of_group, ranking._replace(label=label), ties="grouped", k=k)
        found[f"{_limit(low)}-{_limit(high)}"] = metrics.mean(metrics.average_precision(hits, Options(divisor="min_k")))
    return found


def _limit(value: float) -> str:
    return f"{value:g}" if value in (0, np.inf) or value == int(value) else repr(float(value))


def _by_object(truth: Truth, hits: Hits, ap: Floats, name: str) -> dict[str, float]:
    """Mean over objects of the mean over their queries."""
    if name not in truth.about:
        return {}
    objects: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for query, value in zip(hits.query, ap, strict=True):
        place = truth.about[name][query]
        if place is not None and not np.isnan(value):
            objects[place][truth.about["group"][query] or truth.queries[query]].append(float(value))
    return {
        place: float(np.mean([np.mean(values) for values in of_place.values()])) for place, of_place in objects.items()
    }


PRESET = Preset("ilias", truth, score, default_k=1000)
