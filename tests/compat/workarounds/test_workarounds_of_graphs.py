"""Each workaround changes its entry's model, keeps what it computes, ends the warning, and TensorRT's parser takes the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.compat import interface
from enginesmith.compat.building import NotApplicable, replace
from enginesmith.compat.checks import findings
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.miscompiles import Miscompilation, table
from enginesmith.compat.target import Target
from enginesmith.compat.workarounds import WORKAROUNDS, rewrites
from enginesmith.compat.workarounds.workaround import Around
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.graphs.proof import prove, runner

MADE = [entry for entry in table() if entry.rewrite]
HEADER = '<ir_version: 10, opset_import: ["" : 18]>'


def parsed(text: str) -> ir.Model:
    model = infer(ir.from_proto(onnx.parser.parse_model(text)))
    named(model)
    return model


def target_of(entry: Miscompilation) -> Target:
    bounds = [part.lstrip("<>=") for part in entry.versions.split(",")]
    version = next((bound for bound in bounds if Target("", bound).within(entry.versions)), "1.5")
    return Target(entry.backend, version, entry.gpus[0] if entry.gpus else "")


def around(id: str, model: ir.Model) -> tuple[ir.Model, int]:
    """The model after the workaround of an entry, and how many changes that made."""
    entry = next(entry for entry in MADE if entry.id == id)
    target, after = target_of(entry), model.clone()
    (repair,) = (repair for repair in rewrites(target) if repair.id == id)
    return after, repair.rewrite(after, target)


def agrees(before: ir.Model, after: ir.Model, tolerance: float) -> None:
    proof = prove(ir.to_proto(before), ir.to_proto(after), tolerance)
    assert proof.agrees, proof.reason


@pytest.mark.parametrize("entry", MADE, ids=lambda entry: entry.id)
def test_it_changes_its_model_keeps_what_it_computes_and_ends_the_warning(
    entry: Miscompilation, asked: Isolated, tmp_path: Path
) -> None:
    before = parsed(entry.example)
    after, changes = around(entry.id, before)
    assert changes > 0
    onnx.checker.check_model(ir.to_proto(after))
    agrees(before, after, WORKAROUNDS[entry.rewrite].tolerance)
    again = parsed_again(after)
    assert entry.id not in {found.rule for found in findings(again, target_of(entry))}
    assert around(entry.id, again)[1] == 0
    onnx.save(ir.to_proto(after), tmp_path / "after.onnx")
    rejection = asked.call(TRIAL, "tensorrt-rtx", str(tmp_path / "after.onnx"), "sm_89", timeout=60)
    assert rejection is None, rejection["message"]


def parsed_again(model: ir.Model) -> ir.Model:
    again = infer(ir.from_proto(ir.to_proto(model)))
    named(again)
    return again


def test_every_workaround_is_of_an_entry():
    assert {entry.rewrite for entry in MADE} == set(WORKAROUNDS)


def test_a_barrier_is_an_output_that_no_user_sees():
    before = parsed(next(entry for entry in MADE if entry.rewrite == "weights_as_output").example)
    after, _ = around("tensorrt-wrong-attention-sm-120", before)
    proto = ir.to_proto(after)
    assert [value.name for value in proto.graph.output] == ["y", "w"]
    assert interface.outputs(proto) == ["y"]
    assert set(interface.barriers(proto)) == {"w"}
    feed = {value.name: np.ones([dim.dim_value for dim in value.type.tensor_type.shape.dim], np.float16)
            for value in proto.graph.input}  # fmt: skip
    assert len(runner(proto)(feed)) == 1
    assert interface.forget_unsound(proto) == []
    proto.graph.output.pop()
    assert len(interface.forget_unsound(proto)) == 1


def test_a_value_of_a_branch_is_no_output():
    inside = f"""{HEADER}
    g (bool c, float16[1, 2, 8, 4] q, float16[1, 2, 4, 8] k, float16[1, 2, 8, 4] v) => (float16[1, 2, 8, 4] y) {{
      y = If (c) <
        then_branch = t () => (float16[1, 2, 8, 4] a) {{
          s = MatMul (q, k)  w = Softmax <axis = -1> (s)  a = MatMul (w, v) }},
        else_branch = e () => (float16[1, 2, 8, 4] b) {{ b = Identity (v) }}
      >
    }}
    """
    with pytest.raises(NotApplicable, match="can't be outputs"):
        around("tensorrt-wrong-attention-sm-120", parsed(inside))


def test_an_old_opset_is_left_alone():
    entry = next(entry for entry in MADE if entry.rewrite == "nan_put_back")
    with pytest.raises(NotApplicable, match="opset"):
        around(entry.id, parsed(entry.example.replace('"" : 13', '"" : 11')))


def test_keys_whose_scaled_form_is_read_elsewhere_stay_scaled():
    entry = next(entry for entry in MADE if entry.rewrite == "scaled_once")
    shared = entry.example.replace("=> (float[1, 2, 8, 4] y)", "=> (float[1, 2, 8, 4] y, float[1, 2, 4, 8] b)")
    with pytest.raises(NotApplicable, match="read elsewhere"):
        around(entry.id, parsed(shared))


def run(model: ir.Model, **feed: np.ndarray) -> list[np.ndarray]:
    return runner(ir.to_proto(model))(dict(feed))


def test_a_nan_is_put_back_and_nothing_else():
    x = np.array([-1.0, 0.5, 1.0, np.e], np.float32)
    before = parsed(next(entry for entry in MADE if entry.id == "tensorrt-wrong-clip-of-nan").example)
    (result,) = run(around("tensorrt-wrong-clip-of-nan", before)[0], x=x)
    np.testing.assert_array_equal(result, run(before, x=x)[0])
    assert np.isnan(result).tolist() == [True, False, False, False]
    least = parsed(next(entry for entry in MADE if entry.id == "tensorrt-wrong-minimum-of-nan").example)
    z = np.array([0.0, np.nan, 0.25, 9.0], np.float32)
    (result,) = run(around("tensorrt-wrong-minimum-of-nan", least)[0], x=x, z=z)
    assert np.isnan(result).tolist() == [True, True, False, False]
    np.testing.assert_array_equal(result[2:], np.float32([0.25, np.sqrt(np.float32(np.e))]))


@given(
    st.sampled_from(["int32", "int64"]),
    st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=8),
    st.integers(-(2**20), 2**20).filter(bool),
)
@settings(max_examples=30, deadline=None)
def test_a_modulus_by_division_is_exact_for_all_signs(kind, numbers, by):
    text = f"{HEADER} m ({kind}[n] x, {kind} by) => ({kind}[n] y) {{ y = Mod (x, by) }}"
    after, _ = around("tensorrt-wrong-modulus", parsed(text))
    x = np.array(numbers, kind)
    np.testing.assert_array_equal(run(after, x=x, by=np.array(by, kind))[0], np.mod(x, np.array(by, kind)))


@given(st.integers(0, 2), st.booleans(), st.booleans())
@settings(max_examples=12, deadline=None)
def test_a_running_sum_by_a_triangular_matrix_is_the_sum(axis, exclusive, reverse):
    text = f"""{HEADER} s (float[2, 3, 4] x) => (float[2, 3, 4] y, float[2, 3, 4] z)
    <int64 a = {{{axis}}}, int64 b = {{{(axis + 1) % 3}}}> {{
      y = CumSum <exclusive = {int(exclusive)}, reverse = {int(reverse)}> (x, a)
      z = CumSum (x, b)
    }}"""
    before = parsed(text)
    after, changes = around("tensorrt-wrong-sums-of-axes", before)
    assert changes == 1
    agrees(before, after, WORKAROUNDS["triangular_product"].tolerance)


@pytest.mark.parametrize(
    ("operands", "product"),
    [
        ("float[1, 4] x, float[4, 3] w", "MatMul (x, w)"),
        ("float[2, 4] x, float[4, 1] w", "MatMul (x, w)"),
        ("float[4, 1] x, float[4, 3] w, float[3] b", "Gemm <transA = 1> (x, w, b)"),
        ("float[2, 4] x, float[1, 4] w, float[1] b", "Gemm <transB = 1> (x, w, b)"),
        ("float[2, 4] x, float[4, 1] w, float[2, 1] b", "Gemm <alpha = 2.0> (x, w, b)"),
        ("float[2, 1, 4] x, float[2, 4, 3] w", "MatMul (x, w)"),
    ],
)
def test_a_vector_is_put_there_twice_whatever_the_form_of_its_product(operands, product):
    before = parsed(f"{HEADER} g ({operands}) => (y) {{ y = {product} }}")
    after = before.clone()
    (node,) = after.graph
    builder = Around(node, Target("tensorrt", "10.1"), after)
    result = WORKAROUNDS["two_rows"].rewrite(node, builder)
    assert result is not None
    replace(node, builder, result)
    agrees(before, after, WORKAROUNDS["two_rows"].tolerance)
