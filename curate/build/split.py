"""A retrieval benchmark from annotations: which objects are queries, and which images are searched for them.

For each target (an instance or a class) queries are picked by a stated rule. The image of a query leaves the gallery,
and so do all images of its sequence or place, since neighbouring frames show the same scene. Every query keeps a
positive in the gallery: a candidate that would take the last one from any query is passed over for the next. That an
image of unknown sequence shares no scene with a query is unproved; such images are counted, and never called free of
leaks.

Rare targets choose first, each round gives every target one query, and ties go by id: the result depends on nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.candidates import Candidates, Kind, Picked, Rule, Target, Wanted, candidates_of, pick
from curate.build.groups import Group, Groups, groups_of
from curate.build.members import roles_of, searchable
from curate.build.unjudged import Unjudged, settle_unjudged, tell_unjudged
from curate.build.upkeep import without_queries
from curate.columns import distinct, plain, positions
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "build split query-gallery"


def build_split(
    dataset: Dataset,
    *,
    target: Target | None = None,
    queries_per: int | None = None,
    rule: Rule | None = None,
    kind: Kind | None = None,
    min_area: float | None = None,
    group: Group = "sequence",
    given: Sequence[str] = (),
    unjudged: Unjudged = "report",
    keep_members: bool = False,
) -> Dataset:
    """Choose queries and gallery: writes ``queries``, ``members``, the images' ``split`` and the relevance rule.

    Queries are annotations of status truth that are neither crowd nor ignore region, large enough (``min_area``), and
    of a class with the role benchmark (for instances: any but ignore). ``support`` and ``judgements`` of earlier
    queries go with them; images in support sets stay out of the gallery, distractors stay in.

    A dataset that has queries already keeps them, and its members, where nothing about choosing is asked: the result is
    checked, and queries that no gallery image answers are dropped.

    Args:
        target: what a query asks for; instances where the dataset has any, else classes.
        queries_per: queries per target, each from another image; 1.
        rule: ``largest`` (area of mask or box; the default), ``cleanest`` mask or ``first`` (by id) of the candidates
            (``curate.build.candidates``).
        kind: what of the image is the query: its box (the default), its mask or the whole image. Or ``text``: each
            target is asked for in words, by its definition or description, or else by its name; no image leaves.
        min_area: box area ``w * h`` in px² below which an annotation is no query and makes its image an ignored one;
            that of the dataset's relevance rule.
        group: what must not stand on both sides.
        given: ids of annotations: these become queries, all that leave every query a positive, and no others.
        unjudged: gallery images of which for some query nobody knows whether they answer it are counted for each query
            (``report``), passed over for that query (``ignore``), or leave the gallery for all (``drop``), with the
            queries that then have no positive (``curate.build.unjudged``). Distractors stay.
        keep_members: keep the queries and members that are there.

    Raises:
        UsageError: ``keep_members`` where there are no queries, or together with an option that chooses; options that
            do not go together; an unknown annotation is given.
        SchemaError: no target has a candidate with another image left to be found.
    """
    given = tuple(sorted(set(given)))
    options = {"target": target, "queries-per": queries_per, "rule": rule, "kind": kind, "min-area": min_area}
    chosen = {name: value for name, value in {**options, "queries": given or None}.items() if value is not None}
    has_queries = dataset.table("queries").num_rows > 0
    _check_options(chosen, keep_members, has_queries)
    if has_queries and not chosen:
        return _keep(dataset, group, unjudged)
    wanted = Wanted(
        target=target or _usual_target(dataset),
        queries_per=queries_per or max(1, len(given)),
        rule=rule or "largest",
        kind=kind or "box",
        min_area=dataset.info.relevance.min_area if min_area is None else min_area,
        group=group,
        given=given,
    )
    return _choose(dataset, wanted, unjudged)


def _check_options(chosen: Mapping[str, Any], keep_members: bool, has_queries: bool) -> None:
    """Options that go together, by their names on the command line."""
    if keep_members and chosen:
        raise UsageError("--keep-members", f"given together with --{next(iter(chosen))}", hint="leave one of them out")
    if keep_members and not has_queries:
        raise UsageError("--keep-members", "the dataset has no queries", hint="leave it out to choose some")
    if chosen.get("queries-per", 1) < 1:
        raise UsageError("--queries-per", f"is {chosen['queries-per']}", "expected at least 1")
    if not 0 <= chosen.get("min-area", 0) < np.inf:
        raise UsageError("--min-area", f"is {chosen['min-area']}", "expected an area in px²")
    for name in ("queries-per", "rule", "queries"):
        if chosen.get("kind") == "text" and name in chosen:
            raise UsageError("--kind text", f"given together with --{name}", "expected one text for each target")
    if "queries" in chosen and "queries-per" in chosen:
        raise UsageError("--queries", "given together with --queries-per", hint="leave one of them out")


def _usual_target(dataset: Dataset) -> Target:
    column = dataset.table("annotations")["instance"]
    return "instance" if column.null_count < len(column) else "category"


# ------------------------------------------------------------------------------------------------------ new queries


def _choose(dataset: Dataset, wanted: Wanted, unjudged: Unjudged) -> Dataset:
    rule = msgspec.structs.replace(dataset.info.relevance, target=wanted.target, min_area=wanted.min_area)
    groups = groups_of(dataset, wanted.group)
    searched = searchable(dataset)
    candidates = candidates_of(dataset, rule, wanted)
    if wanted.kind == "text":
        picked = _findable(candidates, groups, searched)
    else:
        picked = pick(candidates, groups.code, searched, wanted.queries_per)
    if not picked.number.any():
        raise _none_to_choose(dataset, candidates, wanted)
    names = [name for name, number in zip(candidates.names, picked.number, strict=True) if number]
    queries = _texts(dataset, names, wanted) if wanted.kind == "text" else _query_table(dataset, picked.rows, wanted)
    query_images = positions(queries["image_id"], dataset.table("images")["id"])
    query_images = query_images[query_images >= 0]
    gallery = searched & ~picked.gone[groups.code]
    split = dataset.replace(
        info=msgspec.structs.replace(dataset.info, relevance=rule),
        queries=queries,
        support=dataset.table("support").slice(0, 0),
        judgements=dataset.table("judgements").slice(0, 0),
        **roles_of(dataset, query_images, gallery),
    )
    if wanted.given:
        used = set(queries["annotation_id"].to_pylist())
        findings = [_not_taken(name) for name in wanted.given if name not in used]
    else:
        findings = _without_query(candidates, picked, groups, searched, wanted)
    step = _chosen_step(candidates, picked, queries.num_rows, wanted, len(findings))
    return _finished(dataset, split, _options(wanted), [step], groups, findings, unjudged)


def _none_to_choose(dataset: Dataset, candidates: Candidates, wanted: Wanted) -> SchemaError:
    masks = wanted.kind == "mask" or wanted.rule == "cleanest"
    if candidates.names and masks and not len(candidates.row):
        found, expected = "none of them has a mask", "expected annotations of truth with masks"
        hint = "make masks first (prelabel and review), or leave --kind mask and --rule cleanest out"
    else:
        found = f"{len(candidates.row):,} candidates"
        expected = "expected targets that are to be seen in several images, not all of one sequence or place"
        hint = "try another --target, --kind or --group, or a smaller --min-area"
    among = f"{len(candidates.names)} targets ({wanted.target})"
    return SchemaError(
        f"dataset {dataset.info.name!r}", f"no query can be chosen among {among}: {found}", expected, hint
    )


def _chosen_step(candidates: Candidates, picked: Picked, queries: int, wanted: Wanted, told: int) -> Step:
    """How many were chosen of how many."""
    counts = {
        "targets": len(candidates.names),
        "candidates": len(candidates.row),
        "queries": queries,
        "targets without query": int((picked.number == 0).sum()),
    }
    if wanted.given:
        counts["given and not taken"] = told
    elif wanted.queries_per > 1:
        fewer = (picked.number > 0) & (picked.number < wanted.queries_per)
        counts[f"targets with fewer than {wanted.queries_per}"] = int(fewer.sum())
    which = "given" if wanted.given else "text" if wanted.kind == "text" else f"{wanted.rule} {wanted.kind}"
    return Step(what=f"queries: {which} of each {wanted.target}", counts=counts)


def _options(wanted: Wanted) -> dict[str, Any]:
    """What was asked for, as the lineage has it."""
    options = {name.replace("_", "-"): value for name, value in wanted._asdict().items() if name != "given"}
    if wanted.given:
        del options["queries-per"]
        options["queries"] = list(wanted.given)
    return options


def _findable(candidates: Candidates, groups: Groups, searched: Bools) -> Picked:
    """All targets that the gallery shows; no image leaves it."""
    seen = candidates.seen_target[searched[candidates.seen_image]]
    number = np.minimum(np.bincount(seen, minlength=len(candidates.names)), 1)
    return Picked(np.zeros(0, np.int64), number, np.zeros(int(groups.code.max(initial=-1)) + 1, bool))


def _texts(dataset: Dataset, names: list[str], wanted: Wanted) -> pa.Table:
    """One query in words for each target: its definition or description, or else its name."""
    table, said = ("instances", "description") if wanted.target == "instance" else ("categories", "definition")
    known = dataset.table(table)
    at = positions(pa.array(names), known["id" if wanted.target == "instance" else "name"])
    words = plain(known[said]).take(pa.array(at, mask=at < 0))
    if wanted.target == "instance":  # better a class than a number
        words = pc.coalesce(words, plain(known["category"]).take(pa.array(at, mask=at < 0)))
    return pa.table(
        {
            "id": [f"t:{name}" for name in names],
            "kind": ["text"] * len(names),
            "group": names,
            "text": pc.coalesce(words, pa.array(names)),
            "image_id": pa.nulls(len(names), pa.string()),
            wanted.target: names,
        }
    )


def _not_taken(name: str) -> Finding:
    return finding(
        "Q02",
        f"annotation {name}",
        "was given and became no query: it is no candidate, or leaves itself or another query without positive",
        item=name,
        severity="warning",
    )


def _without_query(
    candidates: Candidates, picked: Picked, groups: Groups, searched: Bools, wanted: Wanted
) -> list[Finding]:
    """A finding for each target that got no query, with the reason."""
    total = len(candidates.names)
    rows = searched[candidates.seen_image] & (picked.number == 0)[candidates.seen_target]
    seen = distinct(candidates.seen_target[rows] * len(searched) + candidates.seen_image[rows])
    target, image = np.divmod(seen, max(len(searched), 1))
    images = np.bincount(target, minlength=total)
    codes = int(groups.code.max(initial=0)) + 1
    scenes = np.bincount(distinct(target * codes + groups.code[image]) // codes, minlength=total)
    tried = np.bincount(candidates.target, minlength=total)
    found = []
    for at in np.flatnonzero(picked.number == 0).tolist():
        if not images[at]:
            why = "no image that is searched shows it"
        elif not tried[at]:
            masks = "has a mask and " if wanted.kind == "mask" or wanted.rule == "cleanest" else ""
            why = f"none of its annotations {masks}may be a query"
        elif images[at] == 1:
            why = "only 1 image shows it, and nothing would be left to find"
        elif scenes[at] == 1:
            why = f"its {images[at]:,} images are all of one {wanted.group}, and nothing would be left to find"
        else:
            why = "every candidate would take the last positive from it or from another query"
        name = candidates.names[at]
        text = f"got no query: {why}"
        found.append(finding("Q02", f"{wanted.target} {name}", text, item=name, severity="warning"))
    return found


def _query_table(dataset: Dataset, rows: Ints, wanted: Wanted) -> pa.Table:
    annotations = dataset.table("annotations").take(pa.array(rows))
    columns = {
        "id": pc.binary_join_element_wise("q:", annotations["id"], ""),
        "kind": pa.repeat(pa.scalar(wanted.kind), len(rows)),
        "group": plain(annotations[wanted.target]),
        "image_id": annotations["image_id"],
        "annotation_id": annotations["id"],
        wanted.target: plain(annotations[wanted.target]),
    }
    if wanted.kind != "image":
        columns |= {side: annotations[side] for side in ("x", "y", "w", "h")}
    return pa.table(columns)


# ------------------------------------------------------------------------------------------------- queries that exist


def _keep(dataset: Dataset, group: Group, unjudged: Unjudged) -> Dataset:
    queries = dataset.table("queries")
    searched = relevance.searched(dataset)
    own = positions(queries["image_id"], dataset.table("images")["id"])
    roles = roles_of(dataset, own[own >= 0], searched)
    if dataset.table("members").num_rows:
        del roles["members"]
    split = dataset.replace(**roles)
    answered = relevance.overview(split)
    lost = answered.filter(pc.equal(answered["positive"], 0))["query_id"]
    if len(lost) == queries.num_rows:
        raise SchemaError(
            f"dataset {dataset.info.name!r}",
            f"none of its {len(lost)} queries has a positive in the gallery",
            f"expected images with truth of the same {dataset.info.relevance.target}, or judgements",
            "choose new queries, for example with --target category",
        )
    split = without_queries(split, lost)
    steps = [Step(what="queries kept", counts={"queries": queries.num_rows - len(lost), "without positive": len(lost)})]
    dropped = [
        finding("Q02", f"query {name}", "no image of the gallery answers it; dropped", item=name, severity="warning")
        for name in lost.to_pylist()
    ]
    options = {"keep-members": True, "group": group}
    return _finished(dataset, split, options, steps, groups_of(dataset, group), dropped, unjudged)


# -------------------------------------------------------------------------------------------------------------- shared


def _finished(
    dataset: Dataset,
    split: Dataset,
    options: dict[str, Any],
    steps: list[Step],
    groups: Groups,
    findings: list[Finding],
    unjudged: Unjudged,
) -> Dataset:
    """The split with its lineage: what is known of leaks, and what the gallery holds for the queries."""
    split, more, told = settle_unjudged(split, unjudged)
    steps, findings = [*steps, *more], [*findings, *told]
    options |= {} if unjudged == "report" else {"unjudged": unjudged}
    ids = split.table("images")["id"]
    query = positions(ids, split.table("queries")["image_id"]) >= 0
    gallery = relevance.searched(split)
    counts = {"query images": int(query.sum()), "gallery images": int(gallery.sum())}
    what = "leaks: sequences and places were not looked at"
    if groups.what != "none":
        of_query = np.zeros(int(groups.code.max(initial=-1)) + 1, bool)
        of_query[groups.code[query]] = True
        shared = int((gallery & ~query & of_query[groups.code]).sum())
        unknown = {side: int((of & ~groups.known).sum()) for side, of in (("query", query), ("gallery", gallery))}
        state = "found" if shared else "unproved" if any(unknown.values()) else "none"
        what = f"leaks by {groups.what}: {state}"
        counts |= {f"gallery images of a query's {groups.what}": shared}
        counts |= {f"{side} images of unknown {groups.what}": number for side, number in unknown.items()}
    answers = relevance.overview(split)
    findings = [*findings, *(tell_unjudged(answers) if unjudged == "report" else ())]
    pairs = {name: int(pc.sum(answers[name], min_count=0).as_py()) for name in answers.column_names[1:]}
    steps = [
        Step(what="input", counts={name: dataset.table(name).num_rows for name in ("images", "annotations")}),
        *steps,
        Step(what=what, counts=counts),
        Step(what="pairs of query and gallery image", counts=pairs),
    ]
    command = Command(verb=VERB, options=options, steps=tuple(steps))
    info = dataset.child(dataset.info.name, command=command, relevance=split.info.relevance)
    return split.replace(info=info, problems=findings)
