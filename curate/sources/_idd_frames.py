"""The frames of IDD Segmentation, both parts: pictures, and the objects in their polygon or box files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from curate.errors import SourceError
from curate.geometry import box_from_corners, rle_area, rle_bounds
from curate.model import Annotation, Coverage, Finding, Image, Item, Parsed, Record, finding
from curate.pictures import read_header
from curate.sources._files import Size, list_files, list_folders, read_json, shown
from curate.sources._idd_labels import Label, read_label
from curate.sources._polygon_files import PolygonObject, paint, read_polygon_file, ring_of

SPLITS = ("train", "val", "test")
PARTS = ("IDD_Segmentation/", "idd20kII/", "")  # where the two archives unpack; users also put both into one folder
IMAGES, LABELS = "leftImg8bit", "gtFine"
_SECRET = "test"
_KINDS = ("polygons", "bbox")  # what a frame's objects are read from, best first
_ENDINGS = {
    IMAGES: {f"_{IMAGES}{ending}": IMAGES for ending in (".png", ".jpg", ".jpeg")},
    LABELS: {f"_{LABELS}_{kind}.json": kind for kind in _KINDS},
}
_FIRST_INSTANCE = 1000

# One file of a frame: its path below the root, and what forbids reading it.
_File = tuple[str, SourceError | None]
_Pixels = Annotated[float, Meta(ge=-1e9, le=1e9)]
_box_file = msgspec.json.Decoder(dict[str, list[tuple[_Pixels, _Pixels, _Pixels, _Pixels]]])


class Frame(NamedTuple):
    """What the parser of a frame needs beyond its image and label file."""

    drive: str
    expected: str  # path that the image has, or should have
    kind: str | None  # of its label file
    labelled: bool  # its split has labels
    error: SourceError | None  # what forbids reading one of its files


def scan_split(root: Path, split: str) -> Iterator[Item]:
    """One item per frame that an image or a label file names.

    Raises:
        SourceError: no drive is a number, so that this is no IDD.
    """
    frames: dict[tuple[str, str], dict[str, list[_File]]] = {}
    for part in PARTS:
        for folder, endings in _ENDINGS.items():
            if folder == LABELS and split == _SECRET:
                continue
            for drive in list_folders(root, f"{part}{folder}/{split}"):
                for ending, kind in endings.items():
                    for name, error in list_files(root, f"{part}{folder}/{split}/{drive}", ending).items():
                        files = frames.setdefault((drive, name.removesuffix(ending)), {})
                        files.setdefault(kind, []).append((f"{part}{folder}/{split}/{drive}/{name}", error))
    drives = sorted({drive for drive, _ in frames})
    if drives and not any(_is_drive(drive) for drive in drives):
        raise SourceError(
            root,
            f"holds frames in {shown(f'{IMAGES}/{split}/{drives[0]}')}",
            f"expected drives that are numbers, as {IMAGES}/{split}/0",
            "Cityscapes and its other relatives are sources of their own",
        )
    for (drive, key), files in frames.items():
        yield _item(root, split, drive, key, files)


def _is_drive(name: str) -> bool:
    return name.isascii() and name.isdigit()


def is_labelled(root: Path, split: str) -> bool:
    """Whether the labels of ``split`` are here; those of the test split are secret."""
    return split != _SECRET and any((root / f"{part}{LABELS}/{split}").is_dir() for part in PARTS)


def _item(root: Path, split: str, drive: str, key: str, files: dict[str, list[_File]]) -> Item:
    kind = next((kind for kind in _KINDS if kind in files), None)
    images, texts = files.get(IMAGES, []), files[kind] if kind else []
    error = next((error for _, error in [*images, *texts] if error), None) or _twin(root, images) or _twin(root, texts)
    if error is None and not _is_drive(drive):
        where = root / (images or texts)[0][0]
        error = SourceError(where, f"drive is {drive!r}", f"expected a number, as {IMAGES}/{split}/0")
    image = images[0][0] if images else None
    return Item(
        id=f"idd/{split}/{shown(drive)}/{shown(key)}",
        root=root,
        split=split,
        image=image,
        label=texts[0][0] if texts else None,
        data=Frame(drive, image or _expected(texts[0][0], split, drive, key), kind, is_labelled(root, split), error),
    )


def _twin(root: Path, files: list[_File]) -> SourceError | None:
    if len(files) < 2:
        return None
    return SourceError(root / files[1][0], f"is the same frame as {files[0][0]}", "expected it once")


def _expected(label: str, split: str, drive: str, key: str) -> str:
    """The path that the image of a label file should have: part I holds png, part II jpg."""
    part = next(part for part in PARTS if label.startswith(part))
    ending = "jpg" if part.startswith("idd20kII") else "png"
    return f"{part}{IMAGES}/{split}/{drive}/{key}_{IMAGES}.{ending}"


def parse(item: Item, licence: str) -> Parsed:
    """One frame with its objects.

    Raises:
        SourceError: a file is unreadable or malformed, a polygon has a vertex far outside, corners are flipped, or the
            label file was made for a frame of another size.
    """
    frame: Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    if frame.kind == "polygons":
        size, rows, noticed = _read_polygons(item, size)
    elif frame.kind == "bbox":
        rows = _read_boxes(item)
    image = Image(
        id=item.id,
        source="idd",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        sequence=frame.drive,
        licence=licence,
        attributes={"idd": {"generation": frame.kind}} if frame.kind else None,
    )
    return Parsed(image, rows, [*noticed, *_missing(item)])


def _missing(item: Item) -> Iterator[Record]:
    """What a frame lacks though its split has it."""
    frame: Frame = item.data
    if not item.image:
        yield finding("I01", frame.expected, "no such file, but a label file names the frame", item=item.id)
    if frame.labelled and not frame.kind:
        message = "frame has no label file; whether it shows any object is unknown"
        yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")


def _read_polygons(item: Item, size: Size | None) -> tuple[Size, list[Annotation], list[Finding]]:
    """The objects of a polygon file, the frame's size, and what was left out."""
    path = item.root / str(item.label)
    size, objects = read_polygon_file(path, size)
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    counted: Counter[int] = Counter()
    for i, found in enumerate(objects):
        label, group = read_label(found.label)
        if found.deleted or not label.thing:
            continue
        ring = ring_of(found, path, i)
        number = _number(label, group, counted) if len(ring) > 2 else None  # a single point is not counted
        mask = paint(ring, item, i, found.label, size)
        if isinstance(mask, Finding):
            noticed.append(mask)
            continue
        x, y, w, h = rle_bounds(mask)
        row = Annotation(
            id=f"{item.id}#{i:04d}",
            image_id=item.id,
            category=label.name,
            source_label=found.label,
            x=x,
            y=y,
            w=w,
            h=h,
            area=rle_area(mask),
            segmentation=mask,
            polygons=[[ring]],
            iscrowd=group,
            attributes=_facts(label, group, instanceId=number, **_by_the_tool(found)),
        )
        rows.append(row)
    return size, rows, noticed


def _number(label: Label, group: bool, counted: Counter[int]) -> int | None:
    """The value that the development kit gives the object in a raster of ids.

    Instances are counted per training class, which several labels may share: after the first person, 6000, the first
    animal is 7001.
    """
    if label.id is None or label.level3 is None or group:
        return label.id
    counted[label.level3] += 1
    return label.id * _FIRST_INSTANCE + counted[label.level3] - 1


def _by_the_tool(found: PolygonObject) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("id", "user", "date", "verified", "draw")}


def _read_boxes(item: Item) -> list[Annotation]:
    """The boxes of things in a file of boxes, which names every class with its list of corners."""
    path = item.root / str(item.label)
    named = [(text, i, box) for text, boxes in read_json(path, _box_file).items() for i, box in enumerate(boxes)]
    rows = []
    for place, (text, i, corners) in enumerate(named):
        left, top, right, bottom = corners
        if right < left or bottom < top:
            where = f"{path}, {text}[{i}]"
            raise SourceError(where, f"box {list(corners)} has flipped corners", "expected xmin, ymin, xmax, ymax")
        label, group = read_label(text)
        if not label.thing:
            continue
        x, y, w, h = box_from_corners(left, top, right, bottom)
        row = Annotation(
            id=f"{item.id}#b{place:04d}",
            image_id=item.id,
            category=label.name,
            source_label=text,
            x=x,
            y=y,
            w=w,
            h=h,
            area=w * h,
            iscrowd=group,
            attributes=_facts(label, group),
        )
        rows.append(row)
    return rows


def _facts(label: Label, group: bool, **known: Any) -> dict[str, Any]:
    facts = {"extent": "amodal", "ignore_in_eval": group or label.ignore_in_eval, **known}
    return {"idd": {name: value for name, value in facts.items() if value is not None}}
