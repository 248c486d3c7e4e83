"""Subsets with names: INSTRE-XS and INSTRE-XXS, queries and gallery at once.

How the published subsets were made is not public, and no threshold over one population gives their counts. The rule
here is written out, takes what is published as given (objects below 15 %, or of at most 5 %, of the image; one
annotated object per image; queries that show the object large) and reports its counts beside the published ones:

1. images of INSTRE whose truth is of one instance, with a box of known size;
2. the image's size is that of the instance's largest box: ``w * h / (W * H)``;
3. the gallery: images whose size is below 0.15 (XS), or at most 0.05 (XXS);
4. queries: all other images of the instances that the gallery shows, each cropped to its largest box;
5. an instance needs a query and an image in the gallery, else all its images leave.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.build.bounds import read_bound, shares
from curate.columns import flags, plain, positions, whole
from curate.dataset import Dataset, conform
from curate.errors import SchemaError, UsageError
from curate.model import Finding, Step, finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Preset(NamedTuple):
    """A named subset, with what is published of it."""

    source: str
    size: str
    queries: int
    gallery: int


PRESETS = {
    "instre-xs": Preset("instre", "<0.15", 2428, 2065),
    "instre-xxs": Preset("instre", "<=0.05", 106, 120),
}


def apply_preset(dataset: Dataset, name: str) -> tuple[Dataset, list[Step], list[Finding]]:
    """The subset ``name`` of ``dataset``, with queries and members, its steps, and how it compares to the published.

    Raises:
        UsageError: no such preset, or the dataset has nothing of its source.
        SchemaError: nothing is left.
    """
    if name not in PRESETS:
        raise UsageError(f"preset {name!r}", "is unknown", f"expected one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    of_source = flags(pc.equal(plain(dataset.table("images")["source"]), preset.source))
    if not of_source.any():
        raise UsageError(f"preset {name}", f"no image is of source {preset.source}", hint="import that source first")
    shown = _largest_boxes(dataset, of_source)
    bound = read_bound(preset.size)
    small = bound.holds(shown.share)
    steps = [
        Step(what=f"images of source {preset.source}", counts={"images": int(of_source.sum())}),
        Step(what="images of one annotated instance", counts={"images": len(shown.row)}),
        Step(
            what=f"size {bound.text} of the largest box",
            counts={"smaller objects": int(small.sum()), "larger objects": int((~small).sum())},
        ),
    ]
    both = np.intersect1d(shown.instance[small], shown.instance[~small])
    stays = np.isin(shown.instance, both)
    if not stays.any():
        raise SchemaError(
            f"preset {name}",
            "nothing is left",
            f"expected instances with images both of size {preset.size} and larger",
        )
    gallery, queries = stays & small, stays & ~small
    mean = round(float(shown.share[gallery].mean()) * 10_000)
    counts = _beside_published(preset, len(both), int(queries.sum()), int(gallery.sum()), mean)
    steps.append(Step(what=f"{name}: instances with query and gallery", counts=counts))
    made = _with_roles(dataset, np.sort(shown.row[queries]), np.sort(shown.image[queries]), shown.image[gallery])
    return made, steps, _compared(name, preset, int(queries.sum()), int(gallery.sum()))


class _Shown(NamedTuple):
    """Images of one instance and the largest box in each, as parallel arrays in the order of the images."""

    row: Ints  # of the table annotations
    image: Ints
    instance: Ints
    share: NDArray[np.float64]  # of the image


def _largest_boxes(dataset: Dataset, of_source: Bools) -> _Shown:
    """The images whose truth is of one instance, each with its largest box, by id where several are."""
    images, annotations = dataset.table("images"), dataset.table("annotations")
    image = positions(annotations["image_id"], images["id"])
    instance = positions(annotations["instance"], pc.unique(annotations["instance"]).drop_null())
    share = shares(annotations, images, image)
    counts = flags(pc.equal(plain(annotations["status"]), "truth"))
    counts &= ~flags(annotations["iscrowd"]) & ~flags(annotations["ignore"]) & (image >= 0) & (instance >= 0)
    lowest = np.full(images.num_rows, np.iinfo(np.int64).max)
    highest = np.full(images.num_rows, -1)
    np.minimum.at(lowest, image[counts], instance[counts])
    np.maximum.at(highest, image[counts], instance[counts])
    rows = np.flatnonzero(counts & ~np.isnan(share) & (of_source & (lowest == highest))[image])
    rows = rows[np.lexsort((rows, -share[rows], image[rows]))]
    rows = rows[np.diff(image[rows], prepend=-1) != 0]
    return _Shown(rows, image[rows], instance[rows], share[rows])


def _beside_published(preset: Preset, instances: int, queries: int, gallery: int, mean: int) -> dict[str, int]:
    return {
        "instances": instances,
        "queries": queries,
        "published queries": preset.queries,
        "gallery images": gallery,
        "published gallery images": preset.gallery,
        "mean size in the gallery, in 0.01 %": mean,
    }


def _compared(name: str, preset: Preset, queries: int, gallery: int) -> list[Finding]:
    """What to know of counts that are not the published ones."""
    if (queries, gallery) == (preset.queries, preset.gallery):
        return []
    message = (
        f"{queries:,} queries and {gallery:,} gallery images by the rule that is written out;"
        f" published are {preset.queries:,} and {preset.gallery:,}, by a rule that is not"
    )
    return [finding("N04", f"preset {name}", message)]


def _with_roles(dataset: Dataset, queries: Ints, query_images: Ints, gallery: Ints) -> Dataset:
    """Only the images of ``queries`` (rows of annotations) and ``gallery``, with these roles."""
    ids, annotations = whole(dataset.table("images")["id"]), dataset.table("annotations").take(pa.array(queries))
    query_ids = ids.take(pa.array(query_images))
    gallery_ids = ids.take(pa.array(gallery))
    bare = {table: dataset.table(table).slice(0, 0) for table in ("queries", "support", "judgements", "members")}
    subset = dataset.replace(**bare).select_images(pa.concat_arrays([query_ids, gallery_ids]))
    table = {side: annotations[side] for side in ("image_id", "x", "y", "w", "h", "instance")}
    table |= {
        "id": pc.binary_join_element_wise("q:", annotations["id"], ""),
        "kind": pa.repeat(pa.scalar("box"), len(queries)),
        "group": annotations["instance"],
        "annotation_id": annotations["id"],
    }
    members = pa.table(
        {
            "image_id": pa.concat_arrays([query_ids, gallery_ids]),
            "role": pa.array(["query"] * len(query_ids) + ["gallery"] * len(gallery_ids)),
        }
    )
    images = subset.table("images")
    split = pc.if_else(pc.is_in(images["id"], value_set=query_ids), "query", "gallery").combine_chunks()
    at = images.schema.get_field_index("split")
    images = images.set_column(at, images.schema.field(at), split.dictionary_encode())
    rule = msgspec.structs.replace(dataset.info.relevance, target="instance")
    return subset.replace(
        info=msgspec.structs.replace(subset.info, relevance=rule),
        images=images,
        queries=conform("queries", pa.table(table)),
        members=members,
    )
