"""Trains the detector from nothing: seeded, on two cores, in a quarter of an hour."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from enginesmith.converters.torch_models.trained import frcnn_mini, scenes

SCENES = 2500
EPOCHS = 8
BATCH = 8
RATE = 2e-3
WEIGHT_DECAY = 1e-3


def train(progress: Callable[[str], None], count: int = SCENES, epochs: int = EPOCHS, seed: int = 0) -> FasterRCNN:
    """The trained model, in evaluation mode. Deterministic for a number of threads and a version of torch."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    data = list(scenes.scenes("train", count, scenes.TRAINING_SEED))
    progress(f"{count} scenes drawn in {time.perf_counter() - started:.0f} s")

    model = frcnn_mini.build().train()
    steps = epochs * (count // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    for epoch in range(epochs):
        order, total = rng.permutation(count), 0.0
        for step in range(count // BATCH):
            chosen = [_turned(data[i], rng) for i in order[step * BATCH : (step + 1) * BATCH]]
            losses = model([image for image, _ in chosen], [target for _, target in chosen])
            loss = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        parts = ", ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
        progress(f"epoch {epoch + 1} of {epochs}: mean loss {total / (count // BATCH):.3f}, last step's {parts}")
    return model.eval()


def _turned(scene: scenes.Scene, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """A scene mirrored, turned by quarters and lit anew: one of eight ways that the scene could have been drawn."""
    image, boxes = scene.image.astype(np.float32) / 255, scene.boxes
    if rng.random() < 0.5:
        image, boxes = image.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    if rng.random() < 0.5:
        image, boxes = (
            image[:, ::-1],
            np.stack([scenes.SIZE - boxes[:, 2], boxes[:, 1], scenes.SIZE - boxes[:, 0], boxes[:, 3]], axis=1),
        )
    if rng.random() < 0.5:
        image, boxes = (
            image[::-1],
            np.stack([boxes[:, 0], scenes.SIZE - boxes[:, 3], boxes[:, 2], scenes.SIZE - boxes[:, 1]], axis=1),
        )
    image = np.clip(image[..., rng.permutation(3)] * rng.uniform(0.8, 1.2), 0, 1).astype(np.float32)
    picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return picture, {"boxes": torch.from_numpy(np.ascontiguousarray(boxes)), "labels": torch.from_numpy(scene.labels)}
