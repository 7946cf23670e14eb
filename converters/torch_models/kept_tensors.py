"""Tensors that a model keeps from one call to the next, as inputs and outputs of its graph: an engine keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


class Kept:
    """The buffers of a module, and the tensors among its attributes, as they are now, to be compared."""

    def __init__(self, module: nn.Module) -> None:
        self._tensors = {path: (tensor, tensor._version) for path, tensor in own_tensors(module)}

    def changed(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Those that the module holds in other values since, by path; none where one is of another shape or dtype by now, as a
        list of results that grows."""
        found = {}
        for path, tensor in own_tensors(module):
            before, version = self._tensors.get(path, (None, 0))
            if before is tensor and version == tensor._version:
                continue
            if before is None or before.shape != tensor.shape or before.dtype != tensor.dtype:
                return {}
            found[path] = tensor.detach().clone()
        return found


def own_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers, and tensors among the attributes, by path, such as `norm.mean`."""
    import torch

    for prefix, part in module.named_modules():
        for name, value in (*part._buffers.items(), *vars(part).items()):
            if isinstance(value, torch.Tensor):
                yield f"{prefix}.{name}" if prefix else name, value


def called_with(
    module: nn.Module, kept: Mapping[str, torch.Tensor], call: Callable[[], Any]
) -> tuple[Any, list[torch.Tensor]]:
    """What the call of a module returns that holds these tensors, by path, and what it holds in their places then. The module is
    afterwards as it was, and so are the tensors."""
    places = [(_holder(module, path), path.rpartition(".")[2]) for path in kept]
    before = [holder[name] for holder, name in places]
    try:
        for (holder, name), tensor in zip(places, kept.values(), strict=True):
            holder[name] = tensor.clone()
        made = call()
        return made, [holder[name] for holder, name in places]
    finally:
        for (holder, name), tensor in zip(places, before, strict=True):
            holder[name] = tensor


def _holder(module: nn.Module, path: str) -> dict[str, Any]:
    owner = module.get_submodule(path.rpartition(".")[0])
    name = path.rpartition(".")[2]
    return owner._buffers if name in owner._buffers else vars(owner)


def beside(outputs: Any, kept: Mapping[str, torch.Tensor]) -> dict[Any, Any]:
    """A model's outputs with what it keeps, as one dict; a tensor is its `output`, the first of several `output0`."""
    if isinstance(outputs, Mapping):
        named = dict(outputs)
    elif isinstance(outputs, tuple | list) and not hasattr(outputs, "_fields"):
        named = {f"output{index}": part for index, part in enumerate(outputs)}
    else:
        named = {"output": outputs}
    for name, tensor in kept.items():
        key = f"{name}_out"
        while key in named:
            key += "_"
        named[key] = tensor
    return named
