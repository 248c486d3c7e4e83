"""Train, validation and test: promises that hold for any dataset, and examples worked by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.build.partition import build_partition
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import Annotation, Category, Image, Info, Record


def dataset(rows: list[tuple[str, str | None, str]], status: str = "truth", split: str = "train") -> Dataset:
    """Images as source, sequence and the letters of their classes."""
    records: list[Record] = [Category(name=c) for c in sorted(set("".join(text for _, _, text in rows)))]
    for n, (source, sequence, text) in enumerate(rows):
        name = f"{source}/{n:03d}"
        records.append(Image(id=name, source=source, source_split=split, sequence=sequence, width=9, height=9))
        records += [
            Annotation(id=f"{name}#{k}", image_id=name, category=c, status=status)  # type: ignore[arg-type]
            for k, c in enumerate(text)
        ]
    return from_records(Info(name="d"), records)


def splits(data: Dataset) -> list[str]:
    found: list[str] = data.table("images")["split"].to_pylist()
    return found


def test_shares_are_kept_where_all_is_alike() -> None:
    data = dataset([("s", None, "a")] * 100)
    assert Counter(splits(build_partition(data))) == {"train": 70, "val": 15, "test": 15}
    two = build_partition(data, shares={"train": 0.9, "test": 0.1})
    assert Counter(splits(two)) == {"train": 90, "test": 10}


def test_rare_classes_stand_in_every_split() -> None:
    # By shares alone three of one class would all go to train (0.7 of 3 is more than 2).
    rows = [("s", None, "r")] * 3 + [("s", None, "q")] * 4 + [("s", None, "a")] * 93
    made = build_partition(dataset(rows))
    for first, last in ((0, 3), (3, 7)):
        assert set(splits(made)[first:last]) == {"train", "val", "test"}
    assert made.problems == ()
    assert Counter(splits(made)[7:]) == {"train": 65, "val": 14, "test": 14}  # of 93


def test_a_class_with_too_few_groups_is_named_with_the_reason() -> None:
    rows: list[tuple[str, str | None, str]] = [("s", "one", "r"), ("s", "one", "r"), ("t", None, "q"), ("t", None, "q")]
    rows += [("t", None, "q"), *[("u", None, "a")] * 20]
    made = build_partition(dataset(rows), assign={"t": ["train", "test"]})
    assert splits(made)[:2] == ["train", "train"]
    assert [(p.code, p.item, p.message) for p in made.problems] == [
        ("Q11", "q", "is not in val: its sources are not assigned to val"),
        ("Q11", "r", "is not in val, test: only 1 group shows it, for 3 splits"),
    ]
    with pytest.raises(SchemaError) as caught:
        build_partition(dataset(rows), assign={"t": ["train", "test"]}, strict=True)
    assert [line.split(":")[0] for line in caught.value.lines] == ["category q", "category r"]


def test_a_class_that_rarer_ones_hold_elsewhere_is_mended() -> None:
    # d is only to be seen beside rarer classes, which take its images to splits one after another.
    rows = [("s", None, text) for text in ("ad", "bd", "cd", "ad", "bd", "cd")] + [("s", None, "")] * 20
    for seed in "0123456789":
        made = build_partition(dataset(rows), seed=seed)
        found = {
            c: {split for split, (_, _, text) in zip(splits(made), rows, strict=True) if c in text} for c in "abcd"
        }
        assert found["d"] == {"train", "val", "test"}, seed
        assert all(len(found[c]) == 2 for c in "abc"), seed


def test_sources_are_held_to_what_they_are_assigned() -> None:
    data = dataset([("s", None, "a")] * 80 + [("t", None, "a")] * 20 + [("u", None, "a")] * 2)
    made = build_partition(data, assign={"s": ["train", "test"], "t": ["val"], "u": ["train"], "u/train": ["test"]})
    found = {
        source: {split for name, split in zip(data.table("images")["id"].to_pylist(), splits(made), strict=True)
                 if name.startswith(source)}
        for source in "stu"
    }  # fmt: skip
    assert found == {"s": {"train", "test"}, "t": {"val"}, "u": {"test"}}  # the split's row stands before the source's


def test_a_group_across_sources_that_may_go_nowhere() -> None:
    records: list[Record] = [
        Image(id=f"{source}/a", source=source, place="Ulm", width=9, height=9) for source in ("s", "t")
    ]
    data = from_records(Info(name="d"), records)
    with pytest.raises(SchemaError, match="image 's/a': its place has 2 images, which may go to no split together"):
        build_partition(data, group="place", assign={"s": ["train"], "t": ["val"]})


def test_proposals_make_no_class() -> None:
    data = dataset([("s", None, "r")] * 2 + [("s", None, "")] * 20, status="proposal")
    assert build_partition(data).problems == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": {"train": 0.5, "test": 0.6}}, r"shares: 0.5 \+ 0.6 is 1.1; expected 1 together"),
        ({"shares": {"train": 1.0, "test": 0.0}}, "share test=0: is no share"),
        ({"assign": {"x": ["train"]}}, "assign x: no image is of it; expected one of s, s/train"),
        ({"assign": {"s": ["tarin"]}}, "assign s: names split 'tarin'; expected one of train, val, test"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_partition(dataset([("s", None, "a")]), **options)


ROWS = st.lists(
    st.tuples(st.sampled_from("st"), st.sampled_from(["x", "y", "z", None, None]), st.text("abc", max_size=3)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(ROWS, st.sampled_from(["sequence", "none"]), st.sampled_from(["0", "1"]))
def test_what_always_holds(rows: list[tuple[str, str | None, str]], group: Any, seed: str) -> None:
    data = dataset(rows)
    made = build_partition(data, group=group, seed=seed)
    assert set(splits(made)) <= {"train", "val", "test"}
    names = data.table("images")["id"].to_pylist()
    of = dict(zip(names, splits(made), strict=True))
    whole: dict[Any, set[str]] = {}
    shown: dict[str, set[str]] = {}
    sequence = dict(zip(names, data.table("images")["sequence"].to_pylist(), strict=True))
    for name in names:
        unit = (name[0], sequence[name]) if group == "sequence" and sequence[name] else name
        whole.setdefault(unit, set()).add(of[name])
        for row in data.table("annotations").to_pylist():
            if row["image_id"] == name:
                shown.setdefault(row["category"], set()).add(of[name])
    assert all(len(found) == 1 for found in whole.values())
    assert {problem.item for problem in made.problems} == {c for c, found in shown.items() if len(found) < 3}
    assert made.fingerprint() == build_partition(data, group=group, seed=seed).fingerprint()
