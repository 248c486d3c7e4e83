"""Fuzzing: bytes that no program wrote, and real files with a few bytes otherwise, into everything that reads a file.

Each reader is given such bytes for CURATE_FUZZ_SECONDS: half a second where nothing is said, a minute by ``make fuzz``.
It must give a result or one CurateError, in seconds and without much memory: anything else that is raised, a time above
:data:`SLOWEST` or a request for more than :data:`MEMORY` fails the test, and hypothesis shows the smallest such input.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from curate.errors import CurateError, printable

SECONDS = float(os.environ.get("CURATE_FUZZ_SECONDS", "0.5"))
SLOWEST = datetime.timedelta(seconds=20)
# Bytes of address space more than before; each thread of a large machine reserves some that it never uses.
MEMORY = (4 << 30) + (os.cpu_count() or 1) * (256 << 20)
SOURCES = Path(__file__).resolve().parent.parent / "sources"

TOKENS = (
    b"NaN",
    b"Infinity",
    b"-1",
    b"0",
    b"1e999",
    b"-1e-400",
    b"9" * 30,
    b"9" * 5000,
    b"2147483648",
    b"18446744073709551616",
    b"1e15",
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"[" * 5000,
    b'{"a":' * 3000,
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b"../../etc/passwd",
    b"/etc/passwd",
    b"http://127.0.0.1/",
    b"\n",
    b"\r",
    b"\t",
    b",",
    b" ",
    b'"',
    b"<",
    b"&x;",
    b'<!DOCTYPE a [<!ENTITY x "y">]>',
    b"<a>" * 3000,
    "\N{RIGHT-TO-LEFT OVERRIDE}é".encode(),
)
_PLACES = st.floats(0, 1, exclude_max=True)
_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "drop", "put", "over", "number", "again", "flip"]),
        _PLACES,
        st.integers(0, 40),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)),
    ),
    min_size=1,
    max_size=4,
)


def changed(sample: bytes, changes: Sequence[tuple[str, float, int, bytes]]) -> bytes:
    """``sample`` after some changes: a place is a share of its length."""
    data = sample
    for what, place, size, token in changes:
        at = int(place * len(data))
        if what == "cut":
            data = data[:at]
        elif what == "drop":
            data = data[:at] + data[at + size :]
        elif what == "put":
            data = data[:at] + token + data[at:]
        elif what == "over":
            data = data[:at] + token + data[at + len(token) :]
        elif what == "again":
            data = data[:at] + data[at : at + size] * 20 + data[at + size :]
        elif what == "flip":
            data = data[:at] + bytes(byte ^ (1 << size % 8) for byte in data[at : at + 1]) + data[at + 1 :]
        else:  # a whole number becomes something else
            start = next((i for i in range(at, len(data)) if data[i : i + 1].isdigit()), len(data))
            end = start
            while data[end : end + 1].isdigit():
                end += 1
            data = data[:start] + token + data[end:]
    return data


def mutated(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes that are like one of the samples, or like nothing at all."""
    near = st.builds(changed, st.sampled_from(list(samples)), _CHANGES)
    return st.one_of(near, near, near, near, near, near, near, st.binary(max_size=300))


def fuzz(read: Callable[[Any], object], strategy: st.SearchStrategy[Any], seconds: float | None = None) -> int:
    """Call ``read`` with what ``strategy`` draws until the time is over; returns how often it was called."""
    end = time.monotonic() + (SECONDS if seconds is None else seconds)
    calls = 0

    def one(value: Any) -> None:
        nonlocal calls
        calls += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(value)
            except CurateError as error:
                assert all(printable(line) and len(line) < 5000 for line in error.lines), error.lines

    batch = 0
    options = settings(
        max_examples=20, deadline=SLOWEST, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    while calls == 0 or time.monotonic() < end:
        # Other values each time, and the same ones in each run.
        seed(batch)(options(given(strategy)(one)))()
        batch += 1
    return calls


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let a request for more than MEMORY fail, as on a small machine."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def write_tree(name: str, root: Path) -> Path:
    """The drawn download of a source."""
    spec = importlib.util.spec_from_file_location(f"fuzzed_tree_of_{name}", SOURCES / name / "tree.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root.mkdir()
    module.write(root)
    return root
