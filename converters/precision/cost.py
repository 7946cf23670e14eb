"""What a graph would take on a GPU, estimated from public figures: good for ranking mixes of precisions, no measurement.

A roofline: a product takes the time of its operations at the peak rate of its precision, or of the bytes that it moves,
whichever is longer (Williams, Waterman, Patterson, "Roofline", CACM 2009). Everything else moves bytes; activations,
additions and scales are taken for part of the kernel before them. Launches and conversions between layouts are left
out, so that small graphs look faster than they are.

Held against PyTorch 2.11 on an H100 (a CUDA graph, channels last; ResNet-18 and -50, MobileNetV2, EfficientNet-B0, TF32 and
fp16): in batches of 64 it takes 3.3 to 5.0 times the estimate, and the eight times are in the same order; one picture
takes 18 to 63 times the estimate, since launches are left out, and fp16 saves 7 to 20 % of the time, not half of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.graphs import infer
from enginesmith.compat.values import attribute, constant_tensor, dtype, static_shape
from enginesmith.converters.graphs.structure import is_constant, is_standard, ordered, subgraphs


@dataclass(frozen=True)
class Peaks:
    """10^12 operations per second, without sparsity, and 10^9 bytes per second. `fp32` is TF32 where tensor cores have
    it, which TensorRT uses for float32 by default."""

    board: str
    fp32: float
    fp16: float
    int8: float
    bandwidth: float

    def rate(self, precision: str) -> float:
        """Operations per second. bf16 is as fast as fp16 where it exists."""
        return 1e12 * {"fp32": self.fp32, "int8": self.int8}.get(precision, self.fp16)


PEAKS: Mapping[str, Peaks] = {
    "sm_75": Peaks("T4", 8.1, 65, 130, 320),
    "sm_80": Peaks("A100 80GB SXM", 156, 312, 624, 2039),
    "sm_86": Peaks("A10", 62.5, 125, 250, 600),
    "sm_87": Peaks("Jetson AGX Orin 64GB", 21.2, 42.5, 85, 204.8),
    "sm_89": Peaks("L4", 60, 121, 242, 300),
    "sm_90": Peaks("H100 SXM", 495, 990, 1979, 3350),
    "sm_100": Peaks("B200 (HGX)", 1100, 2250, 4500, 7700),
    "sm_120": Peaks("GeForce RTX 5090", 104.8, 209.5, 838, 1792),
}
"""A board for each compute capability, from NVIDIA's data sheets of T4, A100, A10, L4, H100 and HGX B200, the Jetson AGX
Orin technical brief (TF32 at half of fp16's rate, as on A10), and the RTX Blackwell whitepaper (fp16 with float32 sums).
Sheets that give the rates with sparsity are halved. Boards of one capability differ in size, hardly in the ratio between
precisions."""

UNKNOWN = Peaks("no board known for this target", 50, 100, 200, 500)
"""Half the bits, twice the rate: for a ranking without figures."""

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
PRECISIONS = {
    ir.DataType.FLOAT: "fp32",
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.BFLOAT16: "bf16",
    ir.DataType.INT8: "int8",
}

FREE = frozenset((
    "Cast", "Constant", "ConstantOfShape", "DequantizeLinear", "Dropout", "Flatten", "Identity", "If", "Loop",
    "QuantizeLinear", "Reshape", "Scan", "Shape", "Size", "Squeeze", "Unsqueeze",
))  # fmt: skip
"""Operators that move nothing, or are part of a neighbour's kernel; of control flow the bodies count, once."""
POINTWISE = frozenset((
    "Abs", "Add", "BatchNormalization", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Selu", "Sigmoid", "Softplus", "Sqrt",
    "Sub", "Tanh", "Where",
))  # fmt: skip
"""Operators that a backend makes part of the kernel before them: what else they read comes on top."""


def peaks(target: str) -> Peaks:
    """Of a compute capability such as `sm_89`; of the nearest older one where it has no row, and UNKNOWN for no GPU."""
    known = {int(name.removeprefix("sm_")): row for name, row in PEAKS.items()}
    digits = target.removeprefix("sm_")
    if not digits.isdigit() or not target.startswith("sm_"):
        return UNKNOWN
    older = [capability for capability in known if capability <= int(digits)]
    return known[max(older)] if older else UNKNOWN


def with_shapes(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> ir.Model:
    """A copy whose inputs have these sizes, and all that follows from them: costs need numbers. Weights are shared."""
    made = ir.Model(model.graph.clone(), ir_version=model.ir_version)
    changed = False
    for value in made.graph.inputs:
        given = shapes.get(value.name or "")
        if given is not None and static_shape(value) is None:
            value.shape, changed = ir.Shape(given), True
    if changed:
        for node in ordered(made.graph):
            for value in node.outputs:
                if not value.is_graph_output():
                    value.shape = None
        for value in made.graph.outputs:
            value.shape = None
        common.ClearMetadataAndDocStringPass()(made)
    return infer(made)


def operations(node: ir.Node) -> float:
    """Additions and multiplications of a product; 0 for other operators, and where sizes are unknown."""
    sizes = [static_shape(value) for value in node.inputs]
    out = static_shape(node.outputs[0])
    first, second = (*sizes, None, None)[:2]
    if first is None or second is None or not is_standard(node):
        return 0.0
    match node.op_type:
        case "Conv":
            return 2.0 * math.prod(out or [0]) * math.prod(second[1:])
        case "ConvTranspose":
            return 2.0 * math.prod(first) * math.prod(second[1:])
        case "Gemm":
            return 2.0 * math.prod(out or [0]) * first[0 if attribute(node, "transA", 0) else 1]
        case "MatMul":
            return 2.0 * math.prod(out or [0]) * first[-1]
        case "LSTM" | "GRU" | "RNN":
            recurrent = sizes[2] if len(sizes) > 2 else None
            return 2.0 * math.prod(first[:2]) * (math.prod(second) + math.prod(recurrent or [0]))
        case "Einsum":
            return _einsum(attribute(node, "equation", ""), sizes)
    return 0.0


def _einsum(equation: str, sizes: list[list[int] | None]) -> float:
    """Every combination of the indices once, for each factor after the first."""
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if "." in equation or any(size is None or len(term) != len(size) for term, size in zip(terms, sizes, strict=False)):
        return 0.0
    extents = {
        index: size
        for term, known in zip(terms, sizes, strict=False)
        for index, size in zip(term, known or [], strict=True)
    }
    return 2.0 * (len(terms) - 1) * math.prod(extents.values())


def milliseconds_of(node: ir.Node, precision: str, target: str) -> float:
    """A product alone, with all that it reads and writes in `precision`."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    moved = sum(_elements(value) for value in values) * BYTES[precision]
    return _roofline(operations(node), moved, precision, peaks(target))


def estimate(model: ir.Model, target: str) -> float:
    """Milliseconds of a whole graph, which may hold Casts and Q/DQ; see the module for what is left out."""
    rates = peaks(target)
    total = 0.0
    for node in ordered(model.graph):
        if not is_standard(node) or node.op_type in FREE or any(True for _ in subgraphs(node)):
            continue
        reads = [value for value in node.inputs if value is not None]
        if node.op_type in POINTWISE:
            others = sorted((_read(value) for value in reads if not is_constant(value)), reverse=True)[1:]
            total += 1e3 * sum(others) / (1e9 * rates.bandwidth)
            continue
        moved = sum(map(_read, reads)) + sum(_written(value) for value in node.outputs)
        total += _roofline(operations(node), moved, _computes_in(node), rates)
    return total


def _roofline(operations: float, moved: float, precision: str, rates: Peaks) -> float:
    return 1e3 * max(operations / rates.rate(precision), moved / (1e9 * rates.bandwidth))


def _elements(value: ir.Value) -> int:
    return math.prod(static_shape(value) or [0])


def _size(value: ir.Value) -> float:
    kind = dtype(value)
    return _elements(value) * (kind.itemsize if kind is not None and kind != ir.DataType.STRING else 0)


def _read(value: ir.Value) -> float:
    """Bytes that reading a value takes: quantized ones are read as they are stored."""
    tensor = constant_tensor(value)
    if tensor is not None:
        return float(tensor.nbytes)
    source = _before_dequantize(value)
    return _size(source if source is not None else value)


def _written(value: ir.Value) -> float:
    """Bytes of a result: in int8 where all that read it quantize it first."""
    readers = value.consumers()
    if readers and not value.is_graph_output() and all(node.op_type == "QuantizeLinear" for node in readers):
        return float(_elements(value))
    return _size(value)


def _before_dequantize(value: ir.Value) -> ir.Value | None:
    node = value.producer()
    while node is not None and node.op_type in ("Cast", "Reshape", "Transpose"):
        value = node.inputs[0]  # type: ignore[assignment]
        node = value.producer() if value is not None else None
    return node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else None


def _computes_in(node: ir.Node) -> str:
    """int8 where both factors are dequantized, else the precision of the result."""
    if len(node.inputs) > 1 and all(v is not None and _before_dequantize(v) is not None for v in node.inputs[:2]):
        return "int8"
    kind = dtype(node.outputs[0])
    return PRECISIONS.get(kind, "fp32") if kind is not None else "fp32"
