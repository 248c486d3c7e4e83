"""Mapillary Vistas: the rules and oddities of its versions and kinds of files, one by one, and the samples."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate import sources
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import mapillary_vistas
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images, mask

Tree = Callable[..., Path]
A, B, C = "A" * 22, "-" + "B" * 21, "C" * 20 + "_C"
PANOPTIC, POLYGONS, TESTING = "panoptic" + "0" * 14, "polygons" + "0" * 14, "t" * 22
JSON_OF_SEGMENTS = "training/v2.0/panoptic/panoptic_2020.json"
CAR, PERSON = "object--vehicle--car", "human--person--individual"
REAL = "grDzFDON_vntlJOAKJx7qA"


def take(root: Path, version: str | None = None, **options: Any) -> Dataset:
    given = {"annotation_version": version} if version else {}
    return import_source("mapillary_vistas", root, options=given, **options)


def seen(dataset: Dataset, image: str) -> list[tuple[str, list[float], bool]]:
    return [(row["category"], box(row), row["iscrowd"]) for row in annotations(dataset, image)]


def value(row: dict[str, Any]) -> int:
    number: int = row["attributes"]["mapillary_vistas"]["instanceId"]
    return number


def raster(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def same_objects(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether two lists hold the same classes, boxes and masks, in any order."""

    def facts(rows: list[dict[str, Any]]) -> list[Any]:
        return sorted((row["category"], box(row), row["segmentation"]["counts"], row["iscrowd"]) for row in rows)

    return facts(one) == facts(other)


# The samples, against the values of their README and the page


def test_real_sample(shared: Path) -> None:
    root = shared / "samples/mapillary_vistas/real_v1.1"
    dataset = take(root, "v1.1")
    (image,) = images(dataset).values()
    assert (image["width"], image["height"], image["orientation"]) == (3264, 2448, None)
    rows = annotations(dataset)
    assert len(rows) == 32
    found = {value(row): (row["category"], box(row), row["area"]) for row in rows}
    assert found[0] == ("animal--bird", [670, 1647, 22, 16], 195)
    assert found[1] == ("animal--bird", [782, 1642, 22, 13], 127)
    assert found[32 * 256] == ("object--banner", [2315, 1287, 211, 191], 30_694)
    assert found[23 * 256][:2] == ("marking--crosswalk-zebra", [1098, 2195, 2088, 253])
    assert found[41 * 256][:2] == ("object--manhole", [1473, 2225, 383, 81])
    pixels = raster(root / f"training/instances/{REAL}.png")
    assert len(np.unique(pixels)) == 43
    for row in rows:
        assert np.array_equal(mask(row), pixels == value(row))
    assert not dataset.problems


def test_real_rasters_agree_with_each_other(shared: Path) -> None:
    """What the reading rests on: labels are instances // 256, and panoptic numbers are instances one to one."""
    folder = shared / "samples/mapillary_vistas/real_v1.1/training"
    instances = raster(folder / f"instances/{REAL}.png")
    assert np.array_equal(raster(folder / f"labels/{REAL}.png"), instances // 256)
    found = pairs(folder)
    assert len(found) == len({value for value, _ in found}) == len({number for _, number in found}) == 43
    assert (65 * 256, 0) in found  # void--unlabeled


def pairs(folder: Path) -> list[tuple[int, int]]:
    """Which values of the instance raster and numbers of the panoptic picture lie on each other."""
    instances = raster(folder / f"instances/{REAL}.png")
    red, green, blue = np.moveaxis(raster(folder / f"panoptic/{REAL}.png"), -1, 0)
    both = np.unique((instances << 24) + red + (green << 8) + (blue << 16))
    return [(value >> 24, value & 0xFFFFFF) for value in both.tolist()]


def test_real_panoptic_picture_gives_the_same_objects(shared: Path, tmp_path: Path) -> None:
    """The panoptic file of the sample is not public; this one is made from its two rasters."""
    real = shared / "samples/mapillary_vistas/real_v1.1"
    labels = json.loads((real / "config.json").read_text())["labels"]
    for name in ("config.json", f"training/images/{REAL}.jpg", f"training/panoptic/{REAL}.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(real / name, tmp_path / name)
    listed = [{"id": number, "category_id": value // 256 + 1} for value, number in pairs(real / "training") if number]
    content = {
        "images": [{"id": REAL, "file_name": f"{REAL}.jpg", "width": 3264, "height": 2448}],
        "annotations": [{"image_id": REAL, "file_name": f"{REAL}.png", "segments_info": listed}],
        "categories": [{"id": i + 1, "name": label["name"], "isthing": 1} for i, label in enumerate(labels)],
    }
    (tmp_path / "training/panoptic/panoptic_2018.json").write_text(json.dumps(content))
    assert same_objects(annotations(take(tmp_path, "v1.1")), annotations(take(real, "v1.1")))


def test_real_config_is_the_table(shared: Path) -> None:
    labels = json.loads((shared / "samples/mapillary_vistas/real_v1.1/config.json").read_text())["labels"]
    table = sources.label_table("mapillary_vistas_v1.2")
    assert [(row["name"], row["instances"] == "1") for row in table] == [
        (label["name"], label["instances"]) for label in labels
    ]
    assert (len(labels), sum(label["instances"] for label in labels)) == (66, 37)


def test_handmade_sample(shared: Path) -> None:
    root = shared / "samples/mapillary_vistas/handmade"
    dataset = take(root)
    assert seen(dataset, A) == [
        (PERSON, [80, 50, 10, 40], False),
        ("object--traffic-light--pedestrians", [5, 5, 6, 14], False),
        (CAR, [20, 60, 50, 30], False),
        (CAR, [100, 60, 40, 30], False),
        ("object--vehicle--vehicle-group", [150, 60, 50, 20], True),
    ]
    assert seen(dataset, B) == [("human--rider--bicyclist", [100, 100, 20, 51], False)]
    assert seen(dataset, C) == seen(dataset, "DDDD") == []
    old = take(root, "v1.2")
    assert [(name, crowd) for name, _, crowd in seen(old, A)] == [
        ("human--person", False),
        ("object--traffic-light", False),
        (CAR, False),
        (CAR, False),
        (CAR, False),
    ]
    assert not dataset.problems
    assert not old.problems


@pytest.mark.parametrize("version", ["v1.2", "v2.0"])
def test_handmade_panoptic_gives_the_same_objects(shared: Path, tmp_path: Path, version: str) -> None:
    root = tmp_path / "copy"
    copy(shared / "samples/mapillary_vistas/handmade", root)
    before = annotations(take(root, version))
    for split in ("training", "validation"):
        shutil.rmtree(root / f"{split}/{version}/instances")
    after = take(root, version)
    assert {image["attributes"]["mapillary_vistas"]["generation"] for image in labelled(after)} == {"panoptic"}
    assert same_objects(annotations(after), before)
    assert not after.problems


def copy(folder: Path, to: Path) -> None:
    """Copy a folder, but not that it may not be written."""
    for path in folder.rglob("*"):
        if path.is_file():
            (to / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to / path.relative_to(folder))


def labelled(dataset: Dataset) -> list[dict[str, Any]]:
    return [image for image in images(dataset).values() if image["source_split"] != "testing"]


def test_fixture_that_others_made(shared: Path, tmp_path: Path) -> None:
    """Other split names, 5 pixels, three classes, flat polygons in files that misspell ``height``."""
    fixture = shared / "samples/mapillary_vistas/fixture_datumaro"
    with pytest.raises(SourceError, match="expected the tree of Mapillary Vistas, as training/images/"):
        take(fixture)
    for split, name in (("train", "training"), ("val", "validation")):
        copy(fixture / split, tmp_path / name)
    shutil.copyfile(fixture / "config_v2.0.json", tmp_path / "config_v2.0.json")
    dataset = take(tmp_path)
    assert [name for name, _, _ in seen(dataset, "/2")] == [
        *["animal--bird"] * 3,
        *["construction--barrier--separator"] * 2,
    ]
    # Of the config, and of the three names.
    assert findings(dataset, "N05") == [("N05", None), *(("N05", f"mapillary_vistas/{key}") for key in "012")]
    for path in [*tmp_path.rglob("instances"), *tmp_path.rglob("panoptic")]:
        shutil.rmtree(path)
    flat = take(tmp_path)
    assert annotations(flat, "/2")[0]["polygons"] == [[[0, 0, 0, 1, 0, 2, 0, 3, 0, 4]]]
    assert [(name, where) for name, where, _ in seen(flat, "/2")] == [
        ("animal--bird", [0, 0, 1, 5]),
        ("construction--barrier--separator", [1, 0, 1, 5]),
        ("animal--bird", [2, 0, 1, 5]),
        ("construction--barrier--separator", [3, 0, 1, 5]),
        ("animal--bird", [4, 0, 1, 5]),
    ]


# Instance rasters


def test_the_value_0_is_the_first_bird(tree: Tree) -> None:
    rows = annotations(take(tree("mapillary_vistas")), A)
    birds = {value(row): box(row) for row in rows if row["category"] == "animal--bird"}
    assert birds == {0: [5, 3, 4, 3], 1: [15, 4, 3, 3]}


def test_masks_are_equality_with_holes_and_parts(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    rows = annotations(take(root), A)
    pixels = raster(root / f"training/v2.0/instances/{A}.png")
    flags = [label["instances"] for label in json.loads((root / "config_v2.0.json").read_text())["labels"]]
    assert [value(row) for row in rows] == [v for v in np.unique(pixels).tolist() if flags[v // 256]]
    for row in rows:
        wanted = pixels == value(row)
        assert np.array_equal(mask(row), wanted)
        ys, xs = np.nonzero(wanted)
        assert box(row) == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert row["area"] == wanted.sum()
        assert row["id"] == f"mapillary_vistas/{A}#i{value(row):05d}"


def test_stuff_is_none_and_poles_are_objects(tree: Tree) -> None:
    dataset = take(tree("mapillary_vistas"))
    names = {row["category"] for row in annotations(dataset)}
    assert "object--support--pole" in names
    assert not names & {"construction--flat--road", "nature--sky", "void--ego-vehicle", "void--unlabeled"}
    known = categories(dataset)
    assert (known["nature--sky"]["role"], known["nature--sky"]["supercategory"]) == ("other", "nature")
    assert (known[CAR]["role"], known[CAR]["supercategory"]) == ("benchmark", "object--vehicle")
    assert len(known) == 124


def test_numbers_may_have_gaps_and_small_objects_stay(tree: Tree) -> None:
    rows = annotations(take(tree("mapillary_vistas")), A)
    assert [value(row) % 256 for row in rows if row["category"] == CAR] == [0, 2]
    assert [row["area"] for row in rows if row["category"] == PERSON] == [4]


def test_three_classes_mark_groups(tree: Tree) -> None:
    rows = annotations(take(tree("mapillary_vistas")))
    assert {row["category"] for row in rows if row["iscrowd"]} == {
        "human--person--person-group",
        "object--support--pole-group",
        "object--vehicle--vehicle-group",
    }
    assert all(row["iscrowd"] == row["category"].endswith("-group") for row in rows)


def test_pixels_are_those_of_the_stored_picture(tree: Tree) -> None:
    turned = images(take(tree("mapillary_vistas")))[C]
    assert (turned["width"], turned["height"], turned["orientation"]) == (30, 20, 6)


def test_a_raster_turned_by_exif_is_of_another_size(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    path = root / f"validation/v2.0/instances/{C}.png"
    Image.fromarray(raster(path).astype(np.uint16).T.copy()).save(path)
    with pytest.raises(SourceError, match=rf"{C}\.png: was made for 20 x 30 px; its image has 30 x 20"):
        take(root)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("labels", "is a picture of mode P; expected one channel"), ("grey", "is a raster of 8 bits; expected 16 bits")],
)
def test_rasters_of_another_kind_are_refused(tree: Tree, kind: str, said: str) -> None:
    root = tree("mapillary_vistas")
    path = root / f"training/v2.0/instances/{A}.png"
    if kind == "grey":
        Image.new("L", (64, 48)).save(path)
    else:
        shutil.copyfile(root / f"training/v2.0/labels/{A}.png", path)
    with pytest.raises(SourceError, match=said):
        take(root)
    assert A not in images(take(root, skip_bad=True))


def test_an_id_beyond_the_list_is_kept_and_listed(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    path = root / f"training/v2.0/instances/{B}.png"
    pixels = raster(path)
    pixels[pixels == 30 * 256] = 200 * 256 + 3
    Image.fromarray(pixels.astype(np.uint16)).save(path)
    dataset = take(root)
    assert seen(dataset, B) == [("200", [30, 20, 10, 21], False)]
    assert [problem.where for problem in dataset.problems if problem.code == "N01"] == ["mapillary_vistas, label '200'"]


# Versions and their configs


def test_version_2_is_read_unless_another_is_named(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    new, named, old = take(root), take(root, "v2.0"), take(root, "v1.2")
    assert named.fingerprint() == new.fingerprint() != old.fingerprint()
    for dataset, version, count in ((new, "v2.0", 124), (old, "v1.2", 66)):
        assert {
            i["attributes"]["mapillary_vistas"]["version"] for i in images(dataset).values() if i["attributes"]
        } == {version}
        assert len(categories(dataset)) == count
    assert not {row["category"] for row in annotations(old)} & {PERSON, "object--vehicle--vehicle-group"}
    assert old.info.command.options == {"source": "mapillary_vistas", "annotation_version": "v1.2"}


def test_a_version_that_there_is_not(tree: Tree, curate: Callable[..., Any]) -> None:
    root = tree("mapillary_vistas")
    with pytest.raises(UsageError, match=r"annotation_version '2': unknown version; expected one of v2\.0, v1\.2, v1"):
        take(root, "2")
    with pytest.raises(
        SourceError, match=r"holds no annotations of v1\.1, but of v2\.0, v1\.2; .*; give the option annotation_version"
    ):
        take(root, "v1.1")
    failed = curate("import", "mapillary_vistas", root, "-o", "out", "--option", "annotation_version=v3", code=2)
    assert "annotation_version 'v3': unknown version" in failed.stderr


def test_the_older_archive(tree: Tree, tmp_path: Path) -> None:
    """Its annotations lie in the split itself; the classes are those of v1.2."""
    root, old = tree("mapillary_vistas"), tmp_path / "v1.1"
    for split in ("training", "validation", "testing"):
        shutil.copytree(root / f"{split}/images", old / f"{split}/images")
        if split != "testing":
            shutil.copytree(root / f"{split}/v1.2", old / split, dirs_exist_ok=True)
    shutil.copyfile(root / "config_v1.2.json", old / "config.json")
    with pytest.raises(SourceError, match=r"no annotations of v2\.0, but of v1\.1; .*annotation_version=v1\.1"):
        take(old)
    assert same_objects(annotations(take(old, "v1.1")), annotations(take(root, "v1.2")))


def test_the_config_says_which_classes_have_instances(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    edit(root / "config_v2.0.json", lambda config: config["labels"][21].update(instances=True))  # road
    assert "construction--flat--road" in {row["category"] for row in annotations(take(root))}
    assert not findings(take(root), "N05")


def test_a_config_of_other_classes_is_used_and_reported(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    edit(root / "config_v2.0.json", lambda config: config["labels"][0].update(name="animal--dodo"))
    dataset = take(root)
    assert seen(dataset, A)[0][0] == "animal--dodo"
    (said,) = [problem for problem in dataset.problems if problem.code == "N05"]
    assert (said.where, said.message) == ("config_v2.0.json", "its 124 classes are not the 124 known of v2.0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), r"config_v2\.0\.json: no such file; expected the list of classes"),
        (lambda path: path.write_text("{"), r"config_v2\.0\.json: JSON is cut short"),
        (lambda path: edit(path, lambda c: c["labels"][3].pop("instances")), r"labels\[3\]: object missing required"),
        (lambda path: edit(path, lambda c: c["labels"][3].update(name="animal--bird")), r"labels\[3\]: names 'animal-"),
    ],
)
def test_a_broken_config_is_named(tree: Tree, damage: Callable[[Path], object], said: str) -> None:
    root = tree("mapillary_vistas")
    damage(root / "config_v2.0.json")
    with pytest.raises(SourceError, match=said):
        take(root)


def test_versions_cannot_be_merged(tree: Tree) -> None:
    """Equal keys, other classes: the images' own versions contradict each other."""
    from curate.errors import SchemaError

    root = tree("mapillary_vistas")
    with pytest.raises(SchemaError, match=r"v1\.2"):
        take(root).merge(take(root, "v1.2"))


# Panoptic


def test_panoptic_is_read_where_there_is_no_instance_raster(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    before = annotations(take(root), A)
    (root / f"training/v2.0/instances/{A}.png").unlink()
    dataset = take(root)
    assert images(dataset)[A]["attributes"] == {"mapillary_vistas": {"generation": "panoptic", "version": "v2.0"}}
    assert images(dataset)[B]["attributes"]["mapillary_vistas"]["generation"] == "instances"
    assert same_objects(annotations(dataset, A), before)
    group, car = sorted(annotations(dataset, PANOPTIC), key=lambda row: row["x"])
    assert (group["category"], group["iscrowd"]) == ("object--vehicle--vehicle-group", True)
    assert (car["id"], car["attributes"]) == (
        f"mapillary_vistas/{PANOPTIC}#s02065800",
        {"mapillary_vistas": {"segment": 2_065_800}},
    )


def test_the_long_name_may_stand_in_either_field(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    before = annotations(take(root), PANOPTIC)

    def change(content: dict[str, Any]) -> None:
        for found in content["categories"]:
            found["name"], found["supercategory"] = found["supercategory"], found["name"].split()[0]

    edit(root / JSON_OF_SEGMENTS, change)
    assert annotations(take(root), PANOPTIC) == before


def test_a_segment_of_an_unknown_class_is_kept_and_listed(tree: Tree) -> None:
    root = tree("mapillary_vistas")

    def change(content: dict[str, Any]) -> None:
        content["annotations"][1]["segments_info"][1]["category_id"] = 999
        content["categories"][115].update(name="Hovercraft", supercategory="object--hovercraft")  # was the group

    edit(root / JSON_OF_SEGMENTS, change)
    dataset = take(root)
    assert {name for name, _, _ in seen(dataset, PANOPTIC)} == {"999", "Hovercraft"}
    assert len(findings(dataset, "N01")) == 2


def test_the_crowd_flag_of_a_segment_counts(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    edit(root / JSON_OF_SEGMENTS, lambda c: c["annotations"][1]["segments_info"][1].update(iscrowd=1))
    assert {crowd for _, _, crowd in seen(take(root), PANOPTIC)} == {True}


def test_the_panoptic_file_is_not_read_where_nothing_needs_it(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    for key in (PANOPTIC, POLYGONS):
        for path in root.rglob(f"{key}.*"):
            path.unlink()
    (root / JSON_OF_SEGMENTS).write_text("{")
    assert not findings(take(root))
    (root / f"training/v2.0/instances/{A}.png").unlink()
    with pytest.raises(SourceError, match=r"panoptic_2020\.json: JSON is cut short"):
        take(root)


def test_without_its_picture_a_segment_is_a_box(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    (root / f"training/v2.0/panoptic/{PANOPTIC}.png").unlink()
    dataset = take(root)
    assert [(box(row), row["segmentation"]) for row in annotations(dataset, PANOPTIC)] == [
        ([12, 2, 10, 6], None),
        ([2, 2, 10, 6], None),
    ]
    assert ("F01", f"mapillary_vistas/{PANOPTIC}") in findings(dataset)


def test_a_fault_in_the_panoptic_file_concerns_one_image(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    edit(root / JSON_OF_SEGMENTS, lambda c: c["annotations"][1]["segments_info"][0].update(id="x"))
    with pytest.raises(
        SourceError, match=r"1 of 7 images are broken[^\n]*\n[^\n]*panoptic_2020\.json, annotations\[1\]"
    ):
        take(root)
    dataset = take(root, skip_bad=True)
    assert findings(dataset, "N03") == [("N03", f"mapillary_vistas/{PANOPTIC}")]
    assert seen(dataset, A)


def test_images_and_annotations_of_the_file_without_a_file_are_reported(tree: Tree) -> None:
    root = tree("mapillary_vistas")

    def change(content: dict[str, Any]) -> None:
        content["images"].append({"id": "gone", "file_name": "gone.jpg", "width": 3, "height": 3})
        content["annotations"].append({"image_id": "nowhere", "file_name": "nowhere.png", "segments_info": []})

    edit(root / JSON_OF_SEGMENTS, change)
    said = [problem.message for problem in take(root).problems if problem.where.startswith(JSON_OF_SEGMENTS)]
    assert len(said) == 2
    assert "'nowhere'" in said[0]
    assert said[1] == "lists 1 images of which there is no file, as gone.jpg; left out"


# Polygons


def test_polygons_are_read_where_there_is_nothing_else(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    dataset = take(root)
    (car,) = annotations(dataset, POLYGONS)  # the sky is stuff
    assert (car["category"], box(car), car["area"]) == (CAR, [20, 10, 12, 14], 168)  # clipped to 32 x 24
    assert car["polygons"] == [[[20, 10, 40, 10, 40, 30, 20, 30]]]
    assert car["attributes"] == {"mapillary_vistas": {"id": 1}}
    (left_out,) = [problem for problem in dataset.problems if problem.code == "N02"]
    assert left_out.message == "animal--bird: polygon lies outside the 32 x 24 frame; left out"
    assert images(dataset)[A]["attributes"]["mapillary_vistas"]["generation"] == "instances"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("height"), "object missing required field `height`"),
        (lambda c: c.update(imgWidth=c.pop("width")), "object missing required field `width`"),  # of Cityscapes
        (lambda c: c.update(width=33), "was made for 33 x 24 px; its image has 32 x 24"),
        (lambda c: c["objects"][1]["polygon"].append([1, 2, 3]), r"objects\[1\]\.polygon\[4\]: is a list of 3 numbers"),
        (lambda c: c["objects"][1].update(polygon=[[1, 2, 3]]), r"objects\[1\]\.polygon\[0\]: is a list of 3 numbers"),
        (lambda c: c["objects"][1].update(polygon=[[1, "2"]]), r"objects\[1\]\.polygon\[0\]\[1\]: expected `float`"),
        (lambda c: c["objects"][1].update(polygon=[[0, 0], [1e9, 0], [0, 9]]), r"objects\[1\]: vertex 1 is at x = 1"),
        (lambda c: c["objects"][1].pop("label"), r"objects\[1\]: object missing required field `label`"),
    ],
)
def test_a_broken_polygon_file_is_named_with_the_place(tree: Tree, change: Callable[[Any], object], said: str) -> None:
    root = tree("mapillary_vistas")
    path = root / f"training/v2.0/polygons/{POLYGONS}.json"
    edit(path, change)
    with pytest.raises(SourceError, match=said) as raised:
        take(root)
    assert str(path) in str(raised.value)
    assert POLYGONS not in images(take(root, skip_bad=True))


def test_an_unknown_label_and_an_empty_list(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    path = root / f"training/v2.0/polygons/{POLYGONS}.json"
    edit(
        path,
        lambda content: content["objects"][1].update(label="object--hovercraft", polygon=[[1.5, 2], [9, 2], [9, 8.5]]),
    )
    dataset = take(root)
    assert [name for name, _, _ in seen(dataset, POLYGONS)] == ["object--hovercraft"]
    assert len(findings(dataset, "N01")) == 1
    edit(path, lambda content: content.update(objects=[]))
    empty = take(root)
    assert not annotations(empty, POLYGONS)
    assert (f"mapillary_vistas/{POLYGONS}", "*") not in coverage(empty)  # labelled, and nothing there


# Keys and splits


def test_keys_may_begin_with_a_hyphen_and_differ_by_case_only(tree: Tree) -> None:
    found = images(take(tree("mapillary_vistas")))
    assert {B, A, A.lower()} <= set(found)
    assert found[A]["file_name"] != found[A.lower()]["file_name"]


def test_names_that_are_no_keys_are_kept_and_reported(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    shutil.copyfile(root / f"testing/images/{TESTING}.jpg", root / "testing/images/a holiday.jpg")
    dataset = take(root)
    assert "a holiday" in images(dataset)
    assert findings(dataset, "N05") == [("N05", "mapillary_vistas/a holiday")]


def test_one_key_in_two_splits_is_refused(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    shutil.copyfile(root / f"testing/images/{TESTING}.jpg", root / f"validation/images/{TESTING}.jpg")
    with pytest.raises(SourceError, match=rf"testing/images/{TESTING}\.jpg: is the same image as validation/images/"):
        take(root)


def test_coverage_is_of_the_classes_with_instances(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    flags = {
        label["name"]: label["instances"] for label in json.loads((root / "config_v2.0.json").read_text())["labels"]
    }
    found = coverage(take(root))
    for split in ("training", "validation"):
        assert {name for scope, name in found if scope == f"mapillary_vistas/{split}"} == {
            name for name, thing in flags.items() if thing
        }
    assert found["mapillary_vistas/testing", "*"] == "none"
    assert set(found.values()) == {"exhaustive", "none"}


def test_labels_of_testing_are_not_read(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    shutil.copytree(root / "training/v2.0/instances", root / "testing/v2.0/instances")
    dataset = take(root)
    assert not annotations(dataset, TESTING)
    assert [problem.where for problem in dataset.problems if problem.code == "N05"] == ["testing/v2.0/instances"]


def test_an_image_without_label_file_is_not_judged(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    (root / f"training/v2.0/instances/{B}.png").unlink()
    dataset = take(root)
    assert not annotations(dataset, B)
    assert coverage(dataset)[f"mapillary_vistas/{B}", "*"] == "none"
    assert findings(dataset, "F01") == [("F01", f"mapillary_vistas/{B}")]


def test_a_label_file_without_picture_is_kept_and_reported(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    for key in (A, PANOPTIC, POLYGONS):
        (root / f"training/images/{key}.jpg").unlink()
    dataset = take(root)
    assert {(images(dataset)[key]["width"], images(dataset)[key]["height"]) for key in (A, PANOPTIC, POLYGONS)} == {
        (64, 48),
        (32, 24),
    }
    assert [item for _, item in findings(dataset, "I01")] == [f"mapillary_vistas/{k}" for k in (A, PANOPTIC, POLYGONS)]
    assert annotations(dataset, A)


def test_labels_of_a_split_without_pictures_are_reported(tree: Tree) -> None:
    root = tree("mapillary_vistas")
    shutil.rmtree(root / "validation/images")
    dataset = take(root)
    assert C not in images(dataset)
    assert [problem.where for problem in dataset.problems if problem.code == "N03"] == ["validation/v2.0"]
    with pytest.raises(SourceError, match="holds no split 'validation'; expected validation/images/"):
        take(root, splits=["validation"])


def test_pictures_alone_are_unlabelled(tree: Tree, tmp_path: Path) -> None:
    """As SearchAD has them."""
    root = tree("mapillary_vistas")
    for split in ("training", "validation", "testing"):
        shutil.copytree(root / f"{split}/images", tmp_path / f"alone/{split}/images")
    dataset = take(tmp_path / "alone")
    assert set(images(dataset)) == set(images(take(root)))
    assert not annotations(dataset)
    assert set(coverage(dataset).values()) == {"none"}
    assert not dataset.problems


def test_an_archive_that_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "mapillary-vistas-dataset_public_v2.0.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(SourceError, match=r"public_v2\.0\.zip; .*; unpack the archives there first"):
        take(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        f"training/images/{A}.jpg",
        f"training/v2.0/instances/{A}.png",
        f"training/v2.0/panoptic/{PANOPTIC}.png",
        f"training/v2.0/polygons/{POLYGONS}.json",
        JSON_OF_SEGMENTS,
    ],
)
def test_links_that_leave_the_root_are_refused(tree: Tree, tmp_path: Path, name: str) -> None:
    root = tree("mapillary_vistas")
    (root / name).rename(tmp_path / "outside")
    (root / name).symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match=rf"{re.escape(Path(name).name)}: is a link that leaves"):
        take(root)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (f"training/images/{REAL}.jpg", f"mapillary_vistas/{REAL}"),
        ("testing/images/--BJs76vloEaiH-wppzWNA.jpg", "mapillary_vistas/--BJs76vloEaiH-wppzWNA"),
        (f"train/images/{REAL}.jpg", None),
        (f"training/instances/{REAL}.jpg", None),
        (f"training/images/{REAL}.png", None),
        ("training/images/short.jpg", None),
        (f"mapillary_vistas/training/images/{REAL}.jpg", None),
    ],
)
def test_paths_of_searchad(path: str, key: str | None) -> None:
    assert mapillary_vistas.key_from_searchad(path) == key


def test_searchads_paths_are_those_of_the_tree(tree: Tree) -> None:
    for key, row in images(take(tree("mapillary_vistas"))).items():
        assert mapillary_vistas.key_from_searchad(row["file_name"]) == f"mapillary_vistas/{key}"


@pytest.mark.parametrize(("version", "count"), [("v1.2", 66), ("v2.0", 124)])
def test_the_label_tables_are_the_pages(shared: Path, version: str, count: int) -> None:
    page = (shared / f"formats/mapillary_vistas_{version}_labels.csv").read_text().splitlines()
    table = sources.label_table(f"mapillary_vistas_{version}")
    assert len(table) == len(page) - 1 == count
    assert [int(row["index"]) for row in table] == list(range(count))
