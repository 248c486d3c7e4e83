"""Image files against their records: every fault by a real file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image as PilImage

from curate.model import Image, Record
from curate.verify import Report, verify

Check = Callable[..., Report]


def save(path: Path, size: tuple[int, int] = (100, 80), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    PilImage.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The four images of the toy dataset."""
    for name in ("q1", "g1", "g2", "g3"):
        save(tmp_path / "images" / f"{name}.png")
    return tmp_path / "images"


@pytest.fixture
def toy(records: list[Record]) -> list[Record]:
    """The toy dataset without hashes, which its real files do not have."""
    return [msgspec.structs.replace(r, sha256=None) if isinstance(r, Image) else r for r in records]


def found(report: Report) -> list[tuple[str, str | None]]:
    return [(one.code, one.item) for one in report.findings]


@pytest.mark.parametrize("level", ["quick", "full", "deep"])
def test_sound_images(check: Check, toy: list[Record], root: Path, level: str) -> None:
    report = check(toy, roots={"toy": root}, level=level)
    assert report.findings == ()
    assert {"I01", "I02", "I03"} <= set(report.checked)
    assert not any("I01" in skipped.codes for skipped in report.not_run)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def bomb(path: Path) -> None:
    """A header that claims 30,000 x 30,000 pixels."""
    import struct
    import zlib

    ihdr = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + ihdr
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end)


def flip_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


CASES: list[tuple[Callable[[Path], object], str, str, str]] = [
    (lambda p: p.unlink(), "I01", "quick", "is missing"),
    (lambda p: (p.unlink(), p.mkdir()), "I01", "quick", "not a regular file"),
    (lambda p: save(p, (101, 80)), "I02", "quick", "record says 100 x 80 px"),
    (bomb, "I03", "quick", "900000000"),
    (cut, "I04", "quick", "cut short"),
    (lambda p: p.write_bytes(b"GARBAGE" * 9), "I04", "quick", "no picture"),
    (lambda p: save(p, format="JPEG"), "I05", "quick", "JPEG"),
    (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1"), "I07", "quick", "Git LFS"),
    (lambda p: p.write_bytes(b"<!DOCTYPE html>"), "I07", "quick", "HTML"),
    (lambda p: p.write_bytes(b""), "I07", "quick", "empty"),
    (flip_middle, "I04", "deep", "does not decode"),
]


@pytest.mark.parametrize(("damage", "code", "level", "words"), CASES)
def test_one_damaged_image(
    check: Check, toy: list[Record], root: Path, damage: Any, code: str, level: str, words: str
) -> None:
    damage(root / "g2.png")
    report = check(toy, roots={"toy": root}, level=level, jobs=1)
    assert found(report) == [(code, "toy/g2")]
    assert words in report.findings[0].message
    if level == "deep":
        assert not check(toy, roots={"toy": root}, level="full").findings


def test_a_jpeg_without_its_end_passes_no_level(check: Check, toy: list[Record], root: Path) -> None:
    toy = [
        msgspec.structs.replace(r, file_name="g2.jpg") if isinstance(r, Image) and r.id == "toy/g2" else r for r in toy
    ]
    cut(save(root / "g2.jpg", (100, 80), quality=90))
    with PilImage.open(root / "g2.jpg") as picture:
        picture.verify()  # Pillow's own check says nothing
    assert found(check(toy, roots={"toy": root}, level="quick")) == [("I04", "toy/g2")]


def test_width_and_height_exchanged(check: Check, toy: list[Record], root: Path) -> None:
    save(root / "g2.png", (80, 100))
    report = check(toy, roots={"toy": root})
    assert found(report) == [("I02", "toy/g2")]
    assert report.findings[0].hint == "width and height are exchanged"


def test_a_turned_image_is_a_warning_only(check: Check, toy: list[Record], root: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6
    save(root / "g2.png", (100, 80), exif=exif)
    report = check(toy, roots={"toy": root})
    assert [(one.code, one.severity) for one in report.findings] == [("I06", "warning")]
    save(root / "g2.png", (80, 100), exif=exif)  # stored 80 x 100: the record has the size as shown
    report = check(toy, roots={"toy": root})
    assert [one.code for one in report.findings] == ["I02", "I06"]
    assert "orientation 6" in (report.findings[0].hint or "")


@pytest.mark.parametrize(
    ("on_disk", "recorded"),
    [("G2.PNG", "g2.png"), ("Sub/g2.png", "sub/g2.png"), ("cafe\u0301.png", "caf\u00e9.png")],
)
def test_another_case_or_unicode_form_is_a_hint(
    check: Check, toy: list[Record], root: Path, on_disk: str, recorded: str
) -> None:
    toy = [
        msgspec.structs.replace(r, file_name=recorded) if isinstance(r, Image) and r.id == "toy/g2" else r for r in toy
    ]
    (root / "g2.png").unlink()
    save(root / on_disk)
    report = check(toy, roots={"toy": root})
    assert found(report) == [("I01", "toy/g2")]
    assert ascii(on_disk) in (report.findings[0].hint or "")


def test_a_file_that_was_exchanged(check: Check, toy: list[Record], root: Path) -> None:
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in root.iterdir()}
    digests["g3.png"] = "0" * 64
    hashed = [msgspec.structs.replace(r, sha256=digests[str(r.file_name)]) if isinstance(r, Image) else r for r in toy]
    report = check(hashed, roots={"toy": root}, skip=["R07", "Q01"])  # the four pictures are equal
    assert found(report) == [("I09", "toy/g3")]
    assert not check(hashed, roots={"toy": root}, level="quick").findings


@pytest.mark.parametrize(("width", "height"), [(0, 80), (100, -1), (30_000, 30_000)])
def test_a_size_that_cannot_be(coco: Check, width: int, height: int) -> None:
    report = coco(lambda data: data["images"][2].update(width=width, height=height))
    assert found(report) == [("I03", "7")]


def test_without_a_root_the_report_says_what_was_not_run(check: Check, toy: list[Record]) -> None:
    report = check(toy)
    (skipped,) = [one for one in report.not_run if "I01" in one.codes]
    assert "4 images of toy" in skipped.reason
    assert "--root toy=FOLDER" in skipped.reason
    assert "I01" not in report.checked


def test_a_root_that_is_gone_is_said(check: Check, toy: list[Record], tmp_path: Path) -> None:
    from curate.dataset import from_records
    from curate.model import Info

    report = verify(from_records(Info(name="toy", roots={"toy": str(tmp_path / "gone")}), toy))
    assert report.verdict == "no errors"
    assert any("gone' is not there" in one.reason for one in report.not_run)


def test_the_report_does_not_depend_on_the_workers(coco: Check, tmp_path: Path) -> None:
    root = tmp_path / "many"

    def damage(data: dict[str, Any]) -> None:
        data["annotations"] = []
        data["images"] = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 6} for i in range(300)]
        for i in range(300):
            if i % 50:
                save(root / f"{i}.png", (8, 6) if i % 70 else (9, 6))

    reports = [coco(damage, roots={"coco": root}, level="deep", jobs=jobs) for jobs in (1, 2)]
    assert reports[0] == reports[1]
    assert {total.code: total.errors for total in reports[0].totals if total.errors} == {"I01": 6, "I02": 4}


@pytest.fixture(autouse=True)
def no_warnings(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not [one for one in recwarn if "Decompression" in str(one.category)]
