"""EuroCity Persons (ECP): persons and riders in European cities, by day and by night; one JSON file of boxes per image.

An image lies in ``day/img/train/<city>/<city>_00000.png``, its labels in ``day/labels/train/<city>/<city>_00000.json``.
Day and night number their images alike, so the id names both: ``ecp/day/train/amsterdam_00000``. The archives bring a
folder ``ECP`` along (the development kit calls it ``data``), and each may have been unpacked into a folder of its own.

* Box: ``w = x1 - x0``, ``h = y1 - y0``, as documented; corners range over [0, 1920] and [0, 1024]. Boxes take in what
  is occluded (``amodal``), not what the frame cuts off.
* A rider's box covers the person alone. The ridden vehicle is a row of its own whose ``parent_id`` is the rider; the
  evaluation takes the union of both, ``attributes.ecp.box_with_vehicle`` (x, y, w, h).
* ``person-group-far-away`` and ``rider+vehicle-group-far-away`` are ignore regions; ``bicycle-group`` and the like are
  riderless vehicles, one or several in a box (``iscrowd``).
* The evaluation passes over pedestrians tagged ``sitting-lying`` or ``behind-glass``
  (``attributes.ecp.ignore_in_eval``) and knows no far-away group tagged ``depiction``, a poster or reflection
  (``attributes.ecp.dropped_in_eval``).
* Identities and tags may carry a stray blank; they are compared without, and kept as found. An identity may be null,
  and orientation is spelled ``Orient`` or ``orient`` (degrees; absent when unknown).
* A label file is a frame, or one of the two wrappers around a frame that the development kit's reader accepts.
* There are no labels of test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from curate.errors import SourceError
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
from curate.sources._ecp_labels import labels, objects, read_frame
from curate.sources._files import (
    Size,
    agreed_size,
    chosen_splits,
    find_files,
    list_folders,
    shown,
)

SOURCE = Source(
    title="EuroCity Persons (ECP)",
    homepage="https://eurocity-dataset.tudelft.nl",
    licence="ECP terms: academic research only, for three years, no redistribution of images or labels",
    citation="Braun, Krebs, Flohr, Gavrila: EuroCity Persons: A novel benchmark for person detection in traffic "
    "scenes. IEEE TPAMI 2019",
    download="""
Register at the homepage (qualified academic users), then download and unpack into one folder
  ECP_day_img_train.zip, ECP_day_img_val.zip, ECP_day_img_test.zip             images by day
  ECP_night_img_train.zip, ECP_night_img_val.zip, ECP_night_img_test.zip       images by night
  ECP_day_labels_train.zip, ECP_day_labels_val.zip                             labels by day
  ECP_night_labels_train.zip, ECP_night_labels_val.zip                         labels by night
Any of them may be absent; without labels the images alone are imported.
""",
    tree="""
ECP/day/img/train/amsterdam/amsterdam_00000.png
ECP/day/labels/train/amsterdam/amsterdam_00000.json
ECP/night/img/test/ljubljana/ljubljana_00001.png
""",
    splits=("day/train", "day/val", "day/test", "night/train", "night/val", "night/test"),
    published=Counts(images=47_335, note="40,217 by day and 7,118 by night; train, val, test: 60, 10, 30 % of each"),
)

FRAME_SIZE = (1920, 1024)
_IMAGES, _LABELS = "img", "labels"
_UNLABELLED = "test"
_NAME = re.compile(r".+_[0-9]{5}")
_FROM_SEARCHAD = re.compile(r"(?:.*/)?(day|night)/img/(train|val|test)/(?:[^/]+/)?([^/]+_[0-9]{5})\.png")


class _File(NamedTuple):
    """One file of an image: its path below the root, and what forbids reading it."""

    path: str
    error: SourceError | None


class _Item(NamedTuple):
    """What the parser of an image needs beyond its files' names."""

    expected: str  # path that the image has, or should have
    unlabelled: bool  # it has no label file, though its split has labels
    error: SourceError | None  # what forbids reading one of its files


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from its path below SearchAD's folder ``ECP``; None if it is none of ECP's."""
    match = _FROM_SEARCHAD.fullmatch(path)
    return f"ecp/{match[1]}/{match[2]}/{match[3]}" if match else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per image that an image or label file names, in the splits whose images are there.

    Raises:
        SourceError: ``root`` is no ECP tree.
    """
    tops = _tops(root)
    items = [item for split in _splits(root, tops, splits) for item in _scan_split(root, tops, split)]
    return sorted(items, key=lambda item: item.id)


def _tops(root: Path) -> list[str]:
    """Where ``day`` and ``night`` lie below the root: at ``ECP/``, in the root itself, or once per archive."""
    folders = list_folders(root, "") if root.is_dir() else []
    tops = ["", *(f"{folder}/" for folder in folders), *(f"{folder}/ECP/" for folder in folders)]
    kinds = [_folder("", split, kind) for split in SOURCE.splits for kind in (_IMAGES, _LABELS)]
    return [top for top in tops if any((root / top / kind).is_dir() for kind in kinds)]


def _folder(top: str, split: str, kind: str) -> str:
    time, _, name = split.partition("/")
    return f"{top}{time}/{kind}/{name}"


def _splits(root: Path, tops: Sequence[str], splits: Sequence[str]) -> list[str]:
    folders = {split: [_folder(top, split, _IMAGES) for top in tops or ["ECP/", ""]] for split in SOURCE.splits}
    return chosen_splits(root, "ecp", SOURCE, folders, splits)


def _has_labels(root: Path, tops: Sequence[str], split: str) -> bool:
    """Whether labels of ``split`` are here; what lies at those of test can only be somebody's results."""
    return not split.endswith(_UNLABELLED) and any((root / _folder(top, split, _LABELS)).is_dir() for top in tops)


def _scan_split(root: Path, tops: Sequence[str], split: str) -> Iterator[Item]:
    labelled = _has_labels(root, tops, split)
    pictures = _find(root, tops, split, _IMAGES, ".png")
    texts = _find(root, tops, split, _LABELS, ".json") if labelled else {}
    for key in {**pictures, **texts}:
        images, labels = pictures.get(key, []), texts.get(key, [])
        first = (images or labels)[0]
        error = next((file.error for file in images + labels if file.error), None)
        for one, *others in filter(None, (images, labels)):
            if others and error is None:
                error = SourceError(root / others[0].path, f"is the same frame as {one.path}", "expected it once")
        if error is None and not _NAME.fullmatch(key):
            expected = "expected a name like amsterdam_00000"
            error = SourceError(root / first.path, "file name is not city_number", expected)
        picture = first.path if images else first.path.replace(f"/{_LABELS}/", f"/{_IMAGES}/")
        picture = f"{picture.rpartition('.')[0]}.png"
        yield Item(
            id=f"ecp/{split}/{shown(key)}",
            root=root,
            split=split,
            image=picture if images else None,
            label=labels[0].path if labels else None,
            data=_Item(picture, labelled and not labels, error),
        )


def _find(root: Path, tops: Sequence[str], split: str, kind: str, ending: str) -> dict[str, list[_File]]:
    """The files of a split by image name; more than one of a name is an error of that image."""
    found: dict[str, list[_File]] = {}
    for folder in (_folder(top, split, kind) for top in tops):
        for name, error in sorted(find_files(root, folder, ending).items()):
            key = name.rpartition("/")[2].removesuffix(ending)
            found.setdefault(key, []).append(_File(f"{folder}/{name}", error))
    return found


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and what is left out."""
    for label in labels().values():
        yield Category(name=label.name, role="ignore" if label.ignore else "benchmark", definition=label.role)
    tops = _tops(root)
    chosen = _splits(root, tops, splits)
    for split in chosen:
        if not _has_labels(root, tops, split):
            yield Coverage(scope=f"ecp/{split}", category="*", state="none")
            continue
        for label in labels().values():
            if label.coverage:
                yield Coverage(scope=f"ecp/{split}", category=label.name, state=label.coverage)
    for split in SOURCE.splits:
        if split not in chosen and not splits and _has_labels(root, tops, split):
            yield finding("N03", _folder("", split, _LABELS), "labels are there, the images are not; left out")
        for folder in (_folder(top, split, _LABELS) for top in tops):
            if split in chosen and split.endswith(_UNLABELLED) and (root / folder).is_dir():
                yield finding("N05", folder, "is not part of ECP, whose labels of test are secret; not read")


def parse(item: Item) -> Parsed:
    """One image with the objects of its label file.

    Raises:
        SourceError: a file is unreadable or malformed, a field is missing or no finite number, corners are flipped, the
            file holds a detector's results, or was made for an image of another size.
    """
    known: _Item = item.data
    if known.error:
        raise known.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    tags: list[str] | None = None
    others: list[Record] = []
    if item.label:
        path = item.root / item.label
        frame, place = read_frame(path)
        size = agreed_size(path, (frame.imagewidth, frame.imageheight), size)
        tags = frame.tags
        rows, noticed = objects(frame.children, item, f"{place}children")
        others += noticed
    others += _missing(item, size)
    time, _, _ = str(item.split).partition("/")
    image = Image(
        id=item.id,
        source="ecp",
        source_split=item.split,
        file_name=known.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        place=known.expected.rpartition("/")[2].rpartition("_")[0],
        licence=SOURCE.licence,
        time_of_day=time,
        attributes={"ecp": {"tags": tags}} if tags is not None else None,
    )
    return Parsed(image, rows, others)


def _missing(item: Item, size: Size | None) -> Iterator[Record]:
    """What an image lacks though its split has it, its coverage then, and a size that is not ECP's."""
    known: _Item = item.data
    if not item.image:
        yield finding("I01", known.expected, f"no such file, but {item.label} labels it", item=item.id)
    if known.unlabelled:
        message = "image has no label file; whether it shows any object is unknown"
        yield finding("F01", known.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")
    if size and size != FRAME_SIZE:
        message = f"is {size[0]} x {size[1]} px; all images of ECP are {FRAME_SIZE[0]} x {FRAME_SIZE[1]}"
        yield finding("N05", known.expected, message, item=item.id)
