"""Integer arithmetic in a wider dtype, so that the result is that of the narrow one bit for bit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder
from enginesmith.compat.values import Array

DIGIT = 16
"""Bitwise operators go by digits of four bits: a table of 256 results, and an eighth of the memory of single bits."""
TABLES = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}


def wrapped(build: Builder, value: ir.Value, wide: ir.DataType, narrow: ir.DataType) -> ir.Value:
    """The number of `narrow` that is congruent to `value` modulo its range: what an overflow leaves, as in C.

    `value` has the dtype `wide`, INT32 or INT64, whose own overflow keeps the congruence. Nothing to do for 64 bits.
    """
    if narrow.bitwidth >= wide.bitwidth:
        return value
    kind = wide.numpy()
    size = kind.type(2**narrow.bitwidth)
    if not narrow.is_signed():
        return build.op("Mod", value, size)
    half = kind.type(2 ** (narrow.bitwidth - 1))
    return build.op("Sub", build.op("Mod", build.op("Add", value, half), size), half)


def bitwise(build: Builder, op: str, a: ir.Value, b: ir.Value, wide: ir.DataType, narrow: ir.DataType) -> ir.Value:
    """BitwiseAnd, -Or or -Xor of two values of dtype `wide` that hold numbers of `narrow`, by a table of digits.

    The digits lie along a new last axis. A number is what its digits weigh together; the top digit of a negative one
    counts from -8 to 7.
    """
    kind = wide.numpy()
    count = narrow.bitwidth // 4
    weights = kind.type(DIGIT) ** np.arange(count, dtype=kind)
    table, offsets = _table(TABLES[op], count, narrow.is_signed())
    index = build.op("Add", build.op("Mul", _digits(build, a, weights), kind.type(DIGIT)), _digits(build, b, weights))
    found = build.op("Gather", table.astype(kind), build.op("Add", index, offsets.astype(kind)))
    return _weighed(build, found, weights)


def _weighed(build: Builder, digits: ir.Value, weights: Array) -> ir.Value:
    """The numbers that digits along the last axis make, summed by halves: a runtime may sum in float64."""
    half = 8
    last = np.array([-1], np.int64)
    low = weights[:half]
    if len(weights) <= half:
        return build.op("ReduceSum", build.op("Mul", digits, low), last, keepdims=0)
    parts = [build.op("Slice", digits, [start], [start + half], [-1]) for start in (0, half)]
    sums = [build.op("ReduceSum", build.op("Mul", part, low), last, keepdims=0) for part in parts]
    return build.op("Add", sums[0], build.op("Mul", sums[1], weights[half]))


def _digits(build: Builder, value: ir.Value, weights: Array) -> ir.Value:
    """Digits of four bits of the two's complement along a new last axis, the lowest first."""
    last = build.op("Unsqueeze", value, np.array([-1], np.int64))
    floor = build.op("Div", build.op("Sub", last, build.op("Mod", last, weights)), weights)
    return build.op("Mod", floor, weights.dtype.type(DIGIT))


def _table(function: np.ufunc, count: int, signed: bool) -> tuple[Array, Array]:
    """Results for every pair of digits, and for each digit where its part of the table begins."""
    digit = np.arange(DIGIT)
    plain = function.outer(digit, digit).reshape(-1)
    offsets = np.zeros(count, np.int64)
    if not signed:
        return plain, offsets
    offsets[-1] = plain.size
    return np.concatenate([plain, np.where(plain >= DIGIT // 2, plain - DIGIT, plain)]), offsets
