"""OWLv2 from a local folder: boxes come back from the padded square, and scores and labels stay with their boxes.

The model is a tiny one of random weights in the library's own layout; its boxes mean nothing, where they lie does.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from curate.dataset import from_records
from curate.errors import CurateError, SourceError, UsageError
from curate.model import Image, Info, SourceRecord
from curate.prelabel import runner, tasks
from curate.prelabel.owlv2 import LONGEST, Owlv2, from_square, suppressed
from curate.prelabel.prompts import Detections

NONE = Detections(np.zeros((0, 4)), np.zeros(0), [], [])


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny OWLv2 of random weights with processor and tokenizer, as ``save_pretrained`` writes them."""
    import torch
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    torch.manual_seed(0)
    torch.set_num_threads(1)
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    # A query whose first token is 0 counts as padding.
    words = ["!", "<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
    texts = common | {"vocab_size": len(words), "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2}
    config = Owlv2Config(
        text_config=texts | {"pad_token_id": 2},
        vision_config=common | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    folder = tmp_path_factory.mktemp("owlv2")
    model = Owlv2ForObjectDetection(config)
    with torch.no_grad():  # numbers of a size at which boxes and scores differ from patch to patch
        for head in (model.box_head, model.objectness_head):
            head.dense2.weight.normal_(0, 0.1)
        model.class_head.logit_scale.weight.normal_(0, 0.1)
        model.class_head.logit_shift.weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[]).save_pretrained(folder)
    return folder


def picture(height: int = 30, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("texts", [(), ("a cat", "a dog", "tram")])
def test_boxes_agree_with_the_librarys_own_reading(weights: Path, texts: tuple[str, ...]) -> None:
    """Without NMS and threshold: what transformers' post-processing gives, clipped to the picture."""
    import torch
    from transformers import CLIPTokenizer, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    found = Owlv2(weights, texts=texts, threshold=0, nms=1).detect(picture(), NONE)
    model = Owlv2ForObjectDetection.from_pretrained(weights).eval()
    processor = Owlv2ImageProcessorPil.from_pretrained(weights)
    pixels = processor(images=[PilImage.fromarray(picture())], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        # Its text path needs texts; boxes do not depend on them, objectness is another head.
        tokens = CLIPTokenizer.from_pretrained(weights)(
            list(texts or ["a"]), padding="max_length", max_length=8, truncation=True, return_tensors="pt"
        )
        out = model(pixel_values=pixels, **tokens)
        if not texts:
            grid = model.image_embedder(pixel_values=pixels)[0]
            out.logits = model.objectness_predictor(grid.reshape(1, 16, -1))[..., None]
        (theirs,) = processor.post_process_object_detection(out, threshold=0.0, target_sizes=[(30, 50)])
    corners = theirs["boxes"].numpy().clip(0, [50, 30, 50, 30])
    expected = {}
    for box, score, label in zip(corners, theirs["scores"].numpy(), theirs["labels"].numpy(), strict=True):
        if (box[2:] - box[:2] >= 1).all():
            expected[tuple(np.round([*box[:2], *(box[2:] - box[:2])], 1))] = (score, texts[label] if texts else None)
    assert len(found.boxes) == len(expected) > 3
    assert found.parents == [None] * len(found.boxes)
    assert (np.diff(found.scores) <= 0).all()
    for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
        (at,) = [key for key in expected if np.allclose(key, box, atol=0.11)]
        assert expected[at][0] == pytest.approx(score, abs=2e-4)
        assert expected[at][1] == label


def test_from_the_square_to_the_picture() -> None:
    """A picture 100 x 50 fills the upper half of its square."""
    squares = np.array(
        [
            [0.5, 0.25, 1.0, 0.5],  # the whole picture
            [0.1, 0.1, 0.1, 0.2],
            [0.5, 0.75, 0.2, 0.2],  # in the padding
            [0.5, 0.5, 0.2, 0.2],  # half in it
            [0.0, 0.0, 0.2, 0.2],  # over the corner
        ]
    )
    boxes = from_square(squares, 100, 50)
    expected = [[0, 0, 100, 50], [5, 0, 10, 20], [40, 50, 20, 0], [40, 40, 20, 10], [0, 0, 10, 10]]
    np.testing.assert_allclose(boxes, expected)
    np.testing.assert_allclose(from_square(squares[:, [1, 0, 3, 2]], 50, 100), boxes[:, [1, 0, 3, 2]])


def test_a_panorama_is_made_smaller_before_it_is_padded(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own way through a square of 20,000 px takes 20 GB; what it is given is seen here."""
    detector = Owlv2(weights, threshold=0, nms=1)
    seen = []
    monkeypatch.setattr(
        detector, "processor", lambda images, **options: seen.extend(images) or {"pixel_values": _zeros()}
    )
    monkeypatch.setattr(detector, "_raw", lambda pixels: (square, np.array([0.9]), np.array([0])))
    square = np.array([[0.5, 0.0005, 0.2, 0.001]])  # of 20,000: x 8,000 to 12,000; y to 20 and not beyond
    assert detector.detect(picture(20, 20_000), NONE).boxes.tolist() == [[8000.0, 0.0, 4000.0, 20.0]]
    assert detector.detect(picture(20_000, 20), NONE).boxes.tolist() == []  # all of it lies in the padding
    assert detector.detect(picture(30, LONGEST), NONE).boxes.tolist() == [[1638.4, 0.0, 819.2, 4.1]]
    assert [one.shape[:2] for one in seen] == [(4, LONGEST), (LONGEST, 4), (30, LONGEST)]


def test_a_picture_of_one_pixel_and_no_words(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library wonders aloud which of three sides of 1, 1 and 3 is the colours'; its settings are left alone."""
    detector, said = Owlv2(weights), []
    library = logging.getLogger("transformers")
    monkeypatch.setattr(library, "handle", lambda record: said.append(record.getMessage()))
    monkeypatch.setattr(logging.getLogger("transformers.image_utils"), "handle", library.handle)
    monkeypatch.setattr(logging.getLogger("transformers.image_transforms"), "handle", library.handle)
    before = library.level
    detector.detect(picture(1, 1), NONE)
    assert said == []
    assert library.level == before


def _zeros() -> Any:
    import torch

    return torch.zeros(1, 3, 32, 32)


def test_suppression_is_by_brute_force() -> None:
    """Boxes, scores and labels stay together; of doubles of one label the best stays."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        boxes = np.concatenate([rng.uniform(0, 60, (40, 2)), rng.uniform(5, 40, (40, 2))], axis=1)
        scores, labels = rng.permutation(40) / 40, rng.integers(0, 2, 40)
        left = list(range(40))
        kept = []
        while left:
            best = max(left, key=lambda i: scores[i])
            kept.append(best)
            left = [i for i in left if i != best and (labels[i] != labels[best] or iou(boxes[i], boxes[best]) <= 0.4)]
        assert suppressed(boxes, scores, labels, 0.4).tolist() == kept
    assert suppressed(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 0.4).tolist() == []


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return float(width * height / (a[2] * a[3] + b[2] * b[3] - width * height))


def test_scores_are_filtered_with_their_boxes(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five planted boxes: one too weak, one a double, one in the padding; the others with their own score and label."""
    squares = np.array(
        [
            [0.2, 0.2, 0.2, 0.2],
            [0.2, 0.2, 0.2, 0.21],
            [0.7, 0.2, 0.2, 0.2],
            [0.5, 0.95, 0.1, 0.05],
            [0.7, 0.21, 0.2, 0.2],
        ]
    )
    planted = squares, np.array([0.5, 0.9, 0.1, 0.8, 0.6]), np.array([0, 0, 0, 1, 1])
    owl = Owlv2(weights, texts=("cat", "dog"))
    monkeypatch.setattr(owl, "_raw", lambda pixels: planted)
    found = owl.detect(picture(50, 100), NONE)
    assert found.scores.tolist() == [0.9, 0.6]
    assert list(found.labels) == ["cat", "dog"]
    np.testing.assert_allclose(found.boxes, [[10, 9.5, 20, 21], [60, 11, 20, 20]], atol=0.01)


def test_nothing_is_fetched(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    Owlv2(weights, texts=["cat"])
    with pytest.raises(SourceError, match="no such folder"):
        Owlv2(tmp_path / "google" / "owlv2-base-patch16-ensemble")


def damaged(weights: Path, folder: Path, what: str) -> Path:
    shutil.copytree(weights, folder)
    if what == "absent":
        shutil.rmtree(folder)
    elif what == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif what == "cut":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif what == "other":
        (folder / "config.json").write_text(json.dumps({"model_type": "owlvit"}))
    elif what == "no json":
        (folder / "config.json").write_text("{")
    elif what == "no tokens":
        for name in ("tokenizer.json", "vocab.json"):
            (folder / name).unlink(missing_ok=True)
    elif what == "lacking":
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        save_file(
            {k: v for k, v in state.items() if "box_head" not in k}, folder / "model.safetensors", {"format": "pt"}
        )
    return folder


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("absent", "no such folder; expected a folder with OWLv2; download google/owlv2"),
        ("pickle", "has no model.safetensors; .*weights in other forms can run code and are not read"),
        ("cut", "cannot be read as OWLv2"),
        ("other", "model_type is 'owlvit'; expected 'owlv2'"),
        ("no json", "does not parse"),
        ("no tokens", "has no tokenizer.json"),
        ("lacking", r"weights are missing or of another shape \(box_head"),
    ],
)
def test_a_folder_that_will_not_do(weights: Path, tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        Owlv2(damaged(weights, tmp_path / "w", what), texts=["cat"])
    assert "\n" not in caught.value.line


def test_what_is_refused(weights: Path) -> None:
    with pytest.raises(UsageError, match="has no folder of weights"):
        Owlv2(None)
    with pytest.raises(UsageError, match="threshold = 2"):
        Owlv2(weights, threshold=2)
    with pytest.raises(UsageError, match="blank or stands twice"):
        Owlv2(weights, texts=["a", "a"])
    with pytest.raises(UsageError, match="device 'cuda'"):
        Owlv2(weights, device="cuda")


def test_the_identity_knows_the_weights_and_the_texts(weights: Path, tmp_path: Path) -> None:
    plain, other = Owlv2(weights).identity(), Owlv2(weights, texts=["cat"]).identity()
    assert (plain["texts"], other["texts"]) == ([], ["cat"])
    copied = Owlv2(damaged(weights, tmp_path / "copy", "nothing")).identity()
    assert copied == plain
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config, indent=3))
    assert Owlv2(tmp_path / "copy").identity()["weights"] != plain["weights"]


def test_new_objects_of_new_classes(weights: Path, tmp_path: Path) -> None:
    records: list[Any] = []
    for i in range(3):
        PilImage.fromarray(np.roll(picture(), i, axis=2)).save(tmp_path / f"{i}.png")
        records.append(Image(id=f"d/{i}", source="d", file_name=f"{i}.png", width=50, height=30))
    info = Info(name="d", sources={"d": SourceRecord(title="D")}, roots={"d": str(tmp_path)})
    dataset = from_records(info, records)
    options = {"weights": weights, "texts": ["cat", "dog"], "threshold": 0.0}

    def made(folder: str, **how: Any) -> runner.Outcome:
        todo = tasks.select_images(dataset)
        return runner.run(
            dataset, todo, tmp_path / folder, "ellipse", detector="owlv2", detector_options=options, shard=1, **how
        )

    outcome = made("w")
    rows = outcome.dataset.table("annotations").to_pylist()
    assert len(rows) == outcome.masks > 5
    assert {row["image_id"] for row in rows} == {"d/0", "d/1", "d/2"}
    for row in rows:
        facts = json.loads(row["attributes"])["prelabel"]
        assert (row["parent_id"], row["status"], row["origin"]) == (None, "proposal", "model:ellipse")
        assert row["category"] == row["source_label"]
        assert row["category"] in {"cat", "dog"}
        assert 0 <= row["score"] <= 1
        assert facts["detector"]["weights"] == Owlv2(weights, texts=["cat"]).identity()["weights"]
        assert len(facts["prompt"]["box"]) == 4
    assert {row["category"] for row in rows} <= set(outcome.dataset.table("categories")["name"].to_pylist())
    assert made("two", jobs=2).dataset.fingerprint() == outcome.dataset.fingerprint()


def test_a_missing_library_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(CurateError, match=r"transformers.*pip install 'curate\[detect\]'"):
        Owlv2(weights)
