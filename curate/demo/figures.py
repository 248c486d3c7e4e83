"""The things that drawn scenes show: families of shapes, each put together from parts, as pure geometry.

``figure(family, instance)`` always gives the same thing, so that an instance can appear again elsewhere, larger, turned
or in another light. A figure lies in unit coordinates: x to the right, y down, its centre at the origin, the larger of
width and height equal to 1. Street figures also know their size in metres.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Colour = tuple[float, float, float]
Random = np.random.Generator

GLASS: Colour = (46, 58, 70)
TYRE: Colour = (28, 28, 30)
STEEL: Colour = (168, 172, 178)
SKIN: tuple[Colour, ...] = ((236, 196, 166), (198, 146, 108), (140, 94, 66), (92, 62, 46))


class Part(NamedTuple):
    """One painted piece: its outer ring and holes, ``(n, 2)`` points each, its colour, and whether it is patterned."""

    rings: tuple[Points, ...]
    colour: Colour
    patterned: bool = False


class Pattern(NamedTuple):
    """What is printed on a figure, in its own coordinates, so that it turns with it; part of what makes an instance."""

    kind: str  # plain, stripes, checks, dots or rings
    colour: Colour
    frequency: float
    angle: float


class Figure(NamedTuple):
    """One particular thing. ``metres`` is what the unit length stands for, 0 for things of no set size.

    ``anchor`` is the point that stands on the ground; a rider's is that of the bicycle below.
    """

    category: str
    instance: int
    parts: tuple[Part, ...]
    pattern: Pattern
    size: tuple[float, float]  # width, height; the larger is 1
    anchor: tuple[float, float]
    metres: float = 0.0


def figure(family: str, instance: int) -> Figure:
    """The thing number ``instance`` of a family.

    Raises:
        KeyError: there is no such family.
    """
    rng = np.random.default_rng([instance, *family.encode()])
    parts = FAMILIES[family](rng)
    kinds = ("plain", "stripes", "checks", "dots", "rings") if family not in STREET else ("plain",)
    pattern = Pattern(
        kinds[rng.integers(len(kinds))], vivid(rng), float(rng.uniform(3, 8)), float(rng.uniform(0, math.pi))
    )
    points = np.concatenate([ring for part in parts for ring in part.rings])
    low, high = points.min(axis=0), points.max(axis=0)
    extent, centre = float((high - low).max()), (low + high) / 2
    parts = [part._replace(rings=tuple((ring - centre) / extent for ring in part.rings)) for part in parts]
    width, height = ((high - low) / extent).tolist()
    x, y = (-centre / extent).tolist()
    return Figure(family, instance, tuple(parts), pattern, (width, height), (x, y), extent if family in STREET else 0.0)


def vivid(rng: Random) -> Colour:
    """A strong colour of any hue."""
    return _rgb(rng.uniform(), rng.uniform(0.55, 0.95), rng.uniform(0.5, 0.95))


def muted(rng: Random) -> Colour:
    """The colour of paint and cloth in a street: often grey, white or black."""
    if rng.random() < 0.45:
        return _rgb(0.6, rng.uniform(0, 0.08), float(rng.choice([0.16, 0.34, 0.62, 0.82, 0.93])))
    return _rgb(rng.choice([0.0, 0.03, 0.1, 0.33, 0.55, 0.6, 0.63]), rng.uniform(0.4, 0.85), rng.uniform(0.35, 0.8))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(float(hue), float(saturation), float(value))
    return red * 255, green * 255, blue * 255


def _shift(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


def _points(*pairs: tuple[float, float]) -> Points:
    return np.array(pairs, float)


def _ellipse(x: float, y: float, rx: float, ry: float, n: int = 40) -> Points:
    turn = np.linspace(0, 2 * math.pi, n, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def _rectangle(x1: float, y1: float, x2: float, y2: float, corner: float = 0.0) -> Points:
    if not corner:
        return _points((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    turn = np.linspace(0, math.pi / 2, 6)
    arcs = []
    for i, (x, y) in enumerate([(x2, y2), (x1, y2), (x1, y1), (x2, y1)]):
        cx, cy = x - math.copysign(corner, x - (x1 + x2) / 2), y - math.copysign(corner, y - (y1 + y2) / 2)
        angle = turn + i * math.pi / 2
        arcs.append(np.stack([cx + corner * np.cos(angle), cy + corner * np.sin(angle)], axis=1))
    return np.concatenate(arcs)


def _bar(start: tuple[float, float], end: tuple[float, float], width: float) -> Points:
    a, b = np.array(start), np.array(end)
    along = (b - a) / np.linalg.norm(b - a)
    side = np.array([-along[1], along[0]]) * width / 2
    return np.stack([a + side, b + side, b - side, a - side])


# ------------------------------------------------------------------------------------------- things on a table


def _disc(rng: Random) -> list[Part]:
    colour = vivid(rng)
    inner = rng.uniform(0.3, 0.7)
    return [Part((_ellipse(0, 0, 1, 1, 64),), colour, True), Part((_ellipse(0, 0, inner, inner),), vivid(rng))]


def _polygon(rng: Random) -> list[Part]:
    n = int(rng.integers(3, 8))
    turn = (np.arange(n) + rng.uniform(-0.25, 0.25, n)) * 2 * math.pi / n
    radius = rng.uniform(0.8, 1.1, n)
    outline = np.stack([np.cos(turn) * radius, np.sin(turn) * radius * rng.uniform(0.6, 1)], axis=1)
    return [Part((outline,), vivid(rng), True)]


def _star(rng: Random) -> list[Part]:
    n = int(rng.integers(4, 9))
    turn = np.arange(2 * n) * math.pi / n
    radius = np.where(np.arange(2 * n) % 2, rng.uniform(0.35, 0.6), 1.0)
    return [Part((np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1),), vivid(rng), True)]


def _ring(rng: Random) -> list[Part]:
    inner = rng.uniform(0.4, 0.75)
    return [Part((_ellipse(0, 0, 1, 1, 64), _ellipse(0, 0, inner, inner, 48)), vivid(rng), True)]


def _cross(rng: Random) -> list[Part]:
    arm = rng.uniform(0.18, 0.35)
    a, b = arm, 1.0
    outline = _points(
        (-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)
    )
    return [Part((outline,), vivid(rng), True)]


def _blob(rng: Random) -> list[Part]:
    turn = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    radius = np.ones_like(turn)
    for k in range(2, 6):
        radius += rng.normal(0, 0.3 / k) * np.cos(k * turn + rng.uniform(0, 2 * math.pi))
    radius = np.maximum(radius, 0.25)
    return [Part((np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1),), vivid(rng), True)]


def _bottle(rng: Random) -> list[Part]:
    colour, width, neck = vivid(rng), rng.uniform(0.22, 0.36), rng.uniform(0.08, 0.12)
    shoulder = rng.uniform(-0.45, -0.2)
    right = [(neck, -0.9), (neck, shoulder - 0.12), (width * 0.8, shoulder), (width, shoulder + 0.14), (width, 1.0)]
    outline = _points(*right, *[(-x, y) for x, y in reversed(right)])
    return [
        Part((outline,), colour),
        Part((_rectangle(-neck * 1.3, -1.0, neck * 1.3, -0.84),), vivid(rng)),
        Part((_rectangle(-width, 0.05, width, 0.65),), (238, 232, 216), True),
        Part((_rectangle(-width * 0.75, shoulder + 0.16, -width * 0.55, 0.9),), _shift(colour, 1.5)),
    ]


def _mug(rng: Random) -> list[Part]:
    colour, slope = vivid(rng), rng.uniform(0, 0.12)
    body = _points((-0.6, -0.7), (0.6, -0.7), (0.6 - slope, 0.7), (-0.6 + slope, 0.7))
    handle = (_ellipse(0.62, -0.02, 0.4, 0.46), _ellipse(0.62, -0.02, 0.24, 0.3))
    return [
        Part(handle, _shift(colour, 0.85)),
        Part((body,), colour, True),
        Part((_ellipse(0, -0.7, 0.6, 0.14),), _shift(colour, 1.25)),
        Part((_ellipse(0, -0.69, 0.5, 0.1),), (70, 44, 30)),
    ]


def _hammer(rng: Random) -> list[Part]:
    head = _points((-0.5, -0.98), (0.28, -0.98), (0.62, -0.8), (0.28, -0.68), (-0.5, -0.68))
    return [
        Part((_bar((0, 1), (0, -0.7), rng.uniform(0.14, 0.22)),), vivid(rng), True),
        Part((head,), STEEL),
        Part((_rectangle(-0.62, -1.02, -0.44, -0.64),), _shift(STEEL, 0.7)),
    ]


def _wrench(rng: Random) -> list[Part]:
    colour = _shift(STEEL, rng.uniform(0.7, 1.2))
    jaw = _points(
        (-0.1, -0.55), (-0.34, -0.72), (-0.3, -1.0), (-0.12, -0.98), (-0.13, -0.78), (0.13, -0.78), (0.12, -0.98),
        (0.3, -1.0), (0.34, -0.72), (0.1, -0.55),
    )  # fmt: skip
    return [
        Part((_bar((0, 0.8), (0, -0.6), rng.uniform(0.15, 0.22)),), vivid(rng), True),
        Part((jaw,), colour),
        Part((_ellipse(0, 0.82, 0.24, 0.24), _ellipse(0, 0.82, 0.13, 0.13, 6)), colour),
    ]


def _screwdriver(rng: Random) -> list[Part]:
    colour = vivid(rng)
    return [
        Part((_bar((0, 0.1), (0, -0.95), 0.08),), STEEL),
        Part((_points((-0.07, -0.85), (0.07, -0.85), (0.04, -1.05), (-0.04, -1.05)),), _shift(STEEL, 0.75)),
        Part((_rectangle(-0.17, 0.05, 0.17, 1.0, 0.1),), colour, True),
        Part((_rectangle(-0.19, 0.0, 0.19, 0.14, 0.05),), _shift(colour, 0.6)),
    ]


# ------------------------------------------------------------------------------- things in a street, in metres


def _wheel(x: float, radius: float) -> list[Part]:
    return [
        Part((_ellipse(x, -radius, radius, radius),), TYRE),
        Part((_ellipse(x, -radius, radius * 0.55, radius * 0.55, 24),), (150, 152, 156)),
    ]


def _car(rng: Random) -> list[Part]:
    return _car_side(rng) if rng.random() < 0.4 else _car_rear(rng)


def _car_side(rng: Random) -> list[Part]:
    colour, roof, nose = muted(rng), -rng.uniform(1.38, 1.55), rng.uniform(1.0, 1.4)
    body = _points(
        (-2.1, -0.3), (-2.12, -0.74), (-1.95, -0.88), (-1.45, -0.93), (-0.9, roof), (0.6, roof), (nose, -0.92),
        (1.95, -0.8), (2.1, -0.62), (2.1, -0.3),
    )  # fmt: skip
    back = _points((-1.2, -0.95), (-0.82, roof + 0.1), (-0.1, roof + 0.1), (-0.1, -0.95))
    front = _points((0.0, -0.95), (0.0, roof + 0.1), (0.54, roof + 0.1), (nose - 0.14, -0.95))
    return [
        Part((body,), colour, True),
        Part((back,), GLASS),
        Part((front,), GLASS),
        Part((_rectangle(1.92, -0.74, 2.08, -0.6),), (250, 240, 190)),
        Part((_rectangle(-2.1, -0.78, -1.98, -0.6),), (176, 26, 28)),
        Part((_rectangle(-2.05, -0.4, 2.05, -0.3),), _shift(colour, 0.55)),
        *_wheel(-1.3, 0.33),
        *_wheel(1.28, 0.33),
    ]


def _car_rear(rng: Random) -> list[Part]:
    colour, roof = muted(rng), -rng.uniform(1.4, 1.6)
    return [
        Part((_rectangle(-0.82, -0.4, -0.58, 0.0),), TYRE),
        Part((_rectangle(0.58, -0.4, 0.82, 0.0),), TYRE),
        Part((_points((-0.86, -0.86), (-0.62, roof), (0.62, roof), (0.86, -0.86)),), colour),
        Part((_rectangle(-0.9, -0.98, 0.9, -0.22, 0.12),), colour, True),
        Part((_points((-0.7, -0.95), (-0.54, roof + 0.1), (0.54, roof + 0.1), (0.7, -0.95)),), GLASS),
        Part((_rectangle(-0.87, -0.86, -0.62, -0.66),), (190, 30, 30)),
        Part((_rectangle(0.62, -0.86, 0.87, -0.66),), (190, 30, 30)),
        Part((_rectangle(-0.26, -0.62, 0.26, -0.5),), (240, 240, 235)),
        Part((_rectangle(-0.88, -0.4, 0.88, -0.24),), _shift(colour, 0.55)),
    ]


def _van(rng: Random) -> list[Part]:
    colour, roof = muted(rng), -rng.uniform(1.95, 2.3)
    body = _points(
        (-2.4, -0.32), (-2.4, roof + 0.12), (-2.28, roof), (1.2, roof), (1.85, -1.15), (2.38, -0.95), (2.4, -0.32)
    )
    return [
        Part((body,), colour, True),
        Part((_points((0.5, -1.2), (0.5, roof + 0.2), (1.06, roof + 0.2), (1.6, -1.2)),), GLASS),
        Part((_rectangle(-0.6, -1.9, -0.56, -0.45),), _shift(colour, 0.6)),
        Part((_rectangle(2.22, -0.88, 2.38, -0.7),), (250, 240, 190)),
        *_wheel(-1.5, 0.36),
        *_wheel(1.45, 0.36),
    ]


def _truck(rng: Random) -> list[Part]:
    cab, load = vivid(rng), muted(rng)
    return [
        Part((_rectangle(-4.0, -3.4, 2.0, -0.8),), load, True),
        Part((_rectangle(-4.0, -0.8, 3.6, -0.55),), (52, 52, 56)),
        Part((_points((2.15, -0.6), (2.15, -2.75), (3.1, -2.75), (3.7, -1.6), (3.75, -0.6)),), cab),
        Part((_points((2.7, -1.65), (2.7, -2.5), (3.05, -2.5), (3.5, -1.65)),), GLASS),
        *_wheel(-3.0, 0.5),
        *_wheel(-1.8, 0.5),
        *_wheel(2.85, 0.5),
    ]


def _long_carriage(rng: Random, length: float, wheels: Sequence[float]) -> list[Part]:
    colour, half = vivid(rng), length / 2
    panes = np.linspace(-half + 0.4, half - 1.6, int(length / 1.5))
    return [
        Part((_rectangle(-half, -3.1, half, -0.35, 0.25),), colour, True),
        Part((_rectangle(-half + 0.2, -1.15, half - 0.2, -0.95),), _shift(colour, 1.4)),
        *[Part((_rectangle(x, -2.7, x + 1.15, -1.5),), GLASS) for x in panes.tolist()],
        *[part for x in wheels for part in _wheel(x, 0.48)],
    ]


def _bus(rng: Random) -> list[Part]:
    return _long_carriage(rng, 10.5, (-3.2, 3.4))


def _tram(rng: Random) -> list[Part]:
    return [
        *_long_carriage(rng, 13.0, (-4.6, -3.4, 3.4, 4.6)),
        Part((_bar((-0.6, -3.1), (0.2, -3.8), 0.1),), (60, 60, 64)),
        Part((_bar((-0.5, -3.8), (0.9, -3.8), 0.1),), (60, 60, 64)),
    ]


def _person(rng: Random) -> list[Part]:
    shirt, trousers, skin = muted(rng), _shift(muted(rng), 0.7), SKIN[rng.integers(len(SKIN))]
    stride, tall = rng.uniform(0.08, 0.26), rng.uniform(1.55, 1.9)
    hip, chest = -tall * 0.5, -tall * 0.84
    return [
        Part((_bar((0.0, hip), (-stride, -0.04), 0.17),), _shift(trousers, 0.8)),
        Part((_bar((0.0, hip), (stride, -0.04), 0.17),), trousers),
        Part((_rectangle(-stride - 0.1, -0.1, -stride + 0.16, 0.0),), TYRE),
        Part((_rectangle(stride - 0.1, -0.1, stride + 0.16, 0.0),), TYRE),
        Part((_points((-0.2, chest), (0.2, chest), (0.16, hip + 0.06), (-0.16, hip + 0.06)),), shirt, True),
        Part((_bar((-0.19, chest + 0.04), (-0.24 - stride / 3, hip), 0.1),), _shift(shirt, 0.8)),
        Part((_bar((0.19, chest + 0.04), (0.24 + stride / 3, hip), 0.1),), shirt),
        Part((_bar((0, chest + 0.02), (0, chest - 0.1), 0.1),), skin),
        Part((_ellipse(0.01, -tall + 0.13, 0.1, 0.13, 24),), skin),
        Part((_ellipse(-0.02, -tall + 0.08, 0.11, 0.08, 24),), (52, 40, 32)),
    ]


def _bicycle(rng: Random) -> list[Part]:
    colour, r = vivid(rng), 0.34
    hub = [Part((_ellipse(x, -r, r, r, 36), _ellipse(x, -r, r - 0.07, r - 0.07, 36)), TYRE) for x in (-0.52, 0.52)]
    joints = [((-0.52, -r), (-0.18, -0.82)), ((-0.18, -0.82), (0.36, -0.86)), ((-0.18, -0.82), (0.02, -0.32))]
    joints += [((0.02, -0.32), (0.36, -0.86)), ((-0.52, -r), (0.02, -0.32)), ((0.52, -r), (0.34, -1.02))]
    return [
        *hub,
        *[Part((_bar(a, b, 0.06),), colour) for a, b in joints],
        Part((_bar((0.24, -1.04), (0.46, -1.0), 0.06),), TYRE),
        Part((_rectangle(-0.3, -0.92, -0.06, -0.84),), TYRE),
    ]


def _rider(rng: Random) -> list[Part]:
    shirt, trousers, skin = vivid(rng), _shift(muted(rng), 0.7), SKIN[rng.integers(len(SKIN))]
    return [
        Part((_bar((-0.16, -0.92), (0.1, -0.66), 0.16),), trousers),
        Part((_bar((0.1, -0.68), (0.02, -0.26), 0.13),), trousers),
        Part((_bar((-0.16, -0.9), (0.1, -1.44), 0.26),), shirt, True),
        Part((_bar((0.1, -1.4), (0.36, -1.05), 0.1),), _shift(shirt, 0.85)),
        Part((_ellipse(0.17, -1.62, 0.11, 0.13, 24),), skin),
        Part((_ellipse(0.15, -1.69, 0.13, 0.09, 24),), vivid(rng)),
    ]


def _cyclist(rng: Random) -> list[Part]:
    return [*_bicycle(rng), *_rider(rng)]


FAMILIES: dict[str, Callable[[Random], list[Part]]] = {
    "disc": _disc,
    "polygon": _polygon,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "blob": _blob,
    "bottle": _bottle,
    "mug": _mug,
    "hammer": _hammer,
    "wrench": _wrench,
    "screwdriver": _screwdriver,
    "car": _car,
    "van": _van,
    "truck": _truck,
    "bus": _bus,
    "tram": _tram,
    "person": _person,
    "bicycle": _bicycle,
    "cyclist": _cyclist,
    "rider": _rider,
}
STREET = ("car", "van", "truck", "bus", "tram", "person", "bicycle", "cyclist", "rider")
TABLE = tuple(family for family in FAMILIES if family not in STREET)
