"""Shapes between Label Studio and us: the real server's exports, hand-worked corners, and nothing lost on the way."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ReviewError
from curate.geometry import mask_from_rle, rle_area, rle_bounds, rle_from_mask, rle_from_polygons
from curate.label_studio.regions import Frame, controls, percent, region_id, regions_of, turned_corners
from curate.model import Annotation
from curate.review import exports, shapes
from curate.review.shapes import Answer

LABELS = {"car": "car", "traffic sign": "traffic sign"}
SAMPLE = Frame("i", 320, 200, LABELS, {"box": "box", "mask": "mask", "poly": "polygon"})
OURS = Frame("i", 320, 200, LABELS, controls(["box", "polygon", "mask"]))


def read(result: list[dict[str, Any]], frame: Frame = OURS, shown: tuple[Annotation, ...] = ()) -> Answer:
    return shapes.read_answer(result, frame, shown=shown, origin="human:p1", round=1, prefix="r1-p1")


def box(**changes: Any) -> dict[str, Any]:
    value = {"x": 12.5, "y": 30.0, "width": 25.0, "height": 20.0, "rotation": 0, "rectanglelabels": ["car"]}
    region: dict[str, Any] = {
        "id": "b",
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "image",
        "original_width": 320,
        "original_height": 200,
        "image_rotation": 0,
    }
    return {**region, "value": value | changes.pop("value", {}), **changes}


def polygon(points: list[list[float]], **changes: Any) -> dict[str, Any]:
    value = {"points": points, "closed": True, "polygonlabels": ["car"]}
    return box() | {"type": "polygonlabels", "from_name": "polygon", "value": value} | changes


@pytest.mark.parametrize("name", ["export_snapshot.json", "export_json_all.json"])
def test_the_real_exports_are_read_as_was_checked_by_hand(shared: Path, name: str) -> None:
    folder = shared / "samples/label_studio"
    expected = json.loads((folder / "expected.json").read_text())
    tasks = exports.read_export((folder / name).read_bytes(), name)
    answers = {one.id: (task, one) for task in tasks for one in task.given}
    assert len(tasks) == expected["tasks"]
    assert len(answers) == expected["annotations_total"]  # the second person's do not replace the first's
    assert sum(one.skipped for _, one in answers.values()) == expected["skipped"]
    assert sum(task.drafts for task in tasks) == expected["drafts"]
    for wanted in expected["annotations"]:
        task, one = answers[wanted["annotation"]]
        assert task.data["key"] == wanted["key"]
        assert (one.person, one.updated_by) == (wanted["completed_by"], wanted["updated_by"])
        assert (one.skipped, one.ground_truth, one.lead_time) == (
            wanted["skipped"],
            wanted["ground_truth"],
            wanted["lead_time"],
        )
        assert one.parent_prediction == wanted["parent_prediction"]
        answer = read(one.result, SAMPLE)
        assert not [p for p in answer.problems if p.severity == "error"]
        drawn = [r for r in wanted["regions"] if "label" in r]
        assert len(answer.objects) == len(drawn)  # no choice or text becomes an object
        for change, region in zip(answer.objects, drawn, strict=True):
            check_region(change.row, region)
        said = [r["choices"][0] for r in wanted["regions"] if "choices" in r]
        assert answer.verdict == (said[0] if said else None)
        notes = [r["text"][0] for r in wanted["regions"] if "text" in r]
        assert answer.note == (notes[0] if notes else None)


def check_region(row: Annotation, region: dict[str, Any]) -> None:
    assert row.category == region["label"]
    if "envelope_xywh_px" in region:
        assert (row.x, row.y, row.w, row.h) == pytest.approx(tuple(region["envelope_xywh_px"]), abs=1e-5)
    if "corners_px" in region:  # not the server's [32, 60, 101.3, 59.6]
        assert row.polygons is not None
        assert np.array(row.polygons[0][0]).reshape(-1, 2) == pytest.approx(np.array(region["corners_px"]), abs=1e-5)
        assert row.area == pytest.approx(80 * 40)
    if "points_px" in region:  # not rounded to integers
        assert row.polygons is not None
        assert np.array(row.polygons[0][0]).reshape(-1, 2) == pytest.approx(np.array(region["points_px"]))
    if "pixels" in region:  # the ring's hole stays open: 2,504 px, not 2,736
        assert row.segmentation is not None
        assert rle_area(row.segmentation) == region["pixels"] == row.area
        assert rle_bounds(row.segmentation) == tuple(region["bbox_px"])


def test_empty_and_skipped_are_two_things(shared: Path) -> None:
    tasks = exports.read_export((shared / "samples/label_studio/export_snapshot.json").read_bytes(), "x")
    by_id = {one.id: one for task in tasks for one in task.given}
    assert (by_id[15].skipped, by_id[15].result) == (True, [])
    assert (by_id[18].skipped, by_id[18].result) == (False, [])
    assert read(by_id[18].result).objects == ()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("export_coco.json", "COCO"),
        ("export_brush_to_coco.json", "COCO"),
        ("export_json_min.json", "JSON_MIN"),
    ],
)
def test_the_servers_other_exports_are_refused(shared: Path, name: str, says: str) -> None:
    with pytest.raises(ReviewError, match=says):
        exports.read_export((shared / "samples/label_studio" / name).read_bytes(), name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "a JSON dict"),
        (b"[1]", "task 0: has no id"),
        (b'[{"id":1,"data":{},"annotations":3}]', "no list"),
        (b'[{"id":1,"data":{},"annotations":[{"id":2}]}]', "annotation 0: has no id or no result"),
        (b'[{"id":1,"data":{},"annotations":[{"id":2,"result":[]},{"id":2,"result":[]}]}]', "L01"),
        (b'[{"id":1,"data":{},"annotations":[{"id":2,"result":["a"]}]}]', "no object"),
    ],
)
def test_a_broken_export_is_one_clear_error(text: bytes, says: str) -> None:
    with pytest.raises(ReviewError, match=says):
        exports.read_export(text, "file.json")


def ring() -> Annotation:
    y, x = np.ogrid[:200, :320]
    far = (x - 230) ** 2 + (y - 84) ** 2
    rle = rle_from_mask((far <= 900) & (far > 100) | (x < 10) & (y < 10))
    return Annotation(id="i#ring", image_id="i", category="car", x=0, y=0, w=261, h=115, segmentation=rle)


ROWS = (
    Annotation(id="i#1", image_id="i", category="car", x=1 / 3, y=7.1, w=100 / 3, h=9.9, score=0.25),
    Annotation(id="i#2", image_id="i", category="traffic sign", x=-16.5, y=190.0, w=60.0, h=50.0),  # sticks out
    ring(),
    Annotation(
        id="i#parts",
        image_id="i",
        category="car",
        x=1,
        y=1,
        w=60,
        h=40,
        polygons=[[[1.1, 1.7, 20, 1, 20, 30.3]], [[41, 1, 61, 1, 61, 41, 50, 50.123456789]]],
        instance="set/1",
        attributes={"seen": "kept"},
    ),
)


def test_what_nobody_touched_is_the_very_row_that_was_shown() -> None:
    answer = read(json.loads(json.dumps(regions_of(ROWS, OURS))), shown=ROWS)
    assert [change.row for change in answer.objects] == list(ROWS)
    assert {change.action for change in answer.objects} == {"unchanged"}
    assert answer.deleted == ()
    assert answer.problems == ()


def test_a_turned_box_is_shown_again_as_it_was_drawn() -> None:
    drawn = box(value={"x": 20.0, "y": 30.0, "width": 25.0, "height": 20.0, "rotation": 30})
    answer = read([drawn])
    row = answer.objects[0].row
    assert [p.code for p in answer.problems] == ["L05"]
    (shown,) = regions_of([row], OURS)
    assert shown["value"] == drawn["value"]
    moved = msgspec.structs.replace(row, polygons=[[[1, 1, 20, 1, 20, 20, 1, 20]]])  # by another tool, since
    assert regions_of([moved], OURS)[0]["type"] == "polygonlabels"


def test_changes_are_told_apart() -> None:
    regions = regions_of(ROWS, OURS)
    regions[0]["value"]["x"] += 1
    regions[1]["value"]["rectanglelabels"] = ["car"]
    del regions[2]
    regions.append(box(id="new"))
    answer = read(regions, shown=ROWS)
    assert [(c.action, c.shown) for c in answer.objects] == [
        ("moved", "i#1"),
        ("relabelled", "i#2"),
        ("unchanged", "i#parts"),
        ("added", None),
    ]
    assert answer.deleted == ("i#ring",)
    first, second, _, new = (change.row for change in answer.objects)
    assert (first.parent_id, first.id) == ("i#1", f"i#r1-p1-{region_id('i#1')}")
    assert answer.objects[0].iou == pytest.approx((100 / 3 - 3.2) / (100 / 3 + 3.2))
    assert (second.category, answer.objects[1].iou) == ("car", pytest.approx(1))
    assert (new.origin, new.round, new.id) == ("human:p1", 1, "i#r1-p1-new")


def test_a_part_removed_is_a_change_of_the_whole_object() -> None:
    regions = regions_of([ROWS[3]], OURS)
    assert len(regions) == 2
    answer = read(regions[1:], shown=(ROWS[3],))
    assert [(c.action, c.shown) for c in answer.objects] == [("moved", "i#parts")]
    (((left,),), ((_,), (expected,))) = answer.objects[0].row.polygons, ROWS[3].polygons  # type: ignore[misc]
    assert left == pytest.approx(expected)


A, B = [[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]], [[50.0, 50.0], [60.0, 50.0], [60.0, 61.0]]


@pytest.mark.parametrize(
    "join",
    [
        [polygon(A, id="a"), polygon(B, id="c", parentID="a")],
        [polygon(A, id="a"), polygon(B, id="c"), {"type": "relation", "from_id": "c", "to_id": "a"}],
    ],
)
def test_parts_that_a_person_joins_are_one_object(join: list[dict[str, Any]]) -> None:
    (change,) = read(join).objects
    assert change.row.polygons is not None
    assert len(change.row.polygons) == 2
    painted = rle_from_polygons(change.row.polygons, 320, 200)
    assert change.row.segmentation == painted
    other = copy.deepcopy(join)
    other[1]["value"]["polygonlabels"] = ["traffic sign"]
    answer = read(other)
    assert (answer.objects, [p.code for p in answer.problems]) == ((), ["L06"])


def test_a_polygon_and_brush_strokes_make_one_mask() -> None:
    stroke = regions_of([ring()], OURS)[0] | {"parentID": "a", "id": "m"}
    (change,) = read([polygon(A, id="a"), stroke]).objects
    assert change.row.segmentation is not None
    expected = mask_from_rle(ring().segmentation) | mask_from_rle(  # type: ignore[arg-type]
        rle_from_polygons([[[c / 100 * s for p in A for c, s in zip(p, (320, 200), strict=True)]]], 320, 200)
    )
    assert np.array_equal(mask_from_rle(change.row.segmentation), expected)


@pytest.mark.parametrize(
    ("region", "code"),
    [
        (box(original_width=321), "L03"),
        (box(original_height=None), "L03"),
        (box(image_rotation=90), "L03"),
        (box(value={"x": 100.5}), "L04"),
        (box(value={"x": float("nan")}), "B01"),
        (box(value={"x": "12"}), "B01"),
        (box(value={"x": True}), "B01"),
        (box(value={"width": 0}), "B03"),
        (box(value={"width": -3.0}), "B02"),
        (box(value={"rectanglelabels": []}), "L06"),
        (box(value={"rectanglelabels": ["car", "traffic sign"]}), "L06"),
        (box(value={"rectanglelabels": ["bus"]}), "L06"),
        (box(from_name="nonsense"), "L06"),
        (box(from_name="polygon"), "L06"),
        (box(type="ellipselabels"), "L06"),
        (box() | {"value": None}, "S01"),
        (polygon([[1.0, 2.0], [3.0, 4.0]]), "M01"),
        (polygon([[1.0, 2.0, 3.0]]), "M01"),
        (polygon([[1.0, 2.0], [1e9, 3.0], [4.0, 5.0]]), "M02"),
        (box(type="brushlabels", from_name="mask") | {"value": {"rle": [1, 2], "brushlabels": ["car"]}}, "M11"),
    ],
)
def test_what_does_not_fit_is_reported_and_not_taken(region: dict[str, Any], code: str) -> None:
    answer = read([region, box(id="good")])
    assert [(p.code, p.severity) for p in answer.problems] == [(code, "error")]
    assert [change.row.id for change in answer.objects] == ["i#r1-p1-good"]


def test_a_region_id_twice() -> None:
    answer = read([box(), box()])
    assert [p.code for p in answer.problems] == ["L01"]
    assert len(answer.objects) == 1


def test_a_box_that_sticks_out_is_kept_as_drawn_and_reported() -> None:
    answer = read([box(value={"x": -5.0})])
    assert answer.objects[0].row.x == -16
    assert [(p.code, p.severity) for p in answer.problems] == [("L04", "warning")]


def test_rows_that_the_round_cannot_show_are_refused() -> None:
    boxes = OURS._replace(controls=controls(["mask"]))
    with pytest.raises(ReviewError, match="has a box only"):
        regions_of(ROWS[:1], boxes)
    with pytest.raises(ReviewError, match="class bus"):
        regions_of([msgspec.structs.replace(ROWS[0], category="bus")], OURS)
    wrong = msgspec.structs.replace(ring(), segmentation=rle_from_mask(np.ones((3, 3))))
    with pytest.raises(ReviewError, match="M05"):
        regions_of([wrong], OURS)


@given(st.integers(1, 9000), st.data())
@settings(max_examples=300)
def test_whole_and_half_pixels_come_back_exactly(side: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-2 * side, 4 * side)) / 2
    assert shapes.pixels(percent(value, side), side) == value


@given(st.integers(1, 9000), st.floats(-1e5, 1e5))
@settings(max_examples=300)
def test_any_pixel_comes_back_to_a_billionth(side: int, value: float) -> None:
    assert shapes.pixels(percent(value, side), side) == pytest.approx(value, rel=1e-12, abs=1e-12 * side)


def test_a_box_turned_a_quarter_hangs_to_the_left_of_its_corner() -> None:
    assert turned_corners(64, 60, 80, 40, 90) == pytest.approx([64, 60, 64, 140, 24, 140, 24, 60])
