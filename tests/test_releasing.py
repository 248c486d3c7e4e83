"""Releases: whole, checked, provably untouched, the same bytes every time, and honest about what changed."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image as PilImage

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import (
    Annotation,
    Category,
    Command,
    Image,
    Info,
    Member,
    Query,
    Record,
    RelevanceRule,
    SourceRecord,
)
from curate.releasing import compare, release
from curate.verify import verify


def records() -> list[Record]:
    found: list[Record] = [
        Image(
            id=f"toy/{name}", source="toy", file_name=f"{name}.png", width=100, height=80, split=split, sha256=name * 64
        )
        for name, split in (("a", "train"), ("b", "test"), ("c", "test"))
    ]
    for i, (image, name) in enumerate((("a", "cup"), ("b", "cup"), ("b", "plate | <b>flat</b>"))):
        found.append(
            Annotation(id=f"toy/{image}#{i}", image_id=f"toy/{image}", category=name, x=9 * i, y=5, w=20, h=20)
        )
    found += [Category(name="cup"), Category(name="plate | <b>flat</b>")]
    found += [Query(id="q", kind="image", image_id="toy/a", category="cup")]
    found += [Member(image_id="toy/a", role="query"), Member(image_id="toy/b", role="gallery")]
    return found


def dataset_of(rows: list[Record], licence: str | None = "CC BY 4.0", **more: Any) -> Dataset:
    sources = {"toy": SourceRecord(title="Toy set", licence=licence, citation="Doe, Toys, 2020")}
    command = Command(verb="build subset", options={"size": "<0.5"})
    more = {"sources": sources, "command": command, "relevance": RelevanceRule(target="category"), **more}
    return from_records(Info(name="toy", **more), rows)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_release_is_whole_and_proves_itself(tmp_path: Path) -> None:
    made = release(dataset_of(records()), tmp_path / "r", formats=["coco", "lists"], version="1.0")
    held = names(tmp_path / "r")
    for name in (
        "README.md",
        "LICENCES.md",
        "images.csv",
        "statistics.json",
        "verify.json",
        "verify.html",
        "SHA256SUMS",
    ):
        assert name in held
    assert "dataset/dataset.json" in held
    assert "export/annotations.json" in held
    assert any(name.startswith("export/lists") for name in held)
    assert made.files == len(held)
    assert "changes.json" not in held
    # On another place of the machine, by us and by the tool that everybody has.
    shutil.move(tmp_path / "r", tmp_path / "elsewhere")
    report = verify(tmp_path / "elsewhere")
    assert (report.kind, report.findings) == ("release", ())
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "elsewhere", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "elsewhere" / "README.md").write_text("better")
    assert [one.code for one in verify(tmp_path / "elsewhere").findings] == ["V01"]


def test_the_dataset_inside_is_the_dataset_without_the_folders_of_its_maker(tmp_path: Path) -> None:
    for name in "abc":
        PilImage.new("RGB", (100, 80)).save(tmp_path / f"{name}.png")
    rows = [msgspec.structs.replace(r, sha256=None) if isinstance(r, Image) else r for r in records()]
    dataset = dataset_of(rows, roots={"toy": str(tmp_path)})
    release(dataset, tmp_path / "r")
    inside = store.read(tmp_path / "r" / "dataset")
    assert inside.fingerprint() == dataset.fingerprint()
    assert inside.info.roots == {}
    for name in names(tmp_path / "r"):
        assert str(tmp_path).encode() not in (tmp_path / "r" / name).read_bytes(), name


def test_the_card_has_the_figures_of_the_dataset(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "r", version="1.0")
    card = (tmp_path / "r" / "README.md").read_text()
    assert card.startswith("# toy, version 1.0\n")
    assert "| toy | CC BY 4.0 | 3 | 3 |" in card
    assert "| toy |  | test | 2 | 2 | 1 |" in card
    assert "| cup | benchmark | 2 | 2 |" in card
    assert "| plate \\| &lt;b>flat&lt;/b> | benchmark | 1 | 1 |" in card
    assert "| 1 | 1 | 0 |" in card  # queries, gallery, without positive
    assert dataset_of(records()).fingerprint() in card
    licences = (tmp_path / "r" / "LICENCES.md").read_text()
    assert re.search(r"## Toy set\n\n\* Images: 3\n\* Licence: CC BY 4.0\n\* Citation: Doe", licences)
    with (tmp_path / "r" / "images.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["file_name"], row["sha256"]) for row in rows][1] == ("toy/b", "b.png", "b" * 64)


def test_equal_datasets_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        release(dataset_of(records()), tmp_path / name / "r")
    assert names(tmp_path / "one") == names(tmp_path / "two")
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_nothing_broken_leaves_the_house(tmp_path: Path) -> None:
    bad = Annotation(id="toy/b#9", image_id="toy/b", category="cup", x=900, y=5, w=20, h=20)
    with pytest.raises(SchemaError, match="1 errors") as caught:
        release(dataset_of([*records(), bad]), tmp_path / "r")
    assert "B05" in str(caught.value)
    with pytest.raises(SchemaError, match="states no licence"):
        release(dataset_of(records(), licence=None), tmp_path / "r")
    with pytest.raises(SchemaError, match="not among the sources"):
        release(dataset_of(records(), sources={}), tmp_path / "r")
    with pytest.raises(UsageError, match="docx"):
        release(dataset_of(records()), tmp_path / "r", formats=["docx"])
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.export import lists

    def fail(*args: Any, **options: Any) -> None:
        raise SchemaError("lists", "cannot be written")

    monkeypatch.setattr(lists, "write", fail)
    with pytest.raises(SchemaError, match="cannot be written"):
        release(dataset_of(records()), tmp_path / "r", formats=["coco", "lists"])
    assert list(tmp_path.iterdir()) == []


def test_what_changed_since_the_release_before(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "one")
    rows: list[Record] = []
    for record in records():
        if isinstance(record, Image) and record.id == "toy/c":
            record = msgspec.structs.replace(record, split="train")
        if isinstance(record, Annotation) and record.id == "toy/b#1":
            record = msgspec.structs.replace(record, x=1.0, category=None)
        if not (isinstance(record, Annotation) and record.id == "toy/a#0"):
            rows.append(record)
    rows.append(Annotation(id="toy/b#new", image_id="toy/b", category="cup", x=1, y=40, w=9, h=9))
    rows.append(Annotation(id="toy/b#new2", image_id="toy/b", category="cup", x=30, y=40, w=9, h=9))
    release(dataset_of(rows), tmp_path / "two", previous=tmp_path / "one")
    changes = json.loads((tmp_path / "two" / "changes.json").read_text())
    assert set(changes["tables"]) == {"images", "annotations"}
    assert changes["tables"]["images"] == {
        "added": 0,
        "removed": 0,
        "changed": {"split": 1},
        "added_ids": [],
        "removed_ids": [],
        "changed_ids": ["toy/c"],
    }
    assert changes["tables"]["annotations"] == {
        "added": 2,
        "removed": 1,
        "changed": {"category": 1, "x": 1},
        "added_ids": ["toy/b#new", "toy/b#new2"],
        "removed_ids": ["toy/a#0"],
        "changed_ids": ["toy/b#1"],
    }
    assert "| annotations | 2 | 1 | category 1, x 1 |" in (tmp_path / "two" / "README.md").read_text()
    assert compare(dataset_of(rows), dataset_of(rows)).tables == {}


def test_masks_are_compared_too() -> None:
    def of(*ring: float) -> Dataset:
        polygon = [[list(ring)]]
        return dataset_of([Image(id="toy/a", source="toy"), Annotation(id="x", image_id="toy/a", polygons=polygon)])

    change = compare(of(0, 0, 9, 0, 9, 9), of(0, 0, 9, 0, 9, 8)).tables["annotations"]
    assert change.changed == {"polygons": 1}


def test_the_command(curate: Callable[..., Any], tmp_path: Path) -> None:
    store.write(dataset_of(records()), tmp_path / "toy")
    done = curate("release", "toy", "-o", "r", "--version", "1.0", "--format", "coco", code=0)
    assert done.stdout.startswith("r: ")
    assert "3 images" in done.stdout
    curate("verify", "r", code=0)
    curate("release", "toy", "-o", "r", code=2)
    curate("release", "toy", "-o", "r", "--overwrite", "--previous", "toy", code=0)
    curate("verify", "r", code=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("")
    curate("release", "toy", "-o", "mine", "--overwrite", code=2)
    assert (tmp_path / "mine" / "x").exists()
    done = curate("release", "toy", "-o", "r2", "--previous", "mine", code=1)
    assert "mine" in done.stderr
    assert not (tmp_path / "r2").exists()
