"""ILIAS: its ids, lists, boxes and text queries, the stream of distractors, and the golden lists."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curate import relevance
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from curate.sources import _ilias_lists as lists
from curate.sources import _text_blocks
from tests.sources.looking import annotations, box, categories, coverage, findings, images

Tree = Callable[..., Path]
Curate = Callable[..., Any]


def rows(dataset: Dataset, name: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in dataset.table(name).to_pylist()}


def roles(dataset: Dataset) -> dict[str, str]:
    """Role by image; an image with two would show as a mistake here."""
    found = [(row["image_id"].removeprefix("ilias/"), row["role"]) for row in dataset.table("members").to_pylist()]
    assert len(found) == len(dict(found))
    return dict(found)


def whole(tree: Tree) -> Dataset:
    return import_source("ilias", tree("ilias"))


# Ids, roles and relevance


def test_ids_are_paths_below_ilias_core(tree: Tree) -> None:
    dataset = whole(tree)
    assert set(images(dataset)) == {
        "-jolly_snop_003/pos/P003_00.jpg",
        "-jolly_snop_003/query/Q003_00.jpg",
        "bold_bimp_000/pos/P000_00.jpg",
        "bold_bimp_000/pos/P000_01.jpg",
        "bold_bimp_000/query/Q000_00.jpg",
        "cozy_flup_001/pos/P001_00.jpg",
        "cozy_flup_001/pos/P001_01.jpg",
        "cozy_flup_001/query/Q001_00.jpg",
        "cozy_flup_001/query/Q001_01.jpg",
        "posy_wib_002/pos/P002_00.jpg",
        "posy_wib_002/pos/P002_01.jpg",  # listed only
        "posy_wib_002/query/Q002_00.jpg",
    }
    assert images(dataset)["bold_bimp_000/pos/P000_00.jpg"]["file_name"] == "ilias_core/bold_bimp_000/pos/P000_00.jpg"


def test_lists_give_the_roles(tree: Tree) -> None:
    dataset = whole(tree)
    found = roles(dataset)
    assert Counter(found.values()) == {"query": 5, "gallery": 6}
    assert all((role == "query") == ("/query/" in key) for key, role in found.items())
    assert "cozy_flup_001/pos/P001_01.jpg" not in found
    assert ("N05", "ilias/cozy_flup_001/pos/P001_01.jpg") in findings(dataset)


def test_image_and_text_queries_share_the_ground_truth(tree: Tree) -> None:
    dataset = whole(tree)
    pairs: dict[str, set[str]] = {}
    for row in relevance.relevance(dataset).to_pylist():
        assert row["label"] == "positive"
        pairs.setdefault(row["query_id"], set()).add(row["image_id"].rpartition("/")[2])
    expected = {
        "bold_bimp_000": {"P000_00.jpg", "P000_01.jpg"},
        "cozy_flup_001": {"P001_00.jpg"},
        "posy_wib_002": {"P002_00.jpg", "P002_01.jpg"},
        "-jolly_snop_003": {"P003_00.jpg"},
    }
    assert len(pairs) == 9
    for query, found in pairs.items():
        assert found == expected[query.split("/")[1]], query
    # All other images of the gallery are negatives, none is unjudged.
    assert set(relevance.overview(dataset)["unjudged"].to_pylist()) == {0}


def test_text_queries(tree: Tree) -> None:
    dataset = whole(tree)
    query = rows(dataset, "queries")["ilias/bold_bimp_000/query/T000.txt"]
    assert (query["kind"], query["text"]) == ("text", "A small object number 0, of tin.")
    assert query["image_id"] is None
    assert query["instance"] == query["group"] == "ilias/bold_bimp_000"
    assert rows(dataset, "instances")["ilias/bold_bimp_000"]["description"] == query["text"]
    assert Counter(row["kind"] for row in rows(dataset, "queries").values()) == {"image": 5, "text": 4}


def test_a_text_query_that_no_list_names_is_left_out(tree: Tree) -> None:
    root = tree("ilias")
    (root / "ilias_core/bold_bimp_000/query/T900.txt").write_text("Another text")
    dataset = import_source("ilias", root)
    assert "ilias/bold_bimp_000/query/T900.txt" not in rows(dataset, "queries")
    (left_out,) = [problem for problem in dataset.problems if problem.code == "N02"]
    assert left_out.where == "ilias_core/bold_bimp_000/query/T900.txt"


def test_coverage_and_splits(tree: Tree) -> None:
    root = tree("ilias")
    dataset = import_source("ilias", root)
    assert {scope: state for (scope, _), state in coverage(dataset).items()} == {
        "ilias/query": "exhaustive",
        "ilias/pos": "exhaustive",
    }
    everything = import_source("ilias", root, options={"distractors": "all"})
    assert coverage(everything)["ilias/distractor", "*"] == "exhaustive"
    only = import_source("ilias", root, splits=["pos"])
    assert set(roles(only).values()) == {"gallery"}
    assert only.table("queries").num_rows == 0


# Boxes


def test_boxes_are_kept_as_found(tree: Tree) -> None:
    dataset = whole(tree)
    first, second = annotations(dataset, "P000_00")
    assert (box(first), box(second)) == ([0, 0, 4, 3], [6, 5, 4, 4])
    assert [first["id"], second["id"]] == [f"ilias/bold_bimp_000/pos/P000_00.jpg#{i:04d}" for i in range(2)]
    assert first["instance"] == second["instance"] == "ilias/bold_bimp_000"
    assert (first["source_label"], first["area"]) == ("bold_bimp_000", 12)
    assert [box(row) for row in annotations(dataset, "P001_00")] == [[3, 3, 2, 2]]  # with a Windows line end
    assert [box(row) for row in annotations(dataset, "P000_01")] == [[1, 1, 16, 12]]  # 16 x 12: exact at w + 1
    assert ("B03", "ilias/posy_wib_002/pos/P002_00.jpg#0000") in findings(dataset)


def test_an_image_without_box_still_shows_its_object(tree: Tree) -> None:
    dataset = whole(tree)
    for key, where in (("query/Q001_01", "Q001_01.jpg"), ("pos/P001_01", "P001_01_bbox.txt")):
        (row,) = annotations(dataset, key)
        assert (box(row), row["instance"]) == ([None] * 4, "ilias/cozy_flup_001")
        assert [p for p in dataset.problems if p.item == row["image_id"] and p.where.endswith(where)]


def test_a_query_s_box_is_the_union_of_its_boxes(tree: Tree) -> None:
    queries = rows(whole(tree), "queries")
    query = queries["ilias/cozy_flup_001/query/Q001_00.jpg"]
    assert (box(query), query["annotation_id"]) == ([1, 1, 11, 9], None)
    query = queries["ilias/bold_bimp_000/query/Q000_00.jpg"]
    assert box(query) == [2, 3, 5, 4]
    assert query["annotation_id"] == "ilias/bold_bimp_000/query/Q000_00.jpg#0000"
    assert box(queries["ilias/cozy_flup_001/query/Q001_01.jpg"]) == [None] * 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3\n", ":1: line is '1 2 3'; expected 4 integers: x y w h"),
        ("1 2 3 4\n1 2 nan 4\n", ":2: line is '1 2 nan 4'"),
        ("1 2 3.5 4\n", ":1: line is '1 2 3.5 4'"),
        ("5 5 -2 3\n", r":1: box [5, 5, -2, 3] has a negative size"),
        ("0 0.5 0.5 0.2 0.2\n", ":1: line is"),  # of another format
    ],
)
def test_a_broken_box_file(text: str, said: str, tree: Tree, curate: Curate, tmp_path: Path) -> None:
    root = tree("ilias")
    file = root / "ilias_core/bold_bimp_000/pos/P000_00_bbox.txt"
    file.write_text(text)
    failed = curate("import", "ilias", root, "-o", "out", code=1)
    assert f"{file}{said}" in failed.stderr
    assert "1 of 12 images are broken" in failed.stderr
    assert not (tmp_path / "out").exists()
    done = json.loads(curate("import", "ilias", root, "-o", "out", "--skip-bad", "--json").stdout)
    assert (done["counts"]["images"], done["findings"]["N03"]) == (11, 1)


def test_a_turned_picture_is_reported(tree: Tree) -> None:
    root = tree("ilias")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 12)).save(root / "ilias_core/bold_bimp_000/pos/P000_00.jpg", exif=exif)
    dataset = import_source("ilias", root)
    assert images(dataset)["bold_bimp_000/pos/P000_00.jpg"]["orientation"] == 6
    assert findings(dataset, "I06") == [("I06", "ilias/bold_bimp_000/pos/P000_00.jpg")]


def test_a_picture_called_bbox_is_none(tree: Tree) -> None:
    """The README's tree once writes _bbox.png."""
    root = tree("ilias")
    Image.new("RGB", (16, 12)).save(root / "ilias_core/bold_bimp_000/pos/P000_00_bbox.png")
    assert len(images(import_source("ilias", root))) == 12


# Lists, taxonomy, licences


def test_taxonomy_places_objects(tree: Tree) -> None:
    dataset = whole(tree)
    instances = rows(dataset, "instances")
    assert instances["ilias/posy_wib_002"]["taxonomy"] == "art/public art/3d print"
    assert instances["ilias/posy_wib_002"]["category"] == "art/public art/3d print"
    assert {name: row["supercategory"] for name, row in categories(dataset).items()} == {
        "product/food/cake": "product",
        "product/drink/other": "product",
        "art/public art/3d print": "art",
    }
    assert {row["category"] for row in annotations(dataset, "P000")} == {"product/food/cake"}


def test_without_taxonomy_and_object_missing_in_it(tree: Tree) -> None:
    root = tree("ilias")
    (root / "misc/taxonomy.json").write_text('{"art": {"x": {"y": ["bold_bimp_000", "posy_wib_002"]}}}')
    dataset = import_source("ilias", root)
    assert rows(dataset, "instances")["ilias/cozy_flup_001"]["category"] == "object"
    assert {item for _, item in findings(dataset, "R03")} == {"ilias/cozy_flup_001", "ilias/-jolly_snop_003"}
    (root / "misc/taxonomy.json").unlink()
    dataset = import_source("ilias", root)
    assert set(categories(dataset)) == {"object"}
    assert [problem for problem in dataset.problems if "taxonomy" in problem.message]


def test_an_object_twice_in_the_taxonomy(tree: Tree) -> None:
    root = tree("ilias")
    text = '{"b": {"x": {"y": ["bold_bimp_000"]}, "z": {"y": ["bold_bimp_000"]}}}'
    (root / "misc/taxonomy.json").write_text(text)
    dataset = import_source("ilias", root)
    assert rows(dataset, "instances")["ilias/bold_bimp_000"]["taxonomy"] == "b/x/y"
    assert findings(dataset, "R01") == [("R01", "bold_bimp_000")]


def test_misc_may_lie_elsewhere(tree: Tree, tmp_path: Path) -> None:
    root = tree("ilias")
    before = import_source("ilias", root).fingerprint()
    (root / "misc").rename(tmp_path / "elsewhere")
    assert import_source("ilias", root).fingerprint() != before
    assert import_source("ilias", root, options={"misc": str(tmp_path / "elsewhere")}).fingerprint() == before
    with pytest.raises(UsageError, match="no such folder"):
        import_source("ilias", root, options={"misc": str(tmp_path / "nowhere")})


def test_licences(tree: Tree) -> None:
    root = tree("ilias")
    held = images(import_source("ilias", root))
    assert held["bold_bimp_000/pos/P000_00.jpg"]["licence"] == "CC BY 4.0"
    assert held["bold_bimp_000/pos/P000_01.jpg"]["licence"] == "that of its address"  # not in the list
    other = held["cozy_flup_001/pos/P001_00.jpg"]
    assert other["attributes"]["ilias"]["url"] == "https://example.org/photo.jpg"
    (root / "misc/ilias_core_captured.txt").unlink()
    held = images(import_source("ilias", root))
    assert held["bold_bimp_000/pos/P000_00.jpg"]["licence"] is None  # nobody says
    assert held["cozy_flup_001/pos/P001_00.jpg"]["licence"] == "that of its address"


def test_scale_clutter_and_further_columns(tree: Tree) -> None:
    held = images(whole(tree))
    assert held["bold_bimp_000/pos/P000_00.jpg"]["attributes"]["ilias"] == {"scale": 0.075971, "clutter": 43}
    assert held["bold_bimp_000/query/Q000_00.jpg"]["attributes"]["ilias"] == {"columns": ["0.35", "0"]}


def test_a_listed_image_without_file(tree: Tree) -> None:
    dataset = whole(tree)
    assert findings(dataset, "I01") == [("I01", "ilias/posy_wib_002/pos/P002_01.jpg")]
    row = images(dataset)["posy_wib_002/pos/P002_01.jpg"]
    assert (row["width"], row["file_name"]) == (None, "ilias_core/posy_wib_002/pos/P002_01.jpg")


def test_folder_names_that_upstream_takes_twice(tree: Tree) -> None:
    (found,) = [problem for problem in whole(tree).problems if "extractor" in problem.message]
    assert found.item == "ilias/posy_wib_002"


def test_lists_without_images_and_images_without_lists(tree: Tree) -> None:
    root = tree("ilias")
    (root / "ilias_core").rename(root / "hidden")
    dataset = import_source("ilias", root)
    assert Counter(roles(dataset).values()) == {"query": 5, "gallery": 6}
    assert not findings(dataset, "I01")
    assert rows(dataset, "queries")["ilias/bold_bimp_000/query/T000.txt"]["text"] is None
    (root / "hidden").rename(root / "ilias_core")
    (root / "image_ids").rename(root / "hidden")
    dataset = import_source("ilias", root)
    assert Counter(roles(dataset).values()) == {"query": 5, "gallery": 6}
    assert roles(dataset)["cozy_flup_001/pos/P001_01.jpg"] == "gallery"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (lists.POSITIVES, "a_000/pos/P.jpg,0.5\n", ":1: 2 columns; expected 3: id, scale, clutter"),
        (lists.POSITIVES, "\na_000/pos/P.jpg,nan,3\n", ":2: scale and clutter are nan, 3"),
        (lists.POSITIVES, "a_000/pos/P.jpg,0.5,3.5\n", ":1: scale and clutter are 0.5, 3.5"),
        (lists.POSITIVES, "a_000/pos/P.jpg,0.5,3\na_000/pos/P.jpg,0.5,3\n", ":2: a_000/pos/P.jpg stands twice"),
        (lists.POSITIVES, "../pos/P.jpg,0.5,3\n", ":1: id is '../pos/P.jpg'"),
        (lists.QUERIES, "a_000/query/Q.jpg\n", ":1: 1 column"),
        (lists.TEXTS, "T000.txt\n", ":1: id is 'T000.txt'; expected object/query/file"),
        (lists.TEXTS, "a_000/query/T000.txt,1\n", ":1: 2 columns; expected one id per line"),
    ],
)
def test_broken_lists(file: str, text: str, said: str, tree: Tree) -> None:
    root = tree("ilias")
    (root / file).write_text(text)
    with pytest.raises(SourceError) as raised:
        import_source("ilias", root)
    assert f"{root / file}{said}" in raised.value.line


def test_an_archive_that_is_not_unpacked(tree: Tree, tmp_path: Path) -> None:
    root = tree("ilias")
    (root / "ilias_core").rename(tmp_path / "away")
    (root / "ilias_core.tar").write_bytes(b"tar")
    with pytest.raises(SourceError, match=r"ilias_core\.tar: is not unpacked"):
        import_source("ilias", root)
    (tmp_path / "download").mkdir()
    (root / "ilias_core.tar").rename(tmp_path / "download/ilias_core.tar")
    with pytest.raises(SourceError, match="unpack the archives there first"):
        import_source("ilias", tmp_path / "download")


def test_a_link_that_leaves_the_root(tree: Tree, tmp_path: Path) -> None:
    root = tree("ilias")
    file = root / "ilias_core/bold_bimp_000/pos/P000_00_bbox.txt"
    file.rename(tmp_path / "outside.txt")
    file.symlink_to(tmp_path / "outside.txt")
    with pytest.raises(SourceError, match="is a link that leaves"):
        import_source("ilias", root)
    assert "N03" in {code for code, _ in findings(import_source("ilias", root, skip_bad=True))}


# Distractors


def test_distractors_are_rows_where_asked_for(tree: Tree) -> None:
    root = tree("ilias")
    assert import_source("ilias", root).table("images").num_rows == 12
    some = import_source("ilias", root, options={"distractors": "5"})
    assert some.table("images").num_rows == 17
    every = import_source("ilias", root, options={"distractors": "all"})
    assert Counter(roles(every).values()) == {"query": 5, "gallery": 6, "distractor": 12}
    row = images(every)["yfcc100m-000002.tar/0002" + f"{3:028x}"]
    assert (row["source_split"], row["width"], row["file_name"]) == ("distractor", None, None)
    counts = relevance.overview(every, ["ilias/bold_bimp_000/query/T000.txt"]).to_pylist()[0]
    assert (counts["positive"], counts["negative"], counts["unjudged"]) == (2, 16, 0)
    alone = import_source("ilias", root, splits=["distractor"], options={"distractors": "all"})
    assert alone.table("images").num_rows == 12
    for wrong in ("many", "-1"):
        with pytest.raises(UsageError, match="expected none, all or a number"):
            import_source("ilias", root, options={"distractors": wrong})
    with pytest.raises(UsageError, match="distractors=all"):
        import_source("ilias", root, splits=["distractor"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"a.tar/1\nb\n"), r":2: id is 'b'; expected shard/key"),
        (gzip.compress(b"a.tar/1\n\na.tar/2\n"), r":2: id is ''"),
        (gzip.compress(b"a.tar/1\n" * 99)[:-9], ": is cut short or damaged"),
        (b"a.tar/1\n", ": cannot be read"),
        (gzip.compress(b"a.tar/\xff\n"), ": holds text that is not UTF-8"),
        (gzip.compress(b"x" * (1 << 23)), ": a line is longer than 4096 bytes"),
    ],
)
def test_a_broken_list_of_distractors(content: bytes, said: str, tree: Tree) -> None:
    root = tree("ilias")
    (root / lists.DISTRACTORS).write_bytes(content)
    with pytest.raises(SourceError) as raised:
        import_source("ilias", root, options={"distractors": "all"})
    assert f"{root / lists.DISTRACTORS}{said}" in raised.value.line


def test_the_stream_keeps_order_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"yfcc100m-{i // 7:06d}.tar/{i * 7919:x}" for i in range(1000)]
    (tmp_path / "ids.gz").write_bytes(gzip.compress("\n".join(names).encode()))  # no newline at the end
    monkeypatch.setattr(_text_blocks, "_BLOCK", 37)
    read = [name for part in lists.stream_distractors(tmp_path / "ids.gz") for name in part.to_pylist()]
    assert read == names
    for limit in (0, 1, 500, 2000):
        parts = lists.stream_distractors(tmp_path / "ids.gz", limit)
        assert [name for part in parts for name in part.to_pylist()] == names[:limit]


STREAM = """
import re, sys
from pathlib import Path
from curate.sources import ilias
rows = sum(table.num_rows for name, table in ilias.tables(Path(sys.argv[1]), (), distractors="all") if name == "images")
# Of this program alone: what getrusage says begins with the memory of the process that started it.
print(rows, int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def streamed(root: Path, number: int) -> tuple[int, int]:
    """Rows that came of ``number`` listed distractors, and MB that a process of its own used at most."""
    with gzip.open(root / lists.DISTRACTORS, "wb", compresslevel=1) as stream:
        for shard in range(number // 100_000):
            lines = (f"yfcc100m-{shard:06d}.tar/{shard * 0x9E3779B97F4A7C15 + key:032x}\n" for key in range(100_000))
            stream.write("".join(lines).encode())
    done = subprocess.run([sys.executable, "-c", STREAM, str(root)], capture_output=True, text=True, check=True)
    rows, peak = map(int, done.stdout.split())
    return rows, peak


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_memory_does_not_grow_with_the_distractors(tree: Tree) -> None:
    root = tree("ilias")
    _, few = streamed(root, 200_000)
    rows, many = streamed(root, 1_000_000)
    assert rows == 1_000_000
    assert many < 300
    assert many - few < 30


@pytest.mark.benchmark
def test_ten_million_distractors_stream_in_300_mb(tree: Tree) -> None:
    rows, peak = streamed(tree("ilias"), 10_000_000)
    print(f"10 M distractor ids: {peak} MB")
    assert (rows, peak < 300) == (10_000_000, True)


# Golden lists


def test_golden_lists(shared: Path) -> None:
    case = shared / "golden/ilias/case_1"
    options = {"distractors": "all", "misc": str(case / "misc")}
    dataset = import_source("ilias", case / "dataset", options=options)
    expected = json.loads((case / "expected.json").read_text())["1"]["from_json"]
    queries = rows(dataset, "queries")
    assert {id.removeprefix("ilias/") for id in queries} == set(expected["queries"])
    similarities = json.loads((case / "similarities.json").read_text())
    assert {key for found in similarities.values() for key in found} <= set(images(dataset))
    assert Counter(roles(dataset).values()) == {"query": 10, "gallery": 31, "distractor": 60}
    pairs = Counter(row["query_id"] for row in relevance.relevance(dataset).to_pylist())
    assert pairs["ilias/bold_bimp_000/query/T000.txt"] == 1
    assert pairs["ilias/jolly_flup_007/query/Q007_01.jpg"] == 6
    # The evaluator's report knows objects by "coarse" and "coarse-mid".
    places = {row["taxonomy"].split("/")[0] for row in rows(dataset, "instances").values()}
    assert places == set(expected["categories"])
    mids = {"-".join(row["taxonomy"].split("/")[:2]) for row in rows(dataset, "instances").values()}
    assert mids == set(expected["subcategories"])


def test_golden_scores_follow_from_our_relevance(shared: Path) -> None:
    """AP@k by its definition, with positives and gallery as imported, is what ILIAS's evaluator computed."""
    case = shared / "golden/ilias/case_1"
    dataset = import_source("ilias", case / "dataset", options={"distractors": "all", "misc": str(case / "misc")})
    relevant: dict[str, set[str]] = {}
    for row in relevance.relevance(dataset).to_pylist():
        relevant.setdefault(row["query_id"].removeprefix("ilias/"), set()).add(row["image_id"].removeprefix("ilias/"))
    similarities = json.loads((case / "similarities.json").read_text())
    seen = 0
    for k, report in json.loads((case / "expected.json").read_text()).items():
        for query, score in zip(report["from_json"]["queries"], report["from_json"]["aps"], strict=True):
            ranked = sorted(similarities[query], key=similarities[query].get, reverse=True)[: int(k)]
            hits = [rank for rank, id in enumerate(ranked, start=1) if id in relevant[query]]
            precisions = [i / rank for i, rank in enumerate(hits, start=1)]
            assert score == pytest.approx(100 * sum(precisions) / min(int(k), len(relevant[query]))), (k, query)
            seen += 1
    assert seen > 18
