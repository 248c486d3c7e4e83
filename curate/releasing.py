"""A release: a folder that tells what it holds, whose it is, that it was checked, and how to see that it is untouched.

::

    NAME/README.md           the data card, its figures counted from the dataset
    NAME/LICENCES.md         licence and citation of every source
    NAME/dataset/            the tables, with lineage; no pictures, and no folder of whoever made it
    NAME/images.csv          every image by path and SHA-256: terms of most sources forbid to pass the pictures on
    NAME/export/FORMAT       the dataset in the formats that were chosen
    NAME/statistics.json     as ``curate info --json``
    NAME/verify.json, .html  the report of the check
    NAME/changes.json        what changed since the release before, where one was named
    NAME/SHA256SUMS          of all these; ``curate verify NAME`` and ``sha256sum -c`` prove that nothing changed

Equal datasets and options give equal bytes: no clock is looked at.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct
from numpy.typing import NDArray

from curate import export, store
from curate.atomic import atomic_folder, check_output
from curate.dataset import Dataset, flags, plain, positions
from curate.errors import SchemaError, UsageError, printable
from curate.model import TABLES
from curate.pages.verification import draw_page
from curate.summary import Summary, summarise
from curate.verify import Report, verify
from curate.verify.manifests import SUMS, is_release

# What a format's output is called; a folder where it needs one.
_NAMES = {"coco": "annotations.json", "anns_pt": "anns.pt", "captions_pt": "captions.pt"}
_LISTED = 1000  # ids of each kind of change
_CLASSES = 30  # in the data card


class TableChange(Struct, frozen=True, kw_only=True):
    """What is other in one table; of ids the first thousand are listed."""

    added: int
    removed: int
    changed: Annotated[dict[str, int], Meta(description="column -> rows whose value is another")]
    added_ids: tuple[str, ...]
    removed_ids: tuple[str, ...]
    changed_ids: tuple[str, ...]


class Changes(Struct, frozen=True, kw_only=True):
    """What changed between two releases: ``changes.json``."""

    report: Literal["curate release"] = "curate release"
    previous: Annotated[str, Meta(description="fingerprint of the dataset before")]
    current: Annotated[str, Meta(description="fingerprint of the dataset now")]
    tables: dict[str, TableChange]


class Released(Struct, frozen=True, kw_only=True):
    """What a release holds."""

    fingerprint: str
    files: int
    counts: dict[str, int]
    verify: Report


def release(
    dataset: Dataset,
    path: Path | str,
    *,
    formats: Sequence[str] = ("coco",),
    version: str | None = None,
    previous: Path | str | None = None,
    roots: Mapping[str, Path | str] | None = None,
    jobs: int = 1,
    overwrite: bool = False,
) -> Released:
    """Write ``dataset`` as the release folder ``path``, if it has no error and every source states its licence.

    Args:
        formats: of the exports (``curate.export.names()``).
        version: of the release; by default that of the dataset.
        previous: an earlier release or dataset folder to compare with.
        roots: folders of images by source, to check the pictures.

    Raises:
        UsageError: a format is unknown, or ``path`` exists.
        SchemaError: the dataset has errors (the first ones are told), a source has no licence, or ``previous`` is no
            release.
    """
    path = Path(path)
    unknown = sorted(set(formats) - set(export.names()))
    if unknown:
        raise UsageError(f"--format {unknown[0]}", "unknown", f"expected some of {', '.join(export.names())}")
    check_output(path, overwrite=overwrite, ours=is_release)
    _check_licences(dataset)
    before = _previous(Path(previous)) if previous is not None else None
    report = verify(dataset, level="full", roots=roots, jobs=jobs)
    _check_report(report)
    info = msgspec.structs.replace(dataset.info, roots={}, version=version or dataset.info.version)
    whole = dataset.replace(info=info)
    summary = summarise(whole)
    changes = compare(before, whole) if before is not None else None
    with atomic_folder(path, overwrite=overwrite, ours=is_release) as folder:
        store.write(whole, folder / "dataset")
        for name in dict.fromkeys(formats):
            (folder / "export").mkdir(exist_ok=True)
            export.load(name).write(whole, folder / "export" / _NAMES.get(name, name))
        texts = {
            "README.md": _card(whole, summary, report, formats, changes),
            "LICENCES.md": _licences(whole, summary),
            "images.csv": _images(whole),
            "statistics.json": _json(summary),
            "verify.json": _json(report),
            "verify.html": draw_page(report, whole, pictures=False),
        }
        if changes is not None:
            texts["changes.json"] = _json(changes)
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
        sums = _sums(folder)
        (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), encoding="utf-8")
    return Released(fingerprint=whole.fingerprint(), files=len(sums) + 1, counts=whole.counts(), verify=report)


def _check_licences(dataset: Dataset) -> None:
    used = sorted(set(plain(dataset.table("images")["source"]).to_pylist()))
    for source in used:
        record = dataset.info.sources.get(source)
        if record is None or not record.licence:
            found = "states no licence" if record else "is not among the sources"
            hint = "merge or import with a source that states it: nothing is released without"
            raise SchemaError(f"dataset.json, sources.{source}", found, "expected licence and citation (V05)", hint)


def _check_report(report: Report) -> None:
    if not report.errors:
        return
    first = [one for one in report.findings if one.severity == "error"][:5]
    errors = [SchemaError(one.where, f"{one.code} {one.message}", hint=one.hint or "") for one in first]
    found = f"{report.errors:,} errors"
    hint = "see 'curate verify'; mend with 'curate verify --repair'"
    raise SchemaError(report.path, found, "expected none in a release", hint, also=errors)


def _previous(path: Path) -> Dataset:
    return store.read(path / "dataset" if is_release(path) else path)


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2).decode() + "\n"


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 of all files below ``folder``, by name, sorted."""
    sums = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            sums[file.relative_to(folder).as_posix()] = digest
    return dict(sorted(sums.items()))


# ------------------------------------------------------------------------------------------------------------ compare


def compare(before: Dataset, now: Dataset) -> Changes:
    """What changed from one dataset to another, table by table; of tables that are equal nothing is said."""
    tables = {}
    for name, spec in TABLES.items():
        a, b = before.table(name), now.table(name)
        if not a.equals(b):
            change = _compare(a, b, spec.key)
            if change is not None:
                tables[name] = change
    return Changes(previous=before.fingerprint(), current=now.fingerprint(), tables=tables)


def _compare(a: pa.Table, b: pa.Table, key: tuple[str, ...]) -> TableChange | None:
    keys_a, keys_b = _keys(a, key), _keys(b, key)
    place = positions(keys_b, keys_a)  # of each row now, the row before
    new, kept = np.flatnonzero(place < 0), np.flatnonzero(place >= 0)
    gone = np.flatnonzero(positions(keys_a, keys_b) < 0)
    old, now = a.take(pa.array(place[kept])), b.take(pa.array(kept))
    changed, any_ = {}, np.zeros(len(kept), bool)
    for column in b.column_names:
        other = _differ(plain(old[column]), plain(now[column]))
        if other.any():
            changed[column] = int(other.sum())
            any_ |= other
    if not (len(new) or len(gone) or changed):
        return None
    return TableChange(
        added=len(new),
        removed=len(gone),
        changed=changed,
        added_ids=_shown(keys_b, new),
        removed_ids=_shown(keys_a, gone),
        changed_ids=_shown(keys_b, kept[any_]),
    )


def _keys(table: pa.Table, key: tuple[str, ...]) -> pa.ChunkedArray:
    columns = [pc.fill_null(plain(table[name]).cast(pa.string()), "") for name in key]
    return columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, " ")


def _shown(keys: pa.ChunkedArray, rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(keys.take(pa.array(rows[:_LISTED])).to_pylist())


def _differ(a: pa.ChunkedArray, b: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether two columns differ, row by row."""
    if pa.types.is_nested(a.type):
        return np.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], bool)
    one_is_null = flags(pc.xor(pc.is_null(a), pc.is_null(b)))
    differ: NDArray[np.bool_] = flags(pc.not_equal(a, b)) | one_is_null
    return differ


# -------------------------------------------------------------------------------------------------------------- texts


def _images(dataset: Dataset) -> str:
    columns = ("id", "source", "split", "file_name", "width", "height", "sha256", "licence")
    table = dataset.table("images").select(columns)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(plain(table[name]).to_pylist() for name in columns), strict=True))
    return stream.getvalue()


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table in Markdown; figures to the right."""
    held = [[_cell(value) for value in row] for row in rows]
    numbers = [bool(held) and all(row[i].replace(",", "").isdigit() for row in held) for i in range(len(head))]
    ruler = ["--:" if number else "---" for number in numbers]
    return [f"| {' | '.join(line)} |" for line in (head, ruler, *held)]


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else "" if value is None else printable(str(value))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _card(dataset: Dataset, summary: Summary, report: Report, formats: Sequence[str], changes: Changes | None) -> str:
    """README.md: every figure is counted, none is typed."""
    info = dataset.info
    warnings = sum(total.warnings for total in report.totals)
    lines = [f"# {_cell(info.name)}, version {_cell(info.version)}", ""]
    lines += [f"{', '.join(f'{rows:,} {name}' for name, rows in summary.counts.items() if rows)}.", ""]
    lines += [f"Fingerprint `{summary.fingerprint}`.", "", "## What is here", ""]
    files = [
        ("`dataset/`", "the tables as Parquet, with their lineage"),
        ("`images.csv`", "images by path and SHA-256"),
    ]
    files += [(f"`export/{_NAMES.get(name, name)}`", export.title(name)) for name in dict.fromkeys(formats)]
    files += [
        ("`statistics.json`", "all counts"),
        ("`verify.html`, `verify.json`", f"the check: no errors, {warnings:,} warnings"),
        ("`LICENCES.md`", "licence and citation of every source"),
        (f"`{SUMS}`", "of all files"),
    ]
    files += [("`changes.json`", "what changed since the release before")] if changes is not None else []
    lines += _table(("file", "what"), files)
    lines += [
        "",
        "The pictures are not here: most sources forbid to pass them on. Get them from the sources; `images.csv`",
    ]
    lines += ["says which, and where their hashes are known, that they are the same.", "", "## Sources", ""]
    rows = [(one.name, one.licence, one.images, one.annotations) for one in summary.sources]
    lines += _table(("source", "licence", "images", "annotations"), rows)
    lines += ["", "## Splits", ""]
    splits = [(s.source, s.source_split, s.split, s.images, s.annotations, s.empty) for s in summary.splits]
    lines += _table(("source", "its split", "split", "images", "annotations", "images without"), splits)
    lines += ["", "## Classes", ""]
    classes = [(one.name, one.role, one.annotations, one.images) for one in summary.categories]
    lines += _table(("class", "role", "annotations", "images"), classes[:_CLASSES])
    if len(classes) > _CLASSES:
        lines += ["", f"and {len(classes) - _CLASSES:,} more, in `statistics.json`."]
    if summary.retrieval is not None:
        about = summary.retrieval
        lines += ["", "## Queries and gallery", ""]
        lines += _table(
            ("queries", "gallery images", "queries without positive", "unjudged pairs"),
            [(about.queries, about.gallery_images, about.without_positive, about.unjudged)],
        )
    if changes is not None:
        lines += ["", "## Changes", "", f"Since `{changes.previous[:12]}`:", ""]
        rows_ = [(name, one.added, one.removed, _list(one.changed)) for name, one in changes.tables.items()]
        lines += _table(("table", "added", "removed", "changed"), rows_) if rows_ else ["nothing."]
    lines += ["", "## How it was made", ""]
    for link in reversed(summary.lineage):
        command = f"`curate {link.verb}` " if link.verb else ""
        lines.append(f"* {command}{_cell(link.name)} `{link.fingerprint[:12]}`")
    lines += ["", "## Is it untouched?", "", "```", f"curate verify FOLDER    # or: sha256sum -c {SUMS}", "```", ""]
    return "\n".join(lines)


def _list(changed: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in changed.items())


def _licences(dataset: Dataset, summary: Summary) -> str:
    lines = ["# Licences and citations", ""]
    for one in summary.sources:
        record = dataset.info.sources[one.name]
        lines += [f"## {_cell(record.title)}", "", f"* Images: {one.images:,}", f"* Licence: {_cell(record.licence)}"]
        lines += [f"* {title}: {_cell(text)}" for title, text in _about(record) if text]
        lines += [""]
    return "\n".join(lines)


def _about(record: Any) -> list[tuple[str, str | None]]:
    return [("Version", record.version), ("Homepage", record.homepage), ("Citation", record.citation)]
