"""Ids and what refers to them, in COCO files and datasets alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from curate.dataset import Dataset, from_records
from curate.model import (
    Annotation,
    Category,
    Coverage,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Query,
    Record,
    Support,
)
from curate.verify import Report, verify

Json = dict[str, Any]
Coco = Callable[..., Report]


def codes(report: Report) -> list[tuple[str, str]]:
    return [(one.code, one.severity) for one in report.findings]


def places(report: Report, code: str) -> list[str]:
    return [one.where.split(", ", 1)[1] for one in report.findings if one.code == code]


def copy(section: str, index: int, **changes: Any) -> Callable[[Json], None]:
    return lambda data: data[section].append({**data[section][index], **changes})


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (copy("images", 2, file_name="c/four.jpg"), "images[3].id"),
        (copy("annotations", 3, bbox=[60, 60, 5, 5]), "annotations[4].id"),
        (copy("categories", 0, name="truck"), "categories[2].id"),
    ],
)
def test_an_id_that_stands_twice(coco: Coco, damage: Any, place: str) -> None:
    report = coco(damage)
    assert codes(report) == [("R01", "error")]
    assert places(report, "R01") == [place]


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda data: data["annotations"][1].update(image_id=99), "annotations[1].image_id"),
        (lambda data: data["annotations"][1].update(category_id=99), "annotations[1].category_id"),
        (lambda data: data["annotations"][3].update(image_id=-1), "annotations[3].image_id"),
    ],
)
def test_a_reference_to_nothing(coco: Coco, damage: Any, place: str) -> None:
    report = coco(damage)
    assert places(report, "R02") == [place]
    assert {one.code for one in report.findings if one.severity == "error"} == {"R02"}


@pytest.mark.parametrize(
    ("name", "severity"), [("Car", "warning"), (" car ", "warning"), ("ｃar", None), ("  ", "error"), ("truck", None)]
)
def test_category_names(coco: Coco, name: str, severity: str | None) -> None:
    report = coco(lambda data: data["categories"][1].update(name=name))
    assert codes(report) == ([("R05", severity)] if severity else [])


def test_the_same_name_in_two_unicode_forms(coco: Coco) -> None:
    def damage(data: Json) -> None:
        data["categories"][0]["name"], data["categories"][1]["name"] = "caf\u00e9", "cafe\u0301"

    assert codes(coco(damage)) == [("R05", "warning")]


def test_supercategories_in_a_circle(coco: Coco) -> None:
    def damage(data: Json) -> None:
        data["categories"][0]["supercategory"] = "person"
        data["categories"][1]["supercategory"] = "car"

    report = coco(damage)
    assert codes(report) == [("R06", "error")]
    assert "car -> person -> car" in report.findings[0].message


@pytest.mark.parametrize("name", ["a/one.jpg", "./a/one.jpg", "a//one.jpg", "a/./one.jpg"])
def test_one_file_under_two_ids(coco: Coco, name: str) -> None:
    report = coco(lambda data: data["images"][1].update(file_name=name))
    assert codes(report) == [("R07", "warning")]
    assert "0, 1" in report.findings[0].message


@pytest.mark.parametrize(
    ("box", "alike"),
    [
        ([50, 0, 50, 80], True),
        ([50.3, 0, 49.7, 80], True),  # IoU 0.994
        ([51, 0, 49, 80], True),  # IoU 0.98 exactly
        ([51.1, 0, 48.9, 80], False),
        ([50, 2, 50, 78], False),  # IoU 0.975
    ],
)
def test_annotations_alike(coco: Coco, box: list[float], alike: bool) -> None:
    report = coco(copy("annotations", 0, id=9, bbox=box, area=box[2] * box[3]))
    assert codes(report) == ([("R09", "warning")] if alike else [])
    other = coco(copy("annotations", 0, id=9, bbox=box, area=box[2] * box[3], category_id=3))
    assert codes(other) == []


def test_annotations_alike_with_others_between_them(coco: Coco) -> None:
    def damage(data: Json) -> None:
        boxes = [[10, 10, 50, 20], [10.1, 40, 50, 20], [10.2, 10, 50, 20], [10.3, 40, 50, 20]]
        data["annotations"] = [
            {"id": i, "image_id": 0, "category_id": 0, "bbox": box, "area": 1000} for i, box in enumerate(boxes)
        ]
        data["categories"] = data["categories"][:1]

    report = coco(damage)
    assert places(report, "R09") == ["annotations[2].bbox", "annotations[3].bbox"]


def test_unused_categories_are_one_note(coco: Coco) -> None:
    report = coco(lambda data: data["categories"].extend({"id": i, "name": f"c{i}"} for i in range(10, 20)))
    assert codes(report) == [("R10", "info")]
    assert "10 of 12" in report.findings[0].message


# ---------------------------------------------------------------------------------------------------------- datasets


@pytest.mark.parametrize(
    ("record", "code", "severity"),
    [
        (Annotation(id="x", image_id="toy/absent", category="cup", x=1, y=1, w=9, h=9), "R02", "error"),
        (Member(image_id="toy/absent", role="gallery"), "R02", "error"),
        (Judgement(query_id="q1", image_id="toy/absent", label="positive"), "R02", "error"),
        (Support(query_id="absent", rank=0, image_id="toy/g1"), "R03", "error"),
        (Judgement(query_id="absent", image_id="toy/g1", label="positive"), "R03", "error"),
        (Judgement(query_id="q1", image_id="toy/g1", label="positive", annotation_id="no"), "R03", "warning"),
        (
            Annotation(id="x", image_id="toy/g1", category="cup", parent_id="no", x=1, y=1, w=9, h=9),
            "R03",
            "warning",
        ),
        (
            Annotation(id="x", image_id="toy/g1", category="cup", instance="no/1", x=1, y=1, w=9, h=9),
            "R03",
            "warning",
        ),
        (Instance(id="set/2", category="bowl"), "R03", "warning"),
        (Coverage(scope="toy/test", category="*", state="none"), "R03", "info"),
        (Annotation(id="x", image_id="toy/g1", category="bowl", x=1, y=1, w=9, h=9), "R10", "error"),
        (Annotation(id="x", image_id="toy/g1", category="cup", parent_id="x", x=1, y=1, w=9, h=9), None, None),
        (Category(name="CUP"), "R05", "warning"),
    ],
)
def test_links_between_tables(
    check: Coco, records: list[Record], record: Record, code: str | None, severity: str | None
) -> None:
    found = [one for one in codes(check([*records, record], skip=["Q"])) if one != ("R10", "info")]
    assert found == ([(code, severity)] if code else [])


def test_a_circle_of_parents_is_found_once(check: Coco, records: list[Record]) -> None:
    chain = ["b", "c", "a", "a"]  # a -> b -> c -> a, and d leads into it
    for name, parent in zip("abcd", chain, strict=True):
        left = 2.0 + 10 * ord(name) % 80
        records.append(Annotation(id=name, image_id="toy/g2", parent_id=parent, category="cup", x=left, y=1, w=5, h=5))
    report = check(records)
    assert codes(report) == [("R06", "error")]
    assert "circle of 3: a -> b -> c -> a" in report.findings[0].message


def test_a_long_chain_of_parents_is_no_circle(check: Coco, records: list[Record]) -> None:
    for i in range(1000):
        parent = f"p{i - 1:04d}" if i else None
        records.append(Annotation(id=f"p{i:04d}", image_id="toy/g2", category="fog", parent_id=parent))
    assert not check(records).findings


def test_equal_content_under_two_ids(check: Coco, records: list[Record]) -> None:
    assert isinstance(records[2], Image)
    records[2] = msgspec.structs.replace(records[2], sha256="bb")
    report = check(records)
    assert codes(report) == [("R07", "warning")]
    assert "toy/g1, toy/g2" in report.findings[0].message
    assert not check(records, level="quick").findings


def test_images_without_annotation_count_only_where_labels_are_exhaustive(check: Coco, records: list[Record]) -> None:
    assert not check(records).findings  # g3 is bare, but its split is covered in part
    exhaustive = [msgspec.structs.replace(r, state="exhaustive") if isinstance(r, Coverage) else r for r in records]
    report = check(exhaustive)
    assert codes(report) == [("R08", "info")]
    assert report.findings[0].item == "toy/g3"
    assert report.verdict == "no errors"


def test_an_image_emptied_by_a_filter_is_no_surprise(check: Coco, records: list[Record]) -> None:
    exhaustive = [msgspec.structs.replace(r, state="exhaustive") if isinstance(r, Coverage) else r for r in records]
    emptied = Coverage(scope="toy/g3", category="cup", state="partial", origin="build subset")
    assert not check([*exhaustive, emptied]).findings


def test_a_key_that_stands_twice_in_a_dataset(records: list[Record]) -> None:
    dataset = from_records(Info(name="toy"), records)
    doubled = pa.concat_tables([dataset.table("queries")] * 2)
    report = verify(Dataset(dataset.info, {**dataset.tables, "queries": doubled}, checked=True), only=["R01"])
    assert codes(report) == [("R01", "error")]


def test_an_empty_id(check: Coco, records: list[Record]) -> None:
    report = check([*records, Query(id="", kind="text", text="a cup", instance="set/1")])
    assert codes(report) == [("R04", "error")]
