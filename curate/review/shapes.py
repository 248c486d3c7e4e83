"""What people drew in Label Studio as annotations, without loss: boxes, turned boxes, polygons, brush masks.

How annotations are shown is in ``curate.label_studio.regions``. A turned box is kept as polygon and envelope, with the
box as drawn in ``attributes.review.turned``. An object of several parts is several regions, joined by ``parentID`` or a
relation. A region that nobody touched is recognised by id and value, and gives back the very row that was shown.

The converters of the server itself are not used: they turn percentages, fill holes, drop masks and let one person's
file replace another's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from curate import brush, geometry
from curate.label_studio.regions import TOOLS, TYPES, Frame, Region, Tool, regions_of, turned_corners
from curate.model import Annotation, Finding, Polygons, Ring, Rle, finding
from curate.turning import back, turned_annotation

Action = Literal["unchanged", "moved", "relabelled", "added"]
TOLERANCE = 0.01  # percent that a region may leave its image without being reported


class Change(NamedTuple):
    """One object of an answer, and what was done to it since it was shown."""

    row: Annotation
    action: Action
    shown: str | None  # id of the row that was shown
    iou: float | None  # with that row, by boxes; 1 where nothing moved


class Answer(NamedTuple):
    """What one person said about one task."""

    objects: tuple[Change, ...]
    deleted: tuple[str, ...]  # ids of rows that were shown and are gone
    verdict: str | None
    note: str | None
    problems: tuple[Finding, ...]  # what could not be taken has severity error


def pixels(value: float, side: int) -> float:
    """``value`` percent of ``side`` in pixels; whole and half ones exactly, in spite of the rounding in between."""
    exact = value / 100 * side
    half = round(exact * 2) / 2
    return half if abs(exact - half) <= 1e-12 * max(side, abs(exact)) else exact


def read_answer(
    result: Sequence[Region], frame: Frame, *, shown: Sequence[Annotation] = (), origin: str, round: int, prefix: str
) -> Answer:
    """What a ``result`` of the server says, compared with the rows that it was ``shown``.

    ``prefix`` makes the ids of new rows: ``<image id>#<prefix>-<region id>``. An object whose regions are all as they
    were shown gives back its row unchanged. Whatever does not fit is a problem with its code, and is not taken.
    """
    problems: list[Finding] = []
    drawn = [region for region in result if region.get("type") not in ("choices", "textarea", "relation")]
    before = {row.id: regions_of([row], frame) for row in shown}
    owner = {region["id"]: row_id for row_id, regions in before.items() for region in regions}
    rows = {row.id: row for row in shown}
    objects: list[Change] = []
    kept: set[str] = set()
    seen: set[str] = set()
    for group in _groups(result, drawn, owner):
        ids = [str(region.get("id")) for region in group]
        if seen & set(ids) or len(set(ids)) < len(ids):
            problems.append(finding("L01", _place(frame, ids[0]), "region id twice in one annotation"))
            continue
        seen.update(ids)
        old = next((owner[i] for i in ids if i in owner and owner[i] not in kept), None)
        if old is not None and _untouched(group, before[old]):
            kept.add(old)
            objects.append(Change(rows[old], "unchanged", old, 1.0))
            continue
        category = None if old is None else _relabelled(group, before[old], frame)
        if old is not None and category is not None:
            kept.add(old)
            named = _renamed(rows[old], f"{frame.image_id}#{prefix}-{ids[0]}", category)
            named = msgspec.structs.replace(named, origin=origin, round=round, parent_id=old)
            objects.append(Change(named, "relabelled", old, 1.0))
            continue
        made, found = _object(group, frame.shown, f"{frame.image_id}#{prefix}-{ids[0]}")
        problems += found
        if made is not None:
            size = frame.shown.width, frame.shown.height
            made = turned_annotation(made, size, back(frame.orientation))
        if old is not None:
            kept.add(old)
        if made is not None:
            made = msgspec.structs.replace(made, origin=origin, round=round, parent_id=old)
            objects.append(_change(made, rows.get(old) if old else None))
    deleted = tuple(row.id for row in shown if row.id not in kept and before[row.id])
    verdict, note = _said(result)
    return Answer(tuple(objects), deleted, verdict, note, tuple(problems))


def _place(frame: Frame, region: str) -> str:
    return f"{frame.image_id}, region {region}"


def _said(result: Sequence[Region]) -> tuple[str | None, str | None]:
    """Verdict and note of the controls around the image."""
    choices = [c for region in result if region.get("type") == "choices" for c in region["value"].get("choices", [])]
    texts = [t for region in result if region.get("type") == "textarea" for t in region["value"].get("text", [])]
    return (choices[-1] if choices else None), ("\n".join(texts) or None)


def _groups(result: Sequence[Region], drawn: Sequence[Region], owner: Mapping[str, str]) -> list[list[Region]]:
    """Regions that are one object: joined by ``parentID``, by a relation, or shown as parts of one row."""
    lead = list(range(len(drawn)))

    def root(i: int) -> int:
        while lead[i] != i:
            i = lead[i]
        return i

    place: dict[str, int] = {}
    for i, region in enumerate(drawn):
        place.setdefault(str(region.get("id")), i)
    parts: dict[str, int] = {}
    pairs = [(str(r["from_id"]), str(r["to_id"])) for r in result if r.get("type") == "relation"]
    pairs += [(str(r.get("id")), str(r["parentID"])) for r in drawn if r.get("parentID")]
    for i, region in enumerate(drawn):
        row = owner.get(str(region.get("id")))
        if row is not None:
            lead[root(i)] = root(parts.setdefault(row, i))
    for a, b in pairs:
        if a in place and b in place:
            low, high = sorted((root(place[a]), root(place[b])))
            lead[high] = low
    groups: dict[int, list[Region]] = {}
    for i, region in enumerate(drawn):
        groups.setdefault(root(i), []).append(region)
    return [groups[i] for i in sorted(groups)]


def _untouched(group: Sequence[Region], before: Sequence[Region]) -> bool:
    by_id = {region["id"]: region for region in before}
    return len(group) == len(before) and all(
        (old := by_id.get(str(region.get("id")))) is not None
        and old["value"] == region.get("value")
        and old["type"] == region.get("type")
        for region in group
    )


def _relabelled(group: Sequence[Region], before: Sequence[Region], frame: Frame) -> str | None:
    """The new class of an object of which nothing else was changed; None if something was."""
    if not all(isinstance(region.get("value"), dict) for region in group):
        return None
    labels = [region["value"].get(str(region.get("type"))) for region in group]
    found = labels[0][0] if isinstance(labels[0], list) and len(labels[0]) == 1 else None
    if not isinstance(found, str) or found not in frame.labels or any(one != [found] for one in labels):
        return None
    as_now = [{**region, "value": {**region["value"], region["type"]: [found]}} for region in before]
    return frame.labels[found] if _untouched(group, as_now) else None


def _renamed(row: Annotation, row_id: str, category: str) -> Annotation:
    """A row of the same shape and another class."""
    turned = ((row.attributes or {}).get("review") or {}).get("turned")
    return Annotation(
        id=row_id,
        image_id=row.image_id,
        category=category,
        x=row.x,
        y=row.y,
        w=row.w,
        h=row.h,
        area=row.area,
        segmentation=row.segmentation,
        polygons=row.polygons,
        attributes={"review": {"turned": turned}} if turned else None,
    )


def _change(row: Annotation, before: Annotation | None) -> Change:
    if before is None:
        return Change(row, "added", None, None)
    if row.segmentation and before.segmentation and row.segmentation.size == before.segmentation.size:
        iou = geometry.rle_iou(row.segmentation, before.segmentation)
    else:
        a, b = (np.array([[one.x, one.y, one.w, one.h]], float) for one in (row, before))
        iou = float(geometry.box_iou(a, b)[0, 0])
    return Change(row, "relabelled" if row.category != before.category else "moved", before.id, iou)


class _Part(NamedTuple):
    tool: Tool
    label: str
    ring: Ring | None = None
    mask: Rle | None = None
    box: tuple[float, float, float, float] | None = None
    turned: tuple[float, ...] | None = None


def _object(group: Sequence[Region], frame: Frame, row_id: str) -> tuple[Annotation | None, list[Finding]]:
    problems: list[Finding] = []
    parts: list[_Part] = []
    for region in group:
        part, found = _part(region, frame)
        problems += found
        if part is not None:
            parts.append(part)
    if any(one.severity == "error" for one in problems) or not parts:
        return None, problems
    if len({part.label for part in parts}) > 1:
        labels = ", ".join(sorted({part.label for part in parts}))
        problems.append(finding("L06", _place(frame, group[0]["id"]), f"parts of one object with labels {labels}"))
        return None, problems
    return _row(parts, frame, row_id), problems


def _row(parts: Sequence[_Part], frame: Frame, row_id: str) -> Annotation:
    boxes = [part for part in parts if part.tool == "box"]
    masks = [part.mask for part in parts if part.mask is not None]
    polygons: Polygons | None = [[part.ring] for part in parts if part.tool == "polygon" and part.ring is not None]
    segmentation: Rle | None = None
    attributes: dict[str, Any] | None = None
    if polygons:
        segmentation = geometry.rle_from_polygons(polygons, frame.width, frame.height)
    if masks:
        segmentation, polygons = _union([*masks, *([segmentation] if segmentation else [])]), None
    elif not polygons and (len(boxes) > 1 or boxes[0].turned):
        polygons = [[part.ring] for part in boxes if part.ring is not None]
        attributes = {"review": {"turned": list(boxes[0].turned)}} if len(boxes) == 1 and boxes[0].turned else None
    if len(boxes) == 1 and boxes[0].box is not None:
        x, y, w, h = boxes[0].box
    elif polygons:
        x, y, w, h = geometry.polygon_bounds(polygons)
    else:
        assert segmentation is not None
        x, y, w, h = geometry.rle_bounds(segmentation)
    if segmentation is not None:
        area = float(geometry.rle_area(segmentation))
    else:
        area = sum(geometry.shoelace_area(part[0]) for part in polygons) if polygons else w * h
    return Annotation(
        id=row_id,
        image_id=frame.image_id,
        category=parts[0].label,
        x=x,
        y=y,
        w=w,
        h=h,
        area=area,
        segmentation=segmentation,
        polygons=polygons or None,
        attributes=attributes,
    )


def _union(masks: Sequence[Rle]) -> Rle:
    if len(masks) == 1:
        return masks[0]
    painted = np.zeros(masks[0].size, bool)
    for mask in masks:
        painted |= geometry.mask_from_rle(mask) > 0
    return geometry.rle_from_mask(painted)


def _part(region: Region, frame: Frame) -> tuple[_Part | None, list[Finding]]:
    """One region, checked: what it draws, and what is wrong with it."""
    where = _place(frame, str(region.get("id")))
    tool = TOOLS.get(str(region.get("type")))
    if tool is None or frame.controls.get(str(region.get("from_name"))) != tool:
        seen = f"{region.get('type')} of control {region.get('from_name')!r}"
        return None, [finding("L06", where, f"{seen}; the round offers {', '.join(sorted(frame.controls))}")]
    size = region.get("original_width"), region.get("original_height")
    if size != (frame.width, frame.height):
        return None, [finding("L03", where, f"drawn on {size[0]} x {size[1]} px; image {frame.width} x {frame.height}")]
    if region.get("image_rotation"):
        return None, [finding("L03", where, f"drawn on the image turned by {region['image_rotation']} degrees")]
    value = region.get("value")
    if not isinstance(value, dict):
        return None, [finding("S01", where, "no value")]
    labels = value.get(TYPES[tool])
    label = labels[0] if isinstance(labels, list) and len(labels) == 1 else None
    if not isinstance(label, str) or label not in frame.labels:
        return None, [finding("L06", where, f"labels {labels!r}; expected one that the round's config has")]
    category = frame.labels[label]
    if tool == "mask":
        return _mask_part(value, frame, category, where)
    if tool == "polygon":
        return _polygon_part(value, frame, category, where)
    return _box_part(value, frame, category, where)


def _mask_part(value: dict[str, Any], frame: Frame, label: str, where: str) -> tuple[_Part | None, list[Finding]]:
    try:
        mask = brush.decode(value.get("rle") or [], frame.width, frame.height)
    except ValueError as error:
        return None, [finding("M11", where, str(error))]
    if not geometry.rle_area(mask):
        return None, [finding("M09", where, "a brush mask without a pixel; left out")]
    return _Part("mask", label, mask=mask), []


def _polygon_part(value: dict[str, Any], frame: Frame, label: str, where: str) -> tuple[_Part | None, list[Finding]]:
    points = value.get("points")
    if not isinstance(points, list) or not all(
        isinstance(p, list) and len(p) == 2 and all(_number(v) for v in p) for p in points
    ):
        return None, [finding("M01", where, "points are not pairs of numbers")]
    ring = [c for px, py in points for c in (pixels(px, frame.width), pixels(py, frame.height))]
    wrong = geometry.check_ring(ring, frame.width, frame.height)
    if wrong:
        return None, [finding(wrong[:3], where, wrong[4:], severity="error")]
    problems = _outside([p[0] for p in points], [p[1] for p in points], where)
    return (None if _refused(problems) else _Part("polygon", label, ring=ring)), problems


def _box_part(value: dict[str, Any], frame: Frame, label: str, where: str) -> tuple[_Part | None, list[Finding]]:
    given = [value.get(key) for key in ("x", "y", "width", "height")]
    rotation = value.get("rotation", 0)
    if not all(map(_number, [*given, rotation])):
        return None, [finding("B01", where, f"box {given}, rotation {rotation!r}")]
    x, y = pixels(given[0], frame.width), pixels(given[1], frame.height)  # type: ignore[arg-type]
    w, h = pixels(given[2], frame.width), pixels(given[3], frame.height)  # type: ignore[arg-type]
    if w <= 0 or h <= 0:
        return None, [finding("B02" if w < 0 or h < 0 else "B03", where, f"box {w} x {h} px", severity="error")]
    problems: list[Finding] = []
    corners = turned_corners(x, y, w, h, rotation) if rotation % 360 else [x, y, x + w, y, x + w, y + h, x, y + h]
    if rotation % 360:
        problems.append(finding("L05", where, f"box turned by {rotation} degrees; kept as polygon and envelope"))
    problems += _outside(
        [c / frame.width * 100 for c in corners[::2]], [c / frame.height * 100 for c in corners[1::2]], where
    )
    if _refused(problems):
        return None, problems
    if rotation % 360:
        envelope = geometry.polygon_bounds([[corners]])
        return _Part("box", label, ring=corners, box=envelope, turned=(x, y, w, h, rotation)), problems
    return _Part("box", label, ring=corners, box=(x, y, w, h)), problems


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refused(problems: Sequence[Finding]) -> bool:
    return any(one.severity == "error" for one in problems)


def _outside(xs: Sequence[float], ys: Sequence[float], where: str) -> list[Finding]:
    if max(xs) <= 0 or max(ys) <= 0 or min(xs) >= 100 or min(ys) >= 100:
        return [finding("L04", where, "wholly outside the image", severity="error")]
    if min(*xs, *ys) < -TOLERANCE or max(*xs, *ys) > 100 + TOLERANCE:
        return [finding("L04", where, "sticks out of the image; kept as drawn")]
    return []
