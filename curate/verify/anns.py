"""A: ``anns.pt``, the annotation file of VoxDet-SoIR: one dictionary from image path to entry.

A query's entry holds one box with inclusive right and bottom and one mask, a gallery image's entry parallel lists of
boxes with exclusive right and bottom, instance numbers and masks. An instance is named by ``set`` and ``ins`` together:
the sets share numbers. The masks of queries are row-major, those of gallery images column-major, and neither matters
here: run lengths must fill the frame either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import geometry, torch_zip
from curate.codes import Severity
from curate.errors import SourceError
from curate.model import Finding, Rle, finding
from curate.verify.paths import path_fault
from curate.verify.report import encodable
from curate.verify.schema import segmentation_fault
from curate.verify.subject import Subject, short

SOURCE = "anns_pt"
SETS = ("OWID", "RoboTools")
REQUIRED = ("bbox", "is_query", "ins", "set")
_SEQUENCE = (list, tuple)
_NUMBER = (int, float)
Entry = dict[str, Any]


def load(path: Path, roots: Mapping[str, Path]) -> tuple[Subject | None, list[Finding]]:
    """Read ``anns.pt``: its keys as images of a subject, its content under ``memo["entries"]``; A01, A02, A08."""
    try:
        value, numpy_scalars = torch_zip.load(path)
    except SourceError as error:
        code = re.search(r"\((A0[12])\)", error.found)
        message = "; ".join(filter(None, [re.sub(r" ?\(A0[12]\)", "", error.found), error.expected]))
        return None, [finding(code[1] if code else "F04", error.where, message, hint=error.hint or None)]
    if type(value) is not dict:
        return None, [finding("A02", path, f"holds {short(value)}; expected a dictionary of entries")]
    if value and all(type(one) is dict and "bboxes" in one and "is_query" not in one for one in value.values()):
        text = "is a captions.pt (boxes and masks that a detector found), which has no rules of its own"
        return None, [finding("F09", path, f"{text}; expected an anns.pt", hint="verify the dataset it was made from")]
    found = []
    if numpy_scalars:
        text = (
            f"{numpy_scalars:,} numbers are numpy scalars, which torch.load refuses by default; expected plain numbers"
        )
        found.append(finding("A08", path, text, hint="convert them with int() before saving"))
    named = {key: entry for key, entry in value.items() if type(key) is str}
    for key in value.keys() - named.keys():
        found.append(finding("A02", path, f"key {short(key)} is no text; expected a path"))
    if not value:
        found.append(finding("A02", path, "holds no entry; expected a dictionary of entries", severity="warning"))
    keys = sorted(named)
    images = pa.table(
        {
            "id": pa.array([encodable(key) for key in keys], pa.string()),
            "source": pa.array([SOURCE] * len(keys), pa.string()),
            "file_name": pa.array([encodable(key) for key in keys], pa.string()),
        }
    )

    def place(table: str, row: int, field: str) -> str:
        return f"{path}, {encodable(keys[row])}"

    subject = Subject("anns_pt", {"images": images}, place, roots=roots)
    subject.memo["entries"] = {encodable(key): named[key] for key in keys}
    subject.memo["path"] = str(path)
    return subject, found


def _entries(subject: Subject) -> Iterator[tuple[str, Entry]]:
    """The entries that are dictionaries."""
    for key, entry in subject.memo.get("entries", {}).items():
        if type(entry) is dict:
            yield key, entry


def _found(
    subject: Subject, code: str, key: str, message: str, severity: Severity | None = None, field: str = ""
) -> Finding:
    place = f"{subject.memo['path']}, {key}" + (f", {field}" if field else "")
    return finding(code, place, message, item=key, severity=severity)


def malformed(subject: Subject) -> Iterator[Finding]:
    """A02: fields that are missing or of another type than upstream's readers take."""
    entries = subject.memo.get("entries", {})
    for key, entry in entries.items():
        if type(entry) is not dict:
            yield _found(subject, "A02", key, f"entry is {short(entry)}; expected a dictionary")
    lacking = [key for key, entry in _entries(subject) if "is_val" not in entry]
    if lacking and len(lacking) == len(list(_entries(subject))):
        text = f"none of {len(lacking):,} entries has 'is_val', which upstream's checker asks for"
        yield finding("A02", subject.memo["path"], text, severity="warning")
        lacking = []
    for key in lacking:
        yield _found(subject, "A02", key, "'is_val' is missing; expected True or False", "warning")
    for key, entry in _entries(subject):
        for field in REQUIRED:
            if field not in entry:
                yield _found(subject, "A02", key, f"{field!r} is missing; expected bbox, is_query, ins and set")
        for field in ("is_query", "is_val"):
            if type(entry.get(field, True)) is not bool:
                yield _found(
                    subject, "A02", key, f"{field} is {short(entry[field])}; expected True or False", None, field
                )
        yield from _query_fields(subject, key, entry) if entry.get("is_query") else _gallery_fields(subject, key, entry)
        for field, mask in _masks(entry):
            fault = segmentation_fault(mask)
            if fault:
                code = "A02" if fault[0].startswith("S") else fault[0]
                yield _found(subject, code, key, fault[2], None, field + fault[1])


def _query_fields(subject: Subject, key: str, entry: Entry) -> Iterator[Finding]:
    box = entry.get("bbox", (0, 0, 0, 0))
    if not _is_box(box) and not _is_boxes(box):
        yield _found(subject, "A02", key, f"bbox is {short(box)}; expected four numbers", None, "bbox")
    if type(entry.get("ins", 0)) is not int:
        yield _found(subject, "A02", key, f"ins is {short(entry['ins'])}; expected one whole number", None, "ins")


def _gallery_fields(subject: Subject, key: str, entry: Entry) -> Iterator[Finding]:
    boxes = entry.get("bbox", [])
    if type(boxes) is not list:
        yield _found(subject, "A02", key, f"bbox is {_kind(boxes)}; expected a list of boxes", None, "bbox")
    for i, box in enumerate(boxes if type(boxes) in _SEQUENCE else ()):
        if not _is_box(box):
            yield _found(subject, "A02", key, f"box is {short(box)}; expected four numbers", None, f"bbox[{i}]")
    for field in ("ins", "num_ins", "mask"):
        values = entry.get(field, [])
        if type(values) is not list:
            yield _found(subject, "A02", key, f"{field} is {_kind(values)}; expected a list", None, field)
        elif field != "mask" and not set(map(type, values)) <= {int}:
            odd = next(i for i, value in enumerate(values) if type(value) is not int)
            text = f"{field} is {short(values[odd])}; expected a whole number"
            yield _found(subject, "A02", key, text, None, f"{field}[{odd}]")


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" if type(value) in (dict, list, tuple) else short(value)


def _is_box(value: Any) -> bool:
    return type(value) in _SEQUENCE and len(value) == 4 and all(type(number) in _NUMBER for number in value)


def _is_boxes(value: Any) -> bool:
    return type(value) in _SEQUENCE and len(value) > 0 and all(_is_box(box) for box in value)


def _masks(entry: Entry) -> Iterator[tuple[str, Any]]:
    """The masks of an entry, with their place in it."""
    mask = entry.get("mask")
    if type(mask) is dict:
        yield "mask", mask
    elif type(mask) in _SEQUENCE:
        for i, one in enumerate(mask or ()):
            yield f"mask[{i}]", one


def lengths(subject: Subject) -> Iterator[Finding]:
    """A03: the parallel lists of a gallery image differ in length; masks and num_ins may be empty altogether."""
    for key, entry in _entries(subject):
        boxes = entry.get("bbox")
        if entry.get("is_query") or not isinstance(boxes, _SEQUENCE):
            continue
        found = {
            field: len(entry[field]) for field in ("ins", "mask", "num_ins") if type(entry.get(field)) in _SEQUENCE
        }
        other = [n for field, n in found.items() if n != len(boxes) and (n or field == "ins")]
        if other:
            shown = ", ".join(f"{n} {field}" for field, n in found.items())
            yield _found(subject, "A03", key, f"{len(boxes)} boxes, {shown}; expected as many of each")


def several(subject: Subject) -> Iterator[Finding]:
    """A04: a query with more than one box or mask, or with one in a list."""
    for key, entry in _entries(subject):
        if not entry.get("is_query"):
            continue
        if _is_boxes(entry.get("bbox")):
            yield _found(subject, "A04", key, f"bbox is a list of {len(entry['bbox'])} boxes; expected one box")
        if type(entry.get("mask")) in _SEQUENCE and entry["mask"]:
            yield _found(subject, "A04", key, f"mask is a list of {len(entry['mask'])} masks; expected one mask")


def boxes(subject: Subject) -> Iterator[Finding]:
    """A05: corners that are not finite, not in order, or beyond the frame, where a mask tells it; B03 for no area."""
    for key, entry in _entries(subject):
        query = bool(entry.get("is_query"))
        held = [entry.get("bbox")] if query else entry.get("bbox")
        masks = dict(_masks(entry))
        for i, box in enumerate(held if isinstance(held, _SEQUENCE) else ()):
            if not _is_box(box):
                continue
            place = "bbox" if query else f"bbox[{i}]"
            frame = _frame(masks.get("mask" if query else f"mask[{i}]") or next(iter(masks.values()), None))
            fault = _box_fault(box, frame)
            if fault:
                yield _found(subject, "A05", key, f"box {short(box)} {fault}", None, place)
            elif not query and (box[0] == box[2] or box[1] == box[3]):
                yield _found(
                    subject, "B03", key, f"box {short(box)} has no area; expected x1 < x2 and y1 < y2", None, place
                )


def _box_fault(box: Any, frame: tuple[int, int] | None) -> str | None:
    x1, y1, x2, y2 = box
    if not all(abs(side) < 1e15 for side in box):  # NaN is not either
        return "is not finite; expected four finite numbers"
    if x2 < x1 or y2 < y1:
        return "is not in order; expected x1, y1, x2, y2 with x1 <= x2 and y1 <= y2"
    if frame and (x1 < -1 or y1 < -1 or x2 > frame[0] + 1 or y2 > frame[1] + 1):
        return f"leaves the {frame[0]} x {frame[1]} frame"
    return None


def _frame(mask: Any) -> tuple[int, int] | None:
    """Width and height that a mask states."""
    if type(mask) is not dict or segmentation_fault(mask):
        return None
    height, width = mask["size"]
    return (width, height) if width > 0 and height > 0 else None


def sets(subject: Subject) -> Iterator[Finding]:
    """A06: a set that is neither OWID nor RoboTools, in a file of these; other benchmarks have sets of their own."""
    if not any(entry.get("set") in SETS for _, entry in _entries(subject)):
        return
    for key, entry in _entries(subject):
        if entry.get("set", SETS[0]) not in SETS:
            yield _found(subject, "A06", key, f"set is {short(entry['set'])}; expected {' or '.join(SETS)}")


def keys(subject: Subject) -> Iterator[Finding]:
    """A07: keys that are absolute, which ties the file to one machine (one warning), or lead out of their root."""
    faults = {key: fault for key in subject.memo.get("entries", {}) if (fault := path_fault(key))}
    absolute = [key for key, fault in faults.items() if fault.startswith("is absolute;")]
    if absolute:
        text = f"{len(absolute):,} of {len(subject.memo['entries']):,} keys are absolute; expected paths below the root"
        yield _found(subject, "A07", absolute[0], text, "warning")
    for key, fault in faults.items():
        if not fault.startswith("is absolute;"):
            yield _found(subject, "A07", key, f"key {fault}", "error")


def empty_masks(subject: Subject) -> Iterator[Finding]:
    """A09: a query whose mask is empty and whose box is therefore the whole frame."""
    for key, entry in _entries(subject):
        mask, frame = entry.get("mask"), _frame(entry.get("mask"))
        if not entry.get("is_query") or frame is None or type(mask) is not dict or type(mask["counts"]) is str:
            continue
        alone = len(mask["counts"]) == 1  # one run: all background, or all foreground without a leading zero
        if alone and _is_box(entry.get("bbox")) and tuple(entry["bbox"]) == (0, 0, *frame):
            yield _found(subject, "A09", key, f"mask is empty and the box is the whole {frame[0]} x {frame[1]} frame")


def run_lengths(subject: Subject) -> Iterator[Finding]:
    """M01, M02, M04, M06 of masks that are well-formed."""
    for key, entry in _entries(subject):
        for field, mask in _masks(entry):
            if mask and not segmentation_fault(mask):
                fault = _mask_fault(mask)
                if fault:
                    code, _, message = fault.partition(" ")
                    yield _found(subject, code, key, message, None, field)


def _mask_fault(mask: Any) -> str | None:
    if type(mask) is not dict:
        for ring in mask:
            # No frame is known for a polygon: any finite vertex will do.
            fault = geometry.check_ring(ring, 10**9, 10**9)
            if fault:
                return fault
        return None
    height, width = mask["size"]
    counts = mask["counts"]
    if type(counts) is bytes:
        counts = counts.decode("latin-1")
    if type(counts) is str:
        return geometry.check_rle(Rle((height, width), counts))
    # The form of the runs has been checked: only the sum is left, which Python's own sum finds fast.
    return (
        None
        if sum(counts) == height * width <= geometry.MAX_MASK_PIXELS
        else geometry.check_counts(counts, width, height)
    )


def without_positive(subject: Subject) -> Iterator[Finding]:
    """Q02: a query whose instance no gallery image shows."""
    shown = set()
    for _, entry in _entries(subject):
        instances = entry.get("ins")
        if not entry.get("is_query") and isinstance(instances, _SEQUENCE) and type(entry.get("set")) is str:
            shown |= {(entry["set"], one) for one in instances if type(one) is int}
    for key, entry in _entries(subject):
        named = type(entry.get("ins")) is int and type(entry.get("set")) is str
        if entry.get("is_query") and named and (entry["set"], entry["ins"]) not in shown:
            text = f"instance {entry['ins']} of {entry['set']} is in no gallery image; expected at least one"
            yield _found(subject, "Q02", key, text)


def counts(subject: Subject) -> dict[str, int]:
    queries = sum(bool(entry.get("is_query")) for _, entry in _entries(subject))
    return {"queries": queries, "gallery images": len(subject.memo.get("entries", {})) - queries}
