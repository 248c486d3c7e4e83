"""Writes a tiny KITTI object tree: the layout of the unpacked archives, drawn pictures, and rows of every kind.

Run it to look at one: ``python tests/sources/kitti/tree.py FOLDER``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from PIL import Image

# Sizes differ between frames, as in the real set (a tenth of three that occur there).
SIZES = {"000000": (122, 37), "000001": (124, 37), "000002": (124, 38), "000003": (124, 37), "000007": (122, 37)}

LABELS = {
    "000000": "Pedestrian 0.00 0 -0.20 71.24 14.30 81.07 30.79 1.89 0.48 1.20 1.84 1.47 8.41 0.01\n",
    # A car cut by the frame ends at width - 1 and height - 1; DontCare knows nothing but its box.
    "000001": (
        "Truck 0.00 0 -1.57 59.94 15.64 62.97 18.92 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
        "Car 0.80 2 1.85 100.00 10.50 123.00 36.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
        "Person_sitting 0 3 -1.65 67.66 16.39 68.89 19.39 1.86 0.60 2.02 4.59 1.32 45.84 -1.55\n"
        "Van 0.00 1 1.85 38.76 18.15 42.38 20.31 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
        "DontCare -1 -1 -10 50.38 16.97 59.06 19.01 -1 -1 -1 -1000 -1000 -1000 -10\n"
        "DontCare -1 -1 -10 51.13 17.49 52.78 18.74 -1 -1 -1 -1000 -1000 -1000 -10\n"
    ),
    "000002": "",  # an image without objects
    # Blank lines, Windows line ends, a box without height, a box that leaves the frame.
    "000003": (
        "\r\n"
        "Cyclist 0.00 0 0.10 20.00 10.00 30.00 10.00 1.70 0.60 1.80 0.00 1.50 20.00 0.10\r\n"
        "\r\n"
        "Tram 0.10 1 0.10 110.00 5.00 140.00 30.00 3.50 2.50 15.00 5.00 1.60 30.00 0.10\r\n"
    ),
    # 000007 is an image whose label file is missing; 000009 a label file whose image is.
    "000009": "Misc 0.00 0 0.10 20.00 10.00 30.00 20.00 1.70 0.60 1.80 0.00 1.50 20.00 0.10\n",
}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20120616)
    for number, size in SIZES.items():
        picture(root / "training/image_2" / f"{number}.png", size, draw)
    # Testing counts from 0 again, and has no labels.
    picture(root / "testing/image_2/000000.png", (122, 37), draw)
    picture(root / "testing/image_2/000001.png", (124, 37), draw)
    for number, text in LABELS.items():
        put(root / "training/label_2" / f"{number}.txt", text)
    put(root / "training/calib/000000.txt", "P0: 7.0e+02 0 6.0e+02 0 0 7.0e+02 1.8e+02 0 0 0 1 0\n")
    # What editors and file systems leave behind.
    put(root / "training/image_2/._000000.png", "\0\5\26\7")
    put(root / "training/label_2/.000001.txt.swp", "b0VIM 9.0")
    put(root / "training/label_2/._000001.txt", "\0\5\26\7")


def picture(path: Path, size: tuple[int, int], draw: random.Random) -> None:
    """A PNG of random blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = Image.frombytes("RGB", (4, 2), draw.randbytes(24))
    blocks.resize(size, Image.Resampling.NEAREST).save(path)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
