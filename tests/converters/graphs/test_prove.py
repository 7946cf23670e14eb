"""What a proof counts, and what it passes over: inputs that show nothing about a repair."""

from __future__ import annotations

import numpy as np
import onnx

from enginesmith.compat.findings import Proof
from enginesmith.converters.graphs.proof import difference, prove


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')


def test_inputs_that_break_the_declared_shapes_prove_nothing() -> None:
    before = parsed("g (float[3, 2] x, int64[1] axes) => (float[3, 1] y) { y = ReduceSum (x, axes) }")
    after = parsed(
        "g (float[3, 2] x, int64[1] axes) => (float[3, 1] y) <int64[1] one = {1}> { y = ReduceSum (x, one) }"
    )
    wrong = parsed(
        "g (float[3, 2] x, int64[1] axes) => (float[3, 1] y) <int64[1] one = {1}> { y = ReduceMax (x, one) }"
    )
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    told = [{"x": x, "axes": np.array([axis])} for axis in (0, 1, -1)]
    found = prove(before, after, 1e-6, told)
    assert found.agrees
    assert found.samples >= 2
    assert not prove(before, wrong, 1e-6, told).agrees


def test_a_result_that_is_nothing_but_rounding_proves_nothing() -> None:
    # Sums in another order: of 1e8 - 1e8 only the rounding is left.
    before = parsed("g (float[3] a, float[3] b, float[3] c) => (float[3] y) { s = Add (a, b)  y = Add (s, c) }")
    after = parsed("g (float[3] a, float[3] b, float[3] c) => (float[3] y) { s = Add (b, c)  y = Add (a, s) }")
    big = np.full(3, 1e8, np.float32)
    told = [{"a": big, "b": np.full(3, 3, np.float32), "c": -big}]
    found = prove(before, after, 1e-6, told)
    assert found.agrees, found.reason
    # A repair that claims to be exact has no such excuse.
    assert not prove(before, after, 0.0, told).agrees


def test_a_well_conditioned_difference_counts() -> None:
    before, after = (
        parsed(f"g (float[3] x) => (float[3] y) <float k = {{{k}}}> {{ y = Mul (x, k) }}") for k in (2, 2.001)
    )
    found = prove(before, after, 1e-5)
    assert not found.agrees
    assert 1e-4 < found.error < 1e-3


def test_halves_may_be_a_few_rounding_steps_off() -> None:
    before, near, far = (
        parsed(f"g (float16[8] x) => (float16[8] y) <float k = {{{k}}}> {{ h = Cast <to = 10> (k)  y = Mul (x, h) }}")
        for k in (2, 2.002, 2.05)
    )
    assert prove(before, near, 1e-6).agrees
    assert not prove(before, far, 1e-6).agrees
    assert not prove(before, near, 0.0).agrees


def test_integers_are_exact_where_a_tolerance_is_for_the_rounding_of_sums():
    most = np.array([10_000_000], np.int64)
    assert difference([most], [most + 1], 2e-6)[1]
    assert not difference([most.astype(np.float32)], [most.astype(np.float32) + 1], 2e-6)[1]


def test_a_proof_that_fails_by_infinity_is_read_as_it_was_written():
    proof = Proof(agrees=False, error=float("inf"))
    assert Proof.model_validate_json(proof.model_dump_json()) == proof
