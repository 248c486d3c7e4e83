"""OWLv2 (Minderer, Gritsenko, Houlsby, NeurIPS 2023) through transformers: boxes of anything, or of what texts name.

Without texts the objectness head says where things are, whatever they are; with texts every box has the best of them
as its label. The weights come from a local folder in the layout of transformers; nothing is downloaded. The model sees
the picture padded to a square at its right or lower side, and speaks in shares of that square: boxes are brought back
to pixels, clipped to the picture, and dropped where they lie in the padding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from curate.errors import CurateError, SourceError, UsageError
from curate.geometry import box_iou
from curate.prelabel.prompts import Boxes, Detections, Picture
from curate.prelabel.torchvision_standin import torchvision_state

THRESHOLD, NMS = 0.2, 0.4
# px: what is longer is made smaller first. The library pads to a square, in floating point, before it scales down: a
# panorama of 20,000 x 20 px would take 20 GB and minutes.
LONGEST = 4096
_LEAST = 1.0  # px, a box's side
_READ = ("config.json", "model.safetensors", "preprocessor_config.json")
_TOKENS = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
WHERE = (
    "download google/owlv2-base-patch16-ensemble (or another OWLv2) from the hub of Hugging Face, with its "
    "model.safetensors, to a folder and name that with --weights; nothing is downloaded for you"
)


class Owlv2:
    """The detector ``owlv2``.

    Args:
        folder: with ``config.json``, ``model.safetensors``, ``preprocessor_config.json`` and, for texts, a tokenizer.
        texts: what to look for; none looks for anything.
        threshold: the least score of a box.
        nms: of boxes of one label that overlap more than this, the best stays.

    Raises:
        UsageError: no folder is named, or a number lies outside 0..1.
        SourceError: the folder holds something else, or not all.
        CurateError: transformers is not installed or cannot work.
    """

    name = "owlv2"
    needs_picture = True

    def __init__(
        self,
        folder: Path | None,
        *,
        texts: Sequence[str] = (),
        threshold: float = THRESHOLD,
        nms: float = NMS,
        device: str = "cpu",
    ) -> None:
        for what, value in (("threshold", threshold), ("nms", nms)):
            if not 0 <= value <= 1:
                raise UsageError(f"{what} = {value}", "is no share", "expected 0 to 1")
        if any(not text.strip() for text in texts) or len(set(texts)) < len(texts):
            raise UsageError("detector owlv2", "a text is blank or stands twice", "expected texts that differ")
        if folder is None:
            raise UsageError("detector owlv2", "has no folder of weights", "expected one", WHERE)
        self.texts, self.threshold, self.nms = tuple(texts), float(threshold), float(nms)
        self.sha256 = weights_hash(folder, with_texts=bool(texts))
        self.model, self.processor, self._tokens = _opened(folder, self.texts, device)
        self.device = device

    def identity(self) -> dict[str, Any]:
        facts = {"model": self.name, "weights": self.sha256, "texts": list(self.texts)}
        return facts | {"threshold": self.threshold, "nms": self.nms}

    def detect(self, picture: Picture | None, known: Detections) -> Detections:
        """The boxes in ``picture``, best first."""
        import torch

        if picture is None:
            raise UsageError("detector owlv2", "was given no picture")
        height, width = picture.shape[:2]
        small = no_longer_than(picture, LONGEST)
        with torch.inference_mode(), _quiet():
            pixels = self.processor(images=[small], return_tensors="pt", input_data_format="channels_last")
            squares, scores, labels = self._raw(pixels["pixel_values"].to(self.device))
        scale = width / small.shape[1], height / small.shape[0]
        boxes = from_square(squares, small.shape[1], small.shape[0]) * (*scale, *scale)
        keep = np.flatnonzero((scores >= self.threshold) & (boxes[:, 2:] >= _LEAST).all(1))
        keep = keep[suppressed(boxes[keep], scores[keep], labels[keep], self.nms)]
        names = [self.texts[label] if self.texts else None for label in labels[keep].tolist()]
        return Detections(boxes[keep].round(2), scores[keep].round(4), names, [None] * len(keep))

    def _raw(self, pixels: Any) -> tuple[Boxes, NDArray[np.float64], NDArray[np.int64]]:
        """Boxes as shares of the square (cx, cy, w, h), scores and number of the text, per patch."""
        if self._tokens is not None:
            tokens = {name: value.to(self.device) for name, value in self._tokens.items()}
            found = self.model(pixel_values=pixels, **tokens)
            logits, label = found.logits[0].max(-1)
            squares = found.pred_boxes[0]
        else:
            grid = self.model.image_embedder(pixel_values=pixels)[0]
            flat = grid.reshape(1, -1, grid.shape[-1])
            logits = self.model.objectness_predictor(flat)[0]
            squares = self.model.box_predictor(flat, grid)[0]
            label = logits.new_zeros(len(logits)).long()
        scores = logits.double().sigmoid()
        return squares.double().cpu().numpy(), scores.cpu().numpy(), label.cpu().numpy()


def no_longer_than(picture: Picture, longest: int) -> Picture:
    """The picture, or a smaller one whose longer side has ``longest`` pixels."""
    height, width = picture.shape[:2]
    if max(height, width) <= longest:
        return picture
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(PilImage.fromarray(picture).resize(size, PilImage.Resampling.BOX))


def from_square(squares: Boxes, width: int, height: int) -> Boxes:
    """``cx, cy, w, h`` in shares of the padded square to ``x, y, w, h`` in pixels, clipped to the picture.

    What lies in the padding gets a side of zero.
    """
    scaled = squares * max(width, height)
    low = np.clip(scaled[:, :2] - scaled[:, 2:] / 2, 0, (width, height))
    high = np.clip(scaled[:, :2] + scaled[:, 2:] / 2, 0, (width, height))
    return np.concatenate([low, high - low], axis=1)


def suppressed(
    boxes: Boxes, scores: NDArray[np.float64], labels: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Which boxes ``(n, 4)`` stay, best first: of those of one label that overlap more, only the best."""
    order = np.argsort(-scores, kind="stable")
    alive = np.ones(len(order), bool)
    kept = []
    for at, box in enumerate(order):
        if not alive[at]:
            continue
        kept.append(int(box))
        rest = order[at + 1 :]
        alive[at + 1 :] &= ~((labels[rest] == labels[box]) & (box_iou(boxes[[box]], boxes[rest])[0] > threshold))
    return np.array(kept, np.int64)


def weights_hash(folder: Path, *, with_texts: bool) -> str:
    """SHA-256 over the files that the boxes depend on.

    Raises:
        SourceError: the folder or a file of it is missing, or it is another model's.
    """
    if not folder.is_dir():
        raise SourceError(folder, "no such folder", "expected a folder with OWLv2", WHERE)
    missing = [name for name in _READ if not (folder / name).is_file()]
    if missing:
        hint = "weights in other forms can run code and are not read" if missing == ["model.safetensors"] else WHERE
        raise SourceError(folder, f"has no {missing[0]}", f"expected {', '.join(_READ)}", hint)
    try:
        config = json.loads((folder / "config.json").read_bytes())
        kind = config.get("model_type") if isinstance(config, dict) else None
    except ValueError as error:
        raise SourceError(folder / "config.json", f"does not parse ({error})", "expected JSON") from None
    if kind != "owlv2":
        raise SourceError(folder / "config.json", f"model_type is {kind!r}", "expected 'owlv2'", WHERE)
    names = [*_READ, *(name for name in _TOKENS if with_texts and (folder / name).is_file())]
    if with_texts and not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise SourceError(folder, "has no tokenizer.json", "expected a tokenizer for the texts", WHERE)
    whole = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as stream:
            whole.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def _opened(folder: Path, texts: Sequence[str], device: str) -> tuple[Any, Any, Any]:
    """Model, image processor, and the texts as tokens."""
    try:
        import torch
        import transformers
        from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'curate[detect]'"
        raise CurateError("detector owlv2", f"{error.name} is not installed or too old", hint=hint) from None
    except (ImportError, RuntimeError) as error:
        state = torchvision_state()
        found = state if state.startswith("torchvision is installed") else f"transformers cannot load ({error})"
        raise CurateError("detector owlv2", found, hint="pip install 'curate[detect]'") from None
    library: Any = transformers  # whose types are its own affair
    try:
        with _quiet():
            model, told = library.Owlv2ForObjectDetection.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            processor = Owlv2ImageProcessorPil.from_pretrained(folder, local_files_only=True)
            tokens = None
            if texts:
                tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
                length = model.config.text_config.max_position_embeddings
                whole = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
                tokens = dict(tokenizer(list(texts), **whole))
    except Exception as error:  # a broken folder fails in as many ways as the library has readers
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(folder, f"cannot be read as OWLv2 ({first})", "expected a whole folder", WHERE) from None
    lacking = sorted([*told["missing_keys"], *(str(key) for key in told["mismatched_keys"])])
    if lacking:
        # The library would go on with random numbers in their place.
        found = f"{len(lacking):,} weights are missing or of another shape ({lacking[0]})"
        raise SourceError(folder / "model.safetensors", found, "expected all of OWLv2", "download it again")
    try:
        model = model.eval().to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        found = f"cannot be used ({str(error).splitlines()[0]})"
        raise UsageError(f"device {device!r}", found, "expected cpu, cuda, cuda:1") from None
    return model, processor, tokens


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and progress bars of transformers, whose settings are left as they were."""
    from transformers.utils import logging as library

    logging: Any = library  # which is untyped
    shown, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(shown)
        if bars:
            logging.enable_progress_bar()
