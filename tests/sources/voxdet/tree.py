"""Writes a tiny VoxDet tree: OWID and RoboTools side by side, with views, scenes and annotations of every kind.

Run it to look at one: ``python tests/sources/voxdet/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

VIEW = (12, 9)  # width, height
SCENE = (20, 14)
Picture = np.ndarray[Any, np.dtype[np.uint8]]


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20231025)
    views(root, draw)
    owid_scenes(root, draw)
    robotools(root, draw)
    put(root / "OWID/P1/ZID-10k_mapper_new.json", json.dumps({"02691156_a1": 0, "02691156_b2": 1}))
    put(root / "OWID/P1/0/rgb/readme.txt", "not a picture\n")


def views(root: Path, draw: random.Random) -> None:
    """OWID's objects 0, 1, 2 and 9 with views; 3 is annotated only, 4 has a folder without rgb, 5 no annotation."""
    blob = block(VIEW, 3, 2, 5, 4)
    corner = block(VIEW, 0, 0, 4, 3)
    masks = {
        "0/000000.png": colour(blob * 255),
        "0/000001.png": colour(np.where(blob, 255, 0) // np.where(np.arange(9)[:, None] < 4, 2, 1)),  # 0, 127, 255
        "0/000002.png": colour(corner * 255),  # touches the first pixel
        "0/000003.png": colour(blob * 0),  # empty
        "0/000004.png": colour(blob * 0 + 7),  # one level, not 0: all foreground
        "0/000005.png": colour(blob),  # levels 0 and 1
        "1/000000.png": blob * 255,  # mode L
        "1/000001.png": np.dstack([blob * 255] * 3 + [np.full_like(blob, 255)]),  # RGBA
        "1/000002.png": np.dstack([blob * 0, blob * 255, blob * 0]),  # only green: empty in channel 0
        "1/000003.png": colour(block((15, 11), 2, 3, 6, 5) * 255),  # another size than its view
        "1/000006.png": colour(blob * 255),  # of a view that is a .jpg
        "1/000007.PNG": colour(blob * 255),
        "1/000008.jpeg": colour(blob * 255),
        "2/000000.png": colour(block(VIEW, 6, 4, 1, 1) * 255),  # one pixel
        "5/000000.png": colour(blob * 255),
        "9/000000.png": colour(blob * 255),
    }
    for name, mask in masks.items():
        folder, file = name.split("/")
        picture(root / "OWID/P1" / folder / "mask" / file, mask, "PNG")  # also where it is called .jpeg
        if file != "000006.png":
            picture(root / "OWID/P1" / folder / "rgb" / file, noise(VIEW, draw))
    picture(root / "OWID/P1/1/rgb/000006.jpg", noise(VIEW, draw))
    picture(root / "OWID/P1/2/rgb/000001.png", noise(VIEW, draw))  # without mask
    palette = Image.fromarray(colour(blob * 255)).convert("P")
    palette.save(root / "OWID/P1/1/mask/000005.png")
    picture(root / "OWID/P1/1/rgb/000005.png", noise(VIEW, draw))
    picture(root / "OWID/P1/4/mask/000000.png", colour(blob * 255))


def owid_scenes(root: Path, draw: random.Random) -> None:
    """Train scenes show objects 0 to 4; val scenes object 9 only, though object 0 is in them too."""
    for number in (0, 1, 2, 7):
        picture(root / f"OWID/P2/images/{number:06d}.jpg", noise(SCENE, draw))
    names = {number: f"ins_{number:06d}" for number in (0, 1, 2, 3, 4, 5, 9)}
    categories = [{"id": i, "supercategory": "owid-instances", "name": name} for i, name in names.items()]
    box = block(SCENE, 3, 3, 5, 6)
    train = [
        annotation(0, 0, 0, [3, 3, 5, 6], rle(box), num_ins=4, area=30),
        annotation(1, 0, 1, [0, 0, 4, 3], rle(block(SCENE, 0, 0, 4, 3)), num_ins=4),
        annotation(2, 0, 2, [0.5, 1.25, 6.5, 7.75], rle(box), num_ins=4),  # float box
        annotation(3, 0, 0, [2, 2, 4, 4]),  # neither num_ins nor mask
        annotation(4, 0, 2, [1, 1, 3, 3], [[1, 1, 4, 1, 4, 4, 1, 4]], num_ins=4),  # polygon
        annotation(5, 1, 3, [6, 6, 5, 5], rle(block(SCENE, 6, 6, 5, 5)), num_ins=1),  # no folder in P1
        annotation(6, 1, 4, [6, 6, 5, 5], rle(block(SCENE, 6, 6, 5, 5)), num_ins=1),  # folder without rgb
        annotation(7, 10**6, 0, [1, 1, 3, 3], rle(box), num_ins=1),  # image id that does not exist
        annotation(8, 3, 1, [6, 6, 5, 5], rle(box), num_ins=1),  # same base name as image 0
        annotation(9, 4, 1, [6, 6, 5, 5], rle(box), num_ins=1),  # image that is not on disk
        annotation(10, 1, 0, [3, 3, 5, 6], {"counts": [5, 5], "size": [14, 20]}, num_ins=2),  # runs do not fill it
        annotation(11, 1, 0, [3, 3, 0, 6], [], num_ins=2),  # no width
    ]
    images = [record(0, "images/000000.jpg"), record(1, "images/000001.jpg"), record(2, "images/000002.jpg")]
    images += [record(3, "elsewhere/000000.jpg"), record(4, "images/900000.jpg")]
    coco(root / "OWID/P2/train_annotations.json", images, train, categories)
    # Ids are counted anew.
    val = [annotation(0, 0, 9, [3, 3, 5, 6], rle(box), num_ins=2)]
    coco(root / "OWID/P2/val_annotations.json", [record(0, "images/000007.jpg")], val, categories)


def robotools(root: Path, draw: random.Random) -> None:
    """Objects 1 (with a view), 2 (annotated, no folder) and 3 (folder without rgb); ids overlap with OWID's."""
    blob = colour(block(VIEW, 3, 2, 5, 4) * 255)
    picture(root / "RoboTools/test_video/obj_000001/rgb/000000.png", noise(VIEW, draw))
    picture(root / "RoboTools/test_video/obj_000001/mask/000000.png", blob)
    picture(root / "RoboTools/test_video/obj_000003/mask/000000.png", blob)
    images, annotations = [], []
    for frame in range(2):
        file = f"L01/rgb/{frame:06d}.png"
        picture(root / "RoboTools/test" / file, noise(SCENE, draw))
        for category in (1, 2, 3):  # one image record per annotation
            number = len(images) + 1
            images.append(record(number, file))
            row = annotation(number, number, category, [category, frame, 4, 5], area=20)
            annotations.append({**row, "size": [14, 20], "width": 20, "height": 14, "ignore": False})
    categories = [{"id": i, "name": str(i), "supercategory": "robotools"} for i in (1, 2, 3)]
    coco(root / "RoboTools/test/scene_gt_coco_all.json", images, annotations, categories)


def annotation(
    id: int, image: int, category: int, box: list[float], segmentation: Any = None, **more: Any
) -> dict[str, Any]:
    row = {"id": id, "image_id": image, "category_id": category, "iscrowd": 0, "bbox": box, **more}
    return row if segmentation is None else {**row, "segmentation": segmentation}


def record(id: int, file: str) -> dict[str, Any]:
    return {"id": id, "file_name": file, "width": SCENE[0], "height": SCENE[1], "license": 0}


def coco(path: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    put(path, json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))


def block(size: tuple[int, int], x: int, y: int, w: int, h: int) -> Picture:
    """A mask of 0 and 1 with one box, whose last corner is cut where it is large enough."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[y : y + h, x : x + w] = 1
    if w > 2 and h > 2:
        mask[y + h - 1, x + w - 1] = 0
    return mask


def colour(levels: Any) -> Picture:
    return np.repeat(np.asarray(levels, np.uint8)[:, :, None], 3, axis=2)


def rle(mask: Picture) -> dict[str, Any]:
    """Uncompressed run lengths, column-major, background first."""
    counts, value = [0], 0
    for pixel in mask.ravel(order="F").tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"counts": counts, "size": [mask.shape[0], mask.shape[1]]}


def noise(size: tuple[int, int], draw: random.Random) -> Picture:
    pixels = draw.randbytes(size[0] * size[1] * 3)
    return np.frombuffer(pixels, np.uint8).reshape(size[1], size[0], 3)


def picture(path: Path, pixels: Picture, kind: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, kind or ("JPEG" if path.suffix in (".jpg", ".jpeg") else "PNG"))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
