"""Pascal VOC's XML, a file or a folder, sound and with each fault alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PilImage

from curate.verify import Report, verify

SOUND = """<annotation><folder>V</folder><filename>a.jpg</filename>
<size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>cup</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>60</xmax><ymax>39</ymax></bndbox></object>
<object><name>plate</name><bndbox><xmin>11</xmin><ymin>11.5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def voc(tmp_path: Path) -> Callable[..., Report]:
    """A folder in VOC's layout, its label file changed."""

    def run(old: str = "", new: str = "", **options: object) -> Report:
        for name in ("Annotations", "JPEGImages", "SegmentationClass"):
            (tmp_path / "V" / name).mkdir(parents=True, exist_ok=True)
        assert old in SOUND
        (tmp_path / "V" / "Annotations" / "a.xml").write_text(SOUND.replace(old, new, 1) if old else SOUND)
        PilImage.new("RGB", (60, 40)).save(tmp_path / "V" / "JPEGImages" / "a.jpg")
        return verify(tmp_path / "V", **options)  # type: ignore[arg-type]

    return run


def codes(report: Report) -> list[str]:
    return [one.code for one in report.findings]


def test_a_sound_folder_and_file(voc: Callable[..., Report], tmp_path: Path) -> None:
    report = voc(level="deep")
    assert (report.kind, report.findings, report.counts) == ("voc", (), {"images": 1, "annotations": 2})
    assert {"I01", "I04", "B04", "M10"} <= set(report.checked)
    assert verify(tmp_path / "V" / "Annotations", only=["B", "S"]).counts == report.counts
    alone = tmp_path / "V" / "Annotations" / "a.xml"
    assert verify(alone, roots={"voc": tmp_path / "V" / "JPEGImages"}).findings == ()


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("<xmax>20<", "<xmax>5<", "B02", "negative side"),
        ("<xmax>20<", "<xmax>nan<", "B01", "nan"),
        ("<xmax>20<", "<xmax>x<", "S01", "xmax is 'x'"),
        ("<xmax>20<", "<xmax>90<", "B04", "by 30 px"),
        ("<xmin>11</xmin><ymin>11.5</ymin><xmax>20<", "<xmin>71</xmin><ymin>11.5</ymin><xmax>90<", "B05", "outside"),
        ("<name>plate</name>", "", "S01", "no name"),
        ("<filename>a.jpg</filename>", "", "S01", "no filename"),
        ("<filename>a.jpg", "<filename>../a.jpg", "P01", "leads out"),
        ("<filename>a.jpg", "<filename>b.jpg", "I01", "missing"),
        ("<width>60<", "<width>64<", "I02", "64 x 40"),
        ("</annotation>", "", "F04", "malformed"),
        ("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>", "F04", "document type"),
    ],
)
def test_each_fault(voc: Callable[..., Report], old: str, new: str, code: str, words: str) -> None:
    report = voc(old, new)
    assert codes(report) == [code]
    assert words in report.findings[0].message
    assert "a.xml" in report.findings[0].where


def test_masks_of_an_unusual_kind(voc: Callable[..., Report], tmp_path: Path) -> None:
    voc()
    file = tmp_path / "V" / "SegmentationClass" / "a.png"
    for mode, size, expected in (
        ("P", (60, 40), []),
        ("L", (60, 40), []),
        ("RGB", (60, 40), [("M10", "warning")]),
        ("P", (40, 60), [("M10", "error")]),
    ):
        PilImage.new(mode, size).save(file)
        assert [(one.code, one.severity) for one in voc().findings] == expected


def test_an_entity_bomb_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    lines = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    file.write_text(f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{lines}]><annotation>&a11;</annotation>')
    assert codes(verify(file)) == ["F04"]
