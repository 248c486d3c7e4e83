"""The keys of COCO's rows: which are its own, which are ours, and how ours are told apart from foreign ones.

Our files carry at the top::

    "curate": {"schema_version": "1.0",
               "columns": {"images": {"split": "split", ...}, "annotations": {...}, "categories": {...}},
               "same": ["source_label"],           columns left out because they equal the category throughout
               "info": {...},                      name, sources, relevance rule, headers
               "tables": {"queries": {"id": [...], "kind": [...]}, ...}}   by column

``columns`` says under which key a column of ours stands: under its own name, or, where a foreign key bears that name,
under ``curate_<name>``. A key of a row that is neither COCO's nor named there is foreign.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from curate.model import Polygons

Segmentation = list[list[float]] | dict[str, Any]


class ImageRow(Struct, omit_defaults=True):
    """An entry of ``images``, as written: COCO's own keys, then the columns of ours.

    The column ``licence`` is COCO's ``license``, through the list ``licenses`` at the top.
    """

    id: int
    file_name: str | None = None
    width: int | None = None
    height: int | None = None
    license: int | None = None
    own_id: str | None = None
    source: str | None = None
    source_split: str | None = None
    split: str | None = None
    orientation: int | None = None
    sha256: str | None = None
    sequence: str | None = None
    place: str | None = None
    taken_at: str | None = None
    date_evidence: str | None = None
    weather: str | None = None
    time_of_day: str | None = None
    attributes: msgspec.Raw | None = None


class AnnotationRow(Struct, omit_defaults=True):
    """An entry of ``annotations``, as written: COCO's own keys, then the columns of ours.

    ``own_id`` and ``parent_id`` are relative to the image's id where they begin with it (``"#17"``).
    """

    id: int
    image_id: int | None
    category_id: int | msgspec.UnsetType | None  # always there, since pycocotools asks for it
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: int = -1
    segmentation: Segmentation | None = None
    own_id: str | None = None
    parent_id: str | None = None
    status: str = "truth"
    source_label: str | None = None
    instance: str | None = None
    polygons: Polygons | None = None
    ignore: int = 0
    origin: str = "source"
    score: float | None = None
    round: int | None = None
    attributes: msgspec.Raw | None = None


CORE = {
    "images": ("id", "file_name", "width", "height", "license"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"),
    "categories": ("id", "name", "supercategory"),
}
OURS = {
    "images": ImageRow.__struct_fields__[len(CORE["images"]) :],
    "annotations": AnnotationRow.__struct_fields__[len(CORE["annotations"]) :],
    "categories": ("role", "definition"),
}
# Tables that COCO has no place for.
EXTRA_TABLES = ("instances", "coverage", "queries", "support", "judgements", "members")


class Header(Struct, omit_defaults=True, kw_only=True):
    """The object ``curate`` at the top of a file that we wrote."""

    schema_version: str
    columns: dict[str, dict[str, str]]
    same: tuple[str, ...] = ()
    info: dict[str, Any] = {}
    tables: dict[str, dict[str, list[Any]]] = {}

    def key(self, table: str, column: str) -> str | None:
        return self.columns.get(table, {}).get(column)
