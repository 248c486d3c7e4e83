"""Subsets: bounds against exact fractions, references and honesty on random datasets, and hand-worked examples."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.build.subset import build_subset
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
    SourceRecord,
    Support,
)
from curate.relevance import gallery, relevance, unjudged
from curate.verify import verify


def image(key: str, source: str = "s", **more: Any) -> Image:
    more = {"source_split": "train", "width": 100, "height": 100, **more}
    return Image(id=f"{source}/{key}", source=source, **more)


def box(
    image_key: str, number: int, category: str | None = "car", w: float = 10, h: float = 10, **more: Any
) -> Annotation:
    image_id = image_key if "/" in image_key else f"s/{image_key}"
    return Annotation(id=f"{image_id}#{number}", image_id=image_id, category=category, x=0, y=0, w=w, h=h, **more)


def dataset(*records: Record, **info: Any) -> Dataset:
    return from_records(Info(name="d", relevance=RelevanceRule(target="category"), **info), records)


def ids(data: Dataset, table: str = "annotations") -> list[str]:
    names: list[str] = data.table(table)["id"].to_pylist()
    return names


def coverage(data: Dataset) -> list[tuple[str, str, str, str]]:
    return [(c["scope"], c["category"], c["state"], c["origin"]) for c in data.table("coverage").to_pylist()]


def steps(data: Dataset) -> list[tuple[str, dict[str, int]]]:
    assert data.info.command
    return [(step.what, step.counts) for step in data.info.command.steps]


# -------------------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize(
    ("bound", "kept"),
    [
        ("<0.15", ["below"]),
        ("<=0.15", ["below", "equal"]),
        (">0.15", ["above"]),
        (">=0.15", ["equal", "above"]),
        ("<15%", ["below"]),
        (" <= 15 % ", ["below", "equal"]),
        ("<.15", ["below"]),
        ("<1", ["below", "equal", "above"]),
    ],
)
def test_a_bound_is_exact(bound: str, kept: list[str]) -> None:
    sizes = {"below": (50, 29.99), "equal": (50, 30), "above": (50, 30.01)}
    data = dataset(
        image("a"), *[box("a", i, w=w, h=h, source_label=name) for i, (name, (w, h)) in enumerate(sizes.items())]
    )
    assert build_subset(data, size=bound).table("annotations")["source_label"].to_pylist() == kept


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.integers(0, 5000),
    st.integers(0, 5000),
    st.integers(0, 10_000),
    st.booleans(),
)
@example(10, 10, 7, 1, 700, False)  # 0.07 * 100 is more than 7
@example(1000, 1, 1, 1, 10, True)  # 0.1 / 100 need not be the double next to 0.001
def test_a_bound_is_exact_for_any_whole_numbers(
    width: int, height: int, w: int, h: int, share: int, percent: bool
) -> None:
    data = dataset(image("a", width=width, height=height), box("a", 1, w=w, h=h))
    bound = f"{share // 100}.{share % 100:02d}%" if percent else f"{share // 10_000}.{share % 10_000:04d}"
    true_share, true_bound = Fraction(w * h, width * height), Fraction(share, 10_000)
    for sign, holds in [
        ("<", true_share < true_bound),
        ("<=", true_share <= true_bound),
        (">", true_share > true_bound),
        (">=", true_share >= true_bound),
    ]:
        assert build_subset(data, size=sign + bound).table("annotations").num_rows == holds, (sign, bound)


def test_several_bounds_must_all_hold() -> None:
    data = dataset(image("a"), box("a", 1, w=1), box("a", 2, w=10), box("a", 3, w=100))
    subset = build_subset(data, size=["<10%", ">0.1%"])
    assert ids(subset) == ["s/a#2"]
    assert steps(subset)[1] == ("size <0.1 and >0.001", {"images": 1, "annotations": 1})


def test_queries_are_spared_where_that_is_asked_for() -> None:
    """Views of an object fill their picture; what is to be found among the scenes is small."""
    view, both, scene = image("view"), image("both"), image("scene")
    boxes = [box("view", 0, w=90, h=90), box("both", 0, w=90, h=90), box("scene", 0), box("scene", 1, w=90, h=90)]
    roles = [("view", "query"), ("both", "query"), ("both", "gallery"), ("scene", "gallery")]
    members = [Member(image_id=f"s/{key}", role=role) for key, role in roles]  # type: ignore[arg-type]
    query = Query(id="q", kind="box", image_id="s/view", annotation_id="s/view#0", category="car")
    whole = dataset(Category(name="car"), view, both, scene, *boxes, *members, query)
    without = build_subset(whole, size="<0.15")
    assert (ids(without), ids(without, "queries")) == (["s/scene#0"], [])
    spared = build_subset(whole, size="<0.15", area="<900", spare_queries=True)
    assert (ids(spared), ids(spared, "queries")) == (["s/scene#0", "s/view#0"], ["q"])
    assert steps(spared)[1] == ("size <0.15, queries spared", {"images": 3, "annotations": 2})
    assert not [one for one in verify(spared).findings if one.code == "B11"]
    with pytest.raises(UsageError, match="--spare-queries: is given without --size or --area"):
        build_subset(whole, spare_queries=True)
    with pytest.raises(UsageError, match="is a query or support and nothing else; leave it out"):
        build_subset(dataset(Category(name="car"), scene, *boxes[2:]), size="<0.15", spare_queries=True)


def test_what_has_no_size_passes_no_bound_and_is_counted() -> None:
    data = dataset(
        image("a"),
        image("b", width=None, height=None),
        box("a", 1),
        Annotation(id="s/a#fog", image_id="s/a", category="fog"),
        box("b", 1),
        box("gone", 1),
    )
    subset = build_subset(data, size=">=0")
    assert ids(subset) == ["s/a#1"]
    assert steps(subset)[1] == ("size >=0.0", {"images": 2, "annotations": 1, "of unknown size": 3})
    assert len(ids(build_subset(data))) == 4


@pytest.mark.parametrize("bound", ["", "0.15", "<", "<-1", "<x", "<nan", "<1e3", "==1", "<1;2", "<1%%"])
def test_no_bound(bound: str) -> None:
    with pytest.raises(UsageError, match="is no bound"):
        build_subset(dataset(image("a")), size=bound)


# ------------------------------------------------------------------------------------------------------ other filters


def test_filters_in_their_order_with_the_counts_after_each() -> None:
    data = dataset(
        image("a", weather="fog"),
        image("b", weather="rain"),
        image("c", weather="fog", source_split="val"),
        image("d", source="t", weather="fog"),
        Category(name="car"),
        Category(name="bus"),
        box("a", 1),
        box("a", 2, category="bus"),
        box("a", 3, w=90, h=90),
        box("a", 4, iscrowd=True),
        box("b", 1),
        box("c", 1),
        box("t/d", 1),
        sources={"s": SourceRecord(title="S"), "t": SourceRecord(title="T")},
        roots={"s": "/s", "t": "/t"},
    )
    subset = build_subset(
        data,
        where=["not iscrowd", "image.weather == 'fog'"],
        size="<50%",
        classes=["car"],
        splits=["train"],
        sources=["s"],
        drop_empty=True,
    )
    assert steps(subset) == [
        ("input", {"images": 4, "annotations": 7}),
        ("source s", {"images": 3, "annotations": 6}),
        ("split train", {"images": 2, "annotations": 5}),
        ("where image.weather == 'fog'", {"images": 1, "annotations": 4}),
        ("class car", {"images": 1, "annotations": 3}),
        ("size <0.5", {"images": 1, "annotations": 2}),
        ("where not iscrowd", {"images": 1, "annotations": 1}),
        ("images no longer honest negatives of a class", {"images": 1, "annotations": 1, "rows of coverage": 1}),
        ("drop images without annotation", {"images": 1, "annotations": 1}),
    ]
    assert ids(subset) == ["s/a#1"]
    assert subset.table("categories")["name"].to_pylist() == ["car"]
    assert set(subset.info.sources) == set(subset.info.roots) == {"s"}


def test_the_command_is_kept_in_one_form_and_can_be_replayed() -> None:
    data = dataset(image("a"), image("b", source_split="val"), Category(name="car"), Category(name="bus"), box("a", 1))
    a = build_subset(data, classes=["car", "bus", "car"], size=["<15%", ">0"], where=" h > 1 ", splits=["val", "train"])
    b = build_subset(data, classes=["bus", "car"], size=[">0", "<0.15"], where=["h > 1"], splits=["train", "val"])
    assert a.info == b.info
    assert a.info.command
    assert a.info.command.verb == "build subset"
    assert a.info.command.options == {
        "class": ["bus", "car"],
        "size": ["<0.15", ">0.0"],
        "split": ["train", "val"],
        "where": ["h > 1"],
    }
    (parent,) = a.info.parents
    assert parent.fingerprint == data.fingerprint()


def test_split_is_that_of_this_dataset_where_it_has_one() -> None:
    data = dataset(image("a", split="query"), image("b", split="gallery"), image("c"))
    assert ids(build_subset(data, splits="train"), "images") == ["s/c"]
    assert ids(build_subset(data, splits=["query", "train"]), "images") == ["s/a", "s/c"]


def test_emptied_images_stay_unless_asked() -> None:
    data = dataset(image("a"), image("b"), image("c"), image("d"), box("a", 1), box("b", 1, w=90, h=90))
    assert ids(build_subset(data, size="<0.15"), "images") == ["s/a", "s/b", "s/c", "s/d"]
    assert ids(build_subset(data, size="<0.15", drop_empty=True), "images") == ["s/a"]


def test_an_image_that_a_query_needs_is_not_empty() -> None:
    data = dataset(
        *map(image, "abcd"),
        Query(id="q", kind="image", image_id="s/a"),
        Support(query_id="q", rank=1, image_id="s/b"),
        Judgement(query_id="q", image_id="s/c", label="positive"),
    )
    assert ids(build_subset(data, drop_empty=True), "images") == ["s/a", "s/b", "s/c"]


def test_a_class_takes_its_own_with_it() -> None:
    data = dataset(
        *map(image, "ab"),
        Category(name="car"),
        Category(name="bus"),
        Instance(id="set/1", category="car"),
        Instance(id="set/2", category="bus"),
        Instance(id="set/3"),
        Instance(id="set/4"),
        box("a", 1, instance="set/1"),
        box("a", 2, instance="set/3"),
        box("b", 1, category="bus", instance="set/4"),
        Coverage(scope="s/train", category="*", state="exhaustive"),
        Coverage(scope="s/train", category="bus", state="none"),
        Query(id="q-bus", kind="text", category="bus"),
        Query(id="q-bus2", kind="text", instance="set/2"),
        Query(id="q-car", kind="text", category="car"),
        Judgement(query_id="q-bus", image_id="s/a", label="positive"),
    )
    subset = build_subset(data, classes=["car"])
    assert ids(subset) == ["s/a#1", "s/a#2"]
    assert subset.table("categories")["name"].to_pylist() == ["car"]
    assert ids(subset, "instances") == ["set/1", "set/3"]
    assert ids(subset, "queries") == ["q-car"]
    # The class is gone as a whole: nothing is half covered.
    assert coverage(subset) == [("s/train", "*", "exhaustive", "source")]
    assert steps(subset)[-1][1] == {"images": 2, "annotations": 2, "instances": 2, "queries": 2, "judgements": 1}


def test_nothing_dropped_is_nothing_changed() -> None:
    data = dataset(image("a"), Category(name="car"), box("a", 1))
    subset = build_subset(data, size="<1", where="h > 0", drop_empty=True)
    assert subset.fingerprint() == data.fingerprint()
    assert subset.table("annotations") is data.table("annotations")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"classes": ["Car"]}, "class 'Car': is not in the dataset; expected one of bus, car; did you mean car?"),
        ({"sources": ["kitti"]}, "source 'kitti': is not in the dataset; expected one of s"),
        ({"splits": ["trian"]}, "split 'trian': is not in the dataset; expected one of train; did you mean train?"),
        ({"where": "colour == 'red'"}, "--where \"colour == 'red'\", character 1: unknown column 'colour'"),
    ],
)
def test_unknown_names(filters: dict[str, Any], message: str) -> None:
    data = dataset(image("a"), Category(name="car"), Category(name="bus"))
    with pytest.raises(UsageError) as caught:
        build_subset(data, **filters)
    assert caught.value.line.startswith(message)


# ---------------------------------------------------------------------------------------------------- what follows


def test_images_that_lost_truth_are_covered_in_part() -> None:
    large = {"w": 90, "h": 90}
    data = dataset(
        *map(image, "abcdefg"),
        Category(name="car"),
        box("a", 1, **large),
        box("a", 2, **large),
        box("b", 1, status="proposal", **large),
        box("c", 1, **large),
        box("d", 1, **large),
        box("e", 1, **large),
        box("f", 1, category=None, **large),
        box("g", 1, category=None, instance="set/1", **large),
        Coverage(scope="s/train", category="*", state="exhaustive"),
        Coverage(scope="s/c", category="car", state="exhaustive", origin="human:x"),
        Coverage(scope="s/d", category="car", state="withheld", origin="human:x"),
        Coverage(scope="s/e", category="*", state="none", origin="human:x"),
    )
    assert coverage(build_subset(data, size="<0.15")) == [
        ("s/a", "car", "partial", "build subset"),
        ("s/c", "car", "partial", "build subset"),
        ("s/d", "car", "withheld", "human:x"),
        ("s/e", "*", "none", "human:x"),
        ("s/g", "*", "partial", "build subset"),  # an instance of unknown class may be asked for
        ("s/train", "*", "exhaustive", "source"),
    ]


def test_an_instance_counts_for_its_own_class_too() -> None:
    data = dataset(
        image("a"),
        Instance(id="set/1", category="mug"),
        box("a", 1, category="cup", instance="set/1", w=90, h=90),
    )
    assert [row[:3] for row in coverage(build_subset(data, size="<0.15"))] == [
        ("s/a", "cup", "partial"),
        ("s/a", "mug", "partial"),
    ]


def test_what_pointed_at_a_dropped_annotation_goes_too() -> None:
    data = dataset(
        *map(image, "abc"),
        Category(name="car"),
        box("a", 1, w=90, h=90),
        box("a", 2, parent_id="s/a#1"),
        box("b", 1),
        box("c", 1, w=90, h=90),
        Query(id="lost", kind="box", image_id="s/a", annotation_id="s/a#1"),
        Query(id="kept", kind="box", image_id="s/b", annotation_id="s/b#1"),
        Support(query_id="lost", rank=1, image_id="s/b"),
        Support(query_id="kept", rank=1, annotation_id="s/c#1"),
        Support(query_id="kept", rank=2, text="a car"),
        Judgement(query_id="lost", image_id="s/b", label="positive"),
        Judgement(query_id="kept", image_id="s/c", label="positive", annotation_id="s/c#1"),
        Judgement(query_id="kept", image_id="s/a", label="hard"),
        Member(image_id="s/a", role="query"),
        Member(image_id="s/b", role="query"),
        Member(image_id="s/c", role="gallery"),
    )
    subset = build_subset(data, size="<0.15")
    assert ids(subset) == ["s/a#2", "s/b#1"]
    assert subset.table("annotations")["parent_id"].to_pylist() == [None, None]
    assert ids(subset, "queries") == ["kept"]
    assert subset.table("support").select(["query_id", "rank"]).to_pylist() == [{"query_id": "kept", "rank": 2}]
    assert [j["image_id"] for j in subset.table("judgements").to_pylist()] == ["s/a"]
    assert [(m["image_id"], m["role"]) for m in subset.table("members").to_pylist()] == [
        ("s/b", "query"),
        ("s/c", "gallery"),
    ]
    assert steps(subset)[-1] == (
        "what pointed at a dropped annotation or class",
        {
            "images": 3,
            "annotations": 2,
            "queries": 1,
            "support": 2,
            "judgements": 2,
            "members": 1,
            "references to parents": 1,
        },
    )


# ------------------------------------------------------------------------------------------------- random datasets

KEYS = "abcd"


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    words = st.sampled_from(["car", "bus", "cup"])
    records: list[Record] = [
        image(
            key,
            source=source,
            source_split=draw(st.sampled_from(["train", "val"])),
            weather=draw(st.sampled_from(["fog", None])),
        )
        for key in KEYS
        for source in ("s", "t")
    ]
    images = [record.id for record in records if isinstance(record, Image)]
    records += [Category(name=name) for name in ("car", "bus", "cup")]
    classes = {f"set/{n}": draw(words) for n in range(3)}
    instances = [Instance(id=name, category=draw(st.sampled_from([None, word]))) for name, word in classes.items()]
    annotations: list[Annotation] = []
    for number in range(draw(st.integers(0, 10))):
        image_id = draw(st.sampled_from(images))
        earlier = [annotation.id for annotation in annotations if annotation.image_id == image_id]
        instance = draw(st.none() | st.sampled_from(sorted(classes)))
        annotations.append(
            box(
                image_id,
                number,
                category=classes[instance] if instance else draw(st.none() | words),
                w=draw(st.sampled_from([5.0, 50.0, 95.0])),
                h=50,
                status=draw(st.sampled_from(["truth", "truth", "proposal"])),
                instance=instance,
                iscrowd=draw(st.booleans()),
                parent_id=draw(st.none() | st.sampled_from(earlier)) if earlier else None,
            )
        )
    some = st.none() | st.sampled_from(annotations or [None])
    queries = []
    for number in range(draw(st.integers(0, 4))):
        of = draw(some)
        queries.append(
            Query(
                id=f"q{number}",
                kind="box" if of else "text",
                image_id=of.image_id if of else None,
                annotation_id=of.id if of else None,
                category=draw(st.none() | words),
                instance=draw(st.none() | st.sampled_from([i.id for i in instances])),
            )
        )
    records += [*instances, *annotations, *queries]
    for query in queries:
        if of := draw(some):
            records.append(Judgement(query_id=query.id, image_id=of.image_id, label="positive", annotation_id=of.id))
        if of := draw(some):
            records.append(Support(query_id=query.id, rank=1, image_id=of.image_id, annotation_id=of.id))
        if query.image_id:
            records.append(Member(image_id=query.image_id, role="query"))
    records = list({(type(r), str(r)): r for r in records}.values())
    scopes = st.sampled_from(["s/train", "s/val", "t/train", *images])
    states = st.sampled_from(["exhaustive", "exhaustive", "partial"])
    stated = {(f"{source}/{split}", "*"): "exhaustive" for source in ("s", "t") for split in ("train", "val")}
    stated |= draw(st.dictionaries(st.tuples(scopes, st.sampled_from(["car", "bus", "*"])), states, max_size=4))
    records += [Coverage(scope=scope, category=category, state=state) for (scope, category), state in stated.items()]
    return dataset(*records)


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.sampled_from(["<0.3", ">0.1", ["<0.3", ">0.1"]]),
        "classes": st.sampled_from([["car"], ["car", "bus"]]),
        "sources": st.just(["s"]),
        "where": st.sampled_from(["not iscrowd", "weather == 'fog'", "image.weather == None or category == 'car'"]),
        "drop_empty": st.booleans(),
    },
)


@settings(max_examples=60, deadline=None)
@given(datasets(), FILTERS)
def test_no_reference_is_left_dangling(data: Dataset, filters: dict[str, Any]) -> None:
    subset = build_subset(data, **filters)
    images, annotations, queries = (set(ids(subset, table)) for table in ("images", "annotations", "queries"))
    for table in ("annotations", "queries", "support", "judgements", "members"):
        for row in subset.table(table).to_pylist():
            assert row.get("image_id") in {None, *images}
            assert row.get("annotation_id") in {None, *annotations}
            assert row.get("parent_id") in {None, *annotations}
            assert row.get("query_id") in {None, *queries}
            assert row.get("instance") in {None, *ids(subset, "instances")}
    used = {m["image_id"] for m in subset.table("members").to_pylist() if m["role"] == "query"}
    assert used <= set(subset.table("queries")["image_id"].to_pylist())


@settings(max_examples=60, deadline=None)
@given(datasets(), FILTERS)
def test_what_an_image_shows_never_makes_it_a_negative(data: Dataset, filters: dict[str, Any]) -> None:
    subset = build_subset(data, **filters)
    asked = [
        Query(id=f"{target} {name}", kind="text", **{target: name})
        for target, names in (("category", ["car", "bus", "cup"]), ("instance", ["set/0", "set/1", "set/2"]))
        for name in names
        if target == "instance" or name in subset.table("categories")["name"].to_pylist()
    ]
    for target in ("category", "instance"):
        questions = [query for query in asked if getattr(query, target)]
        rule = RelevanceRule(target=target)  # type: ignore[arg-type]
        tables = {
            name: table
            for name, table in subset.tables.items()
            if name in ("images", "annotations", "coverage", "instances")
        }
        plain = Dataset(Info(name="x", relevance=rule), tables).replace(
            queries=from_records(Info(name="q"), questions).table("queries")
        )
        listed = {(row["query_id"], row["image_id"]) for row in relevance(plain).to_pylist()}
        open_questions = {(query, key) for query, keys in unjudged(plain) for key in keys.to_pylist()}
        for query in questions:
            name = getattr(query, target)
            if target == "instance" and name not in ids(subset, "instances"):
                continue  # its class was dropped as a whole, and nobody asks for it now
            shown = {
                row["image_id"]
                for row in data.table("annotations").to_pylist()
                if row["status"] == "truth" and row[target] == name
            }
            negatives = {key for key in gallery(plain).to_pylist() if (query.id, key) not in listed | open_questions}
            assert not negatives & shown


def test_a_filter_that_nothing_can_pass_is_told() -> None:
    data = dataset(
        image("a", weather="fog", attributes={"x": {"y": "one"}}), image("b", weather="rain"), box("a", 1), box("b", 1)
    )

    def told(**filters: Any) -> list[tuple[str, str, str]]:
        found = build_subset(data, **filters).problems
        return [(one.severity, one.where, one.message) for one in found]

    said = "no one of the images says so; fog, rain is said of weather"
    assert told(attributes="weather=snow") == [("warning", "attribute weather=snow", said)]
    said = "no one of the images says so; one is said of x.y"
    assert told(attributes="x.y=two") == [("warning", "attribute x.y=two", said)]
    said = "no one of the annotations says so; nothing is said of source_label"
    assert told(attributes="annotation.source_label=z") == [("warning", "attribute annotation.source_label=z", said)]
    said = "no annotation is of an instance: none is left"
    assert told(frequencies="easy") == [("warning", "frequency easy", said)]
    assert told(attributes="weather=fog") == told(attributes=["weather=fog", "weather=snow"]) == []
