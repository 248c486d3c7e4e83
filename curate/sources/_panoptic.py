"""COCO panoptic annotations: a JSON file about many images, and for each image a PNG whose colours number its segments.

The number of a pixel's segment is ``R + 256 G + 65536 B`` of the stored colour, in this order; an alpha channel is
dropped. Pixels of number 0, or of a number that no segment has, are unlabelled. Numbers mean something within their
own image only.

* Box: ``x, y, w, h`` as found, with exclusive right and bottom edge; from the mask (``max + 1 - min``) where none is
  given. Area: the mask's. Where the file says otherwise than the mask, that is a finding, and its area is kept under
  ``attributes.<source>.area``.
* A segment without pixels keeps its box and has no mask; if it has no box either, it is left out. Both are findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray
from PIL import Image as PilImage

from curate.errors import SourceError
from curate.geometry import Box, rle_area, rle_bounds
from curate.model import Annotation, Finding, Rle, finding
from curate.pictures import read_header
from curate.sources._coco_parts import (
    ClassId,
    Flag,
    Label,
    Part,
    Pixels,
    box_text,
    check_side,
    read_parts,
    unsafe_name,
)
from curate.sources._files import Size, agreed_size, decode_json
from curate.sources._rasters import masks_by_value

_MAX_NUMBER = (1 << 24) - 1  # what three channels of 8 bits can hold


class Segment(Struct, frozen=True):
    """One segment, as found. ``bbox`` is ``x, y, w, h``, ``area`` counts pixels."""

    id: Annotated[int, Meta(ge=0, le=_MAX_NUMBER)]
    category_id: ClassId
    bbox: tuple[Pixels, Pixels, Pixels, Pixels] | None = None
    area: Pixels | None = None
    iscrowd: Flag = 0


class Entry(NamedTuple):
    """What a panoptic file says of one image; small, and safe to send to another process.

    ``segments`` is the JSON text of the list of segments, None where the image has no annotation: it is unlabelled
    then, not empty. ``png`` is the mask's name as found. ``error`` is what parsing the image must raise.
    """

    file: str  # the JSON file, relative to the root
    name: str  # file name of the image, as found
    size: Size | None = None
    place: str = ""  # of the annotation in the file, as annotations[3]
    png: str | None = None
    segments: Raw | None = None
    error: SourceError | None = None


class PanopticFile(NamedTuple):
    """A panoptic file: its images by file name, its classes by id, and what was left out of it."""

    entries: dict[str, Entry]
    labels: dict[int, Label]
    findings: list[Finding]


class Region(NamedTuple):
    """A segment with its mask (None if it has no pixel) and its box."""

    segment: Segment
    mask: Rle | None
    box: Box


class _Annotation(Struct, frozen=True):
    file_name: str
    segments_info: Raw


_annotation = msgspec.json.Decoder(_Annotation)
_segments = msgspec.json.Decoder(list[Segment])


def read_panoptic(root: Path, file: str) -> PanopticFile:
    """The panoptic file ``file`` (relative to ``root``); without ``annotations`` it only lists images.

    Raises:
        SourceError: as :func:`~curate.sources._coco_parts.read_parts`. A fault that concerns one image is in its
            entry's ``error``.
    """
    found = read_parts(root, file)
    entries = {name: Entry(file, name, image.size, error=image.error) for name, image in found.images.items()}
    for part in found.parts or ():
        entries[part.name] = _annotated(entries[part.name], part, root / file)
    return PanopticFile(entries, found.labels, found.findings)


def _annotated(entry: Entry, part: Part, path: Path) -> Entry:
    """An image with its annotation, of which there must be only one."""
    where = f"{path}, {part.place}"
    error = entry.error
    if entry.place:
        error = error or SourceError(where, f"is the second annotation of {part.name}, after {entry.place}")
    try:
        found = decode_json(part.text, _annotation, path, part.place)
    except SourceError as wrong:
        return entry._replace(place=part.place, error=error or wrong)
    error = error or unsafe_name(found.file_name, where)
    return entry._replace(place=part.place, png=found.file_name, segments=found.segments_info, error=error)


def read_regions(
    root: Path, png: str | None, entry: Entry, size: Size | None, item: str, keep: Callable[[Segment], bool]
) -> tuple[Size, list[Region], list[Finding]]:
    """The segments of an image that ``keep`` accepts, with their masks, in the file's order.

    Args:
        png: the mask picture, relative to ``root``; None if it is missing: the regions have no mask then.
        size: of the image, where that is known; the mask must have it, and what the file states must be it.
        item: id of the image, for findings.

    Raises:
        SourceError: the text or the picture is malformed or of another size, or a segment's number stands twice.
    """
    if entry.error:
        raise entry.error
    path = root / entry.file
    size = agreed_size(path, entry.size, size) if entry.size else size
    place = f"{entry.place}.segments_info"
    segments = decode_json(entry.segments, _segments, path, place) if entry.segments is not None else []
    _check_segments(segments, path, place)
    masks: dict[int, Rle] = {}
    noticed: list[Finding] = []
    wanted = [segment for segment in segments if keep(segment)]
    if png is not None:
        numbers = read_numbers(root / png)
        size = agreed_size(root / png, (numbers.shape[1], numbers.shape[0]), size)
        masks, strange = _masks(numbers, segments, wanted)
        if strange:
            some = ", ".join(map(str, strange[:3])) + (", ..." if len(strange) > 3 else "")
            message = f"{len(strange)} numbers that no segment has ({some}); unlabelled"
            noticed.append(finding("N05", png, message, item=item))
    elif segments:
        message = f"its mask {entry.png} is not there; the segments have boxes only"
        noticed.append(finding("F01", f"{entry.file}, {entry.place}", message, item=item, severity="warning"))
    if size is None:
        raise SourceError(path, f"does not state the size of {entry.name}", "expected width and height")
    regions = []
    for segment in wanted:
        where = f"{entry.file}, {place}, id {segment.id}"
        region, said = _region(segment, masks.get(segment.id), png is not None, where, item)
        regions += [region] if region else []
        noticed += said
    return size, regions, noticed


def _check_segments(segments: Iterable[Segment], path: Path, place: str) -> None:
    seen: set[int] = set()
    for i, segment in enumerate(segments):
        if segment.id in seen:
            raise SourceError(f"{path}, {place}[{i}]", f"id {segment.id} stands twice", "expected each segment once")
        seen.add(segment.id)
        check_side(segment.bbox, f"{path}, {place}[{i}]")


def _masks(
    numbers: NDArray[np.uint32], segments: Iterable[Segment], wanted: Iterable[Segment]
) -> tuple[dict[int, Rle], list[int]]:
    """The masks of the wanted segments, and the numbers in the picture that are no segment's."""
    known = np.array(sorted({0, *(segment.id for segment in segments)}), np.uint32)
    chosen = np.isin(known, [segment.id for segment in wanted]) & (known > 0)
    strange: list[int] = []

    def keep(values: NDArray[Any]) -> NDArray[np.bool_]:
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        found = known[place] == values
        strange.extend(np.unique(values[~found]).tolist())
        kept: NDArray[np.bool_] = found & chosen[place]
        return kept

    return masks_by_value(numbers, keep), strange


def _region(
    segment: Segment, mask: Rle | None, looked: bool, where: str, item: str
) -> tuple[Region | None, list[Finding]]:
    box = segment.bbox
    if mask is None:
        said = []
        if box is None:
            said = [finding("N02", where, "segment has neither pixel nor box; left out", item=item)]
        elif looked:
            said = [finding("M09", where, "no pixel has the segment's number; kept with its box", item=item)]
        return (Region(segment, None, box) if box else None), said
    seen, area = rle_bounds(mask), rle_area(mask)
    said = []
    if box is not None and box != seen:
        message = f"box {box_text(box)} is not the mask's {box_text(seen)}; kept as found"
        said.append(finding("B08", where, message, item=item))
    if segment.area is not None and segment.area != area:
        message = f"area is {segment.area:g}, the mask has {area} px; the mask's is taken"
        said.append(finding("B09", where, message, item=item))
    return Region(segment, mask, seen if box is None else box), said


def read_numbers(path: Path) -> NDArray[np.uint32]:
    """The segment number of each pixel ``(height, width)`` of a panoptic PNG.

    Raises:
        SourceError: it is missing, cut short or no picture, or its pixels are not RGB colours of 8 bits.
    """
    header = read_header(path)
    if header.mode not in ("RGB", "RGBA"):
        hint = "palettes and grey levels lose the numbers: use the original file"
        raise SourceError(path, f"is a picture of mode {header.mode}", "expected RGB colours", hint)
    try:
        with PilImage.open(path) as picture:
            # Four bytes for each pixel, the fourth alpha or padding.
            stored = picture.tobytes("raw", "RGBX" if header.mode == "RGB" else "RGBA")
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise SourceError(
            path, f"does not decode ({error})", "expected a picture", "download or unpack it again"
        ) from error
    return np.frombuffer(stored, "<u4").reshape(header.height, header.width) & np.uint32(_MAX_NUMBER)


def region_annotation(
    image_id: str,
    source: str,
    region: Region,
    name: str,
    *,
    crowd: bool | None = None,
    ignore: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Annotation:
    """A region as an annotation of class ``name``, whose id ends in the segment's number.

    ``crowd`` overrules the segment's own flag; ``facts`` go into ``attributes.<source>`` beside its number.
    """
    segment, mask = region.segment, region.mask
    area = rle_area(mask) if mask else segment.area
    known = {"segment": segment.id, "area": segment.area if segment.area != area else None, **(facts or {})}
    x, y, w, h = region.box
    return Annotation(
        id=f"{image_id}#s{segment.id:08d}",
        image_id=image_id,
        category=name,
        source_label=name,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=mask,
        iscrowd=bool(segment.iscrowd) if crowd is None else crowd,
        ignore=ignore,
        attributes={source: {key: value for key, value in known.items() if value is not None}},
    )
