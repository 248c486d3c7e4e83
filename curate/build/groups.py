"""Images that may show one scene: those of a sequence, or of a place.

An image whose group is not known stands alone; that it shares no scene with another is unproved.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.columns import plain, positions
from curate.dataset import Dataset

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Group = Literal["sequence", "place", "none"]


class Groups(NamedTuple):
    """The images' groups, as numbers."""

    what: Group
    code: Ints  # per image
    known: Bools  # per image; an image of an unknown group has a code of its own


def groups_of(dataset: Dataset, what: Group) -> Groups:
    """The groups of a dataset's images."""
    images = dataset.table("images")
    alone = np.arange(images.num_rows)
    if what == "none":
        return Groups(what, alone, np.zeros(len(alone), bool))
    name = plain(images[what])
    if what == "sequence":  # sources may give one name to different drives; a place is one place
        name = pc.binary_join_element_wise(plain(images["source"]), name, "\0")
    encoded = pc.unique(name).drop_null()
    code = positions(name, encoded)
    return Groups(what, np.where(code >= 0, code, len(encoded) + alone), code >= 0)
