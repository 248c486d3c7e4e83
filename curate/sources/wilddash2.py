"""WildDash 2: difficult street scenes from all over the world, with panoptic labels; and its benchmark without labels.

The two downloads are its splits here: ``public`` (``wd_public_v2p0``, SearchAD: ``wd_publicv2p0``) and ``both``
(``wd_both_02``, SearchAD: ``wd_both02``), whose labels are withheld. Pictures are looked for at any depth; a key is the
path below the folder, without ``images/`` and the ending: ``wilddash2/public/aa0001_100000``.

* ``public/panoptic.json`` is COCO panoptic (``_panoptic.py``): segments with mask and box of what is visible. Imported
  are those of thing classes; with the option ``stuff=yes`` all. A group that was not separated is ``iscrowd``.
* Two lists of classes are about, one of 39 and one of 81 labels, with other names and other things; ids 0 to 38 mean
  the same. Names and things are those of the file itself; the table here, with both lists, is for what it lacks.
* The ego vehicle is a thing, in many frames. It is kept as an ignore region, not as a vehicle.
* ``attributes.wilddash2.ignore_in_eval``: the class is not evaluated, by the list of 39.
* An image that the file lists without annotation, or does not list, is unlabelled and not empty.
* Sizes differ. Indoor, turned or other odd pictures are test cases on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from curate.errors import SourceError, UsageError
from curate.model import (
    Annotation,
    Category,
    CategoryRole,
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
from curate.sources import label_table
from curate.sources._files import Size, agreed_size, chosen_splits, find_files, shown

SOURCE = Source(
    title="WildDash 2",
    homepage="https://wilddash.cc",
    licence="WildDash terms: non-commercial, only to improve machine learning for traffic safety",
    citation="Zendel, Schörghuber, Rainer, Murschitz, Beleznai: Unifying panoptic segmentation for autonomous driving. "
    "CVPR 2022",
    download="""
Make an account at the homepage (an address at an institution is asked for), then download and unpack into one folder
  wd_public_v2p0.zip     4,256 images with panoptic labels
  wd_both_02.zip         812 images of the benchmark, without labels
Either may be absent. SearchAD's folders, wd_publicv2p0 and wd_both02, are read as well.
Option: stuff=yes imports the segments of stuff classes (road, sky, tunnel) too.
""",
    tree="""
wd_public_v2p0/images/<stem>.jpg
wd_public_v2p0/panoptic/<stem>.png
wd_public_v2p0/panoptic.json
wd_both_02/<stem>.jpg
""",
    splits=("public", "both"),
    published=Counts(images=5_068, note="4,256 public, 812 without labels"),
)
OPTIONS = {"stuff": "yes imports the segments of stuff classes (road, sky, tunnel) too"}

_FOLDERS = {"public": ("wd_public_v2p0", "wd_publicv2p0"), "both": ("wd_both_02", "wd_both02")}
_ENDINGS = (".jpg", ".jpeg")
_IMAGES, _FILE, _MASKS = "images/", "panoptic.json", "panoptic"
_EGO_VEHICLE = "1"


class _Label(NamedTuple):
    """A class: of the user's file, or of the table."""

    name: str
    supercategory: str | None
    thing: bool
    evaluated: bool | None = None  # None where that is not known
    ego: bool = False


class _Frame(NamedTuple):
    """What the parser of an image needs beyond its files' names."""

    expected: str  # path that the image has, or should have
    entry: panoptic.Entry | None  # what panoptic.json says of it
    labels: Mapping[int, _Label]
    labelled: bool  # its split has labels
    stuff: bool  # take the segments of stuff too
    error: SourceError | None  # what forbids reading one of its files


class _Folder(NamedTuple):
    """A folder of a split, relative to the root, and its ``panoptic.json`` if it has one that is read."""

    split: str
    path: str
    file: panoptic.PanopticFile | None


class _Picture(NamedTuple):
    path: str
    error: SourceError | None


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from SearchAD's path; None if it is none of WildDash's.

    Unlike with other sources the path begins with SearchAD's folder, which says whether the image is of ``public`` or
    ``both``.
    """
    folder, _, below = path.partition("/")
    split = next((split for split, names in _FOLDERS.items() if folder in names), None)
    key = _key(below)
    return f"wilddash2/{split}/{key}" if split and key else None


def _key(below: str) -> str | None:
    """The key of a picture by its path below the folder of its split; None if it is no picture's."""
    path = PurePosixPath(below.removeprefix(_IMAGES))
    return str(path.with_suffix("")) if path.suffix in _ENDINGS and ".." not in path.parts else None


def survey(root: Path, splits: tuple[str, ...], *, stuff: bool | str = False) -> list[_Folder]:
    """The folders of the splits with their ``panoptic.json``.

    Raises:
        SourceError: ``root`` is no WildDash tree, or ``panoptic.json`` is malformed.
        UsageError: ``stuff`` is neither yes nor no.
    """
    _is_yes(stuff)
    return [
        _Folder(split, folder, _read_file(root, split, folder))
        for split in _splits(root, splits)
        for folder in _FOLDERS[split]
        if (root / folder).is_dir()
    ]


def scan(
    root: Path, splits: tuple[str, ...], held: Sequence[_Folder] | None = None, *, stuff: bool | str = False
) -> list[Item]:
    """One item per picture, and per image that ``panoptic.json`` names.

    Raises:
        SourceError, UsageError: as :func:`survey`.
    """
    folders = held or survey(root, splits, stuff=stuff)
    items = [item for folder in folders for item in _scan_folder(root, folder, _is_yes(stuff))]
    return sorted(items, key=lambda item: item.id)


def _is_yes(stuff: bool | str) -> bool:
    words = {"yes": True, "true": True, "no": False, "false": False}
    answer = words.get(str(stuff).lower())
    if answer is None:
        raise UsageError("option stuff", f"is {stuff!r}", "expected yes or no")
    return answer


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    return chosen_splits(root, "wilddash2", SOURCE, _FOLDERS, splits)


def _scan_folder(root: Path, at: _Folder, stuff: bool) -> Iterator[Item]:
    split, folder, file = at
    pictures: dict[str, list[_Picture]] = {}
    for name, error in find_files(root, folder, _ENDINGS).items():
        pictures.setdefault(str(_key(name)), []).append(_Picture(f"{folder}/{name}", error))
    entries = _by_key(root, file) if file else {}
    labels = _labels(file) if file else {}
    masks = find_files(root, f"{folder}/{_MASKS}", ".png") if file else {}
    for key in {**pictures, **entries}:
        found, entry = pictures.get(key, []), entries.get(key)
        mask = entry.png if entry and entry.png in masks else None
        error = next((picture.error for picture in found if picture.error), None)
        error = error or (entry.error if entry else None) or (masks[mask] if mask else None)
        if error is None and len(found) > 1:
            error = SourceError(root / found[1].path, f"is the same image as {found[0].path}", "expected it once")
        expected = found[0].path if found else f"{folder}/{_IMAGES}{entry.name if entry else key}"
        yield Item(
            id=f"wilddash2/{split}/{shown(key)}",
            root=root,
            split=split,
            image=expected if found else None,
            label=f"{folder}/{_MASKS}/{mask}" if mask else None,
            data=_Frame(expected, entry, labels, file is not None, stuff, error),
        )


def _by_key(root: Path, file: panoptic.PanopticFile) -> dict[str, panoptic.Entry]:
    entries: dict[str, panoptic.Entry] = {}
    for name, entry in file.entries.items():
        key = _key(name) or name
        twin = entries.setdefault(key, entry)
        if twin is not entry:
            error = SourceError(root / entry.file, f"names {twin.name} and {name}", "expected each image once")
            entries[key] = twin._replace(error=error)
    return entries


def _read_file(root: Path, split: str, folder: str) -> panoptic.PanopticFile | None:
    file = f"{folder}/{_FILE}"
    return panoptic.read_panoptic(root, file) if split == "public" and (root / file).is_file() else None


def records(
    root: Path, splits: tuple[str, ...], held: Sequence[_Folder] | None = None, *, stuff: bool | str = False
) -> Iterator[Record]:
    """The classes, what is covered in each split, and annotations of no image."""
    take_stuff = _is_yes(stuff)
    declared: dict[str, _Label] = {}
    folders = held or survey(root, splits, stuff=stuff)
    for split in dict.fromkeys(folder.split for folder in folders):
        files = [folder.file for folder in folders if folder.split == split and folder.file]
        for file in files:
            declared |= {label.name: label for label in _declared(file)}
            yield from file.findings
        if not files:
            yield Coverage(scope=f"wilddash2/{split}", category="*", state="none" if split == "public" else "withheld")
        for label in declared.values() if files else ():
            if label.thing or take_stuff:
                yield Coverage(scope=f"wilddash2/{split}", category=label.name, state="exhaustive")
    for label in declared.values() or _short_list():
        role: CategoryRole = "ignore" if label.ego else "benchmark" if label.thing else "other"
        yield Category(name=label.name, supercategory=label.supercategory, role=role)


def parse(item: Item) -> Parsed:
    """One image with its segments.

    Raises:
        SourceError: a file is unreadable, a segment is malformed, or picture, mask and file differ in size.
    """
    frame: _Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    rows: list[Annotation] = []
    noticed: list[Record] = []
    if frame.entry:
        size, rows, said = _segments(item, frame, frame.entry, size)
        noticed += said
    image = Image(
        id=item.id,
        source="wilddash2",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        licence=SOURCE.licence,
    )
    return Parsed(image, rows, [*noticed, *_missing(item, frame)])


def _segments(
    item: Item, frame: _Frame, entry: panoptic.Entry, size: Size | None
) -> tuple[Size | None, list[Annotation], list[Finding]]:
    """The size of an image, the annotations of its segments, and what is odd about them."""
    if entry.segments is None:
        return agreed_size(item.root / entry.file, entry.size, size) if entry.size else size, [], []

    def label_of(segment: panoptic.Segment) -> _Label:
        return frame.labels.get(segment.category_id) or _Label(str(segment.category_id), None, True)

    size, regions, noticed = panoptic.read_regions(
        item.root, item.label, entry, size, item.id, lambda segment: frame.stuff or label_of(segment).thing
    )
    rows = []
    for region in regions:
        label = label_of(region.segment)
        facts = {} if label.evaluated is None else {"ignore_in_eval": not label.evaluated}
        rows.append(panoptic.region_annotation(item.id, "wilddash2", region, label.name, ignore=label.ego, facts=facts))
    return size, rows, noticed


def _missing(item: Item, frame: _Frame) -> Iterator[Record]:
    """What an image lacks."""
    entry = frame.entry
    if not item.image:
        yield finding("I01", frame.expected, f"no such file, but {_FILE} names it", item=item.id)
    if frame.labelled and (entry is None or entry.segments is None):
        if entry:
            message = f"{_FILE} has no annotation of the image; what it shows is unknown"
            yield finding("N05", frame.expected, message, item=item.id)
        else:
            message = f"{_FILE} does not name the image; what it shows is unknown"
            yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")


@cache
def _table() -> tuple[dict[int, _Label], dict[str, _Label]]:
    """The classes by id, those of the list of 39 under its names; and by the names of both lists."""
    by_id, by_name = {}, {}
    for row in label_table("wilddash2"):
        ego = row["id"] == _EGO_VEHICLE
        for which in ("policy", "v2"):  # the second replaces the first where it has the id
            if name := row[f"{which}_name"]:
                evaluated = row["v2_evaluate"] == "1" if row["v2_name"] else None
                label = _Label(name, row["supercategory"], row[f"{which}_isthing"] == "1", evaluated, ego)
                by_id[int(row["id"])] = by_name[name] = label
    return by_id, by_name


def _short_list() -> list[_Label]:
    """The list of 39."""
    return [label for label in _table()[0].values() if label.evaluated is not None]


def _labels(file: panoptic.PanopticFile) -> dict[int, _Label]:
    """The classes of a file by id; what it leaves open is taken from the table."""
    by_id, by_name = _table()
    labels = dict(by_id)
    for found in file.labels.values():
        known = by_name.get(found.name) or _Label(found.name, None, True)
        labels[found.id] = known._replace(
            supercategory=found.supercategory or known.supercategory,
            thing=known.thing if found.isthing is None else bool(found.isthing),
        )
    return labels


def _declared(file: panoptic.PanopticFile) -> list[_Label]:
    """The classes that a file lists and one of the lists knows; the list of 39 if it lists none."""
    if not file.labels:
        return _short_list()
    labels, (_, by_name) = _labels(file), _table()
    return [label for number in file.labels if (label := labels[number]).name in by_name]
