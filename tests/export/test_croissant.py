"""Croissant folders, validated and read by mlcroissant itself."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.export import croissant
from curate.importing import import_source
from curate.model import Annotation, Category, Image, Info, Rle, SourceRecord

Tree = Callable[[str], Path]


def opened(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[Any, str]:
    """The dataset, and what mlcroissant had to say of it."""
    import mlcroissant

    caplog.clear()
    return mlcroissant.Dataset(jsonld=folder / "croissant.json"), caplog.text


def value(found: Any) -> Any:
    if isinstance(found, float) and math.isnan(found):
        return None
    return found.decode() if isinstance(found, bytes) else found


@pytest.mark.parametrize("name", ["searchad", "ilias", "voxdet", "acdc", "revisitop"])
def test_mlcroissant_reads_every_row(tree: Tree, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    dataset = import_source(name, tree(name))
    croissant.write(dataset, tmp_path / "out", date="2026-01-31")
    read, said = opened(tmp_path / "out", caplog)
    assert "rror" not in said and "arning" not in said
    tables = [name for name, table in dataset.tables.items() if table.num_rows]
    assert [one.uuid for one in read.metadata.record_sets] == tables
    for table in tables:
        rows = [
            {key.partition("/")[2]: value(found) for key, found in row.items()}
            for row in read.records(record_set=table)
        ]
        expected = croissant.flat(dataset.table(table)).to_pylist()
        assert sorted(map(str, rows)) == sorted(map(str, expected))


def small() -> Dataset:
    sources = {
        "a": SourceRecord(title="A's", licence="CC0", homepage="https://example.org/a", citation="A: One"),
        "b": SourceRecord(title="B", citation="B: Two"),
    }
    rle = Rle((2, 3), "06")
    box = Annotation(
        id="a/1#0", image_id="a/1", category="cup", x=0, y=0, w=3, h=2, segmentation=rle, polygons=[[[0.5, 1]]]
    )
    return from_records(Info(name="größer", sources=sources), [Image(id="a/1", source="a"), Category(name="cup"), box])


def test_what_it_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = small()
    assert croissant.write(dataset, tmp_path / "out") == {"images": 1, "annotations": 1, "categories": 1}
    held = json.loads((tmp_path / "out/croissant.json").read_text())
    assert (held["name"], held["license"], held["url"]) == (
        "größer",
        ["CC0", "not stated by B"],
        "https://example.org/a",
    )
    assert held["citeAs"] == "A: One\nB: Two"
    assert held["description"] == "1 images, 1 annotations, 1 categories, from A's, B. Images are not included."
    assert held["identifier"] == f"sha256:{dataset.fingerprint()}"
    for file in held["distribution"]:
        data = (tmp_path / "out" / file["contentUrl"]).read_bytes()
        assert (file["sha256"], file["contentSize"]) == (hashlib.sha256(data).hexdigest(), f"{len(data)} B")
    fields = {field["@id"]: field for part in held["recordSet"] for field in part["field"]}
    assert fields["annotations/image_id"]["references"] == {"field": {"@id": "images/id"}}
    assert "references" not in fields["annotations/instance"]
    assert fields["annotations/iscrowd"]["dataType"] == "sc:Boolean"
    read, said = opened(tmp_path / "out", caplog)
    assert said.count("recommended") == 1 and "datePublished" in said  # nothing but the date is missing
    (row,) = read.records(record_set="annotations")
    assert json.loads(row["annotations/segmentation"]) == {"size": [2, 3], "counts": "06"}
    assert json.loads(row["annotations/polygons"]) == [[[0.5, 1.0]]]


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--date yesterday: is no date; expected YYYY-MM-DD"):
        croissant.write(small(), tmp_path / "out", date="yesterday")
    with pytest.raises(UsageError, match="--compat upstream: is no variant"):
        croissant.write(small(), tmp_path / "out", compat="upstream")
    assert not any(tmp_path.iterdir())


def test_by_command(tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(small(), tmp_path / "ds")
    done = curate("export", "croissant", "ds", "-o", "out", "--date", "2026-01-31")
    assert done.stdout == "out: 1 images, 1 annotations, 1 categories\n"
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    curate("export", "croissant", "ds", "-o", "out", "--date", "2026-01-31", "--overwrite")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
