"""SearchAD's files: boxes of train and val, the list of test images, and the default queries.

All of them name images by their path below SearchAD's root, and are read whole, once.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from curate.errors import SourceError
from curate.sources._files import decode_json, list_files, read_bytes, read_json, shown

ANNOTATIONS = {split: f"searchad_annotations_{split}.json" for split in ("train", "val")}
TEST = "searchad_test_mapping_id_to_imagepath.json"
FILES = {**ANNOTATIONS, "test": TEST}
QUERIES = "default_queries"
# The set of a query's examples that is made of pictures; the form of the others is not published.
_VISION = "vision"
_ENDING = ".json"
_BOM = b"\xef\xbb\xbf"

_IMAGES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MAPPING = msgspec.json.Decoder(dict[str, str])
# An image of an annotation file: in these files no other key stands before a list that is empty or holds objects.
_KEY = re.compile(rb'"\s*:\s*\[\s*[\]{]')


class Listed(NamedTuple):
    """An image as one of the files lists it."""

    path: str
    split: str
    file: str
    place: int  # its number in the file, or its id among the test images
    boxes: bytes | None  # JSON; None for test images


class Example(NamedTuple):
    """One picture, box or text of a query's support set; corners x1, y1, x2, y2 in pixels."""

    path: str | None
    corners: tuple[float, float, float, float] | None = None
    text: str | None = None


class Query(NamedTuple):
    """A default query, with the names of support sets of which nobody says how they are to be read."""

    label: str
    file: str
    examples: list[Example]
    unread: list[str]


class _Corners(Struct, frozen=True):
    min_x: float
    min_y: float
    max_x: float
    max_y: float


class _Box(Struct, frozen=True):
    bbox: _Corners


class _Query(Struct, frozen=True):
    supportsets: dict[str, msgspec.Raw]


_QUERY = msgspec.json.Decoder(_Query)
_PICTURES = msgspec.json.Decoder(dict[str, list[_Box]])
_TEXTS = msgspec.json.Decoder(list[str] | str)


def present(root: Path) -> list[str]:
    """The splits whose file is there.

    Raises:
        SourceError: none is there, or one is a link that leaves ``root``.
    """
    found = list_files(root, "", _ENDING) if root.is_dir() else {}
    splits = [split for split, name in FILES.items() if name in found]
    for split in splits:
        if error := found[FILES[split]]:
            raise error
    if not splits:
        raise _another_tree(root)
    return splits


def _another_tree(root: Path) -> SourceError:
    expected = f"expected SearchAD's files, as {ANNOTATIONS['train']}"
    if not root.is_dir():
        return SourceError(root, "is a file", expected, "name the folder that holds it, unpacked")
    names = sorted(shown(entry.name) for entry in root.iterdir() if not entry.name.startswith("."))
    inner = [name for name in names if any((root / name / file).is_file() for file in FILES.values())]
    if inner:
        hint = f"name {root / inner[0]} instead"
    elif any(name.endswith(".zip") for name in names):
        hint = "unpack the archive there first"
    else:
        hint = "is it another dataset? see 'curate sources searchad'"
    found = f"holds {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "is empty"
    return SourceError(root, found, expected, hint)


def images(root: Path, split: str) -> list[Listed]:
    """The images of a split, in the order of its file.

    Raises:
        SourceError: the file is unreadable, no such JSON, or names an image twice.
    """
    path = root / FILES[split]
    if split in ANNOTATIONS:
        text = read_bytes(path).removeprefix(_BOM)
        found = decode_json(text, _IMAGES, path)
        _check_keys(path, text, found)
        return [Listed(key, split, path.name, i, bytes(boxes)) for i, (key, boxes) in enumerate(found.items())]
    mapping = read_json(path, _MAPPING)
    listed: dict[str, str] = {}
    for number, image in mapping.items():
        if not (number.isascii() and number.isdecimal()):
            raise SourceError(path, f"{number!r} is no id", "expected decimal numbers, as in the published file")
        if image in listed:
            raise SourceError(
                path, f"ids {listed[image]} and {number} are of one image, {shown(image)}", "expected one"
            )
        listed[image] = number
    return [Listed(image, split, path.name, int(number), None) for image, number in listed.items()]


def _check_keys(path: Path, text: bytes, found: dict[str, Any]) -> None:
    """Refuse a file that names an image twice, of which a JSON reader keeps one without a word."""
    if sum(1 for _ in _KEY.finditer(text)) <= len(found):
        return

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise SourceError(path, f"{shown(key)} stands twice", "expected every key once")
            seen[key] = value
        return seen

    json.loads(text, object_pairs_hook=once)


def queries(root: Path) -> list[Query]:
    """The default queries, sorted by label; the name of a query's file is its label.

    Raises:
        SourceError: a file is unreadable or not of the form known, or has flipped corners.
    """
    found = []
    for name, error in sorted(list_files(root, QUERIES, _ENDING).items()):
        if error:
            raise error
        found.append(_query(root / QUERIES / name))
    return found


def _query(path: Path) -> Query:
    sets = read_json(path, _QUERY).supportsets
    examples, unread = [], []
    for name, content in sets.items():
        if name == _VISION:
            examples += _pictures(path, content)
            continue
        try:
            texts = _TEXTS.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            unread.append(name)
            continue
        examples += [Example(None, text=text) for text in ([texts] if isinstance(texts, str) else texts)]
    return Query(path.name.removesuffix(_ENDING), f"{QUERIES}/{path.name}", examples, unread)


def _pictures(path: Path, content: msgspec.Raw) -> list[Example]:
    examples = []
    for image, boxes in decode_json(content, _PICTURES, path, f"supportsets.{_VISION}").items():
        for box in boxes:
            corners = msgspec.structs.astuple(box.bbox)
            if corners[2] < corners[0] or corners[3] < corners[1]:
                where = f"{path}, supportsets.{_VISION}, {shown(image)}"
                raise SourceError(where, f"box {list(corners)} has flipped corners", "expected min_x <= max_x")
            examples.append(Example(image, corners))
        if not boxes:
            examples.append(Example(image))
    return examples
