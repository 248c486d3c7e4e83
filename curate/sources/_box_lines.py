"""Files with a box per line, four integers ``x y w h``, as ILIAS and INSTRE have beside each image."""

from __future__ import annotations

import re
from pathlib import Path

from curate.errors import SourceError
from curate.sources._files import read_text, shown

Box = tuple[int, int, int, int]


def read_box_lines(path: Path) -> list[Box]:
    """The boxes of a file, in its order; blank lines count for nothing. Numbers stand apart by blanks or commas.

    Raises:
        SourceError: a line is not four integers, or a size is negative; the error names the line.
    """
    boxes: list[Box] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        parts = re.split(r"[\s,]+", line.strip())
        if len(parts) != 4 or not all(re.fullmatch(r"[+-]?[0-9]{1,9}", part) for part in parts):
            raise SourceError(f"{path}:{number}", f"line is {shown(line.strip())!r}", "expected 4 integers: x y w h")
        x, y, w, h = map(int, parts)
        if w < 0 or h < 0:
            raise SourceError(f"{path}:{number}", f"box {[x, y, w, h]} has a negative size", "expected x y w h")
        boxes.append((x, y, w, h))
    return boxes


def enclosing_box(boxes: list[Box]) -> Box:
    """The least box that holds all of ``boxes``, of which there is at least one."""
    x, y = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return x, y, max(box[0] + box[2] for box in boxes) - x, max(box[1] + box[3] for box in boxes) - y
