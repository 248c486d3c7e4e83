"""Reviews: a push costs little more than bare requests, a mask's way there and back little more than its code."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from tests.benchmarks.conftest import SLACK, Figure, curate_command, run_once, side_by_side

pytestmark = pytest.mark.benchmark

# Tasks from a file to a project of their own, as one would by hand: 1,000 at once, nothing checked.
LOOP = """
import json, sys, urllib.request
url, token = json.load(open(sys.argv[1]))["url"], json.load(open(sys.argv[1]))["token"]
def send(path, body):
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request))
given = json.load(open(sys.argv[2]))
project = send("/api/projects/", {"title": "bare loop", "label_config": given["config"]})["id"]
for i in range(0, len(given["tasks"]), 1000):
    send(f"/api/projects/{project}/import", given["tasks"][i:i + 1000])
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The data of a server that runs, and the folder above the images."""
    from curate.review import server

    base = tmp_path_factory.mktemp("studio")
    (base / "root" / "images").mkdir(parents=True)
    server.start(server.install(server.home()), base / "data", base / "root", outlives=False)
    try:
        yield base / "data", base / "root"
    finally:
        server.stop(base / "data")


def boxes_of(root: Path, count: int) -> Any:
    """A dataset of ``count`` small images with three proposed boxes each."""
    from curate.dataset import from_records
    from curate.model import Annotation, Category, Image, Info, SourceRecord

    PilImage.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / "one.png")
    records: list[Any] = [Category(name="car")]
    for i in range(count):
        image = f"b/{i:05}"
        if not (root / "images" / f"{i:05}.png").exists():
            os.link(root / "one.png", root / "images" / f"{i:05}.png")
        records.append(Image(id=image, source="b", file_name=f"{i:05}.png", width=64, height=48))
        for k in range(3):
            box = {"x": 1.0 + 7 * k, "y": 2.0 + i % 9, "w": 20.5, "h": 16.0, "area": 328.0}
            proposal = {"status": "proposal", "score": 0.5, "category": "car"}
            records.append(Annotation(id=f"{image}#{k}", image_id=image, **proposal, **box))
    info = Info(name="b", sources={"b": SourceRecord(title="B")}, roots={"b": str(root / "images")})
    return from_records(info, records)


def push_and_loop(data: Path, root: Path, folder: Path, count: int, runs: int) -> dict[str, Figure]:
    from curate import store
    from curate.review import folder as folders
    from curate.review import tasks
    from curate.review.plan import preset

    dataset = boxes_of(root, count)
    store.write(dataset, folder / "ds")
    rule = {"name": "inspect", "kind": "inspect", "shows": "prelabels", "tools": ["box"]}
    for run in range(runs):
        plan = preset("quick", ("p1",), rounds=[rule], seed=count + run)
        review = folders.init(dataset, str(folder / "ds"), plan, folder / f"review{run}")
    given = tasks.material(dataset, plan, review.items)
    bodies = [tasks.task_of(job, given, root) for job in review.state.jobs]
    (folder / "tasks.json").write_text(json.dumps({"config": given.config(0).xml, "tasks": bodies}))
    left = iter(range(runs))
    return side_by_side(
        runs,
        loop=lambda: run_once([sys.executable, "-c", LOOP, data / "server.json", folder / "tasks.json"]),
        ours=lambda: run_once(curate_command("review", "push", f"review{next(left)}", "--data", data), folder),
    )


def test_a_push_costs_little_more_than_bare_requests(
    studio: tuple[Path, Path], tmp_path: Path, report: Callable[..., None]
) -> None:
    """Wall time, since most of it is the server's; the push looks at what is there, and keeps its log."""
    count = int(os.environ.get("CURATE_BENCH_TASKS", "3000"))
    found = push_and_loop(*studio, tmp_path, count, 3)
    ratio = found["ours"].wall / found["loop"].wall
    report(tasks=count, ratio=ratio, push=found["ours"].wall, loop=found["loop"].wall, cpu=found["ours"].cpu)
    assert ratio <= 1.5 * SLACK


def test_an_import_of_masks_is_hardly_more_than_its_json(report: Callable[..., None]) -> None:
    """What is sent is numbers by the million: nothing may look at each of them by itself."""
    from curate.review.api import Api
    from tests.review.wire import answer, told

    runs = list(range(256)) * 40
    region = {"type": "brushlabels", "value": {"format": "rle", "rle": runs}}
    tasks = [{"data": {"key": str(i)}, "predictions": [{"result": [region]}]} for i in range(200)]
    taken: dict[str, list[float]] = {"import": [], "json": []}
    with told(lambda request: answer(201)) as wire:
        api = Api(wire.url, "token")
        api.import_tasks(1, [])
        for _ in range(3):
            for name, do in (("import", lambda: api.import_tasks(1, tasks)), ("json", lambda: json.dumps(tasks))):
                start = time.thread_time()  # the wire reads in a thread of its own
                do()
                taken[name].append(time.thread_time() - start)
    ratio = min(taken["import"]) / min(taken["json"])
    report(ratio=ratio, json=min(taken["json"]))
    assert ratio <= 2 * SLACK


# 2 megapixels, a blob of some thousand pixels of outline; each mask another one.
MASKS = """
import sys, numpy as np
count = int(sys.argv[1])
y, x = np.mgrid[:1024, :2048]
angle, radius = np.arctan2(y - 500, x - 1000), np.hypot(y - 500, x - 1000)
shapes = [radius < 200 + 20 * k + 30 * np.sin(angle * (5 + k)) for k in range(10)]
"""
OURS = """
from curate import brush
from curate.geometry import rle_area, rle_bounds, rle_from_mask
from curate.model import Annotation
from curate.label_studio.regions import Frame, regions_of
from curate.review.shapes import read_answer
frame = Frame("i", 2048, 1024, {"car": "car"}, {"mask": "mask"})
rles = [rle_from_mask(shape) for shape in shapes]
def row(rle):
    x, y, w, h = rle_bounds(rle)
    box = dict(x=x, y=y, w=w, h=h, area=rle_area(rle))
    return Annotation(id="i#0", image_id="i", category="car", segmentation=rle, **box)
rows = [row(rle) for rle in rles]
"""
# The mask of a row as it goes to the server and comes back, changed, as another row.
THERE_AND_BACK = """
for i in range(count):
    (region,) = regions_of([rows[i % 10]], frame)
    answer = read_answer([region], frame, origin="human:p", round=1, prefix="r")
    assert answer.objects[0].row.segmentation == rles[i % 10]
"""
CODEC = """
for i in range(count):
    assert brush.decode(brush.encode(rles[i % 10]), 2048, 1024) == rles[i % 10]
"""
# The server's own codec, by its own Python; masks in, masks out.
THEIRS = """
from label_studio_sdk.converter.brush import decode_rle, mask2rle
for i in range(count):
    back = decode_rle(mask2rle(shapes[i % 10].astype(np.uint8) * 255)).reshape(1024, 2048, 4)[..., 3] > 0
    assert back[500, 1000]
"""


def test_masks_cost_little_more_than_their_code(report: Callable[..., None]) -> None:
    count = 300

    def run(*parts: str, python: object = sys.executable) -> Figure:
        return run_once([python, "-c", MASKS + "".join(parts), count])

    from curate.review import server

    theirs = server.install(server.home()).parent / "python"
    found = side_by_side(
        3,
        start=lambda: run(OURS),
        whole=lambda: run(OURS, THERE_AND_BACK),
        codec=lambda: run(OURS, CODEC),
        their_start=lambda: run(THEIRS.partition("for ")[0], python=theirs),
        theirs=lambda: run(THEIRS, python=theirs),
    )
    each = {name: 1000 * (found[name].cpu - found["start"].cpu) / count for name in ("whole", "codec")}
    sdk = 1000 * (found["theirs"].cpu - found["their_start"].cpu) / count
    report(ms_each=each["whole"], ms_codec=each["codec"], ms_sdk=sdk, ratio=each["whole"] / each["codec"])
    assert each["whole"] <= 2 * SLACK * each["codec"]
    assert each["codec"] < sdk
