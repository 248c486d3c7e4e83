"""Exports of Label Studio: real ones, and each fault alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import brush
from curate.geometry import rle_from_counts
from curate.verify import Report, verify

Json = Any


def box(name: str, **value: Any) -> Json:
    held = {"x": 10, "y": 20.5, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["cup"], **value}
    size = {"original_width": 60, "original_height": 40}
    return {"id": name, "type": "rectanglelabels", "from_name": "b", "to_name": "i", "value": held, **size}


def mask(width: int = 60, height: int = 40) -> list[int]:
    return brush.encode(rle_from_counts([41, 30, 7, 30, width * height - 108], width, height))


def painted(stream: list[int]) -> Json:
    value = {"format": "rle", "rle": stream, "brushlabels": ["cup"]}
    return box("m") | {"type": "brushlabels", "value": value}


def sound() -> Json:
    def annotation(number: int, person: int, *regions: Json) -> Json:
        times = {"created_at": "2026-01-01T10:00:00.5Z", "updated_at": "2026-01-01T10:00:00.1Z", "lead_time": 12.5}
        return {"id": number, "completed_by": person, "result": list(regions), "was_cancelled": False, **times}

    return [
        {"id": 1, "data": {"image": "a.jpg"}, "annotations": [annotation(1, 1, box("r")), annotation(2, 2, box("r"))]},
        {"id": 2, "data": {"image": "b.jpg"}, "annotations": [annotation(3, 1, painted(mask()))]},
    ]


@pytest.fixture
def tasks(tmp_path: Path) -> Callable[..., Report]:
    def run(damage: Callable[[Json], object] = lambda data: None) -> Report:
        data = copy.deepcopy(sound())
        damage(data)
        file = tmp_path / "export.json"
        file.write_text(json.dumps(data, indent=1))
        return verify(file)

    return run


def test_a_sound_file(tasks: Callable[..., Report]) -> None:
    report = tasks()
    assert (report.kind, report.findings) == ("label_studio", ())
    assert report.counts == {"tasks": 2, "annotations": 3}


def first(data: Json) -> Json:
    return data[0]["annotations"][0]


def value(data: Json) -> Json:
    return first(data)["result"][0]["value"]


@pytest.mark.parametrize(
    ("damage", "code", "severity"),
    [
        (lambda data: data[1].update(id=1), "L01", "error"),
        (lambda data: data[1]["annotations"][0].update(id=1), "L01", "error"),
        (lambda data: first(data)["result"].append(box("r")), "L01", "error"),
        (lambda data: first(data).update(completed_by=2), "L01", "warning"),
        (lambda data: first(data).update(was_cancelled=True), "L02", "warning"),
        (lambda data: first(data).update(was_cancelled=True, result=[], ground_truth=True), "L02", "error"),
        (lambda data: data[0].update(drafts=[{}]), "L02", "warning"),
        (lambda data: first(data)["result"][0].pop("original_width"), "L03", "error"),
        (lambda data: first(data)["result"][0].update(original_width=61), "L03", "error"),
        (lambda data: value(data).update(x=80), "L04", "warning"),
        (lambda data: value(data).update(x=-0.1), "L04", "warning"),
        (lambda data: value(data).update(x=100), "L04", "error"),
        (lambda data: value(data).update(x="1"), "B01", "error"),
        (lambda data: value(data).pop("height"), "B01", "error"),
        (lambda data: value(data).update(rotation=12), "L05", "warning"),
        (lambda data: value(data).update(rectanglelabels=[]), "L06", "error"),
        (lambda data: value(data).update(rectanglelabels=["cup", "plate"]), "L06", "error"),
        (lambda data: data[1].update(annotations=[]) or first(data).update(result=[]), "L07", "info"),
        (lambda data: first(data).update(result=None), "L07", "error"),
        (lambda data: data[0]["data"].update(image="https://h/a.jpg?X-Amz-Signature=0123456789abcdef"), "L08", "error"),
        (lambda data: data[0]["data"].update(by="ann@example.org"), "L08", "error"),
        (lambda data: data[0]["data"].update(token="0123456789abcdef0123"), "L08", "error"),
        (lambda data: first(data).update(updated_at="2025-12-31T10:00:00Z"), "L09", "warning"),
        (lambda data: first(data).update(lead_time=-1), "L09", "warning"),
        (lambda data: first(data).update(lead_time=4 * 3600 + 1), "L09", "warning"),
        (lambda data: data[1]["annotations"][0].update(result=[painted(mask(60, 41))]), "M11", "error"),
        (lambda data: data[1]["annotations"][0].update(result=[painted(mask()[:-3])]), "M11", "error"),
        (lambda data: data[1]["annotations"][0].update(result=[painted(mask()[:6])]), "M11", "error"),
        (lambda data: data[0]["data"].update(licence="CC BY, ask ann@example.org"), "L08", "info"),
        (lambda data: data[1]["annotations"][0].update(result=[painted([*mask(), 256])]), "M11", "error"),
        (lambda data: data.append(3), "S01", "error"),
    ],
)
def test_each_fault(tasks: Callable[..., Report], damage: Callable[[Json], object], code: str, severity: str) -> None:
    report = tasks(damage)
    assert [(one.code, one.severity) for one in report.findings] == [(code, severity)]


@pytest.mark.parametrize(
    ("regions", "codes"),
    [
        ([box("r"), painted(mask())], []),
        ([box("r", x=900)], ["L04"]),
        ([box("r"), box("r")], ["L01"]),
        ([box("r") | {"original_width": -3}], ["L03"]),
        ([painted([1, 2])], ["M11"]),
        ([box("r", rectanglelabels=[])], ["L06"]),
    ],
)
def test_what_people_were_shown_is_checked_too(
    tasks: Callable[..., Report], regions: list[Json], codes: list[str]
) -> None:
    """Tasks that are to be imported have predictions alone; exports may have their ids instead."""
    shown = {"model_version": "sam", "result": regions}
    report = tasks(lambda data: data.append({"data": {"image": "c.jpg"}, "predictions": [shown, 7]}))
    assert [one.code for one in report.findings] == codes
    assert report.counts == {"tasks": 3, "annotations": 3, "predictions": 1}
    assert all(".predictions[0].result[" in one.where for one in report.findings)


def test_a_secret_is_not_repeated(tasks: Callable[..., Report]) -> None:
    report = tasks(lambda data: data[0]["data"].update(token="canary0123456789abcdef"))
    assert "canary" not in str(report)
    assert report.findings[0].where.endswith(":6")


@pytest.mark.parametrize("name", ["export_snapshot.json", "export_json_all.json"])
def test_real_exports(shared: Path, name: str) -> None:
    report = verify(shared / "samples" / "label_studio" / name)
    assert report.kind == "label_studio"
    assert report.counts["tasks"] > 0
    assert not {one.code for one in report.findings} & {"B01", "L03", "L06", "M11", "S01", "L04"}, report.findings
