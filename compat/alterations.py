"""Changes to a graph that keep what it computes, and change what a builder makes of it: where a builder computes something
else, one of them may keep it from that. `bisect --diverges` searches for the smallest that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.interface import record_barrier
from enginesmith.compat.repairs.local import applies, apply
from enginesmith.compat.repairs.repair import REPAIRS
from enginesmith.compat.target import Target
from enginesmith.compat.values import dtype, label, qualified

BARRIER, WIDE = "barrier:", "wide:"
WIDER = {
    ir.DataType.FLOAT16: ir.DataType.FLOAT,
    ir.DataType.BFLOAT16: ir.DataType.FLOAT,
    ir.DataType.FLOAT: ir.DataType.DOUBLE,
}
TYPED = frozenset((
    "Cast", "CastLike", "Constant", "DequantizeLinear", "If", "LayerNormalization", "Loop", "QuantizeLinear", "Scan",
))  # fmt: skip
"""Operators that state a type, or have a body: with another one of their inputs they mean something else."""


@dataclass(frozen=True)
class Alteration:
    """One change, written `barrier:TENSOR` (the tensor becomes an output of the graph too, so that nothing is fused across
    it), `wide:NODE` (the node computes in the next wider type) or `NODE=REPAIR` (another form of the operator).
    """

    kind: Literal["barrier", "wide", "form"]
    where: str
    repair: str = ""

    @classmethod
    def read(cls, text: str) -> Alteration:
        """Raises ValueError for what is none."""
        if text.startswith(BARRIER):
            return cls("barrier", text.removeprefix(BARRIER))
        if text.startswith(WIDE):
            return cls("wide", text.removeprefix(WIDE))
        where, equals, repair = text.rpartition("=")
        if not equals or not where or not repair:
            raise ValueError(f"{text!r} is no alteration; write barrier:TENSOR, wide:NODE or NODE=REPAIR")
        return cls("form", where, repair)

    def __str__(self) -> str:
        if self.kind == "form":
            return f"{self.where}={self.repair}"
        return f"{BARRIER if self.kind == 'barrier' else WIDE}{self.where}"

    def make(self, model: ir.Model, target: Target) -> None:
        """Change the model in place. Raises NotApplicable, with the reason, where that can't be."""
        if self.kind == "barrier":
            add_barrier(model, self.where)
        elif self.kind == "wide":
            widen(_node(model, self.where))
        else:
            if self.repair not in REPAIRS:
                raise NotApplicable(f"there is no repair {self.repair}")
            apply(REPAIRS[self.repair], _node(model, self.where), target)


def read_all(text: str) -> list[Alteration]:
    """Of an option with commas. Raises ValueError."""
    return [Alteration.read(part.strip()) for part in text.split(",") if part.strip()]


def altered(model: ir.Model, alterations: list[Alteration], target: Target) -> ir.Model:
    """A copy of the model with the changes. Raises NotApplicable, with the reason, where one can't be made."""
    changed = model.clone()
    named(infer(changed))
    for alteration in alterations:
        try:
            alteration.make(changed, target)
        except NotApplicable as error:
            raise NotApplicable(f"{alteration}: {error}") from None
    return changed


def add_barrier(model: ir.Model, tensor: str) -> None:
    """Make a tensor an output of the graph too: a builder has to write it, and fuses nothing across it."""
    value = next((out for node in model.graph for out in node.outputs if out.name == tensor), None)
    if value is None:
        raise NotApplicable(f"no node makes a tensor {tensor!r}")
    if value.is_graph_output():
        raise NotApplicable("it is an output already")
    if dtype(value) is None:
        raise NotApplicable("its type is not known")
    record_barrier(model, value, "which keeps the builder from a fusion")


def widen(node: ir.Node) -> None:
    """Let a node compute in the next wider type, by Casts around it."""
    kinds = {kind for value in node.inputs if (kind := dtype(value)) in WIDER}
    if len(kinds) != 1 or node.op_type in TYPED or node.domain not in ("", "ai.onnx"):
        raise NotApplicable(f"{node.op_type} has no wider type here")
    (narrow,) = kinds
    graph = node.graph
    assert graph is not None
    assert narrow is not None
    for index, value in enumerate(node.inputs):
        if value is not None and dtype(value) == narrow:
            node.replace_input_with(index, _cast(graph, node, value, WIDER[narrow], f"{label(node)}/wide_{index}"))
    for out in node.outputs:
        if dtype(out) != narrow:
            continue
        name, out.name = out.name, f"{out.name}/wide"
        back = ir.node("Cast", [out], {"to": narrow.value}, name=f"{label(node)}/narrow_{out.index()}")
        result = back.outputs[0]
        result.type, result.shape, result.name = ir.TensorType(narrow), out.shape, name
        out.replace_all_uses_with(result, replace_graph_outputs=True)
        back.replace_input_with(0, out)
        out.type = ir.TensorType(WIDER[narrow])
        graph.insert_after(node, back)


def _cast(graph: ir.Graph, node: ir.Node, value: ir.Value, to: ir.DataType, name: str) -> ir.Value:
    cast = ir.node("Cast", [value], {"to": to.value}, name=name)
    cast.outputs[0].name, cast.outputs[0].type, cast.outputs[0].shape = name, ir.TensorType(to), value.shape
    graph.insert_before(node, cast)
    return cast.outputs[0]


def other_forms(node: ir.Node, model: ir.Model, target: Target) -> Iterator[Alteration]:
    """Ways to write a node of the model with other operators: the repairs that apply to it, of whatever backend."""
    for repair in REPAIRS.values():
        if qualified(node) in repair.ops and applies(repair, node, model, target):
            yield Alteration("form", label(node), repair.id)


def _node(model: ir.Model, name: str) -> ir.Node:
    found = next((node for node in model.graph if name in (label(node), *(out.name for out in node.outputs))), None)
    if found is None:
        raise NotApplicable(f"there is no node {name!r}")
    return found
