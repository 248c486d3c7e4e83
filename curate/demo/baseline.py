"""A retrieval system as simple as one can be, so that the tour has results to score: histograms of colour.

A query is the histogram of its mask, or of its box; an image that of each cell of an 8 x 8 grid. Its score is the
largest cosine between the two: an object is small in its image, so that the image's own histogram would say little.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from curate.dataset import Dataset
from curate.geometry import mask_from_rle
from curate.model import Rle
from curate.relevance import gallery

LEVELS, GRID, SIDE = 6, 8, 128
Floats = NDArray[np.float64]


def rank_by_colour(dataset: Dataset, roots: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The score of every gallery image for every query that shows a picture, by their ids; rounded to 6 digits."""
    images = {row["id"]: row for row in dataset.table("images").select(["id", "source", "file_name"]).to_pylist()}
    items = gallery(dataset).to_pylist()
    cells = np.stack([_cells(_picture(images[item], roots)) for item in items])  # (images, cells, colours)
    boxes = {row["id"]: row for row in dataset.table("annotations").to_pylist() if row["status"] == "truth"}
    scores = {}
    for query in dataset.table("queries").to_pylist():
        if query["image_id"] is None:
            continue
        wanted = _histogram(_object(_picture(images[query["image_id"]], roots), boxes.get(query["annotation_id"])))
        found = (cells @ wanted).max(axis=1).round(6).tolist()
        scores[query["id"]] = {
            item: score for item, score in zip(items, found, strict=True) if item != query["image_id"]
        }
    return scores


def _picture(row: Mapping[str, Any], roots: Mapping[str, str]) -> PilImage.Image:
    with PilImage.open(Path(roots[row["source"]]) / row["file_name"]) as picture:
        return picture.convert("RGB")


def _object(picture: PilImage.Image, box: Mapping[str, Any] | None) -> NDArray[np.uint8]:
    """The pixels of the object, in rows of any length."""
    if box is not None and box["segmentation"]:
        rle = box["segmentation"]
        inside = mask_from_rle(Rle(tuple(rle["size"]), rle["counts"])) > 0
        if inside.any():
            return np.asarray(picture)[inside]
    if box is not None and box["x"] is not None:
        left, top = max(0, int(box["x"])), max(0, int(box["y"]))
        right, bottom = int(box["x"] + box["w"]), int(box["y"] + box["h"])
        picture = picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    return np.asarray(picture)


def _histogram(pixels: NDArray[np.uint8]) -> Floats:
    """Colours in LEVELS steps per channel, as a vector of length one."""
    steps = (pixels.reshape(-1, 3).astype(np.int64) * LEVELS) // 256
    counts = np.bincount(steps @ [LEVELS * LEVELS, LEVELS, 1], minlength=LEVELS**3).astype(np.float64)
    length: Floats = np.sqrt(counts)  # so that a large plain area does not drown the rest
    return length / np.linalg.norm(length)


def _cells(picture: PilImage.Image) -> Floats:
    pixels = np.asarray(picture.resize((SIDE, SIDE)))
    step = SIDE // GRID
    corners = [(y, x) for y in range(0, SIDE, step) for x in range(0, SIDE, step)]
    return np.stack([_histogram(pixels[y : y + step, x : x + step]) for y, x in corners])
