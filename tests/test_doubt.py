"""Doubt, worked by hand: a detector's score or a mask's worst quality; of an image that of its worst proposal."""

from __future__ import annotations

from typing import Any

import pytest

from curate.dataset import from_records
from curate.doubt import doubt, doubt_of, doubts
from curate.model import Annotation, Image, Info


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"predicted_iou": 0.9, "stability": 0.6, "box_iou": 0.8}, 0.4),
        ({"predicted_iou": 0.9, "stability": None, "box_iou": 0.8, "components": 3}, 0.3),
        ({"predicted_iou": 0.02, "components": 9}, 1.0),
        ({"predicted_iou": 0.99, "flags": ["ellipse"]}, 1.0),
        ({}, 1.0),
    ],
)
def test_of_a_mask(facts: dict[str, Any], expected: float) -> None:
    assert doubt(facts) == pytest.approx(expected)


def test_of_a_row() -> None:
    assert doubt_of(None, None) is doubt_of(None, {"review": {}}) is None
    assert doubt_of(0.75, None) == 0.25
    assert doubt_of(0.75, {"prelabel": {"stability": 0.5}}) == 0.5
    assert doubt_of(0.25, {"prelabel": {"stability": 0.5}}) == 0.75


def test_of_images() -> None:
    def row(key: str, image: str, **more: Any) -> Annotation:
        return Annotation(id=f"s/{image}#{key}", image_id=f"s/{image}", x=0, y=0, w=1, h=1, **more)

    masked = {"prelabel": {"predicted_iou": 0.8}}
    records = [
        *(Image(id=f"s/{key}", source="s") for key in "abcd"),
        row("0", "a", status="proposal", score=0.9),
        row("1", "a", status="proposal", attributes=masked),  # as SAM's masks of given boxes are: without score
        row("0", "b", status="truth", score=0.1),
        row("1", "b", status="proposal", attributes={"note": "no prelabel"}),
        row("0", "c", status="proposal", score=0.5, attributes={"note": '"prelabel"'}),
        row("0", "d", status="rejected", score=0.0),
    ]
    assert doubts(from_records(Info(name="d"), records)) == {"s/a": pytest.approx(0.2), "s/c": 0.5}
