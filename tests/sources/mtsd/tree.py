"""Writes a tiny MTSD: both sets in one folder, lists of splits, drawn pictures, signs of every kind.

Run it to look at one: ``python tests/sources/mtsd/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image

FULLY, PARTIALLY = "mtsd_v2_fully_annotated", "mtsd_v2_partially_annotated"
PROPERTIES = ("barrier", "occluded", "out-of-frame", "exterior", "ambiguous", "included", "direction-or-information")
PROPERTIES += ("highway", "dummy")

STREET, PANORAMA, BARE = "aaStreet00000000000001", "B-Panorama000000000002", "cBare_00000000000000_3"
LOST, NOWHERE = "dPictureLost000000000A", "eNeitherIsHere0000000A"
DASH, EMPTY = "-fBeginsWithAHyphen00A", "__gHasNoSigns0000000_A"
SECRET = "hTest0000000000000000A"
LINKED, NEW = "iPartial0000000000000A", "jPartial0000000000000B"

SIZES = {STREET: (96, 72), PANORAMA: (120, 60), BARE: (64, 48), DASH: (48, 64), EMPTY: (64, 48), SECRET: (56, 42)}
SIZES |= {LOST: (64, 48), LINKED: (64, 48), NEW: (80, 60)}

LISTS = {
    f"{FULLY}/splits/train.txt": [STREET, PANORAMA, BARE, LOST],
    f"{FULLY}/splits/val.txt": [DASH, EMPTY],
    f"{FULLY}/splits/test.txt": [SECRET, NOWHERE],
    f"{PARTIALLY}/splits/train.txt": [LINKED, NEW],
}


def sign(key: str, label: str, corners: list[float], *marked: str, **more: Any) -> dict[str, Any]:
    """A sign; ``marked`` are the properties that hold."""
    bbox = dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
    return {
        "key": key,
        "label": label,
        "bbox": bbox,
        "properties": {name: name in marked for name in PROPERTIES},
        **more,
    }


def over_the_seam(key: str, label: str, corners: list[float], width: float) -> dict[str, Any]:
    """A sign of a panorama whose right end comes before its left one."""
    found = sign(key, label, corners)
    left, top, right, bottom = corners
    found["bbox"]["cross_boundary"] = {
        "left": {"xmin": left, "ymin": top, "xmax": width, "ymax": bottom},
        "right": {"xmin": 0.0, "ymin": top, "xmax": right, "ymax": bottom},
    }
    return found


OBJECTS = {
    f"{FULLY}/annotations/{STREET}": [
        sign("k01merge", "warning--traffic-merges-right--g1", [15.203125, 18.42578125, 22.515625, 25.1328125]),
        # The same meaning in two looks.
        sign("k02yield", "regulatory--yield--g1", [40.0, 10.0, 46.0, 15.5]),
        sign("k03other", "other-sign", [1.0, 2.0, 1.5, 2.25], "occluded", "ambiguous"),
        sign("k04truck", "regulatory--stop--g1", [60.0, 30.0, 70.0, 41.0], "exterior", "dummy"),
    ],
    f"{FULLY}/annotations/{PANORAMA}": [
        over_the_seam("k05seam", "regulatory--stop--g1", [114.5, 20.0, 3.25, 31.0], 120.0),
        sign("k06park", "information--parking--g1", [60.0, 28.0, 63.0, 31.5]),
    ],
    f"{FULLY}/annotations/{LOST}": [sign("k07lost", "complementary--buses--g1", [5.0, 5.0, 9.0, 9.0])],
    f"{FULLY}/annotations/{DASH}": [
        sign("k08edge", "regulatory--maximum-speed-limit-40--g1", [40.0, 50.0, 48.0, 64.0], "out-of-frame"),
        sign("k09flat", "regulatory--yield--g1", [10.0, 20.0, 14.0, 20.0]),
    ],
    f"{FULLY}/annotations/{EMPTY}": [],
    f"{PARTIALLY}/annotations/{LINKED}": [
        sign(
            "k10again",
            "regulatory--yield--g1",
            [20.0, 6.0, 29.0, 14.5],
            correspondance={"image_key": STREET, "object_key": "k02yield"},
        )
    ],
    f"{PARTIALLY}/annotations/{NEW}": [sign("k11new", "other-sign", [30.0, 30.0, 33.0, 36.0])],
}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20200823)
    for key in sorted(SIZES):
        if key != LOST:
            picture(root / "images" / f"{key}.jpg", SIZES[key], draw)
    for name, objects in OBJECTS.items():
        key = name.rpartition("/")[2]
        width, height = SIZES[key]
        content = {"width": width, "height": height, "ispano": key == PANORAMA, "objects": objects}
        put(root / f"{name}.json", json.dumps(content, indent=1))
    for name, keys in LISTS.items():
        put(root / name, "".join(f"{key}\n" for key in keys))
    put(root / "LICENSE.txt", "https://creativecommons.org/licenses/by-nc-sa/4.0/\n")
    for name in ("README.md", "requirements.txt", "visualize_example.py"):
        put(root / FULLY / name, "\n")
    # What editors and file systems leave behind.
    put(root / f"images/._{STREET}.jpg", "\0\5\26\7")
    put(root / f"{FULLY}/annotations/.{STREET}.json.swp", "b0VIM 9.0")


def picture(path: Path, size: tuple[int, int], draw: random.Random) -> None:
    """A JPEG of random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    blocks.resize(size, Image.Resampling.NEAREST).save(path, quality=40)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
