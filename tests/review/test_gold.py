"""People against a gold standard: the guide's example, what gold does not know, and an annotator who tires."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.model import Annotation, Category, Coverage, Image, Info
from curate.review import folder, log
from curate.review.gold import against
from curate.review.plan import Item, Plan, preset
from curate.review.records import Gold
from curate.review.state import fold
from tests.review.test_measures import PAIR, A, B, box, items, said

SCHEMA = Path(__file__).resolve().parent.parent.parent / "schemas" / "review-agreement.json"


def gold(objects: dict[str, Sequence[Annotation]], *more: Any) -> Dataset:
    rows = [
        Annotation(id=f"{image}#{n}", image_id=image, category=row.category, x=row.x, y=row.y, w=row.w, h=row.h)
        for image, held in objects.items()
        for n, row in enumerate(held)
    ]
    images = [Image(id=image, source="s", width=60, height=60) for image in objects]
    return from_records(Info(name="g"), [*images, *rows, Category(name="car"), Category(name="bus"), *more])


def measured(events: list[log.Event], known: Sequence[Item], truth: Dataset, plan: Plan = PAIR) -> tuple[Gold, ...]:
    return against(plan, fold(plan, known, events), known, truth)


def test_the_worked_example_with_gold_as_the_reference() -> None:
    """B against A: one of three boxes is right, one of two found; F1 0.4 at 0.50 to 0.70; A against itself is 1."""
    events = said(("i0", "p1", A), ("i0", "p2", B), ("i1", "p1", B), ("i1", "p2", []))
    one, other = measured(events, items(2), gold({"i0": A}))
    assert (one.person, one.precision, one.recall, one.f1, one.f1_sweep) == ("p1", 1, 1, 1, 1)
    assert (other.person, other.round, other.images, other.objects) == ("p2", "annotate", 1, 2)
    assert (other.precision, other.recall, other.f1) == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert other.f1_sweep == pytest.approx(0.4 * 5 / 10)


def test_what_gold_leaves_open_is_neither_right_nor_wrong() -> None:
    partly = Coverage(scope="i0", category="bus", state="partial")
    marked = [*A, box(0, 40, 9, 9, "bus"), box(30, 40, 9, 9, "tree")]
    events = said(("i0", "p1", marked), ("i0", "p2", marked))
    found = measured(events, items(1), gold({"i0": A}, partly))
    assert [one.precision for one in found] == [1, 1]
    found = measured(events, items(1), gold({"i0": A}))
    assert [one.precision for one in found] == pytest.approx([2 / 3] * 2)  # a class that gold does not have stays out


def test_rows_of_gold_that_are_not_truth_do_not_count() -> None:
    proposal = Annotation(id="i0#p", image_id="i0", category="car", x=0.0, y=40.0, w=9.0, h=9.0, status="proposal")
    found = measured(said(("i0", "p1", A), ("i0", "p2", A)), items(1), gold({"i0": A}, proposal))
    assert [(one.recall, one.objects) for one in found] == [(1, 2)] * 2


def test_of_an_item_of_one_class_only_that_class_counts() -> None:
    plan = preset("consensus", ("p1", "p2"), unit="class", classes=["bus", "car"])
    known = [Item(id="i0@car", image_id="i0", width=60, height=60, target="car")]
    truth = gold({"i0": [*A, box(0, 40, 9, 9, "bus")]})
    found = measured(said(("i0@car", "p1", A), ("i0@car", "p2", A[:1])), known, truth, plan)
    assert [(one.objects, one.recall) for one in found] == [(2, 1), (2, 0.5)]


def test_whoever_tires_is_noticed_in_the_order_of_work() -> None:
    """Twenty right answers, then nothing: mu = 2/3, sd = 0.471; z = 0.996 * 0.8^k falls below 0.1955 at k = 8.

    The images are worked on from the last to the first.
    """
    order = [f"i{n}" for n in reversed(range(30))]
    answers = [(image, "p1", [box(0, 0, 9, 9)] if n < 20 else []) for n, image in enumerate(order)]
    steady = [(image, "p2", [box(0, 0, 9, 9)]) for image in order]
    truth = gold({image: [box(0, 0, 9, 9)] for image in order})
    tired, other = measured(said(*answers, *steady), items(30), truth)
    assert (tired.drift, other.drift) == (28, None)
    assert (tired.precision, tired.recall) == pytest.approx((1, 20 / 30))


def test_a_review_that_gold_says_nothing_of() -> None:
    events = said(("i0", "p1", A), ("i0", "p2", A))
    with pytest.raises(UsageError, match="g: has no image of this review that it knows; expected some, with the same"):
        measured(events, items(1), gold({"other": A}))
    unknown = Coverage(scope="i0", category="*", state="partial")
    with pytest.raises(UsageError, match="has no image of this review that it knows"):
        measured(events, items(1), gold({"i0": A}, unknown))
    groups = preset("pixel-retrieval", ("p1", "p2", "p3"))
    with pytest.raises(UsageError, match="the review is of query groups; expected one of images or classes"):
        against(groups, fold(groups, [], []), [], gold({"i0": A}))


def test_by_the_command_line(curate: Callable[..., Any], tmp_path: Path) -> None:
    store.write(gold({"s/a": [], "s/b": []}), tmp_path / "ds")
    store.write(gold({"s/a": A}), tmp_path / "right")
    review = folder.init(store.read(tmp_path / "ds"), str(tmp_path / "ds"), PAIR, tmp_path / "rounds")
    log.append(review.log, said(("s/a", "p1", A), ("s/a", "p2", B)))
    text = curate("review", "agreement", "rounds", "--gold", "right").stdout
    assert "against gold" in text
    assert text.splitlines()[-1].split() == ["p2,", "annotate", "1", "2", "0.333", "0.500", "0.200"]
    found = json.loads(curate("review", "agreement", "rounds", "--gold", "right", "--json").stdout)
    Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(found)
    assert [one["recall"] for one in found["gold"]] == [1, 0.5]
    curate("review", "agreement", "rounds", "--gold", "right", "--html", "page.html")
    assert "Against the gold standard" in (tmp_path / "page.html").read_text("utf-8")
    curate("review", "agreement", "rounds", "--html", "page.html", "--overwrite")
    assert "Against the gold standard" not in (tmp_path / "page.html").read_text("utf-8")
    failed = curate("review", "agreement", "rounds", "--gold", "wrong", code=1).stderr
    assert failed == "curate: wrong: no such folder; expected a dataset folder\n"
