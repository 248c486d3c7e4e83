"""The sound content of ``anns.pt``, from any dataset with queries: what it is, is said in ``curate.export.anns_pt``."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET
from numpy.typing import NDArray

from curate import relevance
from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.errors import SchemaError
from curate.export._anns_pt_values import Kept, corners, image_keys, inclusive, kept, masks, with_painted_polygons

Entries = dict[str, dict[str, Any]]
_SET_NUMBER = re.compile(r"([^/]+)/(0|[1-9]\d{0,17})")


class _Images(NamedTuple):
    """What the entries need of the images, by position in their table."""

    table: pa.Table
    keys: list[str]
    sets: list[str]  # the set of an image that shows no instance
    missing: list[bool]  # the import found no file
    in_gallery: NDArray[np.bool_]


class _Names(NamedTuple):
    """The set and number of each target; ``named`` where the numbers were given here and the names go along."""

    numbers: dict[str, tuple[str, int]]
    named: bool


def sound_entries(dataset: Dataset, key_prefix: str | None) -> tuple[Entries, Counter[str]]:
    """The entries, sorted by key, and how many things were left out by reason.

    Raises:
        SchemaError: two images have one key, an image is both query and gallery, or a mask is malformed.
    """
    left_out: Counter[str] = Counter()
    table = dataset.table("images")
    in_gallery = np.zeros(table.num_rows, bool)
    in_gallery[positions(relevance.gallery(dataset), table["id"])] = True
    held = kept(table["attributes"])
    missing = [row.file == "missing" for row in held]
    images = _Images(table, image_keys(table, key_prefix or ""), _sets(table, held), missing, in_gallery)
    asked = relevance.targets(dataset)
    shown = _shown(dataset, images, left_out)
    names = _names(images, asked, shown)
    entries = _queries(dataset, images, asked, names, left_out)
    for key, entry in _gallery(dataset, images, shown, names, left_out).items():
        if key in entries:
            raise SchemaError(
                f"image {key}",
                "is a query and in the gallery",
                "anns.pt has one entry per image",
                "see 'curate build split query-gallery'",
            )
        entries[key] = entry
    return dict(sorted(entries.items())), left_out


def _shown(dataset: Dataset, images: _Images, left_out: Counter[str]) -> pa.Table:
    """The annotations that gallery entries list, with the columns ``image`` (position) and ``target``."""
    table = dataset.table("annotations")
    image = positions(table["image_id"], images.table["id"])
    table = table.append_column("image", pa.array(image))
    table = table.append_column("target", plain(table[dataset.info.relevance.target]))
    shown = pc.equal(plain(table["status"]), "truth").to_numpy(zero_copy_only=False)
    table = table.filter(pa.array(shown & (image >= 0) & images.in_gallery[np.maximum(image, 0)]))
    for reason, unfit in (
        ("left_out_boxes_of_crowds_or_ignored", pc.or_(table["iscrowd"], table["ignore"])),
        ("left_out_boxes_of_no_instance", pc.is_null(table["target"])),
        ("left_out_labels_without_box", pc.is_null(table["x"])),
    ):
        left_out[reason] = pc.sum(unfit).as_py() or 0
    fit = pc.and_(pc.is_valid(table["target"]), pc.is_valid(table["x"]))
    return table.filter(pc.and_not(fit, pc.or_(table["iscrowd"], table["ignore"])))


def _names(images: _Images, asked: pa.Table, shown: pa.Table) -> _Names:
    """A set and a number for each target: its own, if every target is "set/number" and every image shows one set."""
    targets = sorted({*pc.unique(shown["target"]).to_pylist(), *pc.unique(asked["target"]).to_pylist()} - {None})
    found = {target: _SET_NUMBER.fullmatch(target) for target in targets}
    numbers = {target: (match[1], int(match[2])) for target, match in found.items() if match}
    if len(numbers) == len(targets):
        set_of = {target: of for target, (of, _) in numbers.items()}
        pairs = shown.group_by(["image", "target"]).aggregate([])
        sets = {(i, set_of[t]) for i, t in zip(pairs["image"].to_pylist(), pairs["target"].to_pylist(), strict=True)}
        if len(sets) == len({image for image, _ in sets}):
            return _Names(numbers, named=False)
    return _Names({target: ("", i) for i, target in enumerate(targets)}, named=True)


def _sets(images: pa.Table, held: list[Kept]) -> list[str]:
    """The set that each image says it belongs to, else its source."""
    sources, ids = plain(images["source"]).to_pylist(), images["id"].to_pylist()
    return [
        row.set or (id.split("/")[1] if source == "voxdet" else source)
        for source, id, row in zip(sources, ids, held, strict=True)
    ]


def _queries(dataset: Dataset, images: _Images, asked: pa.Table, names: _Names, left_out: Counter[str]) -> Entries:
    queries, annotations = dataset.table("queries"), dataset.table("annotations")
    image = positions(queries["image_id"], images.table["id"])
    own = positions(queries["annotation_id"], annotations["id"])
    rows = annotations.take(pa.array(own, mask=own < 0))
    rows = with_painted_polygons(rows, *_frames(images, image))
    boxes, own_boxes = corners(queries, None), corners(rows, None)
    mask = masks(rows, by_rows=True)
    entries: Entries = {}
    for i, target in enumerate(asked["target"].to_pylist()):
        held = own[i] >= 0
        box = boxes[i] or (own_boxes[i] if held else None)
        at = int(image[i])
        reason = None
        if at < 0 or target is None:
            reason = "left_out_queries_without_image_or_instance"
        elif images.missing[at]:
            reason = "left_out_images_missing"
        elif box is None or box[2] <= box[0] or box[3] <= box[1]:
            reason = "left_out_queries_without_box"
        elif images.keys[at] in entries:
            reason = "left_out_queries_beside_another_of_their_image"
        if reason or box is None:
            left_out[reason or ""] += 1
            continue
        of, number = names.numbers[target]
        entries[images.keys[at]] = {
            "bbox": inclusive(box),
            "mask": (mask[i] if held else None) or [],
            "is_query": True,
            "ins": number,
            "set": of or images.sets[at],
            "is_val": False,
        }
        if names.named:
            entries[images.keys[at]]["obj_name"] = target
    return entries


def _gallery(dataset: Dataset, images: _Images, shown: pa.Table, names: _Names, left_out: Counter[str]) -> Entries:
    entries: Entries = {}
    by_image: dict[int, dict[str, Any]] = {}
    val = pc.equal(plain(images.table["source_split"]), "val").fill_null(False).to_numpy(zero_copy_only=False)
    for image in np.flatnonzero(images.in_gallery).tolist():
        if images.missing[image]:
            left_out["left_out_images_missing"] += 1
            continue
        entry: dict[str, Any] = {
            "bbox": [],
            "num_ins": [],
            "mask": [],
            "is_query": False,
            "ins": [],
            "set": images.sets[image],
            "is_val": bool(val[image]),
        }
        if names.named:
            entry["obj_name"] = []
        entries[images.keys[image]] = by_image[image] = entry
    at = shown["image"].to_numpy()
    shown = with_painted_polygons(shown, *_frames(images, at))
    held = kept(shown["attributes"])
    rows = zip(
        at.tolist(), shown["target"].to_pylist(), corners(shown, held), masks(shown, by_rows=True), held, strict=True
    )
    for image, target, box, mask, own in rows:
        found = by_image.get(image)
        if found is None:
            continue
        of, number = names.numbers[target]
        found["bbox"].append(box)
        found["ins"].append(number)
        found["mask"].append(mask or [])
        found["num_ins"].append(own.num_ins)
        found["set"] = of or found["set"]
        if names.named:
            found["obj_name"].append(target)
    for entry in by_image.values():
        if not any(entry["mask"]):
            entry["mask"] = []
        known = [n is not UNSET for n in entry["num_ins"]]
        if not all(known):
            entry["num_ins"] = [1 if n is UNSET else n for n in entry["num_ins"]] if any(known) else []
    return entries


def _frames(images: _Images, image: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Width and height of the images at these positions; 0 where unknown."""

    def of(column: str) -> NDArray[np.int64]:
        known = images.table[column].fill_null(0).to_numpy().astype(np.int64)
        return np.where(image >= 0, known[np.maximum(image, 0)], 0) if len(known) else np.zeros(len(image), np.int64)

    return of("width"), of("height")
