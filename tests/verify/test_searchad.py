"""SearchAD folders: sound, and each fault alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PilImage

from curate.verify import Report, verify

Json = Any


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Report]:
    def run(damage: Callable[[Json], object] = lambda data: None, pictures: bool = False) -> Report:
        data = {
            "train": {"ACDC/a.png": [{"label": "Dog", "bbox": [1, 2, 30.5, 20]}], "ACDC/b.png": []},
            "val": {"ACDC/c.png": [{"label": "Horse", "bbox": [0, 0, 5, 5]}]},
            "test": {"0": "ACDC/d.png"},
        }
        damage(data)
        for split in ("train", "val"):
            (tmp_path / f"searchad_annotations_{split}.json").write_text(json.dumps(data[split]))
        (tmp_path / "searchad_test_mapping_id_to_imagepath.json").write_text(json.dumps(data["test"]))
        for name in "abcd":
            (tmp_path / "ACDC").mkdir(exist_ok=True)
            PilImage.new("RGB", (40, 30)).save(tmp_path / "ACDC" / f"{name}.png")
        return verify(tmp_path)

    return run


def test_a_sound_folder(folder: Callable[..., Report]) -> None:
    report = folder()
    assert (report.kind, report.findings) == ("searchad", ())
    assert report.counts == {"images": 4, "annotations": 2}


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda data: data["train"]["ACDC/a.png"][0].pop("label"), "S01"),
        (lambda data: data["train"].update({"ACDC/a.png": {}}), "S01"),
        (lambda data: data["train"]["ACDC/a.png"][0].update(bbox=[1, 2, 3]), "B01"),
        (lambda data: data["train"]["ACDC/a.png"][0].update(bbox=[9, 2, 3, 5]), "B02"),
        (lambda data: data["train"]["ACDC/a.png"][0].update(bbox=[3, 2, 3, 5]), "B03"),
        (lambda data: data["val"].update({"ACDC/a.png": []}), "Q03"),
        (lambda data: data["test"].update({"1": "ACDC/d.png"}), "R01"),
        (lambda data: data["test"].update({"x": "ACDC/d.png"}), "S01"),
        (lambda data: data["train"].update({"../e.png": []}), "P01"),
        (lambda data: data["train"].update({"ACDC/e.png": []}), "I01"),
        (lambda data: data.update(val=[]), "S01"),
    ],
)
def test_each_fault(folder: Callable[..., Report], damage: Callable[[Json], object], code: str) -> None:
    assert [one.code for one in folder(damage).findings] == [code]


def test_what_is_no_json_is_said_once(folder: Callable[..., Report], tmp_path: Path) -> None:
    folder()
    file = tmp_path / "searchad_annotations_val.json"
    for text, codes in (('{"ACDC/c.png": [\n}', ["F04"]), ('{"ACDC/c.png": [NaN, }', ["F04", "F07"])):
        file.write_text(text)
        found = verify(tmp_path).findings
        assert [one.code for one in found] == codes
        assert found[0].where.startswith(f"{file}, line ")
    assert found[0].where.endswith("line 1, column 22")


def test_a_key_that_stands_twice(folder: Callable[..., Report], tmp_path: Path) -> None:
    folder()
    file = tmp_path / "searchad_annotations_val.json"
    file.write_text('{"ACDC/c.png": [], "ACDC/c.png": []}')
    assert [one.code for one in verify(tmp_path).findings] == ["F06"]
