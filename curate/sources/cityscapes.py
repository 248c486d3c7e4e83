"""Cityscapes: street scenes with polygons or instance rasters per frame, and CityPersons' boxes where they lie beside.

A frame is ``city_sequence_frame`` (two strings of digits with leading zeros). Cities differ between splits, so its id
does not name the split: ``cityscapes/aachen_000000_000019``. Imported are the objects of the ten thing classes.

* Which label file is taken: gtFine polygons, else the gtFine instance raster, else gtCoarse polygons, else the gtCoarse
  raster; ``attributes.cityscapes.generation`` says which. Polygons run on under nearer objects (extent ``amodal``), the
  raster shows what is visible (extent ``visible``).
* Polygons are painted as the development kit paints them, with Pillow's rule (a polygon over x = 20..59 covers 40
  columns), clipped to the frame; box and area are those of the mask. The vertices are kept as found.
* ``deleted`` objects are passed over. A label such as ``cargroup`` that is not in the table marks a group of cars
  (``iscrowd``); ``polegroup`` is a class of its own and is in the table.
* Raster values from 1000 are one visible instance each (class = value // 1000); the class ids 24 to 33 themselves are
  groups. For polygons the same numbers are derived as the development kit counts: per class, in file order.
* A polygon of fewer than three points is left out (the development kit would paint a line), as is one that lies wholly
  outside the frame; both are findings.
* Caravans, trailers and groups are not evaluated there: ``attributes.cityscapes.ignore_in_eval``.
* CityPersons' boxes (``gtBboxCityPersons``, or the older ``annotations/anno_train.mat`` for a split that it lacks) are
  rows of their own with categories of their own, full box as found, also outside the frame; ``parent_id`` is the object
  with the same instance number. The two do not fit exactly, so they are joined by number, never by box.
* The published labels of ``test`` hold no objects: it is unlabelled, not empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from curate.errors import SourceError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    CoverageState,
    Finding,
    Image,
    Item,
    Parsed,
    Record,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import _citypersons as citypersons
from curate.sources import _cityscapes_objects as objects
from curate.sources._files import chosen_splits, list_files, list_folders, shown
from curate.sources._rasters import is_constant

SOURCE = Source(
    title="Cityscapes",
    homepage="https://www.cityscapes-dataset.com",
    licence="Cityscapes terms: non-commercial research, no redistribution",
    citation="Cordts et al.: The Cityscapes dataset for semantic urban scene understanding. CVPR 2016. For the boxes "
    "of persons: Zhang, Benenson, Schiele: CityPersons: A diverse dataset for pedestrian detection. CVPR 2017",
    download="""
Make an account at the homepage, then download and unpack into one folder
  leftImg8bit_trainvaltest.zip            5,000 images: train, val, test
  leftImg8bit_trainextra.zip              19,998 images: train_extra
  gtFine_trainvaltest.zip                 fine polygons and rasters
  gtCoarse.zip                            coarse polygons for train, val, train_extra
  gtBbox_cityPersons_trainval.zip         CityPersons' boxes; unpacks to gtBboxCityPersons
Any of them may be absent; without labels the images alone are imported.
""",
    tree="""
leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
gtFine/train/aachen/aachen_000000_000019_gtFine_polygons.json
gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png
gtCoarse/train_extra/augsburg/augsburg_000000_000019_gtCoarse_polygons.json
gtBboxCityPersons/train/aachen/aachen_000000_000019_gtBboxCityPersons.json
annotations/anno_train.mat                CityPersons' older form, read where the folder above is not there
""",
    splits=("train", "val", "test", "train_extra", "demoVideo"),
    published=Counts(images=24_998, note="2,975 train, 500 val, 1,525 test, 19,998 train_extra"),
)

# What a frame's objects are read from, best first.
_GENERATIONS = ("gtFine_polygons", "gtFine_instanceIds", "gtCoarse_polygons", "gtCoarse_instanceIds")
_IMAGE, _PERSONS = "leftImg8bit", "gtBboxCityPersons"
# Kind of file -> its folder and the end of its name.
_FILES = {
    _IMAGE: (_IMAGE, f"_{_IMAGE}.png"),
    **{name: (name.split("_")[0], f"_{name}.{'json' if 'polygons' in name else 'png'}") for name in _GENERATIONS},
    _PERSONS: (_PERSONS, f"_{_PERSONS}.json"),
}
_FOLDERS = tuple(dict.fromkeys(folder for folder, _ in _FILES.values()))
_UNLABELLED_SPLITS = ("test", "demoVideo")
_FRAME = re.compile(r"[^0-9_].*_[0-9]+_[0-9]+")  # a relative's scenes are numbered: 01_Street_45_000000_000080
# Said to be black in the first archive of train_extra; a corrected file exists.
_SAID_TO_BE_BLACK = "cityscapes/troisdorf_000000_000073"


class _Covered(NamedTuple):
    """How far objects, and CityPersons' boxes, are labelled in a split or in a frame."""

    objects: CoverageState
    persons: CoverageState


class _Frame(NamedTuple):
    """What the parser of a frame needs beyond its image and label file."""

    place: str
    expected: str  # path that the image has, or should have
    generation: str | None
    persons: str | None  # path of the CityPersons file
    listed: citypersons.Listed | None  # what the older CityPersons file has of the frame
    covered: _Covered  # how far the frame's split is labelled
    error: SourceError | None  # what forbids reading one of its files


# One file of a frame: its path below the root, and what forbids reading it.
_File = tuple[str, SourceError | None]


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from its path below SearchAD's folder ``cityscapes``; None if it is no frame's."""
    name = PurePosixPath(path).name
    key = name.removesuffix(_FILES[_IMAGE][1])
    return f"cityscapes/{key}" if key != name and _FRAME.fullmatch(key) else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per frame that an image or a label file names, in the splits whose images are there.

    Raises:
        SourceError: ``root`` is no Cityscapes tree, or one frame lies in two places.
    """
    items: dict[str, Item] = {}
    for split in _splits(root, splits):
        for item in _scan_split(root, split):
            twin = items.setdefault(item.id, item)
            if twin is not item:
                where = root / item.data.expected
                raise SourceError(where, f"is the same frame as {twin.data.expected}", "expected it once")
    if items and not any(_FRAME.fullmatch(item.id.removeprefix("cityscapes/")) for item in items.values()):
        found = f"holds frames like {min(items).removeprefix('cityscapes/')}"
        expected = "expected city_sequence_frame, as aachen_000000_000019"
        raise SourceError(root, found, expected, "its relatives, as IDD and Lost and Found, are sources of their own")
    return sorted(items.values(), key=lambda item: item.id)


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    folders = {split: [f"{_IMAGE}/{split}"] for split in SOURCE.splits}
    return chosen_splits(root, "cityscapes", SOURCE, folders, splits)


def _scan_split(root: Path, split: str) -> Iterator[Item]:
    covered = _covered(root, split)
    listed = citypersons.read_matlab(root, split) if _has_matlab(root, split) else {}
    for city in sorted({city for folder in _FOLDERS for city in list_folders(root, f"{folder}/{split}")}):
        frames: dict[str, dict[str, _File]] = {}
        for kind, (folder, ending) in _FILES.items():
            for name, error in list_files(root, f"{folder}/{split}/{city}", ending).items():
                frames.setdefault(name.removesuffix(ending), {})[kind] = f"{folder}/{split}/{city}/{name}", error
        for key, files in frames.items():
            yield _item(root, split, city, key, files, covered, listed.get(f"{city}/{key}"))


def _item(
    root: Path,
    split: str,
    city: str,
    key: str,
    files: dict[str, _File],
    covered: _Covered,
    listed: citypersons.Listed | None,
) -> Item:
    generation = next((kind for kind in _GENERATIONS if kind in files), None)
    read = {kind: files[kind] for kind in (_IMAGE, generation, _PERSONS) if kind in files}
    error = next((error for _, error in read.values() if error), None)
    if error is None and not _FRAME.fullmatch(key):
        where = root / next(iter(read.values()))[0]
        error = SourceError(where, "file name is not city_sequence_frame", "expected a name like aachen_000000_000019")
    paths = {kind: path for kind, (path, _) in read.items()}
    expected = f"{_IMAGE}/{split}/{city}/{key}{_FILES[_IMAGE][1]}"
    return Item(
        id=f"cityscapes/{shown(key)}",
        root=root,
        split=split,
        image=paths.get(_IMAGE),
        label=paths[generation] if generation else None,
        data=_Frame(city, expected, generation, paths.get(_PERSONS), listed, covered, error),
    )


def _covered(root: Path, split: str) -> _Covered:
    """What the label folders that are there say of a split."""
    if split in _UNLABELLED_SPLITS:
        return _Covered("none", "none")
    fine, coarse, persons = ((root / folder / split).is_dir() for folder in ("gtFine", "gtCoarse", _PERSONS))
    persons = persons or _has_matlab(root, split)
    return _Covered("exhaustive" if fine else "partial" if coarse else "none", "exhaustive" if persons else "none")


def _has_matlab(root: Path, split: str) -> bool:
    """Whether CityPersons' boxes of a split are there in the older form only."""
    return not (root / _PERSONS / split).is_dir() and (root / citypersons.matlab_file(split)).is_file()


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and splits left out for want of images."""
    for label in objects.labels().values():
        yield Category(name=label.name, supercategory=label.category, role="benchmark" if label.thing else "other")
    chosen = _splits(root, splits)
    if any(_covered(root, split).persons != "none" for split in chosen):
        yield from citypersons.categories()
    for split in chosen:
        yield from _coverage(f"cityscapes/{split}", _covered(root, split))
    for split in SOURCE.splits:
        found = [f"{folder}/{split}" for folder in _FOLDERS if (root / folder / split).is_dir()]
        if found and not splits and split not in chosen:
            yield finding("N03", found[0], f"labels of split {split} are there, its images are not; left out")


def _coverage(scope: str, covered: _Covered) -> Iterator[Coverage]:
    """Coverage rows: of every class where a split is labelled throughout, else one for all."""
    if covered.objects == "exhaustive":
        for label in objects.labels().values():
            if label.thing:
                yield Coverage(scope=scope, category=label.name, state="exhaustive")
    else:
        yield Coverage(scope=scope, category="*", state=covered.objects)
    if covered.persons == "exhaustive":
        for name in citypersons.classes():
            yield Coverage(scope=scope, category=name, state="exhaustive")


def parse(item: Item) -> Parsed:
    """One frame with its objects and CityPersons' boxes.

    Raises:
        SourceError: a file is unreadable or malformed, a polygon has a vertex far outside, a raster is of another kind,
            or a label file was made for a frame of another size.
    """
    frame: _Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    if frame.generation:
        size, rows, noticed = objects.read(item, frame.generation, size)
    if frame.persons:
        parents = objects.by_number(rows)
        size, persons = citypersons.read(item.root / frame.persons, item.id, size, parents)
        rows = rows + persons
    elif frame.listed:
        rows = rows + citypersons.from_matlab(frame.listed, item.root, item.id, objects.by_number(rows))
    image = Image(
        id=item.id,
        source="cityscapes",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        sequence=item.id.removeprefix("cityscapes/").rpartition("_")[0],
        place=frame.place,
        licence=SOURCE.licence,
        attributes={"cityscapes": {"generation": frame.generation}} if frame.generation else None,
    )
    return Parsed(image, rows, [*noticed, *_missing(item), *_black(item)])


def _missing(item: Item) -> Iterator[Record]:
    """What a frame lacks though its split has it, and its coverage where that is less than the split's."""
    frame: _Frame = item.data
    if not item.image:
        yield finding("I01", frame.expected, "no such file, but a label file names the frame", item=item.id)
    own = _state(frame.generation)
    if frame.covered.objects not in ("none", own):
        if own == "none":
            message = "frame has no label file; whether it shows any object is unknown"
            yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        for label in objects.labels().values():
            if label.thing:
                yield Coverage(scope=item.id, category=label.name, state=own)
    if frame.covered.persons != "none" and not frame.persons and not frame.listed:
        message = "frame has no CityPersons file; whether it shows any person is unknown"
        yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        for name in citypersons.classes():
            yield Coverage(scope=item.id, category=name, state="none")


def _state(generation: str | None) -> CoverageState:
    if generation is None:
        return "none"
    return "exhaustive" if generation.startswith("gtFine") else "partial"


def _black(item: Item) -> Iterator[Finding]:
    if item.id == _SAID_TO_BE_BLACK and item.image and is_constant(item.root / item.image):
        message = "all pixels are alike: the first archive of train_extra holds a broken file"
        yield finding("N05", item.image, message, item=item.id, hint="look for the corrected file at the homepage")
