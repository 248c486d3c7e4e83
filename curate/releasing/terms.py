"""Whose pictures may be passed on: only those under a licence that is known to allow it.

A text that says anything more or anything else, as of terms, research or redistribution, is taken as a no: a licence
that is not understood is not one to act on.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from curate.columns import plain
from curate.dataset import Dataset

_VERSION = r"(?:[ -]v?\d\.\d)?(?: (?:International|Unported|Universal|Generic))?"
_OPEN = re.compile(
    r"(?:"
    rf"CC[ -]?0{_VERSION}|CC[ -]BY(?:[ -]NC)?(?:[ -]SA)?{_VERSION}"
    rf"|Creative Commons (?:Zero|Attribution)(?:[ -]Non-?Commercial)?(?:[ -]Share-?Alike)?{_VERSION}"
    r"|public domain|MIT|Apache[ -]2\.0|(?:ODbL|PDDL|CDLA-(?:Permissive|Sharing))(?:[ -]\d\.\d)?|US government work"
    r"|https?://creativecommons\.org/(?:licenses/by(?:-nc)?(?:-sa)?|publicdomain/(?:zero|mark))/\d\.\d(?:/[a-z]*)*"
    r")",
    re.IGNORECASE,
)


def is_open(licence: str | None) -> bool:
    """Whether a licence allows to pass a picture on, also cut and drawn upon (no CC ND), at least for no money."""
    return licence is not None and _OPEN.fullmatch(licence.strip()) is not None


def may_pass_on(dataset: Dataset) -> NDArray[np.bool_]:
    """For each image whether its own licence, or where it has none its source's, allows to pass it on ``(n,)``."""
    of_source = {name: record.licence for name, record in dataset.info.sources.items()}
    images = dataset.table("images")
    known: dict[str | None, bool] = {}
    allowed = []
    for source, own in zip(plain(images["source"]).to_pylist(), plain(images["licence"]).to_pylist(), strict=True):
        licence = own or of_source.get(source)
        if licence not in known:
            known[licence] = is_open(licence)
        allowed.append(known[licence])
    return np.array(allowed, bool)
