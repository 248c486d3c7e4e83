"""Writes a tiny Cityscapes tree: the layout of the unpacked archives, drawn pictures, polygons, rasters and persons.

The rasters are painted from the polygons as the format says: later objects over earlier ones, instances numbered per
class in file order. Run it to look at one: ``python tests/sources/cityscapes/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SIZE = (64, 32)
# The ids of the labels that occur here.
IDS = {"out of roi": 3, "ego vehicle": 1, "road": 7, "pole": 17, "polegroup": 18, "sky": 23, "person": 24, "rider": 25}
IDS |= {"car": 26, "caravan": 29, "motorcycle": 32, "bicycle": 33, "license plate": -1}
THINGS = set(range(24, 34))

Box = tuple[float, float, float, float]


def thing(label: str, x1: float, y1: float, x2: float, y2: float, **more: Any) -> dict[str, Any]:
    """An object of the JSON whose polygon is a rectangle, its corners included."""
    return {"label": label, "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]], **more}


FINE = {
    "train/aachen/aachen_000000_000019": [
        thing("road", 0, 16, 63, 31),
        thing("car", 2, 12, 21, 23, id=1, user="somebody", date="01-Jan-2015 00:00:00", verified=1),
        thing("car", 0, 0, 5, 5, deleted=1),
        thing("car", 12, 14, 31, 25, deleted=0),  # covers a part of the first car
        thing("cargroup", 40, 10, 50, 15),
        thing("polegroup", 33, 0, 35, 15),  # has a label of its own: no group of poles
        thing("pole", 37, 0, 38, 15),
        thing("caravan", 52, 4, 60, 12),
        thing("license plate", 4, 20, 7, 22),
        thing("person", 58, 10, 70, 27),  # leaves the frame on the right
        thing("person", 61.5, 14.25, 62.5, 20.75),  # vertices are not always whole numbers
        {"label": "bicycle", "polygon": [[20, 28], [22, 28]]},  # two points
        thing("bicycle", 70, 40, 80, 50),  # wholly outside
        thing("bicycle", 10, 27, 17, 31),
        thing("persongroup", 44, 17, 49, 22),
        thing("out of roi", 0, 0, 64, 1),  # x = width
    ],
    "train/aachen/aachen_000001_000019": [],  # no objects, and still an image
    "val/frankfurt/frankfurt_000001_054640": [
        thing("sky", 0, 0, 63, 9),
        thing("rider", -4, 10, 6, 25),
        thing("motorcyclegroup", 30, 15, 39, 20),
        thing("bicycle", 2, 18, 15, 29),
    ],
    "test/berlin/berlin_000000_000019": [thing("ego vehicle", 0, 28, 63, 31), thing("out of roi", 0, 0, 64, 1)],
}
# Frames whose polygon file is not there, but the raster is.
RASTER_ONLY = {
    "train/bochum/bochum_000000_000313": [
        thing("car", 2, 12, 41, 23),
        thing("road", 18, 0, 23, 31),  # cuts the car in two
        thing("car", 24, 14, 25, 15),
        thing("car", 24, 14, 25, 15),  # covers the one before: its number leaves a gap
        thing("cargroup", 50, 10, 59, 15),
    ]
}
COARSE = {
    "train_extra/augsburg/augsburg_000000_000019": [thing("car", 20, 10, 29, 19), thing("cargroup", 35, 10, 45, 19)],
    # A frame of train that has coarse labels only.
    "train/aachen/aachen_000002_000019": [thing("bicycle", 3, 3, 9, 9)],
}
UNLABELLED = ["demoVideo/stuttgart_00/stuttgart_00_000000_000001", "val/frankfurt/frankfurt_000001_054884"]

PERSONS: dict[str, list[dict[str, Any]]] = {
    "train/aachen/aachen_000000_000019": [
        {"label": "pedestrian", "bbox": [58, 8, 14, 21], "bboxVis": [58, 10, 6, 18], "instanceId": 24000},
        {"label": "person group", "bbox": [44, 17, 6, 6], "bboxVis": [44, 17, 6, 6], "instanceId": 24},
        {"label": "ignore", "bbox": [1, 1, 4, 4], "bboxVis": [1, 1, 4, 4], "instanceId": 0},
        {"label": "sitting person", "bbox": [30, 2, 4, 8]},  # neither visible box nor number
    ],
    "train/aachen/aachen_000001_000019": [],
    "val/frankfurt/frankfurt_000001_054640": [
        {"label": "rider", "bbox": [-5, 9, 12, 17], "bboxVis": [0, 10, 7, 16], "instanceId": 25000}
    ],
}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20160411)
    for frame in sorted({*FINE, *RASTER_ONLY, *COARSE, *UNLABELLED}):
        picture(root / f"leftImg8bit/{frame}_leftImg8bit.png", draw)
    for kind, frames in (("gtFine", FINE), ("gtCoarse", COARSE)):
        for frame, objects in frames.items():
            put(root / f"{kind}/{frame}_{kind}_polygons.json", sized(objects))
            rasters(root / f"{kind}/{frame}_{kind}", objects)
    for frame, objects in RASTER_ONLY.items():
        rasters(root / f"gtFine/{frame}_gtFine", objects)
    for frame, persons in PERSONS.items():
        put(root / f"gtBboxCityPersons/{frame}_gtBboxCityPersons.json", sized(persons))
    # What the development kit adds on request: none of it is a split, a frame or a label file.
    put(
        root / "gtFine/cityscapes_panoptic_train.json",
        {"images": [{"id": "aachen_000000_000019", "file_name": "aachen_000000_000019_gtFine_leftImg8bit.png"}]},
    )
    picture(root / "gtFine/cityscapes_panoptic_train/aachen_000000_000019_gtFine_panoptic.png", draw)
    # What editors and file systems leave behind.
    (root / "leftImg8bit/train/aachen/._aachen_000000_000019_leftImg8bit.png").write_bytes(b"\0\5\26\7")
    (root / "gtFine/train/aachen/.aachen_000000_000019_gtFine_polygons.json.swp").write_bytes(b"b0VIM 9.0")
    (root / "gtFine/train/.DS_Store").write_bytes(b"\0\0\0\1Bud1")


def sized(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"imgHeight": SIZE[1], "imgWidth": SIZE[0], "objects": objects}


def picture(path: Path, draw: random.Random) -> None:
    """A PNG of random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    blocks.resize(SIZE, Image.Resampling.NEAREST).save(path)


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def rasters(stem: Path, objects: list[dict[str, Any]]) -> None:
    """``_instanceIds.png`` (16 bits), ``_labelIds.png``, ``_labelTrainIds.png`` (8 bits) and ``_color.png`` (RGBA)."""
    instances, labels = Image.new("I;16", SIZE), Image.new("L", SIZE)
    color = Image.new("RGBA", SIZE)
    counted: Counter[int] = Counter()
    for found in objects:
        if found.get("deleted"):
            continue
        name = found["label"]
        group = name not in IDS
        number = IDS[name.removesuffix("group") if group else name]
        if number < 0:
            continue
        value = number
        if number in THINGS and not group:
            value = number * 1000 + counted[number]
            counted[number] += 1
        points = [tuple(point) for point in found["polygon"]]
        for raster, fill in ((instances, value), (labels, number), (color, (number, 0, 0, 255))):
            ImageDraw.Draw(raster).polygon(points, fill=fill)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for raster, kind in ((instances, "instanceIds"), (labels, "labelIds"), (labels, "labelTrainIds"), (color, "color")):
        raster.save(f"{stem}_{kind}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
