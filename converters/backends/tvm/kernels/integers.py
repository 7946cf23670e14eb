"""Integers in memory that stand for numbers: what a kernel makes of them when it reads, and before it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
"""Of the integers that QuantizeLinear makes, by their type."""


@dataclass(frozen=True)
class Integers:
    """An integer stands for (integer - zero) times a scale. The scale is a tensor of its own, so that kernels are shared."""

    dtype: str
    zero: int
    low: int
    high: int
    """The least and the largest integer."""

    def to_numbers(self, simd: Simd, value: Any) -> Any:
        """float32 of a vector as it lies in memory, before the scale."""
        suffix = f"x{simd.lanes}" if simd.lanes > 1 else ""
        whole = T.cast(value, f"int32{suffix}")
        if self.zero:
            whole = whole - splat(simd.lanes, self.zero)
        return T.cast(whole, simd.dtype)

    def from_numbers(self, simd: Simd, value: Any) -> Any:
        """A vector for memory of float32 numbers in units of the scale: to the nearest, halves to even, and clipped."""
        suffix = f"x{simd.lanes}" if simd.lanes > 1 else ""
        low, high = (simd.splat(float(bound - self.zero)) for bound in (self.low, self.high))
        value = T.min(high, T.max(value, low))  # in this order the least of NaN, as ONNX Runtime has it
        value = T.call_llvm_pure_intrin(simd.dtype, "llvm.roundeven", value)
        whole = T.cast(value, f"int32{suffix}")
        if self.zero:
            whole = whole + splat(simd.lanes, self.zero)
        return T.cast(whole, f"{self.dtype}{suffix}")

    def padding(self, simd: Simd) -> Any:
        """A vector of what stands for 0."""
        return splat(simd.lanes, self.zero, self.dtype)


def splat(lanes: int, value: int, dtype: str = "int32") -> Any:
    scalar = T.Cast(dtype, T.int32(value)) if dtype != "int32" else T.int32(value)
    return T.Broadcast(scalar, lanes) if lanes > 1 else scalar
