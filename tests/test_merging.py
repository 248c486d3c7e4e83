"""Merging: laws that a union obeys, a plain loop over rows as oracle, and every contradiction found."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.merging import merge
from curate.model import (
    Annotation,
    Category,
    Command,
    Counts,
    Coverage,
    Image,
    Info,
    Instance,
    Judgement,
    Member,
    Query,
    Record,
    RelevanceRule,
    Rle,
    SourceRecord,
    Support,
    finding,
)
from curate.relevance import relevance

KEYS = {
    "images": ("id",),
    "annotations": ("id",),
    "categories": ("name",),
    "instances": ("id",),
    "coverage": ("scope", "category"),
    "queries": ("id",),
    "support": ("query_id", "rank"),
    "judgements": ("query_id", "image_id", "annotation_id"),
    "members": ("image_id", "role"),
}


def dataset(*records: Record, name: str = "d", **info: Any) -> Dataset:
    return from_records(Info(name=name, **info), records)


def image(key: str, **more: Any) -> Image:
    return Image(id=f"s/{key}", source="s", **more)


def box(key: str, **more: Any) -> Annotation:
    return Annotation(id=f"s/{key}#1", image_id=f"s/{key}", **more)


# ------------------------------------------------------------------------------------------------------- by example


def test_null_is_filled_and_equal_agrees() -> None:
    a = dataset(
        image("a", width=10, weather="fog", file_name="a.png"),
        image("b"),
        box("a", x=1, y=2, w=3, h=4, attributes={"k": {"m": 1, "n": None}, "list": [1, 2]}),
    )
    b = dataset(
        image("a", width=10, height=20, place="Ulm", file_name="elsewhere/a.png"),
        image("c"),
        box(
            "a", category="car", segmentation=Rle(size=(2, 2), counts="04"), attributes={"k": {"n": 2}, "list": [1, 2]}
        ),
        Category(name="car", supercategory="vehicle"),
    )
    union = merge([a, b], name="both")
    first, second, third = union.table("images").to_pylist()
    assert first["width"] == 10
    assert first["height"] == 20
    assert first["weather"] == "fog"
    assert first["place"] == "Ulm"
    assert first["file_name"] == "a.png"
    assert (second["id"], third["id"]) == ("s/b", "s/c")
    (annotation,) = union.table("annotations").to_pylist()
    assert annotation["category"] == "car"
    assert annotation["x"] == 1
    assert annotation["segmentation"] == {"size": [2, 2], "counts": "04"}
    assert annotation["attributes"] == '{"k":{"m":1,"n":2},"list":[1,2]}'
    assert union.info.name == "both"


def test_a_contradiction_shows_both_values_and_the_row() -> None:
    a = dataset(image("a", width=10), image("b", width=10), image("c", width=1), name="old")
    b = dataset(image("a", width=10), image("b", width=11), image("c", width=2), name="new")
    with pytest.raises(SchemaError) as caught:
        merge([a, b])
    assert caught.value.line == (
        "table images, row id='s/b', column width: 10 in old, 11 in new (the first of 2 such rows); "
        "expected equal values, or one of them empty; "
        "these datasets do not belong together, or one of them is out of date"
    )


def test_all_contradictions_are_listed() -> None:
    a = dataset(image("a", width=1, weather="fog"), box("a", score=0.5, attributes={"k": {"m": True}}))
    b = dataset(image("a", width=2, weather="rain"), box("a", score=0.25, attributes={"k": {"m": 1}}))
    with pytest.raises(SchemaError) as caught:
        merge([a, b])
    assert [line.split(":")[0] for line in caught.value.lines] == [
        "table images, row id='s/a', column width",
        "table images, row id='s/a', column weather",
        "table annotations, row id='s/a#1', column score",
        "table annotations, row id='s/a#1', column attributes.k.m",
    ]
    assert "True in d (no. 1), 1 in d (no. 2)" in caught.value.lines[3]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Image(id="s/a", source="s"), Image(id="s/a", source="t")),
        (box("a", iscrowd=True), box("a")),
        (box("a", status="proposal"), box("a")),
        (box("a", polygons=[[[0.0, 0, 1, 0, 1, 1]]]), box("a", polygons=[[[0.0, 0, 1, 0, 1, 2]]])),
        (
            box("a", polygons=[[[0.0, 0, 1, 0, 1, 1]]]),
            box("a", polygons=[[[0.0, 0, 1, 0, 1, 1]], [[5.0, 0, 6, 0, 6, 6]]]),
        ),
        (box("a", polygons=[]), box("a", polygons=[[[0.0, 0, 1, 0, 1, 1]]])),
        (box("a", segmentation=Rle((2, 2), "04")), box("a", segmentation=Rle((4, 1), "04"))),
        (box("a", segmentation=Rle((2, 2), "04")), box("a", segmentation=Rle((2, 2), "13"))),
        (box("a", attributes={"k": 1}), box("a", attributes={"k": "1"})),
        (box("a", attributes={"k": [1]}), box("a", attributes={"k": {"m": 1}})),
        (Category(name="c", definition="x"), Category(name="c", definition="y")),
        (Coverage(scope="s/a", category="*", state="partial"), Coverage(scope="s/a", category="*", state="exhaustive")),
        (Judgement(query_id="q", image_id="s/a", label="easy"), Judgement(query_id="q", image_id="s/a", label="hard")),
        (Support(query_id="q", rank=1, text="x"), Support(query_id="q", rank=1, text="y")),
    ],
)
def test_a_contradiction_is_found_in_every_kind_of_column(a: Record, b: Record) -> None:
    merge([dataset(a), dataset(a)])
    for pair in ([a, b], [b, a]):
        with pytest.raises(SchemaError, match="expected equal values"):
            merge([dataset(record) for record in pair])


def test_a_class_takes_the_strongest_role_that_it_has_anywhere() -> None:
    plain, other, ignored = (
        dataset(Category(name="c", role=role))  # type: ignore[arg-type]
        for role in ("benchmark", "other", "ignore")
    )
    for a, b, role, told in [
        (plain, other, "benchmark", False),
        (ignored, other, "ignore", False),
        (other, other, "other", False),
        (plain, ignored, "benchmark", True),
    ]:
        for pair in ([a, b], [b, a]):
            union = merge(pair)
            assert union.table("categories")["role"].to_pylist() == [role]
            assert [problem.code for problem in union.problems] == ["N06"] * told


def test_supercategories_that_differ_are_all_kept() -> None:
    bike, vehicle, two_wheeler = (
        dataset(Category(name="bicycle", supercategory=name), name=name)
        for name in ("bike", "vehicle", "2-wheeler | bike")
    )
    union = merge([vehicle, bike, two_wheeler])
    assert union.table("categories")["supercategory"].to_pylist() == ["2-wheeler | bike | vehicle"]
    assert [problem.message for problem in union.problems] == [
        "supercategory 'vehicle' in vehicle, 'bike' in bike; now 'bike | vehicle'",
        "supercategory 'bike | vehicle' in one before, '2-wheeler | bike' in 2-wheeler | bike;"
        " now '2-wheeler | bike | vehicle'",
    ]
    assert merge([union, bike]).problems == ()
    assert merge([union, bike]).fingerprint() == union.fingerprint()


def test_images_of_one_source_in_several_roots() -> None:
    own = dataset(image("a", file_name="x/a.png"), image("b", file_name="b.png"), roots={"s": "/data/s", "t": "/t"})
    other = dataset(
        image("b", file_name="s/b.png"), image("c", file_name="s/c.png"), image("d"), roots={"s": "/data/all"}
    )
    for pair, b in (([own, other], "s/b.png"), ([other, own], "all/s/b.png")):
        union = merge(pair)
        assert union.info.roots == {"s": "/data", "t": "/t"}
        assert union.table("images")["file_name"].to_pylist() == ["s/x/a.png", b, "all/s/c.png", None]
        assert [parent.fingerprint for parent in union.info.parents] == [data.fingerprint() for data in pair]
    # Roots that the file names do not need, or that only the disk could compare.
    assert merge([own, own.replace(info=Info(name="e", roots={"s": "/elsewhere"}))]).info.roots["s"] == "/data/s"
    far = other.replace(info=Info(name="e", roots={"s": "../all"}))
    assert merge([own, far]).info.roots["s"] == "/data/s"


def test_judgements_without_annotation_are_one_row() -> None:
    rows = [
        Judgement(query_id="q", image_id="s/a", label="easy"),
        Judgement(query_id="q", image_id="s/a", label="hard", annotation_id="x"),
        Judgement(query_id="q s", image_id="/a", label="hard"),
    ]
    assert merge([dataset(*rows), dataset(*rows[:2]), dataset(*rows[1:])]).table("judgements").num_rows == 3


def judged(label: str = "easy", annotation: str | None = None, **more: Any) -> Judgement:
    return Judgement(query_id="q", image_id="s/a", label=label, annotation_id=annotation, **more)  # type: ignore[arg-type]


def test_a_pair_and_its_annotation_are_one_judgement() -> None:
    pair, shown = dataset(judged(), name="lists"), dataset(judged("easy", "x"), judged("hard", "y"), name="masks")
    for union in (merge([pair, shown]), merge([shown, pair]), merge([pair, shown, pair])):
        assert union.table("judgements")["annotation_id"].to_pylist() == ["x", "y"]
    # Another person's judgement is another one, and so is one of another round.
    for other in (judged(origin="human:a"), judged(round=1)):
        assert merge([dataset(other), shown]).table("judgements").num_rows == 3


def test_a_pair_and_its_annotation_may_not_contradict() -> None:
    elsewhere = Judgement(query_id="q", image_id="s/b", label="easy")
    pair = dataset(judged("junk"), elsewhere, name="lists")
    shown = dataset(judged("easy", "x"), judged("hard", "y"), elsewhere, name="masks")
    with pytest.raises(SchemaError) as caught:
        merge([pair, shown])
    assert caught.value.line == (
        "table judgements, row query_id='q', image_id='s/a', column label: 'junk' in lists, "
        "'easy' by annotation 'x' in masks; expected equal values, or one of them empty; "
        "these datasets do not belong together, or one of them is out of date"
    )
    # One that says both itself is not contradicted by a part of it.
    both = dataset(judged("junk"), judged("easy", "x"))
    assert merge([both, pair]).table("judgements").num_rows == 3


def test_info() -> None:
    a = dataset(
        image("a"),
        name="a",
        version="1",
        sources={"s": SourceRecord(title="S", found=Counts(images=1, annotations=0))},
        roots={"s": "/one"},
        headers={"a.json": {"year": 2020}},
        command=Command(verb="import", options={"source": "s"}),
    )
    b = from_records(
        Info(
            name="b",
            version="1",
            sources={
                "s": SourceRecord(title="S", licence="CC0", found=Counts(images=2, annotations=1)),
                "t": SourceRecord(title="T", found=Counts(images=7)),
            },
            roots={"s": "/two", "t": "/t"},
            headers={"a.json": {"by": "me"}, "b.json": {}},
        ),
        [image("a"), image("b"), box("b"), finding("N01", "x", "y")],
    )
    union = merge([a, b])
    info = union.info
    assert (info.name, info.version) == ("merged", "1")
    assert info.sources == {
        # Each import found a part; this is what the union holds.
        "s": SourceRecord(title="S", licence="CC0", found=Counts(images=2, annotations=1)),
        "t": SourceRecord(title="T", found=Counts(images=7)),
    }
    assert info.roots == {"s": "/one", "t": "/t"}
    assert info.headers == {"a.json": {"year": 2020, "by": "me"}, "b.json": {}}
    assert [parent.fingerprint for parent in info.parents] == [a.fingerprint(), b.fingerprint()]
    assert info.command
    assert (info.command.verb, [step.what for step in info.command.steps]) == ("merge", ["a", "b"])
    assert union.problems == ()


def test_what_two_imports_found_of_a_source_is_counted_anew() -> None:
    parts = [
        dataset(
            *rows, sources={"s": SourceRecord(title="S", found=Counts(images=1, annotations=0, instances=1))}, name=key
        )
        for key, rows in (("a", [image("a"), Instance(id="s/1")]), ("b", [image("b"), Instance(id="s/2")]))
    ]
    # By chance they found the same numbers; of parts of one import the union is no larger, and its counts stay.
    assert merge(parts).info.sources["s"].found == Counts(images=2, annotations=0, instances=2)
    whole = SourceRecord(title="S", found=Counts(images=9, annotations=5))
    halves = [dataset(image(key), sources={"s": whole}) for key in "ab"]
    assert merge(halves).info.sources["s"].found == whole.found
    other = SourceRecord(title="S", found=Counts(images=2, annotations=0, instances=2))
    parts.append(dataset(image("b"), image("c"), Instance(id="s/2"), Instance(id="t/1"), sources={"s": other}))
    assert merge(parts).info.sources["s"].found == Counts(images=3, annotations=0, instances=2)


def test_sources_and_headers_may_not_contradict() -> None:
    def sourced(licence: str) -> Dataset:
        return dataset(image("a"), sources={"s": SourceRecord(title="S", licence=licence)})

    with pytest.raises(SchemaError, match="source s, licence: 'CC0' in one before, 'MIT' in d"):
        merge([sourced("CC0"), sourced("MIT")])
    with pytest.raises(SchemaError, match=r"headers\.x\.json\.year: 1 in one before, 2 in d"):
        merge([dataset(headers={"x.json": {"year": 1}}), dataset(headers={"x.json": {"year": 2}})])


def test_a_relevance_rule_holds_for_all_if_no_other_was_said() -> None:
    rule = RelevanceRule(target="category", min_area=50)
    silent, said = dataset(image("a")), dataset(image("b"), relevance=rule)
    asking = dataset(image("c"), Query(id="q", kind="text", text="x"))
    assert merge([silent, said]).info.relevance == merge([said, silent]).info.relevance == rule
    assert merge([silent, asking]).info.relevance == RelevanceRule()


def test_relevance_rules_that_differ_become_judgements() -> None:
    side = {"x": 0, "y": 0}
    of_class = dataset(
        image("a"),
        image("b"),
        box("a", category="car", w=10, h=10, **side),
        box("b", category="car", w=2, h=2, **side),
        Query(id="car", kind="text", text="car", category="car"),
        name="classes",
        relevance=RelevanceRule(target="category", min_area=50),
    )
    of_instance = dataset(
        image("c"),
        image("d"),
        Instance(id="set/1", category="car"),
        box("c", category="car", instance="set/1", w=1, h=1, **side),
        box("d", category="car", w=9, h=9, **side),
        Query(id="one", kind="text", text="this one", instance="set/1"),
        Query(id="told", kind="text", text="told", instance="set/1"),
        Judgement(query_id="told", image_id="s/d", label="hard"),
        name="instances",
    )
    for pair in ([of_class, of_instance], [of_instance, of_class]):
        union = merge(pair)
        assert union.info.relevance == RelevanceRule()
        assert [(problem.code, problem.where) for problem in union.problems] == [("N07", "relevance rule")]
        found = {(row["query_id"], row["image_id"], row["label"]) for row in relevance(union).to_pylist()}
        assert found == {
            ("car", "s/a", "positive"),
            ("car", "s/b", "ignore"),  # below the bound of its own rule
            ("car", "s/c", "ignore"),
            ("car", "s/d", "positive"),  # of the other dataset: the gallery is that of the union
            ("one", "s/c", "positive"),  # and not for its class
            ("told", "s/d", "hard"),
        }
        origins = {row["query_id"]: row["origin"] for row in union.table("judgements").to_pylist()}
        assert origins == {"car": "merge", "one": "merge", "told": "source"}


def test_nothing_to_merge() -> None:
    with pytest.raises(UsageError):
        merge([])
    data = dataset(image("a"))
    assert merge([data]).fingerprint() == data.fingerprint()
    assert merge([dataset(), data, dataset()]).fingerprint() == data.fingerprint()


def test_the_method_says_the_same() -> None:
    a, b = dataset(image("a")), dataset(image("b"))
    assert a.merge(b, name="x").info.name == "x"
    assert a.merge(b).fingerprint() == merge([a, b]).fingerprint()


# ---------------------------------------------------------------------------------------------------- random datasets


def some(values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


# One world per example; each dataset knows a part of its rows and of their columns, so that all agree.
ATTRIBUTES = st.none() | st.fixed_dictionaries(
    {}, optional={"a": st.integers(0, 1), "b": st.fixed_dictionaries({}, optional={"c": st.booleans(), "d": st.none()})}
)
WORLD = st.tuples(
    *[
        st.builds(
            Image,
            id=st.just(f"s/{key}"),
            source=st.just("s"),
            width=some([1, 2]),
            weather=some(["fog", "rain"]),
            attributes=ATTRIBUTES,
        )
        for key in "abc"
    ],
    *[
        st.builds(
            Annotation,
            id=st.just(f"s/{key}#1"),
            image_id=st.just(f"s/{key}"),
            category=some(["car", "bus"]),
            iscrowd=st.booleans(),
            score=some([0.0, 0.5]),
            polygons=some([[[[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]]], []]),
            segmentation=some([Rle((2, 2), "04"), Rle((2, 2), "13")]),
            attributes=ATTRIBUTES,
        )
        for key in "abc"
    ],
    *[
        st.builds(Category, name=st.just(name), role=st.sampled_from(["benchmark", "ignore"]), supercategory=some("uv"))
        for name in ("car", "bus")
    ],
    st.builds(Instance, id=st.just("set/1"), category=some(["car"])),
    *[
        st.builds(
            Coverage, scope=st.just(scope), category=st.just("*"), state=st.sampled_from(["partial", "exhaustive"])
        )
        for scope in ("s/a", "s/b")
    ],
    *[st.builds(Query, id=st.just(f"q{n}"), kind=st.just("text"), text=some(["x"])) for n in range(2)],
    *[
        st.builds(
            Judgement, query_id=st.just("q0"), image_id=st.just("s/a"), annotation_id=st.just(a), label=st.just("easy")
        )
        for a in (None, "s/a#1")
    ],
    *[st.builds(Member, image_id=st.just("s/a"), role=st.just(role)) for role in ("query", "gallery")],
)


@st.composite
def parts(draw: st.DrawFn, number: int = 3) -> list[Dataset]:
    world = draw(WORLD)
    datasets = []
    for _ in range(number):
        records: list[Any] = []
        for record in world:
            if not draw(st.booleans()):
                continue
            hidden = {
                name: None
                for name in ("width", "weather", "category", "score", "polygons", "segmentation", "text", "attributes")
                if getattr(record, name, None) is not None and not isinstance(record, Coverage) and draw(st.booleans())
            }
            if isinstance(record, Category) and draw(st.booleans()):
                hidden["role"] = "other"  # type: ignore[assignment]
                hidden["supercategory"] = draw(st.sampled_from(["u", "v", "w"]))
            if (known := getattr(record, "attributes", None)) and "attributes" not in hidden and draw(st.booleans()):
                hidden["attributes"] = dict(list(known.items())[:1])  # type: ignore[assignment]
            records.append(msgspec.structs.replace(record, **hidden))
        datasets.append(dataset(*records))
    return datasets


def by_rows(datasets: list[Dataset]) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """The union, by one loop over all rows."""
    union: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for data in datasets:
        for table, rows in data.tables.items():
            for row in rows.to_pylist():
                if "attributes" in row:
                    row["attributes"] = msgspec.json.decode(row["attributes"] or "null")
                known = union.setdefault(table, {}).setdefault(tuple(row[k] for k in KEYS[table]), {})
                for column, value in row.items():
                    known[column] = filled(known.get(column), value)
    # A judgement of the pair gives way to that of its annotation, unless one dataset has both.
    held = [{row["annotation_id"] for row in data.table("judgements").to_pylist()} for data in datasets]
    rows = union.get("judgements", {})
    if len(rows) == 2 and not any(len(annotations) == 2 for annotations in held):
        del rows["q0", "s/a", None]
    return union


def filled(a: Any, b: Any) -> Any:
    if None in (a, b):
        return b if a is None else a
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: filled(a.get(key), b.get(key)) for key in {*a, *b}}
    if a != b:  # of a category: its role, or its supercategories
        roles = ["benchmark", "ignore", "other"]
        return min(a, b, key=roles.index) if a in roles else " | ".join(sorted(set((a + " | " + b).split(" | "))))
    return a


@settings(max_examples=30, deadline=None)
@given(parts())
def test_laws(datasets: list[Dataset]) -> None:
    a, b, c = datasets
    assert merge([a, a]).fingerprint() == a.fingerprint()
    union = merge(datasets)
    assert merge([c, a, b]).fingerprint() == union.fingerprint()
    assert merge([merge([a, b]), c]).fingerprint() == union.fingerprint()
    assert merge([a, merge([b, c])]).fingerprint() == union.fingerprint()
    assert merge([union, b]).fingerprint() == union.fingerprint()
    assert by_rows([union]) == by_rows(datasets)


@settings(max_examples=30, deadline=None)
@given(parts(2), st.data())
def test_any_changed_value_is_noticed(datasets: list[Dataset], data: st.DataObject) -> None:
    a, b = datasets
    choices = [
        (table, row, column)
        for table, rows in a.tables.items()
        for row, values in enumerate(rows.to_pylist())
        for column, value in values.items()
        if column in ("width", "weather", "score", "label", "state", "kind", "iscrowd") and value is not None
    ]
    if not choices:
        return
    table, row, column = data.draw(st.sampled_from(choices))
    values = a.table(table)[column].to_pylist()
    other = {"width": 7, "weather": "snow", "score": 0.75, "label": "junk", "state": "none", "kind": "box"}
    values[row] = other.get(column, not values[row])
    at = a.table(table).schema.get_field_index(column)
    frame = a.table(table)
    changed = a.replace(**{table: frame.set_column(at, column, [values])})
    for pair in ([a, changed], [changed, a], [a, b, changed]):
        with pytest.raises(SchemaError, match=f"column {column}: "):
            merge(pair)


def test_disjoint_datasets_add_up() -> None:
    a = dataset(*[image(f"a{n}") for n in range(50)], *[box(f"a{n}", x=n) for n in range(50)])
    b = dataset(*[image(f"b{n}") for n in range(30)], *[box(f"b{n}", x=n) for n in range(30)])
    for union in (merge([a, b]), merge([b, a])):
        assert union.counts() == {"images": 80, "annotations": 80, "categories": 0}
        assert pc.sum(union.table("annotations")["x"]).as_py() == 49 * 25 + 29 * 15
