"""Where ACDC's files lie, and which frame each of them is about: pictures and label files of a split, by key.

A key is ``condition/split/sequence_frame_NNNNNN``. It is read from a file's name and the folders above it, which stand
in either order, so that it does not depend on how the archives were unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.sources import _acdc_detection as detection
from curate.sources import _panoptic as panoptic
from curate.sources import label_table
from curate.sources._coco_parts import Label
from curate.sources._files import Listing, find_files, list_files, list_folders

CONDITIONS = ("fog", "night", "rain", "snow")
SPLITS = ("train", "val", "test", "train_ref", "val_ref", "test_ref")
IMAGES, DETECTION, PANOPTIC, SEMANTIC = "rgb_anon", "gt_detection", "gt_panoptic", "gt"
REFERENCE = "_ref"
UNLABELLED = ("test", "test_ref")

_ENDING = ".png"
_CONDITION, _SPLIT = "|".join(CONDITIONS), "|".join(SPLITS)
_FRAME = re.compile(
    rf"(?:.*/)?(?:(?P<condition>{_CONDITION})/(?P<split>{_SPLIT})|(?P<first>{_SPLIT})/(?P<second>{_CONDITION}))"
    r"/(?P<sequence>[^/]+)/(?P=sequence)_frame_(?P<frame>[0-9]{6})_(?P<kind>[^/]+)"
)
_PICTURE = re.compile(r"rgb(?:_ref)?_anon(?:_ref)?\.png")

# A picture's path below the root, and what forbids reading it.
File = tuple[str, SourceError | None]


class Class(NamedTuple):
    """A class of a label file."""

    name: str
    thing: bool


class Labelled(NamedTuple):
    """What the label files say of an image, the classes by id of the file that says it, and its mask picture."""

    entry: detection.Entry | panoptic.Entry
    classes: Mapping[int, Class]
    mask: str | None


class Labels(NamedTuple):
    """The label files of a split: images by key, what was left out, and how many files there are."""

    images: dict[str, Labelled]
    findings: list[Finding]
    files: int


def key_of(path: str) -> str | None:
    """The key of the frame that a path below a type folder, or below anything above it, is about."""
    match = _FRAME.fullmatch(path)
    if match is None:
        return None
    condition, split = match["condition"] or match["second"], match["split"] or match["first"]
    return f"{condition}/{split}/{match['sequence']}_frame_{match['frame']}"


def picture_key(path: str) -> str | None:
    """The key of a picture; None for any other path."""
    match = _FRAME.fullmatch(path)
    return key_of(path) if match and _PICTURE.fullmatch(match["kind"]) else None


def picture_name(key: str) -> str:
    """The path below the root that the picture of a frame should have."""
    condition, split, frame = key.split("/", 2)
    kind = "rgb_ref_anon" if split.endswith(REFERENCE) else "rgb_anon"
    return f"{IMAGES}/{condition}/{split}/{frame.partition('_frame_')[0]}/{frame}_{kind}{_ENDING}"


def twin_of(split: str) -> str:
    """The split of the references of ``split``, or the one whose references it holds."""
    return split.removesuffix(REFERENCE) if split.endswith(REFERENCE) else split + REFERENCE


def places(root: Path, kind: str) -> list[str]:
    """Where the folder of a type lies: in the root, in the folder of its archive, or doubled."""
    above = ["", *(f"{name}/" for name in list_folders(root, "") if name != kind)] if root.is_dir() else []
    found = [f"{folder}{inner}" for folder in above for inner in (kind, f"{kind}/{kind}")]
    return [place for place in found if (root / place).is_dir()]


def split_folders(place: str, split: str) -> list[str]:
    """The folders of a split, one per condition and order."""
    return [f"{place}/{name}/{split}" for name in CONDITIONS] + [f"{place}/{split}/{name}" for name in CONDITIONS]


def pictures(root: Path, split: str) -> dict[str, list[File]]:
    """The pictures of a split by key; more than one of a frame is an error for whoever reads them."""
    found: dict[str, list[File]] = {}
    for place in places(root, IMAGES):
        for folder in split_folders(place, split):
            for sequence in list_folders(root, folder):
                for name, error in list_files(root, f"{folder}/{sequence}", _ENDING).items():
                    path = f"{folder}/{sequence}/{name}"
                    key = picture_key(path)
                    if key is None:
                        condition = next(part for part in PurePosixPath(folder).parts[::-1] if part in CONDITIONS)
                        key = f"{condition}/{split}/{sequence}/{name}"
                        expected = f"expected a name like {sequence}_frame_000041_rgb_anon.png"
                        error = error or SourceError(root / path, "file name is not sequence_frame", expected)
                    found.setdefault(key, []).append((path, error))
    return found


def _label_files(root: Path, kind: str, split: str) -> Iterator[tuple[str, str]]:
    """The label files of a split with their places: those about all conditions, or where there is none about each."""
    if split in UNLABELLED:
        return
    name = f"{split.removesuffix(REFERENCE)}_gt{REFERENCE if split.endswith(REFERENCE) else ''}_"
    if kind == DETECTION:
        whole, single = f"instancesonly_{name}detection.json", f"{{0}}/instancesonly_{{0}}_{name}detection.json"
    else:
        whole, single = f"{name}panoptic.json", f"{{0}}/{{0}}_{name}panoptic.json"
    found = places(root, kind)
    about_all = [(place, f"{place}/{whole}") for place in found if (root / place / whole).exists()]
    about_one = [(place, f"{place}/{single.format(condition)}") for place in found for condition in CONDITIONS]
    yield from about_all or [(place, file) for place, file in about_one if (root / file).exists()]


def read_labels(root: Path, split: str) -> Labels:
    """What is labelled in a split. Where several files name an image the first holds, and boxes before panoptic labels.

    Raises:
        SourceError: as :func:`~curate.sources._coco_parts.read_parts`.
    """
    labels = Labels({}, [], 0)
    for _, file in _label_files(root, DETECTION, split):
        boxes = detection.read_detection(root, file)
        classes = _classes(boxes.labels)
        images = {name: Labelled(entry, classes, None) for name, entry in boxes.entries.items()}
        labels = _joined(labels, file, split, images, boxes.findings)
    listed: dict[str, Listing] = {}
    for place, file in _label_files(root, PANOPTIC, split):
        if place not in listed:
            listed[place] = find_files(root, place, _ENDING)
        masks = listed[place]
        segments = panoptic.read_panoptic(root, file)
        classes = _classes(segments.labels)
        images = {}
        for name, entry in segments.entries.items():
            mask = entry.png if entry.png in masks else None
            error = entry.error or (masks[mask] if mask else None)
            if entry.segments is not None or error:
                one = entry._replace(error=error)
                images[name] = Labelled(one, classes, f"{place}/{mask}" if mask else None)
        labels = _joined(labels, file, split, images, segments.findings)
    return labels


def _joined(labels: Labels, file: str, split: str, images: Mapping[str, Labelled], findings: list[Finding]) -> Labels:
    """The labels with those of one more file, whose images are given by their file names."""
    found = dict(labels.images)
    said = list(findings)
    for name, image in images.items():
        key = key_of(name)
        if key and key.split("/")[1] == split:
            found.setdefault(key, image)
        else:
            message = f"file name {name!r} is no frame of {split}; left out"
            said.append(finding("N02", file, message))
    return Labels(found, labels.findings + said, labels.files + 1)


@cache
def table() -> dict[int, Class]:
    """The label table by id."""
    return {int(row["id"]): Class(row["name"], row["is_thing"] == "1") for row in label_table("acdc")}


def _classes(found: Mapping[int, Label]) -> dict[int, Class]:
    """The classes of a file by id; those that it does not list are taken from the table."""
    things = {label.name: label.thing for label in table().values()}
    named = {
        number: Class(label.name, things.get(label.name, True) if label.isthing is None else bool(label.isthing))
        for number, label in found.items()
    }
    return table() | named
