"""Result files of every form, and what is wrong with them: each fault is one error or a finding with its effect."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import evaluate as ev
from curate.errors import CurateError, SourceError
from curate.evaluate import json_lists, run_files
from curate.evaluate.ranking import POSITIVE, Results, Truth, make_truth

ITEMS = ["a", "b", "c", "d"]


@pytest.fixture
def truth() -> Truth:
    """Two queries over four items: q is answered by a and b, r by d."""
    places = np.array([0, 1, 3])
    made = make_truth("t", ["q", "r"], ITEMS, np.array([0, 0, 1]), places, np.full(3, POSITIVE))
    elsewhere = {"train": pa.array(["x", "y"])}
    return made._replace(gallery=4, closed=True, elsewhere=elsewhere)


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write(content: Any, name: str = "run.json") -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def lists(found: Results) -> dict[str, list[str]]:
    items = found.items.to_pylist()
    return {
        query: [items[i] for i in found.item[found.start[n] : found.start[n + 1]]]
        for n, query in enumerate(found.queries)
    }


WANTED = {"q": ["c", "a", "b"], "r": ["d", "a"]}
SCORES = {"q": {"a": 0.5, "b": 0.25, "c": 0.75}, "r": {"d": 2.0, "a": -1.5}}


def test_every_form_says_the_same(truth: Truth, put: Callable[..., Path], tmp_path: Path) -> None:
    run = "".join(f"{q} Q0 {item} 1 {score} tag\n" for q, row in SCORES.items() for item, score in row.items())
    table = pa.table(
        {
            "query": [q for q, row in SCORES.items() for _ in row],
            "item": [item for row in SCORES.values() for item in row],
            "score": [score for row in SCORES.values() for score in row.values()],
        }
    )
    ranked = pa.table({"query": ["q", "r", "q", "r", "q"], "item": ["a", "a", "c", "d", "b"], "rank": [2, 2, 1, 1, 3]})
    pq.write_table(table, tmp_path / "scores.parquet")
    pq.write_table(ranked, tmp_path / "ranks.parquet")
    files = [
        put(WANTED),
        put({"metadata": {"team": "x"}, "predictions": WANTED}, "submission.json"),
        put(SCORES, "scores.json"),
        put(run, "run.txt"),
        put(run.replace(" ", "\t"), "run.tsv"),
        tmp_path / "scores.parquet",
        tmp_path / "ranks.parquet",
    ]
    for file in files:
        assert lists(ev.read_results([file], truth)) == WANTED, file.name


def test_parquet_in_row_groups_is_the_same_in_portions_of_any_size(
    truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(q, item, score) for q, row in SCORES.items() for item, score in row.items()]
    columns = dict(zip(("query", "item", "score"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "run.parquet", row_group_size=2)
    for portion in (1, 2, 4, 100):
        monkeypatch.setattr("curate.evaluate.results._PORTION", portion)
        assert lists(ev.read_results([tmp_path / "run.parquet"], truth)) == WANTED


def test_matrices_count_the_truth_s_own_order(truth: Truth, tmp_path: Path) -> None:
    similarity = np.array([[0.1, 0.2, 0.4, 0.3], [0.4, 0.3, 0.2, 0.1]])
    wanted = {"q": ["c", "d", "b", "a"], "r": ["a", "b", "c", "d"]}
    ranks = np.argsort(-similarity, axis=1)
    np.save(tmp_path / "sim.npy", similarity)
    np.save(tmp_path / "turned.npy", similarity.T.copy())
    np.save(tmp_path / "ranks.npy", ranks.T)
    np.savez(tmp_path / "ranks.npz", ranks=ranks.T)
    np.savez(tmp_path / "soir.npz", k_index=ranks, similarities=np.take_along_axis(similarity, ranks, 1))
    for name in ("sim.npy", "turned.npy", "ranks.npy", "ranks.npz", "soir.npz"):
        assert lists(ev.read_results([tmp_path / name], truth)) == wanted, name


def test_parts_of_one_run_are_joined(truth: Truth, put: Callable[..., Path]) -> None:
    parts = [put({"q": ["a", "b"]}, "1.json"), put({"r": ["b", "a"]}, "2.json")]
    assert lists(ev.read_results(parts, truth)) == {"q": ["a", "b"], "r": ["b", "a"]}
    with pytest.raises(SourceError, match=r"2\.json: query q is also in 1\.json \(E08\)"):
        ev.read_results([parts[0], put({"q": ["a"]}, "2.json")], truth)


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=5), max_size=4),
    st.sampled_from([None, 1]),
)
def test_json_lists_are_those_of_any_reader(
    tmp_path_factory: Any, content: dict[str, list[str]], indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("any") / "run.json"
    for escaped in (True, False):
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=escaped), "utf-8", "surrogatepass")
        found = {entry.query: entry.ids.to_pylist() for entry in json_lists.read_json_lists(path)}
        assert found == content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; expected ranked lists"),
        (" \n\n", "begins with nothing but blanks"),
        ('[{"q": ["a"]}]', "is a JSON array, which names no query"),
        ("{", "cannot be read"),
        ('{"q": 3}', "query q: holds '3'; expected a list of items"),
        ('{"q": ["a"], "q": ["b"]}', "stands twice.*E08"),
        ('{"q": {"a": NaN}}', r"expected finite scores.*E01"),
        ('{"q": {"a": "high"}}', "query q: cannot be read"),
        ('{"q": ["a"], "r": {"b": 1}}', "some lists have scores and others none"),
        ("q Q0 a 1 nan tag\n", r"item a has the score nan \(E01\)"),
        ("q Q0 a 1\n", "cannot be read"),
        (b"PK\x03\x04 no archive", "cannot be read"),
        (b"PAR1 no table", "cannot be read"),
        (b"\x93NUMPY\x01\x00 broken", "cannot be read"),
    ],
)
def test_broken_files_are_one_clear_error(truth: Truth, put: Callable[..., Path], content: Any, said: str) -> None:
    with pytest.raises(SourceError, match=f"(?s)run\\..*({said})"):
        ev.read_results([put(content, "run.any")], truth)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("score", ["1", "x"], "column score is string .*; expected numbers"),
        ("score", [[1.0], [2.0]], "column score is list.*; expected numbers"),
        ("score", [1.0, None], r"row 2, query q: item b has the score nan \(E01\); expected a finite number"),
        ("score", [1.0, float("inf")], r"row 2, query q: item b has the score inf \(E01\)"),
        ("rank", [None, 1], r"row 1, query q: item a has the rank nan \(E01\)"),
        ("rank", [1.0, float("nan")], r"row 2, query q: item b has the rank nan \(E01\)"),
    ],
)
def test_columns_that_are_no_numbers(truth: Truth, tmp_path: Path, column: str, values: list[Any], said: str) -> None:
    pq.write_table(pa.table({"query": ["q", "q"], "item": ["a", "b"], column: values}), tmp_path / "run.parquet")
    with pytest.raises(SourceError, match=said):
        ev.read_results([tmp_path / "run.parquet"], truth)


@pytest.mark.parametrize("column", [["2", "10"], [2, 10], np.array([2, 10], np.int8), np.array([2, 10], np.float16)])
def test_scores_are_numbers_however_they_are_stored(truth: Truth, tmp_path: Path, column: Any) -> None:
    """10 is more than 2, also where they are texts."""
    pq.write_table(pa.table({"query": ["q", "q"], "item": ["a", "b"], "score": column}), tmp_path / "run.parquet")
    assert lists(ev.read_results([tmp_path / "run.parquet"], truth)) == {"q": ["b", "a"]}


def test_results_without_any_list_are_refused(truth: Truth, put: Callable[..., Path]) -> None:
    with pytest.raises(SourceError, match=r"has no list for any of the 2 queries \(E03\)"):
        ev.score("soir", truth, ev.read_results([put("{}")], truth))
    # Lists that are all empty are lists: nothing was found.
    scores = ev.score("soir", truth, ev.read_results([put({"q": [], "r": []})], truth))
    assert scores.values["mAP"] == 0


def test_a_byte_order_mark_is_no_obstacle(truth: Truth, put: Callable[..., Path]) -> None:
    for content in (WANTED, {"metadata": {}, "predictions": WANTED}, SCORES):
        text = b"\xef\xbb\xbf" + json.dumps(content).encode()
        assert lists(ev.read_results([put(text)], truth)) == WANTED
    twice = b'\xef\xbb\xbf{"q": ["a"], "q": ["b"]}'
    with pytest.raises(SourceError, match="stands twice"):
        ev.read_results([put(twice)], truth)


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("it ran",))


def test_a_pickle_runs_nothing(truth: Truth, put: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match="A01"):
        ev.read_results([put(pickle.dumps({"query_ids": _Trap()}), "trap.pkl")], truth)
    with pytest.raises(SourceError, match="holds something else"):
        ev.read_results([put(pickle.dumps({"a": 1}), "other.pkl")], truth)
    path = put(b"", "trap.npy")
    np.save(path, np.array([_Trap()], object), allow_pickle=True)
    with pytest.raises(SourceError, match="A01"):
        ev.read_results([path], truth)
    assert "it ran" not in capsys.readouterr().out


def test_too_large_a_file_is_refused_before_it_is_read(truth: Truth, put: Callable[..., Path]) -> None:
    """Ten gigabytes that take no place on the disk."""
    for head, name in ((b'{"q": ["a"', "run.json"), (b"\x80\x04", "run.pkl")):
        path = put(head, name)
        os.truncate(path, 10 << 30)
        with pytest.raises(SourceError, match=r"of 10 GiB \(F02\); expected at most . GiB; write Parquet"):
            ev.read_results([path], truth)
        path.unlink()


def test_matrices_that_do_not_fit(truth: Truth, tmp_path: Path) -> None:
    for array, said in [
        (np.zeros((3, 3)), "expected similarities of 2 queries and 4 items"),
        (np.zeros(4), "is an array of 4"),
        (np.zeros((4, 3), int), "expected a column per query"),
        (np.full((4, 2), 9), r"names item 9 at rank 1 of query q \(E05\)"),
        (np.full((2, 4), np.nan), r"item a has the score nan \(E01\)"),
    ]:
        np.save(tmp_path / "m.npy", array)
        with pytest.raises(SourceError, match=said):
            ev.read_results([tmp_path / "m.npy"], truth)


def codes(truth: Truth, run: Path, variant: str = "strict") -> dict[str, str]:
    scores = ev.score("soir", truth, ev.read_results([run], truth), variant=variant)  # type: ignore[arg-type]
    return {one.code: one.message for one in scores.findings}


def test_what_is_wrong_is_said_with_its_effect(truth: Truth, put: Callable[..., Path]) -> None:
    full = {"q": ITEMS, "r": ITEMS}
    assert codes(truth, put(full)) == {}
    assert "2 of 6 items belong to train (x, y)" in codes(truth, put({**full, "q": [*ITEMS, "x", "y"]}))["E04"]
    assert "1 of 5 items are not in the gallery (z)" in codes(truth, put({**full, "q": [*ITEMS, "z"]}))["E05"]
    assert "1 queries have no results (r); each counts 0" in codes(truth, put({"q": ITEMS}))["E03"]
    assert "leaves them out" in codes(truth, put({"q": ITEMS}), "upstream")["E03"]
    assert "1 queries are not in the truth (other)" in codes(truth, put({**full, "other": ["a"]}))["E02"]
    assert "1 lists name an item twice (q); later copies" in codes(truth, put({**full, "q": [*ITEMS, "a"]}))["E06"]
    assert "1 lists have fewer than 4 items (from 1)" in codes(truth, put({**full, "q": ["a"]}))["E07"]
    assert "1 lists are empty (r)" in codes(truth, put({**full, "r": []}))["E07"]


def test_results_of_something_else_are_refused(truth: Truth, put: Callable[..., Path]) -> None:
    for content, said in [
        ({"other": ["a"]}, r"no query of the results \(other\) is one of the truth \(q, r\).*E02"),
        ({"q": ["x"]}, "belong to train.*every score would be 0.*E04"),
        ({"q": ["z"]}, "not in the gallery.*every score would be 0.*E05"),
    ]:
        with pytest.raises(SourceError, match=said):
            codes(truth, put(content))
    empty = truth._replace(query=truth.query[:0], item=truth.item[:0], label=truth.label[:0])
    with pytest.raises(SourceError, match=r"no positive; no metric is defined.*E10.*hidden test"):
        codes(empty, put({"q": ["a"]}))


def test_absent_results_count_zero_in_strict_only(truth: Truth, put: Callable[..., Path]) -> None:
    found = ev.read_results([put({"q": ["a", "b", "c", "d"]})], truth)
    assert ev.score("soir", truth, found, variant="upstream").values["mAP"] == 1
    assert ev.score("soir", truth, found, variant="strict").values["mAP"] == 0.5


def test_missing_files_and_folders(truth: Truth, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        ev.read_results([tmp_path / "none"], truth)
    with pytest.raises(SourceError, match="is a folder"):
        ev.read_results([tmp_path], truth)
    with pytest.raises(CurateError, match="publishes no file of its truth"):
        ev.read_truth("permir", tmp_path)
    with pytest.raises(SourceError, match="no such file or folder"):
        ev.read_truth("searchad", tmp_path / "none")


def test_run_files_are_read_in_blocks(truth: Truth, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "BLOCK", 64)
    wanted = {"q": [f"item{i:03d}" for i in range(50)]}
    plain = [f"q Q0 item{i:03d} {i} {100 - i} t" for i in range(50)]
    # Columns may stand apart by any number of blanks and tabs, as in files that are made to be looked at.
    spread = [line.replace(" ", "  " if i % 2 else " \t ") for i, line in enumerate(plain)]
    rim = ["", *(f"  {line} " for line in plain), "   "]
    for rows in (plain, [line.replace(" ", "\t") for line in plain], spread, rim):
        for end in ("\n", "\r\n"):
            assert lists(ev.read_results([put(end.join(rows) + end)], truth)) == wanted
    with pytest.raises(SourceError, match=r"cannot be read .*Expected 6 columns, got 5"):
        ev.read_results([put("\n".join([*spread, "q Q0  item 1 2"]))], truth)


def test_bytes_that_are_no_text_and_files_cut_within_their_header(tmp_path: Path) -> None:
    truth = make_truth("t", ["q"], ["a"], *[np.zeros(0, np.int64)] * 3)
    damaged = {
        "ids.json": b'{"q": ["a\xff"]}',
        "scores.json": b'{"q": {"a\xff": 1.0, "b": NaN}}',
        "cut.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (6, 3), NaN     \n",
        "cut.parquet": b"PAR1" + bytes(40) + b"\x08\x00\x00\x00PAR1",
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=name):
            ev.read_results([tmp_path / name], truth)


@pytest.mark.parametrize(
    ("key", "points", "said"),
    [
        ("qimlist_-1_imlist_0", [[0, 0], [1, 0], [1, 1]], "names no query and image"),
        ("qimlist_0_imlist_-1", [[0, 0], [1, 0], [1, 1]], "names no query and image"),
        ("qimlist_0_imlist_4", [[0, 0], [1, 0], [1, 1]], "names no query and image"),
        ("qimlist_0_imlist_0_x", [[0, 0], [1, 0], [1, 1]], "names no query and image"),
        ("qimlist_0_imlist_0", [[0, 0], [1 << 70, 0], [1, 1]], "a coordinate is 1.18059e.21 px from the corner"),
        ("qimlist_0_imlist_0", [[0, 0], [10**400, 0], [1, 1]], "names no query and image, or has no points"),
        ("qimlist_0_imlist_0", [[0, 0], [-9000, 0], [1, 1]], "a coordinate is 9000 px from the corner"),
        ("qimlist_0_imlist_0", [[0, 0], [float("nan"), 0], [1, 1]], r"is not finite \(E01\)"),
    ],
)
def test_outlines_that_cannot_be(truth: Truth, tmp_path: Path, key: str, points: Any, said: str) -> None:
    np.save(tmp_path / "run.npy", np.array({key: points}, dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match=said):
        ev.read_results([tmp_path / "run.npy"], truth)
