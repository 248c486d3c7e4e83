"""Files of ``torch.save`` that hold plain values, written and read without torch.

The container is a zip archive of stored members: ``NAME/data.pkl`` (a pickle), ``NAME/version`` and ``NAME/byteorder``.
:func:`save` writes dictionaries, lists, tuples, text, numbers, booleans and None, byte for byte the same for equal
values; torch loads the file with ``weights_only=True``. :func:`load` reads foreign files; what the pickle in them may
contain, and why it can run nothing, is said in ``curate.plain_pickle``.
"""

from __future__ import annotations

import io
import pickle
import stat
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

from curate.errors import SourceError
from curate.plain_pickle import Loaded, unpickle

MAX_BYTES = 1 << 31  # of data.pkl

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def save(value: Any, stream: IO[bytes]) -> None:
    """Write ``value`` as ``torch.save`` would, with fixed times and names.

    The pickle has no memo, so that its bytes depend on the values alone and not on which equal objects happen to be one
    object. ``value`` must be a tree of plain values.
    """
    body = io.BytesIO()
    pickler = pickle.Pickler(body, protocol=2)
    pickler.fast = True
    pickler.dump(value)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (("data.pkl", body.getbuffer()), ("byteorder", b"little"), ("version", b"3\n")):
            member = zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0))
            member.create_system = 0
            archive.writestr(member, data)


def load(path: Path) -> Loaded:
    """Read the plain values in ``path``.

    Raises:
        SourceError: there is no such file, it is no zip archive of torch or a damaged one, it asks for anything but
            plain values and numpy scalars (A01), or its structure is shared, too deep or too large (A02).
    """
    return unpickle(read_pickle(path), path)


def read_pickle(path: Path) -> bytes:
    """The bytes of ``data.pkl`` in the archive ``path``.

    Raises:
        SourceError: there is no such file, or it is no zip archive of torch or a damaged one.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "is a folder" if path.is_dir() else "is not a regular file"
            raise SourceError(path, kind, "expected a file of torch.save")
        with path.open("rb") as stream:
            return _from_archive(path, stream)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(path, "no such file", "expected a file of torch.save") from None


def _from_archive(path: Path, stream: IO[bytes]) -> bytes:
    if not zipfile.is_zipfile(stream):
        stream.seek(0)
        raise _not_a_zip(path, stream.read(64))
    stream.seek(0)
    try:
        with zipfile.ZipFile(stream) as archive:
            return _member(path, archive)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise SourceError(path, f"zip archive is damaged ({error})", hint="make or download it again") from error


def _not_a_zip(path: Path, head: bytes) -> SourceError:
    expected, hint = "expected a file of torch.save", ""
    if not head:
        found = "file is empty"
    elif head.startswith(b"PK"):
        found, hint = "zip archive is cut short", "make or download it again"
    elif head.startswith(_LEGACY_MAGIC):
        found, hint = "is in torch's format before version 1.6", "load it and save it again with a later torch"
    elif head.startswith(b"version https://git-lfs"):
        found, hint = "is a Git LFS pointer", "fetch the real file with 'git lfs pull'"
    elif head.startswith(b"\x80"):
        found, hint = "is a bare pickle", "save it with torch.save"
    else:
        found = "is no zip archive"
    return SourceError(path, found, expected, hint)


def _member(path: Path, archive: zipfile.ZipFile) -> bytes:
    members = [m for m in archive.infolist() if m.filename.split("/")[1:] == ["data.pkl"]]
    if len(members) != 1:
        raise SourceError(path, f"zip archive with {len(members)} members NAME/data.pkl", "expected one, as torch.save")
    (member,) = members
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise SourceError(path, f"{member.filename} is compressed", "expected it stored, as torch.save does")
    if member.flag_bits & 1:
        raise SourceError(path, f"{member.filename} is encrypted", "expected it stored, as torch.save does")
    if member.file_size > MAX_BYTES:
        raise SourceError(path, f"{member.filename} has {member.file_size} bytes", f"expected at most {MAX_BYTES}")
    with archive.open(member) as stream:
        data = stream.read(member.file_size)
    if len(data) != member.file_size:
        raise SourceError(path, f"{member.filename} is cut short", hint="make or download it again")
    return data
