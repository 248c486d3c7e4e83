"""Consensus, against the worked examples; ties are never broken by chance."""

from __future__ import annotations

import numpy as np
import pytest

from curate.review import consensus
from curate.review.agreement import Seen

BOXES = [(10.0, 10.0, 20.0, 20.0), (12.0, 11.0, 20.0, 20.0), (10.0, 10.0, 20.0, 22.0)]


def test_the_median_of_corners() -> None:
    assert consensus.median_box(BOXES) == (10, 10, 20, 21)


def test_the_majority_decides() -> None:
    two = consensus.agreed([Seen(BOXES[0], "car"), Seen(BOXES[1], "car"), None])
    assert (two.kept, two.votes, two.voters, two.label, two.tie) == (True, 2, 3, "car", None)
    assert two.iou == pytest.approx(342 / 458)
    one = consensus.agreed([Seen(BOXES[0], "car"), None, None])
    assert (one.kept, one.box, one.tie) == (False, None, None)


def test_ties_go_to_a_queue() -> None:
    half = consensus.agreed([Seen(BOXES[0], "car"), None])
    assert (half.kept, half.tie) == (False, "existence")
    labels = consensus.agreed([Seen(BOXES[0], "car"), Seen(BOXES[1], "bus")])
    assert (labels.kept, labels.tie, labels.label) == (False, "label", None)
    assert consensus.agreed([Seen(BOXES[0], "car"), Seen(BOXES[1], "bus"), Seen(BOXES[2], "bus")]).label == "bus"


def test_pixels_by_majority() -> None:
    rows = [np.array([list(map(int, text))], bool) for text in ("1111000000", "1110000000", "1111110000")]
    assert consensus.majority_mask(rows).astype(int).tolist() == [[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    assert consensus.majority_mask(rows[1:]).sum() == 3  # a tie is background


def test_staple() -> None:
    rows = [np.array(list(map(int, text)), bool) for text in ("1111000000", "1110000000", "1111110000")]
    found = consensus.staple(rows)
    assert (found.weight > 0.5).astype(int).tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert found.sensitivity == pytest.approx([1, 0.75, 1], abs=0.01)
    assert found.specificity == pytest.approx([1, 1, 2 / 3], abs=0.01)
