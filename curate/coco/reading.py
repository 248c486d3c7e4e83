"""COCO JSON -> Dataset, in bounded memory: the file is cut into rows first, and these are decoded some at a time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.coco.columns import (
    UNSET,
    Door,
    Rows,
    attributes_column,
    decode_rows,
    own_column,
)
from curate.coco.rows import EXTRA_TABLES, OURS, Header
from curate.coco.segmentations import split_segmentations
from curate.dataset import Dataset, arrow_schema, conform, table_of
from curate.engine import collector_paused
from curate.errors import SchemaError, SourceError
from curate.model import SCHEMA_VERSION, Category, Command, Counts, Info, Source, SourceRecord
from curate.pictures import Header as Picture
from curate.pictures import read_header
from curate.regular import read_regular

SOURCE = Source(
    title="COCO JSON of any origin",
    homepage="https://cocodataset.org/#format-data",
    licence="as the file says",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    download="A file of yours: one JSON object with images, annotations and categories.",
    tree="FILE.json, and a folder of images given by --root coco=FOLDER (without it no image is opened)",
    splits=(),
)
CHUNK = 5_000
_LARGEST_FILE = 4 << 30
# What rows of a file refer to: position of the image with a COCO id, and name of the category with one.
Index = dict[Any, int]


def read(
    file: Path | str,
    *,
    root: Path | None = None,
    skip_bad: bool = False,
    checksums: bool = False,
    source: str = "coco",
) -> Dataset:
    """Read a COCO JSON file.

    Args:
        file: one JSON object with ``images``, and usually ``annotations`` and ``categories``.
        root: folder that ``file_name`` is relative to; without it no image is opened.
        skip_bad: leave broken images out, and record them.
        checksums: also store the SHA-256 of every image file (needs ``root``).
        source: name of the source that the images of a foreign file belong to.

    Raises:
        SourceError: the file is missing, no COCO JSON, or holds broken images (all are listed).
    """
    with collector_paused():
        return _read(Path(file), root=root, skip_bad=skip_bad, checksums=checksums, source=source)


def _read(file: Path, *, root: Path | None, skip_bad: bool, checksums: bool, source: str) -> Dataset:
    parts = _parts(file)
    door = Door(file, source, _header(file, parts.pop("curate", None)))
    categories, names, category_extras = _categories(door, _rows(file, parts.pop("categories", None), "categories"))
    image_rows = _rows(file, parts.pop("images"), "images")
    annotation_rows = _rows(file, parts.pop("annotations", None), "annotations")
    foreign = {key: _foreign(file, key, value) for key, value in parts.items()}
    images, index = _images(door, image_rows, _licences(foreign), root, checksums)
    del image_rows
    annotations = _annotations(door, annotation_rows, images, index, names)
    del annotation_rows
    images, annotations = door.without_broken(images, annotations, skip_bad)
    tables = {"images": images, "annotations": annotations, "categories": categories}
    if door.header:
        given = door.header.tables
        tables |= {name: _extra_table(file, name, given[name]) for name in EXTRA_TABLES if name in given}
    info = _info(door, foreign, category_extras, root, images.num_rows, annotations.num_rows)
    return Dataset(info, tables, door.sorted_findings())


def _parts(file: Path) -> dict[str, msgspec.Raw]:
    """The top-level values of the file, not decoded."""
    try:
        if file.is_dir():
            raise SourceError(file, "is a folder", "expected a COCO JSON file")
        if file.stat().st_size > _LARGEST_FILE:
            raise SourceError(file, f"file of {file.stat().st_size} bytes", f"expected at most {_LARGEST_FILE}")
        text = read_regular(file, "expected a COCO JSON file")
    except FileNotFoundError:
        raise SourceError(file, "no such file", "expected a COCO JSON file") from None
    if text[:3] == b"\xef\xbb\xbf":
        text = text[3:]
    try:
        parts = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise SourceError(
            file,
            "is a JSON array or value",
            "expected an object with images, annotations and categories",
            "a results file holds no images; give the ground-truth file",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(
            file, f"is no JSON ({error})", "expected a COCO JSON file", "is the file complete?"
        ) from error
    if "images" not in parts:
        keys = ", ".join(list(parts)[:8])
        raise SourceError(file, f"has no key 'images' (keys: {keys})", "expected a COCO JSON file")
    return parts


def _header(file: Path, raw: msgspec.Raw | None) -> Header | None:
    if raw is None:
        return None
    try:
        header = msgspec.json.decode(raw, type=Header)
    except msgspec.ValidationError:
        return None  # another tool's key of that name
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}, curate", f"is not UTF-8 text ({error.reason})", "expected JSON in UTF-8") from error
    if header.schema_version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise SourceError(
            file, f"schema version {header.schema_version}", f"this curate reads {SCHEMA_VERSION}", "upgrade curate"
        )
    return header


def _foreign(file: Path, key: str, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}, {key}", f"is not UTF-8 text ({error.reason})", "expected JSON in UTF-8") from error


def _rows(file: Path, raw: msgspec.Raw | None, name: str) -> list[msgspec.Raw]:
    if raw is None:
        return []
    try:
        return msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        raise SourceError(f"{file}, {name}", "is no list", "expected a list of objects") from None


def _licences(foreign: Mapping[str, Any]) -> dict[Any, str]:
    """COCO's licence ids -> names, where both are unique."""
    given = foreign.get("licenses")
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    pairs = [(row["id"], row["name"]) for row in rows if type(row.get("id")) is int and type(row.get("name")) is str]
    return dict(pairs) if len({i for i, _ in pairs}) == len({n for _, n in pairs}) == len(pairs) else {}


def _categories(door: Door, raw: list[msgspec.Raw]) -> tuple[pa.Table, dict[Any, str], dict[str, Any]]:
    """The table, COCO's category ids -> names, and the foreign keys of each category."""
    names: dict[Any, str] = {}
    records: dict[str, Category] = {}
    extras: dict[str, Any] = {}
    for i, text in enumerate(raw):
        try:
            row = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SourceError(door.where("categories", i), str(error), "expected a JSON object") from error
        key, name, above = row.pop("id", None), row.pop("name", None), row.pop("supercategory", None)
        if type(name) is not str or not name or type(key) not in (int, str):
            raise SourceError(
                door.where("categories", i), f"id {key!r}, name {name!r}", "expected a whole number and a name"
            )
        if type(above) is not str:
            if above is not None:
                row["supercategory"] = above
            above = None
        ours = {
            column: row.pop(key_, None)
            for column in OURS["categories"]
            if door.header and (key_ := door.header.key("categories", column))
        }
        if key in names:
            door.notice("R01", "categories", i, f"category id {key!r} stands twice; the first one counts", name)
            continue
        names[key] = name
        if name in records:
            door.notice("R05", "categories", i, f"category name {name!r} stands twice; both ids are taken as one", name)
            continue
        given = {column: value for column, value in ours.items() if value is not None}
        records[name] = Category(name=name, supercategory=above, **given)
        extras[name] = {"id": key, **row}
    return table_of("categories", list(records.values())), names, extras


def _images(
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
        own_ids = _own_values(door, rows, "images", "id")
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
        parts.append(_chunk_table("images", columns, rows.count))
    return _joined("images", parts), index


def _own_values(door: Door, rows: Rows, table: str, column: str) -> list[Any]:
    key = door.key(table, column)
    if key is None:
        return [None] * rows.count
    return [value if type(value) is str and value else None for value in rows.take(key)]


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


def _annotations(
    door: Door, raw: list[msgspec.Raw], images: pa.Table, index: Index, names: Mapping[Any, str]
) -> pa.Table:
    image_ids = images["id"].combine_chunks()
    frames = np.stack([np.append(images[side].fill_null(-1).to_numpy(), -1) for side in ("width", "height")], axis=1)
    seen: set[Any] = set()
    parts = []
    for start in range(0, len(raw), CHUNK):
        rows = decode_rows(door.file, raw[start : start + CHUNK], "annotations", start)
        parts.append(_annotation_chunk(door, rows, start, image_ids, frames, index, names, seen))
    return _joined("annotations", parts)


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
    return _chunk_table("annotations", columns, rows.count)


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
    own = _own_values(door, rows, "annotations", "id")
    if door.header is not None and None not in own:
        return _absolute(pa.array(own, pa.string()), owners)
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
    suffixes = pa.array(coco_ids) if set(map(type, coco_ids)) == {int} else pa.array(list(map(str, coco_ids)))
    return pc.binary_join_element_wise(owners, suffixes.cast(pa.string()), "#")


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


def _chunk_table(name: str, columns: Mapping[str, Any], rows: int) -> pa.Table:
    schema = arrow_schema(name)
    arrays, fields = [], []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            continue
        arrays.append(column if column.type.equals(field.type) else _cast(column, field.type))
        fields.append(field.with_nullable(True))
    assert all(len(array) == rows for array in arrays)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        column = column.cast(pa.string()).dictionary_encode()
    return column.cast(kind)


def _joined(name: str, parts: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts, promote_options="default") if parts else arrow_schema(name).empty_table()


def _extra_table(file: Path, name: str, columns: Mapping[str, list[Any]]) -> pa.Table:
    """A table that stands in a file of ours by column."""
    where = f"{file}, curate.tables.{name}"
    schema = arrow_schema(name)
    unknown = sorted(set(columns) - set(schema.names))
    if unknown or len({len(values) for values in columns.values()}) > 1:
        found = f"unknown column {unknown[0]!r}" if unknown else "columns of several lengths"
        raise SourceError(where, found, "expected what curate writes there")
    try:
        plain_columns = {
            key: pa.array(
                values, pa.string() if pa.types.is_dictionary(schema.field(key).type) else schema.field(key).type
            )
            for key, values in columns.items()
        }
        return conform(name, pa.table(plain_columns))
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, SchemaError) as error:
        raise SourceError(where, str(error), "expected what curate writes there") from error


def _info(
    door: Door, foreign: dict[str, Any], categories: dict[str, Any], root: Path | None, images: int, annotations: int
) -> Info:
    command = Command(verb="import", options={"source": "coco"})
    roots = {door.source: str(root)} if root is not None else {}
    if door.header is not None:
        try:
            info = msgspec.convert({"name": "coco", **door.header.info}, Info)
        except msgspec.ValidationError as error:
            raise SourceError(f"{door.file}, curate.info", str(error), "expected what curate writes there") from error
        return msgspec.structs.replace(info, roots=roots, command=command)
    header = {**foreign, "categories": categories}
    record = SourceRecord(title=SOURCE.title, found=Counts(images=images, annotations=annotations))
    return Info(
        name=door.file.stem,
        sources={door.source: record},
        roots=roots,
        command=command,
        headers={f"{door.source}:{door.file.name}": header},
    )
