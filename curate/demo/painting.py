"""How a thing of a drawn scene is painted: coverage counted on sub-pixels, a pattern, light from one side, a shadow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFilter

from curate.demo.figures import Figure, Pattern, Points
from curate.demo.grounds import Picture, Plane, Random, smooth_noise
from curate.demo.placing import Pose, extent

_FINE = 4  # sub-pixels per pixel side when coverage is counted


def paint(picture: Picture, thing: Figure, pose: Pose, light: float, shadows: bool) -> Plane:
    """Paint ``thing`` onto ``picture`` and return how much of each pixel it covers, ``(height, width)``, 0 to 1."""
    height, width = picture.shape[:2]
    whole = np.zeros((height, width), np.float32)
    x, y, w, h = extent(thing, pose)
    left, top = max(math.floor(x) - 1, 0), max(math.floor(y) - 1, 0)
    right, bottom = min(math.ceil(x + w) + 2, width), min(math.ceil(y + h) + 2, height)
    if right <= left or bottom <= top:
        return whole
    cover: Plane = np.zeros((bottom - top, right - left), np.float32)
    colour: Picture = np.zeros((*cover.shape, 3), np.float32)
    ys, xs = np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5
    u, v = pose.invert(xs, ys)
    printed: Plane = _printed(thing.pattern, u, v)
    for part in thing.parts:
        rings = [pose.apply(ring) - (left, top) for ring in part.rings]
        window = _window(rings[0], cover.shape)
        if window is None:
            continue
        alpha = _coverage(rings, window)
        ink: Picture = np.broadcast_to(np.array(part.colour, np.float32), (*alpha.shape, 3))
        if part.patterned:
            mix = printed[window][..., None]
            ink = ink * (1 - mix) + np.array(thing.pattern.colour, np.float32) * mix
        colour[window] = colour[window] * (1 - alpha[..., None]) + ink * alpha[..., None]
        cover[window] = 1 - (1 - cover[window]) * (1 - alpha)
    lit = -((xs - pose.x) * math.cos(light) + (ys - pose.y) * math.sin(light)) / pose.scale
    shaded = colour * np.clip(1 + 0.45 * lit, 0.5, 1.5)[..., None]
    if shadows:
        _shadow(picture, cover, (left, top), pose, light)
    under = picture[top:bottom, left:right]
    picture[top:bottom, left:right] = under * (1 - cover[..., None]) + _apart(shaded, under, cover)
    whole[top:bottom, left:right] = cover
    return whole


def _apart(paint: Picture, under: Picture, cover: Plane) -> Picture:
    """``paint``, made darker or lighter where a thing could hardly be told from what lies below it."""
    weight = np.float32(cover.sum())
    if weight < 1:
        return paint
    mine, other = paint.sum(axis=(0, 1)) / weight, (under * cover[..., None]).sum(axis=(0, 1)) / weight
    if float(np.abs(mine - other).max()) >= 24:
        return paint
    factor = 0.62 if mine.mean() > 110 else 1.7
    return paint * factor


def _window(ring: Points, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    (x1, y1), (x2, y2) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    left, top = max(math.floor(x1), 0), max(math.floor(y1), 0)
    right, bottom = min(math.ceil(x2) + 1, shape[1]), min(math.ceil(y2) + 1, shape[0])
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def _coverage(rings: Sequence[Points], window: tuple[slice, slice]) -> Plane:
    rows, columns = window
    canvas = PilImage.new("L", ((columns.stop - columns.start) * _FINE, (rows.stop - rows.start) * _FINE))
    draw = ImageDraw.Draw(canvas)
    for i, ring in enumerate(rings):
        fine = (ring - (columns.start, rows.start)) * _FINE - 0.5
        draw.polygon([tuple(point) for point in fine.tolist()], fill=0 if i else 255)
    return np.asarray(canvas.reduce(_FINE), np.float32) / 255


def _printed(pattern: Pattern, u: Plane, v: Plane) -> Plane:
    """How much of the pattern's colour there is at unit coordinates ``u, v``, 0 or 1."""
    f = pattern.frequency
    a, b = (
        u * math.cos(pattern.angle) + v * math.sin(pattern.angle),
        v * math.cos(pattern.angle) - u * math.sin(pattern.angle),
    )
    if pattern.kind == "stripes":
        on = np.sin(2 * math.pi * f * a) > 0.2
    elif pattern.kind == "checks":
        on = (np.floor(2 * f * a) + np.floor(2 * f * b)) % 2 > 0
    elif pattern.kind == "dots":
        on = (f * a % 1 - 0.5) ** 2 + (f * b % 1 - 0.5) ** 2 < 0.09
    elif pattern.kind == "rings":
        on = np.sin(2 * math.pi * f * np.hypot(u, v)) > 0.3
    else:
        on = np.zeros_like(u, bool)
    return on.astype(np.float32)


def _shadow(picture: Picture, cover: Plane, corner: tuple[int, int], pose: Pose, light: float) -> None:
    """Darken ``picture`` where a thing keeps the light off: beside it on a table, below it in a street."""
    height, width = picture.shape[:2]
    shape = PilImage.new("L", (width, height))
    if pose.depth is None:
        reach = pose.scale * 0.07
        offset = round(corner[0] + math.cos(light) * reach), round(corner[1] + math.sin(light) * reach)
        shape.paste(PilImage.fromarray((cover * 120).astype(np.uint8)), offset)
        blur = float(max(0.8, reach * 0.6))
    else:
        rows, columns = np.nonzero(cover > 0.5)
        if not len(rows):
            return
        foot, left, right = (
            corner[1] + int(rows.max()),
            corner[0] + int(columns.min()),
            corner[0] + int(columns.max()),
        )
        thick = max(1.0, (right - left) * 0.06)
        ImageDraw.Draw(shape).ellipse((left, foot - thick, right, foot + thick), fill=150)
        blur = float(thick) * 0.5
    x1, y1, x2, y2 = shape.getbbox() or (0, 0, 0, 0)
    edge = math.ceil(3 * blur)
    box = max(x1 - edge, 0), max(y1 - edge, 0), min(x2 + edge, width), min(y2 + edge, height)
    if box[2] <= box[0] or box[3] <= box[1]:
        return
    soft = np.asarray(shape.crop(box).filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255
    picture[box[1] : box[3], box[0] : box[2]] *= 1 - soft[..., None]


def develop(rng: Random, picture: Picture) -> NDArray[np.uint8]:
    """The light of the whole scene, and a camera's noise."""
    height, width = picture.shape[:2]
    gain = rng.uniform(0.72, 1.15) * (1 + rng.uniform(-0.06, 0.06, 3))
    fall = 0.88 + 0.24 * smooth_noise(rng, width, height, (2, 3))
    noise = rng.standard_normal((height, width, 1), np.float32) * np.float32(rng.uniform(1, 4))
    noise = noise + rng.standard_normal((height, width, 3), np.float32) * np.float32(1.5)
    lit: Picture = picture * gain * fall[..., None] + noise
    return np.clip(lit, 0, 255).astype(np.uint8)
