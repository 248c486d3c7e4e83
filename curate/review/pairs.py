"""What a review of query groups claims. People outlined one thing that queries ask for, and not all of its class.

So coverage of the class is ``partial`` where it is not exhaustive already. That an image shows what is asked for stands
in its judgements: they are the people's, and name the outline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain, positions
from curate.coverage import coverage_of
from curate.dataset import Dataset, conform, table_of
from curate.model import Annotation, Coverage, Judgement, Step
from curate.relevance import targets

_SHOWN = ("positive", "easy", "hard")  # what a judgement may say of an image that shows it


class Pair(NamedTuple):
    """An image and a query group that people have accepted."""

    image: str
    queries: Sequence[str]
    people: Sequence[str]
    round: int
    rows: Sequence[Annotation]  # outlines that are truth now; none where nothing was found, or not agreed on


def judgements(dataset: Dataset, pairs: Iterable[Pair]) -> tuple[pa.Table, tuple[Step, ...]]:
    """The judgements with those of outlined pairs as the people's; and what is claimed, for the lineage.

    A pair without an outline keeps its judgements: that people found nothing may be their miss.
    """
    held = list(pairs)
    by_pair = {(query, one.image): one for one in held if one.rows for query in one.queries}
    table = dataset.table("judgements")
    there = pc.is_in(plain(table["image_id"]), value_set=pa.array(sorted({one.image for one in held}), pa.string()))
    there = pc.and_(there, pc.is_in(plain(table["label"]), value_set=pa.array(_SHOWN)))
    made, told = [], 0
    for row in table.filter(there).to_pylist():
        one = by_pair.get((row["query_id"], row["image_id"]))
        if one is not None:
            told += 1
            row |= {"origin": _origin(one.people), "round": one.round}
            row |= {"annotation_id": one.rows[0].id} if len(one.rows) == 1 else {}
        made.append(msgspec.convert(row, Judgement))
    kept = conform("judgements", table.filter(pc.invert(there)))
    what = "pairs of query group and image: where people outlined what is asked for, its judgements are theirs; "
    what += "nothing is claimed of other things of its class"
    outlined = sum(bool(one.rows) for one in held)
    counts = {"pairs": len(held), "pairs outlined": outlined, "pairs without": len(held) - outlined, "judgements": told}
    steps = (Step(what=what, counts=counts),) if held else ()
    return pa.concat_tables([kept, conform("judgements", table_of("judgements", made))]), steps


def looked(dataset: Dataset, pairs: Iterable[Pair]) -> list[Coverage]:
    """A row per image and class that was looked at for a thing of it, unless all of the class is labelled there."""
    asked = targets(dataset)
    classes = dict(zip(asked["query_id"].to_pylist(), plain(asked["category"]).to_pylist(), strict=True))
    found: dict[tuple[str, str], tuple[set[str], int]] = {}
    for one in pairs:
        names = {classes.get(query) for query in one.queries} | {row.category for row in one.rows}
        for name in sorted(filter(None, names)):
            people, round = found.get((one.image, name), (set(), 0))
            found[one.image, name] = people | set(one.people), max(round, one.round)
    if not found:
        return []
    coverage = coverage_of(dataset)
    image = positions(pa.chunked_array([pa.array([image for image, _ in found])]), dataset.table("images")["id"])
    codes = coverage.codes(pa.chunked_array([pa.array([name for _, name in found])]))
    known = coverage.at(np.asarray(image), codes).tolist()
    return [
        Coverage(scope=image, category=name, state="partial", origin=_origin(people), round=round)
        for ((image, name), (people, round)), exhaustive in zip(found.items(), known, strict=True)
        if not exhaustive
    ]


def _origin(people: Iterable[str]) -> str:
    return f"human:{','.join(sorted(people))}"
