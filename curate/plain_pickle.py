"""Pickles of plain values, read by a machine that can run nothing.

A pickle is a program: Python's own machine for it imports and calls whatever the file names. The machine here knows the
instructions that build dictionaries, lists, tuples, text and numbers, and holds no function that a file could reach.
Numpy's scalars and ``OrderedDict``, which files of ``torch.save`` hold by accident, are understood through stand-ins
and come out as Python numbers and plain dictionaries; so are its arrays, as lists, where the caller takes them. A file
that asks for anything else is refused, and so is one whose lists are shared, nested too deeply or too
many: walking through them could take forever (rules A01 and A02).

Byte strings of Python 2, which had no other text, come out as text in Latin-1.
"""

from __future__ import annotations

import math
import pickletools
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from curate.errors import SourceError

MAX_CONTAINERS = 20_000_000  # lists, dictionaries and tuples: one byte in the file, 64 and more in memory
MAX_DEPTH = 16
MAX_NAME = 1000

_ONLY_PLAIN = "expected dictionaries, lists, tuples, text and numbers only"
_PLAIN = frozenset({str, int, float, bool, type(None), bytes})
_CONTAINERS = frozenset({list, dict, tuple})


class Loaded(NamedTuple):
    """What a pickle holds, and how many of its numbers were numpy scalars."""

    value: Any
    numpy_scalars: int


def unpickle(data: bytes, where: object = "pickle", *, arrays: bool = False) -> Loaded:
    """The plain values in a pickle of protocol 2 to 5; ``where`` names the file in errors.

    With ``arrays`` numpy arrays of numbers or of plain values are taken too, as (nested) lists; one without dimensions
    as its value.

    Raises:
        SourceError: the pickle is malformed, asks for anything but plain values and numpy scalars (A01), or its
            structure is shared, too deep or too large (A02).
    """
    machine = _Machine(data, arrays=arrays)
    try:
        value = machine.run()
        _check_tree(value)
    except _RefusedError as error:
        raise SourceError(f"{where}, byte {machine.at} of its pickle", *error.args) from None
    except (IndexError, KeyError, TypeError, struct.error, UnicodeError) as error:
        raise SourceError(
            f"{where}, byte {machine.at} of its pickle", "pickle is malformed or cut short (A02)", _ONLY_PLAIN
        ) from error
    return Loaded(value, machine.numpy_scalars)


class _RefusedError(Exception):
    """A pickle asks for what it may not have: found, expected, hint."""


class _Global:
    """Stands for one of the few globals that are understood; there is nothing behind it."""

    def __init__(self, name: str) -> None:
        self.name = name


class _DType:
    """Stands for a numpy dtype: its code (``i8``) and byte order."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"


class _Array:
    """Stands for a numpy array whose values are still to come."""


_ORDERED_DICT = _Global("collections.OrderedDict")
_ENCODE = _Global("_codecs.encode")
_DTYPE = _Global("numpy.dtype")
_SCALAR = _Global("numpy._core.multiarray.scalar")
_GLOBALS = {known.name: known for known in (_ORDERED_DICT, _ENCODE, _DTYPE, _SCALAR)}
_GLOBALS["numpy.core.multiarray.scalar"] = _SCALAR  # as numpy 1 names it
_RECONSTRUCT, _NDARRAY = _Global("numpy._core.multiarray._reconstruct"), _Global("numpy.ndarray")
_FROMBUFFER, _BYTES = _Global("numpy._core.numeric._frombuffer"), _Global("builtins.bytes")
_ARRAYS = {known.name: known for known in (_RECONSTRUCT, _NDARRAY, _FROMBUFFER, _BYTES)}
_ARRAYS["numpy.core.multiarray._reconstruct"] = _RECONSTRUCT
_ARRAYS["numpy.core.numeric._frombuffer"] = _FROMBUFFER
_ARRAYS["__builtin__.bytes"] = _BYTES  # protocol 2 makes empty bytes by a call
# numpy's code of a dtype -> struct's
_NUMBERS = {"b1": "?", "f2": "e", "f4": "f", "f8": "d"}
_NUMBERS |= {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}


class _Machine:
    """Runs the instructions of a pickle. ``at`` is the byte of the one that runs, ``pos`` where it reads on.

    ``stack`` holds the values since the last mark, ``outer`` the stacks below it.
    """

    def __init__(self, data: bytes, *, arrays: bool = False) -> None:
        self.data = data
        self.globals = {**_GLOBALS, **_ARRAYS} if arrays else _GLOBALS
        self.at = self.pos = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0
        self.numpy_scalars = 0

    def run(self) -> Any:
        data = self.data
        while True:
            self.at = pos = self.pos
            op = data[pos]
            if op == 0x4B:  # BININT1: most of a file of run lengths
                self.stack.append(data[pos + 1])
                self.pos = pos + 2
                continue
            self.pos = pos + 1
            if op == 0x2E:  # STOP
                break
            instruction = _INSTRUCTIONS.get(op)
            if instruction is None:
                raise _unknown_instruction(op)
            instruction(self)
            if self.containers > MAX_CONTAINERS:
                raise _RefusedError(f"more than {MAX_CONTAINERS} lists and dictionaries (A02)", "expected fewer")
        if self.outer or len(self.stack) != 1 or self.pos != len(data):
            raise _RefusedError("pickle ends with parts left over (A02)", "expected one value", "make it again")
        return self.stack[0]

    def number(self, kind: str) -> Any:
        """The number that stands behind an instruction, by its ``struct`` code."""
        (value,) = struct.unpack_from(kind, self.data, self.pos)
        self.pos += struct.calcsize(kind)
        return value

    def counted(self, kind: str) -> bytes:
        """Bytes that stand behind their number."""
        size = self.number(kind)
        raw = self.data[self.pos : self.pos + size]
        if len(raw) != size:
            raise IndexError
        self.pos += size
        return raw

    def line(self) -> str:
        """Text up to the end of its line."""
        end = self.data.find(b"\n", self.pos, self.pos + MAX_NAME)
        if end < 0:
            raise IndexError
        raw = self.data[self.pos : end]
        self.pos = end + 1
        return raw.decode()

    def push(self, value: Any) -> None:
        """Put a new container on the stack."""
        self.containers += 1
        self.stack.append(value)

    def mark(self) -> None:
        self.outer.append(self.stack)
        if len(self.outer) > MAX_DEPTH:
            raise _too_deep()
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.outer.pop()
        return values

    def last(self, n: int) -> list[Any]:
        """Take the last ``n`` values from the stack."""
        if len(self.stack) < n:
            raise IndexError
        values = self.stack[-n:]
        del self.stack[-n:]
        return values

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def get(self, key: int) -> None:
        """Use a value again. That is how numpy's dtype and keys come back; a container could make a walk endless."""
        value = self.memo[key]
        if type(value) in (list, dict, _Array) or (type(value) is tuple and any(type(v) in _CONTAINERS for v in value)):
            raise _RefusedError(
                "a list or dictionary is used in two places or inside itself (A02)",
                "expected each of its own",
                "save a deep copy",
            )
        self.stack.append(value)

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target, keys = self.stack[-1], values[0::2]
        if type(target) is not dict or len(values) % 2:
            raise TypeError
        before = len(target)
        for key in keys:
            if type(key) not in _PLAIN:
                raise _RefusedError(f"a dictionary has a key of type {type(key).__name__} (A02)", "expected text")
        target.update(zip(keys, values[1::2], strict=True))
        if len(target) != before + len(keys):
            raise _RefusedError("a dictionary has a key twice (A02)", "expected each key once")

    def find(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        if full not in self.globals:
            raise _RefusedError(
                f"asks for the global {full} (A01)",
                _ONLY_PLAIN,
                "save plain values; never load such a file with weights_only=False, it can run any program",
            )
        self.stack.append(self.globals[full])

    def reduce(self) -> None:
        """The result of one of the few calls that are understood."""
        function, arguments = self.last(2)
        if type(arguments) is not tuple or type(function) is not _Global:
            raise TypeError
        if function is _ORDERED_DICT and not arguments:
            return self.push({})
        if function is _ENCODE and len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
            return self.stack.append(arguments[0].encode("latin-1"))
        if function is _RECONSTRUCT and len(arguments) == 3 and arguments[0] is _NDARRAY:
            return self.push(_Array())
        if function is _FROMBUFFER and len(arguments) == 4:
            raw, dtype, shape, order = arguments
            return self.push(_values(1, shape, dtype, order == "F", raw))
        if function is _BYTES and not arguments:
            return self.stack.append(b"")
        if function is _DTYPE and arguments and (arguments[0] in _NUMBERS or self.takes_objects(arguments[0])):
            return self.push(_DType(arguments[0]))
        if function is _SCALAR and [type(v) for v in arguments] == [_DType, bytes]:
            self.numpy_scalars += 1
            dtype, raw = arguments
            return self.stack.extend(struct.unpack(dtype.order + _NUMBERS[dtype.code], raw))
        shown = ", ".join(repr(v)[:80] if type(v) in _PLAIN else "..." for v in arguments)
        raise _RefusedError(f"calls {function.name}({shown}) (A01)", _ONLY_PLAIN)

    def takes_objects(self, code: str) -> bool:
        return (code in ("O", "O8") or _is_text(code)) and self.globals is not _GLOBALS

    def build(self) -> None:
        """Numpy sets the byte order of a dtype this way, and the values of an array; nothing else has a state."""
        target, state = self.last(2)
        if type(target) is _Array and type(state) is tuple:
            return self.stack.append(_values(*state))
        if type(target) is not _DType or type(state) is not tuple or state[1] not in ("<", ">", "|"):
            raise _RefusedError(f"sets the state of a {type(target).__name__} (A01)", _ONLY_PLAIN)
        target.order = ">" if state[1] == ">" else "<"
        return self.stack.append(target)

    def protocol(self) -> None:
        version = self.number("<B")
        if not 2 <= version <= 5:
            raise _RefusedError(f"pickle of protocol {version} (A02)", "expected 2, as torch.save writes")


def _values(version: int, shape: tuple[int, ...], dtype: _DType, fortran: bool, raw: Any) -> Any:
    """What an array holds: nested lists, or its one value if it has no dimensions."""
    if type(dtype) is not _DType or type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise TypeError
    size = math.prod(shape)
    if dtype.code in _NUMBERS:
        data = raw.encode("latin-1") if type(raw) is str else raw  # Python 2 had no other bytes
        if type(data) is not bytes or len(data) != size * int(dtype.code[1:]):
            raise TypeError
        values = np.frombuffer(data, dtype.order + dtype.code)
        return values.reshape(shape, order="F" if fortran else "C").tolist()
    if _is_text(dtype.code):
        width = 4 * int(dtype.code[1:])
        if type(raw) is not bytes or len(raw) != size * width or not width:
            raise TypeError
        texts = np.frombuffer(raw, dtype.order + dtype.code)
        return texts.reshape(shape, order="F" if fortran else "C").tolist()
    if type(raw) is not list or len(raw) != size:
        raise TypeError
    if not shape:
        return raw[0]
    if len(shape) > 1:
        raise _RefusedError("holds an array of objects in rows and columns (A02)", _ONLY_PLAIN)
    return raw


def _is_text(code: Any) -> bool:
    """Whether numpy's code of a dtype is that of text of a fixed length (``U33``)."""
    return type(code) is str and code[:1] == "U" and code[1:].isascii() and code[1:].isdigit() and len(code) < 9


_INSTRUCTIONS: dict[int, Callable[[_Machine], object]] = {
    0x80: _Machine.protocol,  # PROTO
    0x95: lambda m: m.number("<Q"),  # FRAME
    0x28: _Machine.mark,  # MARK
    0x5D: lambda m: m.push([]),  # EMPTY_LIST
    0x7D: lambda m: m.push({}),  # EMPTY_DICT
    0x29: lambda m: m.push(()),  # EMPTY_TUPLE
    0x61: lambda m: m.extend(m.last(1)),  # APPEND
    0x65: lambda m: m.extend(m.since_mark()),  # APPENDS
    0x73: lambda m: m.set_items(m.last(2)),  # SETITEM
    0x75: lambda m: m.set_items(m.since_mark()),  # SETITEMS
    0x74: lambda m: m.push(tuple(m.since_mark())),  # TUPLE
    0x85: lambda m: m.push(tuple(m.last(1))),  # TUPLE1
    0x86: lambda m: m.push(tuple(m.last(2))),  # TUPLE2
    0x87: lambda m: m.push(tuple(m.last(3))),  # TUPLE3
    0x71: lambda m: m.put(m.number("<B")),  # BINPUT
    0x72: lambda m: m.put(m.number("<I")),  # LONG_BINPUT
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    0x68: lambda m: m.get(m.number("<B")),  # BINGET
    0x6A: lambda m: m.get(m.number("<I")),  # LONG_BINGET
    0x4E: lambda m: m.stack.append(None),  # NONE
    0x88: lambda m: m.stack.append(True),  # NEWTRUE
    0x89: lambda m: m.stack.append(False),  # NEWFALSE
    0x4D: lambda m: m.stack.append(m.number("<H")),  # BININT2
    0x4A: lambda m: m.stack.append(m.number("<i")),  # BININT
    0x8A: lambda m: m.stack.append(int.from_bytes(m.counted("<B"), "little", signed=True)),  # LONG1
    0x47: lambda m: m.stack.append(m.number(">d")),  # BINFLOAT
    0x58: lambda m: m.stack.append(m.counted("<I").decode("utf-8", "surrogatepass")),  # BINUNICODE
    0x8C: lambda m: m.stack.append(m.counted("<B").decode("utf-8", "surrogatepass")),  # SHORT_BINUNICODE
    0x54: lambda m: m.stack.append(m.counted("<i").decode("latin-1")),  # BINSTRING
    0x55: lambda m: m.stack.append(m.counted("<B").decode("latin-1")),  # SHORT_BINSTRING
    0x42: lambda m: m.stack.append(m.counted("<I")),  # BINBYTES
    0x43: lambda m: m.stack.append(m.counted("<B")),  # SHORT_BINBYTES
    0x96: lambda m: m.stack.append(m.counted("<Q")),  # BYTEARRAY8
    0x63: lambda m: m.find(m.line(), m.line()),  # GLOBAL
    0x93: lambda m: m.find(*m.last(2)),  # STACK_GLOBAL
    0x52: _Machine.reduce,  # REDUCE
    0x62: _Machine.build,  # BUILD
}


def _unknown_instruction(op: int) -> _RefusedError:
    names = {ord(known.code): known.name for known in pickletools.opcodes}
    if names.get(op) in ("PERSID", "BINPERSID"):
        return _RefusedError("holds a tensor (A01)", _ONLY_PLAIN, "turn tensors into lists before saving")
    return _RefusedError(f"holds the pickle instruction {names.get(op, hex(op))} (A01)", _ONLY_PLAIN)


def _too_deep() -> _RefusedError:
    return _RefusedError(f"nested deeper than {MAX_DEPTH} levels (A02)", "expected a dictionary of entries")


def _check_tree(value: Any) -> None:
    """See that plain values are all that is left, and that tuples in tuples do not nest too deeply."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        inner: list[Any] = []
        for item in level:
            if type(item) is dict:
                inner += [v for v in item.values() if type(v) not in _PLAIN]
            elif type(item) in _CONTAINERS:
                inner += [v for v in item if type(v) not in _PLAIN]
            elif type(item) not in _PLAIN:
                name = (
                    item.name if type(item) is _Global else "numpy.ndarray" if type(item) is _Array else "numpy.dtype"
                )
                raise _RefusedError(f"holds the global {name} as a value (A01)", _ONLY_PLAIN)
        level = inner
