"""A raw download into a dataset: scan the source, parse its items in parallel, check and collect the records."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections import defaultdict
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
from curate.errors import CurateError, SourceError, UsageError, did_you_mean
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
_HELD = "held"  # the argument by which what a source's ``survey`` read is given to its other functions
_Broken = tuple[str, CurateError]  # an item's id, and what is wrong with it


class _Chunk(NamedTuple):
    """What a worker sends back for some items: tables, findings, and the items that could not be parsed."""

    items: int
    tables: dict[str, pa.Table]
    findings: list[Finding]
    broken: list[_Broken]


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
        UsageError: unknown source, split or option, or a folder of images that is not there or not asked for.
    """
    root = Path(root)
    try:
        str(root).encode()
    except UnicodeEncodeError:  # it goes into dataset.json
        raise SourceError(root, "path is not UTF-8", "expected plain text", "rename it, or name a link to it") from None
    if name == "coco" and is_panoptic(root):
        name, root, options = _as_panoptic(root, options or {}, roots or {})
        roots = None  # it is among the options now
    options = options or {}
    if name in DOORS:
        _check_options(name, options)
        return _through_door(name, root, splits=splits, skip_bad=skip_bad, checksums=checksums, roots=roots or {})
    source = facts(name)
    if roots:
        doors = " and ".join(sorted(DOORS))
        hint = f"leave it out: the images of {name} lie below PATH"
        raise UsageError(f"--root {min(roots)}={roots[min(roots)]}", f"is for {doors}", hint=hint)
    if not root.exists():
        raise SourceError(root, "no such folder", f"expected the unpacked download of {source.title}")
    _check_splits(name, source, splits)
    _check_options(name, options)
    read = _read_general(name, root, splits, options)
    parsed = _parse_items(name, read.items, checksums=checksums, jobs=jobs, progress=progress)
    if parsed.broken and not skip_bad:
        raise _all_broken(root, parsed.broken, len(read.items))
    findings = [*read.findings, *parsed.findings, *map(_left_out, parsed.broken)]
    tables = _joined(read.tables, parsed.tables)
    found = _found(tables, source)
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


class _General(NamedTuple):
    """What a source says of the whole: the items that are left to parse, tables, findings."""

    items: list[Item]
    tables: dict[str, list[pa.Table]]
    findings: list[Finding]


class _Parts(NamedTuple):
    """What became of the items: tables in parts, findings, and the items that could not be parsed."""

    tables: dict[str, list[pa.Table]]
    findings: list[Finding]
    broken: list[_Broken]


def _read_general(name: str, root: Path, splits: Sequence[str], options: Mapping[str, Any]) -> _General:
    """What the functions of a source give that are about no single item: ``scan``, ``tables`` and ``records``."""
    module = sources.load(name)
    survey, streamed, general = (getattr(module, function, None) for function in ("survey", "tables", "records"))
    if survey:
        options = {**options, _HELD: survey(root, tuple(splits), **options)}
    items: list[Item] = module.scan(root, tuple(splits), **options)
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    for table_name, table in streamed(root, tuple(splits), **options) if streamed else ():
        tables[table_name].append(conform(table_name, table))
    if not items and not tables:
        title = facts(name).title
        raise SourceError(root, "no image found", f"expected the tree of {title}", f"see 'curate sources {name}'")
    found, findings = tables_from_records(general(root, tuple(splits), **options) if general else ())
    for table_name, table in found.items():
        tables[table_name].append(table)
    return _General(items, tables, findings)


def _parse_items(name: str, items: Sequence[Item], *, checksums: bool, jobs: int, progress: Progress | None) -> _Parts:
    """Parse every item, in this process or several; the parts are in the order of the items."""
    parts = _Parts(defaultdict(list), [], [])
    done = 0
    for result in map_chunks(partial(_parse_chunk, name, checksums), items, jobs=jobs):
        parts.broken.extend(result.broken)
        parts.findings.extend(result.findings)
        for table_name, table in result.tables.items():
            parts.tables[table_name].append(table)
        done += result.items
        if progress:
            progress(done, len(items))
    return parts


def _joined(*sides: Mapping[str, list[pa.Table]]) -> dict[str, pa.Table]:
    """The tables of all sides, and empty ones that every dataset has."""
    parts: dict[str, list[pa.Table]] = {name: [arrow_schema(name).empty_table()] for name in REQUIRED_TABLES}
    for side in sides:
        for name, tables in side.items():
            parts[name] = [*parts.get(name, []), *tables]
    return {name: pa.concat_tables(tables) for name, tables in parts.items()}


def _found(tables: Mapping[str, pa.Table], source: Source) -> Counts:
    """The rows that an import found; instances where their number is published, to be compared with it."""
    published = source.published is not None and source.published.instances is not None
    instances = tables["instances"].num_rows if "instances" in tables else 0
    return Counts(
        images=tables["images"].num_rows,
        annotations=tables["annotations"].num_rows,
        instances=instances if published else None,
    )


def _left_out(broken: _Broken) -> Finding:
    item, error = broken
    message = "; ".join(filter(None, [error.found, error.expected]))
    return finding("N03", error.where, message, item=item, hint=error.hint)


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
        if not images.is_dir():
            raise UsageError(f"--root coco={images}", "no such folder", "expected the folder of the images")
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
    return {key: value.default for key, value in list(parameters.items())[2:] if key != _HELD}


def option_texts(name: str) -> dict[str, str]:
    """What the options of a source mean."""
    return {} if name in DOORS else dict(getattr(sources.load(name), "OPTIONS", {}))


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
    for source, folder in roots.items():
        if source == name and not Path(folder).is_dir():
            raise UsageError(f"--root {source}={folder}", "no such folder", "expected the folder of the images")
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
        raise UsageError(
            f"source {name!r}", "unknown", f"expected one of {', '.join(names())}", did_you_mean(name, names())
        )
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
    broken: list[_Broken] = []
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


def _all_broken(root: Path, broken: list[_Broken], total: int) -> SourceError:
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
