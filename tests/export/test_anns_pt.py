"""anns.pt: upstream's content on request, sound by default, the same bytes everywhere, loadable by torch."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate import geometry, torch_zip
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import anns_pt
from curate.importing import import_source
from curate.model import (
    Annotation,
    Image,
    Info,
    Member,
    Query,
    RelevanceRule,
    Rle,
)

Curate = Callable[..., Any]
Entries = dict[str, dict[str, Any]]


def written(dataset: Dataset, folder: Path, **options: Any) -> Entries:
    anns_pt.write(dataset, folder / "anns.pt", overwrite=True, **options)
    entries: Entries = torch_zip.load(folder / "anns.pt").value
    return entries


def decoded(mask: dict[str, Any]) -> np.ndarray:
    """As upstream's reader does it: alternate from background, fill ``size`` by rows, turn unless told not to."""
    pixels = np.repeat(np.arange(len(mask["counts"])) % 2, mask["counts"]).reshape(mask["size"])
    return pixels.T if mask.get("transpose", True) else pixels


def normalised(entry: dict[str, Any]) -> dict[str, Any]:
    """As the golden data's README describes it: parallel lists become entries sorted by ins, bbox, num_ins and mask."""
    plain: dict[str, Any] = json.loads(json.dumps(entry))  # tuples become lists, but 7.0 does not become 7
    if entry["is_query"]:
        return plain
    lists = {field: plain.pop(field) for field in ("bbox", "ins", "mask", "num_ins")}
    entries = [{f: values[i] for f, values in lists.items() if values} for i in range(len(lists["bbox"]))]
    sizes = {f"n_{field}": len(values) for field, values in lists.items()}
    return {**plain, **sizes, "entries": in_order(entries)}


def in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda e: json.dumps([e["ins"], e["bbox"], e.get("num_ins"), e.get("mask")]))


# VoxDet-SoIR's own file


@pytest.fixture(scope="module")
def golden(shared: Path) -> Dataset:
    return import_source("voxdet", shared / "golden/voxdet_soir/tree")


def test_upstream_s_content_from_the_command_line(shared: Path, curate: Curate, tmp_path: Path) -> None:
    folder = shared / "golden/voxdet_soir"
    curate("import", "voxdet", "tree", "-o", tmp_path / "ds", cwd=folder)
    curate("export", "anns_pt", tmp_path / "ds", "-o", tmp_path / "anns.pt", "--compat", "upstream", cwd=folder)
    found = torch_zip.load(tmp_path / "anns.pt").value
    expected = json.loads((folder / "anns_normalised.json").read_text())
    assert found.keys() == expected.keys()
    for key, entry in expected.items():
        entry.pop("upstream_decode_foreground_pixels", None)
        if not entry["is_query"]:
            entry["entries"] = in_order(entry["entries"])
        # As text, so that 7 and 7.0 differ.
        assert json.dumps(normalised(found[key]), sort_keys=True) == json.dumps(entry, sort_keys=True), key


def kind(value: Any) -> str:
    """A value's types, spelled as in the golden types.json."""
    if isinstance(value, dict):
        return f"dict{{{','.join(f'{key}:{kind(inner)}' for key, inner in sorted(value.items()))}}}"
    if isinstance(value, list | tuple):
        inner = "|".join(sorted({kind(v) for v in value}))
        return f"list[]<{inner}>" if isinstance(value, list) else f"tuple[{len(value)}]<{inner}>"
    return type(value).__name__


def test_upstream_s_types_but_for_numpy(golden: Dataset, shared: Path, tmp_path: Path) -> None:
    seen: dict[str, Counter[str]] = {}
    for entry in written(golden, tmp_path, compat="upstream").values():
        role = "query" if entry["is_query"] else "gallery"
        for field, value in entry.items():
            seen.setdefault(f"{role}/{entry['set']}/{field}", Counter())[kind(value)] += 1
    expected: dict[str, Counter[str]] = {}
    for place, kinds in json.loads((shared / "golden/voxdet_soir/types.json").read_text()).items():
        expected[place] = Counter()
        for text, n in kinds.items():
            expected[place][text.replace("numpy.int64", "int")] += n
    assert seen == expected


@pytest.mark.parametrize(
    ("prefix", "first"),
    [
        (None, "{root}/OWID/P1/0/rgb/000000.png"),
        ("", "OWID/P1/0/rgb/000000.png"),
        ("x/y/", "x/y/OWID/P1/0/rgb/000000.png"),
        ("/", "/OWID/P1/0/rgb/000000.png"),
    ],
)
def test_upstream_s_keys_carry_the_root_as_typed(
    prefix: str | None, first: str, golden: Dataset, tmp_path: Path
) -> None:
    keys = list(written(golden, tmp_path, compat="upstream", key_prefix=prefix))
    assert keys[0] == first.format(root=golden.info.roots["voxdet"])
    assert keys == sorted(keys)


# The sound file


def test_sound_keys_are_relative_and_sorted(golden: Dataset, tmp_path: Path) -> None:
    keys = list(written(golden, tmp_path))
    assert keys == sorted(keys)
    assert keys[0] == "OWID/P1/0/rgb/000000.png"
    assert list(written(golden, tmp_path, key_prefix="/data")) == [f"/data/{key}" for key in keys]


def test_sound_fields(golden: Dataset, tmp_path: Path) -> None:
    split = dict(zip(*(golden.table("images")[c].to_pylist() for c in ("file_name", "source_split")), strict=True))
    for key, entry in written(golden, tmp_path).items():
        assert {"bbox", "mask", "is_query", "ins", "set", "is_val"} <= entry.keys()
        assert entry["is_val"] is (not entry["is_query"] and split[key] == "val")
        assert entry["set"] == key.split("/")[0]
        if entry["is_query"]:
            x1, y1, x2, y2 = entry["bbox"]
            assert {type(v) for v in entry["bbox"]} == {int}
            assert x1 <= x2 and y1 <= y2
        else:
            assert len(entry["ins"]) == len(entry["bbox"])
            assert len(entry["mask"]) in (0, len(entry["bbox"]))
            assert len(entry["num_ins"]) in (0, len(entry["bbox"]))


def test_every_mask_of_the_sound_file_is_right_for_upstream_s_decoder(golden: Dataset, tmp_path: Path) -> None:
    """Column-major masks in a frame that is not square are scrambled by it, and so are those of the first pixel."""
    rows = golden.table("annotations").to_pylist()
    ours: dict[str, list[np.ndarray]] = {}
    for row in rows:
        if row["segmentation"]:
            rle = Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"])
            ours.setdefault(row["image_id"].removeprefix("voxdet/"), []).append(geometry.mask_from_rle(rle))
    checked = Counter[str]()
    for key, entry in written(golden, tmp_path).items():
        masks = [entry["mask"]] if entry["is_query"] else [mask for mask in entry["mask"] if mask]
        if entry["is_query"]:
            (expected,) = ours[key]
            assert (decoded(entry["mask"]) == expected).all()
            ys, xs = np.nonzero(expected)
            assert entry["bbox"] == (xs.min(), ys.min(), xs.max(), ys.max())
            checked["query"] += 1
            continue
        for mask in masks:
            assert mask["transpose"] is False
            checked["gallery"] += any(np.array_equal(decoded(mask), one) for one in ours.get(key, []))
    # 36 queries; of 56 masks of the gallery two are painted from polygons.
    assert checked == {"query": 36, "gallery": 54}


def test_what_the_sound_file_leaves_out_is_counted(golden: Dataset, tmp_path: Path) -> None:
    counts = anns_pt.write(golden, tmp_path / "anns.pt")
    assert counts == {
        "queries": 36,  # 38 with a mask, of which two are empty
        "gallery": 20,  # 23 scenes, of which three are not on disk
        "boxes": 108,
        "masks": 56,
        "left_out_images_missing": 3,
        "left_out_queries_without_box": 2,
    }
    entries = torch_zip.load(tmp_path / "anns.pt").value
    assert "OWID/P1/0/rgb/100004.png" not in entries  # empty mask
    assert "OWID/P2/images/900007.jpg" not in entries  # not on disk
    guessed = next(row for row in golden.table("annotations").to_pylist() if row["status"] == "proposal")
    assert len(entries["OWID/P2/images/000008.jpg"]["ins"]) == sum(
        row["image_id"] == guessed["image_id"] and row["status"] == "truth"
        for row in golden.table("annotations").to_pylist()
    )


@pytest.mark.parametrize("compat", [None, "upstream"])
def test_torch_loads_it_with_weights_only(compat: str | None, golden: Dataset, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    entries = written(golden, tmp_path, compat=compat)
    found = torch.load(tmp_path / "anns.pt", weights_only=True)
    assert found == entries
    assert repr(found) == repr(entries)


def test_the_bytes_are_the_same_everywhere(shared: Path, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from curate import store, importing; from curate.export import anns_pt\n"
        "ds = importing.import_source('voxdet', pathlib.Path('tree'))\n"
        "for compat in (None, 'upstream'):\n"
        "    anns_pt.write(ds, pathlib.Path(sys.argv[1]) / f'{compat}.pt', compat=compat)\n"
    )
    digests = []
    for seed, zone, name in (("1", "UTC", "a"), ("77", "Asia/Tokyo", "other name")):
        (tmp_path / name).mkdir()
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / name],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            cwd=shared / "golden/voxdet_soir",
            check=True,
        )
        digests.append(
            [hashlib.sha256((tmp_path / name / f"{c}.pt").read_bytes()).hexdigest() for c in (None, "upstream")]
        )
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[0][1]


# Datasets of other origin, made by hand


def image(key: str, **more: Any) -> Image:
    given = {"source": "mine", "width": 10, "height": 8, **more}
    return Image(id=f"{given['source']}/{key}", file_name=key, **given)


def shown(key: str, number: int, instance: str | None, box: tuple[float, ...] | None, **more: Any) -> Annotation:
    x, y, w, h = box or (None,) * 4
    return Annotation(
        id=f"mine/{key}#{number}", image_id=f"mine/{key}", instance=instance, category="cup", x=x, y=y, w=w, h=h, **more
    )


def asked(key: str, number: int, **more: Any) -> Query:
    name = f"mine/{key}#{number}"
    return Query(id=name, kind="box", image_id=f"mine/{key}", annotation_id=name, **more)


def made(*records: Any, **info: Any) -> Dataset:
    return from_records(Info(name="mine", **info), records)


def test_instances_without_numbers_are_numbered_and_named(tmp_path: Path) -> None:
    dataset = made(
        image("q.png"),
        image("g.png"),
        image("empty.png"),
        shown("q.png", 0, "red cup", (1, 2, 3, 4)),
        asked("q.png", 0),
        shown("g.png", 0, "red cup", (0, 0, 10, 8)),
        shown("g.png", 1, "blue cup", (2.5, 1, 2.5, 3)),
    )
    assert written(dataset, tmp_path) == {
        "empty.png": {
            "bbox": [],
            "num_ins": [],
            "mask": [],
            "is_query": False,
            "ins": [],
            "set": "mine",
            "is_val": False,
            "obj_name": [],
        },
        "g.png": {
            "bbox": [(0, 0, 10, 8), (2.5, 1, 5, 4)],
            "num_ins": [],
            "mask": [],
            "is_query": False,
            "ins": [1, 0],
            "set": "mine",
            "is_val": False,
            "obj_name": ["red cup", "blue cup"],
        },
        "q.png": {
            "bbox": (1, 2, 3, 5),
            "mask": [],
            "is_query": True,
            "ins": 1,
            "set": "mine",
            "is_val": False,
            "obj_name": "red cup",
        },
    }


def test_numbers_of_instances_are_kept_where_each_image_shows_one_set(tmp_path: Path) -> None:
    records = [
        image("q.png"),
        image("g.png"),
        shown("q.png", 0, "A/7", (1, 2, 3, 4)),
        asked("q.png", 0),
        shown("g.png", 0, "A/7", (0, 0, 10, 8)),
    ]
    entries = written(made(*records), tmp_path)
    assert (entries["q.png"]["ins"], entries["g.png"]["ins"], entries["g.png"]["set"]) == (7, [7], "A")
    assert "obj_name" not in entries["q.png"]
    # Two sets in one image, a number with a leading zero, or what is no name of a set: numbers are given anew.
    for other in ("B/7", "A/07", "A/b/7"):
        entries = written(made(*records, shown("g.png", 1, other, (0, 0, 2, 2))), tmp_path)
        assert entries["g.png"]["obj_name"] == ["A/7", other]
        assert len(set(entries["g.png"]["ins"])) == 2
        assert entries["g.png"]["set"] == "mine"


def test_the_relevance_rule_says_whether_instances_or_categories_count(tmp_path: Path) -> None:
    dataset = made(
        image("q.png"),
        image("g.png"),
        shown("q.png", 0, None, (1, 2, 3, 4)),
        asked("q.png", 0),
        shown("g.png", 0, None, (0, 0, 10, 8)),
        relevance=RelevanceRule(target="category"),
    )
    entries = written(dataset, tmp_path)
    assert (entries["q.png"]["ins"], entries["g.png"]["ins"], entries["q.png"]["obj_name"]) == (0, [0], "cup")


def test_only_truth_of_instances_with_a_box_is_written(tmp_path: Path) -> None:
    records = [
        image("q.png"),
        image("g.png"),
        shown("q.png", 0, "A/1", (1, 2, 3, 4)),
        asked("q.png", 0),
        shown("g.png", 0, "A/1", (0, 0, 1, 1)),
        shown("g.png", 1, "A/1", (0, 0, 2, 2), status="proposal"),
        shown("g.png", 2, "A/1", (0, 0, 3, 3), status="rejected"),
        shown("g.png", 3, None, (0, 0, 4, 4)),
        shown("g.png", 4, "A/1", (0, 0, 5, 5), iscrowd=True),
        shown("g.png", 5, "A/1", (0, 0, 6, 6), ignore=True),
        shown("g.png", 6, "A/1", None),
    ]
    assert written(made(*records), tmp_path)["g.png"]["bbox"] == [(0, 0, 1, 1)]
    counts = anns_pt.write(made(*records), tmp_path / "anns.pt", overwrite=True)
    assert counts["left_out_boxes_of_crowds_or_ignored"] == 2
    assert counts["left_out_boxes_of_no_instance"] == 1
    assert counts["left_out_labels_without_box"] == 1


def test_masks_of_polygons_and_of_runs(tmp_path: Path) -> None:
    square = np.zeros((8, 10), bool)
    square[0:3, 0:4] = True  # touches the first pixel
    dataset = made(
        image("q.png"),
        image("g.png"),
        shown("q.png", 0, "A/1", (0, 0, 4, 3), segmentation=geometry.rle_from_mask(square)),
        asked("q.png", 0),
        shown("g.png", 0, "A/1", (2, 2, 5, 4), polygons=[[[2, 2, 7, 2, 7, 6, 2, 6]]]),
        shown("g.png", 1, "A/1", (0, 0, 1, 1)),
    )
    entries = written(dataset, tmp_path)
    assert entries["q.png"]["mask"] == {"counts": [0, 4, 6, 4, 6, 4, 56], "size": (8, 10), "transpose": False}
    painted, none = entries["g.png"]["mask"]
    assert none == []
    expected = np.zeros((8, 10), int)
    expected[2:6, 2:7] = 1
    assert (decoded(painted) == expected).all()


def test_queries_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    dataset = made(
        image("a.png"),
        image("b.png", attributes={"voxdet": {"file": "missing"}}),
        shown("a.png", 0, "A/1", (1, 2, 3, 4)),
        shown("a.png", 1, "A/2", (1, 2, 3, 4)),
        shown("a.png", 2, "A/2", (1, 2, 0, 4)),
        shown("b.png", 0, "A/2", (1, 2, 3, 4)),
        asked("a.png", 0),
        asked("a.png", 1),
        asked("a.png", 2),
        asked("b.png", 0),
        Query(id="text", kind="text", text="a cup", instance="A/1"),
        Query(id="own box", kind="box", image_id="mine/a.png", x=0, y=0, w=2, h=2, instance="A/1"),
    )
    counts = anns_pt.write(dataset, tmp_path / "anns.pt")
    assert counts == {
        "queries": 1,
        "gallery": 0,
        "boxes": 0,
        "masks": 0,
        "left_out_images_missing": 1,
        "left_out_queries_beside_another_of_their_image": 2,
        "left_out_queries_without_box": 1,
        "left_out_queries_without_image_or_instance": 1,
    }


def test_several_sources_get_a_folder_each(tmp_path: Path) -> None:
    dataset = made(image("a.png"), image("a.png", source="other"), Image(id="mine/known by id", source="mine"))
    assert list(written(dataset, tmp_path)) == ["mine/a.png", "mine/known by id", "other/a.png"]


def test_members_say_what_the_gallery_is(tmp_path: Path) -> None:
    dataset = made(
        image("a.png"),
        image("b.png"),
        image("c.png"),
        *(Member(image_id=f"mine/{k}.png", role="gallery") for k in "ac"),
    )
    assert list(written(dataset, tmp_path)) == ["a.png", "c.png"]


# What is refused


def test_an_image_that_is_both_query_and_gallery(tmp_path: Path) -> None:
    dataset = made(
        image("a.png"),
        shown("a.png", 0, "A/1", (1, 2, 3, 4)),
        asked("a.png", 0),
        *(Member(image_id="mine/a.png", role=role) for role in ("query", "gallery")),
    )
    with pytest.raises(SchemaError, match=r"image a\.png: is a query and in the gallery; .*see 'curate build split"):
        anns_pt.write(dataset, tmp_path / "anns.pt")
    assert list(tmp_path.iterdir()) == []


def test_two_images_of_one_file(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"'a\.png' stands twice; expected one image per file"):
        anns_pt.write(made(image("a.png"), Image(id="mine/b", source="mine", file_name="a.png")), tmp_path / "x.pt")


@pytest.mark.parametrize("compat", [None, "upstream"])
def test_run_lengths_that_do_not_fill_their_frame(compat: str | None, tmp_path: Path) -> None:
    bad = Rle((8, 10), geometry.rle_from_mask(np.zeros((8, 9))).counts)
    key = "voxdet/OWID/P2/images/a.jpg"
    dataset = made(
        Image(id=key, source="voxdet", file_name="OWID/P2/images/a.jpg"),
        Annotation(id=f"{key}#t1", image_id=key, instance="OWID/1", x=0, y=0, w=1, h=1, segmentation=bad),
    )
    with pytest.raises(SchemaError, match=r"annotation .*#t1: mask: runs sum to 72; expected 8 x 10 = 80; .*verify"):
        anns_pt.write(dataset, tmp_path / "anns.pt", compat=compat)
    assert list(tmp_path.iterdir()) == []


def test_upstream_reads_nothing_but_voxdet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--compat upstream: the dataset holds images of mine; expected voxdet only"):
        anns_pt.write(made(image("a.png")), tmp_path / "anns.pt", compat="upstream")
    with pytest.raises(UsageError, match="--compat faithful: unknown; expected upstream"):
        anns_pt.write(made(image("a.png")), tmp_path / "anns.pt", compat="faithful")


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "anns.pt").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        anns_pt.write(made(image("a.png")), tmp_path / "anns.pt")
    with pytest.raises(UsageError, match="is no output of this command"):
        anns_pt.write(made(image("a.png")), tmp_path / "anns.pt", overwrite=True)
    assert (tmp_path / "anns.pt").read_text() == "mine"
    (tmp_path / "anns.pt").write_bytes(b"PK\x03\x04 an earlier one")
    anns_pt.write(made(image("a.png")), tmp_path / "anns.pt", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["anns.pt"]


def test_a_box_that_was_changed_since_the_import_is_the_one_that_is_written(tmp_path: Path) -> None:
    """What the source kept of a box is only used while it is that box."""
    key = "voxdet/OWID/P2/images/a.jpg"
    for x, expected in ((0.5, (0.5, 1.0, 3.0, 4.0)), (1.5, (1.5, 1, 4, 4))):
        row = Annotation(
            id=f"{key}#t1",
            image_id=key,
            instance="OWID/1",
            x=x,
            y=1,
            w=2.5,
            h=3,
            attributes={"voxdet": {"bbox": [0.5, 1.0, 2.5, 3.0]}},
        )
        dataset = made(Image(id=key, source="voxdet", file_name="OWID/P2/images/a.jpg"), row)
        for compat in (None, "upstream"):
            (entry,) = written(dataset, tmp_path, compat=compat).values()
            assert repr(entry["bbox"]) == repr([expected])


def test_subsets_have_the_entries_of_the_whole(golden: Dataset, tmp_path: Path) -> None:
    """Whatever images are chosen, their entries are those of the whole file."""
    whole = written(golden, tmp_path, compat="upstream", key_prefix="")
    ids = golden.table("images")["id"].to_pylist()
    for chosen in (ids[::2], ids[1::3], []):
        keys = {id.removeprefix("voxdet/") for id in chosen}
        for key, entry in written(
            golden.select_images(pa.array(chosen, pa.string())), tmp_path, compat="upstream", key_prefix=""
        ).items():
            if key == "OWID/P2/images/000000.jpg":
                continue  # merged of two images
            assert key in keys
            assert entry == whole[key]


def test_the_door_reads_it_back(golden: Dataset, tmp_path: Path) -> None:
    anns_pt.write(golden, tmp_path / "anns.pt")
    back = import_source("anns_pt", tmp_path / "anns.pt")
    assert back.table("queries").num_rows == 36
    first, second = (list(itertools.islice(d.table("instances")["id"].to_pylist(), 3)) for d in (golden, back))
    assert first == second
