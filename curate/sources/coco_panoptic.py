"""COCO panoptic: a JSON file whose segments are numbered in the colours of one PNG per image, of any origin.

Layout, as the official archives unpack, or the JSON file and its folder of PNGs side by side::

    [annotations/]panoptic_val2017.json
    [annotations/]panoptic_val2017/000000000139.png      the folder has the name of the file without .json
    val2017/000000000139.jpg                             the images; they need not be there

``curate import coco FILE`` takes such a file too. Images have the ids that a COCO file of instances gives them
(``coco/<file name>``), so that both can be merged. A file's split is its name without ``panoptic_``. ``--option
json=FILE`` names one file of several, ``masks=FOLDER`` and ``images=FOLDER`` say where else the pictures are; all are
relative to the root.

* A mask is where the PNG has a segment's number (``_panoptic``). Things and stuff are both kept; a class that the file
  calls stuff (``isthing`` 0) has the role other. ``iscrowd`` is kept.
* Labels are whatever the file declares. Panoptic labels say of every pixel what it shows, but for those of number 0:
  coverage of an image with an annotation is exhaustive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from curate.errors import SourceError, UsageError
from curate.model import Category, Coverage, CoverageState, Image, Item, Parsed, Record, Source, finding
from curate.pictures import read_header
from curate.sources import _panoptic as panoptic
from curate.sources._coco_parts import Label
from curate.sources._files import list_files, shown

SOURCE = Source(
    title="COCO panoptic of any origin",
    homepage="https://cocodataset.org/#format-data",
    licence="as the file says",
    citation="Kirillov, He, Girshick, Rother, Dollár: Panoptic Segmentation. CVPR 2019",
    download="""
Files of yours, or panoptic_annotations_trainval2017.zip from the homepage (no registration). Unpack it, and the
archives of PNGs that it holds.
""",
    tree="""
annotations/panoptic_<name>.json
annotations/panoptic_<name>/<image>.png
<name>/<image>.jpg                       optional
""",
    splits=("train2017", "val2017"),
)
OPTIONS = {
    "json": "one panoptic file of several, below the root",
    "masks": "the folder of the PNG files, where it is not called like the JSON file",
    "images": "the folder of the pictures, where it is not called like the split",
}
LABELS_ARE_OPEN = True
_PREFIX = "panoptic_"


class _Image(NamedTuple):
    """What the parser of an image needs beyond its picture."""

    entry: panoptic.Entry
    masks: str  # folder of the PNG
    labels: dict[int, Label]
    error: SourceError | None  # of its name


class _File(NamedTuple):
    """A panoptic file and where its pictures are, all relative to the root."""

    path: str
    name: str  # val2017
    masks: str
    found: panoptic.PanopticFile


def scan(
    root: Path,
    splits: tuple[str, ...],
    held: Sequence[_File] | None = None,
    json: str = "",
    masks: str = "",
    images: str = "",
) -> list[Item]:
    """One item per image that a file names.

    Raises:
        SourceError: as :func:`survey`, or two files name one image.
        UsageError: a file or folder that an option names is not there.
    """
    items: dict[str, Item] = {}
    for file in held or survey(root, splits, json, masks):
        folder = _folder(root, images, file.name)
        there = list_files(root, folder, (".jpg", ".jpeg", ".png", ".JPG")) if folder is not None else {}
        for name, entry in file.found.entries.items():
            id = f"coco/{shown(name)}"
            if id in items:
                raise SourceError(root / file.path, f"{shown(name)} is in {items[id].data.entry.file} too")
            data = _Image(entry, file.masks, file.found.labels, there.get(name))
            picture = f"{folder}/{name}".removeprefix("/") if name in there else None
            items[id] = Item(id, root, file.name, picture, None, data)
    return sorted(items.values(), key=lambda item: item.id)


def survey(root: Path, splits: tuple[str, ...], json: str = "", masks: str = "", images: str = "") -> list[_File]:
    """The panoptic files.

    Raises:
        SourceError: there is none, or one is malformed.
        UsageError: a file or folder that an option names is not there.
    """
    if json and not (root / json).is_file():
        raise UsageError(f"option json={shown(json)}", "no such file", f"expected a file below {shown(root)}")
    if masks and not (root / masks).is_dir():
        raise UsageError(f"option masks={shown(masks)}", "no such folder", f"expected a folder below {shown(root)}")
    listed = [json] if json else []
    for folder in ("annotations", "") if root.is_dir() and not json else ():
        names = [name for name in list_files(root, folder, ".json") if name.startswith(_PREFIX)]
        listed = listed or sorted(f"{folder}/{name}".removeprefix("/") for name in names)
    if not listed:
        raise SourceError(
            root,
            "holds no panoptic file" if root.is_dir() else "is a file",
            f"expected annotations/{_PREFIX}<name>.json",
            "name the file: --option json=FILE",
        )
    files = []
    for path in listed:
        name = PurePosixPath(path).stem.removeprefix(_PREFIX)
        if splits and name not in splits:
            continue
        files.append(_File(path, name, masks or path.removesuffix(".json"), panoptic.read_panoptic(root, path)))
    missing = sorted(set(splits) - {file.name for file in files})
    if missing:
        raise SourceError(root, f"holds no split {missing[0]!r}", f"expected {_PREFIX}{missing[0]}.json")
    return files


def _folder(root: Path, images: str, name: str) -> str | None:
    """The folder of the images, if there is one."""
    if images:
        if not (root / images).is_dir():
            where = f"option images={shown(images)}"
            raise UsageError(where, "no such folder", f"expected a folder below {shown(root)}")
        return images
    return next((folder for folder in (name, f"images/{name}", "images") if (root / folder).is_dir()), None)


def records(
    root: Path,
    splits: tuple[str, ...],
    held: Sequence[_File] | None = None,
    json: str = "",
    masks: str = "",
    images: str = "",
) -> Iterator[Record]:
    """The classes that the files declare, and annotations of no image."""
    labels: dict[str, Label] = {}
    for file in held or survey(root, splits, json, masks):
        yield from file.found.findings
        labels |= {label.name: label for label in file.found.labels.values()}
    for name, label in sorted(labels.items()):
        yield Category(
            name=name,
            supercategory=label.supercategory,
            role="other" if label.isthing is not None and not label.isthing else "benchmark",
        )


def roots(root: Path) -> dict[str, str]:
    """Images are COCO's."""
    return {"coco": str(root)}


def parse(item: Item) -> Parsed:
    """One image with its segments.

    Raises:
        SourceError: its picture or PNG is unreadable or of another size, or its segments are malformed.
    """
    data: _Image = item.data
    if data.error:
        raise data.error
    header = read_header(item.root / item.image) if item.image else None
    entry, size = data.entry, (header.width, header.height) if header else None
    png = f"{data.masks}/{entry.png}" if entry.png else None
    there = png if png and (item.root / png).is_file() else None
    if there:
        _stays_inside(item.root, there)
    size, regions, noticed = panoptic.read_regions(item.root, there, entry, size, item.id, lambda segment: True)
    rows, others = [], list[Record](noticed)
    for region in regions:
        label = data.labels.get(region.segment.category_id)
        if label is None:
            where = f"{entry.file}, {entry.place}.segments_info, id {region.segment.id}"
            message = f"category_id {region.segment.category_id} is not declared; left out"
            others.append(finding("R10", where, message, item=item.id, severity="warning"))
        else:
            rows.append(panoptic.region_annotation(item.id, "coco_panoptic", region, shown(label.name)))
    if entry.segments is None:
        message = f"{entry.file} has no annotation of it; it is unlabelled, not empty"
        others.append(finding("N05", entry.file, message, item=item.id))
    state: CoverageState = "none" if entry.segments is None else "exhaustive" if there else "partial"
    others.append(Coverage(scope=item.id, category="*", state=state))
    image = Image(
        id=item.id,
        source="coco",
        source_split=item.split,
        file_name=item.image or shown(entry.name),
        width=size[0],
        height=size[1],
        orientation=header.orientation if header else None,
    )
    return Parsed(image, rows, others)


def _stays_inside(root: Path, file: str) -> None:
    if not (root / file).resolve().is_relative_to(root.resolve()):
        raise SourceError(root / file, f"is a link that leaves {shown(root)}", "expected the file itself")
