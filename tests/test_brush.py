"""Label Studio's brush code: bit for bit the server's own, and every stream that the code allows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate import brush
from curate.geometry import mask_from_rle, rle_area, rle_bounds, rle_from_mask


def plain_encode(mask: NDArray[np.bool_]) -> list[int]:
    """The code as its description says, bit by bit: slow, and an oracle independent of ours."""
    values = np.repeat(mask.ravel(), 4).astype(int) * 255
    out = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    i = 0
    while i < len(values):
        j = i
        while j < len(values) and values[j] == values[i] and j - i < 65536:
            j += 1
        size, choice = next((s, c) for c, s in enumerate((3, 4, 8, 16)) if j - i <= 1 << s)
        out += f"1{choice:02b}" + f"{j - i - 1:0{size}b}" + f"{values[i]:08b}"
        i = j
    out += "0" * (8 - len(out) % 8)
    return [int(out[i : i + 8], 2) for i in range(0, len(out), 8)]


def written(channels: NDArray[np.uint8], sizes: tuple[int, ...], word: int, literal: bool) -> list[int]:
    """Any stream over RGBA values: with single values, other sizes of a length, other channels."""
    values = channels.ravel().tolist()
    out = f"{len(values):032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    i = 0
    while i < len(values):
        longest = 1 << sizes[1]
        if literal:
            part = values[i : i + min(longest, 5)]
            out += "001" + f"{len(part) - 1:0{sizes[1]}b}" + "".join(f"{v:0{word}b}" for v in part)
            i += len(part)
        else:
            j = i
            while j < len(values) and values[j] == values[i] and j - i < longest:
                j += 1
            out += "101" + f"{j - i - 1:0{sizes[1]}b}" + f"{values[i]:0{word}b}"
            i = j
    out += "0" * (-len(out) % 8)
    return [int(out[i : i + 8], 2) for i in range(0, len(out), 8)]


masks = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1)).map(
    lambda t: np.random.default_rng(t[2]).random((t[0], t[1])) < t[3]
)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_a_mask_is_written_as_the_server_would_and_comes_back(mask: NDArray[np.bool_]) -> None:
    rle = rle_from_mask(mask)
    stream = brush.encode(rle)
    assert stream == plain_encode(mask)
    assert brush.decode(stream, mask.shape[1], mask.shape[0]) == rle


@pytest.mark.parametrize("fill", [False, True])
def test_runs_longer_than_a_record_holds(fill: bool) -> None:
    mask = np.full((300, 400), fill)
    mask[150, 200] = not fill
    rle = rle_from_mask(mask)
    assert brush.encode(rle) == plain_encode(mask)
    assert brush.decode(brush.encode(rle), 400, 300) == rle


@given(masks, st.booleans(), st.sampled_from([(1, 2, 3, 4), (16, 9, 5, 2), (3, 4, 8, 16)]), st.sampled_from([8, 12]))
@settings(max_examples=100, deadline=None)
def test_streams_of_other_writers_are_read(
    mask: NDArray[np.bool_], literal: bool, sizes: tuple[int, ...], word: int
) -> None:
    channels = np.zeros((*mask.shape, 4), np.uint8)
    channels[..., :3] = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3))  # colour says nothing
    channels[..., 3] = np.where(mask, 129, 0)
    stream = written(channels, sizes, word, literal)
    assert np.array_equal(mask_from_rle(brush.decode(stream, mask.shape[1], mask.shape[0])), mask)


def test_the_servers_own_streams(shared: Path) -> None:
    tasks = json.loads((shared / "samples/label_studio/export_snapshot.json").read_text())
    streams = [
        region
        for task in tasks
        for answer in [*task["annotations"], *task["predictions"]]
        for region in answer["result"]
        if region["type"] == "brushlabels"
    ]
    assert len(streams) >= 9
    for region in streams:
        rle = brush.decode(region["value"]["rle"], 320, 200)
        assert brush.encode(rle) == region["value"]["rle"]
        ring = rle_area(rle) == 2504
        assert ring or rle_area(rle) == 2821
        assert rle_bounds(rle)[2:] == (61, 61)
    assert any(rle_area(brush.decode(r["value"]["rle"], 320, 200)) == 2504 for r in streams)


GOOD = plain_encode(np.eye(9, dtype=bool))


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        ([], "0 bytes"),
        (GOOD[:7], "7 bytes"),
        (GOOD[:20], "cut short"),
        ([*GOOD[:5], 300, *GOOD[5:]], "bytes"),
        (["a"], "bytes"),
        ("abc", "bytes"),
        ([-1, *GOOD], "bytes"),
        ([0, 0, 0, 8, *GOOD[4:]], "8 values; expected 9 x 9 x 4 = 324"),
        ([*GOOD[:-4], 255, 255, 255, 255, 255, 255], "values; expected 324"),
    ],
)
def test_a_broken_stream_is_refused(stream: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        brush.decode(stream, 9, 9)


def test_a_frame_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        brush.decode(GOOD, 10**6, 10**6)


@pytest.mark.benchmark
def test_time_goes_with_the_outline_not_with_the_area() -> None:
    rows, columns = np.ogrid[:1024, :2048]
    mask = np.zeros((1024, 2048), bool)
    for x, y, r in ((300, 300, 200), (900, 500, 300), (1500, 300, 150), (1700, 800, 180), (200, 800, 120)):
        mask |= (columns - x) ** 2 + (rows - y) ** 2 <= r * r
    rle = rle_from_mask(mask)
    stream = brush.encode(rle)
    begin = time.process_time()
    for _ in range(20):
        brush.encode(rle)
    ours = time.process_time() - begin
    begin = time.process_time()
    for _ in range(20):
        np.packbits(np.unpackbits(np.repeat(mask.ravel(), 4).astype(np.uint8)))  # what touching every pixel costs
    pixels = time.process_time() - begin
    assert ours < pixels
    begin = time.process_time()
    for _ in range(20):
        brush.decode(stream, 2048, 1024)
    assert time.process_time() - begin < pixels
