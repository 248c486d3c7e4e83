"""The four functions that stand in for torchvision, against brute force; and that nothing of them stays behind."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.prelabel import torchvision_standin as standin

torch = pytest.importorskip("torch", reason="torch is in the extras 'sam' and 'dev'")


def kept_by_definition(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, limit: float) -> list[int]:
    """Greedy suppression, box by box, as its definition says."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        x1, y1, x2, y2 = boxes[i]
        for j in kept:
            if groups[j] != groups[i]:
                continue
            a1, b1, a2, b2 = boxes[j]
            shared = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared
            if shared > limit * union:
                break
        else:
            kept.append(i)
    return kept


boxes = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(boxes, st.integers(0, 9), st.integers(0, 2)), max_size=25), st.sampled_from([0.0, 0.3, 0.5, 0.7])
)
def test_batched_nms_by_its_definition(rows: list[tuple], limit: float) -> None:
    coordinates = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[1] for row in rows], np.float32)
    groups = np.array([row[2] for row in rows], np.int64)
    found = standin.batched_nms(
        torch.from_numpy(coordinates), torch.from_numpy(scores), torch.from_numpy(groups), iou_threshold=limit
    )
    assert found.tolist() == kept_by_definition(coordinates, scores, groups, limit)


def test_box_area() -> None:
    assert standin.box_area(torch.tensor([[1.0, 2.0, 4.0, 8.0], [0, 0, 0, 5]])).tolist() == [18.0, 0.0]


def test_pictures_come_back_and_are_resized_as_pillow_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    picture = standin.to_pil_image(pixels[:, ::-1])  # not contiguous
    assert np.array_equal(np.asarray(picture), pixels[:, ::-1])
    resized = standin.resize(picture, (14, 10))
    assert resized.size == (10, 14)
    assert np.array_equal(np.asarray(resized), np.asarray(picture.resize((10, 14), Image.Resampling.BILINEAR)))


SCRIPT = """
import sys
{before}
from curate.prelabel.torchvision_standin import import_segment_anything, torchvision_state
print(torchvision_state())
package = import_segment_anything()
from segment_anything.utils import amg, transforms
from segment_anything import automatic_mask_generator as generator
print(generator.batched_nms.__module__, transforms.resize.__module__)
print(sorted(name for name in sys.modules if name.split(".")[0] == "torchvision"))
assert import_segment_anything() is package
import transformers.utils
print(transformers.utils.is_torchvision_available())
"""


def said(before: str = "") -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(before=before)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


MISSING = """
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            raise ModuleNotFoundError(name, name="torchvision")
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "torchvision" else find(name, *more)
sys.meta_path.insert(0, Hidden())
"""
BROKEN = """
import importlib.machinery, types
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise RuntimeError("operator torchvision::nms does not exist")
sys.meta_path.insert(0, Broken())
"""


def test_a_missing_torchvision_is_stood_in_for_and_leaves_nothing() -> None:
    state, functions, modules, *_ = said(MISSING)
    assert state == "missing"
    assert functions == "curate.prelabel.torchvision_standin curate.prelabel.torchvision_standin"
    assert modules == "[]"


def test_a_torchvision_that_cannot_load_is_named() -> None:
    state, functions, modules, *_ = said(BROKEN)
    assert state.startswith("torchvision is installed but cannot load (operator torchvision::nms does not exist)")
    assert "pip uninstall torchvision" in state
    assert functions.startswith("curate.prelabel")
    assert modules == "[]"
