"""Relevance: which image of the gallery answers which query. Build, export, verify and evaluate all ask here.

Where a query has judgements, they say it. Elsewhere relevance follows from the annotations by the dataset's rule
(``Info.relevance``), read as:

* The gallery is the images with the role gallery or distractor; where no image has one, all images but those that
  queries or support sets are made of. A query's own image never answers it.
* A query's target is its instance or its category (``rule.target``); where it names none, that of its annotation; where
  that names no category either, its instance's.
* Only annotations of status truth count. One of the target makes its image *positive*, unless it is a crowd, an ignore
  region, of a label in ``rule.ignored_labels``, or its box ``w * h`` is below ``rule.min_area`` px². An image where all
  annotations of the target are such is to be *ignored*. A label of the whole image has no box and is never too small.
* Any other image is a *negative* only where coverage (``curate.coverage``) calls it exhaustive for the category of the
  query, instance targets included; elsewhere it is *unjudged*.

Pairs that are positive or ignored are few and are listed (:func:`relevance`); the others are counted
(:func:`overview`) or listed query by query (:func:`unjudged`), never all at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, holds, plain, positions, whole
from curate.coverage import coverage_of
from curate.dataset import Dataset
from curate.errors import UsageError
from curate.model import RelevanceRule

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# What a pair may be, the strongest first: of several judgements of one pair the first of these holds.
LABELS = ("positive", "easy", "hard", "ignore", "junk", "negative")
POSITIVE = ("positive", "easy", "hard")
IGNORED = ("ignore", "junk")
PAIRS = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("annotation_id", pa.string()),
        pa.field("judged", pa.bool_(), nullable=False),
    ]
)


def gallery(dataset: Dataset) -> pa.Array:
    """The ids of the images that are searched, in their order."""
    ids = whole(dataset.table("images")["id"])
    return ids.filter(pa.array(searched(dataset)))


def searched(dataset: Dataset) -> Bools:
    """For each image, whether it is searched."""
    ids = dataset.table("images")["id"]
    members = dataset.table("members")
    named = members["image_id"].filter(pa.array(holds(members["role"], "gallery", "distractor")))
    if len(named):
        found: Bools = positions(ids, named) >= 0
        return found
    aside = [members["image_id"], *(dataset.table(name)["image_id"] for name in ("queries", "support"))]
    return ~flags(pc.is_in(ids, value_set=pa.concat_arrays([whole(column.drop_null()) for column in aside])))


def targets(dataset: Dataset, query_ids: Sequence[str] | None = None) -> pa.Table:
    """What each query asks for: ``query_id``, ``image_id``, ``target`` by the rule, ``category`` for coverage.

    Raises:
        UsageError: a query is unknown.
    """
    queries = _queries(dataset, query_ids)
    annotations = dataset.table("annotations")
    own = positions(queries["annotation_id"], annotations["id"])

    def of_annotation(column: str) -> pa.Array:
        return _take(plain(annotations[column]), own)

    instance = pc.coalesce(whole(queries["instance"]), of_annotation("instance"))
    instances = dataset.table("instances")
    of_instance = _take(plain(instances["category"]), positions(instance, instances["id"]))
    category = pc.coalesce(whole(plain(queries["category"])), of_annotation("category"), of_instance)
    target = instance if dataset.info.relevance.target == "instance" else category
    return pa.table(
        {"query_id": queries["id"], "image_id": queries["image_id"], "target": target, "category": category}
    )


def evidence(dataset: Dataset, rule: RelevanceRule | None = None) -> pa.Table:
    """The truth annotations that name a target, with what they make of their image.

    Columns: ``row`` and ``image``, the positions in the tables annotations and images; ``target``; ``positive``, true
    where the annotation makes its image a positive, else the image is to be ignored; ``size``, ``w * h`` in px²,
    infinite for a label of the whole image. ``rule`` is the dataset's own unless another is given.
    """
    rule = rule or dataset.info.relevance
    table = dataset.table("annotations")
    named = pc.and_(pc.is_valid(table[rule.target]), pc.equal(plain(table["status"]), "truth"))
    image = positions(table["image_id"], dataset.table("images")["id"])
    rows = np.flatnonzero(flags(named) & (image >= 0))
    table = table.select(["instance", "category", "source_label", "w", "h", "ignore", "iscrowd"]).take(pa.array(rows))
    size = pc.fill_null(pc.multiply(table["w"], table["h"]), np.inf)
    passed_over = pc.or_(table["ignore"], table["iscrowd"])
    if rule.ignored_labels:
        labels = pa.array(rule.ignored_labels, pa.string())
        for column in ("category", "source_label"):
            passed_over = pc.or_(passed_over, pc.is_in(plain(table[column]), value_set=labels))
    positive = pc.and_not(pc.greater_equal(size, rule.min_area), passed_over)
    return pa.table(
        {
            "row": rows,
            "image": image[rows],
            "target": plain(table[rule.target]),
            "positive": positive,
            "size": size,
        }
    )


def relevance(dataset: Dataset, query_ids: Sequence[str] | None = None) -> pa.Table:
    """The pairs of query and gallery image that are judged, or are positive or ignored by their annotations.

    One row per pair, ordered by query and image: ``query_id``, ``image_id``, ``label`` (one of :data:`LABELS`),
    ``annotation_id`` (of several, the largest that earned the label), ``judged`` (whether a judgement says so). Of
    several judgements of a pair the strongest holds, in the order of :data:`LABELS`.

    Raises:
        UsageError: one of ``query_ids`` is unknown.
    """
    search = _search(dataset, query_ids)
    pairs = _pairs(search)
    annotation = _take(dataset.table("annotations")["id"], np.where(pairs.judged, -1, pairs.row))
    judged = _take(dataset.table("judgements")["annotation_id"], np.where(pairs.judged, pairs.row, -1))
    columns = [
        _take(search.asked["query_id"], pairs.query),
        _take(dataset.table("images")["id"], pairs.image),
        pa.array(LABELS).take(pa.array(pairs.label)),
        pc.if_else(pa.array(pairs.judged), judged, annotation),
        pa.array(pairs.judged),
    ]
    return pa.Table.from_arrays(columns, schema=PAIRS)


def overview(dataset: Dataset, query_ids: Sequence[str] | None = None) -> pa.Table:
    """How many gallery images are what, by query: ``query_id``, ``positive``, ``ignored``, ``negative``, ``unjudged``.

    The four add up to the gallery without the query's own image. Costs time by annotations, judgements and queries,
    and not by their products.

    Raises:
        UsageError: one of ``query_ids`` is unknown.
    """
    search = _search(dataset, query_ids)
    coverage = coverage_of(dataset)
    category, number = coverage.codes(search.asked["category"]), search.asked.num_rows

    def tally(pairs: _Pairs, category: Ints, number: int) -> Ints:
        label = np.array(LABELS)[pairs.label]
        exhaustive = coverage.at(pairs.image, category[pairs.query])
        kinds = (np.isin(label, POSITIVE), np.isin(label, IGNORED), label == "negative", exhaustive, label != "")
        return np.stack([np.bincount(pairs.query[kind], minlength=number) for kind in kinds])

    # Queries that ask for one target in one category differ by their own image only: these are counted once.
    target, derived = search.target, np.flatnonzero(search.target >= 0)
    classes = coverage.unknown + 1
    alike, which = np.unique(target[derived] * classes + category[derived], return_inverse=True)
    of_alike, category_of_alike = np.divmod(alike, classes)
    counts = tally(search.judged, category, number)
    counts[:, derived] += tally(_answers(search.found, of_alike), category_of_alike, len(alike))[:, which]
    counts -= tally(_own_answers(search), category, number)
    positive, ignored, negative, exhaustive, listed = counts

    own = np.flatnonzero(search.own >= 0)
    own = own[search.searched[search.own[own]]]
    in_gallery = np.bincount(own, minlength=number)
    own_exhaustive = np.bincount(own[coverage.at(search.own[own], category[own])], minlength=number)
    unlisted_negative = coverage.counts(search.searched)[category] - own_exhaustive - exhaustive
    return pa.table(
        {
            "query_id": search.asked["query_id"],
            "positive": positive,
            "ignored": ignored,
            "negative": negative + unlisted_negative,
            "unjudged": int(search.searched.sum()) - in_gallery - listed - unlisted_negative,
        }
    )


def unjudged(dataset: Dataset, query_ids: Sequence[str] | None = None) -> Iterator[tuple[str, pa.Array]]:
    """Each query with the ids of the gallery images of which nobody knows whether they answer it, in their order.

    Raises:
        UsageError: one of ``query_ids`` is unknown.
    """
    ids = whole(dataset.table("images")["id"])
    for query_id, rows in unjudged_rows(dataset, query_ids):
        yield query_id, ids.take(pa.array(rows))


def unjudged_rows(dataset: Dataset, query_ids: Sequence[str] | None = None) -> Iterator[tuple[str, Ints]]:
    """As :func:`unjudged`, with the images' positions in the table images.

    Raises:
        UsageError: one of ``query_ids`` is unknown.
    """
    search = _search(dataset, query_ids)
    coverage = coverage_of(dataset)
    category = coverage.codes(search.asked["category"])
    pairs = _pairs(search)
    bounds = np.searchsorted(pairs.query, np.arange(search.asked.num_rows + 1))
    everything = np.flatnonzero(search.searched)

    @lru_cache(maxsize=16)  # queries of one class mostly follow one another
    def not_covered(category: int) -> Ints:
        return everything[~coverage.at(everything, np.full(len(everything), category))]

    listed = np.zeros(len(search.searched), bool)
    for i, query_id in enumerate(search.asked["query_id"].to_pylist()):
        unknown = not_covered(int(category[i]))
        here = pairs.image[bounds[i] : bounds[i + 1]]
        listed[here] = True
        found = unknown[~listed[unknown] & (unknown != search.own[i])]
        listed[here] = False
        yield query_id, found


def _queries(dataset: Dataset, query_ids: Sequence[str] | None) -> pa.Table:
    queries = dataset.table("queries")
    if query_ids is None:
        return queries
    wanted = pa.array(query_ids, pa.string())
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=whole(queries["id"]))))
    if len(unknown):
        raise UsageError(f"query {unknown[0].as_py()!r}", "unknown", f"expected one of dataset {dataset.info.name!r}")
    return queries.filter(pc.is_in(queries["id"], value_set=wanted))


class _Pairs(NamedTuple):
    """Pairs as parallel arrays."""

    query: Ints  # position among the queries asked for
    image: Ints  # position in the table images
    label: Ints  # position in LABELS
    row: Ints  # of the table judgements where judged, else of annotations
    judged: Bools


class _Found(NamedTuple):
    """The gallery images that show each target, ordered by target and image: one row each, the best annotation."""

    start: Ints  # per target, where its rows begin; and the end
    image: Ints
    row: Ints
    positive: Bools


class _Search(NamedTuple):
    """Queries, the gallery, and what is known of both, as numbers."""

    asked: pa.Table  # of targets()
    own: Ints  # per query, its image; -1 if it has none
    searched: Bools  # per image
    judged: _Pairs  # ordered by query and image
    target: Ints  # per query, its target among those found; -1 if it has none, or judgements say all
    found: _Found


def _search(dataset: Dataset, query_ids: Sequence[str] | None) -> _Search:
    asked = targets(dataset, query_ids)
    own = positions(asked["image_id"], dataset.table("images")["id"])
    in_gallery = searched(dataset)
    judged, has_judgements = _judged(dataset, asked, own, in_gallery)
    wanted = pc.unique(asked["target"].filter(pa.array(~has_judgements))).drop_null()
    target = np.where(has_judgements, -1, positions(asked["target"], wanted))
    return _Search(asked, own, in_gallery, judged, target, _found(dataset, wanted, in_gallery))


def _judged(dataset: Dataset, asked: pa.Table, own: Ints, searched: Bools) -> tuple[_Pairs, Bools]:
    """The pairs that judgements name, and which queries have any judgement."""
    judgements = dataset.table("judgements")
    query = positions(judgements["query_id"], asked["query_id"])
    image = positions(judgements["image_id"], dataset.table("images")["id"])
    label = positions(judgements["label"], pa.array(LABELS))
    has_judgements = np.zeros(asked.num_rows, bool)
    has_judgements[query[query >= 0]] = True
    rows = np.flatnonzero((query >= 0) & (image >= 0))
    rows = rows[searched[image[rows]] & (own[query[rows]] != image[rows])]
    rows = rows[np.lexsort((rows, label[rows], image[rows], query[rows]))]
    rows = rows[_first_of_each(query[rows], image[rows])]
    return _Pairs(query[rows], image[rows], label[rows], rows, np.ones(len(rows), bool)), has_judgements


def _found(dataset: Dataset, wanted: pa.Array, searched: Bools) -> _Found:
    found = evidence(dataset)
    image, target = found["image"].to_numpy(), positions(found["target"], wanted)
    keep = np.flatnonzero((target >= 0) & searched[image])
    row, image, target = found["row"].to_numpy()[keep], image[keep], target[keep]
    positive, size = flags(found["positive"])[keep], found["size"].to_numpy()[keep]
    best = np.lexsort((row, -size, ~positive, image, target))
    best = best[_first_of_each(target[best], image[best])]
    start = np.searchsorted(target[best], np.arange(len(wanted) + 1))
    return _Found(start, image[best], row[best], positive[best])


def _pairs(search: _Search) -> _Pairs:
    """All pairs that are listed, ordered by query and image."""
    derived = _answers(search.found, search.target)
    other = search.own[derived.query] != derived.image
    both = [np.concatenate([a, b[other]]) for a, b in zip(search.judged, derived, strict=True)]
    order = np.argsort(both[0], kind="stable")  # no query is in both parts, and each is ordered by image
    return _Pairs(*(column[order] for column in both))


def _answers(found: _Found, target: Ints) -> _Pairs:
    """What is found for each target asked for (-1: nothing), own images included; ``query`` is its place."""
    count = np.where(target >= 0, np.append(np.diff(found.start), 0)[target], 0)
    query = np.repeat(np.arange(len(target)), count)
    index = np.arange(len(query)) + np.repeat(found.start[target] - (np.cumsum(count) - count), count)
    return _as_pairs(found, query, index)


def _own_answers(search: _Search) -> _Pairs:
    """The pairs of :func:`_answers` that pair a query with its own image."""
    found = search.found
    target = np.repeat(np.arange(len(found.start) - 1), np.diff(found.start))
    images = len(search.searched)
    asked = np.where((search.target >= 0) & (search.own >= 0), search.target * images + search.own, -1)
    index = positions(pa.array(asked), pa.array(target * images + found.image))
    query = np.flatnonzero(index >= 0)
    return _as_pairs(found, query, index[query])


def _as_pairs(found: _Found, query: Ints, index: Ints) -> _Pairs:
    label = np.where(found.positive[index], LABELS.index("positive"), LABELS.index("ignore"))
    return _Pairs(query, found.image[index], label, found.row[index], np.zeros(len(query), bool))


def _first_of_each(a: Ints, b: Ints) -> Bools:
    """Where a new pair ``a, b`` begins, in arrays that are sorted by them."""
    first = np.ones(len(a), bool)
    first[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return first


def _take(column: pa.Array | pa.ChunkedArray, rows: Ints) -> pa.Array:
    """The values at ``rows``; null where a row is -1."""
    return whole(column).take(pa.array(rows, mask=rows < 0))
