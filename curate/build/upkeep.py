"""What follows when annotations are dropped: coverage stays honest, and nothing points at a row that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset, conform

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def mark_partial(dataset: Dataset, image: Ints, dropped: Bools, origin: str) -> tuple[Dataset, int]:
    """Say that images no longer show by their annotations which classes are in them.

    An annotation that is dropped, by another rule than its class, is still to be seen in its image: the image becomes
    ``partial`` for that class, and is no negative. Where a row of the image itself already says less than exhaustive,
    it stays.

    Args:
        image: for each annotation the position of its image, -1 if that is not there.
        dropped: for each annotation whether it is dropped; only those of status truth matter.

    Returns:
        the dataset with its new coverage, and the number of rows written.
    """
    rows = np.flatnonzero(dropped & (image >= 0))
    seen = dataset.table("annotations").select(["status", "category", "instance"]).take(pa.array(rows))
    truth = flags(pc.equal(plain(seen["status"]), "truth"))
    images, names = _image_classes(seen.filter(pa.array(truth)), image[rows[truth]], dataset.table("instances"))
    if not len(images):
        return dataset, 0
    known = pc.unique(names)
    known = known.take(pc.sort_indices(known))
    pairs = np.sort(images * len(known) + positions(names, known))
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]

    coverage, ids = dataset.table("coverage"), dataset.table("images")["id"].combine_chunks()
    of_image, code = positions(coverage["scope"], ids), positions(coverage["category"], known)
    exhaustive = flags(pc.equal(plain(coverage["state"]), "exhaustive"))
    key = np.where((of_image >= 0) & (code >= 0), of_image * len(known) + code, -1)
    of_all = (of_image >= 0) & flags(pc.equal(plain(coverage["category"]), "*"))
    settled = _within(pairs, key[~exhaustive])
    settled |= _within(pairs // len(known), of_image[of_all & ~exhaustive]) & ~_within(pairs, key)
    pairs = pairs[~settled]
    new = pa.table(
        {
            "scope": ids.take(pa.array(pairs // len(known))),
            "category": known.take(pa.array(pairs % len(known))),
            "state": pa.repeat(pa.scalar("partial"), len(pairs)),
            "origin": pa.repeat(pa.scalar(origin), len(pairs)),
        }
    )
    if coverage.num_rows:
        old = coverage.filter(pa.array(~_within(key, pairs)))
        new = pa.concat_tables([old, conform("coverage", new)]).unify_dictionaries()
    return dataset.replace(coverage=new), len(pairs)


def _image_classes(seen: pa.Table, image: Ints, instances: pa.Table) -> tuple[Ints, pa.Array]:
    """Images and class names in parallel: the categories of annotations ``seen`` in ``image``, and their instances'."""
    category, instance = whole(seen["category"]), whole(seen["instance"])
    of_instance = whole(instances["category"]).take(_rows(positions(instance, instances["id"])))
    # An instance of no known class may be asked for all the same: then of no class is the image sure.
    nameless = pc.and_(pc.is_valid(instance), pc.is_null(pc.coalesce(of_instance, category)))
    asked = pc.if_else(nameless, "*", of_instance)
    names = pa.concat_arrays([category, asked])
    named = np.flatnonzero(flags(pc.is_valid(names)))
    return np.tile(image, 2)[named], names.take(pa.array(named))


def keep_classes(dataset: Dataset, classes: Sequence[str], kept: Bools) -> Dataset:
    """The tables beside the annotations for these classes only: categories, coverage, instances, queries.

    An instance stays if its class does, or if a ``kept`` annotation names it.
    """
    wanted = pa.array(classes, pa.string())
    categories, coverage, instances = (dataset.table(name) for name in ("categories", "coverage", "instances"))
    used = pc.unique(dataset.table("annotations")["instance"].filter(pa.array(kept)))
    stays = pc.or_(
        pc.is_in(plain(instances["category"]), value_set=wanted), pc.is_in(instances["id"], value_set=whole(used))
    )
    lost = instances.filter(pc.invert(pc.fill_null(stays, False)))["id"]
    queries = dataset.table("queries")
    other = pc.and_(pc.is_valid(queries["category"]), pc.invert(pc.is_in(plain(queries["category"]), value_set=wanted)))
    other = pc.or_(other, pc.is_in(queries["instance"], value_set=whole(lost)))
    dataset = dataset.replace(
        categories=categories.filter(pc.is_in(categories["name"], value_set=wanted)),
        coverage=coverage.filter(_says_of(coverage, [*classes, "*"])),
        instances=instances.filter(pc.invert(pc.is_in(instances["id"], value_set=whole(lost)))),
    )
    return without_queries(dataset, queries.filter(other)["id"])


def _says_of(coverage: pa.Table, classes: Sequence[str]) -> Any:
    """Which rows say something of ``classes``, or point at a scope that may (``curate.coverage``)."""
    category, scopes = plain(coverage["category"]), pc.unique(plain(coverage["scope"]))
    return pc.or_(pc.is_in(category, value_set=pa.array(classes)), pc.is_in(category, value_set=scopes))


def drop_annotations(dataset: Dataset, kept: Bools) -> tuple[Dataset, int]:
    """Only the annotations ``kept``; with the others go their queries, support sets and judgements.

    Returns:
        the dataset, and how many parts or refinements of dropped annotations stayed and lost their ``parent_id``.
    """
    annotations = dataset.table("annotations")
    gone = annotations["id"].filter(pa.array(~kept))
    annotations = annotations.filter(pa.array(kept))
    orphans = 0
    if annotations["parent_id"].null_count < annotations.num_rows:
        orphaned = _is_among(annotations["parent_id"], gone)
        orphans = int(flags(orphaned).sum())
        column = pc.if_else(orphaned, pa.scalar(None, pa.string()), annotations["parent_id"])
        annotations = annotations.set_column(annotations.schema.get_field_index("parent_id"), "parent_id", column)
    queries = dataset.table("queries")
    lost = queries.filter(_is_among(queries["annotation_id"], gone))["id"]
    others = {name: dataset.table(name) for name in ("support", "judgements")}
    dataset = dataset.replace(
        annotations=annotations,
        **{
            name: table.filter(pc.invert(_is_among(table["annotation_id"], gone)))
            for name, table in others.items()
            if table.num_rows
        },
    )
    return without_queries(dataset, lost), orphans


def without_queries(dataset: Dataset, lost: pa.ChunkedArray) -> Dataset:
    """Drop queries with their support sets and judgements, and the role query of images that no query needs now."""
    if not len(lost):
        return dataset
    queries = dataset.table("queries")
    gone = _is_among(queries["id"], lost)
    queries, dropped = queries.filter(pc.invert(gone)), queries.filter(gone)
    tables = {"queries": queries}
    for name in ("support", "judgements"):
        table = dataset.table(name)
        tables[name] = table.filter(pc.invert(_is_among(table["query_id"], lost)))
    members = dataset.table("members")
    idle = pc.and_(_is_among(members["image_id"], dropped["image_id"]), pc.equal(plain(members["role"]), "query"))
    idle = pc.and_not(idle, _is_among(members["image_id"], queries["image_id"]))
    return dataset.replace(**tables, members=members.filter(pc.invert(idle)))


def _within(numbers: Ints, others: Ints) -> Bools:
    return positions(pa.array(numbers), pa.array(others)) >= 0


def _is_among(column: pa.ChunkedArray, values: pa.ChunkedArray) -> Any:
    """Where ``column`` holds one of ``values``; never where it is null."""
    return pc.is_in(column, value_set=whole(values).drop_null(), skip_nulls=True)


def _rows(rows: Ints) -> pa.Array:
    return pa.array(rows, mask=rows < 0)
