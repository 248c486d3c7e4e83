"""Label errors that a detector points at: each rule at its bounds, worked by hand, and what is no error."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image as PilImage

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.model import Annotation, Category, Coverage, Image, Info, Record, SourceRecord
from curate.review.plan import read_images
from curate.review.suspects import queue_csv, suspects

SCHEMAS = Path(__file__).resolve().parent.parent.parent / "schemas"


def truth(key: str, x: float, category: str | None = "car", image: str = "a", **more: Any) -> Annotation:
    more = {"y": 0, "w": 10, "h": 10, **more}
    return Annotation(id=f"s/{image}#t{key}", image_id=f"s/{image}", category=category, x=x, **more)


def find(key: str, x: float, score: float, category: str | None = "car", image: str = "a", **more: Any) -> Annotation:
    more = {"y": 0, "w": 10, "h": 10, "status": "proposal", "origin": "model:owlv2", **more}
    return Annotation(id=f"s/{image}#f{key}", image_id=f"s/{image}", category=category, x=x, score=score, **more)


def of(*rows: Record, exhaustive: tuple[str, ...] = ("car", "bus"), **info: Any) -> Dataset:
    images = [Image(id=f"s/{key}", source="s", file_name=f"{key}.png", width=200, height=50) for key in "ab"]
    covered = [Coverage(scope=f"s/{key}", category=name, state="exhaustive") for key in "ab" for name in exhaustive]
    names = [Category(name="car"), Category(name="bus"), Category(name="DontCare", role="ignore")]
    return from_records(
        Info(name="d", sources={"s": SourceRecord(title="S")}, **info), [*images, *covered, *names, *rows]
    )


def said(*rows: Record, **more: Any) -> list[tuple[str, str, str | None]]:
    return [
        (one.kind, one.proposal[4:], one.annotation and one.annotation[4:])
        for one in suspects(of(*rows, **more)).suspects
    ]


def test_a_hit_is_no_suspect_and_one_annotation_is_hit_once() -> None:
    assert said(truth("0", 0), find("0", 0, 0.9), find("1", 3, 0.8)) == []  # 7/13 > 0.5, but the first is surer
    # Nor is the second one missing (an annotation is near) or misplaced (the annotation is hit).
    assert said(truth("0", 0), find("0", 0, 0.9), find("1", 5, 0.8)) == []


@pytest.mark.parametrize(
    ("score", "x", "expected"),
    [
        (0.75, 100.0, ["missing"]),
        (0.5, 100.0, []),  # not above the mean of the hits, 0.6
        (0.6, 100.0, []),
        (0.61, 100.0, ["missing"]),
        (0.75, 9.0, ["missing"]),  # IoU 1/19 with the annotation
        (0.75, 8.0, []),  # 2/18 > 0.1
    ],
)
def test_missing(score: float, x: float, expected: list[str]) -> None:
    hits = [truth("1", 60), find("h", 60, 0.6), truth("0", 0, w=10)]
    hits.append(find("0", 0, 0.6))
    found = said(*hits, find("x", x, score))
    assert [kind for kind, *_ in found] == expected


def test_missing_without_any_hit_needs_a_score_of_a_half() -> None:
    assert said(find("0", 0, 0.5)) == [("missing", "f0", None)]
    assert said(find("0", 0, 0.49)) == []


def test_where_nobody_labelled_a_class_nothing_is_missing() -> None:
    found = suspects(of(find("0", 0, 0.9), find("1", 0, 0.9, "bus"), exhaustive=("bus",)))
    assert [(one.proposed, one.kind) for one in found.suspects] == [("bus", "missing")]
    assert (found.finds, found.unjudged) == (2, 1)


@pytest.mark.parametrize(("score", "w", "expected"), [(0.9, 10.0, 1), (0.89, 10.0, 0), (0.9, 20.0, 1), (0.9, 20.1, 0)])
def test_swapped(score: float, w: float, expected: int) -> None:
    """IoU 10/w: at a half it still counts."""
    found = said(truth("0", 0, "bus"), find("0", 0, score, w=w))
    assert found == [("swapped", "f0", "t0")] * expected


def test_an_annotation_of_the_right_class_beside_the_other_is_no_swap() -> None:
    assert said(truth("0", 0, "bus"), truth("1", 0), find("0", 0, 0.95), find("1", 1, 0.95)) == []


@pytest.mark.parametrize(("x", "expected"), [(3.0, 0), (4.0, 1), (8.0, 1), (8.2, 0)])
def test_misplaced(x: float, expected: int) -> None:
    """IoU (10 - x) / (10 + x): 7/13 is a hit, 6/14 and 2/18 are not, 1.8/18.2 is below 0.1 and then missing."""
    found = said(truth("0", 0), find("0", x, 0.7))
    assert [one for one in found if one[0] == "misplaced"] == [("misplaced", "f0", "t0")] * expected
    if x == 8.2:
        assert found == [("missing", "f0", None)]


def test_what_lies_in_a_group_or_is_to_be_ignored_is_passed_over() -> None:
    crowd = truth("0", 0, w=100, iscrowd=True)
    ignored = truth("1", 120, "DontCare", w=50)
    rows = [crowd, ignored, find("0", 40, 0.9), find("1", 130, 0.9), find("2", 97, 0.9), find("3", 95, 0.9)]
    assert said(*rows) == [("missing", "f2", None)]  # 3 of its 10 px lie in the group; of the last one 5


def test_what_is_compared() -> None:
    refining = find("0", 0, 0.9, parent_id="s/a#t0")
    nameless = find("1", 0, 0.9, None)
    unscored = Annotation(id="s/a#f2", image_id="s/a", category="car", x=0, y=0, w=9, h=9, status="proposal")
    with pytest.raises(UsageError, match=r"^d: has no proposals to compare with; .*--detector owlv2"):
        suspects(of(refining, nameless, unscored))
    # Truth without class is near all the same; a rejected row is not.
    assert said(truth("0", 0, None), find("0", 0, 0.8)) == []
    assert said(truth("0", 0, status="rejected"), find("0", 0, 0.8)) == [("missing", "f0", None)]
    # Images are apart.
    assert said(truth("0", 0, image="b"), find("0", 0, 0.8)) == [("missing", "f0", None)]


def test_the_surest_come_first_and_the_queue_is_one_for_a_review() -> None:
    found = suspects(of(find("0", 0, 0.6), find("1", 50, 0.9, image="b"), truth("0", 90, "bus"), find("2", 90, 0.95)))
    assert [one.score for one in found.suspects] == [0.95, 0.9, 0.6]
    content = queue_csv(found.suspects)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert rows[0] == {
        "kind": "swapped",
        "image": "s/a",
        "annotation": "s/a#t0",
        "category": "bus",
        "proposal": "s/a#f2",
        "proposed": "car",
        "score": "0.9500",
        "iou": "1.0000",
    }
    assert read_images(content, "queue.csv") == ["s/a", "s/b"]


def test_the_command_and_its_page(curate: Any, tmp_path: Path, browser: Any) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    for key in "ab":
        PilImage.fromarray(rng.integers(0, 255, (50, 200, 3), np.uint8)).save(tmp_path / "raw" / f"{key}.png")
    rows = [find("0", 150, 0.6), truth("0", 90, "bus"), find("2", 90, 0.95), truth("1", 0), find("3", 5, 0.7)]
    store.write(of(*rows, find("4", 180, 0.9, "DontCare"), roots={"s": str(tmp_path / "raw")}), tmp_path / "ds")
    done = curate("review", "suspects", "ds", "--queue", "q.csv", "--html", "p.html")
    assert done.stdout.splitlines()[-2:] == [
        "3 labels to look at, by 4 finds",
        "1 more finds are of classes that nobody labelled throughout there",
    ]
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 4
    page = (tmp_path / "p.html").read_text("utf-8")
    for text in (
        "Perhaps not labelled",
        "Perhaps another class",
        "Perhaps badly placed",
        "found car 0.95, labelled bus",
    ):
        assert text in page
    assert page.count("<figure>") == 3
    assert browser.console(tmp_path / "p.html") == []
    for width in (390, 1280):
        window, shown = browser.widths(tmp_path / "p.html", width)
        assert shown <= window
    printed = json.loads(curate("review", "suspects", "ds", "--json").stdout)
    schema = json.loads((SCHEMAS / "result-review-suspects.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(printed)
    assert [one["kind"] for one in printed["suspects"]] == ["swapped", "misplaced", "missing"]
    assert "q.csv" in curate("review", "suspects", "ds", "--queue", "q.csv", code=2).stderr
