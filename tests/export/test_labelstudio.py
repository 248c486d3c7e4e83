"""Tasks for Label Studio: what is shown of which annotation, where the pictures are, and what is left out and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.dataset import Dataset, from_records
from curate.errors import ReviewError, UsageError
from curate.export import labelstudio
from curate.geometry import rle_from_mask
from curate.model import Annotation, Category, Image, Info, Rle, SourceRecord
from curate.verify import verify

MASK = np.zeros((40, 60), bool)
MASK[10:30, 20:50] = True


def row(key: str, image: str = "s/b", **more: Any) -> Annotation:
    more = {"category": "car", "x": 20, "y": 10, "w": 30, "h": 20, **more}
    return Annotation(id=f"{image}#{key}", image_id=image, **more)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    facts = {"prelabel": {"predicted_iou": 0.75}}
    records: list[Any] = [
        Category(name="car", supercategory="vehicle"),
        Category(name="unused", role="other"),
        Category(name="rare"),
        Image(id="s/a", source="s", file_name="dir ü/a#1.png", width=60, height=40),
        Image(id="s/b", source="s", file_name="b.png", width=60, height=40),
        Image(id="s/c", source="s", file_name="c.png"),
        Image(id="s/d", source="s"),
        row("0"),
        row(
            "0.m",
            parent_id="s/b#0",
            status="proposal",
            segmentation=rle_from_mask(MASK),
            attributes=facts,
            origin="model:sam",
        ),
        row("1", x=1.5, y=2, w=3, h=4, category=None, score=0.5, **of("owlv2")),
        row("2", x=None, y=None, w=None, h=None, category="rare"),
        row("3", status="rejected"),
        row("0", "s/c"),
    ]
    return from_records(
        Info(name="d", sources={"s": SourceRecord(title="S")}, roots={"s": str(tmp_path / "in" / "s")}), records
    )


def of(model: str) -> dict[str, Any]:
    return {"status": "proposal", "origin": f"model:{model}"}


def tasks_of(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("tasks-*.json"))
    return {task["data"]["key"]: task for file in files for task in json.loads(file.read_bytes())}


def test_what_is_shown(dataset: Dataset, tmp_path: Path) -> None:
    counts = labelstudio.write(dataset, tmp_path / "out")
    assert counts == {
        "images": 3,
        "predictions": 1,
        "annotations": 2,
        "files": 1,
        "annotations_that_a_proposal_refines": 1,
        "left_out_annotations_of_the_whole_image": 1,
        "left_out_annotations_of_images_of_unknown_size": 1,
        "left_out_images_without_file": 1,
    }
    found = tasks_of(tmp_path / "out")
    assert found["s/a"] == {
        "data": {"image": "/data/local-files/?d=s/dir%20%C3%BC/a%231.png", "key": "s/a", "title": "s/a"}
    }
    (prediction,) = found["s/b"]["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("model:owlv2, model:sam", 0.5)
    mask, box = prediction["result"]  # the box that the mask refines is not shown beside it
    assert (mask["type"], mask["value"]["brushlabels"]) == ("brushlabels", ["car"])
    assert (box["type"], box["value"]["rectanglelabels"]) == ("rectanglelabels", ["object"])
    assert [box["value"][name] for name in ("x", "y", "width", "height")] == [2.5, 5, 5, 10]
    config = (tmp_path / "out" / "labelling_config.xml").read_text("utf-8")
    assert [name in config for name in ('"car"', '"rare"', '"object"', '"unused"')] == [True, True, True, False]


@pytest.mark.parametrize(
    ("shape", "types", "left"),
    [
        ("box", ["rectanglelabels", "rectanglelabels"], 0),
        ("polygon", ["polygonlabels"], 1),
        ("brush", ["brushlabels"], 1),
    ],
)
def test_all_of_one_shape(dataset: Dataset, tmp_path: Path, shape: str, types: list[str], left: int) -> None:
    counts = labelstudio.write(dataset, tmp_path / "out", shape=shape)
    assert counts.get("left_out_annotations_without_mask", 0) == left
    result = tasks_of(tmp_path / "out")["s/b"]["predictions"][0]["result"]
    assert [region["type"] for region in result] == types
    tags = {"box": "RectangleLabels", "polygon": "PolygonLabels", "brush": "BrushLabels"}
    config = (tmp_path / "out" / "labelling_config.xml").read_text("utf-8")
    assert [tag for tag in tags.values() if f"<{tag}" in config] == [tags[shape]]
    if shape == "polygon":
        points = {(60 * x / 100, 40 * y / 100) for x, y in result[0]["value"]["points"]}
        assert {(round(x, 9), round(y, 9)) for x, y in points} == {(20, 10), (20, 30), (50, 10), (50, 30)}


def test_a_mask_of_another_frame_leaves_its_box(tmp_path: Path) -> None:
    image = Image(id="s/b", source="s", file_name="b", width=60, height=40)
    whole = from_records(Info(name="d"), [image, row("9", segmentation=rle_from_mask(np.ones((60, 40))))])
    assert labelstudio.write(whole, tmp_path / "out")["left_out_masks_of_another_frame"] == 1
    (region,) = tasks_of(tmp_path / "out")["s/b"]["predictions"][0]["result"]
    assert region["type"] == "rectanglelabels"
    assert labelstudio.write(whole, tmp_path / "brush", shape="brush")["left_out_annotations_without_mask"] == 1


def test_only_truth(dataset: Dataset, tmp_path: Path) -> None:
    labelstudio.write(dataset, tmp_path / "out", status=("truth",))
    (region,) = tasks_of(tmp_path / "out")["s/b"]["predictions"][0]["result"]
    assert region["type"] == "rectanglelabels"
    assert "score" not in tasks_of(tmp_path / "out")["s/b"]["predictions"][0]


def test_where_the_pictures_are(dataset: Dataset, tmp_path: Path) -> None:
    labelstudio.write(dataset, tmp_path / "web", key_prefix="https://example.org/")
    assert tasks_of(tmp_path / "web")["s/b"]["data"]["image"] == "https://example.org/s/b.png"
    labelstudio.write(dataset, tmp_path / "bucket", key_prefix="s3://rare/")
    assert tasks_of(tmp_path / "bucket")["s/a"]["data"]["image"] == "s3://rare/s/dir ü/a#1.png"
    labelstudio.write(dataset, tmp_path / "disk", document_root=tmp_path)
    assert tasks_of(tmp_path / "disk")["s/b"]["data"]["image"] == "/data/local-files/?d=in/s/b.png"
    labelstudio.write(dataset, tmp_path / "other", document_root=tmp_path, roots={"s": str(tmp_path / "else")})
    assert tasks_of(tmp_path / "other")["s/b"]["data"]["image"] == "/data/local-files/?d=else/b.png"
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "s").symlink_to(tmp_path / "in" / "s")  # the server follows it
    labelstudio.write(
        dataset, tmp_path / "link", document_root=tmp_path / "links", roots={"s": str(tmp_path / "links/s")}
    )
    assert tasks_of(tmp_path / "link")["s/b"]["data"]["image"] == "/data/local-files/?d=s/b.png"
    (tmp_path / "away").mkdir()
    with pytest.raises(ReviewError, match=r"lies in no folder below .*away; give another --document-root"):
        labelstudio.write(dataset, tmp_path / "x", document_root=tmp_path / "away")
    with pytest.raises(ReviewError, match=r"lies directly in .*; expected a folder below it"):
        labelstudio.write(dataset, tmp_path / "x", document_root=tmp_path, roots={"s": str(tmp_path)})
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        labelstudio.write(dataset, tmp_path / "x", document_root=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"the folder of s is not known; give --root s=FOLDER"):
        bare = from_records(Info(name="d"), [Image(id="s/b", source="s", file_name="b.png"), Category(name="car")])
        labelstudio.write(bare, tmp_path / "x", document_root=tmp_path)
    assert not (tmp_path / "x").exists()


def test_many_tasks_go_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Image(id=f"s/{i:04}", source="s", file_name=f"{i}.png", width=60, height=40) for i in range(2500)]
    whole = from_records(Info(name="d"), [Category(name="car"), *images, row("0", "s/2400")])
    assert labelstudio.write(whole, tmp_path / "out")["files"] == 3
    found = [json.loads(file.read_bytes()) for file in sorted((tmp_path / "out").glob("tasks-*.json"))]
    assert [len(tasks) for tasks in found] == [1000, 1000, 500]
    assert [task["data"]["key"] for tasks in found for task in tasks] == [image.id for image in images]
    assert [i for i, task in enumerate(found[2]) if "predictions" in task] == [400]
    monkeypatch.setattr(labelstudio, "BYTES", 10_000)
    labelstudio.write(whole, tmp_path / "small")
    sizes = [file.stat().st_size for file in (tmp_path / "small").glob("tasks-*.json")]
    assert max(sizes) < 11_000
    assert len(tasks_of(tmp_path / "small")) == 2500


def test_what_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    for options, says in (
        ({"compat": "upstream"}, "is no variant of labelstudio"),
        ({"status": ("rejected",)}, "is not shown here; expected truth or proposal"),
        ({"shape": "circle"}, "--shape circle: is unknown; expected one of box, polygon, brush"),
        ({"key_prefix": "a", "document_root": tmp_path}, "is given together with --document-root"),
    ):
        with pytest.raises(UsageError, match=says):
            labelstudio.write(dataset, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_without_classes_things_are_objects(tmp_path: Path) -> None:
    labelstudio.write(from_records(Info(name="d"), []), tmp_path / "out")
    assert '<Label value="object"' in (tmp_path / "out" / "labelling_config.xml").read_text("utf-8")


FULL = [10.0, 10, 50, 10, 50, 30, 10, 30]
ODD: dict[str, dict[str, Any]] = {
    "empty": {"segmentation": rle_from_mask(np.zeros((40, 60)))},
    "malformed": {"segmentation": Rle((40, 60), "r")},
    "short": {"segmentation": Rle((40, 60), "01")},
    "nan": {"polygons": [[[10.0, 10, float("nan"), 10, 50, 30]]]},
    "far": {"polygons": [[FULL, [1e12, 0, 5, 5, 6, 6]]]},
    "two points": {"polygons": [[[10.0, 10, 50, 10]]]},
    "no rings": {"polygons": [[]]},
    "hole is all": {"polygons": [[FULL, FULL]]},
    "outside": {"polygons": [[[70.0, 10, 90, 10, 90, 30]]]},
}


@pytest.mark.parametrize("shape", [None, "box", "polygon", "brush"])
@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_drawn_leaves_its_box_and_the_others(tmp_path: Path, name: str, shape: str | None) -> None:
    image = Image(id="s/b", source="s", file_name="b", width=60, height=40)
    good = row("1", segmentation=rle_from_mask(MASK))
    whole = from_records(Info(name="d"), [image, row("0", **ODD[name]), good])
    counts = labelstudio.write(whole, tmp_path / "out", shape=shape)
    assert sum(number for what, number in counts.items() if "malformed" in what) == 1
    types = [region["type"] for region in tasks_of(tmp_path / "out")["s/b"]["predictions"][0]["result"]]
    assert (
        types
        == {
            None: ["rectanglelabels", "brushlabels"],
            "box": ["rectanglelabels"] * 2,
            "polygon": ["polygonlabels"],
            "brush": ["brushlabels"],
        }[shape]
    )


@pytest.mark.parametrize("shape", [None, "polygon", "brush"])
def test_polygons_that_cross_themselves(tmp_path: Path, shape: str | None) -> None:
    image = Image(id="s/b", source="s", file_name="b", width=60, height=40)
    bow = [[10.0, 10, 50, 30, 50, 10, 10, 30], [15, 18, 20, 18, 20, 22, 15, 22]]
    out = [FULL, [40.0, 20, 58, 20, 58, 38, 40, 38]]
    whole = from_records(Info(name="d"), [image, row("0", polygons=[bow]), row("1", polygons=[out])])
    assert labelstudio.write(whole, tmp_path / "out", shape=shape)["annotations"] == 2


def test_truth_gives_way_only_to_what_is_shown(tmp_path: Path) -> None:
    image = Image(id="s/b", source="s", file_name="b", width=60, height=40)
    masked = row("0", segmentation=rle_from_mask(MASK))
    whole = from_records(Info(name="d"), [image, masked, row("0.d", parent_id="s/b#0", **of("owlv2"))])
    assert labelstudio.write(whole, tmp_path / "all")["annotations_that_a_proposal_refines"] == 1
    counts = labelstudio.write(whole, tmp_path / "brush", shape="brush")
    assert (counts["annotations"], counts["left_out_annotations_without_mask"]) == (1, 1)


def test_verify_reads_the_tasks_and_names_them_in_the_folder(dataset: Dataset, tmp_path: Path) -> None:
    labelstudio.write(dataset, tmp_path / "out")
    assert verify(tmp_path / "out" / "tasks-00001.json").verdict == "no errors"
    (found,) = verify(tmp_path / "out").findings
    assert "is an export to labelstudio that holds tasks-00001.json (Label Studio's JSON); expected" in found.message
