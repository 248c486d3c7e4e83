"""Outputs that appear whole or not at all.

A file or folder is written under a temporary name beside its place and renamed at the end, so that a killed command
leaves the old state or the new one. What a killed run left behind is cleared away by the next run of the same output.
A symbolic link is followed: what it points to is replaced. POSIX only (``flock``, ``rename``).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from curate.errors import UsageError

# What flock says on file systems that cannot lock a folder (NFS): there, two writers at once are not noticed.
_NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def atomic_file(
    path: Path, mode: str = "wb", *, overwrite: bool = False, of_any_kind: bool = False
) -> Iterator[IO[Any]]:
    """Open ``path`` for writing; it appears, or is replaced, when the block ends without an error.

    A file of another kind than what was written is not replaced, since it is none of ours; but with ``of_any_kind``,
    for files that no user names, it is taken for a damaged one.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is false, is a folder, or a file of another kind.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(path, "is a folder", "expected the name of a file to write")
    if path.exists() and not overwrite:
        raise _exists(path)
    given, path = path, path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    with _naming(given, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial, partial.touch):
            try:
                with partial.open(mode, encoding=None if "b" in mode else "utf-8") as stream:
                    yield stream
                    stream.flush()
                    os.fsync(stream.fileno())
                if not of_any_kind and path.exists() and _kind(path) not in {"nothing", _kind(partial)}:
                    raise _not_ours(given)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        _sync(path.parent)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Give an empty folder to write into; it becomes ``path`` when the block ends without an error.

    An existing folder is replaced only with ``overwrite`` and if ``ours`` recognises it as an earlier output, so that a
    mistyped name never deletes anything else.

    Raises:
        UsageError: ``path`` exists and may not be replaced, or another process is writing it.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite, ours=ours)
    given, path = path, path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    with _naming(given, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial, partial.mkdir) as lock:
            try:
                yield partial
                for file in sorted(partial.rglob("*")):
                    _sync(file)
                _sync(partial)
                replaced = _put_in_place(partial, path)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            if replaced is not None:
                _clear(*replaced, lock)
        _sync(path.parent)


@contextmanager
def _naming(given: Path, partial: Path) -> Iterator[None]:
    """Let errors of the system name the output as the user typed it, not the temporary name or none at all."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(partial)):
            error.filename = str(given)
        raise


def check_output(path: Path, *, overwrite: bool, ours: Callable[[Path], bool]) -> None:
    """Refuse an output folder before any work is done for it.

    Raises:
        UsageError: as :func:`atomic_folder`.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise _exists(path)
    if not path.is_dir() or (any(path.iterdir()) and not ours(path)):
        raise _not_ours(path)


def _kind(file: Path) -> str:
    """What a file is, by its first bytes."""
    with file.open("rb") as stream:
        head = stream.read(64).lstrip().lower()
    if not head:
        return "nothing"
    if head[:1] in b"{[":
        return "json"
    if head.startswith((b"<!doctype html", b"<html")):
        return "html"
    # Binary formats begin with bytes that no text has, but for these.
    binary = b"\0" in head or head[:1] >= b"\x7f" or head.startswith((b"pk\x03", b"par1", b"gif8", b"%pdf"))
    return head[:4].hex() if binary else "text"


def _not_ours(path: Path) -> UsageError:
    hint = "--overwrite replaces only what the same command wrote; name another place, or remove it yourself"
    return UsageError(path, "exists and is no output of this command", hint=hint)


def _exists(path: Path) -> UsageError:
    return UsageError(path, "already exists", hint="give --overwrite to replace it, or name another place")


@contextmanager
def _locked(partial: Path, make: Callable[..., object]) -> Iterator[int]:
    """Make ``partial`` and hold a lock on it that a dying process gives back; clear what an earlier one left there.

    Only who holds the lock of what stands at ``partial`` removes or renames it.

    ``make`` makes an empty file or folder and takes ``exist_ok``.
    """
    with suppress(FileNotFoundError):
        handle = _lock(partial)
        try:
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()
        finally:
            os.close(handle)
    try:
        make(exist_ok=False)
        handle = _lock(partial)
    except (FileExistsError, FileNotFoundError):  # another process came between
        raise _busy(partial) from None
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(partial: Path) -> int:
    handle = os.open(partial, os.O_RDONLY)
    held = False
    try:
        with suppress(BlockingIOError, FileNotFoundError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            # Another process may have put its own in the place of what was opened.
            held = os.path.samestat(os.fstat(handle), partial.stat())
        if not held:
            raise _busy(partial)
        return handle
    finally:
        if not held:
            os.close(handle)


def _busy(partial: Path) -> UsageError:
    return UsageError(partial, "another process is writing this output", hint="wait for it, or name another place")


def _put_in_place(partial: Path, path: Path) -> tuple[Path, int] | None:
    """Rename ``partial`` to ``path``; give the name that the folder replaced has now, and a handle that locks it."""
    if not path.exists():
        partial.rename(path)
        return None
    # Locked before it gets the temporary name: another writer would take it there for what a killed run had left,
    # and clear it at the same time as this one.
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(BlockingIOError):  # somebody else's lock on an output does not stop us
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        if _exchange(partial, path):
            return partial, handle
        # Kernels and file systems without RENAME_EXCHANGE.
        old = path.with_name(f".{path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        partial.rename(path)
    except BaseException:
        os.close(handle)
        raise
    return old, handle


def _clear(old: Path, handle: int, lock: int) -> None:
    """Remove a folder that was replaced; ``handle`` locks it, ``lock`` what stands in its place."""
    try:
        # The next writer can begin when ``old`` is gone, and will lock what stands in its place.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        os.close(handle)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step (Linux ``renameat2`` with ``RENAME_EXCHANGE``); false where that is not to be had."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_fdcwd, rename_exchange = -100, 2
    return bool(renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), rename_exchange) == 0)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
