"""Result files -> :class:`Results`: JSON, TREC run files, Parquet, npy and npz, and two kinds of pickle.

What a file is, is told by its first bytes.

* JSON: see :mod:`curate.evaluate.json_lists`.
* Parquet: columns ``query``, ``item`` (text), and ``score`` (best is highest) or ``rank`` (best is lowest); read in
  batches. Without either the rows are in order.
* TREC: ``query Q0 item rank score tag`` per line, read in blocks; sorted by score, as TREC's own program does.
* npy: ``ranks``, integers ``[gallery, queries]`` as revisitop has them, or similarities, floats ``[queries, gallery]``
  or its transpose. The numbers count the truth's own order of queries and gallery. Mapped, never unpickled.
* npz: SoIR's ``k_index`` and ``similarities``, ``[queries, K]``.
* pickle: ILIAS's ``query_ids, db_ids, sims, ranks``, and the pixel results of PROxford. Read by a machine that can run
  nothing (:mod:`curate.plain_pickle`); anything else in it is refused.

A score that is not finite is refused, with its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile
from zlib import error as zlib_error

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import SourceError, UsageError, printable
from curate.evaluate.json_lists import BOM, Entry, read_json_lists
from curate.evaluate.outlines import far_away
from curate.evaluate.ranking import Floats, Ints, Regions, Results, Truth
from curate.evaluate.run_files import coded, read_run_file
from curate.plain_pickle import unpickle

MAX_PICKLE = 2 << 30
_REGION = re.compile("qimlist_([0-9]{1,9})_imlist_([0-9]{1,9})")
_HEAD = 1 << 12  # bytes that tell what a file is
_PORTION = 4 << 20  # rows of a Parquet file read at a time
# What numpy raises of damaged files, beside ValueError: of a header cut short, of sizes that no machine has.
_NUMPY = (OSError, EOFError, TokenError, OverflowError, MemoryError, KeyError, TypeError, NotImplementedError)


def read_results(paths: Sequence[Path], truth: Truth) -> Results:
    """Read one result in one file or several, each with its own queries.

    Raises:
        SourceError: a file is missing, broken, too large or of another form; two have the same query.
    """
    parts = [_read(Path(path), truth) for path in paths]
    if len(parts) == 1:
        return parts[0]
    seen: dict[str, str] = {}
    for part in parts:
        for query in part.queries:
            if query in seen:
                found = f"query {printable(query)} is also in {seen[query]} (E08)"
                raise SourceError(
                    part.name, found, "expected each query in one file", "is it another run? evaluate it alone"
                )
            seen[query] = part.name
    return _joined(parts)


def _joined(parts: Sequence[Results]) -> Results:
    ids = pa.chunked_array([part.items for part in parts]).dictionary_encode().combine_chunks()
    place, offset, items = ids.indices.to_numpy(), 0, []
    for part in parts:
        items.append(place[offset:][part.item])
        offset += len(part.items)
    scores = [part.score for part in parts]
    scored = [score for score in scores if score is not None]
    lengths = np.concatenate([np.diff(part.start) for part in parts])
    regions: dict[tuple[str, str], Sequence[Floats]] = {}
    for part in parts:
        regions |= part.regions or {}
    return Results(
        ", ".join(part.name for part in parts),
        tuple(query for part in parts for query in part.queries),
        ids.dictionary,
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate(items).astype(np.int32),
        np.concatenate(scored) if len(scored) == len(scores) else None,
        regions or None,
    )


def _read(path: Path, truth: Truth) -> Results:
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        found = "is a folder" if path.is_dir() else "no such file"
        raise SourceError(path, found, "expected a file of results") from None
    if head.startswith(b"PAR1"):
        return _from_table(path, _parquet(path))
    if head.startswith(b"\x93NUMPY"):
        return _from_npy(path, truth)
    if head.startswith(b"PK\x03\x04"):
        return _from_npz(path, truth)
    if head[:1] == b"\x80":
        return _from_pickle(path, path.stat().st_size, truth)
    begin = head.removeprefix(BOM).lstrip()
    if not begin:
        raise SourceError(path, "is empty" if not head else "begins with nothing but blanks", "expected ranked lists")
    if begin[:1] == b"[":
        found = "is a JSON array, which names no query"
        raise SourceError(path, found, "expected an object, {query: [item, ...]} or {query: {item: score}}")
    if begin[:1] == b"{":
        return _from_entries(path.name, read_json_lists(path))
    return _from_table(path, read_run_file(path))


def _from_entries(name: str, entries: Iterable[Entry]) -> Results:
    queries, chunks, scores, lengths = [], [], [], [0]
    for query, ids, score in entries:
        if score is not None:
            _check_finite(name, query, ids, score)
            order = _ascending(-score)
            if (order[1:] < order[:-1]).any():
                ids, score = ids.take(pa.array(order)), score[order]
            scores.append(score)
        queries.append(query)
        chunks.append(ids)
        lengths.append(len(ids))
    if scores and len(scores) != len(queries):
        raise SourceError(name, "some lists have scores and others none", "expected one form throughout")
    coded = pa.chunked_array(chunks, pa.string()).dictionary_encode().combine_chunks()
    item = coded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    start = np.cumsum(np.array(lengths, np.int64))
    return Results(name, tuple(queries), coded.dictionary, start, item, np.concatenate(scores) if scores else None)


def _check_finite(where: object, query: str, ids: pa.Array, score: Floats) -> None:
    if not np.isfinite(score).all():
        at = int(np.flatnonzero(~np.isfinite(score))[0])
        found = f"item {printable(str(ids[at]))} has the score {score[at]} (E01)"
        raise SourceError(f"{where}, query {printable(query)}", found, "expected a finite number")


def _parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, read_dictionary=["query"], pre_buffer=False)
        names = file.schema_arrow.names
        if not {"query", "item"} <= set(names):
            raise SourceError(path, f"has the columns {', '.join(names)}", "expected query, item, and score or rank")
        wanted = ["query", "item", *(name for name in ("score", "rank") if name in names)]
        parts = [coded(file.read_row_groups(groups, wanted, use_threads=False)) for groups in _portions(file.metadata)]
        return pa.concat_tables(parts) if parts else pa.table({"query": [], "item": []})
    except (pa.ArrowException, OSError, LookupError, OverflowError) as error:
        raise SourceError(path, f"cannot be read ({error})", "expected Parquet") from None


def _portions(metadata: Any) -> list[list[int]]:
    """Numbers of the row groups to read at a time. Fewer portions are quicker: each has its own table of ids."""
    portions: list[list[int]] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if not portions or rows + size > _PORTION:
            portions.append([])
            rows = 0
        portions[-1].append(group)
        rows += size
    return portions


def _from_table(path: Path, table: pa.Table) -> Results:
    """Rows of query, item and score or rank, in any order; queries as they first appear."""
    if not table.num_rows:
        raise SourceError(path, "has no rows", "expected ranked lists")
    for name in ("query", "item"):
        if table[name].null_count:
            raise SourceError(path, f"column {name} has empty values", "expected text in every row")
    table = table.unify_dictionaries().combine_chunks()
    query, item = (table[name].chunk(0) for name in ("query", "item"))
    for name, column in (("query", query), ("item", item)):
        try:
            column.validate(full=True)
        except pa.ArrowException as error:
            raise SourceError(path, f"column {name} is damaged ({error})", "expected text in UTF-8") from None
    q = query.indices.to_numpy()
    score = None
    if "score" in table.column_names:
        score = _numbers(path, table, "score")
        order = _order(q, -score)
    elif "rank" in table.column_names:
        order = _order(q, _numbers(path, table, "rank"))
    else:
        order = np.argsort(q, kind="stable")
    lengths = np.bincount(q, minlength=len(query.dictionary))
    start = np.concatenate([[0], np.cumsum(lengths)])
    ranked = item.indices.to_numpy()[order].astype(np.int32)
    names = tuple(query.dictionary.to_pylist())
    return Results(path.name, names, item.dictionary, start, ranked, None if score is None else score[order])


def _numbers(path: Path, table: pa.Table, name: str) -> Floats:
    """A column of scores or ranks, which must all be finite."""
    try:
        values: Floats = pc.fill_null(pc.cast(table[name], pa.float64()), np.nan).to_numpy()
    except pa.ArrowException as error:
        found = f"column {name} is {table[name].type} ({str(error).splitlines()[0]})"
        raise SourceError(path, found, "expected numbers") from None
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        query, item = (printable(str(table[key][row].as_py())) for key in ("query", "item"))
        found = f"item {item} has the {name} {values[row]} (E01)"
        raise SourceError(f"{path}, row {row + 1}, query {query}", found, "expected a finite number")
    return values


def _order(query: Ints, key: Floats) -> Ints:
    """Rows by query and then by key, of equal ones the first first. Rows that come query by query sort much sooner."""
    bounds = np.flatnonzero(query[1:] != query[:-1]) + 1
    if (query[1:] < query[:-1]).any() or len(bounds) > len(query) // 16:
        order: Ints = np.lexsort((key, query))
        return order
    ends = [0, *bounds.tolist(), len(query)]
    return np.concatenate([a + _ascending(key[a:b]) for a, b in pairwise(ends)])


def _ascending(key: Floats) -> Ints:
    """The stable order of ``key``; numpy's other one takes a quarter of the time, and is the same without ties."""
    order = np.argsort(key)
    ordered = key[order]
    return np.argsort(key, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order


def _from_npy(path: Path, truth: Truth) -> Results:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, *_NUMPY) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error) or "Python objects" in str(error):
            return _from_pickle(path, path.stat().st_size, truth)
        raise SourceError(path, f"cannot be read ({error})", "expected a file of numpy.save") from None
    queries, gallery = len(truth.queries), len(truth.items)
    shape = " x ".join(map(str, matrix.shape))
    if matrix.ndim != 2 or not truth.closed:
        why = f"is an array of {shape}" if matrix.ndim != 2 else "counts items, and the truth does not list them all"
        raise SourceError(path, why, "expected a matrix of gallery and queries", "write Parquet with ids instead")
    if matrix.dtype.kind in "iu":
        if matrix.shape[1] != queries:
            found = f"ranks of {shape}"
            raise SourceError(path, found, f"expected a column per query ({queries}), a row per rank")
        return _from_ranks(path, truth, np.asarray(matrix).T, None)
    if matrix.dtype.kind != "f" or matrix.shape not in {(queries, gallery), (gallery, queries)}:
        found = f"{matrix.dtype} of {shape}"
        raise SourceError(path, found, f"expected similarities of {queries} queries and {gallery} items")
    if matrix.shape != (queries, gallery):
        matrix = matrix.T
    ranks = np.empty((queries, gallery), np.int32)
    scores = np.empty((queries, gallery), np.float64)
    for row, values in enumerate(matrix):
        values = np.asarray(values, np.float64)
        _check_finite(path, truth.queries[row], truth.items, values)
        ranks[row] = np.argsort(-values, kind="stable")
        scores[row] = values[ranks[row]]
    return _from_ranks(path, truth, ranks, scores)


def _from_ranks(path: Path, truth: Truth, ranks: NDArray[Any], scores: NDArray[Any] | None) -> Results:
    """Places in the gallery ``[queries, K]``, best first."""
    count = len(truth.items)
    if ranks.size and (int(ranks.min()) < 0 or int(ranks.max()) >= count):
        row, column = (int(at[0]) for at in np.nonzero((ranks < 0) | (ranks >= count)))
        found = f"names item {ranks[row, column]} at rank {column + 1} of query {truth.queries[row]} (E05)"
        raise SourceError(path, found, f"expected 0 to {count - 1}, a place in the gallery")
    start = np.arange(len(ranks) + 1, dtype=np.int64) * ranks.shape[1]
    score = None if scores is None else np.ascontiguousarray(scores, np.float64).ravel()
    return Results(path.name, truth.queries, truth.items, start, ranks.astype(np.int32).ravel(), score)


def _from_npz(path: Path, truth: Truth) -> Results:
    """SoIR's retrieval, ``k_index`` and ``similarities``; or revisitop's ``ranks``."""
    try:
        with np.load(path, allow_pickle=False) as held:
            names = held.files
            if "k_index" in names:
                scores = held["similarities"] if "similarities" in names else None
                return _checked_rows(path, truth, held["k_index"], scores)
            if "ranks" in names:
                return _checked_rows(path, truth, held["ranks"].T, None)
    except (ValueError, BadZipFile, zlib_error, *_NUMPY) as error:
        raise SourceError(path, f"cannot be read ({error})", "expected a file of numpy.savez") from None
    raise SourceError(path, f"holds {', '.join(names)}", "expected k_index and similarities, or ranks")


def _checked_rows(path: Path, truth: Truth, ranks: NDArray[Any], scores: NDArray[Any] | None) -> Results:
    if ranks.ndim != 2 or len(ranks) != len(truth.queries) or ranks.dtype.kind not in "iu":
        raise SourceError(
            path, f"ranks of shape {ranks.shape}", f"expected a row for each of {len(truth.queries)} queries"
        )
    if scores is not None:
        if scores.shape != ranks.shape:
            raise SourceError(path, f"similarities of shape {scores.shape}", f"expected {ranks.shape}, as the ranks")
        for row, values in enumerate(scores):
            _check_finite(path, truth.queries[row], pa.array(ranks[row]), values)
    return _from_ranks(path, truth, ranks, scores)


def _from_pickle(path: Path, size: int, truth: Truth) -> Results:
    if size > MAX_PICKLE:
        hint = "write Parquet (query, item, score), which is read in parts"
        raise SourceError(path, f"is a pickle of {size / (1 << 30):.0f} GiB (F02)", "expected at most 2 GiB", hint)
    data = path.read_bytes()
    if data.startswith(b"\x93NUMPY"):
        data = data[data.index(b"\n") + 1 :]  # its header is one line of text
    value = unpickle(data, path, arrays=True).value
    if isinstance(value, dict) and {"query_ids", "db_ids", "sims", "ranks"} <= set(value):
        return _of_ilias(path, value)
    if isinstance(value, dict) and value and all(isinstance(key, str) and key.startswith("qimlist_") for key in value):
        return _of_pixels(path, value, truth)
    raise SourceError(path, "holds something else", "expected ILIAS's similarities, or outlines by query and image")


def _of_ilias(path: Path, value: dict[str, Any]) -> Results:
    queries, items = ([str(name) for name in np.ravel(value[key])] for key in ("query_ids", "db_ids"))
    sims, ranks = np.asarray(value["sims"], np.float64), np.asarray(value["ranks"])
    if sims.shape != ranks.shape or sims.ndim != 2 or len(sims) != len(queries) or ranks.dtype.kind not in "iu":
        found = f"sims {sims.shape}, ranks {ranks.shape}, {len(queries)} queries"
        raise SourceError(path, found, "expected sims and ranks of one shape, a row per query")
    if ranks.size and (ranks.min() < 0 or ranks.max() >= len(items)):
        raise SourceError(path, f"ranks name {int(ranks.max())}", f"expected places in db_ids, 0 to {len(items) - 1}")
    ids = pa.array(items, pa.string())

    def entries() -> Iterable[Entry]:
        for query, score, rank in zip(queries, sims, ranks, strict=True):
            yield Entry(query, ids.take(pa.array(rank)), score)

    if len(set(queries)) < len(queries):
        raise SourceError(path, "names a query twice (E08)", "expected one row per query")
    return _from_entries(path.name, entries())


def _of_pixels(path: Path, value: dict[str, Any], truth: Truth) -> Results:
    """Outlines found, by ``qimlist_<q>_imlist_<i>``; there is no ranking in them."""
    regions: dict[tuple[str, str], Sequence[Floats]] = {}
    items = truth.items.to_pylist()
    for key, points in value.items():
        try:
            q, i = (int(number) for number in _REGION.fullmatch(key).groups())  # type: ignore[union-attr]
            pair = truth.queries[q], items[i]
            outline = np.asarray(points, np.float64).reshape(-1, 2)
        except (AttributeError, ValueError, IndexError, TypeError, OverflowError):
            expected = "expected qimlist_<q>_imlist_<i> and a list of points"
            raise SourceError(
                f"{path}, {printable(key)}", "names no query and image, or has no points", expected
            ) from None
        if not np.isfinite(outline).all():
            raise SourceError(f"{path}, {printable(key)}", "a coordinate is not finite (E01)", "expected pixels")
        if wrong := far_away([outline]):
            raise SourceError(f"{path}, {printable(key)}", *wrong)
        regions[pair] = [outline] if len(outline) else []
    none: Ints = np.zeros(1, np.int64)
    return Results(path.name, (), pa.array([], pa.string()), none, np.zeros(0, np.int32), None, regions)


def has_regions(results: Results) -> Regions:
    """The outlines in ``results``.

    Raises:
        UsageError: it has none.
    """
    if results.regions is None:
        raise UsageError(results.name, "has no outlines", hint="name the file of outlines with another --results")
    return results.regions
