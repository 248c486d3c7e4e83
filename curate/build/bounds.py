"""Bounds on how large objects are: shares of the image or px², of each box or of all boxes of a class together.

A bound is text such as ``<0.15``, ``>=1%`` or ``<=1024``. What it is held against is a box's ``w * h`` (px²), or that
divided by the image's ``W * H`` (its share), and of the boxes of one class in one image one of:

* ``box``: each box decides for itself;
* ``largest``: the largest decides for all of them;
* ``every``: all stay where every one holds, else none;
* ``total``: the sum of all decides for all of them (boxes that overlap count twice).

Annotations without category are a class of their own; so are those of truth and of proposals.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import plain, positions
from curate.errors import UsageError

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Of = Literal["box", "largest", "every", "total"]

_TEXT = re.compile(r"(<=|>=|<|>)(\d+\.?\d*|\.\d+)(%?)")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Bound(NamedTuple):
    """A bound that was read: its canonical text, its comparison and its number."""

    text: str
    compare: Callable[[Any, Any], Any]
    number: float

    def holds(self, values: NDArray[Any]) -> Bools:
        """Where ``values`` keep to the bound; never where they are NaN."""
        kept: Bools = self.compare(values, self.number)
        return kept


def read_bound(text: str, what: str = "size", *, whole: bool = False, percent: bool = True) -> Bound:
    """Read a bound, for the error as one on ``what``; ``whole`` numbers only, ``percent`` as they allow.

    Raises:
        UsageError: it is none, or a share above 1.
    """
    match = _TEXT.fullmatch("".join(text.split()))
    if not match or (match[3] and (whole or not percent)) or (whole and not match[2].isdigit()):
        example = '">=10" or "<5"' if whole else '"<0.15", "<=15%" or ">0.001"' if percent else '"<1024" or ">=400"'
        raise UsageError(f"{what} {text!r}", "is no bound", f"expected for example {example}")
    sign, number, hundredth = match.groups()
    # By text, not by division: 0.1 % is 0.001 to the last bit.
    value = float(f"{number}e-2" if hundredth else number)
    if percent and not whole and value > 1:
        hint = f"did you mean {sign}{number}%?" if not hundredth and value <= 100 else ""
        raise UsageError(f"{what} {text!r}", "is a share above 1", "expected at most 1, which is 100%", hint)
    return Bound(f"{sign}{int(value) if whole else value!r}", _OPERATORS[sign], value)


def read_bounds(texts: Sequence[str], what: str = "size", *, whole: bool = False, percent: bool = True) -> list[Bound]:
    """Several bounds, each once, by their text."""
    found = {read_bound(text, what, whole=whole, percent=percent) for text in texts}
    return sorted(found, key=lambda bound: bound.text)


def within(values: Floats, bounds: Sequence[Bound], classes: Ints | None = None, of: Of = "box") -> Bools:
    """Which annotations keep to all ``bounds``; those of unknown value (NaN) never do.

    Args:
        values: of each annotation.
        classes: of each annotation a number for its image and class (:func:`classes_in_images`); needed for all but
            ``box``.
    """
    known = ~np.isnan(values)
    if of == "box" or classes is None:
        kept = known.copy()
        for bound in bounds:
            kept &= bound.holds(values)
        return kept
    number = int(classes.max(initial=-1)) + 1
    if of == "every":
        broken = np.zeros(number, bool)
        for bound in bounds:
            broken[classes[known & ~bound.holds(values)]] = True
        sound: Bools = known & ~broken[classes]
        return sound
    deciding: Floats = np.full(number, -np.inf)
    if of == "largest":
        np.maximum.at(deciding, classes[known], values[known])
    else:
        deciding = np.bincount(classes[known], weights=values[known], minlength=number).astype(np.float64)
    chosen: Bools = known & within(deciding, bounds)[classes]
    return chosen


def classes_in_images(annotations: pa.Table, image: Ints) -> Ints:
    """For each annotation a number that it shares with those of its image, category and status."""
    parts = []
    for name in ("category", "status"):
        column = plain(annotations[name])
        parts.append((positions(column, pc.unique(column).drop_null()), len(pc.unique(column)) + 1))
    (category, categories), (status, states) = parts
    key = ((image + 1) * categories + category + 1) * states + status + 1
    number: Ints = np.unique(key, return_inverse=True)[1].astype(np.int64)
    return number


def areas(annotations: pa.Table) -> Floats:
    """Each annotation's box ``w * h`` in px²; NaN without box."""
    return _floats(annotations["w"]) * _floats(annotations["h"])


def shares(annotations: pa.Table, images: pa.Table, image: Ints) -> Floats:
    """Each annotation's ``w * h / (W * H)``; NaN where the box or the image's size is unknown.

    A quotient of doubles is the one nearest to the true share, as the bound is the one nearest to its decimal: a box of
    exactly 15 % is not below 0.15. A product with the bound would not do: ``0.07 * 100`` is more than 7.
    """
    frame = _floats(images["width"]) * _floats(images["height"])
    frame = np.append(np.where(frame > 0, frame, np.nan), np.nan)  # the last stands for an image that is not there
    return areas(annotations) / frame[image]


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
