"""Push and pull: the jobs of a review to Label Studio and the answers back, exactly once under kill at any moment.

One pusher at a time: a lock says who. The server is a copy of the work, never the record: what is pulled goes into
``events.jsonl``, and what changes there afterwards (edits, deletions, another's hand, another config) is reported and
not taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from curate.atomic import atomic_file
from curate.errors import ReviewError
from curate.model import Finding
from curate.review import log
from curate.review.api import Api, LostError, RefusedError, accounts
from curate.review.config import same_config
from curate.review.exports import tasks_of
from curate.review.folder import Review, check_account, check_people
from curate.review.log import Event
from curate.review.sending import keys, send
from curate.review.state import Job, State, replaced
from curate.review.tasks import Material, event_of, task_of

_FEW = 10  # a page reads so many tasks in the time of one that is asked for alone
Progress = Callable[[int, int], object]


class Pushed(NamedTuple):
    projects: int
    tasks: int  # sent now
    there: int  # that were there already


class Pulled(NamedTuple):
    new: int  # events written
    reports: tuple[str, ...]
    problems: tuple[Finding, ...]


def push(
    review: Review, api: Api, given: Material, root: Path, *, progress: Progress = lambda done, total: None
) -> Pushed:
    """Put every open job on the server, in the project of its round and person.

    Raises:
        UsageError: two people have one account, or had it one after the other.
        ReviewError: somebody else pushes, an image is missing, a config was changed on the server, or the server does
            not answer; repeating the command goes on where it was.
    """
    check_people(review.people)
    _check_accounts(review, api)
    unsure = review.folder / ".sending"  # is there while an import may be at work whose answer nobody has seen
    with log.locked(review.folder / ".push.lock", "another push is under way", wait=False):
        lost = unsure.exists()
        groups: dict[tuple[int, str], list[Job]] = {}
        for job in review.state.jobs:
            if job.status == "open":
                groups.setdefault((job.round, job.person), []).append(job)
        missing = [file for job in _all(groups) if not (file := given.files[given.items[job.item].image_id]).is_file()]
        if missing:
            raise ReviewError(missing[0], f"and {len(missing) - 1} more images are not there", hint="give --root")
        known = _projects(review, api)
        sent = there = done = 0
        total = sum(map(len, groups.values()))
        for (round, person), jobs in sorted(groups.items()):
            project = known.get((round, person)) or _make_project(review, api, given, round, person)
            _check_config(api, project, given, round)
            tasks = {job.key: task_of(job, given, root) for job in jobs}
            try:
                _make_storages(api, project, given, jobs, root)
                log.append(review.log, [_project_event(review, project, round, person)])
                new, losses = send(api, int(project["id"]), tasks, unsure)
            except RefusedError as error:
                raise (_went_away(error, api) if error.status == 404 else error) from None
            sent, there, done, lost = sent + new, there + len(jobs) - new, done + len(jobs), lost or losses > 0
            progress(done, total)
        if lost:
            for project in _projects(review, api).values():
                keys(api, int(project["id"]))
        unsure.unlink(missing_ok=True)
        return Pushed(len(groups), sent, there)


def _check_accounts(review: Review, api: Api) -> None:
    """Whether nobody has an account now with which somebody else worked: they would get their own work to judge."""
    if not any(event.account for event in review.events):
        return
    names = _names(api)
    for person, one in sorted(review.people.items()):
        if one.user in names:
            check_account(review.events, person, names[one.user])


def _names(api: Api) -> dict[int, str]:
    try:
        return {one.user: one.name for one in accounts(api)}
    except RefusedError:  # there are servers that show people to administrators only
        return {}


def _all(groups: Mapping[Any, Sequence[Job]]) -> Iterator[Job]:
    return (job for jobs in groups.values() for job in jobs)


def mark(review: Review, round: int, person: str) -> str:
    """What a project's description says, so that it is found again when the answer to its creation was lost."""
    return f"curate {review.about.id} round {round} for {person}"


def _projects(review: Review, api: Api) -> dict[tuple[int, str], dict[str, Any]]:
    wanted = {
        mark(review, round, person): (round, person)
        for round in range(len(review.plan.rounds))
        for person in review.plan.people(round)
    }
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for project in sorted(api.projects(), key=lambda one: int(one["id"])):
        place = wanted.get(str(project.get("description")))
        if place is not None:
            found.setdefault(place, project)
    return found


def _make_project(review: Review, api: Api, given: Material, round: int, person: str) -> dict[str, Any]:
    try:
        return api.make_project(
            title=f"{review.plan.name} · {review.plan.rounds[round].name} · {person}"[:50],
            description=mark(review, round, person),
            label_config=given.config(round).xml,
            maximum_annotations=1,
            show_collab_predictions=True,
            show_skip_button=True,
        )
    except LostError:
        again = _projects(review, api).get((round, person))
        if again is None:
            raise
        return again


def _check_config(api: Api, project: dict[str, Any], given: Material, round: int) -> None:
    if not same_config(str(project["label_config"]), given.config(round).xml):
        raise ReviewError(
            f"project {project['id']}",
            "its labelling config was changed on the server",
            "expected the config of its round",
            f"set it back, or remove the project at {api.url}/projects/{project['id']}/settings and push again",
        )


def _make_storages(api: Api, project: dict[str, Any], given: Material, jobs: Sequence[Job], root: Path) -> None:
    """Allow the folders, directly below ``root``, that the images lie in."""
    number = project["id"]
    have = {str(one["path"]) for one in api.storages(number)}
    base = root.resolve()
    tops = {given.files[given.items[job.item].image_id].resolve().relative_to(base).parts[0] for job in jobs}
    for path in sorted(str(base / top) for top in tops):
        if path not in have:
            api.make_storage(number, path)


def _went_away(error: RefusedError, api: Api) -> ReviewError:
    hint = f"somebody may have removed the project from {api.url}; repeat the command, pulled work still counts"
    return ReviewError(error.where, error.found, "expected the project that was there just now", hint)


def _project_event(review: Review, project: dict[str, Any], round: int, person: str) -> Event:
    name = _name(project)
    return Event(
        key=f"project {name}",
        kind="project",
        person=person,
        round=round,
        value={"project": int(project["id"]), "created": str(project["created_at"])},
    )


def _name(project: Mapping[str, Any]) -> str:
    """A project for ever: its number and when it was made; addresses and ports change."""
    return f"{project['id']}.{project['created_at']}"


def pull(review: Review, api: Api, given: Material) -> Pulled:
    """Write what people did since the last pull into the log; with nothing new, ids and times are all that is read.

    Raises:
        ReviewError: the server does not answer, or not soundly; what was written stays, and a repeat goes on.
    """
    with log.locked(review.folder / ".pull.lock", "another pull is under way", wait=False):
        seen = _Cache(review.folder / "pulled.json")
        problems: list[Finding] = []
        projects = _projects(review, api)
        there = {_name(project) for project in projects.values()} | replaced(review.events)
        gone = [event for event in review.events if event.kind == "project" and event.key[8:] not in there]
        events: list[Event | None] = [_gone_event(review, event) for event in gone]
        for (round, _), project in sorted(projects.items()):
            if not same_config(str(project["label_config"]), given.config(round).xml):
                text = f"project {project['id']}: its labelling config was changed on the server"
                events.append(Event(key=f"config {_name(project)}", kind="report", message=text))
        jobs = {job.key: job for job in review.state.jobs}
        names = cache(partial(_names, api))  # asked for when there is something new
        for (round, person), project in sorted(projects.items()):
            try:
                found, wrong = _answers(review, api, given, project, person, jobs, names, seen)
            except RefusedError as error:
                if error.status != 404:
                    raise
                found, wrong = [_gone_event(review, _project_event(review, project, round, person))], []
            events += found
            problems += wrong
        new = [event for event in events if event is not None]
        written = log.append(review.log, _fresh(new, review.events))
        reports = [event.message or event.key for event in new if event.kind == "report"]
        seen.write()
        return Pulled(written, tuple(reports), tuple(problems))


def _answers(
    review: Review,
    api: Api,
    given: Material,
    project: Mapping[str, Any],
    person: str,
    jobs: Mapping[str, Job],
    names: Callable[[], Mapping[int, str]],
    seen: _Cache,
) -> tuple[list[Event | None], list[Finding]]:
    """What is new in one project."""
    events: list[Event | None] = []
    problems: list[Finding] = []
    name = _name(project)
    fields = ("id", "updated_at", "total_annotations", "cancelled_annotations")
    rows = {
        str(row["id"]): f"{row['updated_at']} {row['total_annotations']} {row['cancelled_annotations']}"
        for row in api.tasks(int(project["id"]), *fields)
    }
    changed = sorted((task for task, state in rows.items() if seen.seen(name, task) != state), key=int)
    known: dict[str, set[str]] = {}  # annotations of the log, by the key of their task
    for event in review.events:
        if event.kind == "answer" and (event.annotation or "").startswith(f"{name}/"):
            key = f"{event.round}/{event.attempt}/{event.person}/{event.item}"
            known.setdefault(key, set()).add(event.annotation or "")
    account = review.people.get(person)
    people = names() if changed else {}  # before the answers: once these are here, nothing more is needed
    for task in tasks_of(list(_full(api, int(project["id"]), changed, len(rows))), f"project {project['id']}"):
        job = jobs.get(str(task.data.get("key")))
        if job is None:
            events.append(_stray(name, task.id, bool(task.given)))
            continue
        for one in task.given:
            user = account.user if account else None
            author = people.get(one.person, str(one.person)) if one.person is not None else None
            event, found = event_of(one, job, given, where=name, user=user, account=author)
            events.append(event)
            problems += found
            known.get(job.key, set()).discard(event.annotation or "")
        events += map(_deleted_event, sorted(known.pop(job.key, ())))
    if any(known.values()) and seen.lacks(name, rows):  # a task is gone
        present = _annotations(api, int(project["id"]), name)
        events += [_deleted_event(one) for those in known.values() for one in sorted(those - present)]
    seen.note(name, rows)
    return events, problems


def _fresh(events: Sequence[Event], known: Sequence[Event]) -> list[Event]:
    """Without what is in the log: the first reading of a state stands, whatever the plan has become since."""
    keys = {event.key for event in known}
    return [event for event in events if event.key not in keys]


def _full(api: Api, project: int, wanted: Sequence[str], total: int) -> Iterator[dict[str, Any]]:
    """Tasks with their annotations and drafts: one by one if few of ``total`` are wanted, else by page."""
    if len(wanted) * _FEW < total:
        for task in wanted:
            try:
                yield api.task(task)
            except RefusedError as error:
                if error.status != 404:
                    raise
        return
    held = set(wanted)
    for row in api.tasks(project) if wanted else ():
        if str(row["id"]) in held:
            yield row


def _annotations(api: Api, project: int, name: str) -> set[str]:
    """All annotations that a project has, by the names that they have in the log."""
    return {f"{name}/{one['id']}" for row in api.tasks(project) for one in row.get("annotations", [])}


def _deleted_event(annotation: str) -> Event:
    text = f"annotation {annotation} was deleted on the server; what was pulled still counts"
    return Event(key=f"deleted {annotation}", kind="report", annotation=annotation, message=text)


def _gone_event(review: Review, project: Event) -> Event:
    text = f"round {review.plan.rounds[project.round or 0].name}: the project of {project.person} was deleted on the "
    text += "server; pulled work still counts, and 'review push' makes it again for what is open"
    return Event(key=f"gone {project.key[8:]}", kind="report", person=project.person, message=text)


def _stray(name: str, task: int, answered: bool) -> Event | None:
    if not answered:
        return None
    text = f"project {name}: task {task} is none of this review, or of a job that is no longer there; left alone"
    return Event(key=f"stray {name}/{task}", kind="report", message=text)


class _Cache:
    """Which tasks were read in which state: spares reading them again, and may be lost."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.seen_by: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            self.seen_by = {}

    def seen(self, project: str, task: str) -> str | None:
        return self.seen_by.get(project, {}).get(task)

    def lacks(self, project: str, rows: Mapping[str, str]) -> bool:
        """Whether a task that was there before is not in ``rows``; yes, if it is not known what was there."""
        return project not in self.seen_by or not self.seen_by[project].keys() <= rows.keys()

    def note(self, project: str, rows: dict[str, str]) -> None:
        self.seen_by[project] = rows

    def write(self) -> None:
        with atomic_file(self.file, overwrite=True) as stream:
            stream.write(json.dumps(self.seen_by, sort_keys=True).encode())


def missing_people(state: State, people: Mapping[str, object]) -> list[str]:
    """Who has open work and no account yet."""
    return sorted({job.person for job in state.jobs if job.status == "open"} - set(people))
