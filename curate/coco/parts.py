"""A COCO JSON file taken apart: its lists of rows, not yet decoded, its foreign keys, and what curate wrote there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from curate.coco.rows import Header
from curate.dataset import arrow_schema, conform
from curate.errors import SchemaError, SourceError
from curate.model import SCHEMA_VERSION
from curate.regular import read_regular

_LARGEST_FILE = 4 << 30


def read_parts(file: Path) -> dict[str, msgspec.Raw]:
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


def own_header(file: Path, raw: msgspec.Raw | None) -> Header | None:
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


def foreign_value(file: Path, key: str, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}, {key}", f"is not UTF-8 text ({error.reason})", "expected JSON in UTF-8") from error


def list_rows(file: Path, raw: msgspec.Raw | None, name: str) -> list[msgspec.Raw]:
    if raw is None:
        return []
    try:
        return msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        raise SourceError(f"{file}, {name}", "is no list", "expected a list of objects") from None


def extra_table(file: Path, name: str, columns: Mapping[str, list[Any]]) -> pa.Table:
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
