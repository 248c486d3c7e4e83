"""Writes a tiny Lost and Found tree: scenes with underscores, drawn pictures, rasters of objects and free space.

Among its frames are one that nobody labelled (0 throughout), one with free space alone, one without rasters, one with
labelIds only, and an object in two pieces.
Run it to look at one: ``python tests/sources/lost_and_found/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = (64, 32)
FREE = (1, (0, 12, 63, 31))

# Value in instanceIds and a rectangle, corners included; later ones lie over earlier ones.
Drawn = list[tuple[int, tuple[int, int, int, int]]]

FRAMES: dict[str, Drawn] = {
    "train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000080": [
        FREE,
        (16000, (10, 16, 29, 23)),
        (24000, (40, 18, 49, 26)),
    ],
    "train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000140": [],  # not labelled
    "train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000150": [FREE],  # labelled, and no object
    "train/14_Otto_Lilienthal_Str_24/14_Otto_Lilienthal_Str_24_000002_000030": [
        FREE,
        (39000, (4, 20, 33, 22)),  # flat wood: no hazard; cut in two by the first box
        (9000, (12, 16, 19, 25)),
        (9001, (40, 16, 47, 25)),
        (43255, (63, 31, 63, 31)),  # a single pixel, in the last corner
    ],
    "train/13_Elly_Beinhorn_Str/13_Elly_Beinhorn_Str_000000_000040": [FREE, (31000, (20, 20, 40, 21))],
    "test/02_Hanns_Klemm_Str_44/02_Hanns_Klemm_Str_44_000001_000010": [FREE, (40000, (50, 8, 53, 27))],
}
# Without a raster of instances: what is connected is an object.
LABEL_IDS_ONLY: dict[str, Drawn] = {
    "test/02_Hanns_Klemm_Str_44/02_Hanns_Klemm_Str_44_000001_000020": [
        FREE,
        (22000, (10, 20, 13, 23)),
        (22000, (14, 24, 17, 27)),  # meets the one before at a corner
        (22000, (30, 20, 33, 23)),
        (42000, (34, 20, 36, 23)),  # beside it, of another class
    ],
}
BARE = ["test/15_Rechbergstr_Deckenpfronn/15_Rechbergstr_Deckenpfronn_000000_000020"]


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20160909)
    for frame in sorted([*FRAMES, *LABEL_IDS_ONLY, *BARE]):
        picture(root / f"leftImg8bit/{frame}_leftImg8bit.png", draw)
    for frame, drawn in (FRAMES | LABEL_IDS_ONLY).items():
        stem = root / f"gtCoarse/{frame}_gtCoarse"
        stem.parent.mkdir(parents=True, exist_ok=True)
        values, labels, train = Image.new("I;16", SIZE), Image.new("L", SIZE), Image.new("L", SIZE, 255)
        for value, corners in drawn:
            number = value // 1000 if value >= 1000 else value
            for raster, fill in ((values, value), (labels, number), (train, min(number, 2))):
                ImageDraw.Draw(raster).rectangle(corners, fill=fill)
        if frame in FRAMES:
            values.save(f"{stem}_instanceIds.png")
        labels.save(f"{stem}_labelIds.png")
        train.save(f"{stem}_labelTrainIds.png")
        objects = [{"label": "Ball", "polygon": [[1, 1], [2, 1], [2, 2]]}]  # not what the rasters show, and not read
        Path(f"{stem}_polygons.json").write_text(json.dumps({"imgHeight": 32, "imgWidth": 64, "objects": objects}))
    # What editors and file systems leave behind.
    scene = root / "leftImg8bit/train/01_Hanns_Klemm_Str_45"
    (scene / "._01_Hanns_Klemm_Str_45_000000_000080_leftImg8bit.png").write_bytes(b"\0\5\26\7")
    (root / "gtCoarse/train/.DS_Store").write_bytes(b"\0\0\0\1Bud1")


def picture(path: Path, draw: random.Random) -> None:
    """A PNG of random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    blocks.resize(SIZE, Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
