"""Writes a tiny tree of PROxford and PRParis: ground truth of both sets, lists of pairs, label files, some pictures.

Run it to look at one: ``python tests/sources/pixel_retrieval/tree.py FOLDER``.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 18)

TRUTH: dict[str, dict[str, Any]] = {
    "roxford5k": {
        "imlist": ["all_souls_000000", "all_souls_000002", "-bodleian_000003", "oxford_000317"],
        "qimlist": ["all_souls_000013", "all_souls_000026", "bodleian_000107"],
        "gnd": [
            {"bbx": [2.5, 1.0, 20.25, 17.0], "easy": [0], "hard": [1], "junk": [3]},
            {"bbx": [0, 0, 24, 18], "easy": [], "hard": [1, 0], "junk": []},  # the same object
            {"bbx": [1.0, 2.0, 3.0, 4.0], "easy": [2], "hard": [3], "junk": [0]},
        ],
    },
    "rparis6k": {
        "imlist": ["all_souls_000000", "paris_defense_000605"],
        "qimlist": ["paris_defense_000002"],
        "gnd": [{"bbx": [3.0, 3.0, 9.0, 12.0], "easy": [1], "hard": [0], "junk": []}],
    },
}
# Pair -> label file; 2_3 of Oxford is hard and has none.
PAIRS = {
    "oxford": {
        "0_0": "labels/ox/a.json",
        "1_0": "labels/ox/a.json",  # shared: both queries ask for one object
        "0_1": "labels/ox/b.json",
        "1_1": "labels/ox/b.json",
        "2_2": "labels/ox/-c.json",
        "2_0": "labels/ox/a.json",  # junk: no use
    },
    "paris": {"0_1": "labels/pa/a.json", "0_0": "labels/pa/d.json"},
}
SHAPES: dict[str, list[list[list[float]]]] = {
    "labels/ox/a.json": [[[2, 2], [9, 2], [9, 6], [2, 6]]],
    "labels/ox/b.json": [[[1, 1], [4, 1], [4, 4], [1, 4]], [[10, 3], [14, 3], [14, 8], [10, 8]]],  # in two parts
    "labels/ox/-c.json": [[[20.5, 10.25], [30, 10.25], [30, 16], [20.5, 16]]],  # leaves the image
    "labels/pa/a.json": [[[3, 3], [8, 3], [8, 9]]],
    "labels/pa/d.json": [[[0, 0], [5, 0], [5, 5]]],
}
SIZELESS = "labels/pa/d.json"  # states no size, and its picture is not there


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    for path, shapes in SHAPES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        label: dict[str, Any] = {
            "version": "5.0",
            "flags": {},
            "shapes": [{"label": "x", "points": points, "shape_type": "polygon"} for points in shapes],
            "imageData": None,
        }
        if path != SIZELESS:
            label |= {"imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (root / path).write_text(json.dumps(label))
    for name, pairs in PAIRS.items():
        np.save(root / f"{name}_pair2labelpath.npy", np.array(pairs, dtype=object), allow_pickle=True)
    for part, held in TRUTH.items():
        folder = root / "revisitop/data" / part
        (folder / "jpg").mkdir(parents=True)
        (folder / f"gnd_{part}.pkl").write_bytes(pickle.dumps(held, 2))
        for i, name in enumerate([*held["imlist"], *held["qimlist"]]):
            if (part, name) != ("rparis6k", "all_souls_000000"):
                Image.new("RGB", SIZE, (40 * i, 90, 200 - 20 * i)).save(folder / "jpg" / f"{name}.jpg", quality=60)
    (root / "labels/ox/._a.json").write_bytes(b"left by macOS")
    (root / "labels/ox/.a.json.swp").write_bytes(b"left by an editor")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
