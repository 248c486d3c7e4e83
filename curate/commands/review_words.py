"""The figures of a review as text: agreement, what rounds changed, lots, times and the audit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from curate.commands.options import table

if TYPE_CHECKING:
    from curate.review.audit import Rate
    from curate.review.records import Agreement, Figures, Gold, Measured, More, Pace
    from curate.review.report import Change

NOTHING = "no round with independent copies: there is no agreement to measure"
UNANSWERED = "nothing is answered yet"


def agreement(found: Measured, waiting: Sequence[str] = (), *, answered: bool = True) -> str:
    """What ``review agreement`` prints; ``waiting`` are rounds of several copies, ``answered``: whether anything is."""
    parts = [_round(one) for one in found.rounds]
    if not parts and not found.audit:
        yet = f"nothing to compare yet: no item of {', '.join(waiting)} is answered by two people"
        parts.append(NOTHING if not waiting else yet if answered else UNANSWERED)
    lines = changes(found.changes)
    if lines:
        parts.append("\n".join(["no agreement, since each started from earlier work:", *lines]))
    if found.gold:
        parts.append(gold(found.gold))
    if found.audit:
        parts.append(audit(found.audit))
    if found.times:
        parts.append(times(found.times))
    return "\n\n".join(parts)


def _round(one: Agreement) -> str:
    lines = [one.line, f"{', '.join(one.people)}; {one.images:,} images, {one.units:,} things marked; intervals 95 %"]
    if not one.blind:
        lines.append("they were shown the same pre-labels, and what nobody touched counts as agreed")
    for title, rows in (
        ("people", one.pairs),
        ("annotator, with the others", one.annotators),
        ("class", one.classes),
        ("size", one.sizes),
    ):
        if rows:
            lines += ["", _figures(title, rows)]
    if any(row.more for row in one.pairs):
        lines += ["", _more(one)]
    if one.worst:
        kinds = [worst.kind for worst in one.worst]
        named = ", ".join(f"{kinds.count(kind)} {kind.replace('_', ' ')}" for kind in dict.fromkeys(kinds))
        lines += ["", f"worst disagreements: {named}; as pictures with --html"]
    return "\n".join(lines)


def _figures(title: str, rows: Sequence[Figures]) -> str:
    from curate.review.records import interval

    outlines = any(row.outlines for row in rows)
    head = [title, "images", "objects", "F1@50:95"] + (["outlines", "boundary F"] if outlines else [])
    lines = []
    for row in rows:
        cells: list[object] = [row.of, row.images, row.objects]
        cells.append(interval(row.f1_sweep, row.f1_sweep_low, row.f1_sweep_high))
        if outlines:
            boundary = interval(row.boundary_f, row.boundary_f_low, row.boundary_f_high) if row.outlines else ""
            cells += [row.outlines, boundary]
        lines.append(tuple(cells))
    return table(lines, tuple(head))


def _more(one: Agreement) -> str:
    names: dict[str, list[object]] = {}
    pairs = [(row, row.more) for row in one.pairs if row.more is not None]
    for row, more in pairs:
        values: dict[str, object] = {"F1@.5": _number(row.f1), "F1@.5, mean over items": _number(more.macro_f1)}
        values |= {f"F1@{t}": _number(f1) for t, f1 in more.sweep.items() if t in ("0.75", "0.90")}
        values |= {
            "precision@.5": _number(more.precision),
            "recall@.5": _number(more.recall),
            "panoptic quality": _number(more.quality),
            "IoU of pairs": _number(more.matched_iou),
            "IoU of objects": _number(more.object_iou),
            "boundary IoU": _number(more.boundary_iou),
            "alpha": _number(more.alpha),
            "equal classes": _number(more.label_agreement),
            "Cohen's kappa": _kappa(more),
            "agreed empty": f"{more.agreed_empty:,}",
        }
        for name, value in values.items():
            names.setdefault(name, []).append(value)
    rows = [(name, *values) for name, values in names.items()]
    text = table(rows, ("", *(row.of for row, _ in pairs)))
    extra = (
        f"alpha, other classes far off: {_number(one.alpha_labels)}; Fleiss' kappa of classes: {_number(one.fleiss)}"
    )
    people: list[tuple[object, ...]] = [
        (
            who.person,
            _number(who.sensitivity),
            _number(who.specificity),
            "never" if who.drift is None else f"from task {who.drift:,}",
        )
        for who in one.more
    ]
    return "\n".join([text, extra, "", table(people, ("annotator", "sensitivity", "specificity (STAPLE)", "drift"))])


def _kappa(more: More) -> str:
    if more.label_agreement is None:
        return "undefined (nothing matched)"
    return "undefined (one class)" if more.kappa is None else _number(more.kappa)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def changes(found: Iterable[Change]) -> list[str]:
    """A line per round that started from something; with a rule, whether its lot is accepted, and what to do."""
    lines = []
    for one in found:
        if not one.objects:
            continue
        parts = [f"{one.round}: {one.changed:,} of {one.objects:,} objects changed"]
        parts += [f"{one.added:,} added, {one.deleted:,} deleted"]
        if one.moved_by is not None:
            parts.append(f"moved ones by 1 - IoU {one.moved_by:.3f}")
        if one.suspicious:
            parts.append("none at all: were they looked at?")
        lines.append(", ".join(parts))
        if one.decision:
            lines.append(f"{one.line}: {_next(one)}")
    return lines


def _next(one: Change) -> str:
    if one.decision == "accept":
        return "finish --lot takes what nobody looked at, too"
    if one.decision == "reject":
        return "go through all of it"
    if one.needed is None:
        return "no sample will decide it at this share of defects; go through all of it"
    return f"inspect more (about {one.needed:,} objects in all): raise share in plan.yaml and push again"


def times(found: Sequence[Pace]) -> str:
    """Seconds per object."""
    rows: list[tuple[object, ...]] = [
        (
            one.round,
            one.person,
            one.tasks,
            one.objects,
            f"{one.median:.1f} s",
            f"{one.mad:.1f} s",
            "too fast to have looked" if one.hasty else "",
        )
        for one in found
    ]
    return table(rows, ("round", "person", "tasks", "objects", "median per object", "MAD", ""))


def gold(found: Sequence[Gold]) -> str:
    """Each person's work against the gold standard."""
    from curate.review.records import interval

    rows: list[tuple[object, ...]] = [
        (
            f"{one.person}, {one.round}",
            one.images,
            one.objects,
            _number(one.precision),
            _number(one.recall),
            interval(one.f1_sweep, one.f1_sweep_low, one.f1_sweep_high),
            "" if one.boundary_f is None else _number(one.boundary_f),
            "" if one.drift is None else f"worse from task {one.drift:,} on",
        )
        for one in found
    ]
    head = ("against gold", "images", "objects", "precision@.5", "recall@.5", "F1@50:95", "boundary F", "")
    return table(rows, head)


def audit(found: Sequence[Rate]) -> str:
    """Missed positives, class by class."""
    rows: list[tuple[object, ...]] = []
    for one in found:
        rate = "" if one.rate is None else f"{100 * one.rate:.1f} % ({100 * one.low:.1f}-{100 * one.high:.1f} %)"
        top = f"{one.found:,} of {one.ranked:,}" if one.ranked else ""
        rows.append((one.category, one.negatives, one.looked, one.missed, rate, top, one.undecided, one.open))
    head = (
        "class",
        "presumed negatives",
        "looked at",
        "missed",
        "rate (95 %)",
        "of highest ranked",
        "undecided",
        "open",
    )
    return table(rows, head)
