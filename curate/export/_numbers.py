"""Numbers as a person would have written them: far edges of boxes without the noise of an addition."""

from __future__ import annotations


def far_edge(near: float, length: float) -> float:
    """``near + length`` with the fewest decimals (at most six) that still give ``length``."""
    far = near + length
    for digits in range(7):
        candidate = round(far, digits)
        if candidate - near == length:
            return candidate
    return far
