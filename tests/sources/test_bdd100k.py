"""BDD100K: the rules and oddities of its format, one by one, and the sample."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import bdd100k, label_table
from curate.sources._scalabel import Curve, flatten, frame_spans, read_frame
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images, mask

Tree = Callable[..., Path]
BOTH, OLDER, OLDEST, BARE = "0000f77c-6257be58", "0001542f-5ce3cf52", "0001542f-7c670be8", "-00054602-3bf57337"
STREET, EMPTY, NULL, ABSENT = "b1c66a42-6f7d68ca", "b1c81faa-3df17267", "b1c81faa-c80764c5", "b1c9c847-3bda4659"
LOST, SECRET, VIDEO = "b1ca2e5d-84cf9134", "cabc30fc-e7726578", "b1c66a42-6f7d68ca"
LABELS = "bdd100k/labels"
DET_VAL, DET_TRAIN = f"{LABELS}/det_20/det_val.json", f"{LABELS}/det_20/det_train.json"
TRAIN_2018 = f"{LABELS}/bdd100k_labels_images_train.json"
EVALUATED = {"pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"}
EVALUATED |= {"traffic light", "traffic sign"}


def rows(dataset: Any, key: str) -> list[dict[str, Any]]:
    return [row for row in annotations(dataset) if row["image_id"] == f"bdd100k/{key}"]


def facts(row: dict[str, Any]) -> dict[str, Any]:
    return row["attributes"]["bdd100k"]


# The sample, against the values of its README


def test_sample_of_det_20(shared: Path) -> None:
    dataset = import_source("bdd100k", shared / "samples/bdd100k", splits=["val"])
    assert len(images(dataset)) == 3
    assert Counter(row["category"] for row in annotations(dataset)) == {
        "traffic sign": 4,
        "pedestrian": 1,
        "bicycle": 1,
        "motorcycle": 1,
        "traffic light": 1,
        "other vehicle": 1,
        "rider": 1,
    }
    first = rows(dataset, STREET)[0]
    assert box(first) == pytest.approx([1000.698742, 281.992415, 40.92813, 45.919145])  # official; plain 39.92813
    assert not dataset.problems
    found = images(dataset)[STREET]
    assert (found["weather"], found["time_of_day"]) == ("overcast", "daytime")
    assert found["attributes"]["bdd100k"]["attributes"]["scene"] == "city street"


def test_sample_of_2018(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "samples/bdd100k", tmp_path / "root", copy_function=shutil.copyfile)
    for folder in (tmp_path / "root/bdd100k/labels/det_20", tmp_path / "root/bdd100k/labels"):
        folder.chmod(0o755)
    shutil.rmtree(tmp_path / "root/bdd100k/labels/det_20")
    dataset = import_source("bdd100k", tmp_path / "root", splits=["val"])
    assert Counter(row["category"] for row in annotations(dataset)) == {
        "traffic sign": 4,
        "pedestrian": 1,
        "bicycle": 1,
        "motorcycle": 1,
        "traffic light": 1,
        "drivable area": 1,
        "lane": 1,
    }
    assert {row["image_id"] for row in annotations(dataset)} == {f"bdd100k/{STREET}", f"bdd100k/{EMPTY}"}
    assert findings(dataset) == [("F01", f"bdd100k/{NULL}")]  # the 2018 file has two of the three frames
    assert box(rows(dataset, STREET)[0]) == pytest.approx([1000.698742, 281.992415, 40.92813, 45.919145])


def test_sample_of_the_oldest_form(shared: Path) -> None:
    dataset = import_source("bdd100k", shared / "samples/bdd100k", splits=["train"])
    first, second, area, lane = annotations(dataset)
    assert box(first) == pytest.approx([1125.902264, 133.184488, 32.076381, 78.690957])
    assert facts(second)["attributes"]["trafficLightColor"] == "green"
    assert (area["source_label"], lane["source_label"]) == ("area/drivable", "lane/single white")
    assert not dataset.problems


def test_sample_of_tracking(shared: Path) -> None:
    """Four real frames, whose pictures are not there."""
    root = shared / "samples/bdd100k"
    dataset = import_source("bdd100k", root, splits=["track/val"])
    content = json.loads((root / f"{LABELS}/box_track_20/val/{VIDEO}.json").read_text())
    assert sorted(images(dataset)) == [frame["name"].removesuffix(".jpg") for frame in content]
    assert len(content) == 4
    for frame in content:
        found = rows(dataset, frame["name"].removesuffix(".jpg"))
        wanted = [(label["category"], f"bdd100k/{VIDEO}/{label['id']}") for label in frame["labels"]]
        assert [(row["category"], row["instance"]) for row in found] == wanted
        corners = [label["box2d"] for label in frame["labels"]]
        assert [row["w"] for row in found] == [c["x2"] - c["x1"] + 1 for c in corners]
    assert {row["sequence"] for row in images(dataset).values()} == {VIDEO}
    assert findings(dataset) == [("I01", f"bdd100k/{VIDEO}-{number:07d}") for number in (1, 2, 3, 4)]
    (left_out,) = import_source("bdd100k", root).problems
    assert (left_out.code, left_out.where) == ("N03", f"{LABELS}/box_track_20/val")


# Boxes


def test_corners_are_inclusive(tree: Tree) -> None:
    sign, car, other, rider, pixel = rows(import_source("bdd100k", tree("bdd100k")), STREET)
    assert box(sign) == pytest.approx([1000.698742, 281.992415, 40.92813, 45.919145])
    assert sign["area"] == pytest.approx(40.92813 * 45.919145)
    assert box(rider) == [400, 300, 21, 61]
    assert box(other) == [300, 300, 41, 31]
    assert box(pixel) == [20, 30, 1, 1]  # corners that are equal
    assert box(car)[:2] == [1200, 500]


def test_a_box_may_leave_the_frame_by_almost_a_pixel(tree: Tree) -> None:
    root = tree("bdd100k")
    dataset = import_source("bdd100k", root)
    car = rows(dataset, STREET)[1]
    assert car["x"] + car["w"] == pytest.approx(1280.996)
    assert car["y"] + car["h"] == pytest.approx(720.99)
    assert not findings(dataset, "B04", "B05")
    edit(root / DET_VAL, lambda frames: frames[0]["labels"][1]["box2d"].update(x2=1280.5))
    assert findings(import_source("bdd100k", root), "B04") == [("B04", car["id"])]


@pytest.mark.parametrize("corner", ["x2", "y2"])
def test_flipped_corners_are_refused(tree: Tree, corner: str) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: frames[0]["labels"][2]["box2d"].update({corner: 299.5}))
    said = rf"{re.escape(str(root / DET_VAL))}, \[0\]\.labels\[2\]\.box2d: box .* has flipped corners"
    with pytest.raises(SourceError, match=said):
        import_source("bdd100k", root)
    left = import_source("bdd100k", root, skip_bad=True)
    assert STREET not in images(left)
    assert len(images(left)) == 11


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda label: label.pop("category"), r"\[0\]\.labels\[1\]: object missing required field `category`"),
        (lambda label: label.update(category=None), r"\[0\]\.labels\[1\]\.category: expected `str`, got `null`"),
        (lambda label: label.update(category=""), r"\[0\]\.labels\[1\]\.category: expected `str` of length >= 1"),
        (lambda label: label["box2d"].pop("x2"), r"\[0\]\.labels\[1\]\.box2d: object missing required field `x2`"),
        (lambda label: label["box2d"].update(x2="4"), r"\[0\]\.labels\[1\]\.box2d\.x2: expected `float`, got `str`"),
        (lambda label: label["box2d"].update(x1=-1e300), r"\[0\]\.labels\[1\]\.box2d\.x1: expected `float` >="),
        (lambda label: label.update(id=[1]), r"\[0\]\.labels\[1\]\.id: expected `int \| str \| null`"),
    ],
)
def test_a_broken_label_is_named_by_file_and_place(
    tree: Tree, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: change(frames[0]["labels"][1]))
    with pytest.raises(SourceError, match=said) as raised:
        import_source("bdd100k", root)
    assert f"{root / DET_VAL}, [0].labels[1]" in str(raised.value)
    assert "1 of 12 images are broken" in str(raised.value)
    assert set(images(import_source("bdd100k", root, skip_bad=True))) == {
        key for key in images(import_source("bdd100k", tree("bdd100k", "sound"))) if key != STREET
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty; expected JSON"),
        (b"\n", "file is empty; expected JSON"),
        (b'[{"name": "a.jpg", "labels": [', "JSON is cut short"),
        (b'[{"name": "a.jpg", "x": NaN}]', r":1:\d+: JSON is malformed at 'NaN"),
        (b"7", "expected `array`, got `int`"),
        (b'{"images": []}', "object missing required field `frames`"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_a_file_of_labels_that_is_broken_as_a_whole(tree: Tree, content: bytes, said: str) -> None:
    root = tree("bdd100k")
    (root / DET_VAL).write_bytes(content)
    for skip in (False, True):
        with pytest.raises(SourceError, match=said) as raised:
            import_source("bdd100k", root, skip_bad=skip)
        assert str(root / DET_VAL) in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"labels": []}, r"\[5\]: object missing required field `name`"),
        (None, r"\[5\]: expected `object`, got `null`"),
        ({"name": ""}, r"\[5\]\.name: expected `str` of length >= 1"),
        ({"name": "a b.jpg"}, r"\[5\]: name is 'a b'; expected a file name"),
        ({"name": ".."}, r"\[5\]: name is '\.\.'; expected a file name"),
    ],
)
def test_an_entry_without_a_usable_name_is_broken(tree: Tree, entry: Any, said: str) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: frames.append(entry))
    with pytest.raises(SourceError, match=re.escape(str(root / DET_VAL)) + ", " + said):
        import_source("bdd100k", root)
    assert len(images(import_source("bdd100k", root, skip_bad=True))) == 12


# Labels


def test_the_label_table_is_the_published_one(tree: Tree, shared: Path) -> None:
    table = label_table("bdd100k")
    with (shared / "formats/bdd100k_labels.csv").open() as stream:
        assert table == list(csv.DictReader(stream))
    assert [row["det_20_category"] for row in table if row["official_id"]] == [
        *("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
        *("traffic light", "traffic sign"),
    ]
    assert [row["official_id"] for row in table[:10]] == [str(i) for i in range(1, 11)]  # they start at 1
    found = categories(import_source("bdd100k", tree("bdd100k")))
    assert {name for name, row in found.items() if row["role"] == "benchmark"} == EVALUATED
    assert {name for name, row in found.items() if row["role"] == "ignore"} == {
        *("other person", "other vehicle", "trailer")
    }
    assert {name for name, row in found.items() if row["role"] == "other"} == {"drivable area", "lane"}
    assert found["pedestrian"]["supercategory"] == "human"


def test_names_of_2018_become_those_of_2020(tree: Tree) -> None:
    dataset = import_source("bdd100k", tree("bdd100k"))
    assert [(row["category"], row["source_label"]) for row in rows(dataset, OLDER)[:3]] == [
        ("bicycle", "bike"),
        ("motorcycle", "motor"),
        ("traffic light", "traffic light"),
    ]


def test_other_vehicles_and_their_like_are_ignored_and_groups_are_crowds(tree: Tree) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: frames[0]["labels"][4]["attributes"].update(Ignored=True))
    dataset = import_source("bdd100k", root)
    assert [(row["category"], row["ignore"], row["iscrowd"]) for row in rows(dataset, STREET)] == [
        ("traffic sign", False, False),
        ("car", False, False),
        ("other vehicle", True, False),
        ("rider", False, True),
        ("car", True, False),
    ]
    assert [row["ignore"] for row in rows(dataset, LOST)] == [True]  # a trailer


def test_attributes_are_kept_as_found_and_compared_without_case(tree: Tree) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: frames[0]["labels"][0]["attributes"].update(Crowd=True, occluded=None))
    dataset = import_source("bdd100k", root)
    sign = rows(dataset, STREET)[0]
    assert sign["iscrowd"] is True
    assert facts(sign) == {
        "id": "1000",
        "attributes": {"occluded": None, "truncated": False, "trafficLightColor": "NA", "Crowd": True},
    }
    motor, light = rows(dataset, OLDER)[1:3]
    assert facts(motor)["attributes"]["Occluded"] is True
    assert facts(light)["attributes"]["trafficLightColor"] == "red"
    assert facts(light)["id"] == 12  # a number in 2018
    assert facts(rows(dataset, OLDER)[0])["manualShape"] is True


def test_an_unknown_label_is_kept_and_reported(tree: Tree) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: frames[0]["labels"][0].update(category="van"))
    dataset = import_source("bdd100k", root)
    assert rows(dataset, STREET)[0]["category"] == "van"
    assert [found.where for found in dataset.problems if found.code == "N01"] == ["bdd100k, label 'van'"]


def test_a_label_without_shape_is_left_out_and_reported(tree: Tree) -> None:
    dataset = import_source("bdd100k", tree("bdd100k"))
    (found,) = [found for found in dataset.problems if found.code == "N02"]
    assert found.where == f"{TRAIN_2018}, [1].labels[6]"
    assert found.message == "lane has neither box2d nor poly2d; left out"
    assert [row["id"].rpartition("#")[2] for row in rows(dataset, OLDER)] == [f"{i:04d}" for i in range(6)]


# Areas and lanes


def test_a_drivable_area_has_a_mask_and_its_box(tree: Tree) -> None:
    area = rows(import_source("bdd100k", tree("bdd100k")), OLDER)[3]
    assert area["polygons"] == [[[100, 700, 300, 400, 500, 400, 700, 700]]]
    found = mask(area)
    assert found.shape == (720, 1280)
    assert box(area) == [100, 400, 601, 301]  # max + 1 - min
    assert area["area"] == found.sum() == pytest.approx((600 + 200) / 2 * 300, rel=0.01)
    assert facts(area)["attributes"] == {"areaType": "direct"}


def test_curves_are_flattened(tree: Tree) -> None:
    area = rows(import_source("bdd100k", tree("bdd100k")), OLDER)[4]
    (ring,) = area["polygons"][0]
    assert len(ring) // 2 == 6 - 2 + 15  # two control points gave way to 15 points between the ends
    assert [840, 550] in np.reshape(ring, (-1, 2)).tolist()  # halfway: 900 - 3/4 * 80
    assert box(area) == [840, 400, 161, 301]
    assert facts(area)["poly2d"][0]["types"] == "LCCLLL"


def test_a_lane_is_the_box_around_its_curve(tree: Tree) -> None:
    lane = rows(import_source("bdd100k", tree("bdd100k")), OLDER)[5]
    assert box(lane) == [500, 500, 140, 219]
    assert (lane["segmentation"], lane["polygons"], lane["area"]) == (None, None, None)
    assert facts(lane)["poly2d"] == [
        {"vertices": [[500, 500], [540, 560], [600, 640], [640, 719]], "types": "LCCL", "closed": False}
    ]


def test_the_form_before_august_2018(tree: Tree) -> None:
    dataset = import_source("bdd100k", tree("bdd100k"))
    light, area, lane = rows(dataset, OLDEST)
    assert (light["category"], box(light)[0]) == ("traffic light", 1125.902264)
    assert (area["category"], area["source_label"]) == ("drivable area", "area/drivable")
    assert area["polygons"] == [[[0, 719, 600, 400, 1200, 719]]]
    assert (lane["category"], lane["source_label"]) == ("lane", "lane/single white")
    assert facts(lane)["attributes"] == {"direction": "parallel", "style": "solid"}
    assert facts(lane)["poly2d"] == [[10, 600, "L"], [500, 450, "L"]]
    image = images(dataset)[OLDEST]
    assert (image["weather"], image["time_of_day"]) == ("clear", "daytime")
    assert image["attributes"]["bdd100k"]["generation"] == "before 2018-08-28"


@pytest.mark.parametrize(
    "label",
    [
        *(f"area/{name}" for name in ("drivable", "alternative", "unknown")),
        *(f"lane/{name}" for name in ("crosswalk", "double other", "double white", "double yellow", "road curb")),
        *(f"lane/{name}" for name in ("single other", "single white", "single yellow")),
    ],
)
def test_old_names_of_areas_and_lanes(tree: Tree, label: str) -> None:
    root = tree("bdd100k")
    path = root / f"{LABELS}/100k/train/{OLDEST}.json"
    edit(path, lambda file: file["frames"][0]["objects"][1].update(category=label))
    row = rows(import_source("bdd100k", root), OLDEST)[1]
    assert row["category"] == ("lane" if label.startswith("lane") else "drivable area")
    assert (row["segmentation"] is None) == label.startswith("lane")


def test_an_old_file_of_several_frames_is_refused(tree: Tree) -> None:
    root = tree("bdd100k")
    edit(root / f"{LABELS}/100k/train/{OLDEST}.json", lambda file: file["frames"].append({"objects": []}))
    with pytest.raises(SourceError, match=rf"{OLDEST}\.json, frames: has 2 frames; expected one"):
        import_source("bdd100k", root)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"vertices": [[0, 0], [9, 0]], "types": "LL", "closed": True}, "ring of 2 points; expected at least 3"),
        ({"vertices": [[0, 0], [9, 0], [9, 9]], "types": "LL", "closed": True}, "has 3 vertices of the types 'LL'"),
        ({"vertices": [[0, 0], [9, 0], [9, 9]], "types": "LXL", "closed": True}, "has 3 vertices of the types 'LXL'"),
        ({"vertices": [[0, 0], [9, 0], [9, 9]], "types": "LLC", "closed": True}, "ends within a curve"),
        ({"vertices": [[1e6, 0], [9, 0], [9, 9]], "types": "LLL", "closed": True}, "vertex 0 is at x = 1000000"),
        ({"vertices": [[-9, -9], [-5, -9], [-5, -5]], "types": "LLL", "closed": True}, "lies outside the 1280 x 720"),
        ({"vertices": [], "types": "", "closed": False}, "has no vertex"),
    ],
)
def test_an_area_that_shows_nothing_is_left_out_and_reported(tree: Tree, shape: dict[str, Any], said: str) -> None:
    root = tree("bdd100k")
    edit(root / TRAIN_2018, lambda frames: frames[1]["labels"][3].update(poly2d=[shape]))
    dataset = import_source("bdd100k", root)
    (found,) = [found for found in dataset.problems if found.item == f"bdd100k/{OLDER}#0003"]
    assert (found.code, found.where) == ("N02", f"{TRAIN_2018}, [1].labels[3]")
    assert said in found.message
    assert len(rows(dataset, OLDER)) == 5


_points = st.tuples(st.integers(0, 99).map(float), st.integers(0, 99).map(float))


@given(st.lists(_points, min_size=1), st.booleans())
def test_points_alone_are_the_ring(points: list[tuple[float, float]], closed: bool) -> None:
    flat = [value for point in points for value in point]
    found = flatten(Curve(points, "L" * len(points), closed))
    assert found == flat


@given(_points, _points)
def test_control_points_on_a_line_give_the_line(start: tuple[float, float], end: tuple[float, float]) -> None:
    thirds = [tuple(a + (b - a) * k / 3 for a, b in zip(start, end, strict=True)) for k in range(4)]
    found = np.reshape(flatten(Curve(thirds, "LCCL", False)), (-1, 2))
    assert np.allclose(found, np.linspace(start, end, len(found)))


@pytest.mark.parametrize("types", ["LLCC", "LLCCC"])
def test_a_closed_curve_may_end_in_its_first_point(types: str) -> None:
    points = [(0.0, 0.0), (8.0, 0.0), (8.0, 8.0), (0.0, 8.0), (0.0, 0.0)][: len(types)]
    found = flatten(Curve(points, types, True))
    assert found[:4] == [0, 0, 8, 0]
    assert len(found) // 2 == 2 + 15
    assert found[-2:] != [0, 0]
    halfway = np.reshape(found, (-1, 2))[2 + 7]
    assert halfway.tolist() == [(8 + 3 * 8 + 3 * 0 + 0) / 8, (0 + 3 * 8 + 3 * 8 + 0) / 8]


def test_a_curve_cannot_begin_with_a_control_point() -> None:
    assert flatten(Curve([(0, 0), (1, 1), (2, 0)], "CLL", True)) == "has 3 vertices of the types 'CLL'"


# Generations


def test_det_20_wins_per_frame(tree: Tree) -> None:
    root = tree("bdd100k")
    found = images(import_source("bdd100k", root))
    generations = {
        key: row["attributes"]["bdd100k"]["generation"]
        for key, row in found.items()
        if row["source_split"] == "train"
        if row["attributes"]
    }
    assert generations == {BOTH: "det_20", OLDER: "2018", OLDEST: "before 2018-08-28"}
    first = rows(import_source("bdd100k", root), BOTH)
    assert [(row["source_label"], box(row)) for row in first] == [
        ("pedestrian", [10.5, 20.25, 10, 40]),
        ("traffic light", [600, 40, 16, 41]),
    ]
    (root / DET_TRAIN).unlink()
    (person,) = rows(import_source("bdd100k", root), BOTH)
    assert (person["category"], person["source_label"], box(person)) == ("pedestrian", "person", [11, 21, 8, 38])


def test_a_dict_with_frames_is_read_as_well(tree: Tree) -> None:
    root = tree("bdd100k")
    before = import_source("bdd100k", root)
    frames = json.loads((root / DET_VAL).read_text())
    text = json.dumps({"config": {"imageSize": None, "x": '"frames": [{'}, "frames": frames}, indent=2)
    (root / DET_VAL).write_text("\ufeff" + text, encoding="utf-8")
    assert import_source("bdd100k", root).fingerprint() == before.fingerprint()
    edit_text = (root / DET_VAL).read_text(encoding="utf-8-sig").replace('"traffic sign"', "null")
    (root / DET_VAL).write_text(edit_text)
    with pytest.raises(SourceError, match=r"frames\[0\]\.labels\[0\]\.category"):
        import_source("bdd100k", root)


@given(st.lists(st.text()), st.sampled_from([None, 1, "\t"]), st.booleans(), st.booleans())
def test_spans_are_the_texts_of_the_frames(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], indent: Any, in_dict: bool, ascii_only: bool
) -> None:
    root = tmp_path_factory.mktemp("spans", numbered=True)
    frames = [{"name": f"x{name}", "labels": None, "url": name} for name in names]
    content = {"a": ["frames"], "frames": frames} if in_dict else frames
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    (root / "file.json").write_bytes(text)
    found = list(frame_spans(root, "file.json"))
    assert [name for name, _, _ in found] == [frame["name"] for frame in frames]
    assert [read_frame(root, span).url for _, span, _ in found] == names
    assert [json.loads(text[span.start : span.stop]) for _, span, _ in found] == frames


def test_a_frame_that_stands_twice_is_taken_once_and_reported(tree: Tree) -> None:
    root = tree("bdd100k")
    edit(root / DET_VAL, lambda frames: frames.append({**frames[0], "labels": []}))
    dataset = import_source("bdd100k", root)
    assert len(rows(dataset, STREET)) == 5
    (found,) = [found for found in dataset.problems if found.item == f"bdd100k/{STREET}"]
    assert (found.code, found.where) == ("N02", DET_VAL)
    assert found.message == f"frame stands again in {DET_VAL}, [5]; the first is taken"


def test_names_may_be_addresses(tree: Tree) -> None:
    root = tree("bdd100k")
    address = f"https://example.org/bdd/{STREET}.jpg"
    edit(root / DET_VAL, lambda frames: frames[0].update(name=address))
    dataset = import_source("bdd100k", root)
    assert len(rows(dataset, STREET)) == 5
    assert images(dataset)[STREET]["attributes"]["bdd100k"]["name"] == address


# Frames


def test_attributes_of_frames(tree: Tree) -> None:
    found = images(import_source("bdd100k", tree("bdd100k")))
    seen = {key: (row["weather"], row["time_of_day"]) for key, row in found.items()}
    assert seen[BOTH] == ("rainy", "dawn/dusk")
    assert seen[OLDER] == ("partly cloudy", "daytime")
    assert seen[ABSENT] == ("foggy", "night")
    assert seen[LOST] == ("snowy", "night")
    assert seen[EMPTY] == (None, None)  # undefined
    assert found[EMPTY]["attributes"]["bdd100k"]["attributes"]["weather"] == "undefined"
    assert seen[NULL] == (None, None)  # attributes are null
    assert found[BOTH]["attributes"]["bdd100k"]["attributes"]["scene"] == "tunnel"
    assert found[BOTH]["attributes"]["bdd100k"]["timestamp"] == 10000
    assert (found[STREET]["width"], found[STREET]["height"]) == (1280, 720)


def test_labels_that_are_null_empty_or_absent_are_labels(tree: Tree) -> None:
    dataset = import_source("bdd100k", tree("bdd100k"))
    for key in (EMPTY, NULL, ABSENT):
        assert rows(dataset, key) == []
        assert not [scope for scope, _ in coverage(dataset) if scope == f"bdd100k/{key}"]
        assert not [found for found in dataset.problems if found.item == f"bdd100k/{key}"]


def test_a_picture_that_no_file_names_is_an_image_that_nobody_labelled(tree: Tree) -> None:
    """137 pictures of train are like that."""
    dataset = import_source("bdd100k", tree("bdd100k"))
    assert images(dataset)[BARE]["source_split"] == "train"
    assert coverage(dataset)[f"bdd100k/{BARE}", "*"] == "none"
    assert findings(dataset, "F01") == [("F01", f"bdd100k/{BARE}")]
    (found,) = [found for found in dataset.problems if found.code == "F01"]
    assert found.severity == "warning"


def test_a_labelled_frame_without_picture_is_kept(tree: Tree) -> None:
    dataset = import_source("bdd100k", tree("bdd100k"))
    assert images(dataset)[LOST]["file_name"] == f"bdd100k/images/100k/val/{LOST}.jpg"
    assert len(rows(dataset, LOST)) == 1
    assert findings(dataset, "I01") == [("I01", f"bdd100k/{LOST}")]


def test_a_picture_of_another_size_is_reported(tree: Tree) -> None:
    root = tree("bdd100k")
    Image.new("L", (640, 360)).save(root / f"bdd100k/images/100k/val/{STREET}.jpg")
    dataset = import_source("bdd100k", root)
    assert images(dataset)[STREET]["width"] == 640
    assert ("I02", f"bdd100k/{STREET}") in findings(dataset, "I02")


def test_coverage(tree: Tree) -> None:
    root = tree("bdd100k")
    found = coverage(import_source("bdd100k", root))
    exhaustive = dict.fromkeys(EVALUATED, "exhaustive")
    by_split = {
        split: {name: state for (scope, name), state in found.items() if scope == f"bdd100k/{split}"}
        for split in ("train", "val", "test", "track/val")
    }
    assert by_split["train"] == by_split["val"] == exhaustive
    assert by_split["test"] == {"*": "none"}
    assert by_split["track/val"] == {
        name: "exhaustive" for name in EVALUATED if name not in ("traffic light", "traffic sign")
    }
    # Traffic lights are labelled in part in the older labels of train.
    for key in (OLDER, OLDEST):
        assert found[f"bdd100k/{key}", "traffic light"] == "partial"
    assert (f"bdd100k/{BOTH}", "traffic light") not in found
    (root / DET_TRAIN).unlink()
    found = coverage(import_source("bdd100k", root))
    assert found["bdd100k/train", "traffic light"] == "partial"
    assert found["bdd100k/train", "traffic sign"] == "exhaustive"
    assert (f"bdd100k/{OLDER}", "traffic light") not in found


def test_labels_of_test_are_not_read(tree: Tree) -> None:
    root = tree("bdd100k")
    shutil.copyfile(root / DET_VAL, root / f"{LABELS}/det_20/det_test.json")
    dataset = import_source("bdd100k", root)
    assert coverage(dataset)["bdd100k/test", "*"] == "none"
    assert rows(dataset, SECRET) == []
    assert [found.where for found in dataset.problems if found.code == "N05"] == [f"{LABELS}/det_20/det_test.json"]


# Tracking


def test_a_track_is_an_instance_and_a_video_a_sequence(tree: Tree) -> None:
    dataset = import_source("bdd100k", tree("bdd100k"))
    first, second = rows(dataset, f"{VIDEO}-0000001") + rows(dataset, f"{VIDEO}-0000002")
    assert first["instance"] == second["instance"] == f"bdd100k/{VIDEO}/a-00122062"
    assert box(first) == [10, 300, 76.5, 108.25]
    found = images(dataset)
    for key in (f"{VIDEO}-0000001", f"{VIDEO}-0000002", STREET):
        assert found[key]["sequence"] == VIDEO  # the frame of the 100K set is of the same video
    assert found[f"{VIDEO}-0000002"]["source_split"] == "track/val"
    assert found[f"{VIDEO}-0000002"]["attributes"]["bdd100k"]["frameIndex"] == 1
    assert rows(dataset, STREET)[0]["instance"] is None


def test_equal_frame_names_in_two_videos_are_two_images(tree: Tree) -> None:
    root = tree("bdd100k")
    for video in ("0000aaaa-00000000", "0000bbbb-00000000"):
        folder = root / f"bdd100k/images/track/val/{video}"
        folder.mkdir()
        shutil.copy(root / f"bdd100k/images/100k/val/{STREET}.jpg", folder / "0000001.jpg")
        label = root / f"{LABELS}/box_track_20/val/{video}.json"
        label.write_text(json.dumps([{"name": "0000001.jpg", "labels": []}]))
    found = images(import_source("bdd100k", root))
    assert {"0000aaaa-00000000-0000001", "0000bbbb-00000000-0000001"} <= set(found)
    assert found["0000bbbb-00000000-0000001"]["sequence"] == "0000bbbb-00000000"


def test_a_frame_of_a_video_without_labels_is_not_judged(tree: Tree) -> None:
    root = tree("bdd100k")
    (root / f"{LABELS}/box_track_20/val/{VIDEO}.json").write_text("[]")
    dataset = import_source("bdd100k", root, splits=["track/val"])
    assert len(findings(dataset, "F01")) == 2
    assert coverage(dataset)[f"bdd100k/{VIDEO}-0000001", "*"] == "none"


# Trees


def test_images_10k_is_another_set(tree: Tree) -> None:
    root = tree("bdd100k")
    before = import_source("bdd100k", root)
    shutil.rmtree(root / "bdd100k/images/10k")
    assert import_source("bdd100k", root).fingerprint() == before.fingerprint()


def test_ids_do_not_depend_on_where_the_archives_were_unpacked(tree: Tree, tmp_path: Path) -> None:
    """Below bdd100k, as the root, for SearchAD, and with the labels of a mirror."""
    root = tree("bdd100k")
    before = import_source("bdd100k", root)
    assert import_source("bdd100k", root / "bdd100k").fingerprint() == before.fingerprint()
    mirror = tmp_path / "mirror"
    shutil.copytree(root / "bdd100k/images", mirror / "bdd100k_images_100k/images")
    shutil.copytree(root / LABELS, mirror / f"bdd100k_labels_release/{LABELS}")
    assert import_source("bdd100k", mirror).fingerprint() == before.fingerprint()


def test_the_pictures_alone_are_enough(tree: Tree) -> None:
    root = tree("bdd100k")
    shutil.rmtree(root / LABELS)
    dataset = import_source("bdd100k", root)
    assert len(images(dataset)) == 11
    assert coverage(dataset) == {(f"bdd100k/{split}", "*"): "none" for split in ("train", "val", "test", "track/val")}
    assert not dataset.problems


def test_labels_without_pictures_are_left_out_unless_asked_for(tree: Tree) -> None:
    root = tree("bdd100k")
    shutil.rmtree(root / "bdd100k/images/100k/val")
    dataset = import_source("bdd100k", root)
    assert STREET not in images(dataset)
    assert [found.where for found in dataset.problems if found.code == "N03"] == [DET_VAL]
    asked = import_source("bdd100k", root, splits=["val"])
    assert len(images(asked)) == len(findings(asked, "I01")) == 5


def test_a_missing_split_is_named(tree: Tree) -> None:
    root = tree("bdd100k")
    with pytest.raises(SourceError, match=r"holds no split 'track/train'; expected images/track/train/"):
        import_source("bdd100k", root, splits=["track/train"])
    with pytest.raises(UsageError, match="unknown split"):
        import_source("bdd100k", root, splits=["validation"])


def test_one_image_in_two_splits_is_refused(tree: Tree) -> None:
    root = tree("bdd100k")
    shutil.copy(root / f"bdd100k/images/100k/val/{STREET}.jpg", root / "bdd100k/images/100k/train")
    with pytest.raises(
        SourceError, match=rf"{STREET}\.jpg: has the name of .*/{STREET}\.jpg; expected each image once"
    ):
        import_source("bdd100k", root)
    assert STREET not in images(import_source("bdd100k", root, skip_bad=True))


def test_one_image_or_file_of_labels_unpacked_twice_is_refused(tree: Tree) -> None:
    root = tree("bdd100k")
    twin = root / f"images/100k/val/{STREET}.jpg"
    twin.parent.mkdir(parents=True)
    shutil.copy(root / f"bdd100k/images/100k/val/{STREET}.jpg", twin)
    with pytest.raises(SourceError, match=rf"bdd100k/images/100k/val/{STREET}\.jpg: is the same image as images/100k"):
        import_source("bdd100k", root)
    twin.unlink()
    (root / "labels/det_20").mkdir(parents=True)
    shutil.copy(root / DET_VAL, root / "labels/det_20")
    with pytest.raises(SourceError, match=r"bdd100k/labels/det_20/det_val\.json: is there beside labels/det_20"):
        import_source("bdd100k", root)


def test_a_picture_whose_name_is_no_key_is_refused(tree: Tree) -> None:
    root = tree("bdd100k")
    shutil.copy(root / f"bdd100k/images/100k/val/{STREET}.jpg", root / f"bdd100k/images/100k/val/{STREET} (1).jpg")
    with pytest.raises(SourceError, match=rf"{STREET} \(1\)\.jpg: file name is no key"):
        import_source("bdd100k", root)
    assert len(images(import_source("bdd100k", root, skip_bad=True))) == 12


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (f"bdd100k/images/100k/val/{STREET}.jpg", STREET),
        (f"{LABELS}/100k/train/{OLDEST}.json", OLDEST),
        (f"bdd100k/images/track/val/{VIDEO}/{VIDEO}-0000001.jpg", f"{VIDEO}-0000001"),
        (DET_VAL, None),
        (f"{LABELS}/det_20", None),
    ],
)
def test_links_that_leave_the_root_are_refused(tree: Tree, tmp_path: Path, name: str, key: str | None) -> None:
    root = tree("bdd100k")
    (root / name).rename(tmp_path / "outside")
    (root / name).symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match=r"is a link that leaves .*raw_bdd100k; expected the file or folder itself"):
        import_source("bdd100k", root)
    if key:
        assert key not in images(import_source("bdd100k", root, skip_bad=True))


def test_archives_that_are_not_unpacked_are_named(tmp_path: Path) -> None:
    (tmp_path / "bdd100k_images_100k.zip").write_bytes(b"PK\3\4")
    with pytest.raises(SourceError, match=r"holds bdd100k_images_100k\.zip; .*unpack the archives there"):
        import_source("bdd100k", tmp_path)


# SearchAD names the same images by path


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    found = images(import_source("bdd100k", tree("bdd100k")))
    for key, row in found.items():
        wanted = None if row["source_split"] == "track/val" else f"bdd100k/{key}"
        assert bdd100k.key_from_searchad(row["file_name"].removeprefix("bdd100k/")) == wanted


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("images/100k/train/0000f77c-6257be58.jpg", "bdd100k/0000f77c-6257be58"),
        ("bdd100k/images/100k/test/cabc30fc-e7726578.jpg", "bdd100k/cabc30fc-e7726578"),
        ("images/10k/train/0000f77c-6257be58.jpg", None),
        ("images/100k/0000f77c-6257be58.jpg", None),
        ("images/100k/train/0000f77c-6257be58.png", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert bdd100k.key_from_searchad(path) == image
