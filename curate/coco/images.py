"""COCO's images as a table, and what their ids stand for; with a root their headers are opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
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
from curate.coco.rows import OURS
from curate.dataset import arrow_schema
from curate.errors import SourceError
from curate.pictures import Header as Picture
from curate.pictures import read_header

# Position of the image with a COCO id.
Index = dict[Any, int]


def read_images(
    door: Door, raw: list[msgspec.Raw], licences: Mapping[Any, str], root: Path | None, checksums: bool
) -> tuple[pa.Table, Index]:
    index: Index = {}
    seen: set[str] = set()
    parts = []
    for start in range(0, len(raw), CHUNK):
        rows = decode_rows(door.file, raw[start : start + CHUNK], "images", start)
        coco_ids = rows.take("id")
        columns: dict[str, Any] = {}
        for name in ("file_name", "width", "height"):
            columns[name] = own_column(rows, name, arrow_schema("images").field(name).type)
        own_ids = own_texts(door, rows, "images", "id")
        files = columns["file_name"].to_pylist()
        ids = []
        for i, (coco_id, file_name, own) in enumerate(zip(coco_ids, files, own_ids, strict=True)):
            image_id = own or f"{door.source}/{_key(file_name) if file_name else coco_id}"
            if type(coco_id) not in (int, str):
                coco_ids[i] = coco_id = None if coco_id is UNSET else coco_id
                door.reject(image_id, "images", start + i, f"id is {coco_id!r}", "expected a whole number")
            if image_id in seen:
                door.notice("R07", "images", start + i, f"image {image_id!r} stands twice", image_id)
                image_id = f"{image_id}@{coco_id if coco_id is not None else start + i}"
            if type(coco_id) in (int, str) and coco_id in index:
                door.notice(
                    "R01", "images", start + i, f"image id {coco_id!r} stands twice; the first counts", image_id
                )
            elif type(coco_id) in (int, str):
                index[coco_id] = start + i
            seen.add(image_id)
            ids.append(image_id)
        columns["id"] = pa.array(ids, pa.string())
        for column in OURS["images"]:
            if column not in ("own_id", "attributes") and (key := door.key("images", column)):
                columns[column] = own_column(rows, key, arrow_schema("images").field(column).type)
        # A file of ours leaves the source out where the id begins with it.
        sources = pa.array(
            [image_id.partition("/")[0] for image_id in ids] if door.header else [door.source] * len(ids)
        )
        given = columns.get("source")
        columns["source"] = sources if given is None else pc.coalesce(given.cast(pa.string()), sources)
        columns["licence"] = pa.array(_resolved_licences(rows, licences), pa.string())
        columns["attributes"] = attributes_column(
            rows, key=door.key("images", "attributes"), ids=None if door.header else coco_ids
        )
        if root is not None:
            columns |= _looked_at(door, root, ids, files, columns, start, checksums)
        parts.append(chunk_table("images", columns, rows.count))
    return joined("images", parts), index


def _key(file_name: str) -> str:
    """The part of an image id that comes from a file name: forward slashes, no ``./`` or ``/`` in front."""
    key = file_name.replace("\\", "/")
    while key.startswith(("./", "/")):
        key = key.removeprefix("./").removeprefix("/")
    return key or file_name


def _resolved_licences(rows: Rows, licences: Mapping[Any, str]) -> list[str | None]:
    """Licence names; an id that means nothing stays in its row, as a foreign key."""
    values = rows.take("license")
    found: list[str | None] = []
    for i, value in enumerate(values):
        name = licences.get(value) if type(value) is int else None
        if name is None and value is not UNSET:
            rows.put_back(i, "license", value)
        found.append(name)
    return found


def _looked_at(
    door: Door,
    root: Path,
    ids: list[str],
    files: list[str | None],
    columns: Mapping[str, Any],
    start: int,
    checksums: bool,
) -> dict[str, Any]:
    """Open each image's header: sizes that the file does not state, orientation, and what is wrong."""
    widths, heights = columns["width"].to_pylist(), columns["height"].to_pylist()
    orientations: list[int | None] = [None] * len(ids)
    hashes: list[str | None] = [None] * len(ids)
    for i, (image_id, name) in enumerate(zip(ids, files, strict=True)):
        if name is None:
            continue
        path = root / name
        if not path.exists():
            door.notice("I01", "images", start + i, f"image file {path} is missing", image_id)
            continue
        try:
            picture: Picture = read_header(path)
        except SourceError as error:
            door.broken.append((image_id, error))
            continue
        orientations[i] = picture.orientation
        if widths[i] is None or heights[i] is None:
            widths[i], heights[i] = picture.width, picture.height
        elif (widths[i], heights[i]) != (picture.width, picture.height):
            text = f"record says {widths[i]} x {heights[i]} px, the file is {picture.width} x {picture.height}"
            door.notice("I02", "images", start + i, text, image_id)
        if checksums:
            with path.open("rb") as stream:
                hashes[i] = hashlib.file_digest(stream, "sha256").hexdigest()
    found = {"width": pa.array(widths, pa.int32()), "height": pa.array(heights, pa.int32())}
    if "orientation" not in columns:
        found["orientation"] = pa.array(orientations, pa.int32())
    if checksums:
        found["sha256"] = pa.array(hashes, pa.string())
    return found
