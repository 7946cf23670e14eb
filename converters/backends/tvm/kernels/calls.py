"""Calls of kernels: one function for all calls that are alike, and the account of what each call stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tvm import relax

from enginesmith.converters.backends.tvm.kernels import account, traces
from enginesmith.converters.backends.tvm.kernels.anchors import Kernel
from enginesmith.converters.backends.tvm.kernels.graph import Node


class Calls:
    """Adds kernels and their calls to a function that `builder` is writing."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.kernels: dict[Any, Any] = {}
        self.labels: Counter[str] = Counter()
        self.works: list[account.Work] = []

    def emit(
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
