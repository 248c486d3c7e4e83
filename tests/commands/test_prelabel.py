"""``curate prelabel``: what it prints and refuses, and that killing it again and again changes nothing."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from curate import read, store
from curate.dataset import from_records
from curate.demo.tiny_sam import CHECKPOINT, judge
from curate.model import Annotation, Category, Image, Info, SourceRecord

Curate = Callable[..., "subprocess.CompletedProcess[str]"]
PICTURES = 24


@pytest.fixture
def things(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    records: list[object] = [Category(name="thing")]
    for i, (picture, masks) in enumerate(judge.fixed_scenes(PICTURES)):
        PilImage.fromarray(picture).save(folder / f"{i}.png")
        records.append(Image(id=f"d/{i:02d}", source="d", file_name=f"{i}.png", width=64, height=64))
        for k, mask in enumerate(masks):
            x, y, right, bottom = judge.tight_box(mask).tolist()
            box = {"x": x, "y": y, "w": right - x, "h": bottom - y}
            records.append(Annotation(id=f"d/{i:02d}#{k}", image_id=f"d/{i:02d}", category="thing", **box))
    info = Info(name="d", sources={"d": SourceRecord(title="Drawn")}, roots={"d": str(folder)})
    store.write(from_records(info, records), tmp_path / "things")  # type: ignore[arg-type]
    return tmp_path / "things"


def test_from_boxes_to_masks(things: Path, curate: Curate, tmp_path: Path) -> None:
    done = curate("prelabel", "things", "--segmenter", "sam", "--checkpoint", CHECKPOINT, "-o", "out")
    boxes = read(things).table("annotations").num_rows
    assert done.stdout.startswith(f"{boxes} masks for {boxes} boxes in {PICTURES} images -> out")
    assert read(tmp_path / "out").table("annotations").num_rows == 2 * boxes
    assert "no errors" in curate("verify", "out").stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures", "things"]
    result = json.loads(curate("prelabel", "things", "--segmenter", "grabcut", "-o", "g", "--json", "-j", "2").stdout)
    assert (result["images"], result["boxes"], result["masks"]) == (PICTURES, boxes, boxes)


def _with_a_worker_killed(command: list[str], folder: Path) -> tuple[subprocess.Popen[str], bool, str]:
    """Run ``command``, and kill one of its workers once a shard is done; what ended, whether one was, and stderr."""
    import psutil

    killed = False
    manifest = folder / "out.work" / "manifest.jsonl"
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (manifest.exists() and manifest.read_bytes()):
            time.sleep(0.002)
        with suppress(psutil.NoSuchProcess):
            for one in psutil.Process(process.pid).children():
                if "spawn_main" in " ".join(one.cmdline()):
                    one.kill()
                    killed = True
                    break
        _, said = process.communicate()
    return process, killed, said


def test_a_killed_worker_is_replaced(things: Path, curate: Curate, tmp_path: Path) -> None:
    options = ("--segmenter", "sam", "--checkpoint", CHECKPOINT, "--shard-size", "1")
    whole = json.loads(curate("prelabel", "things", *options, "-o", "whole", "--json").stdout)
    command = [sys.executable, "-m", "curate", "prelabel", "things", *map(str, options), "-j", "2", "-o", "out"]
    killed = False
    for _ in range(15):  # on a busy machine a run may be over before it is looked at
        process, killed, said = _with_a_worker_killed(command, tmp_path)
        assert (process.returncode, said) == (0, "")
        assert read(tmp_path / "out").fingerprint() == whole["fingerprint"]
        if killed:
            break
        shutil.rmtree(tmp_path / "out")
    assert killed


def test_a_full_disk(things: Path, curate: Curate, tmp_path: Path) -> None:
    """A limit on the size of files stands in for it: one line, no output, and the next run goes on."""
    command = [sys.executable, "-m", "curate", "prelabel", "things", "--segmenter", "ellipse", "-o", "out"]
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "File too large; the file system or a limit allows no larger file" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    curate("prelabel", "things", "--segmenter", "ellipse", "-o", "out")


def test_everything_in_the_pictures(things: Path, curate: Curate, tmp_path: Path) -> None:
    """Without boxes of its own a dataset gets proposals of things that nothing has named."""
    options = ("--detector", "automatic", "--points", "8", "--segmenter", "sam", "--checkpoint", CHECKPOINT)
    plan = json.loads(curate("prelabel", "things", *options, "--dry-run", "--json").stdout)
    assert (plan["images"], plan["boxes"]) == (PICTURES, 0)
    done = curate("prelabel", "things", *options, "-o", "out", "--html", "p.html", "--queue", "q.csv")
    rows = read(tmp_path / "out").table("annotations").to_pylist()
    new = [row for row in rows if row["status"] == "proposal"]
    assert len(new) > 5
    assert done.stdout.startswith(f"{len(new)} masks in {PICTURES} images -> out")
    assert {(row["parent_id"], row["category"]) for row in new} == {(None, None)}
    assert "no errors" in curate("verify", "out").stdout
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 1 + len(new)
    assert "in what automatic found" in (tmp_path / "p.html").read_text()


def test_the_same_bytes_from_ray(things: Path, curate: Curate, tmp_path: Path) -> None:
    options = ("--segmenter", "sam", "--checkpoint", CHECKPOINT, "--shard-size", "6")
    curate("prelabel", "things", *options, "-o", "here")
    curate("prelabel", "things", *options, "-o", "there", "--engine", "ray", "-j", "2")
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("here", "there")
    )
    assert here == there


def test_a_page_and_a_queue(things: Path, curate: Curate, tmp_path: Path) -> None:
    curate("prelabel", "things", "--segmenter", "grabcut", "-o", "g", "--html", "p.html", "--queue", "q.csv")
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert len(lines) == 1 + read(things).table("annotations").num_rows
    doubts = [float(row["doubt"]) for row in csv.DictReader(lines)]
    assert doubts == sorted(doubts, reverse=True)
    assert "pre-labels" in (tmp_path / "p.html").read_text()
    again = curate("prelabel", "things", "--segmenter", "grabcut", "-o", "h", "--html", "p.html", code=2)
    assert "p.html: already exists" in again.stderr
    # What an earlier run drew is nothing to begin from.
    plan = curate("prelabel", "g", "--segmenter", "ellipse", "--dry-run", "--json").stdout
    assert json.loads(plan)["boxes"] == len(lines) - 1


def test_a_plan_opens_no_model(things: Path, curate: Curate, tmp_path: Path) -> None:
    done = curate("prelabel", "things", "--segmenter", "sam", "--checkpoint", "absent.pth", "--dry-run")
    assert done.stdout.splitlines()[-1].endswith(f"boxes in {PICTURES} images; nothing was done")
    (tmp_path / "pictures" / "3.png").unlink()
    done = curate("prelabel", "things", "--segmenter", "sam", "--dry-run")
    assert "1 of the images have no file where it should be (--root)" in done.stdout


def test_a_picture_that_cannot_be_read(things: Path, curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "3.png").write_bytes(b"broken")
    done = curate("prelabel", "things", "--segmenter", "ellipse", "-o", "out", code=1)
    assert "1 images could not be read" in done.stdout
    (problem,) = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert (problem["code"], problem["item"]) == ("I04", "d/03")
    assert "3.png" in problem["where"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_pillow_warns_of_is_not_said(things: Path, curate: Curate, tmp_path: Path, jobs: str) -> None:
    for i in range(2):
        palette = PilImage.new("P", (64, 64))
        palette.save(tmp_path / "pictures" / f"{i}.png", transparency=bytes(range(256)))
    done = curate("prelabel", "things", "--segmenter", "ellipse", "--shard-size", "1", "-j", jobs, "-o", "out")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("--segmenter", "sam", "-o", "out"),
            2,
            "segmenter sam: has no checkpoint; expected a file of weights; download",
        ),
        (("--segmenter", "sam", "--checkpoint", "absent.pth", "-o", "out"), 1, "absent.pth: no such file"),
        (("--segmenter", "sam", "--checkpoint", "things/dataset.json", "-o", "out"), 1, "dataset.json: "),
        (("--segmenter", "ellipse", "--checkpoint", "a.pth", "-o", "out"), 2, "was given a checkpoint"),
        (("--segmenter", "ellipse"), 2, "--output: is missing"),
        (("--segmenter", "ellipse", "--class", "car", "-o", "out"), 2, "class 'car': is not in the dataset"),
        (("--segmenter", "ellipse", "--class", "Thin", "-o", "out"), 2, "thing; did you mean 'thing'?"),
        (("--segmenter", "ellipse", "--root", "dd=.", "-o", "out"), 2, "--root dd: no image is of this source"),
        (("--segmenter", "ellipse", "--root", "d=gone", "-o", "out"), 2, "--root d=gone: no such folder"),
        (("--segmenter", "ellipse", "-o", "things"), 2, "things"),
        (("-o", "out"), 2, "--segmenter"),
        (("--detector", "owlv2", "--segmenter", "ellipse", "-o", "out"), 2, "detector owlv2: has no folder of weights"),
        (
            ("--detector", "owlv2", "--weights", "things", "--segmenter", "ellipse", "-o", "out"),
            1,
            "things: has no config.json; expected config.json, model.safetensors, preprocessor_config.json; download",
        ),
        (("--detector", "automatic", "--segmenter", "ellipse", "-o", "out"), 2, "works with the segmenter sam only"),
        (
            ("--segmenter", "ellipse", "--text", "car", "-o", "out"),
            2,
            "was given the option texts; expected none; only",
        ),
        (
            ("--detector", "automatic", "--class", "thing", "--segmenter", "sam", "-o", "out"),
            2,
            "--class: chooses among",
        ),
        (("--segmenter", "ellipse", "--ray-address", "a:1", "-o", "out"), 2, "--ray-address: is given, but not"),
        (
            ("--segmenter", "ellipse", "-o", "out", "--work", "pictures/../out"),
            2,
            "--output and --work: name one place, out; expected two",
        ),
        (
            ("--segmenter", "ellipse", "-o", "out", "--html", "a", "--queue", "a"),
            2,
            "--html and --queue: name one place, a",
        ),
        (
            ("--segmenter", "ellipse", "-o", "out", "--html", "out/page.html"),
            2,
            "--html: lies in the output of --output, out; expected a place beside it",
        ),
        (("--segmenter", "ellipse", "-o", "out", "--html", "pictures"), 2, "pictures: is a folder"),
    ],
)
def test_what_is_refused(
    things: Path, curate: Curate, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = curate("prelabel", "things", *arguments, code=code)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or "Usage" in done.stderr
    assert not (tmp_path / "out").exists()


def test_weights_that_were_forgotten_are_noticed(things: Path, curate: Curate, tmp_path: Path) -> None:
    import torch

    from curate.prelabel.tiny import build_tiny

    torch.manual_seed(0)
    torch.save(build_tiny().state_dict(), tmp_path / "random.pth")
    arguments = ("prelabel", "things", "--segmenter", "sam", "--checkpoint", "random.pth", "-o", "out")
    assert "expected a trained model" in curate(*arguments, code=1).stderr
    curate(*arguments, "--no-proof")


def test_killed_ten_times_it_ends_as_if_never_killed(things: Path, curate: Curate, tmp_path: Path) -> None:
    """A kill whenever another shard or two are done; the last run has only what is left, and the same bytes."""
    options = ("--segmenter", "sam", "--checkpoint", CHECKPOINT, "--shard-size", "2", "--no-proof")
    curate("prelabel", "things", *options, "-o", "once")
    command = [sys.executable, "-m", "curate", "prelabel", "things", *map(str, options), "-o", "again"]
    manifest = tmp_path / "again.work" / "manifest.jsonl"

    def finished() -> int:
        return len(manifest.read_bytes().splitlines()) if manifest.exists() else 0

    kills = 0
    rng = np.random.default_rng(0)
    for _ in range(10):
        before = finished()
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            until = time.monotonic() + 60
            while process.poll() is None and finished() <= before and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(float(rng.uniform(0, 0.02)))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.communicate()
        assert not (tmp_path / "again").exists() or process.returncode == 0
        if (tmp_path / "again").exists():
            break
    assert kills  # ten as a rule; on a busy machine a run may be over before it is looked at
    if not (tmp_path / "again").exists():
        assert "shards were there from an earlier run" in curate("prelabel", "things", *options, "-o", "again").stdout
    assert not (tmp_path / "again.work").exists()
    once, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("once", "again")
    )
    assert once == again


def test_a_full_size_model_by_the_same_command(tmp_path: Path, curate: Curate) -> None:
    """vit_b with random weights in the official layout, on one picture: its masks are noise, the whole path is real."""
    import torch

    from curate.prelabel.torchvision_standin import import_segment_anything

    torch.manual_seed(0)
    torch.save(import_segment_anything().sam_model_registry["vit_b"]().state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    picture, masks = next(judge.fixed_scenes(1, 200, 150))
    PilImage.fromarray(picture).save(tmp_path / "a.png")
    records: list[object] = [Image(id="d/a", source="d", file_name="a.png", width=200, height=150)]
    for k, mask in enumerate(masks[:2]):
        x, y, right, bottom = judge.tight_box(mask).tolist()
        records.append(Annotation(id=f"d/a#{k}", image_id="d/a", x=x, y=y, w=right - x, h=bottom - y))
    info = Info(name="d", sources={"d": SourceRecord(title="D")}, roots={"d": str(tmp_path)})
    store.write(from_records(info, records), tmp_path / "ds")  # type: ignore[arg-type]
    options = (
        "--segmenter",
        "sam",
        "--checkpoint",
        "sam_vit_b_01ec64.pth",
        "--kind",
        "vit_b",
        "--no-proof",
        "--clean",
        "0",
    )
    result = json.loads(curate("prelabel", "ds", *options, "-o", "out", "--json").stdout)
    assert result["boxes"] == len(masks[:2])
    assert result["masks"] + result["problems"].get("M09", 0) == result["boxes"]
    wrong = curate("prelabel", "ds", *options, "--kind", "vit_h", "-o", "other", code=1)
    assert "is a checkpoint of vit_b; expected vit_h" in wrong.stderr
