"""Leaks: what stands on both sides of a benchmark, and how it is taken away.

Sides are the images that are shown (queries, support sets) against those that are searched (gallery, distractors), and
the splits; both are looked at where a dataset has both. An image that is shown and searched stands on both sides of
others, though not of itself. Images of two sides are linked by one of:

* ``copy``: equal content (SHA-256); images without hash are counted as unproved;
* ``near``: near-duplicate pictures (``curate.build.near``), for which the image files are read;
* ``embedding``: vectors that are nearly the same (``curate.build.embeddings``), where somebody has made some;
* ``sequence``, ``place``: a shared group; images of unknown group are counted as unproved;
* ``instance``: one object of truth; between splits only, since a query is there to find its instance;
* ``time``: distractors that may be younger than what is searched for. A distractor must have been taken before the
  date, an instance have appeared on it or after. A date that is absent, or only as exact as the limit, proves nothing.

What is forbidden must be proved not to be there: a kind of which too little is known fails as one that is found does.

A fix takes linked images from the searched side (they lose their roles, and queries that nothing answers then go), or,
between splits, drops or moves all to the split that has most of them; distractors that are too young leave the gallery.
Links are followed from image to image. A query whose every positive is linked with its own image is named: it finds
nothing but itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.dates import Dates, look_at_dates
from curate.build.groups import groups_of
from curate.build.selfish import selfish_queries
from curate.build.sides import Between, Sides, components, first_of_sides, leaking_between, sides_of
from curate.build.unleaking import Fix, fixed
from curate.columns import flags, plain, positions
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Kind = Literal["copy", "near", "embedding", "sequence", "place", "instance", "time"]

VERB = "build leakage"
KINDS: tuple[Kind, ...] = get_args(Kind)
_SHARED = {
    "copy": "their content",
    "near": "their looks",
    "embedding": "their embedding",
    "sequence": "a sequence",
    "place": "a place",
    "instance": "an instance",
}
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])(T[0-9:.+Z-]+)?)?)?")  # ISO 8601, also in part
_USUAL: tuple[Kind, ...] = ("copy", "sequence")


def build_without_leaks(
    dataset: Dataset,
    *,
    look: Sequence[Kind] = (),
    forbid: Sequence[Kind] = (),
    fix: Fix | None = None,
    before: str | None = None,
    between: Between | None = None,
    allow_unproved: bool = False,
    near: Ints | None = None,
    embedding: Ints | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Dataset:
    """Look for leaks, and report, forbid or fix them; ``info.command.steps`` has the counts of each kind.

    Args:
        look: kinds to look for beside those that are forbidden; copies and sequences, where none is named.
        forbid: fail if any is found that the fix, if there is one, does not take away, or if that there is none cannot
            be proved.
        fix: ``drop``, or between splits ``move``.
        before: ISO 8601 date for ``time``; the first ``exists_since`` of the instances where it is not given.
        between: which sides: ``roles`` (queries and gallery) or ``splits``; both, where the dataset has both.
        allow_unproved: let what is forbidden pass where nothing was found, and too little is known.
        near: per image the number of its near-duplicates' cluster (``curate.build.near.clusters``), -1 if unread;
            needed for ``near``.
        embedding: the same by vectors (``curate.build.embeddings.clusters``), needed for ``embedding``.
        made_by: options that made these clusters, for the lineage.

    Raises:
        UsageError: an unknown kind, ``move`` between query and gallery, a fix between both kinds of sides, ``near`` or
            ``embedding`` without clusters, no sides.
        SchemaError: what is forbidden is found or unproved; one line for each kind.
    """
    for kind in (*look, *forbid):
        if kind not in KINDS:
            raise UsageError(f"leak {kind!r}", "is unknown", f"expected one of {', '.join(KINDS)}")
    wanted = [kind for kind in KINDS if kind in (*look, *forbid)] or list(_USUAL)
    given: dict[Kind, Ints | None] = {"near": near, "embedding": embedding}
    for kind, needed in (("near", "the pictures"), ("embedding", "vectors")):
        if kind in wanted and given[kind] is None:
            raise UsageError(f"leak {kind!r}", f"needs {needed}", "expected clusters of near-duplicates")
    if before is not None and "time" not in wanted:
        raise UsageError("--before", "is given, and nobody looks at dates", "expected --look time or --forbid time")
    if before is not None and not _DATE.fullmatch(before):
        raise UsageError(f"--before {before!r}", "is no date", "expected for example 2014, 2014-05 or 2014-05-31")
    sides = sides_of(dataset, between)
    if fix and len(sides) > 1:
        found = "may stand between queries and gallery or between splits"
        raise UsageError(f"fix {fix!r}", found, "expected --between roles or --between splits")
    if fix == "move" and not sides[0].splits:
        raise UsageError("fix 'move'", "stands between queries and gallery", hint="use drop")
    if "instance" in forbid and not any(one.splits for one in sides):
        found = "is not looked at between queries and gallery: a query is there to find its instance"
        raise UsageError("leak 'instance'", found, "expected two splits")
    looked = [
        _look(dataset, kind, one, given.get(kind), " between " + one.what if len(sides) > 1 else "", fix)
        for one in sides
        for kind in wanted
        if kind != "time" and (kind != "instance" or one.splits)
    ]
    steps = [Step(what="input", counts={name: dataset.table(name).num_rows for name in ("images", "annotations")})]
    steps += [one.step for one in looked]
    findings = [problem for one in looked for problem in one.findings]
    if "instance" in wanted and not any(one.splits for one in sides):
        counts = {"images": int((sides[0].code >= 0).sum())}
        steps.append(Step(what="leaks by instance between queries and gallery: not looked at", counts=counts))
    if not sides[0].splits:
        links = {one.kind: one.code for one in looked if not one.sides.splits}
        findings += selfish_queries(dataset, links, _SHARED)
    dates = look_at_dates(dataset, before, "info" if fix else "warning") if "time" in wanted else None
    if dates:
        steps.append(dates.step)
        findings += dates.findings
    _refuse(dataset, looked, dates, forbid, fix, allow_unproved=allow_unproved)
    made = dataset
    if fix:
        young = dates.young if dates else np.zeros(dataset.table("images").num_rows, bool)
        made, more_steps, more = fixed(dataset, sides[0], [one.code for one in looked], young, fix)
        steps += more_steps
        findings += more
    options: dict[str, Any] = {
        "look": wanted,
        "forbid": sorted(set(forbid)),
        "fix": fix,
        "before": before,
        "between": between,
    }
    options |= {"allow-unproved": allow_unproved, **(made_by or {})}
    command = Command(verb=VERB, options={k: v for k, v in options.items() if v}, steps=tuple(steps))
    return made.replace(info=dataset.child(dataset.info.name, command=command), problems=findings)


class _Looked(NamedTuple):
    """What was seen of one kind between the sides of one kind."""

    kind: Kind
    where: str  # in the words, where there are two kinds of sides
    sides: Sides
    code: Ints
    leaking: Bools
    unknown: int
    step: Step
    findings: list[Finding]


def _look(dataset: Dataset, kind: Kind, sides: Sides, clusters: Ints | None, where: str, fix: Fix | None) -> _Looked:
    code = _links(dataset, kind, clusters)
    leaking = leaking_between(sides, code)
    unknown = 0 if kind == "instance" else int(((code < 0) & (sides.code >= 0)).sum())
    step = _step(kind, where, sides, code, leaking, unknown)
    return _Looked(kind, where, sides, code, leaking, unknown, step, _found(dataset, kind, sides, code, leaking, fix))


def _links(dataset: Dataset, kind: Kind, clusters: Ints | None) -> Ints:
    """For each image the number of what links it to others of its kind, -1 where that is not known."""
    if clusters is not None:
        return clusters
    if kind == "copy":
        hashes = plain(dataset.table("images")["sha256"])
        return positions(hashes, pc.unique(hashes).drop_null())
    if kind == "instance":
        return _by_instance(dataset)
    groups = groups_of(dataset, "sequence" if kind == "sequence" else "place")
    return np.where(groups.known, groups.code, -1)


def _by_instance(dataset: Dataset) -> Ints:
    """Images linked by chains of instances: those of several link all that show any of these."""
    number = dataset.table("images").num_rows
    annotations = dataset.table("annotations")
    image = positions(annotations["image_id"], dataset.table("images")["id"])
    instance = positions(annotations["instance"], pc.unique(annotations["instance"]).drop_null())
    rows = flags(pc.equal(plain(annotations["status"]), "truth")) & (image >= 0) & (instance >= 0)
    linked = components(number, image[rows], number + instance[rows], int(instance.max(initial=-1)) + 1)
    code = np.full(number, -1)
    code[image[rows]] = linked[image[rows]]
    return code


def _step(kind: Kind, where: str, sides: Sides, code: Ints, leaking: Bools, unknown: int) -> Step:
    state = "found" if leaking.any() else "unproved" if unknown else "none"
    counts = {"links": len(np.unique(code[leaking])), "images": int(leaking.sum())}
    counts |= {f"images in {name}": int((leaking & sides.on(at)).sum()) for at, name in enumerate(sides.names)}
    counts |= {} if kind == "instance" else {"images of which it is not known": unknown}
    return Step(what=f"leaks by {kind}{where}: {state}", counts=counts)


def _found(dataset: Dataset, kind: Kind, sides: Sides, code: Ints, leaking: Bools, fix: Fix | None) -> list[Finding]:
    """One finding for each link that spans sides."""
    rows = np.flatnonzero(leaking)
    rows = rows[np.lexsort((rows, code[rows]))]
    starts = np.flatnonzero(np.diff(code[rows], prepend=-1))
    ids, findings = dataset.table("images")["id"], []
    for here in np.split(rows, starts[1:]) if len(rows) else []:
        first = first_of_sides(sides, here)
        listed = ", ".join(f"{ids[row].as_py()} in {sides.names[at]}" for at, row in first)
        text = f"{len(here)} images that share {_SHARED[kind]} stand on {len(first)} sides: {listed}"
        where = ids[int(here[0])].as_py()
        severity: Literal["info", "warning"] = "info" if fix else "warning"
        findings.append(finding("Q03", f"images, {where}", text, item=where, severity=severity))
    return findings


def _refuse(
    dataset: Dataset,
    looked: list[_Looked],
    dates: Dates | None,
    forbid: Sequence[Kind],
    fix: Fix | None,
    *,
    allow_unproved: bool,
) -> None:
    """Fail for each kind that is forbidden and found, or that is not known to be absent."""
    errors = []

    def refuse(what: str, left: list[Finding], unproved: str) -> None:
        found = f"leaks by {what}: {left[0].message if left else f'unproved: {unproved}'}"
        if left:
            errors.append(SchemaError(f"dataset {dataset.info.name!r}", found, "expected none", "use --fix"))
        elif unproved and not allow_unproved:
            hint = "make it known, or give --allow-unproved"
            errors.append(SchemaError(f"dataset {dataset.info.name!r}", found, "expected proof of none", hint))

    for one in looked:
        if one.kind in forbid:
            unproved = f"of {one.unknown:,} of {int((one.sides.code >= 0).sum()):,} images it is not known"
            refuse(f"{one.kind}{one.where}", [] if fix else one.findings, unproved if one.unknown else "")
    if dates and "time" in forbid:
        # No fix makes an instance younger.
        left = [one for one in dates.findings if not fix or one.where.startswith("instances, ")]
        counts = ", ".join(f"{number:,} {what}" for what, number in dates.step.counts.items())
        refuse("time", left, counts if dates.unproved else "")
    if errors:
        errors[0].also = tuple(errors[1:])
        raise errors[0]
