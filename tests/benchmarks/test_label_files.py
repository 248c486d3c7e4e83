"""Sources with one JSON file per image: the import against a bare script that reads and parses the same files.

The script lists the tree, parses every label file with ``json`` and asks Pillow for the size of every picture: that is
what anybody does who needs boxes and their frame. The import also checks, converts and collects what it reads.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PilImage

from tests.benchmarks.conftest import SLACK, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark

SCRIPT = """
import json, sys
from pathlib import Path
from PIL import Image
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix in (".jpg", ".png"):
        with Image.open(path) as picture:
            picture.size
"""


class Tree:
    """Writes label files, and pictures that are one file under many names."""

    def __init__(self, root: Path, size: tuple[int, int], ending: str) -> None:
        self.root, self.one = root, root.with_suffix(ending)
        PilImage.new("RGB", size).save(self.one)

    def put(self, image: str, label: str, content: Any, indent: int | None = 1) -> None:
        for path in (self.root / image, self.root / label):
            path.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.one, self.root / image)
        (self.root / label).write_text(json.dumps(content, indent=indent))


def ecp_tree(root: Path, count: int) -> None:
    draw, tree = random.Random(0), Tree(root, (1920, 1024), ".png")
    for i in range(count):
        people = []
        for k in range(draw.randrange(12)):
            x, y = draw.randrange(1800), draw.randrange(880)
            corners = {"x0": x, "x1": x + draw.randrange(1, 100), "y0": y, "y1": y + draw.randrange(1, 120)}
            tags = ["occluded>10"] if k % 3 == 0 else []
            people.append({"tags": tags, "children": [], "identity": "pedestrian", **corners, "Orient": 95.0})
        frame = {"tags": [], "imageheight": 1024, "imagewidth": 1920, "children": people, "identity": "frame"}
        name = f"train/amsterdam/amsterdam_{i:05d}"
        tree.put(f"ECP/day/img/{name}.png", f"ECP/day/labels/{name}.json", frame)


def bdd100k_tree(root: Path, count: int) -> None:
    draw, tree = random.Random(0), Tree(root, (1280, 720), ".jpg")
    for i in range(count):
        objects = []
        for k in range(draw.randrange(36)):
            x, y = draw.random() * 1100, draw.random() * 600
            box = {"x1": x, "y1": y, "x2": x + 10 + draw.random() * 100, "y2": y + 10 + draw.random() * 100}
            attributes = {"occluded": k % 2 == 0, "truncated": False, "trafficLightColor": "none"}
            box = {key: round(value, 6) for key, value in box.items()}
            category = ("car", "person", "traffic sign", "traffic light")[k % 4]
            objects.append({"category": category, "id": k, "attributes": attributes, "box2d": box})
        name = f"{i:08x}-{i:08x}"
        facts = {"weather": "clear", "scene": "city street", "timeofday": "daytime"}
        label = {"name": name, "frames": [{"timestamp": 10000, "objects": objects}], "attributes": facts}
        folder = "100k/train"
        tree.put(f"bdd100k/images/{folder}/{name}.jpg", f"bdd100k/labels/{folder}/{name}.json", label)


def mtsd_tree(root: Path, count: int) -> None:
    draw, tree = random.Random(0), Tree(root, (4000, 3000), ".jpg")
    names = ("barrier", "occluded", "out-of-frame", "exterior", "ambiguous", "included", "highway", "dummy")
    for i in range(count):
        signs = []
        for k in range(draw.randrange(10)):
            x, y = draw.random() * 3000, draw.random() * 2000
            box = {"xmin": x, "ymin": y, "xmax": x + 5 + draw.random() * 80, "ymax": y + 5 + draw.random() * 80}
            label = ("other-sign", "warning--curve-left--g2", "regulatory--stop--g1")[k % 3]
            signs.append({"key": f"{i}-{k}", "label": label, "bbox": box, "properties": dict.fromkeys(names, False)})
        label = {"width": 4000, "height": 3000, "ispano": False, "objects": signs}
        tree.put(f"images/{i:022d}.jpg", f"mtsd_v2_fully_annotated/annotations/{i:022d}.json", label, None)
    splits = root / "mtsd_v2_fully_annotated" / "splits" / "train.txt"
    splits.parent.mkdir()
    splits.write_text("".join(f"{i:022d}\n" for i in range(count)))


@pytest.mark.parametrize(
    ("source", "make", "bound"), [("ecp", ecp_tree, 0.5), ("mtsd", mtsd_tree, 0.5), ("bdd100k", bdd100k_tree, 0.5)]
)
def test_import_keeps_up_with_a_bare_script(
    source: str, make: Callable[[Path, int], None], bound: float, tmp_path: Path, report: Callable[..., None]
) -> None:
    """At least ``bound`` of the script's rate in CPU seconds, beyond the start of either process."""
    tree = tmp_path / "tree"
    make(tree, 10_000)
    found = side_by_side(
        3,
        taken=lambda: run_once(curate_command("import", source, tree, "-o", tmp_path / "ds", "--overwrite", "-j", 1)),
        bare=lambda: run_once([sys.executable, "-c", SCRIPT, tree]),
        start=lambda: run_once(
            [sys.executable, "-c", f"import curate.importing, curate.store, curate.sources.{source}"]
        ),
        bare_start=lambda: run_once([sys.executable, "-c", SCRIPT, tmp_path / "nothing"]),
    )
    rate = (found["bare"].cpu - found["bare_start"].cpu) / (found["taken"].cpu - found["start"].cpu)
    report(rate=rate, cpu=found["taken"].cpu, peak_mib=found["taken"].peak)
    assert rate >= bound / SLACK


def test_twenty_five_thousand_label_files_in_little_memory(tmp_path: Path, report: Callable[..., None]) -> None:
    ecp_tree(tmp_path / "tree", 25_000)

    figure = run_once(curate_command("import", "ecp", tmp_path / "tree", "-o", tmp_path / "ds", "-j", 1))
    report(peak_mib=figure.peak, cpu=figure.cpu)
    assert figure.peak <= 400
