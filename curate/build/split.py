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

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.upkeep import without_queries
from curate.dataset import Dataset, flags, plain, positions
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, RelevanceRule, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "build split query-gallery"
Target = Literal["instance", "category"]
Rule = Literal["largest", "first"]
Kind = Literal["box", "mask", "image"]
Group = Literal["sequence", "place", "none"]


def build_split(
    dataset: Dataset,
    *,
    target: Target | None = None,
    queries_per: int | None = None,
    rule: Rule | None = None,
    kind: Kind | None = None,
    min_area: float | None = None,
    group: Group = "sequence",
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
        rule: ``largest`` (area of mask or box; the default) or ``first`` (by id) of the candidates.
        kind: what of the image is the query: its box (the default), its mask or the whole image.
        min_area: box area ``w * h`` in px² below which an annotation is no query and makes its image an ignored one;
            that of the dataset's relevance rule.
        group: what must not stand on both sides.
        keep_members: keep the queries and members that are there.

    Raises:
        UsageError: ``keep_members`` where there are no queries, or together with an option that chooses.
        SchemaError: no target has a candidate with another image left to be found.
    """
    chosen = {"target": target, "queries-per": queries_per, "rule": rule, "kind": kind, "min-area": min_area}
    asked = [name for name, value in chosen.items() if value is not None]
    has_queries = dataset.table("queries").num_rows > 0
    if keep_members and asked:
        raise UsageError("--keep-members", f"given together with --{asked[0]}", hint="leave one of them out")
    if keep_members and not has_queries:
        raise UsageError("--keep-members", "the dataset has no queries", hint="leave it out to choose some")
    if has_queries and not asked:
        return _keep(dataset, group)
    if queries_per is not None and queries_per < 1:
        raise UsageError("--queries-per", f"is {queries_per}", "expected at least 1")
    wanted = _Wanted(
        target=target or _usual_target(dataset),
        queries_per=queries_per or 1,
        rule=rule or "largest",
        kind=kind or "box",
        min_area=dataset.info.relevance.min_area if min_area is None else min_area,
        group=group,
    )
    return _choose(dataset, wanted)


class _Wanted(NamedTuple):
    target: Target
    queries_per: int
    rule: Rule
    kind: Kind
    min_area: float
    group: Group


def _usual_target(dataset: Dataset) -> Target:
    column = dataset.table("annotations")["instance"]
    return "instance" if column.null_count < len(column) else "category"


# ------------------------------------------------------------------------------------------------------ new queries


def _choose(dataset: Dataset, wanted: _Wanted) -> Dataset:
    rule = msgspec.structs.replace(dataset.info.relevance, target=wanted.target, min_area=wanted.min_area)
    groups = _groups(dataset, wanted.group)
    searched = _searchable(dataset)
    candidates = _candidates(dataset, rule, wanted)
    picked = _pick(candidates, groups.code, searched, wanted.queries_per)
    if not len(picked.rows):
        raise SchemaError(
            f"dataset {dataset.info.name!r}",
            f"no query can be chosen among {len(candidates.names)} targets ({wanted.target})",
            "expected targets that are to be seen in several images, not all of one sequence or place",
            "try another --target, --kind or --group, or a smaller --min-area",
        )
    queries = _query_table(dataset, picked.rows, wanted)
    query_images = positions(queries["image_id"], dataset.table("images")["id"])
    gallery = searched & ~picked.gone[groups.code]
    split = dataset.replace(
        info=msgspec.structs.replace(dataset.info, relevance=rule),
        queries=queries,
        support=dataset.table("support").slice(0, 0),
        judgements=dataset.table("judgements").slice(0, 0),
        **_roles(dataset, query_images, gallery),
    )
    without = [name for name, number in zip(candidates.names, picked.number, strict=True) if not number]
    counts = {
        "targets": len(candidates.names),
        "candidates": len(candidates.row),
        "queries": len(picked.rows),
        "targets without query": len(without),
    }
    if wanted.queries_per > 1:
        fewer = (picked.number > 0) & (picked.number < wanted.queries_per)
        counts[f"targets with fewer than {wanted.queries_per}"] = int(fewer.sum())
    steps = [Step(what=f"queries: {wanted.rule} {wanted.kind} of each {wanted.target}", counts=counts)]
    options = {name.replace("_", "-"): value for name, value in wanted._asdict().items()}
    return _finished(dataset, split, options, steps, groups, [_no_query(wanted.target, name) for name in without])


def _no_query(target: str, name: str) -> Finding:
    return finding(
        "Q02",
        f"{target} {name}",
        "got no query: no candidate leaves a positive in the gallery for it and for every other query",
        item=name,
        severity="warning",
    )


class _Candidates(NamedTuple):
    """What may become a query and what answers one, as parallel arrays; targets are numbers, in the order of names."""

    names: list[str]
    row: Ints  # candidates, of each target the best first: rows of the table annotations
    image: Ints
    target: Ints
    seen_image: Ints  # positives
    seen_target: Ints


def _candidates(dataset: Dataset, rule: RelevanceRule, wanted: _Wanted) -> _Candidates:
    annotations, categories = dataset.table("annotations"), dataset.table("categories")
    found = relevance.evidence(dataset, rule)
    found = found.filter(found["positive"])
    fit = annotations.select(["category", "x", "area", "segmentation", "polygons"]).take(found["row"])
    roles = ("benchmark",) if wanted.target == "category" else ("benchmark", "other")
    named = categories.filter(pc.is_in(plain(categories["role"]), value_set=pa.array(roles)))["name"].combine_chunks()
    category = plain(fit["category"])
    asked = flags(pc.or_(pc.is_in(category, value_set=named), pc.is_null(category)))
    masked = flags(pc.or_(pc.is_valid(fit["segmentation"]), pc.is_valid(fit["polygons"])))
    image = found["image"].to_numpy()
    fits = asked & ~(_has_role(dataset, "support") | _has_role(dataset, "distractor"))[image]
    if wanted.kind != "image":
        fits &= masked if wanted.kind == "mask" else flags(pc.is_valid(fit["x"]))

    names = pc.unique(found["target"].filter(pa.array(asked)))
    names = names.take(pc.sort_indices(names))
    target, row = positions(found["target"], names), found["row"].to_numpy()
    area = np.where(masked, pc.fill_null(fit["area"], np.nan).to_numpy(), np.nan)
    area = np.where(np.isnan(area), found["size"].to_numpy(), area)
    order = np.lexsort((row, -area, target)) if wanted.rule == "largest" else np.lexsort((row, image, target))
    order = order[fits[order]]
    seen = target >= 0
    return _Candidates(names.to_pylist(), row[order], image[order], target[order], image[seen], target[seen])


class _Picked(NamedTuple):
    rows: Ints  # of the table annotations, sorted
    number: Ints  # of queries, per target
    gone: Bools  # per group: whether it left the gallery


def _pick(candidates: _Candidates, group: Ints, searched: Bools, queries_per: int) -> _Picked:
    """Pick queries greedily; ``group`` and ``searched`` are per image.

    Costs time by the candidates tried, each with the targets in its group.
    """
    total = len(candidates.names)
    # What a group takes with it when it leaves: for each target, the gallery images that show it.
    seen = np.unique(candidates.seen_image * total + candidates.seen_target)
    seen = seen[searched[seen // total]]
    share, shown = np.unique(group[seen // total] * total + seen % total, return_counts=True)
    first_share = np.searchsorted(share // total, np.arange(group.max(initial=-1) + 2)).tolist()
    share_target, share_images = (share % total).tolist(), shown.tolist()
    left = np.bincount(seen % total, minlength=total)

    first = np.searchsorted(candidates.target, np.arange(total + 1)).tolist()
    turn = first[:-1].copy()
    group_of, image_of = group[candidates.image].tolist(), candidates.image.tolist()
    order = np.lexsort((np.arange(total), left)).tolist()
    left, gone, number = left.tolist(), [False] * (len(first_share) - 1), [0] * total
    used: set[tuple[int, int]] = set()
    rows = []

    def bearable(target: int, leaving: range) -> bool:
        return left[target] > 0 and all(
            left[share_target[k]] > share_images[k]
            for k in leaving
            if share_target[k] == target or number[share_target[k]]
        )

    for _ in range(queries_per):
        for target in order:
            while turn[target] < first[target + 1]:
                i = turn[target]
                turn[target] += 1
                where = group_of[i]
                leaving = range(0) if gone[where] else range(first_share[where], first_share[where + 1])
                if (target, image_of[i]) in used or not bearable(target, leaving):
                    continue
                for k in leaving:
                    left[share_target[k]] -= share_images[k]
                gone[where] = True
                number[target] += 1
                used.add((target, image_of[i]))
                rows.append(candidates.row[i])
                break
    return _Picked(np.sort(np.array(rows, np.int64)), np.array(number, np.int64), np.array(gone, bool))


def _query_table(dataset: Dataset, rows: Ints, wanted: _Wanted) -> pa.Table:
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


def _keep(dataset: Dataset, group: Group) -> Dataset:
    queries = dataset.table("queries")
    searched = positions(dataset.table("images")["id"], relevance.gallery(dataset)) >= 0
    own = positions(queries["image_id"], dataset.table("images")["id"])
    roles = _roles(dataset, own[own >= 0], searched)
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
    return _finished(dataset, split, {"keep-members": True, "group": group}, steps, _groups(dataset, group), dropped)


# -------------------------------------------------------------------------------------------------------------- shared


class _Groups(NamedTuple):
    """Images that may show one scene."""

    what: Group
    code: Ints  # per image
    known: Bools  # per image; an image of an unknown group has a code of its own


def _groups(dataset: Dataset, what: Group) -> _Groups:
    images = dataset.table("images")
    alone = np.arange(images.num_rows)
    if what == "none":
        return _Groups(what, alone, np.zeros(len(alone), bool))
    name = plain(images[what])
    if what == "sequence":  # sources may give one name to different drives; a place is one place
        name = pc.binary_join_element_wise(plain(images["source"]), name, "\0")
    encoded = pc.unique(name).drop_null()
    code = positions(name, encoded)
    return _Groups(what, np.where(code >= 0, code, len(encoded) + alone), code >= 0)


def _searchable(dataset: Dataset) -> Bools:
    """The images that a gallery may hold: those with a role in the present one, or all; but never support images."""
    support = positions(dataset.table("images")["id"], dataset.table("support")["image_id"]) >= 0
    support |= _has_role(dataset, "support")
    members = _has_role(dataset, "gallery") | _has_role(dataset, "distractor")
    if members.any():
        return (members | _has_role(dataset, "query")) & ~support
    searchable: Bools = ~support
    return searchable


def _has_role(dataset: Dataset, role: str) -> Bools:
    members = dataset.table("members")
    having = members.filter(pc.equal(plain(members["role"]), role))["image_id"]
    has: Bools = positions(dataset.table("images")["id"], having) >= 0
    return has


def _roles(dataset: Dataset, query_images: Ints, gallery: Bools) -> dict[str, pa.Table]:
    """The tables members and images (their column split), for the positions of query images and the gallery."""
    images = dataset.table("images")
    distractor = _has_role(dataset, "distractor") & gallery
    is_query = np.zeros(images.num_rows, bool)
    is_query[query_images] = True
    support = _has_role(dataset, "support")
    parts = {"query": is_query, "gallery": gallery & ~distractor, "distractor": distractor, "support": support}
    members = pa.concat_tables(
        pa.table({"image_id": images["id"].filter(pa.array(mask)), "role": pa.repeat(pa.scalar(role), int(mask.sum()))})
        for role, mask in parts.items()
    )
    code = np.where(is_query, 1, 0)
    unused = ~is_query & ~gallery
    split = pa.DictionaryArray.from_arrays(pa.array(code, pa.int32(), mask=unused), pa.array(["gallery", "query"]))
    at = images.schema.get_field_index("split")
    return {"members": members, "images": images.set_column(at, images.schema.field(at), split)}


def _finished(
    dataset: Dataset,
    split: Dataset,
    options: dict[str, Any],
    steps: list[Step],
    groups: _Groups,
    findings: Sequence[Finding],
) -> Dataset:
    """The split with its lineage: what is known of leaks, and what the gallery holds for the queries."""
    ids = split.table("images")["id"]
    query = positions(ids, split.table("queries")["image_id"]) >= 0
    gallery = positions(ids, relevance.gallery(split)) >= 0
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
