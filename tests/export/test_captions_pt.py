"""captions.pt: lists of one length, run lengths that upstream's decoder reads right, and what its reader looks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import captions_pt
from curate.geometry import rle_from_mask
from curate.model import Annotation, Image, Info, SourceRecord

FIRST = np.zeros((5, 8), bool)
FIRST[0:3, 0:2] = True  # the first pixel is foreground
SECOND = np.zeros((5, 8), bool)
SECOND[2:4, 5:8] = True
SECOND[2, 6] = False


def annotation(name: str, mask: np.ndarray | None, **more: Any) -> Annotation:
    rle = None if mask is None else rle_from_mask(mask)
    more.setdefault("status", "proposal")
    return Annotation(id=f"s/a#{name}", image_id="s/a", x=0, y=0, w=8, h=5, segmentation=rle, **more)


@pytest.fixture
def dataset() -> Dataset:
    records = [
        Image(id="s/b", source="s", file_name="z/b.png", width=4, height=3),
        Image(id="s/a", source="s", file_name="a.png", width=8, height=5),
        annotation("0", FIRST, attributes={"prelabel": {"predicted_iou": 0.75}}),
        annotation("1", SECOND, score=0.5),
        annotation("2", None),
        annotation("3", SECOND, status="truth"),
    ]
    return from_records(Info(name="d", sources={"s": SourceRecord(title="S")}), records)


def decoded(rle: dict[str, Any]) -> np.ndarray:
    """As VoxDet-SoIR's decoder does: alternate from background, fill by rows, turn unless told not to."""
    pixels = np.repeat(np.arange(len(rle["counts"])) % 2, rle["counts"]).reshape(rle["size"])
    return pixels.T if rle.get("transpose", True) else pixels


def test_lists_of_one_length(dataset: Dataset, tmp_path: Path) -> None:
    import torch

    counts = captions_pt.write(dataset, tmp_path / "captions.pt")
    assert counts == {
        "images": 2,
        "masks": 2,
        "images_without_mask": 1,
        "left_out_annotations_without_mask": 1,
        "annotations_of_status_proposal": 3,
        "left_out_annotations_of_status_truth": 1,
    }
    found = torch.load(tmp_path / "captions.pt", weights_only=True)
    assert list(found) == ["a.png", "z/b.png"]
    entry = found["a.png"]
    assert entry["bboxes"] == [[0.0, 0.0, 2.0, 3.0], [5.0, 2.0, 8.0, 4.0]]
    assert entry["scores"] == [0.75, 0.5]
    assert entry["image_size"] == (8, 5)
    assert entry["masks_rle"][0]["counts"][0] == 0
    assert entry["masks_rle"][0]["size"] == [5, 8]
    for rle, mask in zip(entry["masks_rle"], (FIRST, SECOND), strict=True):
        assert np.array_equal(decoded(rle), mask)
    assert "masks" not in entry
    empty = found["z/b.png"]
    assert (empty["bboxes"], empty["scores"], empty["masks_rle"], empty["image_size"]) == ([], [], [], (4, 3))


def test_what_upstream_s_reader_looks_for(dataset: Dataset, tmp_path: Path) -> None:
    import torch

    captions_pt.write(dataset, tmp_path / "captions.pt", dense=True)
    found = torch.load(tmp_path / "captions.pt", weights_only=False)
    first, second = found["a.png"].get("masks", [])
    assert first.dtype == np.uint8
    assert set(np.unique(first)) == {0, 255}
    assert np.array_equal(first > 0, FIRST) and np.array_equal(second > 0, SECOND)
    assert found["z/b.png"]["masks"] == []


def test_options(dataset: Dataset, tmp_path: Path) -> None:
    import torch

    captions_pt.write(dataset, tmp_path / "t.pt", status=["truth"], key_prefix="tree")
    found = torch.load(tmp_path / "t.pt", weights_only=True)
    assert list(found) == ["tree/a.png", "tree/z/b.png"]
    assert found["tree/a.png"]["scores"] == [1.0]
    assert captions_pt.write(dataset, tmp_path / "both.pt", status=["truth", "proposal"])["masks"] == 3
    with pytest.raises(UsageError, match="--status rejected: is no status"):
        captions_pt.write(dataset, tmp_path / "x.pt", status=["rejected"])
    with pytest.raises(UsageError, match="is no variant of captions_pt"):
        captions_pt.write(dataset, tmp_path / "x.pt", compat="upstream")
    assert not (tmp_path / "x.pt").exists()


def test_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("one.pt", "two.pt"):
        captions_pt.write(dataset, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_two_images_of_one_path(tmp_path: Path) -> None:
    records = [Image(id=f"s/{i}", source="s", file_name="same.png", width=4, height=3) for i in range(2)]
    with pytest.raises(SchemaError, match="stands twice"):
        captions_pt.write(from_records(Info(name="d"), records), tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


def test_by_command(dataset: Dataset, tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(dataset, tmp_path / "ds")
    done = curate("export", "captions_pt", "ds", "-o", "c.pt")
    assert done.stdout.startswith("c.pt: 2 images, 2 masks")
    assert "3 annotations of status proposal, 1 left out annotations of status truth" in done.stdout
    curate("export", "captions_pt", "ds", "-o", "d.pt", "--dense", "--status", "truth")
    assert (tmp_path / "d.pt").stat().st_size > (tmp_path / "c.pt").stat().st_size
    assert "is no option of coco" in curate("export", "coco", "ds", "-o", "c.json", "--dense", code=2).stderr
