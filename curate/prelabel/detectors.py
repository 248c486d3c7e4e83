"""The detectors by name: where the boxes come from.

``source`` gives those that the dataset has, ``owlv2`` looks for things or for what texts name, and ``automatic`` has
Segment Anything find everything from a grid of points, boxes or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.prelabel.automatic import Automatic
from curate.prelabel.prompts import Detector, Segmenter

_OPTIONS = {"source": set(), "owlv2": {"weights", "texts", "threshold", "nms"}, "automatic": {"points"}}
NAMES = tuple(_OPTIONS)


def check_options(name: str, options: Sequence[str]) -> None:
    """Raise a UsageError if there is no detector ``name``, or it does not have one of ``options``."""
    if name not in _OPTIONS:
        raise UsageError(f"detector {name!r}", "unknown", f"expected one of {', '.join(NAMES)}")
    unknown = sorted(set(options) - _OPTIONS[name])
    if unknown:
        owner = next((other for other, has in _OPTIONS.items() if unknown[0] in has), None)
        hint = f"only {owner!r} has it" if owner else ""
        expected = ", ".join(sorted(_OPTIONS[name])) or "none"
        raise UsageError(f"detector {name}", f"was given the option {unknown[0]}", f"expected {expected}", hint)


def open_detector(
    name: str, segmenter: Segmenter, *, device: str = "cpu", **options: Any
) -> Detector | Automatic | None:
    """The detector ``name``, ready to work in this process; None for ``source``, whose boxes are with the images.

    Args:
        segmenter: that draws the masks; ``automatic`` works with its model.
        options: ``weights``, ``texts``, ``threshold``, ``nms`` of :class:`~curate.prelabel.owlv2.Owlv2`; ``points`` of
            :class:`~curate.prelabel.automatic.Automatic`.

    Raises:
        UsageError: the name or an option is unknown.
        SourceError: the weights are missing or of another kind.
        CurateError: a library is not installed.
    """
    given = {key: value for key, value in options.items() if value is not None}
    check_options(name, list(given))
    if name == "owlv2":
        from curate.prelabel.owlv2 import Owlv2

        weights = given.pop("weights", None)
        return Owlv2(None if weights is None else Path(weights), device=device, **given)
    return Automatic(segmenter, **given) if name == "automatic" else None
