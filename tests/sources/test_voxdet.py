"""VoxDet: the rules and oddities of its layout, one by one, and the golden tree of VoxDet-SoIR."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate import geometry
from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from curate.model import Rle
from curate.sources import voxdet

Tree = Callable[..., Path]
Curate = Callable[..., Any]
TRAIN, VAL = "OWID/P2/train_annotations.json", "OWID/P2/val_annotations.json"


def table(dataset: Dataset, name: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in dataset.table(name).to_pylist()}


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """What stands under attributes.voxdet."""
    found: dict[str, Any] = json.loads(row["attributes"])["voxdet"] if row["attributes"] else {}
    return found


def box(row: dict[str, Any]) -> list[float]:
    return [row["x"], row["y"], row["w"], row["h"]]


def mask(row: dict[str, Any]) -> np.ndarray:
    return geometry.mask_from_rle(Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"]))


def change(root: Path, file: str, edit: Callable[[Any], None]) -> None:
    """Edit one of the tree's JSON files."""
    content = json.loads((root / file).read_text())
    edit(content)
    (root / file).write_text(json.dumps(content))


def findings(dataset: Dataset, code: str) -> list[tuple[str, str]]:
    return [(problem.where, problem.message) for problem in dataset.problems if problem.code == code]


# The golden tree: every oddity of voxdet.md in one place


@pytest.fixture(scope="module")
def golden(shared: Path) -> Dataset:
    return import_source("voxdet", shared / "golden/voxdet_soir/tree")


def test_golden_counts(golden: Dataset, shared: Path) -> None:
    notes = json.loads((shared / "golden/voxdet_soir/manifest.json").read_text())["notes"]
    scenes = [id for id in table(golden, "images") if "/P2/" in id or "/test/" in id]
    # Train and val both name elsewhere/000000.jpg; RoboTools has one record per annotation.
    files = notes["owid_train_images"] + notes["owid_val_images"] - 1 + notes["robotools_frames"]
    assert len(scenes) == files
    on_scenes = [row for row in table(golden, "annotations").values() if not row["id"].endswith("#mask")]
    dangling = 4
    total = notes["owid_train_annotations"] + notes["owid_val_annotations"] + notes["robotools_annotations"]
    assert len(on_scenes) == total - dangling


def test_golden_edge_annotations(golden: Dataset, shared: Path) -> None:
    """Each annotation of edge_cases.json: is it there, does it say why upstream drops it, or that it was guessed."""
    rows = table(golden, "annotations")
    for case in json.loads((shared / "golden/voxdet_soir/edge_cases.json").read_text())["gallery"]:
        suffix = f"#{case['split'][0]}{case['annotation_id']:07d}"
        found = [row for id, row in rows.items() if id.endswith(suffix)]
        if case["resolved_key"] is None:
            assert not found, case
            assert [
                where for where, _ in findings(golden, "N02") if where.endswith(f"annotation {case['annotation_id']}")
            ]
            continue
        (row,) = found
        name = case["resolved_key"].rpartition("/")[2]
        assert row["image_id"].endswith(f"/{name}"), case
        assert bool(kept(row).get("dropped_upstream")) == (not case["present_in_anns"]), case
        assert row["status"] == ("proposal" if case["found_through"] == "list position" else "truth"), case


def test_golden_edge_views(golden: Dataset, shared: Path) -> None:
    images, queries = table(golden, "images"), table(golden, "queries")
    for case in json.loads((shared / "golden/voxdet_soir/edge_cases.json").read_text())["queries"]:
        id = case["path"].replace("tree/", "voxdet/", 1)
        if id.endswith(".txt"):
            assert id not in images
            continue
        assert bool(kept(images[id]).get("dropped_upstream")) == (not case["entry_in_anns"]), case
        assert (id in queries) == (case["case"] != "no mask file"), case


def test_golden_query_boxes_are_upstream_s_with_the_edge_behind_the_last_pixel(golden: Dataset, shared: Path) -> None:
    upstream = json.loads((shared / "golden/voxdet_soir/anns_normalised.json").read_text())
    queries = table(golden, "queries")
    rows = table(golden, "annotations")
    seen = 0
    for key, entry in upstream.items():
        if not entry["is_query"]:
            continue
        query = queries[key.replace("tree/", "voxdet/", 1)]
        assert query["instance"] == query["group"] == f"{entry['set']}/{entry['ins']}"
        assert query["kind"] == "mask"
        x1, y1, x2, y2 = entry["bbox"]
        height, width = entry["mask"]["size"]
        pixels = mask(rows[query["annotation_id"]])
        assert pixels.shape == (height, width)
        if (x1, y1, x2, y2) == (0, 0, width, height):
            assert box(query) == [None] * 4
            assert not pixels.any()
        else:
            assert box(query) == [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
            first = (0 if pixels[0, 0] == 0 else 1, *np.flatnonzero(np.diff(pixels.ravel())) + 1)
            runs = np.diff([0, *first[1:], height * width]).tolist()
            assert runs == entry["mask"]["counts"]
        seen += 1
    assert seen == 33


# Rules, on the small tree


@pytest.mark.parametrize(
    ("levels", "foreground"),
    [
        ([0, 255], [255]),
        ([0, 127, 255], [127, 255]),  # the cut is 127
        ([0, 30, 60, 255], [60, 255]),  # 45
        ([0, 1], [1]),
        ([0], []),
        ([7], [7]),
        ([1], [1]),
        ([3, 200], [200]),  # 101.5: nothing need be 0
        ([0, 2], [2]),
        ([0, 1, 2], [1, 2]),
    ],
)
def test_levels_are_cut_at_the_median_of_the_distinct_ones(levels: list[int], foreground: list[int]) -> None:
    for kind in (np.uint8, np.uint16):
        pixels = np.array([[*levels, levels[0], levels[0]]], kind)
        expected = np.isin(pixels, foreground)
        assert (voxdet.mask_of_levels(pixels) == expected).all()


def test_numbers_of_owid_and_robotools_are_kept_apart(tree: Tree) -> None:
    dataset = import_source("voxdet", tree("voxdet"))
    instances = table(dataset, "instances")
    assert instances["OWID/1"]["category"] == "OWID/ins_000001"
    assert instances["RoboTools/1"]["category"] == "RoboTools/1"
    names = {row["name"]: row["supercategory"] for row in dataset.table("categories").to_pylist()}
    assert names["OWID/ins_000001"] == "owid-instances"
    assert names["RoboTools/1"] == "robotools"
    assert dataset.info.relevance.target == "instance"


def test_ids_tell_split_and_number(tree: Tree) -> None:
    rows = table(import_source("voxdet", tree("voxdet")), "annotations")
    # Annotation 0 of the train and of the val file, annotation 1 of RoboTools, and the mask of a view.
    assert {
        "voxdet/OWID/P2/images/000000.jpg#t0000000",
        "voxdet/OWID/P2/images/000007.jpg#v0000000",
        "voxdet/RoboTools/test/L01/rgb/000000.png#r0000001",
        "voxdet/OWID/P1/0/rgb/000000.png#mask",
    } <= set(rows)
    assert rows["voxdet/OWID/P2/images/000000.jpg#t0000000"]["source_label"] == "ins_000000"
    assert rows["voxdet/RoboTools/test/L01/rgb/000000.png#r0000001"]["source_label"] == "1"


def test_robotools_frames_are_grouped_by_file(tree: Tree) -> None:
    dataset = import_source("voxdet", tree("voxdet"), splits=["test"])
    rows = [row for row in table(dataset, "annotations").values() if "/test/" in row["id"]]
    assert Counter(row["image_id"] for row in rows) == {
        f"voxdet/RoboTools/test/L01/rgb/00000{i}.png": 3 for i in range(2)
    }
    assert all(row["segmentation"] is None for row in rows)


def test_splits_go_by_object_and_val_is_partial(tree: Tree) -> None:
    dataset = import_source("voxdet", tree("voxdet"))
    split = {id: row["source_split"] for id, row in table(dataset, "images").items()}
    assert split["voxdet/OWID/P1/9/rgb/000000.png"] == "val"  # annotated in the val file
    assert split["voxdet/OWID/P1/0/rgb/000000.png"] == "train"
    assert split["voxdet/OWID/P1/5/rgb/000000.png"] == "train"  # annotated nowhere
    assert split["voxdet/OWID/P2/images/000002.jpg"] == "train"  # without annotation
    assert split["voxdet/OWID/P2/images/000007.jpg"] == "val"
    assert split["voxdet/RoboTools/test_video/obj_000001/rgb/000000.png"] == "test"
    states = {row["scope"]: row["state"] for row in dataset.table("coverage").to_pylist()}
    assert states == {
        "voxdet/train": "exhaustive",
        "voxdet/val": "partial",
        "voxdet/test": "exhaustive",
        "voxdet/OWID/P1/2/rgb/000001.png": "none",  # no mask: its object is there, nobody says where
    }
    roles = Counter(row["role"] for row in dataset.table("members").to_pylist())
    assert roles == {"query": len(dataset.table("queries")), "gallery": 8}


def test_what_upstream_drops_stays_and_says_why(tree: Tree) -> None:
    dataset = import_source("voxdet", tree("voxdet"))
    images, rows = table(dataset, "images"), table(dataset, "annotations")
    dropped = {
        id.removeprefix("voxdet/OWID/P1/"): why for id in images if (why := kept(images[id]).get("dropped_upstream"))
    }
    assert dropped == {
        "1/rgb/000000.png": "mask of mode L",
        "1/rgb/000005.png": "mask of mode P",
        "1/rgb/000006.jpg": "mask of another suffix",
        "1/rgb/000007.PNG": "suffix .PNG",
        "1/rgb/000008.jpeg": "suffix .jpeg",
        "2/rgb/000001.png": "no mask",
    }
    # All but the last have a mask, and it is the same one.
    for view in dropped.keys() - {"2/rgb/000001.png"}:
        assert box(rows[f"voxdet/OWID/P1/{view}#mask"]) == [3, 2, 5, 4]
    assert "voxdet/OWID/P1/2/rgb/000001.png" not in {row["image_id"] for row in rows.values()}
    reasons = {row["instance"]: kept(row).get("dropped_upstream") for row in rows.values() if "/P1/" not in row["id"]}
    assert reasons == {
        "OWID/0": None,
        "OWID/1": None,
        "OWID/2": None,
        "OWID/3": "no folder in P1",
        "OWID/4": "folder without rgb",
        "OWID/9": None,
        "RoboTools/1": None,
        "RoboTools/2": "no folder in test_video",
        "RoboTools/3": None,  # upstream keeps the scenes of an object without views here, unlike in OWID
    }


def test_masks_of_views(tree: Tree) -> None:
    dataset = import_source("voxdet", tree("voxdet"))
    rows = {
        id.removeprefix("voxdet/OWID/P1/").removesuffix("#mask"): row
        for id, row in table(dataset, "annotations").items()
    }
    assert {view: (box(rows[view]), rows[view]["area"]) for view in rows if view.startswith(("0/", "1/", "2/"))} == {
        "0/rgb/000000.png": ([3, 2, 5, 4], 19),
        "0/rgb/000001.png": ([3, 2, 5, 4], 19),  # 127 lies on the cut
        "0/rgb/000002.png": ([0, 0, 4, 3], 11),
        "0/rgb/000003.png": ([None] * 4, 0),
        "0/rgb/000004.png": ([0, 0, 12, 9], 108),
        "0/rgb/000005.png": ([3, 2, 5, 4], 19),
        "1/rgb/000000.png": ([3, 2, 5, 4], 19),
        "1/rgb/000001.png": ([3, 2, 5, 4], 19),
        "1/rgb/000002.png": ([None] * 4, 0),
        "1/rgb/000003.png": ([2, 3, 6, 5], 29),
        "1/rgb/000005.png": ([3, 2, 5, 4], 19),
        "1/rgb/000006.jpg": ([3, 2, 5, 4], 19),
        "1/rgb/000007.PNG": ([3, 2, 5, 4], 19),
        "1/rgb/000008.jpeg": ([3, 2, 5, 4], 19),
        "2/rgb/000000.png": ([6, 4, 1, 1], 1),
    }
    assert [where for where, _ in findings(dataset, "M09")] == [
        "OWID/P1/0/mask/000003.png",
        "OWID/P1/1/mask/000002.png",
    ]
    assert findings(dataset, "M05") == [("OWID/P1/1/mask/000003.png", "mask is 15 x 11, picture 12 x 9; kept as found")]
    assert [where for where, _ in findings(dataset, "M10")] == [
        "OWID/P1/1/mask/000000.png",
        "OWID/P1/1/mask/000005.png",
    ]


def test_annotations_as_found(tree: Tree) -> None:
    root = tree("voxdet")
    dataset = import_source("voxdet", root)
    rows = {id.removeprefix("voxdet/OWID/P2/"): row for id, row in table(dataset, "annotations").items()}
    found = {row["id"]: row for row in json.loads((root / TRAIN).read_text())["annotations"]}
    first = rows["images/000000.jpg#t0000000"]
    assert (box(first), first["area"], first["iscrowd"], kept(first)) == ([3, 3, 5, 6], 30, False, {"num_ins": 4})
    for number in (0, 1, 2, 5, 6):
        row = next(row for id, row in rows.items() if id.endswith(f"#t{number:07d}"))
        held = Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"])
        assert {"counts": geometry.rle_counts(held), "size": list(held.size)} == found[number]["segmentation"]
    # Numbers that are not all whole are kept as found, since a column knows floats only.
    assert box(rows["images/000000.jpg#t0000002"]) == [0.5, 1.25, 6.5, 7.75]
    assert kept(rows["images/000000.jpg#t0000002"]) == {"num_ins": 4, "bbox": [0.5, 1.25, 6.5, 7.75]}
    bare = rows["images/000000.jpg#t0000003"]
    assert (bare["segmentation"], bare["area"], kept(bare)) == (None, None, {})
    polygon = rows["images/000000.jpg#t0000004"]
    assert polygon["polygons"] == [[[1, 1, 4, 1, 4, 4, 1, 4]]]
    assert kept(polygon)["segmentation"] == [[1, 1, 4, 1, 4, 4, 1, 4]]
    short = rows["images/000001.jpg#t0000010"]
    assert short["segmentation"] is None
    assert kept(short)["segmentation"] == {"counts": [5, 5], "size": [14, 20]}
    assert findings(dataset, "M04") == [
        (f"{TRAIN}, annotation 10", "runs sum to 10; expected 14 x 20 = 280; kept beside the columns")
    ]


def test_dangling_ids(tree: Tree) -> None:
    root = tree("voxdet")

    def edit(content: Any) -> None:
        # Ids of the val file start at 10: id 0 exists nowhere, but there is an image at place 0.
        content["images"][0]["id"] = 10
        content["annotations"][0]["image_id"] = 10
        content["annotations"] += [
            {"id": 1, "image_id": 0, "category_id": 9, "bbox": [1, 1, 2, 2]},
            {"id": 2, "image_id": -1, "category_id": 9, "bbox": [1, 1, 2, 2]},
            {"id": 3, "image_id": 1, "category_id": 9, "bbox": [1, 1, 2, 2]},
            {"id": 4, "image_id": "10", "category_id": 9, "bbox": [1, 1, 2, 2]},
            {"id": 5, "category_id": 9, "bbox": [1, 1, 2, 2]},
            {"id": 6, "image_id": True, "category_id": 9, "bbox": [1, 1, 2, 2]},
        ]

    change(root, VAL, edit)
    dataset = import_source("voxdet", root)
    rows = table(dataset, "annotations")
    guessed = rows["voxdet/OWID/P2/images/000007.jpg#v0000001"]
    assert guessed["status"] == "proposal"
    assert kept(guessed) == {"by_position": True}
    assert findings(dataset, "R02") == [
        (
            f"{VAL}, annotation 1",
            "image id 0 is not there; a proposal for the image at that place of the list",
        )
    ]
    left_out = [where for where, _ in findings(dataset, "N02")]
    assert left_out == [f"{TRAIN}, annotation 7", *(f"{VAL}, annotation {i}" for i in (2, 3, 4, 5, 6))]
    assert not [id for id in rows if re.search("#v000000[2-6]", id)]


def test_images_that_stand_twice_or_not_at_all(tree: Tree) -> None:
    root = tree("voxdet")

    def edit(content: Any) -> None:
        content["images"].append({"id": 0, "file_name": "images/000001.jpg", "width": 99, "height": 1})
        content["images"].append({"id": 8, "file_name": "./images//000000.jpg", "width": 20, "height": 14})
        content["annotations"].append({"id": 0, "image_id": 8, "category_id": 9, "bbox": [1, 1, 2, 2]})

    change(root, VAL, edit)
    (root / "OWID/P2/images/000555.jpg").write_bytes((root / "OWID/P2/images/000000.jpg").read_bytes())
    dataset = import_source("voxdet", root)
    assert [message for _, message in findings(dataset, "R01")] == ["id stands twice; the first is taken"]
    shared = table(dataset, "images")["voxdet/OWID/P2/images/000000.jpg"]
    assert (shared["source_split"], kept(shared)["splits"]) == ("val", ["train", "val"])
    assert len(findings(dataset, "Q03")) == 2
    ids = [id for id in table(dataset, "annotations") if id.startswith("voxdet/OWID/P2/images/000000.jpg#v")]
    assert ids == ["voxdet/OWID/P2/images/000000.jpg#v0000000"]
    assert findings(dataset, "I02") == [("OWID/P2/images/000001.jpg", "record says 99 x 1, picture is 20 x 14")]
    assert ("OWID/P2/images", "pictures that no annotation file names, left out: 1, first 000555.jpg") in findings(
        dataset, "N05"
    )
    missing = table(dataset, "images")["voxdet/OWID/P2/images/900000.jpg"]
    assert (missing["width"], missing["height"], kept(missing)["file"]) == (20, 14, "missing")
    merged = "OWID/P2/elsewhere/000000.jpg, OWID/P2/images/000000.jpg have the base name '000000.jpg'"
    assert any(message.startswith(merged) for _, message in findings(dataset, "N05"))


def test_annotation_ids_that_stand_twice_or_are_missing_stay_apart(tree: Tree) -> None:
    root = tree("voxdet")

    def edit(content: Any) -> None:
        row = content["annotations"][0]
        nameless = {key: value for key, value in row.items() if key != "id"}
        content["annotations"] += [row, nameless, {**nameless, "id": "x"}]

    change(root, VAL, edit)
    ids = [id for id in table(import_source("voxdet", root), "annotations") if "#v" in id]
    assert [id.partition("#")[2] for id in ids] == ["v0000000", "v0000000.1", "vp0000002", "vp0000003"]


def test_objects_that_nobody_declares_are_kept_under_their_own_name(tree: Tree) -> None:
    root = tree("voxdet")
    change(root, VAL, lambda content: content["annotations"][0].update(category_id=77))
    (root / "OWID/P1/notes").mkdir()
    dataset = import_source("voxdet", root)
    assert table(dataset, "instances")["OWID/77"]["category"] == "OWID/ins_000077"
    assert [where for where, _ in findings(dataset, "N01")] == ["voxdet, label 'OWID/ins_000077'"]
    assert ("OWID/P1/notes", "folder name holds no object number; passed over") in findings(dataset, "N05")


def test_val_file_is_needed_only_where_val_is_wanted(tree: Tree) -> None:
    root = tree("voxdet")
    (root / VAL).unlink()
    with pytest.raises(SourceError, match=rf"{VAL}: no such file; .*; choose the splits that are there with --split"):
        import_source("voxdet", root)
    train = import_source("voxdet", root, splits=["train"])
    assert set(train.table("images")["source_split"].to_pylist()) == {"train"}


def test_voxdet_s_own_layout_gives_the_same_ids(tree: Tree) -> None:
    root = tree("voxdet")
    before = import_source("voxdet", root)
    (root / "BOP").mkdir()
    (root / "RoboTools").rename(root / "BOP/RoboTools")
    after = import_source("voxdet", root)
    assert after.fingerprint() == before.fingerprint()
    assert "BOP/RoboTools/test/L01/rgb/000000.png" in after.table("images")["file_name"].to_pylist()


@pytest.mark.parametrize("part", ["OWID", "RoboTools"])
def test_one_of_the_two_sets_is_enough(part: str, tree: Tree) -> None:
    root = tree("voxdet")
    shutil.rmtree(root / part)
    dataset = import_source("voxdet", root)
    assert not [id for id in table(dataset, "images") if f"/{part}/" in id]
    assert dataset.table("queries").num_rows


# Bad downloads


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        (
            TRAIN,
            lambda text: text[: len(text) // 2],
            rf"{TRAIN}.*: JSON is cut short after \d+ bytes; .*download or unp",
        ),
        (TRAIN, lambda text: "", rf"{TRAIN}: file is empty"),
        (TRAIN, lambda text: "[]", rf"{TRAIN}: expected `object`, got `array`"),
        (TRAIN, lambda text: text.replace('"images"', '"pictures"', 1), rf"{TRAIN}: .*missing required field `images`"),
        (TRAIN, lambda text: text.replace("6.5", "NaN"), rf"{TRAIN}:1:\d+: JSON is malformed at 'NaN"),
        ("RoboTools/test/scene_gt_coco_all.json", lambda text: None, r"scene_gt_coco_all\.json: no such file"),
        (TRAIN, lambda text: None, rf"{TRAIN}: no such file; expected VoxDet's annotations"),
    ],
)
def test_a_broken_annotation_file_is_one_line(
    file: str, damage: Callable[[str], str | None], said: str, tree: Tree, curate: Curate, tmp_path: Path
) -> None:
    root = tree("voxdet")
    text = damage((root / file).read_text())
    (root / file).unlink() if text is None else (root / file).write_text(text)
    for flags in ([], ["--skip-bad"]):
        (line,) = curate("import", "voxdet", root, "-o", "ds", *flags, code=1).stderr.splitlines()
        assert re.search(said, line), line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw_voxdet"]


def first_annotation(**values: Any) -> Callable[[Path], None]:
    return lambda root: change(root, VAL, lambda content: content["annotations"][0].update(values))


def without(field: str) -> Callable[[Path], None]:
    return lambda root: change(root, VAL, lambda content: content["annotations"][0].pop(field))


SCENE = "voxdet/OWID/P2/images/000007.jpg"
VIEW = "voxdet/OWID/P1/9/rgb/000000.png"


def halve(file: str) -> Callable[[Path], None]:
    return lambda root: (root / file).write_bytes((root / file).read_bytes()[:60])  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("damage", "image", "said"),
    [
        (without("bbox"), SCENE, rf"{VAL}, annotation 0: bbox is missing; expected four numbers x, y, w, h"),
        (first_annotation(bbox=[1, 2, 3]), SCENE, r"bbox is \[1, 2, 3\]; expected four numbers"),
        (first_annotation(bbox=[1, 2, "3", 4]), SCENE, "expected four numbers"),
        (first_annotation(bbox=[1, 2, True, 4]), SCENE, "expected four numbers"),
        (first_annotation(bbox=[9, 2, -3, 4]), SCENE, r"bbox is \[9, 2, -3, 4\]; expected a width and height from 0"),
        (without("category_id"), SCENE, "category_id is missing; expected a number"),
        (first_annotation(category_id="9"), SCENE, "category_id is '9'; expected a number"),
        (halve("OWID/P2/images/000007.jpg"), SCENE, r"OWID/P2/images/000007\.jpg: .*"),
        (halve("OWID/P1/9/rgb/000000.png"), VIEW, r"OWID/P1/9/rgb/000000\.png: PNG file is cut short"),
        (halve("OWID/P1/9/mask/000000.png"), VIEW, r"OWID/P1/9/mask/000000\.png: .*(cut short|does not decode)"),
        (
            lambda root: change(root, VAL, lambda c: c["images"][0].update(file_name="../../../etc/passwd")),
            "voxdet/OWID/?000000",
            r"images\[0\]: file_name is '\.\./\.\./\.\./etc/passwd'; expected a path inside the set's folder",
        ),
    ],
)
def test_a_broken_image_is_one_line_and_can_be_left_out(
    damage: Callable[[Path], None], image: str, said: str, tree: Tree, tmp_path: Path
) -> None:
    root = tree("voxdet")
    damage(root)
    with pytest.raises(SourceError, match="1 of 27 images are broken") as raised:
        import_source("voxdet", root)
    assert len(raised.value.lines) == 2
    assert re.search(said, raised.value.lines[1]), raised.value.lines[1]
    dataset = import_source("voxdet", root, skip_bad=True)
    assert image not in table(dataset, "images")
    assert [problem.item for problem in dataset.problems if problem.code == "N03"] == [image]


def test_a_picture_that_is_a_link_out_of_the_root_is_not_opened(tree: Tree, tmp_path: Path) -> None:
    root = tree("voxdet")
    Image.new("RGB", (20, 14)).save(tmp_path / "secret.jpg")
    (root / "OWID/P2/images/000007.jpg").unlink()
    (root / "OWID/P2/images/000007.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(SourceError, match=r"000007\.jpg: is a link that leaves"):
        import_source("voxdet", root)


@pytest.mark.parametrize(("missing", "said"), [("OWID/P1", "OWID/P1: no such folder"), ("OWID/P2", "OWID/P2")])
def test_a_missing_part_is_named(missing: str, said: str, tree: Tree) -> None:
    root = tree("voxdet")
    shutil.rmtree(root / missing)
    with pytest.raises(SourceError, match=said):
        import_source("voxdet", root, splits=["train"])
