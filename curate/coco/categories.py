"""COCO's categories and licences: what their ids stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa

from curate.coco.columns import Door
from curate.coco.rows import OURS
from curate.dataset import table_of
from curate.errors import SourceError
from curate.model import Category


def licence_names(foreign: Mapping[str, Any]) -> dict[Any, str]:
    """COCO's licence ids -> names, where both are unique."""
    given = foreign.get("licenses")
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    pairs = [(row["id"], row["name"]) for row in rows if type(row.get("id")) is int and type(row.get("name")) is str]
    return dict(pairs) if len({i for i, _ in pairs}) == len({n for _, n in pairs}) == len(pairs) else {}


def read_categories(door: Door, raw: list[msgspec.Raw]) -> tuple[pa.Table, dict[Any, str], dict[str, Any]]:
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
