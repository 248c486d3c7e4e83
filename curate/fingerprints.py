"""The fingerprint of a table: what it holds, whatever its Parquet bytes, chunks and dictionaries are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Where a file lies is not what it is: these columns are no part of a fingerprint.
_NOT_FINGERPRINTED = {"file_name"}


def fingerprint(table: pa.Table) -> str:
    """SHA-256 over the rows in key order, without ``file_name``; independent of Parquet, chunks and dictionaries.

    Columns are hashed one after another in a canonical encoding, in batches; a column that is null throughout counts as
    absent, so that a later schema may add columns.
    """
    digests = {"rows": str(table.num_rows)}
    for field in table.schema:
        column = table[field.name]
        if field.name in _NOT_FINGERPRINTED or column.null_count == len(column):
            continue
        hashers: dict[str, Any] = {}
        for chunk in column.chunks:
            for part, data in _canonical_bytes(chunk, ""):
                if part not in hashers:
                    hashers[part] = hashlib.sha256()
                hashers[part].update(data)
        digests[field.name] = "".join(f"{part}={h.hexdigest()}" for part, h in sorted(hashers.items()))
    return hashlib.sha256(json.dumps(digests, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _canonical_bytes(array: pa.Array, path: str) -> Iterator[tuple[str, Any]]:
    """The parts of an array's canonical encoding: lengths and bytes, or little-endian values and nulls."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.cast(pa.string())
        kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        lengths = pc.fill_null(pc.binary_length(array).cast(pa.int64()), -1)
        yield path + "#", _values(lengths)
        if array.null_count:
            array = pc.fill_null(array, "")
        yield path, _text_bytes(array)
        return
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), -1)
        yield path + "#", _values(lengths)
        yield from _canonical_bytes(pc.list_flatten(array), path + "[]")
        return
    yield path + "?", _values(pc.is_valid(array).cast(pa.uint8()))
    if pa.types.is_struct(kind):
        for i, field in enumerate(kind):
            # A null struct hides its children, whatever they hold.
            child = pc.struct_field(array, [i])
            yield from _canonical_bytes(child, f"{path}.{field.name}")
        return
    if pa.types.is_boolean(kind):
        yield path, _values(pc.fill_null(array, False).cast(pa.uint8()))
        return
    zero = pa.scalar(0, kind)
    values = _values(pc.fill_null(array, zero) if array.null_count else array)
    yield path, values + 0.0 if pa.types.is_floating(kind) else values  # -0.0 becomes 0.0


def _values(array: pa.Array) -> Any:
    values = array.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))


def _text_bytes(array: pa.Array) -> Any:
    """The concatenated UTF-8 bytes of a string array without nulls."""
    offsets_kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return b""
    bounds = np.frombuffer(offsets, offsets_kind)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]
