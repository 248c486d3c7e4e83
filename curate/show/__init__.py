"""Contact sheets: pictures of a dataset with boxes and masks drawn, as PNG or as one HTML page.

::

    from curate.show import show

    page = show(dataset, kind="html", classes=["Car"], limit=24)
    Path("page.html").write_bytes(page.content)
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from curate.dataset import Dataset
from curate.show.drawing import colour_of
from curate.show.page import CROPS, LOOK, QueryRow, draw_page
from curate.show.picking import STATUSES, annotations_shown, pick_images, pick_objects, spread
from curate.show.sheet import LOOK as SHEET_LOOK
from curate.show.sheet import Entry, draw_sheet
from curate.show.tiles import Tile, image_tiles, object_tiles

LEGEND_CLASSES = 40

__all__ = ["STATUSES", "Entry", "Shown", "contact_tiles", "legend_of", "query_rows", "show"]


class Shown(NamedTuple):
    """A drawn sheet: its bytes, and what is on it."""

    content: bytes
    tiles: list[str]  # ids of the images, or of the annotations where crops are shown
    annotations: int
    problems: dict[str, str]  # tile -> why there is no picture


def show(
    dataset: Dataset,
    *,
    kind: Literal["html", "png"],
    images: Sequence[str] = (),
    classes: Sequence[str] = (),
    statuses: Sequence[str] = ("truth",),
    limit: int = 24,
    crops: bool = False,
    roots: Mapping[str, str] | None = None,
) -> Shown:
    """Draw a contact sheet. The page of a dataset with queries also shows some of them, with images that answer them.

    Args:
        images: show these images; otherwise ``limit`` of them, evenly spread over the sorted ids of those that have
            annotations of these ``classes`` and ``statuses``.
        classes: draw annotations of these classes only; all if empty.
        crops: show objects with what is around them, class by class, instead of whole images.
        roots: folders of images by source, where they are not those of the import.

    Raises:
        UsageError: an image or class is unknown.
    """
    tiles = contact_tiles(
        dataset, kind=kind, images=images, classes=classes, statuses=statuses, limit=limit, crops=crops, roots=roots
    )
    legend = legend_of(tiles)
    totals = dataset.counts()
    whole = totals["annotations" if crops else "images"]
    drawn = sum(len(tile.marks) for tile in tiles)
    subtitle = f"{len(tiles):,} of {whole:,} {'objects' if crops else 'images'}"
    subtitle += "" if crops else f" · {drawn:,} of {totals['annotations']:,} annotations drawn"
    if kind == "png":
        picture = draw_sheet(tiles, title=dataset.info.name, subtitle=subtitle, legend=legend)
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        content = stream.getvalue()
    else:
        sources = [
            " · ".join(filter(None, (record.title, record.licence)))
            for _, record in sorted(dataset.info.sources.items())
        ]
        chosen = images or classes or crops or not dataset.table("queries").num_rows
        content = draw_page(
            tiles,
            title=dataset.info.name,
            subtitle=subtitle,
            legend=legend,
            sources=sources,
            queries=[] if chosen else query_rows(dataset, roots=roots),
            crops=crops,
        ).encode("utf-8", "backslashreplace")
    return Shown(
        content,
        [tile.id for tile in tiles],
        drawn,
        {tile.id: tile.problem for tile in tiles if tile.problem},
    )


def contact_tiles(
    dataset: Dataset,
    *,
    kind: Literal["html", "png"],
    images: Sequence[str] = (),
    classes: Sequence[str] = (),
    statuses: Sequence[str] = ("truth",),
    limit: int = 24,
    crops: bool = False,
    roots: Mapping[str, str] | None = None,
) -> list[Tile]:
    """The tiles of :func:`show`, in order."""
    shown = annotations_shown(dataset, classes, statuses)
    if crops:
        if images:
            pick_images(dataset, shown, images=images, limit=limit)
        rows = pick_objects(shown, images=images, limit=limit)
        return list(object_tiles(dataset, rows, CROPS if kind == "html" else SHEET_LOOK, roots))
    ids = pick_images(dataset, shown, images=images, limit=limit, only_annotated=bool(classes))
    return list(image_tiles(dataset, ids, shown, LOOK if kind == "html" else SHEET_LOOK, roots))


def legend_of(tiles: Sequence[Tile]) -> list[Entry]:
    """The classes on the tiles with their colours and counts, most frequent first, at most :data:`LEGEND_CLASSES`."""
    counts = Counter(mark.category for tile in tiles for mark in tile.marks)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Entry(name, colour_of(name), count) for name, count in ordered[:LEGEND_CLASSES]]


def query_rows(
    dataset: Dataset, *, queries: int = 6, answers: int = 6, roots: Mapping[str, str] | None = None
) -> list[QueryRow]:
    """Some queries that have positives, evenly spread, each with the first of its positives in the gallery."""
    import pyarrow.compute as pc

    from curate.relevance import POSITIVE, relevance

    table = dataset.table("queries")
    chosen = table.take(spread(table.num_rows, 4 * queries))
    pairs = relevance(dataset, chosen["id"].to_pylist())
    pairs = pairs.filter(pc.is_in(pairs["label"], value_set=pc.cast(list(POSITIVE), "string")))
    found: dict[str, list[tuple[str, str | None]]] = {}
    for pair in pairs.to_pylist():
        found.setdefault(pair["query_id"], []).append((pair["image_id"], pair["annotation_id"]))
    answered = [row for row in chosen.to_pylist() if row["id"] in found]
    rows = []
    for row in [answered[i] for i in spread(len(answered), queries).tolist()]:
        hits = found[row["id"]]
        asked = _tiles(dataset, [(row["image_id"], row["annotation_id"])], roots) if row["image_id"] else []
        caption = f"{len(hits):,} positive{'' if len(hits) == 1 else 's'}"
        shown = tuple(_tiles(dataset, hits[:answers], roots))
        rows.append(QueryRow(row["id"], caption, row["text"], asked[0] if asked else None, shown))
    return rows


def _tiles(dataset: Dataset, pairs: Sequence[tuple[str, str | None]], roots: Mapping[str, str] | None) -> list[Tile]:
    """The annotation of each pair cut out, or the whole image where none is named or it has no box."""
    shown = annotations_shown(dataset).slice(0, 0)
    tiles = []
    for image_id, annotation_id in pairs:
        cut = list(object_tiles(dataset, [annotation_id], CROPS, roots)) if annotation_id else []
        tiles += cut or list(image_tiles(dataset, [image_id], shown, CROPS, roots))
    return tiles
