"""VoxDet: rendered objects (OWID) and real tools (RoboTools), each seen alone in views and again in cluttered scenes.

Layout::

    OWID/P1/<number>/{rgb,mask}/NNNNNN.png      views of an object: the queries
    OWID/P2/images/NNNNNN.jpg                   scenes: the gallery
    OWID/P2/{train,val}_annotations.json        COCO style; ids are counted anew in each file
    RoboTools/test_video/obj_NNNNNN/{rgb,mask}/NNNNNN.png
    RoboTools/test/<scene>/rgb/NNNNNN.png
    RoboTools/test/scene_gt_coco_all.json       one image record per annotation: grouped by file name here

VoxDet's own folder ``data`` (``OWID`` and ``BOP/RoboTools``) is read as well.

* Every object is a category and an instance of its own. The two sets share numbers, so ``OWID/5`` is not
  ``RoboTools/5``.
* Boxes are ``x, y, w, h`` with exclusive right and bottom, as found. A view's comes from its mask, ``max + 1 - min``.
* OWID's masks are COCO run lengths, column-major, background first. RoboTools' scenes have none.
* A view's mask is channel 0 of its picture, cut at the median of the distinct levels (:func:`mask_of_levels`).
* Splits: OWID's go by object; a view belongs to ``val`` where its object is annotated in the val file, else to
  ``train``. A val scene names only val objects, so that its labels are partial. RoboTools is ``test``.

VoxDet-SoIR's program ``create_dataset.py`` makes ``anns.pt`` of such a tree. What it does with odd input is kept under
``attributes.voxdet``, so that ``curate export anns_pt --compat upstream`` can follow it: ``dropped_upstream`` (why it
leaves out a view or an annotation that we keep), ``by_position`` (an annotation whose image id does not exist: it takes
the image at that position of the list; here a proposal), ``bbox`` and ``segmentation`` where the columns do not give
back the numbers' types. Not kept: object and camera poses, and ``neg_box`` (the boxes of a scene's other objects).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from curate import geometry
from curate.errors import SourceError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    CoverageState,
    Image,
    Instance,
    Item,
    Member,
    Parsed,
    Query,
    Record,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import _voxdet_tree as tree
from curate.sources._files import chosen_splits
from curate.sources._voxdet_scenes import parse_scene

SOURCE = Source(
    title="VoxDet (OWID and RoboTools)",
    homepage="https://github.com/Jaraxxus-Me/VoxDet",
    licence="not stated by the authors",
    citation="Li, Wang, Hu, Wang, Scherer: VoxDet: Voxel Learning for Novel Instance Detection. NeurIPS 2023",
    download="The archives OWID and RoboTools linked in the README at the homepage (no registration).\n"
    "Unpack them side by side, or as VoxDet does under data/OWID and data/BOP/RoboTools. Either may be absent.",
    tree="OWID/P1/<number>/{rgb,mask}/NNNNNN.png\n"
    "OWID/P2/images/NNNNNN.jpg\n"
    "OWID/P2/{train,val}_annotations.json\n"
    "RoboTools/test_video/obj_NNNNNN/{rgb,mask}/NNNNNN.png\n"
    "RoboTools/test/<scene>/rgb/NNNNNN.png\n"
    "RoboTools/test/scene_gt_coco_all.json",
    splits=("train", "val", "test"),
    published=Counts(
        note="about 9,600 objects, 55,000 scenes and 180,000 boxes in OWID; 20 objects, 24 scenes and 9,109 boxes in "
        "RoboTools"
    ),
)


def survey(root: Path, splits: tuple[str, ...]) -> tree.Survey:
    """The layout and the annotation files, which both items and categories come from.

    Raises:
        SourceError: ``root`` holds neither set, or a part of one is missing or malformed.
    """
    folders = {"train": ["OWID/P2"], "val": ["OWID/P2"], "test": ["RoboTools/test", "BOP/RoboTools/test"]}
    return tree.survey(root, chosen_splits(root, "voxdet", SOURCE, folders, splits))


def scan(root: Path, splits: tuple[str, ...], held: tree.Survey | None = None) -> list[Item]:
    """One item per view and per scene.

    Raises:
        SourceError: as :func:`survey`.
    """
    return sorted(tree.items(root, held or survey(root, splits)), key=lambda item: item.id)


def records(root: Path, splits: tuple[str, ...], held: tree.Survey | None = None) -> Iterator[Record]:
    """Categories, instances, coverage, and what was noticed about the tree as a whole."""
    held = held or survey(root, splits)
    for part in held.parts:
        for name in sorted(set(part.categories.values())):
            yield Category(name=f"{part.name}/{name}", supercategory=part.supercategory)
        for number in sorted({*part.categories, *part.known}):
            yield Instance(id=f"{part.name}/{number}", category=f"{part.name}/{part.label(number)}")
        for split in sorted(held.splits & part.splits):
            state: CoverageState = "partial" if split == "val" else "exhaustive"
            yield Coverage(scope=f"voxdet/{split}", category="*", state=state)
    yield from held.findings


def parse(item: Item) -> Parsed:
    """Read a view's picture and mask, or a scene's picture.

    Raises:
        SourceError: a picture cannot be read, or an annotation has no usable box or category.
    """
    if isinstance(item.data, SourceError):
        raise item.data
    return _parse_view(item, item.data) if isinstance(item.data, tree.View) else parse_scene(item, item.data)


def _parse_view(item: Item, view: tree.View) -> Parsed:
    """A view is a query: its image, the mask as an annotation, and the query made of it."""
    assert item.image is not None
    header = read_header(item.root / item.image)
    dropped = view.dropped
    noticed: list[Record] = []
    if dropped:
        kept = "kept as an image without query" if item.label is None else "kept"
        noticed.append(finding("N05", item.image, f"{dropped}: VoxDet-SoIR leaves the view out; {kept}", item=item.id))
    rows: list[Annotation] = []
    if item.label is None:  # its object is known, but not where it is
        noticed.append(Coverage(scope=item.id, category="*", state="none"))
    else:
        levels, mode = _read_levels(item.root / item.label)
        if mode:
            dropped = dropped or f"mask of mode {mode}"
            noticed.append(
                finding("M10", item.label, f"mode {mode}: VoxDet-SoIR leaves the view out; kept", item=item.id)
            )
        mask = mask_of_levels(levels)
        if mask.shape != (header.height, header.width):
            size = f"{mask.shape[1]} x {mask.shape[0]}"
            message = f"mask is {size}, picture {header.width} x {header.height}; kept as found"
            noticed.append(finding("M05", item.label, message, item=item.id))
        row = _mask_annotation(item, view, mask)
        if not row.area:
            noticed.append(finding("M09", item.label, "mask is empty; the query has no box", item=item.id))
        rows.append(row)
        noticed += [_query(row), Member(image_id=item.id, role="query")]
    image = Image(
        id=item.id,
        source="voxdet",
        source_split=item.split,
        file_name=item.image,
        width=header.width,
        height=header.height,
        orientation=header.orientation,
        attributes={"voxdet": {"dropped_upstream": dropped}} if dropped else None,
    )
    return Parsed(image, rows, noticed)


def _mask_annotation(item: Item, view: tree.View, mask: NDArray[np.bool_]) -> Annotation:
    rle = geometry.rle_from_mask(mask)
    x, y, w, h = geometry.rle_bounds(rle)
    seen = w > 0
    return Annotation(
        id=f"{item.id}#mask",
        image_id=item.id,
        category=view.category,
        source_label=view.source_label,
        instance=view.instance,
        x=x if seen else None,
        y=y if seen else None,
        w=w if seen else None,
        h=h if seen else None,
        area=float(np.count_nonzero(mask)),
        segmentation=rle,
    )


def _query(row: Annotation) -> Query:
    return Query(
        id=row.image_id,
        kind="mask",
        group=row.instance,
        image_id=row.image_id,
        x=row.x,
        y=row.y,
        w=row.w,
        h=row.h,
        annotation_id=row.id,
        instance=row.instance,
        category=row.category,
    )


def mask_of_levels(levels: NDArray[Any]) -> NDArray[np.bool_]:
    """Foreground of a mask's levels ``(height, width)``, as VoxDet-SoIR cuts them.

    Where a level is above 1, the cut is the median of the distinct levels (0, 255 -> 127.5; 0, 127, 255 -> 127) and
    what lies on it is foreground, so that a constant mask is all foreground.
    """
    if levels.dtype == np.uint8:
        distinct = np.flatnonzero(np.bincount(levels.ravel(), minlength=256))
    else:
        distinct = np.unique(levels)
    if not len(distinct) or distinct[-1] <= 1:
        return np.asarray(levels != 0)
    middle = (distinct[(len(distinct) - 1) // 2] + distinct[len(distinct) // 2]) / 2
    return np.asarray(levels >= middle)


def _read_levels(path: Path) -> tuple[NDArray[Any], str | None]:
    """Channel 0 of a mask picture ``(height, width)``; a palette is looked up first.

    The second value is the picture's mode where it has no channels: VoxDet-SoIR asks for channel 0 of it and fails.

    Raises:
        SourceError: the picture cannot be read.
    """
    try:
        with PilImage.open(path) as picture:
            mode: str | None = picture.mode
            levels = np.asarray(picture.convert("RGB") if mode == "P" else picture)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        read_header(path)  # says what is wrong, if the header shows it
        raise SourceError(path, f"picture does not decode ({error})", hint="download or unpack it again") from error
    if levels.ndim == 2:
        return levels, mode
    return levels[..., 0], mode if mode == "P" else None
