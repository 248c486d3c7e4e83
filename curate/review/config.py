"""The labelling config of a round, and whether the server still has the one that was sent."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from curate.label_studio import labelling
from curate.label_studio.labelling import Config
from curate.review.plan import Round


def config(categories: Sequence[tuple[str, str | None]], round: Round, *, queries: bool = False) -> Config:
    """The config for ``categories`` (name, group) in a round; with ``queries``, these are shown above the image.

    Raises:
        ReviewError: there are no classes.
    """
    return labelling.config(categories, round.tools, judges=round.judges, queries=queries)


def same_config(a: str, b: str) -> bool:
    """Whether two configs are one, whatever their spaces."""
    try:
        return ElementTree.canonicalize(a, strip_text=True) == ElementTree.canonicalize(b, strip_text=True)
    except ElementTree.ParseError:
        return False
