"""TREC run files, ``query Q0 item rank score tag`` per line: read in blocks, with texts as numbers."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import SourceError

BLOCK = 64 << 20  # bytes read at a time
_COLUMNS = ("query", "q0", "item", "rank", "score", "tag")
_BLANKS = re.compile(rb"[ \t]+")
_RIM = re.compile(rb"(?m)^ | (?=\r?$)")
_EXPECTED = "expected lines 'query Q0 item rank score tag', JSON, Parquet or npy"


def read_run_file(path: Path) -> pa.Table:
    """The rows of a run file: ``query`` and ``item`` as dictionaries, ``score``.

    Columns stand apart by a blank or a tab; where a line has more than that between them, all blanks are taken as one,
    which takes longer.

    Raises:
        SourceError: a line has another number of columns, or a score is no number.
    """
    with path.open("rb") as stream:
        first = stream.readline(1 << 16)
    try:
        return _table(path, "\t" if b"\t" in first else " ")
    except pa.ArrowException:
        pass
    try:
        with path.open("rb") as stream, pa.PythonFile(io.BufferedReader(_OneBlank(stream), BLOCK), "r") as squeezed:
            return _table(squeezed, " ")
    except pa.ArrowException as error:
        raise SourceError(path, f"cannot be read ({str(error).splitlines()[0]})", _EXPECTED) from None


class _OneBlank(io.RawIOBase):
    """A stream of lines with one blank between columns, and none before or behind them."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream = stream
        self.held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self.held:
            lines = self.stream.read(BLOCK) + self.stream.readline()
            if not lines:
                return 0
            self.held = _RIM.sub(b"", _BLANKS.sub(b" ", lines))
        size = min(len(buffer), len(self.held))
        buffer[:size], self.held = self.held[:size], self.held[size:]
        return size


def _table(file: Any, delimiter: str) -> pa.Table:
    from pyarrow import csv

    reader = csv.open_csv(
        file,
        csv.ReadOptions(column_names=list(_COLUMNS), block_size=BLOCK),
        csv.ParseOptions(delimiter=delimiter, quote_char=False),
        csv.ConvertOptions(
            column_types={"query": pa.string(), "item": pa.string(), "score": pa.float64(), "rank": pa.float64()},
            include_columns=["query", "item", "score"],
            strings_can_be_null=False,
            null_values=[],
        ),
    )
    return pa.concat_tables([coded(pa.Table.from_batches([batch])) for batch in reader])


def coded(part: pa.Table) -> pa.Table:
    """A part with its texts as numbers: memory is that of the numbers and the distinct texts."""
    columns = [_words(part[name]) if name in ("query", "item") else part[name] for name in part.column_names]
    return pa.Table.from_arrays(columns, names=part.column_names)


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type) and column.type.value_type == pa.string():
        return column
    return pc.cast(column, pa.string()).dictionary_encode()
