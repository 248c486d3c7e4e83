"""Writes a tiny SearchAD tree: invented boxes on images of other sources' trees here, most known by path only.

Its images of KITTI and Cityscapes are those of ``tests/sources/{kitti,cityscapes}/tree.py``, so that a merge joins
them.
Run it to look at one: ``python tests/sources/searchad/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image

KITTI = "kitti/training/image_2/{}.png"
AACHEN = "cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
BDD = "bdd100k_images_100k/images/100k/train/0000f77c-6257be58.jpg"
MTSD = "mapillary_sign/images/-ZmK9qebhjpmKhDTGPj6gG.jpg"  # a key may begin with a hyphen

# Of the folders only KITTI's is here. Boxes of whole numbers and of others; in no order.
TRAIN: dict[str, list[dict[str, Any]]] = {
    KITTI.format("000001"): [
        {"label": "Vehicle-Duty-Police", "bbox": [10, 5, 30, 25]},
        {"label": "Animal-Real-Dog", "bbox": [40.25, 10.5, 47.25, 17.5]},  # 49 px²: too small to count
    ],
    KITTI.format("000000"): [{"label": "Animal-Real-Other", "bbox": [0, 0, 122, 37]}],  # not evaluated
    AACHEN: [{"label": "Scene-Fog", "bbox": [0.0, 0.0, 64.0, 32.0]}],
    KITTI.format("000005"): [],  # a picture that is not there
    "toronto/images/000001.png": [{"label": "Object-Ball", "bbox": [1, 1, 11, 11]}],  # no folder of SearchAD's
}
VAL: dict[str, list[dict[str, Any]]] = {
    BDD: [
        {"label": "Animal-Real-Dog", "bbox": [100, 100, 107, 107]},
        {"label": "Animal-Real-Dog", "bbox": [200, 100, 210, 105]},  # 50 px²: just enough
        {"label": "Object-Ball", "bbox": [300, 100, 304, 104]},
    ],
    MTSD: [],
    "acdc/rgb_anon/train/fog/GOPR0475/GOPR0475_frame_000001_rgb_anon.png": [
        {"label": "Vehicle-Duty-Police", "bbox": [10.5, 20.25, 30.75, 60.125]},
        {"label": "Scene-Fog", "bbox": [0, 0, 1920, 1080]},
    ],
}
TEST = {
    "0": "kitti/testing/image_2/000000.png",
    "1": "wd_both02/images/ab0908_100008.jpg",
    "10": "ECP/day/img/train/amsterdam/amsterdam_00903.png",
}


def corners(*box: float) -> dict[str, dict[str, float]]:
    return {"bbox": dict(zip(("min_x", "min_y", "max_x", "max_y"), box, strict=True))}


QUERIES = {
    # A box in an image of train; the text's form is a guess.
    "Animal-Real-Dog": {"language": ["real dog"], "vision": {KITTI.format("000001"): [corners(40, 10, 47.5, 17)]}},
    "Vehicle-Duty-Police": {
        "vision": {
            KITTI.format("000001"): [corners(10, 5, 30, 25), corners(60, 5, 70, 25)],
            KITTI.format("000007"): [corners(1, 2, 3, 4)],  # an image of no split
        }
    },
    "Scene-Fog": {"language": "fog", "sound": {"a": 1}},
}
# Sizes as in the tree of KITTI.
PICTURES = {
    "training/image_2/000000.png": (122, 37),
    "training/image_2/000001.png": (124, 37),
    "training/image_2/000007.png": (122, 37),
    "testing/image_2/000000.png": (122, 37),
}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    put(root / "searchad_annotations_train.json", TRAIN)
    put(root / "searchad_annotations_val.json", VAL)
    put(root / "searchad_test_mapping_id_to_imagepath.json", TEST)
    for label, sets in QUERIES.items():
        put(root / "default_queries" / f"{label}.json", {"supportsets": sets})
    draw = random.Random(20260605)
    for name, size in PICTURES.items():
        path = root / "kitti" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
        blocks.resize(size, Image.Resampling.NEAREST).save(path)
    # What editors and file systems leave behind.
    (root / "default_queries/._Scene-Fog.json").write_bytes(b"\0\5\26\7")
    (root / ".searchad_annotations_train.json.swp").write_bytes(b"b0VIM 9.0")


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
