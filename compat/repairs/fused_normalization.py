"""Layer normalizations into which ONNX Runtime's optimizer has put the sums before them, and those that it names itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, required, shape, used

INT32 = ir.DataType.INT32


class Norm:
    """What a layer normalization over the last `axes` computes: `result`, and `mean` and `deviation` (its inverse), each with
    sizes of 1 along those axes. Computed in float32 where `x`, which is of the type of `like`, is of 16 bits."""

    def __init__(
        self, build: Builder, x: ir.Value, like: ir.Value, epsilon: float, axes: list[int], centre: bool = True
    ) -> None:
        modern(build)
        kind = dtype(like)
        if kind is None:
            raise NotApplicable("the type of its input is unknown")
        self.kind, self.build = kind, build
        wide = x if kind == ir.DataType.DOUBLE else build.op("Cast", x, to=ir.DataType.FLOAT)
        number = np.float64 if kind == ir.DataType.DOUBLE else np.float32
        self.mean = build.op("ReduceMean", wide, axes, keepdims=1)
        centred = build.op("Sub", wide, self.mean) if centre else wide
        variance = build.op("ReduceMean", build.op("Mul", centred, centred), axes, keepdims=1)
        deviation = build.op("Sqrt", build.op("Add", variance, number(epsilon)))
        self.deviation = build.op("Reciprocal", deviation)
        self._normal = build.op("Div", centred, deviation)

    def result(self, scale: ir.Value, bias: ir.Value | None) -> ir.Value:
        y = self.build.op("Mul", self.narrow(self._normal), scale)
        return y if bias is None else self.build.op("Add", y, bias)

    def narrow(self, value: ir.Value) -> ir.Value:
        return self.build.op("Cast", value, to=self.kind)


@repair(
    "fused-layer-normalization",
    ops=[
        f"{MICROSOFT}SkipLayerNormalization",
        f"{MICROSOFT}SkipSimplifiedLayerNormalization",
        "SimplifiedLayerNormalization",
    ],
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
normalize (float[2, 3, 4] x, float[3, 4] skip, float[4] g, float[4] b, float[4] c)
  => (float[2, 3, 4] y, float[2, 3, 4] sum) {
  y, , , sum = com.microsoft.SkipLayerNormalization (x, skip, g, b, c)
}
""",
)
def layer_normalization(node: ir.Node, build: Builder) -> Replacement:
    """The input, what skips a block, and a bias are added before the normalization; a simplified one doesn't centre."""
    if node.op_type == "SimplifiedLayerNormalization":
        return _simplified(node, build)
    x, skip, scale = required(node, 3)
    simplified = node.op_type == "SkipSimplifiedLayerNormalization"
    offset, bias = (None, argument(node, 3)) if simplified else (argument(node, 3), argument(node, 4))
    total = build.op("Add", x, skip)
    if bias is not None:
        total = build.op("Add", total, bias)
    norm = Norm(build, total, x, attribute(node, "epsilon", 1e-12), [-1], centre=not simplified)
    y = norm.result(scale, offset)
    return [
        y,
        *(value if used(node, index) else None for index, value in ((1, norm.mean), (2, norm.deviation), (3, total))),
    ]


def _simplified(node: ir.Node, build: Builder) -> Replacement:
    """Without a sum before it: ONNX Runtime has it in ONNX's own domain."""
    x, scale = required(node, 2)
    dimensions = rank(x)
    if dimensions is None:
        raise NotApplicable("the rank of its input is unknown")
    first = attribute(node, "axis", -1) % dimensions
    norm = Norm(build, x, x, attribute(node, "epsilon", 1e-5), list(range(first - dimensions, 0)), centre=False)
    return [norm.result(scale, None), norm.deviation if used(node, 1) else None]


@repair(
    "embed-layer-normalization",
    ops=MICROSOFT + "EmbedLayerNormalization",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
embed (int32[2, 3] ids, int32[2, 3] kinds, float[5, 4] words, float[6, 4] places, float[2, 4] segments, float[4] g, float[4] b,
  int32[2, 3] mask) => (float[2, 3, 4] y, int32[2] lengths, float[2, 3, 4] sum) {
  y, lengths, sum = com.microsoft.EmbedLayerNormalization (ids, kinds, words, places, segments, g, b, mask)
}
""",
)
def embed_layer_normalization(node: ir.Node, build: Builder) -> Replacement:
    """Words, places and segments are looked up and added before the normalization; the lengths count the mask's ones."""
    return _embedded(node, build, [argument(node, place) for place in range(2, 7)], argument(node, 8))


@repair(
    "quantized-embed-layer-normalization",
    ops=MICROSOFT + "QEmbedLayerNormalization",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
embed (int32[1, 2] ids) => (float[1, 2, 2] y, int32[1] lengths) <uint8[3, 2] words = {1, 2, 30, 4, 5, 60},
  uint8[2, 2] places = {10, 2, 3, 40}, uint8[2] g = {100, 200}, uint8[2] b = {10, 20}, float s = {0.02}, uint8 z = {100}> {
  y, lengths = com.microsoft.QEmbedLayerNormalization (ids, , words, places, , g, b, , s, s, , s, s, z, z, , z, z)
}
""",
)
def quantized_embed_layer_normalization(node: ir.Node, build: Builder) -> Replacement:
    """Tables, scales and offsets are dequantized; the rest is EmbedLayerNormalization."""
    tables = [argument(node, place) for place in range(2, 7)]
    scales, zeros = ([argument(node, place) for place in range(start, start + 5)] for start in (8, 13))
    for index, (table, scale, zero) in enumerate(zip(tables, scales, zeros, strict=True)):
        if table is not None:
            tables[index] = build.op("DequantizeLinear", table, scale, zero)
            tables[index].dtype, tables[index].shape = dtype(scale), table.shape
    return _embedded(node, build, tables, None)


def _embedded(
    node: ir.Node, build: Builder, tables: Sequence[ir.Value | None], places: ir.Value | None
) -> list[ir.Value | None]:
    """The outputs of a node from the embeddings of words, places and segments, and the scale and offset of the normalization."""
    words, table, segments, scale, offset = tables
    ids, kinds, mask = (argument(node, place) for place in (0, 1, 7))
    if ids is None or words is None or table is None or scale is None:
        raise NotApplicable("an input is missing")
    total = build.op("Gather", words, ids)
    total = build.op("Add", total, _positions(build, table, ids, places))
    if kinds is not None and segments is not None:
        total = build.op("Add", total, build.op("Gather", segments, kinds))
    norm = Norm(build, total, words, attribute(node, "epsilon", 1e-12), [-1])
    lengths = None
    if used(node, 1):
        if mask is not None:
            ones = build.op("Cast", build.op("Equal", mask, np.int32(1)), to=INT32)
            lengths = build.op("ReduceSum", ones, [1], keepdims=0)
        else:
            lengths = build.op("Expand", np.int32(0), build.op("Shape", ids, end=1))
    return [norm.result(scale, offset), lengths, total if used(node, 2) else None]


def _positions(build: Builder, table: ir.Value, ids: ir.Value, places: ir.Value | None) -> ir.Value:
    """The embeddings of the places 0, 1, … of the words, where the `places` are not given."""
    if places is not None:
        return build.op("Gather", table, places)
    sizes, content = shape(ids), constant(table)
    if sizes is None:
        raise NotApplicable("the rank of its input is unknown")
    length = sizes[1]
    if length is not None:
        return build.constant(content[:length]) if content is not None else build.op("Slice", table, [0], [length], [0])
    return build.op("Slice", table, [0], build.op("Shape", ids, start=1, end=2), [0])
