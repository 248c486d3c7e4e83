"""YAML as plain values, every scalar a text as it was written, with the line in which each value stands.

No tag is followed and nothing is guessed: ``no`` is not false, ``1.10`` is not 1.1 and ``2026-01-01`` no date.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from curate.errors import UsageError

_MOST = 10_000  # values; an alias stands for all that it names, so that a small file can hold very many
_DEEPEST = 20

# The way to a value: keys, and places in lists.
Place = tuple[str | int, ...]


class Lines(NamedTuple):
    """A YAML document, the line (from 1) of each value, and that of each key."""

    value: Any
    of_value: dict[Place, int]
    of_key: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of ``place``, or of the nearest thing around it that stands in the file."""
        while place and place not in self.of_key and place not in self.of_value:
            place = place[:-1]
        return self.of_key.get(place) or self.of_value.get(place, 1)


def read_lines(text: str, where: object) -> Lines:
    """The one document in ``text``.

    Raises:
        UsageError: it is no YAML, or has a key twice; the line is named.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark is not None else where
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UsageError(place, f"no YAML: {problem}", "expected a recipe") from None
    found = Lines(None, {}, {})
    return found._replace(value=None if root is None else _plain(root, (), found, where))


def _plain(node: Any, place: Place, found: Lines, where: object) -> Any:
    line = node.start_mark.line + 1
    if len(found.of_value) >= _MOST:
        raise UsageError(f"{where}:{line}", f"more than {_MOST:,} values", "expected a recipe")
    if len(place) > _DEEPEST:
        raise UsageError(f"{where}:{line}", "lists within lists", "expected a recipe")
    found.of_value[place] = line
    if node.id == "sequence":
        return [_plain(child, (*place, i), found, where) for i, child in enumerate(node.value)]
    if node.id == "scalar":
        return node.value
    values = {}
    for key, child in node.value:
        at = f"{where}:{key.start_mark.line + 1}"
        if key.id != "scalar":
            raise UsageError(at, "a list or mapping as key", "expected a name")
        name = key.value
        if name in values:
            raise UsageError(at, f"{name!r} stands twice", f"first in line {found.of_key[(*place, name)]}")
        found.of_key[(*place, name)] = key.start_mark.line + 1
        values[name] = _plain(child, (*place, name), found, where)
    return values
