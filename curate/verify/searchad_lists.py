"""What lies beside SearchAD's annotations: its image-level lists, which follow from these, and its default queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.model import Finding, finding
from curate.verify import text
from curate.verify.json_text import decode
from curate.verify.paths import path_fault
from curate.verify.report import encodable
from curate.verify.subject import short

LISTS = re.compile(
    r"searchad_(train|val)_image_level_(annotations|ignore_images)_min_box_(\d{1,9}(?:\.\d{1,9})?(?:e\+\d\d)?)\.json"
)
QUERIES = "default_queries"
_CORNERS = ("min_x", "min_y", "max_x", "max_y")
# By split, the largest box area of each label in each image.
Areas = Mapping[str, Mapping[tuple[str, str], float]]


def check(folder: Path, images: Mapping[str, str], areas: Areas) -> Iterator[Finding]:
    """S01, B01, B02, P01, R02, Q04 and Q05 in the files of ``folder``.

    Args:
        images: the split of each image, by its path.
    """
    names = sorted(path.name for path in folder.iterdir())
    positives: dict[tuple[str, str], Mapping[str, list[str]]] = {}
    for name in names:  # annotations come before ignore_images
        match = LISTS.fullmatch(name)
        if match is None or not (folder / name).is_file():
            continue
        found: list[Finding] = []
        held = _lists(folder / name, match[1], images, found)
        yield from found
        if match[2] == "annotations":
            positives[match[1], match[3]] = held
            yield from _recounted(folder / name, held, areas.get(match[1], {}), float(match[3]))
        for label, paths in held.items() if match[2] == "ignore_images" else ():
            both = set(paths) & set(positives.get((match[1], match[3]), {}).get(label, ()))
            for image in sorted(both):
                message = f"image {short(image)} is to be ignored for {short(label)}, and one of its positives"
                yield finding("Q05", encodable(f"{folder / name}, {label}"), encodable(message), item=encodable(image))
    if (folder / QUERIES).is_dir():
        for path in sorted((folder / QUERIES).glob("*.json")):
            yield from _query(path)


def _object(path: Path, found: list[Finding]) -> dict[str, Any]:
    data, noticed = text.read(path)
    value, more = decode(data, str(path)) if data else (None, [])
    found += [*noticed, *more]
    if data and type(value) is not dict and not more:
        found.append(finding("S01", path, f"is {short(value)}; expected an object"))
    return value if type(value) is dict else {}


def _lists(path: Path, split: str, images: Mapping[str, str], found: list[Finding]) -> dict[str, list[str]]:
    held: dict[str, list[str]] = {}
    for label, paths in _object(path, found).items():
        where = encodable(f"{path}, {label}")
        if type(paths) is not list or not all(type(one) is str for one in paths):
            found.append(finding("S01", where, f"is {short(paths)}; expected a list of paths"))
            continue
        held[label] = paths
        for image in paths:
            if images.get(encodable(image)) != split:
                message = f"image {short(image)} is none of the annotations of {split}; expected one of them"
                found.append(finding("R02", where, encodable(message), item=encodable(image)))
    return held


def _recounted(
    path: Path, held: Mapping[str, list[str]], areas: Mapping[tuple[str, str], float], least: float
) -> Iterator[Finding]:
    """Q04: labels whose positives are others than the boxes say; labels that the file leaves out are not evaluated."""
    expected: dict[str, set[str]] = {}
    for (image, label), area in areas.items():
        if area >= least:
            expected.setdefault(label, set()).add(image)
    for label, paths in held.items():
        other = set(map(encodable, paths)) ^ expected.get(encodable(label), set())
        if other:
            message = (
                f"{len(other):,} images differ from those with a box of {least:g} px² or more, as {short(min(other))}"
            )
            yield finding("Q04", encodable(f"{path}, {label}"), encodable(message), item=encodable(min(other)))


def _query(path: Path) -> Iterator[Finding]:
    found: list[Finding] = []
    sets = _object(path, found).get("supportsets")
    yield from found
    vision = sets.get("vision") if type(sets) is dict else None
    if type(vision) is not dict:
        if not found:
            yield finding("S01", encodable(str(path)), "has no supportsets.vision; expected an object, image to boxes")
        return
    for image, boxes in vision.items():
        where, item = encodable(f"{path}, {image}"), encodable(image)
        if fault := path_fault(image):
            yield finding("P01", where, encodable(f"{short(image)} {fault}"), item=item)
        if type(boxes) is not list:
            yield finding("S01", where, f"is {short(boxes)}; expected a list of boxes", item=item)
            continue
        for i, one in enumerate(boxes):
            box = one.get("bbox") if type(one) is dict else None
            corners: list[Any] = [box.get(name) for name in _CORNERS] if type(box) is dict else []
            if len(corners) != 4 or not all(type(value) in (int, float) for value in corners):
                message = f"bbox is {short(box)}; expected {', '.join(_CORNERS)}"
                yield finding("B01", f"{where}[{i}]", encodable(message), item=item)
            elif corners[2] < corners[0] or corners[3] < corners[1]:
                yield finding("B02", f"{where}[{i}]", f"bbox is {short(corners)}: a negative side", item=item)
