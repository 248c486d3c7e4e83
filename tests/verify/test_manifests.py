"""Release folders: everything is listed and unchanged."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from curate.verify import Report, verify


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "in").mkdir(parents=True)
    lines = []
    for name in ("README.md", "in/a.json"):
        (folder / name).write_text(name)
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def found(report: Report) -> list[tuple[str, str | None]]:
    return [(one.code, one.item) for one in report.findings]


def test_an_untouched_release_at_another_place(release: Path, tmp_path: Path) -> None:
    report = verify(release)
    assert (report.kind, report.findings, report.counts) == ("release", (), {"files": 2})
    shutil.move(release, tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere").findings == ()


def test_changed_missing_and_unlisted_files(release: Path) -> None:
    (release / "in/a.json").write_text("in/a.jsoN")
    assert found(verify(release)) == [("V01", "in/a.json")]
    (release / "in/a.json").unlink()
    assert found(verify(release)) == [("V01", "in/a.json")]
    (release / "in/a.json").write_text("in/a.json")
    (release / "in/b.json").write_text("")
    assert found(verify(release)) == [("V01", "in/b.json")]


def test_left_overs(release: Path) -> None:
    for name in (".x.partial-1", "x.tmp", "in/x.lock"):
        (release / name).write_text("")
    assert [code for code, _ in found(verify(release))] == ["V03"] * 3
    assert verify(release).verdict == "no errors"


def test_a_link_that_leaves(release: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("README.md")
    (release / "README.md").unlink()
    (release / "README.md").symlink_to(tmp_path / "outside")
    assert found(verify(release)) == [("P03", "README.md")]


@pytest.mark.parametrize(
    "line",
    [
        f"{'0' * 63}  x",
        f"{'0' * 64} x",
        f"{'0' * 64}  ../x",
        f"{'0' * 64}  /x",
        f"{hashlib.sha256(b'README.md').hexdigest()}  README.md",
        f"{'0' * 64}  SHA256SUMS",
        "",
    ],
)
def test_a_malformed_list(release: Path, line: str) -> None:
    with (release / "SHA256SUMS").open("a") as stream:
        stream.write(line + "\n")
    assert [code for code, _ in found(verify(release))] == ["V02"]


def test_an_empty_list(release: Path) -> None:
    (release / "SHA256SUMS").write_text("")
    assert [code for code, _ in found(verify(release, only=["V02"]))] == ["V02"]
