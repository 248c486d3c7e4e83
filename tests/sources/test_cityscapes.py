"""Cityscapes and CityPersons: the rules and oddities of their formats, one by one, and the samples."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from scipy.io import savemat

from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.sources.cityscapes import key_from_searchad
from tests.sources.looking import searchad_paths

Tree = Callable[..., Path]
AACHEN = "train/aachen/aachen_000000_000019"
THINGS = {"person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"}


def rows(dataset: Dataset, image: str = "") -> list[dict[str, Any]]:
    """The Cityscapes objects of an image (its key), without the boxes of CityPersons."""
    return [row for row in every_row(dataset, image) if not row["category"].startswith("citypersons/")]


def persons(dataset: Dataset, image: str = "") -> list[dict[str, Any]]:
    return [row for row in every_row(dataset, image) if row["category"].startswith("citypersons/")]


def every_row(dataset: Dataset, image: str) -> list[dict[str, Any]]:
    found = []
    for row in dataset.table("annotations").to_pylist():
        if image in row["image_id"]:
            found.append({**row, "attributes": json.loads(row["attributes"])})
    return found


def facts(row: dict[str, Any]) -> dict[str, Any]:
    return row["attributes"]["cityscapes"]


def images(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["id"].removeprefix("cityscapes/"): row for row in dataset.table("images").to_pylist()}


def coverage(dataset: Dataset) -> dict[tuple[str, str], str]:
    return {(row["scope"], row["category"]): row["state"] for row in dataset.table("coverage").to_pylist()}


def box(row: dict[str, Any]) -> list[float]:
    return [row["x"], row["y"], row["w"], row["h"]]


def mask(row: dict[str, Any]) -> np.ndarray:
    return coco_mask.decode({"size": row["segmentation"]["size"], "counts": row["segmentation"]["counts"].encode()})


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def polygon_file(root: Path, frame: str = AACHEN) -> Path:
    return root / f"gtFine/{frame}_gtFine_polygons.json"


# The samples, against the values of their README


def test_handmade_sample(shared: Path) -> None:
    dataset = import_source("cityscapes", shared / "samples/cityscapes/handmade")
    assert [(row["category"], box(row), row["iscrowd"]) for row in rows(dataset, "aachen_000900")] == [
        ("car", [20, 40, 40, 30], False),
        ("car", [50, 45, 40, 30], False),
        ("car", [120, 40, 60, 20], True),
        ("person", [190, 50, 10, 41], False),
        ("person", [150, 62, 20, 10], True),
    ]
    assert "aachen_000901_000019" in images(dataset)
    assert not rows(dataset, "aachen_000901")
    assert [(row["category"], box(row), row["iscrowd"]) for row in rows(dataset, "frankfurt_000900")] == [
        ("rider", [0, 40, 15, 40], False),
        ("bicycle", [10, 60, 40, 30], False),
        ("motorcycle", [100, 50, 30, 20], True),
    ]
    assert not rows(dataset, "berlin")
    assert coverage(dataset)["cityscapes/test", "*"] == "none"


@pytest.mark.parametrize(
    ("frame", "instances", "crowds"),
    [
        ("aachen_000000_000019", 13, 0),
        ("aachen_000004_000019", 25, 2),
        ("aachen_000006_000019", 23, 1),
        ("frankfurt_000000_000576", 21, 1),
        ("frankfurt_000001_054640", 50, 2),
    ],
)
def test_real_rasters(shared: Path, tmp_path: Path, frame: str, instances: int, crowds: int) -> None:
    real = shared / "samples/cityscapes/real"
    split = "train" if frame.startswith("aachen") else "val"
    city = frame.split("_")[0]
    for kind, ending in (("leftImg8bit", "leftImg8bit.png"), ("gtFine", "gtFine_instanceIds.png")):
        (tmp_path / kind / split / city).mkdir(parents=True)
        shutil.copy(
            real / f"{kind}/{split}/{city}/{frame}_{ending}", tmp_path / f"{kind}/{split}/{city}/{frame}_{ending}"
        )
    dataset = import_source("cityscapes", tmp_path)
    found = rows(dataset)
    assert Counter(row["iscrowd"] for row in found) == Counter({False: instances, True: crowds})

    raster = np.asarray(Image.open(real / f"gtFine/{split}/{city}/{frame}_gtFine_instanceIds.png"))
    assert {facts(row)["instanceId"] for row in found} == {
        int(value) for value in np.unique(raster) if value >= 1000 or 24 <= value <= 33
    }
    for row in found:
        wanted = raster == facts(row)["instanceId"]
        assert np.array_equal(mask(row), wanted)
        ys, xs = np.nonzero(wanted)
        assert box(row) == [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
        assert row["area"] == wanted.sum()
        assert facts(row)["extent"] == "visible"


def test_real_sample_with_its_persons(shared: Path) -> None:
    dataset = import_source("cityscapes", shared / "samples/cityscapes/real")
    found = {facts(row)["instanceId"]: row for row in rows(dataset, "aachen_000000_000019")}
    assert (found[24000]["category"], box(found[24000]), found[24000]["area"]) == ("person", [892, 446, 21, 52], 665)
    # The rider is 25000 in both, and the two boxes do not fit: joined by number, never by box.
    (rider,) = [row for row in persons(dataset, "aachen_000000_000019") if row["source_label"] == "rider"]
    assert box(found[25000]) == [1831, 440, 57, 108]
    assert rider["attributes"]["citypersons"]["bboxVis"] == [1844, 441, 44, 101]
    assert rider["parent_id"] == found[25000]["id"]
    assert {(row["width"], row["height"]) for row in images(dataset).values()} == {(2048, 1024)}
    assert not [problem for problem in dataset.problems if problem.code not in ("B04",)]


def test_derived_sample_of_real_size(shared: Path) -> None:
    dataset = import_source("cityscapes", shared / "samples/cityscapes/derived")
    path = shared / "samples/cityscapes/derived/gtFine/train/aachen/aachen_000004_000019_gtFine_polygons.json"
    written = json.loads(path.read_text())["objects"]
    wanted = [found for found in written if found["label"].removesuffix("group") in THINGS]
    found = sorted(rows(dataset), key=lambda row: row["id"])
    assert [row["source_label"] for row in found] == [thing["label"] for thing in wanted]
    for row, thing in zip(found, wanted, strict=True):
        canvas = Image.new("L", (2048, 1024))
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in thing["polygon"]], fill=1)
        assert np.array_equal(mask(row), np.asarray(canvas))


def test_rasters_that_others_made_as_toys(shared: Path) -> None:
    """8 bits and no value from 1000: there is no instance in it, and class ids must not be taken for instances."""
    dataset = import_source("cityscapes", shared / "samples/cityscapes/fixture_datumaro")
    assert len(images(dataset)) == 4
    assert [(row["category"], row["iscrowd"]) for row in rows(dataset)] == [
        ("truck", True),  # 27
        ("train", True),  # 31
        ("person", True),  # 24
    ]
    assert {problem.code for problem in dataset.problems} == {"M10"}


# Polygons


def test_polygons_are_painted_as_the_development_kit_does_and_clipped(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    found = {facts(row).get("instanceId"): row for row in rows(dataset, "aachen_000000") if not row["iscrowd"]}
    assert box(found[26000]) == [2, 12, 20, 12]  # corners 2, 12 and 21, 23: both end pixels count
    assert found[26000]["area"] == 240
    # Runs on under the car in front, which covers columns 12 to 31 from row 14 on.
    assert box(found[26001]) == [12, 14, 20, 12]
    assert facts(found[26000])["extent"] == "amodal"
    assert box(found[24000]) == [58, 10, 6, 18]  # to x = 70 in a frame of 64


def test_vertices_are_kept_as_found(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    found = {facts(row).get("instanceId"): row["polygons"] for row in rows(dataset, "aachen_000000_000019")}
    assert found[24000] == [[[58, 10, 70, 10, 70, 27, 58, 27]]]
    assert found[24001] == [[[61.5, 14.25, 62.5, 14.25, 62.5, 20.75, 61.5, 20.75]]]


def test_deleted_objects_are_passed_over(tree: Tree) -> None:
    root = tree("cityscapes")

    def cars() -> list[float]:
        found = rows(import_source("cityscapes", root), "aachen_000000")
        return [row["x"] for row in found if row["source_label"] == "car"]

    assert cars() == [2, 12]  # not the one at 0, 0; the one with "deleted": 0 stays
    edit(polygon_file(root), lambda content: content["objects"][3].update(deleted=True))
    assert cars() == [2]


def test_groups_are_crowds_of_their_class(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    groups = [(row["source_label"], row["category"]) for row in rows(dataset) if row["iscrowd"] and row["polygons"]]
    assert sorted(groups) == [
        ("cargroup", "car"),
        ("cargroup", "car"),
        ("motorcyclegroup", "motorcycle"),
        ("persongroup", "person"),
    ]


def test_polegroup_is_a_class_of_its_own_and_no_group_of_poles(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    assert not [row for row in rows(dataset) if "pole" in row["source_label"]]
    assert "polegroup" in {row["name"] for row in dataset.table("categories").to_pylist()}
    assert not [problem for problem in dataset.problems if problem.code == "N01"]


def test_stuff_void_and_license_plates_are_no_objects(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    assert {row["category"] for row in rows(dataset)} <= THINGS


def test_all_labels_are_declared_and_the_ten_things_are_the_benchmark(tree: Tree) -> None:
    table = import_source("cityscapes", tree("cityscapes")).table("categories").to_pylist()
    roles = {row["name"]: row["role"] for row in table if not row["name"].startswith("citypersons/")}
    assert len(roles) == 35
    assert {name for name, role in roles.items() if role == "benchmark"} == THINGS
    assert roles["license plate"] == "other"
    assert {row["name"]: row["supercategory"] for row in table}["rider"] == "human"


def test_what_is_not_evaluated_says_so_and_only_groups_are_crowds(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    (caravan,) = [row for row in rows(dataset) if row["category"] == "caravan"]
    assert facts(caravan)["ignore_in_eval"] is True
    assert not caravan["iscrowd"]
    for row in rows(dataset):
        assert facts(row)["ignore_in_eval"] == (row["iscrowd"] or row["category"] == "caravan")


def test_two_points_and_polygons_outside_are_left_out_and_reported(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    found = {problem.where.split(", ")[1]: problem.message for problem in dataset.problems if problem.code == "N02"}
    assert found == {
        "objects[11]": "bicycle: ring of 2 points; expected at least 3; left out",
        "objects[12]": "bicycle: polygon lies outside the 64 x 32 frame; left out",
    }


def test_numbers_are_those_of_the_raster(tree: Tree) -> None:
    """Per class, in file order; what is deleted or a group does not count, what is left out does."""
    root = tree("cityscapes")
    from_polygons = import_source("cityscapes", root)
    polygon_file(root).unlink()
    from_raster = import_source("cityscapes", root)
    polygons, raster = (
        {facts(row)["instanceId"]: row["category"] for row in rows(dataset, "aachen_000000") if not row["iscrowd"]}
        for dataset in (from_polygons, from_raster)
    )
    assert polygons == {
        26000: "car",
        26001: "car",
        29000: "caravan",
        24000: "person",
        24001: "person",
        33002: "bicycle",
    }
    # The raster has the line of 3 pixels that the development kit paints for the polygon of two points.
    assert raster == {**polygons, 33000: "bicycle"}


def test_ids_come_from_the_place_in_the_file(tree: Tree) -> None:
    found = [row["id"] for row in rows(import_source("cityscapes", tree("cityscapes")), "aachen_000000")]
    assert found == [f"cityscapes/aachen_000000_000019#{n:04d}" for n in (1, 3, 4, 7, 9, 10, 13, 14)]


def test_a_vertex_far_away_is_named_by_file_and_object(tree: Tree) -> None:
    root = tree("cityscapes")
    edit(polygon_file(root), lambda content: content["objects"][3]["polygon"][1].__setitem__(0, 1e9))
    with pytest.raises(SourceError, match=r"polygons\.json, objects\[3\]: vertex 1 is at x = 1000000000"):
        import_source("cityscapes", root)


def test_an_unknown_label_is_kept_and_reported(tree: Tree) -> None:
    root = tree("cityscapes")
    edit(polygon_file(root), lambda content: content["objects"][1].update(label="tricyclegroup"))
    dataset = import_source("cityscapes", root)
    (row,) = [row for row in rows(dataset) if row["category"] == "tricyclegroup"]
    assert not row["iscrowd"]
    assert "instanceId" not in facts(row)
    assert [p.where for p in dataset.problems if p.code == "N01"] == ["cityscapes, label 'tricyclegroup'"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["objects"][1].pop("label"), r"objects\[1\]: object missing required field `label`"),
        (lambda c: c["objects"][1].pop("polygon"), r"objects\[1\]: object missing required field `polygon`"),
        (
            lambda c: c["objects"][1]["polygon"][2].append(0),
            r"objects\[1\]\.polygon\[2\]: expected `array` of length 2",
        ),
        (
            lambda c: c["objects"][1]["polygon"][2].__setitem__(1, "7"),
            r"polygon\[2\]\[1\]: expected `float`, got `str`",
        ),
        (lambda c: c["objects"][1]["polygon"][2].__setitem__(1, None), r"polygon\[2\]\[1\]: expected `float`"),
        (lambda c: c.pop("imgWidth"), r"json: object missing required field `imgWidth`"),
        (lambda c: c.update(objects={}), r"json, objects: expected `array`, got `object`"),
        (lambda c: c.update(imgWidth=10**9, imgHeight=10**9), r"was made for 1000000000 x 1000000000 px"),
        (lambda c: c.update(imgWidth=0), r"was made for 0 x 32 px"),
    ],
)
def test_a_broken_polygon_file_is_named_with_the_place(tree: Tree, change: Callable[[Any], object], said: str) -> None:
    root = tree("cityscapes")
    edit(polygon_file(root), change)
    with pytest.raises(SourceError, match=said) as raised:
        import_source("cityscapes", root)
    assert str(polygon_file(root)) in str(raised.value)


def test_labels_for_another_size_are_refused(tree: Tree) -> None:
    root = tree("cityscapes")
    picture = root / f"leftImg8bit/{AACHEN}_leftImg8bit.png"
    Image.open(picture).resize((32, 16)).save(picture)
    with pytest.raises(SourceError, match=r"polygons\.json: was made for 64 x 32 px; its image has 32 x 16; use"):
        import_source("cityscapes", root)


# Rasters


def test_values_from_1000_are_instances_and_thing_ids_are_groups(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    found = rows(dataset, "bochum")
    assert [(row["id"].split("#")[1], row["category"], row["iscrowd"]) for row in found] == [
        ("i00026", "car", True),
        ("i26000", "car", False),
        ("i26002", "car", False),  # 26001 is covered and has no pixel
    ]
    assert {facts(row)["extent"] for row in found} == {"visible"}
    assert {facts(row)["generation"] for row in found} == {"gtFine_instanceIds"}


def test_an_instance_in_two_pieces_is_one_annotation(tree: Tree) -> None:
    found = {facts(row)["instanceId"]: row for row in rows(import_source("cityscapes", tree("cityscapes")), "bochum")}
    # Columns 2 to 41 without the road's 18 to 23, rows 12 to 23, without the two pixels by two in front.
    assert box(found[26000]) == [2, 12, 40, 12]
    assert found[26000]["area"] == (40 - 6) * 12 - 4
    assert found[26000]["polygons"] is None


def test_label_ids_colours_and_train_ids_are_never_read(tree: Tree) -> None:
    root = tree("cityscapes")
    first = import_source("cityscapes", root).fingerprint()
    for kind in ("labelIds", "labelTrainIds", "color"):
        for file in root.rglob(f"*_{kind}.png"):
            file.write_bytes(b"")
    assert import_source("cityscapes", root).fingerprint() == first


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda p: Image.new("RGBA", (64, 32)).save(p), "is a picture of mode RGBA; expected one channel"),
        (lambda p: Image.new("P", (64, 32)).save(p), "is a picture of mode P; expected one channel"),
        (lambda p: Image.new("L", (64, 32), 192).save(p), "8-bit raster with the value 192; expected 16 bits"),
        (lambda p: Image.new("I;16", (32, 32)).save(p), "was made for 32 x 32 px; its image has 64 x 32"),
        (lambda p: p.write_bytes(p.read_bytes()[:60]), "cut short"),
        (lambda p: p.write_bytes(b""), "file is empty"),
        (lambda p: p.write_bytes(_without_pixels(p.read_bytes())), "does not decode"),
    ],
)
def test_a_raster_of_another_kind_is_refused(tree: Tree, save: Callable[[Path], object], said: str) -> None:
    root = tree("cityscapes")
    save(root / "gtFine/train/bochum/bochum_000000_000313_gtFine_instanceIds.png")
    with pytest.raises(SourceError, match=rf"bochum_000000_000313_gtFine_instanceIds\.png: .*{said}"):
        import_source("cityscapes", root)


def _without_pixels(png: bytes) -> bytes:
    """A PNG with its end marker but half of its pixel data overwritten."""
    start = png.index(b"IDAT") + 8
    return png[:start] + b"\xff" * 8 + png[start + 8 :]


def test_an_unknown_class_in_a_raster_is_kept_and_reported(tree: Tree) -> None:
    root = tree("cityscapes")
    Image.new("I;16", (64, 32), 40_007).save(root / "gtFine/train/bochum/bochum_000000_000313_gtFine_instanceIds.png")
    dataset = import_source("cityscapes", root)
    assert [row["category"] for row in rows(dataset, "bochum")] == ["40"]
    assert [problem.where for problem in dataset.problems if problem.code == "N01"] == ["cityscapes, label '40'"]


# Which file is read


def test_fine_before_coarse_and_polygons_before_rasters(tree: Tree) -> None:
    root = tree("cityscapes")

    def generation() -> str | None:
        image = images(import_source("cityscapes", root))["aachen_000000_000019"]
        return json.loads(image["attributes"])["cityscapes"]["generation"] if image["attributes"] else None

    coarse = root / f"gtCoarse/{AACHEN}_gtCoarse_polygons.json"
    shutil.copy(polygon_file(root), coarse)
    shutil.copy(root / f"gtFine/{AACHEN}_gtFine_instanceIds.png", root / f"gtCoarse/{AACHEN}_gtCoarse_instanceIds.png")
    assert generation() == "gtFine_polygons"
    polygon_file(root).unlink()
    assert generation() == "gtFine_instanceIds"
    (root / f"gtFine/{AACHEN}_gtFine_instanceIds.png").unlink()
    assert generation() == "gtCoarse_polygons"
    coarse.unlink()
    assert generation() == "gtCoarse_instanceIds"
    (root / f"gtCoarse/{AACHEN}_gtCoarse_instanceIds.png").unlink()
    assert generation() is None


def test_coverage_follows_from_the_labels_that_are_there(tree: Tree) -> None:
    found = coverage(import_source("cityscapes", tree("cityscapes")))
    for split in ("train", "val"):
        assert {name for (scope, name), state in found.items() if scope == f"cityscapes/{split}"} == {
            *THINGS,
            *(f"citypersons/{name}" for name in ("pedestrian", "rider", "sitting person", "person (other)")),
        }
        assert {state for (scope, _), state in found.items() if scope == f"cityscapes/{split}"} == {"exhaustive"}
    assert found["cityscapes/train_extra", "*"] == "partial"
    assert found["cityscapes/test", "*"] == "none"
    assert found["cityscapes/demoVideo", "*"] == "none"
    # Stuff is not imported, so an image without it is no negative.
    assert ("cityscapes/train", "road") not in found
    assert ("cityscapes/train", "*") not in found


def test_a_frame_with_less_than_its_split_says_so(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    found = coverage(dataset)
    coarse, bare = "cityscapes/aachen_000002_000019", "cityscapes/frankfurt_000001_054884"
    assert {found[coarse, name] for name in THINGS} == {"partial"}
    assert {found[bare, name] for name in THINGS} == {"none"}
    assert found[bare, "citypersons/pedestrian"] == "none"
    messages = [problem.message for problem in dataset.problems if problem.item == bare]
    assert [message.split(";")[0] for message in messages] == [
        "frame has no CityPersons file",
        "frame has no label file",
    ]


def test_the_dummy_labels_of_test_make_it_unlabelled_not_empty(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"), splits=["test"])
    assert list(images(dataset)) == ["berlin_000000_000019"]
    assert coverage(dataset) == {("cityscapes/test", "*"): "none"}
    assert not dataset.problems


def test_a_frame_without_objects_is_an_image_and_covered(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    assert "aachen_000001_000019" in images(dataset)
    assert not rows(dataset, "aachen_000001")
    assert not [scope for scope, _ in coverage(dataset) if scope == "cityscapes/aachen_000001_000019"]


def test_images_alone_are_enough(tree: Tree) -> None:
    root = tree("cityscapes")
    for folder in ("gtFine", "gtCoarse", "gtBboxCityPersons"):
        shutil.rmtree(root / folder)
    dataset = import_source("cityscapes", root)
    assert len(images(dataset)) == 9
    assert set(coverage(dataset).values()) == {"none"}
    assert not dataset.problems


def test_only_coarse_labels_make_a_split_partial(tree: Tree) -> None:
    root = tree("cityscapes")
    shutil.rmtree(root / "gtFine")
    shutil.rmtree(root / "gtBboxCityPersons")
    found = coverage(import_source("cityscapes", root))
    assert found["cityscapes/train", "*"] == "partial"
    assert found["cityscapes/val", "*"] == "none"


def test_labels_of_a_split_whose_images_are_not_there_are_reported_once(tree: Tree) -> None:
    root = tree("cityscapes")
    shutil.rmtree(root / "leftImg8bit/train_extra")
    dataset = import_source("cityscapes", root)
    assert "augsburg_000000_000019" not in images(dataset)
    assert [(p.code, p.where) for p in dataset.problems if p.code == "N03"] == [("N03", "gtCoarse/train_extra")]


def test_labels_whose_image_is_missing_are_kept(tree: Tree) -> None:
    root = tree("cityscapes")
    before = rows(import_source("cityscapes", root), "aachen_000000")
    name = f"leftImg8bit/{AACHEN}_leftImg8bit.png"
    (root / name).unlink()
    dataset = import_source("cityscapes", root)
    image = images(dataset)["aachen_000000_000019"]
    assert (image["file_name"], image["width"], image["height"]) == (name, 64, 32)  # the size that the JSON states
    assert rows(dataset, "aachen_000000") == before
    assert [problem.where for problem in dataset.problems if problem.code == "I01"] == [name]


# Ids and splits


def test_ids_keep_leading_zeros_and_do_not_name_the_split(tree: Tree) -> None:
    found = images(import_source("cityscapes", tree("cityscapes")))
    long = found["frankfurt_000001_054640"]
    assert (long["place"], long["sequence"], long["source_split"]) == ("frankfurt", "frankfurt_000001", "val")
    assert long["file_name"] == "leftImg8bit/val/frankfurt/frankfurt_000001_054640_leftImg8bit.png"
    video = found["stuttgart_00_000000_000001"]
    assert (video["place"], video["sequence"]) == ("stuttgart_00", "stuttgart_00_000000")


def test_one_frame_in_two_splits_is_refused(tree: Tree) -> None:
    root = tree("cityscapes")
    (root / "leftImg8bit/val/aachen").mkdir()
    shutil.copy(root / f"leftImg8bit/{AACHEN}_leftImg8bit.png", root / "leftImg8bit/val/aachen")
    with pytest.raises(SourceError, match=r"val/aachen/.*: is the same frame as leftImg8bit/train/aachen/"):
        import_source("cityscapes", root)


def test_names_of_another_form_are_refused(tree: Tree) -> None:
    root = tree("cityscapes")
    shutil.copy(root / f"leftImg8bit/{AACHEN}_leftImg8bit.png", root / "leftImg8bit/val/frankfurt/copy_leftImg8bit.png")
    with pytest.raises(SourceError, match=r"copy_leftImg8bit\.png: file name is not city_sequence_frame"):
        import_source("cityscapes", root)


def test_panoptic_files_are_neither_split_nor_label(tree: Tree) -> None:
    root = tree("cityscapes")
    first = import_source("cityscapes", root).fingerprint()
    shutil.rmtree(root / "gtFine/cityscapes_panoptic_train")
    (root / "gtFine/cityscapes_panoptic_train.json").unlink()
    assert import_source("cityscapes", root).fingerprint() == first


@pytest.mark.parametrize(("pixels", "reported"), [("black", True), ("blocks", False)])
def test_the_frame_that_is_said_to_be_black_is_looked_at(tree: Tree, pixels: str, reported: bool) -> None:
    root = tree("cityscapes")
    name = "leftImg8bit/train_extra/troisdorf/troisdorf_000000_000073_leftImg8bit.png"
    (root / name).parent.mkdir()
    if pixels == "black":
        Image.new("RGB", (64, 32)).save(root / name)
    else:
        shutil.copy(root / f"leftImg8bit/{AACHEN}_leftImg8bit.png", root / name)
    problems = import_source("cityscapes", root).problems
    assert [problem.where for problem in problems if problem.code == "N05"] == [name] * reported


# SearchAD names the same images by path


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    for row in import_source("cityscapes", tree("cityscapes")).table("images").to_pylist():
        assert key_from_searchad(row["file_name"]) == row["id"]


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("leftImg8bit/train/aachen/aachen_000003_000019_leftImg8bit.png", "cityscapes/aachen_000003_000019"),
        (
            "leftImg8bit_trainextra/leftImg8bit/train_extra/troisdorf/troisdorf_000000_000073_leftImg8bit.png",
            "cityscapes/troisdorf_000000_000073",
        ),
        ("leftImg8bit/test/02_Street_44/02_Street_44_000907_000030_leftImg8bit.png", None),  # Lost and Found
        ("leftImg8bit/train/0/005506_leftImg8bit.png", None),  # IDD
        ("gtFine/train/aachen/aachen_000003_000019_gtFine_color.png", None),
        ("leftImg8bit/train/aachen/aachen_000003_000019", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert key_from_searchad(path) == image


def test_paths_of_searchads_release_are_all_understood(shared: Path) -> None:
    paths = searchad_paths(shared, "cityscapes")
    assert len(paths) == 14
    assert {str(key_from_searchad(path)).split("_")[0] for path in paths} == {"cityscapes/aachen"}


# CityPersons


def test_person_boxes_are_rows_and_classes_of_their_own(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    found = persons(dataset, "aachen_000000")
    assert [(row["id"].split("#")[1], row["category"], row["source_label"]) for row in found] == [
        ("p0000", "citypersons/pedestrian", "pedestrian"),
        ("p0001", "citypersons/person group", "person group"),
        ("p0002", "citypersons/ignore", "ignore"),
        ("p0003", "citypersons/sitting person", "sitting person"),
    ]
    assert [(row["ignore"], row["iscrowd"]) for row in found] == [
        (False, False),
        (True, True),
        (True, False),
        (False, False),
    ]
    roles = {row["name"]: row["role"] for row in dataset.table("categories").to_pylist()}
    assert (roles["citypersons/ignore"], roles["citypersons/rider"]) == ("ignore", "benchmark")
    riders = [row for row in rows(dataset) if row["category"] == "rider"]
    assert len(riders) == 1  # not counted twice


def test_full_boxes_leave_the_frame_and_are_kept_and_reported(tree: Tree) -> None:
    dataset = import_source("cityscapes", tree("cityscapes"))
    (rider,) = persons(dataset, "frankfurt")
    assert box(rider) == [-5, 9, 12, 17]
    assert rider["attributes"]["citypersons"] == {"instanceId": 25000, "bboxVis": [0, 10, 7, 16]}
    assert {problem.item for problem in dataset.problems if problem.code == "B04"} >= {rider["id"]}


def test_visible_box_and_number_may_be_absent(tree: Tree) -> None:
    (bare,) = [
        row
        for row in persons(import_source("cityscapes", tree("cityscapes")))
        if row["source_label"] == "sitting person"
    ]
    assert bare["attributes"]["citypersons"] == {}
    assert bare["parent_id"] is None


def test_boxes_name_the_object_with_their_number(tree: Tree) -> None:
    root = tree("cityscapes")
    for expected in ("#0009", "#i24000"):  # from the polygons, then from the raster
        dataset = import_source("cityscapes", root)
        pedestrian, group, ignore, _ = persons(dataset, "aachen_000000")
        assert pedestrian["parent_id"] == f"cityscapes/aachen_000000_000019{expected}"
        parent = next(row for row in rows(dataset) if row["id"] == pedestrian["parent_id"])
        assert (parent["category"], box(parent)) == ("person", [58, 10, 6, 18])
        assert group["parent_id"] in {row["id"] for row in rows(dataset) if row["source_label"].startswith("person")}
        assert ignore["parent_id"] is None
        polygon_file(root).unlink(missing_ok=True)


def test_a_number_that_two_groups_share_names_none(tree: Tree) -> None:
    root = tree("cityscapes")
    twin = {"label": "persongroup", "polygon": [[1, 1], [5, 1], [5, 5]]}
    edit(polygon_file(root), lambda content: content["objects"].append(twin))
    assert persons(import_source("cityscapes", root), "aachen_000000")[1]["parent_id"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c["objects"][0].update(bbox=[1, 2, -3, 4]),
            r"objects\[0\]\.bbox: box \[1, 2, -3, 4\] has a negative",
        ),
        (lambda c: c["objects"][0].update(bbox=[1, 2, 3]), r"objects\[0\]\.bbox: expected `array` of length 4"),
        (lambda c: c["objects"][0].update(bbox=[1, 2, 3, 1e300]), r"objects\[0\]\.bbox\[3\]: expected `float` <= 1"),
        (lambda c: c["objects"][0].update(instanceId=10**30), r"objects\[0\]\.instanceId: "),
        (lambda c: c["objects"][0].pop("bbox"), r"objects\[0\]: object missing required field `bbox`"),
        (lambda c: c.update(imgWidth=65), r"was made for 65 x 32 px; its image has 64 x 32"),
    ],
)
def test_a_broken_person_file_is_named_with_the_place(tree: Tree, change: Callable[[Any], object], said: str) -> None:
    root = tree("cityscapes")
    path = root / f"gtBboxCityPersons/{AACHEN}_gtBboxCityPersons.json"
    edit(path, change)
    with pytest.raises(SourceError, match=said) as raised:
        import_source("cityscapes", root)
    assert str(path) in str(raised.value)


def test_without_person_files_there_are_no_person_classes(tree: Tree) -> None:
    root = tree("cityscapes")
    shutil.rmtree(root / "gtBboxCityPersons")
    dataset = import_source("cityscapes", root)
    assert dataset.table("categories").num_rows == 35
    assert not [name for _, name in coverage(dataset) if name.startswith("citypersons/")]


def as_matlab(root: Path, split: str) -> Path:
    """The person files of ``split`` as the older form has them, with numbers of another type in every cell."""
    numbers = {"ignore": 0, "pedestrian": 1, "rider": 2, "sitting person": 3, "person (other)": 4, "person group": 5}
    cells = []
    for path in sorted((root / f"gtBboxCityPersons/{split}").rglob("*.json")):
        found = json.loads(path.read_text())["objects"]
        bbs = [
            [numbers[p["label"]], *p["bbox"], p.get("instanceId", 0), *p.get("bboxVis", [0, 0, 0, 0])] for p in found
        ]
        types = np.uint16 if np.min(bbs, initial=0) >= 0 else np.int16
        name = path.name.replace("_gtBboxCityPersons.json", "_leftImg8bit.png")
        cells.append({"cityname": path.parent.name, "im_name": name, "bbs": np.array(bbs, types).reshape(-1, 10)})
    held = np.empty((1, len(cells)), object)
    held[0, :] = cells
    file = root / f"annotations/anno_{split}.mat"
    file.parent.mkdir(exist_ok=True)
    savemat(file, {f"anno_{split}_aligned": held})
    return file


def test_the_older_form_gives_the_same_boxes(tree: Tree) -> None:
    root = tree("cityscapes")
    wanted = import_source("cityscapes", root)
    for split in ("train", "val"):
        as_matlab(root, split)
    assert import_source("cityscapes", root).fingerprint() == wanted.fingerprint()  # where both are there, JSON is read
    shutil.rmtree(root / "gtBboxCityPersons")
    found = import_source("cityscapes", root, jobs=2)
    assert coverage(found) == coverage(wanted)
    for old, new in zip(persons(found), persons(wanted), strict=True):
        if new["source_label"] == "sitting person":  # the older form has zeros for what is absent
            new["attributes"] = {"citypersons": {"instanceId": 0, "bboxVis": [0, 0, 0, 0]}}
        assert old == new


@pytest.mark.parametrize(
    ("bbs", "said"),
    [
        ([[7, 1, 2, 3, 4, 0, 1, 2, 3, 4]], r"anno_val\.mat, anno_val_aligned\[0\]\.bbs\[0\]: class 7; expected 0 to 5"),
        ([[1, 1, 2, -3, 4, 0, 1, 2, 3, 4]], r"bbs\[0\]: box \[1, 2, -3, 4\] has a negative side"),
        (
            [[1, 1, 2, np.nan, 4, 0, 1, 2, 3, 4]],
            r"anno_val\.mat: is no file of CityPersons .*a number that is none of a box",
        ),
        ([[1, 1, 2, 3, 4]], r"anno_val\.mat: is no file of CityPersons"),
    ],
)
def test_a_broken_older_file_is_named_with_the_place(tree: Tree, bbs: list[list[float]], said: str) -> None:
    root = tree("cityscapes")
    shutil.rmtree(root / "gtBboxCityPersons")
    held = np.empty((1, 1), object)
    held[0, 0] = {"cityname": "frankfurt", "im_name": "frankfurt_000001_054640_leftImg8bit.png", "bbs": np.array(bbs)}
    (root / "annotations").mkdir()
    savemat(root / "annotations/anno_val.mat", {"anno_val_aligned": held})
    with pytest.raises(SourceError, match=said):
        import_source("cityscapes", root)
    (root / "annotations/anno_val.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(SourceError, match=r"anno_val\.mat, byte 124: no header of version 5 to 7\.2"):
        import_source("cityscapes", root)
