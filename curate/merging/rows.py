"""Two tables as one: rows joined on their key, column by column; what contradicts is noted."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import positions, whole
from curate.dataset import json_text
from curate.errors import SchemaError
from curate.model import TABLES, Finding, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

EXPECTED = "expected equal values, or one of them empty"
HINT = "these datasets do not belong together, or one of them is out of date"
_ROLES = ("other", "ignore", "benchmark")  # the strongest last
_AND = " | "
_FIRST_WINS = {("images", "file_name")}


class Pair(NamedTuple):
    """Two tables to unite, who they are from, and where contradictions and settled differences are noted."""

    name: str
    a: pa.Table
    b: pa.Table
    from_a: str
    from_b: str
    conflicts: list[SchemaError]
    findings: list[Finding]


def union_of(pair: Pair) -> pa.Table:
    """Both tables as one; not yet sorted."""
    code_a, code_b = _codes(pair)
    partner = positions(code_a, code_b)  # for each row of a, the row of b with its key, or -1
    if not (partner >= 0).any():
        return pa.concat_tables([pair.a, pair.b])
    key = TABLES[pair.name].key
    columns = [pair.a[field.name] if field.name in key else _united(pair, field, partner) for field in pair.a.schema]
    new = pair.b.filter(pa.array(positions(code_b, code_a) < 0))
    return pa.concat_tables([pa.Table.from_arrays(columns, schema=pair.a.schema), new])


def _codes(pair: Pair) -> tuple[pa.Array, pa.Array]:
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


def _united(pair: Pair, field: pa.Field, partner: Ints) -> pa.Array | pa.ChunkedArray:
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


def _settled(pair: Pair, column: str, a: pa.Array, b: pa.Array, rows: Ints) -> pa.Array:
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


class ContradictionError(Exception):
    """Two values at one place of two JSON objects."""


def _joined_attributes(pair: Pair, a: pa.Array, b: pa.Array, rows: Ints) -> pa.Array:
    decode = msgspec.json.Decoder().decode
    index = pa.array(rows)
    texts: list[str | None] = []
    faults: dict[str, list[tuple[int, Any, Any]]] = {}
    for row, x, y in zip(rows.tolist(), a.take(index).to_pylist(), b.take(index).to_pylist(), strict=True):
        try:
            texts.append(json_text(joined(decode(x), decode(y), "attributes")))
        except ContradictionError as fault:
            path, left, right = fault.args
            faults.setdefault(path, []).append((row, left, right))
            texts.append(None)
    for path, cases in faults.items():
        _note(pair, path, *cases[0], len(cases))
    return pa.array(texts, a.type)


def joined(a: Any, b: Any, path: str) -> Any:
    """Two JSON values as one: objects key by key, null gives way."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {
            **a,
            **{key: joined(a[key], value, f"{path}.{key}") if key in a else value for key, value in b.items()},
        }
    if a is None or b is None:
        return b if a is None else a
    if json_text(a) != json_text(b):  # as text, since to Python True is 1
        raise ContradictionError(path, a, b)
    return a


def _note(pair: Pair, column: str, row: int, a: Any, b: Any, rows: int) -> None:
    key = ", ".join(f"{k}={whole(pair.a[k])[row].as_py()!r}" for k in TABLES[pair.name].key)
    more = f" (the first of {rows:,} such rows)" if rows > 1 else ""
    found = f"{short(a)} in {pair.from_a}, {short(b)} in {pair.from_b}{more}"
    pair.conflicts.append(SchemaError(f"table {pair.name}, row {key}, column {column}", found, EXPECTED, HINT))


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
