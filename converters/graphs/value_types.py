"""Types that onnx cannot infer, since it doesn't know an operator: those that a run shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from enginesmith.compat.graphs import infer
from enginesmith.compat.values import DEFAULT_DOMAINS, dtype, shape
from enginesmith.converters.graphs.proof import feeds, session

Feed = Mapping[str, Any]
RUNS = 2
"""Inputs that the model is run on: a size that depends on their values is then seen to."""
TRIED = 12


def complete(model: ir.Model, given: Sequence[Feed] = ()) -> ir.Model:
    """Infer shapes; give each value of the main graph that is still without a dtype or a shape what ONNX Runtime has for it,
    in place. `given` are inputs to run the model on before generated ones.

    Only where the graph has operators that onnx doesn't know, and as far as ONNX Runtime takes it. Sizes are those of the run
    where all of the inputs' sizes are fixed, else as far as ONNX Runtime knows them without one.
    """
    infer(model)
    unknown = [
        value
        for node in model.graph
        for value in node.outputs
        if value.name and (dtype(value) is None or shape(value) is None)
    ]
    if not unknown or all(_known(node, model) for node in model.graph):
        return model
    exposed = ir.to_proto(model)
    there = {value.name for value in exposed.graph.output}
    del exposed.graph.value_info[:]
    wanted = [value.name or "" for value in unknown]
    exposed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name not in there)
    try:
        loaded = session(exposed)
    except Exception:  # noqa: BLE001 - what ONNX Runtime can't load stays as it is
        return model
    declared = {output.name: output.shape for output in loaded.get_outputs()}
    runs = list(islice(_runs(loaded, exposed, wanted, given), RUNS))
    if not runs:
        return model
    fixed = all(value.shape is not None and value.shape.is_static() for value in model.graph.inputs)
    for value, *arrays in zip(unknown, *runs, strict=True):
        if all(isinstance(array, np.ndarray) and array.dtype.kind in "biufV" for array in arrays):
            value.type = ir.TensorType(ir.DataType.from_numpy(arrays[0].dtype))
            value.shape = value.shape or _shape(arrays, declared[value.name or ""], fixed)
    return infer(model)


def _known(node: ir.Node, model: ir.Model) -> bool:
    """Can onnx infer its outputs, in principle?"""
    version = model.opset_imports.get(node.domain)
    return node.domain in DEFAULT_DOMAINS and version is not None and onnx.defs.has(node.op_type, version, node.domain)


def _runs(loaded: Any, model: onnx.ModelProto, wanted: Sequence[str], given: Sequence[Feed]) -> Iterator[list[Any]]:
    taken = {value.name for value in loaded.get_inputs()}
    for feed in islice((*given, *feeds(model)), TRIED):
        try:
            yield loaded.run(list(wanted), {name: value for name, value in feed.items() if name in taken})
        except Exception:  # noqa: BLE001 - an input that the model doesn't take
            continue


def _shape(arrays: Sequence[Any], declared: Sequence[int | str | None], fixed: bool) -> ir.Shape | None:
    """The sizes that all runs have in common, or that are declared: ONNX Runtime declares none as it does a scalar's."""
    ranks = {array.ndim for array in arrays}
    if len(ranks) > 1:
        return None
    sizes: list[int | str | None] = [None] * ranks.pop()
    if fixed:
        sizes = [size[0] if len(set(size)) == 1 else None for size in zip(*(a.shape for a in arrays), strict=True)]
    elif len(declared) == len(sizes):
        sizes = list(declared)
    return ir.Shape(sizes)
