"""Accepted work becomes truth: rows with origin, round, annotators and votes, and coverage of who looked where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import geometry
from curate.columns import plain
from curate.dataset import Dataset, conform, json_text, table_of
from curate.errors import ReviewError
from curate.model import Annotation, Command, Coverage, Step
from curate.review import agreement, audit, consensus, measures, pairs, report
from curate.review.folder import Review
from curate.review.log import Event
from curate.review.outlines import mask_of
from curate.review.plan import Item
from curate.review.state import Standing


class Finished(NamedTuple):
    dataset: Dataset
    accepted: int  # items
    truth: int  # rows that are truth by this review
    rejected: int  # rows that are no longer
    ties: int  # objects that the people did not agree on; they stay proposals
    left: int  # items that are not accepted: their rows stay as they were
    lot: int  # rows that nobody looked at, and that are truth since their lot was accepted
    figures: tuple[str, ...]  # what the lineage says of agreement, of lots and of the audit


def finish(dataset: Dataset, review: Review, classes: Sequence[str], *, name: str, lot: bool = False) -> Finished:
    """The dataset with the accepted items' rows in place of what was shown; everything else stays as it was.

    With ``lot`` also the pre-labels of items that no round took become truth. What the review's figures are stands in
    the lineage: a step each for the agreement of a round, for what one changed of what it was shown, for a lot, and for
    the audit of a class; and what a review of query groups claims.

    Raises:
        ReviewError: ``lot``, and no inspected sample was good enough for its rule.
    """
    state = review.state
    lots = [one for one in report.changes(review.plan, state) if one.decision]
    if lot and not (lots and all(one.decision == "accept" for one in lots)):
        raise ReviewError(review.folder, "no lot was accepted", hint="see 'curate review status'")
    parents = {row.id: row.parent_id for event in review.events for row in event.objects}
    there = set(plain(dataset.table("annotations")["id"]).to_pylist())
    items = {item.id: item for item in review.items}
    shown = _shown(review.events)
    rows: dict[str, Annotation] = {}
    gone: set[str] = set()
    ties = 0
    coverage: list[Coverage] = []
    outlined: list[pairs.Pair] = []
    accepted = {item: standing for item, standing in state.items.items() if standing.status == "accepted"}
    for item, standing in accepted.items():
        about = items[item]
        group = about.target if review.plan.unit == "group" else None
        made, undecided, doubtful = _result(standing, group, (about.width, about.height), there)
        ties += len(undecided)
        for row in [*made, *undecided]:
            parent = _ancestor(row.parent_id, parents, there)
            rows[row.id] = msgspec.structs.replace(row, parent_id=parent if parent != row.id else None)
        gone |= (shown[item] & there) - _kept(made, undecided)
        if group is not None:
            outlined.append(_pair(about, standing, made))
        else:
            target = items[item].target
            names = [target] if target else list(classes)
            coverage += [_looked(items[item].image_id, one, standing, one in doubtful) for one in names]
    unseen: set[str] = set()
    if lot:
        untouched = {items[item].image_id for item, one in state.items.items() if one.status == "untouched"}
        unseen, replaced = _unseen(dataset, untouched, classes)
        gone |= replaced
    table, changed = _annotations(dataset, rows, gone, unseen)
    judgements, claimed = pairs.judgements(dataset, outlined)
    coverage += pairs.looked(dataset, outlined)
    steps = (*_steps(review, lots), *claimed)
    command = Command(
        verb="review finish", options={"review": review.about.id} | ({"lot": True} if lot else {}), steps=steps
    )
    info = dataset.child(name, command=command)
    truth = sum(row.status == "truth" for row in rows.values())
    done = dataset.replace(info=info, annotations=table, coverage=_coverage(dataset, coverage), judgements=judgements)
    left = sum(standing.status not in ("accepted", "untouched") for standing in state.items.values())
    if not lot:
        left = len(state.items) - len(accepted)
    figures = tuple(step.what for step in steps)
    return Finished(done, len(accepted), truth, changed, ties, left, len(unseen), figures)


def _steps(review: Review, lots: Sequence[report.Change]) -> tuple[Step, ...]:
    """What is known of the quality of the work, for the lineage."""
    steps = []
    for one in measures.agreements(review.plan, review.state, review.items):
        counts = {"people": len(one.people), "images": one.images, "objects": one.units}
        steps.append(Step(what=one.line, counts=counts))
    for change in report.changes(review.plan, review.state):
        if change.objects and not change.decision:  # of a lot more is said
            counts = {"objects": change.objects, "changed": change.changed}
            counts |= {"added": change.added, "deleted": change.deleted}
            steps.append(Step(what=change.changed_line, counts=counts))
    steps += [Step(what=one.line, counts={"objects": one.objects, "defects": one.defects}) for one in lots]
    for rate in audit.rates(review.plan, review.state, review.items, review.about.negatives):
        counts = {"presumed negatives": rate.negatives, "looked at": rate.looked, "missed": rate.missed}
        if rate.ranked:
            counts |= {"highest ranked looked at": rate.ranked, "missed among these": rate.found}
        steps.append(Step(what=rate.line, counts=counts))
    return tuple(steps)


def _unseen(dataset: Dataset, images: set[str], classes: Sequence[str]) -> tuple[set[str], set[str]]:
    """The proposals of ``images`` and ``classes`` that no other refines, and the rows that these refine."""
    table = dataset.table("annotations")
    held = pc.and_(pc.is_in(plain(table["image_id"]), value_set=_strings(images)), pc.is_valid(table["x"]))
    held = pc.and_(held, pc.is_in(plain(table["category"]), value_set=_strings(classes)))
    proposals = table.filter(pc.and_(held, pc.equal(plain(table["status"]), "proposal")))
    refined = set(plain(proposals["parent_id"]).to_pylist()) - {None}
    return set(plain(proposals["id"]).to_pylist()) - refined, refined


def _result(
    standing: Standing, group: str | None, size: tuple[int, int], there: set[str]
) -> tuple[list[Annotation], list[Annotation], set[str]]:
    """The rows of an accepted item, what stayed undecided, and the classes in doubt by that."""
    if len(standing.results) == 1:
        event = standing.results[0]
        about: dict[str, Any] = {"people": [event.person], "verdict": event.verdict, "group": group}
        return [_row(row, about, event) for row in event.objects], [], set()
    made, undecided, doubtful = [], [], set[str]()
    results = sorted(standing.results, key=lambda event: event.person or "")
    flat = [list(event.objects) for event in results]
    seen = [[report.seen_of(row) for row in rows] for rows in flat]
    for unit in agreement.cluster_places(seen):
        agreed = consensus.agreed([None if k is None else mine[k] for mine, k in zip(seen, unit, strict=True)])
        voters = [rows[k] for rows, k in zip(flat, unit, strict=True) if k is not None]
        if not agreed.kept and agreed.tie is None:
            continue
        about = {
            "people": [event.person for event, k in zip(results, unit, strict=True) if k is not None],
            "votes": agreed.votes,
            "voters": agreed.voters,
            "iou": agreed.iou,
            "tie": agreed.tie,
            "method": "majority, median box",
            "group": group,
        }
        row = _row(_merged(voters, agreed, size, there), about, results[0])
        if agreed.tie:
            undecided.append(msgspec.structs.replace(row, status="proposal"))
            doubtful |= {voter.category for voter in voters if voter.category}
        else:
            made.append(row)
    return made, undecided, doubtful


def _merged(
    voters: Sequence[Annotation], agreed: consensus.Agreed, size: tuple[int, int], there: set[str]
) -> Annotation:
    """One row of several: median box, majority of masks (polygons are painted) where all have one.

    A row of the dataset stays itself where the people end with just what it says. Anything else is a row of its own
    that refines it, whoever of them came first.
    """
    first = min(voters, key=lambda row: (row.id in there, row.id))
    masks = [mask for row in voters if (mask := mask_of(row, size)) is not None]
    x, y, w, h = agreed.box or (first.x, first.y, first.w, first.h)
    area, segmentation = (w or 0.0) * (h or 0.0), None
    if len(masks) == len(voters):
        painted = consensus.majority_mask([geometry.mask_from_rle(mask).astype(bool) for mask in masks])
        if painted.any():
            segmentation = geometry.rle_from_mask(painted)
            x, y, w, h = geometry.rle_bounds(segmentation)
            area = float(np.count_nonzero(painted))
    category = agreed.label or first.category
    for row in voters:
        same = mask_of(row, size) == segmentation if segmentation else (row.x, row.y, row.w, row.h) == (x, y, w, h)
        if row.id in there and row.category == category and same:
            return row
    parents = sorted({row.id if row.id in there else row.parent_id or "" for row in voters} - {""})
    return msgspec.structs.replace(
        first,
        id=f"{first.id}.consensus" if first.id in there else first.id,
        parent_id=parents[0] if parents else None,
        category=category,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=segmentation,
        polygons=None,
        origin="human:consensus",
        score=None,
    )


def _row(row: Annotation, about: Mapping[str, Any], event: Event) -> Annotation:
    attributes = dict(row.attributes or {})
    said = {key: value for key, value in about.items() if value is not None}
    before = {key: value for key, value in attributes.get("review", {}).items() if key != "tie"}  # settled now
    attributes["review"] = before | said
    round = (event.round or 0) + 1
    return msgspec.structs.replace(row, status="truth", round=round, attributes=attributes)


def _ancestor(row: str | None, parents: Mapping[str, str | None], there: set[str]) -> str | None:
    """The nearest row of the dataset that a row was made from."""
    while row is not None and row not in there:
        row = parents.get(row)
    return row


def _shown(events: Iterable[Event]) -> dict[str, set[str]]:
    """Per item, the rows that were shown at any round."""
    found: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.kind == "answer":
            found[event.item or ""].update(did.shown for did in event.did if did.shown)
    return found


def _kept(made: Sequence[Annotation], undecided: Sequence[Annotation]) -> set[str]:
    """Rows that stay: those of the result, and those that somebody's undecided wish would replace."""
    return {row.id for row in [*made, *undecided]} | {row.parent_id for row in undecided if row.parent_id}


def _annotations(
    dataset: Dataset, rows: Mapping[str, Annotation], gone: set[str], unseen: set[str]
) -> tuple[pa.Table, int]:
    """The table with new rows in place of equal ids, and with replaced ones marked as rejected; how many these are.

    Rows ``unseen`` are truth from now on.
    """
    table = dataset.table("annotations")
    ids = plain(table["id"])
    parents = {row.parent_id for row in rows.values() if row.parent_id and row.status == "truth"}
    # A proposal was shown in place of the row that it refines: what became of the one goes for the other.
    settled = pc.is_in(ids, value_set=_strings(gone | {name for name, row in rows.items() if row.status == "truth"}))
    proposed = pc.and_(settled, pc.equal(plain(table["status"]), "proposal"))
    parents |= set(plain(table["parent_id"]).filter(proposed).to_pylist()) - {None}
    out = (gone | parents) - set(rows)
    rejected = pc.is_in(ids, value_set=_strings(out))
    status = pc.if_else(rejected, "rejected", plain(table["status"]))
    status = pc.if_else(pc.is_in(ids, value_set=_strings(unseen - out)), "truth", status)
    place = table.column_names.index("status")
    table = table.set_column(place, "status", status)
    kept = table.filter(pc.invert(pc.is_in(ids, value_set=_strings(rows))))
    new = conform("annotations", table_of("annotations", list(rows.values())))
    joined = pa.concat_tables([conform("annotations", kept), new]) if len(rows) else conform("annotations", kept)
    return joined, int(pc.sum(rejected).as_py() or 0)


def _strings(values: Iterable[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


def _pair(item: Item, standing: Standing, made: Sequence[Annotation]) -> pairs.Pair:
    people = sorted({event.person or "" for event in standing.results})
    round = max(event.round or 0 for event in standing.results) + 1
    return pairs.Pair(item.image_id, item.queries, people, round, made)


def _looked(image: str, category: str, standing: Standing, doubtful: bool) -> Coverage:
    """What the people's look at an image says of a class; where they did not agree on an object, it is not settled."""
    people = ",".join(sorted({event.person or "" for event in standing.results}))
    round = max(event.round or 0 for event in standing.results) + 1
    return Coverage(
        scope=image,
        category=category,
        state="partial" if doubtful else "exhaustive",
        origin=f"human:{people}",
        round=round,
    )


def _coverage(dataset: Dataset, new: Sequence[Coverage]) -> pa.Table:
    table = dataset.table("coverage")
    if not new:
        return table
    keys = pa.array([json_text([one.scope, one.category]) for one in new])
    old = [json_text([row["scope"], row["category"]]) for row in table.select(["scope", "category"]).to_pylist()]
    kept = table.filter(pc.invert(pc.is_in(pa.array(old, pa.string()), value_set=keys)))
    return pa.concat_tables([conform("coverage", kept), conform("coverage", table_of("coverage", list(new)))])
