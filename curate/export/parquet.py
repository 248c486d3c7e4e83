"""Parquet that Hugging Face `datasets` loads: images with their objects, queries, support sets, qrels, categories.

Files: ``README.md`` names the configurations, ``load_dataset(FOLDER, "images")`` and so on read them::

    images/<split>-00000.parquet     a row per image, with its annotations; several files where pictures are embedded
    queries/test-00000.parquet       of a benchmark: what is searched for; support, qrels and instances likewise
    categories/test-00000.parquet    name, supercategory, role, definition

* ``objects`` is a struct of lists, one entry per annotation: ``bbox`` is ``[x, y, width, height]`` in pixels, null for
  a label of the whole image; ``segmentation`` is COCO's compressed run lengths (``size`` is height, width), and where
  there is no mask the size is empty and the counts are "". ``attributes`` are JSON.
* ``qrels`` lists the pairs that are judged, or positive or to be ignored by their annotations; the other pairs are
  negatives where coverage says so, and unjudged elsewhere.
* A split is that of the dataset, else the source's, else ``unassigned``; what is no letter or digit becomes ``_``.
* With ``images="embed"`` a column ``image`` has the pictures' files, which `datasets` decodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import relevance
from curate.columns import plain, positions, whole
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.export._folder import export_folder
from curate.export._pictures import check_how, locate

NONE, EMBED = "none", "embed"
_NO_SPLIT = "unassigned"
STATUSES = ("truth", "proposal", "rejected")
_ROWS = 20_000  # of a row group
_EMBEDDED_ROWS = 100
_EMBEDDED_BYTES = 400_000_000  # of pictures in a file
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ABOUT = (
    *("id", "source", "source_split", "split", "file_name", "width", "height", "orientation", "sha256", "sequence"),
    *("place", "taken_at", "licence", "weather", "time_of_day", "attributes"),
)
_OBJECT = (
    *("id", "category", "source_label", "instance", "bbox", "area", "segmentation", "iscrowd", "ignore"),
    *("status", "origin", "score", "attributes"),
)


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    compat: str | None = None,
    images: str = NONE,
    roots: Mapping[str, str] | None = None,
    status: Sequence[str] = ("truth",),
) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``. Equal datasets give equal bytes with one version of pyarrow.

    Args:
        images: ``none`` or ``embed``: whether the pictures' files are in the tables.
        roots: folders of sources, beside those that the dataset names.
        status: of the annotations to write.

    Returns:
        Counts: images, annotations, queries, pairs, pictures embedded and absent.

    Raises:
        UsageError: ``path`` exists, ``compat`` is asked for, ``images`` or ``status`` is unknown.
        SchemaError: the dataset has no image, two splits would have one name, or a file name leaves its root.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of parquet", hint="leave it out")
    check_how(images, expected=(NONE, EMBED))
    unknown = sorted(set(status) - set(STATUSES))
    if unknown:
        raise UsageError(f"--status {unknown[0]}", "is no status", f"expected one of {', '.join(STATUSES)}")
    places = {**dataset.info.roots, **(roots or {})} if images == EMBED else None
    table, annotations = dataset.table("images"), dataset.table("annotations")
    if not table.num_rows:
        raise SchemaError(dataset.info.name, "has no images", "expected some to export")
    annotations = annotations.filter(pc.is_in(plain(annotations["status"]), value_set=pa.array(list(status))))
    splits = _splits(table)
    others = _others(dataset)
    with export_folder(path, "parquet", dataset, overwrite=overwrite) as folder:
        (folder / "images").mkdir()
        embedded = 0
        for split, rows in splits.items():
            part = table.take(pa.array(rows))
            embedded += _write_images(folder / "images", split, part, dataset, annotations, places)
        for name, held in others.items():
            (folder / name).mkdir()
            _write(folder / name / "test-00000.parquet", held.schema, [held])
        (folder / "README.md").write_text(_card(dataset, list(splits), list(others), images), encoding="utf-8")
    image = positions(annotations["image_id"], table["id"])
    return {
        "images": table.num_rows,
        "annotations": int((image >= 0).sum()),
        "splits": len(splits),
        "queries": dataset.table("queries").num_rows,
        "judged_pairs": others["qrels"].num_rows if "qrels" in others else 0,
        "pictures": embedded,
        "absent_pictures": table.num_rows - embedded if images == EMBED else 0,
    }


def _splits(images: pa.Table) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """The rows of each split, by its name in the files."""
    split = pc.fill_null(pc.coalesce(plain(images["split"]), plain(images["source_split"])), _NO_SPLIT)
    names: dict[str, str] = {}
    for found in sorted(pc.unique(split).to_pylist()):
        name = re.sub(r"[^0-9A-Za-z_]", "_", found) or "_"
        name = "all_" if name == "all" else name  # the word has a meaning of its own there
        if name in names:
            raise SchemaError(
                f"split {found!r}", f"would be named {name} as {names[name]!r} is", "expected other names"
            )
        names[name] = found
    return {name: np.flatnonzero(pc.equal(split, found).to_numpy()) for name, found in names.items()}


# ------------------------------------------------------------------------------------------------------------- images


def _write_images(
    folder: Path, split: str, images: pa.Table, dataset: Dataset, annotations: pa.Table, roots: Mapping[str, str] | None
) -> int:
    """Write the images of a split, and say how many pictures are in the files."""
    roles = _roles(dataset, images["id"])
    place = positions(annotations["image_id"], images["id"])
    order = np.argsort(place, kind="stable")
    order = order[place[order] >= 0]
    starts = np.searchsorted(place[order], np.arange(images.num_rows + 1))

    def batch(begin: int, end: int) -> pa.Table:
        rows = images.slice(begin, end - begin)
        columns: dict[str, Any] = {"image_id" if name == "id" else name: _plain(rows[name]) for name in _ABOUT}
        columns["roles"] = roles.slice(begin, end - begin)
        held = annotations.take(pa.array(order[starts[begin] : starts[end]]))
        columns["objects"] = _objects(held, starts[begin : end + 1] - starts[begin])
        return pa.table(columns)

    if roots is None:
        bounds = [*range(0, images.num_rows, _ROWS), images.num_rows]
        parts = [batch(begin, end) for begin, end in pairwise(bounds)]
        _write(folder / f"{split}-00000.parquet", parts[0].schema, parts)
        return 0
    return _write_embedded(folder, split, images, batch, roots)


def _write_embedded(folder: Path, split: str, images: pa.Table, batch: Any, roots: Mapping[str, str]) -> int:
    """Files of some hundred megabytes, each written a few pictures at a time."""
    found = shard = 0
    begin, rows = 0, images.num_rows
    while begin < rows or not shard:
        taken: list[int] = [0]

        def parts(start: int = begin, taken: list[int] = taken) -> Iterator[pa.Table]:
            size = 0
            while start + taken[0] < rows and size < _EMBEDDED_BYTES:
                first = start + taken[0]
                end = min(first + _EMBEDDED_ROWS, rows)
                pictures = _pictures(images.slice(first, end - first), roots)
                size += sum(len(one["bytes"]) for one in pictures if one)
                taken[0] = end - start
                yield batch(first, end).add_column(0, "image", pa.array(pictures, _IMAGE))

        schema = batch(0, 0).add_column(0, "image", pa.array([], _IMAGE)).schema
        found += _write(folder / f"{split}-{shard:05d}.parquet", schema, parts())
        begin += taken[0]
        shard += 1
    return found


def _pictures(images: pa.Table, roots: Mapping[str, str]) -> list[dict[str, Any] | None]:
    pictures: list[dict[str, Any] | None] = []
    columns = (images["id"], plain(images["source"]), images["file_name"])
    for id, source, file_name in zip(*(column.to_pylist() for column in columns), strict=True):
        path = locate(id, source, file_name, roots)
        pictures.append({"bytes": path.read_bytes(), "path": path.name} if path else None)
    return pictures


def _roles(dataset: Dataset, ids: pa.ChunkedArray) -> pa.Array:
    """The roles of each image, as lists."""
    members = dataset.table("members")
    place = positions(members["image_id"], ids)
    order = np.argsort(place, kind="stable")
    order = order[place[order] >= 0]
    starts = np.searchsorted(place[order], np.arange(len(ids) + 1))
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), whole(members["role"]).take(pa.array(order)))


def _objects(rows: pa.Table, starts: Any) -> pa.Array:
    """Annotations as a struct of lists; ``starts`` are where each image's begin, and the end."""
    offsets = pa.array(starts, pa.int32())
    sides = [whole(rows[side]) for side in "xywh"]
    inside = np.stack([side.to_numpy(zero_copy_only=False) for side in sides], axis=1).ravel()
    boxed = pc.is_valid(sides[0]).to_numpy(zero_copy_only=False)
    at = pa.array(np.append(np.arange(rows.num_rows) * 4, rows.num_rows * 4).astype(np.int32))
    box = pa.ListArray.from_arrays(at, pa.array(np.nan_to_num(inside)), mask=pa.array(~boxed))
    values = {"bbox": box, "segmentation": _masks(whole(rows["segmentation"]))}
    lists = [
        pa.ListArray.from_arrays(offsets, values[name] if name in values else _plain(rows[name])) for name in _OBJECT
    ]
    return pa.StructArray.from_arrays(lists, names=list(_OBJECT))


def _masks(column: pa.StructArray) -> pa.StructArray:
    """Masks without nulls, which a struct inside a list is not read back with everywhere."""
    size, counts = pc.struct_field(column, "size"), pc.struct_field(column, "counts")
    # A list that was read from Parquet calls its values otherwise than one made in memory; the file would tell.
    size = size.cast(pa.list_(pa.int32()))
    empty = pa.scalar([], size.type)
    size = pc.if_else(pc.is_valid(column), size, pa.array([empty.as_py()] * len(column), size.type))
    return pa.StructArray.from_arrays([size, pc.fill_null(pc.cast(counts, pa.string()), "")], names=["size", "counts"])


def _plain(column: pa.ChunkedArray) -> pa.Array:
    column = whole(column)
    return pc.cast(column, pa.string()) if pa.types.is_large_string(column.type) else column


# ------------------------------------------------------------------------------------------------------ further tables


def _others(dataset: Dataset) -> dict[str, pa.Table]:
    """The tables beside the images, those without rows left out."""
    tables = {name: dataset.table(name) for name in ("categories", "queries", "support", "instances")}
    if tables["queries"].num_rows:
        pairs = relevance.relevance(dataset)
        tables["qrels"] = pairs.set_column(pairs.schema.get_field_index("label"), "label", plain(pairs["label"]))
    return {
        name: pa.table({column: _plain(table[column]) for column in table.column_names})
        for name, table in tables.items()
        if table.num_rows
    }


def _write(path: Path, schema: pa.Schema, parts: Any) -> int:
    """Write tables of one schema, and say how many pictures were in them."""
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": _features(schema)}})})
    pictures = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            if "image" in part.column_names:
                pictures += len(part) - part["image"].null_count
            writer.write_table(part.cast(schema), row_group_size=_ROWS)
    return pictures


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The columns as `datasets` names their types; all its versions read these."""
    return {field.name: {"_type": "Image"} if field.type == _IMAGE else _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _feature(kind.field(i).type) for i in range(kind.num_fields)}
    names = {pa.string(): "string", pa.int32(): "int32", pa.float64(): "float64", pa.bool_(): "bool"}
    return {"dtype": names[kind], "_type": "Value"}


def _card(dataset: Dataset, splits: list[str], others: list[str], images: str) -> str:
    lines = ["---", f"pretty_name: {json.dumps(dataset.info.name)}", "configs:", "- config_name: images"]
    lines += ["  default: true", "  data_files:"]
    lines += [line for split in splits for line in (f"  - split: {split}", f"    path: images/{split}-*.parquet")]
    for name in others:
        lines += [f"- config_name: {name}", "  data_files:", "  - split: test", f"    path: {name}/test-*.parquet"]
    lines += ["---", "", f"# {dataset.info.name}", ""]
    pictures = (
        "are in the tables" if images == EMBED else "are not here: `file_name` is a path below its source's folder"
    )
    lines += [f"Images with their objects in `images`; pictures {pictures}.", "", "| source | licence |", "|---|---|"]
    for name, record in sorted(dataset.info.sources.items()):
        cells = [
            " ".join(str(text).replace("|", "\\|").split())
            for text in (record.title or name, record.licence or "not stated")
        ]
        lines.append(f"| {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"
