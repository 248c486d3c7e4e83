"""Columns out of decoded COCO rows: what fits goes into a column, what does not stays in its row as a foreign key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.coco.rows import Header
from curate.dataset import arrow_schema, json_column
from curate.errors import SourceError
from curate.model import Finding, finding

UNSET: Any = msgspec.UNSET  # msgspec leaves such fields out when it writes
CHUNK = 5_000  # rows that are decoded at a time
_MOST_KEYS = 100


class Door:
    """What the parts of one import share: the file, what it says of itself, and what was noticed in it."""

    def __init__(self, file: Path, source: str, header: Header | None) -> None:
        self.file = file
        self.source = source
        self.header = header
        self.findings: list[Finding] = []
        self.broken: list[tuple[str, SourceError]] = []

    def key(self, table: str, column: str) -> str | None:
        """The key that a column of ours has in this file; None in a foreign one."""
        return self.header.key(table, column) if self.header else None

    def where(self, rows: str, index: int) -> str:
        return f"{self.file}, {rows}[{index}]"

    def notice(self, code: str, rows: str, index: int, message: str, item: str | None = None) -> None:
        self.findings.append(finding(code, self.where(rows, index), message, item=item))

    def reject(self, item: str, rows: str, index: int, found: str, expected: str) -> None:
        """Call the image ``item`` broken."""
        self.broken.append((item, SourceError(self.where(rows, index), found, expected)))

    def sorted_findings(self) -> list[Finding]:
        return sorted(self.findings, key=lambda f: (f.code, f.item or "", f.where, f.message))

    def without_broken(self, images: pa.Table, annotations: pa.Table, skip_bad: bool) -> tuple[pa.Table, pa.Table]:
        """The tables without the broken images.

        Raises:
            SourceError: there are some, and ``skip_bad`` is false; all are listed.
        """
        if not self.broken:
            return images, annotations
        errors = [error for _, error in self.broken]
        gone = sorted({item for item, _ in self.broken})
        if not skip_bad:
            raise SourceError(
                self.file,
                f"{len(gone)} of {images.num_rows} images are broken",
                "nothing was written",
                "mend them, or leave them out with --skip-bad",
                also=errors,
            )
        for item, error in self.broken:
            self.findings.append(
                finding("N03", error.where, f"{error.found}; {error.expected}", item=item, hint=error.hint or None)
            )
        values = pa.array(gone, pa.string())
        keep = pc.invert(pc.is_in(images["id"], value_set=values))
        keep_rows = pc.invert(pc.is_in(annotations["image_id"], value_set=values))
        return images.filter(keep), annotations.filter(keep_rows)


class Rows:
    """Some decoded rows by column: for each key the values, ``UNSET`` where a row has not that key.

    Columns are taken out one by one; what is left in the end, with what was put back, is foreign.
    """

    def __init__(self, columns: dict[str, list[Any]], count: int) -> None:
        self.columns = columns
        self.count = count

    def take(self, key: str) -> list[Any]:
        """The values of ``key``, taken out."""
        values = self.columns.pop(key, None)
        return [UNSET] * self.count if values is None else values

    def put_back(self, i: int, key: str, value: Any) -> None:
        """Leave ``value`` in row ``i``, as a foreign one."""
        if key not in self.columns:
            self.columns[key] = [UNSET] * self.count
        self.columns[key][i] = value


def decode_rows(file: Path, rows: Sequence[msgspec.Raw], name: str, start: int) -> Rows:
    """Decode rows that are JSON objects.

    Raises:
        SourceError: a row is no object, or holds a number that JSON does not allow.
    """
    text = b"[" + b",".join(rows) + b"]"
    try:
        keys = tuple(msgspec.json.decode(rows[0], type=dict[str, Any])) if rows else ()
        if 0 < len(keys) <= _MOST_KEYS:
            # Rows of one program mostly have the same keys: twice as quick as a dictionary each.
            try:
                alike = msgspec.json.decode(text, type=list[_row_type(keys)])  # type: ignore[misc]
            except msgspec.ValidationError:
                pass
            else:
                return Rows({key: list(map(attrgetter(f"f{i}"), alike)) for i, key in enumerate(keys)}, len(rows))
        decoded = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Find the row: decoding them one by one is slow, and done only now.
        for i, row in enumerate(rows):
            try:
                msgspec.json.decode(row, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise SourceError(f"{file}, {name}[{start + i}]", str(error), "expected a JSON object") from error
        raise
    all_keys = dict.fromkeys(key for row in decoded for key in row)
    return Rows({key: [row.get(key, UNSET) for row in decoded] for key in all_keys}, len(rows))


@cache
def _row_type(keys: tuple[str, ...]) -> type[msgspec.Struct]:
    """A struct for objects with exactly these keys."""
    return msgspec.defstruct(
        "Row",
        [(f"f{i}", Any) for i in range(len(keys))],
        rename={f"f{i}": key for i, key in enumerate(keys)},
        forbid_unknown_fields=True,
        gc=False,
    )


def own_column(rows: Rows, key: str, kind: pa.DataType) -> pa.Array:
    """A column of texts or numbers; a value of another type goes back into its row."""
    fits = _FITS[str(kind.value_type if pa.types.is_dictionary(kind) else kind)]
    values = rows.take(key)
    if not set(map(type, values)) <= fits:
        values = list(values)
        for i, value in enumerate(values):
            if value is not UNSET and type(value) not in fits:
                rows.put_back(i, key, value)
            if type(value) not in fits:
                values[i] = None
    if str(kind) == "int32" and any(value is not None and abs(value) >= 1 << 31 for value in values):
        for i, value in enumerate(values):
            if value is not None and abs(value) >= 1 << 31:
                rows.put_back(i, key, value)
                values[i] = None
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode().cast(kind)
    try:
        return pa.array(values, kind)
    except pa.ArrowInvalid:  # of whole numbers Arrow takes only those that a float64 holds exactly
        return pa.array([_exact(rows, i, key, value) for i, value in enumerate(values)], kind)


def _exact(rows: Rows, i: int, key: str, value: Any) -> Any:
    """A value that a float64 holds; another goes back into its row."""
    if type(value) is int and abs(value) > 1 << 53:
        rows.put_back(i, key, value)
        return None
    return value


_FITS: dict[str, set[type]] = {"string": {str}, "large_string": {str}, "int32": {int}, "double": {int, float}}


def attributes_column(rows: Rows, *, key: str | None, ids: Sequence[Any] | None = None) -> pa.Array:
    """What is left of the rows as the JSON of ``attributes``, foreign keys under ``coco``.

    In a file of ours ``key`` names what holds the rest of that column. ``ids`` are COCO ids to remember, under
    ``coco_id``.
    """
    given = rows.take(key) if key and key in rows.columns else None
    if given is None and ids is None and not rows.columns:
        return pa.nulls(rows.count, pa.large_string())
    keys = tuple(rows.columns)
    foreign = list(map(_row_type(keys), *rows.columns.values())) if keys else [UNSET] * rows.count
    if given is not None:
        texts = msgspec.json.Encoder(order="sorted").encode_lines(foreign).splitlines() if keys else []
        wrapped: list[Any] = [dict(value) if isinstance(value, dict) else {} for value in given]
        for value, text in zip(wrapped, texts, strict=False):
            if text != b"{}":
                value["coco"] = msgspec.Raw(text)
    elif ids is not None:
        wrapped = list(map(_WithId, foreign, ids))
    else:
        wrapped = list(map(_Foreign, foreign))
    array = json_column(wrapped)
    if ids is not None and pc.any(pc.starts_with(array, _NONE_FOREIGN)).as_py():
        # A row without foreign keys says the same whatever the rows beside it have.
        array = pc.replace_substring_regex(array, f"^{re.escape(_NONE_FOREIGN)}", "{")
    longest = max(len(text) for text in _NOTHING.to_pylist())
    if pc.min(pc.binary_length(array)).as_py() > longest:
        return array
    return pc.if_else(pc.is_in(array, value_set=_NOTHING), pa.scalar(None, pa.large_string()), array)


class _Foreign(msgspec.Struct, gc=False):
    coco: Any


class _WithId(msgspec.Struct, gc=False):
    coco: Any
    coco_id: Any


_NONE_FOREIGN = '{"coco":{},'
_NOTHING = pa.array(["{}", '{"coco":{}}'], pa.large_string())


def own_texts(door: Door, rows: Rows, table: str, column: str) -> list[Any]:
    key = door.key(table, column)
    if key is None:
        return [None] * rows.count
    return [value if type(value) is str and value else None for value in rows.take(key)]


def chunk_table(name: str, columns: Mapping[str, Any], rows: int) -> pa.Table:
    schema = arrow_schema(name)
    arrays, fields = [], []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            continue
        arrays.append(column if column.type.equals(field.type) else _cast(column, field.type))
        fields.append(field.with_nullable(True))
    assert all(len(array) == rows for array in arrays)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        column = column.cast(pa.string()).dictionary_encode()
    return column.cast(kind)


def joined(name: str, parts: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts, promote_options="default") if parts else arrow_schema(name).empty_table()
