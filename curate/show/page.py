"""A contact sheet as one self-contained HTML page: pictures as data URIs, nothing fetched, no script."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image as PilImage

from curate.errors import printable
from curate.show.drawing import Colour, Mark
from curate.show.sheet import Entry
from curate.show.tiles import Look, Tile

LOOK = Look(longest=1080, enlarge_to=760, text=(6.4, 15.0))
CROPS = Look(longest=280, enlarge_to=280, text=(6.4, 15.0))
_TABLE_ROWS = 200


class QueryRow(NamedTuple):
    """A query and images that answer it; ``asked`` is None for a text."""

    name: str
    caption: str
    text: str | None
    asked: Tile | None
    answers: tuple[Tile, ...]


def draw_page(
    tiles: Sequence[Tile],
    *,
    title: str,
    subtitle: str,
    legend: Sequence[Entry],
    sources: Sequence[str] = (),
    queries: Sequence[QueryRow] = (),
    crops: bool = False,
) -> str:
    """The page as HTML."""
    return render(
        "page.html",
        {
            "title": printable(title),
            "subtitle": subtitle,
            "sources": [printable(line) for line in sources],
            "legend": legend_values(legend),
            "tiles": [tile_values(tile) for tile in tiles],
            "queries": [query_values(row) for row in queries],
            "crops": crops,
        },
    )


def render(template: str, values: Mapping[str, Any], *, package: str = "curate.show") -> str:
    """Fill a page of ``package``; every value is escaped."""
    import jinja2

    loaders = [jinja2.PackageLoader(name, "") for name in dict.fromkeys([package, "curate.show"])]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(template).render(**values) + "\n"


def _breakable(name: str) -> Any:
    """``name`` with places where a line may break, as in a long path."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([/_])(?=[^/_])", r"\1<wbr>", str(escape(name))))


def legend_values(legend: Sequence[Entry]) -> list[dict[str, str]]:
    """The legend as the template takes it."""
    return [{"name": printable(e.name), "colour": css(e.colour), "count": f"{e.rows:,}"} for e in legend]


def tile_values(tile: Tile) -> dict[str, Any]:
    """A tile as the templates take it."""
    width, height = tile.size
    return {
        "name": printable(tile.image_id),
        "caption": tile.caption,
        "note": tile.note,
        "alt": tile.alt,
        "problem": tile.problem,
        "width": width,
        "height": height,
        "picture": _uri(tile.picture, "JPEG") if tile.picture else "",
        "overlay": _uri(tile.overlay, "PNG") if tile.overlay else "",
        "labels": [
            {
                "text": label.text,
                "left": f"{100 * label.left / width:.2f}",
                "top": f"{100 * label.top / height:.2f}",
                "colour": css(label.colour),
            }
            for label in tile.labels
        ],
        "rows": [_row(mark) for mark in tile.marks[:_TABLE_ROWS]],
        "more": max(len(tile.marks) - _TABLE_ROWS, 0),
    }


def query_values(row: QueryRow) -> dict[str, Any]:
    """A query with its answers as the template takes it."""
    return {
        "name": printable(row.name),
        "caption": row.caption,
        "text": printable(row.text or ""),
        "asked": tile_values(row.asked) if row.asked else None,
        "answers": [tile_values(tile) for tile in row.answers],
    }


def _row(mark: Mark) -> dict[str, str]:
    styles = [mark.status, *(["group"] if mark.crowd else []), *(["ignore"] if mark.ignore else [])]
    return {
        "category": printable(mark.category),
        "colour": css(mark.colour),
        "box": ", ".join(f"{value:.6g}" for value in mark.box) if mark.box else "whole image",
        "status": ", ".join(styles),
        "instance": printable(mark.instance or ""),
        "score": "" if mark.score is None else f"{mark.score:.3f}",
    }


def css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _uri(picture: PilImage.Image, kind: str) -> str:
    stream = io.BytesIO()
    if kind == "JPEG":
        picture.save(stream, "JPEG", quality=84)
    else:
        # An overlay has few colours: a palette makes it several times smaller.
        picture.quantize(64, PilImage.Quantize.FASTOCTREE).save(stream, "PNG", optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
