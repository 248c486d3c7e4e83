"""R: ids, and what refers to them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.codes import Severity
from curate.columns import positions
from curate.coverage import coverage_of
from curate.model import TABLES, Finding, finding
from curate.verify.subject import Ints, Mask, Subject

ALIKE = 0.98  # IoU from which two boxes are one (R09)
_FURTHEST = 64  # neighbours looked at in the order of x: more would be of use only to a file of copies


def ids_twice(subject: Subject) -> Iterator[Finding]:
    """R01: an id, or another key of a table, that stands twice; every further one is a finding."""
    for table in subject.tables:
        keys = ("id",) if subject.kind != "dataset" else TABLES[table].key
        columns = [subject.column(table, key).combine_chunks() for key in keys]
        if len(keys) == 1 and _ascends(columns[0]):
            continue
        codes = np.zeros(len(columns[0]), np.int64)
        for column in columns:
            values = column.dictionary_encode()
            codes = codes * (len(values.dictionary) + 1) + pc.fill_null(values.indices, -1).to_numpy() + 1
        if len(keys) == 1:
            codes[codes == 0] = -1 - np.arange(int((codes == 0).sum()))  # ids that are missing are not equal
        for row in _repeats(codes).tolist():
            shown = ", ".join(f"{key} {column[row].as_py()!r}" for key, column in zip(keys, columns, strict=True))
            text = f"{shown} stands twice in {table}"
            yield finding("R01", subject.place(table, row, keys[0]), text, item=subject.item(table, row))


def _ascends(column: pa.Array) -> bool:
    """Whether each value is larger than the one before, so that none can stand twice. Tables of datasets are sorted."""
    return not column.null_count and bool(pc.all(pc.less(column[:-1], column[1:]), min_count=0).as_py())


def _repeats(codes: Ints) -> Ints:
    """Rows whose code stands in an earlier row, in order."""
    order = np.argsort(codes, kind="stable")
    again = order[1:][codes[order[1:]] == codes[order[:-1]]]
    rows: Ints = np.sort(again)
    return rows


class _Reference(NamedTuple):
    """What refers to what."""

    table: str
    column: str
    target: str
    key: str = "id"
    code: str = "R02"
    severity: Severity | None = None


_REFERENCES = (
    *(
        _Reference(table, "image_id", "images")
        for table in ("annotations", "queries", "support", "judgements", "members")
    ),
    *(_Reference(table, "query_id", "queries", "id", "R03", "error") for table in ("support", "judgements")),
    _Reference("annotations", "parent_id", "annotations", "id", "R03"),
    *(_Reference(table, "annotation_id", "annotations", "id", "R03") for table in ("queries", "support", "judgements")),
    *(_Reference(table, "instance", "instances", "id", "R03") for table in ("annotations", "queries")),
    *(_Reference(table, "category", "categories", "name", "R03") for table in ("instances", "queries")),
)


def dangling_images(subject: Subject) -> Iterator[Finding]:
    """R02: references to an image, and in a COCO file to a category, that is not there."""
    for reference in _REFERENCES:
        if reference.code == "R02":
            yield from _dangling(subject, reference)
    if subject.kind == "coco" and subject.table("categories").num_rows:
        yield from _dangling(subject, _Reference("annotations", "category", "categories"))


def dangling_links(subject: Subject) -> Iterator[Finding]:
    """R03: other references to what is not there."""
    for reference in _REFERENCES:
        if reference.code == "R03" and subject.kind == "dataset":
            yield from _dangling(subject, reference)
    yield from _coverage_scopes(subject)


def _dangling(subject: Subject, link: _Reference) -> Iterator[Finding]:
    values = subject.column(link.table, link.column)
    if link.target == "instances" and not subject.table("instances").num_rows:
        return  # instances need not be described
    if values.null_count == len(values):
        return
    lost = (positions(values, subject.column(link.target, link.key)) < 0) & values.is_valid().to_numpy()
    for row in np.flatnonzero(lost).tolist():
        place = subject.place(link.table, row, link.column)
        text = f"refers to {values[row].as_py()!r}; expected the {link.key} of a row in {link.target}"
        yield finding(link.code, place, text, item=subject.item(link.table, row), severity=link.severity)


def _coverage_scopes(subject: Subject) -> Iterator[Finding]:
    scopes = subject.column("coverage", "scope")
    if not len(scopes):
        return
    known = set(subject.column("images", "id").to_pylist()) | set(_splits(subject).values())
    known |= set(subject.column("coverage", "category").to_pylist())  # a row of an image may point at a scope
    for row, scope in enumerate(scopes.to_pylist()):
        if scope not in known:
            text = f"scope is {scope!r}; expected an image, or a source and split that has images"
            yield finding("R03", subject.place("coverage", row, "scope"), text, severity="info")


def _splits(subject: Subject) -> dict[int, str]:
    """For each image ``source/split`` as found at its source."""
    pairs = pc.binary_join_element_wise(
        subject.column("images", "source"), subject.column("images", "source_split"), "/"
    ).to_pylist()
    return {row: pair for row, pair in enumerate(pairs) if pair is not None}


def empty_ids(subject: Subject) -> Iterator[Finding]:
    """R04 in a dataset: an id that is empty. (In a COCO file ids are seen as they were decoded.)"""
    if subject.kind != "dataset":
        return
    for table in subject.tables:
        key = TABLES[table].key[0]
        for row in pc.indices_nonzero(pc.fill_null(pc.equal(subject.column(table, key), ""), False)).to_pylist():
            yield finding("R04", subject.place(table, row, key), f"{key} is empty; expected a name")


def alike_names(subject: Subject) -> Iterator[Finding]:
    """R05: category names that are blank, or equal but for case, spaces or Unicode form."""
    seen: dict[str, str] = {}
    for row, name in enumerate(subject.column("categories", "name").to_pylist()):
        if name is None:
            continue
        place = subject.place("categories", row, "name")
        folded = unicodedata.normalize("NFC", name).strip().casefold()
        if not folded:
            yield finding("R05", place, f"category name {name!r} is blank; expected a name", severity="error")
        elif folded in seen:
            yield finding("R05", place, f"category {name!r} and {seen[folded]!r} are one name but for case or spaces")
        else:
            seen[folded] = name


def cycles(subject: Subject) -> Iterator[Finding]:
    """R06: chains of parents, or of supercategories, that end in a circle. One that is its own parent is a root."""
    if subject.kind == "dataset":
        yield from _cycles(subject, "annotations", "id", "parent_id")
    yield from _cycles(subject, "categories", "name", "supercategory")


def _cycles(subject: Subject, table: str, key: str, link: str) -> Iterator[Finding]:
    links = subject.column(table, link)
    if links.null_count == len(links):
        return
    parent = positions(links, subject.column(table, key))
    n = len(parent)
    above = np.append(np.where((parent < 0) | (parent == np.arange(n)), n, parent), n)
    far = above
    for _ in range(max(n, 2).bit_length()):  # each step doubles how far up we look
        far = far[far]
    stuck = set(np.flatnonzero(far[:n] < n).tolist())
    seen: set[int] = set()
    for start in sorted(stuck):
        chain: dict[int, None] = {}
        row = start
        while row not in chain and row not in seen:
            chain[row] = None
            row = int(above[row])
        if row in chain:
            circle = [one for one in chain if one in _from(chain, row)]
            names = [str(subject.column(table, key)[one].as_py()) for one in [*circle[:5], circle[0]]]
            text = f"{link} leads in a circle of {len(circle)}: {' -> '.join(names)}"
            yield finding("R06", subject.place(table, min(circle), link), text, item=subject.item(table, min(circle)))
        seen.update(chain)


def _from(chain: dict[int, None], row: int) -> set[int]:
    rows = list(chain)
    return set(rows[rows.index(row) :])


def same_file(subject: Subject) -> Iterator[Finding]:
    """R07: one file under several image ids, by its path."""
    yield from _same(subject, "file_name", "path")


def same_content(subject: Subject) -> Iterator[Finding]:
    """R07 by content, where the hash of the files is known."""
    yield from _same(subject, "sha256", "content (SHA-256)")


def _same(subject: Subject, column: str, what: str) -> Iterator[Finding]:
    values = subject.column("images", column)
    if values.null_count == len(values):
        return
    if column == "file_name":
        values = pc.replace_substring_regex(values, r"/(?:\.?/)+", "/")
        values = pc.replace_substring_regex(values, r"^(?:\./)+", "")
        values = pc.binary_join_element_wise(subject.column("images", "source"), values, "\0")
    codes = pc.fill_null(values.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    rows = np.flatnonzero(codes >= 0)
    order = rows[np.argsort(codes[rows], kind="stable")]
    first = np.flatnonzero(np.diff(codes[order], prepend=-1))
    sizes = np.diff(first, append=len(order))
    for at, size in zip(first[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        group = [subject.item("images", int(row)) for row in order[at : at + size][:4]]
        listed = ", ".join(map(str, group)) + (", ..." if size > 4 else "")
        shown = subject.column("images", "file_name")[int(order[at])].as_py()
        yield finding(
            "R07",
            subject.place("images", int(order[at + 1]), column),
            f"{size} images have one {what}, {shown!r}: {listed}; expected one image to a file",
            item=subject.item("images", int(order[at + 1])),
        )


def without_annotation(subject: Subject) -> Iterator[Finding]:
    """R08, one for a split: images without any annotation where coverage calls the labels of all classes exhaustive."""
    if subject.dataset is None or not subject.table("coverage").num_rows:
        return
    coverage = coverage_of(subject.dataset)
    n = subject.table("images").num_rows
    exhaustive = coverage.at(np.arange(n), np.full(n, coverage.unknown))
    exhaustive[subject.image_index[subject.image_index >= 0]] = False
    splits = _splits(subject)
    groups: dict[str, list[int]] = {}
    for row in np.flatnonzero(exhaustive).tolist():
        groups.setdefault(splits.get(row, "no split"), []).append(row)
    for scope, rows in sorted(groups.items()):
        text = f"{len(rows):,} images of {scope} have no annotation, although its labels are exhaustive"
        yield finding("R08", subject.place("images", rows[0], ""), text, item=subject.item("images", rows[0]))


def alike_annotations(subject: Subject) -> Iterator[Finding]:
    """R09: two true annotations of one image and category whose boxes are the same (IoU >= 0.98)."""
    boxes = subject.boxes
    rows = np.flatnonzero(boxes.sound & (boxes.w * boxes.h > 0) & (subject.image_index >= 0) & subject.truth)
    if len(rows) < 2:
        return
    parent = _parents(subject)
    category = subject.column("annotations", "category").combine_chunks().dictionary_encode()
    codes = pc.fill_null(category.indices, -1).to_numpy().astype(np.int64) + 1
    group = subject.image_index * (len(category.dictionary) + 1) + codes
    rows = rows[np.lexsort((boxes.x[rows], group[rows]))]
    group, x, y, w, h = (column[rows] for column in (group, boxes.x, boxes.y, boxes.w, boxes.h))
    earlier = np.full(len(boxes.x), -1)  # for each annotation one before it that it repeats
    candidates: Ints = np.arange(len(rows))
    for step in range(1, _FURTHEST + 1):
        candidates = candidates[candidates + step < len(rows)]
        other = candidates + step
        # From IoU 0.98 on, the left edges are less than 2.1 % of the width apart.
        near = (group[candidates] == group[other]) & (x[other] - x[candidates] < 0.021 * w[candidates])
        candidates, other = candidates[near], other[near]
        if not len(candidates):
            break
        left, top = np.fmax(x[candidates], x[other]), np.fmax(y[candidates], y[other])
        right = np.fmin(x[candidates] + w[candidates], x[other] + w[other])
        bottom = np.fmin(y[candidates] + h[candidates], y[other] + h[other])
        shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
        union = w[candidates] * h[candidates] + w[other] * h[other] - shared
        alike = shared >= ALIKE * union
        pair = rows[candidates[alike]], rows[other[alike]]
        first, later = np.minimum(*pair), np.maximum(*pair)
        refines = (parent[later] == first) | (parent[first] == later)
        later, first = later[~refines], first[~refines]
        earlier[later] = np.where(earlier[later] < 0, first, earlier[later])
    for row in np.flatnonzero(earlier >= 0).tolist():
        repeated = subject.item("annotations", int(earlier[row]))
        text = f"box {boxes.text(row)} is that of annotation {repeated}, of the same category"
        yield finding("R09", subject.place("annotations", row, "bbox"), text, item=subject.item("annotations", row))


def _parents(subject: Subject) -> Ints:
    """For each annotation the row of its parent ``(n,)``; -1 if it has none."""
    if subject.kind != "dataset":
        return np.full(subject.table("annotations").num_rows, -1)
    return positions(subject.column("annotations", "parent_id"), subject.column("annotations", "id"))


def undeclared(subject: Subject) -> Iterator[Finding]:
    """R10: categories that are used but not declared, each an error; and, as one note, those never used."""
    used = pc.unique(subject.column("annotations", "category")).drop_null()
    column = subject.column("categories", subject.category_key)
    if subject.kind == "dataset":
        for name in used.filter(pa.array(_lost(used, column))).to_pylist():
            row = pc.index(subject.column("annotations", "category"), pa.scalar(name, used.type)).as_py()
            place = subject.place("annotations", row, "category")
            text = f"category {name!r} is not in the table categories; expected a row for it"
            yield finding("R10", place, text, item=subject.item("annotations", row))
    queried = subject.column("queries", "category").drop_null()
    names = subject.column("categories", "name")
    unused = _lost(column, used)
    if subject.kind == "dataset" and len(queried):
        unused &= _lost(column, queried)
    rows = np.flatnonzero(unused & column.is_valid().to_numpy())
    if len(rows) and subject.table("annotations").num_rows:
        listed = ", ".join(str(names[int(row)].as_py()) for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
        text = f"{len(rows):,} of {len(column):,} categories are declared but never used: {listed}"
        yield finding("R10", subject.place("categories", int(rows[0]), "name"), text, severity="info")


def _lost(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Mask:
    lost: Mask = positions(values, among) < 0
    return lost
