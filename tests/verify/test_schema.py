"""Fields of COCO rows and of dataset.json: each damage gives its one finding, at its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from curate import store
from curate.dataset import Dataset, from_records
from curate.model import Info, Record
from curate.verify import Report, folder, verify

Json = dict[str, Any]
Coco = Callable[..., Report]


def row(section: str, index: int, **fields: Any) -> Callable[[Json], None]:
    return lambda data: data[section][index].update(fields)


def without(section: str, index: int, field: str) -> Callable[[Json], object]:
    return lambda data: data[section][index].pop(field)


CASES = [
    (without("images", 2, "id"), "S01", "images[2].id"),
    (without("images", 1, "file_name"), "S01", "images[1].file_name"),
    (without("annotations", 3, "id"), "S01", "annotations[3].id"),
    (without("annotations", 3, "image_id"), "S01", "annotations[3].image_id"),
    (without("annotations", 3, "category_id"), "S01", "annotations[3].category_id"),
    (without("annotations", 0, "bbox"), "S01", "annotations[0].bbox"),
    (without("categories", 0, "name"), "S01", "categories[0].name"),
    (row("images", 2, id=None), "S01", "images[2].id"),
    (row("images", 2, file_name=5), "S01", "images[2].file_name"),
    (row("images", 2, width=[640]), "S01", "images[2].width"),
    (row("images", 2, width=640.5), "S01", "images[2].width"),
    (row("images", 2, width="640"), "S02", "images[2].width"),
    (row("images", 2, height=True), "S02", "images[2].height"),
    (row("annotations", 0, image_id="0"), "S02", "annotations[0].image_id"),
    (row("annotations", 0, category_id=False), "S02", "annotations[0].category_id"),
    (row("annotations", 0, bbox=[50, "0", 50, 80]), "S02", "annotations[0].bbox[1]"),
    (row("annotations", 0, bbox=[50, 0, True, 80]), "S02", "annotations[0].bbox[2]"),
    (row("annotations", 0, area="4000"), "S02", "annotations[0].area"),
    (row("annotations", 0, iscrowd=False), "S02", "annotations[0].iscrowd"),
    (row("images", 2, id="7"), "R04", "images[2].id"),
    (row("images", 2, id=7.5), "R04", "images[2].id"),
    (row("annotations", 0, bbox=[50, 0, 50]), "B01", "annotations[0].bbox"),
    (row("annotations", 0, bbox=[50, 0, 50, 80, 1]), "B01", "annotations[0].bbox"),
    (row("annotations", 0, bbox={"x": 1}), "B01", "annotations[0].bbox"),
    (row("annotations", 0, bbox=[50, 0, None, 80]), "B01", "annotations[0].bbox[2]"),
    (row("annotations", 0, iscrowd=2), "M07", "annotations[0].iscrowd"),
    (row("annotations", 0, segmentation=[[1, 2, 3, 4]]), "M01", "annotations[0].segmentation[0]"),
    (row("annotations", 0, segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "M01", "annotations[0].segmentation[0]"),
    (row("annotations", 0, segmentation=[1, 2, 3, 4, 5, 6]), "M01", "annotations[0].segmentation"),
    (row("annotations", 0, segmentation=[[1, 2], [3, 4], [5, 6]]), "M01", "annotations[0].segmentation"),
    (row("annotations", 0, segmentation=[[[1, 2], [3, 4], [5, 6]]]), "M01", "annotations[0].segmentation[0]"),
    (row("annotations", 0, segmentation="mask.png"), "M01", "annotations[0].segmentation"),
    (row("annotations", 0, segmentation=[[1, 2, "3", 4, 5, 6]]), "S02", "annotations[0].segmentation[0]"),
    (row("annotations", 2, segmentation={"counts": [8000]}), "S01", "annotations[2].segmentation"),
    (row("annotations", 2, segmentation={"counts": "a", "size": 80}), "S01", "annotations[2].segmentation.size"),
    (
        row("annotations", 2, segmentation={"counts": [1.5, 7998.5], "size": [80, 100]}),
        "M04",
        "annotations[2].segmentation.counts[0]",
    ),
    (
        row("annotations", 2, segmentation={"counts": [8001, -1], "size": [80, 100]}),
        "M04",
        "annotations[2].segmentation.counts[1]",
    ),
    (lambda data: data["images"].append("x"), "S01", "images[3]"),
    (lambda data: data["categories"].append(None), "S01", "categories[2]"),
    (lambda data: data.update(images={}), "S01", "images"),
    (lambda data: data.pop("categories"), "S01", "categories"),
]


@pytest.mark.parametrize(("damage", "code", "place"), CASES)
def test_a_damaged_field_is_found_once_at_its_place(coco: Coco, damage: Any, code: str, place: str) -> None:
    report = coco(damage, skip=["R02", "R10"])
    errors = [one for one in report.findings if one.severity == "error"]
    assert [(one.code, one.where.split(", ", 1)[1]) for one in errors] == [(code, place)]


def test_the_sound_file_is_quiet(coco: Coco) -> None:
    report = coco()
    assert (report.verdict, report.findings) == ("no errors", ())


@pytest.mark.parametrize(
    ("damage", "code", "severity"),
    [
        (without("images", 2, "width"), "S01", "warning"),
        (row("images", 2, width=None), "S01", "warning"),
        (row("images", 2, file_name=None), "S01", "warning"),
        (row("images", 2, id=-7), "R04", "warning"),
        (lambda data: (data.pop("annotations"), data.update(categories=[])), "S01", "warning"),
        (row("annotations", 1, iscrowd=1), "M07", "warning"),
        (row("images", 2, licence="x", camera=3), "S05", "info"),
        (row("images", 2, license=5), "R03", "warning"),
    ],
)
def test_what_is_no_error(coco: Coco, damage: Any, code: str, severity: str) -> None:
    report = coco(damage)
    assert [(one.code, one.severity) for one in report.findings] == [(code, severity)]
    assert report.verdict == "no errors"


@pytest.mark.parametrize(
    "damage",
    [
        row("images", 2, width=640.0),
        lambda data: data["annotations"].append({"id": 9, "image_id": 7, "category_id": 0, "bbox": None}),
        lambda data: data["annotations"].append({"id": 9, "image_id": 7, "category_id": 0}),
        lambda data: data["annotations"].append({"id": 9, "image_id": 7, "category_id": 0, "area": 0, "bbox": []}),
        row("annotations", 0, area=None, iscrowd=None, segmentation=None),
        row("annotations", 0, id=2**62),
    ],
)
def test_legal_forms_are_quiet(coco: Coco, damage: Any) -> None:
    assert not coco(damage).findings


def test_rows_beyond_the_first_chunk_have_their_own_numbers(coco: Coco) -> None:
    def many(data: Json) -> None:
        data["images"] = [{**data["images"][2], "id": i, "file_name": f"{i}.jpg"} for i in range(9000)]
        data["images"][8999]["width"] = "640"
        data["annotations"] = []

    (one,) = [one for one in coco(many).findings if one.code != "R10"]
    assert (one.code, one.where.split(", ")[1], one.item) == ("S02", "images[8999].width", "8999")


@pytest.fixture
def stored(tmp_path: Path, records: list[Record]) -> Path:
    store.write(from_records(Info(name="toy"), records), tmp_path / "toy")
    return tmp_path / "toy"


def edit(path: Path, change: Callable[[Json], object]) -> None:
    file = path / "dataset.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_a_stored_dataset_is_sound(stored: Path) -> None:
    assert folder(stored) == []
    assert not verify(store.read(stored)).findings


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data.pop("schema_version"), "S03"),
        (lambda data: data.update(schema_version="one"), "S03"),
        (lambda data: data.update(schema_version=1.0), "S03"),
        (lambda data: data.update(schema_version="9.0"), "S03"),
        (lambda data: data.update(schema_version="0.9"), "S04"),
        (lambda data: data.update(colour="red"), "S05"),
        (lambda data: data["tables"].update(colours=data["tables"]["images"]), "S05"),
        (lambda data: data.pop("tables"), "S01"),
        (lambda data: data["tables"]["images"].pop("files"), "S01"),
        (lambda data: data["tables"]["images"].update(files=["absent.parquet"]), "F01"),
        (lambda data: data["tables"]["images"].update(files=["../images.parquet"]), "P01"),
        (lambda data: data["tables"]["images"].update(files=["/etc/passwd"]), "P01"),
        (lambda data: data["tables"]["images"].update(files=["dataset.json"]), "F09"),
    ],
)
def test_dataset_json(stored: Path, change: Any, code: str) -> None:
    edit(stored, change)
    assert [one.code for one in folder(stored)] == [code]


def test_files_of_a_dataset_that_are_broken(stored: Path) -> None:
    table = stored / "images.parquet"
    table.write_bytes(table.read_bytes()[:-10])
    assert [one.code for one in folder(stored)] == ["F04"]
    table.unlink()
    assert [one.code for one in folder(stored)] == ["F01"]
    (stored / "dataset.json").write_text('{"name": "toy"')
    assert [one.code for one in folder(stored)] == ["F04"]


def test_a_required_value_that_is_null_and_a_word_that_is_none(records: list[Record]) -> None:
    dataset = from_records(Info(name="toy"), records)
    table = dataset.table("annotations")
    status = pa.array(["maybe", *table["status"].to_pylist()[1:]]).dictionary_encode()
    images = pa.array([None, *table["image_id"].to_pylist()[1:]], pa.string())
    columns = {name: table[name] for name in table.column_names}
    broken = pa.table({**columns, "status": status, "image_id": images})
    report = verify(Dataset(dataset.info, {**dataset.tables, "annotations": broken}, checked=True))
    places = [(one.code, one.where) for one in report.findings if one.code == "S01"]
    first = table["id"][0].as_py()
    assert places == [
        ("S01", f"annotations, row {first}, image_id"),
        ("S01", f"annotations, row {first}, status"),
    ]


def test_a_table_that_was_changed_since_it_was_written(stored: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(stored / "annotations.parquet")
    heights = pa.array([None if h is None else h - 1 for h in table["h"].to_pylist()], pa.float64())
    pq.write_table(table.set_column(table.schema.get_field_index("h"), table.schema.field("h"), heights), stored / "x")
    (stored / "x").replace(stored / "annotations.parquet")
    report = verify(store.read(stored))
    assert [(one.code, one.where) for one in report.findings if one.severity == "error"] == [
        ("V01", "table annotations")
    ]
    assert "V01" not in {total.code for total in verify(store.read(stored), level="quick").totals}


def test_a_report_can_be_read_back(coco: Coco) -> None:
    report = coco(row("images", 2, width="640"))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
