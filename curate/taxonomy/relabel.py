"""Relabelling: every annotation's category by a taxonomy, vectorised over the tables.

* Certain rules (exact, narrower) set the category; the row stays what it is, truth or proposal.
* Others (broader, possible) add a row of status proposal with the box of the row it comes from, its ``parent_id``. Its
  id is ``<id of that row>~<class>``, its origin ``taxonomy:<name>``; masks stay with the parent.
* Rules of whole images add a row without box, ``<image id>#<class>``: truth if certain, else a proposal.
* ``source_label`` never changes. A row that no certain rule fits keeps its category, which gets the role ``other``; one
  of the name of a class becomes ``<source>:<label>``, so that it is not taken for the class. With ``drop_unmapped``
  rows of which no rule says anything are left out, unless another row points at them.
* A label belongs to the image's source, or to the source that the annotation's id names (``...#searchad:0000``).
* Proposals of an earlier relabelling that nobody has reviewed are made anew, so that doing it twice changes nothing.
* The class of a query or an instance becomes another where all sources here agree on it.

Coverage follows in :mod:`curate.taxonomy.coverage`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset, conform, table_of
from curate.model import Annotation, Category, CategoryRole, Command, Step
from curate.taxonomy.coverage import relabelled_coverage
from curate.taxonomy.labels import Labels, labels_of, native_label
from curate.taxonomy.report import Relabelled, Unmapped, class_counts
from curate.taxonomy.tables import Taxonomy, Term

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "relabel"


def relabel(dataset: Dataset, taxonomy: Taxonomy, *, drop_unmapped: bool = False) -> tuple[Dataset, Relabelled]:
    """``dataset`` in the classes of ``taxonomy``, and a report of what each source brings and what stayed unmapped."""
    origin = f"taxonomy:{taxonomy.name}"
    old = _without_own_rows(dataset, taxonomy, origin)
    labels = labels_of(old)
    marks = _marks(old, labels, taxonomy)
    unmapped = marks.target == _NOTHING
    kept = ~(unmapped & ~_pointed_at(old)) if drop_unmapped else np.ones(len(unmapped), bool)
    rows = _with_categories(old.table("annotations"), labels, marks, taxonomy).filter(pa.array(kept))
    new = [_proposals(old.table("annotations"), marks, taxonomy, origin), _image_rows(old, taxonomy, origin)]
    annotations = pa.concat_tables([rows, *(conform("annotations", table) for table in new if table.num_rows)])

    named = _named_classes(old, labels.sources, taxonomy)
    used = set(pc.unique(plain(annotations["category"])).to_pylist())
    stays = set(used) if drop_unmapped else None
    for table in ("queries", "instances"):
        used |= set(pc.unique(plain(named.get(table, old.table(table))["category"])).to_pylist())
    told = old.replace(
        annotations=annotations,
        categories=_categories(old, taxonomy, used, drop_unmapped=drop_unmapped),
        coverage=relabelled_coverage(old, taxonomy, labels.sources, stays),
        **named,
    )
    report = Relabelled(
        taxonomy=taxonomy.name,
        annotations=dataset.table("annotations").num_rows,
        mapped=int((marks.target >= 0).sum()),
        proposals=_own_rows(told, origin, "proposal"),
        of_images=_own_rows(told, origin, "truth"),
        classes=class_counts(told, taxonomy),
        unmapped=_unmapped(taxonomy, labels, marks, kept),
    )
    options = {"taxonomy": taxonomy.name, **({"drop-unmapped": True} if drop_unmapped else {})}
    command = Command(verb=VERB, options=options, steps=tuple(_steps(report)))
    return told.replace(info=dataset.child(dataset.info.name, command=command)), report


def _without_own_rows(dataset: Dataset, taxonomy: Taxonomy, origin: str) -> Dataset:
    """The dataset without rows that an earlier relabelling made and that nobody has reviewed.

    Proposals of rows that have their class by now stay: what their label was is not to be seen in their category.
    """
    table = dataset.table("annotations")
    own = pc.and_(pc.starts_with(plain(table["origin"]), "taxonomy:"), pc.is_null(table["round"]))
    if not pc.any(own).as_py():
        return dataset
    classes = pa.array(list(taxonomy.classes), pa.string())
    settled = flags(pc.is_in(plain(table["category"]), value_set=classes)) & _is_renamed(dataset)
    parents = table["id"].filter(pa.array(settled & ~flags(own)))
    stays = pc.and_(pc.equal(plain(table["origin"]), origin), pc.is_in(table["parent_id"], value_set=whole(parents)))
    return dataset.replace(annotations=table.filter(pc.or_(pc.invert(own), pc.fill_null(stays, False))))


def _own_rows(dataset: Dataset, origin: str, status: str) -> int:
    table = dataset.table("annotations")
    own = pc.and_(pc.equal(plain(table["origin"]), origin), pc.equal(plain(table["status"]), status))
    return int(pc.sum(own).as_py() or 0)


# ---------------------------------------------------------------------------------------------------------- labels


class _Marks(NamedTuple):
    """What the rules say of each annotation: its class by number, and proposals as parallel rows and classes."""

    target: Ints  # number of the class, _UNCERTAIN, or _NOTHING
    proposed_row: Ints
    proposed_class: Ints


_UNCERTAIN, _NOTHING = -1, -2


def _marks(dataset: Dataset, labels: Labels, taxonomy: Taxonomy) -> _Marks:
    number = {name: i for i, name in enumerate(taxonomy.classes)}
    rules = taxonomy.of_labels()
    target = np.full(len(labels.of_row), _NOTHING)
    proposed: list[tuple[Ints, int]] = []
    order = np.argsort(labels.of_row, kind="stable")
    bounds = np.searchsorted(labels.of_row[order], np.arange(len(labels.pairs) + 1))
    renamed = _is_renamed(dataset)
    alive = flags(pc.not_equal(plain(dataset.table("annotations")["status"]), "rejected"))
    for i, (source, category) in enumerate(labels.pairs):
        rows = order[bounds[i] : bounds[i + 1]]
        if category is None:
            continue
        if taxonomy.is_native:
            target[rows] = 0
        label = native_label(source, category)
        if (source, label) not in rules and category in number:
            target[rows[renamed[rows]]] = number[category]  # by an earlier relabelling, or by hand
        for rule in rules.get((source, label), []):
            hit = rows[_holds(dataset, rows, rule.condition)] if rule.condition else rows
            if rule.certain:
                target[hit[target[hit] < 0]] = number[rule.name]
            else:
                target[hit[target[hit] == _NOTHING]] = _UNCERTAIN
                proposed.append((hit[alive[hit]], number[rule.name]))
    nothing = np.zeros(0, np.int64)
    return _Marks(
        target,
        np.concatenate([rows for rows, _ in proposed] or [nothing]),
        np.concatenate([np.full(len(rows), name) for rows, name in proposed] or [nothing]),
    )


def _is_renamed(dataset: Dataset) -> Bools:
    """Whether a row's category is no longer its source's label."""
    table = dataset.table("annotations")
    same = pc.fill_null(pc.equal(plain(table["category"]), plain(table["source_label"])), False)
    return ~flags(same)


def _holds(dataset: Dataset, rows: Ints, condition: Sequence[Term]) -> Bools:
    """For each of the annotations ``rows``, whether a condition holds."""
    table = dataset.table("annotations")
    image = positions(table["image_id"].take(pa.array(rows)), dataset.table("images")["id"])
    met = np.ones(len(rows), bool)
    for term in condition:
        name, at = ("images", image) if term.of_image else ("annotations", rows)
        met &= _meets(dataset.table(name), at, term)
    return met


def _meets(table: pa.Table, rows: Ints, term: Term) -> Bools:
    """For each of ``rows`` (-1: none) whether its value is that of ``term``, or a list that holds it."""
    column, *keys = term.path
    if column not in table.column_names:
        return np.zeros(len(rows), bool)
    values = whole(table[column]).take(pa.array(rows, mask=rows < 0))
    if not keys:
        return np.array([_same(value, term.value) for value in values.to_pylist()], bool)
    distinct = values.dictionary_encode("encode")
    decode = msgspec.json.Decoder().decode
    found = [
        _same(_inner(decode(text), keys) if text else None, term.value) for text in distinct.dictionary.to_pylist()
    ]
    return np.array(found, bool)[distinct.indices.to_numpy()] if found else np.zeros(len(rows), bool)


def _inner(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return any(_same(entry, wanted) for entry in value)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


# ------------------------------------------------------------------------------------------------------------ rows


def _with_categories(table: pa.Table, labels: Labels, marks: _Marks, taxonomy: Taxonomy) -> pa.Table:
    """The annotations with their new categories; all other columns are shared."""
    if taxonomy.is_native:
        return table
    pairs, classes = len(labels.pairs), list(taxonomy.classes)
    # Numbers: a pair of source and label stands for itself, a class for pairs + its number.
    number = np.where(marks.target >= 0, pairs + marks.target, labels.of_row)
    words = [f"{source}:{label}" if label in taxonomy.classes else label for source, label in labels.pairs] + classes
    column = pa.array(words, pa.string()).take(pa.array(number))
    place = table.schema.get_field_index("category")
    return table.set_column(
        place, table.schema.field(place), column.dictionary_encode().cast(table.schema.types[place])
    )


def _proposals(table: pa.Table, marks: _Marks, taxonomy: Taxonomy, origin: str) -> pa.Table:
    rows = marks.proposed_row
    category = pa.array(list(taxonomy.classes), pa.string()).take(pa.array(marks.proposed_class))
    source = table.select(["id", "image_id", "source_label", "x", "y", "w", "h", "iscrowd", "ignore"])
    source = source.take(pa.array(rows)).combine_chunks()
    columns = {name: source[name] for name in source.column_names if name != "id"}
    proposals = pa.table(
        {
            **columns,
            "id": pc.binary_join_element_wise(whole(source["id"]), category, "~"),
            "parent_id": source["id"],
            "status": pa.repeat(pa.scalar("proposal"), len(rows)),
            "category": category,
            "area": pc.multiply(source["w"], source["h"]),
            "origin": pa.repeat(pa.scalar(origin), len(rows)),
        }
    )
    # One that was made before, and reviewed, is not made again.
    return proposals.filter(pc.invert(pc.is_in(proposals["id"], value_set=whole(table["id"]))))


def _image_rows(dataset: Dataset, taxonomy: Taxonomy, origin: str) -> pa.Table:
    """Rows of whole images; of several rules for one class and image a certain one holds."""
    images = dataset.table("images")
    ids, source = whole(images["id"]), plain(images["source"])
    annotations = dataset.table("annotations")
    taken = set(annotations["id"].filter(pc.is_null(annotations["x"])).to_pylist())  # made before, and reviewed
    records: list[Annotation] = []
    for rule in sorted((rule for rule in taxonomy.rules if not rule.label), key=lambda rule: not rule.certain):
        rows = np.flatnonzero(flags(pc.equal(source, rule.source)))
        for term in rule.condition:
            rows = rows[_meets(images, rows, term)]
        named = [(f"{image}#{rule.name}", image) for image in ids.take(pa.array(rows)).to_pylist()]
        new = [(row, image) for row, image in named if row not in taken]
        taken |= {row for row, _ in new}
        records += [
            Annotation(
                id=row,
                image_id=image,
                status="truth" if rule.certain else "proposal",
                category=rule.name,
                source_label=rule.text.removeprefix("image."),
                origin=origin,
            )
            for row, image in new
        ]
    return table_of("annotations", records)


def _pointed_at(dataset: Dataset) -> Bools:
    """For each annotation whether another row names it."""
    ids = whole(dataset.table("annotations")["id"])
    named = [whole(dataset.table("annotations")["parent_id"])]
    named += [whole(dataset.table(name)["annotation_id"]) for name in ("queries", "support", "judgements")]
    return flags(pc.is_in(ids, value_set=pa.concat_arrays(named).drop_null()))


# --------------------------------------------------------------------------------------------------- other tables


def _categories(dataset: Dataset, taxonomy: Taxonomy, used: set[Any], *, drop_unmapped: bool) -> pa.Table:
    """All classes of the taxonomy, and the labels that rows still have, with the role other (ignore stays ignore).

    The supercategory of such a label is not kept: sources group the same word differently.
    """
    table = dataset.table("categories")
    if taxonomy.is_native:
        return table
    old = {row["name"]: row for row in table.to_pylist()}
    rows = [*taxonomy.classes.values()]
    left = used | (set() if drop_unmapped else _unmapped_names(old, taxonomy))
    for name in sorted(left - set(taxonomy.classes) - {None}):
        known = old.get(name) or old.get(name.partition(":")[2]) or {}
        role: CategoryRole = "ignore" if known.get("role") == "ignore" else "other"
        rows.append(Category(name=name, role=role, definition=known.get("definition")))
    return table_of("categories", rows)


def _unmapped_names(old: Mapping[str, Any], taxonomy: Taxonomy) -> set[Any]:
    """Labels without rows that no certain rule takes away: they stay declared, for coverage names them."""
    mapped = {rule.label for rule in taxonomy.rules if rule.certain and not rule.condition}
    return {name for name in old if name not in mapped}


def _named_classes(dataset: Dataset, sources: set[str], taxonomy: Taxonomy) -> dict[str, pa.Table]:
    """Queries and instances with the classes that all sources here agree on."""
    meaning: dict[str, set[str]] = {}
    for rule in taxonomy.rules:
        if rule.source in sources and rule.label and rule.certain:
            meaning.setdefault(rule.label, set()).add("" if rule.condition else rule.name)
    agreed = {label: next(iter(names)) for label, names in meaning.items() if len(names) == 1 and "" not in names}
    changed = {}
    for name in ("queries", "instances"):
        table = dataset.table(name)
        if not table.num_rows or not agreed:
            continue
        place = table.schema.get_field_index("category")
        encoded = whole(table["category"]).dictionary_encode("encode")
        words = [agreed.get(word, word) for word in encoded.dictionary.to_pylist()]
        column = pa.array(words, pa.string()).take(encoded.indices)
        changed[name] = table.set_column(
            place, table.schema.field(place), column.dictionary_encode().cast(table.schema.types[place])
        )
    return changed


# ---------------------------------------------------------------------------------------------------------- report


def _unmapped(taxonomy: Taxonomy, labels: Labels, marks: _Marks, kept: Bools) -> list[Unmapped]:
    left = marks.target < 0
    size = len(labels.pairs)
    much = np.bincount(labels.of_row[left], minlength=size)
    dropped = np.bincount(labels.of_row[~kept], minlength=size)
    rules = taxonomy.of_labels()
    found = [
        Unmapped(
            source=source,
            label=label,
            annotations=int(much[i]),
            proposed=[
                rule.name for rule in rules.get((source, native_label(source, label or "")), []) if not rule.certain
            ],
            dropped=int(dropped[i]),
        )
        for i, (source, label) in enumerate(labels.pairs)
        if much[i]
    ]
    return sorted(found, key=lambda entry: (entry.source, entry.label or ""))


def _steps(report: Relabelled) -> list[Step]:
    steps = [
        Step(what="certain", counts={"annotations": report.mapped, "of whole images": report.of_images}),
        Step(what="possible", counts={"proposals": report.proposals}),
    ]
    for entry in report.unmapped:
        kind = "uncertain" if entry.proposed else "unmapped"
        counts = {"annotations": entry.annotations, **({"dropped": entry.dropped} if entry.dropped else {})}
        steps.append(Step(what=f"{kind} {entry.source}, {entry.label or 'without category'}", counts=counts))
    return steps
