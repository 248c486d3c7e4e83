"""Query/gallery splits: promises that hold for any dataset, and an example worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.build.split import build_split
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import (
    Annotation,
    Category,
    Coverage,
    Finding,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Query,
    Record,
    RelevanceRule,
    Rle,
    Support,
)
from curate.relevance import gallery, overview, relevance


def image(key: str, sequence: str | None = None, **more: Any) -> Image:
    return Image(id=f"s/{key}", source="s", source_split="train", width=100, height=100, sequence=sequence, **more)


def box(image_key: str, number: int, category: str | None = "car", size: float = 100, **more: Any) -> Annotation:
    return Annotation(
        id=f"s/{image_key}#{number}", image_id=f"s/{image_key}", category=category, x=1, y=2, w=size, h=1, **more
    )


def dataset(*records: Record, **rule: Any) -> Dataset:
    names = {r.category for r in records if isinstance(r, Annotation) and r.category}
    named = {r.name for r in records if isinstance(r, Category)}
    declared = [Category(name=name) for name in sorted(names - named)]
    return from_records(Info(name="d", relevance=RelevanceRule(**rule)), [*records, *declared])


def queries(data: Dataset) -> list[str]:
    """The annotations that became queries."""
    found: list[str] = data.table("queries")["annotation_id"].to_pylist()
    return found


def roles(data: Dataset) -> dict[str, str]:
    return {row["image_id"].removeprefix("s/"): row["role"] for row in data.table("members").to_pylist()}


def step(data: Dataset, what: str) -> dict[str, int]:
    assert data.info.command
    (found,) = [step.counts for step in data.info.command.steps if step.what.startswith(what)]
    return found


def test_worked_by_hand() -> None:
    data = dataset(
        # Drive 1: two frames. Its largest car would be the query, and takes both frames along.
        image("a1", "drive1"),
        image("a2", "drive1"),
        box("a1", 1, size=900),
        box("a2", 1, size=100),
        # Alone: a bus, and a car.
        image("b", "drive2"),
        box("b", 1, category="bus", size=300),
        box("b", 2, size=200),
        # Of unknown sequence: a bus and a car.
        image("c"),
        box("c", 1, category="bus", size=200),
        box("c", 2, size=400),
        # A tram is to be seen here only.
        image("d"),
        box("d", 1, category="tram"),
        Coverage(scope="s/train", category="*", state="exhaustive"),
        Coverage(scope="s/d", category="bus", state="none"),
    )
    split = build_split(data, target="category")
    # Rare first: the bus (2 images) before the car (4); the tram gets none. The largest bus is in b, which leaves. The
    # largest car is in a1: then drive1 leaves, and c is left with a bus and a car.
    assert queries(split) == ["s/a1#1", "s/b#1"]
    assert roles(split) == {"a1": "query", "b": "query", "c": "gallery", "d": "gallery"}
    assert split.table("images")["split"].to_pylist() == ["query", None, "query", "gallery", "gallery"]
    assert split.info.relevance == RelevanceRule(target="category")
    assert [(r["query_id"], r["image_id"], r["label"]) for r in relevance(split).to_pylist()] == [
        ("q:s/a1#1", "s/c", "positive"),
        ("q:s/b#1", "s/c", "positive"),
    ]
    assert split.table("queries").drop_columns(["text", "instance"]).to_pylist()[1] == {
        "id": "q:s/b#1",
        "kind": "box",
        "group": "bus",
        "image_id": "s/b",
        "x": 1,
        "y": 2,
        "w": 300,
        "h": 1,
        "annotation_id": "s/b#1",
        "category": "bus",
    }
    assert step(split, "queries: largest box of each category") == {
        "targets": 3,
        "candidates": 7,
        "queries": 2,
        "targets without query": 1,
    }
    assert step(split, "leaks by sequence: unproved") == {
        "query images": 2,
        "gallery images": 2,
        "gallery images of a query's sequence": 0,
        "query images of unknown sequence": 0,
        "gallery images of unknown sequence": 2,
    }
    assert step(split, "pairs") == {"positive": 2, "ignored": 0, "negative": 1, "unjudged": 1}
    (problem,) = lost(split)
    assert (problem.code, problem.item, problem.severity) == ("Q02", "tram", "warning")
    assert split.info.command
    assert split.info.command.options == {
        "target": "category",
        "queries-per": 1,
        "rule": "largest",
        "kind": "box",
        "min-area": 0.0,
        "group": "sequence",
    }


def test_no_query_takes_the_last_positive_from_another() -> None:
    data = dataset(
        image("a"),
        image("p", "drive"),
        image("q", "drive"),
        *map(image, "rs"),
        box("a", 1, category="bus", size=50),
        box("p", 1, category="bus", size=10),
        *[box(key, 2, size=size) for key, size in zip("qrs", (99, 50, 10), strict=True)],
    )
    # The bus is rare and chooses first: a, which leaves it p. The largest car, in q, would take p along: so r.
    split = build_split(data, target="category")
    assert queries(split) == ["s/a#1", "s/r#2"]
    assert roles(split) == {"a": "query", "p": "gallery", "q": "gallery", "r": "query", "s": "gallery"}


def test_rule_first_goes_by_id() -> None:
    data = dataset(*map(image, "abc"), box("b", 1, size=900), box("a", 7, size=1), box("c", 1))
    assert queries(build_split(data, target="category", rule="first")) == ["s/a#7"]


def test_largest_by_mask_where_there_is_one() -> None:
    mask = Rle(size=(1, 1), counts="01")
    data = dataset(
        *map(image, "abc"),
        box("a", 1, size=900, segmentation=mask, area=5),
        box("b", 1, size=50),
        box("c", 1, size=10, segmentation=mask, area=9),
    )
    assert queries(build_split(data, target="category")) == ["s/b#1"]
    masks = build_split(data, target="category", kind="mask")
    assert queries(masks) == ["s/c#1"]
    assert masks.table("queries")["kind"].to_pylist() == ["mask"]
    whole = build_split(data, target="category", kind="image")
    assert whole.table("queries").select(["kind", "x", "w", "image_id"]).to_pylist() == [
        {"kind": "image", "x": None, "w": None, "image_id": "s/b"}
    ]


def test_cleanest_mask() -> None:
    mask = Rle(size=(1, 1), counts="01")

    def masked(key: str, x: float, w: float, area: float) -> Annotation:
        name = f"s/{key}"
        return Annotation(
            id=f"{name}#1", image_id=name, category="car", x=x, y=10, w=w, h=10, area=area, segmentation=mask
        )

    data = dataset(
        *map(image, "abcde"),
        masked("a", 0, 90, 900),  # fills its box, but touches the frame's edge
        masked("b", 5, 20, 150),  # three quarters of its box
        masked("c", 5, 10, 90),  # nine tenths
        masked("d", 20, 80, 800),  # touches the right edge: 20 + 80 is the width
        box("e", 1, size=99),  # no mask
    )
    split = build_split(data, target="category", rule="cleanest", queries_per=9)
    order = [build_split(data, target="category", rule="cleanest", queries_per=n) for n in (1, 2, 3, 4)]
    assert queries(order[0]) == ["s/c#1"]
    assert queries(order[1]) == ["s/b#1", "s/c#1"]
    assert queries(order[2]) == ["s/a#1", "s/b#1", "s/c#1"]  # of those cut off the larger
    assert queries(split) == queries(order[3]) == ["s/a#1", "s/b#1", "s/c#1", "s/d#1"]  # e has no mask, and stays


def test_given_queries_and_no_others() -> None:
    data = dataset(*map(image, "abcd"), *[box(key, n, size=n) for n, key in enumerate("aabcd", 1)])
    split = build_split(data, target="category", given=["s/b#3", "s/a#1"])
    assert queries(split) == ["s/a#1", "s/b#3"]
    assert split.info.command
    assert split.info.command.options["queries"] == ["s/a#1", "s/b#3"]
    assert lost(split) == []
    # Not all of them can be: an image must be left to be found.
    every = build_split(data, target="category", given=[f"s/{k}#{n}" for n, k in enumerate("aabcd", 1)])
    assert len(queries(every)) == 3
    assert step(every, "queries: given")["given and not taken"] == 2
    assert [problem.code for problem in lost(every)] == ["Q02", "Q02"]
    with pytest.raises(UsageError, match="given query 's/x#1': is no annotation of the dataset"):
        build_split(data, target="category", given=["s/x#1"])


def test_given_queries_that_are_no_candidates_are_named() -> None:
    data = dataset(*map(image, "ab"), box("a", 1), box("a", 2, status="proposal"), box("b", 1))
    split = build_split(data, target="category", given=["s/a#1", "s/a#2"])
    assert queries(split) == ["s/a#1"]
    assert [problem.item for problem in lost(split)] == ["s/a#2"]


def test_text_queries_take_no_image_from_the_gallery() -> None:
    data = dataset(
        image("a", "x"),
        image("b", "x"),
        image("c"),
        Category(name="car", definition="a road vehicle"),
        box("a", 1),
        box("b", 1, category="bus"),
        box("c", 1, category="tram"),
        Member(image_id="s/a", role="gallery"),
        Member(image_id="s/b", role="gallery"),
    )
    split = build_split(data, target="category", kind="text")
    rows = split.table("queries").to_pylist()
    assert [(q["id"], q["kind"], q["text"], q["category"], q["image_id"]) for q in rows] == [
        ("t:bus", "text", "bus", "bus", None),
        ("t:car", "text", "a road vehicle", "car", None),
    ]
    assert roles(split) == {"a": "gallery", "b": "gallery"}
    assert overview(split)["positive"].to_pylist() == [1, 1]
    assert [problem.item for problem in lost(split)] == ["tram"]
    with pytest.raises(UsageError, match="--kind text: given together with --rule"):
        build_split(data, kind="text", rule="first")
    with pytest.raises(SchemaError, match="no query can be chosen among 0 targets"):
        build_split(dataset(image("a")), target="category", kind="text")


def test_text_of_an_instance_is_its_description() -> None:
    data = dataset(
        *map(image, "ab"),
        Instance(id="set/1", description="a red mug", category="mug"),
        Instance(id="set/2", category="cup"),
        box("a", 1, instance="set/1"),
        box("b", 1, instance="set/2"),
    )
    found = build_split(data, kind="text").table("queries")
    assert list(zip(found["instance"].to_pylist(), found["text"].to_pylist(), strict=True)) == [
        ("set/1", "a red mug"),
        ("set/2", "cup"),
    ]


def test_unjudged_images_are_dropped_with_queries_that_only_they_answered() -> None:
    data = dataset(
        *map(image, "abcdef"),
        box("a", 1, size=90),
        box("b", 1, size=10),
        box("c", 1, category="bus", size=90),
        box("d", 1, category="bus", size=10),
        image("far"),
        Member(image_id="s/far", role="distractor"),
        *[Member(image_id=f"s/{key}", role="gallery") for key in "abcdef"],
        *[Coverage(scope=f"s/{key}", category="*", state="exhaustive") for key in "bf"],
        Coverage(scope="s/e", category="car", state="exhaustive"),
    )
    kept = build_split(data, target="category")
    assert queries(kept) == ["s/a#1", "s/c#1"]
    split = build_split(data, target="category", unjudged="drop")
    # d may show a car, e a bus: they go, and the bus has no positive then. The distractor stays, as it was given.
    assert queries(split) == ["s/a#1"]
    assert roles(split) == {"a": "query", "b": "gallery", "f": "gallery", "far": "distractor"}
    assert step(split, "unjudged images dropped") == {
        "gallery images": 3,
        "dropped images": 2,
        "queries": 1,
        "queries without positive": 1,
    }
    assert [problem.item for problem in split.problems] == ["q:s/c#1"]
    assert split.info.command
    assert split.info.command.options["unjudged"] == "drop"
    with pytest.raises(SchemaError, match="no query keeps a positive when unjudged images are dropped"):
        build_split(data.replace(coverage=data.table("coverage").slice(0, 0)), target="category", unjudged="drop")


def test_why_a_target_got_no_query() -> None:
    data = dataset(
        *[image(key, "x") for key in "ab"],
        *map(image, "cdef"),
        *[Category(name=name) for name in ("pram", "cart", "bike")],
        box("a", 1, category="pram", size=50),
        box("b", 2, category="pram", size=50),
        box("c", 3, category="cart", size=50),
        box("d", 4, category="bike", size=50),
        box("f", 5, category="bike", size=5),  # too small to be found
        *[box(key, 6, size=60) for key in "ef"],
    )
    split = build_split(data, target="category", min_area=20)
    alone = "got no query: only 1 image shows it, and nothing would be left to find"
    assert {one.item: one.message for one in lost(split)} == {
        "pram": "got no query: its 2 images are all of one sequence, and nothing would be left to find",
        "cart": alone,
        "bike": alone,
    }
    with pytest.raises(SchemaError, match=r"among 4 targets \(category\): none of them has a mask; expected"):
        build_split(data, target="category", rule="cleanest", min_area=20)
    with pytest.raises(UsageError, match="--min-area: is nan; expected an area in px²"):
        build_split(data, target="category", min_area=float("nan"))


def test_two_targets_that_need_the_same_images() -> None:
    """Whichever of a and b becomes a query, another target would have none left."""
    shared = [box(key, n, category=name) for key in "ab" for n, name in enumerate(("bus", "car"))]
    split = build_split(dataset(*map(image, "ab"), *shared), target="category", group="none")
    assert len(queries(split)) == 2  # both from one image; the other answers both
    chain = [("a", "bus"), ("b", "bus"), ("b", "car"), ("c", "car"), ("c", "tram"), ("a", "tram")]
    boxes = [box(key, n, category=name) for n, (key, name) in enumerate(chain)]
    split = build_split(dataset(*map(image, "abc"), *boxes), target="category", group="none")
    told = {one.message for one in lost(split)}
    assert told == {"got no query: every candidate would take the last positive from it or from another query"}


def doubtful() -> Dataset:
    """Two queries: of the car, e is not covered; of the bus, b and f are not."""
    return dataset(
        *map(image, "abcdef"),
        box("a", 1, size=90),
        box("b", 1, size=10),
        box("c", 1, category="bus", size=90),
        box("d", 1, category="bus", size=10),
        box("e", 1, category="bus", size=5),
        image("far"),
        Member(image_id="s/far", role="distractor"),
        *[Member(image_id=f"s/{key}", role="gallery") for key in "abcdef"],
        *[Coverage(scope=f"s/{key}", category="car", state="exhaustive") for key in "abcdf"],
        *[Coverage(scope=f"s/{key}", category="bus", state="exhaustive") for key in "acde"],
    )


def test_unjudged_images_are_told_for_each_query() -> None:
    found = build_split(doubtful(), target="category")
    assert [(one.code, one.severity, one.item, one.message.split(":")[0]) for one in found.problems] == [
        ("Q09", "info", "q:s/a#1", "2 of 5 gallery images are unjudged for it"),  # e, and the distractor
        ("Q09", "info", "q:s/c#1", "3 of 5 gallery images are unjudged for it"),
    ]
    assert found.table("judgements").num_rows == 0


def test_unjudged_images_are_passed_over_for_their_query_alone() -> None:
    plain = build_split(doubtful(), target="category")
    split = build_split(doubtful(), target="category", unjudged="ignore")
    assert roles(split) == roles(plain)
    assert labels(split) == {
        "q:s/a#1": {"b": "positive", "e": "ignore"},
        "q:s/c#1": {"d": "positive", "e": "positive", "b": "ignore", "f": "ignore"},
    }
    assert step(split, "unjudged images passed over") == {"queries": 2, "pairs": 3}
    assert split.problems == ()
    # Nobody was asked about the distractor; that is why it stays, and stays unjudged.
    before, after = overview(plain).to_pylist(), overview(split).to_pylist()
    for was, now, passed in zip(before, after, (1, 2), strict=True):
        assert now == was | {"ignored": was["ignored"] + passed, "unjudged": 1}
    assert split.info.command
    assert split.info.command.options["unjudged"] == "ignore"
    again = build_split(split, unjudged="ignore")
    assert labels(again) == labels(split)


def test_passing_over_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.build.unjudged._MOST", 4)
    with pytest.raises(UsageError, match="--unjudged ignore: would write 5 judgements; expected at most 4; use drop"):
        build_split(doubtful(), target="category", unjudged="ignore")


def test_nothing_unjudged_writes_no_judgement() -> None:
    data = doubtful()
    sure = data.replace(coverage=data.table("coverage").slice(0, 0))
    records = [Coverage(scope=f"s/{key}", category="*", state="exhaustive") for key in ("far", *"abcdef")]
    sure = sure.replace(coverage=from_records(Info(name="d"), records).table("coverage"))
    split = build_split(sure, target="category", unjudged="ignore")
    assert split.table("judgements").num_rows == 0
    assert step(split, "unjudged images passed over") == {"queries": 0, "pairs": 0}


def lost(split: Dataset) -> list[Finding]:
    """What is told beside the unjudged images of each query."""
    return [one for one in split.problems if one.code != "Q09"]


def labels(split: Dataset) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in split.table("judgements").to_pylist():
        found.setdefault(row["query_id"], {})[row["image_id"].removeprefix("s/")] = row["label"]
    return found


def test_several_queries_per_target_from_different_images() -> None:
    data = dataset(*map(image, "abcd"), *[box(key, n, size=n) for n, key in enumerate("aabcd", 1)])
    split = build_split(data, target="category", queries_per=2)
    assert queries(split) == ["s/c#4", "s/d#5"]
    many = build_split(data, target="category", queries_per=10**12)
    assert queries(many) == ["s/b#3", "s/c#4", "s/d#5"]  # one image stays to be found
    assert step(many, "queries")["targets with fewer than 1000000000000"] == 1


def test_only_sound_truth_becomes_a_query() -> None:
    data = dataset(
        *map(image, "abcdefgh"),
        Category(name="sky", role="ignore"),
        Category(name="misc", role="other"),
        *[box(key, 9, size=9) for key in "gh"],
        box("a", 1, size=99, status="proposal"),
        box("b", 1, size=99, status="rejected"),
        box("c", 1, size=99, iscrowd=True),
        box("d", 1, size=99, ignore=True),
        *[box(key, 2, category="sky") for key in "ef"],
        *[box(key, 3, category="misc", instance="set/1") for key in "ef"],
        *[box(key, 4, category="sky", instance="set/2") for key in "ef"],
    )
    assert queries(build_split(data, target="category")) == ["s/g#9"]
    assert queries(build_split(data, target="instance")) == ["s/e#3"]


def test_instances_are_the_target_where_there_are_any() -> None:
    data = dataset(*map(image, "ab"), box("a", 1, instance="set/1"), box("b", 1, instance="set/1"))
    split = build_split(data)
    assert split.table("queries")["instance"].to_pylist() == ["set/1"]
    assert split.info.relevance.target == "instance"


def test_min_area_is_for_queries_and_for_the_gallery() -> None:
    data = dataset(*map(image, "abcd"), box("a", 1, size=60), box("b", 1, size=50), box("c", 1, size=49))
    split = build_split(data, target="category", min_area=50)
    assert queries(split) == ["s/a#1"]
    assert [(r["image_id"], r["label"]) for r in relevance(split).to_pylist()] == [
        ("s/b", "positive"),
        ("s/c", "ignore"),
    ]
    assert split.info.relevance.min_area == 50


def test_groups_by_place_and_not_at_all() -> None:
    data = dataset(
        image("a", place="Ulm"), image("b", place="Ulm"), image("c", place="Bonn"), *[box(key, 1) for key in "abc"]
    )
    assert roles(build_split(data, target="category", group="place")) == {"a": "query", "c": "gallery"}
    loose = build_split(data, target="category", group="none")
    assert roles(loose) == {"a": "query", "b": "gallery", "c": "gallery"}
    assert step(loose, "leaks: sequences and places were not looked at")


def test_equal_names_of_sequences_in_two_sources_are_two_sequences() -> None:
    other = Image(id="t/b", source="t", sequence="0001")
    data = dataset(
        image("a", "0001"),
        other,
        box("a", 1),
        Annotation(id="t/b#1", image_id="t/b", category="car", x=0, y=0, w=9, h=9),
    )
    assert queries(build_split(data, target="category")) == ["s/a#1"]


def test_support_images_stay_out_and_distractors_stay_in() -> None:
    data = dataset(
        *map(image, "abcd"),
        *[box(key, 1, size=size) for key, size in zip("abc", (10, 20, 30), strict=True)],
        box("d", 1, size=5),
        Member(image_id="s/a", role="gallery"),
        Member(image_id="s/b", role="gallery"),
        Member(image_id="s/c", role="distractor"),
        Member(image_id="s/d", role="support"),
    )
    assert roles(build_split(data, target="category")) == {
        "a": "gallery",
        "b": "query",
        "c": "distractor",
        "d": "support",
    }


def test_a_distractor_of_a_query_s_sequence_leaves() -> None:
    data = dataset(
        image("a", "x"),
        image("b", "x"),
        image("c", "y"),
        *[box(key, 1, size=size) for key, size in zip("ac", (20, 10), strict=True)],
        Member(image_id="s/a", role="gallery"),
        Member(image_id="s/b", role="distractor"),
        Member(image_id="s/c", role="gallery"),
    )
    assert roles(build_split(data, target="category")) == {"a": "query", "c": "gallery"}


def test_no_query_possible_is_an_error() -> None:
    with pytest.raises(SchemaError, match="no query can be chosen among 1 targets"):
        build_split(dataset(image("a"), image("b"), box("a", 1)), target="category")
    with pytest.raises(SchemaError, match="no query can be chosen among 0 targets"):
        build_split(dataset(image("a")))


# ------------------------------------------------------------------------------------------------ queries that exist


def existing() -> Dataset:
    return dataset(
        *[image(key, "x") for key in "ab"],
        *map(image, "cde"),
        *[box(key, 1, instance="set/1") for key in "abc"],
        box("d", 1, instance="set/2"),
        Query(id="one", kind="box", image_id="s/a", annotation_id="s/a#1", instance="set/1"),
        Query(id="two", kind="box", image_id="s/d", instance="set/2"),
        Query(id="judged", kind="image", image_id="s/d"),
        Judgement(query_id="judged", image_id="s/e", label="hard"),
        Support(query_id="two", rank=1, text="a mug"),
    )


def test_queries_that_exist_are_kept_and_checked() -> None:
    split = build_split(existing())
    assert split.table("queries")["id"].to_pylist() == ["judged", "one"]
    assert split.table("support").num_rows == 0
    assert split.table("judgements").num_rows == 1
    assert roles(split) == {"a": "query", "b": "gallery", "c": "gallery", "d": "query", "e": "gallery"}
    assert step(split, "queries kept") == {"queries": 2, "without positive": 1}
    assert step(split, "leaks by sequence: found")["gallery images of a query's sequence"] == 1
    (problem,) = lost(split)
    assert (problem.code, problem.item) == ("Q02", "two")
    assert split.info.command
    assert split.info.command.options == {"keep-members": True, "group": "sequence"}
    assert build_split(existing(), keep_members=True).info == split.info


def test_members_that_exist_are_kept() -> None:
    data = existing()
    members = from_records(Info(name="m"), [Member(image_id=f"s/{k}", role="gallery") for k in "ce"]).table("members")
    assert roles(build_split(data.replace(members=members))) == {"c": "gallery", "e": "gallery"}


def test_an_option_that_chooses_replaces_them() -> None:
    split = build_split(existing(), target="instance", group="none")
    assert queries(split) == ["s/a#1"]
    assert split.table("judgements").num_rows == split.table("support").num_rows == 0


def test_queries_of_another_target_are_no_silent_loss() -> None:
    data = dataset(*map(image, "ab"), box("a", 1), box("b", 1), Query(id="q", kind="text", category="car"))
    with pytest.raises(SchemaError, match="none of its 1 queries has a positive in the gallery"):
        build_split(data)  # its rule asks for instances


def test_keeping_and_choosing_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="--keep-members: given together with --rule"):
        build_split(existing(), keep_members=True, rule="first")
    with pytest.raises(UsageError, match="has no queries"):
        build_split(dataset(image("a")), keep_members=True)


# -------------------------------------------------------------------------------------------------- random datasets

KEYS = "abcdefgh"


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    sequences = st.sampled_from(["x", "y", "z", None])
    records: list[Record] = [image(key, draw(sequences)) for key in KEYS]
    records += [
        box(
            draw(st.sampled_from(KEYS)),
            number,
            category=draw(st.sampled_from(["car", "bus", None])),
            size=draw(st.sampled_from([10.0, 50.0, 90.0])),
            instance=draw(st.sampled_from(["set/1", "set/2", None])),
            status=draw(st.sampled_from(["truth", "truth", "truth", "proposal"])),
            iscrowd=draw(st.sampled_from([False, False, False, True])),
        )
        for number in range(draw(st.integers(6, 16)))
    ]
    member_roles = st.sampled_from(["gallery", "distractor", "support", "query"])
    members = draw(st.sets(st.tuples(st.sampled_from(KEYS), member_roles), max_size=3))
    return dataset(*records, *[Member(image_id=f"s/{key}", role=role) for key, role in members])


OPTIONS = st.fixed_dictionaries(
    {"target": st.sampled_from(["category", "instance"]), "group": st.sampled_from(["sequence", "none"])},
    optional={
        "queries_per": st.integers(1, 4),
        "rule": st.sampled_from(["largest", "first"]),
        "kind": st.sampled_from(["box", "image"]),
        "min_area": st.sampled_from([0.0, 50.0]),
    },
)


@settings(max_examples=100, deadline=None)
@given(datasets(), OPTIONS)
def test_promises(data: Dataset, options: dict[str, Any]) -> None:
    try:
        split = build_split(data, **options)
    except SchemaError:
        split = None
    found = truth(data, options)
    if split is None:
        assert not_possible(data, options, found)
        return
    chosen = split.table("queries").to_pylist()
    # Every query has a positive.
    assert all(row["positive"] > 0 for row in overview(split).to_pylist())
    # Queries are truth of their target, large enough, no more than asked for, each from another image.
    per_target: dict[str, list[str]] = {}
    for query in chosen:
        target = query[options["target"]]
        assert (target, query["image_id"]) in {(t, i) for t, i, _ in found}
        assert (query["annotation_id"]) in {a for _, _, a in found}
        per_target.setdefault(target, []).append(query["image_id"])
    for target, images in per_target.items():
        assert len(images) == len(set(images)) <= options.get("queries_per", 1), target
    # No gallery image is a query's, or of its sequence.
    sequence = {row["id"]: row["sequence"] for row in data.table("images").to_pylist()}
    query_images = {query["image_id"] for query in chosen}
    searched = set(gallery(split).to_pylist())
    assert not query_images & searched
    if options["group"] == "sequence":
        assert not {sequence[i] for i in query_images} & {sequence[i] for i in searched} - {None}
    # A target without query is reported, and no other.
    assert {problem.item for problem in lost(split)} == {target for target, _, _ in found} - set(per_target)
    # Nothing else changed, and the same again.
    assert split.table("annotations") is data.table("annotations")
    assert build_split(data, **options).fingerprint() == split.fingerprint()


def truth(data: Dataset, options: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (row[options["target"]], row["image_id"], row["id"])
        for row in data.table("annotations").to_pylist()
        if row["status"] == "truth"
        and not row["iscrowd"]
        and row[options["target"]]
        and row["w"] * row["h"] >= options.get("min_area", 0)
    ]


def not_possible(data: Dataset, options: dict[str, Any], found: list[tuple[str, str, str]]) -> bool:
    """Whether no single query can be chosen: for every candidate, no positive is left outside its group."""
    rows = data.table("members").to_pylist()
    having = {
        role: {r["image_id"] for r in rows if r["role"] == role}
        for role in ("gallery", "distractor", "support", "query")
    }
    searched = {f"s/{key}" for key in KEYS} - having["support"]
    if having["gallery"] | having["distractor"]:
        searched &= having["gallery"] | having["distractor"] | having["query"]
    sequence = {row["id"]: row["sequence"] for row in data.table("images").to_pylist()}

    def together(a: str, b: str) -> bool:
        return a == b or (options["group"] == "sequence" and sequence[a] is not None and sequence[a] == sequence[b])

    return not any(
        target == other and i not in having["support"] | having["distractor"] and j in searched and not together(i, j)
        for target, i, _ in found
        for other, j, _ in found
    )
