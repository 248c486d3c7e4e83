"""The state of a review: whatever the order and repetition of its events; nobody judges their own work."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.review.log import Event
from curate.review.plan import Item, Plan, Round, checked, preset
from curate.review.state import Job, State, fold

PEOPLE = ("p1", "p2", "p3")
PAPER = preset("pixel-retrieval", PEOPLE)


def items(count: int) -> list[Item]:
    return [Item(id=f"i{n}", image_id=f"i{n}", width=9, height=9) for n in range(count)]


def answer(job: Job, number: int, **changes: object) -> Event:
    event = Event(
        key=f"s/1/{number}@t{number:05}",
        kind="answer",
        person=job.person,
        item=job.item,
        round=job.round,
        attempt=job.attempt,
        annotation=f"s/1/{number}",
        revision=f"t{number:05}",
    )
    return msgspec.structs.replace(event, **changes)


def open_jobs(state: State) -> list[Job]:
    return [job for job in state.jobs if job.status == "open"]


plans = st.one_of(
    st.just(PAPER),
    st.just(preset("consensus", PEOPLE)),
    st.just(preset("quick", PEOPLE, seed=3)),
    st.builds(
        lambda kinds, shares, people: Plan(
            name="any",
            annotators=people,
            rounds=tuple(
                Round(name=f"r{i}", kind=kind, share=share, shows="previous" if i else "nothing")  # type: ignore[arg-type]
                for i, (kind, share) in enumerate(zip(kinds, shares, strict=False))
            ),
        ),
        st.lists(st.sampled_from(["annotate", "refine", "inspect"]), min_size=1, max_size=4),
        st.lists(st.sampled_from([1.0, 0.5]), min_size=4, max_size=4),
        st.sampled_from([("p1",), ("p1", "p2"), PEOPLE, ("p1", "p2", "p3", "p4", "p5")]),
    ),
)


def play(plan: Plan, work: Sequence[Item], seed: int, steps: int) -> list[Event]:
    """People who do what is open in any order, skip, reject, edit what they sent, or meddle."""
    rng = random.Random(seed)
    events: list[Event] = []
    for number in range(steps):
        todo = open_jobs(fold(plan, work, events))
        if not todo:
            break
        job = rng.choice(todo)
        verdict = rng.choice(["accept", "fix", "reject"]) if plan.rounds[job.round].judges else None
        events.append(
            answer(job, number, verdict=verdict, skipped=rng.random() < 0.15, note=rng.choice([None, "left part"]))
        )
        if rng.random() < 0.1:
            later = {"key": events[-1].key + "'", "revision": "u", "verdict": "reject"}
            events.append(msgspec.structs.replace(events[-1], **later))
        if rng.random() < 0.1:
            events.append(answer(job, number + 10_000, foreign=True))
    return events


@given(plans, st.integers(0, 6), st.integers(0, 10**6), st.integers(0, 40), st.randoms())
@settings(max_examples=150, deadline=None)
def test_order_and_repetition_do_not_matter(plan: Plan, n: int, seed: int, steps: int, rng: random.Random) -> None:
    work = items(n)
    events = play(plan, work, seed, steps)
    state = fold(plan, work, events)
    again = events + rng.choices(events, k=len(events)) if events else []
    rng.shuffle(again)
    assert fold(plan, work[::-1], again) == state


@given(plans, st.integers(1, 6), st.integers(0, 10**6), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_nobody_refines_or_inspects_their_own_work(plan: Plan, n: int, seed: int, steps: int) -> None:
    work = items(n)
    state = fold(plan, work, play(plan, work, seed, steps))
    parts: dict[tuple[str, str], set[int]] = {}
    for job in state.jobs:
        if job.status != "skipped":
            parts.setdefault((job.item, job.person), set()).add(job.round)
        if job.basis is not None and not job.attempt:
            assert job.basis.person != job.person
        assert job.person in plan.people(job.round)
    assert all(len(rounds) == 1 for rounds in parts.values())
    for item, standing in state.items.items():
        mine = [job for job in state.jobs if job.item == item]
        assert (standing.status == "open") == any(job.status == "open" for job in mine)
        if standing.status == "accepted":
            assert standing.results
            assert not any(event.verdict == "reject" for event in standing.results if len(standing.results) == 1)
    assert len({job.key for job in state.jobs}) == len(state.jobs)


def test_the_paper_three_people_one_after_another() -> None:
    work, events = items(3), []
    for round in range(3):
        todo = open_jobs(fold(PAPER, work, events))
        assert {(job.item, job.round) for job in todo} == {(f"i{n}", round) for n in range(3)}
        assert sorted(job.person for job in todo) == list(PEOPLE)  # the load is even
        events += [answer(job, len(events) + k, verdict="accept") for k, job in enumerate(todo)]
    state = fold(PAPER, work, events)
    assert {standing.status for standing in state.items.values()} == {"accepted"}
    assert len({(job.item, job.person) for job in state.jobs}) == 9  # everybody once per item


def test_a_rejected_item_goes_back_with_its_reason() -> None:
    work, events = items(1), []

    def step(**said: object) -> Job:
        (job,) = open_jobs(fold(PAPER, work, events))
        events.append(answer(job, len(events), **said))
        return job

    first, second = step(), step(verdict="reject", note="the tower is missing")
    redone, again, third = step(), step(verdict="fix"), step(verdict="accept")
    assert (redone.round, redone.attempt, redone.person) == (0, 1, first.person)
    assert redone.reason == "the tower is missing"
    assert redone.basis == events[0]  # their own work, to be corrected
    assert (again.round, again.attempt, again.person) == (1, 1, second.person)
    assert (again.reason, again.basis) == (None, events[2])
    assert third.person not in (first.person, second.person)
    standing = fold(PAPER, work, events).items["i0"]
    assert (standing.status, standing.rejections, standing.results) == ("accepted", 1, (events[4],))


def test_a_rejected_prelabel_is_drawn_anew_by_somebody_else() -> None:
    plan = preset("quick", PEOPLE, rounds=[{"name": "inspect", "kind": "inspect", "shows": "prelabels"}])
    (job,) = open_jobs(fold(plan, items(1), []))
    events = [answer(job, 0, verdict="reject", note="rubbish")]
    (new,) = open_jobs(fold(plan, items(1), events))
    assert new.person != job.person
    assert (new.attempt, new.reason) == (1, "rubbish")


def test_a_skip_goes_to_the_next_and_to_nobody_when_all_have_skipped() -> None:
    events: list[Event] = []
    for _ in PEOPLE:
        (job,) = open_jobs(fold(PAPER, items(1), events))
        events.append(answer(job, len(events), skipped=True))
    state = fold(PAPER, items(1), events)
    assert [job.status for job in state.jobs] == ["skipped"] * 3
    assert state.items["i0"].status == "stuck"


def test_copies_are_done_when_all_have_answered() -> None:
    plan = preset("consensus", PEOPLE)
    todo = open_jobs(fold(plan, items(1), []))
    assert sorted(job.person for job in todo) == list(PEOPLE)
    events = [answer(job, k) for k, job in enumerate(todo)]
    assert fold(plan, items(1), events[:2]).items["i0"].status == "open"
    assert len(fold(plan, items(1), events).items["i0"].results) == 3


def test_an_edit_after_the_pull_is_reported_and_counts_only_when_taken() -> None:
    (job,) = open_jobs(fold(PAPER, items(1), []))
    first = answer(job, 1, note="as pulled")
    edit = msgspec.structs.replace(first, key="s/1/1@t2", revision="t2", note="edited")
    state = fold(PAPER, items(1), [first, edit])
    assert [event.note for event in state.reports] == ["edited"]
    assert state.items["i0"].results == (first,)
    take = Event(key="take s/1/1@t2", kind="take", annotation="s/1/1", revision="t2")
    state = fold(PAPER, items(1), [take, edit, first])
    assert state.items["i0"].results == (edit,)


def test_work_of_a_stranger_is_no_answer_unless_taken() -> None:
    (job,) = open_jobs(fold(PAPER, items(1), []))
    stranger = answer(job, 1, foreign=True)
    state = fold(PAPER, items(1), [stranger])
    assert open_jobs(state)
    assert state.reports == (stranger,)
    take = Event(key="t", kind="take", annotation="s/1/1", revision=stranger.revision)
    assert fold(PAPER, items(1), [take, stranger]).items["i0"].results == (stranger,)


def test_whoever_wrote_what_was_taken_for_anothers_does_not_judge_it() -> None:
    """p2 wrote p1's answer; it was taken. It is known who p2 is from work of their own, whenever that is pulled."""
    work = items(3)
    jobs = {(job.item, job.person): job for job in open_jobs(fold(PAPER, work, []))}
    (theirs,) = [job for job in jobs.values() if job.person == "p1"]
    (other,) = [job for job in jobs.values() if job.person == "p2"]
    written = msgspec.structs.replace(answer(theirs, 1, foreign=True), account="7.t")
    own = msgspec.structs.replace(answer(other, 2), account="7.t")
    take = Event(key="t", kind="take", annotation=written.annotation, revision=written.revision)
    for events in ([written, take, own], [own, written, take]):
        (job,) = [job for job in open_jobs(fold(PAPER, work, events)) if job.item == theirs.item]
        assert (job.round, job.person) == (1, "p3")
    unknown = [msgspec.structs.replace(event, account=None) for event in (written, take, own)]
    (job,) = [job for job in open_jobs(fold(PAPER, work, unknown)) if job.item == theirs.item]
    assert job.person == "p2"  # whose turn it would be: as a log of old is read


def test_twice_by_one_person_the_newest_counts_and_the_other_is_reported() -> None:
    (job,) = open_jobs(fold(PAPER, items(1), []))
    old, new = answer(job, 1), answer(job, 2)
    state = fold(PAPER, items(1), [new, old])
    assert state.items["i0"].results == (new,)
    assert state.reports == (old,)


def test_rounds_that_take_a_share_leave_the_rest_accepted_after_the_round_before() -> None:
    rounds = [{"name": "a", "kind": "annotate"}, {"name": "b", "kind": "inspect", "shows": "previous", "share": 0.3}]
    plan = checked({"name": "x", "annotators": ["p1", "p2"], "rounds": rounds}, "test")
    work = items(10)
    events = [answer(job, k) for k, job in enumerate(open_jobs(fold(plan, work, [])))]
    state = fold(plan, work, events)
    assert sum(standing.status == "accepted" for standing in state.items.values()) == 7
    assert len(open_jobs(state)) == 3


@pytest.mark.parametrize("n", [0, 1])
def test_no_work(n: int) -> None:
    plan = checked({"name": "x", "annotators": ["p"], "rounds": [{"name": "a", "kind": "annotate"}]}, "t")
    assert len(fold(plan, items(n), []).jobs) == n


def project(name: str, made: str, **changes: object) -> Event:
    event = Event(key=f"project {name}", kind="project", person="p1", round=0, value={"project": 1, "created": made})
    return msgspec.structs.replace(event, **changes)


def test_a_deleted_project_is_no_news_once_it_is_there_again() -> None:
    plan = preset("quick", PEOPLE)
    events = [project("1.a", "a"), Event(key="gone 1.a", kind="report", message="the project of p1 was deleted")]
    assert [event.key for event in fold(plan, items(1), events).reports] == ["gone 1.a"]
    other = project("2.b", "b", person="p2")
    assert [event.key for event in fold(plan, items(1), [*events, other]).reports] == ["gone 1.a"]
    events.insert(0, project("2.b", "b"))
    assert fold(plan, items(1), events).reports == ()
    events.append(Event(key="gone 2.b", kind="report", message="again"))
    assert [event.key for event in fold(plan, items(1), events).reports] == ["gone 2.b"]
