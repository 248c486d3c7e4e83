"""Trains ``tiny-test`` on drawn scenes, on a CPU, in a quarter of an hour.

::

    python -m curate.demo.tiny_sam.train -o tiny-test.pt [--minutes 15] [--seed 0]

A pool of scenes is drawn once; each time one is used it is turned, mirrored, and its colours change places. Of every
picture up to six objects are asked for, most by a box that is a little off, some by a point. The loss of a mask is
cross-entropy and dice, for the single mask and for the best of the three others; the model's own judgement is held
against the true IoU. What is kept is the moving average of the weights.

The official decoder takes one picture per call. Here its layers are called once for all prompts of a batch, with the
picture's embedding repeated: the same weights, a fraction of the time.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.demo.tiny_sam.judge import fixed_scenes, judge, scene_of, tight_box
from curate.prelabel.tiny import SIDE, build_tiny

Random = np.random.Generator
BATCH = 24  # pictures
PROMPTS = 6  # objects asked for in one picture
POOL = 6000
PEAK = 1.5e-3  # learning rate
WARM_UP = 100  # steps
AVERAGE = 0.998  # of the moving average, per step
BOXES = 0.8  # share of prompts that are boxes; the others are points


class Drawn(NamedTuple):
    """A scene for training: picture ``(64, 64, 3)`` of bytes and masks ``(n, 64, 64)`` of bool."""

    picture: NDArray[np.uint8]
    masks: NDArray[np.bool_]


class Prompted(NamedTuple):
    """The prompts of a batch: which picture each belongs to, boxes or points, and the true masks."""

    owner: list[int]
    given: list[Any]
    masks: list[NDArray[np.bool_]]


def load(path: str | Path) -> Any:
    """The model with the weights of a checkpoint, in evaluation mode."""
    import torch

    model = build_tiny()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    return model


def draw(seed: int) -> Drawn:
    picture, masks = scene_of(seed)
    return Drawn(picture, np.array(masks).reshape(-1, SIDE, SIDE))


def pool_of(size: int, seed: int, jobs: int = 2) -> list[Drawn]:
    """``size`` scenes that show something."""
    seeds = range(seed * 100_000, seed * 100_000 + size)
    if size < 100:
        drawn = list(map(draw, seeds))
    else:
        with ProcessPoolExecutor(jobs) as workers:
            drawn = list(workers.map(draw, seeds, chunksize=50))
    return [scene for scene in drawn if len(scene.masks)]


def varied(rng: Random, scene: Drawn) -> Drawn:
    """One of the sixteen ways to turn and mirror a square, its colour channels in any order, lighter or darker."""
    picture, masks = scene.picture[..., rng.permutation(3)].astype(np.float32), scene.masks
    picture = np.clip(picture * rng.uniform(0.8, 1.2) + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
    turns = int(rng.integers(4))
    picture, masks = np.rot90(picture, turns), np.rot90(masks, turns, (1, 2))
    if rng.random() < 0.5:
        picture, masks = picture[:, ::-1], masks[:, :, ::-1]
    return Drawn(np.ascontiguousarray(picture), masks)


def ask(rng: Random, scenes: list[Drawn]) -> tuple[Prompted, Prompted]:
    """Boxes and points for objects of ``scenes``."""
    boxes, points = Prompted([], [], []), Prompted([], [], [])
    for i, scene in enumerate(scenes):
        for n in rng.permutation(len(scene.masks))[:PROMPTS]:
            mask = scene.masks[n]
            if rng.random() < BOXES:
                box = tight_box(mask)
                off = rng.normal(0, 0.03, 4) * np.tile(box[2:] - box[:2], 2) * (rng.random() < 0.7)
                given, group = np.clip(box + off, 0, SIDE), boxes
            else:
                given, group = np.argwhere(mask)[rng.integers(mask.sum())][::-1][None] + 0.0, points
            group.owner.append(i)
            group.given.append(given)
            group.masks.append(mask)
    return boxes, points


def decode(model: Any, embedding: Any, sparse: Any, dense: Any) -> tuple[Any, Any]:
    """Mask logits ``(n, 4, 64, 64)`` and expected IoU ``(n, 4)`` for n prompts, each with its picture's embedding."""
    import torch

    decoder, n = model.mask_decoder, len(embedding)
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(n, -1, -1)
    positions = model.prompt_encoder.get_dense_pe().expand(n, -1, -1, -1)
    out, seen = decoder.transformer(embedding + dense, positions, torch.cat([tokens, sparse], dim=1))
    features = decoder.output_upscaling(seen.transpose(1, 2).reshape(embedding.shape))
    weights = torch.stack([mlp(out[:, 1 + k]) for k, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    return torch.einsum("nkc,nchw->nkhw", weights, features), decoder.iou_prediction_head(out[:, 0])


def loss_of(logits: Any, expected: Any, truth: Any) -> Any:
    """Of logits ``(n, 4, h, w)``, expected IoU ``(n, 4)`` and true masks ``(n, h, w)`` of 0 and 1."""
    import torch
    from torch.nn import functional

    wanted = truth[:, None].expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((2, 3))
    inside = logits.sigmoid()
    shared = (inside * wanted).sum((2, 3))
    jaccard = 1 - (shared + 1) / (inside.sum((2, 3)) + wanted.sum((2, 3)) - shared + 1)
    each = 2 * entropy + jaccard
    with torch.no_grad():
        hard, real = logits > 0, wanted > 0.5
        true_iou = (hard & real).sum((2, 3)) / (hard | real).sum((2, 3)).clamp(min=1)
    # The three others serve ambiguous points; for a box only the single mask is used.
    several = each[:, 1:].min(dim=1).values
    return (each[:, 0] + 0.5 * several).mean() + functional.mse_loss(expected, true_iou)


def step_loss(model: Any, rng: Random, scenes: list[Drawn]) -> Any:
    """The loss of one batch."""
    import torch
    from torch.nn import functional

    pictures = [torch.from_numpy(scene.picture).permute(2, 0, 1).float() for scene in scenes]
    embedding = model.image_encoder(torch.stack([model.preprocess(picture) for picture in pictures]))
    losses, asked = [], 0
    for kind, prompts in zip(("box", "point"), ask(rng, scenes), strict=True):
        if not prompts.owner:
            continue
        given = torch.from_numpy(np.array(prompts.given)).float()
        if kind == "box":
            sparse, dense = model.prompt_encoder(points=None, boxes=given, masks=None)
        else:
            labels = torch.ones(len(given), 1, dtype=torch.int)
            sparse, dense = model.prompt_encoder(points=(given + 0.5, labels), boxes=None, masks=None)
        logits, expected = decode(model, embedding[torch.tensor(prompts.owner)], sparse, dense)
        if logits.shape[-1] != SIDE:
            logits = functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
        truth = torch.from_numpy(np.stack(prompts.masks)).float()
        losses.append(loss_of(logits, expected, truth) * len(given))
        asked += len(given)
    return torch.stack(losses).sum() / asked


def rate(done: float) -> float:
    """The learning rate's share of its peak when a share ``done`` of the time is over: a cosine down to nothing."""
    return float(0.5 * (1 + np.cos(np.pi * min(done, 1.0))))


def train(
    output: Path, *, minutes: float, seed: int = 0, pool: int = POOL, steps: int | None = None, every: int = 200
) -> list[float]:
    """Train for ``minutes``, or for ``steps``; writes the checkpoint (half precision) and prints a line now and then.

    Returns:
        the loss of every step.
    """
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    begin, begin_cpu = time.monotonic(), time.process_time()
    scenes = pool_of(pool, seed)
    print(f"{len(scenes)} scenes drawn in {time.monotonic() - begin:.0f} s", flush=True)
    model = build_tiny().train()
    average = build_tiny()
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01)
    losses: list[float] = []
    while True:
        n, spent = len(losses), time.monotonic() - begin
        done = n / steps if steps else spent / (60 * minutes)
        if n and (n % every == 0 or done >= 1):
            figures = judge(average, list(fixed_scenes(100 if done >= 1 else 30)))
            cpu = time.process_time() - begin_cpu
            print(
                f"step {n}, {spent:.0f} s, CPU {cpu:.0f} s, loss {np.mean(losses[-every:]):.3f}: {figures.line()}",
                flush=True,
            )
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = PEAK * min(1, (n + 1) / WARM_UP) * rate(done)
        batch = [varied(rng, scenes[i]) for i in rng.integers(len(scenes), size=BATCH)]
        loss = step_loss(model, rng, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        keep = min(AVERAGE, n / (n + 10))
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(theirs, 1 - keep)
    torch.save({name: value.half() for name, value in average.state_dict().items()}, output)
    return losses


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.output, minutes=options.minutes, seed=options.seed)


if __name__ == "__main__":
    main()
