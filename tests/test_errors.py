"""Errors as lines, safe for a terminal, and as they come back from worker processes."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import CurateError, ReviewError, SchemaError, SourceError, UsageError, did_you_mean, printable


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("f.txt:3", "14 columns", "expected 15", "mend it"), "f.txt:3: 14 columns; expected 15; mend it"),
        (("f.txt", "is empty"), "f.txt: is empty"),
        (("f.txt", "is empty", "", "fetch it again"), "f.txt: is empty; fetch it again"),  # no empty part between
        (("", "no output given", "expected -o"), "no output given; expected -o"),  # an error without a place
    ],
)
def test_the_line_says_where_what_expected_and_what_to_do(arguments: tuple[str, ...], line: str) -> None:
    assert CurateError(*arguments).line == line
    assert str(CurateError(*arguments)) == line


def test_errors_found_together_are_one_line_each_in_order() -> None:
    inner = SourceError("b", "second", also=[SourceError("c", "third")])
    error = SourceError("a", "first", also=[inner, SourceError("d", "fourth")])
    assert error.lines == ["a: first", "b: second", "c: third", "d: fourth"]


def test_only_wrong_usage_exits_with_2() -> None:
    codes = {
        kind: kind("x", "y").exit_code for kind in (CurateError, SourceError, SchemaError, ReviewError, UsageError)
    }
    assert codes == {CurateError: 1, SourceError: 1, SchemaError: 1, ReviewError: 1, UsageError: 2}


@pytest.mark.parametrize("kind", [CurateError, SourceError, SchemaError, ReviewError, UsageError])
def test_an_error_survives_pickling_with_all_its_fields(kind: type[CurateError]) -> None:
    error = kind("f", "found", "expected", "hint", also=[SourceError("g", "other", hint="h")])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (back.where, back.found, back.expected, back.hint) == ("f", "found", "expected", "hint")
    assert [type(other) for other in back.also] == [SourceError]
    assert back.lines == error.lines


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\nb", r"a\nb"),  # would forge a second error line
        ("\x1b[2J", r"\x1b[2J"),  # would clear the terminal
        ("\u202egnp.exe", r"\u202egnp.exe"),  # right-to-left override
        ("name\udcff.png", r"name\udcff.png"),  # how Python shows a byte that is not UTF-8
        ("\u2028", r"\u2028"),  # a line separator
        ("größe/图.png", "größe/图.png"),  # letters of any language stay
    ],
)
def test_control_characters_are_escaped(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    assert CurateError(hostile, hostile).line == f"{shown}: {shown}"


@given(st.text(st.characters(exclude_categories=())))
def test_a_line_never_steers_the_terminal(text: str) -> None:
    line = CurateError(text, text, text, text).line
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    line.encode()  # no lone surrogates either
    assert re.search(r"[\x00-\x1f\x7f-\x9f]", line) is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cyclist", "did you mean 'Cyclist'?"),
        ("CAR", "did you mean 'Car'?"),
        ("Pedestrain", "did you mean 'Pedestrian'?"),
        ("zebra", ""),
        ("", ""),
    ],
)
def test_a_name_that_is_nearly_known(name: str, hint: str) -> None:
    assert did_you_mean(name, ["Car", "Cyclist", "Pedestrian", "Van"]) == hint
    assert did_you_mean(name, []) == ""
