"""The page of pre-labels and the review queue: what is most doubtful comes first, and figures are those of the rows."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from curate.dataset import Dataset, from_records
from curate.geometry import rle_from_mask
from curate.model import Annotation, Image, Info, SourceRecord
from curate.pages import prelabel


def mask(width: int) -> Any:
    pixels = np.zeros((10, 20), bool)
    pixels[2:8, 2 : 2 + width] = True
    return rle_from_mask(pixels)


def row(name: str, width: int, parent: str | None = None, **facts: Any) -> Annotation:
    more: dict[str, Any] = {}
    if parent:
        defaults = {"model": "sam", "kind": "vit_b", "checkpoint": "ab" * 32, "components": 1, "flags": []}
        more = {"parent_id": f"s/a#{parent}", "status": "proposal", "attributes": {"prelabel": defaults | facts}}
    box = {"x": 2.0, "y": 2.0, "w": float(width), "h": 6.0}
    return Annotation(id=f"s/a#{name}", image_id="s/a", category="car, red", segmentation=mask(width), **box, **more)


@pytest.fixture
def dataset() -> Dataset:
    records = [
        Image(id="s/a", source="s", file_name="a.png", width=20, height=10),
        row("0", 10),
        row("1", 10),
        row("0.sam", 5, "0", predicted_iou=0.9, stability=0.95, box_iou=0.8),
        row("1.sam", 10, "1", predicted_iou=0.4, stability=0.95, box_iou=1.0),
        row("0.cut", 10, "0", model="grabcut", kind=None, checkpoint=None, box_iou=1.0, flags=["ellipse"]),
        row("1.cut", 10, "1", model="grabcut", kind=None, checkpoint=None, box_iou=0.7, components=3),
    ]
    return from_records(Info(name="d", sources={"s": SourceRecord(title="S")}), records)


def test_the_most_doubtful_come_first(dataset: Dataset) -> None:
    """A fallback is beyond doubt doubtful; 1 - 0.4; 1 - 0.7 and two parts more; 1 - 0.8."""
    found = prelabel.proposals(dataset)
    assert [(one.id, round(one.doubt, 4)) for one in found] == [
        ("s/a#0.cut", 1.0),
        ("s/a#1.sam", 0.6),
        ("s/a#1.cut", 0.4),
        ("s/a#0.sam", 0.2),
    ]
    assert [one.segmenter for one in found[:2]] == ["grabcut", "sam vit_b abababab"]
    assert [one.truth for one in found] == [1.0, 1.0, 1.0, 0.5]


def test_the_queue_is_csv_that_any_reader_takes(dataset: Dataset) -> None:
    rows = list(csv.DictReader(io.StringIO(prelabel.queue_csv(prelabel.proposals(dataset)).decode())))
    assert [one["annotation"] for one in rows] == ["s/a#0.cut", "s/a#1.sam", "s/a#1.cut", "s/a#0.sam"]
    assert rows[0]["category"] == "car, red"
    assert {one["image"] for one in rows} == {"s/a"}  # so that 'review init --only' takes it
    assert (rows[0]["flags"], rows[0]["predicted_iou"], rows[1]["predicted_iou"]) == ("ellipse", "", "0.4")


def test_the_page_states_means_per_segmenter(dataset: Dataset) -> None:
    page = prelabel.draw_page(dataset, seconds={"masks": 12.34})
    assert "4 pre-labels" in page
    assert "masks 12.3 s" in page
    assert "2 masks, 1 of them flagged, 1 of several parts" in page  # grabcut
    for expected in ("0.650", "0.950", "0.900", "0.850", "0.750", "1.000"):  # means of the plots
        assert f"<b>{expected}</b>" in page
    assert page.count('<div class="query">') == 2


def test_side_by_side_all_are_seen_through_one_window(tmp_path: Path) -> None:
    """The parent's box is 40 px wide, one segmenter's 10 and the other's 60: the same part of the picture is shown."""
    noise = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    PilImage.fromarray(noise).save(tmp_path / "a.png")
    records: list[Any] = [Image(id="s/a", source="s", file_name="a.png", width=200, height=100)]
    for name, x, width in (("0", 80.0, 40.0), ("0.sam", 80.0, 10.0), ("0.cut", 60.0, 60.0)):
        facts = {"model": name[2:], "box_iou": 0.5, "components": 1, "flags": []}
        more: Any = {"parent_id": "s/a#0", "attributes": {"prelabel": facts}} if name != "0" else {}
        records.append(Annotation(id=f"s/a#{name}", image_id="s/a", x=x, y=40.0, w=width, h=20.0, **more))
    info = Info(name="d", sources={"s": SourceRecord(title="S")}, roots={"s": str(tmp_path)})
    shown = re.findall(r'data:image/jpeg;base64,[^"]+', prelabel.draw_page(from_records(info, records)))
    asked, cut, sam, *worst = shown
    assert asked == cut == sam
    assert len({asked, *worst}) == 3  # elsewhere each has what lies around itself


def test_what_a_detector_found_has_no_parent() -> None:
    facts = {"model": "sam", "detector": {"model": "owlv2"}, "predicted_iou": 0.7, "box_iou": None, "flags": []}
    box = {"x": 2.0, "y": 2.0, "w": 5.0, "h": 6.0}
    found = Annotation(
        id="s/a#n", image_id="s/a", status="proposal", segmentation=mask(5), **box, attributes={"prelabel": facts}
    )
    records = [Image(id="s/a", source="s", file_name="a.png", width=20, height=10), found]
    dataset = from_records(Info(name="d", sources={"s": SourceRecord(title="S")}), records)
    (one,) = prelabel.proposals(dataset)
    assert (one.parent, one.segmenter, one.truth) == ("", "sam in what owlv2 found", None)
    assert one.doubt == pytest.approx(0.3)
    page = prelabel.draw_page(dataset)
    assert "1 pre-labels" in page
    assert "sam in what owlv2 found" in page
    assert '<div class="query">' not in page


def test_nothing_to_show() -> None:
    empty = from_records(Info(name="d"), [Image(id="s/a", source="s")])
    assert prelabel.proposals(empty) == []
    assert "0 pre-labels" in prelabel.draw_page(empty)
