"""nuScenes: key frames with the boxes of its tables, projected into the picture."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from curate.errors import SourceError
from curate.geometry import box_from_corners
from curate.model import Annotation, Coverage, Finding, Item, Parsed, Record, finding
from curate.sources import label_table
from curate.sources._files import Size, list_files, read_json
from curate.sources._json_tables import Place, locate_records, read_place, read_records
from curate.sources._nuscenes_tables import (
    Count,
    Log,
    Named,
    Quaternion,
    Shot,
    Token,
    Vector,
    by_token,
    image_of,
    key_of,
    read_picture,
    shots,
    table_path,
)
from curate.sources._projection import Camera, project_boxes

UNLABELLED = "test"
# Scenes whose vehicle poses are known to be off.
_POSES_OFF = {"scene-0499", "scene-0501", "scene-0502", "scene-0515", "scene-0517"}
_VISIBILITIES = {"", "1", "2", "3", "4"}
_CORNERS = 8


class _Scene(Struct, frozen=True):
    token: str
    name: str
    log_token: str
    description: str | None = None


class _Sample(Struct, frozen=True):
    token: str
    scene_token: str


class _Instance(Struct, frozen=True):
    token: str
    category_token: str


class _Owned(Struct, frozen=True):
    """The references of an annotation."""

    sample_token: str
    instance_token: str


class _OnlyToken(Struct, frozen=True):
    token: str


class _Pose(Struct, frozen=True):
    translation: Vector
    rotation: Quaternion


class _Box(Struct, frozen=True):
    """An annotation: a box in the world; size is width, length, height."""

    token: Token
    instance_token: str
    translation: Vector
    size: Vector
    rotation: Quaternion
    visibility_token: str | None = None
    attribute_tokens: list[str] = []
    num_lidar_pts: Count | None = None
    num_radar_pts: Count | None = None
    prev: str | None = None
    next: str | None = None


class _Boxes(NamedTuple):
    """Where the annotations of a key frame lie, and their classes (None where a reference leads nowhere)."""

    places: NDArray[np.int64]  # (n, 3): number, start, length
    classes: tuple[str | None, ...]


class Frame(NamedTuple):
    """What the parser of a key frame needs."""

    shot: Shot
    scene: _Scene | None
    log: Log | None
    splits: tuple[str, ...]  # of the user's own splits.json
    pose: Place | None
    boxes: _Boxes | None  # None in a split without labels
    attributes: Mapping[str, str]
    strays: int  # annotations of no sample in the tables; said with the first frame


_splits_file = msgspec.json.Decoder(dict[str, list[str]])


def split_of(scene: str, folder: str) -> str | None:
    """The official split of a scene in the tables of ``folder``."""
    return _scenes().get((folder, scene))


@cache
def _scenes() -> dict[tuple[str, str], str]:
    found = {}
    for row in label_table("nuscenes_splits"):
        for run in row["scenes"].split():
            first, _, last = run.partition("-")
            for number in range(int(first), int(last or first) + 1):
                found[row["version"], f"scene-{number:04d}"] = row["split"]
    return found


def splits_with_scenes(root: Path, folder: str) -> set[str | None]:
    """The official splits that the scenes in the tables of ``folder`` belong to.

    Raises:
        SourceError: the table of scenes is missing, unreadable or malformed.
    """
    return {split_of(scene.name, folder) for scene in by_token(root, folder, "scene", _Scene).values()}


def scan_version(root: Path, folder: str, splits: Sequence[str], cameras: Collection[str], asked: bool) -> list[Item]:
    """The key frames of ``cameras`` in the tables of ``folder``.

    Scenes of no official split are taken too, unless splits were ``asked`` for.

    Raises:
        SourceError: a table is missing, unreadable or malformed.
    """
    scenes = by_token(root, folder, "scene", _Scene)
    logs = by_token(root, folder, "log", Log)
    owners = {one.token: scenes.get(one.scene_token) for one in _samples(root, folder)}
    own_splits = _own_splits(root, folder)
    chosen: list[tuple[Shot, _Scene | None, str | None]] = []
    for shot in shots(root, folder, cameras):
        scene = owners.get(shot.record.sample_token)
        split = split_of(scene.name, folder) if scene else None
        if split in splits or (split is None and not asked):
            chosen.append((shot, scene, split))
    wanted = {shot.record.sample_token for shot, _, _ in chosen}
    labelled = not folder.endswith(UNLABELLED)
    boxes, strays = _locate_boxes(root, folder, wanted, set(owners)) if labelled else ({}, 0)
    poses = _locate_poses(root, folder, {shot.record.ego_pose_token for shot, _, _ in chosen}) if labelled else {}
    named = {one.token: one.name for one in by_token(root, folder, "attribute", Named).values()}
    none = _Boxes(np.zeros((0, 3), np.int64), ())
    items: list[Item] = []
    for shot, scene, split in chosen:
        frame = Frame(
            shot=shot,
            scene=scene,
            log=logs.get(scene.log_token) if scene else None,
            splits=own_splits.get(scene.name, ()) if scene else (),
            pose=poses.get(shot.record.ego_pose_token),
            boxes=boxes.get(shot.record.sample_token, none) if labelled else None,
            attributes=named,
            strays=0 if items else strays,
        )
        image = shot.record.filename if shot.found else None
        items.append(Item(f"nuscenes/{key_of(shot.record)}", root, split, image, f"{folder}/sample_data.json", frame))
    return items


def _samples(root: Path, folder: str) -> Iterator[_Sample]:
    return read_records(table_path(root, folder, "sample"), _Sample)


def _own_splits(root: Path, folder: str) -> dict[str, tuple[str, ...]]:
    """The splits of each scene by the user's own ``splits.json``, if that is there."""
    if "splits.json" not in list_files(root, folder, ".json"):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for split, names in sorted(read_json(table_path(root, folder, "splits"), _splits_file).items()):
        for name in names:
            found[name] = (*found.get(name, ()), split)
    return found


def _locate_boxes(root: Path, folder: str, wanted: set[str], known: set[str]) -> tuple[dict[str, _Boxes], int]:
    """The annotations of the ``wanted`` samples, and how many belong to none that is ``known``."""
    categories = by_token(root, folder, "category", Named)
    classes = {
        one.token: categories[one.category_token].name if one.category_token in categories else None
        for one in read_records(table_path(root, folder, "instance"), _Instance)
    }
    places: dict[str, array[int]] = {}
    names: dict[str, list[str | None]] = {}
    strays = 0
    for place, owned in locate_records(table_path(root, folder, "sample_annotation"), _Owned):
        if owned.sample_token in wanted:
            places.setdefault(owned.sample_token, array("q")).extend(place)
            names.setdefault(owned.sample_token, []).append(classes.get(owned.instance_token))
        elif owned.sample_token not in known:
            strays += 1
    boxes = {
        token: _Boxes(np.array(found, np.int64).reshape(-1, len(Place._fields)), tuple(names[token]))
        for token, found in places.items()
    }
    return boxes, strays


def _locate_poses(root: Path, folder: str, wanted: set[str]) -> dict[str, Place]:
    records = locate_records(table_path(root, folder, "ego_pose"), _OnlyToken)
    return {pose.token: place for place, pose in records if pose.token in wanted}


def parse(item: Item, licence: str) -> Parsed:
    """One key frame with the boxes that are seen in it.

    Raises:
        SourceError: the picture is broken, or a record that it needs lacks a field or is malformed.
    """
    frame: Frame = item.data
    size, header, others = read_picture(item, frame.shot)
    image = image_of(item, frame.shot, size, header, frame.log)
    known = {**(image.attributes or {})["nuscenes"]}
    if frame.scene and frame.scene.description is not None:
        known["description"] = frame.scene.description
    if frame.splits:
        known["splits"] = list(frame.splits)
    image = msgspec.structs.replace(
        image,
        licence=licence,
        sequence=frame.scene.name if frame.scene else None,
        attributes={"nuscenes": known},
    )
    rows: list[Annotation] = []
    if frame.boxes is not None:
        camera = _camera(item)
        if camera is None or size is None:
            message = "calibration, pose or size of the key frame is not in the tables; boxes left out"
            others.append(finding("R03", str(item.label), message, item=item.id, hint="use the tables complete"))
            others.append(Coverage(scope=item.id, category="*", state="none"))
        else:
            rows, noticed = _seen(item, camera, size)
            others += noticed
    others += _odd(frame, item)
    return Parsed(image, rows, others)


def _odd(frame: Frame, item: Item) -> Iterator[Record]:
    scene = frame.scene.name if frame.scene else "no scene"
    if item.split is None:
        yield finding("N05", str(item.label), f"{scene} is in no official split; kept", item=item.id)
        yield Coverage(scope=item.id, category="*", state="none" if frame.boxes is None else "partial")
    if scene in _POSES_OFF and frame.boxes is not None:
        message = f"poses of {scene} are known to be off, so its boxes may be; kept"
        yield finding("N05", str(item.label), message, item=item.id)
    if frame.strays:
        message = f"{frame.strays} annotations refer to no sample of the tables; left out"
        yield finding("N02", f"{frame.shot.folder}/sample_annotation.json", message)


def _camera(item: Item) -> Camera | None:
    """The camera of a key frame; None where a record is missing.

    Raises:
        SourceError: a record is malformed.
    """
    frame: Frame = item.data
    calibration = frame.shot.calibration
    if calibration is None or frame.pose is None:
        return None
    folder = item.root / frame.shot.folder
    path = folder / "ego_pose.json"
    with path.open("rb") as stream:
        pose = read_place(stream, frame.pose, _Pose, path)
    where = f"{folder / 'calibrated_sensor.json'}, token {calibration.token}"
    if [len(row) for row in calibration.camera_intrinsic] != [3, 3, 3]:
        raise SourceError(f"{where}, camera_intrinsic", "is no 3 x 3 matrix", "expected one of a camera")
    if not any(calibration.rotation):
        raise _no_rotation(where)
    if not any(pose.rotation):
        raise _no_rotation(f"{path}, [{frame.pose.number}]")
    return Camera(
        ego_translation=np.array(pose.translation),
        ego_rotation=np.array(pose.rotation),
        translation=np.array(calibration.translation),
        rotation=np.array(calibration.rotation),
        intrinsic=np.array(calibration.camera_intrinsic),
    )


def _no_rotation(where: str) -> SourceError:
    return SourceError(f"{where}, rotation", "is 0 throughout", "expected a quaternion w, x, y, z")


def _seen(item: Item, camera: Camera, size: Size) -> tuple[list[Annotation], list[Finding]]:
    """The annotations of a key frame's sample that are seen in its picture."""
    frame: Frame = item.data
    assert frame.boxes is not None
    path = item.root / frame.shot.folder / "sample_annotation.json"
    boxes: list[tuple[Place, _Box, str | None]] = []
    with path.open("rb") as stream:
        for numbers, name in zip(frame.boxes.places.tolist(), frame.boxes.classes, strict=True):
            place = Place(*numbers)
            box = read_place(stream, place, _Box, path)
            if not any(box.rotation):
                raise _no_rotation(f"{path}, [{place.number}]")
            boxes.append((place, box, name))
    if not boxes:
        return [], []
    corners, in_front = project_boxes(
        np.array([box.translation for _, box, _ in boxes]),
        np.array([box.size for _, box, _ in boxes]),
        np.array([box.rotation for _, box, _ in boxes]),
        camera,
        *size,
    )
    rows: list[Annotation] = []
    noticed: list[Finding] = []
    used: set[str] = set()
    for i in np.flatnonzero(~np.isnan(corners[:, 0])).tolist():
        place, box, name = boxes[i]
        if box.token in used:
            where = f"{path}, [{place.number}].token"
            raise SourceError(where, f"{box.token!r} stands twice", "expected each token once")
        used.add(box.token)
        rows.append(_annotation(item, box, name, corners[i].tolist(), int(in_front[i])))
        noticed += _odd_box(item, place, box, name)
    return rows, noticed


def _annotation(item: Item, box: _Box, name: str | None, corners: list[float], in_front: int) -> Annotation:
    frame: Frame = item.data
    x, y, w, h = box_from_corners(*corners)
    known: dict[str, Any] = {
        "attributes": [frame.attributes.get(token, token) for token in box.attribute_tokens],
        "visibility_token": box.visibility_token,
        "num_lidar_pts": box.num_lidar_pts,
        "num_radar_pts": box.num_radar_pts,
        "translation": box.translation,
        "size": box.size,
        "rotation": box.rotation,
        "prev": box.prev,
        "next": box.next,
        "corners_in_front": in_front if in_front < _CORNERS else None,
    }
    return Annotation(
        id=f"{item.id}#{box.token}",
        image_id=item.id,
        category=name,
        source_label=name,
        instance=f"nuscenes/{box.instance_token}",
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
        attributes={"nuscenes": {key: value for key, value in known.items() if value is not None}},
    )


def _odd_box(item: Item, place: Place, box: _Box, name: str | None) -> Iterator[Finding]:
    frame: Frame = item.data
    where = f"{frame.shot.folder}/sample_annotation.json, [{place.number}]"
    row = f"{item.id}#{box.token}"
    if name is None:
        message = f"instance {box.instance_token!r} or its category is not in the tables; kept without a class"
        yield finding("R03", where, message, item=row)
    for token in box.attribute_tokens:
        if token not in frame.attributes:
            yield finding("R03", where, f"attribute {token!r} is not in the tables; kept as found", item=row)
    if box.visibility_token is not None and box.visibility_token not in _VISIBILITIES:
        yield finding("N05", where, f"visibility_token is {box.visibility_token!r}; kept as found", item=row)
