"""What a dataset holds, in numbers: the content of ``curate info``.

Annotations are counted by their status; everything else reads truth only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct
from numpy.typing import NDArray

from curate import relevance
from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset
from curate.model import Command, Finding, Parent, Step

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Bounds of the share of its image that a box covers; 0.15 is what "a small object" is in several benchmarks.
SIZE_EDGES = (0.0, 0.0001, 0.001, 0.01, 0.05, 0.15, 0.5, 1.0)


class SourceCount(Struct, frozen=True, kw_only=True):
    """One source."""

    name: str
    licence: str | None
    images: int
    annotations: int


class SplitCount(Struct, frozen=True, kw_only=True):
    """Images of one source that have the same split here and at the source."""

    source: str
    source_split: str | None
    split: str | None
    images: int
    annotations: int
    empty: Annotated[int, Meta(description="images without annotation")]


class CategoryCount(Struct, frozen=True, kw_only=True):
    """One class."""

    name: str
    role: Annotated[str | None, Meta(description="null if the table of categories lacks the class")]
    annotations: int
    images: Annotated[int, Meta(description="images that show it")]


class SizeCount(Struct, frozen=True, kw_only=True):
    """Boxes that cover a share of their image, ``w * h / (W * H)``, from ``low`` to below ``high``."""

    low: float
    high: Annotated[float | None, Meta(description="null: no bound; the boxes are larger than their images")]
    annotations: int


class Shapes(Struct, frozen=True, kw_only=True):
    """What annotations are drawn as."""

    box_and_mask: int
    box_only: int
    mask_only: int
    whole_image: Annotated[int, Meta(description="neither box nor mask")]
    crowd: int
    ignore: int


class CoverageCount(Struct, frozen=True, kw_only=True):
    """Rows of the table coverage."""

    state: str
    splits: Annotated[int, Meta(description="rows for a whole split")]
    images: Annotated[int, Meta(description="rows for one image")]


class Retrieval(Struct, frozen=True, kw_only=True):
    """Queries, and what the gallery holds for them."""

    target: str
    queries: int
    kinds: dict[str, int]
    query_images: int
    gallery_images: int
    without_positive: Annotated[int, Meta(description="queries")]
    positives: Annotated[dict[str, int], Meta(description="gallery images per query: min, median, max; total")]
    negative: Annotated[int, Meta(description="pairs of query and gallery image")]
    ignored: Annotated[int, Meta(description="pairs of query and gallery image")]
    unjudged: Annotated[int, Meta(description="pairs of query and gallery image")]


class Link(Struct, frozen=True, kw_only=True):
    """A dataset in the lineage."""

    depth: Annotated[int, Meta(description="0 the dataset itself, 1 its parents, ...")]
    name: str
    fingerprint: str
    verb: str | None
    options: dict[str, Any]
    steps: tuple[Step, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """What a dataset holds."""

    name: str
    version: str
    fingerprint: str
    counts: Annotated[dict[str, int], Meta(description="rows per table")]
    statuses: Annotated[dict[str, int], Meta(description="annotations per status")]
    sources: list[SourceCount]
    splits: list[SplitCount]
    categories: Annotated[list[CategoryCount], Meta(description="the most frequent first")]
    sizes: list[SizeCount]
    size_unknown: Annotated[int, Meta(description="annotations without box, or in an image of unknown size")]
    shapes: Shapes
    coverage: list[CoverageCount]
    retrieval: Retrieval | None
    problems: Annotated[dict[str, int], Meta(description="findings per code")]
    lineage: list[Link]


def summarise(dataset: Dataset, problems: Sequence[Finding] = ()) -> Summary:
    """Count what ``dataset`` holds. ``problems`` are its findings, where they are not in ``dataset.problems``."""
    images, annotations = dataset.table("images"), dataset.table("annotations")
    truth = flags(pc.equal(plain(annotations["status"]), "truth"))
    image = positions(annotations["image_id"], images["id"])
    sizes, size_unknown = _sizes(images, annotations, image, truth)
    return Summary(
        name=dataset.info.name,
        version=dataset.info.version,
        fingerprint=dataset.fingerprint(),
        counts=dataset.counts(),
        statuses=_words(annotations["status"]),
        sources=_sources(dataset, image, truth),
        splits=_splits(images, np.bincount(image[truth & (image >= 0)], minlength=images.num_rows)),
        categories=_categories(dataset, image, truth),
        sizes=sizes,
        size_unknown=size_unknown,
        shapes=_shapes(annotations, truth),
        coverage=_coverage(dataset),
        retrieval=_retrieval(dataset) if dataset.table("queries").num_rows else None,
        problems=dict(sorted(Counter(problem.code for problem in [*dataset.problems, *problems]).items())),
        lineage=list(_lineage(dataset.as_parent(), 0)),
    )


def _words(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each word stands in a column, by word."""
    found = pc.value_counts(plain(column))
    counts = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    return dict(sorted((word, number) for word, number in counts if word is not None))


def _sources(dataset: Dataset, image: Ints, truth: Bools) -> list[SourceCount]:
    column = plain(dataset.table("images")["source"])
    names = sorted({*dataset.info.sources, *pc.unique(column).to_pylist()})
    code = positions(column, pa.array(names, pa.string()))
    per_image = np.bincount(image[truth & (image >= 0)], minlength=len(code))
    images, annotations = np.bincount(code, minlength=len(names)), np.bincount(code, per_image, len(names)).astype(int)
    return [
        SourceCount(
            name=name,
            licence=record.licence if (record := dataset.info.sources.get(name)) else None,
            images=int(images[i]),
            annotations=int(annotations[i]),
        )
        for i, name in enumerate(names)
    ]


def _splits(images: pa.Table, per_image: Ints) -> list[SplitCount]:
    columns = [whole(images[name]) for name in ("source", "source_split", "split")]
    encoded = [column.dictionary_encode("encode") for column in columns]
    shape = tuple(len(part.dictionary) + 1 for part in encoded)
    code = np.ravel_multi_index([part.indices.to_numpy() for part in encoded], shape)
    size = int(np.prod(shape))
    rows, annotations = np.bincount(code, minlength=size), np.bincount(code, per_image, size)
    empty = np.bincount(code, per_image == 0, size)
    counts = []
    for place in np.flatnonzero(rows).tolist():
        names = [
            part.dictionary[int(i)].as_py() for part, i in zip(encoded, np.unravel_index(place, shape), strict=True)
        ]
        counts.append(
            SplitCount(
                source=names[0],
                source_split=names[1],
                split=names[2],
                images=int(rows[place]),
                annotations=int(annotations[place]),
                empty=int(empty[place]),
            )
        )
    return sorted(counts, key=lambda count: (count.source, count.source_split or "", count.split or ""))


def _categories(dataset: Dataset, image: Ints, truth: Bools) -> list[CategoryCount]:
    table = dataset.table("categories")
    roles = dict(zip(table["name"].to_pylist(), plain(table["role"]).to_pylist(), strict=True))
    column = plain(dataset.table("annotations")["category"])
    names = sorted({*roles, *pc.unique(column).drop_null().to_pylist()})
    code = positions(column, pa.array(names, pa.string()))
    annotations = np.bincount(code[truth & (code >= 0)], minlength=len(names))
    known = truth & (code >= 0) & (image >= 0)
    pairs = np.unique(image[known] * max(len(names), 1) + code[known])
    images = np.bincount(pairs % max(len(names), 1), minlength=len(names))
    counts = [
        CategoryCount(name=name, role=roles.get(name), annotations=int(annotations[i]), images=int(images[i]))
        for i, name in enumerate(names)
    ]
    return sorted(counts, key=lambda count: (-count.annotations, count.name))


def _sizes(images: pa.Table, annotations: pa.Table, image: Ints, truth: Bools) -> tuple[list[SizeCount], int]:
    def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return values

    frame = numbers(images["width"]) * numbers(images["height"])
    frame = np.append(np.where(frame > 0, frame, np.nan), np.nan)
    share = (numbers(annotations["w"]) * numbers(annotations["h"]) / frame[image])[truth]
    known = share[~np.isnan(share)]
    bucket = np.searchsorted(SIZE_EDGES, np.maximum(known, 0.0), side="right") - 1
    counts = np.bincount(bucket, minlength=len(SIZE_EDGES)).tolist()
    highs = [*SIZE_EDGES[1:], None]
    sizes = [SizeCount(low=a, high=b, annotations=n) for a, b, n in zip(SIZE_EDGES, highs, counts, strict=True)]
    return sizes, len(share) - len(known)


def _shapes(annotations: pa.Table, truth: Bools) -> Shapes:
    box = flags(pc.is_valid(annotations["x"]))
    mask = flags(pc.is_valid(annotations["segmentation"])) | flags(pc.is_valid(annotations["polygons"]))

    def count(rows: Bools) -> int:
        return int((rows & truth).sum())

    return Shapes(
        box_and_mask=count(box & mask),
        box_only=count(box & ~mask),
        mask_only=count(~box & mask),
        whole_image=count(~box & ~mask),
        crowd=count(flags(annotations["iscrowd"])),
        ignore=count(flags(annotations["ignore"])),
    )


def _coverage(dataset: Dataset) -> list[CoverageCount]:
    table = dataset.table("coverage")
    of_image = pa.array(positions(table["scope"], dataset.table("images")["id"]) >= 0)
    images = _words(table["state"].filter(of_image))
    splits = _words(table["state"].filter(pc.invert(of_image)))
    return [
        CoverageCount(state=state, splits=splits.get(state, 0), images=images.get(state, 0))
        for state in sorted({*images, *splits})
    ]


def _retrieval(dataset: Dataset) -> Retrieval:
    queries = dataset.table("queries")
    answers = relevance.overview(dataset)
    positive = np.sort(answers["positive"].to_numpy())
    return Retrieval(
        target=dataset.info.relevance.target,
        queries=queries.num_rows,
        kinds=_words(queries["kind"]),
        query_images=len(pc.unique(queries["image_id"]).drop_null()),
        gallery_images=len(relevance.gallery(dataset)),
        without_positive=int((positive == 0).sum()),
        positives={
            "min": int(positive[0]),
            "median": int(positive[len(positive) // 2]),
            "max": int(positive[-1]),
            "total": int(positive.sum()),
        },
        negative=int(pc.sum(answers["negative"]).as_py()),
        ignored=int(pc.sum(answers["ignored"]).as_py()),
        unjudged=int(pc.sum(answers["unjudged"]).as_py()),
    )


def _lineage(parent: Parent, depth: int) -> Iterator[Link]:
    command = parent.command or Command(verb="")
    yield Link(
        depth=depth,
        name=parent.name,
        fingerprint=parent.fingerprint,
        verb=command.verb or None,
        options=command.options,
        steps=command.steps,
    )
    for grandparent in parent.parents:
        yield from _lineage(grandparent, depth + 1)
