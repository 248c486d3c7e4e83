from __future__ import annotations

import os
from pathlib import Path

import pytest

from curate.errors import SourceError
from curate.regular import open_regular, read_regular


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_a_file_is_read_whole(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    descriptor, told = open_regular(tmp_path / "file")
    os.close(descriptor)
    assert told == size
    assert read_regular(tmp_path / "file") == data


def test_a_file_that_comes_in_pieces_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call may give less than was asked for, and a file may have grown since its size was taken."""
    data = os.urandom(1000)
    (tmp_path / "file").write_bytes(data)
    read = os.read
    monkeypatch.setattr("curate.regular.os.read", lambda descriptor, count: read(descriptor, min(count, 300)))
    assert read_regular(tmp_path / "file") == data


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    opened = _descriptors()
    with pytest.raises(SourceError, match=r"pipe: is not a regular file; expected a picture"):
        read_regular(tmp_path / "pipe", "expected a picture")
    with pytest.raises(SourceError, match="is a folder"):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nothing")
    with pytest.raises(OSError, match="null"):
        read_regular(Path("a\0b"))
    assert _descriptors() == opened


def _descriptors() -> int:
    """How many files this process has open; 0 where the system does not say."""
    known = Path("/proc/self/fd")
    return len(list(known.iterdir())) if known.is_dir() else 0
