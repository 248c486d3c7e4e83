"""Mend what can be mended without a decision, and say of every change what it was and why.

Boxes are clipped, turned the right way round or taken from their masks, areas counted anew, what shows nothing or
stands twice is dropped, links to rows that are gone are cut, files found under another case, queries kept out of the
gallery. The box that was given is kept under ``attributes.repair.box``. All else is left as it is, for
:func:`curate.verify.verify` to list.

Repairs go round until none finds anything to do, so that repairing again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import flags, plain, positions
from curate.dataset import Dataset
from curate.model import Command, Finding, Step
from curate.verify import images, mend_annotations, queries, splits
from curate.verify.mending import Change, Tables, change, distinct, items, put, without
from curate.verify.paths import path_fault
from curate.verify.subject import Subject, of_dataset

VERB = "verify --repair"
_ROUNDS = 10


class Repaired(NamedTuple):
    """The dataset and every change; these are its problems too."""

    dataset: Dataset
    changes: tuple[Finding, ...]


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
            made = one(of_dataset(mended, folders))
            if made.done:
                mended = mended.replace(**made.tables)
                done += made.done
        if len(done) == before:
            break
    counts = Counter(one.code for one in done)
    command = Command(verb=VERB, steps=(Step(what="changes", counts=dict(sorted(counts.items()))),))
    info = dataset.child(dataset.info.name, command=command)
    return Repaired(mended.replace(info=info, problems=done), tuple(done))


# -------------------------------------------------------------------------------------------------- links and queries


def _rows_of_no_image(subject: Subject) -> Change:
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
            done.append(change(code, name, subject.item(name, row), text))
        if lost:
            tables[name] = without(table, lost)
    return Change(tables, done)


def _links(subject: Subject) -> Change:
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
            done.append(change("R03", name, subject.item(name, row), text))
        if rows:
            tables[name] = distinct(name, put(table, {column: dict.fromkeys(rows)}))
    return Change(tables, done)


def _gallery(subject: Subject) -> Change:
    """Q01 and Q08: images of queries and support sets taken out of the gallery."""
    out = dict.fromkeys(items(splits.support_in_gallery(subject)), "Q08")
    out |= {
        item: "Q01"
        for rule in (queries.query_in_gallery, queries.query_copy_in_gallery)
        for item in items(rule(subject))
    }
    members = subject.table("members")
    searched = flags(pc.is_in(plain(members["role"]), value_set=pa.array(splits.SEARCHED, pa.string())))
    ids = plain(members["image_id"]).to_pylist()
    rows = [row for row in np.flatnonzero(searched).tolist() if ids[row] in out]
    done = [change(out[ids[row]], "members", ids[row], "taken out of the gallery") for row in rows]
    return Change({"members": without(members, rows)} if rows else {}, done)


def _negatives(subject: Subject) -> Change:
    """Q09: negatives that nobody looked for are unjudged."""
    rows = list(splits.doubtful_rows(subject))
    table = subject.table("judgements")
    done = [
        change("Q09", "judgements", table["query_id"][row].as_py(), f"{table['image_id'][row].as_py()} is unjudged")
        for row in rows
    ]
    return Change({"judgements": without(table, rows)} if rows else {}, done)


def _bare_queries(subject: Subject) -> Change:
    """Q02: queries without positive, with what belongs to them."""
    bare = [one.item for one in queries.without_positive(subject) if one.severity == "error" and one.item]
    if not bare:
        return Change({}, [])
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
        tables["members"] = without(members, [i for i, r in enumerate(role) if r == "query" and ids[i] in idle])
    return Change(tables, [change("Q02", "queries", item, "has no positive: dropped") for item in bare])


# ------------------------------------------------------------------------------------------------------------- files


def _names(subject: Subject) -> Change:
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
            done.append(change(code, "images", subject.item("images", row), f"file_name {given!a} is now {name!a}"))
    return Change({"images": put(table, {"file_name": new})} if done else {}, done)


_REPAIRS: tuple[Callable[[Subject], Change], ...] = (
    _names,
    mend_annotations.turned,
    mend_annotations.from_corners,
    mend_annotations.empty_masks,
    mend_annotations.from_masks,
    mend_annotations.nothing_to_see,
    mend_annotations.clipped,
    mend_annotations.crowds,
    mend_annotations.areas,
    mend_annotations.twice,
    _rows_of_no_image,
    _links,
    _gallery,
    _negatives,
    _bare_queries,
)
