"""S: required fields, their types and the schema version; and what can only be seen in COCO's rows as decoded.

Columns hold numbers and texts; that a number was given as ``true`` or ``"12"``, a box had five numbers or a polygon
was a list of pairs is gone once they are filled. So :func:`rows` looks at decoded rows, a whole column at a time: the
set of the types that occur in it tells at once that all is well, and only otherwise is the row looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.compute as pc

from curate.codes import Severity
from curate.dataset import arrow_schema
from curate.fingerprints import fingerprint
from curate.geometry import MAX_MASK_PIXELS
from curate.model import (
    SCHEMA_VERSION,
    TABLES,
    CategoryRole,
    CoverageState,
    Finding,
    Info,
    MemberRole,
    QueryKind,
    Relevance,
    Status,
    finding,
)
from curate.verify.subject import Subject, short

Json = dict[str, Any]
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
NUMBER = {int, float}
NONE = type(None)
_ABSENT = type(MISSING)

# The keys of COCO's object detection, keypoint and panoptic files.
_COCO_KEYS = {
    "top": {"info", "licenses", "images", "annotations", "categories", "curate"},
    "images": {"id", "file_name", "width", "height", "license", "flickr_url", "coco_url", "date_captured"},
    "annotations": {
        *("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"),
        *("keypoints", "num_keypoints", "caption", "segments_info", "file_name"),
    },
    "categories": {"id", "name", "supercategory", "keypoints", "skeleton", "isthing", "color"},
}


class Rows:
    """Some rows of a list in a COCO file: ``section[start:]``. Rows that are no objects are left empty."""

    def __init__(self, file: str, section: str, start: int, rows: list[Any]) -> None:
        self.file = file
        self.section = section
        self.start = start
        self.no_objects = (
            {i for i, row in enumerate(rows) if type(row) is not dict} if _types(rows) != {dict} else set()
        )
        self.rows: list[Json] = (
            [{} if i in self.no_objects else row for i, row in enumerate(rows)] if (self.no_objects) else rows
        )
        self._values: dict[str, list[Any]] = {}

    def values(self, key: str) -> list[Any]:
        """The values of ``key``, ``MISSING`` where a row has none."""
        if key not in self._values:
            self._values[key] = [row.get(key, MISSING) for row in self.rows]
        return self._values[key]

    def place(self, row: int, field: str) -> str:
        return f"{self.file}, {self.section}[{self.start + row}]" + (f".{field}" if field else "")

    def wrong(self, key: str, allowed: set[type]) -> Iterator[tuple[int, Any]]:
        """Rows whose value of ``key`` has another type than those ``allowed``."""
        values = self.values(key)
        if _types(values) <= allowed:
            return
        for i, value in enumerate(values):
            if type(value) not in allowed and i not in self.no_objects:
                yield i, value

    def finding(
        self, code: str, row: int, field: str, message: str, severity: Severity | None = None, hint: str | None = None
    ) -> Finding:
        item = self.rows[row].get("id")
        named = str(item) if type(item) in (int, str) else None
        return finding(code, self.place(row, field), message, item=named, severity=severity, hint=hint)

    @cached_property
    def keys(self) -> set[str]:
        return set().union(*self.rows)


def _types(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


def rows(chunk: Rows) -> Iterator[Finding]:
    """What is wrong with the fields of some rows of a COCO file."""
    for i in sorted(chunk.no_objects):
        yield chunk.finding("S01", i, "", "row is no object; expected a JSON object")
    yield from _ids(chunk, "id", required=True)
    if chunk.section == "images":
        yield from _text(chunk, "file_name")
        yield from _sizes(chunk)
    elif chunk.section == "categories":
        yield from _text(chunk, "name")
    elif chunk.section == "annotations":
        yield from _ids(chunk, "image_id", required=True)
        yield from _ids(chunk, "category_id", required=True)
        yield from _boxes(chunk)
        yield from _areas(chunk)
        yield from _crowds(chunk)
        yield from segmentations(chunk)


def _ids(chunk: Rows, key: str, *, required: bool) -> Iterator[Finding]:
    for i, value in chunk.wrong(key, {int}):
        if value is MISSING or value is None:
            if required:
                yield chunk.finding("S01", i, key, f"{key} is {_shown(value)}; expected a whole number")
        elif type(value) is bool or (type(value) is str and key != "id"):
            yield chunk.finding("S02", i, key, f"{key} is {short(value)}; expected a whole number")
        else:
            yield chunk.finding("R04", i, key, f"{key} is {short(value)}; expected a whole number")
    values = chunk.values(key)
    if key == "id" and _types(values) == {int} and min(values) >= 0:
        return
    for i, value in enumerate(values) if key == "id" else ():
        if type(value) is int and value < 0:
            yield chunk.finding("R04", i, key, f"{key} is {value}; expected a number from 0", "warning")


def _shown(value: Any) -> str:
    return "missing" if value is MISSING else "null" if value is None else short(value)


def _text(chunk: Rows, key: str) -> Iterator[Finding]:
    for i, value in chunk.wrong(key, {str}):
        severity: Severity | None = "warning" if value is None and key == "file_name" else None
        yield chunk.finding("S01", i, key, f"{key} is {_shown(value)}; expected text", severity)


def _sizes(chunk: Rows) -> Iterator[Finding]:
    for key in ("width", "height"):
        for i, value in chunk.wrong(key, {int}):
            if value is MISSING or value is None:
                text = f"{key} is {_shown(value)}; expected pixels, without which boxes cannot be checked"
                yield chunk.finding("S01", i, key, text, "warning")
            elif type(value) in (bool, str):
                yield chunk.finding("S02", i, key, f"{key} is {short(value)}; expected a number")
            elif type(value) is not float or not value.is_integer():
                yield chunk.finding("S01", i, key, f"{key} is {short(value)}; expected whole pixels")


def _boxes(chunk: Rows) -> Iterator[Finding]:
    values = chunk.values("bbox")
    if _types(values) == {list} and set(map(len, values)) == {4} and _types(chain.from_iterable(values)) <= NUMBER:
        return
    for i, value in enumerate(values):
        if i in chunk.no_objects:
            continue
        if value is MISSING or value is None or value == []:
            # A label of the whole image has none, and neither has an empty mask.
            row = chunk.rows[i]
            if row.get("area") or (row.get("segmentation") and type(row["segmentation"]) is list):
                yield chunk.finding("S01", i, "bbox", f"bbox is {_shown(value)}; expected [x, y, width, height]")
        elif type(value) is not list or len(value) != 4:
            yield chunk.finding("B01", i, "bbox", f"bbox is {short(value)}; expected four numbers")
        elif not _types(value) <= NUMBER:
            odd = next(j for j, number in enumerate(value) if type(number) not in NUMBER)
            code = "S02" if type(value[odd]) in (bool, str) else "B01"
            yield chunk.finding(code, i, f"bbox[{odd}]", f"bbox is {short(value)}; expected four numbers")


def _areas(chunk: Rows) -> Iterator[Finding]:
    for i, value in chunk.wrong("area", {*NUMBER, NONE, _ABSENT}):
        code = "S02" if type(value) in (bool, str) else "S01"
        yield chunk.finding(code, i, "area", f"area is {short(value)}; expected a number")


def _crowds(chunk: Rows) -> Iterator[Finding]:
    values = chunk.values("iscrowd")
    if _types(values) <= {int, NONE, _ABSENT} and set(values) <= {0, 1, None, MISSING}:
        return
    for i, value in enumerate(values):
        if type(value) in (bool, str):
            yield chunk.finding("S02", i, "iscrowd", f"iscrowd is {short(value)}; expected 0 or 1")
        elif value is not MISSING and value is not None and not (type(value) in NUMBER and value in (0, 1)):
            yield chunk.finding("M07", i, "iscrowd", f"iscrowd is {short(value)}; expected 0 or 1")


def segmentations(chunk: Rows, key: str = "segmentation") -> Iterator[Finding]:
    """Shapes that are neither a list of rings nor run lengths."""
    for i, value in enumerate(chunk.values(key)):
        fault = segmentation_fault(value)
        if fault:
            code, place, message = fault
            yield chunk.finding(code, i, key + place, message)
        elif type(value) is list and value and chunk.rows[i].get("iscrowd") == 1:
            yield chunk.finding(
                "M07",
                i,
                key,
                "a crowd has polygons; expected run lengths",
                "warning",
                "pycocotools takes no other crowd",
            )


def segmentation_fault(value: Any) -> tuple[str, str, str] | None:
    """What is wrong with the form of a segmentation as it was decoded: code, place in it, message.

    Whether the numbers make sense in the image's frame is seen later (``curate.verify.masks``).
    """
    if value is None or value is MISSING:
        return None
    if type(value) is list:
        return _rings_fault(value)
    if type(value) is not dict:
        return "M01", "", f"is {short(value)}; expected a list of rings, or run lengths"
    for name in ("size", "counts"):
        if name not in value:
            return "S01", "", f"run lengths without {name!r}; expected 'counts' and 'size'"
    size, counts = value["size"], value["counts"]
    if type(size) not in (list, tuple) or len(size) != 2 or _types(size) != {int}:
        return "S01", ".size", f"size is {short(size)}; expected [height, width]"
    if type(counts) in (str, bytes):
        return None
    if type(counts) not in (list, tuple):
        return "M04", ".counts", f"counts is {short(counts)}; expected run lengths"
    # A run beyond any mask could make a sum of 64 bits overflow. (Of masks that are too large by themselves, see M06.)
    most = MAX_MASK_PIXELS if size[0] * size[1] <= MAX_MASK_PIXELS else 1 << 62
    if counts and (_types(counts) != {int} or max(counts) > most or min(counts) < 0):
        odd = next(j for j, run in enumerate(counts) if type(run) is not int or not 0 <= run <= most)
        return "M04", f".counts[{odd}]", f"run is {short(counts[odd])}; expected a whole number from 0 to {most}"
    return None


def _rings_fault(rings: list[Any]) -> tuple[str, str, str] | None:
    if not rings:
        return None
    if not _types(rings) <= {list, tuple}:
        flat = _types(rings) <= NUMBER
        return (
            "M01",
            "",
            "is a flat list of numbers; expected a list of rings"
            if flat
            else (f"is {short(rings)}; expected a list of rings"),
        )
    for j, ring in enumerate(rings):
        kinds = _types(ring)
        if not kinds <= NUMBER:
            odd = next(value for value in ring if type(value) not in NUMBER)
            if type(odd) in (bool, str):
                return "S02", f"[{j}]", f"ring holds {short(odd)}; expected numbers"
            return "M01", f"[{j}]", f"ring holds {short(odd, 40)}; expected numbers [x0, y0, x1, y1, ...]"
        if len(ring) % 2:
            return "M01", f"[{j}]", f"ring of {len(ring)} numbers; expected pairs"
        if len(ring) < 6:
            pairs = len(rings) > 2 and all(len(other) == 2 for other in rings)
            hint = "points are nested in pairs" if pairs else f"ring of {len(ring) // 2} points"
            return "M01", "" if pairs else f"[{j}]", f"{hint}; expected [x0, y0, x1, y1, ...] of at least 3 points"
    return None


def unknown_keys(file: str, section: str, keys: set[str], own: Iterable[str] = ()) -> Iterator[Finding]:
    """S05: keys that COCO does not know, as one finding."""
    foreign = sorted(keys - _COCO_KEYS[section] - set(own))
    if foreign:
        listed = ", ".join(repr(key) for key in foreign[:10]) + (", ..." if len(foreign) > 10 else "")
        yield finding("S05", f"{file}, {section}", f"keys that COCO does not have ({len(foreign)}): {listed}")


# Columns of a dataset that hold one of a few words.
_WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("annotations", "status"): get_args(Status),
    ("categories", "role"): get_args(CategoryRole),
    ("coverage", "state"): get_args(CoverageState),
    ("queries", "kind"): get_args(QueryKind),
    ("judgements", "label"): get_args(Relevance),
    ("members", "role"): get_args(MemberRole),
}


def required_values(subject: Subject) -> Iterator[Finding]:
    """S01 in a dataset: a required value is null, or a word is none of those allowed."""
    if subject.kind != "dataset":
        return
    for name in subject.tables:
        table = subject.table(name)
        for field in arrow_schema(name):
            if field.nullable or field.name not in table.column_names or not table[field.name].null_count:
                continue
            for row in pc.indices_nonzero(pc.is_null(table[field.name])).to_pylist():
                yield finding("S01", subject.place(name, row, field.name), f"{field.name} is null; expected a value")
    for (name, column), allowed in _WORDS.items():
        words = subject.column(name, column)
        for word in pc.unique(words).to_pylist():
            if word is None or word in allowed:
                continue
            for row in np.flatnonzero(pc.equal(words, word).to_numpy()).tolist():
                text = f"{column} is {short(word)}; expected one of {', '.join(allowed)}"
                yield finding("S01", subject.place(name, row, column), text, item=subject.item(name, row))


def changed_tables(subject: Subject) -> Iterator[Finding]:
    """V01: a table that was read from a dataset folder is not what was written there."""
    dataset = subject.dataset
    for name in dataset.tables if dataset is not None else ():
        held = dataset.stored(name) if dataset is not None else None
        if held is not None and (found := fingerprint(held.table)) != held.fingerprint:
            text = f"rows have the fingerprint {found[:12]}...; expected {held.fingerprint[:12]}... as written"
            hint = "make the dataset again, or take the change in by importing it"
            yield finding("V01", f"table {name}", text, hint=hint)


def manifest(folder: Path, value: Any) -> Iterator[Finding]:
    """S and F01 for a dataset folder: what ``dataset.json`` says, and whether the table files are there."""
    file = folder / "dataset.json"
    if not isinstance(value, dict):
        yield finding("S01", file, f"is {short(value)}; expected an object")
        return
    yield from _version(file, value.get("schema_version", MISSING))
    tables = value.get("tables", MISSING)
    if not isinstance(tables, dict):
        yield finding("S01", f"{file}, tables", f"tables is {_shown(tables)}; expected an object")
        return
    known = {*Info.__struct_fields__, "schema_version", "fingerprint", "tables"}
    foreign = sorted(set(value) - known) + sorted(f"tables.{name}" for name in set(tables) - set(TABLES))
    if foreign:
        yield finding("S05", file, f"keys that this curate does not know: {', '.join(map(repr, foreign[:10]))}")
    for name, entry in tables.items():
        files = entry.get("files") if isinstance(entry, dict) else None
        if not isinstance(files, list) or _types(files) - {str}:
            yield finding("S01", f"{file}, tables.{name}", f"is {short(entry)}; expected rows, fingerprint and files")
            continue
        for part in files:
            yield from _table_file(folder, file, name, part)


def _version(file: Path, version: Any) -> Iterator[Finding]:
    where = f"{file}, schema_version"
    pattern = re.compile(r"(\d{1,6})\.(\d{1,6})")
    found = pattern.fullmatch(version) if isinstance(version, str) else None
    if not found:
        yield finding("S03", where, f"is {_shown(version)}; expected a version like {SCHEMA_VERSION!r}")
        return
    own = [int(part) for part in SCHEMA_VERSION.split(".")]
    given = [int(part) for part in found.groups()]
    if given[0] > own[0]:
        yield finding("S03", where, f"is {version}; this curate reads {SCHEMA_VERSION}", hint="upgrade curate")
    elif given[0] < own[0]:
        yield finding("S04", where, f"is {version}; this curate writes {SCHEMA_VERSION}")


def _table_file(folder: Path, file: Path, name: str, part: str) -> Iterator[Finding]:
    if Path(part).is_absolute() or ".." in Path(part).parts:
        yield finding(
            "P01", f"{file}, tables.{name}", f"file {short(part)} leaves the folder; expected a name inside it"
        )
        return
    path = folder / part
    if not path.is_file():
        yield finding("F01", path, "table file is missing", hint="make the dataset again")
        return
    with path.open("rb") as stream:
        head = stream.read(4)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 4))
        tail = stream.read(4)
    if head != b"PAR1":
        yield finding("F09", path, f"begins with {head.hex(' ') or 'nothing'}; expected a Parquet table")
    elif tail != b"PAR1" or size < 12:
        yield finding("F04", path, f"Parquet table is cut short ({size} bytes)", hint="make the dataset again")
