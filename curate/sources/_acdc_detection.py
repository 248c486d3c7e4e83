"""ACDC's detection files (``gt_detection``): COCO instances, boxes with polygons or run lengths.

* Box: ``x, y, w, h`` as found, with exclusive right and bottom edge.
* Polygons are painted by COCO's own rule and clipped to the frame; ``area`` is the mask's, the file's is kept in the
  attributes where it differs. A ring of fewer than three points is left out; that is a finding.
* Whether ids agree between the files about all conditions and those about one is not known, so that an annotation is
  named by its place among its image's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from curate.errors import SourceError
from curate.geometry import check_counts, check_ring, check_rle, rle_area, rle_from_counts, rle_from_polygons
from curate.model import Annotation, Finding, Polygons, Rle, finding
from curate.sources._coco_parts import ClassId, Flag, Id, Label, Part, Pixels, check_side, read_parts
from curate.sources._files import Size, agreed_size, decode_json


class Entry(NamedTuple):
    """What a detection file says of one image; small, and safe to send to another process."""

    file: str  # the JSON file, relative to the root
    size: Size | None
    parts: tuple[Part, ...]
    error: SourceError | None


class DetectionFile(NamedTuple):
    """A detection file: its images by file name, its classes by id, and what was left out of it."""

    entries: dict[str, Entry]
    labels: dict[int, Label]
    findings: list[Finding]


class _Rle(Struct, frozen=True):
    size: tuple[int, int]
    counts: list[int] | str


class _Object(Struct, frozen=True):
    id: Id
    category_id: ClassId
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]
    area: Pixels | None = None
    iscrowd: Flag = 0
    segmentation: list[list[float]] | _Rle | None = None


_object = msgspec.json.Decoder(_Object)


def read_detection(root: Path, file: str) -> DetectionFile:
    """The detection file ``file``, relative to ``root``.

    Raises:
        SourceError: as :func:`~curate.sources._coco_parts.read_parts`.
    """
    found = read_parts(root, file)
    parts: dict[str, list[Part]] = {name: [] for name in found.images}
    for part in found.parts or ():
        parts[part.name].append(part)
    entries = {name: Entry(file, image.size, tuple(parts[name]), image.error) for name, image in found.images.items()}
    return DetectionFile(entries, found.labels, found.findings)


def read_objects(
    root: Path, entry: Entry, size: Size | None, image_id: str, name_of: Callable[[int], str]
) -> tuple[Size, list[Annotation], list[Finding]]:
    """The frame's size, which must be ``size`` where the image's is known, its objects, and what is odd about them.

    ``name_of`` gives the class that an id means.

    Raises:
        SourceError: an object is malformed, has a negative side, or a mask that does not fit the frame.
    """
    if entry.error:
        raise entry.error
    path = root / entry.file
    size = agreed_size(path, entry.size, size) if entry.size else size
    if size is None:
        raise SourceError(path, f"does not state the size of {image_id}", "expected width and height")
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    for i, part in enumerate(entry.parts):
        found = decode_json(part.text, _object, path, part.place)
        where = f"{path}, {part.place}"
        check_side(found.bbox, where)
        polygons, mask = None, None
        if isinstance(found.segmentation, _Rle):
            mask = _checked(found.segmentation, size, where)
        elif found.segmentation:
            polygons, said = _polygons(found.segmentation, size, where)
            mask = rle_from_polygons(polygons, *size) if polygons else None
            noticed += [
                finding("M01", f"{entry.file}, {part.place}", text, item=image_id, severity="warning") for text in said
            ]
        rows.append(_annotation(found, f"{image_id}#{i:04d}", name_of(found.category_id), mask, polygons))
    return size, rows, noticed


def _checked(rle: _Rle, size: Size, where: str) -> Rle:
    """Run lengths, plain or compressed, which must be those of the frame."""
    height, width = rle.size
    if (width, height) != size:
        found = f"mask of {width} x {height} px"
        raise SourceError(f"{where}.segmentation", found, f"its image has {size[0]} x {size[1]}")
    if isinstance(rle.counts, str):
        mask = Rle(rle.size, rle.counts)
        wrong = check_rle(mask)
    else:
        wrong = check_counts(rle.counts, width, height)
        mask = rle_from_counts(rle.counts, width, height) if wrong is None else Rle(rle.size, "")
    if wrong:
        raise SourceError(f"{where}.segmentation", wrong.partition(" ")[2])
    return mask


def _polygons(rings: list[list[float]], size: Size, where: str) -> tuple[Polygons | None, list[str]]:
    """The rings as parts of their own, since COCO knows no holes, and what was said of those left out."""
    sound: Polygons = []
    said = []
    for i, ring in enumerate(rings):
        wrong = check_ring(ring, *size)
        if wrong is None:
            sound.append([ring])
        elif wrong.startswith("M02"):
            raise SourceError(f"{where}.segmentation[{i}]", wrong.removeprefix("M02 "))
        else:
            said.append(f"segmentation[{i}]: {wrong.removeprefix('M01 ')}; left out of the mask")
    return sound or None, said


def _annotation(found: _Object, row_id: str, name: str, mask: Rle | None, polygons: Polygons | None) -> Annotation:
    x, y, w, h = found.bbox
    area = rle_area(mask) if mask else found.area
    known: Mapping[str, Any] = {"id": found.id, "area": found.area if found.area != area else None}
    return Annotation(
        id=row_id,
        image_id=row_id.rpartition("#")[0],
        category=name,
        source_label=name,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=mask,
        polygons=polygons,
        iscrowd=bool(found.iscrowd),
        attributes={"acdc": {key: value for key, value in known.items() if value is not None}},
    )
