"""PROxford and PRParis: a mask per pair, shared label files, sizes, and what a list of pairs may not name."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.dataset import Dataset
from curate.errors import SourceError
from curate.importing import import_source
from tests.sources.looking import annotations, box, edit, findings, images, mask

Tree = Callable[..., Path]
Curate = Callable[..., Any]

_spec = importlib.util.spec_from_file_location(
    "tree_of_pixel_retrieval", Path(__file__).parent / "pixel_retrieval/tree.py"
)
assert _spec
assert _spec.loader
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)


def judged(dataset: Dataset) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Label and annotation of each pair, by the names of query and image."""
    return {
        (row["query_id"].rpartition("/")[2], row["image_id"].rpartition("/")[2]): (row["label"], row["annotation_id"])
        for row in dataset.table("judgements").to_pylist()
    }


def test_a_mask_belongs_to_its_pairs(tree: Tree) -> None:
    dataset = import_source("pixel_retrieval", tree("pixel_retrieval"), splits=("roxford5k",))
    a, b, c = (f"revisitop/roxford5k/{name}#pixel:0000" for name in small.TRUTH["roxford5k"]["imlist"][:3])
    assert judged(dataset) == {
        ("all_souls_000013", "all_souls_000000"): ("easy", a),
        ("all_souls_000013", "all_souls_000002"): ("hard", b),
        ("all_souls_000013", "oxford_000317"): ("junk", None),
        ("all_souls_000026", "all_souls_000000"): ("hard", a),  # one label file, one mask
        ("all_souls_000026", "all_souls_000002"): ("hard", b),
        ("bodleian_000107", "-bodleian_000003"): ("easy", c),
        ("bodleian_000107", "oxford_000317"): ("hard", None),
        ("bodleian_000107", "all_souls_000000"): ("junk", None),
    }
    assert len(annotations(dataset)) == 3
    assert findings(dataset, "N05") == [("N05", "revisitop/roxford5k/oxford_000317")]
    assert findings(dataset, "N02") == [("N02", "revisitop/roxford5k/all_souls_000000")]  # the label of a junk pair


def test_all_shapes_of_a_file_are_one_object_in_parts(tree: Tree) -> None:
    dataset = import_source("pixel_retrieval", tree("pixel_retrieval"))
    (row,) = annotations(dataset, "roxford5k/all_souls_000002")
    assert [[list(map(float, ring)) for ring in part] for part in row["polygons"]] == [
        [[1, 1, 4, 1, 4, 4, 1, 4]],
        [[10, 3, 14, 3, 14, 8, 10, 8]],
    ]
    painted = np.zeros((18, 24), bool)
    painted[1:5, 1:5] = painted[3:9, 10:15] = True  # outlines included
    assert np.array_equal(mask(row), painted)
    assert (box(row), row["area"]) == ([1, 1, 14, 8], 16 + 30)
    assert row["instance"] == "roxford5k/all_souls_000013"
    assert row["attributes"] == {"pixel_retrieval": {"label": "labels/ox/b.json"}}


def test_a_polygon_that_leaves_its_image_is_clipped(tree: Tree) -> None:
    (row,) = annotations(import_source("pixel_retrieval", tree("pixel_retrieval")), "-bodleian_000003")
    x, y, w, h = box(row)
    assert (x + w, y + h) == (24, 17)
    assert (x, y) in {(20, 10), (21, 10)}
    assert row["polygons"][0][0][2] == 30  # the vertices are as found


def test_without_any_size_the_polygon_stands_alone(tree: Tree) -> None:
    dataset = import_source("pixel_retrieval", tree("pixel_retrieval"))
    assert images(dataset)["rparis6k/all_souls_000000"]["width"] is None
    (row,) = annotations(dataset, "rparis6k/all_souls_000000")
    assert row["segmentation"] is None
    assert (box(row), row["area"]) == ([0, 0, 5, 5], 12.5)
    # Where the picture is absent and the label file states a size, that is taken.
    root = tree("pixel_retrieval", "other")
    (root / "revisitop/data/roxford5k/jpg/all_souls_000000.jpg").unlink()
    found = import_source("pixel_retrieval", root)
    assert [images(found)["roxford5k/all_souls_000000"][side] for side in ("width", "height")] == [24, 18]


def test_images_and_queries_are_those_of_revisitop(tree: Tree) -> None:
    root = tree("pixel_retrieval")
    dataset = import_source("pixel_retrieval", root)
    whole = import_source("revisitop", root / "revisitop/data")
    assert dataset.info.roots["revisitop"] == str(root / "revisitop/data")
    for name in ("images", "queries", "instances", "members", "coverage"):
        columns = [name for name in whole.table(name).column_names if name != "attributes"]
        pixel, own = (
            [{k: v for k, v in row.items() if k in columns} for row in found.table(name).to_pylist()]
            for found in (dataset, whole)
        )
        assert pixel == own, name
    for union in (whole.merge(dataset), dataset.merge(whole)):
        assert len(union.table("images")) == len(whole.table("images"))
        # A pair of the lists and its mask are one judgement, which names the mask.
        assert union.table("judgements").equals(dataset.table("judgements"))
    assert union.info.relevance.target == "instance"


def test_a_label_file_missing_or_of_another_size(tree: Tree) -> None:
    root = tree("pixel_retrieval")
    edit(root / "labels/ox/b.json", lambda label: label.update(imageWidth=25))
    (root / "labels/ox/-c.json").unlink()
    with pytest.raises(SourceError) as raised:
        import_source("pixel_retrieval", root)
    lines = [error.line for error in (raised.value, *raised.value.also)]
    assert any(f"{root}/labels/ox/b.json: was made for 25 x 18 px" in line for line in lines)
    assert any(f"{root}/labels/ox/-c.json: no such file" in line for line in lines)
    dataset = import_source("pixel_retrieval", root, skip_bad=True)
    assert {item for _, item in findings(dataset, "N03")} == {
        "revisitop/roxford5k/all_souls_000002",
        "revisitop/roxford5k/-bodleian_000003",
    }


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([[1, 1], [2, 2]], "shapes[0]: ring of 2 points"),
        ([[1, 1], [2, 2], [1e9, 5]], "shapes[0]: vertex 2 is at x = 1000000000.0"),
        ([[1, 1], [2, "x"], [3, 5]], "expected `float`, got `str`"),
    ],
)
def test_a_broken_polygon(points: Any, said: str, tree: Tree) -> None:
    root = tree("pixel_retrieval")
    edit(root / "labels/ox/a.json", lambda label: label["shapes"][0].update(points=points))
    with pytest.raises(SourceError) as raised:
        import_source("pixel_retrieval", root)
    (error,) = raised.value.also
    assert str(root / "labels/ox/a.json") in error.line
    assert said in error.line


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ({"0_0": "../../etc/x.json"}, "names '../../etc/x.json'"),
        ({"0_0": "/etc/x.json"}, "names '/etc/x.json'"),
        ({"0_0": "a.png"}, "names 'a.png'; expected the path of a .json"),
        ({"0_0": 5}, "names 5"),
        ({"0_4": "a.json"}, "'0_4': is no pair of query and image"),
        ({"3_0": "a.json"}, "'3_0': is no pair"),
        ({"0-0": "a.json"}, "'0-0': is no pair"),
        ([1], "holds a list; expected a dictionary of pairs"),
    ],
)
def test_a_list_of_pairs_that_names_what_it_may_not(pairs: Any, said: str, tree: Tree) -> None:
    root = tree("pixel_retrieval")
    array = np.empty((), dtype=object)
    array[()] = pairs
    np.save(root / "oxford_pair2labelpath.npy", array, allow_pickle=True)
    with pytest.raises(SourceError) as raised:
        import_source("pixel_retrieval", root, skip_bad=True)
    assert str(root / "oxford_pair2labelpath.npy") in raised.value.line
    assert said in raised.value.line


def test_a_list_that_is_no_npy_file(tree: Tree) -> None:
    root = tree("pixel_retrieval")
    (root / "paris_pair2labelpath.npy").write_bytes(b"{}")
    with pytest.raises(SourceError, match=r"paris_pair2labelpath.npy: is no .npy file"):
        import_source("pixel_retrieval", root)


def test_the_golden_labels_come_through(shared: Path) -> None:
    root = shared / "golden/pixel_retrieval/case_1/pixel_retrieval_benchmarks"
    dataset = import_source("pixel_retrieval", root)
    rows = {row["id"]: row for row in annotations(dataset)}
    pairs = [row for row in dataset.table("judgements").to_pylist() if row["annotation_id"]]
    named = {}
    for part, name in (("roxford5k", "oxford"), ("rparis6k", "paris")):
        found = np.load(root / f"{name}_pair2labelpath.npy", allow_pickle=True).item()  # ours to trust
        named |= {(part, *map(int, key.split("_"))): path for key, path in found.items()}
    assert len(pairs) == len(named)
    assert {rows[row["annotation_id"]]["attributes"]["pixel_retrieval"]["label"] for row in pairs} == set(
        named.values()
    )
    for row in rows.values():
        label = json.loads((root / row["attributes"]["pixel_retrieval"]["label"]).read_text())
        assert [part[0] for part in row["polygons"]] == [
            [value for point in shape["points"] for value in point] for shape in label["shapes"]
        ]
        assert mask(row).shape == (label["imageHeight"], label["imageWidth"])


def test_the_command(tree: Tree, curate: Curate) -> None:
    root = tree("pixel_retrieval")
    curate("import", "pixel_retrieval", root, "-o", "pixels")
    curate("import", "revisitop", root / "revisitop/data", "-o", "whole")
    curate("merge", "whole", "pixels", "-o", "both")
    assert " 6 errors" not in curate("verify", "both", code=None).stdout
