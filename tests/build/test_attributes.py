"""Conditions NAME=VALUE on columns and on JSON attributes."""

from __future__ import annotations

from typing import Any

import pytest

from curate.build.attributes import holds, read_attributes
from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.model import Annotation, Image, Info


def data() -> Dataset:
    def image(key: str, **more: Any) -> Image:
        return Image(id=f"s/{key}", source="s", **more)

    return from_records(
        Info(name="d"),
        [
            image("a", weather="fog", attributes={"acdc": {"condition": "fog", "lanes": 3}, "a.b": True}),
            image("b", weather="rain", attributes={"acdc": {"condition": None}}),
            image("c"),
            Annotation(id="s/a#1", image_id="s/a", attributes={"occluded": True}),
            Annotation(id="s/a#2", image_id="s/a", origin="human:ann"),
        ],
    )


def of(*texts: str) -> list[bool]:
    (wanted,) = read_attributes(texts)
    kept: list[bool] = holds(data().table(wanted.table), wanted).tolist()
    return kept


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["weather=fog"], [True, False, False]),
        (["weather=fog", "image.weather = rain"], [True, True, False]),
        (["acdc.condition=fog"], [True, False, False]),
        (["acdc.condition=null"], [False, True, False]),
        (["acdc.lanes=3"], [True, False, False]),
        (["a.b=true"], [True, False, False]),
        (["weather=snow"], [False, False, False]),
        (["annotation.occluded=true"], [True, False]),
        (["annotation.origin=human:ann"], [False, True]),
    ],
)
def test_values(texts: list[str], kept: list[bool]) -> None:
    assert of(*texts) == kept


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        of("acdc.conditoin=fog")
    assert "a.b, acdc.condition, acdc.lanes, " in caught.value.expected
    assert "weather" in caught.value.expected
    assert caught.value.hint == "did you mean acdc.condition?"


@pytest.mark.parametrize("text", ["weather", "=fog", ""])
def test_no_condition(text: str) -> None:
    with pytest.raises(UsageError, match="is no condition"):
        read_attributes([text])
