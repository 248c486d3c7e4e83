"""Many masks at once agree with pycocotools and with the one-by-one functions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from curate import runlengths
from curate.geometry import check_rle, rle_counts, rle_from_mask
from curate.model import Rle

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
masks = st.lists(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))), max_size=6)


def large(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


@given(masks=masks)
def test_decode_and_encode_agree_with_pycocotools(masks: list[np.ndarray]) -> None:
    texts = [coco_mask.encode(np.asfortranarray(mask))["counts"].decode() for mask in masks]
    runs, offsets, good = runlengths.decode(large(texts))
    assert good.all() and len(good) == len(masks)
    for i, mask in enumerate(masks):
        mine = runs[offsets[i] : offsets[i + 1]]
        assert (np.repeat(np.arange(len(mine)) % 2, mine) == mask.ravel(order="F")).all()
    assert runlengths.encode(runs, offsets).to_pylist() == texts


@given(lists=st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8), max_size=5))
def test_encode_agrees_with_pycocotools_on_any_runs(lists: list[list[int]]) -> None:
    runs = np.array([run for listed in lists for run in listed], np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(listed) for listed in lists])]).astype(np.int64)
    found = runlengths.encode(runs, offsets).to_pylist()
    for listed, text in zip(lists, found, strict=True):
        assert rle_counts(Rle((1, 1), text)) == listed


@given(texts=st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12), max_size=6))
def test_faults_agree_with_the_check_of_one(texts: list[str]) -> None:
    sizes = np.full(len(texts), 4, np.int64)
    found = dict(runlengths.faults(*runlengths.decode(large(texts)), sizes, sizes))
    for i, text in enumerate(texts):
        alone = check_rle(Rle((4, 4), text))
        assert (i in found) == (alone is not None), (text, alone, found.get(i))


def test_slices_and_chunks() -> None:
    rng = np.random.default_rng(0)
    texts = [rle_from_mask(rng.random((30, 40)) < 0.4).counts for _ in range(400)]
    array = pa.chunked_array([large(texts[:100]), large(texts[100:])])
    runs, offsets, good = runlengths.decode(array.slice(50, 300))
    assert good.all() and len(offsets) == 301
    for i in (0, 1, 150, 299):
        assert runs[offsets[i] : offsets[i + 1]].tolist() == rle_counts(Rle((30, 40), texts[50 + i]))


def test_empty() -> None:
    runs, offsets, good = runlengths.decode(large([]))
    assert len(runs) == 0 and offsets.tolist() == [0] and len(good) == 0
    assert runlengths.encode(runs, offsets).to_pylist() == []
