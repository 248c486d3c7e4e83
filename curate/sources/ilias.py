"""ILIAS: 1,000 particular objects, searched by image or by text among 100 million distractors.

Layout::

    ilias_core/<object>/query/Qxxx_yy.jpg, Qxxx_yy_bbox.txt, [Qxxx_yy_url.txt], Txxx.txt
    ilias_core/<object>/pos/Pxxx_zz.jpg, Pxxx_zz_bbox.txt, [Pxxx_zz_url.txt]
    image_ids/{image_query_ids,text_query_ids,positive_ids}.txt, distractor_ids.txt.gz
    misc/{taxonomy.json,ilias_core_captured.txt}          from the repository of ILIAS; may lie elsewhere

* An image's key is ILIAS's own id of it, the path below ``ilias_core``; a distractor's is ``<shard file>/<key>``.
  Either part of the tree may be absent: without ``ilias_core`` images are known by id only.
* Every object is an instance; its category is its place in the taxonomy, ``coarse/mid/fine``. Without the taxonomy it
  is ``object``.
* ``_bbox.txt`` has a line ``x y w h`` per box, integers, with exclusive right and bottom. An image without box shows
  its object somewhere: an annotation without box. ILIAS's program turns a picture by its EXIF orientation before it
  takes the box; boxes of such pictures are kept as found and reported.
* An image query's box is the union of its boxes, as ILIAS's program crops it. Text queries ask for the same objects.
* What the lists name is what is evaluated: queries, and positives as the gallery; others are kept without a role. All
  other images are negatives of an object, so that the labels are exhaustive. Scale and clutter of a positive are in
  ``attributes.ilias``, with further columns of the list of queries and the address of an image.
* Images that the authors took are CC BY 4.0 by their list; the others keep the licence of their address.
* The distractors are rows only where the option ``distractors`` says how many, ``all`` or a number; ``tables`` streams
  them. ``misc`` names the folder of taxonomy and list of captured images where it is not ``misc`` below the root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import SourceError, UsageError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    Finding,
    Image,
    Instance,
    Item,
    Member,
    Parsed,
    Query,
    Record,
    RelevanceRule,
    Source,
    finding,
)
from curate.pictures import Header, read_header
from curate.sources import _ilias_lists as lists
from curate.sources._box_lines import Box, enclosing_box, read_box_lines
from curate.sources._files import Listing, chosen_splits, list_files, list_folders, read_text, shown
from curate.sources._own_queries import query_of

SOURCE = Source(
    title="ILIAS",
    homepage="https://github.com/ilias-vrg/ilias",
    licence="CC BY 4.0 for captured images; the others keep the licence of their address",
    citation="Kordopatis-Zilos et al.: ILIAS: Instance-Level Image retrieval At Scale. CVPR 2025",
    download="""
The script download/download_ilias.sh at the homepage fetches (6.3 TB in all; no registration)
  ilias_core.tar           5,947 images of 1,000 objects
  image_ids/               lists of queries, positives and distractors (alone: evaluation/download_ids.sh)
  yfcc100m/*.tar           100 million distractors; not needed for an import
Put the folder misc of the repository beside them, or name it: --option misc=FOLDER. Distractors become rows with
--option distractors=all (or a number); a hundred million take tens of gigabytes of memory.
""",
    tree="""
ilias_core/<object>/query/Qxxx_yy.jpg, Qxxx_yy_bbox.txt, Txxx.txt
ilias_core/<object>/pos/Pxxx_zz.jpg, Pxxx_zz_bbox.txt
image_ids/image_query_ids.txt, text_query_ids.txt, positive_ids.txt, distractor_ids.txt.gz
misc/taxonomy.json, ilias_core_captured.txt
""",
    splits=("query", "pos", "distractor"),
    published=Counts(
        images=5_947,
        instances=1_000,
        note="1,232 image queries, 1,000 text queries, 4,715 positives; 100 million distractors beside them",
    ),
)
OPTIONS = {
    "distractors": "how many to make rows of: none, all or a number",
    "misc": "the folder of taxonomy.json and ilias_core_captured.txt, where it is not misc/ below the root",
}
RELEVANCE = RelevanceRule(target="instance")

CORE = "ilias_core"
_UNKNOWN = "object"  # category of an object that no taxonomy places
_PICTURES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
_CAPTURED_LICENCE = "CC BY 4.0"
_ADDRESS_LICENCE = "that of its address"
# ILIAS's extractor takes whatever path holds one of these for a picture of that folder.
_GREEDY = {"pos": "positives", "quer": "queries"}


class _Image(NamedTuple):
    """What the parser of an image needs beyond its picture and boxes."""

    name: str  # of the object
    category: str
    error: SourceError | None
    missing: bool  # listed, and its folder is here, but no picture
    listed: bool
    list_file: str
    url: str | None  # file with the address
    captured: bool | None  # None where the list of captured images is not here
    facts: dict[str, Any]


class _Held(NamedTuple):
    """What a root holds of the chosen splits."""

    splits: list[str]
    lists: lists.Lists
    misc: Path
    folders: list[str]  # of ilias_core


def scan(root: Path, splits: tuple[str, ...], distractors: str = "none", misc: str = "") -> list[Item]:
    """One item per image of the chosen splits that is there or listed; distractors are no items (see :func:`tables`).

    Raises:
        SourceError: ``root`` holds neither images nor lists, an archive is not unpacked, or a list is malformed.
        UsageError: ``distractors`` is neither ``none``, ``all`` nor a number.
    """
    held = _survey(root, splits, distractors, misc)
    taxonomy, _ = lists.read_taxonomy(held.misc)
    captured = lists.read_captured(held.misc)
    items: list[Item] = []
    for role, listed, file in (
        ("query", held.lists.queries, lists.QUERIES),
        ("pos", held.lists.positives, lists.POSITIVES),
    ):
        if role not in held.splits:
            continue
        found = {name: list_files(root, f"{CORE}/{name}/{role}", (*_PICTURES, ".txt")) for name in held.folders}
        keys = {f"{name}/{role}/{file}" for name in found for file in found[name] if _is_picture(file)}
        for key in keys | set(listed or ()):
            facts = _facts(role, (listed or {}).get(key))
            there = key in keys
            about = _Image(
                name=shown(key.partition("/")[0]),
                category=taxonomy.get(key.partition("/")[0], _UNKNOWN),
                error=None,
                missing=not there and bool(held.folders),
                listed=listed is None or key in listed,
                list_file=file,
                url=None,
                captured=None if captured is None else key in captured,
                facts=facts,
            )
            items.append(_item(root, role, key, there, about, found))
    return sorted(items, key=lambda item: item.id)


def _is_picture(file: str) -> bool:
    return file.endswith(_PICTURES) and not Path(file).stem.endswith("_bbox")


def _facts(role: str, row: Any) -> dict[str, Any]:
    if row is None:
        return {}
    return {"scale": row[0], "clutter": row[1]} if role == "pos" else {"columns": row}


def _item(root: Path, role: str, key: str, there: bool, about: _Image, found: dict[str, Listing]) -> Item:
    folder, _, file = key.rpartition("/")
    label = None
    if there:
        listing = found[key.partition("/")[0]]
        stem = Path(file).stem
        boxes, url = f"{stem}_bbox.txt", f"{stem}_url.txt"
        about = about._replace(
            url=f"{CORE}/{folder}/{url}" if url in listing else None,
            error=listing[file] or listing.get(boxes) or listing.get(url),
        )
        label = f"{CORE}/{folder}/{boxes}" if boxes in listing else None
    return Item(f"ilias/{shown(key)}", root, role, f"{CORE}/{key}" if there else None, label, about)


def _survey(root: Path, splits: tuple[str, ...], distractors: str, misc: str) -> _Held:
    wanted = _wanted(distractors)
    both = [CORE, lists.FOLDER]
    chosen = chosen_splits(root, "ilias", SOURCE, {"query": both, "pos": both, "distractor": [lists.FOLDER]}, splits)
    if chosen == ["distractor"] and wanted == 0:
        hint = "say how many: --option distractors=all, or a number"
        raise UsageError("import ilias, split 'distractor'", "no distractors were asked for", hint=hint)
    archive = root / f"{CORE}.tar"
    if archive.exists() and not (root / CORE).is_dir():
        raise SourceError(archive, "is not unpacked", f"expected the folder {CORE} beside it", "unpack it there")
    folder = Path(misc) if misc else root / "misc"
    if misc and not folder.is_dir():
        raise UsageError(f"option misc={misc}", "no such folder", f"expected one with {lists.TAXONOMY}")
    return _Held(chosen, lists.read_lists(root), folder, list_folders(root, CORE))


def _wanted(distractors: str) -> int | None:
    """How many distractors to make rows of; None for all."""
    distractors = str(distractors)
    if distractors == "all":
        return None
    if distractors == "none":
        return 0
    if not re.fullmatch(r"\d{1,12}", distractors):
        raise UsageError(f"option distractors={distractors}", "is no number", "expected none, all or a number")
    return int(distractors)


def records(root: Path, splits: tuple[str, ...], distractors: str = "none", misc: str = "") -> Iterator[Record]:
    """Categories, objects, text queries, coverage, and what was noticed about the tree as a whole."""
    held = _survey(root, splits, distractors, misc)
    taxonomy, noticed = lists.read_taxonomy(held.misc)
    objects = sorted({*held.folders, *held.lists.instances})
    places = {name: taxonomy.get(name, _UNKNOWN) for name in objects}
    for place in sorted({*places.values()}):
        yield Category(name=place, supercategory=place.partition("/")[0] if "/" in place else None)
    texts = dict(_texts(root, held)) if "query" in held.splits else {}
    described = {id.partition("/")[0]: text for id, (text, _) in reversed(texts.items())}
    for name in objects:
        yield Instance(
            id=f"ilias/{shown(name)}",
            category=places[name],
            description=described.get(name),
            taxonomy=taxonomy.get(name),
        )
    for id, (words, listed) in texts.items():
        name = id.partition("/")[0]
        if listed:
            yield Query(
                id=f"ilias/{shown(id)}",
                kind="text",
                group=f"ilias/{shown(name)}",
                text=words,
                instance=f"ilias/{shown(name)}",
                category=places[name],
            )
        else:
            yield finding("N02", f"{CORE}/{shown(id)}", f"{lists.TEXTS} does not name this text query; left out")
    for split in held.splits:
        if split == "distractor" and _wanted(distractors) == 0:
            continue
        yield Coverage(scope=f"ilias/{split}", category="*", state="exhaustive")
    yield from noticed
    yield from _noticed(root, held, taxonomy, objects, distractors)


def _texts(root: Path, held: _Held) -> Iterator[tuple[str, tuple[str | None, bool]]]:
    """Text queries that are there or listed: id, the text where it is there, whether it is listed."""
    listed = held.lists.texts
    there = {
        f"{name}/query/{file}": error
        for name in held.folders
        for file, error in list_files(root, f"{CORE}/{name}/query", ".txt").items()
        if file.startswith("T")
    }
    for id in sorted({*there, *(listed or ())}):
        text = None
        if id in there:
            error = there[id]
            if error:
                raise error
            text = read_text(root / CORE / id).strip()
        yield id, (text, listed is None or id in listed)


def _noticed(root: Path, held: _Held, taxonomy: dict[str, str], objects: list[str], wanted: str) -> Iterator[Finding]:
    if not held.folders:
        yield finding("N05", CORE, "no such folder; images are known by id only", hint="download ilias_core.tar")
    for file, rows in zip((lists.QUERIES, lists.TEXTS, lists.POSITIVES), held.lists, strict=True):
        if rows is None:
            yield finding("N05", file, "no such file; everything of its kind that is there counts as listed")
    if not taxonomy:
        yield finding("N05", f"misc/{lists.TAXONOMY}", "no such file; objects have no place in a taxonomy")
    texts = held.lists.texts
    with_text = None if texts is None else {id.partition("/")[0] for id in texts}
    for name in objects:
        item = f"ilias/{shown(name)}"
        if taxonomy and name not in taxonomy:
            yield finding("R03", f"misc/{lists.TAXONOMY}", f"object {shown(name)} is not in the taxonomy", item=item)
        if with_text is not None and name not in with_text:
            yield finding("R03", lists.TEXTS, "object has no text query; ILIAS's evaluator needs one", item=item)
        for part, kind in _GREEDY.items():
            if part in name:
                message = f"folder's name holds {part!r}: ILIAS's extractor takes all its pictures for {kind}"
                yield finding("N05", f"{CORE}/{shown(name)}", message, item=item)
    if _wanted(wanted) == 0 and (root / lists.DISTRACTORS).exists():
        hint = "--option distractors=all, or a number, makes rows of them"
        yield finding("N05", lists.DISTRACTORS, "distractors are listed there and are no rows here", hint=hint)


def tables(
    root: Path, splits: tuple[str, ...], distractors: str = "none", misc: str = ""
) -> Iterator[tuple[str, pa.Table]]:
    """Rows of distractors in batches: each as an image known by id only, and as a member of the gallery.

    Raises:
        SourceError: the list is missing or malformed.
    """
    wanted = _wanted(distractors)
    if wanted == 0 or "distractor" not in _survey(root, splits, distractors, misc).splits:
        return
    for listed in lists.stream_distractors(root / lists.DISTRACTORS, wanted):
        ids = pc.binary_join_element_wise("ilias", listed, "/")
        yield "images", pa.table({"id": ids, "source": _word("ilias", ids), "source_split": _word("distractor", ids)})
        yield "members", pa.table({"image_id": ids, "role": _word("distractor", ids)})


def _word(word: str, like: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(like)), pa.array([word]))


def parse(item: Item) -> Parsed:
    """One image with the boxes of its object, and the query or gallery image that it is.

    Raises:
        SourceError: its picture is unreadable, or a line of its boxes is no ``x y w h``.
    """
    data: _Image = item.data
    if data.error:
        raise data.error
    header = read_header(item.root / item.image) if item.image else None
    boxes = read_box_lines(item.root / item.label) if item.label else []
    url = read_text(item.root / data.url).strip() if data.url else None
    rows = [_annotation(item, i, box) for i, box in enumerate(boxes)] or [_annotation(item, 0, None)]
    licence = _ADDRESS_LICENCE if url or data.captured is False else None
    attributes = {**data.facts, **({"url": url} if url else {})}
    image = Image(
        id=item.id,
        source="ilias",
        source_split=item.split,
        file_name=item.image or f"{CORE}/{item.id.removeprefix('ilias/')}",
        width=header.width if header else None,
        height=header.height if header else None,
        orientation=header.orientation if header else None,
        licence=_CAPTURED_LICENCE if data.captured else licence,
        attributes={"ilias": attributes} if attributes else None,
    )
    others: list[Record] = list(_oddities(item, data, header, boxes))
    if data.listed:
        role = _query(rows, boxes) if item.split == "query" else None
        others += [role, Member(image_id=item.id, role="query")] if role else [Member(image_id=item.id, role="gallery")]
    return Parsed(image, rows, others)


def _oddities(item: Item, data: _Image, header: Header | None, boxes: list[Box]) -> Iterator[Finding]:
    if not data.listed and item.image:
        yield finding(
            "N05", item.image, f"{data.list_file} does not name this image; kept without a role", item=item.id
        )
    if data.missing:
        yield finding(
            "I01",
            f"{CORE}/{item.id.removeprefix('ilias/')}",
            f"no such file, but {data.list_file} names it",
            item=item.id,
        )
    if item.image and not boxes:
        found = "no box" if item.label else "no _bbox.txt"
        yield finding("N05", item.label or item.image, f"{found}; its object is somewhere in the image", item=item.id)
    if item.image and boxes and header and (header.orientation or 1) > 1:
        message = (
            f"stored turned (EXIF {header.orientation}), and ILIAS's boxes are of the turned picture; kept as found"
        )
        yield finding("I06", item.image, message, item=item.id)


def _annotation(item: Item, number: int, box: Box | None) -> Annotation:
    x, y, w, h = box or (None, None, None, None)
    data: _Image = item.data
    return Annotation(
        id=f"{item.id}#{number:04d}",
        image_id=item.id,
        category=data.category,
        source_label=data.name,
        instance=f"ilias/{data.name}",
        x=x,
        y=y,
        w=w,
        h=h,
        area=float(box[2] * box[3]) if box else None,
    )


def _query(rows: list[Annotation], boxes: list[Box]) -> Query:
    """The query that an image is: its box is the least one that holds all of the image's."""
    query = query_of(rows[0], "image")
    if len(boxes) < 2:
        return query
    x, y, w, h = enclosing_box(boxes)
    return msgspec.structs.replace(query, x=x, y=y, w=w, h=h, annotation_id=None)
