"""Writes a tiny IDD: both parts of Segmentation and Detection beside each other, as their archives unpack.

The rasters, which the development kit makes and the importer passes over, are painted from the polygons as that kit
does. Run it to look at one: ``python tests/sources/idd/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SIZE = (64, 36)
PART_1, PART_2, DETECTION = "IDD_Segmentation", "idd20kII", "IDD_Detection"
# The ids of the labels that occur here, and the ids of the training class of those that have instances.
IDS = {"road": 0, "person": 6, "animal": 7, "rider": 8, "motorcycle": 9, "bicycle": 10, "autorickshaw": 11, "car": 12}
IDS |= {"truck": 13, "bus": 14, "caravan": 15, "trailer": 16, "train": 17, "vehicle fallback": 18}
IDS |= {"billboard": 23, "traffic sign": 24, "polegroup": 27, "obs-str-bar-fallback": 28, "license plate": 39}
LEVEL_3 = {6: 4, 7: 4, 8: 5, 9: 6, 10: 7, 11: 8, 12: 9, 13: 10, 14: 11, 15: 12, 16: 12, 17: 12, 18: 12}
UNLABELED = 35

DRIVE = "BLR-2018-03-22_17-39-26_2"


def thing(label: str, x1: float, y1: float, x2: float, y2: float, **more: Any) -> dict[str, Any]:
    """An object whose polygon is a rectangle, its corners included."""
    return {"label": label, "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]], **more}


def full(*objects: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects with all fields that the labelling tool writes, in its alphabetical order."""
    by_tool = {"date": "15-May-2018 10:00:00", "deleted": 0, "draw": True, "user": "anon", "verified": 0}
    return [dict(sorted({**by_tool, "id": i, **found}.items())) for i, found in enumerate(objects)]


FRAMES = {
    f"{PART_1}/train/0/005506.png": full(
        thing("road", 0, 20, 63, 35),
        thing("autorickshaw", 2, 12, 13, 23),
        thing("person", 20.25, 10.5, 23.25, 20.5),  # vertices are floats
        thing("animal", 26, 15, 31, 20),
        thing("truckgroup", 50, 4, 60, 12),
        thing("rider", 34, 10, 37, 19),
        thing("motorcycle", 32, 15, 40, 21),  # hides the rider's lower half
        thing("car", 0, 0, 5, 5, deleted=1),
        {"label": "billboard", "polygon": [[40, 2]]},
        {"label": "bicycle", "polygon": [[41, 3]]},  # one point: the development kit does not count it
        {"label": "bicycle", "polygon": [[42, 30], [46, 30]]},  # two points: it does, and paints a line
        thing("bicycle", 42, 24, 46, 28),
        thing("car", 58, 28, 75, 50),  # leaves the frame
        thing("car", 70, 40, 80, 50),  # wholly outside
        thing("polegroup", 47, 0, 48, 9),
        thing("caravan", 10, 26, 19, 31),
        thing("trailer", 21, 26, 30, 31),
        thing("license plate", 4, 20, 6, 22),
        thing("traffic sign", 61, 0, 63, 3),
    ),
    # The same frame name in another drive, with nothing but the two fields that always are there.
    f"{PART_1}/train/1/005506.png": [thing("car", 10, 10, 29, 19), thing("license plate", 15, 15, 18, 17)],
    f"{PART_1}/val/119/035471.png": [],
    f"{PART_1}/val/119/005506.png": [thing("bus", 0, 0, 63, 35)],  # and in another split
    f"{PART_1}/val/3/0002900.png": [thing("train", 3, 3, 9, 9)],
    f"{PART_2}/val/555/frame75719.jpg": full(thing("bus", 6, 6, 25, 19), thing("obs-str-bar-fallback", 0, 0, 4, 4)),
    f"{PART_2}/train/500/frame0001.jpeg": [thing("vehicle fallback", 5, 5, 14, 14)],
}
# Frames that have only the boxes of the weakly supervised challenge, which name stuff too.
BOXES = {
    f"{PART_2}/val/205/frame0340.jpg": {
        "car": [[3.5, 4.0, 20.25, 15.0], [30.0, 10.0, 30.0, 15.0]],
        "road": [[0.0, 18.0, 63.0, 35.0]],
        "rider": [[40.0, 5.0, 45.0, 17.0]],
    },
    f"{PART_1}/val/18/004415.png": {},
}
UNLABELLED = [f"{PART_1}/test/103/001262.png"]

# Detection: frame -> its boxes (name, xmin, ymin, xmax, ymax), None without an XML.
LISTS: dict[str, dict[str, list[tuple[str, int, int, int, int]] | None]] = {
    "train": {
        f"frontFar/{DRIVE}_frontFar/000006_r": [
            ("car", 7, 13, 20, 23),
            ("autorickshaw", 33, 17, 46, 27),
            ("vehicle fallback", 0, 0, 3, 3),
            ("motorcycle", 50, 20, 64, 36),  # ends at the frame's edges
        ],
        f"frontFar/{DRIVE}_frontFar/000012_r": [],
        f"rearNear/{DRIVE}_rearNear/000006_r": [("traffic light", 30, 2, 33, 9)],
    },
    "val": {
        "highquality_16k/BLR-2018-04-16_14-27-57_2/0000006": [("traffic sign", 50, 2, 57, 10)],
        "highquality_16k/BLR-2018-04-16_14-27-57_2/0000012": None,
        "highquality_16k/BLR-2018-04-16_14-27-57_2/0000018": [("animal", 3, 4, 9, 10)],
    },
    "test": {f"frontNear/{DRIVE}_frontNear/000006_r": None},
}
IN_NO_LIST = f"frontFar/{DRIVE}_frontFar/000018_r"


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20181126)
    for frame in [*FRAMES, *BOXES, *UNLABELLED]:
        part, _, rest = frame.partition("/")
        stem, _, ending = rest.partition(".")
        picture(root / f"{part}/leftImg8bit/{stem}_leftImg8bit.{ending}", draw)
        label = f"{part}/gtFine/{stem}_gtFine"
        if frame in FRAMES:
            put(root / f"{label}_polygons.json", sized(FRAMES[frame]))
            rasters(root / label, FRAMES[frame])
        elif frame in BOXES:
            put(root / f"{label}_bbox.json", BOXES[frame])
    write_detection(root / DETECTION, draw)
    # What the development kit adds beside the splits.
    gt = root / PART_1 / "gtFine"
    put(gt / "train_panoptic.json", {"images": [{"id": "0_005506", "file_name": "0_005506_gtFine_polygons.json"}]})
    picture(gt / "train_panoptic/0_005506_gtFine_panopticlevel3Ids.png", draw)
    # What editors and file systems leave behind.
    (gt / "train/0/._005506_gtFine_polygons.json").write_bytes(b"\0\5\26\7")
    sequence = root / f"{DETECTION}/Annotations/frontFar/{DRIVE}_frontFar"
    (sequence / ".001542_r.xml.swp").write_bytes(b"b0VIM 8.0\0<annotation>")
    (sequence / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def write_detection(root: Path, draw: random.Random) -> None:
    everything: dict[str, list[tuple[str, int, int, int, int]] | None] = {IN_NO_LIST: []}
    for name, frames in LISTS.items():
        everything |= frames
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.txt").write_text("".join(f"{frame}\n" for frame in frames))
    for frame, boxes in everything.items():
        picture(root / f"JPEGImages/{frame}.jpg", draw)
        if boxes is not None:
            xml = root / f"Annotations/{frame}.xml"
            xml.parent.mkdir(parents=True, exist_ok=True)
            xml.write_text(voc(frame, boxes))


def voc(frame: str, boxes: list[tuple[str, int, int, int, int]]) -> str:
    """The XML of a frame; the corners come in the order that real files have."""
    _, sequence, name = frame.split("/")
    size = f"<size>\n<width>{SIZE[0]}</width>\n<height>{SIZE[1]}</height>\n<depth>3</depth>\n</size>\n"
    objects = "".join(
        f"<object>\n<name>{label}</name>\n<bndbox>\n<xmin>{x1}</xmin>\n<ymax>{y2}</ymax>\n<xmax>{x2}</xmax>\n"
        f"<ymin>{y1}</ymin>\n</bndbox>\n</object>\n"
        for label, x1, y1, x2, y2 in boxes
    )
    return f"<annotation>\n<filename>{name}.jpg</filename>\n<folder>{sequence}</folder>\n{size}{objects}</annotation>\n"


def sized(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"imgHeight": SIZE[1], "imgWidth": SIZE[0], "objects": objects}


def picture(path: Path, draw: random.Random) -> None:
    """A picture of random blocks, of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    blocks.resize(SIZE, Image.Resampling.NEAREST).save(path)


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def rasters(stem: Path, objects: list[dict[str, Any]]) -> None:
    """``_instanceids.png`` and ``_labelids.png`` as the development kit names and paints them."""
    instances, labels = Image.new("I;16", SIZE, UNLABELED), Image.new("L", SIZE, UNLABELED)
    counted: Counter[int] = Counter()
    for found in objects:
        name = found["label"]
        if found.get("deleted") or len(found["polygon"]) < 2:
            continue
        group = name not in IDS
        number = IDS.get(name.removesuffix("group"), UNLABELED) if group else IDS[name]
        value = number
        if number in LEVEL_3 and not group:
            value = number * 1000 + counted[LEVEL_3[number]]
            counted[LEVEL_3[number]] += 1
        points = [tuple(point) for point in found["polygon"]]
        ImageDraw.Draw(instances).polygon(points, fill=value)
        ImageDraw.Draw(labels).polygon(points, fill=number)
    instances.save(f"{stem}_instanceids.png")
    labels.save(f"{stem}_labelids.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
