"""Writes a tiny tree of revisited Oxford and Paris: two sets with their ground truth, and a list of distractors.

Run it to look at one: ``python tests/sources/revisitop/tree.py FOLDER``.
"""

from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (24, 18)
DISTRACTORS = ["00/-0a1.jpg", "00/0b2.jpg", "a 1/0c3.jpg", "0/9.jpg"]


def truth(part: str) -> dict[str, Any]:
    """What ``gnd_<part>.pkl`` holds, as plain values."""
    if part == "roxford5k":
        return {
            "imlist": ["all_souls_000000", "all_souls_000002", "-bodleian_000003", "oxford_000317", "worcester_000111"],
            "qimlist": ["all_souls_000013", "all_souls_000026", "bodleian_000107", "oxford_002985"],
            "gnd": [
                {"bbx": [2.5, 1.0, 20.25, 17.0], "easy": [0], "hard": [1], "junk": [3]},
                # The same object, and harder to find.
                {"bbx": [0, 0, 24, 18], "easy": [], "hard": [1, 0], "junk": []},
                {"bbx": [1.0, 2.0, 3.0, 4.0], "easy": [2], "hard": [], "junk": [0, 1]},
                # Nothing is easy or hard for it, and its region leaves the image.
                {"bbx": [-1.0, -2.0, 30.0, 19.5], "easy": [], "hard": [], "junk": [4]},
            ],
        }
    return {
        "imlist": ["all_souls_000000", "paris_defense_000605", "paris_eiffel_000128"],  # a name of the other set
        "qimlist": ["paris_defense_000002"],
        "gnd": [{"bbx": [3.0, 3.0, 9.0, 12.0], "easy": [1], "hard": [], "junk": [2]}],
    }


def write(root: Path) -> None:
    """Write the tree into ``root``; the same bytes each time."""
    draw = random.Random(5063)
    for part in ("roxford5k", "rparis6k"):
        held = truth(part)
        folder = root / part
        (folder / "jpg").mkdir(parents=True)
        for name in [*held["imlist"], *held["qimlist"]]:
            colour = (draw.randrange(256), draw.randrange(256), draw.randrange(256))
            Image.new("RGB", SIZE, colour).save(folder / "jpg" / f"{name}.jpg", quality=60)
        (folder / f"gnd_{part}.pkl").write_bytes(pickle.dumps(held, 2))
    (root / "roxford5k/jpg/.all_souls_000000.jpg.swp").write_bytes(b"left by an editor")
    (root / "roxford5k/jpg/._all_souls_000000.jpg").write_bytes(b"left by macOS")
    (root / "revisitop1m").mkdir()
    (root / "revisitop1m/revisitop1m.txt").write_text("".join(f"{path}\n" for path in DISTRACTORS))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
