"""``events.jsonl``: what happened in a review, one line each, only ever added to. The record; the server is a copy.

Repeating a key adds nothing. A line cut short by a killed process is dropped at the next append; a line damaged
elsewhere is an error.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from curate.errors import ReviewError
from curate.model import Annotation


class Did(Struct, frozen=True, omit_defaults=True):
    """What an answer did to one object."""

    row: str
    action: Literal["unchanged", "moved", "relabelled", "added", "deleted"]
    shown: str | None = None
    iou: float | None = None


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. An ``answer`` is one state of one annotation; ``take`` accepts one that was only reported."""

    key: Annotated[str, Meta(description="server, project, annotation and its last change; unique")]
    kind: Literal["answer", "take", "project", "pushed", "report"]
    person: Annotated[str | None, Meta(description="pseudonym")] = None
    item: str | None = None
    round: int | None = None
    attempt: int = 0
    annotation: Annotated[str | None, Meta(description="server/project/annotation")] = None
    revision: Annotated[str | None, Meta(description="the server's time of its last change")] = None
    skipped: bool = False
    account: Annotated[str | None, Meta(description="the server's number of who wrote it, and since when")] = None
    foreign: Annotated[bool, Meta(description="written or changed by somebody else than it is for")] = False
    verdict: str | None = None
    note: str | None = None
    seconds: Annotated[float | None, Meta(description="that the task was open")] = None
    objects: tuple[Annotation, ...] = ()
    did: tuple[Did, ...] = ()
    message: str | None = None
    value: dict[str, str | int | None] = {}


_decode = msgspec.json.Decoder(Event).decode


def load(path: Path) -> list[Event]:
    """All events of a log; of a missing one, none.

    Raises:
        ReviewError: a line that is not the last is damaged.
    """
    if not path.exists():
        return []
    events = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines):  # after the last line's end, or cut short
            break
        if not line:
            continue
        try:
            events.append(_decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReviewError(f"{path}:{number}", f"damaged: {error}", "expected an event", "restore it") from None
    return events


def append(path: Path, events: Iterable[Event]) -> int:
    """Add the events whose keys are not there yet; they are on the disk when this returns. Gives how many.

    Raises:
        ReviewError: a key is there with another content.
    """
    with locked(path.with_name(f".{path.name}.lock"), "another command writes this log"):
        known = {event.key: event for event in load(path)}
        lines = []
        for event in events:
            there = known.get(event.key)
            if there is None:
                known[event.key] = event
                lines.append(msgspec.json.encode(event) + b"\n")
            elif there != event:
                raise ReviewError(path, f"event {event.key} is there with another content", "expected the same")
        fresh = not path.exists()
        with path.open("ab") as stream:
            _drop_cut_line(path, stream.fileno())
            stream.write(b"".join(lines))
            stream.flush()
            os.fsync(stream.fileno())
        if fresh:
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    return len(lines)


def _drop_cut_line(path: Path, descriptor: int) -> None:
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.ftruncate(descriptor, data.rfind(b"\n") + 1)


@contextmanager
def locked(file: Path, busy: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file; whoever holds it is named in it.

    Raises:
        ReviewError: somebody else holds it and ``wait`` is false.
    """
    with file.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise ReviewError(file, f"{busy} (process {holder})", hint="wait for it to end") from None
        stream.seek(0)
        stream.truncate()
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield
