"""Mutated ONNX files, made from onnx's node tests and from graphs with control flow, functions and Q/DQ nodes."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, helper

NUMBERS = (
    -(2**63),
    -(2**31),
    -2,
    -1,
    0,
    1,
    2,
    3,
    7,
    255,
    4096,
    10**5,
    2**31 - 1,
    2**31,
    10**10,
    2**40,
    2**62,
    2**63 - 1,
)
NAMES = ("", "x", "\0", "a\0b", "\x1b[31mred", "../../etc/passwd", "é" * 50, "n" * 5000, "%s%n", "<b>", "[bold]", "a b")
OPERATORS = (
    *("Relu", "Conv", "MatMul", "Expand", "Tile", "ConstantOfShape", "Range", "Resize", "Pad", "If", "Loop", "Scan"),
    *("Concat", "Reshape", "Gather", "NonZero", "TopK", "Einsum", "LSTM", "QuantizeLinear", "Nope", ""),
)
GRAPHS = (
    """<ir_version: 9, opset_import: ["" : 18]>
    branch (float[1, 3, 8, 8] x, bool c) => (float[1, 4, 8, 8] z, int64[k] n)
      <float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, float[4] b = {1, 2, 3, 4}> {
      y = Conv <pads = [0, 0, 0, 0]> (x, w, b)
      z = If (c) <then_branch = t () => (float[1, 4, 8, 8] a) { a = Relu (y) },
                  else_branch = e () => (float[1, 4, 8, 8] d) { d = Celu (y) }>
      size = Shape (z)
      n = Gather (size, size)
    }""",
    """<ir_version: 9, opset_import: ["" : 18]>
    loop (float[2] x) => (float[2] y, float[k, 2] all) <int64 n = {3}, bool t = {1}> {
      y, all = Loop (n, t, x) <body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w, float[2] s)
        { d = Identity (c) w = Add (v, v) s = Relu (w) }>
    }""",
    """<ir_version: 9, opset_import: ["" : 18, "f" : 1]>
    called (float[n, 4] x) => (float[n, 4] y) { a = f.twice (x) y = f.twice (a) }
    <domain: "f", opset_import: ["" : 18]> twice (a) => (b) { c = Relu (a) b = Add (c, c) }""",
    """<ir_version: 9, opset_import: ["" : 18]>
    sizes (float[n, 3, 4] x) => (float[n, 12] y, float[5, 5] z) <int64[1] minus = {-1}, int64[1] zero = {0}> {
      s = Shape (x) f = Gather (s, zero) r = Concat <axis = 0> (f, minus) y = Reshape (x, r)
      five = Constant <value = int64[2] {5, 5}> () z = ConstantOfShape <value = float[1] {2}> (five)
    }""",
    """<ir_version: 9, opset_import: ["" : 18]>
    quantized (float[1, 8] x) => (float[1, 4] y) <float s = {0.1}, int8 z = {0}, int8[8, 4] w = {
      1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}> {
      q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) e = DequantizeLinear (w, s, z) y = MatMul (d, e)
    }""",
)


def seeds(*, node_tests: bool = True) -> list[bytes]:
    """The files that are mutated: sound, and small. Onnx's node tests take some seconds to make."""
    own = [onnx.parser.parse_model(text).SerializeToString() for text in GRAPHS]
    if not node_tests:
        return own
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case.model.SerializeToString() for case in loader.load_model_tests(kind="node") if case.model]
    return own * (len(cases) // (8 * len(own))) + [content for content in cases if len(content) < 1 << 16]


def mutated(content: bytes, dice: random.Random) -> bytes:
    """One to four changes: of bytes, or of what the message says."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        change = dice.choice((*FIELDS, *FIELDS, *BYTES))
        if change in BYTES:
            content = change(content, dice) or b"\0"
            continue
        try:
            model = onnx.ModelProto.FromString(content)
            change(model, dice)
            content = model.SerializeToString()
        except Exception:  # noqa: BLE001 - what protobuf refuses to hold; the file stays as it is
            continue
    return content


def _flip(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 3, 12))):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def _cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def _repeat(content: bytes, dice: random.Random) -> bytes:
    at, size = dice.randrange(len(content)), dice.randrange(60)
    return content[: at + size] + content[at:]


def _drop(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + content[at + dice.randrange(1, 30) :]


def _node(model: onnx.ModelProto, dice: random.Random) -> onnx.NodeProto:
    found = [*model.graph.node]
    for node in model.graph.node:
        found += [inner for attribute in node.attribute for inner in attribute.g.node]
    for function in model.functions:
        found += function.node
    return dice.choice(found)


def _values(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.output, *model.graph.value_info]


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    inside = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    return [*model.graph.initializer, *inside]


def _rename_input(model: onnx.ModelProto, dice: random.Random) -> None:
    node, other = _node(model, dice), _node(model, dice)
    at = dice.randrange(len(node.input))
    node.input[at] = dice.choice((*NAMES, *other.output, *other.input, *(value.name for value in model.graph.input)))


def _rename_output(model: onnx.ModelProto, dice: random.Random) -> None:
    node, other = _node(model, dice), _node(model, dice)
    node.output[dice.randrange(len(node.output))] = dice.choice((*NAMES, *other.output, *other.input))


def _drop_input(model: onnx.ModelProto, dice: random.Random) -> None:
    node = _node(model, dice)
    del node.input[dice.randrange(len(node.input))]


def _more_inputs(model: onnx.ModelProto, dice: random.Random) -> None:
    node = _node(model, dice)
    node.input.extend([dice.choice([*node.input, ""])] * dice.choice((1, 2, 50)))


def _operator(model: onnx.ModelProto, dice: random.Random) -> None:
    _node(model, dice).op_type = dice.choice((*OPERATORS, _node(model, dice).op_type))


def _domain(model: onnx.ModelProto, dice: random.Random) -> None:
    _node(model, dice).domain = dice.choice(("ai.onnx", "ai.onnx.ml", "com.microsoft", "f", "no.such", "\0"))


def _node_name(model: onnx.ModelProto, dice: random.Random) -> None:
    _node(model, dice).name = dice.choice(NAMES)


def _duplicate(model: onnx.ModelProto, dice: random.Random) -> None:
    model.graph.node.add().CopyFrom(_node(model, dice))


def _shuffle(model: onnx.ModelProto, dice: random.Random) -> None:
    nodes = [*model.graph.node]
    dice.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _drop_node(model: onnx.ModelProto, dice: random.Random) -> None:
    del model.graph.node[dice.randrange(len(model.graph.node))]


def _attribute(model: onnx.ModelProto, dice: random.Random) -> None:
    node = _node(model, dice)
    attribute = dice.choice([*node.attribute])
    match dice.randrange(6):
        case 0:
            node.attribute.remove(attribute)
        case 1:
            attribute.type = dice.choice(AttributeProto.AttributeType.values())
        case 2:
            attribute.i = dice.choice(NUMBERS)
        case 3 if attribute.ints:
            attribute.ints[dice.randrange(len(attribute.ints))] = dice.choice(NUMBERS)
        case 4:
            attribute.name = dice.choice((*NAMES, "axis", "axes", "pads", "to", "value", "body"))
        case _:
            attribute.ints.extend([dice.choice(NUMBERS)] * dice.choice((1, 3, 100)))


def _new_attribute(model: onnx.ModelProto, dice: random.Random) -> None:
    name = dice.choice(
        ("axis", "axes", "pads", "strides", "dilations", "kernel_shape", "to", "keepdims", "group", "mode")
    )
    value = dice.choice((dice.choice(NUMBERS), [dice.choice(NUMBERS)] * 2, 1.5, "text"))
    _node(model, dice).attribute.append(helper.make_attribute(name, value))


def _size(model: onnx.ModelProto, dice: random.Random) -> None:
    shape = dice.choice(_values(model)).type.tensor_type.shape
    if not shape.dim or dice.random() < 0.2:
        shape.dim.add()
    dim = dice.choice([*shape.dim])
    if dice.random() < 0.3:
        dim.dim_param = dice.choice(NAMES)
    else:
        dim.dim_value = dice.choice(NUMBERS)


def _dtype(model: onnx.ModelProto, dice: random.Random) -> None:
    dice.choice(_values(model)).type.tensor_type.elem_type = dice.choice((*range(27), 99, -1))


def _kind(model: onnx.ModelProto, dice: random.Random) -> None:
    value = dice.choice(_values(model))
    match dice.randrange(4):
        case 0:
            value.ClearField("type")
        case 1:
            value.type.tensor_type.ClearField("shape")
        case 2:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1
        case _:
            value.name = dice.choice(NAMES)


def _tensor(model: onnx.ModelProto, dice: random.Random) -> None:
    tensor = dice.choice(_tensors(model))
    match dice.randrange(6):
        case 0:
            tensor.dims.append(dice.choice(NUMBERS))
        case 1 if tensor.dims:
            tensor.dims[dice.randrange(len(tensor.dims))] = dice.choice(NUMBERS)
        case 2:
            tensor.data_type = dice.choice((*range(27), 99, -1))
        case 3:
            tensor.raw_data = dice.randbytes(dice.choice((0, 1, 4, 8, 1000)))
        case 4 if tensor.int64_data:
            tensor.int64_data[dice.randrange(len(tensor.int64_data))] = dice.choice(NUMBERS)
        case _ if tensor.raw_data and tensor.data_type == TensorProto.INT64:
            count = len(tensor.raw_data) // 8
            tensor.raw_data = b"".join(dice.choice(NUMBERS).to_bytes(8, "little", signed=True) for _ in range(count))


def _external(model: onnx.ModelProto, dice: random.Random) -> None:
    tensor = dice.choice(_tensors(model))
    tensor.data_location = TensorProto.EXTERNAL
    location = dice.choice(("m.onnx", "none.bin", "/etc/passwd", "../x", ".", "", "a\0b", "/dev/zero"))
    tensor.external_data.add(key="location", value=location)
    for key in ("offset", "length"):
        if dice.random() < 0.5:
            tensor.external_data.add(key=key, value=str(dice.choice((*NUMBERS, "x", ""))))


def _versions(model: onnx.ModelProto, dice: random.Random) -> None:
    match dice.randrange(4):
        case 0:
            model.ir_version = dice.choice(NUMBERS)
        case 1:
            del model.opset_import[:]
        case 2:
            model.opset_import.add(domain=dice.choice(("", "ai.onnx.ml", "f")), version=dice.choice(NUMBERS))
        case _:
            model.opset_import[0].version = dice.choice((*range(1, 27), *NUMBERS))


def _graph_values(model: onnx.ModelProto, dice: random.Random) -> None:
    values = dice.choice((model.graph.input, model.graph.output, model.graph.initializer))
    if dice.random() < 0.5:
        del values[dice.randrange(len(values))]
    else:
        values.add().CopyFrom(dice.choice([*values]))


def _metadata(model: onnx.ModelProto, dice: random.Random) -> None:
    name = dice.choice(_values(model)).name
    key = dice.choice(("enginesmith.interface.", "enginesmith.bounded.", "")) + dice.choice((name, *NAMES))
    model.metadata_props.add(key=key, value=dice.choice((*NAMES, "uint8", "double", "0=a", "9=a", "0=")))


def _nest(model: onnx.ModelProto, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 3, 12, 30))):
        inner = onnx.GraphProto()
        inner.CopyFrom(model.graph)
        del inner.input[:]
        node = _node(model, dice)
        node.attribute.append(helper.make_attribute(dice.choice(("body", "then_branch", "else_branch")), inner))
        if model.ByteSize() > 1 << 20:
            return


Bytes = Callable[[bytes, random.Random], bytes]
Field = Callable[[onnx.ModelProto, random.Random], None]
BYTES: tuple[Any, ...] = (_flip, _flip, _cut, _repeat, _drop)
FIELDS: tuple[Any, ...] = (
    *(_rename_input, _rename_output, _drop_input, _more_inputs, _operator, _domain, _node_name, _duplicate, _shuffle),
    *(_drop_node, _attribute, _attribute, _new_attribute, _size, _dtype, _kind, _tensor, _tensor, _external, _versions),
    *(_graph_values, _metadata, _nest),
)


def files(seed: int, count: int, *, node_tests: bool = True) -> Iterator[tuple[int, bytes]]:
    """The mutants by their numbers; each depends on the seed and its number alone."""
    sound = seeds(node_tests=node_tests)
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        yield number, mutated(dice.choice(sound), dice)
