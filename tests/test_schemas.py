"""The JSON Schemas: generated from the types, and true of the files that are really written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from curate import schema, store
from curate.dataset import Dataset, from_records
from curate.model import TABLES, Annotation, Image, Info, Parent, Rle, SourceRecord, finding

FOLDER = Path(__file__).resolve().parent.parent / "schemas"


def stored(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def errors(name: str, value: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(stored(name)).iter_errors(value)]


def test_the_files_are_what_the_types_say() -> None:
    generated = schema.texts()
    assert {file.name for file in FOLDER.iterdir()} == set(generated), "run: python -m curate.schema"
    for name, text in generated.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run python -m curate.schema"


@pytest.mark.parametrize("name", schema.generate())
def test_each_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(stored(name))


def test_there_is_one_for_each_file_and_each_table() -> None:
    names = set(schema.generate())
    assert {"dataset", "finding", "info", "source", "verify"} <= names
    assert {spec.record.__name__.lower() for spec in TABLES.values()} <= names


@pytest.mark.parametrize("seed", ["0", "1"])
def test_rewriting_gives_the_same_bytes_and_removes_what_is_gone(tmp_path: Path, seed: str) -> None:
    (tmp_path / "old.json").touch()
    script = f"from pathlib import Path; from curate.schema import rewrite; rewrite(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        name: text.encode() for name, text in schema.texts().items()
    }


def test_the_package_carries_them() -> None:
    inside = resources.files("curate").joinpath("schemas")
    assert {file.name for file in inside.iterdir()} == {file.name for file in FOLDER.iterdir()}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    parent = Parent(name="p", fingerprint="00", parents=(Parent(name="g", fingerprint="11"),))
    info = Info(name="n", sources={"s": SourceRecord(title="S")}, roots={"s": "x"}, parents=(parent,))
    records = [
        Image(id="s/1", source="s", width=4, attributes={"a": [None]}),
        Annotation(id="s/1#0", image_id="s/1", segmentation=Rle((3, 4), "<"), polygons=[[[0.0, 0, 1, 1, 2, 2]]]),
    ]
    noticed = [finding("I01", "a.png", "missing", item="s/1", hint="look"), finding("S04", "b", "old")]
    store.write(Dataset(info, from_records(info, records).tables, noticed), tmp_path / "ds")
    return tmp_path / "ds"


def test_a_real_manifest_is_valid(written: Path) -> None:
    assert errors("dataset", json.loads((written / "dataset.json").read_text())) == []


def test_real_problems_are_valid(written: Path) -> None:
    lines = (written / "problems.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert [error for line in lines for error in errors("finding", json.loads(line))] == []


def test_what_the_commands_print_is_valid(written: Path, curate: Callable[..., Any]) -> None:
    found = json.loads(curate("info", written, "--json").stdout)
    assert found["name"] == "n"
    assert errors("info", found) == []
    report = written.with_name("report.json")
    curate("verify", written, "--report", report, code=None)
    found = json.loads(report.read_text())
    assert found["findings"]
    assert errors("verify", found) == []
    listed = json.loads(curate("sources", "--json").stdout)
    assert {"coco", "kitti"} <= set(listed)
    assert [error for source in listed.values() for error in errors("source", source)] == []


def test_rows_are_valid() -> None:
    image = Image(id="s/1", source="s", date_evidence="proven", attributes={"a": 1})
    assert errors("image", msgspec.to_builtins(image)) == []
    row = Annotation(id="s/1#0", image_id="s/1", segmentation=Rle((3, 4), "<"), polygons=[[[0.0, 0, 1, 1, 2, 2]]])
    assert errors("annotation", json.loads(msgspec.json.encode(row))) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dataset", {"name": "n"}, "'schema_version' is a required property"),
        ("dataset", {"name": 1, "schema_version": "1.0", "fingerprint": "", "tables": {}}, "1 is not of type 'string'"),
        ("finding", {"code": "F01", "severity": "fatal", "where": "", "message": ""}, "'fatal' is not one of"),
        ("annotation", {"id": "a", "image_id": "i", "x": "1"}, "'1' is not valid"),
        ("annotation", {"id": "a", "image_id": "i", "status": "maybe"}, "'maybe' is not one of"),
        ("image", {"id": "a"}, "'source' is a required property"),
        ("member", {"image_id": "a", "role": "extra"}, "'extra' is not one of"),
    ],
)
def test_what_is_wrong_is_refused(name: str, value: object, message: str) -> None:
    assert any(message in found for found in errors(name, value))
