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
    model = _model([node], taken, [name for name in results if name], held, opset, {domain: version})
    return Case(model, [{name: value for name, value in zip(names, inputs, strict=False) if value is not None}], atol)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    held: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    domains: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """A model whose outputs have the types and ranks that ONNX Runtime infers."""
    import onnxruntime as ort

    empty = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(list(nodes), "form", list(inputs), empty, list(held))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in (domains or {}).items() if d)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = {"float": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10, "double": 11, "bool": 9}
    for value, known in zip(model.graph.output, session.get_outputs(), strict=True):
        kind = known.type.removeprefix("tensor(").removesuffix(")")
        value.CopyFrom(helper.make_tensor_value_info(value.name, kinds[kind], known.shape or None))
    return model


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
