"""A float32 graph to one that computes in 16 bits where it can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat import interface
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer, named, opset, weight_bytes
from enginesmith.compat.values import constant_tensor, label
from enginesmith.converters.core.records import Kept, Lowering
from enginesmith.converters.graphs.structure import FLOAT, is_constant, is_float, name_uniquely, ordered, quantization
from enginesmith.converters.precision import rules
from enginesmith.converters.precision.decide import Decision, decide, magnitudes
from enginesmith.converters.precision.formats import FORMATS, Format
from enginesmith.converters.precision.native import in_float32
from enginesmith.converters.precision.rewrite import rewrite

MODERN = {"bf16": 22, "int8": 19, "auto": 19}
"""The first opset in which Conv, the pools and most activations are defined for bfloat16; and in which the scales of
integers may have 16 bits."""
MANY = 0.01
"""Share of a tensor's elements below the normal numbers from which it is told."""


def prepare(model: ir.Model, *precisions: str) -> ir.Model:
    """The model with functions inlined, types inferred and every name used once, in an opset that has the precisions; one that is
    in 16 bits itself in float32.

    `measure_ranges` and `lower` take a model that was prepared.
    """
    if model.functions:
        common.InlinePass()(model)
    needed = max(MODERN.get(precision, 0) for precision in precisions)
    if opset(model) < needed:
        from onnxscript import version_converter

        version_converter.convert_version(model, needed, fallback=True)
    model.graph.sort()
    infer(model)
    name_uniquely(model)
    in_float32(model)
    named(model)
    return model


def lower(
    model: ir.Model,
    precision: str,
    ranges: Mapping[str, float] | None = None,
    *,
    wide: Collection[str] = (),
    keep_io: bool = True,
) -> Lowering:
    """Rewrite a prepared model in place.

    `precision` is a key of FORMATS; `ranges` are the largest magnitudes of its tensors, as `measure_ranges` gives them;
    nodes whose names are in `wide` stay in float32. With `keep_io` its inputs and outputs stay float32; without, what
    they were is noted as `compat.interface` does.
    """
    format = FORMATS[precision]
    before = weight_bytes(model)
    decision = decide(model, format, ranges, wide)
    findings = list(_lost_digits(decision))
    kept = [
        Kept(node=label(node), op=node.op_type, reason=reason, product=node in decision.products)
        for node, reason in decision.kept.items()
    ]
    ends = [value for value in (*model.graph.inputs, *model.graph.outputs) if is_float(value)]
    rewrite(model, decision, keep_io=keep_io)
    for value in ends:
        if value.dtype == format.dtype and (value.is_graph_input() or value.is_graph_output()):
            interface.record(model, value.name or "", FLOAT)
    return summary(model, format.name, before, kept, findings)


def summary(model: ir.Model, dtype: str, before: int, kept: list[Kept], findings: list[Finding]) -> Lowering:
    """What became of a model that had `before` bytes of weights."""
    nodes = list(ordered(model.graph))
    return Lowering(
        dtype=dtype,
        nodes_by_dtype=dict(Counter(filter(None, map(computes_in, nodes))).most_common()),
        products_by_dtype=dict(Counter(map(computes_in, rules.products(model))).most_common()),
        casts=sum(node.op_type == "Cast" for node in nodes),
        weights_before=before,
        weights_after=weight_bytes(model),
        kept=kept,
        findings=findings,
    )


def computes_in(node: ir.Node) -> str:
    """`int8` or `int8 weights` for a product of integers; else the dtype of a node's first output, empty for constants
    and where it is not known.
    """
    if node.op_type == "Constant" or not node.outputs or node.outputs[0].dtype is None:
        return ""
    return (quantization(node) if rules.is_product(node) else "") or node.outputs[0].dtype.numpy().name


def _lost_digits(decision: Decision) -> list[Finding]:
    """Weights that the format can't hold: those that kept a node in float32 are in its reason; here are the others."""
    return [
        Finding(
            severity="info",
            op=node.op_type,
            node=label(node),
            backend="",
            versions="",
            message=_told(value, decision.format),
        )
        for node, found in decision.low.items()
        for value in (node.inputs[index] for index in found.inputs)
        if value is not None and is_constant(value) and is_float(value) and _told(value, decision.format)
    ]


def _told(value: ir.Value, format: Format) -> str:
    tensor = constant_tensor(value)
    assert tensor is not None
    known = magnitudes(tensor.numpy(), format)
    if known.under <= MANY * known.count:
        return ""
    return (
        f"{known.under} of {known.count} elements of {value.name} lie below {format.smallest:.2g}, where the digits "
        f"of {format.name} end"
    )
