"""The sources: one module each, found by listing this folder. This file need not change when one is added.

A source module states its facts and has two functions::

    SOURCE = Source(title=..., licence=..., ...)
    def scan(root: Path, splits: tuple[str, ...]) -> list[Item]   # list the work, cheaply, sorted by id
    def parse(item: Item) -> Parsed                               # read one item's own files; pure but for that

and, where it has something to say that belongs to no single image (categories, coverage of a split, instances)::

    def records(root: Path, splits: tuple[str, ...]) -> Iterable[Record]

One that annotates images of other sources gives them those sources' ids and names, and says where they lie; one that
has queries may say how relevance follows::

    def roots(root: Path) -> dict[str, str]                       # source -> folder of its images
    RELEVANCE = RelevanceRule(...)

Rows by the million, as of distractors, come in batches instead of one by one; columns may be left out::

    def tables(root: Path, splits: tuple[str, ...]) -> Iterable[tuple[str, pa.Table]]

One for a format of anybody's, which has no table of labels, says ``LABELS_ARE_OPEN = True``.

Where these functions need the same large files, they are read once: what ``survey`` gives is handed to each of them::

    def survey(root: Path, splits: tuple[str, ...]) -> Any
    def scan(root: Path, splits: tuple[str, ...], held: Any = None) -> list[Item]   # without it they read themselves

Further keyword arguments of ``scan``, the same of the other three, are options of the source; what they mean is told by
``OPTIONS``, a text for each, which ``curate sources NAME`` prints. ``parse`` raises
``SourceError`` for a broken item (unreadable, a required field missing, NaN, flipped corners); oddities are findings
and the image stays.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from importlib import import_module, resources
from pkgutil import iter_modules
from typing import Any

from curate.errors import UsageError, did_you_mean
from curate.model import Annotation, Finding, Image, finding


def names() -> list[str]:
    """All sources, sorted."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Any:
    """The module of the source ``name``.

    Raises:
        UsageError: there is no such source.
    """
    if name not in names():
        raise UsageError(
            f"source {name!r}", "unknown", f"expected one of {', '.join(names())}", did_you_mean(name, names())
        )
    return import_module(f"{__name__}.{name}")


def label_table(file: str) -> list[dict[str, str]]:
    """The rows of a label table ``<file>.csv`` that lies beside the modules, in its own order."""
    with resources.files(__package__).joinpath(f"{file}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def look_over(image: Image, annotations: Iterable[Annotation]) -> Iterator[Finding]:
    """Findings that mean the same for every source: boxes without area, or outside the frame. All are kept as found."""
    width, height = image.width, image.height
    for row in annotations:
        x, y, w, h = row.x, row.y, row.w, row.h
        if x is None or y is None or w is None or h is None:
            continue
        # Nearly all boxes are sound: they must cost next to nothing.
        if w and h and (width is None or height is None or (0 <= x <= width - w and 0 <= y <= height - h)):
            continue
        where = f"{image.source}, annotation {row.id}"
        box = f"[{x:g}, {y:g}, {w:g}, {h:g}]"
        if w == 0 or h == 0:
            yield finding("B03", where, f"box {box} has no area; kept as found", item=row.id)
        if width is None or height is None:
            continue
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            yield finding(
                "B05", where, f"box {box} lies outside the {width} x {height} frame; kept as found", item=row.id
            )
        elif x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
            yield finding("B04", where, f"box {box} leaves the {width} x {height} frame; kept as found", item=row.id)
