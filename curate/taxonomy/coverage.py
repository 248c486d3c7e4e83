"""Coverage after relabelling: of which classes an image is known to show all there is, said no stronger than it is.

For a scope of a source (``kitti/training``) a class is

* *exhaustive* if the rules of the source cover the class (a label that is exactly it, or the row ``*``), none of them
  is uncertain or has a condition, and the scope labels each of their labels exhaustively;
* *none* or *withheld* if it says that of each of their labels;
* *partial* otherwise; and not stated if the taxonomy has no rule for it there.

Labels of the table that a dataset does not declare (of another version of the annotations) do not count, nor do those
of role ignore: an image with such a region is no negative. Rows of a single image that say less than exhaustive hold
for each class that their label may be; those that say exhaustive are kept for labels that are a class alone. What is
said of all classes (``*``) holds for the new ones too, but for ``exhaustive``: a label set knows its own classes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset, table_of
from curate.model import Coverage, CoverageState
from curate.taxonomy.labels import native_label
from curate.taxonomy.tables import TOGETHER, Rule, Taxonomy

_ALL = "*"
_EXHAUSTIVE = "exhaustive"


class _Told(NamedTuple):
    """A row of the table coverage."""

    state: CoverageState
    origin: str
    round: int | None


class _Labels(NamedTuple):
    """The rules of one source for labels that the dataset declares, by class and by label; and all its classes."""

    by_class: dict[str, list[Rule]]
    by_label: dict[str, list[Rule]]
    classes: frozenset[str]


_NO_LABELS = _Labels({}, {}, frozenset())


def relabelled_coverage(dataset: Dataset, taxonomy: Taxonomy, sources: set[str], stays: set[Any] | None) -> pa.Table:
    """The table coverage in the classes of ``taxonomy``.

    Args:
        sources: those whose labels the annotations have.
        stays: the categories that annotations still have; None keeps what is said of any label.
    """
    table = dataset.table("coverage")
    if taxonomy.is_native or not table.num_rows:
        return table
    declared = dict.fromkeys(pc.unique(plain(table["category"])).to_pylist(), "")
    declared |= {row["name"]: row["role"] for row in dataset.table("categories").to_pylist()}
    rules = {source: _rules(taxonomy, source, declared) for source in sources | _sources_of(dataset)}
    image = positions(table["scope"], dataset.table("images")["id"])
    points = flags(pc.is_in(plain(table["category"]), value_set=pc.unique(plain(table["scope"]))))
    of_all = flags(pc.equal(plain(table["category"]), _ALL))
    left = flags(pc.not_equal(plain(table["state"]), _EXHAUSTIVE))

    rows: dict[tuple[str, str], _Told] = {}
    for scope, told in _by_scope(table, np.flatnonzero(image < 0)):
        rows |= {(scope, name): said for name, said in _scope(scope, told, rules, taxonomy, stays).items()}
    settled = (image >= 0) & (points | (of_all & left))
    places = np.flatnonzero((image >= 0) & ~settled)
    of_source = whole(dataset.table("images")["source"]).take(pa.array(image[places])).to_pylist()
    for (scope, label, said), source in zip(_rows(table, places), of_source, strict=True):
        for name, state in _image_states(label, said, rules, source, taxonomy, stays):
            rows[scope, name] = _lesser(rows.get((scope, name)), said._replace(state=state))
    new = table_of(
        "coverage",
        [
            Coverage(scope=scope, category=name, state=said.state, origin=said.origin, round=said.round)
            for (scope, name), said in rows.items()
        ],
    )
    return pa.concat_tables([table.filter(pa.array(settled)), new]).unify_dictionaries()


def _sources_of(dataset: Dataset) -> set[str]:
    scopes = pc.unique(plain(dataset.table("coverage")["scope"])).to_pylist()
    return {scope.partition("/")[0] for scope in scopes}


def _rules(taxonomy: Taxonomy, source: str, declared: Mapping[str, str]) -> _Labels:
    by_class: dict[str, list[Rule]] = {}
    by_label: dict[str, list[Rule]] = {}
    for rule in taxonomy.rules:
        names = {rule.label, f"{source}:{rule.label}"}
        if rule.source != source or not (names & declared.keys() or rule.label in ("", TOGETHER)):
            continue
        by_class.setdefault(rule.name, []).append(rule)
        by_label.setdefault(rule.label, []).append(rule)
    for name, rules in by_class.items():
        # A region to be passed over becomes one of the class, and its image no negative: it leaves nothing out.
        telling = [rule for rule in rules if declared.get(rule.label) != "ignore"]
        by_class[name] = telling if any(rule.label != TOGETHER for rule in telling) else rules
    return _Labels(by_class, by_label, frozenset(rule.name for rule in taxonomy.rules if rule.source == source))


def _rows(table: pa.Table, places: Any) -> Iterable[tuple[str, str, _Told]]:
    part = table.take(pa.array(places))
    columns = [plain(part[name]).to_pylist() for name in ("scope", "category", "state", "origin", "round")]
    return ((scope, label, _Told(*told)) for scope, label, *told in zip(*columns, strict=True))


def _by_scope(table: pa.Table, places: Any) -> list[tuple[str, dict[str, _Told]]]:
    found: dict[str, dict[str, _Told]] = {}
    for scope, label, told in _rows(table, places):
        found.setdefault(scope, {})[label] = told
    return sorted(found.items())


def _scope(
    scope: str,
    told: dict[str, _Told],
    rules: dict[str, _Labels],
    taxonomy: Taxonomy,
    stays: set[Any] | None,
) -> dict[str, _Told]:
    """What a split, or another set of images, says of the classes, of labels that stay, and of all."""
    said: dict[str, _Told] = {}
    source = scope.partition("/")[0]
    own = rules.get(source, _NO_LABELS)
    told = {native_label(source, label): row for label, row in told.items()}
    of_all = told.get(_ALL)
    for label, row in told.items():
        name = _left(label, source, own, taxonomy)
        if label == _ALL:
            said[label] = row._replace(state="partial") if row.state == _EXHAUSTIVE else row
        elif name and (stays is None or name in stays):
            said[name] = row
    for name, of_class in own.by_class.items():
        labels = [rule for rule in of_class if rule.label != TOGETHER]
        first = next((told[rule.label] for rule in labels if rule.label in told), None)
        if first is not None:
            states = [told.get(rule.label) or of_all for rule in labels]
            said[name] = first._replace(state=_state(of_class, [row.state if row else "none" for row in states]))
    return said


def _left(label: str, source: str, own: _Labels, taxonomy: Taxonomy) -> str | None:
    """What a label is called that rows may still have; None if a certain rule takes all of them."""
    if any(rule.certain and not rule.condition for rule in own.by_label.get(label, [])):
        return None
    # The name of a class, of which the source has no rule, is another word of the same spelling.
    return f"{source}:{label}" if label in taxonomy.classes and label not in own.classes else label


def _state(rules: list[Rule], states: list[CoverageState]) -> CoverageState:
    """The state of a class by its rules, and by the states of their labels in the same order without ``*``."""
    if len(set(states)) == 1 and states[0] in ("none", "withheld"):
        return states[0]
    whole_class = any(rule.relation == "exact" for rule in rules)
    sure = all(rule.certain and not rule.condition for rule in rules)
    return "exhaustive" if whole_class and sure and set(states) == {_EXHAUSTIVE} else "partial"


def _image_states(
    label: str,
    said: _Told,
    rules: dict[str, _Labels],
    source: str,
    taxonomy: Taxonomy,
    stays: set[Any] | None,
) -> Iterable[tuple[str, CoverageState]]:
    """What a row of one image says of classes, or of its label if that stays."""
    if label == _ALL:
        yield label, "partial"  # it was exhaustive
        return
    label = native_label(source, label)
    owners = [source, *sorted(set(rules) - {source})]
    owner = next((name for name in owners if name in rules and label in rules[name].by_label), source)
    own = rules.get(owner, _NO_LABELS)
    for rule in own.by_label.get(label, []):
        alone = own.by_class[rule.name] == [rule] and rule.relation == "exact" and not rule.condition
        if alone:
            yield rule.name, said.state
        elif said.state != _EXHAUSTIVE:
            yield rule.name, "partial"
    name = _left(label, owner, own, taxonomy)
    if name and (stays is None or name in stays):
        yield name, said.state


def _lesser(a: _Told | None, b: _Told) -> _Told:
    """Of two statements the one that says less; of different ones that say less than exhaustive, ``partial``."""
    if a is None or a.state == b.state:
        return b if a is None else a
    if _EXHAUSTIVE in (a.state, b.state):
        return b if a.state == _EXHAUSTIVE else a
    return a._replace(state="partial")
