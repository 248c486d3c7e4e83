"""The outcome of ``curate evaluate``: as JSON (``schemas/evaluate.json``), as plain text and as CSV per query."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from curate.errors import printable
from curate.evaluate.behind import Breakdown, Comparison, Group
from curate.evaluate.scores import Scores, per_query
from curate.model import Finding


class Evaluation(Struct, frozen=True, kw_only=True):
    """The scores of a run, and what lies behind them."""

    scores: Scores
    interval: Annotated[
        tuple[float, float] | None,
        Meta(
            description="95 % interval of the main value, by bootstrap over queries; null: it is no mean over queries"
        ),
    ]
    breakdowns: Annotated[list[Breakdown], Meta(description="the main metric by properties; empty unless asked for")]
    comparisons: Annotated[list[Comparison], Meta(description="this run against each of the others")]
    others: Annotated[list[Scores], Meta(description="the scores of the other runs")]


def text(outcome: Evaluation, *, details: bool = False, worst: Sequence[int] = ()) -> str:
    """The outcome for a terminal.

    Args:
        details: upstream's groups for every figure, not only for the main one.
        worst: places in the table per query that are shown one by one.
    """
    scores = outcome.scores
    cut = f", cut at {scores.k}" if scores.k else ""
    runs = [scores, *outcome.others]
    asked = f"{len(scores.queries.query):,} queries{cut}"
    lines = [
        f"{scores.preset} ({scores.variant}), truth {printable(scores.truth)}, {asked}",
        f"truth {scores.fingerprint[:16]}, results {'; '.join(printable(', '.join(run.results)) for run in runs)}",
        "",
        *_values(runs),
    ]
    if outcome.interval:
        low, high = outcome.interval
        lines += ["", f"{scores.main}: 95 % interval {100 * low:.2f} to {100 * high:.2f} % (bootstrap over queries)"]
    for kind, groups in scores.groups.items():
        if kind in scores.values and kind != scores.main and not details:
            continue
        width = max([len(name) for name in groups], default=0)
        lines += ["", f"{kind}:", *(f"  {name.ljust(width)}  {_percent(value)}" for name, value in groups.items())]
    for one in outcome.breakdowns:
        lines += ["", f"{one.metric} by {one.by}:", *_groups(one.groups)]
    for comparison in outcome.comparisons:
        lines += ["", *_comparison(comparison)]
    if worst:
        lines += ["", *_worst(scores, worst)]
    said = [_finding(one) for one in scores.findings] + [f"note: {note}" for note in scores.notes]
    return "\n".join([*lines, *([""] if said else []), *said])


def _values(runs: Sequence[Scores]) -> list[str]:
    names = runs[0].values
    width = max(len(name) for name in names)
    return [f"  {name.ljust(width)}  {'  '.join(_percent(run.values.get(name)) for run in runs)}" for name in names]


def _percent(value: float | None) -> str:
    return "       -" if value is None else f"{100 * value:7.2f} %"


def _groups(groups: Iterable[Group]) -> list[str]:
    rows = [("", "queries", "value", "95 % interval", "random")]
    for group in groups:
        ends = "" if group.low is None or group.high is None else f"{100 * group.low:.1f} - {100 * group.high:.1f}"
        random = "" if group.random is None else f"{100 * group.random:.2f}"
        value = "-" if group.value is None else f"{100 * group.value:.2f}"
        rows.append((printable(group.name), f"{group.queries:,}", value, ends, random))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def _comparison(one: Comparison) -> list[str]:
    return [
        f"against {printable(one.other)}: {one.metric} {100 * one.difference:+.2f} points "
        f"(95 % interval {100 * one.low:+.2f} to {100 * one.high:+.2f}), p = {one.p:.4f}",
        f"  better on {one.better:,} queries, equal on {one.equal:,}, worse on {one.worse:,}",
    ]


def _worst(scores: Scores, places: Sequence[int]) -> list[str]:
    values = scores.queries.values[scores.means[scores.main]]
    width = max(len(printable(scores.queries.query[i])) for i in places)
    lines = ["worst queries:"]
    for i in places:
        found = f"{scores.queries.found[i]:,} of {scores.queries.positives[i]:,} found"
        lines.append(f"  {printable(scores.queries.query[i]).ljust(width)}  {_percent(values[i])}  {found}")
    return lines


def _finding(one: Finding) -> str:
    return f"{one.severity} {one.code} {printable(one.message)}" + (f"; {one.hint}" if one.hint else "")


def per_query_csv(scores: Scores) -> bytes:
    """The table per query as CSV, with figures as fractions to their last digit.

    Every row names preset, variant and truth: rows of several runs may end up in one table.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    table = per_query(scores)
    named = (scores.preset, scores.variant, scores.fingerprint)
    writer.writerow(["preset", "variant", "truth", *table.column_names])
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    writer.writerows((*named, *row) for row in rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")
