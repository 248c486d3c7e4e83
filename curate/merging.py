"""The union of datasets, joined on ids: null is filled, equal agrees, anything else is an error.

Row by row and column by column; ``attributes`` are joined key by key, and objects in them likewise. Two differences are
no contradiction: where a file lies (``file_name``, roots: the first dataset that says it wins), and a class that one
dataset leaves aside (role ``other``) and another gives a role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.dataset import Dataset, conform, flags, json_text, plain, positions, whole
from curate.errors import SchemaError, UsageError
from curate.model import TABLES, Command, Counts, Info, RelevanceRule, SourceRecord, Step

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_EXPECTED = "expected equal values, or one of them empty"
_HINT = "these datasets do not belong together, or one of them is out of date"
# Column -> the value that gives way to any other.
_YIELDING = {("categories", "role"): "other"}
_FIRST_WINS = {("images", "file_name")}


def merge(datasets: Sequence[Dataset], *, name: str | None = None) -> Dataset:
    """The union of ``datasets``, called ``name`` or "merged"; findings are not inherited.

    Raises:
        SchemaError: two datasets say different things of one row, of one source, or of how relevance follows. Each
            column at fault is named with its first row and both values.
        UsageError: there is nothing to merge.
    """
    if not datasets:
        raise UsageError("merge", "no dataset given", "expected one or more")
    labels = _labels(datasets)
    conflicts: list[SchemaError] = []
    tables = {}
    for table_name in TABLES:
        merged: pa.Table | None = None
        for i, dataset in enumerate(datasets):
            table = dataset.table(table_name)
            if merged is None or not merged.num_rows:
                merged = table
            elif table.num_rows:
                pair = _Pair(table_name, merged, table, labels[0] if i == 1 else "one before", labels[i], conflicts)
                merged = _union(pair)
        tables[table_name] = merged
    info = _info(datasets, labels, conflicts, name or "merged")
    if conflicts:
        raise _all_of(conflicts)
    tables = {table_name: conform(table_name, table) for table_name, table in tables.items()}
    info = msgspec.structs.replace(info, sources=_recounted(info.sources, datasets, tables))
    return Dataset(info, tables, checked=True)


def _labels(datasets: Sequence[Dataset]) -> list[str]:
    """Names to tell the datasets by."""
    names = [dataset.info.name for dataset in datasets]
    return [name if names.count(name) == 1 else f"{name} (no. {i})" for i, name in enumerate(names, 1)]


def _all_of(conflicts: list[SchemaError]) -> SchemaError:
    first, *others = conflicts
    return SchemaError(first.where, first.found, first.expected, first.hint, also=others)


# ---------------------------------------------------------------------------------------------------------- tables


class _Pair(NamedTuple):
    """Two tables to unite, who they are from, and where contradictions are noted."""

    name: str
    a: pa.Table
    b: pa.Table
    from_a: str
    from_b: str
    conflicts: list[SchemaError]


def _union(pair: _Pair) -> pa.Table:
    """Both tables as one; not yet sorted."""
    code_a, code_b = _codes(pair)
    partner = positions(code_a, code_b)  # for each row of a, the row of b with its key, or -1
    if not (partner >= 0).any():
        return pa.concat_tables([pair.a, pair.b])
    key = TABLES[pair.name].key
    columns = [pair.a[field.name] if field.name in key else _united(pair, field, partner) for field in pair.a.schema]
    new = pair.b.filter(pa.array(positions(code_b, code_a) < 0))
    return pa.concat_tables([pa.Table.from_arrays(columns, schema=pair.a.schema), new])


def _codes(pair: _Pair) -> tuple[pa.Array, pa.Array]:
    """For the rows of both tables a value that is the same where the key is, nulls in it included."""
    first, *others = TABLES[pair.name].key
    if not others:
        return whole(pair.a[first]), whole(pair.b[first])
    codes = pa.array(np.zeros(pair.a.num_rows + pair.b.num_rows, np.int64))
    for column in TABLES[pair.name].key:
        values = pa.concat_arrays([whole(pair.a[column]), whole(pair.b[column])])
        encoded = values.dictionary_encode("encode")
        combined = pc.add(pc.multiply(codes, len(encoded.dictionary)), encoded.indices.cast(pa.int64()))
        codes = combined.dictionary_encode().indices.cast(pa.int64())
    return codes.slice(0, pair.a.num_rows), codes.slice(pair.a.num_rows)


def _united(pair: _Pair, field: pa.Field, partner: Ints) -> pa.Array | pa.ChunkedArray:
    """A column of ``a`` with what ``b`` adds to it."""
    column = pair.a[field.name]
    a, b = whole(column), whole(pair.b[field.name]).take(pa.array(partner, mask=partner < 0))
    if a.equals(b):
        return column
    has_a, has_b = (np.asarray(pc.is_valid(values)) for values in (a, b))
    both = np.flatnonzero(has_a & has_b)
    differ = both[~_equal(a.take(pa.array(both)), b.take(pa.array(both)))]
    take_b = np.flatnonzero(~has_a & has_b)
    place = (pair.name, field.name)
    if field.name == "attributes" and len(differ):
        a = _patched(a, differ, _joined_attributes(pair, a, b, differ))
    elif len(differ) and place not in _FIRST_WINS:
        if yielding := _YIELDING.get(place):
            yields = [flags(pc.equal(values, yielding)) for values in (a, b)]
            take_b = np.union1d(take_b, differ[yields[0][differ]])
            differ = differ[~(yields[0] | yields[1])[differ]]
        if len(differ):
            row = int(differ[0])
            _note(pair, field.name, row, a[row].as_py(), b[row].as_py(), len(differ))
    if len(take_b):
        a = _patched(a, take_b, b.take(pa.array(take_b)))
    return a.dictionary_encode().cast(field.type) if pa.types.is_dictionary(field.type) else a


def _patched(values: pa.Array, rows: Ints, others: pa.Array) -> pa.Array:
    """``values`` with ``others`` at ``rows``; for columns of any type."""
    index = np.arange(len(values))
    index[rows] = len(values) + np.arange(len(rows))
    return pa.concat_arrays([values, others]).take(pa.array(index))


def _equal(a: pa.Array, b: pa.Array) -> Bools:
    """Where two arrays of one type agree, however deep; null agrees with null."""
    if not len(a):
        return np.zeros(0, bool)
    same: Bools
    if pa.types.is_struct(a.type):
        fields = range(a.type.num_fields)
        same = np.logical_and.reduce([_equal(pc.struct_field(a, [i]), pc.struct_field(b, [i])) for i in fields])
        return same
    if pa.types.is_list(a.type):
        lengths, others = (pc.fill_null(pc.list_value_length(x), -1).to_numpy() for x in (a, b))
        same = lengths == others
        rows = np.flatnonzero(same & (lengths > 0))
        if len(rows):
            parts = _equal(pc.list_flatten(a.take(pa.array(rows))), pc.list_flatten(b.take(pa.array(rows))))
            starts = np.cumsum(lengths[rows]) - lengths[rows]
            same[rows] = np.logical_and.reduceat(parts, starts)
        return same
    agree = pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(pc.is_null(a), pc.is_null(b)))
    return np.asarray(agree)


class _ContradictionError(Exception):
    """Two values at one place of two JSON objects."""


def _joined_attributes(pair: _Pair, a: pa.Array, b: pa.Array, rows: Ints) -> pa.Array:
    decode = msgspec.json.Decoder().decode
    index = pa.array(rows)
    texts: list[str | None] = []
    faults: dict[str, list[tuple[int, Any, Any]]] = {}
    for row, x, y in zip(rows.tolist(), a.take(index).to_pylist(), b.take(index).to_pylist(), strict=True):
        try:
            texts.append(json_text(_joined(decode(x), decode(y), "attributes")))
        except _ContradictionError as fault:
            path, left, right = fault.args
            faults.setdefault(path, []).append((row, left, right))
            texts.append(None)
    for path, cases in faults.items():
        _note(pair, path, *cases[0], len(cases))
    return pa.array(texts, a.type)


def _joined(a: Any, b: Any, path: str) -> Any:
    """Two JSON values as one: objects key by key, null gives way."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {
            **a,
            **{key: _joined(a[key], value, f"{path}.{key}") if key in a else value for key, value in b.items()},
        }
    if a is None or b is None:
        return b if a is None else a
    if json_text(a) != json_text(b):  # as text, since to Python True is 1
        raise _ContradictionError(path, a, b)
    return a


def _note(pair: _Pair, column: str, row: int, a: Any, b: Any, rows: int) -> None:
    key = ", ".join(f"{k}={whole(pair.a[k])[row].as_py()!r}" for k in TABLES[pair.name].key)
    more = f" (the first of {rows:,} such rows)" if rows > 1 else ""
    found = f"{_short(a)} in {pair.from_a}, {_short(b)} in {pair.from_b}{more}"
    pair.conflicts.append(SchemaError(f"table {pair.name}, row {key}, column {column}", found, _EXPECTED, _HINT))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


# ------------------------------------------------------------------------------------------------------------ info


def _info(datasets: Sequence[Dataset], labels: Sequence[str], conflicts: list[SchemaError], name: str) -> Info:
    versions = {dataset.info.version for dataset in datasets}
    sources: dict[str, SourceRecord] = {}
    roots: dict[str, str] = {}
    headers: dict[str, Any] = {}
    for dataset, label in zip(datasets, labels, strict=True):
        for source, record in dataset.info.sources.items():
            known = sources.get(source)
            sources[source] = record if known is None else _same_source(source, known, record, label, conflicts)
        roots = {**dataset.info.roots, **roots}
        headers = _same_headers(headers, dataset.info.headers, label, conflicts)
    return Info(
        name=name,
        version=versions.pop() if len(versions) == 1 else "0",
        sources=sources,
        roots=roots,
        parents=tuple(dataset.as_parent() for dataset in datasets),
        command=Command(
            verb="merge",
            steps=tuple(Step(what=label, counts=d.counts()) for d, label in zip(datasets, labels, strict=True)),
        ),
        relevance=_relevance(datasets, labels, conflicts),
        headers=headers,
    )


def _same_source(
    source: str, a: SourceRecord, b: SourceRecord, label: str, conflicts: list[SchemaError]
) -> SourceRecord:
    united = {}
    for field in SourceRecord.__struct_fields__:
        left, right = getattr(a, field), getattr(b, field)
        if field != "found" and None not in (left, right) and left != right:
            found = f"{_short(left)} in one before, {_short(right)} in {label}"
            conflicts.append(SchemaError(f"source {source}, {field}", found, _EXPECTED, _HINT))
        united[field] = right if left is None else left
    return SourceRecord(**united)


def _recounted(
    sources: Mapping[str, SourceRecord], datasets: Sequence[Dataset], tables: Mapping[str, pa.Table]
) -> dict[str, SourceRecord]:
    """Where the datasets found different counts of a source (other splits, say), what their union holds of it."""
    united = dict(sources)
    for source, record in sources.items():
        named = [d.info.sources[source].found for d in datasets if source in d.info.sources]
        found = [counts for counts in named if counts is not None]  # who only names its images has counted nothing
        if all(counts == found[0] for counts in found):
            continue
        images = tables["images"].filter(pc.equal(plain(tables["images"]["source"]), source))["id"]
        annotations = int((positions(tables["annotations"]["image_id"], images) >= 0).sum())
        united[source] = msgspec.structs.replace(record, found=Counts(images=len(images), annotations=annotations))
    return united


def _same_headers(a: dict[str, Any], b: dict[str, Any], label: str, conflicts: list[SchemaError]) -> dict[str, Any]:
    try:
        joined: dict[str, Any] = _joined(a, b, "headers")
    except _ContradictionError as fault:
        path, left, right = fault.args
        found = f"{_short(left)} in one before, {_short(right)} in {label}"
        conflicts.append(SchemaError(path, found, _EXPECTED, "import the files under different names"))
        return a
    return joined


def _relevance(datasets: Sequence[Dataset], labels: Sequence[str], conflicts: list[SchemaError]) -> RelevanceRule:
    """The rule of those that have one: a dataset without queries whose rule is the default has not spoken."""
    said = [
        (dataset.info.relevance, label)
        for dataset, label in zip(datasets, labels, strict=True)
        if dataset.table("queries").num_rows or dataset.info.relevance != RelevanceRule()
    ]
    for rule, label in said[1:]:
        if rule != said[0][0]:
            found = f"{_rule(said[0][0])} in {said[0][1]}, {_rule(rule)} in {label}"
            hint = "merge first, then choose the queries ('curate build split query-gallery')"
            conflicts.append(SchemaError("relevance rule", found, "expected one rule for all queries", hint))
    return said[0][0] if said else RelevanceRule()


def _rule(rule: RelevanceRule) -> str:
    return json_text(msgspec.to_builtins(rule))
