"""Pascal VOC's XML: what is read, in whatever order it stands, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import SourceError
from curate.sources._voc_xml import VocObject, read_voc

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox>"
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotation><filename>&b;</filename></annotation>"
)
OUTSIDE = (
    '<!DOCTYPE annotation [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'
    "<annotation><filename>&secret;</filename></annotation>"
)


@pytest.fixture
def put(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "frame.xml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_elements_are_found_by_name(put) -> None:
    """The order of corners is that of a real IDD file: xmin, ymax, xmax, ymin."""
    file = read_voc(
        put(
            "<annotation><object><bndbox><xmin>987</xmin><ymax>624</ymax><xmax>999</xmax><ymin>611</ymin></bndbox>"
            "<difficult>1</difficult><name>\n traffic light </name><pose>Left</pose>"
            "<part><name>head</name><bndbox><xmin>988</xmin><ymin>611</ymin><xmax>990</xmax><ymax>613</ymax></bndbox></part>"
            "</object><size><depth>3</depth><height>1080</height><width>1920</width></size><folder/>"
            "<filename>a.jpg</filename></annotation>"
        )
    )
    head = VocObject("head", (988, 611, 990, 613), {})
    assert file.objects == [
        VocObject("traffic light", (987, 611, 999, 624), {"difficult": "1", "pose": "Left"}, (head,)),
    ]
    assert (file.filename, file.folder, file.size) == ("a.jpg", "", (1920, 1080))


def test_objects_keep_their_order_and_may_be_none(put) -> None:
    assert read_voc(put("<annotation/>")) == (None, None, None, [])
    twice = "".join(f"<object><name>{name}</name>{BOX}</object>" for name in ("b", "a", "b"))
    assert [found.name for found in read_voc(put(f"<annotation>{twice}</annotation>")).objects] == ["b", "a", "b"]


def test_other_encodings_and_byte_order_marks_are_read(put) -> None:
    text = f"<annotation><object><name>étage</name>{BOX}</object></annotation>"
    declared = f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}'
    for data in (text.encode("utf-8-sig"), text.encode("utf-16"), declared.encode("latin-1")):
        assert read_voc(put(data)).objects[0].name == "étage"


@pytest.mark.parametrize("bomb", [BOMB, OUTSIDE, BOMB.encode("utf-16")], ids=["entities", "a file", "utf-16"])
def test_bombs_are_refused(put, bomb: str | bytes) -> None:
    with pytest.raises(SourceError, match=r"frame\.xml: holds a document type definition; expected plain XML"):
        read_voc(put(bomb))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"frame\.xml: file is empty; expected XML"),
        (b"\xff\xd8\xff\xe0 JFIF", r"frame\.xml:1:1: XML is malformed \(not well-formed"),
        ("<annotation>\n <object>\n</annotation>", r"frame\.xml:3:3: XML is malformed \(mismatched tag"),
        ("<annotation><object>", r"frame\.xml:1:\d+: XML is malformed \(no element found"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', r"frame\.xml.*XML (is malformed|cannot be decoded)"),
        ("<svg/>", r"frame\.xml: is XML with the root 'svg'; expected <annotation>"),
        (f"<annotation><object>{BOX}</object></annotation>", r"frame\.xml, object 0: has no name; expected <name>"),
        (f"<annotation><object><name> </name>{BOX}</object></annotation>", "object 0: has no name"),
        ("<annotation><object><name>a</name></object></annotation>", "object 0: has no box; expected <bndbox>"),
        ("<annotation><size><width>3</width></size></annotation>", "size: has no height; expected <height>"),
        (
            "<annotation><size><width>3.5</width><height>3</height></size></annotation>",
            r"size: a side is 3\.5; expected a whole number",
        ),
    ],
)
def test_what_is_no_voc_file_is_named_with_the_place(put, text: str | bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read_voc(put(text))


@pytest.mark.parametrize("value", ["NaN", "inf", "-1e400", "1e10", "", "1_0", "ten", "0x10"])
def test_corners_are_finite_numbers(put, value: str) -> None:
    box = BOX.replace("30.5", value)
    with pytest.raises(SourceError, match=f"object 1: xmax is '{value}'; expected a finite number"):
        read_voc(
            put(f"<annotation><object><name>a</name>{BOX}</object><object><name>b</name>{box}</object></annotation>")
        )


def test_flipped_corners_are_refused_and_boxes_without_area_are_not(put) -> None:
    flat = BOX.replace("30.5", "1")
    assert read_voc(put(f"<annotation><object><name>a</name>{flat}</object></annotation>")).objects[0].corners[2] == 1
    flipped = BOX.replace("30.5", "0")
    with pytest.raises(SourceError, match=r"object 0: box \[1.0, 2.0, 0.0, 40.0\] has flipped corners"):
        read_voc(put(f"<annotation><object><name>a</name>{flipped}</object></annotation>"))
