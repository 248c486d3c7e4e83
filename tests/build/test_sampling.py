"""Samples: the same for the same seed, nested in one another; counts per class and per instance."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.build.sampling import sample_of_classes, sample_size, seeded_order
from curate.build.subset import build_subset
from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.model import Annotation, Category, Coverage, Image, Info, Instance, Record


def dataset(shown: dict[str, str], **more: str) -> Dataset:
    """Images by their key, each letter of the text an annotation of that class and instance."""
    records: list[Record] = [Coverage(scope="s/train", category="*", state="exhaustive")]
    letters = sorted(set("".join(shown.values())))
    records += [Category(name=letter, supercategory=more.get(letter)) for letter in letters]
    records += [Instance(id=f"i/{letter}", category=letter) for letter in letters]
    for key, text in shown.items():
        records.append(Image(id=f"s/{key}", source="s", source_split="train", width=100, height=100))
        records += [
            Annotation(id=f"s/{key}#{n}", image_id=f"s/{key}", category=c, instance=f"i/{c}", x=0, y=0, w=n + 1, h=10)
            for n, c in enumerate(text)
        ]
    return from_records(Info(name="d"), records)


def images(data: Dataset) -> list[str]:
    return [name.removeprefix("s/") for name in data.table("images")["id"].to_pylist()]


def classes(data: Dataset) -> list[str]:
    return sorted(set(data.table("annotations")["category"].to_pylist()))


def test_the_order_is_that_of_the_hashes() -> None:
    ids = [f"s/{n}" for n in range(50)]
    expected = sorted(ids, key=lambda name: hashlib.sha256(b"x\0" + name.encode()).digest())
    assert [ids[row] for row in seeded_order(pa.array(ids), "x")] == expected


@given(st.sets(st.text("abc", min_size=1, max_size=4), min_size=2), st.data())
def test_a_sample_is_part_of_a_larger_one(keys: set[str], draw: st.DataObject) -> None:
    data = dataset(dict.fromkeys(keys, "a"))
    small, large = sorted(draw.draw(st.tuples(*[st.integers(0, len(keys))] * 2)))
    inner = images(build_subset(data, sample=str(small), seed="7"))
    assert len(inner) == small
    assert set(inner) <= set(images(build_subset(data, sample=str(large), seed="7")))


def test_another_seed_gives_another_sample_and_is_recorded() -> None:
    data = dataset({f"{n:02d}": "a" for n in range(40)})
    one, other = build_subset(data, sample="25%"), build_subset(data, sample="25%", seed="1")
    assert len(images(one)) == len(images(other)) == 10
    assert images(one) != images(other)
    assert other.info.command
    assert other.info.command.options == {"sample": "25%", "seed": "1"}
    assert other.info.command.steps[-1].what == "sample 25% by seed 1"
    assert other.fingerprint() == build_subset(data, sample="25%", seed="1").fingerprint()


@pytest.mark.parametrize(("text", "size"), [("3", 3), ("99", 10), ("25%", 2), ("0.1%", 0), ("100%", 10), ("30%", 3)])
def test_sizes(text: str, size: int) -> None:
    assert sample_size(text, 10) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "ten", "%"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        build_subset(dataset({"a": "a"}), sample=text)


def test_per_class_takes_the_first_by_seed_of_each() -> None:
    data = dataset({"a": "x", "b": "xy", "c": "x", "d": "z", "e": ""})
    first = {c: [k for k in "abcde" if c in {"a": "x", "b": "xy", "c": "x", "d": "z", "e": ""}[k]] for c in "xyz"}
    order = sorted("abcde", key=lambda key: hashlib.sha256(f"0\0s/{key}".encode()).digest())
    for number in (1, 2):
        kept = sample_of_classes(data, number, "0")
        expected = {k for keys in first.values() for k in sorted(keys, key=order.index)[:number]}
        assert {k for k, keep in zip("abcde", kept, strict=True) if keep} == expected


def test_classes_by_their_count_and_their_negatives_stay_honest() -> None:
    data = dataset({"a": "xxy", "b": "x", "c": "z"}, x="big", y="small", z="small")
    subset = build_subset(data, class_count=">=2")
    assert classes(subset) == ["x"]
    assert subset.table("categories")["name"].to_pylist() == ["x"]
    assert subset.table("instances")["id"].to_pylist() == ["i/x"]
    assert subset.table("coverage").num_rows == 1  # whole classes went: no image is in doubt
    # Counted after the other filters: of x only one is as large as that.
    narrow = build_subset(data, class_count="<2", area=">=20")
    assert narrow.table("categories")["name"].to_pylist() == ["x", "y", "z"]
    assert classes(narrow) == ["x", "y"]


def test_supercategories_with_classes() -> None:
    data = dataset({"a": "xyz"}, x="big", y="small", z="small")
    assert classes(build_subset(data, supercategories="small")) == ["y", "z"]
    assert classes(build_subset(data, supercategories="big", classes="z")) == ["x", "z"]
    with pytest.raises(UsageError, match="did you mean small"):
        build_subset(data, supercategories="smal")


def test_frequencies_at_their_limits() -> None:
    counts = {"a": 1, "b": 2, "c": 4, "d": 5, "e": 10, "f": 11}
    data = dataset({"p": "".join(letter * n for letter, n in counts.items())})
    expected = {"easy": "f", "medium": "de", "hard": "abc", "singleton": "a"}
    for word, letters in expected.items():
        assert classes(build_subset(data, frequencies=word)) == list(letters)
    both = build_subset(data, frequencies=["easy", "singleton"])
    assert classes(both) == ["a", "f"]
    # The others are still to be seen in the image, which is no negative of theirs.
    assert [c["category"] for c in both.table("coverage").to_pylist() if c["state"] == "partial"] == list("bcde")
    with pytest.raises(UsageError, match=r"frequency 'rare': is unknown; expected one of easy"):
        build_subset(data, frequencies="rare")
