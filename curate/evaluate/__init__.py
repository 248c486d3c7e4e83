"""Scoring: ranked lists against a truth, by each benchmark's own metric and by a sound one.

The path of a score::

    truth file, dataset --read_truth--> Truth ---.
                                                  match --> Ranking --check--> findings
    result files -------read_results--> Results --'            |
                                                  find_hits --> Hits --metrics--> a preset's figures --> Scores

* ``Truth`` lists the pairs of query and item that are positive (also easy, hard) or ignored (junk). All other items are
  negatives, so that distractors are never listed; where coverage is known it also says which pairs nobody judged.
* ``Results`` are the ranked lists as a file has them, ``Ranking`` the same with the truth's numbers and labels; lists
  of different length lie one behind the other in flat arrays.
* ``Hits`` are the ranks of the positives in the lists, ignored items taken out: all that a metric needs, and small.
  Which copy of a repeated item counts, and how equal scores are taken, is decided there, once.
* ``metrics`` are pure functions of ``Hits``; their options are what the benchmarks differ in.
* ``presets`` has a module per benchmark with two variants: ``upstream``, the published program's figures to the last
  digit, and ``strict``, the sound ones. The table in each module says what differs.
* ``check`` says what is wrong with results, and what that does to the score, before they are scored.
* ``Scores`` names preset, variant and the fingerprint of the truth, and has the table per query.
* ``behind`` has intervals, breakdowns, comparisons of runs; ``Evaluation`` is all of it, ``report`` its text.

Nothing here opens a picture, runs a pickle, or holds a list of distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate.dataset import Dataset
from curate.errors import CurateError, SourceError, UsageError
from curate.evaluate.behind import breakdowns, compare, interval, main_column, worst
from curate.evaluate.checks import check, unjudged_at
from curate.evaluate.metrics import Options
from curate.evaluate.presets import NAMES, Variant, load
from curate.evaluate.ranking import Hits, Ranking, Results, Roles, Truth, find_hits, match, with_missing
from curate.evaluate.report import Evaluation, text
from curate.evaluate.results import read_results
from curate.evaluate.scores import Scores, assemble, per_query
from curate.model import Finding, finding

__all__ = [
    "NAMES",
    "Evaluation",
    "Hits",
    "Options",
    "Ranking",
    "Results",
    "Roles",
    "Scores",
    "Truth",
    "Variant",
    "check",
    "compare",
    "evaluate",
    "find_hits",
    "interval",
    "load",
    "look_behind",
    "main_column",
    "match",
    "per_query",
    "read_results",
    "read_truth",
    "score",
    "text",
    "worst",
]
_UNJUDGED_AT = 10  # how deep unjudged@k looks where no cut is named


def read_truth(preset: str, truth: Path | Dataset, *, taxonomy: Path | None = None, distractors: int = 0) -> Truth:
    """The truth of a preset, from a dataset or from upstream's own file or folder.

    Args:
        taxonomy: ILIAS's ``misc/taxonomy.json``, where it does not lie beside its lists.
        distractors: how many images are searched beside those of the dataset, and answer no query
            (``curate.store.read_without_distractors``).

    Raises:
        UsageError: the preset is unknown, or has no file of its own.
        SourceError: the file is missing, broken or of another form.
    """
    if isinstance(truth, Dataset):
        from curate.evaluate.truth_dataset import truth_of

        known = truth_of(truth)
        if not distractors:
            return known
        return known._replace(gallery=len(known.items) + distractors, closed=False)
    reader = load(preset).truth
    if reader is None:
        raise UsageError(truth, f"is no dataset, and {preset} publishes no file of its truth", "expected a dataset")
    if not truth.exists():
        raise SourceError(truth, "no such file or folder", "expected a dataset or upstream's own truth")
    return reader(truth, taxonomy)


def score(preset: str, truth: Truth, results: Results, *, variant: Variant = "strict", k: int | None = None) -> Scores:
    """Check and score results.

    Raises:
        SourceError: the results have nothing to do with the truth, or there is nothing to be found.
        UsageError: the preset is unknown, or ``k`` is not positive.
    """
    return _scored(preset, truth, results, match(truth, results), variant, k)


def _scored(preset: str, truth: Truth, results: Results, ranking: Ranking, variant: Variant, k: int | None) -> Scores:
    chosen = load(preset)
    if k is not None and k < 1:
        raise UsageError(f"k = {k}", "is no depth", "expected 1 or more")
    strict = variant == "strict"
    found = check(truth, ranking, results, strict=strict, k=k or chosen.default_k)
    _refuse(found)
    if strict and len(ranking.query):
        ranking = with_missing(truth, ranking)
    scored = chosen.score(truth, ranking, results, variant, k)
    depth = scored.k or _UNJUDGED_AT
    unjudged = unjudged_at(truth, ranking, depth) if len(ranking.query) else None
    if unjudged is not None:
        scored.per_query[f"unjudged@{depth}"] = unjudged
        scored.values[f"unjudged@{depth}"] = float(unjudged.mean()) if len(unjudged) else float("nan")
        if unjudged.any():
            share = 100 * unjudged.mean()
            message = f"{share:.1f} % of the first {depth} items were never judged; they count as misses"
            found.append(finding("E09", truth.name, message))
    return assemble(preset, variant, truth, [results.name], scored, found)


def evaluate(
    preset: str,
    truth: Path | Dataset,
    results: Sequence[Path],
    *,
    variant: Variant = "strict",
    k: int | None = None,
    taxonomy: Path | None = None,
) -> Scores:
    """Read, check and score one run. ``results`` are its files.

    Raises:
        CurateError: see :func:`read_truth`, :func:`read_results` and :func:`score`.
    """
    known = read_truth(preset, truth, taxonomy=taxonomy)
    return score(preset, known, read_results([Path(path) for path in results], known), variant=variant, k=k)


def look_behind(
    preset: str,
    truth: Truth,
    results: Results,
    *,
    variant: Variant = "strict",
    k: int | None = None,
    details: bool = False,
    against: Sequence[Results] = (),
) -> Evaluation:
    """Score a run, say how sure its main figure is, compare it with others; with ``details`` also break it down.

    Raises:
        SourceError, UsageError: see :func:`score` and :func:`compare`.
    """
    ranking = match(truth, results)
    scores = _scored(preset, truth, results, ranking, variant, k)
    others = [score(preset, truth, other, variant=variant, k=k) for other in against]
    column = main_column(scores)

    def again(part: Truth, seen: Ranking) -> Scores:
        return _scored(preset, part, results, seen, variant, k)

    return Evaluation(
        scores=scores,
        interval=interval(column.values) if column else None,
        breakdowns=breakdowns(scores, truth, ranking, again) if details else [],
        comparisons=compare(scores, others),
        others=others,
    )


def _refuse(found: Sequence[Finding]) -> None:
    errors: list[CurateError] = [
        SourceError(one.where, f"{one.message} ({one.code})", hint=one.hint or "")
        for one in found
        if one.severity == "error"
    ]
    if errors:
        first = errors[0]
        raise SourceError(first.where, first.found, first.expected, first.hint, also=errors[1:])
