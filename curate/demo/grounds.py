"""What lies behind the things of a drawn scene: a table top, or a street with its sky, houses and road."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw

Picture = NDArray[np.floating[Any]]  # (height, width, 3), 0..255
Plane = NDArray[np.floating[Any]]  # (height, width)
Random = np.random.Generator
CAMERA_HEIGHT = 1.65  # metres above the road, as KITTI's


class Region(NamedTuple):
    """A region of a street that is no object: a label of Cityscapes and its outline, pairs of pixels."""

    label: str
    outline: tuple[tuple[float, float], ...]


class View(NamedTuple):
    """How a street is seen: the horizon's row and the focal length, in pixels."""

    horizon: float
    focal: float
    centre: float

    def place(self, x: float, z: float) -> tuple[float, float]:
        """Pixel of the point of the road ``x`` metres to the right and ``z`` ahead."""
        return self.centre + self.focal * x / z, self.horizon + self.focal * CAMERA_HEIGHT / z


def smooth_noise(rng: Random, width: int, height: int, cells: tuple[int, ...] = (3, 9, 27)) -> Plane:
    """Noise of several scales, the coarsest strongest, between 0 and 1; ``(height, width)``."""
    field = np.zeros((height, width), np.float32)
    for i, n in enumerate(cells):
        grid = PilImage.fromarray(rng.random((n, n), dtype=np.float32))
        field += np.asarray(grid.resize((width, height), PilImage.Resampling.BICUBIC)) * 0.6**i
    field -= field.min()
    return field / max(float(field.max()), 1e-6)


def table(rng: Random, width: int, height: int) -> Picture:
    """A table top, floor or cloth, seen from above: planks, tiles, weave, or only mottled."""
    base = rng.uniform(70, 215) + rng.uniform(-28, 28, 3)
    mottled = smooth_noise(rng, width, height)[..., None]
    picture = base * (0.86 + 0.28 * mottled)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    turn = rng.uniform(0, math.pi)
    along, across = x * math.cos(turn) + y * math.sin(turn), -x * math.sin(turn) + y * math.cos(turn)
    unit = max(width, height) * rng.uniform(0.09, 0.2)
    kind = rng.integers(4)
    if kind == 0:  # planks
        plank = np.floor(across / unit).astype(int) % 16
        tone = rng.uniform(0.85, 1.12, 16)[plank]
        grain = 1 + 0.05 * np.sin(across / unit * 40 + 6 * mottled[..., 0])
        joint = np.where(np.abs(across / unit % 1) < 0.02, 0.7, 1.0)
        picture = picture * (tone * grain * joint)[..., None]
    elif kind == 1:  # tiles
        joint = (along / unit % 1 < 0.05) | (across / unit % 1 < 0.05)
        picture = np.where(joint[..., None], picture * 0.72, picture)
    elif kind == 2:  # weave
        thread = 2 * math.pi / max(3.0, unit * 0.09)
        picture = picture * (1 + 0.06 * np.sin(along * thread) * np.sin(across * thread))[..., None]
    return np.asarray(picture, np.float32)


def street(rng: Random, width: int, height: int, focal: float) -> tuple[Picture, View, list[Region]]:
    """A street that runs away from the viewer; ``focal`` in picture widths."""
    view = View(height * rng.uniform(0.4, 0.46), focal * width, width * rng.uniform(0.42, 0.58))
    image = PilImage.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    regions = [_sky(draw, rng, width, view)]
    regions += _houses(draw, rng, width, view)
    regions += _ground(draw, rng, width, height, view)
    regions += _trees(draw, rng, width, view)
    picture = np.asarray(image, np.float32) * (0.93 + 0.14 * smooth_noise(rng, width, height, (5, 25, 80)))[..., None]
    return picture, view, regions


def _box(x1: float, y1: float, x2: float, y2: float) -> tuple[tuple[float, float], ...]:
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def _sky(draw: ImageDraw.ImageDraw, rng: Random, width: int, view: View) -> Region:
    top, low = np.array([118, 158, 205]) + rng.uniform(-25, 25), np.array([226, 230, 230]) + rng.uniform(-15, 10)
    rows = math.ceil(view.horizon) + 1
    for row in range(rows):
        share = row / rows
        draw.line((0, row, width, row), fill=_tint(top * (1 - share) + low * share))
    return Region("sky", _box(0, 0, width - 1, rows))


def _houses(draw: ImageDraw.ImageDraw, rng: Random, width: int, view: View) -> list[Region]:
    regions = []
    for side in (-1, 1):
        # From the far end of the street to the near one, so that near houses cover far ones.
        for near, far in ((60, 140), (34, 60), (20, 34), (12, 20), (7, 12)):
            x1, low = view.place(side * 10.5, far)
            x2, _ = view.place(side * 10.5, near)
            top = view.horizon - view.focal * rng.uniform(7, 15) / (near + far) * 2
            left, right = min(x1, x2), max(x1, x2)
            if right < 0 or left > width:
                continue
            tone = np.array([158, 146, 134]) * rng.uniform(0.65, 1.2) + rng.uniform(-22, 22, 3)
            outline = _box(max(left, -1), max(top, -1), min(right, width), low)
            draw.polygon(outline, fill=_tint(tone))
            regions.append(Region("building", outline))
            _windows(draw, rng, (left, top, right, low), _tint(tone * rng.uniform(0.45, 0.7)))
    return regions


def _windows(
    draw: ImageDraw.ImageDraw, rng: Random, box: tuple[float, float, float, float], fill: tuple[int, int, int]
) -> None:
    left, top, right, low = box
    columns, rows = int(rng.integers(3, 6)), int(rng.integers(3, 6))
    dx, dy = (right - left) / columns, (low - top) / (rows + 1)
    if dx < 4 or dy < 4:
        return
    for i in range(columns):
        for j in range(rows):
            x, y = left + i * dx, top + j * dy
            draw.rectangle((x + dx * 0.28, y + dy * 0.3, x + dx * 0.72, y + dy * 0.78), fill=fill)


def _ground(draw: ImageDraw.ImageDraw, rng: Random, width: int, height: int, view: View) -> list[Region]:
    pavement, asphalt = rng.uniform(128, 160), rng.uniform(78, 104)
    far, near = 160.0, view.focal * CAMERA_HEIGHT / (height - view.horizon) * 0.9
    draw.rectangle((0, view.horizon, width, height), fill=_tint(np.full(3, pavement) + rng.uniform(-8, 8, 3)))
    road = (view.place(-7, far), view.place(7, far), view.place(7, near), view.place(-7, near))
    draw.polygon(road, fill=_tint(np.full(3, asphalt) + rng.uniform(-4, 4, 3)))
    for edge in (-7.0, 7.0):
        draw.line((*view.place(edge, far), *view.place(edge, near)), fill=_tint(np.full(3, pavement * 1.2)), width=1)
    distance = near
    while distance < 90:
        dash = (view.place(-0.07, distance), view.place(0.07, distance))
        end = (view.place(0.07, distance + 3), view.place(-0.07, distance + 3))
        draw.polygon((*dash, *end), fill=(206, 206, 200))
        distance += 7
    return [Region("sidewalk", _box(0, view.horizon, width - 1, height - 1)), Region("road", road)]


def _trees(draw: ImageDraw.ImageDraw, rng: Random, width: int, view: View) -> list[Region]:
    regions = []
    for z in (70, 45, 30, 20, 14):
        for side in (-1, 1):
            if rng.random() < 0.45:
                continue
            x, y = view.place(side * rng.uniform(8.2, 10), z)
            size = view.focal * rng.uniform(1.6, 2.6) / z
            if not -size < x < width + size:
                continue
            draw.rectangle((x - size * 0.09, y - size * 1.9, x + size * 0.09, y), fill=(84, 66, 50))
            green = np.array([70, 104, 52]) * rng.uniform(0.7, 1.25)
            turn = np.linspace(0, 2 * math.pi, 18, endpoint=False)
            radius = size * rng.uniform(0.8, 1.1, 18)
            points = zip((x + radius * np.cos(turn)).tolist(), (y - 2.3 * size + radius * np.sin(turn)).tolist())  # noqa: B905
            outline = tuple(points)
            draw.polygon(outline, fill=_tint(green))
            for _ in range(12):
                dx, dy, r = rng.uniform(-0.6, 0.6) * size, rng.uniform(-0.6, 0.6) * size, size * rng.uniform(0.1, 0.3)
                leaf = _tint(green * rng.uniform(0.75, 1.3))
                draw.ellipse((x + dx - r, y - 2.3 * size + dy - r, x + dx + r, y - 2.3 * size + dy + r), fill=leaf)
            regions.append(Region("vegetation", outline))
    return regions


def _tint(colour: NDArray[np.floating]) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue
