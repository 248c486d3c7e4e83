"""Opening files from elsewhere: a name may belong to a folder or a pipe, and reading a pipe would wait for ever.

Plain system calls: an import opens two files per image, and Python's own file objects make twice as many calls.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from curate.errors import SourceError

# A pipe that nobody writes to is opened at once, and then refused; for a regular file the flag means nothing.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path, expected: str = "expected a file") -> tuple[int, int]:
    """A descriptor of ``path``, for the caller to close, and the file's size in bytes.

    Raises:
        SourceError: it is no regular file; ``expected`` says what should be there.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a zero byte in the name
        raise OSError(str(error)) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status.st_size
    os.close(descriptor)
    raise SourceError(path, "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file", expected)


def read_regular(path: Path, expected: str = "expected a file") -> bytes:
    """The content of a file.

    Raises:
        SourceError: as :func:`open_regular`.
        OSError: it cannot be read.
    """
    descriptor, size = open_regular(path, expected)
    try:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return data
        # It grew meanwhile, or is larger than one call reads.
        parts = [data]
        while data:
            data = os.read(descriptor, 1 << 26)
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(descriptor)
