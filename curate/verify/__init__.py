"""Check a dataset, or a file or folder in one of many formats (``Kind``), before it is used or released.

Each rule is a small generator that looks at a :class:`~curate.verify.subject.Subject` and yields findings;
``curate.verify.rules`` lists them by code. Nothing is changed, and nothing is fetched from a network.

Levels: ``quick`` looks at tables, names, and the head and end of image files; ``full`` also at boxes, masks, hashes,
and queries against the gallery; ``deep`` also decodes every image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from curate.codes import CODES, Severity
from curate.dataset import Dataset
from curate.errors import UsageError, did_you_mean
from curate.model import Finding
from curate.verify import images, kinds, plan, schema, text
from curate.verify import severities as severity
from curate.verify.report import Level, NotRun, Report, collect, encodable
from curate.verify.rules import LEVELS, READING, RULES, select
from curate.verify.subject import Kind, Subject, of_dataset

__all__ = ["LEVELS", "RULES", "Level", "Report", "folder", "unreadable", "verify"]
Progress = Callable[[int, int], object]


@np.errstate(all="ignore")  # NaN and infinities are what is looked for: numpy need not warn of them
def verify(
    target: Dataset | Path | str,
    *,
    level: Level = "full",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    roots: Mapping[str, Path | str] | None = None,
    jobs: int = 1,
    files: bool = True,
    name: str | None = None,
    noticed: Iterable[Finding] = (),
    severities: Mapping[str, Severity] | None = None,
    rebuild: Callable[[Path], Iterable[Finding]] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a dataset, or what is at a path; of which kind that is, is told by the content.

    Args:
        only, skip: codes (``M04``) or letters (``B``). That a file cannot be read is reported in any case.
        roots: folders of images by source, which win over those that the dataset itself names; the source of a file
            or folder in a foreign format is the name of its kind (``coco``).
        files: whether to look at the files of images, where their folder is known.
        jobs: local processes to look at images with; the report does not depend on it.
        name: what the report calls the target.
        noticed: findings of the caller that belong into the report.
        severities: what the findings of some codes count as, where that is not the house's own (``severities.read``);
            what keeps a target from being read stays an error.
        rebuild: finds what of a release folder its tables do not give again (V04), from level deep on
            (``curate.releasing.rebuilding.differences``).
        progress: told how many image files are done, of how many.

    Raises:
        UsageError: an unknown code or level, or a root that is no folder or of no source of the target.
    """
    chosen = select(only, skip)
    changed = severity.check(severities or {})
    if level not in LEVELS:
        raise UsageError(f"level {level!r}", "unknown", f"expected one of {', '.join(LEVELS)}")
    given = _folders(roots or {})
    found = [one for one in noticed if one.code in chosen]
    if isinstance(target, Dataset):
        kind: Kind = "dataset"
        named = {source: Path(root) for source, root in target.info.roots.items()}
        subject: Subject | None = of_dataset(target, {**named, **given})
    else:
        kind, subject, reading = kinds.read(Path(target), given)
        # What keeps a file from being read is told, whatever was asked for.
        found += [one for one in reading if one.code in chosen or (subject is None and one.severity == "error")]
    path = name or (target.info.name if isinstance(target, Dataset) else str(target))
    if subject is None:
        return _report(path, kind, level, found, checked=set(READING[kind].split()) & chosen)
    _check_sources(subject, given)
    subject.memo |= {"level": level, "rebuild": rebuild}
    if not files:
        subject.roots.clear()
    planned = plan.make(subject, level, chosen)
    wanted = (one for one in _findings(subject, planned, level, chosen, jobs, progress) if one.code in chosen)
    return _report(
        path,
        kind,
        level,
        severity.apply((one for part in (found, wanted) for one in part), changed),
        checked=planned.checked,
        not_run=planned.not_run,
        severities=changed,
        counts=kinds.counts(subject),
        fingerprint=target.fingerprint() if isinstance(target, Dataset) else None,
    )


@np.errstate(all="ignore")
def of_subject(subject: Subject, level: Level = "full") -> Iterator[Finding]:
    """What the rules find in a subject that a reader has made; image files only where its roots are known."""
    subject.memo["level"] = level
    yield from _findings(subject, plan.make(subject, level, set(CODES)), level, set(CODES), 1, None)


def folder(path: Path) -> list[Finding]:
    """What is wrong with a dataset folder as files: ``dataset.json`` as text, its version, the tables' files.

    Without an error among them the folder can be read (``curate.read``) and its content checked (:func:`verify`).
    """
    file = path / "dataset.json"
    value, found = text.load(file)
    return found if value is None else [*found, *schema.manifest(path, value)]


def unreadable(path: str, findings: Sequence[Finding], level: Level = "full") -> Report:
    """The report on a dataset folder that could not be read, with what :func:`folder` found."""
    return _report(path, "dataset", level, findings, checked=set(READING["dataset"].split()))


def _folders(roots: Mapping[str, Path | str]) -> dict[str, Path]:
    for source, root in roots.items():
        if not Path(root).is_dir():
            raise UsageError(f"--root {source}={root}", "no such folder", "expected the folder of the images")
    return {source: Path(root) for source, root in roots.items()}


def _check_sources(subject: Subject, roots: Mapping[str, Path]) -> None:
    sources = subject.sources()
    for source in roots:
        if source not in sources:
            expected = f"expected one of {', '.join(sources)}" if sources else "it has no images"
            found = "is no source of this input"
            raise UsageError(f"--root {source}", found, expected, did_you_mean(source, sources))


def _findings(
    subject: Subject, planned: plan.Plan, level: Level, chosen: set[str], jobs: int, progress: Progress | None
) -> Iterator[Finding]:
    for rule in planned.rules:
        yield from rule.check(subject)
    if subject.has_files and chosen & set(images.CODES):
        yield from images.files(subject, level, jobs=jobs, progress=progress)


def _report(
    path: str,
    kind: Kind,
    level: Level,
    findings: Iterable[Finding],
    *,
    checked: set[str],
    not_run: tuple[NotRun, ...] = (),
    severities: Mapping[str, Severity] | None = None,
    counts: dict[str, int] | None = None,
    fingerprint: str | None = None,
) -> Report:
    totals, kept, capped = collect(findings)
    return Report(
        path=encodable(path),
        kind=kind,
        verdict="errors" if any(total.errors for total in totals) else "no errors",
        level=level,
        fingerprint=fingerprint,
        counts=counts or {},
        checked=tuple(sorted(checked)),
        not_run=not_run,
        severities=dict(severities or {}),
        totals=totals,
        capped=capped,
        findings=kept,
    )
