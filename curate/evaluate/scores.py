"""What scoring gives: one :class:`Scores`, and its table per query.

Every figure is a fraction from 0 to 1, also where upstream prints percent; ``null`` stands for a figure that is not
defined. The table per query is a struct of columns: what is known of the query (kind, group, category, supercategory,
source), what was found, and one column of ``values`` per metric. Breakdowns and significance work on
:func:`per_query`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
from msgspec import Meta, Struct

from curate.evaluate.ranking import ABOUT, Floats, Hits, Truth
from curate.model import Finding

Values = dict[str, list[float | None]]


class Queries(Struct, frozen=True, kw_only=True):
    """The lists that were scored, as parallel columns."""

    query: list[str]
    kind: list[str | None]
    group: list[str | None]
    category: list[str | None]
    supercategory: list[str | None]
    source: list[str | None]
    positives: Annotated[list[int], Meta(description="items that answer the query, listed or not")]
    listed: Annotated[list[int], Meta(description="items in the list, without ignored ones, down to the cut")]
    found: Annotated[list[int], Meta(description="positives in the list, down to the cut")]
    values: Annotated[Values, Meta(description="metric -> its value per query")]


class Scores(Struct, frozen=True, kw_only=True):
    """The outcome of ``curate evaluate``."""

    preset: str
    variant: str
    truth: Annotated[str, Meta(description="name of the ground truth")]
    fingerprint: Annotated[str, Meta(description="SHA-256 of the ground truth: queries, pairs, labels, outlines")]
    results: list[str]
    k: Annotated[int | None, Meta(description="lists are cut below this rank; null: they are not")]
    main: Annotated[str, Meta(description="name of the value that the benchmark is known by")]
    values: dict[str, float | None]
    means: Annotated[dict[str, str], Meta(description="value -> the metric per query of which it is the plain mean")]
    groups: Annotated[
        dict[str, dict[str, float | None]],
        Meta(description="kind of group -> group -> value, as upstream reports them"),
    ]
    queries: Queries
    findings: list[Finding]
    notes: Annotated[list[str], Meta(description="what the variant does that others do not")]


class Scored(NamedTuple):
    """What a preset computes: values per list (``per_query``) and over all lists, in order of presentation."""

    hits: Hits
    main: str
    values: dict[str, float]
    per_query: dict[str, Floats]
    notes: Sequence[str]
    groups: Mapping[str, Mapping[str, float]] = {}
    k: int | None = None
    means: Mapping[str, str] = {}  # figure -> the column whose plain mean it is


def assemble(
    preset: str, variant: str, truth: Truth, results: Sequence[str], scored: Scored, findings: Sequence[Finding]
) -> Scores:
    """The outcome as it leaves the house."""
    hits = scored.hits
    about = {name: truth.about.get(name, [None] * len(truth.queries)) for name in ABOUT}
    return Scores(
        preset=preset,
        variant=variant,
        truth=truth.name,
        fingerprint=truth.fingerprint(),
        results=list(results),
        k=scored.k,
        main=scored.main,
        values={name: _number(value) for name, value in scored.values.items()},
        means=dict(scored.means),
        groups={
            kind: {name: _number(value) for name, value in groups.items()} for kind, groups in scored.groups.items()
        },
        queries=Queries(
            query=[truth.queries[q] for q in hits.query],
            **{name: [column[q] for q in hits.query] for name, column in about.items()},
            positives=hits.positives.tolist(),
            listed=hits.listed.tolist(),
            found=np.diff(hits.start).tolist(),
            values={name: [_number(value) for value in column] for name, column in scored.per_query.items()},
        ),
        findings=list(findings),
        notes=list(scored.notes),
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def per_query(scores: Scores) -> pa.Table:
    """The table per query, a row per list scored: the fields of :class:`Queries`, then a column per metric."""
    queries = scores.queries
    words = ("query", *ABOUT)
    columns: dict[str, pa.Array] = {name: pa.array(getattr(queries, name), pa.string()) for name in words}
    columns |= {name: pa.array(getattr(queries, name), pa.int64()) for name in ("positives", "listed", "found")}
    columns |= {name: pa.array(values, pa.float64()) for name, values in queries.values.items()}
    return pa.table(columns)
