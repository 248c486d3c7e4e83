"""Accepted work becomes truth: rows with origin, round, annotators and votes, and coverage of who looked where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import geometry
from curate.dataset import Dataset, conform, json_text, plain, table_of
from curate.model import Annotation, Command, Coverage
from curate.review import agreement, consensus
from curate.review.agreement import Seen
from curate.review.folder import Review
from curate.review.log import Event
from curate.review.state import Standing


class Finished(NamedTuple):
    dataset: Dataset
    accepted: int  # items
    truth: int  # rows that are truth by this review
    rejected: int  # rows that are no longer
    ties: int  # objects that the people did not agree on; they stay proposals
    left: int  # items that are not accepted: their rows stay as they were


def finish(dataset: Dataset, review: Review, classes: Sequence[str], *, name: str) -> Finished:
    """The dataset with the accepted items' rows in place of what was shown; everything else stays as it was."""
    state = review.state
    parents = {row.id: row.parent_id for event in review.events for row in event.objects}
    there = set(plain(dataset.table("annotations")["id"]).to_pylist())
    items = {item.id: item for item in review.items}
    rows: dict[str, Annotation] = {}
    gone: set[str] = set()
    ties = 0
    coverage: list[Coverage] = []
    accepted = {item: standing for item, standing in state.items.items() if standing.status == "accepted"}
    for item, standing in accepted.items():
        made, undecided = _result(standing, items[item].target if review.plan.unit == "group" else None)
        ties += len(undecided)
        for row in [*made, *undecided]:
            parent = _ancestor(row.parent_id, parents, there)
            rows[row.id] = msgspec.structs.replace(row, parent_id=parent if parent != row.id else None)
        gone |= _replaced(standing, review.events, item, there)
        if review.plan.unit != "group":
            target = items[item].target
            names = [target] if target else list(classes)
            coverage += [_looked(items[item].image_id, one, standing) for one in names]
    table, changed = _annotations(dataset, rows, gone)
    info = dataset.child(name, command=Command(verb="review finish", options={"review": review.about.id}))
    truth = sum(row.status == "truth" for row in rows.values())
    done = dataset.replace(info=info, annotations=table, coverage=_coverage(dataset, coverage))
    return Finished(done, len(accepted), truth, changed, ties, len(state.items) - len(accepted))


def _result(standing: Standing, group: str | None) -> tuple[list[Annotation], list[Annotation]]:
    """The rows of an accepted item, and what stayed undecided."""
    if len(standing.results) == 1:
        event = standing.results[0]
        about: dict[str, Any] = {"people": [event.person], "verdict": event.verdict, "group": group}
        return [_row(row, about, event) for row in event.objects], []
    made, undecided = [], []
    results = sorted(standing.results, key=lambda event: event.person or "")
    flat = [list(event.objects) for event in results]
    units = agreement.clusters([[_seen(row) for row in rows] for rows in flat])
    for unit in units:
        agreed = consensus.agreed(unit)
        voters = [rows[_place(rows, seen)] for rows, seen in zip(flat, unit, strict=True) if seen is not None]
        if not agreed.kept and agreed.tie is None:
            continue
        about = {
            "people": [event.person for event, seen in zip(results, unit, strict=True) if seen is not None],
            "votes": agreed.votes,
            "voters": agreed.voters,
            "iou": agreed.iou,
            "tie": agreed.tie,
            "method": "majority, median box",
            "group": group,
        }
        row = _row(_merged(voters, agreed), about, results[0])
        if agreed.tie:
            undecided.append(msgspec.structs.replace(row, status="proposal"))
        else:
            made.append(row)
    return made, undecided


def _seen(row: Annotation) -> Seen:
    return Seen((row.x or 0.0, row.y or 0.0, row.w or 0.0, row.h or 0.0), row.category or "")


def _place(rows: Sequence[Annotation], seen: Seen) -> int:
    return next(i for i, row in enumerate(rows) if _seen(row) == seen)


def _merged(voters: Sequence[Annotation], agreed: consensus.Agreed) -> Annotation:
    """One row of several: median box, majority of masks where all have one."""
    first = voters[0]
    masks = [row.segmentation for row in voters if row.segmentation is not None]
    x, y, w, h = agreed.box or (first.x, first.y, first.w, first.h)
    area, segmentation = (w or 0.0) * (h or 0.0), None
    if len(masks) == len(voters):
        painted = consensus.majority_mask([geometry.mask_from_rle(mask).astype(bool) for mask in masks])
        if painted.any():
            segmentation = geometry.rle_from_mask(painted)
            x, y, w, h = geometry.rle_bounds(segmentation)
            area = float(np.count_nonzero(painted))
    return msgspec.structs.replace(
        first,
        category=agreed.label or first.category,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=segmentation,
        polygons=None,
        origin="human:consensus",
    )


def _row(row: Annotation, about: Mapping[str, Any], event: Event) -> Annotation:
    attributes = dict(row.attributes or {})
    said = {key: value for key, value in about.items() if value is not None}
    attributes["review"] = {**attributes.get("review", {}), **said}
    round = (event.round or 0) + 1
    return msgspec.structs.replace(row, status="truth", round=round, attributes=attributes)


def _ancestor(row: str | None, parents: Mapping[str, str | None], there: set[str]) -> str | None:
    """The nearest row of the dataset that a row was made from."""
    while row is not None and row not in there:
        row = parents.get(row)
    return row


def _replaced(standing: Standing, events: Iterable[Event], item: str, there: set[str]) -> set[str]:
    """Rows of the dataset that were shown, at any round, and are not among the results."""
    shown = {
        did.shown for event in events if event.kind == "answer" and event.item == item for did in event.did if did.shown
    }
    kept = {row.id for event in standing.results for row in event.objects}
    return (shown & there) - kept


def _annotations(dataset: Dataset, rows: Mapping[str, Annotation], gone: set[str]) -> tuple[pa.Table, int]:
    """The table with new rows in place of equal ids, and with replaced ones marked as rejected; how many these are."""
    table = dataset.table("annotations")
    ids = plain(table["id"])
    parents = {row.parent_id for row in rows.values() if row.parent_id and row.status == "truth"}
    # A promoted proposal takes the place of the row that it refines.
    promoted = pc.and_(pc.is_in(ids, value_set=_strings(rows)), pc.is_valid(table["parent_id"]))
    parents |= set(plain(table["parent_id"]).filter(promoted).to_pylist())
    out = (gone | parents) - set(rows)
    rejected = pc.is_in(ids, value_set=_strings(out))
    status = pc.if_else(rejected, "rejected", plain(table["status"]))
    place = table.column_names.index("status")
    table = table.set_column(place, "status", status)
    kept = table.filter(pc.invert(pc.is_in(ids, value_set=_strings(rows))))
    new = conform("annotations", table_of("annotations", list(rows.values())))
    joined = pa.concat_tables([conform("annotations", kept), new]) if len(rows) else conform("annotations", kept)
    return joined, int(pc.sum(rejected).as_py() or 0)


def _strings(values: Iterable[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


def _looked(image: str, category: str, standing: Standing) -> Coverage:
    people = ",".join(sorted({event.person or "" for event in standing.results}))
    round = max(event.round or 0 for event in standing.results) + 1
    return Coverage(scope=image, category=category, state="exhaustive", origin=f"human:{people}", round=round)


def _coverage(dataset: Dataset, new: Sequence[Coverage]) -> pa.Table:
    table = dataset.table("coverage")
    if not new:
        return table
    keys = pa.array([json_text([one.scope, one.category]) for one in new])
    old = [json_text([row["scope"], row["category"]]) for row in table.select(["scope", "category"]).to_pylist()]
    kept = table.filter(pc.invert(pc.is_in(pa.array(old, pa.string()), value_set=keys)))
    return pa.concat_tables([conform("coverage", kept), conform("coverage", table_of("coverage", list(new)))])
