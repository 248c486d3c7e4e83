"""Writes a tiny WildDash 2 tree: public images with panoptic labels, benchmark images without, pictures drawn.

Run it to look at one: ``python tests/sources/wilddash2/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

# id, name, supercategory, isthing: from the list of 39.
CLASSES = [
    (0, "unlabeled", "void", 0),
    (1, "ego vehicle", "vehicle", 1),
    (7, "road", "flat", 0),
    (16, "tunnel", "construction", 0),
    (18, "polegroup", "object", 0),
    (23, "sky", "sky", 0),
    (24, "person", "human", 1),
    (26, "car", "vehicle", 1),
    (29, "caravan", "vehicle", 1),
    (34, "pickup", "vehicle", 1),
    (35, "van", "vehicle", 1),
]

# Per image: size, and segments as (number, class, rectangle with its corners, iscrowd); later ones lie over earlier.
Drawn = tuple[tuple[int, int], list[tuple[int, int, tuple[int, int, int, int], int]]]

ANNOTATED: dict[str, Drawn] = {
    "aa0001_100000": (
        (64, 36),
        [
            (257, 23, (0, 0, 63, 9), 0),
            (1007, 7, (0, 12, 63, 31), 0),  # rows 10 and 11 stay unlabelled
            (70_000, 26, (4, 14, 23, 25), 0),
            (70_001, 26, (30, 15, 45, 24), 0),  # in two pieces
            (131_072, 24, (36, 13, 39, 28), 0),  # pure blue, 2: in front of the second car
            (300, 1, (0, 32, 63, 35), 0),
        ],
    ),
    "aa0002_100000": (
        (40, 30),
        [(66_051, 34, (3, 10, 18, 19), 0), (5, 24, (25, 12, 36, 19), 1)],
    ),
    "-aa0004_100000": ((64, 36), [(5, 29, (10, 10, 29, 19), 0), (16, 16, (0, 0, 63, 7), 0)]),
}
LISTED_ONLY = {"aa0003_100000": (64, 36)}
NOT_LISTED = "random/aa0005_100000"
BENCHMARK = ["ab0001_100000", "aa0001_100000", "deep/ab0002_100000"]  # one has a name that is also in public


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20220619)
    public = root / "wd_public_v2p0"
    for stem, (size, _) in sorted(ANNOTATED.items()):
        picture(public / f"images/{stem}.jpg", draw, size)
    for stem, size in LISTED_ONLY.items():
        picture(public / f"images/{stem}.jpg", draw, size, progressive=True)
    picture(public / f"images/{NOT_LISTED}.jpg", draw, (36, 64))
    for stem in BENCHMARK:
        picture(root / f"wd_both_02/{stem}.jpg", draw, (64, 36))
    (public / "panoptic").mkdir()
    for stem, drawn in ANNOTATED.items():
        mask(drawn, alpha=stem == "aa0002_100000").save(public / f"panoptic/{stem}.png")
    (public / "panoptic.json").write_text(json.dumps(content()))
    for folder in (public, root / "wd_both_02"):
        (folder / "license.txt").write_text("non-commercial\n")
    # What editors and file systems leave behind.
    (public / "images/._aa0001_100000.jpg").write_bytes(b"\0\5\26\7")
    (public / ".panoptic.json.swp").write_bytes(b"b0VIM 9.0")


def content() -> dict[str, Any]:
    """``panoptic.json``. The type of the images' ids is not known; both are used."""
    sizes = {stem: size for stem, (size, _) in ANNOTATED.items()} | LISTED_ONLY
    ids = {stem: 7 if stem == "aa0002_100000" else stem for stem in sizes}
    images = [
        {"id": ids[stem], "file_name": f"{stem}.jpg", "width": width, "height": height}
        for stem, (width, height) in sizes.items()
    ]
    annotations = [
        {"image_id": ids[stem], "file_name": f"{stem}.png", "segments_info": segments(drawn)}
        for stem, drawn in ANNOTATED.items()
    ]
    keys = ("id", "name", "supercategory", "isthing")
    return {
        "info": {"description": "drawn"},
        "images": images,
        "annotations": annotations,
        "categories": [dict(zip(keys, row, strict=True)) | {"color": [9, 9, row[0]]} for row in CLASSES],
    }


def segments(drawn: Drawn) -> list[dict[str, Any]]:
    """``segments_info`` of one image, with box and area of what is visible."""
    found = []
    painted = mask(drawn)
    for number, label, _, crowd in drawn[1]:
        colour = (number & 255, number >> 8 & 255, number >> 16)
        pixels = [
            (x, y) for y in range(painted.height) for x in range(painted.width) if painted.getpixel((x, y)) == colour
        ]
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        box = [min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1]
        found.append({"id": number, "category_id": label, "area": len(pixels), "bbox": box, "iscrowd": crowd})
    return found


def mask(drawn: Drawn, *, alpha: bool = False) -> Image.Image:
    """Segments painted as R + 256 G + 65536 B; with ``alpha`` as RGBA, half transparent."""
    size, rectangles = drawn
    painted = Image.new("RGB", size)
    for number, _, corners, _ in rectangles:
        ImageDraw.Draw(painted).rectangle(corners, fill=(number & 255, number >> 8 & 255, number >> 16))
    if alpha:
        painted.putalpha(128)
    return painted


def picture(path: Path, draw: random.Random, size: tuple[int, int], *, progressive: bool = False) -> None:
    """A JPEG of random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    blocks.resize(size, Image.Resampling.NEAREST).save(path, quality=50, progressive=progressive)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
