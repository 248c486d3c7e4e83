"""A raw download into a dataset: scan the source, parse its items in parallel, check and collect the records."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import sources
from curate.dataset import Dataset, arrow_schema, conform, table_of, tables_from_records
from curate.engine import collector_paused, map_chunks
from curate.errors import CurateError, SourceError, UsageError
from curate.model import (
    REQUIRED_TABLES,
    Category,
    CategoryRole,
    Command,
    Counts,
    Finding,
    Info,
    Item,
    Record,
    RelevanceRule,
    Source,
    SourceRecord,
    finding,
)
from curate.regular import open_regular

# Told how many items are done, of how many.
Progress = Callable[[int, int], object]


# Foreign files that are read whole, and the module with their facts (SOURCE) and their function read().
DOORS = {"coco": "curate.coco", "anns_pt": "curate.anns_pt"}


_LOOK = 1 << 18  # bytes at either end of a file, to tell what it is


class _Chunk(NamedTuple):
    """What a worker sends back for some items: tables, findings, and the items that could not be parsed."""

    items: int
    tables: dict[str, pa.Table]
    findings: list[Finding]
    broken: list[tuple[str, CurateError]]


@collector_paused()
def import_source(
    name: str,
    root: Path | str,
    *,
    splits: Sequence[str] = (),
    skip_bad: bool = False,
    checksums: bool = False,
    jobs: int = 1,
    options: dict[str, Any] | None = None,
    roots: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Import the source ``name`` (``curate sources``) from its unpacked download at ``root``.

    Args:
        splits: only these of the source's splits; all that are there if empty.
        skip_bad: leave broken images out and record them, instead of ending with an error that lists them.
        checksums: also store the SHA-256 of every image file.
        jobs: local processes to parse with; the result does not depend on it.
        options: what the source itself offers (``curate sources NAME``).
        roots: folders of images, by source, for the doors that read a single file (coco, anns_pt).
        progress: told how many items are done, of how many.

    Raises:
        SourceError: ``root`` is not that source's tree, or an item is broken.
        UsageError: unknown source, split or option.
    """
    root = Path(root)
    try:
        str(root).encode()
    except UnicodeEncodeError:  # it goes into dataset.json
        raise SourceError(root, "path is not UTF-8", "expected plain text", "rename it, or name a link to it") from None
    if name == "coco" and is_panoptic(root):
        name, root, options = _as_panoptic(root, options or {}, roots or {})
    options = options or {}
    if name in DOORS:
        _check_options(name, options)
        return _through_door(name, root, splits=splits, skip_bad=skip_bad, checksums=checksums, roots=roots or {})
    source = facts(name)
    if not root.exists():
        raise SourceError(root, "no such folder", f"expected the unpacked download of {source.title}")
    _check_splits(name, source, splits)
    _check_options(name, options)
    tables, findings = _read_all(name, root, splits, options, checksums, jobs, skip_bad, progress)
    found = Counts(images=tables["images"].num_rows, annotations=tables["annotations"].num_rows)
    given = {"source": name, **({"splits": sorted(splits)} if splits else {}), **options}
    module = sources.load(name)
    info = Info(
        name=name,
        **_whose(name, root, tables["images"], source_record(source, found)),
        relevance=getattr(module, "RELEVANCE", RelevanceRule()),
        command=Command(verb="import", options={k: v for k, v in given.items() if v is not None}),
    )
    tables, missing = _declare_categories(tables, name, is_open=getattr(module, "LABELS_ARE_OPEN", False))
    return Dataset(info, tables, sorted(findings + missing, key=_finding_order))


def _read_all(
    name: str,
    root: Path,
    splits: Sequence[str],
    options: Mapping[str, Any],
    checksums: bool,
    jobs: int,
    skip_bad: bool,
    progress: Progress | None,
) -> tuple[dict[str, pa.Table], list[Finding]]:
    """All tables that a source's functions give: ``tables`` and ``records`` of the whole, ``parse`` of each item."""
    module = sources.load(name)
    items: list[Item] = module.scan(root, tuple(splits), **options)
    tables: dict[str, list[pa.Table]] = {}
    findings: list[Finding] = []
    streamed = getattr(module, "tables", None)
    for table_name, table in streamed(root, tuple(splits), **options) if streamed else ():
        tables.setdefault(table_name, []).append(conform(table_name, table))
    if not items and not tables:
        title = facts(name).title
        raise SourceError(root, "no image found", f"expected the tree of {title}", f"see 'curate sources {name}'")
    general = getattr(module, "records", None)
    if general:
        found, noticed = tables_from_records(general(root, tuple(splits), **options))
        findings += noticed
        for table_name, table in found.items():
            tables.setdefault(table_name, []).append(table)
    done = 0
    broken: list[tuple[str, CurateError]] = []
    for result in map_chunks(partial(_parse_chunk, name, checksums), items, jobs=jobs):
        broken += result.broken
        findings += result.findings
        for table_name, table in result.tables.items():
            tables.setdefault(table_name, []).append(table)
        done += result.items
        if progress:
            progress(done, len(items))
    if broken and not skip_bad:
        raise _all_broken(root, broken, len(items))
    findings += [
        finding("N03", error.where, "; ".join(filter(None, [error.found, error.expected])), item=item, hint=error.hint)
        for item, error in broken
    ]
    joined = {table_name: pa.concat_tables(parts) for table_name, parts in tables.items()}
    for table_name in REQUIRED_TABLES:
        joined.setdefault(table_name, arrow_schema(table_name).empty_table())
    return joined, findings


def _check_splits(name: str, source: Source, splits: Sequence[str]) -> None:
    unknown = sorted(set(splits) - set(source.splits))
    if unknown:
        expected = f"expected one of {', '.join(source.splits)}"
        raise UsageError(f"{name}, split {unknown[0]!r}", "unknown split", expected)


def _whose(name: str, root: Path, images: pa.Table, own: SourceRecord) -> dict[str, Any]:
    """Records and roots of the sources of all images: a source may name images of others, in folders of theirs."""
    others = sorted(set(pc.unique(images["source"].cast(pa.string())).to_pylist()) - {name})
    stated = getattr(sources.load(name), "roots", None)
    folders = stated(root) if stated else {}
    records = {
        other: source_record(facts(other)) if other in names() else SourceRecord(title=other) for other in others
    }
    return {
        "sources": {name: own, **records},
        "roots": {name: str(root), **{other: folders[other] for other in others if other in folders}},
    }


def is_panoptic(file: Path) -> bool:
    """Whether a COCO file is one of panoptic labels; by its beginning and end, since it may be large."""
    try:
        descriptor, size = open_regular(file)
    except (OSError, SourceError):  # the door says what is wrong with it
        return False
    with os.fdopen(descriptor, "rb") as stream:
        seen = stream.read(_LOOK)
        stream.seek(max(0, size - _LOOK))
        return b'"segments_info"' in seen + b" " + stream.read(_LOOK)


def _as_panoptic(file: Path, options: dict[str, Any], roots: Mapping[str, str]) -> tuple[str, Path, dict[str, Any]]:
    """The source, root and options that import a panoptic ``file``, whose pictures lie below its folder or above it."""
    top = file.parent.parent if file.parent.name == "annotations" else file.parent
    options = {"json": file.relative_to(top).as_posix(), **options}
    if "coco" in roots:
        images = Path(roots["coco"])
        if not images.resolve().is_relative_to(top.resolve()):
            raise UsageError(
                f"--root coco={images}",
                f"lies outside {top}",
                "expected a panoptic file and its images below one folder",
                "name that: curate import coco_panoptic FOLDER --option json=... --option images=...",
            )
        options["images"] = images.resolve().relative_to(top.resolve()).as_posix()
    return "coco_panoptic", top, options


def offered_options(name: str) -> dict[str, Any]:
    """The options of a source with their defaults: the keyword arguments of its ``scan``."""
    if name in DOORS:
        return {}
    parameters = inspect.signature(sources.load(name).scan).parameters
    return {key: value.default for key, value in list(parameters.items())[2:]}


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    offered = offered_options(name)
    unknown = sorted(set(options) - set(offered))
    if unknown:
        expected = f"expected one of {', '.join(offered)}" if offered else f"{name} has none"
        raise UsageError(f"import {name}, option {unknown[0]!r}", "unknown option", expected)


def _through_door(
    name: str, file: Path, *, splits: Sequence[str], skip_bad: bool, checksums: bool, roots: Mapping[str, str]
) -> Dataset:
    if splits:
        raise UsageError(f"import {name}", "was given --split", hint=f"{name} files have no splits of their own")
    unknown = sorted(set(roots) - {name})
    if unknown:
        raise UsageError(f"--root {unknown[0]}", "is another source", f"expected --root {name}=FOLDER")
    dataset: Dataset = import_module(DOORS[name]).read(
        file, root=Path(roots[name]) if name in roots else None, skip_bad=skip_bad, checksums=checksums
    )
    return dataset


def names() -> list[str]:
    """All that can be imported: the sources, and the doors for foreign files."""
    return sorted([*sources.names(), *DOORS])


def facts(name: str) -> Source:
    """The facts of a source or door.

    Raises:
        UsageError: there is no such source.
    """
    if name not in names():
        raise UsageError(f"source {name!r}", "unknown", f"expected one of {', '.join(names())}")
    module = import_module(DOORS[name]) if name in DOORS else sources.load(name)
    source: Source = module.SOURCE
    return source


def source_record(facts: Source, found: Counts | None = None) -> SourceRecord:
    """The part of a source's facts that goes into ``dataset.json``."""
    return SourceRecord(
        title=facts.title,
        licence=facts.licence,
        version=facts.version,
        citation=facts.citation,
        homepage=facts.homepage,
        published=facts.published,
        found=found,
    )


@collector_paused()
def _parse_chunk(name: str, checksums: bool, items: Sequence[Item]) -> _Chunk:
    module = sources.load(name)
    records: list[Record] = []
    broken: list[tuple[str, CurateError]] = []
    for item in items:
        try:
            parsed = module.parse(item)
            image = parsed.image
            picture = item.image or image.file_name
            if checksums and picture and (item.root / picture).is_file():
                with (item.root / picture).open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                image = msgspec.structs.replace(image, sha256=digest)
            noticed = list(sources.look_over(image, parsed.annotations))
        except CurateError as error:
            broken.append((item.id, error))
            continue
        records.append(image)
        records += parsed.annotations
        records += parsed.others
        records += noticed
    tables, findings = tables_from_records(records)
    return _Chunk(len(items), tables, findings, broken)


def _all_broken(root: Path, broken: list[tuple[str, CurateError]], total: int) -> SourceError:
    errors = [error for _, error in broken]
    return SourceError(
        root,
        f"{len(errors)} of {total} images are broken",
        "nothing was written",
        "mend them, or leave them out with --skip-bad",
        also=errors,
    )


def _declare_categories(
    tables: dict[str, pa.Table], name: str, *, is_open: bool
) -> tuple[dict[str, pa.Table], list[Finding]]:
    """Add a row for every category that annotations use and no label table declares; each is a finding (N01).

    A source that ``is_open`` has no table: its labels are whatever its files name, and no finding.
    """
    used = set(pc.unique(tables["annotations"]["category"].cast(pa.string())).to_pylist()) - {None}
    declared = set(tables["categories"]["name"].to_pylist())
    unknown = sorted(used - declared)
    if not unknown:
        return tables, []
    role: CategoryRole = "benchmark" if is_open else "other"
    rows = table_of("categories", [Category(name=label, role=role) for label in unknown])
    tables = {**tables, "categories": pa.concat_tables([tables["categories"], rows])}
    return tables, [] if is_open else [
        finding("N01", f"{name}, label {label!r}", "label is not in the source's table; kept as found")
        for label in unknown
    ]


def _finding_order(item: Finding) -> tuple[str, str, str, str]:
    return (item.code, item.item or "", item.where, item.message)


def rows_per_split(dataset: Dataset) -> Iterator[tuple[str, int]]:
    """Images per split as found at the source, in the order of the split's name."""
    values, counts = np.unique(
        np.array([v or "" for v in dataset.table("images")["source_split"].cast(pa.string()).to_pylist()]),
        return_counts=True,
    )
    yield from zip(values.tolist(), counts.tolist(), strict=True)
