"""Columns out of decoded COCO rows: what fits goes into a column, what does not stays in its row as a foreign key."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.coco.rows import Header
from curate.errors import SourceError
from curate.model import Finding, finding

UNSET: Any = object()
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode
_encode_lines = msgspec.json.Encoder(order="sorted").encode_lines


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


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the cycle collector, which would look at millions of fresh rows again and again and find no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def decode_rows(file: Path, rows: Sequence[msgspec.Raw], name: str, start: int) -> list[dict[str, Any]]:
    """Rows as dictionaries.

    Raises:
        SourceError: a row is no object, or holds a number that JSON does not allow.
    """
    try:
        return _decode(b"[" + b",".join(rows) + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Find the row: decoding them one by one is slow, and done only now.
        for i, row in enumerate(rows):
            try:
                msgspec.json.decode(row, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise SourceError(f"{file}, {name}[{start + i}]", str(error), "expected a JSON object") from error
        raise


def take(rows: list[dict[str, Any]], key: str) -> list[Any]:
    """The values of ``key``, removed from the rows; ``UNSET`` where a row has none."""
    return [row.pop(key, UNSET) for row in rows]


def own_column(rows: list[dict[str, Any]], key: str, kind: pa.DataType) -> pa.Array:
    """A column of texts or numbers; a value of another type goes back into its row."""
    fits = _FITS[str(kind.value_type if pa.types.is_dictionary(kind) else kind)]
    values = take(rows, key)
    types = set(map(type, values))
    if not types <= fits:
        for i, value in enumerate(values):
            if value is UNSET:
                values[i] = None
            elif type(value) not in fits:
                rows[i][key] = value
                values[i] = None
    if str(kind) == "int32" and any(value is not None and abs(value) >= 1 << 31 for value in values):
        for i, value in enumerate(values):
            if value is not None and abs(value) >= 1 << 31:
                rows[i][key] = value
                values[i] = None
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def number_column(rows: list[dict[str, Any]], key: str) -> pa.Array:
    return own_column(rows, key, pa.float64())


_FITS: dict[str, set[type]] = {"string": {str}, "large_string": {str}, "int32": {int}, "double": {int, float}}


def attributes_column(rows: list[dict[str, Any]], *, key: str | None, ids: Sequence[Any] | None = None) -> pa.Array:
    """What is left of the rows as the JSON of ``attributes``, foreign keys under ``coco``.

    In a file of ours ``key`` names what holds the rest of that column. ``ids`` are COCO ids to remember, under
    ``coco_id``.
    """
    given = take(rows, key) if key else [UNSET] * len(rows)
    if ids is None and not any(rows) and all(value is UNSET for value in given):
        return pa.nulls(len(rows), pa.large_string())
    wrapped: list[dict[str, Any] | None]
    if ids is not None:
        wrapped = [{"coco": row, "coco_id": i} if row else {"coco_id": i} for row, i in zip(rows, ids, strict=True)]
    elif not key:
        wrapped = [{"coco": row} if row else None for row in rows]
    else:
        wrapped = [
            {**(attributes if isinstance(attributes, dict) else {}), **({"coco": row} if row else {})} or None
            for row, attributes in zip(rows, given, strict=True)
        ]
    # Encoded in one go and cut at the line ends, of which JSON text has none inside.
    text = np.frombuffer(_encode_lines(wrapped), np.uint8)
    ends = np.flatnonzero(text == 10)
    lengths = np.diff(ends, prepend=-1) - 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    body = np.delete(text, ends)
    empty = np.array([value is None for value in wrapped])
    array = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(body))
    return pc.if_else(pa.array(empty), pa.scalar(None, pa.large_string()), array) if empty.any() else array
