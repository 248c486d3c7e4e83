"""The union as a whole: tables, what is known of them, and one error that lists all contradictions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from curate.dataset import Dataset, conform
from curate.errors import SchemaError, UsageError
from curate.merging.facts import recounted, united_info
from curate.merging.judgements import DIFFERING, follow_differing_rules, join_pairs
from curate.merging.roots import under_common_roots
from curate.merging.rows import Pair, union_of
from curate.model import TABLES, Finding


def merge(datasets: Sequence[Dataset], *, name: str | None = None) -> Dataset:
    """The union of ``datasets``, called ``name`` or "merged"; its findings are those of the merge alone.

    Raises:
        SchemaError: two datasets say different things of one row or of one source. Each column at fault is named with
            its first row and both values.
        UsageError: there is nothing to merge.
    """
    if not datasets:
        raise UsageError("merge", "no dataset given", "expected one or more")
    labels = _labels(datasets)
    parents, datasets = datasets, under_common_roots(datasets)
    conflicts: list[SchemaError] = []
    findings: list[Finding] = []
    tables: dict[str, pa.Table] = {}
    for table_name in TABLES:
        merged: pa.Table | None = None
        for i, dataset in enumerate(datasets):
            table = dataset.table(table_name)
            if merged is None or not merged.num_rows:
                merged = table
            elif table.num_rows:
                before = labels[0] if i == 1 else "one before"
                pair = Pair(table_name, merged, table, before, labels[i], conflicts, findings)
                merged = union_of(pair)
        tables[table_name] = merged
    tables["judgements"] = join_pairs(tables["judgements"], datasets, labels, conflicts)
    info = united_info(datasets, labels, conflicts, name or "merged")
    info = msgspec.structs.replace(info, parents=tuple(parent.as_parent() for parent in parents))
    if conflicts:
        raise _all_of(conflicts)
    tables = {table_name: conform(table_name, table) for table_name, table in tables.items()}
    info = msgspec.structs.replace(info, sources=recounted(info.sources, datasets, tables))
    union = Dataset(info, tables, checked=True)
    if info.relevance is DIFFERING:
        union, noted = follow_differing_rules(union, datasets, labels)
        findings.append(noted)
    return union.replace(problems=findings)


def _labels(datasets: Sequence[Dataset]) -> list[str]:
    """Names to tell the datasets by."""
    names = [dataset.info.name for dataset in datasets]
    return [name if names.count(name) == 1 else f"{name} (no. {i})" for i, name in enumerate(names, 1)]


def _all_of(conflicts: list[SchemaError]) -> SchemaError:
    first, *others = conflicts
    return SchemaError(first.where, first.found, first.expected, first.hint, also=others)
