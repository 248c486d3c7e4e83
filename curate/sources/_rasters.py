"""Label rasters: pictures whose pixel values are class or instance numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from curate.errors import SourceError
from curate.geometry import rle_from_counts
from curate.model import Rle
from curate.pictures import read_header

# Pillow's names for one channel of whole numbers, with the largest value that each can hold.
_DEPTHS = {"L": 255, "I;16": 65535, "I;16B": 65535, "I": 2**31 - 1}
_TILE = 128  # pixels


def read_raster(path: Path, *, palette: bool = False) -> tuple[NDArray[Any], int]:
    """The values of a raster ``(height, width)`` as they are stored, and the largest that its depth can hold.

    With ``palette`` the numbers are the places of a picture's colours in its palette, as Pascal VOC has them.

    Raises:
        SourceError: the file is missing, cut short or no picture, or its pixels are colours and not numbers.
    """
    header = read_header(path)
    if header.mode not in _DEPTHS and not (palette and header.mode == "P"):
        raise SourceError(
            path,
            f"is a picture of mode {header.mode}",
            "expected one channel of 8 or 16 bits",
            "colour rasters and palettes lose the numbers: use the original file",
        )
    try:
        with PilImage.open(path) as picture:
            return np.asarray(picture), _DEPTHS.get(header.mode, 255)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise _broken(path, error) from error


def is_constant(path: Path) -> bool:
    """Whether all pixels of a picture are alike.

    Raises:
        SourceError: it does not decode.
    """
    try:
        with PilImage.open(path) as picture:
            extrema = np.array(picture.getextrema()).reshape(-1, 2)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise _broken(path, error) from error
    return bool((extrema[:, 0] == extrema[:, 1]).all())


def _broken(path: Path, error: Exception) -> SourceError:
    return SourceError(path, f"does not decode ({error})", "expected a picture", "download or unpack it again")


def masks_by_value(raster: NDArray[Any], keep: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> dict[int, Rle]:
    """The mask of each value of ``raster`` ``(height, width)`` that ``keep`` accepts, by rising value.

    ``keep`` is given an array of values and says of each whether it is wanted.

    One pass over the raster finds all runs of equal values, column by column as run lengths are counted; the cost does
    not grow with the number of values.
    """
    height, width = raster.shape
    starts, ends, values = _runs(raster, keep, whole_columns=False)
    found = _group(values, starts, ends)
    return {value: _rle(a, b, width, height) for value, a, b in found}


def components_by_value(
    raster: NDArray[Any], keep: Callable[[NDArray[Any]], NDArray[np.bool_]]
) -> list[tuple[int, Rle]]:
    """The connected regions of equal value of ``raster`` ``(height, width)``: value and mask of each.

    Pixels that touch at a corner are connected. By rising value, then by each region's first pixel, column by column.
    """
    height, width = raster.shape
    starts, ends, values = _runs(raster, keep, whole_columns=True)
    first = _connected(starts, ends, values, height)
    _, rank = np.unique(np.stack([values.astype(np.int64), first]), axis=1, return_inverse=True)
    rank = rank.reshape(-1)
    found = _group(rank, starts, ends)
    value_of = dict(zip(rank.tolist(), values.tolist(), strict=True))
    return [(value_of[region], _rle(a, b, width, height)) for region, a, b in found]


def _runs(
    raster: NDArray[Any], keep: Callable[[NDArray[Any]], NDArray[np.bool_]], *, whole_columns: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Where runs of equal values start and end, column by column, and their values; of the values wanted.

    With ``whole_columns`` a run ends with its column, else it may go on at the top of the next.
    """
    flat = _column_by_column(raster)
    if not flat.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), flat
    change = flat[1:] != flat[:-1]
    if whole_columns:
        change[raster.shape[0] - 1 :: raster.shape[0]] = True
    starts = np.concatenate([[0], np.flatnonzero(change) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    kept = keep(values)
    return starts[kept], ends[kept], values[kept]


def _column_by_column(raster: NDArray[Any]) -> NDArray[Any]:
    """The values of ``raster`` column by column, turned in tiles that fit the processor's cache: four times faster."""
    turned = np.empty(raster.shape[::-1], raster.dtype)
    for x in range(0, raster.shape[1], _TILE):
        for y in range(0, raster.shape[0], _TILE):
            turned[x : x + _TILE, y : y + _TILE] = raster[y : y + _TILE, x : x + _TILE].T
    return turned.reshape(-1)


def _group(
    keys: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Runs by their key: each key, rising, with where its runs start and end."""
    order = np.argsort(keys, kind="stable")
    keys, starts, ends = keys[order], starts[order], ends[order]
    found, first = np.unique(keys, return_index=True)
    bounds = np.append(first, len(keys))
    return [(int(key), starts[a:b], ends[a:b]) for key, a, b in zip(found, bounds[:-1], bounds[1:], strict=True)]


def _connected(
    starts: NDArray[np.int64], ends: NDArray[np.int64], values: NDArray[Any], height: int
) -> NDArray[np.int64]:
    """For each run (within one column) the first run of its region."""
    column, top = np.divmod(starts, height)
    # Room between columns, so that a run at the bottom does not meet the top of the next column.
    begin = column * (height + 2) + top
    end = begin + ends - starts
    # Of the next column, the runs from the first that ends not above to the last that starts not below.
    low = np.searchsorted(end, begin + height + 2)
    count = np.maximum(np.searchsorted(begin, end + height + 2, side="right") - low, 0)
    left = np.repeat(np.arange(len(starts)), count)
    right = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    same = values[left] == values[right]
    left, right = left[same], right[same]
    first = np.arange(len(starts))
    while True:
        least = np.minimum(first[left], first[right])
        lowered = first.copy()
        for side in (left, right):
            np.minimum.at(lowered, side, least)
            np.minimum.at(lowered, first[side], least)
        lowered = lowered[lowered]
        if np.array_equal(lowered, first):
            return first
        first = lowered


def _rle(starts: NDArray[np.int64], ends: NDArray[np.int64], width: int, height: int) -> Rle:
    """Run lengths from where each run of foreground starts and ends, in column-major order."""
    joined = starts[1:] == ends[:-1]  # goes on at the top of the next column
    if joined.any():
        starts, ends = starts[np.append(True, ~joined)], ends[np.append(~joined, True)]
    bounds = np.empty(2 * len(starts) + 2, np.int64)
    bounds[0], bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = 0, starts, ends, width * height
    counts = np.diff(bounds).tolist()
    return rle_from_counts(counts if counts[-1] else counts[:-1], width, height)
