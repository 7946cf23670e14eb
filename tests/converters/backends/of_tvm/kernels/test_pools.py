"""Windows of maxima and means of any size, stride, dilation and padding."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

QUICK = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools(agrees: Any, op: str) -> None:
    @QUICK
    @given(
        size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
        kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        strides=PAIR,
        dilations=PAIR,
        pads=st.tuples(*[st.integers(0, 2)] * 4),
        ceil=st.integers(0, 1),
        counted=st.integers(0, 1),
    )
    def property_holds(
        size: Any, kernel: Any, strides: Any, dilations: Any, pads: Any, ceil: int, counted: int
    ) -> None:
        """Numbers below zero alone, so that a pad which takes part in a maximum is seen."""
        reach = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
        for axis in (0, 1):
            assume(reach[axis] <= size[axis] + pads[axis] + pads[axis + 2])
            assume(max(pads[axis], pads[axis + 2]) < kernel[axis])
        how = f"ceil_mode = {ceil}, kernel_shape = {[*kernel]}, strides = {[*strides]}, dilations = {[*dilations]}"
        how += f", pads = {[*pads]}" + (f", count_include_pad = {counted}" if op == "AveragePool" else "")
        text = f"(float[2, 19, {size[0]}, {size[1]}] x) => (float[2, 19, h, w] y)"
        told = agrees(f"{text} {{ e = Exp (x) n = Neg (e) y = {op} <{how}> (n) }}", opset=20)
        assert not told["left"] or "beyond" in told["left"][0]

    property_holds()


def test_a_dilated_mean_counts_its_own_numbers_alone(agrees: Any) -> None:
    """The last window ends at the edge; TVM's library divides by three there."""
    told = agrees(
        "(float[1, 3, 2, 5] x) => (float[1, 3, 2, 2] y)"
        " { y = AveragePool <dilations = [1, 2], kernel_shape = [1, 2], strides = [1, 2]> (x) }",
        opset=20,
    )
    assert told["kernels"]["mean pool"] == 1


def test_a_mean_of_the_whole_plane_is_no_window(agrees: Any) -> None:
    """1,024 reads in a row took LLVM minutes, and then its stack."""
    told = agrees(
        "(float[1, 19, 32, 32] x) => (float[1, 19, 1, 1] y) { y = AveragePool <kernel_shape = [32, 32]> (x) }", opset=20
    )
    assert told["kernels"]["mean"] == 1


@pytest.mark.parametrize("size", [(22, 22), (3, 5), (1, 40)])
def test_a_maximum_of_the_whole_plane_is_no_window(agrees: Any, size: tuple[int, int]) -> None:
    """484 reads in a row took LLVM 16 s. Numbers below zero alone, so that what isn't in the plane is seen."""
    height, width = size
    told = agrees(
        f"(float[2, 19, {height}, {width}] x) => (float[2, 19, 1, 1] y)"
        f" {{ e = Exp (x) n = Neg (e) y = MaxPool <kernel_shape = [{height}, {width}]> (n) }}"
    )
    assert told["kernels"]["maximum"] == 1


def test_large_windows_are_left_to_loops(agrees: Any) -> None:
    told = agrees(
        "(float[1, 3, 60, 60] x) => (float[1, 3, 2, 2] y) { y = AveragePool <kernel_shape = [30, 30], strides = [30, 30]> (x) }"
    )
    assert "a window of 30 x 30" in told["left"][0]


def test_wide_windows_with_pads_are_left_to_loops(agrees: Any) -> None:
    told = agrees(
        "(float[1, 19, 20, 20] x) => (float[1, 19, 20, 20] y)"
        " { y = MaxPool <kernel_shape = [13, 13], pads = [6, 6, 6, 6]> (x) }",
        opset=20,
    )
    assert "a window of 13 x 13" in told["left"][0]
