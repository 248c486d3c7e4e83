"""What the rules look at: one set of columns, whether it came from a dataset folder, a COCO file or an ``anns.pt``.

The tables have the names and columns of a dataset (``curate.model``). Those of a COCO file keep the file's own integer
ids, so that ids that stand twice or point nowhere are seen, and two columns more: ``categories.id``, to which
``annotations.category`` refers there, and ``annotations.runs``, run lengths that are not compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import flags, plain, positions
from curate.dataset import Dataset, empty_table

Kind = Literal[
    "dataset",
    "coco",
    "anns_pt",
    "voc",
    "searchad",
    "revisitop",
    "label_studio",
    "pictures",
    "archive",
    "release",
    "unknown",
]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Boxes(NamedTuple):
    """The boxes of all annotations, pixels, each ``(n,)``; NaN where a value is missing.

    ``width`` and ``height`` are those of the box's image, as recorded.
    """

    x: Floats
    y: Floats
    w: Floats
    h: Floats
    width: Floats
    height: Floats

    @property
    def sound(self) -> Mask:
        """Four finite numbers, no negative side."""
        sums = self.x + self.y + self.w + self.h
        return np.isfinite(sums) & (self.w >= 0) & (self.h >= 0)

    @property
    def framed(self) -> Mask:
        """The size of the image is known."""
        return (self.width > 0) & (self.height > 0)

    def text(self, row: int) -> str:
        return f"[{self.x[row]:g}, {self.y[row]:g}, {self.w[row]:g}, {self.h[row]:g}]"


class Subject:
    """Tables, how to name a place in them, and where the images are.

    Args:
        place: from table, row number and field to words that name the place.
        roots: from source to its folder of images; ``self.roots`` has those that exist.
    """

    def __init__(
        self,
        kind: Kind,
        tables: Mapping[str, pa.Table],
        place: Callable[[str, int, str], str],
        *,
        dataset: Dataset | None = None,
        roots: Mapping[str, Path] | None = None,
        category_key: str = "name",
    ) -> None:
        self.kind = kind
        self.tables = dict(tables)
        self.place = place
        self.dataset = dataset
        self.named_roots: dict[str, Path] = {}
        self.roots: dict[str, Path] = {}
        self.add_roots(roots or {})
        self.category_key = category_key
        self.memo: dict[str, Any] = {}  # what rules share, found once

    def add_roots(self, roots: Mapping[str, Path]) -> None:
        """Folders of images by source, which win over those that were known."""
        self.named_roots |= roots
        self.roots = {source: root for source, root in self.named_roots.items() if root.is_dir()}

    def table(self, name: str) -> pa.Table:
        held = self.tables.get(name)
        return empty_table(name) if held is None else held

    def column(self, table: str, name: str) -> pa.ChunkedArray:
        """A column as plain values (no dictionary); nulls if the table has none of that name."""
        held = self.table(table)
        if name not in held.column_names:
            return pa.chunked_array([pa.nulls(held.num_rows, pa.string())])
        return plain(held[name])

    def numbers(self, table: str, name: str) -> Floats:
        """A numeric column as floats ``(n,)``; NaN for null."""
        column = self.column(table, name)
        if pa.types.is_string(column.type):
            return np.full(len(column), np.nan)
        values: Floats = column.cast(pa.float64()).to_numpy().astype(np.float64, copy=False)
        return values

    def item(self, table: str, row: int) -> str | None:
        """The id of a row, as text."""
        held = self.table(table)
        for key in ("id", "name", "query_id", "image_id", "scope"):
            if key in held.column_names:
                value = held[key][row].as_py()
                return None if value is None else str(value)
        return None

    @cached_property
    def image_index(self) -> Ints:
        """For each annotation the row of its image ``(n,)``; -1 if there is none."""
        return positions(self.column("annotations", "image_id"), self.column("images", "id"))

    @cached_property
    def truth(self) -> Mask:
        """For each annotation, whether it is truth and no proposal ``(n,)``."""
        return flags(pc.equal(self.column("annotations", "status"), "truth"))

    @cached_property
    def boxes(self) -> Boxes:
        known = self.image_index >= 0
        sides = []
        for side in ("width", "height"):
            frame = np.append(self.numbers("images", side), np.nan)
            sides.append(np.where(known, frame[self.image_index], np.nan))
        x, y, w, h = (self.numbers("annotations", name) for name in "xywh")
        return Boxes(x, y, w, h, sides[0], sides[1])

    def sources(self) -> list[str]:
        """The sources of the images."""
        return sorted(str(source) for source in self.column("images", "source").unique().to_pylist())

    @cached_property
    def has_files(self) -> bool:
        """The folder of some source's images is known and there."""
        return any(source in self.roots for source in self.sources())

    def without_files(self) -> dict[str, tuple[int, Path | None]]:
        """Sources whose folder is unknown or absent: how many images, and the folder if one was named."""
        found = {}
        for row in self.column("images", "source").value_counts().to_pylist():
            source = str(row["values"])
            if source not in self.roots:
                found[source] = (int(row["counts"]), self.named_roots.get(source))
        return dict(sorted(found.items()))

    def counts(self) -> dict[str, int]:
        return {name: table.num_rows for name, table in self.tables.items() if table.num_rows}


def of_dataset(dataset: Dataset, roots: Mapping[str, Path]) -> Subject:
    """A dataset as a subject; a place is table, row id and field."""
    tables = dataset.tables

    def place(table: str, row: int, field: str) -> str:
        return f"{table}, row {subject.item(table, row)}" + (f", {field}" if field else "")

    subject = Subject("dataset", tables, place, dataset=dataset, roots=roots)
    return subject


def short(value: Any, limit: int = 80) -> str:
    """``value`` for a message: its literal, cut if long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
