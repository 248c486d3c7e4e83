"""Near-duplicates: pairs against a plain loop, and pictures that are changed a little or are others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageDraw

from curate.build.near import Ints, cluster, clusters, hash_file, hash_picture, near_pairs
from curate.build.sides import components, gathered
from curate.dataset import from_records
from curate.errors import UsageError
from curate.model import Image, Info

WORDS = st.integers(0, 2**64 - 1)


@settings(max_examples=50, deadline=None)
@given(WORDS, st.lists(st.tuples(st.sets(st.integers(0, 63), max_size=8), st.sets(st.integers(0, 63), max_size=12))))
def test_pairs_against_a_loop(base: int, flips: list[tuple[set[int], set[int]]]) -> None:
    def turned(bits: set[int]) -> int:
        return base ^ sum(1 << bit for bit in bits)

    p = [turned(bits) for bits, _ in flips]
    d = [turned(bits) for _, bits in flips]
    a, b = near_pairs(np.array(p, np.uint64), np.array(d, np.uint64))
    found = {tuple(sorted(pair)) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    expected = {
        (i, j)
        for i in range(len(p))
        for j in range(i + 1, len(p))
        if (p[i] ^ p[j]).bit_count() <= 6 and (d[i] ^ d[j]).bit_count() <= 10
    }
    assert found == expected


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11))))
def test_components_against_sets(pairs: list[tuple[int, int]]) -> None:
    sets = {n: {n} for n in range(12)}
    for a, b in pairs:
        union = sets[a] | sets[b]
        for n in union:
            sets[n] = union
    a, b = (np.array(side, np.int64) for side in zip(*pairs, strict=True)) if pairs else (np.zeros(0, np.int64),) * 2
    assert components(12, a, b).tolist() == [min(sets[n]) for n in range(12)]


@given(st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)))))
def test_pairs_that_are_too_many_join_the_same_things(blocks: list[list[tuple[int, int]]]) -> None:
    def found() -> Iterator[tuple[Ints, Ints]]:
        for block in blocks:
            pairs = np.array(block, np.int64).reshape(-1, 2)
            yield pairs[:, 0], pairs[:, 1]

    every, few = gathered(12, found()), gathered(12, found(), most=0)
    assert len(every[0]) == sum(map(len, blocks))
    assert len(few[0]) <= 48 + max(map(len, blocks), default=0)
    assert components(12, *few).tolist() == components(12, *every).tolist()


def scene(seed: int) -> PilImage.Image:
    random = np.random.default_rng(seed)
    picture = PilImage.new("RGB", (320, 240), tuple(int(v) for v in random.integers(0, 255, 3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, w, h = (int(v) for v in random.integers(0, 240, 4))
        draw.rectangle((x, y, x + w // 2, y + h // 2), fill=tuple(int(v) for v in random.integers(0, 255, 3)))
    return picture


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    scene(1).save(tmp_path / "a.png")
    scene(1).save(tmp_path / "a.jpg", quality=60)
    scene(1).resize((200, 150)).save(tmp_path / "a_small.png")
    for seed in range(2, 12):
        scene(seed).save(tmp_path / f"{seed}.png")
    turned = scene(1).transpose(PilImage.Transpose.ROTATE_90)
    exif = PilImage.Exif()
    exif[0x0112] = 6  # to be turned right to be seen
    turned.save(tmp_path / "a_turned.jpg", exif=exif, quality=90)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_pictures(pictures: Path) -> None:
    names = sorted(path.name for path in pictures.iterdir())
    records = [Image(id=f"s/{name}", source="s", file_name=name) for name in names]
    records.append(Image(id="s/known by id", source="s"))
    data = from_records(Info(name="d", roots={"s": str(pictures)}), records)
    code = clusters(data)
    of = dict(zip(data.table("images")["id"].to_pylist(), code.tolist(), strict=True))
    alike = {of[f"s/{name}"] for name in ("a.png", "a.jpg", "a_small.png", "a_turned.jpg")}
    assert len(alike) == 1
    others = [of[f"s/{n}.png"] for n in range(2, 12)]
    assert len({*others, *alike}) == 11
    assert of["s/broken.png"] == of["s/known by id"] == -1
    assert clusters(data, jobs=2).tolist() == code.tolist()
    with pytest.raises(UsageError, match="source s: the folder of its images is not known; give --root s="):
        clusters(data.replace(info=Info(name="d")))


def test_the_bits_are_those_of_the_library(pictures: Path) -> None:
    with PilImage.open(pictures / "a.png") as picture:
        p, d = hash_picture(picture)
        assert f"{p:016x}" == str(imagehash.phash(picture))
        assert f"{d:016x}" == str(imagehash.dhash(picture))


def test_a_deep_grey_picture_is_hashed_by_what_is_seen_of_it(tmp_path: Path) -> None:
    """Greys of 16 bits, all of them below 4,096: bytes by clipping would be white all over."""
    grey = np.asarray(scene(3).convert("L"))
    PilImage.fromarray(1000 + grey.astype(np.uint16) * 12).save(tmp_path / "deep.png")
    PilImage.fromarray(grey).save(tmp_path / "plain.png")
    deep, plain = hash_file(tmp_path / "deep.png"), hash_file(tmp_path / "plain.png")
    assert deep and plain
    assert (deep[0] ^ plain[0]).bit_count() <= 6
    assert (deep[1] ^ plain[1]).bit_count() <= 10


def test_a_picture_that_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    assert hash_file(tmp_path / "gone.png") is None


def test_equal_hashes_without_end_are_one_cluster() -> None:
    p = np.full(100_000, 7, np.uint64)
    assert cluster(p, p).tolist() == [0] * 100_000


def test_a_name_that_leaves_its_root_is_not_opened(tmp_path: Path) -> None:
    """The file is there, and would be equal to the other; but it is none of the dataset's."""
    (tmp_path / "root").mkdir()
    for file in (tmp_path / "outside.png", tmp_path / "root" / "a.png"):
        scene(1).save(file)
    records = [
        Image(id="s/a", source="s", file_name="a.png"),
        Image(id="s/b", source="s", file_name="../outside.png"),
    ]
    dataset = from_records(Info(name="d", roots={"s": str(tmp_path / "root")}), records)
    assert clusters(dataset).tolist() == [0, -1]


@pytest.mark.timeout(60)
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert hash_file(tmp_path / "pipe.png") is None
    (tmp_path / "folder.png").mkdir()
    assert hash_file(tmp_path / "folder.png") is None


def test_roots_that_are_given_must_be_there(tmp_path: Path) -> None:
    dataset = from_records(Info(name="d"), [Image(id="s/a", source="s", file_name="a.png")])
    with pytest.raises(UsageError, match=r"--root s=.*gone: is no folder; expected the folder of the source's images"):
        clusters(dataset, roots={"s": str(tmp_path / "gone")})
    with pytest.raises(UsageError, match=r"--root t=.*: no image is of this source; expected s$"):
        clusters(dataset, roots={"s": str(tmp_path), "t": str(tmp_path)})
    assert clusters(dataset, roots={"s": str(tmp_path)}).tolist() == [-1]
