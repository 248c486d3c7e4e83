"""COCO's annotations as a table, column by column; what does not fit one stays in its row."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.coco.columns import (
    CHUNK,
    UNSET,
    Door,
    Rows,
    attributes_column,
    chunk_table,
    decode_rows,
    joined,
    own_column,
    own_texts,
)
from curate.coco.images import Index
from curate.coco.rows import OURS
from curate.coco.segmentations import split_segmentations
from curate.dataset import arrow_schema
from curate.errors import SourceError

_ID_TYPES = {int, str, float, type(UNSET)}


def read_annotations(
    door: Door, raw: list[msgspec.Raw], images: pa.Table, index: Index, names: Mapping[Any, str]
) -> pa.Table:
    image_ids = images["id"].combine_chunks()
    frames = np.stack([np.append(images[side].fill_null(-1).to_numpy(), -1) for side in ("width", "height")], axis=1)
    seen: set[Any] = set()
    parts = []
    for start in range(0, len(raw), CHUNK):
        rows = decode_rows(door.file, raw[start : start + CHUNK], "annotations", start)
        parts.append(_annotation_chunk(door, rows, start, image_ids, frames, index, names, seen))
    return joined("annotations", parts)


def _annotation_chunk(
    door: Door,
    rows: Rows,
    start: int,
    image_ids: pa.Array,
    frames: np.ndarray[Any, Any],
    index: Index,
    names: Mapping[Any, str],
    seen: set[Any],
) -> pa.Table:
    schema = arrow_schema("annotations")
    positions, owners = _owners(door, rows, start, image_ids, index)
    columns: dict[str, Any] = {"image_id": owners}
    columns["id"] = _annotation_ids(door, rows, start, owners, seen)
    columns["category"] = _category_names(door, rows, start, names, owners)
    boxes, present = _boxes(door, rows, start, owners)
    for i, name in enumerate("xywh"):
        columns[name] = pa.array(boxes[:, i], mask=~present)
    columns["area"] = own_column(rows, "area", pa.float64())
    columns["iscrowd"] = _flags(door, rows, start, "iscrowd", owners)
    segmentations = rows.take("segmentation")
    columns |= split_segmentations(door, rows, start, segmentations, owners, frames[positions])
    for column in OURS["annotations"]:
        key = door.key("annotations", column)
        if key is None or column in ("own_id", "attributes"):
            continue
        if column == "ignore":
            columns[column] = _flags(door, rows, start, key, owners)
        elif column == "polygons":
            # Beside what stood under COCO's own key: polygons with holes, or with a mask.
            read = columns["polygons"].to_pylist() if "polygons" in columns else [None] * rows.count
            given = [own if value is UNSET else value for own, value in zip(read, rows.take(key), strict=True)]
            try:
                columns[column] = pa.array(given, schema.field(column).type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
                raise SourceError(
                    door.where("annotations", start), f"{key}: {error}", "expected parts of rings"
                ) from error
        else:
            columns[column] = own_column(rows, key, schema.field(column).type)
    if "parent_id" in columns:
        columns["parent_id"] = _absolute(columns["parent_id"], owners)
    for column, default in (("status", "truth"), ("origin", "source")):
        if column in columns:
            columns[column] = columns[column].cast(pa.string()).fill_null(default)
    if door.header is None or "source_label" in door.header.same:
        columns["source_label"] = columns["category"]
    columns["attributes"] = attributes_column(rows, key=door.key("annotations", "attributes"))
    return chunk_table("annotations", columns, rows.count)


def _owners(
    door: Door, rows: Rows, start: int, image_ids: pa.Array, index: Index
) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """Position of each row's image (-1 if there is none), and its id."""
    values = rows.take("image_id")
    try:
        positions = np.array([index.get(value, -1) for value in values], np.int64)
    except TypeError:  # a list or an object as id
        positions = np.array([index.get(v, -1) if type(v) in (int, str) else -1 for v in values], np.int64)
    owners = pc.take(image_ids, pa.array(positions, mask=positions < 0))
    if owners.null_count:
        # Kept under an id that no image has, so that verify shows it and nothing counts it.
        listed = owners.to_pylist()
        for i in np.flatnonzero(positions < 0).tolist():
            shown = None if values[i] is UNSET else values[i]
            listed[i] = f"{door.source}/?{shown}"
            rows.put_back(i, "image_id", shown)
            door.notice("R02", "annotations", start + i, f"image_id {shown!r} is no image of the file; kept as found")
        owners = pa.array(listed, pa.string())
    return positions, owners


def _annotation_ids(door: Door, rows: Rows, start: int, owners: pa.Array, seen: set[Any]) -> pa.Array:
    """``<image id>#<COCO id>``, or the id that a file of ours carries."""
    coco_ids = rows.take("id")
    own = own_texts(door, rows, "annotations", "id")
    if door.header is not None and None not in own:
        return _absolute(pa.array(own, pa.string()), owners)
    if not set(map(type, coco_ids)) <= _ID_TYPES:
        coco_ids = _usable_ids(door, start, coco_ids, owners)
    fresh = set(coco_ids)
    if len(fresh) != len(coco_ids) or fresh & seen or UNSET in fresh:
        for i, value in enumerate(coco_ids):
            if value is UNSET or value in seen:
                if value is not UNSET:
                    door.notice("R01", "annotations", start + i, f"annotation id {value!r} stands twice")
                coco_ids[i] = f"@{start + i}"
            seen.add(coco_ids[i])
    else:
        seen |= fresh
    try:
        suffixes = pa.array(coco_ids if set(map(type, coco_ids)) == {int} else list(map(str, coco_ids)))
    except OverflowError:  # numbers of more than 64 bits
        suffixes = pa.array(list(map(str, coco_ids)))
    return pc.binary_join_element_wise(owners, suffixes.cast(pa.string()), "#")


def _usable_ids(door: Door, start: int, coco_ids: list[Any], owners: pa.Array) -> list[Any]:
    """The ids, those that cannot be one left out: null says nothing, anything else is a fault of its image."""
    found = []
    for i, value in enumerate(coco_ids):
        if value is not None and type(value) not in _ID_TYPES:
            door.reject(owners[i].as_py(), "annotations", start + i, f"id is {value!r}", "expected a whole number")
        found.append(value if type(value) in _ID_TYPES else UNSET)
    return found


def _absolute(ids: pa.Array, owners: pa.Array) -> pa.Array:
    """Ids that begin with ``#`` are relative to the image's."""
    ids = ids.cast(pa.string())
    relative = pc.fill_null(pc.starts_with(ids, "#"), False)
    return pc.if_else(relative, pc.binary_join_element_wise(owners, ids, ""), ids)


def _category_names(door: Door, rows: Rows, start: int, names: Mapping[Any, str], owners: pa.Array) -> pa.Array:
    values = rows.take("category_id")
    try:
        found = [names.get(value) for value in values]
    except TypeError:
        found = [names.get(value) if type(value) in (int, str) else None for value in values]
    if None in found:
        for i, name in enumerate(found):
            if name is None and values[i] is not UNSET and values[i] is not None:
                rows.put_back(i, "category_id", values[i])
                text = f"category_id {values[i]!r} is no category of the file; kept as found"
                door.notice("R02", "annotations", start + i, text, owners[i].as_py())
    return pa.array(found, pa.string()).dictionary_encode().cast(arrow_schema("annotations").field("category").type)


def _boxes(door: Door, rows: Rows, start: int, owners: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Boxes ``(n, 4)`` as ``x, y, w, h``, and which rows have one."""
    values = rows.take("bbox")
    present = np.ones(rows.count, bool)
    if set(map(type, values)) != {list} or set(map(len, values)) != {4}:
        for i, value in enumerate(values):
            if type(value) is list and len(value) == 4:
                continue
            present[i] = False
            values[i] = (0.0, 0.0, 0.0, 0.0)
            if value is None or value == []:
                rows.put_back(i, "bbox", value)
            elif value is not UNSET:
                door.reject(owners[i].as_py(), "annotations", start + i, f"bbox is {value!r}", "expected [x, y, w, h]")
    flat = list(itertools.chain.from_iterable(values))
    if not set(map(type, flat)) <= {int, float}:
        for i, value in enumerate(values):
            if any(type(v) not in (int, float) for v in value):
                door.reject(owners[i].as_py(), "annotations", start + i, f"bbox is {value!r}", "expected four numbers")
                values[i] = (0.0, 0.0, 0.0, 0.0)
        flat = list(itertools.chain.from_iterable(values))
    boxes = np.array(flat, np.float64).reshape(-1, 4)
    for i in np.flatnonzero((boxes[:, 2] < 0) | (boxes[:, 3] < 0)).tolist():
        door.reject(
            owners[i].as_py(),
            "annotations",
            start + i,
            f"bbox {boxes[i].tolist()} has a negative side",
            "expected [x, y, width, height]",
        )
    return boxes, present


def _flags(door: Door, rows: Rows, start: int, key: str, owners: pa.Array) -> pa.Array:
    """A column of 0 and 1; other values go back into their rows."""
    values = rows.take(key)
    if not set(map(type, values)) <= {int, bool} or not set(values) <= {0, 1}:
        for i, value in enumerate(values):
            if value is UNSET:
                values[i] = False
            elif type(value) not in (int, bool) or value not in (0, 1):
                rows.put_back(i, key, value)
                values[i] = False
                door.notice("M07", "annotations", start + i, f"{key} is {value!r}; kept as found", owners[i].as_py())
    return pa.array(np.array(values, bool))
