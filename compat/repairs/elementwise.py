"""Element by element operators, in dtypes that a backend has them for."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT, TVM
from enginesmith.compat.values import attribute, dtype, rank, required

FLOAT, DOUBLE, INT32 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT32


@repair(
    "int8-in-int32",
    ops=("Clip", "Mod", "Sign", "ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "TopK", "Where", "Max", "Min"),
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
clipped (int8[2, 3] x, int8 low) => (int8[2, 3] y) { y = Clip (x, low) }
""",
)
def int8_in_int32(node: ir.Node, build: Builder) -> Replacement:
    """TensorRT has int8 for quantization: what only compares or selects is done in int32, between Casts."""
    narrow = ir.DataType.INT8
    if narrow not in (dtype(value) for value in node.inputs):
        raise NotApplicable("none of its inputs is int8")
    inputs = [build.op("Cast", value, to=INT32) if dtype(value) == narrow else value for value in node.inputs]
    given = {name: value.value for name, value in node.attributes.items()}
    outputs = build.ops(node.op_type, *inputs, outputs=len(node.outputs), **given)
    return [
        build.op("Cast", new, to=narrow) if dtype(old) == narrow else new
        for old, new in zip(node.outputs, outputs, strict=True)
    ]


@repair(
    "pow-of-one-dtype",
    ops="Pow",
    backends=TVM,
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
powers (int32[3] x, float[3] z) => (int32[3] y) { y = Pow (x, z) }
""",
)
def pow_of_one_dtype(node: ir.Node, build: Builder) -> Replacement:
    """A power of integers or of two dtypes is computed in floats: float64 where an integer has more than 24 bits."""
    base, exponent = required(node, 2)
    kinds = [dtype(base), dtype(exponent)]
    if None in kinds or (kinds[0] == kinds[1] and kinds[0] in (FLOAT, DOUBLE)):
        raise NotApplicable("its dtypes are unknown, or one that the backend has")
    wide = DOUBLE if any(kind is not None and kind.is_integer() for kind in kinds) else FLOAT
    power = build.op("Pow", *(build.op("Cast", value, to=wide) for value in (base, exponent)))
    return build.op("Cast", power, to=kinds[0])


@repair(
    "isinf-by-comparison",
    ops="IsInf",
    backends=TVM,
    example="""
<ir_version: 10, opset_import: ["" : 20]>
above (float[4] x) => (bool[4] y) { y = IsInf <detect_negative = 0> (x) }
""",
)
def isinf(node: ir.Node, build: Builder) -> Replacement:
    """An infinity of one sign is what equals it."""
    x = node.inputs[0]
    kind = dtype(x)
    positive, negative = attribute(node, "detect_positive", 1), attribute(node, "detect_negative", 1)
    if kind not in (FLOAT, DOUBLE, ir.DataType.FLOAT16) or (positive and negative):
        raise NotApplicable("it asks for both signs, or its dtype is unknown")
    if not positive and not negative:
        return build.op("Less", x, x)  # never
    return build.op("Equal", x, kind.numpy().type(np.inf if positive else -np.inf))


@repair(
    "eyelike-by-comparison",
    ops="EyeLike",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
diagonal (int32[3, 4] x) => (float[3, 4] y) { y = EyeLike <dtype = 1, k = 1> (x) }
""",
)
def eyelike(node: ir.Node, build: Builder) -> Replacement:
    """Where the number of the row, and that of the diagonal, is that of the column: a constant where the sizes are known."""
    (x,), kind, calc = required(node, 1), dtype(node.outputs[0]), Arithmetic(build)
    if rank(x) != 2 or kind is None:
        raise NotApplicable("the rank or the dtype of its input is not known")
    rows, columns = (calc.counted(calc.size(x, axis)) for axis in (0, 1))
    diagonal = calc.op("Add", calc.op("Unsqueeze", rows, [1]), np.array(attribute(node, "k", 0)))
    return calc.value(calc.op("Cast", calc.op("Equal", diagonal, calc.op("Unsqueeze", columns, [0])), to=kind))
