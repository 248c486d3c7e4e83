"""How well a model segments the objects of drawn scenes from their boxes, beside shapes that need no model.

::

    python -m curate.demo.tiny_sam.judge [CHECKPOINT]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.demo.scenes import Scene, draw_scene

Mask = NDArray[np.bool_]

FIXED = 1_000_000  # seeds from here on are for judging, those below for training
SCENES = 100
LEAST = 0.004  # share of the picture that an object must show


class Figures(NamedTuple):
    """Per object: its share of the picture, and the IoU with its truth of the model and of plain shapes."""

    share: NDArray[np.float64]
    box: NDArray[np.float64]  # the model, from the tight box, one mask
    loose: NDArray[np.float64]  # from a box that is off by 5 % of its sides
    point: NDArray[np.float64]  # from one point, the best of three masks by its own judgement
    predicted: NDArray[np.float64]  # the IoU that the model expects, from the tight box
    ellipse: NDArray[np.float64]
    filled: NDArray[np.float64]

    def line(self) -> str:
        """The means, for people."""
        named = ", ".join(f"{name} {getattr(self, name).mean():.3f}" for name in ("box", "loose", "point"))
        large = self.box[self.share > 0.02]
        related = np.corrcoef(self.predicted, self.box)[0, 1]
        return (
            f"{len(self.box)} objects: {named}, ellipse {self.ellipse.mean():.3f}, box {self.filled.mean():.3f};"
            f" median {np.median(self.box):.3f}, above 0.7 {np.mean(self.box > 0.7):.2f},"
            f" objects over 2 % {large.mean():.3f}; predicted and true IoU correlate with {related:.2f}"
        )


def scene_of(seed: int, width: int = 64, height: int = 64) -> tuple[NDArray[np.uint8], list[Mask]]:
    """The picture and visible masks of a training or test scene: things on a table, of all shapes, many touching."""
    rng = np.random.default_rng([seed, 7])
    scene: Scene = draw_scene(
        [seed, 64],
        width,
        height,
        int(rng.integers(1, 6)),
        size=(0.14, 0.66),
        crowding=0.5,
        shadows=bool(rng.random() < 0.5),
        min_visible=max(16, int(LEAST * width * height)),
    )
    return scene.image, [thing.mask for thing in scene.objects]


def fixed_scenes(
    number: int = SCENES, width: int = 64, height: int = 64
) -> Iterator[tuple[NDArray[np.uint8], list[Mask]]]:
    """The scenes that models are judged on: always the same."""
    for seed in range(FIXED, FIXED + number):
        yield scene_of(seed, width, height)


def tight_box(mask: Mask) -> NDArray[np.float64]:
    """``x1, y1, x2, y2`` around a mask, right and bottom exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def iou(a: Mask, b: Mask) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def ellipse_in(box: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    """The ellipse that touches the four sides of ``box``."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    inside: Mask = ((x - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1)) ** 2 <= 0.25
    return inside


def judge(model: Any, scenes: Sequence[tuple[NDArray[np.uint8], list[Mask]]]) -> Figures:
    """Ask ``model`` (a ``Sam``) for every object of ``scenes`` through the official predictor."""
    from curate.prelabel.torchvision_standin import import_segment_anything

    predictor = import_segment_anything().SamPredictor(model)
    rng = np.random.default_rng(0)
    rows = []
    for picture, masks in scenes:
        predictor.set_image(picture)
        for mask in masks:
            box = tight_box(mask)
            (tight,), (expected,), _ = predictor.predict(box=box, multimask_output=False)
            off = rng.normal(0, 0.05, 4) * np.tile(box[2:] - box[:2], 2)
            (loose,), _, _ = predictor.predict(box=box + off, multimask_output=False)
            place = np.argwhere(mask)[np.count_nonzero(mask) // 2][::-1].astype(float)
            three, qualities, _ = predictor.predict(place[None], np.array([1]), multimask_output=True)
            guesses = (tight, loose, three[int(qualities.argmax())])
            filled = np.zeros_like(mask)
            filled[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
            plain = iou(ellipse_in(box, mask.shape), mask), iou(filled, mask)
            rows.append((mask.mean(), *(iou(guess, mask) for guess in guesses), float(expected), *plain))
    return Figures(*np.array(rows).T)


def main() -> None:
    import torch

    from curate.demo.tiny_sam import CHECKPOINT
    from curate.demo.tiny_sam.train import load

    torch.set_num_threads(1)
    model = load(sys.argv[1] if len(sys.argv) > 1 else CHECKPOINT)
    for width, height in ((64, 64), (128, 128), (640, 480)):
        print(f"{width} x {height}: {judge(model, list(fixed_scenes(SCENES, width, height))).line()}")


if __name__ == "__main__":
    main()
