"""Pixel retrieval as PROxford and PRParis: lists of pairs, LabelMe outlines, and revisitop's ground truth.

Files, as the archive ``pixel_retrieval_benchmarks`` has them::

    oxford_pair2labelpath.npy, paris_pair2labelpath.npy     {"<query>_<image>": path of a label file}, pickled
    labels/<set>/<name>.json                                LabelMe's form: shapes[].points, all of them one object
    revisitop/data/<set>/gnd_<set>.pkl                      as export revisitop writes it
    revisitop/data/revisitop1m.txt                          revisitop's distractors

* A pair is a query and an image that is positive for it (easy, hard); its outlines are those of the annotation that
  the judgement names, or that makes the image a positive. A pair without outline is counted: upstream's program needs
  one for each.
* Label files that the dataset names keep their names. Polygons are written as they are; a mask without polygons is
  traced along the centres of its border pixels, which the evaluation's fill turns into the same pixels. Label files
  have no holes: those of a polygon or mask are filled, and counted.
* Upstream's programs know the sets oxford and paris, with 70 queries each; any other set is written under its own name.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate import geometry, relevance
from curate.columns import positions
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import CurateError, UsageError
from curate.export import revisitop
from curate.export._folder import export_folder
from curate.model import Rle

_PLACES = {"roxford5k": "oxford", "rparis6k": "paris"}
_PAIRS = "_pair2labelpath.npy"
# An array without dimensions that holds one object, as numpy has pickled it since version 1.10; then the object.
_ARRAY = (
    b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01)cnumpy\ndtype\n"
    b"X\x02\x00\x00\x00O8\x89\x88\x87R(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]",
    b"atb.",
)


class _Outline(NamedTuple):
    """An annotation as a label file."""

    path: str
    data: bytes


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, compat: str | None = None) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``; equal datasets give equal bytes.

    Returns:
        Counts: sets, images, queries, pairs with an outline, label files, positive pairs without outline, holes.

    Raises:
        UsageError: ``path`` exists, or ``compat`` is asked for.
        SchemaError: as :func:`curate.export.revisitop.write` says.
        CurateError: a mask without polygons needs opencv, which is not installed.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of pixel_retrieval", hint="leave it out")
    with collector_paused(), export_folder(path, "pixel_retrieval", dataset, overwrite=overwrite) as folder:
        plan = revisitop.plan(dataset)
        labels = _Labels(dataset)
        pairs = without = 0
        for name, (queries, images) in plan.sets.items():
            held = folder / "revisitop/data" / name
            held.mkdir(parents=True)
            (held / f"gnd_{name}.pkl").write_bytes(revisitop.plain_pickle_of(revisitop.truth(dataset, queries, images)))
            place = _PLACES.get(name, name)
            listed: dict[str, str] = {}
            for key, image_id, annotation_id in _positives(dataset, queries, images):
                file = labels.file_of(annotation_id, image_id, place)
                if file is None:
                    without += 1
                else:
                    listed[key] = file
            pairs += len(listed)
            (folder / f"{place}{_PAIRS}").write_bytes(_npy(listed))
        if plan.distractors:
            text = "".join(f"{line}\n" for line in plan.distractors)
            (folder / "revisitop/data/revisitop1m.txt").write_text(text, encoding="utf-8")
        for file, data in labels.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
    return {
        "sets": len(plan.sets),
        "images": sum(len(images) for _, images in plan.sets.values()),
        "queries": sum(queries.num_rows for queries, _ in plan.sets.values()),
        "pairs": pairs,
        "label_files": len(labels.files),
        "positive_pairs_without_outline": without,
        "filled_holes": labels.holes,
        "left_out_queries_without_image": plan.without_image,
    }


def _positives(dataset: Dataset, queries: pa.Table, images: list[str]) -> Iterator[tuple[str, str, str | None]]:
    """Key, image and annotation of each positive pair, in the order of the lists."""
    found = relevance.relevance(dataset, queries["id"].to_pylist())
    query = positions(found["query_id"], queries["id"]).tolist()
    index = positions(found["image_id"], pa.array(images, pa.string())).tolist()
    rows = zip(query, index, found["label"].to_pylist(), found["annotation_id"].to_pylist(), strict=True)
    for q, i, label, annotation in sorted(rows, key=lambda row: row[:2]):
        if i >= 0 and label in relevance.POSITIVE:
            yield f"{q}_{i}", images[i], annotation


class _Labels:
    """Label files, made as pairs ask for them."""

    def __init__(self, dataset: Dataset) -> None:
        table = dataset.table("annotations").select(["id", "polygons", "segmentation", "source_label", "attributes"])
        self._table = table
        self._row = {id: row for row, id in enumerate(table["id"].to_pylist())}
        images = dataset.table("images").select(["id", "file_name", "width", "height"]).to_pylist()
        self._images = {row.pop("id"): row for row in images}
        self._path: dict[str, str | None] = {}
        self.files: dict[str, bytes] = {}
        self.holes = 0

    def file_of(self, annotation_id: str | None, image_id: str, place: str) -> str | None:
        """The label file of an annotation; None if there is no such annotation, or it has no outline."""
        if annotation_id is None or annotation_id not in self._row:
            return None
        if annotation_id not in self._path:
            self._path[annotation_id] = self._make(annotation_id, image_id, place)
        return self._path[annotation_id]

    def _make(self, annotation_id: str, image_id: str, place: str) -> str | None:
        row = self._table.slice(self._row[annotation_id], 1).to_pylist()[0]
        rings, holes = _rings(row)
        if not rings:
            return None
        self.holes += holes
        data = _label_file(rings, row["source_label"] or "object", self._images[image_id])
        name = image_id.rpartition("/")[2]
        paths = [_own_path(row["attributes"]), f"labels/{place}/{name}.json"]
        n = 0
        while True:
            path = paths.pop(0) if paths else f"labels/{place}/{name}_{(n := n + 1)}.json"
            if path and self.files.setdefault(path, data) == data:
                return path


def _own_path(attributes: str | None) -> str | None:
    """The name of its label file that an annotation was imported with."""
    about = json.loads(attributes).get("pixel_retrieval") if attributes else None
    path = (about or {}).get("label")
    if not isinstance(path, str) or not path.endswith(".json") or path.startswith(("/", "revisitop/")):
        return None
    return None if ".." in PurePosixPath(path).parts or "\\" in path else path


def _rings(row: dict[str, Any]) -> tuple[list[list[float]], int]:
    """The outer rings of an annotation, and how many holes were in them."""
    if row["polygons"]:
        return [part[0] for part in row["polygons"]], sum(len(part) - 1 for part in row["polygons"])
    if row["segmentation"] is None:
        return [], 0
    return _traced(Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"]))


def _traced(mask: Rle) -> tuple[list[list[float]], int]:
    try:
        import cv2
    except ImportError:
        hint = "pip install opencv-python-headless"
        raise CurateError("export pixel_retrieval", "opencv is not installed", "needed to trace masks", hint) from None
    contours, tree = cv2.findContours(geometry.mask_from_rle(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [i for i in range(len(contours)) if tree[0][i][3] < 0]
    rings = []
    for i in outer:
        corners = contours[i].reshape(-1, 2).astype(np.float64)
        # A ring has three points at least; a pixel or a line of them has one or two.
        points = np.concatenate([corners, np.repeat(corners[-1:], max(0, 3 - len(corners)), axis=0)])
        rings.append(points.ravel().tolist())
    return rings, len(contours) - len(outer)


def _label_file(rings: list[list[float]], label: str, image: dict[str, Any]) -> bytes:
    shapes: list[dict[str, Any]] = [
        {
            "label": label,
            "points": [[x, y] for x, y in zip(ring[0::2], ring[1::2], strict=True)],
            "group_id": None,
            "shape_type": "polygon",
            "flags": {},
        }
        for ring in rings
    ]
    content: dict[str, Any] = {"version": "5.0", "flags": {}, "shapes": shapes}
    content |= {"imagePath": PurePosixPath(image["file_name"] or "").name, "imageData": None}
    if image["width"] and image["height"]:
        content |= {"imageHeight": image["height"], "imageWidth": image["width"]}
    return (json.dumps(content, indent=1) + "\n").encode()


def _npy(pairs: dict[str, str]) -> bytes:
    """What ``numpy.save`` writes of a dictionary; the same bytes with every version of numpy, which all read it."""
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header = text + b" " * (-(len(text) + 11) % 64) + b"\n"
    body = revisitop.plain_pickle_of(pairs)[2:-1]  # without the mark of its protocol and the stop
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + _ARRAY[0] + body + _ARRAY[1]
