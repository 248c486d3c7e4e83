"""Pictures in a release, of sources whose licence allows it: contact sheets of the classes, and the images themselves.

Of all other images a release has the path and the hash.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.columns import plain
from curate.dataset import Dataset
from curate.errors import SchemaError
from curate.pictures import below
from curate.show import contact_tiles, legend_of
from curate.show.sheet import draw_sheet
from curate.summary import Summary
from curate.verify.paths import path_fault

Bools = NDArray[np.bool_]
_SHEETS = 40  # classes, the most frequent first
_TILES = 12
_QUALITY = 85


def write_sheets(dataset: Dataset, summary: Summary, allowed: Bools, folder: Path, roots: Mapping[str, str]) -> int:
    """``NN-CLASS.jpg`` for each class of the images that may be passed on; how many were written."""
    places = {**dataset.info.roots, **roots}
    seen = plain(dataset.table("images")["source"]).to_pylist()
    shown = allowed & np.array([source in places for source in seen], bool)
    if not shown.any():
        return 0
    part = dataset if shown.all() else dataset.select_images(dataset.table("images")["id"].filter(pa.array(shown)))
    part = part.replace(info=dataset.info)
    written = 0
    for number, one in enumerate([one for one in summary.categories if one.annotations][:_SHEETS], 1):
        tiles = contact_tiles(part, kind="png", classes=[one.name], limit=_TILES, crops=True, roots=places)
        tiles = [tile for tile in tiles if tile.picture is not None]
        if not tiles:
            continue
        subtitle = f"{len(tiles):,} of {one.annotations:,} objects in {one.images:,} images"
        sheet = draw_sheet(tiles, title=one.name, subtitle=subtitle, legend=legend_of(tiles))
        folder.mkdir(parents=True, exist_ok=True)
        sheet.save(folder / f"{number:02d}-{_slug(one.name)}.jpg", quality=_QUALITY)
        written += 1
    return written


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "class"


def copy_images(dataset: Dataset, allowed: Bools, folder: Path, roots: Mapping[str, str]) -> list[str | None]:
    """Copy the images that may be passed on to ``SOURCE/FILE_NAME``; for each image its new path, or None.

    Raises:
        SchemaError: a file is not there or cannot be read, or its name leads elsewhere.
    """
    places = {**dataset.info.roots, **roots}
    images = dataset.table("images")
    columns = (plain(images[name]).to_pylist() for name in ("source", "file_name"))
    paths: list[str | None] = []
    for may, source, name in zip(allowed.tolist(), *columns, strict=True):
        if not may or name is None or source not in places:
            paths.append(None)
            continue
        file = below(places[source], name)
        if file is None or path_fault(f"{source}/{name}"):
            raise SchemaError(f"source {source}, {name}", "is no path below the release", "expected a plain path (P01)")
        target = folder / source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, target)
        except OSError as error:
            hint = "check that --root names the folder of the images"
            raise SchemaError(f"{places[source]}/{name}", f"cannot be read ({error.strerror})", hint=hint) from error
        paths.append(f"{folder.name}/{source}/{name}")
    return paths
