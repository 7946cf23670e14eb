"""Sums of products of 8-bit integers in int32, exact on every target: by its own instruction, or widened to 16 or 32 bits.

AVX2's `pmaddubsw` adds two products in 16 bits and saturates, so that it isn't used: `pmaddwd` of numbers that were
widened to 16 bits does half as many products an instruction, and never saturates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.integers import RANGES, Integers

MOST_PRODUCTS = 1 << 16
"""In a sum: 255 times 127 so many times fits int32."""


@dataclass(frozen=True)
class Dot:
    """`group` neighbours of an activation, by as many weights for each lane, added to int32 lanes."""

    dtype: str
    """Of activations in memory."""
    group: int
    add: Callable[[int, Any, Any, Any], Any]
    """Takes the number of lanes, the sums, an activation's `group` neighbours, and int8 weights [lane, neighbour]."""

    def integers(self, dtype: str, zero: int) -> Integers:
        """How integers of a graph's type lie in memory. With 16 bits there is room to put the zero at 0."""
        low, high = RANGES[dtype]
        shift = -zero if self.dtype == "int16" else RANGES[self.dtype][0] - low
        return Integers(self.dtype, zero + shift, low + shift, high + shift)


def _vnni(lanes: int, sums: Any, values: Any, weights: Any) -> Any:
    spread = T.reinterpret(f"int8x{4 * lanes}", T.Broadcast(T.reinterpret("int32", values), lanes))
    return T.call_llvm_pure_intrin(f"int32x{lanes}", f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", sums, spread, weights)


def _pmaddwd(lanes: int, sums: Any, values: Any, weights: Any) -> Any:
    names = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
    spread = T.reinterpret(f"int16x{2 * lanes}", T.Broadcast(T.reinterpret("int32", values), lanes))
    wide = T.cast(weights, f"int16x{2 * lanes}")
    return sums + T.call_llvm_pure_intrin(f"int32x{lanes}", names[lanes], spread, wide)


def _sdot(lanes: int, sums: Any, values: Any, weights: Any) -> Any:
    spread = T.reinterpret("int8x16", T.Broadcast(T.reinterpret("int32", values), lanes))
    return T.call_llvm_pure_intrin(f"int32x{lanes}", "llvm.aarch64.neon.sdot.v4i32.v16i8", sums, spread, weights)


def _widened(lanes: int, sums: Any, values: Any, weights: Any) -> Any:
    spread = T.Broadcast(T.cast(values, "int32"), lanes)
    return sums + spread * T.cast(weights, f"int32x{lanes}")


VNNI = Dot("uint8", 4, _vnni)
PMADDWD = Dot("int16", 2, _pmaddwd)
SDOT = Dot("int8", 4, _sdot)
WIDENED = Dot("int8", 1, _widened)


def dot_for(arch: str, feature: str) -> Dot:
    """Of a target: `arch` is the first part of its triple, `feature` what it names beyond its processor."""
    if feature:
        return {"vnni": VNNI, "dotprod": SDOT}[feature]
    return PMADDWD if arch == "x86_64" else WIDENED


def with_offset(packed: NDArray[np.int8], offset: NDArray[np.int64], zero: int) -> NDArray[np.int8]:
    """int8[tile, ...] weights, flat, and before them as int32 what the sums start from: the share of the zero point.

    `offset` is int64[tile, column], the sum of each column's weights. Without a zero point nothing comes before them.
    """
    flat = packed.reshape(len(packed), -1)
    if not zero:
        return np.ascontiguousarray(flat)
    start = np.ascontiguousarray((-zero * offset).astype("<i4")).view(np.int8).reshape(len(packed), -1)
    return np.ascontiguousarray(np.concatenate([start, flat], axis=1))
