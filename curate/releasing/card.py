"""The data card of a release and the licences of its sources, as Markdown; every figure is counted, none is typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from curate.dataset import Dataset
from curate.errors import printable
from curate.model import Step
from curate.releasing.comparing import Changes
from curate.summary import Link, Summary
from curate.verify.manifests import SUMS
from curate.verify.report import Report

_CLASSES = 30  # listed
AUDIT = "audit"  # how the step of a review begins that says how many positives were missed


class Held(NamedTuple):
    """What stands in the release beside the card."""

    exports: Mapping[str, str]  # path -> what it is
    plots: Sequence[str]
    sheets: int
    images: Mapping[str, int]  # source -> images that are bundled
    recipe: bool
    beside: Sequence[str]  # files that the recipe reads beside it, which are not here
    date: str | None


def card(dataset: Dataset, summary: Summary, report: Report, held: Held, changes: Changes | None) -> str:
    """``README.md``."""
    info = dataset.info
    date = f", {held.date}" if held.date else ""
    lines = [f"# {_cell(info.name)}, version {_cell(info.version)}{date}", ""]
    lines += [f"{', '.join(f'{rows:,} {name}' for name, rows in summary.counts.items() if rows)}.", ""]
    lines += [f"Fingerprint `{summary.fingerprint}`.", "", "## What is here", ""]
    lines += _aligned(("file", "what"), _files(report, held, changes is not None))
    lines += ["", *_about_images(dataset, held), ""]
    lines += ["## Sources", ""]
    rows = [(one.name, one.licence, one.images, one.annotations) for one in summary.sources]
    lines += _table(("source", "licence", "images", "annotations"), rows)
    lines += ["", "Citations and homepages are in `LICENCES.md`.", "", "## Splits", ""]
    splits = [(s.source, s.source_split, s.split, s.images, s.annotations, s.empty) for s in summary.splits]
    lines += _table(("source", "its split", "split", "images", "annotations", "images without"), splits)
    lines += ["", "## Classes", ""]
    classes = [(one.name, one.role, one.annotations, one.images) for one in summary.categories]
    lines += _table(("class", "role", "annotations", "images"), classes[:_CLASSES])
    if len(classes) > _CLASSES:
        lines += ["", f"and {len(classes) - _CLASSES:,} more, in `statistics.json`."]
    lines += [line for name in held.plots for line in ("", f"![{name.partition('.')[0]}](plots/{name})")]
    lines += _retrieval(summary)
    lines += ["", "## How completely it was labelled", "", *_coverage(summary)]
    lines += ["", "## Review", "", *_review(summary)]
    lines += ["", "## What the check found", "", *_found(report)]
    if changes is not None:
        lines += ["", "## Changes", "", f"Since `{changes.previous[:12]}`:", ""]
        rows_ = [(name, one.added, one.removed, _list(one.changed)) for name, one in changes.tables.items()]
        lines += _table(("table", "added", "removed", "changed"), rows_) if rows_ else ["nothing."]
    lines += ["", "## How it was made", ""]
    lines += [line for link in reversed(summary.lineage) for line in _link(link)]
    if held.recipe:
        lines += ["", "All of it by one recipe: `curate run recipe.yaml --root SOURCE=FOLDER -o FOLDER`."]
    if held.beside:
        lines += [f"It needs beside it what is not in this release: {', '.join(map(_code, held.beside))}."]
    lines += ["", "## Is it untouched?", "", "```", f"curate verify FOLDER    # or: sha256sum -c {SUMS}", "```", ""]
    return "\n".join(lines)


def _files(report: Report, held: Held, changed: bool) -> list[tuple[str, str]]:
    warnings = sum(total.warnings for total in report.totals)
    files = [
        ("`dataset/`", "the tables as Parquet, with their lineage"),
        ("`images.csv`", "images by path and SHA-256"),
    ]
    files += [(f"`{path}`", what) for path, what in held.exports.items()]
    files += [("`images/`", f"{sum(held.images.values()):,} images")] if held.images else []
    files += [("`sheets/`", f"objects of {held.sheets:,} classes, with their boxes")] if held.sheets else []
    files += [("`plots/`", "the pictures below")] if held.plots else []
    files += [("`statistics.json`", "all counts")]
    files += [
        ("`verify.html`, `verify.json`", f"the check: no errors, {warnings:,} warning{'' if warnings == 1 else 's'}")
    ]
    files += [("`LICENCES.md`", "licence and citation of every source")]
    files += [("`lineage.json`", "every command, with its options and counts")]
    files += [("`recipe.yaml`", "the recipe that makes it from the raw downloads")] if held.recipe else []
    files += [("`changes.json`", "what changed since the release before")] if changed else []
    return [*files, (f"`{SUMS}`", "of all files")]


def _about_images(dataset: Dataset, held: Held) -> list[str]:
    sources = set(dataset.table("images")["source"].to_pylist())
    if not held.images:
        first = "The pictures are not here: most sources forbid to pass them on. Get them from the sources;"
        return [first, "`images.csv` says which, and where their hashes are known, that they are the same."]
    absent = sorted(sources - set(held.images))
    here = ", ".join(f"{number:,} of {_cell(name)}" for name, number in sorted(held.images.items()))
    lines = [f"Of the pictures those are here whose licence allows it: {here}."]
    if absent:
        lines += [f"Those of {', '.join(map(_cell, absent))} are not: `images.csv` has their paths and hashes."]
    return lines


def _retrieval(summary: Summary) -> list[str]:
    about = summary.retrieval
    if about is None:
        return []
    head = ("queries", "gallery images", "positive pairs", "queries without positive", "unjudged pairs")
    row = (about.queries, about.gallery_images, about.positives["total"], about.without_positive, about.unjudged)
    return ["", "## Queries and gallery", "", *_table(head, [row])]


def _coverage(summary: Summary) -> list[str]:
    if not summary.coverage:
        return ["Not stated: an image without a label of a class is no negative of it."]
    rows = [(one.state, one.splits, one.images) for one in summary.coverage]
    lines = _table(("labelled", "whole splits", "single images"), rows)
    return [
        *lines,
        "",
        "Only where it says `exhaustive` an image without a label is a negative; elsewhere it is unjudged.",
    ]


def reviews(summary: Summary) -> list[tuple[str, list[Step]]]:
    """Reviews in the lineage, the first first: what they were, and the steps that tell of agreement and audit."""
    made = [link for link in reversed(summary.lineage) if (link.verb or "").startswith("review")]
    return [(f"{link.verb} ({link.name})", list(link.steps)) for link in made]


def _review(summary: Summary) -> list[str]:
    found = reviews(summary)
    lines = [f"* {_cell(_step(step))}" for _, steps in found for step in steps if not step.what.startswith(AUDIT)]
    audits = [_cell(_step(step)) for _, steps in found for step in steps if step.what.startswith(AUDIT)]
    if not found:
        lines = ["No review by people stands in the lineage: labels are those of the sources."]
    elif not lines:
        lines = ["Reviewed by people; no figures of their agreement were recorded."]
    return [*lines, "", "Positives that everybody missed: " + ("; ".join(audits) if audits else "**not audited**.")]


def _step(step: Step) -> str:
    counts = ", ".join(f"{number:,} {name}" for name, number in step.counts.items())
    return step.what + (f" ({counts})" if counts else "")


def _found(report: Report) -> list[str]:
    if not report.totals:
        return [f"Nothing, by {len(report.checked):,} rules at level {report.level}."]
    rows = [(total.code, total.title, total.warnings, total.infos) for total in report.totals]
    return _table(("rule", "what", "warnings", "notes"), rows)


def _link(link: Link) -> list[str]:
    words = [link.verb or ""]
    for name, value in link.options.items():
        held = value if isinstance(value, list | tuple) else [value]
        words += [f"--{name}" if one is True else f"--{name} {one}" for one in held]
    command = f"{_code(' '.join(['curate', *words]))} " if link.verb else ""
    return [f"* {command}{_cell(link.name)} `{link.fingerprint[:12]}`"]


def licences(dataset: Dataset, summary: Summary, held: Held) -> str:
    """``LICENCES.md``: one table, and then each source with its citation."""
    lines = ["# Licences and citations", ""]
    rows = []
    for one in summary.sources:
        here = f"{held.images.get(one.name, 0):,} of {one.images:,} here"
        rows.append((dataset.info.sources[one.name].title, one.licence, here, dataset.info.sources[one.name].homepage))
    lines += [*_table(("source", "licence", "pictures", "homepage"), rows), ""]
    for one in summary.sources:
        record = dataset.info.sources[one.name]
        lines += [f"## {_cell(record.title)}", "", f"* Images: {one.images:,}", f"* Licence: {_cell(record.licence)}"]
        facts = [("Version", record.version), ("Homepage", record.homepage), ("Citation", record.citation)]
        lines += [f"* {title}: {_cell(text)}" for title, text in facts if text]
        own = _own_licences(dataset, one.name)
        lines += [f"* {number:,} images are under: {_cell(licence)}" for licence, number in own.items()]
        lines += [""]
    return "\n".join(lines)


def _own_licences(dataset: Dataset, source: str) -> dict[str, int]:
    """Licences of single images of a source that are not the source's own."""
    images = dataset.table("images").select(["source", "licence"])
    counts: dict[str, int] = {}
    for row in images.group_by(["source", "licence"]).aggregate([([], "count_all")]).to_pylist():
        if row["source"] == source and row["licence"] and row["licence"] != dataset.info.sources[source].licence:
            counts[row["licence"]] = row["count_all"]
    return dict(sorted(counts.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table in Markdown; figures to the right."""
    return _aligned(head, [[_cell(value) for value in row] for row in rows])


def _aligned(head: Sequence[str], held: Sequence[Sequence[str]]) -> list[str]:
    """As :func:`_table`, of cells that are Markdown."""
    numbers = [bool(held) and all(row[i].replace(",", "").isdigit() for row in held) for i in range(len(head))]
    ruler = ["--:" if number else "---" for number in numbers]
    return [f"| {' | '.join(line)} |" for line in (head, ruler, *held)]


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else "" if value is None else printable(str(value))
    return re.sub(r"[\\|`*\[]", r"\\\g<0>", text).replace("<", "&lt;")


def _code(text: str) -> str:
    """``text`` as code, within more backticks than it has itself in a row."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if fence != "`" else ""
    return f"{fence}{space}{text}{space}{fence}"


def _list(changed: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in changed.items())
