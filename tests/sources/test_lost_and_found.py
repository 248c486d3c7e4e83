"""Lost and Found: the rules and oddities of its format, one by one, and the samples."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.sources import label_table
from curate.sources.lost_and_found import SOURCE, key_from_searchad
from tests.sources.looking import annotations, box, categories, coverage, findings, images, mask, searchad_paths

Tree = Callable[..., Path]
PALLET = "train/01_Hanns_Klemm_Str_45/01_Hanns_Klemm_Str_45_000000_000080"
BALLS = "test/02_Hanns_Klemm_Str_44/02_Hanns_Klemm_Str_44_000001_000020"
OBJECTS = {row["name"] for row in label_table("lost_and_found") if int(row["id"]) >= 2}


def taken(root: Path | Dataset, image: str = "") -> list[tuple[str, str, list[float], float]]:
    """End of the id, class, box and area of each object."""
    dataset = root if isinstance(root, Dataset) else import_source("lost_and_found", root)
    return [(row["id"].split("#")[1], row["category"], box(row), row["area"]) for row in annotations(dataset, image)]


def raster(root: Path, frame: str = PALLET, kind: str = "instanceIds") -> Path:
    return root / f"gtCoarse/{frame}_gtCoarse_{kind}.png"


# The samples, against the values that their rasters were drawn with


def test_handmade_sample(shared: Path) -> None:
    folder = shared / "samples/lost_and_found/handmade"
    dataset = import_source("lost_and_found", folder)
    assert taken(dataset) == [
        ("i16000", "Euro Pallet", [60, 70, 20, 8], 160),
        ("i24000", "Dog (black)", [120, 72, 10, 9], 90),
        ("i40000", "Kid (walking)", [200, 55, 8, 24], 192),
        ("i09000", "Cardboard box 1", [100, 80, 12, 12], 144),
        ("i09001", "Cardboard box 1", [140, 80, 12, 12], 144),
        ("i39000", "Wood (thin)", [40, 90, 30, 3], 90),
    ]
    assert {row["id"].split("#")[0] for row in annotations(dataset)} < set(dataset.table("images")["id"].to_pylist())
    assert findings(dataset) == [
        ("N05", "lost_and_found/01_Hanns_Klemm_Str_45_000000_000140"),  # 0 throughout
        ("N05", "lost_and_found/15_Rechbergstr_Deckenpfronn_000000_000020"),  # no gtCoarse
    ]
    for row in annotations(dataset):
        image = images(dataset)[row["image_id"].removeprefix("lost_and_found/")]
        path = (
            image["file_name"].replace("leftImg8bit.png", "gtCoarse_instanceIds.png").replace("leftImg8bit", "gtCoarse")
        )
        values = np.asarray(Image.open(folder / path))
        assert np.array_equal(mask(row), values == row["attributes"]["lost_and_found"]["instanceId"])


def test_without_instance_rasters_the_sample_gives_the_same_objects(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(shared / "samples/lost_and_found/handmade", root, copy_function=shutil.copyfile)
    whole = sorted(row[1:] for row in taken(root))
    for path in root.rglob("*_instanceIds.png"):
        path.unlink()
    assert sorted(row[1:] for row in taken(root)) == whole


@pytest.mark.parametrize("below", ["", "lostandfound", "lostandfound/leftImg8bit"])
def test_searchads_layout_of_images_alone(shared: Path, below: str) -> None:
    dataset = import_source("lost_and_found", shared / "samples/lost_and_found/handmade_images_only" / below)
    whole = import_source("lost_and_found", shared / "samples/lost_and_found/handmade")
    assert list(images(dataset)) == list(images(whole))
    assert coverage(dataset) == {("lost_and_found/test", "*"): "none", ("lost_and_found/train", "*"): "none"}
    assert not annotations(dataset)
    assert not dataset.problems


# Names and folders


def test_scene_sequence_and_time_are_read_from_the_right(tree: Tree) -> None:
    found = images(import_source("lost_and_found", tree("lost_and_found")))
    assert {name: (row["place"], row["sequence"], row["source_split"]) for name, row in found.items()} == {
        "01_Hanns_Klemm_Str_45_000000_000080": ("01_Hanns_Klemm_Str_45", "01_Hanns_Klemm_Str_45_000000", "train"),
        "01_Hanns_Klemm_Str_45_000000_000140": ("01_Hanns_Klemm_Str_45", "01_Hanns_Klemm_Str_45_000000", "train"),
        "01_Hanns_Klemm_Str_45_000000_000150": ("01_Hanns_Klemm_Str_45", "01_Hanns_Klemm_Str_45_000000", "train"),
        "02_Hanns_Klemm_Str_44_000001_000010": ("02_Hanns_Klemm_Str_44", "02_Hanns_Klemm_Str_44_000001", "test"),
        "02_Hanns_Klemm_Str_44_000001_000020": ("02_Hanns_Klemm_Str_44", "02_Hanns_Klemm_Str_44_000001", "test"),
        "13_Elly_Beinhorn_Str_000000_000040": ("13_Elly_Beinhorn_Str", "13_Elly_Beinhorn_Str_000000", "train"),
        "14_Otto_Lilienthal_Str_24_000002_000030": (
            "14_Otto_Lilienthal_Str_24",
            "14_Otto_Lilienthal_Str_24_000002",
            "train",
        ),
        "15_Rechbergstr_Deckenpfronn_000000_000020": (
            "15_Rechbergstr_Deckenpfronn",
            "15_Rechbergstr_Deckenpfronn_000000",
            "test",
        ),
    }


@pytest.mark.parametrize(
    "kept", ["leftImg8bit/{split}", "{split}", "lostandfound/leftImg8bit/{split}", "lostandfound/{split}"]
)
def test_layouts_give_the_same_ids(tree: Tree, tmp_path: Path, kept: str) -> None:
    root, other = tree("lost_and_found"), tmp_path / "other"
    whole = list(images(import_source("lost_and_found", root)))
    for split in ("train", "test"):
        (other / kept.format(split=split)).parent.mkdir(parents=True, exist_ok=True)
        (root / f"leftImg8bit/{split}").rename(other / kept.format(split=split))
    dataset = import_source("lost_and_found", other)
    assert list(images(dataset)) == whole
    for row in images(dataset).values():
        assert (other / row["file_name"]).is_file()


def test_labels_below_searchads_folder_are_read(tree: Tree) -> None:
    root = tree("lost_and_found")
    whole = taken(root)
    (root / "lostandfound").mkdir()
    for folder in ("leftImg8bit", "gtCoarse"):
        (root / folder).rename(root / "lostandfound" / folder)
    assert taken(root) == whole


def test_pictures_and_rasters_are_paired_by_name_and_never_by_position(tree: Tree) -> None:
    root = tree("lost_and_found")
    first = taken(root, "14_Otto")
    for path in root.rglob("01_Hanns_Klemm_Str_45_000000_000140_gtCoarse_*"):
        path.unlink()  # now there are fewer rasters than pictures before it
    assert taken(root, "14_Otto") == first


def test_one_frame_in_two_folders_is_refused(tree: Tree) -> None:
    root = tree("lost_and_found")
    copy = root / "leftImg8bit/test/02_Hanns_Klemm_Str_44/01_Hanns_Klemm_Str_45_000000_000080_leftImg8bit.png"
    shutil.copy(root / f"leftImg8bit/{PALLET}_leftImg8bit.png", copy)
    with pytest.raises(SourceError, match=r"02_Hanns_Klemm_Str_44/01_.*: is the same frame as leftImg8bit/train/01_"):
        import_source("lost_and_found", root)
    left = import_source("lost_and_found", root, skip_bad=True)
    assert "01_Hanns_Klemm_Str_45_000000_000080" not in images(left)
    assert findings(left, "N03") == [("N03", "lost_and_found/01_Hanns_Klemm_Str_45_000000_000080")]


@pytest.mark.parametrize("name", ["-1_leftImg8bit.png", "copy_leftImg8bit.png", "01_Street_000080_leftImg8bit.png"])
def test_names_of_another_form_are_refused_one_by_one(tree: Tree, name: str) -> None:
    root = tree("lost_and_found")
    shutil.copy(root / f"leftImg8bit/{PALLET}_leftImg8bit.png", root / "leftImg8bit/train/01_Hanns_Klemm_Str_45" / name)
    with pytest.raises(SourceError, match=rf"{name}: file name is not scene_sequence_frame; expected a name like"):
        import_source("lost_and_found", root)
    assert len(images(import_source("lost_and_found", root, skip_bad=True))) == 8


@pytest.mark.parametrize(
    ("path", "image"),
    [
        (
            "leftImg8bit/test/02_Hanns_Klemm_Str_44/02_Hanns_Klemm_Str_44_000907_000030_leftImg8bit.png",
            "lost_and_found/02_Hanns_Klemm_Str_44_000907_000030",
        ),
        (
            "test/15_Rechbergstr_Deckenpfronn/15_Rechbergstr_Deckenpfronn_000000_000020_leftImg8bit.png",
            "lost_and_found/15_Rechbergstr_Deckenpfronn_000000_000020",
        ),
        ("leftImg8bit/train/aachen/aachen_000003_000019_leftImg8bit.png", None),  # Cityscapes
        ("gtCoarse/test/02_A_44/02_A_44_000907_000030_gtCoarse_labelIds.png", None),
        ("leftImg8bit/test/02_A_44/02_A_44_000907_000030", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert key_from_searchad(path) == image


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    for row in import_source("lost_and_found", tree("lost_and_found")).table("images").to_pylist():
        assert key_from_searchad(row["file_name"]) == row["id"]


def test_paths_of_searchads_release_are_all_understood(shared: Path) -> None:
    paths = searchad_paths(shared, "lostandfound")
    assert len(paths) == 2
    for path in paths:
        assert str(key_from_searchad(path)).startswith("lost_and_found/02_Hanns_Klemm_Str_44_0009")


# Objects


def test_values_from_1000_are_instances(tree: Tree) -> None:
    dataset = import_source("lost_and_found", tree("lost_and_found"))
    assert taken(dataset, "01_Hanns_Klemm_Str_45") == [
        ("i16000", "Euro Pallet", [10, 16, 20, 8], 160),
        ("i24000", "Dog (black)", [40, 18, 10, 9], 90),
    ]
    # Flat wood of 30 by 3 is one object in two pieces: the box in front hides 8 columns of it.
    assert taken(dataset, "14_Otto") == [
        ("i09000", "Cardboard box 1", [12, 16, 8, 10], 80),
        ("i09001", "Cardboard box 1", [40, 16, 8, 10], 80),
        ("i39000", "Wood (thin)", [4, 20, 30, 3], 66),
        ("i43255", "Kid (crawling)", [63, 31, 1, 1], 1),  # number 255 of class 43, a single pixel
    ]
    assert {row["iscrowd"] for row in annotations(dataset)} == {False}


def test_what_is_no_hazard_is_an_object_all_the_same(tree: Tree) -> None:
    dataset = import_source("lost_and_found", tree("lost_and_found"))
    hazard = {row["category"]: row["attributes"]["lost_and_found"]["hazard"] for row in annotations(dataset)}
    assert hazard["Wood (thin)"] is hazard["Marker Pole (lying)"] is False
    assert hazard["Cardboard box 1"] is hazard["Kid (walking)"] is True
    assert categories(dataset)["Wood (thin)"]["definition"] == "an object, but no obstacle"
    assert categories(dataset)["Ball"]["definition"] is None


def test_there_are_42_kinds_of_objects_by_the_order_that_states_ids(tree: Tree) -> None:
    found = categories(import_source("lost_and_found", tree("lost_and_found")))
    assert {name for name, row in found.items() if row["role"] == "benchmark"} == OBJECTS
    assert (len(OBJECTS), len(found)) == (42, 44)
    names = {int(row["id"]): row["name"] for row in label_table("lost_and_found")}
    assert (names[22], names[23], names[25], names[32]) == ("Ball", "Bicycle", "Dog (white)", "Plastic bag (bloated)")
    # The page's list of what is no hazard.
    no_hazard = {number for number, name in names.items() if found[name]["definition"]}
    assert no_hazard == {31, 33, 34, 36, 37, 38, 39}


def test_without_instances_connected_regions_are_taken_and_said_to_be_derived(tree: Tree) -> None:
    dataset = import_source("lost_and_found", tree("lost_and_found"))
    assert taken(dataset, BALLS.split("/")[-1]) == [
        ("c0000", "Ball", [10, 20, 8, 8], 32),  # two that meet at a corner become one
        ("c0001", "Ball", [30, 20, 4, 4], 16),
        ("c0002", "Kid (small bobby)", [34, 20, 3, 4], 12),
    ]
    facts = [row["attributes"]["lost_and_found"] for row in annotations(dataset, BALLS.split("/")[-1])]
    assert {(fact["generation"], fact["derived"]) for fact in facts} == {("labelIds", True)}
    others = [row for row in annotations(dataset) if "000020#" not in row["id"]]
    assert not [row for row in others if "derived" in row["attributes"]["lost_and_found"]]
    image = "lost_and_found/02_Hanns_Klemm_Str_44_000001_000020"
    assert findings(dataset).count(("N05", image)) == 1


def test_instances_in_8_bits_are_taken_as_label_ids(tree: Tree) -> None:
    root = tree("lost_and_found")
    shutil.copy(raster(root, kind="labelIds"), raster(root))
    dataset = import_source("lost_and_found", root)
    assert taken(dataset, "000080") == [
        ("c0000", "Euro Pallet", [10, 16, 20, 8], 160),
        ("c0001", "Dog (black)", [40, 18, 10, 9], 90),
    ]
    assert findings(dataset, "M10") == [("M10", "lost_and_found/01_Hanns_Klemm_Str_45_000000_000080")]


def test_class_ids_in_an_instance_raster_are_groups(tree: Tree) -> None:
    root = tree("lost_and_found")
    values = np.zeros((32, 64), np.uint16)
    values[4:6, 4:8], values[8, 8] = 9, 1
    Image.fromarray(values).save(raster(root))
    (row,) = annotations(import_source("lost_and_found", root), "000080")
    assert (row["category"], row["iscrowd"], box(row)) == ("Cardboard box 1", True, [4, 4, 4, 2])


def test_an_unknown_class_is_kept_and_reported(tree: Tree) -> None:
    root = tree("lost_and_found")
    values = np.full((32, 64), 44_001, np.uint16)
    Image.fromarray(values).save(raster(root))
    dataset = import_source("lost_and_found", root)
    assert taken(dataset, "000080") == [("i44001", "44", [0, 0, 64, 32], 2048)]
    assert [problem.where for problem in dataset.problems if problem.code == "N01"] == ["lost_and_found, label '44'"]


def test_train_ids_and_polygons_are_never_read(tree: Tree) -> None:
    root = tree("lost_and_found")
    first = import_source("lost_and_found", root).fingerprint()
    for path in [*root.rglob("*_labelTrainIds.png"), *root.rglob("*_polygons.json")]:
        path.write_bytes(b"")
    assert import_source("lost_and_found", root).fingerprint() == first


@pytest.mark.parametrize("kind", ["instanceIds", "labelIds"])
@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda p: p.write_bytes(b""), "file is empty"),
        (lambda p: p.write_bytes(p.read_bytes()[:60]), "cut short"),
        (lambda p: Image.new("RGB", (64, 32)).save(p), "is a picture of mode RGB; expected one channel"),
        (lambda p: Image.new("P", (64, 32)).save(p), "is a picture of mode P; expected one channel"),
        (lambda p: Image.new("L", (32, 32), 9).save(p), "was made for 32 x 32 px; its image has 64 x 32"),
    ],
)
def test_a_broken_raster_is_named_and_its_frame_can_be_left_out(
    tree: Tree, kind: str, save: Callable[[Path], object], said: str
) -> None:
    root = tree("lost_and_found")
    path = raster(root, PALLET if kind == "instanceIds" else BALLS, kind)
    save(path)
    with pytest.raises(SourceError, match=rf"_{kind}\.png: .*{said}") as raised:
        import_source("lost_and_found", root)
    assert str(path) in str(raised.value)
    left = import_source("lost_and_found", root, skip_bad=True)
    assert len(images(left)) == 7
    assert [problem.where for problem in left.problems if problem.code == "N03"] == [str(path)]


# What is covered


def test_a_raster_of_zeros_is_a_frame_that_nobody_labelled(tree: Tree) -> None:
    dataset = import_source("lost_and_found", tree("lost_and_found"))
    found = coverage(dataset)
    assert found["lost_and_found/01_Hanns_Klemm_Str_45_000000_000140", "*"] == "none"
    assert ("N05", "lost_and_found/01_Hanns_Klemm_Str_45_000000_000140") in findings(dataset)
    # Free space alone is a frame that was looked at: no object is on it.
    assert not [scope for scope, _ in found if scope.endswith("000150")]


def test_a_frame_without_raster_is_unlabelled(tree: Tree) -> None:
    dataset = import_source("lost_and_found", tree("lost_and_found"))
    image = "lost_and_found/15_Rechbergstr_Deckenpfronn_000000_000020"
    assert coverage(dataset)[image, "*"] == "none"
    assert ("N05", image) in findings(dataset)
    assert images(dataset)["15_Rechbergstr_Deckenpfronn_000000_000020"]["width"] == 64


def test_labelled_splits_are_covered_for_objects_and_nothing_else(tree: Tree) -> None:
    found = coverage(import_source("lost_and_found", tree("lost_and_found")))
    for split in ("train", "test"):
        scope = f"lost_and_found/{split}"
        assert {name for (where, name) in found if where == scope} == OBJECTS
        assert {state for (where, _), state in found.items() if where == scope} == {"exhaustive"}


def test_labels_whose_images_are_missing(tree: Tree) -> None:
    root = tree("lost_and_found")
    before = taken(root, "000080")
    (root / f"leftImg8bit/{PALLET}_leftImg8bit.png").unlink()
    dataset = import_source("lost_and_found", root)
    row = images(dataset)["01_Hanns_Klemm_Str_45_000000_000080"]
    assert (row["file_name"], row["width"], row["height"]) == (f"leftImg8bit/{PALLET}_leftImg8bit.png", 64, 32)
    assert taken(dataset, "000080") == before
    assert [problem.where for problem in dataset.problems if problem.code == "I01"] == [row["file_name"]]

    shutil.rmtree(root / "leftImg8bit/test")
    dataset = import_source("lost_and_found", root)
    assert {row["source_split"] for row in images(dataset).values()} == {"train"}
    assert [problem.where for problem in dataset.problems if problem.code == "N03"] == ["gtCoarse/test"]


def test_published_counts_add_up() -> None:
    """Scenes of test as the page lists them; train and test make SearchAD's count."""
    assert 371 + 248 + 304 + 137 + 143 == 1_203
    assert 288 + 136 + 100 + 202 + 53 + 257 == 1_036
    assert SOURCE.published is not None
    assert SOURCE.published.images == 1_203 + 1_036 == 2_239


# Other downloads


def test_a_split_that_is_not_there_is_an_error(tree: Tree) -> None:
    root = tree("lost_and_found")
    shutil.rmtree(root / "leftImg8bit/test")
    with pytest.raises(SourceError, match=r"holds no split 'test'; expected leftImg8bit/test/; it holds train"):
        import_source("lost_and_found", root, splits=["test"])


def test_cityscapes_and_lost_and_found_are_told_apart(tree: Tree) -> None:
    """They share their layout to the last folder."""
    with pytest.raises(SourceError, match=r"holds frames like aachen_.*; expected scene_sequence_frame, as 01_Hanns"):
        import_source("lost_and_found", tree("cityscapes"))
    with pytest.raises(SourceError, match=r"holds frames like 01_Hanns.*; expected city_sequence_frame, as aachen"):
        import_source("cityscapes", tree("lost_and_found"))


def test_an_archive_that_is_not_unpacked_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit.zip").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"holds leftImg8bit\.zip; .*; unpack the archives there first"):
        import_source("lost_and_found", tmp_path)


def test_links_that_leave_the_root_are_not_followed(tree: Tree, tmp_path: Path) -> None:
    root = tree("lost_and_found")
    path = raster(root)
    path.rename(tmp_path / "outside.png")
    path.symlink_to(tmp_path / "outside.png")
    with pytest.raises(SourceError, match=rf"{path.name}: is a link that leaves "):
        import_source("lost_and_found", root)
    assert len(images(import_source("lost_and_found", root, skip_bad=True))) == 7
