"""IDD: the rules and oddities of Segmentation and Detection, one by one, and the samples."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate import sources
from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.sources import idd
from tests.sources.looking import annotations, box, edit, images, mask

Tree = Callable[..., Path]
FIRST = "IDD_Segmentation/gtFine/train/0/005506_gtFine_polygons.json"
FAR = "frontFar/BLR-2018-03-22_17-39-26_2_frontFar"
HIGH = "highquality_16k/BLR-2018-04-16_14-27-57_2"
# The page's list: labels with ids 6 to 18.
THINGS = {"person", "animal", "rider", "motorcycle", "bicycle", "autorickshaw", "car", "truck", "bus", "caravan"}
THINGS |= {"trailer", "train", "vehicle fallback"}
# The page's fifteen classes of Detection.
DETECTED = THINGS | {"traffic light", "traffic sign"}


def rows(dataset: Dataset, image: str) -> list[dict[str, Any]]:
    return [row for row in annotations(dataset) if row["image_id"] == f"idd/{image}"]


def facts(row: dict[str, Any]) -> dict[str, Any]:
    return row["attributes"]["idd"]


def coverage(dataset: Dataset, scope: str) -> dict[str, str]:
    table = dataset.table("coverage").to_pylist()
    return {row["category"]: row["state"] for row in table if row["scope"] == f"idd/{scope}"}


def problems(dataset: Dataset, code: str) -> list[Any]:
    return [problem for problem in dataset.problems if problem.code == code]


def draw(path: Path, size: tuple[int, int] = (64, 36)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path)


def visible(found: list[dict[str, Any]], shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of instances, painted one over the other in the order of the rows."""
    canvas = np.zeros(shape, int)
    for row in found:
        canvas[mask(row)] = facts(row).get("instanceId", 0)
    return canvas


# The samples, against the values of their README


def test_handmade_sample(shared: Path) -> None:
    dataset = import_source("idd", shared / "samples/idd/handmade")
    assert [(row["category"], box(row), row["iscrowd"]) for row in rows(dataset, "train/0/005506")] == [
        ("autorickshaw", [10, 40, 40, 30], False),
        ("vehicle fallback", [60, 40, 30, 20], False),
        ("person", [100, 50, 10, 30], False),
        ("animal", [120, 60, 20, 15], False),
        ("truck", [160, 30, 30, 20], True),
        ("rider", [70, 55, 8, 20], False),
        ("motorcycle", [66, 65, 16, 14], False),
        ("car", [185, 90, 7, 18], False),
    ]
    assert [row["category"] for row in rows(dataset, "train/1/005506")] == ["car"]
    assert rows(dataset, "val/119/035471") == rows(dataset, "test/103/001262") == []
    assert [row["category"] for row in rows(dataset, "val/555/frame75719")] == ["bus"]
    assert images(dataset)["val/555/frame75719"]["file_name"].startswith("idd20kII/")
    assert [(row["category"], box(row)) for row in rows(dataset, f"detection/{FAR}/000006_r")] == [
        ("car", [20, 40, 39, 29]),
        ("autorickshaw", [100, 50, 40, 30]),
        ("vehicle fallback", [0, 0, 10, 10]),
    ]
    assert [row["category"] for row in rows(dataset, f"detection/{HIGH}/0000006")] == ["traffic sign"]
    assert len(images(dataset)) == 9
    assert not dataset.problems


def test_the_sample_painted_in_order_is_its_instance_raster(shared: Path) -> None:
    root = shared / "samples/idd/handmade"
    dataset = import_source("idd", root)
    path = root / FIRST.replace("polygons.json", "instanceids.png")
    raster = np.asarray(Image.open(path))
    seen = visible(rows(dataset, "train/0/005506"), raster.shape)
    instances = np.where((raster >= 1000) | (raster == 13), raster, 0)  # 13: the group of trucks
    assert np.array_equal(seen, instances)
    rider = np.argwhere(seen == 8000)
    assert [*rider.min(axis=0)[::-1], *np.ptp(rider, axis=0)[::-1] + 1] == [70, 55, 8, 10]


def test_real_boxes_of_the_weakly_supervised_set(shared: Path, tmp_path: Path) -> None:
    real = shared / "samples/idd/real_bbox"
    for path in sorted(real.glob("val/*/*.json")):
        put = tmp_path / "gtFine" / path.relative_to(real)
        put.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, put)
        frame = str(path.relative_to(real)).replace("_gtFine_bbox.json", "_leftImg8bit.png")
        draw(tmp_path / "leftImg8bit" / frame, (1920, 1080))
    dataset = import_source("idd", tmp_path)
    assert len(images(dataset)) == 7
    for key in images(dataset):
        content = json.loads((tmp_path / f"gtFine/{key}_gtFine_bbox.json").read_text())
        wanted = [
            (label, [x1, y1, x2 - x1, y2 - y1])
            for label, boxes in content.items()
            for x1, y1, x2, y2 in boxes
            if label in THINGS
        ]
        assert sorted((row["category"], box(row)) for row in rows(dataset, key)) == sorted(wanted)
    assert rows(dataset, "val/18/004415") == []
    assert rows(dataset, "val/119/035471")  # 4,880 bytes of boxes
    assert coverage(dataset, "val") == dict.fromkeys(THINGS, "exhaustive")
    assert {row["segmentation"] for row in dataset.table("annotations").to_pylist()} == {None}


def test_the_real_detection_file(shared: Path, tmp_path: Path) -> None:
    entry = "frontNear/BLR-2018-03-22_17-39-26_2_frontNear_right_2/000144_r"
    (tmp_path / "JPEGImages").mkdir()
    xml = tmp_path / f"Annotations/{entry}.xml"
    xml.parent.mkdir(parents=True)
    shutil.copyfile(shared / "samples/idd/real_detection_fragment/000144_r.xml", xml)
    (tmp_path / "train.txt").write_text(f"{entry}\r\n\r\n")
    dataset = import_source("idd", tmp_path)
    found = rows(dataset, f"detection/{entry}")
    assert [(row["category"], box(row)) for row in found] == [
        ("car", [987, 611, 12, 13]),
        ("car", [995, 617, 29, 23]),
    ]
    (image,) = images(dataset).values()
    assert (image["width"], image["height"], image["source_split"]) == (1920, 1080, "detection/train")
    assert [problem.where for problem in problems(dataset, "I01")] == [f"JPEGImages/{entry}.jpg"]


# Polygons


def test_polygons_are_painted_as_the_development_kit_does(tree: Tree) -> None:
    """The rasters of the tree are painted by that kit's rules; instances and groups of things must be the same."""
    root = tree("idd")
    dataset = import_source("idd", root)
    seen = 0
    for path in sorted(root.rglob("*_instanceids.png")):
        raster = np.asarray(Image.open(path))
        key = "/".join(path.parts[-3:]).removesuffix("_gtFine_instanceids.png")
        found = rows(dataset, key)
        canvas = visible(found, raster.shape)
        groups = [facts(row)["instanceId"] for row in found if row["iscrowd"]]
        wanted = np.where((raster >= 1000) | np.isin(raster, groups), raster, 0)
        wanted[wanted == 10000] = 0  # the bicycle of two points, of which the kit paints a line
        canvas[raster == 39] = 0  # licence plates, which are stuff, lie over cars
        assert np.array_equal(canvas, wanted), key
        seen += 1
    assert seen == 7


def test_labels_of_one_training_class_share_a_counter(tree: Tree) -> None:
    numbers = {
        row["category"]: facts(row)["instanceId"]
        for row in rows(import_source("idd", tree("idd")), "train/0/005506")
        if row["category"] in ("person", "animal", "caravan", "trailer", "truck")
    }
    assert numbers == {"person": 6000, "animal": 7001, "caravan": 15000, "trailer": 16001, "truck": 13}


def test_short_polygons_are_left_out_and_counted_from_two_points_on(tree: Tree) -> None:
    dataset = import_source("idd", tree("idd"))
    found = {row["id"]: row for row in rows(dataset, "train/0/005506") if row["category"] == "bicycle"}
    assert {key: facts(row)["instanceId"] for key, row in found.items()} == {"idd/train/0/005506#0011": 10001}
    assert [(problem.where, problem.message) for problem in problems(dataset, "N02")] == [
        (f"{FIRST}, objects[10]", "bicycle: ring of 2 points; expected at least 3; left out"),
        (f"{FIRST}, objects[13]", "car: polygon lies outside the 64 x 36 frame; left out"),
        (f"{FIRST}, objects[9]", "bicycle: ring of 1 points; expected at least 3; left out"),
    ]


def test_float_vertices_are_kept_and_boxes_are_those_of_the_mask(tree: Tree) -> None:
    (person,) = [
        row for row in rows(import_source("idd", tree("idd")), "train/0/005506") if row["category"] == "person"
    ]
    assert person["polygons"] == [[[20.25, 10.5, 23.25, 10.5, 23.25, 20.5, 20.25, 20.5]]]
    ys, xs = np.nonzero(mask(person))
    assert box(person) == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    assert person["area"] == len(xs)


def test_what_leaves_the_frame_is_clipped(tree: Tree) -> None:
    (car,) = [row for row in rows(import_source("idd", tree("idd")), "train/0/005506") if row["category"] == "car"]
    assert box(car) == [58, 28, 6, 8]  # and the deleted car is not there


def test_fields_of_the_labelling_tool_are_kept_where_they_are(tree: Tree) -> None:
    dataset = import_source("idd", tree("idd"))
    person = rows(dataset, "train/0/005506")[1]
    assert facts(person) == {
        "date": "15-May-2018 10:00:00",
        "draw": True,
        "extent": "amodal",
        "id": 2,
        "ignore_in_eval": False,
        "instanceId": 6000,
        "user": "anon",
        "verified": 0,
    }
    (car,) = rows(dataset, "train/1/005506")
    assert facts(car) == {"extent": "amodal", "ignore_in_eval": False, "instanceId": 12000}


def test_groups_are_crowd_and_polegroup_is_none(tree: Tree) -> None:
    found = {row["source_label"]: row for row in rows(import_source("idd", tree("idd")), "train/0/005506")}
    truck = found["truckgroup"]
    assert (truck["category"], truck["iscrowd"], facts(truck)["ignore_in_eval"]) == ("truck", True, True)
    assert not {"polegroup", "pole", "traffic sign", "license plate", "road", "billboard"} & set(found)
    ignored = {row["category"] for row in found.values() if facts(row)["ignore_in_eval"]} - {"truck"}
    assert ignored == {"animal", "caravan", "trailer"}  # with train, the table's labels that are not evaluated


def test_an_unknown_label_is_kept_and_listed(tree: Tree) -> None:
    root = tree("idd")
    edit(root / FIRST, lambda content: content["objects"][1].update(label="hovercraftgroup"))
    dataset = import_source("idd", root)
    row = rows(dataset, "train/0/005506")[0]
    assert (row["category"], row["source_label"], row["iscrowd"]) == ("hovercraftgroup", "hovercraftgroup", False)
    assert "instanceId" not in facts(row)
    assert [problem.where for problem in problems(dataset, "N01")] == ["idd, label 'hovercraftgroup'"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(imgWidth=128), "was made for 128 x 36 px; its image has 64 x 36"),
        (lambda c: c.pop("imgHeight"), "object missing required field `imgHeight`"),
        (lambda c: (c.clear(), c.update(car=[[0, 0, 9, 9]])), "object missing required field `imgHeight`"),  # boxes
        (lambda c: c["objects"][1].pop("polygon"), r"objects\[1\]: object missing required field `polygon`"),
        (lambda c: c["objects"][1]["polygon"][2].pop(), r"objects\[1\]\.polygon\[2\]: expected `array` of length 2"),
        (lambda c: c["objects"][1]["polygon"].append([1e9, 0]), r"objects\[1\]: vertex 4 is at x = 1000000000\.0"),
        (lambda c: c["objects"][1].update(label=None), r"objects\[1\]\.label: expected `str`, got `null`"),
    ],
)
def test_a_broken_polygon_file_is_named_with_the_place(tree: Tree, change: Callable[[Any], object], said: str) -> None:
    root = tree("idd")
    edit(root / FIRST, change)
    with pytest.raises(SourceError, match=said) as raised:
        import_source("idd", root)
    assert str(root / FIRST) in str(raised.value)
    dataset = import_source("idd", root, skip_bad=True)
    assert [problem.item for problem in problems(dataset, "N03")][1:] == ["idd/train/0/005506"]
    assert "train/0/005506" not in images(dataset)
    assert rows(dataset, "train/1/005506")


# Frames, parts and drives


def test_frame_names_repeat_between_drives_and_splits(tree: Tree) -> None:
    found = images(import_source("idd", tree("idd")))
    same = [key for key in found if key.endswith("/005506")]
    assert same == ["train/0/005506", "train/1/005506", "val/119/005506"]
    assert [found[key]["sequence"] for key in same] == ["0", "1", "119"]


def test_three_styles_of_names_and_three_endings(tree: Tree) -> None:
    found = images(import_source("idd", tree("idd")))
    assert {"val/119/035471", "val/3/0002900", "val/555/frame75719"} <= set(found)
    endings = {key: Path(row["file_name"]).suffix for key, row in found.items()}
    assert endings["val/119/035471"] == ".png"
    assert endings["val/555/frame75719"] == ".jpg"
    assert endings["train/500/frame0001"] == ".jpeg"


def test_ids_do_not_depend_on_where_the_archives_were_unpacked(tree: Tree, tmp_path: Path) -> None:
    """Each archive as it unpacks; the root itself; and both parts in one folder, as the development kit has it."""
    root = tree("idd")
    before = import_source("idd", root)
    merged = tmp_path / "merged"
    for part in ("IDD_Segmentation", "idd20kII", "IDD_Detection"):
        shutil.copytree(root / part, merged, dirs_exist_ok=True)
    after = import_source("idd", merged)
    assert after.fingerprint() == before.fingerprint()
    assert images(after)["val/555/frame75719"]["file_name"] == "leftImg8bit/val/555/frame75719_leftImg8bit.jpg"
    alone = import_source("idd", root / "IDD_Segmentation")
    assert set(images(alone)) == {
        key for key, row in images(before).items() if row["file_name"].startswith("IDD_Segmentation/")
    }
    assert set(images(import_source("idd", root / "IDD_Detection"))) == {
        key for key in images(before) if key.startswith("detection/")
    }


@pytest.mark.parametrize("twin", ["IDD_Segmentation/leftImg8bit/val/119/035471_leftImg8bit.jpg", "idd20kII/..png"])
def test_one_frame_in_two_files_is_refused(tree: Tree, twin: str) -> None:
    root = tree("idd")
    twin = twin.replace("..png", "leftImg8bit/val/119/035471_leftImg8bit.png")
    draw(root / twin)
    with pytest.raises(SourceError, match=r"035471_leftImg8bit\.\w+: is the same frame as .*035471_leftImg8bit\.png"):
        import_source("idd", root)
    assert "val/119/035471" not in images(import_source("idd", root, skip_bad=True))


def test_test_is_unlabelled_whatever_lies_there(tree: Tree) -> None:
    root = tree("idd")
    assert coverage(import_source("idd", root), "test") == {"*": "none"}
    forged = root / "IDD_Segmentation/gtFine/test/103/001262_gtFine_polygons.json"
    forged.parent.mkdir(parents=True)
    shutil.copyfile(root / FIRST, forged)
    dataset = import_source("idd", root)
    assert rows(dataset, "test/103/001262") == []
    assert coverage(dataset, "test") == {"*": "none"}
    assert "IDD_Segmentation/gtFine/test" in [problem.where for problem in problems(dataset, "N05")]


def test_a_frame_without_label_file_is_not_judged(tree: Tree) -> None:
    root = tree("idd")
    (root / FIRST).unlink()
    dataset = import_source("idd", root)
    assert rows(dataset, "train/0/005506") == []
    assert coverage(dataset, "train/0/005506") == {"*": "none"}
    assert coverage(dataset, "train") == dict.fromkeys(THINGS, "exhaustive")
    assert [problem.item for problem in problems(dataset, "F01")] == [
        f"idd/detection/{HIGH}/0000012",
        "idd/train/0/005506",
    ]


def test_a_label_file_without_picture_is_kept_and_reported(tree: Tree) -> None:
    root = tree("idd")
    name = "idd20kII/leftImg8bit/val/555/frame75719_leftImg8bit.jpg"
    (root / name).unlink()
    dataset = import_source("idd", root)
    image = images(dataset)["val/555/frame75719"]
    assert (image["file_name"], image["width"], image["height"]) == (name, 64, 36)
    assert name in [problem.where for problem in problems(dataset, "I01")]


def test_labels_of_a_split_without_pictures_are_reported(tree: Tree) -> None:
    root = tree("idd")
    for part in ("IDD_Segmentation", "idd20kII"):
        shutil.rmtree(root / part / "leftImg8bit/val")
    dataset = import_source("idd", root)
    assert "val" not in {row["source_split"] for row in images(dataset).values()}
    assert "gtFine/val" in [problem.where for problem in problems(dataset, "N03")]


def test_panoptic_files_and_rasters_are_not_read(tree: Tree) -> None:
    root = tree("idd")
    before = import_source("idd", root)
    for path in [*root.rglob("*_instanceids.png"), *root.rglob("*_labelids.png")]:
        path.unlink()
    shutil.rmtree(root / "IDD_Segmentation/gtFine/train_panoptic")
    (root / "IDD_Segmentation/gtFine/train_panoptic.json").unlink()
    after = import_source("idd", root)
    assert (after.fingerprint(), after.problems) == (before.fingerprint(), before.problems)


def test_a_tree_of_cityscapes_is_told_apart(tree: Tree) -> None:
    """Its folders are the same; but drives of IDD are numbers."""
    with pytest.raises(SourceError, match=r"holds frames in leftImg8bit/train/aachen; expected drives that are numb"):
        import_source("idd", tree("cityscapes"))


def test_a_drive_of_another_form_among_numbers_is_broken(tree: Tree) -> None:
    root = tree("idd")
    draw(root / "IDD_Segmentation/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png")
    with pytest.raises(SourceError, match=r"000019_leftImg8bit\.png: drive is 'aachen'; expected a number"):
        import_source("idd", root)
    assert len(images(import_source("idd", root, skip_bad=True))) == len(images(import_source("idd", tree("idd", "b"))))


def test_keys_may_begin_with_a_hyphen(tree: Tree) -> None:
    root = tree("idd")
    draw(root / "IDD_Segmentation/leftImg8bit/test/103/-01262_leftImg8bit.png")
    draw(root / f"IDD_Detection/JPEGImages/{FAR}/-00006_r.jpg")
    with (root / "IDD_Detection/test.txt").open("a") as stream:
        stream.write(f"{FAR}/-00006_r\n")
    found = images(import_source("idd", root))
    assert {"test/103/-01262", f"detection/{FAR}/-00006_r"} <= set(found)


@pytest.mark.parametrize(
    "name",
    [
        "IDD_Segmentation/leftImg8bit/train/0/005506_leftImg8bit.png",
        FIRST,
        f"IDD_Detection/JPEGImages/{FAR}/000006_r.jpg",
        f"IDD_Detection/Annotations/{FAR}/000006_r.xml",
    ],
)
def test_links_that_leave_the_root_are_refused(tree: Tree, tmp_path: Path, name: str) -> None:
    root = tree("idd")
    (root / name).rename(tmp_path / "outside")
    (root / name).symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match=r"is a link that leaves .*raw_idd; expected the file or folder itself"):
        import_source("idd", root)
    assert len(problems(import_source("idd", root, skip_bad=True), "N03")) == 2  # and the frame in no list


# The boxes of the weakly supervised set


def test_boxes_are_taken_where_there_are_no_polygons(tree: Tree) -> None:
    root = tree("idd")
    dataset = import_source("idd", root)
    found = rows(dataset, "val/205/frame0340")
    assert [(row["id"].split("#")[1], row["category"], box(row)) for row in found] == [
        ("b0000", "car", [3.5, 4, 16.75, 11]),  # w = xmax - xmin
        ("b0001", "car", [30, 10, 0, 5]),
        ("b0003", "rider", [40, 5, 5, 12]),  # b0002 is the road
    ]
    assert {row["segmentation"] for row in found} == {None}
    assert images(dataset)["val/205/frame0340"]["attributes"] == {"idd": {"generation": "bbox"}}
    assert [problem.item for problem in problems(dataset, "B03")] == ["idd/val/205/frame0340#b0001"]
    assert rows(dataset, "val/18/004415") == []
    assert coverage(dataset, "val/18/004415") == {}  # labelled, and empty

    label = root / "idd20kII/gtFine/val/205/frame0340_gtFine"
    shutil.copyfile(root / "IDD_Segmentation/gtFine/val/119/005506_gtFine_polygons.json", f"{label}_polygons.json")
    (bus,) = rows(import_source("idd", root), "val/205/frame0340")
    assert bus["category"] == "bus"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"road": [[0, 9, 5, 3]]}', r"road\[0\]: box \[0\.0, 9\.0, 5\.0, 3\.0\] has flipped corners"),
        ('{"car": [[0, 9, 5]]}', r"\[\.\.\.\]\[0\]: expected `array` of length 4"),
        ('{"car": [[0, 9, 5, 1e300]]}', r"expected `float` <= 1"),
        ("[]", "expected `object`, got `array`"),
    ],
)
def test_a_broken_file_of_boxes_is_named(tree: Tree, content: str, said: str) -> None:
    root = tree("idd")
    path = root / "idd20kII/gtFine/val/205/frame0340_gtFine_bbox.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=said) as raised:
        import_source("idd", root)
    assert str(path) in str(raised.value)


# Detection


def test_boxes_of_detection_have_exclusive_corners(tree: Tree) -> None:
    dataset = import_source("idd", tree("idd"))
    assert [(row["category"], box(row), row["area"]) for row in rows(dataset, f"detection/{FAR}/000006_r")] == [
        ("car", [7, 13, 13, 10], 130),
        ("autorickshaw", [33, 17, 13, 10], 130),
        ("vehicle fallback", [0, 0, 3, 3], 9),
        ("motorcycle", [50, 20, 14, 16], 224),  # xmax = width, ymax = height
    ]
    assert not problems(dataset, "B04")
    image = images(dataset)[f"detection/{FAR}/000006_r"]
    assert image["sequence"] == "BLR-2018-03-22_17-39-26_2_frontFar"
    assert image["attributes"] == {"idd": {"category": "frontFar", "generation": "detection"}}


def test_names_of_detection_repeat_between_sequences(tree: Tree) -> None:
    found = images(import_source("idd", tree("idd")))
    assert len([key for key in found if key.endswith("/000006_r")]) == 3


def test_an_xml_without_object_is_a_labelled_frame(tree: Tree) -> None:
    dataset = import_source("idd", tree("idd"))
    assert f"detection/{FAR}/000012_r" in images(dataset)
    assert rows(dataset, f"detection/{FAR}/000012_r") == []
    assert coverage(dataset, f"detection/{FAR}/000012_r") == {}
    assert coverage(dataset, "detection/train") == dict.fromkeys(DETECTED, "exhaustive")
    assert coverage(dataset, "detection/test") == {"*": "none"}


def test_entries_without_xml_or_picture_are_reported_and_kept(tree: Tree) -> None:
    root = tree("idd")
    (root / f"IDD_Detection/JPEGImages/{HIGH}/0000018.jpg").unlink()
    dataset = import_source("idd", root)
    assert coverage(dataset, f"detection/{HIGH}/0000012") == {"*": "none"}
    assert [problem.item for problem in problems(dataset, "F01")] == [f"idd/detection/{HIGH}/0000012"]
    blind = images(dataset)[f"detection/{HIGH}/0000018"]
    assert (blind["width"], blind["height"]) == (64, 36)  # as the XML says
    assert [row["category"] for row in rows(dataset, f"detection/{HIGH}/0000018")] == ["animal"]
    (missing,) = problems(dataset, "I01")
    assert (missing.item, missing.where) == (f"idd/{blind['id'][4:]}", f"IDD_Detection/JPEGImages/{HIGH}/0000018.jpg")


def test_an_entry_with_neither_is_kept_too(tree: Tree) -> None:
    root = tree("idd")
    with (root / "IDD_Detection/val.txt").open("a") as stream:
        stream.write("frontFar/nowhere/000001_r\n")
    dataset = import_source("idd", root)
    assert images(dataset)["detection/frontFar/nowhere/000001_r"]["width"] is None
    wanted = "idd/detection/frontFar/nowhere/000001_r"
    assert {p.code for p in dataset.problems if p.item == wanted} == {"I01", "F01"}


def test_frames_in_no_list_are_left_out_and_counted(tree: Tree) -> None:
    dataset = import_source("idd", tree("idd"))
    assert f"detection/{FAR}/000018_r" not in images(dataset)
    (found,) = problems(dataset, "N03")
    assert found.where == f"IDD_Detection/JPEGImages/{FAR}"
    assert found.message == "1 frames stand in no list, as 000018_r; left out"


def test_residue_inside_annotations_is_not_a_frame(tree: Tree) -> None:
    root = tree("idd")
    assert (root / f"IDD_Detection/Annotations/{FAR}/.001542_r.xml.swp").is_file()
    dataset = import_source("idd", root)
    assert not [key for key in images(dataset) if "001542" in key]
    assert not [problem for problem in dataset.problems if "001542" in problem.where + problem.message]


def test_an_xml_of_the_test_split_is_not_read(tree: Tree) -> None:
    root = tree("idd")
    entry = "frontNear/BLR-2018-03-22_17-39-26_2_frontNear/000006_r"
    path = root / f"IDD_Detection/Annotations/{entry}.xml"
    path.parent.mkdir(parents=True)
    shutil.copyfile(root / f"IDD_Detection/Annotations/{FAR}/000006_r.xml", path)
    dataset = import_source("idd", root)
    assert rows(dataset, f"detection/{entry}") == []
    assert [problem.item for problem in problems(dataset, "N05")] == [f"idd/detection/{entry}"]


def test_a_frame_in_two_lists_has_the_split_of_the_first(tree: Tree) -> None:
    root = tree("idd")
    with (root / "IDD_Detection/test.txt").open("a") as stream:
        stream.write(f"{FAR}/000006_r\n")
    dataset = import_source("idd", root)
    key = f"detection/{FAR}/000006_r"
    assert images(dataset)[key]["source_split"] == "detection/train"
    (found,) = problems(dataset, "Q03")
    assert (found.where, found.severity) == ("IDD_Detection/train.txt:1", "warning")
    assert found.message == "frame stands again in IDD_Detection/test.txt:2; taken for detection/train"
    # Whatever was asked for: it is not suddenly a frame of test.
    assert key not in images(import_source("idd", root, splits=["detection/test"]))


@pytest.mark.parametrize("entry", ["000006_r", "a/b/c/d", "../../../etc/passwd", "/etc/cron.d/x", "a//b", "a/b/\0c"])
def test_an_entry_of_another_form_is_broken(tree: Tree, entry: str) -> None:
    root = tree("idd")
    (root / "IDD_Detection/val.txt").write_text(f"\n{entry}\n{HIGH}/0000006\n")
    with pytest.raises(SourceError, match=r"val\.txt:2: entry is .*; expected category/sequence/frame"):
        import_source("idd", root)
    dataset = import_source("idd", root, splits=["detection/val"], skip_bad=True)
    assert set(images(dataset)) == {f"detection/{HIGH}/0000006"}


def test_an_xml_of_another_size_is_broken(tree: Tree) -> None:
    root = tree("idd")
    path = root / f"IDD_Detection/Annotations/{FAR}/000006_r.xml"
    path.write_text(path.read_text().replace("<width>64", "<width>1920"))
    with pytest.raises(SourceError, match=r"000006_r\.xml: was made for 1920 x 36 px; its image has 64 x 36"):
        import_source("idd", root)


def test_an_xml_that_names_another_picture_is_reported(tree: Tree) -> None:
    root = tree("idd")
    path = root / f"IDD_Detection/Annotations/{FAR}/000006_r.xml"
    path.write_text(path.read_text().replace("000006_r.jpg", "000007_r.jpg"))
    (found,) = problems(import_source("idd", root), "N05")
    assert found.message == "is said to label '000007_r.jpg'"


def test_a_bomb_is_refused_and_can_be_left_out(tree: Tree, curate: Callable[..., Any], tmp_path: Path) -> None:
    root = tree("idd")
    path = root / f"IDD_Detection/Annotations/{FAR}/000006_r.xml"
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    path.write_text(f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><annotation><filename>&e12;</filename></annotation>')
    failed = curate("import", "idd", root, "-o", "out", code=1)
    assert f"{path}: holds a document type definition; expected plain XML" in failed.stderr
    assert not (tmp_path / "out").exists()
    curate("import", "idd", root, "-o", "out", "--skip-bad")
    assert f"detection/{FAR}/000006_r" in (tmp_path / "out/problems.jsonl").read_text()


def test_an_unknown_label_of_detection_is_kept_and_listed(tree: Tree) -> None:
    root = tree("idd")
    path = root / f"IDD_Detection/Annotations/{FAR}/000006_r.xml"
    path.write_text(path.read_text().replace("<name>car", "<name>hovercraft").replace("<name>auto", "<name>car"))
    dataset = import_source("idd", root)
    labels = [row["source_label"] for row in rows(dataset, f"detection/{FAR}/000006_r")]
    assert labels == ["hovercraft", "carrickshaw", "vehicle fallback", "motorcycle"]
    assert len(problems(dataset, "N01")) == 2


# Splits and facts


def test_a_list_that_is_not_there(tree: Tree) -> None:
    root = tree("idd")
    (root / "IDD_Detection/val.txt").unlink()
    with pytest.raises(SourceError, match=r"IDD_Detection/val\.txt: no such file; expected a list of frames"):
        import_source("idd", root, splits=["detection/val"])
    dataset = import_source("idd", root)
    assert "IDD_Detection/val.txt" in [problem.where for problem in problems(dataset, "N03")]
    for name in ("train", "test"):
        (root / f"IDD_Detection/{name}.txt").unlink()
    with pytest.raises(SourceError, match=r"holds JPEGImages/, but none of train\.txt, val\.txt, test\.txt"):
        import_source("idd", root)
    assert import_source("idd", root, splits=["train"])


def test_a_split_that_is_not_there(tree: Tree) -> None:
    root = tree("idd")
    shutil.rmtree(root / "IDD_Segmentation/leftImg8bit/test")
    with pytest.raises(SourceError, match=r"holds no split 'test'; expected IDD_Segmentation/leftImg8bit/test/"):
        import_source("idd", root, splits=["test"])
    assert "test" not in {row["source_split"] for row in images(import_source("idd", root)).values()}


def test_an_archive_that_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "idd-segmentation.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SourceError, match=r"holds idd-segmentation\.tar\.gz; .*; unpack the archives there first"):
        import_source("idd", tmp_path)


def test_the_label_table_is_the_pages(shared: Path) -> None:
    page = (shared / "formats/idd_labels.csv").read_text()
    table = sources.label_table("idd")
    assert len(table) == len(page.splitlines()) - 1 == 40
    assert {row["name"] for row in table if row["hasInstances"] == "1"} == THINGS
    assert [row["csId"] for row in table if row["name"] == "vehicle fallback"] == ["355"]  # sic


def test_roles_are_the_same_whatever_was_imported(tree: Tree) -> None:
    """Else two imports of one source could not be merged."""
    root = tree("idd")
    few = import_source("idd", root, splits=["train"]).table("categories").to_pylist()
    assert few == import_source("idd", root).table("categories").to_pylist()
    assert {row["name"] for row in few if row["role"] == "benchmark"} == DETECTED
    assert Counter(row["role"] for row in few) == {"benchmark": 15, "other": 25}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("leftImg8bit/train/0/005506_leftImg8bit.png", "idd/train/0/005506"),
        ("leftImg8bit/val/555/frame75719_leftImg8bit.jpg", "idd/val/555/frame75719"),
        ("leftImg8bit/train/0/005506_gtFine.png", None),
        ("gtFine/train/0/005506_leftImg8bit.png", None),
        ("IDD_Segmentation/leftImg8bit/train/0/005506_leftImg8bit.png", None),
        ("leftImg8bit/train/005506_leftImg8bit.png", None),
    ],
)
def test_paths_of_searchad(path: str, key: str | None) -> None:
    assert idd.key_from_searchad(path) == key


def test_searchads_paths_are_those_of_the_tree(tree: Tree) -> None:
    part = "IDD_Segmentation/"
    for key, row in images(import_source("idd", tree("idd"))).items():
        if row["file_name"].startswith(part):
            assert idd.key_from_searchad(row["file_name"].removeprefix(part)) == f"idd/{key}"
