"""Ground truth of revisited Oxford and Paris: gnd_<set>.pkl of any dataset with image queries.

Files below the output, one folder per set, as revisitop has them below its ``datasets/``::

    <set>/gnd_<set>.pkl              {"imlist": [name], "qimlist": [name], "gnd": [{"bbx", "easy", "hard", "junk"}]}
    revisitop1m/revisitop1m.txt      distractors of revisitop, one path per line

* The pickle holds dictionaries, lists, text and numbers alone (protocol 2): Python 2 and 3 read it, and so does our own
  reader, which can run nothing.
* Images of revisitop form the set that they are from; other datasets are one set of the dataset's name. A name is the
  key of an image without its source, slashes turned to underscores; upstream looks for ``<set>/jpg/NAME.jpg``.
* ``easy``, ``hard`` and ``junk`` are indices of ``imlist``, from 0. Positives without a grade are easy; images to
  ignore are junk. The format knows no other state: what nobody judged counts as negative, and such pairs are counted.
* ``bbx`` is ``x1 y1 x2 y2`` in pixels: the query's box, else its annotation's, else the whole image.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import relevance
from curate.columns import plain, positions, whole
from curate.dataset import Dataset
from curate.engine import collector_paused
from curate.errors import SchemaError, UsageError
from curate.export._folder import export_folder
from curate.export._numbers import far_edge

_OWN = "revisitop/"
_DISTRACTORS = "revisitop1m"
_LISTED = {"positive": "easy", "easy": "easy", "hard": "hard", "ignore": "junk", "junk": "junk"}


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, compat: str | None = None) -> dict[str, int]:
    """Write ``dataset`` as the folder ``path``; equal datasets give equal bytes.

    Returns:
        Counts: sets, images, queries, distractors, queries left out, and pairs that nobody judged.

    Raises:
        UsageError: ``path`` exists, or ``compat`` is asked for.
        SchemaError: no query has an image, an image has two queries, two images have one name, or a query has neither
            box nor size of its image.
    """
    if compat is not None:
        raise UsageError(f"--compat {compat}", "is no variant of revisitop", hint="leave it out")
    with collector_paused(), export_folder(path, "revisitop", dataset, overwrite=overwrite) as folder:
        held = plan(dataset)
        for name, (queries, images) in held.sets.items():
            (folder / name).mkdir()
            (folder / name / f"gnd_{name}.pkl").write_bytes(plain_pickle_of(truth(dataset, queries, images)))
        if held.distractors:
            (folder / _DISTRACTORS).mkdir()
            text = "".join(f"{line}\n" for line in held.distractors)
            (folder / _DISTRACTORS / f"{_DISTRACTORS}.txt").write_text(text, encoding="utf-8")
    return {
        "sets": len(held.sets),
        "images": sum(len(images) for _, images in held.sets.values()),
        "queries": sum(queries.num_rows for queries, _ in held.sets.values()),
        "distractors": len(held.distractors),
        "left_out_queries_without_image": held.without_image,
        "unjudged_pairs_that_count_as_negative": _unjudged(dataset, held),
    }


class Plan(NamedTuple):
    """What is written: by set its queries (rows of the table) and the ids of its images, both in their lists' order."""

    sets: dict[str, tuple[pa.Table, list[str]]]
    distractors: list[str]  # revisitop's, as paths
    without_image: int  # queries that are left out


def plan(dataset: Dataset) -> Plan:
    """
    Raises:
        SchemaError: no query has an image.
    """
    queries = dataset.table("queries")
    asked = queries.filter(pc.is_valid(queries["image_id"]))
    if not asked.num_rows:
        hint = "make some with 'curate build split query-gallery'"
        raise SchemaError(dataset.info.name, "has no query with an image", "expected image or box queries", hint)
    distractors, images = _gallery(dataset)
    sets = _sets(dataset, asked["image_id"].to_pylist(), images)
    taken = {name: (asked.take(pa.array(rows)), held) for name, (rows, held) in sets.items()}
    return Plan(taken, distractors, queries.num_rows - asked.num_rows)


def plain_pickle_of(value: Any) -> bytes:
    """``value``, a tree of plain values, as a pickle of protocol 2 without memo: equal values give equal bytes."""
    body = io.BytesIO()
    pickler = pickle.Pickler(body, protocol=2)
    pickler.fast = True
    pickler.dump(value)
    return body.getvalue()


def _gallery(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Paths of revisitop's distractors, and ids of the other images that are searched; both in their lists' order."""
    ids = relevance.gallery(dataset)
    prefix = f"{_OWN}{_DISTRACTORS}/"
    apart = pc.starts_with(ids, prefix)
    places = _places(dataset, "index")
    order = [
        sorted(ids.filter(mask).to_pylist(), key=lambda id: (places.get(id, -1), id))
        for mask in (apart, pc.invert(apart))
    ]
    return [id.removeprefix(prefix) for id in order[0]], order[1]


def _places(dataset: Dataset, key: str) -> dict[str, int]:
    """The place that revisitop gives an image in one of its lists, by id."""
    table = dataset.table("images")
    table = table.filter(pc.fill_null(pc.match_substring(table["attributes"], f'"{key}"'), False))
    found = {}
    for id, text in zip(table["id"].to_pylist(), table["attributes"].to_pylist(), strict=True):
        place = (json.loads(text).get("revisitop") or {}).get(key)
        if isinstance(place, int):
            found[id] = place
    return found


def _sets(dataset: Dataset, asked: list[str], held: list[str]) -> dict[str, tuple[list[int], list[str]]]:
    """By set the rows of its queries and the ids of its images, in the order of revisitop's lists where it has one."""
    own = all(id.startswith(_OWN) for id in (*asked, *held))
    name = re.sub(r"[^A-Za-z0-9._-]", "_", dataset.info.name).lstrip(".") or "dataset"
    sets: dict[str, tuple[list[int], list[str]]] = {}
    for row, id in enumerate(asked):
        sets.setdefault(id.split("/")[1] if own else name, ([], []))[0].append(row)
    for id in held:
        part = id.split("/")[1] if own else name
        if part in sets:
            sets[part][1].append(id)
    places = _places(dataset, "query")
    for rows, _ in sets.values():
        rows.sort(key=lambda row: (places.get(asked[row], -1), row))
    return dict(sorted(sets.items()))


def truth(dataset: Dataset, queries: pa.Table, images: list[str]) -> dict[str, Any]:
    """What the pickle of a set holds.

    Raises:
        SchemaError: an image has two queries, two images have one name, or a query has no region.
    """
    imlist, qimlist = _names(images), _names(queries["image_id"].to_pylist())
    found = relevance.relevance(dataset, queries["id"].to_pylist())
    index = positions(found["image_id"], pa.array(images, pa.string()))
    query = positions(found["query_id"], queries["id"])
    entries: list[dict[str, Any]] = [
        {"bbx": box, "easy": [], "hard": [], "junk": []} for box in _boxes(dataset, queries)
    ]
    for q, i, label in zip(query.tolist(), index.tolist(), found["label"].to_pylist(), strict=True):
        if i >= 0 and label in _LISTED:
            entries[q][_LISTED[label]].append(i)
    for entry in entries:
        for label in ("easy", "hard", "junk"):
            entry[label].sort()
    return {"imlist": imlist, "qimlist": qimlist, "gnd": entries}


def _names(ids: list[str]) -> list[str]:
    owner: dict[str, str] = {}
    for id in ids:
        key = id.split("/", 2)[2] if id.startswith(_OWN) and id.count("/") > 1 else id.partition("/")[2] or id
        name = key.replace("/", "_").replace("\\", "_")
        if name in owner:
            found = "has two queries" if owner[name] == id else f"would be named {name} as {owner[name]} is"
            raise SchemaError(f"image {id}", found, "expected each name once: revisitop names queries by their image")
        owner[name] = id
    return list(owner)


def _boxes(dataset: Dataset, queries: pa.Table) -> list[list[float]]:
    """``x1 y1 x2 y2`` of each query."""
    annotations, images = dataset.table("annotations"), dataset.table("images")
    own = positions(queries["annotation_id"], annotations["id"])
    image = positions(queries["image_id"], images["id"])

    def take(column: pa.ChunkedArray, rows: Any) -> list[Any]:
        taken: list[Any] = whole(column).take(pa.array(rows, mask=rows < 0)).to_pylist()
        return taken

    sides = [
        pc.coalesce(whole(queries[side]), pa.array(take(annotations[side], own), pa.float64())).to_pylist()
        for side in "xywh"
    ]
    sizes = (take(images[name], image) for name in ("width", "height"))
    boxes = []
    for id, x, y, w, h, width, height in zip(queries["id"].to_pylist(), *sides, *sizes, strict=True):
        if x is None and not (width and height):
            raise SchemaError(f"query {id}", "has no box, and its image no size", "expected one of them")
        boxes.append([0.0, 0.0, float(width), float(height)] if x is None else [x, y, far_edge(x, w), far_edge(y, h)])
    return boxes


def _unjudged(dataset: Dataset, held: Plan) -> int:
    """Pairs of a query and an image of its set of which nobody knows the answer."""
    total = 0
    for queries, images in held.sets.values():
        ids = queries["id"].to_pylist()
        if len(held.sets) == 1:
            return int(pc.sum(relevance.overview(dataset, ids)["unjudged"]).as_py() or 0)
        of_set = pa.array(images, pa.string())
        for _, unknown in relevance.unjudged(dataset, ids):
            total += int(np.sum(pc.is_in(plain(unknown), value_set=of_set).to_numpy(zero_copy_only=False)))
    return total
