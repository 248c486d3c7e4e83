"""Label Studio's tasks with pre-labels as predictions, and the labelling config: for a server that curate does not run.

===========================  ==============================================================================
``labelling_config.xml``     the page that people see; a project has to have it before the tasks are imported
``tasks-NNNNN.json``         up to 1,000 tasks or about 50 MB each, which one request takes
===========================  ==============================================================================

A task's ``data`` has ``image`` (the address of the picture), ``key`` (the image's id) and ``title``. Its one prediction
has a region per annotation: a box, a polygon or a brush mask, whichever shows it best, or all of one shape. A mask that
is wanted as polygon is shown by its outline, with fewer points. The prediction's score is 1 less the
doubt of its most doubtful annotation (``curate.doubt``), so that the server can put such tasks first.

By default truth and proposals are shown, and an annotation gives way to a proposal that refines it and can be shown.

The server shows local pictures only to a project with a storage ("Local files") of a folder above them. ``curate
review`` sees to all this by itself, and brings the answers back.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain, positions
from curate.dataset import Dataset, annotations_of
from curate.doubt import doubt_of
from curate.errors import UsageError
from curate.export._folder import export_folder
from curate.geometry import check_ring, check_rle, polygon_bounds, rle_area
from curate.label_studio.addresses import LOCAL, image_url
from curate.label_studio.labelling import Config, config
from curate.label_studio.regions import Frame, Tool, controls, regions_of
from curate.model import Annotation, Polygons
from curate.tracing import without_holes

STATUSES = ("truth", "proposal")
SHAPES: dict[str, Tool] = {"box": "box", "polygon": "polygon", "brush": "mask"}
NAMELESS = "object"  # the label of annotations without a class
_BUCKET = re.compile(r"(?!https?:)[A-Za-z][A-Za-z0-9+.-]*://")
_ALWAYS = ("images", "predictions", "annotations", "files")
TASKS, BYTES = 1000, 50_000_000  # in one file


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    compat: str | None = None,
    status: Sequence[str] = STATUSES,
    shape: str | None = None,
    key_prefix: str | None = None,
    document_root: Path | None = None,
    roots: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``; equal datasets give equal bytes.

    Args:
        status: of the annotations to show.
        shape: ``box``, ``polygon`` or ``brush`` for all of them; None shows each as well as can be.
        key_prefix: what stands before ``source/path`` in a picture's address; the server's own folder of local files if
            not given, which then has to hold a folder, or a link, for each source.
        document_root: the server's folder of local files, if the pictures lie in it where the dataset has them.
        roots: folders of sources, beside those that the dataset names; for ``document_root``.

    Returns:
        Counts: images, predictions, annotations, files, and what was left out.

    Raises:
        UsageError: ``path`` exists, or an option is unknown or contradicts another.
        ReviewError: a picture lies outside ``document_root``.
    """
    _check(compat, status, shape, key_prefix, document_root)
    tools: Sequence[Tool] = [SHAPES[shape]] if shape else list(SHAPES.values())
    annotations = dataset.table("annotations")
    annotations = annotations.filter(pc.is_in(plain(annotations["status"]), value_set=pa.array(list(status))))
    page = config(_classes(dataset, annotations), tools)
    counts: Counter[str] = Counter(dict.fromkeys(_ALWAYS, 0))
    places = {**dataset.info.roots, **(roots or {})}
    tasks = (
        _task(image, _address(image, key_prefix, document_root, places), rows, page, tools, counts)
        for image, rows in _images(dataset, annotations, counts)
    )
    with export_folder(path, "labelstudio", dataset, overwrite=overwrite) as folder:
        (folder / "labelling_config.xml").write_text(page.xml + "\n", encoding="utf-8")
        for number, content in enumerate(_files(tasks), 1):
            (folder / f"tasks-{number:05}.json").write_bytes(content)
            counts["files"] += 1
    return {name: number for name, number in counts.items() if number or name in _ALWAYS}


def _check(
    compat: str | None, status: Sequence[str], shape: str | None, key_prefix: str | None, document_root: Path | None
) -> None:
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of labelstudio", hint="leave it out")
    unknown = sorted(set(status) - set(STATUSES))
    if unknown:
        raise UsageError(f"--status {unknown[0]}", "is not shown here", f"expected {' or '.join(STATUSES)}")
    if shape is not None and shape not in SHAPES:
        raise UsageError(f"--shape {shape}", "is unknown", f"expected one of {', '.join(SHAPES)}")
    if document_root is not None and not document_root.is_dir():
        raise UsageError(f"--document-root {document_root}", "no such folder", "expected that of the server")
    if key_prefix is not None and document_root is not None:
        raise UsageError("--key-prefix", "is given together with --document-root", "expected one of them")


def _classes(dataset: Dataset, annotations: pa.Table) -> list[tuple[str, str | None]]:
    """The classes that may be drawn, with their groups: those of the benchmark, and all that an annotation has."""
    table = dataset.table("categories").select(["name", "supercategory", "role"]).to_pylist()
    used = set(pc.unique(plain(annotations["category"])).to_pylist())
    found = [(row["name"], row["supercategory"]) for row in table if row["role"] == "benchmark" or row["name"] in used]
    more = sorted(used - {name for name, _ in found} - {None})
    nameless = [NAMELESS] if None in used and NAMELESS not in {*more, *(name for name, _ in found)} else []
    return [*found, *((name, None) for name in [*more, *nameless])] or [(NAMELESS, None)]


def _images(
    dataset: Dataset, annotations: pa.Table, counts: Counter[str]
) -> Iterator[tuple[dict[str, Any], list[Annotation]]]:
    """Each image that has a file, with its annotations, in the order of the tables."""
    images = dataset.table("images").select(["id", "source", "file_name", "width", "height", "orientation"])
    place = positions(annotations["image_id"], images["id"])
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(images.num_rows + 1))
    for first in range(0, images.num_rows, TASKS):
        part = images.slice(first, TASKS).to_pylist()
        start, end = bounds[first], bounds[first + len(part)]
        rows = annotations_of(annotations.take(pa.array(order[start:end])))
        for i, image in enumerate(part, first):
            if image["file_name"] is None:
                counts["left_out_images_without_file"] += 1
            else:
                yield image, rows[bounds[i] - start : bounds[i + 1] - start]


def _address(
    image: Mapping[str, Any], key_prefix: str | None, document_root: Path | None, roots: Mapping[str, str]
) -> str:
    if document_root is None:
        place = f"{image['source']}/{image['file_name']}"
        prefix = LOCAL if key_prefix is None else key_prefix
        # The name of an object in a bucket is no part of an address on the web: it is taken as it stands.
        return prefix + (place if _BUCKET.match(prefix) else quote(place))
    if image["source"] not in roots:
        found = f"the folder of {image['source']} is not known"
        raise UsageError(f"image {image['id']}", found, hint=f"give --root {image['source']}=FOLDER")
    file = Path(roots[image["source"]]) / image["file_name"]
    return image_url(file, document_root, "give another --document-root, or --key-prefix")


def _task(
    image: Mapping[str, Any],
    address: str,
    rows: Sequence[Annotation],
    page: Config,
    tools: Sequence[Tool],
    counts: Counter[str],
) -> dict[str, Any]:
    counts["images"] += 1
    task: dict[str, Any] = {"data": {"image": address, "key": image["id"], "title": image["id"]}}
    shown = _shown(rows, image, tools, counts)
    if shown:
        frame = Frame(image["id"], image["width"], image["height"], page.labels, controls(tools), image["orientation"])
        prediction: dict[str, Any] = {"model_version": ", ".join(sorted({row.origin for row in shown}))}
        doubts = [value for row in shown if (value := doubt_of(row.score, row.attributes)) is not None]
        if doubts:
            prediction["score"] = 1 - max(doubts)
        task["predictions"] = [prediction | {"result": regions_of(shown, frame)}]
        counts["predictions"] += 1
        counts["annotations"] += len(shown)
    return task


def _shown(
    rows: Sequence[Annotation], image: Mapping[str, Any], tools: Sequence[Tool], counts: Counter[str]
) -> list[Annotation]:
    """The annotations of an image that are shown; the others are counted."""
    found = []
    for row in rows:
        drawn, faults = _sound(row, image)
        counts.update(f"left_out_{what}" for what in faults)
        found.append((drawn, _hidden(drawn, image, tools)))
    refined = {row.parent_id for row, why in found if row.status == "proposal" and not why}
    for row, why in found:
        if row.id in refined:
            counts["annotations_that_a_proposal_refines"] += 1
        elif why:
            counts[f"left_out_annotations_{why}"] += 1
    return [_named(row) for row, why in found if not why and row.id not in refined]


def _sound(row: Annotation, image: Mapping[str, Any]) -> tuple[Annotation, list[str]]:
    """A row without shapes that cannot be drawn, and what these were."""
    width, height = image["width"], image["height"]
    faults = []
    mask, polygons = row.segmentation, row.polygons
    if mask is not None and width and height:
        if tuple(mask.size) != (height, width):
            mask, faults = None, ["masks_of_another_frame"]
        elif check_rle(mask) or not rle_area(mask):
            mask, faults = None, ["masks_that_are_malformed_or_empty"]
    if polygons and width and height and not _drawable(polygons, width, height):
        polygons, faults = None, [*faults, "polygons_that_are_malformed_or_outside"]
    return msgspec.structs.replace(row, segmentation=mask, polygons=polygons) if faults else row, faults


def _drawable(polygons: Polygons, width: int, height: int) -> bool:
    if not all(part and not any(check_ring(ring, width, height) for ring in part) for part in polygons):
        return False
    x, y, w, h = polygon_bounds(polygons)
    return x < width and y < height and x + w > 0 and y + h > 0 and bool(without_holes(polygons))


def _named(row: Annotation) -> Annotation:
    return row if row.category is not None else msgspec.structs.replace(row, category=NAMELESS)


def _hidden(row: Annotation, image: Mapping[str, Any], tools: Sequence[Tool]) -> str | None:
    """Why an annotation cannot be shown."""
    if row.x is None or row.y is None or row.w is None or row.h is None:
        return "of_the_whole_image"
    if not image["width"] or not image["height"]:
        return "of_images_of_unknown_size"
    if not all(map(math.isfinite, (row.x, row.y, row.w, row.h))):
        return "with_a_box_that_is_not_finite"
    if "box" not in tools and row.segmentation is None and not row.polygons:
        return "without_mask"
    return None


def _files(tasks: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """The contents of the files: JSON lists of tasks, a task per line."""
    held: list[bytes] = []
    size = 0
    for task in tasks:
        text = msgspec.json.encode(task)
        if held and (len(held) == TASKS or size + len(text) > BYTES):
            yield _listed(held)
            held, size = [], 0
        held.append(text)
        size += len(text)
    if held:
        yield _listed(held)


def _listed(tasks: Sequence[bytes]) -> bytes:
    return b"[\n" + b",\n".join(tasks) + b"\n]\n"
