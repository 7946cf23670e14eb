"""A convolutional classifier of handwritten digits, trained in seconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from enginesmith.converters.torch_models.trained import weights
from enginesmith.converters.torch_models.trained.digits_data import split

EPOCHS = 12
BATCH = 64
RATE = 5e-3


def factory() -> nn.Module:
    """float32[N, 1, 8, 8] in 0..1 to logits [N, 10]."""
    return weights.loaded(build(), "digits")


def build() -> nn.Sequential:
    """Untrained."""

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
