"""Where the pictures of a dataset lie, and bringing them into a tree by link or copy."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from curate.errors import SchemaError, UsageError
from curate.pictures import below

LINK, COPY, NONE = "link", "copy", "none"


def check_how(how: str, *, expected: tuple[str, ...] = (LINK, COPY, NONE)) -> None:
    """
    Raises:
        UsageError: ``how`` is none of ``expected``.
    """
    if how not in expected:
        raise UsageError(f"--images {how}", "is unknown", f"expected one of {', '.join(expected)}")


def locate(id: str, source: str, file_name: str | None, roots: Mapping[str, str]) -> Path | None:
    """The file of an image; None where no folder or file is known, or none is there.

    Raises:
        SchemaError: the file name leads out of the folder.
    """
    if file_name is None or source not in roots:
        return None
    path = below(roots[source], file_name)
    if path is None:
        raise SchemaError(f"image {id}", f"file name {file_name!r} leaves its root", "expected a path below it")
    return path if path.is_file() else None


def place(picture: Path, target: Path, how: str) -> None:
    """Bring ``picture`` to ``target`` by a hard link or as a copy.

    Raises:
        UsageError: a link was asked for, and the two lie on different file systems.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == COPY:
        shutil.copyfile(picture, target)
        return
    try:
        os.link(picture.resolve(), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        hint = "give --images copy, or an output on the same file system"
        raise UsageError(picture, f"cannot be linked ({error.strerror})", hint=hint) from None
