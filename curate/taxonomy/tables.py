"""The tables of a taxonomy: its classes, and the rules from a source's labels to them.

``NAME.tsv``, one rule per row:

* ``class``, ``supercategory``: what the label becomes.
* ``source``, ``source_label``: the source and its label, as the category is called after import. An empty label makes a
  rule for whole images, which then has a condition. ``*`` (always ``exact``) says that the rules of this class and
  source together cover it: whatever is of the class, the source labels as one of them.
* ``relation`` of the label to the class: ``exact``, ``narrower`` (all it names is of the class), ``broader`` (it names
  all of the class and more), ``possible`` (some of what it names may be). Exact and narrower are certain.
* ``condition``: empty, or ``attributes.a.b=value`` of the annotation or ``image.column=value``, ``image.attributes...``
  of its image; several with ``and``. A list meets it that holds the value.
* ``note``: why.

A label may be certain for one class only under one condition; what it may be besides has rules of its own. A label that
is called like a class must certainly mean it.

``NAME_classes.tsv`` beside it, one class per row: ``class``, ``supercategory``, ``role`` (benchmark, other or ignore),
``level`` (box, or image for a class that is also a label of the whole image), ``definition``. It may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from curate.errors import SchemaError, UsageError, did_you_mean
from curate.model import Category, CategoryRole, Image

Relation = Literal["exact", "narrower", "broader", "possible"]
CERTAIN = ("exact", "narrower")
TOGETHER = "*"  # in place of a label
NATIVE = "native"

_RULES = ("class", "supercategory", "source", "source_label", "relation", "condition", "note")
_CLASSES = ("class", "supercategory", "role", "level", "definition")
_TERM = re.compile(r"(image\.[a-z_]+|(?:image\.)?attributes(?:\.[A-Za-z0-9_]+)+)=(.+)")


class Term(NamedTuple):
    """One comparison of a condition."""

    of_image: bool
    path: tuple[str, ...]  # a column, or attributes and the keys below
    value: Any


class Rule(NamedTuple):
    """What a source's label, or a property of its images, says of a class."""

    name: str  # of the class
    source: str
    label: str  # "" for a rule of whole images
    relation: Relation
    condition: tuple[Term, ...]
    text: str  # the condition as written
    note: str

    @property
    def certain(self) -> bool:
        return self.relation in CERTAIN


class Taxonomy(NamedTuple):
    """Classes by name, and rules in the order of their table. ``native`` has neither and keeps every label."""

    name: str
    classes: dict[str, Category]
    rules: tuple[Rule, ...]

    @property
    def is_native(self) -> bool:
        return self.name == NATIVE and not self.rules

    def of_labels(self) -> dict[tuple[str, str], list[Rule]]:
        """The rules by source and label: conditions first, since they are the more special ones."""
        found: dict[tuple[str, str], list[Rule]] = {}
        for rule in sorted(self.rules, key=lambda rule: not rule.condition):
            if rule.label not in ("", TOGETHER):
                found.setdefault((rule.source, rule.label), []).append(rule)
        return found


def names() -> list[str]:
    """The taxonomies of the package."""
    folder = resources.files("curate").joinpath("taxonomies")
    return sorted(
        entry.name.removesuffix(".tsv")
        for entry in folder.iterdir()
        if entry.name.endswith(".tsv") and not entry.name.endswith("_classes.tsv")
    )


def load(name: str | Path) -> Taxonomy:
    """A taxonomy of the package by its name, or one from a file ``*.tsv``.

    Raises:
        UsageError: there is none of that name.
        SchemaError: a table is malformed, or contradicts itself; all faults are named.
    """
    file: Traversable
    if str(name) in names():
        title = str(name)
        file = resources.files("curate").joinpath("taxonomies", f"{name}.tsv")
        beside = resources.files("curate").joinpath("taxonomies", f"{name}_classes.tsv")
    else:
        path = Path(name)
        if path.suffix != ".tsv" or not path.is_file():
            expected = f"expected one of {', '.join(names())}, or a file NAME.tsv"
            hint = did_you_mean(str(name), names())
            raise UsageError(f"taxonomy {str(name)!r}", "is neither known nor a table", expected, hint)
        title, file, beside = path.stem, path, path.with_name(f"{path.stem}_classes.tsv")
    faults: list[SchemaError] = []
    classes = dict(_classes(beside, faults)) if beside.is_file() else {}
    rules = tuple(_rules(file, classes, faults, declared=bool(classes)))
    faults += _contradictions(str(file), rules)
    if faults:
        first, *others = faults
        raise SchemaError(first.where, first.found, first.expected, first.hint, also=others)
    return Taxonomy(title, classes, rules)


def _rows(
    file: Traversable, columns: tuple[str, ...], faults: list[SchemaError]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table, each with its place."""
    try:
        lines = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise SchemaError(file, f"byte {error.start} is not UTF-8 text", "expected a table") from error
    header = tuple(lines[0].split("\t")) if lines[0] else ()
    if header != columns:
        raise SchemaError(file, f"columns are {', '.join(header) or 'none'}", f"expected {', '.join(columns)}, by tabs")
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) == len(columns):
            yield f"{file}:{number}", {column: field.strip() for column, field in zip(columns, fields, strict=True)}
        elif line.strip():
            found = f"{len(fields)} columns"
            faults.append(SchemaError(f"{file}:{number}", found, f"expected {len(columns)}, separated by tabs"))


def _classes(file: Traversable, faults: list[SchemaError]) -> Iterator[tuple[str, Category]]:
    seen: set[str] = set()
    for where, row in _rows(file, _CLASSES, faults):
        name, role = row["class"], row["role"]
        if not name or name in seen:
            faults.append(SchemaError(where, f"class {name!r} stands twice or has no name", "expected each class once"))
        if role not in get_args(CategoryRole):
            faults.append(
                SchemaError(where, f"role is {role!r}", f"expected one of {', '.join(get_args(CategoryRole))}")
            )
            continue
        seen.add(name)
        yield (
            name,
            Category(
                name=name,
                supercategory=row["supercategory"] or None,
                role=role,  # type: ignore[arg-type]
                definition=row["definition"] or None,
            ),
        )


def _rules(
    file: Traversable, classes: dict[str, Category], faults: list[SchemaError], *, declared: bool
) -> Iterator[Rule]:
    """The rules; classes are added to ``classes`` as they are named, unless a table has declared them all."""
    for where, row in _rows(file, _RULES, faults):
        name, group, label, relation = row["class"], row["supercategory"] or None, row["source_label"], row["relation"]
        if not declared:
            classes.setdefault(name, Category(name=name, supercategory=group))
        known = classes.get(name)
        condition = _condition(row["condition"])
        if not name or known is None:
            found, expected = f"class {name!r} is not declared", "expected one of the table of classes"
        elif known.supercategory != group:
            found, expected = f"{name} has supercategory {group!r}", f"expected {known.supercategory!r} as elsewhere"
        elif not row["source"]:
            found, expected = "source is empty", "expected the name of a source"
        elif relation not in get_args(Relation):
            found, expected = f"relation is {relation!r}", f"expected one of {', '.join(get_args(Relation))}"
        elif label == TOGETHER and (relation != "exact" or condition != ()):
            found, expected = "the label * has a condition or another relation", "expected exact, without condition"
        elif condition is None:
            found = f"condition is {row['condition']!r}"
            expected = "expected attributes.a.b=value, or image.COLUMN=value of a column that images have"
        elif not label and (not condition or not all(term.of_image for term in condition)):
            found, expected = "source_label is empty", "expected a label, or a condition on the image alone"
        else:
            yield Rule(name, row["source"], label, relation, condition, row["condition"], row["note"])  # type: ignore[arg-type]
            continue
        faults.append(SchemaError(where, found, expected))


def _condition(text: str) -> tuple[Term, ...] | None:
    """The terms of a condition; None if it is malformed."""
    terms = []
    for part in text.split(" and ") if text else []:
        match = _TERM.fullmatch(part.strip())
        if match is None:
            return None
        path = tuple(match[1].removeprefix("image.").split("."))
        if path[0] not in Image.__struct_fields__:
            return None
        terms.append(Term(match[1].startswith("image."), path, _value(match[2])))
    return tuple(terms)


def _value(text: str) -> Any:
    """A number, true, false or null as JSON; anything else is a text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _contradictions(file: str, rules: Sequence[Rule]) -> list[SchemaError]:
    """Rules that stand twice, make one label certain for two classes, or give a class's name another meaning."""
    faults = []
    classes = {rule.name for rule in rules}
    seen: set[tuple[str, ...]] = set()
    certain: dict[tuple[str, ...], str] = {}
    for rule in rules:
        where = f"{file}, {rule.source}, {rule.label or rule.text}"
        key = (rule.name, rule.source, rule.label, rule.text)
        if key in seen:
            faults.append(SchemaError(where, f"stands twice for {rule.name}", "expected one row"))
        seen.add(key)
        if rule.label in classes and (rule.label != rule.name or not rule.certain):
            found = f"is called like a class, but is {rule.relation} {rule.name}"
            faults.append(SchemaError(where, found, "expected one name for one thing", "rename the class"))
        if rule.certain and rule.label not in ("", TOGETHER):
            other = certain.setdefault((rule.source, rule.label, rule.text), rule.name)
            if other != rule.name:
                found = f"is certainly {other} and certainly {rule.name}"
                faults.append(SchemaError(where, found, "expected one class", "make the less likely one possible"))
    return faults
