"""Small modules, importable here and in a worker."""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    """A picture of [N, 3, 16, 16] to ten scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def pictures(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(1))
