"""Looking at an imported dataset in a test: rows by image, boxes, masks as arrays, coverage and findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from curate.dataset import Dataset


def annotations(dataset: Dataset, image: str = "") -> list[dict[str, Any]]:
    """The annotations of the images whose id contains ``image``, in order of their ids, attributes decoded."""
    found = [row for row in dataset.table("annotations").to_pylist() if image in row["image_id"]]
    return [{**row, "attributes": json.loads(row["attributes"] or "{}")} for row in found]


def images(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The images by id without the source's name, attributes decoded."""
    return {
        row["id"].partition("/")[2]: {**row, "attributes": json.loads(row["attributes"] or "{}")}
        for row in dataset.table("images").to_pylist()
    }


def coverage(dataset: Dataset) -> dict[tuple[str, str], str]:
    return {(row["scope"], row["category"]): row["state"] for row in dataset.table("coverage").to_pylist()}


def categories(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in dataset.table("categories").to_pylist()}


def findings(dataset: Dataset, *codes: str) -> list[tuple[str, str | None]]:
    """Code and item of the findings with one of ``codes``, or of all."""
    return [(found.code, found.item) for found in dataset.problems if not codes or found.code in codes]


def box(row: dict[str, Any]) -> list[float]:
    return [row["x"], row["y"], row["w"], row["h"]]


def mask(row: dict[str, Any]) -> np.ndarray:
    """``(height, width)`` of bool, decoded by pycocotools."""
    found = row["segmentation"]
    return coco_mask.decode({"size": found["size"], "counts": found["counts"].encode()}).astype(bool)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def searchad_paths(shared: Path, folder: str) -> list[str]:
    """The image paths below one of SearchAD's folders that the golden release names, without the folder."""
    golden = shared / "golden/searchad/case_basic/input"
    paths = list(json.loads((golden / "searchad_test_mapping_id_to_imagepath.json").read_text()).values())
    for split in ("train", "val"):
        paths += json.loads((golden / f"searchad_annotations_{split}.json").read_text())
    return [path.removeprefix(f"{folder}/") for path in paths if path.startswith(f"{folder}/")]
