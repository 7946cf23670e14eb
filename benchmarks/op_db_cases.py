"""PyTorch's own database of operators and modules as small models: real tensors in, real tensors out, the same every time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

SAMPLES = 2
"""The first ones of an operator."""


class Excluded(Exception):
    """Why an entry of the database is none of the suite."""


@dataclass(frozen=True)
class Case:
    """A model with the inputs of one sample."""

    module: nn.Module
    inputs: tuple[Tensor, ...]


class Call(nn.Module):
    """A function of nested arguments as a module of their tensors; everything else in them is constant."""

    def __init__(self, function: Callable[..., Any], arguments: Any) -> None:
        super().__init__()
        self.function = function
        self.leaves, self.structure = pytree.tree_flatten(arguments)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Tensor))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        arguments, named = pytree.tree_unflatten(leaves, self.structure)
        made = self.function(*arguments, **named)
        return tuple(leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor))


@cache
def entries(database: str) -> dict[str, Any]:
    """Operators (`op_db`) or modules (`module_db`) that take float32, by name."""
    if database == "module_db":
        from torch.testing._internal.common_modules import module_db

        return {info.name: info for info in module_db if torch.float32 in info.supported_dtypes("cpu")}
    from torch.testing._internal import common_methods_invocations as invocations

    # it draws the same random numbers at every call, which no graph does
    invocations.wrapper_set_seed = lambda op, *arguments, **named: op(*arguments, **named)
    return {info.full_name: info for info in invocations.op_db if torch.float32 in info.supported_dtypes("cpu")}


def cases(database: str, name: str) -> list[Case]:
    """The first samples of an entry. Raises Excluded when its border isn't real tensors, or its results aren't determined."""
    info = entries(database)[name]
    torch.manual_seed(0)
    made = _modules(info) if database == "module_db" else _operators(info)
    found = [_checked(case) for case in itertools.islice(made, SAMPLES)]
    if not found:
        raise Excluded("no sample")
    return found


def _operators(info: Any) -> Any:
    for sample in info.sample_inputs("cpu", torch.float32, requires_grad=False):
        call = Call(info.op, ((sample.input, *sample.args), sample.kwargs))
        yield Case(call.eval(), call.inputs)


def _modules(info: Any) -> Any:
    for sample in info.module_inputs_func(info, "cpu", torch.float32, requires_grad=False, training=False):
        if sample.forward_input is None:
            continue
        constructed = sample.constructor_input
        module = info.module_cls(*constructed.args, **constructed.kwargs).eval()
        call = Call(module, (sample.forward_input.args, sample.forward_input.kwargs))
        yield Case(call.eval(), call.inputs)


def _checked(case: Case) -> Case:
    """Raises Excluded."""
    if not all(map(_real, case.inputs)):
        raise Excluded("an input is complex, sparse or quantized")
    try:
        first = results(case, seed=1)
    except AssertionError as error:  # jiterator's
        if "only supported on CUDA" not in str(error):
            raise
        raise Excluded("it is no operator of the CPU") from error
    if not first:
        raise Excluded("no tensor is returned")
    if not all(map(_real, first)):
        raise Excluded("an output is complex, sparse or quantized")
    if any(tensor.dtype == torch.bfloat16 for tensor in (*case.inputs, *first)):
        raise Excluded("NumPy has no bfloat16")
    with torch.random.fork_rng():
        again = results(case, seed=2)
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what is left uninitialized with NaN
    try:
        filled = results(case, seed=2)
    finally:
        torch.use_deterministic_algorithms(False)
    for one, *others in zip(first, again, filled, strict=True):
        if not all(one.shape == other.shape and torch.equal(_told(one), _told(other)) for other in others):
            raise Excluded("the results are not determined")
    return case


def results(case: Case, seed: int = 0) -> tuple[Tensor, ...]:
    """What PyTorch itself computes."""
    torch.manual_seed(seed)
    with torch.no_grad():
        made = case.module(*(tensor.clone() for tensor in case.inputs))
    return tuple(tensor.detach().clone() for tensor in made)


def _real(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_complex() and not tensor.is_quantized


def _told(tensor: Tensor) -> Tensor:
    return torch.nan_to_num(tensor.double(), nan=1.25e-300)
