"""A SearchAD folder: ``searchad_annotations_{train,val}.json``, from image path to boxes, and the mapping of test ids;
and what lies beside them (``searchad_lists``).

A box is ``x1, y1, x2, y2`` in pixels, right and bottom exclusive; the size of an image is known from its file alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.model import Finding, finding
from curate.verify import searchad_lists, text
from curate.verify.json_text import decode
from curate.verify.report import encodable
from curate.verify.subject import Subject, short

SOURCE = "searchad"
ANNOTATIONS = {split: f"searchad_annotations_{split}.json" for split in ("train", "val")}
TEST = "searchad_test_mapping_id_to_imagepath.json"
NAMES = (*ANNOTATIONS.values(), TEST)
_SIDES = "xywh"


def is_folder(folder: Path) -> bool:
    return any((folder / name).is_file() for name in NAMES)


def load(path: Path, files: Mapping[str, Path] | None = None) -> tuple[Subject | None, list[Finding]]:
    """Read the files that are there, or those in ``files`` by their names: their images and boxes as a subject."""
    files = {name: path / name for name in NAMES} if files is None else files
    found: list[Finding] = []
    images: list[tuple[str, str, str]] = []  # path, split, place
    boxes: list[tuple[str, str | None, list[float] | None, str]] = []  # image, label, corners, place
    for split, name in (*ANNOTATIONS.items(), ("test", TEST)):
        file = files.get(name)
        value = _object(file, found) if file is not None and file.is_file() else {}
        for key, held in value.items():
            place = encodable(f"{file}, {key}")
            if split == "test":
                if not (key.isascii() and key.isdecimal()) or type(held) is not str:
                    found.append(finding("S01", place, f"is {short(held)}; expected an id with the path of an image"))
                else:
                    images.append((encodable(held), split, place))
                continue
            images.append((encodable(key), split, place))
            boxes += _boxes(encodable(key), held, place, found)
    if not images:
        return None, found or [finding("F09", path, "lists no image; expected SearchAD's files")]
    # An image has one row, whatever number of splits it stands in.
    first = {name: i for i, (name, _, _) in reversed(list(enumerate(images)))}
    for i, (name, split, place) in enumerate(images):
        if first[name] != i:
            other = images[first[name]]
            text_ = f"image {short(name)} stands in {other[1]} too; expected every image in one split, once"
            found.append(finding("Q03" if other[1] != split else "R01", place, text_, item=name))
    rows = [images[i] for i in sorted(first.values())]

    def place_of(table: str, row: int, field: str) -> str:
        return boxes[row][3] if table == "annotations" else rows[row][2]

    tables = {"images": _images(rows), "annotations": _annotations(boxes)}
    if path.is_dir():
        found += searchad_lists.check(path, {name: split for name, split, _ in rows}, _areas(boxes, rows))
    return Subject("searchad", tables, place_of, roots={SOURCE: path}), found


def _areas(
    boxes: list[tuple[str, str | None, list[float] | None, str]], rows: list[tuple[str, str, str]]
) -> dict[str, dict[tuple[str, str], float]]:
    """By split, the largest box area of each label in each image."""
    split_of = {name: split for name, split, _ in rows}
    areas: dict[str, dict[tuple[str, str], float]] = {}
    for image, label, box, _ in boxes:
        if label is not None and box is not None:
            held, area = areas.setdefault(split_of[image], {}), (box[2] - box[0]) * (box[3] - box[1])
            held[image, label] = max(area, held.get((image, label), area))
    return areas


def _object(file: Path, found: list[Finding]) -> dict[str, Any]:
    data, noticed = text.read(file)
    found += noticed
    value, more = decode(data, str(file)) if data else ({}, [])
    found += more
    if type(value) is dict:
        return value
    if value is None and more:
        return {}  # which says it all
    found.append(finding("S01", file, f"is {short(value)}; expected an object from image path to boxes"))
    return {}


def _boxes(
    image: str, held: Any, place: str, found: list[Finding]
) -> Iterator[tuple[str, str | None, list[float] | None, str]]:
    if type(held) is not list:
        found.append(finding("S01", place, f"is {short(held)}; expected a list of boxes", item=image))
        return
    for i, one in enumerate(held):
        where = f"{place}[{i}]"
        label, corners = (one.get("label"), one.get("bbox")) if type(one) is dict else (None, None)
        if type(label) is not str or not label:
            found.append(finding("S01", where, f"label is {short(label)}; expected a class", item=image))
        sound = type(corners) is list and len(corners) == 4 and all(type(v) in (int, float) for v in corners)
        if not sound:
            found.append(finding("B01", where, f"bbox is {short(corners)}; expected x1, y1, x2, y2", item=image))
        yield image, encodable(label) if type(label) is str else None, corners if sound else None, where


def _images(rows: list[tuple[str, str, str]]) -> pa.Table:
    names = pa.array([name for name, _, _ in rows], pa.string())
    splits = pa.array([split for _, split, _ in rows], pa.string())
    sources = pa.array([SOURCE] * len(rows), pa.string())
    return pa.table({"id": names, "source": sources, "file_name": names, "split": splits})


def _annotations(boxes: list[tuple[str, str | None, list[float] | None, str]]) -> pa.Table:
    corners = [box for _, _, box, _ in boxes]
    sides = [None if box is None else (box[0], box[1], box[2] - box[0], box[3] - box[1]) for box in corners]
    columns = {side: pa.array([s and float(s[i]) for s in sides], pa.float64()) for i, side in enumerate(_SIDES)}
    return pa.table(
        {
            "id": pa.array([str(i) for i in range(len(boxes))], pa.string()),
            "image_id": pa.array([image for image, _, _, _ in boxes], pa.string()),
            "category": pa.array([label for _, label, _, _ in boxes], pa.string()),
            "status": pa.array(["truth"] * len(boxes), pa.string()),
            **columns,
        }
    )
