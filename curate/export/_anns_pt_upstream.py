"""What VoxDet-SoIR's ``create_dataset.py`` (commit 48a7310) makes of a VoxDet tree, from the dataset of that tree."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from curate.columns import plain, positions
from curate.dataset import Dataset
from curate.errors import SchemaError, UsageError
from curate.export._anns_pt_values import Kept, corners, inclusive, kept, masks

Entries = dict[str, dict[str, Any]]


def upstream_entries(dataset: Dataset, key_prefix: str | None) -> tuple[Entries, Counter[str]]:
    """The entries, sorted by key.

    Raises:
        UsageError: the dataset holds images of other sources than voxdet.
        SchemaError: an instance has no number, or a mask is malformed.
    """
    images = dataset.table("images")
    others = sorted(set(plain(images["source"]).unique().to_pylist()) - {"voxdet"})
    if others:
        raise UsageError(
            "--compat upstream",
            f"the dataset holds images of {', '.join(others)}",
            "expected voxdet only: upstream's program reads nothing else",
        )
    root = PurePosixPath(key_prefix if key_prefix is not None else dataset.info.roots.get("voxdet", ""))
    files = images["file_name"].to_pylist()
    entries = {
        **_queries(dataset, images, [str(root / file) for file in files]),
        **_gallery(dataset, images, [str(root / _scene_file(file)) for file in files]),
    }
    return dict(sorted(entries.items())), Counter()


def _scene_file(file: str) -> str:
    """OWID's scenes by base name: the folder in an image record's file name is thrown away."""
    head, owid, tail = file.partition("OWID/P2/")
    return f"{head}{owid}images/{tail.rpartition('/')[2]}" if owid else file


def _queries(dataset: Dataset, images: pa.Table, keys: list[str]) -> Entries:
    queries = dataset.table("queries")
    image = positions(queries["image_id"], images["id"])
    own = positions(queries["annotation_id"], dataset.table("annotations")["id"])
    taken = np.flatnonzero((image >= 0) & (own >= 0))
    rows = dataset.table("annotations").take(pa.array(own[taken]))
    of_image = kept(images["attributes"])
    entries: Entries = {}
    columns = zip(
        image[taken].tolist(), rows["instance"].to_pylist(), corners(rows, None), masks(rows, by_rows=True), strict=True
    )
    for at, instance, box, mask in columns:
        if mask is None or of_image[at].dropped_upstream:
            continue
        height, width = mask["size"]
        if mask["counts"][0] == 0:
            del mask["counts"][0]
        entries[keys[at]] = {
            "bbox": (0, 0, width, height) if box is None else inclusive(box),
            "mask": mask,
            "is_query": True,
            "ins": _number(instance),
            "set": instance.partition("/")[0],
        }
    return entries


def _gallery(dataset: Dataset, images: pa.Table, keys: list[str]) -> Entries:
    rows = dataset.table("annotations")
    # Proposals of the import are in: an annotation whose image was found through its position in the list.
    as_found = pc.and_(pc.equal(plain(rows["origin"]), "source"), pc.not_equal(plain(rows["status"]), "rejected"))
    rows = rows.filter(pc.and_(as_found, pc.is_valid(rows["x"])))
    image = positions(rows["image_id"], images["id"])
    scene = np.array([not view for view in pc.match_substring_regex(images["id"], _VIEW).to_pylist()], bool)
    taken = np.flatnonzero((image >= 0) & scene[image]) if len(scene) else np.zeros(0, np.int64)
    rows = rows.take(pa.array(taken))
    held = kept(rows["attributes"])
    entries: Entries = {}
    columns = zip(
        image[taken].tolist(),
        rows["instance"].to_pylist(),
        corners(rows, held),
        masks(rows, by_rows=False),
        held,
        strict=True,
    )
    for at, instance, box, mask, own in columns:
        if own.dropped_upstream:
            continue
        of = instance.partition("/")[0]
        entry = entries.get(keys[at])
        if entry is None:
            entry = {"bbox": [], "num_ins": [], "mask": [], "is_query": False, "ins": [], "set": of}
            entries[keys[at]] = entry
        entry["bbox"].append(box)
        entry["ins"].append(_number(instance))
        if of == "OWID":
            entry["mask"].append(_as_found(mask, own))
            entry["num_ins"].append(1 if own.num_ins is UNSET else own.num_ins)
    return entries


_VIEW = r"^voxdet/(OWID/P1|RoboTools/test_video)/"


def _as_found(mask: dict[str, Any] | None, own: Kept) -> Any:
    if own.segmentation is not UNSET:
        return own.segmentation
    return [] if mask is None else mask


def _number(instance: str) -> int:
    try:
        return int(instance.rpartition("/")[2])
    except ValueError:
        raise SchemaError(f"instance {instance!r}", "has no number", "expected OWID/5 or the like") from None
