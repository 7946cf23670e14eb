"""What `--finetune` takes for the zoo's trained models: a few passes more over their training data, at a low rate.

enginesmith build digits --precision int8 --finetune benchmarks/trained/tuning.py:digits --qat
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from enginesmith.converters.torch_models.trained import scenes
from enginesmith.converters.torch_models.trained.digits_data import split

DIGITS_STEPS, DIGITS_BATCH, DIGITS_RATE = 150, 64, 1e-3
SCENES_BATCH = 8


def digits(model: nn.Module) -> Iterator[float]:
    images, labels = (torch.from_numpy(array) for array in split("train"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=DIGITS_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, DIGITS_STEPS)
    model.train()
    for _ in range(DIGITS_STEPS):
        chosen = torch.randint(len(images), (DIGITS_BATCH,))
        shifted = torch.roll(images[chosen, None], tuple(torch.randint(-1, 2, (2,)).tolist()), dims=(2, 3))
        loss = nn.functional.cross_entropy(model(shifted), labels[chosen], label_smoothing=0.05)
        yield _step(loss, optimizer, schedule)


def detector(model: nn.Module) -> Iterator[float]:
    return _scenes(model, 480, 2e-4)


def pruned_detector(model: nn.Module) -> Iterator[float]:
    """Pruning takes more away than int8 does."""
    return _scenes(model, 1200, 4e-4)


def _scenes(model: nn.Module, count: int, rate: float) -> Iterator[float]:
    """One pass over so many scenes. BatchNorm keeps its statistics: a batch of eight gives poor ones."""
    data = list(scenes.scenes("train", count, scenes.TRAINING_SEED))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count // SCENES_BATCH)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    for chosen in torch.randperm(count).split(SCENES_BATCH):
        pairs = [_mirrored(data[index]) for index in chosen.tolist()]
        losses = model([image for image, _ in pairs], [target for _, target in pairs])
        yield _step(torch.stack(list(losses.values())).sum(), optimizer, schedule)


def _mirrored(scene: scenes.Scene) -> tuple[Tensor, dict[str, Tensor]]:
    """As it is, or mirrored, at even odds."""
    image, boxes = scene.image, scene.boxes
    if torch.rand(()) < 0.5:
        image = image[:, ::-1]
        boxes = np.stack([image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], axis=1)
    picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    return picture, {"boxes": torch.from_numpy(np.ascontiguousarray(boxes)), "labels": torch.from_numpy(scene.labels)}


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.item()
