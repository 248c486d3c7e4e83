"""``curate export`` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.dataset import from_records
from curate.model import Annotation, Image, Info

Curate = Callable[..., Any]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    row = Annotation(id="m/a#0", image_id="m/a", category="cup", instance="S/1", x=1, y=2, w=3, h=4)
    records = [Image(id="m/a", source="m", file_name="a.png", width=9, height=9), row]
    store.write(from_records(Info(name="m"), records), tmp_path / "ds")
    return tmp_path / "ds"


def test_help_lists_the_formats(curate: Curate) -> None:
    shown = curate("export", "--help").stdout
    for line in ("anns_pt  ", "coco  "):
        assert line in shown


def test_the_result_as_text_as_json_and_not_at_all(dataset: Path, curate: Curate, tmp_path: Path) -> None:
    assert curate("export", "anns_pt", dataset, "-o", "a.pt").stdout == "a.pt: 0 queries, 1 gallery, 1 boxes, 0 masks\n"
    told = json.loads(curate("export", "anns_pt", dataset, "-o", "b.pt", "--json").stdout)
    assert told == {"output": "b.pt", "counts": {"queries": 0, "gallery": 1, "boxes": 1, "masks": 0}}
    done = curate("export", "anns_pt", dataset, "-o", "c.pt", "-q")
    assert done.stdout == done.stderr == ""
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes() == (tmp_path / "c.pt").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anns", "ds", "-o", "x"], "format 'anns': unknown; expected one of anns_pt, captions_pt, coco"),
        (["coco", "ds", "-o", "x", "--key-prefix", "y"], "--key-prefix: is no option of coco; leave it out"),
        (["anns_pt", "ds", "-o", "x", "--keep-ids"], "--keep-ids: is no option of anns_pt; leave it out"),
        (["anns_pt", "ds", "-o", "x", "--status", "truth"], "--status: is no option of anns_pt"),
        (["anns_pt", "ds", "-o", "x", "--compat", "old"], "--compat old: unknown; expected upstream"),
        (["anns_pt", "ds", "-o", "x", "--compat", "upstream"], "--compat upstream: the dataset holds images of m; exp"),
        (["coco", "ds", "-o", "x", "--compat", "upstream"], "--compat: export coco has no such variant"),
        (["coco", "ds", "-o", "x", "--root", "m=."], "--root: is no option of coco; leave it out"),
        (["parquet", "ds", "-o", "x", "--root", "n=."], "--root n: no image is of this source; expected one of m"),
        (["anns_pt", "ds", "-o", "ds"], "ds: is a folder; expected the name of a file to write"),
        (["anns_pt", "ds"], "Missing option '-o'"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, dataset: Path, curate: Curate, tmp_path: Path) -> None:
    assert said in curate("export", *arguments, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ds"]


def test_no_dataset(curate: Curate, tmp_path: Path) -> None:
    assert (
        "nothing: no such folder; expected a dataset folder"
        in curate("export", "anns_pt", "nothing", "-o", "x.pt", code=1).stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept(dataset: Path, curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("mine")
    assert "x.pt: already exists; give --overwrite" in curate("export", "anns_pt", dataset, "-o", "x.pt", code=2).stderr
    assert (tmp_path / "x.pt").read_text() == "mine"
    refused = curate("export", "anns_pt", dataset, "-o", "x.pt", "--overwrite", code=2).stderr
    assert "x.pt: exists and is no output of this command" in refused
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 an earlier one")
    curate("export", "anns_pt", dataset, "-o", "x.pt", "--overwrite")
    assert (tmp_path / "x.pt").read_bytes().startswith(b"PK")
