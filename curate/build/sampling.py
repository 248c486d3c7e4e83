"""Samples and frequencies: which images, classes and instances stay, by counts and by a seed.

A sample goes by the SHA-256 of seed and id: it is the same on every machine, does not depend on what else is there,
and a smaller one is part of a larger one with the same seed.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.bounds import Bound
from curate.columns import distinct, flags, plain, positions, whole
from curate.dataset import Dataset
from curate.errors import UsageError

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Frequency = Literal["easy", "medium", "hard", "singleton"]

# Boxes of an instance, as the search of objects in clutter (SoIR) counts them: least and most.
FREQUENCIES: dict[str, tuple[int, float]] = {
    "easy": (11, np.inf),
    "medium": (5, 10),
    "hard": (1, 4),
    "singleton": (1, 1),
}
_SIZE = re.compile(r"(\d+)|(\d+(?:\.\d*)?|\.\d+)%")


def seeded_order(ids: pa.Array | pa.ChunkedArray, seed: str) -> Ints:
    """The rows of ``ids`` in the order that ``seed`` gives them."""
    begin, sha256 = seed.encode() + b"\0", hashlib.sha256
    digests = [sha256(begin + name).digest() for name in whole(ids).cast(pa.binary()).to_pylist()]
    # Each digest as four numbers, the first of which decide: equal ones do not occur.
    numbers = np.frombuffer(b"".join(digests), ">u8")[::4].astype(np.uint64)
    order: Ints = np.argsort(numbers, kind="stable")
    return order


def sample_size(text: str, number: int) -> int:
    """How many of ``number`` a sample such as ``1000`` or ``2.5%`` holds, rounded down.

    Raises:
        UsageError: it is neither.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or (match[2] and float(match[2]) > 100):
        raise UsageError(f"sample {text!r}", "is no size", 'expected for example "1000" or "10%"')
    return min(number, int(match[1]) if match[1] else int(number * float(match[2]) / 100 + 1e-9))


def sample_of_images(dataset: Dataset, size: str, seed: str) -> Bools:
    """The images of a sample."""
    ids = dataset.table("images")["id"]
    kept = np.zeros(len(ids), bool)
    kept[seeded_order(ids, seed)[: sample_size(size, len(ids))]] = True
    return kept


def sample_of_classes(dataset: Dataset, number: int, seed: str) -> Bools:
    """The images that show for each class the first ``number`` by the seed among those with truth of it.

    An image that is chosen for one class also shows others: of those more than ``number`` may stay.
    """
    ids, annotations = dataset.table("images")["id"], dataset.table("annotations")
    rank = np.empty(len(ids), np.int64)
    rank[seeded_order(ids, seed)] = np.arange(len(ids))
    category = plain(annotations["category"])
    code, image = positions(category, pc.unique(category)), positions(annotations["image_id"], ids)
    rows = flags(pc.and_(pc.equal(plain(annotations["status"]), "truth"), pc.is_valid(category))) & (image >= 0)
    pairs = distinct(code[rows] * len(ids) + rank[image[rows]])
    classes = pairs // max(len(ids), 1)
    place = np.arange(len(pairs)) - np.searchsorted(classes, classes)
    kept = np.zeros(len(ids), bool)
    kept[np.isin(rank, pairs[place < number] % max(len(ids), 1))] = True
    return kept


def classes_by_count(annotations: pa.Table, kept: Bools, names: pa.Array, bounds: list[Bound]) -> list[str]:
    """Of the classes ``names`` those whose number of ``kept`` annotations of truth is within the bounds."""
    counted = kept & flags(pc.equal(plain(annotations["status"]), "truth"))
    code = positions(annotations["category"], names)
    counts = np.bincount(code[counted & (code >= 0)], minlength=len(names))
    fits = np.ones(len(names), bool)
    for bound in bounds:
        fits &= bound.holds(counts)
    chosen: list[str] = names.filter(pa.array(fits)).to_pylist()
    return chosen


def of_frequency(annotations: pa.Table, kept: Bools, wanted: list[str]) -> Bools:
    """The annotations of instances that as many ``kept`` annotations of truth show as the words say; else none."""
    instances = pc.unique(annotations["instance"]).drop_null()
    code = positions(annotations["instance"], instances)
    counted = kept & (code >= 0) & flags(pc.equal(plain(annotations["status"]), "truth"))
    counts = np.bincount(code[counted], minlength=len(instances))
    fits = np.zeros(len(instances) + 1, bool)  # the last is that of no instance
    for word in wanted:
        least, most = FREQUENCIES[word]
        fits[:-1] |= (least <= counts) & (counts <= most)
    chosen: Bools = fits[code]
    return chosen
