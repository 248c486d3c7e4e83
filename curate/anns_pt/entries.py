"""One entry of ``anns.pt``, checked: its fields as typed values, whatever the file says."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from curate import geometry
from curate.model import Polygons, Rle

_FIELDS = {"bbox", "mask", "is_query", "ins", "set", "num_ins", "is_val", "obj_name"}
_NUMBERS = {int, float}
_LARGEST = 2**53
_FAR = 1 << 20  # frames of polygons are not known


class Malformed(Exception):  # noqa: N818 - an answer, caught by the reader
    """An entry that cannot be read: what was found and what was expected."""


class Runs(NamedTuple):
    """A mask as plain run lengths, background first, in a frame of ``height`` x ``width`` pixels."""

    counts: list[int]
    height: int
    width: int
    by_rows: bool


Mask = Runs | Rle | Polygons


class Object(NamedTuple):
    """A box with what stands beside it; ``wrong`` says why a mask could not be taken, as ``"M04 ..."``."""

    instance: str
    box: tuple[float, float, float, float] | None  # x, y, w, h
    mask: Mask | None
    kept: dict[str, Any]
    wrong: str | None = None


class Entry(NamedTuple):
    """An entry of the file."""

    is_query: bool
    set: str
    is_val: bool | None
    objects: list[Object]
    other: dict[str, Any]  # fields that the format does not know


def read_entry(value: Any) -> Entry:
    """The entry that a value holds.

    Raises:
        Malformed: a field is missing, of another type or not finite, or the parallel lists differ in length.
    """
    if type(value) is not dict:
        raise Malformed(f"entry is {_shown(value)} (A02)", "expected a dictionary")
    for field in ("bbox", "is_query", "ins", "set"):
        if field not in value:
            raise Malformed(f"{field!r} is missing (A02)", "expected bbox, is_query, ins and set")
    for field, kind in (("is_query", bool), ("set", str), ("is_val", bool)):
        if field in value and type(value[field]) is not kind:
            raise Malformed(f"{field} is {_shown(value[field])} (A02)", f"expected {kind.__name__}")
    if not value["set"] or "/" in value["set"]:
        raise Malformed(f"set is {_shown(value['set'])} (A06)", "expected a name like OWID")
    objects = _query(value) if value["is_query"] else _gallery(value)
    other = {key: field for key, field in value.items() if key not in _FIELDS}
    return Entry(value["is_query"], value["set"], value.get("is_val"), objects, other)


def _query(value: dict[str, Any]) -> list[Object]:
    box, mask = value["bbox"], value.get("mask")
    if type(box) in (list, tuple) and box and type(box[0]) in (list, tuple):
        raise Malformed(f"query with a list of {len(box)} boxes (A04)", "expected one box")
    if type(mask) in (list, tuple) and mask:
        raise Malformed(f"query with a list of {len(mask)} masks (A04)", "expected one mask")
    x1, y1, x2, y2 = _corners(box)
    instance = _instance(value["set"], value["ins"], value.get("obj_name"))
    read, wrong = _mask(mask)
    if isinstance(read, Runs):
        if read.counts == [read.width * read.height] and (x1, y1, x2, y2) == (0, 0, read.width, read.height):
            return [Object(instance, None, read, {})]
        read = _settled(read, (x1, y1, x2, y2))
    kept = {"bbox": [x1, y1, x2 - x1 + 1, y2 - y1 + 1]} if _inexact(box) else {}
    if wrong:
        kept["mask"] = _as_json(mask)
    return [Object(instance, (x1, y1, x2 - x1 + 1, y2 - y1 + 1), read, kept, wrong)]


def _gallery(value: dict[str, Any]) -> list[Object]:
    lists = {field: value.get(field, []) for field in ("bbox", "ins", "mask", "num_ins", "obj_name")}
    for field, held in lists.items():
        if type(held) is not list:
            raise Malformed(f"{field} is {_shown(held)} (A02)", "expected a list")
        optional = field not in ("bbox", "ins") and not held
        if not optional and len(held) != len(lists["bbox"]):
            raise Malformed(f"{len(lists['bbox'])} boxes, {len(held)} {field} (A03)", "expected lists of one length")
    objects = []
    for i, box in enumerate(lists["bbox"]):
        x1, y1, x2, y2 = _corners(box)
        kept: dict[str, Any] = {"bbox": [x1, y1, x2 - x1, y2 - y1]} if _inexact(box) else {}
        if lists["num_ins"]:
            if type(lists["num_ins"][i]) is not int:
                raise Malformed(f"num_ins is {_shown(lists['num_ins'][i])} (A02)", "expected a whole number")
            kept["num_ins"] = lists["num_ins"][i]
        mask, wrong = _mask(lists["mask"][i]) if lists["mask"] else (None, None)
        if wrong:
            kept["mask"] = _as_json(lists["mask"][i])
        instance = _instance(value["set"], lists["ins"][i], lists["obj_name"][i] if lists["obj_name"] else None)
        objects.append(Object(instance, (x1, y1, x2 - x1, y2 - y1), mask, kept, wrong))
    return objects


def _instance(of: str, number: Any, name: Any) -> str:
    if type(number) is not int or abs(number) > _LARGEST:
        raise Malformed(f"ins is {_shown(number)} (A02)", "expected a whole number")
    return name if type(name) is str and name else f"{of}/{number}"


def _corners(box: Any) -> tuple[Any, Any, Any, Any]:
    if type(box) not in (list, tuple) or len(box) != 4 or not {type(v) for v in box} <= _NUMBERS:
        raise Malformed(f"box is {_shown(box)} (A02)", "expected four numbers x1, y1, x2, y2")
    if not all(abs(v) <= _LARGEST for v in box):  # nor is NaN
        raise Malformed(f"box is {_shown(box)} (A05)", "expected finite numbers")
    x1, y1, x2, y2 = box
    if x2 < x1 or y2 < y1:
        raise Malformed(f"box is {_shown(box)} (A05)", "expected x1, y1, x2, y2 in this order")
    return x1, y1, x2, y2


def _inexact(box: Any) -> bool:
    return not {type(v) for v in box} <= {int}


def _mask(value: Any) -> tuple[Mask | None, str | None]:
    """The mask that a value holds; or none, and what is wrong with it (``"M04 ..."``)."""
    if value is None or (type(value) in (list, tuple) and not value):
        return None, None
    if type(value) is list:
        return _polygons(value)
    held: dict[str, Any] = value if type(value) is dict else {}
    size, counts = held.get("size", ()), held.get("counts")
    if type(size) not in (list, tuple) or [type(v) for v in size] != [int, int]:
        raise Malformed(f"mask is {_shown(value)} (A02)", "expected run lengths with counts and size")
    height, width = size
    if isinstance(counts, str | bytes):
        rle = Rle((height, width), counts if isinstance(counts, str) else counts.decode("latin-1"))
        wrong = geometry.check_rle(rle)
        return (None, wrong) if wrong else (rle, None)
    if type(counts) is not list:
        raise Malformed(f"mask is {_shown(value)} (A02)", "expected run lengths with counts and size")
    wrong = geometry.check_counts(counts, width, height)
    if wrong:
        return None, wrong
    if held.get("transpose"):  # fill size by rows, then turn: the picture has the sizes exchanged and runs by columns
        return Runs(counts, width, height, by_rows=False), None
    return Runs(counts, height, width, by_rows=held.get("transpose") is False), None


def _polygons(rings: list[Any]) -> tuple[Polygons | None, str | None]:
    for ring in rings:
        wrong = geometry.check_ring(ring, _FAR, _FAR) if type(ring) is list else f"M01 ring is {_shown(ring)}"
        if wrong:
            return None, wrong
    return [[[float(v) for v in ring]] for ring in rings], None


def _as_json(value: Any) -> Any:
    """``value`` as JSON can hold it, so that it can be kept beside the columns."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, msgspec.MsgspecError):
        return repr(value)[:1000]


def _settled(mask: Runs, box: tuple[Any, Any, Any, Any]) -> Runs:
    """A query's mask, with the leading 0 if the box says that upstream left it out; if both fit, as it stands."""
    if box[:2] != (0, 0) or not mask.counts or mask.counts[0] == 0:
        return mask
    turned = mask._replace(counts=[0, *mask.counts])
    return turned if _bounds(turned) == box != _bounds(mask) else mask


def _bounds(mask: Runs) -> tuple[int, int, int, int]:
    """First and last column and row of the foreground: ``x1, y1, x2, y2``, the last pixel inside."""
    width, height = (mask.height, mask.width) if mask.by_rows else (mask.width, mask.height)
    x, y, w, h = map(int, geometry.rle_bounds(geometry.rle_from_counts(mask.counts, width, height)))
    return (y, x, y + h - 1, x + w - 1) if mask.by_rows else (x, y, x + w - 1, y + h - 1)


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if type(value) in (dict, list, tuple) and len(value) > 4 else repr(value)[:80]
