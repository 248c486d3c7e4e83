"""Tables and the dataset around them: schemas, checks, fingerprints and selections."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.columns import distinct, holds, positions
from curate.dataset import (
    POLYGONS_TYPE,
    RLE_TYPE,
    Dataset,
    arrow_schema,
    check,
    conform,
    empty_table,
    from_records,
    table_of,
)
from curate.errors import SchemaError, UsageError
from curate.fingerprints import fingerprint
from curate.model import (
    TABLES,
    Annotation,
    Category,
    Command,
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

INFO = Info(name="test")
WORD = pa.dictionary(pa.int32(), pa.string())

# One row of each table with every column filled.
FULL: dict[str, Record] = {
    "images": Image(
        id="s/1", source="s", source_split="train", split="val", file_name="1.png", width=640, height=480,
        orientation=6, sha256="ab" * 32, sequence="drive 1", place="Ulm", taken_at="2011-09-26",
        date_evidence="claimed", licence="CC0-1.0", weather="rain", time_of_day="night", attributes={"a": 1},
    ),
    "annotations": Annotation(
        id="s/1#0", image_id="s/1", parent_id="s/1#9", status="proposal", category="car", source_label="Car",
        instance="set/3", x=1.5, y=2.5, w=10.0, h=20.0, area=200.0, segmentation=Rle((4, 5), "44"),
        polygons=[[[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]]], iscrowd=True, ignore=True, origin="model:sam", score=0.5, round=2,
        attributes={"occluded": 1},
    ),
    "categories": Category(name="car", supercategory="vehicle", role="other", definition="four wheels"),
    "instances": Instance(
        id="set/3", category="car", description="red", taxonomy="car/red", exists_since="2020-01-01", evidence="receipt"
    ),
    "coverage": Coverage(scope="s/train", category="car", state="partial", origin="human:kim", round=1),
    "queries": Query(
        id="q1", kind="box", group="g", text="a red car", image_id="s/1", x=1.0, y=2.0, w=3.0, h=4.0,
        annotation_id="s/1#0", instance="set/3", category="car",
    ),
    "support": Support(
        query_id="q1", rank=3, image_id="s/1", x=1.0, y=2.0, w=3.0, h=4.0, annotation_id="s/1#0", text="like this"
    ),
    "judgements": Judgement(
        query_id="q1", image_id="s/1", label="hard", annotation_id="s/1#0", origin="human:kim", round=1
    ),
    "members": Member(image_id="s/1", role="gallery"),
}  # fmt: skip
# Another value for each column, where "z" + the old one would not do.
OTHER: dict[str, Any] = {
    "date_evidence": "proven", "attributes": {"a": 2}, "status": "rejected", "state": "none", "kind": "mask",
    "label": "easy", "segmentation": Rle((4, 5), "53"), "polygons": [[[0.0, 0.0, 4.0], [0.0, 4.0, 4.0]]],
    "iscrowd": False, "ignore": False,
}  # fmt: skip
ROLES = {"categories": "ignore", "members": "query"}
COLUMNS = [(name, column) for name, spec in TABLES.items() for column in spec.record.__struct_fields__]


def table(name: str, *records: Record) -> pa.Table:
    return conform(name, table_of(name, records))


def changed(name: str, column: str) -> Record:
    value = getattr(FULL[name], column)
    if column == "role":
        other: Any = ROLES[name]
    elif column in OTHER:
        other = OTHER[column]
    else:
        other = "z" + value if isinstance(value, str) else value + 1
    assert other != value
    return msgspec.structs.replace(FULL[name], **{column: other})


# Schemas


def test_the_types_of_the_columns() -> None:
    schema = arrow_schema("annotations")
    text = {"id", "image_id", "parent_id", "instance"}
    words = {"status", "category", "source_label", "origin"}
    real = {"x", "y", "w", "h", "area", "score"}
    expected = {**dict.fromkeys(text, pa.string()), **dict.fromkeys(words, WORD), **dict.fromkeys(real, pa.float64())}
    expected |= {"iscrowd": pa.bool_(), "ignore": pa.bool_(), "round": pa.int32(), "attributes": pa.large_string()}
    expected |= {"segmentation": RLE_TYPE, "polygons": POLYGONS_TYPE}
    assert {field.name: field.type for field in schema} == expected
    assert {field.name for field in schema if not field.nullable} == {
        "id", "image_id", "status", "iscrowd", "ignore", "origin"
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_records_go_in_and_come_out(name: str) -> None:
    (row,) = table(name, FULL[name]).to_pylist()
    expected = msgspec.to_builtins(FULL[name])
    if "attributes" in expected:
        expected["attributes"] = msgspec.json.encode(expected["attributes"]).decode()
    if "segmentation" in expected:
        expected["segmentation"] = {"size": [4, 5], "counts": "44"}
    assert row == expected


@pytest.mark.parametrize("name", TABLES)
def test_frames_have_no_object_columns(name: str) -> None:
    frame = from_records(INFO, [FULL[name]]).frame(name)
    kinds = {column: type(kind) for column, kind in frame.dtypes.items()}
    assert set(kinds.values()) <= {pd.ArrowDtype, pd.CategoricalDtype}, kinds
    assert len(frame) == 1


def test_attributes_are_canonical_json() -> None:
    first = table("images", Image(id="s/1", source="s", attributes={"b": 1, "a": {"d": None, "c": "ü"}}))
    again = table("images", Image(id="s/1", source="s", attributes={"a": {"c": "ü", "d": None}, "b": 1}))
    assert first["attributes"].to_pylist() == ['{"a":{"c":"ü","d":null},"b":1}'] == again["attributes"].to_pylist()


# Rules


def test_tables_are_sorted_by_the_bytes_of_their_key() -> None:
    ids = ["s/b", "s/10", "s/9", "s/ü", "s/B", "s/\U0001f600", "s/\ufb01"]
    rows = table("images", *[Image(id=id, source="s") for id in ids])
    assert rows["id"].to_pylist() == sorted(ids, key=str.encode)


def test_absent_columns_take_their_defaults() -> None:
    rows = conform("annotations", pa.table({"id": ["a", "b"], "image_id": ["i", "i"]}))
    assert rows.schema.equals(arrow_schema("annotations"))
    assert rows["status"].to_pylist() == ["truth"] * 2
    assert rows["origin"].to_pylist() == ["source"] * 2
    assert rows["iscrowd"].to_pylist() == [False] * 2
    assert rows["x"].to_pylist() == [None] * 2


def test_pandas_frames_go_in() -> None:
    frame = pd.DataFrame({"id": ["s/2", "s/1"], "source": ["s", "s"], "width": [4, 3]})
    rows = Dataset(INFO, {"images": frame}).table("images")
    assert rows.select(["id", "source", "width"]).to_pylist() == [
        {"id": "s/1", "source": "s", "width": 3},
        {"id": "s/2", "source": "s", "width": 4},
    ]


def images(**columns: list[Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"id": [f"s/{i}" for i in range(rows)], "source": ["s"] * rows} | columns)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("images", {"id": ["s/1", None]}, "table images, row id=None, column id: is null; expected a value"),
        ("images", {"source": ["s", None]}, "table images, row id='s/1', column source: is null"),
        ("images", {"id": ["s/1", "s/1"]}, "table images: id='s/1' stands twice; expected each key once"),
        ("images", {"colour": ["red"]}, "table images: unknown column 'colour'; expected id, source, source_split"),
        ("images", {"width": ["wide"]}, "table images, column width: holds string; expected int32"),
        ("images", {"width": [1 << 40]}, "table images, column width: holds int64; expected int32"),
        ("images", {"date_evidence": ["proven", "perhaps"]}, "row id='s/1', column date_evidence: is 'perhaps'"),
        ("images", {"date_evidence": ["perhaps"]}, "expected one of proven, claimed"),
    ],
)
def test_a_broken_rule_names_the_row(name: str, rows: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(message)):
        conform(name, images(**rows))


@pytest.mark.parametrize(("value", "found"), [(float("nan"), "is nan"), (float("inf"), "is inf")])
def test_numbers_are_finite(value: float, found: str) -> None:
    rows = [Annotation(id="s/1#1", image_id="s/1", x=1.0), Annotation(id="s/1#0", image_id="s/1", x=value)]
    with pytest.raises(SchemaError, match=f"row id='s/1#0', column x: {found}; expected a finite number"):
        table("annotations", *rows)


def test_a_column_stands_once() -> None:
    twice = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["id", "source", "source"])
    with pytest.raises(SchemaError, match="table images: a column stands twice"):
        conform("images", twice)


def test_keys_of_several_columns() -> None:
    one = Judgement(query_id="q", image_id="i", label="easy")
    other = Judgement(query_id="q", image_id="i", label="easy", annotation_id="i#0")
    assert table("judgements", one, other).num_rows == 2
    with pytest.raises(SchemaError, match="query_id='q', image_id='i', annotation_id=None stands twice"):
        table("judgements", one, other, one)
    with pytest.raises(SchemaError, match=r"image_id='i', role='query' stands twice"):
        table("members", Member(image_id="i", role="query"), Member(image_id="i", role="query"))


def test_values_that_do_not_fit_are_named_with_their_column() -> None:
    with pytest.raises(SchemaError, match="table images, column width"):
        table_of("images", [Image(id="s/1", source="s", width="wide")])  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="table images, column width"):
        table_of("images", [Image(id="s/1", source="s", width=1 << 40)])
    with pytest.raises(SchemaError, match="table images, column id"):
        table_of("images", [Image(id="s/\udcff", source="s")])


def test_unknown_tables() -> None:
    with pytest.raises(SchemaError, match="unknown table 'pictures'"):
        Dataset(INFO, {"pictures": empty_table("images")})
    with pytest.raises(UsageError, match="unknown table 'pictures'"):
        from_records(INFO, []).table("pictures")


def test_check_passes_what_conform_makes() -> None:
    for name, record in FULL.items():
        check(name, table(name, record))
        check(name, empty_table(name))


# Fingerprints


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_fingerprint_sees_every_column_but_file_name(name: str, column: str) -> None:
    differs = fingerprint(table(name, changed(name, column))) != fingerprint(table(name, FULL[name]))
    assert differs == (column != "file_name")


@pytest.mark.parametrize(
    ("name", "column"), [(n, c) for n, c in COLUMNS if arrow_schema(n).field(c).nullable and c != "file_name"]
)
def test_a_fingerprint_tells_null_from_empty(name: str, column: str) -> None:
    kind = arrow_schema(name).field(column).type
    if pa.types.is_list(kind):
        empty: Any = []
    elif kind.equals(RLE_TYPE):
        empty = {"size": [], "counts": ""}
    else:
        empty = 0 if pa.types.is_integer(kind) or pa.types.is_floating(kind) else ""
    # A second row keeps the column from being null throughout; it sorts last.
    rows = table(name, FULL[name]).cast(arrow_schema(name))
    index = rows.schema.get_field_index(column)

    def with_value(value: Any) -> str:
        plain = pa.string() if pa.types.is_dictionary(kind) else kind
        values = pa.concat_arrays([pa.array([value], plain), pa.array([rows[column].to_pylist()[0]], plain)])
        values = values.dictionary_encode() if pa.types.is_dictionary(kind) else values
        return fingerprint(pa.concat_tables([rows, rows]).set_column(index, rows.schema.field(index), values))

    assert with_value(None) != with_value(empty)


words = st.sampled_from(["", "a", "b", "ab", "ü"])
rings = st.lists(st.sampled_from([0.0, 1.0, 2.0]), max_size=3)
annotation_rows = st.lists(
    st.tuples(
        st.none() | words,  # category: a dictionary column
        st.none() | words,  # parent_id: a plain one
        st.none() | st.lists(st.lists(rings, max_size=2), max_size=2),
        st.none() | st.builds(Rle, st.tuples(st.integers(1, 2), st.integers(1, 2)), words),
        st.none() | st.sampled_from([0.0, 1.0]),
    ),
    max_size=4,
)


def annotations(rows: list[tuple[Any, ...]]) -> list[Annotation]:
    return [
        Annotation(
            id=f"{i}", image_id="i", category=category, parent_id=parent, polygons=polygons, segmentation=rle, x=x
        )
        for i, (category, parent, polygons, rle, x) in enumerate(rows)
    ]


@settings(max_examples=300)
@given(annotation_rows, annotation_rows)
def test_equal_fingerprints_mean_equal_rows(one: list[tuple[Any, ...]], two: list[tuple[Any, ...]]) -> None:
    a, b = table("annotations", *annotations(one)), table("annotations", *annotations(two))
    assert (fingerprint(a) == fingerprint(b)) == (one == two)


@given(annotation_rows, st.randoms(use_true_random=False), st.integers(1, 3))
def test_a_fingerprint_does_not_see_how_the_rows_are_laid_out(
    rows: list[tuple[Any, ...]], random: Any, chunk: int
) -> None:
    records = annotations(rows)
    whole = table("annotations", *records)
    expected = fingerprint(whole)
    shuffled = records.copy()
    random.shuffle(shuffled)
    assert fingerprint(table("annotations", *shuffled)) == expected
    # In chunks, each with a dictionary of its own, and cut out of a larger table.
    parts = [table_of("annotations", records[i : i + chunk]) for i in range(0, len(records), chunk)]
    assert fingerprint(pa.concat_tables([*parts, empty_table("annotations")])) == expected
    padded = pa.concat_tables([whole, whole, whole]).combine_chunks()
    assert fingerprint(padded.slice(len(rows), len(rows))) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none", "use_dictionary": False},
        {"compression": "zstd", "row_group_size": 1},
        {"version": "1.0", "data_page_version": "2.0"},
    ],
)
def test_a_fingerprint_does_not_see_parquet(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = table("annotations", FULL["annotations"], Annotation(id="s/0#0", image_id="s/0"))
    pq.write_table(rows, tmp_path / "rows.parquet", **options)
    back = conform("annotations", pq.read_table(tmp_path / "rows.parquet"))
    assert back.to_pylist() == rows.to_pylist()
    assert fingerprint(back) == fingerprint(rows)


def test_minus_zero_is_zero() -> None:
    plus, minus = (table("annotations", Annotation(id="a", image_id="i", x=x)) for x in (0.0, -0.0))
    assert fingerprint(plus) == fingerprint(minus)


def test_a_column_that_is_null_throughout_counts_as_absent() -> None:
    rows = table("images", Image(id="s/1", source="s"))
    assert fingerprint(rows) == fingerprint(rows.drop_columns(["weather", "attributes"]))


SCRIPT = """
from curate.dataset import from_records
from curate.model import Annotation, Category, Image, Info, Rle
print(from_records(Info(name="n"), [
    Image(id="s/2", source="s", width=4, attributes={"b": 1, "a": [1.5, None]}), Image(id="s/1", source="t"),
    Annotation(id="s/1#0", image_id="s/1", x=0.1, segmentation=Rle((3, 4), "<"), polygons=[[[0, 1, 2, 3, 4, 5]]]),
    Category(name="größe"),
]).fingerprint())
"""
# Written down when schema version 1.0 was made. Published datasets carry such numbers: a change here breaks them all.
KNOWN = "c98047266ec98ad6fe49d430142a86bbab459880b7139b3e0758b0fb82f1c1be"


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_a_fingerprint_is_the_same_in_every_process_and_release(seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == KNOWN


def test_the_whole_fingerprint_sees_tables_and_relevance_but_no_names_or_places() -> None:
    records = list(FULL.values())
    base = from_records(INFO, records).fingerprint()
    elsewhere = Info(
        name="other",
        version="2",
        roots={"s": "/data"},
        sources={"s": SourceRecord(title="S")},
        command=Command(verb="x"),
    )
    assert from_records(elsewhere, records).fingerprint() == base
    assert from_records(Info(name="n", relevance=RelevanceRule(min_area=9)), records).fingerprint() != base
    for name in TABLES:
        fewer = [record for record in records if record is not FULL[name]]
        assert from_records(INFO, fewer).fingerprint() != base, name


# Datasets


def test_from_records_sorts_every_kind_into_its_table() -> None:
    noticed = finding("I01", "1.png", "no such file")
    dataset = from_records(INFO, [*FULL.values(), noticed])
    assert dataset.counts() == dict.fromkeys(TABLES, 1)
    assert dataset.problems == (noticed,)


def test_an_empty_dataset_has_the_three_tables_that_every_one_has() -> None:
    assert from_records(INFO, []).counts() == {"images": 0, "annotations": 0, "categories": 0}


def test_replace_shares_the_other_tables_and_checks_the_new() -> None:
    dataset = from_records(INFO, FULL.values())
    fewer = dataset.replace(annotations=empty_table("annotations"))
    assert fewer.table("images") is dataset.table("images")
    assert fewer.counts()["annotations"] == 0
    assert dataset.counts()["annotations"] == 1
    with pytest.raises(SchemaError, match="unknown column"):
        dataset.replace(annotations=pa.table({"nonsense": [1]}))


def test_a_child_knows_its_parents() -> None:
    dataset = from_records(Info(name="a", roots={"s": "/data"}, command=Command(verb="import")), FULL.values())
    child = dataset.replace(info=dataset.child("b", command=Command(verb="build")))
    (parent,) = child.info.parents
    assert (parent.name, parent.fingerprint, parent.command) == ("a", dataset.fingerprint(), Command(verb="import"))
    assert (child.info.name, child.info.roots) == ("b", {"s": "/data"})
    (grandparent,) = child.as_parent().parents
    assert grandparent.name == "a"


names = st.sampled_from(["s/1", "s/2", "s/3", "s/4"])
some = names | st.none()
queries = st.sampled_from(["q1", "q2", "q3"])


def rows_of(record: type[Record], /, *key: str, **columns: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.builds(record, **columns), max_size=5, unique_by=lambda row: tuple(getattr(row, k) for k in key))


@settings(max_examples=200)
@given(
    st.sets(names),
    rows_of(Annotation, "id", id=st.sampled_from("abcd"), image_id=names),
    rows_of(Coverage, "scope", scope=names | st.just("s/train"), category=st.just("*"), state=st.just("none")),
    rows_of(Query, "id", id=queries, kind=st.just("image"), image_id=some),
    rows_of(Support, "query_id", "rank", query_id=queries, rank=st.integers(1, 2), image_id=some),
    rows_of(Judgement, "query_id", "image_id", query_id=queries, image_id=names, label=st.just("easy")),
    rows_of(Member, "image_id", image_id=names, role=st.just("gallery")),
)
def test_selecting_images_takes_with_it_what_speaks_of_them(
    keep: set[str],
    rows: list[Annotation],
    covered: list[Coverage],
    asked: list[Query],
    shown: list[Support],
    judged: list[Judgement],
    members: list[Member],
) -> None:
    every = ["s/1", "s/2", "s/3"]  # "s/4" is known to other tables only, and stays dangling
    records: list[Record] = [Image(id=id, source="s") for id in every]
    records += [*rows, *covered, *asked, *shown, *judged, *members, FULL["categories"], FULL["instances"]]
    gone = set(every) - keep
    lost = {query.id for query in asked if query.image_id in gone}

    def stays(record: Any) -> bool:
        if isinstance(record, Image):
            return record.id in keep
        if isinstance(record, Coverage):
            return record.scope not in gone
        if isinstance(record, Query):
            return record.id not in lost
        image = getattr(record, "image_id", None)
        return image not in gone and getattr(record, "query_id", None) not in lost

    selected = from_records(INFO, records).select_images(pa.array(sorted(keep), pa.string()))
    expected = from_records(INFO, [record for record in records if stays(record)])
    assert selected.counts() == expected.counts()
    assert selected.fingerprint() == expected.fingerprint()


def test_selecting_every_image_changes_nothing() -> None:
    dataset = from_records(INFO, FULL.values())
    assert dataset.select_images(dataset.table("images")["id"]) is dataset


@given(st.lists(st.integers(-5, 5)))
def test_distinct_numbers(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))


@given(st.lists(st.sampled_from(["a", "b", "c", None])), st.lists(st.sampled_from(["a", "b", None])))
def test_positions_are_first_places(values: list[str | None], within: list[str | None]) -> None:
    found = positions(pa.array(values, pa.string()), pa.array(within, pa.string()))
    assert found.dtype == np.int64
    assert found.tolist() == [within.index(one) if one is not None and one in within else -1 for one in values]


SORTED = st.lists(st.sampled_from(["", "a", "ab", "b", "\u00e4", "\uffff", "\U0001f600"]), max_size=30).map(sorted)


@given(SORTED, SORTED, st.integers(1, 9), st.booleans(), st.booleans())
def test_positions_block_by_block_are_those_at_once(
    values: list[str], within: list[str], block: int, few: bool, null: bool
) -> None:
    """Sorted columns, and few values among many, are looked up in blocks; pieces of columns make no difference."""
    held: list[str | None] = [*reversed(values)] if few else [*values]
    held += [None] if null else []
    expected = [within.index(value) if value is not None and value in within else -1 for value in held]
    cut = len(within) // 2
    pieces = pa.chunked_array([pa.array(within[:cut], pa.string()), pa.array(within[cut:], pa.string())])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.columns.AT_ONCE", block)
        assert positions(pa.array(held, pa.string()), pieces).tolist() == expected
        many = pa.chunked_array([*pieces.chunks, *[pa.array(["zz"] * 300)]])
        assert positions(pa.array(held, pa.string()), many).tolist() == expected


def test_where_a_column_holds_a_word() -> None:
    words: list[str | None] = ["gallery", None, "query", "gallery", "distractor"]
    column = pa.chunked_array([pa.array(words[:2]).dictionary_encode(), pa.array(words[2:]).dictionary_encode()])
    for held in (column, pa.array(words), column.cast(pa.string())):
        assert holds(held, "gallery", "distractor").tolist() == [True, False, False, True, True]
        assert holds(held, "nobody").tolist() == [False] * 5
    assert holds(pa.array([None, None], pa.string()).dictionary_encode(), "gallery").tolist() == [False, False]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["gallery", "query"])), unique=True), st.integers(1, 4)
)
def test_rows_are_in_the_order_of_all_keys(rows: list[tuple[str, str]], block: int) -> None:
    table = pa.table(
        {"image_id": pa.array([a for a, _ in rows], pa.string()), "role": pa.array([b for _, b in rows], pa.string())}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.columns.AT_ONCE", block)
        held = conform("members", table)
    assert list(zip(held["image_id"].to_pylist(), held["role"].to_pylist(), strict=True)) == sorted(rows)


def test_large_pieces_of_a_table_are_shared_with_what_it_becomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is changed in one column costs that column; many small pieces become one."""
    monkeypatch.setattr("curate.columns.AT_ONCE", 4)
    names = [f"s/{n:02}" for n in range(12)]
    pieces = [pa.table({"id": names[n : n + 6], "source": ["s"] * 6}) for n in (0, 6)]
    table = pa.concat_tables([conform("images", piece) for piece in pieces]).unify_dictionaries()
    held = conform("images", table)
    address = [[chunk.buffers()[2].address for chunk in one["id"].chunks] for one in (table, held)]
    assert address[0] == address[1]
    small = pa.concat_tables([conform("images", table.slice(n, 1)) for n in range(12)])
    assert conform("images", small)["id"].num_chunks == 1
