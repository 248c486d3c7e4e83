"""Near-duplicate pictures, by two perceptual hashes of 64 bits each, as the library ImageHash takes them.

* pHash: the picture as 32 x 32 greys, its cosine transform, the 8 x 8 lowest frequencies against their median;
* dHash: the picture as 9 x 8 greys, each against its right neighbour.

Two pictures are near-duplicates if their pHashes differ in at most 6 bits and their dHashes in at most 10. Candidates
are found by seven bands of the pHash: two that differ in 6 bits are equal in one of the bands. That is exact; its time
grows with the square of the pictures, by 7 / 512 comparisons of a pair: 424,000 take some 8 s of one core, a million
half a minute. Pictures are turned as EXIF says first. No processor changes which bits are compared, though a decoder
that rounds otherwise may turn single bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageOps

from curate import engine
from curate.build.sides import components, gathered
from curate.columns import plain
from curate.dataset import Dataset
from curate.errors import SourceError, UsageError
from curate.pictures import below, grey_bytes
from curate.regular import open_regular

Hashes = NDArray[np.uint64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MOST_P, MOST_D = 6, 10  # bits
_BANDS = (9, 9, 9, 9, 9, 9, 10)
_BLOCK = 1 << 22  # pairs that are compared at once: 32 MiB
_DRAFT = 64  # px: twice what the pHash looks at


def clusters(dataset: Dataset, *, roots: Mapping[str, str] | None = None, jobs: int = 1) -> Ints:
    """For each image a number that it shares with its near-duplicates, and theirs; -1 where no picture can be read.

    Args:
        roots: the folders of sources' images, where they are not those of the dataset.

    Raises:
        UsageError: the folder of a source's images is not known; one of ``roots`` is no folder, or of no source.
    """
    images, paths = dataset.table("images"), []
    sources = sorted(pc.unique(plain(images["source"])).to_pylist())
    for source, root in (roots or {}).items():
        if source not in sources:
            raise UsageError(f"--root {source}={root}", "no image is of this source", f"expected {', '.join(sources)}")
        if not Path(root).is_dir():
            raise UsageError(f"--root {source}={root}", "is no folder", "expected the folder of the source's images")
    known_roots = {**dataset.info.roots, **(roots or {})}
    for source, name in zip(images["source"].to_pylist(), images["file_name"].to_pylist(), strict=True):
        if name is not None and source not in known_roots:
            raise UsageError(f"source {source}", "the folder of its images is not known", hint=f"give --root {source}=")
        path = None if name is None else below(known_roots[source], name)
        paths.append(None if path is None else str(path))
    parts = list(engine.map_chunks(_hash_all, paths, jobs=jobs, chunk=64))
    code = np.full(len(paths), -1)
    if parts:
        p, d, known = (np.concatenate([part[at] for part in parts]) for at in range(3))
        code[known] = cluster(p[known], d[known])
    return code


def cluster(p: Hashes, d: Hashes) -> Ints:
    """For each pair of hashes a number that near-duplicates share."""
    pairs, number = np.unique(np.stack([p, d], axis=1), axis=0, return_inverse=True)
    a, b = near_pairs(pairs[:, 0], pairs[:, 1])
    return components(len(pairs), a, b)[number.reshape(-1)]


def near_pairs(p: Hashes, d: Hashes) -> tuple[Ints, Ints]:
    """Pairs of places that are near-duplicates (``sides.gathered``); a pair may be named several times."""
    return gathered(len(p), _found(p, d))


def _found(p: Hashes, d: Hashes) -> Iterator[tuple[Ints, Ints]]:
    shift = 0
    for width in _BANDS:
        band = (p >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        shift += width
        order = np.argsort(band, kind="stable")
        bounds = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, bounds):
            if len(bucket) < 2:
                continue
            step = max(1, _BLOCK // len(bucket))
            for begin in range(0, len(bucket), step):
                rows = bucket[begin : begin + step]
                others = bucket[begin:]
                i, j = np.nonzero(np.bitwise_count(p[rows][:, None] ^ p[others][None, :]) <= MOST_P)
                later = j > i
                a, b = rows[i[later]], others[j[later]]
                confirmed = np.bitwise_count(d[a] ^ d[b]) <= MOST_D
                yield a[confirmed], b[confirmed]


def _hash_all(paths: Sequence[str | None]) -> tuple[Hashes, Hashes, Bools]:
    found = [hash_file(Path(path)) if path else None for path in paths]
    p, d = (np.array([0 if one is None else one[at] for one in found], np.uint64) for at in (0, 1))
    return p, d, np.array([one is not None for one in found])


def hash_file(path: Path) -> tuple[int, int] | None:
    """pHash and dHash of a picture; None where it cannot be read."""
    try:
        descriptor, _ = open_regular(path)
        with os.fdopen(descriptor, "rb") as stream, PilImage.open(stream) as picture:
            picture.draft("L", (_DRAFT, _DRAFT))  # a JPEG is decoded at a fraction of its size
            return hash_picture(ImageOps.exif_transpose(picture))
    except (OSError, SourceError, SyntaxError, ValueError, PilImage.DecompressionBombError):
        return None


def hash_picture(picture: PilImage.Image) -> tuple[int, int]:
    """pHash and dHash of a picture as it is to be seen; the bits row after row, the first the highest.

    Needs ImageHash (the extra ``near``).
    """
    import imagehash

    deep = picture.mode.startswith(("I", "F"))
    grey = PilImage.fromarray(grey_bytes(picture)) if deep else picture.convert("L")
    p, d = imagehash.phash(grey), imagehash.dhash(grey)
    return int(str(p), 16), int(str(d), 16)
