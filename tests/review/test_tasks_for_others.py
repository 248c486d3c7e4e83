"""``export labelstudio`` at the real server: config and tasks are taken as they are, and come back the same."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.dataset import from_records
from curate.export import labelstudio
from curate.geometry import rle_from_mask
from curate.model import Annotation, Record
from tests.review.conftest import Studio, toy


@pytest.mark.parametrize(("shape", "linked"), [(None, False), ("polygon", True), ("brush", False), ("box", False)])
def test_a_server_takes_the_tasks(studio: Studio, tmp_path: Path, shape: str | None, linked: bool) -> None:
    """Also where the folder of the images is a link in the server's."""
    folder = studio.root / "pics ü#1"
    if linked:
        link = studio.root / "linked"
        link.symlink_to(folder)
        folder = link
    y, x = np.ogrid[:48, :64]
    disk = rle_from_mask((x - 30) ** 2 + (y - 20) ** 2 < 100)
    made = toy(studio.root, 4)
    more: list[Record] = [
        Annotation(
            id=f"toy/{i:03}#m",
            image_id=f"toy/{i:03}",
            category="traffic sign",
            x=21,
            y=11,
            w=19,
            h=19,
            segmentation=disk,
            status="proposal",
            score=0.25,
            origin="model:sam",
        )
        for i in range(3)
    ]
    table = from_records(made.info, more).table("annotations")
    dataset = made.replace(annotations=pa.concat_tables([made.table("annotations"), table]))
    roots = {"toy": str(folder)}
    counts = labelstudio.write(dataset, tmp_path / "out", shape=shape, document_root=studio.root, roots=roots)
    assert (counts["images"], counts["files"]) == (4, 1)
    hand = studio.hand()
    config = (tmp_path / "out" / "labelling_config.xml").read_text("utf-8")
    project = hand.send("POST", "/api/projects/", {"title": f"others {shape}", "label_config": config})["id"]
    tasks = json.loads((tmp_path / "out" / "tasks-00001.json").read_bytes())
    answer = hand.send("POST", f"/api/projects/{project}/import", tasks)  # it checks predictions against the config
    assert (answer["task_count"], answer["prediction_count"]) == (4, counts["predictions"])
    storage = {"project": project, "path": str(folder), "title": "pictures", "use_blob_urls": True}
    hand.send("POST", "/api/storages/localfiles", storage)
    there = {task["data"]["key"]: task for task in hand.pages("/api/tasks", project=project, fields="all")}
    assert len(there) == 4
    for task in tasks:
        back = there[task["data"]["key"]]
        sent = [(one["model_version"], one.get("score"), one["result"]) for one in task.get("predictions", [])]
        assert [(one["model_version"], one["score"], one["result"]) for one in back["predictions"]] == sent
        request = urllib.request.Request(studio.server.url + task["data"]["image"])
        request.add_header("Authorization", f"Token {studio.server.token}")
        with urllib.request.urlopen(request, timeout=60) as picture:
            assert picture.read() == (studio.root / "pics ü#1" / f"{task['data']['key'][-3:]}.png").read_bytes()
