"""Annotations as regions: a mask can be shown by its outline, and what cannot be shown is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from curate.errors import ReviewError
from curate.geometry import rle_bounds, rle_from_mask, rle_from_polygons, rle_iou
from curate.label_studio.regions import Frame, Region, controls, regions_of
from curate.model import Annotation
from curate.review.shapes import Change, pixels, read_answer

POLYGONS = Frame("i", 320, 200, {"car": "car"}, controls(["polygon"]))


def ring() -> Annotation:
    """A ring and, apart from it, a square: two parts, of which one has a hole."""
    y, x = np.ogrid[:200, :320]
    far = (x - 230) ** 2 + (y - 84) ** 2
    rle = rle_from_mask((far <= 900) & (far > 100) | (x < 10) & (y < 10))
    x0, y0, w, h = rle_bounds(rle)
    return Annotation(id="i#ring", image_id="i", category="car", x=x0, y=y0, w=w, h=h, segmentation=rle)


def test_a_mask_is_shown_by_its_outline_where_there_are_polygons_only() -> None:
    row = ring()
    regions = regions_of([row], POLYGONS)
    assert {region["type"] for region in regions} == {"polygonlabels"}
    assert [region.get("parentID") for region in regions] == [None, *[regions[0]["id"]] * 2]  # the ring is cut in two
    drawn = [
        [[c for px, py in region["value"]["points"] for c in (pixels(px, 320), pixels(py, 200))]] for region in regions
    ]
    assert row.segmentation is not None
    assert rle_iou(rle_from_polygons(drawn, 320, 200), row.segmentation) > 0.95
    # Nobody touched it: the mask comes back, not its outline.
    answer = read_answer(regions, POLYGONS, shown=[row], origin="human:p1", round=1, prefix="r1")
    assert [(change.action, change.row) for change in answer.objects] == [("unchanged", row)]
    # Somebody did: what was drawn is one object of three parts.
    regions[2]["value"]["points"][0][0] += 1
    (change,) = read_answer(regions, POLYGONS, shown=[row], origin="human:p1", round=1, prefix="r1").objects
    assert (change.action, len(change.row.polygons or ())) == ("moved", 3)
    assert change.iou is not None and change.iou > 0.9


def test_another_class_leaves_the_mask_as_it_was() -> None:
    """Nobody moved a point: what was shown by its outline is no outline for that."""
    frame = POLYGONS._replace(labels={"car": "car", "bus": "bus"})
    regions = regions_of([ring()], frame)
    for region in regions:
        region["value"]["polygonlabels"] = ["bus"]
    (change,) = read_answer(regions, frame, shown=[ring()], origin="human:p1", round=1, prefix="r1").objects
    assert (change.action, change.iou, change.row.category) == ("relabelled", 1.0, "bus")
    assert change.row.segmentation == ring().segmentation
    assert (change.row.parent_id, change.row.origin, change.row.status) == ("i#ring", "human:p1", "truth")


@pytest.mark.parametrize("value", [None, [1], "x", {"polygonlabels": [["car"]]}, {"polygonlabels": []}])
def test_a_shown_region_that_came_back_as_nonsense_is_told_and_not_taken(value: object) -> None:
    regions = regions_of([ring()], POLYGONS)
    regions[1]["value"] = value
    answer = read_answer(regions, POLYGONS, shown=[ring()], origin="human:p1", round=1, prefix="r1")
    assert answer.objects == ()
    assert [one.severity for one in answer.problems] == ["error"]


def test_holes_of_polygons_are_cut_open_too_and_a_brush_comes_first() -> None:
    hollow = [[[10, 10, 90, 10, 90, 90, 10, 90], [40, 40, 60, 40, 60, 60, 40, 60]]]
    row = msgspec.structs.replace(ring(), segmentation=None, polygons=hollow, x=10, y=10, w=80, h=80)
    assert len(regions_of([row], POLYGONS)) == 2
    both = POLYGONS._replace(controls=controls(["polygon", "mask"]))
    assert [region["type"] for region in regions_of([row, ring()], both)] == ["brushlabels"] * 2
    flat = msgspec.structs.replace(row, polygons=[hollow[0][:1]])
    assert [region["type"] for region in regions_of([flat], both)] == ["polygonlabels"]


def test_a_box_alone_or_a_mask_without_a_pixel_has_no_outline() -> None:
    box = msgspec.structs.replace(ring(), segmentation=None)
    empty = msgspec.structs.replace(ring(), segmentation=rle_from_mask(np.zeros((200, 320))))
    for row in (box, empty):
        with pytest.raises(ReviewError, match="the round's tools are polygon"):
            regions_of([row], POLYGONS)
    other = msgspec.structs.replace(ring(), segmentation=rle_from_mask(np.ones((3, 3))))
    with pytest.raises(ReviewError, match="M05"):
        regions_of([other], POLYGONS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_shown_turned(orientation: int) -> None:
    """Shapes are shown where people see the object, and what they draw there comes back in the stored frame."""
    everything = controls(["box", "polygon", "mask"])
    frame = Frame("i", 320, 200, {"car": "car"}, everything, orientation)
    box = Annotation(id="i#b", image_id="i", category="car", x=10, y=20, w=80, h=40)
    triangle = msgspec.structs.replace(box, id="i#p", polygons=[[[10.0, 20, 90, 20, 90, 60]]])
    rows = [box, triangle, ring()]
    regions = regions_of(rows, frame)
    sides = {(region["original_width"], region["original_height"]) for region in regions}
    assert sides == {(200, 320) if orientation > 4 else (320, 200)}
    first = regions[0]["value"]
    centre = first["x"] + first["width"] / 2, first["y"] + first["height"] / 2
    across, down = 50 / 320 * 100, 40 / 200 * 100  # of the stored picture
    exchanged = (down, across) if orientation > 4 else (across, down)
    left, top = (2, 3, 6, 7), (3, 4, 7, 8)
    expected = [100 - v if orientation in m else v for v, m in zip(exchanged, (left, top), strict=True)]
    assert centre == pytest.approx(expected)

    def read(given: list[Region]) -> list[Change]:
        return list(read_answer(given, frame, shown=rows, origin="human:p1", round=1, prefix="r1").objects)

    assert [(change.action, change.row) for change in read(regions)] == [("unchanged", row) for row in rows]
    # Drawn anew: the same places, in the stored frame.
    for number, region in enumerate(regions):
        region["id"] = f"new{number}"
    made = [change.row for change in read(regions)]
    assert [(row.x, row.y, row.w, row.h) for row in made] == [pytest.approx((r.x, r.y, r.w, r.h)) for r in rows]
    assert np.reshape(made[1].polygons, (-1, 2)) == pytest.approx(np.reshape(triangle.polygons, (-1, 2)))
    assert made[2].segmentation == ring().segmentation
    assert [row.area for row in made[:2]] == [pytest.approx(3200), pytest.approx(1600, rel=0.05)]
