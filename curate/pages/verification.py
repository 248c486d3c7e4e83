"""The page of a check: the verdict, what is wrong with pictures of examples, and what the dataset holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, plain, positions
from curate.dataset import Dataset
from curate.errors import printable
from curate.model import Finding
from curate.relevance import overview
from curate.show.page import CROPS, render, tile_values
from curate.show.tiles import image_tiles, object_tiles
from curate.summary import CategoryCount, Link, Summary, summarise
from curate.verify.report import Report, Total, line

EXAMPLES = 6  # pictures per code
_LINES = 5  # findings per code that are listed
_CLASSES = 400  # bars of the long tail
_NAMED = 30  # classes of the table
_GRID = 16  # cells of the heat map on a side
_MANY = 10  # objects in an image, from which on they are counted together

Bools = NDArray[np.bool_]
Bar = dict[str, Any]


def draw_page(
    report: Report, dataset: Dataset | None = None, *, roots: Mapping[str, str] | None = None, pictures: bool = True
) -> str:
    """The page as HTML. What is in the dataset, and pictures, need the ``dataset`` that was checked.

    ``pictures=False`` leaves out those of what is wrong, as for a page that is passed on.
    """
    shown = dataset if pictures else None
    values: dict[str, Any] = {
        "title": _verdict(report),
        "good": report.verdict == "no errors",
        "path": printable(report.path),
        "kind": report.kind.replace("_", " "),
        "level": report.level,
        "fingerprint": report.fingerprint,
        "facts": _facts(report),
        "codes": [_code(total, report, shown, roots or {}) for total in report.totals],
        "severities": [{"code": code, "word": word} for code, word in report.severities.items()],
        "not_run": [{"codes": ", ".join(one.codes), "reason": printable(one.reason)} for one in report.not_run],
        "checked": ", ".join(report.checked),
        "content": _content(dataset) if dataset is not None else None,
    }
    return render("verification.html", values, package="curate.pages")


def _verdict(report: Report) -> str:
    if report.errors:
        return f"{report.errors:,} error{'' if report.errors == 1 else 's'}"
    return "No errors"


def _facts(report: Report) -> list[dict[str, str]]:
    facts = [(name, sum(getattr(total, field) for total in report.totals)) for field, name in _SEVERITIES]
    facts += [("rules run", len(report.checked)), *report.counts.items()]
    return [{"name": name, "value": f"{n:,}"} for name, n in facts]


_SEVERITIES = (("errors", "errors"), ("warnings", "warnings"), ("infos", "notes"))


def _code(total: Total, report: Report, dataset: Dataset | None, roots: Mapping[str, str]) -> dict[str, Any]:
    found = [one for one in report.findings if one.code == total.code]
    counts = [f"{n:,} {name if n != 1 else name[:-1]}" for field, name in _SEVERITIES if (n := getattr(total, field))]
    return {
        "code": total.code,
        "title": total.title,
        "severity": "error" if total.errors else "warning" if total.warnings else "info",
        "counts": ", ".join(counts),
        "lines": [line(one, report.path) for one in found[:_LINES]],
        "more": f"{total.all - _LINES:,}" if total.all > _LINES else "",
        "pictures": list(_pictures(found, dataset, roots)) if dataset is not None else [],
    }


def _pictures(found: Sequence[Finding], dataset: Dataset, roots: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The first of the objects and images that the findings are about; objects with their box drawn."""
    items = list(dict.fromkeys(one.item for one in found if one.item))[: 10 * EXAMPLES]
    named = pa.array(items, pa.string())
    annotations, images = dataset.table("annotations"), dataset.table("images")
    objects = {row["id"]: row for row in annotations.filter(pc.is_in(annotations["id"], value_set=named)).to_pylist()}
    known = set(images.filter(pc.is_in(images["id"], value_set=named))["id"].to_pylist())
    frames = _frames(dataset, [row["image_id"] for row in objects.values()])
    shown = 0
    for item in items:
        row = objects.get(item)
        if shown == EXAMPLES or (row is None and item not in known):
            continue
        if row is not None and _within(row, frames.get(row["image_id"])):
            tiles = list(object_tiles(dataset, [item], CROPS, roots))
        else:  # the whole image, so that a box that leaves it is seen to
            mine = annotations.filter(pc.equal(annotations["id"], item))
            tiles = list(image_tiles(dataset, [row["image_id"] if row else item], mine, CROPS, roots))
        for tile in tiles[:1]:
            shown += 1
            yield tile_values(tile) | {"name": printable(item)}


def _frames(dataset: Dataset, ids: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    images = dataset.table("images").select(["id", "width", "height"])
    rows = images.filter(pc.is_in(images["id"], value_set=pa.array(sorted(set(ids)), pa.string()))).to_pylist()
    return {row["id"]: (row["width"], row["height"]) for row in rows}


def _within(row: Mapping[str, Any], frame: tuple[Any, Any] | None) -> bool:
    """Whether a box lies in its frame, so that it may be cut out."""
    if None in (row["x"], row["y"], row["w"], row["h"]) or frame is None or None in frame:
        return False
    x, y, w, h = (float(row[side]) for side in "xywh")
    return w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= frame[0] and y + h <= frame[1]


def _content(dataset: Dataset) -> dict[str, Any]:
    """What the dataset holds, as the template takes it."""
    summary = summarise(dataset)
    truth = flags(pc.equal(plain(dataset.table("annotations")["status"]), "truth"))
    image = positions(dataset.table("annotations")["image_id"], dataset.table("images")["id"])
    return {
        "sources": [
            {
                "name": printable(one.name),
                "cells": [printable(one.licence or "–"), f"{one.images:,}", f"{one.annotations:,}"],
            }
            for one in summary.sources
        ],
        "splits": [
            {
                "name": printable(f"{one.source}, {one.source_split or 'no split'}"),
                "cells": [printable(one.split or "–"), f"{one.images:,}", f"{one.annotations:,}", f"{one.empty:,}"],
            }
            for one in summary.splits
        ],
        "classes": [
            {
                "name": printable(one.name),
                "cells": [one.role or "not declared", f"{one.annotations:,}", f"{one.images:,}"],
            }
            for one in summary.categories[:_NAMED]
        ],
        "other_classes": max(len(summary.categories) - _NAMED, 0),
        "tail": _tail(summary.categories),
        "sizes": _sizes(summary),
        "per_image": _per_image(image[truth & (image >= 0)], dataset.table("images").num_rows),
        "heat": _heat(dataset, image, truth),
        "retrieval": _retrieval(dataset, summary),
        "reviews": [line for one in reversed(summary.lineage) if _is_review(one) for line in _link(one)["steps"]],
        "lineage": [_link(one) for one in summary.lineage],
    }


def _is_review(one: Link) -> bool:
    return (one.verb or "").startswith("review")


def _bars(counts: Sequence[int], names: Sequence[str]) -> list[Bar]:
    largest, n = max([*counts, 1]), max(len(counts), 1)
    width = 100 / n
    return [
        {
            "x": f"{i * width + 0.08 * width:.2f}",
            "width": f"{0.84 * width:.2f}",
            "height": f"{100 * count / largest:.2f}",
            "y": f"{100 - 100 * count / largest:.2f}",
            "title": f"{name}: {count:,}",
        }
        for i, (count, name) in enumerate(zip(counts, names, strict=True))
    ]


def _tail(categories: Sequence[CategoryCount]) -> dict[str, Any] | None:
    """Annotations per class, the most frequent first, on a logarithmic scale."""
    shown = [one for one in categories if one.annotations][:_CLASSES]
    if not shown:
        return None
    top = math.ceil(math.log10(max(shown[0].annotations, 10)))
    width = 100 / len(shown)
    bars = []
    for i, one in enumerate(shown):
        # One annotation has a little height, so that it is seen.
        height = 100 * (math.log10(one.annotations) + 0.1) / (top + 0.1)
        bars.append(
            {
                "x": f"{i * width:.3f}",
                "width": f"{0.85 * width:.3f}",
                "height": f"{height:.2f}",
                "y": f"{100 - height:.2f}",
                "title": f"{printable(one.name)}: {one.annotations:,}",
            }
        )
    lines = [{"y": f"{100 - 100 * (i + 0.1) / (top + 0.1):.2f}", "label": f"{10**i:,}"} for i in range(top + 1)]
    rare = sum(one.annotations < 10 for one in shown)
    return {"bars": bars, "lines": lines, "classes": f"{len(shown):,}", "rare": f"{rare:,}"}


def _sizes(summary: Summary) -> dict[str, Any] | None:
    names = [f"{_share(one.low)} to {_share(one.high)}" if one.high else "more" for one in summary.sizes]
    counts = [one.annotations for one in summary.sizes]
    if not any(counts):
        return None
    return {
        "bars": _bars(counts, names),
        "labels": [_share(one.high) if one.high else "more" for one in summary.sizes],
        "unknown": f"{summary.size_unknown:,}",
    }


def _share(value: float | None) -> str:
    return f"{100 * (value or 0):g} %"


def _per_image(image: NDArray[np.int64], images: int) -> dict[str, Any] | None:
    """How many images show how many objects of status truth."""
    if not images:
        return None
    per = np.minimum(np.bincount(image, minlength=images), _MANY)
    labels = [*map(str, range(_MANY)), f"{_MANY}+"]
    counts = np.bincount(per, minlength=_MANY + 1).tolist()
    return {"bars": _bars(counts, [f"{label} objects" for label in labels]), "labels": labels}


def _heat(dataset: Dataset, image: NDArray[np.int64], truth: Bools) -> dict[str, Any] | None:
    """Where the centres of boxes lie in their images, as a grid of shares of the fullest cell."""
    table, images = dataset.table("annotations"), dataset.table("images")
    sides = [np.append(_numbers(images[name]), np.nan)[image] for name in ("width", "height")]
    x, y, w, h = (_numbers(table[name]) for name in "xywh")
    with np.errstate(all="ignore"):
        across, down = (x + w / 2) / sides[0], (y + h / 2) / sides[1]
    inside = truth & (image >= 0) & (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
    if not inside.any():
        return None
    counts, _, _ = np.histogram2d(down[inside], across[inside], bins=_GRID, range=((0, 1), (0, 1)))
    cells = [
        {"x": j, "y": i, "share": f"{counts[i, j] / counts.max():.3f}", "title": f"{int(counts[i, j]):,}"}
        for i in range(_GRID)
        for j in range(_GRID)
        if counts[i, j]
    ]
    return {"cells": cells, "grid": _GRID, "boxes": f"{int(inside.sum()):,}"}


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy().astype(np.float64, copy=False)
    return values


def _retrieval(dataset: Dataset, summary: Summary) -> dict[str, Any] | None:
    """Queries against the gallery: how many of each, and positives per query."""
    about = summary.retrieval
    if about is None:
        return None
    positive = overview(dataset)["positive"].to_numpy()
    edges = [0, 1, 2, 5, 10, 20, 50, 100, 1000]
    labels = ["0", "1", "2–4", "5–9", "10–19", "20–49", "50–99", "100–999", "1000+"]
    counts = np.bincount(np.digitize(positive, edges) - 1, minlength=len(edges)).tolist()
    facts = [
        ("queries", about.queries),
        ("query images", about.query_images),
        ("gallery images", about.gallery_images),
        ("without positive", about.without_positive),
        ("positive pairs", about.positives.get("total", 0)),
        ("unjudged pairs", about.unjudged),
    ]
    return {
        "facts": [{"name": name, "value": f"{n:,}"} for name, n in facts],
        "bars": _bars(counts, [f"{label} positives" for label in labels]),
        "labels": labels,
    }


def _link(one: Link) -> dict[str, Any]:
    options = " ".join(f"--{name} {value}" for name, value in one.options.items())
    return {
        "depth": one.depth,
        "name": printable(one.name),
        "fingerprint": one.fingerprint[:12],
        "command": printable(f"curate {one.verb} {options}".strip()) if one.verb else "",
        "steps": [
            printable(f"{step.what}: " + ", ".join(f"{n:,} {name}" for name, n in step.counts.items()))
            for step in one.steps
        ],
    }
