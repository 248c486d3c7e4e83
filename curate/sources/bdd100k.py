"""BDD100K: pictures from dashboard cameras, the tenth second of 100,000 videos, and 30 frames a second of some of them.

Splits ``train``, ``val``, ``test`` are the 100K set; ``track/train``, ... the tracking set (``images/track``). A key
is the file's name, which begins with the video's: ``bdd100k/0000f77c-6257be58`` and
``bdd100k/b1c66a42-6f7d68ca-0000001``; ``sequence`` is the video, so that both sets stay together in a split.
``images/10k`` is another set and not read.

* Labels of a frame come from Detection 2020 (``det_20``) if that names it, else from the release of 2018, else from the
  form before 28 August 2018 (one file per image). Which one is in ``attributes.bdd100k.generation``. Tracking: from
  ``box_track_20``; ``instance`` is the track, ``bdd100k/<video>/<id>``.
* Box: x2 and y2 are inclusive, ``w = x2 - x1 + 1``, ``h = y2 - y1 + 1``, as the official text and programs have it
  (most other readers take x2 - x1). Values reach 1279.996, so a box may leave the frame by almost a pixel; not clipped.
* Classes have their names of 2020: person, bike and motor are ``pedestrian``, ``bicycle`` and ``motorcycle``;
  ``source_label`` is the name as found. ``other person``, ``other vehicle`` and ``trailer`` are ignored.
* 2018 alone has drivable areas (``poly2d``, closed: polygons, Bezier curves flattened, the mask clipped to the frame,
  its box ``max + 1 - min``) and lanes (open curves: the box around them, no mask). Both are no benchmark classes; the
  vertices are kept as found.
* Attributes of a label are compared without case (``Occluded``); ``crowd`` and ``ignored`` become ``iscrowd`` and
  ``ignore``, the rest is kept as found (``trafficLightColor`` is red, R, green, G, none, NA, ...).
* A frame without labels may have null, an empty list or no key ``labels``; it is labelled. A picture that no file
  names is not: 137 of train, whose labels were lost. Test has no labels. Traffic lights are known to be labelled in
  part in the 2018 labels of train.
* Labels without pictures are left out, unless their split is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from curate.errors import SourceError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    CoverageState,
    Image,
    Item,
    Parsed,
    Record,
    Source,
    finding,
)
from curate.pictures import Header, read_header
from curate.sources import _bdd100k_tree as tree
from curate.sources._bdd100k_objects import classes, rows
from curate.sources._files import Size, chosen_splits
from curate.sources._scalabel import Frame, read_frame, read_old_frame

SOURCE = Source(
    title="BDD100K (100K images and tracking)",
    homepage="https://www.vis.xyz/bdd100k/",
    licence="BDD100K licence: education, research and not-for-profit use, with notice (UC Regents)",
    citation="Yu, Chen, Wang, Xian, Chen, Liu, Madhavan, Darrell: BDD100K: A diverse driving dataset for heterogeneous "
    "multitask learning. CVPR 2020",
    download="""
Register at http://bdd-data.berkeley.edu, then download and unpack into one folder
  100K Images (5.3 GB)
  Detection 2020 Labels (53 MB)             recommended
  Labels (107 MB)                           the release of 2018, the only one with lanes and drivable areas
  MOT 2020 Images and MOT 2020 Labels       tracking
The labels may be absent, and so may each set. SearchAD needs the 100K images alone.
""",
    tree="""
bdd100k/images/100k/{train,val,test}/0000f77c-6257be58.jpg
bdd100k/labels/det_20/det_{train,val}.json
bdd100k/labels/bdd100k_labels_images_{train,val}.json
bdd100k/images/track/{train,val,test}/b1c66a42-6f7d68ca/b1c66a42-6f7d68ca-0000001.jpg
bdd100k/labels/box_track_20/{train,val}/b1c66a42-6f7d68ca.json
""",
    splits=(*tree.SPLITS, *(f"{tree.TRACK}{name}" for name in tree.SPLITS)),
    published=Counts(
        images=100_000,
        note="70,000 train, 10,000 val and 20,000 test; 69,863 of train have labels, with 1,286,871 boxes in the "
        "release of 2018",
    ),
)

SIZE: Size = (1280, 720)  # of every picture
_LIGHT = "traffic light"
_UNTRACKED = {_LIGHT, "traffic sign"}
_UNKNOWN = "undefined"
_FROM_SEARCHAD = re.compile(r"(?:[^/]+/)*images/100k/(?:train|val|test)/([0-9A-Za-z_-]+)\.jpg")


def key_from_searchad(path: str) -> str | None:
    """The image id of a path below SearchAD's folder ``bdd100k_images_100k``, or None if it is no such path."""
    match = _FROM_SEARCHAD.fullmatch(path)
    return f"bdd100k/{match[1]}" if match else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per picture, and per labelled frame whose picture is missing.

    Raises:
        SourceError: ``root`` is no tree of BDD100K, a split that was asked for is not there, or a file of labels is
            broken as a whole.
    """
    items: dict[str, Item] = {}
    for split in _splits(root, splits):
        for item in tree.scan_split(root, split):
            other = items.get(item.id)
            if other:
                error = SourceError(
                    root / item.data.expected, f"has the name of {other.data.expected}", "expected each image once"
                )
                item = other._replace(data=other.data._replace(error=error))
            items[item.id] = item
    return [items[key] for key in sorted(items)]


def _splits(root: Path, splits: tuple[str, ...]) -> list[str]:
    """The splits with pictures; of those that were asked for, also those with labels alone."""
    folders = {split: tree.picture_folders(split) for split in SOURCE.splits}
    for split in splits:
        paths = [path for paths in tree.label_places(root, split).values() for path in paths]
        folders[split] += [str(PurePosixPath(path).parent) for path in paths]
    return sorted(chosen_splits(root, "bdd100k", SOURCE, folders, splits))


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and what was left out."""
    for known in classes().values():
        yield Category(name=known.name, supercategory=known.group, role=known.role)
    chosen = _splits(root, splits)
    for split in chosen:
        best = next(iter(tree.label_places(root, split)), None)
        states = _states(split, best)
        if not states:
            yield Coverage(scope=f"bdd100k/{split}", category="*", state="none")
        for name, state in states.items():
            yield Coverage(scope=f"bdd100k/{split}", category=name, state=state)
        for path in tree.forged(root, split):
            yield finding("N05", path, "is not part of BDD100K, whose labels of test are secret; not read")
    if not splits:
        yield from tree.left_out(root, chosen)


def _states(split: str, generation: str | None) -> dict[str, CoverageState]:
    """How far labels of a generation cover each class of the benchmark."""
    if generation is None:
        return {}
    names = [known.name for known in classes().values() if known.role == "benchmark"]
    states: dict[str, CoverageState] = dict.fromkeys(names, "exhaustive")
    if generation == tree.TRACKING:
        return {name: state for name, state in states.items() if name not in _UNTRACKED}
    if split == "train" and generation != tree.DET_20:
        states[_LIGHT] = "partial"
    return states


def parse(item: Item) -> Parsed:
    """One image with its labels.

    Raises:
        SourceError: the picture or the labels are unreadable or malformed, or a box has flipped corners.
    """
    frame: tree.Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else SIZE
    others = [*_missing(item), *_other_size(item, header)]
    found: list[Annotation] = []
    content: Frame | None = None
    if frame.entry:
        content = _read(item.root, frame.entry)
        where = f"{frame.entry.file}, {_place(frame.entry)}"
        video = frame.video if frame.entry.generation == tree.TRACKING else None
        found, noticed = rows(content.labels or [], item.id, size, item.root, where, video)
        others += noticed
    weather, time_of_day = _conditions(content)
    image = Image(
        id=item.id,
        source="bdd100k",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0],
        height=size[1],
        orientation=header.orientation if header else None,
        sequence=frame.video,
        licence=SOURCE.licence,
        weather=weather,
        time_of_day=time_of_day,
        attributes={"bdd100k": _facts(frame.entry, content)} if frame.entry and content else None,
    )
    return Parsed(image, found, others)


def _read(root: Path, entry: tree.Entry) -> Frame:
    return read_frame(root, entry.span) if entry.span else read_old_frame(root / entry.file)


def _place(entry: tree.Entry) -> str:
    return f"{entry.span.place}.labels" if entry.span else "frames[0].objects"


def _conditions(content: Frame | None) -> tuple[str | None, str | None]:
    """Weather and time of day; null where they are ``undefined``."""
    found = {key.lower(): value for key, value in (content.attributes or {}).items()} if content else {}
    values = [found.get(key) for key in ("weather", "timeofday")]
    weather, time = (value if isinstance(value, str) and value != _UNKNOWN else None for value in values)
    return weather, time


def _facts(entry: tree.Entry, content: Frame) -> dict[str, Any]:
    """What the labels say of a frame beyond the columns, as found."""
    facts: dict[str, Any] = {"generation": entry.generation}
    for name, value in (
        ("name", content.name if "/" in content.name else None),  # an address
        ("attributes", content.attributes),
        ("timestamp", content.timestamp),
        ("videoName", content.video_name),
        ("frameIndex", content.frame_index),
        ("url", content.url),
    ):
        if value is not None:
            facts[name] = value
    return facts


def _missing(item: Item) -> list[Record]:
    """What an image lacks, and its coverage where that is not its split's."""
    frame: tree.Frame = item.data
    entry = frame.entry
    found: list[Record] = []
    if not item.image:
        found.append(finding("I01", frame.expected, f"no such file, but {item.label} labels it", item=item.id))
    if entry is None and frame.best:
        message = "no file of labels names this image; whether it shows any object is unknown"
        found.append(finding("F01", frame.expected, message, item=item.id, severity="warning"))
        found.append(Coverage(scope=item.id, category="*", state="none"))
    if item.split == "train" and frame.best == tree.DET_20 and entry and entry.generation != tree.DET_20:
        found.append(Coverage(scope=item.id, category=_LIGHT, state="partial"))
    if entry and entry.again:
        message = f"frame stands again in {entry.again}; the first is taken"
        found.append(finding("N02", entry.file, message, item=item.id))
    return found


def _other_size(item: Item, header: Header | None) -> Iterator[Record]:
    if header and (header.width, header.height) != SIZE:
        message = f"picture is {header.width} x {header.height}, those of BDD100K are {SIZE[0]} x {SIZE[1]}"
        hint = "boxes are kept as found, for the size that they were drawn at"
        yield finding("I02", item.data.expected, message, item=item.id, hint=hint, severity="warning")
