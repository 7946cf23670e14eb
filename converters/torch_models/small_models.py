"""Two networks that build in seconds: for a first try, and for tests. Their weights are seeded by the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def lenet() -> nn.Module:
    """LeNet-5 (LeCun et al. 1998), with ReLU and max pooling: float32 [N, 1, 28, 28] to logits [N, 10]."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def mlp() -> nn.Module:
    """Three Linear layers with GELU: float32 [N, 64] to logits [N, 10]."""
    from torch import nn

    return nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10))
