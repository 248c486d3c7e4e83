"""A COCO file as a subject: its rows decoded in chunks, checked as they are, and turned into columns.

The reader of ``curate.coco`` refuses or mends what is broken; this one takes everything as it stands, so that each
fault is seen at its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from curate.model import Finding, finding
from curate.verify import json_text, schema, text
from curate.verify.schema import MISSING, NUMBER, Rows
from curate.verify.subject import Subject, short

CHUNK = 8192
SOURCE = "coco"
MAX_SIDE = 1 << 31  # what a mask claims beyond this is cut: the product of two sides must fit 64 bits
RUNS_TYPE = pa.large_list(pa.int64())
RLE_TYPE = pa.struct([("size", pa.list_(pa.int64(), 2)), ("counts", pa.large_string())])
POLYGONS_TYPE = pa.large_list(pa.large_list(pa.large_list(pa.float64())))
_FIELDS = {"category": "category_id", "licence": "license", "x": "bbox"}
_SECTIONS = ("images", "annotations", "categories")


def load(path: Path, roots: Mapping[str, Path]) -> tuple[Subject | None, list[Finding]]:
    """Read a COCO file: its subject, or None where there is nothing to go on with; and what is wrong with its text and
    its fields (F, S, and of the other letters what columns cannot show)."""
    data, found = text.read(path)
    if not data:
        return None, found
    parts, more = json_text.parse(path, data)
    found += more
    if parts is None:
        return None, found
    if not {"images", "annotations"} & set(parts):
        found.append(
            finding("F09", path, f"is a JSON object {_described(parts)}; expected COCO's images and annotations")
        )
        return None, found
    reader = _Reader(str(path), found)
    reader.header(parts)
    tables = {name: reader.table(name, parts.get(name)) for name in _SECTIONS}
    reader.licences(tables["images"])

    def place(table: str, row: int, field: str) -> str:
        return f"{path}, {table}[{row}]" + (f".{_FIELDS.get(field, field)}" if field else "")

    return Subject("coco", tables, place, roots=roots, category_key="id"), found


def _described(parts: Mapping[str, Any]) -> str:
    if {"shapes", "imagePath"} <= set(parts):
        return "of labelme"
    if "type" in parts and bytes(parts["type"]) == b'"FeatureCollection"':
        return "of GeoJSON"
    return f"with the keys {', '.join(map(repr, sorted(parts)[:6]))}" if parts else "without any key"


class _Reader:
    """Collects findings while the parts of one file are decoded."""

    def __init__(self, file: str, found: list[Finding]) -> None:
        self.file = file
        self.found = found
        self.own: dict[str, set[str]] = {}
        self.declared_licences: list[Any] | None = None

    def header(self, parts: Mapping[str, msgspec.Raw]) -> None:
        """What stands beside the rows."""
        values = {}
        for name, part in parts.items():
            if name not in _SECTIONS:
                values[name], noticed = json_text.decode(bytes(part), f"{self.file}, {name}", 1)
                self.found += noticed
        self.found += schema.unknown_keys(self.file, "top", set(parts))
        ours = values.get("curate")
        columns = ours.get("columns") if isinstance(ours, dict) else None
        if isinstance(columns, dict):
            self.own = {name: set(keys.values()) for name, keys in columns.items() if isinstance(keys, dict)}
        licences = values.get("licenses")
        if isinstance(licences, list):
            self.declared_licences = [row.get("id") for row in licences if isinstance(row, dict)]
        for name in _SECTIONS:
            if name not in parts:
                lost = name == "categories" and "annotations" in parts
                self.notice("S01", name, f"{name!r} is missing; expected a list", None if lost else "warning")

    def notice(self, code: str, where: str, message: str, severity: Any = None) -> None:
        self.found.append(finding(code, f"{self.file}, {where}", message, severity=severity))

    def table(self, name: str, part: msgspec.Raw | None) -> pa.Table:
        """One list of rows as a table, its fields checked on the way."""
        keys: set[str] = set()
        tables = []
        for rows in self.chunks(name, part):
            self.found += schema.rows(rows)
            keys |= rows.keys
            tables.append(_COLUMNS[name](rows))
        self.found += schema.unknown_keys(self.file, name, keys, self.own.get(name, ()))
        return pa.concat_tables(tables) if tables else _COLUMNS[name](Rows(self.file, name, 0, []))

    def chunks(self, name: str, part: msgspec.Raw | None) -> Iterator[Rows]:
        if part is None:
            return
        try:
            raw = msgspec.json.decode(part, type=list[msgspec.Raw])
        except msgspec.DecodeError:
            self.notice(
                "S01", name, f"{name!r} is {short(bytes(part)[:40].decode('utf-8', 'replace'))}; expected a list"
            )
            return
        for start in range(0, len(raw), CHUNK):
            some = raw[start : start + CHUNK]
            rows, noticed = json_text.decode(b"[" + b",".join(some) + b"]", f"{self.file}, {name}[{start}:]", 1)
            self.found += noticed
            yield Rows(self.file, name, start, rows if isinstance(rows, list) else [None] * len(some))

    def licences(self, images: pa.Table) -> None:
        """R03: licences that are not declared, once per licence."""
        if self.declared_licences is None:
            return
        used = images["licence"].combine_chunks().drop_null()
        for value in sorted(set(used.unique().to_pylist()) - set(map(str, self.declared_licences))):
            rows = np.flatnonzero(images["licence"].to_numpy() == value)
            text_ = f"licence {value} of {len(rows)} images is not among the {len(self.declared_licences)} of the file"
            self.notice("R03", f"images[{rows[0]}].license", text_)


def _image_columns(rows: Rows) -> pa.Table:
    licences = [str(value) if type(value) is int else None for value in rows.values("license")]
    return pa.table(
        {
            "id": _integers(rows.values("id")),
            "source": pa.array([SOURCE] * len(rows.rows), pa.string()),
            "file_name": _texts(rows.values("file_name")),
            "width": _floats(rows.values("width")),
            "height": _floats(rows.values("height")),
            "licence": pa.array(licences, pa.string()),
        }
    )


def _annotation_columns(rows: Rows) -> pa.Table:
    n = len(rows.rows)
    boxes = _boxes(rows.values("bbox"))
    crowds = [value == 1 if type(value) in (int, bool) else False for value in rows.values("iscrowd")]
    return pa.table(
        {
            "id": _integers(rows.values("id")),
            "image_id": _integers(rows.values("image_id")),
            "category": _integers(rows.values("category_id")),
            **{name: pa.array(boxes[:, i], mask=np.isnan(boxes[:, i])) for i, name in enumerate("xywh")},
            "area": _floats(rows.values("area")),
            "iscrowd": pa.array(crowds, pa.bool_()),
            "status": pa.array(["truth"] * n, pa.string()),
            **_shapes(rows.values("segmentation")),
        }
    )


def _category_columns(rows: Rows) -> pa.Table:
    return pa.table(
        {
            "id": _integers(rows.values("id")),
            "name": _texts(rows.values("name")),
            "supercategory": _texts(rows.values("supercategory")),
        }
    )


_COLUMNS = {"images": _image_columns, "annotations": _annotation_columns, "categories": _category_columns}


def _integers(values: list[Any]) -> pa.Array:
    """Whole numbers; what was written as text or float, but is one, is taken as such."""
    if set(map(type, values)) <= {int}:
        try:
            return pa.array(values, pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            pass
    return pa.array([_integer(value) for value in values], pa.int64())


def _integer(value: Any) -> int | None:
    if type(value) is str:
        value = int(value) if re.fullmatch(r"-?[0-9]{1,19}", value) else None
    elif type(value) is float:
        value = int(value) if value.is_integer() else None
    return value if type(value) is int and abs(value) <= json_text.MAX_INTEGER else None


def _texts(values: list[Any]) -> pa.Array:
    return pa.array([value if type(value) is str else None for value in values], pa.string())


def _float(value: Any) -> float | None:
    if type(value) in NUMBER:
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def _floats(values: list[Any]) -> pa.Array:
    if set(map(type, values)) <= {int, float}:
        try:
            return pa.array(np.array(values, np.float64))
        except OverflowError:
            pass
    return pa.array([_float(value) for value in values], pa.float64())


def _boxes(values: list[Any]) -> np.ndarray[Any, Any]:
    """Boxes ``(n, 4)``; NaN for a row whose box is not four numbers."""
    if set(map(type, values)) == {list} and set(map(len, values)) == {4}:
        flat = list(chain.from_iterable(values))
        if set(map(type, flat)) <= NUMBER:
            try:
                return np.array(flat, np.float64).reshape(-1, 4)
            except OverflowError:
                pass
    boxes = np.full((len(values), 4), np.nan)
    for i, value in enumerate(values):
        if type(value) is list and len(value) == 4 and None not in (numbers := [_float(v) for v in value]):
            boxes[i] = numbers
    return boxes


def _shapes(values: list[Any]) -> dict[str, pa.Array]:
    """Segmentations that are well-formed, one column to a kind: compressed runs, plain runs with their size, rings."""
    n = len(values)
    texts: list[Any] = [None] * n
    sizes: list[Any] = [None] * n
    runs: list[Any] = [None] * n
    polygons: list[Any] = [None] * n
    if set(map(type, values)) - {type(MISSING), type(None)}:
        for i, value in enumerate(values):
            if not value or value is MISSING or schema.segmentation_fault(value):
                continue
            if type(value) is list:
                polygons[i] = [[_ring(ring)] for ring in value]
                continue
            sizes[i] = [max(-1, min(side, MAX_SIDE)) for side in value["size"]]
            if type(value["counts"]) is str:
                texts[i] = value["counts"]
            else:
                runs[i] = value["counts"]
    size_array = pa.array(sizes, pa.list_(pa.int64(), 2))
    return {
        "segmentation": pa.StructArray.from_arrays(
            [size_array, pa.array(texts, pa.large_string())],
            fields=list(RLE_TYPE),
            mask=pa.array([size is None for size in sizes], pa.bool_()),
        ),
        "runs": pa.array(runs, RUNS_TYPE),
        "polygons": pa.array(polygons, POLYGONS_TYPE),
    }


def _ring(ring: list[Any]) -> list[float]:
    try:
        return list(map(float, ring))
    except OverflowError:
        return [math.inf] * len(ring)
