"""The truth of a dataset: what upstream's own file says, and what only the dataset knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import evaluate as ev
from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError
from curate.evaluate.ranking import LABELS, Results
from curate.evaluate.truth_dataset import truth_of
from curate.model import Annotation, Category, Coverage, Image, Info, Judgement, Member, Query, RelevanceRule


@pytest.fixture
def dataset() -> Dataset:
    """A class query over four images; 3 is a distractor that nobody labelled, 4 belongs to another split."""
    sizes = {"width": 100, "height": 50}
    records = [
        *(
            Image(id=f"s/{i}", source="s", file_name=f"{i}.jpg", source_split="train", split="test", **sizes)
            for i in "012"
        ),
        Image(id="s/3", source="s", file_name="3.jpg", source_split="extra", split="test", **sizes),
        Image(id="s/4", source="s", file_name="4.jpg", source_split="train", split="train", **sizes),
        *(Member(image_id=f"s/{i}", role="gallery") for i in "012"),
        Member(image_id="s/3", role="distractor"),
        Category(name="dog", supercategory="animal"),
        Annotation(id="s/0#0", image_id="s/0", category="dog", x=0, y=0, w=10, h=10, area=100),
        Annotation(id="s/0#1", image_id="s/0", category="dog", x=0, y=0, w=50, h=20, area=1000),
        Annotation(id="s/1#0", image_id="s/1", category="dog", x=0, y=0, w=9, h=9, area=81, iscrowd=True),
        Query(id="s/dog", kind="text", category="dog", text="a dog"),
        Coverage(scope="s/train", category="dog", state="exhaustive"),
    ]
    return from_records(Info(name="d", relevance=RelevanceRule(target="category")), records)


def test_pairs_and_what_is_known_of_them(dataset: Dataset) -> None:
    truth = truth_of(dataset)
    assert truth.queries == ("s/dog",)
    assert truth.items.to_pylist() == ["s/0", "s/1", "s/2", "s/3"]
    pairs = [(truth.items[int(i)].as_py(), LABELS[v]) for i, v in zip(truth.item, truth.label, strict=True)]
    assert pairs == [("s/0", "positive"), ("s/1", "ignore")]
    assert truth.gallery == 4
    assert truth.about["supercategory"] == ["animal"]
    assert truth.share is not None
    assert truth.share[0] == pytest.approx(0.2)  # the largest of the two: 50 x 20 of 100 x 50


def test_coverage_tells_negatives_from_what_nobody_judged(dataset: Dataset) -> None:
    truth = truth_of(dataset)
    assert truth.judged is not None
    assert truth.judged(np.array([0, 0]), np.array([2, 3])).tolist() == [True, False]


def test_items_of_another_split_are_known_as_such(dataset: Dataset) -> None:
    (name, ids), *others = truth_of(dataset).elsewhere.items()
    assert "split train" in name
    assert ids.to_pylist() == ["s/4"]
    assert not others


def test_a_judgement_may_name_the_object(dataset: Dataset) -> None:
    judged = from_records(dataset.info, [Judgement(query_id="s/dog", image_id="s/2", label="hard")])
    truth = truth_of(Dataset(dataset.info, {**dataset.tables, "judgements": judged.table("judgements")}))
    assert ("s/2", "hard") in [
        (truth.items[int(i)].as_py(), LABELS[v]) for i, v in zip(truth.item, truth.label, strict=True)
    ]


def test_a_dataset_without_queries_is_no_truth(dataset: Dataset) -> None:
    tables = {name: table for name, table in dataset.tables.items() if name != "queries"}
    with pytest.raises(SchemaError, match=r"has no queries.*curate build split"):
        truth_of(Dataset(dataset.info, tables))


def test_distractors_need_not_be_held(dataset: Dataset) -> None:
    """The same truth and the same figures with image 3, a distractor, counted only."""
    ids = pa.array([f"s/{i}" for i in "0124"])
    whole, part = ev.read_truth("soir", dataset), ev.read_truth("soir", dataset.select_images(ids), distractors=1)
    assert part.fingerprint() == whole.fingerprint()
    order = Results(
        "r", ("s/dog",), pa.array(["s/3", "s/0", "s/2", "s/1"]), np.array([0, 4]), np.arange(4, dtype=np.int32)
    )
    a, b = (ev.score("soir", truth, order) for truth in (whole, part))
    assert a.values["mAP"] == b.values["mAP"] == 0.5
    assert a.queries.values["AP of random order"] == b.queries.values["AP of random order"]
    # An id that is not there might be a distractor: only a truth that holds all can tell.
    assert {one.code for one in b.findings} == set()
    assert {one.code for one in a.findings} == {"E09"}


def test_a_large_dataset_is_read_without_them(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.commands import evaluate as command

    store.write(dataset, tmp_path / "ds")
    assert command._dataset(tmp_path) == (None, 0)
    for many, images, distractors in ((4, 5, 0), (3, 4, 1)):
        monkeypatch.setattr(command, "_MANY", many)
        found, count = command._dataset(tmp_path / "ds")
        assert found is not None
        assert (found.table("images").num_rows, count) == (images, distractors)
