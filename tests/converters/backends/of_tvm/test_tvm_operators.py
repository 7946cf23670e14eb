"""Operators whose NaN, infinities, ties and ends of types TVM by itself gets wrong, in modules of ours.

The cases are those of `benchmarks/tvm_operators.py`, which has a thousand; these are one or two of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enginesmith.converters.core.isolated import Isolated

pytest.importorskip("tvm")
ROOT = Path(__file__).parents[4]
KINDS = {
    "extremes": ("Max", "Min with 0", "Max int64", "ReduceMax", "Clip input", "Clip 6", "Relu double"),
    "windows": ("MaxPool 1 ceil", "MaxPool 3 dilated", "MaxPool 2 pads"),
    "places": ("ArgMax float 0", "ArgMin int64 1", "Hardmax axis 0", "TopK float 1 long", "TopK double 0"),
    "exponentials": ("Exp long", "Sigmoid long", "Conv Silu", "Log", "LogSoftmax long", "ReduceLogSumExp", "Attention"),
    "signs": ("Sign long", "ThresholdedRelu", "Pow by -0.5", "Atanh", "folded special Sign"),
    "integers": ("ReduceMean int32", "Cast float int32", "Cast double int64", "Cast float uint64", "Div int64 by -3"),
    "quantization": (
        "QuantizeLinear uint8 0.1",
        "QuantizeLinear axis",
        "Quantize there and back int8",
        "DynamicQuantizeLinear",
    ),
    "places in memory": (
        "Pad float wrap 1,-1,0,2",
        "NonMaxSuppression 0 0.5",
        "NonMaxSuppression no limits",
        "Gemm beta zero",
    ),
    "truth values": (
        "Equal bool",
        "Equal bool true",
        "Not",
        "Not Equal counted",
        "Not GreaterOrEqual counted",
        "Equal itself made",
    ),
    "no axes": ("ReduceL1 noop", "ReduceLogSum noop", "ReduceSumSquare noop"),
}


@pytest.fixture(scope="module")
def asked() -> Iterator[Isolated]:
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    with Isolated(without_torch=True) as process:
        yield process
    patch.undo()


@pytest.mark.parametrize("kind", KINDS)
def test_as_onnx_has_it(asked: Isolated, kind: str) -> None:
    for name in KINDS[kind]:
        found = asked.call("benchmarks.tvm_operators:tried", name, timeout=60)
        assert found["step"] in ("right", "runtime"), f"{name}: {found}"


def test_a_chain_of_quantizations_is_one_kernel_of_ordinary_size(
    asked: Isolated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of integers all the way, as QLinearAdd and its like are: an expression that holds each step twice is never compiled."""
    monkeypatch.syspath_prepend(ROOT)
    import numpy as np
    import onnx

    from benchmarks.fused_forms import write
    from benchmarks.fused_forms_cases import Case

    steps = " ".join(
        f"d{i} = DequantizeLinear (q{i}, s, z) a{i} = Add (d{i}, r) q{i + 1} = QuantizeLinear (a{i}, s, z)"
        for i in range(14)
    )
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> chain (float[2,20] x) => (float[2,20] y)
        <float s = {{0.05}}, uint8 z = {{128}}, float r = {{0.1}}>
        {{ far = IsNaN (x) n = Where (far, r, x) e = Erf (n) q0 = QuantizeLinear (e, s, z) {steps} y = DequantizeLinear (q14, s, z) }}"""
    )
    x = np.linspace(-3, 3, 40, dtype=np.float32).reshape(2, 20)
    write(Case(model, [{"x": x}], atol=0.051), tmp_path)
    assert asked.call("benchmarks.node_tests:compiled", str(tmp_path), timeout=60) == ""


def test_a_difference_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    import numpy as np

    from benchmarks.tvm_operators import differs

    numbers = np.array([1.0, -2.0, np.inf, np.nan], np.float32)
    assert not differs(numbers, numbers + np.float32(1e-7), sums=False)
    for place, other in enumerate((1.01, 2.0, 3.4e38, 0.0)):
        changed = numbers.copy()
        changed[place] = other
        assert differs(numbers, changed, sums=False)
    assert differs(np.array([2**60]), np.array([2**60 + 1]), sums=False)
    assert differs(numbers, numbers.astype(np.float64), sums=False)
