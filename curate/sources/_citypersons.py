"""CityPersons: boxes of persons on Cityscapes frames, one JSON file per frame (``gtBboxCityPersons``).

Each object has a full box ``bbox`` (also where it is hidden or leaves the frame; kept as found), mostly a visible box
``bboxVis`` and the number ``instanceId`` of the Cityscapes instance. Its classes get names of their own
(``citypersons/rider``), since Cityscapes' own labels name the same persons. ``ignore`` and ``person group`` are regions
that evaluation passes over. The older MATLAB form is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from curate.errors import SourceError
from curate.model import Annotation, Category
from curate.sources import label_table
from curate.sources._files import Size, agreed_size, read_json

_GROUP = "person group"
_Pixels = Annotated[int, Meta(ge=-(10**9), le=10**9)] | Annotated[float, Meta(ge=-1e9, le=1e9)]
_Box = tuple[_Pixels, _Pixels, _Pixels, _Pixels]


class _Person(Struct, frozen=True, rename="camel"):
    label: str
    bbox: _Box
    bbox_vis: _Box | None = None
    instance_id: Annotated[int, Meta(ge=0, lt=2**31)] | None = None


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
    return size, [_annotation(person, i, path, image_id, parents) for i, person in enumerate(file.objects)]


def _annotation(person: _Person, i: int, path: Path, image_id: str, parents: Mapping[int, str]) -> Annotation:
    x, y, w, h = person.bbox
    if w < 0 or h < 0:
        raise SourceError(
            f"{path}, objects[{i}].bbox", f"box {list(person.bbox)} has a negative side", "expected x, y, width, height"
        )
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
