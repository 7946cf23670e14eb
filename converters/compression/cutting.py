"""From the channels that go to the cut of the torch model: tensors, and the attributes of its modules that name sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from enginesmith.converters.compression.groups import INNER, Anatomy
from enginesmith.converters.compression.labels import Classes, Dims
from enginesmith.converters.torch_models.cut import Cut

if TYPE_CHECKING:
    from torch.fx import Node

SIZED = ("view", "reshape", "_unsafe_view", "unflatten", "expand", "split_with_sizes", "split", "slice", "flatten")
"""Operators that take sizes, which a forward may have from an attribute."""


def cut_of(found: Anatomy, module: nn.Module, gone: Iterable[int], sizes: bool = True) -> Cut:
    """The cut without these classes. `sizes`: an attribute of a module whose forward changes shapes is changed too where it is
    such a size, as `num_heads` of an attention; whether that is what it means is for the proof to say.
    """
    classes = found.flow.labels.table(gone)
    kept: dict[str, dict[int, list[int]]] = {}
    shared = _names(module)
    for (name, axis), roots in found.sites.items():
        lost = classes[roots]
        if lost.any():
            for alias in shared[name]:
                kept.setdefault(alias, {})[axis] = np.flatnonzero(~lost).tolist()
    groups = _groups(found, classes)
    attributes: dict[str, dict[str, int]] = {}
    for path, owner in module.named_modules():
        own = {leaf: kept[name] for leaf in ("weight", "running_mean") if (name := _join(path, leaf)) in kept}
        if own:
            attributes[path] = _sizes(owner, own, groups.get(path))
    for path, renamed in _sizes_of_forwards(found, classes).items() if sizes else ():
        for attribute, value in vars(module.get_submodule(path)).items():
            if type(value) is int and value in renamed and attribute not in attributes.get(path, {}):
                attributes.setdefault(path, {})[attribute] = renamed[value]
    return Cut(kept=kept, attributes={path: each for path, each in attributes.items() if each})


def _names(module: nn.Module) -> dict[str, list[str]]:
    """Of each parameter and buffer all names, since modules share some."""
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        by_tensor.setdefault(id(tensor), []).append(name)
    return {name: by_tensor[id(tensor)] for name, tensor in tensors.items()}


def _groups(found: Anatomy, classes: Classes) -> dict[str, int]:
    """Of grouped convolutions that lose whole groups: how many are left."""
    left = {}
    for product in found.flow.products:
        name = found.state.get(product.weight.name, "")
        if name and len(product.groups):
            left[name.rpartition(".")[0]] = int((~found.flow.labels.among(product.groups, classes)).sum())
    return left


def _sizes(owner: nn.Module, kept: Mapping[str, Mapping[int, list[int]]], groups: int | None) -> dict[str, int]:
    """The attributes in which torch's own layers keep the sizes of their tensors."""
    leaf = "weight" if "weight" in kept else "running_mean"
    shape = [len(kept[leaf].get(axis, range(size))) for axis, size in enumerate(getattr(owner, leaf).shape)]
    if isinstance(owner, nn.modules.conv._ConvNd):
        groups = groups or owner.groups
        outputs, inputs = (shape[1] * groups, shape[0]) if owner.transposed else (shape[0], shape[1] * groups)
        return {"in_channels": inputs, "out_channels": outputs, "groups": groups}
    if isinstance(owner, nn.Linear):
        return {"in_features": shape[1], "out_features": shape[0]}
    if isinstance(owner, nn.GroupNorm):
        return {"num_groups": owner.num_groups * shape[0] // owner.num_channels, "num_channels": shape[0]}
    if isinstance(owner, nn.Embedding):
        return {"embedding_dim": shape[1]}
    if isinstance(owner, nn.PReLU):
        return {"num_parameters": shape[0]}
    return {"num_features": shape[0]} if isinstance(getattr(owner, "num_features", None), int) else {}


def _sizes_of_forwards(found: Anatomy, classes: Classes) -> dict[str, dict[int, int]]:
    """Of each module whose forward changes shapes, the sizes of dimensions that change, old to new."""
    changed: dict[str, dict[int, int]] = {}
    for node in found.program.graph.nodes:
        if not any(f"aten.{name}." in str(node.target) for name in SIZED) or not (
            stack := node.meta.get("nn_module_stack")
        ):
            continue
        path = (*stack.values(),)[-1][0]
        for dims in _dims(found, node):
            for labels in dims:
                left = int((~found.flow.labels.among(labels, classes)).sum())
                if left < len(labels):
                    changed.setdefault((path + ".").removeprefix(INNER).rstrip("."), {})[len(labels)] = left
    return changed


def _dims(found: Anatomy, node: Node) -> list[Dims]:
    made = found.flow.values[node]
    return made if isinstance(made, list) else [made]


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf
