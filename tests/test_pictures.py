"""Picture headers: true sizes, and every kind of file that only looks like a picture."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.errors import SourceError
from curate.pictures import Header, below, decoding, grey_bytes, read_header


def encoded(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
    # Noise, so that the file is long enough to be cut anywhere.
    noise = Image.frombytes("L", size, bytes((i * 2654435761 >> 13) & 255 for i in range(size[0] * size[1])))
    stream = io.BytesIO()
    noise.convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def put(folder: Path, content: bytes, name: str = "picture") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "L"), ("PNG", "I;16"), ("JPEG", "RGB"), ("BMP", "RGB"), ("WEBP", "RGB")]
)
def test_size_format_and_mode(tmp_path: Path, kind: str, mode: str) -> None:
    if mode == "I;16":
        stream = io.BytesIO()
        Image.new(mode, (64, 48)).save(stream, kind)
        content = stream.getvalue()
    else:
        content = encoded(kind, mode=mode)
    assert read_header(put(tmp_path, content)) == Header(64, 48, None, kind, mode)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_told_and_the_size_is_the_stored_one(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    header = read_header(put(tmp_path, encoded("JPEG", exif=exif)))
    assert (header.width, header.height, header.orientation) == (64, 48, orientation)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_outside_1_to_8_means_nothing(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert read_header(put(tmp_path, encoded("JPEG", exif=exif))).orientation is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_file_cut_short_is_found_although_its_header_is_whole(tmp_path: Path, kind: str, share: float) -> None:
    content = encoded(kind)
    path = put(tmp_path, content[: int(len(content) * share)])
    with pytest.raises(SourceError, match=rf"picture: {kind} file is cut short \(\d+ bytes\); .*end marker; download"):
        read_header(path)
    assert read_header(path, end_marker=False).width == 64


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_the_end_marker_of_a_thumbnail_is_not_that_of_the_picture(tmp_path: Path, options: dict[str, object]) -> None:
    thumbnail = encoded("JPEG", (16, 12))
    # An EXIF block with a second directory, that of the thumbnail.
    entries = ((0x0103, 3, 1, 6), (0x0201, 4, 1, 56), (0x0202, 4, 1, len(thumbnail)))
    tiff = b"II*\0" + struct.pack("<IHI", 8, 0, 14) + struct.pack("<H", len(entries))
    tiff += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    tiff = tiff.ljust(56, b"\0") + thumbnail
    content = encoded("JPEG", (640, 480), exif=b"Exif\0\0" + tiff, **options)
    assert content.index(b"\xff\xd9") < len(thumbnail) + 200
    assert read_header(put(tmp_path, content)).width == 640
    assert read_header(put(tmp_path, content + bytes(9000))).width == 640
    for length in (len(content) // 2, 3000):
        with pytest.raises(SourceError, match="cut short"):
            read_header(put(tmp_path, content[:length]))


def test_a_file_of_several_pictures(tmp_path: Path) -> None:
    stream = io.BytesIO()
    first, second = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")
    first.save(stream, "MPO", save_all=True, append_images=[second])
    assert read_header(put(tmp_path, stream.getvalue()))[:2] == (64, 48)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("extra", [1, 5000, 3 << 20])
def test_data_after_the_end_is_no_damage(tmp_path: Path, kind: str, extra: int) -> None:
    assert read_header(put(tmp_path, encoded(kind) + b"\0" * extra)).width == 64


def test_an_end_marker_that_lies_across_two_blocks_is_found(tmp_path: Path) -> None:
    # The search reads 1 MiB at a time from where the pixels begin; the marker is put at every place around that border.
    content = encoded("PNG")
    body, end, marker = content[:-12], content[-12:], b"IEND\xaeB`\x82"
    border = content.index(b"IDAT") + 4 + (1 << 20)
    for place in range(border - 16, border + 9):
        padding = place - len(body) - 12 - (len(end) - len(marker))
        chunk = struct.pack(">I", padding) + b"zzZz" + bytes(padding)
        path = put(tmp_path, body + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + end + bytes(9000))
        assert path.read_bytes().index(marker) == place
        assert read_header(path).width == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file is empty; expected a picture; download or unpack it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Please log in</body></html>", "is an HTML page; .*a login page was saved"),
        (b"\n  <HTML lang=en>", "is an HTML page"),
        (b"<?xml version='1.0'?><annotation/>", "is XML text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
        (b"\x1f\x8b\x08" + bytes(20), "is a gzip archive; expected a picture; unpack it first"),
        (b"PK\x03\x04" + bytes(40), "is a zip archive"),
        (b"label 1 2 3 4\n", "is no picture that Pillow can read; expected PNG, JPEG or the like"),
        (b"\x89PNG\r\n\x1a\n", "is no picture that Pillow can read"),  # nothing after the signature
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is no picture that Pillow can read"),
        (b"\xff\xd8\xff\xe0", "is no picture that Pillow can read"),
        (bytes(1000), "is no picture that Pillow can read"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(SourceError, match=message) as caught:
        read_header(path)
    assert caught.value.where == str(path)


def test_missing_and_special_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file; expected a picture; is the archive unpacked"):
        read_header(tmp_path / "absent.png")
    with pytest.raises(SourceError, match="is a folder"):
        read_header(tmp_path)
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(SourceError, match="cannot be read"):
        read_header(tmp_path / "loop.png")
    with pytest.raises(SourceError, match="is not a regular file"):
        read_header(Path("/dev/null"))
    put(tmp_path, encoded("PNG"), "file")
    with pytest.raises(SourceError, match=r"file/inner\.png"):
        read_header(tmp_path / "file" / "inner.png")


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SourceError, match="is not a regular file"):
        read_header(tmp_path / "pipe.png")


@pytest.mark.parametrize("size", [(20_000, 20_000), (1 << 30, 1 << 30), (178_956_971, 1)])
def test_a_picture_that_is_too_large_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    with pytest.raises(SourceError, match=r"px|pixels"):
        read_header(put(tmp_path, content))


def test_a_hostile_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read_header(put(tmp_path, b"", "a\n\x1b[2J.png"))
    assert caught.value.line.endswith(r"a\n\x1b[2J.png: file is empty; expected a picture; download or unpack it again")


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.png", "a/../../b.png", "a/.."])
def test_a_name_that_leaves_its_root_has_no_path(name: str) -> None:
    assert below("root", name) is None


def test_other_names_lie_below_their_root() -> None:
    assert below("root", "a/b..c/-d.png") == Path("root/a/b..c/-d.png")


def test_deep_grey_goes_from_its_darkest_to_its_brightest() -> None:
    deep = Image.fromarray(np.array([[1000, 1100], [1200, 3000]], np.uint16))
    assert grey_bytes(deep).tolist() == [[0, 12], [25, 255]]
    assert not grey_bytes(Image.new("I;16", (2, 2), 7)).any()


def test_decoding_gives_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with decoding(tmp_path / "a.png") as picture:
        assert (np.asarray(picture) == pixels).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty; expected a picture"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer; expected a picture; fetch"),
        (b"nonsense", "is no picture that Pillow can read"),
        (encoded("PNG")[:300], "does not decode (image file is truncated"),
        (encoded("JPEG")[:900], "does not decode (image file is truncated"),
        (None, "no such file; expected a picture"),
    ],
)
def test_decoding_says_what_is_wrong(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "picture" if content is None else put(tmp_path, content)
    with pytest.raises(SourceError) as told, decoding(path) as picture:
        picture.load()
    assert str(told.value).startswith(f"{path}: {said}")


def test_decoding_waits_for_no_pipe_and_opens_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe: is not a regular file"), decoding(tmp_path / "pipe"):
        pass
    with pytest.raises(SourceError, match="is a folder"), decoding(tmp_path):
        pass
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SourceError, match="expected at most"), decoding(put(tmp_path, encoded("PNG"))):
        pass


def test_whatever_a_decoder_raises_is_told_with_the_file(tmp_path: Path) -> None:
    path = put(tmp_path, encoded("PNG"))
    with pytest.raises(SourceError, match=r"picture: does not decode \(ZeroDivisionError\)"), decoding(path):
        raise ZeroDivisionError
