"""Which images and objects a sheet shows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import from_records
from curate.errors import UsageError
from curate.model import Annotation, Category, Image, Info
from curate.show.picking import annotations_shown, pick_images, pick_objects, shares, spread


def dataset(rows: list[tuple[str, str, str]], images: int = 10):
    """Ten images ``s/0`` to ``s/9``; ``rows`` are (image, class, status)."""
    records = [Image(id=f"s/{i}", source="s") for i in range(images)]
    records += [Category(name=name) for name in ("cat", "dog", "emu")]
    records += [
        Annotation(id=f"{image}#{i}", image_id=image, category=name, status=status, x=0, y=0, w=5, h=5)
        for i, (image, name, status) in enumerate(rows)
    ]
    return from_records(Info(name="d"), records)


@pytest.mark.parametrize(
    ("total", "wanted", "positions"),
    [
        (0, 5, []),
        (1, 5, [0]),
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 1, [0]),
        (5, 2, [0, 4]),
        (5, 3, [0, 2, 4]),
        (11, 6, [0, 2, 4, 6, 8, 10]),
    ],
)
def test_spread(total: int, wanted: int, positions: list[int]) -> None:
    assert spread(total, wanted).tolist() == positions


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_spread_gaps_differ_by_one_at_most(total: int, wanted: int) -> None:
    chosen = spread(total, wanted).tolist()
    assert len(chosen) == min(total, wanted)
    gaps = [b - a for a, b in pairwise(chosen)]
    assert all(gap >= 1 for gap in gaps) and (not gaps or max(gaps) - min(gaps) <= 1)


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 200))
def test_shares_are_fair(available: list[int], wanted: int) -> None:
    taken = shares(available, wanted)
    assert sum(taken) == min(wanted, sum(available))
    assert all(0 <= t <= n for t, n in zip(taken, available, strict=True))
    # A heap that could have given more gave no less than any other, but for one row.
    for t, n in zip(taken, available, strict=True):
        assert t == n or t >= max(taken) - 1


def test_images_with_annotations_come_first_and_ids_stay_sorted() -> None:
    data = dataset([("s/7", "cat", "truth"), ("s/2", "cat", "truth"), ("s/5", "dog", "proposal")])
    shown = annotations_shown(data)
    assert pick_images(data, shown, limit=2) == ["s/2", "s/7"]
    filled = pick_images(data, shown, limit=4)
    assert {"s/2", "s/7"} < set(filled) and filled == sorted(filled) and len(filled) == 4
    assert pick_images(data, shown, limit=4, only_annotated=True) == ["s/2", "s/7"]
    assert pick_images(data, annotations_shown(data, (), ("proposal",)), limit=1) == ["s/5"]


def test_named_images_are_shown_as_they_are() -> None:
    data = dataset([])
    assert pick_images(data, annotations_shown(data), images=["s/9", "s/1", "s/9"], limit=24) == ["s/1", "s/9"]
    with pytest.raises(UsageError, match=r"'s/10'.*did you mean 's/1'"):
        pick_images(data, annotations_shown(data), images=["s/10"], limit=24)


def test_unknown_class_is_refused_with_what_may_be_meant() -> None:
    data = dataset([("s/1", "cat", "truth")])
    assert annotations_shown(data, ["emu"]).num_rows == 0  # declared, though without annotation
    with pytest.raises(UsageError, match=r"'cats': unknown.*did you mean 'cat'"):
        annotations_shown(data, ["cats"])


def test_objects_of_rare_classes_are_all_shown() -> None:
    data = dataset([(f"s/{i % 10}", "cat", "truth") for i in range(30)] + [("s/3", "dog", "truth")])
    chosen = pick_objects(annotations_shown(data), limit=5)
    names = dict(
        zip(data.table("annotations")["id"].to_pylist(), data.table("annotations")["category"].to_pylist(), strict=True)
    )
    assert [names[row] for row in chosen] == ["cat"] * 4 + ["dog"]
    assert set(pick_objects(annotations_shown(data), images=["s/3"], limit=9)) == {
        "s/3#3",
        "s/3#13",
        "s/3#23",
        "s/3#30",
    }


def test_labels_of_the_whole_image_are_no_objects() -> None:
    records = [
        Image(id="s/0", source="s"),
        Category(name="fog"),
        Annotation(id="s/0#a", image_id="s/0", category="fog"),
    ]
    assert pick_objects(annotations_shown(from_records(Info(name="d"), records)), limit=5) == []
