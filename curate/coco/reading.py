"""COCO JSON -> Dataset, in bounded memory: the file is cut into rows first, and these are decoded some at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from curate.coco.annotations import read_annotations
from curate.coco.categories import licence_names, read_categories
from curate.coco.columns import Door
from curate.coco.images import read_images
from curate.coco.parts import extra_table, foreign_value, list_rows, own_header, read_parts
from curate.coco.rows import EXTRA_TABLES
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import SourceError
from curate.model import Command, Counts, Info, Source, SourceRecord

SOURCE = Source(
    title="COCO JSON of any origin",
    homepage="https://cocodataset.org/#format-data",
    licence="as the file says",
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    download="A file of yours: one JSON object with images, annotations and categories.",
    tree="FILE.json, and a folder of images given by --root coco=FOLDER (without it no image is opened)",
    splits=(),
)


def read(
    file: Path | str,
    *,
    root: Path | None = None,
    skip_bad: bool = False,
    checksums: bool = False,
    source: str = "coco",
) -> Dataset:
    """Read a COCO JSON file.

    Args:
        file: one JSON object with ``images``, and usually ``annotations`` and ``categories``.
        root: folder that ``file_name`` is relative to; without it no image is opened.
        skip_bad: leave broken images out, and record them.
        checksums: also store the SHA-256 of every image file (needs ``root``).
        source: name of the source that the images of a foreign file belong to.

    Raises:
        SourceError: the file is missing, no COCO JSON, or holds broken images (all are listed).
    """
    with collector_paused():
        return _read(Path(file), root=root, skip_bad=skip_bad, checksums=checksums, source=source)


def _read(file: Path, *, root: Path | None, skip_bad: bool, checksums: bool, source: str) -> Dataset:
    parts = read_parts(file)
    door = Door(file, source, own_header(file, parts.pop("curate", None)))
    categories, names, category_extras = read_categories(
        door, list_rows(file, parts.pop("categories", None), "categories")
    )
    image_rows = list_rows(file, parts.pop("images"), "images")
    annotation_rows = list_rows(file, parts.pop("annotations", None), "annotations")
    foreign = {key: foreign_value(file, key, value) for key, value in parts.items()}
    images, index = read_images(door, image_rows, licence_names(foreign), root, checksums)
    del image_rows
    annotations = read_annotations(door, annotation_rows, images, index, names)
    del annotation_rows
    images, annotations = door.without_broken(images, annotations, skip_bad)
    tables = {"images": images, "annotations": annotations, "categories": categories}
    if door.header:
        given = door.header.tables
        tables |= {name: extra_table(file, name, given[name]) for name in EXTRA_TABLES if name in given}
    info = _info(door, foreign, category_extras, root, images.num_rows, annotations.num_rows)
    return Dataset(info, tables, door.sorted_findings())


def _info(
    door: Door, foreign: dict[str, Any], categories: dict[str, Any], root: Path | None, images: int, annotations: int
) -> Info:
    command = Command(verb="import", options={"source": "coco"})
    roots = {door.source: str(root)} if root is not None else {}
    if door.header is not None:
        try:
            info = msgspec.convert({"name": "coco", **door.header.info}, Info)
        except msgspec.ValidationError as error:
            raise SourceError(f"{door.file}, curate.info", str(error), "expected what curate writes there") from error
        return msgspec.structs.replace(info, roots=roots, command=command)
    header = {**foreign, "categories": categories}
    record = SourceRecord(title=SOURCE.title, found=Counts(images=images, annotations=annotations))
    return Info(
        name=door.file.stem,
        sources={door.source: record},
        roots=roots,
        command=command,
        headers={f"{door.source}:{door.file.name}": header},
    )
