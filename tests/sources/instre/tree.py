"""Writes a tiny INSTRE tree: S1 with pairs of objects, S2, and M with both objects of a pair; the protocol on demand.

Run it to look at one: ``python tests/sources/instre/tree.py FOLDER``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (20, 15)

# Image -> lines of its box file; None where it has none.
IMAGES: dict[str, str | None] = {
    "INSTRE-S1/01a_canada_book/001.jpg": "2 3 8 5\n",
    "INSTRE-S1/01a_canada_book/002.jpg": "0 0 4 4\n10 8 5 6\n",  # the object twice
    "INSTRE-S1/01a_canada_book/013.jpg": "1  1\t6 7 \n\n",  # blanks of all kinds, an empty line
    "INSTRE-S1/01b_mr.bean/001.jpg": "5 5 5 5\n",  # a dot in the class
    "INSTRE-S1/01b_mr.bean/002.jpg": "4 4 17 12\n",  # beyond the frame
    "INSTRE-S1/02a_wierd_fish/001.jpg": "3 3 3 3\n",  # 02b is absent
    "INSTRE-S2/-01_clock/001.jpg": "6 2 4 9\n",  # begins with a dash; the name of an image of S1
    "INSTRE-S2/-01_clock/002.jpg": None,
    "INSTRE-S2/tower/001.jpg": "",
    "INSTRE-M/01/001.jpg": "1 2 3 4\n9 8 6 5\n",
    "INSTRE-M/01/107.jpg": "10 1 5 5\r\n0 1 5 5\r\n",  # line 1 is object a, wherever it stands
    "INSTRE-M/02/001.jpg": "1 1 2 2\n4 4 2 2\n",
}
QUERIES = {  # query -> its box x y w h, its positives
    "INSTRE-S1/01a_canada_book/001.jpg": (
        [2, 3, 8, 5],
        ["INSTRE-S1/01a_canada_book/002.jpg", "INSTRE-S1/01a_canada_book/013.jpg", "INSTRE-M/01/107.jpg"],
    ),
    "INSTRE-S1/01b_mr.bean/001.jpg": ([5, 5, 5, 5], ["INSTRE-S1/01b_mr.bean/002.jpg", "INSTRE-M/01/107.jpg"]),
    "INSTRE-S2/-01_clock/001.jpg": ([6, 2, 4, 9], ["INSTRE-S2/-01_clock/002.jpg"]),
    "INSTRE-M/01/001.jpg": ([1, 2, 14, 11], ["INSTRE-M/01/107.jpg"]),  # around both objects
}


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(28543)
    for key, boxes in IMAGES.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (draw.randrange(256), draw.randrange(256), draw.randrange(256))
        Image.new("RGB", SIZE, colour).save(path, quality=60)
        if boxes is not None:
            path.with_suffix(".txt").write_bytes(boxes.encode())


def gallery() -> list[str]:
    return [key for key in IMAGES if key not in QUERIES]


def write_protocol(path: Path, *, corners: bool, **changes: Any) -> None:
    """Write ``gnd_instre.mat`` as MATLAB does, its boxes ``x1 y1 x2 y2`` or ``x y w h``; needs scipy.

    ``changes`` replace what it holds: ``imlist``, ``qimlist``, ``positives`` (from 1), ``boxes``.
    """
    from scipy.io import savemat

    places = {key: i for i, key in enumerate(gallery(), start=1)}
    boxes = [[x, y, x + w, y + h] if corners else [x, y, w, h] for (x, y, w, h), _ in QUERIES.values()]
    held: dict[str, Any] = {
        "imlist": gallery(),
        "qimlist": list(QUERIES),
        "positives": [[places[key] for key in positives] for _, positives in QUERIES.values()],
        "boxes": boxes,
        **changes,
    }
    gnd = np.zeros((1, len(held["positives"])), dtype=[("ok", object), ("bbx", object)])
    for i, positives in enumerate(held["positives"]):
        gnd[0, i] = (np.array([positives], np.float64), np.array([held["boxes"][i]], np.float64))
    lists = {name: np.array([held[name]], dtype=object) for name in ("imlist", "qimlist")}
    savemat(str(path), {**lists, "gnd": gnd}, do_compression=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
