"""COCO's ``segmentation`` values into the columns ``polygons`` and ``segmentation``; malformed ones stay as found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate import runlengths
from curate.coco.columns import UNSET, Door, Rows
from curate.dataset import POLYGONS_TYPE, RLE_TYPE
from curate.geometry import MAX_MASK_PIXELS, check_counts, check_ring


def split_segmentations(
    door: Door,
    rows: Rows,
    start: int,
    values: list[Any],
    owners: pa.Array,
    frames: np.ndarray[Any, Any],
) -> dict[str, pa.Array]:
    """The columns ``polygons`` and ``segmentation`` of some rows; empty if no row has either.

    ``values`` are what stood under ``segmentation``, ``frames`` ``(n, 2)`` the width and height of each row's image
    (-1 unknown). A value that is malformed goes back into its row and is a finding; a vertex that is far outside makes
    the image broken (rule M02).
    """
    if all(value is UNSET for value in values):
        return {}
    polygons: list[Any] = [None] * rows.count
    plain: list[tuple[int, list[int], int, int]] = []
    texts: list[tuple[int, str, int, int]] = []
    for i, value in enumerate(values):
        if type(value) is list and value:
            polygons[i] = _polygons(door, rows, start + i, i, value, owners, frames)
        elif type(value) is dict:
            _sort_rle(door, rows, start + i, i, value, plain, texts, owners)
        elif value is not UNSET:
            rows.put_back(i, "segmentation", value)
    columns: dict[str, pa.Array] = {}
    if any(polygon is not None for polygon in polygons):
        columns["polygons"] = pa.array(polygons, POLYGONS_TYPE)
    if plain or texts:
        columns["segmentation"] = _masks(door, rows, start, values, plain, texts, owners, frames)
    return columns


def _polygons(
    door: Door,
    rows: Rows,
    index: int,
    i: int,
    value: list[Any],
    owners: pa.Array,
    frames: np.ndarray[Any, Any],
) -> list[list[list[float]]] | None:
    """COCO's list of rings: each is a part of its own, since COCO knows no holes."""
    width, height = frames[i].tolist()
    known = width > 0 and height > 0
    for k, ring in enumerate(value):
        wrong = (
            check_ring(ring, width if known else 1 << 20, height if known else 1 << 20)
            if type(ring) is list
            else f"M01 ring is {type(ring).__name__}; expected a list of numbers"
        )
        if wrong is None:
            continue
        code, text = wrong.split(" ", 1)
        if code == "M02":
            door.reject(owners[i].as_py(), "annotations", index, f"segmentation[{k}]: {text}", "")
        else:
            door.notice(code, "annotations", index, f"segmentation[{k}]: {text}; kept as found", owners[i].as_py())
        rows.put_back(i, "segmentation", value)
        return None
    return [[ring] for ring in value]


def _sort_rle(
    door: Door,
    rows: Rows,
    index: int,
    i: int,
    value: dict[str, Any],
    plain: list[tuple[int, list[int], int, int]],
    texts: list[tuple[int, str, int, int]],
    owners: pa.Array,
) -> None:
    """Put a run-length mask with the plain or the compressed ones, or back into its row."""
    size, counts = value.get("size"), value.get("counts")
    wrong: str | None = None
    if type(size) is not list or len(size) != 2 or any(type(side) is not int for side in size):
        wrong = f"M04 mask size is {size!r}; expected [height, width]"
    elif set(value) != {"size", "counts"}:
        wrong = f"M08 mask has the keys {', '.join(sorted(value))}; expected size and counts"
    elif type(counts) is str:
        texts.append((i, counts, size[0], size[1]))
    elif type(counts) is list:
        wrong = check_counts(counts, size[1], size[0])
        if wrong is None:
            plain.append((i, counts, size[0], size[1]))
    else:
        wrong = f"M04 mask counts are {type(counts).__name__}; expected a list or a text"
    if wrong is not None:
        _put_back(door, rows, index, i, value, wrong, owners)


def _put_back(door: Door, rows: Rows, index: int, i: int, value: Any, wrong: str, owners: pa.Array) -> None:
    code, text = wrong.split(" ", 1)
    rows.put_back(i, "segmentation", value)
    door.notice(code, "annotations", index, f"{text}; kept as found", owners[i].as_py())


def _masks(
    door: Door,
    rows: Rows,
    start: int,
    values: list[Any],
    plain: list[tuple[int, list[int], int, int]],
    texts: list[tuple[int, str, int, int]],
    owners: pa.Array,
    frames: np.ndarray[Any, Any],
) -> pa.Array:
    counts: list[str | None] = [None] * rows.count
    sizes: list[list[int] | None] = [None] * rows.count
    if plain:
        runs = np.array([run for _, listed, _, _ in plain for run in listed], np.int64)
        offsets = np.concatenate([[0], np.cumsum([len(listed) for _, listed, _, _ in plain])]).astype(np.int64)
        for (i, _, height, width), text in zip(plain, runlengths.encode(runs, offsets).to_pylist(), strict=True):
            counts[i], sizes[i] = text, [height, width]
    if texts:
        decoded = runlengths.decode(pa.array([text for _, text, _, _ in texts], pa.large_string()))
        heights = np.array([min(height, MAX_MASK_PIXELS + 1) for _, _, height, _ in texts], np.int64)
        widths = np.array([min(width, MAX_MASK_PIXELS + 1) for _, _, _, width in texts], np.int64)
        wrong = dict(runlengths.faults(*decoded, heights, widths))
        for k, (i, text, height, width) in enumerate(texts):
            if k in wrong:
                _put_back(door, rows, start + i, i, values[i], wrong[k], owners)
            else:
                counts[i], sizes[i] = text, [height, width]
    for i, size in enumerate(sizes):
        width, height = frames[i].tolist()
        if size is not None and width > 0 and size != [height, width]:
            text = f"mask of {size[1]} x {size[0]} px in a {width} x {height} image; kept as found"
            door.notice("M05", "annotations", start + i, text, owners[i].as_py())
    null = pa.array([text is None for text in counts])
    return pa.StructArray.from_arrays(
        [
            pa.array([size or [] for size in sizes], RLE_TYPE.field("size").type),
            pa.array([text or "" for text in counts], pa.large_string()),
        ],
        fields=list(RLE_TYPE),
        mask=null,
    )
