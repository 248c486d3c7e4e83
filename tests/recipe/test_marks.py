"""Marks of what a step reads and writes: other content gives another mark."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.recipe import marks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    (root / "b").mkdir(parents=True)
    (root / "a.txt").write_text("one")
    (root / "b/c.txt").write_text("two")
    return root


def test_a_file_s_mark_is_its_sha256(folder: Path) -> None:
    assert marks.of_output(folder / "a.txt") == hashlib.sha256(b"one").hexdigest()
    assert marks.of_input(folder / "a.txt") == marks.of_output(folder / "a.txt")
    assert marks.of_output(folder / "absent") is None


def test_an_output_s_mark_is_of_its_content_alone(folder: Path, tmp_path: Path) -> None:
    before = marks.of_output(folder)
    os.utime(folder / "a.txt", ns=(5, 5))
    moved = folder.rename(tmp_path / "moved")
    assert marks.of_output(moved) == before
    (moved / "b/c.txt").write_text("2wo")
    assert marks.of_output(moved) != before
    (moved / "b/c.txt").write_text("two")
    assert marks.of_output(moved) == before
    (moved / "b/c.txt").rename(moved / "b/d.txt")
    assert marks.of_output(moved) != before


def test_links_in_an_output_are_marked_by_where_they_lead(folder: Path) -> None:
    (folder / "link").symlink_to("nowhere")
    before = marks.of_output(folder)
    (folder / "link").unlink()
    (folder / "link").symlink_to("elsewhere")
    assert marks.of_output(folder) != before


def test_a_download_s_mark_is_of_names_sizes_and_times(folder: Path, tmp_path: Path) -> None:
    found = {marks.of_root(folder)}

    def differs() -> bool:
        mark = marks.of_root(folder)
        assert marks.of_root(folder) == mark
        new = mark not in found
        found.add(mark)
        return new

    assert not differs()
    (folder / "a.txt").write_text("three")
    assert differs()
    os.utime(folder / "a.txt", ns=(10**18, 10**18))
    assert differs()
    (folder / "b/new").touch()
    assert differs()
    (folder / "b/new").unlink()
    assert not differs()
    (folder / "far").symlink_to(tmp_path / "far")  # which is not there yet
    assert differs()
    (tmp_path / "far").mkdir()
    (tmp_path / "far/picture").touch()
    assert differs()
    (tmp_path / "far/back").symlink_to(folder)  # a circle ends
    marks.of_root(folder)
    assert marks.of_root(folder) != marks.of_root(folder.rename(tmp_path / "moved"))  # the dataset names the folder


def test_a_link_to_itself_is_a_link_to_nothing(folder: Path) -> None:
    before = marks.of_root(folder)
    (folder / "loop").symlink_to("loop")
    assert marks.of_root(folder) != before
    (folder / "loop").unlink()
    assert marks.of_root(folder) == before


def test_the_order_of_the_file_system_is_no_part_of_a_mark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a").symlink_to("b")
    scan = os.scandir
    found = set()
    for reverse in (False, True):

        @contextmanager
        def scandir(path: Path, reverse: bool = reverse) -> Iterator[list[os.DirEntry[str]]]:
            with scan(path) as entries:
                yield sorted(entries, key=lambda entry: entry.name, reverse=reverse)

        monkeypatch.setattr(os, "scandir", scandir)
        found.add(marks.of_root(folder))
    assert len(found) == 1


def test_names_that_are_no_text(folder: Path) -> None:
    before = marks.of_root(folder), marks.of_output(folder)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).touch()
    assert marks.of_root(folder) != before[0]
    assert marks.of_output(folder) != before[1]


def test_texts_do_not_run_together() -> None:
    assert marks.of_texts(["a", "b"]) != marks.of_texts(["ab"]) != marks.of_texts(["b", "a"])


def test_the_mark_of_curate_stays() -> None:
    assert marks.of_code() == marks.of_code()
    version, digest = marks.of_code().split()
    assert version[0].isdigit() and len(digest) == 16
