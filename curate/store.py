"""Dataset folders: read, write, scan.

::

    NAME/dataset.json            what is known, the lineage, the fingerprints of the tables and of the whole
    NAME/annotations.parquet     one file per table ...
    NAME/images/part-00000.parquet   ... or several, for a large one
    NAME/problems.jsonl          a Finding per line; absent if there is none

Writing is atomic (``curate.atomic``); a table that came unchanged from another folder is hard-linked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.atomic import atomic_folder, check_output
from curate.columns import plain, whole
from curate.dataset import Dataset, Stored, arrow_schema, conform
from curate.errors import SchemaError, SourceError, UsageError
from curate.fingerprints import fingerprint
from curate.model import REQUIRED_TABLES, SCHEMA_VERSION, TABLES, Finding, Info
from curate.regular import open_regular, read_regular

MANIFEST = "dataset.json"
PROBLEMS = "problems.jsonl"
PART_ROWS = 1_000_000


class StoredTable(msgspec.Struct, frozen=True, kw_only=True):
    """What ``dataset.json`` says of one table."""

    rows: int
    fingerprint: str
    files: list[str]


class Manifest(Info, frozen=True, kw_only=True, omit_defaults=True):
    """The content of ``dataset.json``."""

    schema_version: str
    fingerprint: str
    tables: dict[str, StoredTable]

    @property
    def info(self) -> Info:
        return Info(**{name: getattr(self, name) for name in Info.__struct_fields__})


def is_dataset(path: Path) -> bool:
    return (Path(path) / MANIFEST).is_file()


def ready_to_write(path: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output place before the work starts.

    Raises:
        UsageError: ``path`` exists without ``overwrite``, is no dataset folder, or is or lies in one of the ``inputs``.
    """
    path = Path(path)
    for given in inputs:
        if path.exists() and Path(given).exists() and path.resolve() == Path(given).resolve():
            raise UsageError(path, "is also an input", hint="nothing is changed in place: name another output")
        if Path(given).resolve() in path.resolve().parents and is_dataset(Path(given)):
            raise UsageError(
                path, f"lies in the input {given}", hint="nothing is changed in place: name another output"
            )
    check_output(path, overwrite=overwrite, ours=is_dataset)


def write(dataset: Dataset, path: Path | str, *, overwrite: bool = False) -> Manifest:
    """Write ``dataset`` as the folder ``path``; it appears whole or not at all.

    Raises:
        UsageError: ``path`` exists (see :func:`ready_to_write`).
    """
    fingerprints = dataset.fingerprints()
    with atomic_folder(Path(path), overwrite=overwrite, ours=is_dataset) as folder:
        tables = {}
        for name, table in dataset.tables.items():
            stored = dataset.stored(name)
            files = (_link(stored, name, folder) if stored else None) or _write_table(table, name, folder)
            tables[name] = StoredTable(rows=table.num_rows, fingerprint=fingerprints[name], files=files)
        info = {name: getattr(dataset.info, name) for name in Info.__struct_fields__}
        manifest = Manifest(
            **info, schema_version=SCHEMA_VERSION, fingerprint=dataset.fingerprint(fingerprints), tables=tables
        )
        if dataset.problems:
            lines = msgspec.json.Encoder().encode_lines(list(dataset.problems))
            (folder / PROBLEMS).write_bytes(lines)
        text = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)
        (folder / MANIFEST).write_bytes(text + b"\n")
    return manifest


def _write_table(table: pa.Table, name: str, folder: Path) -> list[str]:
    if table.num_rows <= PART_ROWS:
        files = [f"{name}.parquet"]
    else:
        files = [f"{name}/part-{i:05d}.parquet" for i in range(-(-table.num_rows // PART_ROWS))]
        (folder / name).mkdir()
    words = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    for i, file in enumerate(files):
        part = table.slice(i * PART_ROWS, PART_ROWS)
        # A stream, since Arrow itself takes no path that is not UTF-8.
        with (folder / file).open("wb") as stream:
            pq.write_table(
                part,
                stream,
                compression="lz4",  # half of zstd's time, at one and a half times its size
                use_dictionary=words,
                write_page_checksum=True,
            )
    return files


def _link(stored: Stored, name: str, folder: Path) -> list[str] | None:
    """Hard-link an unchanged table's files; None where that is not possible: another file system, a file that has been
    deleted, or replaced since it was read."""
    files = []
    for source, mark in zip(stored.files, stored.marks, strict=True):
        file = f"{name}/{source.name}" if len(stored.files) > 1 else f"{name}.parquet"
        (folder / file).parent.mkdir(exist_ok=True)
        try:
            os.link(source, folder / file)
        except OSError:
            return None
        files.append(file)
        if _mark(folder / file) != mark:
            for linked in files:
                (folder / linked).unlink()
            return None
    return files


def _mark(file: Path) -> tuple[int, ...]:
    """What tells a file from another one that took its name."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_manifest(path: Path | str) -> Manifest:
    """Read ``dataset.json``.

    Raises:
        SchemaError: there is none, it is damaged, or a later version of curate wrote it.
    """
    path = Path(path)
    file = path / MANIFEST
    if not path.exists():
        raise SchemaError(path, "no such folder", "expected a dataset folder")
    try:
        text = read_regular(file)
    except (FileNotFoundError, NotADirectoryError):
        raise SchemaError(
            path,
            f"has no {MANIFEST}",
            "expected a dataset folder as curate writes it",
            "make one with 'curate import'",
        ) from None
    except SourceError as error:
        raise SchemaError(file, error.found, error.expected) from None
    try:
        version = msgspec.json.decode(text, type=dict).get("schema_version")
        if not isinstance(version, str) or not version.split(".")[0].isdecimal():
            raise SchemaError(file, f"schema_version is {version!r}", f"expected a version like {SCHEMA_VERSION!r}")
        if int(version.split(".")[0]) > int(SCHEMA_VERSION.split(".")[0]):
            raise SchemaError(
                file, f"schema version {version}", f"this curate reads {SCHEMA_VERSION}", "upgrade curate"
            )
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SchemaError(file, str(error), "expected what 'curate' wrote there", "make the dataset again") from error


def read(path: Path | str, tables: Sequence[str] | None = None) -> Dataset:
    """Read the dataset folder ``path``, or only some of its ``tables``.

    Raises:
        SchemaError: the folder or one of its tables is missing or damaged.
    """
    path = Path(path)
    manifest = read_manifest(path)
    held: dict[str, pa.Table] = {}
    stored: dict[str, Stored] = {}
    wanted = [name for name in TABLES if name in manifest.tables and (tables is None or name in tables)]
    for name in wanted:
        entry = manifest.tables[name]
        files = _files(path, entry)
        marks = tuple(_mark(file) for file in files if file.exists())
        table = pa.concat_tables([_read_file(file) for file in files])
        if table.num_rows != entry.rows:
            raise SchemaError(path / entry.files[0], f"{table.num_rows} rows", f"expected {entry.rows}")
        current = table.schema.equals(arrow_schema(name))
        held[name] = table.unify_dictionaries() if current else conform(name, table)
        if current:
            stored[name] = Stored(held[name], tuple(files), marks, entry.fingerprint)
    missing = [name for name in REQUIRED_TABLES if name not in manifest.tables]
    if missing:
        raise SchemaError(path / MANIFEST, f"lists no table {missing[0]}", hint="make the dataset again")
    return Dataset(manifest.info, held, checked=True, stored=stored)


def read_problems(path: Path | str) -> list[Finding]:
    """The findings of the import or repair that made the dataset.

    Raises:
        SchemaError: ``problems.jsonl`` is damaged.
    """
    file = Path(path) / PROBLEMS
    if not file.exists():
        return []
    try:
        return msgspec.json.Decoder(Finding).decode_lines(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SchemaError(file, str(error), "expected one finding per line") from error


def scan(
    path: Path | str, table: str, columns: Sequence[str] | None = None, batch_rows: int = 65_536
) -> Iterator[pa.RecordBatch]:
    """Stream a table in batches, in key order, without holding it in memory.

    Raises:
        SchemaError: as :func:`read`.
    """
    path = Path(path)
    entry = read_manifest(path).tables.get(table)
    if entry is None:
        return
    for file in _files(path, entry):
        with _opened(file) as parquet:
            for batch in parquet.iter_batches(batch_rows, columns=list(columns) if columns else None):
                batch.validate(full=True)
                yield batch


def read_without_distractors(path: Path | str, batch_rows: int = 65_536) -> tuple[Dataset, int]:
    """The dataset without the images that are distractors and nothing else, and how many those are.

    Images and members are scanned side by side, both being in the order of image ids: memory does not depend on the
    number of distractors.

    Raises:
        SchemaError: as :func:`read`.
    """
    path = Path(path)
    roles = scan(path, "members", batch_rows=batch_rows)
    waiting = arrow_schema("members").empty_table()
    images, members, count = [arrow_schema("images").empty_table()], [waiting], 0
    for batch in scan(path, "images", batch_rows=batch_rows):
        last = batch["id"][-1]
        while not waiting.num_rows or waiting["image_id"][-1].as_py() <= last.as_py():
            more = next(roles, None)
            if more is None:
                break
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([more])])
        passed = pc.less_equal(waiting["image_id"], last)
        here, waiting = waiting.filter(passed), waiting.filter(pc.invert(passed))
        distracts = pc.equal(plain(here["role"]), "distractor")
        alone = pc.is_in(batch["id"], value_set=whole(here.filter(distracts)["image_id"]))
        alone = pc.and_not(alone, pc.is_in(batch["id"], value_set=whole(here.filter(pc.invert(distracts))["image_id"])))
        gone = batch["id"].filter(alone)
        count += len(gone)
        images.append(pa.Table.from_batches([batch.filter(pc.invert(alone))]))
        members.append(here.filter(pc.invert(pc.is_in(here["image_id"], value_set=gone))))
    members += [waiting, *(pa.Table.from_batches([more]) for more in roles)]
    others = read(path, [name for name in TABLES if name not in ("images", "members")])
    return others.replace(images=pa.concat_tables(images), members=pa.concat_tables(members)), count


def _read_file(file: Path) -> pa.Table:
    with _opened(file) as parquet:
        table = parquet.read(use_threads=False)
        # The checksums are of pages, not of their headers: a damaged one may give words that are not there.
        table.validate(full=True)
        return table


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    """The Parquet file, its faults turned into errors; a stream, since Arrow itself takes no path that is not UTF-8."""
    try:
        descriptor, _ = open_regular(file)
        # Read ahead, Arrow would start a thread of its own: one that still begins as the process ends aborts it.
        options: dict[str, Any] = {"pre_buffer": False, "page_checksum_verification": True}
        with os.fdopen(descriptor, "rb") as stream, pq.ParquetFile(stream, **options) as parquet:
            yield parquet
    except FileNotFoundError as error:
        raise SchemaError(file, "table file is missing", hint="make the dataset again") from error
    except SourceError as error:
        raise SchemaError(file, f"table cannot be read ({error.found})", hint="make the dataset again") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        found = "cannot be read" if getattr(error, "errno", None) else "is damaged"
        raise SchemaError(file, f"table {found} ({error})", hint="make the dataset again") from error


def _files(path: Path, entry: StoredTable) -> list[Path]:
    if not entry.files:
        raise SchemaError(path / MANIFEST, "lists a table without files", hint="make the dataset again")
    for file in entry.files:
        parts = Path(file).parts
        if Path(file).is_absolute() or ".." in parts:
            raise SchemaError(path / MANIFEST, f"table file {file!r} leaves the folder", "expected a name inside it")
    return [path / file for file in entry.files]


def changed_tables(path: Path | str) -> Iterator[tuple[str, str, str]]:
    """Tables whose rows are no longer those that were written: (name, stored fingerprint, fingerprint found)."""
    dataset = read(path)
    for name, entry in read_manifest(path).tables.items():
        found = fingerprint(dataset.table(name))
        if found != entry.fingerprint:
            yield name, entry.fingerprint, found
