"""A check before a bulk run: on a drawn picture, masks must beat the ellipse in the box.

A wrapper that forgets to load the weights still gives masks, and 400,000 pictures later nobody looks at the code. Real
models find drawn things on a plain ground easily; one that does not is broken, or has no weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import CurateError
from curate.geometry import mask_bounds
from curate.prelabel.ellipse import ellipse_in
from curate.prelabel.prompts import Picture, Prompts, Segmenter

SIDE = 320


class Proof(NamedTuple):
    """Mean IoU with the truth over the drawn things."""

    segmenter: float
    ellipse: float

    @property
    def passed(self) -> bool:
        return self.segmenter > self.ellipse


def prove(segmenter: Segmenter) -> Proof:
    """Segment the drawn picture.

    Raises:
        CurateError: the masks are no better than ellipses.
    """
    picture, masks = drawn()
    boxes = np.array([mask_bounds(mask) for mask in masks])
    found = [mask.pixels for mask in segmenter.segment(picture, Prompts(boxes=boxes))]
    plain = [ellipse_in(box, SIDE, SIDE) for box in boxes]
    proof = Proof(*(float(np.mean([_iou(a, b) for a, b in zip(side, masks, strict=True)])) for side in (found, plain)))
    if not proof.passed:
        raise CurateError(
            f"segmenter {segmenter.name}",
            f"draws masks with IoU {proof.segmenter:.2f} on a plain drawing, where an ellipse in the box has "
            f"{proof.ellipse:.2f}",
            "expected a trained model",
            "is it the right checkpoint? '--no-proof' goes on all the same",
        )
    return proof


def drawn() -> tuple[Picture, list[NDArray[np.bool_]]]:
    """Four shapes far from ellipses, of colours far from the ground: a cross, an L, a triangle and a ring's half."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]

    def within(x: int, y: int, w: int, h: int) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = (columns >= x) & (columns < x + w) & (rows >= y) & (rows < y + h)
        return inside

    round_ = (columns - 240) ** 2 + (rows - 240) ** 2
    masks = [
        within(65, 25, 30, 110) | within(25, 65, 110, 30),
        within(200, 20, 35, 115) | within(200, 100, 95, 35),
        (rows >= 190) & (rows < 290) & (columns >= 30) & (columns < 30 + (rows - 190)),
        (round_ <= 55**2) & (round_ >= 28**2) & (rows >= 225),
    ]
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = 70, 80, 75
    for mask, colour in zip(masks, ((220, 60, 50), (60, 110, 230), (240, 210, 70), (90, 220, 120)), strict=True):
        picture[mask] = colour
    # A little texture, always the same: nothing real is perfectly flat.
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), masks


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
