"""Repairs of annotations: boxes, areas, masks, and what shows nothing or stands twice.

The box that was given is kept under ``attributes.repair.box``. Which repair a function makes, its first line names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate.columns import plain, positions
from curate.dataset import json_text, table_of
from curate.geometry import clip_box, rle_area, rle_from_polygons
from curate.model import Coverage
from curate.verify import boxes, masks, references, shapes
from curate.verify.mending import ORIGIN, Change, Tables, change, distinct, items, linked, put, without
from curate.verify.subject import Subject


def _rows(subject: Subject, items: Iterable[str]) -> list[int]:
    wanted = pa.array(list(items), pa.string())
    found: list[int] = positions(wanted, subject.table("annotations")["id"]).tolist()
    return found


def turned(subject: Subject) -> Change:
    """B02: corners the right way round."""
    held, new = subject.boxes, {}
    for row in _rows(subject, items(boxes.negative(subject))):
        x, y, w, h = (float(side[row]) for side in held[:4])
        if np.isfinite([x, y, w, h]).all():
            new[row] = (min(x, x + w), min(y, y + h), abs(w), abs(h))
    return _boxes(subject, "B02", new, "corners put in order")


def from_corners(subject: Subject) -> Change:
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


def from_masks(subject: Subject) -> Change:
    """B01 and B08: the box of the mask, where there is none or another."""
    found, changes = shapes.of(subject), list[Change]()
    for code, rule in (("B01", boxes.not_finite), ("B08", boxes.against_mask)):
        new = {}
        for row in _rows(subject, items(rule(subject))):
            sides = found.left[row], found.top[row], found.right[row], found.bottom[row]
            if found.area[row] > 0 and np.isfinite(sides).all():
                left, top, right, bottom = map(float, sides)
                new[row] = (left, top, right - left, bottom - top)
        changes.append(_boxes(subject, code, new, "box taken from the mask"))
    # An annotation has one of the two faults: the second change is made in the next round.
    return next((made for made in changes if made.done), changes[0])


def clipped(subject: Subject) -> Change:
    """B04: the part of a box that lies in its frame."""
    held = subject.boxes
    new = {
        row: clip_box(
            (float(held.x[row]), float(held.y[row]), float(held.w[row]), float(held.h[row])),
            float(held.width[row]),
            float(held.height[row]),
        )
        for row in _rows(subject, items(boxes.partly_outside(subject)))
    }
    return _boxes(subject, "B04", new, "box clipped to the frame")


def _boxes(subject: Subject, code: str, new: Mapping[int, tuple[float, float, float, float]], why: str) -> Change:
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
        done.append(change(code, "annotations", subject.item("annotations", row), f"{why}: [{was}] is now [{now}]"))
    return Change({"annotations": put(table, values)} if done else {}, done)


def areas(subject: Subject) -> Change:
    """B09: the area of the mask or polygon."""
    found, stored = shapes.of(subject), subject.numbers("annotations", "area")
    new = {row: float(found.area[row]) for row in _rows(subject, items(boxes.stored_area(subject)))}
    done = [
        change("B09", "annotations", subject.item("annotations", row), f"area {stored[row]:g} is now {area:g}")
        for row, area in sorted(new.items())
    ]
    table = subject.table("annotations")
    return Change({"annotations": put(table, {"area": new})} if done else {}, done)


def crowds(subject: Subject) -> Change:
    """M07: run lengths of crowds that have polygons only."""
    found, held, new = shapes.of(subject), subject.boxes, {}
    table = subject.table("annotations")
    broken = {row for row, _ in found.faults}
    for row in _rows(subject, items(masks.crowd_outlines(subject))):
        width, height = held.width[row], held.height[row]
        if row not in broken and 0 < width * height <= _FRAME:
            rle = rle_from_polygons(table["polygons"][row].as_py(), int(width), int(height))
            if rle_area(rle):  # what lies outside of the frame would give an empty mask
                new[row] = {"size": list(rle.size), "counts": rle.counts}
    done = [
        change("M07", "annotations", subject.item("annotations", row), "run lengths painted from the polygons")
        for row in sorted(new)
    ]
    return Change({"annotations": put(table, {"segmentation": new})} if done else {}, done)


_FRAME = 10**9


def empty_masks(subject: Subject) -> Change:
    """M09: masks without a pixel, of which the box is kept."""
    new: dict[int, Any] = dict.fromkeys(_rows(subject, items(masks.empty(subject))))
    done = [
        change("M09", "annotations", subject.item("annotations", row), "empty mask dropped, its box kept")
        for row in sorted(new)
    ]
    table = subject.table("annotations")
    return Change({"annotations": put(table, {"segmentation": new})} if done else {}, done)


def nothing_to_see(subject: Subject) -> Change:
    """B03, B05 and R02: annotations without area, outside of their frame, or of no image."""
    table, why = subject.table("annotations"), {}
    found, held = shapes.of(subject), subject.boxes
    shown = (found.area > 0) & (found.right > 0) & (found.bottom > 0)
    shown &= ~((found.left >= held.width) | (found.top >= held.height))
    for code, text, rule in (
        ("B03", "box without area: dropped", boxes.no_area),
        ("B05", "box outside the frame: dropped", boxes.wholly_outside),
    ):
        for row in _rows(subject, items(rule(subject))):
            if not shown[row]:  # else the mask says where it is
                why[row] = (code, text)
    for row in np.flatnonzero(subject.image_index < 0).tolist():
        why.setdefault(row, ("R02", f"image {table['image_id'][row].as_py()} is not there: dropped"))
    done = [
        change(code, "annotations", subject.item("annotations", row), text) for row, (code, text) in sorted(why.items())
    ]
    if not done:
        return Change({}, [])
    tables = {"annotations": without(table, why)}
    return Change(tables | _unproved(subject, sorted(why)), done)


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


def twice(subject: Subject) -> Change:
    """R09: the later of two annotations alike; what refers to it refers to the earlier one."""
    found = list(references.alike_annotations(subject))
    kept = {one.item: one.message.rpartition("annotation ")[2].partition(", of")[0] for one in found if one.item}
    if not kept:
        return Change({}, [])
    final = {item: _end(item, kept) for item in kept}
    table = without(subject.table("annotations"), _rows(subject, kept))
    tables = {"annotations": linked(table, "parent_id", final)}
    for name in ("queries", "support", "judgements"):
        if subject.table(name).num_rows:
            tables[name] = distinct(name, linked(subject.table(name), "annotation_id", final))
    done = [
        change("R09", "annotations", item, f"stands twice: dropped, {final[item]} kept and what refers to it re-linked")
        for item in kept
    ]
    return Change(tables, done)


def _end(item: str, kept: Mapping[str, str]) -> str:
    while item in kept:
        item = kept[item]
    return item
