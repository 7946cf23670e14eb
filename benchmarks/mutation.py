"""Mutants of a graph: one operator, attribute, weight or edge changed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array: TypeAlias = np.ndarray[Any, Any]

UNARY = (  # noqa: SIM905 - words on three lines, and not on forty
    "Abs Neg Identity Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Softplus "
    "Softsign Tanh Exp Log Sqrt Reciprocal Floor Ceil Round Sign Sin Cos Tan Sinh Cosh Asin "
    "Acos Atan Asinh Acosh Atanh Erf Gelu Mish ThresholdedRelu"
).split()
FAMILIES = [
    ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum"],
    ["And", "Or", "Xor"],
    ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"],
    ["BitwiseAnd", "BitwiseOr", "BitwiseXor"],
    [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSum",
        "ReduceLogSumExp",
    ],
    ["ArgMax", "ArgMin"],
    ["MaxPool", "AveragePool", "LpPool"],
    ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"],
    ["Softmax", "LogSoftmax", "Hardmax"],
    ["IsNaN", "IsInf"],
]
NEAR = {
    "Relu": ["Abs", "Identity", "LeakyRelu", "Elu"],
    "LeakyRelu": ["Relu", "Identity"],
    "Elu": ["Relu", "Selu", "Celu", "Identity"],
    "Clip": ["Identity"],
    "Dropout": ["Identity"],
    "Softplus": ["Relu"],
    "HardSwish": ["Relu"],
    "Floor": ["Ceil", "Round", "Identity"],
    "Round": ["Floor", "Ceil"],
    "Not": ["Identity"],
    "Sign": ["Identity"],
    "PRelu": [],
    "IsInf": [],
}
"""Siblings that are hardest to tell apart, beside those of the family."""
WORDS = [
    ("constant", "reflect", "edge", "wrap"),
    ("nearest", "linear", "cubic"),
    ("bilinear", "nearest", "bicubic"),
    ("zeros", "border", "reflection"),
    ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
    ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    ("none", "add", "mul", "max", "min"),
    ("LEFT", "RIGHT"),
    ("DCR", "CRD"),
    ("forward", "reverse"),
    ("none", "tanh"),
    ("SAME_UPPER", "SAME_LOWER"),
    ("avg", "max"),
]
SIBLINGS = {op: [other for other in family if other != op] for family in (UNARY, *FAMILIES) for op in family}


@dataclass(frozen=True)
class Mutant:
    """`kind`: operator, attribute, weight or edge; `op` is the operator it was done to."""

    kind: str
    op: str
    what: str
    model: onnx.ModelProto


def mutants(
    model: onnx.ModelProto, types: dict[str, tuple[int, tuple[int, ...] | None]], seed: int
) -> Iterator[Mutant]:
    """All that are written down for the graph's nodes, in a seeded order; not all are valid, nor different for any input.
    `types` holds each value's element type and shape.
    """
    rng = random.Random(seed)
    found: list[tuple[str, int, str, Callable[[onnx.ModelProto], None]]] = []

    def changed(kind: str, index: int, what: str, change: Callable[[onnx.ModelProto], None]) -> None:
        found.append((kind, index, what, change))

    for index, node in enumerate(model.graph.node):
        for sibling in _siblings(node, rng):
            changed("operator", index, f"{node.op_type} -> {sibling}", _retyped(index, sibling))
        for attribute in node.attribute:
            for value in _values(attribute):
                changed("attribute", index, f"{attribute.name} = {value}", _reset(index, attribute.name, value))
        for what, change in _edges(model, index, types, rng):
            changed("edge", index, what, change)
    users = {name: index for index, node in reversed(list(enumerate(model.graph.node))) for name in node.input}
    for number, tensor in enumerate(model.graph.initializer):
        if tensor.name in users:
            for what, change in _weights(tensor):
                changed(
                    "weight",
                    users[tensor.name],
                    f"{tensor.name}: {what}",
                    _refilled(number, change, rng.getrandbits(32)),
                )
    rng.shuffle(found)
    for kind, index, what, change in found:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        change(copy)
        yield Mutant(kind, model.graph.node[index].op_type, what, copy)


def _siblings(node: onnx.NodeProto, rng: random.Random) -> list[str]:
    others = SIBLINGS.get(node.op_type, [])
    drawn = rng.sample(others, min(4, len(others)))
    return [op for op in dict.fromkeys([*NEAR.get(node.op_type, []), *drawn]) if op != node.op_type]


def _retyped(index: int, op: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = model.graph.node[index]
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        known = onnx.defs.get_schema(op, opset).attributes if onnx.defs.has(op) else {}
        kept = [attribute for attribute in node.attribute if attribute.name in known]
        del node.attribute[:]
        node.attribute.extend(kept)
        if op == "Identity":
            del node.input[1:]
        node.op_type = op

    return change


def _values(attribute: onnx.AttributeProto) -> list[object]:
    value = helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.INT:
        if attribute.name in ("to", "dtype", "output_dtype"):
            return []
        return [1 - value] if value in (0, 1) and attribute.name not in ("axis", "group") else [value + 1, value - 1]
    if attribute.type == onnx.AttributeProto.FLOAT:
        return [value * 1.1 + 0.01, -value, 0.0]
    if attribute.type == onnx.AttributeProto.INTS and value:
        bumped = [[*value[:i], value[i] + 1, *value[i + 1 :]] for i in range(len(value))]
        return [*bumped[:4], list(reversed(value))] if len(value) > 1 else bumped
    if attribute.type == onnx.AttributeProto.FLOATS and value:
        return [[value[0] * 1.1 + 0.01, *value[1:]]]
    if attribute.type == onnx.AttributeProto.STRING:
        word = value.decode()
        return [other for words in WORDS if word in words for other in words if other != word]
    return []


def _reset(index: int, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for attribute in model.graph.node[index].attribute:
            if attribute.name == name:
                attribute.CopyFrom(helper.make_attribute(name, value))

    return change


def _edges(
    model: onnx.ModelProto, index: int, types: dict[str, tuple[int, tuple[int, ...] | None]], rng: random.Random
) -> Iterator[tuple[str, Callable[[onnx.ModelProto], None]]]:
    """Two inputs swapped, and one taken from elsewhere: values of the same type and shape that are there already."""
    node = model.graph.node[index]
    earlier = [value.name for value in model.graph.input]
    earlier += [name for before in model.graph.node[:index] for name in before.output if name]
    weights = [tensor.name for tensor in model.graph.initializer]
    for place, name in enumerate(node.input):
        if not name or types.get(name, (0, None))[1] is None:
            continue
        for other in range(place + 1, len(node.input)):
            if node.input[other] and types.get(node.input[other]) == types[name] and node.input[other] != name:
                yield f"inputs {place} and {other} swapped", _rewired(index, {place: node.input[other], other: name})
        pool = weights if name in weights else earlier
        same = [each for each in pool if each != name and types.get(each) == types[name]]
        for each in rng.sample(same, min(2, len(same))):
            yield f"input {place} is {each}", _rewired(index, {place: each})


def _rewired(index: int, inputs: dict[int, str]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for place, name in inputs.items():
            model.graph.node[index].input[place] = name

    return change


def _weights(tensor: onnx.TensorProto) -> Iterator[tuple[str, Callable[[Array, np.random.Generator], Array]]]:
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type).kind
    if not math.prod(tensor.dims) or kind not in "fiub":
        return
    if kind != "f":
        yield "an element is another", _other_element
        return
    yield "an element has another sign", _other_sign
    yield "1 % larger", lambda array, rng: np.asarray(array * 1.01, array.dtype)
    if len(tensor.dims) > 1:
        yield "first axis reversed", lambda array, rng: np.ascontiguousarray(array[::-1])


def _other_sign(array: Array, rng: np.random.Generator) -> Array:
    flat = array.copy().reshape(-1)
    place = rng.integers(flat.size)
    flat[place] = -flat[place] or flat.std() or 1
    return flat.reshape(array.shape)


def _other_element(array: Array, rng: np.random.Generator) -> Array:
    flat = array.copy().reshape(-1)
    place = rng.integers(flat.size)
    flat[place] = not flat[place] if array.dtype == bool else flat[place] + 1
    return flat.reshape(array.shape)


def _refilled(
    number: int, change: Callable[[Array, np.random.Generator], Array], seed: int
) -> Callable[[onnx.ModelProto], None]:
    def filled(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[number]
        array = change(numpy_helper.to_array(tensor), np.random.default_rng(seed))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    return filled
