"""What a date contradicts: distractors that may be younger than what is searched for, and instances that are older."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.members import has_role
from curate.columns import plain
from curate.dataset import Dataset
from curate.errors import UsageError
from curate.model import Finding, Step, finding

Bools = NDArray[np.bool_]


class Dates(NamedTuple):
    """The distractors that the date contradicts, how many instances are too old, and whether the rest is unproved."""

    young: Bools
    too_old: int
    unproved: bool
    step: Step
    findings: list[Finding]


def look_at_dates(dataset: Dataset, before: str | None, severity: Literal["info", "warning"]) -> Dates:
    """What the date contradicts; distractors and instances of no or too rough a date are counted."""
    since = dataset.table("instances")["exists_since"].drop_null()
    limit = before or pc.min(since).as_py()
    if not limit:
        raise UsageError("leak 'time'", "no instance says since when it exists", "expected --before and a date")
    taken = plain(dataset.table("images")["taken_at"]).to_pylist()
    evidence = plain(dataset.table("images")["date_evidence"]).to_pylist()
    ids, findings = dataset.table("images")["id"], []
    young = np.zeros(len(ids), bool)
    counts = {"proven": 0, "claimed": 0, "unknown": 0, "contradicted": 0}
    for row in np.flatnonzero(has_role(dataset, "distractor")).tolist():
        date, shared = taken[row] or "", min(len(taken[row] or ""), len(limit))
        if not _tells(date, limit):
            counts["unknown"] += 1
        elif date[:shared] >= limit[:shared]:
            counts["contradicted"] += 1
            young[row] = True
            name = ids[row].as_py()
            text = f"distractor of {date}; expected one from before {limit}"
            findings.append(finding("Q06", f"images, {name}", text, item=name, severity=severity))
        else:
            counts["proven" if evidence[row] == "proven" else "claimed"] += 1
    instances = _dates(dataset)
    old = [name for name, date in instances if date and date[: len(limit)] < limit[: len(date)]]
    undated = sum(not _tells(date, limit) for _, date in instances)
    for name in old:
        text = f"instance that exists since before {limit}, when distractors were taken"
        findings.append(finding("Q06", f"instances, {name}", text, item=name, severity="warning"))
    unproved = bool(counts["unknown"] or counts["claimed"] or undated) or not (sum(counts.values()) or instances)
    state = "found" if young.any() or old else "unproved" if unproved else "none"
    counts = {f"distractors {name}": number for name, number in counts.items()}
    counts |= {"instances too old": len(old), "instances unknown": undated}
    step = Step(what=f"leaks by time, {limit}: {state}", counts=counts)
    return Dates(young, len(old), unproved, step, findings)


def _tells(date: str | None, limit: str) -> bool:
    """Whether a date is exact enough to be before ``limit`` or not."""
    return date is not None and date != "" and not (len(date) < len(limit) and limit.startswith(date))


def _dates(dataset: Dataset) -> list[tuple[str, str | None]]:
    """Each instance, and since when it exists: those of the table, and any that only annotations name."""
    table = dataset.table("instances")
    found = dict.fromkeys(pc.unique(dataset.table("annotations")["instance"]).drop_null().to_pylist())
    return sorted((found | dict(zip(table["id"].to_pylist(), table["exists_since"].to_pylist(), strict=True))).items())
