"""VoxDet's scenes: one picture with the annotations that its files state, as records."""

from __future__ import annotations

import math
import os
from typing import Any

import msgspec
from msgspec import UNSET

from curate import geometry
from curate.errors import SourceError
from curate.model import Annotation, Finding, Image, Item, Member, Parsed, Polygons, Rle, finding
from curate.pictures import read_header
from curate.sources._voxdet_tree import Found, Scene

_LETTERS = {"train": "t", "val": "v", "test": "r"}
_NUMBERS = {int, float}
_EXACT = 2**53  # larger whole numbers are not all floats


class _RunLengths(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """OWID's usual mask: COCO's uncompressed run lengths."""

    counts: list[int]
    size: tuple[int, int]


_run_lengths = msgspec.json.Decoder(_RunLengths)


def parse_scene(item: Item, scene: Scene) -> Parsed:
    """A scene and its annotations.

    Raises:
        SourceError: the picture cannot be read, or an annotation has no usable box or category.
    """
    noticed: list[Finding] = []
    image = _image(item, scene, noticed)
    rows: list[Annotation] = []
    taken: set[str] = set()
    for found in scene.found:
        id = _annotation_id(image.id, found, taken)
        rows.append(_annotation(id, image, scene, found, noticed))
    return Parsed(image, rows, [Member(image_id=item.id, role="gallery"), *noticed])


def _image(item: Item, scene: Scene, noticed: list[Finding]) -> Image:
    assert item.image is not None
    path = item.root / item.image
    attributes: dict[str, Any] = {}
    if len(scene.files) > 1:
        attributes["splits"] = list(scene.files)
        noticed.append(finding("Q03", item.image, f"stands in {' and '.join(scene.files)}", item=item.id))
    width, height = _stated_size(scene)
    orientation = None
    try:
        header = read_header(path)
        width, height, orientation = header.width, header.height, header.orientation
    except SourceError:
        if os.path.lexists(path):
            raise
        attributes["file"] = "missing"
        where = " and ".join(scene.files.values())
        noticed.append(finding("I01", where, f"{item.image} is not on disk; image kept", item=item.id))
    for size in scene.sizes:
        if size not in ((width, height), (UNSET, UNSET)):
            message = f"record says {size[0]} x {size[1]}, picture is {width} x {height}"
            noticed.append(finding("I02", item.image, message, item=item.id))
    return Image(
        id=item.id,
        source="voxdet",
        source_split=item.split,
        file_name=item.image,
        width=width,
        height=height,
        orientation=orientation,
        attributes={"voxdet": attributes} if attributes else None,
    )


def _stated_size(scene: Scene) -> tuple[int | None, int | None]:
    for width, height in scene.sizes:
        if type(width) is int and type(height) is int and 0 < width < 2**31 and 0 < height < 2**31:
            return width, height
    return None, None


def _annotation_id(image_id: str, found: Found, taken: set[str]) -> str:
    """Letter of the split and number as found, since ids are counted anew in each file; made unique where it is not."""
    number, letter = found.row.id, _LETTERS[found.split]
    suffix = f"{letter}{number:07d}" if type(number) is int else f"{letter}p{found.place:07d}"
    if suffix in taken:
        suffix += f".{found.place}"
    taken.add(suffix)
    return f"{image_id}#{suffix}"


def _annotation(id: str, image: Image, scene: Scene, found: Found, noticed: list[Finding]) -> Annotation:
    row = found.row
    number = row.category_id
    if type(number) is not int:
        raise SourceError(_where(scene, found), f"category_id is {_shown(number)}", "expected a number")
    x, y, w, h = _box(scene, found)
    own: dict[str, Any] = {}
    if not type(x) is type(y) is type(w) is type(h) is int or max(abs(x), abs(y), w, h) > _EXACT:
        own["bbox"] = row.bbox
    if row.num_ins is not UNSET:
        own["num_ins"] = row.num_ins
    if found.dropped:
        own["dropped_upstream"] = found.dropped
    if found.by_position:
        own["by_position"] = True
        message = f"image id {row.image_id} is not there; a proposal for the image at that place of the list"
        noticed.append(finding("R02", _where(scene, found), message, item=id))
    segmentation, polygons = _mask(id, image, scene, found, own, noticed)
    area = row.area
    if type(area) not in _NUMBERS:
        if area is not UNSET:
            noticed.append(finding("S02", _where(scene, found), f"area is {_shown(area)}; left out", item=id))
        area = None
    return Annotation(
        id=id,
        image_id=image.id,
        status="proposal" if found.by_position else "truth",
        category=f"{scene.part}/{found.category}",
        source_label=found.category,
        instance=f"{scene.part}/{number}",
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=segmentation,
        polygons=polygons,
        iscrowd=row.iscrowd == 1,
        ignore=row.ignore == 1,
        attributes={"voxdet": own} if own else None,
    )


def _where(scene: Scene, found: Found) -> str:
    id = found.row.id
    return f"{scene.files[found.split]}, annotation {f'at place {found.place}' if id is UNSET else id}"


def _box(scene: Scene, found: Found) -> tuple[float, float, float, float]:
    box = found.row.bbox
    if type(box) is not list or len(box) != 4 or not {type(v) for v in box} <= _NUMBERS:
        raise SourceError(_where(scene, found), f"bbox is {_shown(box)}", "expected four numbers x, y, w, h")
    x, y, w, h = box
    if not math.isfinite(x + y + w + h):
        raise SourceError(_where(scene, found), f"bbox is {_shown(box)}", "expected finite numbers")
    if w < 0 or h < 0:
        raise SourceError(_where(scene, found), f"bbox is {_shown(box)}", "expected a width and height from 0")
    return x, y, w, h


def _mask(
    id: str, image: Image, scene: Scene, found: Found, own: dict[str, Any], noticed: list[Finding]
) -> tuple[Rle | None, Polygons | None]:
    """The mask as a column can hold it; ``own["segmentation"]`` keeps what would not come back the same."""
    text = bytes(found.row.segmentation)
    if text in (b"", b"[]"):
        return None, None
    try:
        runs = _run_lengths.decode(text)
    except UnicodeDecodeError as error:
        raise SourceError(_where(scene, found), "segmentation is not UTF-8 text", "expected run lengths") from error
    except msgspec.ValidationError:
        own["segmentation"] = value = msgspec.json.decode(text)
        return _unusual_mask(id, image, value, _where(scene, found), noticed)
    height, width = runs.size
    # The sum first: it is all that a sound mask needs, and a tenth of the time.
    sound = 0 < width * height < geometry.MAX_MASK_PIXELS and width > 0 and sum(runs.counts) == width * height
    wrong = None if sound and min(runs.counts) >= 0 else geometry.check_counts(runs.counts, width, height)
    if wrong:
        own["segmentation"] = msgspec.json.decode(text)
        noticed.append(finding(wrong[:3], _where(scene, found), f"{wrong[4:]}; kept beside the columns", item=id))
        return None, None
    if width != image.width or height != image.height:
        _note_other_size(id, image, width, height, _where(scene, found), noticed)
    return geometry.rle_from_counts(runs.counts, width, height), None


def _unusual_mask(
    id: str, image: Image, value: Any, where: str, noticed: list[Finding]
) -> tuple[Rle | None, Polygons | None]:
    """Polygons, or compressed run lengths; anything else is only kept as found."""
    wrong = f"S01 segmentation is {_shown(value)}; expected run lengths or polygons"
    if isinstance(value, dict) and isinstance(value.get("counts"), str):
        try:
            rle = msgspec.convert(value, Rle)
        except msgspec.ValidationError as error:
            wrong = f"S01 segmentation: {error}"
        else:
            wrong = geometry.check_rle(rle) or ""
            if not wrong:
                _note_other_size(id, image, rle.size[1], rle.size[0], where, noticed)
                return rle, None
    elif isinstance(value, list) and value and image.width and image.height:
        rings = [ring if isinstance(ring, list) else [ring] for ring in value]
        problems = [p for ring in rings if (p := geometry.check_ring(ring, image.width, image.height))]
        if not problems:
            noticed.append(finding("N05", where, "segmentation is polygons; expected run lengths", item=id))
            return None, [[[float(v) for v in ring]] for ring in rings]
        wrong = problems[0]
    noticed.append(finding(wrong[:3], where, f"{wrong[4:]}; kept beside the columns", item=id))
    return None, None


def _note_other_size(id: str, image: Image, width: int, height: int, where: str, noticed: list[Finding]) -> None:
    if image.width is not None and (width, height) != (image.width, image.height):
        message = f"mask is {width} x {height}, picture {image.width} x {image.height}; kept as found"
        noticed.append(finding("M05", where, message, item=id))


def _shown(value: Any) -> str:
    return "missing" if value is UNSET else repr(value)[:80]
