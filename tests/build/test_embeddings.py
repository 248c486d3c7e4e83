"""Near-duplicates by vectors: pairs against all cosines, an index against the exact search, faults of files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.build import embeddings
from curate.build.embeddings import Vectors, clusters, exact_pairs, read_vectors
from curate.dataset import Dataset, from_records
from curate.errors import SourceError, UsageError
from curate.model import Image, Info, Member


def scattered(number: int, width: int = 16, copies: int = 40) -> np.ndarray[Any, Any]:
    """Vectors of length 1 of which some are nearly others."""
    random = np.random.default_rng(number)
    vectors = random.standard_normal((number, width))
    place, of = random.choice(number, copies, replace=False), random.integers(0, number, copies)
    vectors[place] = vectors[of] + 0.05 * random.standard_normal((copies, width))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def by_cosines(vectors: np.ndarray[Any, Any], least: float) -> set[tuple[int, int]]:
    a, b = np.nonzero(np.triu(vectors.astype(float) @ vectors.astype(float).T, 1) >= least)
    return set(zip(a.tolist(), b.tolist(), strict=True))


def pairs(found: tuple[Any, Any]) -> set[tuple[int, int]]:
    a, b = found
    return {(min(i, j), max(i, j)) for i, j in zip(a.tolist(), b.tolist(), strict=True) if i != j}


@pytest.mark.parametrize("block", [7, 64, 4096])
def test_pairs_are_those_of_all_cosines(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "_BLOCK", block)
    vectors = scattered(300)
    expected = by_cosines(vectors, 0.95)
    assert len(expected) >= 30
    assert pairs(exact_pairs(vectors, 0.95)) == expected


def test_an_index_finds_nearly_all_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = scattered(3000, copies=300)
    expected = by_cosines(vectors, 0.95)
    found = pairs(embeddings._indexed_pairs(vectors, 0.95))
    assert found <= expected
    assert len(found) >= 0.99 * len(expected)
    assert found == pairs(embeddings._indexed_pairs(vectors, 0.95))
    # And it is what is asked for between splits, where there are enough of them.
    monkeypatch.setattr(embeddings, "_FEWEST", 3000)
    monkeypatch.setattr(embeddings, "exact_pairs", None)
    images = [Image(id=f"s/{n}", source="s", split="ab"[n % 2]) for n in range(3000)]
    data = from_records(Info(name="d"), images)
    ids = pa.array([f"s/{n}" for n in range(3000)])
    code = clusters(data, Vectors(ids, vectors, ""), index="faiss")
    rows = dict(zip(data.table("images")["id"].to_pylist(), code.tolist(), strict=True))
    assert all(rows[f"s/{a}"] == rows[f"s/{b}"] for a, b in found)


def benchmark(*keys: str) -> Dataset:
    roles = {"q": "query"}
    images = [Image(id=f"s/{key}", source="s") for key in keys]
    members = [Member(image_id=f"s/{key}", role=roles.get(key, "gallery")) for key in keys]  # type: ignore[arg-type]
    return from_records(Info(name="d"), [*images, *members])


def test_only_what_is_shown_is_compared_with_what_is_searched() -> None:
    angles = {"q": 0, "g1": 10, "g2": 20, "g3": 90, "none": None}
    ids = [f"s/{key}" for key, angle in angles.items() if angle is not None]
    turned = np.radians([angle for angle in angles.values() if angle is not None])
    vectors = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    data = benchmark(*angles)
    given = Vectors(pa.array(["t/stranger", *ids]), np.concatenate([vectors[:1], vectors]), "")
    code = dict(zip(data.table("images")["id"].to_pylist(), clusters(data, given).tolist(), strict=True))
    # cos 10° is .985; of 20° .940. That g1 is like g2 is nobody's question here.
    assert code["s/q"] == code["s/g1"]
    assert len({code["s/q"], code["s/g2"], code["s/g3"]}) == 3
    assert code["s/none"] == -1
    wide = clusters(data, given, min_cosine=float(np.cos(np.radians(20))))
    assert len({wide[data.table("images")["id"].to_pylist().index(f"s/{key}")] for key in ("q", "g1", "g2")}) == 1


def test_files_are_read_alike(tmp_path: Path) -> None:
    ids, vectors = ["s/a", "s/b", "s/ü"], np.array([[3, 4], [0, 2], [-1, 0]], np.float64)
    np.savez(tmp_path / "v.npz", id=np.array(ids), vector=vectors)
    pq.write_table(pa.table({"id": ids, "vector": vectors.tolist()}), tmp_path / "lists.parquet")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float16()), 2)
    pq.write_table(pa.table({"more": ids, "vector": fixed, "id": ids}), tmp_path / "fixed.parquet", row_group_size=2)
    for name in ("v.npz", "lists.parquet", "fixed.parquet"):
        read = read_vectors(tmp_path / name)
        assert read.id.to_pylist() == ids
        assert read.vector.dtype == np.float32
        np.testing.assert_allclose(read.vector, [[0.6, 0.8], [0, 1], [-1, 0]], atol=1e-7)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no array": ({"id": ["a"]}, "has no array 'vector'"),
    "lengths": ({"id": ["a", "b"], "vector": [[1.0]]}, r"has 2 ids and vectors of shape \(1, 1\)"),
    "one axis": ({"id": ["a"], "vector": [1.0]}, r"has 1 ids and vectors of shape \(1,\)"),
    "twice": ({"id": ["a", "b", "a"], "vector": [[1.0], [2.0], [3.0]]}, "names 'a' more than once"),
    "nan": ({"id": ["a", "b"], "vector": [[1.0], [np.nan]]}, "the vector of b is not finite"),
    "zero": ({"id": ["a"], "vector": [[0.0, 0.0]]}, "the vector of a is not finite or has no length"),
    "numbers": ({"id": [1], "vector": [[1.0]]}, "expected text and numbers"),
    "objects": ({"id": np.array([None], object), "vector": [[1.0]]}, "is no .npz file of plain arrays"),
    "nothing": ({"id": np.zeros(0, "U1"), "vector": np.zeros((0, 4))}, r"has 0 ids and vectors of shape \(0, 4\)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_an_npz_file(name: str, tmp_path: Path) -> None:
    arrays, message = FAULTS[name]
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        read_vectors(tmp_path / "v.npz")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "vec": [[1.0]]}, "has no column 'vector'"),
        ({"id": ["a", "b"], "vector": [[1.0, 2.0], [1.0]]}, "its vectors are not of one length"),
        ({"id": ["a", "b", "c"], "vector": [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]}, "its vectors are not of one length"),
        ({"id": ["a", "b"], "vector": [[1.0], None]}, "its vectors are not of one length"),
        ({"id": ["a"], "vector": ["1"]}, "vector is of type string"),
        ({"id": ["a", None], "vector": [[1.0], [1.0]]}, "has ids that are null"),
        ({"id": ["a"], "vector": [["x"]]}, "its columns are not text and lists of numbers"),
        ({"id": ["a"], "vector": [[None]]}, "is not finite"),
    ],
)
def test_faults_of_a_parquet_file(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    with pytest.raises(UsageError, match=message):
        read_vectors(tmp_path / "v.parquet")


def test_a_damaged_npz_file_is_told_wherever_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    np.savez_compressed(path, id=np.array(["a", "b", "c"]), vector=np.arange(12.0).reshape(3, 4) + 1)
    whole, refused = path.read_bytes(), 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            read_vectors(path)
        except UsageError:
            refused += 1
    assert refused > len(whole) / 6


@pytest.mark.parametrize("name", ["v.npz", "v.parquet"])
def test_no_such_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not one")
    with pytest.raises(UsageError, match="is no"):
        read_vectors(tmp_path / name)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(UsageError, match=r"is no \.npz file"):
        read_vectors(tmp_path / "one.npy")


def test_vectors_of_other_images() -> None:
    with pytest.raises(UsageError, match="none is of an image of the dataset; expected ids like s/g"):
        clusters(benchmark("q", "g"), Vectors(pa.array(["other"]), np.ones((1, 1), np.float32), ""))
    with pytest.raises(UsageError, match="--min-cosine: is 0"):
        clusters(benchmark("q", "g"), Vectors(pa.array(["s/q"]), np.ones((1, 1), np.float32), ""), min_cosine=0)


def test_splits_are_compared_beside_queries_and_gallery(tmp_path: Path) -> None:
    """Two images of the gallery, of two splits, are alike."""
    split = {"a": "train", "b": "test", "q": "train"}
    images = [Image(id=f"s/{key}", source="s", split=name) for key, name in split.items()]
    members = [Member(image_id=f"s/{key}", role="query" if key == "q" else "gallery") for key in split]
    data = from_records(Info(name="d"), [*images, *members])
    vectors = Vectors(pa.array(["s/a", "s/b", "s/q"]), np.array([[1, 0], [1, 0], [0, 1]], np.float32), "")
    assert clusters(data, vectors).tolist() == clusters(data, vectors, between="splits").tolist() == [0, 0, 2]
    assert clusters(data, vectors, between="roles").tolist() == [0, 1, 2]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["v.npz", "v.parquet"])
def test_a_pipe_is_no_file_of_vectors(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match="is not a regular file; expected arrays"):
        read_vectors(tmp_path / name)


def test_what_is_shown_and_searched_is_compared_as_both() -> None:
    """q is searched too: g1 is like it, and so is the query r; g2 is like nothing that is shown."""
    angles = {"q": 0, "g1": 10, "g2": 90, "g3": 95, "r": -10}
    images = [Image(id=f"s/{key}", source="s") for key in angles]
    roles: Any = {"q": ["query", "gallery"], "r": ["query"], "g1": ["gallery"], "g2": ["gallery"], "g3": ["gallery"]}
    members = [Member(image_id=f"s/{key}", role=role) for key, held in roles.items() for role in held]
    data = from_records(Info(name="d"), [*images, *members])
    turns = np.deg2rad(list(angles.values()))
    vectors = Vectors(data.table("images")["id"].combine_chunks(), np.zeros((5, 2), np.float32), "")
    order = [id.removeprefix("s/") for id in vectors.id.to_pylist()]
    at = [list(angles).index(key) for key in order]
    vectors = vectors._replace(vector=np.stack([np.cos(turns), np.sin(turns)], axis=1)[at].astype(np.float32))
    code = dict(zip(order, clusters(data, vectors).tolist(), strict=True))
    assert code["q"] == code["g1"] == code["r"]
    assert len({code["q"], code["g2"], code["g3"]}) == 3
