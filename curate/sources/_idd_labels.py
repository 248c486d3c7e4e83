"""IDD's classes: the table of labels, and which of them each of the two downloads labels as objects."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from curate.sources import label_table
from curate.sources._polygon_files import without_group

# The classes of IDD Detection; traffic signs and lights are no objects in IDD Segmentation.
DETECTED = (
    *("person", "rider", "car", "truck", "bus", "motorcycle", "bicycle", "autorickshaw", "animal", "traffic light"),
    *("traffic sign", "vehicle fallback", "caravan", "trailer", "train"),
)


class Label(NamedTuple):
    """One row of the label table."""

    name: str
    id: int | None  # None for a label that the table lacks
    level3: int | None  # id of the training class, which several labels share
    group: str | None  # name of the class on level 2
    thing: bool
    ignore_in_eval: bool


@cache
def labels() -> dict[str, Label]:
    """The label table by name, in its own order."""
    return {
        row["name"]: Label(
            row["name"],
            int(row["id"]),
            int(row["level3Id"]),
            row["level2Name"],
            row["hasInstances"] == "1",
            row["ignoreInEval"] == "1",
        )
        for row in label_table("idd")
    }


def read_label(text: str) -> tuple[Label, bool]:
    """The class that a label names, and whether it marks a group; an unknown label is a class of its own."""
    name, group = without_group(text, labels())
    return labels().get(name) or Label(text, None, None, None, True, False), group
