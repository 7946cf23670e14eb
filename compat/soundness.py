"""Whether a file says what a graph must: names, types, sizes, versions, and who makes what is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import AttributeProto, TensorProto, ValueInfoProto

from enginesmith.compat import external
from enginesmith.compat.findings import Finding, Severity
from enginesmith.compat.values import DEFAULT_DOMAINS
from enginesmith.compat.walk import proto_nodes, proto_subgraphs

LONGEST = 4096
"""Characters of a name."""
MOST_ELEMENTS = 2**60
MOST_DIMENSIONS = 64
EXPORT = "export it again"
FIELDS = {
    **dict.fromkeys(("FLOAT", "COMPLEX64"), "float_data"),
    **dict.fromkeys(("DOUBLE", "COMPLEX128"), "double_data"),
    **dict.fromkeys(("UINT32", "UINT64"), "uint64_data"),
    "INT64": "int64_data",
    "STRING": "string_data",
}
"""Of a tensor whose content is not raw; `int32_data` for all others."""


def finding(message: str, remedy: str = EXPORT, node: str = "", op: str = "", severity: Severity = "error") -> Finding:
    """About the file itself, whatever the backend."""
    return Finding(severity=severity, op=op, node=node, backend="", versions="", message=message, remedy=remedy)


def problems(model: onnx.ModelProto, folder: Path) -> Iterator[Finding]:
    """What is wrong with a model, whose external data lies in `folder`. Its subgraphs are few levels deep."""
    yield from _versions(model)
    yield from _graph(model.graph, frozenset(), main=True)
    for function in model.functions:
        label = f"the function {function.domain}.{function.name}"
        yield from _names([function.name, function.domain, *function.input, *function.output], label)
        yield from _nodes(function.node, set(function.input), list(function.output), label)
    yield from _recursion(model)
    for tensor, kind in external.tensors(model):
        yield from _tensor(tensor, kind, folder)
    for graph in _graphs(model.graph):
        for sparse in graph.sparse_initializer:
            yield from _sparse(sparse)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in proto_subgraphs(node):
            yield from _graphs(inner)


def _versions(model: onnx.ModelProto) -> Iterator[Finding]:
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        yield finding(f"the file's IR version is {model.ir_version}; 1 to {onnx.IR_VERSION} are known")
    if not model.opset_import and model.ir_version >= 3:
        yield finding("the file doesn't say which opset it is in")
    domains = [entry.domain for entry in model.opset_import]
    yield from _names(domains, "an operator domain")
    for entry in model.opset_import:
        if domains.count(entry.domain) > 1:
            yield finding(f"the file says twice in which version of the domain {entry.domain or 'ai.onnx'!r} it is")
        highest = newest if entry.domain in DEFAULT_DOMAINS else 2**31
        if not 1 <= entry.version <= highest:
            name = "opset" if entry.domain in DEFAULT_DOMAINS else f"version of {entry.domain}"
            yield finding(
                f"the file is in {name} {entry.version}; 1 to {highest} are known", "export to an older opset"
            )


def _names(names: Sequence[object], what: str) -> Iterator[Finding]:
    for name in names:
        if not isinstance(name, str):
            yield finding(f"the file is damaged: a name in {what} is no text")
        elif "\0" in name:
            yield finding(f"a name in {what} holds a zero byte, at which tools cut it: {name[:60]!r}", "rename it")
        elif len(name) > LONGEST:
            yield finding(f"a name in {what} has {len(name)} characters: {name[:30]}…", "rename it")
        else:
            continue
        return


def _graph(graph: onnx.GraphProto, outer: frozenset[str], *, main: bool = False) -> Iterator[Finding]:
    label = "the graph" if main else f"the subgraph {graph.name[:60]!r}"
    constants = [tensor.name for tensor in graph.initializer] + [s.values.name for s in graph.sparse_initializer]
    inputs, outputs = [value.name for value in graph.input], [value.name for value in graph.output]
    found = [*_names([graph.name, *inputs, *outputs, *constants], label)]
    if found:
        yield from found
        return
    for what, names in (("inputs", inputs), ("initializers", constants), ("outputs", outputs)):
        if twice := [name for name in set(names) if names.count(name) > 1] if len(set(names)) < len(names) else []:
            yield finding(f"two {what} of {label} are called {sorted(twice)[0]}")
        if "" in names:
            yield finding(f"one of the {what} of {label} has no name")
    if main and not outputs:
        yield finding("the graph has no outputs: it computes nothing")
    for value in (*graph.input, *(graph.output if main else ())):
        yield from _value(value)
    yield from _nodes(graph.node, {*inputs, *constants}, outputs, label, outer)


def _nodes(
    nodes: Sequence[onnx.NodeProto],
    given: set[str],
    outputs: Sequence[str],
    label: str,
    outer: frozenset[str] = frozenset(),
) -> Iterator[Finding]:
    made: set[str] = set()
    for node in nodes:
        names = [node.op_type, node.name, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
        if bad := [*_names(names, f"a node of {label}")]:
            yield from bad
            return
        if not node.op_type:
            yield finding("a node has no operator", node=_label(node))
        if untyped := [attribute.name for attribute in node.attribute if not attribute.type]:
            yield finding(f"its attribute {untyped[0]} has no type", EXPORT, _label(node), node.op_type)
        if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS and len(node.attribute) != 1:
            yield finding(f"a constant has {len(node.attribute)} values, not one", EXPORT, _label(node), node.op_type)
        for name in node.output:
            if name and name in given:
                yield finding(
                    f"the node writes {name}, which it is given", "give each its own name", _label(node), node.op_type
                )
            made.add(name)
    known = outer | given | made
    for node in nodes:
        for name in node.input:
            if name and name not in known:
                yield finding(f"the node reads {name}, which nothing makes", EXPORT, _label(node), node.op_type)
                break
        for inner in proto_subgraphs(node):
            yield from _graph(inner, frozenset(known))
    for name in outputs:
        if name and name not in known:
            yield finding(f"the output {name} of {label} is made by nothing")


def unlike_operators(model: onnx.ModelProto) -> Iterator[Finding]:
    """Nodes that their operators' schemas don't allow, of a model with no `problems`: how many inputs, which attributes.

    ONNX's own checker stops at the first node that is out of order or unknown, and says nothing of those after it.
    """
    for holder, graph in ((model, model.graph), *((function, function) for function in model.functions)):
        versions = {"" if each.domain in DEFAULT_DOMAINS else each.domain: each.version for each in holder.opset_import}
        for node in proto_nodes(graph):
            domain = "" if node.domain in DEFAULT_DOMAINS else node.domain
            try:
                schema = onnx.defs.get_schema(node.op_type, versions.get(domain, 0), domain)
            except onnx.defs.SchemaError:
                continue
            if said := _unlike(node, schema):
                yield finding(said, EXPORT, _label(node), node.op_type)


def _unlike(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> str:
    least, most = schema.min_input, schema.max_input
    if not least <= len(node.input) <= most:
        return f"it has {len(node.input)} inputs, not {least if least == most else f'{least} to {most}'}"
    known = schema.attributes
    given = [attribute for attribute in node.attribute if not attribute.name.startswith("__")]
    names = [attribute.name for attribute in given]
    for name, attribute in zip(names, given, strict=True):
        if name not in known:
            return f"it has an attribute {name}, which the operator has not"
        if names.count(name) > 1:
            return f"it has an attribute {name} twice"
        kind, wanted = AttributeProto.AttributeType.Name(attribute.type), str(known[name].type)
        if wanted != f"AttrType.{kind}":
            return f"its attribute {name} is of the type {kind}, not {wanted.partition('.')[2]}"
    missing = [name for name, attribute in known.items() if attribute.required and name not in names]
    return f"it has no attribute {missing[0]}" if missing else ""


def _label(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "")


def _value(value: ValueInfoProto) -> Iterator[Finding]:
    kind = value.type.WhichOneof("value")
    if kind == "map_type" or (kind == "sequence_type" and value.type.sequence_type.elem_type.HasField("map_type")):
        yield finding(
            f"{value.name} holds maps, which no engine returns (ZipMap, as scikit-learn's converters write it)",
            "convert the model with zipmap=False: its scores are a tensor then",
        )
    if kind != "tensor_type":
        return
    tensor = value.type.tensor_type
    if tensor.elem_type not in _TYPES:
        yield finding(f"the dtype {tensor.elem_type} of {value.name} is not known")
    sizes = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value")]
    # some exporters write -1 for a size that they don't know
    if any(size < -1 for size in sizes):
        yield finding(f"a size of {value.name} is negative: {'x'.join(map(str, sizes))}")
    elif math.prod(max(size, 1) for size in sizes) > MOST_ELEMENTS or len(tensor.shape.dim) > MOST_DIMENSIONS:
        yield finding(f"{value.name} has more elements than any memory holds: {'x'.join(map(str, sizes[:8]))}")
    yield from _names([dim.dim_param for dim in tensor.shape.dim if dim.HasField("dim_param")], "a shape")


_TYPES = set(TensorProto.DataType.values()) & {int(kind) for kind in ir.DataType} - {TensorProto.UNDEFINED}


def _tensor(tensor: TensorProto, kind: str, folder: Path) -> Iterator[Finding]:
    """Does it hold as many bytes as its shape and its dtype take, and may they be read?"""
    found = [*_names([tensor.name], "a tensor")]
    if found:
        yield from found
        return
    what = f"the tensor {tensor.name}" if tensor.name else "a tensor without a name"
    if tensor.data_type not in _TYPES:
        yield finding(f"the dtype {tensor.data_type} of {what} is not known")
        return
    if any(size < 0 for size in tensor.dims) or len(tensor.dims) > MOST_DIMENSIONS:
        yield finding(f"{what} can't have the shape {'x'.join(map(str, tensor.dims[:8]))}")
        return
    count, dtype = math.prod(tensor.dims), ir.DataType(tensor.data_type)
    if count > MOST_ELEMENTS:
        yield finding(f"{what} has more elements than any memory holds: {'x'.join(map(str, tensor.dims[:8]))}")
        return
    size = None if dtype == ir.DataType.STRING else math.ceil(count * dtype.bitwidth / 8)
    if external.is_external(tensor):
        where = external.place(tensor)
        if kind not in ("graph",):
            yield finding(
                f"{what} of a {kind} lies outside the file, which tools don't read", "save it within the file"
            )
        elif size is None:
            yield finding(f"{what} holds texts outside the file, which tools don't read", "save it within the file")
        elif isinstance(where, str):
            yield finding(f"{what} {where}")
        elif reason := external.fault(where, folder, size):
            remedy = "put it beside the model" if "outside" in reason or "missing" in reason else "copy it again"
            yield finding(f"{what} {reason}", remedy)
        return
    if tensor.HasField("segment"):
        yield finding(f"{what} is a part of one, which tools don't read")
    if tensor.HasField("raw_data"):
        if size is None or len(tensor.raw_data) != size:
            yield finding(f"{what} holds {len(tensor.raw_data)} bytes, where its shape takes {size}")
        return
    field = FIELDS.get(dtype.name, "int32_data")
    held = len(getattr(tensor, field))
    wanted = 2 * count if dtype.name.startswith("COMPLEX") else count
    packed = size is not None and dtype.bitwidth < 8 and held == size
    if held != wanted and not packed:
        yield finding(f"{what} holds {held} elements, where its shape has {wanted}")


def _sparse(sparse: onnx.SparseTensorProto) -> Iterator[Finding]:
    """Indices that lie outside would be written to whatever is there."""
    name, shape, indices = sparse.values.name, list(sparse.dims), sparse.indices
    count = sparse.values.dims[0] if sparse.values.dims else 0
    if not shape or any(size <= 0 for size in shape) or math.prod(shape) > MOST_ELEMENTS:
        yield finding(f"the sparse tensor {name} can't have the shape {'x'.join(map(str, shape[:8]))}")
        return
    if indices.data_type != TensorProto.INT64 or list(indices.dims) not in ([count], [count, len(shape)]):
        yield finding(f"the indices of the sparse tensor {name} don't fit its {count} values")
        return
    if external.is_external(indices):
        return  # said of each tensor
    try:
        places = onnx.numpy_helper.to_array(indices)
    except (ValueError, TypeError):
        return
    limits = math.prod(shape) if places.ndim == 1 else shape
    if ((places < 0) | (places >= limits)).any():
        yield finding(f"an index of the sparse tensor {name} lies outside its shape")


def _recursion(model: onnx.ModelProto) -> Iterator[Finding]:
    functions = {(function.domain, function.name): function for function in model.functions}
    if len(functions) < len(model.functions):
        yield finding("two functions have one name")
    calls = {key: {node for node in _called(function.node) if node in functions} for key, function in functions.items()}
    while calls:  # without those that call no other one that is left
        leaves = {key for key, called in calls.items() if not called & set(calls)}
        if not leaves:
            domain, name = sorted(calls)[0]
            yield finding(f"the function {domain}.{name} calls itself", "write it out")
            return
        calls = {key: called for key, called in calls.items() if key not in leaves}


def _called(nodes: Sequence[onnx.NodeProto]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        yield node.domain, node.op_type
        for graph in proto_subgraphs(node):
            yield from _called(graph.node)
