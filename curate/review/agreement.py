"""How well people agree: matching, F1 over IoU, mean IoU, boundary F, kappa and alpha; pure functions.

Boxes are arrays ``(n, 4)`` of x, y, w, h in pixels, half-open; masks are boolean arrays ``(height, width)``. Objects of
two people are matched one to one: as many pairs as possible with IoU of at least a threshold, and among these the
largest sum of IoU. Figures of rounds that start from an earlier result are no independent agreement and are not given
as such.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
T = TypeVar("T")
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


def count(iou: Floats, threshold: float, allowed: Bools | None = None) -> Counts:
    """The counts of one image."""
    pairs = match(iou, threshold, allowed)
    return Counts(len(pairs), iou.shape[0], iou.shape[1], sum(pair.iou for pair in pairs))


def equal_labels(a: Sequence[Hashable], b: Sequence[Hashable]) -> Bools:
    """Which pairs have one label, ``(n, m)``."""
    return np.array([[x == y for y in b] for x in a], bool).reshape(len(a), len(b))


def f1_sweep(images: Sequence[tuple[Floats, Bools | None]]) -> dict[float, float]:
    """F1 at IoU 0.50, 0.55 ... 0.95, pooled over images; F1@50:95 is their plain mean."""
    return {t: sum((count(iou, t, allowed) for iou, allowed in images), Counts()).f1 for t in SWEEP}


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


def alpha(units: Sequence[Sequence[T]], distance: Callable[[T, T], float]) -> float | None:
    """Krippendorff's alpha ``1 - Do / De`` for any distance; units with one value say nothing. None if De is 0."""
    held = [list(unit) for unit in units if len(unit) > 1]
    values = [value for unit in held for value in unit]
    n = len(values)
    if n < 2:
        return None

    def total(those: Sequence[T]) -> float:
        return 2 * sum(distance(x, y) for i, x in enumerate(those) for y in those[:i])

    observed = sum(total(unit) / (len(unit) - 1) for unit in held) / n
    expected = total(values) / (n * (n - 1))
    return 1 - observed / expected if expected else None


def nominal(a: Hashable, b: Hashable) -> float:
    return float(a != b)


class Seen(NamedTuple):
    """One person's box in a unit, with its class; None stands for 'absent'."""

    box: tuple[float, float, float, float]
    label: str = ""


def clusters(people: Sequence[Sequence[Seen]], least: float = 0.3) -> list[list[Seen | None]]:
    """Units of one image: boxes of all people, joined class-blind from the largest IoU on, one per person and unit.

    A value per person who looked at the image, None where that person has no box in the unit.
    """
    from curate.geometry import box_iou

    flat = [(person, seen) for person, boxes in enumerate(people) for seen in boxes]
    if not flat:
        return []
    boxes = np.array([seen.box for _, seen in flat], float)
    iou = box_iou(boxes, boxes)
    lead = list(range(len(flat)))
    pairs = [(-iou[i, j], i, j) for i, j in zip(*np.nonzero(np.triu(iou >= least, 1)), strict=True)]
    for _, i, j in sorted(pairs):
        a, b = lead[i], lead[j]
        who = [{flat[k][0] for k in range(len(flat)) if lead[k] == one} for one in (a, b)]
        if a != b and not who[0] & who[1]:
            lead = [min(a, b) if one in (a, b) else one for one in lead]
    units = []
    for root in sorted(set(lead)):
        unit: list[Seen | None] = [None] * len(people)
        for k, (person, seen) in enumerate(flat):
            if lead[k] == root:
                unit[person] = seen
        units.append(unit)
    return units


def seen_distance(a: Seen | None, b: Seen | None, *, labels: bool = False) -> float:
    """1 - IoU; 1 between a box and none, or (with ``labels``) between classes; 0 between none and none."""
    from curate.geometry import box_iou

    if a is None or b is None:
        return float((a is None) != (b is None))
    if labels and a.label != b.label:
        return 1.0
    return 1 - float(box_iou(np.array([a.box]), np.array([b.box]))[0, 0])


def alpha_boxes(units: Sequence[Sequence[Seen | None]], exact: int = 2000, seed: int = 0) -> float | None:
    """Krippendorff's alpha with :func:`seen_distance`, for any number of units.

    The disagreement expected by chance is a mean over all pairs of values; beyond ``exact`` values it is estimated from
    a million random pairs (standard error below 0.0005).
    """
    from curate.geometry import box_iou

    held = [unit for unit in units if len(unit) > 1]
    values = [value for unit in held for value in unit]
    n = len(values)
    if n < 2:
        return None
    absent = np.array([value is None for value in values])
    boxes = np.array([(0.0, 0.0, 0.0, 0.0) if value is None else value.box for value in values])
    if n <= exact:
        distance = np.where(absent[:, None] & absent[None, :], 0.0, 1 - box_iou(boxes, boxes))
        np.fill_diagonal(distance, 0)
        expected = distance.sum() / (n * (n - 1))
    else:
        rng = np.random.default_rng(seed)
        i = rng.integers(0, n, 1_000_000)
        j = (i + rng.integers(1, n, len(i))) % n
        low = np.maximum(boxes[i, :2], boxes[j, :2])
        high = np.minimum(boxes[i, :2] + boxes[i, 2:], boxes[j, :2] + boxes[j, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        union = boxes[i, 2:].prod(axis=1) + boxes[j, 2:].prod(axis=1) - shared
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        expected = np.where(absent[i] & absent[j], 0.0, 1 - iou).mean()
    observed = 0.0
    for unit in held:
        pairs = sum(seen_distance(a, b) for k, a in enumerate(unit) for b in unit[:k])
        observed += 2 * pairs / (len(unit) - 1)
    return float(1 - observed / n / expected) if expected else None


def wilson(defects: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share; (0, 1) where nothing was looked at."""
    if not n:
        return 0.0, 1.0
    p = defects / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def decide(defects: int, n: int, target: float) -> str:
    """Of an inspected sample: ``accept`` (upper bound within the target), ``reject`` (lower bound above), ``more``."""
    low, high = wilson(defects, n)
    return "accept" if high <= target else "reject" if low > target else "more"


def bootstrap(figure: Callable[[Sequence[T]], float], images: Sequence[T], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a figure over images: 1,000 resamples of whole images."""
    rng = np.random.default_rng(seed)
    values = [figure([images[i] for i in rng.integers(0, len(images), len(images))]) for _ in range(1000)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


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
