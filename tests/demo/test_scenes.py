"""Drawn scenes: their truth is exact, and follows from the seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from curate.demo.figures import FAMILIES, STREET, TABLE, figure
from curate.demo.grounds import View
from curate.demo.painting import paint
from curate.demo.placing import Pose
from curate.demo.scenes import Scene, draw_scene, outline


@pytest.fixture(scope="module")
def table() -> Scene:
    return draw_scene(4, 320, 240, 18, size=(0.08, 0.5), crowding=0.7)


@pytest.fixture(scope="module")
def street() -> Scene:
    families = ("car", "van", "truck", "bus", "tram", "person", "bicycle", "rider", "cyclist")
    return draw_scene(4, 512, 256, 30, ground="street", families=families)


def painted(polygons: list[list[list[float]]], width: int, height: int) -> np.ndarray:
    """A mask of polygons with holes, as pycocotools paints them."""
    whole = np.zeros((height, width), bool)
    for outer, *holes in polygons:
        part = coco_mask.decode(coco_mask.frPyObjects([outer], height, width))[..., 0] > 0
        for hole in holes:
            part &= ~(coco_mask.decode(coco_mask.frPyObjects([hole], height, width))[..., 0] > 0)
        whole |= part
    return whole


@pytest.mark.parametrize("kind", ["table", "street"])
def test_nothing_but_the_seed_decides(kind: str) -> None:
    a, b, c = (draw_scene(seed, 90, 70, 6, ground=kind) for seed in (7, 7, 8))
    np.testing.assert_array_equal(a.image, b.image)
    assert [(o.category, o.instance, o.box) for o in a.objects] == [(o.category, o.instance, o.box) for o in b.objects]
    for one, other in zip(a.objects, b.objects, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    assert (a.image != c.image).any()


@pytest.mark.parametrize("kind", ["table", "street"])
def test_masks(kind: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(kind)
    height, width = scene.image.shape[:2]
    assert scene.image.dtype == np.uint8 and len(scene.objects) > 10
    assert sum(o.mask.astype(int) for o in scene.objects).max() == 1  # no pixel belongs to two
    hidden = 0
    for i, o in enumerate(scene.objects):
        assert o.mask.shape == o.amodal.shape == (height, width)
        assert not (o.mask & ~o.amodal).any() and o.mask.sum() >= 12
        assert o.visible == o.mask.sum() / o.amodal.sum()
        hidden += o.visible < 0.95
        for nearer in scene.objects[i + 1 :]:
            assert not (o.mask & nearer.amodal).any()
    assert hidden >= 3  # there is occlusion to learn from


@pytest.mark.parametrize("kind", ["table", "street"])
def test_outlines_fit_the_masks(kind: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(kind)
    height, width = scene.image.shape[:2]
    checked = 0
    for o in scene.objects:
        x, y, w, h = o.box
        ys, xs = np.nonzero(o.amodal)
        assert x - 1 <= xs.min() and xs.max() + 1 <= x + w + 1 and y - 1 <= ys.min() and ys.max() + 1 <= y + h + 1
        # Spokes and frames cover less than half of any pixel where they are small.
        thin = o.category in ("bicycle", "cyclist", "rider")
        if o.amodal.sum() > 300:
            other = painted(o.polygons, width, height)
            assert (o.amodal & other).sum() / (o.amodal | other).sum() > (0.75 if thin else 0.9), o.category
            checked += 1
    assert checked >= 5


def test_the_share_outside_the_frame() -> None:
    for seed, kind in itertools.product(range(6), ("table", "street")):
        for o in draw_scene(seed, 200, 120, 12, ground=kind).objects:
            x, y, w, h = o.box
            inside = x >= 0 and y >= 0 and x + w <= 200 and y + h <= 120
            assert o.truncated == 0 if inside else 0 <= o.truncated < 1
    # Half of a disc lies left of the frame.
    scene = draw_scene(1, 100, 100, 0, figures=[])
    assert scene.objects == ()


def test_things_have_no_colour_of_their_ground() -> None:
    for seed in range(12):
        scene = draw_scene(seed, 160, 120, 1, size=(0.4, 0.5), shadows=False, cut=False)
        (o,) = scene.objects
        ring = np.zeros_like(o.mask)
        ys, xs = np.nonzero(o.mask)
        ring[max(ys.min() - 6, 0) : ys.max() + 7, max(xs.min() - 6, 0) : xs.max() + 7] = True
        inner, around = scene.image[o.mask].astype(float), scene.image[ring & ~o.mask].astype(float)
        assert np.abs(inner.mean(axis=0) - around.mean(axis=0)).max() > 12


def test_a_street_is_seen_in_perspective(street: Scene) -> None:
    assert street.view is not None
    depths = [o.pose.depth for o in street.objects]
    assert depths == sorted(depths, reverse=True)  # from the farthest to the nearest
    for o in street.objects:
        metres = o.figure.size[1] * o.figure.metres
        assert o.box[3] == pytest.approx(metres * street.view.focal / o.pose.depth, abs=0.2)
        if o.category in ("car", "person", "van", "truck"):
            assert o.box[1] + o.box[3] == pytest.approx(street.view.place(0, o.pose.depth)[1], abs=0.2)
    assert {region.label for region in street.regions} >= {"sky", "building", "road", "sidewalk"}


def test_a_rider_sits_on_a_bicycle(street: Scene) -> None:
    riders = [o for o in street.objects if o.category == "rider"]
    assert riders
    for rider in riders:
        below = [o for o in street.objects if o.category == "bicycle" and o.instance == rider.instance]
        for bicycle in below:
            assert bicycle.pose.depth == rider.pose.depth
            assert rider.box[1] < bicycle.box[1] < rider.box[1] + rider.box[3]
            assert bicycle.box[0] < rider.box[0] + rider.box[2] / 2 < bicycle.box[0] + bicycle.box[2]


def test_given_things_appear_once_each() -> None:
    things = [figure(family, 3) for family in ("mug", "star", "ring", "wrench")]
    for seed in range(5):
        scene = draw_scene(seed, 400, 300, 3, figures=things, families=("blob",), crowding=0.0)
        found = sorted(o.category for o in scene.objects if o.category != "blob")
        assert found == ["mug", "ring", "star", "wrench"]


def test_uncut_things_lie_inside() -> None:
    for seed in range(10):
        (o,) = draw_scene(seed, 96, 128, 1, size=(0.6, 0.8), cut=False).objects
        x, y, w, h = o.box
        assert x >= 0 and y >= 0 and x + w <= 96 and y + h <= 128 and o.truncated == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str) -> None:
    assert figure(family, 5) is not figure(family, 5)
    one, again, other = figure(family, 5), figure(family, 5), figure(family, 6)
    points = np.concatenate([ring for part in one.parts for ring in part.rings])
    np.testing.assert_allclose([np.ptp(points[:, 0]), np.ptp(points[:, 1])], one.size)
    assert max(one.size) == pytest.approx(1) and np.abs(points).max() <= 0.5 + 1e-9
    assert (one.metres > 0) == (family in STREET) and (family in TABLE) == (family not in STREET)
    np.testing.assert_array_equal(points, np.concatenate([ring for part in again.parts for ring in part.rings]))
    assert [part.colour for part in one.parts] == [part.colour for part in again.parts]
    assert [part.colour for part in one.parts] != [part.colour for part in other.parts]


@pytest.mark.parametrize(("family", "holes"), [("ring", 1), ("mug", 1), ("star", 0), ("bicycle", 2)])
def test_holes_show_the_ground(family: str, holes: int) -> None:
    thing, pose = figure(family, 2), Pose(100, 100, 150)
    assert sum(len(part) - 1 for part in outline(thing, pose)) >= holes
    picture = np.full((200, 200, 3), 50, np.float32)
    cover = paint(picture, thing, pose, 0.0, shadows=False)
    # What is not covered keeps its colour, and what is fully covered has lost it.
    np.testing.assert_array_equal((picture == 50).all(axis=-1) | (cover > 0), True)
    assert (picture[cover == 0] == 50).all() and (picture[cover == 1] != 50).any(axis=-1).mean() > 0.98


def test_coverage_counts_area() -> None:
    """The cover of a disc sums up to its area; so does that of a disc that is half outside."""
    disc = figure("disc", 1)
    for centre, share in ((50.0, 1.0), (0.0, 0.5)):
        cover = paint(np.zeros((100, 100, 3), np.float32), disc, Pose(centre, 50, 60), 0.0, shadows=False)
        assert cover.sum() == pytest.approx(share * np.pi * 30**2, rel=0.01)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.5, 90), st.floats(0, 6.3), st.booleans(), st.floats(0.5, 1))
@settings(max_examples=60)
def test_poses_can_be_undone(x: float, y: float, scale: float, turn: float, mirrored: bool, squeeze: float) -> None:
    pose = Pose(x, y, scale, turn, mirrored, squeeze)
    points = np.array([(-0.5, 0.2), (0.3, 0.4), (0.0, 0.0)])
    there = pose.apply(points)
    np.testing.assert_allclose(np.stack(pose.invert(there[:, 0], there[:, 1]), axis=1), points, atol=1e-9)
    np.testing.assert_allclose(there[2], (x, y))


def test_a_point_of_the_road() -> None:
    # 1.65 m below the camera and 10 m ahead, with a focal length of 200 px: 33 px below the horizon.
    assert View(horizon=50, focal=200, centre=160).place(2, 10) == (200, 83)
