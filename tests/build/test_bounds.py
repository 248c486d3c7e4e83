"""Bounds on the boxes of one class in one image, against a plain loop over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.build.bounds import classes_in_images, read_bound, within
from curate.dataset import from_records
from curate.errors import UsageError
from curate.model import Annotation, Image, Info


def test_largest_every_and_total_worked_by_hand() -> None:
    values = np.array([0.1, 0.2, 0.05, np.nan, 0.3])
    classes = np.array([0, 0, 1, 0, 2])
    small = [read_bound("<0.15")]
    assert within(values, small).tolist() == [True, False, True, False, False]
    # The largest box of class 0 is too large, and takes the small one along.
    assert within(values, small, classes, "largest").tolist() == [False, False, True, False, False]
    large = [read_bound(">=0.2")]
    assert within(values, large, classes, "largest").tolist() == [True, True, False, False, True]
    assert within(values, large, classes, "every").tolist() == [False, False, False, False, True]
    assert within(values, [read_bound(">0.25")], classes, "total").tolist() == [True, True, False, False, True]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8) | st.none())), st.sampled_from(["<4", "<=4", ">4"]))
def test_groups_against_a_loop(rows: list[tuple[int, int | None]], text: str) -> None:
    values = np.array([np.nan if value is None else float(value) for _, value in rows], float)
    classes = np.array([number for number, _ in rows], np.int64)
    bound = read_bound(text, percent=False)
    holds = {"<4": lambda v: v < 4, "<=4": lambda v: v <= 4, ">4": lambda v: v > 4}[text]
    decide = {
        "largest": lambda vs: holds(max(vs)),
        "every": lambda vs: all(map(holds, vs)),
        "total": lambda vs: holds(sum(vs)),
    }
    for of, rule in decide.items():
        expected = [
            value is not None and rule([v for n, v in rows if n == number and v is not None]) for number, value in rows
        ]
        assert within(values, [bound], classes, of).tolist() == expected  # type: ignore[arg-type]


def test_boxes_are_together_by_image_class_and_status() -> None:
    def row(number: int, image: str, category: str | None, status: str = "truth") -> Annotation:
        return Annotation(id=f"{image}#{number}", image_id=image, category=category, status=status)  # type: ignore[arg-type]

    rows = [
        row(0, "a", "car"),
        row(1, "a", "car"),
        row(2, "a", "car", "proposal"),
        row(3, "a", None),
        row(4, "b", "car"),
        row(5, "b", "bus"),
    ]
    data = from_records(Info(name="d"), [Image(id="a", source="s"), Image(id="b", source="s"), *rows])
    annotations = data.table("annotations")
    number = classes_in_images(annotations, np.array([0, 0, 0, 0, 1, 1])).tolist()
    assert number[0] == number[1]
    assert len(set(number)) == 5


@pytest.mark.parametrize(
    ("text", "more"),
    [("10%", {"percent": False}), ("<1.5", {"whole": True}), (">=1%", {"whole": True}), ("5", {}), ("<-1", {})],
)
def test_no_bound(text: str, more: dict[str, bool]) -> None:
    with pytest.raises(UsageError, match="is no bound"):
        read_bound(text, **more)


def test_a_bound_has_one_text() -> None:
    assert read_bound(" < 15 % ") == read_bound("<.15")
    assert read_bound(">=010", whole=True).text == ">=10"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<15", "size '<15': is a share above 1; expected at most 1, which is 100%; did you mean <15%[?]"),
        (">=1.5", "did you mean >=1.5%[?]"),
        ("<150%", "is a share above 1; expected at most 1, which is 100%$"),
    ],
)
def test_a_share_above_1(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_bound(text)
    assert read_bound("<=1").number == read_bound("<=100%").number == 1
    assert read_bound("<1024", "area", percent=False).number == 1024
