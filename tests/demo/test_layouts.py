"""The drawn downloads keep to the layouts of their sources, and say what the scenes show."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from pycocotools import mask as coco_mask

from curate import import_source
from curate.demo import layouts

KITTI_TYPES = {"Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare"}
DRAW = {"kitti": layouts.kitti, "cityscapes": layouts.cityscapes, "voxdet": layouts.voxdet}


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, bytes]]:
    return {name: dict(draw()) for name, draw in DRAW.items()}


def opened(content: bytes) -> PilImage.Image:
    return PilImage.open(io.BytesIO(content))


@pytest.mark.parametrize("name", DRAW)
def test_the_same_files_every_time(name: str, files: dict[str, dict[str, bytes]]) -> None:
    few = {"kitti": (3, 1), "cityscapes": (2, 1, 1), "voxdet": (1, 5, 2)}[name]
    again = list(DRAW[name](*few))
    assert again == list(DRAW[name](*few))
    assert len({path for path, _ in again}) == len(again)


def test_kitti(files: dict[str, dict[str, bytes]]) -> None:
    tree = files["kitti"]
    labels = {path for path in tree if "/label_2/" in path}
    assert labels == {f"training/label_2/{i:06d}.txt" for i in range(20)}
    assert {path for path in tree if "/testing/" in f"/{path}"} == {f"testing/image_2/{i:06d}.png" for i in range(4)}
    assert tree["training/label_2/000005.txt"] == b""
    sizes, kinds = set(), set()
    for path in labels:
        width, height = opened(tree[path.replace("label_2", "image_2").replace("txt", "png")]).size
        sizes.add((width, height))
        for line in tree[path].decode("ascii").splitlines():
            fields = line.split(" ")
            kinds.add(fields[0])
            left, top, right, bottom = map(float, fields[4:8])
            assert len(fields) == 15
            # Right and bottom name the last pixel where an object is cut by the frame.
            assert 0 <= left < right <= width - 1 and 0 <= top < bottom <= height - 1
            if fields[0] == "DontCare":
                assert fields[1:4] == ["-1", "-1", "-10"] and fields[8:] == ["-1"] * 3 + ["-1000"] * 3 + ["-10"]
                continue
            truncated, occluded, alpha = float(fields[1]), int(fields[2]), float(fields[3])
            x, _, z, turn = map(float, fields[11:])
            assert 0 <= truncated <= 1 and occluded in (0, 1, 2) and min(map(float, fields[8:11])) > 0 and z > 0
            # The observation angle is the turn less the direction of sight.
            difference = (turn - math.atan2(x, z) - alpha + math.pi) % (2 * math.pi) - math.pi
            assert abs(difference) < 0.02
            assert truncated == 0 or left == 0 or top == 0 or right == width - 1 or bottom == height - 1
    assert len(sizes) > 2 and kinds <= KITTI_TYPES and kinds >= {"Car", "Pedestrian", "Cyclist", "DontCare"}


def test_cityscapes(files: dict[str, dict[str, bytes]]) -> None:
    tree = files["cityscapes"]
    frames = [path for path in tree if path.startswith("leftImg8bit/")]
    assert [len([path for path in frames if f"/{split}/" in path]) for split in ("train", "val", "test")] == [10, 4, 2]
    labels, deleted = set(), 0
    for path in frames:
        match = re.fullmatch(r"leftImg8bit/(\w+)/(\w+)/(\2_\d{6}_\d{6})_leftImg8bit\.png", path)
        assert match
        split, city, key = match.groups()
        frame = json.loads(tree[f"gtFine/{split}/{city}/{key}_gtFine_polygons.json"])
        width, height = opened(tree[path]).size
        assert (frame["imgWidth"], frame["imgHeight"]) == (width, height)
        found = [entry["label"] for entry in frame["objects"]]
        assert (split == "test") == (found == ["ego vehicle"])
        labels.update(found)
        deleted += sum(entry.get("deleted", 0) for entry in frame["objects"])
        for entry in frame["objects"]:
            points = entry["polygon"]
            assert len(points) >= 3 and points[0] != points[-1]
            assert all(0 <= x < width and 0 <= y < height and type(x) is type(y) is int for x, y in points)
        persons = tree.get(f"gtBboxCityPersons/{split}/{city}/{key}_gtBboxCityPersons.json")
        assert (persons is not None) == (split == "train")
        if persons:
            # Numbered per class in the order of the polygon file, as the development kit numbers instances.
            numbers = [row["instanceId"] for row in json.loads(persons)["objects"] if row["label"] != "person group"]
            assert numbers == [
                (24 if label == "person" else 25) * 1000 + found[:i].count(label)
                for i, label in enumerate(found)
                if label in ("person", "rider")
            ]
    assert labels >= {"sky", "road", "building", "car", "person", "rider", "bicycle", "ego vehicle"}
    assert {label for label in labels if label.endswith("group")} and deleted == 3


def test_voxdet(files: dict[str, dict[str, bytes]]) -> None:
    tree = files["voxdet"]
    views = [path for path in tree if "/rgb/" in path and "/test/" not in path]
    assert len(views) == (8 + 3) * 4
    for path in views:
        picture, mask = opened(tree[path]), np.asarray(opened(tree[path.replace("/rgb/", "/mask/")]))
        assert mask.shape == (*picture.size[::-1], 3) and set(np.unique(mask)) == {0, 255}
        assert (mask == mask[..., :1]).all()
        ys, xs = np.nonzero(mask[..., 0])
        # A view passes the filter for small objects, and shows the object whole.
        assert np.ptp(xs) * np.ptp(ys) < 0.15 * picture.width * picture.height
        assert xs.min() > 0 and xs.max() < picture.width - 1 and ys.min() > 0 and ys.max() < picture.height - 1
    used = {}
    for split in ("train", "val"):
        content = json.loads(tree[f"OWID/P2/{split}_annotations.json"])
        images = {image["id"]: image for image in content["images"]}
        assert sorted(images) == list(range(len(images)))  # counted anew in each file
        assert [category["id"] for category in content["categories"]] == list(range(8))
        used[split] = {row["category_id"] for row in content["annotations"]}
        for row in content["annotations"]:
            image = images[row["image_id"]]
            size = [image["height"], image["width"]]
            assert opened(tree[f"OWID/P2/{image['file_name']}"]).size == (image["width"], image["height"])
            mask = coco_mask.decode(coco_mask.frPyObjects(row["segmentation"], *size)) > 0
            ys, xs = np.nonzero(mask)
            x, y, w, h = row["bbox"]
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x, y, x + w, y + h)
            assert row["segmentation"]["size"] == size and row["area"] == mask.sum() and row["iscrowd"] == 0
            assert row["num_ins"] == len(row["neg_box"]) + 1
    assert used == {"train": set(range(6)), "val": {6, 7}}
    content = json.loads(tree["RoboTools/test/scene_gt_coco_all.json"])
    for i, (image, row) in enumerate(zip(content["images"], content["annotations"], strict=True), 1):
        assert image["id"] == row["id"] == row["image_id"] == i and "segmentation" not in row
        assert f"RoboTools/test/{image['file_name']}" in tree and row["area"] == row["bbox"][2] * row["bbox"][3]
    names = [image["file_name"] for image in content["images"]]
    assert len(set(names)) < len(names)


def test_what_is_labelled_is_there_to_be_seen(files: dict[str, dict[str, bytes]]) -> None:
    """An OWID object looks like its views: its colours inside the mask are those of the template."""
    tree = files["voxdet"]

    def hue(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Share of each of 12 hues among the strongly coloured pixels."""
        hsv = np.asarray(PilImage.fromarray(rgb).convert("HSV"))[mask]
        strong = hsv[hsv[:, 1] > 110]
        return np.bincount(strong[:, 0] // 22, minlength=12) / max(len(strong), 1)

    views = []
    for i in range(8):
        mask = np.asarray(opened(tree[f"OWID/P1/{i}/mask/000000.png"]))[..., 0] > 0
        views.append(hue(np.asarray(opened(tree[f"OWID/P1/{i}/rgb/000000.png"])), mask))
    right = total = 0
    content = json.loads(tree["OWID/P2/train_annotations.json"])
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for row in content["annotations"]:
        if row["area"] > 600:
            scene = np.asarray(opened(tree[f"OWID/P2/{names[row['image_id']]}"]))
            mask = coco_mask.decode(coco_mask.frPyObjects(row["segmentation"], *row["segmentation"]["size"])) > 0
            distances = [np.abs(hue(scene, mask) - view).sum() for view in views]
            right += int(np.argmin(distances)) == row["category_id"]
            total += 1
    assert total > 20 and right / total > 0.7


@pytest.mark.parametrize("name", DRAW)
def test_imports_find_nothing_amiss(name: str, files: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    found = layouts.write(tmp_path / name, files[name].items())
    assert found == {"files": len(files[name]), "bytes": sum(map(len, files[name].values()))}
    dataset = import_source(name, tmp_path / name)
    assert dataset.problems == ()
    pictures = [path for path in files[name] if path.endswith((".png", ".jpg")) and "/mask/" not in path]
    assert dataset.table("images").num_rows == len(pictures)
