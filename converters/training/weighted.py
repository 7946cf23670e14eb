"""The layers of a torch model whose products a TensorRT engine quantizes, or computes with sparse weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

FUNCTIONAL = "attention computes its products by functions, not by layers"
DERIVED = "its weight is computed from other parameters"


def weighted(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The convolutions and linear layers by name, each once; and of those that must be left alone, why."""
    from torch import nn

    kinds = (
        *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
        *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        nn.Linear,
    )
    left = {name: FUNCTIONAL for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)}
    inside = tuple(f"{name}." for name in left)
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if not isinstance(module, kinds) or name.startswith(inside):
            continue
        if isinstance(module._parameters.get("weight"), nn.Parameter):
            layers[name] = module
        else:
            left[name] = DERIVED
    return layers, left


def output_axis(module: nn.Module) -> int:
    """The axis of the weight with one entry for each output channel, as `precision.int8.weights` has it: a transposed
    convolution's is the second, but for one whose groups make one channel each.
    """
    if not getattr(module, "transposed", False):
        return 0
    return 0 if getattr(module, "groups", 1) > 1 and weight_of(module).shape[1] == 1 else 1


def weight_of(module: nn.Module) -> torch.Tensor:
    """What the layer multiplies by, with whatever parametrizations it has."""
    import torch

    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def pooled(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of a detector, the linear layer that reads pooled regions, by name to the shape [C, height, width] of a region: the
    static detectors (`detectors.faster_rcnn`) put its columns into another order, the channels last.
    """
    heads = getattr(model, "roi_heads", None)
    layer = getattr(getattr(heads, "box_head", None), "fc6", None)
    bins = getattr(getattr(heads, "box_roi_pool", None), "output_size", None)
    if layer is None or bins is None:
        return {}
    return {"roi_heads.box_head.fc6": (layer.in_features // math.prod(bins), *bins)}


def settle(layers: Iterable[nn.Module]) -> None:
    """Take the weights' parametrizations out, in place; the weights are what these made of them."""
    from torch.nn.utils import parametrize

    for module in layers:
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def change(model: nn.Module, before: Mapping[str, torch.Tensor]) -> float:
    """Norm of the parameters' change since `before` over their norm then, all taken as one vector."""
    now = dict(model.named_parameters())
    moved = sum(float((now[name].detach() - old).square().sum()) for name, old in before.items())
    size = sum(float(old.square().sum()) for old in before.values())
    return math.sqrt(moved / size) if size else float(moved > 0)
