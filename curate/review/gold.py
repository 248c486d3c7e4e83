"""People's work against a gold standard: images of another dataset, strewn among the others, whose labels are right.

Precision and recall are of the person's objects with the gold ones as the reference, matched class-aware at IoU 0.5
like people with one another (:mod:`curate.review.figures`). Only classes count that gold knows in the image: where its
coverage is stated and not exhaustive, what a person marks can be neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain, positions
from curate.coverage import coverage_of
from curate.dataset import Dataset, annotations_of
from curate.errors import UsageError
from curate.model import Annotation
from curate.review import figures, measures
from curate.review.log import Event
from curate.review.plan import Item, Plan
from curate.review.records import Gold
from curate.review.state import State

_GOLD = ""  # in place of a person's name, and none that a plan takes


def against(plan: Plan, state: State, items: Sequence[Item], gold: Dataset) -> tuple[Gold, ...]:
    """Every round and person, as far as they worked on images of ``gold``.

    Raises:
        UsageError: the items are query groups or an audit's, or none of them has an image whose classes gold knows.
    """
    if plan.unit == "group" or plan.audits:
        found = "query groups" if plan.unit == "group" else "an audit"
        raise UsageError(gold.info.name, f"the review is of {found}", "expected one of images or classes, for --gold")
    names = plan.classes or tuple(plain(gold.table("categories")["name"]).to_pylist())
    truth = _truth(gold, items, names)
    if not truth:
        expected = "expected some, with the same ids, and of their classes no coverage but an exhaustive one"
        raise UsageError(gold.info.name, "has no image of this review that it knows", expected)
    known = {item.id: item for item in items}
    rows = []
    for (round, person), answers in sorted(_answers(state, truth).items()):
        both = {
            name: {_GOLD: truth[name][1], person: _of(event.objects, truth[name][0])}
            for name, event in sorted(answers.items())
        }
        matched = figures.measure(both, (_GOLD, person), known)
        when = sorted((answers[name].revision or "", i) for i, name in enumerate(both))
        (row,) = measures.pair_figures(matched)
        assert row.more is not None
        rows.append(
            Gold(
                round=plan.rounds[round].name,
                person=person,
                images=row.images,
                objects=sum(len(said[_GOLD]) for said in both.values()),
                precision=row.more.precision,
                recall=row.more.recall,
                f1=row.f1,
                f1_sweep=row.f1_sweep,
                f1_sweep_low=row.f1_sweep_low,
                f1_sweep_high=row.f1_sweep_high,
                outlines=row.outlines,
                boundary_f=row.boundary_f,
                drift=figures.drifted(matched, {person: [i for _, i in when]})[person],
            )
        )
    return tuple(rows)


def _answers(state: State, wanted: Iterable[str]) -> dict[tuple[int, str], dict[str, Event]]:
    """What each person left last of each item, by round and person."""
    held = set(wanted)
    found: dict[tuple[int, str], dict[str, Event]] = {}
    for job in state.jobs:  # in the order of attempts
        if job.status == "done" and job.answer is not None and job.item in held:
            found.setdefault((job.round, job.person), {})[job.item] = job.answer
    return found


def _of(rows: Iterable[Annotation], names: frozenset[str]) -> list[Annotation]:
    return [row for row in rows if row.category in names]


def _truth(
    gold: Dataset, items: Sequence[Item], names: Sequence[str]
) -> Mapping[str, tuple[frozenset[str], list[Annotation]]]:
    """By item: the classes that gold knows in its image, and their truth."""
    asked = pa.array([item.image_id for item in items], pa.string())
    images = gold.table("images")["id"]
    place = positions(asked, images)
    coverage = coverage_of(gold)
    codes = coverage.codes(pa.chunked_array([pa.array(list(names), pa.string())]))
    there = np.flatnonzero(place >= 0)
    state = coverage.state(np.repeat(place[there], len(codes)), np.tile(codes, len(there))).reshape(-1, len(codes))
    rows = _rows(gold, asked.take(pa.array(there)))
    found = {}
    for i, states in zip(there.tolist(), state.tolist(), strict=True):
        item = items[i]
        knows = {name for name, one in zip(names, states, strict=True) if one != 0}
        classes = frozenset(knows if item.target is None else knows & {item.target})
        if classes:
            found[item.id] = classes, _of(rows.get(item.image_id, ()), classes)
    return found


def _rows(gold: Dataset, images: pa.Array) -> dict[str, list[Annotation]]:
    table = gold.table("annotations")
    table = table.filter(
        pc.and_(pc.equal(plain(table["status"]), "truth"), pc.is_in(plain(table["image_id"]), value_set=images))
    )
    found: dict[str, list[Annotation]] = {}
    for row in annotations_of(table):
        found.setdefault(row.image_id, []).append(row)
    return found
