"""The last page of the tour: what was made, drawn from the datasets themselves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.columns import positions
from curate.dataset import Dataset
from curate.errors import printable
from curate.relevance import gallery
from curate.show import contact_tiles, legend_of, query_rows
from curate.show.page import legend_values, query_values, render, tile_values
from curate.show.picking import spread

if TYPE_CHECKING:
    from curate.demo.steps import Done
    from curate.verify import Report

TILES = 4  # per source
QUERIES, ANSWERS = 6, 6
LIMIT = 0.15  # of the image, as the tour's subset
_SMALLEST = -4  # the smallest share of the histogram, as a power of ten


def draw_page(
    merged: Dataset,
    benchmark: Dataset,
    done: Sequence[Done],
    *,
    roots: Mapping[str, str],
    home: str,
    commands: Sequence[str],
) -> str:
    """The page as HTML; ``roots`` are the folders of the images now, ``home`` what the tour's folder will be called."""
    tiles = contact_tiles(merged, kind="html", images=_busy_images(merged), limit=len(roots) * TILES, roots=roots)
    rows = query_rows(benchmark, queries=QUERIES, answers=ANSWERS, roots=roots)
    reports = [(step.what.removeprefix("verify "), step.outcome.report) for step in done if step.outcome.report]
    return render(
        "demo.html",
        {
            "title": "From three raw downloads to a verified benchmark",
            "facts": _facts(merged, benchmark),
            "steps": [_step(step) for step in done],
            "tiles": [tile_values(tile) for tile in tiles],
            "legend": legend_values(legend_of(tiles)),
            "sources": [
                {"name": name, "title": record.title, "images": record.found.images if record.found else None}
                for name, record in sorted(merged.info.sources.items())
            ],
            "sizes": _sizes(merged),
            "queries": [query_values(row) for row in rows],
            "query_total": benchmark.table("queries").num_rows,
            "reports": [_verdict(name, report) for name, report in reports],
            "commands": [f"mkdir {shlex.quote(f'{home}/by-hand')}; cd {shlex.quote(f'{home}/by-hand')}", *commands],
        },
        package="curate.demo",
    )


def _busy_images(dataset: Dataset) -> list[str]:
    """Some images of each source that show several things."""
    ids, source = dataset.table("images")["id"], dataset.table("images")["source"].to_pylist()
    number = np.bincount(positions(dataset.table("annotations")["image_id"], ids), minlength=len(ids))
    chosen: list[str] = []
    for name in sorted(set(source)):
        busy = [row for row, other in enumerate(source) if other == name and number[row] >= 3]
        chosen += ids.take([busy[i] for i in spread(len(busy), TILES)]).to_pylist()
    return chosen


def _facts(merged: Dataset, benchmark: Dataset) -> list[dict[str, str]]:
    numbers = {
        "images of three sources": merged.table("images").num_rows,
        "annotations": merged.table("annotations").num_rows,
        "of them of small objects": benchmark.table("annotations").num_rows,
        "queries": benchmark.table("queries").num_rows,
        "images in their gallery": len(gallery(benchmark)),
    }
    return [{"name": name, "value": f"{number:,}"} for name, number in numbers.items()]


def _step(step: Done) -> dict[str, str]:
    counts = {what: number for what, number in step.outcome.counts.items() if number or what == "errors"}
    return {
        "what": step.what,
        "counts": ", ".join(_counted(what, number) for what, number in counts.items()),
        "fingerprint": (step.outcome.fingerprint or "")[:12],
    }


def _counted(what: str, number: int) -> str:
    return f"{number / 1e6:.1f} MB" if what == "bytes" else f"{number:,} {what}"


def _sizes(merged: Dataset) -> dict[str, Any]:
    """A histogram of how much of its image each box takes, in steps of a third of a decade."""
    images, rows = merged.table("images"), merged.table("annotations")
    owner = positions(rows["image_id"], images["id"])
    frame = (images["width"].to_numpy().astype(float) * images["height"].to_numpy())[owner]
    share = rows["w"].to_numpy() * rows["h"].to_numpy() / frame
    kept = share < LIMIT
    edges = 10.0 ** np.arange(_SMALLEST, 1e-9, 1 / 3)
    bins = np.clip(np.searchsorted(edges, share, side="right") - 1, 0, len(edges) - 2)
    counts = np.stack([np.bincount(bins[mask], minlength=len(edges) - 1) for mask in (kept, ~kept)], axis=1)
    step = 100 / len(counts)
    tallest = int(counts.sum(axis=1).max())
    bars = []
    for i, (small, large) in enumerate(counts.tolist()):
        low, high = 100 * small / tallest, 100 * large / tallest
        bars.append({"x": f"{i * step:.2f}", "small": f"{low:.1f}", "large": f"{high:.1f}", "count": small + large})
    return {
        "bars": bars,
        "width": f"{step * 0.86:.2f}",
        "limit": f"{100 * (1 + np.log10(LIMIT) / -_SMALLEST):.2f}",
        "kept": f"{int(kept.sum()):,}",
        "dropped": f"{int((~kept).sum()):,}",
    }


def _verdict(name: str, report: Report) -> dict[str, Any]:
    notes = []
    for total in report.totals:
        if total.errors or total.warnings:
            first = next(one.message for one in report.findings if one.code == total.code)
            more = f" (and {total.all - 1:,} more)" if total.all > 1 else ""
            notes.append(printable(f"{total.code}: {first}{more}"))
    return {
        "name": name,
        "good": not report.errors,
        "verdict": report.verdict,
        "rules": f"{len(report.checked):,}",
        "notes": notes,
    }
