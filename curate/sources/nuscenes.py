"""nuScenes, and nuImages: street scenes by six cameras; boxes in space projected into the pictures, or drawn in them.

A picture is known by its file name, which tells log, camera and time in microseconds:
``nuscenes/n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927612460`` (the ``+`` is no escape). Pictures and objects
are found through tables, as ``v1.0-trainval/sample_data.json``; only key frames are annotated, and only they are read.

* Box: an annotation is a box in the world that belongs to a moment, not to a picture. It is projected into each
  picture by the rule of the official export (``project_boxes``), with the pose of that camera's own file:
  ``w = xmax - xmin``, clipped to the frame, loose, and blind to what stands before it. Corners behind the camera are
  dropped, so that a vehicle alongside gets a wrong box: such have ``attributes.nuscenes.corners_in_front`` below 8.
* Where the projection meets the frame in no area there is no box (the official script fails there). The frame is the
  picture's own, 1600 x 900.
* One object keeps its instance through a scene and in all cameras. Objects without any lidar or radar point are in;
  the counts of points are kept.
* Cameras: front and back of nuScenes, which are SearchAD's pictures, and all of nuImages, unless the option
  ``cameras`` names others.
* Splits: by the official lists of scenes. ``v1.0-mini`` is a part of train and of val (scene-0553 of val is in
  mini_train) and is passed over where ``v1.0-trainval`` is. A ``splits.json`` beside the tables is kept in
  ``attributes.nuscenes.splits``. There are no annotations of test.
* Coverage is partial: what neither lidar nor radar reached was not annotated. That of nuImages is exhaustive.
* Time: of the picture's own file, in UTC; proven where the log's date agrees with it.
* nuImages (ids ``nuscenes/nuimages/...``) has the same layout in a folder of its own. Its boxes are amodal,
  ``w = xmax - xmin``, its masks show what is visible; its pictures are distorted, and belong to no scene.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.errors import UsageError
from curate.model import Category, Counts, Coverage, Item, Parsed, Record, Source, finding
from curate.sources import _nuimages as nuimages
from curate.sources import _nuscenes_frames as frames
from curate.sources import label_table
from curate.sources._files import chosen_splits, list_folders
from curate.sources._nuscenes_tables import annotated_classes

SOURCE = Source(
    title="nuScenes and nuImages",
    homepage="https://www.nuscenes.org",
    licence="CC BY-NC-SA 4.0 with the nuScenes terms of use (non-commercial)",
    citation="Caesar et al.: nuScenes: A multimodal dataset for autonomous driving. CVPR 2020",
    download="""
Make an account at the homepage, then download and unpack into one folder, without overwriting
  Trainval: metadata, and the key frames ("samples") of the 10 file blobs
  Test: metadata and key frames
or v1.0-mini (10 scenes) to try. Sweeps, lidar and radar are not read. The option cameras=all takes all six cameras,
cameras=CAM_FRONT,CAM_FRONT_LEFT these two; cameras=searchad, as without it, front and back.
nuImages: metadata and samples, in another folder.
""",
    tree="""
v1.0-trainval/sample.json, sample_data.json, sample_annotation.json, ... (13 tables)
v1.0-test/..., v1.0-mini/...
samples/CAM_FRONT/n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927612460.jpg
""",
    splits=(
        *("train", "val", "test", "mini_train", "mini_val"),
        *(f"{nuimages.PREFIX}{name}" for name in ("train", "val", "test", "mini")),
    ),
    published=Counts(
        images=80_314, note="front and back cameras of trainval and test, key frames only, as in SearchAD"
    ),
)
OPTIONS = {"cameras": "searchad, front and back (of nuImages all), or all, or names, as CAM_FRONT,CAM_BACK"}

CAMERAS = ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
SEARCHAD_CAMERAS = ("CAM_FRONT", "CAM_BACK")
_TABLES = {
    "train": "v1.0-trainval",
    "val": "v1.0-trainval",
    "test": "v1.0-test",
    "mini_train": "v1.0-mini",
    "mini_val": "v1.0-mini",
    "nuimages/train": "v1.0-train",
    "nuimages/val": "v1.0-val",
    "nuimages/test": "v1.0-test",
    "nuimages/mini": "v1.0-mini",
}
_WHOLE, _PART = "v1.0-trainval", "v1.0-mini"
_FROM_SEARCHAD = re.compile(r"(?:.*/)?samples/(CAM_[A-Z_]+)/([^/]+__\1__[0-9]+)\.jpg")


def key_from_searchad(path: str) -> str | None:
    """The id of an image, from its path below SearchAD's folder ``nuscenes``; None if it is no key frame's."""
    match = _FROM_SEARCHAD.fullmatch(path)
    return f"nuscenes/{match[2]}" if match else None


def scan(root: Path, splits: tuple[str, ...], *, cameras: str | Sequence[str] = "searchad") -> list[Item]:
    """One item per key frame that the tables name.

    Args:
        cameras: names, separated by commas or in a list; ``all``; or ``searchad``, which are front and back of nuScenes
            and all of nuImages.

    Raises:
        SourceError: ``root`` has no tables of nuScenes, or one is missing, unreadable or malformed.
        UsageError: there is no such camera, or splits were asked for that have scenes in common.
    """
    named = _cameras(cameras)
    chosen = _splits(root, splits)
    items = []
    for folder in dict.fromkeys(_TABLES[split] for split in chosen):
        own = [split for split in chosen if _TABLES[split] == folder]
        if own[0].startswith(nuimages.PREFIX):
            items += nuimages.scan_version(root, folder, own[0], named)
        else:
            items += frames.scan_version(root, folder, own, named or SEARCHAD_CAMERAS, bool(splits))
    return sorted(items, key=lambda item: item.id)


def _cameras(cameras: str | Sequence[str]) -> Sequence[str] | None:
    """The cameras that were asked for; None for those of SearchAD."""
    names = [name.strip() for name in cameras.split(",")] if isinstance(cameras, str) else list(cameras)
    if names == ["searchad"]:
        return None
    if names == ["all"]:
        return CAMERAS
    for name in names:
        if name not in CAMERAS:
            raise UsageError(
                f"nuscenes, cameras {name!r}", "unknown", f"expected searchad, all, or {', '.join(CAMERAS)}"
            )
    return names


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    """The splits to read: those asked for, or all whose tables are here but for those of mini, a part of others."""
    folders = {}
    for split, folder in _TABLES.items():
        is_there = (root / folder).is_dir()
        other = is_there and nuimages.is_nuimages(root, folder) != split.startswith(nuimages.PREFIX)
        folders[split] = [f"{folder} of {'nuImages' if nuimages.PREFIX in split else 'nuScenes'}" if other else folder]
    chosen = chosen_splits(root, "nuscenes", SOURCE, folders, splits)
    whole = [split for split in chosen if _TABLES[split] == _WHOLE]
    part = [split for split in chosen if _TABLES[split] == _PART and not split.startswith(nuimages.PREFIX)]
    if whole and part and splits:
        raise UsageError(f"nuscenes, split {part[0]!r}", "is a part of train and val", "expected it or those")
    return [split for split in chosen if not (whole and split in part)]


def records(root: Path, splits: tuple[str, ...], *, cameras: str | Sequence[str] = "searchad") -> Iterator[Record]:
    """The classes, what is covered in each split, and what is left out."""
    for row in label_table("nuscenes"):
        name = row["category"]
        drawn = row["kind"] == "3D box" or name in nuimages.SURFACES
        yield Category(
            name=name,
            supercategory=name.rpartition(".")[0] or None,
            role="benchmark" if row["kind"] == "3D box" else "other",
            definition=None if drawn else "in lidar only",
        )
    chosen = _splits(root, splits)
    for split in chosen:
        folder = _TABLES[split]
        if split.startswith(nuimages.PREFIX) or split in frames.splits_with_scenes(root, folder):
            yield from _coverage(split)
    has_mini = (root / _PART).is_dir() and not nuimages.is_nuimages(root, _PART)
    if has_mini and any(_TABLES[split] == _WHOLE for split in chosen):
        yield finding("N05", _PART, f"is a part of {_WHOLE}; not read")
    named = _cameras(cameras)
    if named or any(not split.startswith(nuimages.PREFIX) for split in chosen):
        for channel in list_folders(root, "samples"):
            if channel in CAMERAS and channel not in (named or SEARCHAD_CAMERAS):
                yield finding(
                    "N05",
                    f"samples/{channel}",
                    "camera was not asked for; not read",
                    hint="choose by the option cameras",
                )


def _coverage(split: str) -> Iterator[Coverage]:
    scope = f"nuscenes/{split}"
    if split in (frames.UNLABELLED, nuimages.UNLABELLED):
        yield Coverage(scope=scope, category="*", state="none")
    elif split.startswith(nuimages.PREFIX):
        for name in (*annotated_classes(), *nuimages.SURFACES):
            yield Coverage(scope=scope, category=name, state="exhaustive")
    else:
        for name in annotated_classes():
            yield Coverage(scope=scope, category=name, state="partial")


def parse(item: Item) -> Parsed:
    """One key frame with its objects.

    Raises:
        SourceError: as ``parse`` of ``_nuscenes_frames`` and ``_nuimages``.
    """
    if isinstance(item.data, nuimages.Frame):
        return nuimages.parse(item, SOURCE.licence)
    return frames.parse(item, SOURCE.licence)
