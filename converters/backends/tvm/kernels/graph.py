"""A Relax function as a graph of operators: who computes what, and who uses it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.layout import Planes


@dataclass(eq=False)
class Node:
    """One binding. `op` is empty for what isn't a call of an operator."""

    index: int
    var: Any
    value: Any
    op: str
    inputs: list[Any]
    """The tensors among the arguments, tuples opened: variables and constants."""

    @property
    def attrs(self) -> Any:
        return self.value.attrs

    @property
    def short_op(self) -> str:
        """`conv2d` for `relax.nn.conv2d`."""
        return self.op.rpartition(".")[2]


class Graph:
    """The bindings of a function without control flow, in their order. Raises NotCovered for another function."""

    def __init__(self, function: Any, lowered: Mapping[str, Any] | None = None) -> None:
        self.lowered = lowered or {}
        """The functions that it calls, by name."""
        body = function.body
        blocks = list(body.blocks) if isinstance(body, relax.SeqExpr) else []
        if len(blocks) != 1 or not isinstance(blocks[0], relax.DataflowBlock):
            raise NotCovered("control flow")
        self.result = body.body
        self.bound: dict[Any, Any] = {}
        self.nodes: list[Node] = []
        self.producer: dict[Any, Node] = {}
        self.users: dict[Any, list[Node]] = defaultdict(list)
        for index, binding in enumerate(blocks[0].bindings):
            if not isinstance(binding, relax.VarBinding):
                raise NotCovered("a shape that is known at run time only")
            self.bound[binding.var] = binding.value
            call = isinstance(binding.value, relax.Call) and isinstance(binding.value.op, tvm.ir.Op)
            node = Node(index, binding.var, binding.value, called(binding.value) if call else "", [])
            if call:
                node.inputs = [tensor for argument in binding.value.args for tensor in self._tensors(argument)]
            self.nodes.append(node)
            self.producer[binding.var] = node
            for var in relax.analysis.free_vars(binding.value):
                self.users[var].append(node)
        self.computed: dict[Any, NDArray[Any] | None] = {}
        """What `constant` has found."""
        self.kept = set(relax.analysis.free_vars(self.result))
        """Variables that the function returns."""

    def resolve(self, expression: Any) -> Any:
        """What a variable stands for, if that is another variable, a constant or a tuple; else itself."""
        while isinstance(expression, relax.Var):
            value = self.bound.get(expression)
            if not isinstance(value, relax.Var | relax.Tuple | tvm.ir.GenericConst):
                break
            expression = value
        return expression

    def constant(self, expression: Any) -> NDArray[Any] | None:
        """The value of a constant, or of one behind a DequantizeLinear; None for another expression."""
        expression = self.resolve(expression)
        if isinstance(expression, tvm.ir.GenericConst):
            value: NDArray[Any] = expression.value.numpy()
            return value
        if expression not in self.computed:
            self.computed[expression] = self._compute(self.producer.get(expression))
        return self.computed[expression]

    def _compute(self, node: Node | None) -> NDArray[Any] | None:
        """What an operator makes of constants, None where it isn't one of CONSTANTS, or where one input isn't constant."""
        rule = CONSTANTS.get(node.op) if node else None
        if node is None or rule is None:
            return None
        inputs = [self.constant(tensor) for tensor in node.inputs]
        return None if any(array is None for array in inputs) else rule(node, *inputs)

    def producer_of(self, expression: Any, op: str) -> Node | None:
        """The node that computes a tensor, if it is a call of the operator `op` (its short name)."""
        node = self.producer.get(self.resolve(expression)) if isinstance(expression, relax.Var) else None
        return node if node is not None and node.short_op == op else None

    def rejoined(self, parts: list[Any], axis: int) -> tuple[Any, int, list[Node]]:
        """The tensor that was split along an axis into `parts` and others, the place of the first of them, and the nodes
        that split it.

        None where `parts` are anything else than neighbours in their order.
        """
        picks = [self.producer.get(self.resolve(part)) for part in parts]
        items = [pick for pick in picks if pick is not None and isinstance(pick.value, relax.TupleGetItem)]
        first = items[0].value.index if items else 0
        if len(items) < len(parts) or [item.value.index - first for item in items] != list(range(len(parts))):
            return None, 0, []
        splits = {self.producer_of(item.value.tuple_value, "split") for item in items}
        split = splits.pop()
        if splits or split is None or int(split.attrs.axis) % split.inputs[0].ty.ndim != axis:
            return None, 0, []
        return split.inputs[0], int(first), [*items, split]

    def exclusive(self, nodes: list[Node], end: Node) -> list[Node]:
        """Those of `nodes` whose results nothing but them and `end` uses."""
        inside = {end.index}
        for node in sorted(set(nodes), key=lambda node: -node.index):
            if node.var not in self.kept and all(user.index in inside for user in self.users[node.var]):
                inside.add(node.index)
        return [node for node in self.nodes if node.index in inside and node is not end]

    def computes(self, tensor: Any, ops: Collection[str]) -> bool:
        """Is a tensor the result of one of these operators, by short name?"""
        node = self.producer.get(tensor) if isinstance(tensor, relax.Var) else None
        return node is not None and node.short_op in ops

    def depends(self, var: Any, node: Node) -> bool:
        """Is `var` computed from the result of `node`?"""
        waiting, seen = [var], set()
        while waiting:
            producer = self.producer.get(waiting.pop())
            if producer is None or producer.index < node.index or producer.index in seen:
                continue
            if producer is node:
                return True
            seen.add(producer.index)
            waiting.extend(relax.analysis.free_vars(producer.value))
        return False

    def _tensors(self, argument: Any) -> list[Any]:
        argument = self.resolve(argument)
        if isinstance(argument, relax.Tuple):
            return [tensor for field in argument.fields for tensor in self._tensors(field)]
        return [argument] if isinstance(argument, relax.Var | tvm.ir.GenericConst) else []


PADS = ("pad", "mirror_pad", "replicate_pad", "circular_pad")
"""What TVM's library calls the paddings of ONNX's modes."""


def called(call: Any) -> str:
    """The operator's name. The ONNX frontend lowers a Clip and a Pad at once, to kernels of TVM's library."""
    name: str = call.op.name
    if name == "relax.call_tir":
        lowered = call.args[0].name_hint.rstrip("0123456789_")
        if lowered in ("maximum", "minimum"):
            return f"relax.{lowered}"
        if lowered in PADS:
            return "relax.pad"
    return name


class NotCovered(Exception):
    """Why a function or an operator is left to TVM's own lowering."""


def _dequantized(node: Node, integers: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any]) -> NDArray[Any]:
    kind = str(node.attrs.out_dtype)
    along = [-1 if axis == int(node.attrs.axis) % integers.ndim else 1 for axis in range(integers.ndim)]
    scale, zero = (array.reshape(along if array.size > 1 else ()) for array in (scale, zero))
    numbers: NDArray[Any] = (integers.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
    return numbers.astype(kind)


CONSTANTS: dict[str, Callable[..., NDArray[Any]]] = {
    "relax.dequantize": _dequantized,
    "relax.permute_dims": lambda node, array: array.transpose(
        None if node.attrs.axes is None else [int(axis) for axis in node.attrs.axes]
    ),
}
"""What becomes of constants: operator to its result, given the node and its inputs."""


def shape_of(expression: Any) -> tuple[int, ...] | None:
    """Sizes of a float32 tensor; None for another type or where a size isn't known."""
    kind = expression.ty
    return sizes_of(expression) if isinstance(kind, relax.TensorType) and str(kind.dtype) == "float32" else None


def result_shape(node: Node) -> tuple[int, ...] | None:
    """Sizes of a float32 result, or of the integers that a QuantizeLinear makes of one."""
    return sizes_of(node.var) if node.op == "relax.quantize" else shape_of(node.var)


def sizes_of(expression: Any) -> tuple[int, ...] | None:
    """Sizes of a tensor of any type; None where one isn't known, and for a tensor without elements, for which there is nothing
    to compute."""
    kind = expression.ty
    if not isinstance(kind, relax.TensorType) or kind.shape is None:
        return None
    sizes = list(kind.shape) if isinstance(kind.shape, relax.ShapeExpr) else [None]
    if not all(isinstance(size, tvm.tirx.IntImm) for size in sizes):
        return None
    known = tuple(int(size) for size in sizes if size is not None)
    return known if 0 not in known else None


def planes_of(expression: Any) -> Planes | None:
    """Sizes of a float32 tensor of four axes."""
    shape = shape_of(expression)
    return (shape[0], shape[1], shape[2], shape[3]) if shape is not None and len(shape) == 4 else None


def number(array: NDArray[Any] | None) -> float | None:
    """The number in a constant that holds a single one."""
    return None if array is None or array.size != 1 else float(np.asarray(array).reshape(()))
