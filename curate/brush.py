"""Label Studio's brush masks: its run-length code, to and from the run lengths of COCO, without painting a pixel.

The code is a bit stream over the bytes of the RGBA image, row after row, highest bit first: 32 bits for the number of
bytes, 5 for the size of a byte in bits less 1, four times 4 for the sizes of a length less 1; then records. A record is
a bit (1: one value repeated, 0: that many values), two bits that choose the size of its length, the length less 1, and
the value or values. The mask is where the fourth channel is not 0. The server's own encoder writes four equal channels,
255 or 0, lengths of 3, 4, 8 and 16 bits (the shortest that fits) and at least one bit of padding; so do we, bit for
bit. The reader takes whatever the code allows: the page in the browser packs other channels and sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import runlengths, runorder
from curate.geometry import MAX_MASK_PIXELS, rle_from_counts
from curate.model import Rle

Ints = NDArray[np.int64]
_SIZES = np.array([3, 4, 8, 16])
_LONGEST = 1 << 16
# 8 bits per value, lengths of 3, 4, 8 and 16 bits.
_HEADER_BITS = f"{7:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES.tolist())
_START = 32 + len(_HEADER_BITS)
_BLOCK = 1 << 18  # bits looked at together


def encode(rle: Rle) -> list[int]:
    """A mask as the server's own encoder would write it: the bytes of the stream as integers."""
    height, width = rle.size
    runs, offsets, _ = runlengths.decode(pa.array([rle.counts], pa.large_string()))
    rows, _ = runorder.transposed(runs, offsets, np.array([width]), np.array([height]))
    values = np.where(np.arange(len(rows)) % 2, 255, 0)[rows > 0]
    return _packed(rows[rows > 0] * 4, values, width * height * 4)


def decode(stream: Sequence[int], width: int, height: int) -> Rle:
    """The mask of ``width`` x ``height`` pixels that a stream holds.

    Raises:
        ValueError: it is no such stream, is cut short, or fills another frame (rule M11).
    """
    data = _bytes(stream)
    if not 0 < width * height <= MAX_MASK_PIXELS:
        raise ValueError(f"a frame of {width} x {height} px; expected at most {MAX_MASK_PIXELS} px")
    if len(data) < 8:
        raise ValueError(f"{len(data)} bytes; expected a header of 7 bytes and at least one record")
    head = int.from_bytes(data[:8].tobytes(), "big")
    total, word = head >> 32, (head >> 27 & 31) + 1
    sizes = np.array([(head >> shift & 15) + 1 for shift in (23, 19, 15, 11)])
    if total != width * height * 4:
        raise ValueError(f"{total} values; expected {height} x {width} x 4 = {width * height * 4}")
    lengths, values = _records(data, sizes, word, total)
    bounds = _alpha_bounds(lengths, values, total)
    rows = np.diff(bounds, prepend=0, append=width * height)
    offsets = np.array([0, len(rows)])
    runs, _ = runorder.transposed(rows, offsets, np.array([height]), np.array([width]))
    return rle_from_counts(runs.tolist(), width, height)


def _bytes(stream: Sequence[int]) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(bytes(stream), np.uint8)
    except (TypeError, ValueError):
        raise ValueError("something else than a list of bytes (whole numbers from 0 to 255)") from None


def _packed(lengths: Ints, values: Ints, total: int) -> list[int]:
    """Series of at most 65,536 equal values, each with the shortest length code that holds it."""
    pieces = -(-lengths // _LONGEST)
    last = np.cumsum(pieces) - 1
    size = np.full(int(pieces.sum()), _LONGEST)
    size[last] = lengths - (pieces - 1) * _LONGEST
    value = np.repeat(values, pieces)
    choice = np.searchsorted([8, 16, 256], size)
    digits = _SIZES[choice]
    record = ((4 | choice) << digits | (size - 1)) << 8 | value  # 1, the choice, the length, the value
    count = 3 + digits + 8
    bits = np.arange(27)[None, :] < count[:, None]
    shifts = np.maximum(count[:, None] - 1 - np.arange(27)[None, :], 0)
    body = (record[:, None] >> shifts & 1)[bits].astype(np.uint8)
    head = np.array([int(bit) for bit in f"{total:032b}{_HEADER_BITS}"], np.uint8)
    # One more byte where the stream ends on a whole one, as the server's encoder does.
    padding = np.zeros(8 - (len(head) + len(body)) % 8, np.uint8)
    packed: list[int] = np.packbits(np.concatenate([head, body, padding])).tolist()
    return packed


def _records(data: NDArray[np.uint8], sizes: Ints, word: int, total: int) -> tuple[Ints, Ints]:
    """Length and value of every run, values one by one where a record lists them."""
    bits = len(data) * 8
    padded = np.concatenate([data, np.zeros(12, np.uint8)])

    def read(place: Ints, count: Ints | int) -> Ints:
        byte = place >> 3
        window = sum(padded[byte + i].astype(np.int64) << 8 * (3 - i) for i in range(4))
        found: Ints = window >> (32 - (place & 7) - count) & ((1 << np.asarray(count)) - 1)
        return found

    place, filled = _START, 0
    parts: list[tuple[Ints, Ints, NDArray[np.bool_]]] = []  # first value's place, length, one value repeated
    while filled < total:
        if place >= bits:
            raise ValueError(f"cut short after {filled} of {total} values")
        # As if a record began at every bit: where would the next one begin? Then only the chain is walked one by one.
        first = place
        at = np.arange(first, min(first + _BLOCK, bits))
        kind = read(at, 3)
        digits = sizes[kind & 3]
        length = read(at + 3, digits) + 1
        series = kind >= 4
        following = (at + 3 + digits + word * np.where(series, 1, length)).tolist()
        sums, end = length.tolist(), first + len(at)
        chain = []
        while filled < total and place < end:
            chain.append(place - first)
            filled += sums[place - first]
            place = following[place - first]
        picked = np.array(chain, np.int64)
        parts.append(((at + 3 + digits)[picked], length[picked], series[picked]))
    if filled > total or place > bits:
        raise ValueError(f"the records hold {filled} values; expected {total}")
    start, length, series = (np.concatenate([part[i] for part in parts]) for i in range(3))
    repeats = np.where(series, 1, length)
    offset = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    where = np.repeat(start, repeats) + offset * word
    value = read(where, min(word, 24)) if word <= 24 else read(where, 16) | read(where + 16, word - 16)
    return np.repeat(np.where(series, length, 1), repeats), value


def _alpha_bounds(lengths: Ints, values: Ints, total: int) -> Ints:
    """Where the mask's row-major runs begin and end, background first, from runs over the four channels."""
    ends = np.cumsum(lengths)
    # Pixel p's fourth channel is value 4 p + 3: a run up to `ends` has set the pixels below (ends + 0) // 4.
    pixels = ends // 4
    held = np.diff(pixels, prepend=0) > 0
    state = values[held] > 0
    change = np.flatnonzero(np.diff(state, prepend=False))
    starts: Ints = np.concatenate([np.zeros(1, np.int64), pixels[held]])[change]
    return starts
