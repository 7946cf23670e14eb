"""A model's outputs, whatever their structure, as a flat tuple of tensors with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


def distinct(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names, with underscores behind those that an input or another output has already."""
    found: list[str] = []
    for name in names:
        while name in (*taken, *found):
            name += "_"
        found.append(name)
    return found


def flatten(outputs: Any, prefix: str = "") -> tuple[list[str], list[torch.Tensor]]:
    """Names and tensors of nested tuples, lists and mappings; a mapping's keys are the names. Raises UserError."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return [prefix or "output"], [outputs]
    if hasattr(outputs, "_asdict"):  # a named tuple
        outputs = outputs._asdict()
    if isinstance(outputs, Mapping):
        parts = [(f"{prefix}.{key}" if prefix else str(key), value) for key, value in outputs.items()]
    elif isinstance(outputs, (tuple, list)):
        parts = [(f"{prefix or 'output'}{index}", value) for index, value in enumerate(outputs)]
    else:
        raise UserError(
            f"the model returns a {type(outputs).__name__}; it must return tensors, in tuples, lists or mappings"
        )
    names: list[str] = []
    tensors: list[torch.Tensor] = []
    for name, value in parts:
        if value is None:
            continue
        inner_names, inner = flatten(value, name)
        names += inner_names
        tensors += inner
    return names, tensors


def flat(module: nn.Module) -> nn.Module:
    """The module with its outputs as a flat tuple, which both exporters understand."""
    from torch import nn

    class FlatModule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.training = False
            self.inner = module

        def train(self, mode: bool = True) -> FlatModule:
            return self  # the inner module is in eval mode, and an exported program's forbids to say so again

        def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(flatten(self.inner(*arguments))[1])

    return FlatModule()
