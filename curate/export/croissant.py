"""Croissant: the dataset's tables as Parquet with croissant.json, which mlcroissant and data catalogues read.

Files: ``croissant.json`` (JSON-LD, Croissant 1.0) and ``data/<table>.parquet``, one record set each, with all rows and
columns of the dataset. Repeated words are plain text; ``segmentation`` and ``polygons`` are JSON. A key names a row;
columns that always name an image or a category refer to it. ``croissant.json`` has hashes and sizes of the files, and
only the date that is given: equal datasets give equal bytes (with one version of pyarrow).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date as date_type
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.columns import positions, whole
from curate.dataset import POLYGONS_TYPE, RLE_TYPE, Dataset, json_text
from curate.errors import UsageError
from curate.export._folder import export_folder
from curate.model import TABLES

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_ROWS = 20_000  # of a row group
_TYPES = {pa.string(): "sc:Text", pa.int32(): "sc:Integer", pa.float64(): "sc:Float", pa.bool_(): "sc:Boolean"}
# Columns that name a row of another table; of a table that refers to no other, since mlcroissant cannot join in chains.
_REFERENCES = {"image_id": "images/id", "category": "categories/name"}
# The context that Croissant 1.0 prescribes.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write(
    dataset: Dataset, path: Path, *, overwrite: bool = False, compat: str | None = None, date: str | None = None
) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``.

    Args:
        date: of publication, ``YYYY-MM-DD``.

    Returns:
        Rows by table.

    Raises:
        UsageError: ``path`` exists, ``compat`` is asked for, or ``date`` is none.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of croissant", hint="leave it out")
    published = {} if date is None else {"datePublished": _checked(date)}
    tables = {name: flat(table) for name, table in dataset.tables.items() if table.num_rows}
    with export_folder(path, "croissant", dataset, overwrite=overwrite) as folder:
        (folder / "data").mkdir()
        files = []
        for name, table in tables.items():
            file = folder / "data" / f"{name}.parquet"
            pq.write_table(table, file, compression="zstd", row_group_size=_ROWS)
            files.append(_file(name, file, f"data/{file.name}"))
        sets = [_record_set(name, tables) for name in tables]
        text = json.dumps({**about(dataset), **published, "distribution": files, "recordSet": sets}, indent=1)
        (folder / "croissant.json").write_text(text + "\n", encoding="utf-8")
    return {name: table.num_rows for name, table in tables.items()}


def _checked(text: str) -> str:
    try:
        return date_type.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"--date {text}", "is no date", "expected YYYY-MM-DD") from None


def flat(table: pa.Table) -> pa.Table:
    """A table of the dataset with columns of text, numbers and booleans only."""
    columns = {}
    for name in table.column_names:
        column = whole(table[name])
        if column.type in (RLE_TYPE, POLYGONS_TYPE):
            texts = [None if value is None else json_text(value) for value in column.to_pylist()]
            column = pa.array(texts, pa.string())
        elif pa.types.is_large_string(column.type):
            column = column.cast(pa.string())
        columns[name] = column
    return pa.table(columns)


def about(dataset: Dataset) -> dict[str, Any]:
    """What ``croissant.json`` says of the dataset as a whole."""
    sources = [record for _, record in sorted(dataset.info.sources.items())]
    counts = ", ".join(f"{rows:,} {name}" for name, rows in dataset.counts().items() if rows)
    titles = ", ".join(record.title for record in sources)
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": dataset.info.name,
        "description": f"{counts or 'No rows'}{f', from {titles}' if titles else ''}. Images are not included.",
        "version": dataset.info.version,
        "license": _each(record.licence or f"not stated by {record.title}" for record in sources) or "not stated",
        "identifier": f"sha256:{dataset.fingerprint()}",
    }
    pages = _each(record.homepage for record in sources if record.homepage)
    cited = [record.citation for record in sources if record.citation]
    if pages:
        found["url"] = pages[0]
        found["isBasedOn"] = pages
    if cited:
        found["citeAs"] = "\n".join(cited)
    return found


def _each(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _file(name: str, file: Path, url: str) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}.parquet",
        "name": f"{name}.parquet",
        "contentUrl": url,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": digest,
    }


def _record_set(name: str, tables: dict[str, pa.Table]) -> dict[str, Any]:
    key = [{"@id": f"{name}/{column}"} for column in TABLES[name].key]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": key[0] if len(key) == 1 else key,
        "field": [_field(name, column, tables) for column in tables[name].column_names],
    }


def _field(name: str, column: str, tables: dict[str, pa.Table]) -> dict[str, Any]:
    values = tables[name][column]
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{name}/{column}",
        "name": column,
        "dataType": _TYPES[values.type],
        "source": {"fileObject": {"@id": f"{name}.parquet"}, "extract": {"column": column}},
    }
    other, _, key = _REFERENCES.get(column, "").partition("/")
    # Readers join along references: one that does not hold for every row would lose rows.
    if other in tables and other != name and (positions(values, tables[other][key]) >= 0).all():
        field["references"] = {"field": {"@id": f"{other}/{key}"}}
    return field
