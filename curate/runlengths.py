"""Many run-length masks at once: the compressed text of COCO's maskApi to plain runs and back, by array operations.

A run list of many masks is a pair: ``runs`` (all masks' runs, one after another) and ``offsets`` (``n + 1`` positions,
mask ``i`` has ``runs[offsets[i]:offsets[i + 1]]``). Runs are column-major, background first, as in ``curate.geometry``.
The text codes each run in groups of five bits, lowest first, from the fourth run on as the difference to the run two
before (``rleToString`` and ``rleFrString`` of maskApi.c).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.geometry import MAX_MASK_PIXELS

Runs = NDArray[np.int64]
_BLOCK_BYTES = 1 << 17
_LONGEST_CODE = 7  # groups of five bits that a run below 2**31 and its sign may take


def decode(texts: pa.Array | pa.ChunkedArray) -> tuple[Runs, Runs, NDArray[np.bool_]]:
    """Compressed texts (string array without nulls) as ``runs, offsets, good``.

    ``good[i]`` is false for a text with a character out of range or cut in the middle of a number; its runs mean
    nothing.
    """
    array = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).cast(pa.large_string())
    n = len(array)
    if not n:
        return np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, bool)
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + n + 1]
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    blocks = []
    first = 0
    while first < n:
        # Blocks that fit the processor's cache: five times faster than one pass over all.
        after = int(np.searchsorted(bounds, bounds[first] + _BLOCK_BYTES, side="right")) - 1
        after = min(max(after, first + 1), n)
        blocks.append(_decode_block(text, bounds[first : after + 1]))
        first = after
    runs = np.concatenate([block[0] for block in blocks])
    counts = np.concatenate([block[1] for block in blocks])
    return runs, np.concatenate([[0], np.cumsum(counts)]), np.concatenate([block[2] for block in blocks])


def _decode_block(text: NDArray[np.uint8], bounds: Runs) -> tuple[Runs, Runs, NDArray[np.bool_]]:
    """Runs, number of runs per mask, and which texts are good."""
    n = len(bounds) - 1
    codes = text[bounds[0] : bounds[-1]] - np.uint8(48)  # wraps around below "0", to more than 63
    bounds = bounds - bounds[0]
    owner = np.repeat(np.arange(n), np.diff(bounds))
    good = np.ones(n, bool)
    good[owner[codes > 63]] = False
    last = (codes & 0x20) == 0  # the last group of a number
    filled = np.diff(bounds) > 0
    ends = bounds[1:][filled] - 1
    good[np.flatnonzero(filled)[~last[ends]]] = False
    last[ends] = True  # so that a number that is cut does not run on into the next text
    number_ends = np.flatnonzero(last)
    if not len(number_ends):
        return np.zeros(0, np.int64), np.zeros(n, np.int64), good
    length = np.diff(number_ends, prepend=-1)
    good[owner[number_ends[length > _LONGEST_CODE]]] = False
    # Most numbers have one or two groups: add up from the last group to the first.
    value = (codes[number_ends] & 0x1F).astype(np.int64)
    value -= (codes[number_ends] & 0x10).astype(np.int64) << 1
    for back in range(1, min(int(length.max()), _LONGEST_CODE)):
        longer = np.flatnonzero(length > back)
        value[longer] = (value[longer] << 5) | (codes[number_ends[longer] - back] & 0x1F)
    counts = np.bincount(owner[number_ends], minlength=n)
    return _undo_differences(value, np.concatenate([[0], np.cumsum(counts)])), counts, good


def encode(runs: Runs, offsets: Runs) -> pa.Array:
    """Plain runs as compressed texts, the same as pycocotools writes. Runs must be below 2**31."""
    texts, counts = [], []
    first, n = 0, len(offsets) - 1
    while first < n:
        after = int(np.searchsorted(offsets, offsets[first] + _BLOCK_BYTES, side="right")) - 1
        after = min(max(after, first + 1), n)
        text, lengths = _encode_block(
            runs[offsets[first] : offsets[after]], offsets[first : after + 1] - offsets[first]
        )
        texts.append(text)
        counts.append(lengths)
        first = after
    ends = np.concatenate([[0], np.cumsum(np.concatenate([[0], *counts])[1:])]).astype(np.int64)
    body = np.concatenate([np.zeros(0, np.uint8), *texts])
    return pa.LargeStringArray.from_buffers(n, pa.py_buffer(ends.tobytes()), pa.py_buffer(body.tobytes()))


def _encode_block(runs: Runs, offsets: Runs) -> tuple[NDArray[np.uint8], Runs]:
    """The text of some masks, and how many bytes each has."""
    position = np.arange(len(runs)) - np.repeat(offsets[:-1], np.diff(offsets))
    rest = runs.astype(np.int64, copy=True)
    coded = np.flatnonzero(position > 2)
    rest[coded] -= runs[coded - 2]
    groups = np.zeros((len(runs), _LONGEST_CODE), np.uint8)
    used = np.zeros(len(runs), np.int64)
    active = np.arange(len(runs))
    for i in range(_LONGEST_CODE):
        group = rest[active] & 0x1F
        rest[active] >>= 5
        more = np.where(group & 0x10, rest[active] != -1, rest[active] != 0)
        groups[active, i] = (group | np.where(more, 0x20, 0)) + 48
        used[active] += 1
        active = active[more]
        if not len(active):
            break
    text = groups[np.arange(_LONGEST_CODE) < used[:, None]]
    return text, np.diff(np.concatenate([[0], np.cumsum(used)])[offsets])


def faults(runs: Runs, offsets: Runs, good: NDArray[np.bool_], heights: Runs, widths: Runs) -> list[tuple[int, str]]:
    """What is wrong with each mask for its frame: ``(index, "M04 ...")`` or ``(index, "M06 ...")``, by index."""
    n = len(offsets) - 1
    pixels = heights * widths
    negative = np.zeros(n, bool)
    owner = np.repeat(np.arange(n), np.diff(offsets))
    negative[owner[runs < 0]] = True
    sums = np.zeros(n, np.int64)
    np.add.at(sums, owner, runs)
    large = (pixels > MAX_MASK_PIXELS) | (heights < 0) | (widths < 0)
    found = []
    for i in np.flatnonzero(~good | negative | (sums != pixels) | large).tolist():
        if large[i]:
            text = f"M06 mask of {widths[i]} x {heights[i]} px; expected at most {MAX_MASK_PIXELS} px"
        elif not good[i]:
            text = "M04 compressed run lengths are cut short or hold characters out of range"
        elif negative[i]:
            text = "M04 a run is negative; expected whole numbers from 0"
        else:
            text = f"M04 runs sum to {sums[i]}; expected {heights[i]} x {widths[i]} = {pixels[i]}"
        found.append((i, text))
    return found


def _undo_differences(value: Runs, offsets: Runs) -> Runs:
    """Runs from the fourth on are differences to the run two before: sum them up along each parity of each mask."""
    counts = np.diff(offsets)
    position = np.arange(len(value)) - np.repeat(offsets[:-1], counts)
    runs = value.copy()
    for parity in (1, 0):
        chain = np.flatnonzero((position % 2 == parity) & (position > 0))
        if not len(chain):
            continue
        total = np.cumsum(value[chain])
        first = position[chain] == (1 if parity else 2)
        before = np.where(first, total - value[chain], 0)
        # What had been summed up before this chain's first run, carried along the chain.
        start = np.maximum.accumulate(np.where(first, np.arange(len(chain)), 0))
        runs[chain] = total - before[start]
    return runs
