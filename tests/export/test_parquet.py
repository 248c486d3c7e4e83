"""Parquet folders, read by Hugging Face datasets itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PilImage

from curate import relevance, store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import parquet
from curate.geometry import mask_from_rle, rle_from_mask
from curate.importing import import_source
from curate.model import Annotation, Category, Image, Info, Member, Query, Rle, SourceRecord

Tree = Callable[[str], Path]
MASK = np.zeros((30, 40), np.uint8)
MASK[3:9, 5:17] = 1


def small(*records: Any) -> Dataset:
    images = [
        Image(id="s/a", source="s", file_name="a.png", width=40, height=30, split="train", weather="rain"),
        Image(id="s/b", source="s", file_name="b.png", width=40, height=30, source_split="val 2"),
        Image(id="s/c", source="s"),
    ]
    rows = [
        Annotation(id="s/b#0", image_id="s/b", category="cup", x=1.5, y=2, w=3, h=4, score=0.5, attributes={"k": [1]}),
        Annotation(id="s/a#fog", image_id="s/a", category="fog"),
        Annotation(
            id="s/a#0", image_id="s/a", category="cup", x=5, y=3, w=12, h=6, area=72.0, segmentation=rle_from_mask(MASK)
        ),
        Annotation(id="s/a#1", image_id="s/a", status="proposal", category="cup", x=0, y=0, w=1, h=1),
    ]
    info = Info(name="cups", sources={"s": SourceRecord(title="My | cups", licence="CC0")})
    return from_records(info, [*images, *rows, Category(name="cup"), *records])


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    datasets.disable_progress_bars()

    def read(folder: Path, name: str) -> Any:
        return datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))

    return read


def test_images_with_their_objects(tmp_path: Path, load: Callable[..., Any]) -> None:
    counts = parquet.write(small(Member(image_id="s/b", role="gallery")), tmp_path / "out")
    found = load(tmp_path / "out", "images")
    assert {split: len(rows) for split, rows in found.items()} == {"train": 1, "unassigned": 1, "val_2": 1}
    a, b, c = found["train"][0], found["val_2"][0], found["unassigned"][0]
    assert (a["image_id"], a["file_name"], a["width"], a["weather"], a["roles"]) == ("s/a", "a.png", 40, "rain", [])
    assert (b["roles"], b["source_split"], c["width"]) == (["gallery"], "val 2", None)
    objects = a["objects"]
    assert objects["id"] == ["s/a#0", "s/a#fog"]
    assert objects["bbox"] == [[5, 3, 12, 6], None]
    assert (objects["category"], objects["area"], objects["iscrowd"]) == (["cup", "fog"], [72, None], [False, False])
    first, second = objects["segmentation"]
    assert np.array_equal(mask_from_rle(Rle(tuple(first["size"]), first["counts"])), MASK)
    assert second == {"size": [], "counts": ""}
    assert (b["objects"]["score"], b["objects"]["attributes"]) == ([0.5], ['{"k":[1]}'])
    assert c["objects"]["id"] == []
    assert (counts["images"], counts["annotations"], counts["splits"]) == (3, 3, 3)
    parquet.write(small(), tmp_path / "more", status=["truth", "proposal"])
    assert load(tmp_path / "more", "images")["train"][0]["objects"]["status"] == ["truth", "proposal", "truth"]


@pytest.mark.parametrize("name", ["searchad", "voxdet", "instre"])
def test_benchmarks(tree: Tree, tmp_path: Path, load: Callable[..., Any], name: str) -> None:
    dataset = import_source(name, tree(name))
    parquet.write(dataset, tmp_path / "out")
    rows = [row for part in load(tmp_path / "out", "images").values() for row in part]
    assert sorted(row["image_id"] for row in rows) == dataset.table("images")["id"].to_pylist()
    ids = sorted(id for row in rows for id in row["objects"]["id"])
    assert ids == dataset.table("annotations")["id"].to_pylist()
    for row in rows:
        assert all(id.startswith(row["image_id"] + "#") for id in row["objects"]["id"])
    assert load(tmp_path / "out", "categories")["test"]["name"] == dataset.table("categories")["name"].to_pylist()
    if dataset.table("queries").num_rows:
        queries = load(tmp_path / "out", "queries")["test"]
        assert list(queries) == dataset.table("queries").to_pylist()
        assert list(load(tmp_path / "out", "qrels")["test"]) == relevance.relevance(dataset).to_pylist()


def test_pictures_inside(tree: Tree, tmp_path: Path, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = import_source("voxdet", tree("voxdet"))
    monkeypatch.setattr(parquet, "_EMBEDDED_BYTES", 600)
    monkeypatch.setattr(parquet, "_EMBEDDED_ROWS", 2)
    counts = parquet.write(dataset, tmp_path / "out", images="embed")
    files = sorted(path.name for path in (tmp_path / "out/images").glob("train-*"))
    assert len(files) > 2
    assert files == [f"train-{n:05d}.parquet" for n in range(len(files))]
    rows = [row for part in load(tmp_path / "out", "images").values() for row in part]
    assert sorted(row["image_id"] for row in rows) == dataset.table("images")["id"].to_pylist()
    there = [row for row in rows if row["image"] is not None]
    assert (counts["pictures"], counts["absent_pictures"]) == (len(there), len(rows) - len(there))
    assert len(there) > 20
    root = Path(dataset.info.roots["voxdet"])
    for row in there:
        with PilImage.open(root / row["file_name"]) as real:
            assert np.array_equal(np.asarray(row["image"]), np.asarray(real))
    held = pq.read_table(tmp_path / "out/images/train-00000.parquet")["image"].to_pylist()
    assert PilImage.open(io.BytesIO(held[0]["bytes"])).format == "PNG"  # the file itself, not made anew


def test_the_card(tmp_path: Path) -> None:
    parquet.write(small(Query(id="q", kind="text", text="cup", category="cup")), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith('---\npretty_name: "cups"\nconfigs:\n- config_name: images\n')
    assert "  - split: val_2\n    path: images/val_2-*.parquet\n" in text
    assert "| My \\| cups | CC0 |" in text


def test_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        parquet.write(small(), tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_bad_datasets(tmp_path: Path) -> None:
    def refused(message: str, dataset: Dataset, **options: Any) -> None:
        with pytest.raises((SchemaError, UsageError), match=message):
            parquet.write(dataset, tmp_path / "out", **options)
        assert not any(tmp_path.iterdir())

    refused("bare: has no images", from_records(Info(name="bare"), []))
    twin = Image(id="s/d", source="s", split="val-2")
    refused("split 'val-2': would be named val_2 as 'val 2' is|split 'val 2': would be named val_2", small(twin))
    refused("--images link: is unknown; expected one of none, embed", small(), images="link")
    refused("--status maybe: is no status", small(), status=["maybe"])
    refused("--compat upstream: is no variant", small(), compat="upstream")
    outside = Image(id="s/d", source="s", file_name="/etc/hostname")
    refused("image s/d: file name '/etc/hostname' leaves its root", small(outside), images="embed", roots={"s": "/"})


def test_by_command(tree: Tree, tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(import_source("voxdet", tree("voxdet")), tmp_path / "ds")
    done = curate("export", "parquet", "ds", "-o", "out", "--images", "embed", "--root", "voxdet=raw_voxdet")
    assert done.stdout.startswith("out: 27 images, 36 annotations, 3 splits, 18 queries, 40 judged pairs, 25 pictures")
    curate("export", "parquet", "ds", "-o", "out", "--overwrite")
    assert "expected one of none, embed" in curate("export", "parquet", "ds", "-o", "x", "--images", "a", code=2).stderr
