"""The plan: its presets, what it refuses and says of it, and which items a round takes."""

from __future__ import annotations

import numpy as np
import pytest

from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.model import Annotation, Category, Image, Info, Judgement, Query
from curate.review import plan

PEOPLE = ("p1", "p2", "p3")


def dataset(images: int = 3, **changes: int | None) -> Dataset:
    size: dict[str, int | None] = {"width": 64, "height": 48} | changes
    records = [Image(id=f"toy/{i}", source="toy", **size) for i in range(images)]  # type: ignore[arg-type]
    queries = [Query(id=f"toy/q{i}", kind="image", group="g1" if i < 2 else None) for i in range(3)]
    judged = [("toy/q0", "toy/0", "easy"), ("toy/q1", "toy/0", "hard"), ("toy/q1", "toy/1", "junk")]
    judged += [("toy/q2", "toy/1", "positive")]
    rows = [Judgement(query_id=q, image_id=i, label=label) for q, i, label in judged]  # type: ignore[arg-type]
    boxes = [
        Annotation(id=f"toy/0#{n}", image_id="toy/0", category="car", x=1, y=1, w=2, h=2, status="proposal", score=s)
        for n, s in enumerate((0.9, 0.25))
    ]
    names = [Category(name="car"), Category(name="bus")]
    return from_records(Info(name="toy"), [*records, *queries, *rows, *boxes, *names])


@pytest.mark.parametrize("name", plan.PRESETS)
def test_a_preset_survives_yaml(name: str) -> None:
    made = plan.preset(name, PEOPLE)
    assert plan.read_plan(plan.write_plan(made), "plan.yaml") == made


def test_the_process_of_the_paper() -> None:
    made = plan.preset("pixel-retrieval", PEOPLE)
    assert [(one.kind, one.judges, one.shows) for one in made.rounds] == [
        ("annotate", False, "nothing"),
        ("refine", True, "previous"),
        ("refine", True, "previous"),
    ]
    with pytest.raises(UsageError, match="2 people; expected at least 3"):
        plan.preset("pixel-retrieval", PEOPLE[:2])
    with pytest.raises(UsageError, match="unknown"):
        plan.preset("best", PEOPLE)


GOOD = "name: x\nannotators: [p1, p2]\nrounds:\n- {name: a, kind: annotate}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "plan.yaml:1: no YAML"),
        ("- 1", "Expected `object`"),
        (GOOD + "nonsense: 1\n", "unknown field `nonsense`"),
        (GOOD.replace("annotate", "look"), "Invalid enum value 'look'"),
        (GOOD.replace("[p1, p2]", "[]"), "length >= 1"),
        (GOOD.replace("p1", "rita@example.org"), "pseudonym"),
        (GOOD + "- {name: a, kind: refine}\n", "two rounds of one name"),
        (GOOD.replace("annotate}", "annotate, copies: 3}"), "3 copies for 2 people"),
        (GOOD.replace("annotate}", "annotate, shows: previous}"), "is the first"),
        (GOOD.replace("annotate}", "annotate, annotators: [p9]}"), "unknown or named twice"),
        (GOOD.replace("annotate}", "annotate, tools: []}"), "no tools"),
        (GOOD.replace("annotate}", "annotate, share: 0}"), "> 0"),
        (GOOD.replace("annotate}", "annotate, sample: 5}"), "only then"),
        (GOOD.replace("annotate}", "audit}"), "expected some for an audit"),
        (GOOD.replace("annotate}", "audit, sample: 5}"), "of unit class"),
        (
            "unit: class\n" + GOOD.replace("annotate}", "audit, sample: 5}") + "- {name: b, kind: refine}\n",
            "only round",
        ),
        ("unit: class\n" + GOOD.replace("annotate}", "audit, sample: 5, share: 0.5}"), "say how many are drawn"),
        (GOOD.replace("annotate}", "annotate, copies: 2}") + "- {name: b, kind: refine, shows: previous}\n", "several"),
    ],
)
def test_a_bad_plan_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        plan.read_plan(text, "plan.yaml")
    assert says in error.value.line
    assert error.value.line.startswith("plan.yaml")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (GOOD + "nonsense: 1\n", "plan.yaml:5: "),
        (GOOD.replace("annotate", "look"), "plan.yaml:4: "),
        (GOOD.replace("p2", "3"), "plan.yaml:2: "),
        (GOOD + "- name: b\n  kind: refine\n  shows: none\n", "plan.yaml:7: "),
        (GOOD + "- name: b\n  kind: refine\n  hue: 3\n", "plan.yaml:7: "),
        (GOOD + "-\n  name: b\n  kind: refine\n  copies: 3\n", "plan.yaml:6, round b: 3 copies"),
        ("", "plan.yaml: "),
        ("- 1", "plan.yaml:1: "),
        ("name: x\n? [1]\n: 2\n", "plan.yaml"),
    ],
)
def test_a_fault_of_a_plan_names_its_line(text: str, at: str) -> None:
    with pytest.raises(UsageError) as error:
        plan.read_plan(text, "plan.yaml")
    assert error.value.line.startswith(at)


def test_items_by_image_class_and_group() -> None:
    by_image = plan.items_of(dataset(), plan.preset("quick", PEOPLE))
    assert [(one.id, one.doubt) for one in by_image] == [("toy/0", 0.75), ("toy/1", 0.0), ("toy/2", 0.0)]
    by_class = plan.items_of(dataset(1), plan.preset("audit", PEOPLE))
    assert [(one.id, one.target) for one in by_class] == [("toy/0@bus", "bus"), ("toy/0@car", "car")]
    by_group = plan.items_of(dataset(), plan.preset("pixel-retrieval", PEOPLE))
    assert [(one.id, one.queries) for one in by_group] == [
        ("toy/0@g1", ("toy/q0", "toy/q1")),  # every query of the group is shown; junk is not labelled
        ("toy/1@toy/q2", ("toy/q2",)),
    ]


def test_only_given_images() -> None:
    whole = dataset()
    some = plan.with_images(plan.preset("quick", PEOPLE), ["toy/2", "toy/0"])
    assert [one.id for one in plan.items_of(whole, some)] == ["toy/0", "toy/2"]
    assert plan.read_plan(plan.write_plan(some), "plan.yaml") == some
    pairs = plan.with_images(plan.preset("pixel-retrieval", PEOPLE), ["toy/1"])
    assert [one.id for one in plan.items_of(whole, pairs)] == ["toy/1@toy/q2"]
    with pytest.raises(UsageError, match="1 of 2 not in the dataset, as toy/9; expected ids such as toy/0"):
        plan.items_of(whole, plan.with_images(plan.preset("quick", PEOPLE), ["toy/0", "toy/9"]))
    with pytest.raises(UsageError, match="the plan names its images"):
        plan.with_images(some, ["toy/1"])
    with pytest.raises(UsageError, match="expected a random sample"):
        plan.with_images(plan.preset("audit", PEOPLE), ["toy/1"])


@pytest.mark.parametrize(
    ("text", "images"),
    [
        (b"toy/0\r\n\n toy/1, 2 \ntoy/0", ["toy/0", "toy/1, 2"]),
        (b'\xef\xbb\xbfannotation,image\nx,toy/0\n"y\nz","toy/1, 2"\nw,toy/0\n', ["toy/0", "toy/1, 2"]),
        (b"image\n", None),
        (b"\n \n", None),
        (b"\xff\xfe\x00", None),
        (b'image\n"toy/0', None),
    ],
)
def test_a_list_of_images(text: bytes, images: list[str] | None) -> None:
    if images:
        assert plan.read_images(text, "f") == images
        return
    with pytest.raises(UsageError, match=r"^f: (names no image|is no list of images)"):
        plan.read_images(text, "f")


def test_a_plan_that_is_no_text() -> None:
    with pytest.raises(UsageError, match=r"plan\.yaml: is no text"):
        plan.read_plan(b"\xff\xfe\x00", "plan.yaml")


def test_items_know_their_sequence() -> None:
    images = [Image(id=f"toy/{i}", source="toy", width=9, height=9, sequence="a" if i else None) for i in range(2)]
    made = plan.items_of(from_records(Info(name="toy"), images), plan.preset("quick", PEOPLE))
    assert [one.sequence for one in made] == [None, "toy/a"]


def test_items_that_cannot_be_shown() -> None:
    with pytest.raises(UsageError, match="no known size"):
        plan.items_of(dataset(width=None), plan.preset("quick", PEOPLE))
    with pytest.raises(UsageError, match="truck not in the dataset"):
        plan.items_of(dataset(), plan.preset("quick", PEOPLE, classes=["truck"]))
    bare = from_records(Info(name="toy"), [Image(id="toy/0", source="toy", width=1, height=1)])
    with pytest.raises(UsageError, match="no query has judgements"):
        plan.items_of(bare, plan.preset("pixel-retrieval", PEOPLE))


def test_a_share_is_drawn_at_random_and_stays() -> None:
    items = [plan.Item(id=f"i{n:04}", image_id="", width=1, height=1, doubt=n / 1000) for n in range(1000)]
    made = plan.preset("quick", PEOPLE)
    taken = plan.chosen(made, 0, items)
    assert len(taken) == 100
    assert taken == plan.chosen(made, 0, items[::-1])
    assert taken != plan.chosen(plan.preset("quick", PEOPLE, seed=1), 0, items)
    larger = [{"name": "inspect", "kind": "inspect", "share": 0.2}]  # more is asked for: what was done stays
    assert taken < plan.chosen(plan.preset("quick", PEOPLE, rounds=larger), 0, items)
    numbers = np.array(sorted(int(name[1:]) for name in taken))
    assert 400 < numbers.mean() < 600
    doubtful = {"name": "a", "kind": "inspect", "share": 0.01, "doubtful": True}
    made = plan.preset("quick", PEOPLE, rounds=[doubtful])
    assert sorted(plan.chosen(made, 0, items)) == [f"i{n:04}" for n in range(990, 1000)]
