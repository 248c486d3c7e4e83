"""nuScenes and nuImages: the rules and oddities of their tables, one by one, and the real key frame."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from curate import sources
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import nuscenes
from curate.sources._nuscenes_frames import split_of
from tests.sources import looking
from tests.sources.looking import annotations, box, searchad_paths

Tree = Callable[..., Path]
Rows = list[dict[str, Any]]
LOG = "n015-2018-07-24-11-22-45+0800"
AHEAD = f"{LOG}__CAM_FRONT__1532406587000000"
BACK = f"{LOG}__CAM_BACK__1532406587000001"
LEFT = f"nuimages/{LOG}__CAM_FRONT_LEFT__1532406527000000"
TRAINVAL = "v1.0-trainval"


def rows(dataset: Dataset, image: str = "") -> Rows:
    return [{**row, "attributes": row["attributes"]["nuscenes"]} for row in annotations(dataset, f"/{image}")]


def images(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {key: {**row, "attributes": row["attributes"]["nuscenes"]} for key, row in looking.images(dataset).items()}


def coverage(dataset: Dataset, scope: str) -> dict[str, str]:
    found = looking.coverage(dataset).items()
    return {category: state for (where, category), state in found if where == f"nuscenes/{scope}"}


def problems(dataset: Dataset, code: str) -> list[Any]:
    return [problem for problem in dataset.problems if problem.code == code]


def edit(root: Path, table: str, change: Callable[[Rows], object], folder: str = TRAINVAL) -> None:
    looking.edit(root / folder / f"{table}.json", change)


def of(table: Rows, token: str, key: str = "token") -> dict[str, Any]:
    return next(row for row in table if row[key] == token)


# The real key frame


def test_boxes_equal_those_of_the_official_export(shared: Path) -> None:
    root = shared / "samples/nuscenes"
    dataset = import_source("nuscenes", root, options={"cameras": "all"})
    found = {row["id"]: row for row in rows(dataset)}
    wanted = json.loads((root / "expected_image_annotations.json").read_text())
    assert len(found) == len(wanted) == 85
    for record in wanted:
        stem = record["filename"].rpartition("/")[2].removesuffix(".jpg")
        row = found[f"nuscenes/{stem}#{record['sample_annotation_token']}"]
        x, y, w, h = box(row)
        assert [x, y, x + w, y + h] == pytest.approx(record["bbox_corners"], abs=0.01)
        assert row["category"] == record["category_name"]
        assert row["instance"] == f"nuscenes/{record['instance_token']}"
        for key in ("num_lidar_pts", "num_radar_pts", "visibility_token", "prev", "next"):
            assert row["attributes"][key] == record[key]
        assert len(row["attributes"]["attributes"]) == len(record["attribute_tokens"])
    assert Counter(re.split("__", row["image_id"])[1] for row in found.values()) == {
        "CAM_FRONT": 48,
        "CAM_FRONT_RIGHT": 18,
        "CAM_BACK": 10,
        "CAM_BACK_RIGHT": 5,
        "CAM_FRONT_LEFT": 2,
        "CAM_BACK_LEFT": 2,
    }
    assert not dataset.problems


def test_searchads_cameras_of_the_real_key_frame(shared: Path) -> None:
    dataset = import_source("nuscenes", shared / "samples/nuscenes")
    assert {image["attributes"]["channel"] for image in images(dataset).values()} == {"CAM_FRONT", "CAM_BACK"}
    assert dataset.counts()["annotations"] == 58
    image = images(dataset)[f"{LOG}__CAM_FRONT__1532402927612460"]
    assert (image["width"], image["height"], image["sequence"]) == (1600, 900, "scene-0061")
    assert (image["source_split"], image["place"]) == ("mini_train", "singapore-onenorth")
    assert (image["taken_at"], image["date_evidence"]) == ("2018-07-24T03:28:47.612460+00:00", "proven")
    left_out = {problem.where for problem in dataset.problems}
    assert left_out == {f"samples/CAM_{name}" for name in ("FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")}


# Boxes


def test_one_box_in_space_may_be_seen_by_several_cameras_or_none(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"))
    seen = {row["category"]: box(row) for row in rows(dataset, AHEAD)}
    assert seen == {"vehicle.car": [67.5, 32.5, 25, 25], "vehicle.truck": [0, 20, 30, 50]}
    seen = {row["category"]: box(row) for row in rows(dataset, BACK)}
    # What lies beneath the camera has two corners ahead, a line (where the official script fails), and six behind it.
    assert seen == {"vehicle.car": [67.5, 32.5, 25, 25], "movable_object.barrier": [0, 0, 160, 90]}


def test_boxes_that_lost_corners_behind_the_camera_say_so(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"))
    lost = {
        row["category"]: row["attributes"].get("corners_in_front") for row in rows(dataset) if "nuim" not in row["id"]
    }
    assert lost == {"vehicle.car": None, "vehicle.truck": 4, "movable_object.barrier": 6}


def test_the_pose_is_that_of_the_cameras_own_file(tree: Tree) -> None:
    root = tree("nuscenes")
    files = {row["filename"]: row for row in json.loads((root / TRAINVAL / "sample_data.json").read_text())}
    pose = files[f"samples/CAM_FRONT/{AHEAD}.jpg"]["ego_pose_token"]
    # Two metres back, so that the near face of the car is 10 m away.
    edit(root, "ego_pose", lambda table: of(table, pose).update(translation=[98.0, 200.0, 0.0]))
    dataset = import_source("nuscenes", root)
    (car,) = [row for row in rows(dataset, AHEAD) if row["category"] == "vehicle.car"]
    assert box(car) == [70, 35, 20, 20]
    (car,) = [row for row in rows(dataset, BACK) if row["category"] == "vehicle.car"]
    assert box(car) == [67.5, 32.5, 25, 25]


def test_objects_without_a_point_are_kept_with_their_counts(tree: Tree) -> None:
    found = rows(import_source("nuscenes", tree("nuscenes")), BACK)
    (car,) = [row for row in found if row["category"] == "vehicle.car"]
    assert (car["attributes"]["num_lidar_pts"], car["attributes"]["num_radar_pts"]) == (0, 0)
    assert car["attributes"]["rotation"] == [2, 0, 0, 0]  # not of length 1, and kept as found


def test_all_visibilities_are_in_and_attributes_have_names(tree: Tree) -> None:
    found = rows(import_source("nuscenes", tree("nuscenes")))
    assert {row["attributes"].get("visibility_token") for row in found} == {"4", "1", "", None}
    (car,) = [row for row in found if row["image_id"].endswith(AHEAD) and row["category"] == "vehicle.car"]
    assert car["attributes"]["attributes"] == ["vehicle.moving"]
    assert car["attributes"]["size"] == [2, 4, 2]


def test_an_object_keeps_its_instance_in_all_cameras(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"), options={"cameras": "all"})
    barriers = [row for row in rows(dataset) if row["category"] == "movable_object.barrier"]
    assert len(barriers) == 2
    assert len({row["instance"] for row in barriers}) == 1
    assert len({row["id"] for row in barriers}) == 2


def test_scenes_with_poses_known_to_be_off_are_reported(tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "scene", lambda table: of(table, "scene-0061", "name").update(name="scene-0499"))
    dataset = import_source("nuscenes", root, splits=["train"])
    noticed = [problem.item for problem in problems(dataset, "N05") if "poses of scene-0499" in problem.message]
    assert len(noticed) == len(images(dataset)) == 4


# Images


def test_only_key_frames_of_cameras_are_images(tree: Tree) -> None:
    found = images(import_source("nuscenes", tree("nuscenes"), options={"cameras": "all"}))
    assert all(image["file_name"].startswith("samples/CAM_") for image in found.values())
    assert len(found) == 13


def test_scenes_are_sequences_and_descriptions_are_kept(tree: Tree) -> None:
    found = images(import_source("nuscenes", tree("nuscenes")))
    assert found[AHEAD]["sequence"] == "scene-0061"
    assert found[AHEAD]["attributes"]["description"] == "Parked cars, {not}, {json}, turn left"
    assert found[AHEAD]["attributes"]["prev"] == ""  # not null
    assert {image["licence"] for image in found.values()} == {nuscenes.SOURCE.licence}


@pytest.mark.parametrize(
    ("log", "evidence"),
    [
        ({}, "proven"),
        ({"date_captured": "2018-07-25"}, "claimed"),
        ({"logfile": "n015-2018-07-24-23-22-45-0400", "date_captured": "2018-07-24"}, "proven"),
        # 04:29 in UTC is the day before, six hours to the west
        ({"logfile": "n008-2018-07-23-22-22-45-0600", "date_captured": "2018-07-23"}, "proven"),
        ({"logfile": "n015"}, "claimed"),
    ],
)
def test_dates_are_proven_where_the_log_agrees(log: dict[str, str], evidence: str, tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "log", lambda table: table[0].update(log))
    image = images(import_source("nuscenes", root, splits=["train"]))[AHEAD]
    assert (image["taken_at"], image["date_evidence"]) == ("2018-07-24T04:29:47+00:00", evidence)


def test_a_picture_that_is_missing_is_kept_with_its_boxes(tree: Tree) -> None:
    root = tree("nuscenes")
    (root / f"samples/CAM_FRONT/{AHEAD}.jpg").unlink()
    dataset = import_source("nuscenes", root)
    image = images(dataset)[AHEAD]
    assert (image["width"], image["height"], image["file_name"]) == (160, 90, f"samples/CAM_FRONT/{AHEAD}.jpg")
    assert len(rows(dataset, AHEAD)) == 2
    assert [problem.item for problem in problems(dataset, "I01")] == [f"nuscenes/{AHEAD}"]


def test_a_picture_of_another_size_than_its_table_says_is_broken(tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "sample_data", lambda table: of(table, f"samples/CAM_FRONT/{AHEAD}.jpg", "filename").update(width=1600))
    with pytest.raises(SourceError, match=r"sample_data\.json: was made for 1600 x 90 px; its image has 160 x 90"):
        import_source("nuscenes", root)


def test_names_are_never_decoded(tree: Tree) -> None:
    assert all("+0800" in key for key in images(import_source("nuscenes", tree("nuscenes"))))


# Cameras


@pytest.mark.parametrize(
    ("cameras", "channels", "left_out"),
    [
        (None, {"CAM_FRONT", "CAM_BACK"}, ["samples/CAM_FRONT_LEFT"]),
        ("searchad", {"CAM_FRONT", "CAM_BACK"}, ["samples/CAM_FRONT_LEFT"]),
        ("all", {"CAM_FRONT", "CAM_BACK", "CAM_FRONT_LEFT"}, []),
        ("CAM_FRONT_LEFT", {"CAM_FRONT_LEFT"}, ["samples/CAM_BACK", "samples/CAM_FRONT"]),
        ("CAM_FRONT, CAM_FRONT_LEFT", {"CAM_FRONT", "CAM_FRONT_LEFT"}, ["samples/CAM_BACK"]),
        (["CAM_BACK"], {"CAM_BACK"}, ["samples/CAM_FRONT", "samples/CAM_FRONT_LEFT"]),
    ],
)
def test_cameras_can_be_chosen(cameras: Any, channels: set[str], left_out: list[str], tree: Tree) -> None:
    options = {} if cameras is None else {"cameras": cameras}
    dataset = import_source("nuscenes", tree("nuscenes"), splits=["train", "val"], options=options)
    assert {image["attributes"]["channel"] for image in images(dataset).values()} == channels
    assert [problem.where for problem in problems(dataset, "N05") if "samples/" in problem.where] == left_out


def test_a_camera_that_does_not_exist_is_wrong_usage(tree: Tree) -> None:
    with pytest.raises(UsageError, match=r"cameras 'CAM_REAR': unknown; expected searchad, all, or CAM_FRONT, "):
        import_source("nuscenes", tree("nuscenes"), options={"cameras": "CAM_FRONT,CAM_REAR"})


# Splits


def test_the_official_lists_of_scenes() -> None:
    numbered = [f"scene-{i:04d}" for i in range(1, 1111)]
    sizes = Counter(split_of(scene, TRAINVAL) for scene in numbered)
    assert (sizes["train"], sizes["val"]) == (700, 150)
    assert Counter(split_of(scene, "v1.0-test") for scene in numbered)["test"] == 150
    mini = {scene: split for scene in numbered if (split := split_of(scene, "v1.0-mini"))}
    assert Counter(mini.values()) == {"mini_train": 8, "mini_val": 2}
    # So the splits of mini are no parts of those of the whole.
    train = [scene for scene, split in mini.items() if split == "mini_train"]
    assert [scene for scene in train if split_of(scene, TRAINVAL) == "val"] == ["scene-0553", "scene-0796"]


def test_mini_is_passed_over_where_the_whole_is(tree: Tree) -> None:
    root = tree("nuscenes")
    dataset = import_source("nuscenes", root)
    assert {image["source_split"] for image in images(dataset).values()} == {"train", "val", "test", "nuimages/train"}
    assert "v1.0-mini" in [problem.where for problem in problems(dataset, "N05")]
    only = import_source("nuscenes", root, splits=["mini_train"])
    assert {image["source_split"] for image in images(only).values()} == {"mini_train"}
    with pytest.raises(UsageError, match="split 'mini_train': is a part of train and val"):
        import_source("nuscenes", root, splits=["train", "mini_train"])
    shutil.rmtree(root / TRAINVAL)
    dataset = import_source("nuscenes", root)
    assert {image["source_split"] for image in images(dataset).values()} == {"mini_train", "test", "nuimages/train"}


def test_test_has_no_annotations(tree: Tree) -> None:
    root = tree("nuscenes")
    dataset = import_source("nuscenes", root, splits=["test"])
    assert len(images(dataset)) == 2
    assert not rows(dataset)
    assert coverage(dataset, "test") == {"*": "none"}
    (root / "v1.0-test/sample_annotation.json").write_text("[]")  # some copies have an empty table
    assert import_source("nuscenes", root, splits=["test"]).fingerprint() == dataset.fingerprint()


def test_coverage_is_partial_for_the_23_classes(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"))
    drawn = {row["category"] for row in sources.label_table("nuscenes") if row["kind"] == "3D box"}
    assert len(drawn) == 23
    assert coverage(dataset, "train") == coverage(dataset, "val") == dict.fromkeys(drawn, "partial")
    roles = Counter(row["role"] for row in dataset.table("categories").to_pylist())
    assert roles == {"benchmark": 23, "other": 9}  # 32 with those of the lidar


def test_coverage_is_stated_for_splits_with_scenes_alone(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"), splits=["mini_train", "mini_val"])
    assert coverage(dataset, "mini_train")
    assert not coverage(dataset, "mini_val")  # the tree's mini has none of its scenes


def test_own_splits_beside_the_tables_are_kept(tree: Tree) -> None:
    root = tree("nuscenes")
    (root / TRAINVAL / "splits.json").write_text(json.dumps({"night": ["scene-0061"], "-a": ["scene-0061", "x"]}))
    found = images(import_source("nuscenes", root))
    assert (found[AHEAD]["source_split"], found[AHEAD]["attributes"]["splits"]) == ("train", ["-a", "night"])
    assert "splits" not in found[f"{LOG}__CAM_FRONT__1532403107000000"]["attributes"]


def test_a_scene_of_no_official_split_is_kept(tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "scene", lambda table: of(table, "scene-0061", "name").update(name="my scene"))
    dataset = import_source("nuscenes", root)
    image = images(dataset)[AHEAD]
    assert (image["source_split"], image["sequence"]) == (None, "my scene")
    assert coverage(dataset, AHEAD) == {"*": "partial"}
    assert "my scene is in no official split; kept" in {problem.message for problem in problems(dataset, "N05")}
    assert len(images(import_source("nuscenes", root, splits=["train", "val"]))) == 2


def test_a_split_that_is_not_there_is_an_error(tree: Tree) -> None:
    root = tree("nuscenes")
    shutil.rmtree(root / "v1.0-test")
    with pytest.raises(SourceError, match=r"holds no split 'test'; expected v1\.0-test/; it holds train, val"):
        import_source("nuscenes", root, splits=["test"])
    with pytest.raises(SourceError, match=r"no split 'nuimages/mini'; expected v1\.0-mini of nuImages/; it holds"):
        import_source("nuscenes", root, splits=["nuimages/mini"])


def test_a_key_frame_without_annotations_is_labelled(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"))
    image = f"{LOG}__CAM_FRONT__1532403107000000"
    assert images(dataset)[image]["source_split"] == "val"
    assert not rows(dataset, image)
    assert not coverage(dataset, image)  # that of its split holds


# References that lead nowhere, unknown names


def test_references_that_lead_nowhere_are_reported_and_the_rows_kept(tree: Tree) -> None:
    root = tree("nuscenes")

    def cut(table: Rows) -> None:
        table[0].update(instance_token="nobody", attribute_tokens=["nothing"], visibility_token="9")

    edit(root, "sample_annotation", cut)
    dataset = import_source("nuscenes", root)
    (car,) = [row for row in rows(dataset, AHEAD) if row["category"] is None]
    assert (car["source_label"], car["instance"], car["attributes"]["attributes"]) == (
        None,
        "nuscenes/nobody",
        ["nothing"],
    )
    assert {problem.where for problem in problems(dataset, "R03")} == {f"{TRAINVAL}/sample_annotation.json, [0]"}
    assert [problem.message for problem in problems(dataset, "R03")] == [
        "attribute 'nothing' is not in the tables; kept as found",
        "instance 'nobody' or its category is not in the tables; kept without a class",
    ]
    assert "visibility_token is '9'; kept as found" in {problem.message for problem in problems(dataset, "N05")}


@pytest.mark.parametrize(
    ("table", "key"), [("ego_pose", "ego_pose_token"), ("calibrated_sensor", "calibrated_sensor_token")]
)
def test_a_key_frame_whose_camera_is_unknown_is_unjudged(table: str, key: str, tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "sample_data", lambda rows: of(rows, f"samples/CAM_FRONT/{AHEAD}.jpg", "filename").update({key: "gone"}))
    dataset = import_source("nuscenes", root)
    assert AHEAD in images(dataset)
    assert not rows(dataset, AHEAD)
    assert coverage(dataset, AHEAD) == {"*": "none"}
    assert [problem.item for problem in problems(dataset, "R03")] == [f"nuscenes/{AHEAD}"]


def test_annotations_of_no_sample_are_counted(tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "sample_annotation", lambda table: [row.update(sample_token="gone") for row in table[:2]])
    (problem,) = problems(import_source("nuscenes", root), "N02")
    assert problem.where == f"{TRAINVAL}/sample_annotation.json"
    assert problem.message == "2 annotations refer to no sample of the tables; left out"


def test_an_unknown_class_is_kept_declared_and_listed(tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "category", lambda table: of(table, "vehicle.car", "name").update(name="-vehicle.tram"))
    dataset = import_source("nuscenes", root, splits=["train"])
    assert {row["source_label"] for row in rows(dataset) if row["category"] == "-vehicle.tram"} == {"-vehicle.tram"}
    assert "-vehicle.tram" in dataset.table("categories")["name"].to_pylist()
    assert [problem.where for problem in problems(dataset, "N01")] == ["nuscenes, label '-vehicle.tram'"]


# Broken tables


FAULTS: dict[str, tuple[str, Callable[[Rows], object], str]] = {
    "no centre": ("sample_annotation", lambda t: t[0].pop("translation"), r"\[0\]: .* missing required field `transl"),
    "half a size": ("sample_annotation", lambda t: t[1].update(size=[1, 2]), r"\[1\]\.size: .*`array` of length 3"),
    "text": ("sample_annotation", lambda t: t[0]["size"].insert(0, "2"), r"\[0\]\.size"),
    "no rotation": (
        "sample_annotation",
        lambda t: t[2].update(rotation=[0, 0, 0, 0]),
        r"\[2\], rotation: is 0 throughout",
    ),
    "a word": ("sample_annotation", lambda t: t[0].update(num_lidar_pts="many"), r"\[0\]\.num_lidar_pts: expected"),
    "a token of ours": ("sample_annotation", lambda t: t[0].update(token="a#b"), r"\[0\]\.token: expected"),
    "a token twice": (
        "sample_annotation",
        lambda t: t[2].update(token=t[0]["token"]),
        r"\[2\]\.token: .* stands twice",
    ),
    "a pose": (
        "ego_pose",
        lambda t: [one.update(rotation=[0, 0, 0, 0]) for one in t],
        r"\], rotation: is 0 throughout",
    ),
    "a pose of text": (
        "ego_pose",
        lambda t: [one.update(rotation="up") for one in t],
        r"\]\.rotation: expected `array`",
    ),
    "a matrix": ("calibrated_sensor", lambda t: t[0].update(camera_intrinsic=[[1]]), "is no 3 x 3 matrix"),
    "a link upwards": (
        "sample_data",
        lambda t: of(t, f"samples/CAM_FRONT/{AHEAD}.jpg", "filename").update(filename=f"../{AHEAD}.jpg"),
        r"\]\.filename: is '\.\./n015.*'; expected a path relative to its folder",
    ),
}


@pytest.mark.parametrize(("table", "damage", "said"), FAULTS.values(), ids=FAULTS)
def test_a_broken_record_concerns_its_pictures_alone(
    table: str, damage: Callable[[Rows], object], said: str, tree: Tree
) -> None:
    root = tree("nuscenes")
    edit(root, table, damage)
    with pytest.raises(SourceError, match=rf"{table}\.json, .*{said}"):
        import_source("nuscenes", root)
    dataset = import_source("nuscenes", root, skip_bad=True)
    assert AHEAD not in images(dataset)
    assert f"{LOG}__CAM_FRONT__1532407547000000" in images(dataset)
    assert f"nuscenes/{AHEAD}" in {problem.item for problem in problems(dataset, "N03")}


@pytest.mark.parametrize(
    ("table", "damage", "said"),
    [
        ("sample_data", lambda t: t[0].pop("is_key_frame"), r"\[0\]: object missing required field `is_key_frame`"),
        ("sample_data", lambda t: t[3].update(timestamp=-1), r"\[3\]\.timestamp: expected `int` >= 0"),
        ("sample_data", lambda t: t.append(t[0]), r"\]\.filename: samples/.* stands twice; expected each picture once"),
        ("scene", lambda t: t[0].pop("name"), r"\[0\]: object missing required field `name`"),
        ("log", lambda t: t.append(t[0]), r"\[1\]\.token: .* stands twice; expected each token once"),
        ("sample_annotation", lambda t: t[4].pop("sample_token"), r"\[4\]: .*missing required field `sample_token`"),
        ("sample_annotation", lambda t: t[0].update(size=[float("nan"), 1, 1]), "JSON is malformed at 'NaN"),
    ],
)
def test_a_record_that_tells_no_picture_ends_the_import(
    table: str, damage: Callable[[Rows], object], said: str, tree: Tree
) -> None:
    root = tree("nuscenes")
    edit(root, table, damage)
    for skip_bad in (False, True):
        with pytest.raises(SourceError, match=rf"{TRAINVAL}/{table}\.json.*{said}"):
            import_source("nuscenes", root, skip_bad=skip_bad)


@pytest.mark.parametrize("table", ["scene", "sample", "sample_data", "sample_annotation", "ego_pose", "attribute"])
def test_a_missing_table_is_named(table: str, tree: Tree) -> None:
    root = tree("nuscenes")
    (root / TRAINVAL / f"{table}.json").unlink()
    with pytest.raises(SourceError, match=rf"{table}\.json: no such file; expected a table.*; unpack the archive of"):
        import_source("nuscenes", root)


def test_tables_that_are_not_read_may_be_missing(tree: Tree) -> None:
    root = tree("nuscenes")
    first = import_source("nuscenes", root).fingerprint()
    for table in ("map", "visibility"):
        (root / TRAINVAL / f"{table}.json").unlink()
    assert import_source("nuscenes", root).fingerprint() == first


def test_an_archive_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    (tmp_path / "v1.0-mini.tgz").write_bytes(b"\x1f\x8b")
    with pytest.raises(
        SourceError, match=r"holds v1\.0-mini\.tgz; expected the tree of nuScenes.*; unpack the archives"
    ):
        import_source("nuscenes", tmp_path)


@pytest.mark.parametrize("file", [f"samples/CAM_FRONT/{AHEAD}.jpg", f"{TRAINVAL}/log.json"])
def test_a_link_that_leaves_the_root_is_refused(file: str, tree: Tree, tmp_path: Path) -> None:
    root = tree("nuscenes")
    shutil.move(root / file, tmp_path / "outside")
    (root / file).symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match=rf"{re.escape(Path(file).name)}: is a link that leaves"):
        import_source("nuscenes", root)


def test_a_name_that_begins_with_a_hyphen_is_a_name(tree: Tree) -> None:
    root = tree("nuscenes")
    old, new = f"samples/CAM_FRONT/{AHEAD}.jpg", f"samples/CAM_FRONT/-{AHEAD}.jpg"
    (root / old).rename(root / new)
    edit(root, "sample_data", lambda table: of(table, old, "filename").update(filename=new))
    assert len(rows(import_source("nuscenes", root), f"-{AHEAD}")) == 2


def test_a_name_that_is_no_utf8_is_passed_over(tree: Tree) -> None:
    """Pictures are found through the tables, whose names are text; what they do not name is none."""
    root = tree("nuscenes")
    first = import_source("nuscenes", root).fingerprint()
    shutil.copy(root / f"samples/CAM_FRONT/{AHEAD}.jpg", root / "samples/CAM_FRONT" / os.fsdecode(b"\xe9.jpg"))
    assert import_source("nuscenes", root).fingerprint() == first


# nuImages


def test_nuimages_boxes_and_masks(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"), splits=["nuimages/train"])
    found = {row["category"]: row for row in rows(dataset, LEFT)}
    car, person, road = (found[name] for name in ("vehicle.car", "human.pedestrian.adult", "flat.driveable_surface"))
    assert box(car) == [10, 20, 50, 30]  # amodal: larger than its mask
    pixels = coco_mask.decode({"size": [90, 160], "counts": car["segmentation"]["counts"].encode()})
    wanted = np.zeros((90, 160), bool)
    wanted[20:40, 20:50] = True
    assert np.array_equal(pixels, wanted)
    assert (car["area"], car["attributes"]["attributes"]) == (600, ["vehicle.moving"])
    assert (person["segmentation"], person["area"]) == (None, 300)
    assert box(road) == [0, 50, 160, 40]  # that of the mask
    assert not rows(dataset, f"{LOG}__CAM_BACK__1532406527000001")  # nothing in it, and labelled
    assert coverage(dataset, "nuimages/train")["vehicle.car"] == "exhaustive"
    assert len(coverage(dataset, "nuimages/train")) == 24


def test_nuimages_have_all_cameras_no_scene_and_ids_of_their_own(tree: Tree) -> None:
    dataset = import_source("nuscenes", tree("nuscenes"), splits=["nuimages/train"])
    found = images(dataset)
    assert list(found) == [f"nuimages/{LOG}__CAM_BACK__1532406527000001", LEFT]
    assert found[LEFT]["sequence"] == LOG
    assert found[LEFT]["file_name"].startswith("samples/CAM_FRONT_LEFT/")
    assert found[LEFT]["taken_at"].startswith("2018-07-24T04:28:47")
    assert not dataset.problems
    chosen = import_source(
        "nuscenes", tree("nuscenes", "b"), splits=["nuimages/train"], options={"cameras": "CAM_BACK"}
    )
    assert len(images(chosen)) == 1


@pytest.mark.parametrize("folder", ["v1.0-mini", "v1.0-val", "v1.0-test"])
def test_versions_of_nuimages_are_told_by_their_tables(folder: str, tree: Tree) -> None:
    root = tree("nuscenes")
    for other in (TRAINVAL, "v1.0-mini", "v1.0-test"):
        shutil.rmtree(root / other)
    (root / "v1.0-train").rename(root / folder)
    split = f"nuimages/{folder.removeprefix('v1.0-')}"
    dataset = import_source("nuscenes", root)
    assert {image["source_split"] for image in images(dataset).values()} == {split}
    assert bool(rows(dataset)) == (split != "nuimages/test")
    if split == "nuimages/test":
        assert coverage(dataset, split) == {"*": "none"}


@pytest.mark.parametrize("kind", ["base64", "text", "numbers"])
def test_masks_are_read_in_the_forms_that_copies_have(kind: str, tree: Tree) -> None:
    root = tree("nuscenes")
    first = import_source("nuscenes", root).fingerprint()
    pixels = np.zeros((90, 160), np.uint8, order="F")
    pixels[20:40, 20:50] = 1
    text = coco_mask.encode(pixels)["counts"].decode()
    numbers = [1820, *[20, 70] * 29, 20, 160 * 90 - 1820 - 29 * 90 - 20]
    if kind != "base64":
        counts = text if kind == "text" else numbers
        edit(root, "object_ann", lambda table: table[0]["mask"].update(counts=counts), "v1.0-train")
    assert import_source("nuscenes", root).fingerprint() == first


NUIMAGES_FAULTS: dict[str, tuple[Callable[[Rows], object], str]] = {
    "flipped": (
        lambda t: t[0].update(bbox=[60, 20, 10, 50]),
        r"\[0\]\.bbox: box \[60\.0, 20\.0, 10\.0, 50\.0\] has flipped",
    ),
    "a corner short": (lambda t: t[0].update(bbox=[1, 2, 3]), r"\[0\]\.bbox: expected `array` of length 4"),
    "rubbish": (lambda t: t[0]["mask"].update(counts="?"), r"\[0\]\.mask: .*; expected COCO's run lengths"),
    "too short": (lambda t: t[0]["mask"].update(counts=[5, 5]), r"\[0\]\.mask: runs sum to 10; expected 90 x 160"),
    "twice": (lambda t: t[1].update(token=t[0]["token"]), "stands twice in its annotations"),
}


@pytest.mark.parametrize(("damage", "said"), NUIMAGES_FAULTS.values(), ids=NUIMAGES_FAULTS)
def test_broken_objects_of_nuimages(damage: Callable[[Rows], object], said: str, tree: Tree) -> None:
    root = tree("nuscenes")
    edit(root, "object_ann", damage, "v1.0-train")
    with pytest.raises(SourceError, match=rf"v1\.0-train.*{said}"):
        import_source("nuscenes", root)
    dataset = import_source("nuscenes", root, skip_bad=True)
    assert LEFT not in images(dataset)
    assert AHEAD in images(dataset)


def test_a_mask_of_another_size_and_unknown_references_of_nuimages_are_kept(tree: Tree) -> None:
    root = tree("nuscenes")

    def change(table: Rows) -> None:
        table[0]["mask"] = {"size": [2, 3], "counts": [1, 5]}
        table[1].update(category_token="gone", attribute_tokens=["gone"])

    edit(root, "object_ann", change, "v1.0-train")
    dataset = import_source("nuscenes", root)
    (problem,) = problems(dataset, "M05")
    assert "mask of 3 x 2 px in a picture of 160 x 90" in problem.message
    assert [problem.message.split(" is ")[0] for problem in problems(dataset, "R03")] == [
        "attribute 'gone'",
        "category 'gone'",
    ]
    assert len(rows(dataset, LEFT)) == 3


# SearchAD names the same images by path


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree, shared: Path) -> None:
    for name, row in images(import_source("nuscenes", tree("nuscenes"))).items():
        if not name.startswith("nuimages/"):
            assert nuscenes.key_from_searchad(row["file_name"]) == f"nuscenes/{name}"
    found = searchad_paths(shared, "nuscenes")
    assert found
    assert all(nuscenes.key_from_searchad(path) for path in found)


@pytest.mark.parametrize(
    ("path", "image"),
    [
        (f"samples/CAM_FRONT/{AHEAD}.jpg", f"nuscenes/{AHEAD}"),
        (
            "samples/CAM_BACK/n008-2018-05-21-11-06-59-0400__CAM_BACK__1526915243037570.jpg",
            "nuscenes/n008-2018-05-21-11-06-59-0400__CAM_BACK__1526915243037570",
        ),
        (f"nuscenes/samples/CAM_FRONT/{AHEAD}.jpg", f"nuscenes/{AHEAD}"),
        (f"sweeps/CAM_FRONT/{AHEAD}.jpg", None),
        (f"samples/CAM_BACK/{AHEAD}.jpg", None),
        (f"samples/LIDAR_TOP/{LOG}__LIDAR_TOP__1532402927647951.pcd.bin", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert nuscenes.key_from_searchad(path) == image
