"""Relevance against a plain loop that reads the rules literally, and hand-worked examples."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset import Dataset, from_records
from curate.errors import UsageError
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
    Support,
)
from curate.relevance import gallery, overview, relevance, targets, unjudged


def image(key: str, split: str | None = "train") -> Image:
    return Image(id=f"s/{key}", source="s", source_split=split, width=100, height=100)


def box(image_key: str, number: int, category: str | None = "car", size: float = 100, **more: object) -> Annotation:
    return Annotation(
        id=f"s/{image_key}#{number}", image_id=f"s/{image_key}", category=category, x=0, y=0, w=size, h=1, **more
    )  # type: ignore[arg-type]


def dataset(*records: Record, **rule: object) -> Dataset:
    rule.setdefault("target", "category")
    return from_records(Info(name="d", relevance=RelevanceRule(**rule)), records)  # type: ignore[arg-type]


def pairs(data: Dataset) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in relevance(data).to_pylist()]


def test_positives_follow_from_truth_of_the_category() -> None:
    data = dataset(
        *map(image, "abcdq"),
        box("a", 1),
        box("a", 2, size=400),
        box("b", 1, category="bus"),
        box("c", 1, status="proposal"),
        box("d", 1, status="rejected"),
        box("q", 1),
        Query(id="car?", kind="box", image_id="s/q", category="car"),
    )
    # The larger of a's two boxes is named; the query's own image is not searched.
    assert pairs(data) == [("car?", "s/a", "positive", "s/a#2", False)]
    assert gallery(data).to_pylist() == ["s/a", "s/b", "s/c", "s/d"]


def test_small_boxes_ignored_labels_crowds_and_ignore_regions_make_an_image_ignored() -> None:
    data = dataset(
        *map(image, "abcdefg"),
        box("a", 1, size=49),
        box("b", 1, size=50),
        box("c", 1, size=49),
        box("c", 2, size=51),
        box("d", 1, source_label="toy car"),
        box("e", 1, iscrowd=True),
        box("f", 1, ignore=True),
        Annotation(id="s/g#1", image_id="s/g", category="car"),
        Query(id="q", kind="text", text="a car", category="car"),
        min_area=50,
        ignored_labels=("toy car",),
    )
    assert [(row[1], row[2], row[3]) for row in pairs(data)] == [
        ("s/a", "ignore", "s/a#1"),
        ("s/b", "positive", "s/b#1"),
        ("s/c", "positive", "s/c#2"),
        ("s/d", "ignore", "s/d#1"),
        ("s/e", "ignore", "s/e#1"),
        ("s/f", "ignore", "s/f#1"),
        ("s/g", "positive", "s/g#1"),
    ]


def test_an_instance_query_asks_for_its_instance_and_coverage_of_its_category() -> None:
    data = dataset(
        *map(image, "abc"),
        Instance(id="set/1", category="mug"),
        box("a", 1, category="mug", instance="set/1"),
        box("b", 1, category="mug", instance="set/2"),
        Query(id="q", kind="text", instance="set/1"),
        Coverage(scope="s/train", category="mug", state="exhaustive"),
        target="instance",
    )
    assert pairs(data) == [("q", "s/a", "positive", "s/a#1", False)]
    assert overview(data).to_pylist() == [{"query_id": "q", "positive": 1, "ignored": 0, "negative": 2, "unjudged": 0}]


def test_a_query_without_target_takes_that_of_its_annotation() -> None:
    data = dataset(
        *map(image, "ab"),
        box("a", 1, instance="set/1"),
        box("b", 1, instance="set/1"),
        Query(id="q", kind="box", image_id="s/a", annotation_id="s/a#1"),
        target="instance",
    )
    assert targets(data).to_pylist() == [
        {"query_id": "q", "image_id": "s/a", "target": "set/1", "category": "car"},
    ]
    assert pairs(data) == [("q", "s/b", "positive", "s/b#1", False)]


def test_judgements_win_for_a_query_that_has_any() -> None:
    data = dataset(
        *map(image, "abc"),
        box("a", 1),
        Query(id="judged", kind="text", category="car"),
        Query(id="derived", kind="text", category="car"),
        Judgement(query_id="judged", image_id="s/b", label="hard"),
        Judgement(query_id="judged", image_id="s/c", label="junk", annotation_id="x"),
        Judgement(query_id="judged", image_id="s/c", label="easy", annotation_id="y"),
        Judgement(query_id="nobody", image_id="s/c", label="easy"),
        Judgement(query_id="judged", image_id="s/gone", label="easy"),
    )
    assert pairs(data) == [
        ("derived", "s/a", "positive", "s/a#1", False),
        ("judged", "s/b", "hard", None, True),
        ("judged", "s/c", "easy", "y", True),
    ]


def test_the_gallery_is_what_members_say_where_they_say_it() -> None:
    records = [
        *map(image, "abcde"),
        Query(id="q", kind="image", image_id="s/a", category="car"),
        Support(query_id="q", rank=1, image_id="s/b"),
    ]
    assert gallery(dataset(*records)).to_pylist() == ["s/c", "s/d", "s/e"]
    only_queries = [*records, Member(image_id="s/c", role="query")]
    assert gallery(dataset(*only_queries)).to_pylist() == ["s/d", "s/e"]
    stated = [
        *records,
        Member(image_id="s/a", role="gallery"),
        Member(image_id="s/c", role="distractor"),
        Member(image_id="s/d", role="query"),
        Member(image_id="s/gone", role="gallery"),
    ]
    assert gallery(dataset(*stated)).to_pylist() == ["s/a", "s/c"]


def test_own_image_in_the_gallery_is_no_answer() -> None:
    data = dataset(
        image("a"),
        box("a", 1),
        Query(id="q", kind="box", image_id="s/a", category="car"),
        Member(image_id="s/a", role="gallery"),
    )
    assert pairs(data) == []
    assert overview(data).to_pylist() == [{"query_id": "q", "positive": 0, "ignored": 0, "negative": 0, "unjudged": 0}]


def test_the_most_specific_coverage_decides() -> None:
    data = dataset(
        *map(image, "abcd"),
        image("e", split="val"),
        image("f", split=None),
        Query(id="q", kind="text", category="car"),
        Coverage(scope="s/train", category="*", state="exhaustive"),
        Coverage(scope="s/val", category="*", state="exhaustive"),
        Coverage(scope="s/val", category="car", state="none"),
        Coverage(scope="s/b", category="*", state="partial"),
        Coverage(scope="s/c", category="*", state="partial"),
        Coverage(scope="s/c", category="car", state="exhaustive"),
        Coverage(scope="s/d", category="car", state="withheld"),
    )
    ((query, unknown),) = unjudged(data)
    assert query == "q"
    assert unknown.to_pylist() == ["s/b", "s/d", "s/e", "s/f"]
    assert overview(data).to_pylist() == [{"query_id": "q", "positive": 0, "ignored": 0, "negative": 2, "unjudged": 4}]


def test_where_nothing_is_stated_nothing_is_a_negative() -> None:
    data = dataset(*map(image, "ab"), box("a", 1), Query(id="q", kind="text", category="car"))
    assert [(q, ids.to_pylist()) for q, ids in unjudged(data)] == [("q", ["s/b"])]


def test_some_queries_only() -> None:
    data = dataset(image("a"), box("a", 1), *[Query(id=q, kind="text", category="car") for q in "pq"])
    assert relevance(data, ["q"])["query_id"].to_pylist() == ["q"]
    assert overview(data, ["q"])["query_id"].to_pylist() == ["q"]
    with pytest.raises(UsageError, match="query 'x': unknown"):
        relevance(data, ["q", "x"])


def test_empty() -> None:
    assert pairs(dataset()) == []
    assert pairs(dataset(Query(id="q", kind="text", category="car"))) == []
    assert overview(dataset(Query(id="q", kind="image", image_id="s/a"))).num_rows == 1


# ------------------------------------------------------------------------------------------- against a plain loop

KEYS = "abcde"
WORDS = st.sampled_from(["car", "bus", None])
STATES = st.sampled_from(["exhaustive", "exhaustive", "partial", "none"])


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    keys = draw(st.sets(st.sampled_from(KEYS), min_size=1))
    some = st.sampled_from(sorted(keys))
    records: list[Record] = [image(key, draw(st.sampled_from(["train", "val", None]))) for key in sorted(keys)]
    records += [
        box(
            draw(some),
            number,
            category=draw(WORDS),
            size=draw(st.sampled_from([10.0, 50.0, 90.0])),
            status=draw(st.sampled_from(["truth", "truth", "proposal"])),
            instance=draw(st.sampled_from(["set/1", "set/2", None])),
            iscrowd=draw(st.sampled_from([False, False, True])),
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    annotations = [record.id for record in records if isinstance(record, Annotation)]
    queries = [
        Query(
            id=f"q{n}",
            kind="text",
            image_id=draw(st.none() | some.map("s/{}".format)),
            category=draw(WORDS),
            instance=draw(st.sampled_from(["set/1", "set/2", None])),
            annotation_id=draw(st.none() | st.sampled_from(annotations)) if annotations else None,
        )
        for n in range(draw(st.integers(1, 3)))
    ]
    records += queries
    scopes = st.sampled_from(["s/train", "s/val", *(f"s/{key}" for key in KEYS)])
    names = st.sampled_from(["car", "bus", "*"])
    stated = draw(st.dictionaries(st.tuples(scopes, names), STATES, max_size=6))
    records += [Coverage(scope=s, category=c, state=state) for (s, c), state in stated.items()]
    labels = st.sampled_from(["positive", "negative", "easy", "junk"])
    judged = draw(st.dictionaries(st.tuples(st.sampled_from(queries), st.sampled_from(KEYS)), labels, max_size=3))
    records += [Judgement(query_id=q.id, image_id=f"s/{key}", label=v) for (q, key), v in judged.items()]
    roles = st.sampled_from(["query", "gallery", "distractor", "support"])
    records += [Member(image_id=f"s/{k}", role=r) for k, r in draw(st.sets(st.tuples(some, roles), max_size=4))]
    records.append(Instance(id="set/1", category="bus"))
    return dataset(*records, target=draw(st.sampled_from(["instance", "category"])), min_area=50)


def state_of(coverage: dict[tuple[str, str], str], image_id: str, split: str, category: str | None) -> str | None:
    if category is None:  # it may be any: what is said against one class is said against it
        coverage = dict(coverage)
        for scope in (image_id, split):
            if any(s == scope and c != "*" and state != "exhaustive" for (s, c), state in coverage.items()):
                coverage[scope, "unknown"] = "partial"
        category = "unknown"
    places = [(image_id, category), (image_id, "*"), (split, category), (split, "*")]
    return next((coverage[place] for place in places if place in coverage), None)


def by_the_rules(data: Dataset) -> dict[str, dict[str, str]]:
    """Every query's gallery image with what it is, by one loop over all pairs."""
    rows = {name: table.to_pylist() for name, table in data.tables.items()}
    truth = {row["id"]: row for row in rows["annotations"]}
    members = rows.get("members", [])
    searched = {m["image_id"] for m in members if m["role"] in ("gallery", "distractor")}
    if not searched:
        aside = {m["image_id"] for m in members} | {q["image_id"] for q in rows["queries"]}
        searched = {i["id"] for i in rows["images"]} - aside
    coverage = {(c["scope"], c["category"]): c["state"] for c in rows.get("coverage", [])}
    answer: dict[str, dict[str, str]] = {}
    for q in rows["queries"]:
        of_annotation = truth.get(q["annotation_id"], {})
        instance = q["instance"] or of_annotation.get("instance")
        category = q["category"] or of_annotation.get("category") or {"set/1": "bus"}.get(instance)
        column, target = ("instance", instance) if data.info.relevance.target == "instance" else ("category", category)
        judged = [j for j in rows.get("judgements", []) if j["query_id"] == q["id"]]
        answer[q["id"]] = {}
        for i in rows["images"]:
            if i["id"] not in searched or i["id"] == q["image_id"]:
                continue
            split = f"{i['source']}/{i['source_split']}"
            state = state_of(coverage, i["id"], split, category)
            label = "unlisted negative" if state == "exhaustive" else "unjudged"
            if judged:
                label = next((j["label"] for j in judged if j["image_id"] == i["id"]), label)
            else:
                of_target = [
                    a
                    for a in rows["annotations"]
                    if a["image_id"] == i["id"] and a["status"] == "truth" and target and a[column] == target
                ]
                if any(not a["iscrowd"] and a["w"] * a["h"] >= 50 for a in of_target):
                    label = "positive"
                elif of_target:
                    label = "ignore"
            answer[q["id"]][i["id"]] = label
    return answer


@settings(max_examples=60, deadline=None)
@given(datasets())
def test_against_a_loop_over_all_pairs(data: Dataset) -> None:
    expected = by_the_rules(data)
    listed = {
        query: {row["image_id"]: row["label"] for row in rows}
        for query, rows in groupby(relevance(data).to_pylist(), key=lambda row: row["query_id"])
    }
    assert {q: listed.get(q, {}) for q in expected} == {
        q: {i: label for i, label in images.items() if label not in ("unjudged", "unlisted negative")}
        for q, images in expected.items()
    }
    assert {q: ids.to_pylist() for q, ids in unjudged(data)} == {
        q: sorted(i for i, label in images.items() if label == "unjudged") for q, images in expected.items()
    }
    kinds = {"easy": "positive", "junk": "ignored", "ignore": "ignored", "unlisted negative": "negative"}
    for row in overview(data).to_pylist():
        found = [kinds.get(label, label) for label in expected[row["query_id"]].values()]
        assert {k: row[k] for k in ("positive", "ignored", "negative", "unjudged")} == {
            k: found.count(k) for k in ("positive", "ignored", "negative", "unjudged")
        }


def test_categories_and_instances_may_be_absent() -> None:
    data = dataset(image("a"), Category(name="car"), box("a", 1, category=None), Query(id="q", kind="text"))
    assert pairs(data) == []
