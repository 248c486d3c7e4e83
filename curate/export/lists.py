"""Lists as TREC has them: queries.tsv, qrels.txt, gallery.tsv and support.tsv, for any retrieval program.

==============  =============================================================================================
``qrels.txt``   ``query 0 image grade`` per line: 1 positive (also easy, hard), 0 judged negative, -1 to be passed
                over (ignore, junk); trec_eval leaves grades below 0 out of its counts of relevant images
``queries.tsv`` id, kind, group, category, instance, text, image, path, x, y, w, h; with a line of column names
``support.tsv`` query, rank, text, image, path, x, y, w, h; only where there are support sets
``gallery.tsv`` id, role (gallery, distractor), path
==============  =============================================================================================

* A path is ``source/path below the source's root``; boxes are pixels with exclusive right and bottom.
* Pairs that ``qrels.txt`` does not list are negatives where coverage says so, and unjudged elsewhere; TREC's programs
  count both as not relevant. The unjudged ones are counted here.
* TREC parts columns by white space: in ids of all files it is written as ``%20`` and the like. In other texts every
  run of white space is one space.
* A query's own image is no answer to it; take it out of results where the gallery holds it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from curate import relevance
from curate.columns import plain, positions, whole
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.export._folder import export_folder

_GRADES = {"positive": 1, "easy": 1, "hard": 1, "negative": 0, "ignore": -1, "junk": -1}
_BATCH = 65_536
_WHITE = r"[\s\p{Z}\p{C}]"
_QUERIES = ("id", "kind", "group", "category", "instance", "text", "image_id", "path", "x", "y", "w", "h")
_SUPPORT = ("query_id", "rank", "text", "image_id", "path", "x", "y", "w", "h")
_IDS = ("id", "query_id", "image_id", "group", "instance")


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, compat: str | None = None) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``; equal datasets give equal bytes. The gallery is written in batches.

    Returns:
        Counts: queries, positive pairs, pairs to be passed over, gallery, support rows, unjudged pairs.

    Raises:
        UsageError: ``path`` exists, or ``compat`` is asked for.
        SchemaError: there is no query, or two ids are one once white space is escaped.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of lists", hint="leave it out")
    queries, support = dataset.table("queries"), dataset.table("support")
    if not queries.num_rows:
        hint = "make some with 'curate build split query-gallery'"
        raise SchemaError(dataset.info.name, "has no queries", "expected a benchmark", hint)
    for name in ("queries", "images"):
        _check_ids(name, dataset.table(name)["id"])
    pairs = relevance.relevance(dataset)
    grades = pairs["label"].to_pylist()
    with export_folder(path, "lists", dataset, overwrite=overwrite) as folder:
        _write(folder / "queries.tsv", _QUERIES, _batches(_with_path(dataset, queries), _QUERIES))
        _write(folder / "qrels.txt", (), _qrels(pairs))
        if support.num_rows:
            _write(folder / "support.tsv", _SUPPORT, _batches(_with_path(dataset, support), _SUPPORT))
        columns = ("id", "role", "path")
        searched = _gallery(dataset)
        _write(folder / "gallery.tsv", columns, _batches(searched, columns))
    return {
        "queries": queries.num_rows,
        "positive_pairs": sum(_GRADES[label] > 0 for label in grades),
        "ignored_pairs": sum(_GRADES[label] < 0 for label in grades),
        "gallery_images": searched.num_rows,
        "support_rows": support.num_rows,
        "unjudged_pairs": int(pc.sum(relevance.overview(dataset)["unjudged"]).as_py() or 0),
    }


def _check_ids(table: str, ids: pa.ChunkedArray) -> None:
    """Refuse ids that would be one."""
    odd = ids.filter(pc.match_substring_regex(ids, _WHITE))
    escaped: dict[str, str] = {}
    for id in odd.to_pylist():
        other = escaped.setdefault(_escaped(id), id)
        if other != id:
            raise SchemaError(
                f"table {table}, id {id!r}", f"would be written as {other!r} is", "expected different ids"
            )
    same = pc.is_in(ids, value_set=pa.array(list(escaped), pa.string()))
    if pc.any(same).as_py():
        id = ids.filter(same)[0].as_py()
        raise SchemaError(
            f"table {table}, id {escaped[id]!r}", f"would be written as {id!r} is", "expected different ids"
        )


def _escaped(id: str) -> str:
    return "".join(quote(c) if c.isspace() or unicodedata.category(c)[0] in "ZC" else c for c in id)


def _ids(column: pa.ChunkedArray) -> pa.Array:
    """A column of ids with white space escaped; nearly always as it is."""
    ids = whole(column)
    if not pc.any(pc.fill_null(pc.match_substring_regex(ids, _WHITE), False)).as_py():
        return ids
    return pa.array([None if id is None else _escaped(id) for id in ids.to_pylist()], pa.string())


def _with_path(dataset: Dataset, table: pa.Table) -> pa.Table:
    """``table`` with the path of each row's image."""
    images = dataset.table("images")
    rows = positions(table["image_id"], images["id"])
    held = images.select(["source", "file_name"]).take(pa.array(rows, mask=rows < 0))
    return table.append_column("path", _path(held))


def _path(images: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(whole(images["source"]), whole(images["file_name"]), "/")


def _gallery(dataset: Dataset) -> pa.Table:
    images, members = dataset.table("images"), dataset.table("members")
    images = images.filter(pc.is_in(images["id"], value_set=relevance.gallery(dataset)))
    aside = members.filter(pc.equal(plain(members["role"]), "distractor"))["image_id"]
    role = pc.if_else(pc.is_in(images["id"], value_set=whole(aside)), "distractor", "gallery")
    return pa.table({"id": images["id"], "role": role, "path": _path(images)})


def _qrels(pairs: pa.Table) -> Iterator[pa.Array]:
    grades = pa.array([str(_GRADES[label]) for label in pairs["label"].to_pylist()], pa.string())
    yield pc.binary_join_element_wise(_ids(pairs["query_id"]), "0", _ids(pairs["image_id"]), grades, " ")


def _batches(table: pa.Table, columns: tuple[str, ...]) -> Iterator[pa.Array]:
    for start in range(0, table.num_rows, _BATCH):
        part = table.slice(start, _BATCH)
        texts = [pc.fill_null(_text(name, part[name]), "") for name in columns]
        yield pc.binary_join_element_wise(*texts, "\t")


def _text(name: str, column: pa.ChunkedArray) -> Any:
    if pa.types.is_floating(column.type):
        return pa.array([None if v is None else f"{v:.15g}" for v in column.to_pylist()], pa.string())
    if name in _IDS:
        return _ids(column)
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.cast(whole(column), pa.string()), _WHITE + "+", " "))


def _write(path: Path, columns: tuple[str, ...], lines: Iterator[pa.Array]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        if columns:
            stream.write("\t".join(name.removesuffix("_id") for name in columns) + "\n")
        for batch in lines:
            if len(batch):
                stream.write("\n".join(batch.to_pylist()) + "\n")
