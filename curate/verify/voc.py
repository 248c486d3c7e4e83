"""Pascal VOC's XML as a subject: a file, or a folder with many.

Read as it stands, so that each fault is seen at its place. A box's corners count from 1 and are inclusive, as Pascal
VOC has them: ``x = xmin - 1``, ``w = xmax - xmin + 1``. Document type definitions and entities are refused
(``defusedxml``), so that a small file cannot grow large or read others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree.ElementTree import ParseError

import pyarrow as pa
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import Image as PilImage

from curate.model import Finding, finding
from curate.verify.picture_files import files_below, open_file
from curate.verify.report import encodable
from curate.verify.subject import Subject, short

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SOURCE = "voc"
MAX_BYTES = 64 << 20
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MASKS = ("SegmentationClass", "SegmentationObject")
_PICTURES = "JPEGImages"
_PLAIN_MODES = ("P", "L", "1")  # indices; of palettes Pillow gives them too


class _Rows(NamedTuple):
    """What is collected: rows of images and annotations, and where the latter stand."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    places: list[str]
    found: list[Finding]


def is_folder(folder: Path) -> bool:
    """Whether a folder holds VOC's annotations: XML files in it or in its ``Annotations``."""
    return any(next(one.glob("*.xml"), None) for one in (folder / "Annotations", folder) if one.is_dir())


def load(path: Path) -> tuple[Subject | None, list[Finding]]:
    """Read one file, or all below a folder: its subject, None where nothing could be read; and what is wrong."""
    inside = path.is_dir()
    names = [name for name in files_below(path) if name.lower().endswith(".xml")] if inside else [path.name]
    folder = path if inside else path.parent
    rows = _Rows([], [], [], [])
    for name in names:
        _read(folder / name, name, rows)
    if not rows.images:
        return None, rows.found
    base = folder.parent if not inside and folder.name == "Annotations" else folder
    root = base / _PICTURES if (base / _PICTURES).is_dir() else base

    def place(table: str, row: int, field: str) -> str:
        where = rows.places[row] if table == "annotations" else str(rows.images[row]["place"])
        return encodable(f"{folder}/{where}" + (f", {field}" if field and table == "images" else ""))

    return Subject("voc", _tables(rows), place, roots={SOURCE: root}), rows.found


def _tables(rows: _Rows) -> dict[str, pa.Table]:
    def column(held: list[dict[str, Any]], name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([row[name] for row in held], kind)

    images = {name: column(rows.images, name, pa.string()) for name in ("id", "source", "file_name")}
    images |= {side: column(rows.images, side, pa.float64()) for side in ("width", "height")}
    annotations = {name: column(rows.annotations, name, pa.string()) for name in ("id", "image_id", "category")}
    annotations |= {side: column(rows.annotations, side, pa.float64()) for side in "xywh"}
    annotations["status"] = pa.array(["truth"] * len(rows.annotations), pa.string())
    return {"images": pa.table(images), "annotations": pa.table(annotations)}


def _read(path: Path, name: str, rows: _Rows) -> None:
    root = _parse(path)
    if isinstance(root, Finding):
        rows.found.append(root)
        return

    def notice(where: str, message: str) -> None:
        rows.found.append(finding("S01", encodable(f"{path}{where}"), message))

    number = len(rows.images)
    size = [_number(root.find("size"), side) for side in ("width", "height")]
    if None in size:
        notice(", size", "has no width and height; expected whole pixels")
    given = (root.findtext("filename") or "").strip()
    if not given:
        notice("", "has no filename; expected that of its picture")
    image = {"id": encodable(name), "source": SOURCE, "file_name": encodable(given) or None, "place": name}
    rows.images.append(image | dict(zip(("width", "height"), size, strict=True)))
    for i, element in enumerate(root.findall("object")):
        box = element.find("bndbox")
        corners = [_number(box, corner) for corner in _CORNERS]
        label = (element.findtext("name") or "").strip()
        if not label:
            notice(f", object {i}", "has no name; expected its class")
        if box is None:
            notice(f", object {i}", "has no box; expected <bndbox>")
        elif None in corners:
            lost = next(corner for corner, value in zip(_CORNERS, corners, strict=True) if value is None)
            notice(f", object {i}", f"{lost} is {short(box.findtext(lost))}; expected a number")
        row = {"id": f"{number}/{i}", "image_id": image["id"], "category": encodable(label) or None}
        rows.annotations.append(row | _box(corners))
        rows.places.append(f"{name}, object {i}")


def _parse(path: Path) -> Element | Finding:
    """The root of a file, or why there is none."""
    where = encodable(str(path))
    try:
        with open_file(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return finding("F01", where, f"cannot be read: {error.strerror}")
    if len(data) > MAX_BYTES:
        return finding("F02", where, f"is larger than {MAX_BYTES:,} bytes")
    if not data.strip():
        return finding("F01", where, "file is empty; expected XML", hint="download or unpack it again")
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        return finding("F04", where, "holds a document type definition, which can exhaust the memory; expected none")
    except ParseError as error:
        line, column = error.position
        return finding("F04", f"{where}:{line}:{column + 1}", f"XML is malformed ({str(error).partition(':')[0]})")
    except (LookupError, ValueError) as error:
        return finding("F03", where, f"XML cannot be decoded ({error}); expected UTF-8")
    if root.tag != "annotation":
        text = f"is XML with the root {short(root.tag)}; expected <annotation>, as Pascal VOC has it"
        return finding("F09", where, text)
    return root


def _box(corners: list[float | None]) -> dict[str, float | None]:
    left, top, right, bottom = corners
    if left is None or top is None or right is None or bottom is None:
        return dict.fromkeys("xywh")
    return {"x": left - 1, "y": top - 1, "w": right - left + 1, "h": bottom - top + 1}


def _number(element: Element | None, tag: str) -> float | None:
    """The number in an element's child; None if there is none, NaN and infinities as they are (B01)."""
    text = (element.findtext(tag) or "") if element is not None else ""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if "_" in text else (value if abs(value) < 1e300 or math.isnan(value) else math.inf)


def mask_pictures(subject: Subject) -> Iterator[Finding]:
    """M10: mask pictures of VOC that are no indices, or of another size than their image."""
    root = subject.roots.get(SOURCE)
    if root is None or root.name != _PICTURES:
        return
    width, height = subject.numbers("images", "width"), subject.numbers("images", "height")
    names = subject.column("images", "file_name").to_pylist()
    for row, name in enumerate(names):
        for kind in _MASKS if name and "/" not in name else ():
            path = root.parent / kind / f"{Path(name).stem}.png"
            if path.is_file():
                yield from _mask(path, subject.item("images", row), (width[row], height[row]))


def _mask(path: Path, item: str | None, size: tuple[float, float]) -> Iterator[Finding]:
    where = encodable(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PilImage.open(path) as picture:
                mode, found = picture.mode, picture.size
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        yield finding("M10", where, f"mask cannot be opened: {error}", item=item, severity="error")
        return
    if mode not in _PLAIN_MODES:
        yield finding("M10", where, f"mask is {mode}; expected indices with a palette or 8-bit grey", item=item)
    if size == size and found != size:
        text = f"mask is {found[0]} x {found[1]} px; expected {size[0]:g} x {size[1]:g} as its image"
        yield finding("M10", where, text, item=item, severity="error")
