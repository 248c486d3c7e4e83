"""Picture files and folders of pictures without any record of them, and what is to be seen of whole files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import pyarrow as pa

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.regular import open_regular
from curate.verify.report import encodable
from curate.verify.subject import Subject

SOURCE = "pictures"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
_READ = 1 << 20


def files_below(folder: Path) -> Iterator[str]:
    """The files below a folder, links to files among them, sorted; linked folders are not entered."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        below = os.path.relpath(top, folder)
        yield from (name if below == "." else f"{below}/{name}" for name in sorted(names))


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """A regular file to read from; an OSError too where it is something else, as a pipe, which is not waited for."""
    try:
        descriptor, _ = open_regular(path)
    except SourceError as error:
        raise OSError(errno.EINVAL, error.found) from error
    with os.fdopen(descriptor, "rb") as stream:
        yield stream


def load(path: Path) -> tuple[Subject | None, list[Finding]]:
    """A picture, or a folder with the pictures in it and below it, as a subject with one image to a file."""
    folder = path if path.is_dir() else path.parent
    found = files_below(path) if path.is_dir() else iter([path.name])
    names = [name for name in found if Path(name).suffix.lower() in SUFFIXES or name == path.name]
    if not names:
        return None, [finding("F09", path, f"holds no picture ({', '.join(SUFFIXES[:3])} ...)")]
    shown = pa.array(list(map(encodable, names)), pa.string())
    sources = pa.array([SOURCE] * len(names), pa.string())
    images = pa.table({"id": shown, "source": sources, "file_name": shown})

    def place(table: str, row: int, field: str) -> str:
        return encodable(str(folder / names[row]))

    return Subject("pictures", {"images": images}, place, roots={SOURCE: folder}), []


def equal_content(subject: Subject) -> Iterator[Finding]:
    """I08: files of equal content under several names. Only files of equal size are read."""
    by_size: dict[int, list[int]] = {}
    paths = dict(_paths(subject))
    for row, path in paths.items():
        try:
            by_size.setdefault(path.stat().st_size, []).append(row)
        except (OSError, ValueError):
            continue  # I01 says so
    groups: dict[str, list[int]] = {}
    for rows in by_size.values():
        for row in rows if len(rows) > 1 else ():
            groups.setdefault(_digest(paths[row]), []).append(row)
    for digest, rows in sorted(groups.items(), key=lambda group: group[1]):
        if digest and len(rows) > 1:
            names = [str(subject.item("images", row)) for row in rows]
            listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            text = f"{len(names)} files have one content (SHA-256): {listed}; expected one file to a picture"
            yield finding("I08", subject.place("images", rows[1], "file_name"), text, item=names[1])


def _paths(subject: Subject) -> Iterator[tuple[int, Path]]:
    sources = subject.column("images", "source").to_pylist()
    for row, name in enumerate(subject.column("images", "file_name").to_pylist()):
        root = subject.roots.get(sources[row])
        if root is not None and name and ".." not in name.split("/") and not name.startswith("/"):
            yield row, root / name


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with open_file(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
