"""Pre-labels: what the pipeline costs beyond the model's own calls, and what it holds in memory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from tests.benchmarks.conftest import SLACK, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark

# The same model calls in a bare loop: decode, embed, one box after the other, RLE.
LOOP = """
import json, sys
import numpy as np, torch
from PIL import Image
from pycocotools import mask as coco
from curate.prelabel.checkpoints import load
from curate.prelabel.torchvision_standin import import_segment_anything
torch.set_num_threads(1)
predictor = import_segment_anything().SamPredictor(load(__import__("pathlib").Path(sys.argv[1])).model)
out = []
for name, boxes in json.load(open(sys.argv[2])).items():
    with Image.open(name) as picture:
        predictor.set_image(np.array(picture.convert("RGB")))
    for x, y, w, h in boxes:
        masks, _, _ = predictor.predict(box=np.array([x, y, x + w, y + h]), multimask_output=False)
        out.append(coco.encode(np.asfortranarray(masks[0].astype(np.uint8))))
print(len(out))
"""


def scenes(folder: Path, count: int) -> Path:
    from curate import store
    from curate.dataset import from_records
    from curate.demo.tiny_sam import judge
    from curate.model import Annotation, Image, Info, SourceRecord

    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    drawn = list(judge.fixed_scenes(100, 256, 256))
    records: list[object] = []
    boxes: dict[str, list[list[float]]] = {}
    for i in range(count):
        picture, masks = drawn[i % len(drawn)]
        path = pictures / f"{i:05d}.jpg"
        PilImage.fromarray(np.roll(picture, i // 100, axis=2)).save(path)
        image = f"d/{i:05d}"
        records.append(Image(id=image, source="d", file_name=path.name, width=256, height=256))
        for k, mask in enumerate(masks):
            x, y, right, bottom = judge.tight_box(mask).tolist()
            sides = [x, y, right - x, bottom - y]
            boxes.setdefault(str(path), []).append(sides)
            box = dict(zip("xywh", sides, strict=True))
            records.append(Annotation(id=f"{image}#{k}", image_id=image, category="thing", **box))
    info = Info(name="d", sources={"d": SourceRecord(title="D")}, roots={"d": str(pictures)})
    store.write(from_records(info, records), folder / "ds")  # type: ignore[arg-type]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


def test_the_pipeline_costs_little_more_than_the_model(tmp_path: Path, report: Callable[..., None]) -> None:
    """CPU seconds of the whole command and of a bare loop over the same calls; two processes finish sooner."""
    from curate.demo.tiny_sam import CHECKPOINT

    folder = scenes(tmp_path, 400)
    options = ["--segmenter", "sam", "--checkpoint", CHECKPOINT, "--no-proof", "-o", "out", "--overwrite", "-q"]
    found = side_by_side(
        3,
        ours=lambda: run_once(curate_command("prelabel", "ds", *options), folder),
        loop=lambda: run_once([sys.executable, "-c", LOOP, CHECKPOINT, "boxes.json"], folder),
        two=lambda: run_once(curate_command("prelabel", "ds", *options, "-j", 2, "--shard-size", 100), folder),
    )
    ratio = found["ours"].cpu / found["loop"].cpu
    report(ratio=ratio, cpu=found["ours"].cpu, wall=found["ours"].wall, wall_of_two=found["two"].wall)
    assert ratio <= 1.15 * SLACK
    assert found["two"].wall < found["ours"].wall * SLACK


def test_memory_does_not_grow_with_the_images(tmp_path: Path, report: Callable[..., None]) -> None:
    peaks = {}
    for count in (300, 1500):
        folder = scenes(tmp_path / str(count), count)
        options = ["--segmenter", "ellipse", "-o", "out", "-q", "--shard-size", 100]
        peaks[count] = run_once(curate_command("prelabel", "ds", *options), folder).peak
    report(peaks=str(peaks))
    assert peaks[1500] <= peaks[300] * 1.25 + 40


def cpu_with_descendants(command: list[object], folder: Path) -> float:
    """CPU seconds of a command and of all processes below it, by looking at them while they run."""
    import time

    import psutil

    spent: dict[int, float] = {}
    with subprocess.Popen([str(part) for part in command], cwd=folder) as child:
        family = psutil.Process(child.pid)
        while child.poll() is None:
            with contextlib.suppress(psutil.Error):
                for one in [family, *family.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        times = one.cpu_times()
                        spent[one.pid] = times.user + times.system
            time.sleep(0.1)
    assert child.returncode == 0
    return sum(spent.values())


def test_ray_costs_little_more_than_processes(tmp_path: Path, report: Callable[..., None]) -> None:
    """CPU seconds per image with two workers and shards of 500, Ray's own processes counted, the start taken off."""
    from curate.demo.tiny_sam import CHECKPOINT

    spent = {}
    for count in (1000, 2000):
        folder = scenes(tmp_path / str(count), count)
        options = ["--segmenter", "sam", "--checkpoint", CHECKPOINT, "--no-proof", "-q", "--overwrite", "-j", 2]
        for engine in ("local", "ray"):
            command = curate_command("prelabel", "ds", *options, "--engine", engine, "-o", f"out-{engine}")
            spent[engine, count] = cpu_with_descendants(command, folder)
    each = {engine: (spent[engine, 2000] - spent[engine, 1000]) / 1000 for engine in ("local", "ray")}
    starts = {engine: spent[engine, 1000] - 1000 * each[engine] for engine in each}
    shown = {engine: round(1000 * seconds, 2) for engine, seconds in each.items()}
    report(ms_per_image=shown, start={engine: round(seconds, 1) for engine, seconds in starts.items()})
    assert each["ray"] <= 1.15 * SLACK * each["local"]
