"""The files of an MTSD download, wherever its archives were unpacked: lists of splits, annotations, pictures by key."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from curate.errors import SourceError
from curate.model import Finding, Item, finding
from curate.sources._files import find_files, list_files, list_folders, read_text, shown

# The two sets with the lists that each has, and the split that a list stands for.
SPLITS = {
    "fully_annotated": {"train": "train", "val": "val", "test": "test"},
    "partially_annotated": {"train": "partially_annotated/train"},
}
SEARCHAD = "mapillary_sign"
_ENDING = ".jpg"
_KEY = re.compile(r"[A-Za-z0-9_-]{22}")  # of every image
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # of what a list or an annotation names
_ARCHIVE = re.compile(r"mtsd_(fully|partially)_annotated_images\.(train|val|test)(\.[0-9]+)?")


class Listed(NamedTuple):
    """A line of a list: its split, its file and number, and where the key stands again."""

    split: str
    where: str
    again: str | None = None


class Frame(NamedTuple):
    """What the parser of an image needs beyond its image and annotation file."""

    expected: str  # path that the image has, or should have
    listed: Listed | None
    labelled: bool  # its split has annotations
    error: SourceError | None  # what forbids reading one of its files


class _File(NamedTuple):
    path: str
    error: SourceError | None
    part: str = ""  # the set, of an annotation


class Survey(NamedTuple):
    """All that was found below a root, whatever splits are asked for."""

    splits: dict[str, str | None]  # of each image, sorted by key
    lists: dict[str, Listed]
    labels: dict[str, list[_File]]  # by key; more than one is an error
    pictures: dict[str, list[_File]]
    labelled: frozenset[str]  # splits with annotations
    findings: list[Finding]


def places(root: Path) -> list[str]:
    """The folders below ``root`` that hold pictures or annotations of MTSD."""
    return [*_picture_folders(root), *(folder for part in SPLITS for folder in _label_folders(root, part))]


def usual_places() -> list[str]:
    """Folders that tell an MTSD tree apart from others."""
    named = [f"mtsd_v2_{part}" for part in SPLITS] + [f"mtsd_{part}_annotation" for part in SPLITS]
    return [*named, SEARCHAD, "mtsd_fully_annotated_images.train.0", "mtsd_fully_annotated_images.val"]


def _picture_folders(root: Path) -> list[str]:
    """Nothing else is searched: Mapillary Vistas, whose keys look alike, may lie beside."""
    if (root / SEARCHAD).is_dir():
        return [SEARCHAD]
    return [name for name in list_folders(root, "") if name == "images" or _ARCHIVE.fullmatch(name)]


def _label_folders(root: Path, part: str) -> list[str]:
    inner = f"mtsd_v2_{part}"
    possible = [
        f"{top}{folder}" for top in ("", f"{SEARCHAD}/") for folder in (inner, f"mtsd_{part}_annotation/{inner}")
    ]
    return [folder for folder in possible if (root / folder).is_dir()]


def survey(root: Path) -> Survey:
    """Every image that a picture, an annotation or a list names.

    Raises:
        SourceError: a list is no text, an annotation folder is there twice, no picture is there, or pictures and
            folders are those of another set.
    """
    findings: list[Finding] = []
    lists, labels = _lists_and_labels(root, findings)
    pictures = _pictures(root, {*lists, *labels}, findings)
    if not pictures:
        raise SourceError(
            root,
            "holds annotations, but no pictures",
            f"expected images/<key>{_ENDING}",
            "unpack the archives mtsd_..._images....zip there",
        )
    splits: dict[str, str | None] = {}
    absent: dict[str, list[str]] = {}
    for key in sorted({*lists, *labels, *pictures}):
        listed = lists.get(key)
        if listed and key not in labels and key not in pictures and _NAME.fullmatch(key):
            absent.setdefault(listed.where.rpartition(":")[0], []).append(key)
        else:
            splits[key] = listed.split if listed else _split_of_archive(pictures.get(key, ()))
    for file, keys in absent.items():
        message = f"{len(keys)} keys have neither picture nor annotation, as {keys[0]}; left out"
        findings.append(finding("N03", file, message))
    labelled = frozenset(lists[key].split for key in labels if key in lists)
    return Survey(splits, lists, labels, pictures, labelled, findings)


def _lists_and_labels(root: Path, findings: list[Finding]) -> tuple[dict[str, Listed], dict[str, list[_File]]]:
    lists: dict[str, Listed] = {}
    labels: dict[str, list[_File]] = {}
    for part, splits in SPLITS.items():
        folders = _label_folders(root, part)
        for other in folders[1:]:
            raise SourceError(root / other, f"is there beside {folders[0]}", "expected one of them", "remove one")
        for folder in folders:
            for name, split in splits.items():
                file = f"{folder}/splits/{name}.txt"
                if (root / file).exists():
                    _read_list(root, file, split, lists)
                else:
                    findings.append(finding("N03", file, "no such file; which images are of this split is unknown"))
            for name, error in list_files(root, f"{folder}/annotations", ".json").items():
                path = _File(f"{folder}/annotations/{name}", error, part)
                labels.setdefault(name.removesuffix(".json"), []).append(path)
    return lists, labels


def _read_list(root: Path, file: str, split: str, lists: dict[str, Listed]) -> None:
    for number, line in enumerate(read_text(root / file).split("\n"), 1):
        key, here = line.strip(), f"{file}:{number}"
        if key in lists:
            lists[key] = lists[key]._replace(again=here)
        elif key:
            lists[key] = Listed(split, here)


def _pictures(root: Path, known: set[str], findings: list[Finding]) -> dict[str, list[_File]]:
    """Pictures by key, whatever folder they lie in; others are left out and counted."""
    pictures: dict[str, list[_File]] = {}
    others: list[str] = []
    for folder in _picture_folders(root):
        for name, error in sorted(find_files(root, folder, _ENDING).items()):
            key = PurePosixPath(name).name.removesuffix(_ENDING)
            if key in known or _KEY.fullmatch(key) or error:
                pictures.setdefault(key, []).append(_File(f"{folder}/{name}", error))
            else:
                others.append(f"{folder}/{name}")
    if others and not pictures:
        found, expected = f"holds pictures like {shown(others[0])}", "expected names of 22 letters and digits"
        raise SourceError(root, found, expected, "is it another dataset? see 'curate sources mtsd'")
    if others:
        message = f"{len(others)} pictures whose names are no keys, as {shown(others[0])}; left out"
        findings.append(finding("N03", others[0].rpartition("/")[0], message))
    return pictures


def items(root: Path, found: Survey, splits: Container[str | None] | None) -> Iterator[Item]:
    """One item per image, sorted by key; of these splits only, or of all and none if ``splits`` is None."""
    for key, split in found.splits.items():
        if splits is None or split in splits:
            yield _item(root, key, split, found)


def _item(root: Path, key: str, split: str | None, found: Survey) -> Item:
    listed, labels, pictures = found.lists.get(key), found.labels.get(key, []), found.pictures.get(key, [])
    plain = _NAME.fullmatch(key)
    error: SourceError | None = None
    for files in (pictures, labels):
        if files and error is None:
            error = files[0].error
        if len(files) > 1 and error is None:
            error = SourceError(root / files[1].path, f"has the key of {files[0].path}", "expected each image once")
    if error is None and not plain:
        where = listed.where if listed else (pictures + labels)[0].path
        error = SourceError(root / where, f"key is {key!r}", "expected letters, digits, - and _")
    name = key if plain else shown(key)
    expected = pictures[0].path if pictures else f"images/{name}{_ENDING}"
    return Item(
        id=f"mtsd/{name}",
        root=root,
        split=split,
        image=expected if pictures else None,
        label=labels[0].path if labels else None,
        data=Frame(expected, listed, split in found.labelled, error),
    )


def _split_of_archive(pictures: Iterable[_File]) -> str | None:
    """The split that the name of the archive states, where it was unpacked into a folder of its own name."""
    for picture in pictures:
        match = _ARCHIVE.fullmatch(picture.path.partition("/")[0])
        if match:
            return SPLITS[f"{match[1]}_annotated"].get(match[2])
    return None
