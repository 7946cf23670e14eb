"""Sizes written into a graph: those of its inputs, and all that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.folding import fold
from enginesmith.compat.target import Target
from enginesmith.compat.walk import graphs

ROUNDS = 8
"""Of folding and inference: what is folded says more about the shapes behind it."""
ANYONE = Target("", "")


def write_sizes(model: ir.Model, sizes: Mapping[str, Sequence[int | None]], *, folded: bool = True) -> None:
    """Give inputs the sizes named, None for one that stays as it is, and infer all other shapes anew, in place. What depends
    on sizes alone is computed then, unless `folded` is off.
    """
    named: dict[str, set[int]] = {}
    trusted = True
    for value in model.graph.inputs:
        given = sizes.get(str(value.name))
        if given is None:
            continue
        own = value.shape.dims if value.shape is not None else [ir.SymbolicDim(None)] * len(given)
        for old, new in zip(own, given, strict=True):
            if isinstance(old, ir.SymbolicDim) and old.value is not None and new is not None:
                named.setdefault(str(old.value), set()).add(new)
            elif isinstance(old, int) and new not in (None, old):
                trusted = False  # what was declared for the old size doesn't hold for this one
        value.shape = ir.Shape([old if new is None else new for old, new in zip(own, given, strict=True)])
    # a name that stands for two sizes says nothing
    known = {name: next(iter(each)) for name, each in named.items() if len(each) == 1}
    _infer_anew(model, known, trusted=trusted)
    for _ in range(ROUNDS if folded else 0):
        if not fold(model, ANYONE):
            break
        infer(model)
    if folded:
        common.RemoveUnusedNodesPass()(model)


def restate(model: ir.Model) -> list[str]:
    """Correct declared shapes that contradict the graph, in place; returns the names of its outputs that had such."""
    before = {value: value.shape for value in model.graph.outputs}
    _infer_anew(model, {}, trusted=True)
    return [str(value.name) for value, declared in before.items() if _contradict(declared, value.shape)]


def _infer_anew(model: ir.Model, known: Mapping[str, int], *, trusted: bool) -> None:
    """Shapes as they follow from those of the inputs. What was declared stays where inference doesn't know better and it is
    to be `trusted`, with the sizes that are `known` in place of their names."""
    declared = {value: value.shape for value in _computed(model)}
    for value in declared:
        value.shape = None
    infer(model)
    for value, shape in declared.items() if trusted else ():
        if shape is None or _contradict(shape, value.shape):
            continue
        sizes = [size if isinstance(size, int) else known.get(str(size.value), size) for size in shape]
        inferred = value.shape or [ir.SymbolicDim(None)] * len(sizes)
        value.shape = ir.Shape([_better(*each) for each in zip(sizes, inferred, strict=True)])


def _better(declared: int | ir.SymbolicDim, inferred: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    if isinstance(declared, int) or isinstance(inferred, int):
        return declared if isinstance(declared, int) else inferred
    return inferred if declared.value is None else declared


def _computed(model: ir.Model) -> Iterator[ir.Value]:
    for graph in graphs(model):
        for node in graph:
            yield from node.outputs


def _contradict(declared: ir.Shape | None, inferred: ir.Shape | None) -> bool:
    if declared is None or inferred is None:
        return False
    return len(declared) != len(inferred) or any(
        isinstance(one, int) and isinstance(other, int) and one != other
        for one, other in zip(declared, inferred, strict=True)
    )
