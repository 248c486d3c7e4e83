"""Boxes, polygons and masks turn as Pillow turns the picture, and back again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageOps

from curate.geometry import mask_from_rle, rle_bounds, rle_from_mask, rle_from_polygons
from curate.model import Annotation
from curate.turning import back, turned_annotation, turned_mask, turned_size

SIZE = (7, 5)
MASKS = st.integers(1, 2**35 - 1).map(lambda n: np.array(list(f"{n:035b}"), int).reshape(5, 7).astype(bool))
EVERY = st.sampled_from([None, 1, 2, 3, 4, 5, 6, 7, 8])


def seen(mask: np.ndarray, orientation: int | None) -> np.ndarray:
    """As Pillow shows a picture that has this orientation."""
    picture = PilImage.fromarray((mask * 255).astype(np.uint8))
    if orientation is not None:
        picture.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(picture)) > 0


@given(MASKS, EVERY)
def test_all_shapes_of_an_object_turn_as_the_picture_does(mask: np.ndarray, orientation: int | None) -> None:
    rle = rle_from_mask(mask)
    x, y, w, h = rle_bounds(rle)
    corner = [[[x, y, x + w, y, x, y + h]]]
    row = Annotation(id="i#0", image_id="i", x=x, y=y, w=w, h=h, segmentation=rle, polygons=corner)
    turned = turned_annotation(row, SIZE, orientation)
    expected = seen(mask, orientation)
    assert turned.segmentation is not None and turned.polygons is not None
    assert (mask_from_rle(turned.segmentation) > 0).tolist() == expected.tolist()
    assert (turned.x, turned.y, turned.w, turned.h) == rle_bounds(turned.segmentation)
    assert turned_size(SIZE, orientation) == expected.shape[::-1]
    # Of a triangle on corners of pixels, all pixels but those that its long side cuts.
    painted = mask_from_rle(rle_from_polygons(turned.polygons, *turned_size(SIZE, orientation))) > 0
    before = seen(mask_from_rle(rle_from_polygons(corner, *SIZE)) > 0, orientation)
    assert (painted != before).sum() <= max(w, h) + 1
    assert turned_annotation(turned, turned_size(SIZE, orientation), back(orientation)) == row


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_turned_four_times_or_twice_is_itself(orientation: int) -> None:
    mask = rle_from_mask(np.arange(35).reshape(5, 7) % 3 == 0)
    turned = mask
    for _ in range(4 if orientation in (6, 8) else 2):
        turned = turned_mask(turned, orientation)
    assert turned == mask


def test_how_it_was_drawn_does_not_turn() -> None:
    row = Annotation(id="i#0", image_id="i", x=1, y=1, w=2, h=3, attributes={"review": {"turned": [1]}, "seen": 1})
    assert turned_annotation(row, SIZE, 6).attributes == {"seen": 1}
    assert turned_annotation(row, SIZE, None) is row
