"""The union of datasets, joined on ids: null is filled, equal agrees, anything else is an error.

Row by row and column by column; ``attributes`` are joined key by key, and objects in them likewise. These differences
are no contradiction:

* where a file lies (``file_name``, roots): the first dataset that says it wins. Where images of one source lie in
  different roots, the folder that holds these becomes its root.
* what sources make of a class of one name. The role is the strongest of benchmark, ignore and other; of differing
  supercategories all are kept, sorted, as ``2-wheeler | vehicle``. Each such class is a finding (N06), and ``relabel``
  gives it a meaning.
* how relevance follows. Where the rules of datasets with queries differ, what each rule says of its own queries in the
  union is written down as judgements (origin ``merge``), which no rule changes; the union has the rule by default, and
  a finding (N07) names the rules.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.dataset import Dataset, conform, json_text, plain, positions, whole
from curate.errors import SchemaError, UsageError
from curate.model import (
    TABLES,
    Command,
    Counts,
    Finding,
    Info,
    RelevanceRule,
    SourceRecord,
    Step,
    finding,
)

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_EXPECTED = "expected equal values, or one of them empty"
_HINT = "these datasets do not belong together, or one of them is out of date"
_ROLES = ("other", "ignore", "benchmark")  # the strongest last
_AND = " | "
_FIRST_WINS = {("images", "file_name")}


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
    parents, datasets = datasets, _under_common_roots(datasets)
    conflicts: list[SchemaError] = []
    findings: list[Finding] = []
    tables = {}
    for table_name in TABLES:
        merged: pa.Table | None = None
        for i, dataset in enumerate(datasets):
            table = dataset.table(table_name)
            if merged is None or not merged.num_rows:
                merged = table
            elif table.num_rows:
                before = labels[0] if i == 1 else "one before"
                pair = _Pair(table_name, merged, table, before, labels[i], conflicts, findings)
                merged = _union(pair)
        tables[table_name] = merged
    info = _info(datasets, labels, conflicts, name or "merged")
    info = msgspec.structs.replace(info, parents=tuple(parent.as_parent() for parent in parents))
    if conflicts:
        raise _all_of(conflicts)
    tables = {table_name: conform(table_name, table) for table_name, table in tables.items()}
    info = msgspec.structs.replace(info, sources=_recounted(info.sources, datasets, tables))
    union = Dataset(info, tables, checked=True)
    if info.relevance is _DIFFERING:
        union, noted = _judged(union, datasets, labels)
        findings.append(noted)
    return union.replace(problems=findings)


def _labels(datasets: Sequence[Dataset]) -> list[str]:
    """Names to tell the datasets by."""
    names = [dataset.info.name for dataset in datasets]
    return [name if names.count(name) == 1 else f"{name} (no. {i})" for i, name in enumerate(names, 1)]


def _all_of(conflicts: list[SchemaError]) -> SchemaError:
    first, *others = conflicts
    return SchemaError(first.where, first.found, first.expected, first.hint, also=others)


# ----------------------------------------------------------------------------------------------------------- roots


def _under_common_roots(datasets: Sequence[Dataset]) -> Sequence[Dataset]:
    """The datasets with one root per source; where theirs differ, file names begin below the folder that holds all."""
    stated: dict[str, set[str]] = {}
    located: dict[str, list[pa.Array]] = {}
    for dataset in datasets:
        for source, root in dataset.info.roots.items():
            roots, known = stated.setdefault(source, set()), located.setdefault(source, [])
            images = dataset.table("images").select(["id", "source", "file_name"])
            of_source = pc.and_(pc.equal(plain(images["source"]), source), pc.is_valid(images["file_name"]))
            ids = whole(images.filter(of_source)["id"])
            # The file names of a dataset whose images all have one already are not needed, nor is its root.
            if not known or (positions(ids, pa.concat_arrays(known)) < 0).any():
                roots.add(os.path.normpath(root))
                known.append(ids)
    shared = {source: _common(roots) for source, roots in stated.items() if len(roots) > 1}
    common = {source: folder for source, folder in shared.items() if folder is not None}
    return [_moved(dataset, common) for dataset in datasets] if common else datasets


def _common(roots: set[str]) -> str | None:
    """The folder that holds all; None where only the disk could tell (one is absolute, or begins with ``..``)."""
    if any(PurePath(root).parts[:1] == ("..",) for root in roots):
        return None
    try:
        return os.path.commonpath(roots) or "."
    except ValueError:
        return None


def _moved(dataset: Dataset, common: Mapping[str, str]) -> Dataset:
    """``dataset`` with the roots ``common`` of some sources, and file names that are relative to these."""
    roots = {source: root for source, root in dataset.info.roots.items() if source in common}
    images = dataset.table("images")
    names = whole(images["file_name"])
    for source, root in roots.items():
        below = os.path.relpath(root, common[source]).replace(os.sep, "/")
        if below != ".":
            longer = pc.binary_join_element_wise(below, names, "/")
            names = pc.if_else(pc.equal(plain(images["source"]), source), longer, names)
    info = msgspec.structs.replace(dataset.info, roots={**dataset.info.roots, **{name: common[name] for name in roots}})
    at = images.schema.get_field_index("file_name")
    return dataset.replace(info=info, images=images.set_column(at, images.schema.field(at), names))


# ---------------------------------------------------------------------------------------------------------- tables


class _Pair(NamedTuple):
    """Two tables to unite, who they are from, and where contradictions and settled differences are noted."""

    name: str
    a: pa.Table
    b: pa.Table
    from_a: str
    from_b: str
    conflicts: list[SchemaError]
    findings: list[Finding]


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
    elif len(differ) and place in _SETTLED:
        a = _patched(a, differ, _settled(pair, field.name, a, b, differ))
    elif len(differ) and place not in _FIRST_WINS:
        row = int(differ[0])
        _note(pair, field.name, row, a[row].as_py(), b[row].as_py(), len(differ))
    if len(take_b):
        a = _patched(a, take_b, b.take(pa.array(take_b)))
    return a.dictionary_encode().cast(field.type) if pa.types.is_dictionary(field.type) else a


def _stronger(a: str, b: str) -> str:
    return max(a, b, key=_ROLES.index)


def _several(a: str, b: str) -> str:
    return _AND.join(sorted({*a.split(_AND), *b.split(_AND)}))


# Where sources may differ, and what the union says: each is associative, commutative and idempotent.
_SETTLED = {("categories", "role"): _stronger, ("categories", "supercategory"): _several}


def _settled(pair: _Pair, column: str, a: pa.Array, b: pa.Array, rows: Ints) -> pa.Array:
    """What is made of the values of ``rows``, in which ``a`` and ``b`` differ."""
    settle, index = _SETTLED[pair.name, column], pa.array(rows)
    names = whole(pair.a["name"]).take(index).to_pylist()
    texts = []
    for name, x, y in zip(names, a.take(index).to_pylist(), b.take(index).to_pylist(), strict=True):
        texts.append(settle(x, y))
        if "other" not in (x, y) and not (column == "supercategory" and texts[-1] == x):
            message = f"{column} {x!r} in {pair.from_a}, {y!r} in {pair.from_b}; now {texts[-1]!r}"
            hint = "'curate relabel' gives classes of all sources one meaning"
            pair.findings.append(finding("N06", f"categories {name}", message, item=name, hint=hint))
    return pa.array(texts, pa.string()).cast(a.type)


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
        command=Command(
            verb="merge",
            steps=tuple(Step(what=label, counts=d.counts()) for d, label in zip(datasets, labels, strict=True)),
        ),
        relevance=_relevance(datasets),
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


# Stands for rules that differ, until judgements have taken their place; equal to the rule by default.
_DIFFERING = RelevanceRule()


def _relevance(datasets: Sequence[Dataset]) -> RelevanceRule:
    """The rule of those that have one: a dataset without queries whose rule is the default has not spoken."""
    said = [dataset.info.relevance for dataset in datasets if _has_spoken(dataset)]
    if any(rule != said[0] for rule in said[1:]):
        return _DIFFERING
    return said[0] if said else RelevanceRule()


def _has_spoken(dataset: Dataset) -> bool:
    return bool(dataset.table("queries").num_rows) or dataset.info.relevance != RelevanceRule()


def _judged(union: Dataset, datasets: Sequence[Dataset], labels: Sequence[str]) -> tuple[Dataset, Finding]:
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
