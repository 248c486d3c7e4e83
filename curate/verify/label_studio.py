"""L: an export of Label Studio (its own JSON, a list of tasks): what was said, by whom, and whether it can be taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curate import brush
from curate.codes import Severity
from curate.model import Finding, finding
from curate.verify import secrets, text
from curate.verify.json_text import decode
from curate.verify.report import encodable
from curate.verify.subject import Subject, short

TOLERANCE = 0.01  # per cent by which a region may leave its image (L04)
LONGEST = 4 * 3600.0  # seconds of work on one task (L09)
_SHAPES = ("rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels")
# Whom to write to about a picture: the one place where an address belongs.
_CONTACT = re.compile(r"licen[cs]e|citation|attribution|credit|copyright|contact", re.IGNORECASE)
Json = dict[str, Any]


class _Region(NamedTuple):
    """A shape of an annotation or prediction, and where it stands."""

    place: str
    item: str
    annotation: str
    kind: str
    region: Json
    value: Json


def looks_like(head: bytes) -> bool:
    """Whether the beginning of a JSON file is that of a list of tasks."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    named = any(key in head for key in (b'"annotations"', b'"predictions"', b'"was_cancelled"', b'"completed_by"'))
    return start.startswith(b"[") and re.match(rb"\[\s*\{", start) is not None and named and b'"image_id"' not in head


def load(path: Path) -> tuple[Subject | None, list[Finding]]:
    """The tasks under ``memo["tasks"]``; None where it is no list of objects."""
    data, found = text.read(path)
    if not data:
        return None, found
    value, more = decode(data, str(path))
    found += more
    if type(value) is not list:
        return None, found or [finding("F04", path, "is no list; expected the tasks that Label Studio exports")]
    for i, task in enumerate(value):
        if type(task) is not dict or type(task.get("annotations", [])) is not list:
            found.append(finding("S01", f"{path}, [{i}]", f"is {short(task)}; expected a task with its annotations"))
    subject = Subject("label_studio", {}, lambda table, row, field: str(path))
    subject.memo |= {"tasks": value, "path": str(path), "text": data}
    return subject, found


def counts(subject: Subject) -> dict[str, int]:
    predictions = sum(1 for _ in _predictions(subject))
    return {
        "tasks": sum(1 for _ in _tasks(subject)),
        "annotations": sum(1 for _ in _annotations(subject)),
        **({"predictions": predictions} if predictions else {}),
    }


def _tasks(subject: Subject) -> Iterator[tuple[str, Json]]:
    for i, task in enumerate(subject.memo["tasks"]):
        if type(task) is dict:
            yield f"{subject.memo['path']}, [{i}]", task


def _annotations(subject: Subject) -> Iterator[tuple[str, Json, Json]]:
    """Place, task and annotation."""
    for place, task in _tasks(subject):
        held = task.get("annotations")
        for i, one in enumerate(held if type(held) is list else ()):
            if type(one) is dict:
                yield f"{place}.annotations[{i}]", task, one


def _predictions(subject: Subject) -> Iterator[tuple[str, Json]]:
    """Place and prediction; an export may have their ids only."""
    for place, task in _tasks(subject):
        held = task.get("predictions")
        for i, one in enumerate(held if type(held) is list else ()):
            if type(one) is dict:
                yield f"{place}.predictions[{i}]", one


def _regions(subject: Subject) -> Iterator[_Region]:
    """The regions that people drew, and those that they were shown."""
    of_people = ((place, annotation) for place, _, annotation in _annotations(subject))
    for place, one in (*of_people, *_predictions(subject)):
        result = one.get("result")
        for i, region in enumerate(result if type(result) is list else ()):
            if type(region) is dict and region.get("type") in _SHAPES and type(region.get("value")) is dict:
                named = f"{place}.result[{i}]"
                yield _Region(named, str(region.get("id")), place, region["type"], region, region["value"])


def _found(code: str, place: str, message: str, item: Any = None, severity: Severity | None = None) -> Finding:
    return finding(
        code, encodable(place), message, item=None if item is None else encodable(str(item)), severity=severity
    )


def twice(subject: Subject) -> Iterator[Finding]:
    """L01: ids of tasks, annotations or regions that stand twice; one annotator twice on a task is a warning."""
    seen: dict[tuple[str, str], str] = {}

    def again(kind: str, key: Any, place: str, within: str = "") -> Iterator[Finding]:
        if key is None:
            return
        earlier = seen.setdefault((kind, f"{within}{key!r}"), place)
        if earlier != place:
            yield _found("L01", place, f"{kind} {short(key)} stands at {earlier} too; expected it once", key)

    for place, task in _tasks(subject):
        yield from again("task", task.get("id"), place)
    people: dict[tuple[str, str], str] = {}
    for place, task, annotation in _annotations(subject):
        yield from again("annotation", annotation.get("id"), place)
        person = annotation.get("completed_by")
        key = (place.rpartition(".")[0], str(person.get("id") if type(person) is dict else person))
        if person is not None and not annotation.get("was_cancelled") and people.setdefault(key, place) != place:
            text = f"annotator {short(person)} has another annotation of this task; expected one of each"
            yield _found("L01", place, text, task.get("id"), "warning")
    for one in _regions(subject):
        yield from again("region", one.region.get("id"), one.place, one.annotation)


def not_truth(subject: Subject) -> Iterator[Finding]:
    """L02: annotations that were skipped, and drafts; a reader that takes them as truth is misled."""
    for place, _, annotation in _annotations(subject):
        if annotation.get("was_cancelled") and annotation.get("result"):
            text = "was skipped by its annotator and has regions all the same; expected them not to be taken as truth"
            yield _found("L02", place, text, annotation.get("id"), "warning")
        if annotation.get("was_cancelled") and annotation.get("ground_truth"):
            text = "was skipped by its annotator and is marked as ground truth; expected one or the other"
            yield _found("L02", place, text, annotation.get("id"))
    for place, task in _tasks(subject):
        if task.get("drafts"):
            text = f"{len(task['drafts'])} drafts were never submitted"
            yield _found("L02", place, text, task.get("id"), "warning")


def frames(subject: Subject) -> Iterator[Finding]:
    """L03: a region without the size of its image, or regions of one task that disagree over it."""
    sizes: dict[str, tuple[Any, Any]] = {}
    for one in _regions(subject):
        size = one.region.get("original_width"), one.region.get("original_height")
        if not all(type(side) is int and side > 0 for side in size):
            text = f"original_width and original_height are {short(size)}; expected the image's size in pixels"
            yield _found("L03", one.place, text, one.item)
            continue
        task = one.annotation.rpartition(".")[0]
        if sizes.setdefault(task, size) != size:
            text = f"image is {size[0]} x {size[1]} px here and {sizes[task][0]} x {sizes[task][1]} in another region"
            yield _found("L03", one.place, text, one.item)


def outside(subject: Subject) -> Iterator[Finding]:
    """L04, B01: percentages that are no numbers, or outside 0 to 100; an error where the whole region is outside."""
    for one in _regions(subject):
        points = _points(one)
        if points is None:
            yield _found("B01", one.place, f"value is {short(one.value)}; expected percentages", one.item)
            continue
        xs, ys = [x for x, _ in points], [y for _, y in points]
        if not points or (min(*xs, *ys) >= -TOLERANCE and max(*xs, *ys) <= 100 + TOLERANCE):
            continue
        gone = min(xs) >= 100 or min(ys) >= 100 or max(xs) <= 0 or max(ys) <= 0
        text = f"spans {min(xs):g} to {max(xs):g} % across, {min(ys):g} to {max(ys):g} % down; expected 0 to 100"
        yield _found("L04", one.place, text, one.item, "error" if gone else "warning")


def _points(one: _Region) -> list[tuple[float, float]] | None:
    """Points in per cent that bound a region; none for a brush mask, None if they are no finite numbers."""
    value = one.value
    if one.kind == "brushlabels":
        return []
    if one.kind == "polygonlabels":
        held = value.get("points")
        pairs: list[Any] = held if type(held) is list and held else [None]
    elif one.kind == "rectanglelabels":
        sides: list[Any] = [value.get(name) for name in ("x", "y", "width", "height")]
        if not _are_numbers(sides):
            return None
        x, y, w, h = sides
        pairs = [[x, y], [x + w, y + h]]
    else:
        pairs = [[value.get("x"), value.get("y")]]
    if not all(type(pair) is list and len(pair) == 2 and _are_numbers(pair) for pair in pairs):
        return None
    return [(float(x), float(y)) for x, y in pairs]


def _are_numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and abs(value) < 1e15 for value in values)


def turned(subject: Subject) -> Iterator[Finding]:
    """L05: a rotated region, whose x and y are those of its unturned corner."""
    for one in _regions(subject):
        angle = one.value.get("rotation") or 0
        if angle != 0:
            text = f"is turned by {short(angle)} degrees; expected 0, or readers that take the box around it"
            yield _found("L05", one.place, text, one.item)


def labels(subject: Subject) -> Iterator[Finding]:
    """L06: a region with no label, or with several."""
    for one in _regions(subject):
        held = one.value.get(one.kind)
        if type(held) is not list or len(held) != 1 or type(held[0]) is not str:
            yield _found("L06", one.place, f"labels are {short(held)}; expected one", one.item)


def empty(subject: Subject) -> Iterator[Finding]:
    """L07, each once: tasks that nobody annotated stand beside empty annotations, which say that nothing is there."""
    bare = [(place, task) for place, task in _tasks(subject) if not task.get("annotations")]
    blank = [
        place
        for place, _, annotation in _annotations(subject)
        if annotation.get("result") == [] and not annotation.get("was_cancelled")
    ]
    if bare and blank:
        text = f"{len(bare):,} tasks have no annotation and {len(blank):,} annotations are empty (nothing to be seen); "
        text += "expected readers to tell them apart"
        yield _found("L07", bare[0][0], text, bare[0][1].get("id"), "info")
    for place, _, annotation in _annotations(subject):
        if type(annotation.get("result")) is not list:
            text = f"result is {short(annotation.get('result'))}; expected a list, empty if nothing is there"
            yield _found("L07", place, text, annotation.get("id"))


def private(subject: Subject) -> Iterator[Finding]:
    """L08: tokens, signed addresses and e-mail addresses; a note where it is the contact of a licence or citation."""
    data: str = subject.memo["text"].decode("utf-8", "replace")
    contacts: set[str] = set()
    others: set[str] = set()
    for key, value in _strings(subject.memo["tasks"]) if "@" in data else ():
        (contacts if _CONTACT.search(key) else others).update(secrets.mails(value))
    for one in secrets.find(data):
        contact = one.text in contacts - others
        text = f"holds {one}" + (", the contact of a licence or citation" if contact else "")
        line = data.count("\n", 0, one.start) + 1
        where = f"{subject.memo['path']}:{line}"
        hint = None if contact else "redact it before anybody else gets the file"
        yield finding("L08", where, text, hint=hint, severity="info" if contact else None)


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every text below ``value``, with the keys on the way to it."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, held = stack.pop()
        if type(held) is str:
            yield key, held
        elif type(held) is dict:
            stack += [(f"{key}.{name}", inner) for name, inner in held.items()]
        elif type(held) is list:
            stack += [(key, inner) for inner in held if type(inner) in (str, dict, list)]


def clocks(subject: Subject) -> Iterator[Finding]:
    """L09: updated before it was created, or a time of work below 0 or above four hours."""
    for place, _, annotation in _annotations(subject):
        created, updated = annotation.get("created_at"), annotation.get("updated_at")
        lead: Any = annotation.get("lead_time")
        if type(created) is str and type(updated) is str and updated[:19] < created[:19]:
            yield _found(
                "L09", place, f"updated {short(updated)} before created {short(created)}", annotation.get("id")
            )
        if type(lead) in (int, float) and not 0 <= lead <= LONGEST:
            text = f"lead_time is {short(lead)} s; expected 0 to {LONGEST:g}"
            yield _found("L09", place, text, annotation.get("id"))


def brushes(subject: Subject) -> Iterator[Finding]:
    """M11: a brush mask that is no list of bytes, is cut short, or fills another frame than its image's."""
    for one in _regions(subject):
        if one.kind != "brushlabels":
            continue
        held = one.value.get("rle")
        if type(held) is not list or not all(type(value) is int and 0 <= value < 256 for value in held):
            yield _found("M11", one.place, f"rle is {short(held)}; expected a list of bytes", one.item)
            continue
        width, height = one.region.get("original_width"), one.region.get("original_height")
        if type(width) is not int or type(height) is not int:
            continue  # L03
        try:
            brush.decode(held, width, height)
        except ValueError as error:
            yield _found("M11", one.place, f"brush mask: {error}", one.item)
