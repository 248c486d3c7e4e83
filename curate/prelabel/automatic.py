"""Masks of everything in a picture, from a grid of points, by Segment Anything's official generator.

What it keeps is its own choice by predicted IoU and stability; doubles go by NMS. It finds parts as well as things,
and knows no names: a source of proposals where no source has boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from curate.errors import UsageError
from curate.prelabel.prompts import Mask, Picture
from curate.prelabel.sam import Sam
from curate.prelabel.torchvision_standin import import_segment_anything

POINTS = 32  # per side of the grid: the official number
PREDICTED_IOU, STABILITY = 0.88, 0.95  # the least of each that is kept: the official numbers


class Found(NamedTuple):
    """A mask with the point that it came from, in pixels."""

    mask: Mask
    point: tuple[float, float]


class Automatic:
    """Segments everything with the model of a :class:`~curate.prelabel.sam.Sam`.

    Args:
        points: per side of the grid.
        predicted_iou, stability: the least of each that is kept.
    """

    name = "automatic"

    def __init__(
        self, sam: Any, *, points: int = POINTS, predicted_iou: float = PREDICTED_IOU, stability: float = STABILITY
    ) -> None:
        if not isinstance(sam, Sam):
            raise UsageError("detector automatic", "works with the segmenter sam only", hint="--segmenter sam")
        if points < 1:
            raise UsageError(f"points = {points}", "is no number of points", "expected 1 or more")
        self.options = {"points": points, "predicted_iou": float(predicted_iou), "stability": float(stability)}
        self.sam = sam
        self.generator = import_segment_anything().SamAutomaticMaskGenerator(
            sam.loaded.model,
            points_per_side=points,
            points_per_batch=max(sam.chunk, 16),
            pred_iou_thresh=float(predicted_iou),
            stability_score_thresh=float(stability),
        )

    def identity(self) -> dict[str, Any]:
        return {"model": self.name, **self.options}

    def everything(self, picture: Picture) -> Iterator[Found]:
        """The masks, the best first by predicted IoU, then by place."""
        height, width = picture.shape[:2]
        found = self.generator.generate(np.ascontiguousarray(self.sam.not_too_thin(picture)))
        made = []
        for one in found:
            (point,) = one["point_coords"]
            pixels = np.asarray(one["segmentation"], bool)[:height, :width]
            quality = min(max(float(one["predicted_iou"]), 0.0), 1.0)
            mask = Mask(pixels, quality, float(one["stability_score"]))
            made.append(Found(mask, (round(float(point[0]), 2), round(float(point[1]), 2))))
        # To four digits, since what is beyond depends on the processor and would change the order.
        return iter(sorted(made, key=lambda one: (-round(one.mask.predicted_iou or 0, 4), one.point)))
