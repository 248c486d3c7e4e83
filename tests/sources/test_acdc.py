"""ACDC: the rules and oddities of its format, one by one, and the sample."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.sources import label_table
from curate.sources.acdc import SOURCE, key_from_searchad
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images, mask, searchad_paths

Tree = Callable[..., Path]
TRAIN = "gt_detection/instancesonly_train_gt_detection.json"
PANOPTIC = "gt_panoptic/train_gt_panoptic.json"
FIRST = "fog/train/GOPR0475_frame_000041"
SECOND = "fog/train/GP010475_frame_000041"
THINGS = {"person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"}


def taken(dataset: Dataset, image: str = "acdc/") -> list[tuple[str, str, list[float], float, bool]]:
    """End of the id, class, box, area and crowd flag of each object."""
    rows = annotations(dataset, image)
    return [(row["id"].split("#")[1], row["category"], box(row), row["area"], row["iscrowd"]) for row in rows]


def facts(row: dict[str, Any]) -> dict[str, Any]:
    return row["attributes"]["acdc"]


def picture(frame: str) -> str:
    condition, split, stem = frame.split("/")
    kind = "rgb_ref_anon" if split.endswith("_ref") else "rgb_anon"
    return f"rgb_anon/{condition}/{split}/{stem.split('_frame_')[0]}/{stem}_{kind}.png"


# The sample, against the values of its JSON files


def test_handmade_sample(shared: Path) -> None:
    dataset = import_source("acdc", shared / "samples/acdc/handmade")
    assert taken(dataset, FIRST) == [
        ("0000", "car", [20, 40, 50, 30], 1500, False),
        ("0001", "person", [100, 30, 12, 40], 480, False),
        ("0002", "car", [130, 50, 60, 20], 1200, True),
    ]
    assert taken(dataset, "fog/train_ref") == [("0000", "car", [10, 40, 40, 30], 1200, False)]
    assert taken(dataset, "night/val") == [("0000", "bicycle", [0, 80, 20, 28], 560, False)]
    for row in annotations(dataset):
        x, y, w, h = (int(value) for value in box(row))
        wanted = np.zeros((108, 192), bool)
        wanted[y : y + h, x : x + w] = True
        assert np.array_equal(mask(row), wanted)
    assert [row["polygons"] is None for row in annotations(dataset)] == [False, False, True, False, False]
    assert list(images(dataset)) == [
        FIRST,
        "fog/train_ref/GOPR0475_frame_000041",
        "night/val/GOPR0356_frame_000324",
        "night/val/GP010376_frame_000010",
        "snow/test/GOPR0122_frame_000005",
    ]
    assert not dataset.problems


def test_the_samples_panoptic_labels_where_boxes_are_missing(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(shared / "samples/acdc/handmade", root, copy_function=shutil.copyfile)
    before = [row[1:] for row in taken(import_source("acdc", root))]
    shutil.rmtree(root / "gt_detection")
    dataset = import_source("acdc", root)
    # Nothing lies before anything else there, so that the visible part is the whole.
    assert sorted(row[1:] for row in taken(dataset)) == sorted(before)
    assert {row["attributes"]["acdc"]["generation"] for row in images(dataset).values() if "test" not in row["id"]} == {
        "panoptic"
    }


# Names and folders


def test_keys_name_condition_split_drive_and_frame(tree: Tree) -> None:
    found = images(import_source("acdc", tree("acdc")))
    assert {name: row["file_name"] for name, row in found.items()} == {name: picture(name) for name in found}
    assert FIRST in found
    assert SECOND in found  # the same number in another drive
    assert len(found) == 10


@pytest.mark.parametrize(
    "where",
    [
        "rgb_anon_trainvaltest/rgb_anon",  # as the archive is called
        "rgb_anon/rgb_anon",
        "rgb_anon_trainvaltest/rgb_anon/rgb_anon",
    ],
)
def test_type_folders_may_lie_deeper(tree: Tree, where: str) -> None:
    root = tree("acdc")
    whole = import_source("acdc", root)
    for kind in ("rgb_anon", "gt_detection", "gt_panoptic"):
        moved = root / where.replace("rgb_anon", kind)
        (root / kind).rename(root / "aside")
        moved.parent.mkdir(parents=True)
        (root / "aside").rename(moved)
    dataset = import_source("acdc", root)
    assert dataset.fingerprint() == whole.fingerprint()
    for row in images(dataset).values():
        assert (root / row["file_name"]).is_file()


def test_split_before_condition_gives_the_same_ids(tree: Tree) -> None:
    """As SearchAD's README has it."""
    root = tree("acdc")
    whole = import_source("acdc", root)
    for folder in sorted((root / "rgb_anon").glob("*/*")):
        moved = root / "turned" / folder.name / folder.parent.name
        moved.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(moved)
    shutil.rmtree(root / "rgb_anon")
    (root / "turned").rename(root / "rgb_anon")
    dataset = import_source("acdc", root)
    assert dataset.fingerprint() == whole.fingerprint()
    assert images(dataset)[FIRST]["file_name"] == "rgb_anon/train/fog/GOPR0475/GOPR0475_frame_000041_rgb_anon.png"


@pytest.mark.parametrize(
    ("path", "image"),
    [
        # Both orders; the second is the one that SearchAD's README prints.
        ("rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000001_rgb_anon.png", "acdc/fog/train/GOPR0475_frame_000001"),
        ("rgb_anon/train/fog/GOPR0475/GOPR0475_frame_000001_rgb_anon.png", "acdc/fog/train/GOPR0475_frame_000001"),
        (
            "rgb_anon/fog/train_ref/GOPR0475/GOPR0475_frame_000001_rgb_ref_anon.png",
            "acdc/fog/train_ref/GOPR0475_frame_000001",
        ),
        ("night/test/GP010376/GP010376_frame_000010_rgb_anon.png", "acdc/night/test/GP010376_frame_000010"),
        ("rgb_anon/fog/train/GOPR0475/GOPR0476_frame_000001_rgb_anon.png", None),
        ("rgb_anon/fog/training/GOPR0475/GOPR0475_frame_000001_rgb_anon.png", None),
        ("rgb_anon/haze/train/GOPR0475/GOPR0475_frame_000001_rgb_anon.png", None),
        ("gt/fog/train/GOPR0475/GOPR0475_frame_000001_gt_labelIds.png", None),
        ("rgb_anon/fog/train/GOPR0475/GOPR0475_frame_1_rgb_anon.png", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert key_from_searchad(path) == image


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    for row in import_source("acdc", tree("acdc")).table("images").to_pylist():
        assert key_from_searchad(row["file_name"]) == row["id"]


def test_paths_of_searchads_release_are_all_understood(shared: Path) -> None:
    paths = searchad_paths(shared, "acdc")
    assert len(paths) == 14
    assert {str(key_from_searchad(path)).rpartition("_")[0] for path in paths} == {"acdc/fog/train/GOPR0475_frame"}


def test_the_other_way_to_write_a_references_name_is_read(tree: Tree) -> None:
    """The README's pattern would put _ref behind the type; all files seen have it before _anon."""
    root = tree("acdc")
    whole = import_source("acdc", root)
    for path in list((root / "rgb_anon").rglob("*_rgb_ref_anon.png")):
        path.rename(path.with_name(path.name.replace("_rgb_ref_anon", "_rgb_anon_ref")))
    assert import_source("acdc", root).fingerprint() == whole.fingerprint()


@pytest.mark.parametrize(
    "name",
    [
        "GOPR0476_frame_000041_rgb_anon.png",  # another drive's than its folder
        "-1.png",
        "GOPR0475_frame_41_rgb_anon.png",
        "GOPR0475_frame_000041_rgb.png",
    ],
)
def test_names_of_another_form_are_refused_one_by_one(tree: Tree, name: str) -> None:
    root = tree("acdc")
    shutil.copy(root / picture(FIRST), (root / picture(FIRST)).with_name(name))
    with pytest.raises(SourceError, match=rf"{name}: file name is not sequence_frame; expected a name like GOPR0475_"):
        import_source("acdc", root)
    left = import_source("acdc", root, skip_bad=True)
    assert len(images(left)) == 10
    assert findings(left, "N03") == [("N03", f"acdc/fog/train/GOPR0475/{name}")]


def test_drives_whose_names_begin_with_a_dash_are_drives(tree: Tree) -> None:
    root = tree("acdc")
    folder = root / "rgb_anon/rain/val/-GP01"
    folder.mkdir(parents=True)
    shutil.copy(root / picture(FIRST), folder / "-GP01_frame_000001_rgb_anon.png")
    found = images(import_source("acdc", root))
    assert found["rain/val/-GP01_frame_000001"]["sequence"] == "-GP01"


def test_one_frame_in_two_places_is_refused(tree: Tree) -> None:
    root = tree("acdc")
    twin = root / "more/rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png"
    twin.parent.mkdir(parents=True)
    shutil.copy(root / picture(FIRST), twin)
    with pytest.raises(SourceError, match=r"more/rgb_anon/.*: is the same frame as rgb_anon/fog/train/"):
        import_source("acdc", root)


# Conditions and references


def test_conditions_give_weather_and_time_of_day(tree: Tree) -> None:
    found = images(import_source("acdc", tree("acdc")))
    told = {name: (row["weather"], row["time_of_day"]) for name, row in found.items()}
    assert told == {
        FIRST: ("fog", None),
        SECOND: ("fog", None),
        "fog/train_ref/GOPR0475_frame_000041": ("normal", None),
        "fog/train_ref/GP010475_frame_000041": ("normal", None),
        "night/val/GOPR0356_frame_000324": (None, "night"),
        "night/val_ref/GOPR0356_frame_000324": ("normal", None),  # the reference of a night image is not of the night
        "rain/train/GOPR0400_frame_000001": ("rain", None),
        "rain/train_ref/GOPR0400_frame_000001": ("normal", None),
        "snow/test/GOPR0122_frame_000005": ("snow", None),
        "snow/test_ref/GOPR0122_frame_000005": ("normal", None),
    }
    assert {facts(row)["condition"] for row in found.values()} == {"fog", "night", "rain", "snow"}


def test_an_image_and_its_reference_name_one_another_and_share_their_sequence(tree: Tree) -> None:
    found = images(import_source("acdc", tree("acdc")))
    for row in found.values():
        other = found[facts(row)["pair"].removeprefix("acdc/")]
        assert facts(other)["pair"] == row["id"]
        assert other["sequence"] == row["sequence"] == row["id"].split("/")[-1].split("_frame_")[0]
        assert {facts(row)["reference"], facts(other)["reference"]} == {False, True}


def test_no_label_is_taken_over_to_a_reference(tree: Tree) -> None:
    dataset = import_source("acdc", tree("acdc"))
    assert taken(dataset, "fog/train_ref/GOPR0475") == [("0000", "car", [2, 10, 12, 8], 96, False)]
    assert not taken(dataset, "fog/train_ref/GP010475")


def test_an_image_without_reference_is_reported_where_its_fellows_have_theirs(tree: Tree) -> None:
    root = tree("acdc")
    (root / picture("fog/train_ref/GP010475_frame_000041")).unlink()
    (root / picture("rain/train_ref/GOPR0400_frame_000001")).unlink()  # the only one: references were not unpacked
    edit(root / "gt_detection/instancesonly_train_gt_ref_detection.json", lambda c: c["images"].pop())
    dataset = import_source("acdc", root)
    said = [(problem.item, problem.message) for problem in dataset.problems if problem.code == "N05"]
    assert said == [(f"acdc/{SECOND}", "its reference is not there")]
    assert not findings(import_source("acdc", root, splits=["train"]), "N05")  # nothing is known of the others then


# Objects


def test_boxes_are_the_full_ones_and_masks_what_is_visible(tree: Tree) -> None:
    dataset = import_source("acdc", tree("acdc"))
    assert taken(dataset, FIRST) == [
        ("0000", "car", [4, 10, 16, 8], 128, False),
        ("0001", "person", [26, 6, 8, 15], 90, False),  # two parts of 3 x 15
        ("0002", "car", [36, 12, 10, 5], 50, True),
    ]
    car, person, crowd = annotations(dataset, FIRST)
    assert [len(part) for part in person["polygons"]] == [1, 1]  # two parts, no hole
    assert np.count_nonzero(mask(person)) == 90
    assert facts(person) == {"id": 101, "area": 91.5}
    assert facts(car) == {"id": 100}
    assert crowd["polygons"] is None
    assert mask(crowd)[12:17, 36:46].all()


def test_compressed_run_lengths_are_read_too(tree: Tree) -> None:
    (bus,) = annotations(import_source("acdc", tree("acdc")), "rain/train/")
    assert (bus["category"], box(bus)) == ("bus", [0, 4, 20, 12])
    assert mask(bus)[4:16, :20].all()
    assert np.count_nonzero(mask(bus)) == bus["area"] == 240


def test_without_boxes_the_things_of_the_panoptic_labels_are_taken(tree: Tree) -> None:
    dataset = import_source("acdc", tree("acdc"))
    assert taken(dataset, SECOND) == [
        ("s00000026", "car", [34, 14, 12, 6], 72, True),
        ("s00024000", "person", [14, 8, 4, 12], 48, False),
        ("s00031000", "train", [10, 4, 20, 16], 20 * 16 - 48, False),
    ]
    assert {name: facts(row).get("generation") for name, row in images(dataset).items() if "train/" in name} == {
        FIRST: "detection",
        SECOND: "panoptic",
        "rain/train/GOPR0400_frame_000001": "detection",
    }


def test_panoptic_boxes_do_not_replace_full_ones(tree: Tree) -> None:
    root = tree("acdc")
    whole = import_source("acdc", root)
    (root / f"gt_panoptic/{FIRST.replace('/GOPR', '/GOPR0475/GOPR')}_gt_panoptic.png").unlink()
    assert import_source("acdc", root).fingerprint() == whole.fingerprint()


def test_a_panoptic_mask_that_is_not_there_leaves_boxes(tree: Tree) -> None:
    root = tree("acdc")
    (root / "gt_panoptic/fog/train/GP010475/GP010475_frame_000041_gt_panoptic.png").unlink()
    dataset = import_source("acdc", root)
    assert {row["segmentation"] for row in annotations(dataset, SECOND)} == {None}
    assert [row[2] for row in taken(dataset, SECOND)] == [[34, 14, 12, 6], [14, 8, 4, 12], [10, 4, 20, 16]]
    assert findings(dataset, "F01") == [("F01", f"acdc/{SECOND}")]


def test_files_about_one_condition_are_read_only_where_those_about_all_are_missing(tree: Tree) -> None:
    root = tree("acdc")
    whole = import_source("acdc", root)
    for path in [*root.glob("gt_detection/*/*.json"), *root.glob("gt_panoptic/*/*.json")]:
        path.write_text("[]")  # not read, since the others are there
    assert import_source("acdc", root).fingerprint() == whole.fingerprint()

    root = tree("acdc", "again")
    (root / TRAIN).unlink()
    dataset = import_source("acdc", root)
    assert taken(dataset, FIRST) == taken(whole, FIRST)  # the same ids, though the file counts from 500
    assert [facts(row)["id"] for row in annotations(dataset, FIRST)] == [500, 501, 502]
    assert not taken(dataset, "rain/train/")  # there is no file about rain


def test_class_ids_have_gaps(tree: Tree) -> None:
    dataset = import_source("acdc", tree("acdc"))
    found = categories(dataset)
    assert {name for name, row in found.items() if row["role"] == "benchmark"} == THINGS
    assert len(found) == 19
    assert "caravan" not in found
    assert "trailer" not in found
    numbers = {row["name"]: int(row["id"]) for row in label_table("acdc")}
    assert [numbers[name] for name in ("bus", "train", "motorcycle", "bicycle")] == [28, 31, 32, 33]
    cityscapes = {row["name"]: int(row["id"]) for row in label_table("cityscapes")}
    assert numbers == {name: cityscapes[name] for name in numbers}


def test_a_file_without_its_own_classes_has_those_of_the_table(tree: Tree) -> None:
    root = tree("acdc")
    whole = import_source("acdc", root)
    for file in (TRAIN, PANOPTIC):
        edit(root / file, lambda content: content.pop("categories"))
    assert import_source("acdc", root).fingerprint() == whole.fingerprint()


def test_an_unknown_class_is_kept_and_reported(tree: Tree) -> None:
    root = tree("acdc")
    edit(root / TRAIN, lambda c: c["annotations"][0].update(category_id=29))
    edit(root / PANOPTIC, lambda c: c["annotations"][1]["segments_info"][2].update(category_id=99))
    dataset = import_source("acdc", root)
    assert [row[1] for row in taken(dataset, FIRST)] == ["29", "person", "car"]
    assert [row[1] for row in taken(dataset, SECOND)] == ["car", "person", "99"]
    assert [problem.where for problem in dataset.problems if problem.code == "N01"] == [
        "acdc, label '29'",
        "acdc, label '99'",
    ]


def test_semantic_and_invalid_rasters_and_lists_of_images_are_not_read(tree: Tree) -> None:
    root = tree("acdc")
    whole = import_source("acdc", root)
    for path in [*(root / "gt").rglob("*.png"), *root.rglob("*_info.json"), root / "gt/test_ref_image_list.txt"]:
        path.write_bytes(b"")
    assert import_source("acdc", root).fingerprint() == whole.fingerprint()


# What is covered


def test_labelled_splits_are_covered_for_things_and_nothing_else(tree: Tree) -> None:
    found = coverage(import_source("acdc", tree("acdc")))
    for split in ("train", "val", "train_ref"):
        assert {name for scope, name in found if scope == f"acdc/{split}"} == THINGS
        assert {state for (scope, _), state in found.items() if scope == f"acdc/{split}"} == {"exhaustive"}
    assert found["acdc/test", "*"] == "withheld"
    assert found["acdc/test_ref", "*"] == found["acdc/val_ref", "*"] == "none"


def test_an_image_that_is_listed_without_objects_is_kept_and_covered(tree: Tree) -> None:
    dataset = import_source("acdc", tree("acdc"))
    for name in ("night/val/GOPR0356_frame_000324", "rain/train_ref/GOPR0400_frame_000001"):
        assert name in images(dataset)
        assert not taken(dataset, name)
        assert (f"acdc/{name}", "*") not in coverage(dataset)


def test_a_reference_that_is_not_listed_is_unlabelled_and_no_surprise(tree: Tree) -> None:
    dataset = import_source("acdc", tree("acdc"))
    assert coverage(dataset)["acdc/fog/train_ref/GP010475_frame_000041", "*"] == "none"
    assert not dataset.problems


def test_an_adverse_image_that_is_not_listed_is_unlabelled_and_reported(tree: Tree) -> None:
    root = tree("acdc")
    edit(root / PANOPTIC, lambda c: (c["images"].pop(), c["annotations"].pop()))
    dataset = import_source("acdc", root)
    assert coverage(dataset)[f"acdc/{SECOND}", "*"] == "none"
    assert findings(dataset) == [("F01", f"acdc/{SECOND}")]


def test_a_panoptic_entry_without_annotation_is_unlabelled_too(tree: Tree) -> None:
    root = tree("acdc")
    edit(root / PANOPTIC, lambda c: c["annotations"].pop())
    dataset = import_source("acdc", root)
    assert coverage(dataset)[f"acdc/{SECOND}", "*"] == "none"
    assert findings(dataset) == [("F01", f"acdc/{SECOND}")]


def test_images_alone_are_enough(tree: Tree) -> None:
    root = tree("acdc")
    for kind in ("gt", "gt_detection", "gt_panoptic"):
        shutil.rmtree(root / kind)
    dataset = import_source("acdc", root)
    assert len(images(dataset)) == 10
    assert set(coverage(dataset).values()) == {"none", "withheld"}
    assert not dataset.problems


def test_semantic_labels_alone_are_said_to_hold_no_instances(tree: Tree) -> None:
    root = tree("acdc")
    for kind in ("gt_detection", "gt_panoptic"):
        shutil.rmtree(root / kind)
    dataset = import_source("acdc", root)
    assert not annotations(dataset)
    assert {problem.where for problem in dataset.problems} == {"gt/fog/train", "gt/fog/train_ref", "gt/night/val"}
    assert {problem.hint for problem in dataset.problems} == {"download gt_detection_trainval.zip for the objects"}


def test_published_counts_add_up() -> None:
    assert SOURCE.published is not None
    adverse = 1_000 + 1_006 + 1_000 + 1_000
    assert adverse == 4 * (400 + 100 + 500) + 6 == 4_006
    assert SOURCE.published.images == 2 * adverse == 8_012
    assert adverse + 1_503 == 5_509  # annotated


def test_a_missing_picture_is_reported_and_its_labels_stay(tree: Tree) -> None:
    root = tree("acdc")
    before = taken(import_source("acdc", root), "fog/train_ref")
    name = picture("fog/train_ref/GOPR0475_frame_000041")
    (root / name).unlink()
    dataset = import_source("acdc", root)
    row = images(dataset)["fog/train_ref/GOPR0475_frame_000041"]
    assert (row["file_name"], row["width"], row["height"]) == (name, 48, 27)
    assert taken(dataset, "fog/train_ref") == before
    assert findings(dataset, "I01") == [("I01", row["id"])]


# Bad files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("bbox"), r"annotations\[0\]: object missing required field `bbox`"),
        (lambda a: a.update(bbox=[1, 2, -3, 4]), r"annotations\[0\]\.bbox: box \[1, 2, -3, 4\] has a negative side"),
        (lambda a: a.update(bbox=["1", 2, 3, 4]), r"annotations\[0\]\.bbox\[0\]: expected `int \| float`, got `str`"),
        (lambda a: a.update(iscrowd=7), r"annotations\[0\]\.iscrowd: expected `int` <= 1"),
        (lambda a: a.pop("category_id"), r"annotations\[0\]: object missing required field `category_id`"),
        (
            lambda a: a.update(segmentation=[[1, 2, 3, 4, 5, 1e6]]),
            r"annotations\[0\]\.segmentation\[0\]: vertex 2 is at y = 1000000\.0; expected at most 480 px",
        ),
        (
            lambda a: a.update(segmentation={"size": [27, 48], "counts": [5, 6]}),
            r"annotations\[0\]\.segmentation: runs sum to 11; expected 27 x 48 = 1296",
        ),
        (
            lambda a: a.update(segmentation={"size": [27, 48], "counts": "~~"}),
            r"annotations\[0\]\.segmentation: character '~' in compressed run lengths",
        ),
        (
            lambda a: a.update(segmentation={"size": [48, 27], "counts": [1296]}),
            r"annotations\[0\]\.segmentation: mask of 27 x 48 px; its image has 48 x 27",
        ),
        (lambda a: a.update(segmentation="x"), r"annotations\[0\]\.segmentation: expected `object \| array \| null`"),
    ],
)
def test_a_broken_object_is_named_and_its_image_can_be_left_out(
    tree: Tree, change: Callable[[Any], object], said: str
) -> None:
    root = tree("acdc")
    edit(root / TRAIN, lambda c: change(c["annotations"][0]))
    with pytest.raises(SourceError, match=rf"instancesonly_train_gt_detection\.json, {said}"):
        import_source("acdc", root)
    left = import_source("acdc", root, skip_bad=True)
    assert len(images(left)) == 9
    assert findings(left, "N03") == [("N03", f"acdc/{FIRST}")]


def test_rings_without_area_are_left_out_of_the_mask(tree: Tree) -> None:
    root = tree("acdc")

    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["segmentation"].append([1, 1, 2, 2])
        content["annotations"][1]["segmentation"] = [[1, 1, 2]]
        content["annotations"][2]["segmentation"] = []

    edit(root / TRAIN, change)
    dataset = import_source("acdc", root)
    car, person, crowd = annotations(dataset, FIRST)
    assert np.count_nonzero(mask(car)) == 128
    assert person["segmentation"] is person["polygons"] is crowd["segmentation"] is None
    assert (person["area"], box(person)) == (91.5, [26, 6, 8, 15])
    said = [(problem.where, problem.message) for problem in dataset.problems if problem.code == "M01"]
    assert said == [
        (f"{TRAIN}, annotations[0]", "segmentation[1]: ring of 2 points; expected at least 3; left out of the mask"),
        (f"{TRAIN}, annotations[1]", "segmentation[0]: ring of 3 numbers; expected pairs; left out of the mask"),
    ]


@pytest.mark.parametrize(
    ("change", "image", "said"),
    [
        (lambda c: c["images"][0].update(width=47), FIRST, "was made for 47 x 27 px; its image has 48 x 27"),
        (lambda c: c["images"][0].update(width="x"), FIRST, r"images\[0\]\.width: expected `int"),
        (
            lambda c: c["images"].append(copy.deepcopy(c["images"][0])),
            FIRST,
            r"images\[2\]: names fog/train/.* a second",
        ),
    ],
)
def test_a_broken_entry_concerns_its_image_alone(
    tree: Tree, change: Callable[[Any], object], image: str, said: str
) -> None:
    root = tree("acdc")
    edit(root / TRAIN, change)
    with pytest.raises(SourceError, match=said) as raised:
        import_source("acdc", root)
    assert "1 of 10 images are broken" in str(raised.value)
    assert findings(import_source("acdc", root, skip_bad=True), "N03") == [("N03", f"acdc/{image}")]


@pytest.mark.parametrize("file", [TRAIN, PANOPTIC])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "file is empty"),
        (b'{"images": [', r"JSON is cut short after \d+ bytes"),
        (b'{"images": [NaN]}', r":1:13: JSON is malformed"),
        (b'{"annotations": []}', "object missing required field `images`"),
        (b"[]", "expected `object`, got `array`"),
    ],
)
def test_a_broken_label_file_is_named(tree: Tree, file: str, text: bytes, said: str) -> None:
    root = tree("acdc")
    (root / file).write_bytes(text)
    for skip_bad in (False, True):
        with pytest.raises(SourceError, match=rf"{Path(file).name}.*{said}"):
            import_source("acdc", root, skip_bad=skip_bad)


def test_an_empty_label_file_leaves_its_images_unlabelled(tree: Tree) -> None:
    root = tree("acdc")
    for file in (TRAIN, PANOPTIC):
        (root / file).write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    dataset = import_source("acdc", root, splits=["train"])
    assert not annotations(dataset)
    assert {coverage(dataset)[f"acdc/{name}", "*"] for name in images(dataset)} == {"none"}


def test_what_names_no_frame_is_left_out_and_reported(tree: Tree) -> None:
    root = tree("acdc")

    def change(content: dict[str, Any]) -> None:
        content["images"][1]["file_name"] = "rain/val/GOPR0400/GOPR0400_frame_000001_rgb_anon.png"  # another split
        content["images"].append({"id": 7, "file_name": "000007.jpg"})
        content["annotations"][0]["image_id"] = 5555

    edit(root / TRAIN, change)
    dataset = import_source("acdc", root)
    assert [row[1] for row in taken(dataset, FIRST)] == ["person", "car"]
    assert "rain/val/GOPR0400_frame_000001" not in images(dataset)
    assert sorted((problem.where, problem.message) for problem in dataset.problems if problem.code == "N02") == [
        (TRAIN, "file name '000007.jpg' is no frame of train; left out"),
        (TRAIN, "file name 'rain/val/GOPR0400/GOPR0400_frame_000001_rgb_anon.png' is no frame of train; left out"),
        (f"{TRAIN}, annotations[0]", "image_id 5555 is no image of the file; annotation left out"),
    ]


def test_an_archive_that_is_not_unpacked_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "rgb_anon_trainvaltest.zip").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"holds rgb_anon_trainvaltest\.zip; .*; unpack the archives there first"):
        import_source("acdc", tmp_path)


def test_the_folder_above_is_hinted_at(tree: Tree) -> None:
    root = tree("acdc")
    with pytest.raises(SourceError, match=rf"as rgb_anon/fog/train/; name the folder above, .*{root.name}"):
        import_source("acdc", root / "rgb_anon")


def test_a_split_that_is_not_there_is_an_error(tree: Tree) -> None:
    root = tree("acdc")
    shutil.rmtree(root / "rgb_anon/night")
    with pytest.raises(SourceError, match=r"holds no split 'val'; expected rgb_anon/fog/val/; it holds train, test"):
        import_source("acdc", root, splits=["val"])


@pytest.mark.parametrize(
    "file",
    [
        "rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "gt_panoptic/fog/train/GP010475/GP010475_frame_000041_gt_panoptic.png",
    ],
)
def test_links_that_leave_the_root_are_not_followed(tree: Tree, tmp_path: Path, file: str) -> None:
    root = tree("acdc")
    (root / file).rename(tmp_path / "outside.png")
    (root / file).symlink_to(tmp_path / "outside.png")
    with pytest.raises(SourceError, match=rf"{Path(file).name}: is a link that leaves "):
        import_source("acdc", root)
    assert len(images(import_source("acdc", root, skip_bad=True))) == 9


def test_a_mask_of_another_size_or_kind_is_refused(tree: Tree) -> None:
    root = tree("acdc")
    path = root / "gt_panoptic/fog/train/GP010475/GP010475_frame_000041_gt_panoptic.png"
    Image.new("RGB", (27, 48)).save(path)
    with pytest.raises(SourceError, match=rf"{path.name}: was made for 27 x 48 px; its image has 48 x 27"):
        import_source("acdc", root)
    Image.new("L", (48, 27)).save(path)
    with pytest.raises(SourceError, match=rf"{path.name}: is a picture of mode L; expected RGB colours"):
        import_source("acdc", root)
