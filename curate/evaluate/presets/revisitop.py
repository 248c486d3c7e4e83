"""Revisited Oxford and Paris: mAP and mP@k by the protocols Easy, Medium and Hard.

==============================  ========================================  ==========================================
                                upstream                                  strict
==============================  ========================================  ==========================================
AP                              trapezoids under precision and recall     the same (finite-sum mAP beside)
P@k                             never below the last positive found: the  hits in the first k, divided by k
                                divisor is the smaller of k and its rank
query absent from the results   its program fails; here left out          0
image that stands twice         every copy counts, AP may exceed 1        hit at its first place
==============================  ========================================  ==========================================

Easy: positives easy, ignored junk and hard. Medium: easy and hard, ignored junk. Hard: hard, ignored junk and easy. A
query without positives in a protocol is left out of it. upstream's P@k fails for a query none of whose positives is
listed; here it has no value.
"""

from __future__ import annotations

from pathlib import Path

from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.ranking import EASY, HARD, IGNORE, JUNK, POSITIVE, Hits, Ranking, Results, Roles, Truth, find_hits
from curate.evaluate.scores import Scored
from curate.evaluate.truth_files import revisitop_truth

PROTOCOLS = {
    "easy": Roles((EASY,), (JUNK, IGNORE, HARD)),
    "medium": Roles((EASY, HARD, POSITIVE), (JUNK, IGNORE)),
    "hard": Roles((HARD,), (JUNK, IGNORE, EASY)),
}
KAPPAS = (1, 5, 10)
UPSTREAM = ("as revisitop: trapezoidal AP; P@k never looks below the last positive found, it is not the usual one",)
STRICT = ("trapezoidal AP, as revisitop; P@k is the usual one; queries without results count 0",)


def truth(path: Path, taxonomy: Path | None = None) -> Truth:
    return revisitop_truth(path)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    """mAP, mP@1, 5, 10 of each protocol; the main figure is Medium's mAP."""
    figures = Figures()
    medium: Hits | None = None
    for name, roles in PROTOCOLS.items():
        hits = protocol(truth, ranking, roles, variant, k, figures, name)
        medium = hits if name == "medium" else medium
    assert medium is not None
    notes = UPSTREAM if variant == "upstream" else STRICT
    return Scored(medium, "medium mAP", figures.values, figures.per_query, notes, k=k, means=figures.means)


def protocol(
    truth: Truth, ranking: Ranking, roles: Roles, variant: Variant, k: int | None, figures: Figures, name: str
) -> Hits:
    """Add the figures of one protocol, under ``name``."""
    upstream = variant == "upstream"
    hits = find_hits(truth, ranking, roles, duplicates="all" if upstream else "first", k=k)
    prefix = f"{name} " if name else ""
    ap = metrics.average_precision(hits, Options(shape="trapezoid", divisor="min_k"))
    figures.add(f"{prefix}AP", ap, total=f"{prefix}mAP")
    for kappa in KAPPAS:
        if upstream:
            values = metrics.precision_within_found(hits, kappa)
        else:
            values = metrics.precision_at(hits, kappa)
            values[hits.positives == 0] = float("nan")
        figures.add(f"{prefix}P@{kappa}", values, total=f"{prefix}mP@{kappa}")
    if not upstream:
        figures.add(f"{prefix}finite AP", metrics.average_precision(hits), total=f"{prefix}finite mAP")
    figures.random(truth, hits, f"{prefix}random", k, roles=roles)
    return hits


PRESET = Preset("revisitop", truth, score)
