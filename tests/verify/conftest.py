"""Small sound inputs for the rules, to be damaged by each test, and reports on them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from curate.dataset import Dataset, from_records
from curate.geometry import rle_from_counts
from curate.model import Annotation, Category, Coverage, Image, Info, Instance, Member, Query, Record, SourceRecord
from curate.verify import Report, verify

Json = dict[str, Any]


def sound_coco() -> Json:
    """A COCO file with all that is legal though unusual: id 0, an empty image, boxes at the edges, a crowd, floats."""
    return {
        "info": {"description": "drawn by hand"},
        "licenses": [{"id": 1, "name": "CC BY 4.0", "url": ""}],
        "images": [
            {"id": 0, "file_name": "a/one.jpg", "width": 100, "height": 80, "license": 1},
            {"id": 1, "file_name": "a/two.jpg", "width": 100, "height": 80, "license": 1},
            {"id": 7, "file_name": "b/three.jpg", "width": 640, "height": 480},
        ],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 0, "bbox": [50, 0, 50, 80], "area": 4000, "iscrowd": 0},
            {
                "id": 1,
                "image_id": 0,
                "category_id": 3,
                "bbox": [10.5, 20.25, 30, 40],
                "area": 1200.0,
                "iscrowd": 0,
                "segmentation": [[10.5, 20.25, 40.5, 20.25, 40.5, 60.25, 10.5, 60.25]],
            },
            {
                "id": 2,
                "image_id": 1,
                "category_id": 3,
                "bbox": [20, 10, 2, 20],
                "area": 40,
                "iscrowd": 1,
                "segmentation": {"size": [80, 100], "counts": [1610, 20, 60, 20, 6290]},
            },
            {"id": 3, "image_id": 1, "category_id": 0, "bbox": [0, 0, 5, 5], "area": 25, "segmentation": []},
        ],
        "categories": [
            {"id": 0, "name": "car", "supercategory": "vehicle"},
            {"id": 3, "name": "person", "supercategory": "person"},
        ],
    }


def sound_records() -> list[Record]:
    """A dataset with queries, a gallery and coverage."""

    def image(name: str, **more: Any) -> Image:
        more = {"width": 100, "height": 80, "file_name": f"{name}.png", "source_split": "train", **more}
        return Image(id=f"toy/{name}", source="toy", **more)

    def annotation(image: str, suffix: str, box: tuple[float, ...] | None, **more: Any) -> Annotation:
        sides = dict(zip("xywh", box, strict=True)) if box else {}
        return Annotation(id=f"toy/{image}#{suffix}", image_id=f"toy/{image}", **{"category": "cup", **sides, **more})

    mask = rle_from_counts([1610, 20, 60, 20, 6290], 100, 80)
    return [
        image("q1", sha256="aa"),
        image("g1", sha256="bb"),
        image("g2", sha256="cc", orientation=6),
        image("g3", sha256="dd"),
        annotation("q1", "0", (20, 10, 2, 20), instance="set/1", segmentation=mask, area=40.0),
        annotation("g1", "0", (50, 0, 50, 80), instance="set/1"),
        annotation("g1", "0p", (50, 0, 50, 79.9), instance="set/1", parent_id="toy/g1#0"),
        annotation("g1", "1", (50, 0, 50, 80), instance="set/1", status="proposal", origin="model:x"),
        annotation("g2", "0", (0.5, 0.25, 30, 30), category="plate"),
        annotation("g2", "fog", None, category="fog"),
        Category(name="cup"),
        Category(name="plate"),
        Category(name="fog"),
        Instance(id="set/1", category="cup"),
        Coverage(scope="toy/train", category="*", state="partial"),
        Query(id="q1", kind="box", image_id="toy/q1", annotation_id="toy/q1#0", instance="set/1"),
        Member(image_id="toy/q1", role="query"),
        *(Member(image_id=f"toy/{name}", role="gallery") for name in ("g1", "g2")),
        Member(image_id="toy/g3", role="distractor"),
    ]


def dataset_of(records: list[Record]) -> Dataset:
    return from_records(Info(name="toy", sources={"toy": SourceRecord(title="toy")}), records)


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., Report]:
    """Write the sound COCO file, changed by ``damage``, and verify it."""

    def run(damage: Callable[[Json], object] = lambda data: None, **options: Any) -> Report:
        data = sound_coco()
        damage(data)
        file = tmp_path / "coco.json"
        file.write_text(json.dumps(data))
        return verify(file, **options)

    return run


@pytest.fixture
def text_file(tmp_path: Path) -> Callable[..., Report]:
    """Write bytes to a file and verify it."""

    def run(data: bytes | str, **options: Any) -> Report:
        file = tmp_path / "input.json"
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        return verify(file, **options)

    return run


@pytest.fixture
def records() -> list[Record]:
    return sound_records()


@pytest.fixture
def check() -> Callable[..., Report]:
    """Verify a dataset made of records."""

    def run(records: list[Record], **options: Any) -> Report:
        return verify(dataset_of(records), **options)

    return run


@contextmanager
def not_waiting(seconds: int = 20) -> Iterator[None]:
    """Fail where the block waits for ever, as for somebody who writes to a pipe."""

    def too_late(*_: object) -> None:
        raise AssertionError(f"waits since {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
