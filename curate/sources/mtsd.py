"""Mapillary Traffic Sign Dataset (MTSD) v2: street pictures of the whole world, one JSON file of signs per picture.

Two sets: one annotated in full (splits ``train``, ``val``, ``test``), one in part (``partially_annotated/train``). The
key of a picture is its file name, 22 characters that may begin with ``-``: ``mtsd/<key>``, wherever the picture lies.
Splits are those of the lists; for a key in none, the name of the archive that its picture was unpacked from.

* Box: ``w = xmax - xmin``, ``h = ymax - ymin``, pixels, floats on a scaled grid. Annotation ids end in the key of the
  object: ``mtsd/<key>#<object key>``.
* A sign over the seam of a panorama (``ispano``) has ``xmin > xmax`` and two pieces. Each is a row of its own:
  ``left`` is the left part of the sign, at the right border of the picture; ``right`` (id ``.../right``), at the left
  border, has the left one as ``parent_id``. Rows without parent are thus the signs. The box as found is kept.
* ``instance`` is the object's key. In the set annotated in part, most signs are another view (``correspondance``) of a
  sign of the other set and have its key. Signs with different keys may still be one and the same.
* The set annotated in part has signs that nobody labelled: coverage ``partial``, never a negative. In the other set
  all signs are labelled, if only as ``other-sign``: exhaustive for these classes. ``test`` has no annotations.
* ``properties`` (``occluded``, ``ambiguous``, ``exterior``: no sign of the traffic, ``dummy``: looks like one, ...) and
  ``correspondance`` are kept as found under ``attributes.mtsd``.
* Where a file states the size of a picture as seen upright and the picture is stored turned (EXIF), boxes are turned
  back into the stored frame and the box as found is kept (I06). Whether the real set has such files is not known.
* Keys of the lists with neither picture nor annotation are left out (one finding per list); annotated images whose
  picture is missing stay. MTSD and Mapillary Vistas share near-duplicates: look across both before splitting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.errors import SourceError
from curate.model import (
    Annotation,
    Category,
    CategoryRole,
    Counts,
    Coverage,
    Image,
    Item,
    Parsed,
    Record,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import _mtsd_tree as tree
from curate.sources import label_table
from curate.sources._files import Size, chosen_splits
from curate.sources._mtsd_objects import read_signs

_SPLITS = tuple(split for splits in tree.SPLITS.values() for split in splits.values())
_PARTIAL = "partially_annotated/train"

SOURCE = Source(
    title="Mapillary Traffic Sign Dataset (MTSD) v2",
    homepage="https://www.mapillary.com/dataset/trafficsign",
    licence="CC BY-NC-SA",
    citation="Ertler, Mislej, Ollmann, Porzi, Neuhold, Kuang: The Mapillary Traffic Sign Dataset for Detection and "
    "Classification on a Global Scale. ECCV 2020",
    download="""
Register at the homepage, choose "Download dataset", then unpack into one folder (or each into one of its own name)
  mtsd_fully_annotated_annotation.zip
  mtsd_fully_annotated_images.{train.0,train.1,train.2,val,test}.zip
  mtsd_partially_annotated_annotation.zip
  mtsd_partially_annotated_images.{train.0,train.1,train.2,train.3}.zip
Either set may be absent, and so may any archive of pictures. SearchAD takes the pictures of both sets.
""",
    tree="""
images/<key>.jpg                                      all splits mixed
mtsd_v2_fully_annotated/annotations/<key>.json
mtsd_v2_fully_annotated/splits/{train,val,test}.txt
mtsd_v2_partially_annotated/annotations/<key>.json
mtsd_v2_partially_annotated/splits/train.txt
""",
    splits=_SPLITS,
    published=Counts(
        images=105_830,
        note="36,589 train, 5,320 val and 10,544 test with 257,543 signs, and 53,377 annotated in part",
    ),
    version="2",
)

_OTHER_SIGN = "other-sign"
_FROM_SEARCHAD = re.compile(r"(?:[^/]+/)*([A-Za-z0-9_-]+)\.jpg")


def key_from_searchad(path: str) -> str | None:
    """The image id of a path below SearchAD's folder ``mapillary_sign``, or None if it is no such path.

    Which folders lie between is not known; a key needs none.
    """
    match = _FROM_SEARCHAD.fullmatch(path)
    return f"mtsd/{match[1]}" if match else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per image that a picture or an annotation is there of.

    Raises:
        SourceError: ``root`` is no tree of MTSD, or a split that was asked for is not there.
    """
    found = _survey(root)
    return list(tree.items(root, found, _chosen(found, root, splits) if splits else None))


def _survey(root: Path) -> tree.Survey:
    folders = tree.places(root) if root.is_dir() else []
    chosen_splits(root, "mtsd", SOURCE, dict.fromkeys(_SPLITS, folders or tree.usual_places()), ())
    return tree.survey(root)


def _chosen(found: tree.Survey, root: Path, splits: Sequence[str]) -> list[str]:
    present = sorted({split for split in found.splits.values() if split})
    for split in splits:
        if split not in present:
            there = f"it holds {', '.join(present)}" if present else "it holds pictures of no known split"
            raise SourceError(root, f"holds no split {split!r}", "expected its list and its pictures", there)
    return [split for split in present if not splits or split in splits]


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and what was left out."""
    classes = label_table("mtsd")
    for row in classes:
        role: CategoryRole = "other" if row["label"] == _OTHER_SIGN else "benchmark"
        yield Category(name=row["label"], supercategory=row["group"], role=role)
    found = _survey(root)
    for split in _chosen(found, root, splits):
        if split not in found.labelled:
            yield Coverage(scope=f"mtsd/{split}", category="*", state="none")
        elif split == _PARTIAL:
            yield Coverage(scope=f"mtsd/{split}", category="*", state="partial")
        else:
            for row in classes:
                yield Coverage(scope=f"mtsd/{split}", category=row["label"], state="exhaustive")
    if not splits:
        yield from found.findings


def parse(item: Item) -> Parsed:
    """One image with its signs.

    Raises:
        SourceError: a file is unreadable or malformed, a box has flipped corners and no pieces, a key stands twice, or
            the annotation was made for a picture of another size.
    """
    frame: tree.Frame = item.data
    if frame.error:
        raise frame.error
    header = read_header(item.root / item.image) if item.image else None
    size: Size | None = (header.width, header.height) if header else None
    ispano: bool | None = None
    rows: list[Annotation] = []
    others = list(_missing(item))
    if item.label:
        size, ispano, rows, turned = read_signs(item.root / item.label, item.id, header)
        if turned:
            message = f"picture is stored turned (EXIF orientation {turned}), and was annotated as seen upright"
            others.append(finding("I06", frame.expected, f"{message}; boxes turned to the stored frame", item=item.id))
    image = Image(
        id=item.id,
        source="mtsd",
        source_split=item.split,
        file_name=frame.expected,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        licence=SOURCE.licence,
        attributes=None if ispano is None else {"mtsd": {"ispano": ispano}},
    )
    return Parsed(image, rows, others)


def _missing(item: Item) -> Iterator[Record]:
    """What an image lacks, and its coverage where that of its split does not hold."""
    frame: tree.Frame = item.data
    if not item.image:
        yield finding("I01", frame.expected, f"no such file, but {item.label} labels it", item=item.id)
    if item.split is None:
        # With annotations, too, it is not known which set's promise holds.
        yield Coverage(scope=item.id, category="*", state="partial" if item.label else "none")
        message = "image stands in no list of a split"
        yield finding("N05", frame.expected, message, item=item.id, hint="is the archive of annotations unpacked?")
    elif not item.label and frame.labelled:
        message = "image has no annotation file; whether it shows any sign is unknown"
        yield finding("F01", frame.expected, message, item=item.id, severity="warning")
        yield Coverage(scope=item.id, category="*", state="none")
    if frame.listed and frame.listed.again:
        message = f"image stands again in {frame.listed.again}; taken for {item.split}"
        yield finding("Q03", frame.listed.where, message, item=item.id, severity="warning")
