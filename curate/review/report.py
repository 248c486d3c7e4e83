"""What ``review status`` and ``review agreement`` say: figures of a review, as values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta, Struct

from curate.geometry import box_iou
from curate.model import Annotation
from curate.review import agreement
from curate.review.agreement import Counts, Floats, Seen
from curate.review.log import Event
from curate.review.plan import Plan
from curate.review.state import State


class Row(Struct, frozen=True, kw_only=True):
    """One person in one round."""

    round: str
    person: str
    open: int
    done: int
    skipped: int
    rejected: Annotated[int, Meta(description="answers whose verdict was reject")]
    seconds: Annotated[float | None, Meta(description="median time per task")]
    hours_left: Annotated[float | None, Meta(description="open tasks at that pace")]


class Change(Struct, frozen=True, kw_only=True):
    """What a round that started from an earlier result changed; no measure of agreement."""

    round: str
    objects: int
    changed: int
    added: int
    deleted: int
    moved_by: Annotated[float | None, Meta(description="mean 1 - IoU of moved objects")]
    defects: Annotated[int, Meta(description="objects changed beyond the acceptance rule's IoU, added or deleted")]
    decision: Annotated[str | None, Meta(description="accept, reject or more, where the plan has a rule")]
    suspicious: Annotated[bool, Meta(description="at least 100 objects and no change at all")]


class Status(Struct, frozen=True, kw_only=True):
    """Where a review stands."""

    name: str
    items: dict[str, int]
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]
    reports: Annotated[tuple[str, ...], Meta(description="what was seen on the server and not taken")]


class Figures(Struct, frozen=True, kw_only=True):
    """Agreement of independent people, over some images."""

    of: str
    images: int
    objects: int
    f1: Annotated[float, Meta(description="at IoU 0.5, class-aware, pooled")]
    f1_low: float
    f1_high: Annotated[float, Meta(description="95 % interval over images, 1,000 resamples")]
    f1_sweep: Annotated[float, Meta(description="mean of F1 at IoU 0.50, 0.55 ... 0.95")]
    object_iou: Annotated[float, Meta(description="sum of matched IoU / (TP + FP + FN)")]
    label_agreement: Annotated[float | None, Meta(description="share of equal classes among objects matched")]
    kappa: Annotated[float | None, Meta(description="Cohen's; null where only one class occurs")]
    agreed_empty: int


class Agreement(Struct, frozen=True, kw_only=True):
    """``review agreement``: for each round with independent copies."""

    round: str
    alpha: Annotated[float | None, Meta(description="Krippendorff's, with 1 - IoU; clusters at IoU 0.3")]
    pairs: tuple[Figures, ...]


def status(plan: Plan, state: State) -> Status:
    """Who has done what, and what is left."""
    rows = []
    for i, one in enumerate(plan.rounds):
        for person in plan.people(i):
            mine = [job for job in state.jobs if job.round == i and job.person == person]
            seconds = [job.answer.seconds for job in mine if job.answer is not None and job.answer.seconds is not None]
            pace = agreement.times(seconds)
            left = sum(job.status == "open" for job in mine)
            row = Row(
                round=one.name,
                person=person,
                open=left,
                done=sum(job.status == "done" for job in mine),
                skipped=sum(job.status == "skipped" for job in mine),
                rejected=sum(job.answer is not None and job.answer.verdict == "reject" for job in mine),
                seconds=pace.median if pace else None,
                hours_left=pace.median * left / 3600 if pace else None,
            )
            rows.append(row)
    kinds = [standing.status for standing in state.items.values()]
    changes = [change_of(plan, state, i) for i, one in enumerate(plan.rounds) if one.shows != "nothing"]
    return Status(
        name=plan.name,
        items={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        rows=tuple(rows),
        changes=tuple(changes),
        reports=tuple(report_line(event) for event in state.reports),
    )


def report_line(event: Event) -> str:
    if event.message:
        return event.message
    why = "by another hand" if event.foreign else "changed after it was pulled, or a second one"
    return f"annotation {event.annotation} of {event.person} at {event.revision}: {why}; not taken"


def change_of(plan: Plan, state: State, round: int) -> Change:
    """How much a round changed of what it was shown."""
    one = plan.rounds[round]
    least = one.accept.iou if one.accept else 0.75
    did = [
        entry
        for job in state.jobs
        if job.round == round and job.status == "done" and job.answer is not None
        for entry in job.answer.did
    ]
    moved = [1 - entry.iou for entry in did if entry.action == "moved" and entry.iou is not None]
    defects = sum(
        entry.action in ("added", "deleted", "relabelled") or (entry.action == "moved" and (entry.iou or 0) < least)
        for entry in did
    )
    changed = sum(entry.action != "unchanged" for entry in did)
    return Change(
        round=one.name,
        objects=len(did),
        changed=changed,
        added=sum(entry.action == "added" for entry in did),
        deleted=sum(entry.action == "deleted" for entry in did),
        moved_by=float(np.mean(moved)) if moved else None,
        defects=defects,
        decision=agreement.decide(defects, len(did), one.accept.target) if one.accept else None,
        suspicious=len(did) >= 100 and not changed,
    )


class _Compared(NamedTuple):
    """One image, two people."""

    iou: Floats
    equal: agreement.Bools
    labels: tuple[tuple[str, ...], tuple[str, ...]]


def agreements(plan: Plan, state: State) -> list[Agreement]:
    """Agreement in every round of several independent copies; other rounds have none to give."""
    found = []
    for i, one in enumerate(plan.rounds):
        if one.copies < 2 or one.shows == "previous":
            continue
        answers: dict[str, dict[str, Event]] = {}
        for job in state.jobs:
            if job.round == i and job.status == "done" and job.answer is not None:
                answers.setdefault(job.item, {})[job.person] = job.answer
        pairs = []
        for a, b in combinations(sorted(plan.people(i)), 2):
            both = [_compare(by[a].objects, by[b].objects) for by in answers.values() if a in by and b in by]
            if both:
                pairs.append(figures(f"{a} and {b}", both))
        whole = [
            _compare(by[a].objects, by[b].objects) for by in answers.values() for a, b in combinations(sorted(by), 2)
        ]
        if whole:
            pairs.insert(0, figures("all pairs", whole))
        units = [
            unit
            for by in answers.values()
            for unit in agreement.clusters([seen_of(by[person].objects) for person in sorted(by)])
        ]
        found.append(
            Agreement(
                round=one.name,
                alpha=agreement.alpha_boxes(units),
                pairs=tuple(pairs),
            )
        )
    return found


def seen_of(rows: Iterable[Annotation]) -> list[Seen]:
    """The boxes of rows, with their classes."""
    return [
        Seen((row.x, row.y, row.w, row.h), row.category or "")
        for row in rows
        if row.x is not None and row.y is not None and row.w is not None and row.h is not None
    ]


def _compare(a: Sequence[Annotation], b: Sequence[Annotation]) -> _Compared:
    left, right = seen_of(a), seen_of(b)
    boxes = [np.array([seen.box for seen in side], float).reshape(-1, 4) for side in (left, right)]
    labels = tuple(seen.label for seen in left), tuple(seen.label for seen in right)
    return _Compared(box_iou(*boxes), agreement.equal_labels(*labels), labels)


def figures(of: str, images: Sequence[_Compared]) -> Figures:
    """The figures of one pair of people, or of all pairs."""
    each = [agreement.count(one.iou, 0.5, one.equal) for one in images]
    table = np.array([[c.pairs, c.a + c.b] for c in each], float)

    def f1(rows: Sequence[int]) -> float:
        pairs, objects = table[list(rows)].sum(axis=0)
        return float(2 * pairs / objects) if objects else 1.0

    low, high = agreement.bootstrap(f1, range(len(each)))
    blind = [(one, pair) for one in images for pair in agreement.match(one.iou, 0.5)]
    names = sorted({label for one, pair in blind for label in (one.labels[0][pair.a], one.labels[1][pair.b])})
    crossed = np.zeros((len(names), len(names)))
    for one, pair in blind:
        crossed[names.index(one.labels[0][pair.a]), names.index(one.labels[1][pair.b])] += 1
    observed, kappa = agreement.cohen(crossed) if blind else (None, None)
    sweep = agreement.f1_sweep([(one.iou, one.equal) for one in images])
    loose = sum((agreement.count(one.iou, 0.0, one.equal) for one in images), Counts())
    return Figures(
        of=of,
        images=len(images),
        objects=int(table[:, 1].sum()),
        f1=sum(each, Counts()).f1,
        f1_low=low,
        f1_high=high,
        f1_sweep=sum(sweep.values()) / len(sweep),
        object_iou=loose.object_iou,
        label_agreement=observed,
        kappa=kappa,
        agreed_empty=sum(not c.a and not c.b for c in each),
    )
