"""Judgements of the union: rules that differ written down, and pairs that two datasets judged made one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import relevance
from curate.columns import whole
from curate.dataset import Dataset, conform, json_text
from curate.errors import SchemaError
from curate.merging.rows import EXPECTED, HINT
from curate.model import Finding, RelevanceRule, finding

# Stands for rules that differ, until judgements have taken their place; equal to the rule by default.
DIFFERING = RelevanceRule()


def united_rule(datasets: Sequence[Dataset]) -> RelevanceRule:
    """The rule of those that have one: a dataset without queries whose rule is the default has not spoken."""
    said = [dataset.info.relevance for dataset in datasets if _has_spoken(dataset)]
    if any(rule != said[0] for rule in said[1:]):
        return DIFFERING
    return said[0] if said else RelevanceRule()


def _has_spoken(dataset: Dataset) -> bool:
    return bool(dataset.table("queries").num_rows) or dataset.info.relevance != RelevanceRule()


def follow_differing_rules(
    union: Dataset, datasets: Sequence[Dataset], labels: Sequence[str]
) -> tuple[Dataset, Finding]:
    """``union`` with what each dataset's rule says of its queries as judgements, and what to tell of it.

    A query of several datasets is judged by the rule of the first.
    """
    tables, rules = [union.table("judgements")], []
    rest = whole(union.table("queries")["id"])
    for dataset, label in zip(datasets, labels, strict=True):
        rule = dataset.info.relevance
        if not _has_spoken(dataset):
            continue
        rules.append(f"{_rule(rule)} in {label}")
        asked = rest.filter(pc.is_in(rest, value_set=whole(dataset.table("queries")["id"])))
        rest = rest.filter(pc.invert(pc.is_in(rest, value_set=asked)))
        if len(asked):
            ruled = union.replace(info=msgspec.structs.replace(union.info, relevance=rule))
            pairs = relevance.relevance(ruled, asked.to_pylist())
            pairs = pairs.filter(pc.invert(pairs["judged"])).drop_columns("judged")
            origin = pa.repeat(pa.scalar("merge"), pairs.num_rows)
            tables.append(conform("judgements", pairs.append_column("origin", origin)))
    judgements = pa.concat_tables(tables).unify_dictionaries()
    added = judgements.num_rows - tables[0].num_rows
    message = f"rules differ: {'; '.join(rules)}. What they say was written down as {added:,} judgements"
    hint = "to have one rule, choose the queries anew ('curate build split query-gallery')"
    info = msgspec.structs.replace(union.info, relevance=RelevanceRule())
    return union.replace(info=info, judgements=judgements), finding("N07", "relevance rule", message, hint=hint)


def _rule(rule: RelevanceRule) -> str:
    return json_text(msgspec.to_builtins(rule))


# What a pair is: who judged which image for which query. A judgement may further name the annotation that shows it.
_PAIR = ("query_id", "image_id", "origin", "round")


def join_pairs(
    table: pa.Table, datasets: Sequence[Dataset], labels: Sequence[str], conflicts: list[SchemaError]
) -> pa.Table:
    """The judgements of a union, each pair once where one dataset names its annotation and another does not.

    So ROxford's lists, which judge pairs, and PROxford's masks, which show them, come to one judgement per mask. Of one
    pair with different labels each way a contradiction is noted. A dataset that itself says a pair both ways means it,
    and what another person said, or in another round, is another judgement.
    """
    parts = [table, *(dataset.table("judgements") for dataset in datasets)]
    codes = np.split(_codes(parts), np.cumsum([part.num_rows for part in parts])[:-1])
    named = [np.asarray(pc.is_valid(part["annotation_id"])) for part in parts]
    both_ways = [np.intersect1d(code[name], code[~name]) for code, name in zip(codes, named, strict=True)]
    settled = np.setdiff1d(both_ways[0], np.concatenate([np.zeros(0, np.int64), *both_ways[1:]]))
    rows = np.flatnonzero(~named[0] & np.isin(codes[0], settled))
    if not len(rows):
        return table
    label = whole(table["label"]).dictionary_encode().indices.to_numpy().astype(np.int64)
    said = codes[0] * (label.max() + 1) + label
    agrees = np.isin(said[rows], said[named[0]])
    for row in rows[~agrees].tolist():
        alike = [np.flatnonzero(code == codes[0][row]) for code in codes[1:]]
        i, one = next((i, at[0]) for i, at in enumerate(alike) if len(at) and not named[i + 1][at[0]])
        j, other = next((j, at[0]) for j, at in enumerate(alike) if len(at) and named[j + 1][at[0]])
        a, b = (_row(datasets[n], int(at)) for n, at in ((i, one), (j, other)))
        found = f"{a['label']!r} in {labels[i]}, {b['label']!r} by annotation {b['annotation_id']!r} in {labels[j]}"
        where = f"table judgements, row query_id={a['query_id']!r}, image_id={a['image_id']!r}, column label"
        conflicts.append(SchemaError(where, found, EXPECTED, HINT))
    keep = np.ones(table.num_rows, bool)
    keep[rows[agrees]] = False
    return table.filter(pa.array(keep))


def _codes(tables: Sequence[pa.Table]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For the rows of all tables, one after the other, a number that is the same where the pair is."""
    codes = np.zeros(sum(table.num_rows for table in tables), np.int64)
    for column in _PAIR:
        values = pa.concat_arrays([whole(table[column]) for table in tables])
        encoded = values.dictionary_encode("encode")
        combined = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
        codes = pa.array(combined).dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _row(dataset: Dataset, row: int) -> dict[str, Any]:
    found: dict[str, Any] = dataset.table("judgements").slice(row, 1).to_pylist()[0]
    return found
