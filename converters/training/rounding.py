"""Training with int8's rounding in the forward pass, where Q/DQ will be: weights per output channel, inputs per tensor.

Only torch's own operators are used, whose gradient goes straight through the rounding and is zero where a value is
clipped (Jacob et al. 2018, arXiv:1712.05877). The flows of torch.ao.quantization are deprecated, and rewrite the model
into modules of their own.

BatchNorm stays as it is. Folding it scales each output channel of a weight, and the scale of that channel's int8 codes
with it, so the codes are the same before and after; its statistics are those of the rounded network, as the training
goes on gathering or freezes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from enginesmith.converters.training.weighted import output_axis

LARGEST = 127
"""Symmetric: -128 isn't used, so that a weight and its negative have codes alike."""
MEMORY = 0.99
"""Share of the range seen so far that stays at each step, as in torch's own moving averages."""
RANGE = "int8_range"
"""Name of the submodule that rounds a layer's input."""


class RoundedWeight(nn.Module):
    """A parametrization. The scales follow the weight: the largest magnitude of a channel is always code 127."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        others = [axis for axis in range(weight.dim()) if axis != self.axis]
        scale = _scale(weight.detach().abs().amax(dim=others))
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, self.axis, -LARGEST, LARGEST)


class RoundedInput(nn.Module):
    """Rounds a tensor by the moving average of its largest magnitude.

    It is observed wherever gradients are on, and so not in an evaluation between two epochs. It isn't a parameter:
    the user's optimizer would give it the weights' learning rate and decay.
    """

    peak: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("peak", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not x.is_floating_point() or not x.numel():
            return x
        if torch.is_grad_enabled() or not self.peak:
            with torch.no_grad():
                now = x.detach().abs().amax().float()
                self.peak.copy_(torch.where(self.peak > 0, MEMORY * self.peak + (1 - MEMORY) * now, now))
        scale = _scale(self.peak)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, -LARGEST, LARGEST)


class Rounding:
    """The rounding of some layers of a model, put in by `__init__`, in place."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.layers = layers
        self.hooks = []
        for module in layers.values():
            parametrize.register_parametrization(module, "weight", RoundedWeight(output_axis(module)))
            module.add_module(RANGE, RoundedInput())
            self.hooks.append(module.register_forward_pre_hook(_round_input, with_kwargs=True))

    def remove(self) -> dict[str, float]:
        """Stop rounding the inputs; the weights' parametrizations stay. Returns the largest magnitude of each layer's
        input, by the layer's name, without those that never ran.
        """
        for hook in self.hooks:
            hook.remove()
        peaks = {name: float(module.get_submodule(RANGE).get_buffer("peak")) for name, module in self.layers.items()}
        for module in self.layers.values():
            delattr(module, RANGE)
        return {name: peak for name, peak in peaks.items() if peak > 0}


def _round_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # found by the module and not closed over, so that a deep copy of the model rounds by its own range
    rounded = module.get_submodule(RANGE)
    if args:
        return (rounded(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": rounded(kwargs["input"])}


def _scale(peaks: torch.Tensor) -> torch.Tensor:
    return (peaks.float() / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
