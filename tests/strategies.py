"""hypothesis strategies for small, valid datasets."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from curate.dataset import Dataset, from_records
from curate.geometry import rle_from_mask
from curate.model import Annotation, Category, Coverage, Image, Info, Instance, Judgement, Member, Query, SourceRecord

SOURCES = ("kitti", "cityscapes")
CATEGORIES = ("car", "person", "traffic sign")

words = st.sampled_from(["fog", "clear", "a b", "ü", '"', "\\", "</script>", "日本"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
# Keys that a row of a foreign file may have: some bear the names of columns of ours.
foreign_keys = st.dictionaries(
    st.sampled_from(["instance_id", "split", "source", "status", "curate_id", "attributes", "bbox_mode", "score", "ü"]),
    json_values,
    min_size=1,
    max_size=3,
)
coordinates = st.floats(-50, 500, allow_nan=False).map(lambda v: round(v, 2))
vertices = st.floats(-9, 9, allow_nan=False).map(lambda v: round(v, 2))
sides = st.floats(0, 300, allow_nan=False).map(lambda v: round(v, 2))


@st.composite
def masks(draw: Any, width: int, height: int) -> Any:
    seed = draw(st.integers(0, 2**32 - 1))
    share = draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    return rle_from_mask(np.random.default_rng(seed).random((height, width)) < share)


@st.composite
def attributes(draw: Any) -> dict[str, Any] | None:
    value: dict[str, Any] = {}
    if draw(st.booleans()):
        value["coco"] = draw(foreign_keys)
    if draw(st.booleans()):
        value["kitti"] = draw(st.dictionaries(words, json_values, max_size=2))
    return value or None


@st.composite
def annotations(draw: Any, image: Image, number: int) -> Annotation:
    assert image.width and image.height
    boxed = draw(st.booleans())
    box: dict[str, float] = (
        {"x": draw(coordinates), "y": draw(coordinates), "w": draw(sides), "h": draw(sides)} if boxed else {}
    )
    polygon = draw(st.none() | st.lists(st.lists(vertices, min_size=6, max_size=6), min_size=1, max_size=2))
    category = draw(st.sampled_from([None, *CATEGORIES]))
    return Annotation(
        id=f"{image.id}#{number:04d}",
        image_id=image.id,
        parent_id=f"{image.id}#0000" if number and draw(st.booleans()) else None,
        category=category,
        source_label=draw(st.sampled_from([None, category, "other label"])),
        instance=draw(st.none() | st.sampled_from(["OWID/1", "OWID/2"])),
        area=draw(st.none() | sides),
        segmentation=draw(st.none() | masks(image.width, image.height)),
        polygons=None if polygon is None else [[ring] for ring in polygon],
        iscrowd=draw(st.booleans()),
        ignore=draw(st.booleans()),
        origin=draw(st.sampled_from(["source", "human:anna", "model:sam"])),
        score=draw(st.none() | st.floats(0, 1)),
        round=draw(st.none() | st.integers(0, 3)),
        attributes=draw(attributes()),
        **box,
    )


@st.composite
def datasets(draw: Any, max_images: int = 4) -> Dataset:
    """A valid dataset with rows in most tables; every reference holds."""
    records: list[Any] = [Category(name=name, supercategory="thing") for name in CATEGORIES]
    records += [Instance(id="OWID/1", category="car"), Instance(id="OWID/2")]
    n = draw(st.integers(1, max_images))
    for i in range(n):
        source = draw(st.sampled_from(SOURCES))
        image = Image(
            id=f"{source}/{i:03d}",
            source=source,
            source_split=draw(st.sampled_from([None, "train", "val"])),
            file_name=f"images/{i:03d}.png",
            width=draw(st.integers(1, 12)),
            height=draw(st.integers(1, 12)),
            sequence=draw(st.none() | words),
            licence=draw(st.none() | words),
            weather=draw(st.none() | words),
            attributes=draw(attributes()),
        )
        rows = [draw(annotations(image, k)) for k in range(draw(st.integers(0, 3)))]
        records += [image, *rows]
        if draw(st.booleans()):
            records.append(Member(image_id=image.id, role=draw(st.sampled_from(["query", "gallery"]))))
        if draw(st.booleans()):
            records.append(Coverage(scope=image.id, category="*", state="exhaustive"))
        if rows and draw(st.booleans()):
            query = f"q{i}"
            records.append(Query(id=query, kind="box", image_id=image.id, annotation_id=rows[0].id, instance="OWID/1"))
            records.append(Judgement(query_id=query, image_id=image.id, label="easy"))
    info = Info(name="drawn", sources={source: SourceRecord(title=source, licence="free") for source in SOURCES})
    return from_records(info, records)
