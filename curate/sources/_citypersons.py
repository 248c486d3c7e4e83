"""CityPersons: boxes of persons on Cityscapes frames, one JSON file per frame or the older one MATLAB file per split.

Each object has a full box ``bbox`` (also where it is hidden or leaves the frame; kept as found), mostly a visible box
``bboxVis`` and the number ``instanceId`` of the Cityscapes instance. Its classes get names of their own
(``citypersons/rider``), since Cityscapes' own labels name the same persons. ``ignore`` and ``person group`` are regions
that evaluation passes over.

``annotations/anno_train.mat`` holds ``anno_train_aligned``, a cell per frame with ``cityname``, ``im_name`` and
``bbs``: rows of class, box, instance number, visible box. Types of numbers vary from cell to cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from curate import matlab
from curate.errors import SourceError
from curate.model import Annotation, Category
from curate.sources import label_table
from curate.sources._files import Size, agreed_size, read_bytes, read_json

_GROUP = "person group"
_Pixels = Annotated[int, Meta(ge=-(10**9), le=10**9)] | Annotated[float, Meta(ge=-1e9, le=1e9)]
_Box = tuple[_Pixels, _Pixels, _Pixels, _Pixels]


class _Person(Struct, frozen=True, rename="camel"):
    label: str
    bbox: _Box
    bbox_vis: _Box | None = None
    instance_id: Annotated[int, Meta(ge=0, lt=2**31)] | None = None


class Listed(NamedTuple):
    """A frame's rows in a MATLAB file: class, x, y, w, h, instance number, visible x, y, w, h."""

    file: str
    place: str
    rows: list[list[float]]


class _File(Struct, frozen=True, rename="camel"):
    img_height: int
    img_width: int
    objects: list[_Person]


_file = msgspec.json.Decoder(_File)


@cache
def _ignored() -> dict[str, bool]:
    """The labels, and whether each is passed over."""
    return {row["name"]: row["ignoreInEval"] == "1" for row in label_table("citypersons")}


def categories() -> Iterator[Category]:
    """One category per label."""
    for label, ignored in _ignored().items():
        yield Category(name=_category(label), supercategory="human", role="ignore" if ignored else "benchmark")


def classes() -> list[str]:
    """Names of the categories that are labelled throughout."""
    return [_category(label) for label, ignored in _ignored().items() if not ignored]


def _category(label: str) -> str:
    return f"citypersons/{label}"


def read(path: Path, image_id: str, size: Size | None, parents: Mapping[int, str]) -> tuple[Size, list[Annotation]]:
    """The boxes of one file and the size of their frame, which must be ``size`` where that is known.

    ``parents`` gives the annotation of a Cityscapes instance number.

    Raises:
        SourceError: the file is unreadable or malformed, a box has a negative side, or the frame is of another size.
    """
    file = read_json(path, _file)
    size = agreed_size(path, (file.img_width, file.img_height), size)
    rows = enumerate(file.objects)
    return size, [_annotation(person, i, f"{path}, objects[{i}].bbox", image_id, parents) for i, person in rows]


def matlab_file(split: str) -> str:
    """Path of a split's MATLAB file below the root."""
    return f"annotations/anno_{split}.mat"


def read_matlab(root: Path, split: str) -> dict[str, Listed]:
    """The boxes of a split's MATLAB file by frame, ``city/city_sequence_frame``.

    Raises:
        UsageError: scipy is not installed.
        SourceError: the file is no such MATLAB file.
    """
    file = matlab_file(split)
    path = root / file
    name = f"anno_{split}_aligned"
    held = matlab.load(read_bytes(path), path, [name], "install it ('pip install scipy'), or move the file away")
    try:
        cells = held[name].ravel()
        return dict(_listed(cell, file, f"{name}[{i}]") for i, cell in enumerate(cells))
    except Exception as error:  # arrays of any kind and shape may have this name
        found = f"is no file of CityPersons ({type(error).__name__}: {error})"
        raise SourceError(path, found, f"expected anno_{split}_aligned", "download it again") from error


def _listed(cell: Any, file: str, place: str) -> tuple[str, Listed]:
    entry = np.ravel(cell)[0]
    city, image = (str(np.ravel(entry[field])[0]) for field in ("cityname", "im_name"))
    rows = np.asarray(entry["bbs"], np.float64).reshape(-1, 10)
    if not (np.abs(rows) < 1e9).all() or (rows[:, 5] < 0).any():  # NaN is no less than anything
        raise ValueError(f"{place}.bbs holds a number that is none of a box")
    whole = rows.astype(np.int64)  # as they nearly always are; JSON writes them so too
    found: NDArray[Any] = whole if (whole == rows).all() else rows
    return f"{city}/{image.removesuffix('.png').removesuffix('_leftImg8bit')}", Listed(file, place, found.tolist())


def from_matlab(listed: Listed, root: Path, image_id: str, parents: Mapping[int, str]) -> list[Annotation]:
    """The boxes of one frame, as :func:`read` gives them.

    Raises:
        SourceError: a box has a negative side, or a class is unknown.
    """
    names = {int(row["id"]): row["name"] for row in label_table("citypersons")}
    found = []
    for i, (number, *box, instance, vx, vy, vw, vh) in enumerate(listed.rows):
        where = f"{root / listed.file}, {listed.place}.bbs[{i}]"
        if number not in names:
            raise SourceError(where, f"class {number:g}", f"expected 0 to {max(names)}")
        x, y, w, h = box
        person = _Person(names[int(number)], (x, y, w, h), (vx, vy, vw, vh), int(instance))
        found.append(_annotation(person, i, where, image_id, parents))
    return found


def _annotation(person: _Person, i: int, where: str, image_id: str, parents: Mapping[int, str]) -> Annotation:
    x, y, w, h = person.bbox
    if w < 0 or h < 0:
        found = f"box {list(person.bbox)} has a negative side"
        raise SourceError(where, found, "expected x, y, width, height")
    known: dict[str, Any] = {"instanceId": person.instance_id, "bboxVis": person.bbox_vis}
    return Annotation(
        id=f"{image_id}#p{i:04d}",
        image_id=image_id,
        parent_id=None if person.instance_id is None else parents.get(person.instance_id),
        category=_category(person.label),
        source_label=person.label,
        x=x,
        y=y,
        w=w,
        h=h,
        area=w * h,
        iscrowd=person.label == _GROUP,
        ignore=_ignored().get(person.label, False),
        attributes={"citypersons": {name: value for name, value in known.items() if value is not None}},
    )
