"""Pre-labels in bulk: shards of images, each one file, so that a run killed at any time goes on where it was.

The work folder holds ``shards/NNNNNN.parquet`` (rows of the table annotations), ``manifest.jsonl`` (a line per
finished shard: its key, the file's hash, what went wrong) and ``timings.jsonl``. A shard's key is a hash over
everything that its rows depend on: the boxes, size and time of the pictures' files, the segmenter's identity, the
clean-up, the version of these rules. A shard whose line has the same key and whose file still has the noted hash is
not done again. What is put together from the shards at the end does not depend on how many processes made them, nor on
how often they were killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from curate.columns import plain
from curate.dataset import Dataset, arrow_schema, json_text, table_of
from curate.engine import map_chunks, map_jobs
from curate.errors import UsageError, printable
from curate.model import Category, Command, Finding
from curate.prelabel.cleanup import SHARE
from curate.prelabel.detectors import check_options
from curate.prelabel.ledger import Ledger, do_job
from curate.prelabel.prompts import Segmenter
from curate.prelabel.shards import OPEN, Line, Shard, Timing, Work, do, open_tools, set_threads, shard_file
from curate.prelabel.tasks import Task

RULES = 2  # raised when the same input gives other rows
SHARD = 500  # images

Progress = Callable[[int, int], object]


class Outcome(NamedTuple):
    """A dataset with the new rows, what went wrong, and what was measured."""

    dataset: Dataset
    masks: int
    done_before: int  # shards found finished
    problems: list[Finding]
    timings: list[Timing]


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
    detector: str = "source",
    detector_options: Mapping[str, Any] | None = None,
    share: float = SHARE,
    shard: int = SHARD,
    jobs: int = 1,
    threads: int | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    prove: Callable[[Segmenter], object] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Segment ``tasks`` with the work folder ``folder``, and add the rows to ``dataset``.

    Args:
        options: of the segmenter, see :func:`curate.prelabel.segmenters.open_segmenter`.
        detector, detector_options: where the boxes come from, see :func:`curate.prelabel.detectors.open_detector`;
            ``source`` takes those of ``tasks``.
        share: of the clean-up, see :mod:`curate.prelabel.cleanup`.
        shard: images per shard.
        jobs: local processes or Ray actors, each with a model of its own; 1 and ``local`` is this process. Of several,
            one that dies is replaced, and an image that they die of is a finding (``curate.prelabel.ledger``).
        threads: of torch, per process; None is one for several processes and for ``tiny-test``, which more would make
            twenty times slower, else torch's own choice.
        engine: ``ray`` works with actors of a cluster that sees ``folder`` and the pictures under the same paths.
        ray_address: of the cluster; None starts one on this machine.
        prove: called with the segmenter before any work.
        progress: told how many images are done, of how many.

    Raises:
        CurateError: the segmenter cannot work, another run uses the folder, or worker processes die again and again.
    """
    several = jobs > 1 or engine == "ray"
    work = Work(
        folder=str(folder.resolve()),
        segmenter=segmenter,
        checkpoint=None if checkpoint is None else str(checkpoint.resolve()),
        kind=kind,
        device=device,
        options=tuple(sorted((options or {}).items())),
        detector=detector,
        detector_options=_checked(detector, detector_options or {}),
        identity="",
        share=share,
        threads=1 if threads is None and several else threads,
    )
    opened = open_tools(work)
    identity = opened.identity()
    if threads is None and identity.get("kind") == "tiny-test":
        work = work._replace(threads=1)
    work = work._replace(identity=json_text(identity))
    set_threads(work)
    if prove is not None:
        prove(opened.segmenter)
    shards = [_shard(work, number, part) for number, part in enumerate(_parts(tasks, shard))]
    if not several:
        OPEN[work] = opened  # this process has it already
    del opened
    try:
        with _alone(folder):
            lines, before = _done(work, shards, partial(_mapped, work, jobs, engine, ray_address), progress)
            rows, timings = _rows(folder, lines), _timings(folder, {line.shard for line in lines})
    finally:
        OPEN.clear()
    problems = [one for line in lines for one in line.problems]
    return Outcome(_with_rows(dataset, rows, problems, work, tasks), rows.num_rows, before, problems, timings)


def _checked(detector: str, options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The options of a detector that were given, such that they can be compared and sent to other processes."""
    given = {key: value for key, value in options.items() if value is not None}
    check_options(detector, list(given))
    if "weights" in given:
        given["weights"] = str(Path(given["weights"]).resolve())
    if "texts" in given:
        given["texts"] = tuple(given["texts"])
    return tuple(sorted(given.items()))


def _done(
    work: Work,
    shards: Sequence[Shard],
    mapped: Callable[[Sequence[Shard]], Iterator[tuple[Line, Timing]]],
    progress: Progress | None,
) -> tuple[list[Line], int]:
    """The lines of all shards, in order, after doing those that were not; and how many were done before."""
    folder = Path(work.folder)
    finished = {line.shard: line for line in _finished(folder, shards)}
    missing = [one for one in shards if one.number not in finished]
    total, done = sum(len(one.tasks) for one in shards), sum(line.images for line in finished.values())
    if progress:
        progress(done, total)
    for line, timing in mapped(missing):
        _append(folder / "manifest.jsonl", line)
        _append(folder / "timings.jsonl", timing)
        finished[line.shard] = line
        done += line.images
        if progress:
            progress(done, total)
    return [finished[one.number] for one in shards], len(shards) - len(missing)


def _rows(folder: Path, lines: Sequence[Line]) -> pa.Table:
    """The rows of all shards, one after the other."""
    schema = arrow_schema("annotations")
    files = [shard_file(folder, line.shard) for line in lines]
    tables = [pq.read_table(file, schema=schema, pre_buffer=False) for file in files]
    return pa.concat_tables(tables) if tables else table_of("annotations", [])


def _mapped(
    work: Work, jobs: int, engine: str, ray_address: str | None, shards: Sequence[Shard]
) -> Iterator[tuple[Line, Timing]]:
    """What came of the shards, as it comes."""
    if engine == "ray":
        from curate.prelabel.ray_actors import map_shards

        return map_shards(work, shards, actors=jobs, address=ray_address)
    if jobs > 1:
        return _wanted(map_jobs(partial(do_job, work), Ledger(shards), workers=min(jobs, len(shards))))
    return map_chunks(partial(do, work), shards, chunk=1)


def _wanted(lines: Iterator[tuple[Line, Timing] | None]) -> Iterator[tuple[Line, Timing]]:
    return (line for line in lines if line is not None)


def _parts(tasks: Sequence[Task], size: int) -> Iterator[tuple[Task, ...]]:
    rest = iter(tasks)
    while part := tuple(islice(rest, size)):
        yield part


def _shard(work: Work, number: int, tasks: tuple[Task, ...]) -> Shard:
    """A shard with the hash of all that its rows depend on; the place of the pictures is no part of it."""
    pictures = [(task.image_id, task.size, task.problem is not None, _stamp(task), task.wanted) for task in tasks]
    what = [RULES, work.identity, work.share, pictures]
    text = msgspec.json.encode(what, enc_hook=repr)
    return Shard(number, hashlib.sha256(text).hexdigest(), tasks)


def _stamp(task: Task) -> tuple[int, int] | None:
    """Size and time of a picture's file: one that was mended, exchanged or found since is to be looked at again."""
    if task.path is None:
        return None
    try:
        status = Path(task.path).stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


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
            if hashlib.sha256(shard_file(folder, line.shard).read_bytes()).hexdigest() == line.sha256:
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
    ours = {"lock", "manifest.jsonl", "shards", "timings.jsonl"}
    if folder.exists() and not {entry.name for entry in folder.iterdir()} <= ours:
        raise UsageError(folder, "exists and is no work folder of curate prelabel", hint="name another place")
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(folder, "is in use by another run", hint="wait for it, or name another output") from None
        yield


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
    new = {"annotations": pa.concat_tables([table, rows])}
    known = set(dataset.table("categories")["name"].to_pylist())
    named = sorted(set(pc.unique(plain(rows["category"])).to_pylist()) - known - {None})
    if named and work.detector != "source":  # what it was asked for by name becomes a class
        more = table_of("categories", [Category(name=name) for name in named])
        new["categories"] = pa.concat_tables([dataset.table("categories"), more])
    return dataset.replace(info=info, problems=list(problems), **new)
