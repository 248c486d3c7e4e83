"""What the figures of agreement are, of one image or table: matching, boundaries, kappa, units, bounds, times, drift.

Boxes are x, y, w, h in pixels, half-open; masks are boolean arrays ``(height, width)``. Objects of two people are
matched one to one: as many pairs as possible with IoU of at least a threshold, and among these the largest sum of IoU.
:mod:`curate.review.overlaps` does the same for hundreds of thousands of objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SWEEP = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # as mAP@50:5:95


class Pair(NamedTuple):
    """One object of each person, by place in their lists."""

    a: int
    b: int
    iou: float


class Counts(NamedTuple):
    """What matching gave, summed over images: pairs, objects of A and of B, sum of the pairs' IoU."""

    pairs: int = 0
    a: int = 0
    b: int = 0
    iou: float = 0.0

    def __add__(self, other: Counts) -> Counts:  # type: ignore[override]
        return Counts(self.pairs + other.pairs, self.a + other.a, self.b + other.b, self.iou + other.iou)

    @property
    def precision(self) -> float:
        """Of B, with A as the reference; 1 if both are empty."""
        return self.pairs / self.b if self.b else float(not self.a)

    @property
    def recall(self) -> float:
        return self.pairs / self.a if self.a else float(not self.b)

    @property
    def f1(self) -> float:
        return 2 * self.pairs / (self.a + self.b) if self.a + self.b else 1.0

    @property
    def quality(self) -> float:
        """Panoptic quality: sum of IoU / (TP + FP/2 + FN/2)."""
        return 2 * self.iou / (self.a + self.b) if self.a + self.b else 1.0

    @property
    def matched_iou(self) -> float | None:
        """Mean IoU of the pairs: blind to misses, never to be given alone."""
        return self.iou / self.pairs if self.pairs else None

    @property
    def object_iou(self) -> float:
        """Sum of IoU / (TP + FP + FN)."""
        every = self.a + self.b - self.pairs
        return self.iou / every if every else 1.0


def match(iou: Floats, threshold: float, allowed: Bools | None = None) -> list[Pair]:
    """The matching of two people's objects by their IoU ``(n, m)``; ``allowed`` may forbid pairs (other labels)."""
    good = (iou >= threshold) & (iou > 0)
    if allowed is not None:
        good &= allowed
    if not good.any():
        return []
    if good.sum(axis=0).max() <= 1 and good.sum(axis=1).max() <= 1:  # nearly always
        rows, columns = np.nonzero(good)
    else:
        from scipy.optimize import linear_sum_assignment

        weight = min(iou.shape) + 1
        rows, columns = linear_sum_assignment(np.where(good, -(weight + iou), 0.0))
        held = good[rows, columns]
        rows, columns = rows[held], columns[held]
    return [Pair(int(a), int(b), float(iou[a, b])) for a, b in zip(rows, columns, strict=True)]


def edge(mask: Bools) -> Bools:
    """Pixels of a mask with a 4-neighbour outside; the frame's border counts as outside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def boundary_f(a: Bools, b: Bools, reach: float | None = None) -> float:
    """F-measure of two edges: shares of each within ``reach`` pixels of the other (0.8 % of the diagonal if None)."""
    from scipy.ndimage import distance_transform_edt

    if not a.any() or not b.any():
        return float(not a.any() and not b.any())
    if reach is None:
        reach = max(1, math.floor(0.008 * math.hypot(*a.shape) + 0.5))
    rows, columns = np.flatnonzero((a | b).any(axis=1)), np.flatnonzero((a | b).any(axis=0))
    edges = [edge(mask)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] for mask in (a, b)]
    near_a, near_b = (distance_transform_edt(~one) <= reach for one in edges)
    precision, recall = near_a[edges[1]].mean(), near_b[edges[0]].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def boundary_iou(a: Bools, b: Bools, depth: int) -> float:
    """IoU of the bands of ``depth`` pixels (8-neighbour erosions) along the inside of each edge."""
    from scipy.ndimage import binary_erosion

    bands = [mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=depth) for mask in (a, b)]
    union = (bands[0] | bands[1]).sum()
    return float((bands[0] & bands[1]).sum() / union) if union else 1.0


def cohen(table: NDArray[Any]) -> tuple[float, float | None]:
    """Observed agreement, and Cohen's kappa of a table ``(k, k)``; None if only one class occurs."""
    table = np.asarray(table, float)
    n = table.sum()
    observed = float(np.trace(table) / n)
    expected = float((table.sum(axis=0) * table.sum(axis=1)).sum() / n**2)
    return observed, None if math.isclose(expected, 1) else (observed - expected) / (1 - expected)


def fleiss(table: NDArray[Any]) -> float | None:
    """Fleiss' kappa: units by classes, each row the number of raters who chose it, the same sum in every row."""
    table = np.asarray(table, float)
    raters = table[0].sum()
    observed = float(((table**2).sum(axis=1) - raters).mean() / (raters * (raters - 1)))
    expected = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return None if math.isclose(expected, 1) else (observed - expected) / (1 - expected)


class Seen(NamedTuple):
    """One person's box in a unit, with its class; None stands for 'absent'."""

    box: tuple[float, float, float, float]
    label: str = ""


def clusters(people: Sequence[Sequence[Seen]], least: float = 0.3) -> list[list[Seen | None]]:
    """Units of one image: boxes of all people, joined class-blind from the largest IoU on, one per person and unit.

    A value per person who looked at the image, None where that person has no box in the unit.
    """
    return [
        [None if place is None else boxes[place] for boxes, place in zip(people, unit, strict=True)]
        for unit in cluster_places(people, least)
    ]


def cluster_places(people: Sequence[Sequence[Seen]], least: float = 0.3) -> list[list[int | None]]:
    """:func:`clusters`, as places in each person's list."""
    from curate.geometry import box_iou

    flat = [(person, place) for person, boxes in enumerate(people) for place in range(len(boxes))]
    if not flat:
        return []
    boxes = np.array([people[person][place].box for person, place in flat], float)
    iou = box_iou(boxes, boxes)
    lead = list(range(len(flat)))
    members = {k: {k} for k in lead}
    pairs = [(-iou[i, j], i, j) for i, j in zip(*np.nonzero(np.triu(iou >= least, 1)), strict=True)]
    for _, i, j in sorted(pairs):
        a, b = sorted((lead[i], lead[j]))
        if a != b and not {flat[k][0] for k in members[a]} & {flat[k][0] for k in members[b]}:
            for k in members[b]:
                lead[k] = a
            members[a] |= members.pop(b)
    units = []
    for _, held in sorted(members.items()):
        unit: list[int | None] = [None] * len(people)
        for k in held:
            unit[flat[k][0]] = flat[k][1]
        units.append(unit)
    return units


def wilson(defects: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share; (0, 1) where nothing was looked at."""
    if not n:
        return 0.0, 1.0
    p = defects / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def decide(defects: float, n: int, target: float) -> str:
    """Of an inspected sample: ``accept`` (upper bound within the target), ``reject`` (lower bound above), ``more``."""
    low, high = wilson(defects, n)
    return "accept" if high <= target else "reject" if low > target else "more"


def enough(defects: int, n: int, target: float, most: int = 1_000_000) -> int | None:
    """How many to inspect in all until :func:`decide` says accept or reject, should the share of defects stay as it is.

    ``n`` where it is decided; None where more than ``most`` would be needed, or nothing was inspected.
    """
    if not n:
        return None
    if decide(defects, n, target) != "more":
        return n
    share = defects / n
    low, high = n, most
    if decide(share * most, most, target) == "more":
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if decide(share * middle, middle, target) == "more" else (low, middle)
    return low


class Times(NamedTuple):
    """Seconds per object: middle, spread, and the mean of what is left when idle times are cut off."""

    median: float
    mad: float
    mean: float


def times(seconds: Sequence[float]) -> Times | None:
    """Median, median absolute deviation, and the mean winsorised above median + 5 * 1.4826 * MAD."""
    if not len(seconds):
        return None
    values = np.asarray(seconds, float)
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    return Times(median, mad, float(np.minimum(values, median + 5 * 1.4826 * mad).mean()))


def drift(quality: Sequence[float], mean: float, sd: float, weight: float = 0.2) -> int | None:
    """At which task (from 1) an annotator's moving average first falls out of three sigma; None if never."""
    average = mean
    for t, value in enumerate(quality, 1):
        average = weight * value + (1 - weight) * average
        limit = 3 * sd * math.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * t)))
        if average < mean - limit:
            return t
    return None
