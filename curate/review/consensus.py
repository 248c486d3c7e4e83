"""One result of several: existence, box, mask and label by majority; ties go into a queue, never to chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.geometry import Box, box_iou
from curate.review.agreement import Seen


class Agreed(NamedTuple):
    """One unit: what the majority says. ``tie`` names what could not be decided: existence or label."""

    box: Box | None
    label: str | None
    votes: int  # people who have the object
    voters: int  # people who looked
    iou: float | None  # mean over pairs of boxes
    tie: str | None = None

    @property
    def kept(self) -> bool:
        return self.tie is None and 2 * self.votes > self.voters


def agreed(unit: Sequence[Seen | None]) -> Agreed:
    """The consensus of one unit, a value per person who looked at the image."""
    boxes = [seen for seen in unit if seen is not None]
    votes, voters = len(boxes), len(unit)
    if 2 * votes < voters or not boxes:
        return Agreed(None, None, votes, voters, None)
    box = median_box([seen.box for seen in boxes])
    ranked = Counter(seen.label for seen in boxes).most_common()
    label = ranked[0][0] if len(ranked) == 1 or ranked[0][1] > ranked[1][1] else None
    array = np.array([seen.box for seen in boxes], float)
    iou = float(box_iou(array, array)[np.triu_indices(votes, 1)].mean()) if votes > 1 else None
    tie = "existence" if 2 * votes == voters else "label" if label is None else None
    return Agreed(box, label, votes, voters, iou, tie)


def median_box(boxes: Sequence[Box]) -> Box:
    """The median of each corner's coordinates."""
    array = np.array(boxes, float)
    corners = np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)
    x1, y1, x2, y2 = np.median(corners, axis=0).tolist()
    return x1, y1, x2 - x1, y2 - y1


def majority_mask(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Pixels that more than half have; ties are background."""
    votes: NDArray[np.int64] = np.sum([np.asarray(mask, np.int64) for mask in masks], axis=0)
    return 2 * votes > len(masks)


class Staple(NamedTuple):
    """Weight of each pixel being foreground, and each person's sensitivity and specificity."""

    weight: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]


def staple(masks: Sequence[NDArray[np.bool_]], rounds: int = 100) -> Staple:
    """STAPLE (Warfield et al. 2004) on the window around all masks; a large background would let one mask win."""
    stack = np.array([np.asarray(mask, float) for mask in masks])
    shape = stack.shape[1:]
    votes = stack.reshape(len(masks), -1)
    prior = votes.mean()
    p = q = np.full(len(masks), 0.9)
    weight = np.zeros(votes.shape[1])
    for _ in range(rounds):
        inside = prior * np.prod(np.where(votes > 0, p[:, None], 1 - p[:, None]), axis=0)
        outside = (1 - prior) * np.prod(np.where(votes > 0, 1 - q[:, None], q[:, None]), axis=0)
        both = inside + outside
        new = np.divide(inside, both, out=np.zeros_like(both), where=both > 0)
        p = votes @ new / max(new.sum(), 1e-300)
        q = (1 - votes) @ (1 - new) / max((1 - new).sum(), 1e-300)
        if np.abs(new - weight).max() < 1e-12:
            weight = new
            break
        weight = new
    return Staple(weight.reshape(shape), p, q)
