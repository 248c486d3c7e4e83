"""Which images or objects a contact sheet shows: chosen by rule, so that the same dataset gives the same sheet."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import plain
from curate.dataset import Dataset
from curate.errors import UsageError

STATUSES = ("truth", "proposal", "rejected")


def spread(total: int, wanted: int) -> NDArray[np.int64]:
    """``wanted`` of the positions ``0 .. total - 1``, evenly spread, the first and the last among them."""
    if wanted >= total:
        return np.arange(total)
    if wanted <= 1:
        return np.arange(min(wanted, total))
    return np.arange(wanted) * (total - 1) // (wanted - 1)


def shares(available: Sequence[int], wanted: int) -> list[int]:
    """How many to take of each of several heaps, so that small ones are used up and large ones share the rest."""
    taken = [0] * len(available)
    left = wanted
    while left and (open_heaps := [i for i, n in enumerate(available) if taken[i] < n]):
        each = max(left // len(open_heaps), 1)
        for i in open_heaps:
            step = min(each, available[i] - taken[i], left)
            taken[i] += step
            left -= step
    return taken


def annotations_shown(dataset: Dataset, classes: Sequence[str] = (), statuses: Sequence[str] = ("truth",)) -> pa.Table:
    """The annotations of these classes (all if none is named) and statuses, in the order of their ids.

    Raises:
        UsageError: a class is unknown.
    """
    table = dataset.table("annotations")
    used = plain(pc.unique(table["category"])).to_pylist()
    known = {*used, *dataset.table("categories")["name"].to_pylist()} - {None}
    for name in classes:
        if name not in known:
            raise UsageError(f"class {name!r}", "unknown in this dataset", _meant(name, known))
    mask = pc.is_in(plain(table["status"]), value_set=pa.array(statuses, pa.string()))
    if classes:
        mask = pc.and_(mask, pc.is_in(plain(table["category"]), value_set=pa.array(classes, pa.string())))
    return table.filter(mask)


def pick_images(
    dataset: Dataset, shown: pa.Table, *, images: Sequence[str] = (), limit: int, only_annotated: bool = False
) -> list[str]:
    """Ids of the images to show, sorted: those named, or ``limit`` spread over those that have a row in ``shown``.

    Where these are fewer than ``limit`` and not ``only_annotated``, other images fill the sheet.

    Raises:
        UsageError: a named image is unknown.
    """
    ids = dataset.table("images")["id"]
    if images:
        known = set(ids.to_pylist())
        for name in images:
            if name not in known:
                raise UsageError(f"image {name!r}", "unknown in this dataset", _meant(name, known))
        return sorted(set(images), key=str.encode)[:limit]
    annotated = pc.is_in(ids, value_set=pc.unique(shown["image_id"].combine_chunks()))
    chosen = _spread_over(ids.filter(annotated), limit)
    if len(chosen) < limit and not only_annotated:
        chosen += _spread_over(ids.filter(pc.invert(annotated)), limit - len(chosen))
    return sorted(chosen, key=str.encode)


def pick_objects(shown: pa.Table, *, images: Sequence[str] = (), limit: int) -> list[str]:
    """Ids of the annotations with a box to show, class by class: rare classes whole, others spread over their ids."""
    with_box = shown.filter(pc.is_valid(shown["w"]))
    if images:
        with_box = with_box.filter(pc.is_in(with_box["image_id"], value_set=pa.array(images, pa.string())))
    names = sorted(plain(pc.unique(with_box["category"])).to_pylist(), key=lambda name: (name is None, name or ""))
    heaps = [with_box.filter(_equal(plain(with_box["category"]), name))["id"] for name in names]
    wanted = shares([len(heap) for heap in heaps], limit)
    return [row for heap, n in zip(heaps, wanted, strict=True) for row in _spread_over(heap, n)]


def _equal(column: pa.ChunkedArray, value: str | None) -> Any:
    return pc.is_null(column) if value is None else pc.fill_null(pc.equal(column, value), False)


def _spread_over(ids: pa.ChunkedArray, wanted: int) -> list[str]:
    chosen: list[str] = ids.take(pa.array(spread(len(ids), wanted))).to_pylist()
    return chosen


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known)[:20_000], n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}" if near else "see 'curate info'"
