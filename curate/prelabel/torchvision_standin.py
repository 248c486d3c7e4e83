"""segment-anything without torchvision: stand-ins for the four functions that it imports, for that moment only.

segment-anything 1.0 needs ``batched_nms`` and ``box_area`` (automatic masks) and ``resize`` and ``to_pil_image``
(pre-processing). Where torchvision is missing, or is installed and cannot load (its wheels fit one build of torch
each), these are put in its place while segment-anything is imported, and taken away at once: the package has bound them
by then, and transformers, which looks for torchvision by its name, must not find half of one. A torchvision that works
is used as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from curate.errors import CurateError

_NAMES = (
    "torchvision",
    "torchvision.ops",
    "torchvision.ops.boxes",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)
INSTALL = "pip install 'curate[sam]'"


def import_segment_anything() -> Any:
    """The package ``segment_anything``.

    Raises:
        CurateError: it or torch is not installed.
    """
    if "segment_anything" in sys.modules:
        return sys.modules["segment_anything"]
    for package in ("torch", "segment_anything"):
        if find_spec(package) is None:
            raise CurateError("segmenter sam", f"{package} is not installed", hint=f"install it: {INSTALL}")
    if torchvision_state() == "works":
        import segment_anything
    else:
        with _in_place():
            import segment_anything
    return segment_anything


def torchvision_state() -> str:
    """``works``, ``missing``, or why an installed torchvision cannot load."""
    if "torchvision" not in sys.modules and find_spec("torchvision") is None:
        return "missing"
    before = set(sys.modules)
    try:
        for name in _NAMES:
            import_module(name)
    except Exception as error:  # a broken build raises whatever its loader does
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "torchvision":
                del sys.modules[name]
        return (
            f"torchvision is installed but cannot load ({error}): it was made for another torch. segment-anything works"
            " without it; transformers does not: 'pip uninstall torchvision', or install the one made for this torch"
        )
    return "works"


@contextmanager
def _in_place() -> Iterator[None]:
    """The stand-ins as modules, while the block runs."""
    held = {name: sys.modules.pop(name) for name in _NAMES if name in sys.modules}
    functions = {
        "torchvision.ops.boxes": {"batched_nms": batched_nms, "box_area": box_area},
        "torchvision.transforms.functional": {"resize": resize, "to_pil_image": to_pil_image},
    }
    for name in _NAMES:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__dict__.update(functions.get(name, {}))
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        yield
    finally:
        for name in _NAMES:
            sys.modules.pop(name, None)
        sys.modules.update(held)


def box_area(boxes: Any) -> Any:
    """Areas of a tensor of boxes ``(n, 4)``, ``x1 y1 x2 y2``."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Any:
    """Indices of the boxes that stay, best first: of boxes of one group ``idxs`` that overlap more, only the best."""
    import torch

    if not boxes.numel():
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    # Groups are moved apart, so that boxes of different ones never meet.
    apart = idxs.to(boxes) * (boxes.max() - boxes.min() + 1)
    return _nms(boxes + apart[:, None], scores, iou_threshold)


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    import torch

    order = torch.argsort(scores, descending=True, stable=True)
    boxes = boxes[order].double()
    areas = box_area(boxes)
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    kept = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        corner = torch.maximum(boxes[i, :2], boxes[i + 1 :, :2])
        sides = (torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:]) - corner).clamp(min=0)
        shared = sides[:, 0] * sides[:, 1]
        alive[i + 1 :] &= shared <= iou_threshold * (areas[i] + areas[i + 1 :] - shared)
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]


def to_pil_image(picture: Any) -> Any:
    """An array ``(height, width, 3)`` of bytes as a Pillow image."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(picture))


def resize(picture: Any, size: tuple[int, int]) -> Any:
    """A Pillow image at ``size`` (height, width), bilinear, as torchvision does."""
    from PIL import Image

    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
