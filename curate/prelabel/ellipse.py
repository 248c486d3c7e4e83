"""The ellipse in the box: what needs no model, and what every model has to beat."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.prelabel.prompts import Boxes, Mask, Picture, Prompts


class Ellipse:
    """The segmenter ``ellipse``: it looks at no pixel."""

    name = "ellipse"

    def identity(self) -> dict[str, Any]:
        return {"model": self.name}

    def segment(self, picture: Picture, prompts: Prompts) -> Iterator[Mask]:
        """One ellipse per box.

        Raises:
            UsageError: there are points or masks instead of boxes.
        """
        for box in boxes_of(prompts, self.name):
            yield Mask(ellipse_in(box, picture.shape[0], picture.shape[1]))


def boxes_of(prompts: Prompts, name: str) -> Boxes:
    """The boxes of ``prompts``, for a segmenter that takes nothing else."""
    if prompts.boxes is None and len(prompts):
        raise UsageError(f"segmenter {name}", "was given points or masks", "expected boxes", "use the segmenter sam")
    return prompts.boxes if prompts.boxes is not None else np.zeros((0, 4))


def ellipse_in(box: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels whose centre lies in the ellipse that touches all sides of ``box`` (x, y, w, h).

    A box too small to hold a centre gets the pixel under its middle, so that no object vanishes.
    """
    x, y, w, h = (float(value) for value in box)
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(width, math.ceil(x + w)), min(height, math.ceil(y + h))
    mask = np.zeros((height, width), bool)
    rows, columns = np.ogrid[top:bottom, left:right]
    inside = ((columns + 0.5 - x - w / 2) / (w / 2)) ** 2 + ((rows + 0.5 - y - h / 2) / (h / 2)) ** 2 <= 1
    mask[top:bottom, left:right] = inside
    if not inside.any():
        mask[min(height - 1, max(0, int(y + h / 2))), min(width - 1, max(0, int(x + w / 2)))] = True
    return mask
