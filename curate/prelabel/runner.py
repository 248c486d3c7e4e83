"""Pre-labels in bulk: shards of images, each one file, so that a run killed at any time goes on where it was.

The work folder holds ``shards/NNNNNN.parquet`` (rows of the table annotations), ``manifest.jsonl`` (a line per
finished shard: its key, the file's hash, what went wrong) and ``timings.jsonl``. A shard's key is a hash over
everything that its rows depend on: the boxes, the segmenter's identity, the clean-up, the version of these rules. A
shard whose line has the same key and whose file still has the noted hash is not done again. What is put together from
the shards at the end does not depend on how many processes made them, nor on how often they were killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from curate.atomic import atomic_file
from curate.dataset import Dataset, arrow_schema, json_text, plain, positions, table_of
from curate.engine import map_chunks
from curate.errors import CurateError, SourceError, UsageError, printable
from curate.geometry import clip_box
from curate.model import Annotation, Command, Finding, finding
from curate.prelabel.cleanup import SHARE, Cleaned, clean
from curate.prelabel.prompts import Mask, Picture, Prompts, Segmenter
from curate.prelabel.reading import read_picture
from curate.prelabel.rows import Wanted, row_of
from curate.prelabel.segmenters import open_segmenter

RULES = 1  # raised when the same input gives other rows
SHARD = 500  # images
_AHEAD, _READERS = 4, 2  # pictures decoded ahead of the model, and threads that do it

Progress = Callable[[int, int], object]


class Task(NamedTuple):
    """One image with the boxes to segment in it."""

    image_id: str
    path: str | None
    size: tuple[int | None, int | None]
    wanted: tuple[Wanted, ...]
    problem: str | None = None  # why its picture cannot be found


class Work(NamedTuple):
    """How to do a shard, the same for all: small, and safe to send to another process."""

    folder: str
    segmenter: str
    checkpoint: str | None
    kind: str | None
    device: str
    options: tuple[tuple[str, Any], ...]
    identity: str  # canonical JSON
    share: float  # of the clean-up
    threads: int | None  # torch threads of this process


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


class Outcome(NamedTuple):
    """A dataset with the new rows, what went wrong, and what was measured."""

    dataset: Dataset
    masks: int
    done_before: int  # shards found finished
    problems: list[Finding]
    timings: list[Timing]


def select(
    dataset: Dataset,
    *,
    classes: Sequence[str] = (),
    sources: Sequence[str] = (),
    without_mask: bool = False,
    roots: Mapping[str, str] | None = None,
) -> list[Task]:
    """The images with boxes to segment, by id: those of these classes and sources.

    Crowds, ignore regions and the rows of earlier runs are passed over.

    Raises:
        UsageError: a class or source is not there.
    """
    table, images = dataset.table("annotations"), dataset.table("images")
    _known("class", classes, table["category"])
    _known("source", sources, images["source"])
    keep = pc.and_(pc.is_valid(table["x"]), pc.invert(pc.or_(table["iscrowd"], table["ignore"])))
    # What an earlier run drew is nothing to begin from.
    keep = pc.and_not(keep, pc.fill_null(pc.match_substring(table["attributes"], '"prelabel"'), False))
    if classes:
        keep = pc.and_(keep, pc.fill_null(pc.is_in(plain(table["category"]), value_set=pa.array(classes)), False))
    if without_mask:
        keep = pc.and_(keep, pc.is_null(table["segmentation"]))
    columns = ["id", "image_id", "x", "y", "w", "h", "category", "source_label", "instance"]
    rows = table.select(columns).filter(keep)
    place = positions(rows["image_id"], images["id"])
    wanted: dict[int, list[Wanted]] = {}
    for at, row in zip(place.tolist(), rows.to_pylist(), strict=True):
        if at >= 0:
            box = (row["x"], row["y"], row["w"], row["h"])
            found = Wanted(row["id"], box, row["category"], row["source_label"], row["instance"])
            wanted.setdefault(at, []).append(found)
    folders = {**dataset.info.roots, **(roots or {})}
    chosen = images.select(["id", "source", "file_name", "width", "height"]).take(pa.array(sorted(wanted), pa.int64()))
    tasks = []
    for at, row in zip(sorted(wanted), chosen.to_pylist(), strict=True):
        if sources and row["source"] not in sources:
            continue
        path, problem = _path(row, folders)
        boxes = tuple(sorted(wanted[at]))
        tasks.append(Task(row["id"], path, (row["width"], row["height"]), boxes, problem))
    return sorted(tasks)


def _known(what: str, names: Sequence[str], column: pa.ChunkedArray) -> None:
    there = set(pc.unique(plain(column)).to_pylist()) - {None}
    for name in names:
        if name not in there:
            some = ", ".join(sorted(there)[:8])
            raise UsageError(f"{what} {name!r}", "is not in the dataset", f"expected one of {some}")


def _path(row: Mapping[str, Any], folders: Mapping[str, str]) -> tuple[str | None, str | None]:
    name, root = row["file_name"], folders.get(row["source"])
    if name is None:
        return None, "no file is named"
    if root is None:
        return None, f"no folder is known for {row['source']}; give --root {row['source']}=FOLDER"
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts:
        return None, "file name leaves its root"
    return str(Path(root, *parts)), None


def run(
    dataset: Dataset,
    tasks: Sequence[Task],
    folder: Path,
    segmenter: str,
    *,
    checkpoint: Path | None = None,
    kind: str | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    share: float = SHARE,
    shard: int = SHARD,
    jobs: int = 1,
    threads: int | None = None,
    prove: Callable[[Segmenter], object] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Segment ``tasks`` with the work folder ``folder``, and add the rows to ``dataset``.

    Args:
        options: of the segmenter, see :func:`curate.prelabel.segmenters.open_segmenter`.
        share: of the clean-up, see :mod:`curate.prelabel.cleanup`.
        shard: images per shard.
        jobs: local processes, each with a model of its own.
        threads: of torch, per process; None is one for several processes and for ``tiny-test``, which more would make
            twenty times slower, else torch's own choice.
        prove: called with the segmenter before any work.
        progress: told how many images are done, of how many.

    Raises:
        CurateError: the segmenter cannot work, another run uses the folder, or a worker process died.
    """
    opened = open_segmenter(segmenter, checkpoint=checkpoint, kind=kind, device=device, **(options or {}))
    identity = opened.identity()
    if threads is None and (jobs > 1 or identity.get("kind") == "tiny-test"):
        threads = 1
    _set_threads(segmenter, threads)
    if prove is not None:
        prove(opened)
    work = Work(
        str(folder.resolve()),
        segmenter,
        None if checkpoint is None else str(checkpoint.resolve()),
        kind,
        device,
        tuple(sorted((options or {}).items())),
        json_text(identity),
        share,
        threads,
    )
    shards = [_shard(work, number, part) for number, part in enumerate(_parts(tasks, shard))]
    with _alone(folder):
        finished = {one.shard: one for one in _finished(folder, shards)}
        missing = [one for one in shards if one.number not in finished]
        total, done = len(tasks), sum(line.images for line in finished.values())
        if progress:
            progress(done, total)
        if jobs <= 1:
            _OPEN[work] = opened  # this process has it already
        try:
            for line, timing in map_chunks(partial(_do, work), missing, jobs=jobs, chunk=1):
                _append(folder / "manifest.jsonl", line)
                _append(folder / "timings.jsonl", timing)
                finished[line.shard] = line
                done += line.images
                if progress:
                    progress(done, total)
        finally:
            _OPEN.clear()
        lines = [finished[one.number] for one in shards]
        tables = [pq.read_table(_file(folder, line.shard), schema=arrow_schema("annotations")) for line in lines]
        timings = _timings(folder, {line.shard for line in lines})
    rows = pa.concat_tables(tables) if tables else table_of("annotations", [])
    problems = [one for line in lines for one in line.problems]
    return Outcome(
        _with_rows(dataset, rows, problems, work, tasks), rows.num_rows, len(shards) - len(missing), problems, timings
    )


def _parts(tasks: Sequence[Task], size: int) -> Iterator[tuple[Task, ...]]:
    rest = iter(tasks)
    while part := tuple(islice(rest, size)):
        yield part


def _shard(work: Work, number: int, tasks: tuple[Task, ...]) -> Shard:
    """A shard with the hash of all that its rows depend on; the place of the pictures is no part of it."""
    what = [
        RULES,
        work.identity,
        work.share,
        [(task.image_id, task.size, task.problem is not None, task.wanted) for task in tasks],
    ]
    text = msgspec.json.encode(what, enc_hook=repr)
    return Shard(number, hashlib.sha256(text).hexdigest(), tasks)


def _file(folder: Path, number: int) -> Path:
    return folder / "shards" / f"{number:06d}.parquet"


def _finished(folder: Path, shards: Sequence[Shard]) -> Iterator[Line]:
    """The lines of shards that need not be done again; a line that was cut short is passed over."""
    wanted = {one.number: one.key for one in shards}
    found: dict[int, Line] = {}
    for text in _lines(folder / "manifest.jsonl"):
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:
            continue
        if wanted.get(line.shard) == line.key:
            found[line.shard] = line
    for line in found.values():
        try:
            if hashlib.sha256(_file(folder, line.shard).read_bytes()).hexdigest() == line.sha256:
                yield line
        except OSError:
            continue


def _lines(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _timings(folder: Path, shards: set[int]) -> list[Timing]:
    found: dict[int, Timing] = {}
    for text in _lines(folder / "timings.jsonl"):
        try:
            timing = msgspec.json.decode(text, type=Timing)
        except msgspec.DecodeError:
            continue
        if timing.shard in shards:
            found[timing.shard] = timing
    return [found[number] for number in sorted(found)]


def _append(file: Path, line: Struct) -> None:
    """One line more, on the disk before anything else happens. A line cut short by a kill is ended first."""
    with file.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(msgspec.json.encode(line, order="deterministic") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the work folder, which must be ours or new.

    Raises:
        UsageError: another run holds it, or it is something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(folder, "is a file", "expected a folder for work in progress")
    if folder.exists() and any(folder.iterdir()) and not (folder / "lock").exists():
        raise UsageError(folder, "exists and is no work folder of curate prelabel", hint="name another place")
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(folder, "is in use by another run", hint="wait for it, or name another output") from None
        yield


# ---------------------------------------------------------------------------------------------- what a worker does

_OPEN: dict[Work, Segmenter] = {}  # of this process: a model is loaded once


def _segmenter(work: Work) -> Segmenter:
    if work not in _OPEN:
        _set_threads(work.segmenter, work.threads)
        checkpoint = None if work.checkpoint is None else Path(work.checkpoint)
        opened = open_segmenter(
            work.segmenter, checkpoint=checkpoint, kind=work.kind, device=work.device, **dict(work.options)
        )
        if json_text(opened.identity()) != work.identity:
            raise CurateError(f"segmenter {work.segmenter}", "changed while the run was going on", hint="run again")
        _OPEN[work] = opened
    return _OPEN[work]


def _set_threads(segmenter: str, threads: int | None) -> None:
    if segmenter == "sam" and threads is not None:
        import torch

        torch.set_num_threads(threads)


def _do(work: Work, shards: Sequence[Shard]) -> tuple[Line, Timing]:
    (shard,) = shards
    rows, problems, timing = do_shard(_segmenter(work), shard, work.share)
    stream = io.BytesIO()
    pq.write_table(table_of("annotations", rows), stream, compression="zstd")
    content = stream.getvalue()
    with atomic_file(_file(Path(work.folder), shard.number), overwrite=True) as file:
        file.write(content)
    digest = hashlib.sha256(content).hexdigest()
    return Line(shard.number, shard.key, digest, len(shard.tasks), len(rows), problems), timing


def do_shard(segmenter: Segmenter, shard: Shard, share: float) -> tuple[list[Annotation], list[Finding], Timing]:
    """The rows of a shard. A picture that fails is a finding, and the others go on."""
    rows: list[Annotation] = []
    problems: list[Finding] = []
    seconds = {"wait for pictures": 0.0, "masks": 0.0, "rows": 0.0}
    identity = segmenter.identity()
    boxes = 0
    for task, picture in _pictures(shard.tasks):
        begin = time.perf_counter()
        try:
            pixels = picture()
        except CurateError as error:
            code = "I01" if error.found == "no such file" else "I02" if error.found.startswith("picture is") else "I04"
            problems.append(finding(code, error.where, f"{error.found}; no masks", item=task.image_id))
            continue
        seconds["wait for pictures"] += time.perf_counter() - begin
        prompts, sound = _prompts(task, pixels, problems)
        boxes += len(sound)
        begin = time.perf_counter()
        for wanted, mask in zip(sound, _masks(segmenter, pixels, prompts), strict=True):
            seconds["masks"] += time.perf_counter() - begin
            begin = time.perf_counter()
            # An ellipse is one part without holes; and it shall work without OpenCV.
            plain_shape = segmenter.name == "ellipse" or not share
            cleaned = Cleaned(mask.pixels, 1, 0, 0) if plain_shape else clean(mask.pixels, share)
            row = row_of(task.image_id, wanted, mask, cleaned, identity)
            if row is None:
                problems.append(finding("M09", wanted.parent, "mask is empty; left out", item=wanted.parent))
            else:
                rows.append(row)
            seconds["rows"] += time.perf_counter() - begin
            begin = time.perf_counter()
    timing = Timing(shard.number, len(shard.tasks), boxes, {name: round(value, 6) for name, value in seconds.items()})
    return rows, problems, timing


def _masks(segmenter: Segmenter, pixels: Picture, prompts: Prompts) -> Iterator[Mask]:
    yield from segmenter.segment(pixels, prompts)


def _pictures(tasks: Sequence[Task]) -> Iterator[tuple[Task, Callable[[], Picture]]]:
    """The tasks in order with their pictures, of which a few are decoded ahead."""
    with ThreadPoolExecutor(_READERS) as readers:
        waiting: list[tuple[Task, Future[Picture]]] = []
        rest = iter(tasks)
        for task in islice(rest, _AHEAD):
            waiting.append((task, readers.submit(_read, task)))
        while waiting:
            task, picture = waiting.pop(0)
            yield task, picture.result
            for more in islice(rest, 1):
                waiting.append((more, readers.submit(_read, more)))


def _read(task: Task) -> Picture:
    if task.path is None:
        raise SourceError(task.image_id, task.problem or "no file is named")
    return read_picture(Path(task.path), task.size)


def _prompts(task: Task, picture: Picture, problems: list[Finding]) -> tuple[Prompts, list[Wanted]]:
    """The boxes clipped to the picture; those that are none are findings."""
    height, width = picture.shape[:2]
    sound, boxes = [], []
    for wanted in task.wanted:
        if not all(np.isfinite(wanted.box)):
            problems.append(finding("B01", wanted.parent, f"box {list(wanted.box)}; no mask", item=wanted.parent))
            continue
        box = clip_box(wanted.box, width, height)
        if box[2] <= 0 or box[3] <= 0:
            outside = wanted.box[2] > 0 and wanted.box[3] > 0
            shown = [round(value, 3) for value in wanted.box]
            message = f"box {shown} {'lies outside the picture' if outside else 'has no area'}; no mask"
            problems.append(
                finding("B05" if outside else "B03", wanted.parent, message, item=wanted.parent, severity="warning")
            )
            continue
        sound.append(wanted)
        boxes.append(box)
    return Prompts(boxes=np.array(boxes, np.float64).reshape(-1, 4)), sound


# ------------------------------------------------------------------------------------------------- what comes of it


def _with_rows(
    dataset: Dataset, rows: pa.Table, problems: Sequence[Finding], work: Work, tasks: Sequence[Task]
) -> Dataset:
    table = dataset.table("annotations")
    again = pc.is_in(rows["id"], value_set=table["id"].combine_chunks() if len(table) else pa.array([], pa.string()))
    if pc.any(again).as_py():
        name = rows["id"].filter(again)[0].as_py()
        found = f"has {pc.sum(again).as_py():,} rows of this segmenter already, as {printable(name)}"
        raise UsageError(dataset.info.name, found, hint="nothing is made twice: use the dataset without them")
    identity = json.loads(work.identity)
    command = Command(verb="prelabel", options={**identity, "share": work.share, "images": len(tasks)})
    info = dataset.child(f"{dataset.info.name}-{work.segmenter}", command=command)
    return dataset.replace(info=info, problems=list(problems), annotations=pa.concat_tables([table, rows]))
