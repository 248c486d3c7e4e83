"""Support sets: for each class or instance a few examples, in pictures and in words, that stand in no scored gallery.

An example is the box of an annotation of truth that may be a query (``curate.build.candidates``). Of each target K are
chosen one after another: each from the source, then of the size (the smaller, middle or larger third of the target's
boxes) that has given fewest so far, then by the SHA-256 of seed and annotation; no two from one image.

Examples come from images that are not searched and share neither a group nor content (SHA-256) with one that is. What
is searched is the gallery of the dataset; in one without, all images but those of the splits that examples come from
(``from_splits``). Without these either, examples leave the gallery with their groups, as queries do, and every target
keeps an image to be found.

Where the dataset has queries, the examples become theirs; else each target gets a query of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.candidates import Candidates, Target, Wanted, candidates_of, pick
from curate.build.groups import Group, groups_of
from curate.build.members import has_role, roles_of
from curate.build.sampling import seeded_order
from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset, conform
from curate.errors import SchemaError, UsageError
from curate.model import Command, Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "build support"
_ORDERED = 8  # times K: so many candidates of a target are spread, the others follow by the seed


def build_support(
    dataset: Dataset,
    *,
    number: int = 5,
    target: Target | None = None,
    from_splits: str | Sequence[str] = (),
    group: Group = "sequence",
    min_area: float | None = None,
    templates: str | Sequence[str] = (),
    seed: str = "0",
) -> Dataset:
    """Write ``support``, the role support of its images, and queries where there are none.

    Args:
        number: examples of each target in pictures, K.
        target: what the examples are of; what the dataset's queries ask for, or instances where it has any.
        from_splits: examples come from these splits; in a dataset without gallery, the other images are searched.
        group: what must not stand in the support set and in the gallery.
        min_area: least ``w * h`` of an example, px²; that of the relevance rule.
        templates: texts such as ``a photo of a {}``, filled with the target's name; after its definition or description
            (or name, where there is neither).

    Raises:
        UsageError: an option is malformed, or a split is unknown.
        SchemaError: there is no example at all.
    """
    templates = [templates] if isinstance(templates, str) else list(templates)
    from_splits = [from_splits] if isinstance(from_splits, str) else sorted(set(from_splits))
    _check(dataset, number, from_splits, templates)
    instances = dataset.table("annotations")["instance"]
    if target is None and dataset.table("queries").num_rows:
        target = dataset.info.relevance.target
    target = target or ("instance" if instances.null_count < len(instances) else "category")
    least = dataset.info.relevance.min_area if min_area is None else min_area
    if not 0 <= least < np.inf:
        raise UsageError("--min-area", f"is {least}", "expected an area in px²")
    rule = msgspec.structs.replace(dataset.info.relevance, target=target)
    bare = _without_support(dataset.replace(info=msgspec.structs.replace(dataset.info, relevance=rule)))
    wanted = Wanted(target, number, "first", "box", least, group)
    found = candidates_of(bare, msgspec.structs.replace(rule, min_area=least), wanted)
    chosen, gallery, steps = _choose(bare, found, number, from_splits, group, seed)
    made, findings, counts = _with_support(bare, found, chosen, gallery, target, templates, number)
    steps = [
        Step(what="input", counts={name: dataset.table(name).num_rows for name in ("images", "annotations")}),
        *steps,
        Step(what=f"support: {number} of each {target}", counts=counts),
    ]
    options: dict[str, Any] = {"number": number, "target": target, "group": group, "min-area": least, "seed": seed}
    options |= {"from": from_splits} if from_splits else {}
    options |= {"template": templates} if templates else {}
    info = bare.child(dataset.info.name, command=Command(verb=VERB, options=options, steps=tuple(steps)))
    info = msgspec.structs.replace(info, parents=(dataset.as_parent(),))
    return made.replace(info=info, problems=findings)


def _check(dataset: Dataset, number: int, from_splits: list[str], templates: list[str]) -> None:
    if number < 1:
        raise UsageError("number of examples", f"is {number}", "expected at least 1")
    for text in templates:
        if text.count("{}") != 1 or "{" in text.replace("{}", "") or "}" in text.replace("{}", ""):
            raise UsageError(f"template {text!r}", "has not one {}", "expected for example 'a photo of a {}'")
    images = dataset.table("images")
    known = pc.unique(pc.coalesce(plain(images["split"]), plain(images["source_split"]))).drop_null().to_pylist()
    for name in from_splits:
        if name not in known:
            raise UsageError(f"split {name!r}", "is not in the dataset", f"expected one of {', '.join(sorted(known))}")


def _without_support(dataset: Dataset) -> Dataset:
    members = dataset.table("members")
    others = members.filter(pc.not_equal(plain(members["role"]), "support"))
    return dataset.replace(members=others, support=dataset.table("support").slice(0, 0))


class _Chosen(NamedTuple):
    """Examples in parallel, those of a target together in their order."""

    row: Ints
    target: Ints


def _choose(
    dataset: Dataset, found: Candidates, number: int, from_splits: list[str], group: Group, seed: str
) -> tuple[_Chosen, Bools, list[Step]]:
    """The examples, and which images are searched."""
    images, groups = dataset.table("images"), groups_of(dataset, group)
    searched = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    split = pc.coalesce(plain(images["split"]), plain(images["source_split"]))
    source_of = flags(pc.is_in(split, value_set=pa.array(from_splits, pa.string()))) | (not from_splits)
    queries = has_role(dataset, "query") | (positions(images["id"], dataset.table("queries")["image_id"]) >= 0)
    own_gallery = bool(searched.any())
    if not own_gallery:
        searched = ~queries if not from_splits else ~queries & ~source_of
    if not searched.any():
        raise SchemaError(
            f"dataset {dataset.info.name!r}",
            "no image is left to be searched",
            "expected images that are neither queries nor of the splits that examples come from",
            "name fewer splits with --from",
        )
    rank = np.empty(len(found.row), np.int64)
    rank[seeded_order(dataset.table("annotations")["id"].take(pa.array(found.row)), seed)] = np.arange(len(found.row))
    free = source_of & ~queries
    steps = []
    if own_gallery or from_splits:
        beside = np.zeros(int(groups.code.max(initial=-1)) + 1, bool)
        beside[groups.code[searched]] = True
        copies = plain(images["sha256"])
        copied = flags(
            pc.is_in(copies, value_set=whole(copies.filter(pa.array(searched))).drop_null(), skip_nulls=True)
        )
        fit = free & ~searched & ~beside[groups.code] & ~copied
        barred = {"images to choose from": int(fit.sum())}
        barred[f"images left out that share a {group} with the gallery"] = int(
            (free & ~searched & beside[groups.code]).sum()
        )
        barred["images left out that are copies of searched ones"] = int((free & ~searched & copied).sum())
        barred[f"images of unknown {group}"] = int((fit & ~groups.known).sum())
        steps.append(Step(what="examples stand outside of the gallery", counts=barred))
        order = _spread(dataset, found, fit, rank, number)
        order = _first_images(found, order, number)
    else:
        contents = plain(images["sha256"]).combine_chunks().value_counts()
        twice = contents.field("values").filter(pc.greater(contents.field("counts"), 1)).drop_null()
        free &= ~flags(pc.is_in(plain(images["sha256"]), value_set=twice, skip_nulls=True))
        order = _spread(dataset, found, free, rank, number)
        spread = found._replace(row=found.row[order], image=found.image[order], target=found.target[order])
        picked = pick(spread, groups.code, searched, number)
        searched = searched & ~picked.gone[groups.code]
        order = order[np.isin(found.row[order], picked.rows)]
        left = {"images left in the gallery": int(searched.sum())}
        steps.append(Step(what=f"examples leave the gallery with their {group}", counts=left))
    return _Chosen(found.row[order], found.target[order]), searched, steps


def _spread(dataset: Dataset, found: Candidates, fit: Bools, rank: Ints, number: int) -> Ints:
    """Candidates of each target, in the order that spreads them over sources and sizes, of images that ``fit``."""
    rows = np.flatnonzero(fit[found.image])
    annotations = dataset.table("annotations").select(["w", "h"]).take(pa.array(found.row[rows]))
    area = (annotations["w"].to_numpy() * annotations["h"].to_numpy()) if len(rows) else np.zeros(0)
    source = plain(dataset.table("images")["source"]).take(pa.array(found.image[rows]))
    code = positions(source, pc.unique(source))
    rows_by_target = np.lexsort((rank[rows], area, found.target[rows]))
    target = found.target[rows][rows_by_target]
    start = np.searchsorted(target, np.arange(len(found.names) + 1))
    ordered = []
    for begin, end in zip(start[:-1].tolist(), start[1:].tolist(), strict=True):
        here = rows_by_target[begin:end]
        third = np.arange(end - begin) * 3 // max(end - begin, 1)
        by_seed = np.argsort(rank[rows[here]])
        here, third = here[by_seed], third[by_seed]
        ordered.append(rows[here[_turns(code[here], third, _ORDERED * number)]])
    found_rows: Ints = np.concatenate([*ordered, np.zeros(0, np.int64)])
    return found_rows


def _turns(source: Ints, third: Ints, number: int) -> Ints:
    """The places of candidates, given in the seed's order: the first ``number`` in turns, then the others."""
    waiting: dict[tuple[int, int], list[int]] = {}
    for place, key in enumerate(zip(source.tolist(), third.tolist(), strict=True)):
        waiting.setdefault(key, []).append(place)
    used: dict[tuple[str, int], int] = {}
    taken: list[int] = []
    heads = dict.fromkeys(waiting, 0)
    while heads and len(taken) < number:
        key = min(
            heads,
            key=lambda one: (used.get(("source", one[0]), 0), used.get(("size", one[1]), 0), waiting[one][heads[one]]),
        )
        taken.append(waiting[key][heads[key]])
        used["source", key[0]] = used.get(("source", key[0]), 0) + 1
        used["size", key[1]] = used.get(("size", key[1]), 0) + 1
        heads[key] += 1
        if heads[key] == len(waiting[key]):
            del heads[key]
    rest = np.delete(np.arange(len(source)), taken)
    return np.concatenate([np.array(taken, np.int64), rest])


def _first_images(found: Candidates, order: Ints, number: int) -> Ints:
    """Of each target the first ``number`` of different images."""
    images = int(found.image.max(initial=0)) + 1
    pair = found.target[order] * images + found.image[order]
    _, first = np.unique(pair, return_index=True)
    order = order[np.sort(first)]
    target = found.target[order]
    place = np.arange(len(order)) - np.searchsorted(target, target)
    chosen: Ints = order[place < number]
    return chosen


def _with_support(
    dataset: Dataset,
    found: Candidates,
    chosen: _Chosen,
    gallery: Bools,
    target: Target,
    templates: list[str],
    number: int,
) -> tuple[Dataset, list[Finding], dict[str, int]]:
    if not len(chosen.row):
        raise SchemaError(
            f"dataset {dataset.info.name!r}",
            f"there is no example for any of {len(found.names)} targets ({target})",
            "expected boxes of truth in images that are not searched, nor share a sequence or place with one that is",
            "name the splits that examples come from (--from train), or try another --group",
        )
    examples = dataset.table("annotations").take(pa.array(chosen.row))
    per_target = np.bincount(chosen.target, minlength=len(found.names))
    named = [name for name, count in zip(found.names, per_target.tolist(), strict=True) if count]
    if not dataset.table("queries").num_rows:
        dataset = dataset.replace(queries=_queries(named, target))
    asked = relevance.targets(dataset)
    words = _words(dataset, found.names, target, templates)
    start = np.searchsorted(chosen.target, np.arange(len(found.names) + 1)).tolist()
    which: list[int | None] = []
    texts: list[str | None] = []
    query_ids, ranks = [], []
    at = positions(asked["target"], pa.array(found.names, pa.string())).tolist()
    for query, place in zip(asked["query_id"].to_pylist(), at, strict=True):
        if place < 0:
            continue
        entries: list[tuple[int | None, str | None]] = [(row, None) for row in range(start[place], start[place + 1])]
        entries += [(None, text) for text in words[place]] if entries else []
        for rank, (row, text) in enumerate(entries):
            which.append(row)
            query_ids.append(query)
            ranks.append(rank)
            texts.append(text)
    rows = pa.array(which, pa.int64())
    support = {name: examples[name].take(rows) for name in ("image_id", "x", "y", "w", "h")}
    support |= {"annotation_id": examples["id"].take(rows), "query_id": query_ids, "rank": pa.array(ranks, pa.int32())}
    ids = dataset.table("images")["id"]
    own = positions(dataset.table("queries")["image_id"], ids)
    made = dataset.replace(support=pa.table({**support, "text": pa.array(texts, pa.string())}))
    used = positions(pc.unique(examples["image_id"]), ids)
    members = pa.table({"image_id": ids.take(pa.array(used)), "role": ["support"] * len(used)})
    roles = [roles_of(dataset, own[own >= 0], gallery)["members"], members]
    members = pa.concat_tables([conform("members", part) for part in roles]).unify_dictionaries()
    images = _support_split(made, used)
    counts = {
        "targets": len(found.names),
        "targets with examples": len(named),
        "images": len(used),
        "pictures": int(per_target.sum()),
        "sources": len(pc.unique(plain(dataset.table("images")["source"]).take(pa.array(used)))),
        "texts": len(texts) - texts.count(None),
    }
    few = [(name, count) for name, count in zip(found.names, per_target.tolist(), strict=True) if count < number]
    findings = [
        finding("Q12", f"{target} {name}", f"has {count} examples that may be shown; expected {number}", item=name)
        for name, count in few
    ]
    return made.replace(members=members, images=images), findings, counts


def _support_split(dataset: Dataset, used: Ints) -> pa.Table:
    """The images, with the split support for those whose split is none yet."""
    images = dataset.table("images")
    example = np.zeros(images.num_rows, bool)
    example[used] = True
    split = pc.if_else(pc.and_(pa.array(example), pc.is_null(images["split"])), "support", plain(images["split"]))
    at = images.schema.get_field_index("split")
    return images.set_column(at, images.schema.field(at), whole(split).dictionary_encode())


def _queries(names: list[str], target: Target) -> pa.Table:
    empty = pa.nulls(len(names), pa.string())
    return pa.table(
        {
            "id": [f"s:{name}" for name in names],
            "kind": ["box"] * len(names),
            "group": names,
            "image_id": empty,
            target: names,
        }
    )


def _words(dataset: Dataset, names: list[str], target: Target, templates: list[str]) -> list[list[str]]:
    """For each target what it is, and the templates filled with its name (of an instance: its class's)."""
    table, key, said = (
        ("instances", "id", "description") if target == "instance" else ("categories", "name", "definition")
    )
    known = dataset.table(table)
    at = positions(pa.array(names, pa.string()), known[key])
    rows = pa.array(at, mask=at < 0)
    called = (
        pc.coalesce(whole(known["category"]).take(rows), pa.array(names)).to_pylist() if target == "instance" else names
    )
    told = whole(known[said]).take(rows).to_pylist()
    return [
        list(dict.fromkeys([text or name, *(one.replace("{}", name) for one in templates)]))
        for text, name in zip(told, called, strict=True)
    ]
