"""Writes a tiny tree as VOC's development kit has it: XML, pictures, lists, object masks; with its oddities.

Run it to look at one: ``python tests/sources/voc/tree.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (30, 20)


def obj(name: str, box: tuple[float, ...], more: str = "", parts: str = "") -> str:
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox>{parts}</object>"


def part(name: str, box: tuple[float, ...]) -> str:
    return obj(name, box).replace("object>", "part>")


def xml(
    name: str, objects: str, size: str = "<size><width>30</width><height>20</height><depth>3</depth></size>"
) -> str:
    return f"<annotation><folder>VOC2012</folder><filename>{name}.jpg</filename>{size}{objects}</annotation>\n"


PERSON = obj(
    "person",
    (2, 3, 12, 18),
    "<pose>Frontal</pose><truncated>1</truncated><occluded>0</occluded><difficult>0</difficult>",
    part("head", (4, 3, 8, 7)) + part("hand", (10.5, 9, 12.25, 11)),
)
FILES = {
    "2007_000027": xml("2007_000027", PERSON + obj("dog", (14, 10, 30, 20), "<difficult>1</difficult>")),
    "2007_000032": xml("2007_000032", obj("aeroplane", (1, 1, 30, 20))),
    "2008_000001": xml("2008_000001", obj("my own label", (5, 5, 5, 5)), size=""),  # one pixel; no size stated
    "-2008_000002": xml("-2008_000002", "", size="<size><width>0</width><height>0</height></size>"),  # nothing to see
}
LISTS = {
    "train": "2007_000027\n",
    "val": "2007_000032  1\n2007_000027 -1\n",  # as the lists of one class have it; one name in both
    "trainval": "2007_000027\n2007_000032\n",
    "dog_train": "2007_000027  1\n",
}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main", "SegmentationObject"):
        (root / folder).mkdir(parents=True)
    for i, (name, text) in enumerate(FILES.items()):
        (root / "Annotations" / f"{name}.xml").write_text(text)
        Image.new("RGB", SIZE, (60 * i, 120, 30)).save(root / "JPEGImages" / f"{name}.jpg", quality=60)
    for name, text in LISTS.items():
        (root / "ImageSets/Main" / f"{name}.txt").write_text(text)
    raster = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    raster[2:18, 1:12] = 1
    raster[5:7, 3:5] = 0  # a hole
    raster[9:20, 13:30] = 2
    raster[2:18, 12] = 255
    picture = Image.fromarray(raster, "P")
    picture.putpalette([value for i in range(256) for value in (i, 255 - i, 7 * i % 256)])
    picture.save(root / "SegmentationObject/2007_000027.png")
    (root / "Annotations/._2007_000027.xml").write_bytes(b"left by macOS")
    (root / "Annotations/.2007_000027.xml.swp").write_bytes(b"left by an editor")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
