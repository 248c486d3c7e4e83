"""Ground truth of revisited Oxford and Paris, ``gnd_<set>.pkl``: which image is easy, hard or junk for which query.

The pickle is read as plain values; nothing in it can run. Indices count from 0; ``bbx`` is ``x1 y1 x2 y2`` of the query
region in pixels of the query image, origin top-left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import SourceError
from curate.model import Category, Instance, Query, Record
from curate.plain_pickle import unpickle
from curate.sources._files import read_bytes, shown

Corners = tuple[float, float, float, float]

SETS = ("roxford5k", "rparis6k")
LABELS = ("easy", "hard", "junk")
CATEGORY = "landmark"
_EXPECTED = "expected a dictionary of imlist, qimlist and gnd, as revisitop publishes it"


class Question(NamedTuple):
    """One query: its image's name, its region, and indices of database images by label."""

    name: str
    box: Corners
    easy: list[int]
    hard: list[int]
    junk: list[int]
    group: str  # name of the first query with the same positives

    def labelled(self) -> Iterator[tuple[int, str]]:
        """Index and label of each image that was judged."""
        for label in LABELS:
            for index in getattr(self, label):
                yield index, label


class Truth(NamedTuple):
    """What a file holds, in its order."""

    images: list[str]  # of the database, names without extension
    queries: list[Question]


def read_truth(path: Path) -> Truth:
    """Read a file ``gnd_*.pkl``.

    Raises:
        SourceError: it cannot be read, holds more than plain values, or lacks or contradicts itself in a field; the
            error names the query.
    """
    value = unpickle(read_bytes(path), path, arrays=True).value
    if type(value) is not dict or not {"imlist", "qimlist", "gnd"} <= set(value):
        found = f"holds {', '.join(sorted(map(str, value)))}" if type(value) is dict else f"is a {type(value).__name__}"
        raise SourceError(path, shown(found), _EXPECTED)
    images, names = _names(path, value, "imlist"), _names(path, value, "qimlist")
    entries = value["gnd"]
    if type(entries) is not list or len(entries) != len(names):
        count = len(entries) if type(entries) is list else "no"
        raise SourceError(path, f"{count} entries in gnd for {len(names)} queries", "expected one entry per query")
    queries = [_question(f"{path}, gnd[{i}]", names[i], entry, len(images)) for i, entry in enumerate(entries)]
    return Truth(images, _grouped(queries))


def _names(path: Path, value: dict[str, Any], key: str) -> list[str]:
    names = value[key]
    if type(names) is not list or not names:
        raise SourceError(path, f"{key} is no list of names", _EXPECTED)
    for i, name in enumerate(names):
        if type(name) is not str or not name or "/" in name or "\\" in name or not name.isprintable():
            raise SourceError(f"{path}, {key}[{i}]", f"name is {shown(repr(name))}", "expected a file name")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{path}, {key}", f"{shown(twice)} stands twice", "expected every name once")
    return names


def _question(where: str, name: str, entry: Any, images: int) -> Question:
    if type(entry) is not dict or not {*LABELS, "bbx"} <= set(entry):
        raise SourceError(where, "lacks a field", "expected easy, hard, junk and bbx")
    easy, hard, junk = (_indices(f"{where}.{label}", entry[label], images) for label in LABELS)
    both = {*easy} & {*hard} | {*easy, *hard} & {*junk}
    if both:
        raise SourceError(where, f"image {min(both)} has two labels", "expected easy, hard or junk")
    return Question(name, _corners(f"{where}.bbx", entry["bbx"]), easy, hard, junk, group=name)


def _indices(where: str, value: Any, images: int) -> list[int]:
    if type(value) is not list:
        raise SourceError(where, f"is a {type(value).__name__}", "expected a list of indices")
    indices = []
    for item in value:
        number = int(item) if type(item) is float and item.is_integer() else item  # arrays made from nothing are floats
        if type(number) is not int or not 0 <= number < images:
            raise SourceError(where, f"holds {shown(repr(item))}", f"expected indices from 0 to {images - 1}")
        indices.append(number)
    if len(set(indices)) < len(indices):
        raise SourceError(where, "holds an index twice", "expected each once")
    return indices


def _corners(where: str, value: Any) -> Corners:
    value = value[0] if type(value) is list and len(value) == 1 else value  # an array of one row
    if type(value) in (list, tuple) and len(value) == 4 and all(type(v) in (int, float) for v in value):
        x1, y1, x2, y2 = map(float, value)
        if all(map(math.isfinite, (x1, y1, x2, y2))) and x1 < x2 and y1 < y2:
            return x1, y1, x2, y2
    raise SourceError(where, f"is {shown(repr(value))[:100]}", "expected x1 y1 x2 y2 with x1 < x2 and y1 < y2")


def _grouped(queries: Sequence[Question]) -> list[Question]:
    """Queries with the same positives show the same object; the first of them gives the group its name."""
    first: dict[frozenset[int], str] = {}
    grouped = []
    for query in queries:
        positives = frozenset([*query.easy, *query.hard])
        name = first.setdefault(positives, query.name) if positives else query.name
        grouped.append(query._replace(group=name))
    return grouped


def image_id(part: str, name: str) -> str:
    """The id of an image of the set ``part``: that of the source revisitop, whoever names it."""
    return f"revisitop/{part}/{name}"


def instance_id(part: str, query: Question) -> str:
    return f"{part}/{query.group}"


def query_of(part: str, query: Question) -> Query:
    """The record of a query: its region of its image."""
    x1, y1, x2, y2 = query.box
    return Query(
        id=image_id(part, query.name),
        kind="box",
        group=instance_id(part, query),
        image_id=image_id(part, query.name),
        x=x1,
        y=y1,
        w=x2 - x1,
        h=y2 - y1,
        instance=instance_id(part, query),
        category=CATEGORY,
    )


def landmarks(truths: dict[str, Truth]) -> Iterator[Record]:
    """The category of all sets, and an instance per group of queries."""
    yield Category(name=CATEGORY)
    names = {instance_id(part, query) for part, truth in truths.items() for query in truth.queries}
    for name in sorted(names):
        yield Instance(id=name, category=CATEGORY)
