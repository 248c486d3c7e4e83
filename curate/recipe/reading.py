"""A recipe as it is read and checked: everything that can be found wrong before the first step runs is found here.

Every error names file, line and what stands there, and the nearest word that is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import msgspec

from curate.errors import CurateError, UsageError
from curate.recipe.records import Recipe, Step
from curate.recipe.steps import Bound, Check, Commands, nearest
from curate.recipe.yaml_lines import Lines, Place, read_lines

SUFFIX = ".yaml"


class Plan(NamedTuple):
    """A recipe that was checked."""

    name: str
    text: str  # YAML
    recipe: Recipe
    steps: list[Bound]


def names() -> list[str]:
    """The recipes of the package."""
    folder = resources.files("curate").joinpath("recipes")
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))


def read(recipe: str, commands: Commands) -> Plan:
    """The recipe of that name, or in that file.

    Raises:
        UsageError: there is none, or it has faults; all that are found are told.
    """
    own = names()
    if recipe in own:
        file = resources.files("curate").joinpath("recipes", f"{recipe}{SUFFIX}")
        return checked(file.read_text("utf-8"), f"{recipe}{SUFFIX}", Path(str(file)).parent, commands)
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        expected = f"expected a file, or one of {', '.join(own)}"
        raise UsageError(f"recipe {recipe!r}", "unknown", expected, nearest(recipe, own))
    return read_file(path, str(path), commands)


def read_file(path: Path, where: str, commands: Commands) -> Plan:
    """The recipe in that file, whatever it is called; errors call it ``where``.

    Raises:
        UsageError: it cannot be read, or has faults.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(where, "no such file", f"expected a recipe, or one of {', '.join(names())}") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UsageError(where, "is no text", "expected a recipe in YAML") from None
    except OSError as error:
        raise UsageError(where, f"cannot be read ({error.strerror})", "expected a recipe") from None
    return checked(text, str(path), path.absolute().parent, commands)


def checked(text: str, where: str, folder: Path, commands: Commands) -> Plan:
    """The recipe that ``text`` holds; ``folder`` is where its options' files are looked for.

    Raises:
        UsageError: it has faults.
    """
    lines = read_lines(text, where)
    recipe = _decoded(lines, where)
    faults: list[CurateError] = []
    bound: list[Bound] = []
    seen: dict[str, str] = {}  # outputs, and the lines that name them
    for number, step in enumerate(recipe.steps):
        check = Check(recipe, step, lines, ("steps", number), where, folder, commands, seen)
        try:
            one = check.bound()
        except UsageError as error:
            faults.append(error)
            seen.setdefault(step.name, check.at(()))  # what comes after it need not be told twice
            continue
        bound.append(one)
        seen.update({name: check.at(("name",)) for name in (one.name, *(name for _, name in one.outputs))})
    used = {one.root for one in bound} | {root for one in bound for _, root in one.image_roots}
    faults += [
        UsageError(f"{where}:{lines.line(('roots', name))}", f"no step reads the root {name!r}", hint="remove it")
        for name in recipe.roots
        if name not in used and not faults
    ]
    refuse(faults)
    return Plan(Path(where).stem, text, recipe, bound)


def refuse(faults: Sequence[CurateError]) -> None:
    """Raise the first of ``faults``, if there is one, with the others beside it."""
    if faults:
        first = faults[0]
        raise UsageError(first.where, first.found, first.expected, first.hint, also=faults[1:])


_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_PLACE = re.compile(r" - at `(?:key` in `)?\$([^`]*)`$")
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _decoded(lines: Lines, where: str) -> Recipe:
    try:
        return msgspec.convert(lines.value, Recipe, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
    found = _PLACE.search(text)
    message = text[: found.start()] if found else text
    place: Place = tuple(int(i) if i.isdecimal() else key or i for key, i in _PART.findall(found[1] if found else ""))
    unknown = _UNKNOWN.search(message)
    if unknown:
        kind = Step if place[:1] == ("steps",) else Recipe
        known = [str(name) for name in kind.__struct_fields__]
        line = lines.line((*place, unknown[1]))
        expected = f"expected some of {', '.join(known)}"
        raise UsageError(f"{where}:{line}", f"{unknown[1]!r} is unknown here", expected, nearest(unknown[1], known))
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    raise UsageError(
        f"{where}:{lines.line(place)}", f"{at}: {message}" if at else message, hint="see schemas/recipe.json"
    )
