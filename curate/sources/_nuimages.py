"""nuImages: key frames with boxes and masks that were annotated in the picture.

Tables as nuScenes has them, but ``object_ann`` and ``surface_ann`` in the place of ``sample_annotation``. A box is
``[xmin, ymin, xmax, ymax]`` (``w = xmax - xmin``), amodal; a mask is COCO's compressed run lengths in base64, visible
pixels only. Surfaces have a mask and no box: theirs is that of the mask, ``max + 1 - min``.
"""

from __future__ import annotations

import binascii
import contextlib
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from curate.errors import SourceError
from curate.geometry import (
    Box,
    box_from_corners,
    check_counts,
    check_rle,
    rle_area,
    rle_bounds,
    rle_from_counts,
)
from curate.model import Annotation, Finding, Item, Parsed, Rle, finding
from curate.sources._files import Size, list_files
from curate.sources._json_tables import Place, locate_records, read_place, read_records
from curate.sources._nuscenes_tables import (
    Count,
    Log,
    Named,
    Shot,
    Token,
    by_token,
    image_of,
    key_of,
    read_picture,
    shots,
    table_path,
)

PREFIX = "nuimages/"
UNLABELLED = f"{PREFIX}test"
SURFACES = ("flat.driveable_surface",)
_OBJECTS, _SURFACES = "object_ann", "surface_ann"


class _Sample(Struct, frozen=True):
    token: str
    log_token: str


class _Owned(Struct, frozen=True):
    sample_data_token: str


class _Mask(Struct, frozen=True):
    size: tuple[Count, Count]  # height, width
    counts: str | list[Count]


class _Marked(Struct, frozen=True):
    """A row of ``object_ann``, or of ``surface_ann`` (then without box and attributes)."""

    token: Token
    category_token: str
    mask: _Mask | None = None
    bbox: tuple[float, float, float, float] | None = None
    attribute_tokens: list[str] = []


class Frame(NamedTuple):
    """What the parser of a key frame needs; ``places`` is None in a split without labels."""

    shot: Shot
    log: Log | None
    places: Mapping[str, Sequence[Place]] | None  # by table
    categories: Mapping[str, str]
    attributes: Mapping[str, str]


def is_nuimages(root: Path, folder: str) -> bool:
    """Whether the tables of ``folder`` are those of nuImages."""
    return f"{_OBJECTS}.json" in list_files(root, folder, ".json")


def scan_version(root: Path, folder: str, split: str, cameras: Collection[str] | None) -> list[Item]:
    """The key frames of ``cameras`` (of all if None) in the tables of ``folder``.

    Raises:
        SourceError: a table is missing, unreadable or malformed.
    """
    logs = by_token(root, folder, "log", Log)
    owners = {one.token: logs.get(one.log_token) for one in read_records(table_path(root, folder, "sample"), _Sample)}
    chosen = list(shots(root, folder, cameras))
    wanted = {shot.record.token for shot in chosen}
    labelled = split != UNLABELLED
    places = {name: _locate(root, folder, name, wanted) for name in (_OBJECTS, _SURFACES)} if labelled else {}
    categories = {one.token: one.name for one in by_token(root, folder, "category", Named).values()}
    attributes = {one.token: one.name for one in by_token(root, folder, "attribute", Named).values()}
    items = []
    for shot in chosen:
        own = {name: table.get(shot.record.token, []) for name, table in places.items()}
        frame = Frame(shot, owners.get(shot.record.sample_token), own if labelled else None, categories, attributes)
        image = shot.record.filename if shot.found else None
        items.append(
            Item(f"nuscenes/{PREFIX}{key_of(shot.record)}", root, split, image, f"{folder}/sample_data.json", frame)
        )
    return items


def _locate(root: Path, folder: str, name: str, wanted: Collection[str]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place, owned in locate_records(table_path(root, folder, name), _Owned):
        if owned.sample_data_token in wanted:
            found.setdefault(owned.sample_data_token, []).append(place)
    return found


def parse(item: Item, licence: str) -> Parsed:
    """One key frame with its objects and surfaces.

    Raises:
        SourceError: the picture is broken, or an annotation lacks a field, has flipped corners or run lengths that do
            not fill its mask.
    """
    frame: Frame = item.data
    size, header, others = read_picture(item, frame.shot)
    image = image_of(item, frame.shot, size, header, frame.log)
    image = msgspec.structs.replace(image, licence=licence, sequence=frame.log.logfile if frame.log else None)
    rows: list[Annotation] = []
    for table, places in (frame.places or {}).items():
        path = item.root / frame.shot.folder / f"{table}.json"
        if not places:
            continue
        with path.open("rb") as stream:
            for place in places:
                marked = read_place(stream, place, _Marked, path)
                row, noticed = _annotation(item, marked, f"{table}.json, [{place.number}]", size)
                rows.append(row)
                others += noticed
    used: set[str] = set()
    for row in rows:
        if row.id in used:
            token = row.id.rpartition("#")[2]
            raise SourceError(item.root / frame.shot.folder, f"token {token!r} stands twice in its annotations")
        used.add(row.id)
    return Parsed(image, rows, others)


def _annotation(item: Item, marked: _Marked, place: str, size: Size | None) -> tuple[Annotation, list[Finding]]:
    frame: Frame = item.data
    where = f"{frame.shot.folder}/{place}"
    name = frame.categories.get(marked.category_token)
    mask = _rle(marked.mask, f"{item.root / where}.mask") if marked.mask else None
    box = _box(marked, mask, f"{item.root / where}")
    x, y, w, h = box or (None, None, None, None)
    row = Annotation(
        id=f"{item.id}#{marked.token}",
        image_id=item.id,
        category=name,
        source_label=name,
        x=x,
        y=y,
        w=w,
        h=h,
        area=rle_area(mask) if mask else w * h if w is not None and h is not None else None,
        segmentation=mask,
        attributes={"nuscenes": {"attributes": [frame.attributes.get(one, one) for one in marked.attribute_tokens]}},
    )
    return row, list(_odd(row, frame, marked, where, size))


def _box(marked: _Marked, mask: Rle | None, where: str) -> Box | None:
    if marked.bbox is None:
        return rle_bounds(mask) if mask else None
    x1, y1, x2, y2 = marked.bbox
    if x2 < x1 or y2 < y1:
        raise SourceError(f"{where}.bbox", f"box {list(marked.bbox)} has flipped corners", "expected xmin <= xmax")
    return box_from_corners(x1, y1, x2, y2)


def _odd(row: Annotation, frame: Frame, marked: _Marked, where: str, size: Size | None) -> Iterator[Finding]:
    if row.category is None:
        message = f"category {marked.category_token!r} is not in the tables; kept without a class"
        yield finding("R03", where, message, item=row.id)
    for token in marked.attribute_tokens:
        if token not in frame.attributes:
            yield finding("R03", where, f"attribute {token!r} is not in the tables; kept as found", item=row.id)
    if row.segmentation and size and row.segmentation.size != size[::-1]:
        height, width = row.segmentation.size
        message = f"mask of {width} x {height} px in a picture of {size[0]} x {size[1]}; kept as found"
        yield finding("M05", where, message, item=row.id)


def _rle(mask: _Mask, where: str) -> Rle:
    """The run lengths of a mask: base64 as the development kit reads it, else COCO's own text, or plain numbers.

    Raises:
        SourceError: they do not fill the mask.
    """
    height, width = mask.size
    if not isinstance(mask.counts, str):
        wrong = check_counts(mask.counts, width, height)
        if wrong is None:
            return rle_from_counts(mask.counts, width, height)
        raise _bad_mask(where, wrong)
    texts = [mask.counts]
    with contextlib.suppress(binascii.Error, ValueError):
        texts.insert(0, b64decode(mask.counts, validate=True).decode("ascii"))
    wrong = ""
    for text in texts:
        rle = Rle((height, width), text)
        wrong = check_rle(rle) or ""
        if not wrong:
            return rle
    raise _bad_mask(where, wrong)


def _bad_mask(where: str, wrong: str) -> SourceError:
    return SourceError(where, wrong[4:], "expected COCO's run lengths, compressed, in base64")
