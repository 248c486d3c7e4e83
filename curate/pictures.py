"""Picture files, looked at without decoding them: size, EXIF orientation, end marker, and what else a name may hide."""

from __future__ import annotations

import stat
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from curate.errors import SourceError
from curate.headers import HEAD, plain_header

MAX_PIXELS = 178_956_970  # Pillow's limit against decompression bombs
_TAIL = 4096
_EXIF_ORIENTATION = 0x0112
_END_MARKERS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
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
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # before it is opened: a pipe would keep us waiting
            kind = "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
            raise SourceError(path, kind, "expected a picture")
        # Unbuffered: two small reads are all that most files need.
        with path.open("rb", buffering=0) as stream:
            plain = plain_header(stream.read(HEAD))
            if plain:
                width, height, kind, mode, begin = plain
                orientation = None
            else:
                stream.seek(0)
                with PilImage.open(stream) as picture:
                    # Pillow stops where the pixels begin; an end marker before that belongs to a thumbnail.
                    begin = stream.tell()
                    width, height = picture.size
                    kind, mode = picture.format or "", picture.mode
                    orientation = _orientation(picture)
            if not width or not height or width * height > MAX_PIXELS:
                raise SourceError(path, f"picture of {width} x {height} px", f"expected 1 to {MAX_PIXELS} px")
            marker = _END_MARKERS.get(kind)
            if end_marker and marker:
                stream.seek(max(begin, status.st_size - _TAIL))
                if marker not in stream.read(_TAIL) and not _found_in(stream, marker, begin):
                    raise SourceError(
                        path,
                        f"{kind} file is cut short ({status.st_size} bytes)",
                        "expected its end marker",
                        "download or unpack it again",
                    )
    except FileNotFoundError:
        raise SourceError(path, "no such file", "expected a picture", "is the archive unpacked completely?") from None
    except PilImage.DecompressionBombError as error:
        raise SourceError(path, str(error), f"expected at most {MAX_PIXELS} px") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _not_a_picture(path, error) from error
    return Header(width, height, orientation, kind, mode)


def _orientation(picture: PilImage.Image) -> int | None:
    # Only formats that carry EXIF pay for looking: parsing it doubles the cost of a header.
    if "exif" not in picture.info:
        return None
    value = picture.getexif().get(_EXIF_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _found_in(stream: RawIOBase, marker: bytes, begin: int) -> bool:
    """Whether ``marker`` stands anywhere from the byte ``begin``: a file may carry data behind its end."""
    stream.seek(begin)
    tail = b""
    while block := stream.read(1 << 20):
        if marker in tail + block:
            return True
        tail = block[-len(marker) :]
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
