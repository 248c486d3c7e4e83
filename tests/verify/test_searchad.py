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


BESIDE: dict[str, Json] = {
    "searchad_train_image_level_annotations_min_box_50.json": {"Dog": ["ACDC/a.png"]},
    "searchad_train_image_level_ignore_images_min_box_50.json": {},
    "searchad_val_image_level_annotations_min_box_50.json": {"Cat": []},
    "searchad_val_image_level_ignore_images_min_box_50.json": {"Horse": ["ACDC/c.png"]},
    "default_queries/Dog.json": {
        "supportsets": {"vision": {"x/y.png": [{"bbox": {"min_x": 1, "min_y": 2, "max_x": 3.5, "max_y": 4}}]}}
    },
}
TRAIN, IGNORED, QUERY = [name for name in BESIDE if "val_image" not in name]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("", "", None),
        (TRAIN, '{"Dog": ["ACDC/a.png", "ACDC/b.png"]}', "Q04"),  # b shows none
        (TRAIN, '{"Dog": []}', "Q04"),
        (TRAIN, '{"Dog": "ACDC/a.png"}', "S01"),
        (TRAIN, "[]", "S01"),
        (TRAIN, "{", "F04"),
        (IGNORED, '{"Dog": ["ACDC/c.png"]}', "R02"),  # which is of val
        (IGNORED, '{"Dog": ["ACDC/a.png"]}', "Q05"),
        (QUERY, '{"supportsets": {"language": ["a dog"]}}', "S01"),
        (QUERY, '{"supportsets": {"vision": {"x.png": [{"bbox": [1, 2, 3, 4]}]}}}', "B01"),
        (
            QUERY,
            '{"supportsets": {"vision": {"x.png": [{"bbox": {"min_x": 9, "min_y": 2, "max_x": 3, "max_y": 4}}]}}}',
            "B02",
        ),
        (QUERY, '{"supportsets": {"vision": {"../x.png": []}}}', "P01"),
        (QUERY, '{"supportsets": {"vision": {"x.png": {}}}}', "S01"),
    ],
)
def test_what_lies_beside_the_annotations(
    folder: Callable[..., Report], tmp_path: Path, name: str, text: str, code: str | None
) -> None:
    """The dog's box of 29.5 x 18 px is a positive; the horse's of 5 x 5 is not, and its image is to be ignored."""
    (tmp_path / "default_queries").mkdir()
    for beside, value in BESIDE.items():
        (tmp_path / beside).write_text(json.dumps(value))
    if name:
        (tmp_path / name).write_text(text)
    report = folder()
    assert [one.code for one in report.findings] == ([code] if code else [])
    assert all(one.where.startswith(str(tmp_path / name)) for one in report.findings)


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
