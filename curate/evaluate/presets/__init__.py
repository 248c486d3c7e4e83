"""One module per benchmark: how its truth is read, and how it is scored, ``upstream`` and ``strict``.

A module has ``truth(path, taxonomy)``, which reads upstream's own files, ``score(truth, ranking, results, variant, k)``
and ``NOTES``, what the figures of each variant mean. ``upstream`` gives the numbers that the benchmark's program
prints; ``strict`` gives sound ones: what was not found counts as not found, whatever a list leaves out. The table in
each module says in what the two differ. Unless it says otherwise, in ``strict``

* a query without results counts 0, one without positives is left out;
* of an item that stands twice in a list the first copy counts and later ones are taken out;
* AP divides by the positives that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from curate.errors import UsageError
from curate.evaluate import metrics
from curate.evaluate.ranking import Floats, Hits, Ranking, Results, Roles, Truth
from curate.evaluate.scores import Scored

_ROLES = Roles()
Variant = Literal["strict", "upstream"]
NAMES = ("searchad", "ilias", "soir", "revisitop", "instre", "permir", "pixel_retrieval")


class Preset(NamedTuple):
    """A benchmark: ``truth`` reads upstream's files, None where only a dataset has it."""

    name: str
    truth: Callable[[Path, Path | None], Truth] | None
    score: Callable[[Truth, Ranking, Results, Variant, int | None], Scored]
    default_k: int | None = None


def load(name: str) -> Preset:
    """The preset ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in NAMES:
        raise UsageError(f"preset {name!r}", "unknown", f"expected one of {', '.join(NAMES)}")
    module = import_module(f"{__name__}.{name}")
    preset: Preset = module.PRESET
    return preset


class Figures:
    """Figures as they are added: per list, and their mean over the lists where they are numbers.

    ``means`` says of which column a figure is the plain mean; a preset takes out what is something else.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.per_query: dict[str, Floats] = {}
        self.means: dict[str, str] = {}

    def add(self, name: str, values: Floats, *, total: str | None = None) -> float:
        """Keep ``values`` as column ``name``, and their mean as ``total``."""
        self.per_query[name] = values
        self.values[total or name] = metrics.mean(values)
        self.means[total or name] = name
        return self.values[total or name]

    def recalls(self, hits: Hits, ks: Sequence[int]) -> None:
        """Recall@K in both meanings, and named so."""
        for k in ks:
            self.add(f"hit_rate@{k}", metrics.hit_rate(hits, k))
        for k in ks:
            self.add(f"recall_fraction@{k}", metrics.recall_fraction(hits, k))

    def random(
        self, truth: Truth, hits: Hits, name: str = "random", k: int | None = None, roles: Roles = _ROLES
    ) -> None:
        """AP of a random order beside the AP: classes differ by orders of magnitude in how many positives they have."""
        if truth.gallery is None:
            return
        ignored = truth.positives(roles.ignored)[hits.query]
        own = np.zeros(len(truth.queries), np.int64) if truth.own is None else (truth.own >= 0).astype(np.int64)
        items = truth.gallery - ignored - own[hits.query]
        values = metrics.random_average_precision(items, hits.positives, k)
        self.add(f"AP of {name} order", values, total=f"mAP of {name} order")
