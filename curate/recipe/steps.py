"""The steps of a recipe, checked: the command of each, its options, and what they read and write."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from curate import taxonomy
from curate.errors import UsageError
from curate.recipe.records import RECORD, Recipe, Step
from curate.recipe.yaml_lines import Lines, Place


class Option(NamedTuple):
    """An option of a command."""

    flag: bool
    multiple: bool
    path: bool  # names a file
    choices: tuple[str, ...]  # the only words that it takes; any if none


class Commands(Protocol):
    """The command line, as recipes need it."""

    def options(self, words: Sequence[str]) -> dict[str, Option]:
        """The options of a command by their names without dashes."""

    def check(self, arguments: Sequence[str]) -> None:
        """Raise a UsageError if a command's arguments cannot be understood; ``where`` of it is the option, or empty."""

    def call(self, arguments: Sequence[str]) -> tuple[int, Any]:
        """Do a command: its exit code, and what it prints with ``--json``."""


class Kind(NamedTuple):
    """A command that may be a step."""

    words: tuple[str, ...]
    least: int = 1  # inputs
    most: int = 1
    rest: str = ""  # the word that follows: what it is


KINDS = [
    Kind(("import",), 0, 0, "a source"),
    Kind(("merge",), 2, 1000),
    Kind(("relabel",)),
    Kind(("prelabel",)),
    Kind(("build", "subset")),
    Kind(("build", "split", "query-gallery")),
    Kind(("build", "split", "train-val-test")),
    Kind(("build", "support")),
    Kind(("build", "leakage")),
    Kind(("build", "hidden")),
    Kind(("export",), 1, 1, "a format"),
    Kind(("verify",)),
    Kind(("show",)),
    Kind(("release",)),
]
# Given by 'curate run' itself.
_TAKEN = {"output", "overwrite", "json", "quiet", "jobs", "debug", "dry-run", "work"}
# Options that name a further output.
_OUTPUTS = {"html", "key", "queue", "report"}


class Bound(NamedTuple):
    """A step that was checked, with all that its command line is made of."""

    name: str
    kind: Kind
    words: tuple[str, ...]  # of the command, with the source or format
    root: str | None
    below: str  # what of the root is imported
    inputs: tuple[str, ...]
    given: tuple[tuple[str, str | None], ...]  # options; None for the value of a flag
    image_roots: tuple[tuple[str, str], ...]  # source -> root, of the option 'root'
    files: tuple[tuple[str, str, Path], ...]  # option, its value, and the file that this names
    outputs: tuple[tuple[str, str], ...]  # option -> name


class Check(NamedTuple):
    """One step in its recipe."""

    recipe: Recipe
    step: Step
    lines: Lines
    place: Place
    where: str
    folder: Path
    commands: Commands
    seen: Mapping[str, str]

    def at(self, below: Place) -> str:
        return f"{self.where}:{self.lines.line((*self.place, *below))}"

    def fault(self, below: Place, found: str, expected: str = "", hint: str = "") -> UsageError:
        return UsageError(f"{self.at(below)}, step {self.step.name}", found, expected, hint)

    def bound(self) -> Bound:
        """The step, checked.

        Raises:
            UsageError: at the first fault.
        """
        step = self.step
        if step.name in self.seen:
            raise self.fault(("name",), f"the name {step.name!r} stands twice", f"first in {self.seen[step.name]}")
        if step.name == RECORD:
            raise self.fault(("name",), f"{RECORD} is what 'curate run' itself writes", "expected another name")
        kind, words = self.kind()
        root, below = self.root(kind)
        inputs = self.inputs(kind)
        options = self.commands.options(kind.words)
        given: list[tuple[str, str | None]] = []
        image_roots: list[tuple[str, str]] = []
        files: list[tuple[str, str, Path]] = []
        outputs: list[tuple[str, str]] = []
        for name, value in step.options.items():
            option = self.known(name, options)
            if name == "root":
                image_roots += self.image_roots(value)
            elif name in _OUTPUTS:
                outputs.append((name, self.output(name, value, outputs)))
            else:
                texts = list(self.texts(name, value, option))
                given += [(name, text) for text in texts]
                files += [(name, text or "", file) for text in texts if (file := self.file(name, text, option))]
        own = self.folder / Path(self.where).name
        if kind.words == ("release",) and "recipe" not in step.options and own.is_file():
            given.append(("recipe", own.name))  # a release has the recipe that it was made by
            files.append(("recipe", own.name, own))
        held = (tuple(given), tuple(image_roots), tuple(files), tuple(outputs))
        one = Bound(step.name, kind, words, root, below, inputs, *held)
        if is_report(one) and "report" in step.options:
            expected = f"expected one report, which is called as the step, {step.name}"
            raise self.fault(("options", "report"), "names a second report", expected, "remove it")
        self.understood(one)
        return one

    def kind(self) -> tuple[Kind, tuple[str, ...]]:
        words = tuple(self.step.command.split())
        for kind in KINDS:
            rest = words[len(kind.words) :]
            if words[: len(kind.words)] != kind.words or len(rest) > bool(kind.rest):
                continue
            if kind.rest and not rest:
                raise self.fault(("command",), f"{' '.join(words)} of what?", f"expected {kind.rest} after it")
            if rest:
                self.described(kind, rest[0])
            return kind, words
        known = [" ".join(kind.words) for kind in KINDS]
        expected = f"expected one of {', '.join(known)}"
        raise self.fault(("command",), f"{self.step.command!r} is no step", expected, nearest(self.step.command, known))

    def described(self, kind: Kind, word: str) -> None:
        """Whether there is such a source or format."""
        from curate import export, importing

        known = importing.names() if kind.words == ("import",) else export.names()
        if word not in known:
            raise self.fault(("command",), f"{word!r} is not {kind.rest}", one_of(known), nearest(word, known))

    def root(self, kind: Kind) -> tuple[str | None, str]:
        if kind.words != ("import",):
            if self.step.root is not None:
                raise self.fault(("root",), f"{' '.join(kind.words)} has no root", hint="name its inputs")
            return None, ""
        if self.step.root is None:
            raise self.fault((), "has no root", f"expected one of {', '.join(self.recipe.roots)}")
        name, _, below = self.step.root.partition("/")
        if ".." in below.split("/"):
            raise self.fault(("root",), f"{below!r} leaves the root", "expected something in it")
        return self.known_root(name, ("root",)), below

    def known_root(self, name: str, place: Place) -> str:
        if name not in self.recipe.roots:
            known = list(self.recipe.roots)
            raise self.fault(place, f"the root {name!r} is unknown", one_of(known), nearest(name, known))
        return name

    def inputs(self, kind: Kind) -> tuple[str, ...]:
        inputs = self.step.inputs
        named = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        for i, path in enumerate(named):
            name, _, below = path.partition("/")
            place: Place = ("inputs",) if isinstance(inputs, str) else ("inputs", i)
            if ".." in below.split("/"):
                raise self.fault(place, f"{below!r} leaves what {name} wrote", "expected something in it")
            if name not in self.seen:
                later = any(name == one.name for one in self.recipe.steps)
                found = f"the input {name!r} " + ("is not made before this step" if later else "is unknown")
                raise self.fault(place, found, one_of(self.seen), "" if later else nearest(name, self.seen))
        if not kind.least <= len(named) <= kind.most:
            expected = f"expected {kind.least}" + (" or more" if kind.most > kind.least else "")
            raise self.fault(("inputs",), f"{' '.join(kind.words)} with {len(named)} inputs", expected)
        return named

    def known(self, name: str, options: Mapping[str, Option]) -> Option:
        if name in _TAKEN:
            raise self.fault(("options", name), f"{name!r} is given by 'curate run' itself", hint="remove it")
        if name not in options:
            known = sorted(set(options) - _TAKEN)
            said = f"{' '.join(self.step.command.split())} has no option {name!r}"
            raise self.fault(("options", name), said, one_of(known), nearest(name, known))
        return options[name]

    def texts(self, name: str, value: Any, option: Option) -> Iterator[str | None]:
        if option.flag:
            if str(value).lower() not in ("true", "false"):
                raise self.fault(("options", name), f"{name} is {value!r}", "expected true or false")
            if str(value).lower() == "true":
                yield None
            return
        if isinstance(value, list | dict) and not option.multiple:
            raise self.fault(("options", name), f"{name} is given several times", "expected one value")
        values = [f"{key}={one}" for key, one in value.items()] if isinstance(value, dict) else value
        for text in map(str, values if isinstance(values, list) else [values]):
            if option.choices and text not in option.choices:
                known = one_of(option.choices)
                raise self.fault(("options", name), f"{name} is {text!r}", known, nearest(text, option.choices))
            if name == "taxonomy" and not text.endswith(".tsv") and text not in taxonomy.names():
                known = one_of(taxonomy.names())
                raise self.fault(("options", name), f"{text!r} is no taxonomy", known, nearest(text, taxonomy.names()))
            yield text

    def image_roots(self, value: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(value, dict):
            raise self.fault(("options", "root"), f"root is {value!r}", "expected a mapping, source: root")
        for source, root in value.items():
            yield source, self.known_root(root, ("options", "root", source))

    def output(self, name: str, value: Any, others: Sequence[tuple[str, str]]) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", value):
            raise self.fault(("options", name), f"{name} is {value!r}", "expected the name of a file to write, no path")
        if value in self.seen or value in (self.step.name, RECORD) or value in [other for _, other in others]:
            raise self.fault(("options", name), f"the name {value!r} stands twice", "expected one of its own")
        return value

    def file(self, name: str, text: str | None, option: Option) -> Path | None:
        if text is None or not (option.path or (name == "taxonomy" and text.endswith(".tsv"))):
            return None
        path = self.folder / text
        if not path.exists():
            expected = "expected a file, named from the recipe's folder"
            raise self.fault(("options", name), f"{name}: {path} is not there", expected)
        return path

    def understood(self, one: Bound) -> None:
        """Whether the command understands all this."""
        if one.kind.words == ("import",):
            self.of_source(one)
        if one.kind.words == ("export",):
            self.of_format(one)
        try:
            self.commands.check(arguments(one, {name: name for name in self.recipe.roots}))
        except UsageError as error:
            name = error.where.lstrip("-").partition(" ")[0]
            place = ("options", name) if name in self.step.options else ()
            raise self.fault(
                place, " ".join(filter(None, [error.where, error.found])), error.expected, error.hint
            ) from None

    def of_source(self, one: Bound) -> None:
        """Whether the source has the splits and options that are named."""
        from curate import importing

        source = one.words[-1]
        own, splits = importing.offered_options(source), importing.facts(source).splits
        for name, text in one.given:
            key = (text or "").partition("=")[0]
            if name == "option" and key not in own:
                said = f"{source} has no option {key!r} of its own"
                raise self.fault(("options", "option", key), said, one_of(own), nearest(key, own))
            if name == "split" and key not in splits:
                said = f"{source} has no split {key!r}"
                raise self.fault(("options", "split"), said, one_of(splits), nearest(key, splits))

    def of_format(self, one: Bound) -> None:
        """Whether the format has the options that are named."""
        from curate import export

        known = inspect.signature(export.load(one.words[-1]).write).parameters
        for name in self.step.options:
            if {"root": "roots"}.get(name, name.replace("-", "_")) not in known:
                raise self.fault(("options", name), f"{name!r} is no option of {one.words[-1]}", hint="remove it")


def one_of(known: Iterable[str]) -> str:
    found = list(known)
    return f"expected one of {', '.join(found)}" if found else "expected none"


def typed(step: Bound) -> list[str]:
    """The command line of a step as the recipe has it: roots by their names, files as they are named there."""
    names = [step.root, *(name for _, name in step.image_roots)]
    return arguments(step._replace(files=()), {name: name for name in names if name is not None})


def arguments(step: Bound, roots: Mapping[str, str]) -> list[str]:
    """The command line of a step, to be given where its outputs go; ``roots`` has the folder of each root."""
    words = list(step.words)
    if step.root is not None:
        words.append(str(Path(roots[step.root], step.below)))
    words += step.inputs
    files = {(name, text): path for name, text, path in step.files}
    for name, text in step.given:
        value = str(files.get((name, text or ""), text))
        words.append(f"--{name}" if text is None else f"--{name}={value}")
    words += [f"--root={source}={roots[name]}" for source, name in step.image_roots]
    words += [f"--{name}={output}" for name, output in step.outputs]
    return [*words, f"--report={step.name}" if is_report(step) else f"--output={step.name}"]


def is_report(step: Bound) -> bool:
    """Whether what the step writes is the report of a check."""
    return step.kind.words == ("verify",) and ("repair", None) not in step.given


def nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), 1, 0.6)
    return f"did you mean {near[0]!r}?" if near else ""
