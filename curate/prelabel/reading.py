"""Pictures as segmenters take them: RGB bytes as stored, not turned; of the size that the dataset says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from curate.errors import SourceError
from curate.pictures import MAX_PIXELS, decoding, grey_bytes
from curate.prelabel.prompts import Picture


def read_picture(path: Path, size: tuple[int | None, int | None] = (None, None)) -> Picture:
    """The pixels ``(height, width, 3)`` of a picture of any mode; 16-bit grey from its darkest to its brightest value.

    Args:
        size: width and height that it must have, where known.

    Raises:
        SourceError: it is missing, does not decode, or has another size.
    """
    with decoding(path) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise SourceError(path, f"picture of {width} x {height} px", f"expected at most {MAX_PIXELS} px")
        if size[0] and size[1] and (width, height) != size:
            raise SourceError(path, f"picture is {width} x {height} px", f"expected {size[0]} x {size[1]}")
        return _bytes(picture)


def _bytes(picture: PilImage.Image) -> Picture:
    if picture.mode.startswith(("I", "F")):
        return np.repeat(grey_bytes(picture)[:, :, None], 3, axis=2)
    return np.array(picture.convert("RGB"))
