"""Subsets: recorded filters that drop images and annotations, with the counts after each.

Filters work in one order, whatever order they are given in: source, split, attributes of and conditions on images,
class and supercategory, size, area, attributes of and conditions on annotations, count per class, frequency of
instances, emptied images, samples, preset. What pointed at a dropped row goes with it: queries of a dropped annotation,
with their support sets and judgements.

An annotation that is dropped for its size, frequency or by a condition is still to be seen in its image, and the image
is then no honest negative of that class. Such pairs of image and class are written down as covered in part
(``coverage``, origin ``build subset``). A class that is dropped as a whole needs no such row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build import bounds as sizes
from curate.build.attributes import Wanted, holds, read_attributes, unmet
from curate.build.bounds import Bound, read_bounds
from curate.build.members import only_shown
from curate.build.presets import PRESETS, apply_preset
from curate.build.sampling import (
    FREQUENCIES,
    classes_by_count,
    of_frequency,
    sample_of_classes,
    sample_of_images,
    sample_size,
)
from curate.build.upkeep import drop_annotations, keep_classes, mark_partial
from curate.build.where import Condition, parse
from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset
from curate.errors import UsageError
from curate.model import Command, Finding, Info, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

VERB = "build subset"
_POINTING = ("instances", "queries", "support", "judgements", "members")


def build_subset(
    dataset: Dataset,
    *,
    size: str | Sequence[str] = (),
    area: str | Sequence[str] = (),
    size_of: sizes.Of = "box",
    spare_queries: bool = False,
    classes: str | Sequence[str] = (),
    supercategories: str | Sequence[str] = (),
    sources: str | Sequence[str] = (),
    splits: str | Sequence[str] = (),
    attributes: str | Sequence[str] = (),
    where: str | Sequence[str] = (),
    class_count: str | Sequence[str] = (),
    frequencies: str | Sequence[str] = (),
    drop_empty: bool = False,
    sample: str | None = None,
    sample_per_class: int | None = None,
    seed: str = "0",
    preset: str | None = None,
) -> Dataset:
    """The part of ``dataset`` that passes every filter; ``info.command.steps`` has the counts after each.

    Args:
        size: bounds like ``"<0.15"`` or ``">=1%"`` on an annotation's ``w * h / (W * H)``, its box by its image. An
            annotation without box, or of an image of unknown size, passes no bound.
        area: bounds like ``">=400"`` on an annotation's ``w * h`` in px².
        size_of: which boxes of a class in an image the bounds are held against (``curate.build.bounds``).
        spare_queries: size and area bind only what may be searched: annotations in images that have the role query or
            support, and no other, pass them.
        classes: only annotations of these categories; the table of categories keeps only these.
        supercategories: also those of the categories below these.
        sources: only images of these sources.
        splits: only images of these splits: the ``split`` of this dataset, or where that is null the ``source_split``.
        attributes: conditions ``NAME=VALUE`` (``curate.build.attributes``), as ``weather=fog``.
        where: conditions (``curate.build.where``), all of which must hold. One that names columns of images only
            drops images, any other annotations.
        class_count: bounds like ``">=10"`` on how many annotations of truth a class has left.
        frequencies: only instances that are ``easy``, ``medium``, ``hard`` or ``singleton`` (any of those given) by
            their annotations of truth (``curate.build.sampling.FREQUENCIES``).
        drop_empty: also drop images that are left without any annotation, but for those that a query, support set or
            judgement names.
        sample: so many images, or such a share of them (``"10%"``).
        sample_per_class: of each class so many images.
        seed: what a sample hangs on.
        preset: ``instre-xs`` or ``instre-xxs`` (``curate.build.presets``), made of what the filters leave.

    Raises:
        UsageError: a filter is malformed, or names a class, source, split, attribute or preset that is not there.
        SchemaError: a preset finds nothing.
    """
    filters = _read(dataset, locals())
    steps = [Step(what="input", counts=_counts(dataset))]
    subset = dataset
    findings: list[Finding] = []
    for what, mask in _image_filters(dataset, filters, findings):
        subset = subset.select_images(dataset.table("images")["id"].filter(pa.array(mask)))
        steps.append(Step(what=what, counts=_counts(subset)))
    subset, more = _filter_annotations(subset, filters, findings)
    steps += more
    if drop_empty:
        subset = subset.select_images(_not_empty(subset))
        steps.append(Step(what="drop images without annotation", counts=_counts(subset)))
    subset, more = _sampled(subset, sample, sample_per_class, seed)
    steps += more
    if preset:
        subset, more, told = apply_preset(subset, preset)
        steps += more
        findings += told
    command = Command(verb=VERB, options=filters.options, steps=tuple(steps))
    info = dataset.child(dataset.info.name, command=command, relevance=subset.info.relevance)
    return subset.replace(info=_of_sources(info, filters.sources), problems=findings)


def _sampled(
    subset: Dataset, sample: str | None, sample_per_class: int | None, seed: str
) -> tuple[Dataset, list[Step]]:
    """The samples that are asked for, one of the other."""
    steps = []
    if sample is not None:
        subset = _select(subset, sample_of_images(subset, sample, seed))
        steps.append(Step(what=f"sample {sample} by seed {seed}", counts=_counts(subset)))
    if sample_per_class is not None:
        subset = _select(subset, sample_of_classes(subset, sample_per_class, seed))
        steps.append(Step(what=f"{sample_per_class} images per class by seed {seed}", counts=_counts(subset)))
    return subset, steps


def _of_sources(info: Info, kept: list[str]) -> Info:
    """What is known of the sources that are kept; of all, where none was asked for."""
    if not kept:
        return info
    of_sources = {name: record for name, record in info.sources.items() if name in kept}
    roots = {name: root for name, root in info.roots.items() if name in kept}
    return msgspec.structs.replace(info, sources=of_sources, roots=roots)


class _Filters(NamedTuple):
    """What was asked for, read and checked as far as it can be before work begins."""

    sources: list[str]
    splits: list[str]
    attributes: list[Wanted]
    conditions: list[Condition]
    classes: list[str]
    size: list[Bound]
    area: list[Bound]
    size_of: sizes.Of
    spare_queries: bool
    class_count: list[Bound]
    frequencies: list[str]
    options: dict[str, Any]

    def narrows(self) -> bool:
        """Whether annotations are dropped by anything but their class."""
        of_annotations = [one for one in self.attributes if one.table == "annotations"]
        others = [condition for condition in self.conditions if not condition.of_images]
        return bool(self.size or self.area or of_annotations or others or self.frequencies)


def _read(dataset: Dataset, given: dict[str, Any]) -> _Filters:
    size, area = read_bounds(_several(given["size"])), read_bounds(_several(given["area"]), "area", percent=False)
    count = read_bounds(_several(given["class_count"]), "class count", whole=True, percent=False)
    names = ("sources", "splits", "classes", "supercategories", "frequencies")
    sources, splits, classes, above, frequencies = (sorted(set(_several(given[name]))) for name in names)
    _check_known("frequency", frequencies, pa.array(FREQUENCIES), "is unknown")
    _check_known("size of", [given["size_of"]], pa.array(get_args(sizes.Of)), "is unknown")
    if given["preset"]:
        _check_known("preset", [given["preset"]], pa.array(PRESETS), "is unknown")
        if size or area:
            raise UsageError("--preset", "given together with bounds on the size", hint="a preset has its own")
    if given["sample"] is not None:
        sample_size(given["sample"], 0)
    number = given["sample_per_class"]
    if number is not None and number < 1:
        raise UsageError("--sample-per-class", f"is {number}", "expected at least 1")
    if given["size_of"] != "box" and not (size or area):
        raise UsageError("--size-of", "is given without --size or --area", "expected a bound that it is for")
    if given["spare_queries"]:
        if not (size or area):
            raise UsageError("--spare-queries", "is given without --size or --area", "expected a bound to spare from")
        if not only_shown(dataset).any():
            found = "no image of the dataset is a query or support and nothing else"
            raise UsageError("--spare-queries", found, hint="leave it out: there is nothing to spare")
    attributes = read_attributes(_several(given["attributes"]))
    conditions = [parse(text) for text in sorted({text.strip() for text in _several(given["where"])})]
    # Under a name of its own where not every box keeps to the bound by itself.
    of = "" if given["size_of"] == "box" else f"-of-{given['size_of']}"
    sampled = given["sample"] is not None or number is not None
    options = {
        "source": sources,
        "split": splits,
        "attribute": [one.text for one in attributes],
        "class": classes,
        "supercategory": above,
        f"size{of}": [bound.text for bound in size],
        f"area{of}": [bound.text for bound in area],
        "spare-queries": given["spare_queries"],
        "where": [condition.text for condition in conditions],
        "class-count": [bound.text for bound in count],
        "frequency": frequencies,
        "drop-empty": given["drop_empty"],
        "sample": given["sample"],
        "sample-per-class": number,
        "seed": given["seed"] if sampled else None,
        "preset": given["preset"],
    }
    return _Filters(
        sources,
        splits,
        attributes,
        conditions,
        _wanted_classes(dataset, classes, above),
        size,
        area,
        given["size_of"],
        given["spare_queries"],
        count,
        frequencies,
        {name: value for name, value in options.items() if value},
    )


def _wanted_classes(dataset: Dataset, classes: list[str], above: list[str]) -> list[str]:
    """The classes that are named, and those below the supercategories named; none for no such filter."""
    table = dataset.table("categories")
    if classes:
        _check_known("class", classes, table["name"])
    if not above:
        return classes
    _check_known("supercategory", above, table["supercategory"])
    below = table.filter(pc.is_in(plain(table["supercategory"]), value_set=pa.array(above)))["name"].to_pylist()
    return sorted({*classes, *below})


def _select(dataset: Dataset, kept: Bools) -> Dataset:
    return dataset.select_images(dataset.table("images")["id"].filter(pa.array(kept)))


def _several(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _counts(dataset: Dataset) -> dict[str, int]:
    return {name: dataset.table(name).num_rows for name in ("images", "annotations")}


# ---------------------------------------------------------------------------------------------------------- images


def _image_filters(dataset: Dataset, filters: _Filters, told: list[Finding]) -> Iterator[tuple[str, Bools]]:
    """The filters of images in their order: what each is called, and what it and those before it keep.

    A filter that nothing in the dataset can pass is ``told``.
    """
    images = dataset.table("images")
    kept = np.ones(images.num_rows, bool)
    for what, column, wanted in (
        ("source", plain(images["source"]), filters.sources),
        ("split", pc.coalesce(plain(images["split"]), plain(images["source_split"])), filters.splits),
    ):
        if wanted:
            _check_known(what, wanted, column)
            kept = kept & flags(pc.is_in(column, value_set=pa.array(wanted)))
            yield f"{what} {', '.join(wanted)}", kept
    for one in filters.attributes:
        if one.table == "images":
            having = holds(images, one)
            told += [] if having.any() else [unmet(images, one)]
            kept = kept & having
            yield f"attribute {one.text}", kept
    for condition in filters.conditions:
        if condition.of_images:
            kept = kept & flags(condition.holds(lambda _, column: images[column]))
            yield f"where {condition.text}", kept


def _check_known(
    what: str, wanted: Sequence[str], column: pa.Array | pa.ChunkedArray, found: str = "is not in the dataset"
) -> None:
    known = sorted(pc.unique(column).drop_null().to_pylist())
    for name in wanted:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            some = ", ".join(known[:30]) + (f" and {len(known) - 30} more" if len(known) > 30 else "")
            hint = f"did you mean {close[0]}?" if close else ""
            expected = f"expected one of {some}" if known else f"the dataset has no {what} at all"
            raise UsageError(f"{what} {name!r}", found, expected, hint)


def _not_empty(dataset: Dataset) -> pa.Array:
    """Ids of the images that an annotation, query, support set or judgement names."""
    tables = ("annotations", "queries", "support", "judgements")
    named = [plain(dataset.table(name)["image_id"]).combine_chunks() for name in tables]
    ids = dataset.table("images")["id"]
    return ids.filter(pc.is_in(ids, value_set=pa.concat_arrays(named))).combine_chunks()


# ----------------------------------------------------------------------------------------------------- annotations


def _filter_annotations(dataset: Dataset, filters: _Filters, told: list[Finding]) -> tuple[Dataset, list[Step]]:
    """Drop annotations and what pointed at them; a filter that nothing can pass is ``told``."""
    images, annotations = dataset.table("images"), dataset.table("annotations")
    kept = np.ones(annotations.num_rows, bool)
    steps: list[Step] = []

    def note(what: str, **more: int) -> None:
        counts = {"images": images.num_rows, "annotations": int(kept.sum())}
        steps.append(Step(what=what, counts={**counts, **more}))

    classes = filters.classes
    if classes:
        kept &= flags(pc.is_in(plain(annotations["category"]), value_set=pa.array(classes)))
        note(f"class {', '.join(classes)}")
    of_class = kept.copy()
    image = positions(annotations["image_id"], images["id"]) if filters.narrows() else np.zeros(0, np.int64)
    spared = np.append(only_shown(dataset), False)[image] if filters.spare_queries else np.bool_(False)
    for name, bounds in (("size", filters.size), ("area", filters.area)):
        if bounds:
            values = sizes.shares(annotations, images, image) if name == "size" else sizes.areas(annotations)
            unknown = int((np.isnan(values) & kept & ~spared).sum())
            of_image = None if filters.size_of == "box" else sizes.classes_in_images(annotations, image)
            kept &= sizes.within(values, bounds, of_image, filters.size_of) | spared
            of = "" if filters.size_of == "box" else f" of {filters.size_of}"
            text = f"{name}{of} {' and '.join(bound.text for bound in bounds)}"
            text += ", queries spared" if filters.spare_queries else ""
            note(text, **({"of unknown size": unknown} if unknown else {}))
    for one in filters.attributes:
        if one.table == "annotations":
            having = holds(annotations, one)
            told += [] if having.any() else [unmet(annotations, one)]
            kept &= having
            note(f"attribute {one.text}")
    for condition in filters.conditions:
        if not condition.of_images:
            kept &= flags(condition.holds(partial(_column, annotations, images, image)))
            note(f"where {condition.text}")
    if filters.class_count:
        names = whole(dataset.table("categories")["name"])
        names = names.filter(pc.is_in(names, value_set=pa.array(classes))) if classes else names
        classes = classes_by_count(annotations, kept, names, filters.class_count)
        counted = flags(pc.is_in(plain(annotations["category"]), value_set=pa.array(classes, pa.string())))
        kept, of_class = kept & counted, of_class & counted
        text = " and ".join(bound.text for bound in filters.class_count)
        note(f"classes of {text} annotations", **{"of classes": len(classes)})
    if filters.frequencies:
        if annotations["instance"].null_count == annotations.num_rows:
            text = "no annotation is of an instance: none is left"
            told.append(finding("N02", f"frequency {', '.join(filters.frequencies)}", text, severity="warning"))
        kept &= of_frequency(annotations, kept, filters.frequencies)
        note(f"instances that are {' or '.join(filters.frequencies)}")

    before, changed = dataset, {}
    if not kept.all() and filters.narrows():
        dataset, changed["rows of coverage"] = mark_partial(dataset, image, of_class & ~kept, VERB)
        if changed["rows of coverage"]:
            note("images no longer honest negatives of a class", **changed)
    dataset = keep_classes(dataset, classes, kept) if filters.classes or filters.class_count else dataset
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
