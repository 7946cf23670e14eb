"""Which tensors a model takes: names and shapes as asked for, else from its example, else the library's own."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES, InputSpec
from enginesmith.converters.torch_models.arguments import Arguments, dtype_of
from enginesmith.converters.torch_models.example import Example, parameters, positional_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn

    from enginesmith.converters.torch_models.loaded import LoadedModel


def resolve_call(loaded: LoadedModel, given: Sequence[InputSpec]) -> tuple[Arguments, tuple[InputSpec, ...]]:
    """How the model is called, and the specs of the tensors in that call, in order. What `given` says of a tensor goes before
    the example, which goes before the library's default. Raises UserError.
    """
    if loaded.example:
        return _of_example(loaded.module, loaded.example, given)
    if not given and loaded.library:
        size = tuple(getattr(loaded.module, "pretrained_cfg", {}).get("input_size", (3, 224, 224)))
        given = (InputSpec.static("images", (1, *size)),)
    if not given:
        raise UserError("this model has no default shape; give SHAPE, such as SHAPE=1x3x224x224 or 'ids:1x128:int64'")
    return _of_specs(loaded.module, given)


def _of_example(
    module: nn.Module, example: Example, given: Sequence[InputSpec]
) -> tuple[Arguments, tuple[InputSpec, ...]]:
    """The example's own shapes, but for those that were asked for; these may be of further parameters of `forward`."""
    arguments = Arguments.of(module, example)
    names = _parameters(module)
    if len(given) == 1 and given[0].name not in names and len(arguments.tensors) == 1:  # it names the input
        arguments = arguments.called([given[0].name or next(iter(arguments.tensors))])
    asked = {spec.name or next(iter(arguments.tensors)): spec for spec in given}
    more = {name: spec for name, spec in asked.items() if name not in arguments.tensors}
    if unknown := [name for name in more if name not in names or name in arguments.parameters]:
        raise UserError(f"the model's inputs are {', '.join(arguments.tensors)}, not {', '.join(unknown)}")
    if len(given) == 1 and not given[0].name and len(arguments.tensors) > 1:
        raise UserError(f"the model's inputs are {', '.join(arguments.tensors)}; say of which one the shape is")
    if more:
        kwargs = {**example.kwargs, **{name: _placeholder(spec) for name, spec in more.items()}}
        arguments = Arguments.of(module, Example(example.args, kwargs))
    specs = (_spec(name, tensor, asked.get(name)) for name, tensor in arguments.tensors.items())
    return arguments, tuple(specs)


def _spec(name: str, tensor: torch.Tensor, asked: InputSpec | None) -> InputSpec:
    """What was asked for, else what the example has. A shape without a dtype says float32."""
    dtype = dtype_of(tensor)
    if asked is not None:
        given = asked.dtype != "float32"
        if not asked.shaped:  # of its values alone
            return InputSpec.static(name, tuple(tensor.shape), dtype).with_values(asked)
        return asked.model_copy(update={"name": name, "dtype": asked.dtype if given else dtype})
    if dtype not in DTYPES:
        raise UserError(f"the example input {name} is {tensor.dtype}; one of {' '.join(DTYPES)}")
    return InputSpec.static(name, tuple(tensor.shape), dtype)


def _of_specs(module: nn.Module, specs: Sequence[InputSpec]) -> tuple[Arguments, tuple[InputSpec, ...]]:
    """In the order of `forward`: by position up to the first parameter that is left out, then by name."""
    names, positional = _parameters(module), positional_parameters(module)
    by_place = len(specs)
    if all(spec.name in names for spec in specs):
        specs = sorted(specs, key=lambda spec: names.index(spec.name))
        agree = (spec.name == name for spec, name in zip(specs, positional, strict=False))
        by_place = sum(itertools.takewhile(bool, agree))
    elif names and len(specs) > 1 and any(spec.name for spec in specs):
        raise UserError(f"the model's inputs are {', '.join(names)}, not {', '.join(spec.name for spec in specs)}")
    example = Example(
        tuple(map(_placeholder, specs[:by_place])), {spec.name: _placeholder(spec) for spec in specs[by_place:]}
    )
    arguments = Arguments.of(module, example)
    named = [spec.name or default for spec, default in zip(specs, arguments.tensors, strict=True)]
    specs = tuple(spec.model_copy(update={"name": name}) for spec, name in zip(specs, named, strict=True))
    return arguments.called(named), specs


def _placeholder(spec: InputSpec) -> torch.Tensor:
    """Stands for a tensor of which no example is there, without any data."""
    import torch

    return torch.empty(spec.opt, dtype=getattr(torch, spec.dtype), device="meta")


def _parameters(module: nn.Module) -> list[str]:
    """Those of `forward` that an argument can be given for by name, positional ones first."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters(module) if each.kind in kinds]
