"""A model's arguments as a flat list of tensors with names, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.core.trees import Tensor, Tree
from enginesmith.converters.torch_models.containers import check_leaf, leaves, refilled, tree_of
from enginesmith.converters.torch_models.example import Example, parameters, positional_parameters
from enginesmith.converters.torch_models.kept_tensors import beside, called_with
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
    """All of the example by name, in order, then those that the module keeps: the graph's inputs. A complex one is real there,
    its last dimension [real, imaginary]."""
    is_complex: tuple[bool, ...]
    """Which of them are complex for the model."""
    kept: tuple[str, ...] = ()
    """Where the module keeps the last of them: `norm.mean`."""

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
        """The call with these tensors, in the order of `tensors`, as they are at an engine's border: what the model takes in bfloat16
        may be float32, and what it takes as complex is real.
        """
        import torch

        remaining = iter(
            torch.view_as_complex(given.contiguous())
            if is_complex
            else given.to(torch.bfloat16)
            if own.dtype == torch.bfloat16
            else given
            for own, given, is_complex in zip(self.tensors.values(), tensors, self.is_complex, strict=True)
        )
        args = tuple(refilled(value, remaining) for value in self.example.args)
        return Example(args, {name: refilled(value, remaining) for name, value in self.example.kwargs.items()})

    def call(self, module: Any, tensors: Sequence[torch.Tensor]) -> Any:
        """What the module returns for these tensors; with `kept` a dict that also has what it keeps then."""
        made = self.filled(tensors)
        if not self.kept:
            return module(*made.args, **made.kwargs)
        state = dict(zip(self.kept, tensors[-len(self.kept) :], strict=True))
        outputs, after = called_with(module, state, lambda: module(*made.args, **made.kwargs))
        return beside(outputs, dict(zip(self.state, after, strict=True)))

    @property
    def state(self) -> list[str]:
        """Names of the tensors that the module keeps."""
        return [*self.tensors][-len(self.kept) :] if self.kept else []

    def keeping(self, kept: Mapping[str, torch.Tensor]) -> Arguments:
        """The same with tensors that the module keeps, by path."""
        names = distinct(map(valid, kept), [*self.tensors])
        return replace(
            self,
            tensors=self.tensors | dict(zip(names, kept.values(), strict=True)),
            is_complex=self.is_complex + (False,) * len(kept),
            kept=tuple(kept),
        )

    def feed(self) -> Feed:
        """The example's own tensors, but for those of a dtype that no array has."""
        own = {
            name: tensor for name, tensor in self.tensors.items() if not tensor.is_meta and dtype_of(tensor) in DTYPES
        }
        return OrderedDict((name, in_numpy(tensor).cpu().numpy()) for name, tensor in own.items())

    def trees(self) -> dict[str, Tree]:
        """The record of the structure, by parameter."""
        names = iter(self.tensors)
        values = (*self.example.args, *self.example.kwargs.values())
        trees = {name: tree_of(value, names) for name, value in zip(self.parameters, values, strict=True)}
        return trees | {name: Tensor(tensor=name) for name in names}


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as a real one whose last dimension is [real, imaginary], as a graph's inputs and outputs are."""
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def dtype_of(tensor: torch.Tensor) -> str:
    """As NumPy has it: `float32`, also of bfloat16, which it lacks."""
    return str(in_numpy(tensor).dtype).removeprefix("torch.")


def in_numpy(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in a type that NumPy has: bfloat16 as float32, which holds the same numbers."""
    import torch

    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
