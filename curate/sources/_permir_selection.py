"""The selection of PerMIR: which object and which three frames of a BURST video, and which frame is the query.

Pure but for reading BURST's annotation files. The rules are those of the programs of PDM, by their reading.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from curate import geometry
from curate.errors import SourceError
from curate.model import Rle
from curate.pictures import MAX_PIXELS
from curate.sources._files import read_json, shown

DROPPED_DATASETS = ("HACS", "AVA", "LaSOT")
FRAMES = 3
_APART = 15  # annotated frames that the others must be away from the largest by more than this
LEAST_SHARE = 0.005


class Label(Struct, frozen=True):
    """A class, of LVIS."""

    id: int
    name: str
    definition: str | None = msgspec.field(name="def", default=None)


class Segment(Struct, frozen=True):
    """The mask of a track in a frame; some of train were made by a program (``is_gt`` false)."""

    rle: str
    is_gt: bool = True
    score: float | None = None


class Video(Struct, frozen=True):
    """A sequence as BURST has it; ``segmentations`` are parallel to ``annotated_image_paths``."""

    seq_name: str
    dataset: str
    width: int
    height: int
    annotated_image_paths: list[str]
    track_category_ids: dict[str, int]
    segmentations: list[dict[str, Segment]]
    neg_category_ids: list[int] = []
    not_exhaustive_category_ids: list[int] = []


class _File(Struct, frozen=True):
    categories: list[Label]
    sequences: list[Video]


class Frame(NamedTuple):
    """One chosen frame with the masks of all its tracks."""

    path: str
    segments: dict[str, Segment]


class Choice(NamedTuple):
    """A video that PerMIR takes, or would if it were not broken; ``number`` is PDM's name for its folder."""

    number: int
    dataset: str
    name: str
    size: tuple[int, int]  # width, height
    track: str
    frames: list[Frame]  # the largest first
    query: int | None  # which of the frames is the query; None where the object is too small in one
    categories: dict[str, int]
    absent: list[int]
    not_exhaustive: list[int]
    error: SourceError | None


class Selection(NamedTuple):
    """What of one annotation file is taken, and why the other videos are not: reason by ``dataset/name``."""

    labels: dict[int, Label]
    choices: list[Choice]
    dropped: dict[str, str]


_DECODER = msgspec.json.Decoder(_File)


def select(path: Path) -> Selection:
    """The selection of one of BURST's files ``all_classes.json``; kept from one call to the next.

    Raises:
        SourceError: the file is no such JSON.
    """
    status = path.stat()
    return _select(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _select(path: Path, _time: int, _size: int) -> Selection:
    file = read_json(path, _DECODER)
    choices: list[Choice] = []
    dropped: dict[str, str] = {}
    number = -1
    for video in file.sequences:
        name = f"{video.dataset}/{video.seq_name}"
        if video.dataset in DROPPED_DATASETS:
            dropped[name] = f"PerMIR takes no videos of {video.dataset}"
            continue
        number += 1
        try:
            taken = _choose(video, f"{path}, sequence {shown(name)}")
        except SourceError as error:
            choices.append(_choice(number, video, "", [], None, error))
            continue
        if isinstance(taken, str):
            dropped[name] = taken
            continue
        track, indices = taken
        frames = [Frame(video.annotated_image_paths[i], video.segmentations[i]) for i in indices]
        size = (video.height, video.width)
        shares = [share(geometry.mask_from_rle(Rle(size, frame.segments[track].rle))) for frame in frames]
        query = None if min(shares) < LEAST_SHARE else int(np.argmax(shares))
        choices.append(_choice(number, video, track, frames, query, None))
    return Selection({label.id: label for label in file.categories}, choices, dropped)


def _choice(
    number: int, video: Video, track: str, frames: list[Frame], query: int | None, error: SourceError | None
) -> Choice:
    return Choice(
        number,
        video.dataset,
        video.seq_name,
        (video.width, video.height),
        track,
        frames,
        query,
        video.track_category_ids,
        video.neg_category_ids,
        video.not_exhaustive_category_ids,
        error,
    )


def _choose(video: Video, where: str) -> tuple[str, list[int]] | str:
    """The object and its frames, the largest first; or why the video is not taken."""
    if len(video.annotated_image_paths) != len(video.segmentations):
        found = f"{len(video.annotated_image_paths)} annotated frames and {len(video.segmentations)} segmentations"
        raise SourceError(where, found, "expected as many")
    if video.width <= 0 or video.height <= 0 or video.width * video.height > MAX_PIXELS:
        raise SourceError(where, f"frames of {video.width} x {video.height} px", f"expected 1 to {MAX_PIXELS} px")
    category = video.track_category_ids
    shared = {label for label, count in Counter(category.values()).items() if count > 1}
    seen: dict[str, list[tuple[int, float]]] = {}
    for i, segments in enumerate(video.segmentations):
        present = [track for track in segments if category.get(track) in shared]
        often = Counter(category[track] for track in present)
        for track in present:
            if often[category[track]] < 2:
                continue
            rle = Rle((video.height, video.width), segments[track].rle)
            wrong = geometry.check_rle(rle)
            if wrong:
                raise SourceError(f"{where}, segmentations[{i}], track {shown(track)}", wrong)
            _, _, w, h = geometry.rle_bounds(rle)
            if not w:
                return f"mask of track {shown(track)} is empty in frame {i}: PDM's program fails there"
            seen.setdefault(track, []).append((i, w * h / (video.width * video.height)))
    if not seen:
        return "no frame shows two objects of one class"
    track = max(seen, key=lambda name: len(seen[name]))
    by_size = [i for i, _ in sorted(seen[track], key=lambda frame: -frame[1])]
    far = [i for i in by_size[1:] if abs(i - by_size[0]) > _APART]
    if len(far) < FRAMES - 1:
        return f"{1 + len(far)} frames that are far enough apart; PerMIR needs {FRAMES}"
    return track, [by_size[0], *far[: FRAMES - 1]]


def share(mask: NDArray[np.uint8]) -> float:
    """Share of an object in PDM's crop: the centre square of the frame, moved sideways to where the object is.

    Before the crop is resized to 512 x 512, which may move the share by its rounding. ``mask`` is ``(height, width)``.
    """
    height, width = mask.shape
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return 0.0
    side = min(width, height)
    left, right = (width - side) / 2, (width + side) / 2
    low, high = int(columns[0]), int(columns[-1]) + 1
    if low < left:
        left, right = low, right - (left - low)
    if high > right:
        left, right = left + (high - right), high
    x, y = round(left), round((height - side) / 2)
    wide, tall = round(right) - x, round((height + side) / 2) - y
    inside = mask[max(y, 0) : y + tall, max(x, 0) : x + wide]
    return float(np.count_nonzero(inside)) / (wide * tall) if wide > 0 and tall > 0 else 0.0
