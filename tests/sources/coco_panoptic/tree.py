"""Writes a tiny tree of COCO panoptic: one JSON file, PNGs whose colours number the segments, images; with oddities.

Run it to look at one: ``python tests/sources/coco_panoptic/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (16, 12)
NUMBERS = {"person": 3_226_956, "sky": 70_000, "crowd": 300}  # in all three channels, two, and two
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
    {"id": 187, "name": "sky-other-merged", "supercategory": "sky", "isthing": 0},
]
IMAGES = ["000000000139", "-000000000285", "000000000632"]


def numbers() -> np.ndarray:
    """The segment numbers of the first image."""
    raster = np.zeros((SIZE[1], SIZE[0]), np.uint32)
    raster[:4] = NUMBERS["sky"]
    raster[3:10, 2:6] = NUMBERS["person"]
    raster[5:7, 3:5] = 0  # unlabelled, and a hole
    raster[8:12, 10:16] = NUMBERS["crowd"]
    return raster


def save(raster: np.ndarray, path: Path) -> None:
    colours = np.stack([raster % 256, raster // 256 % 256, raster // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(path)


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    masks = root / "annotations/panoptic_val2017"
    masks.mkdir(parents=True)
    (root / "val2017").mkdir()
    for i, name in enumerate(IMAGES):
        Image.new("RGB", SIZE, (70 * i, 100, 40)).save(root / "val2017" / f"{name}.jpg", quality=60)
    save(numbers(), masks / f"{IMAGES[0]}.png")
    second = np.full((SIZE[1], SIZE[0]), 7, np.uint32)
    second[0, 0] = 9  # no segment has it
    save(second, masks / f"{IMAGES[1]}.png")
    (masks / f"._{IMAGES[0]}.png").write_bytes(b"left by macOS")
    segments = [
        {"id": NUMBERS["person"], "category_id": 1, "iscrowd": 0, "bbox": [2, 3, 4, 7], "area": 24},
        {"id": NUMBERS["sky"], "category_id": 187, "iscrowd": 0, "bbox": [0, 0, 16, 4], "area": 60},
        {"id": NUMBERS["crowd"], "category_id": 1, "iscrowd": 1, "bbox": [10, 8, 6, 4], "area": 20},  # 24 by the PNG
    ]
    others = [
        {"id": 7, "category_id": 187, "iscrowd": 0, "bbox": [0, 0, 16, 12], "area": 191},
        {"id": 8, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 2, 2], "area": 4},  # without pixel
    ]
    content = {
        "images": [
            {"id": int(name), "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]} for name in IMAGES
        ],
        "annotations": [
            {"image_id": int(IMAGES[0]), "file_name": f"{IMAGES[0]}.png", "segments_info": segments},
            {"image_id": int(IMAGES[1]), "file_name": f"{IMAGES[1]}.png", "segments_info": others},
        ],
        "categories": CATEGORIES,
    }
    (root / "annotations/panoptic_val2017.json").write_text(json.dumps(content))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
