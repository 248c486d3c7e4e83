"""How leaks are taken away: images leave the gallery, or are dropped from their split or moved to another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import relevance
from curate.build.members import has_role
from curate.build.sides import Sides, components, leaking_between, linked_with_another
from curate.build.upkeep import without_queries
from curate.columns import flags, plain, whole
from curate.dataset import Dataset
from curate.errors import SchemaError
from curate.model import Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Fix = Literal["drop", "move"]


def fixed(
    dataset: Dataset, sides: Sides, links: list[Ints], young: Bools, fix: Fix
) -> tuple[Dataset, list[Step], list[Finding]]:
    """The dataset without its leaks, the steps, and what was dropped or moved.

    Args:
        links: for each kind that was looked at, per image the number of what links it to others; -1 where unknown.
        young: distractors that the date contradicts.
    """
    if not sides.splits:
        gone = young.copy()
        for code in links:
            gone |= sides.on(1) & linked_with_another(sides.on(0), code)
        made, step, findings = _without_roles(dataset, gone)
        return made, [step], findings
    linked = _joined(len(sides.code), links)
    spanning = np.flatnonzero(leaking_between(sides, linked))
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


def _emptied(sides: Sides, code: Ints) -> Iterator[Finding]:
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
