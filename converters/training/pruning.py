"""2:4 sparsity in a torch model: of four weights next to each other along the input channels, two are zero.

That is what the sparse tensor cores multiply by, from sm_80 on: the smaller two of four are pruned once, and the
training goes on with the zeros held (Mishra et al. 2021, arXiv:2104.08378).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from enginesmith.converters.training.weighted import weight_of

GROUP, KEPT = 4, 2
AXIS = 1
"""The input channels, in the weights of Conv and Linear."""


class Masked(nn.Module):
    """A parametrization that holds zeros."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask


def mask_of(weight: torch.Tensor) -> torch.Tensor:
    """True for the two largest magnitudes of every four along the input channels, whose number is a multiple of four."""
    last = weight.detach().abs().movedim(AXIS, -1)
    groups = last.reshape(-1, GROUP)
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, groups.topk(KEPT, dim=1).indices, True)
    return kept.reshape(last.shape).movedim(-1, AXIS).contiguous()


def why_dense(module: nn.Module, inputs: Sequence[int] = ()) -> str:
    """Why a layer can't be sparse, empty where it can. `inputs` is the shape that its input was flattened from."""
    if getattr(module, "transposed", False):
        return "TensorRT has no sparse kernels for transposed convolutions"
    channels, groups = inputs[0] if inputs else weight_of(module).shape[AXIS], getattr(module, "groups", 1)
    if channels == 1 and groups > 1:
        return "depthwise: each output has one input channel"
    if channels % GROUP:
        each = " in each group" if groups > 1 else ""
        return f"{channels} input channel{'s' * (channels > 1)}{each}, no multiple of {GROUP}"
    return ""


def prune(
    layers: Mapping[str, nn.Module], flattened: Mapping[str, Sequence[int]] | None = None
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Mask every layer that can be sparse, in place. Returns them, and of the others why not.

    `flattened`: linear layers by name to the shape [C, ...] that their inputs were flattened from and will be read in
    with the channels last.
    """
    shapes = flattened or {}
    dense = {name: why_dense(module, shapes.get(name, ())) for name, module in layers.items()}
    pruned = {name: module for name, module in layers.items() if not dense[name]}
    for name, module in pruned.items():
        weight = weight_of(module)
        mask = mask_of(weight.unflatten(AXIS, shapes[name]) if name in shapes else weight)
        parametrize.register_parametrization(module, "weight", Masked(mask.reshape(weight.shape)))
    return pruned, {name: reason for name, reason in dense.items() if reason}
