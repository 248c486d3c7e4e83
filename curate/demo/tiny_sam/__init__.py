"""``tiny-test``: a Segment Anything model of under 2 MB, trained on drawn scenes, so that tests and the demo need none.

``train`` made the checkpoint, ``judge`` measures it on scenes that it has not seen; README.md has the figures. It knows
drawn scenes only and must never be offered as a model to work with.
"""

from pathlib import Path

CHECKPOINT = Path(__file__).with_name("tiny-test.pt")
