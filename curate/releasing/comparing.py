"""What changed between two datasets, table by table: ``changes.json`` of a release."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct
from numpy.typing import NDArray

from curate.columns import flags, plain, positions
from curate.dataset import Dataset
from curate.model import TABLES

_LISTED = 1000  # ids of each kind of change
_JOINT = "\0"  # between the columns of a key; ids have spaces


class TableChange(Struct, frozen=True, kw_only=True):
    """What is other in one table; of ids the first thousand are listed."""

    added: int
    removed: int
    changed: Annotated[dict[str, int], Meta(description="column -> rows whose value is another")]
    added_ids: tuple[str, ...]
    removed_ids: tuple[str, ...]
    changed_ids: tuple[str, ...]


class Changes(Struct, frozen=True, kw_only=True):
    """What changed between two releases: ``changes.json``."""

    report: Literal["curate release"] = "curate release"
    previous: Annotated[str, Meta(description="fingerprint of the dataset before")]
    current: Annotated[str, Meta(description="fingerprint of the dataset now")]
    tables: dict[str, TableChange]


def compare(before: Dataset, now: Dataset) -> Changes:
    """What changed from one dataset to another, table by table; of tables that are equal nothing is said."""
    tables = {}
    for name, spec in TABLES.items():
        a, b = before.table(name), now.table(name)
        if not a.equals(b):
            change = _compare(a, b, spec.key)
            if change is not None:
                tables[name] = change
    return Changes(previous=before.fingerprint(), current=now.fingerprint(), tables=tables)


def _compare(a: pa.Table, b: pa.Table, key: tuple[str, ...]) -> TableChange | None:
    keys_a, keys_b = _keys(a, key), _keys(b, key)
    place = positions(keys_b, keys_a)  # of each row now, the row before
    new, kept = np.flatnonzero(place < 0), np.flatnonzero(place >= 0)
    gone = np.flatnonzero(positions(keys_a, keys_b) < 0)
    old, now = a.take(pa.array(place[kept])), b.take(pa.array(kept))
    changed, any_ = {}, np.zeros(len(kept), bool)
    for column in b.column_names:
        other = _differ(plain(old[column]), plain(now[column]))
        if other.any():
            changed[column] = int(other.sum())
            any_ |= other
    if not (len(new) or len(gone) or changed):
        return None
    return TableChange(
        added=len(new),
        removed=len(gone),
        changed=changed,
        added_ids=_shown(keys_b, new),
        removed_ids=_shown(keys_a, gone),
        changed_ids=_shown(keys_b, kept[any_]),
    )


def _keys(table: pa.Table, key: tuple[str, ...]) -> pa.ChunkedArray:
    columns = [pc.fill_null(plain(table[name]).cast(pa.string()), "") for name in key]
    return columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, _JOINT)


def _shown(keys: pa.ChunkedArray, rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(key.replace(_JOINT, " ") for key in keys.take(pa.array(rows[:_LISTED])).to_pylist())


def _differ(a: pa.ChunkedArray, b: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether two columns differ, row by row."""
    if pa.types.is_nested(a.type):
        return np.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], bool)
    one_is_null = flags(pc.xor(pc.is_null(a), pc.is_null(b)))
    differ: NDArray[np.bool_] = flags(pc.not_equal(a, b)) | one_is_null
    return differ
