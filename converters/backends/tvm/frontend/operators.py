"""TVM's ONNX frontend with converters of ours, told to leave a trace: every binding knows the ONNX node that it computes."""

from __future__ import annotations

from typing import Any

import onnx
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter, onnx_input

from enginesmith.converters.backends.tvm.frontend.converters import CONVERTERS, with_axes
from enginesmith.converters.backends.tvm.kernels import traces


class Importer(ONNXGraphImporter):  # type: ignore[misc]
    """Notes what each node was converted to, in the graph's order."""

    def __init__(self) -> None:
        super().__init__(shape_dict=None, dtype_dict="float32", keep_params_in_input=False, sanitize=True)
        self.converted: list[Any] = []

    def _convert_operator(self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int) -> Any:
        inputs = with_axes(op_name, inputs)

        def usual(given: Any = inputs) -> Any:
            # The frontend's own list has None for whatever lies behind its end.
            return super(Importer, self)._convert_operator(op_name, onnx_input(given), attrs, opset)

        convert = CONVERTERS.get(op_name)
        result = usual() if convert is None else convert(self.bb, inputs, attrs, usual)
        if isinstance(result, relax.Expr):
            result = self.bb.normalize(result)
        self.converted.append(result)
        return result


def from_onnx(model: onnx.ModelProto) -> Any:
    """The Relax module of a model, its calls traced to the numbers of the nodes in `model.graph.node`.

    Nothing is traced in a graph with branches.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    importer = Importer()
    module = importer.from_onnx(model.graph, opset)
    if any(node.op_type == "If" for node in model.graph.node):
        return module
    numbers: dict[Any, int] = {}
    for number, result in enumerate(importer.converted):
        for part in result.fields if isinstance(result, relax.Tuple) else [result]:
            if isinstance(part, relax.Expr):
                numbers.setdefault(part, number)
    last = max((numbers.get(importer._nodes[value.name], 0) for value in model.graph.output), default=0)

    def origin(binding: Any) -> traces.Trace | None:
        number = numbers.get(binding.var, numbers.get(binding.value))
        return None if number is None else traces.Trace(traces.NODE, number)

    return traces.mark(module, traces.spread(module, origin, traces.Trace(traces.NODE, last)))
