"""PROxford and PRParis: mean of mIoU, and mAP@50:5:95 over boxes (detection) and masks (segmentation).

Both are given for Medium (positives easy and hard) and Hard (hard; easy is ignored), beside revisitop's mAP of images.

====================================  ======================================  ====================================
                                      upstream                                strict
====================================  ======================================  ====================================
positives of a query at threshold t   its pairs with IoU above t              all its pairs; those at t or below
                                                                              count as not found
query with no pair above t            left out of the mean                    0
queries 56, 63 / 57, 59               0, whatever was found                   scored
pair without outline                  easy: left out of mIoU; hard: 0         0
query without positives (mIoU)        the mean is undefined                   left out
pooled IoU of all pairs               not given                               given beside
IoU                                   OpenCV's pixels, one row and column     the same pixels, nothing cut;
                                      cut (``outlines``)                      boxes without the pixel rule
====================================  ======================================  ====================================

So upstream's mAP@50:5:95 can fall when an outline gets better: a pair that fails everywhere takes its query out of the
mean. In both, pairs that fail stay in the ranking as negatives, and what exceeds t exceeds it strictly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.errors import SourceError, UsageError
from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.outlines import far_away, mask_counts, overlap
from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.presets.revisitop import PROTOCOLS
from curate.evaluate.ranking import EASY, Floats, Hits, Ranking, Results, Roles, Truth, find_hits
from curate.evaluate.results import has_regions
from curate.evaluate.scores import Scored
from curate.evaluate.truth_files import pixel_truth

TASKS = ("detection", "segmentation")
THRESHOLDS = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95)
_AP = Options(
    shape="trapezoid", divisor="min_k"
)  # as revisitop's: of lists that are cut the smaller of k and positives
SKIPPED = {"proxford": (56, 63), "prparis": (57, 59)}
UPSTREAM = (
    "as PROxford's programs: recall is relative to the pairs above the threshold, queries without any are left out, "
    "and two queries of each set count 0: a perfect result scores 68/70",
)
STRICT = ("recall is relative to all positive pairs; a pair that is not outlined, or not well enough, is not found",)


def truth(path: Path, taxonomy: Path | None = None) -> Truth:
    return pixel_truth(path)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    """The figures of both protocols; without a ranking only those of mIoU. The main figure is Medium's segmentation."""
    figures = Figures()
    overlaps = pair_overlaps(truth, results, variant)
    ranked = len(ranking.item) > 0
    every = np.arange(len(truth.queries))
    medium = Hits(every, np.zeros(len(every) + 1, np.int64), every[:0], every * 0, truth.positives())
    for name in ("medium", "hard"):
        roles = PROTOCOLS[name]
        for task, values in zip(TASKS, overlaps.T, strict=True):
            mious = _miou(truth, roles, values)
            figures.per_query[f"{name} {task} mIoU"] = mious[ranking.query[ranking.query >= 0]] if ranked else mious
            if not np.isnan(mious).all():
                figures.means[f"{name} {task} mean of mIoU"] = f"{name} {task} mIoU"
            undefined = variant == "upstream" and bool(np.isnan(mious).any())
            figures.values[f"{name} {task} mean of mIoU"] = float("nan") if undefined else metrics.mean(mious)
        if variant == "strict":
            figures.values[f"{name} segmentation pooled IoU"] = _pooled(truth, roles, results)
        if not ranked:
            continue
        hits = find_hits(truth, ranking, roles, duplicates="all" if variant == "upstream" else "first", k=k)
        figures.add(f"{name} AP", metrics.average_precision(hits, _AP), total=f"{name} mAP")
        for task, values in zip(TASKS, overlaps.T, strict=True):
            figures.add(
                f"{name} {task} AP@50:5:95", _localised(truth, hits, values, variant, figures, f"{name} {task}")
            )
            figures.values[f"{name} {task} mAP@50:5:95"] = float(
                np.mean([figures.values.pop(f"{name} {task} mAP@{round(100 * t)}") for t in THRESHOLDS])
            )
            del figures.values[f"{name} {task} AP@50:5:95"], figures.means[f"{name} {task} AP@50:5:95"]
            if variant == "strict":  # upstream leaves other queries out at every threshold
                figures.means[f"{name} {task} mAP@50:5:95"] = f"{name} {task} AP@50:5:95"
        medium = hits if name == "medium" else medium
    main = "medium segmentation mAP@50:5:95" if ranked else "medium segmentation mean of mIoU"
    return Scored(
        medium,
        main,
        figures.values,
        figures.per_query,
        UPSTREAM if variant == "upstream" else STRICT,
        k=k,
        means=figures.means,
    )


def pair_overlaps(truth: Truth, results: Results, variant: Variant) -> Floats:
    """IoU of box and mask for every pair of the truth ``[pairs, 2]``; NaN where the pair does not enter.

    Raises:
        UsageError: the truth or the results have no outlines.
        SourceError: an outline of the truth is too large to be painted.
    """
    if truth.regions is None:
        raise UsageError(truth.name, "has no outlines", hint="name oxford_pair2labelpath.npy or a dataset with masks")
    found = has_regions(results)
    items = truth.items.to_pylist()
    values = np.full((len(truth.query), 2), np.nan)
    for row, (q, i) in enumerate(zip(truth.query, truth.item, strict=True)):
        pair = truth.queries[q], items[i]
        if pair not in truth.regions:
            continue
        if wrong := far_away(truth.regions[pair]):
            raise SourceError(f"{truth.name}, {pair[1]} for {pair[0]}", *wrong)
        outline = found.get(pair, [])
        if outline or variant == "strict" or truth.label[row] != EASY:
            values[row] = overlap(outline, truth.regions[pair], variant)
    return values


def _pooled(truth: Truth, roles: Roles, results: Results) -> float:
    """IoU of all positive pairs' masks at once; a pair without an outline found has nothing in common."""
    found, regions = has_regions(results), truth.regions or {}
    items = truth.items.to_pylist()
    rows = np.flatnonzero(roles.table(roles.positive)[truth.label]).tolist()
    pairs = [(truth.queries[truth.query[row]], items[truth.item[row]]) for row in rows]
    counts = [mask_counts(found.get(pair, []), regions[pair]) for pair in pairs if pair in regions]
    both = np.array(counts, np.int64).reshape(-1, 2)
    return metrics.pooled_iou(both[:, 0], both[:, 1])


def _miou(truth: Truth, roles: Roles, values: Floats) -> Floats:
    """Mean IoU of each query's positives that have one; NaN if none has."""
    rows = roles.table(roles.positive)[truth.label] & ~np.isnan(values)
    total = np.bincount(truth.query[rows], values[rows], minlength=len(truth.queries))
    count = np.bincount(truth.query[rows], minlength=len(truth.queries))
    mean: Floats = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def _localised(truth: Truth, hits: Hits, values: Floats, variant: Variant, figures: Figures, name: str) -> Floats:
    """AP per query as the mean over thresholds; the mean over queries at each threshold is kept under ``name``."""
    count = len(truth.items)
    keys = truth.query * count + truth.item
    assert hits.item is not None
    of_hit = values[np.searchsorted(keys, hits.query[hits.lists] * count + hits.item)]
    skipped = (
        np.isin(hits.query, SKIPPED.get(truth.name, ())) if variant == "upstream" else np.zeros(len(hits.query), bool)
    )
    total = np.zeros(len(hits.query))
    for threshold in THRESHOLDS:
        kept = np.nan_to_num(of_hit, nan=-1.0) > threshold
        per_list = np.bincount(hits.lists[kept], minlength=len(hits.query))
        positives = hits.positives
        if variant == "upstream":
            pairs = np.nan_to_num(values, nan=-1.0) > threshold
            of_protocol = np.isin(truth.label, PROTOCOLS[name.split()[0]].positive)
            positives = np.bincount(truth.query[pairs & of_protocol], minlength=len(truth.queries))[hits.query]
        start = np.concatenate([[0], np.cumsum(per_list)])
        above = Hits(hits.query, start, hits.rank[kept], hits.listed, positives, k=hits.k)
        ap = metrics.average_precision(above, _AP)
        ap[skipped] = 0.0
        figures.values[f"{name} mAP@{round(100 * threshold)}"] = metrics.mean(ap)
        total += np.nan_to_num(ap)
    mean: Floats = total / len(THRESHOLDS)
    return np.where(hits.positives > 0, mean, np.nan)


PRESET = Preset("pixel_retrieval", truth, score)
