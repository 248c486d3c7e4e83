"""Dataset -> COCO JSON, written in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.atomic import atomic_file
from curate.coco.rows import CORE, EXTRA_TABLES, OURS, AnnotationRow, Header, ImageRow
from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import SchemaError, UsageError
from curate.geometry import check_ring, rle_from_polygons
from curate.model import SCHEMA_VERSION

CHUNK = 50_000
_RENAME = "curate_"
# Columns whose JSON key differs from their name even without a collision.
_KEYS = {"own_id": "curate_id"}
# What is written where a row has no value, and what to put there so that a foreign value can take its place.
_STAND_INS: dict[str, tuple[Any, Any]] = {"iscrowd": (0, -1), "category_id": (None, msgspec.UNSET)}
_encode = msgspec.json.Encoder(order="deterministic")


def write(
    dataset: Dataset,
    path: Path | str,
    *,
    status: Sequence[str] = ("truth",),
    keep_ids: bool = False,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write ``dataset`` as one COCO JSON file; it appears whole or not at all.

    Args:
        status: annotations of these states.
        keep_ids: COCO ids as the imported file had them, instead of 1, 2, ... in the order of our ids.
        overwrite: replace an existing file.

    Returns:
        The numbers of images, annotations and categories written, and of annotations left out because they refer to no
        image of the dataset.

    Raises:
        UsageError: ``path`` exists, or ``keep_ids`` is asked for and some row has no id of its own.
    """
    images = dataset.table("images")
    annotations = _chosen(dataset.table("annotations"), status)
    owners = positions(annotations["image_id"], images["id"])
    dangling = int((owners < 0).sum())
    if dangling:
        annotations, owners = annotations.filter(pa.array(owners >= 0)), owners[owners >= 0]
    document = _Document(dataset, images, annotations, owners, keep_ids=keep_ids)
    with collector_paused(), atomic_file(Path(path), overwrite=overwrite) as stream:
        for piece in document.pieces():
            stream.write(piece)
    counts = {
        "images": images.num_rows,
        "annotations": annotations.num_rows,
        "categories": dataset.table("categories").num_rows,
    }
    return {**counts, "dangling": dangling} if dangling else counts


def _chosen(annotations: pa.Table, status: Sequence[str]) -> pa.Table:
    present = set(annotations["status"].unique().cast(pa.string()).to_pylist())
    if present <= set(status):
        return annotations
    return annotations.filter(pc.is_in(plain(annotations["status"]), value_set=pa.array(list(status))))


class _Document:
    """One COCO file: its tables, the ids it gives, and the keys under which our columns stand."""

    def __init__(
        self,
        dataset: Dataset,
        images: pa.Table,
        annotations: pa.Table,
        owners: np.ndarray[Any, Any],
        *,
        keep_ids: bool,
    ) -> None:
        self.dataset = dataset
        self.owners = owners  # for each annotation the position of its image
        self.images = images
        self.annotations = annotations
        self.categories = dataset.table("categories")
        headers = list(dataset.info.headers.values())
        self.foreign: dict[str, Any] = dict(_object(headers[0])) if len(headers) == 1 else {}
        extras = _object(self.foreign.pop("categories", None))
        self.category_extras = {name: _object(extra) for name, extra in extras.items()}
        self.image_ids = self._image_ids(keep_ids)
        self.category_ids = self._category_ids(keep_ids)
        self.annotation_ids = self._annotation_ids(keep_ids)
        self.licences = self._licence_ids()
        self.keys = {
            "images": _keys(images, "images", ImageRow),
            "annotations": _keys(annotations, "annotations", AnnotationRow),
            "categories": {column: column for column in OURS["categories"]},
        }
        labels, names = plain(annotations["source_label"]), plain(annotations["category"])
        same = pc.and_(pc.equal(labels, names), pc.is_valid(labels)) if annotations.num_rows else pa.array([True])
        self.same_label = bool(pc.all(pc.fill_null(same, False)).as_py())

    def _image_ids(self, keep: bool) -> np.ndarray[Any, Any]:
        if not keep:
            return np.arange(1, self.images.num_rows + 1)
        texts = self.images["attributes"].to_pylist()
        found = [msgspec.json.decode(text).get("coco_id") if text else None for text in texts]
        return _kept(found, "image", self.images["id"])

    def _annotation_ids(self, keep: bool) -> np.ndarray[Any, Any]:
        if not keep:
            return np.arange(1, self.annotations.num_rows + 1)
        suffixes = [own.rpartition("#")[2] for own in self.annotations["id"].to_pylist()]
        found = [int(text) if text.isascii() and text.isdigit() else None for text in suffixes]
        return _kept(found, "annotation", self.annotations["id"])

    def _category_ids(self, keep: bool) -> dict[str, int]:
        names = self.categories["name"].to_pylist()
        if not keep:
            return {name: i for i, name in enumerate(names, 1)}
        found = [self.category_extras.get(name, {}).get("id") for name in names]
        return dict(zip(names, _kept(found, "category", self.categories["name"]).tolist(), strict=True))

    def _licence_ids(self) -> dict[str, int]:
        """Licence names -> COCO ids: those of the foreign header, then new ones."""
        given = self.foreign.get("licenses")
        rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
        ids = {row["name"]: row["id"] for row in rows if type(row.get("id")) is int and type(row.get("name")) is str}
        names = sorted(set(plain(self.images["licence"].unique()).to_pylist()) - {None})
        free = itertools.count(max(ids.values(), default=0) + 1)
        new = {name: next(free) for name in names if name not in ids}
        if new:
            self.foreign["licenses"] = [*rows, *({"id": i, "name": name, "url": ""} for name, i in new.items())]
        return {**ids, **new}

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The file's text."""
        yield b"{"
        for key, value in self.foreign.items():
            if key not in ("images", "annotations", "curate"):
                yield _encode.encode(key) + b":" + _encode.encode(value) + b",\n"
        yield b'"curate":' + _encode.encode(self._header()) + b",\n"
        yield b'"categories":[\n' + b",\n".join(map(_encode.encode, self._category_rows())) + b"],\n"
        yield b'"images":[\n'
        yield from _joined(self._image_lines())
        yield b'],\n"annotations":[\n'
        yield from _joined(self._annotation_lines())
        yield b"]}\n"

    def _header(self) -> Header:
        info = {
            name: value
            for name, value in msgspec.to_builtins(self.dataset.info).items()
            if name not in ("roots", "parents", "command")
        }
        columns = {
            table: {("id" if column == "own_id" else column): key for column, key in keys.items()}
            for table, keys in self.keys.items()
        }
        tables = {}
        for name in EXTRA_TABLES:
            table = self.dataset.table(name)
            if table.num_rows:
                tables[name] = {k: v for k, v in _lists(table, table.column_names).items() if v is not None}
        same = ("source_label",) if self.same_label else ()
        return Header(schema_version=SCHEMA_VERSION, columns=columns, same=same, info=info, tables=tables)

    def _category_rows(self) -> Iterator[dict[str, Any]]:
        for row in self.categories.to_pylist():
            extra = dict(self.category_extras.get(row["name"], {}))
            extra.pop("id", None)
            ours = {key: row[key] for key in ("name", "supercategory", *OURS["categories"]) if row[key] is not None}
            # Foreign keys cannot push a column aside here: the categories have only two, and both are ours by name.
            yield {"id": self.category_ids[row["name"]], **{k: v for k, v in extra.items() if k not in ours}, **ours}

    def _image_lines(self) -> Iterator[memoryview | bytes]:
        row_type = _renamed(ImageRow, self.keys["images"])
        ids = self.image_ids.tolist()
        for start in range(0, self.images.num_rows, CHUNK):
            table = self.images.slice(start, CHUNK)
            columns = _lists(table, ["file_name", "width", "height", "licence", "id", *_plain_columns("images")])
            licences = columns["licence"]
            columns["license"] = licences if licences is None else [self.licences.get(name) for name in licences]
            columns["own_id"], columns["id"] = columns["id"], ids[start : start + CHUNK]
            columns["source"] = _unless_prefix(columns["source"], columns["own_id"])
            columns["attributes"], tails = _split_attributes(table["attributes"], columns, CORE["images"])
            yield _lines(row_type, columns, tails)

    def _annotation_lines(self) -> Iterator[memoryview | bytes]:
        row_type = _renamed(AnnotationRow, self.keys["annotations"])
        coco_images = self.image_ids[self.owners]
        for start in range(0, self.annotations.num_rows, CHUNK):
            table = self.annotations.slice(start, CHUNK)
            columns = _lists(table, ["instance", "area", "score", "round"])
            for name in ("status", "origin", "source_label"):
                left_out = name == "source_label" and self.same_label
                written = not left_out and name in self.keys["annotations"]
                columns[name] = plain(table[name]).to_pylist() if written else None
            for name in ("ignore", "iscrowd"):
                columns[name] = pc.cast(table[name], pa.int8()).to_numpy().tolist()
            columns["id"] = self.annotation_ids[start : start + CHUNK].tolist()
            columns["image_id"] = coco_images[start : start + CHUNK].tolist()
            columns["category_id"] = _category_column(table["category"], self.category_ids)
            columns["bbox"] = _box_column(table)
            columns["own_id"] = _relative(table["id"], table["image_id"])
            parents = table["parent_id"]
            columns["parent_id"] = None if parents.null_count == len(parents) else _relative(parents, table["image_id"])
            columns["segmentation"], columns["polygons"] = _shapes(table, self.images)
            columns["attributes"], tails = _split_attributes(table["attributes"], columns, CORE["annotations"])
            yield _lines(row_type, columns, tails)


def _plain_columns(table: str) -> list[str]:
    return [column for column in OURS[table] if column not in ("own_id", "attributes")]


def _object(value: Any) -> dict[str, Any]:
    """``value`` if it is a JSON object, as the headers that an import keeps are; they may come from any file."""
    return value if isinstance(value, dict) else {}


def _kept(found: list[Any], what: str, own: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """COCO ids that a file had, if every row has one and none stands twice."""
    missing = [i for i, value in enumerate(found) if type(value) is not int or abs(value) >= 1 << 63]
    if missing or len(set(found)) != len(found):
        which = own[missing[0]].as_py() if missing else "several rows"
        raise UsageError(
            "--keep-ids",
            f"{what} {which!r} has no whole-number id of 64 bits of its own" if missing else f"{what} ids repeat",
            "expected a dataset imported from one COCO file",
            "leave --keep-ids out",
        )
    return np.array(found, np.int64)


def _keys(table: pa.Table, name: str, row_type: type[msgspec.Struct]) -> dict[str, str]:
    """Column -> JSON key, for the columns that hold anything to write.

    A column whose name some foreign key bears stands under ``curate_<name>``. The search is for the quoted name
    anywhere in the attributes, so a column may be renamed without need, but never left in a collision.
    """
    defaults = {field.name: field.default for field in msgspec.structs.fields(row_type)}
    held = [column for column in defaults if column in OURS[name] and column != "own_id"]
    held = ["own_id", *(column for column in held if _holds_anything(table[column], defaults[column]))]
    keys = {}
    for column in held:
        key = _KEYS.get(column, column)
        while _in_text(table["attributes"], f'"{key}":'):
            key = f"{_RENAME}{key}"
        keys[column] = key
    return keys


def _holds_anything(column: pa.ChunkedArray, default: Any) -> bool:
    """Whether a column has a value other than null and the row type's default."""
    if pa.types.is_boolean(column.type):
        return bool(pc.any(column).as_py())
    return bool(
        set(plain(column.unique()).to_pylist()) - {None, default}
        if pa.types.is_dictionary(column.type)
        else column.null_count < len(column)
    )


def _in_text(column: pa.ChunkedArray, text: str) -> bool:
    """Whether ``text`` stands anywhere in a text column, looked for in its buffers."""
    wanted = text.encode()
    buffers = [chunk.buffers()[2] for chunk in column.chunks]
    return any(buffer is not None and wanted in buffer.to_pybytes() for buffer in buffers)


def _renamed(row_type: type[msgspec.Struct], keys: dict[str, str]) -> type[msgspec.Struct]:
    """The row type with other JSON keys. Its rows are never part of a cycle, so the collector need not know them."""
    fields = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(row_type)
    ]
    rename = {column: key for column, key in keys.items() if column != key}
    return msgspec.defstruct(row_type.__name__, fields, omit_defaults=True, gc=False, rename=rename)


def _lists(table: pa.Table, names: Iterable[str]) -> dict[str, Any]:
    """Columns as lists; None for one that is null throughout."""
    return {
        name: None if table[name].null_count == table.num_rows else plain(table[name]).to_pylist() for name in names
    }


def _unless_prefix(sources: list[str], ids: list[str]) -> list[str | None] | None:
    """The source, where it is not the beginning of the id anyway."""
    kept = [None if own.startswith(source + "/") else source for source, own in zip(sources, ids, strict=True)]
    return kept if any(kept) else None


def _category_column(names: pa.ChunkedArray, ids: dict[str, int]) -> list[int | None]:
    array = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    # A dictionary may hold words that no row uses any more.
    words = [ids.get(word) for word in array.dictionary.to_pylist()]
    column = pc.take(pa.array(words, pa.int64()), array.indices)
    if column.null_count > array.null_count:
        row = pc.index(pc.and_(pc.is_null(column), pc.is_valid(array)), True).as_py()
        raise SchemaError(
            "table categories",
            f"has no row {array[row].as_py()!r}, which annotations use",
            "expected one for each category",
        )
    listed: list[int | None] = column.to_pylist()
    return listed


def _box_column(table: pa.Table) -> list[list[float] | None]:
    sides = [table[name].to_numpy() for name in "xywh"]
    boxes: list[list[float] | None] = np.column_stack(sides).tolist()
    if any(table[name].null_count for name in "xywh"):
        for i in np.flatnonzero(np.isnan(np.column_stack(sides)).any(axis=1)).tolist():
            boxes[i] = None
    return boxes


def _relative(ids: pa.ChunkedArray, owners: pa.ChunkedArray) -> list[str | None]:
    """Ids without their image's in front, where they begin with ``<image id>#``."""
    halves = pc.split_pattern(ids, "#", max_splits=1, reverse=True)
    if pc.all(pc.equal(pc.list_value_length(halves), 2)).as_py():
        begins = pc.equal(pc.list_element(halves, 0), owners)
        short = pc.binary_join_element_wise("#", pc.list_element(halves, 1), "")
        relative: list[str | None] = pc.if_else(begins, short, ids).to_pylist()
        return relative
    pairs = zip(ids.to_pylist(), owners.to_pylist(), strict=True)
    return [own[len(owner) :] if own is not None and own.startswith(f"{owner}#") else own for own, owner in pairs]


def _shapes(table: pa.Table, images: pa.Table) -> tuple[Any, Any]:
    """COCO's ``segmentation``, and ``polygons`` where COCO cannot say it: beside a mask, or with holes."""
    masks, polygons = table["segmentation"], table["polygons"]
    if masks.null_count == len(masks) and polygons.null_count == len(polygons):
        return None, None
    segmentation: list[Any] = masks.to_pylist()
    own: list[Any] = polygons.to_pylist()
    for i, (mask, parts) in enumerate(zip(segmentation, own, strict=True)):
        if mask is not None or parts is None:
            continue
        if all(len(part) == 1 for part in parts):
            segmentation[i], own[i] = [part[0] for part in parts], None
        else:
            row = images.filter(pc.equal(images["id"], table["image_id"][i]))
            width, height = row["width"][0].as_py(), row["height"][0].as_py()
            sound = width and height and not any(check_ring(ring, width, height) for part in parts for ring in part)
            if sound:  # others crash pycocotools; they stay polygons, as they were found
                segmentation[i] = msgspec.to_builtins(rle_from_polygons(parts, width, height))
    return segmentation, own if any(parts is not None for parts in own) else None


class _OnlyForeign(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    coco: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def _split_attributes(
    attributes: pa.ChunkedArray, columns: dict[str, Any], core: Iterable[str]
) -> tuple[Any, pa.Array | None]:
    """The part of ``attributes`` that is ours, and foreign keys as text to end a row with (``,"key":value``).

    A foreign value under one of COCO's ``core`` keys is written only where the column has no value of its own.
    """
    if attributes.null_count == len(attributes):
        return None, None
    texts = attributes.to_pylist()
    together = "[" + ",".join([text or "{}" for text in texts]) + "]"
    collides = any(f'"{key}":' in together for key in core)
    if not collides and '"coco":{}' not in together:
        try:
            msgspec.json.decode(together, type=list[_OnlyForeign])
        except msgspec.ValidationError:
            pass
        else:
            # The text is canonical, so what stands between {"coco":{ and }} can be copied.
            inner = pc.binary_slice(attributes.cast(pa.large_binary()), len(b'{"coco":{'), -len(b"}}"))
            tails = pc.binary_join_element_wise(_bytes(b","), inner, _bytes(b""))
            return None, pc.fill_null(tails, _bytes(b"")).combine_chunks()
    own: list[msgspec.Raw | None] = []
    ends: list[bytes] = []
    for i, row in enumerate(msgspec.json.decode(together, type=list[dict[str, msgspec.Raw]])):
        foreign = bytes(row.pop("coco", b"{}"))
        if collides:
            foreign = _without_ours(foreign, columns, i, core)
        own.append(msgspec.Raw(_encode.encode(row)) if row else None)
        ends.append(b"," + foreign[1:-1] if len(foreign) > 2 else b"")
    return own if any(own) else None, pa.array(ends, pa.large_binary()) if any(ends) else None


def _without_ours(foreign: bytes, columns: dict[str, Any], i: int, core: Iterable[str]) -> bytes:
    """Foreign keys less those for which the row has a value of its own."""
    keys = msgspec.json.decode(foreign, type=dict[str, msgspec.Raw])
    for key in core:
        column = columns.get(key)
        if key not in keys or column is None:
            continue
        if key in _STAND_INS and column[i] == _STAND_INS[key][0]:
            column[i] = _STAND_INS[key][1]
        elif column[i] is not None:
            del keys[key]
    return _encode.encode(keys)


def _bytes(value: bytes) -> pa.Scalar:
    return pa.scalar(value, pa.large_binary())


def _lines(row_type: Any, columns: dict[str, Any], tails: pa.Array | None) -> memoryview | bytes:
    """One JSON text per row, each with a comma and a line end after it."""
    n = len(columns["id"])
    defaults = {field.name: field.default for field in msgspec.structs.fields(row_type)}
    values = [
        columns[name] if columns.get(name) is not None else itertools.repeat(defaults[name], n)
        for name in row_type.__struct_fields__
    ]
    text = _encode.encode_lines(list(map(row_type, *values)))
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10) + 1
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    lines = pa.LargeBinaryArray.from_buffers(pa.large_binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(text)])
    bodies = pc.binary_slice(lines, 0, -len(b"}\n"))
    parts = [bodies] if tails is None else [bodies, tails]
    return memoryview(pc.binary_join_element_wise(*parts, _bytes(b"},\n"), _bytes(b"")).buffers()[2])


def _joined(chunks: Iterator[memoryview | bytes]) -> Iterator[memoryview | bytes]:
    """The chunks without the last one's comma and line end."""
    held: memoryview | bytes | None = None
    for chunk in chunks:
        if held is not None:
            yield held
        held = chunk
    if held is not None:
        yield held[: -len(b",\n")]
