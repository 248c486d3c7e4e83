"""Labelling configs: well-formed whatever the classes are called, and usable with ninety of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ReviewError
from curate.review.config import config, same_config
from curate.review.plan import Round

BOTH = Round(name="a", kind="annotate", tools=("box", "mask"))


def test_a_small_config() -> None:
    made = config([("car", None), ("traffic sign", "sign")], BOTH)
    tree = ElementTree.fromstring(made.xml)
    assert made.labels == {"car": "car", "traffic sign": "traffic sign"}
    for tag, name in (("RectangleLabels", "box"), ("BrushLabels", "mask")):
        (control,) = tree.iter(tag)
        assert (control.get("name"), control.get("toName")) == (name, "image")
        assert [label.get("value") for label in control] == ["car", "traffic sign"]
    assert not list(tree.iter("PolygonLabels"))
    assert not list(tree.iter("Choices"))
    assert not list(tree.iter("Filter"))


def test_a_verdict_is_required_where_one_is_asked_for() -> None:
    (choices,) = ElementTree.fromstring(config([("car", None)], Round(name="b", kind="inspect")).xml).iter("Choices")
    assert choices.get("required") == "true"
    assert [choice.get("value") for choice in choices] == ["accept", "fix", "reject"]


def test_ninety_classes_in_nine_groups_get_a_filter_and_their_groups() -> None:
    made = config(
        [(f"class {i:02}", f"group {i % 9}") for i in range(90)], Round(name="a", kind="annotate", tools=("box",))
    )
    tree = ElementTree.fromstring(made.xml)
    (find,) = tree.iter("Filter")
    assert find.get("toName") == "box"
    assert len(made.labels) == 90
    assert made.labels["group 1/class 10"] == "class 10"
    shown = [label.get("value") for label in tree.iter("Label")]
    assert [text.partition("/")[0] for text in shown if text] == sorted(f"group {i % 9}" for i in range(90))
    assert any("overflow: auto" in (view.get("style") or "") for view in tree.iter("View"))


def test_each_tool_has_a_key_of_its_own_for_its_filter() -> None:
    round = Round(name="a", kind="annotate")
    tree = ElementTree.fromstring(config([(f"class {i:02}", None) for i in range(13)], round).xml)
    keys = {find.get("toName"): find.get("hotkey") for find in tree.iter("Filter")}
    assert keys == {"box": "shift+f", "polygon": "shift+g", "mask": "shift+h"}


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=20, unique=True)
)
def test_any_name_is_written_so_that_it_is_read_again(names: list[str]) -> None:
    made = config([(name, None) for name in names], BOTH)
    tree = ElementTree.fromstring(made.xml)
    (control,) = tree.iter("RectangleLabels")
    assert [label.get("value") for label in control] == list(made.labels)
    assert list(made.labels.values()) == names
    usual = [name for name in names if name.isprintable() and name == name.strip() and not name.startswith("$")]
    assert [label for label, name in made.labels.items() if name in usual] == usual
    assert list(made.labels.values()) == names


def test_configs_are_compared_without_their_spaces() -> None:
    made = config([("car", None)], BOTH).xml
    assert same_config(made, made.replace("\n", "  \n "))
    assert not same_config(made, made.replace("car", "bus"))
    assert not same_config(made, "<View>")


def test_no_classes() -> None:
    with pytest.raises(ReviewError, match="no classes"):
        config([], BOTH)
