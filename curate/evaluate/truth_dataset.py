"""The truth in a dataset: its queries, and its judgements or the relevance that follows from its annotations."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import relevance
from curate.columns import flags, plain, positions, whole
from curate.coverage import coverage_of
from curate.dataset import Dataset
from curate.errors import SchemaError
from curate.evaluate.ranking import LABELS, NEGATIVE, Bools, Floats, Ints, Regions, Truth

# Sources whose own names for images and queries differ from the dataset's ids by more than the source's name.
_UPSTREAM = {"searchad": "path"}
# Whose attributes have the number of an image in submissions; the first counts.
_NUMBERED = ("hidden", "searchad")


def truth_of(dataset: Dataset, *, name: str | None = None) -> Truth:
    """The truth of ``dataset`` for all its queries.

    Items are the gallery in the order of its ids, distractors included; pairs that a judgement calls negative are left
    to be negatives. Whether other pairs are judged is asked of coverage.

    Raises:
        SchemaError: the dataset has no queries.
    """
    queries = dataset.table("queries")
    if not queries.num_rows:
        found = "has no queries"
        raise SchemaError(
            name or dataset.info.name, found, "expected a table queries", "make one with 'curate build split'"
        )
    items = relevance.gallery(dataset)
    pairs = relevance.relevance(dataset)
    label = positions(pairs["label"], pa.array(LABELS)).astype(np.int8)
    query, item = positions(pairs["query_id"], queries["id"]), positions(pairs["image_id"], items)
    kept = (label != NEGATIVE) & (item >= 0)
    order = np.lexsort((item[kept], query[kept]))
    images = dataset.table("images")
    row = positions(items, images["id"])
    asked = relevance.targets(dataset)
    attributes = images["attributes"].take(pa.array(row))
    query_ids = tuple(queries["id"].to_pylist())
    return Truth(
        name or dataset.info.name,
        query_ids,
        items,
        query[kept][order],
        item[kept][order],
        label[kept][order],
        gallery=len(items),
        closed=True,
        about=_about(dataset, asked),
        own=positions(queries["image_id"], items),
        values=_values(attributes),
        elsewhere=_elsewhere(dataset, items),
        other_names=_other_names(items, attributes),
        numbers=_numbers(attributes),
        other_queries=_other_queries(query_ids, queries),
        judged=_judged(dataset, asked, row, pairs),
        regions=_regions(dataset, pairs),
        share=_shares(dataset, pairs)[kept][order],
    )


def _shares(dataset: Dataset, pairs: pa.Table) -> Floats:
    """Per pair, the part of the picture that the object's box takes; NaN without a box or the picture's size."""
    annotations, images = dataset.table("annotations"), dataset.table("images")

    def of(table: pa.Table, columns: tuple[str, str], rows: Ints) -> Floats:
        product = pc.multiply(*(pc.cast(table[column], pa.float64()) for column in columns))
        values = np.append(pc.fill_null(product, np.nan).to_numpy(), np.nan)
        found: Floats = values[rows]
        return found

    boxes = of(annotations, ("w", "h"), positions(pairs["annotation_id"], annotations["id"]))
    frames = of(images, ("width", "height"), positions(pairs["image_id"], images["id"]))
    share: Floats = boxes / np.where(frames > 0, frames, np.nan)
    return share


def _about(dataset: Dataset, asked: pa.Table) -> dict[str, list[str | None]]:
    queries, categories = dataset.table("queries"), dataset.table("categories")
    place = positions(asked["category"], categories["name"])
    images = dataset.table("images")
    of_image = positions(queries["image_id"], images["id"])
    return {
        "kind": plain(queries["kind"]).to_pylist(),
        "group": plain(queries["group"]).to_pylist(),
        "category": plain(asked["category"]).to_pylist(),
        "supercategory": _take(categories["supercategory"], place).to_pylist(),
        "source": _take(images["source"], of_image).to_pylist(),
    }


def _take(column: pa.ChunkedArray, rows: Ints) -> pa.Array:
    return whole(plain(column)).take(pa.array(rows, mask=rows < 0))


def _values(attributes: pa.ChunkedArray) -> dict[str, Floats]:
    """Scale and clutter of ILIAS's positives."""
    if not pc.any(pc.match_substring(attributes, '"scale"')).as_py():
        return {}
    found = [(json.loads(text) if text else {}).get("ilias", {}) for text in attributes.to_pylist()]
    return {name: np.array([one.get(name, np.nan) for one in found], np.float64) for name in ("scale", "clutter")}


def _other_names(items: pa.Array, attributes: pa.ChunkedArray) -> pa.Array:
    """What upstream calls an item: the path that SearchAD lists it by, else its key without the source."""
    names = pc.replace_substring_regex(items, r"^[^/]*/", "")
    listed = pc.fill_null(pc.match_substring(attributes, '"searchad"'), False)
    if not pc.any(listed).as_py():
        return names
    texts = names.to_pylist()
    for row in np.flatnonzero(flags(listed)):
        about: Any = json.loads(attributes[int(row)].as_py()).get("searchad")
        if isinstance(about, dict) and isinstance(about.get(_UPSTREAM["searchad"]), str):
            texts[row] = about[_UPSTREAM["searchad"]]
    return pa.array(texts, pa.string())


def _numbers(attributes: pa.Array | pa.ChunkedArray) -> pa.Array | None:
    """The number that each image of a hidden test has in submissions, as text; None where no image has one."""
    numbered = pc.fill_null(pc.match_substring(attributes, '"test_id"'), False)
    if not pc.any(numbered).as_py():
        return None
    found: list[str | None] = [None] * len(attributes)
    for row in np.flatnonzero(flags(numbered)):
        about: Any = json.loads(attributes[int(row)].as_py())
        number = next((about[key]["test_id"] for key in _NUMBERED if "test_id" in (about.get(key) or {})), None)
        found[row] = None if number is None else str(number)
    return pa.array(found, pa.string())


def form_of(dataset: Dataset) -> Truth:
    """What a submission to a hidden test may name: its queries, and the images that have a number. No pairs.

    Raises:
        SchemaError: the dataset has no queries, or no image with a number.
    """
    queries, images = dataset.table("queries"), dataset.table("images")
    numbers = _numbers(images["attributes"])
    if not queries.num_rows or numbers is None:
        found = "has no queries" if not queries.num_rows else "has no image with a number for submissions"
        raise SchemaError(dataset.info.name, found, "expected a hidden test", "make one with 'curate build hidden'")
    there = pc.is_valid(numbers)
    items, attributes = whole(images["id"]).filter(there), images["attributes"].filter(there)
    none, query_ids = np.zeros(0, np.int64), tuple(queries["id"].to_pylist())
    return Truth(
        dataset.info.name,
        query_ids,
        items,
        none,
        none,
        none.astype(np.int8),
        gallery=len(items),
        closed=True,
        own=positions(queries["image_id"], items),
        elsewhere=_elsewhere(dataset, items),
        other_names=_other_names(items, attributes),
        numbers=numbers.filter(there),
        other_queries=_other_queries(query_ids, queries),
    )


def _other_queries(ids: tuple[str, ...], queries: pa.Table) -> list[str]:
    """What upstream calls a query: the class that it alone asks for, else its key without the source."""
    names = [id.partition("/")[2] or id for id in ids]
    categories = plain(queries["category"]).to_pylist()
    asked = Counter(categories)
    for i, (category, instance) in enumerate(zip(categories, queries["instance"].to_pylist(), strict=True)):
        if category is not None and instance is None and asked[category] == 1:
            names[i] = category
    return names


def _elsewhere(dataset: Dataset, items: pa.Array) -> dict[str, pa.Array]:
    images = dataset.table("images")
    outside = pc.invert(pc.is_in(images["id"], value_set=items))
    others = images.select(["id", "split"]).filter(outside)
    split = pc.fill_null(plain(others["split"]), "no split")
    return {
        f"split {name}, which is not searched": whole(others["id"].filter(pc.equal(split, name)))
        for name in sorted(pc.unique(split).to_pylist())
    }


def _judged(dataset: Dataset, asked: pa.Table, row: Ints, pairs: pa.Table) -> Any:
    coverage = coverage_of(dataset)
    category = coverage.codes(asked["category"])
    said = pairs.filter(pc.equal(pairs["label"], "negative"))
    images = len(dataset.table("images"))
    place = positions(said["image_id"], dataset.table("images")["id"])
    keys = np.sort(positions(said["query_id"], asked["query_id"]) * images + place)

    def judged(query: Ints, item: Ints) -> Bools:
        key = query * images + row[item]
        named = keys[np.minimum(np.searchsorted(keys, key), len(keys) - 1)] == key if len(keys) else key < 0
        both: Bools = coverage.at(row[item], category[query]) | named
        return both

    return judged


def _regions(dataset: Dataset, pairs: pa.Table) -> Regions | None:
    """Outlines of the objects that judgements point at."""
    pairs = pairs.filter(pc.and_(pairs["judged"], pc.is_valid(pairs["annotation_id"])))
    if not pairs.num_rows:
        return None
    annotations = dataset.table("annotations")
    rows = positions(pairs["annotation_id"], annotations["id"])
    polygons = annotations["polygons"].take(pa.array(rows, mask=rows < 0)).to_pylist()
    regions = {}
    for query, item, parts in zip(pairs["query_id"].to_pylist(), pairs["image_id"].to_pylist(), polygons, strict=True):
        if parts:
            regions[query, item] = [np.asarray(part[0], np.float64).reshape(-1, 2) for part in parts]
    return regions or None
