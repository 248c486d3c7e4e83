"""The page of agreement: the figures of a review's independent rounds, and what people do not agree on as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.dataset import Dataset, table_of
from curate.errors import printable
from curate.geometry import Box
from curate.model import Annotation
from curate.review.audit import Rate
from curate.review.figures import Kind
from curate.review.folder import Review
from curate.review.log import Event
from curate.review.measures import Answers, independent
from curate.review.records import Agreement, Disagreement, Figures, Gold, Measured
from curate.review.report import Change
from curate.show.drawing import Colour, Mark, colour_of, mark_of
from curate.show.page import css, render, tile_values
from curate.show.tiles import Look, window_tile

LOOK = Look(longest=400, enlarge_to=400, text=(6.4, 15.0))
_LEAST = 0.05  # mean distance from which on a position is shown as a disagreement
# Far apart in hue and lightness, for most kinds of colour blindness too (after Okabe and Ito).
_COLOURS: tuple[Colour, ...] = ((255, 176, 0), (86, 180, 255), (240, 110, 190), (60, 220, 150), (255, 245, 90))
_KINDS: dict[Kind, tuple[str, str]] = {
    "missing_annotation": ("Only some marked it", "Whoever is not named has looked, and marked nothing there."),
    "mismatching_label": ("Marked as different classes", "All see something here, and do not call it the same."),
    "low_overlap": ("Drawn differently", "The same thing and the same class, and outlines or boxes that differ."),
}


def draw_page(review: Review, found: Measured, dataset: Dataset, *, roots: Mapping[str, str] | None = None) -> str:
    """The page as HTML; ``roots`` are the folders of the images, where they are not those of ``dataset``."""
    rounds = []
    people, state = review.plan.annotators, review.state
    colours = {person: _colour(i, person) for i, person in enumerate(people)}
    named = {one.name: i for i, one in enumerate(review.plan.rounds)}
    for one in found.rounds:
        answers = independent(review.plan, state, named[one.round])
        rounds.append(_round(one, answers, review, dataset, colours, roots or {}))
    return render(
        "agreement.html",
        {
            "title": f"Agreement: {printable(found.name)}",
            "dataset": printable(dataset.info.name),
            "verdict": verdict(found),
            "rounds": rounds,
            "changes": [_change(one) for one in found.changes if one.objects],
            "gold": [_gold(one) for one in found.gold],
            "audit": [_rate(one) for one in found.audit],
            "times": [
                {
                    "round": printable(one.round),
                    "person": printable(one.person),
                    "tasks": f"{one.tasks:,}",
                    "objects": f"{one.objects:,}",
                    "median": f"{one.median:.1f} s",
                    "mad": f"{one.mad:.1f} s",
                    "hasty": one.hasty,
                }
                for one in found.times
            ],
        },
        package="curate.pages",
    )


def verdict(found: Measured) -> str:
    """The whole page in one sentence."""
    if found.rounds:
        one = found.rounds[0]
        first = one.pairs[0]
        figure = "undefined" if first.f1_sweep is None else f"{first.f1_sweep:.2f}"
        names = f"{', '.join(one.people[:-1])} and {one.people[-1]}"
        how = "Working blindly" if one.blind else "After the same pre-labels"
        return f"{how}, {names} agree with an F1@50:95 of {figure}"
    if found.audit:
        looked = sum(one.looked for one in found.audit)
        missed = sum(one.missed for one in found.audit)
        return f"{missed:,} of {looked:,} presumed negatives show what they should not"
    return "No round with independent copies: there is no agreement to measure"


def _colour(place: int, person: str) -> Colour:
    return _COLOURS[place] if place < len(_COLOURS) else colour_of(person)


def _round(
    one: Agreement,
    answers: Answers,
    review: Review,
    dataset: Dataset,
    colours: Mapping[str, Colour],
    roots: Mapping[str, str],
) -> dict[str, Any]:
    first = one.pairs[0]
    cards = [
        _card("alpha", one.alpha, one.alpha_low, one.alpha_high, "1 is perfect, 0 is chance; distance 1 − IoU"),
        _card("F1@50:95", first.f1_sweep, first.f1_sweep_low, first.f1_sweep_high, "at IoU 0.50, 0.55 … 0.95"),
    ]
    if first.outlines:
        explained = f"of {first.outlines:,} pairs of outlines; blind to what one missed"
        boundary = first.boundary_f, first.boundary_f_low, first.boundary_f_high
        cards.append(_card("boundary F", *boundary, explained))
    tables = [
        {"title": title, "head": head, "rows": [_figures(row) for row in rows], "outlines": bool(first.outlines)}
        for title, head, rows in (
            ("By people", "people", one.pairs),
            ("By annotator, with the others", "annotator", one.annotators),
            ("By class", "class", one.classes),
            ("By size", "size", one.sizes),
        )
        if rows
    ]
    return {
        "name": printable(one.round),
        "blind": one.blind,
        "people": [{"name": printable(person), "colour": css(colours[person])} for person in one.people],
        "images": f"{one.images:,}",
        "units": f"{one.units:,}",
        "cards": cards,
        "tables": tables,
        "kinds": _kinds(one, answers, review, dataset, colours, roots),
    }


def _card(name: str, value: float | None, low: float | None, high: float | None, text: str) -> dict[str, str]:
    bounds = "" if value is None or low is None or high is None else f"{low:.2f} to {high:.2f}"
    return {"name": name, "value": "undefined" if value is None else f"{value:.2f}", "bounds": bounds, "text": text}


def _bar(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, str]:
    if value is None:
        return {"text": "–", "ends": "", "value": "0", "low": "0", "width": "0"}
    ends = "" if low is None or high is None else f"{max(0.0, low):.2f}–{min(1.0, high):.2f}"
    low, high = (value, value) if low is None or high is None else (max(0.0, low), min(1.0, high))
    return {
        "text": f"{value:.3f}",
        "ends": ends,
        "value": f"{100 * max(0.0, value):.1f}",
        "low": f"{100 * low:.1f}",
        "width": f"{100 * (high - low):.1f}",
    }


def _figures(row: Figures) -> dict[str, Any]:
    return {
        "of": printable(row.of),
        "images": f"{row.images:,}",
        "objects": f"{row.objects:,}",
        "sweep": _bar(row.f1_sweep, row.f1_sweep_low, row.f1_sweep_high),
        "boundary": _bar(row.boundary_f, row.boundary_f_low, row.boundary_f_high) if row.outlines else None,
    }


def _gold(one: Gold) -> dict[str, Any]:
    return {
        "person": printable(one.person),
        "round": printable(one.round),
        "images": f"{one.images:,}",
        "objects": f"{one.objects:,}",
        "precision": _bar(one.precision),
        "recall": _bar(one.recall),
        "sweep": _bar(one.f1_sweep, one.f1_sweep_low, one.f1_sweep_high),
        "drift": one.drift,
    }


def _change(one: Change) -> dict[str, Any]:
    return {
        "round": printable(one.round),
        "objects": f"{one.objects:,}",
        "changed": f"{one.changed:,} ({100 * one.changed / one.objects:.1f} %)",
        "added": f"{one.added:,}",
        "deleted": f"{one.deleted:,}",
        "lot": printable(one.line) if one.decision else "",
        "decision": one.decision,
        "suspicious": one.suspicious,
    }


def _rate(one: Rate) -> dict[str, str]:
    share = "nobody looked yet"
    if one.rate is not None:
        share = f"{100 * one.rate:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f} %)"
    return {
        "category": printable(one.category),
        "negatives": f"{one.negatives:,}",
        "looked": f"{one.looked:,}",
        "missed": f"{one.missed:,}",
        "rate": share,
        "ranked": f"{one.found:,} of {one.ranked:,}" if one.ranked else "–",
    }


def _kinds(
    found: Agreement,
    answers: Answers,
    review: Review,
    dataset: Dataset,
    colours: Mapping[str, Colour],
    roots: Mapping[str, str],
) -> list[dict[str, Any]]:
    images = {item.id: item.image_id for item in review.items}
    worst = [one for one in found.worst if one.kind != "low_overlap" or one.distance >= _LEAST]
    kinds = []
    for kind, (title, text) in _KINDS.items():
        mine = [one for one in worst if one.kind == kind]
        tiles = [_tile(one, answers[one.item], images[one.item], dataset, colours, roots) for one in mine]
        if tiles:
            kinds.append({"title": title, "text": text, "tiles": tiles})
    return kinds


def _tile(
    one: Disagreement,
    answers: Mapping[str, Event],
    image: str,
    dataset: Dataset,
    colours: Mapping[str, Colour],
    roots: Mapping[str, str],
) -> dict[str, Any]:
    rows = {
        person: next(row for row in answers[person].objects if row.id == wanted)
        for person, wanted in one.objects.items()
        if wanted is not None
    }
    marks = [_mark(row, person, colours[person]) for person, row in rows.items()]
    tile = window_tile(dataset, image, marks, _around(list(rows.values())), LOOK, roots)
    without = [printable(person) for person, wanted in one.objects.items() if wanted is None]
    said = [
        {"person": printable(person), "colour": css(colours[person]), "label": printable(row.category or "no class")}
        for person, row in rows.items()
    ]
    if one.kind == "missing_annotation":
        caption = f"not by {' and '.join(without)}"
    else:
        caption = f"apart by {one.distance:.2f}"
    alt = f"{image}: " + ", ".join(f"{entry['label']} by {entry['person']}" for entry in said) + f"; {caption}"
    return tile_values(tile) | {"said": said, "caption": caption, "alt": printable(alt)}


def _mark(row: Annotation, person: str, colour: Colour) -> Mark:
    (values,) = table_of("annotations", [row]).to_pylist()
    mark = mark_of(values)
    # A box around an outline would hide where the outlines differ.
    box = None if mark.rle is not None or mark.polygons else mark.box
    return mark._replace(category=person, colour=colour, box=box, score=None, status="truth")


def _around(rows: Sequence[Annotation]) -> Box:
    boxes = [(row.x or 0.0, row.y or 0.0, row.w or 0.0, row.h or 0.0) for row in rows]
    left, top = min(x for x, _, _, _ in boxes), min(y for _, y, _, _ in boxes)
    right, bottom = max(x + w for x, _, w, _ in boxes), max(y + h for _, y, _, h in boxes)
    return left, top, right - left, bottom - top
