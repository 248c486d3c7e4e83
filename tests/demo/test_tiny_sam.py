"""The tiny checkpoint: it loads as any checkpoint does, and segments unseen scenes far better than plain shapes do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from curate.demo.tiny_sam import CHECKPOINT, judge, train
from curate.prelabel.tiny import SIDE

torch = pytest.importorskip("torch", reason="torch is in the extras 'sam' and 'dev'")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_it_beats_the_ellipse_by_far() -> None:
    """A model that learnt nothing draws ellipses: 0.57 on these scenes, which are hard (things touch and overlap)."""
    figures = judge.judge(train.load(CHECKPOINT), list(judge.fixed_scenes(100)))
    assert len(figures.box) > 250
    assert figures.box.mean() >= 0.84
    assert figures.box.mean() >= figures.ellipse.mean() + 0.2
    assert figures.loose.mean() >= figures.box.mean() - 0.03
    assert figures.point.mean() > figures.ellipse.mean()
    assert figures.box[figures.share > 0.02].mean() >= 0.88
    assert np.corrcoef(figures.predicted, figures.box)[0, 1] > 0.6


def test_weights_alone_are_in_the_file() -> None:
    state = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert CHECKPOINT.stat().st_size < 2_000_000


def test_the_readme_tells_what_was_measured() -> None:
    text = CHECKPOINT.with_name("README.md").read_text()
    assert "drawn scenes only" in text
    log = CHECKPOINT.with_name("train.log").read_text().splitlines()[-1]
    (value,) = re.findall(r"objects: box (0\.\d+)", log)
    assert f"{float(value):.3f}" in text


def test_scenes_for_judging_are_not_those_of_training() -> None:
    assert train.POOL < 100_000 < judge.FIXED


def test_training_learns(tmp_path: Path) -> None:
    """A few steps on few scenes: the loss falls, and the file that is left loads."""
    torch.manual_seed(0)
    losses = train.train(tmp_path / "few.pt", minutes=1, pool=24, steps=14, every=1000)
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert train.load(tmp_path / "few.pt").image_encoder.img_size == SIDE


def test_what_judging_measures() -> None:
    picture, masks = next(judge.fixed_scenes(1))
    assert picture.shape == (SIDE, SIDE, 3)
    mask = np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    assert judge.tight_box(mask).tolist() == [1, 2, 7, 5]
    assert judge.iou(mask, mask) == 1
    assert judge.iou(mask, ~mask) == 0
    ellipse = judge.ellipse_in(judge.tight_box(mask), mask.shape)
    assert not (ellipse & ~mask).any()
    assert masks[0].shape == (SIDE, SIDE)
