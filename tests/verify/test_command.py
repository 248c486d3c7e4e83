"""``curate verify`` as it is typed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from PIL import Image as PilImage

from curate import store
from curate.dataset import from_records
from curate.model import Info, Record

Curate = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def toy(tmp_path: Path, records: list[Record]) -> Path:
    for name in ("q1", "g1", "g2", "g3"):
        (tmp_path / "images").mkdir(exist_ok=True)
        PilImage.new("RGB", (100, 80)).save(tmp_path / "images" / f"{name}.png")
    store.write(from_records(Info(name="toy"), records), tmp_path / "toy")
    return tmp_path / "toy"


def test_a_dataset_folder(curate: Curate, toy: Path) -> None:
    done = curate("verify", "toy", code=0)
    assert done.stdout.startswith("toy: no errors (dataset, 4 images")
    assert "not run: I01" in done.stdout
    done = curate("verify", "toy", "--root", "toy=images", "--level", "quick", "-j", "2", code=0)
    assert "I01" not in done.stdout
    (toy.parent / "images" / "g2.png").unlink()
    done = curate("verify", "toy", "--root", "toy=images", "--level", "quick", code=1)
    assert "I01 image file missing: 1 error" in done.stdout
    assert "images/g2.png is missing" in done.stdout


def test_json_and_report_are_the_same(curate: Curate, toy: Path, tmp_path: Path) -> None:
    done = curate("verify", "toy", "--json", "--report", "out/report.json", code=0)
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fingerprint"] == store.read_manifest(toy).fingerprint
    assert (report["path"], report["kind"], report["verdict"]) == ("toy", "dataset", "no errors")


def test_only_an_earlier_report_is_replaced(curate: Curate, toy: Path, tmp_path: Path) -> None:
    curate("verify", "toy", "--report", "report.json")
    before = (tmp_path / "report.json").read_bytes()
    curate("verify", "toy", "--report", "report.json")
    assert (tmp_path / "report.json").read_bytes() == before
    (tmp_path / "mine.json").write_text("{}")
    done = curate("verify", "toy", "--report", "mine.json", code=2)
    assert "no report of curate verify" in done.stderr
    assert (tmp_path / "mine.json").read_text() == "{}"
    assert not list(tmp_path.glob(".*partial*"))


def test_quiet(curate: Curate, toy: Path, tmp_path: Path) -> None:
    assert curate("verify", "toy", "-q").stdout == ""
    (tmp_path / "bad.json").write_text("{")
    done = curate("verify", "bad.json", "-q", code=1)
    assert "F04" in done.stdout


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data.update(schema_version="9.0"), "S03"),
        (lambda data: data["tables"].pop("images"), "F04"),
        (lambda data: data["tables"]["images"].update(rows=7), "F04"),
        (lambda data: data.update(name=5), "F04"),
    ],
)
def test_a_damaged_manifest(curate: Curate, toy: Path, change: Any, code: str) -> None:
    data = json.loads((toy / "dataset.json").read_text())
    change(data)
    (toy / "dataset.json").write_text(json.dumps(data))
    report = json.loads(curate("verify", "toy", "--json", code=1).stdout)
    assert [one["code"] for one in report["findings"]] == [code]
    assert report["kind"] == "dataset"


def test_a_damaged_table(curate: Curate, toy: Path) -> None:
    table = toy / "annotations.parquet"
    data = bytearray(table.read_bytes())
    data[10:200] = bytes(190)
    table.write_bytes(bytes(data))
    report = json.loads(curate("verify", "toy", "--json", code=1).stdout)
    assert {one["code"] for one in report["findings"]} <= {"F04", "V01"}


@pytest.mark.parametrize("name", ["absent", ".", "empty.json", "x\x1b[31m.json"])
def test_one_line_for_what_is_no_input(curate: Curate, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.json").touch()
    done = curate("verify", name, code=1)
    assert len(done.stdout.splitlines()) == 3  # the verdict, the code, the place
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_name_that_is_not_utf8(curate: Curate, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.json")
    (tmp_path / name).write_text('{"images": [}')
    report = json.loads(curate("verify", name, "--json", code=1).stdout)
    assert report["path"] == "caf\\udce9.json"
    assert [one["code"] for one in report["findings"]] == ["F04"]
    assert "Traceback" not in curate("verify", name, code=1).stderr


def test_wrong_usage(curate: Curate, toy: Path) -> None:
    assert "unknown" in curate("verify", "toy", "--only", "Z9", code=2).stderr
    assert "no such folder" in curate("verify", "toy", "--root", "toy=absent", code=2).stderr
    assert "no source of this input" in curate("verify", "toy", "--root", "kitti=.", code=2).stderr
    assert "--level" in curate("verify", "toy", "--level", "slow", code=2).stderr


def test_codes_may_be_given_in_any_way(curate: Curate, tmp_path: Path) -> None:
    data = {
        "images": [{"id": 1, "file_name": "../x", "width": 5, "height": 5}] * 2,
        "annotations": [],
        "categories": [],
    }
    (tmp_path / "x.json").write_text(json.dumps(data))
    for words in (["--only", "P,R01"], ["--only", "P", "--only", "R01"], ["--only", "p r01"]):
        report = json.loads(curate("verify", "x.json", *words, "--json", code=1).stdout)
        assert [total["code"] for total in report["totals"]] == ["P01", "R01"]


def test_severities_of_a_project(curate: Curate, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "g2.png").unlink()
    curate("verify", "toy", "--root", "toy=images", "--level", "quick", code=1)
    (tmp_path / "rules.toml").write_text('[severity]\nI01 = "warning"\n')
    done = curate("verify", "toy", "--root", "toy=images", "--level", "quick", "--severities", "rules.toml", code=0)
    assert "severities by configuration: I01 warning (else error)" in done.stdout
    (tmp_path / "rules.toml").write_text('[severity]\nI01 = "none"\n')
    done = curate("verify", "toy", "--severities", "rules.toml", code=2)
    assert "rules.toml, severity of I01" in done.stderr


def test_an_archive(curate: Curate, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../a.txt", "x")
    done = curate("verify", "a.zip", code=1)
    assert done.stdout.startswith("a.zip: 1 error (archive; level full")
    assert not (tmp_path.parent / "a.txt").exists()
