"""What a step of the tour is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from curate import store
from curate.dataset import Dataset
from curate.verify import Report

SOURCES = ("kitti", "cityscapes", "voxdet")


class Place(NamedTuple):
    """The folder in which the steps work, and what it will be called at the end."""

    folder: Path
    home: Path

    @property
    def roots(self) -> dict[str, str]:
        """Where the images lie while the steps work."""
        return {source: str(self.folder / "raw" / source) for source in SOURCES}

    def read(self, name: str) -> Dataset:
        return store.read(self.folder / name)

    def write(self, dataset: Dataset, name: str) -> str:
        """Write a dataset under its name; gives its fingerprint."""
        info = msgspec.structs.replace(dataset.info, name=name)
        return store.write(dataset.replace(info=info, problems=dataset.problems), self.folder / name).fingerprint


class Outcome(NamedTuple):
    """What a step gives: counts, the arguments of the command that does it by hand, and the result."""

    counts: dict[str, int]
    arguments: str | None = None
    fingerprint: str | None = None
    report: Report | None = None


class Done(NamedTuple):
    """A step that was done, and how long it took."""

    what: str
    outcome: Outcome
    seconds: float


Steps: TypeAlias = list[tuple[str, Callable[[Place], Outcome]]]


def verified(report: Report, arguments: str) -> Outcome:
    """The outcome of a check."""
    counts = {"rules": len(report.checked), "errors": report.errors}
    counts["warnings"] = sum(total.warnings for total in report.totals)
    return Outcome(counts, arguments, report=report)
