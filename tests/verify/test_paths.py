"""Names of image files that lead astray, and names that only look odd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.model import Record
from curate.verify import Report
from curate.verify.paths import path_fault

Coco = Callable[..., Report]


def named(*names: str) -> Callable[[dict[str, list[dict[str, str]]]], None]:
    def damage(data: dict[str, list[dict[str, str]]]) -> None:
        for image, name in zip(data["images"], names, strict=False):
            image["file_name"] = name

    return damage


@pytest.mark.parametrize(
    ("name", "code", "severity", "words"),
    [
        ("/data/a.jpg", "P01", "error", "absolute"),
        ("C:\\data\\a.jpg", "P01", "error", "absolute"),
        ("c:/data/a.jpg", "P01", "error", "absolute"),
        ("\\\\server\\share\\a.jpg", "P01", "error", "absolute"),
        ("../a.jpg", "P01", "error", "out of its root"),
        ("a/../../b.jpg", "P01", "error", "out of its root"),
        ("a\\..\\..\\b.jpg", "P01", "error", "out of its root"),
        ("%2e%2e/a.jpg", "P01", "error", "once %-escapes are read"),
        ("a/%2E%2E%2f..%2fb.jpg", "P01", "error", "once %-escapes are read"),
        ("%2Fetc%2Fpasswd", "P01", "error", "absolute once"),
        ("", "P01", "error", "empty"),
        ("a/" + "b" * 256 + ".jpg", "P01", "error", "260 bytes"),
        ("ä" * 130 + ".jpg", "P01", "error", "264 bytes"),
        ("a\\b.jpg", "P01", "warning", "backslash"),
        ("http://example.org/a.jpg", "P02", "error", "address"),
        ("https://169.254.169.254/latest", "P02", "error", "address"),
        ("file:///etc/passwd", "P02", "error", "address"),
        ("s3://bucket/a.jpg", "P02", "error", "address"),
        ("data:image/png;base64,AAAA", "P02", "error", "address"),
        ("a/CON.jpg", "P04", "warning", "Windows"),
        ("aux", "P04", "warning", "Windows"),
        ("a/lpt1/b.jpg", "P04", "warning", "Windows"),
        ("a./b.jpg", "P04", "warning", "dot or space"),
        ("a /b.jpg", "P04", "warning", "dot or space"),
        ("b.jpg ", "P04", "warning", "dot or space"),
    ],
)
def test_a_name_that_leads_astray(coco: Coco, name: str, code: str, severity: str, words: str) -> None:
    report = coco(named(name))
    assert [(one.code, one.severity) for one in report.findings] == [(code, severity)]
    assert "images[0].file_name" in report.findings[0].where
    assert words in report.findings[0].message


@pytest.mark.parametrize(
    "name",
    [
        "a/b/c.jpg",
        "./a.jpg",
        "a/../b.jpg",
        "a..b.jpg",
        "...jpg",
        "100%.jpg",
        "a%20b.jpg",
        "console.jpg",
        "a/com10.jpg",
        "a:b.jpg",
        "12:30:00.png",
        "b" * 251 + ".jpg",
        " leading.jpg",
        "ü/é.jpg",
    ],
)
def test_a_name_that_is_in_order(coco: Coco, name: str) -> None:
    assert not coco(named(name)).findings
    assert path_fault(name) is None


def test_a_line_break_in_a_name(coco: Coco) -> None:
    report = coco(named("a\nb.jpg"))
    assert [one.code for one in report.findings] == ["F10", "P04"]
    assert "\n" not in report.findings[0].message + report.findings[1].message


@pytest.mark.parametrize(
    ("one", "other"), [("A/b.JPG", "a/B.jpg"), ("caf\u00e9.jpg", "cafe\u0301.jpg"), ("ß.jpg", "SS.jpg")]
)
def test_names_that_collide_elsewhere(coco: Coco, one: str, other: str) -> None:
    report = coco(named(one, other))
    assert [(found.code, found.severity) for found in report.findings] == [("P04", "warning")]


def test_links(tmp_path: Path, check: Coco, records: list[Record]) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    for place in (outside / "g1.png", root / "real.png"):
        place.write_bytes(b"x")
    (root / "q1.png").symlink_to("real.png")  # stays inside
    (root / "g1.png").symlink_to(outside / "g1.png")
    (root / "g2.png").symlink_to("g2.png")  # a circle
    (root / "g3.png").write_bytes(b"x")
    report = check(records, roots={"toy": root}, only=["P"])
    assert [(one.code, one.item) for one in report.findings] == [("P03", "toy/g1"), ("P03", "toy/g2")]
    assert "circle" in report.findings[1].message
    # The root itself may be a link, and a broken link inside it is merely a missing file.
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    for name in ("g1.png", "g2.png"):
        (root / name).unlink()
    (root / "g1.png").symlink_to("absent.png")
    assert not check(records, roots={"toy": linked}, only=["P"]).findings


def test_a_linked_folder_that_leaves_the_root(tmp_path: Path, coco: Coco) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "else")
    report = coco(roots={"coco": tmp_path / "root"}, only=["P"])
    assert [(one.code, one.item) for one in report.findings] == [("P03", "0"), ("P03", "1")]
