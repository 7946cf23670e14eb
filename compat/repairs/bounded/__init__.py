"""Graphs whose shapes depend on the data, given the fixed shapes of their upper bounds.

`NonZero`, `NonMaxSuppression`, `Compress` and `Unique` select rows, so that all that follows has sizes which only the data tells.
The repair keeps every row that there could be, with a mask of those that are real. An output of such a size gets the
size of its bound: the real rows first, the others filled with -1; `enginesmith.compat.interface` has the record of it.
"""

from __future__ import annotations

from importlib import import_module

import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.graphs import infer
from enginesmith.compat.interface import missing, record_rows
from enginesmith.compat.repairs.bounded.branches import join_branches
from enginesmith.compat.repairs.bounded.dims import Dim, is_exact, is_static
from enginesmith.compat.repairs.bounded.filters import counted
from enginesmith.compat.repairs.bounded.rewriter import SOURCES, Rewriter
from enginesmith.compat.repairs.bounded.values import Bounded
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import opset_of, static_shape

for _rules in ("arithmetic", "sampling", "selection", "shapes", "suppression", "unique"):
    import_module(f"{__name__}.{_rules}")


@graph_repair(
    "bounded-sizes",
    backends=("tensorrt-rtx", "tvm", "tensorrt"),
    tolerance=2e-6,  # rows are selected as they are, but a sum over them also adds the zeros between
    example="""
<ir_version: 10, opset_import: ["" : 18]>
positive (float[4] x) => (float[n] y) <float zero = {0}> {
  above = Greater (x, zero)
  places = NonZero (above)
  rows = Squeeze (places)
  y = Gather (x, rows)
}
""",
)
def bounded_sizes(model: ir.Model, target: Target) -> int:
    """Selections get the size of their upper bound and a mask; an output's rows that are not real are last, all -1."""
    if opset_of(model.graph) < 18 or (target.backend == "tensorrt" and target.within(">=8.5")):
        return 0
    if not any(not node.domain and (node.op_type in SOURCES or counted(node)) for node in model.graph.all_nodes()):
        return 0
    common.CommonSubexpressionEliminationPass()(model)
    infer(model)
    if join_branches(model.graph):
        model.opset_imports["enginesmith"] = 1
        infer(model)
    rewriter = Rewriter(model.graph, target)
    rewriter.run()
    _give_out(model, rewriter)
    common.RemoveUnusedNodesPass()(model)
    model.opset_imports.pop("enginesmith", None)
    return len(rewriter.known)


def _give_out(model: ir.Model, rewriter: Rewriter) -> None:
    """Let the padded tensors take the places of the graph's outputs."""
    last = model.graph[-1]
    rewriter.build = Builder(last, rewriter.target)
    selections: dict[Dim, str] = {}
    for index, output in enumerate(model.graph.outputs):
        if output not in rewriter.known:
            continue
        name, dtype = output.name, output.dtype
        value = _padded(rewriter, rewriter.known[output])
        dims = rewriter.known[output].dims
        named = {
            axis: selections.setdefault(part, f"rows{len(selections)}")
            for axis, part in enumerate(dims)
            if not is_static(part)
        }
        if named and name:
            record_rows(model, name, named)
        output.name = f"{name}/dynamic"
        given = rewriter.emit("Identity", value, shape=static_shape(value) or [], dtype=dtype)
        given.name = name
        model.graph.outputs[index] = given
    model.graph.insert_after(last, rewriter.build.nodes)


def _padded(rewriter: Rewriter, of: Bounded) -> ir.Value:
    """The tensor as its user gets it: the real rows first, the others filled."""
    numbers = rewriter.numeric(of)
    of = Bounded(numbers, of.dims)
    for axis, part in enumerate(of.dims):
        if not is_exact(part):
            of = rewriter.exact(of, axis)
    if of.static:
        return numbers
    if numbers.dtype is None or numbers.dtype == ir.DataType.STRING:
        raise NotApplicable("an output's dtype has nothing to mark missing rows with")
    return rewriter.filled(of, missing(numbers.dtype.numpy()))
