"""Conditions ``NAME=VALUE`` on what images and annotations say of themselves: a column of words, or a JSON attribute.

A name is a column of the images (``weather``, ``time_of_day``, ``sequence``, ``place``, ...) or a path in their
``attributes`` (``acdc.condition``); ``annotation.`` before it means the annotations'. A value is text; of an attribute
that is no text it is the JSON (``true``, ``3``). Several values of one name mean any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, plain
from curate.dataset import arrow_schema, json_text
from curate.errors import UsageError
from curate.model import Finding, finding

Bools = NDArray[np.bool_]
_MISSING = object()
_SHOWN = 40


class Wanted(NamedTuple):
    """One name, and the values that it may have."""

    table: str  # images or annotations
    name: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{'annotation.' if self.table == 'annotations' else ''}{self.name}={'|'.join(self.values)}"


def read_attributes(texts: Sequence[str]) -> list[Wanted]:
    """Conditions as they are typed, those of one name together.

    Raises:
        UsageError: one is not of the form NAME=VALUE.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        table = "annotations" if name.startswith("annotation.") else "images"
        name = name.removeprefix("annotation.").removeprefix("image.")
        if not equals or not name:
            raise UsageError(f"attribute {text!r}", "is no condition", "expected NAME=VALUE, such as weather=fog")
        found.setdefault((table, name), set()).add(value.strip())
    return [Wanted(table, name, tuple(sorted(values))) for (table, name), values in sorted(found.items())]


def holds(table: pa.Table, wanted: Wanted) -> Bools:
    """The rows of ``table`` (images or annotations) that have one of the values.

    Raises:
        UsageError: there is neither such a column nor, in any row, such an attribute.
    """
    if wanted.name in word_columns(wanted.table):
        return flags(pc.is_in(plain(table[wanted.name]), value_set=pa.array(wanted.values, pa.string())))
    kept, known = np.zeros(table.num_rows, bool), False
    for row, attributes in _attributes(table):
        value = _at(attributes, wanted.name)
        known |= value is not _MISSING
        kept[row] = value is not _MISSING and (value if isinstance(value, str) else json_text(value)) in wanted.values
    if not known and table.num_rows:
        raise _unknown(table, wanted)
    return kept


def unmet(table: pa.Table, wanted: Wanted) -> Finding:
    """That no row has one of the values, and which there are instead."""
    if wanted.name in word_columns(wanted.table):
        known = pc.unique(plain(table[wanted.name])).drop_null().to_pylist()
    else:
        values = (_at(attributes, wanted.name) for _, attributes in _attributes(table))
        known = list({v if isinstance(v, str) else json_text(v) for v in values if v is not _MISSING})
    text = f"no one of the {wanted.table} says so; {_listed(known) if known else 'nothing'} is said of {wanted.name}"
    code = "N03" if wanted.table == "images" else "N02"
    return finding(code, f"attribute {wanted.text}", text, item=wanted.text, severity="warning")


def _listed(known: Iterable[str]) -> str:
    names = sorted(known)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def word_columns(table: str) -> list[str]:
    """The columns of ``table`` that hold repeated words."""
    return [field.name for field in arrow_schema(table) if pa.types.is_dictionary(field.type)]


def _attributes(table: pa.Table) -> Iterator[tuple[int, Any]]:
    column = table["attributes"]
    decode = msgspec.json.Decoder().decode
    for row in np.flatnonzero(flags(pc.is_valid(column))).tolist():
        yield row, decode(column[row].as_py())


def _at(attributes: Any, path: str) -> Any:
    """The value at ``path``, dots between the keys; a key may hold dots itself."""
    if not isinstance(attributes, dict):
        return _MISSING
    if path in attributes:
        return attributes[path]
    for at in (i for i, character in enumerate(path) if character == "."):
        if path[:at] in attributes and (found := _at(attributes[path[:at]], path[at + 1 :])) is not _MISSING:
            return found
    return _MISSING


def _unknown(table: pa.Table, wanted: Wanted) -> UsageError:
    known = set(word_columns(wanted.table))
    for _, attributes in _attributes(table):
        known.update(_paths(attributes))
    close = get_close_matches(wanted.name, sorted(known), n=1)
    return UsageError(
        f"attribute {wanted.text!r}",
        f"no one of the {wanted.table} has {wanted.name!r}",
        f"expected one of {_listed(known)}",
        f"did you mean {close[0]}?" if close else "",
    )


def _paths(attributes: Any, before: str = "") -> Iterator[str]:
    for key, value in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(value, dict) and value:
            yield from _paths(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"
