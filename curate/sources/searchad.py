"""SearchAD: boxes of 90 rare classes, and queries for them, on images of eleven driving datasets.

An image belongs to the dataset that it was taken from: SearchAD's path of it is turned into that source's own id by
``key_from_searchad`` in the source's module, so that a merge with an import of the source joins them. A path that fits
no source keeps an id of its own, ``searchad/<path>``, and is reported.

* ``bbox`` is ``[x1, y1, x2, y2]``, continuous and half-open, integers or floats: ``w = x2 - x1``, as SearchAD's own
  area is taken. A default query's box has its corners by name. The numbers as found are in ``attributes.searchad``.
* Rows are SearchAD's own beside those of the source, ``<image id>#searchad:0000``, in the file's order.
* ``split`` is that of SearchAD, which is not the source's: train images of BDD100K stand in SearchAD's val. What split
  an image has at its source SearchAD does not say.
* 90 labels are evaluated. Five more (``...-Other``) stand in the annotations and are not (role ``other``).
* An image listed without boxes shows none of the 90 classes; test images have no labels (withheld). Coverage says so
  in rows of the scopes ``searchad/train``, ``searchad/val`` and ``searchad/test``, and a row for each image points at
  its scope: the image's own source states its coverage by its own splits.
* A positive has a box of at least 50 px²; an image whose boxes of a class are all smaller is ignored for it. A class
  that no image shows scores 0 and counts.
* The gallery is val and test. Default queries become queries of a support set; images of their examples are imported
  with every split, listed or not.
* The images are those of the sources; where a folder is missing they are known by id only. Image paths, with the place
  in SearchAD's file or the test id, are kept in ``attributes.searchad``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from curate import sources
from curate.errors import SourceError
from curate.geometry import box_from_corners
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    Image,
    Item,
    Member,
    Parsed,
    Query,
    QueryKind,
    Record,
    RelevanceRule,
    Source,
    Support,
    finding,
)
from curate.pictures import read_header
from curate.sources import _searchad_files as files
from curate.sources import label_table
from curate.sources._files import Listing, decode_json, list_files, shown

SOURCE = Source(
    title="SearchAD",
    homepage="https://github.com/iis-esslingen/searchad_devkit",
    licence="SearchAD licence, accepted at download; images under the terms of their sources",
    citation="SearchAD: large-scale rare image retrieval for autonomous driving; see the homepage for authors",
    download="""
Accept the licence at the homepage, then download and unpack
  searchad.zip (11 MB)     annotations of train and val, list of test images, default queries
The images are those of eleven datasets, each with its own registration, in the folders of the tree below. Folders may
be absent: their images are then known by id only, and a merge with an import of the source brings the rest.
""",
    tree="""
searchad_annotations_train.json
searchad_annotations_val.json
searchad_test_mapping_id_to_imagepath.json
default_queries/<label>.json
acdc/ bdd100k_images_100k/ cityscapes/ ECP/ IDD_Segmentation/ kitti/ lostandfound/ mapillary_sign/
mapillary_vistas/ nuscenes/ wd_both02/ wd_publicv2p0/
""",
    splits=("train", "val", "test"),
    published=Counts(images=423_798, annotations=513_265, note="of all splits; the labels of test are withheld"),
    version="1.0.0",
)
RELEVANCE = RelevanceRule(target="category", min_area=50.0, empty_query="zero")

# SearchAD's folder -> source of its images.
FOLDERS = {
    "acdc": "acdc",
    "bdd100k_images_100k": "bdd100k",
    "cityscapes": "cityscapes",
    "ECP": "ecp",
    "IDD_Segmentation": "idd",
    "kitti": "kitti",
    "lostandfound": "lost_and_found",
    "mapillary_sign": "mtsd",
    "mapillary_vistas": "mapillary_vistas",
    "nuscenes": "nuscenes",
    "wd_both02": "wilddash2",
    "wd_publicv2p0": "wilddash2",
}
# Sources whose images lie in two of the folders: their root is SearchAD's, and their paths begin with the folder.
_SPREAD = ("wilddash2",)
_GALLERY = ("val", "test")
_UNLISTED = "unlisted"  # the scope of images that only a default query names
_ENDINGS = (".png", ".jpg", ".jpeg")

Mapper = Callable[[str], str | None]


class _Boxed(Struct, frozen=True):
    label: str
    bbox: tuple[float, float, float, float]


_BOXES = msgspec.json.Decoder(list[_Boxed])


class _Named(NamedTuple):
    """Whose an image is: its id, source, and path below the root of that source."""

    id: str
    source: str
    file_name: str


class _Image(NamedTuple):
    """What the parser of an image needs beyond its files."""

    named: _Named
    path: str
    place: int | None  # its number in SearchAD's file, or its id among the test images
    boxes: bytes | None  # JSON
    expected: bool  # the folder of its source is here, so that its picture should be
    error: SourceError | None  # what forbids reading it


def roots(root: Path) -> dict[str, str]:
    """The folder of each source's images."""
    return {source: str(root if source in _SPREAD else root / folder) for folder, source in FOLDERS.items()}


class _Files(NamedTuple):
    """What SearchAD's files list: the images of every split, and the default queries; and which splits are wanted."""

    images: dict[str, list[files.Listed]]
    queries: list[files.Query]
    chosen: list[str]


def survey(root: Path, splits: tuple[str, ...]) -> _Files:
    """SearchAD's own files: those of all splits, since queries show images of any.

    Raises:
        SourceError: ``root`` has none of them or lacks one that was asked for, or one is malformed.
    """
    chosen = _splits(root, splits)
    queries = files.queries(root)
    return _Files({split: files.images(root, split) for split in files.present(root)}, queries, chosen)


def scan(root: Path, splits: tuple[str, ...], held: _Files | None = None) -> list[Item]:
    """One item per image of the chosen splits, and per image that a default query shows.

    Raises:
        SourceError: as :func:`survey`, or a folder of images is a link that leaves ``root``.
    """
    held = held or survey(root, splits)
    shown_in_queries = {example.path for query in held.queries for example in query.examples if example.path}
    listed: dict[str, files.Listed] = {}
    again: dict[str, files.Listed] = {}
    for images in held.images.values():
        for image in images:
            if listed.setdefault(image.path, image) is not image:
                again[image.path] = image
    wanted = [image for image in listed.values() if image.split in held.chosen or image.path in shown_in_queries]
    wanted += [files.Listed(path, _UNLISTED, "", -1, None) for path in sorted(shown_in_queries - set(listed))]
    mappers, pictures = _mappers(), _Pictures(root)
    items: dict[str, Item] = {}
    for image in wanted:
        item = _item(root, image, again.get(image.path), mappers, pictures)
        twin = items.setdefault(item.id, item)
        if twin is not item:
            raise SourceError(_where(root, image), f"is the same image as {shown(twin.data.path)}", "expected it once")
    return sorted(items.values(), key=lambda item: item.id)


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    present = files.present(root)
    for split in splits:
        if split not in present:
            found = f"holds no {files.FILES[split]}"
            raise SourceError(root, found, f"expected it for split {split!r}", f"it holds {', '.join(present)}")
    return [split for split in present if not splits or split in splits]


def _mappers() -> dict[str, Mapper | None]:
    """For each folder what turns a path below it into an id; None while the source cannot do that."""
    known = sources.names()
    return {
        folder: getattr(sources.load(source), "key_from_searchad", None) if source in known else None
        for folder, source in FOLDERS.items()
    }


class _Pictures:
    """The pictures that are there, by folder; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tops = {folder for folder in FOLDERS if (root / folder).is_dir()}
        self.listings: dict[str, Listing] = {}

    def find(self, path: str) -> tuple[bool, SourceError | None]:
        """Whether ``path`` is there, and what forbids reading it."""
        folder, _, name = path.rpartition("/")
        if folder.split("/")[0] not in self.tops:
            return False, None
        if folder not in self.listings:
            self.listings[folder] = list_files(self.root, folder, _ENDINGS)
        return name in self.listings[folder], self.listings[folder].get(name)


def _item(
    root: Path,
    image: files.Listed,
    again: files.Listed | None,
    mappers: dict[str, Mapper | None],
    pictures: _Pictures,
) -> Item:
    named = name_image(image.path, mappers)
    error: SourceError | None = None
    there = False
    if not _is_sound(image.path):
        found = "is no path below SearchAD's folder"
        error = SourceError(_where(root, image), found, "expected folder/... with forward slashes")
    elif again:
        error = SourceError(_where(root, image), f"stands in {again.file} too", "expected every image in one split")
    else:
        there, error = pictures.find(image.path)
    expected = image.path.split("/")[0] in pictures.tops
    place = image.place if image.place >= 0 else None
    data = _Image(named, image.path, place, image.boxes, expected, error)
    return Item(named.id, root, image.split, image.path if there else None, image.file or None, data)


def _where(root: Path, image: files.Listed) -> str:
    return f"{root / (image.file or files.QUERIES)}, {shown(image.path)}"


def _is_sound(path: str) -> bool:
    """Whether a path leads to a place below the root, and can be one of a file."""
    return path.isprintable() and "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def name_image(path: str, mappers: dict[str, Mapper | None] | None = None) -> _Named:
    """Whose an image is, by its path below SearchAD's root."""
    folder, _, below = path.partition("/")
    source = FOLDERS.get(folder)
    mapper = (mappers or _mappers()).get(folder)
    inner = path if source in _SPREAD else below
    key = mapper(inner) if mapper and _is_sound(path) else None
    if source is None or key is None:
        return _Named(f"searchad/{shown(path)}", "searchad", shown(path))
    return _Named(key, source, inner)


def records(root: Path, splits: tuple[str, ...], held: _Files | None = None) -> Iterator[Record]:
    """Classes, coverage of the splits, default queries, and folders whose images are not here."""
    labels = label_table("searchad")
    for row in labels:
        role = row["role"].split(" ")[0]
        yield Category(
            name=row["label"], supercategory=row["category"], role="other" if role == "other" else "benchmark"
        )
    held = held or survey(root, splits)
    evaluated = [row["label"] for row in labels if row["role"] == "benchmark"]
    mappers = _mappers()
    examples: set[str] = set()
    for query in held.queries:
        yield from _query(query, mappers, known={row["label"] for row in labels})
        examples |= {example.path for example in query.examples if example.path}
    listed = {image.path: split for split, images in held.images.items() for image in images}
    used = {listed.get(path, _UNLISTED) for path in examples} | set(held.chosen)
    for split in sorted(used):
        state = {"test": "withheld", _UNLISTED: "none"}.get(split, "exhaustive")
        for label in evaluated:
            yield Coverage(scope=f"searchad/{split}", category=label, state=state)  # type: ignore[arg-type]
    for path in sorted(examples):
        yield Member(image_id=name_image(path, mappers).id, role="support")
    yield from _absent_folders(root, [path for path, split in listed.items() if split in held.chosen], mappers)


def _absent_folders(root: Path, paths: Sequence[str], mappers: dict[str, Mapper | None]) -> Iterator[Record]:
    counts: dict[str, int] = {}
    for path in paths:
        folder = path.split("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
    for folder, count in sorted(counts.items()):
        if folder in FOLDERS and not (root / folder).is_dir():
            message = f"no such folder; its {count:,} images are known by id only"
            hint = f"merge with an import of {FOLDERS[folder]}"
            yield finding("N05", shown(folder), message, hint=hint)
        if folder in FOLDERS and mappers[folder] is None:
            message = f"{FOLDERS[folder]} cannot tell its images by SearchAD's paths; ids are searchad/<path>"
            yield finding("N05", shown(folder), message)


def _query(query: files.Query, mappers: dict[str, Mapper | None], known: set[str]) -> Iterator[Record]:
    label, query_id = query.label, f"searchad/{shown(query.label)}"
    if label not in known:
        yield Category(name=label, role="other")
        yield finding("N01", query.file, f"label {label!r} is not in the source's table; kept as found", item=query_id)
    for name in query.unread:
        message = f"support set {name!r} is neither a text nor a list of texts; left out"
        yield finding("N02", query.file, message, item=query_id)
    kind: QueryKind = "text"
    if any(example.path for example in query.examples):
        kind = "box" if any(example.corners for example in query.examples) else "image"
    elif not query.examples:
        yield finding("N02", query.file, "has no example; left out", item=query_id)
        return
    yield Query(id=query_id, kind=kind, category=label)
    for rank, example in enumerate(query.examples):
        x, y, w, h = box_from_corners(*example.corners) if example.corners else (None, None, None, None)
        image_id = name_image(example.path, mappers).id if example.path else None
        yield Support(query_id=query_id, rank=rank, image_id=image_id, x=x, y=y, w=w, h=h, text=example.text)


def parse(item: Item) -> Parsed:
    """One image with SearchAD's boxes in it.

    Raises:
        SourceError: its picture is unreadable, its path leads elsewhere or stands in two splits, an entry lacks label
            or box, a number is not finite, corners are flipped.
    """
    data: _Image = item.data
    if data.error:
        raise data.error
    named = data.named
    header = read_header(item.root / item.image) if item.image else None
    others: list[Record] = [Coverage(scope=item.id, category=f"searchad/{item.split}", state=_state(item.split))]
    if item.split in _GALLERY:
        others.append(Member(image_id=item.id, role="gallery"))
    if data.expected and header is None:
        listed = item.label or files.QUERIES
        others.append(finding("I01", data.path, f"no such file, but {listed} names the image", item=item.id))
    if named.source == "searchad":
        others.append(
            finding("N05", data.path, "is no path of a known source; the image has an id of its own here", item=item.id)
        )
    if item.split == _UNLISTED:
        others.append(finding("N05", data.path, "a default query shows it, but no split lists it", item=item.id))
    where = item.root / item.label if item.label else item.root
    about = {"path": data.path} | ({"test_id" if item.split == "test" else "place": data.place} if item.label else {})
    image = Image(
        id=item.id,
        source=named.source,
        split=None if item.split == _UNLISTED else item.split,
        file_name=named.file_name,
        width=header.width if header else None,
        height=header.height if header else None,
        orientation=header.orientation if header else None,
        attributes={"searchad": about},
    )
    return Parsed(image, _boxes(data.boxes, item.id, where, data.path) if data.boxes else [], others)


def _state(split: str | None) -> Any:
    return {"test": "withheld", _UNLISTED: "none"}.get(str(split), "exhaustive")


def _boxes(text: bytes, image_id: str, path: Path, place: str) -> list[Annotation]:
    boxes = decode_json(msgspec.Raw(text), _BOXES, path, place)
    found: list[dict[str, Any]] = msgspec.json.decode(text) if boxes else []
    rows = []
    for i, (box, raw) in enumerate(zip(boxes, found, strict=True)):
        if box.bbox[2] < box.bbox[0] or box.bbox[3] < box.bbox[1]:
            where = f"{path}, {shown(place)}[{i}].bbox"
            raise SourceError(where, f"{raw['bbox']} has flipped corners", "expected x1, y1, x2, y2")
        x, y, w, h = box_from_corners(*box.bbox)
        rows.append(
            Annotation(
                id=f"{image_id}#searchad:{i:04d}",
                image_id=image_id,
                category=box.label,
                source_label=box.label,
                x=x,
                y=y,
                w=w,
                h=h,
                area=w * h,
                attributes={"searchad": {key: value for key, value in raw.items() if key != "label"}},
            )
        )
    return rows
