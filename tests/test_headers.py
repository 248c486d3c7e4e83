"""Ordinary headers read directly: what is said is what Pillow says, and what is odd is left to Pillow."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from curate.headers import HEAD, plain_header


def encoded(kind: str, mode: str, size: tuple[int, int] = (70, 50), **options: object) -> bytes:
    noise = Image.frombytes("L", size, bytes((i * 2654435761 >> 13) & 255 for i in range(size[0] * size[1])))
    stream = io.BytesIO()
    noise.convert(mode).save(stream, kind, **options)
    return stream.getvalue()


ORDINARY = {
    **{f"PNG {mode}": encoded("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "PNG with gamma and transparency": encoded("PNG", "P", transparency=3),
    "PNG of 1 x 1": encoded("PNG", "RGB", (1, 1)),
    "JPEG grey": encoded("JPEG", "L"),
    "JPEG colour": encoded("JPEG", "RGB"),
    "JPEG progressive": encoded("JPEG", "RGB", progressive=True),
    "JPEG with a comment": encoded("JPEG", "RGB", comment=b"hello"),
    "JPEG of 1 x 1": encoded("JPEG", "RGB", (1, 1)),
}


@pytest.mark.parametrize("content", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_files_as_pillow_reads_them(content: bytes) -> None:
    header = plain_header(content[:HEAD])
    assert header is not None
    with Image.open(io.BytesIO(content)) as picture:
        assert (header.width, header.height, header.format, header.mode) == (
            *picture.size,
            picture.format,
            picture.mode,
        )
    assert 0 < header.begin < len(content)


def exif() -> bytes:
    held = Image.Exif()
    held[0x0112] = 6
    return held.tobytes()


def several() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    return stream.getvalue()


def text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "x" * 9000)
    return encoded("PNG", "RGB", pnginfo=info)


ODD = {
    "PNG with EXIF": encoded("PNG", "RGB", exif=exif()),
    "PNG of several pictures": several(),
    "PNG of 16 bits": encoded("PNG", "I;16"),
    "PNG with text": text(),
    "PNG whose header is changed": ORDINARY["PNG RGB"].replace(b"\0\0\0\x46", b"\0\0\0\x47", 1),
    "JPEG with EXIF": encoded("JPEG", "RGB", exif=exif()),
    "JPEG with a profile": encoded("JPEG", "RGB", icc_profile=b"x" * 9000),
    "JPEG for print": encoded("JPEG", "CMYK"),
    "bitmap": encoded("BMP", "RGB"),
    "text": b"hello",
    "nothing": b"",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_files_are_left_to_pillow(content: bytes) -> None:
    assert plain_header(content[:HEAD]) is None


@pytest.mark.parametrize("name", ["PNG RGB", "JPEG colour"])
def test_a_cut_header_is_left_to_pillow(name: str) -> None:
    begin = plain_header(ORDINARY[name]).begin  # type: ignore[union-attr]
    for length in range(begin - 12):
        assert plain_header(ORDINARY[name][:length]) is None


@given(
    name=st.sampled_from(["PNG RGB", "PNG P", "JPEG colour", "JPEG progressive"]),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_changed_file_is_never_told_another_size_than_pillow_does(name: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(ORDINARY[name])
    for at, byte in changes:
        content[at] = byte
    header = plain_header(bytes(content[:HEAD]))
    if header is None:
        return
    try:
        with Image.open(io.BytesIO(content)) as picture:
            assert (header.width, header.height) == picture.size
            assert (header.format, header.mode) == (picture.format, picture.mode)
    except (OSError, SyntaxError, ValueError):
        pass  # Pillow looks at more of a file than its header; what it says then comes with decoding
    except Image.DecompressionBombError:
        assert header.width * header.height > Image.MAX_IMAGE_PIXELS


def test_the_checksum_of_a_png_header_is_looked_at() -> None:
    content = bytearray(ORDINARY["PNG L"])
    content[16:20] = (71).to_bytes(4, "big")
    assert plain_header(bytes(content)) is None
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    assert plain_header(bytes(content)).width == 71  # type: ignore[union-attr]
