"""The truth in upstream's own files, for each benchmark that publishes one."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct

from curate import matlab
from curate.errors import SourceError, UsageError, printable
from curate.evaluate.json_lists import BOM
from curate.evaluate.outlines import far_away
from curate.evaluate.ranking import EASY, HARD, IGNORE, JUNK, POSITIVE, Ints, Truth, make_truth
from curate.plain_pickle import unpickle
from curate.regular import read_regular

_PAIR = re.compile("([0-9]{1,9})_([0-9]{1,9})")
MIN_BOX_AREA = 50  # px², SearchAD's
_SEARCHAD = ("searchad_annotations_{}.json", "searchad_test_mapping_id_to_imagepath.json")


class _Box(Struct, frozen=True):
    label: str
    bbox: tuple[float, float, float, float]


_BOXES = msgspec.json.Decoder(dict[str, list[_Box]])
_PATHS = msgspec.json.Decoder(dict[str, list[str]])
_NAMES = msgspec.json.Decoder(dict[str, str])
_TAXONOMY = msgspec.json.Decoder(dict[str, dict[str, dict[str, list[str]]]])


class _Shape(Struct, frozen=True):
    points: list[tuple[float, float]]


class _Label(Struct, frozen=True):
    shapes: list[_Shape]


_LABEL = msgspec.json.Decoder(_Label)


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, "expected a file of the benchmark")
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(path, "no such file", "expected a file of the benchmark") from None


def _decoded(path: Path, decoder: Any, expected: str) -> Any:
    try:
        return decoder.decode(_bytes(path).removeprefix(BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(path, f"cannot be read ({error})", expected) from None


# SearchAD


def searchad_labels() -> list[str]:
    """The 90 classes that SearchAD evaluates, in the order of its table."""
    text = (files("curate") / "taxonomies" / "searchad_classes.tsv").read_text("utf-8")
    head, *rows = (line.split("\t") for line in text.splitlines())
    name, role = head.index("class"), head.index("role")
    return [row[name] for row in rows if row[role] == "benchmark"]


def searchad_truth(path: Path) -> Truth:
    """``searchad_annotations_<split>.json``, SearchAD's folder (then of val), or the lists that its prepare step makes.

    An image is positive for a class of which it has a box of at least 50 px², ignored where all are smaller; areas are
    ``(x2 - x1) * (y2 - y1)`` as upstream takes them.
    """
    if path.is_dir():
        path = path / _SEARCHAD[0].format("val")
    try:
        images = _BOXES.decode(_bytes(path).removeprefix(BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError):
            return _searchad_lists(path)
        raise SourceError(path, f"cannot be read ({error})", "expected {path: [{label, bbox}]}") from None
    labels = searchad_labels()
    place = {label: i for i, label in enumerate(labels)}
    found = [
        (q, i, (box.bbox[2] - box.bbox[0]) * (box.bbox[3] - box.bbox[1]) >= MIN_BOX_AREA)
        for i, boxes in enumerate(images.values())
        for box in boxes
        if (q := place.get(box.label)) is not None
    ]
    pairs = np.array(found, np.int64).reshape(-1, 3)
    truth = make_truth(
        path.stem, labels, list(images), pairs[:, 0], pairs[:, 1], np.where(pairs[:, 2] == 1, POSITIVE, IGNORE)
    )
    numbers = {name: number for number, name in _test_images(path.parent).items()}
    return truth._replace(
        gallery=len(images),
        closed=True,
        about=_of_classes(labels),
        elsewhere=_other_splits(path, images),
        numbers=pa.array([numbers.get(name) for name in images], pa.string()) if numbers else None,
    )


def _test_images(folder: Path) -> dict[str, str]:
    """Paths of SearchAD's test images by their numbers; none where the file is not there."""
    mapping = folder / _SEARCHAD[1]
    return _decoded(mapping, _NAMES, "expected {number: path}") if mapping.exists() else {}


def searchad_form(path: Path) -> Truth:
    """What a submission to SearchAD's test may name: the 90 classes and the images of its mapping. No pairs.

    ``path`` is ``searchad_test_mapping_id_to_imagepath.json``, or the folder of it.

    Raises:
        SourceError: there is no such file, it is of another form, or it gives an image two numbers.
    """
    file = path / _SEARCHAD[1] if path.is_dir() else path
    names: dict[str, str] = _decoded(file, _NAMES, "expected {number: path}")
    odd = next((number for number in names if not (number.isascii() and number.isdecimal())), None)
    if odd is not None or len(set(names.values())) < len(names):
        found = "gives an image two numbers" if odd is None else f"numbers an image {printable(odd)!r}"
        raise SourceError(file, found, "expected a whole number for each image")
    labels, none = searchad_labels(), np.zeros(0, np.int64)
    form = make_truth(path.stem, labels, list(names.values()), none, none, none)
    elsewhere = _other_splits(file, {})
    return form._replace(
        gallery=len(names),
        closed=True,
        numbers=pa.array(names, pa.string()),
        elsewhere={split: ids for split, ids in elsewhere.items() if split != "test"},
    )


def searchad_lists(positive: dict[str, list[str]], ignored: dict[str, list[str]], name: str) -> Truth:
    """Positives and ignored images by class; which images are searched is not known from these."""
    labels = list(dict.fromkeys([*searchad_labels(), *positive]))
    query, items, label = [], [], []
    for code, lists in ((POSITIVE, positive), (IGNORE, ignored)):
        for q, one in enumerate(labels):
            paths = lists.get(one, [])
            query += [q] * len(paths)
            items += paths
            label += [code] * len(paths)
    coded = pa.array(items, pa.string()).dictionary_encode()
    pairs = np.array(query, np.int64), coded.indices.to_numpy().astype(np.int64), np.array(label, np.int8)
    return make_truth(name, labels, coded.dictionary, *pairs)._replace(about=_of_classes(labels))


def _searchad_lists(path: Path) -> Truth:
    positive = _decoded(path, _PATHS, "expected {path: [{label, bbox}]} or {label: [path]}")
    beside = path.with_name(path.name.replace("_annotations_min_box", "_ignore_images_min_box"))
    ignored = _decoded(beside, _PATHS, "expected {label: [path]}") if beside != path and beside.exists() else {}
    return searchad_lists(positive, ignored, path.stem)


def _of_classes(labels: list[str]) -> dict[str, list[str | None]]:
    return {
        "kind": [None] * len(labels),
        "category": list(labels),
        "supercategory": [label.partition("-")[0] for label in labels],
    }


def _other_splits(path: Path, images: dict[str, Any]) -> dict[str, pa.Array]:
    found = {}
    for split in ("train", "val"):
        other = path.with_name(_SEARCHAD[0].format(split))
        if other.name != path.name and other.exists():
            names = list(_decoded(other, msgspec.json.Decoder(dict[str, msgspec.Raw]), "expected {path: boxes}"))
            found[split] = pa.array([name for name in names if name not in images], pa.string())
    test = [name for name in _test_images(path.parent).values() if name not in images]
    return found | ({"test": pa.array(test, pa.string())} if test else {})


# revisited Oxford and Paris


def revisitop_truth(path: Path) -> Truth:
    """``gnd_roxford5k.pkl``, ``gnd_rparis6k.pkl``: read as plain values, nothing in it can run."""
    value = unpickle(_bytes(path), path, arrays=True).value
    expected = "expected imlist, qimlist and gnd, as revisitop publishes them"
    try:
        images, queries = [str(name) for name in value["imlist"]], [str(name) for name in value["qimlist"]]
        gnd = value["gnd"]
        rows = [
            (q, _index(item), code)
            for q, entry in enumerate(gnd)
            for key, code in (("easy", EASY), ("hard", HARD), ("junk", JUNK))
            for item in entry[key]
        ]
        wrong = len(gnd) != len(queries)
        pairs = np.array(rows, np.int64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SourceError(
            path, f"is no ground truth of revisitop ({type(error).__name__}: {error})", expected
        ) from None
    twice = next((name for names in (images, queries) for name, n in Counter(names).items() if n > 1), None)
    if twice is not None:
        raise SourceError(path, f"names {printable(twice)} twice", "expected every image once in a list")
    if wrong or (len(pairs) and (pairs[:, 1].min() < 0 or pairs[:, 1].max() >= len(images))):
        raise SourceError(path, "its lists do not fit each other", expected, "download it again")
    truth = make_truth(path.stem.removeprefix("gnd_"), queries, images, *pairs.T)
    return truth._replace(gallery=len(images), closed=True, about={"kind": ["box"] * len(queries)})


def _index(item: Any) -> int:
    """A place in a list, which numpy may hold as a float."""
    number = int(item)
    if isinstance(item, str | bytes) or number != item:
        raise ValueError(f"{item!r} is no place in a list")
    return number


# PROxford and PRParis


def pixel_truth(path: Path) -> Truth:
    """``oxford_pair2labelpath.npy`` (or paris), or the folder of one: pairs, and outlines from the label files."""
    names = {"oxford": "roxford5k", "paris": "rparis6k"}
    if path.is_dir():
        there = [
            path / f"{name}_pair2labelpath.npy" for name in names if (path / f"{name}_pair2labelpath.npy").exists()
        ]
        if len(there) != 1:
            found = f"holds {len(there)} files *_pair2labelpath.npy"
            raise UsageError(path, found, "expected one", "name the file itself")
        path = there[0]
    place = path.name.partition("_")[0]
    if place not in names:
        raise SourceError(path, "is named otherwise", "expected oxford_pair2labelpath.npy or paris_pair2labelpath.npy")
    gnd = path.parent / "revisitop" / "data" / names[place] / f"gnd_{names[place]}.pkl"
    truth = revisitop_truth(gnd)
    data = _bytes(path)
    value = unpickle(data[data.find(b"\n") + 1 :], path, arrays=True).value
    if not isinstance(value, dict):
        raise SourceError(path, "holds no dictionary", "expected query_image -> label file")
    items = truth.items.to_pylist()
    outlines: dict[str, list[Any]] = {}
    regions = {}
    for key, file in value.items():
        match = _PAIR.fullmatch(str(key))
        if not match or int(match[1]) >= len(truth.queries) or int(match[2]) >= len(items):
            raise SourceError(f"{path}, {printable(str(key))}", "names no query and image", "expected q_i")
        pair = truth.queries[int(match[1])], items[int(match[2])]
        if file not in outlines:
            outlines[file] = _outlines(path.parent, str(file))
        regions[pair] = outlines[file]
    return truth._replace(name=f"pr{place}", regions=regions)


def _outlines(root: Path, file: str) -> list[Any]:
    path = root / file
    if Path(file).is_absolute() or ".." in Path(file).parts or not file.isprintable():
        raise SourceError(root, f"a label file is {printable(file)!r} (P01)", "expected a path below the folder")
    label = _decoded(path, _LABEL, "expected LabelMe's shapes with points")
    parts = [np.array(shape.points, np.float64).reshape(-1, 2) for shape in label.shapes if shape.points]
    if not parts:
        raise SourceError(path, "has no outline", "expected shapes with points")
    if wrong := far_away(parts):
        raise SourceError(path, *wrong)
    return parts


# INSTRE


def instre_truth(path: Path) -> Truth:
    """``gnd_instre.mat`` of Iscen et al.: positives count from 1 there; there is no junk. Needs scipy."""
    held = matlab.load(_bytes(path), path, ["imlist", "qimlist", "gnd"])
    try:
        images, queries = ([str(np.ravel(cell)[0]) for cell in held[key].ravel()] for key in ("imlist", "qimlist"))
        places = [np.ravel(entry[0]).astype(np.int64) - 1 for entry in held["gnd"].ravel()]
    except Exception as error:  # arrays of any kind and shape may have these names
        found = f"is no file of the protocol ({type(error).__name__}: {error})"
        raise SourceError(path, found, "expected imlist, qimlist and gnd", "download it again") from error
    item: Ints = np.concatenate([*places, np.zeros(0, np.int64)])
    if len(places) != len(queries) or (len(item) and (item.min() < 0 or item.max() >= len(images))):
        raise SourceError(path, "its lists do not fit each other", "expected positives of every query, from 1")
    query = np.repeat(np.arange(len(queries)), [len(rows) for rows in places])
    truth = make_truth("instre", queries, images, query, item, np.full(len(item), POSITIVE))
    folder = [name.partition("/")[0] for name in queries]
    about = {
        "kind": ["box"] * len(queries),
        "supercategory": folder,
        "group": [name.rpartition("/")[0] for name in queries],
    }
    return truth._replace(gallery=len(images), closed=True, about=about)


# ILIAS


def ilias_truth(path: Path, taxonomy: Path | None = None) -> Truth:
    """The folder ``image_ids``, or the one that holds it. The list of 100 M distractors is not opened.

    ``taxonomy`` is ``misc/taxonomy.json``; where it is not named it is looked for beside the lists.
    """
    folder = path / "image_ids" if (path / "image_ids").is_dir() else path
    images, texts = (_lines(folder / f"{name}_query_ids.txt") for name in ("image", "text"))
    positives = _lines(folder / "positive_ids.txt")
    if not images and not texts:
        raise SourceError(folder, "has no image_query_ids.txt and no text_query_ids.txt", "expected ILIAS's image_ids")
    queries = [*images, *texts]
    instances = [query.partition("/")[0] for query in queries]
    members: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(positives):
        members[item.partition("/")[0]].append(i)
    rows = [members[name] for name in instances]
    query = np.repeat(np.arange(len(queries)), [len(row) for row in rows])
    places = np.array([i for row in rows for i in row], np.int64)
    truth = make_truth("ilias", queries, list(positives), query, places, np.full(len(places), POSITIVE))
    return truth._replace(
        about={
            "kind": ["image"] * len(images) + ["text"] * len(texts),
            "group": instances,
            **_of_taxonomy(instances, _taxonomy_beside(folder, taxonomy)),
        },
        values=_scale_and_clutter(folder, positives),
    )


def _lines(path: Path) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(path, "is not UTF-8 text", "expected ids, one per line") from None
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line.strip()]
    return {row[0]: row[1:] for row in rows}


def _scale_and_clutter(folder: Path, positives: dict[str, list[str]]) -> dict[str, Any]:
    try:
        columns = np.array([[float(scale), int(clutter)] for scale, clutter in positives.values()], np.float64)
    except ValueError:
        path = folder / "positive_ids.txt"
        raise SourceError(path, "a line has no scale and clutter", "expected id, scale, clutter") from None
    columns = columns.reshape(-1, 2)
    return {"scale": columns[:, 0], "clutter": columns[:, 1]}


def _taxonomy_beside(folder: Path, named: Path | None) -> Path | None:
    if named is not None:
        return named
    tried = (root / "misc" / "taxonomy.json" for root in (folder, *list(folder.resolve().parents)[:2]))
    return next((path for path in tried if path.exists()), None)


def _of_taxonomy(instances: list[str], path: Path | None) -> dict[str, list[str | None]]:
    if path is None:
        return {}
    places: dict[str, tuple[str, str]] = {}
    for coarse, mids in _decoded(path, _TAXONOMY, "expected coarse, mid, fine and lists of objects").items():
        for mid, fines in mids.items():
            for names in fines.values():
                places |= dict.fromkeys(names, (coarse, f"{coarse}-{mid}"))
    known = [places.get(name, (None, None)) for name in instances]
    return {"supercategory": [pair[0] for pair in known], "category": [pair[1] for pair in known]}
