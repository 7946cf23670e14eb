"""Whatever the graph: the result is valid, close, and casts only where two precisions meet."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from graphs import casts, lowered, model, normal, run, run_stand_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enginesmith.converters.graphs.structure import ordered

UNARY = (
    "Relu",
    "Tanh",
    "Sigmoid",
    "Abs",
    "Neg",
    "Exp",
    "Softmax",
    "LayerNormalization",
    "Transpose",
    "MatMul",
    "Floor",
)
BINARY = ("Add", "Mul", "Sub", "Max", "MatMul")
WEIGHTS = {"w": normal(4, 4, scale=0.4), "g": np.ones(4, np.float32)}


@st.composite
def texts(draw):
    """Up to twelve nodes over [4,4] tensors; each reads any values before it."""
    lines, values = [], ["x"]
    for index in range(draw(st.integers(2, 12))):
        op = draw(st.sampled_from(UNARY + BINARY))
        first, name = draw(st.sampled_from(values)), f"v{index}"
        if op in BINARY and (op != "MatMul" or draw(st.booleans())):
            arguments = f"{first}, {draw(st.sampled_from(values))}"
        else:
            arguments = {"MatMul": f"{first}, w", "LayerNormalization": f"{first}, g"}.get(op, first)
        lines.append(f"{name} = {op} ({arguments})")
        # products of products grow without end
        values.append(name if op in ("Relu", "Neg", "Transpose", "Floor") else f"{name}b")
        if values[-1] != name:
            lines.append(f"{name}b = Tanh ({name})")
    outputs = sorted({values[-1], draw(st.sampled_from(values[1:]))})
    return (
        outputs,
        f"net (float[4,4] x) => ({', '.join(f'float[4,4] {name}' for name in outputs)}) {{ {' '.join(lines)} }}",
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts(), st.sampled_from(["fp16", "bf16"]), st.integers(0, 2**16))
def test_any_graph(built, precision, seed):
    outputs, text = built
    source = model(text, **WEIGHTS)
    feed = {"x": normal(4, 4, seed=seed)}
    with tempfile.TemporaryDirectory() as folder:
        made, report = lowered(source, feed, Path(folder), precision)
    assert [value.name for value in made.graph.outputs] == outputs
    low = made_of(precision)
    for node in ordered(made.graph):
        kinds = {v.dtype for v in (*node.inputs, *node.outputs) if v is not None} & {ir.DataType.FLOAT, low}
        assert len(kinds) <= 1 or node.op_type == "Cast", node
    for cast in casts(made):
        source_node, value = cast.inputs[0].producer(), cast.inputs[0]
        assert value.dtype != cast.outputs[0].dtype
        assert source_node is None or source_node.op_type != "Cast", "a pair would cancel"
        assert cast.outputs[0].uses() or cast.outputs[0].is_graph_output()
    read = [(cast.inputs[0], cast.outputs[0].dtype) for cast in casts(made)]
    assert len(read) == len(set(read)), "no value is cast twice"
    products = {node for node in ordered(made.graph) if node.op_type == "MatMul"}
    kept = {entry.node for entry in report.kept}
    assert all(node.outputs[0].dtype == low or node.name in kept for node in products)
    if "Floor" not in text:  # which turns the least difference into 1
        slack = {"fp16": 0.03, "bf16": 0.25}[precision]
        for before, after in zip(run(source, feed), run_stand_in(made, feed, precision), strict=True):
            assert np.allclose(after, before, atol=slack)
    if precision == "fp16":
        assert all(np.isfinite(array).all() for array in run(made, feed))


def made_of(precision: str) -> ir.DataType:
    return {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}[precision]
