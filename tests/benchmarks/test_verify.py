"""``verify``: tables against one reading of the same content as JSON, files against opening them, hashes.

The bounds are the design's: the structural rules on 500 k boxes from a dataset folder at most the CPU of reading that
COCO file with ``json`` once, start of the program included; existence, header, stated size and end of 20 k JPEGs at
most three times the CPU of ``os.stat`` and opening them, and nothing missed; hashing near ``sha256sum``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from tests.benchmarks.conftest import RUNS, SLACK, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark

READ = "import json, sys; json.load(open(sys.argv[1]))"
FILES = 20_000
# Both in one process, so that what is compared is the looking and no start of a program.
LOOK = """
import json, os, sys, time
from curate.dataset import from_records
from curate.model import Image, Info, SourceRecord
from curate.verify import verify
root, names = sys.argv[1], sorted(os.listdir(sys.argv[1]))
rows = [Image(id=f"t/{n}", source="t", file_name=n, width=320, height=240) for n in names + ["absent.jpg"]]
dataset = from_records(Info(name="t", sources={"t": SourceRecord(title="t")}), rows)
opened, looked = [], []
for _ in range(5):
    start = time.process_time()
    for name in names:
        os.stat(f"{root}/{name}")
        open(f"{root}/{name}", "rb").close()
    middle = time.process_time()
    report = verify(dataset, level="quick", only=["I"], roots={"t": root})
    opened.append(middle - start)
    looked.append(time.process_time() - middle)
print(json.dumps([min(opened), min(looked), {total.code: total.errors for total in report.totals}]))
"""


def test_structural_rules(shared: Path, tmp_path: Path, report: Callable[..., None]) -> None:
    make = [sys.executable, shared / "tools" / "make_coco.py", "--images", 100_000, "--anns", 5, "--seed", 1]
    run_once([*make, "--out", tmp_path / "big.json"])
    run_once(curate_command("import", "coco", "big.json", "-o", "all", "-q"), tmp_path)
    found = side_by_side(
        RUNS,
        json=lambda: run_once([sys.executable, "-c", READ, "big.json"], tmp_path),
        quick=lambda: run_once(curate_command("verify", "all", "--level", "quick", "-q"), tmp_path),
        full=lambda: run_once(curate_command("verify", "all", "-q"), tmp_path),
    )
    quick, full = (found[name].cpu / found["json"].cpu for name in ("quick", "full"))
    report(json=found["json"].cpu, quick=quick, full=full, peak_mib=found["full"].peak)
    assert quick <= 1.0 * SLACK
    assert full <= 1.25 * SLACK  # also the geometry of all boxes


def test_files_at_quick_level(tmp_path: Path, report: Callable[..., None]) -> None:
    root = tmp_path / "jpegs"
    root.mkdir()
    rng = np.random.default_rng(0)
    pictures = []
    for size in [(320, 240)] * 20 + [(321, 240)]:
        stream = io.BytesIO()
        noise = PilImage.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8))
        noise.resize(size).save(stream, "JPEG", quality=85)
        pictures.append(stream.getvalue())
    for i in range(FILES):
        data = pictures[i % 20]
        if i % 2000 == 7:
            data = data[: len(data) // 2]  # Pillow's header, and many a tool, find nothing wrong with it
        elif i % 2000 == 8:
            data = pictures[20]
        (root / f"{i:05d}.jpg").write_bytes(data)
    (tmp_path / "look.py").write_text(LOOK)
    done = subprocess.run([sys.executable, "look.py", root], cwd=tmp_path, capture_output=True, text=True, check=True)
    opened, looked, errors = json.loads(done.stdout)
    report(opened=opened, looked=looked, ratio=looked / opened)
    assert errors == {"I01": 1, "I02": FILES // 2000, "I04": FILES // 2000}
    assert looked / opened <= 3.0 * SLACK


def test_hashing_a_release(tmp_path: Path, report: Callable[..., None]) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum")
    folder = tmp_path / "r"
    folder.mkdir()
    sums = []
    for i in range(6):
        data = os.urandom(1 << 20) * 64
        (folder / f"{i}.bin").write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {i}.bin\n")
    (folder / "SHA256SUMS").write_text("".join(sums))
    found = side_by_side(
        min(RUNS, 3),
        start=lambda: run_once(curate_command("verify", "r", "--only", "V02", "-q"), tmp_path),
        sha256sum=lambda: run_once(["sha256sum", "-c", "--quiet", "SHA256SUMS"], folder),
        ours=lambda: run_once(curate_command("verify", "r", "-q"), tmp_path),
    )
    ratio = (found["ours"].cpu - found["start"].cpu) / found["sha256sum"].cpu
    report(sha256sum=found["sha256sum"].cpu, ours=found["ours"].cpu, start=found["start"].cpu, ratio=ratio)
    assert ratio <= 1.3 * SLACK
