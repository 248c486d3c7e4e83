"""Whether something is still what it was: marks of files, folders, raw downloads and of curate itself.

An output and a small file are read: their mark is of their content. A raw download may be terabytes: its mark is of the
names, sizes and times of change of all its files, which takes seconds for a million of them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

_OURS = (".py", ".csv", ".tsv", ".html", ".pt")


def of_texts(texts: Iterable[str]) -> str:
    """SHA-256 over texts, in their order."""
    sum_ = hashlib.sha256()
    for text in texts:
        sum_.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return sum_.hexdigest()


def of_output(path: Path) -> str | None:
    """Of the content of a file, or of a folder with all that is below it; None if nothing is there."""
    if path.is_symlink() or path.is_file():
        return _of_file(path)
    if not path.is_dir():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_symlink() or not file.is_dir())
    return of_texts(part for file in files for part in (file.relative_to(path).as_posix(), _of_file(file)))


def _of_file(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_input(path: Path) -> str:
    """Of a file by its content, of a folder as :func:`of_root`."""
    return of_root(path) if path.is_dir() else _of_file(path)


def of_root(root: Path) -> str:
    """Of a raw download: of where it lies, and of the names, sizes and times of change of its files.

    Links to folders are followed, each folder once, whatever the order in which the file system names them.

    Raises:
        OSError: a folder cannot be read.
    """
    return of_texts([str(root), *sorted(_files(root, "", set()))])


def _files(folder: Path, below: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        in_order = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))  # a link after what it leads to
    for entry in in_order:
        name = f"{below}{entry.name}"
        try:
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{name}/", seen)
                continue
            status = entry.stat()
            yield f"{name}\0{status.st_size} {status.st_mtime_ns}"
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):  # a link to nothing, or to itself
                raise
            yield f"{name}\0absent"


@cache
def of_code() -> str:
    """Of curate as it is installed: its version, and all its files."""
    folder = Path(__file__).parents[1]
    files = sorted(file for file in folder.rglob("*") if file.suffix in _OURS and file.is_file())
    parts = (part for file in files for part in (file.relative_to(folder).as_posix(), _of_file(file)))
    return f"{version('curate')} {of_texts(parts)[:16]}"
