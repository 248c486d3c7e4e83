"""A SearchAD folder: annotations per split, image-level lists, list of test images, default queries.

Files, as SearchAD publishes them and its devkit's preparation writes them::

    searchad_annotations_{train,val}.json                                {path: [{"label", "bbox": [x1, y1, x2, y2]}]}
    searchad_{train,val}_image_level_annotations_min_box_50.json         {label: [paths]}, with a large enough box
    searchad_{train,val}_image_level_ignore_images_min_box_50.json       {label: [paths]}, with smaller boxes only
    searchad_test_mapping_id_to_imagepath.json                           {"0": path}
    default_queries/<label>.json                                         {"supportsets": {"vision", "language"}}

* An image's path is the one that SearchAD has for it, else its source's folder in SearchAD's tree and its own path.
* Images of the splits train, val and test are listed. Those with a number for submissions (SearchAD's test, hidden
  tests) are test images under that number; other test images are numbered in the order of their paths. No label of a
  test image is written.
* Written is truth of SearchAD's 90 + 5 classes; of a dataset that has none of these, of all its classes. Image-level
  lists are of classes that are a benchmark's. What evaluation passes over (crowds, ``ignore``) is no box here: it makes
  its image one to ignore, in the image-level list alone.
* A label of the whole image becomes a box of its whole frame.
* Numbers are those found where the dataset has them, else the shortest that give the same width and height.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import relevance, taxonomy
from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import SchemaError, UsageError
from curate.export._folder import export_folder
from curate.export._numbers import far_edge
from curate.geometry import box_from_corners

# SearchAD's folder of a source's images; WildDash2's two folders begin its own paths.
FOLDERS = {
    "acdc": "acdc",
    "bdd100k": "bdd100k_images_100k",
    "cityscapes": "cityscapes",
    "ecp": "ECP",
    "idd": "IDD_Segmentation",
    "kitti": "kitti",
    "lost_and_found": "lostandfound",
    "mtsd": "mapillary_sign",
    "mapillary_vistas": "mapillary_vistas",
    "nuscenes": "nuscenes",
    "wilddash2": "",
}
LABELLED = ("train", "val")
_QUERIES = "default_queries"
_TEST = "searchad_test_mapping_id_to_imagepath.json"
# Where the number of a test image stands, in this order; that of a hidden test of ours rules.
_NUMBERED = ("hidden", "searchad")


class _Listed(NamedTuple):
    """Where an image stands: its path, split (None: in none), and place in the file or number among test images."""

    path: str
    split: str | None
    place: int | None


def write(
    dataset: Dataset, path: Path, *, overwrite: bool = False, compat: str | None = None, min_area: float | None = None
) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``; equal datasets give equal bytes.

    Args:
        min_area: px² of a box that makes its image a positive; by default as the dataset's relevance rule says. The
            devkit looks for lists of 50.

    Returns:
        Counts: images and annotations, test images, queries, what was left out.

    Raises:
        UsageError: ``path`` exists, or ``compat`` is asked for.
        SchemaError: no image is of train, val or test; two have one path or number; a class cannot name a file.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of searchad", hint="leave it out")
    area = dataset.info.relevance.min_area if min_area is None else min_area
    if not 0 <= area < np.inf:
        raise UsageError("--min-area", f"is {area}", "expected an area in px², 0 or more")
    with collector_paused(), export_folder(path, "searchad", dataset, overwrite=overwrite) as folder:
        images = _images(dataset)
        order = _in_order(images)
        labels, evaluated = _labels(dataset)
        boxes, left_out = _boxes(dataset, images, labels)
        lists = _image_level(dataset, images, order, evaluated, area)
        for split in LABELLED:
            if order[split]:
                _write_annotations(folder / f"searchad_annotations_{split}.json", images, order[split], boxes)
                for kind, held in zip(("annotations", "ignore_images"), lists[split], strict=True):
                    name = f"searchad_{split}_image_level_{kind}_min_box_{area:g}.json"
                    (folder / name).write_text(json.dumps(held, indent=4), encoding="utf-8")
        if order["test"]:
            mapping = _mapping(images, order["test"])
            (folder / _TEST).write_text(json.dumps(mapping, indent=1) + "\n", encoding="utf-8")
        queries, without_class = _queries(dataset, [image.path for image in images])
        for label, sets in queries.items():
            _write_query(folder / _QUERIES, label, sets)
    return {
        "images": sum(len(order[split]) for split in LABELLED),
        "annotations": sum(len(boxes.get(i, ())) for split in LABELLED for i in order[split]),
        "test_images": len(order["test"]),
        "queries": len(queries),
        "left_out_images_of_no_split": sum(image.split is None for image in images),
        **left_out,
        "left_out_queries_of_no_class": without_class,
    }


# ------------------------------------------------------------------------------------------------------------- images


def _images(dataset: Dataset) -> list[_Listed]:
    """Each image of the table, in its order.

    Raises:
        SchemaError: two images have one path.
    """
    table = dataset.table("images")
    split = pc.coalesce(plain(table["split"]), plain(table["source_split"]))
    columns = (table["id"], plain(table["source"]), table["file_name"], split, plain(table["split"]))
    listed, owner = [], dict[str, str]()
    rows = zip(*(column.to_pylist() for column in columns), table["attributes"].to_pylist(), strict=True)
    support = set(dataset.table("support")["image_id"].to_pylist())
    for id, source, file_name, found, own, text in rows:
        about: dict[str, Any] = json.loads(text) if text else {}
        told = about.get("searchad") or {}
        path = told.get("path") or _path(id, source, file_name)
        if owner.setdefault(path, id) != id:
            raise SchemaError(f"image {id}", f"has the path {path} of image {owner[path]}", "expected one path each")
        # An image that only a default query shows has no split of SearchAD, and that of its source is none.
        split_name = own if told or id in support else found
        numbers = [(about.get(key) or {}).get("test_id") for key in _NUMBERED]
        if numbers[0] is not None or split_name == "test":
            listed.append(_Listed(path, "test", next((n for n in numbers if n is not None), None)))
        else:
            listed.append(_Listed(path, split_name if split_name in LABELLED else None, told.get("place")))
    if not any(image.split for image in listed):
        hint = "give images a split with 'curate build split train-val-test'"
        raise SchemaError(dataset.info.name, "has no image of a split train, val or test", hint=hint)
    return listed


def _path(id: str, source: str, file_name: str | None) -> str:
    folder = FOLDERS.get(source, source)
    below = file_name or id.partition("/")[2] or id
    return f"{folder}/{below}" if folder else below


def _in_order(images: list[_Listed]) -> dict[str, list[int]]:
    """The rows of each split's images: as they stood in SearchAD's file if it named them all, else by path."""
    order: dict[str, list[int]] = {split: [] for split in (*LABELLED, "test")}
    for i, image in enumerate(images):
        if image.split:
            order[image.split].append(i)
    for rows in order.values():
        places = {images[i].place for i in rows}
        known = None not in places and len(places) == len(rows)
        rows.sort(key=lambda i: (images[i].place or 0) if known else images[i].path)
    return order


def _mapping(images: list[_Listed], rows: list[int]) -> dict[str, str]:
    """Number -> path of the test images.

    Raises:
        SchemaError: some have a number and others not, or two have the same.
    """
    numbered = [i for i in rows if images[i].place is not None]
    if numbered and len(numbered) < len(rows):
        path = next(images[i].path for i in rows if images[i].place is None)
        found = f"has no number, while {len(numbered):,} test images have one"
        raise SchemaError(f"image {path}", found, hint="number them all with 'curate build hidden'")
    mapping: dict[str, str] = {}
    for place, i in enumerate(rows):
        number = str(images[i].place if numbered else place)
        if number in mapping:
            found = f"has the number {number} of {mapping[number]}"
            raise SchemaError(f"image {images[i].path}", found, hint="number them anew with 'curate build hidden'")
        mapping[number] = images[i].path
    return mapping


# -------------------------------------------------------------------------------------------------------------- boxes


def _labels(dataset: Dataset) -> tuple[pa.Array, pa.Array]:
    """The classes that are written, and those of them that are evaluated."""
    own = dict(zip(*_columns(dataset.table("categories"), "name", "role"), strict=True))
    known = {name: one.role for name, one in taxonomy.load("searchad").classes.items()}
    roles = known if own.keys() & known.keys() else own
    used = [name for name, role in roles.items() if role != "ignore"]
    return pa.array(used, pa.string()), pa.array([name for name in used if roles[name] == "benchmark"], pa.string())


def _columns(table: pa.Table, *names: str) -> Iterator[list[Any]]:
    return (plain(table[name]).to_pylist() for name in names)


def _boxes(
    dataset: Dataset, images: list[_Listed], labels: pa.Array
) -> tuple[dict[int, list[dict[str, Any]]], dict[str, int]]:
    """The boxes of each image (row), and how many annotations were left out."""
    table = dataset.table("annotations")
    table = table.filter(pc.equal(plain(table["status"]), "truth"))
    image = positions(table["image_id"], dataset.table("images")["id"])
    known = pc.is_in(plain(table["category"]), value_set=labels).to_numpy(zero_copy_only=False)
    passed_over = pc.or_(table["ignore"], table["iscrowd"]).to_numpy(zero_copy_only=False)
    labelled = np.array([one.split in LABELLED for one in images], bool)[image] & (image >= 0)
    wanted = np.flatnonzero(labelled & known & ~passed_over)
    held = table.select(["category", "x", "y", "w", "h", "attributes"]).take(pa.array(wanted))
    sizes = list(zip(*_columns(dataset.table("images"), "width", "height"), strict=True))
    boxes: dict[int, list[dict[str, Any]]] = {}
    without_box = 0
    columns = _columns(held, "category", "x", "y", "w", "h", "attributes")
    for i, label, x, y, w, h, text in zip(image[wanted].tolist(), *columns, strict=True):
        if x is None:
            width, height = sizes[i]
            if not width or not height:
                without_box += 1
                continue
            x, y, w, h = 0.0, 0.0, float(width), float(height)
        boxes.setdefault(i, []).append({"label": label, **_box(text, (x, y, w, h))})
    return boxes, {
        "left_out_annotations_of_test": int((~labelled & (image >= 0) & known).sum()),
        "left_out_annotations_of_other_classes": int((labelled & ~known).sum()),
        "left_out_annotations_ignored": int((labelled & known & passed_over).sum()),
        "left_out_annotations_without_box": without_box,
    }


def _box(text: str | None, box: tuple[float, float, float, float]) -> dict[str, Any]:
    """A box with what else SearchAD says of it: the numbers found, if they are still those of the row."""
    found = (json.loads(text).get("searchad") if text and '"searchad"' in text else None) or {}
    x, y, w, h = box
    if "bbox" in found and box_from_corners(*map(float, found["bbox"])) == box:
        return dict(found)
    return {**found, "bbox": [x, y, far_edge(x, w), far_edge(y, h)]}


def _write_annotations(path: Path, images: list[_Listed], rows: list[int], boxes: dict[int, list[Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write("{")
        for n, i in enumerate(rows):
            entry = msgspec.json.encode(boxes.get(i, [])).decode()
            stream.write(f"{',' if n else ''}\n{json.dumps(images[i].path)}: {entry}")
        stream.write("\n}\n")


def _image_level(
    dataset: Dataset, images: list[_Listed], order: dict[str, list[int]], evaluated: pa.Array, area: float
) -> dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]]:
    """For each split the positives and the images to ignore, by label, in the devkit's order.

    Positives: by the first large enough box of a label; images to ignore: by the first box of any size.
    """
    rule = msgspec.structs.replace(dataset.info.relevance, target="category", min_area=area)
    found = relevance.evidence(dataset, rule)
    found = found.filter(pc.is_in(found["target"], value_set=evaluated))
    by_image: dict[int, dict[str, bool]] = {}
    seen: dict[int, dict[str, None]] = {}
    rows = zip(*(found[name].to_pylist() for name in ("image", "target", "positive")), strict=True)
    for image, label, positive in rows:
        seen.setdefault(image, {}).setdefault(label)
        labels = by_image.setdefault(image, {})
        if positive and not labels.get(label):
            labels.pop(label, None)  # positives stand where their first large enough box does
        labels.setdefault(label, positive)
    lists: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}
    for split in LABELLED:
        positives: dict[str, list[str]] = {}
        ignored: dict[str, list[str]] = {label: [] for i in order[split] for label in seen.get(i, ())}
        for i in order[split]:
            for label, positive in by_image.get(i, {}).items():
                (positives if positive else ignored).setdefault(label, []).append(images[i].path)
        lists[split] = (positives, {label: paths for label, paths in ignored.items() if paths})
    return lists


# ------------------------------------------------------------------------------------------------------------ queries


def _queries(dataset: Dataset, paths: list[str]) -> tuple[dict[str, dict[str, Any]], int]:
    """The support sets by class, and how many queries ask for none. A query's own image or text is its example too."""
    table, support = dataset.table("queries"), dataset.table("support")
    ids, texts, categories = _columns(table, "id", "text", "category")
    names = dict(zip(ids, categories, strict=True))
    sets: dict[str, dict[str, Any]] = {}
    for id, examples in (*_examples(ids, table, dataset, paths, texts), *_support(support, dataset, paths)):
        if names.get(id) is None:
            continue
        vision, language = examples
        held = sets.setdefault(names[id], {})
        for path, box in vision:
            corners = held.setdefault("vision", {}).setdefault(path, [])
            corners += [{"bbox": box}] if box and {"bbox": box} not in corners else []
        if language and language not in held.get("language", ()):
            held.setdefault("language", []).append(language)
    for held in sets.values():
        held.setdefault("vision", {})  # the devkit reads it
    return dict(sorted(sets.items())), categories.count(None)


_Example = tuple[str, tuple[list[tuple[str, dict[str, float] | None]], str | None]]


def _examples(
    ids: list[str], table: pa.Table, dataset: Dataset, paths: list[str], texts: Iterable[str | None]
) -> Iterator[_Example]:
    place = positions(table["image_id"], dataset.table("images")["id"]).tolist()
    for id, at, box, text in zip(ids, place, _corners(table), texts, strict=True):
        yield id, ([(paths[at], box)] if at >= 0 else [], text)


def _support(table: pa.Table, dataset: Dataset, paths: list[str]) -> Iterator[_Example]:
    ids, texts = _columns(table, "query_id", "text")
    yield from _examples(ids, table, dataset, paths, texts)


def _corners(table: pa.Table) -> Iterator[dict[str, float] | None]:
    for x, y, w, h in zip(*_columns(table, "x", "y", "w", "h"), strict=True):
        whole_image = x is None
        yield None if whole_image else {"min_x": x, "min_y": y, "max_x": far_edge(x, w), "max_y": far_edge(y, h)}


def _write_query(folder: Path, label: str, sets: dict[str, Any]) -> None:
    if label in ("", ".", "..") or "/" in label or "\0" in label:
        raise SchemaError(f"class {label!r}", "cannot be the name of a file", "expected no slash", "relabel it")
    folder.mkdir(exist_ok=True)
    (folder / f"{label}.json").write_text(json.dumps({"supportsets": sets}, indent=1) + "\n", encoding="utf-8")
