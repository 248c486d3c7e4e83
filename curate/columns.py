"""Columns of tables: as plain text, in one piece, as numpy arrays, and where values stand in another column."""

from __future__ import annotations

import bisect

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Rows that are looked up together where both sides are sorted: what Arrow builds to find them takes 60 bytes for each.
AT_ONCE = 1 << 18


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A dictionary column as plain strings, any other as it is; chunked arrays that are used as a set are joined."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    return column


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece, repeated words as plain strings."""
    column = plain(column)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def flags(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """A column of booleans as a numpy array; null counts as false."""
    values: NDArray[np.bool_] = pc.fill_null(whole(column), False).to_numpy(zero_copy_only=False)
    return values


def holds(column: pa.Array | pa.ChunkedArray, *words: str) -> NDArray[np.bool_]:
    """Where a column of repeated words holds one of ``words``, without making text of it."""
    if not pa.types.is_dictionary(column.type):
        return flags(pc.is_in(column, value_set=pa.array(words, pa.string())))
    found = np.zeros(len(column), bool)
    place = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        wanted = np.append(flags(pc.is_in(chunk.dictionary, value_set=pa.array(words, pa.string()))), False)
        code = pc.fill_null(chunk.indices, len(chunk.dictionary)).to_numpy(zero_copy_only=False)
        found[place : place + len(chunk)] = wanted[code]
        place += len(chunk)
    return found


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers in their order, each once; of many quicker than ``numpy.unique``, which hashes them."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    found: NDArray[np.int64] = ordered[first]
    return found


def positions(values: pa.Array | pa.ChunkedArray, within: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Where each of ``values`` stands in ``within`` (first place), as row numbers; -1 where it does not, or is null."""
    if not len(values) or not len(within):
        return np.full(len(values), -1)
    if len(within) > max(AT_ONCE, 8 * len(values)):
        return _positions_of_few(values, within)
    if min(len(values), len(within)) > AT_ONCE and _ascend(values) and _ascend(within):
        return _positions_of_sorted(values, within)
    found = pc.index_in(plain(values), value_set=whole(within), skip_nulls=True)
    rows: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows


def _ascend(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a column of text is sorted by its UTF-8 bytes, and has no null."""
    if not pa.types.is_string(column.type) or column.null_count:
        return False
    return all(
        pc.all(pc.less_equal(column.slice(begin, number), column.slice(begin + 1, number)), min_count=0).as_py()
        for begin in range(0, len(column) - 1, AT_ONCE)
        for number in [min(AT_ONCE, len(column) - 1 - begin)]
    )


def _positions_of_few(values: pa.Array | pa.ChunkedArray, within: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """:func:`positions` of few values among many: these are looked up in the few, block by block."""
    known = whole(pc.unique(plain(values))).drop_null()
    first = np.full(len(known) + 1, -1)  # the last stands for values that are null
    if not len(known):
        return np.full(len(values), -1)
    for begin in range(0, len(within), AT_ONCE):
        found = pc.index_in(whole(within.slice(begin, AT_ONCE)), value_set=known)
        here = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(here >= 0)[::-1]  # of equal ones the first is to stay
        rows = rows[first[here[rows]] < 0]
        first[here[rows]] = rows + begin
    code = pc.fill_null(pc.index_in(plain(values), value_set=known), -1).to_numpy(zero_copy_only=False)
    rows_of: NDArray[np.int64] = first[code]
    return rows_of


def _positions_of_sorted(values: pa.Array | pa.ChunkedArray, within: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """:func:`positions` of two sorted columns, block by block."""
    rows = np.full(len(values), -1)
    low = 0
    for begin in range(0, len(within), AT_ONCE):
        block = whole(within.slice(begin, AT_ONCE))
        # Python compares by code points, which is the order of UTF-8 bytes.
        high = bisect.bisect_right(range(len(values)), block[-1].as_py(), low, key=lambda row: values[row].as_py())
        found = pc.fill_null(pc.index_in(whole(values.slice(low, high - low)), value_set=block), -1)
        here = found.to_numpy(zero_copy_only=False).astype(np.int64)
        rows[low:high] = np.where(here >= 0, here + begin, -1)
        low = high
    return rows
