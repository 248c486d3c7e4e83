"""INSTRE: its classes and pairs, box files, and the protocol of Iscen et al. with its disputed boxes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import relevance
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import instre
from tests.sources.looking import annotations, box, categories, coverage, findings, images

Tree = Callable[..., Path]
Curate = Callable[..., Any]

_spec = importlib.util.spec_from_file_location("tree_of_instre", Path(__file__).parent / "instre/tree.py")
assert _spec
assert _spec.loader
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)


def rows(dataset: Dataset, name: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in dataset.table(name).to_pylist()}


@pytest.fixture
def protocol(tree: Tree) -> Callable[..., Path]:
    """The tree with a protocol: its root."""
    pytest.importorskip("scipy")

    def write(*, corners: bool = True, **changes: Any) -> Path:
        root = tree("instre")
        small.write_protocol(root / "gnd_instre.mat", corners=corners, **changes)
        return root

    return write


# Images and boxes


def test_ids_are_paths_from_the_part_on(tree: Tree, tmp_path: Path) -> None:
    root = tree("instre")
    dataset = import_source("instre", root)
    assert set(images(dataset)) == set(small.IMAGES)
    assert Counter(row["source_split"] for row in images(dataset).values()) == {"S1": 6, "S2": 3, "M": 3}
    (tmp_path / "outer/INSTRE_release").mkdir(parents=True)
    for part in sorted(root.iterdir()):
        part.rename(tmp_path / "outer/INSTRE_release" / part.name)
    outer = import_source("instre", tmp_path / "outer")
    assert outer.fingerprint() == dataset.fingerprint()
    row = images(outer)["INSTRE-M/01/001.jpg"]
    assert row["file_name"] == "INSTRE_release/INSTRE-M/01/001.jpg"
    assert import_source("instre", tmp_path / "outer/INSTRE_release").fingerprint() == dataset.fingerprint()


def test_boxes_of_one_object(tree: Tree) -> None:
    dataset = import_source("instre", tree("instre"))
    (row,) = annotations(dataset, "01a_canada_book/013")
    assert (box(row), row["area"]) == ([1, 1, 6, 7], 42)
    assert (row["instance"], row["category"]) == ("INSTRE-S1/01a", "INSTRE-S1/01a_canada_book")
    assert row["source_label"] == "01a_canada_book"
    twice = annotations(dataset, "01a_canada_book/002")
    assert [box(row) for row in twice] == [[0, 0, 4, 4], [10, 8, 5, 6]]
    assert {row["instance"] for row in twice} == {"INSTRE-S1/01a"}
    (clock,) = annotations(dataset, "-01_clock/001")
    assert clock["instance"] == clock["category"] == "INSTRE-S2/-01_clock"


def test_a_dot_in_a_class_hides_no_box(tree: Tree) -> None:
    dataset = import_source("instre", tree("instre"))
    assert [box(row) for row in annotations(dataset, "mr.bean/001")] == [[5, 5, 5, 5]]
    # 4 + 17 is one pixel beyond 20: no more than counting from 1 would give.
    assert [box(row) for row in annotations(dataset, "mr.bean/002")] == [[4, 4, 17, 12]]


def test_an_image_of_m_shows_both_objects_in_order(tree: Tree) -> None:
    dataset = import_source("instre", tree("instre"))
    found = [(row["instance"], row["category"], box(row)) for row in annotations(dataset, "INSTRE-M/01/107")]
    assert found == [
        ("INSTRE-S1/01a", "INSTRE-S1/01a_canada_book", [10, 1, 5, 5]),
        ("INSTRE-S1/01b", "INSTRE-S1/01b_mr.bean", [0, 1, 5, 5]),
    ]
    # 02b has no class in S1.
    found = [(row["instance"], row["category"]) for row in annotations(dataset, "INSTRE-M/02/001")]
    assert found == [("INSTRE-S1/02a", "INSTRE-S1/02a_wierd_fish"), ("INSTRE-S1/02b", "INSTRE-S1/02b")]
    (noticed,) = [problem for problem in dataset.problems if problem.where == "INSTRE-M/02"]
    assert "no class 02b" in noticed.message


def test_objects_of_m_have_the_same_ids_without_s1_asked_for(tree: Tree) -> None:
    alone = import_source("instre", tree("instre"), splits=["M"])
    assert set(rows(alone, "instances")) == {f"INSTRE-S1/0{n}{letter}" for n in (1, 2) for letter in "ab"}
    assert "INSTRE-S1/01b_mr.bean" in categories(alone)


def test_an_image_without_box_still_shows_its_object(tree: Tree) -> None:
    root = tree("instre")
    (root / "INSTRE-M/01/001.txt").unlink()
    dataset = import_source("instre", root)
    for key, instances in (
        ("INSTRE-S2/-01_clock/002", ["INSTRE-S2/-01_clock"]),
        ("INSTRE-S2/tower/001", ["INSTRE-S2/tower"]),
        ("INSTRE-M/01/001", ["INSTRE-S1/01a", "INSTRE-S1/01b"]),
    ):
        found = annotations(dataset, key)
        assert [row["instance"] for row in found] == instances
        assert {tuple(box(row)) for row in found} == {(None,) * 4}
        assert ("N05", f"instre/{key}.jpg") in findings(dataset)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("INSTRE-M/01/001.txt", "1 2 3 4\n", ": 1 boxes; expected 2: of object a and of object b"),
        ("INSTRE-M/01/001.txt", "1 2 3 4\n" * 3, ": 3 boxes"),
        ("INSTRE-S2/tower/001.txt", "1 2 3\n", ":1: line is '1 2 3'; expected 4 integers: x y w h"),
        ("INSTRE-S2/tower/001.txt", "\n1 2 3 nan\n", ":2: line is '1 2 3 nan'"),
        ("INSTRE-S2/tower/001.txt", "1 2 3 -4\n", ":1: box [1, 2, 3, -4] has a negative size"),
    ],
)
def test_a_broken_box_file(file: str, text: str, said: str, tree: Tree, curate: Curate, tmp_path: Path) -> None:
    root = tree("instre")
    (root / file).write_text(text)
    failed = curate("import", "instre", root, "-o", "out", code=1)
    assert f"{root / file}{said}" in failed.stderr
    assert "1 of 12 images are broken" in failed.stderr
    assert not (tmp_path / "out").exists()
    done = json.loads(curate("import", "instre", root, "-o", "out", "--skip-bad", "--json").stdout)
    assert (done["counts"]["images"], done["findings"]["N03"]) == (11, 1)


def test_coverage_and_a_missing_part(tree: Tree) -> None:
    root = tree("instre")
    assert set(coverage(import_source("instre", root)).items()) == {
        ((f"instre/{split}", "*"), "exhaustive") for split in ("S1", "S2", "M")
    }
    for path in sorted((root / "INSTRE-S2").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / "INSTRE-S2").rmdir()
    assert len(images(import_source("instre", root))) == 9
    with pytest.raises(SourceError, match=r"holds no split 'S2'; expected INSTRE-S2/; it holds S1, M"):
        import_source("instre", root, splits=["S2"])


def test_without_protocol_nothing_has_a_role(tree: Tree) -> None:
    dataset = import_source("instre", tree("instre"))
    assert dataset.table("queries").num_rows == dataset.table("members").num_rows == 0
    assert [problem for problem in dataset.problems if problem.where == "gnd_instre.mat"]


def test_the_published_numbers_add_up() -> None:
    """11,011 + 12,059 + 5,473; and the protocol takes its queries out of them."""
    published = instre.SOURCE.published
    assert published
    assert published.images == 11_011 + 12_059 + 5_473 == 27_293 + 1_250


# The protocol


@pytest.mark.parametrize("corners", [True, False])
def test_boxes_are_read_the_way_that_fits_the_box_files(corners: bool, protocol: Callable[..., Path]) -> None:
    dataset = import_source("instre", protocol(corners=corners))
    queries = rows(dataset, "queries")
    assert {id.removeprefix("instre/"): box(row) for id, row in queries.items()} == {
        key: found for key, (found, _) in small.QUERIES.items()
    }
    assert {row["kind"] for row in queries.values()} == {"box"}


def test_boxes_that_count_from_one_still_fit(protocol: Callable[..., Path]) -> None:
    shifted = [[x + 1, y + 1, x + w, y + h] for (x, y, w, h), _ in small.QUERIES.values()]
    queries = rows(import_source("instre", protocol(boxes=shifted)), "queries")
    assert box(queries["instre/INSTRE-S2/-01_clock/001.jpg"]) == [7, 3, 3, 8]


def test_boxes_that_fit_neither_way_are_an_error(protocol: Callable[..., Path]) -> None:
    boxes = [[x, y, x + w, y + h] for (x, y, w, h), _ in small.QUERIES.values()]
    boxes[2] = [6, 2, 4, 9]  # one by sizes among corners
    with pytest.raises(SourceError) as raised:
        import_source("instre", protocol(boxes=boxes))
    assert "query INSTRE-S2/-01_clock/001.jpg: box is [6.0, 2.0, 4.0, 9.0]" in raised.value.line
    assert "1 of 4 queries do not fit" in raised.value.line


def test_roles_and_positives_count_from_one(protocol: Callable[..., Path]) -> None:
    dataset = import_source("instre", protocol())
    members = {row["image_id"]: row["role"] for row in dataset.table("members").to_pylist()}
    assert Counter(members.values()) == {"query": 4, "gallery": 8}
    found: dict[str, set[str]] = {}
    for row in dataset.table("judgements").to_pylist():
        assert row["label"] == "positive"
        found.setdefault(row["query_id"].removeprefix("instre/"), set()).add(row["image_id"].removeprefix("instre/"))
    assert found == {key: set(positives) for key, (_, positives) in small.QUERIES.items()}
    pairs = relevance.relevance(dataset)
    assert pairs.num_rows == sum(len(positives) for _, positives in small.QUERIES.values())


def test_positives_agree_with_the_annotations(protocol: Callable[..., Path]) -> None:
    """Positives of an S1 query are in S1 and M, of an S2 query in S2: what instances say too."""
    dataset = import_source("instre", protocol())
    plain = dataset.replace(judgements=dataset.table("judgements").slice(0, 0))
    derived = {(row["query_id"], row["image_id"]) for row in relevance.relevance(plain).to_pylist()}
    judged = {(row["query_id"], row["image_id"]) for row in dataset.table("judgements").to_pylist()}
    assert derived == {pair for pair in judged if "/INSTRE-M/" not in pair[0]}


def test_a_query_of_m_asks_for_both_objects(protocol: Callable[..., Path]) -> None:
    query = rows(import_source("instre", protocol()), "queries")["instre/INSTRE-M/01/001.jpg"]
    assert (query["instance"], query["category"], query["annotation_id"]) == (None, None, None)
    assert query["group"] == "INSTRE-M/01"
    assert box(query) == [1, 2, 14, 11]  # around [1 2 3 4] and [9 8 6 5]


def test_images_that_only_the_protocol_names(protocol: Callable[..., Path]) -> None:
    root = protocol()
    for key in ("INSTRE-S1/01b_mr.bean/002", "INSTRE-S1/01b_mr.bean/001"):  # of the gallery; a query
        (root / f"{key}.jpg").unlink()
        (root / f"{key}.txt").unlink()
    dataset = import_source("instre", root)
    assert {item for _, item in findings(dataset, "I01")} == {f"instre/INSTRE-S1/01b_mr.bean/00{i}.jpg" for i in (1, 2)}
    row = images(dataset)["INSTRE-S1/01b_mr.bean/002.jpg"]
    assert (row["width"], row["file_name"]) == (None, "INSTRE-S1/01b_mr.bean/002.jpg")


def test_the_protocol_of_some_parts(protocol: Callable[..., Path]) -> None:
    dataset = import_source("instre", protocol(), splits=["S1"])
    assert set(rows(dataset, "queries")) == {f"instre/{key}" for key in small.QUERIES if "-S1/" in key}
    known = set(rows(dataset, "images"))
    assert {row["image_id"] for row in dataset.table("judgements").to_pylist()} <= known


def test_the_protocol_may_lie_elsewhere_or_be_left_aside(protocol: Callable[..., Path], tmp_path: Path) -> None:
    root = protocol()
    before = import_source("instre", root).fingerprint()
    assert import_source("instre", root, options={"gnd": "none"}).table("queries").num_rows == 0
    (root / "gnd_instre.mat").rename(tmp_path / "other.mat")
    assert import_source("instre", root, options={"gnd": str(tmp_path / "other.mat")}).fingerprint() == before
    with pytest.raises(UsageError, match="no such file"):
        import_source("instre", root, options={"gnd": str(tmp_path / "nowhere.mat")})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"positives": [[0], [1], [1], [1]]}, "names image 0; expected 1 to 8"),
        ({"positives": [[1], [9], [1], [1]]}, "names image 9; expected 1 to 8"),
        ({"qimlist": ["INSTRE-M/01/001.jpg"]}, "has 1 queries and 4 lists of positives"),
        ({"imlist": ["INSTRE-S1/../x.jpg"] * 8}, "names 'INSTRE-S1/../x.jpg'; expected INSTRE-S1/class/image.jpg"),
        ({"imlist": ["013.jpg"] * 8}, "names '013.jpg'"),
        ({"imlist": ["INSTRE-M/01/107.jpg"] * 8}, "INSTRE-M/01/107.jpg stands twice"),
        ({"boxes": [[float("nan")] * 4] * 4}, "a query's box is not finite"),
        ({"boxes": [[1, 2, 3]] * 4}, "is no file of the protocol"),
    ],
)
def test_a_protocol_that_does_not_fit_itself(changes: dict[str, Any], said: str, protocol: Callable[..., Path]) -> None:
    root = protocol(**changes)
    with pytest.raises(SourceError) as raised:
        import_source("instre", root)
    assert said in raised.value.line
    assert str(root / "gnd_instre.mat") in raised.value.line


@pytest.mark.parametrize("content", [b"", b"\xff\xfe rubbish", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_a_file_that_is_no_protocol(content: bytes, protocol: Callable[..., Path]) -> None:
    root = protocol()
    (root / "gnd_instre.mat").write_bytes(content)
    with pytest.raises(SourceError, match=r"gnd_instre\.mat, byte 124: no header of version 5 to 7\.2"):
        import_source("instre", root)


def test_a_query_in_the_gallery_is_reported(protocol: Callable[..., Path]) -> None:
    names = [*small.gallery()[:-1], "INSTRE-M/01/001.jpg"]
    dataset = import_source("instre", protocol(imlist=names))
    assert findings(dataset, "Q01") == [("Q01", "instre/INSTRE-M/01/001.jpg")]


def test_without_scipy_the_protocol_says_what_to_do(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("instre")
    (root / "gnd_instre.mat").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(UsageError, match="pip install") as raised:
        import_source("instre", root)
    assert "gnd=none" in raised.value.line
    assert import_source("instre", root, options={"gnd": "none"}).table("images").num_rows == 12


def test_an_archive_that_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/instre.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SourceError, match="unpack the archives there first"):
        import_source("instre", tmp_path / "raw")


def test_a_link_that_leaves_the_root(tree: Tree, tmp_path: Path) -> None:
    root = tree("instre")
    file = root / "INSTRE-S2/tower/001.jpg"
    file.rename(tmp_path / "outside.jpg")
    file.symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(SourceError, match="is a link that leaves"):
        import_source("instre", root)
