"""PROxford and PRParis: for every positive pair of revisited Oxford and Paris, the pixels that show the query's object.

Layout::

    oxford_pair2labelpath.npy, paris_pair2labelpath.npy     "<query>_<image>" -> path of a label file below the root
    <paths named in those files>.json                       LabelMe's form; shapes[].points alone are used
    revisitop/data/roxford5k/gnd_roxford5k.pkl, .../rparis6k/gnd_rparis6k.pkl, .../jpg/<name>.jpg if it is there

* Images and queries are those of the source ``revisitop``, with its ids: a merge with it adds the pictures' sizes.
* A label file is one object of its image, a mask of as many parts as it has shapes; polygons are in pixels, closed
  implicitly, without holes. Queries that ask for one object may share a file. The mask is painted with its outline, as
  the evaluation does, and clipped to the image; where nothing says how large the image is, the polygons stand alone.
* A mask belongs to pairs: the judgement of query and image (easy or hard) names it by ``annotation_id``. Junk pairs
  have none. A positive pair without a label is a finding.
* The ``.npy`` files are pickled dictionaries; they are read as plain values, and nothing in them can run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from curate.errors import SourceError
from curate.geometry import Box, check_ring, paint_polygons, polygon_bounds, rle_area, rle_bounds, shoelace_area
from curate.model import (
    Annotation,
    Counts,
    Coverage,
    Finding,
    Image,
    Item,
    Judgement,
    Member,
    MemberRole,
    Parsed,
    Polygons,
    Record,
    Relevance,
    RelevanceRule,
    Rle,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.plain_pickle import unpickle
from curate.sources._files import Listing, Size, agreed_size, chosen_splits, find_files, read_bytes, read_json, shown
from curate.sources._revisitop_gnd import (
    CATEGORY,
    Question,
    Truth,
    image_id,
    instance_id,
    landmarks,
    query_of,
    read_truth,
)

SOURCE = Source(
    title="PROxford and PRParis (pixel retrieval)",
    homepage="https://github.com/anguoyuan/Pixel_retrieval-Segmented_instance_retrieval",
    licence="none stated; the images are those of revisited Oxford and Paris",
    citation="An, Woo Jae, Kim, Yoon: Towards Content-based Pixel Retrieval in Revisited Oxford and Paris. ICCV 2023",
    download="""
pixel_retrieval_benchmarks.rar, by the link in the repository's README. Unpack it and name the folder
pixel_retrieval_benchmarks. The pictures come from revisited Oxford and Paris ('curate sources revisitop').
""",
    tree="""
oxford_pair2labelpath.npy, paris_pair2labelpath.npy
<label files that these name>.json
revisitop/data/roxford5k/gnd_roxford5k.pkl
revisitop/data/rparis6k/gnd_rparis6k.pkl
""",
    splits=("roxford5k", "rparis6k"),
    published=Counts(annotations=5_942, note="1,985 masks in PROxford, 3,957 in PRParis; 70 queries in each"),
)
RELEVANCE = RelevanceRule(target="instance")

_PAIRS = {"roxford5k": "oxford_pair2labelpath.npy", "rparis6k": "paris_pair2labelpath.npy"}
_DATA = "revisitop/data"
_PAIR = re.compile(r"(\d{1,6})_(\d{1,9})")
_NPY = b"\x93NUMPY"


class _Shape(msgspec.Struct, frozen=True):
    points: list[tuple[float, float]]


class _Label(msgspec.Struct, frozen=True, rename="camel"):
    shapes: list[_Shape]
    image_width: int | None = None
    image_height: int | None = None


_label = msgspec.json.Decoder(_Label)


class _Pair(NamedTuple):
    """A judged pair, seen from its image."""

    query: Question
    label: Relevance
    mask: str | None  # path of its label file


class _Image(NamedTuple):
    """What the parser of an image needs beyond its picture and label files."""

    role: MemberRole
    query: Question | None
    pairs: list[_Pair]
    errors: dict[str, SourceError | None]  # of its label files and picture


class _Set(NamedTuple):
    """One of the two sets: its name, ground truth, and the label file of each pair of query and image."""

    name: str
    truth: Truth
    masks: dict[tuple[int, int], str]


def scan(root: Path, splits: tuple[str, ...], held: Sequence[_Set] | None = None) -> list[Item]:
    """One item per image that the ground truth names.

    Raises:
        SourceError: as :func:`survey`.
    """
    items = []
    sets = held or survey(root, splits)
    labels = find_files(root, "", ".json")
    for part in sets:
        folder = f"{_DATA}/{part.name}/jpg"
        pictures = find_files(root, folder, ".jpg")
        for name, image in _images(part).items():
            picture = f"{name}.jpg"
            masks = {pair.mask for pair in image.pairs if pair.mask}
            errors = {path: _trouble(root, path, labels) for path in sorted(masks)}
            data = image._replace(errors={**errors, picture: pictures.get(picture)})
            there = f"{folder}/{picture}" if picture in pictures else None
            items.append(Item(image_id(part.name, name), root, part.name, there, None, data))
    return sorted(items, key=lambda item: item.id)


def _images(part: _Set) -> dict[str, _Image]:
    pairs: dict[str, list[_Pair]] = defaultdict(list)
    for q, query in enumerate(part.truth.queries):
        for index, label in query.labelled():
            mask = part.masks.get((q, index)) if label != "junk" else None
            pairs[part.truth.images[index]].append(_Pair(query, label, mask))  # type: ignore[arg-type]
    images = {name: _Image("gallery", None, pairs[name], {}) for name in part.truth.images}
    return images | {query.name: _Image("query", query, pairs[query.name], {}) for query in part.truth.queries}


def _trouble(root: Path, path: str, labels: Listing) -> SourceError | None:
    if path in labels:
        return labels[path]
    return SourceError(root / path, "no such file", "expected the label file that a pair names")


def survey(root: Path, splits: tuple[str, ...]) -> list[_Set]:
    """The sets with their ground truth.

    Raises:
        SourceError: ``root`` holds neither set, or a ground truth or list of pairs is missing or malformed.
    """
    folders = {name: [f"{_DATA}/{name}"] for name in SOURCE.splits}
    sets = []
    for name in chosen_splits(root, "pixel_retrieval", SOURCE, folders, splits):
        truth = read_truth(root / _DATA / name / f"gnd_{name}.pkl")
        sets.append(_Set(name, truth, _masks(root / _PAIRS[name], truth)))
    return sets


def _masks(path: Path, truth: Truth) -> dict[tuple[int, int], str]:
    """The label file of each pair; only those of positive pairs may be named."""
    pairs: dict[tuple[int, int], str] = {}
    for key, value in _pickled(path).items():
        where = f"{path}, {shown(repr(key))}"
        match = _PAIR.fullmatch(key) if isinstance(key, str) else None
        if not match or int(match[1]) >= len(truth.queries) or int(match[2]) >= len(truth.images):
            raise SourceError(where, "is no pair of query and image", 'expected indices of the lists, as in "0_15"')
        if not isinstance(value, str) or not value.endswith(".json") or not _inside(value):
            raise SourceError(where, f"names {shown(repr(value))}", "expected the path of a .json below the root")
        pairs[int(match[1]), int(match[2])] = PurePosixPath(value).as_posix()
    return pairs


def _inside(path: str) -> bool:
    return path.isprintable() and "\\" not in path and not path.startswith("/") and ".." not in path.split("/")


def _pickled(path: Path) -> dict[Any, Any]:
    """The dictionary in an array without dimensions, as ``numpy.save`` writes one."""
    data = read_bytes(path)
    if not data.startswith(_NPY) or len(data) < 12:
        raise SourceError(path, "is no .npy file", "expected a pickled dictionary, as numpy.save writes it")
    start = 10 + int.from_bytes(data[8:10], "little") if data[6] == 1 else 12 + int.from_bytes(data[8:12], "little")
    value = unpickle(data[start:], path, arrays=True).value
    if not isinstance(value, dict):
        raise SourceError(path, f"holds a {type(value).__name__}", "expected a dictionary of pairs")
    return value


def records(root: Path, splits: tuple[str, ...], held: Sequence[_Set] | None = None) -> Iterator[Record]:
    """Landmarks, coverage, and pairs whose label has no use."""
    sets = held or survey(root, splits)
    yield from landmarks({part.name: part.truth for part in sets})
    for part in sets:
        yield Coverage(scope=f"revisitop/{part.name}", category="*", state="exhaustive")
        for q, index in sorted(part.masks):
            query = part.truth.queries[q]
            if index not in query.easy and index not in query.hard:
                message = f"pair {q}_{index} has a label, and is neither easy nor hard; left out"
                yield finding("N02", _PAIRS[part.name], message, item=image_id(part.name, part.truth.images[index]))


def roots(root: Path) -> dict[str, str]:
    """Images are those of revisitop; they lie here if anywhere."""
    return {"revisitop": str(root / _DATA)}


def parse(item: Item) -> Parsed:
    """One image with the masks of its pairs, and the query that it may be.

    Raises:
        SourceError: its picture is unreadable, or a label file is missing, malformed or made for another size.
    """
    data: _Image = item.data
    for error in data.errors.values():
        if error:
            raise error
    part, name = item.id.split("/")[1:]
    header = read_header(item.root / item.image) if item.image else None
    size = (header.width, header.height) if header else None
    labels = {path: read_json(item.root / path, _label) for path in data.errors if path.endswith(".json")}
    size = size or _stated(item, labels)
    others: list[Record] = [Member(image_id=item.id, role=data.role)]
    rows: dict[str, Annotation] = {}
    for path, label in labels.items():
        pairs = [pair for pair in data.pairs if pair.mask == path]
        found = _annotation(item, path, label, size, pairs, f"{item.id}#pixel:{len(rows):04d}")
        if isinstance(found, Finding):
            others.append(found)
        else:
            rows[path] = found
    others += _judgements(item, data.pairs, rows)
    if data.query:
        others.append(query_of(part, data.query))
    image = Image(
        id=item.id,
        source="revisitop",
        source_split=item.split,
        file_name=f"{part}/jpg/{name}.jpg",
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
    )
    return Parsed(image, list(rows.values()), others)


def _stated(item: Item, labels: dict[str, _Label]) -> Size | None:
    """The size that the label files state, if they do, all the same."""
    size: Size | None = None
    for path, label in labels.items():
        if label.image_width is not None and label.image_height is not None:
            size = agreed_size(item.root / path, (label.image_width, label.image_height), size)
    return size


def _annotation(
    item: Item, path: str, label: _Label, size: Size | None, pairs: list[_Pair], id: str
) -> Annotation | Finding:
    if size and label.image_width is not None and label.image_height is not None:
        agreed_size(item.root / path, (label.image_width, label.image_height), size)
    polygons = _polygons(item.root / path, label, size)
    mask: Rle | None = None
    if polygons and size:
        mask = paint_polygons(polygons, *size)
        polygons = polygons if rle_area(mask) else []
    if not polygons:
        return finding("N02", path, "shows nothing within its image; left out", item=item.id)
    box: Box = rle_bounds(mask) if mask else polygon_bounds(polygons)
    instances = {instance_id(str(item.split), pair.query) for pair in pairs}
    return Annotation(
        id=id,
        image_id=item.id,
        category=CATEGORY,
        source_label=CATEGORY,
        instance=min(instances) if len(instances) == 1 else None,
        x=box[0],
        y=box[1],
        w=box[2],
        h=box[3],
        area=float(rle_area(mask)) if mask else sum(shoelace_area(part[0]) for part in polygons),
        segmentation=mask,
        polygons=polygons,
        attributes={"pixel_retrieval": {"label": path}},
    )


def _polygons(path: Path, label: _Label, size: Size | None) -> Polygons:
    polygons = []
    for i, shape in enumerate(label.shapes):
        ring = [value for point in shape.points for value in point]
        wrong = check_ring(ring, *(size or (1 << 20, 1 << 20)))
        if wrong:
            raise SourceError(f"{path}, shapes[{i}]", wrong[4:], "expected the vertices of a polygon")
        polygons.append([ring])
    return polygons


def _judgements(item: Item, pairs: list[_Pair], rows: dict[str, Annotation]) -> Iterator[Record]:
    for pair in pairs:
        row = rows.get(pair.mask) if pair.mask else None
        query = image_id(str(item.split), pair.query.name)
        yield Judgement(query_id=query, image_id=item.id, label=pair.label, annotation_id=row.id if row else None)
        if pair.label != "junk" and pair.mask is None:
            message = f"the {pair.label} pair of {pair.query.name} and this image has no label"
            yield finding("N05", _PAIRS[str(item.split)], message, item=item.id)
