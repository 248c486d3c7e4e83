"""A contact sheet as one PNG: title, legend, and tiles in rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from curate.errors import printable
from curate.show.drawing import Colour, Label
from curate.show.tiles import Look, Tile

LOOK = Look(longest=380, enlarge_to=380, text=(6.2, 15.0))
_GAP, _MARGIN = 16, 28
_PAPER, _INK, _FAINT, _GREY = (255, 255, 255), (24, 26, 30), (104, 108, 116), (226, 228, 232)


class Entry(NamedTuple):
    """A class in the legend: its name, colour, and rows on the sheet."""

    name: str
    colour: Colour
    rows: int


def draw_sheet(tiles: Sequence[Tile], *, title: str, subtitle: str, legend: Sequence[Entry]) -> PilImage.Image:
    """The sheet as an RGB picture; four tiles in a row, fewer if there are fewer."""
    columns = min(max(len(tiles), 1), 4)
    width = 2 * _MARGIN + columns * LOOK.longest + (columns - 1) * _GAP
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    lines = _legend_lines(legend, width - 2 * _MARGIN)
    top = _MARGIN + 62 + 24 * len(lines) + (12 if lines else 0)
    heights = [max(tile.size[1] for tile in row) + 52 for row in rows]
    sheet = PilImage.new("RGB", (width, top + sum(heights) + _MARGIN // 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    inner = width - 2 * _MARGIN
    draw.text((_MARGIN, _MARGIN - 4), _fitted(draw, title, 24, inner), _INK, _font(24))
    draw.text((_MARGIN, _MARGIN + 30), _fitted(draw, subtitle, 14, inner), _FAINT, _font(14))
    for i, line in enumerate(lines):
        for x, entry in line:
            y = _MARGIN + 64 + 24 * i
            draw.rounded_rectangle((_MARGIN + x, y + 2, _MARGIN + x + 11, y + 13), 3, entry.colour)
            draw.text((_MARGIN + x + 18, y - 1), _legend_text(entry), _INK, _font(13))
    y = top
    for row, height in zip(rows, heights, strict=True):
        for i, tile in enumerate(row):
            _draw_tile(sheet, draw, tile, _MARGIN + i * (LOOK.longest + _GAP), y)
        y += height
    return sheet


def _draw_tile(sheet: PilImage.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int) -> None:
    width, height = tile.size
    if tile.picture is None or tile.overlay is None:
        draw.rectangle((x, y, x + width - 1, y + height - 1), _GREY)
        text = _fitted(draw, tile.problem or "", 13, width - 20)
        draw.text((x + width / 2, y + height / 2), text, _FAINT, _font(13), anchor="mm")
    else:
        shown = tile.picture.resize(tile.size, PilImage.Resampling.BICUBIC)
        shown.paste(tile.overlay, (0, 0), tile.overlay)
        for label in tile.labels:
            _draw_label(ImageDraw.Draw(shown), label)
        sheet.paste(shown, (x, y))
    draw.text((x, y + height + 5), _fitted(draw, printable(tile.image_id), 13, LOOK.longest), _INK, _font(13))
    caption = " · ".join(filter(None, (tile.caption, tile.note)))
    draw.text((x, y + height + 22), _fitted(draw, caption, 12, LOOK.longest), _FAINT, _font(12))


def _draw_label(draw: ImageDraw.ImageDraw, label: Label) -> None:
    text = _spelled(label.text)
    right = label.left + draw.textlength(text, _font(11)) + 7
    draw.rectangle((label.left, label.top, right, label.top + LOOK.text[1] - 1), label.colour)
    draw.text((label.left + 4, label.top + 0.5), text, _INK, _font(11))


def _legend_text(entry: Entry) -> str:
    return f"{_spelled(printable(entry.name))} {entry.rows:,}"


def _legend_lines(legend: Sequence[Entry], width: int) -> list[list[tuple[int, Entry]]]:
    """The entries broken into lines, each with its x."""
    lines: list[list[tuple[int, Entry]]] = []
    x = width
    for entry in legend:
        wide = 40 + round(_font(13).getlength(_legend_text(entry)))
        if x + wide > width:
            lines.append([])
            x = 0
        lines[-1].append((x, entry))
        x += wide
    return lines


def _fitted(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    """``text`` in letters that the font has, its middle left out where it is too long."""
    text = _spelled(text)
    if draw.textlength(text, _font(size)) <= width:
        return text
    for keep in range(min(len(text), 400), 1, -1):
        head = keep // 2
        short = f"{text[:head]}…{text[len(text) - keep + head :]}"
        if draw.textlength(short, _font(size)) <= width:
            return short
    return "…"


def _spelled(text: str) -> str:
    """``text`` without accents and with a ? for each letter that Pillow's own font does not have."""
    plain = unicodedata.normalize("NFKD", text.replace("×", "x"))
    letters = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c in "·…" else "?" for c in letters)


@cache
def _font(size: int) -> Any:
    # Pillow's own font, so that a sheet looks the same on every machine.
    return ImageFont.load_default(size)
