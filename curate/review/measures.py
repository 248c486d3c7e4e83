"""From a review's answers to what ``review agreement`` says: independent rounds, what others changed, times, audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from curate.review import agreement, audit, figures, overlaps
from curate.review.agreement import SWEEP, Counts
from curate.review.figures import Bound, Edge, Round, Sampled
from curate.review.folder import Review
from curate.review.log import Event
from curate.review.plan import Item, Plan
from curate.review.records import Agreement, Disagreement, Figures, Measured, More, Pace, Person
from curate.review.report import changes
from curate.review.state import State

WORST = 12  # disagreements of each kind that are named
_HASTY, _HASTY_FROM = 0.5, 20  # seconds per object, and objects from which on it is noticed


def measure(review: Review, *, every: bool = False) -> Measured:
    """All figures of a review but those against gold; ``every`` gives also those that are given on request only."""
    plan, state = review.plan, review.state
    return Measured(
        name=plan.name,
        rounds=tuple(agreements(plan, state, review.items, every=every)),
        changes=changes(plan, state),
        times=tuple(paces(plan, state)),
        audit=tuple(audit.rates(plan, state, review.items, review.about.negatives)),
    )


Answers = Mapping[str, Mapping[str, Event]]  # by item and person


def copied(plan: Plan) -> list[int]:
    """Rounds in which several people see the same items, and not one another's work."""
    return [i for i, one in enumerate(plan.rounds) if one.copies > 1 and one.shows != "previous"]


def independent(plan: Plan, state: State, round: int) -> Answers:
    """The answers of people who did not see one another's work: copies of a round, before anything came back.

    Empty for a round of one copy, and for one that starts from another round.
    """
    if round not in copied(plan):
        return {}
    answers: dict[str, dict[str, Event]] = {}
    for job in state.jobs:
        if job.round == round and job.attempt == 0 and job.status == "done" and job.answer is not None:
            answers.setdefault(job.item, {})[job.person] = job.answer
    return {item: by for item, by in sorted(answers.items()) if len(by) > 1}


def agreements(plan: Plan, state: State, items: Iterable[Item] = (), *, every: bool = False) -> list[Agreement]:
    """Agreement in every round of several independent copies; other rounds have none to give."""
    held = list(items)
    found = []
    for i, one in enumerate(plan.rounds):
        answers = independent(plan, state, i)
        if answers:
            matched = matched_round(answers, held)
            found.append(_agreement(one.name, one.shows == "nothing", matched, answers, every))
    return found


def matched_round(answers: Answers, items: Iterable[Item] = ()) -> Round:
    """What people said, matched; polygons count as outlines only for known ``items``."""
    wanted = [item for item in items if item.id in answers]
    return figures.measure(
        {item: {person: event.objects for person, event in by.items()} for item, by in answers.items()},
        sorted({person for by in answers.values() for person in by}),
        {item.id: item for item in wanted},
    )


def _agreement(name: str, blind: bool, found: Round, answers: Answers, every: bool) -> Agreement:
    edge = figures.boundaries(found)
    drawn = figures.sampled(found, edge)
    at = figures.groups_of(found)
    tables = _Tables(found, edge, drawn)
    expected = found.alpha.expected
    alpha = drawn.bound(at.alpha, -1 / expected, 1.0) if expected else Bound(np.nan, np.nan, np.nan)
    extra: dict[str, Any] = _on_request(found, answers) if every else {}
    more = _more(found, edge) if every else {}
    return Agreement(
        round=name,
        blind=blind,
        people=found.people,
        images=len(found.images),
        units=len(found.units),
        alpha=found.alpha.value,
        alpha_low=_known(alpha.low) if found.alpha.value is not None else None,
        alpha_high=_known(alpha.high) if found.alpha.value is not None else None,
        pairs=tables.pairs(more),
        annotators=tables.annotators(),
        classes=tables.classes(),
        sizes=tables.sizes(),
        worst=tuple(_named(found, sorted(answers), one) for one in figures.disputes(found, WORST)),
        **extra,
    )


def pair_figures(found: Round) -> tuple[Figures, ...]:
    """The figures of every two people, with those that are given on request."""
    edge = figures.boundaries(found)
    return _Tables(found, edge, figures.sampled(found, edge)).pairs(_more(found, edge))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _named(found: Round, items: list[str], one: figures.Dispute) -> Disagreement:
    rows = found.objects.rows
    return Disagreement(
        item=items[one.item],
        kind=one.kind,
        distance=one.distance,
        objects={person: None if k is None else rows[k].id for person, k in one.objects.items()},
    )


class _Tables:
    """The figures of a round's groups."""

    def __init__(self, found: Round, edge: Edge, drawn: Sampled) -> None:
        self.found, self.edge, self.drawn, self.at = found, edge, drawn, figures.groups_of(found)
        trials, objects = found.trials, found.objects
        self.image = found.image[objects.item[trials.object]]
        self.size = figures.size_codes(objects)
        self.ends = found.edges.a[edge.edge], found.edges.b[edge.edge]

    def pairs(self, more: Mapping[int | None, More]) -> tuple[Figures, ...]:
        found, looked = self.found, self.found.objects.looked
        a, b = (found.objects.person[end] for end in self.ends)
        rows = []
        if len(found.pairs) > 1:
            every = np.ones(len(self.image), bool)
            rows.append(self._row("all pairs", 0, every, len(found.images), len(a), more.get(None)))
        for number, (p, q) in enumerate(found.pairs):
            name = f"{found.people[p]} and {found.people[q]}"
            images = len(np.unique(found.image[looked[:, p] & looked[:, q]]))
            outlines = int(((a == p) & (b == q)).sum())
            if images:
                which = found.trials.pair == number
                rows.append(self._row(name, self.at.pairs[number], which, images, outlines, more.get(number)))
        return tuple(rows)

    def annotators(self) -> tuple[Figures, ...]:
        """The mean of a person's figures with each other; nothing new where there are only two."""
        found = self.found
        if len(found.people) < 3:
            return ()
        a, b = (found.objects.person[end] for end in self.ends)
        rows = []
        for p, person in enumerate(found.people):
            mine = [number for number, pair in enumerate(found.pairs) if p in pair]
            empty = len(set(mine) & set(figures.empty_pairs(found)))
            which = np.isin(found.trials.pair, mine)
            images = len(np.unique(found.image[found.objects.looked[:, p]]))
            groups = [self.at.pairs[number] for number in mine]
            outlines = int(((a == p) | (b == p)).sum())
            rows.append(self._row(person, groups, which, images, outlines, empty=empty))
        return tuple(rows)

    def classes(self) -> tuple[Figures, ...]:
        objects = self.found.objects
        label = objects.label[self.found.trials.object]
        drawn = np.bincount(objects.label[self.ends[0]], minlength=len(objects.labels))
        return tuple(
            self._row(name or "no class", self.at.classes[code], label == code, None, int(drawn[code]))
            for code, name in enumerate(objects.labels)
        )

    def sizes(self) -> tuple[Figures, ...]:
        size = self.size[self.found.trials.object]
        rows = []
        for code, name in enumerate(figures.SIZES):
            if (size == code).any():
                drawn = int(((self.size[self.ends[0]] == code) | (self.size[self.ends[1]] == code)).sum())
                rows.append(self._row(name, self.at.sizes[code], size == code, None, drawn))
        return tuple(rows)

    def _row(
        self,
        of: str,
        group: int | list[int],
        which: agreement.Bools,
        images: int | None,
        outlines: int,
        more: More | None = None,
        *,
        empty: int | None = None,
    ) -> Figures:
        """``empty`` of the pairs have no object at all and agree: by default 1 where there is none in the whole row."""
        groups = [group] if isinstance(group, int) else group
        sweep = self.drawn.bound(groups)
        boundary = self.drawn.bound([self.at.boundary + one for one in groups])
        hits = self.found.trials.hit
        pairs = self.found.trials.pair
        parts = [which & (pairs == one) for one in np.unique(pairs[which])] if len(groups) > 1 else [which]
        agreed = bool(images) and not which.any()
        shares = [float(hits[part].mean()) for part in parts if part.any()]
        shares += [1.0] * (int(agreed) if empty is None else empty)
        return Figures(
            of=of,
            images=len(np.unique(self.image[which])) if images is None else images,
            objects=int(which.sum()),
            f1_sweep=1.0 if agreed else _known(sweep.value),
            f1_sweep_low=_known(sweep.low),
            f1_sweep_high=_known(sweep.high),
            f1=float(np.mean(shares)) if shares else None,
            outlines=outlines,
            boundary_f=_known(boundary.value),
            boundary_f_low=_known(boundary.low),
            boundary_f_high=_known(boundary.high),
            more=more,
        )


def _more(found: Round, edge: Edge) -> dict[int | None, More]:
    """By pair of people, and None for all."""
    objects, edges, looked = found.objects, found.edges, found.objects.looked
    (loose,) = overlaps.matched(objects, edges, [np.nextafter(0, 1)])
    exempt, exempt_at_any = (
        overlaps.exempt(objects, edges, pairs, found.ignored) for pairs in (found.matched[0], loose)
    )
    labels = figures.confusion(found)
    codes = {pair: number for number, pair in enumerate(found.pairs)}
    of_edge = np.array(
        [codes[p, q] for p, q in zip(objects.person[edges.a].tolist(), objects.person[edges.b].tolist(), strict=True)],
        np.int64,
    )
    given: dict[int | None, More] = {}

    def drawn(p: int, q: int, free: agreement.Bools) -> overlaps.Ints:
        """Objects of one person that count with another, by item."""
        which = (objects.person == p) & ~free[:, q]
        return np.bincount(objects.item[which], minlength=len(looked))[looked[:, p] & looked[:, q]]

    for number in [None, *range(len(found.pairs))] if len(found.pairs) > 1 else range(len(found.pairs)):
        mine = [number] if number is not None else list(range(len(found.pairs)))
        sums, at_any, macro, empty = Counts(), Counts(), [], 0
        sweep = np.zeros(len(SWEEP))
        for one in mine:
            p, q = found.pairs[one]
            both = looked[:, p] & looked[:, q]
            a, b = drawn(p, q, exempt), drawn(q, p, exempt)
            which = of_edge == one
            first = found.matched[0] & which
            size = int(a.sum()), int(b.sum())
            sums += Counts(int(first.sum()), *size, float(edges.iou[first].sum()))
            size = int(drawn(p, q, exempt_at_any).sum()), int(drawn(q, p, exempt_at_any).sum())
            at_any += Counts(int((loose & which).sum()), *size, float(edges.iou[loose & which].sum()))
            sweep += [float((pairs & which).sum()) for pairs in found.matched]
            tp = np.bincount(objects.item[edges.a[first]], minlength=len(looked))[both]
            macro.append(np.divide(2 * tp, a + b, out=np.ones(len(a)), where=a + b > 0))
            empty += int((a + b == 0).sum())
        below = sums.a + sums.b
        observed, kappa = labels.cohen(number)
        people = sorted({person for one in mine for person in found.pairs[one]})
        band = edge.iou[np.isin(of_edge[edge.edge], mine)]
        given[number] = More(
            sweep={f"{t:.2f}": float(2 * tp / below) if below else 1.0 for t, tp in zip(SWEEP, sweep, strict=True)},
            precision=sums.precision,
            recall=sums.recall,
            macro_f1=float(np.concatenate(macro).mean()) if sum(map(len, macro)) else None,
            quality=sums.quality,
            matched_iou=sums.matched_iou,
            object_iou=at_any.object_iou,
            boundary_iou=float(band.mean()) if len(band) else None,
            alpha=overlaps.alpha_of(objects, found.units[:, people]).value,
            label_agreement=observed,
            kappa=kappa,
            agreed_empty=empty,
        )
    return given


def _on_request(found: Round, answers: Answers) -> dict[str, Any]:
    names = sorted(answers)
    when = {
        person: sorted(
            (answers[name][person].revision or "", i) for i, name in enumerate(names) if person in answers[name]
        )
        for person in found.people
    }
    order = {person: [i for _, i in times] for person, times in when.items()}
    staple = figures.stapled(found)
    drift = figures.drifted(found, order)
    people = [
        Person(
            person=person,
            sensitivity=staple[person][0] if person in staple else None,
            specificity=staple[person][1] if person in staple else None,
            drift=drift[person],
        )
        for person in found.people
    ]
    labels = overlaps.alpha_of(found.objects, found.units, labels=True).value
    return {"alpha_labels": labels, "fleiss": figures.fleiss(found), "more": tuple(people)}


def paces(plan: Plan, state: State) -> list[Pace]:
    """Of every round and person with times."""
    taken: dict[tuple[int, str], list[tuple[float, int]]] = {}
    for job in state.jobs:
        if job.status == "done" and job.answer is not None and job.answer.seconds is not None:
            shown = max(len(job.answer.objects), len(job.answer.did))
            taken.setdefault((job.round, job.person), []).append((job.answer.seconds, shown))
    found = []
    for (round, person), given in sorted(taken.items()):
        pace = agreement.times([seconds / max(1, objects) for seconds, objects in given])
        assert pace is not None
        objects = sum(count for _, count in given)
        hasty = objects >= _HASTY_FROM and sum(seconds for seconds, count in given if count) < _HASTY * objects
        found.append(
            Pace(
                round=plan.rounds[round].name,
                person=person,
                tasks=len(given),
                objects=objects,
                median=pace.median,
                mad=pace.mad,
                mean=pace.mean,
                hasty=hasty,
            )
        )
    return found
