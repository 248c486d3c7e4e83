"""Pascal VOC and its many relatives: one XML file per image with named boxes, perhaps masks of the objects.

Layout, as the development kit has it, or a folder with nothing but XML files and pictures::

    [VOCdevkit/VOC2012/]Annotations/<name>.xml        one per image
    [VOCdevkit/VOC2012/]JPEGImages/<name>.jpg
    [VOCdevkit/VOC2012/]ImageSets/Main/train.txt ...  names, one per line; gives the split
    [VOCdevkit/VOC2012/]SegmentationObject/<name>.png palette numbers: object 1, 2, ... of the XML; 255 is no object's

* An image's id is ``voc/<name>``; where several years lie side by side, ``voc/VOC2012/<name>``.
* Pixels are counted from 1 and a box includes its right and bottom edge: ``x = xmin - 1``, ``w = xmax - xmin + 1``.
  Many tools write VOC's XML with pixels from 0 and exclusive edges: ``--option boxes=zero-based``.
* ``difficult`` objects are passed over by VOC's evaluation: ``ignore``. Parts (head, hand, foot) are annotations with
  their object as parent. All other elements are kept under ``attributes.voc``.
* A name in several lists belongs to the first of train, val, test; ``trainval`` says nothing of its own.
* Labels are whatever the files name. Whether all objects of these were labelled they do not say: coverage is partial,
  unless ``--option coverage=exhaustive`` (true of the official sets).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.errors import SourceError, UsageError
from curate.geometry import rle_area
from curate.model import Annotation, Coverage, CoverageState, Image, Item, Parsed, Record, Rle, Source, finding
from curate.pictures import read_header
from curate.sources._files import Listing, Size, agreed_size, list_files, list_folders, read_text, shown
from curate.sources._rasters import masks_by_value, read_raster
from curate.sources._voc_xml import VocObject, read_voc

SOURCE = Source(
    title="Pascal VOC XML of any origin",
    homepage="http://host.robots.ox.ac.uk/pascal/VOC/",
    licence="as its owner says; the official images come from Flickr under its terms",
    citation="Everingham, Van Gool, Williams, Winn, Zisserman: The Pascal Visual Object Classes (VOC) Challenge. "
    "IJCV 2010",
    download="""
A folder of yours, or VOCtrainval_11-May-2012.tar and the like from the homepage (no registration). Unpack it.
""",
    tree="""
Annotations/<name>.xml
JPEGImages/<name>.jpg
ImageSets/Main/train.txt, val.txt, test.txt      optional
SegmentationObject/<name>.png                    optional
or <name>.xml and <name>.jpg side by side, or VOCdevkit/VOC2007 and so on with the above
""",
    splits=("train", "val", "test"),
)
OPTIONS = {
    "boxes": "voc, where pixels count from 1 and a box holds its last one, or zero-based, with exclusive edges",
    "coverage": "partial, or exhaustive where all objects were labelled (true of the official sets)",
}
LABELS_ARE_OPEN = True

_YEAR = re.compile(r"VOC\d{4}")
_PICTURES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp", ".webp", ".tif", ".tiff")
_VOID = 255
_BOXES = ("voc", "zero-based")
_COVERAGES: tuple[CoverageState, ...] = ("partial", "exhaustive")


class _Base(NamedTuple):
    """A folder with annotations: where its parts lie below the root, each with a slash at its end, or empty."""

    key: str  # what ids begin with
    annotations: str
    pictures: str
    sets: str | None
    masks: str | None


class _Image(NamedTuple):
    """What the parser of an image needs beyond its files."""

    errors: tuple[SourceError | None, ...]
    mask: str | None
    first_pixel: int  # 1 or 0
    pictures: str
    coverage: CoverageState | None  # where no split states it


def scan(root: Path, splits: tuple[str, ...], boxes: str = "voc", coverage: str = "partial") -> list[Item]:
    """One item per XML file.

    Raises:
        SourceError: ``root`` has no XML files of this layout, or not the split asked for.
        UsageError: an option has another value than those offered.
    """
    first_pixel = 1 - _BOXES.index(_one_of("boxes", boxes, _BOXES))
    state = _COVERAGES[_COVERAGES.index(_one_of("coverage", coverage, _COVERAGES))]
    items = []
    for base in _bases(root):
        split_of = _splits(root, base)
        missing = [split for split in splits if split not in split_of.values()]
        if missing:
            here = ", ".join(sorted(set(split_of.values()))) or "no ImageSets/Main"
            raise SourceError(root, f"holds no split {missing[0]!r}", "expected its list", f"it holds {here}")
        pictures = list_files(root, base.pictures, _PICTURES)
        masks = list_files(root, base.masks, ".png") if base.masks else {}
        for file, error in list_files(root, base.annotations, ".xml").items():
            name = file.removesuffix(".xml")
            split = split_of.get(name)
            if splits and split not in splits:
                continue
            picture = _picture(name, pictures)
            mask = f"{base.masks}{name}.png" if base.masks and f"{name}.png" in masks else None
            errors = (error, pictures.get(picture or ""), masks.get(f"{name}.png"))
            data = _Image(errors, mask, first_pixel, base.pictures, None if split else state)
            there = f"{base.pictures}{picture}" if picture else None
            items.append(Item(f"voc/{base.key}{shown(name)}", root, split, there, f"{base.annotations}{file}", data))
    return sorted(items, key=lambda item: item.id)


def _one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"option {option}={shown(value)}", "unknown", f"expected {' or '.join(known)}")
    return value


def _bases(root: Path) -> list[_Base]:
    if root.is_dir():
        for above in ("", "VOCdevkit/"):
            years = [name for name in list_folders(root, above) if _YEAR.fullmatch(name)]
            years = [year for year in years if (root / above / year / "Annotations").is_dir()]
            if years:
                return [_base(root, f"{above}{year}/", f"{year}/" if len(years) > 1 else "") for year in years]
        if (root / "Annotations").is_dir() and list_files(root, "Annotations", ".xml"):
            return [_base(root, "", "")]
        if list_files(root, "", ".xml"):
            return [_Base("", "", "", None, None)]
    names = sorted(shown(entry.name) for entry in root.iterdir()) if root.is_dir() else []
    packed = any(name.endswith((".zip", ".tar", ".tar.gz", ".tgz")) for name in names)
    found = f"holds {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "is empty"
    raise SourceError(
        root,
        found if root.is_dir() else "is a file",
        "expected Annotations/<name>.xml, or XML files side by side",
        "unpack the archives there first" if packed else "is it another dataset? see 'curate sources voc'",
    )


def _base(root: Path, folder: str, key: str) -> _Base:
    def part(name: str) -> str | None:
        return f"{folder}{name}/" if (root / folder / name).is_dir() else None

    annotations = f"{folder}Annotations/"
    return _Base(
        key, annotations, part("JPEGImages") or annotations, part("ImageSets/Main"), part("SegmentationObject")
    )


def _splits(root: Path, base: _Base) -> dict[str, str]:
    """The split of each name that a list has."""
    if not base.sets:
        return {}
    lists: Listing = list_files(root, base.sets, ".txt")
    found: dict[str, str] = {}
    for split in SOURCE.splits:
        error = lists.get(f"{split}.txt")
        if error:
            raise error
        if f"{split}.txt" in lists:
            for line in read_text(root / base.sets / f"{split}.txt").splitlines():
                for name in line.split()[:1]:  # a second column, if any, says of one class whether it is there
                    found.setdefault(name, split)
    return found


def _picture(name: str, pictures: Listing) -> str | None:
    return next((f"{name}{ending}" for ending in _PICTURES if f"{name}{ending}" in pictures), None)


def records(root: Path, splits: tuple[str, ...], boxes: str = "voc", coverage: str = "partial") -> Iterator[Record]:
    """Coverage of the splits, and names in lists that have no XML."""
    state = _COVERAGES[_COVERAGES.index(coverage)]
    found: set[str] = set()
    for base in _bases(root):
        split_of = _splits(root, base)
        found |= set(split_of.values())
        files = list_files(root, base.annotations, ".xml")
        for name, split in sorted(split_of.items()):
            if f"{name}.xml" not in files and (not splits or split in splits):
                where = f"{base.sets}{split}.txt"
                yield finding("R02", where, f"names {shown(name)}, which has no XML file", severity="warning")
    for split in sorted(found):
        if not splits or split in splits:
            yield Coverage(scope=f"voc/{split}", category="*", state=state)


def parse(item: Item) -> Parsed:
    """One image with its objects, their parts and their masks.

    Raises:
        SourceError: a file is unreadable or malformed, or picture, mask and XML differ in size.
    """
    data: _Image = item.data
    for error in data.errors:
        if error:
            raise error
    path = item.root / str(item.label)
    file = read_voc(path)
    header = read_header(item.root / item.image) if item.image else None
    size: Size | None = (header.width, header.height) if header else None
    if file.size and file.size != (0, 0):  # tools that did not look write zeros
        size = agreed_size(path, file.size, size)
    name = item.id.rpartition("/")[2]
    image = Image(
        id=item.id,
        source="voc",
        source_split=item.split,
        file_name=item.image or f"{data.pictures}{Path(shown(file.filename or f'{name}.jpg')).name}",
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
    )
    others: list[Record] = []
    if data.coverage:
        others.append(Coverage(scope=item.id, category="*", state=data.coverage))
    if header is None:
        others.append(finding("I01", str(item.label), "has no picture of its name", item=item.id))
    masks = _masks(item, len(file.objects), size, others)
    rows: list[Annotation] = []
    for i, found in enumerate(file.objects):
        rows.append(_annotation(f"{item.id}#{i:04d}", item, found, masks.get(i + 1)))
        for j, part in enumerate(found.parts):
            rows.append(_annotation(f"{item.id}#{i:04d}-{j}", item, part, None, parent=rows[-1 - j].id))
    return Parsed(image, rows, others)


def _masks(item: Item, objects: int, size: Size | None, noticed: list[Record]) -> dict[int, Rle]:
    """The mask of each object, by its number from 1; what is odd is added to ``noticed``."""
    data: _Image = item.data
    if not data.mask:
        return {}
    path = item.root / data.mask
    raster, _ = read_raster(path, palette=True)
    agreed_size(path, (raster.shape[1], raster.shape[0]), size)
    masks = masks_by_value(raster, lambda values: np.logical_and(values != 0, values != _VOID))
    for number in sorted(masks):
        if number > objects:
            message = f"object {number} is not among the {objects} of the XML; left out"
            noticed.append(finding("N02", data.mask, message, item=item.id))
    return masks


def _annotation(id: str, item: Item, found: VocObject, mask: Rle | None, parent: str | None = None) -> Annotation:
    data: _Image = item.data
    left, top, right, bottom = found.corners
    x, y = left - data.first_pixel, top - data.first_pixel
    w, h = right - left + data.first_pixel, bottom - top + data.first_pixel
    others = {shown(key): shown(value) for key, value in found.others.items()}
    return Annotation(
        id=id,
        image_id=item.id,
        parent_id=parent,
        category=shown(found.name),
        source_label=shown(found.name),
        x=x,
        y=y,
        w=w,
        h=h,
        area=float(rle_area(mask)) if mask else w * h,
        segmentation=mask,
        ignore=others.get("difficult", "0") not in ("0", ""),
        attributes={"voc": others} if others else None,
    )
