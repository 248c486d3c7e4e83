"""Train, validation and test: every image to one split, groups kept whole, every class in every split if it can be.

Groups (sequences, places, or single images) are the units. Two passes over them:

1. Classes from the rarest on, by the number of their groups: a split that lacks the class gets the smallest group that
   may go there and has no split yet. So a class stands in every split as long as its groups suffice.
2. The other groups, those of rare classes first: each goes where its rarest class is most wanting, measured by the
   images that the split's share promises; groups without class go where images are most wanting.

Then, where a split still lacks a class, a group moves there, if more classes gain a split by it than lose one.

Within equals the order is by the SHA-256 of seed and the group's first image: the result depends on nothing else.
Sources may be held to some splits (``assign``), as where a benchmark takes no validation images from a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.groups import Group, Groups, groups_of
from curate.build.sampling import seeded_order
from curate.columns import distinct, flags, plain, positions, whole
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "build split train-val-test"
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
_OPEN = -1


def build_partition(
    dataset: Dataset,
    *,
    shares: Mapping[str, float] | None = None,
    group: Group = "sequence",
    assign: Mapping[str, Sequence[str]] | None = None,
    seed: str = "0",
    strict: bool = False,
) -> Dataset:
    """Give every image a ``split``.

    Args:
        shares: the splits with their share of the images, together 1; train 0.7, val 0.15, test 0.15.
        group: what is kept whole.
        assign: for a source, or a ``source/source_split``, the splits that its images may go to; what names the split
            of the source stands before what names the source.
        seed: what decides between equals.
        strict: fail where a class is not in every split.

    Raises:
        UsageError: shares that are none, an unknown source or split.
        SchemaError: a group may go nowhere; or, if ``strict``, a class is missing from a split.
    """
    shares = dict(shares or SHARES)
    _check_shares(shares)
    assign = {key: tuple(splits) for key, splits in sorted((assign or {}).items())}
    groups = groups_of(dataset, group)
    allowed = _allowed(dataset, list(shares), assign)
    units = _units(dataset, groups, allowed, seed, list(shares))
    chosen = _divide(units, np.array(list(shares.values())))
    codes = pa.array(chosen[units.of_image].astype(np.int32))
    images = dataset.table("images")
    at = images.schema.get_field_index("split")
    column = pa.DictionaryArray.from_arrays(codes, pa.array(list(shares), pa.string()))
    split = dataset.replace(images=images.set_column(at, images.schema.field(at), column))
    steps, findings = _account(dataset, units, chosen, list(shares), groups)
    if strict and findings:
        first, *others = [SchemaError(one.where, one.message, hint=one.hint or "") for one in findings]
        first.also = tuple(others)
        raise first
    options = {"share": shares, "group": group, "seed": seed}
    command = Command(verb=VERB, options={**options, **({"assign": assign} if assign else {})}, steps=tuple(steps))
    return split.replace(info=dataset.child(dataset.info.name, command=command), problems=findings)


def _check_shares(shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if not name:
            raise UsageError(f"share {share:g}", "names no split", "expected for example train=0.8")
        if not 0 < share <= 1:
            raise UsageError(f"share {name}={share:g}", "is no share", "expected a number above 0, at most 1")
    if abs(sum(shares.values()) - 1) > 1e-9:
        text = " + ".join(f"{share:g}" for share in shares.values())
        raise UsageError("shares", f"{text} is {sum(shares.values()):g}", "expected 1 together")


def _allowed(dataset: Dataset, splits: list[str], assign: Mapping[str, Sequence[str]]) -> Bools:
    """Images x splits: where each image may go."""
    images = dataset.table("images")
    source = plain(images["source"])
    scope = pc.binary_join_element_wise(source, plain(images["source_split"]), "/")
    allowed = np.ones((images.num_rows, len(splits)), bool)
    for key in sorted(assign, key=lambda key: ("/" in key, key)):
        for name in assign[key]:
            if name not in splits:
                raise UsageError(f"assign {key}", f"names split {name!r}", f"expected one of {', '.join(splits)}")
        rows = flags(pc.equal(scope if "/" in key else source, key))
        if not rows.any():
            known = sorted({*pc.unique(source).to_pylist(), *pc.unique(scope).drop_null().to_pylist()})
            raise UsageError(f"assign {key}", "no image is of it", f"expected one of {', '.join(known[:30])}")
        allowed[rows] = [name in assign[key] for name in splits]
    return allowed


class _Units(NamedTuple):
    """Groups as they are divided, in the order of the seed."""

    names: list[str]  # classes with truth
    of_image: Ints  # per image, its unit
    images: Ints  # per unit, how many
    allowed: Bools  # units x splits
    start: Ints  # per unit, where its rows begin in the next two; and the end
    classes: Ints
    counts: Ints  # images of the unit that show the class


def _units(dataset: Dataset, groups: Groups, allowed: Bools, seed: str, splits: list[str]) -> _Units:
    ids = whole(dataset.table("images")["id"])
    _, first, of_image = np.unique(groups.code, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[seeded_order(ids.take(pa.array(first)), seed)] = np.arange(len(first))
    of_image = rank[of_image]
    may = np.ones((len(first), len(splits)), bool)
    np.logical_and.at(may, of_image, allowed)
    if not may.any(axis=1).all():
        stuck = np.flatnonzero(of_image == np.flatnonzero(~may.any(axis=1))[0])
        raise SchemaError(
            f"image {ids[int(stuck[0])].as_py()!r}",
            f"its {groups.what} has {len(stuck)} images, which may go to no split together",
            f"expected one of {', '.join(splits)} that all of them may go to",
            "assign the sources of one group alike, or choose another --group",
        )
    annotations = dataset.table("annotations")
    category = plain(annotations["category"])
    names = pc.unique(category).drop_null()
    names = names.take(pc.sort_indices(names))
    code, image = positions(category, names), positions(annotations["image_id"], ids)
    rows = flags(pc.equal(plain(annotations["status"]), "truth")) & (code >= 0) & (image >= 0)
    total = max(len(names), 1)
    shown = distinct(image[rows] * total + code[rows])  # once for each image and class
    pairs, counts = np.unique(of_image[shown // total] * total + shown % total, return_counts=True)
    start = np.searchsorted(pairs // total, np.arange(len(first) + 1))
    sizes = np.bincount(of_image, minlength=len(first))
    present = names.filter(pa.array(np.isin(np.arange(len(names)), pairs % total))).to_pylist()
    classes = np.searchsorted(distinct(pairs % total), pairs % total)
    return _Units(present, of_image, sizes, may, start, classes, counts)


def _divide(units: _Units, shares: NDArray[np.float64]) -> Ints:
    """The split of each unit."""
    number, splits = len(units.images), len(shares)
    unit_of = np.repeat(np.arange(number), np.diff(units.start))
    groups_per_class = np.bincount(units.classes, minlength=len(units.names))
    wanted = np.bincount(units.classes, weights=units.counts, minlength=len(units.names))[:, None] * shares
    wanted, room = wanted.tolist(), (units.images.sum() * shares).tolist()  # lists: they are looked at one by one
    sizes = units.images.tolist()
    chosen = np.full(number, _OPEN)
    starts, classes, counts = units.start.tolist(), units.classes.tolist(), units.counts.tolist()
    in_split = np.zeros((len(units.names), splits), bool)

    def put(unit: int, split: int) -> None:
        chosen[unit] = split
        room[split] -= sizes[unit]
        for k in range(starts[unit], starts[unit + 1]):
            wanted[classes[k]][split] -= counts[k]
            in_split[classes[k], split] = True

    for unit in np.flatnonzero(units.allowed.sum(axis=1) == 1).tolist():
        put(unit, int(units.allowed[unit].argmax()))

    by_class = np.argsort(units.classes, kind="stable")
    first = np.searchsorted(units.classes[by_class], np.arange(len(units.names) + 1))
    for name in np.lexsort((np.arange(len(units.names)), groups_per_class)).tolist():
        own = unit_of[by_class[first[name] : first[name + 1]]]
        own = own[np.lexsort((own, units.images[own]))]
        for split in range(splits):
            if in_split[name, split]:
                continue
            free = own[(chosen[own] == _OPEN) & units.allowed[own, split]]
            if len(free):
                put(int(free[0]), split)

    # Classes in the order of their rarity, and of each unit the rarest; one place behind them for units without class.
    order = np.lexsort((np.arange(len(units.names)), groups_per_class))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    rarest = np.full(number, len(order))
    np.minimum.at(rarest, unit_of, rank[units.classes])
    needs = [wanted[name] for name in order.tolist()] + [room]
    patterns, pattern = np.unique(units.allowed, axis=0, return_inverse=True)
    options = [np.flatnonzero(one).tolist() for one in patterns]
    may, need_of, taken = pattern.reshape(-1).tolist(), rarest.tolist(), chosen.tolist()
    for unit in np.lexsort((np.arange(number), -units.images, rarest)).tolist():
        if taken[unit] != _OPEN:
            continue
        need, best = needs[need_of[unit]], _OPEN
        for split in options[may[unit]]:
            if best == _OPEN or need[split] > need[best] or (need[split] == need[best] and room[split] > room[best]):
                best = split
        taken[unit] = best
        room[best] -= sizes[unit]
        for k in range(starts[unit], starts[unit + 1]):
            wanted[classes[k]][best] -= counts[k]
    return _mended(units, unit_of, np.array(taken, np.int64), splits)


def _mended(units: _Units, unit_of: Ints, chosen: Ints, splits: int) -> Ints:
    """Where a split lacks a class, move the unit of the class to it that helps most, of equals the smallest.

    A unit helps by its classes that the split lacks, less those that its own split then lacks; only what helps moves.
    """
    counts = np.zeros((len(units.names), splits), np.int64)
    np.add.at(counts, (units.classes, chosen[unit_of]), 1)
    for name, split in np.argwhere(counts == 0).tolist():
        if counts[name, split]:
            continue
        best, mover = 0, _OPEN
        own = unit_of[units.classes == name]
        own = own[units.allowed[own, split]]
        for unit in own[np.lexsort((own, units.images[own]))].tolist():
            classes = units.classes[units.start[unit] : units.start[unit + 1]]
            gain = int((counts[classes, split] == 0).sum()) - int((counts[classes, chosen[unit]] == 1).sum())
            if gain > best:
                best, mover = gain, unit
        if mover != _OPEN:
            classes = units.classes[units.start[mover] : units.start[mover + 1]]
            counts[classes, chosen[mover]] -= 1
            counts[classes, split] += 1
            chosen[mover] = split
    return chosen


def _account(
    dataset: Dataset, units: _Units, chosen: Ints, splits: list[str], groups: Groups
) -> tuple[list[Step], list[Finding]]:
    """The counts of each split, and the classes that are missing from one, with the reason."""
    unit_of = np.repeat(np.arange(len(units.images)), np.diff(units.start))
    steps = [Step(what="input", counts={name: dataset.table(name).num_rows for name in ("images", "annotations")})]
    image = positions(dataset.table("annotations")["image_id"], dataset.table("images")["id"])
    split_of_image = chosen[units.of_image]
    of_annotation = split_of_image[image[image >= 0]]
    in_split = np.zeros((len(units.names), len(splits)), bool)
    in_split[units.classes, chosen[unit_of]] = True
    for code, name in enumerate(splits):
        counts = {
            "images": int((split_of_image == code).sum()),
            "annotations": int((of_annotation == code).sum()),
            "classes": int(in_split[:, code].sum()),
        }
        if groups.what != "none":
            counts[f"{groups.what}s"] = len(np.unique(groups.code[groups.known & (split_of_image == code)]))
        steps.append(Step(what=f"split {name}", counts=counts))
    what = "leaks: sequences and places were not looked at"
    unknown = int((~groups.known).sum())
    if groups.what != "none":
        what = f"leaks by {groups.what}: {'unproved' if unknown else 'none'}"
    more = {} if groups.what == "none" else {f"images of unknown {groups.what}": unknown}
    steps.append(Step(what=what, counts={"classes not in every split": int((~in_split.all(axis=1)).sum()), **more}))
    findings = []
    for row in np.flatnonzero(~in_split.all(axis=1)).tolist():
        own = unit_of[units.classes == row]
        findings.append(_missing(units, row, own, in_split[row], splits, groups.what))
    return steps, findings


def _missing(units: _Units, row: int, own: Ints, has: Bools, splits: list[str], what: Group) -> Finding:
    unit = "image" if what == "none" else "group"
    absent = [split for split, there in zip(splits, has, strict=True) if not there]
    barred = [split for code, split in enumerate(splits) if not has[code] and not units.allowed[own, code].any()]
    if barred:
        reason = f"its sources are not assigned to {', '.join(barred)}"
    elif len(own) < len(splits):
        reason = f"only {len(own)} {unit}{'s show' if len(own) > 1 else ' shows'} it, for {len(splits)} splits"
    else:
        reason = f"its {len(own)} {unit}s are held elsewhere by rarer classes or by what is assigned"
    return finding(
        "Q11",
        f"category {units.names[row]}",
        f"is not in {', '.join(absent)}: {reason}",
        item=units.names[row],
        hint="try another --seed or --group, or leave the class out",
    )
