"""Types behind operators that onnx doesn't know."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from enginesmith.compat.values import dtype, shape
from enginesmith.converters.graphs.value_types import complete

CHAIN = """
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
chain (float[{sizes}] x, float[4] b) => (float[{sizes}] y) {{
  g = com.microsoft.FastGelu (x, b)
  h = com.microsoft.QuickGelu (g)
  y = Relu (h)
}}
"""


def typed(sizes: str) -> dict[str, ir.Value]:
    model = complete(ir.from_proto(onnx.parser.parse_model(CHAIN.format(sizes=sizes))))
    return {value.name or "": value for node in model.graph for value in node.outputs}


def test_fixed_sizes_are_those_of_a_run() -> None:
    values = typed("2, 3, 4")
    assert [shape(values[name]) for name in "gh"] == [[2, 3, 4]] * 2
    assert dtype(values["h"]) == ir.DataType.FLOAT


def test_dynamic_sizes_are_none_of_a_run() -> None:
    values = typed("batch, 3, 4")
    assert [shape(values[name]) for name in "gh"] == [[None, 3, 4]] * 2


def test_what_onnxruntime_does_not_take_stays_unknown() -> None:
    text = CHAIN.format(sizes="2, 4").replace("com.microsoft.QuickGelu", "no.such.Operator")
    model = complete(
        ir.from_proto(
            onnx.parser.parse_model(text.replace('"com.microsoft" : 1', '"com.microsoft" : 1, "no.such" : 1'))
        )
    )
    assert dtype(model.graph[1].outputs[0]) is None
