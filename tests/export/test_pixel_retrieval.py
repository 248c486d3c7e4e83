"""PROxford and PRParis: lists of pairs that numpy reads, outlines that give the same pixels, imported back equal."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import pixel_retrieval
from curate.geometry import rle_from_mask
from curate.importing import import_source
from curate.model import Annotation, Image, Info, Judgement, Member, Query

Tree = Callable[[str], Path]
LISTS = ("oxford_pair2labelpath.npy", "paris_pair2labelpath.npy")


def pairs(path: Path) -> dict[str, str]:
    """As upstream's programs read a list."""
    held: dict[str, str] = np.load(path, allow_pickle=True).item()
    return held


def points(path: Path) -> list[Any]:
    return [shape["points"] for shape in json.loads(path.read_text())["shapes"]]


def small(*annotations: Annotation) -> Dataset:
    images = [Image(id=f"s/{key}", source="s", file_name=f"{key}.jpg", width=20, height=16) for key in "qab"]
    return from_records(
        Info(name="cups"),
        [
            *images,
            *(Member(image_id=f"s/{key}", role="gallery") for key in "ab"),
            Query(id="one", kind="box", image_id="s/q", x=0, y=0, w=5, h=5),
            Judgement(query_id="one", image_id="s/a", label="easy", annotation_id="s/a#0"),
            Judgement(query_id="one", image_id="s/b", label="hard", annotation_id="s/b#0"),
            *annotations,
        ],
    )


def test_import_export_import(tree: Tree, tmp_path: Path) -> None:
    raw = tree("pixel_retrieval")
    first = import_source("pixel_retrieval", raw)
    counts = pixel_retrieval.write(first, tmp_path / "out")
    for part in ("roxford5k", "rparis6k"):
        inside = f"revisitop/data/{part}/jpg"
        shutil.copytree(raw / inside, tmp_path / "out" / inside)
    assert import_source("pixel_retrieval", tmp_path / "out").fingerprints() == first.fingerprints()
    assert counts == {
        "sets": 2,
        "images": 6,
        "queries": 4,
        "pairs": 7,
        "label_files": 5,
        "positive_pairs_without_outline": 1,
        "filled_holes": 0,
        "left_out_queries_without_image": 0,
    }


def test_the_golden_benchmark_comes_back(shared: Path, tmp_path: Path) -> None:
    raw = shared / "golden/pixel_retrieval/case_1/pixel_retrieval_benchmarks"
    pixel_retrieval.write(import_source("pixel_retrieval", raw), tmp_path / "out")
    for name, part in zip(LISTS, ("roxford5k", "rparis6k"), strict=True):
        before, after = pairs(raw / name), pairs(tmp_path / "out" / name)
        assert after == before
        assert len(after) > 100
        for file in set(after.values()):
            assert points(tmp_path / "out" / file) == points(raw / file)
        gnd = f"revisitop/data/{part}/gnd_{part}.pkl"
        old, new = (pickle.loads((root / gnd).read_bytes()) for root in (raw, tmp_path / "out"))
        assert (new["imlist"], new["qimlist"]) == (old["imlist"], old["qimlist"])
        for ours, theirs in zip(new["gnd"], old["gnd"], strict=True):
            assert ours["bbx"] == [float(side) for side in theirs["bbx"]]
            assert all(ours[label] == sorted(theirs[label]) for label in ("easy", "hard", "junk"))


def test_numpy_would_write_the_same_array(shared: Path) -> None:
    """The frame around the pickled dictionary is numpy's own, its memo aside."""
    held = {"0_0": "labels/a.json", "1_2": "labels/b.json"}
    ours = pixel_retrieval._npy(held)
    real = (shared / "golden/pixel_retrieval/case_1/pixel_retrieval_benchmarks" / LISTS[0]).read_bytes()
    assert ours[:128] == real[:128]  # the header
    array = pickle.loads(ours[128:])
    assert (array.shape, array.dtype, array.item()) == ((), np.dtype(object), held)
    assert np.array_equal(array, pickle.loads(pickle.dumps(np.array(held, dtype=object), 3)))


@pytest.mark.parametrize("case", ["blob", "pixel", "line", "two parts", "hole"])
def test_a_mask_is_traced_to_the_pixel(tmp_path: Path, case: str) -> None:
    import cv2

    mask = np.zeros((16, 20), np.uint8)
    if case == "pixel":
        mask[3, 4] = 1
    elif case == "line":
        mask[3, 4:9] = 1
    else:
        mask[2:9, 3:12] = 1
        mask[5:14, 8:10] = 1
        mask[4, 14:18] = case == "two parts"
        mask[4:6, 5:7] = case != "hole"
    row = Annotation(id="s/a#0", image_id="s/a", segmentation=rle_from_mask(mask))
    counts = pixel_retrieval.write(small(row), tmp_path / "out")
    canvas = np.zeros_like(mask)
    for ring in points(tmp_path / "out/labels/cups/a.json"):  # as upstream's program fills them
        cv2.fillPoly(canvas, [np.array(ring).astype(int)], 1)
    if case == "hole":
        mask[4:6, 5:7] = 1
    assert np.array_equal(canvas, mask)
    assert counts["filled_holes"] == (case == "hole")
    assert (counts["pairs"], counts["positive_pairs_without_outline"]) == (1, 1)


def test_a_set_of_its_own(tmp_path: Path) -> None:
    ring = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0]
    hole = [5.0, 2.0, 6.0, 2.0, 6.0, 3.0]
    rows = [
        Annotation(id="s/a#0", image_id="s/a", polygons=[[ring, hole], [ring]], source_label="cup"),
        Annotation(
            id="s/b#0", image_id="s/b", polygons=[[ring]], attributes={"pixel_retrieval": {"label": "../x.json"}}
        ),
    ]
    counts = pixel_retrieval.write(small(*rows), tmp_path / "out")
    assert pairs(tmp_path / "out/cups_pair2labelpath.npy") == {"0_0": "labels/cups/a.json", "0_1": "labels/cups/b.json"}
    label = json.loads((tmp_path / "out/labels/cups/a.json").read_text())
    assert [shape["points"] for shape in label["shapes"]] == [[[1, 1], [9, 1], [9, 9]]] * 2
    assert (label["imagePath"], label["imageWidth"], label["imageHeight"]) == ("a.jpg", 20, 16)
    assert counts["filled_holes"] == 1
    gnd = pickle.loads((tmp_path / "out/revisitop/data/cups/gnd_cups.pkl").read_bytes())
    assert gnd["gnd"] == [{"bbx": [0, 0, 5, 5], "easy": [0], "hard": [1], "junk": []}]


def test_bad_datasets(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="bare: has no query with an image"):
        pixel_retrieval.write(from_records(Info(name="bare"), []), tmp_path / "out")
    with pytest.raises(UsageError, match="--compat upstream: is no variant"):
        pixel_retrieval.write(small(), tmp_path / "out", compat="upstream")
    assert not any(tmp_path.iterdir())


def test_by_command(tree: Tree, tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(import_source("pixel_retrieval", tree("pixel_retrieval")), tmp_path / "ds")
    done = curate("export", "pixel_retrieval", "ds", "-o", "out")
    assert done.stdout.startswith("out: 2 sets, 6 images, 4 queries, 7 pairs, 5 label files, 1 positive pairs without")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    curate("export", "pixel_retrieval", "ds", "-o", "out", "--overwrite")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    (tmp_path / "out/labels/mine.json").write_text("{}")
    refused = curate("export", "pixel_retrieval", "ds", "-o", "out", "--overwrite", code=2).stderr
    assert "is no output of this command" in refused
