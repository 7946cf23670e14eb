"""A model's arguments as a flat list of tensors with names, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.core.trees import Tree
from enginesmith.converters.torch_models.containers import check_leaf, leaves, refilled, tree_of
from enginesmith.converters.torch_models.example import Example, parameters, positional_parameters
from enginesmith.converters.torch_models.tensor_names import distinct, valid

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Arguments:
    """A call of a model, as an example of others of the same structure: with other tensors, and the same constants."""

    example: Example
    """Its keyword arguments in the order of `forward`."""
    parameters: tuple[str, ...]
    """What `forward` calls the arguments, positional ones first."""
    tensors: dict[str, torch.Tensor]
    """All of the example by name, in order: those of a graph's inputs. A complex one is real there, its last dimension [real,
    imaginary]."""
    is_complex: tuple[bool, ...]
    """Which of them are complex for the model."""

    @classmethod
    def of(cls, module: nn.Module, example: Example) -> Arguments:
        """Raises UserError for arguments that hide tensors, and where there is no tensor at all."""
        import torch

        places = {each.name: index for index, each in enumerate(parameters(module))}
        kwargs = dict(sorted(example.kwargs.items(), key=lambda item: places.get(item[0], len(places))))
        further = (f"input{index}" for index in range(len(example.args)))
        names = [*positional_parameters(module), *further][: len(example.args)]
        twice = [name for name in names if name in kwargs]
        if twice:
            raise UserError(f"{twice[0]} is given twice, by its place and by its name")
        names += kwargs
        found: list[tuple[str, torch.Tensor]] = []
        for name, value in zip(names, (*example.args, *kwargs.values()), strict=True):
            try:
                pairs = [*leaves(value, name)]
            except RecursionError:
                raise UserError(f"the input {name} holds itself") from None
            for path, leaf in pairs:
                check_leaf(f"the input {path}", leaf)
            found += [(path, leaf) for path, leaf in pairs if isinstance(leaf, torch.Tensor)]
        if not found:
            raise UserError("the model's inputs hold no tensor; an engine takes one at least")
        flat = distinct([valid(path) for path, _ in found])
        return cls(
            Example(example.args, kwargs),
            tuple(names),
            {name: as_real(tensor.detach()) for name, (_, tensor) in zip(flat, found, strict=True)},
            tuple(tensor.is_complex() for _, tensor in found),
        )

    def called(self, names: Sequence[str]) -> Arguments:
        """The same with other names of the tensors."""
        return replace(self, tensors=dict(zip(names, self.tensors.values(), strict=True)))

    def filled(self, tensors: Sequence[torch.Tensor]) -> Example:
        """The call with these tensors, in the order of `tensors`."""
        import torch

        remaining = iter(
            torch.view_as_complex(tensor.contiguous()) if is_complex else tensor
            for tensor, is_complex in zip(tensors, self.is_complex, strict=True)
        )
        args = tuple(refilled(value, remaining) for value in self.example.args)
        return Example(args, {name: refilled(value, remaining) for name, value in self.example.kwargs.items()})

    def call(self, module: Any, tensors: Sequence[torch.Tensor]) -> Any:
        """What the module returns for these tensors."""
        made = self.filled(tensors)
        return module(*made.args, **made.kwargs)

    def arrays(self) -> Feed:
        """The example's tensors, without those that only hold a place, or are of a dtype that NumPy lacks."""
        known = ((name, tensor) for name, tensor in self.tensors.items() if dtype_of(tensor) in DTYPES)
        return OrderedDict((name, tensor.cpu().numpy()) for name, tensor in known if not tensor.is_meta)

    def trees(self) -> dict[str, Tree]:
        """The record of the structure, by parameter."""
        names = iter(self.tensors)
        values = (*self.example.args, *self.example.kwargs.values())
        return {name: tree_of(value, names) for name, value in zip(self.parameters, values, strict=True)}


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as a real one whose last dimension is [real, imaginary], as a graph's inputs and outputs are."""
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def dtype_of(tensor: torch.Tensor) -> str:
    """As NumPy has it: `float32`."""
    return str(tensor.dtype).removeprefix("torch.")
