"""Result lists by class, whatever the queries are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.evaluate.classes import ranks_by_class
from curate.model import Category, Image, Info, Query


def dataset() -> Dataset:
    images = [Image(id=f"toy/{name}", source="toy") for name in "abcd"]
    names = [Category(name="bus"), Category(name="car")]
    queries = [Query(id="q1", kind="text", text="a car", category="car"), Query(id="q2", kind="text", category="car")]
    return from_records(Info(name="toy"), [*images, *names, *queries])


def test_a_list_is_named_by_its_class_or_by_a_query_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"q1": ["toy/a", "toy/b"], "q2": ["toy/c", "toy/b", "toy/x"]}))
    (tmp_path / "b.run").write_text("bus Q0 toy/d 1 0.9 me\nbus Q0 toy/a 2 0.5 me\n")
    found = ranks_by_class(dataset(), [tmp_path / "a.json", tmp_path / "b.run"])
    assert found == {"bus": ["toy/d", "toy/a"], "car": ["toy/a", "toy/c", "toy/b"]}  # the best rank of the two lists


def test_lists_of_other_classes_are_passed_over_but_not_all(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"car": ["toy/a"], "lorry": ["toy/b"]}))
    assert ranks_by_class(dataset(), [tmp_path / "a.json"], ["car"]) == {"car": ["toy/a"]}
    with pytest.raises(UsageError, match="no list is of a class"):
        ranks_by_class(dataset(), [tmp_path / "a.json"], ["bus"])
