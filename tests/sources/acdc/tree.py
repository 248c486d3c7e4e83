"""Writes a tiny ACDC tree: adverse images and their references, detection and panoptic files, semantic rasters.

Run it to look at one: ``python tests/sources/acdc/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

SIZE = (48, 27)
# The ids are those of Cityscapes, with gaps: neither caravan (29) nor trailer (30) is there.
THINGS = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
CLASSES = {7: "road", 23: "sky", **THINGS}

Rectangle = tuple[int, int, int, int]  # x, y, w, h

FRAMES = [
    "fog/train/GOPR0475_frame_000041",
    "fog/train/GP010475_frame_000041",  # the same number in another drive
    "fog/train_ref/GOPR0475_frame_000041",
    "fog/train_ref/GP010475_frame_000041",
    "night/val/GOPR0356_frame_000324",
    "night/val_ref/GOPR0356_frame_000324",
    "rain/train/GOPR0400_frame_000001",
    "rain/train_ref/GOPR0400_frame_000001",
    "snow/test/GOPR0122_frame_000005",
    "snow/test_ref/GOPR0122_frame_000005",
]


def polygon(*rectangles: Rectangle) -> list[list[int]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in rectangles]


def painted(rectangle: Rectangle) -> np.ndarray:
    x, y, w, h = rectangle
    canvas = np.zeros((SIZE[1], SIZE[0]), np.uint8, order="F")
    canvas[y : y + h, x : x + w] = 1
    return canvas


def plain_rle(rectangle: Rectangle) -> dict[str, Any]:
    flat = painted(rectangle).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    return {"counts": np.diff([0, *ends, flat.size]).tolist(), "size": [SIZE[1], SIZE[0]]}


def compressed_rle(rectangle: Rectangle) -> dict[str, Any]:
    rle = coco_mask.encode(painted(rectangle))
    return {"counts": rle["counts"].decode(), "size": rle["size"]}


# Per listed image: class, box, segmentation, area and iscrowd of its objects.
DETECTED: dict[str, list[tuple[int, list[float], Any, float, int]]] = {
    "fog/train/GOPR0475_frame_000041": [
        (26, [4, 10, 16, 8], polygon((4, 10, 16, 8)), 128, 0),
        # A full box; a pole hides the middle. The area is another rule's than the mask's.
        (24, [26, 6, 8, 15], polygon((26, 6, 3, 15), (31, 6, 3, 15)), 91.5, 0),
        (26, [36, 12, 10, 5], plain_rle((36, 12, 10, 5)), 50, 1),
    ],
    "rain/train/GOPR0400_frame_000001": [(28, [0, 4, 20, 12], compressed_rle((0, 4, 20, 12)), 240, 0)],
    "fog/train_ref/GOPR0475_frame_000041": [(26, [2, 10, 12, 8], polygon((2, 10, 12, 8)), 96, 0)],
    "rain/train_ref/GOPR0400_frame_000001": [],
    "night/val/GOPR0356_frame_000324": [],  # listed, and without objects
}
# Per image: number, class, rectangle, iscrowd of its segments; later ones lie over earlier ones.
SEGMENTS: dict[str, list[tuple[int, int, Rectangle, int]]] = {
    "fog/train/GOPR0475_frame_000041": [
        (7, 7, (0, 0, 48, 27), 0),
        (26_000, 26, (4, 10, 14, 8), 0),  # less than the full box
    ],
    "fog/train/GP010475_frame_000041": [
        (7, 7, (0, 12, 48, 15), 0),
        (23, 23, (0, 0, 48, 12), 0),
        (31_000, 31, (10, 4, 20, 16), 0),
        (24_000, 24, (14, 8, 4, 12), 0),
        (26, 26, (34, 14, 12, 6), 1),
    ],
    "night/val/GOPR0356_frame_000324": [(7, 7, (0, 0, 48, 27), 0), (33_000, 33, (1, 1, 2, 2), 0)],
}


def name_of(frame: str, kind: str) -> str:
    """``fog/train_ref/GOPR0475_frame_000041`` and ``rgb`` to the path of its file, below its type's folder."""
    condition, split, stem = frame.split("/")
    ref = "_ref" if split.endswith("_ref") else ""
    ending = {"rgb": f"rgb{ref}_anon.png", "panoptic": f"gt{ref}_panoptic.png", "labelIds": f"gt{ref}_labelIds.png"}
    return f"{condition}/{split}/{stem.split('_frame_')[0]}/{stem}_{ending[kind]}"


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20210825)
    for frame in FRAMES:
        picture(root / "rgb_anon" / name_of(frame, "rgb"), draw)
    for split, name in (("train", "train_gt"), ("val", "val_gt"), ("train_ref", "train_gt_ref")):
        put(root / f"gt_detection/instancesonly_{name}_detection.json", detection(split))
        put(root / f"gt_panoptic/{name}_panoptic.json", panoptic(split))
    # The files about one condition repeat the others; whether their ids agree is not known.
    put(root / "gt_detection/fog/instancesonly_fog_train_gt_detection.json", detection("train", "fog", first=500))
    put(root / "gt_detection/night/instancesonly_night_val_gt_detection.json", detection("val", "night", first=500))
    put(root / "gt_panoptic/fog/fog_train_gt_panoptic.json", panoptic("train", "fog"))
    # Lists of images without labels; one user has the second spelling.
    put(root / "gt_detection/instancesonly_test_image_info.json", listing("test"))
    put(root / "gt_detection/snow/instancesonly_snow_test_images_info.json", listing("test"))
    put(root / "gt_panoptic/test_ref_image_info.json", listing("test_ref"))
    for frame, segments in SEGMENTS.items():
        colours = Image.new("RGB", SIZE)
        for number, _, (x, y, w, h), _ in segments:
            fill = (number & 255, number >> 8 & 255, number >> 16)
            ImageDraw.Draw(colours).rectangle((x, y, x + w - 1, y + h - 1), fill=fill)
        save(colours, root / "gt_panoptic" / name_of(frame, "panoptic"))
    for frame in DETECTED:
        save(Image.new("L", SIZE, 7), root / "gt" / name_of(frame, "labelIds"))
    (root / "gt/test_ref_image_list.txt").write_text(name_of(FRAMES[-1], "rgb") + "\n")
    (root / "License.pdf").write_bytes(b"%PDF-1.4\n")
    # What editors and file systems leave behind.
    (root / "rgb_anon/fog/train/GOPR0475/._GOPR0475_frame_000041_rgb_anon.png").write_bytes(b"\0\5\26\7")


def picture(path: Path, draw: random.Random) -> None:
    """A PNG of random blocks."""
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    save(blocks.resize(SIZE, Image.Resampling.NEAREST), path)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def listed(frames: list[str], first: int = 100) -> list[dict[str, Any]]:
    return [
        {"id": first + i, "file_name": name_of(frame, "rgb"), "width": SIZE[0], "height": SIZE[1]}
        for i, frame in enumerate(frames)
    ]


def of(frames: dict[str, Any], split: str, condition: str) -> list[str]:
    return [frame for frame in frames if frame.split("/")[1] == split and frame.startswith(condition)]


def listing(split: str) -> dict[str, Any]:
    frames = [frame for frame in FRAMES if frame.split("/")[1] == split]
    return {"images": listed(frames), "categories": [{"id": number, "name": name} for number, name in THINGS.items()]}


def detection(split: str, condition: str = "", first: int = 100) -> dict[str, Any]:
    frames = of(DETECTED, split, condition)
    annotations = []
    for i, frame in enumerate(frames):
        for category, box, segmentation, area, crowd in DETECTED[frame]:
            row = {"id": len(annotations) + first, "image_id": i + first, "category_id": category, "bbox": box}
            annotations.append(row | {"area": area, "iscrowd": crowd, "segmentation": segmentation})
    categories = [{"id": number, "name": name, "supercategory": "x"} for number, name in THINGS.items()]
    return {"images": listed(frames, first), "annotations": annotations, "categories": categories}


def panoptic(split: str, condition: str = "") -> dict[str, Any]:
    frames = of(SEGMENTS, split, condition)
    annotations = []
    for i, frame in enumerate(frames):
        covered = np.zeros((SIZE[1], SIZE[0]), int)
        for number, _, (x, y, w, h), _ in SEGMENTS[frame]:
            covered[y : y + h, x : x + w] = number
        info = []
        for number, category, _, crowd in SEGMENTS[frame]:
            ys, xs = np.nonzero(covered == number)
            box = [int(v) for v in (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)]
            info.append({"id": number, "category_id": category, "area": len(xs), "bbox": box, "iscrowd": crowd})
        annotations.append({"image_id": 100 + i, "file_name": name_of(frame, "panoptic"), "segments_info": info})
    categories = [{"id": number, "name": name, "isthing": int(number in THINGS)} for number, name in CLASSES.items()]
    return {"images": listed(frames), "annotations": annotations, "categories": categories}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
