"""Small raw downloads of drawn scenes, in the layouts of KITTI, Cityscapes and VoxDet.

Each function yields the files of one download as ``(path below its root, content)``: the same bytes at every call. The
labels say what the scenes' own truth says, in the conventions of the source that is imitated.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw

from curate.demo.figures import Figure, figure
from curate.demo.grounds import View
from curate.demo.scenes import Mask, Scene, SceneObject, draw_scene

File = tuple[str, bytes]
# An entry of a polygon file, and the thing that it outlines, if it is one.
Labelled = tuple[dict[str, Any], SceneObject | None]

# Camera frames of KITTI differ by a few pixels; so do these, at a third of the size.
_KITTI_SIZES = ((414, 125), (408, 123), (414, 126), (412, 124))
_KITTI_TYPES = {
    "car": "Car",
    "van": "Van",
    "truck": "Truck",
    "tram": "Tram",
    "person": "Pedestrian",
    "cyclist": "Cyclist",
}
_KITTI_FAMILIES = ("car", "car", "car", "car", "van", "truck", "tram", "person", "person", "person", "cyclist")
_KITTI_SMALLEST = 9.0  # px; what is lower than this becomes part of a region without labels

_CITY_SIZE = (512, 256)
_CITIES = {"train": ("ahornau", "birkenau"), "val": ("eschenau",), "test": ("lindenau",)}
_CITY_FAMILIES = ("car", "car", "car", "car", "person", "person", "person", "rider", "bicycle", "truck", "bus", "tram")
_CITY_LABELS = {"tram": "train", "van": "car"}
_GROUPED = ("car", "person", "bicycle")
_GROUP_BELOW, _GROUP_GAP = 22.0, 30.0  # px; things lower than this that stand as close as this are labelled as a group
_PERSONS = {"person": ("pedestrian", 24), "rider": ("rider", 25), "persongroup": ("person group", 24)}

_OWID = ("mug", "bottle", "star", "ring", "blob", "wrench", "disc", "cross")
_OWID_VAL = (6, 7)  # objects of the validation split; the others are for training
_ROBOTOOLS = ("hammer", "screwdriver", "wrench")
# Share of a view that the object takes: small enough to pass the size filter of small-object retrieval.
_VIEW = (0.3, 0.37)
_CLUTTER = ("polygon", "disc", "star", "blob", "ring", "cross", "bottle")


def write(root: Path, files: Iterable[File]) -> dict[str, int]:
    """Write ``files`` below ``root``; gives how many there were and their size in bytes."""
    count = size = 0
    for name, content in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        count, size = count + 1, size + len(content)
    return {"files": count, "bytes": size}


# -------------------------------------------------------------------------------------------------------- KITTI


def kitti(training: int = 20, testing: int = 4, *, seed: int = 1) -> Iterator[File]:
    """Frames with one text row per object; the sixth training frame shows nothing, and testing has no labels."""
    for split, frames in (("training", training), ("testing", testing)):
        for i in range(frames):
            width, height = _KITTI_SIZES[i % len(_KITTI_SIZES)]
            things = 0 if split == "training" and i == 5 else 10 + i % 9
            number = [seed, split == "testing", i]
            scene = draw_scene(number, width, height, things, ground="street", families=_KITTI_FAMILIES, focal=0.58)
            yield f"{split}/image_2/{i:06d}.png", _png(scene.image)
            if split == "training":
                yield f"{split}/label_2/{i:06d}.txt", _kitti_rows(scene, width, height).encode()


def _kitti_rows(scene: Scene, width: int, height: int) -> str:
    rows, unlabelled = [], []
    for thing in scene.objects:
        x, y, w, h = thing.box
        box = max(x, 0.0), max(y, 0.0), min(x + w, width - 1.0), min(y + h, height - 1.0)
        if thing.visible < 0.1:
            continue
        if box[3] - box[1] < _KITTI_SMALLEST:
            unlabelled.append(
                "DontCare -1 -1 -10 {:.2f} {:.2f} {:.2f} {:.2f} -1 -1 -1 -1000 -1000 -1000 -10".format(*box)
            )
        else:
            rows.append(_kitti_row(thing, scene.view, box))
    return "".join(f"{row}\n" for row in rows + unlabelled)


def _kitti_row(thing: SceneObject, view: View | None, box: tuple[float, float, float, float]) -> str:
    assert view is not None and thing.pose.depth is not None
    metres, z = thing.figure.metres, thing.pose.depth
    x, y = (thing.pose.x - view.centre) * z / view.focal, 1.65
    across, tall = thing.figure.size[0] * metres, thing.figure.size[1] * metres
    from_behind = thing.category == "car" and across < 2.2
    wide, long = (across, 4.1) if from_behind else (min(across, 1.8), across)
    turn = -np.pi / 2 if from_behind else 0.0 if thing.pose.mirrored else np.pi
    alpha = (turn - np.arctan2(x, z) + np.pi) % (2 * np.pi) - np.pi
    occluded = 0 if thing.visible > 0.85 else 1 if thing.visible > 0.5 else 2
    numbers = (alpha, *box, tall, wide, long, x, y, z, turn)
    label = _KITTI_TYPES[thing.category]
    return f"{label} {thing.truncated:.2f} {occluded} " + " ".join(f"{n:.2f}" for n in numbers)


# --------------------------------------------------------------------------------------------------- Cityscapes


def cityscapes(train: int = 10, val: int = 4, test: int = 2, *, seed: int = 2) -> Iterator[File]:
    """Frames with polygons in painting order, groups and deleted objects; CityPersons boxes for ``train``."""
    width, height = _CITY_SIZE
    for split, frames in (("train", train), ("val", val), ("test", test)):
        for i in range(frames):
            city = _CITIES[split][i % len(_CITIES[split])]
            key = f"{city}_{i // 4:06d}_{19 + i % 4 * 30:06d}"
            number = [seed, *split.encode(), i]
            scene = draw_scene(number, width, height, 13 + i % 8, ground="street", families=_CITY_FAMILIES, focal=0.9)
            yield f"leftImg8bit/{split}/{city}/{key}_leftImg8bit.png", _png(_with_bonnet(scene.image))
            name = f"{split}/{city}/{key}"
            labelled: list[Labelled] = [(_bonnet(width, height), None)]
            if split != "test":
                labelled = _polygons(scene, deleted=i % 5 == 2)
            yield f"gtFine/{name}_gtFine_polygons.json", _city_json([entry for entry, _ in labelled])
            if split == "train":
                yield f"gtBboxCityPersons/{name}_gtBboxCityPersons.json", _city_json(_persons(labelled))


def _city_json(objects: list[dict[str, Any]]) -> bytes:
    width, height = _CITY_SIZE
    return _json({"imgHeight": height, "imgWidth": width, "objects": objects})


def _bonnet(width: int, height: int) -> dict[str, Any]:
    points = [[0, height - 1], [width // 10, height - 9], [width // 2, height - 14]]
    points += [[width - 1 - width // 10, height - 9], [width - 1, height - 1]]
    return {"label": "ego vehicle", "polygon": points}


def _with_bonnet(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = PilImage.fromarray(image)
    points = _bonnet(picture.width, picture.height)["polygon"]
    ImageDraw.Draw(picture).polygon([tuple(point) for point in points], fill=(34, 36, 42))
    return np.asarray(picture)


def _polygons(scene: Scene, *, deleted: bool) -> list[Labelled]:
    """Regions and objects in painting order, in whole pixels inside the frame."""
    width, height = _CITY_SIZE
    labelled: list[Labelled] = []
    for region in scene.regions:
        if points := _whole_pixels(np.array(region.outline), width, height):
            labelled.append(({"label": region.label, "polygon": points}, None))
    grouped = _groups(scene.objects)
    for things in grouped:
        if points := _hull(things, width, height):
            labelled.append(({"label": f"{things[0].category}group", "polygon": points}, None))
    alone = [thing for thing in scene.objects if not any(thing in things for things in grouped)]
    for thing in alone:
        outer = np.array(max((part[0] for part in thing.polygons), key=len)).reshape(-1, 2)
        points = _whole_pixels(outer, width, height)
        if points and thing.visible >= 0.05:
            label = _CITY_LABELS.get(thing.category, thing.category)
            labelled.append(({"label": label, "polygon": points}, thing))
    if deleted:
        phantom: dict[str, Any] = {
            "label": "car",
            "polygon": [[60, 120], [99, 120], [99, 149], [60, 149]],
            "deleted": 1,
        }
        labelled.append((phantom, None))
    return [*labelled, (_bonnet(width, height), None)]


def _groups(things: Iterable[SceneObject]) -> list[list[SceneObject]]:
    """Far things of one class that stand close together, two at least."""
    groups: list[list[SceneObject]] = []
    far = [thing for thing in things if thing.category in _GROUPED and thing.box[3] < _GROUP_BELOW]
    for thing in sorted(far, key=lambda t: (t.category, t.pose.x)):
        last = groups[-1][-1] if groups else None
        if last and last.category == thing.category and thing.pose.x - last.pose.x < _GROUP_GAP:
            groups[-1].append(thing)
        else:
            groups.append([thing])
    return [group for group in groups if len(group) > 1]


def _whole_pixels(outline: NDArray[np.float64], width: int, height: int) -> list[list[int]]:
    """The largest part of ``outline`` inside the frame, its vertices at whole pixels; empty if nothing is left.

    A vertex of Cityscapes names a pixel, so a thing over x = 20.0 to 60.0 has vertices from 20 to 59.
    """
    import shapely

    shape = shapely.intersection(shapely.Polygon(outline - 0.5).buffer(0), shapely.box(0, 0, width - 1, height - 1))
    pieces = shapely.get_parts(shapely.set_precision(shape, 1.0))
    largest = max((piece for piece in pieces if piece.geom_type == "Polygon"), key=lambda p: p.area, default=None)
    if largest is None or largest.area < 2:
        return []
    points: list[list[int]] = np.asarray(largest.exterior.coords).astype(int).tolist()[:-1]
    return points


def _hull(things: Iterable[SceneObject], width: int, height: int) -> list[list[int]]:
    import shapely

    points = [np.array(ring).reshape(-1, 2) for thing in things for part in thing.polygons for ring in part]
    hull = shapely.MultiPoint(np.concatenate(points)).convex_hull
    return _whole_pixels(np.asarray(hull.exterior.coords), width, height)


def _persons(labelled: list[Labelled]) -> list[dict[str, Any]]:
    """CityPersons rows: the full box from the polygon, the visible one from the mask, numbered as the polygons are."""
    rows = []
    seen: dict[str, int] = {}
    for entry, thing in labelled:
        if entry["label"] not in _PERSONS:
            continue
        name, class_id = _PERSONS[entry["label"]]
        number = class_id
        if thing is not None:
            number = class_id * 1000 + seen.get(name, 0)
            seen[name] = seen.get(name, 0) + 1
        points = np.array(entry["polygon"])
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        full = [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
        visible = full if thing is None else _mask_box(thing.mask)
        rows.append({"label": name, "instanceId": number, "bbox": full, "bboxVis": visible})
    return rows


# ------------------------------------------------------------------------------------------------------- VoxDet


def voxdet(views: int = 4, scenes: int = 32, frames: int = 10, *, seed: int = 3) -> Iterator[File]:
    """OWID: template views with masks, and gallery scenes; RoboTools: videos of tools, and frames with boxes only."""
    owid = [figure(family, 101 + i) for i, family in enumerate(_OWID)]
    tools = [figure(family, 201 + i) for i, family in enumerate(_ROBOTOOLS)]
    yield "OWID/P1/scene_gt_all.json", _json({str(i): {} for i in range(len(owid))})
    yield "OWID/P1/ZID-10k_mapper_new.json", _json({f"drawn_{thing.category}": i for i, thing in enumerate(owid)})
    for i, thing in enumerate(owid):
        yield from _views(f"OWID/P1/{i}", thing, views, [seed, 0, i])
    yield from _owid_scenes(owid, scenes, seed)
    yield "RoboTools/test_video/scene_gt_all.json", _json({f"obj_{i:06d}": {} for i in range(1, len(tools) + 1)})
    for i, thing in enumerate(tools, 1):
        yield from _views(f"RoboTools/test_video/obj_{i:06d}", thing, views, [seed, 1, i])
    yield from _robotools_frames(tools, frames, seed)


def _views(folder: str, thing: Figure, views: int, number: list[int]) -> Iterator[File]:
    for view in range(views):
        scene = draw_scene([*number, view], 160, 160, 0, figures=[thing], size=_VIEW, cut=False)
        mask = scene.objects[0].mask.astype(np.uint8) * 255
        yield f"{folder}/rgb/{view:06d}.png", _png(scene.image)
        yield f"{folder}/mask/{view:06d}.png", _png(np.repeat(mask[..., None], 3, axis=2))


def _owid_scenes(objects: list[Figure], scenes: int, seed: int) -> Iterator[File]:
    width, height = 400, 300
    training = [i for i in range(len(objects)) if i not in _OWID_VAL]
    splits: dict[Literal["train", "val"], dict[str, list[dict[str, Any]]]] = {
        split: {"images": [], "annotations": []} for split in ("train", "val")
    }
    for number in range(scenes):
        validation = number % 5 >= 3
        rng = np.random.default_rng([seed, 2, number])
        shown = sorted(rng.choice(training, 4, replace=False).tolist())
        if validation:
            shown += [i for i in _OWID_VAL if rng.random() < 0.75 or i == _OWID_VAL[number % 2]]
        scene = draw_scene(
            [seed, 3, number],
            width,
            height,
            5,
            figures=[objects[i] for i in shown],
            families=_CLUTTER,
            size=(0.1, 0.6),
        )
        name = f"images/{number:06d}.jpg"
        yield f"OWID/P2/{name}", _jpeg(scene.image)
        split = splits["val" if validation else "train"]
        image_id = len(split["images"])
        split["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
        labelled = _OWID_VAL if validation else training
        found = {thing.instance: thing for thing in scene.objects}
        seen = [(i, found[objects[i].instance]) for i in shown if objects[i].instance in found]
        for i, thing in seen:
            if i in labelled:
                row = {"id": len(split["annotations"]), "image_id": image_id, "category_id": i, "num_ins": len(seen)}
                others = [_mask_box(other.mask) for j, other in seen if j != i]
                split["annotations"].append({**row, **_owid_truth(thing.mask), "neg_box": others})
    categories = [{"id": i, "name": f"ins_{i:06d}", "supercategory": "owid-instances"} for i in range(len(objects))]
    for split_name, split in splits.items():
        content = {"info": {"description": "drawn scenes"}, "licenses": [], "categories": categories, **split}
        yield f"OWID/P2/{split_name}_annotations.json", _json(content)


def _owid_truth(mask: Mask) -> dict[str, Any]:
    height, width = mask.shape
    return {
        "iscrowd": 0,
        "area": int(np.count_nonzero(mask)),
        "bbox": _mask_box(mask),
        "segmentation": {"counts": _runs(mask), "size": [height, width]},
        "width": width,
        "height": height,
    }


def _robotools_frames(tools: list[Figure], frames: int, seed: int) -> Iterator[File]:
    width, height = 480, 270
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(frames):
        scene = draw_scene([seed, 4, number], width, height, 6, figures=tools, families=_CLUTTER, size=(0.12, 0.7))
        name = f"L{number % 2 + 1:02d}/rgb/{number // 2:06d}.png"
        yield f"RoboTools/test/{name}", _png(scene.image)
        for i, tool in enumerate(tools, 1):
            for thing in scene.objects:
                if thing.instance == tool.instance:
                    # One image record for every annotation, numbered together from 1.
                    row = len(images) + 1
                    box = _mask_box(thing.mask)
                    images.append({"id": row, "file_name": name, "width": width, "height": height})
                    annotation = {"id": row, "image_id": row, "category_id": i, "bbox": box, "area": box[2] * box[3]}
                    size = {"size": [height, width], "width": width, "height": height}
                    annotations.append({**annotation, **size, "iscrowd": 0, "ignore": False})
    categories = [{"id": i, "name": str(i), "supercategory": "robotools"} for i in range(1, len(tools) + 1)]
    content = {"info": {"description": "drawn scenes"}, "license": [], "categories": categories}
    yield "RoboTools/test/scene_gt_coco_all.json", _json({**content, "images": images, "annotations": annotations})


# ----------------------------------------------------------------------------------------------------- encoding


def _mask_box(mask: Mask) -> list[int]:
    """``x, y, w, h`` around a mask that is not empty, ``max + 1 - min``."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def _runs(mask: Mask) -> list[int]:
    """COCO's uncompressed run lengths: column-major, background first."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    runs: list[int] = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    return runs


def _png(image: NDArray[np.uint8]) -> bytes:
    return _encoded(image, format="PNG", compress_level=3)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return _encoded(image, format="JPEG", quality=92)


def _encoded(image: NDArray[np.uint8], **options: Any) -> bytes:
    stream = io.BytesIO()
    PilImage.fromarray(image).save(stream, **options)
    return stream.getvalue()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
