"""Three people who outline things in Label Studio, played: each knows the truth, and draws it in a way of their own.

They talk to the server as the page in the browser does: read a task with what it shows, send an answer. What they do
comes back through a pull, as everybody's work does.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate import geometry
from curate.label_studio.regions import Frame, Region, regions_of
from curate.model import Annotation, Rle
from curate.review.api import Api
from curate.review.shapes import read_answer

GOOD, FAIR = 0.85, 0.5  # IoU with the truth from which on a person accepts, or mends, what is shown
WRONG = "this outlines something else"


class Habit(NamedTuple):
    """How one person draws."""

    grow: int  # px by which the outline is too large; negative: too small
    shift: tuple[int, int]  # px to the right and down
    slips: float  # share of the tasks, drawn from nothing, at which something else is outlined


PEOPLE = {"p1": Habit(0, (0, 0), 0.05), "p2": Habit(1, (0, 0), 0.05), "p3": Habit(-1, (1, 1), 0.15)}


class Truth(NamedTuple):
    """What one task asks for: the class, and the pixels of the thing."""

    frame: Frame
    category: str
    mask: Rle


def work(api: Api, project: Mapping[str, Any], person: str, truths: Mapping[str, Truth]) -> int:
    """Answer the open tasks of a project as ``person`` would; ``truths`` are by key of a task. Gives how many."""
    judge = "verdict" in project["label_config"]
    done = 0
    for task in list(api.tasks(int(project["id"]))):
        key = str(task["data"]["key"])
        if task["annotations"] or key not in truths:
            continue
        shown = [region for one in task["predictions"] for region in one["result"]]
        rng = random.Random(f"{person} {key}")
        result = judged(shown, person, truths[key]) if judge else []
        if not judge:
            slips = "reason" not in task["data"] and rng.random() < PEOPLE[person].slips
            result = outlined(person, truths[key], slips=slips)
        api.annotate(int(task["id"]), result, round(rng.uniform(8, 30), 1))
        done += 1
    return done


def outlined(person: str, truth: Truth, *, slips: bool = False) -> list[Region]:
    """What a person draws from nothing: the thing by habit, or, by a slip, what lies beside it."""
    habit = PEOPLE[person]
    mask = geometry.mask_from_rle(truth.mask) > 0
    drawn = _moved(_grown(mask, habit.grow), *habit.shift)
    if slips:
        _, _, w, h = (int(side) for side in geometry.rle_bounds(truth.mask))
        right = -w if mask[:, -w:].any() else w
        drawn = _moved(mask, right, h // 2)
    rle = geometry.rle_from_mask(drawn if drawn.any() else mask)
    x, y, w, h = geometry.rle_bounds(rle)  # type: ignore[assignment]
    row = Annotation(
        id=f"{truth.frame.image_id}#{person}",
        image_id=truth.frame.image_id,
        category=truth.category,
        x=x,
        y=y,
        w=w,
        h=h,
        segmentation=rle,
    )
    return regions_of([row], truth.frame)


def judged(shown: list[Region], person: str, truth: Truth) -> list[Region]:
    """What a person makes of an earlier outline: accept it, mend it in its place, or reject it with a reason."""
    seen = read_answer(shown, truth.frame, origin="shown", round=1, prefix="shown")
    masks = [one.row.segmentation for one in seen.objects if one.row.segmentation is not None]
    iou = geometry.rle_iou(masks[0], truth.mask) if len(masks) == 1 else 0.0
    if iou >= GOOD:
        return [*shown, _said("accept")]
    if iou < FAIR:
        return [*shown, _said("reject"), _note(WRONG)]
    (own,) = outlined(person, truth)
    return [{**shown[0], "value": own["value"]}, _said("fix")]


def _said(verdict: str) -> Region:
    return {**_control("verdict", "choices"), "value": {"choices": [verdict]}}


def _note(text: str) -> Region:
    return {**_control("note", "textarea"), "value": {"text": [text]}}


def _control(name: str, kind: str) -> Region:
    return {"id": name, "type": kind, "from_name": name, "to_name": "image"}


def _moved(mask: NDArray[np.bool_], right: int, down: int) -> NDArray[np.bool_]:
    """The mask moved by whole pixels; what leaves the frame is gone."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + down, columns + right
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved[rows[inside], columns[inside]] = True
    return moved


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """The mask with ``by`` more pixels on every side, or with that many less if negative."""
    if by < 0:
        return ~_grown(~mask, -by)
    for _ in range(by):
        mask = np.logical_or.reduce([_moved(mask, x, y) for x, y in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))])
    return mask
