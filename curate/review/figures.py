"""The figures of one round that several people did without seeing one another's work.

F1 of a group of objects (of a class, a size, two people) is the share of them that found a partner: for all objects of
two people that is 2 TP / (A + B). An object without a partner at IoU 0.5 counts neither as hit nor as miss where half
of it lies in what one of the two marked as to be ignored or as a crowd. Objects are matched class-aware, by the IoU of
their masks where both have one, else of their boxes. Intervals are over images: 1,000 resamples of whole images, or of
whole sequences where the images are of some, since what is alike in one frame is alike in the next. A figure of one
image or one sequence has none: there is nothing to draw from. The disagreement that alpha expects by chance is held
fixed in them, as Krippendorff's own bootstrap does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.model import Annotation, Rle
from curate.review import agreement, outlines, overlaps
from curate.review.agreement import SWEEP, Bools, Floats
from curate.review.outlines import Size
from curate.review.overlaps import Alpha, Edges, Ints, Objects
from curate.review.plan import Item

RESAMPLES = 1000
OUTLINES = 2000  # pairs of outlines of which boundaries are measured, drawn at random where there are more
STAPLED = 200  # units of which STAPLE is asked
SIZES = ("small", "medium", "large")
Kind = Literal["missing_annotation", "mismatching_label", "low_overlap"]  # the names that CVAT has for them
KINDS: tuple[Kind, ...] = ("missing_annotation", "mismatching_label", "low_overlap")
_SIZES = (32.0**2, 96.0**2)  # px², as COCO has them


class Bound(NamedTuple):
    """A figure with its 95 % interval over images; NaN where it is not defined, or there is only one image."""

    value: float
    low: float
    high: float


class Ratios(NamedTuple):
    """Figures that are sums over sums: per row, the block (image or sequence) and the group that it counts for."""

    block: Ints
    group: Ints
    top: Floats
    below: Floats
    groups: int


class Sampled(NamedTuple):
    """The figures of the groups, those of every resample ``(RESAMPLES, groups)``, and how many blocks they are of."""

    value: Floats
    drawn: Floats
    blocks: Ints

    def bound(self, group: int | Sequence[int], sign: float = 1.0, shift: float = 0.0) -> Bound:
        """A figure, or the mean of several, times ``sign`` and moved by ``shift``."""
        which = [group] if isinstance(group, int) else list(group)
        known = [g for g in which if not np.isnan(self.value[g])]
        if not known:
            return Bound(np.nan, np.nan, np.nan)
        value = float(sign * self.value[known].mean() + shift)
        if (self.blocks[known] == 1).any() or not self.blocks[known].any():  # one block cannot vary, none is certain
            return Bound(value, np.nan, np.nan)
        ends = self.drawn[:, known]
        counted = (~np.isnan(ends)).sum(axis=1)
        means = np.divide(np.nansum(ends, axis=1), counted, out=np.full(len(ends), np.nan), where=counted > 0)
        low, high = np.percentile(sign * means[counted > 0] + shift, [2.5, 97.5]) if counted.any() else (np.nan, np.nan)
        return Bound(value, float(low), float(high))


def resample(ratios: Ratios, blocks: int, seed: int = 0) -> Sampled:
    """Sums over sums, by group, for all blocks and for resamples of whole blocks."""
    from scipy.sparse import coo_array

    shape = (blocks, ratios.groups)
    top, below = (
        coo_array((values, (ratios.block, ratios.group)), shape=shape).tocsr() for values in (ratios.top, ratios.below)
    )
    rng = np.random.default_rng(seed)
    drawn = np.full((RESAMPLES, ratios.groups), np.nan)
    for start in range(0, RESAMPLES, 50):
        picks = rng.integers(0, blocks, (50, blocks)) if blocks else np.zeros((50, 0), int)
        weights = np.array([np.bincount(row, minlength=blocks) for row in picks], float).T
        drawn[start : start + 50] = _divided(top.T @ weights, below.T @ weights).T
    every = np.ones(blocks)
    return Sampled(_divided(top.T @ every, below.T @ every), drawn, (below > 0).sum(axis=0).astype(np.int64))


def _divided(top: Floats, below: Floats) -> Floats:
    found: Floats = np.divide(top, below, out=np.full(np.shape(top), np.nan), where=below > 0)
    return found


class Trials(NamedTuple):
    """Each object with each other person who looked: whether that person has it too."""

    object: Ints
    other: Ints
    pair: Ints  # place among the pairs of people
    hits: NDArray[np.int8]  # thresholds of the sweep at which it has a partner
    hit: Bools  # at IoU 0.5


class Round(NamedTuple):
    """What is known of a round before figures are made of it."""

    people: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    objects: Objects
    image: Ints  # per item
    images: tuple[str, ...]
    block: Ints  # per item: what is drawn again as a whole, its image or the sequence of that
    masks: Sequence[Rle | None]  # per object
    edges: Edges
    matched: Sequence[Bools]  # edges that are pairs, by threshold of the sweep
    ignored: Bools  # per object and person: lies in what the person ignores
    trials: Trials
    units: Ints
    alpha: Alpha


def measure(
    answers: Mapping[str, Mapping[str, Sequence[Annotation]]],
    people: Sequence[str],
    known: Mapping[str, Item],
) -> Round:
    """Match what people said: per item, the rows of each who answered; of ``known`` ones polygons are outlines."""
    items = sorted(answers)
    objects = overlaps.objects_of([answers[item] for item in items], people)
    about = [known.get(item) for item in items]
    frames: list[Size | None] = [(item.width, item.height) if item else None for item in about]
    masks = outlines.masks_of(objects.rows, [frames[item] for item in objects.item.tolist()])
    edges = overlaps.edges_of(objects, masks.iou if masks.areas.any() else None)
    matched = overlaps.matched(objects, edges, SWEEP)
    aside = outlines.masks_of(objects.regions.rows, [frames[item] for item in objects.regions.item.tolist()])
    ignored = overlaps.ignored(objects, lambda k, region: masks.share(k, aside, region))
    named = [item.image_id if item else name for name, item in zip(items, about, strict=True)]
    images, image = np.unique(np.array(named, object), return_inverse=True)
    drawn = [
        (1, item.sequence) if item and item.sequence else (0, name) for name, item in zip(named, about, strict=True)
    ]
    places = {block: i for i, block in enumerate(sorted(set(drawn)))}
    block = np.array([places[one] for one in drawn], np.int64)
    pairs = tuple(combinations(range(len(people)), 2))
    units = overlaps.excused(objects, overlaps.units_of(objects, edges), ignored)
    trials = _trials(objects, pairs, edges, matched, overlaps.exempt(objects, edges, matched[0], ignored))
    alpha = overlaps.alpha_of(objects, units)
    return Round(
        tuple(people),
        pairs,
        objects,
        image,
        tuple(images.tolist()),
        block,
        masks.rles,
        edges,
        matched,
        ignored,
        trials,
        units,
        alpha,
    )


def _trials(
    objects: Objects, pairs: Sequence[tuple[int, int]], edges: Edges, found: Sequence[Bools], exempt: Bools
) -> Trials:
    people = objects.looked.shape[1]
    hits = np.zeros((len(objects.item), people), np.int8)
    for which in found:
        hits[edges.a[which], objects.person[edges.b[which]]] += 1
        hits[edges.b[which], objects.person[edges.a[which]]] += 1
    tried = objects.looked[objects.item] & ~exempt
    tried[np.arange(len(tried)), objects.person] = False
    row, other = np.nonzero(tried)
    first = found[0]
    hit = np.zeros_like(hits, bool)
    hit[edges.a[first], objects.person[edges.b[first]]] = True
    hit[edges.b[first], objects.person[edges.a[first]]] = True
    codes = np.zeros((people, people), np.int64)
    for number, (p, q) in enumerate(pairs):
        codes[p, q] = codes[q, p] = number
    return Trials(row, other, codes[objects.person[row], other], hits[row, other], hit[row, other])


class Edge(NamedTuple):
    """Boundaries of pairs of outlines, in parallel."""

    edge: Ints
    f: Floats
    iou: Floats


def boundaries(found: Round, seed: int = 0) -> Edge:
    """Of objects that are pairs at IoU 0.5 and have masks: of all, or of OUTLINES drawn at random."""
    there = np.array([mask is not None for mask in found.masks], bool)
    pairs = np.flatnonzero(found.matched[0])
    edges = found.edges
    both = pairs[there[edges.a[pairs]] & there[edges.b[pairs]]] if len(pairs) else pairs
    if len(both) > OUTLINES:
        both = np.sort(np.random.default_rng(seed).choice(both, OUTLINES, replace=False))
    values = []
    for k in both.tolist():
        a, b = found.masks[int(edges.a[k])], found.masks[int(edges.b[k])]
        assert a is not None and b is not None
        values.append(outlines.boundaries(a, b) if a.size == b.size else (0.0, 0.0))
    columns = np.array(values, float).reshape(-1, 2)
    return Edge(both, columns[:, 0], columns[:, 1])


class Groups(NamedTuple):
    """The groups that figures are given for, and where each stands among the sampled ones."""

    pairs: range
    classes: range
    sizes: range
    alpha: int
    boundary: int  # the same groups again, of outlines, begin here
    whole: int = 0


def groups_of(found: Round) -> Groups:
    pairs = range(1, 1 + len(found.pairs))
    classes = range(pairs.stop, pairs.stop + len(found.objects.labels))
    sizes = range(classes.stop, classes.stop + len(SIZES))
    return Groups(pairs, classes, sizes, sizes.stop, sizes.stop + 1)


def size_codes(objects: Objects) -> Ints:
    """Per object, its place in SIZES."""
    codes: Ints = np.searchsorted(_SIZES, objects.area, side="right").astype(np.int64)
    return codes


def sampled(found: Round, edge: Edge, seed: int = 0) -> Sampled:
    """F1@50:95, alpha's observed disagreement and boundary F of all groups, each with its resamples."""
    at, objects, trials = groups_of(found), found.objects, found.trials
    size = size_codes(objects)
    block, ones = found.block[objects.item[trials.object]], np.ones(len(trials.object))
    kinds = (
        np.zeros(len(ones), np.int64),
        at.pairs.start + trials.pair,
        at.classes.start + objects.label[trials.object],
        at.sizes.start + size[trials.object],
    )
    parts: list[tuple[Ints, Ints, Floats, Floats]] = [(block, kind, trials.hits / len(SWEEP), ones) for kind in kinds]
    member: Ints = found.units.max(axis=1) if len(found.units) else np.zeros(0, np.int64)
    unit_block = found.block[objects.item[member]] if len(member) else member
    parts.append((unit_block, np.full(len(member), at.alpha), found.alpha.observed, found.alpha.values.astype(float)))
    a, b = found.edges.a[edge.edge], found.edges.b[edge.edge]
    between = {pair: number for number, pair in enumerate(found.pairs)}
    pair = np.array(
        [between[p, q] for p, q in zip(objects.person[a].tolist(), objects.person[b].tolist(), strict=True)], np.int64
    )
    both_sizes = [(a, size[a]), (b, size[b])]  # each outline counts for its own size
    drawn_block, half = found.block[objects.item[a]], np.full(len(a), 0.5)
    for kind in (np.zeros(len(a), np.int64), at.pairs.start + pair, at.classes.start + objects.label[a]):
        parts.append((drawn_block, at.boundary + kind, edge.f, np.ones(len(a))))
    parts += [(drawn_block, at.boundary + at.sizes.start + s, edge.f / 2, half) for _, s in both_sizes]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    ratios = Ratios(columns[0], columns[1], columns[2], columns[3], at.boundary + at.alpha)
    drawn = resample(ratios, int(found.block.max(initial=-1)) + 1, seed)
    agreed = [at.pairs[number] for number in empty_pairs(found)]
    drawn.value[agreed] = drawn.drawn[:, agreed] = 1.0  # whatever images are drawn
    return drawn


def empty_pairs(found: Round) -> list[int]:
    """Places of pairs of people who looked at the same images, and neither has an object: they agree fully."""
    looked = found.objects.looked
    tried = np.bincount(found.trials.pair, minlength=len(found.pairs))
    return [k for k, (p, q) in enumerate(found.pairs) if not tried[k] and (looked[:, p] & looked[:, q]).any()]


class Confusion(NamedTuple):
    """Labels of objects that are pairs whatever their class, by pair of people."""

    tables: NDArray[np.float64]  # (pairs, classes, classes)

    def cohen(self, pair: int | None = None) -> tuple[float | None, float | None]:
        """Observed agreement, and Cohen's kappa; None where there is nothing, or only one class."""
        table = self.tables.sum(axis=0) if pair is None else self.tables[pair]
        return agreement.cohen(table) if table.sum() else (None, None)


def confusion(found: Round) -> Confusion:
    objects, edges = found.objects, found.edges
    (blind,) = overlaps.matched(objects, edges, [0.5], aware=False)
    tables = np.zeros((len(found.pairs), len(objects.labels), len(objects.labels)))
    a, b = edges.a[blind], edges.b[blind]
    codes = {pair: number for number, pair in enumerate(found.pairs)}
    for (p, q), number in codes.items():
        which = (objects.person[a] == p) & (objects.person[b] == q)
        np.add.at(tables[number], (objects.label[a[which]], objects.label[b[which]]), 1)
    return Confusion(tables)


def fleiss(found: Round) -> float | None:
    """Fleiss' kappa of the classes in units of which everybody who looked has an object."""
    full = [found.objects.label[unit] for unit in _full(found)]
    if not full:
        return None
    table = np.array([np.bincount(labels, minlength=len(found.objects.labels)) for labels in full])
    return agreement.fleiss(table)


def _full(found: Round) -> list[Ints]:
    """The objects of units of which everybody who looked has one, where as many looked as looked at most."""
    count = (found.units >= 0).sum(axis=1)
    most = int((found.units != overlaps.AWAY).sum(axis=1).max(initial=0))
    return [unit[unit >= 0] for unit in found.units[count == most]] if most > 1 else []


def stapled(found: Round, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Mean sensitivity and specificity of each person's outlines, of units that everybody who looked outlined."""
    full = [unit.tolist() for unit in _full(found) if all(found.masks[k] is not None for k in unit.tolist())]
    if len(full) > STAPLED:
        chosen = np.random.default_rng(seed).choice(len(full), STAPLED, replace=False)
        full = [full[k] for k in sorted(chosen.tolist())]
    said: dict[str, list[tuple[float, float]]] = {}
    for unit in full:
        masks = [mask for k in unit if (mask := found.masks[k]) is not None]
        if len({mask.size for mask in masks}) == 1:
            for k, drawn in zip(unit, outlines.drawn_by_staple(masks), strict=True):
                said.setdefault(found.people[int(found.objects.person[k])], []).append(drawn)
    means = {person: np.array(drawn).mean(axis=0).tolist() for person, drawn in said.items()}
    return {person: (mean[0], mean[1]) for person, mean in means.items()}


def qualities(found: Round) -> dict[str, dict[int, float]]:
    """Per person and item, F1@50:95 with the others who looked; 1 where nobody has anything."""
    objects, trials = found.objects, found.trials
    owner, item = objects.person[trials.object], objects.item[trials.object]
    shape = objects.looked.shape
    top, below = np.zeros(shape), np.zeros(shape)
    for who in (owner, trials.other):
        np.add.at(top, (item, who), trials.hits / len(SWEEP))
        np.add.at(below, (item, who), 1)
    others = objects.looked & (objects.looked.sum(axis=1, keepdims=True) > 1)
    value = np.divide(top, below, out=np.ones(shape), where=below > 0)
    return {
        person: {i: float(value[i, p]) for i in np.flatnonzero(others[:, p]).tolist()}
        for p, person in enumerate(found.people)
    }


def drifted(found: Round, order: Mapping[str, Sequence[int]]) -> dict[str, int | None]:
    """At which task, in the ``order`` of work, a person's quality fell out of three sigma of all; None: never."""
    quality = qualities(found)
    every = np.array([value for by in quality.values() for value in by.values()])
    if not len(every) or not every.std() > 0:
        return dict.fromkeys(found.people)
    mean, sd = float(every.mean()), float(every.std())
    return {
        person: agreement.drift([quality[person][i] for i in order.get(person, ()) if i in quality[person]], mean, sd)
        for person in found.people
    }


class Dispute(NamedTuple):
    """One thing that people do not agree on: what each has there; None: nothing."""

    item: int
    kind: Kind
    distance: float  # mean over pairs of people: 1 - IoU, 1 between one and none or between classes
    objects: dict[str, int | None]


def disputes(found: Round, most: int) -> list[Dispute]:
    """The worst units of each kind, the worst first; among equals the largest."""
    objects, units = found.objects, found.units
    if not len(units):
        return []
    total, pairs = np.zeros(len(units)), np.zeros(len(units))
    for p, q in found.pairs:
        a, b = units[:, p], units[:, q]
        both = (a != overlaps.AWAY) & (b != overlaps.AWAY)
        total[both] += _apart(found, a[both], b[both])
        pairs[both] += 1
    worst = np.divide(total, pairs, out=np.zeros(len(units)), where=pairs > 0)
    first = units.max(axis=1)
    labels = np.where(units >= 0, objects.label[np.maximum(units, 0)], objects.label[first][:, None])
    absent = (units == overlaps.ABSENT).any(axis=1)
    kind = np.where(absent, 0, np.where((labels != labels[:, :1]).any(axis=1), 1, 2))
    found_all: list[Dispute] = []
    order = np.lexsort((first, -objects.area[first], -np.round(worst, 9)))
    for code, name in enumerate(KINDS):
        for u in [k for k in order[kind[order] == code].tolist() if worst[k] > 0][:most]:
            have = {
                person: (None if k < 0 else k)
                for person, k in zip(found.people, units[u].tolist(), strict=True)
                if k != overlaps.AWAY
            }
            found_all.append(Dispute(int(objects.item[first[u]]), name, float(worst[u]), have))
    return found_all


def _apart(found: Round, a: Ints, b: Ints) -> Floats:
    """Distances of values of units, class-aware, by masks where both have one."""
    objects, edges = found.objects, found.edges
    apart = overlaps.distance(objects, a, b, labels=True)
    n = max(1, len(objects.item))
    keys = edges.a * n + edges.b  # sorted
    both = np.flatnonzero((a >= 0) & (b >= 0))
    same = both[objects.label[a[both]] == objects.label[b[both]]]
    if len(same) and len(keys):
        wanted = a[same] * n + b[same]
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        apart[same] = np.where(keys[place] == wanted, 1 - edges.iou[place], 1.0)
    return apart
