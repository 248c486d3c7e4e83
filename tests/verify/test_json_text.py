"""The slow scanner and the fast count must agree: what stands twice, is too deep or is no number is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.verify import json_text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def found(text: str) -> list[tuple[str, str]]:
    _, findings = json_text.decode(text.encode(), "x.json, part", 1)
    return [(one.code, one.where) for one in findings]


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_what_a_writer_writes_is_sound(value: Any, ascii_only: bool, indent: int | None) -> None:
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
        text.encode()
    except UnicodeEncodeError:
        return
    if any("\ud800" <= c <= "\udfff" for c in json.dumps(value, ensure_ascii=False)):
        return
    assert found(text) == []
    assert list(json_text.scan(text, "x", 1)) == []


@given(st.dictionaries(st.text(max_size=6), VALUES, min_size=1, max_size=5), st.data())
def test_a_key_that_stands_twice_is_found(value: dict[str, Any], data: st.DataObject) -> None:
    if any("\ud800" <= c <= "\udfff" for c in json.dumps(value, ensure_ascii=False)):
        return
    key = data.draw(st.sampled_from(sorted(value)))
    text = json.dumps(value)[:-1] + f", {json.dumps(key)}: 1}}"
    assert [code for code, _ in found(text)] == ["F06"]
    wrapped = json.dumps({"outer": [1, None]}).replace("null", text)
    assert [code for code, _ in found(wrapped)] == ["F06"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": {"b": 1, "b": 2}}', [("F06", "x.json, part.a.b")]),
        (r'{"ab": 1, "a\u0062": 2}', [("F06", "x.json, part.ab")]),
        (r'{"a": "\":", "b": ": \"x\": ", "c": ":x"}', []),  # colons inside strings are no keys
        ('{"a" : 1, "b"\n: 2}', []),
        ('{"a": [1, {"b": NaN}]}', [("F07", "x.json, part.a[1].b")]),
        ('{"a": -Infinity}', [("F07", "x.json, part.a")]),
        ('{"a": 1e400}', [("F07", "x.json, part.a")]),
        ('{"a": 1e308}', []),
        ('{"a": 9223372036854775807}', []),
        ('{"a": 9223372036854775808}', [("F08", "x.json, part.a")]),
        ('{"a": -9223372036854775809}', [("F08", "x.json, part.a")]),
        ('{"a": "9223372036854775808000"}', []),
        ('{"a": 0.12345678901234567890123}', []),
        pytest.param("[" + "1" * 5000 + "]", [("F08", "x.json, part[0]")], id="5000 digits"),
        (r'{"a": "\ud800"}', [("F10", "x.json, part.a")]),
        (r'{"a": "\ud83d\ude00"}', []),
        ("[" * 63 + "]" * 63, []),  # with the file's own level 64
        ("[" * 64 + "]" * 64, [("F05", "x.json, part[0][0][0][0]....")]),
        pytest.param("[" * 100_000 + "]" * 100_000, [("F05", "x.json, part[0][0][0][0]....")], id="deep lists"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, [("F05", "x.json, part.a.a.a.a....")], id="deep objects"),
    ],
)
def test_what_a_parser_passes_over(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


def test_rows_are_counted_from_the_start_of_their_chunk() -> None:
    _, findings = json_text.decode(b'[{"id": 1}, {"id": 2, "id": 3}]', "x.json, images[8192:]", 1)
    assert [one.where for one in findings] == ["x.json, images[8193].id"]


def test_what_json_does_not_allow_becomes_null() -> None:
    value, _ = json_text.decode(b'{"a": [1, NaN, 1e999]}', "x.json, part", 1)
    assert value == {"a": [1, None, None]}


def test_a_part_that_stands_twice_is_found_although_the_first_is_lost() -> None:
    parts, findings = json_text.parse(Path("x.json"), b'{"images": [{"a": 1}], "images": [], "b": {"c": 1}}')
    assert parts is not None
    assert [(one.code, one.where) for one in findings] == [("F06", "x.json, images, line 1, column 24")]
