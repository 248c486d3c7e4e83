"""Outputs that appear whole or not at all, whatever interrupts their making."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.atomic import atomic_file, atomic_folder, check_output
from curate.errors import UsageError


def ours(path: Path) -> bool:
    return (path / "mark").exists()


def make(path: Path, content: str, *, overwrite: bool = False) -> None:
    with atomic_folder(path, overwrite=overwrite, ours=ours) as folder:
        (folder / "mark").write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.json"
    with atomic_file(target) as stream:
        stream.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["out.json"]


def test_a_text_file_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "t", "w") as stream:
        stream.write("größe")
    assert (tmp_path / "t").read_bytes() == "größe".encode()


def test_a_file_that_exists_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(UsageError, match="out: already exists; give --overwrite"), atomic_file(target):
        pass
    assert target.read_text() == "old"
    with atomic_file(target, overwrite=True) as stream:
        stream.write(b"new")
    assert target.read_text() == "new"
    with pytest.raises(UsageError, match="is a folder"), atomic_file(tmp_path, overwrite=True):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out").write_text("old")
    with pytest.raises(error), atomic_file(tmp_path / "out", overwrite=True) as stream:
        stream.write(b"half")
        raise error
    assert (tmp_path / "out").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a" / "out", ours=ours) as folder:
        (folder / "mark").write_text("1")
        (folder / "sub").mkdir()
        (folder / "sub" / "x").write_text("2")
        assert not (tmp_path / "a" / "out").exists()
    assert names(tmp_path / "a") == ["out"]
    assert (tmp_path / "a" / "out" / "sub" / "x").read_text() == "2"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    make(tmp_path / "out", "old")
    with pytest.raises(error), atomic_folder(tmp_path / "out", overwrite=True, ours=ours) as folder:
        (folder / "mark").write_text("half")
        raise error
    assert (tmp_path / "out" / "mark").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out" / "left over").write_text("x")
    make(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path / "out") == ["mark"]
    assert (tmp_path / "out" / "mark").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_only_our_own_output_is_ever_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter 1").write_text("years of work")
    with pytest.raises(UsageError, match="thesis: exists and is no output of this command"):
        make(thesis, "x", overwrite=True)
    with pytest.raises(UsageError, match="is no output of this command"):
        check_output(thesis / "chapter 1", overwrite=True, ours=ours)
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError, match="dangling: already exists"):
        make(tmp_path / "dangling", "x")
    assert (thesis / "chapter 1").read_text() == "years of work"
    assert names(tmp_path) == ["dangling", "thesis"]


def test_an_empty_folder_may_be_filled_with_overwrite_only(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        make(tmp_path / "out", "x")
    make(tmp_path / "out", "x", overwrite=True)
    assert (tmp_path / "out" / "mark").read_text() == "x"


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "half").write_text("x")
    make(tmp_path / "out", "new")
    (tmp_path / ".file.partial").write_text("half")
    with atomic_file(tmp_path / "file") as stream:
        stream.write(b"new")
    assert names(tmp_path) == ["file", "out"]
    assert names(tmp_path / "out") == ["mark"]


def test_two_writers_of_one_output_do_not_mix(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out", ours=ours) as folder:
        (folder / "mark").write_text("first")
        with pytest.raises(UsageError, match="another process is writing this output; wait for it"):
            make(tmp_path / "out", "second")
        assert (folder / "mark").read_text() == "first"
    with atomic_file(tmp_path / "file") as stream:
        stream.write(b"first")
        with pytest.raises(UsageError, match="another process is writing"), atomic_file(tmp_path / "file"):
            pass
    assert (tmp_path / "out" / "mark").read_text() == "first"
    assert (tmp_path / "file").read_text() == "first"


WRITER = """
import os, sys
from pathlib import Path
from curate.atomic import atomic_folder
path, content = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
with atomic_folder(path, overwrite=True, ours=lambda p: True) as folder:
    for i in range(40):
        (folder / f"{i:02d}").write_text(content * 1000)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = set()

    def state() -> str:
        contents = {(out / f"{i:02d}").read_text() for i in range(40)}
        assert names(out) == [f"{i:02d}" for i in range(40)]
        assert len(contents) == 1
        return contents.pop()[0]

    def start(content: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(out), content], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        return process

    started = time.perf_counter()
    assert start("0").wait() == 0
    needed = time.perf_counter() - started
    before = state()
    for i in range(30):
        process = start("ab"[i % 2])
        time.sleep(needed * i / 10)  # from at once to long after its end, also where the machine has become busier
        process.kill()
        process.wait()
        after = state()
        assert after in (before, "ab"[i % 2])
        seen.add(before == after)
        before = after
    make_again = subprocess.run([sys.executable, "-c", WRITER, str(out), "z"], stdout=subprocess.DEVNULL)
    assert make_again.returncode == 0
    assert state() == "z"
    assert names(tmp_path) == ["out"]
    assert seen == {True, False}, "the kills all came at the same side of the change: nothing was tested"


def test_the_lock_of_a_dead_writer_is_free(tmp_path: Path) -> None:
    script = f"""
import os
from curate.atomic import atomic_folder
with atomic_folder(__import__("pathlib").Path({str(tmp_path / "out")!r}), ours=lambda p: True) as folder:
    (folder / "mark").write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert names(tmp_path) == [".out.partial"]
    make(tmp_path / "out", "new")
    assert names(tmp_path) == ["out"]


def test_everything_is_on_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append(os.path.relpath(path, tmp_path))
        assert path.name != "mark" or not (tmp_path / "out").exists()
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    make(tmp_path / "out", "x")
    assert synced == [".out.partial/mark", ".out.partial", "."]


RACER = """
import sys, time
from pathlib import Path
from curate.atomic import atomic_file, atomic_folder
from curate.errors import UsageError
path, kind, me = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for i in range(60):
    try:
        if kind == "folder":
            with atomic_folder(path, overwrite=True, ours=lambda p: True) as folder:
                for name in "ab":
                    (folder / name).write_text(me)
        else:
            with atomic_file(path, "w", overwrite=True) as stream:
                for _ in "ab":
                    stream.write(me)
                    stream.flush()
    except UsageError as error:
        assert "another process" in error.found, error
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_many_writers_at_once_never_mix(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(out), kind, me], stdin=-1, stdout=-1, stderr=-1, text=True)
        for me in "0123"
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        _, errors = racer.communicate(timeout=60)
        assert racer.returncode == 0, errors
    content = (out / "a").read_text() + (out / "b").read_text() if kind == "folder" else out.read_text()
    assert content in ("00", "11", "22", "33")
    assert names(tmp_path) == ["out"]


def test_what_was_replaced_is_cleared_by_its_writer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "out", "old")
    real, tried = shutil.rmtree, []

    def rmtree(folder: Path, **options: bool) -> None:
        if not tried:
            tried.append(folder.name)
            with pytest.raises(UsageError, match="another process is writing"):
                make(tmp_path / "out", "other", overwrite=True)
            assert (folder / "mark").read_text() == "old"
        real(folder, **options)

    monkeypatch.setattr("curate.atomic.shutil.rmtree", rmtree)
    make(tmp_path / "out", "new", overwrite=True)
    assert tried == [".out.partial"]
    assert (tmp_path / "out" / "mark").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    make(tmp_path / "disk" / "real", "old")
    (tmp_path / "out").symlink_to("disk/real")
    make(tmp_path / "out", "new", overwrite=True)
    (tmp_path / "disk" / "file").write_text("old")
    (tmp_path / "file").symlink_to("disk/file")
    with atomic_file(tmp_path / "file", overwrite=True) as stream:
        stream.write(b"new")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "disk" / "real" / "mark").read_text() == "new"
    assert (tmp_path / "disk" / "file").read_text() == "new"
    assert names(tmp_path) == ["disk", "file", "out"]
    assert names(tmp_path / "disk") == ["file", "real"]


def test_where_names_cannot_be_swapped_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "out", "old")
    monkeypatch.setattr("curate.atomic._exchange", lambda a, b: False)
    make(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "mark").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_where_folders_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")  # what NFS says of a folder

    monkeypatch.setattr(fcntl, "flock", flock)
    make(tmp_path / "out", "new")
    assert names(tmp_path) == ["out"]


def test_a_lock_held_by_someone_else_is_not_stolen(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    handle = os.open(tmp_path / ".out.partial", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is writing"):
            make(tmp_path / "out", "x")
        assert names(tmp_path) == [".out.partial"]
    finally:
        os.close(handle)
    make(tmp_path / "out", "x")


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        (b'{"a": 1}', b' {"b": 2}', True),
        (b"", b"{}", True),
        (b"query,ap\nq,1\n", b"one line", True),
        (b"<!DOCTYPE html>", b"<html>", True),
        (b"PK\x03\x04 old", b"PK\x03\x04 new", True),
        (b"my notes", b"{}", False),
        (b"\x80\x02}q", b"PK\x03\x04", False),
        (b"PAR1data", b"text", False),
        ("Übersicht".encode(), b"[]", False),
    ],
)
def test_a_file_of_another_kind_is_never_replaced(tmp_path: Path, old: bytes, new: bytes, replaced: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(old)
    if replaced:
        with atomic_file(file, overwrite=True) as stream:
            stream.write(new)
    else:
        with (
            pytest.raises(UsageError, match=r"file: exists and is no output of this command; .*name another place"),
            atomic_file(file, overwrite=True) as stream,
        ):
            stream.write(new)
    assert file.read_bytes() == (new if replaced else old)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
