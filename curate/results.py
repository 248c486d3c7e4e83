"""What commands print with ``--json``, where it is no report or record that another module has: one record per verb.

A command may leave nothing out and add nothing: ``tests/test_results.py`` holds them to these records, of which the
schemas ``result-VERB.json`` are made. Paths are as they were typed; counts are rows by table.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from curate.model import Finding, Step
from curate.releasing import Released
from curate.review.suspects import Suspect
from curate.taxonomy import Relabelled


class Imported(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``import``; findings are counts by code."""

    output: str
    fingerprint: str
    counts: dict[str, int]
    findings: dict[str, int]


class Merged(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``merge``."""

    output: str
    fingerprint: str
    counts: dict[str, int]


class RelabelledTo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``relabel``; output and fingerprint are null with ``--dry-run``."""

    output: str | None
    fingerprint: str | None
    counts: dict[str, int]
    report: Relabelled


class Built(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``build`` but for ``hidden``; output and fingerprint are null with ``--dry-run``."""

    output: str | None
    fingerprint: str | None
    counts: dict[str, int]
    steps: list[Step]
    findings: list[Finding]


class Share(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a hidden target public labels give away."""

    target: str
    images: int
    implied: int


class Hidden(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``build hidden``: the public dataset and the key; null with ``--dry-run``."""

    output: str | None
    fingerprint: str | None
    key: str | None
    key_fingerprint: str | None
    steps: list[Step]
    shares: list[Share]
    findings: list[Finding]


class Exported(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``export``; what is counted depends on the format."""

    output: str
    counts: dict[str, int]


class Shown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``show``: ids of the images (with ``--crops`` of the annotations) shown, and why some have no picture."""

    output: str
    tiles: list[str]
    annotations: int
    problems: dict[str, str]


class Prelabelled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``prelabel``; problems are counts by code, seconds are by stage and add up those of all processes."""

    output: str
    fingerprint: str
    images: int
    boxes: int
    masks: int
    problems: dict[str, int]
    seconds: dict[str, float]


class PrelabelPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``prelabel --dry-run``; classes are boxes by class, that of boxes without class is empty."""

    images: int
    boxes: int
    classes: dict[str, int]
    images_without_file: int


class TourStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of the tour."""

    what: str
    seconds: float
    counts: dict[str, int | float]
    fingerprint: str | UnsetType = UNSET


class Toured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``demo``; ``by_hand`` are the commands that do the same."""

    output: str
    page: str
    seconds: float
    errors: int
    steps: list[TourStep]
    by_hand: list[str]


class RunStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of a recipe: what became of it, or would, and why."""

    name: str
    command: str
    outcome: Literal["ran", "passed over", "would run", "would be passed over", "may run"]
    reason: str
    counts: dict[str, int] | UnsetType = UNSET


class Run(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``run``; with ``--dry-run`` the output may be null, and roots that are still to be named are told."""

    output: str | None
    recipe: str
    steps: list[RunStep]
    roots_missing: dict[str, str] | UnsetType = UNSET


class Listed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recipe of ``run --list``, which is an object of these by name."""

    title: str
    roots: dict[str, str]


class ServerRunning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review serve``: where it runs and over which folder of images; the password stands in ``data``/server.json."""

    url: str
    email: str
    data: str
    root: str
    pid: int


class ServerStopped(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review serve --stop``: whether one ran."""

    stopped: bool


class ReviewMade(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review init``; items are what the work is cut into: an image and a target."""

    output: str
    items: int
    rounds: list[str]


class Joined(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review join``; the password only if one was made, this once."""

    person: str
    user: int
    password: str | UnsetType = UNSET


class Pushed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review push``; tasks are those sent now."""

    projects: int
    tasks: int
    there: int


class Pulled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review pull``: new events in the log, what was reported and not taken, and what could not be read."""

    events: int
    reports: list[str]
    problems: list[str]


class Suspected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review suspects``: finds that were compared, those that could not be judged, and labels to look at."""

    finds: int
    unjudged: int
    suspects: list[Suspect]


class Taken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review take``: the key of the event that was accepted."""

    taken: str


class ReviewFinished(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``review finish``.

    Items are accepted or left as they are; rows become truth by this review or are rejected; ties are objects that
    people did not agree on; lot are rows that nobody looked at, of an accepted lot.
    """

    output: str
    fingerprint: str
    accepted: int
    truth: int
    rejected: int
    ties: int
    left: int
    lot: int
    figures: list[str]


RESULTS: dict[str, object] = {
    "build": Built,
    "build-hidden": Hidden,
    "demo": Toured,
    "export": Exported,
    "import": Imported,
    "merge": Merged,
    "prelabel": Prelabelled,
    "prelabel-plan": PrelabelPlan,
    "relabel": RelabelledTo,
    "release": Released,
    "review-finish": ReviewFinished,
    "review-init": ReviewMade,
    "review-join": Joined,
    "review-pull": Pulled,
    "review-push": Pushed,
    "review-serve": ServerRunning,
    "review-serve-stop": ServerStopped,
    "review-suspects": Suspected,
    "review-take": Taken,
    "run": Run,
    "run-list": dict[str, Listed],
    "show": Shown,
}
