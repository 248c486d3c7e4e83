"""The files of a BDD100K download: pictures and labels of the 100K set, and of the tracking set beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from curate.errors import SourceError
from curate.model import Finding, Item, finding
from curate.sources._files import find_files, list_files, shown
from curate.sources._scalabel import Span, frame_spans

SPLITS = ("train", "val", "test")
TRACK = "track/"
# Where the archives may have been unpacked.
BASES = ("", "bdd100k/", "bdd100k_images_100k/", "bdd100k_images_100k/bdd100k/", "bdd100k_labels_release/bdd100k/")
DET_20, RELEASE_2018, BEFORE, TRACKING = "det_20", "2018", "before 2018-08-28", "box_track_20"
# The files with the labels of a split, best first.
_FILES = {DET_20: "labels/det_20/det_{}.json", RELEASE_2018: "labels/bdd100k_labels_images_{}.json"}
_FOLDERS = {BEFORE: "labels/100k/{}", TRACKING: "labels/box_track_20/{}"}
_SECRET = "test"
_PICTURE = ".jpg"
_NAME = re.compile(r"[0-9A-Za-z_-]+")


class Entry(NamedTuple):
    """What labels a frame: the generation of the labels, the file, and the place in it if it holds many."""

    generation: str
    file: str
    name: str  # as the file has it
    span: Span | None = None
    again: str | None = None  # where the same frame stands again in the same generation
    error: SourceError | None = None


class Frame(NamedTuple):
    """What the parser of an image needs beyond its picture."""

    expected: str  # path that the picture has, or should have
    video: str
    entry: Entry | None
    best: str | None  # generation of labels that its split has
    error: SourceError | None  # what forbids reading one of its files


class _Picture(NamedTuple):
    path: str
    error: SourceError | None


def picture_folders(split: str) -> list[str]:
    """Folders that may hold the pictures of a split, relative to the root."""
    kind = "" if split.startswith(TRACK) else "100k/"
    return [f"{base}images/{kind}{split}" for base in BASES]


def label_places(root: Path, split: str) -> dict[str, list[str]]:
    """The files and folders that label a split, by generation, best first; test has none."""
    name = split.removeprefix(TRACK)
    if name == _SECRET:
        return {}
    return _places(root, split, name)


def _places(root: Path, split: str, name: str) -> dict[str, list[str]]:
    kinds = [TRACKING] if split.startswith(TRACK) else [DET_20, RELEASE_2018, BEFORE]
    found = {}
    for kind in kinds:
        paths = [base + (_FILES | _FOLDERS)[kind].format(name) for base in BASES]
        present = [path for path in paths if (root / path).exists()]
        if present:
            found[kind] = present
    return found


def forged(root: Path, split: str) -> list[str]:
    """What claims to label the test split, whose labels are secret."""
    if split.removeprefix(TRACK) != _SECRET:
        return []
    return [path for paths in _places(root, split, _SECRET).values() for path in paths]


def scan_split(root: Path, split: str) -> Iterator[Item]:
    """One item per picture of the split, and per entry of its labels whose picture is missing.

    Raises:
        SourceError: a file of labels cannot be read, is no JSON of its kind, leaves the root or is there twice.
    """
    pictures = _pictures(root, split)
    places = label_places(root, split)
    entries: dict[str, Entry] = {}
    for kind, paths in places.items():
        for other in paths[1:]:
            raise SourceError(root / other, f"is there beside {paths[0]}", "expected one of them", "remove one")
        for key, entry in _entries(root, kind, paths[0]):
            held = entries.setdefault(key, entry)
            if held is not entry and held.generation == kind:
                entries[key] = held._replace(again=f"{entry.file}{_comma(entry)}")
    best = next(iter(places), None)
    folder = next((name for name in picture_folders(split) if (root / name).is_dir()), picture_folders(split)[1])
    for key in sorted({*pictures, *entries}):
        yield _item(root, split, folder, key, pictures.get(key, []), entries.get(key), best)


def _item(
    root: Path, split: str, folder: str, key: str, pictures: list[_Picture], entry: Entry | None, best: str | None
) -> Item:
    error = next((picture.error for picture in pictures if picture.error), None) or (entry.error if entry else None)
    if len(pictures) > 1 and error is None:
        error = SourceError(root / pictures[1].path, f"is the same image as {pictures[0].path}", "expected it once")
    if error is None and not _NAME.fullmatch(key):
        error = _no_key(root, key, pictures, entry)
    tracking = split.startswith(TRACK)
    video = key.rpartition("-")[0] if tracking else key
    inner = f"{folder}/{shown(video)}" if tracking else folder
    expected = pictures[0].path if pictures else f"{inner}/{shown(key)}{_PICTURE}"
    return Item(
        id=f"bdd100k/{shown(key)}",
        root=root,
        split=split,
        image=expected if pictures else None,
        label=entry.file if entry else None,
        data=Frame(expected, video, entry, best, error),
    )


def _no_key(root: Path, key: str, pictures: list[_Picture], entry: Entry | None) -> SourceError:
    if pictures:
        return SourceError(root / pictures[0].path, "file name is no key", "expected a name like 0000f77c-6257be58.jpg")
    where = f"{root / entry.file}{_comma(entry)}" if entry else root
    return SourceError(where, f"name is {key!r}", "expected a file name like 0000f77c-6257be58.jpg")


def _comma(entry: Entry) -> str:
    return f", {entry.span.place}" if entry.span else ""


def _pictures(root: Path, split: str) -> dict[str, list[_Picture]]:
    """Pictures by key: the stem, with the video before it if it is not there already."""
    found: dict[str, list[_Picture]] = {}
    for folder in picture_folders(split):
        if split.startswith(TRACK):
            listing = find_files(root, folder, _PICTURE)
        else:
            listing = list_files(root, folder, _PICTURE)
        for name, error in sorted(listing.items()):
            path = PurePosixPath(name)
            key = _key(path.name, path.parent.name)
            found.setdefault(key, []).append(_Picture(f"{folder}/{name}", error))
    return found


def _key(name: str, video: str) -> str:
    """The key of a frame, from its file's name (which may be a whole address) and its video, or an empty string."""
    stem = name.rpartition("/")[2].removesuffix(_PICTURE)
    return stem if stem.startswith(video) else f"{video}-{stem}"


def _entries(root: Path, kind: str, path: str) -> Iterator[tuple[str, Entry]]:
    """The frames that a file or folder labels, by key."""
    if kind in _FILES:
        folder, _, name = path.rpartition("/")
        error = list_files(root, folder, ".json").get(name)
        if error:
            raise error
        yield from _frames(root, kind, path, "")
        return
    for name, error in sorted(list_files(root, path, ".json").items()):
        file, stem = f"{path}/{name}", name.removesuffix(".json")
        if kind == BEFORE or error:
            yield stem, Entry(kind, file, stem, error=error)
        else:
            yield from _frames(root, kind, file, stem)


def _frames(root: Path, kind: str, file: str, video: str) -> Iterator[tuple[str, Entry]]:
    for name, span, error in frame_spans(root, file):
        if name is None:
            yield f"{shown(file)}{span.place}", Entry(kind, file, "", span, error=error)
        else:
            yield _key(name, video), Entry(kind, file, name, span)


def left_out(root: Path, chosen: list[str]) -> Iterator[Finding]:
    """Splits whose labels are there and whose pictures are not."""
    for split in (*SPLITS, *(f"{TRACK}{name}" for name in SPLITS)):
        places = label_places(root, split)
        if places and split not in chosen:
            first = next(iter(places.values()))[0]
            message = f"labels of split {split} are there, its images are not; left out"
            yield finding("N03", first, message, hint=f"import them with --split {split}")
