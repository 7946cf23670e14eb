"""A model's outputs, whatever their structure, as a flat tuple of tensors with names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from enginesmith.converters.torch_models.arguments import Arguments, as_real, in_numpy
from enginesmith.converters.torch_models.containers import check_leaf, leaves

if TYPE_CHECKING:
    import torch
    from torch import nn


def flatten(outputs: Any) -> tuple[list[str], list[torch.Tensor]]:
    """Names and tensors of whatever a model returns: keys and attributes are the names, and `output0` is the first of a tuple or
    a list. Numbers, texts and None are none; a complex tensor is a real one whose last dimension is [real, imaginary].
    Raises UserError for arrays, and for objects that hide tensors.
    """
    import torch

    names: list[str] = []
    tensors: list[torch.Tensor] = []
    for name, leaf in _named(outputs):
        if isinstance(leaf, torch.Tensor):
            names.append(name)
            tensors.append(as_real(leaf))
        else:
            check_leaf(f"the model's output {name}" if name else "what the model returns", leaf)
    return names, tensors


def _named(outputs: Any) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(outputs, torch.Tensor):
        yield "output", outputs
    elif isinstance(outputs, tuple | list) and not hasattr(outputs, "_fields"):
        for index, part in enumerate(outputs):
            yield from leaves(part, f"output{index}")
    else:
        yield from leaves(outputs, "")


def flat(module: nn.Module, arguments: Arguments) -> nn.Module:
    """The module with tensors in and a flat tuple of tensors out, which both exporters understand."""
    from torch import nn

    class FlatModule(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.training = False
            self.inner = module

        def train(self, mode: bool = True) -> FlatModule:
            return self  # the inner module is in eval mode, and an exported program's forbids to say so again

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(map(in_numpy, flatten(arguments.call(self.inner, tensors))[1]))

    return FlatModule()
