"""The lists beside ILIAS's images: ids of queries, positives and distractors, the taxonomy, the captured images.

The ids of distractors are streamed, since there are 100 million: memory does not grow with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import SourceError
from curate.model import Finding, finding
from curate.sources._files import read_json, read_text, shown
from curate.sources._text_blocks import text_blocks

T = TypeVar("T")

FOLDER = "image_ids"
QUERIES = f"{FOLDER}/image_query_ids.txt"
TEXTS = f"{FOLDER}/text_query_ids.txt"
POSITIVES = f"{FOLDER}/positive_ids.txt"
DISTRACTORS = f"{FOLDER}/distractor_ids.txt.gz"
TAXONOMY = "taxonomy.json"
CAPTURED = "ilias_core_captured.txt"
_DISTRACTOR = r"^[^/\s]+/\S+$"

_TREE = msgspec.json.Decoder(dict[str, dict[str, dict[str, list[str]]]])


class Lists(NamedTuple):
    """The id lists, in their order; None where a file is absent."""

    queries: dict[str, list[str]] | None  # with the further columns, of which nothing is known
    texts: dict[str, None] | None
    positives: dict[str, tuple[float, int]] | None  # scale and clutter

    @property
    def instances(self) -> set[str]:
        return {id.partition("/")[0] for part in self for id in part or ()}


def read_lists(root: Path) -> Lists:
    """The lists below ``root``.

    Raises:
        SourceError: a list has an id of another form, an id twice, or a line of other columns.
    """
    return Lists(
        _read(root / QUERIES, _further_columns),
        _read(root / TEXTS, _no_columns),
        _read(root / POSITIVES, _scale_and_clutter),
    )


def _read(path: Path, rest: Callable[[list[str], str], T]) -> dict[str, T] | None:
    if not path.exists():
        return None
    rows: dict[str, T] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        id, *columns = (part.strip() for part in line.split(","))
        where = f"{path}:{number}"
        parts = id.split("/")
        if len(parts) != 3 or not id.isprintable() or any(part in ("", ".", "..") for part in parts):
            raise SourceError(where, f"id is {shown(id)!r}", "expected object/query/file or object/pos/file")
        if id in rows:
            raise SourceError(where, f"{id} stands twice", "expected every id once")
        rows[id] = rest(columns, where)
    return rows


def _further_columns(columns: list[str], where: str) -> list[str]:
    if not columns:
        raise SourceError(where, "1 column", "expected an id and further columns, with commas between")
    return columns


def _no_columns(columns: list[str], where: str) -> None:
    if columns:
        raise SourceError(where, f"{1 + len(columns)} columns", "expected one id per line")


def _scale_and_clutter(columns: list[str], where: str) -> tuple[float, int]:
    if len(columns) != 2:
        raise SourceError(where, f"{1 + len(columns)} columns", "expected 3: id, scale, clutter")
    try:
        scale, clutter = float(columns[0]), int(columns[1])
    except ValueError:
        scale, clutter = math.nan, 0
    if not math.isfinite(scale):
        found = f"scale and clutter are {shown(', '.join(columns))}"
        raise SourceError(where, found, "expected a finite number and an integer")
    return scale, clutter


def read_captured(misc: Path) -> set[str] | None:
    """Ids of the images that ILIAS's authors took themselves; None if the list is absent."""
    path = misc / CAPTURED
    return {line.strip() for line in read_text(path).splitlines() if line.strip()} if path.exists() else None


def read_taxonomy(misc: Path) -> tuple[dict[str, str], list[Finding]]:
    """Object -> ``coarse/mid/fine``; empty if the file is absent. An object that stands twice keeps its first place.

    Raises:
        SourceError: the file is no JSON of three levels and lists.
    """
    path = misc / TAXONOMY
    places: dict[str, str] = {}
    noticed: list[Finding] = []
    if not path.exists():
        return places, noticed
    for coarse, mids in read_json(path, _TREE).items():
        for mid, fines in mids.items():
            for fine, objects in fines.items():
                for name in objects:
                    place = f"{coarse}/{mid}/{fine}"
                    if places.setdefault(name, place) != place:
                        message = f"{shown(name)} stands under {place} and {places[name]}; the first is kept"
                        noticed.append(finding("R01", path.name, message, item=shown(name), severity="warning"))
    return places, noticed


def stream_distractors(path: Path, limit: int | None = None) -> Iterator[pa.Array]:
    """The ids of ``distractor_ids.txt.gz`` as listed, ``<shard file>/<key>``, in arrays of strings; at most ``limit``.

    Raises:
        SourceError: the file is no gzip or cut short, or a line is no such id; the error names the line.
    """
    left, line = limit, 1
    for block in text_blocks(path):
        names = block.splitlines()[:left]
        ids = pa.array(names, pa.string())
        sound = pc.match_substring_regex(ids, _DISTRACTOR)
        bad = pc.index(sound, False).as_py()
        if bad >= 0:
            raise SourceError(f"{path}:{line + bad}", f"id is {shown(names[bad])!r}", "expected shard/key")
        line += len(names)
        yield ids
        if left is not None:
            left -= len(names)
            if left <= 0:
                return
