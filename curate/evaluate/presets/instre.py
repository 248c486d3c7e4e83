"""INSTRE by the protocol of Iscen et al.: mAP with trapezoids, no junk.

The variants differ as those of revisitop do (:mod:`curate.evaluate.presets.revisitop`), whose AP this is: upstream
counts every copy of an image and leaves out queries without results; strict takes copies out, and counts 0.
"""

from __future__ import annotations

from pathlib import Path

from curate.evaluate.presets import Figures, Preset, Variant
from curate.evaluate.presets.revisitop import PROTOCOLS, STRICT, UPSTREAM, protocol
from curate.evaluate.ranking import Ranking, Results, Truth
from curate.evaluate.scores import Scored
from curate.evaluate.truth_files import instre_truth


def truth(path: Path, taxonomy: Path | None = None) -> Truth:
    return instre_truth(path)


def score(truth: Truth, ranking: Ranking, results: Results, variant: Variant, k: int | None = None) -> Scored:
    """mAP and mP@1, 5, 10, with Recall@1, 10, 100 in both meanings beside."""
    figures = Figures()
    hits = protocol(truth, ranking, PROTOCOLS["medium"], variant, k, figures, "")
    figures.recalls(hits, (1, 10, 100))
    return Scored(
        hits,
        "mAP",
        figures.values,
        figures.per_query,
        UPSTREAM if variant == "upstream" else STRICT,
        k=k,
        means=figures.means,
    )


PRESET = Preset("instre", truth, score)
