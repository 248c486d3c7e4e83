"""Revisited Oxford and Paris: ground truth from a pickle that cannot run, groups, judgements, and the distractors."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import relevance
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.importing import import_source
from tests.sources.looking import coverage, findings, images

Tree = Callable[..., Path]
Curate = Callable[..., Any]

_spec = importlib.util.spec_from_file_location("tree_of_revisitop", Path(__file__).parent / "revisitop/tree.py")
assert _spec
assert _spec.loader
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)

OXFORD = small.truth("roxford5k")


def judged(dataset: Dataset) -> dict[str, dict[str, list[str]]]:
    """Image ids by query id and label."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in dataset.table("judgements").to_pylist():
        found.setdefault(row["query_id"], {}).setdefault(row["label"], []).append(row["image_id"])
    return found


def rewrite(root: Path, change: Callable[[dict[str, Any]], object], part: str = "roxford5k") -> None:
    path = root / part / f"gnd_{part}.pkl"
    held = pickle.loads(path.read_bytes())
    change(held)
    path.write_bytes(pickle.dumps(held, 2))


def test_labels_belong_to_pairs(tree: Tree) -> None:
    dataset = import_source("revisitop", tree("revisitop"), splits=("roxford5k",))
    names = [f"revisitop/roxford5k/{name}" for name in OXFORD["imlist"]]
    for name, entry in zip(OXFORD["qimlist"], OXFORD["gnd"], strict=True):
        expected = {label: sorted(names[i] for i in entry[label]) for label in ("easy", "hard", "junk") if entry[label]}
        assert judged(dataset).get(f"revisitop/roxford5k/{name}", {}) == expected
    # One image is easy for one query, hard for another, junk for a third.
    found = judged(dataset)
    labels = {q: label for q, lists in found.items() for label, ids in lists.items() if names[0] in ids}
    assert set(labels.values()) == {"easy", "hard", "junk"}


def test_every_other_image_is_a_negative(tree: Tree) -> None:
    dataset = import_source("revisitop", tree("revisitop"), splits=("roxford5k",))
    assert coverage(dataset) == {("revisitop/roxford5k", "*"): "exhaustive"}
    rows = {row["query_id"].rpartition("/")[2]: row for row in relevance.overview(dataset).to_pylist()}
    counts = {name: [row[k] for k in ("positive", "ignored", "negative", "unjudged")] for name, row in rows.items()}
    assert counts == {
        "all_souls_000013": [2, 1, 2, 0],
        "all_souls_000026": [2, 0, 3, 0],
        "bodleian_000107": [1, 2, 2, 0],
        "oxford_002985": [0, 1, 4, 0],
    }


def test_queries_are_regions_and_stand_outside_the_database(tree: Tree) -> None:
    dataset = import_source("revisitop", tree("revisitop"))
    queries = {row["id"]: row for row in dataset.table("queries").to_pylist()}
    assert len(queries) == 5
    row = queries["revisitop/roxford5k/all_souls_000013"]
    assert [row[side] for side in "xywh"] == [2.5, 1.0, 17.75, 16.0]
    assert (row["kind"], row["image_id"]) == ("box", row["id"])
    roles = {(row["image_id"], row["role"]) for row in dataset.table("members").to_pylist()}
    assert {image for image, role in roles if role == "query"} == set(queries)
    assert len(roles) == len(images(dataset)) == 13
    # A region that leaves its image is kept as found.
    row = queries["revisitop/roxford5k/oxford_002985"]
    assert [row[side] for side in "xywh"] == [-1, -2, 31, 21.5]


def test_queries_with_the_same_positives_are_one_group(tree: Tree) -> None:
    dataset = import_source("revisitop", tree("revisitop"))
    groups = {row["id"].partition("/")[2]: row["group"] for row in dataset.table("queries").to_pylist()}
    assert groups == {
        "roxford5k/all_souls_000013": "roxford5k/all_souls_000013",
        "roxford5k/all_souls_000026": "roxford5k/all_souls_000013",
        "roxford5k/bodleian_000107": "roxford5k/bodleian_000107",
        "roxford5k/oxford_002985": "roxford5k/oxford_002985",  # none to share
        "rparis6k/paris_defense_000002": "rparis6k/paris_defense_000002",
    }
    assert {row["id"] for row in dataset.table("instances").to_pylist()} == set(groups.values())


def test_the_places_in_the_lists_are_kept(tree: Tree) -> None:
    dataset = import_source("revisitop", tree("revisitop"), options={"distractors": "all"})
    places = {key: row["attributes"]["revisitop"] for key, row in images(dataset).items()}
    for part in ("roxford5k", "rparis6k"):
        held = small.truth(part)
        assert [places[f"{part}/{name}"] for name in held["imlist"]] == [
            {"index": i} for i in range(len(held["imlist"]))
        ]
        assert [places[f"{part}/{name}"] for name in held["qimlist"]] == [{"query": i} for i in range(len(held["gnd"]))]
    assert [places[f"revisitop1m/{path}"]["index"] for path in small.DISTRACTORS] == [0, 1, 2, 3]


def test_distractors_are_known_by_id_and_never_positive(tree: Tree) -> None:
    root = tree("revisitop")
    assert not [key for key in images(import_source("revisitop", root)) if key.startswith("revisitop1m/")]
    dataset = import_source("revisitop", root, splits=("roxford5k", "revisitop1m"), options={"distractors": "all"})
    found = {key: row for key, row in images(dataset).items() if key.startswith("revisitop1m/")}
    assert set(found) == {f"revisitop1m/{path}" for path in small.DISTRACTORS}
    assert found["revisitop1m/a 1/0c3.jpg"]["file_name"] == "revisitop1m/jpg/a 1/0c3.jpg"
    assert {row["width"] for row in found.values()} == {None}
    for row in relevance.overview(dataset).to_pylist():
        assert row["positive"] + row["ignored"] + row["negative"] == 5 + 4
    two = import_source("revisitop", root, options={"distractors": "2"})
    assert len([key for key in images(two) if key.startswith("revisitop1m/")]) == 2


@pytest.mark.parametrize("number", ["many", "-1", "1.5"])
def test_an_unclear_number_of_distractors(number: str, tree: Tree) -> None:
    with pytest.raises(UsageError, match="expected all, none or a number"):
        import_source("revisitop", tree("revisitop"), options={"distractors": number})


@pytest.mark.parametrize(
    ("content", "said"),
    [("a.jpg\n../b.jpg\n", ":2"), ("/etc/passwd\n", ":1"), ("a.jpg\n\nb.jpg\n", ":2"), ("a\x07.jpg\n", ":1")],
)
def test_a_broken_list_of_distractors(content: str, said: str, tree: Tree) -> None:
    root = tree("revisitop")
    path = root / "revisitop1m/revisitop1m.txt"
    path.write_text(content)
    with pytest.raises(SourceError, match="expected a path inside jpg/") as raised:
        import_source("revisitop", root, options={"distractors": "all"})
    assert raised.value.line.startswith(f"{path}{said}: ")
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        import_source("revisitop", root, options={"distractors": "all"})


def test_both_layouts_give_the_same(tree: Tree, tmp_path: Path) -> None:
    root = tree("revisitop")
    (tmp_path / "outer").mkdir()
    root.rename(tmp_path / "outer/datasets")
    outer = import_source("revisitop", tmp_path / "outer")
    assert outer.fingerprint() == import_source("revisitop", tmp_path / "outer/datasets").fingerprint()
    assert images(outer)["rparis6k/paris_eiffel_000128"]["file_name"] == "datasets/rparis6k/jpg/paris_eiffel_000128.jpg"
    with pytest.raises(SourceError, match=r"name the folder above"):
        import_source("revisitop", tmp_path / "outer/datasets/roxford5k")


def test_arrays_and_python_2_read_as_well(tree: Tree) -> None:
    root = tree("revisitop")
    plain = import_source("revisitop", root).fingerprint()

    def as_arrays(held: dict[str, Any]) -> None:
        for entry in held["gnd"]:
            entry |= {label: np.array(entry[label]) for label in ("easy", "hard", "junk")}  # float where empty
            entry["bbx"] = np.array([entry["bbx"]], np.float32)

    rewrite(root, as_arrays)
    assert import_source("revisitop", root).fingerprint() == plain
    path = root / "rparis6k/gnd_rparis6k.pkl"
    held = small.truth("rparis6k")
    text = pickle.dumps(held, 2)
    for word in ("imlist", "qimlist", "gnd", "bbx", "easy", "hard", "junk", *held["imlist"], *held["qimlist"]):
        long = b"X" + len(word).to_bytes(4, "little") + word.encode()
        text = text.replace(long, b"U" + bytes([len(word)]) + word.encode())
    assert b"X" not in text
    path.write_bytes(text)
    assert import_source("revisitop", root).fingerprint() == plain


def test_a_pickle_with_a_program_is_refused(tree: Tree, tmp_path: Path) -> None:
    root = tree("revisitop")

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (root / "roxford5k/gnd_roxford5k.pkl").write_bytes(pickle.dumps({"imlist": Evil()}, 2))
    with pytest.raises(SourceError, match=r"asks for the global .*system \(A01\)"):
        import_source("revisitop", root)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("gnd"), "holds imlist, qimlist; expected a dictionary of imlist, qimlist and gnd"),
        (lambda held: held["gnd"].pop(), "3 entries in gnd for 4 queries"),
        (lambda held: held["imlist"].append("../x"), "imlist[5]: name is '../x'"),
        (lambda held: held["imlist"].append(held["imlist"][0]), "imlist: all_souls_000000 stands twice"),
        (lambda held: held["gnd"][1].pop("junk"), "gnd[1]: lacks a field"),
        (lambda held: held["gnd"][1]["easy"].append(5), "gnd[1].easy: holds 5; expected indices from 0 to 4"),
        (lambda held: held["gnd"][1]["easy"].append(-1), "gnd[1].easy: holds -1"),
        (lambda held: held["gnd"][1]["hard"].append(1), "gnd[1].hard: holds an index twice"),
        (lambda held: held["gnd"][1]["easy"].append(1), "gnd[1]: image 1 has two labels"),
        (lambda held: held["gnd"][0].update(bbx=[1, 2, 3, float("nan")]), "gnd[0].bbx: is [1, 2, 3, nan]"),
        (lambda held: held["gnd"][0].update(bbx=[5, 2, 3, 9]), "gnd[0].bbx: is [5, 2, 3, 9]"),
        (lambda held: held["gnd"][0].update(bbx=None), "gnd[0].bbx: is None"),
    ],
)
def test_a_broken_ground_truth_is_named(change: Callable[[dict[str, Any]], object], said: str, tree: Tree) -> None:
    root = tree("revisitop")
    rewrite(root, change)
    with pytest.raises(SourceError) as raised:
        import_source("revisitop", root, skip_bad=True)  # it is no single image that could be left out
    assert str(root / "roxford5k/gnd_roxford5k.pkl") in raised.value.line
    assert said in raised.value.line


def test_a_missing_picture_or_ground_truth(tree: Tree) -> None:
    root = tree("revisitop")
    (root / "roxford5k/jpg/oxford_000317.jpg").unlink()
    dataset = import_source("revisitop", root)
    assert findings(dataset, "I01") == [("I01", "revisitop/roxford5k/oxford_000317")]
    (root / "rparis6k/gnd_rparis6k.pkl").unlink()
    with pytest.raises(SourceError, match=r"gnd_rparis6k.pkl"):
        import_source("revisitop", root)
    assert import_source("revisitop", root, splits=("roxford5k",)).counts()["queries"] == 4


def test_a_query_in_the_database_is_told(tree: Tree) -> None:
    root = tree("revisitop")
    rewrite(root, lambda held: held["imlist"].append(held["qimlist"][0]))
    dataset = import_source("revisitop", root)
    assert findings(dataset, "Q01") == [("Q01", "revisitop/roxford5k/all_souls_000013")]
    assert images(dataset)["roxford5k/all_souls_000013"]["attributes"] == {"revisitop": {"index": 5, "query": 0}}


def test_the_golden_ground_truth_comes_through(shared: Path, tmp_path: Path) -> None:
    source = shared / "golden/revisitop/case_1/gnd_synthetic.pkl"
    held = pickle.loads(source.read_bytes())  # ours to trust; the importer never does this
    (tmp_path / "roxford5k").mkdir()
    (tmp_path / "roxford5k/gnd_roxford5k.pkl").write_bytes(source.read_bytes())
    dataset = import_source("revisitop", tmp_path)
    rows = dataset.table("images").to_pylist()
    index = {row["id"]: json.loads(row["attributes"])["revisitop"] for row in rows}
    found = judged(dataset)
    for q, entry in enumerate(held["gnd"]):
        query = f"revisitop/roxford5k/{held['qimlist'][q]}"
        assert index[query]["query"] == q
        lists = {label: [index[i]["index"] for i in ids] for label, ids in found.get(query, {}).items()}
        assert {label: sorted(lists.get(label, [])) for label in ("easy", "hard", "junk")} == {
            label: sorted(entry[label]) for label in ("easy", "hard", "junk")
        }


def test_the_command(tree: Tree, curate: Curate) -> None:
    root = tree("revisitop")
    curate("import", "revisitop", root, "--split", "rparis6k", "-o", "paris")
    assert "no errors" in curate("verify", "paris").stdout
    assert "curate import" not in curate("sources", "revisitop").stderr
