"""INSTRE: 200 particular objects (S1, S2), and pairs of the first hundred in one image (M), with the usual protocol.

Layout::

    INSTRE-S1/<NN><a|b>_<name>/NNN.jpg + NNN.txt     100 objects in pairs, as 07a_... and 07b_...
    INSTRE-S2/<class>/NNN.jpg + NNN.txt              100 objects
    INSTRE-M/<NN>/NNN.jpg + NNN.txt                  the objects NNa and NNb of S1, both in every image
    gnd_instre.mat                                   the protocol of Iscen et al.; may be absent

The three folders may lie under ``INSTRE_release``, as the archive has them; keys are paths from ``INSTRE-S1`` on.

* A box file has a line ``x y w h`` per box, with exclusive right and bottom; whether pixels count from 0 or 1 is not
  known, and boxes are kept as found. In M line 1 is object a, line 2 object b. An image without box still shows its
  objects: annotations without box.
* Every object is a category and an instance of its own: ``INSTRE-S1/07a`` of the category ``INSTRE-S1/07a_name``. An
  image of M shows two.
* Objects are the only labels, and in their own folders: other images are negatives (exhaustive).
* The protocol, where it is there, gives queries (1,250), gallery (the others) and judgements. The order of its boxes is
  told from the box files (``_instre_protocol``); a query of M asks for both objects and names none. Without it images
  have no roles. ``--option gnd=FILE`` names it where it is elsewhere, ``gnd=none`` leaves it aside. It needs scipy.
* INSTRE-XS and XXS are subsets by object size; how they were picked is not published.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from curate.errors import SourceError, UsageError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    Image,
    Instance,
    Item,
    Member,
    MemberRole,
    Parsed,
    Query,
    Record,
    RelevanceRule,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources._box_lines import Box, enclosing_box, read_box_lines
from curate.sources._files import chosen_splits, list_files, list_folders, shown
from curate.sources._instre_protocol import Protocol, query_boxes, read_protocol
from curate.sources._own_queries import query_of

SOURCE = Source(
    title="INSTRE",
    homepage="http://123.57.42.89/instre/home.html",
    licence="not stated by the authors",
    citation="Wang, Jiang: INSTRE: A New Benchmark for Instance-Level Object Retrieval and Recognition. TOMM 2015",
    download="""
INSTRE_release.rar from the homepage (no registration), or instre.tar.gz as re-hosted by the Visual Recognition Group in
Prague. Unpack it.
  gnd_instre.mat           protocol of Iscen et al., from the same group; put it beside the folders. To read it,
                           'pip install scipy'.
""",
    tree="""
INSTRE-S1/<NN><a|b>_<name>/NNN.jpg, NNN.txt
INSTRE-S2/<class>/NNN.jpg, NNN.txt
INSTRE-M/<NN>/NNN.jpg, NNN.txt
gnd_instre.mat
""",
    splits=("S1", "S2", "M"),
    published=Counts(
        images=28_543,
        instances=200,
        note="11,011 images in S1, 12,059 in S2, 5,473 in M; 250 classes with the 50 pairs of M; 1,250 queries",
    ),
)
OPTIONS = {"gnd": "the file gnd_instre.mat, where it is elsewhere, or none to leave it aside"}
RELEVANCE = RelevanceRule(target="instance")

PROTOCOL = "gnd_instre.mat"
_RELEASE = "INSTRE_release"
_ENDINGS = (".jpg", ".jpeg", ".JPG", ".JPEG", ".txt")
_S1_CLASS = re.compile(r"(\d\d[ab])_.*")


class _Object(NamedTuple):
    """An object: its instance, its category, and what the folder says."""

    instance: str
    category: str
    label: str


class _Image(NamedTuple):
    """What the parser of an image needs beyond its picture and boxes."""

    objects: list[_Object]
    group: str
    error: SourceError | None
    missing: bool
    role: MemberRole | None
    box: tuple[float, float, float, float] | None  # of a query


class _Held(NamedTuple):
    """What a root holds of the chosen splits."""

    splits: list[str]
    top: str  # folder with INSTRE-S1 and the others, "" or "INSTRE_release/"
    folders: dict[str, list[str]]  # by split
    protocol: Protocol | None


def scan(root: Path, splits: tuple[str, ...], gnd: str = "") -> list[Item]:
    """One item per image that is there, or that the protocol names.

    Raises:
        SourceError: ``root`` holds none of the three folders, or the protocol does not fit its images.
        UsageError: the protocol is named and not there, or scipy is missing.
    """
    held = _survey(root, splits, gnd)
    names = _s1_classes(root, held)
    listings = {
        f"INSTRE-{split}/{folder}": list_files(root, f"{held.top}INSTRE-{split}/{folder}", _ENDINGS)
        for split in held.splits
        for folder in held.folders[split]
    }
    keys = {f"{folder}/{file}" for folder, files in listings.items() for file in files if not file.endswith(".txt")}
    roles: dict[str, MemberRole] = {}
    boxes: dict[str, tuple[float, float, float, float]] = {}
    if held.protocol:
        chosen = tuple(f"INSTRE-{split}/" for split in held.splits)
        roles = {key: "gallery" for key in held.protocol.gallery if key.startswith(chosen)}
        roles |= {key: "query" for key in held.protocol.queries if key.startswith(chosen)}
        beside = {
            key: root / held.top / _box_file(key)
            for key in held.protocol.queries
            if Path(_box_file(key)).name in listings.get(key.rpartition("/")[0], {})
        }
        boxes = query_boxes(held.protocol, {key: _known(file) for key, file in beside.items() if _known(file)})
    items = []
    for key in sorted(keys | set(roles)):
        folder, _, file = key.rpartition("/")
        listing = listings.get(folder, {})
        label = Path(_box_file(key)).name
        there = key in keys
        data = _Image(
            objects=_objects(folder, names),
            group=shown(folder),
            error=(listing[file] or listing.get(label)) if there else None,
            missing=not there,
            role=roles.get(key),
            box=boxes.get(key),
        )
        beside_it = f"{held.top}{folder}/{label}" if label in listing else None
        split = folder.partition("/")[0].removeprefix("INSTRE-")
        items.append(Item(f"instre/{shown(key)}", root, split, f"{held.top}{key}" if there else None, beside_it, data))
    return sorted(items, key=lambda item: item.id)


def _box_file(key: str) -> str:
    return Path(key).with_suffix(".txt").as_posix()  # not the name up to its first dot: a class may have one


def _known(file: Path) -> list[Box]:
    """Boxes that a query's may be: those of its image, and the one around them all."""
    try:
        boxes = read_box_lines(file)
    except SourceError:  # parsing its image says so
        return []
    return [*boxes, enclosing_box(boxes)] if boxes else []


def _survey(root: Path, splits: tuple[str, ...], gnd: str) -> _Held:
    folders = {split: [f"INSTRE-{split}", f"{_RELEASE}/INSTRE-{split}"] for split in SOURCE.splits}
    chosen = chosen_splits(root, "instre", SOURCE, folders, splits)
    top = "" if any((root / f"INSTRE-{split}").is_dir() for split in SOURCE.splits) else f"{_RELEASE}/"
    path = Path(gnd) if gnd else root / PROTOCOL
    if gnd not in ("", "none") and not path.exists():
        raise UsageError(f"option gnd={gnd}", "no such file", f"expected {PROTOCOL}, or none")
    protocol = read_protocol(path) if gnd != "none" and path.exists() else None
    inside = {split: list_folders(root, f"{top}INSTRE-{split}") for split in SOURCE.splits}
    return _Held(chosen, top, inside, protocol)


def _s1_classes(root: Path, held: _Held) -> dict[str, str]:
    """Full name of each class of S1, by its number and letter."""
    return {match[1]: folder for folder in held.folders["S1"] if (match := _S1_CLASS.fullmatch(folder))}


def _objects(folder: str, names: dict[str, str]) -> list[_Object]:
    """The objects in the images of a folder such as ``INSTRE-M/07``, in the order of their boxes."""
    split, _, name = folder.partition("/")
    if split == "INSTRE-M":
        codes = [f"{name}{letter}" for letter in "ab"]
        return [
            _Object(f"INSTRE-S1/{shown(code)}", f"INSTRE-S1/{shown(names.get(code, code))}", shown(name))
            for code in codes
        ]
    match = _S1_CLASS.fullmatch(name) if split == "INSTRE-S1" else None
    return [_Object(f"{split}/{shown(match[1] if match else name)}", shown(folder), shown(name))]


def records(root: Path, splits: tuple[str, ...], gnd: str = "") -> Iterator[Record]:
    """Categories, objects, coverage, and what was noticed about the tree as a whole."""
    held = _survey(root, splits, gnd)
    names = _s1_classes(root, held)
    objects = {
        found.instance: found
        for split in held.splits
        for folder in held.folders[split]
        for found in _objects(f"INSTRE-{split}/{folder}", names)
    }
    for found in sorted(objects.values()):
        yield Category(name=found.category, supercategory=found.category.partition("/")[0])
        yield Instance(id=found.instance, category=found.category)
    for split in held.splits:
        yield Coverage(scope=f"instre/{split}", category="*", state="exhaustive")
    if "M" in held.splits:
        for pair in held.folders["M"]:
            absent = [f"{pair}{letter}" for letter in "ab" if f"{pair}{letter}" not in names]
            if absent:
                message = f"INSTRE-S1 has no class {' and none '.join(map(shown, absent))}; named by number only"
                yield finding("N05", f"INSTRE-M/{shown(pair)}", message)
    if held.protocol is None:
        hint = "put it beside the folders, or name it: --option gnd=FILE"
        yield finding("N05", PROTOCOL, "no protocol was read; there are no queries", hint=hint)
    else:
        both = sorted({*held.protocol.queries} & {*held.protocol.gallery})
        for key in both:
            yield finding("Q01", PROTOCOL, f"query {key} is in the gallery too; a query here", item=f"instre/{key}")


def tables(root: Path, splits: tuple[str, ...], gnd: str = "") -> Iterator[tuple[str, pa.Table]]:
    """The protocol's judgements: a row per query and positive, of the chosen splits."""
    held = _survey(root, splits, gnd)
    if held.protocol is None:
        return
    chosen = tuple(f"INSTRE-{split}/" for split in held.splits)
    gallery = np.array([f"instre/{key}" for key in held.protocol.gallery], dtype=object)
    inside = np.array([key.startswith(chosen) for key in held.protocol.gallery], dtype=bool)
    queries: list[str] = []
    images: list[str] = []
    for key, positives in zip(held.protocol.queries, held.protocol.positives, strict=True):
        if key.startswith(chosen):
            kept = gallery[np.unique(positives[inside[positives]])]
            queries += [f"instre/{key}"] * len(kept)
            images += kept.tolist()
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(queries), np.int32)), pa.array(["positive"]))
    columns = {"query_id": pa.array(queries, pa.string()), "image_id": pa.array(images, pa.string()), "label": labels}
    yield "judgements", pa.table(columns)


def parse(item: Item) -> Parsed:
    """One image with the boxes of its objects, and the query that it may be.

    Raises:
        SourceError: its picture is unreadable, a line is no box, or an image of M has not two.
    """
    data: _Image = item.data
    if data.error:
        raise data.error
    key = item.id.removeprefix("instre/")
    header = read_header(item.root / item.image) if item.image else None
    boxes = read_box_lines(item.root / item.label) if item.label else []
    if boxes and len(data.objects) == 2 and len(boxes) != 2:
        where = item.root / (item.label or "")
        raise SourceError(where, f"{len(boxes)} boxes", "expected 2: of object a and of object b")
    image = Image(
        id=item.id,
        source="instre",
        source_split=item.split,
        file_name=item.image or key,
        width=header.width if header else None,
        height=header.height if header else None,
        orientation=header.orientation if header else None,
    )
    others: list[Record] = []
    if data.missing:
        others.append(finding("I01", key, f"no such file, but {PROTOCOL} names it", item=item.id))
    elif not boxes:
        found = "no box" if item.label else "no .txt with boxes"
        what = "its object is somewhere in the image"
        others.append(finding("N05", item.label or key, f"{found}; {what}", item=item.id))
    if data.role:
        others.append(Member(image_id=item.id, role=data.role))
    rows = _annotations(item.id, data.objects, boxes)
    if data.role == "query":
        others.append(_query(data, rows))
    return Parsed(image, rows, others)


def _annotations(image_id: str, objects: list[_Object], boxes: list[Box]) -> list[Annotation]:
    """One row per box; one per object where there is none."""
    whose = objects if len(objects) == 2 or not boxes else objects * len(boxes)
    rows = []
    for i, found in enumerate(whose):
        x, y, w, h = boxes[i] if boxes else (None, None, None, None)
        rows.append(
            Annotation(
                id=f"{image_id}#{i:04d}",
                image_id=image_id,
                category=found.category,
                source_label=found.label,
                instance=found.instance,
                x=x,
                y=y,
                w=w,
                h=h,
                area=None if w is None or h is None else float(w * h),
            )
        )
    return rows


def _query(data: _Image, rows: list[Annotation]) -> Query:
    """The query that an image is, with the protocol's box; one of M names no object, since it asks for two."""
    x, y, w, h = data.box or (None, None, None, None)
    query = msgspec.structs.replace(query_of(rows[0], "box"), group=data.group, x=x, y=y, w=w, h=h)
    if len(rows) > 1:
        query = msgspec.structs.replace(query, annotation_id=None)
    if len(data.objects) > 1:
        query = msgspec.structs.replace(query, instance=None, category=None)
    return query
