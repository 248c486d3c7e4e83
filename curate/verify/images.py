"""I: image files: there, of the size that the record states, whole, and what their names say.

Levels: ``quick`` opens each file and reads its header and end, ``full`` also compares its hash with the record,
``deep`` also decodes every pixel (``load()``: Pillow's ``verify()`` passes JPEGs that are cut in half).
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PilImage

from curate.engine import map_chunks
from curate.errors import SourceError
from curate.headers import HEAD, plain_header
from curate.model import Finding, finding
from curate.pictures import END_MARKERS, MAX_PIXELS, Header, read_header
from curate.verify.paths import is_address, path_fault, suspects
from curate.verify.report import Level
from curate.verify.subject import Subject
from curate.verify.text import other_kind

CODES = ("I01", "I02", "I03", "I04", "I05", "I06", "I07", "I09")
# A pipe under a picture's name must not be waited for.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_FORMATS = {
    ".jpg": {"JPEG", "MPO"},
    ".jpeg": {"JPEG", "MPO"},
    ".png": {"PNG"},
    ".webp": {"WEBP"},
    ".bmp": {"BMP"},
    ".gif": {"GIF"},
    ".tif": {"TIFF"},
    ".tiff": {"TIFF"},
}


class _Task(NamedTuple):
    """One file to look at, and the row of its record."""

    row: int
    root: str
    name: str
    width: float
    height: float
    sha256: str | None


class _Seen(NamedTuple):
    """What is wrong with a file, before it is said where its record stands."""

    row: int
    code: str
    message: str
    hint: str | None


def record_sizes(subject: Subject) -> Iterator[Finding]:
    """I03 in the record: a size of zero or less, or beyond the limit."""
    width, height = subject.numbers("images", "width"), subject.numbers("images", "height")
    bad = (width <= 0) | (height <= 0) | (width * height > MAX_PIXELS)
    for row in np.flatnonzero(bad).tolist():
        text = f"record says {width[row]:g} x {height[row]:g} px; expected 1 to {MAX_PIXELS:,} px"
        yield finding("I03", subject.place("images", row, "width"), text, item=subject.item("images", row))


def files(
    subject: Subject, level: Level, *, jobs: int = 1, progress: Callable[[int, int], object] | None = None
) -> Iterator[Finding]:
    """I01 to I07 and I09: look at every image file whose root is known, in parallel with ``jobs`` > 1."""
    tasks = _tasks(subject)
    done = 0
    for found in map_chunks(partial(_look_at, level), tasks, jobs=jobs, chunk=128):
        for one in found:
            place, item = subject.place("images", one.row, "file_name"), subject.item("images", one.row)
            yield finding(one.code, place, one.message, item=item, hint=one.hint)
        done += 128
        if progress:
            progress(min(done, len(tasks)), len(tasks))


def _tasks(subject: Subject) -> list[_Task]:
    names = subject.column("images", "file_name")
    suspect = suspects(names)
    columns = (subject.column("images", name).to_pylist() for name in ("source", "file_name", "sha256"))
    sides = (subject.numbers("images", name).tolist() for name in ("width", "height"))
    roots = {source: str(root) for source, root in subject.roots.items()}
    absolute = subject.kind == "anns_pt"
    tasks = []
    for row, (source, name, sha256, width, height) in enumerate(zip(*columns, *sides, strict=True)):
        root = roots.get(source)
        if root is not None and name and (row not in suspect or _may_open(name, absolute=absolute)):
            tasks.append(_Task(row, root, name, width, height, sha256))
    return tasks


def _may_open(name: str, *, absolute: bool) -> bool:
    """Whether a name is that of a file below the root, or an ``absolute`` one, as upstream's anns.pt has them."""
    if is_address(name):
        return False
    fault = path_fault(name)
    return fault is None or (absolute and fault.startswith("is absolute;"))


def _look_at(level: Level, tasks: Sequence[_Task]) -> list[_Seen]:
    listings: dict[Path, dict[str, str]] = {}
    slow = [
        task for task in tasks if not (level == "quick" or (level == "full" and not task.sha256)) or not _plain(task)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and odd EXIF: both are findings here
        return [one for task in slow for one in _check(task, level, listings)]


def _plain(task: _Task) -> bool:
    """Whether a file is an everyday PNG or JPEG, whole and as its record and name say; five system calls.

    Whatever is not, is looked at by :func:`_check`, which says what it is.
    """
    try:
        descriptor = os.open(f"{task.root}/{task.name}", _FLAGS)
    except (OSError, ValueError):
        return False
    try:
        status = os.fstat(descriptor)
        head = os.read(descriptor, HEAD) if stat.S_ISREG(status.st_mode) else b""
        plain = plain_header(head)
        if plain is None or plain.width != task.width or plain.height != task.height:
            return False
        marker = END_MARKERS[plain.format]
        start = status.st_size - len(marker)
        if start < plain.begin or plain.width * plain.height > MAX_PIXELS:
            return False
        end = head[start:] if status.st_size == len(head) else os.pread(descriptor, len(marker), start)
    finally:
        os.close(descriptor)
    formats = _FORMATS.get(f".{task.name.rpartition('.')[2].lower()}")
    return end == marker and (formats is None or plain.format in formats)


def _check(task: _Task, level: Level, listings: dict[Path, dict[str, str]]) -> Iterator[_Seen]:
    path = Path(task.root, task.name)

    def found(code: str, message: str, hint: str | None = None) -> _Seen:
        return _Seen(task.row, code, message, hint)

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            yield found("I01", f"{path} is not a regular file; expected a picture")
            return
        with path.open("rb") as stream:
            head = stream.read(64)
    except (FileNotFoundError, NotADirectoryError):
        yield found("I01", f"{path} is missing", _twin(task, listings))
        return
    except (OSError, ValueError) as error:
        text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        yield found("I01", f"{path} cannot be read: {text}")
        return
    other = other_kind(head) if status.st_size else ("empty", "download or unpack it again")
    if other:
        yield found("I07", f"{path} is {other[0]}; expected a picture", other[1])
        return
    header: Header | None = None
    try:
        header = read_header(path)
    except SourceError as error:
        too_large = _too_large(path)
        if too_large:
            yield found("I03", f"{path} {too_large}; expected 1 to {MAX_PIXELS:,} px")
        else:
            yield found("I04", f"{path}: {error.found}", error.hint or None)
    if header is not None:
        yield from _compare(task, header, path, found)
    if level != "quick" and task.sha256:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != task.sha256:
            text = f"{path} has SHA-256 {digest[:12]}...; expected {task.sha256[:12]}... as recorded"
            yield found("I09", text, "the file was changed or exchanged since the import")
    if level == "deep" and header is not None:
        fault = decode_fault(path)
        if fault:
            yield found("I04", f"{path} does not decode: {fault}", "download or unpack it again")


def _compare(task: _Task, header: Header, path: Path, found: Callable[..., _Seen]) -> Iterator[_Seen]:
    size = float(header.width), float(header.height)
    stated = task.width, task.height
    if size != stated and not np.isnan(stated).any():
        hint = "width and height are exchanged" if size[::-1] == stated else None
        if hint and header.orientation in (5, 6, 7, 8):
            hint = f"the record has the size as turned by EXIF orientation {header.orientation}; boxes do not turn"
        text = f"record says {stated[0]:g} x {stated[1]:g} px, {path} is {size[0]:g} x {size[1]:g}"
        yield found("I02", text, hint)
    formats = _FORMATS.get(path.suffix.lower())
    if formats and header.format not in formats:
        yield found("I05", f"{path} is a {header.format} file; expected what its name says")
    elif header.mode == "CMYK":
        yield found("I05", f"{path} is stored as CMYK; expected RGB or grey")
    if header.orientation not in (None, 1):
        text = f"{path} has EXIF orientation {header.orientation}; boxes are taken in the stored, unturned frame"
        yield found("I06", text)


def _twin(task: _Task, listings: dict[Path, dict[str, str]]) -> str | None:
    """A hint at a file whose path is the same but for case or Unicode form."""
    name = real_name(Path(task.root), task.name, listings)
    return name and f"{name!a} is there: other case or Unicode form"


def real_name(root: Path, name: str, listings: dict[Path, dict[str, str]]) -> str | None:
    """The path below ``root`` that is ``name`` but for case or Unicode form; ``listings`` is kept between calls."""
    folder, real = root, []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if folder not in listings:
            try:
                listings[folder] = {_folded(entry.name): entry.name for entry in os.scandir(folder)}
            except OSError:
                listings[folder] = {}
        there = part if (folder / part).exists() else listings[folder].get(_folded(part))
        if there is None:
            return None
        real.append(there)
        folder = folder / there
    return "/".join(real)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _too_large(path: Path) -> str | None:
    """What is wrong with the picture's size, if that is why its header was refused."""
    try:
        with PilImage.open(path) as picture:
            width, height = picture.size
    except PilImage.DecompressionBombError as error:
        return str(error).split(",", 1)[0].replace("Image size", "has a size of")
    except (OSError, SyntaxError, ValueError):
        return None
    return None if 0 < width * height <= MAX_PIXELS else f"is {width} x {height} px"


def decode_fault(path: Path) -> str | None:
    """Decode every pixel; what went wrong, or None."""
    try:
        with PilImage.open(path) as picture:
            picture.load()
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        return str(error) or type(error).__name__
    return None
