"""What is to be done: the images of a dataset with the boxes to segment in each, or all of them for a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.errors import UsageError, did_you_mean
from curate.pictures import below
from curate.prelabel.rows import Wanted


class Task(NamedTuple):
    """One image with the boxes to segment in it."""

    image_id: str
    path: str | None
    size: tuple[int | None, int | None]
    wanted: tuple[Wanted, ...]
    problem: str | None = None  # why its picture cannot be found


def select(
    dataset: Dataset,
    *,
    classes: Sequence[str] = (),
    sources: Sequence[str] = (),
    without_mask: bool = False,
    roots: Mapping[str, str] | None = None,
) -> list[Task]:
    """The images with boxes to segment, by id: those of these classes and sources.

    Crowds, ignore regions and the rows of earlier runs are passed over.

    Raises:
        UsageError: a class or source is not there.
    """
    table, images = dataset.table("annotations"), dataset.table("images")
    _known("class", classes, table["category"])
    keep = pc.and_(pc.is_valid(table["x"]), pc.invert(pc.or_(table["iscrowd"], table["ignore"])))
    # What an earlier run drew is nothing to begin from.
    keep = pc.and_not(keep, pc.fill_null(pc.match_substring(table["attributes"], '"prelabel"'), False))
    if classes:
        keep = pc.and_(keep, pc.fill_null(pc.is_in(plain(table["category"]), value_set=pa.array(classes)), False))
    if without_mask:
        keep = pc.and_(keep, pc.is_null(table["segmentation"]))
    columns = ["id", "x", "y", "w", "h", "category", "source_label", "instance"]
    rows = table.select([*columns, "image_id"]).filter(keep)
    place = positions(rows["image_id"], images["id"])
    wanted: dict[int, list[Wanted]] = {}
    values = (plain(rows[name]).to_pylist() for name in columns)
    for at, name, x, y, w, h, category, label, instance in zip(place.tolist(), *values, strict=True):
        if at >= 0:
            wanted.setdefault(at, []).append(Wanted(name, (x, y, w, h), category, label, instance))
    chosen = images.take(pa.array(sorted(wanted), pa.int64()))
    return _tasks(dataset, chosen, [tuple(sorted(wanted[at])) for at in sorted(wanted)], sources, roots or {})


def select_images(
    dataset: Dataset, *, sources: Sequence[str] = (), roots: Mapping[str, str] | None = None
) -> list[Task]:
    """All images, by id, or those of these sources: work for a detector.

    Raises:
        UsageError: a source is not there.
    """
    images = dataset.table("images")
    return _tasks(dataset, images, [()] * len(images), sources, roots or {})


def _tasks(
    dataset: Dataset,
    images: pa.Table,
    wanted: Sequence[tuple[Wanted, ...]],
    sources: Sequence[str],
    roots: Mapping[str, str],
) -> list[Task]:
    _known("source", sources, dataset.table("images")["source"])
    folders = {**dataset.info.roots, **roots}
    tasks = []
    rows = images.select(["id", "source", "file_name", "width", "height"]).to_pylist()
    for row, boxes in zip(rows, wanted, strict=True):
        if sources and row["source"] not in sources:
            continue
        path, problem = _path(row, folders)
        tasks.append(Task(row["id"], path, (row["width"], row["height"]), boxes, problem))
    return sorted(tasks, key=lambda task: task.image_id)


def _known(what: str, names: Sequence[str], column: pa.ChunkedArray) -> None:
    there = set(pc.unique(plain(column)).to_pylist()) - {None}
    for name in names:
        if name not in there:
            some = ", ".join(sorted(there)[:8])
            more = f" and {len(there) - 8} more" if len(there) > 8 else ""
            expected = f"expected one of {some}{more}" if there else f"it has no {what} at all"
            raise UsageError(f"{what} {name!r}", "is not in the dataset", expected, did_you_mean(name, there))


def _path(row: Mapping[str, Any], folders: Mapping[str, str]) -> tuple[str | None, str | None]:
    name, root = row["file_name"], folders.get(row["source"])
    if name is None:
        return None, "no file is named"
    if root is None:
        return None, f"no folder is known for {row['source']}; give --root {row['source']}=FOLDER"
    path = below(root, name)
    return (None, "file name leaves its root") if path is None else (str(path), None)
