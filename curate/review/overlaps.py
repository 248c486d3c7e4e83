"""Objects of several people as columns, their overlaps, matching and units: of hundreds of thousands at once.

The definitions are those of :mod:`curate.review.agreement`, which settles what is not plain: nearly always an object
overlaps with one of each other person, and then there is nothing to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.model import Annotation
from curate.review import agreement
from curate.review.agreement import Bools, Floats, Seen

Ints = NDArray[np.int64]
ABSENT, AWAY = -1, -2  # in units: looked at the image and has no object there; never saw the image, or ignores it
_IGNORED = 0.5  # share of an object in a region to be ignored from which on it need not be marked
_PORTION = 2_000_000  # candidate pairs at a time
_EXACT, _DRAWN = 2000, 1_000_000  # values of which all pairs are taken, and pairs that are drawn of more


class Regions(NamedTuple):
    """What people marked as to be ignored, or as a crowd."""

    item: Ints
    person: Ints
    box: Floats
    rows: Sequence[Annotation]


class Objects(NamedTuple):
    """All objects of all people, those of an item together. Places are into the lists that they were made from."""

    item: Ints
    person: Ints
    label: Ints
    box: Floats  # (n, 4): x, y, w, h in pixels
    rows: Sequence[Annotation]
    labels: tuple[str, ...]
    looked: Bools  # (items, people): who answered
    regions: Regions

    @property
    def area(self) -> Floats:
        """Of the mask where there is one, else of the box; px²."""
        given = [row.area if row.segmentation or row.polygons else None for row in self.rows]
        known = np.array([np.nan if area is None else area for area in given], float)
        boxes: Floats = self.box[:, 2] * self.box[:, 3]
        return np.where(np.isnan(known), boxes, known)


def objects_of(answers: Sequence[Mapping[str, Sequence[Annotation]]], people: Sequence[str]) -> Objects:
    """Columns of what people said: per item, the rows of each person who answered.

    Rows without a box, groups (crowds) and regions to be ignored are no objects; see :func:`ignored` of the latter.
    """
    place = {person: i for i, person in enumerate(people)}
    looked = np.zeros((len(answers), len(people)), bool)
    rows: list[Annotation] = []
    who: list[tuple[int, int]] = []
    regions: list[Annotation] = []
    whose: list[tuple[int, int]] = []
    for number, by in enumerate(answers):
        for person, said in sorted(by.items()):
            looked[number, place[person]] = True
            boxed = [row for row in said if row.x is not None and row.w is not None]
            held = [row for row in boxed if not (row.ignore or row.iscrowd)]
            rows += held
            who += [(number, place[person])] * len(held)
            regions += [row for row in boxed if row.ignore or row.iscrowd]
            whose += [(number, place[person])] * (len(boxed) - len(held))
    names = [row.category or "" for row in rows]
    labels = tuple(sorted(set(names)))
    codes = {name: i for i, name in enumerate(labels)}
    place_of = np.array(who, np.int64).reshape(-1, 2)
    label = np.array([codes[name] for name in names], np.int64)
    region_of = np.array(whose, np.int64).reshape(-1, 2)
    aside = Regions(region_of[:, 0], region_of[:, 1], _boxes(regions), regions)
    return Objects(place_of[:, 0], place_of[:, 1], label, _boxes(rows), rows, labels, looked, aside)


def _boxes(rows: Sequence[Annotation]) -> Floats:
    return np.array([(row.x, row.y or 0.0, row.w, row.h or 0.0) for row in rows], float).reshape(-1, 4)


def ignored(objects: Objects, mask_share: Callable[[int, int], float | None] | None = None) -> Bools:
    """Per object and person, whether half of the object or more lies in a region that the person ignores.

    ``mask_share`` gives the share of an object in a region by their masks, None where one of them has no mask.
    """
    found = np.zeros((len(objects.item), objects.looked.shape[1]), bool)
    regions = objects.regions
    for k, (item, person) in enumerate(zip(regions.item.tolist(), regions.person.tolist(), strict=True)):
        first, stop = np.searchsorted(objects.item, [item, item + 1]).tolist()
        box, region = objects.box[first:stop], regions.box[k]
        low, high = np.maximum(box[:, :2], region[:2]), np.minimum(box[:, :2] + box[:, 2:], region[:2] + region[2:])
        shared, own = np.clip(high - low, 0, None).prod(axis=1), box[:, 2:].prod(axis=1)
        share = np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)
        for i in np.flatnonzero(share > 0).tolist() if mask_share else ():
            exact = mask_share(first + i, k) if mask_share else None
            share[i] = share[i] if exact is None else exact
        found[first:stop, person] |= share >= _IGNORED
    return found


def exempt(objects: Objects, edges: Edges, pairs: Bools, ignoring: Bools) -> Bools:
    """Per object and other person, whether it is neither hit nor miss: no partner, and one of the two ignores it."""
    found: Bools = ignoring | ignoring[np.arange(len(objects.item)), objects.person][:, None]
    a, b = edges.a[pairs], edges.b[pairs]
    found[a, objects.person[b]] = False
    found[b, objects.person[a]] = False
    return found


def excused(objects: Objects, units: Ints, ignoring: Bools) -> Ints:
    """The units, with AWAY for ABSENT of people who need not have marked anything there, as :func:`exempt` has it."""
    given = units.copy()
    for q in range(units.shape[1]):
        free = units[:, q] == ABSENT
        for p in range(units.shape[1]):
            place = np.flatnonzero(units[:, p] >= 0)
            k = units[place, p]
            free[place] &= ignoring[k, q] | ignoring[k, p]
        given[free, q] = AWAY
    return given


class Edges(NamedTuple):
    """Pairs of objects of two people in one item that overlap; ``a`` is of the person who stands first."""

    a: Ints
    b: Ints
    box_iou: Floats
    iou: Floats  # of masks where both have one, else of boxes


def edges_of(objects: Objects, mask_iou: Callable[[int, int], float | None] | None = None) -> Edges:
    """All overlaps; ``mask_iou`` gives that of two objects, None where one of them has no mask."""
    n = len(objects.item)
    left = objects.box[:, 0]
    order = np.lexsort((left, objects.item))
    item, low, high = objects.item[order], left[order], (left + objects.box[:, 2])[order]
    # Sorted by item and left edge, what may overlap with an object stands behind it until its right edge.
    stride = float(np.ptp(np.concatenate([low, high])) + 1) if n else 1.0
    base = item * stride - (low.min() if n else 0.0)
    until = np.searchsorted(base + low, np.nextafter(base + high, np.inf))
    count = np.maximum(until - np.arange(1, n + 1), 0)
    parts = []
    for start, stop in _portions(count):
        lengths = count[start:stop]
        first = np.repeat(np.arange(start, stop), lengths)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        i, j = order[first], order[second]
        other = (objects.person[i] != objects.person[j]) & (objects.item[i] == objects.item[j])
        i, j = i[other], j[other]
        swap = objects.person[i] > objects.person[j]
        i, j = np.where(swap, j, i), np.where(swap, i, j)
        iou = paired_iou(objects.box[i], objects.box[j])
        parts.append((i[iou > 0], j[iou > 0], iou[iou > 0]))
    a, b, iou = (
        np.concatenate(column) if parts else np.zeros(0, kind)
        for column, kind in zip(zip(*parts, strict=True) if parts else ((), (), ()), (int, int, float), strict=True)
    )
    order = np.lexsort((b, a))
    a, b, iou = a[order], b[order], iou[order]
    exact = iou.copy()
    if mask_iou is not None:
        for k, (one, other_one) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
            found = mask_iou(one, other_one)
            exact[k] = iou[k] if found is None else found
    return Edges(a, b, iou, exact)


def _portions(count: Ints) -> list[tuple[int, int]]:
    """Ranges of rows with at most about _PORTION candidates each."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_PORTION, total, _PORTION)) + 1
    bounds = np.unique(np.concatenate([[0], cuts, [len(count)]]))
    return [(int(a), int(b)) for a, b in pairwise(bounds.tolist())]


def paired_iou(a: Floats, b: Floats) -> Floats:
    """IoU of boxes ``(n, 4)`` with those in the same row; 0 for two empty ones."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    sides = np.clip(high - low, 0, None)
    shared = sides[:, 0] * sides[:, 1]
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def matched(objects: Objects, edges: Edges, thresholds: Sequence[float], *, aware: bool = True) -> list[Bools]:
    """Which edges pair two objects at each of the rising ``thresholds``, each two people on their own.

    ``aware``: only objects of one class.
    """
    people = objects.looked.shape[1]
    allowed = edges.iou >= thresholds[0]
    if aware:
        allowed &= objects.label[edges.a] == objects.label[edges.b]
    # An object is one node for each other person whose objects it may be paired with.
    first = edges.a * people + objects.person[edges.b]
    second = edges.b * people + objects.person[edges.a]
    degree = np.bincount(np.concatenate([first[allowed], second[allowed]]), minlength=len(objects.item) * people)
    alone = allowed & (degree[first] == 1) & (degree[second] == 1)
    rivals = np.flatnonzero(allowed & ~alone)
    groups = _components(first[rivals], second[rivals])
    found = []
    for threshold in thresholds:
        chosen = alone & (edges.iou >= threshold)
        for group in groups:
            which = rivals[group]
            which = which[edges.iou[which] >= threshold]
            if len(which):
                rows, i = np.unique(edges.a[which], return_inverse=True)
                columns, j = np.unique(edges.b[which], return_inverse=True)
                iou = np.full((len(rows), len(columns)), -1.0)
                iou[i, j] = edges.iou[which]
                pairs = {(pair.a, pair.b) for pair in agreement.match(iou, threshold)}
                chosen[which] = [pair in pairs for pair in zip(i.tolist(), j.tolist(), strict=True)]
        found.append(chosen)
    return found


def _components(first: Ints, second: Ints) -> list[Ints]:
    """The edges between nodes, by connected component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(first):
        return []
    nodes, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    ends = places[: len(first)], places[len(first) :]
    graph = coo_array((np.ones(len(first)), ends), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    of = component[ends[0]]
    order = np.argsort(of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(of[order])) + 1)


def units_of(objects: Objects, edges: Edges, least: float = 0.3) -> Ints:
    """Units ``(n, people)``: which object each person has there, ABSENT or AWAY. As :func:`agreement.clusters`."""
    n, people = len(objects.item), objects.looked.shape[1]
    close = np.flatnonzero(edges.box_iou >= least)
    lead = np.arange(n)
    extra: list[list[int]] = []
    for group in _components(edges.a[close], edges.b[close]):
        members = np.unique(np.concatenate([edges.a[close[group]], edges.b[close[group]]]))
        if len(np.unique(objects.person[members])) == len(members):
            lead[members] = members[0]
        else:
            extra += _settled(objects, members.tolist(), least)
    for unit in extra:
        lead[unit] = min(unit)
    roots, row = np.unique(lead, return_inverse=True)
    units = np.where(objects.looked[objects.item[roots]], ABSENT, AWAY)
    units[row, objects.person] = np.arange(n)
    return units.reshape(-1, people)


def _settled(objects: Objects, members: Sequence[int], least: float) -> list[list[int]]:
    """Units of objects that hang together although somebody has several of them."""
    people: list[list[Seen]] = [[] for _ in range(objects.looked.shape[1])]
    places: list[list[int]] = [[] for _ in people]
    for k in members:
        person = int(objects.person[k])
        x, y, w, h = objects.box[k].tolist()
        people[person].append(Seen((x, y, w, h)))
        places[person].append(k)
    return [
        [places[person][place] for person, place in enumerate(unit) if place is not None]
        for unit in agreement.cluster_places(people, least)
    ]


class Alpha(NamedTuple):
    """Krippendorff's alpha with the distance 1 - IoU, and what it is made of, per unit."""

    value: float | None
    observed: Floats  # sum over ordered pairs of values, by the number of values less one
    values: Ints
    expected: float


def alpha_of(objects: Objects, units: Ints, *, labels: bool = False, seed: int = 0) -> Alpha:
    """Alpha over boxes: 1 - IoU; 1 between a box and none or, with ``labels``, two classes; 0 between none and none.

    Units with one value say nothing. The disagreement expected by chance is the mean over all pairs of values; beyond
    2,000 values it is that of a million pairs drawn at random (standard error below 0.0005).
    """
    values = (units != AWAY).sum(axis=1)
    held = (values > 1) & (units >= 0).any(axis=1)
    observed = np.zeros(len(units))
    for p, q in combinations(range(units.shape[1]), 2):
        both = held & (units[:, p] != AWAY) & (units[:, q] != AWAY)
        observed[both] += 2 * distance(objects, units[both, p], units[both, q], labels=labels)
    observed[held] /= values[held] - 1
    values = np.where(held, values, 0)
    every = units[held][units[held] != AWAY]
    n = len(every)
    if n < 2:
        return Alpha(None, observed, values, 0.0)
    if n <= _EXACT:
        i, j = np.triu_indices(n, 1)
    else:
        rng = np.random.default_rng(seed)
        i = rng.integers(0, n, _DRAWN)
        j = (i + rng.integers(1, n, _DRAWN)) % n
    expected = float(distance(objects, every[i], every[j], labels=labels).mean())
    value = 1 - float(observed.sum()) / n / expected if expected else None
    return Alpha(value, observed, values, expected)


def distance(objects: Objects, a: Ints, b: Ints, *, labels: bool = False) -> Floats:
    """Between values of units, in parallel; see :func:`alpha_of`."""
    found: Floats = ((a < 0) != (b < 0)).astype(float)
    both = (a >= 0) & (b >= 0)
    apart = 1 - paired_iou(objects.box[a[both]], objects.box[b[both]])
    if labels:
        apart[objects.label[a[both]] != objects.label[b[both]]] = 1.0
    found[both] = apart
    return found
