"""Toy: a source that does not exist, as short as a source can be. It stands for the next one that somebody adds.

Beside each ``images/<key>.png`` lies ``boxes/<key>.txt`` with a line ``<label> <x> <y> <w> <h>`` per object, in pixels
from the top-left corner; no file means that nobody looked, an empty one that there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curate.errors import SourceError
from curate.model import Annotation, Category, Coverage, Image, Item, Parsed, Record, Source
from curate.pictures import read_header
from curate.sources import label_table
from curate.sources._files import chosen_splits, list_files, read_text, shown

SOURCE = Source(
    title="Toy",
    homepage="https://example.org/toy",
    licence="CC0-1.0",
    citation="Nobody: Toys. Nowhere, 2026",
    download="toy.zip from the homepage; unpack it.",
    tree="images/<key>.png\nboxes/<key>.txt\n",
    splits=("train",),
)


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per picture of ``root``."""
    chosen_splits(root, "toy", SOURCE, {"train": ["images"]}, splits)
    labelled = list_files(root, "boxes", ".txt")
    items = []
    for name, error in sorted(list_files(root, "images", ".png").items()):
        key = name.removesuffix(".png")
        label = f"{key}.txt" if f"{key}.txt" in labelled else None
        trouble = error or (labelled[label] if label else None)
        items.append(Item(f"toy/{shown(key)}", root, "train", f"images/{name}", label and f"boxes/{label}", trouble))
    return items


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, all of which are boxed in every image that has a file."""
    for row in label_table("toy"):
        yield Category(name=row["name"], role="benchmark", definition=row["definition"])
        yield Coverage(scope="toy/train", category=row["name"], state="exhaustive")


def parse(item: Item) -> Parsed:
    """A picture and its boxes.

    Raises:
        SourceError: a file is broken, or a line is no box.
    """
    if item.data:
        raise item.data
    header = read_header(item.root / str(item.image))
    image = Image(
        id=item.id,
        source="toy",
        source_split=item.split,
        file_name=item.image,
        width=header.width,
        height=header.height,
        licence=SOURCE.licence,
    )
    if item.label is None:
        return Parsed(image, [], [Coverage(scope=item.id, category="*", state="none")])
    path = item.root / item.label
    lines = enumerate(read_text(path).splitlines())
    return Parsed(image, [_annotation(f"{path}:{i + 1}", line, item.id, i) for i, line in lines])


def _annotation(where: str, line: str, image: str, i: int) -> Annotation:
    try:
        label, *numbers = line.split()
        x, y, w, h = map(float, numbers)
    except ValueError:
        raise SourceError(where, f"is {line!r}", "expected a label and four numbers") from None
    category = {row["label"]: row["name"] for row in label_table("toy")}.get(label, label)
    return Annotation(
        id=f"{image}#{i:04d}",
        image_id=image,
        category=category,
        source_label=label,
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
    )
