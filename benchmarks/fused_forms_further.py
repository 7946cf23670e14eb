"""Forms that were written when the repairs of `fused_forms_cases.py` were done: of the same tools, and of standard operators whose
sizes, trips or indices the data decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.fused_forms_cases import (
    CASES,
    MICROSOFT,
    ML,
    ROWS,
    TREE,
    Array,
    Case,
    X,
    form,
    ml,
    model,
    normal,
    q,
    votes,
    whole,
)

VERSIONS = {MICROSOFT: 1, ML: 3}
F, LONG, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def graph(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Array],
    outputs: Sequence[str],
    held: dict[str, Any] | None = None,
    opset: int = 18,
) -> None:
    """Register a graph of standard operators, with its inputs and constants by name."""

    def make() -> Case:
        taken = [
            helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for key, value in inputs.items()
        ]
        kept = [numpy_helper.from_array(np.asarray(value), key) for key, value in (held or {}).items()]
        domains = {node.domain: VERSIONS[node.domain] for node in nodes if node.domain}
        return Case(model(nodes, taken, outputs, kept, inputs, opset, domains), [inputs])

    CASES[name] = make


def body(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, tuple[int, list[int]]], outputs: dict[str, tuple[int, list[int]]]
) -> Any:
    """A subgraph."""
    values = [[helper.make_tensor_value_info(key, *about) for key, about in each.items()] for each in (inputs, outputs)]
    return helper.make_graph(list(nodes), "body", *values)


N = helper.make_node

form("FusedConv Sigmoid, dilated", "FusedConv", [normal(1, 2, 9)], [normal(4, 2, 3), normal(4)], activation="Sigmoid",
     dilations=[2], pads=[2, 2])  # fmt: skip
form("FusedGemm of a transposed factor, with a column", "FusedGemm", [normal(4, 5)], [normal(4, 3), normal(5, 1)], transA=1,
     alpha=0.5, beta=0.25, activation="Relu")  # fmt: skip
form("Inverse", "Inverse", [normal(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)])
form("Trilu", "Trilu", [X], upper=0)
form("Pad of ONNX Runtime", "Pad", [X], [np.array([0, 1, 2, 0, 1, 1]), np.float32(0.5)], mode="constant")
form("ExpandDims", "ExpandDims", [X], [np.array(1, np.int32)])
form("CropAndResize", "CropAndResize", [normal(1, 2, 8, 8)],
     [np.array([[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]], np.float32), np.zeros(2, np.int32), np.array([4, 3], np.int32)])  # fmt: skip
form("GatherBlockQuantized", "GatherBlockQuantized", [np.array([[0, 3, 5]])],
     [whole(6, 16), normal(6, 2, scale=0.1)], order=[1, 0, 2], block_size=16, gather_axis=0, quantize_axis=1)  # fmt: skip
form("QEmbedLayerNormalization", "QEmbedLayerNormalization", [whole(2, 5, high=9, dtype=np.int32)],
     [whole(10, 8), whole(6, 8), whole(8), whole(8), *map(np.float32, (0.02, 0.03, 0.01, 0.01)),
      *map(np.uint8, (120, 128, 100, 120))],
     outputs=2, order=[0, -1, 1, 2, -1, 3, 4, -1, 5, 6, -1, 7, 8, 9, 10, -1, 11, 12])  # fmt: skip
form(
    "MatMulBnb4",
    "MatMulBnb4",
    [normal(3, 64)],
    [whole(640 // 2), normal(10, scale=0.1)],
    K=64,
    N=10,
    block_size=64,
    quant_type=1,
)
form("MultiHeadAttention of any batch", "MultiHeadAttention", [X, normal(2, 5, 8, seed=6), normal(2, 5, 8, seed=7)], num_heads=2,
     dynamic=True, unidirectional=1)  # fmt: skip
form(
    "QLinearAdd of a scalar", "QLinearAdd", [whole(2, 5, 8)], [*q(0.05, 3), np.uint8(200), *q(0.02, 100), *q(0.06, 50)]
)

ml("LabelEncoder of floats", "LabelEncoder", [np.array([0.5, 1.5, 9], np.float32)], version=2, keys_floats=[0.5, 1.5],
   values_int64s=[7, 8], default_int64=-1)  # fmt: skip
ml("OneHotEncoder of floats", "OneHotEncoder", [np.array([[1], [3], [4]], np.float32)], cats_int64s=[1, 3, 4], zeros=0)
ml("Imputer of integers", "Imputer", [np.array([[1, -1, 3], [-1, 5, 6]])], imputed_value_int64s=[7, 8, 9],
   replaced_value_int64=-1)  # fmt: skip
ml("Scaler of integers", "Scaler", [np.array([[1, 2, 3], [4, 5, 6]])], offset=[0.5], scale=[2.0])
ml("SVMClassifier with probabilities", "SVMClassifier", [ROWS], 2, kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0],
   vectors_per_class=[2, 1, 2], support_vectors=[*normal(15)], coefficients=[*normal(10)], rho=[0.1, 0.2, -0.3],
   prob_a=[-1.0, -2.0, -1.5], prob_b=[0.1, 0.2, -0.1], classlabels_ints=[3, 5, 7])  # fmt: skip
ml("TreeEnsembleRegressor, the least of equals", "TreeEnsembleRegressor", [np.round(ROWS)], version=3, n_targets=1,
   aggregate_function="MIN", **{**TREE, "nodes_values": [0.0, 0, 0, 1, -1, 0, 0, 0],
   "nodes_modes": ["BRANCH_EQ", "LEAF", "LEAF", "BRANCH_NEQ", "BRANCH_GTE", "LEAF", "LEAF", "LEAF"]},
   **votes("target", [0], normal(5)))  # fmt: skip

PICTURE = normal(1, 2, 6, 6)
graph("assignment through a mask of rows", [
    N("NonZero", ["m"], ["at"]), N("Transpose", ["at"], ["rows"], perm=[1, 0]), N("Shape", ["at"], ["count"], start=1),
    N("Concat", ["count", "width"], ["size"], axis=0), N("Expand", ["value", "size"], ["new"]),
    N("ScatterND", ["x", "rows", "new"], ["y"])],
    {"x": normal(6, 3), "m": np.array([True, False, True, True, False, False])}, ["y"],
    {"width": np.array([3]), "value": np.float32(0.5)})  # fmt: skip
graph("sum of compressed rows", [N("Compress", ["x", "m"], ["c"], axis=0), N("ReduceSum", ["c", "axes"], ["y"], keepdims=0)],
      {"x": normal(6, 3), "m": np.array([True, False, True, True, False, False])}, ["y"], {"axes": np.array([0])})  # fmt: skip
graph("how many differ", [N("Unique", ["x"], ["u"], sorted=1), N("Shape", ["u"], ["n"]), N("Cast", ["n"], ["y"], to=F)],
      {"x": whole(12, high=5, dtype=np.int64)}, ["y"])  # fmt: skip
graph("counts of the same number", [
    N("Unique", ["x"], ["u", "first", "inverse", "counts"], sorted=0), N("Gather", ["counts", "inverse"], ["y"])],
    {"x": whole(12, high=5, dtype=np.int64)}, ["y"])  # fmt: skip
graph("the largest score of all that pass", [
    N("Greater", ["x", "level"], ["m"]), N("NonZero", ["m"], ["at"]), N("Transpose", ["at"], ["t"], perm=[1, 0]),
    N("GatherND", ["x", "t"], ["s"]), N("ReduceMax", ["s"], ["y"], keepdims=0)],
    {"x": normal(4, 5)}, ["y"], {"level": np.float32(-0.2)})  # fmt: skip
graph("Loop without a condition, with a scan output", [
    N("Loop", ["trips", "", "x"], ["last", "every"], body=body(
        [N("Identity", ["go"], ["on"]), N("Mul", ["state", "half"], ["new"]), N("Identity", ["new"], ["seen"])],
        {"i": (LONG, []), "go": (B, []), "state": (F, [3])}, {"on": (B, []), "new": (F, [3]), "seen": (F, [3])}))],
    {"x": normal(3)}, ["last", "every"], {"trips": np.array(4), "half": np.float32(0.5)})  # fmt: skip
graph("Scan backwards over a second axis", [
    N("Scan", ["s", "x"], ["last", "every"], num_scan_inputs=1, scan_input_axes=[1], scan_input_directions=[1], body=body(
        [N("Add", ["state", "part"], ["new"]), N("Tanh", ["new"], ["seen"])],
        {"state": (F, [4]), "part": (F, [4])}, {"new": (F, [4]), "seen": (F, [4])}))],
    {"s": normal(4), "x": normal(4, 5)}, ["last", "every"])  # fmt: skip
graph("ConvInteger of two zero points", [N("ConvInteger", ["x", "w", "xz", "wz"], ["c"], pads=[1, 1, 1, 1]), N("Cast", ["c"], ["y"], to=F)],
      {"x": whole(1, 2, 6, 6)}, ["y"], {"w": whole(3, 2, 3, 3), "xz": np.uint8(120), "wz": np.uint8(130)})  # fmt: skip
graph("ArgMax and Softmax of a vector", [
    N("Softmax", ["x"], ["p"], axis=0), N("ArgMax", ["p"], ["at"], axis=0, keepdims=0), N("Gather", ["p", "at"], ["y"])],
    {"x": normal(7)}, ["at", "y"])  # fmt: skip
graph("bits shifted and joined", [N("BitShift", ["x", "n"], ["a"], direction="RIGHT"), N("BitShift", ["x", "one"], ["b"], direction="LEFT"),
      N("BitwiseXor", ["a", "b"], ["c"]), N("Cast", ["c"], ["y"], to=LONG)],
      {"x": whole(8, high=2**20, dtype=np.uint64)}, ["y"], {"n": np.uint64(3), "one": np.uint64(1)})  # fmt: skip
graph("Resize with antialias, down by a half", [N("Resize", ["x", "", "s"], ["y"], mode="linear", antialias=1)], {"x": PICTURE}, ["y"],
      {"s": np.array([1, 1, 0.5, 0.5], np.float32)})  # fmt: skip
graph("one-hot of a size, repeated", [
    N("Shape", ["x"], ["s"], start=0, end=1), N("OneHot", ["where", "depth", "values"], ["h"]), N("Reshape", ["h", "flat"], ["r"]),
    N("Where", ["mask", "s", "r"], ["times"]), N("Tile", ["x", "times"], ["y"])],
    {"x": normal(2, 3)}, ["y"], {"where": np.array([1]), "depth": np.array(2), "values": np.array([1, 2]), "flat": np.array([-1]),
    "mask": np.array([True, False])})  # fmt: skip
graph("RoiAlign, adaptive, output_half_pixel", [
    N("RoiAlign", ["x", "r", "b"], ["y"], mode="avg", output_height=2, output_width=3, sampling_ratio=0, spatial_scale=0.5,
      coordinate_transformation_mode="output_half_pixel")],
    {"x": PICTURE, "r": np.array([[0, 0, 10, 8], [2, 1, 7, 11]], np.float32)}, ["y"], {"b": np.zeros(2, np.int64)})  # fmt: skip
graph("masked mean over any rows", [
    N("Cast", ["m"], ["f"], to=F), N("MatMul", ["f", "x"], ["sum"]), N("ReduceSum", ["f", "axes"], ["n"], keepdims=1),
    N("Div", ["sum", "n"], ["y"])],
    {"x": normal(6, 3), "m": np.array([[True, False, True, True, False, False]])}, ["y"], {"axes": np.array([1])})  # fmt: skip
