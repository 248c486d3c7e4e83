"""VoxDet's tree: which views and scenes there are, and which annotation belongs to which scene.

No picture is opened here. What is odd about a tree is said in findings; only a missing or malformed part is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw

from curate.errors import SourceError
from curate.model import Finding, Item, finding
from curate.sources._files import Listing, find_files, list_files, list_folders, read_json, shown

_PICTURES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
_TAKEN_UPSTREAM = {".png", ".jpg"}  # VoxDet-SoIR takes only these two, spelled exactly so


class View(NamedTuple):
    """What the parser of a view needs: its object, and why VoxDet-SoIR leaves the view out."""

    instance: str
    category: str
    source_label: str
    dropped: str | None


class Row(msgspec.Struct, frozen=True, gc=False):
    """An annotation as found; nothing is taken for granted yet."""

    id: Any = UNSET
    image_id: Any = UNSET
    category_id: Any = UNSET
    bbox: Any = UNSET
    area: Any = UNSET
    iscrowd: Any = UNSET
    ignore: Any = UNSET
    num_ins: Any = UNSET
    segmentation: Raw = Raw(b"")


class Found(NamedTuple):
    """An annotation of a scene: its row, and what the tree says of it."""

    split: str
    place: int  # in the file's list
    row: Row
    category: str
    by_position: bool
    dropped: str | None


class Scene(NamedTuple):
    """What the parser of a scene needs.

    ``files`` are the annotation files that list it, by split; ``sizes`` width and height as they state them.
    """

    part: str
    files: dict[str, str]
    sizes: list[tuple[Any, Any]]
    found: list[Found]


class Part(NamedTuple):
    """One of the two sets: OWID or RoboTools."""

    name: str
    base: str  # its folder, relative to the root
    supercategory: str
    folders: dict[int, list[str]]  # object number -> its folders, relative to the root
    scenes: dict[str, Scene]  # file relative to the root -> its annotations
    broken: list[SourceError]  # of image records that name no file
    unusable: dict[str, SourceError]  # scenes whose file must not be opened
    categories: dict[int, str]  # object number -> name, as the annotation files declare it
    known: set[int]  # objects that have a folder or that scenes show
    held_out: set[int]  # OWID: objects that the val file annotates

    @property
    def splits(self) -> set[str]:
        return {"train", "val"} if self.name == "OWID" else {"test"}

    def label(self, number: int) -> str:
        """The object's name as found; where no file declares one, as OWID would spell it."""
        return self.categories.get(number) or (f"ins_{number:06d}" if self.name == "OWID" else str(number))


class Survey(NamedTuple):
    """The sets that are there and wanted, and what was noticed."""

    parts: list[Part]
    splits: set[str]
    findings: list[Finding]


class _ImageRecord(msgspec.Struct, frozen=True, gc=False):
    id: Any = UNSET
    file_name: Any = UNSET
    width: Any = UNSET
    height: Any = UNSET


class _CategoryRecord(msgspec.Struct, frozen=True, gc=False):
    id: Any = UNSET
    name: Any = UNSET


class _File(msgspec.Struct, frozen=True):
    images: list[_ImageRecord]
    annotations: list[Row]
    categories: list[_CategoryRecord] = []


_file_decoder = msgspec.json.Decoder(_File)


def survey(root: Path, splits: Iterable[str]) -> Survey:
    """Read the layout and the annotation files of the wanted ``splits``, whose folders must be there.

    Raises:
        SourceError: a part is missing or malformed.
    """
    held = Survey([], set(splits), [])
    if held.splits & {"train", "val"}:
        held.parts.append(_survey_owid(root, held.splits, held.findings))
    if "test" in held.splits:
        base = "RoboTools" if (root / "RoboTools").is_dir() else "BOP/RoboTools"
        held.parts.append(_survey_tools(root, base, held.findings))
    return held


def items(root: Path, held: Survey) -> Iterator[Item]:
    """One item per view and per scene, in no order."""
    for part in held.parts:
        for number, folders in part.folders.items():
            split = "test" if part.name == "RoboTools" else "val" if number in part.held_out else "train"
            if split in held.splits:
                for folder in folders:
                    yield from _views(root, part, number, folder, split)
        for file, scene in part.scenes.items():
            split = "val" if "val" in scene.files else next(iter(scene.files))
            yield Item(_image_id(part, file), root, split, file, None, part.unusable.get(file) or scene)
        for i, error in enumerate(part.broken):
            yield Item(f"{_image_id(part, part.base)}/?{i:06d}", root, None, None, None, error)


def _image_id(part: Part, file: str) -> str:
    """The path below the set's own folder, so that both layouts give the same ids."""
    return f"voxdet/{part.name}{file[len(part.base) :]}"


def _survey_owid(root: Path, wanted: set[str], findings: list[Finding]) -> Part:
    folders = _object_folders(root, "OWID/P1", findings)
    dropped = {
        number: None if any(has_views for _, has_views in held) else "folder without rgb"
        for number, held in folders.items()
    }
    part = Part("OWID", "OWID", "owid-instances", _with_views(folders), {}, [], {}, {}, set(folders), set())
    files = {split: f"OWID/P2/{split}_annotations.json" for split in ("train", "val")}
    # Which objects are held out is said by the val file; so it is read, where it is there, for the train split too.
    read = {s: _read(root / f) for s, f in files.items() if s in wanted or (s == "val" and (root / f).is_file())}
    for split, content in read.items():
        _take_categories(part, content, files[split], findings)
        if split == "val":
            part.held_out.update(row.category_id for row in content.annotations if type(row.category_id) is int)
    for split, content in read.items():
        if split in wanted:
            _take_scenes(part, content, split, files[split], "OWID/P2", dropped, "no folder in P1", findings)
    _note_equal_names(part, findings)
    listed = list_files(root, "OWID/P2/images", _PICTURES)
    part.unusable.update({f"OWID/P2/images/{name}": error for name, error in listed.items() if error})
    if {"train", "val"} <= wanted:
        _note_unlisted("OWID/P2/images", listed, part, findings)
    return part


def _survey_tools(root: Path, base: str, findings: list[Finding]) -> Part:
    folders = _object_folders(root, f"{base}/test_video", findings)
    part = Part("RoboTools", base, "robotools", _with_views(folders), {}, [], {}, {}, set(folders), set())
    file = f"{base}/test/scene_gt_coco_all.json"
    content = _read(root / file)
    _take_categories(part, content, file, findings)
    dropped = dict.fromkeys(folders)
    _take_scenes(part, content, "test", file, f"{base}/test", dropped, "no folder in test_video", findings)
    listed = find_files(root, f"{base}/test", _PICTURES)
    part.unusable.update({f"{base}/test/{name}": error for name, error in listed.items() if error})
    return part


def _object_folders(root: Path, base: str, findings: list[Finding]) -> dict[int, list[tuple[str, bool]]]:
    """The folders of each object, relative to the root, and whether they hold views."""
    if not (root / base).is_dir():
        raise SourceError(root / base, "no such folder", "expected the views", "is the archive unpacked completely?")
    folders: dict[int, list[tuple[str, bool]]] = {}
    for name in list_folders(root, base):
        try:
            number = int(name.split("_")[-1] if base.endswith("test_video") else name)
        except ValueError:
            findings.append(finding("N05", f"{base}/{name}", "folder name holds no object number; passed over"))
            continue
        has_views = (root / base / name / "rgb").is_dir()
        folders.setdefault(number, []).append((f"{base}/{name}", has_views))
        if not has_views:
            findings.append(finding("N05", f"{base}/{name}", "no folder rgb: an object without views"))
    return folders


def _with_views(folders: dict[int, list[tuple[str, bool]]]) -> dict[int, list[str]]:
    found = {number: [folder for folder, has_views in held if has_views] for number, held in folders.items()}
    return {number: held for number, held in found.items() if held}


def _views(root: Path, part: Part, number: int, folder: str, split: str) -> Iterator[Item]:
    views, masks = list_files(root, f"{folder}/rgb", _PICTURES), list_files(root, f"{folder}/mask", _PICTURES)
    by_stem = {name.rpartition(".")[0]: name for name in sorted(masks)}
    instance, label = f"{part.name}/{number}", part.label(number)
    for name, error in views.items():
        stem, dot, suffix = name.rpartition(".")
        mask = name if name in masks else by_stem.get(stem)
        if mask != name and mask in views:
            mask = None  # it belongs to another view
        dropped = None
        if dot + suffix not in _TAKEN_UPSTREAM:
            dropped = f"suffix {dot}{suffix}"
        elif mask is None:
            dropped = "no mask"
        elif mask != name:
            dropped = "mask of another suffix"
        view = View(instance, f"{part.name}/{label}", label, dropped)
        file = f"{folder}/rgb/{name}"
        trouble = error or (masks[mask] if mask else None)
        yield Item(_image_id(part, file), root, split, file, mask and f"{folder}/mask/{mask}", trouble or view)


def _read(file: Path) -> _File:
    if not file.is_file():
        hint = "choose the splits that are there with --split" if "P2" in file.parts else "is the archive unpacked?"
        raise SourceError(file, "no such file", "expected VoxDet's annotations", hint)
    return read_json(file, _file_decoder)


def _take_categories(part: Part, content: _File, file: str, findings: list[Finding]) -> None:
    for i, record in enumerate(content.categories):
        if type(record.id) is not int or type(record.name) is not str:
            findings.append(finding("R04", f"{file}, category {i}", "without number or name; passed over"))
        elif part.categories.setdefault(record.id, record.name) != record.name:
            first = part.categories[record.id]
            findings.append(
                finding(
                    "R01", f"{file}, category {record.id}", f"named {record.name!r}, and {first!r} before; kept that"
                )
            )


def _take_scenes(
    part: Part,
    content: _File,
    split: str,
    file: str,
    base: str,
    dropped: dict[int, str | None],
    without_folder: str,
    findings: list[Finding],
) -> None:
    """Add an annotation file's images and annotations to the part's scenes, grouped by the file that they show."""
    scenes = [_scene(part, record, i, split, file, base) for i, record in enumerate(content.images)]
    by_id: dict[Any, int] = {}
    for i, record in enumerate(content.images):
        if type(record.id) is not int:
            findings.append(finding("R04", f"{file}, image {i}", f"id is {record.id!r}; expected a number"))
        elif by_id.setdefault(record.id, i) != i:
            findings.append(finding("R01", f"{file}, image {record.id}", "id stands twice; the first is taken"))
    unseen: Counter[int] = Counter()
    names: dict[int, str] = {}
    for place, row in enumerate(content.annotations):
        image, number = row.image_id, row.category_id
        at = by_id.get(image) if type(image) is int else None
        by_position = at is None and type(image) is int and 0 <= image < len(scenes)
        if at is None and not by_position:
            findings.append(_dangling(file, place, row))
            continue
        scene = scenes[image if at is None else at]
        if scene is None:
            continue
        category, reason = "", None
        if type(number) is int:
            category = names.get(number) or names.setdefault(number, part.label(number))
            reason = dropped.get(number, without_folder)
            if reason:
                unseen[number] += 1
        scene.found.append(Found(split, place, row, category, by_position, reason))
    part.known.update(names)
    for number, count in sorted(unseen.items()):
        reason = dropped.get(number, without_folder)
        findings.append(
            finding("N05", f"{file}, category {number}", f"{reason}; annotations of an object without a query: {count}")
        )


def _scene(part: Part, record: _ImageRecord, place: int, split: str, file: str, base: str) -> Scene | None:
    """The scene that an image record stands for; its size and split are noted there."""
    name = record.file_name
    parts = [p for p in name.split("/") if p not in ("", ".")] if type(name) is str else []
    if not parts or ".." in parts or name.startswith("/") or not name.isprintable():
        found = "missing" if name is UNSET else repr(name)[:80]
        part.broken.append(
            SourceError(f"{file}, images[{place}]", f"file_name is {found}", "expected a path inside the set's folder")
        )
        return None
    path = f"{base}/{'/'.join(parts)}"
    scene = part.scenes.get(path) or part.scenes.setdefault(path, Scene(part.name, {}, [], []))
    size = (record.width, record.height)
    if size not in scene.sizes:
        scene.sizes.append(size)
    scene.files[split] = file
    return scene


def _dangling(file: str, place: int, row: Row) -> Finding:
    return finding(
        "N02",
        f"{file}, annotation {place if row.id is UNSET else row.id}",
        f"image id is {row.image_id!r}, which no image has; annotation left out",
    )


def _note_equal_names(part: Part, findings: list[Finding]) -> None:
    by_name: dict[str, list[str]] = {}
    for file in part.scenes:
        by_name.setdefault(file.rpartition("/")[2], []).append(file)
    for name, files in sorted(by_name.items()):
        if len(files) > 1:
            others = ", ".join(sorted(files))
            findings.append(
                finding("N05", f"{part.base}/P2", f"{others} have the base name {name!r}: VoxDet-SoIR merges them")
            )


def _note_unlisted(folder: str, listed: Listing, part: Part, findings: list[Finding]) -> None:
    unlisted = sorted(name for name in listed if f"{folder}/{name}" not in part.scenes)
    if unlisted:
        message = f"pictures that no annotation file names, left out: {len(unlisted)}, first {shown(unlisted[0])}"
        findings.append(finding("N05", folder, message))
