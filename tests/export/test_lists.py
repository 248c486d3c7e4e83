"""TREC-style lists: read back by splitting at white space, as TREC's programs do."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import relevance, store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import lists
from curate.importing import import_source
from curate.model import Annotation, Coverage, Image, Info, Judgement, Member, Query, Support

Tree = Callable[[str], Path]


def small(*records: Any) -> Dataset:
    images = [Image(id=f"s/{key}", source="s", file_name=f"pics/{key}.png") for key in ("a", "b", "c d", "q")]
    roles = {"a": "gallery", "b": "gallery", "c d": "distractor", "q": "query"}
    members = [Member(image_id=f"s/{key}", role=role) for key, role in roles.items()]  # type: ignore[arg-type]
    return from_records(Info(name="cups"), [*images, *members, *records])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def qrels(path: Path) -> dict[tuple[str, str], int]:
    """As trec_eval reads them: four columns, parted by any white space."""
    rows = [line.split() for line in path.read_text("utf-8").splitlines()]
    assert all(len(row) == 4 and row[1] == "0" for row in rows)
    return {(query, image): int(grade) for query, _, image, grade in rows}


def test_judged_pairs(tmp_path: Path) -> None:
    labels = {"a": "easy", "b": "junk", "c d": "negative"}
    dataset = small(
        Query(id="one", kind="box", group="g", image_id="s/q", x=0.5, y=1, w=20.25, h=1e6),
        *(Judgement(query_id="one", image_id=f"s/{key}", label=label) for key, label in labels.items()),  # type: ignore[arg-type]
    )
    counts = lists.write(dataset, tmp_path / "out")
    assert qrels(tmp_path / "out/qrels.txt") == {("one", "s/a"): 1, ("one", "s/b"): -1, ("one", "s/c%20d"): 0}
    names = {"kind": "box", "group": "g", "category": "", "instance": "", "text": ""}
    box = {"x": "0.5", "y": "1", "w": "20.25", "h": "1000000"}
    assert table(tmp_path / "out/queries.tsv") == [
        {"id": "one", **names, "image": "s/q", "path": "s/pics/q.png", **box}
    ]
    assert table(tmp_path / "out/gallery.tsv") == [
        {"id": "s/a", "role": "gallery", "path": "s/pics/a.png"},
        {"id": "s/b", "role": "gallery", "path": "s/pics/b.png"},
        {"id": "s/c%20d", "role": "distractor", "path": "s/pics/c d.png"},
    ]
    assert counts == {
        "queries": 1,
        "positive_pairs": 1,
        "ignored_pairs": 1,
        "gallery_images": 3,
        "support_rows": 0,
        "unjudged_pairs": 0,
    }
    assert not (tmp_path / "out/support.tsv").exists()


def test_pairs_from_annotations(tmp_path: Path) -> None:
    dataset = small(
        Query(id="cup", kind="text", text="a\tcup,\n  made of  tin ", instance="i/1"),
        Support(query_id="cup", rank=0, text="tin cup"),
        Support(query_id="cup", rank=1, image_id="s/q", x=1, y=2, w=3, h=4),
        Annotation(id="s/a#0", image_id="s/a", instance="i/1", x=0, y=0, w=5, h=5),
        Coverage(scope="s/b", category="*", state="exhaustive"),
    )
    counts = lists.write(dataset, tmp_path / "out")
    assert qrels(tmp_path / "out/qrels.txt") == {("cup", "s/a"): 1}
    assert counts["unjudged_pairs"] == 1  # s/c d; s/b is a negative that need not be listed
    (query,) = table(tmp_path / "out/queries.tsv")
    assert query["text"] == "a cup, made of tin"
    assert (query["image"], query["path"], query["x"]) == ("", "", "")
    text, box = table(tmp_path / "out/support.tsv")
    assert (text["rank"], text["text"], text["image"]) == ("0", "tin cup", "")
    assert (box["image"], box["path"], [box[side] for side in "xywh"]) == ("s/q", "s/pics/q.png", ["1", "2", "3", "4"])


@pytest.mark.parametrize("name", ["searchad", "revisitop", "ilias", "permir"])
def test_benchmarks(tree: Tree, tmp_path: Path, name: str) -> None:
    dataset = import_source(name, tree(name))
    lists.write(dataset, tmp_path / "out")
    grades = {"positive": 1, "easy": 1, "hard": 1, "negative": 0, "ignore": -1, "junk": -1}
    expected = {
        (row["query_id"], row["image_id"]): grades[row["label"]] for row in relevance.relevance(dataset).to_pylist()
    }
    assert expected
    assert qrels(tmp_path / "out/qrels.txt") == expected
    assert [row["id"] for row in table(tmp_path / "out/gallery.tsv")] == relevance.gallery(dataset).to_pylist()
    assert [row["id"] for row in table(tmp_path / "out/queries.tsv")] == dataset.table("queries")["id"].to_pylist()


def test_bad_datasets(tmp_path: Path) -> None:
    def refused(message: str, dataset: Dataset, **options: Any) -> None:
        with pytest.raises((SchemaError, UsageError), match=message):
            lists.write(dataset, tmp_path / "out", **options)
        assert not any(tmp_path.iterdir())

    one = Query(id="one", kind="text", text="cup", instance="i/1")
    refused("cups: has no queries", small())
    refused("table images, id 's/c d': would be written as 's/c%20d' is", small(one, Image(id="s/c%20d", source="s")))
    assert lists._escaped("a\u00a0b\tc é“%") == "a%C2%A0b%09c%20é“%"
    refused("--compat upstream: is no variant of lists", small(one), compat="upstream")


def test_by_command(tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(small(Query(id="one", kind="text", text="cup", instance="i/1")), tmp_path / "ds")
    assert curate("export", "lists", "ds", "-o", "out").stdout.startswith("out: 1 queries, 0 positive pairs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    curate("export", "lists", "ds", "-o", "out", "--overwrite")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out/notes.txt").write_text("mine")
    assert "is no output of this command" in curate("export", "lists", "ds", "-o", "out", "--overwrite", code=2).stderr
