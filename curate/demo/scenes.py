"""Drawn scenes with exact truth: many things, clutter, occlusion, shadows, small targets; a pure function of a seed.

A pixel belongs to the nearest thing that covers at least half of it, so visible masks never overlap. Pixels, origin at
the top-left corner of the top-left pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.demo import grounds
from curate.demo.figures import TABLE, Figure, figure
from curate.demo.grounds import Region, View
from curate.demo.painting import develop, paint
from curate.demo.placing import Pose, along_the_street, on_the_table
from curate.geometry import shoelace_area
from curate.model import Polygons

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One thing in a scene, with its truth.

    ``mask`` is what can be seen, ``amodal`` also what nearer things cover, both ``(height, width)`` of the frame.
    ``polygons`` is the whole outline, parts of rings, and ``box`` the ``x, y, w, h`` around it; both may leave the
    frame. ``visible`` is the seen share of the part inside the frame, ``truncated`` the share outside it.
    """

    figure: Figure
    pose: Pose
    mask: Mask
    amodal: Mask
    polygons: Polygons
    box: tuple[float, float, float, float]
    visible: float
    truncated: float

    @property
    def category(self) -> str:
        return self.figure.category

    @property
    def instance(self) -> int:
        return self.figure.instance


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture ``(height, width, 3)`` of 8-bit RGB, and the things in it from the farthest to the nearest.

    Things of which less than ``min_visible`` pixels can be seen are painted but not listed. A street also has its
    ``view`` and ``regions``.
    """

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    view: View | None = None
    regions: tuple[Region, ...] = ()


def draw_scene(
    seed: int | Sequence[int],
    width: int,
    height: int,
    n_objects: int,
    *,
    ground: Literal["table", "street"] = "table",
    families: Sequence[str] | None = None,
    figures: Sequence[Figure] = (),
    size: tuple[float, float] = (0.07, 0.4),
    crowding: float = 0.4,
    turned: bool = True,
    cut: bool = True,
    shadows: bool = True,
    focal: float = 0.8,
    min_visible: int = 12,
) -> Scene:
    """Draw the scene number ``seed``.

    Args:
        n_objects: things besides the given ``figures``.
        ground: a table top seen from above, or a street in perspective, where distance rules size and order.
        families: what the ``n_objects`` things may be; all that fit the ground if not given. In a street a ``rider``
            always comes with the ``bicycle`` below.
        figures: particular things that shall be in the scene, each once.
        size: smallest and largest extent on a table, in shares of the shorter side; small ones are more frequent.
        crowding: share of things that are put beside or onto another one.
        turned: whether things on a table lie at any angle, or upright.
        cut: whether the frame may cut things on a table.
        focal: focal length of a street's camera, in picture widths.
        min_visible: pixels that must be seen for a thing to be listed.
    """
    rng = np.random.default_rng([*(seed if isinstance(seed, Sequence) else [seed]), width, height])
    chosen = families or (TABLE if ground == "table" else ("car", "van", "truck", "person", "cyclist"))
    things = [*figures]
    things += [figure(chosen[int(rng.integers(len(chosen)))], int(rng.integers(2**31))) for _ in range(n_objects)]
    view: View | None = None
    regions: list[Region] = []
    if ground == "street":
        picture, view, regions = grounds.street(rng, width, height, focal)
        placed = along_the_street(rng, things, view, width, height)
    else:
        picture = grounds.table(rng, width, height)
        order = rng.permutation(len(things)).tolist()
        placed = on_the_table(rng, [things[i] for i in order], width, height, size, crowding, turned, cut)
    light = rng.uniform(0, 2 * math.pi)
    owner = np.full((height, width), -1, np.int16)
    covers: list[Mask] = []
    for index, (thing, pose) in enumerate(placed):
        cover = paint(picture, thing, pose, light, shadows)
        covers.append(cover >= 0.5)
        owner[covers[-1]] = index
    objects = [
        _describe(thing, pose, owner == index, cover)
        for index, ((thing, pose), cover) in enumerate(zip(placed, covers, strict=True))
    ]
    listed = tuple(thing for thing in objects if np.count_nonzero(thing.mask) >= min_visible)
    return Scene(develop(rng, picture), listed, view, tuple(regions))


def _describe(thing: Figure, pose: Pose, mask: Mask, amodal: Mask) -> SceneObject:
    polygons = outline(thing, pose)
    points = np.concatenate([np.asarray(ring).reshape(-1, 2) for part in polygons for ring in part])
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    inside = int(np.count_nonzero(amodal))
    whole = max(sum(_area(part) for part in polygons), 1e-6)
    visible = int(np.count_nonzero(mask)) / inside if inside else 0.0
    truncated = min(max(1 - inside / whole, 0.0), 1.0)
    touches = x1 < 0 or y1 < 0 or x2 > mask.shape[1] or y2 > mask.shape[0]
    return SceneObject(
        thing, pose, mask, amodal, polygons, (x1, y1, x2 - x1, y2 - y1), visible, truncated if touches else 0.0
    )


def outline(thing: Figure, pose: Pose) -> Polygons:
    """The outline of all parts together, in pixels to a tenth: parts of rings, outer first, then holes."""
    from shapely import Polygon, unary_union

    shapes = [Polygon(pose.apply(part.rings[0]), [pose.apply(hole) for hole in part.rings[1:]]) for part in thing.parts]
    union = unary_union([shape.buffer(0) for shape in shapes]).simplify(0.2)
    pieces = [union] if union.geom_type == "Polygon" else list(union.geoms)
    polygons = []
    for piece in sorted(pieces, key=lambda p: -p.area):
        rings = [np.round(np.asarray(ring.coords)[:-1], 1) for ring in (piece.exterior, *piece.interiors)]
        if piece.area >= 0.5:
            polygons.append([ring.ravel().tolist() for ring in rings])
    if not polygons:
        x, y, w, h = pose.x, pose.y, pose.scale * thing.size[0] / 2, pose.scale * thing.size[1] / 2
        polygons = [[[x - w, y - h, x + w, y - h, x + w, y + h, x - w, y + h]]]
    return polygons


def _area(part: list[list[float]]) -> float:
    outer, *holes = (shoelace_area(ring) for ring in part)
    return outer - sum(holes)
