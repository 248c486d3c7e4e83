"""A job as a task of Label Studio, and a pulled annotation as an event: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow.compute as pc

from curate.columns import plain
from curate.dataset import Dataset, annotations_of
from curate.errors import ReviewError
from curate.label_studio.addresses import image_url
from curate.label_studio.labelling import Config
from curate.label_studio.regions import Frame, controls, regions_of
from curate.model import Annotation, Finding, finding
from curate.review.config import config
from curate.review.exports import Given
from curate.review.log import Did, Event
from curate.review.plan import Item, Plan
from curate.review.shapes import read_answer
from curate.review.sheets import sheets
from curate.review.state import Job


class Material(NamedTuple):
    """What tasks are made from: the plan, its items, and the dataset's rows and files."""

    plan: Plan
    items: Mapping[str, Item]
    categories: Sequence[tuple[str, str | None]]
    rows: Mapping[str, Sequence[Annotation]]  # by image, with a box or mask
    files: Mapping[str, Path]
    sheets: Mapping[str, str] = MappingProxyType({})  # by query group: all its queries in one picture

    def config(self, round: int) -> Config:
        return config(self.categories, self.plan.rounds[round], queries=bool(self.sheets))

    def frame(self, job: Job) -> Frame:
        item = self.items[job.item]
        labels = self.config(job.round).labels
        if self.plan.unit == "class":
            labels = {label: name for label, name in labels.items() if name == item.target}
        tools = controls(self.plan.rounds[job.round].tools)
        return Frame(item.image_id, item.width, item.height, labels, tools, item.orientation)

    def shown(self, job: Job) -> list[Annotation]:
        """The rows that a job starts from: an earlier answer, or what the dataset has."""
        if job.basis is not None:
            return list(job.basis.objects)
        if self.plan.rounds[job.round].shows != "prelabels" or job.attempt:
            return []
        names = set(self.frame(job).labels.values())
        return [row for row in self.rows.get(self.items[job.item].image_id, ()) if row.category in names]


def material(dataset: Dataset, plan: Plan, items: Sequence[Item], roots: Mapping[str, str] | None = None) -> Material:
    """What tasks of this review are made from.

    Raises:
        ReviewError: an image has no file name, or its source no root.
    """
    wanted = {item.image_id for item in items}
    asked = set(plain(dataset.table("queries")["image_id"]).to_pylist()) - {None} if plan.unit == "group" else set()
    needed = wanted | asked
    named = dataset.table("categories").select(["name", "supercategory"]).to_pylist()
    listed = plan.classes or tuple(row["name"] for row in named)
    groups = {row["name"]: row["supercategory"] for row in named}
    folders = dataset.info.roots | dict(roots or {})
    files = {}
    table = dataset.table("images").select(["id", "source", "file_name"])
    for image, source, name in zip(*(plain(table[c]).to_pylist() for c in table.column_names), strict=True):
        if image not in needed:
            continue
        if name is None or source not in folders:
            raise ReviewError(f"image {image}", "has no file", f"expected a root of {source}", "give --root")
        files[image] = Path(folders[source]) / name
    shown = sheets(dataset, items, files) if plan.unit == "group" else {}
    names = [(name, groups[name]) for name in listed]
    return Material(plan, {item.id: item for item in items}, names, _rows(dataset, wanted), files, shown)


def _rows(dataset: Dataset, images: set[str]) -> dict[str, list[Annotation]]:
    """Truth and proposals by image; a row that a proposal refines gives way to it."""
    import pyarrow as pa

    table = dataset.table("annotations")
    held = pc.is_in(plain(table["image_id"]), value_set=pa.array(sorted(images), pa.string()))
    rows: dict[str, list[Annotation]] = {}
    kept = pc.and_(pc.not_equal(plain(table["status"]), "rejected"), pc.is_valid(table["x"]))
    for one in annotations_of(table.filter(pc.and_(held, kept))):
        rows.setdefault(one.image_id, []).append(one)
    for image, those in rows.items():
        refined = {row.parent_id for row in those if row.status == "proposal"}
        rows[image] = sorted((row for row in those if row.id not in refined), key=lambda row: row.id)
    return rows


def task_of(job: Job, given: Material, root: Path) -> dict[str, Any]:
    """The task that shows a job; images are served from below ``root``.

    Raises:
        ReviewError: the image does not lie below ``root``, or a row cannot be shown.
    """
    item = given.items[job.item]
    regions = regions_of(given.shown(job), given.frame(job))
    title = item.target or item.image_id
    if job.reason:
        title += f" · came back: {job.reason}"
    data = {
        "image": image_url(given.files[item.image_id], root),
        "key": job.key,
        "title": title,
        "round": given.plan.rounds[job.round].name,
        "shown": hashlib.sha256(json.dumps(regions, sort_keys=True).encode()).hexdigest()[:16],
    }
    if given.sheets:
        data["queries"] = given.sheets[item.target or ""]
    if job.reason:
        data["reason"] = job.reason
    if job.basis is not None and job.basis.annotation:
        data["prev_annotation"] = job.basis.annotation
    task: dict[str, Any] = {"data": data}
    if regions:
        task["predictions"] = [{"model_version": data["round"], "result": regions}]
    return task


def event_of(
    given: Given, job: Job, material: Material, *, where: str, user: int | None, account: str | None = None
) -> tuple[Event, tuple[Finding, ...]]:
    """One state of one annotation as an event. ``user`` is the account that the job is for, None if unknown.

    ``account`` is whose annotation it is, ``where`` is server and project. What could not be taken is reported, and
    then the answer does not count.
    """
    prefix = f"r{job.round + 1}a{job.attempt}-{job.person}"
    frame = material.frame(job)
    answer = read_answer(
        [] if given.skipped else given.result,
        frame,
        shown=material.shown(job),
        origin=f"human:{job.person}",
        round=job.round + 1,
        prefix=prefix,
    )
    problems = answer.problems
    foreign = given.updated_by not in (None, given.person) or (user is not None and given.person != user)
    if foreign:
        by = f"account {given.person}, last changed by {given.updated_by}; the task is for {job.person}"
        problems += (finding("L09", f"annotation {given.id}", by),)
    did = [Did(change.row.id, change.action, change.shown, change.iou) for change in answer.objects]
    broken = [one for one in problems if one.severity == "error"]
    event = Event(
        key=f"{where}/{given.id}@{given.updated_at}",
        kind="answer",
        person=job.person,
        item=job.item,
        round=job.round,
        attempt=job.attempt,
        annotation=f"{where}/{given.id}",
        revision=given.updated_at,
        skipped=given.skipped,
        account=account,
        foreign=foreign or bool(broken),
        verdict=answer.verdict,
        note=answer.note,
        seconds=given.lead_time if given.lead_time is not None and given.lead_time >= 0 else None,
        objects=tuple(change.row for change in answer.objects),
        did=(*did, *(Did(row, "deleted", row) for row in answer.deleted)),
        message="; ".join(f"{one.code} {one.where}: {one.message}" for one in problems) or None,
    )
    return event, problems
