"""Writes a tiny Mapillary Vistas: the layout of the v2.0 archive, which holds the annotations of v1.2 too.

Rasters, panoptic pictures and polygons are made from the same rectangles. Run it to look at one:
``python tests/sources/mapillary_vistas/tree.py FOLDER``.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TABLES = Path(__file__).parents[3] / "curate/sources"
UNLABELED = "void--unlabeled"
ROAD, SKY = "construction--flat--road", "nature--sky"
BIRD, CAR, PERSON = "animal--bird", "object--vehicle--car", "human--person--individual"
GROUPS = ("human--person--person-group", "object--vehicle--vehicle-group", "object--support--pole-group")
# What classes of v2.0 are called in v1.2.
OLD_NAMES = {PERSON: "human--person", GROUPS[0]: "human--person", GROUPS[1]: CAR, GROUPS[2]: "object--support--pole"}
OLD_NAMES |= {"object--traffic-light--pedestrians": "object--traffic-light"}

A, B, C = "A" * 22, "-" + "B" * 21, "C" * 20 + "_C"
A_LOWER, PANOPTIC, POLYGONS, TESTING = "a" * 22, "panoptic" + "0" * 14, "polygons" + "0" * 14, "t" * 22

# key -> split, width, height, and rectangles (class, left, top, right, bottom; corners included) in painting order.
Rectangle = tuple[str, int, int, int, int]
IMAGES: dict[str, tuple[str, int, int, list[Rectangle]]] = {
    A: (
        "training",
        64,
        48,
        [
            (SKY, 0, 0, 63, 19),
            (ROAD, 0, 20, 63, 47),
            (BIRD, 5, 3, 8, 5),  # its value in the raster is 0
            (BIRD, 15, 4, 17, 6),
            (CAR, 2, 22, 21, 33),
            (CAR, 22, 24, 29, 29),
            (CAR, 22, 24, 29, 29),  # covers the one before, whose number is missing then
            (GROUPS[0], 32, 22, 37, 29),
            (GROUPS[1], 40, 22, 55, 29),
            (GROUPS[2], 58, 6, 61, 29),
            (PERSON, 24, 26, 25, 27),  # 4 px, and cuts a hole into the car
            ("object--support--pole", 10, 10, 11, 40),  # cuts another car in two
            ("object--traffic-light--pedestrians", 30, 5, 33, 12),
            ("void--ego-vehicle", 0, 44, 63, 47),
        ],
    ),
    B: ("training", 40, 56, [(SKY, 0, 0, 39, 55), (PERSON, 30, 20, 39, 40)]),
    A_LOWER: ("training", 32, 24, [(ROAD, 0, 0, 31, 23), (CAR, 4, 4, 13, 9)]),
    C: ("validation", 30, 20, []),  # void throughout
    PANOPTIC: ("training", 32, 24, [(ROAD, 0, 0, 31, 23), (GROUPS[1], 2, 2, 11, 7), (CAR, 12, 2, 21, 7)]),
    POLYGONS: ("training", 32, 24, [(SKY, 0, 0, 31, 23), (CAR, 20, 10, 40, 30), (BIRD, 40, 2, 50, 4)]),
    TESTING: ("testing", 32, 24, []),
}
TURNED = {C: 6}  # EXIF orientation


@cache
def labels(version: str) -> list[dict[str, Any]]:
    """The classes of a version as its config has them. Flags of v2.0 that are not public are guessed."""
    with (TABLES / f"mapillary_vistas_{version}.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = []
    for row in rows:
        known = row.get("instances", row.get("instances_in_v1.2_same_name"))
        thing = known == "1" if known else row["name"].split("--")[0] in ("object", "human", "animal")
        readable = row["name"].split("--")[-1].replace("-", " ").title()
        color = [int(value) for value in row["rgb"].split()]
        evaluate = not row["name"].startswith("void--")
        found.append(
            {"name": row["name"], "readable": readable, "color": color, "instances": thing, "evaluate": evaluate}
        )
    return found


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20170822)
    (root / "LICENSE").parent.mkdir(parents=True, exist_ok=True)
    (root / "LICENSE").write_text("research, non-commercial, no redistribution\n")
    (root / "demo.py").write_text("# prints the classes of a picture\n")
    for version in ("v1.2", "v2.0"):
        config = {"version": version, "mapping": "public", "folder_structure": "", "labels": labels(version)}
        (root / f"config_{version}.json").write_text(json.dumps(config))
    for key, (split, width, height, rectangles) in IMAGES.items():
        picture(root / f"{split}/images/{key}.jpg", (width, height), draw, TURNED.get(key))
        if key not in (PANOPTIC, POLYGONS) and split != "testing":
            rasters(root / f"{split}/v2.0", key, (width, height), rectangles, "v2.0")
            old = [(OLD_NAMES.get(name, name), *box) for name, *box in rectangles]
            rasters(root / f"{split}/v1.2", key, (width, height), old, "v1.2")
    panoptic(root, "training", [A, PANOPTIC])
    for key in (A, POLYGONS):
        split, width, height, rectangles = IMAGES[key]
        polygons(root / f"{split}/v2.0/polygons/{key}.json", (width, height), rectangles)
    # What editors and file systems leave behind.
    (root / f"training/images/._{A}.jpg").write_bytes(b"\0\5\26\7")
    (root / f"training/v2.0/instances/.{A}.png.swp").write_bytes(b"b0VIM 9.0")


def picture(path: Path, size: tuple[int, int], draw: random.Random, orientation: int | None = None) -> None:
    """A JPEG of random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24)).resize(size, Image.Resampling.NEAREST)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    blocks.save(path, exif=exif)


def instances(size: tuple[int, int], rectangles: list[Rectangle], version: str) -> np.ndarray:
    """Values ``id * 256 + number`` ``(height, width)``; stuff has the number 0, what nothing covers is unlabelled."""
    table = labels(version)
    numbers = {label["name"]: i for i, label in enumerate(table)}
    counted: Counter[str] = Counter()
    raster = np.full(size[::-1], numbers[UNLABELED] * 256, np.uint16)
    for name, left, top, right, bottom in rectangles:
        raster[top : bottom + 1, left : right + 1] = numbers[name] * 256 + counted[name]
        counted[name] += table[numbers[name]]["instances"]
    return raster


def rasters(folder: Path, key: str, size: tuple[int, int], rectangles: list[Rectangle], version: str) -> None:
    """``instances`` (16 bits) and ``labels`` (8 bits, with a palette)."""
    raster = instances(size, rectangles, version)
    for kind in ("instances", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(raster).save(folder / f"instances/{key}.png")
    coloured = Image.fromarray((raster // 256).astype(np.uint8), "P")
    coloured.putpalette([value for label in labels(version) for value in label["color"]])
    coloured.save(folder / f"labels/{key}.png")


def panoptic(root: Path, split: str, keys: list[str]) -> None:
    """The panoptic file of a split and its pictures."""
    table = labels("v2.0")
    folder = root / f"{split}/v2.0/panoptic"
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for key in keys:
        _, width, height, rectangles = IMAGES[key]
        raster = instances((width, height), rectangles, "v2.0")
        colours = np.zeros((height, width, 3), np.uint8)
        segments = []
        for i, value in enumerate(np.unique(raster).tolist()):
            if table[value // 256]["name"] == UNLABELED:
                continue  # stays 0
            number = 2_000_007 + 65_793 * i
            colours[raster == value] = [number & 255, number >> 8 & 255, number >> 16]
            ys, xs = np.nonzero(raster == value)
            box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
            segments.append({"id": number, "category_id": value // 256 + 1, "area": len(xs), "bbox": box, "iscrowd": 0})
        Image.fromarray(colours).save(folder / f"{key}.png")
        images.append({"id": key, "file_name": f"{key}.jpg", "width": width, "height": height})
        annotations.append({"image_id": key, "file_name": f"{key}.png", "segments_info": segments})
    categories = [
        {
            "id": i + 1,
            "name": label["readable"],
            "supercategory": label["name"],
            "isthing": int(label["instances"]),
            "color": label["color"],
        }
        for i, label in enumerate(table)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "panoptic_2020.json").write_text(json.dumps(content))


def polygons(path: Path, size: tuple[int, int], rectangles: list[Rectangle]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = [
        {"id": i, "label": name, "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]}
        for i, (name, x1, y1, x2, y2) in enumerate(rectangles)
    ]
    path.write_text(json.dumps({"width": size[0], "height": size[1], "objects": objects}))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
