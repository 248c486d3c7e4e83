"""IDD Detection: Pascal VOC's tree, but with folders of cameras and sequences, and lists of splits at its top."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from curate.errors import SourceError
from curate.geometry import box_from_corners
from curate.model import Annotation, Coverage, Finding, Image, Item, Parsed, Record, finding
from curate.pictures import read_header
from curate.sources._files import Listing, agreed_size, list_files, list_folders, read_text, shown
from curate.sources._voc_xml import VocObject, read_voc

LISTS = ("train", "val", "test")
PARTS = ("IDD_Detection/", "")
IMAGES, LABELS = "JPEGImages", "Annotations"
_SECRET = "test"
_FOLDERS = {IMAGES: ".jpg", LABELS: ".xml"}
# category/sequence/frame, each a plain name that does not lead elsewhere.
_ENTRY = re.compile(r"(?!\.)[^/\\\x00-\x1f]{1,200}(?:/(?!\.)[^/\\\x00-\x1f]{1,200}){2}")


class Entry(NamedTuple):
    """A line of a list: which list, where in it, and where else the same frame is listed."""

    list: str
    where: str
    again: str | None = None


class Frame(NamedTuple):
    """What the parser of a frame needs beyond its image and label file."""

    entry: str
    expected: str  # path that the image has, or should have
    listed: Entry
    error: SourceError | None  # what forbids reading one of its files


def part_of(root: Path) -> str:
    """The folder, with a slash, that holds the tree below ``root``; empty for the root itself."""
    return next(part for part in PARTS if (root / part / IMAGES).is_dir())


def lists(root: Path) -> list[str]:
    """The lists that are there."""
    return [name for name in LISTS if (root / f"{part_of(root)}{name}.txt").exists()]


def scan(root: Path, chosen: list[str]) -> Iterator[Item]:
    """One item per frame that one of the ``chosen`` lists names.

    Raises:
        SourceError: there is no list at all, or a chosen one is not there or no text.
    """
    base = part_of(root)
    if not lists(root):
        names = ", ".join(f"{name}.txt" for name in LISTS)
        raise SourceError(root / base, f"holds {IMAGES}/, but none of {names}", "expected the tree of IDD Detection")
    files = cache(partial(list_files, root))  # each folder is listed once, when its first frame comes
    for entry, listed in _entries(root).items():
        if listed.list in chosen:
            yield _item(root, base, entry, listed, files)


def _entries(root: Path) -> dict[str, Entry]:
    """The frames of all lists. All are read, so that a frame in two of them has its split whatever was chosen."""
    entries: dict[str, Entry] = {}
    for name in lists(root):
        file = f"{part_of(root)}{name}.txt"
        for number, line in enumerate(read_text(root / file).split("\n"), 1):
            entry, here = line.strip(), f"{file}:{number}"
            if entry in entries:
                entries[entry] = entries[entry]._replace(again=here)
            elif entry:
                entries[entry] = Entry(name, here)
    return entries


def _item(root: Path, base: str, entry: str, listed: Entry, files: Callable[[str, str], Listing]) -> Item:
    key = f"idd/detection/{shown(entry)}"
    if not _ENTRY.fullmatch(entry):
        wrong = SourceError(root / listed.where, f"entry is {entry!r}", "expected category/sequence/frame")
        return Item(key, root, f"detection/{listed.list}", None, None, Frame(entry, "", listed, wrong))
    folder, _, name = entry.rpartition("/")
    paths: dict[str, str] = {}
    errors = []
    for kind, ending in _FOLDERS.items():
        listing = files(f"{base}{kind}/{folder}", ending)
        if name + ending in listing:
            paths[kind] = f"{base}{kind}/{entry}{ending}"
            errors.append(listing[name + ending])
    error = next((error for error in errors if error), None)
    frame = Frame(entry, f"{base}{IMAGES}/{entry}.jpg", listed, error)
    return Item(key, root, f"detection/{listed.list}", paths.get(IMAGES), paths.get(LABELS), frame)


def unlisted(root: Path) -> Iterator[Finding]:
    """Lists that are not there, and frames that stand in none: one finding per folder of them."""
    base = part_of(root)
    entries = _entries(root)
    for name in LISTS:
        if name not in lists(root):
            yield finding("N03", f"{base}{name}.txt", "no such file; the frames of this split are left out")
    for category in sorted({name for kind in _FOLDERS for name in list_folders(root, f"{base}{kind}")}):
        for sequence in sorted({name for kind in _FOLDERS for name in list_folders(root, f"{base}{kind}/{category}")}):
            folder = f"{category}/{sequence}"
            names = {
                name.removesuffix(ending)
                for kind, ending in _FOLDERS.items()
                for name in list_files(root, f"{base}{kind}/{folder}", ending)
            }
            missed = sorted(shown(name) for name in names if f"{folder}/{name}" not in entries)
            if missed:
                message = f"{len(missed)} frames stand in no list, as {missed[0]}; left out"
                yield finding("N03", f"{base}{IMAGES}/{shown(folder)}", message)


def parse(item: Item, licence: str) -> Parsed:
    """One frame with the boxes of its XML.

    Raises:
        SourceError: a file is unreadable or malformed, a box has flipped corners, the XML was made for a frame of
            another size, or the entry in the list has another form.
    """
    frame: Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    others: list[Record] = list(_missing(item))
    rows: list[Annotation] = []
    if item.label and not _is_secret(item):
        path = item.root / item.label
        file = read_voc(path)
        size = agreed_size(path, file.size, size) if file.size else size
        rows = [_annotation(found, f"{item.id}#{i:04d}", item.id) for i, found in enumerate(file.objects)]
        if file.filename and Path(file.filename).stem != Path(item.label).stem:
            others.append(finding("N05", item.label, f"is said to label {file.filename!r}", item=item.id))
    category, sequence, _ = frame.entry.split("/")
    image = Image(
        id=item.id,
        source="idd",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        sequence=sequence,
        licence=licence,
        attributes={"idd": {"generation": "detection", "category": category}},
    )
    return Parsed(image, rows, others)


def _is_secret(item: Item) -> bool:
    listed: Entry = item.data.listed
    return listed.list == _SECRET


def _missing(item: Item) -> Iterator[Record]:
    """What a frame lacks though a list names it, and what it has too much."""
    frame: Frame = item.data
    if not item.image:
        message = f"no such file, but {frame.listed.where} lists it"
        yield finding("I01", frame.expected, message, item=item.id)
    if not item.label and not _is_secret(item):
        message = f"no XML labels this frame, which {frame.listed.where} lists; whether it shows any object is unknown"
        yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")
    if item.label and _is_secret(item):
        yield finding("N05", item.label, "is not part of IDD, whose labels of test are secret; not read", item=item.id)
    if frame.listed.again:
        message = f"frame stands again in {frame.listed.again}; taken for {item.split}"
        yield finding("Q03", frame.listed.where, message, item=item.id, severity="warning")


def _annotation(found: VocObject, row_id: str, image_id: str) -> Annotation:
    x, y, w, h = box_from_corners(*found.corners)
    return Annotation(
        id=row_id,
        image_id=image_id,
        category=found.name,
        source_label=found.name,
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
        attributes={"idd": dict(found.others)} if found.others else None,
    )
