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
    **attributes: Any,
) -> Case:
    """A graph of one node. `inputs` are fed, `constants` follow them, None for what is left out; `order` gives the places of
    all in the node; `used` the outputs that it has."""
    values = [*inputs, *constants]
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
    return Case(model([node], taken, [name for name in results if name], held, feed, opset, domains, sized=not dynamic), [feed], atol)


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


def session(model: onnx.ModelProto) -> Any:
    """ONNX Runtime, for the graph as it is."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


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
form("MultiHeadAttention across", "MultiHeadAttention", [X, normal(2, 2, 6, 4), normal(2, 2, 6, 4, seed=9)], num_heads=2)
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
form("RotaryEmbedding of heads", "RotaryEmbedding", [normal(2, 2, 5, 4), PLACES], [np.cos(ANGLES[:, :2]), np.sin(ANGLES[:, :2])])
