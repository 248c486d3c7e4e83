"""Foreign COCO files: oddities become findings and are kept, broken images end the import with their place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage
from pycocotools import mask as coco_mask

from curate import coco
from curate.errors import SourceError
from curate.geometry import mask_from_rle
from curate.importing import import_source
from curate.model import Rle

IMAGE = {"id": 1, "file_name": "a.png", "width": 20, "height": 10}
BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}


def document(**parts: Any) -> dict[str, Any]:
    return {"images": [IMAGE], "annotations": [], "categories": [{"id": 1, "name": "car"}], **parts}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(value: Any, **options: Any) -> Any:
        file = tmp_path / "file.json"
        if isinstance(value, bytes):
            file.write_bytes(value)
        else:
            file.write_text(value if isinstance(value, str) else json.dumps(value))
        return coco.read(file, **options)

    return read


def codes(dataset: Any) -> list[tuple[str, str]]:
    return [(problem.code, problem.where.partition(", ")[2]) for problem in dataset.problems]


def test_ids_are_derived_from_file_names(read: Any) -> None:
    names = ["./b/1.jpg", "/abs/2.jpg", "c\\3.jpg", "4.jpg", None]
    images = [{**IMAGE, "id": i, "file_name": name} for i, name in enumerate(names)]
    dataset = read(document(images=images, annotations=[{**BOX, "id": 70, "image_id": 0}]))
    assert dataset.table("images")["id"].to_pylist() == [
        "coco/4", "coco/4.jpg", "coco/abs/2.jpg", "coco/b/1.jpg", "coco/c/3.jpg",
    ]  # fmt: skip
    assert dataset.table("annotations")["id"].to_pylist() == ["coco/b/1.jpg#70"]
    assert not dataset.problems


def test_text_ids_are_accepted(read: Any) -> None:
    dataset = read(document(images=[{**IMAGE, "id": "one"}], annotations=[{**BOX, "id": "x", "image_id": "one"}]))
    assert dataset.table("annotations")["id"].to_pylist() == ["coco/a.png#x"]


@pytest.mark.parametrize("value", [[1], {"n": 1}, True])
def test_an_annotation_id_that_cannot_be_one_breaks_its_image(read: Any, value: Any) -> None:
    rows = [{**BOX, "id": value}, {**BOX, "id": 2}]
    with pytest.raises(SourceError) as caught:
        read(document(annotations=rows))
    assert f"annotations[0]: id is {value!r}; expected a whole number" in caught.value.lines[1]
    assert read(document(annotations=rows), skip_bad=True).counts()["images"] == 0


def test_annotation_ids_that_are_null_or_very_large(read: Any) -> None:
    rows = [{**BOX, "id": None}, {**BOX, "id": 10**30}, {**BOX, "id": None}, {**BOX, "id": 4}]
    ids = read(document(annotations=rows)).table("annotations")["id"].to_pylist()
    assert ids == ["coco/a.png#1" + "0" * 30, "coco/a.png#4", "coco/a.png#@0", "coco/a.png#@2"]


def test_numbers_that_no_column_holds_stay_in_their_row(read: Any, tmp_path: Path) -> None:
    areas = [1 << 60, 10**30, 12, 1.5, (1 << 53) + 1]
    rows = [{**BOX, "id": i, "area": area} for i, area in enumerate(areas, 1)]
    dataset = read(document(annotations=rows))
    assert dataset.table("annotations")["area"].to_pylist() == [None, None, 12, 1.5, None]
    coco.write(dataset, tmp_path / "out.json")
    assert [row["area"] for row in json.loads((tmp_path / "out.json").read_text())["annotations"]] == areas


def test_what_is_kept_of_an_image_does_not_depend_on_its_neighbours(read: Any, tmp_path: Path) -> None:
    """The rows of a file are decoded some thousand at a time; foreign keys of one are nothing to the others."""
    other = {**IMAGE, "id": 2, "file_name": "b.png", "flickr_url": "x"}
    for images in ([IMAGE], [IMAGE, other]):
        dataset = read(document(images=images))
        assert dataset.table("images")["attributes"][0].as_py() == '{"coco_id":1}'
        coco.write(dataset, tmp_path / "out.json", overwrite=True)
        again = coco.read(tmp_path / "out.json")
        assert again.table("images").equals(dataset.table("images"))
        assert again.fingerprint() == dataset.fingerprint()


def test_an_empty_dataset_and_absent_keys(read: Any) -> None:
    dataset = read({"images": []})
    assert dataset.counts() == {"images": 0, "annotations": 0, "categories": 0}


def test_oddities_are_findings_and_nothing_is_lost(read: Any) -> None:
    rows = [
        {**BOX, "id": 1},
        {**BOX, "id": 1},  # again
        {**BOX, "id": 2, "image_id": 99},
        {**BOX, "id": 3, "category_id": 99},
        {**BOX, "id": 4, "iscrowd": 2},
        {**BOX, "id": 5, "segmentation": [[1, 1, 2, 2, 3]]},
        {**BOX, "id": 6, "segmentation": {"size": [10, 20], "counts": [199]}},
        {**BOX, "id": 7, "segmentation": {"size": [10, 20], "counts": "abc"}},
        {**BOX, "id": 8, "segmentation": {"size": [20, 10], "counts": [200]}},
        {**BOX, "id": 9, "segmentation": {"size": [10, 20], "counts": [200], "transpose": True}},
        {**BOX, "id": 10, "segmentation": {"size": [10**6, 10**6], "counts": "0"}},
    ]
    dataset = read(document(annotations=rows))
    assert codes(dataset) == [
        ("M01", "annotations[5]"),
        ("M04", "annotations[6]"),
        ("M04", "annotations[7]"),
        ("M05", "annotations[8]"),
        ("M06", "annotations[10]"),
        ("M07", "annotations[4]"),
        ("M08", "annotations[9]"),
        ("R01", "annotations[1]"),
        ("R02", "annotations[2]"),
        ("R02", "annotations[3]"),
    ]
    kept = {row["id"].rpartition("#")[2]: row for row in dataset.table("annotations").to_pylist()}
    assert len(kept) == len(rows)
    for i, row in ((5, rows[5]), (6, rows[6]), (7, rows[7]), (9, rows[9]), (10, rows[10])):
        found = kept[str(i)]
        assert found["segmentation"] is None and found["polygons"] is None
        assert json.loads(found["attributes"])["coco"]["segmentation"] == row["segmentation"]
    assert json.loads(kept["3"]["attributes"])["coco"] == {"category_id": 99}
    assert kept["3"]["category"] is None
    assert kept["8"]["segmentation"]["size"] == [20, 10]  # of another size, but sound in itself
    assert json.loads(kept["4"]["attributes"])["coco"] == {"iscrowd": 2}


def test_duplicate_names_and_ids(read: Any) -> None:
    images = [IMAGE, {**IMAGE, "id": 2}, {**IMAGE, "id": 1, "file_name": "b.png"}]
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "car"}, {"id": 1, "name": "dog"}]
    dataset = read(
        document(images=images, categories=categories, annotations=[BOX, {**BOX, "id": 2, "category_id": 2}])
    )
    assert [code for code, _ in codes(dataset)] == ["R01", "R01", "R05", "R07"]
    assert dataset.table("images")["id"].to_pylist() == ["coco/a.png", "coco/a.png@2", "coco/b.png"]
    assert dataset.table("annotations")["category"].cast("string").to_pylist() == ["car", "car"]


@pytest.mark.parametrize("counts", [[0, 200], [200], [0, 5, 195], [13, 1, 9, 1, 176], [3, 197], [199, 1]])
def test_plain_run_lengths_become_the_compressed_ones_of_pycocotools(read: Any, counts: list[int]) -> None:
    value = {"size": [10, 20], "counts": counts}
    (row,) = read(document(annotations=[{**BOX, "segmentation": value}])).table("annotations").to_pylist()
    expected = coco_mask.frPyObjects(value, 10, 20)
    assert row["segmentation"] == {"size": [10, 20], "counts": expected["counts"].decode()}
    decoded = mask_from_rle(Rle(tuple(row["segmentation"]["size"]), row["segmentation"]["counts"]))
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    assert (decoded == flat.reshape(20, 10).T).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"bbox": [1, 2, 3]}, "bbox is [1, 2, 3]; expected [x, y, w, h]"),
        ({"bbox": [1, 2, 3, "4"]}, "expected four numbers"),
        ({"bbox": [1, 2, 3, True]}, "expected four numbers"),
        ({"bbox": [9, 9, -3, 4]}, "has a negative side; expected [x, y, width, height]"),
        ({"bbox": "1 2 3 4"}, "bbox is '1 2 3 4'"),
        ({"segmentation": [[0, 0, 1e9, 0, 5, 5]]}, "segmentation[0]: vertex 1 is at x = 1000000000.0"),
    ],
)
def test_broken_images_are_named_with_their_place(read: Any, row: dict[str, Any], message: str) -> None:
    rows = [BOX, {**BOX, "id": 2, "image_id": 2, **row}]
    broken = document(images=[IMAGE, {**IMAGE, "id": 2, "file_name": "b.png"}], annotations=rows)
    with pytest.raises(SourceError) as caught:
        read(broken)
    assert "1 of 2 images are broken" in caught.value.lines[0]
    assert "annotations[1]" in caught.value.lines[1]
    assert message in caught.value.lines[1]
    dataset = read(broken, skip_bad=True)
    assert dataset.counts() == {"images": 1, "annotations": 1, "categories": 1}
    (problem,) = dataset.problems
    assert (problem.code, problem.item) == ("N03", "coco/b.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON"),
        (b'{"images": [{"id": 1', "is the file complete?"),
        (b"[]", "a results file holds no images"),
        (b'[{"image_id": 1, "score": 0.5}]', "a results file holds no images"),
        (b'{"annotations": []}', "has no key 'images' (keys: annotations)"),
        (b'{"images": {}}', "images: is no list"),
        (b'{"images": [3]}', "images[0]: "),
        (b'{"images": [{"id": 1}, {"id": NaN}]}', "is no JSON"),
        (b'{"images": [{"id": 1, "width": 1e999}]}', "images[0]: "),
        (b'{"images": [], "categories": [{"name": "car"}]}', "categories[0]: id None, name 'car'"),
        (b'{"images": [{"id": 1}, {"id": 2, "file_name": "\xff"}]}', "images[1]: "),
        (b'{"images": ' + b"[" * 100_000, "is no JSON"),
        (b'{"images": [' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}", ""),
        (b'{"images": [], "curate": {"schema_version": "9.0", "columns": {}}}', "upgrade curate"),
    ],
)
def test_other_files_are_refused_in_one_line(read: Any, content: bytes, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(content)
    assert message in str(caught.value)
    assert "file.json" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        coco.read(tmp_path / "none.json")
    with pytest.raises(SourceError, match="is a folder"):
        coco.read(tmp_path)


def test_an_image_without_id_is_broken(read: Any) -> None:
    with pytest.raises(SourceError, match=r"images\[1\]: id is None; expected a whole number"):
        read(document(images=[IMAGE, {"file_name": "b.png"}]))


def test_a_byte_order_mark_is_no_obstacle(read: Any) -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(document()).encode()).counts()["images"] == 1


def test_with_a_root_the_pictures_are_looked_at(read: Any, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    PilImage.fromarray(noise).save(pictures / "a.png")
    PilImage.new("RGB", (10, 20)).save(pictures / "turned.png")
    PilImage.new("RGB", (7, 5)).save(pictures / "unstated.png")
    images = [
        IMAGE,
        {**IMAGE, "id": 2, "file_name": "turned.png"},
        {"id": 3, "file_name": "unstated.png"},
        {**IMAGE, "id": 4, "file_name": "gone.png"},
    ]
    dataset = read(document(images=images), root=pictures, checksums=True)
    assert codes(dataset) == [("I01", "images[3]"), ("I02", "images[1]")]
    rows = {row["file_name"]: row for row in dataset.table("images").to_pylist()}
    assert (rows["unstated.png"]["width"], rows["unstated.png"]["height"]) == (7, 5)
    assert (rows["turned.png"]["width"], rows["turned.png"]["height"]) == (20, 10)  # as the record says
    assert len(rows["a.png"]["sha256"]) == 64 and rows["gone.png"]["sha256"] is None
    assert dataset.info.roots == {"coco": str(pictures)}
    whole = (pictures / "a.png").read_bytes()
    (pictures / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"a\.png: .*cut short"):
        read(document(images=images), root=pictures)


@pytest.mark.parametrize("key", ["curate", "info"])
def test_text_that_is_not_utf_8_beside_the_rows(tmp_path: Path, key: str) -> None:
    """The decoder leaves parts as they are at first, and says only later that they are no text."""
    file = tmp_path / "x.json"
    other = b'"%s": {"schema_version": "\xff\xfe", "columns": {}, "info": {}}' % key.encode()
    file.write_bytes(b'{"images": [], "annotations": [], "categories": [], ' + other + b"}")
    with pytest.raises(SourceError, match=f"{key}: is not UTF-8 text"):
        coco.read(file)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.json")
    with pytest.raises(SourceError, match="is not a regular file; expected a COCO JSON file"):
        coco.read(tmp_path / "f.json")
    with pytest.raises(SourceError, match="is not a regular file; expected a COCO JSON file"):
        import_source("coco", tmp_path / "f.json")
