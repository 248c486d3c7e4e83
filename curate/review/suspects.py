"""Label errors that a detector points at: things without a label, of another class, or badly placed. A queue.

What a detector found is compared with the truth of the same image, by boxes:

* **missing**: a score of at least 0.5, and no annotation with an IoU of at least 0.1; and a score above the mean of
  the detector's hits of that class. Only where coverage calls the class exhaustive: elsewhere nobody claims that it is
  not there, and such finds are counted as unjudged.
* **swapped**: an annotation of another class with an IoU of at least 0.5, and a score of at least 0.9.
* **misplaced**: an annotation of the same class with an IoU between 0.1 and 0.5, which no other find hits.

A hit is a find and an annotation of one class with an IoU of at least 0.5, one to one, the highest scores first. What
lies for the most part in a group or in what is to be ignored is passed over. Nothing is ever changed by this: it says
where to look first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from curate.columns import flags, plain, positions
from curate.coverage import coverage_of
from curate.dataset import Dataset
from curate.errors import UsageError
from curate.geometry import box_iou

Kind = Literal["missing", "swapped", "misplaced"]
KINDS: tuple[Kind, ...] = ("missing", "swapped", "misplaced")
SURE, VERY_SURE = 0.5, 0.9  # scores
HIT, NEAR = 0.5, 0.1  # IoU
IGNORED = 0.5  # of a find's box, in groups or in what is to be ignored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Suspect(Struct, frozen=True, kw_only=True):
    """One label to look at: ``annotation`` is the truth that may be wrong, ``proposal`` what the detector found."""

    kind: Kind
    image: str
    proposal: str
    proposed: str
    score: float
    annotation: str | None = None
    category: str | None = None
    iou: float | None = None


class Found(NamedTuple):
    """The suspects, the highest scores first, and how many finds could not be judged."""

    suspects: list[Suspect]
    finds: int
    unjudged: int


class _Rows(NamedTuple):
    """Rows of one kind in the order of their images; ``category`` as numbers, -1 for none."""

    ids: Sequence[str]
    image: Ints
    boxes: Floats
    category: Ints
    score: Floats
    aside: Bools  # a group, or to be ignored

    def of(self, start: int, end: int) -> _Rows:
        return _Rows(
            self.ids[start:end],
            self.image[start:end],
            self.boxes[start:end],
            self.category[start:end],
            self.score[start:end],
            self.aside[start:end],
        )


def suspects(dataset: Dataset) -> Found:
    """What to look at in ``dataset``, by the proposals with score, box and class that refine no annotation.

    Raises:
        UsageError: there are none.
    """
    names = _names(dataset)
    table = dataset.table("annotations")
    status = plain(table["status"])
    boxed = pc.is_finite(pc.add(pc.add(table["x"], table["y"]), pc.add(table["w"], table["h"])))
    made = pc.and_(pc.equal(status, "proposal"), pc.and_(pc.is_valid(table["score"]), pc.is_null(table["parent_id"])))
    named = pc.is_valid(plain(table["category"]))
    finds = _rows(dataset, table.filter(pc.and_(pc.and_(made, named), pc.fill_null(boxed, False))), names)
    truth = _rows(dataset, table.filter(pc.and_(pc.equal(status, "truth"), pc.fill_null(boxed, False))), names)
    if not len(finds.ids):
        expected = "expected boxes with score and class that a detector found"
        hint = "make some with 'curate prelabel --detector owlv2 --text CLASS', or import a detector's results"
        raise UsageError(dataset.info.name, "has no proposals to compare with", expected, hint)
    return _compared(dataset, finds, truth, names)


def _names(dataset: Dataset) -> pa.Array:
    used = pc.unique(plain(dataset.table("annotations")["category"]))
    return pc.unique(pa.concat_arrays([plain(dataset.table("categories")["name"]).combine_chunks(), used])).drop_null()


def _rows(dataset: Dataset, table: pa.Table, names: pa.Array) -> _Rows:
    image = positions(table["image_id"], dataset.table("images")["id"])
    order = np.argsort(image, kind="stable")
    order = order[np.searchsorted(image[order], 0) :]  # of images that are there
    table = table.take(pa.array(order))
    boxes = np.stack([table[side].to_numpy() for side in "xywh"], axis=1).astype(np.float64).reshape(-1, 4)
    roles = dataset.table("categories")
    ignored = roles.filter(pc.equal(plain(roles["role"]), "ignore"))["name"]
    category = plain(table["category"])
    aside = flags(table["iscrowd"]) | flags(table["ignore"]) | flags(pc.is_in(category, value_set=plain(ignored)))
    score = pc.fill_null(table["score"], 0.0).to_numpy()
    return _Rows(table["id"].to_pylist(), image[order], boxes, positions(category, names), score, aside)


def _compared(dataset: Dataset, finds: _Rows, truth: _Rows, names: pa.Array) -> Found:
    pairs = list(_by_image(finds, truth))
    hits = [_hits(found, known) for found, known in pairs]
    means = _means(pairs, hits, len(names))
    coverage = coverage_of(dataset)
    codes = coverage.codes(pa.chunked_array([names]))
    words, images = names.to_pylist(), dataset.table("images")["id"]
    suspected: list[Suspect] = []
    unjudged = 0
    for (found, known), hit in zip(pairs, hits, strict=True):
        image = images[int(found.image[0])].as_py()
        claimed = coverage.at(found.image, codes[found.category])
        for i, kind, j, iou in _doubtful(found, known, hit, means):
            if kind == "missing" and not claimed[i]:
                unjudged += 1
                continue
            category = None if j is None or known.category[j] < 0 else words[known.category[j]]
            suspected.append(
                Suspect(
                    kind=kind,
                    image=image,
                    proposal=found.ids[i],
                    proposed=words[found.category[i]],
                    score=float(found.score[i]),
                    annotation=None if j is None else known.ids[j],
                    category=category,
                    iou=iou,
                )
            )
    suspected.sort(key=lambda one: (-one.score, one.proposal))
    return Found(suspected, len(finds.ids), unjudged)


def _by_image(finds: _Rows, truth: _Rows) -> Iterator[tuple[_Rows, _Rows]]:
    """The finds of each image that has some, and its truth."""
    for image in np.unique(finds.image).tolist():
        parts = [rows.of(*np.searchsorted(rows.image, [image, image + 1]).tolist()) for rows in (finds, truth)]
        yield parts[0], parts[1]


def _hits(found: _Rows, known: _Rows) -> Ints:
    """For each find the annotation of its class that it hits, or -1: the highest scores choose first."""
    hit: Ints = np.full(len(found.ids), -1, np.int64)
    if not len(known.ids):
        return hit
    iou = box_iou(found.boxes, known.boxes)
    iou[(found.category[:, None] != known.category) | known.aside] = 0
    for i in np.argsort(-found.score, kind="stable").tolist():
        j = int(iou[i].argmax())
        if iou[i, j] >= HIT:
            hit[i] = j
            iou[:, j] = 0
    return hit


def _means(pairs: Sequence[tuple[_Rows, _Rows]], hits: Sequence[Ints], classes: int) -> Floats:
    """The mean score of the hits of each class; 0 where there is none."""
    hitting = [hit >= 0 for hit in hits]
    category = np.concatenate([found.category[mask] for (found, _), mask in zip(pairs, hitting, strict=True)])
    score = np.concatenate([found.score[mask] for (found, _), mask in zip(pairs, hitting, strict=True)])
    number = np.bincount(category, minlength=classes)
    total = np.bincount(category, weights=score, minlength=classes)
    mean: Floats = np.divide(total, number, out=np.zeros(classes), where=number > 0)
    return mean


def _doubtful(
    found: _Rows, known: _Rows, hit: Ints, means: Floats
) -> Iterator[tuple[int, Kind, int | None, float | None]]:
    """The finds of an image that say something against its truth: place, kind, place of the annotation, IoU."""
    iou = box_iou(found.boxes, known.boxes) if len(known.ids) else np.zeros((len(found.ids), 0))
    covered = _covered(found, known)
    free = np.ones(len(known.ids), bool)
    free[hit[hit >= 0]] = False
    for i in np.flatnonzero((hit < 0) & (found.score >= SURE)).tolist():
        if covered[i] >= IGNORED:
            continue
        real = np.where(known.aside, 0.0, iou[i])
        best = float(real.max(initial=0.0))
        same = np.where(known.category == found.category[i], real, 0.0)
        nearest = int(same.argmax()) if len(same) else -1
        if best < NEAR:
            if found.score[i] > means[found.category[i]]:
                yield i, "missing", None, None
        elif best >= HIT and same.max(initial=0.0) < HIT:
            if found.score[i] >= VERY_SURE:
                yield i, "swapped", int(real.argmax()), best
        elif NEAR < same[nearest] < HIT and free[nearest]:
            yield i, "misplaced", nearest, float(same[nearest])


def _covered(found: _Rows, known: _Rows) -> Floats:
    """How much of each find's box lies in the one group or ignored region that covers it most."""
    aside = known.boxes[known.aside]
    if not len(aside):
        return np.zeros(len(found.ids))
    first, last = found.boxes[:, None, :2], found.boxes[:, None, :2] + found.boxes[:, None, 2:]
    low, high = np.maximum(first, aside[:, :2]), np.minimum(last, aside[:, :2] + aside[:, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2).max(axis=1)
    area = found.boxes[:, 2] * found.boxes[:, 3]
    share: Floats = np.divide(inside, area, out=np.zeros(len(area)), where=area > 0)
    return share


def queue_csv(found: Sequence[Suspect]) -> bytes:
    """The queue as CSV, as ``review init --only`` takes it."""
    import csv
    import io

    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["kind", "image", "annotation", "category", "proposal", "proposed", "score", "iou"])
    for one in found:
        iou = "" if one.iou is None else f"{one.iou:.4f}"
        row = [one.kind, one.image, one.annotation or "", one.category or "", one.proposal, one.proposed]
        writer.writerow([*row, f"{one.score:.4f}", iou])
    return stream.getvalue().encode("utf-8", "surrogatepass")
