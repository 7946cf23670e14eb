"""What the crafted models have in common: a register of cases, and the legal inputs to try their engines on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Draw = Callable[[torch.Size, torch.dtype], Tensor]


@dataclass(frozen=True)
class Case:
    """One model: `kind` is what would go wrong (or looks as if it would), `shape` the one to build it for, `draw` makes a
    legal input."""

    name: str
    kind: str
    shape: str
    draw: Draw

    def example(self) -> tuple[torch.Size, torch.dtype]:
        """Size and type of its input."""
        dims, _, dtype = self.shape.rpartition(":") if self.shape.count(":") == 2 else (self.shape, "", "float32")
        return torch.Size(int(dim) for dim in dims.rpartition(":")[2].split("x")), getattr(torch, dtype)


def wide(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Normal with a deviation of 7; integers in 0..999."""
    return torch.randn(shape) * 7 if dtype.is_floating_point else torch.randint(0, 1000, shape, dtype=dtype)


def unit(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Uniform in 0..1; integers in 0..9."""
    return torch.rand(shape) if dtype.is_floating_point else torch.randint(0, 10, shape, dtype=dtype)


def register(cases: dict[str, Case]) -> Callable[..., Callable[[type[nn.Module]], type[nn.Module]]]:
    """A decorator `crafted(kind, shape, draw)` for module classes, which puts them among `cases`."""

    def crafted(kind: str, shape: str = "x:1x8", draw: Draw = wide) -> Callable[[type[nn.Module]], type[nn.Module]]:
        def put(model: type[nn.Module]) -> type[nn.Module]:
            cases[model.__name__] = Case(model.__name__, kind, shape, draw)
            return model

        return put

    return crafted
