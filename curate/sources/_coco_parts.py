"""JSON files of COCO's kind about many images, taken apart: images by name, classes by id, annotations as JSON text.

A file is decoded once, but its annotations stay text until the image that they belong to is parsed. The text is small
to send to a worker, and a fault in it concerns that image alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.sources._files import Size, decode_json, read_json, shown

# A 64-bit number or a text, as different files have it: 7 and "7" are the same image.
Id = Annotated[int, Meta(ge=-(2**63), lt=2**63 - 1)] | str
ClassId = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Pixels = Annotated[int, Meta(ge=-(10**9), le=10**9)] | Annotated[float, Meta(ge=-1e9, le=1e9)]
Flag = Annotated[int, Meta(ge=0, le=1)] | bool


class Label(Struct, frozen=True):
    """A class, as the file's own list has it."""

    id: ClassId
    name: str
    supercategory: str | None = None
    isthing: Flag | None = None


class Listed(NamedTuple):
    """An image of the file: its name as found, the size that the file states, and what parsing it must raise."""

    name: str
    size: Size | None = None
    error: SourceError | None = None


class Part(NamedTuple):
    """An annotation: its place in the file (``annotations[3]``), its image's name, and its JSON text."""

    place: str
    name: str
    text: Raw


class CocoParts(NamedTuple):
    """A file taken apart. ``parts`` is None where the file has no list of annotations: it only lists images then."""

    images: dict[str, Listed]
    parts: list[Part] | None
    labels: dict[int, Label]
    findings: list[Finding]  # annotations of no image


class _File(Struct, frozen=True):
    images: list[Raw]
    annotations: list[Raw] | UnsetType = UNSET
    categories: list[Label] = []


class _Picture(Struct, frozen=True):
    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None


class _Named(Struct, frozen=True):
    file_name: str


class _Owned(Struct, frozen=True):
    image_id: Id


_file = msgspec.json.Decoder(_File)
_picture = msgspec.json.Decoder(_Picture)
_named = msgspec.json.Decoder(_Named)
_owned = msgspec.json.Decoder(_Owned)


def read_parts(root: Path, file: str) -> CocoParts:
    """The file ``file`` (relative to ``root``), taken apart.

    Raises:
        SourceError: the file is unreadable or malformed, or it holds an image or annotation of which cannot be told
            what image it concerns. A fault that concerns one image is in that image's ``error``.
    """
    path = root / file
    whole = read_json(path, _file)
    images, names = _images(path, whole.images)
    parts: list[Part] = []
    findings: list[Finding] = []
    for i, text in enumerate(whole.annotations or ()):
        place = f"annotations[{i}]"
        owner = decode_json(text, _owned, path, place).image_id
        name = names.get(str(owner))
        if name is None:
            message = f"image_id {owner!r} is no image of the file; annotation left out"
            findings.append(finding("N02", f"{shown(file)}, {place}", message))
        else:
            parts.append(Part(place, name, text))
    return CocoParts(images, None if whole.annotations is UNSET else parts, _labels(path, whole.categories), findings)


def _images(path: Path, texts: Iterable[Raw]) -> tuple[dict[str, Listed], dict[str, str]]:
    """Images by file name, and file names by id."""
    images: dict[str, Listed] = {}
    names: dict[str, str] = {}
    for i, text in enumerate(texts):
        image, number = _image(path, text, f"images[{i}]")
        if image.name in images:
            error = SourceError(f"{path}, images[{i}]", f"names {image.name} a second time", "expected each image once")
            images[image.name] = images[image.name]._replace(error=error)
            continue
        images[image.name] = image
        if number is not None:
            if number in names:
                raise SourceError(f"{path}, images[{i}]", f"id {number} stands twice", "expected each image once")
            names[number] = image.name
    return images, names


def _image(path: Path, text: Raw, place: str) -> tuple[Listed, str | None]:
    """An image, and its id; None if that cannot be told."""
    try:
        found = decode_json(text, _picture, path, place)
    except SourceError as error:
        try:
            return Listed(decode_json(text, _named, path, place).file_name, None, error), None
        except SourceError:
            raise error from None
    size = None if found.width is None or found.height is None else (found.width, found.height)
    return Listed(found.file_name, size, unsafe_name(found.file_name, f"{path}, {place}")), str(found.id)


def unsafe_name(name: str, where: str) -> SourceError | None:
    """What is wrong with a ``file_name`` that is no plain path below its folder, or None."""
    parts = PurePosixPath(name).parts
    if parts and parts[0] != "/" and ".." not in parts and "\\" not in name and name.isprintable():
        return None
    return SourceError(f"{where}.file_name", f"is {name!r}", "expected a path relative to its folder")


def _labels(path: Path, labels: Iterable[Label]) -> dict[int, Label]:
    found: dict[int, Label] = {}
    for i, label in enumerate(labels):
        if found.setdefault(label.id, label) != label:
            where = f"{path}, categories[{i}]"
            raise SourceError(where, f"id {label.id} stands twice", "expected each class once")
    return found


def check_side(box: tuple[float, float, float, float] | None, where: str) -> None:
    """Refuse a box ``x, y, w, h`` with a negative side.

    Raises:
        SourceError: it has one.
    """
    if box and (box[2] < 0 or box[3] < 0):
        raise SourceError(f"{where}.bbox", f"box {list(box)} has a negative side", "expected x, y, width, height")


def box_text(box: Any) -> str:
    """A box as messages show it."""
    return f"[{', '.join(f'{value:g}' for value in box)}]"
