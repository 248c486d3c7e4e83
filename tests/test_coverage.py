"""Coverage: which row decides, and images that point at a scope."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from curate.coverage import coverage_of
from curate.dataset import Dataset, from_records
from curate.model import Coverage, Image, Info

IMAGES = [Image(id=f"s/{i}", source="s", source_split="train" if i < 2 else None) for i in range(4)]


def stated(*rows: tuple[str, str, str]) -> Dataset:
    records = [Coverage(scope=scope, category=category, state=state) for scope, category, state in rows]  # type: ignore[arg-type]
    return from_records(Info(name="d"), [*IMAGES, *records])


def exhaustive(dataset: Dataset, category: str | None) -> list[bool]:
    """For each image in turn."""
    coverage = coverage_of(dataset)
    codes = coverage.codes(pa.chunked_array([pa.array([category] * len(IMAGES), pa.string())]))
    found = coverage.at(np.arange(len(IMAGES)), codes)
    assert coverage.counts(np.ones(len(IMAGES), bool))[codes[0]] == found.sum()
    return [bool(value) for value in found]


# From the most specific to the least; each level says something else than the next.
LEVELS = [("s/0", "dog"), ("s/0", "*"), ("set/val", "dog"), ("s/train", "dog"), ("s/train", "*")]


@pytest.mark.parametrize("most_specific", range(len(LEVELS)))
@pytest.mark.parametrize("state", ["exhaustive", "partial"])
def test_the_most_specific_row_decides(most_specific: int, state: str) -> None:
    states = itertools.cycle([state, "none" if state == "exhaustive" else "exhaustive"])
    rows = [(*level, said) for level, said in zip(LEVELS[most_specific:], states, strict=False)]
    dataset = stated(("s/0", "set/val", "exhaustive"), *rows)
    assert exhaustive(dataset, "dog")[0] == (state == "exhaustive")


def test_what_is_not_stated_is_told_from_what_is_stated_otherwise() -> None:
    coverage = coverage_of(stated(("s/0", "dog", "exhaustive"), ("s/1", "dog", "withheld")))
    codes = coverage.codes(pa.chunked_array([pa.array(["dog"] * len(IMAGES), pa.string())]))
    assert coverage.state(np.arange(len(IMAGES)), codes).tolist() == [1, 0, -1, -1]


def test_images_that_point_at_a_scope_are_covered_as_it_says() -> None:
    dataset = stated(
        ("set/val", "dog", "exhaustive"),
        ("set/val", "cat", "withheld"),
        ("s/train", "cat", "exhaustive"),
        ("s/0", "set/val", "exhaustive"),
        ("s/2", "set/val", "exhaustive"),
    )
    assert exhaustive(dataset, "dog") == [True, False, True, False]
    assert exhaustive(dataset, "cat") == [False, True, False, False]
    assert exhaustive(dataset, "car") == [False, False, False, False]


def test_of_two_scopes_one_that_is_exhaustive_says_so() -> None:
    dataset = stated(
        ("a/val", "dog", "exhaustive"),
        ("b/val", "dog", "partial"),
        ("b/val", "cat", "exhaustive"),
        *(
            (f"s/{i}", f"{name}/val", "exhaustive")
            for name, images in (("a", (0, 1, 3)), ("b", (1, 2)))
            for i in images
        ),
    )
    assert exhaustive(dataset, "dog") == [True, True, False, True]
    assert exhaustive(dataset, "cat") == [False, True, True, False]


def test_a_class_that_is_not_known_is_covered_only_where_nothing_is_said_against_any() -> None:
    dataset = stated(("s/train", "*", "exhaustive"), ("set/val", "dog", "withheld"), ("s/0", "set/val", "withheld"))
    assert exhaustive(dataset, None) == [False, True, False, False]


def test_a_subset_of_classes_keeps_what_images_point_at() -> None:
    from curate.build.subset import build_subset
    from curate.model import Category

    dataset = stated(("set/val", "dog", "exhaustive"), ("set/val", "cat", "partial"), ("s/2", "set/val", "exhaustive"))
    names = from_records(Info(name="d"), [Category(name="dog"), Category(name="cat")]).table("categories")
    subset = build_subset(dataset.replace(categories=names), classes=["dog"])
    assert exhaustive(subset, "dog") == [False, False, True, False]
