"""What ``review status`` says: who has done what, what rounds changed, and whether their lots are good enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from curate import model
from curate.errors import printable
from curate.review import agreement, consensus
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
    started_from: Annotated[Literal["prelabels", "previous"], Meta(description="what was shown")]
    objects: int
    changed: int
    added: int
    deleted: int
    moved_by: Annotated[float | None, Meta(description="mean 1 - IoU of moved objects")]
    defects: Annotated[int, Meta(description="objects changed beyond the acceptance rule's IoU, added or deleted")]
    low: Annotated[float | None, Meta(description="Wilson's 95 % bounds of the defects' share")]
    high: float | None
    target: Annotated[float | None, Meta(description="share of defects that the plan's rule allows")]
    decision: Annotated[str | None, Meta(description="accept, reject or more, where the plan has a rule")]
    needed: Annotated[int | None, Meta(description="objects to inspect in all until it is decided, at this share")]
    suspicious: Annotated[bool, Meta(description="at least 100 objects and no change at all")]

    @property
    def changed_line(self) -> str:
        """The change in words."""
        text = f"changed in round {self.round}: {self.changed:,} of {self.objects:,} objects"
        share = "" if not self.objects else f" ({100 * self.changed / self.objects:.1f} %)"
        source = "pre-labels" if self.started_from == "prelabels" else "the earlier round"
        return f"{text}{share} that started from {source}"

    @property
    def line(self) -> str:
        """The lot in words."""
        if self.target is None or self.low is None or self.high is None:
            return f"lot of round {self.round}: nothing inspected yet"
        share = (
            f"{100 * self.defects / self.objects:.1f} % defects (95 %: {100 * self.low:.1f}-{100 * self.high:.1f} %)"
        )
        return f"lot of round {self.round}: {self.decision}, {share}, at most {100 * self.target:g} % allowed"


class Tie(Struct, frozen=True, kw_only=True):
    """An object that people did not agree on: it stays a proposal, for another round."""

    item: str
    kind: Annotated[Literal["existence", "label"], Meta(description="whether it is there, or what it is")]
    said: Annotated[dict[str, str | None], Meta(description="class by person; null of those who marked nothing there")]

    @property
    def line(self) -> str:
        """In words."""
        said = ", ".join(f"{person} {label or 'nothing'}" for person, label in self.said.items())
        return f"undecided in {self.item}: {said}"


class Status(Struct, frozen=True, kw_only=True):
    """Where a review stands."""

    name: str
    items: dict[str, int]
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]
    ties: Annotated[tuple[Tie, ...], Meta(description="objects of accepted items that stay undecided")]
    reports: Annotated[tuple[str, ...], Meta(description="what was seen on the server and not taken")]


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
    return Status(
        name=plan.name,
        items={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        rows=tuple(rows),
        changes=changes(plan, state),
        ties=tuple(ties(state)),
        reports=tuple(report_line(event) for event in state.reports),
    )


def ties(state: State) -> Iterator[Tie]:
    """Objects of accepted items on which as many people say one thing as another."""
    for item, standing in sorted(state.items.items()):
        if standing.status != "accepted" or len(standing.results) < 2:
            continue
        results = sorted(standing.results, key=lambda event: event.person or "")
        seen = [[seen_of(row) for row in event.objects] for event in results]
        for unit in agreement.clusters(seen):
            tie = consensus.agreed(unit).tie
            if tie is not None:
                said = {event.person or "": one and one.label for event, one in zip(results, unit, strict=True)}
                yield Tie(item=item, kind="label" if tie == "label" else "existence", said=said)


def seen_of(row: model.Annotation) -> agreement.Seen:
    return agreement.Seen((row.x or 0.0, row.y or 0.0, row.w or 0.0, row.h or 0.0), row.category or "")


def report_line(event: Event) -> str:
    if event.message:
        return printable(event.message)
    why = "by another hand" if event.foreign else "changed after it was pulled, or a second one"
    return printable(f"annotation {event.annotation} of {event.person} at {event.revision}: {why}; not taken")


def changes(plan: Plan, state: State) -> tuple[Change, ...]:
    """Of every round that starts from something."""
    return tuple(change_of(plan, state, i) for i, one in enumerate(plan.rounds) if one.shows != "nothing")


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
    low, high = agreement.wilson(defects, len(did)) if did else (None, None)
    rule = one.accept
    assert one.shows != "nothing"
    return Change(
        round=one.name,
        started_from=one.shows,
        objects=len(did),
        changed=changed,
        added=sum(entry.action == "added" for entry in did),
        deleted=sum(entry.action == "deleted" for entry in did),
        moved_by=float(np.mean(moved)) if moved else None,
        defects=defects,
        low=low,
        high=high,
        target=rule.target if rule else None,
        decision=agreement.decide(defects, len(did), rule.target) if rule else None,
        needed=agreement.enough(defects, len(did), rule.target) if rule else None,
        suspicious=len(did) >= 100 and not changed,
    )
