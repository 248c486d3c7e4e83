"""Segment Anything checkpoints: what kind a file is, loaded strictly and without running anything that is in it.

The kind follows from the width of ``image_encoder.pos_embed``: 768 is vit_b, 1024 vit_l, 1280 vit_h, and ``tiny.WIDTH``
our ``tiny-test``. A file of another layout (SAM 2, MobileSAM, transformers) is an error that says so.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import SourceError, UsageError
from curate.prelabel import tiny
from curate.prelabel.torchvision_standin import import_segment_anything

WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h", tiny.WIDTH: "tiny-test"}
_MARK = "image_encoder.pos_embed"
_OFFICIAL = "sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or sam_vit_h_4b8939.pth"
WHERE = (
    f"download {_OFFICIAL} as the README of github.com/facebookresearch/segment-anything says, put it anywhere, and "
    "name it with --checkpoint; nothing is downloaded for you"
)


class Loaded(NamedTuple):
    """A model in evaluation mode, and what its masks depend on."""

    model: Any  # segment_anything.modeling.Sam
    kind: str
    sha256: str


def load(path: Path | None, *, kind: str | None = None, device: str = "cpu") -> Loaded:
    """The model of a checkpoint on ``device``.

    Args:
        kind: what the file must be (``vit_b``, ``vit_l``, ``vit_h``, ``tiny-test``); whatever it is if None.

    Raises:
        UsageError: no checkpoint is named, or the device is not there.
        SourceError: the file is missing, cut short, no checkpoint, of another kind, or does not fit the model.
    """
    if path is None:
        raise UsageError("segmenter sam", "has no checkpoint", "expected a file of weights", WHERE)
    import_segment_anything()
    state = read_state(path)
    found = kind_of(state, path)
    if kind is not None and found != kind:
        raise SourceError(path, f"is a checkpoint of {found}", f"expected {kind}", "name the other file, or no kind")
    model = _built(found)
    misfit = _misfit(state, model.state_dict())
    if misfit:
        raise SourceError(path, f"does not fit {found} ({misfit})", "expected the official layout")
    model.load_state_dict(state, strict=True)
    return Loaded(_moved(model.eval(), device), found, sha256_of(path))


def read_state(path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint by name, as they are stored; only plain tensors are accepted.

    Raises:
        SourceError: as :func:`load`.
    """
    import torch

    try:
        if path.exists() and not path.is_file():
            found = "is a folder" if path.is_dir() else "is not a regular file"
            raise SourceError(path, found, "expected a file of weights", WHERE)
        if not path.stat().st_size:
            raise SourceError(path, "file is empty", "expected a file of weights", "download it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of pickles by other programs
            state = torch.load(path, map_location="cpu", weights_only=True)
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(path, "no such file", "expected a file of weights", WHERE) from None
    except pickle.UnpicklingError as error:
        hint = "nothing of it was run; download it again"
        raise SourceError(path, _refused(str(error)), f"expected {_OFFICIAL}", hint) from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else _first(error)
        raise SourceError(path, f"cannot be read ({why})", "expected a file of weights") from None
    except Exception as error:  # torch's reader raises whatever a damaged file makes it meet
        found = _refused(str(error)) if "weights_only" in str(error) else f"cannot be read ({_first(error)})"
        raise SourceError(path, found, "expected a file of weights", "download it again") from None
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise SourceError(path, "is no table of weights by name", f"expected {_OFFICIAL}")
    return dict(state)


def _refused(text: str) -> str:
    """Why torch would not read a file; its own text goes on to say how to run what is in it."""
    unknown = re.search(r"[Uu]nsupported (?:global: GLOBAL|GLOBAL|class) (\S+)|safe_globals\(\[(\S+)\]\)", text)
    return f"holds more than weights ({unknown[1] or unknown[2]})" if unknown else "is no file of weights"


def _misfit(state: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """The first thing in which weights differ from those of the model, but for their precision; None if nothing."""
    for name, value in expected.items():
        if name not in state:
            return f"{name} is missing"
        there = state[name]
        if there.shape != value.shape:
            return f"{name} has the shape {tuple(there.shape)} and not {tuple(value.shape)}"
        if not there.is_floating_point() or there.layout != value.layout or there.device != value.device:
            return f"{name} holds no plain numbers"
    return next((f"it has {name} too" for name in state if name not in expected), None)


def kind_of(state: Mapping[str, Any], path: Path) -> str:
    """The kind of model that the weights are of.

    Raises:
        SourceError: none that is known.
    """
    mark = state.get(_MARK)
    if mark is None or mark.ndim != 4:
        some = ", ".join(sorted(state)[:3])
        raise SourceError(
            path,
            f"has no {_MARK} (it begins {some})" if some else "holds no weights",
            f"expected {_OFFICIAL}",
            "SAM 2, MobileSAM and the files of transformers have other layouts",
        )
    width = int(mark.shape[-1])
    if width not in WIDTHS:
        raise SourceError(path, f"is a Segment Anything model of width {width}", f"expected one of {sorted(WIDTHS)}")
    return WIDTHS[width]


def sha256_of(path: Path) -> str:
    """Of the whole file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _built(kind: str) -> Any:
    if kind == "tiny-test":
        return tiny.build_tiny()
    # Without its own argument for a checkpoint: that one loads with pickle.
    return import_segment_anything().sam_model_registry[kind]()


def _moved(model: Any, device: str) -> Any:
    import torch

    try:
        return model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device {device!r}", f"cannot be used ({_first(error)})", "expected cpu, cuda, cuda:1"
        ) from None


def _first(error: BaseException) -> str:
    """The first sentence of a message: torch's go on for a page."""
    return str(error).strip().partition("\n")[0].partition(". ")[0].strip() or type(error).__name__
