"""Lost and Found: a road with small obstacles laid out on it, filmed on the way to them; rasters of the objects.

Files are named and laid out as Cityscapes' are, with a scene in the place of the city. A scene has underscores of its
own, so a name is read from the right: ``01_Hanns_Klemm_Str_45_000000_000080`` is frame 000080 of sequence 000000 in
scene ``01_Hanns_Klemm_Str_45``. Scenes differ between the splits, so the id does not name the split:
``lost_and_found/01_Hanns_Klemm_Str_45_000000_000080``. ``leftImg8bit`` may lie in a folder ``lostandfound`` (as for
SearchAD), or itself be the root.

* An instance is what has one value in the raster ``instanceIds``: from 1000 class * 1000 + number, as in Cityscapes,
  whose rules the dataset is said to follow (not seen on a real file); 2 to 999 would be a group of that class. Box and
  area are those of the mask: what is visible, ``max + 1 - min``.
* Where that raster is missing (or of 8 bits), the connected regions of each class in ``labelIds`` are taken instead.
  They may split or join objects, hence ``attributes.lost_and_found.derived``.
* Value 0 is not void: only free space (1) and objects (2 to 43) were drawn. But a raster that is 0 throughout (23 of
  them are known) is a frame that nobody labelled, and some frames have no raster at all. Neither is a negative.
* Public readers name the classes in different orders (id 22 is Ball or Plastic bag). The table here follows the one
  that states ids; ``attributes.lost_and_found.labelId`` keeps the number.
* Objects that are no obstacles, as flat wood, have ``hazard`` false. Rasters of train ids and polygon files are not
  read. Pictures carry a gamma chunk: a decoder that heeds it shows them washed out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from curate.errors import SourceError
from curate.geometry import rle_area, rle_bounds
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
    Rle,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import label_table
from curate.sources._files import Size, agreed_size, chosen_splits, find_files, shown
from curate.sources._rasters import components_by_value, masks_by_value, read_raster

SOURCE = Source(
    title="Lost and Found",
    homepage="http://www.6d-vision.com/lostandfounddataset",
    licence="free for academic and non-commercial use with attribution (as reported; the text was not seen)",
    citation="Pinggera, Ramos, Gehrig, Franke, Rother, Mester: Lost and Found: detecting small road hazards for "
    "self-driving vehicles. IROS 2016",
    download="""
From the homepage (no registration; often down) or the copy kumuji/lost_and_found at Hugging Face, unpack into one
folder
  leftImg8bit.zip     2,239 images: train, test
  gtCoarse.zip        rasters of the objects
For SearchAD, the folder leftImg8bit of iis-esslingen/LostAndFoundDataset at Hugging Face; it has the images alone.
""",
    tree="""
leftImg8bit/train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000080_leftImg8bit.png
gtCoarse/train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000080_gtCoarse_instanceIds.png
gtCoarse/train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000080_gtCoarse_labelIds.png
""",
    splits=("train", "test"),
    published=Counts(images=2_239, note="1,036 train, 1,203 test; 2,104 of them with labels"),
)

Generation = Literal["instanceIds", "labelIds"]

_TOPS = ("", "lostandfound/")
_IMAGE, _LABELS = "leftImg8bit/", "gtCoarse/"
_PICTURE = "_leftImg8bit.png"
# What a frame's objects are read from, best first.
_GENERATIONS: tuple[Generation, ...] = ("instanceIds", "labelIds")
_ENDINGS: dict[str, str] = {_IMAGE: _PICTURE} | {kind: f"_gtCoarse_{kind}.png" for kind in _GENERATIONS}
_FRAME = re.compile(r"([0-9]{2}_.+)_([0-9]{6})_([0-9]{6})")
_FIRST_OBJECT, _FIRST_INSTANCE = 2, 1000


class _Frame(NamedTuple):
    """What the parser of a frame needs beyond its image and label file."""

    expected: str  # path that the image has, or should have
    generation: Generation | None
    labelled: bool  # its split has labels
    error: SourceError | None  # what forbids reading one of its files


class _File(NamedTuple):
    """One file of a frame: the split and path where it lies, and what forbids reading it."""

    split: str
    path: str
    error: SourceError | None


# The files of a frame by kind: its picture (_IMAGE) and its rasters. More than one of a kind is an error.
_Files = dict[str, list[_File]]


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from its path below SearchAD's folder ``lostandfound``; None if it is no frame's."""
    name = PurePosixPath(path).name
    key = name.removesuffix(_PICTURE)
    return f"lost_and_found/{key}" if key != name and _FRAME.fullmatch(key) else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per frame that an image or a raster names, in the splits whose images are there.

    Raises:
        SourceError: ``root`` is no Lost and Found tree.
    """
    frames: dict[str, _Files] = {}
    chosen = _splits(root, splits)
    for split in chosen:
        for kind, ending in _ENDINGS.items():
            for folder in _picture_folders(split) if kind == _IMAGE else _label_folders(split):
                for name, error in find_files(root, folder, ending).items():
                    key = PurePosixPath(name).name.removesuffix(ending)
                    frames.setdefault(key, {}).setdefault(kind, []).append(_File(split, f"{folder}/{name}", error))
    if frames and not any(_FRAME.fullmatch(key) for key in frames):
        found = f"holds frames like {shown(min(frames))}"
        expected = "expected scene_sequence_frame, as 01_Hanns_Klemm_Str_45_000000_000080"
        raise SourceError(root, found, expected, "Cityscapes and its other relatives are sources of their own")
    labelled = {split for split in chosen if _is_labelled(root, split)}
    return sorted((_item(root, key, files, labelled) for key, files in frames.items()), key=lambda item: item.id)


def _picture_folders(split: str) -> list[str]:
    return [f"{top}{kind}{split}" for kind in (_IMAGE, "") for top in _TOPS]


def _label_folders(split: str) -> list[str]:
    return [f"{top}{_LABELS}{split}" for top in _TOPS]


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    folders = {split: _picture_folders(split) for split in SOURCE.splits}
    return chosen_splits(root, "lost_and_found", SOURCE, folders, splits)


def _is_labelled(root: Path, split: str) -> bool:
    return any((root / folder).is_dir() for folder in _label_folders(split))


def _item(root: Path, key: str, files: _Files, labelled: set[str]) -> Item:
    generation = next((kind for kind in _GENERATIONS if kind in files), None)
    images, rasters = files.get(_IMAGE, []), files[generation] if generation else []
    first = (images or rasters)[0]
    error = next((file.error for file in images + rasters if file.error), None)
    for one, *others in filter(None, (images, rasters)):
        if others and error is None:
            error = SourceError(root / others[0].path, f"is the same frame as {one.path}", "expected it once")
    if error is None and not _FRAME.fullmatch(key):
        expected = "expected a name like 01_Hanns_Klemm_Str_45_000000_000080"
        error = SourceError(root / first.path, "file name is not scene_sequence_frame", expected)
    folder = str(PurePosixPath(first.path).parent).replace(_LABELS, _IMAGE)
    picture = f"{folder}/{key}{_PICTURE}"
    return Item(
        id=f"lost_and_found/{shown(key)}",
        root=root,
        split=first.split,
        image=picture if images else None,
        label=rasters[0].path if rasters else None,
        data=_Frame(picture, generation, first.split in labelled, error),
    )


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and splits left out for want of images."""
    for label in _labels().values():
        no_obstacle = label.thing and not label.hazard
        yield Category(
            name=label.name,
            supercategory=label.group,
            role="benchmark" if label.thing else "other",
            definition="an object, but no obstacle" if no_obstacle else None,
        )
    chosen = _splits(root, splits)
    for split in chosen:
        if _is_labelled(root, split):
            for label in _labels().values():
                if label.thing:
                    yield Coverage(scope=f"lost_and_found/{split}", category=label.name, state="exhaustive")
        else:
            yield Coverage(scope=f"lost_and_found/{split}", category="*", state="none")
    for split in SOURCE.splits:
        if split not in chosen and not splits and _is_labelled(root, split):
            yield finding("N03", f"{_LABELS}{split}", "labels are there, the images are not; left out")


def parse(item: Item) -> Parsed:
    """One frame with its objects.

    Raises:
        SourceError: a file is unreadable, a raster is of another kind, or was made for a frame of another size.
    """
    frame: _Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    noticed: list[Record] = []
    if frame.generation:
        size, rows, noticed = _read(item, frame.generation, size)
    if not item.image:
        noticed.append(finding("I01", frame.expected, f"no such file, but {item.label} labels it", item=item.id))
    if frame.labelled and not frame.generation:
        message = "frame has no raster, as 135 of the 2,239; whether it shows any object is unknown"
        noticed.append(finding("N05", frame.expected, message, item=item.id))
        noticed.append(Coverage(scope=item.id, category="*", state="none"))
    match = _FRAME.fullmatch(item.id.removeprefix("lost_and_found/"))
    assert match is not None  # else the frame has an error
    image = Image(
        id=item.id,
        source="lost_and_found",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        sequence=f"{match[1]}_{match[2]}",
        place=match[1],
        licence=SOURCE.licence,
        attributes={"lost_and_found": {"generation": frame.generation}} if frame.generation else None,
    )
    return Parsed(image, rows, noticed)


def _read(item: Item, generation: Generation, size: Size | None) -> tuple[Size, list[Annotation], list[Record]]:
    """The size of a frame, its objects, and what is odd about its raster."""
    path = item.root / str(item.label)
    raster, largest = read_raster(path)
    size = agreed_size(path, (raster.shape[1], raster.shape[0]), size)
    if not raster.any():
        message = "raster is 0 throughout: the frame was not labelled; whether it shows any object is unknown"
        unlabelled = finding("N05", str(item.label), message, item=item.id)
        return size, [], [unlabelled, Coverage(scope=item.id, category="*", state="none")]
    if generation == "instanceIds" and largest >= _FIRST_INSTANCE:
        masks = masks_by_value(raster, lambda values: values >= _FIRST_OBJECT)
        return size, [_instance(item.id, value, mask) for value, mask in masks.items()], []
    noticed: list[Record] = [_regions_taken(item, generation)]
    regions = components_by_value(raster, lambda values: values >= _FIRST_OBJECT)
    known = {"generation": generation, "derived": True}
    return size, [_row(item.id, f"c{i:04d}", value, mask, known) for i, (value, mask) in enumerate(regions)], noticed


def _regions_taken(item: Item, generation: Generation) -> Finding:
    if generation == "instanceIds":
        message = "8-bit raster cannot hold instance numbers; its connected regions are taken as objects"
        return finding("M10", str(item.label), message, item=item.id)
    message = "frame has no raster of instances; the connected regions of each class are taken as objects"
    return finding("N05", str(item.label), message, item=item.id)


def _instance(image_id: str, value: int, mask: Rle) -> Annotation:
    number = value // _FIRST_INSTANCE if value >= _FIRST_INSTANCE else value
    known = {"generation": "instanceIds", "instanceId": value}
    return _row(image_id, f"i{value:05d}", number, mask, known, group=value < _FIRST_INSTANCE)


def _row(
    image_id: str, suffix: str, number: int, mask: Rle, known: dict[str, Any], *, group: bool = False
) -> Annotation:
    """An object of the class with id ``number``; one that the table lacks is a class of its own."""
    label = _labels().get(number) or _Label(str(number), None, True, None)
    x, y, w, h = rle_bounds(mask)
    facts = {**known, "labelId": number, "hazard": label.hazard}
    return Annotation(
        id=f"{image_id}#{suffix}",
        image_id=image_id,
        category=label.name,
        source_label=label.name,
        x=x,
        y=y,
        w=w,
        h=h,
        area=rle_area(mask),
        segmentation=mask,
        iscrowd=group,
        attributes={"lost_and_found": {name: value for name, value in facts.items() if value is not None}},
    )


class _Label(NamedTuple):
    """One row of the label table."""

    name: str
    group: str | None
    thing: bool
    hazard: bool | None


@cache
def _labels() -> dict[int, _Label]:
    """The label table by id."""
    return {
        int(row["id"]): _Label(row["name"], row["group"], row["is_object"] == "1", row["counts_as_hazard"] == "1")
        for row in label_table("lost_and_found")
    }
