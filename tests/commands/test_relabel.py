"""``curate relabel``: what it prints, what it refuses, and that nothing half-written is left."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from curate import store
from curate.dataset import from_records
from curate.model import Annotation, Category, Image, Info, SourceRecord

Curate = Callable[..., "subprocess.CompletedProcess[str]"]
LABELS = ["Car", "Car", "Pedestrian", "Tram", "Misc", "DontCare"]


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    records = [Image(id="kitti/training/000000", source="kitti", source_split="training")]
    rows = [
        Annotation(
            id=f"kitti/training/000000#{i:04d}",
            image_id="kitti/training/000000",
            category=label,
            source_label=label,
            x=1,
            y=2,
            w=3,
            h=4,
        )
        for i, label in enumerate(LABELS)
    ]
    names = [Category(name=name, role="ignore" if name == "DontCare" else "benchmark") for name in sorted(set(LABELS))]
    info = Info(name="kitti", sources={"kitti": SourceRecord(title="KITTI")})
    store.write(from_records(info, [*records, *rows, *names]), tmp_path / "kitti")
    return tmp_path / "kitti"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_report_as_text(kitti: Path, curate: Curate) -> None:
    done = curate("relabel", "kitti", "--taxonomy", "coarse", "-o", "out")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["class", "certain", "possible", "from"]
    rows = {line[:13].strip(): line[13:].split() for line in lines[1:6]}
    assert rows == {
        "person": ["1", "0", "kitti", "1"],
        "car": ["2", "0", "kitti", "2"],
        "train": ["1", "0", "kitti", "1"],
        "trailer": ["0", "1", "kitti", "1?"],
        "other vehicle": ["0", "1", "kitti", "1?"],
    }
    assert lines[6:] == [
        "9 of 14 classes: nothing",
        "only possible: 1 annotations of 1 labels",
        "  kitti, Misc: 1",
        "unmapped: 1 annotations of 1 labels",
        "  kitti, DontCare: 1",
        "out: 1 images, 8 annotations, 16 categories",
    ]
    assert done.stderr == ""


def test_the_report_as_json_and_in_a_file(kitti: Path, curate: Curate, tmp_path: Path) -> None:
    done = curate("relabel", "kitti", "--taxonomy", "coarse", "-o", "out", "--json", "--report", "r.json")
    result = json.loads(done.stdout)
    assert result["counts"]["annotations"] == 8
    assert result["fingerprint"] == store.read_manifest(tmp_path / "out").fingerprint
    report = json.loads((tmp_path / "r.json").read_text())
    assert report == result["report"]
    assert (report["mapped"], report["proposals"]) == (4, 2)
    car = next(entry for entry in report["classes"] if entry["name"] == "car")
    assert car["sources"] == [{"source": "kitti", "certain": 2, "possible": 0}]
    assert [(entry["label"], entry["annotations"]) for entry in report["unmapped"]] == [("DontCare", 1), ("Misc", 1)]
    again = curate("relabel", "kitti", "--taxonomy", "coarse", "-o", "again", "-q", "--report", "r.json")
    assert again.stdout == ""


def test_dropping_and_a_dry_run(kitti: Path, curate: Curate, tmp_path: Path) -> None:
    done = curate("relabel", "kitti", "--taxonomy", "searchad", "--drop-unmapped", "--dry-run")
    assert "  kitti, DontCare: 1, 1 dropped" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("nothing written; it would be: 1 images, 5 annotations")
    assert left(tmp_path) == ["kitti"]


def test_a_table_of_ones_own(kitti: Path, curate: Curate, tmp_path: Path) -> None:
    header = "class\tsupercategory\tsource\tsource_label\trelation\tcondition\tnote\n"
    (tmp_path / "mine.tsv").write_text(header + "auto\tvehicle\tkitti\tCar\texact\t\t\n")
    curate("relabel", "kitti", "--taxonomy", "mine.tsv", "-o", "out")
    written = store.read(tmp_path / "out")
    assert written.table("annotations")["category"].to_pylist()[:3] == ["auto", "auto", "Pedestrian"]
    assert written.table("annotations")["source_label"].to_pylist() == LABELS
    assert written.info.command is not None
    assert written.info.command.options == {"taxonomy": "mine"}
    assert [parent.name for parent in written.info.parents] == ["kitti"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--taxonomy", "cars", "-o", "out"],
            2,
            "taxonomy 'cars': is neither known nor a table; expected one of coarse",
        ),
        (["--taxonomy", "bad.tsv", "-o", "out"], 1, "bad.tsv: columns are class, note; expected class, supercategory"),
        (["--taxonomy", "coarse"], 2, "--output: is missing; expected -o and a folder to write, or --dry-run"),
        (["--taxonomy", "coarse", "-o", "kitti"], 2, "kitti"),
        (["--taxonomy", "coarse", "-o", "out", "--report", "bad.tsv"], 2, "exists and is no report of curate relabel"),
        (["-o", "out"], 2, "Missing option '--taxonomy'"),
    ],
)
def test_what_is_refused_leaves_nothing(
    arguments: list[str], code: int, said: str, kitti: Path, curate: Curate, tmp_path: Path
) -> None:
    (tmp_path / "bad.tsv").write_text("class\tnote\n")
    done = curate("relabel", "kitti", *arguments, code=code)
    assert said in done.stderr
    assert done.stdout == ""
    assert left(tmp_path) == ["bad.tsv", "kitti"]


def test_an_output_that_exists_is_kept(kitti: Path, curate: Curate, tmp_path: Path) -> None:
    curate("relabel", "kitti", "--taxonomy", "coarse", "-o", "out", "-q")
    before = store.read_manifest(tmp_path / "out").fingerprint
    curate("relabel", "kitti", "--taxonomy", "searchad", "-o", "out", code=2)
    assert store.read_manifest(tmp_path / "out").fingerprint == before
    curate("relabel", "kitti", "--taxonomy", "searchad", "-o", "out", "--overwrite", "-q")
    assert store.read_manifest(tmp_path / "out").fingerprint != before
