"""Label Studio's JSON, read with care: tasks with their annotations; drafts, suggestions and skips are never truth.

Taken are ``exportType=JSON``, snapshots and what ``/api/tasks?fields=all`` gives. The server's other exports are
refused by name: COCO and YOLO lose masks, fill holes and turn boxes wrongly; JSON_MIN and CSV lose skips and shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from curate.errors import ReviewError

_HINT = "export as JSON (exportType=JSON), or pull through the API"


class Given(NamedTuple):
    """One annotation as the server keeps it."""

    id: int
    task: int
    person: int | None  # the server's number of the account that it belongs to
    updated_by: int | None  # who changed it last
    skipped: bool
    ground_truth: bool
    result: list[dict[str, Any]]
    lead_time: float | None  # seconds
    created_at: str | None
    updated_at: str | None
    parent_prediction: int | None
    parent_annotation: int | None


class Task(NamedTuple):
    """One task with what people said about it; in the order of annotation ids."""

    id: int
    data: dict[str, Any]
    given: tuple[Given, ...]
    drafts: int  # unsent work, left alone


def read_export(data: bytes, where: object) -> list[Task]:
    """The tasks of an export.

    Raises:
        ReviewError: it is no JSON, or another export than the one that keeps everything.
    """
    try:
        loaded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReviewError(where, f"no JSON: {error}", "expected Label Studio's JSON export", _HINT) from None
    if isinstance(loaded, dict) and "images" in loaded and "annotations" in loaded:
        raise ReviewError(where, "a COCO export of the server", "whose boxes and masks are wrong", _HINT)
    if not isinstance(loaded, list):
        raise ReviewError(where, f"a JSON {type(loaded).__name__}", "expected a list of tasks", _HINT)
    if loaded and isinstance(loaded[0], dict) and "data" not in loaded[0] and "id" in loaded[0]:
        raise ReviewError(where, "a JSON_MIN export", "which loses skips and which control drew a region", _HINT)
    return list(tasks_of(loaded, where))


def tasks_of(loaded: list[Any], where: object) -> Iterator[Task]:
    """Tasks from decoded JSON.

    Raises:
        ReviewError: a task or annotation lacks a field, with its place.
    """
    for i, task in enumerate(loaded):
        place = f"{where}, task {i}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or type(task.get("id")) is not int:
            raise ReviewError(place, "has no id or no data", "expected a task of Label Studio", _HINT)
        answers = task.get("annotations", [])
        if not isinstance(answers, list):
            raise ReviewError(place, "annotations are no list", "expected a task of Label Studio", _HINT)
        given = [_given(one, task["id"], f"{place}, annotation {j}") for j, one in enumerate(answers)]
        ids = [one.id for one in given]
        if len(set(ids)) < len(ids):
            raise ReviewError(place, "an annotation id stands twice (rule L01)", "expected each once", _HINT)
        drafts = task.get("drafts") or []
        yield Task(
            task["id"],
            task["data"],
            tuple(sorted(given, key=lambda one: one.id)),
            len(drafts) if isinstance(drafts, list) else 0,
        )


def _given(answer: Any, task: int, place: str) -> Given:
    if not isinstance(answer, dict) or type(answer.get("id")) is not int or not isinstance(answer.get("result"), list):
        raise ReviewError(place, "has no id or no result", "expected an annotation of Label Studio", _HINT)
    if not all(isinstance(region, dict) for region in answer["result"]):
        raise ReviewError(place, "a region is no object", "expected regions of Label Studio", _HINT)
    lead = answer.get("lead_time")
    return Given(
        id=answer["id"],
        task=task,
        person=_person(answer.get("completed_by")),
        updated_by=_person(answer.get("updated_by")),
        skipped=bool(answer.get("was_cancelled")),
        ground_truth=bool(answer.get("ground_truth")),
        result=answer["result"],
        lead_time=float(lead) if isinstance(lead, int | float) and not isinstance(lead, bool) else None,
        created_at=answer.get("created_at"),
        updated_at=answer.get("updated_at"),
        parent_prediction=_person(answer.get("parent_prediction")),
        parent_annotation=_person(answer.get("parent_annotation")),
    )


def _person(value: Any) -> int | None:
    if isinstance(value, dict):
        value = value.get("id")
    return value if type(value) is int else None
