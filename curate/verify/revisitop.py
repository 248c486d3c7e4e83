"""Ground truth of revisited Oxford and Paris, ``gnd_*.pkl``: read as plain values, so that nothing in it can run.

Indices count from 0 into ``imlist``; ``bbx`` is ``x1 y1 x2 y2`` of a query region in pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.plain_pickle import unpickle
from curate.verify.report import encodable
from curate.verify.subject import Subject, short

KEYS = ("imlist", "qimlist", "gnd")
LABELS = ("easy", "hard", "junk")
MAX_BYTES = 1 << 30


def load(path: Path) -> tuple[Subject | None, list[Finding]]:
    """Read the file; its value under ``memo["truth"]``. A01, A02, F02, F09, S01, R01."""
    data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    if not data:
        return None, [finding("F02", path, f"is larger than {MAX_BYTES:,} bytes")]
    try:
        value = unpickle(data, path, arrays=True).value
    except SourceError as error:
        code = re.search(r"\((A0[12])\)", error.found)
        message = "; ".join(filter(None, [re.sub(r" ?\(A0[12]\)", "", error.found), error.expected]))
        return None, [finding(code[1] if code else "F04", error.where, message, hint=error.hint or None)]
    if type(value) is not dict or not set(KEYS) <= set(value):
        held = f"a dictionary of {short(sorted(map(str, value))[:6])}" if type(value) is dict else short(value)
        hint = "an anns.pt is to be saved with torch.save"
        return None, [finding("F09", path, f"is a pickle of {held}; expected {', '.join(KEYS)}", hint=hint)]
    found = []
    for key in KEYS:
        if type(value[key]) is not list or not all(type(one) is (dict if key == "gnd" else str) for one in value[key]):
            kind = "dictionaries" if key == "gnd" else "names"
            return None, [finding("S01", f"{path}, {key}", f"is {short(value[key])}; expected a list of {kind}")]
    for key in KEYS[:2]:
        seen: set[str] = set()
        for i, name in enumerate(value[key]):
            if name in seen:
                found.append(finding("R01", f"{path}, {key}[{i}]", f"name {short(name)} stands twice", item=_id(name)))
            seen.add(name)
    if len(value["gnd"]) != len(value["qimlist"]):
        text = f"{len(value['gnd']):,} entries for {len(value['qimlist']):,} queries; expected one each"
        found.append(finding("S01", f"{path}, gnd", text))
    subject = Subject("revisitop", {}, lambda table, row, field: str(path))
    subject.memo |= {"truth": value, "path": encodable(str(path))}
    return subject, found


def counts(subject: Subject) -> dict[str, int]:
    truth = subject.memo["truth"]
    return {"queries": len(truth["qimlist"]), "gallery images": len(truth["imlist"])}


def _id(name: str) -> str:
    return encodable(name)


def _entries(subject: Subject) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Number, name of the query and entry."""
    truth = subject.memo["truth"]
    for i, (name, entry) in enumerate(zip(truth["qimlist"], truth["gnd"], strict=False)):
        yield i, _id(name), entry


def _place(subject: Subject, i: int, field: str) -> str:
    return f"{subject.memo['path']}, gnd[{i}]" + (f".{field}" if field else "")


def _whole(value: Any) -> Any:
    """Arrays made from nothing are floats."""
    return int(value) if type(value) is float and value.is_integer() else value


def fields(subject: Subject) -> Iterator[Finding]:
    """S01 and B01: lists of indices, and a region of four finite numbers in order."""
    for i, name, entry in _entries(subject):
        for label in LABELS:
            if type(entry.get(label)) is not list:
                text = f"{label} is {short(entry.get(label))}; expected a list of indices"
                yield finding("S01", _place(subject, i, label), text, item=name)
        box: Any = entry.get("bbx")
        box = box[0] if type(box) is list and len(box) == 1 else box  # an array of one row
        numbers = type(box) in (list, tuple) and len(box) == 4 and all(type(v) in (int, float) for v in box)
        if not numbers or not all(map(math.isfinite, box)):
            text = f"bbx is {short(box)}; expected four finite numbers"
            yield finding("B01", _place(subject, i, "bbx"), text, item=name)
        elif box[2] < box[0] or box[3] < box[1]:
            text = f"bbx is {short(box)}; expected x1, y1, x2, y2 with x1 <= x2 and y1 <= y2"
            yield finding("B02", _place(subject, i, "bbx"), text, item=name)


def indices(subject: Subject) -> Iterator[Finding]:
    """Q05: an index that is none, stands twice, or stands under two labels."""
    n = len(subject.memo["truth"]["imlist"])
    for i, name, entry in _entries(subject):
        seen: dict[int, str] = {}
        for label in LABELS:
            for value in map(_whole, entry[label] if type(entry.get(label)) is list else ()):
                place = _place(subject, i, label)
                if type(value) is not int or not 0 <= value < n:
                    yield finding("Q05", place, f"holds {short(value)}; expected indices from 0 to {n - 1}", item=name)
                elif value in seen:
                    other = f"in {seen[value]} too" if seen[value] != label else "twice"
                    yield finding("Q05", place, f"image {value} stands {other}; expected it once", item=name)
                else:
                    seen[value] = label


def query_in_gallery(subject: Subject) -> Iterator[Finding]:
    """Q01: a query that is an image of the database as well."""
    gallery = set(subject.memo["truth"]["imlist"])
    for i, name in enumerate(subject.memo["truth"]["qimlist"]):
        if name in gallery:
            place = f"{subject.memo['path']}, qimlist[{i}]"
            yield finding("Q01", place, f"query {short(name)} stands in imlist too", item=_id(name))


def without_positive(subject: Subject) -> Iterator[Finding]:
    """Q02: a query without easy or hard image."""
    for i, name, entry in _entries(subject):
        if not entry.get("easy") and not entry.get("hard"):
            text = f"query {name} has no easy and no hard image; expected at least one"
            yield finding("Q02", _place(subject, i, ""), text, item=name)
