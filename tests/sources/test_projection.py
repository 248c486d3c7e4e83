"""Boxes in space projected into a picture: worked examples, a plain second implementation, and odd positions."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.sources._projection import Camera, project_boxes, rotation_matrices

# Looks along x: camera's x is -y, its y is -z, its z is x.
AHEAD = [0.5, -0.5, 0.5, -0.5]
MATRIX = [[100.0, 0.0, 80.0], [0.0, 100.0, 45.0], [0.0, 0.0, 1.0]]
WIDTH, HEIGHT = 160, 90


def camera(rotation: list[float] = AHEAD, ego: tuple[float, ...] = (0, 0, 0)) -> Camera:
    return Camera(np.array(ego, float), np.array([1.0, 0, 0, 0]), np.zeros(3), np.array(rotation), np.array(MATRIX))


def project(centre: tuple[float, ...], size: tuple[float, ...], rotation: tuple[float, ...] = (1, 0, 0, 0)) -> list:
    corners, in_front = project_boxes(
        np.array([centre], float), np.array([size], float), np.array([rotation], float), camera(), WIDTH, HEIGHT
    )
    return [*corners[0].tolist(), int(in_front[0])]


@pytest.mark.parametrize(
    ("quaternion", "matrix"),
    [
        ((1, 0, 0, 0), [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ((0.5, -0.5, 0.5, -0.5), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
        ((1, 0, 0, 1), [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),  # a quarter turn about z; the length does not matter
        ((-2, 0, 0, -2), [[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    ],
)
def test_rotation_matrices(quaternion: tuple[float, ...], matrix: list[list[float]]) -> None:
    assert rotation_matrices(np.array(quaternion, float)) == pytest.approx(np.array(matrix), abs=1e-15)


def test_a_box_ahead_by_hand() -> None:
    # Its near face is 8 m away and 2 m wide: 100 / 8 px to either side of the centre.
    assert project((10, 0, 0), (2, 4, 2)) == [67.5, 32.5, 92.5, 57.5, 8]


def test_size_is_width_length_height() -> None:
    # 6 m wide (y), 2 m long (x), 1 m high (z): the near face is 9 m away.
    assert project((10, 0, 0), (6, 2, 1))[:4] == pytest.approx([80 - 300 / 9, 45 - 50 / 9, 80 + 300 / 9, 45 + 50 / 9])


def test_corners_behind_the_camera_are_dropped_and_not_clipped() -> None:
    # Beside the vehicle, from 2 m behind to 4 m ahead: only the far face at x = 4 is left of it.
    assert project((1, 3, 0), (2, 6, 2)) == [0, 20, 30, 70, 4]


def test_a_box_around_the_camera_is_the_far_face_alone() -> None:
    assert project((0, 0, 0), (2, 8, 2)) == [55, 20, 105, 70, 4]


@pytest.mark.parametrize(
    ("centre", "size", "rotation", "in_front"),
    [
        ((-1, 0, 0), (2, 2, 2), (math.cos(math.pi / 8), 0, 0, math.sin(math.pi / 8)), 2),  # an edge: a line
        ((9, 9, 0), (2, 2, 2), (1, 0, 0, 0), 8),  # touches the left side of the frame
        ((10, 1, 0), (0, 4, 0), (1, 0, 0, 0), 8),  # all corners on one line
        ((10, 0, 0), (0, 0, 0), (1, 0, 0, 0), 8),  # a point
        ((-10, 0, 0), (2, 4, 2), (1, 0, 0, 0), 0),  # behind
        ((10, 50, 0), (2, 4, 2), (1, 0, 0, 0), 8),  # beside the frame
    ],
)
def test_no_area_is_no_box(
    centre: tuple[float, ...], size: tuple[float, ...], rotation: tuple[float, ...], in_front: int
) -> None:
    found = project(centre, size, rotation)
    assert all(math.isnan(value) for value in found[:4])
    assert found[4] == in_front


def test_no_boxes() -> None:
    corners, in_front = project_boxes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4)), camera(), WIDTH, HEIGHT)
    assert (corners.shape, in_front.shape) == ((0, 4), (0,))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("centre", [(1e308, 0, 0), (5e-324, 0, 0), (1, 1e200, 0), (1e-300, 0.5, 0)])
def test_places_without_measure_do_no_harm(centre: tuple[float, ...]) -> None:
    found = project(centre, (2, 2, 2))[:4]
    assert all(math.isnan(value) for value in found) or (0 <= found[0] < found[2] <= WIDTH)


def clip(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A convex polygon cut to the frame, side by side (Sutherland and Hodgman)."""
    for axis, bound, sign in ((0, 0, 1), (0, WIDTH, -1), (1, 0, 1), (1, HEIGHT, -1)):
        kept: list[tuple[float, float]] = []
        for a, b in zip(points, points[1:] + points[:1], strict=True):
            da, db = sign * (a[axis] - bound), sign * (b[axis] - bound)
            if da >= 0:
                kept.append(a)
            if da * db < 0:
                t = da / (da - db)
                kept.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))
        points = kept
    return points


def hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The convex hull (monotone chain)."""
    chain: list[tuple[float, float]] = []
    points = sorted(set(points))
    for half in (points, points[::-1]):
        part: list[tuple[float, float]] = []
        for p in half:
            while len(part) > 1 and (
                (part[-1][0] - part[-2][0]) * (p[1] - part[-2][1]) <= (part[-1][1] - part[-2][1]) * (p[0] - part[-2][0])
            ):
                part.pop()
            part.append(p)
        chain += part[:-1]
    return chain


COORDINATE = st.floats(-20, 20).map(lambda value: round(value, 3))
SIDE = st.floats(0.2, 10).map(lambda value: round(value, 3))


@given(centre=st.tuples(COORDINATE, COORDINATE, COORDINATE), size=st.tuples(SIDE, SIDE, SIDE), yaw=st.floats(-3, 3))
@settings(deadline=None)
def test_against_a_plain_implementation(centre: tuple[float, ...], size: tuple[float, ...], yaw: float) -> None:
    found = project(centre, size, (math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)))
    points = []
    for sx, sy, sz in product((1, -1), repeat=3):
        along, across = sx * size[1] / 2, sy * size[0] / 2
        x = centre[0] + along * math.cos(yaw) - across * math.sin(yaw)
        y = centre[1] + along * math.sin(yaw) + across * math.cos(yaw)
        z = centre[2] + sz * size[2] / 2
        if abs(x) < 1e-6:
            return  # in the lens' plane: rounding decides
        if x > 0:
            points.append((80 - 100 * y / x, 45 - 100 * z / x))
    assert found[4] == len(points)
    inside = clip(hull(points)) if len(set(points)) > 2 else []
    if not inside:
        assert math.isnan(found[0])
        return
    (left, right), (top, bottom) = ((min(side), max(side)) for side in zip(*inside, strict=True))
    if right - left < 1e-6 or bottom - top < 1e-6:
        return  # a line, or nearly so
    assert found[:4] == pytest.approx([left, top, right, bottom], abs=1e-5)
