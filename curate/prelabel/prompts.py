"""What passes between detectors, segmenters and the runner: detections, prompts and masks.

Boxes are ``x, y, w, h`` in pixels of the stored picture, exclusive right and bottom edge; a picture is an array of
``height x width x 3`` bytes (RGB), never turned by its EXIF orientation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float64]


class Prompts(NamedTuple):
    """What to segment in one picture: row i of whatever is given speaks of object i."""

    boxes: Boxes | None = None  # (n, 4), finite, within the picture, both sides above zero
    points: NDArray[np.float64] | None = None  # (n, p, 2), x and y
    point_labels: NDArray[np.int64] | None = None  # (n, p): 1 on the object, 0 on the ground, -1 no point
    masks: Sequence[NDArray[np.bool_]] | None = None  # n masks of the picture's size

    def __len__(self) -> int:
        given = next((part for part in self if part is not None), ())
        return len(given)


class Mask(NamedTuple):
    """One segmented object; the two qualities lie in 0..1 and are None where a segmenter has none."""

    pixels: NDArray[np.bool_]  # (height, width) of the picture
    predicted_iou: float | None = None
    stability: float | None = None  # IoU of the masks at a stricter and a looser threshold
    flags: tuple[str, ...] = ()  # what a reviewer should know: 'ellipse' where the method had to fall back to it


class Detections(NamedTuple):
    """Boxes of one picture; all parts have the same length."""

    boxes: Boxes  # (n, 4)
    scores: NDArray[np.float64]  # (n,), NaN where unknown
    labels: Sequence[str | None]
    parents: Sequence[str | None]  # id of the annotation that a box comes from


class Segmenter(Protocol):
    """Turns prompts into masks. One instance lives in one worker; it need not be picklable."""

    name: str

    def identity(self) -> dict[str, Any]:
        """What the masks depend on, JSON values: model, checkpoint hash, options that change the result."""

    def segment(self, picture: Picture, prompts: Prompts) -> Iterator[Mask]:
        """One mask per prompt, in order, made when it is asked for; the picture is embedded once."""


class Detector(Protocol):
    """Finds boxes in a picture; ``known`` are those that the dataset has (the detector ``source`` gives them back)."""

    name: str
    needs_picture: bool

    def identity(self) -> dict[str, Any]:
        """What the boxes depend on, JSON values."""

    def detect(self, picture: Picture | None, known: Detections) -> Detections:
        """Boxes clipped to the picture; scores and labels belong to them one by one."""
