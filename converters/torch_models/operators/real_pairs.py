"""A program with complex tensors as one without: every complex tensor is a Pair while the program is traced once more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node
from torch.fx.node import Argument, Target
from torch.utils import _pytree as pytree

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.torch_models.arguments import as_real
from enginesmith.converters.torch_models.operators.pairs import Pair, on_pairs_of
from enginesmith.converters.torch_models.operators.registry import decompositions

PARTS = "_as_pair"
"""Ends the name of a parameter or buffer that was complex; its last dimension is [real, imaginary]."""


def is_complex(program: ExportedProgram) -> bool:
    return any(True for _ in _complex_nodes(program.graph))


def in_pairs(
    program: ExportedProgram,
    signature: inspect.Signature,
    examples: tuple[Tensor, ...],
    export: Callable[[nn.Module, tuple[Tensor, ...]], ExportedProgram],
) -> ExportedProgram:
    """The program without complex tensors: those at its border get a last dimension [real, imaginary], as of
    `torch.view_as_real`. `export` exports a module of that signature as the program was. Raises ConversionError for an operator that has no
    form on pairs.
    """
    program = _in_known_operators(program)
    return export(_Reals(program, signature), tuple(map(as_real, examples)))


def _in_known_operators(program: ExportedProgram) -> ExportedProgram:
    """Without in-place changes, and the operators on complex tensors that have no form on pairs decomposed as far as possible."""
    ours = {operator: each.function for operator, each in decompositions().items()}
    done: set[Any] = set()
    while True:
        program = program.run_decompositions({**ours, **{op: _decomposition(op) for op in done}})
        unknown = {node.target for node in _complex_nodes(program.graph) if node.op == "call_function"}
        new = {op for op in unknown - done if on_pairs_of(op) is None and _decomposition(op) is not None}
        if not new:
            return program
        done |= new


def _decomposition(operator: Any) -> Callable[..., Any] | None:
    """PyTorch's own."""
    from torch._decomp import decomposition_table
    from torch._export.utils import _get_decomp_for_cia, _is_cia_op

    if not isinstance(operator, torch._ops.OpOverload):
        return None
    if _is_cia_op(operator):
        return _get_decomp_for_cia(operator)
    return decomposition_table.get(operator)


def _complex_nodes(graph: torch.fx.Graph) -> Iterator[Node]:
    """Those that take or give complex tensors."""
    for node in graph.nodes:
        if any(map(_holds_complex, (node, *node.all_input_nodes))):
            yield node


def _holds_complex(node: Node) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in pytree.tree_leaves(node.meta.get("val")))


class _Reals(nn.Module):
    """A program as a module that computes with pairs; its state has the program's names, its `forward` this signature."""

    def __init__(self, program: ExportedProgram, signature: inspect.Signature) -> None:
        super().__init__()
        module = program.module(check_guards=False)
        self._parameters, self._buffers, self._modules = module._parameters, module._buffers, module._modules
        graph = module.graph
        for node in graph.nodes:
            if node.op == "get_attr":
                path, _, name = str(node.target).rpartition(".")
                owner = module.get_submodule(path)
                value = getattr(owner, name, None)
                if isinstance(value, Tensor):
                    self._keep(owner if path else self, name, value)
                elif not path:
                    object.__setattr__(self, name, value)

        def forward(*arguments: Any, **named: Any) -> Any:
            interpreter = _OnPairs(self, garbage_collect_values=False, graph=graph)
            interpreter.extra_traceback = False  # errors stay as they are
            with torch.fx.traceback.preserve_node_meta():
                made = interpreter.run(*pytree.tree_leaves((arguments, named)), enable_io_processing=False)
            return graph.process_outputs(made)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        self.forward = forward

    def _keep(self, owner: nn.Module, name: str, value: Tensor) -> None:
        if value.is_complex():
            owner.register_buffer(name + PARTS, as_real(value.detach()))
            owner._parameters.pop(name, None)
            owner._buffers.pop(name, None)
        elif name not in owner._buffers and name not in owner._parameters:
            owner.__dict__.pop(name, None)  # as a plain attribute, its name is given again to what is lifted next
            owner.register_buffer(name, value, persistent=False)


class _OnPairs(Interpreter):
    """Runs a graph with a Pair in the place of every complex tensor."""

    node: Node

    def run_node(self, n: Node) -> Any:
        self.node = n
        return super().run_node(n)

    def placeholder(self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]) -> Any:
        value = super().placeholder(target, args, kwargs)
        return _paired(value) if _holds_complex(self.node) else value

    def get_attr(self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]) -> Any:
        if _holds_complex(self.node) or self._was_complex(str(target)):
            return _paired(self.fetch_attr(f"{target}{PARTS}"))
        return super().get_attr(target, args, kwargs)

    def _was_complex(self, target: str) -> bool:
        path, _, name = target.rpartition(".")
        return hasattr(self.module.get_submodule(path), name + PARTS)

    def call_function(self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]) -> Any:
        given = pytree.tree_leaves((args, kwargs))
        if not _holds_complex(self.node) and not any(isinstance(each, Pair | complex) for each in given):
            return super().call_function(target, args, kwargs)
        found = on_pairs_of(target)
        if found is not None:
            return self._as_expected(found.function(*args, **kwargs))
        if not any(isinstance(each, Pair | complex) for each in given):
            args, kwargs = pytree.tree_map(_real_dtype, (args, kwargs))
            result = super().call_function(target, args, kwargs)
            made = (each for each in pytree.tree_leaves(result) if isinstance(each, Tensor))
            if not any(each.is_complex() for each in made):  # nothing but the dtype of what it makes was complex
                return self._as_expected(result)
        raise ConversionError(
            f"{target} on complex numbers can't be written with real ones",
            "compute with torch.view_as_real(…) there, whose last dimension is [real, imaginary]",
        )

    def _as_expected(self, result: Any) -> Any:
        """Pairs where the graph has complex tensors, real tensors elsewhere, of the dtypes that it has."""
        leaves, structure = pytree.tree_flatten(result)
        expected = pytree.tree_leaves(self.node.meta["val"])
        made: list[Any] = []
        for leaf, want in zip(leaves, expected, strict=True):
            if isinstance(want, Tensor) and want.is_complex():
                pair = leaf if isinstance(leaf, Pair) else Pair(leaf, torch.zeros_like(leaf))
                made.append(pair.to(want.dtype.to_real()))
            else:
                part = leaf.re if isinstance(leaf, Pair) else leaf
                made.append(part.to(want.dtype) if isinstance(want, Tensor) and part.dtype != want.dtype else part)
        return pytree.tree_unflatten(made, structure)

    def output(self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]) -> Any:
        made = super().output(target, args, kwargs)
        return pytree.tree_map(
            lambda leaf: torch.stack([leaf.re, leaf.im], -1) if isinstance(leaf, Pair) else leaf, made
        )


def _paired(parts: Tensor) -> Pair:
    return Pair(parts.select(-1, 0), parts.select(-1, 1))


def _real_dtype(value: Any) -> Any:
    return value.to_real() if isinstance(value, torch.dtype) and value.is_complex else value
