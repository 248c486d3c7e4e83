"""The log: nothing lost, nothing doubled, also when the writer is killed in the middle of a line."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from curate.errors import ReviewError
from curate.model import Annotation, Rle
from curate.review import log
from curate.review.log import Did, Event

ROW = Annotation(id="i#1", image_id="i", category="ü", x=1 / 3, segmentation=Rle((2, 2), "04"), attributes={"a": [1]})
FULL = Event(key="k1", kind="answer", person="p1", item="i", round=0, objects=(ROW,), did=(Did("i#1", "added"),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert log.load(file) == []
    assert log.append(file, [FULL, Event(key="k2", kind="report", message="a\nb")]) == 2
    assert log.load(file) == [FULL, Event(key="k2", kind="report", message="a\nb")]


def test_a_repeated_key_adds_nothing_and_a_changed_one_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log.append(file, [FULL])
    before = file.read_bytes()
    assert log.append(file, [FULL, FULL]) == 0
    with pytest.raises(ReviewError, match="k1 is there with another content"):
        log.append(file, [Event(key="k0", kind="report"), Event(key="k1", kind="report")])
    assert file.read_bytes() == before


def test_a_line_cut_anywhere_is_dropped_and_written_again(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log.append(file, [Event(key="k0", kind="report"), FULL])
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        file.write_bytes(whole[:cut])
        assert [event.key for event in log.load(file)] == ["k0"]
        assert log.append(file, [FULL]) == 1
        assert file.read_bytes() == whole


def test_damage_elsewhere_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log.append(file, [FULL, Event(key="k2", kind="report")])
    file.write_bytes(file.read_bytes().replace(b'"k1"', b'"k1'))
    with pytest.raises(ReviewError, match=r"events\.jsonl:1: damaged"):
        log.load(file)


def _write(file: Path, number: int) -> None:
    for i in range(20):
        log.append(file, [Event(key=f"{number}/{i}", kind="report"), Event(key=f"both/{i}", kind="report")])


def test_two_writers_at_once(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    workers = [multiprocessing.Process(target=_write, args=(file, n)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    keys = [event.key for event in log.load(file)]
    assert sorted(keys) == sorted([f"{n}/{i}" for n in (0, 1, "both") for i in range(20)])


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    with (
        log.locked(tmp_path / "lock", "busy"),
        pytest.raises(ReviewError, match=r"another push \(process \d+\)"),
        log.locked(tmp_path / "lock", "another push", wait=False),
    ):
        pass


def test_a_line_of_old_says_no_account(tmp_path: Path) -> None:
    old = b'{"key":"1.t/2@t","kind":"answer","person":"p1","item":"i0","round":0,"annotation":"1.t/2","revision":"t"}\n'
    (tmp_path / "events.jsonl").write_bytes(old)
    (event,) = log.load(tmp_path / "events.jsonl")
    assert (event.person, event.account) == ("p1", None)
    assert log.append(tmp_path / "events.jsonl", [event]) == 0
    assert (tmp_path / "events.jsonl").read_bytes() == old
