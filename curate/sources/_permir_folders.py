"""The folders that PDM's program writes for PerMIR: three frames of a video, and the masks of one object in them.

The masks are a pickle inside ``masks.npz.npy``. A pickle is a program: it is read with a machine that knows nothing but
numpy's arrays, so that a file that asks for anything else is refused.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate import geometry
from curate.errors import SourceError
from curate.model import Rle
from curate.sources._files import list_files, list_folders, read_bytes
from curate.sources._permir_selection import FRAMES, LEAST_SHARE, share

MASKS = "masks.npz.npy"
_ENDINGS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".npy")
# Where numpy keeps the parts of a pickled array, in its versions 1 and 2.
_ARRAYS = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_TYPES = {("numpy", "ndarray"), ("numpy", "dtype")}


class Folder(NamedTuple):
    """One video: files of its frames by their number, the object's masks, and which frame is the query."""

    path: str  # below the root
    number: int
    pictures: dict[int, str]
    errors: dict[int, SourceError | None]
    masks: list[Rle]
    query: int | None
    error: SourceError | None


def top_folder(root: Path) -> str | None:
    """Where below ``root`` the numbered folders lie, ``""`` or ``"PerMIRS/"``; None if there are none."""
    for top in ("", "PerMIRS/"):
        if any(name.isdecimal() and (root / top / name / MASKS).exists() for name in list_folders(root, top)):
            return top
    return None


def read_folders(root: Path, top: str) -> list[Folder]:
    """All numbered folders, in the order of their numbers."""
    names = sorted((name for name in list_folders(root, top) if name.isdecimal()), key=lambda name: (int(name), name))
    return [_read_folder(root, f"{top}{name}", int(name)) for name in names]


def _read_folder(root: Path, folder: str, number: int) -> Folder:
    listing = list_files(root, folder, _ENDINGS)
    pictures = {
        int(Path(file).stem): file for file in sorted(listing) if file != MASKS and Path(file).stem in ("0", "1", "2")
    }
    masks: list[Rle] = []
    query = None
    error = listing.get(MASKS)
    try:
        if len(pictures) != FRAMES:
            raise SourceError(root / folder, f"has {len(pictures)} frames", "expected 0, 1 and 2")
        if error is None:
            arrays = read_masks(root / folder / MASKS)
            masks = [geometry.rle_from_mask(mask) for mask in arrays]
            shares = [share(np.asarray(mask, np.uint8)) for mask in arrays]
            query = None if min(shares) < LEAST_SHARE else int(np.argmax(shares))
    except SourceError as found:
        error = found
    return Folder(folder, number, pictures, {i: listing[file] for i, file in pictures.items()}, masks, query, error)


def read_masks(path: Path) -> list[Any]:
    """The three masks ``(height, width)`` of bool in a file that numpy pickled.

    Raises:
        SourceError: the file asks for anything but arrays (A01), is damaged, or holds something else.
    """
    stream = io.BytesIO(read_bytes(path))
    try:
        layout: Any = np.lib.format  # without types in some versions
        header = layout.read_array_header_1_0 if layout.read_magic(stream) == (1, 0) else layout.read_array_header_2_0
        _, _, kind = header(stream)
        if kind != np.dtype(object):
            raise SourceError(path, f"holds {kind}", "expected three dictionaries of masks")
        entries = _Unpickler(stream, path).load().ravel().tolist()
    except SourceError:
        raise
    except Exception as error:  # a damaged pickle may stumble over anything
        found = f"is no array of masks ({type(error).__name__})"
        raise SourceError(path, found, "expected what PDM's program writes") from error
    masks = [next(iter(entry.values())) for entry in entries if isinstance(entry, dict) and len(entry) == 1]
    sound = [mask for mask in masks if isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.dtype.kind in "bui"]
    if len(entries) != FRAMES or len(sound) != FRAMES:
        raise SourceError(path, "holds something else", "expected three dictionaries with one mask each")
    return sound


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, path: Path) -> None:
        super().__init__(stream)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _TYPES:
            return getattr(np, name)
        if (module, name) in _ARRAYS:
            return _empty_array
        raise SourceError(self._path, f"pickle asks for {module}.{name} (A01)", "expected arrays only")


def _empty_array(kind: Any, shape: Any, _typecode: Any) -> Any:
    """What numpy makes before an array's state is filled in."""
    if kind is not np.ndarray or shape != (0,):
        raise ValueError("no plain array")
    return np.ndarray((0,), np.int8)
