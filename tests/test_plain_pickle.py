"""The machine for plain pickles: equal to Python's on plain values, and nothing that a file holds can make it act."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import SourceError
from curate.plain_pickle import MAX_DEPTH, unpickle

scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**33), 2**33) | st.floats(allow_nan=False) | st.text()
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def alone(value: Any) -> Any:
    """A copy in which nothing is shared; hypothesis reuses values."""
    if type(value) in (list, tuple):
        return type(value)(alone(v) for v in value)
    return {key: alone(v) for key, v in value.items()} if type(value) is dict else value


@given(value=trees, protocol=st.sampled_from([2, 3, 4, 5]))
def test_plain_values_come_back_as_python_reads_them(value: Any, protocol: int) -> None:
    found = unpickle(pickle.dumps(alone(value), protocol)).value
    assert found == value
    assert repr(found) == repr(value)  # types and order too


@pytest.mark.parametrize(
    "kind", ["bool_", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "float16", "float32", "float64"]
)
def test_numpy_scalars_become_python_numbers(kind: str) -> None:
    numbers = [getattr(np, kind)(n) for n in (0, 1, 100)]
    for protocol in (2, 4):
        found = unpickle(pickle.dumps({"n": numbers}, protocol))
        assert found.value == {"n": [n.item() for n in numbers]}
        assert [type(n) for n in found.value["n"]] == [type(n.item()) for n in numbers]
        assert found.numpy_scalars == (2 if kind == "bool_" else 3)  # there is one numpy.True_


def test_numpy_1_named_its_module_otherwise() -> None:
    new = pickle.dumps((np.int64(-5), np.float64(2.5)), 2)
    assert b"numpy._core.multiarray" in new
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert unpickle(old) == ((-5, 2.5), 2)


def test_big_endian_scalars() -> None:
    assert unpickle(pickle.dumps([np.array([1, -2], ">i4")[1]], 2)).value == [-2]


def test_ordered_dictionaries_become_plain_ones() -> None:
    found = unpickle(pickle.dumps(collections.OrderedDict(b=1, a=[2]), 2)).value
    assert type(found) is dict
    assert list(found.items()) == [("b", 1), ("a", [2])]


def test_equal_strings_may_be_shared() -> None:
    assert unpickle(pickle.dumps([{"bbox": 1}, {"bbox": 2}], 2)).value == [{"bbox": 1}, {"bbox": 2}]


# What a hostile file can say


class Runs:
    """Pickles as a call; Python's own machine would make it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


# By the last part of the name: protocol 2 spells modules as Python 2 did.
CALLS = {
    "system": Runs(os.system, "touch owned"),
    "Popen": Runs(subprocess.Popen, ["touch", "owned"]),
    "eval": Runs(eval, "open('owned', 'w')"),
    "getattr": Runs(getattr, "x", "upper"),
    "__import__": Runs(__import__, "os"),
    "open": Runs(open, "owned", "w"),
    "defaultdict": collections.defaultdict(list),
    "frozenset": frozenset({1, 2}),
    "PosixPath": Path("x"),
    "_reconstruct": np.arange(3),
    "ndarray": Runs(np.ndarray, (3,)),
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CALLS)
def test_any_other_global_is_refused_by_name(
    name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = pickle.dumps({"a": {"bbox": CALLS[name]}}, protocol)
    with pytest.raises(SourceError, match=rf"asks for the global \S+\.{name} \(A01\)"):
        unpickle(bad, "x.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "frozenset"])  # has an instruction of its own
def test_a_global_that_is_put_together_on_the_stack_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match=rf"asks for the global \S+\.{name} \(A01\)"):
        unpickle(pickle.dumps({"a": {"bbox": CALLS[name]}}, 4), "x.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02cos\nsystem\n.", r"global os\.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"global os\.system"),
        (b"\x80\x02(S'ls'\nios\nsystem\n.", "instruction STRING"),
        (b"\x80\x02(ios\nsystem\n.", "instruction INST"),
        (b"\x80\x02(cnumpy\ndtype\nK\x01o.", "instruction OBJ"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02X\x01\x00\x00\x000Q.", "holds a tensor"),
        (b"\x80\x020.", "instruction POP"),
        (b"\x80\x022.", "instruction DUP"),
        (b"\x80\x02\xfe.", "instruction 0xfe"),
        (b"\x80\x02cnumpy\ndtype\n.", r"global numpy\.dtype as a value"),
        (b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.", r"calls numpy\.dtype\('O'\)"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.", r"calls _codecs\.encode"),
        (b"\x80\x02ccollections\nOrderedDict\n]\x85R.", r"calls collections\.OrderedDict"),
        (b"\x80\x02}}b.", "sets the state of a dict"),
        (b"\x80\x00.", "protocol 0"),
    ],
)
def test_instructions_that_plain_values_do_not_need(content: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=rf"{said}.*\(A0[12]\)"):
        unpickle(content)


def shared_many_times() -> list[Any]:
    # As deep as it may be: 2 ** 14 ways through it.
    value: list[Any] = []
    for _ in range(14):
        value = [value, value]
    return value


def in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("make", [shared_many_times, in_itself, lambda: [[1]] * 2, lambda: [([1],)] * 2])
def test_shared_and_endless_structures_are_refused(make: Any) -> None:
    for protocol in (2, 4):
        with pytest.raises(SourceError, match=r"used in two places or inside itself \(A02\)"):
            unpickle(pickle.dumps(make(), protocol))


@pytest.mark.parametrize(
    "content",
    [
        b"(" * 100_000,
        b"](" * 100_000,
        b")" + b"\x85" * (MAX_DEPTH + 1) + b".",
        b")" + b"\x85" * 1_000_000 + b".",
    ],
)
def test_deep_nesting_is_refused(content: bytes) -> None:
    with pytest.raises(SourceError, match=r"nested deeper than 16 levels \(A02\)"):
        unpickle(b"\x80\x02" + content)


def test_too_many_containers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.plain_pickle.MAX_CONTAINERS", 1000)
    assert len(unpickle(b"\x80\x02](" + b"]" * 999 + b"e.").value) == 999
    with pytest.raises(SourceError, match=r"more than 1000 lists and dictionaries \(A02\)"):
        unpickle(b"\x80\x02](" + b"]" * 1000 + b"e.")


def test_a_huge_memo_index_takes_no_memory() -> None:
    assert unpickle(b"\x80\x02X\x01\x00\x00\x00ar\xff\xff\xff\xff.").value == "a"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.", "has a key twice"),
        (b"}](K\x01es.", "malformed"),
        (b"}(]K\x01u.", "key of type list"),
        (b"}(K\x01u.", "malformed"),
        (b"X\xff\xff\xff\xffabc.", "malformed or cut short"),
        (b"X\x01\x00\x00\x00\xff.", "malformed"),
        (b"K\x01K\x02.", "parts left over"),
        (b"(K\x01.", "parts left over"),
        (b"K\x01.K\x02.", "parts left over"),
        (b"h\x07.", "malformed"),
        (b"\x86.", "malformed"),
        (b"R.", "malformed"),
        (b"K\x01K\x02R.", "malformed"),
        (b"K\x01e.", "malformed"),
        (b"cnumpy\nno end", "malformed"),
        (b"c_codecs\nencode\nX\x04\x00\x00\x00\xe2\x82\xac!X\x06\x00\x00\x00latin1\x86R.", "malformed"),
        (b"", "malformed"),
    ],
)
def test_malformed_pickles_are_one_clear_error(content: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=rf"x\.pt, byte \d+ of its pickle: .*{said}"):
        unpickle(b"\x80\x02" + content, "x.pt")


SAMPLE = pickle.dumps({"a.png": {"bbox": (np.int64(1), 2, 300, 70000), "mask": [{"counts": [1, 2.5], "x": None}]}}, 2)


@given(at=st.integers(0, len(SAMPLE)))
def test_a_cut_pickle_is_refused(at: int) -> None:
    if at < len(SAMPLE):
        with pytest.raises(SourceError):
            unpickle(SAMPLE[:at])


@given(changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_changed_gives_plain_values_or_one_error(changes: list[tuple[int, int]]) -> None:
    content = bytearray(SAMPLE)
    for at, byte in changes:
        content[at] = byte
    try:
        value = unpickle(bytes(content)).value
    except SourceError:
        return
    assert_plain(value)


@given(content=st.binary(max_size=60))
def test_any_bytes_give_plain_values_or_one_error(content: bytes) -> None:
    try:
        value = unpickle(b"\x80\x02" + content + b".").value
    except SourceError:
        return
    assert_plain(value)


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, tuple, str, int, float, bool, type(None), bytes)
    if isinstance(value, dict):
        for key, inner in value.items():
            assert_plain(key)
            assert_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            assert_plain(inner)


def test_the_place_is_the_byte_of_the_instruction() -> None:
    content = b"\x80\x02]" + struct.pack("<B", 0x4B) + b"\x05acos\nsystem\n."
    with pytest.raises(SourceError, match="byte 6 of its pickle"):
        unpickle(content)


# Arrays, where they are taken


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.array([1, 2, 300], np.int64),
        np.array([], np.float64),
        np.array([[1.5, -2], [3, 4]], np.float32),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.array(True),
        np.array({"0_1": "a/b.json"}, dtype=object),
        np.array(["a", None, 3], dtype=object),
    ],
    ids=str,
)
def test_arrays_become_lists_where_they_are_taken(array: np.ndarray, protocol: int) -> None:
    data = pickle.dumps({"here": array}, protocol)
    assert unpickle(data, arrays=True).value == {"here": array.tolist()}
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray") if protocol < 4 else data
    assert unpickle(old, arrays=True).value == {"here": array.tolist()}
    with pytest.raises(SourceError, match=r"asks for the global numpy.*A01"):
        unpickle(data)


def test_an_array_that_lies_about_itself_is_malformed() -> None:
    data = pickle.dumps(np.arange(4, dtype=np.int64), 3)
    for wrong in (
        data.replace(b"K\x04\x85", b"K\x05\x85"),  # shape (5,)
        data.replace(b"X\x02\x00\x00\x00i8", b"X\x02\x00\x00\x00i4"),
    ):
        assert wrong != data
        with pytest.raises(SourceError, match=r"malformed or cut short \(A02\)"):
            unpickle(wrong, arrays=True)


def test_an_array_in_itself_is_refused() -> None:
    array = np.array([None], dtype=object)
    array[0] = array
    with pytest.raises(SourceError, match="A02"):
        unpickle(pickle.dumps(array, 2), arrays=True)
    array[0] = np.ndarray
    with pytest.raises(SourceError, match=r"holds the global numpy.ndarray as a value \(A01\)"):
        unpickle(pickle.dumps(array, 2), arrays=True)


def test_byte_strings_of_python_2_are_text() -> None:
    assert unpickle(b"\x80\x02U\x06imlist.").value == "imlist"
    assert unpickle(b"\x80\x02T\x03\x00\x00\x00a\xe9b.").value == "a\u00e9b"
    # An array of Python 2 has its numbers in such a string.
    raw = np.array([7, -1], "<i4").tobytes()
    data = pickle.dumps(np.array([7, -1], "<i4"), 3)
    two = data.replace(b"C\x08" + raw, b"U\x08" + raw)
    assert two != data
    assert pickle.loads(two, encoding="latin1").tolist() == [7, -1]
    assert unpickle(two, arrays=True).value == [7, -1]
    with pytest.raises(SourceError, match="malformed"):
        unpickle(b"\x80\x02T\xff\xff\xff\xffa.")
