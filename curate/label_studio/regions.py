"""Annotations as Label Studio's regions: boxes, turned boxes, polygons, brush masks.

A region's geometry is in percent of its image, ``px = value / 100 * original``, as people see it: browsers turn a
picture as its EXIF orientation says. A turned box turns clockwise about its top-left corner *in pixels*. An object of
several parts is several regions, of which the others name the first as ``parentID``. A region's id follows from its
annotation's. Where there are polygons only, a mask is shown by its outline and a hole by a cut through it, since a
polygon of the server has none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from curate import brush, geometry
from curate.errors import ReviewError
from curate.model import Annotation, Polygons, Ring
from curate.tracing import outline, without_holes
from curate.turning import turned_annotation, turned_size

Region = dict[str, Any]
Tool = Literal["box", "polygon", "mask"]
TYPES: dict[Tool, str] = {"box": "rectanglelabels", "polygon": "polygonlabels", "mask": "brushlabels"}
TOOLS: dict[str, Tool] = {kind: tool for tool, kind in TYPES.items()}
IMAGE = "image"  # the name of the image in every labelling config of ours


class Frame(NamedTuple):
    """The image that regions lie in, and the labels that they may have."""

    image_id: str
    width: int  # as stored: the page shows the image turned as its orientation says
    height: int
    labels: Mapping[str, str]  # as the server shows it -> category
    controls: Mapping[str, Tool]  # name of a control in the config -> what it draws
    orientation: int | None = None  # EXIF

    @property
    def shown(self) -> Frame:
        """The frame that people see, and that regions are measured in."""
        width, height = turned_size((self.width, self.height), self.orientation)
        return self._replace(width=width, height=height, orientation=None)


def controls(tools: Iterable[Tool]) -> dict[str, Tool]:
    """The controls of our own labelling configs: each is named after what it draws."""
    return {tool: tool for tool in tools}


def region_id(annotation_id: str) -> str:
    """The id of an annotation's first region: short, stable, and no path or name of a person in it."""
    return hashlib.sha256(annotation_id.encode()).hexdigest()[:12]


def regions_of(rows: Sequence[Annotation], frame: Frame) -> list[Region]:
    """The regions that show ``rows``, with the most exact tool that the round has.

    Raises:
        ReviewError: a row has no shape that the round's tools can show, or a class that its config does not have.
    """
    names = {category: label for label, category in frame.labels.items()}
    size, orientation, frame = (frame.width, frame.height), frame.orientation, frame.shown
    regions: list[Region] = []
    for row in rows:
        row = turned_annotation(row, size, orientation)
        if row.x is None:  # a label of the whole image is no region
            continue
        if row.category not in names:
            raise ReviewError(row.id, f"class {row.category}", "expected one that the round's config has")
        name = names[row.category]
        first = region_id(row.id)
        for i, (tool, value) in enumerate(_values(row, frame)):
            control = next(name for name, kind in frame.controls.items() if kind == tool)
            region: Region = {
                "id": f"{first}-{i + 1}" if i else first,
                "type": TYPES[tool],
                "from_name": control,
                "to_name": IMAGE,
                "original_width": frame.width,
                "original_height": frame.height,
                "image_rotation": 0,
                "value": {**value, TYPES[tool]: [name]},
            }
            if i:
                region["parentID"] = first
            if row.score is not None:
                region["score"] = row.score
            regions.append(region)
    return regions


def _values(row: Annotation, frame: Frame) -> list[tuple[Tool, dict[str, Any]]]:
    tools = set(frame.controls.values())
    turned = ((row.attributes or {}).get("review") or {}).get("turned")
    if turned and "box" in tools and row.polygons == [[turned_corners(*turned)]]:
        return [("box", _box_value(turned[:4], frame, turned[4]))]
    holes = row.polygons is not None and any(len(part) > 1 for part in row.polygons)
    if row.polygons and not holes and "polygon" in tools:
        return _polygon_values(row.polygons, frame)
    mask = row.segmentation
    if mask is not None and tools & {"mask", "polygon"} and mask.size != (frame.height, frame.width):
        raise ReviewError(row.id, f"mask of {mask.size}", f"expected {(frame.height, frame.width)} (rule M05)")
    if "mask" in tools and (mask is not None or row.polygons):
        painted = mask or geometry.rle_from_polygons(row.polygons or [], frame.width, frame.height)
        return [("mask", {"format": "rle", "rle": brush.encode(painted)})]
    if "polygon" in tools and (row.polygons or mask is not None):
        parts = without_holes(row.polygons or (outline(mask) if mask is not None else []))
        if parts:
            return _polygon_values(parts, frame)
    if "box" in tools and row.x is not None and row.y is not None and row.w is not None and row.h is not None:
        return [("box", _box_value((row.x, row.y, row.w, row.h), frame, 0))]
    shape = "a mask" if mask is not None else "a box"
    raise ReviewError(row.id, f"has {shape} only", f"the round's tools are {', '.join(sorted(tools))}")


def _polygon_values(polygons: Polygons, frame: Frame) -> list[tuple[Tool, dict[str, Any]]]:
    return [("polygon", _polygon_value(part[0], frame)) for part in polygons]


def _box_value(box: Sequence[float], frame: Frame, rotation: float) -> dict[str, Any]:
    x, y, w, h = box
    return {
        "x": percent(x, frame.width),
        "y": percent(y, frame.height),
        "width": percent(w, frame.width),
        "height": percent(h, frame.height),
        "rotation": rotation,
    }


def _polygon_value(ring: Ring, frame: Frame) -> dict[str, Any]:
    points = [[percent(x, frame.width), percent(y, frame.height)] for x, y in zip(ring[::2], ring[1::2], strict=True)]
    return {"points": points, "closed": True}


def percent(value: float, side: int) -> float:
    """``value`` pixels in percent of ``side``."""
    return value / side * 100


def turned_corners(x: float, y: float, w: float, h: float, degrees: float) -> Ring:
    """The corners of a box turned clockwise about its top-left one: ``[x0, y0, ...]``, pixels."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [x, y, x + w * cos, y + w * sin, x + w * cos - h * sin, y + w * sin + h * cos, x - h * sin, y + h * cos]
