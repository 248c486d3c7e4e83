"""Mend what can be mended without a decision, and say of every change what it was and why.

Boxes are clipped, turned the right way round or taken from their masks, areas counted anew, what shows nothing or
stands twice is dropped, links to rows that are gone are cut, files found under another case, queries kept out of the
gallery. The box that was given is kept under ``attributes.repair.box``. All else is left as it is, for
:func:`curate.verify.verify` to list.

Repairs go round until none finds anything to do, so that repairing again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, flags, json_text, plain, positions, table_of
from curate.geometry import clip_box, rle_area, rle_from_polygons
from curate.model import Command, Coverage, Finding, Step, finding
from curate.verify import boxes, images, masks, queries, references, shapes, splits
from curate.verify.paths import path_fault
from curate.verify.subject import Subject, of_dataset

VERB = "verify --repair"
ORIGIN = "repair"
_ROUNDS = 10
Tables = dict[str, pa.Table]


class Repaired(NamedTuple):
    """The dataset and every change; these are its problems too."""

    dataset: Dataset
    changes: tuple[Finding, ...]


class _Change(NamedTuple):
    """Tables that are other than before, and what was done."""

    tables: Tables
    done: list[Finding]


@np.errstate(all="ignore")  # NaN and infinities are what is mended
def repair(dataset: Dataset, *, roots: Mapping[str, Path | str] | None = None) -> Repaired:
    """``dataset`` with all repairs made.

    Args:
        roots: folders of images by source, which win over those that the dataset names.
    """
    folders = {source: Path(root) for source, root in {**dataset.info.roots, **(roots or {})}.items()}
    mended, done = dataset, list[Finding]()
    for _ in range(_ROUNDS):
        before = len(done)
        for one in _REPAIRS:
            change = one(of_dataset(mended, folders))
            if change.done:
                mended = mended.replace(**change.tables)
                done += change.done
        if len(done) == before:
            break
    counts: dict[str, int] = {}
    for made in done:
        counts[made.code] = counts.get(made.code, 0) + 1
    command = Command(verb=VERB, steps=(Step(what="changes", counts=dict(sorted(counts.items()))),))
    info = dataset.child(dataset.info.name, command=command)
    return Repaired(mended.replace(info=info, problems=done), tuple(done))


def _change(code: str, table: str, item: str | None, message: str) -> Finding:
    return finding(code, f"{table}, row {item}", message, item=item, severity="info")


def _items(found: Iterable[Finding]) -> dict[str, None]:
    return dict.fromkeys(one.item for one in found if one.item is not None)


def _without(table: pa.Table, rows: Iterable[int]) -> pa.Table:
    keep = np.ones(table.num_rows, bool)
    keep[list(rows)] = False
    return table.filter(pa.array(keep))


def _put(table: pa.Table, values: Mapping[str, Mapping[int, Any]]) -> pa.Table:
    """``table`` with other values in some rows of some columns."""
    for name, of_row in values.items():
        at = table.schema.get_field_index(name)
        kind = table.schema.field(at).type
        rows = sorted(of_row)
        if pa.types.is_struct(kind) or pa.types.is_dictionary(kind):
            column = plain(table[name]).to_pylist()
            for row in rows:
                column[row] = of_row[row]
            fresh = pa.array(column, pa.string() if pa.types.is_dictionary(kind) else kind)
            fresh = fresh.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else fresh
        else:
            mask = np.zeros(table.num_rows, bool)
            mask[rows] = True
            held = table[name].combine_chunks()
            fresh = pc.replace_with_mask(held, pa.array(mask), pa.array([of_row[row] for row in rows], kind))
        table = table.set_column(at, table.schema.field(at), fresh)
    return table


# ------------------------------------------------------------------------------------------------------- annotations


def _rows(subject: Subject, items: Iterable[str]) -> list[int]:
    wanted = pa.array(list(items), pa.string())
    found: list[int] = positions(wanted, subject.table("annotations")["id"]).tolist()
    return found


def _turned(subject: Subject) -> _Change:
    """B02: corners the right way round."""
    held, new = subject.boxes, {}
    for row in _rows(subject, _items(boxes.negative(subject))):
        x, y, w, h = (float(side[row]) for side in held[:4])
        if np.isfinite([x, y, w, h]).all():
            new[row] = (min(x, x + w), min(y, y + h), abs(w), abs(h))
    return _boxes(subject, "B02", new, "corners put in order")


def _from_corners(subject: Subject) -> _Change:
    """B06: files of corners, told by nearly all of their boxes."""
    held = subject.boxes
    rows = np.flatnonzero(boxes.corner_files(subject)).tolist()
    new = {
        row: (
            float(held.x[row]),
            float(held.y[row]),
            float(held.w[row] - held.x[row]),
            float(held.h[row] - held.y[row]),
        )
        for row in rows
    }
    return _boxes(subject, "B06", new, "width and height taken from corners")


def _from_masks(subject: Subject) -> _Change:
    """B01 and B08: the box of the mask, where there is none or another."""
    found, changes = shapes.of(subject), []
    for code, rule in (("B01", boxes.not_finite), ("B08", boxes.against_mask)):
        new = {}
        for row in _rows(subject, _items(rule(subject))):
            sides = found.left[row], found.top[row], found.right[row], found.bottom[row]
            if found.area[row] > 0 and np.isfinite(sides).all():
                left, top, right, bottom = map(float, sides)
                new[row] = (left, top, right - left, bottom - top)
        changes.append(_boxes(subject, code, new, "box taken from the mask"))
    # An annotation has one of the two faults: the second change is made in the next round.
    return next((change for change in changes if change.done), changes[0])


def _clipped(subject: Subject) -> _Change:
    """B04: the part of a box that lies in its frame."""
    held = subject.boxes
    new = {
        row: clip_box(
            (float(held.x[row]), float(held.y[row]), float(held.w[row]), float(held.h[row])),
            float(held.width[row]),
            float(held.height[row]),
        )
        for row in _rows(subject, _items(boxes.partly_outside(subject)))
    }
    return _boxes(subject, "B04", new, "box clipped to the frame")


def _boxes(subject: Subject, code: str, new: Mapping[int, tuple[float, float, float, float]], why: str) -> _Change:
    """Boxes exchanged; the one that was given first is kept under ``attributes.repair.box``."""
    table, held = subject.table("annotations"), subject.boxes
    values: dict[str, dict[int, Any]] = {name: {} for name in (*"xywh", "attributes")}
    done = []
    for row, box in sorted(new.items()):
        given = [None if np.isnan(side[row]) else float(side[row]) for side in held[:4]]
        attributes = json.loads(table["attributes"][row].as_py() or "{}")
        about = attributes.setdefault(ORIGIN, {})
        if isinstance(about, dict):
            about.setdefault("box", given)
        values["attributes"][row] = json_text(attributes)
        for name, side in zip("xywh", box, strict=True):
            values[name][row] = side
        was, now = (", ".join("null" if v is None else f"{v:g}" for v in one) for one in (given, box))
        done.append(_change(code, "annotations", subject.item("annotations", row), f"{why}: [{was}] is now [{now}]"))
    return _Change({"annotations": _put(table, values)} if done else {}, done)


def _areas(subject: Subject) -> _Change:
    """B09: the area of the mask or polygon."""
    found, stored = shapes.of(subject), subject.numbers("annotations", "area")
    new = {row: float(found.area[row]) for row in _rows(subject, _items(boxes.stored_area(subject)))}
    done = [
        _change("B09", "annotations", subject.item("annotations", row), f"area {stored[row]:g} is now {area:g}")
        for row, area in sorted(new.items())
    ]
    table = subject.table("annotations")
    return _Change({"annotations": _put(table, {"area": new})} if done else {}, done)


def _crowds(subject: Subject) -> _Change:
    """M07: run lengths of crowds that have polygons only."""
    found, held, new = shapes.of(subject), subject.boxes, {}
    table = subject.table("annotations")
    broken = {row for row, _ in found.faults}
    for row in _rows(subject, _items(masks.crowd_outlines(subject))):
        width, height = held.width[row], held.height[row]
        if row not in broken and 0 < width * height <= _FRAME:
            rle = rle_from_polygons(table["polygons"][row].as_py(), int(width), int(height))
            if rle_area(rle):  # what lies outside of the frame would give an empty mask
                new[row] = {"size": list(rle.size), "counts": rle.counts}
    done = [
        _change("M07", "annotations", subject.item("annotations", row), "run lengths painted from the polygons")
        for row in sorted(new)
    ]
    return _Change({"annotations": _put(table, {"segmentation": new})} if done else {}, done)


_FRAME = 10**9


def _empty_masks(subject: Subject) -> _Change:
    """M09: masks without a pixel, of which the box is kept."""
    new: dict[int, Any] = dict.fromkeys(_rows(subject, _items(masks.empty(subject))))
    done = [
        _change("M09", "annotations", subject.item("annotations", row), "empty mask dropped, its box kept")
        for row in sorted(new)
    ]
    table = subject.table("annotations")
    return _Change({"annotations": _put(table, {"segmentation": new})} if done else {}, done)


def _nothing_to_see(subject: Subject) -> _Change:
    """B03, B05 and R02: annotations without area, outside of their frame, or of no image."""
    table, why = subject.table("annotations"), {}
    shown = shapes.of(subject).area > 0
    for code, text, rule in (
        ("B03", "box without area: dropped", boxes.no_area),
        ("B05", "box outside the frame: dropped", boxes.wholly_outside),
    ):
        for row in _rows(subject, _items(rule(subject))):
            if not shown[row]:  # else the mask says where it is
                why[row] = (code, text)
    for row in np.flatnonzero(subject.image_index < 0).tolist():
        why.setdefault(row, ("R02", f"image {table['image_id'][row].as_py()} is not there: dropped"))
    done = [
        _change(code, "annotations", subject.item("annotations", row), text)
        for row, (code, text) in sorted(why.items())
    ]
    if not done:
        return _Change({}, [])
    tables = {"annotations": _without(table, why)}
    return _Change(tables | _unproved(subject, sorted(why)), done)


def _unproved(subject: Subject, rows: list[int]) -> Tables:
    """Coverage of images that lost their only truth of a class: they are no negatives of it, ``partial``."""
    table = subject.table("annotations")
    image, category = plain(table["image_id"]).to_pylist(), plain(table["category"]).to_pylist()
    gone, truth = set(rows), subject.truth
    left = {(image[row], category[row]) for row in np.flatnonzero(truth).tolist() if row not in gone}
    lost = {(image[row], category[row]) for row in rows if truth[row] and subject.image_index[row] >= 0}
    held = subject.table("coverage")
    stated = set(zip(plain(held["scope"]).to_pylist(), plain(held["category"]).to_pylist(), strict=True))
    pairs = sorted((scope, name) for scope, name in lost - left if name is not None and (scope, name) not in stated)
    if not held.num_rows or not pairs:
        return {}  # where nothing is said to be exhaustive, nothing is a negative
    new = table_of("coverage", [Coverage(scope=s, category=c, state="partial", origin=ORIGIN) for s, c in pairs])
    return {"coverage": pa.concat_tables([held.unify_dictionaries(), new]).unify_dictionaries()}


def _twice(subject: Subject) -> _Change:
    """R09: the later of two annotations alike; what refers to it refers to the earlier one."""
    found = list(references.alike_annotations(subject))
    kept = {one.item: one.message.rpartition("annotation ")[2].partition(", of")[0] for one in found if one.item}
    if not kept:
        return _Change({}, [])
    final = {item: _end(item, kept) for item in kept}
    table = _without(subject.table("annotations"), _rows(subject, kept))
    tables = {"annotations": _linked(table, "parent_id", final)}
    for name in ("queries", "support", "judgements"):
        if subject.table(name).num_rows:
            tables[name] = _distinct(name, _linked(subject.table(name), "annotation_id", final))
    done = [
        _change(
            "R09", "annotations", item, f"stands twice: dropped, {final[item]} kept and what refers to it re-linked"
        )
        for item in kept
    ]
    return _Change(tables, done)


def _end(item: str, kept: Mapping[str, str]) -> str:
    while item in kept:
        item = kept[item]
    return item


def _linked(table: pa.Table, column: str, new: Mapping[str, str]) -> pa.Table:
    held = plain(table[column]).to_pylist()
    rows = {row: new[value] for row, value in enumerate(held) if value in new}
    return _put(table, {column: rows}) if rows else table


def _distinct(name: str, table: pa.Table) -> pa.Table:
    """Judgements of which several became one."""
    if name != "judgements":
        return table
    keys = list(
        zip(*(plain(table[column]).to_pylist() for column in ("query_id", "image_id", "annotation_id")), strict=True)
    )
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    return table.take(pa.array(sorted(first.values())))


# -------------------------------------------------------------------------------------------------- links and queries


def _rows_of_no_image(subject: Subject) -> _Change:
    """R02 and R03: members, judgements and examples of images or queries that are not there."""
    tables: Tables = {}
    done = []
    for name in ("members", "judgements", "support"):
        table = subject.table(name)
        if not table.num_rows:
            continue
        lost: dict[int, str] = {}
        for column, target, code in (("query_id", "queries", "R03"), ("image_id", "images", "R02")):
            if column in table.column_names:
                known = positions(table[column], subject.column(target, "id")) >= 0
                missing = np.flatnonzero(~known & table[column].is_valid().to_numpy()).tolist()
                lost |= dict.fromkeys(missing, code)
        for row, code in sorted(lost.items()):
            text = "refers to a query or image that is not there: dropped"
            done.append(_change(code, name, subject.item(name, row), text))
        if lost:
            tables[name] = _without(table, lost)
    return _Change(tables, done)


def _links(subject: Subject) -> _Change:
    """R03: links to annotations that are not there."""
    tables: Tables = {}
    done = []
    known = subject.column("annotations", "id")
    for name, column in (
        ("annotations", "parent_id"),
        *((n, "annotation_id") for n in ("queries", "support", "judgements")),
    ):
        table = subject.table(name)
        if not table.num_rows:
            continue
        lost = (positions(table[column], known) < 0) & table[column].is_valid().to_numpy()
        rows = np.flatnonzero(lost).tolist()
        for row in rows:
            text = f"{column} {table[column][row].as_py()} is not there: link cut"
            done.append(_change("R03", name, subject.item(name, row), text))
        if rows:
            tables[name] = _distinct(name, _put(table, {column: dict.fromkeys(rows)}))
    return _Change(tables, done)


def _gallery(subject: Subject) -> _Change:
    """Q01 and Q08: images of queries and support sets taken out of the gallery."""
    out = dict.fromkeys(_items(splits.support_in_gallery(subject)), "Q08")
    out |= {
        item: "Q01"
        for rule in (queries.query_in_gallery, queries.query_copy_in_gallery)
        for item in _items(rule(subject))
    }
    members = subject.table("members")
    searched = flags(pc.is_in(plain(members["role"]), value_set=pa.array(splits.SEARCHED, pa.string())))
    ids = plain(members["image_id"]).to_pylist()
    rows = [row for row in np.flatnonzero(searched).tolist() if ids[row] in out]
    done = [_change(out[ids[row]], "members", ids[row], "taken out of the gallery") for row in rows]
    return _Change({"members": _without(members, rows)} if rows else {}, done)


def _negatives(subject: Subject) -> _Change:
    """Q09: negatives that nobody looked for are unjudged."""
    rows = list(splits.doubtful_rows(subject))
    table = subject.table("judgements")
    done = [
        _change("Q09", "judgements", table["query_id"][row].as_py(), f"{table['image_id'][row].as_py()} is unjudged")
        for row in rows
    ]
    return _Change({"judgements": _without(table, rows)} if rows else {}, done)


def _bare_queries(subject: Subject) -> _Change:
    """Q02: queries without positive, with what belongs to them."""
    bare = [one.item for one in queries.without_positive(subject) if one.severity == "error" and one.item]
    if not bare:
        return _Change({}, [])
    named = pa.array(bare, pa.string())
    tables: Tables = {}
    for name, column in (("queries", "id"), ("support", "query_id"), ("judgements", "query_id")):
        table = subject.table(name)
        if table.num_rows:
            tables[name] = table.filter(pc.invert(pc.is_in(table[column], value_set=named)))
    asked = set(plain(tables["queries"]["image_id"]).to_pylist())
    gone = plain(subject.table("queries").filter(pc.is_in(subject.table("queries")["id"], value_set=named))["image_id"])
    idle = set(gone.to_pylist()) - asked - {None}
    members = subject.table("members")
    if members.num_rows and idle:
        role = plain(members["role"]).to_pylist()
        ids = members["image_id"].to_pylist()
        tables["members"] = _without(members, [i for i, r in enumerate(role) if r == "query" and ids[i] in idle])
    return _Change(tables, [_change("Q02", "queries", item, "has no positive: dropped") for item in bare])


# ------------------------------------------------------------------------------------------------------------- files


def _names(subject: Subject) -> _Change:
    """P01 and I01: slashes the right way round; the name under which a file is there, of other case or Unicode form."""
    table = subject.table("images")
    sources = subject.column("images", "source").to_pylist()
    listings: dict[Path, dict[str, str]] = {}
    new: dict[int, Any] = {}
    done = []
    for row, given in enumerate(subject.column("images", "file_name").to_pylist()):
        if not given:
            continue
        name, root = given, subject.roots.get(sources[row])
        if "\\" in given and not path_fault(given) and not path_fault(given.replace("\\", "/")):
            name = given.replace("\\", "/")
        code = "P01"
        if root is not None and not path_fault(name) and not (root / name).exists():
            real = images.real_name(root, name, listings)
            code, name = ("I01", real) if real else (code, name)
        elif root is not None and name != given and (root / given).exists():
            name = given  # the backslash is a part of its name
        if name != given:
            new[row] = name
            done.append(_change(code, "images", subject.item("images", row), f"file_name {given!a} is now {name!a}"))
    return _Change({"images": _put(table, {"file_name": new})} if done else {}, done)


_REPAIRS: tuple[Callable[[Subject], _Change], ...] = (
    _names,
    _turned,
    _from_corners,
    _empty_masks,
    _from_masks,
    _nothing_to_see,
    _clipped,
    _crowds,
    _areas,
    _twice,
    _rows_of_no_image,
    _links,
    _gallery,
    _negatives,
    _bare_queries,
)
