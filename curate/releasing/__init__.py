"""A release: a folder that tells what it holds, whose it is, that it was checked, and how to see that it is untouched.

::

    NAME/README.md           the data card, its figures counted from the dataset
    NAME/LICENCES.md         licence and citation of every source
    NAME/dataset/            the tables, with lineage; no pictures, and no folder of whoever made it
    NAME/images.csv          every image by path and SHA-256: terms of most sources forbid to pass the pictures on
    NAME/images/SOURCE/...   those pictures whose licence allows it, where they were asked for
    NAME/sheets/NN-CLASS.jpg objects of each class with their boxes, of pictures whose licence allows it
    NAME/plots/*.svg         the long tail of the classes, the sizes of boxes
    NAME/export/FORMAT       the dataset in the formats that were chosen, and as Croissant
    NAME/statistics.json     as ``curate info --json``
    NAME/lineage.json        every command that it was made by; recipe.yaml where there is one
    NAME/verify.json, .html  the report of the check
    NAME/changes.json        what changed since the release before, where one was named
    NAME/SHA256SUMS          of all these; ``curate verify NAME`` and ``sha256sum -c`` prove that nothing changed

Equal datasets and options give equal bytes: no clock is looked at.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from curate import export, store
from curate.atomic import atomic_folder, check_output
from curate.build import hidden
from curate.codes import Severity
from curate.columns import plain
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.pages.verification import draw_page
from curate.releasing import card, pictures, plots, terms
from curate.releasing.comparing import Changes, TableChange, compare
from curate.summary import Summary, summarise
from curate.verify import Report, verify
from curate.verify.manifests import SUMS, is_release

__all__ = ["STRICT", "Changes", "Released", "TableChange", "compare", "release"]

# What a format's output is called; a folder where it needs one.
NAMES = {"coco": "annotations.json", "anns_pt": "anns.pt", "captions_pt": "captions.pt"}
ALWAYS = "croissant"  # what data catalogues read
# What is a warning in a dataset at work, and an error in one that leaves the house.
STRICT: Mapping[str, Severity] = {"P04": "error", "Q09": "error", "R07": "error"}
_RECIPE_BYTES = 1 << 20


class Released(Struct, frozen=True, kw_only=True):
    """What a release holds."""

    fingerprint: str
    files: int
    counts: dict[str, int]
    images: dict[str, int]
    verify: Report


def release(
    dataset: Dataset,
    path: Path | str,
    *,
    formats: Sequence[str] = ("coco",),
    version: str | None = None,
    date: str | None = None,
    previous: Path | str | None = None,
    recipe: Path | str | None = None,
    beside: Sequence[str] = (),
    with_images: bool = False,
    roots: Mapping[str, Path | str] | None = None,
    severities: Mapping[str, Severity] | None = None,
    jobs: int = 1,
    overwrite: bool = False,
) -> Released:
    """Write ``dataset`` as the release folder ``path``, if it has no error and every source states its licence.

    Args:
        formats: of the exports (``curate.export.names()``); Croissant is written in any case.
        version: of the release; by default that of the dataset.
        date: of publication, ``YYYY-MM-DD``; no clock is asked.
        previous: an earlier release or dataset folder to compare with.
        recipe: the file by which ``curate run`` made the dataset, to be put in.
        beside: names of the files that the recipe reads beside it; they are not put in, and the card says so.
        with_images: put in the images whose licence is known to allow it (``terms``).
        roots: folders of images by source, which win over those that the dataset names.
        severities: what findings of some codes count as, which wins over :data:`STRICT`; the report says so.

    Raises:
        UsageError: a format is unknown, ``date`` is none, ``recipe`` cannot be read, or ``path`` exists.
        SchemaError: the dataset has errors (the first ones are told), it is the key of a hidden test, a source has no
            licence, ``previous`` is no dataset, or a token or e-mail address stands in what would be given away.
    """
    path = Path(path)
    formats = list(dict.fromkeys([*formats, ALWAYS]))
    unknown = sorted(set(formats) - set(export.names()))
    if unknown:
        raise UsageError(f"--format {unknown[0]}", "unknown", f"expected some of {', '.join(export.names())}")
    check_output(path, overwrite=overwrite, ours=is_release)
    _check_key(dataset)
    _check_licences(dataset)
    made_by = _recipe(Path(recipe)) if recipe is not None else None
    before = _previous(Path(previous)) if previous is not None else None
    report = verify(dataset, level="full", roots=roots, jobs=jobs, severities={**STRICT, **(severities or {})})
    _check_report(report)
    places = {**dataset.info.roots, **{source: str(root) for source, root in (roots or {}).items()}}
    info = replace(dataset.info, roots={}, version=version or dataset.info.version)
    whole = dataset.replace(info=info)
    changes = compare(before, whole) if before is not None else None
    parts = _Parts(whole, report, changes, made_by, tuple(beside), formats, date, with_images, places)
    with atomic_folder(path, overwrite=overwrite, ours=is_release) as folder:
        held = _write(parts, folder)
        sums = _sums(folder)
        (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), encoding="utf-8")
        _check_secrets(folder, path)
    return Released(
        fingerprint=whole.fingerprint(),
        files=len(sums) + 1,
        counts=whole.counts(),
        images=dict(held.images),
        verify=report,
    )


class _Parts(NamedTuple):
    """What a release is written from, all of it checked."""

    dataset: Dataset
    report: Report
    changes: Changes | None
    recipe: str | None
    beside: Sequence[str]
    formats: Sequence[str]
    date: str | None
    with_images: bool
    places: Mapping[str, str]  # folders of images by source


def _write(parts: _Parts, folder: Path) -> card.Held:
    """Write everything but the sums; what the card says of it."""
    dataset, summary, allowed = parts.dataset, summarise(parts.dataset), terms.may_pass_on(parts.dataset)
    store.write(dataset, folder / "dataset")
    exports = write_exports(dataset, folder / "export", parts.formats, parts.date)
    sheets = pictures.write_sheets(dataset, summary, allowed, folder / "sheets", parts.places)
    asked = allowed if parts.with_images else np.zeros(len(allowed), bool)
    copied = pictures.copy_images(dataset, asked, folder / "images", parts.places)
    sources = plain(dataset.table("images")["source"]).to_pylist()
    bundled = Counter(source for source, put in zip(sources, copied, strict=True) if put is not None)
    drawn = figures(summary)
    by_source = dict(sorted(bundled.items()))
    plotted = sorted(name.removeprefix("plots/") for name in drawn if name.startswith("plots/"))
    held = card.Held(exports, plotted, sheets, by_source, parts.recipe is not None, parts.beside, parts.date)
    texts = drawn | {
        "README.md": card.card(dataset, summary, parts.report, held, parts.changes),
        "LICENCES.md": card.licences(dataset, summary, held),
        "images.csv": _images(dataset, copied),
        "verify.json": _json(parts.report),
        "verify.html": draw_page(parts.report, dataset, pictures=False),
    }
    texts |= {"changes.json": _json(parts.changes)} if parts.changes is not None else {}
    texts |= {"recipe.yaml": parts.recipe} if parts.recipe is not None else {}
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
    return held


def figures(summary: Summary) -> dict[str, str]:
    """The files that follow from the dataset's summary alone, by name."""
    drawn = {f"plots/{name}": text for name, text in plots.draw(summary).items()}
    return drawn | {"statistics.json": _json(summary), "lineage.json": _json(summary.lineage)}


def write_exports(dataset: Dataset, folder: Path, formats: Sequence[str], date: str | None) -> dict[str, str]:
    """Write the formats; what was written, by its path in the release."""
    folder.mkdir()
    written = {}
    for name in formats:
        options = {"date": date} if name == ALWAYS and date else {}
        export.load(name).write(dataset, folder / NAMES.get(name, name), **options)
        written[f"{folder.name}/{NAMES.get(name, name)}"] = export.title(name)
    return written


def _recipe(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_RECIPE_BYTES + 1)
        if len(data) > _RECIPE_BYTES:
            raise UsageError(f"--recipe {file}", "is larger than 1 MiB", "expected a recipe of curate run")
        return data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"--recipe {file}", f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise UsageError(f"--recipe {file}", "is no text", "expected a recipe of curate run") from None


def _check_key(dataset: Dataset) -> None:
    """Only the key tells how many labels were withheld: of the public dataset, its command says no more than which."""
    made = dataset.info.command
    if made is not None and made.verb == hidden.VERB and any(step.what == "hidden" for step in made.steps):
        found = f"{dataset.info.name} is the key of a hidden test: it has the withheld labels"
        hint = "release the public dataset, the --output of the same 'curate build hidden'"
        raise SchemaError("dataset.json, command", found, "expected what may be given away", hint)


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
        _refuse_secrets(report)
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


def _check_secrets(folder: Path, path: Path) -> None:
    """L08 in what was written: whatever the tables hid shows here."""
    report = verify(folder, level="quick", only=["L08"], name=str(path))
    shown = [replace(one, where=one.where.replace(str(folder), str(path), 1)) for one in report.findings]
    _refuse_secrets(replace(report, findings=tuple(shown)))


def _refuse_secrets(report: Report) -> None:
    first = [one for one in report.findings if one.code == "L08" and one.severity != "info"][:5]
    if first:
        errors = [SchemaError(one.where, one.message, hint=one.hint or "") for one in first]
        found = "would give away tokens or e-mail addresses (L08)"
        raise SchemaError(report.path, found, "expected none in a release", "redact them", also=errors)


def _images(dataset: Dataset, copied: Sequence[str | None]) -> str:
    columns = ("id", "source", "split", "file_name", "width", "height", "sha256", "licence")
    table = dataset.table("images").select(columns)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*columns, "here"))
    writer.writerows(zip(*(plain(table[name]).to_pylist() for name in columns), copied, strict=True))
    return stream.getvalue()
