"""COCO panoptic files: colours that number segments, masks against a comparison per colour, faults with their place."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask

from curate.errors import SourceError
from curate.sources import _panoptic as panoptic

SIZE = (8, 6)
ROAD = {"id": 1, "category_id": 7, "bbox": [0, 4, 8, 2], "area": 16, "iscrowd": 0}
CAR = {"id": 70_000, "category_id": 26, "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 0}
CROWD = {"id": 16_711_680, "category_id": 24, "bbox": [5, 0, 2, 2], "area": 4, "iscrowd": 1}


def content() -> dict[str, Any]:
    return {
        "images": [
            {"id": "a", "file_name": "a.jpg", "width": 8, "height": 6},
            {"id": 7, "file_name": "deep/b.jpg", "width": 8, "height": 6},
            {"id": 8, "file_name": "c.jpg", "width": 8, "height": 6},
        ],
        "annotations": [
            {"image_id": "7", "file_name": "deep/b.png", "segments_info": []},
            {"image_id": "a", "file_name": "a.png", "segments_info": copy.deepcopy([ROAD, CAR, CROWD])},
        ],
        "categories": [
            {"id": 7, "name": "road", "supercategory": "flat", "isthing": 0, "color": [1, 2, 3]},
            {"id": 26, "name": "car", "isthing": 1},
        ],
    }


def numbers() -> np.ndarray:
    painted = np.zeros((6, 8), np.uint32)
    painted[4:, :] = 1
    painted[1:3, 1:4] = 70_000
    painted[0:2, 5:7] = 16_711_680
    return painted


def save(path: Path, painted: np.ndarray, alpha: int | None = None) -> None:
    channels = [painted & 255, painted >> 8 & 255, painted >> 16]
    if alpha is not None:
        channels.append(np.full_like(painted, alpha))
    Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "panoptic.json").write_text(json.dumps(content()))
    save(tmp_path / "a.png", numbers())
    return tmp_path


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    changed = content()
    change(changed)
    (root / "panoptic.json").write_text(json.dumps(changed))


def regions(root: Path, png: str | None = "a.png", size: tuple[int, int] | None = SIZE, **options: Any) -> Any:
    entry = panoptic.read_panoptic(root, "panoptic.json").entries["a.jpg"]
    return panoptic.read_regions(root, png, entry, size, "set/a", options.get("keep", lambda segment: True))


# Colours


@pytest.mark.parametrize(
    ("colour", "number"),
    [((255, 0, 0), 255), ((0, 255, 0), 65_280), ((0, 0, 255), 16_711_680), ((3, 2, 1), 66_051), ((0, 0, 0), 0)],
)
def test_red_counts_ones_and_blue_counts_65536s(tmp_path: Path, colour: tuple[int, ...], number: int) -> None:
    Image.new("RGB", (3, 2), colour).save(tmp_path / "one.png")
    assert panoptic.read_numbers(tmp_path / "one.png").tolist() == [[number] * 3] * 2


@pytest.mark.parametrize("alpha", [0, 1, 255])
def test_an_alpha_channel_is_dropped(tmp_path: Path, alpha: int) -> None:
    save(tmp_path / "one.png", numbers(), alpha)
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.mode == "RGBA"
    assert np.array_equal(panoptic.read_numbers(tmp_path / "one.png"), numbers())


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "LA", "1"])
def test_pictures_that_hold_no_colours_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, SIZE).save(tmp_path / "one.png")
    with pytest.raises(SourceError, match=rf"one\.png: is a picture of mode {mode}; expected RGB colours; palettes"):
        panoptic.read_numbers(tmp_path / "one.png")


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    save(tmp_path / "one.png", numbers())
    png = (tmp_path / "one.png").read_bytes()
    at = png.index(b"IDAT") + 8
    (tmp_path / "one.png").write_bytes(png[:at] + b"\xff" * 8 + png[at + 8 :])
    with pytest.raises(SourceError, match=r"one\.png: does not decode"):
        panoptic.read_numbers(tmp_path / "one.png")


@given(
    arrays(np.uint32, (5, 7), elements=st.sampled_from([0, 1, 255, 256, 65_536, 16_777_215])),
    st.lists(st.sampled_from([1, 255, 256, 65_536, 16_777_215]), unique=True, min_size=1),
)
def test_masks_are_those_of_a_comparison_per_number(painted: np.ndarray, listed: list[int]) -> None:
    segments = [panoptic.Segment(id=number, category_id=1) for number in listed]
    masks, strange = panoptic._masks(painted, segments, segments[::2])
    assert set(masks) == set(listed[::2]) & set(painted.ravel().tolist())
    assert strange == sorted(set(painted.ravel().tolist()) - {0, *listed})
    for number, rle in masks.items():
        wanted = coco_mask.encode(np.asfortranarray(painted == number, np.uint8))
        assert {"size": list(rle.size), "counts": rle.counts.encode()} == wanted


# Segments


def test_segments_come_with_masks_and_the_boxes_as_found(root: Path) -> None:
    size, found, noticed = regions(root)
    assert size == SIZE
    assert [(region.segment.id, region.box, coco_mask.area(as_coco(region.mask))) for region in found] == [
        (1, (0, 4, 8, 2), 16),
        (70_000, (1, 1, 3, 2), 6),
        (16_711_680, (5, 0, 2, 2), 4),
    ]
    assert noticed == []


def as_coco(rle: Any) -> dict[str, Any]:
    return {"size": list(rle.size), "counts": rle.counts.encode()}


def test_only_what_is_wanted_is_read(root: Path) -> None:
    _, found, noticed = regions(root, keep=lambda segment: segment.category_id == 26)
    assert [region.segment.id for region in found] == [70_000]
    assert noticed == []  # the numbers of the others are known, not strange


def test_an_annotation_names_its_segment(root: Path) -> None:
    _, found, _ = regions(root)
    row = panoptic.region_annotation("set/a", "set", found[2], "person")
    assert (row.id, row.category, row.source_label, row.iscrowd) == ("set/a#s16711680", "person", "person", True)
    assert (row.x, row.y, row.w, row.h, row.area) == (5, 0, 2, 2, 4)
    assert row.attributes == {"set": {"segment": 16_711_680}}
    row = panoptic.region_annotation("set/a", "set", found[1], "car", ignore=True, facts={"far": True, "near": None})
    assert (row.ignore, row.iscrowd) == (True, False)
    assert row.attributes == {"set": {"segment": 70_000, "far": True}}
    assert not panoptic.region_annotation("set/a", "set", found[2], "person", crowd=False).iscrowd


def test_box_and_area_that_are_not_the_masks_are_reported(root: Path) -> None:
    edit(root, lambda c: c["annotations"][1]["segments_info"][1].update(bbox=[0, 1, 3.5, 2], area=7))
    _, found, noticed = regions(root)
    assert found[1].box == (0, 1, 3.5, 2)
    assert [(said.code, said.where, said.message) for said in noticed] == [
        (
            "B08",
            "panoptic.json, annotations[1].segments_info, id 70000",
            "box [0, 1, 3.5, 2] is not the mask's [1, 1, 3, 2]; kept as found",
        ),
        (
            "B09",
            "panoptic.json, annotations[1].segments_info, id 70000",
            "area is 7, the mask has 6 px; the mask's is taken",
        ),
    ]
    row = panoptic.region_annotation("set/a", "set", found[1], "car")
    assert row.area == 6
    assert row.attributes == {"set": {"segment": 70_000, "area": 7}}


def test_a_segment_without_box_has_the_masks(root: Path) -> None:
    edit(root, lambda c: [segment.pop("bbox") for segment in c["annotations"][1]["segments_info"]])
    _, found, noticed = regions(root)
    assert [region.box for region in found] == [(0, 4, 8, 2), (1, 1, 3, 2), (5, 0, 2, 2)]
    assert noticed == []


def test_segments_without_pixels_keep_their_box_or_are_left_out(root: Path) -> None:
    def change(c: dict[str, Any]) -> None:
        c["annotations"][1]["segments_info"] = [{**CAR, "id": 5}, {"id": 6, "category_id": 26}, {**CAR, "id": 0}]

    edit(root, change)
    _, found, noticed = regions(root)
    assert [(region.segment.id, region.mask, region.box) for region in found] == [
        (5, None, (1, 1, 3, 2)),
        (0, None, (1, 1, 3, 2)),  # number 0 is unlabelled, whoever claims it
    ]
    assert [said.code for said in noticed] == ["N05", "M09", "N02", "M09"]
    assert panoptic.region_annotation("set/a", "set", found[0], "car").area == 6


def test_numbers_that_no_segment_has_are_unlabelled_and_reported(root: Path) -> None:
    edit(root, lambda c: c["annotations"][1].update(segments_info=[CAR]))
    _, found, noticed = regions(root)
    assert [region.segment.id for region in found] == [70_000]
    assert [(said.code, said.where) for said in noticed] == [("N05", "a.png")]
    assert noticed[0].message == "2 numbers that no segment has (1, 16711680); unlabelled"


def test_without_the_picture_boxes_stay(root: Path) -> None:
    size, found, noticed = regions(root, png=None)
    assert size == SIZE
    assert [(region.mask, region.box) for region in found] == [
        (None, (0, 4, 8, 2)),
        (None, (1, 1, 3, 2)),
        (None, (5, 0, 2, 2)),
    ]
    assert [(said.code, said.severity, said.where, said.message) for said in noticed] == [
        (
            "F01",
            "warning",
            "panoptic.json, annotations[1]",
            "its mask a.png is not there; the segments have boxes only",
        )
    ]


def test_the_same_number_means_another_segment_in_another_image(root: Path) -> None:
    """There is no map over all images: each has its own."""

    def change(c: dict[str, Any]) -> None:
        c["annotations"][0]["segments_info"] = [{**CAR, "category_id": 24, "bbox": [0, 4, 8, 2], "area": 16, "id": 1}]

    edit(root, change)
    entries = panoptic.read_panoptic(root, "panoptic.json").entries
    classes = []
    for name in ("a.jpg", "deep/b.jpg"):
        _, found, _ = panoptic.read_regions(root, "a.png", entries[name], SIZE, "set/x", lambda s: s.id == 1)
        classes.append(found[0].segment.category_id)
    assert classes == [7, 24]


# Files


def test_images_are_joined_by_id_of_either_type(root: Path) -> None:
    file = panoptic.read_panoptic(root, "panoptic.json")
    assert {name: (entry.png, entry.place, entry.size) for name, entry in file.entries.items()} == {
        "a.jpg": ("a.png", "annotations[1]", SIZE),
        "deep/b.jpg": ("deep/b.png", "annotations[0]", SIZE),
        "c.jpg": (None, "", SIZE),  # listed without annotation: unlabelled, not empty
    }
    assert file.entries["c.jpg"].segments is None
    assert file.labels[7] == panoptic.Label(7, "road", "flat", 0)
    assert (file.labels[26].supercategory, file.labels[26].isthing) == (None, 1)
    assert file.findings == []


def test_a_file_without_annotations_lists_images(root: Path) -> None:
    edit(root, lambda c: c.pop("annotations"))
    entries = panoptic.read_panoptic(root, "panoptic.json").entries
    assert len(entries) == 3
    assert {entry.segments for entry in entries.values()} == {None}


def test_an_entry_is_small_to_send(root: Path) -> None:
    edit(root, lambda c: c["annotations"].extend({"image_id": "no", "file_name": "x" * 10_000} for _ in range(9)))
    entry = panoptic.read_panoptic(root, "panoptic.json").entries["a.jpg"]
    sent = pickle.dumps(entry)
    assert len(sent) < 1000
    assert [s.id for s in panoptic._segments.decode(pickle.loads(sent).segments)] == [1, 70_000, 16_711_680]


def test_an_annotation_of_no_image_is_left_out_and_reported(root: Path) -> None:
    edit(root, lambda c: c["annotations"][0].update(image_id=9))
    (said,) = panoptic.read_panoptic(root, "panoptic.json").findings
    assert (said.code, said.where) == ("N02", "panoptic.json, annotations[0]")
    assert said.message == "image_id 9 is no image of the file; annotation left out"


@pytest.mark.parametrize(
    ("change", "image", "said"),
    [
        (lambda c: c["images"][0].update(width="8"), "a.jpg", r"images\[0\]\.width: expected `int \| null`, got `str`"),
        (lambda c: c["images"][0].pop("id"), "a.jpg", r"images\[0\]: object missing required field `id`"),
        (lambda c: c["images"].append(c["images"][0]), "a.jpg", r"images\[3\]: names a\.jpg a second time"),
        (
            lambda c: c["annotations"][1].pop("file_name"),
            "a.jpg",
            r"annotations\[1\]: object missing required field `file_name`",
        ),
        (
            lambda c: c["annotations"].append(c["annotations"][1]),
            "a.jpg",
            r"annotations\[2\]: is the second annotation of a\.jpg, after annotations\[1\]",
        ),
        (
            lambda c: c["annotations"][1].update(file_name="../a.png"),
            "a.jpg",
            r"annotations\[1\]\.file_name: is '\.\./a\.png'; expected a path relative to its folder",
        ),
        (lambda c: c["images"][0].update(file_name="/etc/a"), "/etc/a", r"images\[0\]\.file_name: is '/etc/a'"),
        (lambda c: c["images"][0].update(file_name="a\0"), "a\0", r"images\[0\]\.file_name: is 'a\\x00'"),
        (lambda c: c["images"][0].update(file_name=""), "", r"images\[0\]\.file_name: is ''"),
    ],
)
def test_a_fault_of_one_image_is_that_images_error(
    root: Path, change: Callable[[Any], object], image: str, said: str
) -> None:
    edit(root, change)
    entries = panoptic.read_panoptic(root, "panoptic.json").entries
    with pytest.raises(SourceError, match=rf"panoptic\.json, {said}"):
        panoptic.read_regions(root, "a.png", entries[image], SIZE, "set/a", lambda segment: True)
    assert {name for name, entry in entries.items() if entry.error} == {image}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.update(id="1"), r"\[0\]\.id: expected `int`, got `str`"),
        (lambda s: s.update(id=1 << 24), r"\[0\]\.id: expected `int` <= 16777215"),
        (lambda s: s.update(id=-1), r"\[0\]\.id: expected `int` >= 0"),
        (lambda s: s.update(id=70_000), r"\[1\]: id 70000 stands twice; expected each segment once"),
        (lambda s: s.pop("category_id"), r"\[0\]: object missing required field `category_id`"),
        (lambda s: s.update(bbox=[1, 2, 3]), r"\[0\]\.bbox: expected `array` of length 4"),
        (lambda s: s.update(bbox=[1, 2, -3, 4]), r"\[0\]\.bbox: box \[1, 2, -3, 4\] has a negative side"),
        (lambda s: s.update(bbox=[1, 2, 1e300, 4]), r"\[0\]\.bbox\[2\]: expected `float` <= 1"),
        (lambda s: s.update(iscrowd=2), r"\[0\]\.iscrowd: expected `int` <= 1"),
    ],
)
def test_a_broken_segment_is_named_with_its_place(root: Path, change: Callable[[Any], object], said: str) -> None:
    edit(root, lambda c: change(c["annotations"][1]["segments_info"][0]))
    with pytest.raises(SourceError, match=rf"panoptic\.json, annotations\[1\]\.segments_info{said}"):
        regions(root)


def test_sizes_must_agree(root: Path) -> None:
    with pytest.raises(SourceError, match=r"panoptic\.json: was made for 8 x 6 px; its image has 6 x 8"):
        regions(root, size=(6, 8))
    Image.new("RGB", (4, 6)).save(root / "a.png")
    with pytest.raises(SourceError, match=r"a\.png: was made for 4 x 6 px; its image has 8 x 6"):
        regions(root, size=None)
    edit(root, lambda c: c["images"][0].pop("width"))
    assert regions(root, size=None)[0] == (4, 6)
    with pytest.raises(SourceError, match=r"panoptic\.json: does not state the size of a\.jpg"):
        regions(root, png=None, size=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("images"), "object missing required field `images`"),
        (lambda c: c.update(images={}), r"images: expected `array`, got `object`"),
        (lambda c: c["images"][1].pop("file_name"), r"images\[1\]: object missing required field `file_name`"),
        (lambda c: c["images"][1].update(id="a"), r"images\[1\]: id a stands twice; expected each image once"),
        (lambda c: c["annotations"][1].pop("image_id"), r"annotations\[1\]: object missing required field `image_id`"),
        (lambda c: c["categories"][1].update(id=7), r"categories\[1\]: id 7 stands twice; expected each class once"),
        (lambda c: c["categories"][1].update(name=7), r"categories\[1\]\.name: expected `str`, got `int`"),
    ],
)
def test_a_fault_that_is_no_images_is_the_files(root: Path, change: Callable[[Any], object], said: str) -> None:
    edit(root, change)
    with pytest.raises(SourceError, match=rf"panoptic\.json(, |: ){said}"):
        panoptic.read_panoptic(root, "panoptic.json")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], r": JSON is cut short after \d+ bytes"),
        (lambda text: b"", ": file is empty"),
        (lambda text: text.replace(b'"bbox": [1', b'"bbox": [NaN'), r":1:\d+: JSON is malformed at 'NaN"),
        (lambda text: b"[" * 1_000_000, ": (is nested too deeply|expected `object`)"),
    ],
)
def test_text_that_is_no_json_is_named(root: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    path = root / "panoptic.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=rf"panoptic\.json{said}"):
        panoptic.read_panoptic(root, "panoptic.json")
