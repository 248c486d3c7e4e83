"""Columns of the annotation table as the values of ``anns.pt``: boxes, masks, and what sources keep beside them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, Struct
from numpy.typing import NDArray

from curate import geometry, runlengths, runorder
from curate.columns import plain
from curate.dataset import RLE_TYPE
from curate.errors import SchemaError

Number = int | float
Corners = tuple[Number, Number, Number, Number]


class Kept(Struct, frozen=True, gc=False):
    """What a source kept of an annotation or image, under ``attributes.voxdet`` or ``attributes.anns_pt``."""

    num_ins: Any = UNSET
    bbox: Any = UNSET
    segmentation: Any = UNSET
    dropped_upstream: str | None = None
    file: str | None = None
    set: str | None = None


class _Attributes(Struct, frozen=True, gc=False):
    voxdet: Kept | None = None
    anns_pt: Kept | None = None


NOTHING = Kept()
_decode = msgspec.json.Decoder(_Attributes).decode


def kept(attributes: pa.ChunkedArray) -> list[Kept]:
    """What each row's ``attributes`` keep; equal texts are read once."""
    whole = attributes.combine_chunks().dictionary_encode()
    distinct = [_kept(text) for text in whole.dictionary.to_pylist()]
    codes = whole.indices.fill_null(len(distinct)).to_pylist()
    distinct.append(NOTHING)
    return [distinct[code] for code in codes]


def _kept(text: str) -> Kept:
    try:
        attributes = _decode(text)
    except msgspec.DecodeError:  # another source's, or changed by hand
        return NOTHING
    return attributes.voxdet or attributes.anns_pt or NOTHING


def corners(table: pa.Table, held: list[Kept] | None) -> list[Corners | None]:
    """Each row's ``x, y, x + w, y + h``: whole numbers as ``int``, but as found where the source kept a box of its own.

    None where a row has no box.
    """
    x, y, w, h = (table[name].to_numpy() for name in "xywh")
    box = np.stack([x, y, x + w, y + h], axis=1)
    missing = np.isnan(box).any(axis=1)
    whole = (np.floor(box) == box).all(axis=1)
    exact: list[Any] = list(map(tuple, np.where(whole[:, None], box, 0).astype(np.int64).tolist()))
    for i in np.flatnonzero(~whole | missing).tolist():
        exact[i] = None if missing[i] else tuple(int(v) if v.is_integer() else v for v in box[i].tolist())
    for i, row in enumerate(held or ()):
        if row.bbox is not UNSET and exact[i] is not None:
            left, top, width, height = row.bbox
            if (left, top, width, height) == (x[i], y[i], w[i], h[i]):  # else the box was changed since
                exact[i] = (left, top, left + width, top + height)
    return exact


def image_keys(images: pa.Table, prefix: str) -> list[str]:
    """Each image's path below its source's root; below the source's name, where there are several sources.

    Raises:
        SchemaError: two images have one path.
    """
    names = plain(images["source"]).to_pylist()
    several = len(set(names)) > 1
    keys = []
    for source, file, id in zip(names, images["file_name"].to_pylist(), images["id"].to_pylist(), strict=True):
        path = file or id.removeprefix(f"{source}/")
        keys.append("/".join(filter(None, [prefix.rstrip("/"), source if several else "", path])))
    if prefix.startswith("/") and not prefix.rstrip("/"):
        keys = [f"/{key}" for key in keys]
    twice = [key for key, n in Counter(keys).items() if n > 1]
    if twice:
        raise SchemaError("table images, column file_name", f"{twice[0]!r} stands twice", "expected one image per file")
    return keys


def inclusive(box: Corners) -> Corners:
    """The box with its last pixel instead of the edge behind it."""
    return box[0], box[1], box[2] - 1, box[3] - 1


def masks(table: pa.Table, *, by_rows: bool) -> list[dict[str, Any] | None]:
    """Each row's mask as plain run lengths, None where it has none.

    By columns as COCO has it: ``size`` is the list height, width. By rows as ``anns.pt`` has a query's: ``size`` is the
    tuple height, width, ``transpose`` is false, and a leading 0 says that the first pixel is foreground.

    Raises:
        SchemaError: the run lengths of a row do not fill their frame.
    """
    column = table["segmentation"].combine_chunks()
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    held = column.take(pa.array(rows))
    runs, offsets, good = runlengths.decode(held.field("counts"))
    heights, widths = held.field("size").flatten().to_numpy().astype(np.int64).reshape(-1, 2).T
    for i, wrong in runlengths.faults(runs, offsets, good, heights, widths)[:1]:
        where = f"annotation {table['id'][int(rows[i])].as_py()}"
        raise SchemaError(where, f"mask: {wrong[4:]}", hint="see 'curate verify'")
    if by_rows:
        runs, offsets = runorder.transposed(runs, offsets, widths, heights)
    found: list[dict[str, Any] | None] = [None] * table.num_rows
    numbers, cuts = runs.tolist(), offsets.tolist()
    sizes = zip(heights.tolist(), widths.tolist(), strict=True)
    for i, row, (height, width) in zip(range(len(rows)), rows.tolist(), sizes, strict=True):
        counts = numbers[cuts[i] : cuts[i + 1]]
        if by_rows:
            found[row] = {"counts": counts, "size": (height, width), "transpose": False}
        else:
            found[row] = {"counts": counts, "size": [height, width]}
    return found


def with_painted_polygons(table: pa.Table, widths: NDArray[np.int64], heights: NDArray[np.int64]) -> pa.Table:
    """``table`` with a mask for every row that has polygons only, painted into the frame ``widths`` x ``heights``.

    A row whose frame is unknown (below 1) or whose rings cannot be painted stays without.
    """
    wanted = pc.and_(pc.is_null(table["segmentation"]), pc.is_valid(table["polygons"]))
    rows = np.flatnonzero(wanted.to_numpy())
    painted = table["segmentation"].to_pylist() if len(rows) else []
    for row in rows.tolist():
        width, height = int(widths[row]), int(heights[row])
        polygons = table["polygons"][row].as_py()
        if min(width, height) < 1 or any(geometry.check_ring(r, width, height) for part in polygons for r in part):
            continue
        rle = geometry.rle_from_polygons(polygons, width, height)
        painted[row] = {"size": list(rle.size), "counts": rle.counts}
    if not painted:
        return table
    place = table.schema.get_field_index("segmentation")
    return table.set_column(place, table.schema.field(place), pa.array(painted, RLE_TYPE))
