"""Near-duplicates by vectors that somebody else made of the pictures: a cosine of 0.95 or more.

The vectors lie in a file beside the dataset: ``.npz`` with arrays ``id`` ``(n,)`` and ``vector`` ``(n, d)``, or Parquet
with columns of these names. Images without vector are counted as unproved.

The search is exact by default, in blocks of matrix products. Between queries and gallery it compares what is shown with
what is searched, so that 1,000 queries against 10 million images cost 2 d 10^10 operations; between splits it compares
all with all, which costs d n²: for 424,000 vectors of 256 numbers some ten minutes of one core. There an index of
inverted lists (faiss) takes a minute and a half. It may miss pairs, and every pair that it finds is one. Memory is 8 d
bytes for each image, and 4 d more for an index.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.build.sides import Between, components, gathered, shown_and_searched
from curate.columns import positions
from curate.dataset import Dataset
from curate.errors import UsageError
from curate.regular import open_regular

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Index = Literal["exact", "faiss"]
Pairs = tuple[Ints, Ints]

MIN_COSINE = 0.95
_BLOCK = 4096  # vectors that are compared at once with as many others: 64 MiB of cosines
_LISTS_PER_ROOT, _PROBED, _TRAINED_ON = 4, 8, 64  # inverted lists: 4 √n, of which 8 are searched
_FEWEST = 10_000  # vectors, below which an index gains nothing
_EXPECTED = "expected arrays (or Parquet columns) id (n) and vector (n, d)"


class Vectors(NamedTuple):
    """What stands in a file of embeddings: ``id`` ``(n,)``, vectors of length 1 ``(n, d)``, and the file's hash."""

    id: pa.Array
    vector: Floats
    sha256: str


def clusters(
    dataset: Dataset,
    vectors: Vectors,
    *,
    min_cosine: float = MIN_COSINE,
    index: Index = "exact",
    between: Between | None = None,
) -> Ints:
    """For each image a number that it shares with what is like it; -1 where it has no vector.

    Vectors of other images are passed over. ``between`` says which sides are looked at
    (``curate.build.leakage.build_without_leaks``).

    Raises:
        UsageError: no vector is of an image of the dataset, or ``min_cosine`` is out of range.
    """
    if not 0 < min_cosine <= 1:
        raise UsageError("--min-cosine", f"is {min_cosine}", "expected more than 0, at most 1")
    ids = dataset.table("images")["id"]
    row = positions(ids, vectors.id)
    having = np.flatnonzero(row >= 0)
    if not len(having):
        raise UsageError("embeddings", "none is of an image of the dataset", f"expected ids like {_first(ids)}")
    known = vectors.vector[row[having]]
    sides = shown_and_searched(dataset, between)
    if sides is not None:
        a, b = _pairs_between(known, sides[0][having], sides[1][having], min_cosine)
    elif index == "faiss" and len(known) >= _FEWEST:
        a, b = _indexed_pairs(known, min_cosine)
    else:
        a, b = exact_pairs(known, min_cosine)
    code = np.full(len(ids), -1)
    code[having] = components(len(having), a, b)
    return code


def _first(ids: pa.ChunkedArray) -> str:
    return str(ids[0]) if len(ids) else "those of its images"


# ------------------------------------------------------------------------------------------------------------ the file


def read_vectors(path: Path) -> Vectors:
    """The embeddings of a file, brought to length 1.

    Raises:
        SourceError: it is no regular file.
        UsageError: it is no such file, has an id twice, or a vector that is not finite or of length 0.
    """
    os.close(open_regular(path, _EXPECTED)[0])  # a pipe would be waited for
    ids, vector = _from_parquet(path) if path.suffix == ".parquet" else _from_npz(path)
    if vector.ndim != 2 or len(vector) != len(ids) or not vector.size:
        raise UsageError(path, f"has {len(ids):,} ids and vectors of shape {vector.shape}", _EXPECTED)
    if len(ids.unique()) != len(ids) or ids.null_count:
        counted = ids.value_counts()
        twice = next((one["values"].as_py() for one in counted if one["counts"].as_py() > 1), None)
        raise UsageError(path, f"names {twice!r} more than once" if twice else "has ids that are null", "expected once")
    for begin in range(0, len(vector), _BLOCK):
        part = vector[begin : begin + _BLOCK]
        length = np.sqrt(np.einsum("ij,ij->i", part, part, dtype=np.float64))
        bad = np.flatnonzero(~np.isfinite(length) | (length == 0))
        if len(bad):
            name = ids[begin + int(bad[0])].as_py()
            raise UsageError(path, f"the vector of {name} is not finite or has no length", "expected finite numbers")
        part /= length[:, None]
    with path.open("rb") as stream:
        return Vectors(ids, vector, hashlib.file_digest(stream, "sha256").hexdigest())


def _from_npz(path: Path) -> tuple[pa.Array, Floats]:
    import zipfile
    import zlib

    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"id", "vector"} - set(getattr(arrays, "files", ()))
            if missing:
                raise UsageError(path, f"has no array {min(missing)!r}", _EXPECTED)
            ids, vector = arrays["id"], arrays["vector"]
    except (ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UsageError(path, "is no .npz file of plain arrays", _EXPECTED) from error
    if ids.dtype.kind not in "UT" or ids.ndim != 1 or vector.dtype.kind not in "fiu":
        raise UsageError(path, f"id is {ids.dtype} {ids.shape}, vector {vector.dtype}", "expected text and numbers")
    return pa.array(ids.tolist(), pa.string()), np.array(vector, np.float32)


def _from_parquet(path: Path) -> tuple[pa.Array, Floats]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            missing = {"id", "vector"} - set(file.schema_arrow.names)
            if missing:
                raise UsageError(path, f"has no column {min(missing)!r}", _EXPECTED)
            table = file.read(columns=["id", "vector"])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(path, "is no Parquet file", _EXPECTED) from error
    column = table["vector"]
    if not isinstance(column.type, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        raise UsageError(path, f"vector is of type {column.type}", "expected lists of numbers")
    parts = [np.zeros((0, 0), np.float32)]
    try:
        for chunk in column.chunks:
            flat = chunk.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
            if chunk.null_count or len(chunk) == 0 or len(flat) % len(chunk):
                raise UsageError(path, "its vectors are not of one length", _EXPECTED)
            lengths = {len(flat) // len(chunk)} if pa.types.is_fixed_size_list(chunk.type) else set(_lengths(chunk))
            if len(lengths) != 1:
                raise UsageError(path, "its vectors are not of one length", _EXPECTED)
            parts.append(flat.reshape(len(chunk), -1))
        vector = np.concatenate(parts[1:] or parts)
        ids = table["id"].combine_chunks().cast(pa.string())
    except (pa.ArrowException, ValueError) as error:
        raise UsageError(path, "its columns are not text and lists of numbers of one length", _EXPECTED) from error
    return ids, np.array(vector, np.float32)


def _lengths(lists: pa.Array) -> list[int]:
    import pyarrow.compute as pc

    return list(pc.unique(pc.list_value_length(lists)).to_pylist())


# ---------------------------------------------------------------------------------------------------------- the search


def exact_pairs(vectors: Floats, min_cosine: float) -> Pairs:
    """Pairs of rows ``(n, d)`` of length 1 whose cosine is at least ``min_cosine`` (``sides.gathered``)."""
    return gathered(
        len(vectors),
        (
            (a[a + i < b + j] + i, b[a + i < b + j] + j)
            for i in range(0, len(vectors), _BLOCK)
            for j in range(i, len(vectors), _BLOCK)
            for a, b in [_close(vectors[i : i + _BLOCK], vectors[j : j + _BLOCK], min_cosine)]
        ),
    )


def _pairs_between(vectors: Floats, shown: Bools, searched: Bools, min_cosine: float) -> Pairs:
    """Pairs of a row that is shown and one that is searched; a row with itself is one, where it is both."""
    rows, others = np.flatnonzero(shown), np.flatnonzero(searched)
    queries = vectors[rows]
    return gathered(
        len(vectors),
        (
            (rows[a + i], others[b + j])
            for j in range(0, len(others), _BLOCK)
            for part in [vectors[others[j : j + _BLOCK]]]
            for i in range(0, len(queries), _BLOCK)
            for a, b in [_close(queries[i : i + _BLOCK], part, min_cosine)]
        ),
    )


def _close(rows: Floats, others: Floats, min_cosine: float) -> Pairs:
    # The last bits of a product hang on the machine; nobody's threshold does.
    a, b = np.nonzero(rows @ others.T >= np.float32(min_cosine - 1e-6))
    return a, b


def _indexed_pairs(vectors: Floats, min_cosine: float) -> Pairs:
    """Pairs by an index of inverted lists; nearly all of them. Needs faiss (the extra ``near``)."""
    import faiss

    number, width = vectors.shape
    lists = min(int(_LISTS_PER_ROOT * number**0.5), number // 39)  # faiss asks for 39 vectors to train each
    index: Any = faiss.index_factory(width, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[np.random.default_rng(0).permutation(number)[: lists * _TRAINED_ON]])
    index.add(vectors)
    index.nprobe = _PROBED

    def found() -> Iterator[Pairs]:
        for begin in range(0, number, _BLOCK):
            part = vectors[begin : begin + _BLOCK]
            limits, _, other = index.range_search(part, min_cosine - 1e-6)
            row = begin + np.repeat(np.arange(len(part)), np.asarray(limits[1:] - limits[:-1], np.int64))
            yield row[row < other], other[row < other]

    return gathered(number, found())
