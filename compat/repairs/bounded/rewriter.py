"""Rewrites a graph so that every tensor has a fixed shape: that of its upper bound, with a mask of the rows that are real.

A filter (NonZero and a Gather, boolean indexing) then moves nothing: it only makes the mask smaller. Rows are moved where
their order or number matters: TopK, NonMaxSuppression, Slice, and the graph's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.repairs.bounded.dims import Axis, Dim, Factor, Least, bound, dim, is_exact, is_static
from enginesmith.compat.repairs.bounded.filters import counted
from enginesmith.compat.repairs.bounded.values import Bounded, Size
from enginesmith.compat.target import Target
from enginesmith.compat.values import Array, constant, label, opset_of, qualified, shape, static_shape
from enginesmith.compat.walk import captured

T = TypeVar("T")
Rule = Callable[["Rewriter", ir.Node], Bounded | Sequence[Bounded]]
RULES: dict[str, Rule] = {}
"""How each operator works on bounded tensors; filled by the modules beside this one."""
SOURCES: set[str] = set()
"""Operators whose result's shape depends on the data, whatever their inputs are."""


def rule(*ops: str, source: bool = False) -> Callable[[Rule], Rule]:
    """Register how operators work on bounded tensors: a function from a node to what stands for its outputs."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        if source:
            SOURCES.update(ops)
        return function

    return register


class Rewriter:
    """One run over a graph, in topological order. `known` has what stands for each value that depends on the data."""

    def __init__(self, graph: ir.Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.known: dict[ir.Value, Bounded] = {}
        self.build: Builder
        self.memo: dict[Any, Any] = {}
        """What was made once and serves again, so that equal dimensions stay equal; see `once`."""
        self._count = 0

    def run(self) -> None:
        """Rewrite all nodes that depend on the data. Raises NotApplicable, with the node, where that can't be done."""
        for node in list(self.graph):
            source = node.op_type in SOURCES or counted(node) is not None
            if not source and not any(value in self.known for value in node.inputs if value):
                self._check_subgraphs(node)
                continue
            self.build = Builder(node, self.target)
            try:
                if node.op_type not in RULES or node.domain not in ("", "enginesmith"):
                    raise NotApplicable("no fixed shape can be given to what it computes")
                results = RULES[node.op_type](self, node)
            except NotApplicable as error:
                raise NotApplicable(f"{label(node)} ({qualified(node)}): {error}") from None
            results = [results] if isinstance(results, Bounded) else list(results)
            for output, result in zip(node.outputs, results, strict=False):
                self._note(output, result)
            self.place(node)

    def place(self, node: ir.Node) -> None:
        """Put the nodes that were made since into the graph, before `node`."""
        self.graph.insert_before(node, self.build.nodes)

    def _note(self, output: ir.Value, result: Bounded) -> None:
        """Let `result` stand for an output. Where all of it is real, what follows needs no bound, and stays as it is."""
        plain = result.value is not None and result.static and result.positions is None and result.sizes is None
        if not plain or output.is_graph_output():
            self.known[output] = result
        if plain:
            for user, index in output.uses():
                user.replace_input_with(index, result.value)

    def _check_subgraphs(self, node: ir.Node) -> None:
        if node.attributes and any(value in self.known for value in captured(node)):
            raise NotApplicable(f"{label(node)} ({node.op_type}) works on a size that depends on the data")

    # --- making nodes

    def emit(
        self, op: str, *inputs: Any, shape: Sequence[int], dtype: ir.DataType | None, **attributes: Any
    ) -> ir.Value:
        """A new node's only output. Numbers and arrays among the inputs become constants."""
        return self.emit_all(op, *inputs, outputs=[(shape, dtype)], **attributes)[0]

    def emit_all(
        self, op: str, *inputs: Any, outputs: Sequence[tuple[Sequence[int], ir.DataType | None]], **attributes: Any
    ) -> Sequence[ir.Value]:
        """A new node's outputs, of the given shapes and dtypes."""
        first = len(self.build.nodes)
        values = self.build.ops(op, *inputs, outputs=len(outputs), **attributes)
        for node in self.build.nodes[first:]:
            self._count += 1
            node.name = f"{label(self.build.node)}/{node.op_type}.{self._count}"
            for index, value in enumerate(node.outputs):
                value.name = f"{node.name}:{index}"
        for value, (sizes, dtype) in zip(values, outputs, strict=True):
            value.shape = ir.Shape(sizes)
            if dtype is not None:
                value.dtype = dtype
        return values

    def constant(self, array: Any) -> ir.Value:
        """A constant tensor; Python numbers are int64, float32 or bool."""
        if not isinstance(array, np.ndarray):
            return self.build.constant(array)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        return self.once(key, lambda: self.build.constant(array))

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gave when it was first asked for `key`."""
        if key not in self.memo:
            self.memo[key] = make()
        found: T = self.memo[key]
        return found

    def again(self, node: ir.Node, inputs: Sequence[Any], dims: Sequence[Dim], **changed: Any) -> Bounded:
        """The same operator with the same attributes, except for the changed ones, on other inputs; its first output."""
        shape = [bound(part) for part in dims]
        value = self.emit(
            node.op_type, *inputs, shape=shape, dtype=node.outputs[0].dtype, **(dict(node.attributes) | changed)
        )
        return Bounded(value, tuple(dims))

    # --- reading values

    def get(self, value: ir.Value | None) -> Bounded:
        """What stands for a value. Raises NotApplicable where its shape is unknown though the data don't decide it."""
        if value is None:
            raise NotApplicable("an input is missing")
        if value in self.known:
            return self.known[value]
        sizes = static_shape(value)
        if sizes is None:
            raise NotApplicable(_without_bound(value))
        return Bounded(value, tuple(dim(size) for size in sizes))

    def tensor(self, of: Bounded) -> ir.Value:
        """The padded tensor; rows in it have the numbers that they have in it."""
        if of.value is not None:
            return of.value
        assert of.sizes is not None
        parts = [self._runtime(size) for size in of.sizes]
        if not of.dims:
            return self.emit("Squeeze", parts[0], shape=[], dtype=ir.DataType.INT64)
        return self.emit("Concat", *parts, axis=0, shape=[len(parts)], dtype=ir.DataType.INT64)

    def numeric(self, of: Bounded) -> ir.Value:
        """The padded tensor, with row numbers as the original has them."""
        value, positions = self.tensor(of), of.positions
        if positions is None or all(map(is_exact, positions.of)):
            return value
        if len(positions.of) > 1:
            raise NotApplicable("positions in a dimension that depends on the data are computed with")
        ranks = self.ranks(positions.of[0])
        return self.emit("Gather", ranks, value, shape=of.shape, dtype=ir.DataType.INT64)

    def sizes(self, value: ir.Value | None) -> tuple[Size, ...] | None:
        """The elements of a vector (or scalar) of sizes, None where they are not known as such."""
        if value in self.known:
            return self.known[value].sizes
        array = constant(value, 1 << 12)
        if array is None or array.dtype.kind not in "iu" or array.ndim > 1:
            return None
        return tuple(int(number) for number in array.reshape(-1))

    def numbers(self, value: ir.Value | None, default: Array | None = None) -> Array:
        """A constant input. Raises NotApplicable if it is none."""
        array = default if value is None else constant(value)
        if array is None:
            raise NotApplicable("an input that decides on its shape is no constant")
        return array

    def _runtime(self, size: Size) -> ir.Value:
        """int64[1]: a size as a tensor."""
        if isinstance(size, int):
            return self.constant(np.array([size], np.int64))
        if isinstance(size, Least):
            return self.emit(
                "Min", self.count(size.of), np.array([size.most], np.int64), shape=[1], dtype=ir.DataType.INT64
            )
        return self.count(size)

    # --- masks

    def mask(self, of: Dim) -> ir.Value | None:
        """bool[size]: which rows of a dimension are real; None if all are."""
        if is_static(of):
            return None
        if len(of) == 1:
            return of[0].valid if isinstance(of[0], Axis) else None
        return self.once(("mask", of), lambda: self._product(of))

    def _product(self, of: Dim) -> ir.Value:
        sizes = [bound((factor,)) for factor in of]
        value = self.valid([(factor,) for factor in of])
        value = self.emit("Expand", value, np.array(sizes, np.int64), shape=sizes, dtype=ir.DataType.BOOL)
        return self.reshape(value, [bound(of)])

    def valid(self, dims: Sequence[Dim]) -> ir.Value | None:
        """A mask that broadcasts to a tensor of `dims`; None if all its elements are real."""
        result: ir.Value | None = None
        for index, part in enumerate(dims):
            mask = self.mask(part)
            if mask is None:
                continue
            shape = [1] * len(dims)
            shape[index] = bound(part)
            mask = self.reshape(mask, shape)
            result = mask if result is None else self.both(result, mask)
        return result

    def both(self, one: ir.Value, other: ir.Value) -> ir.Value:
        shape = np.broadcast_shapes(tuple(static_shape(one) or ()), tuple(static_shape(other) or ()))
        return self.emit("And", one, other, shape=shape, dtype=ir.DataType.BOOL)

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        if static_shape(value) == list(shape):
            return value
        key = ("reshape", value, tuple(shape))
        return self.once(
            key, lambda: self.emit("Reshape", value, np.array(shape, np.int64), shape=shape, dtype=value.dtype)
        )

    def filled(self, of: Bounded, number: Any, value: ir.Value | None = None) -> ir.Value:
        """The padded tensor (or `value`, of the same dimensions) with `number` for all that is not real."""
        value = self.tensor(of) if value is None else value
        valid = self.valid(of.dims)
        if valid is None:
            return value
        assert value.dtype is not None
        fill = np.array(number, value.dtype.numpy())
        return self.emit("Where", valid, value, fill, shape=of.shape, dtype=value.dtype)

    def count(self, of: Dim) -> ir.Value:
        """int64[1]: how many rows of a dimension are real."""
        return self.once(("count", of), lambda: self._counted(of))

    def _counted(self, of: Dim) -> ir.Value:
        def total(factor: Factor) -> ir.Value:
            if isinstance(factor, int):
                return self.constant(np.array([factor], np.int64))
            rows = self.emit("Cast", factor.valid, to=ir.DataType.INT64, shape=[factor.bound], dtype=ir.DataType.INT64)
            axes = np.array([0], np.int64)
            return self.emit("ReduceSum", rows, axes, keepdims=1, shape=[1], dtype=ir.DataType.INT64)

        result = total(of[0])
        for factor in of[1:]:
            result = self.emit("Mul", result, total(factor), shape=[1], dtype=ir.DataType.INT64)
        return result

    def first(self, most: int, of: Dim) -> Axis:
        """A packed axis of `most` rows, as many of which are real as `of` has."""

        def make() -> Axis:
            rows = np.arange(most, dtype=np.int64)
            valid = self.emit("Less", rows, self.count(of), shape=[most], dtype=ir.DataType.BOOL)
            return Axis(most, valid, packed=True)

        return self.once(("first", most, of), make)

    # --- moving the real rows to the front

    def ranks(self, of: Dim) -> ir.Value:
        """int64[size]: for each real row, how many come before it."""

        def make() -> ir.Value:
            size = bound(of)
            rows = self.emit("Cast", self.mask(of), to=ir.DataType.INT64, shape=[size], dtype=ir.DataType.INT64)
            total = self.emit("CumSum", rows, np.array(0, np.int64), shape=[size], dtype=ir.DataType.INT64)
            return self.emit("Sub", total, np.array([1], np.int64), shape=[size], dtype=ir.DataType.INT64)

        return self.once(("ranks", of), make)

    def packed(self, of: Dim) -> tuple[Dim, ir.Value]:
        """A dimension with the same rows, the real ones first, and int64[size]: the row of `of` that each one is."""

        def make() -> tuple[Dim, ir.Value]:
            size = bound(of)
            # A row that is not real goes to a place behind the last one, which is cut off.
            goal = self.emit(
                "Where", self.mask(of), self.ranks(of), np.array(size, np.int64), shape=[size], dtype=ir.DataType.INT64
            )
            empty, rows = np.zeros(size + 1, np.int64), np.arange(size, dtype=np.int64)
            order = self.emit("ScatterElements", empty, goal, rows, axis=0, shape=[size + 1], dtype=ir.DataType.INT64)
            order = self.emit(
                "Slice", order, np.array([0]), np.array([size]), np.array([0]), shape=[size], dtype=ir.DataType.INT64
            )
            return dim(self.first(size, of)), order

        return self.once(("packed", of), make)

    def exact(self, of: Bounded, axis: int) -> Bounded:
        """The same tensor, with each row of `axis` where the original has it."""
        if is_exact(of.dims[axis]):
            return of
        new, order = self.packed(of.dims[axis])
        dims = (*of.dims[:axis], new, *of.dims[axis + 1 :])
        value = self.tensor(of)
        value = self.emit("Gather", value, order, axis=axis, shape=[bound(part) for part in dims], dtype=value.dtype)
        return Bounded(value, dims, of.positions and of.positions.moved())


def _without_bound(value: ir.Value) -> str:
    """Why there is no bound for what depends on a value."""
    sizes = shape(value)
    if sizes is None:
        return f"the shape of {value.name} is unknown"
    written = ", ".join(str(size) for size in value.shape or ())
    return f"a bound needs fixed sizes, and {value.name} is [{written}]; give one size to each input with --shape"


def inferred_shape(node: ir.Node, inputs: Sequence[ir.Value | None]) -> list[int]:
    """The shape of the first output of `node` on other inputs, whose shapes are fixed. Raises NotApplicable if unknown."""
    proto = ir.to_proto(node)
    del proto.input[:]
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in inputs:
        proto.input.append(value.name if value is not None and value.name else "")
        if value is None or not value.name or value.dtype is None:
            continue
        types[value.name] = onnx.helper.make_tensor_type_proto(int(value.dtype), static_shape(value))
        array = constant(value, 1 << 12)
        if array is not None:
            data[value.name] = onnx.numpy_helper.from_array(array, value.name)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset_of(node.graph), node.domain)
        found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data)
        sizes = [size.dim_value for size in found[proto.output[0]].tensor_type.shape.dim if size.HasField("dim_value")]
        rank = len(found[proto.output[0]].tensor_type.shape.dim)
    except Exception as error:
        raise NotApplicable(f"its shape can't be inferred: {error}") from error
    if len(sizes) < rank:
        raise NotApplicable("its shape can't be inferred")
    return sizes
