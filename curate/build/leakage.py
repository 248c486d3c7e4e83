"""Leaks: what stands on both sides of a benchmark, and how it is taken away.

Sides are the images that are shown (queries, support sets) against those that are searched (gallery, distractors); in
a dataset without such roles, its splits. Images of two sides are linked by one of:

* ``copy``: equal content (SHA-256); images without hash are counted as unproved;
* ``near``: near-duplicate pictures (``curate.build.near``), for which the image files are read;
* ``embedding``: vectors that are nearly the same (``curate.build.embeddings``), where somebody has made some;
* ``sequence``, ``place``: a shared group; images of unknown group are counted as unproved;
* ``instance``: one object of truth; between splits only, since a query is there to find its instance;
* ``time``: distractors that may be younger than what is searched for. A distractor must have been taken before the
  date, an instance have appeared on it or after. A date that is absent, or only as exact as the limit, proves nothing.

A fix takes linked images from the searched side (they lose their roles, and queries that nothing answers then go), or,
between splits, drops or moves all to the split that has most of them. Links are followed from image to image. A query
whose every positive is linked with its own image is named: it finds nothing but itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    near: Ints | None = None,
    embedding: Ints | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Dataset:
    """Look for leaks, and report, forbid or fix them; ``info.command.steps`` has the counts of each kind.

    Args:
        look: kinds to look for beside those that are forbidden; copies and sequences, where none is named.
        forbid: fail if any is found that the fix, if there is one, does not take away.
        fix: ``drop``, or between splits ``move``.
        before: ISO 8601 date for ``time``; the first ``exists_since`` of the instances where it is not given.
        near: per image the number of its near-duplicates' cluster (``curate.build.near.clusters``), -1 if unread;
            needed for ``near``.
        embedding: the same by vectors (``curate.build.embeddings.clusters``), needed for ``embedding``.
        made_by: options that made these clusters, for the lineage.

    Raises:
        UsageError: an unknown kind, ``move`` between query and gallery, ``near`` or ``embedding`` without clusters, no
            sides.
        SchemaError: what is forbidden is found; one line for each kind.
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
    sides = _sides(dataset)
    if fix == "move" and not sides.splits:
        raise UsageError("fix 'move'", "stands between queries and gallery", hint="use drop")
    links = {kind: _links(dataset, kind, sides, given.get(kind)) for kind in wanted if kind != "time"}
    leaks: dict[Kind, Bools] = {kind: _leaking(sides, code) for kind, code in links.items()}
    steps = [Step(what="input", counts={name: dataset.table(name).num_rows for name in ("images", "annotations")})]
    findings: list[Finding] = []
    for kind, code in links.items():
        steps.append(_step(kind, sides, code, leaks[kind]))
        findings += _found(dataset, kind, sides, code, leaks[kind], fix)
    if not sides.splits:
        findings += selfish_queries(dataset, links, _SHARED)
    young = np.zeros(dataset.table("images").num_rows, bool)
    too_old = 0
    if "time" in wanted:
        young, too_old, step, more = _time(dataset, before, fix)
        steps.append(step)
        findings += more
    # No fix makes an instance younger.
    left = {**{k: not fix and bool(v.any()) for k, v in leaks.items()}, "time": too_old or (not fix and young.any())}
    _refuse(dataset, [kind for kind in KINDS if kind in forbid and left.get(kind)], findings)
    made = dataset
    if fix:
        made, step, more = _fixed(dataset, sides, list(links.values()), leaks, young, fix)
        steps.append(step)
        findings += more
    options = {"look": wanted, "forbid": sorted(set(forbid)), "fix": fix, "before": before, **(made_by or {})}
    command = Command(verb=VERB, options={k: v for k, v in options.items() if v}, steps=tuple(steps))
    return made.replace(info=dataset.child(dataset.info.name, command=command), problems=findings)


class _Sides(NamedTuple):
    """The side of each image, -1 for none; between query and gallery 0 is what is shown, 1 what is searched."""

    names: list[str]
    code: Ints
    splits: bool


def _sides(dataset: Dataset) -> _Sides:
    ids = dataset.table("images")["id"]
    shown = has_role(dataset, "query") | has_role(dataset, "support")
    for table in ("queries", "support"):
        shown |= positions(ids, dataset.table(table)["image_id"]) >= 0
    searched = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    if searched.any():
        # An image on both sides is searched: it is the one to leave.
        return _Sides(["queries and support", "gallery"], np.where(searched, 1, np.where(shown, 0, -1)), False)
    split = plain(dataset.table("images")["split"])
    names = pc.unique(split).drop_null()
    if len(names) < 2:
        raise UsageError(
            f"dataset {dataset.info.name!r}",
            "has neither a gallery nor two splits",
            "expected sides that something could leak between",
            "build a split first (curate build split)",
        )
    names = names.take(pc.sort_indices(names))
    return _Sides(names.to_pylist(), positions(split, names), True)


def shown(dataset: Dataset) -> Bools | None:
    """The images that are shown and not searched; None in a dataset of splits, where any side may leak to any.

    Raises:
        UsageError: the dataset has no sides.
    """
    sides = _sides(dataset)
    return None if sides.splits else sides.code == 0


def _links(dataset: Dataset, kind: Kind, sides: _Sides, clusters: Ints | None) -> Ints:
    """For each image the number of what links it to others of its kind, -1 where that is not known."""
    if clusters is not None:
        return clusters
    if kind == "copy":
        hashes = plain(dataset.table("images")["sha256"])
        return positions(hashes, pc.unique(hashes).drop_null())
    if kind == "instance":
        return _by_instance(dataset, sides)
    groups = groups_of(dataset, "sequence" if kind == "sequence" else "place")
    return np.where(groups.known, groups.code, -1)


def _by_instance(dataset: Dataset, sides: _Sides) -> Ints:
    """Images linked by chains of instances: those of several link all that show any of these."""
    number = dataset.table("images").num_rows
    if not sides.splits:
        return np.full(number, -1)
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
    label = np.arange(number + more)
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


def _leaking(sides: _Sides, code: Ints) -> Bools:
    """The images whose link spans two sides."""
    there = np.flatnonzero((code >= 0) & (sides.code >= 0))
    number = int(code.max(initial=-1)) + 1
    low, high = np.full(number, np.iinfo(np.int64).max), np.full(number, -1)
    np.minimum.at(low, code[there], sides.code[there])
    np.maximum.at(high, code[there], sides.code[there])
    leaking = np.zeros(len(code), bool)
    leaking[there] = low[code[there]] < high[code[there]]
    return leaking


def _step(kind: Kind, sides: _Sides, code: Ints, leaking: Bools) -> Step:
    unknown = int(((code < 0) & (sides.code >= 0)).sum())
    proved = kind == "instance" or not unknown
    state = "found" if leaking.any() else "none" if proved else "unproved"
    counts = {"links": len(np.unique(code[leaking])), "images": int(leaking.sum())}
    counts |= {f"images in {name}": int((leaking & (sides.code == at)).sum()) for at, name in enumerate(sides.names)}
    counts |= {} if kind == "instance" else {"images of which it is not known": unknown}
    return Step(what=f"leaks by {kind}: {state}", counts=counts)


def _found(dataset: Dataset, kind: Kind, sides: _Sides, code: Ints, leaking: Bools, fix: Fix | None) -> list[Finding]:
    """One finding for each link that spans sides."""
    rows = np.flatnonzero(leaking)
    rows = rows[np.lexsort((rows, code[rows]))]
    starts = np.flatnonzero(np.diff(code[rows], prepend=-1))
    ids, findings = dataset.table("images")["id"], []
    for here in np.split(rows, starts[1:]) if len(rows) else []:
        _, first = np.unique(sides.code[here], return_index=True)
        listed = ", ".join(f"{ids[int(row)].as_py()} in {sides.names[sides.code[row]]}" for row in here[first])
        text = f"{len(here)} images that share {_SHARED[kind]} stand on {len(first)} sides: {listed}"
        where = ids[int(here[0])].as_py()
        severity: Literal["info", "warning"] = "info" if fix else "warning"
        findings.append(finding("Q03", f"images, {where}", text, item=where, severity=severity))
    return findings


def _time(dataset: Dataset, before: str | None, fix: Fix | None) -> tuple[Bools, int, Step, list[Finding]]:
    """The distractors that the date contradicts; those of no or too rough a date are counted."""
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
        if not date or (date[:shared] == limit[:shared] and len(date) < len(limit)):
            counts["unknown"] += 1
        elif date[:shared] >= limit[:shared]:
            counts["contradicted"] += 1
            young[row] = True
            name = ids[row].as_py()
            text = f"distractor of {date}; expected one from before {limit}"
            findings.append(finding("Q06", f"images, {name}", text, item=name, severity=severity))
        else:
            counts["proven" if evidence[row] == "proven" else "claimed"] += 1
    old = [name for name, date in _dates(dataset) if date and date[: len(limit)] < limit[: len(date)]]
    for name in old:
        text = f"instance that exists since before {limit}, when distractors were taken"
        findings.append(finding("Q06", f"instances, {name}", text, item=name, severity="warning"))
    state = "found" if young.any() or old else "unproved" if counts["unknown"] or counts["claimed"] else "none"
    counts = {f"distractors {name}": number for name, number in counts.items()}
    step = Step(what=f"leaks by time, {limit}: {state}", counts={**counts, "instances too old": len(old)})
    return young, len(old), step, findings


def _dates(dataset: Dataset) -> list[tuple[str, str | None]]:
    table = dataset.table("instances")
    return list(zip(table["id"].to_pylist(), table["exists_since"].to_pylist(), strict=True))


def _refuse(dataset: Dataset, found: list[Kind], findings: list[Finding]) -> None:
    if not found:
        return
    errors = []
    for kind in found:
        code = "Q06" if kind == "time" else "Q03"
        first = next(
            one for one in findings if one.code == code and (kind == "time" or f"share {_SHARED[kind]} " in one.message)
        )
        errors.append(
            SchemaError(
                f"dataset {dataset.info.name!r}", f"leaks by {kind}: {first.message}", "expected none", "use --fix"
            )
        )
    errors[0].also = tuple(errors[1:])
    raise errors[0]


def _fixed(
    dataset: Dataset, sides: _Sides, links: list[Ints], leaks: dict[Kind, Bools], young: Bools, fix: Fix
) -> tuple[Dataset, Step, list[Finding]]:
    if not sides.splits:
        gone = young.copy()
        for leaking in leaks.values():
            gone |= leaking & (sides.code == 1)
        return _without_roles(dataset, gone)
    linked = _joined(len(sides.code), links)
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
    if fix == "drop":
        kept = np.ones(len(ids), bool)
        kept[wrong] = False
        made = dataset.select_images(ids.filter(pa.array(kept)))
        return made, Step(what="dropped", counts={"images": len(wrong)}), findings
    code = sides.code.copy()
    code[wrong] = target
    at = images.schema.get_field_index("split")
    split = pa.DictionaryArray.from_arrays(pa.array(code, pa.int32(), mask=code < 0), pa.array(sides.names))
    made = dataset.replace(images=images.set_column(at, images.schema.field(at), split))
    return made, Step(what="moved", counts={"images": len(wrong)}), findings


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
    answered = relevance.overview(made)
    was = relevance.overview(dataset)
    lost = answered.filter(pc.and_(pc.equal(answered["positive"], 0), pc.greater(was["positive"], 0)))["query_id"]
    findings += [
        finding("Q02", f"query {name}", "no image of the gallery answers it; dropped", item=name, severity="warning")
        for name in lost.to_pylist()
    ]
    made = without_queries(made, lost)
    counts = {"images": int(gone.sum()), "queries": len(lost)}
    return made, Step(what="dropped from the gallery", counts=counts), findings
