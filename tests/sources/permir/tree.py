"""Writes a tiny tree of BURST's annotations and TAO's frames, of which PerMIR selects; PDM's folders on demand.

Run it to look at one: ``python tests/sources/permir/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

SIZE = (40, 20)  # width, height
CATEGORIES = [
    {"id": 1, "name": "zebra", "synset": "zebra.n.01", "def": "any of several fleet black-and-white striped animals"},
    {"id": 2, "name": "cup", "synset": "cup.n.01", "def": "a small open container", "synonyms": ["cup"]},
    {"id": 9, "name": "giraffe", "synset": "giraffe.n.01", "def": "tallest living quadruped"},
]
BLOCK = tuple[int, int, int, int]  # x, y, w, h


def block(x: int, y: int, w: int, h: int, size: tuple[int, int] = SIZE) -> np.ndarray[Any, Any]:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


def segment(box: BLOCK, **more: Any) -> dict[str, Any]:
    counts = coco_mask.encode(np.asfortranarray(block(*box)))["counts"].decode()
    return {"rle": counts, "is_gt": True, "score": 1.0, **more}


def video(name: str, dataset: str, tracks: dict[str, int], frames: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    paths = [f"frame{i:04d}.jpg" for i in range(len(frames))]
    return {
        "id": 5,
        "seq_name": name,
        "dataset": dataset,
        "width": SIZE[0],
        "height": SIZE[1],
        "fps": 1,
        "all_image_paths": paths,
        "annotated_image_paths": paths,
        "neg_category_ids": [],
        "not_exhaustive_category_ids": [],
        "track_category_ids": tracks,
        "segmentations": frames,
        **more,
    }


def herd(count: int = 40, largest: int = 3) -> list[dict[str, Any]]:
    """Zebras 7 and 8 in every frame but the last two, where 8 is alone; a cup, 3, now and then. 8 is in more frames,
    but counts only where another zebra is; 7 is the first of the two. Zebra 7 is largest in frame ``largest``, then in
    frames 10, 35, 20, 30 and 1."""
    sizes = {largest: 12, 10: 11, 35: 10, 20: 9, 30: 8, 1: 7}
    frames = []
    for i in range(count):
        frame = {"8": segment((30, 10, 4, 4))}
        if i < count - 2:
            frame = {"7": segment((2, 2, sizes.get(i, 3), 10)), **frame}
        if i % 5 == 0:
            frame["3"] = segment((20, 1, 5, 5), is_gt=False, score=0.5)
        frames.append(frame)
    return frames


def annotations(split: str) -> dict[str, Any]:
    tracks = {"7": 1, "8": 1, "3": 2}
    tiny = [{"1": segment((0, 0, 1, 1)), "2": segment((38, 18, 1, 1))} for _ in range(40)]
    sequences = {
        "train": [
            video("lasot-1", "LaSOT", tracks, herd()),  # a dataset that PerMIR leaves out
            video("herd", "YFCC100M", tracks, herd(), neg_category_ids=[9], not_exhaustive_category_ids=[2]),
            video(
                "alone", "Charades", {"1": 1, "2": 2}, [{"1": segment((1, 1, 5, 5)), "2": segment((9, 9, 5, 5))}] * 40
            ),
            video("short", "Charades", tracks, herd()[:12]),
        ],
        "val": [
            video("herd", "YFCC100M", tracks, herd(largest=2)),  # the names of train again
            video("-b1", "BDD", {"1": 2, "2": 2}, tiny),  # too small in the crop
            video("empty", "ArgoVerse", tracks, [*herd(), {"7": segment((0, 0, 0, 0)), "8": segment((1, 1, 2, 2))}]),
        ],
    }[split]
    return {"split": split, "categories": CATEGORIES, "sequences": sequences}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time. All frames of the videos of which some are taken."""
    draw = random.Random(2914)
    for split in ("train", "val"):
        path = root / f"annotations/{split}/all_classes.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(annotations(split), separators=(",", ":")))
    for folder, frames in {
        "train/YFCC100M/herd": (3, 35, 20, 10, 0),
        "val/YFCC100M/herd": (2, 35, 20),
        "val/BDD/-b1": (0, 16, 17),
    }.items():
        for i in frames:
            picture(root / f"frames/{folder}/frame{i:04d}.jpg", draw)


def write_folders(root: Path, blocks: dict[int, list[BLOCK]]) -> None:
    """What PDM's program writes: frames 0 to 2 and their masks, by number of the video."""
    draw = random.Random(3)
    for number, boxes in blocks.items():
        for i in range(3):
            picture(root / f"{number}/{i}.jpg", draw)
        np.save(root / f"{number}/masks.npz", np.array([{"7": block(*box) > 0} for box in boxes], dtype=object))


def picture(path: Path, draw: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (draw.randrange(256), draw.randrange(256), draw.randrange(256))).save(path, quality=60)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
