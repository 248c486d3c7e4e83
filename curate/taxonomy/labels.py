"""Whose labels annotations have: each row's source, and its category."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import positions, whole
from curate.dataset import Dataset

Ints = NDArray[np.int64]

# An annotation's id that says whose label it is, as '...#searchad:0000'.
_GUEST = r"#(?P<source>[a-z][a-z0-9_]*):"


def native_label(source: str, category: str) -> str:
    """The label behind ``<source>:<label>``, which is what a label that sounds like a class is called."""
    return category.removeprefix(f"{source}:")


class Labels(NamedTuple):
    """The distinct pairs of source and category, and which of them each annotation has."""

    pairs: list[tuple[str, str | None]]
    of_row: Ints

    @property
    def sources(self) -> set[str]:
        return {source for source, _ in self.pairs}


def labels_of(dataset: Dataset) -> Labels:
    annotations, images = dataset.table("annotations"), dataset.table("images")
    image = positions(annotations["image_id"], images["id"])
    source = whole(images["source"]).take(pa.array(image, mask=image < 0))
    guest = pc.struct_field(pc.extract_regex(whole(annotations["id"]), _GUEST), "source")
    known = pc.is_in(guest, value_set=pa.array(sorted(dataset.info.sources), pa.string()))
    source = pc.fill_null(pc.if_else(pc.fill_null(known, False), guest, source), "")
    sources = source.dictionary_encode()
    categories = whole(annotations["category"]).dictionary_encode("encode")
    width = len(categories.dictionary)
    codes = sources.indices.to_numpy().astype(np.int64) * width + categories.indices.to_numpy()
    distinct, of_row = np.unique(codes, return_inverse=True)
    words, others = sources.dictionary.to_pylist(), categories.dictionary.to_pylist()
    return Labels([(words[code // width], others[code % width]) for code in distinct.tolist()], of_row)
