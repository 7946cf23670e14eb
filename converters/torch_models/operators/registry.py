"""Which operator is decomposed by which function, and a program with its operators replaced."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch._C import DispatchKey
from torch._export.utils import _get_decomp_for_cia
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node
from torch.onnx._internal.exporter import _decomp, _fx_passes

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Decomposition:
    """`tolerance` is the largest error relative to PyTorch's results, in float32: 0 where every bit is the same. `normwise`:
    relative to the largest magnitude in a result, as for sums and what is solved, not to each element.
    """

    function: Callable[..., Any]
    tolerance: float
    normwise: bool


@dataclass(frozen=True)
class Impossible:
    """Why no graph has an operator, and what the model's author may write instead."""

    reason: str
    instead: str


_decompositions: dict[OpOverload, Decomposition] = {}
_composed: list[OpOverload] = []
_impossible: dict[str, Impossible] = {}


def decomposes(*operators: OpOverload, tolerance: float = 0.0, normwise: bool = False) -> Callable[[F], F]:
    """Register a function as what these operators do."""

    def register(function: F) -> F:
        for operator in operators:
            assert operator not in _decompositions, operator
            _decompositions[operator] = Decomposition(function, tolerance, normwise)
        return function

    return register


def composed(*operators: OpOverload) -> None:
    """Register operators that PyTorch composes of others, some of which are decomposed here: the exporter would take them apart
    after it is too late.
    """
    _composed.extend(operators)


def impossible(operator: str, reason: str, instead: str) -> None:
    """Register that no graph can have an operator, such as `aten.nonzero_static`; all its overloads."""
    _impossible[operator] = Impossible(reason, instead)


OF_LIBRARIES = {"regions": "torchvision"}
"""Modules for a library's operators, which only a model has that imported it."""


def _load() -> None:
    _loaded(*(name for name, library in OF_LIBRARIES.items() if library not in sys.modules))


@cache
def _loaded(*without: str) -> None:
    from enginesmith.converters.torch_models import operators

    for module in pkgutil.walk_packages(operators.__path__, f"{operators.__name__}."):
        if module.name.rpartition(".")[2] not in without:
            importlib.import_module(module.name)


def decompositions() -> dict[OpOverload, Decomposition]:
    """All of them."""
    _load()
    return _decompositions


def why_impossible(operator: str) -> Impossible | None:
    """What is known of an operator that can't be exported, such as `aten.nonzero_static`."""
    _load()
    return _impossible.get(operator)


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program with the operators replaced that have a decomposition; itself where it has none of them."""
    return program.run_decompositions(_table()) if has_replaced(program) else program


def has_replaced(program: ExportedProgram) -> bool:
    """Has it operators that have a decomposition?"""
    names = {operator._schema.name for operator in _table()}
    return any(_name(node.target) in names for node in _calls(program))


@contextmanager
def replacing() -> Iterator[None]:
    """`torch.onnx.export` replaces the operators too that have a decomposition, in the pass in which it decomposes a program:
    tracing the whole of it once more for them is a third of the exporter's time on MobileNet. That is done only where a
    decomposition of ours leaves something behind that the exporter would decompose in turn.
    """
    own = _fx_passes.decompose_with_registry

    def decompose(program: ExportedProgram, registry: Any) -> ExportedProgram:
        if not has_replaced(program):
            made = own(program, registry)  # which may have taken apart what is composed of such operators
            return own(decomposed(made), registry) if has_replaced(made) else made
        theirs: dict[Any, Any] = _decomp.create_onnx_friendly_decomposition_table(
            set(_decomp.get_onnx_implemented_overloads(registry))
        )
        at_once = program.run_decompositions({**theirs, **_table()})
        left = any(node.target in theirs for node in _calls(at_once))
        return own(decomposed(program), registry) if left else at_once

    with patch.object(_fx_passes, "decompose_with_registry", decompose):
        yield


def _table() -> dict[OpOverload, Callable[..., Any]]:
    return {
        **{operator: each.function for operator, each in decompositions().items()},
        **{operator: _get_decomp_for_cia(operator) for operator in _composed},
    }


def _name(target: Any) -> str:
    """Of an operator: one that writes into its argument, as `aten::index_put_` does, is named as the one that returns."""
    return target._schema.name.removesuffix("_") if isinstance(target, OpOverload) else ""


def _calls(program: ExportedProgram) -> Iterator[Node]:
    """The calls of operators, those in branches and loops too."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            yield from (node for node in module.graph.nodes if node.op == "call_function")


@contextmanager
def in_the_place_of(operator: Any, kernel: Any) -> Iterator[None]:
    """While a module is exported: a kernel in the place of PyTorch's own composition of an operator, which stays a single one."""
    saved = dict(operator.py_kernels)
    operator.py_kernels.update(dict.fromkeys((DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd), kernel))
    operator._dispatch_cache.clear()
    try:
        yield
    finally:
        operator.py_kernels.clear()
        operator.py_kernels.update(saved)
        operator._dispatch_cache.clear()
