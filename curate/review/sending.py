"""Tasks to a project of Label Studio, each exactly once.

An import on the server is atomic but not idempotent, and its answer may be lost. So every task has a key; before
sending, and after any error, the keys that are there are read, and only what is missing is sent. An import that was
given up on may still be at work, unseen, and its tasks come a second time: of two tasks of one key, the one that nobody
worked on goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import ReviewError
from curate.review.api import Api, LostError, RefusedError, SlowError

MOST_TASKS, MOST_BYTES = 1000, 50_000_000  # per request
LIMIT = 250 << 20  # bytes; from there on the server answers with an error 500 that says something else
_TRIES = 4
_LESS = 8  # after a loss, so many times less at once: the request may have been too much for the server, or a proxy


def send(api: Api, project: int, tasks: Mapping[str, dict[str, Any]], unsure: Path) -> tuple[int, int]:
    """Send the tasks that are not there; after any loss look first. Gives how many were not there, and the losses."""
    first: int | None = None
    most = sent = MOST_TASKS
    for losses in range(_TRIES):
        there = keys(api, project)
        missing = [tasks[key] for key in sorted(tasks) if key not in there]
        first = len(missing) if first is None else first
        try:
            for chunk in chunks(missing, most, MOST_BYTES):
                unsure.touch()
                sent = len(chunk)
                api.import_tasks(project, chunk)
            return first, losses
        except SlowError:  # it may still be at work: a second one at once would only make it slower
            raise
        except (LostError, RefusedError) as error:
            if losses == _TRIES - 1 or (isinstance(error, RefusedError) and error.status != 413):
                raise
            most = max(1, sent // _LESS)
    raise AssertionError("unreachable")


def chunks(tasks: Sequence[dict[str, Any]], most: int = MOST_TASKS, size: int = MOST_BYTES) -> Iterator[list[Any]]:
    """Tasks in requests of at most ``most`` tasks and ``size`` bytes; one that is larger goes alone.

    Raises:
        ReviewError: a task is too large for any request.
    """
    chunk: list[Any] = []
    used = 0
    for task in tasks:
        length = len(json.dumps(task, separators=(",", ":"))) + 1
        if length + 1 > LIMIT:
            place = f"task {task['data'].get('key')}"
            found = f"{length / 2**20:.0f} MiB"
            raise ReviewError(place, found, f"expected at most {LIMIT >> 20} MiB", "show less, or use smaller images")
        if chunk and (len(chunk) == most or used + length > size):
            yield chunk
            chunk, used = [], 0
        chunk.append(task)
        used += length
    if chunk:
        yield chunk


def keys(api: Api, project: int) -> set[str]:
    """The keys of the tasks that are there; what is there twice is removed by the way."""
    keys = [str(row["data"].get("key")) for row in api.tasks(project, "id", "data")]
    found = set(keys)
    if len(found) < len(keys):
        _clear_doubles(api, project)
    return found


def _clear_doubles(api: Api, project: int) -> None:
    """Of tasks of one key, one stays; others go unless somebody worked on them."""
    copies: dict[str, list[tuple[bool, int]]] = {}
    for row in api.tasks(project):
        idle = not (row["total_annotations"] or row["cancelled_annotations"] or row["draft_exists"])
        copies.setdefault(str(row["data"].get("key")), []).append((idle, int(row["id"])))
    copies.pop("None", None)  # tasks that are not ours
    gone = [task for those in copies.values() for idle, task in sorted(those)[1:] if idle]
    if gone:
        # Said to the server too: somebody may begin in between.
        items = [_where("total_annotations", "less", "Number", 1), _where("cancelled_annotations", "less", "Number", 1)]
        items.append(_where("draft_exists", "equal", "Boolean", False))
        api.delete_tasks(project, gone, {"conjunction": "and", "items": items})


def _where(column: str, operator: str, kind: str, value: object) -> dict[str, object]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
