"""Puts the planned kernels into a function: layouts, packed weights, changes of layout at the borders of regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from enginesmith.converters.tvm_kernels import account, traces
from enginesmith.converters.tvm_kernels.anchors import Kernel, Settings, WeightedKernel
from enginesmith.converters.tvm_kernels.borders import Pack, Unpack
from enginesmith.converters.tvm_kernels.expression import Expression, Operand, Step
from enginesmith.converters.tvm_kernels.graph import Graph, Node, shape_of, sizes_of
from enginesmith.converters.tvm_kernels.int8.integers import RANGES, Integers
from enginesmith.converters.tvm_kernels.int8.quantized import View as Quantized
from enginesmith.converters.tvm_kernels.int8.quantized import held, quantization, view_of
from enginesmith.converters.tvm_kernels.layout import Blocked, Halo
from enginesmith.converters.tvm_kernels.operators.moves import move_of
from enginesmith.converters.tvm_kernels.pointwise import Concat
from enginesmith.converters.tvm_kernels.regions import Group, Plan
from enginesmith.converters.tvm_kernels.strided import Strided
from enginesmith.converters.tvm_kernels.views import Memory, View, composed


class Rewriter:
    """Writes the new function of one graph. `names` counts the calls of each kernel, by its name."""

    def __init__(self, module: Any, graph: Graph, plan: Plan, settings: Settings) -> None:
        """`module` holds the functions that the graph calls."""
        self.graph, self.plan, self.settings = graph, plan, settings
        self.builder = relax.BlockBuilder(module)
        self.kernels: dict[Any, Any] = {}
        self.labels: Counter[str] = Counter()
        self.works: list[account.Work] = []
        self.plain: dict[Any, Any] = {}
        """Variable of the old function to what holds it in the new one, in ONNX's order."""
        self.planes: dict[tuple[Any, int], tuple[Any, Blocked]] = {}
        """Variable of the old function and block to the tensor in blocked planes, and its layout."""
        self.integers: dict[Any, Any] = {}
        """Variable of a QuantizeLinear's result to its integers in rows, as they lie in memory."""

    def function(self, name: str, old: Any) -> Any:
        """A module with the new function and its kernels."""
        ends = {group.last.index: group for group in self.plan.groups}
        inside = {node.index for group in self.plan.groups for node in group.nodes}
        with self.builder.function(name, params=old.params, attrs=dict(old.attrs) if old.attrs else {}):
            with self.builder.dataflow():
                for node in self.graph.nodes:
                    if node.index in ends:
                        group = ends[node.index]
                        (self._emit_strided if group.anchor.strided else self._emit_group)(group)
                    elif node.index not in inside and node.var not in self.plan.moved and not self._lazy(node.var):
                        self.plain[node.var] = self.builder.emit(self._replaced(node.value))
                result = self.builder.emit_output(self._replaced(self.graph.result))
            self.builder.emit_func_output(result)
        return self.builder.get()

    def _emit_strided(self, group: Group) -> None:
        """Sources and operands are read where they lie, in whatever order; copied first if that can't be cut into loops."""
        shape = shape_of(group.result)
        assert shape is not None
        tensors = [tensor for tensor, _, _ in group.anchor.sources]
        single = len(tensors) == 1
        expression = Expression(tuple(Operand("view") for _ in group.chain.operands), _numbered(group))
        for read in (self._memory, self._copied):
            sources = [read(tensor) for tensor in tensors]
            operands = [read(tensor) for tensor in group.chain.operands]
            kernel = group.anchor.make(
                [memory.broadcast(shape) if single else memory for _, memory in sources],
                [memory.broadcast(shape) for _, memory in operands],
                expression,
            )
            if kernel is not None and kernel.readable:
                break
        arguments = [argument for argument, _ in (*sources, *operands)]
        nodes = [*group.nodes, *(node for tensor in (*tensors, *group.chain.operands) for node in self._moves(tensor))]
        self.plain[group.result] = self._call(group.anchor.label, kernel, arguments, shape, nodes, counted=True)

    def _memory(self, tensor: Any) -> tuple[Any, Memory]:
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
        rows = self._in_rows(base)
        shape = shape_of(rows)
        assert shape is not None
        view = composed(View.whole(shape), moves)
        assert view is not None
        return rows, Memory(shape, view)

    def _copied(self, tensor: Any) -> tuple[Any, Memory]:
        rows = self._in_rows(tensor)
        shape = shape_of(rows)
        assert shape is not None
        return rows, Memory(shape, View.whole(shape))

    def _held(self, tensor: Any) -> tuple[Any, Blocked] | None:
        """A tensor in blocked planes, if a kernel has written it so."""
        return self.planes.get((tensor, self.settings.simd.lanes))

    def _emit_group(self, group: Group) -> None:
        start, lanes = group.anchor, self.settings.simd.lanes
        tensors: list[Any] = []
        layouts: list[Any] = []
        for tensor, block, _ in start.sources:
            at, layout = self._in_planes(tensor, block) if block else (self._in_memory(tensor), None)
            tensors.append(at)
            layouts.append(layout)
        operands, arguments = [], []
        for tensor, kind in group.chain.operands.items():
            layout = integers = None
            if kind in ("channel", "number"):
                at = self._per_channel(tensor, start.shape if kind == "channel" else None)
            elif start.shape is None:
                at, integers = self._in_memory(held(self.graph, tensor)), self._integers(held(self.graph, tensor))
            else:
                at, layout = self._in_planes(held(self.graph, tensor), lanes)
            operands.append(Operand(kind, layout, integers))
            arguments.append(at)
        result = group.result
        integers = self._integers(result)
        expression = Expression(tuple(operands), _numbered(group), integers)
        if start.shape is None:
            target = None
            shape = sizes_of(result)
        else:
            target = Blocked(*start.shape, lanes, self.plan.halos.get((result, lanes), Halo()), integers)
            shape = target.shape
        kernel = start.make(layouts, target, expression)
        if start.weights is not None:
            assert isinstance(kernel, WeightedKernel)
            tensors.append(relax.const(kernel.pack(start.weights)))
        call = self._call(start.label, kernel, [*tensors, *arguments], shape, group.nodes,
                          start.results or _type(shape, integers), counted=True,
                          dtype="float32" if start.scale is None else "int8")  # fmt: skip
        if target is None:
            (self.integers if integers else self.plain)[result] = call
        else:
            self.planes[result, lanes] = (call, target)

    def _call(
        self,
        label: str,
        kernel: Kernel,
        arguments: list[Any],
        shape: Any,
        nodes: Sequence[Node],
        results: tuple[tuple[tuple[int, ...], str], ...] = (),
        *,
        counted: bool = False,
        dtype: str = "float32",
    ) -> Any:
        """A call of a kernel, which is built if there is none like it yet. `nodes` are what it computes (`counted`), or
        whose result it moves. The result is a float32 tensor of a shape, or several `results`: shapes and dtypes. `dtype`
        is that of the factors."""
        key = (type(kernel).__name__, *sorted(vars(kernel).items()))
        if key not in self.kernels:
            name = f"{label.replace(' ', '_')}_{len(self.kernels)}"
            self.kernels[key] = self.builder.add_func(kernel.kernel(name), name)
        self.labels[label] += 1
        flops = sum(account.flops(node.value) for node in nodes if node.op) if counted else 0
        self.works.append(account.Work(label, True, traces.numbers(nodes), flops, dtype))
        types = [relax.TensorType(size, dtype) for size, dtype in results or ((shape, "float32"),)]
        call = relax.call_tir(self.kernels[key], arguments, types[0] if len(types) == 1 else types)
        return self.builder.emit(traces.marked(call, traces.Trace(traces.LAYER, len(self.works) - 1)))

    def _in_planes(self, tensor: Any, block: int) -> tuple[Any, Blocked]:
        """A tensor in blocked planes, changed over if it isn't yet."""
        if (tensor, block) not in self.planes:
            sizes, integers = sizes_of(tensor), self._integers(tensor)
            assert sizes is not None
            batch, channels, height, width = sizes
            layout = Blocked(batch, channels, height, width, block, self.plan.halos[tensor, block], integers)
            view = view_of(self.graph, tensor)
            if view and (view.integers, block) in self.planes:
                self.planes[tensor, block] = (self._dequantized(tensor, view, layout), layout)
                return self.planes[tensor, block]
            if (memory := self._scattered(tensor)) is not None:
                moved = self._call("pack", Pack(layout, memory[1]), [memory[0]], layout.shape, self._near(tensor))
                self.planes[tensor, block] = (moved, layout)
                return self.planes[tensor, block]
            plain = self._in_memory(tensor)
            if layout.shape[2:] == (1, 1, block) and layout.channels % block == 0:
                moved = self.builder.emit(relax.op.reshape(plain, layout.shape))
            else:
                moved = self._call("pack", Pack(layout), [plain], layout.shape, self._near(tensor),
                                   _type(layout.shape, integers))  # fmt: skip
            self.planes[tensor, block] = (moved, layout)
        return self.planes[tensor, block]

    def _scattered(self, tensor: Any) -> tuple[Any, Memory] | None:
        """What holds a tensor that is another one's numbers in another order, and which; None where it lies in order."""
        if tensor in self.plain or tensor not in self.plan.moved:
            return None
        held, memory = self._memory(tensor)
        return None if memory.plain else (held, memory)

    def _in_rows(self, tensor: Any) -> Any:
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
        integers = self._integers(tensor)
        if integers and (tensor in self.integers or self._held(tensor)):
            kind = str(tensor.ty.dtype)
            return self._shifted(self._in_memory(tensor), RANGES[kind][0] - integers.low, kind)
        if self._held(tensor):
            return self._unpacked(tensor)
        if tensor in self.graph.producer and self._lazy(tensor):
            array = self.graph.constant(tensor)
            return self.builder.emit(self._replaced(self.graph.bound[tensor])) if array is None else relax.const(array)
        return None

    def _in_memory(self, tensor: Any) -> Any:
        """A tensor in ONNX's order, the result of a QuantizeLinear as its integers lie in memory."""
        integers = self._integers(tensor)
        if integers is None:
            return self._in_rows(tensor)
        if tensor not in self.integers:
            if self._held(tensor):
                self.integers[tensor] = self._unpacked(tensor)
            else:
                shift = integers.low - RANGES[str(tensor.ty.dtype)][0]
                self.integers[tensor] = self._shifted(self._in_rows(tensor), shift, integers.dtype)
        return self.integers[tensor]

    def _unpacked(self, tensor: Any) -> Any:
        """What lies in blocked planes in ONNX's order, of the same type as in memory."""
        planes, layout = self.planes[tensor, self.settings.simd.lanes]
        plain = planes
        if layout.shape[2:] != (1, 1, layout.block) or layout.channels % layout.block:
            plain = self._call("unpack", Unpack(layout), [planes], layout.logical, self._near(tensor),
                               _type(layout.logical, layout.integers))  # fmt: skip
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
        return self._call("dequantize", kernel, [planes, view.constant()], layout.shape, self._near(tensor))

    def _integers(self, tensor: Any) -> Integers | None:
        """How the result of a QuantizeLinear lies in memory; None for another tensor."""
        kind = quantization(self.graph, tensor)
        return self.settings.dot.integers(*kind) if kind else None

    def _lazy(self, var: Any) -> bool:
        """Is a variable computed only where it turns out to be needed?"""
        return self.graph.constant(var) is not None or view_of(self.graph, var) is not None

    def _near(self, tensor: Any) -> list[Node]:
        """What computes a tensor, or gives it its order; of an input of the graph, what reads it first."""
        if moves := self._moves(tensor):
            return moves
        producer = self.graph.producer.get(tensor)
        return [producer] if producer else self.graph.users[tensor][:1]

    def _moves(self, tensor: Any) -> list[Node]:
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
        held, memory = self._memory(tensor)
        shape = memory.view.shape
        if memory.plain:
            self.plain[tensor] = self.builder.emit(relax.op.reshape(held, shape))
        else:
            kernel = Strided(self.settings.simd, [memory], [], shape, 0, Expression())
            self.plain[tensor] = self._call("copy", kernel, [held], shape, self._near(tensor))
        return self.plain[tensor]

    def _per_channel(self, tensor: Any, shape: tuple[int, ...] | None) -> Any:
        """A constant with one number per channel, padded with ones to whole blocks: nothing divides by zero there."""
        array = self.graph.constant(tensor)
        assert array is not None
        array = array.reshape(-1)
        if shape is not None:
            array = np.pad(array, (0, -len(array) % self.settings.simd.lanes), constant_values=1)
        return relax.const(np.ascontiguousarray(array))

    def _replaced(self, expression: Any) -> Any:
        """An expression of the old function in terms of the new one."""
        rewriter = self

        @mutator
        class Replace(PyExprMutator):  # type: ignore[misc]
            def visit_var_(self, var: Any) -> Any:
                return rewriter._in_rows(var)

            def visit_dataflow_var_(self, var: Any) -> Any:
                return rewriter._in_rows(var)

        return Replace().visit_expr(expression)


def _type(shape: Any, integers: Integers | None) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shape and dtype of a result that may be integers."""
    return ((tuple(shape), integers.dtype if integers else "float32"),)


def _numbered(group: Group) -> tuple[Step, ...]:
    """The chain's steps, tensors replaced by their numbers."""
    numbers = {group.source: 0} | {tensor: index + 1 for index, tensor in enumerate(group.chain.operands)}
    steps = []
    for result, step in zip(group.chain.results, group.chain.steps, strict=True):
        steps.append(Step(step.op, tuple(numbers[tensor] for tensor in step.tensors), step.constants))
        numbers[result] = len(group.chain.operands) + len(steps)
    return tuple(steps)
