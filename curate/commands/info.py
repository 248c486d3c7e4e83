"""``curate info``: what a dataset holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import dataset_argument, report_options, show_result, table

if TYPE_CHECKING:
    from curate.summary import Link, Retrieval, Summary

Rows = list[tuple[object, ...]]

TOP = 20
_BAR = 30


@click.command("info")
@dataset_argument
@report_options
def command(dataset: Path, as_json: bool, quiet: bool) -> None:
    """Show what the dataset DS holds: counts, classes, sizes, splits, coverage, queries and lineage.

    \b
      curate info kitti
      curate info kitti --json | jq .counts

    Annotations are counted by their status; all other counts are of truth.
    """
    from curate import store
    from curate.summary import summarise

    summary = summarise(store.read(dataset), store.read_problems(dataset))
    show_result(summary, "\n\n".join(_paragraphs(summary)), as_json=as_json, quiet=quiet)


def _paragraphs(summary: Summary) -> Iterator[str]:
    yield f"{summary.name}, version {summary.version}\nfingerprint {summary.fingerprint}\n{_listed(summary.counts)}"
    rows: Rows = [(s.name, s.images, s.annotations, s.licence or "?") for s in summary.sources]
    yield table(rows, ("source", "images", "annotations", "licence"))
    rows = [(s.source, s.source_split or "-", s.split or "-", s.images, s.annotations, s.empty) for s in summary.splits]
    yield table(rows, ("source", "source's split", "split", "images", "annotations", "empty images"))
    yield _categories(summary)
    yield _sizes(summary)
    yield _annotations(summary)
    stated = [
        f"{c.state} ({_listed({'rows for splits': c.splits, 'rows for images': c.images})})" for c in summary.coverage
    ]
    yield "coverage: " + (", ".join(stated) or "nothing is stated, so no image is a negative")
    if summary.retrieval:
        yield _retrieval(summary.retrieval)
    if summary.problems:
        yield _problems(summary.problems)
    yield "\n".join(["lineage", *map(_link, summary.lineage)])


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) or "none"


def _categories(summary: Summary) -> str:
    shown, tail = summary.categories[:TOP], summary.categories[TOP:]
    rows: Rows = [(c.name, c.role or "not declared", c.annotations, c.images) for c in shown]
    text = table(rows, ("category", "role", "annotations", "images"))
    if tail:
        unused = sum(not c.annotations for c in tail)
        text += f"\n... and {len(tail):,} more with {sum(c.annotations for c in tail):,} annotations"
        text += f", {unused:,} of them with none" if unused else ""
    return text


def _sizes(summary: Summary) -> str:
    most = max([size.annotations for size in summary.sizes] + [1])
    rows: Rows = []
    for size in summary.sizes:
        until = "and more" if size.high is None else f"to {100 * size.high:g} %"
        rows.append((f"{100 * size.low:g} % {until}", size.annotations, "#" * -(-size.annotations * _BAR // most)))
    text = table(rows, ("box's share of image", "annotations", ""))
    return text + (f"\n... and {summary.size_unknown:,} of unknown size" if summary.size_unknown else "")


def _annotations(summary: Summary) -> str:
    shapes = {
        "with box and mask": summary.shapes.box_and_mask,
        "with box only": summary.shapes.box_only,
        "with mask only": summary.shapes.mask_only,
        "of the whole image": summary.shapes.whole_image,
        "crowds": summary.shapes.crowd,
        "ignore regions": summary.shapes.ignore,
    }
    return f"annotations: {_listed(summary.statuses)}\nof truth: {_listed(shapes)}"


def _retrieval(found: Retrieval) -> str:
    positives = found.positives
    return (
        f"retrieval by {found.target}: {found.queries:,} queries ({_listed(found.kinds)}) from {found.query_images:,} "
        f"images, {found.gallery_images:,} gallery images\n"
        f"  positives per query: {positives['min']:,} to {positives['max']:,}, median {positives['median']:,}; "
        f"queries without: {found.without_positive:,}\n"
        f"  pairs: {positives['total']:,} positive, {found.ignored:,} ignored, {found.negative:,} negative, "
        f"{found.unjudged:,} unjudged"
    )


def _problems(problems: dict[str, int]) -> str:
    from curate.codes import CODES

    rows: Rows = [(code, n, CODES[code][1] if code in CODES else "?") for code, n in problems.items()]
    return table(rows, ("finding", "number", "what"))


def _link(link: Link) -> str:
    indent = "  " * (link.depth + 1)
    options = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in link.options.items()]
    head = f"{indent}{link.name} {link.fingerprint[:12]}: {' '.join([link.verb or 'made by hand', *options])}"
    lines = [head]
    for step in link.steps:
        images_first = sorted(step.counts.items(), key=lambda count: (count[0] != "images", count[0]))
        lines.append(f"{indent}  - {step.what}: {_listed(dict(images_first))}")
    return "\n".join(lines)
