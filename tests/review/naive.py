"""Agreement worked out the slow and obvious way, image by image and pair by pair: what fast code is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from curate.geometry import box_iou
from curate.review.agreement import Seen, match

T = TypeVar("T")


def pairs(
    a: Sequence[Seen], b: Sequence[Seen], threshold: float, *, aware: bool = True
) -> list[tuple[int, int, float]]:
    boxes = [np.array([seen.box for seen in side], float).reshape(-1, 4) for side in (a, b)]
    equal = np.array([[x.label == y.label or not aware for y in b] for x in a], bool).reshape(len(a), len(b))
    return [(pair.a, pair.b, pair.iou) for pair in match(box_iou(*boxes), threshold, equal)]


def alpha(units: Sequence[Sequence[T]], distance: Callable[[T, T], float]) -> float | None:
    """Krippendorff's alpha by its definition."""
    held = [list(unit) for unit in units if len(unit) > 1]
    values = [value for unit in held for value in unit]
    n = len(values)

    def total(those: Sequence[T]) -> float:
        return 2 * sum(distance(x, y) for i, x in enumerate(those) for y in those[:i])

    observed = sum(total(unit) / (len(unit) - 1) for unit in held) / max(n, 1)
    expected = total(values) / (n * (n - 1)) if n > 1 else 0.0
    return 1 - observed / expected if expected else None


def seen_distance(a: Seen | None, b: Seen | None, *, labels: bool = False) -> float:
    if a is None or b is None:
        return float((a is None) != (b is None))
    if labels and a.label != b.label:
        return 1.0
    return 1 - float(box_iou(np.array([a.box]), np.array([b.box]))[0, 0])
