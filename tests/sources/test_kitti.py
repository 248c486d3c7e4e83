"""KITTI: the rules and oddities of its format, one by one, and the real sample."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.sources import kitti
from tests.sources.looking import searchad_paths

Tree = Callable[..., Path]
ROW = "Car 0.00 0 1.85 10.00 5.50 30.25 20.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"
EIGHT = {"Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc"}


def rows(dataset: Dataset, image: str) -> list[dict]:
    return [row for row in dataset.table("annotations").to_pylist() if row["image_id"] == image]


def images(dataset: Dataset) -> dict[str, dict]:
    return {row["id"]: row for row in dataset.table("images").to_pylist()}


def coverage(dataset: Dataset) -> set[tuple[str, str, str]]:
    return {(row["scope"], row["category"], row["state"]) for row in dataset.table("coverage").to_pylist()}


def codes(dataset: Dataset) -> Counter[str]:
    return Counter(problem.code for problem in dataset.problems)


def box(row: dict) -> list[float]:
    return [row["x"], row["y"], row["w"], row["h"]]


# The real sample, against the values of its README


def test_real_sample(shared: Path) -> None:
    dataset = import_source("kitti", shared / "samples/kitti")
    assert {key: (row["width"], row["height"]) for key, row in images(dataset).items()} == {
        "kitti/training/000000": (1224, 370),
        "kitti/training/000001": (1242, 375),
        "kitti/training/000002": (1241, 376),
        "kitti/testing/000000": (1242, 375),
    }
    labels = Counter(row["category"] for row in dataset.table("annotations").to_pylist())
    assert labels == {"Pedestrian": 1, "Truck": 1, "Car": 1, "Cyclist": 1, "DontCare": 4}
    (pedestrian,) = rows(dataset, "kitti/training/000000")
    assert box(pedestrian) == pytest.approx([712.40, 143.00, 98.33, 164.92])
    truck = rows(dataset, "kitti/training/000001")[0]
    assert box(truck) == pytest.approx([599.41, 156.40, 30.34, 32.85])
    assert not rows(dataset, "kitti/training/000002")
    assert not dataset.problems


# Rows


def test_box_is_right_minus_left_and_bottom_minus_top() -> None:
    (row,) = kitti.objects(ROW, "kitti/training/000001", "file")
    assert (row.x, row.y, row.w, row.h) == (10.0, 5.5, 20.25, 14.5)
    assert row.area == 20.25 * 14.5


def test_objects_cut_by_the_frame_keep_the_last_pixel_as_found(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    car = rows(dataset, "kitti/training/000001")[1]
    assert box(car) == [100.0, 10.5, 23.0, 25.5]  # ends at 123 and 36 in a frame of 124 x 37
    assert json.loads(car["attributes"])["kitti"]["bbox"] == [100.0, 10.5, 123.0, 36.0]


def test_all_fields_are_kept_as_found_and_in_their_number_type() -> None:
    text = f"{ROW}\nDontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\n"
    car, region = kitti.objects(text, "i", "file")
    assert car.attributes == {
        "kitti": {
            "truncated": 0.0,
            "occluded": 0,
            "alpha": 1.85,
            "bbox": [10.0, 5.5, 30.25, 20.0],
            "dimensions": [1.67, 1.87, 3.69],
            "location": [-16.53, 2.39, 58.49],
            "rotation_y": 1.57,
        }
    }
    unknown = region.attributes["kitti"]
    assert unknown["location"] == [-1000, -1000, -1000]
    assert [type(value) for value in unknown["location"]] == [int] * 3
    assert (unknown["truncated"], unknown["occluded"], unknown["alpha"]) == (-1, -1, -10)
    assert type(car.attributes["kitti"]["truncated"]) is float


@pytest.mark.parametrize("value", ["0.00", "0.35", "1.00"])
@pytest.mark.parametrize("occluded", ["0", "1", "2", "3"])
def test_truncation_and_occlusion_are_not_reduced_to_yes_and_no(value: str, occluded: str) -> None:
    (row,) = kitti.objects(ROW.replace("0.00 0 ", f"{value} {occluded} ", 1), "i", "file")
    assert row.attributes["kitti"]["truncated"] == float(value)
    assert row.attributes["kitti"]["occluded"] == int(occluded)


@pytest.mark.parametrize("label", sorted(EIGHT))
def test_every_class_keeps_its_name(label: str) -> None:
    (row,) = kitti.objects(ROW.replace("Car", label), "i", "file")
    assert (row.category, row.source_label, row.ignore, row.iscrowd) == (label, label, False, False)


def test_dont_care_is_an_ignore_region_and_no_class(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    regions = [row for row in dataset.table("annotations").to_pylist() if row["category"] == "DontCare"]
    assert [row["ignore"] for row in regions] == [True, True]
    assert not any(row["iscrowd"] for row in regions)
    roles = {row["name"]: row["role"] for row in dataset.table("categories").to_pylist()}
    assert roles == {**dict.fromkeys(EIGHT, "benchmark"), "DontCare": "ignore"}
    assert not [row for row in dataset.table("coverage").to_pylist() if row["category"] == "DontCare"]


def test_rows_are_numbered_from_zero_and_blank_lines_do_not_count(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    found = rows(dataset, "kitti/training/000003")
    assert [row["id"] for row in found] == ["kitti/training/000003#0000", "kitti/training/000003#0001"]
    assert [row["category"] for row in found] == ["Cyclist", "Tram"]  # its lines end as on Windows


def test_a_byte_order_mark_is_not_part_of_the_first_label(tree: Tree) -> None:
    root = tree("kitti")
    label = root / "training/label_2/000000.txt"
    label.write_bytes(b"\xef\xbb\xbf" + label.read_bytes())
    assert rows(import_source("kitti", root), "kitti/training/000000")[0]["category"] == "Pedestrian"


def test_boxes_without_area_or_outside_the_frame_are_kept_and_reported(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    flat, wide = rows(dataset, "kitti/training/000003")
    assert box(flat) == [20.0, 10.0, 10.0, 0.0]
    assert box(wide) == [110.0, 5.0, 30.0, 25.0]
    found = {(problem.code, problem.item) for problem in dataset.problems}
    assert {("B03", flat["id"]), ("B04", wide["id"])} <= found


def test_an_unknown_label_is_kept_and_reported(tree: Tree) -> None:
    root = tree("kitti")
    (root / "training/label_2/000002.txt").write_text(ROW.replace("Car", "Unicycle"))
    dataset = import_source("kitti", root)
    assert rows(dataset, "kitti/training/000002")[0]["category"] == "Unicycle"
    assert [problem.where for problem in dataset.problems if problem.code == "N01"] == ["kitti, label 'Unicycle'"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (ROW.rsplit(" ", 1)[0], "14 columns; expected 15"),
        (f"{ROW} 0.93", "16 columns; expected 15: type, .*; a result file with scores"),
        (f"0 1 {ROW}", "17 columns; expected 15: type, .*; KITTI tracking"),
        ("Car", "1 columns"),
        (ROW.replace("58.49", "nan"), "z is 'nan'; expected a finite number"),
        (ROW.replace("10.00", "-inf"), "left is '-inf'"),
        (ROW.replace("10.00", "1e999"), "left is '1e999'"),
        (ROW.replace("10.00", "1_0"), "left is '1_0'"),
        (ROW.replace("10.00", "0x10"), "left is '0x10'"),
        (ROW.replace("10.00", "1٠"), "left is '1٠'"),  # an Arabic zero, which int() takes
        (ROW.replace("0.00 0", "0.00 none"), "occluded is 'none'"),
        (ROW.replace("10.00", "30.26"), r"flipped corners; expected left, top, right, bottom"),
        (ROW.replace("5.50", "20.01"), "flipped corners"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(line: str, said: str) -> None:
    with pytest.raises(SourceError, match=rf"label_2/000001\.txt:3: .*{said}"):
        kitti.objects(f"{ROW}\n\n{line}\n", "kitti/training/000001", "label_2/000001.txt")


@pytest.mark.parametrize(
    ("text", "value"),
    [("-1", -1), ("+7", 7), ("0", 0), ("0.00", 0.0), ("-10.", -10.0), (".5", 0.5), ("1e2", 100.0), ("-1.5E-1", -0.15)],
)
def test_numbers_have_the_type_that_they_are_written_in(text: str, value: float) -> None:
    (row,) = kitti.objects(ROW.replace("58.49", text), "i", "file")
    found = row.attributes["kitti"]["location"][2]
    assert (found, type(found)) == (value, type(value))


def test_big_numbers_do_not_overflow() -> None:
    (row,) = kitti.objects(ROW.replace("58.49", "9" * 300), "i", "file")
    assert row.attributes["kitti"]["location"][2] == float("9" * 300)


@given(st.text())
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        found = kitti.objects(text, "i", "file")
    except SourceError as error:
        assert error.where.startswith("file:")
    else:
        assert len(found) == len([line for line in text.split("\n") if line.split()])


_cents = st.integers(-10_000, 200_000).map(lambda n: f"{n / 100:.2f}")


@given(_cents, _cents, _cents, _cents)
def test_corners_come_back(left: str, top: str, right: str, bottom: str) -> None:
    line = ROW.replace("10.00 5.50 30.25 20.00", f"{left} {top} {right} {bottom}")
    if float(right) < float(left) or float(bottom) < float(top):
        with pytest.raises(SourceError, match="flipped"):
            kitti.objects(line, "i", "file")
        return
    (row,) = kitti.objects(line, "i", "file")
    assert (row.x, row.y) == (float(left), float(top))
    assert row.x + row.w == pytest.approx(float(right))
    assert row.y + row.h == pytest.approx(float(bottom))


# Trees


def test_ids_carry_the_split_since_both_count_from_zero(tree: Tree) -> None:
    found = images(import_source("kitti", tree("kitti")))
    assert found["kitti/training/000000"]["file_name"] == "training/image_2/000000.png"
    assert found["kitti/testing/000000"]["file_name"] == "testing/image_2/000000.png"
    assert found["kitti/testing/000000"]["source_split"] == "testing"


def test_sizes_are_read_from_each_picture(tree: Tree) -> None:
    found = images(import_source("kitti", tree("kitti")))
    assert [
        (found[f"kitti/training/00000{n}"]["width"], found[f"kitti/training/00000{n}"]["height"]) for n in (0, 2)
    ] == [
        (122, 37),
        (124, 38),
    ]


def test_an_empty_label_file_is_an_image_without_objects(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    assert "kitti/training/000002" in images(dataset)
    assert not rows(dataset, "kitti/training/000002")
    assert "kitti/training/000002" not in {problem.item for problem in dataset.problems}


def test_training_is_labelled_throughout_for_the_eight_classes_and_testing_not_at_all(tree: Tree) -> None:
    found = coverage(import_source("kitti", tree("kitti")))
    assert {row for row in found if row[0].count("/") == 1} == {
        *(("kitti/training", name, "exhaustive") for name in EIGHT),
        ("kitti/testing", "*", "none"),
    }


def test_an_image_whose_label_file_is_missing_is_kept_and_unjudged(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    assert images(dataset)["kitti/training/000007"]["width"] == 122
    assert ("kitti/training/000007", "*", "none") in coverage(dataset)
    (problem,) = [problem for problem in dataset.problems if problem.item == "kitti/training/000007"]
    assert (problem.code, problem.severity, problem.where) == ("F01", "warning", "training/image_2/000007.png")


def test_labels_whose_image_is_missing_are_kept(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"))
    image = images(dataset)["kitti/training/000009"]
    assert (image["file_name"], image["width"]) == ("training/image_2/000009.png", None)
    assert [row["category"] for row in rows(dataset, "kitti/training/000009")] == ["Misc"]
    assert [problem.where for problem in dataset.problems if problem.code == "I01"] == ["training/image_2/000009.png"]


def test_images_alone_are_enough(tree: Tree) -> None:
    root = tree("kitti")
    shutil.rmtree(root / "training/label_2")
    dataset = import_source("kitti", root)
    assert len(images(dataset)) == 7  # 000009 was but a label file
    assert coverage(dataset) == {("kitti/training", "*", "none"), ("kitti/testing", "*", "none")}
    assert not dataset.problems  # not a word about each of 7,481 images


def test_a_label_folder_that_is_empty_makes_no_image_a_negative(tree: Tree) -> None:
    root = tree("kitti")
    for file in (root / "training/label_2").iterdir():
        file.unlink()
    dataset = import_source("kitti", root, splits=["training"])
    assert {(name, "*", "none") for name in images(dataset)} <= coverage(dataset)


def test_the_names_of_the_development_kit_are_read_too(tree: Tree) -> None:
    root = tree("kitti")
    first = import_source("kitti", root)
    for folder in ("training/image_2", "training/label_2", "testing/image_2"):
        (root / folder).rename(root / folder.replace("_2", "_02"))
    second = import_source("kitti", root)
    assert second.fingerprint() == first.fingerprint()
    assert images(second)["kitti/training/000000"]["file_name"] == "training/image_02/000000.png"


def test_results_in_the_place_of_testing_labels_are_not_read(tree: Tree) -> None:
    root = tree("kitti")
    shutil.copytree(root / "training/label_2", root / "testing/label_2")
    dataset = import_source("kitti", root)
    assert not rows(dataset, "kitti/testing/000000")
    assert ("kitti/testing", "*", "none") in coverage(dataset)
    assert [problem.where for problem in dataset.problems if problem.code == "N05"] == ["testing/label_2"]


def test_one_split_can_be_asked_for(tree: Tree) -> None:
    dataset = import_source("kitti", tree("kitti"), splits=["testing"])
    assert list(images(dataset)) == ["kitti/testing/000000", "kitti/testing/000001"]
    assert coverage(dataset) == {("kitti/testing", "*", "none")}


def test_a_split_that_is_not_there_is_an_error(tree: Tree) -> None:
    root = tree("kitti")
    shutil.rmtree(root / "testing")
    with pytest.raises(SourceError, match=r"holds no split 'testing'; expected testing/image_2/; it holds training"):
        import_source("kitti", root, splits=["testing"])


def test_labels_without_the_images_of_their_split_are_reported(tree: Tree) -> None:
    root = tree("kitti")
    shutil.rmtree(root / "training/image_2")
    dataset = import_source("kitti", root)
    assert codes(dataset) == {"N03": 1}
    assert len(images(dataset)) == 2


def test_kitti_tracking_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "training/image_02/0000").mkdir(parents=True)
    (tmp_path / "training/image_02/0000/000000.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"image_02: holds folders; expected pictures.*KITTI tracking"):
        import_source("kitti", tmp_path)


def test_names_that_are_not_six_digits_are_refused(tree: Tree) -> None:
    root = tree("kitti")
    shutil.copy(root / "training/image_2/000000.png", root / "training/image_2/000000 (1).png")
    with pytest.raises(SourceError, match=r"000000 \(1\)\.png: file name is not six digits"):
        import_source("kitti", root)


def test_calibration_and_left_overs_change_nothing(tree: Tree) -> None:
    root = tree("kitti")
    first = import_source("kitti", root).fingerprint()
    shutil.rmtree(root / "training/calib")
    (root / "training/label_2/.000001.txt.swp").unlink()
    assert import_source("kitti", root).fingerprint() == first


# SearchAD names the same images by path


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    for name, row in images(import_source("kitti", tree("kitti"))).items():
        assert kitti.key_from_searchad(row["file_name"]) == name


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("testing/image_2/000906.png", "kitti/testing/000906"),
        ("data_object_image_2/training/image_02/007480.png", "kitti/training/007480"),
        ("training/label_2/000000.txt", None),
        ("training/image_2/0.png", None),
        ("training/image_3/000000.png", None),
        ("image_2/000000.png", None),
        ("val/image_2/000000.png", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert kitti.key_from_searchad(path) == image


def test_paths_of_searchads_release_are_all_understood(shared: Path) -> None:
    found = [kitti.key_from_searchad(path) for path in searchad_paths(shared, "kitti")]
    assert sorted(map(str, found)) == ["kitti/testing/000906", "kitti/testing/000915"]
