"""A convolutional classifier of scikit-learn's handwritten digits (8x8 pixels; UCI, E. Alpaydin, C. Kaynak), trained in
seconds.

    enginesmith build benchmarks/trained/digits.py:factory --weights digits.pt
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

HELD_OUT = 500
EPOCHS = 12
BATCH = 64
RATE = 5e-3


def factory() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return build(), (torch.zeros(1, 1, 8, 8),)


def calibration() -> Iterator[Tensor]:
    """Training digits, float32[1, 1, 8, 8] in 0..1."""
    images, _ = split("train")
    yield from torch.from_numpy(images[:, None, None])


def evaluation() -> Iterator[tuple[Tensor, int]]:
    """Held-out digits as the input, and which digit it is."""
    images, labels = split("held-out")
    yield from zip(torch.from_numpy(images[:, None, None]), labels.tolist(), strict=True)


def split(name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images float32[N, 8, 8] in 0..1 and labels int64[N]. scikit-learn lists them by writer: the last are other hands."""
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = slice(None, -HELD_OUT) if name == "train" else slice(-HELD_OUT, None)
    return (data.images[chosen] / 16).astype(np.float32), data.target[chosen].astype(np.int64)


def build() -> nn.Sequential:
    """float32[N, 1, 8, 8] to logits [N, 10]."""

    def block(channels: int, wider: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def train(progress: Callable[[str], None] = lambda text: None, seed: int = 0) -> nn.Sequential:
    """The trained model, in evaluation mode."""
    torch.manual_seed(seed)
    images, labels = (torch.from_numpy(array) for array in split("train"))
    model = build().train()
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH):
            shifted = torch.roll(images[chosen, None], tuple(torch.randint(-1, 2, (2,)).tolist()), dims=(2, 3))
            loss = nn.functional.cross_entropy(model(shifted), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        progress(f"epoch {epoch + 1} of {EPOCHS}: the last batch's loss {loss.item():.3f}")
    return model.eval()
