"""JSON files that hold one long list of records, larger than memory should be: read in blocks, or by place.

A file is cut into blocks between records, and each block is decoded on its own. Where a record lies (its number in the
list, its first byte, its length) can be kept in the record's stead, so that it is read again only by whom it concerns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from curate.errors import SourceError
from curate.sources._files import decode_json, read_bytes

T = TypeVar("T", bound=Struct)
R = TypeVar("R")

BLOCK = 1 << 22  # bytes
_BOM = b"\xef\xbb\xbf"
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_raws = msgspec.json.Decoder(list[Raw])


class Place(NamedTuple):
    """Where a record lies: its number in the list, its first byte in the file, and its length in bytes."""

    number: int
    start: int
    length: int


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _list_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[kind])


def read_records(path: Path, kind: type[T], *, block: int = BLOCK) -> Iterator[T]:
    """The records of a list, in its order; ``kind`` names the fields that are wanted.

    Raises:
        SourceError: the file cannot be read, is no JSON list, or a record lacks a field or has one of another type
            (with its place, as in ``[17].translation[0]``).
    """
    count = 0
    for _, data, records in _blocks(path, block, _list_decoder(kind)):
        records = _one_by_one(data, kind, path, count) if records is None else records
        yield from records
        count += len(records)


def locate_records(path: Path, kind: type[T], *, block: int = BLOCK) -> Iterator[tuple[Place, T]]:
    """The records of a list with their places; otherwise as :func:`read_records`."""
    count = 0
    for start, data, texts in _blocks(path, block, _raws):
        try:
            records = _list_decoder(kind).decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            records = _one_by_one(data, kind, path, count)
        end = 0
        for text, record in zip(texts or (), records, strict=True):
            found = bytes(text)
            begin = data.index(found, end)
            end = begin + len(found)
            yield Place(count, start + begin, len(found)), record
            count += 1


def read_place(stream: BinaryIO, place: Place, kind: type[T], path: Path) -> T:
    """The record that lies at ``place`` of the open file ``path``.

    Raises:
        SourceError: it lacks a field, or has one of another type.
    """
    data = os.pread(stream.fileno(), place.length, place.start)
    try:
        found: T = _decoder(kind).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = decode_json(data, _decoder(kind), path, f"[{place.number}]")
    return found


def _one_by_one(data: bytes, kind: type[T], path: Path, count: int) -> list[T]:
    """The records of a block that is of another type: the error names the record by its number, from ``count``."""
    return [decode_json(text, _decoder(kind), path, f"[{count + i}]") for i, text in enumerate(_raws.decode(data))]


def _blocks(
    path: Path, block: int, decoder: msgspec.json.Decoder[list[R]]
) -> Iterator[tuple[int, bytes, list[R] | None]]:
    """The file cut into JSON lists: the place of their first byte in the file, the text, and what ``decoder`` reads.

    The last is None where the text is JSON but does not have the decoder's type.
    """
    if not path.is_file():
        raise SourceError(path, "no such file", "expected a JSON list")
    with path.open("rb") as stream:
        start, held, wanted = 0, stream.read(max(block, len(_BOM))), block
        if held.startswith(_BOM):
            start, held = len(_BOM), held[len(_BOM) :]
        while True:
            more = stream.read(wanted)
            held += more
            cut = _last_end(held) if more else len(held)
            data = held[:cut] + b"]" if more else held
            try:
                records = _decoded(data, decoder)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if not more:
                    raise _no_list(path) from None
                wanted = len(held)  # no record ends here, or what looked like an end was text
                continue
            yield start, data, records
            if not more:
                return
            # What follows is the comma between two records: it makes way for the next block's bracket.
            comma = held.index(b",", cut)
            start, held, wanted = start + comma, b"[" + held[comma + 1 :], block


def _decoded(data: bytes, decoder: msgspec.json.Decoder[list[R]]) -> list[R] | None:
    try:
        return decoder.decode(data)
    except (msgspec.ValidationError, UnicodeDecodeError):
        _raws.decode(data)  # which raises if it is no list at all
        return None


def _last_end(data: bytes) -> int:
    """The place behind the last record that another one follows; 0 if there is none."""
    at = data.rfind(b"}")
    while at >= 0 and not _BETWEEN.match(data, at):
        at = data.rfind(b"}", 0, at)
    return at + 1


def _no_list(path: Path) -> SourceError:
    """What is wrong with a file that is no list, found by reading it as a whole."""
    try:
        decode_json(read_bytes(path).removeprefix(_BOM), _raws, path)
    except SourceError as error:
        return error
    return SourceError(path, "is no list of records", "expected a JSON list")
