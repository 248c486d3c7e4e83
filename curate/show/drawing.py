"""Annotations drawn over a picture: masks as translucent fills with an outline, boxes as rectangles, and their labels.

Everything is computed in the frame that the annotations were made in. A view is a window of that frame at a scale; the
overlay lies on it as a transparent picture. Only then the view is turned as the EXIF orientation says.

Styles: a full line for truth; dashes for groups (crowds); dots for proposals, crossed out if rejected; hatching for
regions to be ignored.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw

from curate.geometry import Box, check_ring, check_rle, mask_from_rle, rle_bounds
from curate.model import Polygons, Rle

Colour = tuple[int, int, int]
# EXIF orientation -> how the stored picture is turned for viewing.
_LABELLED_FROM = 22  # view pixels; the colour must do for smaller boxes
_FAR = 100.0  # view pixels outside the view that are still told apart
# Lightness and chroma of the colours, in Oklab; the hue adds to these.
_TONES = ((0.70, 0.19), (0.80, 0.15), (0.88, 0.12))
_SALT = 11_443  # chosen so that the classes of KITTI, and those of Cityscapes, lie well apart
_FILL, _HALO = 88, 120  # opacity of a mask's inside, and of the dark rim around lines


class Mark(NamedTuple):
    """One annotation to draw, in pixels of its frame; ``colour`` is that of its category."""

    id: str
    category: str
    colour: Colour
    box: Box | None
    rle: Rle | None
    polygons: Polygons | None
    crowd: bool
    ignore: bool
    status: str
    score: float | None
    instance: str | None

    @property
    def text(self) -> str:
        return self.category if self.score is None else f"{self.category} {self.score:.2f}"


class View(NamedTuple):
    """A window ``x, y, w, h`` of a frame, shown at ``scale`` view pixels per frame pixel."""

    window: tuple[int, int, int, int]
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in view pixels."""
        return max(1, round(self.window[2] * self.scale)), max(1, round(self.window[3] * self.scale))

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """A box of the frame as left, top, right, bottom in view pixels, cut off far outside the view."""
        x, y, w, h = box
        left, right = ((v - self.window[0]) * self.scale for v in (x, x + w))
        top, bottom = ((v - self.window[1]) * self.scale for v in (y, y + h))
        width, height = self.size
        return _near(left, width), _near(top, height), _near(right, width), _near(bottom, height)


def _near(value: float, side: int) -> float:
    return min(max(value, -_FAR), side + _FAR)


class Label(NamedTuple):
    """Where a label stands: its text and colour, and the left and top of its chip in view pixels."""

    text: str
    colour: Colour
    left: float
    top: float


def colour_of(name: str) -> Colour:
    """A colour that follows from ``name`` alone: bright on photographs, and black text can be read on it."""
    code = zlib.crc32(name.encode("utf-8", "surrogatepass"), _SALT)
    lightness, chroma = _TONES[(code // 360) % len(_TONES)]
    hue = math.radians(code % 360)
    return _from_oklab(lightness, chroma * math.cos(hue), chroma * math.sin(hue))


def _from_oklab(lightness: float, a: float, b: float) -> Colour:
    """Oklab (B. Ottosson, "A perceptual color space for image processing", 2020) to 8-bit sRGB, clipped."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    clipped = (min(max(v, 0.0), 1.0) for v in linear)
    red, green, blue = (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in clipped)
    return round(red * 255), round(green * 255), round(blue * 255)


def mark_of(row: dict[str, Any]) -> Mark:
    """A row of the table annotations as a mark."""
    category = row["category"] or "no class"
    box = None if row["x"] is None or row["w"] is None else (row["x"], row["y"], row["w"], row["h"])
    rle = row["segmentation"]
    return Mark(
        row["id"],
        category,
        colour_of(category),
        box,
        Rle(tuple(rle["size"]), rle["counts"]) if rle and len(rle["size"]) == 2 else None,
        row["polygons"],
        row["iscrowd"],
        row["ignore"],
        row["status"],
        row["score"],
        row["instance"],
    )


def overlay(
    marks: Iterable[Mark], frame: tuple[int, int], view: View, *, fill: bool = True, line: int = 1
) -> PilImage.Image:
    """The marks as a transparent picture (RGBA) of the view's size; without ``fill``, masks show their outline only.

    That is ``line`` pixels of the view wide, and lies inside the mask.
    """
    marks = list(marks)
    width, height = view.size
    paint = np.zeros((height, width, 4), np.uint8)
    # Large ones first, so that small ones stay visible on top of them.
    for mark in sorted(marks, key=lambda m: -(m.box[2] * m.box[3] if m.box else 0)):
        found = _mask(mark, frame, view)
        if found is not None:
            _paint_mask(paint, mark, *found, fill=fill, line=line)
        elif mark.ignore and mark.box:
            left, top, right, bottom = (round(v) for v in view.place(mark.box))
            left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
            if right > left and bottom > top:
                _hatch(paint, mark, np.ones((bottom - top, right - left), bool), left, top)
    picture = PilImage.fromarray(paint)
    draw = ImageDraw.Draw(picture)
    for mark in marks:
        if mark.box:
            _draw_box(draw, mark, view.place(mark.box))
    return picture


def _mask(mark: Mark, frame: tuple[int, int], view: View) -> tuple[NDArray[np.bool_], int, int] | None:
    """The mark's mask in view pixels, with its left and top there; None if it has none that fits the frame."""
    if mark.rle is not None and mark.rle.size == (frame[1], frame[0]) and check_rle(mark.rle) is None:
        x, y, w, h = (int(v) for v in rle_bounds(mark.rle))
        if not w or not h:
            return None
        inside = mask_from_rle(mark.rle)[y : y + h, x : x + w]
        left, top, right, bottom = (round(v) for v in view.place((x, y, w, h)))
        size = max(right - left, 1), max(bottom - top, 1)
        small = PilImage.fromarray(inside * np.uint8(255)).resize(size, PilImage.Resampling.BILINEAR)
        return np.asarray(small) >= 128, left, top
    rings = [ring for part in mark.polygons or [] for ring in part]
    if not rings or mark.rle is not None or any(check_ring(ring, *frame) for ring in rings):
        return None
    canvas = PilImage.new("1", view.size)
    draw = ImageDraw.Draw(canvas)
    for part in mark.polygons or []:
        for i, ring in enumerate(part):
            points = np.asarray(ring).reshape(-1, 2)
            points = (points - np.array(view.window[:2])) * view.scale
            draw.polygon([tuple(point) for point in points.tolist()], fill=0 if i else 1)
    return np.asarray(canvas), 0, 0


def _paint_mask(
    paint: NDArray[np.uint8], mark: Mark, mask: NDArray[np.bool_], left: int, top: int, *, fill: bool, line: int
) -> None:
    rows = slice(max(top, 0), min(top + mask.shape[0], paint.shape[0]))
    columns = slice(max(left, 0), min(left + mask.shape[1], paint.shape[1]))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    inner = mask
    for _ in range(line):
        inner = inner & _moved(inner, 1, 0) & _moved(inner, -1, 0) & _moved(inner, 0, 1) & _moved(inner, 0, -1)
    cut = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    mask, edge = mask[cut], (mask & ~inner)[cut]
    target = paint[rows, columns]
    if fill:
        target[mask] = (*mark.colour, _FILL // 2 if mark.status != "truth" else _FILL)
    if mark.ignore:
        _hatch(paint, mark, mask, columns.start, rows.start)
    target[edge] = (*mark.colour, 235)


def _moved(mask: NDArray[np.bool_], dy: int, dx: int) -> NDArray[np.bool_]:
    """``mask`` moved by a pixel; what comes in from outside is empty."""
    padded = np.pad(mask, 1)
    return padded[1 - dy : 1 - dy + mask.shape[0], 1 - dx : 1 - dx + mask.shape[1]]


def _hatch(paint: NDArray[np.uint8], mark: Mark, mask: NDArray[np.bool_], left: int, top: int) -> None:
    rows, columns = np.nonzero(mask)
    stripe = (rows + top + columns + left) % 9 < 2
    paint[rows + top, columns + left] = (*mark.colour, 40)
    paint[rows[stripe] + top, columns[stripe] + left] = (*mark.colour, 215)


def _draw_box(draw: ImageDraw.ImageDraw, mark: Mark, box: tuple[float, float, float, float]) -> None:
    """The outermost pixels of the box, with a thin dark rim inside and outside."""
    left, top, right, bottom = (round(v) for v in box)
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    small = max(right - left, bottom - top) < 24
    width = 1 if small or mark.rle is not None else 2
    on, off = (3, 3) if mark.status != "truth" else (9, 5) if mark.crowd or mark.ignore else (1, 0)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0, _HALO))
    if min(right - left, bottom - top) >= 2 * width:
        draw.rectangle((left + width, top + width, right - width, bottom - width), outline=(0, 0, 0, _HALO))
    colour, inward = (*mark.colour, 255), width - 1
    for start, end in _dashes(left, right, on, off):
        draw.rectangle((start, top, end, min(top + inward, bottom)), colour)
        draw.rectangle((start, max(bottom - inward, top), end, bottom), colour)
    for start, end in _dashes(top, bottom, on, off):
        draw.rectangle((left, start, min(left + inward, right), end), colour)
        draw.rectangle((max(right - inward, left), start, right, end), colour)
    if mark.status == "rejected":
        draw.line((left, top, right, bottom), colour)
        draw.line((left, bottom, right, top), colour)


def _dashes(first: int, last: int, on: int, off: int) -> list[tuple[int, int]]:
    """The pixels from ``first`` to ``last`` in pieces of ``on``, ``off`` apart; one piece if ``off`` is 0."""
    if not off:
        return [(first, last)]
    return [(start, min(start + on - 1, last)) for start in range(first, last + 1, on + off)]


def place_labels(
    labelled: Sequence[tuple[str, Colour, tuple[float, float, float, float]]],
    size: tuple[int, int],
    text_size: tuple[float, float],
) -> list[Label]:
    """Labels above their boxes, or inside at the top or bottom, or below. Small boxes and those without room get none.

    Args:
        labelled: text, colour and box (left, top, right, bottom) of each, in view pixels.
        size: width and height of the view.
        text_size: width per character and height of a chip.
    """
    placed: list[tuple[float, float, float, float]] = []
    labels = []
    per_character, height = text_size
    # Large boxes first: their labels matter most and need the least searching.
    order = sorted(range(len(labelled)), key=lambda i: -_area(labelled[i][2]))
    for text, colour, (left, top, right, bottom) in (labelled[i] for i in order):
        width = per_character * len(text) + 8
        x = min(max(left, 0), max(size[0] - width, 0))
        outside = right < 0 or bottom < 0 or left > size[0] or top > size[1]
        if outside or max(right - left, bottom - top) < _LABELLED_FROM:
            continue
        for y in (top - height, top, bottom - height, bottom):
            chip = x, y, x + width, y + height
            if 0 <= y <= size[1] - height and not any(_overlap(chip, other) for other in placed):
                placed.append(chip)
                labels.append(Label(text, colour, x, y))
                break
    return labels


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
