"""Boxes in their frame and against their mask: the thresholds of the rules, from both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from curate.dataset import from_records
from curate.geometry import rle_from_mask
from curate.model import Annotation, Category, Command, Image, Info, Member, Parent, Record
from curate.verify import Report, verify

Json = dict[str, Any]
Coco = Callable[..., Report]


def codes(report: Report) -> list[str]:
    return [one.code for one in report.findings]


def boxes(*boxes: list[float], frame: tuple[int, int] = (100, 80)) -> Callable[[Json], None]:
    """All annotations replaced by these boxes, each on an image of its own."""

    def damage(data: Json) -> None:
        data["images"] = [
            {"id": i, "file_name": f"{i}.jpg", "width": frame[0], "height": frame[1]} for i in range(len(boxes))
        ]
        data["annotations"] = [{"id": i, "image_id": i, "category_id": 0, "bbox": box} for i, box in enumerate(boxes)]
        data["categories"] = data["categories"][:1]

    return damage


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 100, 79], []),  # touches three edges
        ([99, 79, 1, 1], ["B10"]),  # the last pixel, legal though tiny
        ([0.0, 0.0, 1e-3, 1e-3], ["B10"]),
        ([-0.5, -1, 50.5, 41], []),  # one pixel over is no finding
        ([10, 10, 91, 20], []),
        ([10, 10, 91.5, 20], ["B04"]),
        ([-1.5, 10, 20, 20], ["B04"]),
        ([10, 70, 20, 12], ["B04"]),
        ([100, 10, 20, 20], ["B05"]),
        ([10, 80, 20, 20], ["B05"]),
        ([-20, 10, 20, 20], ["B05"]),
        ([-20, 10, 20.5, 20], ["B04"]),
        ([300, 300, 20, 20], ["B05"]),
        ([10, 10, 0, 20], ["B03"]),
        ([10, 10, 20, 0], ["B03"]),
        ([10, 10, 1e-4, 1e-3], ["B03"]),
        ([100, 10, 0, 5], ["B03"]),
        ([10, 10, -5, 20], ["B02"]),
        ([10, 10, 5, -20], ["B02"]),
        ([0, 0, 100, 80], ["B10"]),  # all of the frame
        ([0, 40, 100, 2], []),  # sides 50 : 1
        ([0, 40, 100, 1.9], ["B10"]),
    ],
)
def test_one_box(coco: Coco, box: list[float], expected: list[str]) -> None:
    report = coco(boxes(box))
    assert codes(report) == expected
    for one in report.findings:
        assert one.where.endswith("annotations[0].bbox")
        assert one.item == "0"


def test_severities(coco: Coco) -> None:
    report = coco(boxes([10, 10, 0, 20], [10, 10, 95, 20], [200, 10, 5, 5], [5, 5, -1, 1], [0, 0, 100, 80]))
    assert {one.code: one.severity for one in report.findings} == {
        "B02": "error",
        "B03": "warning",
        "B04": "warning",
        "B05": "error",
        "B10": "info",
    }


def test_an_image_without_size_is_said_to_be_unchecked(coco: Coco) -> None:
    def damage(data: Json) -> None:
        boxes([500, 500, 20, 20])(data)
        del data["images"][0]["width"]

    report = coco(damage)
    assert codes(report) == ["S01"]
    assert any("B05" in skipped.codes and "unknown size" in skipped.reason for skipped in report.not_run)


def test_corners_instead_of_sizes_are_one_finding(coco: Coco) -> None:
    rng = np.random.default_rng(5)
    left, top = rng.integers(40, 60, 30), rng.integers(30, 50, 30)
    corners = [[int(x), int(y), int(x) + 30, int(y) + 25] for x, y in zip(left, top, strict=True)]
    corners = [box for box in corners if box[0] + box[2] > 101 or box[1] + box[3] > 81]
    sizes = [[0, 0, 20, 20], [5, 5, 10, 10]]
    report = coco(boxes(*corners, *sizes))
    assert codes(report) == ["B06"]
    assert f"{len(corners)} of {len(corners) + 2}" in report.findings[0].message
    assert report.verdict == "errors"


def test_a_single_box_is_no_proof_of_corners(coco: Coco) -> None:
    assert codes(coco(boxes([50, 40, 90, 70]))) == ["B04"]


def test_a_few_boxes_that_leave_are_no_corners(coco: Coco) -> None:
    inside = [[1, 1, 20, 20]] * 8
    report = coco(boxes([50, 40, 90, 70], [51, 40, 90, 70], *inside))
    assert codes(report) == ["B04", "B04"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[80, 10, 21, 10]] * 4, ["B07"]),  # right edge counted inclusive
        ([[10, 60, 10, 21]] * 4, ["B07"]),
        ([[-1, 10, 21, 10]] * 4, ["B07"]),  # counted from 1
        ([[80, 10, 21, 10]], []),  # one is an accident
        ([[80, 10, 21, 10]] * 2 + [[80, 10, 20, 10]] * 5, []),  # most end at the edge
        ([[80, 10, 20, 10]] * 5, []),
        ([[0, 10, 20, 10]] * 5, []),
    ],
)
def test_one_pixel_over_throughout(coco: Coco, rows: list[list[float]], expected: list[str]) -> None:
    report = coco(boxes(*rows))
    assert codes(report) == expected
    assert report.verdict == "no errors"


def rectangle(x: int, y: int, w: int, h: int, frame: tuple[int, int] = (100, 80)) -> Any:
    mask = np.zeros((frame[1], frame[0]), np.uint8)
    mask[y : y + h, x : x + w] = 1
    rle = rle_from_mask(mask)
    return {"size": list(rle.size), "counts": rle.counts}


def ring(x: float, y: float, w: float, h: float) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


@pytest.mark.parametrize("shape", [rectangle, ring])
@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([20, 20, 40, 30], None),
        ([18, 20, 44, 30], None),  # 2 px off
        ([17, 20, 43, 30], None),  # 3 px, but IoU 40 / 43 = .93
        ([17, 17, 46, 36], "warning"),  # IoU 1200 / 1656 = .72
        ([20, 20, 20, 15], "error"),  # IoU .25
        ([60, 50, 20, 20], "error"),
    ],
)
def test_box_against_mask(coco: Coco, shape: Any, box: list[float], expected: str | None) -> None:
    def damage(data: Json) -> None:
        data["annotations"][0].update(bbox=box, area=1200, segmentation=shape(20, 20, 40, 30))

    report = coco(damage, skip=["M08"])
    assert [(one.code, one.severity) for one in report.findings] == ([("B08", expected)] if expected else [])


def test_a_polygon_and_a_box_that_leave_the_frame_are_compared_inside_it(coco: Coco) -> None:
    def damage(data: Json) -> None:
        data["annotations"][0].update(bbox=[70, 20, 30, 30], segmentation=ring(70, 20, 60, 30), area=1800)

    assert codes(coco(damage)) == ["M03"]


@pytest.mark.parametrize("shape", [rectangle, ring])
@pytest.mark.parametrize(("area", "differs"), [(1200, False), (1211, False), (1213, True), (1187, True), (0, True)])
def test_stored_area(coco: Coco, shape: Any, area: float, differs: bool) -> None:
    def damage(data: Json) -> None:
        data["annotations"][0].update(bbox=[20, 20, 40, 30], area=area, segmentation=shape(20, 20, 40, 30))

    report = coco(damage, skip=["M08"])
    assert codes(report) == (["B09"] if differs else [])
    assert all("annotations[0].area" in one.where for one in report.findings)


def test_a_small_area_may_be_a_pixel_off(coco: Coco) -> None:
    def damage(data: Json) -> None:
        data["annotations"][0].update(bbox=[20, 20, 4, 3], area=13, segmentation=rectangle(20, 20, 4, 3))

    assert codes(coco(damage, skip=["M08"])) == []


def test_an_area_counted_in_pixels_is_an_area_of_the_polygon(coco: Coco) -> None:
    from pycocotools import mask as coco_mask

    triangle = [10.0, 10.0, 31.0, 10.0, 10.0, 17.0]  # 73.5 by formula
    (rle,) = coco_mask.frPyObjects([triangle], 80, 100)
    pixels = int(coco_mask.area(rle))
    assert abs(pixels - 73.5) > 1

    def damage(data: Json) -> None:
        data["annotations"][0].update(bbox=[10, 10, 21, 7], area=pixels, segmentation=[triangle])

    assert codes(coco(damage)) == []


# --------------------------------------------------------------------------------------------- B01 and B11: datasets


def subset(*sizes: tuple[float, float], size: Any, verb: str = "build subset", **info: Any) -> Report:
    """A dataset of boxes ``w, h`` on images of 100 x 80, said to be made with a size filter."""
    records: list[Record] = [Category(name="cup")]
    for i, (w, h) in enumerate(sizes):
        records.append(Image(id=f"t/{i}", source="t", width=100, height=80))
        records.append(Annotation(id=f"t/{i}#0", image_id=f"t/{i}", category="cup", x=0, y=0, w=w, h=h))
    return verify(from_records(Info(name="s", command=Command(verb=verb, options={"size": size}), **info), records))


@pytest.mark.parametrize(
    ("size", "wrong"),
    [
        ("<0.15", [2, 3]),
        ("<=0.15", [3]),
        (["<0.15"], [2, 3]),
        (["<=0.15", ">0.01"], [0, 3]),
        (">=0.15", [0, 1]),
        ("<0.5", []),
    ],
)
def test_size_filter_is_exact_on_the_boundary(size: Any, wrong: list[int]) -> None:
    # Shares 0.01, 0.14, 0.15 and 0.16 of 8000 px².
    report = subset((8, 10), (28, 40), (30, 40), (32, 40), size=size)
    assert sorted(str(one.item) for one in report.findings if one.code == "B11") == [f"t/{i}#0" for i in wrong]
    assert (report.verdict == "errors") == bool(wrong)


def test_size_filter_of_an_ancestor_holds_through_build_steps() -> None:
    filtered = Command(verb="build subset", options={"size": "<0.15"})
    parent = Parent(name="p", fingerprint="f", command=filtered)
    other = Parent(name="o", fingerprint="f", command=Command(verb="import", options={"source": "t"}))
    assert codes(subset((32, 40), size=[], verb="build split", parents=(parent,))) == ["B11"]
    assert codes(subset((32, 40), size=[], verb="merge", parents=(parent, other))) == []
    assert codes(subset((32, 40), size=[], verb="relabel", parents=(parent,))) == []


def test_a_filter_that_spared_queries_says_nothing_of_what_is_only_shown() -> None:
    records: list[Record] = [Category(name="cup")]
    roles = {0: ["query"], 1: ["query", "gallery"], 2: ["gallery"], 3: [], 4: ["support"]}
    for i, given in roles.items():
        records.append(Image(id=f"t/{i}", source="t", width=100, height=80))
        records.append(Annotation(id=f"t/{i}#0", image_id=f"t/{i}", category="cup", x=0, y=0, w=32, h=40))
        records += [Member(image_id=f"t/{i}", role=role) for role in given]  # type: ignore[arg-type]
    # 3 has no role, as where a split has dropped the query that nothing answered.
    for spared, wrong in ((False, [0, 1, 2, 3, 4]), (True, [1, 2])):
        command = Command(
            verb="build subset", options={"size": ["<0.15"]} | ({"spare-queries": True} if spared else {})
        )
        report = verify(from_records(Info(name="s", command=command), records))
        assert sorted(str(one.item) for one in report.findings if one.code == "B11") == [f"t/{i}#0" for i in wrong]


def test_without_a_gallery_whatever_is_no_query_is_searched() -> None:
    records: list[Record] = [Category(name="cup"), Member(image_id="t/0", role="query")]
    for i in range(2):
        records.append(Image(id=f"t/{i}", source="t", width=100, height=80))
        records.append(Annotation(id=f"t/{i}#0", image_id=f"t/{i}", category="cup", x=0, y=0, w=32, h=40))
    command = Command(verb="build subset", options={"size": ["<0.15"], "spare-queries": True})
    (found,) = [
        one for one in verify(from_records(Info(name="s", command=command), records)).findings if one.code == "B11"
    ]
    assert (found.item, found.hint) == ("t/1#0", "its image was spared as a query, and is searched now")


def test_proposals_pass_no_size_filter(records: list[Record], check: Coco) -> None:
    kept = [r for r in records if not (isinstance(r, Annotation) and r.status == "truth" and r.x == 50)]
    dataset = from_records(
        Info(name="s", command=Command(verb="build subset", options={"size": "<0.15"})),
        [msgspec.structs.replace(r, w=10) if isinstance(r, Annotation) and r.w == 30 else r for r in kept],
    )
    assert "B11" not in codes(verify(dataset))


def test_a_box_in_part_or_not_finite(records: list[Record]) -> None:
    import pyarrow as pa

    from curate.dataset import Dataset

    dataset = from_records(Info(name="toy"), records)
    table = dataset.table("annotations")
    sides = {name: table[name].to_pylist() for name in "xywh"}
    sides["x"][0], sides["w"][1] = None, float("nan")
    for name, values in sides.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.float64()))
    report = verify(Dataset(dataset.info, {**dataset.tables, "annotations": table}, checked=True), only=["B"])
    ids = table["id"].to_pylist()
    assert [(one.code, one.item) for one in report.findings] == [("B01", ids[0]), ("B01", ids[1])]
    assert "null" in report.findings[0].message
    assert "nan" in report.findings[1].message
