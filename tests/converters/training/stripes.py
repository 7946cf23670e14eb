"""Stripes in noise, told apart by their direction: a task that a small network learns in seconds."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn

CLASSES, SIZE = 6, 10


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures float32 [count, 1, SIZE, SIZE] and labels int64 [count]."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=g)
    angle = ((labels + 0.6 * (torch.rand(count, generator=g) - 0.5)) * math.pi / CLASSES)[:, None, None]
    phase = 2 * math.pi * torch.rand(count, 1, 1, generator=g)
    at = torch.arange(float(SIZE))
    x, y = torch.meshgrid(at, at, indexing="xy")
    pictures = torch.sin(1.2 * (x * angle.cos() + y * angle.sin()) + phase)
    return (pictures + 0.7 * torch.randn(count, SIZE, SIZE, generator=g))[:, None], labels


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)),
        )


def train(model: nn.Module, steps: int = 100, rate: float = 3e-3) -> Iterator[float]:
    pictures, labels = stripes(2048, 1)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    g = torch.Generator().manual_seed(1)
    model.train()
    for _ in range(steps):
        batch = torch.randint(0, len(pictures), (64,), generator=g)
        loss = nn.functional.cross_entropy(model(pictures[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield float(loss.detach())


def accuracy(model: nn.Module) -> float:
    """On 2048 pictures that the training doesn't see."""
    pictures, labels = stripes(2048, 2)
    model.eval()
    with torch.no_grad():
        return float((model(pictures).argmax(1) == labels).float().mean())


def unbalanced(model: Net, factor: float = 64.0) -> Net:
    """A model that computes the same, with every fourth channel so much larger than the others that one scale for all
    of them leaves little of these: what int8 without training is bad at.
    """
    model = copy.deepcopy(model)
    with torch.no_grad():
        for norm, after in ((model[1], model[3]), (model[4], model[6])):
            scale = torch.ones(norm.num_features)
            scale[::4] = factor
            norm.weight *= scale
            norm.bias *= scale
            after.weight /= scale[:, None, None]
    return model
