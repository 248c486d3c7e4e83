"""An ILIAS tree: objects with queries and positives by link or copy, id lists, texts, taxonomy, distractors.

Files, as ILIAS has them::

    ilias_core/<object>/query/Qxxx_yy.jpg, Qxxx_yy_bbox.txt, [Qxxx_yy_url.txt], Txxx.txt
    ilias_core/<object>/pos/Pxxx_zz.jpg, Pxxx_zz_bbox.txt, [Pxxx_zz_url.txt]
    image_ids/image_query_ids.txt     id,scale,clutter        image_ids/text_query_ids.txt        id
    image_ids/positive_ids.txt        id,scale,clutter        image_ids/distractor_ids.txt.gz     <folder>/<key>
    misc/taxonomy.json, ilias_core_captured.txt               image_ids/names.tsv                 id here, ours

* An object is what queries ask for; its images are those of its queries and its positives. ILIAS's own ids are kept;
  other images are numbered in the order of their ids, and ``names.tsv`` says which is which.
* Every other image of the gallery is a distractor, known by id. ILIAS has no image to be ignored: an image that is to
  be ignored for a query is in no list, and so is a gallery image that is a query's; both are counted.
* Scale and clutter are ILIAS's where known; else scale is the share of the image that the object's largest box takes,
  and clutter 0. Boxes are whole pixels, rounded outwards.
* Pictures are hard links (or copies, or left out); those that are not there are counted, and listed all the same.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from curate import relevance
from curate.columns import plain, whole
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.export._folder import export_folder
from curate.export._pictures import LINK, NONE, check_how, locate, place

CORE = "ilias_core"
_OWN = "ilias/"
_CAPTURED = "CC BY 4.0"
_BATCH = 65_536

Box = tuple[float, float, float, float]


class _Shown(NamedTuple):
    """An image of an object, as the tree has it."""

    key: str  # its id in ILIAS's lists
    row: dict[str, Any]  # of the table images
    about: dict[str, Any]  # ILIAS's attributes
    boxes: list[Box]


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    compat: str | None = None,
    images: str = LINK,
    roots: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``; equal datasets give equal bytes.

    Args:
        images: ``link``, ``copy`` or ``none``: how pictures come into the tree.
        roots: folders of sources, beside those that the dataset names.

    Returns:
        Counts: objects, image and text queries, positives, distractors, pictures, what was left out.

    Raises:
        UsageError: ``path`` exists, ``compat`` is asked for, or ``images`` is unknown.
        SchemaError: there is no query, an image is of two objects, or a file name leaves its root.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of ilias", hint="leave it out")
    check_how(images)
    places = {**dataset.info.roots, **(roots or {})}
    plan = _Plan(dataset)
    with export_folder(path, "ilias", dataset, overwrite=overwrite) as folder:
        for shown in (*plan.queries, *plan.positives, *plan.others):
            _write_beside(folder / CORE / shown.key, shown)
        pictures = _bring(folder, (*plan.queries, *plan.positives, *plan.others), places, images)
        for key, text in plan.texts.items():
            if text is not None:
                _put(folder / CORE / key, f"{text}\n")
        _put(folder / "image_ids/image_query_ids.txt", "".join(map(_listed, plan.queries)))
        _put(folder / "image_ids/text_query_ids.txt", "".join(f"{key}\n" for key in plan.texts))
        _put(folder / "image_ids/positive_ids.txt", "".join(map(_listed, plan.positives)))
        _write_names(folder, plan)
        distractors = _write_distractors(folder / "image_ids/distractor_ids.txt.gz", plan.distractors)
        _write_misc(folder / "misc", dataset, plan)
    return {
        "objects": len(plan.folders),
        "image_queries": len(plan.queries),
        "text_queries": len(plan.texts),
        "positives": len(plan.positives),
        "distractors": distractors,
        "pictures": pictures,
        "absent_pictures": len(plan.queries) + len(plan.positives) + len(plan.others) - pictures
        if images != NONE
        else 0,
        "left_out_texts_beyond_one_of_an_object": plan.further_texts,
        "left_out_images_to_be_ignored": plan.ignored,
        "left_out_gallery_images_that_are_queries": plan.queries_in_gallery,
    }


class _Plan:
    """What goes where."""

    def __init__(self, dataset: Dataset) -> None:
        table = dataset.table("queries")
        if not table.num_rows:
            hint = "make some with 'curate build split query-gallery'"
            raise SchemaError(dataset.info.name, "has no queries", "expected a benchmark", hint)
        targets = relevance.targets(dataset)
        fallback = pc.coalesce(whole(table["group"]), whole(table["id"]))
        objects = pc.coalesce(whole(targets["target"]), fallback).to_pylist()
        asked = list(zip(objects, table.to_pylist(), strict=True))
        object_of = {row["id"]: name for name, row in asked}
        self.folders = _folders(sorted(set(objects)))

        positive, ignored = _labelled(dataset, object_of)
        of_query = _query_images(asked)
        gallery = relevance.gallery(dataset)
        self.ignored = len(ignored - positive.keys() - of_query.keys())
        self.queries_in_gallery = int(pc.sum(pc.is_in(gallery, pa.array(list(of_query), pa.string()))).as_py() or 0)
        positive = {id: name for id, name in positive.items() if id not in of_query}
        aside = pa.array([*positive, *ignored, *of_query], pa.string())
        self.distractors = gallery.filter(pc.invert(pc.is_in(gallery, value_set=aside)))

        spare = _without_role(dataset, {*positive, *of_query})
        rows = _rows(dataset, [*of_query, *positive, *spare])
        boxes = _boxes(dataset, dataset.info.relevance.target, [*of_query, *positive, *spare])

        def shown(images: dict[str, str], role: str) -> list[_Shown]:
            keyed = self._keys(images, role, rows)
            return [_shown(rows[id], key, boxes.get(id, {}).get(name, [])) for id, name, key in keyed]

        self.positives = shown(positive, "pos")
        self.queries = [
            one._replace(boxes=_query_boxes(of_query[one.row["id"]][1], one.boxes))
            for one in shown({id: name for id, (name, _) in of_query.items()}, "query")
        ]
        self.others = [
            _shown(rows[id], id.removeprefix(_OWN), [box for held in boxes.get(id, {}).values() for box in held])
            for id in spare
        ]
        self.texts, self.further_texts = self._texts(asked)

    def _keys(self, images: dict[str, str], role: str, rows: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Id, object and ILIAS's id of images of one role."""
        number: dict[str, int] = {}
        for id, name in sorted(images.items()):
            folder, place = self.folders[name]
            if id.startswith(f"{_OWN}{folder}/{role}/") and id.count("/") == 3:
                yield id, name, id.removeprefix(_OWN)
                continue
            n = number[name] = number.get(name, -1) + 1
            ending = PurePosixPath(rows[id]["file_name"] or "").suffix or ".jpg"
            yield id, name, f"{folder}/{role}/{role[0].upper()}{place:03d}_{n:02d}{ending}"

    def _texts(self, asked: Sequence[tuple[str, dict[str, Any]]]) -> tuple[dict[str, str | None], int]:
        """ILIAS's id -> text of each object's first text query, and how many there are beside."""
        texts: dict[str, str | None] = {}
        seen: set[str] = set()
        wanted = [(name, row) for name, row in asked if row["kind"] == "text"]
        for name, row in wanted:
            folder, place = self.folders[name]
            if name not in seen:
                own = row["id"].startswith(f"{_OWN}{folder}/query/")
                key = row["id"].removeprefix(_OWN) if own else f"{folder}/query/T{place:03d}.txt"
                texts[key] = None if row["text"] is None else " ".join(row["text"].split())
            seen.add(name)
        return texts, len(wanted) - len(seen)


def _labelled(dataset: Dataset, object_of: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """The object of each image that is positive for one, and the images that are to be ignored for some query.

    Raises:
        SchemaError: an image is positive for two objects.
    """
    pairs = relevance.relevance(dataset)
    labels = zip(*(pairs[name].to_pylist() for name in ("query_id", "image_id", "label")), strict=True)
    positive: dict[str, str] = {}
    ignored: set[str] = set()
    for query_id, image_id, label in labels:
        if label in relevance.POSITIVE:
            name = object_of[query_id]
            if positive.setdefault(image_id, name) != name:
                found = f"is positive for {positive[image_id]} and for {name}"
                raise SchemaError(f"image {image_id}", found, "expected one object: ILIAS has one per image")
        elif label in relevance.IGNORED:
            ignored.add(image_id)
    return positive, ignored


def _query_images(asked: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Object and query of each image that is a query's.

    Raises:
        SchemaError: an image has two queries.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, row in asked:
        image = row["image_id"]
        if image is not None and found.setdefault(image, (name, row))[1]["id"] != row["id"]:
            raise SchemaError(f"image {image}", "has two queries", "expected one: ILIAS names queries so")
    return found


def _folders(objects: list[str]) -> dict[str, tuple[str, int]]:
    """The folder and number of each object: ILIAS's own name, else one made of its id and number."""
    folders: dict[str, tuple[str, int]] = {}
    for n, name in enumerate(objects):
        key = name.removeprefix(_OWN)
        own = name.startswith(_OWN) and "/" not in key
        slug = re.sub(r"[^0-9A-Za-z]+", "_", name.partition("/")[2] or name).strip("_") or "object"
        folders[name] = (key if own else f"{slug}_{n:03d}", n)
    return folders


def _without_role(dataset: Dataset, used: set[str]) -> list[str]:
    """ILIAS's images that no list names: they stay in the tree."""
    ids, members = dataset.table("images")["id"], dataset.table("members")
    own = ids.filter(pc.match_substring_regex(ids, rf"^{_OWN}[^/]+/(query|pos)/[^/]+$"))
    free = own.filter(pc.invert(pc.is_in(own, value_set=whole(members["image_id"]))))
    return [id for id in free.to_pylist() if id not in used] if members.num_rows else []


def _rows(dataset: Dataset, ids: list[str]) -> dict[str, dict[str, Any]]:
    table = dataset.table("images")
    table = table.filter(pc.is_in(table["id"], value_set=pa.array(ids, pa.string())))
    wanted = ["id", "source", "file_name", "width", "height", "licence", "attributes"]
    return {row["id"]: row for row in table.select(wanted).to_pylist()}


def _boxes(dataset: Dataset, target: str, ids: list[str]) -> dict[str, dict[str, list[Box]]]:
    """The boxes that are truth, by image and object."""
    table = dataset.table("annotations")
    wanted = pc.and_(
        pc.is_in(table["image_id"], value_set=pa.array(ids, pa.string())),
        pc.and_(pc.equal(plain(table["status"]), "truth"), pc.is_valid(table["x"])),
    )
    table = table.filter(wanted)
    boxes: dict[str, dict[str, list[Box]]] = {}
    columns = (table["image_id"], plain(table[target]), *(table[side] for side in "xywh"))
    for image, name, *box in zip(*(column.to_pylist() for column in columns), strict=True):
        boxes.setdefault(image, {}).setdefault(name, []).append((box[0], box[1], box[2], box[3]))
    return boxes


def _shown(row: dict[str, Any], key: str, boxes: list[Box]) -> _Shown:
    about = json.loads(row["attributes"]) if row["attributes"] else {}
    return _Shown(key, row, about.get("ilias") or {}, boxes)


def _query_boxes(query: dict[str, Any], boxes: list[Box]) -> list[Box]:
    """The boxes of a query's image: the object's where they make up the query's box, else that."""
    if query["x"] is None:
        return boxes
    box = (query["x"], query["y"], query["w"], query["h"])
    if boxes:
        x, y = min(one[0] for one in boxes), min(one[1] for one in boxes)
        right, bottom = max(one[0] + one[2] for one in boxes), max(one[1] + one[3] for one in boxes)
        if (x, y, right - x, bottom - y) == box:
            return boxes
    return [box]


# ------------------------------------------------------------------------------------------------------------- files


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_beside(picture: Path, shown: _Shown) -> None:
    if shown.boxes:
        lines = []
        for x, y, w, h in shown.boxes:
            left, top = math.floor(x), math.floor(y)
            lines.append(f"{left} {top} {math.ceil(x + w) - left} {math.ceil(y + h) - top}\n")
        _put(picture.with_name(f"{picture.stem}_bbox.txt"), "".join(lines))
    if shown.about.get("url"):
        _put(picture.with_name(f"{picture.stem}_url.txt"), f"{shown.about['url']}\n")


def _bring(folder: Path, images: Sequence[_Shown], roots: Mapping[str, str], how: str) -> int:
    brought = 0
    for shown in images if how != NONE else ():
        row = shown.row
        picture = locate(row["id"], row["source"], row["file_name"], roots)
        if picture is not None:
            place(picture, folder / CORE / shown.key, how)
            brought += 1
    return brought


def _listed(shown: _Shown) -> str:
    if "columns" in shown.about:
        return ",".join([shown.key, *map(str, shown.about["columns"])]) + "\n"
    return f"{shown.key},{_scale(shown)!r},{shown.about.get('clutter', 0)}\n"


def _scale(shown: _Shown) -> float:
    if "scale" in shown.about:
        return float(shown.about["scale"])
    width, height = shown.row["width"], shown.row["height"]
    if not shown.boxes or not width or not height:
        return 1.0
    return float(round(max(w * h for _, _, w, h in shown.boxes) / (width * height), 6))


def _write_names(folder: Path, plan: _Plan) -> None:
    named = [(one.key, one.row["id"]) for one in (*plan.queries, *plan.positives)]
    if any(f"{_OWN}{key}" != id for key, id in named):
        _put(folder / "image_ids/names.tsv", "".join(f"{key}\t{id}\n" for key, id in sorted(named)))


def _write_distractors(path: Path, ids: pa.Array) -> int:
    if not len(ids):
        return 0
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        stream = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
        for start in range(0, len(ids), _BATCH):
            names = (id.removeprefix(_OWN) for id in ids.slice(start, _BATCH).to_pylist())
            stream.writelines(f"{_escaped(name)}\n" for name in names)
        stream.flush()
        stream.detach()
    return len(ids)


def _escaped(name: str) -> str:
    return re.sub(r"\s", lambda found: quote(found[0]), name)


def _write_misc(folder: Path, dataset: Dataset, plan: _Plan) -> None:
    captured = [
        one.key
        for one in (*plan.positives, *plan.queries, *plan.others)
        if one.row["licence"] == _CAPTURED and one.row["id"].startswith(_OWN)
    ]
    if captured:
        _put(folder / "ilias_core_captured.txt", "".join(f"{key}\n" for key in sorted(captured)))
    instances = {row["id"]: row for row in dataset.table("instances").to_pylist()}
    wholes = {row["name"]: row["supercategory"] for row in dataset.table("categories").to_pylist()}
    if all(name.startswith(_OWN) for name in plan.folders) and not any(row["taxonomy"] for row in instances.values()):
        return
    tree: dict[str, dict[str, dict[str, list[str]]]] = {}
    for name, (object_folder, _) in sorted(plan.folders.items()):
        row = instances.get(name, {"taxonomy": None, "category": name if name in wholes else None})
        parts = (row["taxonomy"] or "").split("/")
        if len(parts) != 3:
            category = row["category"] or "object"
            parts = [(wholes.get(category) or category).replace("/", " "), *[category.replace("/", " ")] * 2]
        tree.setdefault(parts[0], {}).setdefault(parts[1], {}).setdefault(parts[2], []).append(object_folder)
    _put(folder / "taxonomy.json", json.dumps(tree, indent=1) + "\n")
