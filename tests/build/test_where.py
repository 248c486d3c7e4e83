"""The language of conditions: Python's own ``eval`` is the oracle for what may be written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.build.where import parse
from curate.dataset import arrow_schema
from curate.errors import UsageError

# One row per annotation; the images' columns are already brought into the annotations' order.
ROWS: list[dict[tuple[str, str], Any]] = [
    {
        ("annotations", "category"): category,
        ("annotations", "source_label"): label,
        ("annotations", "h"): h,
        ("annotations", "iscrowd"): crowd,
        ("annotations", "round"): number,
        ("annotations", "segmentation"): {"size": [1, 1], "counts": "0"} if crowd else None,
        ("images", "weather"): weather,
        ("images", "width"): 1242,
    }
    for category, label, h, crowd, number, weather in [
        ("car", "car", 20.0, False, 1, "fog"),
        ("car", "Car", 19.5, True, None, "rain"),
        ("bus", None, None, False, 2, None),
        (None, None, 400.0, True, 3, "fog"),
        (None, "Ä ö", -1.0, False, None, "it's"),
    ]
]


def holds(text: str) -> list[bool]:
    def lookup(table: str, column: str) -> pa.Array:
        return pa.array([row[table, column] for row in ROWS]).cast(arrow_schema(table).field(column).type)

    result: list[bool] = parse(text).holds(lookup).to_pylist()
    return result


class Cell:
    """A value as the language sees it: None equals None only and has no order."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, Cell) else other))

    def __bool__(self) -> bool:
        return bool(self.value)

    def _ordered(self, other: Any, name: str) -> bool:
        other = other.value if isinstance(other, Cell) else other
        return None not in (self.value, other) and bool(getattr(float(self.value), name)(float(other)))

    def __lt__(self, other: Any) -> bool:
        return self._ordered(other, "__lt__")

    def __le__(self, other: Any) -> bool:
        return self._ordered(other, "__le__")

    def __gt__(self, other: Any) -> bool:
        return self._ordered(other, "__gt__")

    def __ge__(self, other: Any) -> bool:
        return self._ordered(other, "__ge__")


class Columns:
    def __init__(self, row: dict[tuple[str, str], Any], table: str) -> None:
        self.__dict__.update({column: Cell(value) for (t, column), value in row.items() if t == table})


def as_python_says(text: str) -> list[bool]:
    answers = []
    for row in ROWS:
        names = {column: Cell(value) for (_, column), value in row.items()}
        spaces = {"image": Columns(row, "images"), "annotation": Columns(row, "annotations")}
        answers.append(bool(eval(text, {"__builtins__": {}}, {**names, **spaces})))
    return answers


TEXTS = st.sampled_from(["'car'", "'bus'", "'fog'", '"it\'s"', "'Ä ö'", "None"])
NUMBERS = st.sampled_from(["20", "19.5", "-1", "0", "2", "1e3"])
WORDS = st.sampled_from(["category", "source_label", "weather", "image.weather", "annotation.category"])
SIZES = st.sampled_from(["h", "round", "annotation.h", "image.width"])
SAME = st.sampled_from(["==", "!="])
ORDER = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
MEMBER = st.sampled_from(["in", "not in"])
SIMPLE = st.one_of(
    st.builds("{} {} {}".format, WORDS, SAME, TEXTS | WORDS),
    st.builds("{} {} {}".format, TEXTS, SAME, WORDS),
    st.builds("{} {} {}".format, SIZES, ORDER, NUMBERS | SIZES),
    st.builds("{} {} {} {} {}".format, NUMBERS, ORDER, SIZES, ORDER, NUMBERS),
    st.builds("{} {} [{}]".format, WORDS, MEMBER, st.lists(TEXTS, min_size=1, max_size=3).map(", ".join)),
    st.builds("{} {} ({},)".format, SIZES, MEMBER, st.lists(NUMBERS, min_size=1, max_size=3).map(", ".join)),
    st.sampled_from(["iscrowd", "not iscrowd", "iscrowd == True", "segmentation == None", "segmentation != None"]),
)
EXPRESSIONS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
@example("weather != 'fog'")
@example("not h < 20")
@example("source_label == category")
def test_means_what_python_means(text: str) -> None:
    assert holds(text) == as_python_says(text)


def test_hand_worked() -> None:
    assert holds("weather == 'fog' and not iscrowd") == [True, False, False, False, False]
    assert holds("weather != 'fog'") == [False, True, True, False, True]  # unknown is not fog
    assert holds("20 <= h < 400") == [True, False, False, False, False]
    assert holds("weather in ['fog', None]") == [True, False, True, True, False]
    assert holds("round in [None]") == [False, True, False, False, True]
    assert holds("iscrowd in [True]") == [False, True, False, True, False]
    assert holds("category is not None") == [True, True, True, False, False]
    assert holds(" h >= 20\n or category == 'bus' ") == [True, False, True, True, False]


def test_knows_what_it_is_about() -> None:
    assert parse("weather == 'fog' and image.id != 'x'").of_images
    assert not parse("weather == 'fog' and h > 1").of_images
    assert not parse("id != 'x'").of_images  # a bare name is the annotation's, where it has one
    assert parse("image.width > 1").columns == {("images", "width")}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        # a bad name
        ("wether == 'fog'", 1, "unknown column 'wether'"),
        ("h > 1 and image.colour == 'red'", 11, "unknown column 'colour'"),
        ("weather == fog", 12, "unknown column 'fog'"),
        ("picture.width > 1", 1, "picture.width is not allowed"),
        # not a condition
        ("weather", 1, "weather alone is text"),
        ("h + 1", 1, "h + 1 is no condition"),
        ("True", 1, "True is no condition"),
        ("1 == 1", 1, "two values are compared"),
        ("not h", 5, "h alone is a number"),
        # things that do not go together
        ("h == 'high'", 6, "h is a number, 'high' is text"),
        ("ä == 'ö' or weather == 3", 1, "unknown column 'ä'"),
        ("weather == 'ö' or weather == 3", 30, "weather is text, 3 is a number"),
        ("iscrowd < True", 11, "true or false has no order"),
        ("h < None", 5, "None has no order"),
        ("attributes == 'x'", 1, "attributes is a list or object"),
        ("weather in 'fog'", 12, "'fog' after 'in'"),
        ("weather in []", 12, "[] after 'in'"),
        ("category in [source_label]", 14, "column source_label in a list"),
        # more than the language holds
        ("__import__('os').system('true') == 0", 1, "__import__('os').system('true') is not allowed"),
        ("weather.__class__ == 'x'", 1, "weather.__class__ is not allowed"),
        ("[c for c in category] == 'x'", 1, "[c for c in category] is not allowed"),
        ("(lambda: h)() > 1", 1, "(lambda: h)() is not allowed"),
        ("h ** 9999999 > 1", 1, "h ** 9999999 is not allowed"),
        ("h > 1j", 5, "1j is not allowed"),
        ("weather == b'fog'", 12, "b'fog' is not allowed"),
        ("weather == f'{h}'", 12, "f'{h}' is not allowed"),
        ("(h := 1) > 0", 2, "h := 1 is not allowed"),
        # not Python
        ("h >", None, "invalid syntax"),
        ("h = 1", 3, "invalid syntax"),
        ("weather == 'fog", 12, "unterminated string literal"),
        ("", None, "invalid syntax"),
        ("h > 1 and " + "not " * 60 + "iscrowd", None, "more than 50 conditions within one another"),
        ("not " * 5000 + "iscrowd", None, ""),
        ("(" * 500 + "iscrowd" + ")" * 500, None, "too many nested parentheses"),
        ("h > 1" + "0" * 400, None, "cannot be read"),
        ("weather == '\\ud800'", None, "cannot be read"),
        ("h > 1 \x00", None, ""),
    ],
)
def test_what_it_refuses(text: str, place: int | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in caught.value.found
    if place is not None:
        assert caught.value.where.endswith(f", character {place}")
    assert len(caught.value.where) < 200


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse("image.wether == 'fog'")
    assert caught.value.hint == "did you mean weather?"
