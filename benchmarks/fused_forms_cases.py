"""Graphs with operators that ONNX Runtime's optimizer and quantizer write, and of ai.onnx.ml, with inputs for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from enginesmith.converters.graphs.proof import session

Array = NDArray[Any]
MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"


@dataclass(frozen=True)
class Case:
    """A graph and the inputs to try it on; `atol` where its results are not of the order of 1."""

    model: onnx.ModelProto
    feeds: list[dict[str, Any]]
    atol: float = 0.0


CASES: dict[str, Callable[[], Case]] = {}
"""Every form by its name."""


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def whole(*shape: int, low: int = 0, high: int = 255, dtype: Any = np.uint8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(dtype)


def one(
    op: str,
    inputs: Sequence[Array | None],
    constants: Sequence[Array | None] = (),
    outputs: int = 1,
    domain: str = MICROSOFT,
    version: int = 1,
    opset: int = 17,
    order: Sequence[int] | None = None,
    used: Sequence[int] | None = None,
    atol: float = 0.0,
    dynamic: bool = False,
    of_opset: int | None = None,
    **attributes: Any,
) -> Case:
    """A graph of one node. `inputs` are fed, `constants` follow them, None for what is left out; `order` gives the places of
    all in the node; `used` the outputs that it has."""
    values = [*inputs, *constants]
    if of_opset is not None:  # an attribute of that name
        attributes["opset"] = of_opset
    names = [f"i{place}" if value is not None else "" for place, value in enumerate(values)]
    placed = [names[place] if place >= 0 else "" for place in (order if order is not None else range(len(values)))]
    kept = list(used if used is not None else range(outputs))
    results = [f"o{place}" if place in kept else "" for place in range(outputs)]
    node = helper.make_node(
        op, placed, results, domain=domain, name="node", **{k: v for k, v in attributes.items() if v != []}
    )
    taken = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(value.dtype),
            [f"d{size}" if dynamic and axis == 0 else size for axis, size in enumerate(value.shape)],
        )
        for name, value in zip(names, inputs, strict=False)
        if value is not None
    ]
    held = [
        numpy_helper.from_array(value, name)
        for name, value in zip(names[len(inputs) :], constants, strict=True)
        if value is not None
    ]
    feed = {name: value for name, value in zip(names, inputs, strict=False) if value is not None}
    domains = {domain: version} if domain else {}
    return Case(
        model([node], taken, [name for name in results if name], held, feed, opset, domains, sized=not dynamic),
        [feed],
        atol,
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    held: Sequence[onnx.TensorProto],
    feed: dict[str, Any],
    opset: int = 17,
    domains: dict[str, int] | None = None,
    sized: bool = True,
) -> onnx.ModelProto:
    """A model whose outputs have the types, and if `sized` the shapes, that a run on `feed` shows."""
    empty = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(list(nodes), "form", list(inputs), empty, list(held))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*each) for each in (domains or {}).items())]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 21 else 10)
    for value, array in zip(made.graph.output, session(made).run(None, feed), strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = array.shape if sized else [None] * array.ndim
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shape))
    return made


def form(name: str, *given: Any, **more: Any) -> None:
    """Register a graph of one node, as `one` makes it."""
    CASES[name] = partial(one, *given, **more)


X = normal(2, 5, 8)
for activation, parameters in {"Relu": [], "LeakyRelu": [0.25], "Clip": [-0.5, 0.5], "HardSigmoid": [0.2, 0.4]}.items():
    form(
        f"FusedConv {activation}", "FusedConv", [normal(1, 3, 8, 8)], [normal(4, 3, 3, 3), normal(4)],
        activation=activation, activation_params=parameters, pads=[1, 1, 1, 1], strides=[2, 2],
    )  # fmt: skip
form("FusedConv with a sum", "FusedConv", [normal(1, 4, 8, 8), normal(1, 4, 8, 8)], [normal(4, 2, 3, 3), normal(4)],
     order=[0, 2, 3, 1], activation="Relu", group=2, auto_pad="SAME_UPPER")  # fmt: skip
for activation, parameters in {"Relu": {}, "LeakyRelu": {"activation_alpha": 0.3}, "Sigmoid": {}, "Tanh": {}}.items():
    form(f"FusedGemm {activation}", "FusedGemm", [normal(5, 4)], [normal(3, 4), normal(3)],
         transB=1, alpha=0.5, activation=activation, **parameters)  # fmt: skip
form("FusedMatMul scaled", "FusedMatMul", [normal(2, 3, 4, 5)], [normal(5, 6)], alpha=0.25)
form("FusedMatMul transposed", "FusedMatMul", [normal(2, 3, 5, 4), normal(2, 3, 6, 5)], transA=1, transB=1)
form("FusedMatMul transposed batches", "FusedMatMul", [normal(4, 2, 3, 5), normal(5, 2, 3, 6)],
     transBatchA=1, transBatchB=1, alpha=2.0)  # fmt: skip
form("FusedMatMul all transposed", "FusedMatMul", [normal(5, 2, 3, 4), normal(6, 2, 3, 5)],
     transBatchA=1, transBatchB=1, transA=1, transB=1)  # fmt: skip
form("TransposeMatMul", "TransposeMatMul", [normal(5, 4), normal(5, 6)], transA=1)
form("CDist", "CDist", [normal(5, 4)], [normal(6, 4)], metric="euclidean")
form("CDist squared", "CDist", [normal(5, 4)], [normal(6, 4)], metric="sqeuclidean")
form("Gelu", "Gelu", [X])
form("BiasGelu", "BiasGelu", [X], [normal(8)])
form("FastGelu", "FastGelu", [X])
form("FastGelu with a bias", "FastGelu", [X], [normal(8)], dynamic=True)
form("QuickGelu", "QuickGelu", [X], alpha=1.5)

G, B = normal(8, seed=1), normal(8, seed=2)
form("SkipLayerNormalization", "SkipLayerNormalization", [X, normal(2, 5, 8, seed=3)], [G, B])
form("SkipLayerNormalization with a bias and the sum", "SkipLayerNormalization", [X, normal(2, 5, 8, seed=3)],
     [G, B, normal(8, seed=4)], outputs=4, used=[0, 3], epsilon=1e-5)  # fmt: skip
form("SkipLayerNormalization of one skip for all", "SkipLayerNormalization", [X, normal(5, 8, seed=3)], [G, None, B],
     dynamic=True)  # fmt: skip
form("SkipSimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", [X, normal(2, 5, 8, seed=3)], [G, B],
     outputs=4, used=[0, 3])  # fmt: skip
form("SimplifiedLayerNormalization", "SimplifiedLayerNormalization", [X], [G], domain="", axis=-1, epsilon=1e-5)
IDS, KINDS = whole(2, 5, high=9, dtype=np.int32), whole(2, 5, high=1, dtype=np.int32)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
form("EmbedLayerNormalization", "EmbedLayerNormalization", [IDS, KINDS, MASK],
     [normal(10, 8), normal(6, 8), normal(2, 8), G, B], outputs=2, order=[0, 1, 3, 4, 5, 6, 7, 2])  # fmt: skip
form("EmbedLayerNormalization of words alone", "EmbedLayerNormalization", [IDS],
     [normal(10, 8), normal(6, 8), G, B], outputs=3, used=[0, 2], order=[0, -1, 1, 2, -1, 3, 4])  # fmt: skip
W3, B3 = normal(8, 24, scale=0.3), normal(24, seed=5)
form("Attention", "Attention", [X], [W3, B3], num_heads=2)
form("Attention with a mask", "Attention", [X, MASK], [W3, B3], order=[0, 2, 3, 1], num_heads=2)
form("Attention with lengths", "Attention", [X, np.array([3, 5], np.int32)], [W3, B3], order=[0, 2, 3, 1], num_heads=2)
form("Attention with ends and starts", "Attention", [X, np.array([3, 5, 1, 0], np.int32)], [W3, B3],
     order=[0, 2, 3, 1], num_heads=2)  # fmt: skip
form("Attention causal, past and present", "Attention", [X, normal(2, 2, 2, 3, 4)], [W3, B3],
     order=[0, 2, 3, -1, 1], outputs=2, num_heads=2, unidirectional=1)  # fmt: skip
form("Attention with a bias of scores", "Attention", [X, normal(1, 2, 5, 5)], [normal(8, 28, scale=0.3), normal(28)],
     order=[0, 2, 3, -1, -1, 1], num_heads=2, qkv_hidden_sizes=[8, 8, 12], scale=0.4)  # fmt: skip
KV = [normal(2, 5, 8, seed=6), normal(2, 5, 8, seed=7)]
form("MultiHeadAttention", "MultiHeadAttention", [X, *KV], num_heads=2)
form("MultiHeadAttention with a bias and a mask", "MultiHeadAttention", [X[:, :3], *KV, MASK], [B3],
     order=[0, 1, 2, 4, 3], num_heads=2, mask_filter_value=-100.0)  # fmt: skip
form("MultiHeadAttention with a bias of scores", "MultiHeadAttention", [X, *KV, normal(2, 1, 5, 5)],
     order=[0, 1, 2, -1, -1, 3], num_heads=4, scale=0.2)  # fmt: skip
form("MultiHeadAttention with past keys", "MultiHeadAttention", [X, *KV, normal(2, 2, 3, 4), normal(2, 2, 3, 4, seed=9)],
     order=[0, 1, 2, -1, -1, -1, 3, 4], outputs=3, num_heads=2, unidirectional=1)  # fmt: skip
form(
    "MultiHeadAttention across", "MultiHeadAttention", [X, normal(2, 2, 6, 4), normal(2, 2, 6, 4, seed=9)], num_heads=2
)
GROUPED = [normal(1, 3, 64), normal(1, 3, 32, seed=1), normal(1, 3, 32, seed=2), normal(1, 2, 4, 16), normal(1, 2, 4, 16, seed=3),
           np.array([6], np.int32), np.array(7, np.int32)]  # fmt: skip
ANGLES = normal(16, 8)
form("GroupQueryAttention", "GroupQueryAttention", GROUPED, outputs=3, num_heads=4, kv_num_heads=2)
form("GroupQueryAttention rotated", "GroupQueryAttention", GROUPED, [np.cos(ANGLES), np.sin(ANGLES)], outputs=3,
     num_heads=4, kv_num_heads=2, do_rotary=1, scale=0.3)  # fmt: skip
form("GroupQueryAttention capped, within a window", "GroupQueryAttention", GROUPED, outputs=3, num_heads=4, kv_num_heads=2,
     softcap=2.0, local_window_size=3)  # fmt: skip
PLACES = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 3, 1]])
form("RotaryEmbedding", "RotaryEmbedding", [X, PLACES], [np.cos(ANGLES[:, :2]), np.sin(ANGLES[:, :2])])
form("RotaryEmbedding interleaved from an offset", "RotaryEmbedding", [X, np.array([3])],
     [np.cos(ANGLES[:, :2]), np.sin(ANGLES[:, :2])], interleaved=1)  # fmt: skip
form("RotaryEmbedding of parts of heads", "RotaryEmbedding", [normal(2, 5, 16), PLACES],
     [np.cos(ANGLES[:, :2]), np.sin(ANGLES[:, :2])], num_heads=2, rotary_embedding_dim=4)  # fmt: skip
form(
    "RotaryEmbedding of heads",
    "RotaryEmbedding",
    [normal(2, 2, 5, 4), PLACES],
    [np.cos(ANGLES[:, :2]), np.sin(ANGLES[:, :2])],
)


def q(scale: float, zero: int, dtype: Any = np.uint8) -> list[Array]:
    """A scale and a zero point."""
    return [np.array(scale, np.float32), np.array(zero, dtype)]


U, V = whole(2, 5, 8), whole(2, 5, 8, seed=1)
S8 = whole(2, 5, 8, low=-128, high=127, dtype=np.int8)
TWO = [0, 2, 3, 1, 4, 5, 6, 7]
form("QLinearAdd", "QLinearAdd", [U, V], [*q(0.05, 3), *q(0.02, 100), *q(0.06, 50)], order=TWO)
form("QLinearAdd of int8, broadcast", "QLinearAdd", [S8, S8[0, 0]],
     [*q(0.05, 3, np.int8), *q(0.02, -10, np.int8), *q(0.06, 5, np.int8)], order=TWO)  # fmt: skip
form("QLinearMul", "QLinearMul", [U, V], [*q(0.05, 3), *q(0.02, 100), *q(0.1, 50)], order=TWO)
form("QLinearMul by a constant", "QLinearMul", [U], [*q(0.05, 3), whole(8), *q(0.02, 100), *q(0.1, 50)])
form("QLinearSigmoid", "QLinearSigmoid", [U], [*q(0.05, 120), *q(1 / 256, 0)])
form("QLinearSigmoid of int8", "QLinearSigmoid", [S8], [*q(0.05, 0, np.int8), *q(1 / 128, -128, np.int8)])
form("QLinearLeakyRelu", "QLinearLeakyRelu", [U], [*q(0.05, 120), *q(0.04, 60)], alpha=0.2)
form("QLinearSoftmax", "QLinearSoftmax", [U], [*q(0.05, 120), *q(1 / 256, 0)], axis=-1, of_opset=13)
form("QLinearAveragePool", "QLinearAveragePool", [whole(1, 3, 8, 8)], [*q(0.05, 120), *q(0.05, 100)],
     kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])  # fmt: skip
form("QLinearAveragePool, channels last", "QLinearAveragePool", [whole(1, 8, 8, 3)], [*q(0.05, 120), *q(0.05, 100)],
     kernel_shape=[2, 2], channels_last=1)  # fmt: skip
form("QLinearGlobalAveragePool", "QLinearGlobalAveragePool", [whole(1, 3, 8, 8)], [*q(0.05, 120), *q(0.02, 100)])
form("QLinearGlobalAveragePool, channels last", "QLinearGlobalAveragePool", [whole(1, 8, 8, 3)], [*q(0.05, 120), *q(0.02, 100)],
     channels_last=1)  # fmt: skip
form("QLinearConcat", "QLinearConcat", [U, V], [*q(0.06, 50), *q(0.05, 3), *q(0.02, 100)], order=[2, 3, 0, 4, 5, 1, 6, 7],
     axis=1)  # fmt: skip
form("QLinearWhere", "QLinearWhere", [np.tile([True, False], 40).reshape(2, 5, 8), U, V],
     [*q(0.05, 3), *q(0.02, 100), *q(0.06, 50)], order=[0, 1, 3, 4, 2, 5, 6, 7, 8])  # fmt: skip
form("NhwcMaxPool", "NhwcMaxPool", [whole(1, 8, 8, 3)], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
form("QLinearConv, channels last", "QLinearConv", [whole(1, 8, 8, 3)],
     [*q(0.05, 120), whole(4, 3, 3, 3, low=-127, high=127, dtype=np.int8), np.full(4, 0.01, np.float32), np.zeros(4, np.int8),
      *q(0.08, 100), whole(4, low=-900, high=900, dtype=np.int32)], channels_last=1, pads=[1, 1, 1, 1])  # fmt: skip
form("QuantizeLinear of 16 bits", "QuantizeLinear", [X], q(0.001, 30000, np.uint16))
form("DequantizeLinear of 16 bits", "DequantizeLinear", [whole(2, 5, low=-3000, high=3000, dtype=np.int16)],
     q(0.001, 0, np.int16))  # fmt: skip
form("DequantizeLinear by channel", "DequantizeLinear", [whole(2, 5)],
     [np.linspace(0.1, 0.5, 5, dtype=np.float32), whole(5)], axis=1)  # fmt: skip
WEIGHTS = whole(8, 6, low=-127, high=127, dtype=np.int8)
COLUMNS = np.linspace(0.01, 0.02, 6, dtype=np.float32)
form("MatMulIntegerToFloat", "MatMulIntegerToFloat", [U], [WEIGHTS, np.float32(0.05), np.float32(0.01), np.uint8(100)])
form("MatMulIntegerToFloat by column, with a bias", "MatMulIntegerToFloat", [U],
     [whole(8, 6), np.float32(0.05), COLUMNS, np.uint8(100), whole(6), normal(6)])  # fmt: skip
form("DynamicQuantizeMatMul", "DynamicQuantizeMatMul", [X], [WEIGHTS, np.array([0.01], np.float32)])
form(
    "DynamicQuantizeMatMul by column, with a bias",
    "DynamicQuantizeMatMul",
    [X],
    [whole(8, 6), COLUMNS, whole(6), normal(6)],
)
form("DynamicQuantizeMatMul of any batch", "DynamicQuantizeMatMul", [X], [WEIGHTS, COLUMNS], dynamic=True)
form("QGemm", "QGemm", [U[0]], [*q(0.05, 100), WEIGHTS, *q(0.01, 0, np.int8), whole(6, low=-900, high=900, dtype=np.int32),
     *q(0.08, 100)])  # fmt: skip
form("QGemm to floats, by column", "QGemm", [U[0]],
     [*q(0.05, 100), np.ascontiguousarray(WEIGHTS.T), COLUMNS, np.zeros(6, np.int8)], transB=1, alpha=0.5)  # fmt: skip
form("QAttention", "QAttention", [U, MASK], [whole(8, 24, low=-127, high=127, dtype=np.int8), B3, *[np.float32(0.02)] * 2,
     np.uint8(120), np.int8(0)], order=[0, 2, 3, 4, 5, 1, 6, 7], num_heads=2)  # fmt: skip
form("QAttention causal, by column", "QAttention", [U],
     [whole(8, 24), B3, np.float32(0.02), np.linspace(0.01, 0.02, 24, dtype=np.float32), np.uint8(120), whole(24)],
     order=[0, 1, 2, 3, 4, -1, 5, 6], num_heads=2, unidirectional=1)  # fmt: skip
for bits in (4, 8):
    form(f"MatMulNBits of {bits} bits", "MatMulNBits", [normal(3, 64)],
         [whole(10, 2, 32 * bits // 8), normal(20, scale=0.1)], K=64, N=10, bits=bits, block_size=32)  # fmt: skip
form("MatMulNBits with zero points", "MatMulNBits", [normal(3, 48)], [whole(10, 3, 8), normal(30, scale=0.1), whole(20)],
     K=48, N=10, bits=4, block_size=16)  # fmt: skip
form("MatMulNBits in int8, with a bias", "MatMulNBits", [normal(3, 64)],
     [whole(10, 2, 16), normal(20, scale=0.1), None, None, normal(10)], K=64, N=10, bits=4, block_size=32, accuracy_level=4,
     atol=0.1)  # fmt: skip
for name, directions, rows, columns in (("", 1, 1, 1), (" both ways, of a batch, by column", 2, 3, 32)):
    form(f"DynamicQuantizeLSTM{name}", "DynamicQuantizeLSTM", [normal(5, rows, 6)],
         [whole(directions, 6, 32, low=-127, high=127, dtype=np.int8), whole(directions, 8, 32, low=-127, high=127, dtype=np.int8),
          normal(directions, 64), np.full((directions, columns) if columns > 1 else directions, 0.003, np.float32),
          np.zeros((directions, columns) if columns > 1 else directions, np.int8)],
         outputs=3, used=[0, 1], order=[0, 1, 2, 3, -1, -1, -1, -1, 4, 5, 4, 5], hidden_size=8,
         direction=["forward", "bidirectional"][directions - 1], atol=0.02)  # fmt: skip

ROWS = normal(6, 3)
TREE = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1, 1, 1], "nodes_nodeids": [0, 1, 2, 0, 1, 2, 3, 4],
    "nodes_featureids": [1, 0, 0, 0, 2, 0, 0, 0], "nodes_values": [0.2, 0, 0, 0.1, -0.3, 0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "BRANCH_GT", "LEAF", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0, 1, 3, 0, 0, 0], "nodes_falsenodeids": [2, 0, 0, 2, 4, 0, 0, 0],
}  # fmt: skip
LEAVES = [(0, 1), (0, 2), (1, 2), (1, 3), (1, 4)]


def votes(kind: str, ids: Sequence[int], weights: Sequence[float]) -> dict[str, Any]:
    """The weights of the leaves of `TREE` for the targets or classes `ids`, leaf by leaf."""
    return {
        f"{kind}_treeids": [tree for tree, _ in LEAVES for _ in ids],
        f"{kind}_nodeids": [leaf for _, leaf in LEAVES for _ in ids],
        f"{kind}_ids": [*ids] * len(LEAVES),
        f"{kind}_weights": [*weights],
    }


def ml(name: str, op: str, inputs: Sequence[Array], outputs: int = 1, version: int = 1, **attributes: Any) -> None:
    form(name, op, inputs, outputs=outputs, domain=ML, version=version, **attributes)


THREE = {"classlabels_ints": [3, 5, 7]}
ml("Scaler", "Scaler", [ROWS], offset=[0.1, 0.2, 0.3], scale=[2.0, 1.0, -0.5])
for norm in ("MAX", "L1", "L2"):
    ml(f"Normalizer {norm}", "Normalizer", [ROWS], norm=norm)
ml("Imputer", "Imputer", [np.where(np.abs(ROWS) < 0.4, np.nan, ROWS)], imputed_value_floats=[1.0, 2.0, 3.0],
   replaced_value_float=float("nan"))  # fmt: skip
ml("Binarizer", "Binarizer", [ROWS], threshold=0.2)
ml("OneHotEncoder", "OneHotEncoder", [np.array([[1], [3], [9]])], cats_int64s=[1, 3, 4])
ml("ArrayFeatureExtractor", "ArrayFeatureExtractor", [ROWS, np.array([2, 0])])
ml("LabelEncoder", "LabelEncoder", [np.array([3, 1, 8])], version=2, keys_int64s=[1, 3], values_floats=[0.5, 2.5],
   default_float=-1.0)  # fmt: skip
ml("FeatureVectorizer", "FeatureVectorizer", [ROWS, normal(6, 2), normal(6, 1)], inputdimensions=[3, 1, 2])
ml("LinearRegressor", "LinearRegressor", [ROWS], coefficients=[*normal(6)], intercepts=[0.5, 1.0], targets=2,
   post_transform="LOGISTIC")  # fmt: skip
for how in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
    ml(f"LinearClassifier {how}", "LinearClassifier", [ROWS], 2, coefficients=[*normal(9)], intercepts=[0.5, 0.0, -0.5],
       post_transform=how, **THREE)  # fmt: skip
ml("LinearClassifier of one score", "LinearClassifier", [ROWS], 2, coefficients=[*normal(3)], intercepts=[0.1],
   classlabels_ints=[3, 5], post_transform="LOGISTIC")  # fmt: skip
for kernel, params in {
    "LINEAR": [],
    "POLY": [0.5, 1.0, 3.0],
    "RBF": [0.5, 0.0, 3.0],
    "SIGMOID": [0.5, 0.1, 3.0],
}.items():
    ml(f"SVMRegressor {kernel}", "SVMRegressor", [ROWS], kernel_type=kernel, kernel_params=params or [0.0, 0.0, 3.0], n_supports=4,
       support_vectors=[*normal(12)], coefficients=[*normal(4)], rho=[0.1])  # fmt: skip
ml("SVMRegressor of one class", "SVMRegressor", [ROWS], kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0], n_supports=4,
   support_vectors=[*normal(12)], coefficients=[*normal(4)], rho=[0.1], one_class=1)  # fmt: skip
ml("SVMClassifier", "SVMClassifier", [ROWS], 2, kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0], vectors_per_class=[2, 1, 2],
   support_vectors=[*normal(15)], coefficients=[*normal(10)], rho=[0.1, 0.2, -0.3], **THREE)  # fmt: skip
for how in ("NONE", "LOGISTIC"):
    ml(f"SVMClassifier of two, {how}", "SVMClassifier", [ROWS], 2, kernel_type="LINEAR", kernel_params=[0.5, 0.0, 3.0],
       vectors_per_class=[2, 1], support_vectors=[*normal(9)], coefficients=[*normal(3)], rho=[0.1], classlabels_ints=[3, 5],
       post_transform=how)  # fmt: skip
ml("SVMClassifier without vectors", "SVMClassifier", [ROWS], 2, kernel_type="LINEAR", kernel_params=[0.0, 0.0, 3.0],
   coefficients=[*normal(9)], rho=[0.1], **THREE)  # fmt: skip
ml("TreeEnsembleRegressor", "TreeEnsembleRegressor", [ROWS], version=3, n_targets=2, base_values=[0.5, 1.0],
   aggregate_function="AVERAGE", **TREE, **votes("target", [0, 1], normal(10)))  # fmt: skip
ml("TreeEnsembleClassifier of three", "TreeEnsembleClassifier", [ROWS], 2, 3, classlabels_int64s=[3, 5, 7],
   post_transform="SOFTMAX", **TREE, **votes("class", [0, 1, 2], normal(15)))  # fmt: skip
ml("TreeEnsembleClassifier of probabilities", "TreeEnsembleClassifier", [ROWS], 2, 3, classlabels_int64s=[0, 1],
   **TREE, **votes("class", [0, 1], [0.1, 0.4, 0.3, 0.2, 0.4, 0.1, 0.2, 0.3, 0.45, 0.05]))  # fmt: skip
ml("TreeEnsembleClassifier of one score", "TreeEnsembleClassifier", [ROWS], 2, 3, classlabels_int64s=[3, 5],
   base_values=[0.1], post_transform="LOGISTIC", **TREE, **votes("class", [0], normal(5)))  # fmt: skip
ml("TreeEnsembleClassifier of one probability", "TreeEnsembleClassifier", [ROWS], 2, 3, classlabels_int64s=[3, 5],
   **TREE, **votes("class", [1], [0.1, 0.4, 0.3, 0.05, 0.2]))  # fmt: skip
