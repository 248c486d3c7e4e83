"""The picture of a group's queries: every one is in it, and what is not asked for is dimmed."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from curate.dataset import from_records
from curate.errors import ReviewError
from curate.geometry import rle_from_mask
from curate.model import Annotation, Image, Info, Query
from curate.review.plan import Item
from curate.review.sheets import sheets


def test_all_queries_of_a_group_side_by_side(tmp_path: Path) -> None:
    PilImage.new("RGB", (100, 50), (200, 200, 200)).save(tmp_path / "a.png")
    mask = np.zeros((50, 100), bool)
    mask[:, :50] = True
    records = [
        Image(id="t/a", source="t", width=100, height=50),
        Annotation(id="t/a#1", image_id="t/a", x=0, y=0, w=50, h=50, segmentation=rle_from_mask(mask)),
        Query(id="q1", kind="mask", group="g", image_id="t/a", annotation_id="t/a#1"),
        Query(id="q2", kind="box", group="g", image_id="t/a", x=50, y=0, w=50, h=50),
        Query(id="q3", kind="text", group="h", text="no picture"),
    ]
    items = [Item(id=f"i@{g}", image_id="i", width=1, height=1, target=g, queries=q) for g, q in (("g", ("q1", "q2")),)]
    dataset = from_records(Info(name="t"), records)
    (address,) = sheets(dataset, items, {"t/a": tmp_path / "a.png"}).values()
    assert address.startswith("data:image/jpeg;base64,")
    pixels = np.asarray(PilImage.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L"), int)
    assert pixels.shape == (220, 446)
    shown = {x: pixels[25, x] > 150 for x in (10, 40, 60, 90, 226 + 10, 226 + 40, 226 + 60, 226 + 90)}
    assert list(shown.values()) == [True, True, False, False, False, False, True, True]
    assert sheets(dataset, items, {}) == {}
    with pytest.raises(ReviewError, match="picture of query q1"):
        sheets(dataset, items, {"t/a": tmp_path / "gone.png"})


def test_a_query_is_turned_as_the_browser_turns_the_image_beside_it(tmp_path: Path) -> None:
    picture = PilImage.new("RGB", (100, 50), (200, 200, 200))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    records = [
        Image(id="t/a", source="t", width=100, height=50, orientation=6),
        Query(id="q", kind="box", group="g", image_id="t/a", x=0, y=0, w=50, h=50),
    ]
    items = [Item(id="i@g", image_id="i", width=1, height=1, target="g", queries=("q",))]
    (address,) = sheets(from_records(Info(name="t"), records), items, {"t/a": tmp_path / "a.jpg"}).values()
    pixels = np.asarray(PilImage.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L"), int)
    # 50 x 100 px now: what was on the left is above, and the paper is white beside it.
    assert [pixels[25, 25] > 150, pixels[75, 25] > 150, pixels[25, 100] > 240] == [True, False, True]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "folder", "rubbish", "cut", "bomb"])
def test_a_query_that_is_no_picture(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error each, and no waiting for whoever might write to a pipe."""
    file = tmp_path / "a.png"
    PilImage.new("RGB", (100, 50)).save(file)
    if kind == "bomb":
        monkeypatch.setattr(PilImage, "MAX_IMAGE_PIXELS", 100)
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    elif kind == "rubbish":
        file.write_bytes(b"rubbish")
    else:
        file.unlink()
        os.mkfifo(file) if kind == "pipe" else file.mkdir()
    records = [
        Image(id="t/a", source="t", width=100, height=50),
        Query(id="q1", kind="box", group="g", image_id="t/a", x=0, y=0, w=50, h=50),
    ]
    items = [Item(id="i@g", image_id="i", width=1, height=1, target="g", queries=("q1",))]
    with pytest.raises(ReviewError, match=r"a\.png: picture of query q1: "):
        sheets(from_records(Info(name="t"), records), items, {"t/a": file})
