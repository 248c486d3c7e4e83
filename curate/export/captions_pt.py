"""captions.pt of the SoIR pipeline: boxes, scores and masks by image, for torch, written without torch.

Key = path of an image, as in ``anns.pt``; value = dictionary:

==============  =============================================================================================
``bboxes``      list of ``[x1, y1, x2, y2]`` in pixels, right and bottom are edges, clipped to the image
``scores``      list of numbers 0..1, as long: the detector's, else the IoU that the segmenter expects, else 1
``masks_rle``   list of ``{"counts", "size": [H, W], "transpose": False}``, as long: row-major runs, a leading 0
                where the first pixel is foreground
``image_path``  the key; ``image_size`` is ``(W, H)``
==============  =============================================================================================

All three lists have one length and order, where upstream's own writer leaves scores of suppressed boxes in. Upstream's
reader looks for ``masks`` alone, a list of 2-D arrays, and without it silently takes the whole image: ``dense`` adds
them (H x W bytes each, 0 and 255; the file then holds numpy arrays, so that torch needs ``weights_only=False``).
Written are rows with a mask and one of the statuses asked for; an image without any has empty lists, and is counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import geometry, torch_zip
from curate.atomic import atomic_file
from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import CurateError, UsageError
from curate.export._anns_pt_values import image_keys, masks, with_painted_polygons
from curate.model import Rle

STATUSES = ("truth", "proposal")


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    compat: str | None = None,
    status: Sequence[str] = ("proposal",),
    key_prefix: str | None = None,
    dense: bool = False,
) -> dict[str, int]:
    """Write ``dataset`` as ``path``; equal datasets give equal bytes.

    Args:
        status: of the annotations to write.
        key_prefix: folder to put before each key.
        dense: also the masks as arrays; needs torch.

    Returns:
        Counts: images, masks, images without any, annotations without mask, and of each status how many annotations
        were taken or left out.

    Raises:
        UsageError: ``path`` exists, or ``compat`` is asked for.
        CurateError: ``dense`` without torch.
        SchemaError: a mask is malformed, or two images have one path.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of captions_pt", hint="leave it out; see --dense")
    unknown = sorted(set(status) - set(STATUSES))
    if unknown:
        raise UsageError(f"--status {unknown[0]}", "is no status", f"expected {' or '.join(STATUSES)}")
    with atomic_file(Path(path), overwrite=overwrite) as stream, collector_paused():
        entries, without_mask = _entries(dataset, status, key_prefix or "")
        if dense:
            _save_dense(entries, stream)
        else:
            torch_zip.save(entries, stream)
    return {
        "images": len(entries),
        "masks": sum(len(entry["bboxes"]) for entry in entries.values()),
        "images_without_mask": sum(not entry["bboxes"] for entry in entries.values()),
        "left_out_annotations_without_mask": without_mask,
        **_by_status(dataset, status),
    }


def _by_status(dataset: Dataset, taken: Sequence[str]) -> dict[str, int]:
    """How many annotations there are of each status that is taken, and of each other that occurs."""
    rows = pc.value_counts(plain(dataset.table("annotations")["status"])).to_pylist()
    number = dict.fromkeys(taken, 0) | {row["values"]: row["counts"] for row in rows}
    order = sorted(number, key=lambda name: (name not in taken, name))
    return {f"{'' if name in taken else 'left_out_'}annotations_of_status_{name}": number[name] for name in order}


def _entries(dataset: Dataset, status: Sequence[str], prefix: str) -> tuple[dict[str, dict[str, Any]], int]:
    images, table = dataset.table("images"), dataset.table("annotations")
    keys = image_keys(images, prefix)
    table = table.filter(pc.is_in(plain(table["status"]), value_set=pa.array(list(status))))
    place = positions(table["image_id"], images["id"])
    width, height = (pc.fill_null(images[name], 0).to_numpy() for name in ("width", "height"))
    table = with_painted_polygons(table, width[np.maximum(place, 0)], height[np.maximum(place, 0)])
    masked = pc.is_valid(table["segmentation"]).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(masked & (place >= 0))
    held, place = table.take(pa.array(rows)), place[rows]
    entries: dict[str, dict[str, Any]] = {}
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for i in order:
        size = (int(width[i]), int(height[i]))
        entries[keys[i]] = {"bboxes": [], "scores": [], "masks_rle": [], "image_path": keys[i], "image_size": size}
    columns = (
        place.tolist(),
        masks(held, by_rows=True),
        held.select(["segmentation", "score", "attributes"]).to_pylist(),
    )
    for at, runs, row in zip(*columns, strict=True):
        assert runs is not None
        frame = runs["size"]
        rle = row["segmentation"]
        x, y, w, h = geometry.rle_bounds(Rle(tuple(rle["size"]), rle["counts"]))
        entry = entries[keys[at]]
        entry["bboxes"].append([float(x), float(y), float(min(x + w, frame[1])), float(min(y + h, frame[0]))])
        entry["scores"].append(_score(row))
        entry["masks_rle"].append({"counts": runs["counts"], "size": list(frame), "transpose": False})
    return entries, int(table.num_rows - masked.sum())


def _score(row: dict[str, Any]) -> float:
    if row["score"] is not None:
        return float(row["score"])
    facts = json.loads(row["attributes"] or "{}").get("prelabel") or {}
    value = facts.get("predicted_iou")
    return 1.0 if value is None else float(value)


def _save_dense(entries: dict[str, dict[str, Any]], stream: Any) -> None:
    try:
        import torch
    except ImportError:
        hint = "pip install torch, or leave --dense out"
        raise CurateError("export captions_pt --dense", "torch is not installed", hint=hint) from None
    for entry in entries.values():
        entry["masks"] = [_array(rle) for rle in entry["masks_rle"]]
    torch.save(entries, stream)


def _array(rle: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    runs = np.asarray(rle["counts"])
    flat = np.repeat((np.arange(len(runs)) % 2 * 255).astype(np.uint8), runs)
    return flat.reshape(rle["size"])
