"""Mapillary Vistas, versions 2.0, 1.2 and 1.1: street scenes of many sizes with instances of many classes.

The option ``annotation_version`` says which annotations are read: ``v2.0`` (124 classes) unless ``v1.2`` (66 classes,
in the same archive) or ``v1.1`` (the older archive, whose annotations lie in the split itself). Their lists of classes
differ, so they are never mixed; ``attributes.mapillary_vistas.version`` of an image says which it was.

* An image is named by a key of 22 characters of base64url, which may begin with ``-`` and differ from another by case
  only; keys differ between splits, so the id does not name the split: ``mapillary_vistas/<key>``.
* Classes, and which of them have instances, come from the config of the user's own copy: the place in its list is the
  id. Imported are the objects of classes with instances; that is poles, signs and crosswalks too.
* An image's objects are read from its instance raster, else its panoptic entry, else its polygons (v2.0 only);
  ``attributes.mapillary_vistas.generation`` says which. The first two show what is visible.
* Instance raster: 16 bits, value = id * 256 + number, from 0: the value 0 is the first bird and no background. The
  numbers need not be consecutive. Box of the mask, ``max + 1 - min``.
* Panoptic: the class is named by the long name, which may stand in ``supercategory`` or ``name``; box as given.
* Polygons: painted with Pillow's rule and clipped to the frame (their own rules for holes and order are not known).
* ``person-group``, ``vehicle-group`` and ``pole-group`` of v2.0 are classes of their own and mark groups (``iscrowd``).
* Small instances stay; the official evaluation ignores those under 100 px.
* All coordinates are those of the stored picture, whatever its EXIF orientation says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from curate.errors import SourceError, UsageError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    Finding,
    Image,
    Item,
    Parsed,
    Record,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import _panoptic as panoptic
from curate.sources import _vistas_objects as objects
from curate.sources import label_table
from curate.sources._files import Listing, chosen_splits, list_files, shown
from curate.sources._vistas_labels import VERSIONS, Label, Version, read_labels

SOURCE = Source(
    title="Mapillary Vistas",
    homepage="https://www.mapillary.com/dataset/vistas",
    licence="Mapillary Vistas research licence: non-commercial, no redistribution (LICENSE in the archive)",
    citation="Neuhold, Ollmann, Rota Bulò, Kontschieder: The Mapillary Vistas dataset for semantic understanding of "
    "street scenes. ICCV 2017",
    download="""
Ask for the download at the homepage (account or e-mail), then unpack
  mapillary-vistas-dataset_public_v2.0.zip     images, annotations of v1.2 and v2.0
The older archive mapillary-vistas-dataset_public_v1.1.zip is read with the option annotation_version=v1.1, the
annotations of v1.2 with annotation_version=v1.2.
""",
    tree="""
config_v2.0.json
training/images/<key>.jpg
training/v2.0/instances/<key>.png
training/v2.0/panoptic/<key>.png, panoptic_2020.json
training/v2.0/polygons/<key>.json
training/v1.2/...                    and the like in validation; testing has images alone
""",
    splits=("training", "validation", "testing"),
    published=Counts(images=25_000, note="18,000 training, 2,000 validation, 5,000 testing (without labels)"),
)
OPTIONS = {"annotation_version": "v2.0 (124 classes), v1.2 (66 classes), or v1.1 for the older archive"}

_KINDS = {"instances": ".png", "panoptic": ".png", "polygons": ".json"}
_SECRET = "testing"
_KEY = re.compile(r"[A-Za-z0-9_-]{22}")
_FROM_SEARCHAD = re.compile(rf"(?:training|validation|testing)/images/({_KEY.pattern})\.jpg")


class _Frame(NamedTuple):
    """What the parser of an image needs beyond its picture and label file."""

    expected: str  # path that the image has, or should have
    version: str
    generation: str | None  # kind of its label file
    labels: tuple[Label, ...]
    entry: panoptic.Entry | None
    classes: dict[int, Label]  # of the panoptic file
    labelled: bool  # its split has labels
    noticed: tuple[Finding, ...]  # about the split's panoptic file
    error: SourceError | None  # what forbids reading one of its files


class _Panoptic(NamedTuple):
    """The panoptic file of a split, and its classes by its own ids."""

    file: panoptic.PanopticFile
    classes: dict[int, Label]


class _LabelFile(NamedTuple):
    """What an image's objects are read from: kind, path, panoptic entry, and what forbids reading it."""

    generation: str | None
    path: str | None
    entry: panoptic.Entry | None
    error: SourceError | None


def key_from_searchad(path: str) -> str | None:
    """The image id of a path below SearchAD's folder ``mapillary_vistas``, or None if it is no such path."""
    match = _FROM_SEARCHAD.fullmatch(path)
    return f"mapillary_vistas/{match[1]}" if match else None


def scan(root: Path, splits: tuple[str, ...], *, annotation_version: str = "v2.0") -> list[Item]:
    """One item per key that an image or a label file has.

    Raises:
        SourceError: ``root`` is no Vistas tree, has annotations of another version only, or lacks their config.
        UsageError: there is no such version.
    """
    chosen = _splits(root, splits)
    labels = _labels(root, annotation_version)
    items: dict[str, Item] = {}
    for split in chosen:
        for item in _scan_split(root, split, annotation_version, labels):
            twin = items.setdefault(item.id, item)
            if twin is not item:
                where = root / item.data.expected
                raise SourceError(where, f"is the same image as {twin.data.expected}", "expected each key once")
    return sorted(items.values(), key=lambda item: item.id)


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    folders = {split: [f"{split}/images"] for split in SOURCE.splits}
    return chosen_splits(root, "mapillary_vistas", SOURCE, folders, splits)


def _labels(root: Path, name: str) -> tuple[Label, ...]:
    """The classes of a version; none if the images are alone, without annotations of any version."""
    if name not in VERSIONS:
        expected = f"expected one of {', '.join(VERSIONS)}"
        raise UsageError(f"mapillary_vistas, annotation_version {name!r}", "unknown version", expected)
    there = [other for other, version in VERSIONS.items() if any(_is_labelled(root, s, version) for s in SOURCE.splits)]
    if there and name not in there:
        raise SourceError(
            root,
            f"holds no annotations of {name}, but of {', '.join(there)}",
            f"expected training/{VERSIONS[name].folder}instances/",
            f"give the option annotation_version={there[0]}",
        )
    return read_labels(root, VERSIONS[name]) if there else ()


def _is_labelled(root: Path, split: str, version: Version) -> bool:
    """Whether the labels of ``split`` are here; what lies in ``testing`` is not part of Vistas."""
    return split != _SECRET and any((root / f"{split}/{version.folder}{kind}").is_dir() for kind in _KINDS)


def _scan_split(root: Path, split: str, name: str, labels: tuple[Label, ...]) -> Iterator[Item]:
    version = VERSIONS[name]
    base = f"{split}/{version.folder}"
    labelled = _is_labelled(root, split, version)
    images = list_files(root, f"{split}/images", ".jpg")
    listed = {kind: list_files(root, f"{base}{kind}", end) if labelled else {} for kind, end in _KINDS.items()}
    keys = {image.removesuffix(".jpg") for image in images}
    keys |= {file.removesuffix(_KINDS[kind]) for kind, files in listed.items() for file in files}
    # The panoptic file is large, and needed only where an image has no instance raster.
    needed = labelled and any(f"{key}.png" not in listed["instances"] for key in keys)
    segments = _read_panoptic(root, f"{base}panoptic", version, labels) if needed else None
    noticed = _unseen(segments.file, keys) if segments else ()
    for key in sorted(keys):
        image = f"{key}.jpg"
        label = _label_file(base, key, listed, segments.file.entries.get(image) if segments else None)
        frame = _Frame(
            expected=f"{split}/images/{image}",
            version=name,
            generation=label.generation,
            labels=labels,
            entry=label.entry,
            classes=segments.classes if segments and label.entry else {},
            labelled=labelled,
            noticed=noticed,
            error=images.get(image) or label.error,
        )
        yield Item(
            id=f"mapillary_vistas/{shown(key)}",
            root=root,
            split=split,
            image=frame.expected if image in images else None,
            label=label.path,
            data=frame,
        )
        noticed = ()  # said once


def _read_panoptic(root: Path, folder: str, version: Version, labels: tuple[Label, ...]) -> _Panoptic | None:
    found = list_files(root, folder, version.panoptic)
    if version.panoptic not in found:
        return None
    error = found[version.panoptic]
    if error:
        raise error
    file = panoptic.read_panoptic(root, f"{folder}/{version.panoptic}")
    return _Panoptic(file, objects.panoptic_classes(file, labels))


def _unseen(file: panoptic.PanopticFile, keys: set[str]) -> tuple[Finding, ...]:
    """What was left out of the panoptic file, and which of its images have no file at all."""
    unseen = sorted(name for name in file.entries if name.removesuffix(".jpg") not in keys)
    if not unseen:
        return tuple(file.findings)
    message = f"lists {len(unseen)} images of which there is no file, as {shown(unseen[0])}; left out"
    return (*file.findings, finding("N03", file.entries[unseen[0]].file, message))


def _label_file(base: str, key: str, listed: dict[str, Listing], entry: panoptic.Entry | None) -> _LabelFile:
    """What an image's objects are read from; ``entry`` is what the panoptic file says of it."""
    raster, polygons = f"{key}.png", f"{key}.json"
    if raster in listed["instances"]:
        return _LabelFile("instances", f"{base}instances/{raster}", None, listed["instances"][raster])
    if entry and (entry.segments is not None or entry.error):
        masks = listed["panoptic"]
        path = f"{base}panoptic/{entry.png}" if entry.png in masks else None
        return _LabelFile("panoptic", path, entry, masks.get(entry.png or ""))
    if polygons in listed["polygons"]:
        return _LabelFile("polygons", f"{base}polygons/{polygons}", None, listed["polygons"][polygons])
    return _LabelFile(None, None, None, None)


def records(root: Path, splits: tuple[str, ...], *, annotation_version: str = "v2.0") -> Iterator[Record]:
    """The classes, what is covered in each split, and what is left out."""
    version, labels = VERSIONS[annotation_version], _labels(root, annotation_version)
    for label in labels:
        group = label.name.rpartition("--")[0] or None
        yield Category(name=label.name, supercategory=group, role="benchmark" if label.instances else "other")
    published = [row["name"] for row in label_table(version.table)]
    if labels and [label.name for label in labels] != published:
        message = f"its {len(labels)} classes are not the {len(published)} known of {annotation_version}"
        yield finding("N05", version.config, message)
    chosen = _splits(root, splits)
    for split in chosen:
        if _is_labelled(root, split, version):
            for label in labels:
                if label.instances:
                    yield Coverage(scope=f"mapillary_vistas/{split}", category=label.name, state="exhaustive")
        else:
            yield Coverage(scope=f"mapillary_vistas/{split}", category="*", state="none")
    for split in SOURCE.splits:
        if split not in chosen and not splits and _is_labelled(root, split, version):
            message = "labels are there, the images are not; left out"
            yield finding("N03", f"{split}/{version.folder}".rstrip("/"), message)
    for kind in _KINDS:
        if _SECRET in chosen and (root / f"{_SECRET}/{version.folder}{kind}").is_dir():
            message = "is not part of Vistas, whose labels of testing are secret; not read"
            yield finding("N05", f"{_SECRET}/{version.folder}{kind}", message)


def parse(item: Item) -> Parsed:
    """One image with its objects.

    Raises:
        SourceError: a file is unreadable or malformed, a raster is of another kind, or a label file was made for an
            image of another size.
    """
    frame: _Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    if frame.generation == "instances":
        size, rows, noticed = objects.from_instances(item, frame.labels, size)
    elif frame.entry:
        size, rows, noticed = objects.from_panoptic(item, frame.entry, frame.classes, size)
    elif frame.generation == "polygons":
        size, rows, noticed = objects.from_polygons(item, frame.labels, size)
    known = {"version": frame.version, "generation": frame.generation}
    image = Image(
        id=item.id,
        source="mapillary_vistas",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        licence=SOURCE.licence,
        attributes={"mapillary_vistas": known} if frame.generation else None,
    )
    return Parsed(image, rows, [*frame.noticed, *noticed, *_odd(item)])


def _odd(item: Item) -> Iterator[Record]:
    """What an image lacks though its split has it, and a name of another form."""
    frame: _Frame = item.data
    if not item.image:
        yield finding("I01", frame.expected, f"no such file, but its {frame.generation} are there", item=item.id)
    if frame.entry and not item.label:
        message = f"its picture of segments, {frame.entry.png!r}, is not there; boxes are kept without masks"
        yield finding("F01", frame.entry.file, message, item=item.id, severity="warning")
    if frame.labelled and not frame.generation:
        message = "image has no label file; whether it shows any object is unknown"
        yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")
    if not _KEY.fullmatch(Path(frame.expected).stem):
        message = "file name is no key of 22 characters (letters, digits, - and _); kept"
        yield finding("N05", frame.expected, message, item=item.id)
