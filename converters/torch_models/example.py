"""How a model is called: the example inputs that came with it, in whatever form they were given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Example:
    """A call of a model: `module(*args, **kwargs)`. Arguments are tensors, numbers, strings, None, and containers of such.

    False where nothing is known of how the model is called.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.args or self.kwargs)


def as_example(module: nn.Module, inputs: Any, kwargs: Any = None) -> Example:
    """The call that a factory, or the Python API, means by inputs, and keyword arguments if any.

    A tuple or a list has the positional arguments. A dict, or what a tokenizer gives, has keyword arguments where `forward`
    has parameters of all its keys, and is one argument elsewhere. Anything else is one argument; None is none.
    Raises UserError for keyword arguments that are no dict of names.
    """
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise UserError(f"the keyword arguments are a {type(kwargs).__name__}; give a dict of names and values")
    if inputs is None:
        return Example((), dict(kwargs))
    if type(inputs) in (tuple, list):
        return Example(tuple(inputs), dict(kwargs))
    if isinstance(inputs, Mapping) and inputs and _are_arguments(module, inputs):
        return Example((), {**inputs, **kwargs})
    return Example((inputs,), dict(kwargs))


def _are_arguments(module: nn.Module, inputs: Mapping[Any, Any]) -> bool:
    """Has `forward` parameters of these names, or takes any beside some of them?"""
    known = parameters(module)
    names = {each.name for each in known if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    found = [name in names for name in inputs]
    return all(found) or (any(found) and any(each.kind is each.VAR_KEYWORD for each in known))


def parameters(module: nn.Module) -> list[inspect.Parameter]:
    """Those of `forward`, in order; none where a module shows none, as a ScriptModule."""
    try:
        return list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def positional_parameters(module: nn.Module) -> list[str]:
    """Names of those that take an argument by its place."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters(module) if each.kind in kinds]
