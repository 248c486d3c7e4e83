"""IDD (India Driving Dataset): Segmentation, parts I and II, with polygons per frame; Detection, with boxes in XML.

The two downloads show different pictures and may lie beside each other. Segmentation's splits are folders (``train``),
Detection's are lists (here ``detection/train``).

* A frame name is not unique, within a split or between splits: the key is split/drive/frame
  (``idd/train/0/005506``), and for Detection category/sequence/frame (``idd/detection/frontFar/.../000006_r``).
* Segmentation: Cityscapes' schema. Imported are the objects of the 13 labels with instances (ids 6 to 18). Polygons
  have float vertices and run on under nearer objects (extent ``amodal``); they are painted with Pillow's rule and
  clipped to the frame, box and area are those of the mask. Later objects lie over earlier ones, so the visible masks
  follow from painting them in the order of their ids. ``deleted`` objects are passed over. A label such as
  ``cargroup`` that is not in the table marks a group (``iscrowd``); ``polegroup`` is a class of its own.
* Polygons of fewer than three points, or wholly outside the frame, are left out; both are findings.
* ``attributes.idd.instanceId`` is the value in a raster of ids: id * 1000 + number, counted per training class
  (level3Id), so that person and animal share one counter; a group has the plain id. The rasters and panoptic files
  that the development kit writes (``_instanceids.png``, ``train_panoptic``) are not read.
* Where a frame has no polygon file but one of the boxes made from it for the weakly supervised challenge
  (``_gtFine_bbox.json``, corners of the polygons), these are taken: ``w = xmax - xmin``, without masks, and sorted by
  label, so that the painting order is lost.
* Detection: ``w = xmax - xmin`` (whether the corners are inclusive is not stated), as whole pixels, 15 classes, among
  them traffic signs and lights. Entries of a list whose picture or XML is missing are findings. ``test`` is unlabelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.errors import SourceError
from curate.model import Category, Counts, Coverage, Item, Parsed, Record, Source, finding
from curate.sources import _idd_detection as detection
from curate.sources import _idd_frames as frames
from curate.sources._files import chosen_splits
from curate.sources._idd_labels import DETECTED, labels

_DETECTION = "detection/"

SOURCE = Source(
    title="IDD (India Driving Dataset), Segmentation and Detection",
    homepage="https://idd.insaan.iiit.ac.in",
    licence="IDD terms: research, non-commercial (as assumed; the text is shown at registration)",
    citation="Varma, Subramanian, Namboodiri, Chandraker, Jawahar: IDD: A dataset for exploring problems of autonomous "
    "navigation in unconstrained environments. WACV 2019",
    download="""
Make an account at the homepage, then download and unpack into one folder
  IDD Segmentation (IDD 20k Part I) (18.5 GB)     unpacks to IDD_Segmentation; SearchAD's frames
  IDD 20k Part II                                 unpacks to idd20kII
  IDD Detection (22.8 GB)                         unpacks to IDD_Detection
Any of them may be absent, and both parts of Segmentation may lie in one folder. The boxes of the weakly supervised
challenge (github.com/AutoNUE/public-code) are read where they lie in gtFine/val/..., for frames without polygons.
""",
    tree="""
IDD_Segmentation/leftImg8bit/train/0/005506_leftImg8bit.png
IDD_Segmentation/gtFine/train/0/005506_gtFine_polygons.json
idd20kII/leftImg8bit/val/555/frame75719_leftImg8bit.jpg
idd20kII/gtFine/val/555/frame75719_gtFine_polygons.json
IDD_Detection/JPEGImages/frontFar/BLR-2018-03-22_17-39-26_2_frontFar/000006_r.jpg
IDD_Detection/Annotations/frontFar/BLR-2018-03-22_17-39-26_2_frontFar/000006_r.xml
IDD_Detection/train.txt, val.txt, test.txt
""",
    splits=(*frames.SPLITS, *(f"{_DETECTION}{name}" for name in detection.LISTS)),
    published=Counts(
        images=10_003,
        note="Segmentation part I: 6,993 train, 981 val, 2,029 test. Part II has 1,055 val frames; "
        "Detection about 41,857 XML files",
    ),
)

_FROM_SEARCHAD = re.compile(r"leftImg8bit/([^/]+)/([^/]+)/([^/]+)_leftImg8bit\.(?:png|jpe?g)")


def key_from_searchad(path: str) -> str | None:
    """The image id of a path below SearchAD's folder ``IDD_Segmentation``, or None if it is no such path."""
    match = _FROM_SEARCHAD.fullmatch(path)
    return "idd/{}/{}/{}".format(*match.groups()) if match else None


def scan(root: Path, splits: tuple[str, ...]) -> list[Item]:
    """One item per frame of Segmentation that an image or label file names, and per entry of Detection's lists.

    Raises:
        SourceError: ``root`` is no tree of IDD, or a split that was asked for is not there.
    """
    chosen = _splits(root, splits)
    items = [item for split in chosen if split in frames.SPLITS for item in frames.scan_split(root, split)]
    lists = [split.removeprefix(_DETECTION) for split in chosen if split.startswith(_DETECTION)]
    if lists:
        items += detection.scan(root, lists)
    return sorted(items, key=lambda item: item.id)


def _splits(root: Path, splits: Sequence[str]) -> list[str]:
    folders = {split: [f"{part}{frames.IMAGES}/{split}" for part in frames.PARTS] for split in frames.SPLITS}
    for name in detection.LISTS:
        folders[f"{_DETECTION}{name}"] = [f"{part}{detection.IMAGES}" for part in detection.PARTS]
    chosen = chosen_splits(root, "idd", SOURCE, folders, splits)
    for split in splits:
        name = split.removeprefix(_DETECTION)
        if name != split and name not in detection.lists(root):
            raise SourceError(
                root / f"{detection.part_of(root)}{name}.txt", "no such file", "expected a list of frames"
            )
    return chosen


def records(root: Path, splits: tuple[str, ...]) -> Iterator[Record]:
    """The classes, what is covered in each split, and what is left out."""
    for label in labels().values():
        is_object = label.thing or label.name in DETECTED
        yield Category(name=label.name, supercategory=label.group, role="benchmark" if is_object else "other")
    chosen = _splits(root, splits)
    things = [label.name for label in labels().values() if label.thing]
    for split in chosen:
        if split in frames.SPLITS:
            yield from _coverage(split, things if frames.is_labelled(root, split) else ())
        elif split.removeprefix(_DETECTION) in detection.lists(root):
            yield from _coverage(split, () if split.endswith("test") else DETECTED)
    for part in frames.PARTS:
        if "test" in chosen and (root / f"{part}{frames.LABELS}/test").is_dir():
            message = "is not part of IDD, whose labels of test are secret; not read"
            yield finding("N05", f"{part}{frames.LABELS}/test", message)
    if not splits:
        for split in frames.SPLITS:
            if split not in chosen and frames.is_labelled(root, split):
                yield finding("N03", f"{frames.LABELS}/{split}", "labels are there, the images are not; left out")
        if any(split.startswith(_DETECTION) for split in chosen):
            yield from detection.unlisted(root)


def _coverage(split: str, classes: Sequence[str]) -> Iterator[Coverage]:
    if not classes:
        yield Coverage(scope=f"idd/{split}", category="*", state="none")
    for name in classes:
        yield Coverage(scope=f"idd/{split}", category=name, state="exhaustive")


def parse(item: Item) -> Parsed:
    """One frame with its objects.

    Raises:
        SourceError: as ``parse`` of ``_idd_frames`` and ``_idd_detection``.
    """
    if isinstance(item.data, detection.Frame):
        return detection.parse(item, SOURCE.licence)
    return frames.parse(item, SOURCE.licence)
