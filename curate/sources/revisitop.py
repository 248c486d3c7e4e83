"""Revisited Oxford and Paris (ROxford5k, RParis6k), and the million distractors (revisitop1m).

Layout, below the folder that is named or its ``datasets/``::

    roxford5k/jpg/<name>.jpg   roxford5k/gnd_roxford5k.pkl
    rparis6k/jpg/<name>.jpg    rparis6k/gnd_rparis6k.pkl
    revisitop1m/jpg/...        revisitop1m/revisitop1m.txt

* An image's id is ``revisitop/<set>/<name>``; that of a distractor has its path in the list.
* A query is a region of its image, ``x1 y1 x2 y2`` in pixels; queries with the same positives are one group and ask for
  one instance. Query images are not in the database.
* What is easy, hard or junk belongs to the pair of query and image: judgements. Every other image of the set is a
  negative, and so are the distractors, which stand behind the database in the order of their list.
* Easy, Medium and Hard are ways to read the judgements (easy; easy and hard; hard), and are chosen when a result is
  scored. The two sets are benchmarks of their own: import them apart with ``--split``.
* Results name images by their place in the lists: ``attributes.revisitop.index`` of an image of the database (0-based;
  a distractor's goes on behind it in its own list's order, from 0), ``attributes.revisitop.query`` of a query image.
* Distractors are images known by id only: ``--option distractors=all`` (or a number, ``none`` by default).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import SourceError, UsageError
from curate.model import (
    Counts,
    Coverage,
    Image,
    Item,
    Member,
    MemberRole,
    Parsed,
    Record,
    RelevanceRule,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources._files import chosen_splits, list_files, shown
from curate.sources._revisitop_gnd import (
    LABELS,
    SETS,
    Question,
    Truth,
    image_id,
    landmarks,
    query_of,
    read_truth,
)
from curate.sources._text_blocks import text_blocks

SOURCE = Source(
    title="Revisited Oxford and Paris (ROxford5k, RParis6k, 1M distractors)",
    homepage="https://github.com/filipradenovic/revisitop",
    licence="images from Flickr, each under its owner's terms; none is stated for the annotations",
    citation="Radenovic, Iscen, Tolias, Avrithis, Chum: Revisiting Oxford and Paris: Large-Scale Image Retrieval "
    "Benchmarking. CVPR 2018",
    download="""
From the homepage (no registration):
  roxford5k, rparis6k      the images of Oxford Buildings and Paris, all in one folder jpg/ each; since June 2022 with
                           blurred faces, so that hashes of older copies differ
  gnd_roxford5k.pkl, gnd_rparis6k.pkl
  revisitop1m.txt          the list of distractors; their images are 100 archives and are not needed here
""",
    tree="""
roxford5k/gnd_roxford5k.pkl, jpg/<name>.jpg
rparis6k/gnd_rparis6k.pkl, jpg/<name>.jpg
revisitop1m/revisitop1m.txt
""",
    splits=(*SETS, "revisitop1m"),
    published=Counts(
        images=11_455,
        note="4,993 images and 70 queries in Oxford, 6,322 and 70 in Paris; and about a million distractors",
    ),
)
OPTIONS = {"distractors": "how many of revisitop1m to make rows of: none, all or a number"}
RELEVANCE = RelevanceRule(target="instance")

_DISTRACTORS = "revisitop1m"
_ABOVE = ("", "datasets/")


class _Image(NamedTuple):
    """What the parser of an image needs beyond its picture."""

    role: MemberRole
    place: dict[str, int]  # in the lists
    query: Question | None
    error: SourceError | None


class _Set(NamedTuple):
    """One of the two sets: its name, its folder and its ground truth."""

    name: str
    folder: str
    truth: Truth


def scan(
    root: Path, splits: tuple[str, ...], held: Sequence[_Set] | None = None, distractors: str = "none"
) -> list[Item]:
    """One item per image that the ground truth names.

    Raises:
        SourceError, UsageError: as :func:`survey`.
    """
    items = []
    for part in held or survey(root, splits, distractors):
        files = list_files(root, f"{part.folder}/jpg", ".jpg")
        index = {name: {"index": i} for i, name in enumerate(part.truth.images)}
        images = {name: _Image("gallery", place, None, None) for name, place in index.items()}
        for i, query in enumerate(part.truth.queries):
            images[query.name] = _Image("query", {**index.get(query.name, {}), "query": i}, query, None)
        for name, image in images.items():
            file = f"{name}.jpg"
            there = f"{part.folder}/jpg/{file}" if file in files else None
            data = image._replace(error=files.get(file))
            items.append(Item(image_id(part.name, name), root, part.name, there, None, data))
    return sorted(items, key=lambda item: item.id)


def survey(root: Path, splits: tuple[str, ...], distractors: str = "none") -> list[_Set]:
    """The sets with their ground truth.

    Raises:
        SourceError: ``root`` holds none of the sets, or a ground truth is missing or malformed.
        UsageError: ``distractors`` is neither all, none nor a number.
    """
    _wanted(distractors)
    sets = []
    for name in _chosen(root, splits):
        if name in SETS:
            folder = _folder(root, name)
            sets.append(_Set(name, folder, read_truth(root / folder / f"gnd_{name}.pkl")))
    return sets


def _chosen(root: Path, splits: tuple[str, ...]) -> list[str]:
    folders = {name: [f"{above}{name}" for above in _ABOVE] for name in SOURCE.splits}
    return chosen_splits(root, "revisitop", SOURCE, folders, splits)


def _folder(root: Path, name: str) -> str:
    return next(f"{above}{name}" for above in _ABOVE if (root / above / name).is_dir())


def _wanted(distractors: str) -> int | None:
    """How many distractors are asked for; None for all."""
    if distractors in ("all", "none"):
        return None if distractors == "all" else 0
    if not distractors.isascii() or not distractors.isdigit():
        raise UsageError(f"option distractors={shown(distractors)}", "is no number", "expected all, none or a number")
    return int(distractors)


def records(
    root: Path, splits: tuple[str, ...], held: Sequence[_Set] | None = None, distractors: str = "none"
) -> Iterator[Record]:
    """Landmarks, coverage, and what was noticed about the lists as a whole."""
    sets = held or survey(root, splits, distractors)
    yield from landmarks({part.name: part.truth for part in sets})
    for part in sets:
        yield Coverage(scope=f"revisitop/{part.name}", category="*", state="exhaustive")
        where = f"gnd_{part.name}.pkl"
        for name in sorted({query.name for query in part.truth.queries} & set(part.truth.images)):
            item = image_id(part.name, name)
            yield finding("Q01", where, f"query {name} is in the database too; a query here", item=item)
    if _wanted(distractors) != 0:
        yield Coverage(scope=f"revisitop/{_DISTRACTORS}", category="*", state="exhaustive")


def tables(
    root: Path, splits: tuple[str, ...], held: Sequence[_Set] | None = None, distractors: str = "none"
) -> Iterator[tuple[str, pa.Table]]:
    """The judgements, and the distractors in batches: each an image known by id only, and a member of the gallery.

    Raises:
        SourceError: the list of distractors is missing or malformed.
    """
    for part in held or survey(root, splits, distractors):
        yield "judgements", _judgements(part)
    wanted = _wanted(distractors)
    if wanted == 0 or (splits and _DISTRACTORS not in splits):
        return
    at = _folder(root, _DISTRACTORS) if _DISTRACTORS in _chosen(root, ()) else _DISTRACTORS
    seen = 0
    for ids, files in _stream(root / at / f"{_DISTRACTORS}.txt", wanted):
        names = pc.binary_join_element_wise(f"{at}/jpg", files, "/")
        index = pc.cast(pa.array(np.arange(seen, seen + len(ids))), pa.string())
        seen += len(ids)
        rows = {"id": ids, "source": _word("revisitop", ids), "source_split": _word(_DISTRACTORS, ids)}
        attributes = pc.binary_join_element_wise('{"revisitop":{"index":', index, "}}", "")
        yield "images", pa.table({**rows, "file_name": names, "attributes": attributes})
        yield "members", pa.table({"image_id": ids, "role": _word("distractor", ids)})


def _judgements(part: _Set) -> pa.Table:
    images = [image_id(part.name, name) for name in part.truth.images]
    rows = [
        (image_id(part.name, query.name), images[index], LABELS.index(label))
        for query in part.truth.queries
        for index, label in query.labelled()
    ]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    labels = pa.DictionaryArray.from_arrays(pa.array(np.array(columns[2], np.int32)), pa.array(LABELS))
    return pa.table(
        {"query_id": pa.array(columns[0], pa.string()), "image_id": pa.array(columns[1], pa.string()), "label": labels}
    )


def _stream(path: Path, limit: int | None) -> Iterator[tuple[pa.Array, pa.Array]]:
    """The ids and paths of a list of distractors, in its order; at most ``limit``."""
    left, line = limit, 1
    for block in text_blocks(path):
        names = block.splitlines()[:left]
        for i, name in enumerate(names):
            if not name or not name.isprintable() or name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise SourceError(f"{path}:{line + i}", f"path is {shown(name)!r}", "expected a path inside jpg/")
        line += len(names)
        files = pa.array(names, pa.string())
        yield pc.binary_join_element_wise(f"revisitop/{_DISTRACTORS}", files, "/"), files
        if left is not None:
            left -= len(names)
            if left <= 0:
                return


def _word(word: str, like: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(like)), pa.array([word]))


def parse(item: Item) -> Parsed:
    """One image, and the query that it may be.

    Raises:
        SourceError: its picture is unreadable.
    """
    data: _Image = item.data
    if data.error:
        raise data.error
    header = read_header(item.root / item.image) if item.image else None
    part, name = item.id.split("/")[1:]
    image = Image(
        id=item.id,
        source="revisitop",
        source_split=item.split,
        file_name=item.image or f"{part}/jpg/{name}.jpg",
        width=header.width if header else None,
        height=header.height if header else None,
        orientation=header.orientation if header else None,
        attributes={"revisitop": data.place},
    )
    others: list[Record] = [Member(image_id=item.id, role=data.role)]
    if header is None:
        message = f"no such file, but gnd_{part}.pkl names it"
        others.append(finding("I01", f"{part}/jpg/{name}.jpg", message, item=item.id))
    if data.query:
        others.append(query_of(part, data.query))
    return Parsed(image, [], others)
