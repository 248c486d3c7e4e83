"""What ``review agreement`` says, as values: the schema of its JSON."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from curate.review.audit import Rate
from curate.review.figures import Kind
from curate.review.report import Change


class More(Struct, frozen=True, kw_only=True):
    """What is given on request, of all pairs and of two people."""

    sweep: Annotated[dict[str, float], Meta(description="F1 by IoU, class-aware")]
    precision: Annotated[float, Meta(description="at IoU 0.5, whoever comes first by name as the reference")]
    recall: float
    macro_f1: Annotated[float | None, Meta(description="at IoU 0.5, mean over items instead of pooled")]
    quality: Annotated[float, Meta(description="panoptic quality at IoU 0.5")]
    matched_iou: Annotated[float | None, Meta(description="mean IoU of pairs at 0.5; blind to misses")]
    object_iou: Annotated[float, Meta(description="sum of matched IoU / (TP + FP + FN), at any IoU above 0")]
    boundary_iou: Annotated[float | None, Meta(description="mean over outlines of pairs at IoU 0.5")]
    alpha: Annotated[float | None, Meta(description="of these people only")]
    label_agreement: Annotated[float | None, Meta(description="share of equal classes among objects matched")]
    kappa: Annotated[float | None, Meta(description="Cohen's; null where only one class occurs")]
    agreed_empty: Annotated[int, Meta(description="comparisons of items in which neither has an object")]


class Figures(Struct, frozen=True, kw_only=True):
    """Agreement of independent people on some of the objects; intervals are 95 %, over images or sequences."""

    of: Annotated[str, Meta(description="all pairs, two people, one person with the others, a class, or a size")]
    images: Annotated[int, Meta(description="seen by both people, or with such an object")]
    objects: Annotated[int, Meta(description="of both people, counted in each comparison")]
    f1_sweep: Annotated[float | None, Meta(description="F1@50:95: mean of F1 at IoU 0.50, 0.55 ... 0.95, class-aware")]
    f1_sweep_low: float | None
    f1_sweep_high: float | None
    f1: Annotated[float | None, Meta(description="at IoU 0.5, class-aware, pooled")]
    outlines: Annotated[int, Meta(description="pairs of outlines, at IoU 0.5, whose boundaries were compared")]
    boundary_f: Annotated[float | None, Meta(description="mean over these; blind to misses")]
    boundary_f_low: float | None
    boundary_f_high: float | None
    more: More | None = None


class Person(Struct, frozen=True, kw_only=True):
    """What is given of one person on request."""

    person: str
    sensitivity: Annotated[float | None, Meta(description="STAPLE, mean over objects that everybody outlined")]
    specificity: float | None
    drift: Annotated[int | None, Meta(description="task at which F1@50:95 with the others fell out of three sigma")]


class Disagreement(Struct, frozen=True, kw_only=True):
    """One thing that people do not agree on."""

    item: str
    kind: Annotated[Kind, Meta(description="the most serious")]
    distance: Annotated[float, Meta(description="mean over pairs of people: 1 - IoU; 1 where one misses, or by class")]
    objects: Annotated[dict[str, str | None], Meta(description="by person who looked: annotation, null for none")]


class Agreement(Struct, frozen=True, kw_only=True):
    """One round in which several people worked without seeing one another's work."""

    round: str
    blind: Annotated[bool, Meta(description="nothing was shown; else all started from the same pre-labels")]
    people: tuple[str, ...]
    images: int
    units: Annotated[int, Meta(description="things that at least one person marked")]
    alpha: Annotated[float | None, Meta(description="Krippendorff's, with 1 - IoU of boxes; clusters at IoU 0.3")]
    alpha_low: float | None
    alpha_high: float | None
    pairs: Annotated[tuple[Figures, ...], Meta(description="all pairs first")]
    annotators: Annotated[tuple[Figures, ...], Meta(description="mean of a person's figures with each other")]
    classes: tuple[Figures, ...]
    sizes: Annotated[tuple[Figures, ...], Meta(description="small < 32² <= medium < 96² <= large, px²")]
    worst: tuple[Disagreement, ...]
    alpha_labels: Annotated[float | None, Meta(description="on request: alpha where another class is far off")] = None
    fleiss: Annotated[float | None, Meta(description="on request: kappa of classes, where everybody has one")] = None
    more: Annotated[tuple[Person, ...], Meta(description="on request")] = ()

    @property
    def line(self) -> str:
        """The headline figures in words."""
        first = self.pairs[0]
        parts = [f"alpha {interval(self.alpha, self.alpha_low, self.alpha_high)}"]
        parts.append(f"F1@50:95 {interval(first.f1_sweep, first.f1_sweep_low, first.f1_sweep_high)}")
        if first.boundary_f is not None:
            parts.append(f"boundary F {interval(first.boundary_f, first.boundary_f_low, first.boundary_f_high)}")
        name = "agreement" if self.blind else "likeness after the same pre-labels, no independent agreement,"
        return f"{name} of round {self.round}: {', '.join(parts)}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and its interval in words."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}-{high:.3f})"


class Pace(Struct, frozen=True, kw_only=True):
    """How long one person took per object in one round; idle time is in it, so that no plain mean is given."""

    round: str
    person: str
    tasks: int
    objects: int
    median: Annotated[float, Meta(description="seconds per object; of a task without objects, per task")]
    mad: Annotated[float, Meta(description="median absolute deviation")]
    mean: Annotated[float, Meta(description="what lies above median + 5 * 1.4826 * MAD is cut down to it")]
    hasty: Annotated[bool, Meta(description="below 0.5 s an object over at least 20 objects")]


class Gold(Struct, frozen=True, kw_only=True):
    """One person's work in one round against a gold standard; in a later round it stands on that of others."""

    round: str
    person: str
    images: int
    objects: Annotated[int, Meta(description="of gold, in the images that the person did")]
    precision: Annotated[float, Meta(description="at IoU 0.5, class-aware, with gold as the reference, pooled")]
    recall: float
    f1: float | None
    f1_sweep: float | None
    f1_sweep_low: float | None
    f1_sweep_high: float | None
    outlines: int
    boundary_f: float | None
    drift: Annotated[int | None, Meta(description="task at which F1@50:95 with gold fell out of three sigma")]


class Measured(Struct, frozen=True, kw_only=True):
    """``review agreement``."""

    name: str
    rounds: Annotated[tuple[Agreement, ...], Meta(description="independent work only")]
    changes: Annotated[tuple[Change, ...], Meta(description="rounds that start from earlier work: no agreement")]
    times: tuple[Pace, ...]
    audit: Annotated[tuple[Rate, ...], Meta(description="missed positives among presumed negatives, by class")]
    gold: Annotated[tuple[Gold, ...], Meta(description="against a gold standard, where one was given")] = ()
