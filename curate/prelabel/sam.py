"""Segment Anything (Kirillov et al., ICCV 2023) by its official classes: one embedding per picture, prompts in chunks.

A box gives one mask, a point three, of which one is chosen: by the IoU that the model expects, or by how well the
mask's own box agrees with the prompt's. Coordinates are those of the stored picture; the official transform scales
them.

Stability is the IoU of the masks at the thresholds +1 and -1 (``calculate_stability_score`` of the official code). A
chunk that does not fit the device's memory is halved until it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.errors import CurateError, UsageError
from curate.geometry import box_iou, mask_bounds
from curate.prelabel.checkpoints import Loaded
from curate.prelabel.prompts import Mask, Picture, Prompts
from curate.prelabel.torchvision_standin import import_segment_anything

Choose = Literal["predicted", "box"]
STABILITY_OFFSET = 1.0
# Boxes decoded at once. On a CPU several at a time are slower than one by one (measured); 64 is the official
# generator's number on a GPU.
CHUNKS = {"cpu": 2, "cuda": 64}


class Sam:
    """The segmenter ``sam``.

    Args:
        loaded: the model.
        masks: 1 or 3 candidates per prompt; None takes 1 for boxes and masks, 3 for points.
        choose: which of three is kept: the one with the highest predicted IoU, or whose box agrees best.
        chunk: prompts decoded at once; None is by device.
    """

    name = "sam"

    def __init__(
        self, loaded: Loaded, *, masks: int | None = None, choose: Choose = "predicted", chunk: int | None = None
    ) -> None:
        if masks not in (None, 1, 3):
            raise UsageError(f"masks = {masks}", "is no number of masks that the model gives", "expected 1 or 3")
        if choose not in ("predicted", "box"):
            raise UsageError(f"choose = {choose!r}", "unknown", "expected predicted or box")
        if chunk is not None and chunk < 1:
            raise UsageError(f"chunk = {chunk}", "is no number of prompts", "expected 1 or more")
        self.loaded, self.masks, self.choose = loaded, masks, choose
        self.predictor = import_segment_anything().SamPredictor(loaded.model)
        self.chunk = chunk or CHUNKS.get(self.predictor.device.type, CHUNKS["cuda"])

    def identity(self) -> dict[str, Any]:
        """The chunk is no part of it: masks do not depend on it but for rounding."""
        facts = {"model": self.name, "kind": self.loaded.kind, "checkpoint": self.loaded.sha256}
        return facts | {"masks": self.masks, "choose": self.choose}

    def segment(self, picture: Picture, prompts: Prompts) -> Iterator[Mask]:
        """One mask per prompt.

        Raises:
            CurateError: not even one prompt fits the memory of the device.
        """
        import torch

        if not len(prompts):
            return  # an image without boxes costs no embedding
        with torch.inference_mode():
            self.predictor.set_image(np.ascontiguousarray(self.not_too_thin(picture)))
            begin, chunk = 0, self.chunk
            while begin < len(prompts):
                try:
                    found = self._decode(prompts, begin, min(begin + chunk, len(prompts)))
                except torch.OutOfMemoryError:
                    if chunk == 1:
                        hint = "use a smaller model or another device"
                        raise CurateError("segmenter sam", "one box does not fit the memory", hint=hint) from None
                    chunk = max(1, chunk // 2)
                    torch.cuda.empty_cache()
                    continue
                for mask in found:
                    yield mask._replace(pixels=mask.pixels[: picture.shape[0], : picture.shape[1]])
                begin += chunk
        self.predictor.reset_image()

    def not_too_thin(self, picture: Picture) -> Picture:
        """The picture, black below or beside it where the model's input would have no row or column for it."""
        height, width = picture.shape[:2]
        least = -(-max(height, width) // self.loaded.model.image_encoder.img_size)
        if min(height, width) >= least:
            return picture
        return np.pad(picture, ((0, max(0, least - height)), (0, max(0, least - width)), (0, 0)))

    def _decode(self, prompts: Prompts, begin: int, end: int) -> list[Mask]:
        import torch

        predictor, rows = self.predictor, slice(begin, end)
        size, device = predictor.original_size, predictor.device

        def tensor(values: Any) -> Any:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        boxes = corners = points = labels = lows = None
        if prompts.boxes is not None:
            corners = np.concatenate(
                [prompts.boxes[rows, :2], prompts.boxes[rows, :2] + prompts.boxes[rows, 2:]], axis=1
            )
            boxes = tensor(predictor.transform.apply_boxes(corners, size))
        if prompts.points is not None and prompts.point_labels is not None:
            points = tensor(predictor.transform.apply_coords(prompts.points[rows], size))
            labels = torch.as_tensor(prompts.point_labels[rows], dtype=torch.int, device=device)
        if prompts.masks is not None:
            lows = tensor(np.stack([self._low(mask) for mask in prompts.masks[begin:end]]))[:, None]
        several = self.masks == 3 if self.masks else prompts.boxes is None and prompts.masks is None
        logits, qualities, _ = predictor.predict_torch(
            points, labels, boxes, lows, multimask_output=several, return_logits=True
        )
        found = []
        for i in range(end - begin):
            best = 0 if not several else self._best(logits[i], qualities[i], None if corners is None else corners[i])
            found.append(self._mask(logits[i, best], float(qualities[i, best])))
        return found

    def _mask(self, logits: Any, quality: float) -> Mask:
        threshold = self.loaded.model.mask_threshold
        inner = int((logits > threshold + STABILITY_OFFSET).sum())
        outer = int((logits > threshold - STABILITY_OFFSET).sum())
        pixels: NDArray[np.bool_] = (logits > threshold).cpu().numpy()
        return Mask(pixels, min(max(quality, 0.0), 1.0), inner / outer if outer else 0.0)

    def _best(self, logits: Any, qualities: Any, corners: NDArray[np.float64] | None) -> int:
        if self.choose == "predicted" or corners is None:
            return int(qualities.argmax())
        threshold = self.loaded.model.mask_threshold
        agreements = [box_agreement((one > threshold).cpu().numpy(), corners) for one in logits]
        return int(np.argmax(agreements))

    def _low(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """A mask as the model takes it: logits at a quarter of its input, the longer side filled, the rest padded."""
        from PIL import Image

        encoder = self.loaded.model.prompt_encoder
        side = int(encoder.mask_input_size[0])
        height, width = mask.shape
        scale = side / max(height, width)
        shape = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(shape, Image.Resampling.BILINEAR))
        low = np.full((side, side), -10.0, np.float32)
        low[: shape[1], : shape[0]] = small.astype(np.float32) / 255 * 20 - 10
        return low


def box_agreement(mask: NDArray[np.bool_], corners: NDArray[np.float64]) -> float:
    """IoU of the box around ``mask`` with the box ``corners`` (x1, y1, x2, y2); 0 for an empty mask."""
    box = np.concatenate([corners[:2], corners[2:] - corners[:2]])
    return float(box_iou(np.array(mask_bounds(mask)), box)[0, 0])
