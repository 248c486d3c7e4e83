"""Writes a tiny nuScenes tree: tables of trainval, test and mini, small pictures; and nuImages' train beside them.

The vehicle stands at (100, 200, 0) and looks along x. The cameras sit in its origin, CAM_FRONT looks along x and
CAM_BACK against it, both with a focal length of 100 px and the centre (80, 45) in pictures of 160 x 90: a corner at
x ahead, y to the left and z up is seen at u = 80 - 100 y / x, v = 45 - 100 z / x.

Run it to look at one: ``python tests/sources/nuscenes/tree.py FOLDER``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

SIZE = (160, 90)
EGO = (100.0, 200.0, 0.0)
LOOKS = {  # rotation of the camera on the vehicle, w, x, y, z
    "CAM_FRONT": [0.5, -0.5, 0.5, -0.5],
    "CAM_BACK": [0.5, -0.5, -0.5, 0.5],
    "CAM_FRONT_LEFT": [0.7071067811865476, -0.7071067811865476, 0.0, 0.0],
}
MATRIX = [[100.0, 0.0, 80.0], [0.0, 100.0, 45.0], [0.0, 0.0, 1.0]]
START = 1532402927000000  # 2018-07-24 03:28:47 UTC
LOGFILE = "n015-2018-07-24-11-22-45+0800"
CATEGORIES = ("vehicle.car", "vehicle.truck", "human.pedestrian.adult", "movable_object.barrier", "flat.other")
ATTRIBUTES = ("vehicle.moving", "pedestrian.standing")
TURNED = [0.9238795325112867, 0.0, 0.0, 0.3826834323650898]  # 45 degrees about z

# name, category, centre ahead/left/up of the vehicle, size as width/length/height, rotation, and what differs
OBJECTS: list[tuple[str, str, tuple[float, float, float], list[float], list[float], dict[str, Any]]] = [
    ("ahead", "vehicle.car", (10, 0, 0), [2, 4, 2], [1, 0, 0, 0], {"attribute_tokens": ["vehicle.moving"]}),
    ("behind", "vehicle.car", (-10, 0, 0), [2, 4, 2], [2, 0, 0, 0], {"num_lidar_pts": 0, "num_radar_pts": 0}),
    ("alongside", "vehicle.truck", (1, 3, 0), [2, 6, 2], [1, 0, 0, 0], {"visibility_token": "1"}),
    ("beneath", "movable_object.barrier", (-1, 0, 0), [2, 2, 2], TURNED, {"visibility_token": ""}),
    ("touching", "human.pedestrian.adult", (9, 9, 0), [2, 2, 2], [1, 0, 0, 0], {}),
    ("aside", "human.pedestrian.adult", (0, 50, 0), [1, 1, 2], [1, 0, 0, 0], {}),
]


def token(*names: object) -> str:
    """32 hexadecimal digits, as the tables' tokens are."""
    return hashlib.md5("/".join(map(str, names)).encode()).hexdigest()


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20190326)
    train, val = ("scene-0061", 2), ("scene-0003", 1)
    tables(root, "v1.0-trainval", [train, val], draw)
    tables(root, "v1.0-mini", [train], draw)
    tables(root, "v1.0-test", [("scene-0077", 1)], draw)
    nuimages(root, draw)
    (root / "maps").mkdir()
    Image.new("L", (4, 4)).save(root / "maps" / f"{token('map')}.png")
    (root / "samples/CAM_FRONT/._left_behind.jpg").write_bytes(b"\0\5\26\7")
    (root / "v1.0-trainval/.sample.json.swp").write_bytes(b"b0VIM 9.0")


def tables(root: Path, folder: str, scenes: list[tuple[str, int]], draw: random.Random) -> None:
    """The 13 tables of a version, and the pictures that they name."""
    rows = common(folder)
    for scene, samples in scenes:
        names = [f"{scene}/{i}" for i in range(samples)]
        rows["scene"].append(
            {
                "token": token(scene),
                "log_token": token("log"),
                "nbr_samples": samples,
                "first_sample_token": token(names[0]),
                "last_sample_token": token(names[-1]),
                "name": scene,
                "description": "Parked cars, {not}, {json}, turn left",
            }
        )
        for i, name in enumerate(names):
            # Scenes lie some minutes apart, and a sample half a second after the one before.
            time = START + int(scene[-4:]) * 60_000_000 + i * 500_000
            rows["sample"].append({"token": token(name), "timestamp": time, "scene_token": token(scene)})
            for k, channel in enumerate(LOOKS if i == 0 else ["CAM_FRONT", "CAM_BACK"]):
                shot(rows, root, name, channel, time + k, draw)
            shot(rows, root, name, "LIDAR_TOP", time, draw)
            if i == 0:
                shot(rows, root, name, "CAM_FRONT", time + 60_000, draw, key=False)
        if scene == "scene-0061":
            annotate(rows, names[0])
    if folder == "v1.0-test":
        del rows["sample_annotation"], rows["instance"]
    for name, content in rows.items():
        put(root / folder / f"{name}.json", content)


def common(folder: str) -> dict[str, list[dict[str, Any]]]:
    """The tables that are the same for all scenes, and the empty others."""
    channels = [*LOOKS, "LIDAR_TOP"]
    rows: dict[str, list[dict[str, Any]]] = {
        "attribute": [{"token": token(name), "name": name, "description": ""} for name in ATTRIBUTES],
        "calibrated_sensor": [
            {
                "token": token(channel, "calibration"),
                "sensor_token": token(channel),
                "translation": [0.0, 0.0, 0.0],
                "rotation": LOOKS.get(channel, [1, 0, 0, 0]),
                "camera_intrinsic": MATRIX if channel in LOOKS else [],
            }
            for channel in channels
        ],
        "category": [{"token": token(name), "name": name, "description": ""} for name in CATEGORIES],
        "log": [
            {
                "token": token("log"),
                "logfile": LOGFILE,
                "vehicle": "n015",
                "date_captured": "2018-07-24",
                "location": "singapore-onenorth",
            }
        ],
        "map": [{"token": token("map"), "filename": f"maps/{token('map')}.png", "log_tokens": [token("log")]}],
        "sensor": [
            {"token": token(name), "channel": name, "modality": "camera" if name in LOOKS else "lidar"}
            for name in channels
        ],
        "visibility": [{"token": str(i), "level": f"v{i}", "description": ""} for i in range(1, 5)],
    }
    for name in ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation"):
        rows[name] = []
    return rows


def shot(
    rows: dict[str, list[dict[str, Any]]],
    root: Path,
    sample: str,
    channel: str,
    time: int,
    draw: random.Random,
    key: bool = True,
) -> str:
    """A sensor's file with its pose; a picture is drawn, a lidar file is only listed. Gives its token."""
    camera = channel.startswith("CAM_")
    name = f"{LOGFILE}__{channel}__{time}.{'jpg' if camera else 'pcd.bin'}"
    file = f"{'samples' if key else 'sweeps'}/{channel}/{name}"
    rows["ego_pose"].append(
        {"token": token(file, "pose"), "timestamp": time, "rotation": [1.0, 0.0, 0.0, 0.0], "translation": list(EGO)}
    )
    rows["sample_data"].append(
        {
            "token": token(file),
            "sample_token": token(sample),
            "ego_pose_token": token(file, "pose"),
            "calibrated_sensor_token": token(channel, "calibration"),
            "timestamp": time,
            "fileformat": "jpg" if camera else "pcd",
            "is_key_frame": key,
            "height": SIZE[1] if camera else 0,
            "width": SIZE[0] if camera else 0,
            "filename": file,
            "prev": "",
            "next": "",
        }
    )
    if camera:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", SIZE, draw.randrange(256)).save(path, quality=50)
    return token(file)


def annotate(rows: dict[str, list[dict[str, Any]]], sample: str) -> None:
    """The objects around the vehicle at one moment."""
    for name, category, centre, size, rotation, more in OBJECTS:
        known = {
            "token": token(name, sample),
            "sample_token": token(sample),
            "instance_token": token(name, "instance"),
            "visibility_token": "4",
            "attribute_tokens": [],
            "translation": [EGO[0] + centre[0], EGO[1] + centre[1], EGO[2] + centre[2]],
            "size": size,
            "rotation": rotation,
            "prev": "",
            "next": "",
            "num_lidar_pts": 5,
            "num_radar_pts": 1,
            **more,
        }
        known["attribute_tokens"] = [token(one) for one in known["attribute_tokens"]]
        rows["sample_annotation"].append(known)
        rows["instance"].append(
            {"token": token(name, "instance"), "category_token": token(category), "nbr_annotations": 1}
        )


def nuimages(root: Path, draw: random.Random) -> None:
    """nuImages' training tables: one key frame with a car, a person without a mask and a road; one without anything."""
    rows = {name: table for name, table in common("v1.0-train").items() if name not in ("scene", "map", "visibility")}
    del rows["sample_annotation"], rows["instance"]
    rows["category"].append({"token": token("road"), "name": "flat.driveable_surface", "description": ""})
    tokens = []
    for i, channel in enumerate(("CAM_FRONT_LEFT", "CAM_BACK")):
        time = START + 3_600_000_000 + i
        tokens.append(shot(rows, root, f"image/{i}", channel, time, draw))
        rows["sample"].append(
            {
                "token": token(f"image/{i}"),
                "timestamp": time,
                "log_token": token("log"),
                "key_camera_token": tokens[-1],
                "key_lidar_token": "",
            }
        )
    rows["object_ann"] = [
        {
            "token": token("car in picture"),
            "category_token": token("vehicle.car"),
            "bbox": [10, 20, 60, 50],
            "mask": mask(20, 20, 50, 40),
            "attribute_tokens": [token("vehicle.moving")],
            "sample_data_token": tokens[0],
        },
        {
            "token": token("person in picture"),
            "category_token": token("human.pedestrian.adult"),
            "bbox": [100, 20, 110, 50],
            "mask": None,
            "attribute_tokens": [],
            "sample_data_token": tokens[0],
        },
    ]
    rows["surface_ann"] = [
        {
            "token": token("road in picture"),
            "category_token": token("road"),
            "mask": mask(0, 50, 160, 90),
            "sample_data_token": tokens[0],
        }
    ]
    for name, content in rows.items():
        put(root / "v1.0-train" / f"{name}.json", content)


def mask(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """A rectangle as nuImages keeps masks: COCO's compressed run lengths in base64."""
    pixels = np.zeros(SIZE[::-1], np.uint8, order="F")
    pixels[top:bottom, left:right] = 1
    rle = coco_mask.encode(pixels)
    return {"size": list(rle["size"]), "counts": base64.b64encode(rle["counts"]).decode()}


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=0), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
