"""Segment Anything through the official classes: the same masks as the official predictor, whatever the chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curate.demo.tiny_sam import CHECKPOINT, judge
from curate.errors import CurateError, UsageError
from curate.prelabel import proof, sam
from curate.prelabel.checkpoints import Loaded, load
from curate.prelabel.prompts import Mask, Prompts
from curate.prelabel.segmenters import open_segmenter
from curate.prelabel.tiny import build_tiny

torch = pytest.importorskip("torch", reason="torch is in the extras 'sam' and 'dev'")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    torch.set_num_threads(1)
    return load(CHECKPOINT)


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """A picture of 160 x 120 with its masks and boxes (x, y, w, h)."""
    picture, masks = max(judge.fixed_scenes(12, 160, 120), key=lambda pair: len(pair[1]))
    corners = np.array([judge.tight_box(mask) for mask in masks])
    return picture, masks, np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def official(loaded: Loaded, picture: np.ndarray, **prompt: Any) -> tuple[np.ndarray, np.ndarray]:
    from segment_anything import SamPredictor

    predictor = SamPredictor(loaded.model)
    predictor.set_image(picture)
    masks, qualities, _ = predictor.predict(**prompt)
    return masks, qualities


def differing(a: np.ndarray, b: np.ndarray) -> float:
    return float((a != b).mean())


def test_boxes_give_what_the_official_predictor_gives(loaded: Loaded, scene: Any) -> None:
    picture, _, boxes = scene
    found = list(sam.Sam(loaded).segment(picture, Prompts(boxes=boxes)))
    assert len(found) == len(boxes) >= 3
    for mask, (x, y, w, h) in zip(found, boxes, strict=True):
        (expected,), (quality,) = official(loaded, picture, box=np.array([x, y, x + w, y + h]), multimask_output=False)
        assert mask.pixels.shape == picture.shape[:2]
        assert differing(mask.pixels, expected) < 1e-3
        assert mask.predicted_iou == pytest.approx(float(quality), abs=1e-3)
        assert mask.stability is not None
        assert 0 <= mask.stability <= 1


def test_stability_is_the_official_score(loaded: Loaded, scene: Any) -> None:
    from segment_anything.utils.amg import calculate_stability_score

    picture, _, boxes = scene
    segmenter = sam.Sam(loaded)
    (mask, *_) = segmenter.segment(picture, Prompts(boxes=boxes[:1]))
    x, y, w, h = boxes[0]
    segmenter.predictor.set_image(picture)
    box = segmenter.predictor.transform.apply_boxes(np.array([[x, y, x + w, y + h]]), picture.shape[:2])
    with torch.inference_mode():
        logits, _, _ = segmenter.predictor.predict_torch(
            None, None, torch.as_tensor(box, dtype=torch.float32), multimask_output=False, return_logits=True
        )
    assert mask.stability == pytest.approx(float(calculate_stability_score(logits, 0.0, 1.0)), abs=1e-6)


@pytest.mark.parametrize("chunk", [2, 64])
def test_masks_do_not_depend_on_the_chunk(loaded: Loaded, scene: Any, chunk: int) -> None:
    picture, _, boxes = scene
    one = list(sam.Sam(loaded, chunk=1).segment(picture, Prompts(boxes=boxes)))
    many = list(sam.Sam(loaded, chunk=chunk).segment(picture, Prompts(boxes=boxes)))
    assert max(differing(a.pixels, b.pixels) for a, b in zip(one, many, strict=True)) < 0.01


def test_masks_are_far_better_than_ellipses(loaded: Loaded) -> None:
    """On unseen scenes of another size than those of training."""
    ious: dict[str, list[float]] = {"sam": [], "ellipse": []}
    for picture, masks in judge.fixed_scenes(25, 128, 128):
        corners = np.array([judge.tight_box(mask) for mask in masks]).reshape(-1, 4)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        for segmenter in (sam.Sam(loaded), open_segmenter("ellipse")):
            found = segmenter.segment(picture, Prompts(boxes=boxes))
            ious[segmenter.name] += [judge.iou(a.pixels, b) for a, b in zip(found, masks, strict=True)]
    assert np.mean(ious["sam"]) > np.mean(ious["ellipse"]) + 0.2


def test_points_choose_among_three(loaded: Loaded, scene: Any) -> None:
    picture, masks, _ = scene
    point = np.argwhere(masks[0])[len(np.argwhere(masks[0])) // 2][::-1].astype(float)
    prompts = Prompts(points=point[None, None], point_labels=np.array([[1]]))
    (found,) = sam.Sam(loaded).segment(picture, prompts)
    three, qualities = official(
        loaded, picture, point_coords=point[None], point_labels=np.array([1]), multimask_output=True
    )
    assert differing(found.pixels, three[qualities.argmax()]) < 1e-3
    assert found.predicted_iou == pytest.approx(float(qualities.max()), abs=1e-3)


def test_of_three_masks_the_one_whose_box_agrees(loaded: Loaded, scene: Any) -> None:
    picture, _, boxes = scene
    x, y, w, h = boxes[0]
    corners = np.array([x, y, x + w, y + h])
    (found,) = sam.Sam(loaded, masks=3, choose="box").segment(picture, Prompts(boxes=boxes[:1]))
    three, _ = official(loaded, picture, box=corners, multimask_output=True)
    agreements = [sam.box_agreement(mask, corners) for mask in three]
    assert sam.box_agreement(found.pixels, corners) == pytest.approx(max(agreements), abs=1e-3)


def test_a_mask_can_be_the_prompt(loaded: Loaded, scene: Any) -> None:
    """A mask and its box: at least as good as the box alone, up to little."""
    picture, masks, boxes = scene
    alone = [m.pixels for m in sam.Sam(loaded).segment(picture, Prompts(boxes=boxes))]
    helped = [m.pixels for m in sam.Sam(loaded).segment(picture, Prompts(boxes=boxes, masks=masks))]
    assert helped[0].shape == picture.shape[:2]
    assert any(differing(a, b) > 0 for a, b in zip(alone, helped, strict=True))


def test_box_agreement_by_hand() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 3:7] = True  # box 3, 2, 7, 4
    assert sam.box_agreement(mask, np.array([3, 2, 7, 4])) == 1
    assert sam.box_agreement(mask, np.array([3, 2, 5, 4])) == pytest.approx(4 / 8)
    assert sam.box_agreement(mask, np.array([8, 8, 9, 9])) == 0
    assert sam.box_agreement(np.zeros((4, 4), bool), np.array([0, 0, 4, 4])) == 0


def test_no_prompt_costs_no_embedding(loaded: Loaded, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = sam.Sam(loaded)
    monkeypatch.setattr(segmenter.predictor, "set_image", lambda *given: pytest.fail("the picture was embedded"))
    assert list(segmenter.segment(scene[0], Prompts(boxes=np.zeros((0, 4))))) == []


@pytest.mark.parametrize("shape", [(1, 1), (20, 2000), (64, 64)])
def test_pictures_of_any_shape(loaded: Loaded, shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    box = np.array([[0.0, 0.0, shape[1], shape[0]]])
    (mask,) = sam.Sam(loaded).segment(picture, Prompts(boxes=box))
    assert mask.pixels.shape == shape


def test_out_of_memory_halves_the_chunk(loaded: Loaded, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _, boxes = scene
    boxes = np.concatenate([boxes] * 3)
    segmenter, sizes = sam.Sam(loaded, chunk=8), []
    whole = segmenter._decode

    def small_memory(prompts: Prompts, begin: int, end: int) -> list[Mask]:
        sizes.append(end - begin)
        if end - begin > limit:
            raise torch.OutOfMemoryError("out of memory")
        return whole(prompts, begin, end)

    monkeypatch.setattr(segmenter, "_decode", small_memory)
    limit = 3
    found = list(segmenter.segment(picture, Prompts(boxes=boxes)))
    assert len(found) == len(boxes)
    assert sizes[:3] == [8, 4, 2]
    limit = 0
    with pytest.raises(CurateError, match="one box does not fit the memory"):
        list(segmenter.segment(picture, Prompts(boxes=boxes)))


def test_options_are_checked(loaded: Loaded) -> None:
    for options, said in [
        ({"masks": 2}, "expected 1 or 3"),
        ({"choose": "any"}, "predicted or box"),
        ({"chunk": 0}, "1 or more"),
    ]:
        with pytest.raises(UsageError, match=said):
            sam.Sam(loaded, **options)
    with pytest.raises(UsageError, match="expected one of sam, grabcut, ellipse"):
        open_segmenter("sam2")
    with pytest.raises(UsageError, match="was given a checkpoint"):
        open_segmenter("ellipse", checkpoint=CHECKPOINT)
    with pytest.raises(UsageError, match="was given the option masks"):
        open_segmenter("grabcut", masks=3)


def test_identity_names_what_masks_depend_on(loaded: Loaded) -> None:
    one = sam.Sam(loaded).identity()
    assert (one["kind"], one["checkpoint"]) == ("tiny-test", loaded.sha256)
    assert sam.Sam(loaded, masks=3).identity() != one
    assert sam.Sam(loaded, chunk=7).identity() == one


def test_a_model_without_its_weights_fails_the_proof(loaded: Loaded) -> None:
    torch.manual_seed(1)
    assert proof.prove(sam.Sam(loaded)).segmenter > 0.9
    with pytest.raises(CurateError, match=r"where an ellipse in the box has 0\.50; expected a trained model"):
        proof.prove(sam.Sam(Loaded(build_tiny(), "tiny-test", "0" * 64)))
    with pytest.raises(CurateError, match="segmenter ellipse"):
        proof.prove(open_segmenter("ellipse"))
