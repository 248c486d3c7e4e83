"""INSTRE-XS and INSTRE-XXS by the written rule, worked by hand."""

from __future__ import annotations

import pytest

from curate.build.split import build_split
from curate.build.subset import build_subset
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.model import Annotation, Category, Image, Info, Member, Query, Record
from curate.relevance import overview
from curate.verify import verify


def dataset(boxes: dict[str, list[tuple[str, float, float]]], *more: Record) -> Dataset:
    """Images of 100 x 100 px: their boxes as instance, width and height."""
    records: list[Record] = [Category(name="thing")]
    for key, rows in boxes.items():
        records.append(Image(id=f"instre/{key}", source="instre", source_split="S1", width=100, height=100))
        records += [
            Annotation(
                id=f"instre/{key}#{n}", image_id=f"instre/{key}", category="thing", instance=i, x=0, y=0, w=w, h=h
            )
            for n, (i, w, h) in enumerate(rows)
        ]
    return from_records(Info(name="instre"), [*records, *more])


def example() -> Dataset:
    return dataset(
        {
            "a1": [("s/a", 10, 10)],  # 1 %
            "a2": [("s/a", 50, 30)],  # 15 %: not below
            "a3": [("s/a", 10, 10), ("s/a", 40, 50)],  # by its largest 20 %
            "a4": [("s/a", 50, 29)],  # 14.5 %
            "a5": [("s/a", 50, 10)],  # 5 %: at most
            "ab": [("s/a", 10, 10), ("s/b", 10, 10)],  # of two instances
            "b1": [("s/b", 10, 10)],  # no larger image: no query
            "c1": [("s/c", 90, 90)],  # no smaller image: nothing to find
            "n": [],
        },
        Query(id="old", kind="image", image_id="instre/a1"),
        Member(image_id="instre/a1", role="query"),
    )


def roles(data: Dataset) -> dict[str, str]:
    return {m["image_id"].removeprefix("instre/"): m["role"] for m in data.table("members").to_pylist()}


def test_worked_by_hand() -> None:
    subset = build_subset(example(), preset="instre-xs")
    assert roles(subset) == {"a1": "gallery", "a2": "query", "a3": "query", "a4": "gallery", "a5": "gallery"}
    assert subset.table("images")["split"].to_pylist() == ["gallery", "query", "query", "gallery", "gallery"]
    queries = subset.table("queries").to_pylist()
    assert [(q["id"], q["kind"], q["instance"], q["w"], q["h"]) for q in queries] == [
        ("q:instre/a2#0", "box", "s/a", 50, 30),
        ("q:instre/a3#1", "box", "s/a", 40, 50),
    ]
    assert overview(subset)["positive"].to_pylist() == [3, 3]
    assert subset.info.command
    assert subset.info.command.options == {"preset": "instre-xs"}
    assert [(step.what, step.counts) for step in subset.info.command.steps[1:]] == [
        ("images of source instre", {"images": 9}),
        ("images of one annotated instance", {"images": 7}),
        ("size <0.15 of the largest box", {"smaller objects": 4, "larger objects": 3}),
        (
            "instre-xs: instances with query and gallery",
            {
                "instances": 1,
                "queries": 2,
                "published queries": 2428,
                "gallery images": 3,
                "published gallery images": 2065,
                "mean size in the gallery, in 0.01 %": 683,  # (1 + 14.5 + 5) / 3 %
            },
        ),
    ]
    (problem,) = subset.problems
    assert problem.code == "N04"


def test_xxs_is_at_most_five_per_cent() -> None:
    assert roles(build_subset(example(), preset="instre-xxs")) == {
        "a1": "gallery",
        "a2": "query",
        "a3": "query",
        "a4": "query",
        "a5": "gallery",
    }


def test_filters_come_first() -> None:
    assert "a3" not in roles(build_subset(example(), preset="instre-xs", where="not image.id in ['instre/a3']"))


def test_refusals() -> None:
    with pytest.raises(SchemaError, match="preset instre-xs: nothing is left"):
        build_subset(dataset({"b": [("s/b", 10, 10)]}), preset="instre-xs")
    with pytest.raises(UsageError, match="no image is of source instre"):
        build_subset(from_records(Info(name="d"), [Image(id="s/a", source="s")]), preset="instre-xs")
    with pytest.raises(UsageError, match=r"preset 'instre-s': is unknown.*did you mean instre-xs"):
        build_subset(example(), preset="instre-s")
    with pytest.raises(UsageError, match="a preset has its own"):
        build_subset(example(), preset="instre-xs", size="<0.1")


def test_the_result_verifies_and_can_be_kept_as_a_split() -> None:
    subset = build_subset(example(), preset="instre-xs")
    assert not {one.code[0] for one in verify(subset).findings if one.severity != "info"} & set("QR")
    kept = build_split(subset, keep_members=True)
    assert roles(kept) == roles(subset)
    assert kept.table("queries").equals(subset.table("queries"))
