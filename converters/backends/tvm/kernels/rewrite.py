"""Puts the planned kernels into a function, with their weights packed, and everything else as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.anchors import Settings, WeightedKernel
from enginesmith.converters.backends.tvm.kernels.calls import Calls
from enginesmith.converters.backends.tvm.kernels.expression import Expression, Operand, Step
from enginesmith.converters.backends.tvm.kernels.graph import Graph, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.int8.quantized import held
from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Halo
from enginesmith.converters.backends.tvm.kernels.places import Places, type_of
from enginesmith.converters.backends.tvm.kernels.regions import Group, Plan


class Rewriter:
    """Writes the new function of one graph."""

    def __init__(self, module: Any, graph: Graph, plan: Plan, settings: Settings) -> None:
        """`module` holds the functions that the graph calls."""
        self.graph, self.plan, self.settings = graph, plan, settings
        self.builder = relax.BlockBuilder(module)
        self.calls = Calls(self.builder)
        self.places = Places(self.calls, graph, plan, settings)

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
                    elif (
                        node.index not in inside and node.var not in self.plan.moved and not self.places.lazy(node.var)
                    ):
                        self.places.plain[node.var] = self.builder.emit(self.places.replaced(node.value))
                result = self.builder.emit_output(self.places.replaced(self.graph.result))
            self.builder.emit_func_output(result)
        return self.builder.get()

    def _emit_strided(self, group: Group) -> None:
        """Sources and operands are read where they lie, in whatever order; copied first if that can't be cut into loops."""
        shape = shape_of(group.result)
        assert shape is not None
        tensors = [tensor for tensor, _, _ in group.anchor.sources]
        single = len(tensors) == 1
        expression = Expression(tuple(Operand("view") for _ in group.chain.operands), _numbered(group))
        for read in (self.places.memory, self.places.copied):
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
        nodes = [
            *group.nodes,
            *(node for tensor in (*tensors, *group.chain.operands) for node in self.places.moves(tensor)),
        ]
        self.places.plain[group.result] = self.calls.emit(
            group.anchor.label, kernel, arguments, shape, nodes, counted=True
        )

    def _emit_group(self, group: Group) -> None:
        start, lanes = group.anchor, self.settings.simd.lanes
        tensors: list[Any] = []
        layouts: list[Any] = []
        for tensor, block, _ in start.sources:
            at, layout = self.places.in_planes(tensor, block) if block else (self.places.in_memory(tensor), None)
            tensors.append(at)
            layouts.append(layout)
        operands, arguments = [], []
        for tensor, kind in group.chain.operands.items():
            layout = integers = None
            if kind in ("channel", "number"):
                at = self._per_channel(tensor, start.shape if kind == "channel" else None)
            elif start.shape is None:
                at, integers = (
                    self.places.in_memory(held(self.graph, tensor)),
                    self.places.integers_of(held(self.graph, tensor)),
                )
            else:
                at, layout = self.places.in_planes(held(self.graph, tensor), lanes)
            operands.append(Operand(kind, layout, integers))
            arguments.append(at)
        result = group.result
        integers = self.places.integers_of(result)
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
        call = self.calls.emit(
            start.label,
            kernel,
            [*tensors, *arguments],
            shape,
            group.nodes,
            start.results or type_of(shape, integers),
            counted=True,
            dtype="float32" if start.scale is None else "int8",
        )
        if target is None:
            (self.places.integers if integers else self.places.plain)[result] = call
        else:
            self.places.planes[result, lanes] = (call, target)

    def _per_channel(self, tensor: Any, shape: tuple[int, ...] | None) -> Any:
        """A constant with one number per channel, padded with ones to whole blocks: nothing divides by zero there."""
        array = self.graph.constant(tensor)
        assert array is not None
        array = array.reshape(-1)
        if shape is not None:
            array = np.pad(array, (0, -len(array) % self.settings.simd.lanes), constant_values=1)
        return relax.const(np.ascontiguousarray(array))


def _numbered(group: Group) -> tuple[Step, ...]:
    """The chain's steps, tensors replaced by their numbers."""
    numbers = {group.source: 0} | {tensor: index + 1 for index, tensor in enumerate(group.chain.operands)}
    steps = []
    for result, step in zip(group.chain.results, group.chain.steps, strict=True):
        steps.append(Step(step.op, tuple(numbers[tensor] for tensor in step.tensors), step.constants))
        numbers[result] = len(group.chain.operands) + len(steps)
    return tuple(steps)
