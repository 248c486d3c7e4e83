"""What the dataset's own records tell: warnings of the build that made it, and the date that its lineage states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.model import Command, Finding, Parent, finding
from curate.verify.subject import Subject

_BUILD = "build leakage"
_DIVIDE = {"build split query-gallery", "build split train-val-test", "build support"}


def of_the_build(subject: Subject) -> Iterator[Finding]:
    """Q10, Q11, Q12: what ``build hidden``, ``split`` and ``support`` noticed, from the dataset's ``problems.jsonl``.

    Only the build can tell: it sees what is hidden, the groups that could not be parted, and the examples there were.
    """
    for one in subject.dataset.problems if subject.dataset else ():
        if one.code in ("Q10", "Q11", "Q12"):
            yield finding(one.code, one.where, one.message, item=one.item, hint=one.hint)


def cut_off(subject: Subject) -> str | None:
    """The date that distractors must be older than and instances not: as stated by ``build leakage --before``.

    None if nothing in the lineage states one.
    """
    for command in _lineage(subject):
        if command.verb == _BUILD:
            before = command.options.get("before")
            if isinstance(before, str) and before:
                return before
    return None


def as_published(subject: Subject) -> bool:
    """Whether queries, gallery and support sets are the source's own: it was imported, and nobody divided it since."""
    verbs = {command.verb.partition(" ")[0] for command in _lineage(subject)}
    divided = {command.verb for command in _lineage(subject)} & _DIVIDE
    return "import" in verbs and not divided


def _lineage(subject: Subject) -> Iterator[Command]:
    """The commands that made the dataset, the last first."""
    queue: list[Any] = [subject.dataset.info] if subject.dataset else []
    while queue:
        link = queue.pop(0)
        if link.command is not None:
            yield link.command
        parents: tuple[Parent, ...] = link.parents
        queue += parents
