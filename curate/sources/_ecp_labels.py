"""The label files of EuroCity Persons: frames, their entities as rows, and the table of identities."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct, field

from curate.errors import SourceError
from curate.geometry import Box, box_from_corners
from curate.model import Annotation, CoverageState, Finding, Item, finding
from curate.sources import label_table
from curate.sources._coco_parts import Pixels
from curate.sources._files import decode_json, read_bytes, read_json

# What a tag says: "occluded>40" is a measure, the others are marks.
_MEASURES = {f"{what}>{percent}": (what, percent) for what in ("occluded", "truncated") for percent in (10, 40, 80)}
_MARKS = {"sitting-lying", "skating", "behind-glass", "depiction", "unsure-orientation", "unsure_orientation"}
_KNOWN_TAGS = {*_MARKS, *_MEASURES}
_NOT_EVALUATED = {"sitting-lying", "behind-glass"}


_Degrees = Pixels  # numbers within the same wide bounds


class _Entity(Struct, frozen=True):
    """One child of a frame, or of a rider."""

    identity: str | None
    x0: Pixels
    y0: Pixels
    x1: Pixels
    y1: Pixels
    tags: list[str] | None = None
    orient: _Degrees | None = None
    orient_capital: _Degrees | None = field(name="Orient", default=None)
    children: list[_Entity] | None = None
    score: Any = None  # stands in results of a detector, never in labels


class Frame(Struct, frozen=True):
    """The content of a label file: the size that it was made for, its entities, and tags of the whole image."""

    imagewidth: int
    imageheight: int
    children: list[_Entity]
    tags: list[str] | None = None
    identity: str | None = None


class _Top(Struct, frozen=True):
    identity: str | None = None
    converter: Any = field(name="@converter", default=None)
    children: Raw = Raw(b"null")


class _Wrapped(Struct, frozen=True):
    children: Raw


_raw = msgspec.json.Decoder(Raw)
_top = msgspec.json.Decoder(_Top)
_wrapped = msgspec.json.Decoder(_Wrapped)
_list = msgspec.json.Decoder(list[Raw])
_frame = msgspec.json.Decoder(Frame)


def read_frame(path: Path) -> tuple[Frame, str]:
    """The frame of a label file, and its place in the file: "" or that inside a wrapper, as ``children.children.``.

    Raises:
        SourceError: the file is unreadable or malformed, or holds no frame.
    """
    try:
        frame = _frame.decode(read_bytes(path))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _unwrapped(path)
    return (frame, "") if frame.identity == "frame" else _unwrapped(path)


def _unwrapped(path: Path) -> tuple[Frame, str]:
    """The frame of a file that is not plainly one: of a wrapper, or the error that says what is wrong."""
    data, place = read_json(path, _raw), ""
    top = decode_json(data, _top, path)
    if top.identity != "frame" and top.converter is not None:
        for _ in range(2):
            data = decode_json(data, _wrapped, path, place).children
            place += ".children"
            inner = decode_json(data, _list, path, place)
            if len(inner) != 1:
                raise SourceError(f"{path}, {place[1:]}", f"{len(inner)} entries", "expected one frame")
            data, place = inner[0], f"{place}[0]"
        top = decode_json(data, _top, path, place)
    elif top.identity == "seqlist":
        for _ in range(2):
            data = decode_json(data, _wrapped, path, place).children
            place += ".children"
        top = decode_json(data, _top, path, place)
    if top.identity != "frame":
        where = f"{path}, {place[1:]}" if place else path
        raise SourceError(where, f"identity is {top.identity!r}", "expected 'frame'", "is it a label file of ECP?")
    return decode_json(data, _frame, path, place), f"{place[1:]}." if place else ""


class _Found(NamedTuple):
    """An entity with what names it: the end of its row's id, its parent's row, its place in the file."""

    suffix: str
    parent: str | None
    place: str
    entity: _Entity


def objects(children: list[_Entity], item: Item, place: str) -> tuple[list[Annotation], list[Finding]]:
    """The rows of all entities, riders before what they ride, and what is odd about them; ``place`` is the list's.

    Raises:
        SourceError: corners are flipped, or the file holds a detector's results.
    """
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    waiting = [_Found(f"{i:04d}", None, f"{place}[{i}]", entity) for i, entity in enumerate(children)][::-1]
    while waiting:
        found = waiting.pop()
        tags = _tags(found.entity)
        row = _annotation(found, tags, item)
        rows.append(row)
        if found.entity.identity is None or (tags and not _KNOWN_TAGS.issuperset(tags)):
            noticed += _odd(found, tags, item)
        if found.entity.children:
            inner = enumerate(found.entity.children)
            waiting += [
                _Found(f"{found.suffix}.{i}", row.id, f"{found.place}.children[{i}]", entity) for i, entity in inner
            ][::-1]
    return rows, noticed


def _annotation(found: _Found, tags: list[str], item: Item) -> Annotation:
    entity = found.entity
    x, y, w, h = _box(found, item)
    name = entity.identity.strip() if entity.identity is not None else None
    label = labels().get(name or "")
    return Annotation(
        id=f"{item.id}#{found.suffix}",
        image_id=item.id,
        parent_id=found.parent,
        category=name,
        source_label=entity.identity,
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
        iscrowd=bool(label and label.group),
        ignore=bool(label and label.ignore),
        attributes={"ecp": _attributes(entity, name, tags)},
    )


def _box(found: _Found, item: Item) -> Box:
    entity = found.entity
    if entity.score is not None:
        where = f"{item.root / str(item.label)}, {found.place}"
        raise SourceError(where, "has a score", "expected labels", "is it a detector's result file?")
    if entity.x1 < entity.x0 or entity.y1 < entity.y0:
        where = f"{item.root / str(item.label)}, {found.place}"
        corners = f"({entity.x0:g}, {entity.y0:g}) to ({entity.x1:g}, {entity.y1:g})"
        raise SourceError(where, f"box {corners} has flipped corners", "expected x0 <= x1 and y0 <= y1")
    return box_from_corners(entity.x0, entity.y0, entity.x1, entity.y1)


def _attributes(entity: _Entity, name: str | None, tags: list[str]) -> dict[str, Any]:
    """What is kept of an entity beyond its box: as found, and what its tags and children say to the evaluation."""
    orient = entity.orient if entity.orient_capital is None else entity.orient_capital
    known: dict[str, Any] = {} if entity.tags is None else {"tags": entity.tags}
    if orient is not None:
        known["orient"] = orient
    for tag in tags:
        if tag in _MEASURES:
            what, percent = _MEASURES[tag]
            known[what] = max(percent, known.get(what, 0))
    if tags and name == "pedestrian" and not _NOT_EVALUATED.isdisjoint(tags):
        known["ignore_in_eval"] = True
    if name == "person-group-far-away" and "depiction" in tags:
        known["dropped_in_eval"] = True
    if entity.children:
        every = [entity, *entity.children]
        left, top = min(one.x0 for one in every), min(one.y0 for one in every)
        right, bottom = max(one.x1 for one in every), max(one.y1 for one in every)
        known["box_with_vehicle"] = [left, top, right - left, bottom - top]
    return known


def _tags(entity: _Entity) -> list[str]:
    """The tags without blanks (the documentation prints some with a stray one)."""
    return ["".join(tag.split()) for tag in entity.tags if tag.strip()] if entity.tags else []


def _odd(found: _Found, tags: list[str], item: Item) -> Iterator[Finding]:
    where = f"{item.label}, {found.place}"
    if found.entity.identity is None:
        yield finding("N05", where, "identity is null; kept without a class", item=item.id)
    for tag in tags:
        if tag not in _KNOWN_TAGS:
            yield finding("N05", where, f"tag {tag!r} is not documented; kept as found", item=item.id)


class Label(NamedTuple):
    """One row of the label table."""

    name: str
    role: str
    ignore: bool  # a region that the evaluation passes over
    group: bool  # riderless vehicles, one or several
    coverage: CoverageState | None


@cache
def labels() -> dict[str, Label]:
    """The label table by name. A rider may come without the vehicle, so ridden vehicles are covered in part only."""
    table = {}
    for row in label_table("ecp"):
        name, role = row["identity"], row["role"]
        if name == "(null)":
            continue
        ignore = role.startswith("ignore region")
        coverage: CoverageState | None = None if ignore else "exhaustive" if row["level"] == "top" else "partial"
        if role.endswith("unverified"):
            coverage = None
        table[name] = Label(name, role, ignore, name.endswith("-group"), coverage)
    return table
