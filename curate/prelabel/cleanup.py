"""Islands and holes of masks: specks go, real parts stay.

The rule, with ``share`` = 0.02 unless another is given: a part (8-connected) goes if its area is below ``share`` of the
largest part's; a hole (4-connected background that touches no edge of the picture) is filled if its area is below
``share`` of the mask's. So a car behind a lamp post keeps both halves, and a wheel its opening.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import CurateError

SHARE = 0.02


class Cleaned(NamedTuple):
    """A mask after clean-up, and what was done: parts left (None: not counted), pixels removed and pixels filled."""

    pixels: NDArray[np.bool_]
    parts: int | None
    removed: int
    filled: int


def clean(mask: NDArray[np.bool_], share: float = SHARE) -> Cleaned:
    """Apply the rule; ``share`` 0 only counts the parts.

    Raises:
        CurateError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError:
        hint = "install it: pip install 'curate[sam]', or go without: --clean 0"
        raise CurateError("clean-up of masks", "OpenCV is not installed", hint=hint) from None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Cleaned(mask, 0, 0, 0)
    # Only the mask's own surroundings are looked at, with a pixel around them as background.
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inner = np.pad(mask[window], 1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inner.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = np.concatenate([[False], areas >= share * areas.max()])
    kept = keep[labels]
    removed = int(areas[~keep[1:]].sum())
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < share * np.count_nonzero(kept)
    small[0] = False  # the mask itself
    small[labels[0, 0]] = False  # what surrounds it
    # Background that reaches the picture's edge is no hole, even if the mask closes it off there.
    for at_edge, line in (
        (rows[0] == 0, labels[1]),
        (rows[-1] == mask.shape[0] - 1, labels[-2]),
        (columns[0] == 0, labels[:, 1]),
        (columns[-1] == mask.shape[1] - 1, labels[:, -2]),
    ):
        if at_edge:
            small[line] = False
    holes = small[labels]
    result = np.zeros_like(mask)
    result[window] = (kept | holes)[1:-1, 1:-1]
    return Cleaned(result, int(keep.sum()), removed, int(holes.sum()))
