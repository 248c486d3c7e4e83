"""MTSD: the rules and oddities of its format, one by one, and the sample."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import label_table, mtsd
from curate.sources._mtsd_objects import as_stored
from tests.sources.looking import annotations, box, categories, coverage, edit, findings, images

Tree = Callable[..., Path]
STREET, PANORAMA, BARE = "aaStreet00000000000001", "B-Panorama000000000002", "cBare_00000000000000_3"
LOST, DASH, EMPTY = "dPictureLost000000000A", "-fBeginsWithAHyphen00A", "__gHasNoSigns0000000_A"
SECRET, LINKED, NEW = "hTest0000000000000000A", "iPartial0000000000000A", "jPartial0000000000000B"
FULLY, PARTIALLY = "mtsd_v2_fully_annotated", "mtsd_v2_partially_annotated"
OF_STREET = f"{FULLY}/annotations/{STREET}.json"


def sign(dataset: Any, key: str) -> dict[str, Any]:
    (row,) = [row for row in annotations(dataset) if row["id"].endswith(f"#{key}")]
    return row


# The sample, against the values of its README


def test_sample(shared: Path) -> None:
    dataset = import_source("mtsd", shared / "samples/mtsd")
    assert Counter(row["source_split"] for row in images(dataset).values()) == {
        "train": 2,
        "val": 2,
        "test": 1,
        "partially_annotated/train": 1,
    }
    rows = annotations(dataset)
    assert len([row for row in rows if row["parent_id"] is None]) == 6  # objects in all
    merge = sign(dataset, "hxig5ilovzu3c48e4rg5cy")
    assert merge["category"] == "warning--traffic-merges-right--g1"
    assert box(merge) == [1529.203125, 1829.42578125, 73.3125, 74.70703125]
    assert box(sign(dataset, "t79kx4b2vuyv2mvi88x1s6")) == [934.21875, 799.98046875, 27.1875, 27.94921875]
    seam = [row for row in rows if "#p1q3r5s7t9u1v3w5x7y9z1" in row["id"]]
    assert [box(row) for row in seam] == [[3960, 900, 40, 80], [0, 900, 40, 80]]
    assert annotations(dataset, "-_empty0000000000000A") == []
    assert not dataset.problems


# Boxes and labels


def test_boxes_are_half_open_and_keep_their_fractions(tree: Tree) -> None:
    row = sign(import_source("mtsd", tree("mtsd")), "k01merge")
    assert box(row) == [15.203125, 18.42578125, 22.515625 - 15.203125, 25.1328125 - 18.42578125]
    assert row["area"] == 7.3125 * 6.70703125
    assert (row["category"], row["source_label"]) == ("warning--traffic-merges-right--g1",) * 2
    assert row["id"] == f"mtsd/{STREET}#k01merge"


def test_properties_are_kept_as_found(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    properties = sign(dataset, "k03other")["attributes"]["mtsd"]["properties"]
    assert len(properties) == 9
    assert {name for name, holds in properties.items() if holds} == {"occluded", "ambiguous"}
    on_a_truck = sign(dataset, "k04truck")
    assert {name for name, holds in on_a_truck["attributes"]["mtsd"]["properties"].items() if holds} == {
        "exterior",
        "dummy",
    }
    assert (on_a_truck["ignore"], on_a_truck["status"]) == (False, "truth")


def test_a_sign_over_the_seam_is_two_pieces_of_one_sign(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    left, right = [row for row in annotations(dataset, PANORAMA) if "#k05seam" in row["id"]]
    assert (left["id"], left["parent_id"]) == (f"mtsd/{PANORAMA}#k05seam", None)
    assert (right["id"], right["parent_id"]) == (f"mtsd/{PANORAMA}#k05seam/right", left["id"])
    assert box(left) == [114.5, 20, 5.5, 11]  # at the right border of the picture
    assert box(right) == [0, 20, 3.25, 11]
    assert left["instance"] == right["instance"] == "mtsd/k05seam"
    assert left["category"] == right["category"] == "regulatory--stop--g1"
    assert [row["attributes"]["mtsd"]["piece"] for row in (left, right)] == ["left", "right"]
    raw = left["attributes"]["mtsd"]["bbox"]
    assert (raw["xmin"], raw["xmax"], raw["cross_boundary"]["right"]["xmax"]) == (114.5, 3.25, 3.25)
    assert images(dataset)[PANORAMA]["attributes"] == {"mtsd": {"ispano": True}}
    assert images(dataset)[STREET]["attributes"] == {"mtsd": {"ispano": False}}


def test_signs_without_parent_are_the_signs_of_the_files(tree: Tree) -> None:
    root = tree("mtsd")
    found = Counter(row["image_id"] for row in annotations(import_source("mtsd", root)) if not row["parent_id"])
    for path in root.glob("*/annotations/[!.]*.json"):
        assert found[f"mtsd/{path.stem}"] == len(json.loads(path.read_text())["objects"])


def test_a_naive_width_over_the_seam_is_refused(tree: Tree) -> None:
    root = tree("mtsd")
    edit(root / f"{FULLY}/annotations/{PANORAMA}.json", lambda file: file["objects"][0]["bbox"].pop("cross_boundary"))
    with pytest.raises(SourceError, match=rf"{PANORAMA}\.json, objects\[0\]: box .* flipped corners; .*cross_boundary"):
        import_source("mtsd", root)
    assert PANORAMA not in images(import_source("mtsd", root, skip_bad=True))


def test_a_flipped_piece_is_refused_with_its_place(tree: Tree) -> None:
    root = tree("mtsd")

    def flip(file: Any) -> None:
        file["objects"][0]["bbox"]["cross_boundary"]["right"]["xmin"] = 50

    edit(root / f"{FULLY}/annotations/{PANORAMA}.json", flip)
    with pytest.raises(SourceError, match=r"objects\[0\]\.bbox\.cross_boundary\.right: box .* flipped corners"):
        import_source("mtsd", root)


def test_the_same_sign_seen_again_is_the_same_instance(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    first, again = sign(dataset, "k02yield"), sign(dataset, "k10again")
    assert first["instance"] == again["instance"] == "mtsd/k02yield"
    link = {"image_key": STREET, "object_key": "k02yield"}
    assert again["attributes"]["mtsd"]["correspondance"] == link
    assert "correspondance" not in first["attributes"]["mtsd"]
    instances = Counter(row["instance"] for row in annotations(dataset) if row["parent_id"] is None)
    assert {name for name, count in instances.items() if count > 1} == {"mtsd/k02yield"}


def test_the_label_table_is_the_published_one(tree: Tree, shared: Path) -> None:
    rows = label_table("mtsd")
    with (shared / "formats/mtsd_labels.csv").open() as stream:
        assert rows == list(csv.DictReader(stream))
    assert len(rows) == 401
    groups = Counter(row["group"] for row in rows)
    assert groups == {"regulatory": 176, "warning": 135, "complementary": 45, "information": 44, "other": 1}
    found = categories(import_source("mtsd", tree("mtsd")))
    assert found["other-sign"]["role"] == "other"
    assert Counter(row["role"] for row in found.values()) == {"benchmark": 400, "other": 1}
    assert found["warning--y-roads--g1"]["supercategory"] == "warning"


def test_an_unknown_label_is_kept_and_reported(tree: Tree) -> None:
    root = tree("mtsd")
    edit(root / OF_STREET, lambda file: file["objects"][0].update(label="warning--dragon--g7"))
    dataset = import_source("mtsd", root)
    assert sign(dataset, "k01merge")["category"] == "warning--dragon--g7"
    assert [found.where for found in dataset.problems if found.code == "N01"] == ["mtsd, label 'warning--dragon--g7'"]


def test_boxes_without_area_are_kept_and_reported(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    assert box(sign(dataset, "k09flat")) == [10, 20, 4, 0]
    assert findings(dataset, "B03") == [("B03", f"mtsd/{DASH}#k09flat")]
    assert not findings(dataset, "B04", "B05")  # a box may end at the frame's edge


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["objects"][1].pop("key"), r"objects\[1\]: object missing required field `key`"),
        (lambda file: file["objects"][1].pop("bbox"), r"objects\[1\]: object missing required field `bbox`"),
        (lambda file: file["objects"][1].update(label=None), r"objects\[1\]\.label: expected `str`, got `null`"),
        (lambda file: file["objects"][1].update(label=""), r"objects\[1\]\.label: expected `str` of length >= 1"),
        (lambda file: file["objects"][1].update(key="a#b"), r"objects\[1\]\.key: expected `str` matching"),
        (lambda file: file["objects"][1].update(key="k01merge"), r"objects\[1\]: key 'k01merge' stands twice"),
        (lambda file: file["objects"][1]["bbox"].update(xmin="4"), r"objects\[1\]\.bbox\.xmin: expected `float`"),
        (lambda file: file["objects"][1]["bbox"].update(xmin=-1e300), r"objects\[1\]\.bbox\.xmin: expected `float` >="),
        (lambda file: file["objects"][1]["bbox"].update(ymax=9), r"objects\[1\]: box .* has flipped corners"),
        (lambda file: file["objects"][1]["bbox"].update(ymax=float("nan")), r":1:\d+: JSON is malformed at 'NaN"),
        (lambda file: file.pop("objects"), "object missing required field `objects`"),
        (lambda file: file.pop("width"), "object missing required field `width`"),
        (lambda file: file.update(width=97), r"was made for 97 x 72 px; its image has 96 x 72"),
        (lambda file: file.update(width=0), "was made for 0 x 72 px"),
    ],
)
def test_a_broken_annotation_is_named_by_file_and_place(
    tree: Tree, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    root = tree("mtsd")
    whole = len(images(import_source("mtsd", root)))
    edit(root / OF_STREET, change)
    with pytest.raises(SourceError, match=said) as raised:
        import_source("mtsd", root)
    assert str(root / OF_STREET) in str(raised.value)
    assert "1 of" in str(raised.value)
    left = import_source("mtsd", root, skip_bad=True)
    assert len(images(left)) == whole - 1
    assert ("N03", f"mtsd/{STREET}") in findings(left, "N03")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "file is empty; expected JSON"), (b"[]", "expected `object`, got `array`"), (b"{}", "missing required")],
)
def test_an_empty_annotation_is_broken(tree: Tree, content: bytes, said: str) -> None:
    root = tree("mtsd")
    (root / OF_STREET).write_bytes(content)
    with pytest.raises(SourceError, match=said):
        import_source("mtsd", root)


# Pictures stored turned


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@given(data=st.data())
def test_boxes_seen_upright_come_back_to_the_stored_frame(orientation: int, data: st.DataObject) -> None:
    """Against Pillow: a box painted on the stored picture lies, seen upright, where its upright corners say."""
    width, height = 11, 7
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    picture = Image.new("L", (width, height))
    picture.paste(255, (x1, y1, x2, y2))
    picture.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(picture)
    assert upright.size == (height, width)
    assert as_stored(upright.getbbox(), (width, height), orientation) == (x1, y1, x2, y2)


def test_annotations_of_a_picture_stored_turned(tree: Tree) -> None:
    root = tree("mtsd")
    path = root / f"images/{DASH}.jpg"  # annotated as 48 x 64
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    dataset = import_source("mtsd", root)
    image = images(dataset)[DASH]
    assert (image["width"], image["height"], image["orientation"]) == (64, 48, 6)
    row = sign(dataset, "k08edge")  # upright 40, 50, 48, 64: the bottom right corner
    assert box(row) == [50, 0, 14, 8]
    assert row["attributes"]["mtsd"]["bbox"] == {"xmin": 40, "ymin": 50, "xmax": 48, "ymax": 64}
    assert findings(dataset, "I06") == [("I06", f"mtsd/{DASH}")]


def test_a_size_swapped_without_exif_is_another_picture(tree: Tree) -> None:
    root = tree("mtsd")
    Image.new("RGB", (64, 48)).save(root / f"images/{DASH}.jpg")
    with pytest.raises(SourceError, match="was made for 48 x 64 px; its image has 64 x 48"):
        import_source("mtsd", root)


# Splits and coverage


def test_splits_come_from_the_lists(tree: Tree) -> None:
    found = images(import_source("mtsd", tree("mtsd")))
    assert {key: row["source_split"] for key, row in found.items()} == {
        STREET: "train",
        PANORAMA: "train",
        BARE: "train",
        LOST: "train",
        DASH: "val",
        EMPTY: "val",
        SECRET: "test",
        LINKED: "partially_annotated/train",
        NEW: "partially_annotated/train",
    }


def test_coverage_of_both_sets(tree: Tree) -> None:
    found = coverage(import_source("mtsd", tree("mtsd")))
    classes = {row["label"] for row in label_table("mtsd")}
    assert len(classes) == 401
    for split in ("train", "val"):
        assert {name: found[scope, name] for scope, name in found if scope == f"mtsd/{split}"} == dict.fromkeys(
            classes, "exhaustive"
        )
    assert {key: state for key, state in found.items() if key[0] not in ("mtsd/train", "mtsd/val")} == {
        ("mtsd/partially_annotated/train", "*"): "partial",  # unlabelled signs exist there
        ("mtsd/test", "*"): "none",
        (f"mtsd/{BARE}", "*"): "none",
    }


def test_an_image_without_signs_is_labelled_and_one_without_file_is_not(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    assert annotations(dataset, EMPTY) == annotations(dataset, BARE) == []
    assert findings(dataset, "F01") == [("F01", f"mtsd/{BARE}")]
    (bare,) = [found for found in dataset.problems if found.code == "F01"]
    assert (bare.severity, bare.where) == ("warning", f"images/{BARE}.jpg")


def test_test_has_no_annotations_and_that_is_no_finding(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    assert images(dataset)[SECRET]["width"] == 56
    assert not [found for found in dataset.problems if found.item == f"mtsd/{SECRET}"]


def test_annotations_of_test_are_read_where_they_are(tree: Tree) -> None:
    root = tree("mtsd")
    shutil.copyfile(root / OF_STREET, root / f"{FULLY}/annotations/{SECRET}.json")
    edit(root / f"{FULLY}/annotations/{SECRET}.json", lambda file: file.update(width=56, height=42))
    dataset = import_source("mtsd", root)
    assert len(annotations(dataset, SECRET)) == 4
    assert coverage(dataset)["mtsd/test", "other-sign"] == "exhaustive"


def test_signs_whose_picture_is_missing_are_kept(tree: Tree) -> None:
    """Pictures come in many archives, of which some may not be there."""
    dataset = import_source("mtsd", tree("mtsd"))
    image = images(dataset)[LOST]
    assert (image["file_name"], image["width"], image["height"]) == (f"images/{LOST}.jpg", 64, 48)
    assert box(sign(dataset, "k07lost")) == [5, 5, 4, 4]
    assert findings(dataset, "I01") == [("I01", f"mtsd/{LOST}")]


def test_keys_with_neither_picture_nor_annotation_are_left_out_and_counted(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"))
    (found,) = [found for found in dataset.problems if found.code == "N03"]
    assert found.where == f"{FULLY}/splits/test.txt"
    assert found.message == "1 keys have neither picture nor annotation, as eNeitherIsHere0000000A; left out"
    assert "eNeitherIsHere0000000A" not in images(dataset)


def test_one_split_can_be_asked_for(tree: Tree) -> None:
    dataset = import_source("mtsd", tree("mtsd"), splits=["val"])
    assert set(images(dataset)) == {DASH, EMPTY}
    assert {scope for scope, _ in coverage(dataset)} == {"mtsd/val"}


def test_a_missing_split_is_named(tree: Tree) -> None:
    root = tree("mtsd")
    shutil.rmtree(root / PARTIALLY)
    for key in (LINKED, NEW):
        (root / f"images/{key}.jpg").unlink()
    with pytest.raises(SourceError, match=r"holds no split 'partially_annotated/train'; .*it holds test, train, val"):
        import_source("mtsd", root, splits=["partially_annotated/train"])
    with pytest.raises(UsageError, match="unknown split"):
        import_source("mtsd", root, splits=["training"])


def test_a_missing_list_is_reported_and_its_images_are_of_no_split(tree: Tree) -> None:
    root = tree("mtsd")
    (root / f"{FULLY}/splits/val.txt").unlink()
    dataset = import_source("mtsd", root)
    assert images(dataset)[DASH]["source_split"] is None
    assert len(annotations(dataset, DASH)) == 2
    assert coverage(dataset)[f"mtsd/{DASH}", "*"] == "partial"  # by which set's promise is not known
    assert f"{FULLY}/splits/val.txt" in [found.where for found in dataset.problems if found.code == "N03"]
    assert findings(dataset, "N05") == [("N05", f"mtsd/{DASH}"), ("N05", f"mtsd/{EMPTY}")]


def test_a_key_in_two_lists_has_the_split_of_the_first(tree: Tree) -> None:
    root = tree("mtsd")
    with (root / f"{FULLY}/splits/val.txt").open("a") as stream:
        stream.write(f"{STREET}\n")
    dataset = import_source("mtsd", root)
    assert images(dataset)[STREET]["source_split"] == "train"
    (found,) = [found for found in dataset.problems if found.code == "Q03"]
    assert (found.where, found.severity) == (f"{FULLY}/splits/train.txt:1", "warning")
    assert found.message == f"image stands again in {FULLY}/splits/val.txt:3; taken for train"


def test_a_line_that_is_no_key_is_broken(tree: Tree) -> None:
    root = tree("mtsd")
    with (root / f"{FULLY}/splits/val.txt").open("a") as stream:
        stream.write("../../etc/passwd\n")
    with pytest.raises(SourceError, match=r"splits/val\.txt:3: key is '\.\./\.\./etc/passwd'; expected letters"):
        import_source("mtsd", root)
    assert len(images(import_source("mtsd", root, skip_bad=True))) == 9


def test_lists_may_have_windows_line_ends_and_blank_lines(tree: Tree) -> None:
    root = tree("mtsd")
    before = import_source("mtsd", root).fingerprint()
    for path in root.glob("*/splits/*.txt"):
        path.write_bytes(b"\xef\xbb\xbf\r\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert import_source("mtsd", root).fingerprint() == before


# Where the archives were unpacked


def test_ids_do_not_depend_on_where_the_archives_were_unpacked(tree: Tree, tmp_path: Path) -> None:
    """All in one folder; each in a folder of its own name; pictures by split; SearchAD's folder."""
    root = tree("mtsd")
    before = import_source("mtsd", root)
    apart = tmp_path / "apart"
    for part in ("fully", "partially"):
        inner = f"mtsd_v2_{part}_annotated"
        shutil.copytree(root / inner, apart / f"mtsd_{part}_annotated_annotation" / inner)
    archives = {"train": "fully_annotated_images.train.2", "val": "fully_annotated_images.val"}
    archives |= {
        "test": "fully_annotated_images.test",
        "partially_annotated/train": "partially_annotated_images.train.0",
    }
    for key, row in images(before).items():
        if key == LOST:
            continue
        by_split = root / "images" / row["source_split"].rpartition("/")[2] / f"{key}.jpg"
        unpacked = apart / f"mtsd_{archives[row['source_split']]}" / "images" / f"{key}.jpg"
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / row["file_name"], unpacked)
        by_split.parent.mkdir(exist_ok=True)
        (root / row["file_name"]).rename(by_split)
    assert import_source("mtsd", apart).fingerprint() == before.fingerprint()
    assert import_source("mtsd", root).fingerprint() == before.fingerprint()
    assert images(import_source("mtsd", root))[DASH]["file_name"] == f"images/val/{DASH}.jpg"

    below = tmp_path / "SearchAD"
    below.mkdir()
    root.rename(below / "mapillary_sign")
    assert import_source("mtsd", below).fingerprint() == before.fingerprint()


def test_pictures_alone_are_images_that_nobody_labelled(tree: Tree) -> None:
    root = tree("mtsd")
    shutil.rmtree(root / FULLY)
    shutil.rmtree(root / PARTIALLY)
    dataset = import_source("mtsd", root)
    assert len(images(dataset)) == 8
    assert set(coverage(dataset).values()) == {"none"}
    assert {row["source_split"] for row in images(dataset).values()} == {None}
    assert {code for code, _ in findings(dataset)} == {"N05"}
    with pytest.raises(SourceError, match=r"holds no split 'train'; .*it holds pictures of no known split"):
        import_source("mtsd", root, splits=["train"])


def test_archives_name_the_split_where_no_list_does(tree: Tree, tmp_path: Path) -> None:
    for archive, key in {"fully_annotated_images.val": DASH, "partially_annotated_images.train.3": NEW}.items():
        folder = tmp_path / f"root/mtsd_{archive}/images"
        folder.mkdir(parents=True)
        shutil.copy(tree("mtsd", archive) / f"images/{key}.jpg", folder)
    dataset = import_source("mtsd", tmp_path / "root")
    assert {key: row["source_split"] for key, row in images(dataset).items()} == {
        DASH: "val",
        NEW: "partially_annotated/train",
    }
    assert coverage(dataset) == {("mtsd/val", "*"): "none", ("mtsd/partially_annotated/train", "*"): "none"}


def test_annotations_without_any_picture_are_refused(tree: Tree) -> None:
    root = tree("mtsd")
    shutil.rmtree(root / "images")
    (root / "mtsd_fully_annotated_images.train.0.zip").write_bytes(b"PK\3\4")
    with pytest.raises(SourceError, match=r"holds annotations, but no pictures; .*unpack the archives"):
        import_source("mtsd", root)


def test_archives_that_are_not_unpacked_are_named(tmp_path: Path) -> None:
    (tmp_path / "mtsd_fully_annotated_annotation.zip").write_bytes(b"PK\3\4")
    with pytest.raises(SourceError, match=r"holds mtsd_fully_annotated_annotation\.zip; .*unpack the archives there"):
        import_source("mtsd", tmp_path)


def test_a_folder_too_high_or_too_low_is_told(tree: Tree, tmp_path: Path) -> None:
    root = tree("mtsd")
    with pytest.raises(SourceError, match=rf"name {re.escape(str(root))} instead"):
        import_source("mtsd", tmp_path)
    with pytest.raises(SourceError, match=rf"name the folder above, {re.escape(str(root))}"):
        import_source("mtsd", root / FULLY)


def test_pictures_of_another_set_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images/0000f77c-6257be58.jpg")
    with pytest.raises(SourceError, match=r"holds pictures like images/0000f77c-6257be58\.jpg; expected names of 22"):
        import_source("mtsd", tmp_path)


def test_pictures_of_vistas_beside_it_are_not_taken(tree: Tree) -> None:
    root = tree("mtsd")
    before = import_source("mtsd", root).fingerprint()
    (root / "training/images").mkdir(parents=True)
    shutil.copy(root / f"images/{STREET}.jpg", root / "training/images/zzVistas0000000000000A.jpg")
    assert import_source("mtsd", root).fingerprint() == before


def test_pictures_whose_names_are_no_keys_are_left_out(tree: Tree) -> None:
    root = tree("mtsd")
    shutil.copy(root / f"images/{STREET}.jpg", root / "images/logo.jpg")
    dataset = import_source("mtsd", root)
    assert len(images(dataset)) == 9
    assert "1 pictures whose names are no keys, as images/logo.jpg; left out" in [p.message for p in dataset.problems]


def test_one_key_in_two_files_is_refused(tree: Tree) -> None:
    root = tree("mtsd")
    (root / "images/train").mkdir()
    shutil.copy(root / f"images/{STREET}.jpg", root / "images/train")
    with pytest.raises(SourceError, match=rf"images/train/{STREET}\.jpg: has the key of images/{STREET}\.jpg"):
        import_source("mtsd", root)
    (root / f"images/train/{STREET}.jpg").unlink()
    shutil.copy(root / OF_STREET, root / f"{PARTIALLY}/annotations")
    with pytest.raises(SourceError, match=rf"{PARTIALLY}/annotations/{STREET}\.json: has the key of {FULLY}"):
        import_source("mtsd", root)


def test_one_set_unpacked_twice_is_refused(tree: Tree) -> None:
    root = tree("mtsd")
    shutil.copytree(root / FULLY, root / f"mtsd_fully_annotated_annotation/{FULLY}")
    with pytest.raises(SourceError, match=rf"mtsd_fully_annotated_annotation/{FULLY}: is there beside {FULLY}"):
        import_source("mtsd", root)


@pytest.mark.parametrize("name", [f"images/{STREET}.jpg", OF_STREET])
def test_links_that_leave_the_root_are_refused(tree: Tree, tmp_path: Path, name: str) -> None:
    root = tree("mtsd")
    (root / name).rename(tmp_path / "outside")
    (root / name).symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError, match=r"is a link that leaves .*raw_mtsd; expected the file or folder itself"):
        import_source("mtsd", root)
    assert STREET not in images(import_source("mtsd", root, skip_bad=True))


# SearchAD names the same images by path


def test_paths_of_searchad_give_the_ids_of_the_import(tree: Tree) -> None:
    for key, row in images(import_source("mtsd", tree("mtsd"))).items():
        assert mtsd.key_from_searchad(row["file_name"]) == f"mtsd/{key}"


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("images/-_empty0000000000000A.jpg", "mtsd/-_empty0000000000000A"),
        ("mtsd_fully_annotated_images.train.0/images/aaHM0kITa9Q8bFzOUxkQ1A.jpg", "mtsd/aaHM0kITa9Q8bFzOUxkQ1A"),
        ("aaHM0kITa9Q8bFzOUxkQ1A.jpg", "mtsd/aaHM0kITa9Q8bFzOUxkQ1A"),
        ("images/aaHM0kITa9Q8bFzOUxkQ1A.png", None),
        ("images/aaHM0kITa9Q8 FzOUxkQ1A.jpg", None),
        ("images/.jpg", None),
        ("", None),
    ],
)
def test_key_from_searchad(path: str, image: str | None) -> None:
    assert mtsd.key_from_searchad(path) == image
