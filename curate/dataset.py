"""The dataset in memory: typed tables and what is known about them. No files are read or written here.

A :class:`Dataset` is a value. Its tables are ``pyarrow.Table`` with the schemas of :func:`arrow_schema`, sorted by
their key, checked when they enter. Users get pandas frames (``dataset.annotations``); a command that only moves columns
stays on the Arrow tables (``dataset.table("annotations")``) and never imports pandas.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import columns
from curate.columns import plain
from curate.errors import SchemaError, UsageError
from curate.fingerprints import fingerprint
from curate.model import (
    REQUIRED_TABLES,
    TABLES,
    Annotation,
    Finding,
    Info,
    Parent,
    Polygons,
    Record,
    RelevanceRule,
    Rle,
)

if TYPE_CHECKING:
    import pandas as pd

RLE_TYPE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.large_string())])
POLYGONS_TYPE = pa.list_(pa.list_(pa.list_(pa.float64())))
_WORD_TYPE = pa.dictionary(pa.int32(), pa.string())

_encode = msgspec.json.Encoder(order="sorted").encode
_encode_lines = msgspec.json.Encoder(order="sorted").encode_lines


def _spare_pandas() -> None:
    """Keep Arrow from importing pandas, which no command needs and which takes longer than most of them.

    Arrow looks for pandas when it is first given a value from Python. It is told once that there is none; when a frame
    is asked for after all, Arrow looks again and finds it.
    """

    class Absent:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "pandas":
                raise ModuleNotFoundError(name)

    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, Absent)
        try:
            pa.scalar(0)
        finally:
            sys.meta_path.remove(Absent)


_spare_pandas()


class Stored(NamedTuple):
    """A table as it lies in a dataset folder, so that an unchanged one is linked and not hashed again.

    ``marks`` tell whether the files are still those that were read.
    """

    table: pa.Table
    files: tuple[Path, ...]
    marks: tuple[tuple[int, ...], ...]
    fingerprint: str


class Dataset:
    """Tables and what is known about them.

    ``problems`` are the findings of the import or repair that made the dataset.
    """

    __slots__ = ("_frames", "_stored", "_tables", "info", "problems")

    def __init__(
        self,
        info: Info,
        tables: Mapping[str, pa.Table],
        problems: Sequence[Finding] = (),
        *,
        checked: bool = False,
        stored: Mapping[str, Stored] | None = None,
    ) -> None:
        """Take ``tables`` by name. Absent ones are empty; each is brought to its schema, sorted and checked.

        ``checked=True`` skips that for tables that come straight from another dataset or from the store.

        Raises:
            SchemaError: a table is unknown, has a column of another type, or breaks a rule of its schema.
        """
        unknown = sorted(set(tables) - set(TABLES))
        if unknown:
            raise SchemaError("dataset", f"unknown table {unknown[0]!r}", f"expected one of {', '.join(TABLES)}")
        self.info = info
        self.problems = tuple(problems)
        self._tables = dict(tables) if checked else {name: conform(name, tables[name]) for name in tables}
        self._stored = dict(stored or {})
        self._frames: dict[str, pd.DataFrame] = {}

    def stored(self, name: str) -> Stored | None:
        """Where the table ``name`` lies on disk, if it was read from there and is unchanged."""
        held = self._stored.get(name)
        return held if held is not None and held.table is self._tables.get(name) else None

    def table(self, name: str) -> pa.Table:
        """The Arrow table ``name``; empty if the dataset has none."""
        if name not in TABLES:
            raise UsageError("dataset", f"unknown table {name!r}", f"expected one of {', '.join(TABLES)}")
        held = self._tables.get(name)
        return empty_table(name) if held is None else held

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The tables that are stored: the three that every dataset has, and those with rows."""
        return {name: self.table(name) for name in TABLES if name in REQUIRED_TABLES or self.table(name).num_rows}

    def frame(self, name: str) -> pd.DataFrame:
        """The table ``name`` as a pandas frame with Arrow-backed columns (repeated words: categoricals)."""
        if name not in self._frames:
            import pandas as pd

            def dtype(kind: pa.DataType) -> Any:
                return None if pa.types.is_dictionary(kind) else pd.ArrowDtype(kind)

            self._frames[name] = self.table(name).to_pandas(types_mapper=dtype)
        return self._frames[name]

    @property
    def images(self) -> pd.DataFrame:
        return self.frame("images")

    @property
    def annotations(self) -> pd.DataFrame:
        return self.frame("annotations")

    @property
    def categories(self) -> pd.DataFrame:
        return self.frame("categories")

    @property
    def instances(self) -> pd.DataFrame:
        return self.frame("instances")

    @property
    def coverage(self) -> pd.DataFrame:
        return self.frame("coverage")

    @property
    def queries(self) -> pd.DataFrame:
        return self.frame("queries")

    @property
    def support(self) -> pd.DataFrame:
        return self.frame("support")

    @property
    def judgements(self) -> pd.DataFrame:
        return self.frame("judgements")

    @property
    def members(self) -> pd.DataFrame:
        return self.frame("members")

    def counts(self) -> dict[str, int]:
        """Rows per table."""
        return {name: table.num_rows for name, table in self.tables.items()}

    def replace(
        self, *, info: Info | None = None, problems: Sequence[Finding] = (), **tables: pa.Table | pd.DataFrame
    ) -> Dataset:
        """A dataset with some tables replaced; the others are shared, not copied. Problems are not inherited."""
        changed = {name: conform(name, table) for name, table in tables.items()}
        return Dataset(info or self.info, {**self._tables, **changed}, problems, checked=True, stored=self._stored)

    def child(self, name: str, **changes: Any) -> Info:
        """The info of a dataset made from this one: same sources and roots, this one as its parent."""
        changes.setdefault("parents", (self.as_parent(),))
        return msgspec.structs.replace(self.info, name=name, **changes)

    def as_parent(self, fingerprint: str | None = None) -> Parent:
        """This dataset as a link in the chain of parents."""
        return Parent(
            name=self.info.name,
            fingerprint=fingerprint or self.fingerprint(),
            command=self.info.command,
            parents=self.info.parents,
        )

    def select_images(self, keep: pa.Array | pa.ChunkedArray) -> Dataset:
        """The dataset with only the images whose ids are in ``keep``, and of every other table the rows about them.

        Categories and instances stay. Queries of other images go, with their judgements and support sets.
        """
        keep = keep.combine_chunks() if isinstance(keep, pa.ChunkedArray) else keep
        images = self.table("images")
        mask = pc.is_in(images["id"], value_set=keep)
        if pc.all(mask, min_count=0).as_py() and len(keep) == images.num_rows:
            return self
        gone = images.filter(pc.invert(mask))["id"]
        tables: dict[str, pa.Table] = {"images": images.filter(mask)}

        def without(name: str, column: str, values: pa.ChunkedArray) -> pa.Table:
            table = tables.get(name, self.table(name))
            if not table.num_rows:
                return table
            hit = pc.is_in(plain(table[column]), value_set=plain(values))
            return table.filter(pc.invert(hit))

        tables["annotations"] = without("annotations", "image_id", gone)
        tables["coverage"] = without("coverage", "scope", gone)
        tables["members"] = without("members", "image_id", gone)
        tables["queries"] = without("queries", "image_id", gone)
        queries = self.table("queries")
        kept_queries = tables["queries"]["id"]
        lost = queries.filter(pc.invert(pc.is_in(queries["id"], value_set=plain(kept_queries))))["id"]
        for name in ("support", "judgements"):
            tables[name] = without(name, "image_id", gone)
            tables[name] = without(name, "query_id", lost)
        held = {name: table for name, table in tables.items() if name in self._tables}
        return Dataset(self.info, {**self._tables, **held}, checked=True, stored=self._stored)

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each table's rows (:func:`fingerprint`)."""
        known = {name: self.stored(name) for name in self.tables}
        return {
            name: fingerprint(table) if (held := known[name]) is None else held.fingerprint
            for name, table in self.tables.items()
        }

    def fingerprint(self, tables: Mapping[str, str] | None = None) -> str:
        """SHA-256 of the whole: of the tables' fingerprints and the relevance rule."""
        tables = self.fingerprints() if tables is None else tables
        # Converted, so that a whole number given for a float is the same before and after a round through JSON.
        relevance = msgspec.convert(msgspec.to_builtins(self.info.relevance), RelevanceRule)
        parts = {"tables": dict(sorted(tables.items())), "relevance": msgspec.to_builtins(relevance)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def merge(self, *others: Dataset, name: str | None = None) -> Dataset:
        """The union with ``others``, joined on ids: null is filled, equal agrees.

        The first dataset's ``file_name`` and root win, since they say only where a file lies.

        Raises:
            SchemaError: two datasets say different things of one row; the error shows both values.
        """
        from curate.merging import merge

        return merge([self, *others], name=name)

    def __repr__(self) -> str:
        counts = ", ".join(f"{rows} {name}" for name, rows in self.counts().items())
        return f"Dataset({self.info.name!r}: {counts})"


def from_records(info: Info, records: Iterable[Record]) -> Dataset:
    """A dataset from records in any order; findings among them become its problems."""
    tables, findings = tables_from_records(records)
    return Dataset(info, tables, findings)


def tables_from_records(records: Iterable[Record]) -> tuple[dict[str, pa.Table], list[Finding]]:
    """Records of any kind, sorted into one table per kind; not yet sorted by key or checked."""
    by_type: dict[type, list[Any]] = {}
    for record in records:
        by_type.setdefault(type(record), []).append(record)
    findings = by_type.pop(Finding, [])
    names = {spec.record: name for name, spec in TABLES.items()}
    return {names[kind]: table_of(names[kind], rows) for kind, rows in by_type.items()}, findings


def table_of(name: str, records: Sequence[Any]) -> pa.Table:
    """One table from records of its kind; not yet sorted by key or checked.

    Raises:
        SchemaError: a value does not fit its column.
    """
    schema = arrow_schema(name)
    rows = map(msgspec.structs.astuple, records)
    columns = []
    for field, values in zip(schema, zip(*rows, strict=True) if records else [()] * len(schema), strict=True):
        try:
            columns.append(_column(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError, UnicodeEncodeError) as error:
            raise SchemaError(f"table {name}, column {field.name}", str(error), f"expected {field.type}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def annotations_of(table: pa.Table) -> list[Annotation]:
    """The rows of a table of annotations as records, in its order."""
    rows = table.to_pylist()
    for row in rows:
        row["attributes"] = json.loads(row["attributes"]) if row["attributes"] else None
    return msgspec.convert(rows, list[Annotation])


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if not values or (values[0] is None and values.count(None) == len(values)):
        return pa.nulls(len(values), kind)
    if kind.equals(RLE_TYPE):
        null = np.array([v is None for v in values], dtype=bool)
        sizes = pa.array([[] if v is None else v.size for v in values], RLE_TYPE.field("size").type)
        counts = pa.array(["" if v is None else v.counts for v in values], pa.large_string())
        return pa.StructArray.from_arrays([sizes, counts], fields=list(RLE_TYPE), mask=pa.array(null))
    if pa.types.is_large_string(kind):
        return json_column(values)
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def json_column(values: Sequence[Any]) -> pa.Array:
    """Each value as :func:`json_text` has it, null for None; encoded as lines of one text, which is much quicker."""
    there = np.fromiter((value is not None for value in values), bool, len(values))
    text = np.frombuffer(_encode_lines([value for value in values if value is not None]), np.uint8)
    is_end = text == ord("\n")  # nowhere else: within a string a line break is escaped
    sizes = np.zeros(len(values), np.int64)
    sizes[there] = np.diff(np.flatnonzero(is_end), prepend=-1) - 1
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    valid = np.packbits(there, bitorder="little")
    buffers = [pa.py_buffer(part) for part in (valid, offsets, text[~is_end])]
    return pa.LargeStringArray.from_buffers(len(values), *buffers[1:], buffers[0])


def json_text(value: Any) -> str:
    """``value`` as canonical JSON: sorted keys, no spaces."""
    return _encode(value).decode()


@cache
def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a table, derived from its record type in ``curate.model``."""
    record = TABLES[name].record
    hints = get_type_hints(record, include_extras=True)
    optional = {
        field.name for field in msgspec.structs.fields(record) if type(None) in get_args(_bare(hints[field.name]))
    }
    return pa.schema([pa.field(column, _arrow_type(hints[column]), nullable=column in optional) for column in hints])


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _arrow_type(hint: Any) -> pa.DataType:
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        if any(isinstance(m, msgspec.Meta) and (m.extra or {}).get("arrow") == "dictionary" for m in metas):
            return _WORD_TYPE
        return _arrow_type(inner)
    if get_origin(hint) in (Union, UnionType):
        return _arrow_type(next(arg for arg in get_args(hint) if arg is not type(None)))
    if hint == Polygons:
        return POLYGONS_TYPE
    if get_origin(hint) is dict:
        return pa.large_string()
    if get_origin(hint) is Literal:
        return pa.string()
    return {str: pa.string(), int: pa.int32(), float: pa.float64(), bool: pa.bool_(), Rle: RLE_TYPE}[hint]


@cache
def _choices(name: str) -> dict[str, tuple[str, ...]]:
    """Columns that hold one of a few words, with the words."""

    def words(hint: Any) -> tuple[str, ...] | None:
        hint = _bare(hint)
        if get_origin(hint) is Literal:
            return get_args(hint)
        if get_origin(hint) in (Union, UnionType):
            found = [words(arg) for arg in get_args(hint) if arg is not type(None)]
            return found[0]
        return None

    hints = get_type_hints(TABLES[name].record, include_extras=True)
    return {column: choice for column, hint in hints.items() if (choice := words(hint))}


def empty_table(name: str) -> pa.Table:
    return arrow_schema(name).empty_table()


def conform(name: str, table: pa.Table | pd.DataFrame) -> pa.Table:
    """``table`` with exactly the columns of its schema (absent ones null), sorted by key, checked.

    Raises:
        SchemaError: as :func:`check` says, or a column is unknown or of another type.
    """
    if not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table, preserve_index=False)
    schema = arrow_schema(name)
    unknown = [column for column in table.column_names if schema.get_field_index(column) < 0]
    if unknown:
        raise SchemaError(f"table {name}", f"unknown column {unknown[0]!r}", f"expected {', '.join(schema.names)}")
    if len(set(table.column_names)) < table.num_columns:
        raise SchemaError(f"table {name}", "a column stands twice", f"expected {', '.join(schema.names)}")
    defaults = {field.name: field.default for field in msgspec.structs.fields(TABLES[name].record)}
    filled = []
    for field in schema:
        if field.name not in table.column_names:
            default = defaults[field.name]
            value = None if default in (msgspec.NODEFAULT, None) else default
            filled.append(pa.nulls(table.num_rows, field.type) if value is None else _repeat(value, field, table))
            continue
        column = table[field.name]
        if not column.type.equals(field.type):
            try:
                if pa.types.is_dictionary(field.type):
                    column = plain(column).cast(pa.string()).dictionary_encode()
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SchemaError(
                    f"table {name}, column {field.name}", f"holds {column.type}", f"expected {field.type}"
                ) from error
        filled.append(column)
    table = pa.Table.from_arrays(filled, schema=schema).unify_dictionaries()
    # Large pieces stay as they are: a table that is changed in one column shares the others with what it was made of.
    if any(table.column(i).num_chunks > 1 + table.num_rows // columns.AT_ONCE for i in range(table.num_columns)):
        table = table.combine_chunks()
    table = sort_by_key(name, table)
    check(name, table)
    return table


def _repeat(value: Any, field: pa.Field, table: pa.Table) -> pa.Array:
    if pa.types.is_dictionary(field.type):
        codes = pa.array(np.zeros(table.num_rows, np.int32))
        return pa.DictionaryArray.from_arrays(codes, pa.array([value], pa.string()))
    return pa.repeat(pa.scalar(value, field.type), table.num_rows)


def _key_columns(name: str, table: pa.Table) -> list[pa.ChunkedArray]:
    return [plain(table[column]) for column in TABLES[name].key]


def sort_by_key(name: str, table: pa.Table) -> pa.Table:
    """``table`` in the order of its key, text compared by its UTF-8 bytes; returned as it is when already sorted."""
    if table.num_rows < 2:
        return table
    keys = _key_columns(name, table)
    if not any(key.null_count for key in keys) and _ordered(keys):
        return table
    frame = pa.table(dict(zip(TABLES[name].key, keys, strict=True)))
    order = pc.sort_indices(frame, sort_keys=[(column, "ascending") for column in TABLES[name].key])
    return table.take(order).combine_chunks()


def _ordered(keys: Sequence[pa.ChunkedArray]) -> bool:
    """Whether rows are in the order of ``keys``, of which the first counts most; none of them is null."""
    for begin in range(0, len(keys[0]) - 1, columns.AT_ONCE):
        number = min(columns.AT_ONCE, len(keys[0]) - 1 - begin)
        ordered: Any = None
        for key in reversed(keys):
            a, b = key.slice(begin, number), key.slice(begin + 1, number)
            if ordered is None:
                ordered = pc.less_equal(a, b)
            else:
                ordered = pc.or_(pc.less(a, b), pc.and_(pc.equal(a, b), ordered))
        if not pc.all(ordered).as_py():
            return False
    return True


def check(name: str, table: pa.Table) -> None:
    """Check the rules that hold for every row of a table that is sorted by key.

    Raises:
        SchemaError: a required value is null, a key stands twice, a word is not one of those allowed, or a number is
            NaN or infinite. The error names the first row.
    """
    key = TABLES[name].key

    def fail(column: str, row: int, found: str, expected: str) -> None:
        where = ", ".join(f"{k}={plain(table[k])[row].as_py()!r}" for k in key)
        raise SchemaError(f"table {name}, row {where}, column {column}", found, expected)

    for field in table.schema:
        column = table[field.name]
        if not field.nullable and column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            fail(field.name, row, "is null", "expected a value")
        if pa.types.is_floating(field.type) and len(column):
            finite = pc.is_finite(column)
            if not pc.all(finite, min_count=0).as_py():
                row = pc.index(finite, False).as_py()
                fail(field.name, row, f"is {column[row].as_py()}", "expected a finite number")
    for column, allowed in _choices(name).items():
        values = plain(table[column].unique()).to_pylist()
        wrong = sorted(set(values) - {None, *allowed})
        if wrong:
            row = pc.index(plain(table[column]), pa.scalar(wrong[0])).as_py()
            fail(column, row, f"is {wrong[0]!r}", f"expected one of {', '.join(allowed)}")
    _check_unique(name, table)


def _check_unique(name: str, table: pa.Table) -> None:
    n = table.num_rows
    if n < 2:
        return
    same: pa.ChunkedArray | None = None
    for column in _key_columns(name, table):
        a, b = column.slice(0, n - 1), column.slice(1)
        equal = pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(pc.is_null(a), pc.is_null(b)))
        same = equal if same is None else pc.and_(same, equal)
    row = pc.index(same, True).as_py()
    if row >= 0:
        where = ", ".join(f"{k}={plain(table[k])[row].as_py()!r}" for k in TABLES[name].key)
        raise SchemaError(f"table {name}", f"{where} stands twice", "expected each key once")
