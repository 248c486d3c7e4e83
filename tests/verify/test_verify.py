"""The whole: sound inputs are sound, every fault put into one is found, and the choice of rules and levels."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.codes import CODES
from curate.dataset import from_records
from curate.errors import UsageError
from curate.geometry import rle_from_mask
from curate.model import Annotation, Category, Image, Info, Record
from curate.verify import RULES, Report, plan, verify
from curate.verify.rules import READING

Json = dict[str, Any]
Coco = Callable[..., Report]


def drawn(rng: np.random.Generator) -> Json:
    """A sound COCO file: boxes, polygons and masks of all sizes, also at the edges; ids from 0, in any order."""
    images: list[Json] = []
    annotations: list[Json] = []
    image_ids = rng.permutation(20)[: rng.integers(1, 8)].tolist()
    ids = rng.permutation(1000).tolist()
    for image_id in image_ids:
        width, height = rng.integers(4, 60, 2).tolist()
        images.append({"id": image_id, "file_name": f"i{image_id}.png", "width": width, "height": height})
        for _ in range(rng.integers(0, 4)):
            row: Json = {"id": ids.pop(), "image_id": image_id, "category_id": int(rng.integers(0, 3))}
            left, right = sorted(rng.choice(width + 1, 2, replace=False).tolist())
            top, bottom = sorted(rng.choice(height + 1, 2, replace=False).tolist())
            row["bbox"] = [left, top, right - left, bottom - top]
            row["area"] = (right - left) * (bottom - top)
            kind = rng.integers(0, 4)
            if kind == 1:
                row["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
            elif kind > 1:
                mask = np.zeros((height, width), np.uint8)
                mask[top:bottom, left:right] = 1
                rle = rle_from_mask(mask)
                row["segmentation"] = {"size": list(rle.size), "counts": rle.counts}
                row["iscrowd"] = int(kind == 3)
            annotations.append(row)
    categories = [{"id": i, "name": f"class {i}", "supercategory": "things"} for i in range(3)]
    return {"images": images, "annotations": annotations, "categories": categories}


def faults(data: Json, rng: np.random.Generator) -> list[tuple[str, Callable[[], object]]]:
    """Ways to break a file, with the code that must then be found."""
    row = data["annotations"][rng.integers(len(data["annotations"]))]
    image = next(one for one in data["images"] if one["id"] == row["image_id"])
    x, y, w, h = row["bbox"]

    def set_box(*box: Any) -> Callable[[], object]:
        return lambda: row.update(bbox=list(box), segmentation=[])

    def mask(**changes: Any) -> Callable[[], object]:
        size = [image["height"], image["width"]]
        return lambda: row.update(segmentation={"size": size, "counts": [size[0] * size[1]], **changes})

    return [
        ("R01", lambda: data["annotations"].append({**row})),
        ("R01", lambda: data["images"].append({**image})),
        ("R02", lambda: row.update(image_id=777)),
        ("R02", lambda: row.update(category_id=777)),
        ("R04", lambda: row.update(id=1.5)),
        ("S01", lambda: row.pop("image_id")),
        ("S02", lambda: row.update(bbox=[x, str(y), w, h])),
        ("B01", lambda: row.update(bbox=[x, y, w])),
        ("F07", lambda: row.update(bbox=[x, float("nan"), w, h])),
        ("F07", lambda: row.update(area=float("inf"))),
        ("F08", lambda: row.update(area=10**30)),
        ("B02", set_box(x, y, -w, h)),
        ("B03", set_box(x, y, 0, h)),
        ("B05", set_box(image["width"] + 5, y, w, h)),
        ("B05", set_box(x, -h - 5, w, h)),
        ("I03", lambda: image.update(width=0)),
        ("M04", mask(counts=[1])),
        ("M04", mask(counts="0")),
        ("M05", mask(size=[image["height"] + 1, image["width"]], counts=[(image["height"] + 1) * image["width"]])),
        ("M06", mask(size=[10**6, 10**6])),
        ("M01", lambda: row.update(segmentation=[[1, 2, 3]])),
        ("M02", lambda: row.update(segmentation=[[0, 0, 1e9, 0, 5, 5]])),
        ("P01", lambda: image.update(file_name="../x.png")),
        ("P02", lambda: image.update(file_name="http://h/x.png")),
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_a_sound_file_has_no_error_and_any_fault_is_found(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = drawn(rng)
    file = tmp_path / "x.json"
    file.write_text(json.dumps(data))
    report = verify(file)
    assert report.verdict == "no errors", report.findings
    assert {total.code for total in report.totals} <= {"B10", "R09", "R10"}
    if not data["annotations"]:
        return
    broken = faults(data, rng)
    code, break_it = broken[rng.integers(len(broken))]
    break_it()
    file.write_text(json.dumps(data))
    report = verify(file)
    assert report.verdict == ("no errors" if code == "B03" else "errors")
    assert code in {total.code for total in report.totals}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_same_content_as_a_dataset_gives_the_same_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = drawn(rng)
    records: list[Record] = [Category(name=row["name"]) for row in data["categories"]]
    for row in data["images"]:
        records.append(Image(id=f"t/{row['id']:04d}", source="t", width=row["width"], height=row["height"]))
    outside = 0
    for row in data["annotations"]:
        x, y, w, h = row["bbox"]
        image = next(one for one in data["images"] if one["id"] == row["image_id"])
        if rng.random() < 0.2:
            x, outside = x + image["width"] + 1, outside + 1
        records.append(
            Annotation(
                id=f"t/{row['id']:04d}#",
                image_id=f"t/{row['image_id']:04d}",
                category=f"class {row['category_id']}",
                x=x,
                y=y,
                w=w,
                h=h,
            )
        )
    report = verify(from_records(Info(name="t"), records))
    errors = {total.code: total.errors for total in report.totals if total.errors}
    assert errors == ({"B05": outside} if outside else {})


def test_only_and_skip(coco: Coco) -> None:
    def damage(data: Json) -> None:
        data["annotations"][1].update(image_id=99)
        data["annotations"][0].update(bbox=[200, 200, 5, 5])

    def codes(**options: Any) -> list[str]:
        report = coco(damage, **options)
        assert {one.code for one in report.findings} <= set(report.checked)
        return [one.code for one in report.findings]

    assert codes() == ["B05", "R02"]
    assert codes(only=["B"]) == ["B05"]
    assert codes(only=["b05"]) == ["B05"]
    assert codes(only=["R", "M"]) == ["R02"]
    assert codes(skip=["R02"]) == ["B05"]
    assert codes(only=["B"], skip=["B05"]) == []
    with pytest.raises(UsageError, match="Z99"):
        codes(only=["Z99"])


def test_an_unreadable_file_is_never_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"images": [')
    assert verify(file, only=["B"]).verdict == "errors"
    assert verify(file, skip=["F"]).verdict == "errors"


def test_a_quick_look_says_what_it_leaves_out(coco: Coco) -> None:
    report = coco(lambda data: data["annotations"][0].update(bbox=[200, 200, 5, 5]), level="quick")
    assert report.verdict == "no errors"
    left_out = {code for skipped in report.not_run for code in skipped.codes}
    assert {"B05", "M04", "R09"} <= left_out
    assert not left_out & set(report.checked)


def test_roots_that_mean_nothing_are_refused(coco: Coco, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        coco(roots={"coco": tmp_path / "absent"})
    with pytest.raises(UsageError, match="no source of this input"):
        coco(roots={"kitti": tmp_path})


def test_every_rule_has_known_codes_and_kinds() -> None:
    for rule in RULES:
        assert set(rule.codes.split()) <= set(CODES)
        assert set(rule.kinds.split()) <= set(READING)
        assert rule.check.__doc__, rule
    listed = {code for rule in RULES for code in rule.codes.split()} | plan.NEED_ROOTS
    listed |= {code for codes in READING.values() for code in codes.split()}
    # The others are said elsewhere: N by imports, E by evaluation, Q also by builds, L by reviews, V and X by releases.
    assert {code for code in set(CODES) - listed if code[0] not in "NEQLVX"} <= {"I08", "M10", "M11"}


def test_findings_do_not_depend_on_the_order_of_rows(coco: Coco) -> None:
    def damage(data: Json) -> None:
        data["annotations"][0].update(bbox=[200, 200, 5, 5])

    def reversed_too(data: Json) -> None:
        damage(data)
        data["annotations"].reverse()
        data["images"].reverse()

    first, second = coco(damage), coco(reversed_too)
    assert [(one.code, one.item) for one in first.findings] == [(one.code, one.item) for one in second.findings]


NUMBERS = (0, -1, 2, 1.5, -0.0, 1e308, float("nan"), float("inf"), 2**63, -(2**70), 10**400)
WORDS = (None, True, False, "", "x", "7", "\ud800", "\0")
LISTS = ([], [1], [[]], [[1, 2]], [None] * 4, ["a"] * 4, [[[1]]], [[float("inf")] * 6], [[True] * 6])
SIZE = {"size": [2, 2]}
OBJECTS = (
    {},
    {"a": 1},
    SIZE,
    {"size": [1], "counts": [1]},
    {**SIZE, "counts": ["4"]},
    {"size": [-1, 2], "counts": "0"},
)
VALUES = st.sampled_from([*NUMBERS, *WORDS, *LISTS, *OBJECTS]).map(copy.deepcopy)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_value_in_any_place_is_a_traceback(coco: Coco, data: st.DataObject) -> None:
    def damage(file: Json) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            node: Any = file
            while True:
                keys = sorted(node) if isinstance(node, dict) else range(len(node))
                if not keys:
                    break
                key = data.draw(st.sampled_from(keys))
                inside = isinstance(node[key], dict | list) and data.draw(st.integers(0, 3))
                if not inside:
                    node[key] = data.draw(VALUES)
                    break
                node = node[key]

    report = coco(damage)
    assert report.kind in ("coco", "unknown")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1100), st.integers(0, 30), st.binary(max_size=6))
def test_no_bytes_in_any_place_are_a_traceback(tmp_path: Path, at: int, removed: int, put: bytes) -> None:
    data = json.dumps(drawn(np.random.default_rng(11))).encode()
    file = tmp_path / "x.json"
    file.write_bytes(data[:at] + put + data[at + removed :])
    report = verify(file)
    assert report.verdict in ("errors", "no errors")
