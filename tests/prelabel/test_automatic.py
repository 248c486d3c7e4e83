"""Masks of everything: the official generator's own, in a stated order, as new objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from curate.dataset import from_records
from curate.demo.tiny_sam import CHECKPOINT, judge
from curate.errors import UsageError
from curate.geometry import mask_from_rle
from curate.model import Image, Info, Rle, SourceRecord
from curate.prelabel import runner, tasks
from curate.prelabel.automatic import Automatic
from curate.prelabel.segmenters import open_segmenter
from curate.prelabel.torchvision_standin import import_segment_anything


@pytest.fixture(scope="module")
def automatic() -> Automatic:
    import torch

    torch.set_num_threads(1)
    return Automatic(open_segmenter("sam", checkpoint=CHECKPOINT), points=8, predicted_iou=0.5, stability=0.5)


def test_the_masks_are_those_of_the_official_generator(automatic: Automatic) -> None:
    picture, _ = next(iter(judge.fixed_scenes(1, 128, 128)))
    found = list(automatic.everything(picture))
    generator = import_segment_anything().SamAutomaticMaskGenerator(
        automatic.sam.loaded.model, points_per_side=8, pred_iou_thresh=0.5, stability_score_thresh=0.5
    )
    theirs = generator.generate(picture)
    assert len(found) == len(theirs) > 1
    ours = {one.mask.pixels.tobytes() for one in found}
    assert ours == {np.asarray(one["segmentation"]).tobytes() for one in theirs}
    qualities = [one.mask.predicted_iou or 0.0 for one in found]
    assert qualities == sorted(qualities, reverse=True)
    for one in found:
        assert 0 <= (one.mask.stability or 0) <= 1
        x, y = one.point
        assert 0 <= x <= 128 and 0 <= y <= 128


def test_most_drawn_things_are_found(automatic: Automatic) -> None:
    best = []
    for picture, masks in judge.fixed_scenes(10, 128, 128):
        found = [one.mask.pixels for one in automatic.everything(picture)]
        best += [max((judge.iou(one, mask) for one in found), default=0.0) for mask in masks if mask.mean() > 0.02]
    assert np.mean(best) > 0.6


@pytest.mark.parametrize("size", [(1, 1), (2000, 3)])
def test_a_picture_too_thin_for_the_model(automatic: Automatic, size: tuple[int, int]) -> None:
    for one in automatic.everything(np.zeros((*size, 3), np.uint8)):
        assert one.mask.pixels.shape == size


def test_it_needs_segment_anything() -> None:
    with pytest.raises(UsageError, match="works with the segmenter sam only"):
        Automatic(open_segmenter("ellipse"))
    with pytest.raises(UsageError, match="points = 0"):
        Automatic(open_segmenter("sam", checkpoint=CHECKPOINT), points=0)


def test_rows_without_a_parent(tmp_path: Path) -> None:
    records: list[Any] = []
    for i, (picture, _) in enumerate(judge.fixed_scenes(3)):
        PilImage.fromarray(picture).save(tmp_path / f"{i}.png")
        records.append(Image(id=f"d/{i}", source="d", file_name=f"{i}.png", width=64, height=64))
    info = Info(name="d", sources={"d": SourceRecord(title="D")}, roots={"d": str(tmp_path)})
    dataset = from_records(info, records)

    def run(folder: str, shard: int) -> runner.Outcome:
        return runner.run(
            dataset,
            tasks.select_images(dataset),
            tmp_path / folder,
            "sam",
            checkpoint=CHECKPOINT,
            detector="automatic",
            detector_options={"points": 6},
            shard=shard,
        )

    outcome = run("w", 2)
    rows = outcome.dataset.table("annotations").to_pylist()
    assert len(rows) == outcome.masks > 0
    for row in rows:
        facts = json.loads(row["attributes"])["prelabel"]
        assert (row["parent_id"], row["category"], facts["box_iou"]) == (None, None, None)
        assert facts["detector"] == {"model": "automatic", "points": 6, "predicted_iou": 0.88, "stability": 0.95}
        x, y = facts["prompt"]["point"]
        mask = mask_from_rle(Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"]))
        assert mask.shape == (64, 64)
        assert 0 <= x <= 64 and 0 <= y <= 64
    assert run("v", 1).dataset.fingerprint() == outcome.dataset.fingerprint()
