"""The sides that something could leak between, and the images that links join across them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.members import has_role
from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.errors import UsageError

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Between = Literal["roles", "splits"]


class Sides(NamedTuple):
    """The side of each image, -1 for none; between query and gallery 0 is what is shown, 1 what is searched."""

    names: list[str]
    code: Ints
    splits: bool
    both: Bools  # images that are shown, and searched too

    def on(self, at: int) -> Bools:
        """The images that stand on a side."""
        here: Bools = self.code == at
        return here | self.both if at == 0 and not self.splits else here

    @property
    def what(self) -> str:
        return "splits" if self.splits else "queries and gallery"


def sides_of(dataset: Dataset, between: Between | None) -> list[Sides]:
    """The sides that are asked for, roles first."""
    roles = _roles(dataset)
    splits = _splits(dataset, beside_roles=roles is not None)
    found = [one for one in (roles, splits) if one and between in (None, "splits" if one.splits else "roles")]
    if not found:
        what = {None: "neither a gallery nor two splits", "roles": "no gallery", "splits": "no two splits"}[between]
        raise UsageError(
            f"dataset {dataset.info.name!r}",
            f"has {what}",
            "expected sides that something could leak between",
            "build a split first (curate build split)",
        )
    return found


def _roles(dataset: Dataset) -> Sides | None:
    ids = dataset.table("images")["id"]
    searched = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    if not searched.any():
        return None
    shown = has_role(dataset, "query") | has_role(dataset, "support")
    for table in ("queries", "support"):
        shown |= positions(ids, dataset.table(table)["image_id"]) >= 0
    code = np.where(searched, 1, np.where(shown, 0, -1))
    return Sides(["queries and support", "gallery"], code, False, shown & searched)


def _splits(dataset: Dataset, *, beside_roles: bool) -> Sides | None:
    split = plain(dataset.table("images")["split"])
    names = pc.unique(split).drop_null()
    names = names.take(pc.sort_indices(names))
    # Splits that a division into queries and gallery has written say the same as the roles.
    if len(names) < 2 or (beside_roles and set(names.to_pylist()) <= {"query", "gallery"}):
        return None
    return Sides(names.to_pylist(), positions(split, names), True, np.zeros(len(split), bool))


def shown_and_searched(dataset: Dataset, between: Between | None = None) -> tuple[Bools, Bools] | None:
    """The images that are shown, and those that are searched; None where splits are looked at, of which any may leak to
    any.

    Raises:
        UsageError: the dataset has no such sides.
    """
    sides = sides_of(dataset, between)
    return None if any(one.splits for one in sides) else (sides[0].on(0), sides[0].on(1))


def leaking_between(sides: Sides, code: Ints) -> Bools:
    """The images that are linked with another one on another side."""
    if not sides.splits:
        shown, searched = sides.on(0), sides.on(1)
        return (shown & linked_with_another(searched, code)) | (searched & linked_with_another(shown, code))
    there = np.flatnonzero((code >= 0) & (sides.code >= 0))
    number = int(code.max(initial=-1)) + 1
    low, high = np.full(number, np.iinfo(np.int64).max), np.full(number, -1)
    np.minimum.at(low, code[there], sides.code[there])
    np.maximum.at(high, code[there], sides.code[there])
    leaking = np.zeros(len(code), bool)
    leaking[there] = low[code[there]] < high[code[there]]
    return leaking


def linked_with_another(others: Bools, code: Ints) -> Bools:
    """The images that are linked with one of ``others`` that is not themselves."""
    number = np.bincount(code[others & (code >= 0)], minlength=int(code.max(initial=-1)) + 2)
    linked: Bools = (code >= 0) & (number[code] > others)
    return linked


def first_of_sides(sides: Sides, rows: Ints) -> list[tuple[int, int]]:
    """Of linked images the first of each side; none stands for two sides."""
    found: list[tuple[int, int]] = []
    order = [at for at in range(len(sides.names)) if sides.on(at)[rows].any()]
    # Where only one image is of a side, it is that side's.
    for at in sorted(order, key=lambda at: int(sides.on(at)[rows].sum())):
        taken = {row for _, row in found}
        found.append((at, next(row for row in rows[sides.on(at)[rows]].tolist() if row not in taken)))
    return sorted(found)


def components(number: int, a: Ints, b: Ints, more: int = 0) -> Ints:
    """For each of ``number + more`` things the least thing that pairs ``a``, ``b`` join it with; by label spreading."""
    label: Ints = np.arange(number + more)
    while True:
        least = np.minimum(label[a], label[b])
        before = label.copy()
        np.minimum.at(label, a, least)
        np.minimum.at(label, b, least)
        np.minimum.at(label, before[a], least)
        np.minimum.at(label, before[b], least)
        label = label[label]
        if np.array_equal(label, before):
            return label


def gathered(number: int, found: Iterable[tuple[Ints, Ints]], most: int = 1 << 22) -> tuple[Ints, Ints]:
    """The pairs found of ``number`` things; of more than ``most``, only as many as join the same things.

    The frames of a film may all be alike: their pairs are the square of them.
    """
    none = np.zeros(0, np.int64)
    parts: list[tuple[Ints, Ints]] = [(none, none)]
    held = 0
    for pair in found:
        parts.append(pair)
        held += len(pair[0])
        if held > max(most, 4 * number):
            a, b = (np.concatenate(side) for side in zip(*parts, strict=True))
            label = components(number, a, b)
            rows = np.flatnonzero(label != np.arange(number))
            parts, held = [(rows, label[rows])], len(rows)
    a, b = (np.concatenate(side) for side in zip(*parts, strict=True))
    return a, b
