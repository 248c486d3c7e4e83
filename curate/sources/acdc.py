"""ACDC: street scenes in fog, rain and snow and at night, each with a reference of the same place in normal conditions.

Folders are ``<type>/<condition>/<split>/<sequence>``, condition before split; SearchAD's README writes them the other
way round. Both are read, as is a type folder one or two levels deeper, where archives are often unpacked to
(``rgb_anon_trainvaltest/rgb_anon``). A key names condition, split and frame, ``acdc/fog/train/GOPR0475_frame_000041``;
the reference of that image is ``acdc/fog/train_ref/GOPR0475_frame_000041``.

* Objects are the eight classes of things, from ``gt_detection`` (``_acdc_detection.py``; full boxes, masks), or for an
  image that it does not list from ``gt_panoptic`` (``_panoptic.py``; boxes of what is visible, which may be smaller).
  ``attributes.acdc.generation`` says which. Class ids are those of Cityscapes and have gaps.
* The files about one condition repeat those about all: they are read only where the latter are missing.
* An image that is listed has all its objects, perhaps none. One that is not listed is unlabelled; of the references
  many are not. Labels of ``test`` are withheld; its lists (``..._image_info.json``) hold none and are not read. Nor are
  the semantic and invalid rasters of ``gt``: they tell no instances.
* A reference shows the same place, not the same objects: no label is taken over to it. It is a near-duplicate by
  design, so ``sequence`` and ``attributes.acdc.pair`` tie the two together.
* ``weather`` is fog, rain or snow, and ``normal`` for references; ``time_of_day`` is night where that is the condition.
* Pictures are the anonymised ones (``rgb_anon``), whose bytes differ from those of ``rgb``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from curate.errors import SourceError
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
from curate.sources import _acdc_detection as detection
from curate.sources import _acdc_tree as tree
from curate.sources import _panoptic as panoptic
from curate.sources import label_table
from curate.sources._files import Size, chosen_splits, shown

SOURCE = Source(
    title="ACDC (Adverse Conditions Dataset with Correspondences)",
    homepage="https://acdc.vision.ee.ethz.ch",
    licence="ACDC licence agreement: non-commercial",
    citation="Sakaridis, Dai, Van Gool: ACDC: The Adverse Conditions Dataset with Correspondences for semantic driving "
    "scene understanding. ICCV 2021",
    download="""
Make an account at the homepage, then download and unpack into one folder
  rgb_anon_trainvaltest.zip     8,012 images, references included
  gt_detection_trainval.zip     boxes and masks of objects
  gt_panoptic_trainval.zip      panoptic labels, for images without boxes (the archive's name is not confirmed)
Any of the labels may be absent. gt_trainval.zip (semantic labels) is not read.
""",
    tree="""
rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png
rgb_anon/fog/train_ref/GOPR0475/GOPR0475_frame_000041_rgb_ref_anon.png
gt_detection/instancesonly_train_gt_detection.json, instancesonly_train_gt_ref_detection.json, and the same of val
gt_panoptic/train_gt_panoptic.json, train_gt_ref_panoptic.json, and the same of val
gt_panoptic/fog/train/GOPR0475/GOPR0475_frame_000041_gt_panoptic.png
""",
    splits=tree.SPLITS,
    published=Counts(images=8_012, note="4,006 adverse (fog, rain, snow 1,000 each, night 1,006), 4,006 references"),
)

_NIGHT = "night"
_WANTED = "download gt_detection_trainval.zip for the objects"


class _Frame(NamedTuple):
    """What the parser of an image needs beyond its files' names."""

    expected: str  # path that the image has, or should have
    labels: tree.Labelled | None  # what the label files say of it
    labelled: bool  # its split has labels
    alone: bool  # its reference, or the image whose reference it is, is missing
    error: SourceError | None  # what forbids reading one of its files


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from its path below SearchAD's folder ``acdc``; None if it is none of ACDC's.

    Condition and split may stand in either order.
    """
    key = tree.picture_key(path)
    return f"acdc/{key}" if key else None


def survey(root: Path, splits: tuple[str, ...]) -> dict[str, tree.Labels]:
    """The label files of each split.

    Raises:
        SourceError: ``root`` is no ACDC tree, or a label file is malformed.
    """
    return {split: tree.read_labels(root, split) for split in _splits(root, splits)}


def scan(root: Path, splits: tuple[str, ...], held: Mapping[str, tree.Labels] | None = None) -> list[Item]:
    """One item per picture, and per image that a label file names.

    Raises:
        SourceError: as :func:`survey`.
    """
    held = held or survey(root, splits)
    pictures = {split: tree.pictures(root, split) for split in held}
    items: list[Item] = []
    for split, labels in held.items():
        twins = pictures.get(tree.twin_of(split), {})
        conditions = {key.partition("/")[0] for key in twins}
        for key in {**pictures[split], **labels.images}:
            alone = key.partition("/")[0] in conditions and _pair(key) not in twins
            items.append(_item(root, key, pictures[split].get(key, []), labels, alone))
    return sorted(items, key=lambda item: item.id)


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    places = tree.places(root, tree.IMAGES) or [tree.IMAGES]
    folders = {split: [name for place in places for name in tree.split_folders(place, split)] for split in tree.SPLITS}
    return chosen_splits(root, "acdc", SOURCE, folders, splits)


def _pair(key: str) -> str:
    """The key of an image's reference, or of the image whose reference it is."""
    condition, split, frame = key.split("/", 2)
    return f"{condition}/{tree.twin_of(split)}/{frame}"


def _item(root: Path, key: str, found: list[tree.File], labels: tree.Labels, alone: bool) -> Item:
    labelled = labels.images.get(key)
    error = next((error for _, error in found if error), None)
    if error is None and len(found) > 1:
        error = SourceError(root / found[1][0], f"is the same frame as {found[0][0]}", "expected it once")
    expected = found[0][0] if found else tree.picture_name(key)
    return Item(
        id=f"acdc/{shown(key)}",
        root=root,
        split=key.split("/")[1],
        image=expected if found else None,
        label=labelled.mask if labelled else None,
        data=_Frame(expected, labelled, labels.files > 0, alone, error),
    )


def records(root: Path, splits: tuple[str, ...], held: Mapping[str, tree.Labels] | None = None) -> Iterator[Record]:
    """The classes, what is covered in each split, and what is left out."""
    groups = {row["name"]: row["category"] for row in label_table("acdc")}
    for label in tree.table().values():
        yield Category(name=label.name, supercategory=groups[label.name], role="benchmark" if label.thing else "other")
    for split, labels in (held or survey(root, splits)).items():
        scope = f"acdc/{split}"
        if not labels.files:
            yield Coverage(scope=scope, category="*", state="withheld" if split == "test" else "none")
            semantic = [name for place in tree.places(root, tree.SEMANTIC) for name in tree.split_folders(place, split)]
            if here := next((name for name in semantic if (root / name).is_dir()), None):
                yield finding("N05", here, "semantic labels tell no instances; not read", hint=_WANTED)
            continue
        for label in tree.table().values():
            if label.thing:
                yield Coverage(scope=scope, category=label.name, state="exhaustive")
        yield from labels.findings


def parse(item: Item) -> Parsed:
    """One image with its objects.

    Raises:
        SourceError: a file is unreadable, an object is malformed, or image and labels differ in size.
    """
    frame: _Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    noticed: list[Record] = []
    generation: str | None = None
    if frame.labels:
        generation = "panoptic" if isinstance(frame.labels.entry, panoptic.Entry) else "detection"
        size, rows, said = _objects(item, frame.labels, size)
        noticed += said
    condition, split, name = item.id.removeprefix("acdc/").split("/", 2)
    reference = split.endswith(tree.REFERENCE)
    facts = {
        "condition": condition,
        "reference": reference,
        "pair": f"acdc/{_pair(f'{condition}/{split}/{name}')}",
        "generation": generation,
    }
    image = Image(
        id=item.id,
        source="acdc",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        sequence=name.partition("_frame_")[0],
        licence=SOURCE.licence,
        weather="normal" if reference else condition if condition != _NIGHT else None,
        time_of_day=_NIGHT if condition == _NIGHT and not reference else None,
        attributes={"acdc": {key: value for key, value in facts.items() if value is not None}},
    )
    return Parsed(image, rows, [*noticed, *_missing(item, frame, reference)])


def _objects(item: Item, labels: tree.Labelled, size: Size | None) -> tuple[Size, list[Annotation], list[Finding]]:
    """The size of an image, its objects, and what is odd about them."""

    def class_of(number: int) -> tree.Class:
        return labels.classes.get(number) or tree.Class(str(number), True)

    if isinstance(labels.entry, detection.Entry):
        return detection.read_objects(item.root, labels.entry, size, item.id, lambda number: class_of(number).name)
    size, regions, noticed = panoptic.read_regions(
        item.root, item.label, labels.entry, size, item.id, lambda segment: class_of(segment.category_id).thing
    )
    rows = [
        panoptic.region_annotation(item.id, "acdc", region, class_of(region.segment.category_id).name)
        for region in regions
    ]
    return size, rows, noticed


def _missing(item: Item, frame: _Frame, reference: bool) -> Iterator[Record]:
    """What an image lacks. That a reference has no labels is no surprise."""
    if not item.image:
        yield finding("I01", frame.expected, "no such file, but a label file names it", item=item.id)
    if frame.labelled and not frame.labels:
        if not reference:
            message = "no label file names the image; whether it shows any object is unknown"
            yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")
    if frame.alone:
        other = "the image that it is the reference of" if reference else "its reference"
        yield finding("N05", frame.expected, f"{other} is not there", item=item.id)
