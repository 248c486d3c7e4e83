"""Picture files, looked at without decoding them: size, EXIF orientation, end marker, and what else a name may hide."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from curate.errors import SourceError
from curate.headers import HEAD, plain_header
from curate.regular import open_regular

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs
_TAIL = 4096
_EXIF_ORIENTATION = 0x0112
END_MARKERS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
_IMPOSTORS = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with 'git lfs pull'"),
    (b"<!DOCTYPE", "an HTML page", "download the file again: a login page was saved in its place"),
    (b"<html", "an HTML page", "download the file again: a login page was saved in its place"),
    (b"<?xml", "XML text", "expected a picture"),
    (b"<svg", "an SVG drawing", "expected a picture"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
)


class Header(NamedTuple):
    """What a picture file says of itself: pixels as stored (not turned), EXIF orientation or None, format's name."""

    width: int
    height: int
    orientation: int | None
    format: str
    mode: str


def below(root: str | Path, file_name: str) -> Path | None:
    """The file ``file_name`` (with forward slashes) of the folder ``root``; None where the name leads out of it."""
    name = PurePosixPath(file_name)
    return None if name.is_absolute() or ".." in name.parts else Path(root, *name.parts)


def grey_bytes(picture: PilImage.Image) -> NDArray[np.uint8]:
    """A grey picture of 16 bits and more as bytes ``(height, width)``, from its darkest value to its brightest."""
    values = np.asarray(picture, np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (np.nan_to_num((values - low) / max(high - low, 1e-12)) * 255).astype(np.uint8)


def read_header(path: Path, *, end_marker: bool = True) -> Header:
    """Size, orientation and format of the picture ``path``; with ``end_marker`` also see that it is not cut short.

    Raises:
        SourceError: the file is missing, empty, no regular file, no picture, cut short or larger than Pillow allows.
    """
    try:
        descriptor, size = open_regular(path, "expected a picture")
        try:
            head = os.read(descriptor, HEAD)
            plain = plain_header(head)
            header, begin = (
                (Header(plain.width, plain.height, None, plain.format, plain.mode), plain.begin)
                if plain
                else _ask_pillow(descriptor)
            )
            if not header.width or not header.height or header.width * header.height > MAX_PIXELS:
                found = f"picture of {header.width} x {header.height} px"
                raise SourceError(path, found, f"expected 1 to {MAX_PIXELS} px")
            marker = END_MARKERS.get(header.format) if end_marker else None
            if marker and not _ends_with(descriptor, marker, head, begin, size):
                raise SourceError(
                    path,
                    f"{header.format} file is cut short ({size} bytes)",
                    "expected its end marker",
                    "download or unpack it again",
                )
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise SourceError(path, "no such file", "expected a picture", "is the archive unpacked completely?") from None
    except PilImage.DecompressionBombError as error:
        raise SourceError(path, str(error), f"expected at most {MAX_PIXELS} px") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _not_a_picture(path, error) from error
    return header


@contextmanager
def decoding(path: Path) -> Iterator[PilImage.Image]:
    """The picture ``path`` opened by Pillow. Its pixels are to be taken within the block, and nothing else done there.

    Raises:
        SourceError: the file is missing, no regular file, larger than Pillow allows, or does not decode.
    """
    try:
        descriptor, _ = open_regular(path, "expected a picture")
        with os.fdopen(descriptor, "rb") as stream, PilImage.open(stream) as picture:
            yield picture
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(path, "no such file", "expected a picture", "is the archive unpacked completely?") from None
    except PilImage.DecompressionBombError as error:
        raise SourceError(path, str(error), f"expected at most {MAX_PIXELS} px") from None
    except UnidentifiedImageError as error:
        raise _not_a_picture(path, error) from error
    except Exception as error:  # on damaged files Pillow's decoders raise whatever they stumble over
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise SourceError(path, f"does not decode ({why or type(error).__name__})", "expected a picture") from error


def _ask_pillow(descriptor: int) -> tuple[Header, int]:
    """What Pillow says of a picture, and the byte where it stops: the pixels begin there."""
    with open(descriptor, "rb", buffering=0, closefd=False) as stream:
        stream.seek(0)
        with PilImage.open(stream) as picture:
            # An end marker before that byte belongs to a thumbnail.
            begin = stream.tell()
            width, height = picture.size
            return Header(width, height, orientation_of(picture), picture.format or "", picture.mode), begin


def _ends_with(descriptor: int, marker: bytes, head: bytes, begin: int, size: int) -> bool:
    """Whether ``marker`` stands from the byte ``begin`` on, most likely at the end; small files are all in ``head``."""
    start = max(begin, size - _TAIL)
    tail = head[start:] if size == len(head) else os.pread(descriptor, _TAIL, start)
    return marker in tail or _found_in(descriptor, marker, begin)


def orientation_of(picture: PilImage.Image) -> int | None:
    # Only formats that carry EXIF pay for looking: parsing it doubles the cost of a header.
    if "exif" not in picture.info:
        return None
    value = picture.getexif().get(_EXIF_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _found_in(descriptor: int, marker: bytes, begin: int) -> bool:
    """Whether ``marker`` stands anywhere from the byte ``begin``: a file may carry data behind its end."""
    tail = b""
    while block := os.pread(descriptor, 1 << 20, begin):
        if marker in tail + block:
            return True
        tail = block[-len(marker) :]
        begin += len(block)
    return False


def _not_a_picture(path: Path, error: Exception) -> SourceError:
    try:
        with path.open("rb") as stream:
            head = stream.read(64).lstrip()
    except OSError:
        return SourceError(path, f"cannot be read ({error})", "expected a picture")
    if not head:
        return SourceError(path, "file is empty", "expected a picture", "download or unpack it again")
    for start, what, hint in _IMPOSTORS:
        if head.lower().startswith(start.lower()):
            return SourceError(path, f"is {what}", "expected a picture", hint)
    return SourceError(path, "is no picture that Pillow can read", "expected PNG, JPEG or the like")
