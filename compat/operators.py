"""What rules and repairs of one family of operators both go by: its members, and what a backend's layers hold of them."""

from __future__ import annotations

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
MAX_K = 3840
"""The most elements that TensorRT's TopK layer returns (onnx-tensorrt docs/operators.md; NVIDIA/TensorRT#4244)."""
