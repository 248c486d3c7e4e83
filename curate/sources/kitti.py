"""KITTI object detection (2D): one text file per training image, one object per line, fields split by blanks.

A line has 15 fields: type, truncated, occluded, alpha, left, top, right, bottom (pixels of the left colour image,
0-based), height, width, length (metres), x, y, z (camera coordinates; y is the object's bottom), rotation_y. -1, -1000
and -10 stand for unknown, and all fields are kept as found under ``attributes.kitti``.

* Box: ``w = right - left``, ``h = bottom - top``, as KITTI's evaluation takes it. Objects cut by the frame end at
  width - 1, so right and bottom name the last pixel there; the four raw numbers are kept.
* ``DontCare`` marks a region without labels: an ignore region, not a class. Outside such regions the eight classes are
  labelled throughout, so coverage of training is exhaustive for these eight and nothing else.
* Training and testing use the same numbers; the split is part of the id. There are no labels for testing.
* The archives unpack to ``image_2`` and ``label_2``; the development kit's own text says ``image_02``. Both are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from curate.errors import SourceError
from curate.geometry import box_from_corners
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    Image,
    Item,
    Parsed,
    Record,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import label_table
from curate.sources._files import chosen_splits, list_files, list_folders, read_text, shown

SOURCE = Source(
    title="KITTI object detection (2D)",
    homepage="https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark=2d",
    licence="CC BY-NC-SA 3.0",
    citation="Geiger, Lenz, Urtasun: Are we ready for autonomous driving? The KITTI vision benchmark suite. CVPR 2012",
    download="""
Register at the homepage, then download and unpack into one folder
  left color images of object data set (12 GB)     data_object_image_2.zip
  training labels of object data set (5 MB)        data_object_label_2.zip
Calibration is not read. For the images alone, the first archive is enough.
""",
    tree="""
training/image_2/000000.png ... 007480.png
training/label_2/000000.txt ... 007480.txt
testing/image_2/000000.png ... 007517.png
""",
    splits=("training", "testing"),
    published=Counts(images=14_999, note="7,481 training and 7,518 testing images"),
)

IGNORED = "DontCare"
_FIELDS = (
    *("type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom"),
    *("height", "width", "length", "x", "y", "z", "rotation_y"),
)
_OTHER_FILES = {
    16: "a result file with scores has 16; the labels are in training/label_2",
    17: "KITTI tracking has 17, with frame and track first; this source is KITTI object",
}
# Groups match only in a number that is not written as an integer.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]+)?")
_LONGEST_INTEGER = 16  # characters, so that it fits 64 bits
_NAME = re.compile(r"[0-9]{6}")
_FROM_SEARCHAD = re.compile(r"(?:.*/)?(training|testing)/image_0?2/([0-9]{6})\.png")

Kind = Literal["image", "label"]


class _Item(NamedTuple):
    """What the parser of an image needs beyond its files' names."""

    expected: str  # path that the image has, or should have
    unlabelled: bool  # its label file is missing, though its split has labels
    error: SourceError | None  # what forbids reading one of its files


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from its path below SearchAD's folder ``kitti``; None if it is none of KITTI's."""
    match = _FROM_SEARCHAD.fullmatch(path)
    return f"kitti/{match[1]}/{match[2]}" if match else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per number that an image or label file has.

    Raises:
        SourceError: ``root`` is no KITTI object tree.
    """
    return [item for split in _splits(root, splits) for item in _scan_split(root, split)]


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    folders = {split: [f"{split}/image_2", f"{split}/image_02"] for split in SOURCE.splits}
    return sorted(chosen_splits(root, "kitti", SOURCE, folders, splits))


def _scan_split(root: Path, split: str) -> Iterator[Item]:
    images, labels = _folder(root, split, "image"), _folder(root, split, "label")
    pictures = list_files(root, images, ".png")
    if not pictures and list_folders(root, images):
        raise SourceError(
            root / images, "holds folders", "expected pictures, as 000000.png", "KITTI tracking and raw are not read"
        )
    labelled = _has_labels(root, split)
    texts = list_files(root, labels, ".txt") if labelled else {}
    for key in sorted({name[:-4] for name in [*pictures, *texts]}):
        image, label = f"{key}.png", f"{key}.txt"
        error = pictures.get(image) or texts.get(label)
        if error is None and not _NAME.fullmatch(key):
            name = f"{images}/{image}" if image in pictures else f"{labels}/{label}"
            error = SourceError(root / name, "file name is not six digits", "expected a name like 000000")
        yield Item(
            id=f"kitti/{split}/{shown(key)}",
            root=root,
            split=split,
            image=f"{images}/{image}" if image in pictures else None,
            label=f"{labels}/{label}" if label in texts else None,
            data=_Item(f"{images}/{image}", labelled and label not in texts, error),
        )


def _folder(root: Path, split: str, kind: Kind) -> str:
    long = f"{split}/{kind}_02"
    return long if (root / long).is_dir() and not (root / split / f"{kind}_2").is_dir() else f"{split}/{kind}_2"


def _has_labels(root: Path, split: str) -> bool:
    """Whether the labels of ``split`` are here; what lies in ``testing`` can only be somebody's results."""
    return split == "training" and (root / _folder(root, split, "label")).is_dir()


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and labels that are not read."""
    for row in label_table("kitti"):
        name = row["type"]
        yield Category(name=name, role="ignore" if name == IGNORED else "benchmark", definition=row["note"] or None)
    chosen = _splits(root, splits)
    for split in chosen:
        if _has_labels(root, split):
            for row in label_table("kitti"):
                if row["type"] != IGNORED:
                    yield Coverage(scope=f"kitti/{split}", category=row["type"], state="exhaustive")
        else:
            yield Coverage(scope=f"kitti/{split}", category="*", state="none")
    if "training" not in chosen and not splits and _has_labels(root, "training"):
        yield finding("N03", "training/label_2", "labels are there, the images are not; left out")
    if "testing" in chosen and (root / "testing/label_2").is_dir():
        yield finding("N05", "testing/label_2", "is not part of KITTI, whose labels of testing are secret; not read")


def parse(item: Item) -> Parsed:
    """One image with the rows of its label file.

    Raises:
        SourceError: a file is unreadable, a line has not 15 fields, a field is no finite number, corners are flipped.
    """
    expected, unlabelled, error = item.data
    if error:
        raise error
    others: list[Record] = []
    header = read_header(item.root / item.image) if item.image else None
    if header is None:
        others.append(finding("I01", expected, f"no such file, but {item.label} labels it", item=item.id))
    if unlabelled:
        message = "image has no label file; whether it shows any object is unknown"
        others.append(finding("F01", expected, message, item=item.id, severity="warning"))
        others.append(Coverage(scope=item.id, category="*", state="none"))
    path = item.root / item.label if item.label else None
    image = Image(
        id=item.id,
        source="kitti",
        source_split=item.split,
        file_name=expected,
        width=header.width if header else None,
        height=header.height if header else None,
        orientation=header.orientation if header else None,
        licence=SOURCE.licence,
    )
    return Parsed(image, objects(read_text(path), item.id, path) if path else [], others)


def objects(text: str, image_id: str, where: object) -> list[Annotation]:
    """The objects of one label file, in its order; blank lines are passed over.

    Raises:
        SourceError: as :func:`parse`; ``where`` names the file.
    """
    lines = ((number, line.split()) for number, line in enumerate(text.split("\n"), 1))
    rows = [(number, fields) for number, fields in lines if fields]
    return [
        _annotation(fields, f"{image_id}#{i:04d}", image_id, f"{where}:{number}")
        for i, (number, fields) in enumerate(rows)
    ]


def _annotation(fields: list[str], row_id: str, image_id: str, where: str) -> Annotation:
    if len(fields) != len(_FIELDS):
        raise SourceError(
            where,
            f"{len(fields)} columns",
            f"expected {len(_FIELDS)}: {', '.join(_FIELDS)}",
            _OTHER_FILES.get(len(fields), "is the file whole?"),
        )
    label = fields[0]
    values = [_number(text, name, where) for text, name in zip(fields[1:], _FIELDS[1:], strict=True)]
    left, top, right, bottom = values[3:7]
    if right < left or bottom < top:
        raise SourceError(where, f"box {fields[4:8]} has flipped corners", "expected left, top, right, bottom")
    x, y, w, h = box_from_corners(left, top, right, bottom)
    raw = {
        "truncated": values[0],
        "occluded": values[1],
        "alpha": values[2],
        "bbox": values[3:7],
        "dimensions": values[7:10],
        "location": values[10:13],
        "rotation_y": values[13],
    }
    return Annotation(
        id=row_id,
        image_id=image_id,
        category=label,
        source_label=label,
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
        ignore=label == IGNORED,
        attributes={"kitti": raw},
    )


def _number(text: str, name: str, where: str) -> int | float:
    """A number of the type that it is written in."""
    match = _NUMBER.fullmatch(text)
    if match:
        if match.lastindex is None and len(text) <= _LONGEST_INTEGER:
            return int(text)
        value = float(text)
        if math.isfinite(value):
            return value
    raise SourceError(where, f"{name} is {text!r}", "expected a finite number")
