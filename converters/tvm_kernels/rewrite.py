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
from enginesmith.converters.tvm_kernels.graph import Graph, Node, planes_of, shape_of, sizes_of
from enginesmith.converters.tvm_kernels.layout import Blocked, Halo
from enginesmith.converters.tvm_kernels.operators.moves import move_of
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
                    elif node.index not in inside and node.var not in self.plan.moved:
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
            assert isinstance(kernel, Strided)
            if kernel.parts is not None:
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
            at, layout = self._in_planes(tensor, block) if block else (self._in_rows(tensor), None)
            tensors.append(at)
            layouts.append(layout)
        operands, arguments = [], []
        for tensor, kind in group.chain.operands.items():
            layout = None
            if kind == "channel":
                at = self._per_channel(tensor, start.shape)
            elif start.shape is None:
                at = self._in_rows(tensor)
            else:
                at, layout = self._in_planes(tensor, lanes)
            operands.append(Operand(kind, layout))
            arguments.append(at)
        expression = Expression(tuple(operands), _numbered(group))
        result = group.result
        if start.shape is None:
            target = None
            shape = sizes_of(result)
        else:
            target = Blocked(*start.shape, lanes, self.plan.halos.get((result, lanes), Halo()))
            shape = target.shape
        kernel = start.make(layouts, target, expression)
        if start.weights is not None:
            assert isinstance(kernel, WeightedKernel)
            tensors.append(relax.const(kernel.pack(start.weights)))
        call = self._call(start.label, kernel, [*tensors, *arguments], shape, group.nodes, start.results, counted=True)
        if target is None:
            self.plain[result] = call
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
    ) -> Any:
        """A call of a kernel, which is built if there is none like it yet. `nodes` are what it computes (`counted`), or
        whose result it moves. The result is a float32 tensor of a shape, or several `results`: shapes and dtypes."""
        key = (type(kernel).__name__, *sorted(vars(kernel).items()))
        if key not in self.kernels:
            name = f"{label.replace(' ', '_')}_{len(self.kernels)}"
            self.kernels[key] = self.builder.add_func(kernel.kernel(name), name)
        self.labels[label] += 1
        flops = sum(account.flops(node.value) for node in nodes if node.op) if counted else 0
        self.works.append(account.Work(label, True, traces.numbers(nodes), flops))
        types = [relax.TensorType(size, dtype) for size, dtype in results or ((shape, "float32"),)]
        call = relax.call_tir(self.kernels[key], arguments, types[0] if len(types) == 1 else types)
        return self.builder.emit(traces.marked(call, traces.Trace(traces.LAYER, len(self.works) - 1)))

    def _in_planes(self, tensor: Any, block: int) -> tuple[Any, Blocked]:
        """A tensor in blocked planes, changed over if it isn't yet."""
        if (tensor, block) not in self.planes:
            shape = planes_of(tensor)
            assert shape is not None
            layout = Blocked(*shape, block, self.plan.halos[tensor, block])
            if (memory := self._scattered(tensor)) is not None:
                moved = self._call("pack", Pack(layout, memory[1]), [memory[0]], layout.shape, self._near(tensor))
                self.planes[tensor, block] = (moved, layout)
                return self.planes[tensor, block]
            plain = self._in_rows(tensor)
            if layout.shape[2:] == (1, 1, block) and layout.channels % block == 0:
                moved = self.builder.emit(relax.op.reshape(plain, layout.shape))
            else:
                moved = self._call("pack", Pack(layout), [plain], layout.shape, self._near(tensor))
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
        held = self._held(tensor) if isinstance(tensor, relax.Var) else None
        if held is None:
            return self.plain.get(tensor, tensor)
        planes, layout = held
        if layout.shape[2:] == (1, 1, layout.block) and layout.channels % layout.block == 0:
            plain = planes
        else:
            plain = self._call("unpack", Unpack(layout), [planes], layout.logical, self._near(tensor))
        if tuple(plain.ty.shape) != tuple(tensor.ty.shape):
            plain = self.builder.emit(relax.op.reshape(plain, shape_of(tensor)))
        self.plain[tensor] = plain
        return plain

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


def _numbered(group: Group) -> tuple[Step, ...]:
    """The chain's steps, tensors replaced by their numbers."""
    source = group.start.var if group.start not in group.chain.members else group.anchor.sources[0][0]
    numbers = {source: 0} | {tensor: index + 1 for index, tensor in enumerate(group.chain.operands)}
    steps = []
    for result, step in zip(group.chain.results, group.chain.steps, strict=True):
        steps.append(Step(step.op, tuple(numbers[tensor] for tensor in step.tensors), step.constants))
        numbers[result] = len(group.chain.operands) + len(steps)
    return tuple(steps)
