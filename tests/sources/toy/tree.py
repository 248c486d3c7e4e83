"""Writes a tree of the toy source: a picture with two boxes, one with none, and one at which nobody looked."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image


def write(root: Path) -> None:
    (root / "images").mkdir()
    (root / "boxes").mkdir()
    for i, key in enumerate(("-first", "second", "third")):
        Image.new("RGB", (30 + i, 20), (90 * i, 60, 30)).save(root / "images" / f"{key}.png")
    (root / "boxes" / "-first.txt").write_text("brick 1 2 3 4\nbear 5.5 6 7 8\n")
    (root / "boxes" / "second.txt").write_text("")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    write(folder)
