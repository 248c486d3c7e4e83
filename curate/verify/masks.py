"""M: masks and polygons. Nothing is decoded before its run lengths and vertices have been checked.

What a column cannot hold (a polygon that is no list of rings, a fractional run) is found by ``curate.verify.schema``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from curate.columns import flags
from curate.model import Finding, finding
from curate.verify import shapes
from curate.verify.subject import Subject

FLAT = 1e-6  # px²; a ring that encloses less encloses nothing
LEAVES = 1.0  # px by which a polygon may leave its frame


def broken(subject: Subject) -> Iterator[Finding]:
    """M01, M02, M04, M06: polygons and run lengths that nothing may be made of."""
    for row, fault in shapes.of(subject).faults:
        code, _, message = fault.partition(" ")
        place = subject.place("annotations", row, "segmentation")
        yield finding(code, place, message, item=subject.item("annotations", row))


def polygon_shape(subject: Subject) -> Iterator[Finding]:
    """M03: a polygon that crosses itself, encloses nothing, or leaves the frame."""
    found, boxes = shapes.of(subject), subject.boxes
    known = (found.kind == shapes.POLYGONS) & ~np.isnan(found.area)
    flat = known & (found.area < FLAT)
    crossing = known & found.crossing
    over = np.fmax(-np.fmin(found.left, found.top), np.fmax(found.right - boxes.width, found.bottom - boxes.height))
    leaves = known & boxes.framed & (over > LEAVES)
    for row in np.flatnonzero(flat | crossing | leaves).tolist():
        what = []
        if crossing[row]:
            what.append("crosses itself")
        if flat[row]:
            what.append(f"encloses {found.area[row]:g} px²")
        if leaves[row]:
            frame = f"{boxes.width[row]:g} x {boxes.height[row]:g}"
            what.append(f"leaves the {frame} frame by {over[row]:g} px")
        place = subject.place("annotations", row, "segmentation")
        text = f"polygon {' and '.join(what)}; expected a simple outline within the frame"
        yield finding("M03", place, text, item=subject.item("annotations", row))


def mask_size(subject: Subject) -> Iterator[Finding]:
    """M05: a mask of another size than its image."""
    found, boxes = shapes.of(subject), subject.boxes
    other = (found.height != boxes.height) | (found.width != boxes.width)
    for row in np.flatnonzero(found.masks & boxes.framed & other).tolist():
        size, frame = (found.width[row], found.height[row]), (boxes.width[row], boxes.height[row])
        hint = "size is [height, width]: the two are exchanged" if size == frame[::-1] else None
        text = f"mask is {size[0]:.0f} x {size[1]:.0f} px; expected {frame[0]:g} x {frame[1]:g} as its image"
        place = subject.place("annotations", row, "segmentation")
        yield finding("M05", place, text, item=subject.item("annotations", row), hint=hint)


def crowd_outlines(subject: Subject) -> Iterator[Finding]:
    """M07, a warning: a crowd outlined by polygons only, where COCO's tools expect run lengths."""
    crowd = flags(pc.equal(subject.column("annotations", "iscrowd"), True))
    for row in np.flatnonzero(crowd & (shapes.of(subject).kind == shapes.POLYGONS)).tolist():
        place = subject.place("annotations", row, "polygons")
        text = "crowd has polygons and no run lengths; expected run lengths"
        yield finding("M07", place, text, item=subject.item("annotations", row), severity="warning")


def mixed_kinds(subject: Subject) -> Iterator[Finding]:
    """M08: compressed and plain run lengths in one file."""
    kinds = shapes.of(subject).kind
    compressed, plain = int((kinds == shapes.RLE).sum()), int((kinds == shapes.RUNS).sum())
    if compressed and plain:
        text = f"{compressed:,} masks with compressed run lengths, {plain:,} with plain ones; expected one kind"
        yield finding("M08", subject.place("annotations", int(np.argmax(kinds == shapes.RUNS)), "segmentation"), text)


def empty(subject: Subject) -> Iterator[Finding]:
    """M09: a mask without a pixel."""
    found = shapes.of(subject)
    for row in np.flatnonzero(found.masks & (found.area == 0)).tolist():
        place = subject.place("annotations", row, "segmentation")
        text = f"mask of {found.width[row]:.0f} x {found.height[row]:.0f} px is empty; expected an object"
        yield finding("M09", place, text, item=subject.item("annotations", row))
