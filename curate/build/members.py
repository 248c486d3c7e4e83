"""Which role each image has in a benchmark: query, gallery, distractor or support."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.columns import holds, positions
from curate.dataset import Dataset

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def searchable(dataset: Dataset) -> Bools:
    """The images that a gallery may hold: those with a role in the present one, or all; but never support images."""
    support = positions(dataset.table("images")["id"], dataset.table("support")["image_id"]) >= 0
    support |= has_role(dataset, "support")
    members = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    if members.any():
        return (members | has_role(dataset, "query")) & ~support
    searchable: Bools = ~support
    return searchable


def has_role(dataset: Dataset, role: str) -> Bools:
    members = dataset.table("members")
    having = members["image_id"].filter(pa.array(holds(members["role"], role)))
    has: Bools = positions(dataset.table("images")["id"], having) >= 0
    return has


def only_shown(dataset: Dataset) -> Bools:
    """The images that are queries or support and not searched."""
    shown = has_role(dataset, "query") | has_role(dataset, "support")
    searched = has_role(dataset, "gallery") | has_role(dataset, "distractor")
    only: Bools = shown & ~searched
    return only


def roles_of(dataset: Dataset, query_images: Ints, gallery: Bools) -> dict[str, pa.Table]:
    """The tables members and images (their column split), for the positions of query images and the gallery."""
    images = dataset.table("images")
    distractor = has_role(dataset, "distractor") & gallery
    is_query = np.zeros(images.num_rows, bool)
    is_query[query_images] = True
    support = has_role(dataset, "support")
    # In the order of the table, which then need not be sorted.
    parts = {"distractor": distractor, "gallery": gallery & ~distractor, "query": is_query, "support": support}
    rows = np.concatenate([np.flatnonzero(mask) for mask in parts.values()])
    role = np.repeat(np.arange(len(parts), dtype=np.int32), [int(mask.sum()) for mask in parts.values()])
    order = np.argsort(rows, kind="stable")
    roles = pa.DictionaryArray.from_arrays(pa.array(role[order]), pa.array(list(parts)))
    members = pa.table({"image_id": images["id"].take(pa.array(rows[order])), "role": roles})
    code = np.where(is_query, 1, 0)
    unused = ~is_query & ~gallery
    split = pa.DictionaryArray.from_arrays(pa.array(code, pa.int32(), mask=unused), pa.array(["gallery", "query"]))
    at = images.schema.get_field_index("split")
    return {"members": members, "images": images.set_column(at, images.schema.field(at), split)}
