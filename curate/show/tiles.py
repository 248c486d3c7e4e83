"""The tiles of a contact sheet: a picture with its annotations, or one object with what is around it, and a caption.

A picture that is missing or cannot be read gives a tile that says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image as PilImage

from curate.dataset import Dataset
from curate.errors import CurateError, SourceError, printable
from curate.geometry import Box
from curate.pictures import below, decoding, grey_bytes, read_header
from curate.show.drawing import Label, Mark, View, mark_of, overlay, place_labels
from curate.turning import turned_box, turned_picture

_GREY = (128, 128, 128)
_SMALLEST_CROP = 32  # px of the frame


class Look(NamedTuple):
    """How large things are shown, in pixels of the view."""

    longest: int  # the longer side at most
    enlarge_to: int  # smaller pictures are enlarged up to this
    text: tuple[float, float]  # width per character and height of a label


class Tile(NamedTuple):
    """One picture of a sheet, ready to be shown: all turned as EXIF says, positions in pixels of ``overlay``."""

    id: str
    image_id: str
    caption: str
    size: tuple[int, int]
    picture: PilImage.Image | None
    overlay: PilImage.Image | None
    labels: tuple[Label, ...]
    marks: tuple[Mark, ...]
    problem: str | None = None
    note: str | None = None

    @property
    def alt(self) -> str:
        """The tile in words."""
        if self.problem:
            return f"{self.image_id}: {self.problem}"
        found = sorted({mark.category for mark in self.marks})
        named = ", ".join(found[:6]) + (f" and {len(found) - 6} more classes" if len(found) > 6 else "")
        return f"{self.image_id}, {self.caption}{f': {named}' if named else ''}"


def image_tiles(
    dataset: Dataset, ids: Sequence[str], shown: pa.Table, look: Look, roots: Mapping[str, str] | None = None
) -> Iterator[Tile]:
    """One tile for each of the images ``ids``, with those annotations of it that are among ``shown``."""
    marks = _marks_by_image(shown, ids)
    for row in _rows(dataset, ids):
        yield _tile(row, marks.get(row["id"], []), look, {**dataset.info.roots, **(roots or {})})


def object_tiles(
    dataset: Dataset,
    annotation_ids: Sequence[str],
    look: Look,
    roots: Mapping[str, str] | None = None,
    *,
    window: Box | None = None,
) -> Iterator[Tile]:
    """One tile for each of the annotations, cut out with half its size around it; those without box are left out.

    With ``window`` all are cut out around that box instead, so that they can be compared.
    """
    table = dataset.table("annotations")
    wanted = table.filter(pc.is_in(table["id"], value_set=pa.array(annotation_ids, pa.string()))).to_pylist()
    marks = {row["id"]: (row["image_id"], mark_of(row)) for row in wanted}
    images = {row["id"]: row for row in _rows(dataset, [image_id for image_id, _ in marks.values()])}
    places = {**dataset.info.roots, **(roots or {})}
    for annotation_id in annotation_ids:
        image_id, mark = marks[annotation_id]
        if mark.box is None:
            continue
        row = images.get(image_id)
        if row is None:
            yield _grey(annotation_id, image_id, "image is not in this dataset", look)
        else:
            yield _tile(row, [mark], look, places, around=mark if window is None else mark._replace(box=window))


def window_tile(
    dataset: Dataset,
    image_id: str,
    marks: Sequence[Mark],
    around: Box,
    look: Look,
    roots: Mapping[str, str] | None = None,
) -> Tile:
    """A tile of what lies around a box of the image, with ``marks`` (at least one) that need not be of the dataset."""
    window = marks[0]._replace(id=image_id, box=around)
    rows = _rows(dataset, [image_id])
    if not rows:
        return _grey(image_id, image_id, "image is not in this dataset", look)
    return _tile(rows[0], list(marks), look, {**dataset.info.roots, **(roots or {})}, around=window, line=3)


def _rows(dataset: Dataset, ids: Iterable[str]) -> list[dict[str, Any]]:
    table = dataset.table("images").select(["id", "source", "file_name", "width", "height", "orientation"])
    rows: list[dict[str, Any]] = table.filter(
        pc.is_in(table["id"], value_set=pa.array(sorted(set(ids)), pa.string()))
    ).to_pylist()
    return rows


def _marks_by_image(shown: pa.Table, ids: Sequence[str]) -> dict[str, list[Mark]]:
    marks: dict[str, list[Mark]] = {}
    for row in shown.filter(pc.is_in(shown["image_id"], value_set=pa.array(ids, pa.string()))).to_pylist():
        marks.setdefault(row["image_id"], []).append(mark_of(row))
    return marks


def _tile(
    row: dict[str, Any],
    marks: list[Mark],
    look: Look,
    roots: Mapping[str, str],
    *,
    around: Mark | None = None,
    line: int = 1,
) -> Tile:
    name = around.id if around else row["id"]
    try:
        picture, orientation, note = _open(row, roots, None if around else look.longest)
    except CurateError as error:
        return _grey(name, row["id"], error.found, look, (row["width"], row["height"]), tuple(marks))
    known = (row["width"] or 0) > 0 and (row["height"] or 0) > 0
    frame = (row["width"], row["height"]) if known else picture.size
    view = _view(frame, look, around)
    x, y, w, h = view.window
    # The picture may have been decoded smaller than its frame.
    fx, fy = picture.width / frame[0], picture.height / frame[1]
    seen = picture.crop((round(x * fx), round(y * fy), max(round((x + w) * fx), 1), max(round((y + h) * fy), 1)))
    if seen.width > view.size[0]:
        seen = seen.resize(view.size, PilImage.Resampling.BICUBIC)
    drawn = overlay(marks, frame, view, fill=around is None, line=line)
    placed = [
        (printable(mark.text), mark.colour, turned_box(view.place(mark.box), view.size, orientation))
        for mark in marks
        if mark.box
    ]
    turned = turned_picture(drawn, orientation)
    caption = _caption(frame, orientation, marks, around)
    return Tile(
        name,
        row["id"],
        caption,
        turned.size,
        turned_picture(seen, orientation),
        turned,
        tuple(place_labels(placed, turned.size, look.text)),
        tuple(marks),
        note=note,
    )


def _caption(frame: tuple[int, int], orientation: int | None, marks: list[Mark], around: Mark | None) -> str:
    if around and around.box:
        parts = [printable(around.text), f"{around.box[2]:.0f} × {around.box[3]:.0f} px"]
        return " · ".join([*parts, printable(around.instance)] if around.instance else parts)
    width, height = frame
    count = f"{len(marks):,} annotation{'' if len(marks) == 1 else 's'}" if marks else "no annotations"
    parts = [f"{width} × {height} px", count]
    whole = sorted({mark.category for mark in marks if mark.box is None})
    if whole:
        parts.append(printable(f"whole image: {', '.join(whole)}"))
    if orientation in range(2, 9):
        parts.append(f"turned (EXIF {orientation})")
    return " · ".join(parts)


def _view(frame: tuple[int, int], look: Look, around: Mark | None) -> View:
    x, y, w, h = 0, 0, *frame
    if around and around.box:
        # A square, so that crops stand in line; moved inwards at the frame's edge, and cut where the frame is smaller.
        bx, by, bw, bh = around.box
        side = max(math.ceil(2 * max(bw, bh)), _SMALLEST_CROP)
        w, h = min(side, frame[0]), min(side, frame[1])
        x = min(max(round(bx + bw / 2 - w / 2), 0), frame[0] - w)
        y = min(max(round(by + bh / 2 - h / 2), 0), frame[1] - h)
    longest = max(w, h)
    return View((x, y, w, h), min(look.longest / longest, max(1.0, look.enlarge_to / longest)))


def _open(
    row: dict[str, Any], roots: Mapping[str, str], longest: int | None
) -> tuple[PilImage.Image, int | None, str | None]:
    """The picture in the frame of its annotations, the orientation to turn it by, and what does not fit the record.

    Raises:
        SourceError: it cannot be shown; ``found`` says why.
    """
    path = _path(row, roots)
    header = read_header(path)
    orientation = row["orientation"] or header.orientation
    with decoding(path) as stored:
        if longest and stored.format == "JPEG" and stored.mode in ("L", "RGB"):
            stored.draft(stored.mode, (longest, longest))
        picture = _rgb(stored)
    recorded = (row["width"] or header.width, row["height"] or header.height)
    size = (header.width, header.height)
    if recorded != size and recorded == size[::-1] and orientation in (5, 6, 7, 8):
        # The annotations were made on the turned picture: nothing is left to turn.
        return turned_picture(picture, orientation), None, None
    note = None if recorded == size else f"the file has {size[0]} × {size[1]} px"
    return picture, orientation, note


def _path(row: dict[str, Any], roots: Mapping[str, str]) -> Path:
    name, source = row["file_name"], row["source"]
    if not name:
        raise SourceError(row["id"], "no file is known")
    root = roots.get(source)
    if root is None:
        raise SourceError(
            row["id"], f"no folder is known for {printable(source)}; give --root {printable(source)}=FOLDER"
        )
    path = below(root, name)
    if path is None:
        raise SourceError(row["id"], "file name leaves its root")
    return path


def _rgb(picture: PilImage.Image) -> PilImage.Image:
    if picture.mode.startswith(("I", "F")):  # 16 bit and more: from the darkest to the brightest value
        return PilImage.fromarray(grey_bytes(picture)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        return PilImage.alpha_composite(PilImage.new("RGBA", clear.size, (*_GREY, 255)), clear).convert("RGB")
    return picture.convert("RGB")


def _grey(
    name: str,
    image_id: str,
    problem: str,
    look: Look,
    size: tuple[int | None, int | None] = (None, None),
    marks: tuple[Mark, ...] = (),
) -> Tile:
    width, height = size if (size[0] or 0) > 0 and (size[1] or 0) > 0 else (4, 3)
    assert width and height
    scale = look.enlarge_to / max(width, height)
    shown = max(1, round(width * scale)), max(look.enlarge_to // 4, round(height * scale))
    return Tile(name, image_id, "no picture", shown, None, None, (), marks, problem=printable(problem))
