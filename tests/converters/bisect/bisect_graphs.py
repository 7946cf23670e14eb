"""Graphs with planted failures, and a judge that decides by a predicate in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from enginesmith.converters.bisect import facts
from enginesmith.converters.bisect.oracles import standard_of
from enginesmith.converters.bisect.reduce import Reducer

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
BAD = "Erf"
"""The operator that planted failures are made of."""


def value(name: str, shape: Sequence[int | str] | None = (1, 3, 8, 8), dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name: str, array: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 18,
    **more: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "planted", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **more)


def chain(length: int, bad: Sequence[int] = ()) -> onnx.ModelProto:
    """Unary nodes n0, n1, ...; those at the places `bad` are BAD."""
    ops = [BAD if place in bad else ("Relu", "Abs", "Sigmoid")[place % 3] for place in range(length)]
    names = ["x", *(f"t{place}" for place in range(length))]
    nodes = [helper.make_node(op, [names[i]], [names[i + 1]], name=f"n{i}") for i, op in enumerate(ops)]
    return model_of(nodes, [value("x")], [value(names[-1])])


def ops_of(model: ir.Model | onnx.ModelProto) -> list[str]:
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
    return [node.op_type for node in proto.graph.node]


@dataclass
class Predicate:
    """Fails where `fails` says so about a sound model."""

    failing: Callable[[onnx.ModelProto], bool]
    folder: Path
    tests: int = 0
    standard: str = "loads"
    answers: dict[bytes, bool] = field(default_factory=dict)

    def fails(self, model: ir.Model, *, must_run: bool = False) -> bool:
        proto = ir.to_proto(model)
        key = proto.SerializeToString(deterministic=True) + bytes([must_run])
        if key not in self.answers:
            self.tests += 1
            self.answers[key] = self._ask(proto, must_run)
        return self.answers[key]

    def _ask(self, proto: onnx.ModelProto, must_run: bool) -> bool:
        if not self.failing(proto):
            return False
        path = self.folder / "candidate.onnx"
        onnx.save(proto, path)
        wanted = "runs" if must_run else self.standard
        return standard_of(str(path), wanted) == wanted  # type: ignore[arg-type]

    def runs(self, model: ir.Model) -> bool:
        path = self.folder / "candidate.onnx"
        onnx.save(ir.to_proto(model), path)
        return standard_of(str(path)) == "runs"

    def annotate(self, model: ir.Model) -> None:
        facts.annotate(model, _Here(), self.folder, 60)  # type: ignore[arg-type]


class _Here:
    """Calls in this process what an `Isolated` calls in another."""

    def call(self, function: str, *arguments: object, timeout: float) -> object:
        from importlib import import_module

        from enginesmith.converters.core.isolated import Raised

        module, _, name = function.partition(":")
        try:
            return getattr(import_module(module), name)(*arguments)
        except Exception as error:
            raise Raised(str(error)) from error


def reduce(
    model: onnx.ModelProto, failing: Callable[[onnx.ModelProto], bool], folder: Path
) -> tuple[onnx.ModelProto, int]:
    """What the reducer leaves of a model, and the tests that it took; what is left fails and is sound."""
    judge = Predicate(failing, folder)
    start = ir.from_proto(model)
    judge.annotate(start)
    reducer = Reducer(start, judge)
    assert reducer.run()
    left = ir.to_proto(reducer.best)
    assert failing(left)
    onnx.checker.check_model(left, full_check=True)
    return left, judge.tests
