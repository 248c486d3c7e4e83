"""The audit: are presumed negatives negative? Some are drawn, people look, and a rate of missed positives comes out.

A presumed negative of a class is an image without any truth of it, where coverage does not say that it was not looked
for. Of each class some are drawn at random: the share of these in which people find the class, with Wilson's bound, is
the class's rate. Those that given result lists rank highest are where misses gather: they are counted apart, since
they say nothing of the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct

from curate.columns import flags, plain, positions
from curate.coverage import coverage_of
from curate.dataset import Dataset
from curate.errors import UsageError, printable
from curate.review.agreement import wilson
from curate.review.plan import Item, Plan, sequences_of
from curate.review.state import State

Ranks = Mapping[str, Sequence[str]]  # by class: image ids, best first


class Rate(Struct, frozen=True, kw_only=True):
    """Of one class."""

    category: str
    negatives: Annotated[int, Meta(description="presumed negatives that there are")]
    looked: Annotated[int, Meta(description="of those drawn at random, how many people have looked at")]
    missed: Annotated[int, Meta(description="of these, how many show the class")]
    rate: Annotated[float | None, Meta(description="missed / looked; null before anybody has looked")]
    low: Annotated[float, Meta(description="Wilson's 95 % bounds; the rate itself where all were looked at")]
    high: float
    ranked: Annotated[int, Meta(description="of the highest ranked in result lists, how many were looked at")]
    found: Annotated[int, Meta(description="of these, how many show the class: no estimate for the rest")]
    undecided: Annotated[int, Meta(description="looked at, and as many people say yes as no")]
    open: Annotated[int, Meta(description="drawn, and not yet looked at")]

    @property
    def line(self) -> str:
        """In words."""
        name = printable(self.category)
        if self.rate is None:
            return f"audit {name}: nobody has looked yet"
        text = f"audit {name}: {100 * self.rate:.1f} % missed positives"
        return f"{text} (95 %: {100 * self.low:.1f}-{100 * self.high:.1f} %)"


class Drawn(NamedTuple):
    items: list[Item]
    negatives: dict[str, int]  # by class


def draw(dataset: Dataset, plan: Plan, ranks: Ranks | None = None) -> Drawn:
    """What is looked at: per class, ``sample`` presumed negatives at random and the ``ranked`` highest of the lists.

    Raises:
        UsageError: a class has no presumed negative, an image that was drawn no known size, or ranks are wanted and
            there are none.
    """
    (one,) = plan.rounds
    categories = dataset.table("categories")
    there = plain(categories["name"]).to_pylist()
    if missing := sorted(set(plan.classes) - set(there)):
        raise UsageError("plan, classes", f"{', '.join(missing)} not in the dataset", f"it has {', '.join(there)}")
    # A class that is to be ignored (DontCare) has no negatives, unless it is asked for.
    roles = plain(categories["role"]).to_pylist()
    sought = [name for name, role in zip(there, roles, strict=True) if role != "ignore"]
    names, sequences = plan.classes or tuple(sought), sequences_of(dataset)
    if one.ranked and not ranks:
        raise UsageError("plan, ranked", f"{one.ranked} per class", "expected result lists", "give --results")
    images = dataset.table("images")
    ids = plain(images["id"]).to_pylist()
    sizes = list(zip(*(images[name].to_pylist() for name in ("width", "height", "orientation")), strict=True))
    place = {image: i for i, image in enumerate(ids)}
    items: list[Item] = []
    counts: dict[str, int] = {}
    for name, negative in zip(names, _negatives(dataset, names), strict=True):
        counts[name] = int(negative.sum())
        places = np.flatnonzero(negative)
        rng = np.random.default_rng(_seed(plan.seed, one.name, name))
        sample = set(rng.choice(places, min(one.sample, len(places)), replace=False).tolist())
        top: dict[int, int] = {}
        for rank, image in enumerate((ranks or {}).get(name, ()), 1):
            at = place.get(image, -1)
            if len(top) < one.ranked and at >= 0 and negative[at]:
                top.setdefault(at, rank)
        for at in sorted(sample | set(top)):
            width, height, orientation = sizes[at]
            if width is None or height is None:
                raise UsageError(f"image {ids[at]}", "has no known size", "expected width and height")
            items.append(
                Item(
                    id=f"{name}@{ids[at]}",  # tasks go by id: one class after another
                    image_id=ids[at],
                    width=width,
                    height=height,
                    orientation=orientation,
                    target=name,
                    sequence=sequences.get(ids[at]),
                    drawn=at in sample,
                    rank=top.get(at),
                )
            )
    if not items:
        raise UsageError("audit", "no class has a presumed negative", "expected images without truth of a class")
    return Drawn(sorted(items, key=lambda item: item.id), counts)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:8], "big")


def _negatives(dataset: Dataset, names: Sequence[str]) -> Iterable[np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Per class, which images are presumed negatives."""
    images, rows = dataset.table("images"), dataset.table("annotations")
    truth = rows.filter(pc.equal(plain(rows["status"]), "truth"))
    image = positions(truth["image_id"], images["id"])
    category = plain(truth["category"])
    coverage = coverage_of(dataset)
    every = np.arange(images.num_rows)
    codes = coverage.codes(pa.chunked_array([pa.array(list(names), pa.string())]))
    for name, code in zip(names, codes.tolist(), strict=True):
        negative = coverage.state(every, np.full(len(every), code)) != 0
        shown = image[flags(pc.equal(category, name))]
        negative[shown[shown >= 0]] = False
        yield negative


def rates(plan: Plan, state: State, items: Iterable[Item], negatives: Mapping[str, int]) -> list[Rate]:
    """The rates of an audit, by class; none of another review."""
    if not plan.audits:
        return []
    by_class: dict[str, list[tuple[Item, bool | None, bool]]] = {}
    for item in items:
        standing = state.items[item.id]
        said = [bool(event.objects) for event in standing.results] if standing.status == "accepted" else []
        votes = 2 * sum(said) - len(said)
        by_class.setdefault(item.target or "", []).append((item, None if not votes else votes > 0, bool(said)))
    found = []
    for name, those in sorted(by_class.items()):
        known = [(item, shows) for item, shows, _ in those if shows is not None]
        sample = [shows for item, shows in known if item.drawn]
        top = [shows for item, shows in known if item.rank is not None]
        population = negatives.get(name, 0)
        low, high = wilson(sum(sample), len(sample))
        rate = sum(sample) / len(sample) if sample else None
        if rate is not None and len(sample) == population:
            low = high = rate
        found.append(
            Rate(
                category=name,
                negatives=population,
                looked=len(sample),
                missed=sum(sample),
                rate=rate,
                low=low,
                high=high,
                ranked=len(top),
                found=sum(top),
                undecided=sum(shows is None and seen for _, shows, seen in those),
                open=sum(not seen for *_, seen in those),
            )
        )
    return found
