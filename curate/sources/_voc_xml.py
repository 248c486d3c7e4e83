"""Pascal VOC's XML: one file per image with its size and a list of named boxes.

Elements are found by name, never by place: real files order them in their own ways. Coordinates are given back as
written (``xmin, ymin, xmax, ymax``, pixels, origin at the top left); whether the right and bottom edge belong to the
box is for the source to say. Document type definitions and entities are refused, so that a small file cannot grow large
or read others (``defusedxml``).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from curate.errors import SourceError
from curate.sources._files import Size, read_bytes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ROOT = "annotation"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LARGEST = 1e9  # px; no picture is as large, and pixels up to here are exact in any float


class VocObject(NamedTuple):
    """One object: its name, its corners, and the text of its other plain elements (``pose``, ``difficult``, ...).

    ``parts`` are its own, such as the head and hands of a person.
    """

    name: str
    corners: tuple[float, float, float, float]  # xmin, ymin, xmax, ymax
    others: dict[str, str]
    parts: tuple[VocObject, ...] = ()


class VocFile(NamedTuple):
    """What a file says of its picture, and its objects in file order."""

    filename: str | None
    folder: str | None
    size: Size | None  # width, height
    objects: list[VocObject]


def read_voc(path: Path) -> VocFile:
    """The content of one VOC file.

    Raises:
        SourceError: the file is unreadable, no XML (with line and column), holds a document type definition, has
            another root than ``annotation``, or an object lacks its name or four finite corners in order.
    """
    root = _parse(path)
    if root.tag != _ROOT:
        raise SourceError(path, f"is XML with the root {root.tag!r}", f"expected <{_ROOT}>, as Pascal VOC has it")
    head, size = _texts(root), root.find("size")
    return VocFile(
        filename=head.get("filename"),
        folder=head.get("folder"),
        size=None if size is None else _size(size, path),
        objects=[_object(element, f"{path}, object {i}") for i, element in enumerate(root.findall("object"))],
    )


def _parse(path: Path) -> Element:
    data = read_bytes(path)
    if not data.strip():
        raise SourceError(path, "file is empty", "expected XML", "download or unpack it again")
    try:
        element: Element = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise SourceError(
            path, "holds a document type definition", "expected plain XML", "such a file can exhaust the memory"
        ) from error
    except ParseError as error:
        line, column = error.position
        message = str(error).partition(":")[0]
        raise SourceError(f"{path}:{line}:{column + 1}", f"XML is malformed ({message})", "expected XML") from error
    except (LookupError, ValueError) as error:  # an encoding that Python or expat has not
        raise SourceError(path, f"XML cannot be decoded ({error})", "expected XML in UTF-8") from error
    return element


def _object(element: Element, where: str, *, parts: bool = True) -> VocObject:
    fields, box = _texts(element), element.find("bndbox")
    name = fields.pop("name", "")
    if not name:
        raise SourceError(where, "has no name", "expected <name>")
    if box is None:
        raise SourceError(where, "has no box", "expected <bndbox>")
    found = _texts(box)
    left, top, right, bottom = (_number(found, corner, where) for corner in _CORNERS)
    if right < left or bottom < top:
        raise SourceError(where, f"box {[left, top, right, bottom]} has flipped corners", f"expected {_CORNERS}")
    inner = element.findall("part")
    if inner and not parts:
        raise SourceError(where, "is a part with parts", "expected parts of objects only")
    found_parts = tuple(_object(part, f"{where}, part {i}", parts=False) for i, part in enumerate(inner))
    return VocObject(name, (left, top, right, bottom), fields, found_parts)


def _size(element: Element, path: Path) -> Size:
    found, where = _texts(element), f"{path}, size"
    sides = [_number(found, side, where) for side in ("width", "height")]
    for side in sides:
        if side != int(side):
            raise SourceError(where, f"a side is {side}", "expected a whole number")
    return int(sides[0]), int(sides[1])


def _number(found: dict[str, str], tag: str, where: str) -> float:
    text = found.get(tag)
    if text is None:
        raise SourceError(where, f"has no {tag}", f"expected <{tag}>")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if "_" in text or not abs(value) <= _LARGEST:  # written so that NaN fails too
        raise SourceError(where, f"{tag} is {text!r}", "expected a finite number")
    return value


def _texts(element: Element) -> dict[str, str]:
    """The text of the plain elements in ``element``, by name."""
    return {child.tag: (child.text or "").strip() for child in element if not len(child)}
