"""YAML as texts with their lines."""

from __future__ import annotations

import pytest

from curate.errors import UsageError
from curate.recipe.yaml_lines import read_lines

TEXT = """\
# a comment
title: no
steps:
  - name: 1.10
    options: {date: 2026-01-01, list: [yes, ~, "#x"],
      later: |
        two
        lines
      }
"""


def test_nothing_is_guessed() -> None:
    value = read_lines(TEXT.replace("      later: |\n        two\n        lines\n", ""), "r.yaml").value
    assert value == {
        "title": "no",
        "steps": [{"name": "1.10", "options": {"date": "2026-01-01", "list": ["yes", "~", "#x"]}}],
    }


def test_every_place_has_its_line() -> None:
    lines = read_lines("a: 1\nb:\n  - c: x\n    d: [1,\n      2]\n", "r.yaml")
    places = {("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 0, "c"): 3, ("b", 0, "d"): 4, ("b", 0, "d", 1): 5}
    assert {place: lines.line(place) for place in places} == places
    assert lines.line(("b", 0, "e")) == 3  # what is missing would stand there
    assert lines.line(("z",)) == 1


def test_aliases_and_tags_are_nothing_special() -> None:
    assert read_lines("a: &x [1]\nb: *x\n", "r").value == {"a": ["1"], "b": ["1"]}
    assert read_lines("a: !!python/object/apply:os.system ['false']\n", "r").value == {"a": ["false"]}
    assert read_lines("", "r").value is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3: 'a' stands twice; first in line 1"),
        ("a: b: c\n", "r.yaml:1: no YAML: mapping values are not allowed here"),
        ("a: [1\n", "r.yaml:2: no YAML: expected ',' or ']'"),
        ("a: 1\n--- \nb: 2\n", "r.yaml:2: no YAML: but found another document"),
        ("? [a]\n: 1\n", "r.yaml:1: a list or mapping as key"),
        ("a: \x00\n", "r.yaml: no YAML"),
        ("[" * 3000, "no YAML"),
        ("&a [*a]\n", "lists within lists"),
        ("[" * 40 + "]" * 40, "lists within lists"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_lines(text, "r.yaml")
    assert message in caught.value.line


def test_a_small_file_cannot_hold_millions_of_values() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(UsageError, match="more than 10,000 values"):
        read_lines("\n".join(levels), "bomb.yaml")
