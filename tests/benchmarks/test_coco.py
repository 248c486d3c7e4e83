"""A COCO file of 100 k images and 500 k boxes through the tables and back, against a script with plain dictionaries.

The bound is that of the design: import, subset and export together in at most 0.8 of the CPU of one script that loads
the file with ``json``, filters and writes it with ``json``, although the tables are checked and fingerprinted on the
way and are written to disk twice; subset and export alone in at most 0.4; at most 1 GB of memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RUNS, SLACK, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark

SCRIPT = """
import json, sys
with open(sys.argv[1]) as stream:
    data = json.load(stream)
sizes = {image["id"]: image["width"] * image["height"] for image in data["images"]}
data["annotations"] = [
    row for row in data["annotations"] if row["bbox"][2] * row["bbox"][3] < 0.15 * sizes[row["image_id"]]
]
with open(sys.argv[2], "w") as stream:
    json.dump(data, stream)
"""


SAME = """
import json, sys
plain, ours = (sorted(row["instance_id"] for row in json.load(open(name))["annotations"]) for name in sys.argv[1:])
sys.exit(0 if plain == ours else "the two results differ")
"""


@pytest.fixture(scope="module")
def big(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    make = [sys.executable, shared / "tools" / "make_coco.py", "--images", 100_000, "--anns", 5, "--seed", 1]
    run_once([*make, "--out", folder / "big.json"])
    (folder / "script.py").write_text(SCRIPT)
    return folder


def test_import_subset_export(big: Path, report: Callable[..., None]) -> None:
    found = side_by_side(
        RUNS,
        script=lambda: run_once([sys.executable, "script.py", "big.json", "plain.json"], big),
        imported=lambda: run_once(curate_command("import", "coco", "big.json", "-o", "all", "--overwrite"), big),
        subset=lambda: run_once(
            curate_command("build", "subset", "all", "--size", "<0.15", "-o", "small", "--overwrite"), big
        ),
        export=lambda: run_once(curate_command("export", "coco", "small", "-o", "small.json", "--overwrite"), big),
    )
    ours = [found[name].cpu for name in ("imported", "subset", "export")]
    whole = sum(ours) / found["script"].cpu
    later = sum(ours[1:]) / found["script"].cpu
    peak = max(found[name].peak for name in ("imported", "subset", "export"))
    report(
        script=found["script"].cpu, ours=[round(v, 2) for v in ours], whole=whole, subset_export=later, peak_mib=peak
    )
    run_once([sys.executable, "-c", SAME, big / "plain.json", big / "small.json"])
    assert peak <= 1024
    assert whole <= 0.8 * SLACK
    assert later <= 0.4 * SLACK
