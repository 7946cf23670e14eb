"""Where tensors lie: in ONNX's order, in blocked planes, as integers, or in another tensor's memory in another order.

Asked for a tensor in one of these forms, it gives what holds it, and emits the kernel that changes it over at the border of
a region if nothing does yet.
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from enginesmith.converters.backends.tvm.kernels.anchors import Settings
from enginesmith.converters.backends.tvm.kernels.borders import Pack, Unpack
from enginesmith.converters.backends.tvm.kernels.calls import Calls
from enginesmith.converters.backends.tvm.kernels.expression import Expression, Operand, Step
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.int8.quantized import View as Quantized
from enginesmith.converters.backends.tvm.kernels.int8.quantized import quantization, view_of
from enginesmith.converters.backends.tvm.kernels.integers import RANGES, Integers
from enginesmith.converters.backends.tvm.kernels.layout import Blocked
from enginesmith.converters.backends.tvm.kernels.operators.moves import move_of
from enginesmith.converters.backends.tvm.kernels.pointwise import Concat
from enginesmith.converters.backends.tvm.kernels.regions import Plan
from enginesmith.converters.backends.tvm.kernels.strided import Strided
from enginesmith.converters.backends.tvm.kernels.views import Memory, View, composed


class Places:
    """Of the tensors of one graph, as far as its new function is written."""

    def __init__(self, calls: Calls, graph: Graph, plan: Plan, settings: Settings) -> None:
        self.calls, self.graph, self.plan, self.settings = calls, graph, plan, settings
        self.builder = calls.builder
        self.plain: dict[Any, Any] = {}
        """Variable of the old function to what holds it in the new one, in ONNX's order."""
        self.planes: dict[tuple[Any, int], tuple[Any, Blocked]] = {}
        """Variable of the old function and block to the tensor in blocked planes, and its layout."""
        self.integers: dict[Any, Any] = {}
        """Variable of a QuantizeLinear's result to its integers in rows, as they lie in memory."""

    def memory(self, tensor: Any) -> tuple[Any, Memory]:
        """What holds a tensor's numbers, and the order in which to read them."""
        tensor = self.graph.resolve(tensor)
        base, moves = self.plan.moved.get(tensor, (tensor, ())) if tensor not in self.plain else (tensor, ())
        base = self.graph.resolve(base)
        if isinstance(base, relax.Var) and base not in self.plain and (held := self._held(base)):
            planes, layout = held
            sizes, logical = shape_of(base) or (), layout.view
            view = composed(logical, [lambda view: view.reshaped(sizes), *moves]) if logical else None
            if view is not None:
                return planes, Memory(layout.shape, view)
        rows = self.in_rows(base)
        shape = shape_of(rows)
        assert shape is not None
        view = composed(View.whole(shape), moves)
        assert view is not None
        return rows, Memory(shape, view)

    def copied(self, tensor: Any) -> tuple[Any, Memory]:
        rows = self.in_rows(tensor)
        shape = shape_of(rows)
        assert shape is not None
        return rows, Memory(shape, View.whole(shape))

    def _held(self, tensor: Any) -> tuple[Any, Blocked] | None:
        """A tensor in blocked planes, if a kernel has written it so."""
        return self.planes.get((tensor, self.settings.simd.lanes))

    def in_planes(self, tensor: Any, block: int) -> tuple[Any, Blocked]:
        """A tensor in blocked planes, changed over if it isn't yet."""
        if (tensor, block) not in self.planes:
            sizes, integers = sizes_of(tensor), self.integers_of(tensor)
            assert sizes is not None
            batch, channels, height, width = sizes
            layout = Blocked(batch, channels, height, width, block, self.plan.halos[tensor, block], integers)
            view = view_of(self.graph, tensor)
            if view and (view.integers, block) in self.planes:
                self.planes[tensor, block] = (self._dequantized(tensor, view, layout), layout)
                return self.planes[tensor, block]
            if (memory := self._scattered(tensor)) is not None:
                moved = self.calls.emit("pack", Pack(layout, memory[1]), [memory[0]], layout.shape, self._near(tensor))
                self.planes[tensor, block] = (moved, layout)
                return self.planes[tensor, block]
            plain = self.in_memory(tensor)
            if layout.shape[2:] == (1, 1, block) and layout.channels % block == 0:
                moved = self.builder.emit(relax.op.reshape(plain, layout.shape))
            else:
                moved = self.calls.emit(
                    "pack", Pack(layout), [plain], layout.shape, self._near(tensor), type_of(layout.shape, integers)
                )
            self.planes[tensor, block] = (moved, layout)
        return self.planes[tensor, block]

    def _scattered(self, tensor: Any) -> tuple[Any, Memory] | None:
        """What holds a tensor that is another one's numbers in another order, and which; None where it lies in order."""
        if tensor in self.plain or tensor not in self.plan.moved:
            return None
        held, memory = self.memory(tensor)
        return None if memory.plain else (held, memory)

    def in_rows(self, tensor: Any) -> Any:
        """A tensor in ONNX's order, changed back if it is in blocked planes alone. Parameters and constants stay."""
        if tensor in self.plain:
            return self.plain[tensor]
        tensor = self.graph.resolve(tensor)
        if tensor in self.plan.moved:
            return self._move(tensor)
        if tensor not in self.plain and isinstance(tensor, relax.Var):
            made = self._changed_back(tensor)
            if made is not None:
                self.plain[tensor] = made
        return self.plain.get(tensor, tensor)

    def _changed_back(self, tensor: Any) -> Any:
        """A variable in ONNX's order and type; None where it is nothing that was changed."""
        integers = self.integers_of(tensor)
        if integers and (tensor in self.integers or self._held(tensor)):
            kind = str(tensor.ty.dtype)
            return self._shifted(self.in_memory(tensor), RANGES[kind][0] - integers.low, kind)
        if self._held(tensor):
            return self._unpacked(tensor)
        if tensor in self.graph.producer and self.lazy(tensor):
            array = self.graph.constant(tensor)
            if array is not None:
                return relax.const(array)
            return self.builder.emit(self.replaced(self.graph.bound[tensor]))
        return None

    def in_memory(self, tensor: Any) -> Any:
        """A tensor in ONNX's order, the result of a QuantizeLinear as its integers lie in memory."""
        integers = self.integers_of(tensor)
        if integers is None:
            return self.in_rows(tensor)
        if tensor not in self.integers:
            if self._held(tensor):
                self.integers[tensor] = self._unpacked(tensor)
            else:
                shift = integers.low - RANGES[str(tensor.ty.dtype)][0]
                self.integers[tensor] = self._shifted(self.in_rows(tensor), shift, integers.dtype)
        return self.integers[tensor]

    def _unpacked(self, tensor: Any) -> Any:
        """What lies in blocked planes in ONNX's order, of the same type as in memory."""
        planes, layout = self.planes[tensor, self.settings.simd.lanes]
        plain = planes
        if layout.shape[2:] != (1, 1, layout.block) or layout.channels % layout.block:
            plain = self.calls.emit(
                "unpack",
                Unpack(layout),
                [planes],
                layout.logical,
                self._near(tensor),
                type_of(layout.logical, layout.integers),
            )
        if tuple(plain.ty.shape) != tuple(tensor.ty.shape):
            plain = self.builder.emit(relax.op.reshape(plain, sizes_of(tensor)))
        return plain

    def _shifted(self, tensor: Any, shift: int, dtype: str) -> Any:
        """Integers in rows, moved into the range of another type."""
        wide = relax.op.add(relax.op.astype(tensor, "int16"), relax.const(shift, "int16"))
        return self.builder.emit(relax.op.astype(wide, dtype))

    def _dequantized(self, tensor: Any, view: Quantized, layout: Blocked) -> Any:
        """float32 planes of integers in planes, for a kernel that doesn't read integers."""
        planes, integers = self.planes[view.integers, layout.block]
        expression = Expression((Operand("number"),), (Step("multiply", (0, 1)),))
        kernel = Concat(self.settings.simd, [integers], layout, expression)
        return self.calls.emit("dequantize", kernel, [planes, view.constant()], layout.shape, self._near(tensor))

    def integers_of(self, tensor: Any) -> Integers | None:
        """How the result of a QuantizeLinear lies in memory; None for another tensor."""
        kind = quantization(self.graph, tensor)
        return self.settings.dot.integers(*kind) if kind else None

    def lazy(self, var: Any) -> bool:
        """Is a variable computed only where it turns out to be needed?"""
        return self.graph.constant(var) is not None or view_of(self.graph, var) is not None

    def _near(self, tensor: Any) -> list[Node]:
        """What computes a tensor, or gives it its order; of an input of the graph, what reads it first."""
        if moves := self.moves(tensor):
            return moves
        producer = self.graph.producer.get(tensor)
        return [producer] if producer else self.graph.users[tensor][:1]

    def moves(self, tensor: Any) -> list[Node]:
        """The operators that only change the order in which a tensor is read, the last one first."""
        nodes = []
        while (tensor := self.graph.resolve(tensor)) in self.plan.moved:
            nodes.append(self.graph.producer[tensor])
            moved = move_of(self.graph, nodes[-1])
            assert moved is not None
            tensor = moved[0]
        return nodes

    def _move(self, tensor: Any) -> Any:
        """A tensor of another order in memory of its own; as it is where the order is the same."""
        held, memory = self.memory(tensor)
        shape = memory.view.shape
        if memory.plain:
            self.plain[tensor] = self.builder.emit(relax.op.reshape(held, shape))
        else:
            kernel = Strided(self.settings.simd, [memory], [], shape, 0, Expression())
            self.plain[tensor] = self.calls.emit("copy", kernel, [held], shape, self._near(tensor))
        return self.plain[tensor]

    def replaced(self, expression: Any) -> Any:
        """An expression of the old function in terms of the new one."""
        places = self

        @mutator
        class Replace(PyExprMutator):  # type: ignore[misc]
            def visit_var_(self, var: Any) -> Any:
                return places.in_rows(var)

            def visit_dataflow_var_(self, var: Any) -> Any:
                return places.in_rows(var)

        return Replace().visit_expr(expression)


def type_of(shape: Any, integers: Integers | None) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shape and dtype of a result that may be integers."""
    return ((tuple(shape), integers.dtype if integers else "float32"),)
