"""MATLAB's files of version 5 to 7.2, walked through before scipy reads them.

scipy decodes them in C, and some damage makes that read outside of its tables and crash (an unknown type of data does).
So every element is checked first, by MathWorks' "MAT-File Format": its type, its length, and that the array it is of
needs just that many numbers. Taken are cells, structs, text and dense numbers, which is what annotations are kept in.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import SourceError, UsageError

MOST = 1 << 28  # bytes of all that is compressed, decompressed
DEEPEST = 16
_HEADER = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # bytes of a number, by type of data
_TEXT = {2: 1, 4: 2, 1: 1, 3: 2, 16: 1, 17: 2, 18: 4}  # bytes of a character: numbers, UTF-8, UTF-16, UTF-32
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)  # double, single, and whole numbers of 1 to 8 bytes
_WANTED = "expected a file of cells, structs, text and numbers, as MATLAB 5 to 7.2 writes"


def load(data: bytes, where: Path, names: Sequence[str], hint: str = "pip install scipy") -> dict[str, Any]:
    """The variables of these names, as :func:`scipy.io.loadmat` gives them; absent ones are left out.

    Raises:
        UsageError: scipy is not installed; ``hint`` says what to do.
        SourceError: the file is damaged, of another version, or holds something else; the byte is named, within a
            compressed variable that of its content.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UsageError(where, "is a MATLAB file, and scipy is not installed", hint=hint) from None
    try:
        _check(data)
    except _DamagedError as error:
        raise SourceError(f"{where}, {error.place}", error.found, _WANTED, "download it again") from None
    try:
        found: dict[str, Any] = loadmat(io.BytesIO(data), variable_names=list(names))
    except Exception as error:  # scipy raises whatever a damaged file makes it stumble over
        raise SourceError(where, f"cannot be read ({type(error).__name__}: {error})", _WANTED) from error
    return found


class _DamagedError(Exception):
    def __init__(self, place: str, found: str) -> None:
        super().__init__(place, found)
        self.place, self.found = place, found


class _Reader:
    """Elements one after another in ``data[at:end]``; ``place`` says in errors where ``data`` is from."""

    def __init__(self, data: bytes | memoryview, order: str, at: int, end: int, place: str = "") -> None:
        self.data, self.order, self.at, self.end, self.place = memoryview(data), order, at, end, place
        self.last = at  # where the element begins that was read last

    def fail(self, found: str) -> _DamagedError:
        return _DamagedError(f"byte {self.last}{self.place}", found)

    def element(self) -> tuple[int, int, int]:
        """Type, start and length of the next element; what follows it is next."""
        self.last = self.at
        if self.end - self.at < 8:
            raise self.fail("ends within an element")
        kind, length = struct.unpack_from(f"{self.order}II", self.data, self.at)
        start = self.at + 8
        if kind >> 16:  # short: length and type share four bytes, and the data has the other four
            kind, length = kind & 0xFFFF, kind >> 16
            start, after = self.at + 4, self.at + 8
            if length > 4:
                raise self.fail(f"has {length} bytes where at most 4 are")
        else:
            after = start + length + (0 if kind == _COMPRESSED else -length % 8)
        # The last one may lack the bytes that would fill it up to eight.
        if start + length > self.end:
            raise self.fail(f"an element of {length} bytes, and {max(0, self.end - start)} are left")
        self.at = min(after, self.end)
        return kind, start, length

    def numbers(self, kind: int, what: str) -> list[int]:
        """The next element, which must be whole numbers of one type."""
        found, start, length = self.element()
        if found != kind or length % 4:
            raise self.fail(f"{what} are of type {found}, not {kind}")
        code = "i" if kind == _INT32 else "I"
        return list(struct.unpack_from(f"{self.order}{length // 4}{code}", self.data, start))


def _check(data: bytes) -> None:
    """Raise the first damage that there is."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEADER])
    if order is None or struct.unpack_from(f"{order}H", data, 124)[0] != 0x0100:
        raise _DamagedError("byte 124", "no header of version 5 to 7.2")
    reader = _Reader(data, order, _HEADER, len(data))
    left = MOST
    while reader.at < reader.end:
        kind, start, length = reader.element()
        if kind == _COMPRESSED:
            unpacked = zlib.decompressobj()
            try:
                content = unpacked.decompress(data[start : start + length], left + 1)
            except zlib.error as error:
                raise reader.fail(f"cannot be decompressed ({error})") from None
            left -= len(content)
            if left < 0:
                raise reader.fail(f"decompresses to more than {MOST >> 20} MiB")
            if not unpacked.eof:
                raise reader.fail("ends within what is compressed")
            inside = _Reader(content, order, 0, len(content), f" of the variable that is compressed at byte {start}")
            _variable(inside, *inside.element())
        else:
            _variable(reader, kind, start, length)


def _variable(reader: _Reader, kind: int, start: int, length: int) -> None:
    if kind != _MATRIX or not length:
        raise reader.fail(f"a variable of type {kind} and {length} bytes")
    _array(_Reader(reader.data, reader.order, start, start + length, reader.place), 0)


def _array(reader: _Reader, depth: int) -> None:
    """One array, which fills what the reader has."""
    if depth > DEEPEST:
        raise reader.fail(f"nested more than {DEEPEST} deep")
    flags = reader.numbers(_UINT32, "flags of an array")
    if len(flags) != 2:
        raise reader.fail(f"an array with {len(flags)} words of flags")
    kind, is_complex = flags[0] & 0xFF, flags[0] & 0x800
    shape = reader.numbers(_INT32, "sizes of an array")
    if not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise reader.fail(f"an array of the sizes {shape[:32]}")
    count = math.prod(shape)
    if count > reader.end:  # a struct without fields needs no bytes for its elements, and scipy much memory
        raise reader.fail(f"an array of the sizes {shape} in {reader.end} bytes")
    if reader.element()[0] != _INT8:
        raise reader.fail("the name of an array is no text")
    if kind in (_CELL, _STRUCT):
        fields = _fields(reader) if kind == _STRUCT else 1
        for _ in range(count * fields):
            found, start, length = reader.element()
            if found != _MATRIX:
                raise reader.fail(f"an array's element of type {found}")
            if length:  # an empty one is all of an empty array
                _array(_Reader(reader.data, reader.order, start, start + length, reader.place), depth + 1)
    elif kind == _CHAR or kind in _NUMBERS:
        for _ in range(2 if is_complex and kind != _CHAR else 1):
            found, _, length = reader.element()
            size = (_TEXT if kind == _CHAR else _SIZES).get(found)
            if size is None:
                raise reader.fail(f"data of type {found}")
            # UTF-8 has one to four bytes for what is one character.
            if length != count * size and not (found == 16 and count <= length <= 4 * count):
                raise reader.fail(f"{length} bytes for {count} of {size}")
    else:
        raise reader.fail(f"an array of class {kind}")


def _fields(reader: _Reader) -> int:
    """How many fields a struct has."""
    widths = reader.numbers(_INT32, "lengths of field names")
    kind, _, length = reader.element()
    if kind != _INT8 or len(widths) != 1 or widths[0] < 1 or length % widths[0]:
        raise reader.fail(f"field names of type {kind}, {length} bytes in pieces of {widths[:8]}")
    return length // widths[0]
