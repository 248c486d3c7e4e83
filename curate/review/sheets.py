"""All masked queries of a group in one picture, to be shown beside the image: what is to be found, and its outline."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw

from curate.columns import plain
from curate.dataset import Dataset
from curate.errors import ReviewError, SourceError
from curate.geometry import mask_from_rle
from curate.model import Rle
from curate.pictures import decoding, orientation_of
from curate.review.plan import Item
from curate.turning import turned_picture

_SIDE, _GAP = 220, 6  # pixels of one query, and between two


def sheets(dataset: Dataset, items: Sequence[Item], files: Mapping[str, Path]) -> dict[str, str]:
    """A picture for each query group of ``items``, as a ``data:`` address; empty where no query has a picture.

    ``files`` are the pictures by image id. The rest of a query's picture is dimmed; its mask, or else its box, is not.

    Raises:
        ReviewError: a query's picture is not there.
    """
    groups = {item.target: item.queries for item in items if item.target and item.queries}
    rows = {row["id"]: row for row in dataset.table("queries").to_pylist() if row["image_id"] in files}
    masks = _masks(dataset, {row["annotation_id"] for row in rows.values() if row["annotation_id"]})
    if not rows:
        return {}
    return {
        group: _address([_query(rows[name], files, masks) for name in names if name in rows])
        for group, names in sorted(groups.items())
    }


def _masks(dataset: Dataset, wanted: set[str]) -> dict[str, Rle]:
    table = dataset.table("annotations").select(["id", "segmentation"])
    found = {}
    for name, rle in zip(plain(table["id"]).to_pylist(), table["segmentation"].to_pylist(), strict=True):
        if name in wanted and rle is not None:
            found[name] = Rle((rle["size"][0], rle["size"][1]), rle["counts"])
    return found


def _query(row: Mapping[str, object], files: Mapping[str, Path], masks: Mapping[str, Rle]) -> PilImage.Image:
    file = files[str(row["image_id"])]
    try:
        with decoding(file) as opened:
            picture, orientation = opened.convert("RGB"), orientation_of(opened)
    except SourceError as error:
        found = f"picture of query {row['id']}: {error.found}"
        raise ReviewError(file, found, error.expected, "give --root, or unpack it again") from None
    light = PilImage.new("L", picture.size, 255)
    rle = masks.get(str(row["annotation_id"]))
    if rle is not None and rle.size == (picture.height, picture.width):
        light = PilImage.fromarray(np.where(mask_from_rle(rle) > 0, 255, 80).astype(np.uint8))
    elif row["x"] is not None:
        light = PilImage.new("L", picture.size, 80)
        x, y, w, h = (float(str(row[key])) for key in ("x", "y", "w", "h"))
        ImageDraw.Draw(light).rectangle((x, y, x + w - 1, y + h - 1), fill=255)
    picture = PilImage.composite(picture, PilImage.new("RGB", picture.size), light)
    picture.thumbnail((_SIDE, _SIDE))
    return turned_picture(picture, orientation)  # as the browser turns the image beside it


def _address(pictures: Sequence[PilImage.Image]) -> str:
    width = max(1, len(pictures) * (_SIDE + _GAP) - _GAP)
    sheet = PilImage.new("RGB", (width, _SIDE), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i * (_SIDE + _GAP), 0))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
