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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.groups import groups_of
from curate.build.members import has_role
from curate.build.selfish import selfish_queries
from curate.build.upkeep import without_queries
from curate.dataset import Dataset, flags, plain, positions, whole
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Kind = Literal["copy", "near", "embedding", "sequence", "place", "instance", "time"]
Fix = Literal["drop", "move"]
Between = Literal["roles", "splits"]

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
    sides = _sides(dataset, between)
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
    dates = _time(dataset, before, fix) if "time" in wanted else None
    if dates:
        steps.append(dates.step)
        findings += dates.findings
    _refuse(dataset, looked, dates, forbid, fix, allow_unproved=allow_unproved)
    made = dataset
    if fix:
        young = dates.young if dates else np.zeros(dataset.table("images").num_rows, bool)
        made, more_steps, more = _fixed(dataset, sides[0], looked, young, fix)
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


class _Sides(NamedTuple):
    """The side of each image, -1 for none; between query and gallery 0 is what is shown, 1 what is searched."""

    names: list[str]
    code: Ints
    splits: bool
    both: Bools  # images that are shown, and searched too

    def on(self, at: int) -> Bools:
        """The images that stand on a side."""
        here: Bools = self.code == at
        return here | self.both if at == 0 and not self.splits else here

    @property
    def what(self) -> str:
        return "splits" if self.splits else "queries and gallery"


def _sides(dataset: Dataset, between: Between | None) -> list[_Sides]:
    """The sides that are asked for, roles first."""
    roles = _roles(dataset)
    splits = _splits(dataset, beside_roles=roles is not None)
    found = [one for one in (roles, splits) if one and between in (None, "splits" if one.splits else "roles")]
    if not found:
        what = {None: "neither a gallery nor two splits", "roles": "no gallery", "splits": "no two splits"}[between]
        raise UsageError(
            f"dataset {dataset.info.name!r}",
            f"has {what}",
            "expected sides that something could leak between",
            "build a split first (curate build split)",
        )
    return found


def _roles(dataset: Dataset) -> _Sides | None:
    ids = dataset.table("images")["id"]
    searched = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    if not searched.any():
        return None
    shown = has_role(dataset, "query") | has_role(dataset, "support")
    for table in ("queries", "support"):
        shown |= positions(ids, dataset.table(table)["image_id"]) >= 0
    code = np.where(searched, 1, np.where(shown, 0, -1))
    return _Sides(["queries and support", "gallery"], code, False, shown & searched)


def _splits(dataset: Dataset, *, beside_roles: bool) -> _Sides | None:
    split = plain(dataset.table("images")["split"])
    names = pc.unique(split).drop_null()
    names = names.take(pc.sort_indices(names))
    # Splits that a division into queries and gallery has written say the same as the roles.
    if len(names) < 2 or (beside_roles and set(names.to_pylist()) <= {"query", "gallery"}):
        return None
    return _Sides(names.to_pylist(), positions(split, names), True, np.zeros(len(split), bool))


def shown_and_searched(dataset: Dataset, between: Between | None = None) -> tuple[Bools, Bools] | None:
    """The images that are shown, and those that are searched; None where splits are looked at, of which any may leak to
    any.

    Raises:
        UsageError: the dataset has no such sides.
    """
    sides = _sides(dataset, between)
    return None if any(one.splits for one in sides) else (sides[0].on(0), sides[0].on(1))


class _Looked(NamedTuple):
    """What was seen of one kind between the sides of one kind."""

    kind: Kind
    where: str  # in the words, where there are two kinds of sides
    sides: _Sides
    code: Ints
    leaking: Bools
    unknown: int
    step: Step
    findings: list[Finding]


def _look(dataset: Dataset, kind: Kind, sides: _Sides, clusters: Ints | None, where: str, fix: Fix | None) -> _Looked:
    code = _links(dataset, kind, clusters)
    leaking = _leaking(sides, code)
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


def components(number: int, a: Ints, b: Ints, more: int = 0) -> Ints:
    """For each of ``number + more`` things the least thing that pairs ``a``, ``b`` join it with; by label spreading."""
    label: Ints = np.arange(number + more)
    while True:
        least = np.minimum(label[a], label[b])
        before = label.copy()
        np.minimum.at(label, a, least)
        np.minimum.at(label, b, least)
        np.minimum.at(label, before[a], least)
        np.minimum.at(label, before[b], least)
        label = label[label]
        if np.array_equal(label, before):
            return label


def gathered(number: int, found: Iterable[tuple[Ints, Ints]], most: int = 1 << 22) -> tuple[Ints, Ints]:
    """The pairs found of ``number`` things; of more than ``most``, only as many as join the same things.

    The frames of a film may all be alike: their pairs are the square of them.
    """
    none = np.zeros(0, np.int64)
    parts: list[tuple[Ints, Ints]] = [(none, none)]
    held = 0
    for pair in found:
        parts.append(pair)
        held += len(pair[0])
        if held > max(most, 4 * number):
            a, b = (np.concatenate(side) for side in zip(*parts, strict=True))
            label = components(number, a, b)
            rows = np.flatnonzero(label != np.arange(number))
            parts, held = [(rows, label[rows])], len(rows)
    a, b = (np.concatenate(side) for side in zip(*parts, strict=True))
    return a, b


def _leaking(sides: _Sides, code: Ints) -> Bools:
    """The images that are linked with another one on another side."""
    if not sides.splits:
        shown, searched = sides.on(0), sides.on(1)
        return (shown & _linked(searched, code)) | (searched & _linked(shown, code))
    there = np.flatnonzero((code >= 0) & (sides.code >= 0))
    number = int(code.max(initial=-1)) + 1
    low, high = np.full(number, np.iinfo(np.int64).max), np.full(number, -1)
    np.minimum.at(low, code[there], sides.code[there])
    np.maximum.at(high, code[there], sides.code[there])
    leaking = np.zeros(len(code), bool)
    leaking[there] = low[code[there]] < high[code[there]]
    return leaking


def _linked(others: Bools, code: Ints) -> Bools:
    """The images that are linked with one of ``others`` that is not themselves."""
    number = np.bincount(code[others & (code >= 0)], minlength=int(code.max(initial=-1)) + 2)
    linked: Bools = (code >= 0) & (number[code] > others)
    return linked


def _step(kind: Kind, where: str, sides: _Sides, code: Ints, leaking: Bools, unknown: int) -> Step:
    state = "found" if leaking.any() else "unproved" if unknown else "none"
    counts = {"links": len(np.unique(code[leaking])), "images": int(leaking.sum())}
    counts |= {f"images in {name}": int((leaking & sides.on(at)).sum()) for at, name in enumerate(sides.names)}
    counts |= {} if kind == "instance" else {"images of which it is not known": unknown}
    return Step(what=f"leaks by {kind}{where}: {state}", counts=counts)


def _found(dataset: Dataset, kind: Kind, sides: _Sides, code: Ints, leaking: Bools, fix: Fix | None) -> list[Finding]:
    """One finding for each link that spans sides."""
    rows = np.flatnonzero(leaking)
    rows = rows[np.lexsort((rows, code[rows]))]
    starts = np.flatnonzero(np.diff(code[rows], prepend=-1))
    ids, findings = dataset.table("images")["id"], []
    for here in np.split(rows, starts[1:]) if len(rows) else []:
        first = _first_of_sides(sides, here)
        listed = ", ".join(f"{ids[row].as_py()} in {sides.names[at]}" for at, row in first)
        text = f"{len(here)} images that share {_SHARED[kind]} stand on {len(first)} sides: {listed}"
        where = ids[int(here[0])].as_py()
        severity: Literal["info", "warning"] = "info" if fix else "warning"
        findings.append(finding("Q03", f"images, {where}", text, item=where, severity=severity))
    return findings


def _first_of_sides(sides: _Sides, rows: Ints) -> list[tuple[int, int]]:
    """Of linked images the first of each side; none stands for two sides."""
    found: list[tuple[int, int]] = []
    order = [at for at in range(len(sides.names)) if sides.on(at)[rows].any()]
    # Where only one image is of a side, it is that side's.
    for at in sorted(order, key=lambda at: int(sides.on(at)[rows].sum())):
        taken = {row for _, row in found}
        found.append((at, next(row for row in rows[sides.on(at)[rows]].tolist() if row not in taken)))
    return sorted(found)


class _Dates(NamedTuple):
    """The distractors that the date contradicts, how many instances are too old, and whether the rest is unproved."""

    young: Bools
    too_old: int
    unproved: bool
    step: Step
    findings: list[Finding]


def _time(dataset: Dataset, before: str | None, fix: Fix | None) -> _Dates:
    """What the date contradicts; distractors and instances of no or too rough a date are counted."""
    since = dataset.table("instances")["exists_since"].drop_null()
    limit = before or pc.min(since).as_py()
    if not limit:
        raise UsageError("leak 'time'", "no instance says since when it exists", "expected --before and a date")
    taken = plain(dataset.table("images")["taken_at"]).to_pylist()
    evidence = plain(dataset.table("images")["date_evidence"]).to_pylist()
    ids, findings = dataset.table("images")["id"], []
    severity: Literal["info", "warning"] = "info" if fix else "warning"
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
    return _Dates(young, len(old), unproved, step, findings)


def _tells(date: str | None, limit: str) -> bool:
    """Whether a date is exact enough to be before ``limit`` or not."""
    return date is not None and date != "" and not (len(date) < len(limit) and limit.startswith(date))


def _dates(dataset: Dataset) -> list[tuple[str, str | None]]:
    """Each instance, and since when it exists: those of the table, and any that only annotations name."""
    table = dataset.table("instances")
    found = dict.fromkeys(pc.unique(dataset.table("annotations")["instance"]).drop_null().to_pylist())
    return sorted((found | dict(zip(table["id"].to_pylist(), table["exists_since"].to_pylist(), strict=True))).items())


def _refuse(
    dataset: Dataset,
    looked: list[_Looked],
    dates: _Dates | None,
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


def _fixed(
    dataset: Dataset, sides: _Sides, looked: list[_Looked], young: Bools, fix: Fix
) -> tuple[Dataset, list[Step], list[Finding]]:
    if not sides.splits:
        gone = young.copy()
        for one in looked:
            gone |= sides.on(1) & _linked(sides.on(0), one.code)
        made, step, findings = _without_roles(dataset, gone)
        return made, [step], findings
    linked = _joined(len(sides.code), [one.code for one in looked])
    spanning = np.flatnonzero(_leaking(sides, linked))
    # Each cluster goes where most of its images are; of equals to the first by name.
    number = len(sides.names)
    cluster, which = np.unique(linked[spanning], return_inverse=True)
    counts = np.bincount(which * number + sides.code[spanning], minlength=len(cluster) * number)
    best = counts.reshape(len(cluster), number).argmax(axis=1)
    wrong = spanning[sides.code[spanning] != best[which]]
    target = best[which][sides.code[spanning] != best[which]]
    ids, images = dataset.table("images")["id"], dataset.table("images")
    findings = [
        finding(
            "Q03",
            f"images, {ids[row].as_py()}",
            f"dropped from {sides.names[sides.code[row]]}"
            if fix == "drop"
            else f"moved from {sides.names[sides.code[row]]} to {sides.names[to]}",
            item=ids[row].as_py(),
            severity="info",
        )
        for row, to in zip(wrong.tolist(), target.tolist(), strict=True)
    ]
    code = sides.code.copy()
    code[wrong] = target if fix == "move" else -1
    findings += _emptied(sides, code)
    if fix == "drop":
        kept = np.ones(len(ids), bool)
        kept[wrong] = False
        made, lost = _answered(dataset, dataset.select_images(ids.filter(pa.array(kept))))
        findings += lost
    else:
        at = images.schema.get_field_index("split")
        split = pa.DictionaryArray.from_arrays(pa.array(code, pa.int32(), mask=code < 0), pa.array(sides.names))
        made = dataset.replace(images=images.set_column(at, images.schema.field(at), split))
    steps = [Step(what="dropped" if fix == "drop" else "moved", counts={"images": len(wrong)})]
    if young.any():
        left = flags(pc.is_in(made.table("images")["id"], value_set=whole(ids.filter(pa.array(young)))))
        made, step, more = _without_roles(made, left)
        steps, findings = [*steps, step], [*findings, *more]
    return made, steps, findings


def _emptied(sides: _Sides, code: Ints) -> Iterator[Finding]:
    """A warning for each split that a fix leaves without image."""
    for at, name in enumerate(sides.names):
        if not (code == at).any():
            text = "the fix leaves no image in it: all are linked with images of other splits"
            yield finding(
                "Q03", f"split {name}", text, item=name, severity="warning", hint="divide anew, by these groups"
            )


def _joined(number: int, links: list[Ints]) -> Ints:
    """Clusters by all links together; an image without any is its own."""
    pairs, offset = [], number
    for code in links:
        rows = np.flatnonzero(code >= 0)
        pairs.append((rows, offset + code[rows]))
        offset += int(code.max(initial=-1)) + 1
    if not pairs:
        return np.arange(number)
    a, b = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return components(number, a, b, offset - number)[:number]


def _without_roles(dataset: Dataset, gone: Bools) -> tuple[Dataset, Step, list[Finding]]:
    """Images leave the gallery; so do queries that nothing answers then."""
    ids = whole(dataset.table("images")["id"])
    left = ids.filter(pa.array(gone))
    members = dataset.table("members")
    searching = pc.is_in(plain(members["role"]), value_set=pa.array(["gallery", "distractor"]))
    members = members.filter(pc.invert(pc.and_(searching, pc.is_in(members["image_id"], value_set=left))))
    made = dataset.replace(members=members)
    findings = [
        finding("Q03", f"members, {name}", "dropped from the gallery", item=name, severity="info")
        for name in left.to_pylist()
    ]
    if not (has_role(made, "gallery") | has_role(made, "distractor")).any():
        raise SchemaError(f"dataset {dataset.info.name!r}", "the fix leaves no gallery", hint="choose other queries")
    made, lost = _answered(dataset, made)
    counts = {"images": int(gone.sum()), "queries": len(lost)}
    return made, Step(what="dropped from the gallery", counts=counts), [*findings, *lost]


def _answered(dataset: Dataset, made: Dataset) -> tuple[Dataset, list[Finding]]:
    """``made`` without the queries that the fix took every positive from."""
    was, now = relevance.overview(dataset), relevance.overview(made)
    had = was.filter(pc.greater(was["positive"], 0))["query_id"]
    lost = now.filter(pc.and_(pc.equal(now["positive"], 0), pc.is_in(now["query_id"], value_set=whole(had))))[
        "query_id"
    ]
    text = "no image of the gallery answers it; dropped"
    findings = [finding("Q02", f"query {name}", text, item=name, severity="warning") for name in lost.to_pylist()]
    return without_queries(made, lost), findings
