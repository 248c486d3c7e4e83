"""What repairs are made of: a change of tables, what was done, and how rows are exchanged, dropped and re-linked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain
from curate.model import Finding, finding

ORIGIN = "repair"
Tables = dict[str, pa.Table]


class Change(NamedTuple):
    """Tables that are other than before, and what was done."""

    tables: Tables
    done: list[Finding]


def change(code: str, table: str, item: str | None, message: str) -> Finding:
    return finding(code, f"{table}, row {item}", message, item=item, severity="info")


def items(found: Iterable[Finding]) -> dict[str, None]:
    return dict.fromkeys(one.item for one in found if one.item is not None)


def without(table: pa.Table, rows: Iterable[int]) -> pa.Table:
    keep = np.ones(table.num_rows, bool)
    keep[list(rows)] = False
    return table.filter(pa.array(keep))


def put(table: pa.Table, values: Mapping[str, Mapping[int, Any]]) -> pa.Table:
    """``table`` with other values in some rows of some columns."""
    for name, of_row in values.items():
        at = table.schema.get_field_index(name)
        kind = table.schema.field(at).type
        rows = sorted(of_row)
        if pa.types.is_struct(kind) or pa.types.is_dictionary(kind):
            column = plain(table[name]).to_pylist()
            for row in rows:
                column[row] = of_row[row]
            fresh = pa.array(column, pa.string() if pa.types.is_dictionary(kind) else kind)
            fresh = fresh.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else fresh
        else:
            mask = np.zeros(table.num_rows, bool)
            mask[rows] = True
            held = table[name].combine_chunks()
            fresh = pc.replace_with_mask(held, pa.array(mask), pa.array([of_row[row] for row in rows], kind))
        table = table.set_column(at, table.schema.field(at), fresh)
    return table


def linked(table: pa.Table, column: str, new: Mapping[str, str]) -> pa.Table:
    held = plain(table[column]).to_pylist()
    rows = {row: new[value] for row, value in enumerate(held) if value in new}
    return put(table, {column: rows}) if rows else table


def distinct(name: str, table: pa.Table) -> pa.Table:
    """Judgements of which several became one."""
    if name != "judgements":
        return table
    keys = list(
        zip(*(plain(table[column]).to_pylist() for column in ("query_id", "image_id", "annotation_id")), strict=True)
    )
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    return table.take(pa.array(sorted(first.values())))
