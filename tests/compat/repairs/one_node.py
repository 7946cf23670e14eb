"""Models of one node, and the proof of a repair of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from enginesmith.compat.findings import Proof
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import REPAIRS, local
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import prove

Shape = Sequence[int | str]
RTX = Target("tensorrt-rtx", "1.7")


def one_node(
    op: str,
    *inputs: Shape | np.ndarray[Any, Any] | None,
    dtypes: Sequence[int] = (),
    outputs: Sequence[tuple[int, Shape]] = ((onnx.TensorProto.FLOAT, ()),),
    opset: int = 18,
    **attributes: Any,
) -> onnx.ModelProto:
    """Inputs are shapes (float32, unless `dtypes` says otherwise by place) or arrays, which become constants.

    An output's shape is inferred where it is given as ().
    """
    names, values, constants = [], [], []
    for place, item in enumerate(inputs):
        names.append("" if item is None else f"x{place}")
        if isinstance(item, np.ndarray):
            constants.append(numpy_helper.from_array(item, names[-1]))
        elif item is not None:
            kind = dtypes[place] if place < len(dtypes) else onnx.TensorProto.FLOAT
            values.append(helper.make_tensor_value_info(names[-1], kind, list(item)))
    results = [f"y{place}" for place in range(len(outputs))]
    node = helper.make_node(op, names, results, "node", **attributes)
    told = [
        helper.make_tensor_value_info(name, kind, list(sizes) or None)
        for name, (kind, sizes) in zip(results, outputs, strict=True)
    ]
    graph = helper.make_graph([node], "one", values, told, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def repaired(id: str, model: onnx.ModelProto, target: Target = RTX) -> tuple[ir.Model, list[dict[str, Any]]]:
    """The model with its first node rewritten, and the contents of inputs that the rewrite assumes."""
    after = infer(ir.from_proto(model))
    named(after)
    builder = local.apply(REPAIRS[id], next(iter(after.graph)), target)
    return after, builder.cases or [{}]


def proof(id: str, model: onnx.ModelProto, target: Target = RTX) -> Proof:
    """What running the model and the repaired one shows. Raises NotApplicable."""
    before = infer(ir.from_proto(model))
    after, cases = repaired(id, model, target)
    onnx.checker.check_model(ir.to_proto(after))
    found = Proof(agrees=False)
    for case in cases:
        found = prove(
            local.fixed(ir.to_proto(before), case), local.fixed(ir.to_proto(after), case), REPAIRS[id].tolerance
        )
        if not found.agrees:
            break
    return found
