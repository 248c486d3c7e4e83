"""Writes a tiny EuroCity Persons tree: the layout of the unpacked archives, plain pictures, hand-made labels.

Run it to look at one: ``python tests/sources/ecp/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (1920, 1024)


def entity(identity: str | None, x0: float, y0: float, x1: float, y1: float, *tags: str, **more: Any) -> dict[str, Any]:
    """One child of a frame; ``more`` may hold ``Orient``, ``orient`` and ``children``."""
    return {"tags": list(tags), "children": [], "identity": identity, "x0": x0, "x1": x1, "y0": y0, "y1": y1, **more}


LABELS: dict[str, list[dict[str, Any]]] = {
    "day/train/amsterdam/amsterdam_00000": [
        entity("pedestrian", 812, 455, 846, 548, "occluded>10", Orient=95.0),
        entity("rider", 300, 400, 360, 560, children=[entity("bicycle ", 285, 470, 372, 600, Orient=-12.5)]),
        entity("person-group-far-away", 1000, 470, 1042, 490),
        entity("bicycle-group", 40, 500, 200, 640),
        entity(
            "pedestrian", 1880, 300, 1920, 700, "truncated >40", "occluded> 80", "occluded>10", "unsure_orientation"
        ),
    ],
    "day/train/amsterdam/amsterdam_00001": [],  # no objects, and still an image
    "day/train/den_haag/den_haag_00007": [  # a folder with an underscore
        entity("rider", 100, 100, 140, 200, "skating"),  # a rider without a vehicle
        entity("person-group-far-away", 700, 200, 760, 330, " depiction"),  # a poster
        entity("pedestrian", 600, 450, 640, 540, "sitting-lying", orient=10.25),
        entity("pedestrian", 640, 450, 660, 500, "behind-glass"),
        entity(None, 5, 6, 7, 8),
        entity(
            "rider",
            900,
            430,
            950,
            580,
            children=[entity("motorbike", 885, 500, 975, 620), entity("co-rider", 870, 440, 905, 560)],
        ),
    ],
    "day/val/roma/roma_00010": [
        entity("rider+vehicle-group-far-away", 50, 460, 90, 480),
        entity("wheelchair-group", 100, 520, 170, 610),
        entity("pedestrian", 200, 200, 200, 230),  # no width
    ],
    "night/train/amsterdam/amsterdam_00000": [entity("pedestrian", 1, 2, 31, 92)],  # the name of an image by day
}
UNLABELLED = ["day/test/bologna/bologna_00003", "night/test/ljubljana/ljubljana_00001"]


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(20190801)
    for frame in sorted([*LABELS, *UNLABELLED]):
        picture(place(root, frame, "img", ".png"), draw)
    for frame, children in LABELS.items():
        put(place(root, frame, "labels", ".json"), framed(children, "motionBlur"))
    # What editors and file systems leave behind.
    folder = root / "ECP/day/labels/train/amsterdam"
    (folder / ".amsterdam_00000.json.swp").write_bytes(b"b0VIM 9.0")
    (folder / "._amsterdam_00001.json").write_bytes(b"\0\5\26\7")


def framed(children: list[dict[str, Any]], *tags: str) -> dict[str, Any]:
    """The content of a label file."""
    return {
        "tags": list(tags),
        "imageheight": SIZE[1],
        "imagewidth": SIZE[0],
        "children": children,
        "identity": "frame",
    }


def place(root: Path, frame: str, kind: str, ending: str) -> Path:
    time, rest = frame.split("/", 1)
    return root / f"ECP/{time}/{kind}/{rest}{ending}"


def picture(path: Path, draw: random.Random) -> None:
    """A PNG of one colour: of true size, but with one bit per pixel, so that it is small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = Image.new("P", SIZE)
    plain.putpalette(draw.randbytes(6))
    plain.save(path, bits=1, compress_level=9)


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
