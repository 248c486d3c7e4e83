"""From a mask to a row: a proposal whose parent is the annotation that gave the box, with where it comes from.

``attributes.prelabel`` of a row: ``model``, ``kind`` and ``checkpoint`` (SHA-256) as the segmenter has them;
``detector``, where the box is a detector's; ``prompt``, a box or a point; ``predicted_iou`` and ``stability``, null
where the segmenter has none; ``box_iou``, of the mask's box with the prompt's; ``components``, the mask's parts, null
where no clean-up has counted them; ``removed`` and ``filled``, pixels of the clean-up; ``flags``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from curate.dataset import json_text
from curate.geometry import Box, box_iou, rle_bounds, rle_from_mask
from curate.model import Annotation
from curate.prelabel.cleanup import Cleaned
from curate.prelabel.prompts import Mask


class Wanted(NamedTuple):
    """An object to segment: what the new row takes over from the annotation or the detector that has it."""

    parent: str | None
    box: Box | None  # None: it comes from a point
    category: str | None
    source_label: str | None
    instance: str | None
    point: tuple[float, float] | None = None
    score: float | None = None  # of a detector
    name: str = ""  # id of the row, where it has no parent


def suffix(identity: Mapping[str, Any]) -> str:
    """What tells the rows of one segmenter from those of another with the same parent: ``sam-1a2b3c4d``."""
    digest = hashlib.sha256(json_text(dict(identity)).encode()).hexdigest()
    return f"{identity['model']}-{digest[:8]}"


def row_of(
    image_id: str, wanted: Wanted, mask: Mask, cleaned: Cleaned, identity: Mapping[str, Any]
) -> Annotation | None:
    """The row of a mask; None if the mask is empty. Box and area are the mask's own."""
    rle = rle_from_mask(cleaned.pixels)
    box = rle_bounds(rle)
    if not box[2]:
        return None
    agreement, prompt = None, {"point": list(wanted.point or ())}
    if wanted.box is not None:
        agreement = float(box_iou(np.array([box], float), np.array([wanted.box], float))[0, 0])
        prompt = {"box": list(wanted.box)}
    facts = {
        **{name: identity[name] for name in ("model", "kind", "checkpoint", "detector") if name in identity},
        "prompt": prompt,
        "predicted_iou": _rounded(mask.predicted_iou),
        "stability": _rounded(mask.stability),
        "box_iou": _rounded(agreement),
        "components": cleaned.parts,
        "removed": cleaned.removed,
        "filled": cleaned.filled,
        "flags": list(mask.flags),
    }
    return Annotation(
        id=wanted.name if wanted.parent is None else f"{wanted.parent}.{suffix(identity)}",
        image_id=image_id,
        parent_id=wanted.parent,
        category=wanted.category,
        source_label=wanted.source_label,
        instance=wanted.instance,
        x=box[0],
        y=box[1],
        w=box[2],
        h=box[3],
        area=float(np.count_nonzero(cleaned.pixels)),
        segmentation=rle,
        status="proposal",
        origin=f"model:{identity['model']}",
        score=wanted.score,
        attributes={"prelabel": facts},
    )


def _rounded(value: float | None) -> float | None:
    """To four digits: what is beyond depends on the processor, and the same input shall give the same bytes."""
    return None if value is None else round(float(value), 4)
