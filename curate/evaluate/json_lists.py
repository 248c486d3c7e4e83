"""Ranked lists in JSON, read without a Python object per item: SearchAD's lists of paths, ILIAS's similarities.

The file is mapped and checked by msgspec down to the value of each query, which stays bytes. In these the quotation
marks bound the ids, so that Arrow can take them from the bytes at once. A value with an escape or of another form is
decoded the usual way. Memory is one query's text, and four bytes per item (twelve with scores).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed does not name it
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import SourceError, printable
from curate.evaluate.ranking import Floats

MAX_BYTES = 4 << 30
BOM = b"\xef\xbb\xbf"
_QUOTE, _BACKSLASH = 0x22, 0x5C
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[str])
_NUMBERS = msgspec.json.Decoder(list[int])
_SCORES = msgspec.json.Decoder(dict[str, float])


class Entry(NamedTuple):
    """One query's list as the file has it."""

    query: str
    ids: pa.Array
    scores: Floats | None


def read_json_lists(path: Path) -> Iterator[Entry]:
    """The lists in ``path``: ``{query: [id, ...]}``, ``{query: {id: score}}``, or a submission that holds the first.

    Raises:
        SourceError: larger than 4 GiB, no such JSON, a query twice, a score that is no finite number.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        hint = "write Parquet (query, item, score) or a TREC run file, which are read in parts"
        raise SourceError(path, f"is JSON of {size / (1 << 30):.0f} GiB (F02)", "expected at most 4 GiB", hint)
    if not size:
        raise SourceError(path, "file is empty", "expected ranked lists")
    with path.open("rb") as stream:
        text: Any = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if text[: len(BOM)] == BOM:
        text = memoryview(text)[len(BOM) :]
    lists = _object(path, text)
    if set(lists) == {"metadata", "predictions"}:
        outer = lists["predictions"]
        _check_keys(path, text, lists)
        text, lists = outer, _object(path, outer)
    _check_keys(path, text, lists)
    for query, raw in lists.items():
        yield _entry(path, query, raw)


def _object(path: Path, text: Any) -> dict[str, Any]:
    try:
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(path, f"cannot be read ({error})", *_hint(text)) from None


def _hint(text: Any) -> tuple[str, str]:
    """What to say of JSON that cannot be read: Python writes NaN into it, which JSON does not have."""
    for word in (b"NaN", b"Infinity"):
        at = text.find(word) if isinstance(text, mmap.mmap) else bytes(text).find(word)
        if at >= 0:
            held = text if isinstance(text, mmap.mmap) else memoryview(text)
            near = printable(bytes(held[max(0, at - 60) : at + 8]).decode("utf-8", "replace"))
            return f"expected finite scores, byte {at} has {near!r} (E01)", "a model that gives NaN is not to be scored"
    return "expected {query: [item, ...]} or {query: {item: score}}", ""


def _check_keys(path: Path, text: Any, lists: dict[str, Any]) -> None:
    """See that no key stands twice: of two the decoder keeps the last, and the first lies between other values."""
    base = _address(text)
    end = 0
    for query, raw in sorted(lists.items(), key=lambda pair: _address(pair[1])):
        start = _address(raw) - base
        between = bytes(text[end:start] if isinstance(text, mmap.mmap) else memoryview(text)[end:start])
        _, after = scanstring(between.decode("utf-8", "surrogatepass"), between.index(b'"') + 1)
        if between.decode("utf-8", "surrogatepass")[after:].strip() != ":":
            found = f"a query stands twice, the second time before {printable(query)!r} or as it (E08)"
            raise SourceError(path, found, "expected one list per query", "which of them is meant?")
        end = start + len(memoryview(raw))


def _address(text: Any) -> int:
    return int(np.frombuffer(text, np.uint8).ctypes.data)


def _entry(path: Path, query: str, raw: Any) -> Entry:
    data = np.frombuffer(raw, np.uint8)
    kind = chr(data[0]) if len(data) else ""
    where = f"{path}, query {printable(query)}"
    try:
        if kind == "[":
            return Entry(query, _ids(raw, data), None)
        if kind == "{":
            return Entry(query, *_scored(raw, data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(where, f"cannot be read ({error})", *_hint(raw)) from None
    found = printable(bytes(data[:20]).decode("utf-8", "replace"))
    raise SourceError(where, f"holds {found!r}", "expected a list of items, or an object of item and score")


def _ids(raw: Any, data: NDArray[np.uint8]) -> pa.Array:
    cut = _cut(data)
    if cut is not None:
        ids, between = cut
        if all(one.strip() == "," for one in pc.unique(between[:-1]).to_pylist()) and _is(between[-1], "]"):
            return ids
    try:
        return pa.array(_LIST.decode(raw), pa.string())
    except msgspec.ValidationError:
        return pa.array([str(number) for number in _NUMBERS.decode(raw)], pa.string())


def _scored(raw: Any, data: NDArray[np.uint8]) -> tuple[pa.Array, Floats]:
    cut = _cut(data)
    if cut is not None:
        try:
            scores = pc.cast(pc.ascii_trim(cut[1], " \t\n\r:,}"), pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            pass  # not numbers: the decoder says what
        else:
            return cut[0], scores
    found = _SCORES.decode(raw)
    return pa.array(list(found), pa.string()), np.fromiter(found.values(), np.float64, len(found))


def _cut(data: NDArray[np.uint8]) -> tuple[pa.Array, pa.Array] | None:
    """The texts in quotation marks, and what follows each; None where it is not as simple as that."""
    marks = np.flatnonzero(data == _QUOTE)
    if not len(marks) or len(marks) % 2 or len(data) >= 1 << 31 or (data == _BACKSLASH).any():
        return None
    if data[1 : marks[0]].tobytes().strip():
        return None
    offsets = np.empty(len(marks) + 1, np.int32)
    offsets[0:-1:2] = marks[0::2] + 1
    offsets[1:-1:2] = marks[1::2]
    offsets[-1] = len(data)
    texts = pa.StringArray.from_buffers(len(marks), pa.py_buffer(offsets), pa.py_buffer(data))
    even = np.arange(0, len(marks), 2)
    ids, rest = texts.take(pa.array(even)), texts.take(pa.array(even + 1))
    try:
        ids.validate(full=True)
        rest.validate(full=True)
    except pa.ArrowInvalid:
        return None  # not UTF-8: the decoder says where
    return ids, pc.ascii_trim(rest, '"')  # from the mark that closes an id to that which opens the next


def _is(text: pa.StringScalar, wanted: str) -> bool:
    return bool(text.as_py().strip() == wanted)
