"""B: boxes by themselves, in their frame, and against their mask. Pixels, right and bottom edge exclusive."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import geometry
from curate.columns import plain
from curate.model import Command, Finding, Info, Polygons, finding
from curate.verify import shapes
from curate.verify.subject import Boxes, Floats, Ints, Mask, Subject

OVERRUN = 1.0  # px by which a box may leave its frame (B04)
NO_AREA = 1e-6  # px² (B03)
CORNERS = 0.9  # share of a file's boxes that leave the frame as x, y, w, h and fit as corners (B06)
SYSTEMATIC = 0.5  # share of the boxes at an edge of the frame that overrun it by exactly one pixel (B07)
MASK_DISTANCE, MASK_IOU, MASK_IOU_ERROR = 2.0, 0.9, 0.5  # B08
AREA_SHARE, AREA_PIXELS = 0.01, 1.0  # B09
LONGEST, LARGEST, THINNEST = 50.0, 0.99, 2.0  # B10: ratio of sides, share of the frame, px


def _at(subject: Subject, code: str, row: int, message: str, *, field: str = "bbox", **options: object) -> Finding:
    place = subject.place("annotations", row, field)
    return finding(code, place, message, item=subject.item("annotations", row), **options)  # type: ignore[arg-type]


def not_finite(subject: Subject) -> Iterator[Finding]:
    """B01: a box in part, or with NaN or an infinite number. An annotation without any box labels the whole image."""
    boxes = subject.boxes
    values = np.stack([boxes.x, boxes.y, boxes.w, boxes.h])
    absent = np.zeros(values.shape, bool)
    for i, name in enumerate("xywh"):
        absent[i] = subject.column("annotations", name).is_null().to_numpy()
    bad = ~np.isfinite(values).all(axis=0) & ~absent.all(axis=0)
    for row in np.flatnonzero(bad).tolist():
        shown = ["null" if absent[i, row] else f"{values[i, row]:g}" for i in range(4)]
        yield _at(subject, "B01", row, f"box is [{', '.join(shown)}]; expected four finite numbers")


def negative(subject: Subject) -> Iterator[Finding]:
    """B02: negative width or height."""
    boxes = subject.boxes
    for row in np.flatnonzero((boxes.w < 0) | (boxes.h < 0)).tolist():
        yield _at(
            subject,
            "B02",
            row,
            f"box {boxes.text(row)} has a negative side; expected [x, y, width, height]",
            hint="are the corners exchanged?",
        )


def no_area(subject: Subject) -> Iterator[Finding]:
    """B03: no width, no height, or next to no area."""
    boxes = subject.boxes
    for row in np.flatnonzero(_empty(boxes)).tolist():
        yield _at(subject, "B03", row, f"box {boxes.text(row)} has no area; expected a width and a height")


def _empty(boxes: Boxes) -> Mask:
    empty: Mask = boxes.sound & (boxes.w * boxes.h < NO_AREA)
    return empty


def partly_outside(subject: Subject) -> Iterator[Finding]:
    """B04: partly outside the frame, by more than a pixel."""
    boxes, outside = subject.boxes, _outside(subject.boxes)
    over = np.fmax(
        np.fmax(-boxes.x, boxes.x + boxes.w - boxes.width), np.fmax(-boxes.y, boxes.y + boxes.h - boxes.height)
    )
    hit = _placed(boxes) & ~outside & (over > OVERRUN) & ~corner_files(subject)
    for row in np.flatnonzero(hit).tolist():
        text = f"box {boxes.text(row)} leaves the {_frame(boxes, row)} frame by {over[row]:g} px"
        yield _at(subject, "B04", row, text)


def wholly_outside(subject: Subject) -> Iterator[Finding]:
    """B05: wholly outside the frame."""
    boxes = subject.boxes
    for row in np.flatnonzero(_outside(boxes) & ~corner_files(subject)).tolist():
        yield _at(subject, "B05", row, f"box {boxes.text(row)} lies outside the {_frame(boxes, row)} frame")


def _placed(boxes: Boxes) -> Mask:
    """Boxes with an area whose frame is known."""
    placed: Mask = boxes.sound & boxes.framed & ~_empty(boxes)
    return placed


def _outside(boxes: Boxes) -> Mask:
    gone = (boxes.x >= boxes.width) | (boxes.y >= boxes.height) | (boxes.x + boxes.w <= 0) | (boxes.y + boxes.h <= 0)
    outside: Mask = _placed(boxes) & gone
    return outside


def _frame(boxes: Boxes, row: int) -> str:
    return f"{boxes.width[row]:g} x {boxes.height[row]:g}"


def _files(subject: Subject) -> tuple[list[str], Ints]:
    """The sources, and for each annotation the number of its source; -1 if its image is unknown."""
    names = plain(subject.table("images")["source"]).combine_chunks().dictionary_encode()
    codes = np.append(names.indices.fill_null(-1).to_numpy().astype(np.int64), -1)
    return [str(name) for name in names.dictionary.to_pylist()], codes[subject.image_index]


def corners(subject: Subject) -> Iterator[Finding]:
    """B06, one for a file: nearly all boxes leave the frame as x, y, w, h and fit as corners x1, y1, x2, y2."""
    boxes = subject.boxes
    names, file = _files(subject)
    hit = corner_files(subject)
    for number in np.unique(file[hit]).tolist():
        mine = hit & (file == number)
        row = int(np.argmax(mine))
        yield _at(
            subject,
            "B06",
            row,
            f"{int(mine.sum()):,} of {int((_placed(boxes) & (file == number)).sum()):,} boxes of {names[number]} leave "
            f"the frame and would fit as corners, first {boxes.text(row)}; expected [x, y, width, height]",
            hint="w = x2 - x1, h = y2 - y1",
        )


def corner_files(subject: Subject) -> Mask:
    """Boxes that look like corners, in files where nearly all do."""
    held: Mask | None = subject.memo.get("corners")
    if held is not None:
        return held
    boxes = subject.boxes
    placed = _placed(boxes)
    leaves = (boxes.x + boxes.w > boxes.width + OVERRUN) | (boxes.y + boxes.h > boxes.height + OVERRUN)
    fits = (boxes.w <= boxes.width + OVERRUN) & (boxes.h <= boxes.height + OVERRUN)
    ordered = (boxes.w > boxes.x) & (boxes.h > boxes.y) & (boxes.x >= 0) & (boxes.y >= 0)
    hit: Mask = placed & leaves & fits & ordered
    if hit.any():
        names, file = _files(subject)
        all_of, like = (np.bincount(file[mask], minlength=len(names)) for mask in (placed, hit))
        hit &= ((all_of >= 2) & (like >= CORNERS * all_of))[file]
    subject.memo["corners"] = hit
    return hit


def one_pixel_over(subject: Subject) -> Iterator[Finding]:
    """B07, one for a file and side: boxes that end one pixel beyond the frame, or begin at -1, throughout."""
    boxes = subject.boxes
    right, bottom = boxes.x + boxes.w - boxes.width, boxes.y + boxes.h - boxes.height
    yield from _overruns(subject, "right or bottom", right, bottom, "are right and bottom inclusive?")
    yield from _overruns(subject, "left or top", -boxes.x, -boxes.y, "are coordinates counted from 1?")


def _overruns(subject: Subject, side: str, across: Floats, down: Floats, hint: str) -> Iterator[Finding]:
    """``across`` and ``down`` are the pixels by which each box overruns its frame, negative inside it."""
    boxes = subject.boxes
    names, file = _files(subject)
    placed = _placed(boxes) & ~corner_files(subject)
    beyond = placed & ((np.abs(across - 1) < 1e-6) | (np.abs(down - 1) < 1e-6))
    touching = placed & ((np.abs(across) < 1e-6) | (np.abs(down) < 1e-6)) & ~beyond
    for number in np.unique(file[beyond]).tolist():
        here = file == number
        n, at_edge = int((beyond & here).sum()), int((touching & here).sum())
        if n < 2 or n < SYSTEMATIC * (n + at_edge):
            continue
        row = int(np.argmax(beyond & here))
        text = (
            f"{n:,} boxes of {names[number]} overrun the {side} edge by exactly one pixel, {at_edge:,} end at it; "
            f"first {boxes.text(row)} in {_frame(boxes, row)}"
        )
        yield _at(subject, "B07", row, text, hint=hint)


def against_mask(subject: Subject) -> Iterator[Finding]:
    """B08: the box and the bounds of the mask, both clipped to the frame, are far apart."""
    found, boxes = shapes.of(subject), subject.boxes
    usable = _placed(boxes) & (found.area > 0)
    ours = _clipped(boxes, boxes.x, boxes.y, boxes.x + boxes.w, boxes.y + boxes.h)
    masks = _clipped(boxes, found.left, found.top, found.right, found.bottom)
    distance = np.abs(ours - masks).max(axis=0)
    shared = np.clip(np.minimum(ours[2:], masks[2:]) - np.maximum(ours[:2], masks[:2]), 0, None).prod(axis=0)
    union = (ours[2:] - ours[:2]).prod(axis=0) + (masks[2:] - masks[:2]).prod(axis=0) - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    hit = usable & (distance > MASK_DISTANCE) & (iou < MASK_IOU) & ~corner_files(subject)
    for row in np.flatnonzero(hit).tolist():
        x1, y1, x2, y2 = masks[:, row]
        mask = f"[{x1:g}, {y1:g}, {x2 - x1:g}, {y2 - y1:g}]"
        text = f"box is {boxes.text(row)}, the mask's {mask}: IoU {iou[row]:.2f}; expected one extent"
        yield _at(subject, "B08", row, text, severity="error" if iou[row] < MASK_IOU_ERROR else "warning")


def _clipped(boxes: Boxes, left: Floats, top: Floats, right: Floats, bottom: Floats) -> Floats:
    """Corners ``(4, n)`` in their frames."""
    return np.stack(
        [
            np.clip(left, 0, boxes.width),
            np.clip(top, 0, boxes.height),
            np.clip(right, 0, boxes.width),
            np.clip(bottom, 0, boxes.height),
        ]
    )


def stored_area(subject: Subject) -> Iterator[Finding]:
    """B09: the stored area is not that of the mask, or of the polygon by formula or by pixels."""
    found, boxes = shapes.of(subject), subject.boxes
    stored = subject.numbers("annotations", "area")
    off = np.abs(stored - found.area)
    hit = np.isfinite(stored) & _differs(off, found.area)
    polygons = (
        subject.table("annotations")["polygons"] if "polygons" in subject.table("annotations").column_names else None
    )
    for row in np.flatnonzero(hit).tolist():
        if found.kind[row] == shapes.POLYGONS and polygons is not None:
            # Tools may count the pixels; of a simple polygon in the frame they differ by no more than its outline.
            simple = found.parts[row] == 1 and not found.crossing[row] and _inside(subject, row)
            if not simple or off[row] <= found.perimeter[row] + 4:
                pixels = _pixels(polygons[row].as_py(), boxes.width[row], boxes.height[row])
                if pixels is not None and not _differs(abs(stored[row] - pixels), pixels):
                    continue
        yield _at(subject, "B09", row, f"area is {stored[row]:g}; expected {found.area[row]:g} px²", field="area")


def _differs(off: Any, area: Any) -> Any:
    return (off > AREA_PIXELS) & (off > AREA_SHARE * area)


def _inside(subject: Subject, row: int) -> bool:
    found, boxes = shapes.of(subject), subject.boxes
    return bool(
        found.left[row] >= 0
        and found.top[row] >= 0
        and found.right[row] <= boxes.width[row]
        and found.bottom[row] <= boxes.height[row]
    )


def _pixels(polygons: Polygons, width: float, height: float) -> float | None:
    """Pixels that COCO's own tool counts for polygons whose vertices have been checked; None without a frame."""
    if not 0 < width * height <= geometry.MAX_MASK_PIXELS:
        return None
    return float(geometry.rle_area(geometry.rle_from_polygons(polygons, int(width), int(height))))


def extreme(subject: Subject) -> Iterator[Finding]:
    """B10: very long, very large or very thin."""
    boxes = subject.boxes
    placed = boxes.sound & ~_empty(boxes)
    short_side, long_side = np.fmin(boxes.w, boxes.h), np.fmax(boxes.w, boxes.h)
    long = placed & (long_side > LONGEST * short_side)
    large = placed & boxes.framed & (boxes.w * boxes.h > LARGEST * boxes.width * boxes.height)
    thin = placed & (short_side < THINNEST)
    for row in np.flatnonzero(long | large | thin).tolist():
        what = [word for word, mask in (("long", long), ("large", large), ("thin", thin)) if mask[row]]
        yield _at(subject, "B10", row, f"box {boxes.text(row)} is very {' and '.join(what)}")


_FILTER = re.compile(r"\s*(<=|<|>=|>)\s*([0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?)\s*")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def size_filters(info: Info | None) -> list[tuple[str, bool]]:
    """The size filters that hold for a dataset, and whether each spared queries: of its own command, and of its
    ancestors' as long as each has one parent and was made by ``build``, which adds no objects."""
    if info is None:
        return []
    found: list[tuple[str, bool]] = []
    command: Command | None = info.command
    parents = info.parents
    while command is not None and command.verb.split()[0] == "build":
        value = command.options.get("size") or []
        texts = [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)]
        found += [(text, bool(command.options.get("spare-queries"))) for text in texts]
        if len(parents) != 1:
            break
        command, parents = parents[0].command, parents[0].parents
    return list(dict.fromkeys(found))


def _searched(subject: Subject) -> Mask:
    """The annotations whose image is of the gallery; where there is none, those whose image is no query or support."""
    members, images = subject.table("members"), subject.table("annotations")["image_id"]
    examples = pc.is_in(plain(members["role"]), value_set=pa.array(["query", "support"]))
    shown, others = members["image_id"].filter(examples), members["image_id"].filter(pc.invert(examples))
    of = (
        pc.is_in(images, value_set=plain(others))
        if len(others)
        else pc.invert(pc.is_in(images, value_set=plain(shown)))
    )
    searched: Mask = of.to_numpy(zero_copy_only=False).astype(bool)
    return searched


def size_filter(subject: Subject) -> Iterator[Finding]:
    """B11: an object that the size filter of a subset should have left out. Exact on the boundary.

    A filter that spared queries says nothing of images that are only queries or support.
    """
    filters = size_filters(subject.dataset.info if subject.dataset else None)
    if not filters:
        return
    boxes = subject.boxes
    truth = subject.truth
    for text, spared in filters:
        match = _FILTER.fullmatch(text)
        if not match:
            continue
        compare, limit = _COMPARE[match[1]], Fraction(match[2])
        share = np.divide(boxes.w * boxes.h, boxes.width * boxes.height)
        wrong = truth & boxes.sound & boxes.framed & ~compare(share, float(limit))
        if spared:
            wrong &= _searched(subject)
        for row in np.flatnonzero(wrong).tolist():
            sides = (boxes.w[row], boxes.h[row], boxes.width[row], boxes.height[row])
            w, h, width, height = (Fraction(float(side)) for side in sides)
            if compare(w * h, limit * width * height):
                continue
            shown = f"box {boxes.text(row)} covers {share[row]:.6g} of its {_frame(boxes, row)} image"
            hint = "its image was spared as a query, and is searched now" if spared else None
            yield _at(subject, "B11", row, f"{shown}; expected {text.strip()}", hint=hint)
