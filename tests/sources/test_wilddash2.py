"""WildDash 2: the rules and oddities of its format, one by one, and the sample."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import label_table
from curate.sources.wilddash2 import SOURCE, key_from_searchad
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images, mask, searchad_paths

Tree = Callable[..., Path]
FILE = "wd_public_v2p0/panoptic.json"
PUBLIC = "wd_public_v2p0"


def taken(dataset: Dataset, image: str = "") -> list[tuple[str, str, list[float], float]]:
    """Number, class, box and area of each object."""
    rows = annotations(dataset, image)
    return [(row["attributes"]["wilddash2"]["segment"], row["category"], box(row), row["area"]) for row in rows]


def entry(content: dict[str, Any], image: int = 0) -> dict[str, Any]:
    return content["annotations"][image]


# The sample, against the values of its panoptic.json


def test_handmade_sample(shared: Path) -> None:
    folder = shared / "samples/wilddash2/handmade"
    dataset = import_source("wilddash2", folder)
    assert taken(dataset) == [
        (300, "ego vehicle", [0, 98, 192, 10], 1920),
        (70_000, "car", [20, 40, 50, 30], 1500),
        (70_001, "car", [75, 42, 40, 26], 1040),
        (131_072, "person", [150, 30, 10, 40], 400),
        (5, "person", [100, 50, 50, 30], 1500),
        (66_051, "pickup", [10, 60, 60, 40], 2400),
    ]
    assert [row["iscrowd"] for row in annotations(dataset)] == [False, False, False, False, True, False]
    for row in annotations(dataset):
        stem = row["image_id"].split("/")[-1]
        colours = np.asarray(Image.open(folder / f"wd_public_v2p0/panoptic/{stem}.png")).astype(int)
        number = colours[..., 0] + 256 * colours[..., 1] + 65_536 * colours[..., 2]
        assert np.array_equal(mask(row), number == row["attributes"]["wilddash2"]["segment"])
    assert {name: row["source_split"] for name, row in images(dataset).items()} == {
        "both/ab0001_100000": "both",
        "both/ab0002_100000": "both",
        "public/aa0001_100000": "public",
        "public/aa0002_100000": "public",
        "public/aa0003_100000": "public",
    }
    assert findings(dataset) == [("N05", "wilddash2/public/aa0003_100000")]  # listed without annotation
    assert len(categories(dataset)) == 39


# Segments


def test_things_are_imported_with_what_is_visible_of_them(tree: Tree) -> None:
    dataset = import_source("wilddash2", tree("wilddash2"))
    assert taken(dataset) == [
        (5, "caravan", [10, 10, 20, 10], 200),
        (300, "ego vehicle", [0, 32, 64, 4], 256),
        (70_000, "car", [4, 14, 20, 12], 240),
        (70_001, "car", [30, 15, 16, 10], 120),  # 16 x 10 without the person's 4 columns: two pieces, one object
        (131_072, "person", [36, 13, 4, 16], 64),
        (5, "person", [25, 12, 12, 8], 96),
        (66_051, "pickup", [3, 10, 16, 10], 160),
    ]
    assert {row["id"] for row in annotations(dataset, "public/aa0002_100000")} == {
        "wilddash2/public/aa0002_100000#s00000005",
        "wilddash2/public/aa0002_100000#s00066051",
    }


def test_stuff_comes_on_request_and_is_covered_only_then(tree: Tree) -> None:
    root = tree("wilddash2")
    things = import_source("wilddash2", root)
    whole = import_source("wilddash2", root, options={"stuff": "yes"})
    assert [row for row in taken(whole) if row not in taken(things)] == [
        (16, "tunnel", [0, 0, 64, 8], 512),
        (257, "sky", [0, 0, 64, 10], 640),
        (1007, "road", [0, 12, 64, 20], 64 * 20 - 240 - 120 - 64),
    ]
    assert ("wilddash2/public", "tunnel") not in coverage(things)
    assert coverage(whole)["wilddash2/public", "tunnel"] == "exhaustive"
    assert import_source("wilddash2", root, options={"stuff": False}).fingerprint() == things.fingerprint()
    with pytest.raises(UsageError, match="option stuff: is 'some'; expected yes or no"):
        import_source("wilddash2", root, options={"stuff": "some"})


def test_a_group_that_was_not_separated_is_a_crowd(tree: Tree) -> None:
    rows = annotations(import_source("wilddash2", tree("wilddash2")))
    assert [row["id"] for row in rows if row["iscrowd"]] == ["wilddash2/public/aa0002_100000#s00000005"]


def test_a_number_means_another_class_in_another_image(tree: Tree) -> None:
    """One map from numbers to classes over all images mixes them up."""
    rows = annotations(import_source("wilddash2", tree("wilddash2")))
    fives = {row["image_id"].split("/")[-1]: row["category"] for row in rows if row["id"].endswith("#s00000005")}
    assert fives == {"aa0002_100000": "person", "-aa0004_100000": "caravan"}


def test_colours_count_red_first_and_blue_last(tree: Tree) -> None:
    """Read the other way round, blue 2 would be number 2, and number 5 would be 327680."""
    root = tree("wilddash2")
    with Image.open(root / f"{PUBLIC}/panoptic/aa0001_100000.png") as picture:
        assert picture.getpixel((37, 20)) == (0, 0, 2)
    rows = annotations(import_source("wilddash2", root), "public/aa0001")
    (person,) = [row for row in rows if row["category"] == "person"]
    assert mask(person)[20, 37]
    assert person["attributes"]["wilddash2"]["segment"] == 2 * 65_536


def test_a_mask_with_an_alpha_channel_is_read(tree: Tree) -> None:
    root = tree("wilddash2")
    path = root / f"{PUBLIC}/panoptic/aa0002_100000.png"
    with Image.open(path) as picture:
        assert picture.mode == "RGBA"
        opaque = picture.convert("RGB")
    before = import_source("wilddash2", root).fingerprint()
    opaque.save(path)
    assert import_source("wilddash2", root).fingerprint() == before


def test_pixels_of_no_segment_are_unlabelled(tree: Tree) -> None:
    root = tree("wilddash2")
    edit(root / FILE, lambda c: entry(c)["segments_info"].pop(2))
    dataset = import_source("wilddash2", root)
    assert 70_000 not in [number for number, *_ in taken(dataset)]
    (said,) = [problem for problem in dataset.problems if "no segment" in problem.message]
    assert (said.code, said.where) == ("N05", f"{PUBLIC}/panoptic/aa0001_100000.png")


def test_box_and_area_are_checked_against_the_mask_and_not_trusted(tree: Tree) -> None:
    root = tree("wilddash2")
    edit(root / FILE, lambda c: entry(c)["segments_info"][2].update(bbox=[4, 14, 19, 11], area=999))
    dataset = import_source("wilddash2", root)
    image = "wilddash2/public/aa0001_100000"
    assert findings(dataset, "B08", "B09") == [("B08", image), ("B09", image)]
    (row,) = [row for row in annotations(dataset) if row["id"].endswith("#s00070000")]
    assert (box(row), row["area"]) == ([4, 14, 19, 11], 240)
    assert row["attributes"]["wilddash2"] == {"segment": 70_000, "area": 999, "ignore_in_eval": False}


def test_a_mask_that_is_not_there_leaves_boxes(tree: Tree) -> None:
    root = tree("wilddash2")
    (root / f"{PUBLIC}/panoptic/aa0002_100000.png").unlink()
    dataset = import_source("wilddash2", root)
    assert taken(dataset, "public/aa0002") == [
        (5, "person", [25, 12, 12, 8], 96),
        (66_051, "pickup", [3, 10, 16, 10], 160),
    ]
    assert {row["segmentation"] for row in annotations(dataset, "public/aa0002")} == {None}
    (said,) = [problem for problem in dataset.problems if problem.item == "wilddash2/public/aa0002_100000"]
    assert (said.code, said.severity) == ("F01", "warning")
    assert said.message == "its mask aa0002_100000.png is not there; the segments have boxes only"


# Classes


def test_the_ego_vehicle_is_flagged_and_floods_no_class(tree: Tree) -> None:
    dataset = import_source("wilddash2", tree("wilddash2"))
    assert [row["category"] for row in annotations(dataset) if row["ignore"]] == ["ego vehicle"]
    roles = {name: row["role"] for name, row in categories(dataset).items()}
    assert (roles["ego vehicle"], roles["car"], roles["sky"]) == ("ignore", "benchmark", "other")


def test_names_and_things_are_those_of_the_file_and_not_of_a_list(tree: Tree) -> None:
    """The list of 81 spells names otherwise and makes things of what is stuff in the list of 39."""
    root = tree("wilddash2")
    table = {int(row["id"]): row for row in label_table("wilddash2")}

    def rename(content: dict[str, Any]) -> None:
        content["categories"] = [
            {"id": number, "name": row["policy_name"], "supercategory": row["supercategory"], "isthing": 1}
            for number, row in table.items()
        ]

    edit(root / FILE, rename)
    dataset = import_source("wilddash2", root)
    assert {name for _, name, *_ in taken(dataset)} == {
        *("egovehicle", "car", "person", "pickup", "caravan"),
        *("sky", "road", "tunnel"),  # things, since this file says so
    }
    assert len(categories(dataset)) == 81
    assert categories(dataset)["egovehicle"]["role"] == "ignore"
    assert not findings(dataset, "N01")


def test_what_the_file_leaves_open_is_taken_from_the_list_of_39(tree: Tree) -> None:
    root = tree("wilddash2")
    whole = import_source("wilddash2", root)
    edit(root / FILE, lambda c: [label.pop("isthing") for label in c["categories"]])
    assert import_source("wilddash2", root).fingerprint() == whole.fingerprint()
    edit(root / FILE, lambda c: c.pop("categories"))
    dataset = import_source("wilddash2", root)
    assert taken(dataset) == taken(whole)
    assert len(categories(dataset)) == 39


def test_both_lists_agree_on_the_ids_that_they_share() -> None:
    table = label_table("wilddash2")
    short = [row for row in table if row["v2_name"]]
    assert [int(row["id"]) for row in table] == list(range(81))
    assert [int(row["id"]) for row in short] == list(range(39))
    assert {int(row["id"]) for row in short if row["v2_isthing"] == "1"} == {1, *range(24, 36)}  # 13 things
    assert sum(row["v2_evaluate"] == "1" for row in short) == 25
    cityscapes = {row["name"]: int(row["id"]) for row in label_table("cityscapes")}
    for row in short[:34]:
        assert cityscapes[row["v2_name"]] == int(row["id"])


def test_classes_that_are_not_evaluated_are_kept_and_marked(tree: Tree) -> None:
    rows = annotations(import_source("wilddash2", tree("wilddash2")))
    marked = {row["category"]: row["attributes"]["wilddash2"]["ignore_in_eval"] for row in rows}
    assert marked == {"ego vehicle": False, "car": False, "person": False, "pickup": False, "caravan": True}


def test_an_unknown_class_is_kept_and_reported(tree: Tree) -> None:
    root = tree("wilddash2")

    def change(content: dict[str, Any]) -> None:
        entry(content)["segments_info"][2]["category_id"] = 777
        content["categories"].append({"id": 900, "name": "hovercraft", "isthing": 1})
        entry(content)["segments_info"][3]["category_id"] = 900

    edit(root / FILE, change)
    dataset = import_source("wilddash2", root)
    assert [name for _, name, *_ in taken(dataset, "public/aa0001")] == ["ego vehicle", "777", "hovercraft", "person"]
    assert [problem.where for problem in dataset.problems if problem.code == "N01"] == [
        "wilddash2, label '777'",
        "wilddash2, label 'hovercraft'",
    ]


# Images and folders


@pytest.mark.parametrize(("public", "both"), [("wd_publicv2p0", "wd_both02"), ("wd_public_v2p0", "wd_both02")])
def test_both_ways_of_writing_the_folders_give_the_same(tree: Tree, public: str, both: str) -> None:
    root = tree("wilddash2")
    whole = import_source("wilddash2", root)
    if public != PUBLIC:
        (root / PUBLIC).rename(root / public)
    (root / "wd_both_02").rename(root / both)
    dataset = import_source("wilddash2", root)
    assert dataset.fingerprint() == whole.fingerprint()
    for row in images(dataset).values():
        assert (root / row["file_name"]).is_file()


def test_pictures_are_found_at_any_depth_and_keys_name_the_folder(tree: Tree) -> None:
    found = images(import_source("wilddash2", tree("wilddash2")))
    assert {name: row["file_name"] for name, row in found.items()} == {
        "both/aa0001_100000": "wd_both_02/aa0001_100000.jpg",  # another picture than public's of that name
        "both/ab0001_100000": "wd_both_02/ab0001_100000.jpg",
        "both/deep/ab0002_100000": "wd_both_02/deep/ab0002_100000.jpg",
        "public/-aa0004_100000": f"{PUBLIC}/images/-aa0004_100000.jpg",
        "public/aa0001_100000": f"{PUBLIC}/images/aa0001_100000.jpg",
        "public/aa0002_100000": f"{PUBLIC}/images/aa0002_100000.jpg",
        "public/aa0003_100000": f"{PUBLIC}/images/aa0003_100000.jpg",
        "public/random/aa0005_100000": f"{PUBLIC}/images/random/aa0005_100000.jpg",
    }
    assert {(row["width"], row["height"]) for row in found.values()} == {(64, 36), (40, 30), (36, 64)}


def test_one_image_in_two_places_is_refused(tree: Tree) -> None:
    root = tree("wilddash2")
    shutil.copy(root / f"{PUBLIC}/images/aa0001_100000.jpg", root / PUBLIC)
    with pytest.raises(SourceError, match=r"aa0001_100000\.jpg: is the same image as wd_public_v2p0/"):
        import_source("wilddash2", root)
    left = import_source("wilddash2", root, skip_bad=True)
    assert "public/aa0001_100000" not in images(left)
    assert len(images(left)) == 7


def test_a_missing_picture_is_reported_and_its_labels_stay(tree: Tree) -> None:
    root = tree("wilddash2")
    before = taken(import_source("wilddash2", root), "public/aa0001")
    (root / f"{PUBLIC}/images/aa0001_100000.jpg").unlink()
    dataset = import_source("wilddash2", root)
    row = images(dataset)["public/aa0001_100000"]
    assert (row["file_name"], row["width"], row["height"]) == (f"{PUBLIC}/images/aa0001_100000.jpg", 64, 36)
    assert taken(dataset, "public/aa0001") == before
    assert findings(dataset, "I01") == [("I01", "wilddash2/public/aa0001_100000")]


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("wd_both02/images/ab0908_100008.jpg", "wilddash2/both/ab0908_100008"),
        ("wd_both02/ab0908_100008.jpg", "wilddash2/both/ab0908_100008"),
        ("wd_both_02/deep/ab0908_100008.jpg", "wilddash2/both/deep/ab0908_100008"),
        ("wd_publicv2p0/images/aa0001_100000.jpg", "wilddash2/public/aa0001_100000"),
        ("wd_public_v2p0/images/-a.b.jpg", "wilddash2/public/-a.b"),
        ("wd_publicv2p0/panoptic/aa0001_100000.png", None),
        ("wd_publicv2p0/../aa0001_100000.jpg", None),
        ("images/aa0001_100000.jpg", None),
        ("wd_both02", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert key_from_searchad(path) == image


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    for row in import_source("wilddash2", tree("wilddash2")).table("images").to_pylist():
        assert key_from_searchad(row["file_name"]) == row["id"]


def test_paths_of_searchads_release_are_all_understood(shared: Path) -> None:
    paths = searchad_paths(shared, "wd_both02")
    assert len(paths) == 2
    for path in paths:
        assert str(key_from_searchad(f"wd_both02/{path}")).startswith("wilddash2/both/ab")


# What is covered


def test_public_is_labelled_throughout_and_the_benchmark_withheld(tree: Tree) -> None:
    found = coverage(import_source("wilddash2", tree("wilddash2")))
    things = {"ego vehicle", "person", "car", "caravan", "pickup", "van"}
    assert {name for scope, name in found if scope == "wilddash2/public"} == things
    assert {state for (scope, _), state in found.items() if scope == "wilddash2/public"} == {"exhaustive"}
    assert found["wilddash2/both", "*"] == "withheld"


def test_images_without_annotation_are_unlabelled_and_not_empty(tree: Tree) -> None:
    dataset = import_source("wilddash2", tree("wilddash2"))
    listed, unlisted = "wilddash2/public/aa0003_100000", "wilddash2/public/random/aa0005_100000"
    assert coverage(dataset)[listed, "*"] == coverage(dataset)[unlisted, "*"] == "none"
    assert findings(dataset) == [("F01", unlisted), ("N05", listed)]


def test_an_annotation_without_segments_is_an_image_without_objects(tree: Tree) -> None:
    root = tree("wilddash2")
    edit(root / FILE, lambda c: entry(c).update(segments_info=[]))
    dataset = import_source("wilddash2", root)
    assert not annotations(dataset, "public/aa0001")
    assert ("wilddash2/public/aa0001_100000", "*") not in coverage(dataset)


def test_images_alone_are_enough(tree: Tree) -> None:
    """As SearchAD leaves them."""
    root = tree("wilddash2")
    shutil.rmtree(root / PUBLIC / "panoptic")
    (root / FILE).unlink()
    dataset = import_source("wilddash2", root)
    assert len(images(dataset)) == 8
    assert coverage(dataset) == {("wilddash2/public", "*"): "none", ("wilddash2/both", "*"): "withheld"}
    assert not dataset.problems
    assert not annotations(dataset)


@pytest.mark.parametrize(("split", "count"), [("public", 5), ("both", 3)])
def test_either_folder_is_enough(tree: Tree, split: str, count: int) -> None:
    root = tree("wilddash2")
    dataset = import_source("wilddash2", root, splits=[split])
    shutil.rmtree(root / ("wd_both_02" if split == "public" else PUBLIC))
    assert import_source("wilddash2", root).fingerprint() == dataset.fingerprint()
    assert len(images(dataset)) == count


def test_published_counts_add_up() -> None:
    assert SOURCE.published is not None
    assert SOURCE.published.images == 4_256 + 812 == 5_068


# Bad files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: entry(c)["segments_info"][1].pop("id"), r"annotations\[0\]\.segments_info\[1\]: object missing"),
        (lambda c: entry(c)["segments_info"][1].update(bbox=[1, 2, -1, 2]), r"\[1\]\.bbox: box .* has a negative side"),
        (lambda c: entry(c)["segments_info"][1].update(id=257), r"segments_info\[1\]: id 257 stands twice"),
        (
            lambda c: entry(c).update(file_name="../../secret.png"),
            r"annotations\[0\]\.file_name: is '../../secret.png'",
        ),
        (lambda c: c["annotations"].append(copy.deepcopy(entry(c))), "is the second annotation of aa0001_100000.jpg"),
        (lambda c: c["images"][0].update(height=37), "was made for 64 x 37 px; its image has 64 x 36"),
        (lambda c: c["images"][0].update(width=None, height="36"), r"images\[0\]\.height: expected `int"),
    ],
)
def test_one_broken_image_among_good_ones(tree: Tree, change: Callable[[Any], object], said: str) -> None:
    root = tree("wilddash2")
    edit(root / FILE, change)
    with pytest.raises(SourceError, match=rf"panoptic\.json.*{said}") as raised:
        import_source("wilddash2", root)
    assert "1 of 8 images are broken" in str(raised.value)
    left = import_source("wilddash2", root, skip_bad=True)
    assert len(images(left)) == 7
    assert findings(left, "N03") == [("N03", "wilddash2/public/aa0001_100000")]


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda p: p.write_bytes(b""), "file is empty"),
        (lambda p: p.write_bytes(p.read_bytes()[:60]), "cut short"),
        (lambda p: Image.new("P", (64, 36)).save(p), "is a picture of mode P; expected RGB colours"),
        (lambda p: Image.new("RGB", (36, 64)).save(p), "was made for 36 x 64 px; its image has 64 x 36"),
    ],
)
def test_a_broken_mask_is_named_and_its_image_can_be_left_out(
    tree: Tree, save: Callable[[Path], object], said: str
) -> None:
    root = tree("wilddash2")
    save(root / f"{PUBLIC}/panoptic/aa0001_100000.png")
    with pytest.raises(SourceError, match=rf"panoptic/aa0001_100000\.png: .*{said}"):
        import_source("wilddash2", root)
    assert len(images(import_source("wilddash2", root, skip_bad=True))) == 7


def test_an_annotation_of_no_image_is_left_out_and_reported(tree: Tree) -> None:
    root = tree("wilddash2")
    edit(root / FILE, lambda c: entry(c, 1).update(image_id=99))
    dataset = import_source("wilddash2", root)
    assert not annotations(dataset, "public/aa0002")
    assert [(p.where, p.code) for p in dataset.problems if p.code == "N02"] == [(f"{FILE}, annotations[1]", "N02")]
    assert coverage(dataset)["wilddash2/public/aa0002_100000", "*"] == "none"


def test_two_entries_for_one_picture_are_refused(tree: Tree) -> None:
    root = tree("wilddash2")
    more = {"id": "again", "file_name": "images/aa0001_100000.jpg", "width": 64, "height": 36}
    edit(root / FILE, lambda c: c["images"].append(more))
    with pytest.raises(SourceError, match=r"panoptic\.json: names aa0001_100000.jpg and images/aa0001_100000.jpg"):
        import_source("wilddash2", root)


def test_links_that_leave_the_root_are_not_followed(tree: Tree, tmp_path: Path) -> None:
    root = tree("wilddash2")
    (tmp_path / "secret.jpg").write_bytes((root / f"{PUBLIC}/images/aa0001_100000.jpg").read_bytes())
    (root / f"{PUBLIC}/images/link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(SourceError, match=r"link\.jpg: is a link that leaves "):
        import_source("wilddash2", root)
    assert len(images(import_source("wilddash2", root, skip_bad=True))) == 8


def test_a_name_that_is_no_text_is_named(tree: Tree) -> None:
    root = tree("wilddash2")
    path = root / f"{PUBLIC}/images/aa0001_100000.jpg"
    shutil.copy(path, path.with_name(os.fsdecode(b"\xe9.jpg")))
    with pytest.raises(SourceError, match=r"\\udce9\.jpg: file name is not UTF-8"):
        import_source("wilddash2", root)


def test_an_archive_that_is_not_unpacked_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "wd_public_v2p0.zip").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"holds wd_public_v2p0\.zip; .*; unpack the archives there first"):
        import_source("wilddash2", tmp_path)


def test_the_folder_above_is_hinted_at(tree: Tree) -> None:
    root = tree("wilddash2")
    with pytest.raises(SourceError, match=rf"expected the tree of WildDash 2.*name the folder above, .*{root.name}"):
        import_source("wilddash2", root / PUBLIC)


def test_a_split_that_is_not_there_is_an_error(tree: Tree) -> None:
    root = tree("wilddash2")
    shutil.rmtree(root / "wd_both_02")
    with pytest.raises(SourceError, match=r"holds no split 'both'; expected wd_both_02/; it holds public"):
        import_source("wilddash2", root, splits=["both"])


def test_only_what_the_file_says_is_sent_to_a_worker(tree: Tree) -> None:
    """An item holds its own part of the file, not the file."""
    import pickle

    from curate.sources import wilddash2

    root = tree("wilddash2")
    edit(root / FILE, lambda c: c.update(info={"description": "x" * 1_000_000}))
    sizes = [len(pickle.dumps(item)) for item in wilddash2.scan(root, ())]
    assert max(sizes) < 20_000
    assert json.loads((root / FILE).read_text())["info"]["description"].startswith("xxx")
