"""Imports grow linearly, finish sooner with two workers, and hold bounded memory."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from tests.benchmarks.conftest import SLACK, Figure, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark

VOXDET = "--seed 5 --owid-views 4 --objects-per-image 6 --val-fraction 0.1 --robotools-instances 0"
VOXDET += " --query-size 8x6 --gallery-size 16x12"


def voxdet_tree(shared: Path, folder: Path, categories: int, boxes: int) -> Path:
    size = ["--owid-categories", categories, "--owid-anns-per-category", boxes]
    run_once([sys.executable, shared / "tools" / "make_voxdet_tree.py", folder, *VOXDET.split(), *size])
    return folder


@pytest.mark.parametrize(("categories", "boxes"), [(1000, 100), (3000, 10)])
def test_voxdet_to_anns_pt(
    shared: Path, tmp_path: Path, report: Callable[..., None], categories: int, boxes: int
) -> None:
    """At most 5 s of CPU beyond imports, and twice the work in little more than twice the time."""
    whole = voxdet_tree(shared, tmp_path / "whole", categories, boxes)
    half = voxdet_tree(shared, tmp_path / "half", categories // 2, boxes)

    def convert(tree: Path) -> Figure:
        first = run_once(curate_command("import", "voxdet", tree, "-o", tmp_path / "ds", "--overwrite"))
        second = run_once(curate_command("export", "anns_pt", tmp_path / "ds", "-o", tmp_path / "a.pt", "--overwrite"))
        return Figure(first.cpu + second.cpu, first.wall + second.wall, max(first.peak, second.peak))

    imports = "import curate.importing, curate.store, curate.sources.voxdet, curate.export.anns_pt"
    found = side_by_side(
        3,
        whole=lambda: convert(whole),
        half=lambda: convert(half),
        imports=lambda: run_once([sys.executable, "-c", imports]),
    )
    start = 2 * found["imports"].cpu
    cost, cost_of_half = found["whole"].cpu - start, found["half"].cpu - start
    report(cpu=cost, half=cost_of_half, growth=cost / cost_of_half, peak_mib=found["whole"].peak)
    assert cost <= 5 * SLACK
    assert cost <= 2.4 * SLACK * cost_of_half


def kitti_tree(root: Path, count: int) -> Path:
    images, labels = root / "training" / "image_2", root / "training" / "label_2"
    images.mkdir(parents=True)
    labels.mkdir()
    PilImage.fromarray(np.zeros((37, 124, 3), np.uint8)).save(root / "one.png")
    row = "Car 0.00 0 1.85 {x:.2f} 18.54 {right:.2f} 33.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    for i in range(count):
        os.link(root / "one.png", images / f"{i:06d}.png")
        rows = (row.format(x=1.5 * k, right=1.5 * k + 9.25) for k in range(i % 12))
        (labels / f"{i:06d}.txt").write_text("".join(rows))
    return root


def cityscapes_tree(root: Path, count: int) -> Path:
    images, labels = root / "leftImg8bit" / "train" / "aachen", root / "gtFine" / "train" / "aachen"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    PilImage.fromarray(np.zeros((128, 256, 3), np.uint8)).save(root / "one.png")
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for i in range(count):
        os.link(root / "one.png", images / f"aachen_{i:06d}_000019_leftImg8bit.png")
        objects = [
            {
                "label": "car" if k % 2 else "person",
                "polygon": np.stack([20 + 9 * k + 8 * np.cos(turn), 60 + 5 * np.sin(turn)], 1).round().tolist(),
            }
            for k in range(i % 16)
        ]
        text = json.dumps({"imgHeight": 128, "imgWidth": 256, "objects": objects})
        (labels / f"aachen_{i:06d}_000019_gtFine_polygons.json").write_text(text)
    return root


@pytest.mark.parametrize(("source", "make"), [("kitti", kitti_tree), ("cityscapes", cityscapes_tree)])
def test_twenty_thousand_images(
    source: str, make: Callable[[Path, int], Path], tmp_path: Path, report: Callable[..., None]
) -> None:
    whole, half = make(tmp_path / "whole", 20_000), make(tmp_path / "half", 10_000)

    def take(root: Path, jobs: int) -> Figure:
        return run_once(curate_command("import", source, root, "-o", tmp_path / "ds", "--overwrite", "-j", jobs))

    found = side_by_side(
        3,
        whole=lambda: take(whole, 1),
        half=lambda: take(half, 1),
        two_workers=lambda: take(whole, 2),
        start=lambda: run_once([sys.executable, "-c", f"import curate.importing, curate.sources.{source}"]),
    )
    start = found["start"].cpu
    growth = (found["whole"].cpu - start) / (found["half"].cpu - start)
    gain = found["whole"].wall / found["two_workers"].wall
    report(cpu=found["whole"].cpu, growth=growth, faster_with_two=gain, peak_mib=found["whole"].peak)
    assert growth <= 2.3 * SLACK
    assert found["whole"].peak <= 600
    if len(os.sched_getaffinity(0)) > 1:
        assert gain > 1.05 / SLACK
