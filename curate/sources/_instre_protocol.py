"""The retrieval protocol of INSTRE by Iscen et al., ``gnd_instre.mat``: queries, their boxes, gallery and positives.

The file is MATLAB's, read by scipy: ``imlist`` and ``qimlist`` are paths, ``gnd`` has for every query the places of its
positives in ``imlist``, counted from 1, and a box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate import matlab
from curate.errors import SourceError
from curate.sources._box_lines import Box
from curate.sources._files import read_bytes, shown

_PATH = re.compile(r"INSTRE-(S1|S2|M)/[^/\\]+/[^/\\]+")
_SLACK = 1.0  # px: MATLAB counts pixels from 1


class Protocol(NamedTuple):
    """Paths are those below INSTRE's folder; ``boxes`` is ``(queries, 4)`` in the file's own order of numbers."""

    path: Path
    gallery: list[str]
    queries: list[str]
    positives: list[NDArray[np.int64]]  # per query, places in the gallery from 0
    boxes: NDArray[np.float64]


def read_protocol(path: Path) -> Protocol:
    """Read ``gnd_instre.mat``.

    Raises:
        UsageError: scipy is not installed.
        SourceError: the file is no such MATLAB file, or its lists do not fit each other.
    """
    hint = "install it ('pip install scipy'), or leave the file aside with --option gnd=none"
    held = matlab.load(read_bytes(path), path, ["imlist", "qimlist", "gnd"], hint)
    try:
        gallery, queries = _texts(held["imlist"]), _texts(held["qimlist"])
        found = [(np.ravel(entry[0]), np.ravel(entry[1])) for entry in held["gnd"].ravel()]
        places = [np.asarray(places, np.int64) - 1 for places, _ in found]
        boxes = np.array([box for _, box in found], np.float64).reshape(len(found), 4)
    except Exception as error:  # arrays of any kind and shape may have these names
        found_there = f"is no file of the protocol ({type(error).__name__}: {error})"
        raise SourceError(path, found_there, "expected imlist, qimlist and gnd", "download it again") from error
    if len(found) != len(queries):
        raise SourceError(path, f"has {len(queries)} queries and {len(found)} lists of positives", "expected as many")
    _check_paths(path, gallery, "imlist")
    _check_paths(path, queries, "qimlist")
    for query, rows in zip(queries, places, strict=True):
        if len(rows) and (rows.min() < 0 or rows.max() >= len(gallery)):
            found_there = f"names image {int(rows.max()) + 1 if rows.min() >= 0 else int(rows.min()) + 1}"
            raise SourceError(f"{path}, query {query}", found_there, f"expected 1 to {len(gallery)}")
    if not np.isfinite(boxes).all():
        raise SourceError(path, "a query's box is not finite", "expected four numbers")
    return Protocol(path, gallery, queries, places, boxes)


def _texts(cells: NDArray[Any]) -> list[str]:
    return [str(np.ravel(cell)[0]) for cell in cells.ravel()]


def _check_paths(path: Path, names: list[str], what: str) -> None:
    for name in names:
        if not _PATH.fullmatch(name) or not name.isprintable() or "/../" in name or "/./" in name:
            raise SourceError(f"{path}, {what}", f"names {shown(name)!r}", "expected INSTRE-S1/class/image.jpg")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(sorted(names)) if i and name == sorted(names)[i - 1])
        raise SourceError(f"{path}, {what}", f"{shown(twice)} stands twice", "expected every image once")


def query_boxes(protocol: Protocol, known: dict[str, list[Box]]) -> dict[str, tuple[float, float, float, float]]:
    """The boxes of the queries as ``x, y, w, h``.

    Public programs disagree on whether the file has ``x1 y1 x2 y2`` or ``x y w h``. It is read the way in which all the
    queries' boxes are boxes that stand beside the images (``known``: by query, any of these), within a pixel.

    Raises:
        SourceError: neither way fits all of them; the error names a query that speaks against the better way.
    """
    as_found = dict(zip(protocol.queries, protocol.boxes.tolist(), strict=True))
    sizes = {query: (x, y, a, b) for query, (x, y, a, b) in as_found.items()}
    corners = {query: (x, y, a - x, b - y) for query, (x, y, a, b) in as_found.items()}
    misfits = {
        way: [query for query, boxes in known.items() if not _is_one_of(read[query], boxes)]
        for way, read in (("x1 y1 x2 y2", corners), ("x y w h", sizes))
    }
    if not misfits["x1 y1 x2 y2"]:
        return corners
    if not misfits["x y w h"]:
        return sizes
    way = min(misfits, key=lambda name: len(misfits[name]))
    query = misfits[way][0]
    raise SourceError(
        f"{protocol.path}, query {query}",
        f"box is {as_found[query]}, beside the image {[list(box) for box in known[query]]}",
        f"expected one of these as x1 y1 x2 y2, or as x y w h; {len(misfits[way])} of {len(known)} queries do not fit",
        "are the file and the images of one release?",
    )


def _is_one_of(box: Iterable[float], boxes: list[Box]) -> bool:
    return any(all(abs(a - b) <= _SLACK for a, b in zip(box, other, strict=True)) for other in boxes)
