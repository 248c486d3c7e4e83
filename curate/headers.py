"""The headers of everyday PNG and JPEG files, read directly: Pillow takes ten times as long to say the same.

Anything out of the ordinary (EXIF, several pictures in one file, rare modes, whatever looks wrong) is left to Pillow,
so that there is one judge of odd files.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

HEAD = 4096  # bytes that are looked at

_PNG_MODES = {(1, 0): "1", (8, 0): "L", (8, 2): "RGB", (8, 3): "P", (8, 4): "LA", (8, 6): "RGBA"}
# Chunks between a PNG's header and its pixels that change nothing of what is told here.
_PNG_HARMLESS = {b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"tIME"}
_JPEG_MODES = {1: "L", 3: "RGB"}
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
_JPEG_TABLES = {0xDB, 0xC4, 0xDD, 0xFE}  # quantisation, Huffman, restart interval, comment


class Plain(NamedTuple):
    """An ordinary header: size in pixels, Pillow's names of format and mode, and the byte where the pixels begin."""

    width: int
    height: int
    format: str
    mode: str
    begin: int


def plain_header(head: bytes) -> Plain | None:
    """What the first bytes of a file say if it is an ordinary PNG or JPEG; None leaves it to Pillow."""
    if head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        return _png(head)
    return _jpeg(head) if head.startswith(b"\xff\xd8\xff") else None


def _png(head: bytes) -> Plain | None:
    mode = _PNG_MODES.get((head[24], head[25])) if len(head) > 33 else None
    if mode is None or head[26] or head[27] or zlib.crc32(head[12:29]) != int.from_bytes(head[29:33], "big"):
        return None
    at = 33
    while (kind := head[at + 4 : at + 8]) in _PNG_HARMLESS:
        at += 12 + int.from_bytes(head[at : at + 4], "big")
    if kind != b"IDAT":
        return None
    return Plain(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"), "PNG", mode, at)


def _jpeg(head: bytes) -> Plain | None:
    at, width, height, mode = 2, 0, 0, None
    while at + 9 < len(head) and head[at] == 0xFF:
        kind, size = head[at + 1], head[at + 2] << 8 | head[at + 3]
        if kind == 0xE0:  # JFIF
            if head[at + 4 : at + 9] != b"JFIF\0" or at != 2:
                return None
        elif kind in _JPEG_FRAMES:
            if mode or head[at + 4] != 8 or size < 11:
                return None
            height, width = head[at + 5] << 8 | head[at + 6], head[at + 7] << 8 | head[at + 8]
            mode = _JPEG_MODES.get(head[at + 9])
        elif kind == 0xDA:  # the pixels follow
            begin = at + 2 + size
            return Plain(width, height, "JPEG", mode, begin) if mode and width and height else None
        elif kind not in _JPEG_TABLES:
            return None
        at += 2 + size
    return None
