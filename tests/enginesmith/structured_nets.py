"""A module that takes and returns containers, importable here and in a worker."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Answer:
    scores: torch.Tensor
    parts: dict[str, torch.Tensor]
    label: str = "plain"


class Structured(nn.Module):
    """Both views are float32[N, 3], `bias` is float32[N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(
        self,
        views: dict[str, torch.Tensor],
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        scale: float = 1.0,
    ) -> Answer:
        left, right = self.fc(views["left"]), self.fc(views["right"])
        scores = (left - right) * scale
        return Answer(scores if bias is None else scores + bias, {"left": left, "right": right})


def structured() -> Structured:
    torch.manual_seed(0)
    return Structured().eval()


def views(rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(rows, 3, generator=generator) for name in ("left", "right")}
