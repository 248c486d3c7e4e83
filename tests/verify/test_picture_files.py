"""Pictures without any record."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image as PilImage

from curate.verify import verify
from tests.verify.conftest import not_waiting


def codes(path: Path, **options: object) -> list[tuple[str, str | None]]:
    return [(one.code, one.item) for one in verify(path, **options).findings]  # type: ignore[arg-type]


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("a.png", "in/b.jpg", "in/c.png")):
        PilImage.new("RGB", (40, 30), (i, i, i)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    report = verify(tmp_path, level="deep")
    assert (report.kind, report.counts) == ("pictures", {"images": 3})
    (other,) = report.findings
    assert (other.code, other.severity) == ("F09", "info")
    assert other.message == "1 other file not looked at: notes.txt; expected pictures alone"
    (tmp_path / "notes.txt").unlink()
    assert verify(tmp_path, level="deep").findings == ()

    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "in/d.png").write_bytes(data)
    assert codes(tmp_path) == [("I08", "in/d.png")]
    (tmp_path / "in/d.png").write_bytes(data[:-20])
    assert codes(tmp_path) == [("I04", "in/d.png")]
    (tmp_path / "in/d.png").write_text("<html><body>please log in</body></html>")
    assert codes(tmp_path) == [("I07", "in/d.png")]
    (tmp_path / "in/d.png").unlink()
    (tmp_path / "in/C.PNG").write_bytes((tmp_path / "in/c.png").read_bytes() + b"")
    assert [code for code, _ in codes(tmp_path, only=["P"])] == ["P04"]


def test_a_file(tmp_path: Path) -> None:
    PilImage.new("RGB", (40, 30)).save(tmp_path / "a.png")
    PilImage.new("RGB", (40, 30)).save(tmp_path / "b.png")
    report = verify(tmp_path / "a.png")
    assert (report.kind, report.findings, report.counts) == ("pictures", (), {"images": 1})
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1")
    assert codes(tmp_path / "a.png") == [("I07", "a.png")]


def test_links_that_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    PilImage.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "in/b.png").symlink_to("../a.png")
    assert codes(tmp_path / "in") == [("P03", "b.png")]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    assert [code for code, _ in codes(tmp_path)] == ["F09"]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    for name in ("b.jpg", "c.jpg", "d.json"):
        os.mkfifo(tmp_path / name)
    with not_waiting():
        found = codes(tmp_path)
    assert found == [("I01", "b.jpg"), ("I01", "c.jpg"), ("I07", "a.jpg"), ("F09", None)]
