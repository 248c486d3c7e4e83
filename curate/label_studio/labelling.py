"""The page that a person sees, from categories and tools: Label Studio's labelling config.

Every control is named after what it draws (``box``, ``polygon``, ``mask``), beside ``verdict`` and ``note``. Many
classes stay usable: grouped names in one scrolling block, with a filter box.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Container, Sequence
from functools import lru_cache
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from curate.errors import ReviewError
from curate.label_studio.regions import Tool

MANY = 12  # classes from which on a filter box is worth its place
VERDICTS = ("accept", "fix", "reject")
_TAGS: dict[Tool, str] = {"box": "RectangleLabels", "polygon": "PolygonLabels", "mask": "BrushLabels"}
_FIND: dict[Tool, str] = {"box": "shift+f", "polygon": "shift+g", "mask": "shift+h"}
_UNSAYABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_MORE = {"box": ' canRotate="true"'}


class Config(NamedTuple):
    """A config, and which category each of its labels stands for."""

    xml: str
    labels: dict[str, str]


def config(
    categories: Sequence[tuple[str, str | None]], tools: Sequence[Tool], *, judges: bool = False, queries: bool = False
) -> Config:
    """The config for ``categories`` (name, group) to be drawn with ``tools``.

    Args:
        judges: ask for a verdict, too.
        queries: show the task's ``queries`` above the image.

    Raises:
        ReviewError: there are no classes.
    """
    if not categories:
        raise ReviewError("labelling config", "no classes", "expected at least one category", "name them in the plan")
    return _config(tuple(categories), tuple(tools), judges, queries)


@lru_cache(maxsize=16)  # every task of a round asks for it
def _config(
    categories: tuple[tuple[str, str | None], ...], tools: tuple[Tool, ...], judges: bool, queries: bool
) -> Config:
    grouped = len(categories) > MANY and all(group for _, group in categories)
    ordered = sorted(categories, key=lambda pair: (pair[1] or "", pair[0])) if grouped else list(categories)
    labels: dict[str, str] = {}
    for name, group in ordered:
        labels[_label(f"{group}/{name}" if grouped else name, labels)] = name
    lines = ["<View>", '  <Header value="$title"/>']
    if queries:
        lines.append('  <View style="max-height: 240px; overflow: auto;">')  # else the image is pushed off the page
        lines += [
            '    <Header value="Find and outline this:"/>',
            '    <Image name="queries" value="$queries"/>',
            "  </View>",
        ]
    # Above the image, not beside it: there, the page fits the image before it knows its width, and cuts the edges off.
    lines.append("  <View>")
    lines.append('    <View style="max-height: 25vh; overflow: auto;">')
    for tool in tools:
        if len(labels) > MANY:
            find = f'name="find-{tool}" toName="{tool}" hotkey="{_FIND[tool]}"'
            lines.append(f'      <Filter {find} minlength="0"/>')
        lines.append(f'      <{_TAGS[tool]} name="{tool}" toName="image"{_MORE.get(tool, "")}>')
        for i, label in enumerate(labels):
            lines.append(f'        <Label value={quoteattr(label)} background="{_colour(i, len(labels))}"/>')
        lines.append(f"      </{_TAGS[tool]}>")
    lines += ["    </View>", "    <View>"]
    lines.append('      <Image name="image" value="$image" zoom="true" zoomControl="true"/>')
    if judges:
        lines.append('      <Choices name="verdict" toName="image" choice="single" showInline="true" required="true">')
        lines += [f'        <Choice value="{verdict}"/>' for verdict in VERDICTS]
        lines.append("      </Choices>")
    lines.append('      <TextArea name="note" toName="image" maxSubmissions="1" editable="true"/>')
    lines += ["    </View>", "  </View>", "</View>"]
    return Config("\n".join(lines), labels)


def _label(name: str, taken: Container[str]) -> str:
    """How a class is called on the page: as XML can say it, and the server leaves it, and no other is called.

    The server trims names, and takes one that begins with ``$`` for a field of the task.
    """
    said = _UNSAYABLE.sub("\ufffd", name).strip() or "(no name)"
    said = f"\N{FULLWIDTH DOLLAR SIGN}{said[1:]}" if said.startswith("$") else said
    found, number = said, 1
    while found in taken:
        number += 1
        found = f"{said} ({number})"
    return found


def _colour(i: int, n: int) -> str:
    red, green, blue = colorsys.hsv_to_rgb(i / n, 0.75, 0.55 + 0.35 * (i % 2))
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"
