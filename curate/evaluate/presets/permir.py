"""PerMIR (as PDM scores it): MAP over the whole gallery, Recall@1, 5, 10, 50 as hit rate.

=================================  =====================================  =====================================
                                   upstream                               strict
=================================  =====================================  =====================================
AP                                 finite sum, equal scores form a group  the same
AP divides by                      positives in the list                  positives
query without positive             0, and counts                          left out
query absent from the results      left out                               0
=================================  =====================================  =====================================

upstream scores the whole gallery, where the first two come to the same. The truth is a dataset's: PerMIR publishes no
file of it.
"""

from __future__ import annotations

from curate.evaluate import metrics
from curate.evaluate.metrics import Options
from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.ranking import Ranking, Results, Truth, find_hits
from curate.evaluate.scores import Scored

RECALLS = (1, 5, 10, 50)
UPSTREAM = ("as PDM: AP divides by the positives in the list; equal scores form a group; Recall@K is the hit rate",)
STRICT = ("AP divides by all positives; equal scores form a group; queries without results count 0",)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    figures = Figures()
    upstream = variant == "upstream"
    hits = find_hits(truth, ranking, duplicates="all" if upstream else "first", ties="grouped", k=k)
    options = Options(divisor="found", empty="zero") if upstream else Options(divisor="min_k")
    figures.add("AP", metrics.average_precision(hits, options), total="MAP")
    figures.recalls(hits, RECALLS)
    figures.random(truth, hits, k=k)
    return Scored(
        hits, "MAP", figures.values, figures.per_query, UPSTREAM if upstream else STRICT, k=k, means=figures.means
    )


PRESET = Preset("permir", None, score)
