"""Taxonomies: the package's tables against the label tables of the sources, and relabelling against a plain loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import sources, taxonomy
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.importing import import_source
from curate.merging import merge
from curate.model import (
    Annotation,
    Category,
    Coverage,
    Image,
    Info,
    Instance,
    Query,
    Record,
    SourceRecord,
    Support,
    finding,
)
from curate.taxonomy import Rule, Taxonomy, load, relabel

# Where the labels of each source stand: table and columns. Categories are called after them.
TABLES = {
    "acdc": [("acdc", "name")],
    "bdd100k": [("bdd100k", "det_20_category")],  # the older names become these
    "cityscapes": [("cityscapes", "name")],
    "ecp": [("ecp", "identity")],
    "idd": [("idd", "name")],
    "kitti": [("kitti", "type")],
    "lost_and_found": [("lost_and_found", "name")],
    "mapillary_vistas": [("mapillary_vistas_v1.2", "name"), ("mapillary_vistas_v2.0", "name")],
    "mtsd": [("mtsd", "label")],
    "nuscenes": [("nuscenes", "category")],
    "searchad": [("searchad", "label")],
    "wilddash2": [("wilddash2", "policy_name"), ("wilddash2", "v2_name")],
}
DRIVING = set(TABLES) - {"searchad"}
RULES = "class\tsupercategory\tsource\tsource_label\trelation\tcondition\tnote\n"
CLASSES = "class\tsupercategory\trole\tlevel\tdefinition\n"


def labels(source: str) -> set[str]:
    return {row[column] for file, column in TABLES[source] for row in sources.label_table(file)} - {""}


# The tables of the package


def test_the_taxonomies() -> None:
    assert taxonomy.names() == ["coarse", "native", "searchad"]


@pytest.mark.parametrize("name", taxonomy.names())
def test_every_label_is_one_of_its_source(name: str) -> None:
    wrong = [rule for rule in load(name).rules if rule.label not in ("", "*") and rule.label not in labels(rule.source)]
    assert wrong == []


@pytest.mark.parametrize("name", ["coarse", "searchad"])
def test_a_label_that_is_called_like_a_class_means_it(name: str) -> None:
    chosen = load(name)
    certain = {(rule.source, rule.label): rule.name for rule in chosen.rules if rule.certain}
    speaking = {rule.source for rule in chosen.rules}
    for source in speaking:
        for label in labels(source) & set(chosen.classes):
            assert certain.get((source, label)) == label, (source, label)


@pytest.mark.parametrize("name", ["coarse", "searchad"])
def test_all_driving_sources_have_rules(name: str) -> None:
    assert {rule.source for rule in load(name).rules} - {"searchad"} == DRIVING


def test_searchads_classes_are_its_90_and_5() -> None:
    chosen = load("searchad")
    table = {row["label"]: row for row in sources.label_table("searchad")}
    assert set(chosen.classes) == set(table)
    assert len(table) == 95
    for name, category in chosen.classes.items():
        assert category.supercategory == table[name]["category"]
        assert category.role == table[name]["role"].split()[0]
    assert len({category.supercategory for category in chosen.classes.values()}) == 9
    own = {rule.label: (rule.name, rule.relation) for rule in chosen.rules if rule.source == "searchad"}
    assert own == {name: (name, "exact") for name in table}


@pytest.mark.parametrize("name", ["coarse", "searchad"])
def test_every_definition_says_what_counts_and_most_what_does_not(name: str) -> None:
    definitions = {key: category.definition or "" for key, category in load(name).classes.items()}
    assert all(len(text) > 20 and text.endswith(".") for text in definitions.values())
    bare = [key for key, text in definitions.items() if "Not " not in text]
    assert all(
        key.endswith("-Other") or key in {"Vehicle-Special-Train", "caravan"} for key in bare if name == "searchad"
    )
    assert len(set(definitions.values())) == len(definitions)


def test_labels_of_the_whole_image() -> None:
    text = (Path(taxonomy.__file__).parent.parent / "taxonomies/searchad_classes.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    assert {row[0] for row in rows if row[3] == "image"} == {"Scene-Fog", "Scene-Snow", "Scene-Tunnel"}
    assert {rule.name for rule in load("searchad").rules if not rule.label} == {
        "Scene-Fog",
        "Scene-Snow",
        "Scene-Tunnel",
    }


def test_wide_labels_are_never_certain_for_a_rare_class() -> None:
    wide = {"car", "person", "truck", "Car", "Pedestrian", "trailer", "train", "animal", "caravan", "vehicle.trailer"}
    certain = {rule.label for rule in load("searchad").rules if rule.certain and rule.source != "searchad"}
    assert not certain & wide


# Reading tables


def write(folder: Path, rules: str, classes: str | None = None) -> Path:
    (folder / "mine.tsv").write_text(RULES + rules, encoding="utf-8")
    if classes is not None:
        (folder / "mine_classes.tsv").write_text(CLASSES + classes, encoding="utf-8")
    return folder / "mine.tsv"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    mine = load(write(tmp_path, "car\tvehicle\tkitti\tVan\tnarrower\t\tsmall\ncar\tvehicle\tkitti\tCar\texact\t\t\n"))
    assert mine.name == "mine"
    assert mine.classes == {"car": Category(name="car", supercategory="vehicle")}
    assert [(rule.label, rule.relation, rule.certain) for rule in mine.rules] == [
        ("Van", "narrower", True),
        ("Car", "exact", True),
    ]


@pytest.mark.parametrize(
    ("condition", "note"),
    [
        ("", "x" * 200_000),
        ("", "one\u2028two \x0b three"),
        ("attributes.a=" + "[" * 5000, ""),
        ("image.weather=fog", ""),
    ],
)
def test_any_text_is_a_note_or_a_value(tmp_path: Path, condition: str, note: str) -> None:
    for end in ("\n", "\r\n"):
        file = write(tmp_path, f"car\tv\tkitti\tCar\texact\t{condition}\t{note}\n\n".replace("\n", end))
        (rule,) = load(file).rules
        assert (rule.text, rule.note) == (condition, note)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("car\tv\tkitti\tCar\tequal\t\t\n", "mine.tsv:2: relation is 'equal'; expected one of exact, narrower"),
        ("car\tv\tkitti\tCar\texact\n", "mine.tsv:2: 5 columns; expected 7"),
        ("lorry\tv\tkitti\tTruck\texact\t\t\n", "class 'lorry' is not declared"),
        ("car\tw\tkitti\tCar\texact\t\t\n", "car has supercategory 'w'; expected 'v'"),
        ("car\tv\t\tCar\texact\t\t\n", "source is empty"),
        ("car\tv\tkitti\t\texact\t\t\n", "source_label is empty"),
        ("car\tv\tkitti\t\texact\tattributes.a=1\t\n", "source_label is empty"),
        ("car\tv\tkitti\t*\tnarrower\t\t\n", r"the label \* has a condition or another relation"),
        ("car\tv\tkitti\tCar\texact\tsize>3\t\n", r"condition is 'size>3'; expected attributes\.a\.b=value"),
        ("car\tv\tkitti\tCar\texact\timage.wether=fog\t\n", r"condition is 'image.wether=fog'; expected .*a column"),
        ("car\tv\tkitti\tCar\texact\t\t\ncar\tv\tkitti\tCar\tpossible\t\t\n", "kitti, Car: stands twice for car"),
        (
            "car\tv\tkitti\tVan\texact\t\t\nbus\tv\tkitti\tVan\tnarrower\t\t\n",
            "kitti, Van: is certainly car and certainly bus",
        ),
        (
            "car\tv\tkitti\tCar\texact\t\t\nbus\tv\tkitti\tcar\texact\t\t\n",
            "kitti, car: is called like a class, but is",
        ),
        ("car\tv\tkitti\tcar\tbroader\t\t\n", "kitti, car: is called like a class, but is broader car"),
    ],
)
def test_a_broken_table_is_named(rules: str, said: str, tmp_path: Path) -> None:
    file = write(tmp_path, rules, "car\tv\tbenchmark\tbox\tA car.\nbus\tv\tbenchmark\tbox\tA bus.\n")
    with pytest.raises(SchemaError, match=said):
        load(file)


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as raised:
        load(write(tmp_path, "car\tv\tkitti\tCar\tequal\t\t\ncar\tv\t\tVan\texact\t\t\n"))
    assert len(raised.value.lines) == 2


@pytest.mark.parametrize("content", ["", "class,supercategory\n", "\xff"])
def test_a_file_that_is_no_such_table(content: str, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_bytes(content.encode("latin-1"))
    with pytest.raises(SchemaError, match=r"mine\.tsv: (columns are|byte 0 is not UTF-8)"):
        load(tmp_path / "mine.tsv")


@pytest.mark.parametrize("name", ["cars", "missing.tsv", "../searchad"])
def test_an_unknown_taxonomy(name: str) -> None:
    with pytest.raises(UsageError, match="expected one of coarse, native, searchad, or a file"):
        load(name)


# Relabelling, by example


def rule(name: str, source: str, label: str, relation: Any, condition: str = "") -> str:
    return f"{name}\tgroup\t{source}\t{label}\t{relation}\t{condition}\t\n"


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Taxonomy]:
    return lambda *rules: load(write(tmp_path, "".join(rules)))


def dataset(*records: Record, **info: Any) -> Dataset:
    info.setdefault("sources", {"s": SourceRecord(title="S")})
    images = [Image(id=f"s/{i}", source="s", source_split="train") for i in range(3)]
    return from_records(Info(name="d", **info), [*images, *records])


def box(key: str, label: str, image: str = "s/0", **more: Any) -> Annotation:
    more = {"category": label, "source_label": label} | more
    return Annotation(id=f"{image}#{key}", image_id=image, x=1, y=2, w=3, h=4, area=12, **more)


def by_id(dataset: Dataset, name: str = "annotations") -> dict[str, dict[str, Any]]:
    return {row["id" if name != "categories" else "name"]: row for row in dataset.table(name).to_pylist()}


def covered(dataset: Dataset) -> dict[tuple[str, str], str]:
    return {(row["scope"], row["category"]): row["state"] for row in dataset.table("coverage").to_pylist()}


def test_certain_becomes_the_class_and_possible_a_proposal(table: Callable[..., Taxonomy]) -> None:
    mine = table(
        rule("dog", "s", "hound", "narrower"),
        rule("dog", "s", "beast", "broader"),
        rule("cat", "s", "beast", "possible"),
    )
    new, report = relabel(dataset(box("0", "hound"), box("1", "beast"), box("2", "tree")), mine)
    rows = by_id(new)
    assert {key: (row["category"], row["status"], row["source_label"]) for key, row in rows.items()} == {
        "s/0#0": ("dog", "truth", "hound"),
        "s/0#1": ("beast", "truth", "beast"),
        "s/0#1~cat": ("cat", "proposal", "beast"),
        "s/0#1~dog": ("dog", "proposal", "beast"),
        "s/0#2": ("tree", "truth", "tree"),
    }
    proposal = rows["s/0#1~dog"]
    assert [proposal[c] for c in ("parent_id", "image_id", "x", "y", "w", "h", "origin")] == [
        *("s/0#1", "s/0", 1, 2, 3, 4, "taxonomy:mine")
    ]
    assert {name: row["role"] for name, row in by_id(new, "categories").items()} == {
        "dog": "benchmark",
        "cat": "benchmark",
        "beast": "other",
        "tree": "other",
    }
    assert (report.mapped, report.proposals) == (1, 2)
    assert [(entry.label, entry.annotations, entry.proposed) for entry in report.unmapped] == [
        ("beast", 1, ["dog", "cat"]),
        ("tree", 1, []),
    ]
    assert [(entry.name, entry.certain, entry.possible) for entry in report.classes] == [("dog", 1, 1), ("cat", 0, 1)]
    assert new.info.command is not None
    steps = {step.what: step.counts for step in new.info.command.steps}
    assert steps["unmapped s, tree"] == {"annotations": 1}
    assert steps["uncertain s, beast"] == {"annotations": 1}


def test_masks_and_all_else_of_a_row_stay(table: Callable[..., Taxonomy]) -> None:
    from curate.model import Rle

    old = dataset(
        box(
            "0",
            "hound",
            segmentation=Rle(size=(2, 2), counts="04"),
            polygons=[[[0, 0, 1, 0, 1, 1]]],
            score=0.5,
            round=3,
        )
    )
    new, _ = relabel(old, table(rule("dog", "s", "hound", "exact")))
    assert (
        new.table("annotations").drop_columns(["category"]).equals(old.table("annotations").drop_columns(["category"]))
    )


def test_conditions_on_attributes_and_images(table: Callable[..., Taxonomy]) -> None:
    mine = table(
        rule("skater", "s", "person", "exact", "attributes.s.tags=skating and image.weather=fog"),
        rule("tall", "s", "person", "narrower", "attributes.s.size=2"),
        rule("walker", "s", "person", "narrower"),
    )
    people = [
        box("0", "person", attributes={"s": {"tags": ["far", "skating"]}}),
        box("1", "person", attributes={"s": {"tags": ["skating"]}}, image="s/1"),
        box("2", "person", attributes={"s": {"size": 2}}),
        box("3", "person", attributes={"s": {"size": "2"}}),
        box("4", "person", attributes={"s": {"size": True, "tags": "skating"}}),
        box("5", "person", attributes={"s": None}),
        box("6", "person"),
    ]
    old = dataset(*people)
    images = old.table("images").to_pylist()
    foggy = [Image(**{**{k: v for k, v in row.items() if v is not None}, "weather": "fog"}) for row in images[:1]]
    new, _ = relabel(dataset_with(foggy, people), mine)
    assert {key: row["category"] for key, row in by_id(new).items()} == {
        "s/0#0": "skater",
        "s/1#1": "walker",
        "s/0#2": "tall",
        "s/0#3": "walker",
        "s/0#4": "skater",
        "s/0#5": "walker",
        "s/0#6": "walker",
    }


def dataset_with(images: list[Image], rows: list[Annotation]) -> Dataset:
    known = {image.id for image in images}
    others = [Image(id=f"s/{i}", source="s", source_split="train") for i in range(3) if f"s/{i}" not in known]
    return from_records(Info(name="d", sources={"s": SourceRecord(title="S")}), [*images, *others, *rows])


def test_labels_of_whole_images_become_rows_without_box(table: Callable[..., Taxonomy]) -> None:
    mine = table(
        rule("fog", "s", "", "narrower", "image.weather=fog"), rule("mist", "s", "", "possible", "image.weather=fog")
    )
    images = [Image(id="s/0", source="s", weather="fog"), Image(id="t/0", source="t", weather="fog")]
    old = dataset_with([images[0]], []).merge(from_records(Info(name="t"), [images[1]]))
    new, report = relabel(old, mine)
    rows = by_id(new)
    assert {key: (row["status"], row["category"], row["x"], row["source_label"]) for key, row in rows.items()} == {
        "s/0#fog": ("truth", "fog", None, "weather=fog"),
        "s/0#mist": ("proposal", "mist", None, "weather=fog"),
    }
    assert (report.of_images, report.proposals) == (1, 1)


def test_labels_of_a_source_that_labels_others_images_are_its_own(table: Callable[..., Taxonomy]) -> None:
    mine = table(rule("dog", "s", "hound", "exact"), rule("wolf", "guest", "hound", "exact"))
    both = {name: SourceRecord(title=name) for name in ("s", "guest")}
    rows = [box("guest:0", "hound"), box("0", "hound"), box("stranger:0", "hound")]
    new, report = relabel(dataset(*rows, sources=both), mine)
    assert {key: row["category"] for key, row in by_id(new).items()} == {
        "s/0#guest:0": "wolf",
        "s/0#0": "dog",
        "s/0#stranger:0": "dog",
    }
    assert {entry.name: [one.source for one in entry.sources] for entry in report.classes} == {
        "dog": ["s"],
        "wolf": ["guest"],
    }


def test_a_label_that_only_sounds_like_a_class_is_not_taken_for_it(table: Callable[..., Taxonomy]) -> None:
    mine = table(rule("crane", "other", "bird", "exact"))
    new, _ = relabel(dataset(box("0", "crane"), Coverage(scope="s/train", category="crane", state="exhaustive")), mine)
    assert by_id(new)["s/0#0"]["category"] == "s:crane"
    assert by_id(new)["s/0#0"]["source_label"] == "crane"
    assert by_id(new, "categories")["s:crane"]["role"] == "other"
    assert covered(new) == {("s/train", "s:crane"): "exhaustive"}


def test_what_is_not_mapped_can_be_dropped_unless_something_points_at_it(table: Callable[..., Taxonomy]) -> None:
    records = [
        box("0", "hound"),
        box("1", "beast"),
        box("2", "tree"),
        box("3", "tree"),
        box("4", "tree"),
        box("5", "bush"),
    ]
    records += [box("6", "hound", parent_id="s/0#3")]
    pointing = [
        Query(id="q", kind="box", category="hound", annotation_id="s/0#0"),
        Support(query_id="q", rank=0, annotation_id="s/0#4"),
    ]
    states = [Coverage(scope="s/train", category=c, state="exhaustive") for c in ("tree", "bush", "hound")]
    mine = table(rule("dog", "s", "hound", "narrower"), rule("cat", "s", "beast", "possible"))
    new, report = relabel(dataset(*records, *pointing, *states), mine, drop_unmapped=True)
    assert set(by_id(new)) == {"s/0#0", "s/0#1", "s/0#1~cat", "s/0#3", "s/0#4", "s/0#6"}
    assert set(by_id(new, "categories")) == {"dog", "cat", "beast", "tree"}
    assert {entry.label: entry.dropped for entry in report.unmapped} == {"beast": 0, "bush": 1, "tree": 1}
    assert covered(new) == {("s/train", "tree"): "exhaustive", ("s/train", "dog"): "partial"}
    assert new.table("queries").to_pylist()[0]["category"] == "dog"
    assert new.info.command is not None
    assert new.info.command.options == {"taxonomy": "mine", "drop-unmapped": True}


def test_queries_and_instances_follow_where_all_sources_agree(table: Callable[..., Taxonomy]) -> None:
    mine = table(
        rule("dog", "s", "hound", "exact"), rule("big cat", "s", "cat", "exact"), rule("small cat", "t", "cat", "exact")
    )
    records = [Query(id=name, kind="text", category=name) for name in ("hound", "cat", "tree")]
    images = [Image(id="t/0", source="t")]
    rows = [box("0", "hound"), box("0", "cat", image="t/0"), Instance(id="i/1", category="hound")]
    new, _ = relabel(dataset(*records, *images, *rows), mine)
    assert [row["category"] for row in new.table("queries").to_pylist()] == ["cat", "dog", "tree"]
    assert [row["category"] for row in new.table("instances").to_pylist()] == ["dog"]
    assert {"cat", "tree"} <= set(by_id(new, "categories"))


def test_rejected_rows_are_mapped_and_give_no_proposals(table: Callable[..., Taxonomy]) -> None:
    mine = table(rule("dog", "s", "hound", "exact"), rule("cat", "s", "hound", "possible"))
    new, report = relabel(dataset(box("0", "hound", status="rejected"), box("1", "hound", status="proposal")), mine)
    assert {key: (row["category"], row["status"]) for key, row in by_id(new).items()} == {
        "s/0#0": ("dog", "rejected"),
        "s/0#1": ("dog", "proposal"),
        "s/0#1~cat": ("cat", "proposal"),
    }
    assert [(entry.certain, entry.possible) for entry in report.classes] == [(0, 1), (0, 1)]


def test_a_proposal_that_somebody_reviewed_stays_as_it_is(table: Callable[..., Taxonomy]) -> None:
    mine = table(rule("dog", "s", "beast", "broader"), rule("cat", "s", "beast", "broader"))
    first, _ = relabel(dataset(box("0", "beast")), mine)
    rows = first.table("annotations").to_pylist()
    accepted = [
        {**row, "status": "truth", "round": 1, "origin": "human:a"} if row["id"].endswith("~dog") else row
        for row in rows
    ]
    import pyarrow as pa

    reviewed = first.replace(annotations=pa.Table.from_pylist(accepted, schema=first.table("annotations").schema))
    second, report = relabel(reviewed, mine)
    assert second.table("annotations").to_pylist() == reviewed.table("annotations").to_pylist()
    assert [(entry.name, entry.certain) for entry in report.classes] == [("dog", 1), ("cat", 0)]


def test_native_changes_nothing_and_lists_nothing() -> None:
    old = dataset(
        box("0", "hound"), Category(name="hound"), Coverage(scope="s/train", category="*", state="exhaustive")
    )
    new, report = relabel(old, load("native"))
    assert new.fingerprints() == old.fingerprints()
    assert (report.mapped, report.proposals, report.unmapped) == (1, 0, [])


# Coverage


@pytest.mark.parametrize(
    ("rules", "states", "expected"),
    [
        ([("a", "exact")], {"a": "exhaustive"}, "exhaustive"),
        ([("a", "exact")], {"a": "partial"}, "partial"),
        ([("a", "exact")], {"a": "none"}, "none"),
        ([("a", "exact")], {"a": "withheld"}, "withheld"),
        ([("a", "narrower")], {"a": "exhaustive"}, "partial"),
        ([("a", "broader")], {"a": "exhaustive"}, "partial"),
        ([("a", "exact"), ("b", "narrower")], {"a": "exhaustive", "b": "exhaustive"}, "exhaustive"),
        ([("a", "exact"), ("b", "narrower")], {"a": "exhaustive", "b": "partial"}, "partial"),
        ([("a", "exact"), ("b", "narrower")], {"a": "exhaustive"}, "partial"),  # of b nothing is said
        ([("a", "exact"), ("b", "possible")], {"a": "exhaustive", "b": "exhaustive"}, "partial"),
        ([("a", "narrower"), ("b", "narrower"), ("*", "exact")], {"a": "exhaustive", "b": "exhaustive"}, "exhaustive"),
        ([("a", "narrower"), ("b", "possible"), ("*", "exact")], {"a": "exhaustive", "b": "exhaustive"}, "partial"),
        ([("a", "exact"), ("b", "narrower")], {"a": "none", "b": "exhaustive"}, "partial"),
        ([("a", "exact"), ("unheard", "narrower")], {"a": "exhaustive"}, "exhaustive"),  # of another version
        ([("a", "exact"), ("region", "narrower")], {"a": "exhaustive"}, "exhaustive"),  # of role ignore
    ],
)
def test_a_class_is_exhaustive_only_where_every_label_that_may_hold_it_is(
    rules: list[tuple[str, str]], states: dict[str, str], expected: str, table: Callable[..., Taxonomy]
) -> None:
    mine = table(*(rule("dog", "s", *one) for one in rules))
    declared = [Category(name="a"), Category(name="b"), Category(name="region", role="ignore")]
    said = [Coverage(scope="s/train", category=label, state=state) for label, state in states.items()]  # type: ignore[arg-type]
    new, _ = relabel(dataset(*declared, *said), mine)
    assert covered(new)["s/train", "dog"] == expected


def test_a_condition_makes_a_class_partial(table: Callable[..., Taxonomy]) -> None:
    mine = table(rule("dog", "s", "a", "exact", "attributes.s.k=1"))
    new, _ = relabel(dataset(Category(name="a"), Coverage(scope="s/train", category="a", state="exhaustive")), mine)
    assert covered(new) == {("s/train", "dog"): "partial", ("s/train", "a"): "exhaustive"}


def test_what_is_said_of_all_classes_holds_for_the_new_ones_but_for_exhaustive(table: Callable[..., Taxonomy]) -> None:
    mine = table(rule("dog", "s", "a", "exact"))
    said = [("s/train", "*", "exhaustive"), ("s/val", "*", "none"), ("s/0", "*", "exhaustive"), ("s/1", "*", "none")]
    rows = [Coverage(scope=scope, category=label, state=state) for scope, label, state in said]  # type: ignore[arg-type]
    new, _ = relabel(dataset(Category(name="a"), *rows), mine)
    assert covered(new) == {
        ("s/train", "*"): "partial",
        ("s/val", "*"): "none",
        ("s/0", "*"): "partial",
        ("s/1", "*"): "none",
    }


def test_coverage_of_single_images(table: Callable[..., Taxonomy]) -> None:
    mine = table(
        rule("dog", "s", "a", "exact"),
        rule("cat", "s", "b", "exact"),
        rule("cat", "s", "c", "possible"),
        rule("fox", "s", "c", "possible"),
    )
    declared = [Category(name=label) for label in ("a", "b", "c", "d")]
    rows = [
        *(Coverage(scope="s/0", category=label, state="exhaustive") for label in ("a", "b", "c", "d")),
        *(Coverage(scope="s/1", category=label, state="none") for label in ("a", "b", "c")),
        Coverage(scope="s/2", category="set/val", state="exhaustive"),  # points at a scope
        Coverage(scope="set/val", category="d", state="exhaustive"),
    ]
    new, _ = relabel(dataset(*declared, *rows), mine)
    assert covered(new) == {
        ("s/0", "dog"): "exhaustive",
        ("s/0", "c"): "exhaustive",
        ("s/0", "d"): "exhaustive",
        ("s/1", "dog"): "none",
        ("s/1", "cat"): "partial",
        ("s/1", "fox"): "partial",
        ("s/1", "c"): "none",
        ("s/2", "set/val"): "exhaustive",
        ("set/val", "d"): "exhaustive",
    }


# Against a plain loop

NAMES = ["a", "b", "c", "dog", "cat"]
some_rules = st.lists(
    st.builds(
        lambda name, source, label, relation: Rule(name, source, label, relation, (), "", ""),
        st.sampled_from(["dog", "cat", "fox"]),
        st.sampled_from(["s", "t"]),
        st.sampled_from(NAMES),
        st.sampled_from(["exact", "narrower", "broader", "possible"]),
    ).filter(lambda rule: rule.label not in ("dog", "cat") or (rule.certain and rule.label == rule.name)),
    unique_by=lambda rule: (rule.name, rule.source, rule.label),
)
some_rows = st.lists(
    st.tuples(st.sampled_from(["s", "t"]), st.none() | st.sampled_from(NAMES), st.sampled_from(["truth", "rejected"])),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(some_rules, some_rows)
def test_it_does_what_a_plain_loop_does(rules: list[Rule], rows: list[tuple[str, str | None, Any]]) -> None:
    mine = Taxonomy("mine", {name: Category(name=name) for name in ("dog", "cat", "fox")}, tuple(rules))
    records: list[Record] = [Image(id=f"{source}/0", source=source) for source in ("s", "t")]
    expected: dict[str, tuple[str | None, str]] = {}
    for i, (source, label, status) in enumerate(rows):
        key = f"{source}/0#{i}"
        records.append(Annotation(id=key, image_id=f"{source}/0", category=label, source_label=label, status=status))
        fitting = [rule for rule in rules if (rule.source, rule.label) == (source, label)]
        certain = [rule.name for rule in fitting if rule.relation in ("exact", "narrower")]
        native = f"{source}:{label}" if label in mine.classes else label
        expected[key] = (certain[0] if certain else native, status)
        if status != "rejected":
            expected |= {
                f"{key}~{rule.name}": (rule.name, "proposal")
                for rule in fitting
                if rule.relation in ("broader", "possible")
            }
    old = from_records(Info(name="d", sources={name: SourceRecord(title=name) for name in ("s", "t")}), records)
    new, report = relabel(old, mine)
    assert {key: (row["category"], row["status"]) for key, row in by_id(new).items()} == expected
    assert sum(entry.annotations for entry in report.unmapped) + report.mapped == len(rows)
    again, _ = relabel(new, mine)
    assert (
        again.table("annotations")
        .select(["id", "status", "parent_id"])
        .equals(new.table("annotations").select(["id", "status", "parent_id"]))
    )


# With the sources' own trees


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    import importlib.util

    def write(name: str) -> Path:
        place = Path(__file__).parent / "sources" / name / "tree.py"
        spec = importlib.util.spec_from_file_location(f"tree_of_{name}", place)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        (tmp_path / name).mkdir()
        module.write(tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("chosen", ["coarse", "searchad"])
def test_each_source_is_relabelled_and_twice_is_once(name: str, chosen: str, tree: Callable[[str], Path]) -> None:
    old = import_source(name, tree(name))
    new, report = relabel(old, load(chosen))
    assert new.table("annotations").filter(_own(new)).num_rows == old.table("annotations").num_rows
    used = set(new.table("annotations")["category"].to_pylist()) - {None}
    assert used <= set(new.table("categories")["name"].to_pylist())
    again, second = relabel(new, load(chosen))
    assert again.fingerprints() == new.fingerprints()
    assert [(c.name, c.certain, c.possible) for c in second.classes] == [
        (c.name, c.certain, c.possible) for c in report.classes
    ]


def _own(dataset: Dataset) -> Any:
    import pyarrow.compute as pc

    from curate.columns import plain

    return pc.invert(pc.starts_with(plain(dataset.table("annotations")["origin"]), "taxonomy:"))


def test_searchad_and_its_sources_meet_in_one_taxonomy(tree: Callable[[str], Path]) -> None:
    parts = [import_source(name, tree(name)) for name in ("searchad", "kitti", "lost_and_found")]
    new, report = relabel(merge(parts), load("searchad"))
    counts = {
        entry.name: {one.source: (one.certain, one.possible) for one in entry.sources} for entry in report.classes
    }
    assert counts["Object-Ball"] == {"lost_and_found": (2, 0), "searchad": (2, 0)}
    assert counts["Vehicle-Special-Train"] == {"kitti": (0, 1)}
    roles = {row["name"]: row["role"] for row in new.table("categories").to_pylist()}
    assert (roles["Car"], roles["DontCare"], roles["Object-Ball"]) == ("other", "ignore", "benchmark")
    # Relabelled one by one they merge to the same rows.
    apart = merge([relabel(part, load("searchad"))[0] for part in parts])
    assert apart.fingerprints()["annotations"] == new.fingerprints()["annotations"]
    assert covered(apart) == covered(new)


def test_coarse_makes_kittis_persons_exhaustive_and_its_riders_not(tree: Callable[[str], Path]) -> None:
    new, _ = relabel(import_source("kitti", tree("kitti")), load("coarse"))
    said = covered(new)
    assert said["kitti/training", "person"] == "exhaustive"
    assert said["kitti/training", "car"] == "exhaustive"
    assert said["kitti/training", "rider"] == "partial"
    assert ("kitti/training", "animal") not in said
    assert said["kitti/testing", "*"] == "none"


def test_findings_are_not_inherited() -> None:
    old = dataset(box("0", "hound"))
    old = Dataset(old.info, old.tables, [finding("N05", "x", "y")])
    assert relabel(old, load("coarse"))[0].problems == ()


def test_the_report_has_a_schema() -> None:
    import jsonschema
    import msgspec

    _, report = relabel(dataset(box("0", "hound")), load("searchad"))
    file = Path(taxonomy.__file__).parent.parent / "schemas/relabel.json"
    jsonschema.Draft202012Validator(json.loads(file.read_text())).validate(msgspec.to_builtins(report))
