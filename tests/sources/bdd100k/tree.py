"""Writes a tiny BDD100K: the 100K set with labels of three generations, a tracked video, plain pictures of full size.

Run it to look at one: ``python tests/sources/bdd100k/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (1280, 720)
IMAGES, LABELS = "bdd100k/images", "bdd100k/labels"

# Of train: labelled in 2020 and 2018; in 2018 alone; before that alone; by nobody.
BOTH, OLDER, OLDEST, BARE = "0000f77c-6257be58", "0001542f-5ce3cf52", "0001542f-7c670be8", "-00054602-3bf57337"
# Of val: with labels; with the list empty, null or absent; without its picture.
STREET, EMPTY, NULL, ABSENT = "b1c66a42-6f7d68ca", "b1c81faa-3df17267", "b1c81faa-c80764c5", "b1c9c847-3bda4659"
LOST = "b1ca2e5d-84cf9134"
SECRET = "cabc30fc-e7726578"
VIDEO = "b1c66a42-6f7d68ca"

PLAIN = {"occluded": False, "truncated": False, "trafficLightColor": "NA"}


def box(
    number: int | str, category: str, x1: float, y1: float, x2: float, y2: float, **attributes: Any
) -> dict[str, Any]:
    corners = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return {"id": number, "attributes": {**PLAIN, **attributes}, "category": category, "box2d": corners}


def frame(key: str, weather: str, timeofday: str, scene: str, **rest: Any) -> dict[str, Any]:
    attributes = {"weather": weather, "timeofday": timeofday, "scene": scene}
    return {"name": f"{key}.jpg", "attributes": attributes, "timestamp": 10000, **rest}


def old_style(number: int, category: str, **shape: Any) -> dict[str, Any]:
    """A label of the release of 2018, with the fields that it always has."""
    return {"id": number, "category": category, "manualShape": True, "manualAttributes": True, **shape}


def drawn(vertices: list[list[float]], types: str, closed: bool) -> list[dict[str, Any]]:
    return [{"vertices": vertices, "types": types, "closed": closed}]


DET_TRAIN = [
    frame(
        BOTH,
        "rainy",
        "dawn/dusk",
        "tunnel",
        labels=[box("0", "pedestrian", 10.5, 20.25, 19.5, 59.25), box("1", "traffic light", 600, 40, 615, 80)],
    )
]
TRAIN_2018 = [
    # The same frame as in det_20, with other labels.
    frame(BOTH, "rainy", "dawn/dusk", "tunnel", labels=[{**box(0, "person", 11, 21, 18, 58), "poly2d": None}]),
    frame(
        OLDER,
        "partly cloudy",
        "daytime",
        "residential",
        labels=[
            {**box(10, "bike", 100, 300, 139, 399), "box3d": None, "poly2d": None, "manualShape": True},
            box(11, "motor", 200, 300, 239, 339, Occluded=True),
            box(12, "traffic light", 640, 50, 655, 90, trafficLightColor="red"),
            old_style(
                13,
                "drivable area",
                attributes={"areaType": "direct"},
                poly2d=drawn([[100, 700], [300, 400], [500, 400], [700, 700]], "LLLL", True),
            ),
            old_style(
                14,
                "drivable area",
                attributes={"areaType": "alternative"},
                # Its left edge is a curve that bulges to x = 900 - 3/4 * 80 halfway.
                poly2d=drawn(
                    [[900, 700], [820, 600], [820, 500], [900, 400], [1000, 400], [1000, 700]], "LCCLLL", True
                ),
            ),
            old_style(
                15,
                "lane",
                attributes={"laneDirection": "parallel", "laneStyle": "dashed", "laneTypes": "single white"},
                poly2d=drawn([[500, 500], [540, 560], [600, 640], [640, 719]], "LCCL", False),
            ),
            old_style(16, "lane", attributes={"laneTypes": "road curb"}, poly2d=None),
        ],
    ),
]
OLDEST_FILE = {
    "name": OLDEST,
    "frames": [
        {
            "timestamp": 10000,
            "objects": [
                box(0, "traffic light", 1125.902264, 133.184488, 1156.978645, 210.875445, trafficLightColor="green"),
                {
                    "id": 1,
                    "category": "area/drivable",
                    "attributes": {},
                    "poly2d": [[0, 719, "L"], [600, 400, "L"], [1200, 719, "L"]],
                },
                {
                    "id": 2,
                    "category": "lane/single white",
                    "attributes": {"direction": "parallel", "style": "solid"},
                    "poly2d": [[10, 600, "L"], [500, 450, "L"]],
                },
            ],
        }
    ],
    "attributes": {"weather": "clear", "scene": "city street", "timeofday": "daytime"},
}
DET_VAL = [
    frame(
        STREET,
        "overcast",
        "daytime",
        "city street",
        labels=[
            box("1000", "traffic sign", 1000.698742, 281.992415, 1040.626872, 326.91156),
            box("1001", "car", 1200, 500, 1279.996, 719.99, truncated=True),  # as large as they come
            box("1002", "other vehicle", 300, 300, 340, 330),
            box("1003", "rider", 400, 300, 420, 360, crowd=True),
            box("1004", "car", 20, 30, 20, 30),  # one pixel
        ],
    ),
    frame(EMPTY, "undefined", "undefined", "undefined", labels=[]),
    {"name": f"{NULL}.jpg", "attributes": None, "timestamp": 10000, "labels": None},
    frame(ABSENT, "foggy", "night", "gas stations"),
    frame(LOST, "snowy", "night", "highway", labels=[box("1", "trailer", 1, 2, 3, 4)]),
]
TRACKED = [
    {
        "name": f"{VIDEO}-{number:07d}.jpg",
        "videoName": VIDEO,
        "frameIndex": number - 1,
        "labels": [
            {
                "id": "a-00122062",
                "category": "car",
                "attributes": {"occluded": False, "truncated": True, "crowd": False},
                "box2d": {"x1": 10 * number, "y1": 300, "x2": 10 * number + 75.5, "y2": 407.25},
            }
        ],
    }
    for number in (1, 2)
]


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20180528)
    for split, keys in {
        "train": [BOTH, OLDER, OLDEST, BARE],
        "val": [STREET, EMPTY, NULL, ABSENT],
        "test": [SECRET],
    }.items():
        for key in keys:
            picture(root / IMAGES / f"100k/{split}/{key}.jpg", draw)
    for number in (1, 2):
        picture(root / IMAGES / f"track/val/{VIDEO}/{VIDEO}-{number:07d}.jpg", draw)
    picture(root / IMAGES / f"10k/val/{STREET}.jpg", draw)  # another set, whose names repeat
    put(root / LABELS / "det_20/det_train.json", DET_TRAIN)
    put(root / LABELS / "det_20/det_val.json", DET_VAL)
    put(root / LABELS / "bdd100k_labels_images_train.json", TRAIN_2018)
    put(root / LABELS / f"100k/train/{OLDEST}.json", OLDEST_FILE)
    put(root / LABELS / f"box_track_20/val/{VIDEO}.json", TRACKED)
    put(root / LABELS / "sem_seg/polygons/sem_seg_val.json", [{"name": "7d06fefd-f7be05a6.jpg"}])
    # What editors and file systems leave behind.
    (root / LABELS / f"100k/train/.{OLDEST}.json.swp").write_bytes(b"b0VIM 9.0")
    (root / IMAGES / f"100k/val/._{STREET}.jpg").write_bytes(b"\0\5\26\7")


def picture(path: Path, draw: random.Random) -> None:
    """A JPEG of one grey, small on disk because it is progressive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", SIZE, draw.randrange(256)).save(path, quality=30, progressive=True)


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
