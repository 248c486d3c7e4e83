"""Roots: where images of one source lie in different folders, the folder that holds these becomes their root."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain, positions, whole
from curate.dataset import Dataset


def under_common_roots(datasets: Sequence[Dataset]) -> Sequence[Dataset]:
    """The datasets with one root per source; where theirs differ, file names begin below the folder that holds all."""
    stated: dict[str, set[str]] = {}
    located: dict[str, list[pa.Array]] = {}
    for dataset in datasets:
        for source, root in dataset.info.roots.items():
            roots, known = stated.setdefault(source, set()), located.setdefault(source, [])
            images = dataset.table("images").select(["id", "source", "file_name"])
            of_source = pc.and_(pc.equal(plain(images["source"]), source), pc.is_valid(images["file_name"]))
            ids = whole(images.filter(of_source)["id"])
            # The file names of a dataset whose images all have one already are not needed, nor is its root.
            if not known or (positions(ids, pa.concat_arrays(known)) < 0).any():
                roots.add(os.path.normpath(root))
                known.append(ids)
    shared = {source: _common(roots) for source, roots in stated.items() if len(roots) > 1}
    common = {source: folder for source, folder in shared.items() if folder is not None}
    return [_moved(dataset, common) for dataset in datasets] if common else datasets


def _common(roots: set[str]) -> str | None:
    """The folder that holds all; None where only the disk could tell (one is absolute, or begins with ``..``)."""
    if any(PurePath(root).parts[:1] == ("..",) for root in roots):
        return None
    try:
        return os.path.commonpath(roots) or "."
    except ValueError:
        return None


def _moved(dataset: Dataset, common: Mapping[str, str]) -> Dataset:
    """``dataset`` with the roots ``common`` of some sources, and file names that are relative to these."""
    roots = {source: root for source, root in dataset.info.roots.items() if source in common}
    images = dataset.table("images")
    names = whole(images["file_name"])
    for source, root in roots.items():
        below = os.path.relpath(root, common[source]).replace(os.sep, "/")
        if below != ".":
            longer = pc.binary_join_element_wise(below, names, "/")
            names = pc.if_else(pc.equal(plain(images["source"]), source), longer, names)
    info = msgspec.structs.replace(dataset.info, roots={**dataset.info.roots, **{name: common[name] for name in roots}})
    at = images.schema.get_field_index("file_name")
    return dataset.replace(info=info, images=images.set_column(at, images.schema.field(at), names))
