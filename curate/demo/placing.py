"""Where the things of a drawn scene stand: strewn over a table, or along a street in perspective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from curate.demo.figures import Figure, Points, figure
from curate.demo.grounds import Plane, View

Random = np.random.Generator
Extent = tuple[float, float, float, float]  # x, y, w, h in pixels
_TRIES = 16


class Pose(NamedTuple):
    """Where a figure stands: its centre in pixels, pixels per unit, turn in radians, mirrored, foreshortened."""

    x: float
    y: float
    scale: float
    turn: float = 0.0
    mirrored: bool = False
    squeeze: float = 1.0
    depth: float | None = None  # metres from the camera, in a street

    def apply(self, points: Points) -> Points:
        """Unit coordinates to pixels."""
        x = points[:, 0] * (-1 if self.mirrored else 1)
        y = points[:, 1] * self.squeeze
        cos, sin = math.cos(self.turn) * self.scale, math.sin(self.turn) * self.scale
        return np.stack([self.x + x * cos - y * sin, self.y + x * sin + y * cos], axis=1)

    def invert(self, x: Plane, y: Plane) -> tuple[Plane, Plane]:
        """Pixels to unit coordinates."""
        cos, sin = math.cos(self.turn) / self.scale, math.sin(self.turn) / self.scale
        u, v = (x - self.x) * cos + (y - self.y) * sin, -(x - self.x) * sin + (y - self.y) * cos
        return u * (-1 if self.mirrored else 1), v / self.squeeze


def on_the_table(
    rng: Random,
    things: Sequence[Figure],
    width: int,
    height: int,
    size: tuple[float, float],
    crowding: float,
    turned: bool,
    cut: bool,
) -> list[tuple[Figure, Pose]]:
    """Poses for ``things`` in the order of painting, as ``draw_scene`` says; later ones may cover earlier ones."""
    side = min(width, height)
    placed: list[tuple[Figure, Pose]] = []
    boxes: list[Extent] = []
    for thing in things:
        best: tuple[float, Pose] | None = None
        for _ in range(_TRIES):
            scale = side * float(np.exp(rng.uniform(*np.log(size))))
            if boxes and rng.random() < crowding:
                x, y, w, h = boxes[rng.integers(len(boxes))]
                # From half on top of the other to just beside it.
                reach = (0.45 * scale + 0.35 * math.hypot(w, h)) * rng.uniform(0.4, 1.0)
                angle = rng.uniform(0, 2 * math.pi)
                x, y = x + w / 2 + math.cos(angle) * reach, y + h / 2 + math.sin(angle) * reach
            else:
                x, y = rng.uniform(0, width), rng.uniform(0, height)
            turn = float(rng.uniform(0, 2 * math.pi)) if turned else 0.0
            pose = Pose(0.0, 0.0, scale, turn, bool(rng.random() < 0.5), float(rng.uniform(0.8, 1)))
            _, _, w, h = extent(thing, pose)
            dx, dy = (0.1 * scale, 0.1 * scale) if cut else (w / 2 + 1, h / 2 + 1)
            x = min(max(x, dx), max(width - dx, width / 2))
            y = min(max(y, dy), max(height - dy, height / 2))
            pose = pose._replace(x=float(x), y=float(y))
            covered = max((_covered(box, extent(thing, pose)) for box in boxes), default=0.0)
            if best is None or covered < best[0]:
                best = covered, pose
            if covered < 0.6:
                break
        assert best is not None
        placed.append((thing, best[1]))
        boxes.append(extent(thing, best[1]))
    return placed


# Lanes and parking strips, or pavements, as metres to the right of the middle of the road.
_LANES = (-5.4, -1.9, 1.9, 5.4)
_REACH = {"truck": (12, 70), "bus": (12, 70), "tram": (16, 80), "van": (8, 60)}


def along_the_street(
    rng: Random, things: Sequence[Figure], view: View, width: int, height: int
) -> list[tuple[Figure, Pose]]:
    """Poses for ``things`` from the farthest to the nearest; those that find no place in the frame are left out."""
    placed: list[tuple[Figure, Pose]] = []
    boxes: list[Extent] = []
    for thing in things:
        walks = thing.category in ("person", "cyclist", "bicycle", "rider")
        best: tuple[float, Pose] | None = None
        for _ in range(_TRIES):
            near, far = _REACH.get(thing.category, (4, 55))
            z = float(np.exp(rng.uniform(np.log(near), np.log(far))))
            if walks and rng.random() < 0.8:
                x = float(rng.choice([-1, 1]) * rng.uniform(5.5, 9.5))
            else:
                x = float(rng.choice(_LANES) + rng.normal(0, 0.35))
            pose = _standing(thing, view, x, z, bool(rng.random() < 0.5))
            left, top, w, h = extent(thing, pose)
            if left + w < 4 or left > width - 4 or left + w / 2 < -0.2 * w or left + w / 2 > width + 0.2 * w:
                continue
            # Whatever is nearer covers the other.
            covered = max((_covered(box, (left, top, w, h)) for box in boxes), default=0.0)
            if best is None or covered < best[0]:
                best = covered, pose
            if covered < 0.6:
                break
        if best is None:
            continue
        boxes.append(extent(thing, best[1]))
        if thing.category == "rider":
            below = figure("bicycle", thing.instance)
            x = (best[1].x - view.centre) / view.focal * (best[1].depth or 1)
            placed.append((below, _standing(below, view, x, best[1].depth or 1, best[1].mirrored)))
        placed.append((thing, best[1]))
    # Stable: a rider stays behind the bicycle that was put down just before.
    return sorted(placed, key=lambda pair: -(pair[1].depth or 0))


def _standing(thing: Figure, view: View, x: float, z: float, mirrored: bool) -> Pose:
    """The pose in which the anchor of ``thing`` stands on the road, ``x`` metres to the right and ``z`` ahead."""
    scale = thing.metres * view.focal / z
    column, row = view.place(x, z)
    dx = thing.anchor[0] * (-1 if mirrored else 1)
    return Pose(column - dx * scale, row - thing.anchor[1] * scale, scale, mirrored=mirrored, depth=z)


def extent(thing: Figure, pose: Pose) -> Extent:
    """The box around the figure's own box, in pixels; it may leave the frame."""
    w, h = thing.size
    corners = pose.apply(np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) / 2)
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return x1, y1, x2 - x1, y2 - y1


def _covered(under: Extent, over: Extent) -> float:
    """The larger of the two shares that the boxes cover of each other's."""
    w = min(under[0] + under[2], over[0] + over[2]) - max(under[0], over[0])
    h = min(under[1] + under[3], over[1] + over[3]) - max(under[1], over[1])
    smaller = min(under[2] * under[3], over[2] * over[3])
    return max(w, 0.0) * max(h, 0.0) / max(smaller, 1e-6)
