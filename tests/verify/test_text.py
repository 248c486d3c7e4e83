"""Files of the wrong kind, broken text and names with hidden characters: one finding each, never a traceback."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from curate.model import Record
from curate.verify import Report, text, verify

TextFile = Callable[..., Report]


def only(report: Report) -> tuple[str, str, str]:
    """Code, place and message of the one finding."""
    (one,) = report.findings
    return one.code, one.where, one.message


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "F01", "empty"),
        (b"  \n ", "F01", "nothing but spaces"),
        (gzip.compress(b"{}"), "F09", "gzip"),
        (b"<!DOCTYPE html><html></html>", "F09", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "F09", "Git LFS pointer"),
        (b"PAR1" + bytes(20), "F09", "Parquet"),
        (b"PK\x03\x04" + bytes(60), "F09", "zip archive"),
        (bytes(range(100, 228)) + bytes(8), "F03", "not UTF-8"),
        (b"\x00\x01\x02\x03abcdefghijklmnopqrstuvwxyz0123456789", "F09", "binary"),
        ('{"images": []}'.encode("utf-16"), "F03", "UTF-16"),
        ('{"images": []}'.encode("utf-16-be"), "F03", "UTF-16"),
        (b'{"id": 1}\n{"id": 2}\n', "F09", "JSON Lines"),
        (b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]', "F09", "detection results"),
        (b'[{"image": "x", "id": 1, "label": [], "annotator": 1, "lead_time": 2}]', "F09", "JSON_MIN"),
        (b"[]", "F09", "JSON list"),
        (b"3", "F09", "single JSON value"),
        (b'{"shapes": [], "imagePath": "x.png"}', "F09", "labelme"),
        (b'{"type": "FeatureCollection", "features": []}', "F09", "GeoJSON"),
        (b"{}", "F09", "without any key"),
        (b"images:\n  - 1\n", "F04", "not JSON"),
        (b'{"images": []} {"images": []}', "F04", "extra data"),
        (b'{"images": [],}', "F04", "not JSON"),
        pytest.param(b"[" * 100_000, "F05", "nested deeper", id="deep lists"),
        pytest.param(b'{"a":' * 100_000, "F05", "nested deeper", id="deep objects"),
    ],
)
def test_a_file_that_is_none_of_ours(text_file: TextFile, data: bytes, code: str, words: str) -> None:
    report = text_file(data)
    found, _, message = only(report)
    assert (found, report.verdict) == (code, "errors")
    assert words in message


def test_half_a_file_names_line_and_column(text_file: TextFile) -> None:
    data = json.dumps({"images": [{"id": 1, "file_name": "x"}], "annotations": []}, indent=1)
    code, where, message = only(text_file(data[: data.index('"file_name"') + 5]))
    assert code == "F04"
    assert where.endswith("line 5, column 4")
    assert "ends in the middle" in message


def test_bytes_that_are_not_utf8_name_their_offset(text_file: TextFile) -> None:
    code, where, message = only(text_file(b'{"images":\n "\xff\xfe"}'))
    assert code == "F03"
    assert "byte 13, line 2, column 3" in where
    assert "ff fe" in message


def test_a_byte_order_mark_is_only_noted(text_file: TextFile) -> None:
    report = text_file(b'\xef\xbb\xbf{"images": [], "annotations": [], "categories": []}')
    assert [(one.code, one.severity) for one in report.findings] == [("F03", "info")]
    assert report.verdict == "no errors"


def test_a_key_that_stands_twice_is_named_with_its_place(text_file: TextFile) -> None:
    row = '{"id": 1, "file_name": "a.jpg", "width": 5, "width": 6, "height": 5}'
    report = text_file(f'{{"images": [{row}], "annotations": [], "categories": []}}')
    (one,) = report.findings
    assert (one.code, one.where.split(", ")[1]) == ("F06", "images[0].width")


def test_not_a_number_is_reported_and_the_rest_still_checked(text_file: TextFile) -> None:
    image = '{"id": 1, "file_name": "a.jpg", "width": 50, "height": 50}'
    rows = (
        '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [NaN, 0, 1, 1]}, {"id": 1, "image_id": 5, "category_id": 1}'
    )
    data = f'{{"images": [{image}], "annotations": [{rows}], "categories": [{{"id": 1, "name": "x"}}]}}'
    report = text_file(data)
    places = {(one.code, one.where.split(", ")[1]) for one in report.findings if one.severity == "error"}
    assert places == {
        ("F07", "annotations[0].bbox[0]"),
        ("B01", "annotations[0].bbox[0]"),
        ("R01", "annotations[1].id"),
        ("R02", "annotations[1].image_id"),
    }


def test_places_that_are_no_files(tmp_path: Path) -> None:
    assert only(verify(tmp_path / "absent"))[:1] == ("F01",)
    assert "without dataset.json" in only(verify(tmp_path))[2]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert only(verify(fifo))[0] == "F01"
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert only(verify(circle))[0] == "F01"
    assert only(verify(tmp_path / ("n" * 300)))[0] == "F01"


def test_the_limit_on_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"images": []}')
    monkeypatch.setattr(text, "MAX_BYTES", 10)
    assert only(verify(file))[0] == "F02"


def test_a_file_without_a_reader(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("{}")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    assert only(verify(file))[0] == "F01"


@pytest.mark.parametrize(
    ("name", "severity"),
    [("a\u202egpj.exe", "warning"), ("tab\there", "warning"), ("zero\u200bwidth", "warning"), ("nul\0", "error")],
)
def test_hidden_characters_in_names(coco: TextFile, name: str, severity: str) -> None:
    report = coco(lambda data: data["categories"][0].update(name=name))
    assert [(one.code, one.severity) for one in report.findings] == [("F10", severity)]
    assert "categories[0].name" in report.findings[0].where
    assert name not in report.findings[0].message


def test_half_of_a_surrogate_pair(coco: TextFile) -> None:
    report = coco(lambda data: data["images"][0].update(file_name="\ud800.jpg"))
    assert [(one.code, one.severity) for one in report.findings] == [("F10", "warning")]


@pytest.mark.parametrize("name", ["café.jpg", "نمی\u200cخواهم.png", "写真/一.jpg", "👩\u200d🌾.png", "a b.jpg"])
def test_names_in_other_scripts_are_quiet(coco: TextFile, name: str) -> None:
    assert not coco(lambda data: data["images"][0].update(file_name=name)).findings


def test_hidden_characters_in_a_dataset(check: TextFile, records: list[Record]) -> None:
    records[1] = msgspec.structs.replace(records[1], file_name="g\u202e1.png")
    assert [one.code for one in check(records).findings] == ["F10"]
