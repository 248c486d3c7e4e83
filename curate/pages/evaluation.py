"""The page of an evaluation: the figures, how sure they are, what they are made of, and the queries that went worst."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, table_of
from curate.errors import printable
from curate.evaluate import Evaluation, Ranking, Results, Truth, main_column, match, worst
from curate.evaluate.ranking import EASY, HARD, IGNORE, JUNK, POSITIVE
from curate.model import Annotation
from curate.relevance import relevance
from curate.show.page import CROPS, render, tile_values
from curate.show.tiles import Tile, image_tiles, object_tiles

QUERIES, ANSWERS = 8, 6
_NAMED = 20  # queries that are listed where there are no pictures
_BARS = 20
_ROWS = 60  # groups of a breakdown that are drawn
_LONG_NUMBER = re.compile(r"\d+\.\d{4,}")
_WORDS = {POSITIVE: "hit", EASY: "hit", HARD: "hit", IGNORE: "ignored", JUNK: "ignored"}


def draw_page(
    outcome: Evaluation,
    truth: Truth,
    results: Results,
    dataset: Dataset | None,
    *,
    roots: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML. Pictures need the ``dataset`` that ``truth`` was read from; ``roots`` has its image folders."""
    scores = outcome.scores
    column = main_column(scores)
    rows = list(_worst_rows(outcome, truth, results, dataset, roots or {})) if dataset is not None else []
    runs = [scores, *outcome.others]
    return render(
        "evaluation.html",
        {
            "title": f"{scores.main} {_percent(scores.values.get(scores.main))}",
            "preset": scores.preset,
            "variant": scores.variant,
            "truth": printable(scores.truth),
            "fingerprint": scores.fingerprint,
            "runs": [printable(", ".join(run.results)) for run in runs],
            "facts": _facts(outcome, truth),
            "values": [
                {"name": name, "cells": [_percent(run.values.get(name)) for run in runs]} for name in scores.values
            ],
            "bars": _histogram(column.values) if column else None,
            "metric": column.metric if column else "",
            "breakdowns": [_breakdown(one) for one in outcome.breakdowns],
            "groups": [
                _own_groups(kind, of_kind) for kind, of_kind in scores.groups.items() if kind not in scores.values
            ],
            "comparisons": [_comparison(one) for one in outcome.comparisons],
            "queries": rows,
            "worst": _worst_names(outcome) if dataset is None else [],
            "findings": [
                {"severity": one.severity, "code": one.code, "message": printable(one.message)}
                for one in scores.findings
            ],
            "notes": scores.notes,
        },
        package="curate.pages",
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _facts(outcome: Evaluation, truth: Truth) -> list[dict[str, str]]:
    scores = outcome.scores
    facts = [{"name": scores.main, "value": _percent(scores.values.get(scores.main))}]
    if outcome.interval:
        low, high = outcome.interval
        facts.append({"name": "95 % interval", "value": f"{100 * low:.1f}–{100 * high:.1f}\u00a0%"})
    chance = next((name for name in scores.values if name.endswith("random order")), None)
    if chance:
        facts.append({"name": "a random order", "value": _percent(scores.values[chance])})
    facts.append({"name": "queries", "value": f"{len(scores.queries.query):,}"})
    facts.append(
        {"name": "positives found", "value": f"{sum(scores.queries.found):,} of {sum(scores.queries.positives):,}"}
    )
    if truth.gallery is not None:
        facts.append({"name": "gallery", "value": f"{truth.gallery:,}"})
    return facts


def _histogram(values: Any) -> dict[str, Any]:
    """How many queries have which value."""
    there = values[~np.isnan(values)]
    counts, _ = np.histogram(there, bins=_BARS, range=(0, 1))
    largest = max(int(counts.max(initial=0)), 1)
    bars = [
        {"x": f"{5 * i + 0.4:.1f}", "height": f"{100 * n / largest:.2f}", "count": int(n)} for i, n in enumerate(counts)
    ]
    return {"bars": bars, "largest": largest, "queries": len(there)}


def _breakdown(one: Any) -> dict[str, Any]:
    groups = (
        sorted(one.groups, key=lambda group: -(group.value or 0))
        if one.by in ("category", "supercategory")
        else one.groups
    )
    return {
        "by": one.by,
        "metric": one.metric,
        "left_out": max(len(groups) - _ROWS, 0),
        "random": any(group.random is not None for group in groups),
        "groups": [
            {
                "name": printable(group.name),
                "queries": f"{group.queries:,}",
                "value": _percent(group.value),
                "width": f"{100 * (group.value or 0):.2f}",
                "low": None if group.low is None else f"{100 * group.low:.2f}",
                "span": None if group.low is None else f"{100 * (group.high - group.low):.2f}",
                "random": None if group.random is None else f"{100 * group.random:.2f}",
            }
            for group in groups[:_ROWS]
        ],
    }


def _own_groups(kind: str, groups: Mapping[str, float | None]) -> dict[str, Any]:
    """Groups that the benchmark itself makes (ILIAS's scale and clutter); it gives no intervals for them."""
    rows = [
        {
            "name": _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.3g}", printable(name)),
            "value": _percent(value),
            "width": f"{100 * (value or 0):.2f}",
        }
        for name, value in groups.items()
    ]
    return {"kind": kind, "rows": rows[:_ROWS], "left_out": max(len(rows) - _ROWS, 0)}


def _comparison(one: Any) -> dict[str, str]:
    return {
        "other": printable(one.other),
        "difference": f"{100 * one.difference:+.2f}",
        "ends": f"{100 * one.low:+.2f} to {100 * one.high:+.2f}",
        "p": f"{one.p:.4f}",
        "counts": f"{one.better:,} / {one.equal:,} / {one.worse:,}",
    }


def _worst_names(outcome: Evaluation) -> list[dict[str, str]]:
    """The queries that went worst, without pictures."""
    queries, column = outcome.scores.queries, main_column(outcome.scores)
    return [
        {
            "name": printable(queries.query[i]),
            "value": _percent(float(column.values[i])),
            "found": f"{queries.found[i]:,} of {queries.positives[i]:,}",
        }
        for i in worst(outcome.scores, _NAMED)
        if column is not None
    ]


def _worst_rows(
    outcome: Evaluation, truth: Truth, results: Results, dataset: Dataset, roots: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The queries that went worst, each with the first items of its list."""
    column = main_column(outcome.scores)
    if column is None:
        return
    ranking = match(truth, results)
    queries = {row["id"]: row for row in dataset.table("queries").to_pylist()}
    places = worst(outcome.scores, QUERIES)
    names = [outcome.scores.queries.query[i] for i in places]
    pairs = {
        (row["query_id"], row["image_id"]): row["annotation_id"]
        for row in relevance(dataset, [name for name in names if name in queries]).to_pylist()
    }
    for i, name in zip(places, names, strict=True):
        row = queries.get(name)
        if row is None:
            continue
        listed = np.flatnonzero(ranking.query == truth.queries.index(name))
        answers = (
            list(_answers(truth, ranking, results, int(listed[0]), name, pairs, dataset, roots)) if len(listed) else []
        )
        asked = list(_asked(row, dataset, roots))
        found, wanted = outcome.scores.queries.found[i], outcome.scores.queries.positives[i]
        yield {
            "name": printable(name),
            "caption": f"{column.metric} {_percent(float(column.values[i]))}, {found:,} of {wanted:,} found",
            "text": printable(row["text"] or row["category"] or ""),
            "asked": tile_values(asked[0]) if asked else None,
            "answers": answers,
        }


def _asked(row: Mapping[str, Any], dataset: Dataset, roots: Mapping[str, str]) -> Iterator[Tile]:
    if row["annotation_id"]:
        yield from object_tiles(dataset, [row["annotation_id"]], CROPS, roots)
    if row["image_id"]:
        yield from image_tiles(dataset, [row["image_id"]], dataset.table("annotations").slice(0, 0), CROPS, roots)


def _answers(
    truth: Truth,
    ranking: Ranking,
    results: Results,
    place: int,
    query: str,
    pairs: Mapping[tuple[str, str], str | None],
    dataset: Dataset,
    roots: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """The first items of a list, framed by what they are, with the object that makes them a hit and what was found."""
    rows = slice(int(ranking.start[place]), min(int(ranking.start[place + 1]), int(ranking.start[place]) + ANSWERS))
    for rank, (item, label) in enumerate(zip(ranking.item[rows], ranking.label[rows], strict=True)):
        if item >= len(truth.items):
            word = "not in the gallery" if truth.closed else "miss"
            yield {"state": "miss", "rank": rank + 1, "word": word, "tile": None}
            continue
        image = truth.items[int(item)].as_py()
        state = _WORDS.get(int(label), "miss")
        shown = pa.concat_tables([_object(dataset, pairs.get((query, image))), _found(results, query, image)])
        for tile in image_tiles(dataset, [image], shown, CROPS, roots):
            yield {"state": state, "rank": rank + 1, "word": state, "tile": tile_values(tile)}


def _object(dataset: Dataset, annotation: str | None) -> pa.Table:
    table = dataset.table("annotations")
    return table.filter(pc.equal(table["id"], annotation)) if annotation else table.slice(0, 0)


def _found(results: Results, query: str, image: str) -> pa.Table:
    """What the results outline in an image, as a proposal."""
    outlines: Sequence[Any] = (results.regions or {}).get((query, image), [])
    if not outlines:
        return table_of("annotations", [])
    points = np.concatenate([np.asarray(part) for part in outlines])
    (x, y), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    row = Annotation(
        id=f"{image}#found",
        image_id=image,
        category="found",
        status="proposal",
        x=x,
        y=y,
        w=right - x,
        h=bottom - y,
        polygons=[[np.asarray(part).ravel().tolist()] for part in outlines],
    )
    return table_of("annotations", [row])
