"""A shard of pre-labels: what a worker does with it, in whatever process it lives.

A worker opens the model once, decodes pictures a few ahead of it, and encodes each mask as it comes. It writes the
shard's file under a temporary name, renames it, and answers with the line for the manifest: masks never travel.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from curate.atomic import atomic_file
from curate.dataset import json_text, table_of
from curate.errors import CurateError, SourceError
from curate.geometry import clip_box
from curate.model import Annotation, Finding, finding
from curate.prelabel.automatic import Automatic
from curate.prelabel.cleanup import Cleaned, clean
from curate.prelabel.detectors import open_detector
from curate.prelabel.prompts import Detections, Detector, Mask, Picture, Prompts, Segmenter
from curate.prelabel.reading import read_picture
from curate.prelabel.rows import Wanted, row_of, suffix
from curate.prelabel.segmenters import open_segmenter
from curate.prelabel.tasks import Task

_AHEAD, _READERS = 4, 2  # pictures decoded ahead of the model, and threads that do it
_BATCH = 5000  # rows held as objects, which take three times the memory of a table


class Work(NamedTuple):
    """How to do a shard, the same for all: small, and safe to send to another process."""

    folder: str
    segmenter: str
    checkpoint: str | None
    kind: str | None
    device: str
    options: tuple[tuple[str, Any], ...]
    detector: str
    detector_options: tuple[tuple[str, Any], ...]
    identity: str  # of detector and segmenter, canonical JSON
    share: float  # of the clean-up
    threads: int | None  # torch threads of this process


class Tools(NamedTuple):
    """What a worker holds open."""

    segmenter: Segmenter
    detector: Detector | Automatic | None  # None: the dataset's own boxes

    def identity(self) -> dict[str, Any]:
        """What the rows depend on, JSON values."""
        facts = self.segmenter.identity()
        return facts if self.detector is None else facts | {"detector": self.detector.identity()}


class Shard(NamedTuple):
    number: int
    key: str
    tasks: tuple[Task, ...]


class Line(Struct, frozen=True):
    """A finished shard, as the manifest has it."""

    shard: int
    key: str
    sha256: str
    images: int
    rows: int
    problems: list[Finding]


class Timing(Struct, frozen=True):
    """Seconds of one shard by stage; apart from the manifest, since they differ from run to run."""

    shard: int
    images: int
    boxes: int
    seconds: dict[str, float]


OPEN: dict[Work, Tools] = {}  # of this process: a model is loaded once


def open_tools(work: Work) -> Tools:
    """Detector and segmenter of ``work``.

    Raises:
        CurateError: as :func:`curate.prelabel.segmenters.open_segmenter` and
            :func:`curate.prelabel.detectors.open_detector` say.
    """
    checkpoint = None if work.checkpoint is None else Path(work.checkpoint)
    set_threads(work)
    segmenter = open_segmenter(
        work.segmenter, checkpoint=checkpoint, kind=work.kind, device=work.device, **dict(work.options)
    )
    return Tools(segmenter, open_detector(work.detector, segmenter, device=work.device, **dict(work.detector_options)))


def tools_of(work: Work) -> Tools:
    """What this process holds open for ``work``; opened if it is the first time."""
    if work not in OPEN:
        opened = open_tools(work)
        if json_text(opened.identity()) != work.identity:
            raise CurateError(f"segmenter {work.segmenter}", "changed while the run was going on", hint="run again")
        OPEN[work] = opened
    return OPEN[work]


def set_threads(work: Work) -> None:
    """Give torch the threads that ``work`` says, where torch is used."""
    if work.threads is not None and (work.segmenter == "sam" or work.detector != "source"):
        import torch

        torch.set_num_threads(work.threads)


def do(work: Work, shards: Sequence[Shard]) -> tuple[Line, Timing]:
    """Do the one shard given, and write its file."""
    (shard,) = shards
    rows, problems, timing = do_shard(tools_of(work), shard, work.share)
    stream = io.BytesIO()
    pq.write_table(rows, stream, compression="zstd")
    content = stream.getvalue()
    with atomic_file(shard_file(Path(work.folder), shard.number), overwrite=True, of_any_kind=True) as file:
        file.write(content)
    digest = hashlib.sha256(content).hexdigest()
    return Line(shard.number, shard.key, digest, len(shard.tasks), rows.num_rows, problems), timing


def shard_file(folder: Path, number: int) -> Path:
    """Where the rows of a shard lie."""
    return folder / "shards" / f"{number:06d}.parquet"


class _Clock:
    """Seconds by stage: each call of :meth:`note` ends a stage that began with the call before."""

    def __init__(self, *stages: str) -> None:
        self.seconds = dict.fromkeys(stages, 0.0)
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now


def do_shard(tools: Tools, shard: Shard, share: float) -> tuple[pa.Table, list[Finding], Timing]:
    """The rows of a shard, a table of annotations. A picture that fails is a finding, and the others go on."""
    parts: list[pa.Table] = []
    rows: list[Annotation] = []
    problems: list[Finding] = []
    clock = _Clock("wait for pictures", "masks", "rows")
    identity = tools.identity()
    boxes = 0
    with closing(_pictures(shard.tasks)) as pictures:
        for task, picture in pictures:
            try:
                pixels = picture()
            except CurateError as error:
                problems.append(finding(_code(error), error.where, f"{error.found}; no masks", item=task.image_id))
                continue
            clock.note("wait for pictures")
            for wanted, mask in _objects(tools, task, pixels, problems):
                boxes += 1
                clock.note("masks")
                row = row_of(task.image_id, wanted, mask, _cleaned(tools, mask, share), identity)
                if row is None:
                    item = wanted.parent or task.image_id
                    problems.append(finding("M09", item, "mask is empty; left out", item=item))
                else:
                    rows.append(row)
                if len(rows) == _BATCH:
                    parts.append(table_of("annotations", rows))
                    rows.clear()
                clock.note("rows")
    parts.append(table_of("annotations", rows))
    clock.note("rows")
    seconds = {stage: round(value, 6) for stage, value in clock.seconds.items()}
    return (
        pa.concat_tables(parts).unify_dictionaries(),
        problems,
        Timing(shard.number, len(shard.tasks), boxes, seconds),
    )


def _cleaned(tools: Tools, mask: Mask, share: float) -> Cleaned:
    """The mask after clean-up. An ellipse is one part without holes; and without clean-up nothing needs OpenCV."""
    if tools.segmenter.name == "ellipse":
        return Cleaned(mask.pixels, 1, 0, 0)
    return clean(mask.pixels, share) if share else Cleaned(mask.pixels, None, 0, 0)


def _objects(tools: Tools, task: Task, picture: Picture, problems: list[Finding]) -> Iterator[tuple[Wanted, Mask]]:
    """The masks of a picture, each with what its row takes over."""
    detector = tools.detector
    if isinstance(detector, Automatic):
        for number, (mask, point) in enumerate(detector.everything(picture)):
            yield _new(task, number, tools, point=point), mask
        return
    if detector is not None:
        known = Detections(np.zeros((0, 4)), np.zeros(0), [], [])
        found = detector.detect(picture, known)
        wanted = [
            _new(task, number, tools, box=tuple(box), category=label, score=score)
            for number, (box, score, label) in enumerate(
                zip(found.boxes.tolist(), found.scores.tolist(), found.labels, strict=True)
            )
        ]
        task = task._replace(wanted=tuple(wanted))
    prompts, sound = _prompts(task, picture, problems)
    yield from zip(sound, tools.segmenter.segment(picture, prompts), strict=True)


def _new(
    task: Task,
    number: int,
    tools: Tools,
    *,
    box: Any = None,
    point: tuple[float, float] | None = None,
    category: str | None = None,
    score: float | None = None,
) -> Wanted:
    """An object that no annotation has: it is numbered within its image."""
    name = f"{task.image_id}#{suffix(tools.identity())}-{number:04d}"
    return Wanted(None, box, category, category, None, point=point, score=score, name=name)


def _pictures(tasks: Sequence[Task]) -> Generator[tuple[Task, Callable[[], Picture]], None, None]:
    """The tasks in order with their pictures, of which a few are decoded ahead."""
    readers = ThreadPoolExecutor(_READERS)
    try:
        waiting: list[tuple[Task, Future[Picture]]] = []
        rest = iter(tasks)
        for task in islice(rest, _AHEAD):
            waiting.append((task, readers.submit(_read, task)))
        while waiting:
            task, picture = waiting.pop(0)
            yield task, picture.result
            for more in islice(rest, 1):
                waiting.append((more, readers.submit(_read, more)))
    finally:
        readers.shutdown(cancel_futures=True)  # what was not begun: an interrupt need not wait for it


def _code(error: CurateError) -> str:
    """The code of a picture that cannot be had, as ``verify`` gives it: missing, of another size, too large, broken."""
    missing = ("no such file", "is a folder", "is not a regular file")
    begins = {"I01": missing, "I02": ("picture is ",), "I03": ("picture of ", "Image size ")}
    return next((code for code, texts in begins.items() if error.found.startswith(texts)), "I04")


def _read(task: Task) -> Picture:
    if task.path is None:
        raise SourceError(task.image_id, task.problem or "no file is named")
    return read_picture(Path(task.path), task.size)


def _prompts(task: Task, picture: Picture, problems: list[Finding]) -> tuple[Prompts, list[Wanted]]:
    """The boxes clipped to the picture; those that are none are findings."""
    height, width = picture.shape[:2]
    sound, boxes = [], []
    for wanted in task.wanted:
        name = wanted.parent or wanted.name
        if wanted.box is None:
            continue
        if not all(np.isfinite(wanted.box)):
            problems.append(finding("B01", name, f"box {list(wanted.box)}; no mask", item=name))
            continue
        box = clip_box(wanted.box, width, height)
        if box[2] <= 0 or box[3] <= 0:
            outside = wanted.box[2] > 0 and wanted.box[3] > 0
            shown = [round(value, 3) for value in wanted.box]
            message = f"box {shown} {'lies outside the picture' if outside else 'has no area'}; no mask"
            problems.append(finding("B05" if outside else "B03", name, message, item=name, severity="warning"))
            continue
        sound.append(wanted)
        boxes.append(box)
    return Prompts(boxes=np.array(boxes, np.float64).reshape(-1, 4)), sound
