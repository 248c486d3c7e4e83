"""MATLAB files: what scipy writes is read as scipy reads it, and no damage reaches scipy's C code."""

from __future__ import annotations

import io
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.io import loadmat, savemat

from curate import matlab
from curate.errors import SourceError, UsageError

HERE = Path("a.mat")


def cells(*values: Any) -> np.ndarray:
    found = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        found[0, i] = value
    return found


def written(values: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    savemat(stream, values, **options)
    return stream.getvalue()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and a.dtype.names:
        return a.dtype == b.dtype and all(same(a[name], b[name]) for name in a.dtype.names)
    if isinstance(a, np.ndarray) and a.dtype == object:
        return a.shape == b.shape and all(same(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
    return bool(np.array_equal(a, b)) and a.dtype == b.dtype


EXAMPLE: dict[str, Any] = {
    "texts": cells("a/1.jpg", "größe", "", "x" * 100),
    "rows": np.array([(np.array([1, 2]), np.zeros((0, 4)))], dtype=[("ok", object), ("a_longer_name", object)]),
    "complex": np.array([1 + 2j, 3]),
    "flags": np.array([True, False]),
    "nested": cells(cells(np.arange(6, dtype=np.int16).reshape(1, 2, 3)), np.zeros((0, 0))),
    "lines": np.array(["one", "four"]),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("columns", ["row", "column"])
def test_what_scipy_writes_is_read_as_scipy_reads_it(compressed: bool, columns: Any) -> None:
    data = written(EXAMPLE, do_compression=compressed, oned_as=columns)
    ours, theirs = matlab.load(data, HERE, list(EXAMPLE)), loadmat(io.BytesIO(data))
    assert set(EXAMPLE) <= set(ours)
    for name in EXAMPLE:
        assert same(ours[name], theirs[name]), name


NUMBERS = [np.dtype(kind) for kind in ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c16", "?"]]


@given(st.sampled_from(NUMBERS).flatmap(lambda kind: arrays(kind, array_shapes(max_dims=4, max_side=5))), st.booleans())
def test_any_numbers(array: np.ndarray, compressed: bool) -> None:
    found = matlab.load(written({"a": array}, do_compression=compressed), HERE, ["a"])["a"]
    assert np.array_equal(found.ravel(), array.ravel(), equal_nan=array.dtype.kind in "fc")


def test_a_name_that_is_not_there_is_left_out() -> None:
    assert "b" not in matlab.load(written({"a": np.ones(3)}), HERE, ["b"])


def changed(at: int, new: bytes) -> bytes:
    """A cell of one text, ``1x1 cell`` at byte 128 and ``1x3 char`` at 176, with other bytes somewhere."""
    data = bytearray(written({"c": cells("abc")}))
    data[at : at + len(new)] = new
    return bytes(data)


def test_where_the_bytes_of_the_example_are() -> None:
    """Tag, flags, sizes and name of the cell take 48 bytes; those of the text as many, and then its data comes."""
    data = changed(0, b"")
    assert data[128:132] == b"\x0e\0\0\0" and data[176:180] == b"\x0e\0\0\0"
    assert data[192] == matlab._CHAR and data[208:216] == b"\1\0\0\0\3\0\0\0" and data[228:231] == b"abc"


@pytest.mark.parametrize(
    ("at", "new", "says"),
    [
        (124, b"\0\2", "byte 124: no header of version 5 to 7.2"),
        (126, b"XX", "byte 124: no header"),
        (128, b"\x0d", "byte 128: a variable of type 13"),
        (132, b"\xff\xff", "byte 128: an element of 65535 bytes, and 96 are left"),
        (144, b"\x11", "an array of class 17"),  # an object of an unknown kind
        (144, b"\x05", "an array of class 5"),  # sparse
        (160, b"\xff\xff\xff\x7f", "an array of the sizes [2147483647, 1] in 232 bytes"),
        (160, b"\xff\xff\xff\xff", "an array of the sizes [-1, 1]"),
        (160, b"\x02", "byte 232: ends within an element"),
        (176, b"\x0d", "byte 176: an array's element of type 13"),
        (184, b"\x05", "byte 184: flags of an array are of type 5, not 6"),
        (208, b"\x02", "byte 224: 3 bytes for 6 of 1"),
        (224, b"\x7f", "byte 224: data of type 127"),
        (225, b"\x80", "byte 224: data of type 32784"),  # of this, scipy 1.17 crashes
        (224, b"\x10\0\x07", "byte 224: has 7 bytes where at most 4 are"),
    ],
)
def test_damage_is_named_with_its_place(at: int, new: bytes, says: str) -> None:
    with pytest.raises(SourceError) as failed:
        matlab.load(changed(at, new), HERE, ["c"])
    assert f"a.mat, {says}" in failed.value.line or f"{says}; expected a file of cells" in failed.value.line
    assert "download it again" in failed.value.line


@pytest.mark.parametrize("length", [0, 4, 127, 128 + 4, 200, 230])
def test_a_file_that_is_cut_short(length: int) -> None:
    with pytest.raises(SourceError, match=r"a\.mat, byte \d+: "):
        matlab.load(changed(0, b"")[:length], HERE, ["c"])


def test_within_what_is_compressed() -> None:
    whole = written({"c": cells("abc")})
    packed = zlib.compress(whole[128:224] + b"\x7f" + whole[225:])
    tag = np.array([15, len(packed)], "<u4").tobytes()
    with pytest.raises(SourceError, match="byte 96 of the variable that is compressed at byte 136: data of type 127"):
        matlab.load(whole[:128] + tag + packed, HERE, ["c"])
    with pytest.raises(SourceError, match="byte 128: cannot be decompressed"):
        matlab.load(whole[:128] + tag + b"x" * len(packed), HERE, ["c"])
    short = np.array([15, len(packed) - 9], "<u4").tobytes()
    with pytest.raises(SourceError, match="byte 128: ends within what is compressed"):
        matlab.load(whole[:128] + short + packed[:-9], HERE, ["c"])


def test_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "MOST", 1 << 20)
    data = written({"a": np.zeros(200_000)}, do_compression=True)
    assert len(data) < 3000
    with pytest.raises(SourceError, match="decompresses to more than 1 MiB"):
        matlab.load(data, HERE, ["a"])


def test_too_deep() -> None:
    value: Any = np.ones(1)
    for _ in range(matlab.DEEPEST + 1):
        value = cells(value)
    with pytest.raises(SourceError, match="nested more than 16 deep"):
        matlab.load(written({"a": value}), HERE, ["a"])


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(UsageError, match=r"a\.mat: is a MATLAB file, and scipy is not installed; leave it"):
        matlab.load(written({"a": np.ones(1)}), HERE, ["a"], "leave it")
