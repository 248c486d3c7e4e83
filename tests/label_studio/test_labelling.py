"""The labels of the page: each class has one, as XML can say it and the server leaves it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from curate.label_studio.labelling import config


def labels(xml: str) -> list[str]:
    return [str(one.get("value")) for one in ElementTree.fromstring(xml).iter("Label")]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("a<b>&\"c'", "a<b>&\"c'"),
        ("a\x01b", "a\ufffdb"),
        ("a\uffff", "a\ufffd"),
        (" padded ", "padded"),
        ("", "(no name)"),
        ("$image", "\N{FULLWIDTH DOLLAR SIGN}image"),
        ("5 $", "5 $"),
    ],
)
def test_a_name_that_the_page_cannot_say(name: str, label: str) -> None:
    made = config([(name, None)], ["box"])
    assert made.labels == {label: name}
    assert labels(made.xml) == [label]


def test_every_class_has_a_label_of_its_own() -> None:
    """With groups ``a`` and ``a/b`` two classes would be called ``a/b/c``."""
    names = [("b/c", "a"), ("c", "a/b"), *((f"n{i}", "z") for i in range(12))]
    made = config(names, ["box", "mask"])
    assert sorted(made.labels.values()) == sorted(name for name, _ in names)
    assert [label for label in made.labels if "b/c" in label] == ["a/b/c", "a/b/c (2)"]
    assert labels(made.xml) == [*made.labels, *made.labels]
    odd = config([("a\x01", None), ("a\x02", None), ("a\ufffd", None)], ["box"])
    assert list(odd.labels) == ["a\ufffd", "a\ufffd (2)", "a\ufffd (3)"]
