"""Candidates for queries, and the greedy choice among them that leaves every query a positive.

Candidates of a target are tried in the order of a rule:

* ``largest``: by the area of mask or box, the largest first;
* ``cleanest``: masks only; boxes that touch the frame's edge last (the object may be cut off), then by how much of its
  box a mask fills, then by area;
* ``first``: by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.groups import Group
from curate.build.members import has_role
from curate.columns import distinct, flags, plain, positions
from curate.dataset import Dataset
from curate.errors import UsageError
from curate.model import RelevanceRule

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Target = Literal["instance", "category"]
Rule = Literal["largest", "cleanest", "first"]
Kind = Literal["box", "mask", "image", "text"]


class Wanted(NamedTuple):
    """What queries are asked for."""

    target: Target
    queries_per: int
    rule: Rule
    kind: Kind
    min_area: float
    group: Group
    given: tuple[str, ...] = ()  # ids of annotations, the only candidates


class Candidates(NamedTuple):
    """What may become a query and what answers one, as parallel arrays; targets are numbers, in the order of names."""

    names: list[str]
    row: Ints  # candidates, of each target the best first: rows of the table annotations
    image: Ints
    target: Ints
    seen_image: Ints  # positives
    seen_target: Ints


def candidates_of(dataset: Dataset, rule: RelevanceRule, wanted: Wanted) -> Candidates:
    annotations, categories = dataset.table("annotations"), dataset.table("categories")
    found = relevance.evidence(dataset, rule)
    found = found.filter(found["positive"])
    fit = annotations.select(["category", "x", "area", "segmentation", "polygons"]).take(found["row"])
    roles = ("benchmark",) if wanted.target == "category" else ("benchmark", "other")
    named = categories.filter(pc.is_in(plain(categories["role"]), value_set=pa.array(roles)))["name"].combine_chunks()
    category = plain(fit["category"])
    asked = flags(pc.or_(pc.is_in(category, value_set=named), pc.is_null(category)))
    masked = flags(pc.or_(pc.is_valid(fit["segmentation"]), pc.is_valid(fit["polygons"])))
    image = found["image"].to_numpy()
    fits = asked & ~(has_role(dataset, "support") | has_role(dataset, "distractor"))[image]
    if wanted.kind != "image":
        fits &= masked if wanted.kind == "mask" or wanted.rule == "cleanest" else flags(pc.is_valid(fit["x"]))
    if wanted.given:
        fits &= _given(annotations, wanted.given)[found["row"].to_numpy()]

    names = pc.unique(found["target"].filter(pa.array(asked)))
    names = names.take(pc.sort_indices(names))
    target, row = positions(found["target"], names), found["row"].to_numpy()
    area = np.where(masked, pc.fill_null(fit["area"], np.nan).to_numpy(), np.nan)
    area = np.where(np.isnan(area), found["size"].to_numpy(), area)
    order = np.lexsort((row, -area, target)) if wanted.rule == "largest" else np.lexsort((row, image, target))
    if wanted.rule == "cleanest":
        cut, filled = _cleanness(dataset, annotations.take(pa.array(row)), image, area)
        order = np.lexsort((row, -area, -filled, cut, target))
    order = order[fits[order]]
    seen = target >= 0
    return Candidates(names.to_pylist(), row[order], image[order], target[order], image[seen], target[seen])


def _given(annotations: pa.Table, ids: Sequence[str]) -> Bools:
    """Which annotations are given by their ids."""
    rows = positions(pa.array(ids, pa.string()), annotations["id"])
    if (rows < 0).any():
        unknown = ids[int(np.flatnonzero(rows < 0)[0])]
        raise UsageError(f"given query {unknown!r}", "is no annotation of the dataset", "expected ids of annotations")
    chosen = np.zeros(annotations.num_rows, bool)
    chosen[rows] = True
    return chosen


def _cleanness(
    dataset: Dataset, fit: pa.Table, image: Ints, area: NDArray[np.float64]
) -> tuple[Bools, NDArray[np.float64]]:
    """Whether each box touches its frame's edge, and how much of it the mask fills."""
    x, y, w, h = (fit[side].to_numpy(zero_copy_only=False) for side in ("x", "y", "w", "h"))
    sides = dataset.table("images").select(["width", "height"]).take(pa.array(image))
    width, height = (sides[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in ("width", "height"))
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = np.nan_to_num(area / (w * h), nan=0.0, posinf=0.0)
        cut = (x <= 0) | (y <= 0) | (x + w >= width) | (y + h >= height)
    return cut, filled


class Picked(NamedTuple):
    rows: Ints  # of the table annotations, sorted
    number: Ints  # of queries, per target
    gone: Bools  # per group: whether it left the gallery


def pick(candidates: Candidates, group: Ints, searched: Bools, queries_per: int) -> Picked:
    """Pick queries greedily; ``group`` and ``searched`` are per image.

    Costs time by the candidates tried, each with the targets in its group.
    """
    total = len(candidates.names)
    # What a group takes with it when it leaves: for each target, the gallery images that show it. Only groups that have
    # a candidate can leave; the others, of a million distractors, are not listed.
    asking, own = np.unique(group[candidates.image], return_inverse=True)
    seen = candidates.seen_image * total + candidates.seen_target
    seen = distinct(seen[searched[candidates.seen_image]])
    left = np.bincount(seen % total, minlength=total)
    seen = seen[np.isin(group[seen // total], asking)]
    code = np.searchsorted(asking, group[seen // total])
    share, shown = np.unique(code * total + seen % total, return_counts=True)
    first_share = np.searchsorted(share // total, np.arange(len(asking) + 1)).tolist()
    share_target, share_images = (share % total).tolist(), shown.tolist()

    first = np.searchsorted(candidates.target, np.arange(total + 1)).tolist()
    turn = first[:-1].copy()
    group_of, image_of = own.tolist(), candidates.image.tolist()
    order = np.lexsort((np.arange(total), left)).tolist()
    left, gone, number = left.tolist(), [False] * len(asking), [0] * total
    used: set[tuple[int, int]] = set()
    rows = list[int]()

    def bearable(target: int, leaving: range) -> bool:
        return left[target] > 0 and all(
            left[share_target[k]] > share_images[k]
            for k in leaving
            if share_target[k] == target or number[share_target[k]]
        )

    for _ in range(queries_per):
        before = len(rows)
        for target in order:
            while turn[target] < first[target + 1]:
                i = turn[target]
                turn[target] += 1
                where = group_of[i]
                leaving = range(0) if gone[where] else range(first_share[where], first_share[where + 1])
                if (target, image_of[i]) in used or not bearable(target, leaving):
                    continue
                for k in leaving:
                    left[share_target[k]] -= share_images[k]
                gone[where] = True
                number[target] += 1
                used.add((target, image_of[i]))
                rows.append(candidates.row[i])
                break
        if len(rows) == before:
            break  # every candidate has been tried
    left_gallery = np.zeros(int(group.max(initial=-1)) + 1, bool)
    left_gallery[asking] = gone
    return Picked(np.sort(np.array(rows, np.int64)), np.array(number, np.int64), left_gallery)
