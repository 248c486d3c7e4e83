"""EuroCity Persons: the rules and oddities of its format, one by one, and the hand-made sample."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.sources import ecp
from tests.sources import looking
from tests.sources.looking import annotations, box, images, searchad_paths

Tree = Callable[..., Path]
FIRST = "ECP/day/labels/train/amsterdam/amsterdam_00000.json"
GROUPS = {f"{thing}-group" for thing in ("bicycle", "buggy", "motorbike", "scooter", "tricycle", "wheelchair")}
RIDDEN = {"bicycle", "buggy", "motorbike", "scooter", "tricycle", "wheelchair"}
FAR_AWAY = {"person-group-far-away", "rider+vehicle-group-far-away"}


def rows(dataset: Dataset, image: str = "") -> list[dict[str, Any]]:
    return [{**row, "attributes": row["attributes"]["ecp"]} for row in annotations(dataset, image)]


def coverage(dataset: Dataset, scope: str) -> dict[str, str]:
    found = looking.coverage(dataset).items()
    return {category: state for (where, category), state in found if where == f"ecp/{scope}"}


def problems(dataset: Dataset, code: str) -> list[Any]:
    return [problem for problem in dataset.problems if problem.code == code]


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file, or put what ``change`` returns in its place."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


# The sample, against the values of its README


def test_sample(shared: Path) -> None:
    dataset = import_source("ecp", shared / "samples/ecp")
    splits = Counter(image["source_split"] for image in images(dataset).values())
    assert splits == {
        "day/train": 2,
        "day/val": 1,
        "day/test": 1,
        "night/train": 1,
        "night/val": 1,
        "night/test": 1,
    }
    assert {(image["width"], image["height"]) for image in images(dataset).values()} == {(1920, 1024)}
    assert Counter(row["parent_id"] is None for row in rows(dataset)) == {True: 13, False: 2}
    pedestrian, rider, bicycle, far_away, group = rows(dataset, "day/train/amsterdam_00000")
    assert (pedestrian["category"], box(pedestrian)) == ("pedestrian", [812, 455, 34, 93])
    assert (rider["category"], box(rider)) == ("rider", [300, 400, 60, 160])
    assert (bicycle["category"], box(bicycle)) == ("bicycle", [285, 470, 87, 130])
    assert bicycle["parent_id"] == rider["id"]
    assert rider["attributes"]["box_with_vehicle"] == [285, 400, 87, 200]
    assert (far_away["ignore"], far_away["iscrowd"]) == (True, False)
    assert (group["ignore"], group["iscrowd"]) == (False, True)
    assert box(rows(dataset, "roma_00010")[0]) == [1880, 300, 40, 400]  # ends at x = 1920, inside the frame
    assert not rows(dataset, "amsterdam_00001")
    assert not dataset.problems


# Boxes and nesting


def test_a_ridden_vehicle_is_a_row_of_its_own_behind_its_rider(tree: Tree) -> None:
    found = rows(import_source("ecp", tree("ecp")), "den_haag_00007")
    alone, rider, motorbike, co_rider = (row for row in found if row["category"] in {"rider", "motorbike", "co-rider"})
    assert [row["parent_id"] for row in (alone, rider, motorbike, co_rider)] == [None, None, rider["id"], rider["id"]]
    assert (motorbike["id"], co_rider["id"]) == (f"{rider['id']}.0", f"{rider['id']}.1")
    assert box(rider) == [900, 430, 50, 150]  # the person alone
    assert rider["attributes"]["box_with_vehicle"] == [870, 430, 105, 190]
    assert "box_with_vehicle" not in alone["attributes"]


def test_children_of_children_are_kept_too(tree: Tree) -> None:
    root = tree("ecp")

    def nest(content: dict[str, Any]) -> None:
        inner = {"identity": "buggy", "x0": 1, "y0": 2, "x1": 3.5, "y1": 5}
        content["children"][1]["children"][0]["children"] = [inner]

    edit(root / FIRST, nest)
    found = {row["category"]: row for row in rows(import_source("ecp", root), "day/train/amsterdam_00000")}
    assert found["buggy"]["parent_id"] == found["bicycle"]["id"]
    assert box(found["buggy"]) == [1, 2, 2.5, 3]


def test_groups_are_crowds_and_far_away_groups_are_ignored(tree: Tree) -> None:
    dataset = import_source("ecp", tree("ecp"))
    assert {row["category"] for row in rows(dataset) if row["iscrowd"]} == {"bicycle-group", "wheelchair-group"}
    assert {row["category"] for row in rows(dataset) if row["ignore"]} == FAR_AWAY
    roles = {row["name"]: row["role"] for row in dataset.table("categories").to_pylist()}
    assert {name for name, role in roles.items() if role == "ignore"} == FAR_AWAY
    assert {"pedestrian", "rider", "co-rider"} | GROUPS | RIDDEN | FAR_AWAY == set(roles)


def test_a_poster_is_dropped_by_the_evaluation_and_kept_here(tree: Tree) -> None:
    found = rows(import_source("ecp", tree("ecp")))
    (poster,) = [row for row in found if row["attributes"].get("dropped_in_eval")]
    assert (poster["category"], poster["attributes"]["tags"]) == ("person-group-far-away", [" depiction"])


def test_pedestrians_that_the_evaluation_passes_over_are_no_ignore_regions(tree: Tree) -> None:
    found = [row for row in rows(import_source("ecp", tree("ecp"))) if row["attributes"].get("ignore_in_eval")]
    assert [row["attributes"]["tags"] for row in found] == [["sitting-lying"], ["behind-glass"]]
    assert not any(row["ignore"] for row in found)


def test_a_box_without_width_is_reported_and_kept(tree: Tree) -> None:
    dataset = import_source("ecp", tree("ecp"))
    assert box(rows(dataset, "roma_00010")[2]) == [200, 200, 0, 30]
    assert [problem.item for problem in problems(dataset, "B03")] == ["ecp/day/val/roma_00010#0002"]


# Identities, tags, orientation


def test_stray_blanks_are_dropped_to_compare_and_kept_as_found(tree: Tree) -> None:
    found = rows(import_source("ecp", tree("ecp")), "day/train/amsterdam_00000")
    bicycle, tagged = found[2], found[-1]
    assert (bicycle["category"], bicycle["source_label"]) == ("bicycle", "bicycle ")
    assert tagged["attributes"] == {
        "tags": ["truncated >40", "occluded> 80", "occluded>10", "unsure_orientation"],
        "truncated": 40,
        "occluded": 80,
    }


def test_a_null_identity_is_an_object_without_class(tree: Tree) -> None:
    dataset = import_source("ecp", tree("ecp"))
    (row,) = [row for row in rows(dataset) if row["category"] is None]
    assert (row["source_label"], box(row)) == (None, [5, 6, 2, 2])
    (problem,) = problems(dataset, "N05")
    assert problem.where == "ECP/day/labels/train/den_haag/den_haag_00007.json, children[4]"
    assert problem.item == "ecp/day/train/den_haag_00007"


def test_an_unknown_identity_is_kept_declared_and_listed(tree: Tree) -> None:
    root = tree("ecp")
    edit(root / FIRST, lambda content: content["children"][0].update(identity="-segway"))
    dataset = import_source("ecp", root)
    assert [row["source_label"] for row in rows(dataset) if row["category"] == "-segway"] == ["-segway"]
    assert "-segway" in dataset.table("categories")["name"].to_pylist()
    assert [problem.where for problem in problems(dataset, "N01")] == ["ecp, label '-segway'"]


def test_an_unknown_tag_is_kept_and_listed(tree: Tree) -> None:
    root = tree("ecp")
    edit(root / FIRST, lambda content: content["children"][0].update(tags=["occluded>50", "skating"]))
    dataset = import_source("ecp", root)
    assert rows(dataset, "day/train/amsterdam_00000")[0]["attributes"]["tags"] == ["occluded>50", "skating"]
    assert "tag 'occluded>50' is not documented" in problems(dataset, "N05")[0].message


def test_both_spellings_of_orientation_are_read(tree: Tree) -> None:
    found = rows(import_source("ecp", tree("ecp")))
    assert [row["attributes"]["orient"] for row in found if "orient" in row["attributes"]] == [95.0, -12.5, 10.25]


def test_tags_and_children_may_be_missing_or_null(tree: Tree) -> None:
    root = tree("ecp")

    def thin(content: dict[str, Any]) -> None:
        del content["tags"], content["children"][0]["tags"], content["children"][0]["children"]
        content["children"][3].update(tags=None, children=None)

    edit(root / FIRST, thin)
    dataset = import_source("ecp", root)
    assert len(rows(dataset, "day/train/amsterdam_00000")) == 6
    assert images(dataset)["day/train/amsterdam_00000"]["attributes"] == {}


# Images


def test_time_of_day_place_and_tags_of_images(tree: Tree) -> None:
    found = images(import_source("ecp", tree("ecp")))
    assert {image["time_of_day"] for key, image in found.items() if key.startswith("day/")} == {"day"}
    assert {image["time_of_day"] for key, image in found.items() if key.startswith("night/")} == {"night"}
    assert found["day/train/den_haag_00007"]["place"] == "den_haag"
    assert found["day/val/roma_00010"]["attributes"] == {"ecp": {"tags": ["motionBlur"]}}
    assert found["day/test/bologna_00003"]["attributes"] == {}
    assert all("no redistribution" in image["licence"] for image in found.values())


def test_equal_names_by_day_and_by_night_are_two_images(tree: Tree) -> None:
    found = images(import_source("ecp", tree("ecp")))
    assert {"day/train/amsterdam_00000", "night/train/amsterdam_00000"} <= set(found)


def test_the_name_of_a_folder_is_not_the_city(tree: Tree) -> None:
    root = tree("ecp")
    first = import_source("ecp", root)
    for kind in ("img", "labels"):
        (root / f"ECP/day/{kind}/train/amsterdam").rename(root / f"ECP/day/{kind}/train/batch_1")
    second = import_source("ecp", root)
    assert second.fingerprint() == first.fingerprint()
    assert images(second)["day/train/amsterdam_00001"]["place"] == "amsterdam"


def test_a_picture_of_another_size_is_reported(tree: Tree) -> None:
    from PIL import Image

    root = tree("ecp")
    path = root / "ECP/day/img/test/bologna/bologna_00003.png"
    Image.new("RGB", (960, 512)).save(path)
    dataset = import_source("ecp", root, splits=["day/test"])
    assert images(dataset)["day/test/bologna_00003"]["width"] == 960
    (problem,) = problems(dataset, "N05")
    assert "is 960 x 512 px; all images of ECP are 1920 x 1024" in problem.message


# Splits and coverage


def test_coverage_is_stated_for_day_and_night_apart(tree: Tree) -> None:
    root = tree("ecp")
    shutil.rmtree(root / "ECP/night/labels")
    dataset = import_source("ecp", root)
    wanted = dict.fromkeys({"pedestrian", "rider"} | GROUPS, "exhaustive") | dict.fromkeys(RIDDEN, "partial")
    assert coverage(dataset, "day/train") == coverage(dataset, "day/val") == wanted
    for split in ("day/test", "night/train", "night/test"):
        assert coverage(dataset, split) == {"*": "none"}
    assert not problems(dataset, "F01")  # not a word about each image


def test_an_image_whose_label_file_is_missing_is_kept_and_unjudged(tree: Tree) -> None:
    root = tree("ecp")
    (root / FIRST).unlink()
    dataset = import_source("ecp", root)
    assert coverage(dataset, "day/train/amsterdam_00000") == {"*": "none"}
    (problem,) = problems(dataset, "F01")
    assert (problem.severity, problem.item) == ("warning", "ecp/day/train/amsterdam_00000")
    assert coverage(dataset, "day/train/amsterdam_00001") == {}  # an empty list of objects is a judgement


def test_labels_whose_image_is_missing_are_kept(tree: Tree) -> None:
    root = tree("ecp")
    (root / "ECP/day/img/val/roma/roma_00010.png").unlink()
    dataset = import_source("ecp", root)
    assert len(rows(dataset, "roma_00010")) == 3
    image = images(dataset)["day/val/roma_00010"]
    assert (image["file_name"], image["width"]) == ("ECP/day/img/val/roma/roma_00010.png", 1920)
    assert [problem.where for problem in problems(dataset, "I01")] == ["ECP/day/img/val/roma/roma_00010.png"]


def test_labels_of_a_split_without_images_are_reported(tree: Tree) -> None:
    root = tree("ecp")
    shutil.rmtree(root / "ECP/night/img/train")
    dataset = import_source("ecp", root)
    assert [problem.where for problem in problems(dataset, "N03")] == ["night/labels/train"]


def test_results_in_the_place_of_test_labels_are_not_read(tree: Tree) -> None:
    root = tree("ecp")
    shutil.copytree(root / "ECP/day/labels/val", root / "ECP/day/labels/test")
    dataset = import_source("ecp", root, splits=["day/test"])
    assert not rows(dataset)
    assert coverage(dataset, "day/test") == {"*": "none"}
    assert [problem.where for problem in problems(dataset, "N05")] == ["ECP/day/labels/test"]


def test_a_split_that_is_not_there_is_an_error(tree: Tree) -> None:
    root = tree("ecp")
    shutil.rmtree(root / "ECP/night/img/test")
    with pytest.raises(SourceError, match=r"holds no split 'night/test'; expected ECP/night/img/test/; it holds day/"):
        import_source("ecp", root, splits=["night/test"])


# The ways in which the archives are unpacked


@pytest.mark.parametrize("top", ["", "data", "downloads/ECP"])
def test_the_folder_on_top_does_not_matter(top: str, tree: Tree) -> None:
    root = tree("ecp")
    first = import_source("ecp", root)
    moved = root.with_name("moved")
    (moved / top).mkdir(parents=True)
    for name in ("day", "night"):
        (root / "ECP" / name).rename(moved / top / name)
    second = import_source("ecp", moved)
    assert second.fingerprint() == first.fingerprint()


def test_every_archive_may_lie_in_a_folder_of_its_own(tree: Tree) -> None:
    root = tree("ecp")
    first = import_source("ecp", root)
    for time in ("day", "night"):
        for kind in ("img", "labels"):
            for folder in (root / f"ECP/{time}/{kind}").iterdir():
                new = root / f"ECP_{time}_{kind}_{folder.name}/ECP/{time}/{kind}/{folder.name}"
                new.parent.mkdir(parents=True)
                folder.rename(new)
    second = import_source("ecp", root)
    assert second.fingerprint() == first.fingerprint()


def test_a_frame_that_lies_in_two_places_is_refused(tree: Tree) -> None:
    root = tree("ecp")
    shutil.copytree(root / "ECP/day/img/val", root / "ECP_day_img_val/ECP/day/img/val")
    with pytest.raises(SourceError, match=r"roma_00010\.png: is the same frame as ECP.*; expected it once"):
        import_source("ecp", root)


def test_an_archive_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    (tmp_path / "ECP_day_img_val.zip").write_bytes(b"PK\3\4")
    with pytest.raises(SourceError, match=r"holds ECP_day_img_val\.zip; expected the tree of.*; unpack the archives"):
        import_source("ecp", tmp_path)


# Wrappers that the official reader accepts


@pytest.mark.parametrize(
    "wrap",
    [
        lambda frame: {"@converter": {"version": 1}, "children": [{"children": [frame]}]},
        lambda frame: {"identity": "seqlist", "children": {"children": frame}},
    ],
    ids=["@converter", "seqlist"],
)
def test_wrapped_frames_are_read(wrap: Callable[[Any], Any], tree: Tree) -> None:
    root = tree("ecp")
    first = import_source("ecp", root)
    edit(root / FIRST, wrap)
    second = import_source("ecp", root)
    assert second.fingerprint() == first.fingerprint()

    edit(root / FIRST, lambda content: json.loads(json.dumps(content).replace('"x0": 812', '"x0": null', 1)))
    with pytest.raises(SourceError, match=r"json, children(\[0\])?\.children(\[0\])?\.children\[0\]\.x0: expected"):
        import_source("ecp", root)


# Broken files


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda content: {"objects": []}, "identity is None; expected 'frame'"),
    "another identity": (lambda content: {**content, "identity": "image"}, "identity is 'image'; expected 'frame'"),
    "no frame in the wrapper": (lambda c: {"@converter": 1, "children": []}, "children: 0 entries; expected one frame"),
    "a wrapper without children": (lambda content: {"identity": "seqlist"}, "object missing required field `children`"),
    "no size": (lambda content: content.pop("imagewidth") and None, "missing required field `imagewidth`"),
    "another size": (lambda c: c.update(imagewidth=960, imageheight=512), "was made for 960 x 512 px; its image has"),
    "no corner": (lambda c: c["children"][0].pop("x1") and None, r"children\[0\]: object missing required field `x1`"),
    "no identity": (lambda c: c["children"][0].pop("identity") and None, r"missing required field `identity`"),
    "flipped": (lambda c: c["children"][0].update(x1=1), r"children\[0\]: box \(812, 455\) to \(1, 548\) has flipped"),
    "a flipped child": (
        lambda c: c["children"][1]["children"][0].update(y1=1),
        r"children\[1\]\.children\[0\]: box \(285, 470\) to \(372, 1\) has flipped corners",
    ),
    "text": (lambda c: c["children"][0].update(x1="846"), r"children\[0\]\.x1: expected `int \| float`, got `str`"),
    "NaN": (lambda c: c["children"][0].update(x1=float("nan")), "JSON is malformed at 'NaN"),
    "results": (lambda c: c["children"][0].update(score=0.9), r"children\[0\]: has a score; expected labels"),
}


@pytest.mark.parametrize(("damage", "said"), FAULTS.values(), ids=FAULTS)
def test_a_broken_label_file_is_named_and_can_be_left_out(
    damage: Callable[[dict[str, Any]], Any], said: str, tree: Tree
) -> None:
    root = tree("ecp")
    edit(root / FIRST, damage)
    with pytest.raises(SourceError, match=rf"{re.escape(FIRST)}.*{said}"):
        import_source("ecp", root)
    dataset = import_source("ecp", root, skip_bad=True)
    assert "day/train/amsterdam_00000" not in images(dataset)
    assert len(images(dataset)) == 6
    assert [problem.item for problem in problems(dataset, "N03")] == ["ecp/day/train/amsterdam_00000"]


def test_an_empty_label_file_is_broken(tree: Tree) -> None:
    root = tree("ecp")
    (root / FIRST).write_bytes(b"")
    with pytest.raises(SourceError, match=rf"{re.escape(FIRST)}: file is empty; expected JSON"):
        import_source("ecp", root)


def test_a_file_nested_without_end_is_refused(tree: Tree) -> None:
    root = tree("ecp")
    entity = '{"identity":"rider","x0":1,"y0":1,"x1":2,"y1":2,"children":['
    text = f'{{"identity":"frame","imagewidth":1920,"imageheight":1024,"children":[{entity * 9000}{"]}" * 9000}]}}'
    (root / FIRST).write_text(text)
    with pytest.raises(SourceError, match=rf"{re.escape(FIRST)}: is nested too deeply"):
        import_source("ecp", root)


def test_names_that_are_no_frames_are_refused(tree: Tree) -> None:
    root = tree("ecp")
    folder = root / "ECP/day/img/train/amsterdam"
    shutil.copy(folder / "amsterdam_00000.png", folder / "amsterdam_00000 (1).png")
    with pytest.raises(SourceError, match=r"amsterdam_00000 \(1\)\.png: file name is not city_number"):
        import_source("ecp", root)


def test_a_name_that_begins_with_a_hyphen_is_a_name(tree: Tree) -> None:
    root = tree("ecp")
    for kind, ending in (("img", "png"), ("labels", "json")):
        folder = root / f"ECP/day/{kind}/val/roma"
        (folder / f"roma_00010.{ending}").rename(folder / f"-roma_00010.{ending}")
    dataset = import_source("ecp", root)
    assert len(rows(dataset, "ecp/day/val/-roma_00010")) == 3


def test_a_link_that_leaves_the_root_is_refused(tree: Tree, tmp_path: Path) -> None:
    root = tree("ecp")
    outside = tmp_path / "outside.json"
    shutil.move(root / FIRST, outside)
    (root / FIRST).symlink_to(outside)
    with pytest.raises(SourceError, match=rf"{re.escape(FIRST)}: is a link that leaves"):
        import_source("ecp", root)


def test_a_name_that_is_no_utf8_is_named(tree: Tree) -> None:
    root = tree("ecp")
    folder = root / "ECP/day/img/train/amsterdam"
    shutil.copy(folder / "amsterdam_00000.png", folder / os.fsdecode(b"\xe9_00009.png"))
    with pytest.raises(SourceError, match=r"\\udce9_00009\.png: file name is not UTF-8"):
        import_source("ecp", root)


# SearchAD names the same images by path


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree, shared: Path) -> None:
    for name, row in images(import_source("ecp", tree("ecp"))).items():
        assert ecp.key_from_searchad(row["file_name"].removeprefix("ECP/")) == f"ecp/{name}"
    found = searchad_paths(shared, "ECP")
    assert found
    assert all(ecp.key_from_searchad(path) for path in found)


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("day/img/train/amsterdam/amsterdam_00503.png", "ecp/day/train/amsterdam_00503"),
        ("night/img/test/den_haag/den_haag_00004.png", "ecp/night/test/den_haag_00004"),
        ("ECP/night/img/val/praha/praha_00005.png", "ecp/night/val/praha_00005"),
        ("day/labels/train/amsterdam/amsterdam_00503.json", None),
        ("dusk/img/train/amsterdam/amsterdam_00503.png", None),
        ("day/img/train/amsterdam/amsterdam_503.png", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert ecp.key_from_searchad(path) == image
