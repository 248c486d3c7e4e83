"""Checkpoints: what is recognised, and what a wrong, cut or hostile file is told."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from curate.demo.tiny_sam import CHECKPOINT
from curate.errors import CurateError, SourceError, UsageError
from curate.prelabel import checkpoints, tiny
from curate.prelabel.torchvision_standin import import_segment_anything

torch = pytest.importorskip("torch", reason="torch is in the extras 'sam' and 'dev'")


def test_the_tiny_one() -> None:
    loaded = checkpoints.load(CHECKPOINT)
    assert loaded.kind == "tiny-test"
    assert not loaded.model.training
    assert loaded.sha256 == checkpoints.sha256_of(CHECKPOINT)
    assert len(loaded.sha256) == 64
    weights = torch.load(CHECKPOINT, weights_only=True)
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, weights[name].float()), name


def test_a_full_size_file_in_the_official_layout(tmp_path: Path) -> None:
    """vit_b with random weights, saved as the official file is: loaded strictly, weight by weight."""
    torch.manual_seed(0)
    model = import_segment_anything().sam_model_registry["vit_b"]()
    torch.save(model.state_dict(), tmp_path / "sam_vit_b.pth")
    loaded = checkpoints.load(tmp_path / "sam_vit_b.pth", kind="vit_b")
    assert loaded.kind == "vit_b"
    assert sum(value.numel() for value in loaded.model.parameters()) == 93_735_472
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    with pytest.raises(SourceError, match="is a checkpoint of vit_b; expected vit_h"):
        checkpoints.load(tmp_path / "sam_vit_b.pth", kind="vit_h")


def test_kinds_are_told_by_their_width() -> None:
    for width, kind in ((768, "vit_b"), (1024, "vit_l"), (1280, "vit_h"), (tiny.WIDTH, "tiny-test")):
        state = {"image_encoder.pos_embed": torch.zeros(1, 2, 2, width)}
        assert checkpoints.kind_of(state, Path("a.pth")) == kind


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("it ran",))


class _Shell:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("echo it ran",))


def weights(**changes: Any) -> dict[str, Any]:
    state = dict(torch.load(CHECKPOINT, weights_only=True))
    for name, value in changes.items():
        if value is None:
            del state[name.replace("__", ".")]
        else:
            state[name.replace("__", ".")] = value
    return state


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty; expected a file of weights"),
        (b"<html>login</html>", "is no file of weights; expected sam_vit_b_01ec64.pth"),
        (b"\0" * 5000, "is no file of weights"),
        (CHECKPOINT.read_bytes()[:200_000], "cannot be read"),
        (pickle.dumps(_Trap(), 2), r"holds more than weights \(.*print\)"),
        (pickle.dumps(_Trap(), 4), "is no file of weights"),
        ({"a": _Shell()}, r"holds more than weights \(.*system\)"),
        ({"a": _Trap()}, r"holds more than weights \(.*print\).*nothing of it was run"),
        ([1, 2], "is no table of weights by name"),
        ({}, "holds no weights"),
        ({"vision_encoder.pos_embed": torch.zeros(1, 2, 2, 768)}, "has no image_encoder.pos_embed.*transformers"),
        (
            {"image_encoder.pos_embed": torch.zeros(1, 2, 2, 160)},
            "is a Segment Anything model of width 160; expected one of",
        ),
        (
            weights(mask_decoder__iou_token__weight=None),
            r"does not fit tiny-test \(mask_decoder.iou_token.weight is missing\); expected the official layout",
        ),
        (weights(extra=torch.zeros(1)), r"does not fit tiny-test \(it has extra too\)"),
        (
            weights(mask_decoder__iou_token__weight=torch.zeros(1, 63)),
            r"does not fit tiny-test \(mask_decoder.iou_token.weight has the shape \(1, 63\) and not \(1, 64\)\)",
        ),
        # A number that says to stand there 10^12 times: small as a file, terabytes once it is converted.
        (
            weights(mask_decoder__iou_token__weight=torch.zeros(1, dtype=torch.float16).expand(10**12)),
            r"does not fit tiny-test \(mask_decoder.iou_token.weight has the shape \(1000000000000,\)",
        ),
        (weights(extra=torch.zeros(1, dtype=torch.float16).expand(10**12)), r"does not fit tiny-test \(it has extra"),
        (
            weights(mask_decoder__iou_token__weight=torch.zeros(1, 64, dtype=torch.int64)),
            r"does not fit tiny-test \(mask_decoder.iou_token.weight holds no plain numbers\)",
        ),
        (weights(mask_decoder__iou_token__weight=torch.zeros(1, 64).to_sparse()), "does not fit tiny-test"),
        (weights(mask_decoder__iou_token__weight=torch.zeros(1, 64, device="meta")), "does not fit tiny-test"),
    ],
    ids=[
        "empty",
        "html",
        "zeros",
        "cut",
        "pickle",
        "newer pickle",
        "shell",
        "trap",
        "list",
        "nothing",
        "other layout",
        "other width",
        "missing",
        "extra",
        "shape",
        "bomb",
        "bomb too many",
        "integers",
        "sparse",
        "no values",
    ],
)
def test_wrong_files_are_one_clear_error(content: Any, said: str, tmp_path: Path, capfd: Any, recwarn: Any) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(SourceError, match=f"^{path}: ({said})") as raised:
        checkpoints.load(path)
    assert "\n" not in str(raised.value)
    assert "weights_only" not in str(raised.value)  # no advice to run it all the same
    assert not recwarn.list
    assert "it ran" not in capfd.readouterr().out


def test_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"has no checkpoint.*sam_vit_b_01ec64\.pth.*--checkpoint; nothing is downloaded"
    ):
        checkpoints.load(None)
    with pytest.raises(SourceError, match=r"no such file.*sam_vit_b_01ec64\.pth"):
        checkpoints.load(tmp_path / "absent.pth")
    with pytest.raises(SourceError, match=f"^{tmp_path}: is a folder"):
        checkpoints.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe: is not a regular file"):
        checkpoints.load(tmp_path / "pipe")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(CurateError, match=r"device 'cuda': cannot be used.*expected cpu"):
        checkpoints.load(CHECKPOINT, device="cuda")
