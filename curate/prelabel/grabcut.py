"""GrabCut from a box (Rother, Kolmogorov, Blake, SIGGRAPH 2004) by OpenCV: no weights, for demos and clear objects.

It tells colours apart and knows no things: shadows, dark cars and loose boxes defeat it. It is no substitute for
Segment Anything on street scenes. A crop around the box is scaled to 256 px, so that an object costs the same whatever
its size; the mask is clipped to the box. Where nothing, or nearly all of the box, is left, the ellipse is given and
flagged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import CurateError
from curate.prelabel.ellipse import boxes_of, ellipse_in
from curate.prelabel.prompts import Mask, Picture, Prompts

SIDE = 256  # px, the longer side of what GrabCut sees
MARGIN = 0.35  # of the box's sides, on every side
ITERATIONS = 5
LEAST, MOST = 0.05, 0.98  # share of the box that a mask may take; outside of it nothing was separated
_SMALLEST = 3  # px, a box's side as GrabCut sees it


class GrabCut:
    """The segmenter ``grabcut``.

    Raises:
        CurateError: OpenCV is not installed.
    """

    name = "grabcut"

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            hint = "install it: pip install 'curate[sam]'"
            raise CurateError("segmenter grabcut", "OpenCV is not installed", hint=hint) from None
        self.cv2 = cv2

    def identity(self) -> dict[str, Any]:
        version = ".".join(self.cv2.__version__.split(".")[:2])
        return {"model": self.name, "opencv": version, "side": SIDE, "margin": MARGIN, "iterations": ITERATIONS}

    def segment(self, picture: Picture, prompts: Prompts) -> Iterator[Mask]:
        """One mask per box.

        Raises:
            UsageError: there are points or masks instead of boxes.
        """
        for box in boxes_of(prompts, self.name):
            pixels = self._cut(picture, box)
            if pixels is None:
                yield Mask(ellipse_in(box, picture.shape[0], picture.shape[1]), flags=("ellipse",))
            else:
                yield Mask(pixels)

    def _cut(self, picture: Picture, box: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        cv2 = self.cv2
        height, width = picture.shape[:2]
        x, y, w, h = (float(value) for value in box)
        left, top = max(0, math.floor(x - MARGIN * w)), max(0, math.floor(y - MARGIN * h))
        right, bottom = min(width, math.ceil(x + w + MARGIN * w)), min(height, math.ceil(y + h + MARGIN * h))
        crop = np.ascontiguousarray(picture[top:bottom, left:right])
        scale = min(1.0, SIDE / max(crop.shape[:2]))
        size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
        small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA) if scale < 1 else crop
        rect = _rect((x - left) * scale, (y - top) * scale, w * scale, h * scale, size)
        # A box that fills the crop leaves no ground to learn from; one of a few pixels no object.
        if rect is None or (rect[2] >= size[0] and rect[3] >= size[1]):
            return None
        labels = np.zeros(small.shape[:2], np.uint8)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # it draws from a generator of the whole process
        try:
            cv2.grabCut(small, labels, rect, *models, ITERATIONS, cv2.GC_INIT_WITH_RECT)
        except cv2.error:  # one colour only, and the like
            return None
        found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
        full = cv2.resize(found, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR) if scale < 1 else found
        mask = np.zeros((height, width), bool)
        mask[top:bottom, left:right] = full > 0
        inside = np.zeros_like(mask)
        inside[max(0, math.floor(y)) : math.ceil(y + h), max(0, math.floor(x)) : math.ceil(x + w)] = True
        mask &= inside
        share = float(mask.sum()) / max(1.0, float(inside.sum()))
        return mask if LEAST <= share <= MOST else None


def _rect(x: float, y: float, w: float, h: float, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The box in whole pixels of the crop; None where it is too small to work with."""
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(size[0], math.ceil(x + w)), min(size[1], math.ceil(y + h))
    wide, high = right - left, bottom - top
    return (left, top, wide, high) if min(wide, high) >= _SMALLEST else None
