"""Leaks between queries and gallery and between splits: found, refused and fixed; examples worked by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.build.leakage import build_without_leaks
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import Annotation, Category, Image, Info, Instance, Member, Query, Record, RelevanceRule
from curate.relevance import overview

A, B = "aa" * 32, "bb" * 32


def image(key: str, split: str | None = None, **more: Any) -> Image:
    return Image(id=f"s/{key}", source="s", split=split, width=9, height=9, **more)


def dataset(*records: Record) -> Dataset:
    rule = RelevanceRule(target="category")
    return from_records(Info(name="d", relevance=rule), [Category(name="car"), Category(name="bus"), *records])


def box(key: str, category: str, instance: str | None = None) -> Annotation:
    return Annotation(id=f"s/{key}#{category}", image_id=f"s/{key}", category=category, instance=instance)


def benchmark() -> Dataset:
    roles = {"q": "query", "r": "query", "copy": "gallery", "drive": "gallery", "far": "gallery", "d": "distractor"}
    return dataset(
        image("q", sha256=A, sequence="x"),
        image("r"),
        image("copy", sha256=A),
        image("drive", sequence="x", sha256=B),
        image("far", sequence="y"),
        image("d", sha256=B),
        *[box(key, "car") for key in ("q", "copy", "far")],
        *[box(key, "bus") for key in ("r", "drive")],
        Query(id="car", kind="image", image_id="s/q", category="car"),
        Query(id="bus", kind="image", image_id="s/r", category="bus"),
        *[Member(image_id=f"s/{key}", role=role) for key, role in roles.items()],  # type: ignore[arg-type]
    )


def step(data: Dataset, what: str) -> tuple[str, dict[str, int]]:
    assert data.info.command
    (found,) = [step for step in data.info.command.steps if step.what.startswith(what)]
    return found.what, found.counts


def members(data: Dataset) -> dict[str, str]:
    return {m["image_id"].removeprefix("s/"): m["role"] for m in data.table("members").to_pylist()}


def test_what_is_found_between_queries_and_gallery() -> None:
    made = build_without_leaks(benchmark())
    assert step(made, "leaks by copy") == (
        "leaks by copy: found",
        {
            "links": 1,
            "images": 2,
            "images in queries and support": 1,
            "images in gallery": 1,
            "images of which it is not known": 2,
        },
    )
    assert step(made, "leaks by sequence")[1]["images"] == 2
    assert [problem.message for problem in made.problems] == [
        "2 images that share their content stand on 2 sides: s/q in queries and support, s/copy in gallery",
        "2 images that share a sequence stand on 2 sides: s/q in queries and support, s/drive in gallery",
    ]
    assert members(made) == members(benchmark())


def test_what_is_forbidden_fails_with_all_kinds() -> None:
    with pytest.raises(SchemaError) as caught:
        build_without_leaks(benchmark(), forbid=["sequence", "copy", "place"])
    assert [line.split(":")[1].strip() for line in caught.value.lines] == [
        "leaks by copy",
        "leaks by sequence",
        "leaks by place",
    ]


def test_what_is_forbidden_must_be_proved() -> None:
    """No image of the benchmark has a place; with a fix as well as without."""
    said = "leaks by place: unproved: of 6 of 6 images it is not known; expected proof of none; .*--allow-unproved"
    for fix in (None, "drop"):
        with pytest.raises(SchemaError, match=said):
            build_without_leaks(benchmark(), forbid=["place"], fix=fix)  # type: ignore[arg-type]
    made = build_without_leaks(benchmark(), forbid=["place"], allow_unproved=True)
    assert step(made, "leaks by")[0] == "leaks by place: unproved"
    assert made.info.command and made.info.command.options["allow-unproved"] is True
    with pytest.raises(SchemaError, match="leaks by copy: 2 images"):
        build_without_leaks(benchmark(), forbid=["copy"], allow_unproved=True)
    with pytest.raises(SchemaError, match="leaks by near: unproved: of 6 of 6 images"):
        build_without_leaks(benchmark(), forbid=["near"], near=np.full(6, -1))


def test_splits_are_looked_at_beside_queries_and_gallery() -> None:
    data = benchmark()
    names = [f"split {key}" for key in ("a", "a", "a", "b", "b", "b")]  # copy, d, drive, far, q, r
    images = data.table("images")
    split = images.set_column(images.schema.get_field_index("split"), "split", [names])
    shown = from_records(Info(name="d"), [box("drive", "car", "i/1"), box("far", "car", "i/1")])
    data = data.replace(images=split, annotations=shown.table("annotations"))
    made = build_without_leaks(data, look=["copy", "instance"])
    assert made.info.command
    assert [one.what for one in made.info.command.steps[1:]] == [
        "leaks by copy between queries and gallery: found",
        "leaks by copy between splits: found",
        "leaks by instance between splits: found",
    ]
    for between, what in (("roles", "leaks by copy: found"), ("splits", "leaks by copy: found")):
        made = build_without_leaks(data, look=["copy"], between=between)  # type: ignore[arg-type]
        assert step(made, "leaks by")[0] == what
    with pytest.raises(
        SchemaError, match=r"leaks by instance between splits: 2 images .* in split a, s/far in split b"
    ):
        build_without_leaks(data, forbid=["instance"])
    with pytest.raises(
        UsageError, match=r"fix 'drop': may stand between .*; expected --between roles or --between spl"
    ):
        build_without_leaks(data, fix="drop")
    made = build_without_leaks(data, look=["copy"], fix="move", between="splits")
    assert set(made.table("images")["split"].to_pylist()) == {"split a", "split b"}
    assert members(made) == members(data)


def test_instances_are_not_looked_at_between_queries_and_gallery() -> None:
    made = build_without_leaks(benchmark(), look=["instance"])
    assert step(made, "leaks by") == (
        "leaks by instance between queries and gallery: not looked at",
        {"images": 6},
    )
    with pytest.raises(UsageError, match="leak 'instance': is not looked at between queries and gallery"):
        build_without_leaks(benchmark(), forbid=["instance"])
    with pytest.raises(UsageError, match="has no two splits"):
        build_without_leaks(benchmark(), between="splits")
    with pytest.raises(UsageError, match="has no gallery"):
        build_without_leaks(divided(), between="roles")


def test_splits_that_say_the_roles_are_no_other_sides() -> None:
    data = benchmark()
    order = [name.removeprefix("s/") for name in data.table("images")["id"].to_pylist()]
    names = ["query" if members(data)[key] == "query" else "gallery" for key in order]
    images = data.table("images")
    made = build_without_leaks(
        data.replace(images=images.set_column(images.schema.get_field_index("split"), "split", [names])), look=["copy"]
    )
    assert step(made, "leaks by")[0] == "leaks by copy: found"


def test_a_fix_takes_images_from_the_gallery_and_queries_that_nothing_answers() -> None:
    made = build_without_leaks(benchmark(), fix="drop", forbid=["copy"], look=["sequence"], allow_unproved=True)
    assert members(made) == {"q": "query", "far": "gallery", "d": "distractor"}
    assert made.table("queries")["id"].to_pylist() == ["car"]
    assert overview(made)["positive"].to_pylist() == [1]
    assert step(made, "dropped from the gallery")[1] == {"images": 2, "queries": 1}
    assert [p.item for p in made.problems if "dropped" in p.message] == ["s/copy", "s/drive", "bus"]
    again = build_without_leaks(made, forbid=["copy", "sequence"], allow_unproved=True)
    assert again.table("members").equals(made.table("members"))


def test_near_duplicates_are_given_as_clusters() -> None:
    data = benchmark()  # copy, d, drive, far, q, r
    made = build_without_leaks(data, look=["near"], near=np.array([1, 2, 3, 4, 5, 4]), fix="drop")
    assert "far" not in members(made)
    with pytest.raises(UsageError, match="leak 'near': needs the pictures"):
        build_without_leaks(data, look=["near"])


def divided() -> Dataset:
    return dataset(
        image("1", "train", sequence="x"),
        image("2", "train", sequence="x", sha256=A),
        image("3", "test", sequence="x"),
        image("4", "test", sha256=A),
        image("5", "test"),
        image("6", "val"),
        image("7"),
        box("5", "car", "i/1"),
        box("6", "car", "i/1"),
        box("6", "bus", "i/2"),
        box("7", "bus", "i/2"),
    )


def splits(data: Dataset) -> dict[str, str | None]:
    table = data.table("images")
    return dict(zip("1234567", table["split"].to_pylist(), strict=True))


def test_a_move_follows_links_and_goes_to_the_most() -> None:
    made = build_without_leaks(divided(), look=["sequence", "copy", "instance"], fix="move")
    # 1-4 are linked through 2: two are in train and two in test, and test comes first by name. 5 and 6: likewise.
    assert splits(made) == dict(zip("1234567", ["test"] * 6 + [None], strict=True))
    assert [p.message for p in made.problems if "moved" in p.message] == [
        "moved from train to test",
        "moved from train to test",
        "moved from val to test",
    ]
    told = "the fix leaves no image in it: all are linked with images of other splits"
    empty = [(p.where, p.severity) for p in made.problems if p.message == told]
    assert empty == [("split train", "warning"), ("split val", "warning")]


def test_a_drop_between_splits() -> None:
    made = build_without_leaks(divided(), look=["sequence"], fix="drop")
    assert [name.removeprefix("s/") for name in made.table("images")["id"].to_pylist()] == list("124567")
    assert step(made, "dropped")[1] == {"images": 1}


def test_an_instance_in_two_splits_may_be_forbidden() -> None:
    with pytest.raises(SchemaError, match=r"leaks by instance: 2 images .*: s/5 in test, s/6 in val"):
        build_without_leaks(divided(), forbid=["instance"])


def test_an_image_that_is_shown_and_searched_stands_on_both_sides() -> None:
    """q asks, and is searched for others: its copy in the gallery leaks all the same, and q need not leave."""
    data = benchmark()
    both = [Member(image_id="s/q", role="gallery"), Member(image_id="s/q", role="query")]
    more = from_records(Info(name="d"), both).table("members")
    others = data.table("members").filter(pc.not_equal(data.table("members")["image_id"], "s/q"))
    data = data.replace(members=pa.concat_tables([others, more]).unify_dictionaries())
    made = build_without_leaks(data)
    assert [problem.message for problem in made.problems] == [
        "2 images that share their content stand on 2 sides: s/q in queries and support, s/copy in gallery",
        "2 images that share a sequence stand on 2 sides: s/q in queries and support, s/drive in gallery",
    ]
    fixed = build_without_leaks(data, fix="drop")
    gallery = {m["image_id"] for m in fixed.table("members").to_pylist() if m["role"] != "query"}
    assert gallery == {"s/q", "s/far", "s/d"}
    # Alone with itself it is no leak; with another query that is its copy it is.
    assert step(build_without_leaks(fixed), "leaks by copy")[0] == "leaks by copy: unproved"
    clusters = np.array([0, 1, 2, 3, 4, 4])  # copy, d, drive, far, q, r
    made = build_without_leaks(data, look=["near"], near=clusters)
    assert made.problems[0].message.endswith("2 sides: s/r in queries and support, s/q in gallery")


def test_distractors_that_are_too_young_leave_the_gallery_between_splits_too() -> None:
    names = {"a": "train", "b": "train", "q": "test", "p": "test"}
    data = with_dates()
    split = [names.get(id.removeprefix("s/")) for id in data.table("images")["id"].to_pylist()]
    images = data.table("images")
    data = data.replace(images=images.set_column(images.schema.get_field_index("split"), "split", [split]))
    for fix in ("drop", "move"):
        made = build_without_leaks(data, look=["time"], before="2019", fix=fix, between="splits")  # type: ignore[arg-type]
        assert sorted(set(members(data)) - set(members(made))) == ["b", "d"]
        assert made.table("images").num_rows == images.num_rows
        build_without_leaks(made, forbid=["time"], before="2019", between="splits", allow_unproved=True)


def naive(data: Dataset, keys: dict[str, dict[str, Any]], between: str) -> set[tuple[str, str, str]]:
    """Pairs of images that leak, kind by kind: every image against every other one."""
    roles: dict[str, set[str]] = {}
    for one in data.table("members").to_pylist():
        roles.setdefault(one["image_id"], set()).add(one["role"])
    split = dict(zip(*(data.table("images")[name].to_pylist() for name in ("id", "split")), strict=True))

    def spans(a: str, b: str) -> bool:
        if between == "splits":
            return None not in (split[a], split[b]) and split[a] != split[b]
        return bool(roles.get(a, set()) & {"query", "support"} and roles.get(b, set()) & {"gallery", "distractor"})

    return {
        (kind, a, b)
        for kind, of in keys.items()
        for a in split
        for b in split
        if a != b and of.get(a) is not None and of.get(a) == of.get(b) and spans(a, b)
    }


@pytest.mark.parametrize("seed", range(60))
def test_what_is_fixed_is_gone(seed: int) -> None:
    """Images with keys and roles at random, images of several roles among them."""
    draw = random.Random(seed)
    ids = [f"s/{i:02}" for i in range(draw.randint(6, 16))]
    between: Any = draw.choice(["roles", "splits"])
    fix: Any = draw.choice(["drop", "move"]) if between == "splits" else "drop"
    keys: dict[str, dict[str, Any]] = {
        kind: {id: draw.choice([None, *range(8)]) for id in ids} for kind in ("copy", "near", "sequence", "place")
    }
    records: list[Record] = []
    for id in ids:
        told = {name: keys[kind][id] for kind, name in (("copy", "sha256"), ("sequence",) * 2, ("place",) * 2)}
        more = {name: None if value is None else str(value) for name, value in told.items()}
        records.append(Image(id=id, source="s", split=draw.choice(["train", "val", "test", None]), **more))
        records.append(Annotation(id=f"{id}#0", image_id=id, category=draw.choice(["car", "bus"])))
        for role, often in (("query", 0.3), ("gallery", 0.6), ("distractor", 0.1), ("support", 0.1)):
            if draw.random() < often:
                records.append(Member(image_id=id, role=role))  # type: ignore[arg-type]
                if role == "query":
                    records.append(Query(id=f"q:{id}", kind="image", image_id=id, category="car"))
    data = dataset(*records)

    def near(part: Dataset) -> Any:
        return np.array(
            [-1 if (key := keys["near"][id]) is None else key for id in part.table("images")["id"].to_pylist()]
        )

    kinds: Any = list(keys)
    found = build_without_leaks(data, look=kinds, between=between, near=near(data))
    of_kinds = {one.what.split()[2].rstrip(":") for one in found.info.command.steps if one.what.endswith("found")}  # type: ignore[union-attr]
    assert of_kinds == {kind for kind, _, _ in naive(data, keys, between)}
    try:
        made = build_without_leaks(data, look=kinds, between=between, fix=fix, near=near(data))
    except SchemaError as error:
        assert "leaves no gallery" in str(error)
        return
    assert naive(made, keys, between) == set()
    before, after = (
        dict(zip(*(overview(one)[c].to_pylist() for c in ("query_id", "positive")), strict=True))
        for one in (data, made)
    )
    assert all(number or not before[query] for query, number in after.items())


def with_dates() -> Dataset:
    dates = {"a": "2014-05-01", "b": "2021-01-01", "c": None, "d": "2020", "e": "2013"}
    return dataset(
        Instance(id="i/1", exists_since="2020-03"),
        Instance(id="i/2", exists_since="2019-12-31"),
        image("q"),
        image("p"),
        box("q", "car", "i/1"),
        box("p", "car", "i/1"),
        Query(id="car", kind="image", image_id="s/q", category="car"),
        *[image(key, taken_at=date, date_evidence="proven" if key == "a" else None) for key, date in dates.items()],
        Member(image_id="s/q", role="query"),
        Member(image_id="s/p", role="gallery"),
        *[Member(image_id=f"s/{key}", role="distractor") for key in dates],
    )


def test_distractors_before_objects_after() -> None:
    made = build_without_leaks(with_dates(), look=["time"], before="2020-01-01", fix="drop")
    assert step(made, "leaks by time") == (
        "leaks by time, 2020-01-01: found",
        {
            "distractors proven": 1,
            "distractors claimed": 1,
            "distractors unknown": 2,
            "distractors contradicted": 1,
            "instances too old": 1,
            "instances unknown": 0,
        },
    )
    assert "b" not in members(made)
    assert {"a", "c", "d", "e", "p"} <= set(members(made))
    # An instance that is too old cannot be mended.
    with pytest.raises(SchemaError, match="leaks by time"):
        build_without_leaks(with_dates(), forbid=["time"], before="2020-01-01", fix="drop")
    with pytest.raises(UsageError, match="expected --before and a date"):
        build_without_leaks(benchmark(), look=["time"])


def test_instances_without_date_prove_nothing() -> None:
    """No distractor is too young, and of neither instance is it known since when it exists."""
    for extra in ([Instance(id="i/1"), box("q", "car", "i/2")], []):
        data = dataset(
            *extra,
            *[image(key) for key in "qp"],
            Member(image_id="s/q", role="query"),
            Member(image_id="s/p", role="gallery"),
        )
        made = build_without_leaks(data, look=["time"], before="2020")
        what, counts = step(made, "leaks by time")
        assert what == "leaks by time, 2020: unproved"
        assert counts["instances unknown"] == len(extra)
        with pytest.raises(SchemaError, match="leaks by time: unproved: 0 distractors proven"):
            build_without_leaks(data, forbid=["time"], before="2020")
    rough = data.replace(
        instances=from_records(Info(name="d"), [Instance(id="i/1", exists_since="2020")]).table("instances")
    )
    assert (
        step(build_without_leaks(rough, look=["time"], before="2020-05"), "leaks by time")[1]["instances unknown"] == 1
    )
    assert step(build_without_leaks(rough, look=["time"], before="2020"), "leaks by time")[0].endswith("none")


def test_refusals() -> None:
    with pytest.raises(UsageError, match="fix 'move': stands between queries and gallery"):
        build_without_leaks(benchmark(), fix="move")
    with pytest.raises(UsageError, match="has neither a gallery nor two splits"):
        build_without_leaks(dataset(image("a")))
    with pytest.raises(UsageError, match="leak 'twin': is unknown; expected one of copy, near"):
        build_without_leaks(benchmark(), look=["twin"])  # type: ignore[list-item]


def test_queries_that_find_only_their_likes_are_named() -> None:
    """q's positives are its copy, and what looks like it; r's are one that does, and others."""
    roles = dict.fromkeys(("copy", "like", "other", "free"), "gallery") | {"q": "query", "r": "query"}
    data = dataset(
        *[image(key, sha256=A if key in ("q", "copy") else None) for key in roles],
        *[box(key, "car") for key in ("q", "copy", "like")],
        *[box(key, "bus") for key in ("r", "copy", "other", "free")],
        Query(id="car", kind="image", image_id="s/q", category="car"),
        Query(id="bus", kind="image", image_id="s/r", category="bus"),
        *[Member(image_id=f"s/{key}", role=role) for key, role in roles.items()],  # type: ignore[arg-type]
    )
    order = [name.removeprefix("s/") for name in data.table("images")["id"].to_pylist()]
    looks = np.array([{"q": 0, "like": 0, "r": 1, "other": 1}.get(key, -1) for key in order])

    def named(*look: Any) -> list[tuple[str | None, str]]:
        found = build_without_leaks(data, look=look, near=looks, embedding=looks).problems
        return [(one.item, one.message) for one in found if one.code == "Q02"]

    assert named("copy") == named("near") == []  # of each alone, a positive is left
    text = "all of its 2 positives share their content or {} with its own image: it finds nothing but itself"
    assert named("copy", "near") == [("car", text.format("their looks"))]
    assert named("copy", "embedding") == [("car", text.format("their embedding"))]
    fixed = build_without_leaks(data, look=("copy", "near"), near=looks, fix="drop")
    told = [one.message for one in fixed.problems if one.code == "Q02"]
    assert told == [text.format("their looks"), "no image of the gallery answers it; dropped"]
    assert fixed.table("queries")["id"].to_pylist() == ["bus"]


def test_the_only_positive_is_a_copy() -> None:
    found = [one.message for one in build_without_leaks(benchmark()).problems if one.code == "Q02"]
    assert found == []  # the car has another, and of the bus only the distractor is a copy
    data = benchmark()
    lost = data.replace(members=data.table("members").filter(np.array(data.table("members")["image_id"]) != "s/far"))
    (one,) = [one for one in build_without_leaks(lost).problems if one.code == "Q02"]
    assert (one.item, one.severity) == ("car", "warning")
    assert one.message == "its only positive shares their content with its own image: it finds nothing but itself"


def test_embeddings_are_a_kind_of_their_own() -> None:
    data = benchmark()
    with pytest.raises(UsageError, match="leak 'embedding': needs vectors"):
        build_without_leaks(data, forbid=("embedding",))
    ids = data.table("images")["id"].to_pylist()
    code = np.array([7 if name in ("s/q", "s/far") else -1 for name in ids])
    with pytest.raises(SchemaError, match="leaks by embedding: 2 images that share their embedding"):
        build_without_leaks(data, forbid=("embedding",), embedding=code)
    made = build_without_leaks(
        data,
        forbid=("embedding",),
        embedding=code,
        fix="drop",
        allow_unproved=True,
        made_by={"embeddings": "ab", "min-cosine": 0.9},
    )
    assert members(made) == {key: role for key, role in members(data).items() if key != "far"}
    assert made.info.command
    assert made.info.command.options == {
        "look": ["embedding"],
        "forbid": ["embedding"],
        "fix": "drop",
        "allow-unproved": True,
        "embeddings": "ab",
        "min-cosine": 0.9,
    }


@pytest.mark.parametrize("date", ["2014x", "31.05.2014", "2014-13", "2014-05-32", "", "14"])
def test_a_date_that_is_none(date: str) -> None:
    with pytest.raises(UsageError, match="is no date; expected for example 2014, 2014-05 or 2014-05-31"):
        build_without_leaks(benchmark(), look=("time",), before=date)


def test_a_date_that_nobody_looks_at() -> None:
    with pytest.raises(UsageError, match="--before: is given, and nobody looks at dates"):
        build_without_leaks(benchmark(), before="2014")
