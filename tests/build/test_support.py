"""Support sets: an example worked by hand, and that none ever stands beside the gallery."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from curate.build.support import build_support
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import Annotation, Category, Image, Info, Instance, Member, Query, Record, RelevanceRule
from curate.relevance import gallery, overview
from curate.verify import verify


def image(key: str, split: str | None = "train", source: str = "s", **more: Any) -> Image:
    return Image(id=f"{source}/{key}", source=source, source_split=split, width=100, height=100, **more)


def box(name: str, category: str = "car", size: float = 10, number: int = 0, **more: Any) -> Annotation:
    return Annotation(id=f"{name}#{number}", image_id=name, category=category, x=1, y=2, w=size, h=10, **more)


def dataset(*records: Record) -> Dataset:
    names = {r.category for r in records if isinstance(r, Annotation) and r.category}
    named = {r.name for r in records if isinstance(r, Category)}
    declared = [Category(name=name) for name in sorted(names - named)]
    return from_records(Info(name="d", relevance=RelevanceRule(target="category")), [*records, *declared])


def examples(data: Dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in data.table("support").to_pylist():
        found.setdefault(row["query_id"], []).append(row["annotation_id"] or row["text"])
    return found


def members(data: Dataset) -> dict[str, str]:
    return {m["image_id"]: m["role"] for m in data.table("members").to_pylist()}


def last_step(data: Dataset) -> dict[str, int]:
    assert data.info.command
    return data.info.command.steps[-1].counts


def test_examples_from_train_for_a_gallery_of_the_rest() -> None:
    data = dataset(
        Category(name="car", definition="a road vehicle"),
        image("a", sequence="x"),
        image("b"),
        image("c", sha256="11" * 32),
        image("d"),
        image("x1", "val", sequence="x"),
        image("x2", "val", sha256="11" * 32),
        *[box(f"s/{key}", size=size) for key, size in (("a", 99), ("b", 10), ("c", 50), ("d", 20), ("x1", 10))],
        box("s/d", "bus", number=1),
        box("s/x2", "bus"),
    )
    made = build_support(data, number=2, from_splits="train", templates="a photo of a {}")
    found = examples(made)
    # a shares its sequence with a searched image, c its content: neither is shown.
    assert {query: sorted(rows) for query, rows in found.items()} == {
        "s:bus": ["a photo of a bus", "bus", "s/d#1"],
        "s:car": ["a photo of a car", "a road vehicle", "s/b#0", "s/d#0"],
    }
    assert [row["rank"] for row in made.table("support").to_pylist()] == [0, 1, 2, 0, 1, 2, 3]
    assert members(made) == {"s/x1": "gallery", "s/x2": "gallery", "s/b": "support", "s/d": "support"}
    assert [(p.code, p.item) for p in made.problems] == [("Q12", "bus")]
    assert made.table("queries").select(["id", "kind", "category", "image_id"]).to_pylist()[0] == {
        "id": "s:bus",
        "kind": "box",
        "category": "bus",
        "image_id": None,
    }
    assert made.info.command
    assert made.info.command.steps[1].counts == {
        "images to choose from": 2,
        "images left out that share a sequence with the gallery": 1,
        "images left out that are copies of searched ones": 1,
        "images of unknown sequence": 2,
    }
    assert not {f.code for f in verify(made).findings} & {"Q01", "Q02", "Q08"}
    assert made.info.parents == (data.as_parent(),)


def test_spread_over_sources_then_sizes() -> None:
    records: list[Record] = []
    for source, count in (("s", 9), ("t", 3), ("u", 1)):
        for n in range(count):
            records += [image(f"{n}", source=source), box(f"{source}/{n}", size=10 + n)]
    made = build_support(dataset(*records, image("far", "val")), number=3, from_splits="train")
    names = [row["image_id"] for row in made.table("support").to_pylist() if row["image_id"]]
    assert sorted(name[0] for name in names) == ["s", "t", "u"]
    assert last_step(made)["sources"] == 3
    # Of one source the sizes are spread: one of each third.
    only = dataset(*[r for r in records if getattr(r, "id", "").startswith("s/")], image("far", "val"))
    widths = sorted(row["w"] for row in build_support(only, number=3, from_splits="train").table("support").to_pylist()
                    if row["image_id"])  # fmt: skip
    assert [int(w - 10) // 3 for w in widths] == [0, 1, 2]


def test_no_two_from_one_image_and_smaller_sets_are_part_of_larger_ones() -> None:
    records: list[Record] = [image("far", "val")]
    for n in range(6):
        records += [image(str(n)), box(f"s/{n}"), box(f"s/{n}", number=1, size=20)]
    sets = [build_support(dataset(*records), number=n, from_splits="train") for n in (2, 5)]
    small, large = ([r["image_id"] for r in made.table("support").to_pylist() if r["image_id"]] for made in sets)
    assert len(set(small)) == 2
    assert len(set(large)) == 5


def test_without_gallery_and_splits_examples_leave_and_every_class_can_still_be_found() -> None:
    data = dataset(
        image("a", sequence="x"), image("b", sequence="x"), image("c"), image("d"), *[box(f"s/{key}") for key in "abc"],
        box("s/d", "bus"),
    )  # fmt: skip
    made = build_support(data, number=3)
    assert {m for m, role in members(made).items() if role == "support"} <= {"s/a", "s/b", "s/c"}
    assert all(overview(made)["positive"].to_numpy() > 0)
    assert [p.item for p in made.problems if "0 examples" in p.message] == ["bus"]


def test_queries_that_are_there_get_the_examples() -> None:
    data = dataset(
        image("a"), image("b"), image("g"), *[box(f"s/{key}") for key in "abg"], box("s/g", "bus", number=1),
        Query(id="words", kind="text", text="car", category="car"),
        Query(id="picture", kind="box", image_id="s/b", annotation_id="s/b#0"),
        Query(id="none", kind="text", category="bus"),
        Member(image_id="s/g", role="gallery"), Member(image_id="s/b", role="query"),
    )  # fmt: skip
    made = build_support(data)
    assert examples(made) == {"picture": ["s/a#0", "car"], "words": ["s/a#0", "car"]}  # never the query's own image
    assert members(made) == {"s/g": "gallery", "s/b": "query", "s/a": "support"}
    assert build_support(made).fingerprint() == made.fingerprint()  # earlier examples make room for the same


def test_instances_in_words() -> None:
    data = dataset(
        Instance(id="i/1", category="mug", description="my mug"), Instance(id="i/2", category="mug"),
        image("a"), image("b"), image("g", "val"), box("s/a", "mug", instance="i/1"), box("s/b", "mug", instance="i/2"),
    )  # fmt: skip
    made = build_support(data, target="instance", from_splits=["train"], templates=["one {}"])
    assert examples(made) == {"s:i/1": ["s/a#0", "my mug", "one mug"], "s:i/2": ["s/b#0", "mug", "one mug"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, "number of examples: is 0"),
        ({"templates": "a photo"}, "template 'a photo': has not one {}"),
        ({"templates": "{} or {}"}, "has not one {}"),
        ({"templates": "{0.__class__} {}"}, "has not one {}"),
        ({"from_splits": "tarin"}, "split 'tarin': is not in the dataset; expected one of train"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("{}", r"\{\}")):
        build_support(dataset(image("a"), box("s/a")), **options)


def test_no_example_at_all() -> None:
    data = dataset(image("a"), box("s/a"), Member(image_id="s/a", role="gallery"))
    with pytest.raises(SchemaError, match="there is no example for any of 1 targets"):
        build_support(data)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.data())
def test_no_example_ever_stands_beside_the_gallery(draw: st.DataObject) -> None:
    some = st.sampled_from
    records: list[Record] = []
    for n in range(10):
        sha = draw.draw(some([None, None, "11" * 32, "22" * 32]))
        records.append(image(str(n), draw.draw(some(["train", "val"])), sequence=draw.draw(some("xyz")), sha256=sha))
        for k in range(draw.draw(st.integers(0, 2))):
            category = draw.draw(some(["car", "bus"]))
            records.append(
                box(f"s/{n}", category, draw.draw(some([5.0, 9.0])), k, status=draw.draw(some(["truth", "proposal"])))
            )
        if draw.draw(st.booleans()):
            records.append(Member(image_id=f"s/{n}", role=draw.draw(some(["gallery", "support"]))))
    try:
        made = build_support(dataset(*records), number=2, from_splits=draw.draw(some([[], ["train"]])))
    except (SchemaError, UsageError):
        return
    rows = {row["id"]: row for row in made.table("images").to_pylist()}
    searched = [rows[name] for name in gallery(made).to_pylist()]
    for row in made.table("support").to_pylist():
        if row["image_id"]:
            shown = rows[row["image_id"]]
            assert shown["sequence"] not in {other["sequence"] for other in searched}
            assert members(made)[row["image_id"]] == "support"
            assert shown["sha256"] is None or shown["sha256"] not in {other["sha256"] for other in searched}
