"""Operators and element types that a backend does not have, by its support table."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat import support
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.support.probes import TYPED_INPUT
from enginesmith.compat.target import EVERY, TENSORRT, Target
from enginesmith.compat.values import DEFAULT_DOMAINS, argument, dtype, opset_of, qualified

NAMES = {"FLOAT": "float32", "DOUBLE": "float64", "FLOAT8E4M3FN": "float8", "FLOAT4E2M1": "float4"}
"""ONNX's names of element types, where the tables' are more than lower case."""
EXTRA_DOMAINS = {"tensorrt": ("trt.plugins", "TRT"), "tensorrt-rtx": (), "tvm": ()}
"""Domains whose operators a backend looks up among its own plugins."""
CONTRIB = {
    "tensorrt": (),
    "tensorrt-rtx": (
        "GroupQueryAttention", "MatMulNBits", "MultiHeadAttention", "QMoE", "SimplifiedLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    ),
    "tvm": ("Attention", "BiasGelu", "EmbedLayerNormalization", "FastGelu", "SkipLayerNormalization"),
}  # fmt: skip
"""Operators of com.microsoft for which a backend has an importer, taken from the names in TensorRT-RTX 1.7's parser and
in TVM 0.27's converter map."""

OWN_TYPES = ("DequantizeLinear",)
"""Operators with a rule of their own about the types of their input."""


def element_type(value: ir.Value | None) -> str | None:
    """A value's element type as the tables name it, None where it is unknown."""
    found = dtype(value)
    return None if found is None or found == ir.DataType.UNDEFINED else NAMES.get(found.name, found.name.lower())


@rule(
    "unsupported-operator",
    ops="*",
    backends=EVERY,
    remedy="express it in operators that the backend has, or let `doctor --fix` try",
    remedies={
        "NonZero": "write the filter as a mask (Where, Mul) of constant size, or take a TopK of constant K",
        "NonMaxSuppression": "suppress by a masked IoU matrix of constant size, or cut the graph before it and suppress on the host",
        "RoiAlign": "write it as bilinear sampling (GridSample, or Gather and Mul) on a constant number of boxes",
        "Unique": "sort with TopK and mask the duplicates",
        "Compress": "take a Gather of constant size, with a mask",
        "DynamicQuantizeLinear": "quantize with calibrated, constant scales (QuantizeLinear and DequantizeLinear)",
        "Loop": "unroll it: give the trip count as a constant, and let `doctor --fix` write the steps out",
    },
    source="the backend's support table",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
determinant (float[3, 3] x) => (float y) { y = Det (x) }
""",
)
def unsupported_operator(node: ir.Node, target: Target) -> str | None:
    """The backend has no importer for the operator, in this version or at all."""
    if node.domain not in DEFAULT_DOMAINS:
        return None
    if support.lookup(target, node.op_type, opset_of(node.graph)) is not None:
        return None
    later = support.first_version_with(target.backend, node.op_type, target.version)
    return f"{target} has no {node.op_type}" + (f"; {target.backend} {later} has" if later else "")


@rule(
    "custom-domain",
    ops="*",
    backends=EVERY,
    remedy="provide a plugin for it, or express it in standard operators before the export",
    source="onnx-tensorrt ModelImporter.cpp: an operator without an importer is looked up as a plugin",
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
fused (float[2, 3] x, float[3, 4] w) => (float[2, 4] y) { y = com.microsoft.FusedMatMul <alpha = 2.0> (x, w) }
""",
)
def custom_domain(node: ir.Node, target: Target) -> str | None:
    """An operator outside of ONNX's default domain needs an importer or a plugin of its own."""
    if node.domain in DEFAULT_DOMAINS or node.domain in EXTRA_DOMAINS[target.backend]:
        return None
    if node.domain == "com.microsoft" and node.op_type in CONTRIB[target.backend]:
        return None
    return f"{target} has no {qualified(node)}"


@rule(
    "element-type",
    ops="*",
    backends=TENSORRT,
    remedy="cast its inputs to a type that it takes, and its output back",
    source="the backend's support table",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
product (int32[2, 3] x, int32[3, 2] w) => (int32[2, 2] y) { y = MatMul (x, w) }
""",
)
def unsupported_type(node: ir.Node, target: Target) -> str | None:
    """The operator exists, but not for the element type of its main input."""
    index = TYPED_INPUT.get(node.op_type, 0)
    if node.domain not in DEFAULT_DOMAINS or index < 0 or node.op_type in OWN_TYPES:
        return None
    known = support.lookup(target, node.op_type, opset_of(node.graph))
    found = element_type(argument(node, index))
    if known is None or known.types is None or found is None or found in known.types:
        return None
    if _narrowed(found, target) in known.types:
        return None
    return f"its input is {found}; {target} takes {_listed(known.types)}"


def _narrowed(name: str, target: Target) -> str:
    """What the parser makes of a type before anything sees it: float64 in every version, int64 up to 8.6."""
    if name == "int64" and target.backend == "tensorrt" and target.within("<9"):
        return "int32"
    return "float32" if name == "float64" else name


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names, key=support.TYPES.index))
