"""Subsets: recorded filters that drop images and annotations, with the counts after each.

Filters work in one order, whatever order they are given in: source, split, conditions on images, class, size,
conditions on annotations, emptied images. What pointed at a dropped row goes with it: queries of a dropped annotation,
with their support sets and judgements.

An annotation that is dropped for its size or by a condition is still to be seen in its image, and the image is then no
honest negative of that class. Such pairs of image and class are written down as covered in part (``coverage``, origin
``build subset``). A class that is dropped as a whole needs no such row.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.upkeep import drop_annotations, keep_classes, mark_partial
from curate.build.where import Condition, parse
from curate.dataset import Dataset, flags, plain, positions, whole
from curate.errors import UsageError
from curate.model import Command, Step

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

VERB = "build subset"
_POINTING = ("instances", "queries", "support", "judgements", "members")
_SIZE = re.compile(r"(<=|>=|<|>)(\d+\.?\d*|\.\d+)(%?)")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def build_subset(
    dataset: Dataset,
    *,
    size: str | Sequence[str] = (),
    classes: str | Sequence[str] = (),
    sources: str | Sequence[str] = (),
    splits: str | Sequence[str] = (),
    where: str | Sequence[str] = (),
    drop_empty: bool = False,
) -> Dataset:
    """The part of ``dataset`` that passes every filter; ``info.command.steps`` has the counts after each.

    Args:
        size: bounds like ``"<0.15"`` or ``">=1%"`` on an annotation's ``w * h / (W * H)``, its box by its image. An
            annotation without box, or of an image of unknown size, passes no bound.
        classes: only annotations of these categories; the table of categories keeps only these.
        sources: only images of these sources.
        splits: only images of these splits: the ``split`` of this dataset, or where that is null the ``source_split``.
        where: conditions (``curate.build.where``), all of which must hold. One that names columns of images only
            drops images, any other annotations.
        drop_empty: also drop images that are left without any annotation, but for those that a query, support set or
            judgement names.

    Raises:
        UsageError: a filter is malformed, or names a class, source or split that the dataset does not have.
    """
    bounds = sorted({_bound(text) for text in _several(size)}, key=lambda bound: bound.text)
    conditions = [parse(text) for text in sorted({text.strip() for text in _several(where)})]
    classes, sources, splits = (sorted(set(_several(names))) for names in (classes, sources, splits))
    steps = [Step(what="input", counts=_counts(dataset))]
    subset = dataset
    for what, mask in _image_filters(dataset, sources, splits, conditions):
        subset = subset.select_images(dataset.table("images")["id"].filter(pa.array(mask)))
        steps.append(Step(what=what, counts=_counts(subset)))
    others = [condition for condition in conditions if not condition.of_images]
    subset, more = _filter_annotations(subset, classes, bounds, others)
    steps += more
    if drop_empty:
        subset = subset.select_images(_not_empty(subset))
        steps.append(Step(what="drop images without annotation", counts=_counts(subset)))
    options = {
        "source": sources,
        "split": splits,
        "class": classes,
        "size": [bound.text for bound in bounds],
        "where": [condition.text for condition in conditions],
        "drop-empty": drop_empty,
    }
    command = Command(verb=VERB, options={name: given for name, given in options.items() if given}, steps=tuple(steps))
    info = dataset.child(dataset.info.name, command=command)
    if sources:
        of_sources = {name: record for name, record in info.sources.items() if name in sources}
        roots = {name: root for name, root in info.roots.items() if name in sources}
        info = msgspec.structs.replace(info, sources=of_sources, roots=roots)
    return subset.replace(info=info)


def _several(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _counts(dataset: Dataset) -> dict[str, int]:
    return {name: dataset.table(name).num_rows for name in ("images", "annotations")}


class _Bound(NamedTuple):
    """A bound on an annotation's share of its image."""

    text: str
    holds: Callable[[Any, Any], Any]
    share: float


def _bound(text: str) -> _Bound:
    match = _SIZE.fullmatch("".join(text.split()))
    if not match:
        raise UsageError(f"size {text!r}", "is no bound", 'expected for example "<0.15", "<=15%" or ">0.001"')
    sign, number, percent = match.groups()
    # By text, not by division: 0.1 % is 0.001 to the last bit.
    share = float(f"{number}e-2" if percent else number)
    return _Bound(f"{sign}{share!r}", _OPERATORS[sign], share)


# ---------------------------------------------------------------------------------------------------------- images


def _image_filters(
    dataset: Dataset, sources: list[str], splits: list[str], conditions: Sequence[Condition]
) -> Iterator[tuple[str, Bools]]:
    """The filters of images in their order: what each is called, and what it and those before it keep."""
    images = dataset.table("images")
    kept = np.ones(images.num_rows, bool)
    for what, column, wanted in (
        ("source", plain(images["source"]), sources),
        ("split", pc.coalesce(plain(images["split"]), plain(images["source_split"])), splits),
    ):
        if wanted:
            _check_known(what, wanted, column)
            kept = kept & flags(pc.is_in(column, value_set=pa.array(wanted)))
            yield f"{what} {', '.join(wanted)}", kept
    for condition in conditions:
        if condition.of_images:
            kept = kept & flags(condition.holds(lambda _, column: images[column]))
            yield f"where {condition.text}", kept


def _check_known(what: str, wanted: Sequence[str], column: pa.Array | pa.ChunkedArray) -> None:
    known = sorted(pc.unique(column).drop_null().to_pylist())
    for name in wanted:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            some = ", ".join(known[:30]) + (f" and {len(known) - 30} more" if len(known) > 30 else "")
            hint = f"did you mean {close[0]}?" if close else ""
            raise UsageError(f"{what} {name!r}", "is not in the dataset", f"expected one of {some}", hint)


def _not_empty(dataset: Dataset) -> pa.Array:
    """Ids of the images that an annotation, query, support set or judgement names."""
    tables = ("annotations", "queries", "support", "judgements")
    named = [plain(dataset.table(name)["image_id"]).combine_chunks() for name in tables]
    ids = dataset.table("images")["id"]
    return ids.filter(pc.is_in(ids, value_set=pa.concat_arrays(named))).combine_chunks()


# ----------------------------------------------------------------------------------------------------- annotations


def _filter_annotations(
    dataset: Dataset, classes: list[str], bounds: Sequence[_Bound], conditions: Sequence[Condition]
) -> tuple[Dataset, list[Step]]:
    """Drop annotations and what pointed at them."""
    images, annotations = dataset.table("images"), dataset.table("annotations")
    kept = np.ones(annotations.num_rows, bool)
    steps: list[Step] = []

    def note(what: str, **more: int) -> None:
        counts = {"images": images.num_rows, "annotations": int(kept.sum())}
        steps.append(Step(what=what, counts={**counts, **more}))

    if classes:
        _check_known("class", classes, dataset.table("categories")["name"])
        kept &= flags(pc.is_in(plain(annotations["category"]), value_set=pa.array(classes)))
        note(f"class {', '.join(classes)}")
    of_class = kept.copy()
    image = positions(annotations["image_id"], images["id"]) if bounds or conditions else np.zeros(0, np.int64)
    if bounds:
        share = _share(annotations, images, image)
        unknown = int((np.isnan(share) & kept).sum())
        for bound in bounds:
            kept &= bound.holds(share, bound.share)
        note(
            f"size {' and '.join(bound.text for bound in bounds)}", **({"of unknown size": unknown} if unknown else {})
        )
    for condition in conditions:
        kept &= flags(condition.holds(partial(_column, annotations, images, image)))
        note(f"where {condition.text}")

    before, changed = dataset, {}
    if not kept.all() and (bounds or conditions):
        dataset, changed["rows of coverage"] = mark_partial(dataset, image, of_class & ~kept, VERB)
        if changed["rows of coverage"]:
            note("images no longer honest negatives of a class", **changed)
    dataset = keep_classes(dataset, classes, kept) if classes else dataset
    dataset, orphans = (dataset, 0) if kept.all() else drop_annotations(dataset, kept)
    gone = {name: before.table(name).num_rows - dataset.table(name).num_rows for name in _POINTING}
    gone = {name: rows for name, rows in {**gone, "references to parents": orphans}.items() if rows}
    if gone:
        note("what pointed at a dropped annotation or class", **gone)
    return dataset, steps


def _column(annotations: pa.Table, images: pa.Table, image: Ints, table: str, column: str) -> Any:
    """A column of annotations or images, in the order of the annotations."""
    if table == "annotations":
        return annotations[column]
    return whole(images[column]).take(pa.array(image, mask=image < 0))


def _share(annotations: pa.Table, images: pa.Table, image: Ints) -> Floats:
    """Each annotation's ``w * h / (W * H)``; NaN where the box or the image's size is unknown.

    A quotient of doubles is the one nearest to the true share, as the bound is the one nearest to its decimal: a box of
    exactly 15 % is not below 0.15. A product with the bound would not do: ``0.07 * 100`` is more than 7.
    """
    frame = _floats(images["width"]) * _floats(images["height"])
    frame = np.append(np.where(frame > 0, frame, np.nan), np.nan)  # the last stands for an image that is not there
    share: Floats = _floats(annotations["w"]) * _floats(annotations["h"]) / frame[image]
    return share


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
