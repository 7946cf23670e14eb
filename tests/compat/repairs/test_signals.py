"""Fourier transforms as matrix products give what ONNX Runtime and numpy give; windows are constants."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.converters.graphs.proof import runner

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([18, 20]), st.integers(1, 12), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 2),
    st.one_of(st.none(), st.integers(1, 14)),
)  # fmt: skip
def test_dft(
    opset: int, size: int, inverse: bool, onesided: bool, complex: bool, axis: int, length: int | None
) -> None:
    onesided = onesided and not inverse and not complex
    shape = [2, 3, 3, 2 if complex else 1]
    shape[axis] = size
    cut = None if length is None else np.array(length)
    flags = {"inverse": int(inverse), "onesided": int(onesided)}
    if opset == 18:
        model = one_node("DFT", shape, cut, axis=axis, **flags)
    else:
        model = one_node("DFT", shape, cut, np.array(axis - 4), opset=20, **flags)
    after, _ = repaired("dft-by-matmul", model)
    x = np.random.default_rng(size).standard_normal(shape).astype(np.float32)
    numbers = x[..., 0] + 1j * x[..., 1] if complex else x[..., 0]
    transform = np.fft.ifft if inverse else np.fft.fft
    expected = np.fft.rfft(numbers, length, axis) if onesided else transform(numbers, length, axis)
    found = runner(ir.to_proto(after))({"x0": x})[0]
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=1e-4)


@pytest.mark.parametrize(("length", "inverse"), [(8, 0), (7, 0), (8, 1)])
def test_dft_against_onnx_runtime(length: int, inverse: int) -> None:
    found = proof("dft-by-matmul", one_node("DFT", [2, length, 2], inverse=inverse))
    assert found.agrees, found.reason


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 40), st.integers(1, 9), st.integers(2, 8), st.booleans(), st.booleans())
def test_stft(signal: int, step: int, length: int, windowed: bool, onesided: bool) -> None:
    window = [length] if windowed else None
    model = one_node("STFT", [2, signal, 1], np.array(step), window, np.array(length), onesided=int(onesided))
    found = proof("stft-by-matmul", model)
    assert found.agrees, found.reason


def test_a_long_transform_is_left_alone() -> None:
    with pytest.raises(NotApplicable, match="length 8192"):
        repaired("dft-by-matmul", one_node("DFT", [1, 8192, 1]))


@pytest.mark.parametrize("op", ["BlackmanWindow", "HammingWindow", "HannWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [10, 5])
def test_windows(op: str, periodic: int, size: int) -> None:
    declared = [(FLOAT, [size])]
    known = one_node(op, np.array(size), outputs=declared, periodic=periodic)
    deduced = one_node(op, [], dtypes=[INT64], outputs=declared, periodic=periodic)
    for model in (known, deduced):
        found = proof("window-constant", model)
        assert found.agrees, found.reason


@pytest.mark.parametrize("length", [None, 2, 7, 8, 9])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_real_signal_from_half_of_its_spectrum(length: int | None, axis: int) -> None:
    bins = 5 if length is None else length // 2 + 1
    sizes = [2, bins, 3, 2] if axis == 1 else [2, 3, bins, 2]
    given = None if length is None else np.array(length)
    model = one_node("DFT", sizes, given, np.array(axis), opset=20, inverse=1, onesided=1)
    assert proof("dft-by-matmul", model).agrees
    after, _ = repaired("dft-by-matmul", model)
    x = np.random.default_rng(0).standard_normal(sizes).astype(np.float32)
    (found,) = runner(ir.to_proto(after))({"x0": x})
    expected = np.fft.irfft(x[..., 0] + 1j * x[..., 1], n=length, axis=axis)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-5)
    assert found.shape[-1] == 1


def test_a_signal_of_another_length_than_its_spectrum_is_left() -> None:
    model = one_node("DFT", [2, 5, 2], np.array(7), np.array(1), opset=20, inverse=1, onesided=1)
    with pytest.raises(NotApplicable, match="another length"):
        repaired("dft-by-matmul", model)
