"""Where a review stands: a pure function of its plan, its items and its events, in whatever order these come.

A job is one item in one round, for one person. Nobody refines or inspects their own work: whoever has had a part in one
round of an item, be it under another's name, gets no other round of it. A rejected item goes back, with the reason, to
the person whose work it was; after that it is judged again. A skipped one goes to somebody else. An answer that
somebody else wrote or changed, or that was changed after it had been pulled, is reported and counts only after a
``take``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from curate.review.log import Event
from curate.review.plan import Item, Plan, chosen

JobStatus = Literal["open", "done", "skipped"]
ItemStatus = Literal["open", "accepted", "stuck", "untouched"]


class Job(NamedTuple):
    """One item in one round, for one person."""

    item: str
    round: int
    attempt: int
    person: str
    status: JobStatus
    reason: str | None = None  # why it came back
    basis: Event | None = None  # the answer that it starts from
    answer: Event | None = None

    @property
    def key(self) -> str:
        """What ``task.data.key`` says on the server: stable, and one task each."""
        return f"{self.round}/{self.attempt}/{self.person}/{self.item}"


class Standing(NamedTuple):
    """One item: how far it is, and what was said last."""

    status: ItemStatus
    round: int  # that it is in; the number of rounds when it is through
    results: tuple[Event, ...]  # answers of the last round that is complete
    rejections: int = 0


class State(NamedTuple):
    jobs: tuple[Job, ...]
    items: dict[str, Standing]
    reports: tuple[Event, ...]  # what was seen and not taken


_Slot = tuple[str, int, int, str]  # item, round, attempt, person


def fold(plan: Plan, items: Sequence[Item], events: Iterable[Event]) -> State:
    """The state; the same for any order and repetition of ``events``."""
    unique: dict[str, Event] = {}
    for event in events:
        there = unique.get(event.key)
        # A key has one content (the log refuses a second); should two be given all the same, order must not decide.
        if there is None or msgspec.json.encode(event) < msgspec.json.encode(there):
            unique[event.key] = event
    ordered = [unique[key] for key in sorted(unique)]
    answers, reports = _answers(ordered)
    owners: dict[str, set[str]] = {}  # of each account, who worked with it
    for event in ordered:
        if event.kind == "answer" and event.account and event.person and not event.foreign:
            owners.setdefault(event.account, set()).add(event.person)
    takes = [chosen(plan, round, items) for round in range(len(plan.rounds))]
    jobs: list[Job] = []
    standing: dict[str, Standing] = {}
    for index, item in enumerate(sorted(items, key=lambda one: one.id)):
        made, standing[item.id] = _walk(plan, item.id, index, [item.id in take for take in takes], answers, owners)
        jobs += made
    return State(tuple(sorted(jobs, key=lambda job: job[:4])), standing, reports)


def _answers(events: Sequence[Event]) -> tuple[dict[_Slot, Event], tuple[Event, ...]]:
    """The answer that counts for each slot, and everything that was only reported."""
    taken = {event.annotation: event.revision or "" for event in events if event.kind == "take"}
    for event in events:
        if event.kind == "take":
            taken[event.annotation] = max(taken[event.annotation], event.revision or "")
    states: dict[str, list[Event]] = {}
    again = {f"gone {name}" for name in replaced(events)}  # what was deleted has been pushed again since
    reports = [event for event in events if event.kind == "report" and event.key not in again]
    for event in events:
        if event.kind == "answer" and event.annotation is not None:
            states.setdefault(event.annotation, []).append(event)
    slots: dict[_Slot, Event] = {}
    for annotation, seen in sorted(states.items()):
        seen.sort(key=lambda event: (event.revision or "", event.key))
        wanted = taken.get(annotation)
        counts = next((e for e in seen if (e.revision or "") == wanted), None) if wanted is not None else None
        if counts is None:
            counts = next((e for e in seen if not e.foreign), None)
        reports += [event for event in seen if event is not counts]
        if counts is None or counts.item is None or counts.round is None or counts.person is None:
            continue
        slot = (counts.item, counts.round, counts.attempt, counts.person)
        rival = slots.get(slot)
        if rival is None or _later(counts, rival):
            if rival is not None:
                reports.append(rival)
            slots[slot] = counts
        else:
            reports.append(counts)
    return slots, tuple(sorted(reports, key=lambda event: event.key))


def replaced(events: Iterable[Event]) -> set[str]:
    """Projects in whose place, for their round and person, a later one was made."""
    made: dict[tuple[int | None, str | None], list[tuple[str, str]]] = {}
    for event in events:
        if event.kind == "project":
            name = event.key.removeprefix("project ")
            made.setdefault((event.round, event.person), []).append((str(event.value.get("created")), name))
    newest = {max(those)[1] for those in made.values()}
    return {name for those in made.values() for _, name in those} - newest


def _later(a: Event, b: Event) -> bool:
    """Of two annotations by one person on one task the newest counts (rule L01)."""
    return (a.revision or "", a.annotation or "") > (b.revision or "", b.annotation or "")


def _walk(
    plan: Plan,
    item: str,
    index: int,
    takes: Sequence[bool],
    answers: dict[_Slot, Event],
    owners: Mapping[str, set[str]],
) -> tuple[list[Job], Standing]:
    jobs: list[Job] = []
    path = [round for round in range(len(plan.rounds)) if takes[round]]
    attempts = dict.fromkeys(path, 0)
    authors: dict[int, tuple[str, ...]] = {}  # who did each round last
    results: tuple[Event, ...] = ()
    kept: dict[int, tuple[Event, ...]] = {}
    basis: dict[int, Event] = {}
    part: dict[str, int] = {}  # who has had a part in which round of this item, at any attempt
    reason: str | None = None
    rejections = at = 0
    if not path:
        return jobs, Standing("untouched", len(plan.rounds), ())
    while at < len(path):
        round = path[at]
        barred = {person for person, other in part.items() if other != round}
        again = authors.get(round, ()) if attempts[round] else ()
        queue = _queue(plan, round, index, barred, again)
        first = Job(item, round, attempts[round], "", "open", reason, basis.get(round))
        made, done = _slots(first, plan.rounds[round].copies, queue, answers)
        jobs += made
        part |= {event.person or "": round for event in done}
        for event in done:
            if event.foreign:  # taken though somebody else wrote it: that is who had a part
                part = dict.fromkeys(owners.get(event.account or "", ()), round) | part
        if any(job.status == "open" for job in made):
            return jobs, Standing("open", round, results, rejections)
        if len(done) < plan.rounds[round].copies:
            return jobs, Standing("stuck", round, results, rejections)
        refused = [event for event in done if event.verdict == "reject"] if plan.rounds[round].judges else []
        if 2 * len(refused) > len(done):
            rejections += 1
            reason = "; ".join(event.note or "rejected without a reason" for event in refused)
            if at:
                authors[round] = tuple(event.person or "" for event in done)
                attempts[round] += 1
                at -= 1
                attempts[path[at]] += 1
                basis[path[at]] = results[-1]
                results = kept.get(path[at - 1], ()) if at else ()
                continue
            # Nobody of the plan drew what was shown: somebody else draws it anew.
            plan_people = plan.people(round)
            others = [p for p in plan_people if p not in {event.person for event in done}]
            if not others:
                return jobs, Standing("stuck", round, results, rejections)
            authors[round] = tuple(others[: plan.rounds[round].copies])
            attempts[round] += 1
            continue
        reason = None
        results = kept[round] = tuple(done)
        authors[round] = tuple(event.person or "" for event in done)
        at += 1
        if at < len(path) and plan.rounds[path[at]].shows == "previous":
            basis[path[at]] = done[-1]
    return jobs, Standing("accepted", len(plan.rounds), results, rejections)


def _queue(plan: Plan, round: int, index: int, barred: set[str], again: Sequence[str]) -> list[str]:
    """Who may do it, in the order in which they are asked: those who did it before, then whoever's turn it is."""
    people = plan.people(round)
    start = (index + round) % len(people)
    turn = [*people[start:], *people[:start]]
    return [person for person in [*again, *(p for p in turn if p not in again)] if person not in barred]


def _slots(first: Job, copies: int, queue: Sequence[str], answers: dict[_Slot, Event]) -> tuple[list[Job], list[Event]]:
    """The jobs of one attempt, all like ``first``: as many people as copies, and one more for each who skipped."""
    jobs: list[Job] = []
    done: list[Event] = []
    for person in queue:
        if len(done) + sum(job.status == "open" for job in jobs) == copies:
            break
        answer = answers.get((first.item, first.round, first.attempt, person))
        status: JobStatus = "open" if answer is None else "skipped" if answer.skipped else "done"
        jobs.append(first._replace(person=person, status=status, answer=answer))
        if answer is not None and status == "done":
            done.append(answer)
    return jobs, done
