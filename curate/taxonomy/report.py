"""What a relabelling brought: per class the certain and the possible boxes of each source, and what stayed unmapped."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pyarrow.compute as pc
from msgspec import Meta, Struct

from curate.columns import flags, plain
from curate.dataset import Dataset
from curate.taxonomy.labels import labels_of
from curate.taxonomy.tables import Taxonomy


class SourceCounts(Struct, frozen=True, kw_only=True):
    """What one source brings to a class."""

    source: Annotated[
        str, Meta(description="whose labels: of the images' source, or of one that labels others' images")
    ]
    certain: Annotated[int, Meta(description="annotations of status truth")]
    possible: Annotated[int, Meta(description="proposals, to be reviewed")]


class ClassCounts(Struct, frozen=True, kw_only=True):
    """One class of the taxonomy."""

    name: str
    supercategory: str | None
    role: str
    certain: int
    possible: int
    sources: list[SourceCounts]


class Unmapped(Struct, frozen=True, kw_only=True):
    """A label of which the taxonomy says nothing, or nothing certain."""

    source: str
    label: Annotated[str | None, Meta(description="the category; null for annotations without one")]
    annotations: int
    proposed: Annotated[list[str], Meta(description="classes that it may be; there are proposals for each")] = []
    dropped: Annotated[int, Meta(description="of these annotations, how many were left out")] = 0


class Relabelled(Struct, frozen=True, kw_only=True):
    """The report of ``relabel``."""

    taxonomy: str
    annotations: Annotated[int, Meta(description="rows before")]
    mapped: Annotated[int, Meta(description="rows that got a class of the taxonomy, or had one")]
    proposals: Annotated[int, Meta(description="rows of status proposal that the taxonomy added")]
    of_images: Annotated[int, Meta(description="rows of whole images, of status truth, that the taxonomy added")]
    classes: list[ClassCounts]
    unmapped: list[Unmapped]


def class_counts(dataset: Dataset, taxonomy: Taxonomy) -> list[ClassCounts]:
    """What each source brings to each class, in a dataset that is relabelled."""
    labels = labels_of(dataset)
    status = plain(dataset.table("annotations")["status"])
    kinds = [flags(pc.equal(status, word)) for word in ("truth", "proposal")]
    counts = [np.bincount(labels.of_row[kind], minlength=len(labels.pairs)).tolist() for kind in kinds]
    found: dict[str, list[SourceCounts]] = {name: [] for name in taxonomy.classes}
    for (source, category), certain, possible in sorted(
        zip(labels.pairs, *counts, strict=True), key=lambda row: row[0][0]
    ):
        if category in found and (certain or possible):
            found[category].append(SourceCounts(source=source, certain=certain, possible=possible))
    return [
        ClassCounts(
            name=name,
            supercategory=category.supercategory,
            role=category.role,
            certain=sum(entry.certain for entry in found[name]),
            possible=sum(entry.possible for entry in found[name]),
            sources=found[name],
        )
        for name, category in taxonomy.classes.items()
    ]
