"""Hidden tests: what the public part must not know, what the key holds, and what public labels imply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import store
from curate.build.hidden import Share, build_hidden
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import (
    Annotation,
    Category,
    Coverage,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Query,
    Record,
    RelevanceRule,
    SourceRecord,
    Support,
)
from curate.model import Counts as Numbers
from curate.relevance import gallery, relevance, unjudged
from curate.verify import verify


def image(key: str, split: str = "test", source: str = "s", **more: Any) -> Image:
    return Image(id=f"{source}/{key}", source=source, source_split="all", split=split, width=100, height=100, **more)


def box(image_id: str, number: int, category: str = "car", **more: Any) -> Annotation:
    return Annotation(id=f"{image_id}#{number}", image_id=image_id, category=category, x=1, y=2, w=9, h=9, **more)


HUMAN = {"origin": "human:ann"}
FIXED: list[Record] = [
    *(image(key, "train") for key in "ab"),
    *(image(key) for key in "cdef"),
    Category(name="car"),
    Category(name="bus"),
    Coverage(scope="s/all", category="*", state="exhaustive"),
    box("s/a", 1),
    box("s/b", 1, "bus"),
    Query(id="q:car", kind="box", image_id="s/a", annotation_id="s/a#1", x=1, y=2, w=9, h=9, category="car"),
    Query(id="t:bus", kind="text", text="a bus", category="bus"),
    Support(query_id="t:bus", rank=0, image_id="s/b", annotation_id="s/b#1"),
    *(Member(image_id=f"s/{key}", role="gallery") for key in "cdef"),
]
TRUTH = [box("s/c", 1), box("s/c", 2, "bus", **HUMAN), box("s/d", 1, "bus", **HUMAN), box("s/e", 1, **HUMAN)]


def dataset(*records: Record, **info: Any) -> Dataset:
    return from_records(Info(name="d", relevance=RelevanceRule(target="category"), **info), [*FIXED, *records])


def pairs(data: Dataset) -> set[tuple[str, str]]:
    return {(row["query_id"], row["image_id"]) for row in relevance(data).to_pylist() if row["label"] == "positive"}


def test_public_labels_stay_and_hidden_ones_are_in_the_key() -> None:
    hidden = build_hidden(dataset(*TRUTH), splits=["test"])
    assert hidden.public.table("annotations")["id"].to_pylist() == ["s/a#1", "s/b#1"]
    assert hidden.public.table("images")["id"].to_pylist() == [f"s/{key}" for key in "abcdef"]
    assert pairs(hidden.public) == set()
    # In the key the hidden images alone are searched; b is there because a support set shows it.
    assert gallery(hidden.key).to_pylist() == [f"s/{key}" for key in "cdef"]
    assert hidden.key.table("images")["id"].to_pylist() == [f"s/{key}" for key in "abcdef"]
    assert pairs(hidden.key) == {("q:car", "s/c"), ("q:car", "s/e"), ("t:bus", "s/c"), ("t:bus", "s/d")}
    assert hidden.key.info.parents[0].fingerprint == dataset(*TRUTH).fingerprint()
    assert hidden.key.info.command
    assert hidden.key.info.command.options == {"split": ["test"], "seed": "0"}


def test_hidden_images_are_the_gallery_where_no_role_says_so() -> None:
    data = dataset(*TRUTH)
    bare = Dataset(data.info, {name: table for name, table in data.tables.items() if name != "members"})
    hidden = build_hidden(bare, splits=["test"])
    for part in (hidden.public, hidden.key):
        assert gallery(part).to_pylist() == [f"s/{key}" for key in "cdef"]
    assert hidden.key.info.parents[0].fingerprint == bare.fingerprint()


def test_what_nobody_may_know_is_unjudged() -> None:
    hidden = build_hidden(dataset(*TRUTH), splits=["test"])
    for _, images in unjudged(hidden.public):
        assert images.to_pylist() == [f"s/{key}" for key in "cdef"]
    states = {(row["scope"], row["state"]) for row in hidden.public.table("coverage").to_pylist()}
    assert states == {("s/all", "exhaustive"), *((f"s/{key}", "withheld") for key in "cdef")}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LABELS = st.lists(
    st.tuples(
        st.sampled_from("cdef"),
        st.sampled_from(["car", "bus", "secret"]),
        st.sampled_from([None, "set/hidden"]),
        st.sampled_from(["source", "human:ann"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(LABELS, st.sampled_from(["positive", "negative"]))
def test_the_public_part_is_the_same_whatever_is_hidden(
    tmp_path_factory: pytest.TempPathFactory, labels: list[tuple[str, str, str | None, str]], judged: Any
) -> None:
    """To the byte: no dictionary, count, lineage or instance remembers a label. What is hidden differs in all of it."""
    folder = tmp_path_factory.mktemp("hidden")

    def written(name: str, *records: Record, found: int) -> dict[str, bytes]:
        about = SourceRecord(title="S", found=Numbers(annotations=found))
        data = dataset(
            Category(name="secret"), *records, sources={"s": about}, headers={"f.json": {"boxes": found}}
        ).replace(problems=[])
        store.write(build_hidden(data, splits=["test"]).public, folder / name)
        return content(folder / name)

    rows = [
        box(f"s/{key}", n, category, instance=instance, origin=origin)
        for n, (key, category, instance, origin) in enumerate(labels)
    ]
    rows.append(box("s/c", 99, "bus"))  # some query must be answered
    shown: list[Record] = [box("s/d", 88), asks("q2", "d", annotation_id="s/d#88")]  # which is public
    first = written(
        "one",
        *rows,
        Instance(id="set/hidden", category="secret"),
        Judgement(query_id="q:car", image_id="s/f", label=judged),
        Coverage(scope="s/c", category="bus", state="partial"),
        *shown,
        found=len(rows),
    )
    assert first == written("other", box("s/d", 1, "bus"), *shown, found=7)


def test_numbers_are_shuffled_by_the_seed() -> None:
    data = dataset(*TRUTH)

    def numbers(part: Dataset) -> dict[str, int]:
        rows = part.images.set_index("id")["attributes"].dropna()
        return {key: json.loads(text)["hidden"]["test_id"] for key, text in rows.items()}

    first, again, other = (build_hidden(data, splits=["test"], seed=seed) for seed in ("x", "x", "y"))
    assert numbers(first.public) == numbers(first.key) == numbers(again.public) != numbers(other.public)
    assert sorted(numbers(first.public)) == [f"s/{key}" for key in "cdef"]
    assert sorted(numbers(first.public).values()) == [0, 1, 2, 3]
    assert "seed" not in str(first.public.info)


def test_attributes_of_hidden_images_go_but_for_the_path_that_names_them() -> None:
    told = image("g", attributes={"searchad": {"path": "s/g.png", "test_id": 7}, "classes": ["bus"]})
    hidden = build_hidden(dataset(*TRUTH, told), splits=["test"])
    assert '"classes"' not in str(hidden.public.table("images")["attributes"].to_pylist())
    assert '"path":"s/g.png"' in hidden.public.table("images")["attributes"].to_pylist()[-1]


def test_public_labels_that_imply_hidden_truth_are_counted() -> None:
    """c's car is its source's own label; e's was drawn by a human, but refines one of the source's."""
    refined = [box("s/e", 7, status="rejected"), box("s/f", 1, parent_id="s/e#7", **HUMAN)]
    hidden = build_hidden(dataset(*TRUTH, *refined), splits=["test"])
    assert hidden.shares == [Share("bus", 2, 0), Share("car", 3, 2)]
    (note,) = hidden.key.problems
    assert (note.code, note.severity, note.item) == ("Q10", "warning", "car")
    assert note.message == "public labels imply 2 of its 3 images, 67%"
    assert hidden.public.problems == ()
    private = build_hidden(dataset(*TRUTH), splits=["test"], private=["s"])
    assert private.shares == [Share("bus", 2, 0), Share("car", 2, 0)]


def test_images_that_public_labels_give_away_can_be_left_out() -> None:
    hidden = build_hidden(dataset(*TRUTH), splits=["test"], exclude_implied=True)
    assert hidden.shares == [Share("bus", 1, 0), Share("car", 1, 0)]
    for part in (hidden.public, hidden.key):
        assert "s/c" not in part.table("images")["id"].to_pylist()
    # What a support set shows is public anyway, and stays.
    support = Support(query_id="t:bus", rank=1, image_id="s/c")
    known = build_hidden(dataset(*TRUTH, support), splits=["test"], exclude_implied=True)
    assert "s/c" in known.public.table("images")["id"].to_pylist()


def errors(part: Dataset) -> list[str]:
    return [f"{one.code} {one.message}" for one in verify(part).findings if one.severity == "error"]


def asks(name: str, key: str, category: str | None = "car", **more: Any) -> Query:
    return Query(id=name, kind="box", image_id=f"s/{key}", category=category, **{"x": 1, "y": 2, "w": 9, "h": 9} | more)


def test_of_an_image_that_a_query_shows_only_that_is_public() -> None:
    """e is of the split, and of no gallery: the query's own box is public, and the bus beside it is not."""
    data = dataset(*TRUTH, box("s/e", 2, "bus"), asks("q2", "e", annotation_id="s/e#1"))
    members = data.table("members")
    data = data.replace(members=members.filter(pc.not_equal(members["image_id"], "s/e")))
    hidden = build_hidden(data, splits=["test"])
    assert hidden.public.table("annotations")["id"].to_pylist() == ["s/a#1", "s/b#1", "s/e#1"]
    withheld = [row["scope"] for row in hidden.public.table("coverage").to_pylist() if row["state"] == "withheld"]
    assert withheld == ["s/c", "s/d", "s/e", "s/f"]
    assert ("q2", "s/c") in pairs(hidden.key)
    assert gallery(hidden.key).to_pylist() == ["s/c", "s/d", "s/f"]
    numbered = hidden.public.images.set_index("id")["attributes"].dropna()
    assert numbered.index.to_list() == ["s/c", "s/d", "s/f"]
    # What is on an image that nobody is scored by is no truth of the test.
    assert hidden.shares == [Share("bus", 2, 0), Share("car", 1, 1)]
    command = hidden.key.info.command
    assert command and command.steps[0].counts["shown by queries or support sets"] == 1
    assert {"s/e#1", "s/e#2"} <= set(hidden.key.table("annotations")["id"].to_pylist())
    assert errors(hidden.public) == errors(hidden.key) == []


def test_an_image_of_the_gallery_that_a_query_shows_is_scored_by_the_rest_alone() -> None:
    """That e shows a car everybody knows; who asks for a bus must find it. c's car is still to be found."""
    data = dataset(*TRUTH, box("s/e", 2, "bus", **HUMAN), asks("q2", "e", annotation_id="s/e#1"))
    hidden = build_hidden(data, splits=["test"], private=["s"])
    assert gallery(hidden.public).to_pylist() == gallery(hidden.key).to_pylist() == [f"s/{key}" for key in "cdef"]
    assert hidden.public.table("annotations")["id"].to_pylist() == ["s/a#1", "s/b#1", "s/e#1"]
    buses = {("t:bus", f"s/{key}") for key in "cde"}
    assert pairs(hidden.key) == {("q:car", "s/c"), ("q2", "s/c"), *buses}
    ignored = [row for row in relevance(hidden.key).to_pylist() if row["label"] == "ignore"]
    assert [(row["query_id"], row["image_id"]) for row in ignored] == [("q:car", "s/e")]
    assert hidden.shares == [Share("bus", 3, 0), Share("car", 1, 0)]
    numbers = [json.loads(text) for text in hidden.public.images["attributes"].dropna()]
    assert sorted(one["hidden"]["test_id"] for one in numbers) == [0, 1, 2, 3]
    # What is not listed is as it was before: negatives by coverage, and nothing unjudged.
    assert [len(images) for _, images in unjudged(hidden.key)] == [0, 0, 0]
    # That a query stands in the gallery is so already in what was given.
    (text,) = errors(data)
    assert text.startswith("Q01 image s/e is a query and stands in the gallery")
    assert errors(hidden.public) == errors(hidden.key) == [text]


@pytest.mark.parametrize(
    "shown",
    [
        asks("q2", "e"),  # a query without annotation tells all the same that its image shows a car
        Support(query_id="q:car", rank=0, image_id="s/e"),
        Support(query_id="t:bus", rank=1, image_id="s/b", annotation_id="s/e#1"),
    ],
)
def test_what_an_image_is_known_to_show_is_passed_over(shown: Record) -> None:
    hidden = build_hidden(dataset(*TRUTH, shown), splits=["test"])
    assert ("q:car", "s/e") not in pairs(hidden.key)
    assert ("q:car", "s/c") in pairs(hidden.key)


def test_a_judgement_does_not_score_what_the_group_of_a_query_tells() -> None:
    """Queries of a group ask for one thing: where one shows it, the others have nothing to find."""
    judged = [Judgement(query_id="g1", image_id=f"s/{key}", label="easy") for key in "cde"]
    groups = [asks("g1", "a", None, group="arch"), asks("g2", "e", None, group="arch")]
    hidden = build_hidden(dataset(*TRUTH, *judged, *groups), splits=["test"])
    listed = {row["image_id"]: row["label"] for row in relevance(hidden.key, ["g1"]).to_pylist()}
    assert listed == {"s/c": "easy", "s/d": "easy", "s/e": "ignore"}


def test_the_rest_of_a_shown_image_may_be_implied() -> None:
    """c's car is its source's own label: the image stays for the query that shows its bus, and leaves the gallery."""
    data = dataset(*TRUTH, asks("q2", "c", "bus", annotation_id="s/c#2"))
    hidden = build_hidden(data, splits=["test"], exclude_implied=True)
    for part in (hidden.public, hidden.key):
        assert gallery(part).to_pylist() == ["s/d", "s/e", "s/f"]
        assert "s/c" in part.table("images")["id"].to_pylist()
    assert hidden.public.table("annotations")["id"].to_pylist() == ["s/a#1", "s/b#1", "s/c#2"]
    assert hidden.shares == [Share("bus", 1, 0), Share("car", 1, 0)]


def test_a_split_that_queries_show_all_of_is_refused() -> None:
    """Where no role says what is searched, what queries show is not."""
    asked = [Query(id=f"q{key}", kind="image", image_id=f"s/{key}", category="car") for key in "cdef"]
    data = dataset(*TRUTH, *asked)
    bare = Dataset(data.info, {name: table for name, table in data.tables.items() if name != "members"})
    with pytest.raises(SchemaError, match=r"all of its 4 images are shown by queries.*choose queries from other"):
        build_hidden(bare, splits=["test"])
    with pytest.raises(SchemaError, match=r"its 4 images show no category that is truth, but for what queries show"):
        build_hidden(dataset(box("s/c", 1, **HUMAN), *asked), splits=["test"])


def test_truth_that_nobody_searches_is_none() -> None:
    """g is of the split, and of no gallery."""
    data = dataset(image("g"), box("s/g", 1, **HUMAN))
    with pytest.raises(SchemaError, match="its 5 images show no category that is truth"):
        build_hidden(data, splits=["test"])


def test_a_query_that_no_hidden_image_answers_is_left_out_of_the_key_and_noted() -> None:
    hidden = build_hidden(dataset(box("s/c", 1, **HUMAN)), splits=["test"])
    assert [(note.code, note.item) for note in hidden.key.problems] == [("Q02", "t:bus")]
    assert hidden.key.table("queries")["id"].to_pylist() == ["q:car"]
    assert hidden.public.table("queries")["id"].to_pylist() == ["q:car", "t:bus"]  # which ones is not told
    assert errors(hidden.public) == errors(hidden.key) == []


def test_a_key_that_answers_no_query_is_refused() -> None:
    with pytest.raises(SchemaError, match="its hidden images answer none of the 2 queries; expected truth that"):
        build_hidden(dataset(Category(name="tram"), box("s/c", 1, "tram", **HUMAN)), splits=["test"])


def test_what_is_published_names_no_folder() -> None:
    hidden = build_hidden(dataset(*TRUTH, roots={"s": "/home/ann/raw"}), splits=["test"])
    assert hidden.public.info.roots == {}
    assert hidden.key.info.roots == {"s": "/home/ann/raw"}


def test_judgements_are_withheld_too() -> None:
    judged = [
        Judgement(query_id="q:car", image_id=f"s/{key}", label="positive" if key == "c" else "hard") for key in "bcd"
    ]
    hidden = build_hidden(dataset(*judged), splits=["test"])
    assert hidden.public.table("judgements")["image_id"].to_pylist() == ["s/b"]
    assert hidden.key.table("judgements")["image_id"].to_pylist() == ["s/b", "s/c", "s/d"]


def test_both_parts_verify() -> None:
    hidden = build_hidden(dataset(*TRUTH), splits=["test"])
    for part in (hidden.public, hidden.key):
        assert [one for one in verify(part).findings if one.severity == "error"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"splits": ["dev"]}, r"no image is of split 'dev'; expected one of test, train"),
        ({"splits": []}, "is missing"),
        ({"splits": ["test"], "private": ["kitti"]}, "no image is of source 'kitti'"),
    ],
)
def test_what_is_asked_must_be_there(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_hidden(dataset(*TRUTH), **options)


def test_without_labels_there_is_nothing_to_withhold() -> None:
    with pytest.raises(SchemaError, match=r"its 4 images show no category that is truth.*withheld before"):
        build_hidden(dataset(), splits=["test"])
    with pytest.raises(SchemaError, match="all of it is implied by public labels"):
        build_hidden(dataset(box("s/c", 1)), splits=["test"], exclude_implied=True)


def test_the_first_annotation_of_all_may_be_the_one_that_is_refined() -> None:
    rows = [image("0"), box("s/0", 1, status="rejected"), box("s/0", 2, parent_id="s/0#1", **HUMAN)]
    hidden = build_hidden(dataset(*rows, Member(image_id="s/0", role="gallery")), splits=["test"])
    assert hidden.shares == [Share("car", 1, 1)]
