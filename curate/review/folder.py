"""A review folder: ``plan.yaml``, ``items.jsonl``, ``people.json``, ``events.jsonl``, and ``review.json``: of what."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from curate.atomic import atomic_file, atomic_folder
from curate.dataset import Dataset
from curate.errors import ReviewError, UsageError
from curate.review import audit, log
from curate.review.plan import Item, Plan, items_of, read_plan, write_plan
from curate.review.state import State, fold


class About(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``review.json``: what is reviewed. ``id`` marks this review's projects on the server."""

    id: str
    dataset: str
    fingerprint: str
    negatives: Annotated[dict[str, int], Meta(description="audit: presumed negatives by class")] = {}


class Person(Struct, frozen=True, kw_only=True):
    """One person's account. The addresses stay in ``people.json``: everything else knows pseudonyms only."""

    user: int
    email: str


class Review(NamedTuple):
    folder: Path
    about: About
    plan: Plan
    items: list[Item]
    people: dict[str, Person]
    events: list[log.Event]

    @property
    def log(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def state(self) -> State:
        return fold(self.plan, self.items, self.events)


def init(dataset: Dataset, where: str, plan: Plan, folder: Path, ranks: audit.Ranks | None = None) -> Review:
    """Make the folder of a new review of ``dataset``, which lies at ``where``; an audit may be given ``ranks``.

    Raises:
        UsageError: the folder exists, or the plan does not fit the dataset.
    """
    items, negatives = audit.draw(dataset, plan, ranks) if plan.audits else (items_of(dataset, plan), {})
    print_ = dataset.fingerprint()
    lines = b"".join(msgspec.json.encode(item) + b"\n" for item in items)
    mark = hashlib.sha256(b"\0".join([print_.encode(), msgspec.json.encode(plan), lines])).hexdigest()[:16]
    about = About(id=mark, dataset=where, fingerprint=print_, negatives=negatives)
    with atomic_folder(folder, ours=lambda _: False) as new:
        (new / "plan.yaml").write_text(write_plan(plan), "utf-8")
        (new / "items.jsonl").write_bytes(lines)
        (new / "review.json").write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
    return read(folder)


def read(folder: Path) -> Review:
    """A review as it stands.

    Raises:
        UsageError: that is no review folder.
        ReviewError: a file in it is damaged.
    """
    if not (folder / "review.json").is_file():
        raise UsageError(folder, "is no review", "expected a folder made by 'curate review init'")
    try:
        about = msgspec.json.decode((folder / "review.json").read_bytes(), type=About)
        people = folder / "people.json"
        known = msgspec.json.decode(people.read_bytes(), type=dict[str, Person]) if people.exists() else {}
        items = [msgspec.json.decode(line, type=Item) for line in (folder / "items.jsonl").read_bytes().splitlines()]
        text = (folder / "plan.yaml").read_text("utf-8")
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReviewError(folder, f"damaged: {error}", hint="restore it, or make a new review") from None
    plan = read_plan(text, folder / "plan.yaml")
    return Review(folder, about, plan, items, known, log.load(folder / "events.jsonl"))


def check_address(people: Mapping[str, Person], person: str, email: str) -> None:
    """Whether ``person`` may have the account of ``email``: an address, and nobody else's.

    Raises:
        UsageError: it is no address, or somebody else's.
    """
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise UsageError(email, "is no e-mail address", "expected one such as p1@example.org")
    for other, one in people.items():
        if other != person and one.email.casefold() == email.casefold():
            raise _shared(other, person)


def check_people(people: Mapping[str, Person]) -> None:
    """Whether everybody has an account of their own: that nobody judges their own work rests on it.

    Raises:
        UsageError: two have one account.
    """
    holders: dict[int, str] = {}
    for person, one in people.items():
        if (other := holders.setdefault(one.user, person)) != person:
            raise _shared(other, person)


def check_account(events: Iterable[log.Event], person: str, account: str) -> None:
    """Whether nobody else has worked with what is now the account of ``person``; logs of old do not say.

    Raises:
        UsageError: somebody has.
    """
    for event in events:
        if event.kind == "answer" and not event.foreign and event.account == account and event.person != person:
            raise _shared(event.person or "", person)


def _shared(other: str, person: str) -> UsageError:
    return UsageError(
        person,
        f"the account is that of {other}, or was when they worked",
        "expected one of their own: nobody may see or judge their own work as somebody else",
        "give another address to 'curate review join'",
    )


def write_people(folder: Path, people: dict[str, Person]) -> None:
    """Write who has which account.

    Raises:
        UsageError: two have one account.
    """
    check_people(people)
    with atomic_file(folder / "people.json", overwrite=True) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(people, order="deterministic"), indent=2) + b"\n")
