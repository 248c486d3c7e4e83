"""Scalabel files, BDD100K's own form: one JSON file for many frames, each with its labels; and the form before it.

Such a file may hold a gigabyte. It is mapped, not read: :func:`frame_spans` notes where each frame's text lies, and
:func:`read_frame` decodes one frame from there. Numbers are pixels, origin at the top left of the top-left pixel.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct

from curate.errors import SourceError
from curate.geometry import check_ring
from curate.model import Ring
from curate.sources._files import decode_json, read_json

# px; no picture is as large, and differences of numbers up to here are finite.
_Pixel = Annotated[float, Meta(ge=-1e9, le=1e9)]
_BOM = b"\xef\xbb\xbf"
_CURVE_STEPS = 16  # straight pieces that a Bezier curve is cut into


class Span(NamedTuple):
    """Where a frame's text lies: the file relative to the root, the place in words, first byte and the one after."""

    file: str
    place: str
    start: int
    stop: int


class Corners(Struct, frozen=True, gc=False):
    """A box as written; whether x2 and y2 belong to it is for the source to say."""

    x1: _Pixel
    y1: _Pixel
    x2: _Pixel
    y2: _Pixel


class Curve(Struct, frozen=True, gc=False):
    """Vertices with a letter each: L is a point, C a control point of a cubic Bezier curve."""

    vertices: list[tuple[_Pixel, _Pixel]]
    types: str
    closed: bool


# One vertex of the older form, which has a single curve of them.
OldVertex = tuple[_Pixel, _Pixel, str]


class Label(Struct, frozen=True, gc=False):
    """One label; ``id`` is text in newer files and a number in older ones."""

    category: Annotated[str, Meta(min_length=1)]
    id: str | int | None = None
    attributes: dict[str, Any] | None = None
    box2d: Corners | None = None
    poly2d: list[Curve | OldVertex] | None = None
    score: float | None = None
    manual_shape: Any = msgspec.field(name="manualShape", default=None)
    manual_attributes: Any = msgspec.field(name="manualAttributes", default=None)


class Frame(Struct, frozen=True, gc=False):
    """One frame; ``labels`` may be null, empty or absent."""

    name: str
    labels: list[Label] | None = None
    attributes: dict[str, Any] | None = None
    timestamp: Any = None
    video_name: Any = msgspec.field(name="videoName", default=None)
    frame_index: Any = msgspec.field(name="frameIndex", default=None)
    url: Any = None


class _Named(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1)]


class _Dict(Struct, frozen=True):
    frames: list[Raw]


class _OldFrame(Struct, frozen=True):
    objects: list[Label]
    timestamp: Any = None


class _OldFile(Struct, frozen=True):
    name: str
    frames: list[_OldFrame]
    attributes: dict[str, Any] | None = None


_list = msgspec.json.Decoder(list[Raw])
_dict = msgspec.json.Decoder(_Dict)
_named = msgspec.json.Decoder(_Named)
_frame = msgspec.json.Decoder(Frame)
_old_file = msgspec.json.Decoder(_OldFile)


def frame_spans(root: Path, file: str) -> Iterator[tuple[str | None, Span, SourceError | None]]:
    """The frames of a Scalabel file, a list or a dict with the key ``frames``: name, place, and what is wrong with it.

    Raises:
        SourceError: the file cannot be read or is no such JSON.
    """
    path = root / file
    whole = _map(path)
    head = bytes(whole[:64]).removeprefix(_BOM)
    text = whole[len(_BOM) :] if whole[: len(_BOM)] == _BOM else whole
    in_dict = head.lstrip()[:1] == b"{"
    parts = decode_json(text, _dict, path).frames if in_dict else decode_json(text, _list, path)
    begin = _address(whole)
    for i, part in enumerate(parts):
        start = _address(part) - begin
        span = Span(file, f"{'frames' if in_dict else ''}[{i}]", start, start + len(memoryview(part)))
        try:
            yield decode_json(part, _named, path, span.place).name, span, None
        except SourceError as error:
            yield None, span, error


def _map(path: Path) -> memoryview:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(path, "is no regular file", "expected JSON")
        if not path.stat().st_size:
            return memoryview(b"")
        with path.open("rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise SourceError(path, f"cannot be read ({error.strerror})", "expected JSON") from error


def _address(data: memoryview | Raw) -> int:
    """Where a buffer begins. A part that was not decoded is a view of the whole, so the difference is its offset."""
    address: int = np.frombuffer(data, np.uint8).ctypes.data if len(memoryview(data)) else 0
    return address


def read_frame(root: Path, span: Span) -> Frame:
    """Decode one frame.

    Raises:
        SourceError: a field is missing or of another type; the error names file and place.
    """
    path = root / span.file
    try:
        with path.open("rb") as stream:
            stream.seek(span.start)
            data = stream.read(span.stop - span.start)
    except OSError as error:
        raise SourceError(path, f"cannot be read ({error.strerror})", "expected JSON") from error
    return decode_json(data, _frame, path, span.place)


def read_old_frame(path: Path) -> Frame:
    """The one frame of a file of the form before 28 August 2018; its name has no ending.

    Raises:
        SourceError: the file cannot be read, is no such JSON, or has several frames.
    """
    file = read_json(path, _old_file)
    if len(file.frames) > 1:
        raise SourceError(f"{path}, frames", f"has {len(file.frames)} frames", "expected one")
    frame = file.frames[0] if file.frames else _OldFrame([])
    return Frame(name=file.name, labels=frame.objects, attributes=file.attributes, timestamp=frame.timestamp)


def outlines(poly2d: Sequence[Curve | OldVertex], closed: bool) -> tuple[list[Ring], list[Ring]] | str:
    """The closed and the open curves of a label, flattened; or, in words, why they show nothing.

    ``closed`` is for the older form, which does not say.
    """
    curves = [curve for curve in poly2d if isinstance(curve, Curve)]
    old = [vertex for vertex in poly2d if not isinstance(vertex, Curve)]
    if old:
        curves.append(Curve([(x, y) for x, y, _ in old], "".join(letter for _, _, letter in old), closed))
    rings: list[Ring] = []
    lines: list[Ring] = []
    for curve in curves:
        found = flatten(curve)
        if isinstance(found, str):
            return found
        (rings if curve.closed else lines).append(found)
    return rings, lines


def flatten(curve: Curve) -> Ring | str:
    """A curve as a ring ``[x0, y0, x1, y1, ...]``, each Bezier curve cut into 16 pieces; or why there is none.

    As matplotlib draws a path: a C begins a cubic curve, with the next vertex as second control point and the one after
    as its end, whatever their letters; that of a closed curve may be its first point.
    """
    points, types = curve.vertices, curve.types
    if not points:
        return "has no vertex"
    if len(points) != len(types) or set(types) - {"L", "C"} or types[:1] == "C":
        return f"has {len(points)} vertices of the types {types!r}"
    ring = [*points[0]]
    if curve.closed:
        points = [*points, *points[:1]]
    i, bent = 1, False
    while i < len(types):
        bent = types[i] == "C"
        if not bent:
            ring += points[i]
            i += 1
        elif i + 2 < len(points):
            ring += _bezier([points[i - 1], *points[i : i + 3]])
            i += 3
        else:
            return f"ends within a curve (types {types!r})"
    back = bent and curve.closed and ring[-2:] == ring[:2]  # it ended in its first point
    return ring[:-2] if back else ring


def _bezier(points: Sequence[tuple[float, float]]) -> list[float]:
    """Points on a cubic Bezier curve behind its start, x and y in turn."""
    t = np.linspace(0, 1, _CURVE_STEPS + 1)[1:, None]
    start, first, second, end = np.asarray(points, float)
    on = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3 * end
    flat: list[float] = on.ravel().tolist()
    return flat


def usable(rings: Sequence[Ring], width: int, height: int) -> str | None:
    """What is wrong with rings, in words, or None."""
    wrong = next(filter(None, (check_ring(ring, width, height) for ring in rings)), None)
    return wrong and wrong[4:]
